"""What nobody has seen yet: a target that fails from its first second on, held against the rules that would find it.

No formula of its own says how soon a dead target is noticed: it is made up here, tick by tick, and the shipped rules
(`analysis/`: standing, guards, assess) look at it until they fail it. So the number is true of the rules as they
are, also after they change. Where they are kinder on a good day the bad one is taken: the two sides are sampled at
different moments, and nothing is compared while the write is under way, as long as that may take; what is found sooner
is found by the guard that needs no share. Only that requests come evenly is assumed, one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from shifter.core.analysis.assess import alpha_of, assess
from shifter.core.analysis.learning import History, unlearnt
from shifter.core.analysis.measures import Kind, Metric, metrics_of
from shifter.core.analysis.standing import Standing, advance, at_share, begin, row_of
from shifter.core.analysis.steps import PLATEAU, Cost, Pace, cost_of
from shifter.core.analysis.verdicts import Situation, Verdict
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.counts.evidence import INFINITY_MS, Counts, Ledger, Tick
from shifter.core.deciding.retreat import TOTAL
from shifter.core.documents.criteria import Analysis
from shifter.core.documents.fleet import Lessons
from shifter.core.documents.policy import PolicySpec

MOST_TICKS: Final = 240
"""So many ticks are made up at most: an hour of the default. What takes longer is not called noticed."""

_LEAST_FAILED: Final = 2
"""No rule fails a target for less; so fewer in all ticks need not be looked at one by one."""

_BEGIN: Final = datetime.fromtimestamp(0, UTC)
_DUST: Final = 1e-9
_USUAL_EDGES_MS: Final = (100.0, 1000.0)
"""Latency edges where none are learnt yet: what is staked on them is missing elsewhere, wherever they lie."""


@dataclass(frozen=True, slots=True)
class Premise:
    """What is known before a step. `history` is None if nothing was learnt of the source yet.

    `attempt` counts from 1. `waited_seconds`: for so long the share of 0 has been kept with history known.
    """

    history: History | None = None
    attempt: int = 1
    lessons: Lessons = field(default_factory=Lessons)
    waited_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """How much comes and how often it is looked at.

    `per_second` are the requests of both sides, `writing_seconds` how long a write may take until it is read back.
    """

    per_second: float
    tick_seconds: float
    writing_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """In how many ticks a dead target is found, and whether everything goes back whatever the policy's `onFailure`."""

    ticks: int
    is_total: bool


def unseen(analysis: Analysis, premise: Premise, pulse: Pulse) -> tuple[Standing, tuple[Metric, ...]]:
    """Return the standing before the first step, and its metrics: nothing is known of the target."""
    history, per_tick = premise.history, pulse.per_second * pulse.tick_seconds
    if history is None:
        edges = _USUAL_EDGES_MS if analysis.latency.enabled else ()
        history = History(0, 0.0, per_tick, edges, ())
    metrics = metrics_of(analysis, history.edges_ms)
    known = {each.name: each for each in history.metrics}
    dispersion = premise.lessons.one_pod_dispersion
    learnt = tuple(known.get(metric.name, unlearnt(metric.name, dispersion)) for metric in metrics)
    standing = begin(metrics, replace(history, metrics=learnt, per_tick=per_tick), premise.attempt)
    return replace(standing, seconds=premise.waited_seconds), metrics


def first_cost(spec: PolicySpec, premise: Premise, pulse: Pulse, share: float) -> Cost:
    """Return what a first step to `share` percent could cost of a target that nobody knows, and what it may cost."""
    standing, metrics = unseen(spec.analysis, premise, pulse)
    pace = Pace(alpha_of(spec.analysis, premise.attempt), pulse.tick_seconds, spec.blast_radius)
    return cost_of(standing, metrics, share, pace)


def first_wait_seconds(spec: PolicySpec, premise: Premise, pulse: Pulse, share: float) -> float:
    """Return for how many seconds more a first step to `share` percent waits: not at all, or for the rest of the hold.

    Waiting at a share of 0 says nothing about the target, so that nothing else can come to allow it.
    """
    if share <= PLATEAU and first_cost(spec, premise, pulse, share).fits:
        return 0.0
    return max(0.0, spec.analysis.hold.total_seconds() - premise.waited_seconds)


def ticks_until_found(spec: PolicySpec, premise: Premise, pulse: Pulse, share: float) -> Found | None:
    """Return in how many whole ticks of nothing but failures a target at `share` percent is failed.

    None if that takes more than `MOST_TICKS`.
    """
    standing, metrics = unseen(spec.analysis, premise, pulse)
    if math.floor(pulse.per_second * pulse.tick_seconds * share / FULL_PERCENT * MOST_TICKS) < _LEAST_FAILED:
        return None
    written = math.ceil(pulse.writing_seconds / pulse.tick_seconds)
    verified_at = _BEGIN + written * timedelta(seconds=pulse.tick_seconds)
    for number in range(1, MOST_TICKS + 1):
        if number == written + 1:
            standing = at_share(standing, metrics, share)
        tick = _dead_tick(standing, metrics, (number, share), pulse)
        standing = advance(standing, metrics, row_of(tick, metrics, whole=number > written))
        situation = Situation(
            share=standing.share,
            verified_at=verified_at if number > written else None,
            now=tick.at,
            max_age=timedelta(seconds=pulse.tick_seconds),
            tick=timedelta(seconds=pulse.tick_seconds),
        )
        verdict = assess(spec, standing, Ledger((tick,)), situation)
        if verdict.verdict is Verdict.FAIL:
            return Found(number, any(finding.metric in TOTAL for finding in verdict.findings))
    return None


def _dead_tick(standing: Standing, metrics: Sequence[Metric], which: tuple[int, float], pulse: Pulse) -> Tick:
    """Return tick `number` at `share` percent (`which`): all that reaches the target fails; the source is as learnt."""
    number, share = which
    per_tick = pulse.per_second * pulse.tick_seconds
    failed, before = (math.floor(per_tick * share / FULL_PERCENT * count + _DUST) for count in (number, number - 1))
    others = per_tick * (1 - share / FULL_PERCENT)
    return Tick(
        at=_BEGIN + number * timedelta(seconds=pulse.tick_seconds),
        span_seconds=pulse.tick_seconds,
        source=_counts(metrics, others, others * standing.history.metrics[0].rate),
        target=_counts(metrics, failed - before, failed - before),
        apart_seconds=pulse.tick_seconds,
    )


def _counts(metrics: Sequence[Metric], requests: float, bad: float) -> Counts:
    """Return counts of which only the errors are bad: nothing is slow, and no other answer is seen."""
    edges = [metric.edge_ms for metric in metrics if metric.edge_ms is not None]
    return Counts(
        requests=requests,
        bad=bad,
        buckets=tuple((edge, requests) for edge in (*sorted(edges), INFINITY_MS)),
        pairs=tuple((metric.name, 0.0, requests) for metric in metrics if metric.kind is Kind.CUSTOM),
    )
