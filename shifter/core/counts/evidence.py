"""What was seen: raw readings, counts, and the ledger they are added to.

Readings are raw counters per pod; `counters.py` differences them. Nothing here judges; `analysis/` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

UNKNOWN = ""
"""The subject of series that name no namespace: no route, no cluster, or no healthy upstream on older Istio."""

CLIENT_LEFT = "0"
"""Envoy's response code when the client went away before an answer: nobody's error, and no answered request."""

INFINITY_MS = float("inf")

MAX_TICKS = 720
"""How many ticks a ledger holds apart: three hours of the default tick. A ledger takes up to 1.5 MB."""

_ROUNDING_SECONDS = 0.001


BAD_PART, TOTAL_PART = "bad", "total"
"""The two halves of a custom pair of counters."""


@dataclass(frozen=True, slots=True, order=True)
class Answer:
    """How requests ended, as the gateway counted them; what of it is bad, a policy says.

    `code` is the HTTP response code, `CLIENT_LEFT` if there was none. `flags` are Envoy's response flags, with commas
    between them as Istio writes them, and `grpc` is the number of the gRPC status; both are empty if there is none.
    """

    code: str
    flags: str = ""
    grpc: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One raw counter of one pod, and one of three things.

    Requests by how they ended (`answer`), a cumulative latency bucket (`edge_ms`), or one half (`part`) of the custom
    pair of counters that is called `pair`.
    """

    subject: str
    answer: Answer | None = None
    edge_ms: float | None = None
    pair: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class PodReading:
    """One pod's counters. Instants are seconds since the epoch, in the datasource's own clock.

    `sampled_at` is when Prometheus took the newest sample, `started_at` when the pod's process began
    (None if no series says so).
    """

    sampled_at: float
    started_at: float | None
    counters: Mapping[Series, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer of one side's datasource: the fresh pods of its gateway, by name, as of `read_at` (epoch seconds)."""

    read_at: float
    pods: Mapping[str, PodReading]


def _common_edges(
    mine: tuple[tuple[float, float], ...], theirs: tuple[tuple[float, float], ...]
) -> tuple[tuple[float, float], ...]:
    """Return two histograms together; edges that only one of the two knows are dropped, unless it has none at all."""
    if not mine or not theirs:
        return mine or theirs
    if len(mine) == len(theirs) and all(ours[0] == other[0] for ours, other in zip(mine, theirs, strict=True)):
        return tuple((edge, value + other) for (edge, value), (_, other) in zip(mine, theirs, strict=True))
    known = dict(theirs)
    return tuple((edge, value + known[edge]) for edge, value in mine if edge in known)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the gateway counted for one namespace on one side in one span of time; nothing of it is judged yet.

    `buckets` are requests at most as slow as an edge in ms, cumulative, sorted by edge, infinity last; empty if
    latency is not read. `pairs` are the custom pairs, (bad, total) by name; a pair that nobody counted is not there.
    """

    by_answer: Mapping[Answer, float] = field(default_factory=dict)
    buckets: tuple[tuple[float, float], ...] = ()
    pairs: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __add__(self, other: Answers) -> Answers:
        """Return both together; edges that only one of the two knows are dropped."""
        by_answer = dict(self.by_answer)
        for answer, requests in other.by_answer.items():
            by_answer[answer] = by_answer.get(answer, 0.0) + requests
        pairs = dict(self.pairs)
        for name, (bad, total) in other.pairs.items():
            so_far = pairs.get(name, (0.0, 0.0))
            pairs[name] = so_far[0] + bad, so_far[1] + total
        return Answers(by_answer, _common_edges(self.buckets, other.buckets), pairs)


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one namespace on one side in one span of time, judged by one policy's rules (`answers.py`).

    `requests` were answered, `bad` of them failed; `left` are clients that went away before an answer and are in
    neither. `buckets` and `pairs` are as in `Answers`, pairs as (name, bad, total), sorted. `kinds` are the requests
    with a code, or of a class of codes, that the policy compares: (what the policy calls it, how many), sorted,
    without those that nobody got.
    """

    requests: float = 0.0
    bad: float = 0.0
    buckets: tuple[tuple[float, float], ...] = ()
    kinds: tuple[tuple[str, float], ...] = ()
    pairs: tuple[tuple[str, float, float], ...] = ()
    left: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        """Return both together; edges that only one of the two knows are dropped."""
        return Counts(
            self.requests + other.requests,
            self.bad + other.bad,
            _common_edges(self.buckets, other.buckets),
            _kinds_together(self.kinds, other.kinds),
            _pairs_together(self.pairs, other.pairs),
            self.left + other.left,
        )


def _kinds_together(
    mine: tuple[tuple[str, float], ...], theirs: tuple[tuple[str, float], ...]
) -> tuple[tuple[str, float], ...]:
    if not mine or not theirs:
        return mine or theirs
    both = dict(mine)
    for kind, requests in theirs:
        both[kind] = both.get(kind, 0.0) + requests
    return tuple(sorted(both.items()))


def _pairs_together(
    mine: tuple[tuple[str, float, float], ...], theirs: tuple[tuple[str, float, float], ...]
) -> tuple[tuple[str, float, float], ...]:
    if not mine or not theirs:
        return mine or theirs
    both = {name: (bad, total) for name, bad, total in mine}
    for name, bad, total in theirs:
        so_far = both.get(name, (0.0, 0.0))
        both[name] = so_far[0] + bad, so_far[1] + total
    return tuple((name, *both[name]) for name in sorted(both))


@dataclass(frozen=True, slots=True)
class SideCounts:
    """What one side counted between two reads: by namespace, and `unknown` per gateway (never dropped).

    `first_half` is what every second of the counted pods saw, by namespace: pods of one gateway differ by chance
    alone, so the difference of the halves shows how much chance there is. None with fewer than two counted pods.
    `dropped` says of every pod that answered why nothing of it was counted. `sampled_at` is when the newest sample
    that was believed was taken, in epoch seconds by the datasource's clock; None if there is none.
    """

    by_namespace: Mapping[str, Answers]
    unknown: Answers
    first_half: Mapping[str, Answers] | None = None
    dropped: Mapping[str, str] = field(default_factory=dict)
    sampled_at: float | None = None

    def of(self, namespaces: Iterable[str]) -> Answers:
        """Return what several namespaces counted together."""
        return _of(self.by_namespace, namespaces)

    def half_of(self, namespaces: Iterable[str]) -> Answers | None:
        """Return what several namespaces counted in the first half of the pods; None if there are no halves."""
        return None if self.first_half is None else _of(self.first_half, namespaces)


def _of(by_namespace: Mapping[str, Answers], namespaces: Iterable[str]) -> Answers:
    return sum((by_namespace[each] for each in namespaces if each in by_namespace), Answers())


@dataclass(frozen=True, slots=True)
class Tick:
    """What both sides counted in one tick for one shift.

    `at` is when, `span_seconds` the time the counts cover. The unknown counts are the whole gateway's. `source_half`
    is what half of the source's pods counted, None if it has no two. `apart_seconds` is by how much the target's
    newest sample is later than the source's, by the clocks of their datasources.
    """

    at: datetime
    span_seconds: float
    source: Counts
    target: Counts
    target_unknown: Counts = Counts()
    source_half: Counts | None = None
    apart_seconds: float = 0.0


def _together(first: Tick, second: Tick) -> Tick:
    between_seconds = (second.at - first.at).total_seconds()
    # What both reach over is there once; a clock that was set back in between says nothing of it.
    added_seconds = min(second.span_seconds, between_seconds) if between_seconds > 0 else second.span_seconds
    return Tick(
        at=second.at,
        span_seconds=first.span_seconds + added_seconds,
        source=first.source + second.source,
        target=first.target + second.target,
        target_unknown=first.target_unknown + second.target_unknown,
        source_half=first.source_half + second.source_half if first.source_half and second.source_half else None,
        apart_seconds=max(first.apart_seconds, second.apart_seconds, key=abs),
    )


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ticks of one shift since its share last changed, oldest first. Lives in memory only.

    After a restart it is empty, and a soak begins again. What the ticks amount to (`standing.py`) is saved.
    `usual_per_second` is the shift's total request rate before the share last changed, to notice traffic that
    vanished; None until known.
    """

    ticks: tuple[Tick, ...] = ()
    usual_per_second: float | None = None

    def add(self, tick: Tick) -> Ledger:
        """Return the ledger with one more tick; beyond `MAX_TICKS` the two oldest become one."""
        ticks = (*self.ticks, tick)
        if len(ticks) > MAX_TICKS:
            ticks = (_together(ticks[0], ticks[1]), *ticks[2:])
        return replace(self, ticks=ticks)

    def requests(self) -> tuple[float, float, float, float]:
        """Return the source's requests and bad ones, then the target's, of all ticks together."""
        source = source_bad = target = target_bad = 0.0
        for tick in self.ticks:
            source, source_bad = source + tick.source.requests, source_bad + tick.source.bad
            target, target_bad = target + tick.target.requests, target_bad + tick.target.bad
        return source, source_bad, target, target_bad

    def since(self, start: datetime) -> tuple[Tick, ...]:
        """Return the ticks that began at or after `start`, give or take a millisecond of rounding."""
        begin = start.timestamp() - _ROUNDING_SECONDS
        return tuple(tick for tick in self.ticks if tick.at.timestamp() - tick.span_seconds >= begin)

    def new_share(self) -> Ledger:
        """Return an empty ledger for a new share: counts are never merged across a change of the split."""
        seconds = sum(tick.span_seconds for tick in self.ticks)
        requests = sum(tick.source.requests + tick.target.requests for tick in self.ticks)
        return Ledger(usual_per_second=requests / seconds if seconds > 0 else self.usual_per_second)


def shared_pods(source: Reading, target: Reading) -> tuple[str, ...]:
    """Return the pods that both readings claim: same name, process start and counters. The sides must not overlap.

    Read both at the same instant: of the same series Prometheus then gives the same values. When each was sampled
    is not compared, two queries a moment apart may differ in it.
    """
    return tuple(
        sorted(
            name
            for name, pod in source.pods.items()
            if pod.counters
            and (twin := target.pods.get(name))
            and (twin.started_at, twin.counters) == (pod.started_at, pod.counters)
        )
    )
