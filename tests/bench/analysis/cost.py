"""What the shipped, scalar decision costs: processor time per namespace, metric and tick.

Everything a tick does for one shift is in it: judging raw answers, the evidence, and the decision, at a share below
the plateau, where steps are weighed as well. Beside the milliseconds stands a ratio to plain arithmetic on the same
machine, which two machines can compare.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np

from tests.bench.analysis.goals import Goal, at_most
from tests.bench.analysis.same_decisions import HISTORY_TICKS, NOON, TICK, Scalar, counted
from tests.bench.analysis.scenarios import named
from tests.bench.analysis.shifter_rule import a_policy
from tests.bench.analysis.standing_arrays import METRICS
from tests.bench.analysis.world import TICK_SECONDS, World

LIMIT_MS: Final = 0.2
TICKS: Final = 120
STARTS: Final = 3
_SUMS: Final = 20_000
SLOW: Final = a_policy(soak="10m")
"""So long that the shift stays below the plateau all the time."""


def cost_of() -> dict[str, float]:
    """Return milliseconds of processor time, and how many logarithms could have been taken instead."""
    milliseconds = min(_tick_ms() for _ in range(STARTS)) / len(METRICS)
    return {
        "metrics": float(len(METRICS)),
        "ms per namespace, metric and tick": milliseconds,
        "ms per namespace and tick": milliseconds * len(METRICS),
        "logarithms instead": milliseconds / min(_logarithm_ms() for _ in range(STARTS)),
    }


def cost_goal(cost: Mapping[str, float]) -> Goal:
    """Return the goal on processor time."""
    return at_most("CPU per namespace, metric and tick", cost["ms per namespace, metric and tick"], LIMIT_MS, "ms")


def _tick_ms() -> float:
    """Return the processor time of one tick of one shift that is on its way, in ms."""
    scenario = named("clean")
    world = World(scenario, 100.0, 0.01, 1, seed=1)
    scalar = Scalar(SLOW, scenario)
    past = [world.tick(np.zeros(1), before=True) for _ in range(HISTORY_TICKS)]
    scalar.learn([counted(seen, 0, NOON + number * TICK) for number, seen in enumerate(past, start=1)])
    spent = 0.0
    for _ in range(TICKS):
        seen = world.tick(np.array([scalar.state.share / 100]))
        scalar.after(TICK_SECONDS)
        shown = counted(seen, 0, scalar.now)
        spent += _spent(partial(scalar.step, shown))
    return 1e3 * spent / TICKS


def _logarithm_ms() -> float:
    def sums() -> float:
        return sum(math.log1p(each) for each in range(_SUMS))

    return 1e3 * _spent(sums) / _SUMS


def _spent(call: Callable[[], object]) -> float:
    gc.disable()
    try:
        began = time.process_time()
        call()
        return time.process_time() - began
    finally:
        gc.enable()
