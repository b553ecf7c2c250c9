"""One lane per lock domain: a thread with a bounded queue, retreats first.

The cloud carries out one operation per CLB at a time, and any call may hang until its timeout. So calls to
one lock domain line up here and never hold up another domain's, nor the tick, which only looks at futures.

Whoever lined a call up waits for its future and does not ask again meanwhile. So every future is answered, also
those of a lane whose thread died: `tend` finds such a lane, and the next call gets a new one. It also ends the lanes
that nobody uses any more: policies come and go for weeks, and each balancer they ever named would keep a thread.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from enum import IntEnum
from typing import Protocol, TypeAlias, TypeVar

from shifter.errors import AmbiguousWriteError, ProviderUnavailableError

T = TypeVar("T")

StartThread: TypeAlias = Callable[[Callable[[], None], str], threading.Thread]

QUEUE_LIMIT = 64
"""The most calls that may wait in one lane."""

IDLE_LOOKS = 1_200
"""So many times in a row `tend` finds nothing to do in a lane before it ends it: ten minutes, at two looks a second."""


class Priority(IntEnum):
    """Who goes first in a lane."""

    RETREAT = 0
    READ = 1
    CLIMB = 2


class CallLanes(Protocol):
    """Runs calls per lock domain, in order of priority."""

    def run(self, domain: str, priority: Priority, call: Callable[[], T]) -> Future[T]:
        """Line a call up; its result or error arrives in the future.

        A full lane fails the call with `ProviderUnavailableError`, but a retreat pushes out a waiting climb or read.
        """

    def tend(self) -> Sequence[str]:
        """Answer what lanes hold whose thread died, and return their domains; end lanes that have long been idle.

        To be called every now and then.
        """

    def stop(self, timeout_seconds: float) -> None:
        """Cancel what waits, let what runs finish, at most for `timeout_seconds`."""


class _Entry:
    """One waiting call. A class and not a closure pair, so that it can be cancelled with its own error."""

    def __init__(self, priority: Priority, call: Callable[[], object]) -> None:
        self.priority = priority
        self.call = call
        self.future: Future[object] = Future()

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.call())
        except BaseException as error:  # noqa: BLE001 - the future carries it to whoever asked
            self.future.set_exception(error)

    def fail(self, error: Exception) -> None:
        # A future that its owner cancelled takes no answer any more.
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def abandon(self, error: Exception) -> None:
        """Answer a call that began and whose thread is no more; it may have been answered at the last moment."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


def _start_thread(work: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


class _Lane:
    """One domain's thread and queue.

    Raises:
        RuntimeError: the system has no thread left for it.
    """

    def __init__(self, domain: str, start: StartThread) -> None:
        self._domain = domain
        self._waiting: list[tuple[Priority, int, _Entry]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        self._running: _Entry | None = None
        self._ended_by = ""
        self._idle_looks = 0
        self.thread = start(self._work, f"lane {domain}")

    def put(self, entry: _Entry) -> None:
        with self._changed:
            if self._stopped:
                entry.fail(ProviderUnavailableError(f"{self._domain}: shutting down"))
                return
            self._idle_looks = 0
            self._waiting.append((entry.priority, next(self._order), entry))
            self._waiting.sort(key=lambda item: item[:2])
            if len(self._waiting) > QUEUE_LIMIT:
                _, _, pushed_out = self._waiting.pop()
                pushed_out.fail(ProviderUnavailableError(f"{self._domain}: too many calls wait"))
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            for _, _, entry in self._waiting:
                entry.fail(ProviderUnavailableError(f"{self._domain}: shutting down"))
            self._waiting.clear()
            self._changed.notify()

    def _work(self) -> None:
        try:
            self._take_turns()
        except BaseException as error:  # noqa: BLE001 - there is nobody above to tell; `bury` tells what follows from it
            self._ended_by = f"{type(error).__name__}: {error}"

    def _take_turns(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting:
                    return
                _, _, entry = self._waiting.pop(0)
                self._running = entry
            entry.run()
            self._running = None

    def is_idle(self) -> bool:
        """Whether nothing was lined up, waited or ran in the last `IDLE_LOOKS` looks; to be called once a look."""
        with self._changed:
            busy = self._waiting or self._running is not None
            self._idle_looks = 0 if busy else self._idle_looks + 1
            return self._idle_looks >= IDLE_LOOKS

    def is_dead(self) -> bool:
        """Whether its thread ended though nobody stopped it."""
        return not self._stopped and not self.thread.is_alive()

    def bury(self) -> None:
        """Answer everything that a dead lane still holds: what began may have been carried out, the rest was not."""
        if self._running is not None:
            self._running.abandon(
                AmbiguousWriteError(f"{self._domain}: the thread of this call died ({self._ended_by})")
            )
        with self._changed:
            for _, _, entry in self._waiting:
                entry.fail(ProviderUnavailableError(f"{self._domain}: the thread of its lane died ({self._ended_by})"))
            self._waiting.clear()


class Lanes:
    """The threaded lanes of a running service.

    Args:
        start: starts a thread that does something, under a name; raises RuntimeError if the system has none left.
    """

    def __init__(self, start: StartThread = _start_thread) -> None:
        self._start = start
        self._lanes: dict[str, _Lane] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, domain: str, priority: Priority, call: Callable[[], T]) -> Future[T]:
        """Line a call up in its domain's lane."""
        entry = _Entry(priority, _contained(domain, call))
        # Found and used in one piece: in between, `tend` could end the lane.
        with self._lock:
            try:
                lane = self._lane(domain)
            except RuntimeError as error:
                said = f"{domain}: {error}; raise the limit of threads (ulimit -u) or free some memory"
                entry.fail(ProviderUnavailableError(said))
            else:
                if lane is None:
                    entry.fail(ProviderUnavailableError(f"{domain}: shutting down"))
                else:
                    lane.put(entry)
        return entry.future  # type: ignore[return-value] # _Entry erases T; the future is the one of this call

    def _lane(self, domain: str) -> _Lane | None:
        """Return the domain's lane, a new one if there is none that lives; None after `stop`. Under the lock."""
        lane = self._lanes.get(domain)
        if lane is not None and lane.is_dead():
            lane.bury()
            lane = None
        if lane is None and not self._stopped:
            lane = self._lanes[domain] = _Lane(domain, self._start)
        return lane

    def tend(self) -> Sequence[str]:
        """Answer what lanes hold whose thread died, and return their domains; end lanes that have long been idle."""
        with self._lock:
            dead = sorted(domain for domain, lane in self._lanes.items() if lane.is_dead())
            for domain in dead:
                self._lanes.pop(domain).bury()
            for domain in [domain for domain, lane in self._lanes.items() if lane.is_idle()]:
                self._lanes.pop(domain).stop()
        return dead

    def stop(self, timeout_seconds: float) -> None:
        """Cancel what waits and let running calls finish; the timeout is for all lanes together."""
        with self._lock:
            self._stopped = True
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.stop()
        share = timeout_seconds / max(len(lanes), 1)
        for lane in lanes:
            lane.thread.join(share)


def _contained(domain: str, call: Callable[[], T]) -> Callable[[], T]:
    """Return the call, with an error instead of what would end a thread or the process (`SystemExit` and the like).

    Whoever reads the future may raise what it holds, and a library's `sys.exit` must not end a tick.
    """

    def run() -> T:
        try:
            return call()
        except Exception:
            raise
        except BaseException as error:
            raise AmbiguousWriteError(f"{domain}: the call ended with {type(error).__name__}: {error}") from error

    return run


class InlineLanes:
    """Runs every call at once in the caller's thread: for tests and simulations that own the order of things."""

    def run(self, domain: str, priority: Priority, call: Callable[[], T]) -> Future[T]:  # noqa: ARG002 - the protocol's
        """Run the call now."""
        entry = _Entry(priority, call)
        entry.run()
        return entry.future  # type: ignore[return-value] # see Lanes.run

    def tend(self) -> Sequence[str]:
        """Nothing ever dies."""
        return ()

    def stop(self, timeout_seconds: float) -> None:
        """Nothing ever waits."""
