"""What is known of the meshes: a datasource's counters, and what their gateways and Deployments run as."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shifter.core.counts.evidence import Reading
from shifter.core.deciding.pinning import Workload


@dataclass(frozen=True, slots=True)
class Unread:
    """What `MeshMetrics.past` has where `read` would have refused: no reading, and no sign that a gateway is gone."""

    read_at: float
    reason: str


class MeshMetrics(Protocol):
    """The raw counters of one mesh's ingress gateway, for all namespaces at once."""

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        """Return the counters of the gateway's pods that have a fresh sample, as of `at`.

        Args:
            at: evaluation time, sent with every query so that the reading can be repeated.
            edges_ms: latency bucket edges to read besides infinity; empty reads no latency.

        Raises:
            MetricsUnavailableError: no answer, an error, partial data, or data that cannot be right.
        """

    def past(
        self, start: datetime, end: datetime, step: timedelta, edges_ms: Sequence[float]
    ) -> Iterable[Reading | Unread]:
        """Return the readings that `read` would have returned at `start`, `start` + `step` and so on, oldest first.

        As far back as the datasource remembers; an instant that it has nothing of is an empty reading, and one that
        `read` would have refused is an `Unread`.

        Args:
            start: the first instant.
            end: the last instant, at most.
            step: between two instants.
            edges_ms: as for `read`.

        Raises:
            MetricsUnavailableError: as `read`; perhaps only while the readings are gone through.
        """


class SourceWorkload(Protocol):
    """What the source's gateway runs as, where somebody runs it for us. Safe to call from several threads.

    Every call is bounded in time and may fail with `CapacityUnavailableError`: nobody answered, or refused.
    """

    def observe(self) -> Workload:
        """Return how many replicas are ready now, and the autoscaler's floor; asked, never cached.

        Raises:
            CapacityUnavailableError: it cannot be told.
        """

    def pin(self, floor: int) -> None:
        """Set the autoscaler's floor, in replicas from 1; the same floor again is harmless. Without one do nothing.

        Believed only when `observe` shows it.

        Raises:
            CapacityUnavailableError: it may or may not have been set.
            InvariantError: the floor is below 1.
        """
