"""What other actors are going to do: a bounded list of things to do and when. Knows no clock and no lock.

The emulator asks for what is due whenever somebody looks, so that nothing needs a timer of its own.
"""

import heapq
from collections.abc import Callable
from typing import TypeAlias

from shifter.lab.emulator.cloud import Cloud

MAX_ENTRIES = 10_000
Errand: TypeAlias = Callable[[Cloud, float], None]
"""Given the cloud and the time, in seconds since the epoch. It raises nothing: nobody is there to hear it."""


class Agenda:
    """Errands in the order they fall due. Not thread-safe: the emulator owns the lock around it."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Errand]] = []
        self._count = 0

    def add(self, at: float, errand: Errand) -> None:
        """Remember to do something at a time, in seconds since the epoch.

        Raises:
            ValueError: too much is planned already.
        """
        if len(self._entries) >= MAX_ENTRIES:
            raise ValueError(f"{MAX_ENTRIES} things are planned already")
        self._count += 1
        heapq.heappush(self._entries, (at, self._count, errand))

    def take_due(self, now: float) -> list[Errand]:
        """Return what is due, earliest first, and forget it."""
        due = []
        while self._entries and self._entries[0][0] <= now:
            due.append(heapq.heappop(self._entries)[2])
        return due

    def next_due(self) -> float | None:
        """Return when the next errand is due, in seconds since the epoch."""
        return self._entries[0][0] if self._entries else None
