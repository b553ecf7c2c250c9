"""How far up the next step may go: what it could cost at worst, held against the policy's blast radius.

Nothing is known of what the target does at a share it has never had, so the question is what would be lost until it
is found out. For every excess that is not ruled out yet (up to the bound U), a step to a share w costs at most

    D = R * w * excess * (lag + T),    T = (ln(1 / alpha) + 2.5) * phi / I

failed requests: R requests per second, `lag` for scrapes and the way back, and T until the evidence is there; I is how
fast wealth grows per second if that were the truth (formula (1) of `sequential.py` with the best bet), and 2.5 nats are
what spreading the stakes costs. A large excess is seen at once, a small one costs little; the worst lies in between.
A step is small enough if D <= max(requests, seconds * R) * (1 + t / patience), where t is how long the target has had
users in this attempt: that is evidence too, and without patience a budget could wait for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from shifter.core.analysis.hypotheses import Cell, Test
from shifter.core.analysis.measures import Kind, Metric
from shifter.core.analysis.sequential import GRID, best_bet, bound, log_growth
from shifter.core.analysis.standing import Standing, tests_of
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.documents.criteria import BlastRadius

PLATEAU: Final = 50.0
"""The share (percent) with the most evidence per failed request; above it the source thins out."""

LARGEST_FIRST: Final = 25.0
LARGEST_FACTOR: Final = 3.0

LAG_TICKS: Final = 2.0
LAG_SECONDS: Final = 5.0
LONGEST_TICKS: Final = 120.0
"""What is not found out in so many ticks (half an hour of the default) a person would have found."""

PATIENCE_TICKS: Final = 10.0
_SPREAD_NATS: Final = 2.5
_HARMFUL: Final = frozenset({Kind.ERRORS, Kind.CUSTOM})
"""Requests that fail users. Slow ones are judged all the same, but are no failed ones."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step could cost at worst and may cost, in failed requests, and by which excess (a rate, 0..1)."""

    worst: float
    allowed: float
    excess: float

    @property
    def fits(self) -> bool:
        """Whether the step is small enough."""
        return self.worst <= self.allowed


@dataclass(frozen=True, slots=True)
class Pace:
    """What the cost depends on besides evidence: the error probability, the tick, and what the policy allows."""

    alpha: float
    tick_seconds: float
    blast_radius: BlastRadius


def cost_of(standing: Standing, metrics: Sequence[Metric], share: float, pace: Pace) -> Cost:
    """Return what a step to `share` percent could cost at worst, and what it may cost after this long at this share."""
    per_second = standing.usual / pace.tick_seconds
    allowed = max(pace.blast_radius.requests, pace.blast_radius.seconds * per_second) * patience_of(standing, pace)
    worst, by = 0.0, 0.0
    tests = tests_of(metrics, standing.history)
    part = share / FULL_PERCENT
    for metric, test, wealth in zip(metrics, tests, standing.wealth.metrics, strict=True):
        if metric.kind not in _HARMFUL:
            continue
        unknown = bound(wealth, metric.safety.rate)
        for excess in (*(e for e in GRID if metric.safety.rate <= e < unknown), unknown):
            bad_rate = min(1.0, metric.safety.ratio * wealth.source_rate + excess)
            found_seconds = _seconds_until_found(test, wealth.source_rate, bad_rate, (part, per_second), pace)
            costs = per_second * part * excess * (LAG_TICKS * pace.tick_seconds + LAG_SECONDS + found_seconds)
            if costs > worst:
                worst, by = costs, excess
    return Cost(worst, allowed, by)


def patience_of(standing: Standing, pace: Pace) -> float:
    """Return by how much more may be risked after this long above 0 %, as a factor.

    Before the first step it is 1: waiting there says nothing about the target.
    """
    return 1 + standing.exposed_seconds / (PATIENCE_TICKS * pace.tick_seconds)


def _seconds_until_found(
    test: Test, source_rate: float, bad_rate: float, traffic: tuple[float, float], pace: Pace
) -> float:
    """Return T of the module's formula. `traffic`: the target's part (0..1), and all requests per second."""
    part, per_second = traffic
    nats = (math.log(1 / pace.alpha) + _SPREAD_NATS) * test.dispersion
    longest = LONGEST_TICKS * pace.tick_seconds
    growth = per_second * max(_pair_growth(test, source_rate, bad_rate, part), _history_growth(test, bad_rate, part))
    return min(longest, nats / growth) if growth > 0 else longest


def _pair_growth(test: Test, source_rate: float, bad_rate: float, part: float) -> float:
    """Return how many nats one request of either side adds on average to the best comparison with the source."""
    if part >= 1 or bad_rate <= test.tolerance.of(source_rate):
        return 0.0
    ratio = part / (1 - part)
    bet = best_bet(source_rate, bad_rate, test.tolerance, ratio)
    expected = Cell(part, part * bad_rate, 1 - part, (1 - part) * source_rate, ratio)
    return log_growth(bet, test.tolerance, expected)


def _history_growth(test: Test, bad_rate: float, part: float) -> float:
    if test.history_weight <= 0 or test.history_requests <= 0 or bad_rate <= test.limit_rate:
        return 0.0
    bet = bad_rate / test.limit_rate - 1
    return part * (bad_rate * math.log1p(bet) - test.limit_rate * bet)


def candidates(ladder: Iterable[float], share: float, gate: float | None, *, auto: bool) -> tuple[float, ...]:
    """Return the shares (percent) that the next step may go to, the smallest first.

    A list of steps is taken one by one. `auto` may leave rungs out, but at most triples the share, begins with
    `LARGEST_FIRST` at most, and leaves out none from the plateau on.

    Args:
        ladder: the shares on the way up.
        share: the one in force.
        gate: the first share that nobody approved; None if there is none.
        auto: whether rungs may be left out.
    """
    ahead = [step for step in ladder if step > share and (gate is None or step < gate)]
    if not auto:
        return tuple(ahead[:1])
    largest = min(PLATEAU, share * LARGEST_FACTOR) if share > 0 else LARGEST_FIRST
    return tuple(step for step in ahead if step <= largest) or tuple(ahead[:1])
