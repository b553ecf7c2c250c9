"""What the source was like before the first step: rates, chance, and the latency edges that are fixed from then on.

Learnt at a share of 0 from ticks of the source alone, and never from the target: a regression would raise its own
limits. How much chance there is (dispersion) is how much the source's own pods differ: they are the same program under
the same traffic, split in two halves (an A/A test that runs all the time). With theta the part of the requests that the
first half got, m bad ones in a tick and y of them in the first half,

    phi = sum (y - m * theta)^2 / sum m * theta * (1 - theta)

is 1 if requests fail one by one, and about s if they fail in clusters of s. What both halves suffer together cancels.
The estimate is shrunk towards 1 with 10 pseudo-events and enlarged where it rests on few clusters; it is at least 1.
Source: the quasi-Poisson dispersion of generalized linear models (McCullagh & Nelder, 1989, section 6.2.3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from shifter.core.analysis.measures import Metric, counted, metrics_of, slo_edge
from shifter.core.counts.evidence import INFINITY_MS, Counts, Tick
from shifter.core.documents.criteria import Analysis, LatencyRules
from shifter.core.documents.fleet import Lessons
from shifter.core.text import so_many

SELDOM: Final = 0.005
"""One edge is the largest that at least this part of the requests is slower than: the tail."""

OFTEN: Final = 0.1
"""The other is the one of which the part that is slower is nearest to this: the body."""

MOST_OFTEN: Final = 0.25
"""Above this part an edge is of no use: formula (1) of `sequential.py` wastes what common events could tell."""

_PSEUDO_EVENTS: Final = 10.0
_CLUSTERED: Final = 1.5


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """One metric of the source: its rate of bad requests (0..1) over `requests`, and its dispersion.

    `halves` says whether the dispersion was measured; otherwise it is the stated default.
    """

    name: str
    rate: float
    requests: float
    dispersion: float
    halves: bool


@dataclass(frozen=True, slots=True)
class History:
    """What was learnt of the source. `per_tick` are its requests in a tick; `edges_ms` the latency edges, fixed."""

    ticks: int
    requests: float
    per_tick: float
    edges_ms: tuple[float, ...]
    metrics: tuple[MetricHistory, ...]


def unlearnt(name: str, dispersion: float = 1.0) -> MetricHistory:
    """Return the history of a metric of which nothing is known: the target is compared, but held against no history."""
    return MetricHistory(name, 0.0, 0.0, dispersion, halves=False)


def lacking(ticks: Sequence[Tick], lessons: Lessons) -> str:
    """Return what is still missing before history can be learnt; empty if it can."""
    if len(ticks) >= lessons.most_ticks:
        return ""
    requests = sum(tick.source.requests for tick in ticks)
    if len(ticks) >= lessons.least_ticks and requests >= lessons.least_requests:
        return ""
    least = f"{lessons.least_ticks} ticks and {lessons.least_requests:g} requests"
    so_far = f"{so_many(len(ticks), 'tick')} and {so_many(requests, 'request')}"
    return f"learning what tcm is like: {so_far}, {least} are needed, or {lessons.most_ticks} ticks of any traffic"


def learn(ticks: Sequence[Tick], analysis: Analysis, known_edges_ms: Iterable[float], lessons: Lessons) -> History:
    """Return what the newest ticks show of the source.

    Args:
        ticks: at a share of 0, oldest first.
        analysis: the policy's criteria.
        known_edges_ms: the finite bucket edges that both datasources have.
        lessons: how many ticks count.
    """
    newest = ticks[-lessons.most_ticks :]
    source = sum((tick.source for tick in newest), Counts())
    edges = fixed_edges(analysis.latency, source, known_edges_ms)
    metrics = metrics_of(analysis, edges)
    return History(
        ticks=len(newest),
        requests=source.requests,
        per_tick=source.requests / len(newest) if newest else 0.0,
        edges_ms=edges,
        metrics=tuple(_learn(metric, source, newest, lessons) for metric in metrics),
    )


def fixed_edges(latency: LatencyRules, source: Counts, known_edges_ms: Iterable[float]) -> tuple[float, ...]:
    """Return the edges that latency is judged at, ascending: the tail's, the body's, and the policy's limit."""
    total = source.buckets[-1][1] if source.buckets else 0.0
    known = set(known_edges_ms)
    slower = {edge: 1 - upto / total for edge, upto in source.buckets if edge in known} if total > 0 else {}
    if not latency.enabled:
        return ()
    usable = [edge for edge, part in slower.items() if part <= MOST_OFTEN]
    chosen = {
        max((edge for edge in usable if slower[edge] >= SELDOM), default=None),
        min(usable, key=lambda edge: (abs(slower[edge] - OFTEN), edge), default=None),
    }
    if latency.max_ms is not None:
        chosen.add(slo_edge(latency.max_ms, known))
    return tuple(sorted(edge for edge in chosen if edge is not None and edge != INFINITY_MS))


def _learn(metric: Metric, source: Counts, ticks: Sequence[Tick], lessons: Lessons) -> MetricHistory:
    requests, bad = counted(metric, source) or (0.0, 0.0)
    dispersion = _dispersion(metric, ticks)
    return MetricHistory(
        name=metric.name,
        rate=round(bad / requests, 12) if requests > 0 else 0.0,
        requests=requests,
        dispersion=round(lessons.one_pod_dispersion if dispersion is None else dispersion, 6),
        halves=dispersion is not None,
    )


def _dispersion(metric: Metric, ticks: Iterable[Tick]) -> float | None:
    """Return phi of the module's formula; None if the source's pods never shared its requests."""
    squares = variance = events = 0.0
    compared = False
    for tick in ticks:
        whole = counted(metric, tick.source)
        half = None if tick.source_half is None else counted(metric, tick.source_half)
        if whole is None or half is None or not 0 < half[0] < whole[0]:
            continue
        compared = True
        theta = half[0] / whole[0]
        squares += (half[1] - whole[1] * theta) ** 2
        variance += whole[1] * theta * (1 - theta)
        events += whole[1]
    return shrunk(squares, variance, events) if compared else None


def shrunk(squares: float, variance: float, events: float) -> float:
    """Return the dispersion of so many events, shrunk towards 1 and never below it.

    Args:
        squares: the sum of the squared deviations.
        variance: what that sum would be if events were independent.
        events: how many bad requests there were.
    """
    pseudo = _PSEUDO_EVENTS / 4  # of events that are split in equal halves
    dispersion = (squares + pseudo) / (variance + pseudo)
    if dispersion > _CLUSTERED:
        dispersion *= 1 + 1.5 / math.sqrt(max(1.0, events / dispersion))
    return max(1.0, dispersion)
