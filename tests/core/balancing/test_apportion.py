"""Which weights make a share true, and when is there no such thing?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.balancing.apportion import MAX_ERROR_PERCENT, apportion
from shifter.core.balancing.splits import MAX_WEIGHT, Health, Member, Side, share_of
from shifter.errors import RefusedError

NOISE = 1e-6
"""Percent. Far below anything a weight can express; absorbs the order in which floats are divided."""


def side(which: Side, count: int, health: Health = Health.ALIVE, name: str = "") -> list[Member]:
    return [Member(f"{which}{name}{index}", which, 0, health) for index in range(count)]


def old(count: int, health: Health = Health.ALIVE) -> list[Member]:
    return side(Side.SOURCE, count, health, "-dead-" if health is Health.DEAD else "-")


def new(count: int, health: Health = Health.ALIVE) -> list[Member]:
    return side(Side.TARGET, count, health, "-dead-" if health is Health.DEAD else "-")


def applied(members: Sequence[Member], wanted: float) -> tuple[list[Member], float]:
    """Return the members with their new weights, and the share that was said to be achieved."""
    result = apportion(members, wanted)
    return [replace(member, weight=result.weights[member.key]) for member in members], result.achieved


@pytest.mark.parametrize(
    ("sources", "targets", "wanted", "weights"),
    [
        (1, 1, 50, {"source-0": 100, "target-0": 100}),
        (1, 1, 25, {"source-0": 99, "target-0": 33}),
        (1, 1, 1, {"source-0": 100, "target-0": 1}),
        (1, 1, 99, {"source-0": 1, "target-0": 99}),
        (2, 1, 50, {"source-0": 50, "source-1": 50, "target-0": 100}),
        (1, 2, 50, {"source-0": 100, "target-0": 50, "target-1": 50}),
    ],
)
def test_two_totals_near_below_the_share_are_dealt_out(
    sources: int, targets: int, wanted: float, weights: dict[str, int]
) -> None:
    assert apportion([*old(sources), *new(targets)], wanted).weights == weights


def test_a_side_is_dealt_as_evenly_as_whole_numbers_allow() -> None:
    weights = apportion([*old(3), *new(3)], 25).weights

    for which in Side:
        mine = [weight for key, weight in weights.items() if key.startswith(which)]
        assert max(mine) - min(mine) <= 1


def test_a_share_that_no_weights_reach_takes_the_nearest_below() -> None:
    result = apportion([*old(1), *new(1)], 99.5)

    assert result.weights == {"source-0": 1, "target-0": 100}
    assert result.achieved == pytest.approx(100 * 100 / 101)


@pytest.mark.parametrize("wanted", [0.5, 99.6])
def test_a_share_that_weights_cannot_express_is_refused_with_what_is_possible(wanted: float) -> None:
    with pytest.raises(
        RefusedError, match=r"cannot be expressed with 1 source and 1 target .* reach from 0\.99 % to 99\.01 %"
    ):
        apportion([*old(1), *new(1)], wanted)


def test_what_is_possible_follows_from_how_many_members_there_are() -> None:
    with pytest.raises(RefusedError, match=r"with 2 source and 3 target .* reach from 0\.498 % to 99\.67 %"):
        apportion([*old(2), *new(3)], 0.25)


@pytest.mark.parametrize("wanted", [-1, -0.001, 100.001, math.nan, math.inf, -math.inf])
def test_a_share_outside_0_to_100_is_refused(wanted: float) -> None:
    with pytest.raises(RefusedError, match=f"a share of {wanted:g} % does not exist; it must be between 0 and 100"):
        apportion([*old(1), *new(1)], wanted)


def test_members_of_neither_side_are_refused_by_name() -> None:
    strangers = [Member("x:1", None, 0, Health.ALIVE), Member("y:1", None, 0, Health.ALIVE)]

    with pytest.raises(RefusedError, match="x:1, y:1 belong to neither side"):
        apportion([*old(1), *new(1), *strangers], 50)


@pytest.mark.parametrize("wanted", [0, 1, 50, 99.5])
@pytest.mark.parametrize("source", [[], old(2, Health.DEAD)])
def test_a_share_that_needs_a_source_without_healthy_members_is_refused(source: list[Member], wanted: float) -> None:
    with pytest.raises(RefusedError, match="the source side has no healthy member"):
        apportion([*source, *new(2)], wanted)


@pytest.mark.parametrize("wanted", [0.5, 50, 100])
@pytest.mark.parametrize("target", [[], new(2, Health.DEAD)])
def test_a_share_that_needs_a_target_without_healthy_members_is_refused(target: list[Member], wanted: float) -> None:
    with pytest.raises(RefusedError, match="the target side has no healthy member"):
        apportion([*old(2), *target], wanted)


@pytest.mark.parametrize("target", [[], new(2), new(2, Health.DEAD)])
def test_going_back_to_0_needs_no_target(target: list[Member]) -> None:
    weights = apportion([*old(2), *target], 0).weights

    assert weights == {"source-0": 100, "source-1": 100} | {member.key: 0 for member in target}


def test_going_to_100_needs_no_source() -> None:
    weights = apportion([*old(1, Health.DEAD), *new(1)], 100).weights

    assert weights == {"source-dead-0": 0, "target-0": 100}


def test_members_that_nobody_checks_take_part() -> None:
    members = [*side(Side.SOURCE, 1, Health.UNCHECKED), *side(Side.TARGET, 1, Health.UNCHECKED)]

    assert apportion(members, 50).weights == {"source0": 100, "target0": 100}


def test_a_dead_target_member_rests_at_0_and_a_dead_source_member_at_its_peers_weight() -> None:
    weights = apportion([*old(2), *old(1, Health.DEAD), *new(1), *new(1, Health.DEAD)], 50).weights

    assert weights == {"source-0": 50, "source-1": 50, "source-dead-0": 50, "target-0": 100, "target-dead-0": 0}


def test_the_same_members_in_another_order_get_the_same_weights() -> None:
    members = [*old(3), *new(2)]

    assert apportion(members[::-1], 7).weights == apportion(members, 7).weights


healths = st.sampled_from(Health)
counts = st.integers(1, 40)
wanteds = st.one_of(
    st.floats(0, 100),
    st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.5, 99.9, 100.0]),
    st.sampled_from([5e-324, math.nextafter(100, 0), math.nextafter(50, 100)]),
)


@st.composite
def both_sides(draw: st.DrawFn) -> list[Member]:
    return [
        Member(f"{which}-{index}", which, 0, draw(healths))
        for which in Side
        for index in range(draw(st.integers(0, 40)))
    ]


def alive(members: Sequence[Member], which: Side) -> int:
    return sum(member.side is which and member.health is not Health.DEAD for member in members)


@given(both_sides(), wanteds)
def test_every_answer_is_safe_or_a_refusal(members: list[Member], wanted: float) -> None:
    try:
        after, achieved = applied(members, wanted)
    except RefusedError:
        return

    assert wanted - MAX_ERROR_PERCENT - NOISE <= achieved <= wanted + NOISE
    assert all(type(member.weight) is int and 0 <= member.weight <= MAX_WEIGHT for member in after)
    assert share_of(after) == pytest.approx(achieved, abs=NOISE)
    if wanted in {0, 100}:
        assert achieved == wanted
    else:
        assert 0 < achieved < 100


@given(both_sides(), st.floats(0, 100, exclude_min=True, exclude_max=True))
def test_between_0_and_100_both_sides_have_weight_that_serves(members: list[Member], wanted: float) -> None:
    try:
        after, _ = applied(members, wanted)
    except RefusedError:
        return

    for which in Side:
        assert any(member.weight and member.health is not Health.DEAD for member in after if member.side is which)


@given(both_sides(), wanteds)
def test_no_recovery_of_dead_members_raises_the_share_above_the_wanted(members: list[Member], wanted: float) -> None:
    try:
        after, achieved = applied(members, wanted)
    except RefusedError:
        return
    dead = [member for member in after if member.health is Health.DEAD]
    fates = [{member.key} for member in dead] + [
        {member.key for member in dead},
        {member.key for member in dead if member.side is Side.TARGET},
    ]

    for recovered in fates:
        now = [replace(member, health=Health.ALIVE) if member.key in recovered else member for member in after]
        assert (share_of(now) or 0.0) <= achieved + NOISE


@given(both_sides(), st.floats(0, 100, exclude_max=True))
def test_a_dead_target_member_gets_no_weight(members: list[Member], wanted: float) -> None:
    try:
        after, _ = applied(members, wanted)
    except RefusedError:
        return

    assert not any(member.weight for member in after if member.side is Side.TARGET and member.health is Health.DEAD)


@given(both_sides(), wanteds)
def test_a_share_is_refused_if_and_only_if_a_needed_side_is_dead_or_it_is_beyond_the_weights(
    members: list[Member], wanted: float
) -> None:
    sources, targets = alive(members, Side.SOURCE), alive(members, Side.TARGET)
    # All dead means that the balancer sends to all of them: only going back is let through.
    all_dead = sources == targets == 0 and any(member.side is Side.SOURCE for member in members)
    lacking = (sources == 0 and wanted < 100 and not (all_dead and wanted == 0)) or (targets == 0 and wanted > 0)
    lowest, highest = 100 / (1 + MAX_WEIGHT * sources), 100 * MAX_WEIGHT * targets / (1 + MAX_WEIGHT * targets)
    beyond = 0 < wanted < 100 and (wanted < lowest or wanted > highest + MAX_ERROR_PERCENT)
    # Exactly on an end, float noise decides; either is right there.
    if min(abs(wanted - lowest), abs(wanted - highest - MAX_ERROR_PERCENT)) < NOISE:
        return
    try:
        apportion(members, wanted)
    except RefusedError:
        refused = True
    else:
        refused = False

    assert refused == (lacking or beyond)


@given(counts, counts, st.sampled_from([1, 5, 25, 50, 75, 95, 99]))
def test_the_usual_steps_can_always_be_expressed(sources: int, targets: int, wanted: int) -> None:
    result = apportion([*old(sources), *new(targets)], wanted)

    assert wanted - MAX_ERROR_PERCENT <= result.achieved <= wanted


@given(counts, counts)
def test_in_the_usual_steps_a_climb_of_which_only_the_targets_part_is_in_force_overshoots_by_less_than_a_point(
    sources: int, targets: int
) -> None:
    members = [*old(sources), *new(targets)]
    before = apportion(members, 0).weights
    for step in (1, 5, 10, 25, 50, 75, 95, 100):
        after = apportion(members, step).weights
        half = [replace(each, weight=(after if each.side is Side.TARGET else before)[each.key]) for each in members]
        before = after

        assert (share_of(half) or 0) <= step + 1
