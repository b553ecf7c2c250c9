"""What the service needs from outside, in shifter's own words. No adapter's vocabulary crosses this line.

Three neighbours: the *provider* that holds the splits, the *metrics* of one mesh, and the *store* that
remembers. Each port has one contract suite in `tests/contract/`, run against every adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol, TypeVar

from shifter.core.balancing.splits import Route, RouteView
from shifter.core.chain import Stretch
from shifter.core.counts.evidence import Reading
from shifter.core.deciding.orders import Order, OrderAnswer, OrderRequest
from shifter.core.deciding.pinning import Workload
from shifter.core.records import NewRecord, Record
from shifter.core.state import FleetState, Report, ShiftState
from shifter.errors import RefusedError

T = TypeVar("T")

WHOLE: Final = ""
"""The name of the one chain of a store that keeps all history in one."""


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


@dataclass(frozen=True, slots=True)
class Saved:
    """A shift's state with the version that the next save must name."""

    state: ShiftState
    version: int


@dataclass(frozen=True, slots=True, eq=False)
class Shelf(Mapping[str, T]):
    """What a store keeps by shift. What of it cannot be read is there and hides nothing else: taking it is refused.

    So nobody takes such a shift for a new one, by `get` neither. `readable` is all the rest, and `unreadable` says why
    not, by name, and what to do.
    """

    readable: Mapping[str, T]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> T:
        """Return what is kept of a shift; a `RefusedError` if it cannot be read."""
        if name in self.unreadable:
            raise RefusedError(self.unreadable[name])
        return self.readable[name]

    def __contains__(self, name: object) -> bool:
        """Whether anything is kept of a shift, readable or not."""
        return name in self.readable or name in self.unreadable

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all shifts, readable or not."""
        return iter(sorted({*self.readable, *self.unreadable}))

    def __len__(self) -> int:
        """Return how many shifts there are, readable or not."""
        return len({*self.readable, *self.unreadable})


@dataclass(frozen=True, slots=True)
class SavedFleet:
    """What is remembered of all shifts together, with the version that the next save must name."""

    state: FleetState
    version: int


class Store(Protocol):
    """Remembers shifts, orders and history. Safe to call from several threads and processes.

    Raises from any call:
        StoreUnavailableError: it cannot answer. After a write this also leaves open whether it was kept.
        RefusedError: a later version of shifter wrote what would be read or written over, or it is damaged.
            What else is there can still be read.
    """

    def load(self) -> Shelf[Saved]:
        """Return every shift's saved state, by name; one that is not understood is among them, with why."""

    def save(
        self,
        state: ShiftState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        """Save state, append records and answer orders in one transaction; return the new version.

        Args:
            state: what to remember under `state.name`.
            expected_version: the version that was loaded; 0 for a shift never saved.
            records: appended to the history, in order.
            answers: closes these orders.

        Raises:
            ConflictError: the saved version is another, or an order was answered before; nothing was written.
            NotFoundError: there is no order by that id; nothing was written.
            RefusedError: the saved state is not understood, so it is not written over; nothing was written.
            InvariantError: state, records or answers hold what could not be read back (a share that is no
                number, evidence beyond JSON, a moment without a time zone); nothing was written.
        """

    def load_fleet(self) -> SavedFleet:
        """Return what is remembered of all shifts together; the defaults with version 0 if nothing ever was.

        Raises:
            RefusedError: it is not understood.
        """

    def save_fleet(
        self,
        state: FleetState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        """Save the fleet's state as `save` does a shift's, under the same rules; return the new version.

        Raises:
            ConflictError: the saved version is another, or an order was answered before; nothing was written.
            NotFoundError: there is no order by that id; nothing was written.
            RefusedError: the saved state is not understood, so it is not written over; nothing was written.
            InvariantError: state, records or answers hold what could not be read back; nothing was written.
        """

    def report(self, report: Report) -> None:
        """Keep the newest explanation of a shift, for people; no history, last one wins.

        A store to which a write costs much may leave one out, for a while, that differs in numbers alone.

        Raises:
            InvariantError: it could not be read back; the one before stays.
        """

    def reports(self) -> Shelf[Report]:
        """Return the newest explanation of every shift, by name; one that is not understood is among them, with why."""

    def create_order(self, request: OrderRequest, at: datetime) -> Order:
        """Write down what a person asks and return it with its id.

        Raises:
            RefusedError: a text is too long or not Unicode, nobody asks, or too many orders of it wait already.
            InvariantError: `at` has no time zone.
        """

    def order(self, order_id: int) -> Order:
        """Return one order, answered or not.

        Raises:
            NotFoundError: there is none by that id.
        """

    def open_orders(self, *, recent: bool = False) -> Sequence[Order]:
        """Return the orders nobody answered yet, oldest first.

        `recent`: what was so some seconds ago is enough, for whoever asks all the time.

        One that is not understood is left out: it must not hide the others, of which one may be a rollback.
        """

    def history(self, name: str | None = None, limit: int = 100) -> Sequence[Record]:
        """Return the newest `limit` records, of one shift or of all, oldest first; `What.UNREADABLE` what cannot be."""

    def chains(self) -> Sequence[str]:
        """Return the names of the chains that history is kept in: `WHOLE` alone, or one per thing saved by itself.

        Ids and hashes are of one chain each.
        """

    def chain(self, first: int, limit: int, of: str = WHOLE) -> Stretch:
        """Return at most `limit` records from id `first` on as they are kept, oldest first, to be checked.

        With them, of the same moment, what is remembered beside the records: how they began and ended. A record that
        cannot be understood is among them all the same. `chain.FIRST_ID` asks for all there are.

        Raises:
            RefusedError: another version wrote it, which chained no records, or does so otherwise.
            NotFoundError: there is no such chain.
        """

    def prune(self, before: datetime, now: datetime | None = None) -> int:
        """Drop records and answered orders older than `before`; return how many. What is left still is one chain.

        Only the oldest go, up to the first that is not older; one from after `now` is of a clock that was ahead.

        A store may drop a part of very many; it returns 0 once nothing is left to drop.

        The store has no clock: how long things are kept is for whoever has one.

        Raises:
            InvariantError: a moment has no time zone.
        """

    def close(self) -> None:
        """Let go of files and connections. Calling twice is harmless."""


class Leadership(Protocol):
    """Says whether this process may raise shares, under which epoch, and whether it may still lower them."""

    @property
    def epoch(self) -> int:
        """The number stamped on every intent; it grows with each new leader."""

    def valid(self) -> bool:
        """Return whether the lease is held right now, and for long enough to end a write that starts now."""

    def may_lower(self) -> bool:
        """Return whether a share may be lowered: True while valid, and for a while where nobody could renew the lease.

        Never again once another holder was seen, where there can be another.
        """

    def release(self) -> None:
        """Give the lease up; last act of a shutdown."""


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
