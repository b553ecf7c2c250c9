"""Which lines of the log only say again what was said, and how often they were left out.

While a neighbour is away each shift has the same to say in every tick. So it is said once, and then every few minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

MOST_LINES: Final = 10_000
"""So many lines are remembered; what was said longest ago is forgotten, and said again, before more are."""

_NUMBER: Final = re.compile(r"\d+")


@dataclass(slots=True)
class _Said:
    at: float
    left_out: int = 0


class Repeats:
    """What was said lately.

    Args:
        every_seconds: so often the same is said again.
        monotonic: seconds that only grow.
    """

    def __init__(self, every_seconds: float, monotonic: Callable[[], float]) -> None:
        self._every_seconds = every_seconds
        self._monotonic = monotonic
        self._said: dict[Hashable, _Said] = {}

    def due(self, line: Hashable) -> int | None:
        """Return how often a line was left out since it was last said, if it is to be said now; None if it is not."""
        now, said = self._monotonic(), self._said.get(line)
        if said is not None and now - said.at < self._every_seconds:
            said.left_out += 1
            return None
        self._said.pop(line, None)
        if len(self._said) >= MOST_LINES:
            self._said.pop(next(iter(self._said)))
        self._said[line] = _Said(now)
        return 0 if said is None else said.left_out


def without_numbers(text: str) -> str:
    """Return a sentence that is the same whatever it counts: seconds of waiting, versions, ports."""
    return _NUMBER.sub("0", text)
