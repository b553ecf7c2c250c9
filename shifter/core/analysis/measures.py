"""What is compared: the metrics of one policy, and what a tick counted of each.

Every metric is a share: so many of so many requests were *bad*. Errors are bad by the policy's rules; slow is what took
longer than a bucket edge; an answer such as 404 is bad where the target gives more of it than the source; a custom pair
says itself what is bad. So one arithmetic (`sequential.py`) judges them all. Of a histogram no quantile is computed:
a quantile has no error bars, whereas requests above a real bucket edge can be counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shifter.core.analysis.hypotheses import Margin
from shifter.core.counts.answers import BadAnswers
from shifter.core.counts.evidence import Counts
from shifter.core.documents.criteria import Analysis, Excess

ERRORS: Final = "errors"

_PERCENT: Final = 100.0
_STAKES: Final = {"errors": (0.50, 0.13), "slow": (0.15, 0.06), "answers": (0.025, 0.0), "custom": (0.125, 0.06)}
"""What is staked on a kind of metric, on the comparison and on history, before all stakes are scaled to 1 together."""


class Kind(StrEnum):
    """The kinds of metrics."""

    ERRORS = "errors"
    SLOW = "slow"
    ANSWERS = "answers"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Metric:
    """One share that is compared.

    `name` is unique in a policy. `tolerance` and `safety` are the two edges of the policy, as rates. `pair_weight`
    and `history_weight` are its parts of all stakes. `most_rate` is what the policy allows the target whatever the
    source has, None if nothing. `edge_ms` is the bucket edge of a latency.
    """

    name: str
    kind: Kind
    tolerance: Margin
    safety: Margin
    pair_weight: float
    history_weight: float
    most_rate: float | None = None
    edge_ms: float | None = None

    def said(self, percent: str, mesh: str) -> str:
        """Return what it means that `percent` of a mesh's requests are bad, as `istio fails 3 %`."""
        if self.kind is Kind.ERRORS:
            return f"{mesh} fails {percent}"
        if self.kind is Kind.SLOW:
            return f"{mesh} takes over {self.edge_ms:g} ms for {percent}"
        if self.kind is Kind.ANSWERS:
            return f"{mesh} answers {self.name} to {percent}"
        return f"{mesh} has {percent} of {self.name}"


def rules_of(analysis: Analysis) -> BadAnswers:
    """Return which answers a policy counts as failures, and which it compares besides."""
    errors = analysis.errors
    statuses = tuple(str(status) for status in errors.grpc_statuses)
    compared = tuple(code for code in analysis.answers.codes if code not in errors.codes)
    return BadAnswers(errors.codes, errors.flags, statuses, compared)


def metrics_of(analysis: Analysis, edges_ms: Collection[float]) -> tuple[Metric, ...]:
    """Return the metrics of a policy, errors first.

    Args:
        analysis: the policy's criteria.
        edges_ms: the bucket edges that history fixed.
    """
    errors, latency, answers = analysis.errors, analysis.latency, analysis.answers
    found = [_metric(ERRORS, Kind.ERRORS, errors.tolerance, errors.margin, errors.max_percent)]
    for edge in sorted(edges_ms):
        most = None
        if latency.max_ms is not None and edge == slo_edge(latency.max_ms, edges_ms):
            most = _PERCENT * (1 - latency.quantile)
        found.append(_metric(f"over {edge:g} ms", Kind.SLOW, latency.tolerance, latency.margin, most, edge))
    found += [_metric(code, Kind.ANSWERS, answers.tolerance, answers.margin) for code in rules_of(analysis).compared]
    found += [
        _metric(each.name, Kind.CUSTOM, each.tolerance, each.margin, each.max_percent) for each in analysis.custom
    ]
    return _scaled(found)


def slo_edge(max_ms: float, edges_ms: Iterable[float]) -> float | None:
    """Return the bucket edge that stands for a limit: the first one at or above it; None beyond the last one."""
    return min((edge for edge in edges_ms if edge >= max_ms), default=None)


def _metric(
    name: str, kind: Kind, tolerance: Excess, margin: Excess, most: float | None = None, edge_ms: float | None = None
) -> Metric:
    pair, history = _STAKES[kind]
    return Metric(
        name=name,
        kind=kind,
        tolerance=Margin(tolerance.ratio, tolerance.percent / _PERCENT),
        safety=Margin(margin.ratio, margin.percent / _PERCENT),
        pair_weight=pair,
        history_weight=history,
        most_rate=None if most is None else most / _PERCENT,
        edge_ms=edge_ms,
    )


def _scaled(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Return the metrics with stakes that add up to 1."""
    whole = sum(metric.pair_weight + metric.history_weight for metric in metrics)
    return tuple(
        Metric(
            metric.name,
            metric.kind,
            metric.tolerance,
            metric.safety,
            metric.pair_weight / whole,
            metric.history_weight / whole,
            metric.most_rate,
            metric.edge_ms,
        )
        for metric in metrics
    )


def counted(metric: Metric, counts: Counts) -> tuple[float, float] | None:
    """Return (requests, bad ones) of one metric; None if it was not measured.

    A side without any request measured every metric: it has none of nothing. A histogram in which the edge is missing
    measured something else.
    """
    if metric.kind is Kind.ERRORS:
        return counts.requests, counts.bad
    if metric.kind is Kind.ANSWERS:
        return counts.requests, dict(counts.kinds).get(metric.name, 0.0)
    if metric.kind is Kind.CUSTOM:
        nothing = (0.0, 0.0) if counts.requests == 0 else None
        return next(((total, bad) for name, bad, total in counts.pairs if name == metric.name), nothing)
    if metric.edge_ms is None or not counts.buckets:
        return (0.0, 0.0) if counts.requests == 0 else None
    upto = dict(counts.buckets).get(metric.edge_ms)
    total = counts.buckets[-1][1]
    return None if upto is None else (total, max(0.0, total - upto))
