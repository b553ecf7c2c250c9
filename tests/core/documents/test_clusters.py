"""Where the source's gateway runs, which Deployments a policy rests on, and every rule that makes either invalid."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shifter.core.documents.fleet import misfits
from tests.documents import a_fleet, a_policy

GATEWAY = {"namespace": "istio-system", "deployment": "istio-ingressgateway"}


def clusters(gateway: dict[str, Any] | None = None, **source: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"source": {**source, "gateway": GATEWAY | (gateway or {})}}


def test_without_a_cluster_nobody_is_asked() -> None:
    assert a_fleet("guangzhou").spec.clusters is None


def test_of_a_cluster_only_the_gateways_place_must_be_said() -> None:
    found = a_fleet("guangzhou", clusters=clusters()).spec.clusters

    assert found is not None
    source, gateway = found.source, found.source.gateway
    assert (source.kubeconfig_file, source.context) == (None, None)
    assert (gateway.namespace, gateway.deployment) == ("istio-system", "istio-ingressgateway")
    assert (gateway.autoscaler, gateway.uid) == (None, None)


def test_a_context_is_one_of_the_kubeconfig_file() -> None:
    found = a_fleet("guangzhou", clusters=clusters(kubeconfigFile="/etc/tcm.yaml", context="tcm")).spec.clusters

    assert found is not None
    assert found.source.context == "tcm"
    with pytest.raises(ValidationError, match="contexts are of a kubeconfigFile, and there is none"):
        a_fleet("guangzhou", clusters=clusters(context="tcm"))


def test_a_kubeconfig_file_that_is_wrong_is_told_once() -> None:
    with pytest.raises(ValidationError) as caught:
        a_fleet("guangzhou", clusters=clusters(kubeconfigFile="", context="tcm"))

    assert [each["loc"][-1] for each in caught.value.errors()] == ["kubeconfigFile"]


@pytest.mark.parametrize(
    "gateway",
    [
        {"namespace": "Istio"},
        {"namespace": "istio.system"},
        {"deployment": ""},
        {"deployment": "istio/gateway"},
        {"deployment": "-a"},
        {"autoscaler": "a b"},
        {"uid": "7c1d/0c9e"},
        {"replicas": 4},
    ],
)
def test_a_gateway_that_no_cluster_could_have_is_refused(gateway: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        a_fleet("guangzhou", clusters=clusters(gateway))

    assert caught.value.errors()[0]["loc"][:4] == ("spec", "clusters", "source", "gateway")


def test_a_policy_names_deployments_of_its_own_namespaces() -> None:
    one = a_policy("shop", wayBack={"deployments": ["shop/checkout", "shop/cart.v2"]})
    two = a_policy("shop", namespace=None, namespaces=["shop", "cart"], wayBack={"deployments": ["cart/api"]})

    assert one.spec.way_back.deployments == ("shop/checkout", "shop/cart.v2")
    assert two.spec.way_back.deployments == ("cart/api",)


def complaint(**changes: Any) -> tuple[str, Any]:  # noqa: ANN401 - JSON
    with pytest.raises(ValidationError) as caught:
        a_policy("shop", **changes)
    (error,) = caught.value.errors()
    return error["msg"], error.get("ctx", {}).get("at")


def test_a_deployment_of_another_namespace_belongs_to_another_shift() -> None:
    message, place = complaint(wayBack={"deployments": ["shop/checkout", "cart/api"]})

    assert message == "cart/api is in none of the policy's namespaces: it would belong to another shift"
    assert place == ("deployments", 1)


def test_where_the_namespace_itself_is_wrong_only_that_is_told() -> None:
    message, _ = complaint(namespace="Shop", wayBack={"deployments": ["cart/api"]})

    assert "not a Kubernetes name" in message


@pytest.mark.parametrize(
    "deployments",
    [["checkout"], ["shop/"], ["/checkout"], ["shop/a/b"], ["Shop/a"], ["shop/a", "shop/a"], ["shop/a"] * 21, [7]],
)
def test_deployments_are_named_in_full_and_once(deployments: list[object]) -> None:
    with pytest.raises(ValidationError) as caught:
        a_policy("shop", wayBack={"deployments": deployments})

    assert caught.value.errors()[0]["loc"][:3] == ("spec", "wayBack", "deployments")


def test_deployments_need_a_cluster_that_can_be_asked() -> None:
    policy = a_policy("shop", wayBack={"deployments": ["shop/checkout"]})
    (found,) = misfits(policy, a_fleet("guangzhou"))

    assert (found.path, found.reason) == (
        ("spec", "wayBack", "deployments"),
        "the fleet's clusters do not say where tcm's cluster is: nobody could be asked about these",
    )
    assert list(misfits(policy, a_fleet("guangzhou", clusters=clusters()))) == []
    assert list(misfits(policy, None)) == []


def test_both_sides_gateways_are_two() -> None:
    both = {**clusters(kubeconfigFile="/etc/tcm.yaml"), "target": {"gateway": GATEWAY}}
    found = a_fleet("guangzhou", clusters=both).spec.clusters

    assert found is not None
    assert found.target is not None
    assert found.target.kubeconfig_file is None
    with pytest.raises(ValidationError, match="both sides' gateways are one and the same Deployment"):
        a_fleet("guangzhou", clusters={**clusters(), "target": {"gateway": GATEWAY}})


def test_where_the_sources_cluster_is_wrong_only_that_is_told() -> None:
    with pytest.raises(ValidationError) as caught:
        a_fleet("guangzhou", clusters={**clusters({"namespace": "Istio"}), "target": {"gateway": GATEWAY}})

    assert len(caught.value.errors()) == 1


def test_the_targets_cluster_may_be_left_out_or_said_to_be_none() -> None:
    found = a_fleet("guangzhou", clusters={**clusters(), "target": None}).spec.clusters

    assert found is not None
    assert found.target is None
