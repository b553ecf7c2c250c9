"""What makes time pass in the service: a wall clock that leaps are kept out of, and the scheduler that wakes.

Both exist because a wall clock can be set. A write's deadline is an instant, and a clock set forward by an hour
would give up every write under way; a scheduler waits for an instant, and a clock set back by an hour would
silence it for an hour. The scheduler's own thread does nothing but start others: a wake or a chore
that hangs, hangs alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.background import BackgroundScheduler

WAKE_JOB: Final = "wake"
"""The scheduler's name for the job that wakes the ticker."""

LEAP_SECONDS: Final = 1.0
"""A wall clock that moves by less against the monotonic one is only being adjusted."""

FOLLOWING: Final = 0.01
"""An adjustment is followed by so much of the time that passes: a soak of evidence is off by no more than that."""

_SILENT_WAKES = 3
_LEAST_SILENT_SECONDS = 5.0
_STOP_SECONDS = 2.0


class LeapClock:
    """The wall clock, except that a leap is taken over only when nobody is in the middle of something.

    An adjustment is followed slowly: taken over at once it would count as time that passed, and nobody told.

    Args:
        wall: the wall clock.
        monotonic: seconds that only grow.
        patience_seconds: after so long a leap is taken over anyway.
    """

    def __init__(self, wall: Callable[[], datetime], monotonic: Callable[[], float], patience_seconds: float) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._patience_seconds = patience_seconds
        self._asked_at = monotonic()
        self._zero = wall() - timedelta(seconds=self._asked_at)
        self._leapt_at: float | None = None

    def now(self, *, keep: bool) -> tuple[datetime, float]:
        """Return the time, and by how many seconds it has just leapt (0: it has not).

        Args:
            keep: whether time must not leap now.
        """
        monotonic = self._monotonic()
        zero = self._wall() - timedelta(seconds=monotonic)
        most, self._asked_at = FOLLOWING * (monotonic - self._asked_at), monotonic
        leapt = (zero - self._zero).total_seconds()
        if abs(leapt) < LEAP_SECONDS:
            zero, leapt = self._zero + timedelta(seconds=max(-most, min(most, leapt))), 0.0
        elif keep and self._is_early(monotonic):
            return self._zero + timedelta(seconds=monotonic), 0.0
        self._zero, self._leapt_at = zero, None
        return zero + timedelta(seconds=monotonic), leapt

    def _is_early(self, monotonic: float) -> bool:
        if self._leapt_at is None:
            self._leapt_at = monotonic
        return monotonic < self._leapt_at + self._patience_seconds


class OwnThreads(BaseExecutor):  # type: ignore[misc] # APScheduler ships no types
    """Runs every job in a daemon thread of its own: there is no pool to die, and a hung job ends with the process."""

    def _do_submit_job(self, job: Any, run_times: Sequence[datetime]) -> None:  # noqa: ANN401 - APScheduler's own
        threading.Thread(target=self._run, args=(job, run_times), name=job.id, daemon=True).start()

    def _run(self, job: Any, run_times: Sequence[datetime]) -> None:  # noqa: ANN401 - APScheduler's own
        try:
            events = run_job(job, job._jobstore_alias, run_times, self._logger.name)  # noqa: SLF001 - as its executors do
        except BaseException as error:  # noqa: BLE001 - else the scheduler would take the job for running for ever
            self._run_job_error(job.id, error, error.__traceback__)
        else:
            self._run_job_success(job.id, events)


class Wakes:
    """Wakes somebody every so often, from the moment it is made until `stop`."""

    def __init__(self, wake: Callable[[], None], every: timedelta) -> None:
        self._jobs = [(wake, every, WAKE_JOB)]
        self._silent_seconds = max(_SILENT_WAKES * every.total_seconds(), _LEAST_SILENT_SECONDS)
        self._replaced_at_seconds = 0.0
        self.scheduler = self._started()

    def also(self, chore: Callable[[], None], every: timedelta) -> None:
        """Do something else every so often, for the first time now."""
        self._jobs.append((chore, every, f"chore {len(self._jobs)}"))
        _add(self.scheduler, *self._jobs[-1])

    def tend(self, silent_seconds: float) -> str:
        """Wake now if nobody was woken for too long, and replace a scheduler that does not even do that.

        Args:
            silent_seconds: how long ago the last wake ended.

        Returns:
            What had to be done; empty if nothing.
        """
        if silent_seconds <= self._silent_seconds:
            self._replaced_at_seconds = 0.0
            return ""
        if silent_seconds > 2 * self._silent_seconds + self._replaced_at_seconds:
            self._replaced_at_seconds = silent_seconds
            _let_go(self.scheduler)
            self.scheduler = self._started()
            return f"nobody was woken for {silent_seconds:.0f} s; another scheduler was started"
        # A clock was set back, and the scheduler waits for it.
        self.scheduler.modify_job(WAKE_JOB, next_run_time=datetime.now(UTC))
        return ""

    def stop(self) -> None:
        """Wake no more; waits for the scheduler's own thread only so long."""
        _let_go(self.scheduler).join(_STOP_SECONDS)

    def _started(self) -> Any:  # noqa: ANN401 - APScheduler ships no types
        scheduler = BackgroundScheduler(
            executors={"default": OwnThreads()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        for job in self._jobs:
            _add(scheduler, *job)
        scheduler.start()
        return scheduler


def _add(scheduler: Any, call: Callable[[], None], every: timedelta, name: str) -> None:  # noqa: ANN401 - as above
    scheduler.add_job(call, "interval", seconds=every.total_seconds(), id=name, next_run_time=datetime.now(UTC))


def _let_go(scheduler: Any) -> threading.Thread:  # noqa: ANN401 - as above
    """Shut a scheduler down in a thread: it waits for its own thread, and that may be what hangs."""

    def shut_down() -> None:
        with suppress(SchedulerNotRunningError):
            scheduler.shutdown(wait=False)

    thread = threading.Thread(target=shut_down, name="letting go", daemon=True)
    thread.start()
    return thread
