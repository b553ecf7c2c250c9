"""What is to be done when a write that was given up is carried out after all? It is ours, so it is repaired."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from shifter.core.balancing.splits import Health, Member, RouteView, Side
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Decision
from shifter.core.deciding.holds import HoldKind
from shifter.core.phases import Phase
from shifter.core.records import SERVICE
from shifter.core.state import Direction, Failure, Intent, Setback, ShiftState
from tests.core.shifts import BAD, EARLIER, GOOD, NOON, a_policy, gathered, written

TICK = timedelta(seconds=5)
POLICY = a_policy("a")
(ROUTE,) = POLICY.routes


def weights(share: int) -> dict[str, dict[str, int]]:
    return {ROUTE.id: {"old": 100 - share, "new": share}}


def given_up(to_share: int, deadline: datetime) -> Intent:
    """An intent that was given a minute."""
    return Intent(
        sequence=3,
        epoch=1,
        direction=Direction.CLIMB,
        from_share=5,
        to_share=to_share,
        reason="next step",
        by="shifter",
        created_at=deadline - timedelta(minutes=1),
        deadline=deadline,
        before=weights(5),
        weights=weights(to_share),
    )


def decided(phase: Phase, share: int, live: int, abandoned: Intent | None, **changes: object) -> Decision:
    """Decide about a shift last verified at `share` whose weights now amount to `live`."""
    fields: dict[str, object] = {
        "name": "shop",
        "policy": POLICY,
        "phase": phase,
        "since": EARLIER,
        "share": float(share),
        "weights": weights(share),
        "verified_at": EARLIER,
        "abandoned": abandoned,
        "failure": Failure(reason="errors", share=25, at=EARLIER) if phase is Phase.ROLLED_BACK else None,
    }
    members = (
        Member("old", Side.SOURCE, 100 - live, Health.ALIVE),
        Member("new", Side.TARGET, live, Health.ALIVE),
    )
    evidence = Evidence(
        views={ROUTE.id: RouteView(ROUTE, members)},
        ledger=GOOD,
        standing=gathered(GOOD, share),
        leader=True,
        max_age=timedelta(seconds=15),
        tick=TICK,
        settled_at=EARLIER,
    )
    return decide(ShiftState.model_validate(fields | changes), evidence, NOON)


AGO = [timedelta(seconds=30), timedelta(days=1)]


@pytest.mark.parametrize("ago", AGO)
def test_a_climb_that_landed_after_it_was_given_up_is_taken_back_by_itself(ago: timedelta) -> None:
    decision = decided(Phase.SHIFTING, 5, 25, given_up(25, NOON - ago))

    assert written(decision) == (Direction.RETREAT, 5)
    assert {hold.kind for hold in decision.holds} == {HoldKind.HALF_APPLIED}


@pytest.mark.parametrize("ago", AGO)
def test_a_climb_that_landed_after_a_rollback_is_taken_back_by_itself(ago: timedelta) -> None:
    decision = decided(Phase.ROLLED_BACK, 0, 25, given_up(25, NOON - ago))

    assert written(decision) == (Direction.RETREAT, 0)


@pytest.mark.parametrize(
    ("live", "abandoned"),
    [
        (1, given_up(1, NOON - timedelta(minutes=1))),
        (40, given_up(25, NOON - timedelta(seconds=30))),
        (40, given_up(25, NOON - timedelta(days=1))),
        (25, None),
    ],
    ids=[
        "lower, long after it was given up",
        "other weights than the intent's",
        "other weights, long after it was given up",
        "nothing was given up",
    ],
)
def test_weights_that_no_intent_of_ours_explains_are_somebody_elses(live: int, abandoned: Intent | None) -> None:
    decision = decided(Phase.SHIFTING, 5, live, abandoned)

    assert written(decision) is None
    assert {hold.kind for hold in decision.holds} == {HoldKind.DRIFT}


def test_a_late_retreat_is_brought_back_up_only_when_the_last_write_has_cooled_down() -> None:
    late = given_up(1, NOON - timedelta(seconds=30))
    failed_just_now = Setback(reason="busy", at=NOON - TICK, count=1)
    failed_before = Setback(reason="busy", at=NOON - 10 * TICK, count=1)

    assert written(decided(Phase.SHIFTING, 5, 1, late, setback=failed_just_now)) is None
    assert written(decided(Phase.SHIFTING, 5, 1, late, setback=failed_before)) == (Direction.KEEP, 5)


def test_a_completed_shift_says_when_its_target_fails_and_does_nothing_by_itself() -> None:
    state = ShiftState(
        name="shop",
        policy=POLICY,
        phase=Phase.COMPLETED,
        since=EARLIER,
        share=100.0,
        weights=weights(100),
        verified_at=EARLIER,
    )
    members = (Member("old", Side.SOURCE, 0, Health.ALIVE), Member("new", Side.TARGET, 100, Health.ALIVE))
    evidence = Evidence(
        views={ROUTE.id: RouteView(ROUTE, members)},
        ledger=BAD,
        standing=gathered(BAD, 100),
        leader=True,
        max_age=timedelta(seconds=15),
        tick=TICK,
    )

    decision = decide(state, evidence, NOON)

    assert decision.write is None
    assert decision.reason.startswith("completed, but istio fails 10 %")


def test_a_first_climb_that_landed_after_it_was_given_up_is_ours_and_taken_back() -> None:
    late = given_up(5, NOON - timedelta(seconds=30))
    decision = decided(Phase.SHIFTING, 0, 5, late, weights={})
    stranger = decided(Phase.SHIFTING, 0, 7, late, weights={})

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.reason == "a write that was given up landed late"
    assert [(hold.kind, hold.reason) for hold in decision.holds] == [
        (
            HoldKind.HALF_APPLIED,
            f"a write that was given up landed late: {ROUTE.id} tcm 95 · istio 5; repairing",
        )
    ]
    assert (written(stranger), {hold.kind for hold in stranger.holds}) == (None, {HoldKind.PREFLIGHT})


def test_a_late_write_of_the_same_share_is_looked_at_again_before_it_is_taken_over() -> None:
    late = given_up(5, NOON - timedelta(seconds=30)).model_copy(update={"direction": Direction.KEEP})
    before = {ROUTE.id: {"old": 48, "new": 3}}
    decision = decided(Phase.SHIFTING, 5, 5, late, weights=before, verified_at=NOON - timedelta(seconds=1))

    assert (written(decision), decision.adopted_by) == (None, "")
    assert decision.state.weights == before


def test_a_late_write_of_the_same_share_is_taken_over_and_never_becomes_drift() -> None:
    late = given_up(5, NOON - timedelta(seconds=30)).model_copy(update={"direction": Direction.KEEP})
    before = {ROUTE.id: {"old": 48, "new": 3}}
    decision = decided(Phase.SHIFTING, 5, 5, late, weights=before)

    assert (written(decision), decision.adopted_by) == (None, SERVICE)
    assert (decision.state.weights, decision.state.verified_at) == (weights(5), NOON)
    assert decision.state.abandoned is None
    assert decision.reason == (
        "a write that was given up landed late: it is tcm 95 · istio 5 all the same, and is taken over"
    )


def test_the_sources_full_weight_that_landed_late_at_0_percent_is_taken_over() -> None:
    late = given_up(0, NOON - timedelta(seconds=30)).model_copy(update={"direction": Direction.KEEP})
    decision = decided(Phase.SHIFTING, 0, 0, late, weights={ROUTE.id: {"old": 10, "new": 0}})

    assert (written(decision), decision.adopted_by) == (None, SERVICE)
    assert (decision.state.weights, decision.state.abandoned) == (weights(0), None)


@pytest.mark.parametrize(("ago", "is_raised"), [(2 * TICK - timedelta(seconds=1), False), (2 * TICK, True)])
def test_a_share_that_fell_is_raised_as_soon_as_the_last_write_has_cooled_down(
    ago: timedelta, *, is_raised: bool
) -> None:
    late = given_up(1, NOON - timedelta(seconds=30))
    decision = decided(Phase.SHIFTING, 5, 1, late, setback=Setback(reason="busy", at=NOON - ago, count=1))

    assert written(decision) == ((Direction.KEEP, 5) if is_raised else None)
