"""What does each order mean to a shift, in every phase?"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest

from shifter.core.deciding.orders import (
    FLEET,
    FLEET_VERBS,
    LONGEST_HANDS_OFF,
    STALE_AFTER,
    Answer,
    Order,
    OrderAnswer,
    OrderRequest,
    Promotion,
    Reconciliation,
    Verb,
    Wish,
    obey,
    obey_all,
    roll_back,
    words_of,
)
from shifter.core.documents.policy import AUTO_STEPS, ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.state import Approval, Ceiling, Direction, Failure, FleetState, Freeze, Intent, Pause, ShiftState
from tests.core.shifts import NOON, a_policy

LATER = NOON + timedelta(minutes=1)
PAUSED = Pause(by="ann", reason="lunch", at=NOON)
FAILED = Failure(reason="errors", share=25, at=NOON)
CEILING = Ceiling(share=50, reason="errors", at=NOON)
POLICY = a_policy("lbl-1", steps=(5, 100))
GATED = a_policy("lbl-1", steps=(5, 50, 100), approvals=(50, 100))
STAYING = a_policy("lbl-1", steps=(5, 100), on_failure="hold")
APPROVED = Approval(before=50, by="bob", reason="because", at=LATER)


def a_shift(phase: Phase = Phase.SHIFTING, **changes: object) -> ShiftState:
    fields: dict[str, object] = {"name": "shop", "policy": POLICY, "since": NOON, "phase": phase, "share": 5.0}
    return ShiftState.model_validate(fields | changes)


def an_order(verb: Verb, order_id: int = 7, reason: str = "because", **asked: Any) -> Order:  # noqa: ANN401 - any field
    return Order(order_id, NOON, OrderRequest("shop", verb, "bob", reason, **asked))


def obeyed(state: ShiftState, order: Order, now: datetime) -> tuple[ShiftState, OrderAnswer]:
    made, answer = obey(state, order, now)
    return made.state, answer


def wish_of(state: ShiftState, order: Order) -> Wish | None:
    return obey(state, order, LATER)[0].wish


def a_climb(to_share: float) -> Intent:
    return Intent(
        sequence=1,
        epoch=1,
        direction=Direction.CLIMB,
        from_share=5,
        to_share=to_share,
        reason="",
        by="shifter",
        created_at=NOON,
        deadline=LATER,
        before={},
        weights={},
    )


@pytest.mark.parametrize(("verb", "phase"), list(product(Verb, Phase)))
def test_every_order_gets_its_own_answer_in_every_phase_and_is_remembered(verb: Verb, phase: Phase) -> None:
    state, answer = obeyed(a_shift(phase), an_order(verb), LATER)

    assert (answer.order_id, answer.at) == (7, LATER)
    assert answer.text
    assert state.last_order == 7


@pytest.mark.parametrize(("verb", "phase"), list(product(Verb, Phase)))
def test_a_refused_order_leaves_the_shift_as_it_was(verb: Verb, phase: Phase) -> None:
    before = a_shift(phase, paused=PAUSED, failure=FAILED)
    state, answer = obeyed(before, an_order(verb), LATER)

    assert answer.answer is Answer.ACCEPTED or state.model_copy(update={"last_order": 0}) == before


def test_the_newest_order_is_remembered_also_when_an_older_one_comes_late() -> None:
    state, _ = obeyed(a_shift(last_order=9), an_order(Verb.PAUSE, 7), LATER)

    assert state.last_order == 9


@pytest.mark.parametrize("phase", Phase)
def test_pause_is_noted_with_who_and_why_in_every_phase(phase: Phase) -> None:
    state, answer = obeyed(a_shift(phase), an_order(Verb.PAUSE), LATER)

    assert state.paused == Pause(by="bob", reason="because", at=LATER)
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "paused: the share will not be raised")


@pytest.mark.parametrize("direction", Direction)
def test_a_pause_says_that_a_write_under_way_may_still_land(direction: Direction) -> None:
    under_way = a_climb(25).model_copy(update={"direction": direction})
    _, answer = obeyed(a_shift(intent=under_way), an_order(Verb.PAUSE), LATER)

    landing = "; a write to 25 % is under way and may still land" * (direction is not Direction.RETREAT)
    assert answer.text == f"paused: the share will not be raised{landing}"


def test_hands_off_is_not_prolonged_by_a_clock_that_is_set_back() -> None:
    state, _ = obeyed(a_shift(), an_order(Verb.PAUSE, hands_off=timedelta(minutes=30)), LATER)

    assert state.paused is not None
    assert state.paused.hands_off(LATER - timedelta(minutes=5))
    assert not state.paused.hands_off(LATER - timedelta(days=3))


def test_hands_off_may_be_for_the_longest_time_and_asking_again_for_the_same_changes_nothing() -> None:
    longest = an_order(Verb.PAUSE, hands_off=LONGEST_HANDS_OFF)
    state, taken = obeyed(a_shift(), longest, LATER)
    same, again = obeyed(state, longest, LATER)
    _, beyond = obeyed(a_shift(), an_order(Verb.PAUSE, hands_off=LONGEST_HANDS_OFF + timedelta(seconds=1)), LATER)

    assert [each.answer for each in (taken, again, beyond)] == [Answer.ACCEPTED, Answer.ACCEPTED, Answer.REFUSED]
    assert again.text.endswith("only resume makes it shorter")
    assert same.paused == state.paused


def test_pausing_twice_keeps_the_first_pause() -> None:
    state, answer = obeyed(a_shift(paused=PAUSED), an_order(Verb.PAUSE), LATER)

    assert state.paused == PAUSED
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "already paused by ann: lunch")


def test_resume_ends_a_pause() -> None:
    state, answer = obeyed(a_shift(paused=PAUSED), an_order(Verb.RESUME), LATER)

    assert state.paused is None
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "resumed; it was paused by ann: lunch")


def test_resume_without_a_pause_changes_nothing() -> None:
    state, answer = obeyed(a_shift(), an_order(Verb.RESUME), LATER)

    assert state == a_shift(last_order=7)
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "it was not paused")


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.SHIFTING])
@pytest.mark.parametrize(
    ("full", "text"), [(False, "promoted to the next step"), (True, "promoted to 100 %")], ids=["step", "full"]
)
def test_promote_is_noted_for_the_decision_and_does_not_end_a_pause_yet(phase: Phase, text: str, *, full: bool) -> None:
    order = an_order(Verb.PROMOTE, full=full, override=True)
    made, answer = obey(a_shift(phase, paused=PAUSED), order, LATER)

    assert made.wish == Promotion(7, "bob", "because", 100 if full else None, override=True)
    assert made.state.paused == PAUSED
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, text)


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        (Phase.COMPLETED, "it is completed: there is nothing to promote"),
        (Phase.ROLLING_BACK, "it was rolled back: retry it first"),
        (Phase.ROLLED_BACK, "it was rolled back: retry it first"),
    ],
)
def test_promote_is_refused_where_there_is_no_next_step(phase: Phase, text: str) -> None:
    made, answer = obey(a_shift(phase), an_order(Verb.PROMOTE, full=True, override=True), LATER)

    assert made.wish is None
    assert (answer.answer, answer.text) == (Answer.REFUSED, text)


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.SHIFTING, Phase.COMPLETED])
def test_rollback_goes_back_at_once(phase: Phase) -> None:
    state, answer = obeyed(a_shift(phase, paused=PAUSED), an_order(Verb.ROLLBACK), LATER)

    assert (state.phase, state.since) == (Phase.ROLLING_BACK, LATER)
    assert state.failure == Failure(reason="ordered by bob: because", share=5, at=LATER, ordered=True)
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "rolling back to 0 %")


def test_rollback_does_not_end_a_pause() -> None:
    state, _ = obeyed(a_shift(paused=PAUSED), an_order(Verb.ROLLBACK), LATER)

    assert state.paused == PAUSED


def test_rollback_without_a_reason_still_says_who() -> None:
    state, _ = obeyed(a_shift(), an_order(Verb.ROLLBACK, reason=""), LATER)

    assert state.failure is not None
    assert state.failure.reason == "ordered by bob"


@pytest.mark.parametrize(("under_way", "failed_at"), [(25, 25), (1, 5)])
def test_rollback_counts_a_write_under_way_as_the_share_it_may_have_reached(under_way: float, failed_at: float) -> None:
    state, _ = obeyed(a_shift(intent=a_climb(under_way)), an_order(Verb.ROLLBACK), LATER)

    assert state.failure is not None
    assert state.failure.share == failed_at


def test_rollback_during_a_rollback_changes_nothing() -> None:
    before = a_shift(Phase.ROLLING_BACK, failure=FAILED)
    state, answer = obeyed(before, an_order(Verb.ROLLBACK), LATER)

    assert state == before.model_copy(update={"last_order": 7})
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "it is rolling back already")


def test_rollback_after_a_rollback_goes_back_again_and_keeps_the_first_failure() -> None:
    state, answer = obeyed(a_shift(Phase.ROLLED_BACK, failure=FAILED), an_order(Verb.ROLLBACK), LATER)

    assert (state.phase, state.since, state.failure) == (Phase.ROLLING_BACK, LATER, FAILED)
    assert answer.answer is Answer.ACCEPTED


def test_retry_begins_a_new_attempt_and_forgets_the_failure_the_ceiling_the_override_and_the_approvals() -> None:
    forgotten = {"failure": FAILED, "ceiling": CEILING, "overridden": True, "approved": (APPROVED,)}
    before = a_shift(Phase.ROLLED_BACK, share=0.0, **forgotten)
    state, answer = obeyed(before, an_order(Verb.RETRY), LATER)

    assert (state.phase, state.since, state.attempt) == (Phase.WAITING, LATER, 2)
    assert (state.failure, state.ceiling, state.overridden, state.approved) == (None, None, False, ())
    assert (answer.answer, answer.text) == (
        Answer.ACCEPTED,
        "attempt 2 begins at 0 %; it goes back at odds of 200:1 (attempt 1: 100:1)",
    )


def test_retry_after_a_step_back_lets_the_share_go_where_it_failed_and_leaves_the_rest_as_it_is() -> None:
    before = a_shift(ceiling=CEILING, attempt=2, overridden=True, policy=GATED, approved=(APPROVED,), paused=PAUSED)
    state, answer = obeyed(before, an_order(Verb.RETRY), LATER)

    assert state == before.model_copy(update={"ceiling": None, "overridden": False, "last_order": 7})
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "it may reach 50 % again, from 5 %")


def test_retry_begins_a_new_attempt_where_a_failing_target_stays_in_place() -> None:
    before = a_shift(policy=STAYING, overridden=True, verified_at=NOON)
    state, answer = obeyed(before, an_order(Verb.RETRY), LATER)

    anew = {"attempt": 2, "overridden": False, "last_order": 7, "verified_at": LATER}
    assert state == before.model_copy(update=anew)
    assert (answer.answer, answer.text) == (
        Answer.ACCEPTED,
        "attempt 2 begins at 5 %: evidence anew; it fails at odds of 200:1 (attempt 1: 100:1)",
    )


def test_a_retry_in_place_needs_its_gates_approved_anew() -> None:
    approval = Approval(before=25, by="ann", reason="", at=NOON)
    state, _ = obeyed(a_shift(policy=STAYING, approved=(approval,)), an_order(Verb.RETRY), LATER)

    assert state.approved == ()


def test_a_retry_in_place_verifies_nothing_that_was_not() -> None:
    state, _ = obeyed(a_shift(policy=STAYING, verified_at=None), an_order(Verb.RETRY), LATER)

    assert (state.attempt, state.verified_at) == (2, None)


def test_a_retry_says_what_it_costs_by_the_policys_own_limit() -> None:
    analysis = POLICY.spec.analysis.model_copy(update={"false_rollback_percent": 10.0})
    policy = POLICY.model_copy(update={"spec": POLICY.spec.model_copy(update={"analysis": analysis})})
    before = a_shift(Phase.ROLLED_BACK, share=0.0, attempt=3, policy=policy)
    _, answer = obeyed(before, an_order(Verb.RETRY), LATER)

    assert answer.text == "attempt 4 begins at 0 %; it goes back at odds of 80:1 (attempt 3: 40:1)"


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in {Phase.SHIFTING, Phase.ROLLED_BACK}])
@pytest.mark.parametrize("changes", [{"policy": STAYING}, {"ceiling": CEILING}], ids=["stays", "stepped back"])
def test_retry_in_place_is_only_for_a_shift_on_its_way(phase: Phase, changes: dict[str, object]) -> None:
    before = a_shift(phase, **changes)
    state, answer = obeyed(before, an_order(Verb.RETRY), LATER)

    assert answer.answer is Answer.REFUSED
    assert state == before.model_copy(update={"last_order": 7})


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ROLLED_BACK])
def test_retry_is_refused_unless_rolled_back(phase: Phase) -> None:
    _, answer = obeyed(a_shift(phase), an_order(Verb.RETRY), LATER)

    assert (answer.answer, answer.text) == (
        Answer.REFUSED,
        f"there is nothing to retry: it is {phase}, not RolledBack",
    )


@pytest.mark.parametrize(("verb", "phase"), [pair for pair in product(Verb, Phase) if pair[0] is not Verb.RETRY])
def test_every_order_but_retry_may_be_given_twice(verb: Verb, phase: Phase) -> None:
    once, first = obeyed(a_shift(phase), an_order(verb, 7), LATER)
    twice, second = obeyed(once, an_order(verb, 7), LATER)

    assert second.answer is first.answer
    assert twice == once


def test_a_shift_that_goes_back_says_why_from_where_and_since_when() -> None:
    state = roll_back(a_shift(), "errors", 25, LATER)

    assert (state.phase, state.since) == (Phase.ROLLING_BACK, LATER)
    assert state.failure == Failure(reason="errors", share=25, at=LATER)


RAISING = [Verb.RESUME, Verb.APPROVE, Verb.PROMOTE, Verb.RETRY, Verb.RECONCILE]


def in_a_phase_for(verb: Verb) -> ShiftState:
    phase = Phase.ROLLED_BACK if verb is Verb.RETRY else Phase.SHIFTING
    return a_shift(phase, paused=PAUSED, failure=FAILED, policy=GATED)


@pytest.mark.parametrize("verb", RAISING)
def test_an_order_to_raise_that_is_too_old_is_refused_with_its_age(verb: Verb) -> None:
    before = in_a_phase_for(verb)
    state, answer = obeyed(before, an_order(verb), NOON + STALE_AFTER + timedelta(seconds=1))

    assert state == before.model_copy(update={"last_order": 7})
    assert answer.answer is Answer.REFUSED
    assert answer.text == "it was given 15m1s ago; give it again if it is still meant"


@pytest.mark.parametrize("verb", RAISING)
def test_an_order_to_raise_is_obeyed_until_it_is_too_old(verb: Verb) -> None:
    _, answer = obeyed(in_a_phase_for(verb), an_order(verb), NOON + STALE_AFTER)

    assert answer.answer is Answer.ACCEPTED


@pytest.mark.parametrize("verb", RAISING)
def test_an_order_from_the_future_is_refused_once_that_is_more_than_two_clocks_may_differ(verb: Verb) -> None:
    _, ahead = obeyed(in_a_phase_for(verb), an_order(verb), NOON - STALE_AFTER)
    _, far = obeyed(in_a_phase_for(verb), an_order(verb), NOON - timedelta(hours=1))

    assert ahead.answer is Answer.ACCEPTED
    assert (far.answer, far.text) == (
        Answer.REFUSED,
        "its time is 1h ahead: look at the clocks, and give it again",
    )


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.ROLLBACK])
def test_an_order_that_raises_nothing_never_gets_too_old(verb: Verb) -> None:
    _, answer = obeyed(a_shift(), an_order(verb), NOON + timedelta(days=30))

    assert answer.answer is Answer.ACCEPTED


@pytest.mark.parametrize("verb", sorted(FLEET_VERBS))
def test_an_order_for_all_shifts_is_refused_when_it_names_one(verb: Verb) -> None:
    _, answer = obeyed(a_shift(), an_order(verb), LATER)

    assert (answer.answer, answer.text) == (
        Answer.REFUSED,
        f"{verb} is for all shifts together, not for one",
    )


# Hands off


def test_hands_off_pauses_and_says_until_when_nothing_is_written() -> None:
    state, answer = obeyed(a_shift(), an_order(Verb.PAUSE, hands_off=timedelta(minutes=30)), LATER)

    until = NOON + timedelta(minutes=30)
    assert state.paused == Pause(by="bob", reason="because", at=LATER, hands_off_until=until)
    assert answer.text == (
        "hands off until 2026-03-04 12:30:00 UTC: nothing is written, not even to go back; then it stays paused"
    )


def test_hands_off_takes_over_from_a_pause_and_may_be_prolonged() -> None:
    state, _ = obeyed(a_shift(paused=PAUSED), an_order(Verb.PAUSE, 1, hands_off=timedelta(minutes=2)), LATER)
    longer, _ = obeyed(state, an_order(Verb.PAUSE, 2, hands_off=timedelta(hours=1)), LATER)

    assert longer.paused is not None
    assert longer.paused.hands_off_until == NOON + timedelta(hours=1)


@pytest.mark.parametrize("by", ["bob", "ann"])
def test_hands_off_is_not_cut_short_by_another_one(by: str) -> None:
    long, _ = obeyed(a_shift(), an_order(Verb.PAUSE, 1, hands_off=timedelta(hours=1)), LATER)
    short = Order(2, LATER, OrderRequest("shop", Verb.PAUSE, by, "q", hands_off=timedelta(seconds=2)))
    state, answer = obeyed(long, short, LATER)

    assert state.paused == long.paused
    assert answer.text == (
        "hands off until 2026-03-04 13:00:00 UTC already, by order of bob: because; only resume makes it shorter"
    )


def test_a_plain_pause_does_not_end_hands_off() -> None:
    before, _ = obeyed(a_shift(), an_order(Verb.PAUSE, 1, hands_off=timedelta(hours=1)), LATER)
    state, answer = obeyed(before, an_order(Verb.PAUSE, 2), LATER)

    assert state.paused == before.paused
    assert answer.text == "already paused by bob: because"


@pytest.mark.parametrize(("paused", "by"), [(None, "bob"), (PAUSED, "ann")])
def test_hands_off_that_found_no_service_until_it_was_over_is_a_pause(paused: Pause | None, by: str) -> None:
    late = NOON + timedelta(minutes=30)
    state, answer = obeyed(a_shift(paused=paused), an_order(Verb.PAUSE, hands_off=timedelta(minutes=30)), late)

    assert state.paused is not None
    assert (state.paused.by, state.paused.hands_off_until) == (by, None)
    assert answer.text == "paused; the time that hands off was asked for is over"


def test_hands_off_by_a_clock_that_is_ahead_lasts_no_longer_than_asked() -> None:
    state, _ = obeyed(a_shift(), an_order(Verb.PAUSE, hands_off=timedelta(hours=1)), NOON - timedelta(hours=3))

    assert state.paused is not None
    assert state.paused.hands_off_until == NOON - timedelta(hours=2)


@pytest.mark.parametrize("span", [timedelta(0), timedelta(seconds=-1), LONGEST_HANDS_OFF + timedelta(seconds=1)])
def test_hands_off_is_refused_beyond_its_bounds(span: timedelta) -> None:
    state, answer = obeyed(a_shift(), an_order(Verb.PAUSE, hands_off=span), LATER)

    assert state.paused is None
    assert (answer.answer, answer.text) == (Answer.REFUSED, "hands off is for at most 12h at a time")


def test_rollback_during_hands_off_is_refused_and_says_what_to_do_first() -> None:
    state, _ = obeyed(a_shift(), an_order(Verb.PAUSE, 1, hands_off=timedelta(hours=1)), LATER)
    after, answer = obeyed(state, an_order(Verb.ROLLBACK, 2), LATER)
    late, later_answer = obeyed(state, an_order(Verb.ROLLBACK, 3), LATER + timedelta(hours=1))

    assert (after.phase, answer.answer) == (Phase.SHIFTING, Answer.REFUSED)
    assert answer.text == (
        "hands off until 2026-03-04 13:00:00 UTC, by order of bob: because; `shifter resume shop` first, then roll back"
    )
    assert (late.phase, later_answer.answer) == (Phase.ROLLING_BACK, Answer.ACCEPTED)


# Approvals


def test_approve_lets_the_share_pass_the_next_gate() -> None:
    state, answer = obeyed(a_shift(policy=GATED), an_order(Verb.APPROVE), LATER)

    assert state.approved == (APPROVED,)
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "approved: the share may reach 50 %")
    assert (a_shift(policy=GATED).gate(50), state.gate(50), state.gate(100)) == (50, None, 100)


def test_a_gate_is_approved_ahead_and_by_its_share() -> None:
    state, answer = obeyed(a_shift(policy=GATED), an_order(Verb.APPROVE, share=100.0), LATER)

    assert [approval.before for approval in state.approved] == [100]
    assert answer.answer is Answer.ACCEPTED
    assert state.gate(100) == 50


def test_two_people_who_approve_one_gate_are_both_answered_and_the_first_is_remembered() -> None:
    once, _ = obeyed(a_shift(policy=GATED), an_order(Verb.APPROVE, 1, share=50.0), LATER)
    twice, answer = obeyed(once, an_order(Verb.APPROVE, 2, share=50.0), LATER)

    assert twice.approved == once.approved
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "already approved before 50 % by bob")


@pytest.mark.parametrize(
    ("policy", "share", "text"),
    [
        (POLICY, None, "there is nothing to approve; gates of its policy: none"),
        (POLICY, 50.0, "there is nothing to approve before 50 %; gates of its policy: none"),
        (GATED, 25.0, "there is nothing to approve before 25 %; gates of its policy: 50 %, 100 %"),
    ],
)
def test_approve_without_such_a_gate_is_refused(policy: ShiftPolicy, share: float | None, text: str) -> None:
    state, answer = obeyed(a_shift(policy=policy), an_order(Verb.APPROVE, share=share), LATER)

    assert state.approved == ()
    assert (answer.answer, answer.text) == (Answer.REFUSED, text)


@pytest.mark.parametrize("phase", [Phase.ROLLING_BACK, Phase.ROLLED_BACK])
def test_approve_is_refused_after_a_rollback_since_it_is_for_one_attempt(phase: Phase) -> None:
    _, answer = obeyed(a_shift(phase, policy=GATED), an_order(Verb.APPROVE), LATER)

    assert answer.answer is Answer.REFUSED
    assert answer.text.startswith("it was rolled back: retry it first")


# Promotions to a step, reconciliations


@pytest.mark.parametrize("share", [AUTO_STEPS[0], AUTO_STEPS[-2]])
def test_promote_to_a_step_of_auto_names_one_of_its_rungs(share: float) -> None:
    automatic = a_policy("lbl-1", steps=())

    assert obeyed(a_shift(policy=automatic), an_order(Verb.PROMOTE, share=share), LATER)[1].answer is Answer.ACCEPTED
    assert obeyed(a_shift(policy=automatic), an_order(Verb.PROMOTE, share=51.0), LATER)[1].text == (
        f"51 is not a step of its policy: {', '.join(f'{step:g}' for step in AUTO_STEPS)}"
    )


def test_promote_to_a_step_names_it_and_anything_else_is_refused() -> None:
    made, answer = obey(a_shift(policy=GATED), an_order(Verb.PROMOTE, share=50.0), LATER)
    odd, refusal = obey(a_shift(policy=GATED), an_order(Verb.PROMOTE, share=51.0), LATER)

    assert made.wish == Promotion(7, "bob", "because", 50.0)
    assert answer.text == "promoted to 50 %"
    assert odd.wish is None
    assert (refusal.answer, refusal.text) == (Answer.REFUSED, "51 is not a step of its policy: 5, 50, 100")


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.SHIFTING])
@pytest.mark.parametrize("adopt", [False, True])
def test_reconcile_is_noted_for_the_decision(phase: Phase, *, adopt: bool) -> None:
    assert wish_of(a_shift(phase), an_order(Verb.RECONCILE, adopt=adopt)) == Reconciliation(
        7, "bob", "because", adopt=adopt
    )


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.ROLLING_BACK, Phase.ROLLED_BACK])
def test_what_is_live_cannot_be_adopted_once_a_shift_is_not_on_its_way(phase: Phase) -> None:
    made, answer = obey(a_shift(phase), an_order(Verb.RECONCILE, adopt=True), LATER)

    assert made.wish is None
    assert (answer.answer, answer.text) == (
        Answer.REFUSED,
        f"it is {phase}: what is live cannot be adopted, only restored",
    )


def test_restoring_a_completed_shift_is_for_the_decision() -> None:
    assert wish_of(a_shift(Phase.COMPLETED), an_order(Verb.RECONCILE)) == Reconciliation(7, "bob", "because")


def test_restoring_a_shift_that_went_back_brings_it_back_again() -> None:
    rolling, first = obeyed(a_shift(Phase.ROLLING_BACK, failure=FAILED), an_order(Verb.RECONCILE), LATER)
    rolled, second = obeyed(a_shift(Phase.ROLLED_BACK, failure=FAILED), an_order(Verb.RECONCILE), LATER)

    assert (rolling.phase, first.text) == (Phase.ROLLING_BACK, "it is rolling back already")
    assert (rolled.phase, second.answer) == (Phase.ROLLING_BACK, Answer.ACCEPTED)


# All shifts together


def fleet_order(verb: Verb, order_id: int = 7, reason: str = "because", by: str = "bob") -> Order:
    return Order(order_id, NOON, OrderRequest(FLEET, verb, by, reason))


def test_freeze_is_remembered_with_who_and_why() -> None:
    fleet, answer = obey_all(FleetState(), fleet_order(Verb.FREEZE), LATER)

    assert fleet == FleetState(freezes=(Freeze(by="bob", reason="because", at=LATER),), last_order=7)
    assert (answer.order_id, answer.answer) == (7, Answer.ACCEPTED)
    assert (
        answer.text == "frozen: no share will be raised, but writes under way may still land; rollback stays possible"
    )


def test_everybody_who_freezes_is_remembered_once_and_named_to_the_next() -> None:
    once, _ = obey_all(FleetState(), fleet_order(Verb.FREEZE, 1), LATER)
    twice, answer = obey_all(once, fleet_order(Verb.FREEZE, 2, by="ann", reason="lunch"), LATER)
    again, _ = obey_all(twice, fleet_order(Verb.FREEZE, 3, reason="still"), LATER)

    assert [freeze.why for freeze in twice.freezes] == ["bob: because", "ann: lunch"]
    assert answer.text.endswith("rollback stays possible; also frozen by bob: because")
    assert [freeze.why for freeze in again.freezes] == ["ann: lunch", "bob: still"]


def test_unfreeze_lifts_a_freeze_whoever_gave_it() -> None:
    once, _ = obey_all(FleetState(), fleet_order(Verb.FREEZE, 1), LATER)
    frozen, _ = obey_all(once, fleet_order(Verb.FREEZE, 1, reason="", by="ann"), LATER)
    fleet, answer = obey_all(frozen, fleet_order(Verb.UNFREEZE, 2, by="ann"), LATER)
    again, second = obey_all(fleet, fleet_order(Verb.UNFREEZE, 3), LATER)

    assert (fleet.freezes, answer.text) == ((), "unfrozen; it was frozen by bob: because and by ann")
    assert (again.freezes, second.answer, second.text) == ((), Answer.ACCEPTED, "it was not frozen")


def test_an_old_unfreeze_is_refused_and_an_old_freeze_is_obeyed() -> None:
    frozen, first = obey_all(FleetState(), fleet_order(Verb.FREEZE, 1), NOON + timedelta(days=3))
    still, second = obey_all(frozen, fleet_order(Verb.UNFREEZE, 2), NOON + timedelta(days=3))

    assert first.answer is Answer.ACCEPTED
    assert (still.freezes, second.answer) == (frozen.freezes, Answer.REFUSED)


@pytest.mark.parametrize("verb", sorted(set(Verb) - FLEET_VERBS))
def test_an_order_for_one_shift_is_refused_when_it_names_none(verb: Verb) -> None:
    fleet, answer = obey_all(FleetState(), fleet_order(verb), LATER)

    assert fleet == FleetState(last_order=7)
    assert (answer.answer, answer.text) == (Answer.REFUSED, f"{verb} is for one shift, not for all of them together")


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (an_order(Verb.PAUSE, reason=""), "pause"),
        (an_order(Verb.PAUSE, hands_off=timedelta(minutes=30)), "pause --hands-off --for 30m (because)"),
        (an_order(Verb.PROMOTE, full=True, override=True), "promote --full --override (because)"),
        (an_order(Verb.PROMOTE, share=50.0), "promote --to 50 (because)"),
        (an_order(Verb.APPROVE, share=50.0), "approve --before 50 (because)"),
        (an_order(Verb.RECONCILE, adopt=True), "reconcile --adopt (because)"),
        (an_order(Verb.RECONCILE), "reconcile --restore (because)"),
    ],
)
def test_an_order_is_told_as_it_was_typed(order: Order, words: str) -> None:
    assert words_of(order.request) == words
