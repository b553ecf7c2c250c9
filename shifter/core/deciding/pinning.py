"""The floors of the source's autoscalers: raised before the first step, put back once nothing is out any more.

An autoscaler that nobody told shrinks the source as its traffic leaves, down to its floor. So before the first step the
floor is raised to what is ready then, and only when it was read back does the step follow: that of the gateway, and
those of the Deployments that the policy names. A pin is part of the shift's state and saved before anything is asked
for; what is to be asked follows from state and look alone, so a crash between the two costs a look. Shifts share one
gateway: the highest pin counts, and whoever is the last to go puts back what was there before the first.

A pin is released at 0 % after a rollback, and when the policy names its Deployment no more. A completed shift keeps its
own without insisting on it: the source is to be scaled down then, by people, and nothing of shifter's works against
them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.state import Pin, ShiftState

GATEWAY: Final = "gateway"
"""What a mesh's gateway is called among workloads; Deployments have a `/` in their names."""

Pins = Mapping[str, Pin]
"""By workload."""

Beside = Mapping[str, Sequence[Pin]]
"""The pins of other shifts, by workload."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload of a cluster, in replicas: how many are ready, and its autoscaler's floor, None without."""

    ready: int
    floor: int | None


def concerned(policy: ShiftPolicy) -> tuple[str, ...]:
    """Return the workloads that a policy rests on: the gateway, and the Deployments that it names."""
    return (GATEWAY, *policy.spec.way_back.deployments)


def pins_of(state: ShiftState) -> Pins:
    """Return all pins of a shift."""
    return {**({} if state.pin is None else {GATEWAY: state.pin}), **state.pins}


def with_pins(state: ShiftState, pins: Pins) -> ShiftState:
    """Return the state with these pins and no others; the same if it has them."""
    if pins == pins_of(state):
        return state
    own = {name: pin for name, pin in sorted(pins.items()) if name != GATEWAY}
    return state.model_copy(update={"pin": pins.get(GATEWAY), "pins": own})


def needed(state: ShiftState, workloads: Mapping[str, Workload], others: Beside, now: datetime) -> Pins:
    """Return the pins that the first step needs, those that the state has among them.

    Args:
        state: the shift's, at 0 %.
        workloads: as seen now; of one that was not seen, or has no autoscaler, there is nothing to pin.
        others: the pins of other shifts on the same workloads.
        now: when.
    """
    pins = dict(pins_of(state))
    for name in concerned(state.policy):
        seen, mine, beside = workloads.get(name), pins.get(name), others.get(name, ())
        if seen is None or seen.floor is None or (mine is not None and not mine.released):
            continue
        inherited = [pin.before for pin in (*beside, *([] if mine is None else [mine]))]
        pins[name] = Pin(
            before=min(inherited, default=seen.floor),
            floor=max(seen.ready, seen.floor, *(pin.floor for pin in beside)),
            at=now,
        )
    return pins


def not_kept(state: ShiftState, workloads: Mapping[str, Workload]) -> Collection[str]:
    """Return the workloads whose autoscalers do not keep to the shift's pins, as read back; those without do."""
    return [name for name, pin in pins_of(state).items() if not pin.released and _is_below(workloads.get(name), pin)]


def after(state: ShiftState, workloads: Mapping[str, Workload], others: Beside) -> ShiftState:
    """Return the state with what its pins have become: released when due, and gone once the floors are put back.

    Whoever changed a floor meanwhile meant it: what is not the pin any more is left alone.
    """
    wanted = () if state.phase is Phase.ROLLED_BACK else concerned(state.policy)
    pins = {
        name: _after(pin, workloads.get(name), others.get(name, ()), needed=name in wanted)
        for name, pin in pins_of(state).items()
    }
    return with_pins(state, {name: pin for name, pin in pins.items() if pin is not None})


def asks_for(state: ShiftState, workloads: Mapping[str, Workload], others: Beside) -> Mapping[str, int]:
    """Return the floors that are to be asked for now, by workload: none as it should be, none that is nobody's."""
    if state.phase is Phase.COMPLETED:
        return {}
    asked = {
        name: _asks_for(pin, workloads[name].floor, others.get(name, ()))
        for name, pin in pins_of(state).items()
        if name in workloads
    }
    return {name: floor for name, floor in asked.items() if floor is not None}


def words(name: str, now: Pin | None) -> str:
    """Return what became of a workload's pin, as people read it."""
    whose = "tcm's autoscaler" if name == GATEWAY else f"tcm's autoscaler of {name}"
    if now is None:
        return f"{whose} is its own again"
    if now.released:
        return f"{whose} need not keep {now.floor} replicas any more: back to {now.before}"
    return f"{whose} is to keep at least {now.floor} replicas; its floor was {now.before}"


def _is_below(workload: Workload | None, pin: Pin) -> bool:
    return workload is not None and workload.floor is not None and workload.floor < pin.floor


def _after(pin: Pin, workload: Workload | None, others: Sequence[Pin], *, needed: bool) -> Pin | None:
    if not pin.released:
        return pin if needed else pin.model_copy(update={"released": True})
    if workload is None or (workload.floor == pin.floor and _resting(pin, others) != pin.floor):
        return pin
    return None


def _asks_for(pin: Pin, floor: int | None, others: Sequence[Pin]) -> int | None:
    if floor is None:
        return None
    if pin.released:
        rest = _resting(pin, others)
        return rest if floor == pin.floor and rest != floor else None
    return pin.floor if floor < pin.floor else None


def _resting(pin: Pin, others: Sequence[Pin]) -> int:
    """Return the floor without this pin: what other shifts still need, or what was there before the first of them."""
    return max((other.floor for other in others), default=pin.before)
