"""What was seen: raw readings, counts, the ledger they are added to, and all that one decision rests on.

Readings are raw counters per pod; `counters.py` differences them. Nothing here judges; `analysis.py` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from shifter.core.orders import Order
from shifter.core.splits import RouteView
from shifter.core.state import Freeze

UNKNOWN = ""
"""The subject of series that name no namespace: no route, no cluster, or no healthy upstream on older Istio."""

CLIENT_LEFT = "0"
"""Envoy's response code when the client went away before an answer: nobody's error, and no answered request."""

INFINITY_MS = float("inf")

MAX_TICKS = 720
"""How many ticks a ledger holds apart: three hours of the default tick. A ledger takes up to 1.5 MB."""

_ROUNDING_SECONDS = 0.001


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One raw counter of one pod: requests by response code (`edge_ms` None) or a cumulative latency bucket."""

    subject: str
    code: str = ""
    edge_ms: float | None = None


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


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one namespace on one side in one span of time.

    `bad` are server errors (5xx). `buckets` are requests at most as slow as an edge in ms, cumulative,
    sorted by edge, infinity last; empty if latency is not read.
    """

    requests: float = 0.0
    bad: float = 0.0
    buckets: tuple[tuple[float, float], ...] = ()

    def __add__(self, other: Counts) -> Counts:
        """Return both together; edges that only one of the two knows are dropped."""
        if not self.buckets or not other.buckets:
            buckets = self.buckets or other.buckets
        else:
            mine, theirs = dict(self.buckets), dict(other.buckets)
            buckets = tuple((edge, mine[edge] + theirs[edge]) for edge in sorted(mine.keys() & theirs.keys()))
        return Counts(self.requests + other.requests, self.bad + other.bad, buckets)

    @property
    def bad_percent(self) -> float | None:
        """The percentage of requests that failed; None without requests."""
        return 100 * self.bad / self.requests if self.requests > 0 else None

    def quantile_ms(self, quantile: float) -> float | None:
        """Return the latency that `quantile` (0..1) of the requests stay below, in ms.

        Linear within a bucket, like PromQL's histogram_quantile. None without requests; infinity if the
        quantile lies beyond the last finite edge that was read.
        """
        total = self.buckets[-1][1] if self.buckets else 0
        if total <= 0:
            return None
        rank = quantile * total
        for (below_ms, below), (edge_ms, upto) in pairwise(((0.0, 0.0), *self.buckets)):
            if edge_ms != INFINITY_MS and upto >= rank and upto > below:
                return below_ms + (edge_ms - below_ms) * (rank - below) / (upto - below)
        return INFINITY_MS


@dataclass(frozen=True, slots=True)
class SideCounts:
    """What one side counted between two reads: by namespace, and `unknown` per gateway (never dropped)."""

    by_namespace: Mapping[str, Counts]
    unknown: Counts

    def of(self, namespaces: Iterable[str]) -> Counts:
        """Return the counts of several namespaces together."""
        return sum((self.by_namespace.get(each, Counts()) for each in namespaces), Counts())


@dataclass(frozen=True, slots=True)
class Tick:
    """What both sides counted in one tick for one shift.

    `at` is when, `span_seconds` the time the counts cover. The unknown counts are the whole gateway's.
    """

    at: datetime
    span_seconds: float
    source: Counts
    target: Counts
    target_unknown: Counts = Counts()


def _together(first: Tick, second: Tick) -> Tick:
    return Tick(
        at=second.at,
        span_seconds=first.span_seconds + second.span_seconds,
        source=first.source + second.source,
        target=first.target + second.target,
        target_unknown=first.target_unknown + second.target_unknown,
    )


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ticks of one shift since its share last changed, oldest first. Lives in memory only.

    After a restart it is empty, and a soak begins again: evidence is never remembered that cannot be shown.
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


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a decision rests on, as of now.

    `views` are the routes as read back, None if the provider did not answer (`provider_problem` says why; with
    views it says that they are not fresh, which is good enough to go back on and for nothing else).
    `signal_problem` says which datasource does not answer, `policy_problem` what is wrong with the file, `bug`
    which bug of shifter's own struck. `freezes`: who holds all shifts.
    `target_unseen`: the target's datasource answers and shows no pod, while
    the source's shows some. `settled_at` is when the metrics first showed the share in force. `max_age` is the
    oldest acceptable newest tick, `tick` how often the service looks.
    """

    views: Mapping[str, RouteView] | None
    ledger: Ledger
    leader: bool
    max_age: timedelta
    tick: timedelta
    provider_problem: str = ""
    signal_problem: str = ""
    policy_problem: str = ""
    bug: str = ""
    freezes: Sequence[Freeze] = ()
    target_unseen: bool = False
    settled_at: datetime | None = None
    orders: Sequence[Order] = ()
