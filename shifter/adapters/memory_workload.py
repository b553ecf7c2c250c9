"""The port to the source's workload in memory, for tests and dry runs: a gateway with an autoscaler, and no cluster.

An autoscaler that is told a higher floor makes replicas at once; what makes them ready or takes them away again is a
test's business (`scale`). What is wrong can be ordered: `down` refuses every call, `deaf` takes a pin and forgets it,
`loses_answers` sets the floor and then fails. Every pin that was asked for is in `asked`.
"""

from __future__ import annotations

import threading

from shifter.core.deciding.pinning import Workload
from shifter.errors import CapacityUnavailableError, InvariantError


class MemoryWorkload:
    """The `SourceWorkload` port over numbers that exist only here. Safe to call from several threads.

    Args:
        ready: replicas that are ready, from 0.
        floor: the autoscaler's floor, None without one.
    """

    def __init__(self, ready: int, floor: int | None) -> None:
        self._lock = threading.Lock()
        self._ready = ready
        self._floor = floor
        self.down = self.deaf = self.loses_answers = False
        self.asked: list[int] = []

    def observe(self) -> Workload:
        """Return what there is now."""
        with self._lock:
            self._refuse()
            return Workload(self._ready, self._floor)

    def pin(self, floor: int) -> None:
        """Set the floor."""
        if floor < 1:
            raise InvariantError(f"a floor of {floor} replicas would be no way back")
        with self._lock:
            self._refuse()
            self.asked.append(floor)
            if self._floor is not None and not self.deaf:
                self._floor, self._ready = floor, max(self._ready, floor)
            if self.loses_answers:
                raise CapacityUnavailableError("the answer was lost")

    def scale(self, ready: int) -> None:
        """Let the autoscaler go to so many replicas, as far as its floor lets it."""
        with self._lock:
            self._ready = max(ready, self._floor or 0)

    def set_floor(self, floor: int) -> None:
        """Set the floor as a person would."""
        with self._lock:
            self._floor = floor

    def _refuse(self) -> None:
        if self.down:
            raise CapacityUnavailableError("nobody answers")
