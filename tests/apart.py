"""One end of a copy in memory, which keeps a chain per shift and no orders that were answered, as one in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from shifter.adapters import saved_records
from shifter.core.chain import START, Link, Seal, Stretch, chained
from shifter.core.deciding.orders import FLEET
from shifter.core.records import NewRecord
from shifter.core.state import FleetState
from shifter.errors import ConflictError, NotFoundError, RefusedError
from shifter.ports import SavedFleet, Shelf, Store
from shifter.ports.transfers import Contents, KeptOrder

NUMBERED_FROM = 5_000


class Apart:
    """What a store in a cluster is to a copy. `meddle` may spoil what comes in; `alive` is a leader, in words."""

    def __init__(self, place: str = "namespace shifter-system of lab") -> None:
        self.place = place
        self.alive = ""
        self.contents = Contents({}, SavedFleet(FleetState(), 0), {}, (), 0)
        self.links: dict[str, list[Link]] = {}
        self.meddle: Callable[[Contents], Contents] = lambda contents: contents
        self.guards: list[str] = []
        self.closed = 0
        self.frozen_fails = ""
        self.above = 0

    @property
    def store(self) -> Store:
        """Itself, as far as a copy asks anything of the port."""
        kept: Any = self
        return cast("Store", kept)

    def leader(self) -> str:
        return self.alive

    @contextmanager
    def guarded(self, above: int = 0) -> Iterator[None]:
        self.above = above
        if self.alive:
            raise RefusedError(f"another shifter leads {self.place}: {self.alive}")
        self.guards.append("taken")
        try:
            yield
        finally:
            self.guards.append("let go")

    def occupied(self) -> str:
        count = len(self.contents.states) + sum(map(len, self.links.values()))
        return f"{count} objects" if count else ""

    def orders(self) -> Sequence[KeptOrder]:
        return self.contents.orders

    def epoch(self) -> int:
        return self.contents.epoch

    def chain_for(self, shift: str, kept: Container[str]) -> str:
        return shift if shift in kept else FLEET

    def check(self, contents: Contents) -> None:
        if contents.last_obeyed >= NUMBERED_FROM:
            raise RefusedError(f"orders up to {contents.last_obeyed} were answered, and new ones begin before that")
        if waiting := [kept.order.id for kept in contents.orders if kept.order.answer is None]:
            raise RefusedError(f"orders wait for an answer: {waiting}")

    def take(self, contents: Contents, history: Iterable[Link], notes: Sequence[NewRecord]) -> None:
        for link in (*history, *map(saved_records.link_of, notes)):
            self._append(link, self.chain_for(link.shift, contents.states))
        self.contents = self.meddle(replace(contents, orders=(), epoch=contents.epoch + 1))

    def close(self) -> None:
        self.closed += 1

    def load(self) -> Shelf[Any]:
        return Shelf(self.contents.states)

    def load_fleet(self) -> SavedFleet:
        return self.contents.fleet

    def reports(self) -> Shelf[Any]:
        return Shelf(self.contents.reports)

    def chains(self) -> Sequence[str]:
        return tuple({FLEET: None} | dict.fromkeys([*self.contents.states, *self.links]))

    def chain(self, first: int, limit: int, of: str) -> Stretch:
        if of not in self.chains():
            raise NotFoundError(of)
        links = self.links.get(of, [])
        head = Seal(links[-1].id, links[-1].hash) if links else START
        return Stretch(START, head, None, [link for link in links if link.id >= first][:limit])

    def save_fleet(self, state: FleetState, expected_version: int, records: Sequence[NewRecord]) -> int:
        if self.frozen_fails:
            raise ConflictError(self.frozen_fails)
        self.contents = replace(self.contents, fleet=SavedFleet(state, expected_version + 1))
        for record in records:
            link = saved_records.link_of(record)
            self._append(link, link.shift)
        return expected_version + 1

    def _append(self, link: Link, chain: str) -> None:
        links = self.links.setdefault(chain, [])
        head = Seal(links[-1].id, links[-1].hash) if links else START
        links.append(chained(head, link))
