"""Where everything is kept that all processes share: state, orders, history and the lease; and a process's part in it.

There are two worlds of it, and all the rest of a run is the same in both. Here is the one in which calls of the store
port are what can go wrong, with a lease of the simulation's own; `cluster.py` has the one in which the real store and
the real lease stand before an API server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shifter.adapters.memory_store import MemoryStore
from shifter.core.deciding.orders import OrderRequest
from shifter.errors import StoreUnavailableError
from shifter.lab.checker import seen
from shifter.ports import Leadership, Store
from tests.sim.calls import Door
from tests.sim.dice import Dice
from tests.sim.doors import DoorStore, Library
from tests.sim.kernel import Kernel
from tests.sim.lease import RETRY_SECONDS, Lease, LeaseRecord


@dataclass(frozen=True, slots=True)
class Member:
    """One process, as who keeps things knows it: its door, its machine's clocks, and whether the network lets it out.

    `true_at` turns what its clock said into true seconds; `stoppable` is the part of its polls that can stop in the
    middle; `tell` writes into the run's log.
    """

    name: str
    door: Door
    monotonic: Callable[[], float]
    wall: Callable[[], datetime]
    reaches: Callable[[], bool]
    true_at: Callable[[datetime], float]
    dice: Dice
    stoppable: float
    tell: Callable[[str], None]


class Seat(Protocol):
    """One process's part in it, from its start to its end."""

    @property
    def store(self) -> Store:
        """The `Store` of this process."""

    @property
    def leadership(self) -> Leadership:
        """The `Leadership` of this process, without a door before it."""

    def poll(self) -> None:
        """Renew the lease or try to get it, if that is due."""

    def leads(self) -> bool:
        """Whether a service may begin."""

    def is_over(self) -> bool:
        """Whether this process led, and must end."""

    def rob(self) -> None:
        """Have the lease taken away, if it is this process's."""

    def release(self) -> None:
        """Give the lease up, so that nobody has to wait."""

    def kill(self) -> None:
        """Let what is under way unwind: the process is dead."""


class Keeping(Protocol):
    """What is kept, and what the world asks of it. `poll_seconds` is how often seats are asked to poll."""

    poll_seconds: float
    library: Library

    @property
    def saved(self) -> Store:
        """All that is saved, for people: nothing goes wrong on the way to it."""

    def join(self, member: Member) -> Seat:
        """Give a process that starts its part."""

    def order(self, request: OrderRequest, at: datetime) -> int:
        """Write down what a person asks, and return the order's id."""

    def orders(self, given: Sequence[seen.Given], *, rests: bool) -> Sequence[seen.OrderRow]:
        """Return the orders as they are kept; when each was given is what its giver knows.

        Once everything `rests`, an answer has to be where who gave the order looks for it.
        """

    def audit(self) -> Store:
        """Return all that is saved as somebody finds it who has just come."""

    def steal(self) -> str:
        """Let somebody take the lease away from who holds it, and return who that was."""

    def doubts(self) -> Sequence[tuple[str, float, float]]:
        """Return who could not be sure of its lease from when to when, through no fault of its own."""


class MemorySeat:
    """One process's part in a store in memory."""

    def __init__(self, member: Member, library: Library, record: LeaseRecord) -> None:
        self._lease = Lease(record, member.name, member.monotonic, member.reaches)
        self._store = DoorStore(member.door, library, member.true_at, member.reaches)

    @property
    def store(self) -> Store:
        """The `Store` of this process."""
        return self._store

    @property
    def leadership(self) -> Leadership:
        """The `Leadership` of this process."""
        return self._lease

    def poll(self) -> None:
        """Renew the lease, or try to get it."""
        if self._lease.epoch:
            self._lease.renew()
        else:
            self._lease.try_to_take()

    def leads(self) -> bool:
        """Whether it got the lease."""
        return self._lease.epoch > 0

    def is_over(self) -> bool:
        """Whether the lease it had is over."""
        return self._lease.epoch > 0 and not self._lease.valid()

    def rob(self) -> None:
        """Have the lease taken away."""
        self._lease.revoke()

    def release(self) -> None:
        """Give the lease up."""
        self._lease.release()

    def kill(self) -> None:
        """Nothing is ever under way."""


class MemoryKeeping:
    """A store in memory, and a lease record."""

    poll_seconds = RETRY_SECONDS

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._saved = MemoryStore()
        self._lease = LeaseRecord()
        self.library = Library(self._saved, lambda: kernel.now)

    @property
    def saved(self) -> Store:
        """All that is saved."""
        return self._saved

    def join(self, member: Member) -> Seat:
        """Give a process its doors."""
        return MemorySeat(member, self.library, self._lease)

    def order(self, request: OrderRequest, at: datetime) -> int:
        """Write an order down."""
        if self._kernel.now < self.library.away_until:
            raise StoreUnavailableError("the store does not answer")
        return self._saved.create_order(request, at).id

    def orders(self, given: Sequence[seen.Given], *, rests: bool) -> Sequence[seen.OrderRow]:
        """Return the orders that were given."""
        del rests
        found = []
        for each in given:
            if not each.order_id:
                continue
            order = self._saved.order(each.order_id)
            asked = order.request
            found.append(
                seen.OrderRow(
                    id=order.id,
                    at=each.at,
                    shift=asked.shift,
                    verb=str(asked.verb),
                    by=asked.by,
                    answer=str(order.answer or ""),
                    full=asked.full,
                    override=asked.override,
                    share=asked.share,
                    hands_off_seconds=asked.hands_off.total_seconds() if asked.hands_off else 0.0,
                    adopt=asked.adopt,
                )
            )
        return found

    def audit(self) -> Store:
        """Nobody keeps anything in mind."""
        return self._saved

    def steal(self) -> str:
        """Empty the record."""
        holder, self._lease.holder = self._lease.holder, ""
        return holder

    def doubts(self) -> Sequence[tuple[str, float, float]]:
        """Nobody who asks the record is left in doubt."""
        return ()
