"""Runs a scenario on the stage from its first beat to its verdict: what `shifter lab run` and `make demo` call."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from shifter.errors import ConfigError
from shifter.lab.claim import claimed
from shifter.lab.director import Director
from shifter.lab.files import LAB_PACE, Own, Pace
from shifter.lab.json_files import write_json
from shifter.lab.keeping import keep
from shifter.lab.narrator import Narrator, closing
from shifter.lab.scenarios import SCENARIOS
from shifter.lab.stage import Stage, StageSpec
from shifter.lab.story import Scenario
from shifter.lab.tools import LabToolError
from shifter.lab.verdict import lab_report


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """What `shifter lab run` was told, and how fast to migrate.

    `directory` takes all files of the run, `report` is the JSON to write.
    """

    scenario: str
    directory: Path
    report: Path
    seed: int
    keep: bool = False
    pace: Pace = LAB_PACE


def run(options: DrillOptions, console: Console) -> int:
    """Run a scenario by name; return 0 if it ended as told, 1 if not.

    Raises:
        ConfigError: no such scenario, the directory is somebody else's or in use, or a program of the lab is missing.
    """
    return rehearse(_scenario(options.scenario), options, console)


def rehearse(scenario: Scenario, options: DrillOptions, console: Console) -> int:
    """Run any scenario, as `run` does."""
    began = time.time()
    with ExitStack() as stack:
        stack.enter_context(claimed(options.directory))
        spec = StageSpec(
            options.directory,
            scenario.balancer_of,
            options.pace,
            options.seed,
            load_seconds_max=scenario.seconds_max + 60,
            rates=scenario.rates,
            grpc=scenario.grpc,
            own=Own(scenario.spec_of, scenario.fleet_spec),
        )
        console.print(f"{scenario.name}: {scenario.about}", markup=False, highlight=False, soft_wrap=True)
        console.print("starting Envoys, Prometheus servers, the Tencent emulator and shifter ...", highlight=False)
        try:
            stage = Stage(spec)
        except LabToolError as error:
            raise ConfigError(str(error)) from error
        stack.enter_context(stage)
        director = Director(stage, scenario, began)
        with Narrator(console, began) as narrator:
            director.play(narrator)
        report = lab_report(director.material(options.seed))
        options.report.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.report, report, indent=2)
        closing(console, report)
        if options.keep:
            keep(stage, console)
    return 0 if report["verdict"] == "ok" else 1


def _scenario(name: str) -> Scenario:
    if name not in SCENARIOS:
        raise ConfigError(f"there is no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
