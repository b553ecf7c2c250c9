"""One lane per lock domain: a thread with a bounded queue, retreats first.

The cloud carries out one operation per CLB at a time, and any call may hang until its timeout. So calls to
one lock domain line up here and never hold up another domain's, nor the tick, which only looks at futures.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum
from typing import Protocol, TypeVar

from shifter.errors import ProviderUnavailableError

T = TypeVar("T")

QUEUE_LIMIT = 64
"""The most calls that may wait in one lane."""


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


class _Lane:
    """One domain's thread and queue."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._waiting: list[tuple[Priority, int, _Entry]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        self.thread = threading.Thread(target=self._work, name=f"lane {domain}", daemon=True)
        self.thread.start()

    def put(self, entry: _Entry) -> None:
        with self._changed:
            if self._stopped:
                entry.fail(ProviderUnavailableError(f"{self._domain}: shutting down"))
                return
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
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting:
                    return
                _, _, entry = self._waiting.pop(0)
            entry.run()


class Lanes:
    """The threaded lanes of a running service."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, domain: str, priority: Priority, call: Callable[[], T]) -> Future[T]:
        """Line a call up in its domain's lane."""
        entry = _Entry(priority, call)
        with self._lock:
            lane = self._lanes.get(domain)
            if lane is None and not self._stopped:
                lane = self._lanes[domain] = _Lane(domain)
        if lane is None:
            entry.fail(ProviderUnavailableError(f"{domain}: shutting down"))
        else:
            lane.put(entry)
        return entry.future  # type: ignore[return-value] # _Entry erases T; the future is the one of this call

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


class InlineLanes:
    """Runs every call at once in the caller's thread: for tests and simulations that own the order of things."""

    def run(self, domain: str, priority: Priority, call: Callable[[], T]) -> Future[T]:  # noqa: ARG002 - the protocol's
        """Run the call now."""
        entry = _Entry(priority, call)
        entry.run()
        return entry.future  # type: ignore[return-value] # see Lanes.run

    def stop(self, timeout_seconds: float) -> None:
        """Nothing ever waits."""
