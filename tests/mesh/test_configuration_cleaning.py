"""What goes of an object when it leaves its cluster, and what stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifter.mesh.configuration.choosing import owner_of, staying_behind
from shifter.mesh.configuration.cleaning import cleaned
from shifter.mesh.configuration.kinds import (
    AUTHORIZATION_POLICY,
    ENVOY_FILTER,
    GATEWAY,
    PEER_AUTHENTICATION,
    SECRET,
    VIRTUAL_SERVICE,
    ConfigKind,
)
from tests.mesh.configurations import JSON, TEXTS, an_object

V1BETA1 = VIRTUAL_SERVICE.at("v1beta1")
WORDS = st.dictionaries(
    st.one_of(
        TEXTS,
        st.sampled_from(
            [
                "istio.io/rev",
                "app",
                "tcm.cloud.tencent.com/managed-by",
                "kubectl.kubernetes.io/last-applied-configuration",
            ]
        ),
    ),
    TEXTS,
    max_size=3,
)
BODIES = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": TEXTS}, optional={"labels": WORDS, "annotations": WORDS, "uid": TEXTS}
        )
    },
    optional={"spec": JSON, "data": JSON, "status": JSON, "type": TEXTS},
)


@settings(max_examples=150, deadline=None)
@given(BODIES)
def test_cleaning_twice_is_cleaning_once(body: dict[str, Any]) -> None:
    once = cleaned(body, V1BETA1, ["1-18-5"])

    assert cleaned(once, V1BETA1, ["1-18-5"]) == once


@settings(max_examples=150, deadline=None)
@given(BODIES)
def test_nothing_that_a_person_wants_of_an_object_is_lost(body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    clean = cleaned(body, V1BETA1)

    assert {key: clean[key] for key in clean if key not in {"apiVersion", "kind", "metadata"}} == {
        key: value for key, value in before.items() if key not in {"metadata", "status"}
    }
    assert clean["metadata"]["name"] == before["metadata"]["name"]
    assert body == before


def test_what_only_the_old_cluster_knows_goes() -> None:
    body = an_object(
        VIRTUAL_SERVICE,
        spec={"hosts": ["a"]},
        labels={"app": "shop", "tcm.cloud.tencent.com/managed-by": "mesh-mn8gnn1g"},
        annotations={
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "console.tcm.cloud.tencent.com/version": "7",
            "team": "checkout",
        },
        ownerReferences=[{"kind": "Canary", "name": "shop", "uid": "1"}],
        finalizers=["flagger.app/finalizer"],
        selfLink="/apis/x",
        generateName="shop-",
    )

    assert cleaned(body, V1BETA1) == {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {
            "name": "one",
            "namespace": "shop",
            "labels": {"app": "shop"},
            "annotations": {"team": "checkout"},
        },
        "spec": {"hosts": ["a"]},
    }


def test_labels_of_which_none_is_left_leave_no_empty_brace() -> None:
    body = an_object(VIRTUAL_SERVICE, labels={"tcm.cloud.tencent.com/managed-by": "m"}, annotations={})

    assert cleaned(body, V1BETA1)["metadata"] == {"name": "one", "namespace": "shop"}


def test_a_domain_that_only_ends_like_tcms_is_somebody_elses() -> None:
    body = an_object(VIRTUAL_SERVICE, labels={"nottcm.cloud.tencent.com/x": "1", "cloud.tencent.com/y": "2"})

    assert cleaned(body, V1BETA1)["metadata"]["labels"] == {
        "nottcm.cloud.tencent.com/x": "1",
        "cloud.tencent.com/y": "2",
    }


@pytest.mark.parametrize(
    "spec",
    [{}, {"rules": [{}]}, {"rules": []}, {"rules": [{"from": [{"source": {}}]}]}, {"selector": {}, "rules": None}],
)
def test_what_is_empty_means_something_and_stays(spec: dict[str, Any]) -> None:
    body = an_object(AUTHORIZATION_POLICY, spec=spec)

    assert cleaned(body, AUTHORIZATION_POLICY.at("v1beta1"))["spec"] == spec


def test_an_object_that_is_bound_to_tcms_revision_is_bound_no_longer() -> None:
    body = an_object(VIRTUAL_SERVICE, labels={"istio.io/rev": "1-18-5", "app": "a"})

    assert cleaned(body, V1BETA1, ["1-18-5"])["metadata"]["labels"] == {"app": "a"}
    assert cleaned(body, V1BETA1, ["1-16-1"])["metadata"]["labels"] == {"app": "a", "istio.io/rev": "1-18-5"}


def test_a_list_of_kubernetes_own_kind_does_not_say_what_its_items_are() -> None:
    clean = cleaned({"metadata": {"name": "tls", "namespace": "shop"}, "data": {"a": "Yg=="}}, SECRET.at("v1"))

    assert list(clean) == ["apiVersion", "kind", "metadata", "data"]
    assert (clean["apiVersion"], clean["kind"]) == ("v1", "Secret")


def test_a_server_that_says_null_for_nothing_is_understood() -> None:
    assert cleaned({"metadata": {"name": "a", "labels": None}, "status": None}, V1BETA1)["metadata"] == {"name": "a"}
    assert cleaned({"metadata": None}, V1BETA1)["metadata"] == {}


@pytest.mark.parametrize(
    ("kind", "name", "metadata", "why"),
    [
        (VIRTUAL_SERVICE, "a", {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "is being deleted"),
        (SECRET, "tls", {}, "a Secret, and nobody asked for Secrets to be written"),
        (ENVOY_FILTER, "stats-filter-1.18", {}, "makes the old mesh's metrics"),
        (ENVOY_FILTER, "tcp-stats-filter-1.18-1-18-5", {}, "with both everything is counted twice"),
        (ENVOY_FILTER, "metadata-exchange-1.10", {}, "makes the old mesh's metrics"),
        (GATEWAY, "eastwest", {"labels": {"operator.istio.io/component": "IngressGateways"}}, "own installation"),
        (ENVOY_FILTER, "stats-filter", {}, ""),
        (ENVOY_FILTER, "my-stats-filter-1.18", {}, ""),
        (VIRTUAL_SERVICE, "stats-filter-1.18", {}, ""),
    ],
)
def test_what_would_do_harm_in_the_new_mesh_stays_behind(
    kind: ConfigKind, name: str, metadata: dict[str, Any], why: str
) -> None:
    told = staying_behind(kind, an_object(kind, name, **metadata), secrets=False)

    assert (why in told, bool(told)) == (True, bool(why))


def test_secrets_go_along_only_for_who_asks() -> None:
    assert staying_behind(SECRET, an_object(SECRET), secrets=True) == ""


def test_of_several_owners_the_controller_counts() -> None:
    owners = [{"kind": "Application", "name": "x"}, {"kind": "Canary", "name": "cart", "controller": True}]

    assert owner_of(an_object(VIRTUAL_SERVICE, ownerReferences=owners)) == "Canary/cart"
    assert owner_of(an_object(VIRTUAL_SERVICE, ownerReferences=owners[:1])) == "Application/x"
    assert owner_of(an_object(PEER_AUTHENTICATION)) == ""
