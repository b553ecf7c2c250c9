"""`shifter/core/analysis/learning.py` and `standing.py` for many trials at once; see `wealth_arrays.py`.

The metrics are those of the default policy: errors, the share of slow requests above two bucket edges that each trial's
own history fixes, and the compared answers. A trial whose history fixes one edge only has one metric less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from shifter.core.analysis.learning import MOST_OFTEN, OFTEN, SELDOM, shrunk
from shifter.core.analysis.measures import Metric, metrics_of
from shifter.core.analysis.sequential import CAP_NATS
from shifter.core.analysis.sickness import (
    _SICK_DEVIATIONS,
    _SICK_EVENTS,
    _SICK_RATE,
    _SICK_RATIO,
    _STEADY_RATIO,
    _VOUCHED,
    _WELL_TICKS,
    VOUCHING_REQUESTS,
)
from shifter.core.analysis.standing import (
    _DEAD_PART,
    _GONE,
    _LIMIT,
    _LOST,
    _LUMPS,
    _PSEUDO_REQUESTS,
    _SPARED_PART,
    _USUAL_KEEPS,
    RECENT_TICKS,
    STEADY_REQUESTS,
)
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.documents.criteria import Analysis
from tests.bench.analysis.rules import Columns
from tests.bench.analysis.wealth_arrays import Cells, Tests, Wealth
from tests.bench.analysis.world import EDGES_MS, KINDS, TICK_SECONDS, Arm, Flags, Floats, Seen, Whole

ANALYSIS: Final = Analysis()
METRICS: Final = metrics_of(ANALYSIS, EDGES_MS[:2])
"""The default policy's metrics; the two edges stand for whichever two a trial's history fixes."""

LOW, HIGH = 1, 2
_NEVER: Final = -1.0
ANSWERS: Final = 3


@dataclass(slots=True)
class Learnt(Columns):
    """What the history of every trial showed: its tests, its requests in a tick, and the edges (their index, or -1)."""

    tests: Tests
    per_tick: Floats
    edges: Whole

    def bad(self, arm: Arm) -> Floats:
        """Return the bad requests of every metric, (metric, trial)."""
        slow = [
            np.where(edge >= 0, np.take_along_axis(arm.above, np.maximum(edge, 0)[None, :], axis=0)[0], 0.0)
            for edge in self.edges
        ]
        return np.concatenate([arm.bad[None, :], np.stack(slow), arm.kinds])

    def where(self, other: Learnt, which: Flags) -> Learnt:
        """Return the same, with the other's in these trials."""
        tests = self.tests.where(other.tests, which)
        per_tick = np.where(which, other.per_tick, self.per_tick)
        return Learnt(tests, per_tick, np.where(which, other.edges, self.edges))

    def keep(self, index: Whole, trials: int) -> None:  # noqa: ARG002 - all columns are known here
        self.tests, self.per_tick, self.edges = self.tests.of(index), self.per_tick[index], self.edges[:, index]


class Sums(Columns):
    """Everything that learning sums up over the ticks of history, for all edges since none is fixed yet.

    The core forgets what is older than an hour; here that happens only to who waits long for the first step.
    """

    def __init__(self, trials: int) -> None:
        measured = 1 + len(EDGES_MS) + len(KINDS)
        self.ticks, self.requests = (np.zeros(trials) for _ in range(2))
        self.bad = np.zeros((measured, trials))
        self.squares, self.variance, self.events = (np.zeros((measured, trials)) for _ in range(3))

    def add(self, seen: Seen, which: Flags) -> None:
        """Add one tick of these trials."""
        source, half = seen.source, seen.half
        whole, first = _all_bad(source), _all_bad(half)
        self.ticks = self.ticks + which
        self.requests = self.requests + np.where(which, source.requests, 0.0)
        self.bad = self.bad + np.where(which, whole, 0.0)
        split = which & (half.requests > 0) & (half.requests < source.requests)
        theta = np.where(split, half.requests / np.maximum(source.requests, 1.0), 0.5)
        self.squares = self.squares + np.where(split, (first - whole * theta) ** 2, 0.0)
        self.variance = self.variance + np.where(split, whole * theta * (1 - theta), 0.0)
        self.events = self.events + np.where(split, whole, 0.0)


def _all_bad(arm: Arm) -> Floats:
    return np.concatenate([arm.bad[None, :], arm.above, arm.kinds])


def learn(sums: Sums) -> Learnt:
    """Return what the source alone has shown, trial by trial."""
    trials = len(sums.requests)
    edges = _fixed_edges(sums.bad[1 : 1 + len(EDGES_MS)] / np.maximum(sums.requests, 1.0))
    rows = np.stack(
        [
            np.zeros(trials, dtype=np.int64),
            *(np.maximum(edges, 0) + 1),
            *(np.full(trials, 1 + len(EDGES_MS) + index) for index in range(len(KINDS))),
        ]
    )
    rate = np.take_along_axis(sums.bad, rows, axis=0) / np.maximum(sums.requests, 1.0)
    of_chance = np.vectorize(shrunk, otypes=[np.float64])
    parts = (np.take_along_axis(each, rows, axis=0) for each in (sums.squares, sums.variance, sums.events))
    dispersion = of_chance(*parts)
    return Learnt(_tests(rate, sums.requests, dispersion, edges), sums.requests / sums.ticks, edges)


def _fixed_edges(slower: Floats) -> Whole:
    """Return the lower and the higher edge's index, -1 where there is none; see `learning.fixed_edges`."""
    index = np.arange(len(EDGES_MS))[:, None]
    usable = slower <= MOST_OFTEN
    tail = np.where(usable & (slower >= SELDOM), index, -1).max(axis=0)
    body = np.where(usable, np.abs(slower - OFTEN), np.inf).argmin(axis=0)
    body = np.where(usable.any(axis=0), body, -1)
    both = (tail >= 0) & (body >= 0) & (tail != body)
    low = np.where(both, np.minimum(tail, body), np.maximum(tail, body))
    return np.stack([low, np.where(both, np.maximum(tail, body), -1)])


def _tests(rate: Floats, requests: Floats, dispersion: Floats, edges: Whole) -> Tests:
    trials = len(requests)
    present = np.ones(rate.shape, dtype=np.bool_)
    present[LOW : HIGH + 1] = edges >= 0
    limits = [_limit(metric, each) for metric, each in zip(METRICS, rate, strict=True)]
    pair, history = (np.zeros(rate.shape) for _ in range(2))
    for count in range(3):
        which = present[LOW : HIGH + 1].sum(axis=0) == count
        metrics = metrics_of(ANALYSIS, EDGES_MS[:count])
        places = [0, *range(LOW, LOW + count), *range(ANSWERS, len(METRICS))]
        for place, metric in zip(places, metrics, strict=True):
            pair[place] = np.where(which, metric.pair_weight, pair[place])
            history[place] = np.where(which, metric.history_weight, history[place])

    def margins(values: Iterable[float]) -> Floats:
        return np.array(list(values))[:, None]

    return Tests(
        tolerance_ratio=margins(m.tolerance.ratio for m in METRICS),
        tolerance_rate=margins(m.tolerance.rate for m in METRICS),
        safety_ratio=margins(m.safety.ratio for m in METRICS),
        safety_rate=margins(m.safety.rate for m in METRICS),
        pair_weight=pair,
        history_weight=history,
        history_rate=rate,
        history_requests=np.broadcast_to(requests, rate.shape).reshape(len(METRICS), trials).copy(),
        limit_rate=np.stack(limits),
        dispersion=dispersion,
        present=present,
    )


def tests_of_rates(rates: Floats, requests: float) -> Tests:
    """Return the tests of a source with known rates (metric, trial), two edges and failures that come one by one."""
    trials = rates.shape[-1]
    edges = np.tile(np.array([[0], [1]]), (1, trials))
    return _tests(rates, np.full(trials, requests), np.ones(rates.shape), edges)


def _limit(metric: Metric, rate: Floats) -> Floats:
    """Return `standing.limit_rate` for many histories."""
    limit = np.asarray(_LIMIT.ratio * rate + _LIMIT.rate, dtype=np.float64)
    if metric.most_rate is not None:
        limit = np.minimum(limit, metric.most_rate)
    return np.maximum(limit, metric.tolerance.ratio * rate + metric.tolerance.rate)


def _is_sick(tests: Tests, requests: Floats, bad: Floats) -> Flags:
    rate, dispersion = tests.history_rate[0], tests.dispersion[0]
    limit = requests * np.maximum(_SICK_RATIO * rate, rate + _SICK_RATE)
    by_chance = limit + _SICK_DEVIATIONS * np.sqrt(dispersion * limit)
    known = tests.history_requests[0] > 0
    return np.asarray(known & (bad >= _SICK_EVENTS) & (bad > by_chance), dtype=np.bool_)


class Standing(Columns):
    """Where every trial's attempt stands. `by_request`: the balancer sends each request by weight."""

    def __init__(self, learnt: Learnt, *, by_request: bool = True) -> None:
        self.learnt, self._by_request = learnt, by_request
        metrics, trials = learnt.tests.history_rate.shape
        self.wealth = Wealth(learnt.tests)
        self.share = np.zeros(trials)
        self.requests = np.zeros((2, trials))
        self.bad = np.zeros((2, metrics, trials))
        self.pending_requests, self.pending_bad = np.zeros((2, trials)), np.zeros((2, metrics, trials))
        self.recent_requests = np.zeros((RECENT_TICKS, trials))
        self.recent_bad = np.zeros((RECENT_TICKS, metrics, trials))
        self.usual = learnt.per_tick.copy()
        self.ticks, self.seconds, self.exposed_seconds, self.lost = (np.zeros(trials) for _ in range(4))
        self.exposed_ticks = np.zeros(trials)
        self.sick_ticks, self.well_ticks, self.sick_after = (np.zeros(trials) for _ in range(3))
        self.failing_ticks, self.failing_bad, self.failing_source = (np.zeros(trials) for _ in range(3))
        self.well_rate, self.well_weight = self.wealth.source_rate.copy(), self.wealth.source_weight.copy()

    @property
    def tests(self) -> Tests:
        return self.learnt.tests

    @property
    def is_sick(self) -> Flags:
        return self.sick_ticks > 0

    @property
    def shares_incident(self) -> Flags:
        """Whether the target fails as much as a source in an incident does."""
        return _is_sick(self.tests, self.requests[0], self.bad[0, 0])

    def shows_incident(self, newest: int) -> Flags:
        """Whether the source's newest tick, its newest two, or so on to so many of them are an incident's."""
        requests, bad = self.recent_requests[:newest].cumsum(axis=0), self.recent_bad[:newest, 0].cumsum(axis=0)
        return np.asarray(_is_sick(self.tests, requests, bad).any(axis=0), dtype=np.bool_)

    def relearn(self, learnt: Learnt, which: Flags) -> None:
        """Take over what was learnt anew before the first step; other edges begin everything anew."""
        others = which & (learnt.edges != self.learnt.edges).any(axis=0)
        self.learnt = self.learnt.where(learnt, which)
        self.wealth.take(Wealth(self.tests), which)
        self.usual = np.where(which, learnt.per_tick, self.usual)
        for name in ("recent_requests", "recent_bad", "sick_ticks", "well_ticks"):
            setattr(self, name, np.where(others, 0.0, getattr(self, name)))

    def at_share(self, share: Floats) -> None:
        """Begin a share (percent) that has just been verified, where it differs."""
        new = share != self.share
        first = new & ((self.share == 0) | (self.exposed_ticks == 0))
        if first.any():
            self.wealth.take(Wealth(self.tests), first)
        self.wealth.new_start(new & ~first)
        self.share = np.where(new, share, self.share)
        self.requests, self.bad = np.where(new, 0.0, self.requests), np.where(new, 0.0, self.bad)
        self.ticks, self.seconds = np.where(new, 0.0, self.ticks), np.where(new, 0.0, self.seconds)
        self.lost = np.where(share > 0, self.lost, 0.0)
        self._forget_pending(new)

    def begin_anew(self, which: Flags) -> None:
        """Begin another attempt at the same share: what was learnt of the source stays, and its being sick."""
        fresh = Wealth(self.tests)
        self.wealth.take(fresh, which)
        for name in ("requests", "bad", "recent_requests", "recent_bad", "ticks", "seconds", "exposed_seconds", "lost"):
            setattr(self, name, np.where(which, 0.0, getattr(self, name)))
        for name in ("failing_ticks", "failing_bad", "failing_source"):
            setattr(self, name, np.where(which, 0.0, getattr(self, name)))
        self.exposed_ticks = np.where(which, 0.0, self.exposed_ticks)
        self.sick_after = np.where(which, _NEVER, self.sick_after)
        self._forget_pending(which)

    def advance(self, seen: Seen) -> None:
        """Add one tick, where it was seen; every tick lies wholly at one share here."""
        live, target, source = seen.seen, seen.target, seen.source
        target_bad, source_bad = self.learnt.bad(target), self.learnt.bad(source)
        self._remember(live, source.requests, source_bad)
        foreseen = self.is_sick
        self._look_for_sickness(live)
        calm = ~(self.is_sick | foreseen)
        began = self.is_sick & ~foreseen
        self.well_rate = np.where(began, self.wealth.source_rate, self.well_rate)
        self.well_weight = np.where(began, self.wealth.source_weight, self.well_weight)
        at_share = live & (self.share > 0)
        bets, requests, bad = self._merged(
            at_share, np.stack([target.requests, source.requests]), np.stack([target_bad, source_bad])
        )
        cells = Cells(
            target=np.broadcast_to(requests[0], target_bad.shape),
            target_bad=bad[0],
            source=np.broadcast_to(requests[1], source_bad.shape),
            source_bad=bad[1],
            ratio=self._ratio(requests[0], requests[1]),
            vouched=self._vouched(),
            incident=self.is_sick,
            foreseen=foreseen,
            steady=calm & self._steady(),
        )
        self.wealth.add(self.tests, cells, bets)
        self.wealth.reopen(bets)
        over = foreseen & ~self.is_sick
        self.wealth.source_rate = np.where(over, self.well_rate, self.wealth.source_rate)
        self.wealth.source_weight = np.where(over, self.well_weight, self.wealth.source_weight)
        self._look_for_losses(live, target.requests, source.requests)
        self._look_for_death(live, target, source)
        self.requests = self.requests + np.where(at_share, np.stack([target.requests, source.requests]), 0.0)
        self.bad = self.bad + np.where(at_share, np.stack([target_bad, source_bad]), 0.0)
        usual = _USUAL_KEEPS * self.usual + (1 - _USUAL_KEEPS) * (target.requests + source.requests)
        self.usual = np.where(live, usual, self.usual)
        self.ticks = self.ticks + live
        self.exposed_ticks = self.exposed_ticks + at_share
        self.seconds = self.seconds + TICK_SECONDS * (live & ~self.is_sick)
        self.exposed_seconds = self.exposed_seconds + TICK_SECONDS * (at_share & ~self.is_sick)

    def _remember(self, live: Flags, requests: Floats, bad: Floats) -> None:
        """Put the source's newest tick first."""
        newest = np.concatenate([requests[None], self.recent_requests[:-1]])
        newest_bad = np.concatenate([bad[None], self.recent_bad[:-1]])
        self.recent_requests = np.where(live, newest, self.recent_requests)
        self.recent_bad = np.where(live, newest_bad, self.recent_bad)

    def _look_for_sickness(self, live: Flags) -> None:
        ill = self.shows_incident(RECENT_TICKS)
        before = self.is_sick
        over = ~ill & (~before | (self.well_ticks + 1 >= _WELL_TICKS))
        self.sick_after = np.where(live & ill & ~before, self.ticks, self.sick_after)
        self.well_ticks = np.where(live, np.where(ill | over, 0.0, self.well_ticks + 1), self.well_ticks)
        self.sick_ticks = np.where(live, np.where(over, 0.0, self.sick_ticks + 1), self.sick_ticks)

    def _merged(self, at_share: Flags, requests: Floats, bad: Floats) -> tuple[Flags, Floats, Floats]:
        """Return who bets on what: where clients stick to a side, ticks are merged; see `standing._merged`."""
        if self._by_request:
            return at_share, requests, bad
        requests, bad = self.pending_requests + requests, self.pending_bad + bad
        bets = at_share & ((requests.min(axis=0) >= STEADY_REQUESTS) | (self.share >= FULL_PERCENT))
        waits = at_share & ~bets
        self.pending_requests = np.where(waits, requests, np.where(bets, 0.0, self.pending_requests))
        self.pending_bad = np.where(waits, bad, np.where(bets, 0.0, self.pending_bad))
        return bets, requests, bad

    def _forget_pending(self, which: Flags) -> None:
        self.pending_requests = np.where(which, 0.0, self.pending_requests)
        self.pending_bad = np.where(which, 0.0, self.pending_bad)

    def _ratio(self, target: Floats, source: Floats) -> Floats:
        """Return r, NaN where there is none; see `standing._ratio`."""
        part = self.share / FULL_PERCENT
        if not self._by_request:
            both = (target >= 1) & (source >= 1) & (part < 1)
            return np.where(both, target / np.maximum(source, 1.0), np.nan)
        steady = self.usual * np.minimum(part, 1 - part) >= STEADY_REQUESTS
        own = np.where((target > 0) & (source > 0), target / np.maximum(source, 1.0), np.nan)
        so_far = self.requests + np.stack([target, source]) + _PSEUDO_REQUESTS * np.stack([part, 1 - part])
        pooled = so_far[0] / np.where(so_far[1] > 0, so_far[1], 1.0)
        return np.where(part >= 1, np.nan, np.where(steady, own, pooled))

    def _vouched(self) -> Flags:
        rate = self.tests.history_rate
        most = _VOUCHED.ratio * rate + _VOUCHED.rate
        for index, metric in enumerate(METRICS):
            if metric.most_rate is not None:
                tolerated = metric.tolerance.ratio * rate[index] + metric.tolerance.rate
                most[index] = np.minimum(most[index], np.maximum(metric.most_rate, tolerated))
        requests = self.recent_requests.sum(axis=0)
        enough = (self.share >= FULL_PERCENT) | (requests >= VOUCHING_REQUESTS)
        found = enough & (self.recent_bad.sum(axis=0) <= requests * most)
        return np.asarray(found & (self.tests.history_requests > 0), dtype=np.bool_)

    def _steady(self) -> Flags:
        requests, bad = self.recent_requests.sum(axis=0), self.recent_bad.sum(axis=0)
        expected = _STEADY_RATIO * self.tests.history_rate * requests
        by_chance = _SICK_DEVIATIONS * np.sqrt(self.tests.dispersion * (expected + 1))
        return np.asarray((self.tests.history_requests <= 0) | (bad <= expected + by_chance), dtype=np.bool_)

    def _look_for_losses(self, live: Flags, target: Floats, source: Floats) -> None:
        if not self._by_request:
            return  # what a side gets is the clients' choice as well, so that less of it is no loss
        part = self.share / FULL_PERCENT
        whole = live & (part > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = (part * each / (part * each + 1 - part) for each in (_GONE, _LOST))
            grown = target * np.log(low / high) + source * np.log((1 - low) / (1 - high))
        lost = np.where(part >= 1, 0.0, np.maximum(0.0, self.lost + np.minimum(CAP_NATS, grown / _LUMPS)))
        self.lost = np.where(whole, lost, self.lost)

    def _look_for_death(self, live: Flags, target: Arm, source: Arm) -> None:
        failed = (target.bad > 0) & (target.bad >= _DEAD_PART * target.requests)
        failing = failed & (source.bad <= _SPARED_PART * source.requests)

        def grown(before: Floats, by: Floats | float) -> Floats:
            return np.where(live & (target.requests > 0), np.where(failing, before + by, 0.0), before)

        self.failing_ticks = grown(self.failing_ticks, 1.0)
        self.failing_bad = grown(self.failing_bad, target.bad)
        self.failing_source = grown(self.failing_source, source.requests)
