"""What a run consists of: its cells, and the forms that say how many of them and how thorough.

Everything another process is asked to do lives here, by name and in a module that it can import.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.bench.analysis.kayenta import KAYENTA
from tests.bench.analysis.measure import Cell, cell_of, seed_of, simulate
from tests.bench.analysis.peers import ARGO, flagger
from tests.bench.analysis.rules import Rule
from tests.bench.analysis.same_decisions import Compared, compare, random_trials
from tests.bench.analysis.scenarios import BASE_ERRORS, HELD_OUT_TRAFFIC, RATES, SCENARIOS, Scenario, named
from tests.bench.analysis.shifter_rule import LADDER, SHIFTER
from tests.bench.analysis.world import World

LATE_TRIALS_PART: Final = 0.1
CLEAN_TRIALS_PART: Final = 3.0
LOUD: Final = 100.0
COMPARED_SETS: Final = 27
COMPARED_TRIALS: Final = 3
COMPARED_TICKS: Final = 60
PEERS: Final = ("flagger", "flagger_tuned", "flagger_15s", "argo", "argo_inline", "kayenta")
QUICK_SCENARIOS: Final = (
    "clean",
    "at the tolerance",
    "clusters of 10",
    "both-sides outage",
    "x5",
    "x20",
    "100%",
    "lat+50%",
    "lat x3",
    "capacity >50%",
    "x5 at a step",
    "x5 after 10 min",
    "retry storm",
)


@dataclass(frozen=True, slots=True)
class Form:
    """How thorough a run is: trials per cell, and which scenarios and peers.

    `comparisons`: how many times `COMPARED_SETS` x `COMPARED_TRIALS` random trajectories are held against `decide`.
    """

    name: str
    trials: int
    scenarios: tuple[Scenario, ...]
    peers: tuple[str, ...]
    wald_trials: int
    comparisons: int


FULL: Final = Form("full", 2000, SCENARIOS, PEERS, wald_trials=1000, comparisons=26)
QUICK: Final = Form("quick", 200, tuple(map(named, QUICK_SCENARIOS)), ("flagger",), wald_trials=600, comparisons=13)


@dataclass(frozen=True, slots=True)
class Job:
    """One cell to be measured."""

    rule: str
    scenario: str
    rate: float
    base: float
    trials: int


def rules_for(base: float) -> dict[str, Rule]:
    """Return all rules by name; Flagger's tuned limit depends on the base error."""
    return {rule.name: rule for rule in (SHIFTER, LADDER, *flagger(base), *ARGO, KAYENTA)}


def jobs_of(form: Form) -> Iterator[Job]:
    """Yield the cells of a form, the long ones first."""
    for scenario in sorted(form.scenarios, key=lambda each: -each.max_minutes):
        for rate in RATES:
            for base in BASE_ERRORS:
                yield from _jobs(form, scenario, rate, base)
        if form is FULL and scenario.held_share is None:
            for rate, base in HELD_OUT_TRAFFIC:
                yield Job(SHIFTER.name, scenario.name, rate, base, form.trials // 2)


def _jobs(form: Form, scenario: Scenario, rate: float, base: float) -> Iterator[Job]:
    if scenario.held_share is not None:
        # Only shifter watches on at a share that is held; the goal asks for busy namespaces.
        if rate >= LOUD:
            yield Job(SHIFTER.name, scenario.name, rate, base, round(form.trials * LATE_TRIALS_PART))
        return
    clean = CLEAN_TRIALS_PART if scenario.name == "clean" else 1.0
    yield Job(SHIFTER.name, scenario.name, rate, base, round(form.trials * clean))
    if scenario.is_regression:
        yield Job(LADDER.name, scenario.name, rate, base, form.trials // 2)
    for name, rule in rules_for(base).items():
        if name in form.peers:
            yield Job(name, scenario.name, rate, base, round(form.trials * rule.trials_part))


def measured(job: Job) -> Cell:
    """Measure one cell."""
    rule, scenario = rules_for(job.base)[job.rule], named(job.scenario)
    world = World(scenario, job.rate, job.base, job.trials, seed_of(job.rule, job.scenario, job.rate, job.base))
    return cell_of(rule, scenario, job.rate, job.base, simulate(rule, world))


def compared_with_decide(seed: int) -> Compared:
    """Hold one set of random trajectories against the shipped decision."""
    parts = [compare(trial, COMPARED_TRIALS, COMPARED_TICKS) for trial in random_trials(COMPARED_SETS, seed)]
    differences = tuple(each for part in parts for each in part.differences)
    return Compared(sum(p.trajectories for p in parts), sum(p.ticks for p in parts), differences)
