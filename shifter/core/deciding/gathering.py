"""What one more tick adds: at a share of 0 to what is known of the source, later to where the attempt stands.

The way from a shift's state and its ticks to a `Standing` that belongs to it: of its attempt, at its share, with its
policy's metrics. Whatever does not belong begins anew; evidence about another share or another attempt is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from shifter.core.analysis.learning import History, lacking, learn, unlearnt
from shifter.core.analysis.measures import Metric, metrics_of, slo_edge
from shifter.core.analysis.sequential import open_wealth
from shifter.core.analysis.standing import Row, Standing, advance, at_share, begin, begin_anew, row_of, tests_of
from shifter.core.counts.evidence import Ledger, Tick
from shifter.core.documents.fleet import Lessons
from shifter.core.state import ShiftState

RELEARN_TICKS: Final = 64
"""Until the first step, history is learnt anew after 1, 2, 4, 8 ... ticks and then every so many."""

_NEWEST_TICKS: Final = 8


@dataclass(frozen=True, slots=True)
class Terms:
    """How history is learnt, which bucket edges both datasources have, and whether requests are split one by one."""

    lessons: Lessons
    edges_ms: tuple[float, ...]
    split_by_request: bool = True


@dataclass(frozen=True, slots=True)
class Gathered:
    """The standing with the newest tick in it, the one before, which may have begun just now, and the row between."""

    standing: Standing
    before: Standing
    row: Row


def belonging(standing: Standing | None, state: ShiftState) -> Standing | None:
    """Return the standing as one of this state: of its attempt, with its policy's metrics, at its share."""
    if standing is None:
        return None
    metrics = metrics_for(state, standing.history)
    names = tuple(metric.name for metric in metrics)
    if standing.attempt != state.attempt or names != tuple(each.name for each in standing.history.metrics):
        standing = begin_anew(standing, metrics, state.attempt)
    if state.verified_at is None or state.share == standing.share:
        return standing
    return at_share(standing, metrics, state.share)


def gather(
    standing: Standing | None, state: ShiftState, ledger: Ledger, *, whole: bool, terms: Terms, since: bool = False
) -> Gathered | None:
    """Return the standing with the newest tick of the ledger in it; None while too little is known of the source.

    Args:
        standing: before it, None if there is none.
        state: the shift's, for its attempt, share and policy.
        ledger: since the share last changed; its newest tick is the one that is added.
        whole: whether that tick lies wholly at the verified share, with nothing under way.
        terms: how.
        since: whether it began after the share was verified, whatever was under way.
    """
    mine = belonging(standing, state)
    if state.share > 0 or state.intent is not None:
        mine = mine or _begun_late(state, ledger, terms)
    elif mine is None or mine.ticks % RELEARN_TICKS == 0 or mine.ticks & (mine.ticks - 1) == 0:
        mine = _learnt(mine, state, ledger, terms)
    if mine is None:
        return None
    metrics = metrics_for(state, mine.history)
    row = row_of(_once(ledger), metrics, whole=whole, by_request=terms.split_by_request, since=since)
    return Gathered(advance(mine, metrics, row), mine, row)


def _once(ledger: Ledger) -> Tick:
    """Return the newest tick with the time that it adds: it may reach into the one before, which left out some pod."""
    *before, tick = ledger.ticks[-2:]
    longest = max(0.0, (tick.at - before[0].at).total_seconds()) if before else tick.span_seconds
    return tick if tick.span_seconds <= longest else replace(tick, span_seconds=longest)


def still_lacking(standing: Standing | None, state: ShiftState, ledger: Ledger, terms: Terms) -> str:
    """Return what is missing before anything can be judged; empty if nothing is."""
    return "" if standing is not None or state.share > 0 else lacking(ledger.ticks, terms.lessons)


def no_histogram(standing: Standing | None, state: ShiftState, ledger: Ledger) -> str:
    """Return why latency cannot be learnt: the source counts requests and shows no histogram; empty if it does."""
    newest = ledger.ticks[-_NEWEST_TICKS:]
    if standing is not None or state.share > 0 or not state.policy.spec.analysis.latency.enabled:
        return ""
    if any(tick.source.buckets for tick in newest) or not any(tick.source.requests for tick in newest):
        return ""
    return (
        "tcm counts requests but shows no latency histogram: mend the fleet's metrics, or say "
        "`latency: {enabled: false}` in the policy"
    )


def metrics_for(state: ShiftState, history: History) -> tuple[Metric, ...]:
    """Return the metrics of a shift's policy, at the latency edges that its history fixed."""
    return metrics_of(state.policy.spec.analysis, history.edges_ms)


def _learnt(standing: Standing | None, state: ShiftState, ledger: Ledger, terms: Terms) -> Standing | None:
    """Return the standing at a share of 0 with history as the ledger shows it now."""
    if lacking(ledger.ticks, terms.lessons) or no_histogram(standing, state, ledger):
        return standing
    history = learn(ledger.ticks, state.policy.spec.analysis, terms.edges_ms, terms.lessons)
    metrics = metrics_for(state, history)
    if standing is None:
        return begin(metrics, history, state.attempt)
    if history.edges_ms != standing.history.edges_ms:
        fresh = begin(metrics, history, state.attempt)
        return replace(fresh, ticks=standing.ticks, seconds=standing.seconds, counted_until=standing.counted_until)
    return replace(standing, history=history, wealth=open_wealth(tests_of(metrics, history)), usual=history.per_tick)


def _begun_late(state: ShiftState, ledger: Ledger, terms: Terms) -> Standing:
    """Return a standing at a share that nobody watched from the start: nothing is known, not even of the source."""
    analysis = state.policy.spec.analysis
    edges = _limit_edges(analysis.latency.max_ms if analysis.latency.enabled else None, terms.edges_ms)
    metrics = metrics_of(analysis, edges)
    dispersion = terms.lessons.one_pod_dispersion
    unknown = tuple(unlearnt(metric.name, dispersion) for metric in metrics)
    history = History(0, 0.0, _per_tick(ledger.ticks), edges, unknown)
    begun = begin(metrics, history, state.attempt)
    return begun if state.verified_at is None else at_share(begun, metrics, state.share)


def _limit_edges(max_ms: float | None, known: Iterable[float]) -> tuple[float, ...]:
    edge = None if max_ms is None else slo_edge(max_ms, known)
    return () if edge is None else (edge,)


def _per_tick(ticks: Iterable[Tick]) -> float:
    requests = [tick.source.requests + tick.target.requests for tick in ticks]
    return sum(requests) / len(requests) if requests else 0.0
