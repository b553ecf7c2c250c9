"""Orders to all shifts together: obeyed before any shift's turn, so that a freeze stops the very tick that reads it.

A freeze holds from the moment it is read, whether or not the store takes it; lifting one waits for the store, since
a freeze that came back with the next restart would be a surprise, and one that vanished a danger.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime

from shifter.core.deciding.orders import FLEET, OBSERVING, Answer, Order, OrderAnswer, obey_all
from shifter.core.records import SERVICE, NewRecord, What
from shifter.core.state import FleetState, Freeze
from shifter.errors import ConflictError, ShifterError
from shifter.ports import Leadership, SavedFleet, Store
from shifter.service.reporting import record_of_order
from shifter.service.strays import Strays
from shifter.service.telemetry import Telemetry


class Freezer:
    """Knows whether all shifts are frozen. Not thread-safe: the ticker's."""

    def __init__(self, store: Store, leadership: Leadership, mode: str, telemetry: Telemetry) -> None:
        self._store = store
        self._leadership = leadership
        self._mode = mode
        self._telemetry = telemetry
        self._saved = SavedFleet(FleetState(), 0)
        self._unsaved: tuple[Freeze, ...] = ()
        self._strays = Strays()

    @property
    def freezes(self) -> tuple[Freeze, ...]:
        """Who holds all shifts, and why; also what the store has not taken yet."""
        saved = self._saved.state.freezes
        return (*saved, *(freeze for freeze in self._unsaved if freeze.by not in {each.by for each in saved}))

    def load(self) -> None:
        """Take up what the last process remembered.

        Raises:
            StoreUnavailableError: the store does not answer.
            RefusedError: what is saved is not understood.
        """
        self._saved = self._store.load_fleet()
        with suppress(ShifterError):
            # As it is, so that a process that was here before can save over it no more; see `Ticker.load`.
            version = self._store.save_fleet(self._saved.state, self._saved.version)
            self._saved = SavedFleet(self._saved.state, version)

    def refresh(self) -> None:
        """Believe the store: who led before may have obeyed a freeze at its last moment."""
        with suppress(ShifterError):
            found = self._store.load_fleet()
            # A store may answer with what it held a moment ago: a freeze that was just obeyed is not forgotten.
            self._saved = found if found.version >= self._saved.version else self._saved

    def freeze_what_was_put_back(self, now: datetime) -> None:
        """Freeze all shifts, for shifter itself, if what is saved of any was put back: nobody knows what it lacks.

        It holds at once. The store is told to believe what is there once the freeze is saved, not before: a process
        that dies in between finds it again.

        Raises:
            ShifterError: the store does not answer; it is tried again.
        """
        if not (why := self._store.put_back()) or not self._leadership.valid():
            return
        for _ in range(3):  # somebody else may have saved meanwhile
            if any((freeze.by, freeze.reason) == (SERVICE, why) for freeze in self._saved.state.freezes):
                self._store.believe()
                return
            freezes = (*self._saved.state.freezes, Freeze(by=SERVICE, reason=why, at=now))
            frozen = self._saved.state.model_copy(update={"freezes": freezes})
            self._save(frozen, [NewRecord(now, FLEET, What.HOLDS, SERVICE, why)], ())
            if self._unsaved:
                return

    def sort_out(self, orders: Sequence[Order], names: Collection[str]) -> Sequence[Order]:
        """Return the orders to all shifts and to those of these names; any other waits for its shift to appear."""
        return self._strays.sort_out(orders, names)

    def refuse(self, names: Collection[str], now: datetime, *, complete: bool) -> None:
        """Refuse orders for shifts that there are not; to be asked once per look, after the policies were read.

        Args:
            names: the shifts that are known by now.
            now: the wall clock.
            complete: whether every policy could be read.

        Raises:
            ShifterError: the store does not answer, or somebody else saved; it is tried again.
        """
        due = self._strays.due(names, now, complete=complete)
        if not due or not self._leadership.valid():
            return
        # Asked anew: a watch may show what is answered by now, and somebody may have saved a shift by that name.
        kept, waiting = self._store.load(), self._store.open_orders()
        refused = [order for order in waiting if order.id in due and order.request.shift not in kept]
        answers = [OrderAnswer(each.id, Answer.REFUSED, f"no shift {each.request.shift!r}", now) for each in refused]
        records = [record_of_order(FLEET, *each) for each in zip(refused, answers, strict=True)]
        if not answers:
            return
        try:
            version = self._store.save_fleet(self._saved.state, self._saved.version, records, answers)
        except ConflictError:
            self._reload()
            raise
        self._saved = SavedFleet(self._saved.state, version)

    def obey(self, orders: Sequence[Order], now: datetime) -> None:
        """Obey the open orders to the fleet; one that cannot be saved stays open and is obeyed again.

        Without the lease none is: who leads by now would not know of it, and climb on.
        """
        if not self._leadership.valid():
            return
        if not self._obey(orders, now) and self._leadership.valid():
            # Somebody else obeyed first. What they left is believed now, and what is still open is not put off.
            self._obey(orders, now)

    def _obey(self, orders: Sequence[Order], now: datetime) -> bool:
        """Obey what is open as far as this process knows; return False if somebody else saved meanwhile."""
        state, records, answers = self._saved.state, list[NewRecord](), list[OrderAnswer]()
        for order in sorted(orders, key=lambda each: each.id):
            if order.request.shift != FLEET or order.id <= self._saved.state.last_order:
                continue
            if self._mode == "observe":
                answer = OrderAnswer(order.id, Answer.REFUSED, OBSERVING, now)
            else:
                state, answer = obey_all(state, order, now)
            answers.append(answer)
            records.append(record_of_order(FLEET, order, answer))
        return not answers or self._save(state, records, answers)

    def _save(self, state: FleetState, records: Sequence[NewRecord], answers: Sequence[OrderAnswer]) -> bool:
        try:
            version = self._store.save_fleet(state, self._saved.version, records, answers)
        except ConflictError as error:
            self._telemetry.error(FLEET, error, bug=False)
            self._unsaved = self._unsaved or state.freezes
            self._reload()
            return False
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a store keeps no shift from going back
            self._telemetry.error(FLEET, error, bug=not isinstance(error, ShifterError))
            self._unsaved = self._unsaved or state.freezes
        else:
            self._saved, self._unsaved = SavedFleet(state, version), ()
        return True

    def _reload(self) -> None:
        try:
            self._saved, self._unsaved = self._store.load_fleet(), ()
        except Exception as error:  # noqa: BLE001 - as above
            self._telemetry.error(FLEET, error, bug=not isinstance(error, ShifterError))
