"""Orders two writes: first the journal, then the cloud. The order is the crash-safety argument.

A climb is saved before it is sent, so a shifter killed in between finds on restart what it meant to do. A
retreat is sent even when it cannot be saved: forgetting a retreat costs one repeated retreat, while waiting
for a store would leave users on a broken mesh. What could not be saved is kept and saved first thing later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from shifter.core.balancing.splits import Route
from shifter.core.deciding.journal import Call, Delivery
from shifter.core.deciding.orders import FLEET, STOPPING_VERBS, OrderAnswer
from shifter.core.records import NewRecord, What
from shifter.core.state import Direction, Intent, ShiftState
from shifter.core.text import plain
from shifter.errors import (
    AmbiguousWriteError,
    ConflictError,
    ProviderRefusedError,
    ProviderUnavailableError,
    RefusedError,
    ShifterError,
)
from shifter.ports import Change, Leadership, Operation, OperationState, Progress, Store, TrafficProvider
from shifter.service.lanes import CallLanes, Priority
from shifter.service.telemetry import Telemetry

BACKLOG_LIMIT = 400
"""The most records that wait for a store that cannot be written."""

_LEFT_OUT = "leftOut"
"""How many records the one that says so stands for."""


@dataclass(slots=True)
class Place:
    """One shift's state as this process knows it, and what of it the store has not taken yet.

    `refused` is why the store would not write over what is there; empty once it has.
    """

    state: ShiftState
    version: int
    records: list[NewRecord] = field(default_factory=list)
    answers: list[OrderAnswer] = field(default_factory=list)
    saved: ShiftState | None = None
    refused: str = ""


class StateWriter:
    """Saves places: state, records and answers in one transaction, or keeps them until the store is back."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry

    def save(self, place: Place, *, may_wait: bool) -> bool:
        """Save what changed; return whether the store has it all.

        Args:
            place: its backlog is emptied when the store takes it.
            may_wait: keep the backlog when the store does not take it, for whatever reason, instead of raising:
                for everything but the beginning of a climb. What was seen is true whether or not it is saved,
                and nothing that is wrong with a store may keep a retreat from being sent.

        Raises:
            ConflictError: somebody else saved this shift.
            ShifterError: the store does not answer or refuses, and `may_wait` is False.
        """
        if place.state == place.saved and not place.records and not place.answers:
            return True
        try:
            place.version = self._store.save(place.state, place.version, place.records, place.answers)
        except ConflictError:
            raise
        except Exception as error:
            place.refused = str(error) if isinstance(error, RefusedError) else place.refused
            if not may_wait:
                # It may have been kept, answers and all. Even if nothing else changes, the next save finds that out.
                place.saved = None
                raise
            self._telemetry.error(place.state.name, error, bug=not isinstance(error, ShifterError))
            _bound(place.records)
            return False
        place.saved, place.refused = place.state, ""
        place.records.clear()
        place.answers.clear()
        return True


def _bound(records: list[NewRecord]) -> None:
    """Keep a backlog's beginning and end; in between, say how much a long outage left out."""
    if len(records) > BACKLOG_LIMIT:
        half = BACKLOG_LIMIT // 2
        gap = records[half : -half + 1]
        count = sum(_stands_for(record) for record in gap)
        said = f"{count} records were left out: the store could not be written for too long"
        told = {_LEFT_OUT: count}
        records[half : -half + 1] = [replace(gap[0], what=What.HOLDS, reason=said, sequence=0, epoch=0, evidence=told)]


def _stands_for(record: NewRecord) -> int:
    """Return how many records one stands for: the gap of an earlier save is a part of this one's."""
    count = record.evidence.get(_LEFT_OUT, 1)
    return count if isinstance(count, int) else 1


@dataclass(slots=True)
class _Errand:
    """One intent's call to one lock domain. `forbidden` says why it must not be sent any more.

    Where one call does not take all routes: `asked` are those of the newest call, and `rest` those that no call has
    taken yet. `apart` says that there were such.
    """

    submitted: Future[Operation] | None = None
    operation: Operation | None = None
    checked: Future[OperationState] | None = None
    call: Call = field(default_factory=lambda: Call(Delivery.UNSENT))
    forbidden: str = ""
    sent: int = 0
    asked: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    apart: bool = False


class Courier:
    """Carries intents' calls to the lock domains and remembers what became of them. Lives as long as the process."""

    def __init__(self, provider: TrafficProvider, lanes: CallLanes, store: Store, leadership: Leadership) -> None:
        self._provider = provider
        self._lanes = lanes
        self._store = store
        self._leadership = leadership
        self._errands: dict[str, dict[int, dict[str, _Errand]]] = {}
        self._draining = False

    def calls(self, shift: str, intent: Intent, domains: Iterable[str]) -> Mapping[str, Call]:
        """Return what became of an intent's calls so far, asking after those that still run.

        An intent of an earlier epoch was possibly sent by a process that is no more: `unknown` unless the
        provider's operation id was saved, which can be asked after.
        """
        errands = self._errands.setdefault(shift, {}).setdefault(intent.sequence, {})
        for domain in domains:
            if domain not in errands:
                errands[domain] = self._inherited(intent, domain)
            self._follow(errands[domain], domain)
        return {domain: errand.call for domain, errand in errands.items()}

    def operations(self, shift: str, intent: Intent) -> dict[str, str]:
        """Return the provider's operation ids known for an intent, by lock domain."""
        errands = self._errands.get(shift, {}).get(intent.sequence, {})
        return {domain: errand.operation.id for domain, errand in errands.items() if errand.operation is not None}

    def send(self, shift: str, intent: Intent, routes: Sequence[Route]) -> None:
        """Line up the calls for `routes` of an intent: one per lock domain, retreats first.

        After a call that took only a part of the routes this is the call for the rest.
        """
        errands = self._errands.setdefault(shift, {}).setdefault(intent.sequence, {})
        wanted = [route for route in routes if route.id in intent.weights]
        for domain in sorted({route.domain for route in wanted}):
            changes = tuple(Change(route, intent.weights[route.id]) for route in wanted if route.domain == domain)
            errand = errands.setdefault(domain, _Errand())
            if errand.submitted is not None and not errand.submitted.done():
                continue
            priority = Priority.RETREAT if intent.direction is Direction.RETREAT else Priority.CLIMB
            errand.operation, errand.checked, errand.forbidden = None, None, ""
            errand.sent += 1
            errand.call = Call(Delivery.QUEUED)
            changes = tuple(change for change in changes if change.route.id in errand.rest) or changes
            errand.asked = tuple(change.route.id for change in changes)
            errand.submitted = self._lanes.run(domain, priority, self._submission(shift, intent, changes, errand))

    def withhold(self, shift: str, intent: Intent, why: str) -> None:
        """Do not send what of an intent still waits in a lane; an order may be answered while it does."""
        for errand in self._errands.get(shift, {}).get(intent.sequence, {}).values():
            errand.forbidden = why

    def trouble(self, shift: str, intent: Intent) -> str:
        """Return what the provider last said against an intent's calls, and how often they were sent; for people."""
        errands = self._errands.get(shift, {}).get(intent.sequence, {})
        said = [_said(errand.call) for errand in errands.values() if _said(errand.call)]
        return f"{'; '.join(said)} (sent {max(errand.sent for errand in errands.values())} times)" if said else ""

    def forget(self, shift: str, keep_sequence: int) -> None:
        """Drop what is known of a shift's intents other than the one named."""
        known = self._errands.get(shift, {})
        self._errands[shift] = {sequence: known[sequence] for sequence in known if sequence == keep_sequence}

    def drain(self) -> None:
        """Start no climb any more, not even one that waits in its lane; retreats go on."""
        self._draining = True

    def in_flight(self) -> bool:
        """Return whether any call has been lined up and not come back."""
        return any(
            errand.submitted is not None and not errand.submitted.done()
            for intents in self._errands.values()
            for errands in intents.values()
            for errand in errands.values()
        )

    def _submission(
        self, shift: str, intent: Intent, changes: tuple[Change, ...], errand: _Errand
    ) -> Callable[[], Operation]:
        def submit() -> Operation:
            # The last look before the call. What a retreat has overtaken in the lane must not come after it, and an
            # order or a lost lease since the decision stops a climb. Only another leader stops a retreat.
            if intent.sequence not in self._errands.get(shift, {}):
                raise _WithheldError("superseded")
            if errand.forbidden:
                raise _WithheldError(errand.forbidden)
            climbs = intent.direction is not Direction.RETREAT
            if climbs and (why := self._forbidden(shift)):
                raise _WithheldError(why)
            if not climbs and not self._leadership.may_lower():
                raise _WithheldError("the lease was lost, and another may lead")
            return self._provider.submit(changes)

        return submit

    def _forbidden(self, shift: str) -> str:
        if self._draining:
            return "shifter is shutting down"
        if shift in self._store.leaving():
            return "somebody is deleting what is saved of it"
        try:
            orders = self._store.open_orders()
        except ShifterError as error:
            return f"orders cannot be read ({error})"
        mine = [order for order in orders if order.request.shift in {shift, FLEET}]
        stopping = [order for order in mine if order.request.verb in STOPPING_VERBS]
        if stopping:
            return f"{stopping[0].request.by} ordered {stopping[0].request.verb}"
        # Last, since to ask the store may take its whole timeout, and the lease with it.
        return "" if self._leadership.valid() else "the lease was lost"

    def _inherited(self, intent: Intent, domain: str) -> _Errand:
        if operation := intent.operations.get(domain):
            return _Errand(operation=Operation(domain, operation), call=Call(Delivery.RUNNING))
        if intent.epoch != self._leadership.epoch:
            return _Errand(call=Call(Delivery.UNKNOWN, "shifter stopped in the middle of it"))
        return _Errand()

    def _follow(self, errand: _Errand, domain: str) -> None:
        """Move an errand on by what its futures say; ask the provider how a running operation stands."""
        if errand.submitted is not None and errand.submitted.done():
            _take_submission(errand)
        if errand.call.delivery is not Delivery.RUNNING or errand.operation is None:
            return
        if errand.checked is None:
            operation = errand.operation
            errand.checked = self._lanes.run(domain, Priority.READ, lambda: self._provider.check(operation))
        if errand.checked.done():
            _take_check(errand)


def _said(call: Call) -> str:
    """A task that does not end says nothing; people must still read what is waited for."""
    return call.message or ("the cloud still calls it running" if call.delivery is Delivery.RUNNING else "")


class _WithheldError(Exception):
    """A climb was stopped right before its call."""


def _take_submission(errand: _Errand) -> None:
    submitted, errand.submitted = errand.submitted, None
    assert submitted is not None  # noqa: S101 - the caller looked
    try:
        errand.operation = submitted.result()
    except _WithheldError as why:
        errand.call = Call(Delivery.WITHHELD, str(why))
    except ProviderUnavailableError as error:
        errand.call = Call(Delivery.PARTLY if errand.rest else Delivery.BUSY, plain(str(error)), errand.apart)
    except AmbiguousWriteError as error:
        errand.call = Call(Delivery.UNKNOWN, plain(str(error)))
    except ProviderRefusedError as error:
        errand.call = Call(Delivery.REFUSED, plain(str(error)))
    except Exception as error:  # noqa: BLE001 - a bug in an adapter: how far the call came, only reading back can tell
        errand.call = Call(Delivery.UNKNOWN, plain(f"{type(error).__name__}: {error}"))
    else:
        left = errand.operation.left
        errand.apart = errand.apart or left > 0
        errand.rest = errand.asked[len(errand.asked) - left :]
        errand.call = Call(Delivery.RUNNING)


def _take_check(errand: _Errand) -> None:
    checked, errand.checked = errand.checked, None
    assert checked is not None  # noqa: S101 - the caller looked
    try:
        state = checked.result()
    except ProviderUnavailableError:
        return
    except Exception as error:  # noqa: BLE001 - the operation is not known, or a bug: only reading back can tell
        errand.call = Call(Delivery.UNKNOWN, plain(str(error)))
        return
    if state.progress is Progress.DONE:
        delivery = Delivery.PARTLY if errand.rest else Delivery.FINISHED
        errand.call = Call(delivery, plain(state.message), errand.apart)
    elif state.progress is Progress.FAILED:
        errand.call = Call(Delivery.FAILED, plain(state.message))
