"""Runs a kill drill from its first death to its verdict: what `shifter lab kill` and `make kill` call."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rich.console import Console

from shifter.errors import ConfigError
from shifter.lab.checker.judge import judge
from shifter.lab.checker.seen import Given, PolicyFile, Seen
from shifter.lab.claim import claimed
from shifter.lab.files import Own, Pace
from shifter.lab.json_files import write_json
from shifter.lab.kills.conduct import Conductor
from shifter.lab.kills.plan import Moment, plan
from shifter.lab.kills.verdict import Drill, closing, kill_report
from shifter.lab.soak.gather import on_stage
from shifter.lab.soak.people import Desk
from shifter.lab.soak.run import bounds_of
from shifter.lab.stage import Stage, StageSpec
from shifter.lab.tools import LabToolError

BALANCER_OF: Final = MappingProxyType({"shop": "lb-front0002", "pay": "lb-front0001", "search": "lb-front0001"})
KILL_PACE: Final = Pace(
    steps=(10, 50, 100),
    tick_seconds=1.0,
    scrape_seconds=1.0,
    soak_seconds=2.0,
    hold_seconds=4.0,
    requests_per_second=40.0,
)
_OPERATION_SECONDS: Final = 4.0
"""Short, since what is frozen stands still over a write's deadline, so that the write has to be given up."""

KILL_OWN: Final = Own(
    fleet_spec={"timing": {"operationTimeout": f"{_OPERATION_SECONDS:g}s"}, "learning": {"minTicks": 4}}
)
_LOAD_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class KillOptions:
    """What `shifter lab kill` was told.

    `only`: beginnings of the names of what to go through, none for everything; `directory` takes the run's files,
    `report` is the JSON to write.
    """

    seed: int
    report: Path
    directory: Path
    only: tuple[str, ...] = ()


def run(options: KillOptions, console: Console) -> int:
    """Go through the failpoints, judge and tell; return 0 if all were got over and no rule was broken, 1 otherwise.

    Raises:
        ConfigError: nothing is named so, the directory is somebody else's or in use, or a program is missing.
    """
    try:
        moments = plan(options.only)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    with ExitStack() as stack:
        stack.enter_context(claimed(options.directory))
        armed = (options.directory / "armed.json").resolve()
        spec = StageSpec(
            options.directory,
            BALANCER_OF,
            KILL_PACE,
            options.seed,
            _LOAD_SECONDS,
            own=KILL_OWN,
            service=("-m", "shifter.lab.failing_service", "--armed", str(armed), "--ahead"),
            ahead=True,
            relayed=True,
        )
        try:
            stage = Stage(spec)
        except LabToolError as error:
            raise ConfigError(str(error)) from error
        _say(console, f"kill: {len(moments)} moments at which shifter dies or stands still, seed {options.seed}")
        stack.enter_context(stage)
        report = kill_report(_drill(stage, armed, moments, console), options.seed)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.report, report, indent=2)
    closing(console, report)
    return 0 if report["verdict"] == "ok" else 1


def _drill(stage: Stage, armed: Path, moments: tuple[Moment, ...], console: Console) -> Drill:
    began = time.time()

    def tell(subject: str, said: str) -> None:
        _say(console, f"{time.time() - began:+7.1f}s  {subject:<8} {said}")

    def tell_order(given: Given) -> None:
        tell(given.by, f"$ {given.verb} {given.shift} → {given.exit_code}")

    with Desk(stage, tell_order) as desk:
        conductor = Conductor(stage, armed, _OPERATION_SECONDS, desk, tell)
        outcomes = conductor.play(moments)
        ended = conductor.end()
    # Leaving the desk has waited for the commands under way: what they recorded is known to be theirs.
    ended_at = time.time()
    stage.plane.stop_load()
    conductor.collect()
    seen = _seen(stage, conductor, desk, ended_at)
    shares = {name: seen.share_at(name, ended_at) for name in seen.namespaces}
    return Drill(outcomes, seen, judge(seen), ended, shares)


def _seen(stage: Stage, conductor: Conductor, desk: Desk, ended_at: float) -> Seen:
    """Return everything that a drill has seen."""
    notes, pace, began_at = conductor.notes, stage.spec.pace, conductor.began_at
    steps = tuple(float(step) for step in pace.steps)
    return replace(
        on_stage(stage, desk, bounds_of(pace), began_at, ended_at),
        calm_at=notes.calm_at,
        health=conductor.members.health,
        incidents=(*notes.incidents, *conductor.members.incidents),
        lives=tuple(notes.lives),
        policies=tuple(PolicyFile(began_at, name, steps, pace.soak_seconds) for name in stage.spec.balancer_of),
        seconds=tuple(notes.seconds[key] for key in sorted(notes.seconds)),
        troubles=tuple(notes.troubles),
    )


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
