"""Virtual time, and stacks that can stop in the middle: nothing here sleeps, and nothing runs at the same time.

What happens is a queue of calls by instant. Most of them run to their end in the caller's thread, since handing over
to another thread and back costs more than a whole tick. Only a call that may have to stop in the middle (a hang, a
paused process) is given a *strand*: a thread that holds the baton until it stops, and gets it back at an instant. One
thread runs at any time, so a run is as repeatable as a single-threaded one.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable


class Killed(BaseException):
    """The process died in the middle of something: no error, so nothing may catch it."""


class _Baton:
    """A thread that works for one strand after another: starting one takes longer than a whole tick."""

    def __init__(self) -> None:
        self.mine = threading.Lock()
        self.theirs = threading.Lock()
        self.mine.acquire()
        self.theirs.acquire()
        self.work: Callable[[], None] | None = None
        threading.Thread(target=self._run, name="strand", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.mine.acquire()
            if self.work is None:
                return
            self.work()
            self.theirs.release()


class Strand:
    """One stack that can stop in the middle. Made and resumed by the kernel only."""

    def __init__(self, work: Callable[[], None], baton: _Baton) -> None:
        self._work = work
        self._doomed = False
        self.baton = baton
        self.stopped = False
        self.ended = False
        self.error: BaseException | None = None
        baton.work = self._run

    def go(self) -> None:
        """Hand the baton over until the strand stops or ends."""
        self.baton.mine.release()
        self.baton.theirs.acquire()

    def stop(self) -> None:
        """Give the baton back and wait for it; called on the strand itself.

        Raises:
            Killed: there is no going on.
        """
        if not self._doomed:
            self.stopped = True
            self.baton.theirs.release()
            self.baton.mine.acquire()
            self.stopped = False
        if self._doomed:
            raise Killed

    def doom(self) -> None:
        """Let it unwind when it is resumed."""
        self._doomed = True

    def _run(self) -> None:
        try:
            self._work()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - the kernel raises it in the main thread
            self.error = error
        finally:
            self.ended = True


class Kernel:
    """Time, and what happens when. `now` is true time in seconds; everybody else's clock is reckoned from it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.strand: Strand | None = None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._alive: dict[Strand, None] = {}
        self._idle: list[_Baton] = []

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Let something happen at an instant; what is due at the same one happens in the order it was asked for."""
        heapq.heappush(self._queue, (max(when, self.now), next(self._numbers), call))

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Let something happen so much later."""
        self.at(self.now + seconds, call)

    def every(self, seconds: float, call: Callable[[], None], first_after: float = 0.0) -> None:
        """Let something happen again and again, for ever."""

        def again() -> None:
            call()
            self.after(seconds, again)

        self.after(first_after, again)

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, call = heapq.heappop(self._queue)
            call()
        self.now = max(self.now, until)

    def start(self, work: Callable[[], None]) -> Strand:
        """Run something on a strand of its own, now, until it stops for the first time or ends."""
        strand = Strand(work, self._idle.pop() if self._idle else _Baton())
        self._alive[strand] = None
        self.resume(strand)
        return strand

    def resume(self, strand: Strand) -> None:
        """Let a stopped strand go on until it stops or ends; nothing if it has ended."""
        if strand.ended:
            return
        before, self.strand = self.strand, strand
        strand.go()
        self.strand = before
        if strand.ended:
            self._alive.pop(strand, None)
            self._idle.append(strand.baton)
            if strand.error is not None:
                raise strand.error

    def sleep(self, seconds: float) -> None:
        """Stop the strand that runs for so long.

        Raises:
            Killed: meanwhile its process died.
            RuntimeError: no strand runs: a mistake in the simulation.
        """
        strand = self.strand
        if strand is None:
            raise RuntimeError("only a strand can stop in the middle")
        self.after(seconds, lambda: self.resume(strand))
        strand.stop()

    def kill(self, strand: Strand) -> None:
        """Unwind a stopped strand; one in whose middle we are unwinds as soon as it wants to stop."""
        strand.doom()
        if strand.stopped:
            self.resume(strand)

    def close(self) -> None:
        """Unwind whatever still waits, so that no thread is left behind."""
        for strand in list(self._alive):
            self.kill(strand)
        for baton in self._idle:
            baton.work = None
            baton.mine.release()
        self._idle.clear()
