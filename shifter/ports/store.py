"""What remembers shifts, orders and history."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeVar

from shifter.core.chain import Stretch
from shifter.core.deciding.orders import Order, OrderAnswer, OrderRequest
from shifter.core.records import NewRecord, Record
from shifter.core.state import FleetState, Report, ShiftState
from shifter.errors import RefusedError

T = TypeVar("T")


WHOLE: Final = ""
"""The name of the one chain of a store that keeps all history in one."""


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

    def leaving(self) -> Collection[str]:
        """Return the shifts that somebody is deleting from the store, as far as it has noticed; asks nobody.

        What is saved of them is kept until a person insists. Empty where nobody could delete one that is looked after.
        """

    def deleted(self) -> Collection[str]:
        """Return the shifts of which something was saved and nothing is any more, each once; to be asked in each look.

        Somebody insisted on deleting them, and what is saved next of them begins with version 0. It may take a few
        looks until it is noticed; what cannot be told now is told later. Empty where nobody could delete one.
        """

    def put_back(self) -> str:
        """Return how it shows, as of the last loads and saves, that something saved was put back from a backup.

        A sentence for people; empty if nothing shows it, and where a start looks for that itself. Asks nobody. It is
        said until `believe`, by whichever process loads it.
        """

    def believe(self) -> None:
        """Take what was put back for what counts from now on, once all shifts are frozen and that is saved.

        Raises:
            ConflictError: somebody is deleting it.
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
