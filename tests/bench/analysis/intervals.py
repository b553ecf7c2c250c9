"""Confidence intervals for what the bench counts. 95 % and two-sided, unless said otherwise.

Parts of trials: Wilson's interval, which is good near 0 and 1 and never leaves them. A goal of "never": the one-sided
limit of Clopper and Pearson, which is exact (3 / n for none of n). Means and 95th percentiles: the bootstrap, because
harm is far from normal. Medians: the order statistics between which the median lies, which assumes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from scipy import stats

from tests.bench.analysis.world import Floats

RESAMPLES: Final = 400


def wilson(hits: int, trials: int, among: int = 1) -> tuple[float, float]:
    """Return the limits (0..1) for the rate behind `hits` of `trials`.

    Args:
        hits: how many did.
        trials: of how many.
        among: of so many rates this one was picked for its value; then the limits hold for all of them (Bonferroni).
    """
    if trials == 0:
        return 0.0, 1.0
    z = float(stats.norm.ppf(1 - 0.025 / among))
    part, square = hits / trials, z**2 / trials
    middle = (part + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(part * (1 - part) / trials + square / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def upper_limit(hits: int, trials: int) -> float:
    """Return the exact one-sided 95 % upper limit (0..1) for the rate behind `hits` of `trials`."""
    return 1.0 if hits >= trials else float(stats.beta.ppf(0.95, hits + 1, trials - hits))


def bootstrap(
    values: Floats, statistic: Callable[[Floats], Floats], rng: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the percentile bootstrap's limits of a statistic that works along the last axis."""
    if len(values) == 0:
        return math.nan, math.nan
    if values.min() == values.max():
        return float(values[0]), float(values[0])
    found = statistic(values[rng.integers(0, len(values), (resamples, len(values)))])
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def median_limits(values: Floats) -> tuple[float, float]:
    """Return the order statistics that enclose the median with at least 95 %."""
    count = len(values)
    if count == 0:
        return math.nan, math.nan
    ordered = np.sort(values)
    below = int(stats.binom.ppf(0.025, count, 0.5))
    return float(ordered[max(below - 1, 0)]), float(ordered[min(count - below, count - 1)])
