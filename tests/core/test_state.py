"""What does a shift work towards, and which of its steps is that?"""

from __future__ import annotations

import pytest

from shifter.core.documents.policy import AUTO_STEPS
from shifter.core.phases import Phase
from shifter.core.state import Ceiling, Direction
from tests.core.shifts import EARLIER, a_policy, a_shift, an_intent


@pytest.mark.parametrize(("share", "step"), [(0, 0), (5, 1), (25, 2), (100, 3)])
def test_a_shift_with_nothing_under_way_wants_what_it_has(share: int, step: int) -> None:
    state = a_shift(share=share)

    assert (state.wanted, state.step) == (share, step)


def test_a_shift_with_a_write_under_way_wants_what_is_being_written() -> None:
    state = a_shift(share=5, intent=an_intent(Direction.CLIMB, 5, 25))

    assert (state.wanted, state.step) == (25, 2)


def test_a_shift_on_its_way_back_wants_0_whatever_is_under_way() -> None:
    state = a_shift(Phase.ROLLING_BACK, intent=an_intent(Direction.CLIMB, 25, 100))

    assert (state.wanted, state.step) == (0, 0)


@pytest.mark.parametrize(("share", "step", "next_step"), [(0, 0, AUTO_STEPS[0]), (100, len(AUTO_STEPS), None)])
def test_the_steps_of_a_shift_with_auto_steps_are_the_rungs_it_chooses_among(
    share: int, step: int, next_step: float | None
) -> None:
    state = a_shift(share=share, policy=a_policy("a", "b", steps=()))

    assert (state.step, state.next_step) == (step, next_step)


@pytest.mark.parametrize(
    ("share", "ceiling", "below"),
    [(25, None, 5), (5, None, 0), (100, 100, 25), (100, 25, 5), (25, 100, 5), (5, 5, 0)],
)
def test_a_step_back_leads_to_the_rung_below_the_share_and_below_the_ceiling(
    share: int, ceiling: float | None, below: float
) -> None:
    failed = None if ceiling is None else Ceiling(share=ceiling, reason="errors", at=EARLIER)

    assert a_shift(share=share, ceiling=failed).step_below == below
