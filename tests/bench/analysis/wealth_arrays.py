"""`shifter/core/analysis/sequential.py` for many trials at once: the same formulas, one numpy column per trial.

Axes are (metric, alternative, trial). Every constant is the core's, also those that the core keeps to itself; what is
written here a second time is arithmetic, and `test_same_decisions.py` holds it against the core, tick by tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from shifter.core.analysis.sequential import (
    _DEEPEST_BET,
    _JUST_BELOW_ONE,
    _LARGEST_EXPONENT,
    BETA,
    BEYOND_EDGE,
    CAP_NATS,
    FORGETTING,
    GRID,
    HARM_PRIOR,
    HISTORY_WORSE,
    INCIDENT_RATIO,
    LEAST_RATE,
    LEAST_RUIN,
    MOST_HISTORY,
    MOST_RUIN,
    MOST_WORSE,
    RUIN_RATIO,
    SAFE,
    STARTS,
    WITHIN_EDGE,
    WORSE,
)
from tests.bench.analysis.rules import Columns
from tests.bench.analysis.world import Flags, Floats, Whole

PRIOR: Final = np.array(HARM_PRIOR)[None, :, None]
SAFE_FACTORS: Final = np.array(SAFE)[None, None, :, None]
BOUNDS: Final = np.array((*GRID, 1.0))


@dataclass(slots=True)
class Tests:
    """How each metric is judged, per trial. Margins are (metric, 1), everything else (metric, trial).

    `present` is False where a trial has fewer metrics than others: its stakes are 0, and it counts as proven.
    """

    tolerance_ratio: Floats
    tolerance_rate: Floats
    safety_ratio: Floats
    safety_rate: Floats
    pair_weight: Floats
    history_weight: Floats
    history_rate: Floats
    history_requests: Floats
    limit_rate: Floats
    dispersion: Floats
    present: Flags

    def of(self, index: Whole) -> Tests:
        """Return the tests of some trials."""
        return Tests(
            tolerance_ratio=self.tolerance_ratio,
            tolerance_rate=self.tolerance_rate,
            safety_ratio=self.safety_ratio,
            safety_rate=self.safety_rate,
            pair_weight=self.pair_weight[:, index],
            history_weight=self.history_weight[:, index],
            history_rate=self.history_rate[:, index],
            history_requests=self.history_requests[:, index],
            limit_rate=self.limit_rate[:, index],
            dispersion=self.dispersion[:, index],
            present=self.present[:, index],
        )

    def where(self, other: Tests, which: Flags) -> Tests:
        """Return the same, with the other's in these trials."""
        return Tests(
            tolerance_ratio=self.tolerance_ratio,
            tolerance_rate=self.tolerance_rate,
            safety_ratio=self.safety_ratio,
            safety_rate=self.safety_rate,
            pair_weight=np.where(which, other.pair_weight, self.pair_weight),
            history_weight=np.where(which, other.history_weight, self.history_weight),
            history_rate=np.where(which, other.history_rate, self.history_rate),
            history_requests=np.where(which, other.history_requests, self.history_requests),
            limit_rate=np.where(which, other.limit_rate, self.limit_rate),
            dispersion=np.where(which, other.dispersion, self.dispersion),
            present=np.where(which, other.present, self.present),
        )


@dataclass(frozen=True, slots=True)
class Cells:
    """One tick: counts are (metric, trial). `ratio` is NaN where a comparison says nothing.

    `incident` and `foreseen`: the source is in an incident, with and without this tick's requests; `steady`: it is
    what it used to be, by metric.
    """

    target: Floats
    target_bad: Floats
    source: Floats
    source_bad: Floats
    ratio: Floats
    vouched: Flags
    incident: Flags
    foreseen: Flags
    steady: Flags


def best_bet(source_rate: Floats, target_rate: Floats, ratio: Floats, rate: Floats, r: Floats) -> Floats:
    """Return `sequential.best_bet` for a margin of `ratio` and `rate`."""
    weighted = ratio * r
    a = rate * weighted
    b = target_rate * weighted + ratio * source_rate + rate * (1 - weighted)
    c = target_rate - ratio * source_rate - rate
    root = np.sqrt(np.maximum(0.0, b * b - 4 * a * c))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(b >= 0, 2 * c / (b + root), (b - root) / (2 * a)), dtype=np.float64)


class Wealth(Columns):
    """All products of one attempt, as logarithms."""

    def __init__(self, tests: Tests) -> None:
        metrics, trials = tests.history_rate.shape
        self.pairs = [np.zeros((metrics, len(HARM_PRIOR), trials)) for _ in range(2)]
        self.history = [np.zeros((metrics, len(HISTORY_WORSE), trials)) for _ in range(2)]
        self.safety = np.zeros((metrics, len(GRID) + 1, len(SAFE), trials))
        self.source_rate = tests.history_rate.copy()
        self.source_weight = tests.history_requests.copy()
        self.frozen = [np.zeros((metrics, trials)) for _ in range(2)]
        self.opened = [np.ones((metrics, trials), dtype=np.int64) for _ in range(2)]

    def add(self, tests: Tests, cells: Cells, live: Flags, *, safety: bool = True) -> None:
        """Add one tick to the trials that are `live`; `safety`: keep the bounds up as well."""
        by_pair = np.where(live, self._by_pair(tests, cells), 0.0)
        by_history = np.where(live, _history_growth(tests, cells), 0.0)
        self.pairs = [before + by_pair for before in self.pairs]
        self.history = [before + by_history for before in self.history]
        if safety:
            self._add_safety(tests, cells, live)
        weight = FORGETTING * self.source_weight
        rate = (weight * self.source_rate + cells.source_bad) / np.maximum(weight + cells.source, 1.0)
        self.source_rate = np.where(live, rate, self.source_rate)
        self.source_weight = np.where(live, weight + cells.source, self.source_weight)

    def _by_pair(self, tests: Tests, cells: Cells) -> Floats:
        """Return what the tick adds to the comparisons; the less of both where it changes the answer on an incident."""
        usually = _pair_growth(self.source_rate, tests, cells, tests.tolerance_ratio)
        either = cells.incident | cells.foreseen
        if not either.any():
            return usually
        doubled = np.maximum(INCIDENT_RATIO, tests.tolerance_ratio)
        within = _pair_growth(self.source_rate, tests, cells, doubled)
        changes = cells.incident != cells.foreseen
        return np.where(changes, np.minimum(usually, within), np.where(cells.incident, within, usually))

    def _add_safety(self, tests: Tests, cells: Cells, live: Flags) -> None:
        ratio, source_rate = tests.safety_ratio[:, None, None, :], self.source_rate[:, None, None, :]
        r = np.where(np.isnan(cells.ratio), 1.0, cells.ratio)
        rates = _excesses(tests)
        edge = WITHIN_EDGE * (ratio * source_rate + rates)
        target_rate = np.minimum(SAFE_FACTORS * source_rate + LEAST_RATE, edge)
        bet = np.maximum(best_bet(source_rate, target_rate, ratio, rates, r), _DEEPEST_BET)
        target, bad = cells.target[:, None, None, :], cells.target_bad[:, None, None, :]
        lost = np.log1p(-np.minimum(ratio * r * bet, _JUST_BELOW_ONE))
        grown = bad * np.log1p(bet) + cells.source_bad[:, None, None, :] * lost - target * rates * bet
        grown /= tests.dispersion[:, None, None, :]
        counts = live & ~np.isnan(cells.ratio) & cells.steady
        self.safety = np.where(counts[:, None, None, :], self.safety + grown, self.safety)

    def take(self, other: Wealth, which: Flags) -> None:
        """Take over the products of another wealth in these trials."""
        for name in ("safety", "source_rate", "source_weight"):
            setattr(self, name, np.where(which, getattr(other, name), getattr(self, name)))
        for name in ("pairs", "history", "frozen", "opened"):
            both = zip(getattr(other, name), getattr(self, name), strict=True)
            setattr(self, name, [np.where(which, theirs, ours) for theirs, ours in both])

    def new_start(self, which: Flags) -> None:
        """Close the latest products of these trials and open fresh ones."""
        if which.any():
            for kind in range(2):
                self._restart(kind, np.broadcast_to(which, self.opened[kind].shape))

    def reopen(self, live: Flags) -> None:
        """Open fresh products, kind by kind, where clean traffic has used up the latest ones."""
        if STARTS.reopen_below is not None:
            for kind in range(2):
                self._restart(kind, live & (self._mean(kind, 1) < STARTS.reopen_below))

    def _restart(self, kind: int, which: Flags) -> None:
        """`which` is (metric, trial); kind 0 are the comparisons, 1 those with history."""
        if not which.any():
            return
        closing = _by_start(self.opened[kind], STARTS.weight) * self._mean(kind, 1)
        self.frozen[kind] = np.where(which, self.frozen[kind] + closing, self.frozen[kind])
        self.opened[kind] = self.opened[kind] + which
        products = self.history if kind else self.pairs
        products[1] = np.where(which[:, None, :], 0.0, products[1])

    def harm(self, tests: Tests) -> Floats:
        """Return M."""
        total = np.zeros(self.source_rate.shape[1])
        for kind, stake in enumerate((tests.pair_weight, tests.history_weight)):
            latest = _by_start(self.opened[kind], STARTS.weight) * self._mean(kind, 1)
            running = STARTS.beginning * self._mean(kind, 0) + latest + self.frozen[kind]
            total = total + (stake * (running + _by_start(self.opened[kind], STARTS.left))).sum(axis=0)
        return total

    def _mean(self, kind: int, which: int) -> Floats:
        if kind:
            return np.asarray(_exp(self.history[which]).mean(axis=1), dtype=np.float64)
        return np.asarray((PRIOR * _exp(self.pairs[which])).sum(axis=1), dtype=np.float64)

    def bounds(self, tests: Tests) -> Floats:
        """Return U, (metric, trial)."""
        reached = _exp(self.safety).mean(axis=2) >= 1 / BETA
        on_grid, own = reached[:, :-1], reached[:, -1]
        first = BOUNDS[np.where(on_grid.any(axis=1), on_grid.argmax(axis=1), len(GRID))]
        return np.asarray(np.where(own, np.minimum(first, tests.safety_rate), first), dtype=np.float64)


def _excesses(tests: Tests) -> Floats:
    """Return (metric, excess, 1, 1): the grid, and each metric's own margin."""
    grid = np.broadcast_to(np.array(GRID), (len(tests.safety_rate), len(GRID)))
    return np.concatenate([grid, tests.safety_rate], axis=1)[:, :, None, None]


def _by_start(opened: Whole, part: Callable[[int], float]) -> Floats:
    return _parts(part, 1 << int(opened.max(initial=1)).bit_length())[opened]


@lru_cache(maxsize=64)
def _parts(part: Callable[[int], float], size: int) -> Floats:
    return np.array([part(max(start, 1)) for start in range(size)])


def _exp(logs: Floats) -> Floats:
    return np.asarray(np.exp(np.minimum(logs, _LARGEST_EXPONENT)), dtype=np.float64)


def _pair_growth(source_rate: Floats, tests: Tests, cells: Cells, ratio: Floats) -> Floats:
    edge = BEYOND_EDGE * (ratio * source_rate + tests.tolerance_rate)
    rates = [np.minimum(MOST_WORSE, worse * (source_rate + tests.tolerance_rate)) for worse in WORSE]
    rates.append(np.maximum(LEAST_RUIN, np.minimum(MOST_RUIN, RUIN_RATIO * source_rate)))
    target_rate = np.maximum(np.stack(rates, axis=1), edge[:, None, :])
    known = ~np.isnan(cells.ratio)
    r = np.where(known, cells.ratio, 1.0)
    wide = ratio[:, None, :]
    bet = best_bet(source_rate[:, None, :], target_rate, wide, tests.tolerance_rate[:, None, :], r)
    lost = np.log1p(-np.minimum(wide * r * bet, _JUST_BELOW_ONE))
    grown = cells.target_bad[:, None, :] * np.log1p(bet) + cells.source_bad[:, None, :] * lost
    grown -= (cells.target * tests.tolerance_rate)[:, None, :] * bet
    return np.where(known, np.minimum(CAP_NATS, grown / tests.dispersion[:, None, :]), 0.0)


def _history_growth(tests: Tests, cells: Cells) -> Floats:
    limit = tests.limit_rate[:, None, :]
    worse = np.array(HISTORY_WORSE)[None, :, None]
    bet = np.maximum(np.minimum(MOST_HISTORY, worse * limit) / limit - 1, 0.0)
    grown = cells.target_bad[:, None, :] * np.log1p(bet) - (cells.target[:, None, :] * limit) * bet
    counts = ~(cells.incident | cells.foreseen) & cells.vouched & (cells.target > 0)
    return np.where(counts[:, None, :], np.minimum(CAP_NATS, grown / tests.dispersion[:, None, :]), 0.0)
