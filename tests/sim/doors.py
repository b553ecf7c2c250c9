"""The ports as one process has them: each call passes its door, and then reaches what all processes share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar, cast

from shifter.core.balancing.splits import Route, RouteView, Side
from shifter.core.chain import Stretch
from shifter.core.counts.evidence import Reading
from shifter.core.deciding import pinning
from shifter.core.deciding.orders import Order, OrderAnswer, OrderRequest
from shifter.core.records import NewRecord, Record
from shifter.core.state import FleetState, Report, ShiftState
from shifter.errors import InvariantError, ProviderRefusedError, ProviderUnavailableError, StoreUnavailableError
from shifter.ports import (
    WHOLE,
    Change,
    Leadership,
    Operation,
    OperationState,
    Saved,
    SavedFleet,
    Shelf,
    Store,
    Unread,
)
from tests.sim.calls import PORTS, Door, Fate
from tests.sim.cloud import Asker, Cloud, Logged
from tests.sim.meshes import Mesh, Workload

T = TypeVar("T")

MOST_STALE_SECONDS = 3.0
"""The oldest that the store answers."""


class DoorProvider:
    """The `TrafficProvider` of one process, and the cloud's log of its calls."""

    def __init__(self, door: Door, cloud: Cloud, caller: str) -> None:
        self._door = door
        self._cloud = cloud
        self._caller = caller

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        """Read routes."""
        if not routes:
            return {}
        domain, as_of = routes[0].domain, -1.0

        def observe() -> Mapping[str, RouteView]:
            nonlocal as_of
            self._reached(call)
            views, as_of = self._cloud.observe(routes)
            return views

        with self._logged(domain, "observe", routes) as call:
            views = self._door.call(PORTS["provider.observe"], domain, observe, domain)
            call.as_of = as_of
            return views

    def submit(self, changes: Sequence[Change]) -> Operation:
        """Write weights."""
        if not changes:
            raise InvariantError("an empty batch of changes was submitted")
        asked = "; ".join(f"{change.route.host} {sorted(change.weights.items())}" for change in changes)

        def submit() -> Operation:
            self._reached(call)
            operation = self._cloud.submit(changes, Asker(self._caller, self._door.made_at, self._door.number))
            call.request_id = operation.id
            return operation

        routes = [change.route for change in changes]
        with self._logged(routes[0].domain, "submit", routes) as call:
            call.raises = self._cloud.would_raise(changes)
            call.asked = {change.route.id: change.weights for change in changes}
            return self._door.call(PORTS["provider.submit"], asked, submit, routes[0].domain)

    def check(self, operation: Operation) -> OperationState:
        """Ask how an operation stands."""
        with self._logged(operation.domain, "check", ()):
            check = partial(self._cloud.check, operation)
            return self._door.call(PORTS["provider.check"], operation.id, check, operation.domain)

    @contextmanager
    def _logged(self, domain: str, what: str, routes: Sequence[Route]) -> Iterator[Logged]:
        """Write a call down, with what the caller was told; a process that died was told nothing."""
        call = Logged(self._cloud.now, self._caller, domain, what, tuple(route.id for route in routes))
        self._cloud.calls.append(call)
        try:
            yield call
        except ProviderUnavailableError:
            call.answer = "busy"
            raise
        except ProviderRefusedError:
            call.answer = "refused"
            raise
        else:
            call.answer = "ok"
        finally:
            call.answered_at = self._cloud.now

    def _reached(self, call: Logged) -> None:
        """Note that a call takes effect: others of this process may pass the door before its answer comes."""
        call.at = max(call.at, self._door.made_at)


class DoorMetrics:
    """The `MeshMetrics` of one process and one side."""

    def __init__(self, door: Door, mesh: Mesh) -> None:
        self._door = door
        self._mesh = mesh

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        """Read the counters."""
        return self._door.call(PORTS["metrics.read"], self._mesh.side, lambda: self._mesh.read(at, edges_ms))

    def past(
        self, start: datetime, end: datetime, step: timedelta, edges_ms: Sequence[float]
    ) -> Iterable[Reading | Unread]:
        """Read what the counters were."""
        asked = f"{self._mesh.side} {start:%H:%M:%S}-{end:%H:%M:%S}"
        return self._door.call(PORTS["metrics.past"], asked, lambda: self._mesh.past(start, end, step, edges_ms))


class DoorWorkload:
    """The `SourceWorkload` of one process."""

    def __init__(self, door: Door, workload: Workload) -> None:
        self._door = door
        self._workload = workload

    def observe(self) -> pinning.Workload:
        """Ask what there is."""
        return self._door.call(PORTS["workload.observe"], "", self._workload.observe)

    def pin(self, floor: int) -> None:
        """Set the floor."""
        self._door.call(PORTS["workload.pin"], str(floor), lambda: self._workload.pin(floor))


class DoorLease:
    """The `Leadership` of one process."""

    def __init__(self, door: Door, lease: Leadership) -> None:
        self._door = door
        self._lease = lease

    @property
    def epoch(self) -> int:
        """The epoch of this leadership."""
        return self._lease.epoch

    def valid(self) -> bool:
        """Whether the lease is held."""
        return self._door.call(PORTS["lease.valid"], "", self._lease.valid)

    def may_lower(self) -> bool:
        """Whether shares may be lowered; asked right before a call, whose own door lets anything happen."""
        return self._lease.may_lower()

    def release(self) -> None:
        """Give the lease up."""
        self._lease.release()


@dataclass(slots=True)
class Library:
    """The store that all processes share, and what of it only the world knows.

    `away_until`: nobody reaches it before. `refusing`: until when it refuses everybody in its service, in which way (a
    store in a cluster only). When records were really decided and saved, and by which call, is kept by
    number and hash, and when a shift was last told of by name: no process's clock is believed.
    `read` is what was answered last, by call, and when; `stale` is when that was answered again, and how old it was.
    """

    saved: Store
    now: Callable[[], float]
    away_until: float = 0.0
    refusing: tuple[float, str] = 0.0, ""
    records: dict[tuple[int, str], tuple[float, float, int]] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)
    read: dict[str, tuple[float, object]] = field(default_factory=dict)
    stale: list[tuple[float, float]] = field(default_factory=list)


class DoorStore:
    """The `Store` of one process. `true_at` turns what its clock said into true seconds; `reaches`: no partition."""

    def __init__(
        self, door: Door, library: Library, true_at: Callable[[datetime], float], reaches: Callable[[], bool]
    ) -> None:
        self._door = door
        self._library = library
        self._true_at = true_at
        self._reaches = reaches

    def load(self) -> Shelf[Saved]:
        """Load every shift."""
        return self._read("store.load", lambda: self._there().load())

    def save(
        self,
        state: ShiftState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        """Save a shift."""
        records, answers = tuple(records), tuple(answers)
        asked = f"{state.name} v{expected_version} {state.phase} {state.share:g} % #{state.sequence}"

        def save() -> int:
            version = self._there().save(state, expected_version, records, answers)
            self._note(records)
            return version

        return self._door.call(PORTS["store.save"], f"{asked} {_shown(records)}", save)

    def leaving(self) -> Collection[str]:
        """Return the shifts that somebody is deleting."""
        return self._there().leaving()

    def deleted(self) -> Collection[str]:
        """Return the shifts of which nothing is saved any more."""
        return self._there().deleted()

    def put_back(self) -> str:
        """Return how it shows that something was put back."""
        return self._there().put_back()

    def believe(self) -> None:
        """Take what was put back for what counts."""
        self._there().believe()

    def load_fleet(self) -> SavedFleet:
        """Load what is remembered of all shifts."""
        return self._read("store.load_fleet", lambda: self._there().load_fleet())

    def save_fleet(
        self,
        state: FleetState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        """Save what is remembered of all shifts."""
        records, answers = tuple(records), tuple(answers)

        def save() -> int:
            version = self._there().save_fleet(state, expected_version, records, answers)
            self._note(records)
            return version

        return self._door.call(PORTS["store.save_fleet"], f"v{expected_version} {_shown(records)}", save)

    def report(self, report: Report) -> None:
        """Keep a report."""
        holds = ",".join(hold.kind for hold in report.holds)

        def tell() -> None:
            self._there().report(report)
            self._library.told[report.name] = self._true_at(report.at)

        self._door.call(PORTS["store.report"], f"{report.name} {report.phase} [{holds}] {report.reason}", tell)

    def reports(self) -> Shelf[Report]:
        """Return every report."""
        return self._there().reports()

    def create_order(self, request: OrderRequest, at: datetime) -> Order:
        """Write an order down."""
        return self._there().create_order(request, at)

    def order(self, order_id: int) -> Order:
        """Return an order."""
        return self._there().order(order_id)

    def open_orders(self, *, recent: bool = False) -> Sequence[Order]:
        """Return what nobody answered yet."""
        return self._read("store.open_orders", lambda: self._there().open_orders(recent=recent))

    def history(self, name: str | None = None, limit: int = 100) -> Sequence[Record]:
        """Return the history."""
        return self._there().history(name, limit)

    def chains(self) -> Sequence[str]:
        """Return the names of the chains."""
        return self._there().chains()

    def chain(self, first: int, limit: int, of: str = WHOLE) -> Stretch:
        """Return the records as they are kept."""
        return self._there().chain(first, limit, of)

    def prune(self, before: datetime, now: datetime | None = None) -> int:
        """Drop what is old."""
        return self._there().prune(before, now)

    def close(self) -> None:
        """Others go on with it."""

    def _read(self, name: str, read: Callable[[], T]) -> T:
        """Read, or be answered what somebody was answered a moment ago."""
        library = self._library

        def answer() -> T:
            at, before = library.read.get(name, (-MOST_STALE_SECONDS, None))
            if self._door.fate is Fate.STALE and library.now() - at < MOST_STALE_SECONDS:
                library.stale.append((at, library.now()))
                return cast("T", before)
            found = read()
            library.read[name] = library.now(), found
            return found

        return self._door.call(PORTS[name], "", answer)

    def _there(self) -> Store:
        if self._library.now() < self._library.away_until or not self._reaches():
            raise StoreUnavailableError("the store does not answer")
        return self._library.saved

    def _note(self, records: Sequence[NewRecord]) -> None:
        """Remember when what was just saved had been decided."""
        library = self._library
        for kept in library.saved.history(limit=len(records)):
            library.records[kept.id, kept.hash] = self._true_at(kept.record.at), library.now(), self._door.number


def _shown(records: Sequence[NewRecord]) -> str:
    return "; ".join(f"{each.shift} {each.what} {each.sequence}/{each.epoch} {each.reason}" for each in records)


def metrics(door: Door, meshes: Mapping[Side, Mesh]) -> dict[Side, DoorMetrics]:
    """Return both sides' metrics."""
    return {side: DoorMetrics(door, mesh) for side, mesh in meshes.items()}
