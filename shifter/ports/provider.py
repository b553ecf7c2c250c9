"""What holds the splits: read, written a lock domain at a time, and asked how a write stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from shifter.core.balancing.splits import Route, RouteView


class Progress(StrEnum):
    """How far an operation has come. Even `done` is believed only after reading back."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Change:
    """New weights (0..100) for members of one route, by member key. Members not named keep theirs."""

    route: Route
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Operation:
    """A write that a lock domain has accepted. `id` is the provider's and is kept in the journal.

    `left`: so many of the changes, the last ones, did not fit in the call; they are for another one, when it is over.
    """

    domain: str
    id: str
    left: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class OperationState:
    """How an operation stands, and what the provider says about it."""

    progress: Progress
    message: str = ""


class TrafficProvider(Protocol):
    """Reads and writes splits, one lock domain per call. Safe to call from several threads.

    Every call is bounded in time. None retries a write by itself: that is for the journal to decide.
    """

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        """Return what is in force now for routes of *one* lock domain, by route id; asked, never cached.

        A route that does not exist, or that must not be written, comes back with a `refusal`.

        Raises:
            ProviderUnavailableError: nobody answered, or throttled.
            ProviderRefusedError: the request itself is refused (credentials, unknown balancer).
        """

    def submit(self, changes: Sequence[Change]) -> Operation:
        """Ask for changes in *one* lock domain and return as soon as they are accepted.

        More changes than one call may hold are taken in part: whole routes from the first on, at least one.

        Raises:
            ProviderUnavailableError: certainly not carried out; a later try may be accepted.
            AmbiguousWriteError: may have been carried out; read back first.
            ProviderRefusedError: the request is wrong (limits, unknown members, nobody would get traffic).
        """

    def check(self, operation: Operation) -> OperationState:
        """Return how an accepted operation stands.

        Raises:
            ProviderUnavailableError: nobody answered; ask again.
            ProviderRefusedError: the provider does not know the operation.
        """
