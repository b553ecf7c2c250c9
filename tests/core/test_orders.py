"""What does each order mean to a shift, in every phase?"""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest

from shifter.core.orders import STALE_AFTER, Answer, Order, OrderRequest, Verb, obey, roll_back
from shifter.core.phases import Phase
from shifter.core.state import Direction, Failure, Intent, Pause, Promotion, ShiftState
from tests.core.shifts import NOON, a_policy

LATER = NOON + timedelta(minutes=1)
PAUSED = Pause(by="ann", reason="lunch", at=NOON)
FAILED = Failure(reason="errors", share=25, at=NOON)
POLICY = a_policy("lbl-1", steps=(5, 100))


def a_shift(phase: Phase = Phase.SHIFTING, **changes: object) -> ShiftState:
    fields: dict[str, object] = {"name": "shop", "policy": POLICY, "since": NOON, "phase": phase, "share": 5.0}
    return ShiftState.model_validate(fields | changes)


def an_order(verb: Verb, order_id: int = 7, reason: str = "because", **flags: bool) -> Order:
    return Order(order_id, NOON, OrderRequest("shop", verb, "bob", reason, **flags))


def a_promotion(order_id: int = 3) -> Promotion:
    return Promotion(order_id=order_id, by="ann", reason="")


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
    state, answer = obey(a_shift(phase), an_order(verb), LATER)

    assert (answer.order_id, answer.at) == (7, LATER)
    assert answer.text
    assert state.last_order == 7


@pytest.mark.parametrize(("verb", "phase"), list(product(Verb, Phase)))
def test_a_refused_order_leaves_the_shift_as_it_was(verb: Verb, phase: Phase) -> None:
    before = a_shift(phase, paused=PAUSED, failure=FAILED)
    state, answer = obey(before, an_order(verb), LATER)

    assert answer.answer is Answer.ACCEPTED or state.model_copy(update={"last_order": 0}) == before


def test_the_newest_order_is_remembered_also_when_an_older_one_comes_late() -> None:
    state, _ = obey(a_shift(last_order=9), an_order(Verb.PAUSE, 7), LATER)

    assert state.last_order == 9


@pytest.mark.parametrize("phase", Phase)
def test_pause_is_noted_with_who_and_why_in_every_phase(phase: Phase) -> None:
    state, answer = obey(a_shift(phase), an_order(Verb.PAUSE), LATER)

    assert state.paused == Pause(by="bob", reason="because", at=LATER)
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "paused: the share will not be raised")


def test_pausing_twice_keeps_the_first_pause() -> None:
    state, answer = obey(a_shift(paused=PAUSED), an_order(Verb.PAUSE), LATER)

    assert state.paused == PAUSED
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "already paused by ann")


@pytest.mark.parametrize("paused", [None, PAUSED])
def test_pause_takes_an_earlier_promotion_back(paused: Pause | None) -> None:
    state, _ = obey(a_shift(promotion=a_promotion(), paused=paused), an_order(Verb.PAUSE), LATER)

    assert state.promotion is None


def test_resume_ends_a_pause() -> None:
    state, answer = obey(a_shift(paused=PAUSED), an_order(Verb.RESUME), LATER)

    assert state.paused is None
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "resumed")


def test_resume_without_a_pause_changes_nothing() -> None:
    state, answer = obey(a_shift(), an_order(Verb.RESUME), LATER)

    assert state == a_shift(last_order=7)
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "it was not paused")


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.SHIFTING])
@pytest.mark.parametrize(
    ("full", "text"), [(False, "promoted to the next step"), (True, "promoted to 100 %")], ids=["step", "full"]
)
def test_promote_is_noted_for_the_decision_and_does_not_end_a_pause_yet(phase: Phase, text: str, *, full: bool) -> None:
    state, answer = obey(a_shift(phase, paused=PAUSED), an_order(Verb.PROMOTE, full=full, override=True), LATER)

    assert state.promotion == Promotion(order_id=7, by="bob", reason="because", full=full, override=True)
    assert state.paused == PAUSED
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
    state, answer = obey(a_shift(phase), an_order(Verb.PROMOTE, full=True, override=True), LATER)

    assert state.promotion is None
    assert (answer.answer, answer.text) == (Answer.REFUSED, text)


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.SHIFTING, Phase.COMPLETED])
def test_rollback_goes_back_at_once_and_forgets_a_promotion(phase: Phase) -> None:
    state, answer = obey(a_shift(phase, promotion=a_promotion(), paused=PAUSED), an_order(Verb.ROLLBACK), LATER)

    assert (state.phase, state.since, state.promotion) == (Phase.ROLLING_BACK, LATER, None)
    assert state.failure == Failure(reason="ordered by bob: because", share=5, at=LATER)
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "rolling back to 0 %")


def test_rollback_does_not_end_a_pause() -> None:
    state, _ = obey(a_shift(paused=PAUSED), an_order(Verb.ROLLBACK), LATER)

    assert state.paused == PAUSED


def test_rollback_without_a_reason_still_says_who() -> None:
    state, _ = obey(a_shift(), an_order(Verb.ROLLBACK, reason=""), LATER)

    assert state.failure is not None
    assert state.failure.reason == "ordered by bob"


@pytest.mark.parametrize(("under_way", "failed_at"), [(25, 25), (1, 5)])
def test_rollback_counts_a_write_under_way_as_the_share_it_may_have_reached(under_way: float, failed_at: float) -> None:
    state, _ = obey(a_shift(intent=a_climb(under_way)), an_order(Verb.ROLLBACK), LATER)

    assert state.failure is not None
    assert state.failure.share == failed_at


def test_rollback_during_a_rollback_changes_nothing() -> None:
    before = a_shift(Phase.ROLLING_BACK, failure=FAILED)
    state, answer = obey(before, an_order(Verb.ROLLBACK), LATER)

    assert state == before.model_copy(update={"last_order": 7})
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "it is rolling back already")


def test_rollback_after_a_rollback_goes_back_again_and_keeps_the_first_failure() -> None:
    state, answer = obey(a_shift(Phase.ROLLED_BACK, failure=FAILED), an_order(Verb.ROLLBACK), LATER)

    assert (state.phase, state.since, state.failure) == (Phase.ROLLING_BACK, LATER, FAILED)
    assert answer.answer is Answer.ACCEPTED


def test_retry_begins_a_new_attempt_and_forgets_the_failure_and_the_override() -> None:
    before = a_shift(Phase.ROLLED_BACK, share=0.0, failure=FAILED, overridden=True)
    state, answer = obey(before, an_order(Verb.RETRY), LATER)

    assert (state.phase, state.since, state.attempt) == (Phase.WAITING, LATER, 2)
    assert (state.failure, state.overridden) == (None, False)
    assert (answer.answer, answer.text) == (Answer.ACCEPTED, "attempt 2 begins at 0 %")


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ROLLED_BACK])
def test_retry_is_refused_unless_rolled_back(phase: Phase) -> None:
    _, answer = obey(a_shift(phase), an_order(Verb.RETRY), LATER)

    assert (answer.answer, answer.text) == (
        Answer.REFUSED,
        f"there is nothing to retry: it is {phase}, not RolledBack",
    )


@pytest.mark.parametrize(("verb", "phase"), [pair for pair in product(Verb, Phase) if pair[0] is not Verb.RETRY])
def test_every_order_but_retry_may_be_given_twice(verb: Verb, phase: Phase) -> None:
    once, first = obey(a_shift(phase), an_order(verb, 7), LATER)
    twice, second = obey(once, an_order(verb, 7), LATER)

    assert second.answer is first.answer
    assert twice == once


def test_a_shift_that_goes_back_says_why_from_where_and_since_when() -> None:
    state = roll_back(a_shift(promotion=a_promotion()), "errors", 25, LATER)

    assert (state.phase, state.since, state.promotion) == (Phase.ROLLING_BACK, LATER, None)
    assert state.failure == Failure(reason="errors", share=25, at=LATER)


RAISING = [Verb.RESUME, Verb.PROMOTE, Verb.RETRY]


def in_a_phase_for(verb: Verb) -> ShiftState:
    return a_shift(Phase.ROLLED_BACK if verb is Verb.RETRY else Phase.SHIFTING, paused=PAUSED, failure=FAILED)


@pytest.mark.parametrize("verb", RAISING)
def test_an_order_to_raise_that_is_too_old_is_refused_with_its_age(verb: Verb) -> None:
    before = in_a_phase_for(verb)
    state, answer = obey(before, an_order(verb), NOON + STALE_AFTER + timedelta(seconds=1))

    assert state == before.model_copy(update={"last_order": 7})
    assert answer.answer is Answer.REFUSED
    assert answer.text == "it was given 15m1s ago; give it again if it is still meant"


@pytest.mark.parametrize("verb", RAISING)
def test_an_order_to_raise_is_obeyed_until_it_is_too_old(verb: Verb) -> None:
    _, answer = obey(in_a_phase_for(verb), an_order(verb), NOON + STALE_AFTER)

    assert answer.answer is Answer.ACCEPTED


@pytest.mark.parametrize("verb", RAISING)
def test_an_order_from_the_future_of_another_clock_is_not_too_old(verb: Verb) -> None:
    _, answer = obey(in_a_phase_for(verb), an_order(verb), NOON - timedelta(hours=1))

    assert answer.answer is Answer.ACCEPTED


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.ROLLBACK])
def test_an_order_that_raises_nothing_never_gets_too_old(verb: Verb) -> None:
    _, answer = obey(a_shift(), an_order(verb), NOON + timedelta(days=30))

    assert answer.answer is Answer.ACCEPTED
