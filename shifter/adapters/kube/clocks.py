"""A machine's clocks that only grow, and how much time has passed between two looks at them. Nothing here waits.

No clock is ever held against another machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both of a machine's clocks that only grow, in seconds; `booted` goes on while it is suspended."""

    monotonic: float
    booted: float

    def least_since(self, earlier: Instant) -> float:
        """Return how many seconds have passed at least: what one who waits counts."""
        return min(self.monotonic - earlier.monotonic, self.booted - earlier.booted)

    def most_since(self, earlier: Instant) -> float:
        """Return how many seconds have passed at most: what one who holds something counts."""
        return max(self.monotonic - earlier.monotonic, self.booted - earlier.booted)


def _booted() -> float:
    """Return seconds since the machine was booted, suspension counted; where nobody counts that, the monotonic."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@dataclass(frozen=True, slots=True)
class Clocks:
    """A machine's clocks. `wall` is only ever shown to people: nobody decides by it."""

    monotonic: Callable[[], float] = time.monotonic
    booted: Callable[[], float] = _booted
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)

    def now(self) -> Instant:
        """Return this moment."""
        return Instant(self.monotonic(), self.booted())
