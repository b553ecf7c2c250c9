"""The doubles around a service under test: what watches its calls, what kills it, and what its metrics say.

Every call of the service to the store and the provider passes a `Trap` twice, before and after it takes effect:
`Trap.calls` is the record of what was asked, and `Trap.strike_at` kills the process at one of these edges.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from shifter.adapters.memory_store import MemoryStore
from shifter.core.balancing.splits import Route, RouteView
from shifter.core.chain import Stretch
from shifter.core.counts.evidence import INFINITY_MS, Answer, PodReading, Reading, Series
from shifter.core.deciding.orders import Order, OrderAnswer, OrderRequest
from shifter.core.documents.fleet import ISTIO_EDGES_MS
from shifter.core.records import NewRecord, Record
from shifter.core.state import FleetState, Intent, Report, ShiftState
from shifter.errors import MetricsUnavailableError, ProviderRefusedError, StoreUnavailableError
from shifter.ports import WHOLE, Change, Operation, OperationState, Saved, SavedFleet, Shelf, TrafficProvider
from shifter.service.lanes import InlineLanes, Priority

T = TypeVar("T")

SHOWN_SECONDS = 45.0
"""How long what a gateway showed last stands for it, as the fleet's sampleMaxAge."""

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""When every gateway's process began."""


class Killed(BaseException):
    """The process died at an edge of a call: no error, so nothing may catch it."""


class Trap:
    """Records every edge of every call to the outside, and kills at chosen ones (by index, or the next named)."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.strike_at: frozenset[int] = frozenset()
        self.strike_next = ""

    def edge(self, name: str) -> None:
        self.calls.append(name)
        if name == self.strike_next:
            self.strike_next = ""
            raise Killed(name)
        if len(self.calls) - 1 in self.strike_at:
            raise Killed(name)


class WatchedProvider:
    """The provider port behind a trap.

    `bugs` are raised by calls to one lock domain (`observe DOMAIN`, every time; `submit DOMAIN`, once); with a
    `refusal` every submit is refused; `submits` are the writes asked for, with the intents saved at that moment.
    """

    def __init__(self, inner: TrafficProvider, trap: Trap, journal: MemoryStore) -> None:
        self._inner = inner
        self._trap = trap
        self._journal = journal
        self.bugs: dict[str, Exception] = {}
        self.refusal = ""
        self.submits: list[tuple[tuple[Change, ...], tuple[Intent, ...]]] = []

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        self._trap.edge("before observe")
        if (bug := self.bugs.get(f"observe {routes[0].domain}")) is not None:
            raise bug
        views = self._inner.observe(routes)
        self._trap.edge("after observe")
        return views

    def submit(self, changes: Sequence[Change]) -> Operation:
        self._trap.edge("before submit")
        if (bug := self.bugs.pop(f"submit {changes[0].route.domain}", None)) is not None:
            raise bug
        self.submits.append((tuple(changes), self._saved_intents()))
        if self.refusal:
            raise ProviderRefusedError(self.refusal)
        operation = self._inner.submit(changes)
        self._trap.edge("after submit")
        return operation

    def check(self, operation: Operation) -> OperationState:
        self._trap.edge("before check")
        state = self._inner.check(operation)
        self._trap.edge("after check")
        return state

    def _saved_intents(self) -> tuple[Intent, ...]:
        if self._journal.down:
            return ()
        saved = self._journal.load().values()
        return tuple(each.state.intent for each in saved if each.state.intent is not None)


class WatchedStore:
    """The store port behind a trap. `bugs` are raised by saves of the named shift, `report_bugs` by its reports.

    The next `fleet_refusals` saves of the fleet's state fail; every one raises a `fleet_bug`.
    """

    def __init__(self, inner: MemoryStore, trap: Trap) -> None:
        self._inner = inner
        self._trap = trap
        self.bugs: dict[str, Exception] = {}
        self.report_bugs: dict[str, Exception] = {}
        self.fleet_refusals = 0
        self.fleet_bug: Exception | None = None

    def load(self) -> Shelf[Saved]:
        return self._inner.load()

    def save(
        self,
        state: ShiftState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        self._trap.edge("before save")
        if state.name in self.bugs:
            raise self.bugs[state.name]
        version = self._inner.save(state, expected_version, records, answers)
        self._trap.edge("after save")
        return version

    def leaving(self) -> Collection[str]:
        return self._inner.leaving()

    def deleted(self) -> Collection[str]:
        return self._inner.deleted()

    def put_back(self) -> str:
        return self._inner.put_back()

    def believe(self) -> None:
        self._inner.believe()

    def load_fleet(self) -> SavedFleet:
        return self._inner.load_fleet()

    def save_fleet(
        self,
        state: FleetState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        self._trap.edge("before fleet save")
        if self.fleet_bug is not None:
            raise self.fleet_bug
        if self.fleet_refusals:
            self.fleet_refusals -= 1
            raise StoreUnavailableError("the disk is full")
        version = self._inner.save_fleet(state, expected_version, records, answers)
        self._trap.edge("after fleet save")
        return version

    def report(self, report: Report) -> None:
        self._trap.edge("before report")
        if report.name in self.report_bugs:
            raise self.report_bugs[report.name]
        self._inner.report(report)
        self._trap.edge("after report")

    def reports(self) -> Shelf[Report]:
        return self._inner.reports()

    def create_order(self, request: OrderRequest, at: datetime) -> Order:
        return self._inner.create_order(request, at)

    def order(self, order_id: int) -> Order:
        return self._inner.order(order_id)

    def open_orders(self, *, recent: bool = False) -> Sequence[Order]:
        return self._inner.open_orders(recent=recent)

    def history(self, name: str | None = None, limit: int = 100) -> Sequence[Record]:
        return self._inner.history(name, limit)

    def chains(self) -> Sequence[str]:
        return self._inner.chains()

    def chain(self, first: int, limit: int, of: str = WHOLE) -> Stretch:
        return self._inner.chain(first, limit, of)

    def prune(self, before: datetime, now: datetime | None = None) -> int:
        return self._inner.prune(before, now)

    def close(self) -> None:
        """Note it; the memory stays open for whoever looks at it afterwards."""
        self._trap.edge("close")


class MortalLanes(InlineLanes):
    """Inline lanes in which death in a call is the death of the process, and not an answer for later."""

    def run(self, domain: str, priority: Priority, call: Callable[[], T]) -> Future[T]:
        future = super().run(domain, priority, call)
        if isinstance(error := future.exception(), Killed):
            raise error
        return future


class SlowLanes(MortalLanes):
    """Lanes in which no read of the cloud answers before the look that asked for it is over; `answer` lets them all."""

    def __init__(self) -> None:
        self._asked: list[Callable[[], None]] = []

    def run(self, domain: str, priority: Priority, call: Callable[[], T]) -> Future[T]:
        if priority is not Priority.READ or domain.startswith("metrics/"):
            return super().run(domain, priority, call)
        future: Future[T] = Future()
        self._asked.append(lambda: future.set_result(call()))
        return future

    def answer(self) -> None:
        asked, self._asked = self._asked, []
        for each in asked:
            each()


class HeldLanes(MortalLanes):
    """Lanes in which calls of the `held` priorities wait until told to run, and then run most urgent first."""

    def __init__(self, *held: Priority) -> None:
        self.held = set(held)
        self._waiting: list[tuple[Priority, Callable[[], None]]] = []

    def run(self, domain: str, priority: Priority, call: Callable[[], T]) -> Future[T]:
        if priority not in self.held or domain.startswith("metrics/"):
            return super().run(domain, priority, call)
        future: Future[T] = Future()
        now = super().run

        def make() -> None:
            done = now(domain, priority, call)
            if error := done.exception():
                future.set_exception(error)
            else:
                future.set_result(done.result())

        self._waiting.append((priority, make))
        return future

    def let_run(self) -> None:
        """Make the calls that wait."""
        waiting, self._waiting = sorted(self._waiting, key=lambda each: each[0]), []
        for _, make in waiting:
            make()

    def let_go(self) -> None:
        """Make the calls that wait, and hold none any more."""
        self.held.clear()
        self.let_run()


def instants(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    """Return start, start + step and so on, up to end."""
    return [start + index * step for index in range((end - start) // step + 1)]


def nothing_recorded(start: datetime, end: datetime, step: timedelta) -> list[Reading]:
    """Return what a Prometheus that has just been set up remembers: at no instant any pod."""
    return [Reading(at.timestamp(), {}) for at in instants(start, end, step)]


class Gateway:
    """One mesh's metrics: a pod, or two that share the traffic evenly. What it was asked for is in `asked_edges_ms`.

    Percentages are of requests, of which up to `capacity` at once never fail; `clustered` failures of one tick are all
    at one of the pods, in turn. All requests take `latency_ms`; without it there is no histogram. `down` and `gone` are
    an outage and a scrape without pods; while it is not `scraped` it shows old samples. It remembers what it showed,
    unless it `forgets`.
    """

    def __init__(self, pod: str, second: str = "") -> None:
        self.pod = pod
        self.second = second
        self.error_percent = 0.0
        self.capacity = 0.0
        self.clustered = False
        self.latency_ms: float | None = None
        self.down = self.gone = self.forgets = False
        self.scraped = True
        self.asked_edges_ms: list[tuple[float, ...]] = []
        self._turn = 0
        self._counters: tuple[dict[Series, float], ...] = ({}, {})
        self._shown: list[Reading] = []

    def serve(self, namespace: str, requests: float) -> None:
        bad = requests * self.error_percent / 100 if requests > self.capacity else 0.0
        self._turn += 1
        pods = 2 if self.second else 1
        for index in range(pods):
            its_bad = bad / pods
            if self.clustered:
                its_bad = bad if self._turn % pods == index else 0.0
            self._count(index, namespace, requests / pods, its_bad)

    def _count(self, index: int, namespace: str, requests: float, bad: float) -> None:
        counts = {Series(namespace, Answer("200")): requests - bad, Series(namespace, Answer("503")): bad}
        if self.latency_ms is not None:
            edges = (*ISTIO_EDGES_MS, INFINITY_MS)
            counts |= {Series(namespace, edge_ms=edge): requests for edge in edges if edge >= self.latency_ms}
            counts |= {Series(namespace, edge_ms=edge): 0.0 for edge in edges if edge < self.latency_ms}
        for series, count in counts.items():
            self._counters[index][series] = self._counters[index].get(series, 0.0) + count

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        self.asked_edges_ms.append(tuple(edges_ms))
        if self.down:
            raise MetricsUnavailableError("connection refused")
        if self.gone:
            return Reading(at.timestamp(), {})
        if not self.scraped and self._shown:
            return Reading(at.timestamp(), self._shown[-1].pods)
        names = (self.pod, self.second) if self.second else (self.pod,)
        wanted = {None, INFINITY_MS, *edges_ms}
        pods = {
            name: PodReading(at.timestamp(), LONG_AGO, {s: n for s, n in counters.items() if s.edge_ms in wanted})
            for name, counters in zip(names, self._counters, strict=False)
        }
        shown = Reading(at.timestamp(), pods)
        self._shown.append(shown)
        return shown

    def past(self, start: datetime, end: datetime, step: timedelta, edges_ms: Sequence[float]) -> list[Reading]:  # noqa: ARG002 - it has no histogram
        """Return what was shown last before each instant, if that was not longer ago than a sample may be."""
        if self.down:
            raise MetricsUnavailableError("connection refused")
        return [self._as_of(at.timestamp()) for at in instants(start, end, step)]

    def _as_of(self, at: float) -> Reading:
        fresh = [each for each in self._shown if not self.forgets and at - SHOWN_SECONDS <= each.read_at <= at]
        newest = max(fresh, key=lambda each: each.read_at, default=None)
        return Reading(at, {} if newest is None else newest.pods)
