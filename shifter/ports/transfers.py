"""A whole store, as it is moved into another: what is in it, and the door that each end opens for that.

Apart from the others, since the service has no use for it: only `shifter store copy` moves a store, and no leader may
be alive on either side then. What the `Store` port offers is enough to read almost everything. This adds what keeps a
leader out, and the way in that the port has not on purpose: records as they were written, states with their versions.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shifter.core.chain import Link
from shifter.core.deciding.orders import Order
from shifter.core.records import NewRecord
from shifter.core.state import Report
from shifter.ports.store import Saved, SavedFleet, Store


@dataclass(frozen=True, slots=True)
class KeptOrder:
    """An order, and when it was answered; None if it was not."""

    order: Order
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything in a store but its history.

    `epoch` is the newest that any leader of it had: the next leader of a store that takes these must have a higher one,
    or it would take the intents of another for its own.
    """

    states: Mapping[str, Saved]
    fleet: SavedFleet
    reports: Mapping[str, Report]
    orders: Sequence[KeptOrder]
    epoch: int

    @property
    def last_obeyed(self) -> int:
        """The newest order that a state remembers as answered: one with a lower number is never obeyed again."""
        return max([self.fleet.state.last_order, *(saved.state.last_order for saved in self.states.values())])

    @property
    def last_order(self) -> int:
        """The newest order that is remembered, or that is there."""
        return max([self.last_obeyed, *(kept.order.id for kept in self.orders)])


class Transferable(Protocol):
    """One end of a copy. Each call is bounded in time, except `take`, which takes as long as there is something.

    Raises from any call:
        StoreUnavailableError: the store cannot answer.
        RefusedError: what is in it cannot be read, or be written over.
    """

    @property
    def place(self) -> str:
        """Where the store is, for people: `/var/lib/shifter/shifter.db`, `namespace shifter-system of CLUSTER`."""

    @property
    def store(self) -> Store:
        """The store itself, for all that the port can do."""

    def leader(self) -> str:
        """Return who leads on this store now, and where that is written; empty if nobody does."""

    def guarded(self, above: int = 0) -> AbstractContextManager[None]:
        """Keep every leader out for the time of the block, as a leader would: by holding the lease.

        Entering it may take as long as a hand-over between leaders.

        Args:
            above: an epoch that no later leader of this store may have; nothing that is there has one above it.

        Raises:
            RefusedError: a leader is alive; who and where are in the text.
        """

    def occupied(self) -> str:
        """Return what is in the store, as `3 shifts and 1,204 records`; empty if nothing is.

        What an interrupted copy left behind is something, and is called that.
        """

    def orders(self) -> Sequence[KeptOrder]:
        """Return all orders that are kept, by id."""

    def epoch(self) -> int:
        """Return the newest epoch that any leader had; 0 if there was none."""

    def chain_for(self, shift: str, kept: Container[str]) -> str:
        """Return in which of this store's chains (`Store.chains`) a record on a shift, or on `FLEET`, belongs.

        Args:
            shift: what the record is about.
            kept: the shifts of which a state is saved; a record may be about one that is gone.
        """

    def check(self, contents: Contents) -> None:
        """Refuse what this store cannot take, before anything is written.

        Raises:
            RefusedError: a name is none here; orders from now on would be numbered below `contents.last_obeyed`, and so
                be taken for answered; or orders wait of which it could not keep who gave them and when.
        """

    def take(self, contents: Contents, history: Iterable[Link], notes: Sequence[NewRecord]) -> None:
        """Make everything this store's own; only into one that is not occupied, and inside `guarded`.

        States, fleet and reports are kept as they are, versions too. The texts of records are kept to the byte; ids
        and hashes are of this store's own chains, in the order in which records come. Orders are kept with who and
        when, or left out if they were answered: the history has them. The next
        leader's epoch is above `contents.epoch`. A kill in the middle leaves a store with nothing in it, or one on
        which no leader raises a share, and of which `occupied` tells what it is.

        Args:
            contents: everything but history.
            history: all records, oldest first; those of one chain in its order.
            notes: records to append after all others.

        Raises:
            StoreUnavailableError: it failed on the way.
        """

    def close(self) -> None:
        """Let go of everything. Calling twice is harmless."""
