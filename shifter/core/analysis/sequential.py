"""Evidence that may be looked at after every tick: betting against "the target is no worse", and against "it is".

One formula carries everything. In a tick the target answered `n_c` requests of which `y_c` were bad, the source `n_b`
and `y_b`; let r = n_c / n_b. A margin (ratio rho, rate eps) states a hypothesis about the unknown rates of bad
requests, p_c = rho * p_b + eps at its edge. For a bet u, chosen before this tick's bad requests are known,

    log e = y_c * log(1 + u) + y_b * log(1 - rho * r * u) - n_c * eps * u,      -1 < u <= 1 / (rho * r)        (1)

is what a stake of 1 becomes (in nats). Why that is fair: each request is bad by itself, so that
E[(1 + u)^y_c] = (1 + p_c * u)^n_c <= exp(n_c * p_c * u), and likewise the second factor is at most
exp(-n_b * p_b * rho * r * u) = exp(-n_c * rho * p_b * u). Together E[e] <= exp(n_c * u * (p_c - rho * p_b - eps)):

* u > 0: E[e] <= 1 for *every* p_b as long as p_c <= rho * p_b + eps. Growing wealth is evidence of **harm**.
* u < 0: E[e] <= 1 as long as p_c >= rho * p_b + eps. Growing wealth is evidence of **safety**.

p_b has dropped out, so it may wander from tick to tick: an incident of both meshes, day and night, a new share. The
product over ticks is a nonnegative supermartingale; by Ville's inequality it ever reaches 1 / alpha with probability
alpha at most. So every tick may be looked at, and any rule that knows only the past may stop, climb or skip.
With rho = 0 the source drops out: a test of the target against a fixed rate, used with what its history promised.

Averages of such products, with weights that were fixed before, are again such products whatever their dependence; so
metrics, alternatives and start times share one error probability by averaging, and nothing is divided among tests.

If failures come in clusters, one cluster looks like many independent ones. With dispersion phi, log e / phi is used
instead: exact where no cluster has more than s = phi requests, since for one of S <= s requests each factor a of (1)
counts a^(S/s) <= 1 + (S/s) * (a - 1) (convexity), which is what S/s independent failures would add on average.

Sources: Ville 1939; Lindon & Malek, Anytime-Valid Inference for Multinomial Count Data (NeurIPS 2022, arXiv:2011.03567)
for the conditional case eps = 0; Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting
(arXiv:2010.09686) for bets and mixtures; Shin, Ramdas & Rinaldo, E-detectors (arXiv:2203.03532) for start times.
What is bet about is in `hypotheses.py`. Pure arithmetic on floats: no IO, no clock, no library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shifter.core.analysis.hypotheses import Cell, Margin, Test

HARM_PRIOR: Final = (0.25, 0.30, 0.25, 0.20)
"""How likely each of the four alternatives of a comparison is taken to be."""

WORSE: Final = (1.6, 3.0, 10.0)
"""The target's rate of bad requests as a multiple of the source's, in the first three alternatives."""

MOST_WORSE: Final = 0.9
LEAST_RUIN: Final = 0.5
MOST_RUIN: Final = 0.95
RUIN_RATIO: Final = 4.0
"""The fourth alternative: half of the requests fail, or four times as many as the source's if that is more."""

BEYOND_EDGE: Final = 1.05
"""So far beyond the tolerated edge every alternative lies: at the edge itself a bet would be 0."""

HISTORY_WORSE: Final = (2.0, 5.0, math.inf)
"""The same against the history's limit; the last one is `MOST_HISTORY` itself."""

MOST_HISTORY: Final = 0.8
CAP_NATS: Final = 3.5
"""The most one tick may add to a product of harm, a factor of 33: at the usual limit of 100:1 no odd scrape is
enough by itself. Capping only takes away, so that every promise stands."""

INCIDENT_RATIO: Final = 2.0
"""While the source itself is in an incident, the target is not blamed for less than twice its rate."""

FORGETTING: Final = 0.97
"""What a tick leaves of the weight of everything before it, in the smoothed rate of the source."""

BETA: Final = 0.05
"""The probability with which a bound U may ever be wrong."""

GRID: Final[tuple[float, ...]] = (*(2.5e-4 * 160 ** (i / 14) for i in range(15)), 0.07, 0.12, 0.2, 0.35, 0.6, 0.95)
"""The excesses of which safety is proven, one product each; 1 stands for "nothing is known"."""

SAFE: Final = (1.0, 1.4)
"""What the target is taken to be, as a multiple of the source's rate, while safety is proven."""

LEAST_RATE: Final = 1e-5
"""A target is never taken to fail not at all: one failure would cost everything."""

WITHIN_EDGE: Final = 0.999
"""So far within the edge a safe target is taken to lie at most."""

REOPEN_BELOW: Final = math.exp(-2)
"""The wealth below which a product makes room for a fresh one: deep enough that chance alone seldom gets there."""

_DEEPEST_BET: Final = -0.98
_LARGEST_EXPONENT: Final = 60.0
_JUST_BELOW_ONE: Final = 1 - 1e-12
_DIGITS: Final = 9
"""Logarithms are kept in so many decimals: what two machines' libraries differ in is gone before it adds up."""


@dataclass(frozen=True, slots=True)
class MetricWealth:
    """One metric's products, as logarithms: four comparisons and three with history in `start` and in `latest`.

    `start` runs since the beginning, `latest` since the last new start. `safety` has two per excess of `GRID`, and two
    for the metric's own margin, which lies between two of them. `source_rate` is the source's smoothed rate and
    `source_weight` the requests that it rests on, both of the past. `frozen` is what closed products left, weighted,
    and `opened` how many starts there were, of the comparisons and of those with history: each kind of each metric
    starts anew by itself, since clean traffic uses up the one at another pace than the other.
    """

    start: tuple[float, ...]
    latest: tuple[float, ...]
    safety: tuple[float, ...]
    source_rate: float
    source_weight: float
    frozen: tuple[float, float] = (0.0, 0.0)
    opened: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class Wealth:
    """All products of one attempt."""

    metrics: tuple[MetricWealth, ...]


@dataclass(frozen=True, slots=True)
class Starts:
    """How the stakes are spread over the times at which the target may have turned bad.

    `beginning` is for "from the start". `weight(j)` is for the j-th product opened on the way, `left(j)` what is still
    in hand after it; together they are 1. `reopen_below` closes a product whose wealth fell below it, and opens a fresh
    one: clean traffic costs every product a little, so that after an hour of it one that had to run on would need
    minutes to recover. The rule looks at the past only, so that nothing is lost but the new one's smaller weight.
    """

    beginning: float
    weight: Callable[[int], float]
    left: Callable[[int], float]
    reopen_below: float | None
    most: int | None = None


EARLY: Final = 0.5
"""This part of the stakes of later starts is for the first few of them; the rest is spread over all there can be."""


def stakes_left(start: int) -> float:
    """Return what is still in hand after so many starts on the way, 0.5 after none.

    Most of it goes as 1 / (j + 1), so that each share of a usual ladder begins with stakes that count. After a day at
    one share there were hundreds of starts, and the next one of them would have next to nothing: a part goes as
    1 / (1 + log2(j + 1)) and never gets so small.
    """
    return 0.5 * (EARLY / (start + 1) + (1 - EARLY) / (1 + math.log2(start + 1)))


STARTS: Final = Starts(
    beginning=0.5,
    weight=lambda start: stakes_left(start - 1) - stakes_left(start),
    left=stakes_left,
    reopen_below=REOPEN_BELOW,
)


def best_bet(source_rate: float, target_rate: float, margin: Margin, ratio: float) -> float:
    """Return the bet u under which wealth grows fastest if these were the rates; its sign is that of the excess.

    By request of the target, log e grows by g(u) = p_c log(1 + u) + (p_b / r) log(1 - rho r u) - eps u on average. g is
    concave, and g'(u) = p_c / (1 + u) - rho p_b / (1 - rho r u) - eps = 0 is A u^2 - B u + C = 0 with A = eps rho r,
    B = p_c rho r + rho p_b + eps (1 - rho r) and C = p_c - rho p_b - eps. This is its smaller root, which lies in
    (-1, 1 / (rho r)], written so that nothing cancels. It is 0 where there is nothing to tell apart: no failure is
    expected of either side, and none is tolerated.

    Args:
        source_rate: p_b (0..1).
        target_rate: p_c (0..1).
        margin: the hypothesis bet against.
        ratio: r > 0.
    """
    weighted = margin.ratio * ratio
    a = margin.rate * weighted
    b = target_rate * weighted + margin.ratio * source_rate + margin.rate * (1 - weighted)
    c = target_rate - margin.of(source_rate)
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    if b < 0:
        return (b - root) / (2 * a)  # the same root; a > 0, since b < 0 takes a rate and a ratio
    return 2 * c / (b + root) if b + root > 0 else 0.0


def log_growth(bet: float, margin: Margin, cell: Cell) -> float:
    """Return log e of formula (1), in nats, before dispersion. `cell.ratio` must be known."""
    assert cell.ratio is not None  # noqa: S101 - the caller looked
    lost = math.log1p(-min(margin.ratio * cell.ratio * bet, _JUST_BELOW_ONE))
    return cell.target_bad * math.log1p(bet) + cell.source_bad * lost - cell.target * margin.rate * bet


def alternatives(test: Test, source_rate: float, *, incident: bool) -> tuple[Margin, tuple[float, ...]]:
    """Return the tolerated edge, and the four rates of a bad target that are bet on, all beyond that edge.

    Three multiples of the source's rate, and a target of which most fails: what is bet on need not be true, it decides
    only how fast wealth grows if something else is.
    """
    tolerated = test.tolerance
    if incident:
        tolerated = Margin(max(INCIDENT_RATIO, tolerated.ratio), tolerated.rate)
    edge = BEYOND_EDGE * tolerated.of(source_rate)
    multiples = (min(MOST_WORSE, worse * (source_rate + tolerated.rate)) for worse in WORSE)
    ruin = max(LEAST_RUIN, min(MOST_RUIN, RUIN_RATIO * source_rate))
    return tolerated, tuple(max(rate, edge) for rate in (*multiples, ruin))


def open_wealth(tests: Sequence[Test]) -> Wealth:
    """Return the stakes before the first tick: every product is 1."""
    fresh = (0.0,) * (len(HARM_PRIOR) + len(HISTORY_WORSE))
    unproven = (0.0,) * (len(SAFE) * (len(GRID) + 1))
    return Wealth(tuple(MetricWealth(fresh, fresh, unproven, t.history_rate, t.history_requests) for t in tests))


def add(
    wealth: Wealth,
    tests: Sequence[Test],
    cells: Sequence[Cell | None],
    *,
    incident: bool,
    foreseen: bool | None = None,
) -> Wealth:
    """Return the wealth after one tick.

    What is tolerated during an incident is another hypothesis, and which of the two is bet against must not depend on
    this tick's bad requests, not even on the source's: E[e] would exceed 1. So where this tick changes the answer, the
    smaller of the two growths is taken, which is never more than that of the bet which the past alone would have made.

    Args:
        wealth: before it.
        tests: one per metric.
        cells: what each metric counted; None where it could not be measured, which bets nothing.
        incident: the source is in an incident, as its own requests show, this tick's among them.
        foreseen: the same without this tick's; None if it is the same.
    """
    incidents = frozenset({incident, incident if foreseen is None else foreseen})
    added = tuple(
        metric if cell is None else _add(metric, test, cell, incidents)
        for metric, test, cell in zip(wealth.metrics, tests, cells, strict=True)
    )
    return Wealth(added)


def _add(metric: MetricWealth, test: Test, cell: Cell, incidents: Collection[bool]) -> MetricWealth:
    """Return one metric's wealth after the tick. `incidents`: both answers, if the tick changed it."""
    pairs = (_pair_growth(metric, test, cell, incident=incident) for incident in incidents)
    grown = (
        *(min(each) for each in zip(*pairs, strict=True)),
        *_history_growth(test, cell, incident=any(incidents)),
    )
    safety = metric.safety if cell.ratio is None or not cell.steady else _safety(metric, test, cell)
    weight = FORGETTING * metric.source_weight
    rate = (weight * metric.source_rate + cell.source_bad) / max(weight + cell.source, 1.0)
    return replace(
        metric,
        start=tuple(round(before + by, _DIGITS) for before, by in zip(metric.start, grown, strict=True)),
        latest=tuple(round(before + by, _DIGITS) for before, by in zip(metric.latest, grown, strict=True)),
        safety=safety,
        source_rate=round(rate, 12),
        source_weight=round(weight + cell.source, 6),
    )


def _pair_growth(metric: MetricWealth, test: Test, cell: Cell, *, incident: bool) -> tuple[float, ...]:
    """Return what the tick adds to the four comparisons with the source."""
    if cell.ratio is None:
        return (0.0,) * len(HARM_PRIOR)
    tolerated, rates = alternatives(test, metric.source_rate, incident=incident)
    bets = (best_bet(metric.source_rate, rate, tolerated, cell.ratio) for rate in rates)
    return tuple(min(CAP_NATS, log_growth(bet, tolerated, cell) / test.dispersion) for bet in bets)


def history_bets(limit_rate: float) -> tuple[float, ...]:
    """Return the bets against "the target's rate is at most `limit_rate`": formula (1) with rho = 0."""
    return tuple(max(min(MOST_HISTORY, worse * limit_rate) / limit_rate - 1, 0.0) for worse in HISTORY_WORSE)


def _history_growth(test: Test, cell: Cell, *, incident: bool) -> tuple[float, ...]:
    """Return what the tick adds to the three comparisons with the limit; a source that is unwell vouches for none."""
    if incident or not cell.vouched or cell.target <= 0:
        return (0.0,) * len(HISTORY_WORSE)
    spent = cell.target * test.limit_rate
    bets = history_bets(test.limit_rate)
    return tuple(min(CAP_NATS, (cell.target_bad * math.log1p(u) - spent * u) / test.dispersion) for u in bets)


def _safety(metric: MetricWealth, test: Test, cell: Cell) -> tuple[float, ...]:
    """Return the safety products after the tick: `best_bet` and `log_growth`, written out flat.

    44 bets for each metric in each tick are most of what the analysis costs; calls would double it. All bets are
    negative, so that the source's factor is above 1 and needs no cap.
    """
    assert cell.ratio is not None  # noqa: S101 - the caller looked
    sqrt, log1p = math.sqrt, math.log1p
    bad, tolerated, phi = cell.target_bad, test.safety.ratio * metric.source_rate, test.dispersion
    weighted = test.safety.ratio * cell.ratio
    rates = tuple(safe * metric.source_rate + LEAST_RATE for safe in SAFE)
    after = []
    wealth = iter(metric.safety)
    for excess in (*GRID, test.safety.rate):
        edge = tolerated + excess
        most, a, shared = WITHIN_EDGE * edge, 4 * excess * weighted, tolerated + excess * (1 - weighted)
        for rate in rates:
            target_rate = min(most, rate)
            b, c = target_rate * weighted + shared, target_rate - edge
            root = sqrt(max(0.0, b * b - a * c))
            bet = max(2 * c / (b + root) if b >= 0 else 2 * (b - root) / a, _DEEPEST_BET)
            growth = bad * log1p(bet) + cell.source_bad * log1p(-weighted * bet) - cell.target * excess * bet
            after.append(round(next(wealth) + growth / phi, _DIGITS))
    return tuple(after)


def with_source_rates(wealth: Wealth, rates: Sequence[tuple[float, float]]) -> Wealth:
    """Return the wealth with these (rate, weight) of the source, by metric: bets are aimed at them from now on."""
    return Wealth(
        tuple(
            replace(metric, source_rate=rate, source_weight=weight)
            for metric, (rate, weight) in zip(wealth.metrics, rates, strict=True)
        )
    )


def new_start(wealth: Wealth, starts: Starts = STARTS) -> Wealth:
    """Return the wealth with the latest products closed and fresh ones opened: the share has changed.

    "It turned bad when the share rose" is the likeliest story of all, so each share begins with stakes of its own.
    """
    return Wealth(tuple(_restarted(_restarted(metric, 0, starts), 1, starts) for metric in wealth.metrics))


def reopened(wealth: Wealth, starts: Starts = STARTS) -> Wealth:
    """Return the wealth with new starts where clean traffic has used up the latest products."""
    below = starts.reopen_below
    if below is None:
        return wealth
    metrics = []
    for metric in wealth.metrics:
        for kind, mean in enumerate(_means(metric.latest)):
            metric = _restarted(metric, kind, starts) if mean < below else metric  # noqa: PLW2901 - kind by kind
        metrics.append(metric)
    return Wealth(tuple(metrics))


def _restarted(metric: MetricWealth, kind: int, starts: Starts) -> MetricWealth:
    """Return the metric with fresh products of one kind: 0 are the comparisons, 1 those with history."""
    opened = metric.opened[kind]
    if starts.most is not None and opened >= starts.most:
        return metric
    pairs, history = metric.latest[: len(HARM_PRIOR)], metric.latest[len(HARM_PRIOR) :]
    latest = ((0.0,) * len(pairs), history) if kind == 0 else (pairs, (0.0,) * len(history))
    left = round(metric.frozen[kind] + starts.weight(opened) * _means(metric.latest)[kind], 12)
    return replace(
        metric,
        latest=(*latest[0], *latest[1]),
        frozen=(left, metric.frozen[1]) if kind == 0 else (metric.frozen[0], left),
        opened=(opened + 1, metric.opened[1]) if kind == 0 else (metric.opened[0], opened + 1),
    )


def harm(wealth: Wealth, tests: Sequence[Test], starts: Starts = STARTS) -> float:
    """Return M, the evidence of harm as odds against a target that is within tolerance; 1 says nothing.

    P(M ever reaches 1 / alpha) <= alpha while the target stays within tolerance on all metrics.
    """
    total = 0.0
    for metric, test in zip(wealth.metrics, tests, strict=True):
        start, latest = _means(metric.start), _means(metric.latest)
        for kind, stake in enumerate((test.pair_weight, test.history_weight)):
            opened = metric.opened[kind]
            running = starts.beginning * start[kind] + starts.weight(opened) * latest[kind]
            total += stake * (running + metric.frozen[kind] + starts.left(opened))
    return total


def _means(logs: Sequence[float]) -> tuple[float, float]:
    """Return the mean wealth of the comparisons over their alternatives, and of the products with history."""
    wealth = [math.exp(min(log, _LARGEST_EXPONENT)) for log in logs]
    first, second, third, fourth = HARM_PRIOR
    pairs = first * wealth[0] + second * wealth[1] + third * wealth[2] + fourth * wealth[3]
    return pairs, sum(wealth[len(HARM_PRIOR) :]) / len(HISTORY_WORSE)


def bound(metric: MetricWealth, margin: float = 1.0) -> float:
    """Return U: with 95 % anytime confidence the target's rate is at most `safety.ratio` times the source's plus U.

    The smallest excess whose product reached 1 / `BETA`; 1 if none has. `margin` is the metric's `safety.rate`. No
    correction for the many excesses: the larger one is, the easier it is ruled out, so that U can be below the truth
    only if the product of the truth itself has grown as well, and that happens with probability `BETA` at most.
    """
    if max(metric.safety) < math.log(1 / BETA):
        return 1.0  # a mean is no larger than the largest; asked several times in each tick
    proven = next((excess for index, excess in enumerate(GRID) if _is_proven(metric, index)), 1.0)
    return margin if margin < proven and _is_proven(metric, len(GRID)) else proven


def _is_proven(metric: MetricWealth, index: int) -> bool:
    both = [math.exp(min(log, _LARGEST_EXPONENT)) for log in metric.safety[2 * index : 2 * index + 2]]
    return sum(both) / len(SAFE) >= 1 / BETA
