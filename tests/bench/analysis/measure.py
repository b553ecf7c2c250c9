"""One cell of the table: a rule in a scenario at a rate and a base error, on many trials.

Harm is the number of requests that ended badly only because the target got them: failed ones, in the latency scenarios
those slower than 250 ms. It is counted until the rollback has reached the users; where a rule ends without one, through
its end and `AFTERWARDS_SECONDS` at 100 %. That choice flatters what misses quickly and hurts what misses slowly.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.bench.analysis.intervals import bootstrap, median_limits, wilson
from tests.bench.analysis.rules import COMPLETED, ROLLED_BACK, RUNNING, Rule, Run
from tests.bench.analysis.scenarios import Scenario
from tests.bench.analysis.world import HISTORY_SECONDS, PROPAGATION_SECONDS, TICK_SECONDS, Floats, Whole, World

AFTERWARDS_SECONDS: Final = 600.0
_THIN_OUT_BELOW: Final = 0.7
"""When no more than this part of the trials is still running, the others are dropped."""


@dataclass(frozen=True, slots=True)
class Value:
    """A measured value with its 95 % limits; NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Cell:
    """What one rule did in one scenario: parts 0..1, harm in requests, times in minutes since the first step.

    `minutes_late` is from when the target was bad and had traffic to the rollback. `alone` are the rollbacks from
    100 %, where no source is left that could show whose failure it is.
    """

    scenario: str
    rule: str
    rate: float
    base: float
    trials: int
    rolled_back: int
    completed: int
    rolled_back_part: Value
    harm_mean: Value
    harm_p95: Value
    minutes_to_complete: Value
    minutes_to_roll_back: Value
    minutes_late_p95: float
    alone: int = 0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How every trial of a cell ended."""

    status: Whole
    harm: Floats
    minutes: Floats
    exposed: Floats
    """When the target got its first traffic, in minutes."""

    last_share: Floats
    """What the target had in the last tick, 0..1."""


def seed_of(*parts: object) -> int:
    """Return a seed that is the same in every run, and another one for every cell."""
    return zlib.crc32("|".join(map(str, parts)).encode())


def simulate(rule: Rule, world: World) -> Outcomes:
    """Let the rule carry all trials of a world from the first step to their ends."""
    trials, run = world.trials, begun(rule, world)
    harm, minutes, exposed = np.zeros(trials), np.full(trials, math.nan), np.full(trials, math.nan)
    last_share = np.zeros(trials)
    status = np.zeros(trials, dtype=np.int64)
    alive = np.arange(trials)
    limit = round(world.scenario.max_minutes * 60 / TICK_SECONDS)
    while len(alive) and world.elapsed < limit:
        share = run.share.copy()
        before = run.status.copy()
        first = np.isnan(exposed[alive]) & (share > 0)
        exposed[alive[first]] = world.seconds / 60
        seen = world.tick(share)
        run.step(seen)
        harm[alive] += np.where(before == RUNNING, seen.harm, 0.0)
        ended = (before == RUNNING) & (run.status != RUNNING)
        if ended.any():
            harm[alive] += np.where(ended, _harm_of_ending(world, run, share), 0.0)
            late = np.where(run.status == ROLLED_BACK, PROPAGATION_SECONDS, 0.0)
            minutes[alive[ended]] = (world.seconds + late[ended]) / 60
            status[alive[ended]] = run.status[ended]
            last_share[alive[ended]] = share[ended]
        running = run.status == RUNNING
        if running.mean() <= _THIN_OUT_BELOW:
            index = np.flatnonzero(running)
            alive = alive[index]
            run.keep(index, len(running))
            world.keep(index)
    return Outcomes(status, harm, minutes, exposed, last_share)


def begun(rule: Rule, world: World) -> Run:
    """Return the rule after its hour of history, at its first step."""
    run = rule.start(world.trials, world.scenario)
    if rule.needs_history:
        nothing = np.zeros(world.trials)
        ticks = round(HISTORY_SECONDS / TICK_SECONDS)
        run.learn(world.tick(nothing, before=True) for _ in range(ticks))
    run.begin()
    return run


def _harm_of_ending(world: World, run: Run, share: Floats) -> Floats:
    """Return the harm after the last tick: until the way back is through, or at 100 %."""
    everything = np.ones_like(share)
    back = world.harm_per_second(share) * PROPAGATION_SECONDS
    through = world.harm_per_second(everything) * AFTERWARDS_SECONDS
    return np.where(run.status == COMPLETED, through, back)


def cell_of(rule: Rule, scenario: Scenario, rate: float, base: float, outcomes: Outcomes) -> Cell:
    """Sum one cell up."""
    rng = np.random.default_rng(seed_of("bootstrap", rule.name, scenario.name, rate, base))
    trials = len(outcomes.status)
    back, done = outcomes.status == ROLLED_BACK, outcomes.status == COMPLETED
    hits = int(back.sum())
    late = outcomes.minutes[back] - np.maximum(outcomes.exposed[back], scenario.after_seconds / 60)
    return Cell(
        scenario=scenario.name,
        rule=rule.name,
        rate=rate,
        base=base,
        trials=trials,
        rolled_back=hits,
        completed=int(done.sum()),
        rolled_back_part=Value(hits / trials, *wilson(hits, trials)),
        harm_mean=Value(float(outcomes.harm.mean()), *bootstrap(outcomes.harm, lambda many: many.mean(axis=-1), rng)),
        harm_p95=Value(float(np.percentile(outcomes.harm, 95)), *bootstrap(outcomes.harm, _p95, rng)),
        minutes_to_complete=_median(outcomes.minutes[done]),
        minutes_to_roll_back=_median(outcomes.minutes[back]),
        minutes_late_p95=float(np.percentile(late, 95)) if hits else math.nan,
        alone=int((back & (outcomes.last_share >= 1)).sum()),
    )


def _p95(many: Floats) -> Floats:
    return np.asarray(np.percentile(many, 95, axis=-1), dtype=np.float64)


def _median(values: Floats) -> Value:
    return Value(float(np.median(values)) if len(values) else math.nan, *median_limits(values))
