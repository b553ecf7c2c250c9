"""`shifter/core/analysis/steps.py`, `climbing.py` and `guards.py` for many trials at once; see `wealth_arrays.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from shifter.core.analysis.climbing import DOUBTED, HOLDBACK_TICKS, LATE_REQUESTS, LATE_TICKS, PATIENCE_IF_DOUBTED
from shifter.core.analysis.guards import DEAD_BAD, DEAD_BAD_TWICE, LEAST_SPARED
from shifter.core.analysis.sequential import GRID
from shifter.core.analysis.steps import (
    _HARMFUL,
    _SPREAD_NATS,
    LAG_SECONDS,
    LAG_TICKS,
    LARGEST_FACTOR,
    LARGEST_FIRST,
    LONGEST_TICKS,
    PATIENCE_TICKS,
    PLATEAU,
)
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.documents.criteria import BlastRadius
from shifter.core.documents.policy import PolicySpec
from tests.bench.analysis.standing_arrays import METRICS, Standing
from tests.bench.analysis.wealth_arrays import Tests, best_bet
from tests.bench.analysis.world import TICK_SECONDS, Flags, Floats, Whole

HARMFUL: Final = np.array([index for index, metric in enumerate(METRICS) if metric.kind in _HARMFUL])
_NONE: Final = -1.0


def dead(standing: Standing) -> Flags:
    """Return which targets count as dead. Both sides are sampled at the same instant here."""
    at_once = standing.failing_bad >= DEAD_BAD * standing.tests.dispersion[0]
    held_against = (standing.share >= FULL_PERCENT) | (standing.failing_source >= LEAST_SPARED)
    lasting = (standing.failing_ticks > 1) & (standing.failing_bad >= DEAD_BAD_TWICE * standing.tests.dispersion[0])
    return np.asarray((standing.failing_ticks > 0) & held_against & (at_once | lasting), dtype=np.bool_)


def loses_traffic(standing: Standing, alpha: Floats) -> Flags:
    """Return whose requests do not arrive."""
    return np.asarray(standing.lost >= np.log(1 / alpha), dtype=np.bool_)


def permits(standing: Standing, harm: Floats, alpha: Floats, spec: PolicySpec) -> tuple[Flags, Floats]:
    """Return who may take the next step, and to which share (percent); a share of -1 is the top."""
    ladder, hold_seconds = spec.ladder, spec.analysis.hold.total_seconds()
    bounds = standing.wealth.bounds(standing.tests)
    proven = ((bounds <= standing.tests.safety_rate) | ~standing.tests.present).all(axis=0)
    over = standing.seconds >= hold_seconds * np.where(harm >= DOUBTED, PATIENCE_IF_DOUBTED, 1.0)
    following = _following(ladder, standing.share)
    late = standing.share > PLATEAU
    leaving = ~late & (following > PLATEAU)
    climbing = ~late & ~leaving & (following > 0)
    granted = np.where(late, _late(standing, following, harm, over), leaving & (proven | over))
    granted = granted | (~late & (following < 0))
    step = following
    if climbing.any():
        index = np.flatnonzero(climbing)
        ahead = _ahead(ladder, standing.share[index], auto=not spec.steps)
        largest = _largest_that_fits(standing, (bounds[:, index], alpha[index]), index, (ladder, ahead))
        fits = largest > 0
        granted[index] = fits | over[index]
        step[index] = np.where(fits, largest, following[index])
    part = standing.share / FULL_PERCENT
    expected = standing.requests[1] * part >= 1 - part
    unheard = (part > 0) & (part < 1) & (standing.requests[0] <= 0) & expected
    return np.asarray(granted & ~unheard, dtype=np.bool_), step


def _following(ladder: Sequence[float], share: Floats) -> Floats:
    """Return the next rung, -1 at the top."""
    ahead = np.array(ladder)[:, None] > share
    return np.where(ahead.any(axis=0), np.array(ladder)[ahead.argmax(axis=0)], _NONE)


def _late(standing: Standing, following: Floats, harm: Floats, over: Flags) -> Flags:
    kept = (following >= FULL_PERCENT) & (standing.ticks < HOLDBACK_TICKS)
    watched = (standing.requests[0] >= LATE_REQUESTS) | (standing.ticks >= LATE_TICKS)
    watched = watched | (standing.share >= FULL_PERCENT)
    return np.asarray(~kept & watched & ((harm < DOUBTED) | over), dtype=np.bool_)


def _ahead(ladder: Sequence[float], share: Floats, *, auto: bool) -> Flags:
    """Return (rung, trial): which rungs the next step may go to; see `steps.candidates`."""
    rungs = np.array(ladder)[:, None]
    ahead = rungs > share
    first = ahead & (np.cumsum(ahead, axis=0) == 1)
    if not auto:
        return np.asarray(first, dtype=np.bool_)
    largest = np.where(share > 0, np.minimum(PLATEAU, share * LARGEST_FACTOR), LARGEST_FIRST)
    within = ahead & (rungs <= largest)
    return np.asarray(np.where(within.any(axis=0), within, first), dtype=np.bool_)


def _largest_that_fits(
    standing: Standing, known: tuple[Floats, Floats], index: Whole, candidates: tuple[Sequence[float], Flags]
) -> Floats:
    """Return the largest candidate whose worst case is small enough, percent; -1 where none is.

    `known`: the bounds and the error probabilities, `candidates` the ladder and which of its rungs may be next.
    """
    found = np.full(len(index), _NONE)
    tests, source_rate = standing.tests.of(index), standing.wealth.source_rate[:, index]
    per_second = standing.usual[index] / TICK_SECONDS
    blast = BlastRadius()
    allowed = np.maximum(blast.requests, blast.seconds * per_second)
    allowed = allowed * (1 + standing.exposed_seconds[index] / (PATIENCE_TICKS * TICK_SECONDS))
    (unknown, alpha), (ladder, ahead) = known, candidates
    for rung in reversed(range(len(ladder))):
        open_ = np.flatnonzero(ahead[rung] & (found < 0))
        if len(open_):
            case = (unknown[:, open_], source_rate[:, open_], per_second[open_])
            worst = worst_case(tests.of(open_), case, ladder[rung], alpha[open_])
            found[open_] = np.where(worst <= allowed[open_], ladder[rung], found[open_])
    return found


def worst_case(tests: Tests, case: tuple[Floats, Floats, Floats], share: float, alpha: Floats) -> Floats:
    """Return what a step to `share` percent could cost at worst; `case`: bounds, source's rates, requests a second."""
    unknown, source_rate, per_second = (each[HARMFUL, None] if each.ndim > 1 else each for each in case)
    grid = np.array(GRID)[None, :, None]
    open_ = (grid >= tests.safety_rate[HARMFUL, None]) & (grid < unknown)
    excess = np.concatenate([np.where(open_, grid, 0.0), unknown], axis=1)
    bad_rate = np.minimum(1.0, tests.safety_ratio[HARMFUL, None] * source_rate + excess)
    part = share / FULL_PERCENT
    growth = per_second * np.maximum(
        _pair_growth(tests, source_rate, bad_rate, part), _history_growth(tests, bad_rate, part)
    )
    nats = (np.log(1 / alpha) + _SPREAD_NATS) * tests.dispersion[HARMFUL, None]
    longest = LONGEST_TICKS * TICK_SECONDS
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(growth > 0, np.minimum(longest, nats / growth), longest)
    costs = per_second * part * excess * (LAG_TICKS * TICK_SECONDS + LAG_SECONDS + found)
    return np.asarray(costs.max(axis=(0, 1)), dtype=np.float64)


def _pair_growth(tests: Tests, source_rate: Floats, bad_rate: Floats, part: float) -> Floats:
    if part >= 1:
        return np.zeros_like(bad_rate)
    ratio, rate = tests.tolerance_ratio[HARMFUL, None], tests.tolerance_rate[HARMFUL, None]
    r = np.asarray(part / (1 - part))
    bet = best_bet(source_rate, bad_rate, ratio, rate, r)
    harmful = bad_rate > ratio * source_rate + rate
    bet = np.where(harmful, bet, 0.0)
    lost = np.log1p(-np.minimum(ratio * r * bet, 1 - 1e-12))
    grown = part * (bad_rate * np.log1p(bet) - rate * bet) + (1 - part) * source_rate * lost
    return np.where(harmful, grown, 0.0)


def _history_growth(tests: Tests, bad_rate: Floats, part: float) -> Floats:
    limit = tests.limit_rate[HARMFUL, None]
    counts = (tests.history_weight[HARMFUL, None] > 0) & (tests.history_requests[HARMFUL, None] > 0)
    counts = counts & (bad_rate > limit)
    bet = np.where(counts, bad_rate / limit - 1, 0.0)
    return np.where(counts, part * (bad_rate * np.log1p(bet) - limit * bet), 0.0)
