"""What is to be done about a shift? Guard by guard: what a climb waits for, and what is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shifter.core.analysis.verdicts import Verdict
from shifter.core.balancing.splits import Member, shown
from shifter.core.counts.evidence import Counts, Ledger
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Kind
from shifter.core.deciding.gathering import belonging
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.documents.policy import AUTO_STEPS
from shifter.core.phases import Phase
from shifter.core.state import Ceiling, Direction, Setback
from tests.core.shifts import (
    BAD,
    DEAD,
    EARLIER,
    GOOD,
    LITTLE,
    MANY,
    NOON,
    PAUSED,
    A,
    B,
    a_policy,
    a_shift,
    an_intent,
    an_order,
    at_times,
    counted,
    gathered,
    kinds,
    live,
    new,
    old,
    seen,
    ticks,
    weights,
    written,
)


def test_the_first_step_is_taken_from_0_without_a_soak() -> None:
    decision = decide(a_shift(Phase.WAITING, 0), replace(seen(0), settled_at=None), NOON)

    assert written(decision) == (Direction.CLIMB, 5)
    assert decision.kind is Kind.ADVANCE
    assert (decision.state.phase, decision.state.since) == (Phase.SHIFTING, NOON)
    assert decision.reason == f"to 5 %: {decision.assessment.reason}"
    assert decision.assessment.reason.startswith("nothing is known of istio's failures yet")


def test_a_step_is_written_on_every_route_with_the_live_weights_as_its_way_back() -> None:
    write = decide(a_shift(Phase.WAITING, 0), seen(0), NOON).write

    assert write is not None
    assert (write.from_share, write.to_share, write.by) == (0, 5, "shifter")
    assert write.before == weights(0)
    assert write.weights == {A.id: {"old": 95, "new": 5}, B.id: {"old": 95, "new": 5}}


def test_the_phase_begins_anew_only_when_it_changes() -> None:
    decision = decide(a_shift(), seen(), NOON)

    assert written(decision) == (Direction.CLIMB, 100)
    assert (decision.state.phase, decision.state.since) == (Phase.SHIFTING, EARLIER)


def test_a_share_the_metrics_do_not_show_yet_is_waited_for() -> None:
    decision = decide(a_shift(), replace(seen(), settled_at=None), NOON)

    assert (written(decision), decision.kind) == (None, Kind.HOLD)
    assert decision.reason == (
        "settling at tcm 75 · istio 25: the metrics do not show it yet, but tcm 50 · istio 50 of 4000 requests"
    )


def test_a_share_without_requests_is_waited_for_and_says_so() -> None:
    decision = decide(a_shift(), replace(seen(25, ticks(Counts(), Counts())), settled_at=None), NOON)

    assert decision.reason == "settling at tcm 75 · istio 25: the metrics show no requests at it yet"


@pytest.mark.parametrize(("ago", "climbs"), [(59, False), (60, True)])
def test_a_share_soaks_for_as_long_as_the_policy_says(ago: int, *, climbs: bool) -> None:
    decision = decide(a_shift(), replace(seen(), settled_at=NOON - timedelta(seconds=ago)), NOON)

    assert (written(decision) is not None) is climbs
    assert climbs or decision.reason == "soaking at tcm 75 · istio 25: 59 of 60 s of evidence"


def test_too_little_traffic_waits_and_says_so() -> None:
    decision = decide(a_shift(), seen(25, LITTLE), NOON)

    assert decision.holds == ()
    assert decision.reason == f"waiting at tcm 75 · istio 25: too little traffic: {decision.assessment.reason}"
    assert "proof is being gathered, for 180 s more at most" in decision.reason


@pytest.mark.parametrize(("ago", "climbs"), [(9, False), (10, True)])
def test_a_failed_climb_is_tried_again_after_a_while(ago: int, *, climbs: bool) -> None:
    setback = Setback(reason="busy", at=NOON - timedelta(seconds=ago), count=1)
    decision = decide(a_shift(setback=setback), seen(), NOON)

    assert (written(decision) is not None) is climbs
    assert climbs or decision.reason.endswith("the last write failed (busy); trying again in a while")


def test_a_step_that_weights_cannot_express_holds() -> None:
    members = (old(100), new(0, DEAD))
    decision = decide(a_shift(Phase.WAITING, 0, weights={}), replace(seen(0), views=live(members)), NOON)

    assert kinds(decision) == {HoldKind.PREFLIGHT}
    assert (decision.kind, decision.state.phase) == (Kind.HOLD, Phase.WAITING)
    assert decision.reason == "tcm 95 · istio 5 refused: the target side has no healthy member to send traffic to"


def test_a_soaked_100_percent_completes_without_a_write() -> None:
    decision = decide(a_shift(share=100), seen(100, ticks(Counts(), Counts(MANY))), NOON)

    assert (written(decision), decision.kind) == (None, Kind.ADVANCE)
    assert (decision.state.phase, decision.state.since) == (Phase.COMPLETED, NOON)
    assert decision.reason == ("completed: 100 % soaked on istio; nothing is known of istio's failures yet")


def test_no_decision_is_made_on_a_route_that_was_not_shown() -> None:
    views = live(25)
    del views[B.id]
    decision = decide(a_shift(), replace(seen(), views=views), NOON)

    assert kinds(decision) == {HoldKind.PROVIDER}
    assert f"the provider did not show {B.id}" in decision.reason


@pytest.mark.parametrize(
    ("problem", "said"), [("", "the provider has not answered yet"), ("lb-1: throttled", "lb-1: throttled")]
)
def test_a_provider_that_does_not_answer_is_told_with_its_reason(problem: str, said: str) -> None:
    decision = decide(a_shift(), replace(seen(), views=None, provider_problem=problem), NOON)

    assert decision.reason == f"holding: provider: {said}"


@pytest.mark.parametrize("members", [(old(50), new(50)), (old(0), new(0))], ids=["some", "nowhere"])
def test_a_route_that_is_not_at_0_before_the_first_write_is_not_touched(members: tuple[Member, ...]) -> None:
    decision = decide(a_shift(Phase.WAITING, 0, weights={}), replace(seen(), views=live(members)), NOON)

    assert written(decision) is None
    assert kinds(decision) == {HoldKind.PREFLIGHT}
    assert f"{A.id} is at {shown(live(members)[A.id].share)}, though shifter has never written it" in decision.reason


def test_drift_is_told_with_both_splits() -> None:
    decision = decide(a_shift(), replace(seen(), views=live(25, 50)), NOON)

    assert decision.reason == (
        f"holding: drift: somebody changed the weights: {A.id} tcm 75 · istio 25, {B.id} tcm 50 · istio 50, "
        "last verified tcm 75 · istio 25 (old 75→50, new 25→50); "
        "`shifter reconcile shop --adopt` or `--restore` decides"
    )


@pytest.mark.parametrize("reason", ["", "lunch"])
def test_a_pause_is_told_with_who_and_why(reason: str) -> None:
    decision = decide(a_shift(paused=PAUSED.model_copy(update={"reason": reason})), seen(), NOON)

    assert decision.reason == ("holding: pause: paused by ann" + (f": {reason}" if reason else ""))


def test_a_write_under_way_is_finished_first() -> None:
    decision = decide(a_shift(intent=an_intent(Direction.CLIMB, 25, 100)), seen(), NOON)

    assert (written(decision), decision.kind) == (None, Kind.HOLD)
    assert decision.reason == "writing tcm 0 · istio 100: said so"


@pytest.mark.parametrize("weight", [50, 30])
def test_a_completed_shift_tells_drift(weight: int) -> None:
    views = live((old(weight), new(100)))
    decision = decide(a_shift(Phase.COMPLETED, 100), replace(seen(100), views=views), NOON)

    assert written(decision) is None
    assert decision.reason.startswith("completed, but somebody changed the weights")


def test_a_completed_shift_tells_traffic_that_still_reaches_the_source() -> None:
    decision = decide(a_shift(Phase.COMPLETED, 100), seen(100), NOON)

    assert decision.reason == "completed, but tcm still answered 2000 requests in the last tick"


def test_of_a_completed_shift_the_newest_tick_counts_and_a_single_request_is_told() -> None:
    quiet, one = (Counts(), Counts(MANY)), (Counts(1), Counts(MANY))
    fell_silent = decide(a_shift(Phase.COMPLETED, 100), seen(100, at_times(one, one, quiet)), NOON)
    came_back = decide(a_shift(Phase.COMPLETED, 100), seen(100, at_times(quiet, quiet, one)), NOON)

    assert fell_silent.reason == "completed: all traffic is on istio"
    assert came_back.reason == "completed, but tcm still answered 1 requests in the last tick"


@pytest.mark.parametrize("ledger", [Ledger(), ticks(Counts(), Counts(MANY))])
def test_a_completed_shift_without_source_traffic_is_at_rest(ledger: Ledger) -> None:
    decision = decide(a_shift(Phase.COMPLETED, 100), seen(100, ledger), NOON)

    assert decision.reason == "completed: all traffic is on istio"


def test_orders_are_obeyed_in_the_order_of_their_ids() -> None:
    orders = (an_order(Verb.RESUME, 2), an_order(Verb.PAUSE, 1))
    decision = decide(a_shift(), seen(25, GOOD, *orders), NOON)

    assert [answer.order_id for answer in decision.answers] == [1, 2]
    assert all(answer.answer is Answer.ACCEPTED for answer in decision.answers)
    assert decision.state.paused is None


def test_the_source_gets_its_full_weight_in_a_write_of_its_own_before_the_first_step() -> None:
    bound = live((old(10), new(0)))
    first = decide(a_shift(Phase.WAITING, 0, weights={}), replace(seen(0), views=bound), NOON)
    raised = live((old(100), new(0)))
    second = decide(a_shift(Phase.WAITING, 0), replace(seen(0), views=raised), NOON)

    assert written(first) == (Direction.KEEP, 0)
    assert first.write is not None
    assert first.write.weights == weights(0)
    assert written(second) == (Direction.CLIMB, 5)


@pytest.mark.parametrize("override", [True, False])
def test_the_write_before_the_first_step_is_whose_step_it_is(*, override: bool) -> None:
    evidence = replace(seen(0, GOOD, an_order(Verb.PROMOTE, override=override)), views=live((old(10), new(0))))
    write = decide(a_shift(Phase.WAITING, 0, weights={}), evidence, NOON).write

    assert write is not None
    assert (write.reason, write.by) == ("the source's weights first, still at 0 %", "bob")
    assert (write.promoted, write.override) == (True, override)


def test_the_kinds_of_what_holds_are_remembered() -> None:
    decision = decide(a_shift(paused=PAUSED), replace(seen(), leader=False), NOON)

    assert decision.state.holds == (HoldKind.LEASE, HoldKind.PAUSE)


def test_from_the_least_share_on_the_sources_weights_are_the_steps_matter() -> None:
    decision = decide(a_shift(share=1, policy=a_policy("a", "b", steps=(1, 5, 100))), seen(1), NOON)

    assert written(decision) == (Direction.CLIMB, 5)


def test_an_overridden_shift_whose_target_is_well_climbs_by_itself() -> None:
    assert written(decide(a_shift(overridden=True), seen(), NOON)) == (Direction.CLIMB, 100)


def test_what_failed_in_an_earlier_attempt_says_nothing_about_the_next_one() -> None:
    failing = gathered(BAD)
    again = belonging(failing, a_shift(attempt=2))
    first = decide(a_shift(), replace(seen(25, BAD), standing=failing), NOON)
    second = decide(a_shift(attempt=2), replace(seen(25, BAD), standing=again), NOON)

    assert written(first) == (Direction.RETREAT, 0)
    assert (written(second), second.assessment.verdict) == (None, Verdict.TOO_LITTLE)


@pytest.mark.parametrize("attempt", [2, 31, 100, 10_000])
def test_a_failing_target_goes_back_however_often_it_was_retried(attempt: int) -> None:
    failing = replace(seen(25, BAD), standing=gathered(BAD, 25, attempt))
    decision = decide(a_shift(attempt=attempt), failing, NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_a_first_step_under_way_goes_back_only_from_a_dead_target() -> None:
    state = a_shift(share=0, intent=an_intent(Direction.CLIMB, 0, 25))
    some = at_times((Counts(MANY), Counts(30, 15)))
    all_of_them = at_times((Counts(MANY), Counts(300, 299)))

    spared = decide(state, replace(seen(25), **counted(some, 0)), NOON)  # type: ignore[arg-type]
    dead = decide(state, replace(seen(25), **counted(all_of_them, 0)), NOON)  # type: ignore[arg-type]

    assert written(spared) is None
    assert written(dead) == (Direction.RETREAT, 0)
    assert dead.reason == ("rolling back: istio failed 299 of 300 requests in one tick while tcm is well: dead")


# Before history is learnt


def test_nothing_climbs_before_it_is_known_what_the_source_is_like() -> None:
    missing = "learning what tcm is like: 3 ticks and 9 requests, 8 ticks and 100 requests are needed"
    unknown = replace(seen(0), standing=None, lacking=missing)
    decision = decide(a_shift(Phase.WAITING, 0), unknown, NOON)

    assert (written(decision), decision.holds) == (None, ())
    assert decision.reason == f"waiting at tcm 100 · istio 0: too little traffic: {missing}"


def test_a_person_may_promote_before_history_was_learnt() -> None:
    unknown = replace(seen(0, GOOD, an_order(Verb.PROMOTE)), standing=None, lacking="learning what tcm is like")

    assert written(decide(a_shift(Phase.WAITING, 0), unknown, NOON)) == (Direction.CLIMB, 5)


# Steps


AUTO = a_policy("a", "b", steps=())
LOW, HIGHER, GATE = (int(step) for step in AUTO_STEPS[3:6])


def test_of_auto_steps_the_largest_one_that_is_small_enough_is_written() -> None:
    decision = decide(a_shift(Phase.WAITING, 0, policy=AUTO), seen(0), NOON)

    assert decision.assessment.step is not None
    assert decision.assessment.step > (decision.state.next_step or 0)
    assert written(decision) == (Direction.CLIMB, decision.assessment.step)


def test_auto_steps_leave_out_rungs_on_good_evidence_but_none_beyond_the_plateau() -> None:
    below = decide(a_shift(share=LOW, policy=AUTO), seen(LOW), NOON)
    beyond = decide(a_shift(share=50, policy=AUTO), seen(50), NOON)

    assert written(below) == (Direction.CLIMB, max(step for step in AUTO_STEPS if step <= 3 * LOW))
    assert written(beyond) == (Direction.CLIMB, min(step for step in AUTO_STEPS if step > 50))


@pytest.mark.parametrize(("share", "climbs"), [(LOW, True), (HIGHER, False)])
def test_auto_steps_end_below_a_gate_that_nobody_approved(share: int, *, climbs: bool) -> None:
    gated = a_policy("a", "b", steps=(), approvals=(GATE,))
    decision = decide(a_shift(share=share, policy=gated), seen(share), NOON)

    assert written(decision) == ((Direction.CLIMB, HIGHER) if climbs else None)
    assert kinds(decision) == (set() if climbs else {HoldKind.APPROVAL})


@pytest.mark.parametrize(("share", "climbs"), [(LOW, True), (HIGHER, False)])
def test_auto_steps_end_below_the_share_that_failed(share: int, *, climbs: bool) -> None:
    ceiling = Ceiling(share=GATE, reason="it broke", at=EARLIER)
    decision = decide(a_shift(share=share, policy=AUTO, ceiling=ceiling), seen(share), NOON)

    assert written(decision) == ((Direction.CLIMB, HIGHER) if climbs else None)
    assert kinds(decision) == (set() if climbs else {HoldKind.STEPPED_BACK})


def test_a_listed_step_that_could_cost_too_much_waits_and_says_what_it_could_cost() -> None:
    decision = decide(a_shift(share=5), seen(5, LITTLE), NOON)

    assert written(decision) is None
    assert decision.reason.startswith("waiting at tcm 95 · istio 5: too little traffic: a step to 25 % could cost")
