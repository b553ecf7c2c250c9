"""Looks now and then whether every Shift that a service looks after is still there.

A shift that rests is read no more and hardly written, so its object could be gone for hours before anybody noticed. A
question for each of them would cost more with every shift, and a watch would bring back all that the service writes
itself. So all are listed at once, and the longer that took, the later it is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from shifter.errors import ShifterError
from shifter.ports.kube import Body

CALL_SECONDS: Final = 10.0
"""Between two lists, at least: less than a tick."""

LONGEST_SECONDS: Final = 300.0
_OF_ITS_TIME: Final = 50
"""So many times as long as a list took, there is none: it is a fiftieth of what an API server does for one."""


class Roll:
    """Calls the roll of all Shifts. Not thread-safe: the ticker's.

    Args:
        listed: lists them all, by name.
        monotonic: seconds that only grow.
    """

    def __init__(self, listed: Callable[[], Mapping[str, Body]], monotonic: Callable[[], float]) -> None:
        self._listed = listed
        self._monotonic = monotonic
        self._due_at = monotonic()

    def call(self) -> Mapping[str, Body] | None:
        """Return all Shifts by name; None if they were listed lately, or cannot be listed now."""
        began = self._monotonic()
        if began < self._due_at:
            return None
        try:
            return self._listed()
        except ShifterError:
            return None  # whoever reads or writes one is told the same, and tells people
        finally:
            ended = self._monotonic()
            self._due_at = ended + min(LONGEST_SECONDS, max(CALL_SECONDS, _OF_ITS_TIME * (ended - began)))
