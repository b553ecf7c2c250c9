"""What is asked of the outside only to find out what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class RemoteClock(Protocol):
    """Somebody else's clock, to hold ours against."""

    def server_time(self) -> float:
        """Return their time, in seconds since the epoch, good to half a second.

        Raises:
            TransientError: nobody answered, or without saying the time.
        """


class ProviderClock(RemoteClock, Protocol):
    """The provider's clock, which decides whether our calls are believed."""

    @property
    def tolerance_seconds(self) -> float:
        """How far off ours may be before every call is refused."""


class MeshProbe(RemoteClock, Protocol):
    """What is asked of a mesh's datasource to find out what is wrong with it, as of its own now. Only reads."""

    def scrape_seconds(self) -> float | None:
        """Return how far apart the samples of the gateway's pods are; None if no pod is old enough to tell.

        Raises:
            MetricsUnavailableError: as `MeshMetrics.read`.
        """

    def values(self, metric: str, label: str, matchers: Mapping[str, str]) -> Sequence[str]:
        """Return some values, sorted, that `label` has in the series of `metric` that the matchers select.

        Raises:
            MetricsUnavailableError: as `MeshMetrics.read`.
        """


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store's file says of itself.

    `known_version` is the schema this shifter writes. `damage` is what is broken, empty if it was looked through
    and is sound, None if that took too long.
    """

    schema_version: int
    known_version: int
    written_by: str
    damage: str | None


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """Who holds the lease of a store. `held` is None where that cannot be told; `pid` may be stale."""

    held: bool | None
    pid: str = ""
    since: datetime | None = None
