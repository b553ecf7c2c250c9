"""When is the floor of the source's autoscaler raised, insisted on, and put back?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.deciding.pinning import GATEWAY, Workload, asks_for, not_kept, words
from shifter.core.phases import Phase
from shifter.core.state import Direction, Pin, ShiftState
from tests.core.shifts import GOOD, NOON, PAUSED, a_shift, an_order, kinds, seen, written


def a_pin(before: int = 1, floor: int = 4, *, released: bool = False) -> Pin:
    return Pin(before=before, floor=floor, at=NOON, released=released)


def looked(share: int, workload: Workload | None, *others: Pin, problem: str = "") -> Evidence:
    known = {} if workload is None else {GATEWAY: workload}
    return replace(seen(share), workloads=known, pins={GATEWAY: others}, workload_problem=problem)


def first(**changes: object) -> ShiftState:
    return a_shift(Phase.WAITING, 0, **changes)


def test_the_floor_is_pinned_before_the_first_step_which_waits_until_it_is_read_back() -> None:
    asked = decide(first(), looked(0, Workload(4, 1)), NOON)
    waits = decide(asked.state, looked(0, Workload(4, 1)), NOON)
    goes = decide(asked.state, looked(0, Workload(4, 4)), NOON)

    assert (written(asked), asked.state.pin, asked.state.phase) == (None, a_pin(), Phase.WAITING)
    assert asked.reason == "before the first step tcm's autoscaler is to keep at least 4 replicas; its floor was 1"
    assert (written(waits), waits.reason, waits.state.pin) == (None, asked.reason, a_pin())
    assert (written(goes), goes.state.pin) == ((Direction.CLIMB, 5), a_pin())


@pytest.mark.parametrize("workload", [None, Workload(4, None)], ids=["nobody to ask", "no autoscaler"])
def test_where_there_is_no_autoscaler_the_first_step_is_taken_at_once(workload: Workload | None) -> None:
    decision = decide(first(), looked(0, workload), NOON)

    assert (written(decision), decision.state.pin) == ((Direction.CLIMB, 5), None)


def test_a_floor_that_keeps_everything_already_is_recorded_and_not_waited_for() -> None:
    decision = decide(first(), looked(0, Workload(4, 4)), NOON)

    assert (written(decision), decision.state.pin) == ((Direction.CLIMB, 5), a_pin(before=4))


def test_a_promotion_is_refused_until_the_floor_is_pinned() -> None:
    evidence = replace(looked(0, Workload(4, 1)), orders=[an_order(Verb.PROMOTE)])
    decision = decide(first(paused=PAUSED), evidence, NOON)

    (answer,) = decision.answers
    assert (written(decision), decision.state.pin, decision.state.paused) == (None, a_pin(), PAUSED)
    assert (answer.answer, answer.text) == (
        Answer.REFUSED,
        (
            "not promoted: before the first step tcm's autoscaler is to keep at least 4 replicas; its floor was 1;"
            " ask again"
        ),
    )


def test_beside_another_shifts_pin_what_there_was_before_the_first_of_them_is_remembered() -> None:
    decision = decide(first(), looked(0, Workload(3, 4), a_pin(before=2)), NOON)

    assert decision.state.pin == a_pin(before=2, floor=4)


def test_beside_another_shifts_pin_the_floor_is_at_least_what_that_one_needs() -> None:
    decision = decide(first(), looked(0, Workload(3, 4), a_pin(before=2, floor=9)), NOON)

    assert decision.state.pin == a_pin(before=2, floor=9)


@pytest.mark.parametrize(
    ("pin", "workload", "kept"),
    [
        (None, None, True),
        (None, Workload(4, 1), True),
        (a_pin(), None, True),
        (a_pin(), Workload(4, None), True),
        (a_pin(), Workload(4, 3), False),
        (a_pin(), Workload(4, 4), True),
        (a_pin(released=True), Workload(4, 3), True),
    ],
)
def test_a_pin_is_in_force_where_there_is_none_to_keep_to_or_the_floor_is_as_high(
    pin: Pin | None, workload: Workload | None, *, kept: bool
) -> None:
    assert (not not_kept(first(pin=pin), {} if workload is None else {GATEWAY: workload})) is kept


def test_a_pin_that_was_not_put_back_yet_is_taken_up_again() -> None:
    decision = decide(first(pin=a_pin(released=True)), looked(0, Workload(6, 4)), NOON)

    assert decision.state.pin == a_pin(floor=6)


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.SHIFTING])
def test_a_workload_that_does_not_answer_holds(phase: Phase) -> None:
    share = 0 if phase is Phase.WAITING else 25
    decision = decide(a_shift(phase, share), looked(share, None, problem="nobody answers"), NOON)

    assert (written(decision), kinds(decision)) == (None, {HoldKind.COLD_SOURCE})
    assert decision.reason == (
        "holding: cold source: whether tcm could take everything back cannot be seen: nobody answers"
    )


def test_after_a_rollback_it_is_released_and_forgotten_once_it_is_put_back() -> None:
    pinned = a_shift(Phase.ROLLED_BACK, 0, pin=a_pin())
    released = decide(pinned, looked(0, Workload(4, 4)), NOON).state
    unknown = decide(released, looked(0, None, problem="nobody answers"), NOON)
    waits = decide(released, looked(0, Workload(4, 4)), NOON).state
    done = decide(released, looked(0, Workload(4, 1)), NOON).state

    assert released.pin == waits.pin == unknown.state.pin == a_pin(released=True)
    assert unknown.holds == ()
    assert done.pin is None


def test_on_its_way_and_completed_it_stays_pinned() -> None:
    for phase, share in [(Phase.SHIFTING, 25), (Phase.ROLLING_BACK, 25), (Phase.COMPLETED, 100)]:
        state = decide(a_shift(phase, share, pin=a_pin()), looked(share, Workload(4, 4)), NOON).state

        assert state.pin == a_pin()


@pytest.mark.parametrize(
    ("state", "workload", "others", "floor"),
    [
        (a_shift(pin=a_pin()), Workload(4, 1), (), 4),
        (a_shift(pin=a_pin()), Workload(4, 4), (), None),
        (a_shift(pin=a_pin()), Workload(9, 9), (), None),
        (a_shift(pin=a_pin()), Workload(4, None), (), None),
        (a_shift(), Workload(4, 1), (), None),
        (a_shift(Phase.COMPLETED, 100, pin=a_pin()), Workload(1, 1), (), None),
        (a_shift(Phase.ROLLED_BACK, 0, pin=a_pin(released=True)), Workload(4, 4), (), 1),
        (a_shift(Phase.ROLLED_BACK, 0, pin=a_pin(released=True)), Workload(4, 4), (a_pin(floor=3),), 3),
        (a_shift(Phase.ROLLED_BACK, 0, pin=a_pin(released=True)), Workload(4, 4), (a_pin(),), None),
        (a_shift(Phase.ROLLED_BACK, 0, pin=a_pin(released=True)), Workload(6, 6), (), None),
    ],
    ids=[
        "lost",
        "kept",
        "raised by a person",
        "no autoscaler",
        "no pin",
        "completed",
        "released",
        "released beside a lower one",
        "released beside the same",
        "released and changed by a person",
    ],
)
def test_the_floor_that_is_asked_for_follows_from_the_pin_and_what_is_there(
    state: ShiftState, workload: Workload, others: tuple[Pin, ...], floor: int | None
) -> None:
    assert asks_for(state, {GATEWAY: workload}, {GATEWAY: others}).get(GATEWAY) == floor


def test_a_released_pin_that_another_shift_needs_as_it_is_or_a_person_changed_is_nobodys_any_more() -> None:
    released = a_shift(Phase.ROLLED_BACK, 0, pin=a_pin(released=True))

    assert decide(released, looked(0, Workload(4, 4), a_pin()), NOON).state.pin is None
    assert decide(released, looked(0, Workload(9, 9)), NOON).state.pin is None


def test_what_became_of_a_pin_is_said() -> None:
    assert [words(GATEWAY, pin) for pin in (a_pin(), a_pin(released=True), None)] == [
        "tcm's autoscaler is to keep at least 4 replicas; its floor was 1",
        "tcm's autoscaler need not keep 4 replicas any more: back to 1",
        "tcm's autoscaler is its own again",
    ]


def test_a_pin_says_nothing_about_a_shift_that_needs_no_first_step() -> None:
    decision = decide(a_shift(), looked(25, Workload(4, 1)), NOON)

    assert (written(decision), decision.state.pin) == ((Direction.CLIMB, 100), None)
    assert decide(a_shift(), seen(25, GOOD), NOON).write == decision.write
