"""What somebody deletes from the store while it is looked after: held while it goes, and begun anew once it is gone.

A shift that begins anew knows nothing of what was saved of it. So it raises nothing on what is live, and a climb of its
former life that still waits is not sent. A pause is a person's word, and no deletion of an object takes that back.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from shifter.core.state import Direction, Pause
from shifter.ports import Store
from shifter.service.act import Courier
from shifter.service.telemetry import Telemetry
from shifter.service.turn import Shift


class Deletions:
    """Knows what is being deleted. Not thread-safe: the ticker's."""

    def __init__(self, store: Store, courier: Courier, telemetry: Telemetry) -> None:
        self._store = store
        self._courier = courier
        self._telemetry = telemetry
        self._paused: dict[str, Pause] = {}

    def forget_deleted(self, shifts: MutableMapping[str, Shift]) -> None:
        """Forget the shifts of which nothing is saved any more, before policies are read: those begin them anew.

        Raises:
            ShifterError: it cannot be told now.
        """
        for name in self._store.deleted():
            if name in shifts:
                self.forget(shifts, name)

    def forget(self, shifts: MutableMapping[str, Shift], name: str) -> None:
        """Forget a shift of which nothing is saved any more. What is live will be drift to one that begins anew."""
        self._telemetry.warn("store.problem", reason=f"{name} was deleted from the store; it begins anew")
        state = shifts.pop(name).place.state
        if state.paused is not None:
            self._paused[name] = state.paused
        if state.intent is not None and state.intent.direction is not Direction.RETREAT:
            self._courier.withhold(name, state.intent, "what was saved of it was deleted")

    def hold(self, shifts: Mapping[str, Shift]) -> None:
        """Hold what is being deleted, after policies were read: perhaps nobody knows what it is. It goes down only."""
        for name in self._paused.keys() & shifts.keys():
            place = shifts[name].place
            place.state = place.state.model_copy(update={"paused": self._paused.pop(name)})
        said = "somebody is deleting what is saved of it; it is kept, and goes down only: see docs/operations.md"
        leaving = self._store.leaving()
        for name, shift in shifts.items():
            shift.leaving = said if name in leaving else ""
            shift.policy_problem = shift.leaving or shift.policy_problem
