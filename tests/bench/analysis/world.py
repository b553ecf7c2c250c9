"""Traffic of many migrations side by side: one numpy column per trial, one call per scrape.

What is idealised, for every rule alike: a share is in force from the boundary of a tick, a rollback reaches the users
after `PROPAGATION_SECONDS`, both gateways are scraped at the same instant, and requests arrive as a Poisson process of
a constant rate. A tick is one scrape interval, 15 s. Latency is lognormal with a median of 40 ms and a 99th percentile
of 257 ms, and is seen as Istio shows it: as counts above its bucket edges. The source consists of two groups of pods,
so that a rule can hold the one against the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from tests.bench.analysis.scenarios import HOUR, Scenario

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]

TICK_SECONDS: Final = 15.0
PROPAGATION_SECONDS: Final = 5.0
HISTORY_SECONDS: Final = HOUR

EDGES_MS: Final = (25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
"""The edges of Istio's request_duration buckets around the simulated latency."""

SLOW_MS: Final = 250.0
"""A request slower than this is harm in the latency scenarios."""

KINDS: Final = ("3xx", "401", "403", "404")
KIND_SHARES: Final = (0.02, 0.003, 0.001, 0.005)
_MISSING: Final = KINDS.index("404")

MEDIAN_MS: Final = 40.0
P99_MS: Final = 257.0
_SIGMA: Final = math.log(P99_MS / MEDIAN_MS) / 2.3263478740408408

STICKY_CLIENTS: Final = 10
STICKY_TRAFFIC: Final = 0.5
_BURST_STARTS: Final = 1 / 40
_BURST_TICKS: Final = 2
_BURST_FACTOR: Final = 30.0
_OUTAGE_STARTS: Final = (60.0, 240.0)
_OUTAGE_SECONDS: Final = 300.0
_DRIFT_SECONDS: Final = 1200.0
_RETRY_FAILS: Final = 0.5
_ONCE_TICKS: Final = (3, 16)
"""When what happens once (a blip, a restart, the exporter's death) happens: in one of these ticks, evenly."""


def beyond(edge_ms: float, slower: float) -> float:
    """Return the part of the requests slower than `edge_ms` if all are `slower` times as slow as usual."""
    deviations = math.log(edge_ms / (MEDIAN_MS * slower)) / _SIGMA
    return 0.5 * math.erfc(deviations / math.sqrt(2))


@dataclass(frozen=True, slots=True)
class Arm:
    """What one group of gateways counted in one tick, per trial: requests, failed ones, slow ones, other answers."""

    requests: Floats
    bad: Floats
    above: Floats
    kinds: Floats

    def __add__(self, other: Self) -> Arm:
        return Arm(
            self.requests + other.requests, self.bad + other.bad, self.above + other.above, self.kinds + other.kinds
        )

    def where(self, seen: Flags) -> Arm:
        """Return the same counts, none of them where nothing was seen."""
        return Arm(self.requests * seen, self.bad * seen, self.above * seen, self.kinds * seen)


@dataclass(frozen=True, slots=True)
class Seen:
    """One tick as the rules see it, and `harm`: the requests that ended badly only because the target got them."""

    half: Arm
    source: Arm
    target: Arm
    seen: Flags
    target_gone: Flags
    harm: Floats


def beyond_all(slower: Floats) -> Floats:
    """Return `beyond(SLOW_MS, ...)` for every trial; there are only a few factors."""
    found = np.zeros_like(slower)
    for factor in np.unique(slower):
        found[slower == factor] = beyond(SLOW_MS, float(factor))
    return found


@dataclass(frozen=True, slots=True)
class _Rates:
    """The truth in one tick, per trial: the parts of the requests that fail, and what the target adds to them."""

    source: Floats
    target: Floats
    slower: Floats
    missing: Floats
    lost: Floats

    def added(self, clean: Floats) -> Floats:
        slow = np.where(self.slower > 1, beyond_all(self.slower) - beyond(SLOW_MS, 1.0), 0.0)
        return np.maximum(self.target - clean, 0) * (1 - self.lost) + slow + self.missing + self.lost


class World:
    """`trials` migrations in one scenario. `tick` lets one scrape interval pass at the given shares."""

    def __init__(self, scenario: Scenario, rate: float, base: float, trials: int, seed: int) -> None:
        self.scenario, self.rate, self.base, self.trials = scenario, rate, base, trials
        self.elapsed = 0
        self._rng = np.random.default_rng(seed)
        low, high = _ONCE_TICKS
        self._once = self._rng.integers(low, high, trials)
        self._outage_at = self._rng.uniform(*_OUTAGE_STARTS, trials)
        self._burst_left = np.zeros(trials, dtype=np.int64)
        self._heavy = self._rng.uniform(size=(STICKY_CLIENTS, trials))

    @property
    def seconds(self) -> float:
        return self.elapsed * TICK_SECONDS

    def keep(self, index: Whole) -> None:
        """Go on with these trials only."""
        self.trials = len(index)
        self._once, self._outage_at = self._once[index], self._outage_at[index]
        self._burst_left, self._heavy = self._burst_left[index], self._heavy[:, index]

    def tick(self, share: Floats, *, before: bool = False) -> Seen:
        """Let one tick pass with `share` (0..1) of the traffic on the target; `before`: in the hour of history."""
        common = self._common(before=before)
        rates = self._rates(common, share)
        if self.scenario.blip:
            blip = np.where(self._once == self.elapsed, self.scenario.blip, 0.0)
            rates = replace(rates, target=np.maximum(rates.target, blip))
        mix = self._mix(share)
        split = np.stack([(1 - mix) / 2, (1 - mix) / 2, mix])
        sent = self._rng.poisson(self.rate * TICK_SECONDS * split)
        arrived = sent.copy()
        if self.scenario.lost_requests:
            arrived[2] = self._rng.binomial(sent[2], 1 - rates.lost)
        bad = self._bad(arrived, np.stack([rates.source, rates.source, rates.target]))
        if self.scenario.retries:
            arrived, bad = self._retried(arrived, bad, split)
        half, other, target = self._arms(arrived, bad, rates)
        harm = sent[2] * rates.added(common)
        seen, gone = self._scraped(before=before)
        if self.scenario.restart:
            target = self._restarted(target)
        if not before:
            self.elapsed += 1
        shown = seen & ~gone
        return Seen(half.where(shown), (half + other).where(shown), target.where(shown), shown, gone, harm)

    def harm_per_second(self, share: Floats) -> Floats:
        """Return how many requests per second end badly because of the target at these shares, as things are now."""
        common = self._common(before=False, advance=False)
        return self.rate * share * self._rates(common, share).added(common)

    def _common(self, *, before: bool, advance: bool = True) -> Floats:
        """Return the part of the requests that fail for reasons that both sides share."""
        rate = np.full(self.trials, self.base)
        scenario = self.scenario
        if scenario.bursts:
            if advance:
                starts = self._rng.uniform(size=self.trials) < _BURST_STARTS
                self._burst_left = np.where(starts, _BURST_TICKS, np.maximum(self._burst_left - 1, 0))
            rate = np.where(self._burst_left > 0, np.minimum(rate * _BURST_FACTOR, 0.9), rate)
        if before:
            return rate
        if scenario.outage:
            now = self.seconds - self._outage_at
            rate = np.where((now >= 0) & (now < _OUTAGE_SECONDS), 1 - (1 - rate) * (1 - scenario.outage), rate)
        if scenario.drift > 1:
            rate = rate * scenario.drift ** min(1.0, self.seconds / _DRIFT_SECONDS)
        return rate

    def _rates(self, common: Floats, share: Floats) -> _Rates:
        scenario = self.scenario
        active = (share > scenario.above_share) & (self.seconds >= scenario.after_seconds)
        worse = np.clip(common * scenario.error_factor + scenario.error_points, scenario.failing, 1.0)
        target = np.where(active, worse, common)
        return _Rates(
            source=np.minimum(common * scenario.source_factor, 1.0),
            target=target,
            slower=np.where(active, scenario.slower, 1.0),
            missing=np.where(active, scenario.missing_route, 0.0),
            lost=np.where(active, scenario.lost_requests, 0.0),
        )

    def _mix(self, share: Floats) -> Floats:
        """Return the share that the requests really get: clients that stick to a side move one by one."""
        if not self.scenario.sticky:
            return share
        moved = np.asarray((self._heavy < share).mean(axis=0), dtype=np.float64)
        return STICKY_TRAFFIC * moved + (1 - STICKY_TRAFFIC) * share

    def _bad(self, requests: Whole, rate: Floats) -> Whole:
        if self.scenario.cluster <= 1:
            return self._rng.binomial(requests, rate)
        mean = self.scenario.cluster
        clusters = self._rng.poisson(requests * rate / mean)
        # So many geometric sizes of this mean: each cluster has one failure, and others until the first success.
        more = np.where(clusters > 0, self._rng.negative_binomial(np.maximum(clusters, 1), 1 / mean), 0)
        return np.minimum(clusters + more, requests)

    def _retried(self, requests: Whole, bad: Whole, split: Floats) -> tuple[Whole, Whole]:
        again = self._rng.poisson(bad.sum(axis=0) * split)
        return requests + again, bad + self._rng.binomial(again, _RETRY_FAILS)

    def _arms(self, requests: Whole, bad: Whole, rates: _Rates) -> list[Arm]:
        """Draw how slow the requests were and what else they were answered, for both halves and the target."""
        above, remaining, reached = [], requests, np.ones((3, self.trials))
        for edge in EDGES_MS:
            slow = np.full((3, self.trials), beyond(edge, 1.0))
            slow[2] = np.where(rates.slower > 1, beyond(edge, self.scenario.slower), slow[2])
            remaining = self._rng.binomial(remaining, slow / reached)
            above.append(remaining)
            reached = slow
        kinds, others, left = [], requests - bad, np.ones((3, self.trials))
        for index, share in enumerate(KIND_SHARES):
            part = np.full((3, self.trials), share)
            if index == _MISSING:
                part[2] += rates.missing
            # Each answer is one thing only, so what has one code is not asked again.
            kinds.append(self._rng.binomial(others, part / left))
            others, left = others - kinds[-1], left - part
        slower, answers = np.asarray(above, dtype=np.float64), np.asarray(kinds, dtype=np.float64)
        return [
            Arm(requests[arm].astype(np.float64), bad[arm].astype(np.float64), slower[:, arm], answers[:, arm])
            for arm in range(3)
        ]

    def _scraped(self, *, before: bool) -> tuple[Flags, Flags]:
        """Return in which trials both sides were scraped, and in which the target's series have disappeared."""
        seen = np.ones(self.trials, dtype=np.bool_)
        if self.scenario.lost_scrapes and not before:
            seen = self._rng.uniform(size=self.trials) >= self.scenario.lost_scrapes
        gone = np.full(self.trials, self.scenario.exporter_dies) & (self.elapsed >= self._once)
        return seen, gone

    def _restarted(self, target: Arm) -> Arm:
        """One of the target's two pods begins anew between two scrapes: what it had counted since the first is lost."""
        kept = np.where(self._once == self.elapsed, self._rng.uniform(0.5, 1.0, self.trials), 1.0)

        def thinned(counts: Floats) -> Floats:
            return self._rng.binomial(counts.astype(np.int64), kept).astype(np.float64)

        bad, kinds = thinned(target.bad), thinned(target.kinds)
        requests = bad + kinds.sum(axis=0) + thinned(target.requests - target.bad - target.kinds.sum(axis=0))
        # Buckets are thinned by themselves; they stay cumulative, and none exceeds the requests.
        above = np.minimum.accumulate(np.minimum(thinned(target.above), requests), axis=0)
        return Arm(requests, bad, above, kinds)
