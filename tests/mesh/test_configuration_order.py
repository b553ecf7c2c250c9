"""The order in which a configuration is applied: nothing is used before it is there, and a door is opened last."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.mesh.configuration.kinds import (
    API_GATEWAY,
    AUTHORIZATION_POLICY,
    BACKEND_TLS,
    DEFINITION,
    DESTINATION_RULE,
    ENVOY_FILTER,
    GATEWAY,
    HTTP_ROUTE,
    KNOWN,
    NAMESPACE,
    PEER_AUTHENTICATION,
    REFERENCE_GRANT,
    REQUEST_AUTHENTICATION,
    SECRET,
    SERVICE_ENTRY,
    SIDECAR,
    VIRTUAL_SERVICE,
    WORKLOAD_ENTRY,
    ConfigKind,
)
from shifter.mesh.configuration.order import STEPS, order_key, to_apply, to_remove
from tests.mesh.configurations import an_object

UNKNOWN_BODY = {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "a", "namespace": "b"}}
BODIES = st.builds(
    lambda kind, name, namespace, hosts: an_object(kind, name, {"hosts": hosts}, namespace),
    st.sampled_from(KNOWN),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["shop", "pay"]),
    st.sampled_from([[], ["x"]]),
) | st.just(UNKNOWN_BODY)


@given(st.lists(BODIES, max_size=8).flatmap(lambda bodies: st.tuples(st.just(bodies), st.permutations(bodies))))
def test_the_order_does_not_depend_on_how_the_objects_came(both: tuple[list[Any], list[Any]]) -> None:
    bodies, shuffled = both

    assert list(map(order_key, to_apply(shuffled, order_key))) == list(map(order_key, to_apply(bodies, order_key)))


@given(BODIES, BODIES)
def test_any_two_objects_have_an_order(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = order_key(one), order_key(other)

    assert (first < second) + (second < first) + (first == second) == 1


@given(BODIES, BODIES)
def test_only_one_and_the_same_object_has_one_place_twice(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = one["kind"] == other["kind"] and one["metadata"]["name"] == other["metadata"]["name"]

    assert order_key(one) != order_key(other) or same


@given(st.lists(BODIES, max_size=8, unique_by=order_key))
def test_what_is_taken_away_goes_the_other_way_round(bodies: list[dict[str, Any]]) -> None:
    assert to_remove(bodies, order_key) == to_apply(bodies, order_key)[::-1]


def test_every_kind_has_its_step() -> None:
    assert set(STEPS) == {*KNOWN, None}
    assert len(STEPS) == len(set(STEPS))


@pytest.mark.parametrize(
    ("first", "then"),
    [
        *pairwise((DEFINITION, NAMESPACE, SECRET, PEER_AUTHENTICATION, REQUEST_AUTHENTICATION, AUTHORIZATION_POLICY)),
        *pairwise((AUTHORIZATION_POLICY, ENVOY_FILTER, SERVICE_ENTRY, DESTINATION_RULE, VIRTUAL_SERVICE, GATEWAY)),
        (WORKLOAD_ENTRY, SERVICE_ENTRY),
        (SERVICE_ENTRY, SIDECAR),
        (SIDECAR, VIRTUAL_SERVICE),
        (REFERENCE_GRANT, HTTP_ROUTE),
        (BACKEND_TLS, HTTP_ROUTE),
        (HTTP_ROUTE, API_GATEWAY),
    ],
)
def test_what_is_needed_comes_before_what_needs_it(first: ConfigKind, then: ConfigKind) -> None:
    bodies = [an_object(then, "a", {"hosts": ["x"]}, "a"), an_object(first, "z", {"hosts": ["x"]}, "z")]

    assert [body["kind"] for body in to_apply(bodies, order_key)] == [first.name, then.name]


def test_what_others_delegate_to_comes_before_them() -> None:
    root = an_object(VIRTUAL_SERVICE, "a", {"hosts": ["shop.example.com"], "http": [{"delegate": {"name": "z"}}]})
    delegate = an_object(VIRTUAL_SERVICE, "z", {"http": [{"route": []}]})

    assert to_apply([root, delegate], order_key) == [delegate, root]


def test_what_nobody_knows_comes_before_traffic_and_after_what_it_may_need() -> None:
    bodies = [an_object(VIRTUAL_SERVICE, spec={"hosts": ["a"]}), UNKNOWN_BODY, an_object(DESTINATION_RULE), {"kind": 1}]

    assert [body["kind"] for body in to_apply(bodies, order_key)] == ["DestinationRule", 1, "Canary", "VirtualService"]
