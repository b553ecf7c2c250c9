"""Runs a soak from its first fault to its verdict: what `shifter lab soak` and `make soak` call."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rich.console import Console

from shifter.core.deciding.orders import Verb
from shifter.errors import ConfigError
from shifter.lab.checker.judge import judge
from shifter.lab.checker.seen import Bounds, Given
from shifter.lab.claim import claimed
from shifter.lab.files import Own, Pace
from shifter.lab.json_files import write_json
from shifter.lab.soak.conduct import Conductor
from shifter.lab.soak.gather import seen_by
from shifter.lab.soak.people import Desk
from shifter.lab.soak.plan import Site, Trouble, calm_seconds, plan
from shifter.lab.soak.verdict import closing, soak_report
from shifter.lab.stage import Stage, StageSpec
from shifter.lab.tools import LabToolError

BALANCER_OF: Final = MappingProxyType(
    {"shop": "lb-front0002", "pay": "lb-front0001", "search": "lb-front0001", "cart": "lb-front0003"}
)
SOAK_PACE: Final = Pace(
    steps=(10, 25, 50, 75, 100),
    tick_seconds=1.0,
    scrape_seconds=1.0,
    soak_seconds=4.0,
    requests_per_second=45.0,
)
"""Four namespaces together stay below 200 requests a second."""

SOAK_OWN: Final = Own({"cart": {"onFailure": "stepBack"}}, {"learning": {"minTicks": 4}})
"""One of them steps back where the others go back for good."""

LONGEST_MINUTES: Final = 240.0
_OPERATION_SECONDS: Final = 8.0
_LOAD_AFTER_SECONDS: Final = 60.0
_TELL_COLUMN: Final = 8


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """What `shifter lab soak` was told: `directory` takes the run's files, `report` is the JSON to write."""

    minutes: float
    seed: int
    report: Path
    directory: Path


def bounds_of(pace: Pace) -> Bounds:
    """Return what the rules measure by at a pace."""
    return Bounds(
        tick_seconds=pace.tick_seconds,
        operation_seconds=_OPERATION_SECONDS,
        late_seconds=_OPERATION_SECONDS + 4.0,
        flight_seconds=3.0,
        noticed_seconds=3 * pace.scrape_seconds + 1.0 + 2 * pace.tick_seconds,
        plainly_percent=15.0,
        plainly_seconds=pace.soak_seconds + 1,
        back_seconds=15.0,
    )


def run(options: SoakOptions, console: Console) -> int:
    """Soak, judge and tell; return 0 if no rule was broken, 1 if one was.

    Raises:
        ConfigError: the length is none, the directory is somebody else's or in use, or a program is missing.
    """
    if not 0 < options.minutes <= LONGEST_MINUTES:
        raise ConfigError(f"a soak takes more than 0 and at most {LONGEST_MINUTES:g} minutes, not {options.minutes:g}")
    seconds = 60 * options.minutes
    _say(console, f"soak: seed {options.seed}, {options.minutes:g} minutes, the last "
                  f"{calm_seconds(seconds):g} s calm")  # fmt: skip
    _say(console, f"replay: shifter lab soak --seed {options.seed} --minutes {options.minutes:g}")
    with ExitStack() as stack:
        stack.enter_context(claimed(options.directory))
        load_seconds = seconds + _LOAD_AFTER_SECONDS
        spec = StageSpec(options.directory, BALANCER_OF, SOAK_PACE, options.seed, load_seconds, own=SOAK_OWN)
        try:
            stage = Stage(spec)
        except LabToolError as error:
            raise ConfigError(str(error)) from error
        stack.enter_context(stage)
        site = Site(stage.account.balancers, BALANCER_OF, frozenset(str(verb) for verb in Verb))
        report = _soak(stage, plan(options.seed, seconds, site), options, console)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.report, report, indent=2)
    closing(console, report)
    return 0 if report["verdict"] == "ok" else 1


def _soak(stage: Stage, troubles: tuple[Trouble, ...], options: SoakOptions, console: Console) -> dict[str, object]:
    began = time.time()

    def tell(subject: str, said: str) -> None:
        _say(console, f"{time.time() - began:+7.1f}s  {subject:<{_TELL_COLUMN}} {said}")

    def tell_order(given: Given) -> None:
        lines = given.said.splitlines()
        said = next((line for line in lines if line.startswith(("order", "error"))), lines[-1] if lines else "")
        tell(given.by, f"$ {given.verb} {given.shift} → {given.exit_code}: {said}")

    with Desk(stage, tell_order) as desk:
        conductor = Conductor(stage, troubles, 60 * options.minutes, desk, tell)
        conductor.play()
    # Leaving the desk has waited for the commands under way: what they recorded is known to be theirs.
    ended_at = time.time()
    stage.plane.stop_load()
    conductor.collect()
    seen = seen_by(stage, conductor, desk, bounds_of(SOAK_PACE), ended_at)
    return soak_report(seen, judge(seen), options.seed, options.minutes)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
