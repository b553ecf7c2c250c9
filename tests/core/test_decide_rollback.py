"""What is to be done about a shift? Going back: what starts it, what it passes, and when it has arrived."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shifter.core.decide import decide
from shifter.core.decision import Kind
from shifter.core.evidence import Ledger
from shifter.core.holds import HoldKind
from shifter.core.orders import Verb
from shifter.core.phases import Phase
from shifter.core.splits import Member
from shifter.core.state import Direction
from tests.core.shifts import (
    BAD,
    BOTH_BAD,
    DEAD,
    EARLIER,
    GOOD,
    NOON,
    A,
    B,
    a_shift,
    an_intent,
    an_order,
    kinds,
    live,
    new,
    old,
    seen,
    written,
)


def test_a_failing_target_rolls_back_at_once_and_says_why() -> None:
    decision = decide(a_shift(), seen(25, BAD), NOON)

    assert (written(decision), decision.kind) == ((Direction.RETREAT, 0), Kind.ROLLBACK)
    assert (decision.state.phase, decision.state.since) == (Phase.ROLLING_BACK, NOON)
    assert decision.state.failure is not None
    assert decision.state.failure.share == 25
    assert decision.reason == f"rolling back: {decision.state.failure.reason}"


def test_a_failing_verdict_at_0_percent_is_not_the_targets() -> None:
    decision = decide(a_shift(share=0), seen(0, BAD), NOON)

    assert decision.state.phase is Phase.SHIFTING


@pytest.mark.parametrize("ledger", [Ledger(), BOTH_BAD, GOOD])
def test_a_dead_target_rolls_back_also_without_a_signal_and_in_an_incident(ledger: Ledger) -> None:
    dead = live((old(75), new(25, DEAD)))
    evidence = replace(seen(25, ledger), views=dead, target_unseen=True, signal_problem="istio: no gateway pod")
    decision = decide(a_shift(), evidence, NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.reason.startswith("rolling back: istio's gateway is gone")


def test_pods_that_no_metric_shows_are_not_gone_while_the_balancer_finds_a_member_alive() -> None:
    evidence = replace(seen(), target_unseen=True, signal_problem="istio: no gateway pod")
    decision = decide(a_shift(), evidence, NOON)

    assert written(decision) is None
    assert kinds(decision) == {HoldKind.NO_SIGNAL}


def test_a_rollback_replaces_a_climb_under_way_and_says_from_where() -> None:
    decision = decide(a_shift(intent=an_intent(Direction.CLIMB, 25, 100)), seen(25, BAD), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.write is not None
    assert decision.write.from_share == 100


def test_a_rollback_under_way_is_not_written_twice() -> None:
    retreat = an_intent(Direction.RETREAT, 25, 0)
    decision = decide(a_shift(Phase.ROLLING_BACK, intent=retreat), seen(25, BAD), NOON)

    assert (written(decision), decision.kind) == (None, Kind.ROLLBACK)
    assert decision.reason == "rolling back: errors"


def test_a_rollback_from_0_needs_no_write_and_verifies_what_is_live() -> None:
    views = live((old(50), new(0)))
    decision = decide(a_shift(), replace(seen(0, GOOD, an_order(Verb.ROLLBACK)), views=views), NOON)

    assert written(decision) is None
    assert (decision.state.phase, decision.state.since) == (Phase.ROLLED_BACK, NOON)
    assert (decision.state.share, decision.state.verified_at) == (0, NOON)
    assert decision.state.weights == {A.id: {"old": 50, "new": 0}, B.id: {"old": 50, "new": 0}}
    assert decision.reason == "rolled back: ordered by bob: because"


@pytest.mark.parametrize(
    "members",
    [(old(75), new(25, DEAD)), (old(0), new(0))],
    ids=["a dead target that would recover", "weights that lead nowhere"],
)
def test_0_percent_means_that_the_target_has_no_weight_and_the_source_has(members: tuple[Member, ...]) -> None:
    decision = decide(a_shift(Phase.ROLLING_BACK), replace(seen(), views=live(members)), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.write is not None
    assert decision.write.weights == {A.id: {"old": 100, "new": 0}, B.id: {"old": 100, "new": 0}}


def test_a_rollback_onto_a_dead_source_is_refused_and_told() -> None:
    views = live((old(75, DEAD), new(25)))
    decision = decide(a_shift(), replace(seen(25, GOOD, an_order(Verb.ROLLBACK)), views=views), NOON)

    assert (written(decision), decision.state.phase) == (None, Phase.ROLLING_BACK)
    assert kinds(decision) == {HoldKind.COLD_SOURCE}
    assert "the source side has no healthy member" in decision.reason


@pytest.mark.parametrize("problem", ["", "lb-1: throttled"])
def test_a_rollback_waits_for_a_provider_that_does_not_answer(problem: str) -> None:
    evidence = replace(seen(), views=None, provider_problem=problem)
    decision = decide(a_shift(Phase.ROLLING_BACK), evidence, NOON)

    assert decision.reason == f"rolling back: errors (waiting: {problem or 'no answer yet'})"


def test_a_rollback_is_written_on_a_view_that_is_not_fresh_but_not_believed_to_have_arrived_on_one() -> None:
    stale = replace(seen(), provider_problem="lb-1: throttled")
    going = decide(a_shift(Phase.ROLLING_BACK), stale, NOON)
    arrived = decide(a_shift(Phase.ROLLING_BACK), replace(stale, views=live(0)), NOON)
    at_rest = decide(a_shift(Phase.ROLLED_BACK, 0), replace(stale, views=live(0)), NOON)

    assert written(going) == (Direction.RETREAT, 0)
    assert (written(arrived), arrived.state.phase) == (None, Phase.ROLLING_BACK)
    assert arrived.reason == "rolling back: errors (waiting: lb-1: throttled)"
    assert (written(at_rest), at_rest.state.phase) == (None, Phase.ROLLED_BACK)


def test_a_rollback_whose_reason_was_lost_still_goes_back() -> None:
    decision = decide(a_shift(Phase.ROLLING_BACK, failure=None), seen(), NOON)

    assert decision.reason == "rolling back: its last write failed"


def test_a_completed_shift_can_still_be_rolled_back() -> None:
    decision = decide(a_shift(Phase.COMPLETED, 100), seen(100, GOOD, an_order(Verb.ROLLBACK)), NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_a_rolled_back_shift_rests_and_says_how_to_start_over() -> None:
    decision = decide(a_shift(Phase.ROLLED_BACK, 0), seen(0), NOON)

    assert (decision.kind, decision.state.since) == (Kind.HOLD, EARLIER)
    assert decision.reason == "rolled back: errors; `shifter retry` starts over"


def test_a_share_raised_by_hand_after_a_rollback_waits_for_a_persons_order() -> None:
    raised = replace(seen(0), views=live(50))
    left_alone = decide(a_shift(Phase.ROLLED_BACK, 0), raised, NOON)
    ordered = decide(a_shift(Phase.ROLLED_BACK, 0), replace(raised, orders=(an_order(Verb.ROLLBACK),)), NOON)

    assert (written(left_alone), kinds(left_alone)) == (None, {HoldKind.DRIFT})
    assert written(ordered) == (Direction.RETREAT, 0)


def test_a_new_member_with_weight_after_a_rollback_is_taken_off_again() -> None:
    views = live((old(100), new(0), new(10, key="new2")))
    decision = decide(a_shift(Phase.ROLLED_BACK, 0), replace(seen(0), views=views), NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_a_retried_shift_climbs_again_from_the_first_step() -> None:
    decision = decide(a_shift(Phase.ROLLED_BACK, 0), seen(0, GOOD, an_order(Verb.RETRY)), NOON)

    assert written(decision) == (Direction.CLIMB, 5)
    assert decision.state.attempt == 2
