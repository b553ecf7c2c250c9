"""The clocks of one machine, reckoned from true time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tests.sim.kernel import Kernel


@dataclass(slots=True)
class Clock:
    """One machine's clocks: `rate` is how fast they run, `offset_seconds` how far the wall clock is off."""

    kernel: Kernel
    zero: float
    rate: float = 1.0
    offset_seconds: float = 0.0

    @property
    def error_seconds(self) -> float:
        """How far the wall clock is off by now."""
        return self.offset_seconds + self.monotonic() - self.kernel.now

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self.kernel.now * self.rate

    def wall(self) -> datetime:
        """What this machine takes for the time."""
        return datetime.fromtimestamp(round(self.zero + self.offset_seconds + self.monotonic(), 6), UTC)
