"""The lanes of one process in virtual time: per lock domain one call after another, retreats first.

A call runs at once and to its end as long as nothing stops it. Some are run on a strand, where they may hang, and some
only a while later; then whoever asked has an unanswered future in hand, as with the threads of the real lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar, cast

from shifter.errors import ProviderUnavailableError
from shifter.service.lanes import QUEUE_LIMIT, Priority
from tests.sim.dice import Dice
from tests.sim.kernel import Kernel, Killed, Strand

T = TypeVar("T")


@dataclass(slots=True)
class _Entry:
    priority: Priority
    number: int
    call: Callable[[], object]
    future: Future[object] = field(default_factory=Future)


@dataclass(slots=True)
class _Lane:
    name: str
    waiting: list[_Entry] = field(default_factory=list)
    busy: bool = False


@dataclass(slots=True)
class Pace:
    """How lanes run: the odds that a call has a strand of its own, and that it is late, by at most so many seconds.

    `lates` is which lane was late, from when to when.
    """

    stoppable: float = 0.0
    late: float = 0.0
    latest_seconds: float = 1.5
    lates: list[tuple[str, float, float]] = field(default_factory=list)


class VirtualLanes:
    """The `CallLanes` of one process. `dead` says whether the process is; then every call unwinds."""

    def __init__(self, kernel: Kernel, dice: Dice, pace: Pace, dead: Callable[[], bool]) -> None:
        self.pace = pace
        self._kernel = kernel
        self._dice = dice
        self._dead = dead
        self._lanes: dict[str, _Lane] = {}
        self._strands: dict[Strand, None] = {}
        self._number = 0

    def run(self, domain: str, priority: Priority, call: Callable[[], T]) -> Future[T]:
        """Line a call up, and make it if it is its turn."""
        self._number += 1
        lane = self._lanes.setdefault(domain, _Lane(domain))
        entry = _Entry(priority, self._number, call)
        lane.waiting.append(entry)
        lane.waiting.sort(key=lambda each: (each.priority, each.number))
        if len(lane.waiting) > QUEUE_LIMIT:
            lane.waiting.pop().future.set_exception(ProviderUnavailableError(f"{domain}: too many calls wait"))
        if not lane.busy:
            self._begin(lane)
        if self._dead():
            raise Killed
        return cast("Future[T]", entry.future)

    def tend(self) -> Sequence[str]:
        """Nothing dies here by itself."""
        return ()

    def stop(self, timeout_seconds: float) -> None:
        """Answer what waits."""
        del timeout_seconds
        for domain, lane in self._lanes.items():
            for entry in lane.waiting:
                entry.future.set_exception(ProviderUnavailableError(f"{domain}: shutting down"))
            lane.waiting.clear()

    def kill(self) -> None:
        """End with the process: what runs unwinds, what waits is never made."""
        for lane in self._lanes.values():
            lane.waiting.clear()
        for strand in list(self._strands):
            self._kernel.kill(strand)

    def _begin(self, lane: _Lane) -> None:
        """Let the lane work: now, or a while later; here, or on a strand."""
        lane.busy = True
        if self._dice.hits(self.pace.late):
            late = self._dice.between(0.01, self.pace.latest_seconds)
            self.pace.lates.append((lane.name, self._kernel.now, self._kernel.now + late))
            self._kernel.after(late, lambda: self._on_strand(lane))
        elif self._dice.hits(self.pace.stoppable):
            self._on_strand(lane)
        else:
            self._work(lane)

    def _on_strand(self, lane: _Lane) -> None:
        if self._dead():
            return
        strand = self._kernel.start(lambda: self._work(lane))
        if not strand.ended:
            self._strands[strand] = None

    def _work(self, lane: _Lane) -> None:
        while lane.waiting and not self._dead():
            entry = lane.waiting.pop(0)
            try:
                answer = entry.call()
            except Killed:
                raise
            except BaseException as error:  # noqa: BLE001 - the future carries it to whoever asked
                entry.future.set_exception(error)
            else:
                entry.future.set_result(answer)
        lane.busy = False
