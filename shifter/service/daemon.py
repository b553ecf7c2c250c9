"""The running service: hands the time to the ticker, looks after everybody's threads, and listens to signals.

Wall time is read here and in the clockwork; everyone else in the service is handed `now`, so that a tick has one time.
Patience is another matter: whoever waits for somebody bounds that where the waiting is, on the monotonic clock.

APScheduler wakes the ticker and nothing else: a lost or late wake costs time, never a place. It is a wall-clock
scheduler, and its threads can die like any other, so the main thread watches on the monotonic clock: it re-arms a
scheduler that fell silent, replaces one that stays silent, and looks after the lanes and the web side, which start
threads of their own so that none of them can hold up a tick. A tick that never ends is beyond help from within: then
the process ends with an error, for whoever supervises it to start anew.

SIGTERM and SIGINT drain: no new climbs, calls under way are waited for (bounded), the lease goes last. A second
one does not wait. SIGHUP is ignored: policies are read in every tick, and a closed terminal must not leave users
on a mesh that nobody watches.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue

from shifter.errors import InvariantError, ShifterError
from shifter.ports import Store
from shifter.service.clockwork import LeapClock, Wakes
from shifter.service.telemetry import Telemetry
from shifter.service.tick import Parts, Ticker
from shifter.service.web import Served, application, served

_LONGEST_WAKE = timedelta(seconds=1)
_HOUSEKEEPING = timedelta(hours=6)
_DRAIN_SECONDS = 15.0
_CLOSE_SECONDS = 2.0
_WATCH_SECONDS = 0.5
_STUCK_TICKS = 4
_HOPELESS_TIMES = 10
_MOST_HANGUPS = 16
_MOST_PRUNES = 1_000


class Waker:
    """Wakes the ticker from a scheduler thread, one wake at a time, and knows when it last did.

    Args:
        ticker: what to wake.
        telemetry: told what a wake raised; no wake ever raises.
        tick: how often the ticker looks.
        wall: the wall clock.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        ticker: Ticker,
        telemetry: Telemetry,
        tick: timedelta,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ticker = ticker
        self._telemetry = telemetry
        self._one = threading.Lock()
        self._draining = threading.Event()
        self._monotonic = monotonic
        self._clock = LeapClock(wall, monotonic, patience_seconds=_HOPELESS_TIMES * tick.total_seconds())
        self._bug = ""
        self.stuck_after_seconds = max(10.0, _STUCK_TICKS * tick.total_seconds())
        self.last_wake = self._last_good = monotonic()

    @property
    def busy(self) -> bool:
        """Whether a wake is under way."""
        return self._one.locked()

    def silent_seconds(self) -> float:
        """Return how long ago the last wake ended."""
        return self._monotonic() - self.last_wake

    def wake(self) -> None:
        """Wake the ticker; a second caller at the same time is not needed and returns at once."""
        if self._draining.is_set() or not self._one.acquire(blocking=False):
            return
        try:
            self._wake()
        finally:
            self.last_wake = self._monotonic()
            self._one.release()

    def problem(self) -> str:
        """Return why the loop does not count as alive; empty if it does."""
        silent = self.silent_seconds()
        if silent > self.stuck_after_seconds:
            return f"no tick for {silent:.0f} s"
        failing = self.last_wake - self._last_good
        return f"every tick for {failing:.0f} s has failed: {self._bug}" if failing > self.stuck_after_seconds else ""

    def begin(self) -> None:
        """Count silence from now on."""
        self.last_wake = self._last_good = self._monotonic()

    def must_not_be_hung(self) -> None:
        """Raise if the wake under way has not ended for so long that it never will.

        Raises:
            InvariantError: only a new process can help.
        """
        silent = self.silent_seconds()
        if self.busy and silent > _HOPELESS_TIMES * self.stuck_after_seconds:
            raise InvariantError(f"a tick has not ended for {silent:.0f} s; start shifter again, it goes on from there")

    def drain(self) -> None:
        """Take no new wake, and let the one under way and its calls come back, for a bounded time."""
        self._draining.set()
        self._ticker.drain()
        deadline = self._monotonic() + _DRAIN_SECONDS
        got = self._one.acquire(timeout=_DRAIN_SECONDS)
        while not self._ticker.idle() and self._monotonic() < deadline:
            time.sleep(_WATCH_SECONDS / 5)
        if got:
            # One last look at what came back, so that it is in the journal and not only in the cloud.
            self._wake()

    def retire(self, within_seconds: float = _DRAIN_SECONDS) -> None:
        """Take no new wake, look at nothing more, and wait for the wake under way: somebody else leads.

        Raises:
            InvariantError: it does not end; only the end of the process lets go of what it has in memory.
        """
        self._draining.set()
        self._ticker.drain()
        if not self._one.acquire(timeout=within_seconds):
            raise InvariantError(
                f"a tick has not ended {within_seconds:g} s after the lease was lost; start shifter again, it stands by"
            )

    def _wake(self) -> None:
        try:
            self._ticker.wake(self._now())
        except ShifterError as error:
            # Somebody did not answer: that the loop goes on is all that it can do about it.
            self._last_good = self._monotonic()
            self._telemetry.error("", error, bug=False)
        except BaseException as error:  # noqa: BLE001 - not even SystemExit may end the watch over people's traffic
            self._bug = f"{type(error).__name__}: {error}"
            with suppress(Exception):  # without memory, it may not even be told
                self._telemetry.error("", error, bug=True)
        else:
            self._last_good = self._monotonic()

    def _now(self) -> datetime:
        writing = any(shift.place.state.intent is not None for shift in self._ticker.shifts.values())
        now, leapt_seconds = self._clock.now(keep=writing)
        if leapt_seconds:
            self._telemetry.warn("service.clock", reason=f"the wall clock was set by {leapt_seconds:+.1f} s")
            self._ticker.clock_was_set()
        return now


def listen() -> SimpleQueue[int]:
    """Take over the signals that a service hears; return where they arrive, to be asked with `told_to_stop`."""
    # A queue and no event: a handler may interrupt the very wait for it, and only `SimpleQueue.put` is re-entrant.
    told: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: _note(told, received))
    return told


class Term:
    """One time in office: a ticker on what is saved, whoever wakes it, and the threads of everybody it asks."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._ticker = Ticker(parts)
        self._waker = Waker(self._ticker, parts.telemetry, parts.fleet.spec.timing.tick)
        self._wakes = False

    def load(self) -> None:
        """Take up where the last process stopped.

        Raises:
            ShifterError: what is saved cannot be read.
        """
        self._ticker.load()

    def alive(self) -> str:
        """Return why the loop does not count as alive; empty if it does, or has not begun."""
        return self._waker.problem() if self._wakes else ""

    def ready(self) -> str:
        """Return why nothing is watched yet; empty if it is."""
        return "" if self._ticker.ready else "state is not loaded"

    def serve(self, told: SimpleQueue[int], web: Served, lost: Callable[[], str] = lambda: "") -> str:
        """Watch over the shifts until told to stop, and drain; or until leadership is lost, and let go at once.

        Returns:
            Why leadership was lost; empty if it was told to stop.

        Raises:
            InvariantError: a tick never ends; only a new process can help.
        """
        parts = self.parts
        parts.telemetry.event("service.started", port=web.port, mode=parts.mode, epoch=parts.leadership.epoch)
        why = self._wake_until(told, web, lost)
        if why:
            parts.telemetry.warn("service.lost", reason=why)
            self._waker.retire()
        else:
            parts.telemetry.event("service.draining")
            _drain(told, self._waker, parts.telemetry)
        return why

    def close(self) -> None:
        """Let go of everything, of the lease last."""
        self.parts.lanes.stop(_WATCH_SECONDS)
        _within(_CLOSE_SECONDS, self.parts.store.close)
        self.parts.leadership.release()

    def _wake_until(self, told: SimpleQueue[int], web: Served, lost: Callable[[], str]) -> str:
        parts = self.parts
        wakes = Wakes(self._waker.wake, min(parts.fleet.spec.timing.tick / 4, _LONGEST_WAKE))
        wakes.also(lambda: _prune(parts.store, parts.fleet.spec.retention, parts.telemetry), _HOUSEKEEPING)
        watch = Watch(self._waker, parts, wakes, web)
        self._waker.begin()
        self._wakes = True
        try:
            while not told_to_stop(told, _WATCH_SECONDS, parts.telemetry):
                watch.look()
                if why := lost():
                    return why
        finally:
            wakes.stop()
        return ""


def run(parts: Parts, host: str, port: int) -> None:
    """Run the service until SIGTERM or SIGINT; returns when everything is drained and let go.

    Raises:
        ShifterError: the state cannot be loaded, or the address cannot be bound.
        InvariantError: a tick never ended; the state is safe, and a new process goes on from it.
    """
    told = listen()
    term = Term(parts)
    try:
        term.load()
        with served(application(term.alive, term.ready, parts.telemetry.registry), host, port) as web:
            term.serve(told, web)
    finally:
        term.close()
        parts.telemetry.event("service.stopped")


class Watch:
    """What the main thread does while others work: notice what died, and have it replaced."""

    def __init__(self, waker: Waker, parts: Parts, wakes: Wakes, web: Served) -> None:
        self._waker = waker
        self._lanes = parts.lanes
        self._telemetry = parts.telemetry
        self._wakes = wakes
        self._web = web
        self._trouble = ""

    def look(self) -> None:
        """Look after everything once.

        Raises:
            InvariantError: nothing but a new process can help.
        """
        self._waker.must_not_be_hung()
        with _reported(self._telemetry):
            self._tell_trouble(out_of_descriptors())
        with _reported(self._telemetry):
            for domain in self._lanes.tend():
                self._telemetry.warn("service.thread", reason=f"the thread of the lane {domain} died; it gets another")
        with _reported(self._telemetry):
            if not self._waker.busy and (happened := self._wakes.tend(self._waker.silent_seconds())):
                self._telemetry.warn("service.thread", reason=happened)
        with _reported(self._telemetry):
            if happened := self._web.tend():
                self._telemetry.warn("service.thread", reason=f"web: {happened}")

    def _tell_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._telemetry.warn("service.problem", reason=trouble or "there are file descriptors again")


def out_of_descriptors() -> str:
    """Return what to do about the process having no file descriptor left; empty if it has one."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        if error.errno not in {errno.EMFILE, errno.ENFILE}:
            return ""
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"too many open files (at most {most}): nobody can be asked; raise the limit (ulimit -n)"
    return ""


def _note(told: SimpleQueue[int], number: int) -> None:
    """Keep a signal until the main thread has time for it; of hangups, which end nothing, only so many."""
    if number != signal.SIGHUP or told.qsize() < _MOST_HANGUPS:
        told.put(number)


def told_to_stop(told: SimpleQueue[int], within_seconds: float, telemetry: Telemetry) -> bool:
    """Wait for a signal; return whether it was one to stop at."""
    try:
        number = told.get(timeout=within_seconds)
    except Empty:
        return False
    if number == signal.SIGHUP:
        telemetry.event("service.hangup", reason="SIGHUP changes nothing: policies are read in every tick")
    return number != signal.SIGHUP


def _drain(told: SimpleQueue[int], waker: Waker, telemetry: Telemetry) -> None:
    """Drain in a thread of its own, so that a second signal is heard; it ends the waiting."""
    draining = threading.Thread(target=waker.drain, name="drain", daemon=True)
    draining.start()
    deadline = time.monotonic() + 2 * _DRAIN_SECONDS
    while draining.is_alive() and time.monotonic() < deadline:
        if told_to_stop(told, _WATCH_SECONDS / 5, telemetry):
            telemetry.event("service.hurried", reason="told twice: calls under way are read back at the next start")
            return


def _within(seconds: float, call: Callable[[], None]) -> None:
    """Make a call that may hang, as the last thing: then it is left behind with its thread."""
    thread = threading.Thread(target=call, name="closing", daemon=True)
    thread.start()
    thread.join(seconds)


@contextmanager
def _reported(telemetry: Telemetry) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - of a chore: it is told, and tried again later
        telemetry.error("", error, bug=not isinstance(error, ShifterError | OSError))


def _prune(store: Store, retention: timedelta, telemetry: Telemetry) -> None:
    with _reported(telemetry):
        now, dropped = datetime.now(UTC), 0
        # A store may drop a part at a time, so that a tick waits for a part at most.
        for _ in range(_MOST_PRUNES):
            if not (part := store.prune(now - retention, now)):
                break
            dropped += part
        if dropped:
            telemetry.event("service.pruned", dropped=dropped)
