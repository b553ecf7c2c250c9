"""Looks at the source's workload, and asks its autoscaler for the floor that the shifts' saved pins need.

It is not in a cluster of ours, so both go through a lane and are never waited for beyond a look's deadline. What is
asked for follows from what is saved and what was seen (`core/deciding/pinning.py`); a call that is lost is made again.
"""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import Final, cast

from shifter.core.deciding.pinning import Workload
from shifter.core.text import plain
from shifter.errors import ShifterError
from shifter.ports import SourceWorkload
from shifter.service.lanes import CallLanes, Priority

LANE: Final = "workload/source"


class WorkloadObserver:
    """One look and one pin at a time. Without a workload there is nothing to see, and that is no problem."""

    def __init__(self, workload: SourceWorkload | None, lanes: CallLanes) -> None:
        self._workload = workload
        self._lanes = lanes
        self._asked: Future[Workload] | None = None
        self._pinning: Future[None] | None = None
        self.seen: Workload | None = None
        self.problem = "" if workload is None else "its workload has not been looked at yet"

    def ask(self) -> list[Future[object]]:
        """Ask what there is, and return what is worth waiting for: a look that is late already is not."""
        if self._workload is None or (self._asked is not None and not self._asked.done()):
            return []
        self._asked = self._lanes.run(LANE, Priority.READ, self._workload.observe)
        return [cast("Future[object]", self._asked)]

    def answer(self) -> None:
        """Take up what was answered in time; what was not leaves nothing to believe."""
        if self._asked is None:
            return
        self.seen = None
        if not self._asked.done():
            self.problem = "its workload has not been seen in time"
            return
        try:
            self.seen, self.problem = self._asked.result(), ""
        except ShifterError as error:
            self.problem = plain(str(error))
        except Exception as error:  # noqa: BLE001 - a bug in looking holds, and stops no way back
            self.problem = plain(f"its workload cannot be seen: {type(error).__name__}: {error}")

    def pin(self, floor: int) -> None:
        """Ask for a floor, unless that is under way; whether it came to be is for the next look to say."""
        if self._workload is not None and (self._pinning is None or self._pinning.done()):
            self._pinning = self._lanes.run(LANE, Priority.CLIMB, partial(self._workload.pin, floor))
