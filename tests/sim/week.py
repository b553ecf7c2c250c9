"""A week in one process: shifts migrate again and again amid faults, and what the service holds does not grow.

Everything that a seed's minutes leave no time for: hundreds of migrations, of retries, of edited, broken and lost
policy files, of pods that are replaced, of outages that end. One process leads all week, since one that begins anew
forgets. It goes by production's settings: a tick of 15 s, a wake every second. Nothing here is judged but memory, and
that nothing was a bug; what is right and wrong the seeds tell.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry

from shifter.core.balancing.splits import Side
from shifter.core.records import What as Recorded
from shifter.service.telemetry import Telemetry, configure_logs
from tests.sim.calls import Fate
from tests.sim.cloud import Ending
from tests.sim.dice import Dice
from tests.sim.held import Held, held_by
from tests.sim.meshes import PODS
from tests.sim.plan import Layout, Mishap, Plan, What
from tests.sim.setting import Setting, fleet
from tests.sim.world import World

DAYS: Final = 7
HOURS: Final = 24
HOUR_SECONDS: Final = 3600.0
MOST: Final = 1.2
"""The last day may hold so many times as much as the second; the first one fills what is filled once."""

RESTLESS: Final = ("shop", "pay")
STEADY: Final = "home"
"""A shift that migrates once, and is only watched from then on."""

_CYCLE_SECONDS: Final = 2 * HOUR_SECONDS
_BACK_SECONDS: Final = 4200.0
_GONE_SECONDS: Final = 5400.0
_MISHAPS: Final = (6, 14)
_LONG_SECONDS: Final = (15.0, 240.0)
_TALK: Final = timedelta(minutes=5)
_MIB: Final = 1024 * 1024
_EVERYTHING: Final = 1_000_000
_TYPES_SHOWN: Final = 5

_ODDS: Final = {
    Fate.ERROR_BEFORE: 0.002,
    Fate.ERROR_AFTER: 0.002,
    Fate.HANG_BEFORE: 0.0005,
    Fate.HANG_AFTER: 0.0005,
    Fate.LOST: 0.02,
    Fate.LATE: 0.001,
    Fate.CONFLICT: 0.005,
    Fate.STALE: 0.002,
}
"""Per call. Nothing kills or stops the process, or takes its lease."""

_BAD_ENDINGS: Final[Mapping[Ending, float]] = {ending: 0.02 for ending in Ending if ending is not Ending.DONE}
_KINDS: Final = (
    What.DOWN, What.LOCK, What.EDIT, What.DEAD, What.BOUND, What.UNBOUND, What.NO_METRICS, What.MUTE_METRICS,
    What.LATE_METRICS, What.LESS_METRICS, What.POD, What.SCALED, What.FAILING, What.FAILING, What.INCIDENT,
    What.NO_STORE, What.CLOCK, What.BROKEN, What.ORDER, What.ORDER, What.ORDER,
)  # fmt: skip
_WORDS: Final = (("pause", "resume"), ("freeze", "unfreeze"), ("adopt", "resume"), ("promote", "retry"))
"""What people order, and a while later."""


@dataclass(frozen=True, slots=True)
class Day:
    """What there was on one day: medians of its hours, and what was held at its end, by type.

    Args:
        held_bytes: what the service holds, beyond what its modules do before it starts.
        blocks: how many the whole interpreter has allocated, those of the world included.
        last: what was held at the end.
        resident_bytes: of the whole process, at the end; 0 if nobody knows.
    """

    held_bytes: float
    blocks: float
    last: Held
    resident_bytes: int = 0


class Ears:
    """Listens to the log, and keeps of it how long it was, and every bug that it told of; a text stream."""

    def __init__(self) -> None:
        self.lines = 0
        self.bugs: list[str] = []

    def write(self, text: str) -> int:
        """Take a line."""
        self.lines += text.count("\n")
        if '"exception"' in text:
            self.bugs.append(str(json.loads(text)["exception"])[-1000:])
        return len(text)

    def flush(self) -> None:
        """Have nothing to write."""


@dataclass(slots=True)
class Week:
    """One week, hour by hour. `hours` is how many a day has; the dice are those of `seed`."""

    folder: Path
    seed: int = 1
    hours: int = HOURS
    ears: Ears = field(default_factory=Ears)
    did: Counter[str] = field(default_factory=Counter)
    world: World = field(init=False)
    _dice: Dice = field(init=False)
    _program_bytes: int = field(init=False)
    _logs: dict[str, Any] = field(init=False)
    _hour: int = 0

    def __post_init__(self) -> None:
        self._dice = Dice(self.seed, "week")
        self._logs = structlog.get_config()
        configure_logs("INFO", cast("TextIO", self.ears))
        setting = Setting(
            fleet({}, {}),
            shifts=(*RESTLESS, STEADY),
            tick_seconds=15.0,
            fresh_seconds=45.0,
            wake_seconds=1.0,
            serve_seconds=15.0,
            telemetry=lambda _: Telemetry(CollectorRegistry(), _TALK),
        )
        plan = Plan(
            seed=self.seed,
            machines=1,
            layout=Layout.APART,
            calm_at=float("inf"),
            ends_at=float("inf"),
            odds=_ODDS,
            endings=_BAD_ENDINGS,
            weather=(0.005, 0.01, 2.0, 8.0),
            has_workload=True,
        )
        self.world = World(plan, self.folder, setting=setting)
        # What shifter's modules hold before anything has happened.
        self._program_bytes = held_by(()).size_bytes

    def day(self) -> Day:
        """Let one day pass."""
        found = [self.hour() for _ in range(self.hours)]
        held = [each.size_bytes - self._program_bytes for each, _ in found]
        blocks = [blocks for _, blocks in found]
        return Day(statistics.median(held), statistics.median(blocks), found[-1][0], resident_bytes())

    def hour(self) -> tuple[Held, int]:
        """Let one hour pass; return what is held at its end, and how many blocks there are in all."""
        kernel = self.world.kernel
        for mishap in self._mishaps(kernel.now):
            kernel.at(mishap.at, lambda mishap=mishap: self._do(mishap))  # type: ignore[misc] # bound
        self._hour += 1
        kernel.run(self._hour * HOUR_SECONDS)
        self._forget()
        gc.collect()
        return held_by(self.world.machines["a"].process.service), sys.getallocatedblocks()

    def close(self) -> None:
        """Leave no thread behind, and logs as they were."""
        self.world.close()
        structlog.configure(**self._logs)

    # -- what happens --------------------------------------------------------------------------------------------

    def _mishaps(self, began: float) -> Iterator[Mishap]:
        """Everything that happens in an hour."""
        yield from (each for name in RESTLESS for each in self._cycle(name, began))
        dice = self._dice
        for _ in range(dice.whole(*_MISHAPS)):
            at, what = began + dice.between(0.0, HOUR_SECONDS), dice.one_of(_KINDS)
            whom, seconds, amount = dice.one_of(RESTLESS), dice.between(*_LONG_SECONDS), dice.between(0.0, 1.0)
            if what is What.ORDER:
                first, then = dice.one_of(_WORDS)
                yield Mishap(at, what, whom, 0.0, 0.0, first)
                yield Mishap(at + seconds, what, whom, 0.0, 0.0, then)
            elif what in {What.NO_METRICS, What.MUTE_METRICS, What.LATE_METRICS, What.LESS_METRICS, What.POD}:
                yield Mishap(at, what, dice.one_of(tuple(Side)), seconds, 60.0 * amount)
            elif what is What.CLOCK:
                yield Mishap(at, what, "a", 0.0, 4.0 * amount - 2.0)
            else:
                yield Mishap(at, what, whom, seconds, amount)

    def _cycle(self, name: str, began: float) -> Iterator[Mishap]:
        """One migration in every two hours: edited, tried (again), taken back by a person, left without a file."""
        ahead = RESTLESS.index(name) * _CYCLE_SECONDS / len(RESTLESS)
        for at, what, seconds, word in (
            (0.0, What.POLICY, 0.0, ""),
            (60.0, What.ORDER, 0.0, "retry"),
            (_BACK_SECONDS, What.ORDER, 0.0, "restore"),
            (_BACK_SECONDS + 120.0, What.ORDER, 0.0, "rollback"),
            (_GONE_SECONDS, What.GONE, 600.0, ""),
        ):
            due = (at + ahead) % _CYCLE_SECONDS + began // _CYCLE_SECONDS * _CYCLE_SECONDS
            if began <= due < began + HOUR_SECONDS:
                yield Mishap(due, what, name, seconds, self._dice.between(0.0, 1.0), word)

    def _do(self, mishap: Mishap) -> None:
        self.did[str(mishap.what)] += 1
        self.world.hands.do(mishap)
        if mishap.what is What.SCALED:
            # Pods that come back have other names, on both sides.
            target = self.world.meshes[Side.TARGET]
            target.scale(1)
            self.world.kernel.after(mishap.seconds, lambda: target.scale(PODS))

    def _forget(self) -> None:
        """Count what came of the hour, and let the world drop its notes."""
        for kept in self.world.saved.history(limit=_EVERYTHING):
            record = kept.record
            self.did[record.reason.partition(":")[0] if record.what is Recorded.PHASE else str(record.what)] += 1
        self.world.forget()


def resident_bytes() -> int:
    """How much of this process is in memory, the world included; 0 where the kernel does not tell."""
    told = Path("/proc/self/status")
    lines = told.read_text(encoding="ascii").splitlines() if told.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def grown(days: Sequence[Day], most: float = MOST) -> list[str]:
    """Return what grew from the second day to the last to more than `most` times as much; empty if nothing did."""
    second, last = days[1], days[-1]
    found = []
    for what, before, after in (
        ("what the service holds", second.held_bytes, last.held_bytes),
        ("what is allocated in all", second.blocks, last.blocks),
    ):
        if after > most * before:
            more = "; ".join(last.last.more_than(second.last, _TYPES_SHOWN))
            found.append(
                f"{what} is {after / before:.2f} times as much as on day 2, at most {most:g} is allowed: {more}"
            )
    return found


def main(seed: int, say: Callable[[str], None], *, days: int = DAYS, hours: int = HOURS, most: float = MOST) -> int:
    """Let a week pass and say what was held after each day; return 0 if it is flat and nothing was a bug, else 1."""
    with tempfile.TemporaryDirectory(prefix="week-") as folder:
        week = Week(Path(folder), seed, hours)
        try:
            passed = []
            for number in range(1, days + 1):
                passed.append(week.day())
                say(_day_told(number, passed[-1]))
        finally:
            week.close()
    wrong = [*grown(passed, most), *(f"a bug: {bug}" for bug in week.ears.bugs[:1])]
    for each in wrong:
        say(each)
    say(_week_told(week, passed))
    return 1 if wrong else 0


def _day_told(number: int, day: Day) -> str:
    objects = sum(day.last.objects.values())
    return (
        f"day {number}: held {day.held_bytes / _MIB:.2f} MiB in {objects:,} objects; in all {day.blocks:,.0f} blocks, "
        f"{day.resident_bytes / _MIB:.0f} MiB resident"
    )


def _week_told(week: Week, days: Sequence[Day]) -> str:
    second, last = days[1], days[-1]
    did = week.did
    ended = f"{did['Shifting → Completed']:,} times completed, {did['RollingBack → RolledBack']:,} times back"
    held = f"{second.held_bytes / _MIB:.2f} MiB, after day {len(days)}: {last.held_bytes / _MIB:.2f} MiB"
    ratios = f"ratio {last.held_bytes / second.held_bytes:.2f} (all blocks {last.blocks / second.blocks:.2f})"
    return (
        f"held after day 2: {held}, {ratios}; "
        f"{week.world.kernel.now:,.0f} s, {ended}, {did['order']:,} orders, {week.world.tally.number:,} port calls"
    )
