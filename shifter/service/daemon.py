"""The running service: the only module that reads a clock, starts the waker, and listens to signals.

APScheduler wakes the ticker and nothing else: a lost or late wake costs time, never a place. It is a
wall-clock scheduler, so a clock that jumps back an hour would silence it for an hour; the main thread watches
on the monotonic clock and re-arms it. SIGTERM drains: no new climbs, calls under way are waited for (bounded),
the lease goes last.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from shifter.errors import ShifterError
from shifter.ports import Store
from shifter.service.telemetry import Telemetry
from shifter.service.tick import Parts, Ticker
from shifter.service.web import application, served

_LONGEST_WAKE = timedelta(seconds=1)
_HOUSEKEEPING = timedelta(hours=6)
_DRAIN_SECONDS = 15.0
_WATCH_SECONDS = 0.5
_STUCK_TICKS = 4
WAKE_JOB: Final = "wake"
"""The scheduler's name for the job that wakes the ticker."""


class Waker:
    """Wakes the ticker from a scheduler thread, one wake at a time, and knows when it last did."""

    def __init__(self, ticker: Ticker, telemetry: Telemetry, tick: timedelta) -> None:
        self._ticker = ticker
        self._telemetry = telemetry
        self._one = threading.Lock()
        self._draining = threading.Event()
        self.stuck_after_seconds = max(10.0, _STUCK_TICKS * tick.total_seconds())
        self.last_wake = time.monotonic()

    def wake(self) -> None:
        """Wake the ticker; a second caller at the same time is not needed and returns at once."""
        if self._draining.is_set() or not self._one.acquire(blocking=False):
            return
        try:
            self._ticker.wake(datetime.now(UTC))
        except ShifterError as error:
            self._telemetry.error("", error, bug=False)
        except Exception as error:  # noqa: BLE001 - the scheduler would swallow it without a trace
            self._telemetry.error("", error, bug=True)
        finally:
            self.last_wake = time.monotonic()
            self._one.release()

    def problem(self) -> str:
        """Return why the loop does not count as alive; empty if it does."""
        silent = time.monotonic() - self.last_wake
        return f"no tick for {silent:.0f} s" if silent > self.stuck_after_seconds else ""

    def drain(self) -> None:
        """Take no new wake, and let the one under way and its calls come back, for a bounded time."""
        self._draining.set()
        self._ticker.drain()
        deadline = time.monotonic() + _DRAIN_SECONDS
        got = self._one.acquire(timeout=_DRAIN_SECONDS)
        while not self._ticker.idle() and time.monotonic() < deadline:
            time.sleep(_WATCH_SECONDS / 5)
        if got:
            # One last look at what came back, so that it is in the journal and not only in the cloud.
            with _reported(self._telemetry):
                self._ticker.wake(datetime.now(UTC))


@contextmanager
def _reported(telemetry: Telemetry) -> Iterator[None]:
    try:
        yield
    except ShifterError as error:
        telemetry.error("", error, bug=False)


def run(parts: Parts, host: str, port: int) -> None:
    """Run the service until SIGTERM or SIGINT; returns when everything is drained and let go.

    Raises:
        ShifterError: the state cannot be loaded, or the address cannot be bound.
    """
    # A queue and no event: a handler may interrupt the very wait for it, and only `SimpleQueue.put` is re-entrant.
    stop: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stop.put(received))
    ticker = Ticker(parts)
    tick = parts.fleet.spec.timing.tick
    telemetry = parts.telemetry
    waker = Waker(ticker, telemetry, tick)
    app = application(waker.problem, lambda: "" if ticker.ready else "state is not loaded", telemetry.registry)
    try:
        ticker.load()
        with served(app, host, port) as bound:
            telemetry.event("service.started", port=bound, mode=parts.mode, epoch=parts.leadership.epoch)
            _wake_until(stop, waker, parts, min(tick / 4, _LONGEST_WAKE))
            telemetry.event("service.draining")
            waker.drain()
    finally:
        parts.lanes.stop(_WATCH_SECONDS)
        parts.store.close()
        parts.leadership.release()
        telemetry.event("service.stopped")


def _wake_until(stop: SimpleQueue[int], waker: Waker, parts: Parts, every: timedelta) -> None:
    scheduler = BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(2)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone=UTC,
    )
    scheduler.add_job(
        waker.wake, "interval", seconds=every.total_seconds(), id=WAKE_JOB, next_run_time=datetime.now(UTC)
    )
    scheduler.add_job(
        _prune,
        "interval",
        seconds=_HOUSEKEEPING.total_seconds(),
        next_run_time=datetime.now(UTC),
        args=[parts.store, parts.fleet.spec.retention, parts.telemetry],
    )
    scheduler.start()
    try:
        while not _told(stop, _WATCH_SECONDS):
            rearm_if_silent(scheduler, waker, max(3 * every.total_seconds(), 5.0))
    finally:
        scheduler.shutdown(wait=False)


def _told(stop: SimpleQueue[int], within_seconds: float) -> bool:
    try:
        stop.get(timeout=within_seconds)
    except Empty:
        return False
    return True


def rearm_if_silent(scheduler: BackgroundScheduler, waker: Waker, silent_seconds: float) -> None:
    """Have the waker woken now if it was not for `silent_seconds`: a clock was set back, and the scheduler waits."""
    if time.monotonic() - waker.last_wake > silent_seconds:
        scheduler.modify_job(WAKE_JOB, next_run_time=datetime.now(UTC))


def _prune(store: Store, retention: timedelta, telemetry: Telemetry) -> None:
    with _reported(telemetry):
        dropped = store.prune(datetime.now(UTC) - retention)
        if dropped:
            telemetry.event("service.pruned", dropped=dropped)
