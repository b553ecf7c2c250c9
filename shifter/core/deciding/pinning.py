"""The autoscaler's floor of the source's gateway: raised before the first step, put back once nothing is out any more.

An autoscaler that nobody told shrinks the source as its traffic leaves, down to its floor. So before the first step the
floor is raised to what is ready then, and only when it was read back does the step follow. A pin is part of the shift's
state and saved before anything is asked for; what is to be asked follows from state and look alone, so a crash between
the two costs a look. Shifts share one gateway: the highest pin counts, and whoever is the last to go puts back what was
there before the first.

A pin is released at 0 % after a rollback. A completed shift keeps its own without insisting on it: the source is to be
scaled down then, by people, and nothing of shifter's works against them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shifter.core.phases import Phase
from shifter.core.state import Pin, ShiftState


@dataclass(frozen=True, slots=True)
class Workload:
    """What the source's gateway runs as, in replicas: how many are ready, and its autoscaler's floor, None without."""

    ready: int
    floor: int | None


def needed(state: ShiftState, workload: Workload | None, others: Sequence[Pin], now: datetime) -> Pin | None:
    """Return the pin that the first step needs and the state does not have; None if it has it, or none can be had.

    Args:
        state: the shift's, at 0 %.
        workload: as seen now; without it, or without an autoscaler, there is nothing to pin.
        others: the pins of other shifts on the same workload.
        now: when.
    """
    mine = state.pin
    if workload is None or workload.floor is None or (mine is not None and not mine.released):
        return None
    inherited = [pin.before for pin in (*others, *([] if mine is None else [mine]))]
    return Pin(
        before=min(inherited, default=workload.floor),
        floor=max(workload.ready, workload.floor, *(pin.floor for pin in others)),
        at=now,
    )


def in_force(state: ShiftState, workload: Workload | None) -> bool:
    """Return whether the autoscaler keeps to the shift's pin, as read back; true where there is none to keep to."""
    if state.pin is None or workload is None or workload.floor is None:
        return True
    return state.pin.released or workload.floor >= state.pin.floor


def after(state: ShiftState, workload: Workload | None, others: Sequence[Pin]) -> Pin | None:
    """Return what the shift's pin has become: released at 0 % after a rollback, and gone once the floor is put back.

    Whoever changed the floor meanwhile meant it: what is not the pin any more is left alone.
    """
    pin = state.pin
    if pin is None or (not pin.released and state.phase is not Phase.ROLLED_BACK):
        return pin
    if not pin.released:
        return pin.model_copy(update={"released": True})
    if workload is None or (workload.floor == pin.floor and resting(pin, others) != pin.floor):
        return pin
    return None


def resting(pin: Pin, others: Sequence[Pin]) -> int:
    """Return the floor without this pin: what other shifts still need, or what was there before the first of them."""
    return max((other.floor for other in others), default=pin.before)


def asks_for(state: ShiftState, workload: Workload, others: Sequence[Pin]) -> int | None:
    """Return the floor that is to be asked for now; None if it is as it should be, or nobody's any more."""
    pin, floor = state.pin, workload.floor
    if pin is None or floor is None or state.phase is Phase.COMPLETED:
        return None
    if pin.released:
        rest = resting(pin, others)
        return rest if floor == pin.floor and rest != floor else None
    return pin.floor if floor < pin.floor else None


def words(now: Pin | None) -> str:
    """Return what became of a pin, as people read it."""
    if now is None:
        return "tcm's autoscaler is its own again"
    if now.released:
        return f"tcm's autoscaler need not keep {now.floor} replicas any more: back to {now.before}"
    return f"tcm's autoscaler is to keep at least {now.floor} replicas; its floor was {now.before}"
