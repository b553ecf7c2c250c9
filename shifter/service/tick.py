"""One tick: observe, decide, remember, act, tell. This module orders those steps and decides nothing itself.

Whether a tick is due comes from state, never from a timer: every `wake` asks whether a look at the meshes is
due, whether an intent is open, whether somebody gave an order. A lost, late or doubled wake is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shifter.core.analysis.standing import Standing, is_sound
from shifter.core.balancing.splits import Route, RouteView, Side
from shifter.core.deciding.capacity import Sighting
from shifter.core.deciding.orders import Order
from shifter.core.deciding.pinning import asks_for, pins_of
from shifter.core.documents.fleet import Fleet
from shifter.core.phases import Phase
from shifter.core.state import Pin, Report, ShiftState
from shifter.errors import ConflictError, InvariantError, ShifterError
from shifter.ports import Leadership, MeshMetrics, Saved, SourceWorkload, Store, TrafficProvider
from shifter.service.act import Courier, Place, StateWriter
from shifter.service.adoption import Adoption
from shifter.service.deleting import Deletions
from shifter.service.freezing import Freezer
from shifter.service.gathering import Gathering, wanted_edges_ms
from shifter.service.lanes import CallLanes
from shifter.service.observe import Counted, IntentCalls, MeshObserver, RouteObserver, Views
from shifter.service.policy_files import PolicyFolder
from shifter.service.refill import Refill
from shifter.service.telemetry import Telemetry
from shifter.service.turn import Outlook, Shift, Turner
from shifter.service.unread import Unread
from shifter.service.workload import CapacityObserver, TargetCluster


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a ticker is made of; built in `wiring`, or by a test with other adapters.

    `mode` is `act` or `observe`; `stopwatch` returns monotonic seconds, to measure a tick. `workload` is the source's
    gateway where somebody can be asked about its replicas and its autoscaler, None where nobody can; `deployment` makes
    the same of a `namespace/name` in the source's cluster. `target_cluster` is the target's, where it can be asked.
    """

    fleet: Fleet
    mode: str
    folder: PolicyFolder
    store: Store
    leadership: Leadership
    provider: TrafficProvider
    metrics: Mapping[Side, MeshMetrics]
    lanes: CallLanes
    telemetry: Telemetry
    stopwatch: Callable[[], float]
    workload: SourceWorkload | None = None
    deployment: Callable[[str], SourceWorkload] | None = None
    target_cluster: TargetCluster | None = None


class Ticker:
    """The service's loop body. Not thread-safe: one thread wakes it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._timing = parts.fleet.spec.timing
        self._courier = Courier(parts.provider, parts.lanes, parts.store, parts.leadership)
        self._turner = Turner(
            parts.fleet,
            parts.mode,
            parts.leadership,
            self._courier,
            StateWriter(parts.store, parts.telemetry),
            parts.telemetry,
        )
        self._routes = RouteObserver(parts.provider, parts.lanes)
        self._meshes = MeshObserver(parts.metrics, parts.fleet, parts.lanes)
        self._capacity = CapacityObserver(parts.workload, parts.deployment, parts.target_cluster, parts.lanes)
        self._refill = Refill(parts.metrics, parts.fleet, parts.lanes)
        self._adoption = Adoption(parts.folder, parts.telemetry, parts.lanes, self._timing.read_deadline)
        self._freezer = Freezer(parts.store, parts.leadership, parts.mode, parts.telemetry)
        self._unread = Unread(parts.store, parts.telemetry, self._timing, parts.mode)
        self._deletions = Deletions(parts.store, self._courier, parts.telemetry)
        self._shifts: dict[str, Shift] = {}
        self._looked_at: datetime | None = None
        self._signal_problem = "the meshes have not been looked at yet"
        self._loaded = False
        self._draining = False
        self._store_problem = ""
        self._began = 0.0

    @property
    def ready(self) -> bool:
        """Whether the saved state has been loaded: from then on this replica can take over."""
        return self._loaded

    @property
    def shifts(self) -> Mapping[str, Shift]:
        """What this process knows of every shift, by name."""
        return self._shifts

    def load(self) -> None:
        """Take up where the last process stopped. A shift whose state cannot be read holds, and keeps no other.

        Raises:
            StoreUnavailableError: the store does not answer.
            RefusedError: what is saved of all shifts together is not understood.
        """
        self._freezer.load()
        self._take_up(self._unread.load())
        self._loaded = True

    def _take_up(self, found: Mapping[str, Saved]) -> None:
        for name, saved in found.items():
            self._shifts[name] = _restored(self._taken_over(saved))

    def _taken_over(self, saved: Saved) -> Saved:
        """Save a shift as it is, and return it with its new version: whoever had it before can save it no more.

        A process that stood still between a decision and its save would otherwise begin a climb after the hand-over.
        Where nothing can be saved the shift is watched all the same: it must be able to go back.
        """
        try:
            return Saved(saved.state, self._parts.store.save(saved.state, saved.version))
        except ShifterError as error:
            self._parts.telemetry.error(saved.state.name, error, bug=False)
            return saved

    def wake(self, now: datetime) -> bool:
        """Do what is due at `now`; return whether anything was."""
        asked = self._parts.stopwatch()
        orders = () if self._draining else self._open_orders()
        # A store may take seconds to answer; what is read after it must not be dated before it.
        now += timedelta(seconds=self._parts.stopwatch() - asked)
        looking = not self._draining and self._look_is_due(now)
        if not (looking or orders or any(_is_busy(shift) for shift in self._shifts.values())):
            return False
        self._began = self._parts.stopwatch()
        self._tick(orders, now, looking=looking)
        self._parts.telemetry.tick(self._parts.stopwatch() - self._began, now.timestamp())
        return True

    def drain(self) -> None:
        """From now on only follow what is open: no new decision, no climb sent. May be called from another thread."""
        self._draining = True
        self._courier.drain()

    def clock_was_set(self) -> None:
        """The next wake's time is not the last one's plus what has passed; to be said in the thread that wakes."""
        self._meshes.clock_was_set()

    def idle(self) -> bool:
        """Return whether no call to the provider is under way."""
        return not self._courier.in_flight()

    def _look_is_due(self, now: datetime) -> bool:
        # A wall clock that jumped back must not silence the service until it has caught up.
        return self._looked_at is None or not self._looked_at <= now < self._looked_at + self._timing.tick

    def _open_orders(self) -> Sequence[Order]:
        """Return the open orders of the fleet and the shifts known here; any other waits for its shift to appear."""
        try:
            orders = self._parts.store.open_orders(recent=True)
        except ShifterError as error:
            # Whatever is wrong with the store, shifts must still be watched and must still go back.
            self._tell_store_problem(str(error))
            return ()
        self._tell_store_problem("")
        return self._freezer.sort_out(orders, self._shifts)

    def _tell_store_problem(self, problem: str) -> None:
        """Log that orders cannot be read, and that they can again; not every second in between."""
        if problem != self._store_problem:
            self._store_problem = problem
            self._parts.telemetry.warn("store.problem", reason=problem or "it answers again")

    def _tick(self, orders: Sequence[Order], now: datetime, *, looking: bool) -> None:
        if looking:
            self._looked_at = now
            self._part("unreadable", lambda: self._take_up(self._unread.mended()))
            self._part("leaving", lambda: self._deletions.forget_deleted(self._shifts))
            self._part("policies", lambda: self._adoption.reload(self._shifts, now, self._unread.names))
            self._part("leaving", lambda: self._deletions.hold(self._shifts))
            self._part("unreadable", lambda: self._unread.tell(now))
            self._freezer.refresh()
            self._part("strays", lambda: self._freezer.refuse(self._shifts, now, complete=self._adoption.complete))
        self._part("fleet", lambda: self._freezer.obey(orders, now))
        self._part("restored", lambda: self._freezer.freeze_what_was_put_back(now))
        began, now = now, now + self._passed()
        named = {order.request.shift for order in orders}
        due = {name: shift for name, shift in self._shifts.items() if looking or _is_busy(shift) or name in named}
        views, counted = self._look(due, now, looking=looking)
        # A share is in force since it was read back, not since this wake began: the soak is reckoned from then.
        now = began + self._passed()
        for name in sorted(due, key=lambda each: (not self._goes_back(each), each)):
            # An order that was obeyed stays open until the store takes the answer; it is not obeyed twice.
            obeyed = due[name].place.state.last_order
            mine = [order for order in orders if order.request.shift == name and order.id > obeyed]
            self._turn(due[name], views, counted, mine, now)

    def _passed(self) -> timedelta:
        """Return how long this wake has taken: the store and the disk may have been slow."""
        return timedelta(seconds=self._parts.stopwatch() - self._began)

    def _part(self, name: str, call: Callable[[], None]) -> None:
        """Do a part of the tick that no shift's turn must depend on: whatever is wrong with it, they are taken."""
        try:
            call()
        except ShifterError as error:
            self._parts.telemetry.error(name, error, bug=False)
        except Exception as error:  # noqa: BLE001 - as in `_turn`
            self._parts.telemetry.error(name, error, bug=True)

    def _goes_back(self, name: str) -> bool:
        """Shifts on their way back come first in every tick."""
        return self._shifts[name].place.state.failure is not None

    def _look(
        self, shifts: Mapping[str, Shift], now: datetime, *, looking: bool
    ) -> tuple[Mapping[str, Views], Counted | None]:
        """Ask everybody at once, wait once for all of them, and return what was answered in time."""
        routes, calls = self._routes_of(shifts)
        asked = self._routes.ask(routes, calls)
        if looking:
            self._part("refill", lambda: self._remember(now))
            asked += self._meshes.ask(wanted_edges_ms(self._parts.fleet, self._standings()), now)
            asked += self._capacity.ask([shift.place.state for shift in self._shifts.values()])
        wait(asked, timeout=self._timing.read_deadline.total_seconds())
        counted = self._meshes.answer(now) if looking else None
        if counted is not None:
            self._signal_problem = counted.problem
            self._capacity.answer()
        return self._routes.answers(routes), counted

    def _remember(self, now: datetime) -> None:
        """Take up what the look before asked of the past, and ask for what new shifts lack."""
        if problem := self._refill.take(self._shifts):
            self._parts.telemetry.warn("refill.problem", reason=problem)
        self._refill.ask(self._shifts, now)

    def _standings(self) -> list[tuple[ShiftState, Standing | None]]:
        return [(shift.place.state, shift.seen.standing) for shift in self._shifts.values()]

    def _routes_of(self, shifts: Mapping[str, Shift]) -> tuple[dict[str, list[Route]], dict[str, IntentCalls]]:
        """Return all routes of the shifts' lock domains, and what is known of the open intents' calls there."""
        routes: dict[str, list[Route]] = {}
        calls: dict[str, IntentCalls] = {}
        domains = {route.domain for shift in shifts.values() for route in shift.place.state.policy.routes}
        for name, shift in self._shifts.items():
            state = shift.place.state
            mine = [route for route in state.policy.routes if route.domain in domains]
            for route in mine:
                # All routes of a domain in every look: an answer about a part of them would serve nobody else.
                routes.setdefault(route.domain, []).append(route)
            if mine and state.intent is not None:
                known = self._courier.calls(name, state.intent, sorted({route.domain for route in mine}))
                calls[name] = IntentCalls(state.intent.sequence, known)
        return routes, calls

    def _turn(
        self,
        shift: Shift,
        views: Mapping[str, Views],
        counted: Counted | None,
        orders: Sequence[Order],
        now: datetime,
    ) -> None:
        """Take one shift's turn. Broad `except`: a bug in one shift's turn must not stop the others."""
        name = shift.place.state.name
        try:
            outlook = self._outlook(shift.place.state, views, counted)
            report = self._turner.turn(shift, outlook, orders, now)
            if counted is not None:
                self._pin(shift.place, outlook)
            self._tell(shift, report, now)
        except ConflictError as error:
            self._parts.telemetry.error(name, error, bug=False)
            self._reload(name)
        except InvariantError as error:
            self._freeze(shift, error)
        except ShifterError as error:
            self._parts.telemetry.error(name, error, bug=False)
        except Exception as error:  # noqa: BLE001 - see the docstring
            self._parts.telemetry.error(name, error, bug=True)

    def _pin(self, place: Place, outlook: Outlook) -> None:
        """Ask for the floors that the saved pins need, right after a look at what is there."""
        if not outlook.capacity.workloads or place.saved is None or not self._parts.leadership.valid():
            return
        for name, floor in asks_for(place.saved, outlook.capacity.workloads, outlook.pins).items():
            self._capacity.pin(name, floor)

    def _freeze(self, shift: Shift, error: InvariantError) -> None:
        """What cannot happen did: this shift climbs no more until a restart; it may still go back."""
        shift.bug = str(error)
        self._parts.telemetry.error(shift.place.state.name, error, bug=True)

    def _outlook(self, state: ShiftState, views: Mapping[str, Views], counted: Counted | None) -> Outlook:
        """Gather what was seen of one shift's routes and of the meshes."""
        merged: dict[str, RouteView] = {}
        calls = None
        seen_of = {domain: views[domain] for domain in sorted({route.domain for route in state.policy.routes})}
        for domain, seen in seen_of.items():
            if seen.views is None:
                continue
            merged |= {route.id: seen.views[route.id] for route in state.policy.routes if route.domain == domain}
            calls = seen.calls.get(state.name)
        return Outlook(
            views=None if any(seen.views is None for seen in seen_of.values()) else merged,
            provider_problem="; ".join(seen.problem for seen in seen_of.values() if seen.problem) or self._outdated(),
            calls=calls,
            counted=counted,
            signal_problem=self._signal_problem,
            target_unseen=counted is not None and counted.target_unseen,
            freezes=self._freezer.freezes,
            capacity=self._capacity.seen(state),
            pins=self._pins_beside(state.name),
        )

    def _outdated(self) -> str:
        """Return why what this wake has read is too old to climb on: the turns before this one took too long.

        Each save and report may take the store's whole patience; many of them in a row, and nothing of what was read at
        first, routes, metrics or policies, need be true any more. It is good enough to go back on.
        """
        took, most = self._passed(), self._timing.tick + self._timing.read_deadline
        return f"what was read is {took.total_seconds():.0f} s old: the store is slow" if took > most else ""

    def _pins_beside(self, name: str) -> dict[str, list[Pin]]:
        """Return the pins that the other shifts need, by workload."""
        beside: dict[str, list[Pin]] = {}
        for other, shift in self._shifts.items():
            for workload, pin in pins_of(shift.place.state).items():
                if other != name and not pin.released:
                    beside.setdefault(workload, []).append(pin)
        return beside

    def _reload(self, name: str) -> None:
        """Somebody else saved this shift: believe the store, and gather evidence anew."""
        try:
            saved = self._parts.store.load().get(name)
        except ShifterError as error:
            self._parts.telemetry.error(name, error, bug=False)
            return
        if saved is None:
            self._deletions.forget(self._shifts, name)
        else:
            # What is wrong with its file, or struck one of its turns, is so whoever saved it; an order may come first.
            before = self._shifts[name]
            self._shifts[name] = replace(_restored(saved), policy_problem=before.policy_problem, bug=before.bug)

    def _tell(self, shift: Shift, report: Report, now: datetime) -> None:
        changed = shift.told is None or _gist(shift.told) != _gist(report)
        self._parts.telemetry.turn(report, changed=changed)
        # On the clock of the reports themselves; a clock that jumped back tells at once.
        due = shift.told is None or not shift.told.at <= now < shift.told.at + self._timing.report_every
        if not (changed or due):
            return
        try:
            self._parts.store.report(report)
        except ConflictError:
            raise  # what is saved of it was deleted
        except ShifterError as error:
            self._parts.telemetry.error(report.name, error, bug=False)
        else:
            shift.told = report


def _restored(saved: Saved) -> Shift:
    """Return a shift as it was saved: its place, and what its evidence amounted to by then.

    A standing that cannot be is left out: evidence can be gathered anew, and a shift that raises in every turn could
    not even go back.
    """
    standing = saved.state.standing
    seen = Gathering(standing=standing)
    if standing is not None and not is_sound(standing):
        seen = Gathering(gap="the evidence that was saved is damaged; it is gathered anew")
    way_back = saved.state.way_back
    source = Sighting() if way_back is None else Sighting(way_back.left)
    return Shift(Place(saved.state, saved.version, saved=saved.state), seen, source)


def _is_busy(shift: Shift) -> bool:
    """Whether a shift is looked after on every wake: a write is open, or it is on its way back."""
    return shift.place.state.intent is not None or shift.place.state.phase is Phase.ROLLING_BACK


def _gist(report: Report) -> tuple[object, ...]:
    """What must change for a report to be news: not the numbers that move in every tick."""
    holds, dropped = tuple(hold.kind for hold in report.holds), frozenset(report.dropped)
    shares = report.wanted, report.written
    return report.phase, *shares, report.decision, report.verdict, holds, dropped, report.attempt, report.page
