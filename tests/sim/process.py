"""One machine of the cluster and the processes that run on it, one after another: standby, leader, dead.

A standby only tries to get the lease. Who gets it builds a service on what is saved, as a starting process does, and
wakes it by its own clocks; who finds the lease lost ends, and starts again as a standby.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from shifter.core.balancing.splits import Side
from shifter.core.documents.fleet import Fleet
from shifter.core.state import Report
from shifter.errors import ShifterError
from shifter.service.daemon import Waker
from shifter.service.policy_files import PolicyFolder
from shifter.service.telemetry import Telemetry
from shifter.service.tick import Parts, Ticker
from tests.sim.calls import HANGS, PAUSES, STOPPING, Door, Fate, Fates, Port, Tally
from tests.sim.clock import Clock
from tests.sim.cloud import Cloud
from tests.sim.dice import Dice
from tests.sim.doors import DoorLease, DoorProvider, DoorWorkload, metrics
from tests.sim.journal import Journal
from tests.sim.keeping import Keeping, Member
from tests.sim.kernel import Kernel, Killed, Strand
from tests.sim.lanes import Pace, VirtualLanes
from tests.sim.meshes import Mesh, Workload

_REBORN_SECONDS = 1.0
_DRAIN_SECONDS = 4.0
_LONGEST_WAKE = timedelta(seconds=20)
_KEPT_WAKES = 1_000


@dataclass(slots=True)
class Surroundings:
    """What all machines share."""

    kernel: Kernel
    journal: Journal
    seed: int
    fates: Fates
    tally: Tally
    fleet: Fleet
    folder: Path
    keeping: Keeping
    cloud: Cloud
    meshes: Mapping[Side, Mesh]
    pace: Pace
    workload: Workload | None
    chronicle: Chronicle
    interrupt: Callable[[], None]
    wake_seconds: float
    telemetry: Callable[[str], Telemetry]


class Chronicle:
    """Who led, loaded, lost the lease, died or was stopped when, and every bug that struck: for the checker.

    `clocks`: when whose machine's clock was set, and how far it is off since; `epochs`: of those who led.
    """

    def __init__(self) -> None:
        self.leaders: list[tuple[float, str]] = []
        self.epochs: dict[str, int] = {}
        self.loaded: dict[str, float] = {}
        self.robbed: list[tuple[float, str]] = []
        self.ends: dict[str, tuple[float, bool]] = {}
        self.pauses: dict[tuple[str, float], float] = {}
        self.clocks: list[tuple[float, str, float]] = []
        self.bugs: list[str] = []


class Notes(Telemetry):
    """Keeps the bugs that were told, and nothing else: no gauge is looked at here."""

    def __init__(self, name: str, chronicle: Chronicle, journal: Journal, now: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self._name = name
        self._chronicle = chronicle
        self._journal = journal
        self._now = now

    def turn(self, report: Report, *, changed: bool) -> None:
        """Say nothing: the report itself passes the store's door."""

    def write(self, direction: str, outcome: str) -> None:
        """Count nothing."""

    def error(self, shift: str, error: BaseException, *, bug: bool) -> None:
        """Keep a bug; a process that dies is none."""
        if isinstance(error, Killed):
            return
        said = f"{self._name} {shift or 'service'} {type(error).__name__}: {error}"
        self._journal.add(self._now(), f"{'BUG ' if bug else ''}{said}")
        if bug:
            self._chronicle.bugs.append(said)

    def tick(self, seconds: float, now_epoch_seconds: float) -> None:
        """Count nothing."""

    def event(self, name: str, **fields: object) -> None:
        """Say nothing."""

    def warn(self, name: str, **fields: object) -> None:
        """Write it into the run's log."""
        self._journal.add(self._now(), f"{self._name} {name} {sorted(fields.items())}")


class TimedTicker(Ticker):
    """A ticker that knows when its wakes really were."""

    def __init__(self, parts: Parts, now: Callable[[], float]) -> None:
        super().__init__(parts)
        self._wakes: deque[tuple[datetime, float]] = deque(maxlen=_KEPT_WAKES)
        self._true_now = now

    def wake(self, now: datetime) -> bool:
        """Wake, and note when."""
        self._wakes.append((now, self._true_now()))
        return super().wake(now)

    def contents(self) -> Sequence[object]:
        """What it has as a ticker."""
        return [value for name, value in vars(self).items() if name not in {"_wakes", "_true_now"}]

    def true_at(self, said: datetime) -> float:
        """When it really was that this process dated something so: in a wake, or a little later in it."""
        for now, at in reversed(self._wakes):
            if timedelta(0) <= said - now < _LONGEST_WAKE:
                return at + (said - now).total_seconds()
        return self._wakes[-1][1]


class Process:
    """One process from its start to its end."""

    def __init__(self, name: str, around: Surroundings, clock: Clock, reaches: Callable[[], bool]) -> None:
        self.name = name
        self.dead = False
        self.paused_until = 0.0
        self._around = around
        self._clock = clock
        self._dice = Dice(around.seed, name)
        self._door = Door(around.kernel, around.journal, around.fates, around.tally, self)
        self._lanes = VirtualLanes(around.kernel, Dice(around.seed, f"{name}/lanes"), around.pace, lambda: self.dead)
        self._seat = around.keeping.join(self._member(reaches))
        self._ticker: TimedTicker | None = None
        self._waker: Waker | None = None
        self._paused_since = 0.0
        self._drained_by: float | None = None
        self._leads = self._busy = False
        self._strand: Strand | None = None

    # -- what the door asks --------------------------------------------------------------------------------------

    def possible(self, port: Port) -> frozenset[Fate]:
        """What can happen to a call now: a tick waits for no lane, and nothing stops whose stack cannot."""
        strand = self._around.kernel.strand
        if strand is None:
            return port.fates - STOPPING
        if strand is self._strand and port.in_lane:
            return port.fates - HANGS
        if self._busy and self._strand is None:
            return port.fates - PAUSES
        return port.fates

    def crash(self) -> None:
        """Die at once: nothing is drained or released."""
        if not self.dead:
            self._around.journal.add(self._around.kernel.now, f"{self.name} is killed")
            self._end(killed=True)

    def pause(self, seconds: float) -> None:
        """Be stopped by a signal; a process that is in the middle of what cannot stop is not."""
        now = self._around.kernel.now
        if self._busy and self._strand is None:
            return
        since = self._paused_since if self._is_stopped() else now
        self._paused_since, self.paused_until = since, max(self.paused_until, now + seconds)
        self._around.chronicle.pauses[self.name, since] = self.paused_until
        self._around.journal.add(now, f"{self.name} is stopped for {seconds:g} s")

    def lose_lease(self) -> None:
        """Have the lease taken away."""
        self._around.journal.add(self._around.kernel.now, f"the lease of {self.name} is taken away")
        self._around.chronicle.robbed.append((self._around.kernel.now, self.name))
        self._seat.rob()

    def interrupt(self) -> None:
        """Let somebody give an order."""
        self._around.interrupt()

    # -- its life ------------------------------------------------------------------------------------------------

    @property
    def service(self) -> Sequence[object]:
        """What of shifter lives in it; empty before it leads."""
        return () if self._ticker is None else (*self._ticker.contents(), self._waker)

    @property
    def leads(self) -> bool:
        """Whether it has begun to be a leader."""
        return self._leads

    def elect(self) -> None:
        """Renew the lease, or try to get it; what a stopped process does not."""
        if self.dead or self._is_stopped():
            return
        self._seat.poll()
        if not (self.dead or self._is_stopped() or self._leads) and self._seat.leads():
            self._leads, epoch, around = True, self._seat.leadership.epoch, self._around
            around.chronicle.leaders.append((around.kernel.now, self.name))
            around.chronicle.epochs[self.name] = epoch
            around.journal.add(around.kernel.now, f"{self.name} leads with epoch {epoch}")
            self._do(self._begin)

    def wake(self) -> None:
        """Wake the service, or end if the lease is lost."""
        if self.dead or self._busy or self._is_stopped():
            return
        if self._seat.is_over():
            self.end("has lost the lease")
        elif self._waker is not None and self._ticker is not None:
            waker, ticker, by = self._waker, self._ticker, self._drained_by
            self._do(waker.wake if by is None else lambda: self._drain(waker, ticker, by))

    def drain(self) -> None:
        """Be asked to stop: finish what is under way, for a while, and then end."""
        if self.dead or self._ticker is None or self._waker is None:
            self.end("told to before it began")
            return
        self._around.journal.add(self._around.kernel.now, f"{self.name} drains")
        self._ticker.drain()
        self._drained_by = self._around.kernel.now + _DRAIN_SECONDS

    def _drain(self, waker: Waker, ticker: Ticker, by: float) -> None:
        """Look once more when everything has come back, and end; who cannot wait any longer ends at once."""
        if ticker.idle():
            waker.drain()
            self.end("drained")
        elif self._around.kernel.now >= by:
            self.end("could not wait any longer")

    def end(self, why: str) -> None:
        """Stop in an orderly way, though in the middle of everything."""
        if self.dead:
            return
        self._around.journal.add(self._around.kernel.now, f"{self.name} ends: {why}")
        self._seat.release()
        if not self.dead:
            self._end(killed=False)

    def leave(self) -> None:
        """Be gone, since the run is over: nothing is given up any more."""
        if not self.dead:
            self._around.journal.add(self._around.kernel.now, f"{self.name} ends: the run is over")
            self._end(killed=False)

    def _end(self, *, killed: bool) -> None:
        self.dead = True
        self._around.chronicle.ends[self.name] = self._around.kernel.now, killed
        self._seat.kill()
        self._lanes.kill()
        if self._strand is not None:
            self._around.kernel.kill(self._strand)

    def _is_stopped(self) -> bool:
        return self._around.kernel.now < self.paused_until

    def _do(self, work: Callable[[], None]) -> None:
        """Do something in this process's main thread: at times where it can stop, mostly where it cannot."""
        self._busy = True
        kernel = self._around.kernel

        def done() -> None:
            self._strand = kernel.strand
            try:
                work()
            except Killed:
                pass
            finally:
                self._busy, self._strand = False, None

        if self._dice.hits(self._around.fates.stoppable):
            kernel.start(done)
        else:
            done()

    def _begin(self) -> None:
        """Build the service and load what is saved; who cannot ends and tries again."""
        around = self._around
        parts = self._parts()
        ticker = TimedTicker(parts, lambda: around.kernel.now)
        self._ticker = ticker
        try:
            ticker.load()
        except ShifterError as error:
            self.end(f"cannot start: {error}")
            return
        around.chronicle.loaded[self.name] = around.kernel.now
        self._waker = Waker(
            ticker,
            parts.telemetry,
            around.fleet.spec.timing.tick,
            wall=self._clock.wall,
            monotonic=self._clock.monotonic,
        )

    def _parts(self) -> Parts:
        around = self._around
        return Parts(
            fleet=around.fleet,
            mode="act",
            folder=PolicyFolder(around.folder, around.fleet),
            store=self._seat.store,
            leadership=DoorLease(self._door, self._seat.leadership),
            provider=DoorProvider(self._door, around.cloud, self.name),
            metrics=metrics(self._door, around.meshes),
            lanes=self._lanes,
            telemetry=around.telemetry(self.name),
            stopwatch=self._clock.monotonic,
            workload=None if around.workload is None else DoorWorkload(self._door, around.workload),
        )

    def _member(self, reaches: Callable[[], bool]) -> Member:
        around = self._around
        return Member(
            name=self.name,
            door=self._door,
            monotonic=self._clock.monotonic,
            wall=self._clock.wall,
            reaches=reaches,
            true_at=self._true_at,
            dice=Dice(around.seed, f"{self.name}/seat"),
            stoppable=around.fates.stoppable,
            tell=lambda said: around.journal.add(around.kernel.now, f"{self.name} {said}"),
        )

    def _true_at(self, said: datetime) -> float:
        """When it really was that this process called the time so."""
        assert self._ticker is not None
        return self._ticker.true_at(said.astimezone(UTC))


class Machine:
    """Where processes run, one after another."""

    def __init__(self, name: str, around: Surroundings, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self.cut_off_until = 0.0
        self._around = around
        self._starts = 0
        self._begun = False
        self.process = self._start()

    def begin(self, first_after: float) -> None:
        """Let it run from now on."""
        kernel = self._around.kernel
        kernel.every(self._around.keeping.poll_seconds, self._elect, first_after)
        kernel.every(self._around.wake_seconds, self._wake, first_after)

    def reaches(self) -> bool:
        """Whether the network lets it reach the store and the lease."""
        return self._around.kernel.now >= self.cut_off_until

    def jump(self, seconds: float) -> None:
        """Set the wall clock."""
        self._around.journal.add(self._around.kernel.now, f"the clock of {self.name} is set by {seconds:+g} s")
        self.clock.offset_seconds += seconds
        self._around.chronicle.clocks.append((self._around.kernel.now, self.name, self.clock.error_seconds))

    def _wake(self) -> None:
        self.process.wake()

    def _elect(self) -> None:
        if self.process.dead:
            ended_at, _ = self._around.chronicle.ends[self.process.name]
            if self._around.kernel.now >= ended_at + _REBORN_SECONDS:
                self.process = self._start()
        self.process.elect()

    def _start(self) -> Process:
        self._starts += 1
        return Process(f"{self.name}.{self._starts}", self._around, self.clock, self.reaches)
