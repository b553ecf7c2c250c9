"""What does a shift work towards, and which of its steps is that?"""

from __future__ import annotations

import pytest

from shifter.core.phases import Phase
from shifter.core.state import Direction
from tests.core.shifts import a_shift, an_intent


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
