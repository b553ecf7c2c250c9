"""May this move happen? Every pair of phase and event is asked."""

from __future__ import annotations

from itertools import product

import pytest

from shifter.core.phases import TRANSITIONS, Event, Phase, after, diagram
from shifter.errors import InvariantError

MOVES = {
    ("Waiting", "climb"): "Shifting",
    ("Waiting", "retreat"): "RollingBack",
    ("Shifting", "climb"): "Shifting",
    ("Shifting", "finish"): "Completed",
    ("Shifting", "retreat"): "RollingBack",
    ("Completed", "retreat"): "RollingBack",
    ("RollingBack", "retreat"): "RollingBack",
    ("RollingBack", "settle"): "RolledBack",
    ("RolledBack", "retreat"): "RollingBack",
    ("RolledBack", "retry"): "Waiting",
}
PAIRS = list(product(Phase, Event))


@pytest.mark.parametrize(("phase", "event"), [pair for pair in PAIRS if pair in MOVES])
def test_a_move_of_the_table_leads_where_it_says(phase: Phase, event: Event) -> None:
    assert after(phase, event) == MOVES[phase, event]


@pytest.mark.parametrize(("phase", "event"), [pair for pair in PAIRS if pair not in MOVES])
def test_a_move_that_is_not_in_the_table_cannot_happen(phase: Phase, event: Event) -> None:
    with pytest.raises(InvariantError, match=f"{event} is not a move out of {phase}"):
        after(phase, event)


def test_the_table_has_no_other_moves() -> None:
    assert MOVES == TRANSITIONS


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_a_way_back(phase: Phase) -> None:
    assert after(phase, Event.RETREAT) is Phase.ROLLING_BACK


@pytest.mark.parametrize("phase", [Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.COMPLETED])
def test_nothing_climbs_out_of_a_rollback_or_beyond_the_end(phase: Phase) -> None:
    assert (phase, Event.CLIMB) not in TRANSITIONS


def test_the_diagram_contains_every_move_and_the_start() -> None:
    lines = diagram().splitlines()

    assert lines[:2] == ["stateDiagram-v2", "    [*] --> Waiting"]
    assert lines[2:] == [f"    {phase} --> {to} : {event}" for (phase, event), to in MOVES.items()]
