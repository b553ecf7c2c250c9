"""The phases of a shift as a table: a move that is not in it cannot happen.

The diagram in `docs/phases.md` is generated from this table by `diagram`, and a test fails when it is stale.
A hold is not a phase: it forbids climbing and nothing else (`deciding/holds.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from shifter.errors import InvariantError


class Phase(StrEnum):
    """Where a shift is."""

    WAITING = "Waiting"
    SHIFTING = "Shifting"
    COMPLETED = "Completed"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"


class Event(StrEnum):
    """What moves a shift from one phase to another."""

    CLIMB = "climb"
    FINISH = "finish"
    RETREAT = "retreat"
    SETTLE = "settle"
    RETRY = "retry"


TRANSITIONS: Final[Mapping[tuple[Phase, Event], Phase]] = MappingProxyType(
    {
        (Phase.WAITING, Event.CLIMB): Phase.SHIFTING,
        (Phase.WAITING, Event.RETREAT): Phase.ROLLING_BACK,
        (Phase.SHIFTING, Event.CLIMB): Phase.SHIFTING,
        (Phase.SHIFTING, Event.FINISH): Phase.COMPLETED,
        (Phase.SHIFTING, Event.RETREAT): Phase.ROLLING_BACK,
        (Phase.COMPLETED, Event.RETREAT): Phase.ROLLING_BACK,
        (Phase.ROLLING_BACK, Event.RETREAT): Phase.ROLLING_BACK,
        (Phase.ROLLING_BACK, Event.SETTLE): Phase.ROLLED_BACK,
        (Phase.ROLLED_BACK, Event.RETREAT): Phase.ROLLING_BACK,
        (Phase.ROLLED_BACK, Event.RETRY): Phase.WAITING,
    }
)


def after(phase: Phase, event: Event) -> Phase:
    """Return the phase that `event` leads to.

    Raises:
        InvariantError: the table has no such move.
    """
    try:
        return TRANSITIONS[phase, event]
    except KeyError:
        raise InvariantError(f"{event} is not a move out of {phase}") from None


def diagram() -> str:
    """Return the table as a Mermaid state diagram."""
    moves = "\n".join(f"    {phase} --> {to} : {event}" for (phase, event), to in TRANSITIONS.items())
    return f"stateDiagram-v2\n    [*] --> {Phase.WAITING}\n{moves}\n"
