"""What users saw: the tally that the load generator keeps, and how others read it.

The load generator is a process of its own, so that neither a busy nor a crashed lab changes what users see; it leaves
a JSON snapshot which everybody else reads through `LoadReport.read`. Kept apart from the sending, because reading needs
no HTTP client. Memory is bounded: a fixed latency histogram, and a timeline that forgets its oldest seconds.
"""

from __future__ import annotations

import bisect
import json
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

NO_MESH = "none"  # nobody's gateway answered: the front itself did, or nobody
# Upper edges in seconds: 0.5 ms to 64 s, each 1.19 times (the fourth root of 2) the one before.
LATENCY_EDGES = tuple(0.0005 * 2 ** (step / 4) for step in range(69))


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies in seconds. Percentiles are the upper edge of their bucket: at most 19 % too high."""

    mean_seconds: float
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Second:
    """What users of one namespace saw within one second of wall-clock time.

    Args:
        at: Unix time of its start.
        requests: answered or given up in this second.
        failed: those that did not end with a status below 400.
        by_mesh: answers of each mesh (`none`: no gateway answered).
    """

    at: int
    requests: int
    failed: int
    by_mesh: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class NamespaceLoad:
    """What users of one namespace saw since the load began.

    Args:
        total: requests that ended, one way or the other.
        ok: those with a status below 400.
        failed_by_cause: the others: an HTTP status such as `503`, `timeout` or `connection`.
        not_sent: requests that were due while too many were under way; users saw nothing of them.
        by_mesh: answers of each mesh.
        latency: of all ended requests.
        first_failed_at: Unix time, None as long as nothing failed; likewise the last.
        timeline: the last seconds, oldest first, without seconds in which nothing ended.
    """

    total: int
    ok: int
    failed_by_cause: Mapping[str, int]
    not_sent: int
    by_mesh: Mapping[str, int]
    latency: Latency
    first_failed_at: float | None
    last_failed_at: float | None
    timeline: tuple[Second, ...]

    @property
    def failed(self) -> int:
        """Requests that failed, for whatever cause."""
        return self.total - self.ok

    def share(self, mesh: str) -> float:
        """The percentage (0-100) of all answers that came from a mesh; 0 when there were none."""
        return _share(self.by_mesh, mesh)

    def between(self, start: float, end: float) -> Second:
        """The whole seconds within two Unix times added up; `at` is the first of them.

        A share after a change is `report.between(changed_at + 1, now).by_mesh`.
        """
        seconds = [second for second in self.timeline if start <= second.at and second.at + 1 <= end]
        by_mesh: Counter[str] = Counter()
        for second in seconds:
            by_mesh.update(second.by_mesh)
        return Second(
            at=seconds[0].at if seconds else int(start),
            requests=sum(second.requests for second in seconds),
            failed=sum(second.failed for second in seconds),
            by_mesh=dict(by_mesh),
        )


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One snapshot of the load generator.

    Args:
        started_at: Unix time.
        written_at: Unix time of this snapshot; it is rewritten about every half second.
        finished: no more requests will be sent, and all that were sent have ended.
        namespaces: by name.
    """

    started_at: float
    written_at: float
    finished: bool
    namespaces: Mapping[str, NamespaceLoad]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the snapshot; it is replaced atomically, so it is never half written.

        Raises:
            FileNotFoundError: the load generator has not written one yet.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        namespaces = {name: _namespace_load(values) for name, values in content.pop("namespaces").items()}
        return cls(namespaces=namespaces, **content)


class Tally:
    """Counts what the users of one namespace saw.

    Args:
        timeline_seconds_max: how many seconds the timeline remembers.
    """

    def __init__(self, timeline_seconds_max: int) -> None:
        self._timeline_seconds_max = timeline_seconds_max
        self._ok = 0
        self._not_sent = 0
        self._causes: Counter[str] = Counter()
        self._meshes: Counter[str] = Counter()
        self._latency_counts = [0] * (len(LATENCY_EDGES) + 1)
        self._latency_sum_seconds = 0.0
        self._latency_max_seconds = 0.0
        self._failed_at: tuple[float, float] | None = None
        self._timeline: OrderedDict[int, list[Any]] = OrderedDict()

    def answered(self, at: float, latency_seconds: float, mesh: str, cause: str) -> None:
        """Count one request that ended.

        Args:
            at: Unix time at which it ended.
            latency_seconds: from sending to the end.
            mesh: whose gateway answered, or `NO_MESH`.
            cause: why it failed; empty when it did not.
        """
        self._meshes[mesh] += 1
        self._latency_counts[bisect.bisect_left(LATENCY_EDGES, latency_seconds)] += 1
        self._latency_sum_seconds += latency_seconds
        self._latency_max_seconds = max(self._latency_max_seconds, latency_seconds)
        if cause:
            self._causes[cause] += 1
            self._failed_at = (self._failed_at[0] if self._failed_at else at, at)
        else:
            self._ok += 1
        requests, failed, meshes = self._second(int(at))
        meshes[mesh] += 1
        self._timeline[int(at)] = [requests + 1, failed + bool(cause), meshes]

    def not_sent(self) -> None:
        """Count one request that was due but not sent, since too many were under way."""
        self._not_sent += 1

    def snapshot(self) -> dict[str, Any]:
        """The JSON from which `LoadReport.read` makes a `NamespaceLoad`."""
        total = self._ok + self._causes.total()
        first, last = self._failed_at or (None, None)
        return {
            "total": total,
            "ok": self._ok,
            "failed_by_cause": dict(self._causes),
            "not_sent": self._not_sent,
            "by_mesh": dict(self._meshes),
            "latency": {
                "mean_seconds": self._latency_sum_seconds / total if total else 0.0,
                "p50_seconds": self._percentile(0.50),
                "p95_seconds": self._percentile(0.95),
                "p99_seconds": self._percentile(0.99),
                "max_seconds": self._latency_max_seconds,
            },
            "first_failed_at": first,
            "last_failed_at": last,
            "timeline": [[at, *row] for at, row in self._timeline.items()],
        }

    def _second(self, at: int) -> list[Any]:
        if at not in self._timeline:
            self._timeline[at] = [0, 0, Counter()]
            if len(self._timeline) > self._timeline_seconds_max:
                self._timeline.popitem(last=False)
        return self._timeline[at]

    def _percentile(self, quantile: float) -> float:
        wanted = quantile * sum(self._latency_counts)
        seen = 0
        for edge, count in zip(LATENCY_EDGES, self._latency_counts, strict=False):
            seen += count
            if seen >= wanted:
                return min(edge, self._latency_max_seconds)
        return self._latency_max_seconds


def _namespace_load(values: dict[str, Any]) -> NamespaceLoad:
    timeline = tuple(_second_of(row) for row in values.pop("timeline"))
    return NamespaceLoad(latency=Latency(**values.pop("latency")), timeline=timeline, **values)


def _second_of(row: Iterable[Any]) -> Second:
    at, requests, failed, by_mesh = row
    return Second(at=at, requests=requests, failed=failed, by_mesh=by_mesh)


def _share(by_mesh: Mapping[str, int], mesh: str) -> float:
    total = sum(by_mesh.values())
    return 100 * by_mesh.get(mesh, 0) / total if total else 0.0
