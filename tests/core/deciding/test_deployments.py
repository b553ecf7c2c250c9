"""The Deployments that a policy names are counted and pinned as the source's gateway is, each by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.capacity import cold, could_carry, counted, relevant
from shifter.core.deciding.decide import decide
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.pinning import GATEWAY, Workload, asks_for, concerned, words
from shifter.core.phases import Phase
from shifter.core.state import Direction, Pin, ShiftState, WayBack
from tests.core.shifts import EARLIER, NOON, a_policy, a_shift, kinds, seen, written

CART, CHECKOUT = "shop/cart", "shop/checkout"


def naming(*deployments: str) -> dict[str, object]:
    """A policy that names these Deployments."""
    policy = a_policy("a", "b")
    rules = policy.spec.way_back.model_copy(update={"deployments": deployments})
    return {"policy": policy.model_copy(update={"spec": policy.spec.model_copy(update={"way_back": rules})})}


def a_pin(before: int = 1, floor: int = 4, *, released: bool = False) -> Pin:
    return Pin(before=before, floor=floor, at=NOON, released=released)


def first(*deployments: str, **changes: object) -> ShiftState:
    return a_shift(Phase.WAITING, 0, **naming(*deployments), **changes)


def under_way(*deployments: str, **changes: object) -> ShiftState:
    return a_shift(Phase.SHIFTING, 25, **naming(*deployments), **changes)


def looked(share: int, workloads: Mapping[str, Workload], **source: int) -> Evidence:
    return replace(seen(share), workloads=workloads, source=source)


def test_a_policy_rests_on_the_gateway_and_on_what_it_names() -> None:
    assert concerned(first(CART).policy) == (GATEWAY, CART)


def test_ready_replicas_are_counted_under_their_names() -> None:
    known = {GATEWAY: Workload(2, 1), CART: Workload(3, None)}

    assert counted(None, None, known) == {"ready replicas": 2, f"ready replicas of {CART}": 3}


def test_every_floor_is_pinned_before_the_first_step_which_waits_for_all_of_them() -> None:
    there = {GATEWAY: Workload(4, 1), CART: Workload(6, 2), CHECKOUT: Workload(3, 3)}
    asked = decide(first(CART, CHECKOUT), looked(0, there), NOON)
    half = decide(asked.state, looked(0, there | {GATEWAY: Workload(4, 4)}), NOON)
    goes = decide(asked.state, looked(0, there | {GATEWAY: Workload(4, 4), CART: Workload(6, 6)}), NOON)

    assert (asked.state.pin, asked.state.pins) == (a_pin(), {CART: a_pin(2, 6), CHECKOUT: a_pin(3, 3)})
    assert (written(asked), asked.reason) == (
        None,
        (
            "before the first step tcm's autoscaler is to keep at least 4 replicas; its floor was 1;"
            f" tcm's autoscaler of {CART} is to keep at least 6 replicas; its floor was 2"
        ),
    )
    assert (written(half), half.reason) == (
        None,
        f"before the first step tcm's autoscaler of {CART} is to keep at least 6 replicas; its floor was 2",
    )
    assert (written(goes), goes.state.pins) == ((Direction.CLIMB, 5), asked.state.pins)


def test_what_the_policy_does_not_name_is_neither_pinned_nor_recorded() -> None:
    believed = {"gateway pods": 2, f"ready replicas of {CART}": 3, f"ready replicas of {CHECKOUT}": 3}
    evidence = replace(looked(0, {CHECKOUT: Workload(3, 1)}), source=believed)
    decision = decide(first(CART), evidence, NOON)

    assert (written(decision), decision.state.pins) == ((Direction.CLIMB, 5), {})
    assert decision.state.way_back is not None
    assert decision.state.way_back.had == {"gateway pods": 2, f"ready replicas of {CART}": 3}


def test_the_scarcest_deployment_counts_and_is_named_in_the_hold() -> None:
    what = f"ready replicas of {CART}"
    had = WayBack(at=EARLIER, had={what: 8, "gateway pods": 4}, left={what: 1, "gateway pods": 4})
    state = under_way(CART, way_back=had)

    assert could_carry(state) == 25
    assert cold(state) == (
        f"tcm has 1 of the 8 {what} that carried everything; it could take back about 25 %:"
        " scale it up, and raise its autoscaler's floor"
    )


def test_a_deployment_that_the_policy_names_no_more_counts_no_more() -> None:
    what = f"ready replicas of {CART}"
    had = WayBack(at=EARLIER, had={what: 8, "gateway pods": 4}, left={what: 1, "gateway pods": 4})
    decision = decide(under_way(way_back=had), looked(25, {}), NOON)

    assert decision.state.way_back == WayBack(at=EARLIER, had={"gateway pods": 4}, left={"gateway pods": 4})
    assert HoldKind.COLD_SOURCE not in kinds(decision)


def test_numbers_of_other_things_concern_every_policy() -> None:
    numbers = {"ready replicas": 1, "gateway pods": 2, f"ready replicas of {CART}": 3}

    assert relevant(first(CART).policy, numbers) == numbers
    assert relevant(first().policy, numbers) == {"ready replicas": 1, "gateway pods": 2}


@pytest.mark.parametrize(
    ("workloads", "says"),
    [
        ({GATEWAY: Workload(0, 1)}, "tcm has no ready replicas, though it carries everything"),
        ({GATEWAY: Workload(1, 1), CART: Workload(0, 1)}, f"tcm has no ready replicas of {CART}, though it carries"),
    ],
)
def test_a_shift_does_not_begin_beside_a_workload_without_a_ready_replica(
    workloads: Mapping[str, Workload], says: str
) -> None:
    decision = decide(first(CART), looked(0, workloads), NOON)

    assert (written(decision), kinds(decision)) == (None, {HoldKind.COLD_SOURCE})
    assert decision.reason.startswith(f"holding: cold source: {says}")


def test_one_that_the_policy_does_not_name_or_of_a_shift_under_way_holds_by_what_is_left_of_it_alone() -> None:
    other = decide(first(), looked(0, {CART: Workload(0, 1)}), NOON)
    later = decide(under_way(CART), looked(25, {CART: Workload(0, 1)}), NOON)

    assert written(other) == (Direction.CLIMB, 5)
    assert HoldKind.COLD_SOURCE not in kinds(later)


def test_the_pin_of_a_deployment_that_the_policy_names_no_more_is_put_back_under_way() -> None:
    kept = decide(under_way(CART, pins={CART: a_pin()}), looked(25, {CART: Workload(4, 4)}), NOON).state
    released = decide(under_way(pins={CART: a_pin()}), looked(25, {CART: Workload(4, 4)}), NOON).state
    done = decide(released, looked(25, {CART: Workload(4, 1)}), NOON).state

    assert kept.pins == {CART: a_pin()}
    assert released.pins == {CART: a_pin(released=True)}
    assert asks_for(released, {CART: Workload(4, 4)}, {}) == {CART: 1}
    assert done.pins == {}


def test_after_a_rollback_all_floors_are_put_back() -> None:
    there = {GATEWAY: Workload(4, 4), CART: Workload(6, 6)}
    pinned = a_shift(Phase.ROLLED_BACK, 0, pin=a_pin(), pins={CART: a_pin(2, 6)}, **naming(CART))
    released = decide(pinned, looked(0, there), NOON).state
    done = decide(released, looked(0, {GATEWAY: Workload(4, 1), CART: Workload(6, 2)}), NOON).state

    assert asks_for(released, there, {}) == {GATEWAY: 1, CART: 2}
    assert (done.pin, done.pins) == (None, {})


def test_one_that_was_not_seen_is_asked_for_nothing_and_keeps_its_pin() -> None:
    state = under_way(CART, pins={CART: a_pin()})

    assert asks_for(state, {}, {}) == {}
    assert decide(state, looked(25, {}), NOON).state.pins == {CART: a_pin()}


def test_what_became_of_a_deployments_pin_is_said_with_its_name() -> None:
    assert [words(CART, pin) for pin in (a_pin(), a_pin(released=True), None)] == [
        f"tcm's autoscaler of {CART} is to keep at least 4 replicas; its floor was 1",
        f"tcm's autoscaler of {CART} need not keep 4 replicas any more: back to 1",
        f"tcm's autoscaler of {CART} is its own again",
    ]


@pytest.mark.parametrize(
    ("workloads", "says"),
    [
        ({GATEWAY: Workload(0, 1)}, "istio has no ready replicas: deploy it there, or scale it up"),
        ({GATEWAY: Workload(1, 1), CART: Workload(0, 1)}, f"istio has no ready replicas of {CART}: deploy it there"),
    ],
)
@pytest.mark.parametrize(("phase", "share"), [(Phase.WAITING, 0), (Phase.SHIFTING, 25)])
def test_nothing_climbs_onto_a_target_without_a_ready_replica(
    phase: Phase, share: int, workloads: Mapping[str, Workload], says: str
) -> None:
    decision = decide(a_shift(phase, share, **naming(CART)), replace(seen(share), target_workloads=workloads), NOON)

    assert (written(decision), kinds(decision)) == (None, {HoldKind.COLD_TARGET})
    assert decision.reason.startswith(f"holding: cold target: {says}")


def test_a_target_that_cannot_be_seen_is_not_climbed_onto() -> None:
    decision = decide(under_way(), replace(seen(25), target_problem="nobody answers"), NOON)

    assert (written(decision), decision.reason) == (
        None,
        "holding: cold target: whether istio is ready cannot be seen: nobody answers",
    )


def test_what_has_gone_back_or_is_completed_is_not_held_for_a_target_that_has_nothing() -> None:
    for phase, share in [(Phase.ROLLED_BACK, 0), (Phase.COMPLETED, 100)]:
        state = a_shift(phase, share, **naming(CART))
        for evidence in ({"target_workloads": {CART: Workload(0, 1)}}, {"target_problem": "nobody answers"}):
            assert decide(state, replace(seen(share), **evidence), NOON).holds == ()


def test_a_target_with_one_ready_replica_of_each_is_climbed_onto() -> None:
    evidence = replace(seen(25), target_workloads={GATEWAY: Workload(1, 4), CART: Workload(1, None)})

    assert written(decide(under_way(CART), evidence, NOON)) == (Direction.CLIMB, 100)
