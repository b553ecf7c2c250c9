"""Where one attempt stands: everything its ticks amount to, from the first step until it went back or arrived.

`advance` adds one tick and is the only way forward, so that a standing can be replayed: from a saved one and the rows
counted since, every later one follows, number by number, on any machine. What it holds is bounded whatever comes.

A tick is a bet only if it lies wholly at one share. One in which the share changed is held against history and the
guards, which need no share, and compares nothing: requests of two shares in one cell would compare two moments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shifter.core.analysis.hypotheses import Cell, Margin, Test
from shifter.core.analysis.learning import History, MetricHistory, unlearnt
from shifter.core.analysis.measures import Metric, counted
from shifter.core.analysis.sequential import (
    CAP_NATS,
    Wealth,
    add,
    harm,
    new_start,
    open_wealth,
    reopened,
    with_source_rates,
)
from shifter.core.analysis.sickness import VOUCHING_REQUESTS, Sickness, after_tick, is_steady, vouches
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.counts.evidence import Tick

RECENT_TICKS: Final = 8
"""The source is judged by so many newest ticks."""

STEADY_REQUESTS: Final = 100.0
"""From so many expected requests a tick on each side on, the tick's own ratio is used, else that of the whole share."""

_PSEUDO_REQUESTS: Final = 20.0
_USUAL_KEEPS: Final = 0.9

_LIMIT: Final = Margin(2.0, 0.02)
"""What the target is allowed by history: twice the source's rate and two points."""


_LOST: Final = 0.7
"""A target at which less than this part of its requests arrive loses traffic; what is bet on is that `_GONE` arrive."""

_GONE: Final = 0.3
_LUMPS: Final = 4.0
"""The dispersion of the split itself: clients send several requests at a time."""

_DEAD_PART: Final = 0.5
_SPARED_PART: Final = 0.1

Counted = tuple[float, float, float, float]
"""One metric in one tick: the target's requests, its bad ones, the source's requests, its bad ones."""


@dataclass(frozen=True, slots=True)
class Row:
    """One tick, as far as it is evidence: one entry per metric, None where it could not be measured.

    `at` is its end in epoch seconds. `whole`: it lies wholly at one share that was verified. `since`: it began after
    that, though not wholly at it maybe, since a write was under way. `apart_seconds` is by how much the target's newest
    sample is later than the source's. `by_request`: the balancer sends each request by weight, so that the share is
    what it says. Otherwise (session persistence, DNS) the ratio is taken as it comes, of ticks that are merged until it
    says something.
    """

    at: float
    seconds: float
    cells: tuple[Counted | None, ...]
    whole: bool = True
    apart_seconds: float = 0.0
    by_request: bool = True
    since: bool = False


@dataclass(frozen=True, slots=True)
class Failing:
    """The newest ticks in a row in which the target failed by half or more and the source did not, summed up.

    `apart_seconds` is that of the newest, see `Row`; `source_requests` how many requests of the source say so.
    """

    ticks: int = 0
    bad: float = 0.0
    requests: float = 0.0
    source_requests: float = 0.0
    apart_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ticks of one attempt amount to; see the fields' types.

    `attempt` is that of the shift's state: each has half of the error probability of the one before. `share` is in
    percent. `totals` and `ticks` are of the ticks wholly at that share; `seconds` of those without an incident of the
    source, and `exposed_seconds` of all such ticks above 0 %; `exposed_ticks` counts them, also those with an incident.
    `recent` are the source's newest ticks, (requests, bad) per metric; `recent_target` are the target's, of errors.
    `usual` is the smoothed number of both sides' requests in a tick. `lost` is the logarithm of the odds that traffic
    is lost. `pending` are counts that are gathered before they are bet on, where requests are not split one by one.
    `unmeasured` are the metrics that the newest tick did not show, `counted_until` is its end, in epoch seconds.
    """

    attempt: int
    share: float
    history: History
    wealth: Wealth
    totals: tuple[Counted, ...]
    recent: tuple[tuple[tuple[float, float], ...], ...]
    usual: float
    ticks: int = 0
    seconds: float = 0.0
    exposed_seconds: float = 0.0
    exposed_ticks: int = 0
    sickness: Sickness | None = None
    failing: Failing = Failing()
    lost: float = 0.0
    pending: tuple[Counted | None, ...] = ()
    unmeasured: tuple[str, ...] = ()
    recent_target: tuple[tuple[float, float], ...] = ()
    counted_until: float = 0.0


def limit_rate(metric: Metric, history: MetricHistory) -> float:
    """Return the rate that the target may have whatever the source has just now.

    The policy's limit if it says one, else what history allows; but never less than what the tolerance allows over
    history, since the target would be blamed for what is tolerated.
    """
    limit = _LIMIT.of(history.rate) if metric.most_rate is None else metric.most_rate
    return max(limit, metric.tolerance.of(history.rate))


def tests_of(metrics: Iterable[Metric], history: History) -> tuple[Test, ...]:
    """Return how each metric is judged, given what was learnt of the source."""
    return tuple(
        Test(
            tolerance=metric.tolerance,
            safety=metric.safety,
            pair_weight=metric.pair_weight,
            history_weight=metric.history_weight,
            history_rate=learnt.rate,
            history_requests=learnt.requests,
            limit_rate=limit_rate(metric, learnt),
            dispersion=learnt.dispersion,
        )
        for metric, learnt in zip(metrics, history.metrics, strict=True)
    )


def begin(metrics: Sequence[Metric], history: History, attempt: int) -> Standing:
    """Return the standing before the first step: nothing is known of the target."""
    return Standing(
        attempt=attempt,
        share=0.0,
        history=history,
        wealth=open_wealth(tests_of(metrics, history)),
        totals=_nothing(metrics),
        recent=(),
        usual=history.per_tick,
    )


def begin_anew(standing: Standing, metrics: Sequence[Metric], attempt: int) -> Standing:
    """Return the standing of the next attempt, at the same share: nothing is known of the target any more.

    What was learnt of the source stays; of metrics that are new nothing is known. An incident of the source goes on,
    but is no reason for another step back.
    """
    known = {learnt.name: learnt for learnt in standing.history.metrics}
    kept = tuple(known.get(metric.name, unlearnt(metric.name)) for metric in metrics)
    fresh = begin(metrics, replace(standing.history, metrics=kept), attempt)
    return replace(
        fresh,
        share=standing.share,
        usual=standing.usual,
        sickness=None if standing.sickness is None else replace(standing.sickness, after_ticks=None),
        counted_until=standing.counted_until,
    )


def is_sound(standing: Standing) -> bool:
    """Return whether a standing that was saved can be one: every part has its size, and every number is one."""
    count = len(standing.history.metrics)
    fresh = open_wealth([Test(_LIMIT, _LIMIT, 0.0, 0.0, 0.0, 0.0, 1.0)]).metrics[0]
    sizes = len(fresh.start), len(fresh.latest), len(fresh.safety)
    sickness, failing = standing.sickness, standing.failing
    rates = () if sickness is None else sickness.rates
    numbers = [standing.share, standing.usual, standing.seconds, standing.exposed_seconds, standing.lost]
    numbers += [failing.bad, failing.requests, failing.source_requests, *(part for rate in rates for part in rate)]
    numbers += [part for cells in (standing.totals, standing.recent_target) for cell in cells for part in cell]
    numbers += [part for tick in standing.recent for cell in tick for part in cell]
    counts = [metric.source_rate for metric in standing.wealth.metrics] + [
        learnt.rate for learnt in standing.history.metrics
    ]
    for metric, learnt in zip(standing.wealth.metrics, standing.history.metrics, strict=False):
        if (
            (len(metric.start), len(metric.latest), len(metric.safety)) != sizes
            or min(metric.opened) < 1
            or learnt.dispersion < 1
        ):
            return False
        numbers += [*metric.start, *metric.latest, *metric.safety, *metric.frozen, metric.source_rate]
        numbers += [metric.source_weight, learnt.rate, learnt.requests, learnt.dispersion]
    lengths = {len(standing.wealth.metrics), len(standing.totals), *(len(tick) for tick in standing.recent)}
    lengths |= {len(part) for part in (standing.pending, rates) if part}
    is_sized = count > 0 and lengths <= {count}
    return is_sized and all(math.isfinite(number) for number in numbers) and min([standing.usual, *counts]) >= 0


def at_share(standing: Standing, metrics: Sequence[Metric], share: float) -> Standing:
    """Return the standing for a share (percent) that has just been verified: stakes of its own, counts from zero."""
    if share == standing.share:
        return standing
    tests = tests_of(metrics, standing.history)
    return replace(
        standing,
        share=share,
        # Before the first tick of an attempt that was wholly at a share nothing was bet; after 0 it is another try.
        wealth=new_start(standing.wealth) if share > 0 and standing.exposed_ticks > 0 else open_wealth(tests),
        totals=_nothing(metrics),
        ticks=0,
        seconds=0.0,
        # What does not arrive is the same part of the requests at every share.
        lost=standing.lost if share > 0 else 0.0,
        pending=(),
    )


def _nothing(metrics: Sequence[Metric]) -> tuple[Counted, ...]:
    return ((0.0, 0.0, 0.0, 0.0),) * len(metrics)


def row_of(tick: Tick, metrics: Iterable[Metric], *, whole: bool, by_request: bool = True, since: bool = False) -> Row:
    """Return what a tick counted of each metric; the flags are those of `Row`."""
    sides = [(counted(metric, tick.target), counted(metric, tick.source)) for metric in metrics]
    cells = [None if target is None or source is None else (*target, *source) for target, source in sides]
    at, seconds, apart = (round(each, 3) for each in (tick.at.timestamp(), tick.span_seconds, tick.apart_seconds))
    return Row(at, seconds, tuple(cells), whole, apart, by_request, since)


def advance(standing: Standing, metrics: Sequence[Metric], row: Row) -> Standing:
    """Return the standing after one tick.

    Args:
        standing: before it.
        metrics: those of the policy, in the order of `row.cells` and of the standing's history.
        row: what was counted.
    """
    tests = tests_of(metrics, standing.history)
    recent = (*standing.recent, tuple((cell[2], cell[3]) if cell else (0.0, 0.0) for cell in row.cells))[-RECENT_TICKS:]
    rates = tuple((metric.source_rate, metric.source_weight) for metric in standing.wealth.metrics)
    # What begins while the share is being changed begins with the new share.
    began = Sickness(1, 0, standing.ticks if row.whole else 0, rates)
    sickness = after_tick(standing.sickness, standing.history.metrics[0], recent, began)
    whole = row.whole and standing.share > 0
    cells, pending = (row.cells, ()) if row.by_request else _merged(standing, row)
    incident, foreseen = sickness is not None, standing.sickness is not None
    wealth = standing.wealth
    # What an attempt that has just begun still sees of the share before belongs to the attempt before.
    if cells and standing.share > 0 and (whole or row.since or standing.exposed_ticks > 0):
        bets = _bets(standing, metrics, cells, recent, (whole, row.by_request, not (incident or foreseen)))
        wealth = reopened(add(wealth, tests, bets, incident=incident, foreseen=foreseen))
    if standing.sickness is not None and not incident and standing.sickness.rates:
        # From the next tick on: what is over must not aim the bets, and what this tick shows must not aim its own.
        wealth = with_source_rates(wealth, standing.sickness.rates)
    seen = row.cells[0]
    arrived = 0.0 if seen is None else seen[0] + seen[2]
    return replace(
        standing,
        wealth=wealth,
        totals=_added(standing.totals, row.cells) if whole else standing.totals,
        recent=recent,
        recent_target=(*standing.recent_target, (0.0, 0.0) if seen is None else (seen[0], seen[1]))[-RECENT_TICKS:],
        usual=round(_USUAL_KEEPS * standing.usual + (1 - _USUAL_KEEPS) * arrived, 6),
        ticks=standing.ticks + row.whole,
        # An incident of the source says nothing about the target, so that it is no waiting for it either.
        seconds=round(standing.seconds + row.seconds * (row.whole and not incident), 3),
        exposed_ticks=standing.exposed_ticks + whole,
        exposed_seconds=round(standing.exposed_seconds + row.seconds * (whole and not incident), 3),
        sickness=sickness,
        failing=_failing(standing.failing, seen, row.apart_seconds),
        lost=_lost(standing, seen) if whole and row.by_request else standing.lost,
        pending=pending,
        unmeasured=tuple(m.name for m, cell in zip(metrics, row.cells, strict=True) if cell is None),
        counted_until=row.at,
    )


def evidence_of_harm(standing: Standing, metrics: Sequence[Metric]) -> float:
    """Return M: the odds against a target within tolerance. See `sequential.harm`."""
    return harm(standing.wealth, tests_of(metrics, standing.history))


def _bets(
    standing: Standing,
    metrics: Sequence[Metric],
    cells: Sequence[Counted | None],
    recent: Sequence[Sequence[tuple[float, float]]],
    how: tuple[bool, bool, bool],
) -> tuple[Cell | None, ...]:
    """Return the cells of formula (1). `how`: wholly at the share, split request by request, without an incident."""
    whole, by_request, calm = how
    bets: list[Cell | None] = []
    for index, (metric, learnt, cell) in enumerate(zip(metrics, standing.history.metrics, cells, strict=True)):
        if cell is None:
            bets.append(None)
            continue
        ratio = _ratio(standing, standing.totals[index], cell, by_request=by_request) if whole else None
        least = 0.0 if standing.share >= FULL_PERCENT else VOUCHING_REQUESTS
        vouched = learnt.requests > 0 and vouches(metric, learnt, [tick[index] for tick in recent], least)
        steady = calm and is_steady(learnt, [tick[index] for tick in recent])
        bets.append(Cell(cell[0], cell[1], cell[2], cell[3], ratio, vouched, steady))
    return tuple(bets)


def _ratio(standing: Standing, totals: Counted, cell: Counted, *, by_request: bool) -> float | None:
    """Return r: the tick's own where both sides are expected to have many requests, else that of the whole share.

    Which of the two must not depend on this tick's requests: choosing by them would favour lucky ticks. With few of
    them a tick's own ratio is noise, or infinite. Then r stands for w / (1 - w), the split itself, and the bet is fair
    on average over the split: each of N requests goes to the target with probability w, and at the edge of the
    tolerance, with x = rho * p_b * u,

        E[e] = (w * (1 + p_c * u) * exp(-eps * u) + (1 - w) * (1 - r * x))^N <= (w * (1 + x) + (1 - w) - w * x)^N = 1,

    since (1 + x + eps * u) * exp(-eps * u) <= (1 + x + eps * u) / (1 + eps * u) <= 1 + x. What is not known exactly is
    w: the weights say it, and the requests counted at this share correct it, the more the more there are.
    """
    part = standing.share / FULL_PERCENT
    if part >= 1:
        return None
    if not by_request or standing.usual * min(part, 1 - part) >= STEADY_REQUESTS:
        return cell[0] / cell[2] if min(cell[0], cell[2]) >= 1 else None
    target = totals[0] + cell[0] + _PSEUDO_REQUESTS * part
    return target / (totals[2] + cell[2] + _PSEUDO_REQUESTS * (1 - part))


def _merged(standing: Standing, row: Row) -> tuple[tuple[Counted | None, ...], tuple[Counted | None, ...]]:
    """Return (cells to bet on, cells to keep): ticks are merged until both sides have enough requests."""
    if not row.whole:
        return row.cells, standing.pending
    if standing.share >= FULL_PERCENT:
        return row.cells, ()  # there is nothing to compare with, and history needs no ratio
    cells = row.cells if not standing.pending else _together(standing.pending, row.cells)
    first = cells[0]
    enough = first is not None and min(first[0], first[2]) >= STEADY_REQUESTS
    return (cells, ()) if enough else ((), cells)


def _together(first: Sequence[Counted | None], second: Sequence[Counted | None]) -> tuple[Counted | None, ...]:
    return tuple(None if a is None or b is None else _sum(a, b) for a, b in zip(first, second, strict=True))


def _added(totals: Sequence[Counted], cells: Sequence[Counted | None]) -> tuple[Counted, ...]:
    return tuple(before if cell is None else _sum(before, cell) for before, cell in zip(totals, cells, strict=True))


def _sum(first: Counted, second: Counted) -> Counted:
    return first[0] + second[0], first[1] + second[1], first[2] + second[2], first[3] + second[3]


def _failing(before: Failing, errors: Counted | None, apart_seconds: float) -> Failing:
    if errors is not None and errors[0] <= 0:
        return before  # nobody asked: that is neither a failure nor the end of one
    if errors is None or errors[1] <= 0 or errors[1] < _DEAD_PART * errors[0] or errors[3] > _SPARED_PART * errors[2]:
        return Failing()
    return Failing(
        ticks=before.ticks + 1,
        bad=before.bad + errors[1],
        requests=before.requests + errors[0],
        source_requests=before.source_requests + errors[2],
        apart_seconds=apart_seconds,
    )


def arrived_share(part: float, arrives: float) -> float:
    """Return the target's part (0..1) of all requests that arrive, if of its own only the part `arrives` does."""
    return arrives * part / (arrives * part + 1 - part)


def _lost(standing: Standing, errors: Counted | None) -> float:
    """Return the log-odds that `_GONE` of the target's requests arrive rather than `_LOST` of them; never below 0.

    What begins after an hour of good traffic must be seen as soon as what begins at once (a CUSUM: Page, 1954). One
    tick says so much at most, as with any product: a scrape of one side that is missed or late looks the same.
    """
    part = standing.share / FULL_PERCENT
    if errors is None or part >= 1:
        return 0.0
    low, high = arrived_share(part, _GONE), arrived_share(part, _LOST)
    # 1 - arrived_share(part, a) is (1 - part) / (a * part + 1 - part); of two of them the first part cancels.
    sources = math.log((_LOST * part + 1 - part) / (_GONE * part + 1 - part))
    grown = errors[0] * math.log(low / high) + errors[2] * sources
    return round(max(0.0, standing.lost + min(CAP_NATS, grown / _LUMPS)), 9)
