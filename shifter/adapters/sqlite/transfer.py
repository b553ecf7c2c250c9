"""A SQLite file as one end of a copy (`shifter/ports/transfers.py`): read as a whole, or filled in one transaction.

A new file is like any other, rule for rule: what goes in passes the file's own triggers, so counters only grow, ids
have no gaps that a counter does not know of, and the records are chained here. Killed half-way it holds nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from shifter.adapters import saved_form, saved_records
from shifter.adapters.sqlite.chaining import append_links
from shifter.adapters.sqlite.file import SqliteFile
from shifter.adapters.sqlite.lease import SqliteLease
from shifter.adapters.sqlite.lock import lease_facts
from shifter.adapters.sqlite.mark import Mark
from shifter.adapters.sqlite.place import lock_path, real
from shifter.adapters.sqlite.rows import NEW_ORDER, append, named, order_from, row_of_order
from shifter.adapters.sqlite.store import SqliteStore
from shifter.core.chain import START, Link
from shifter.core.deciding.orders import OrderAnswer
from shifter.core.records import NewRecord
from shifter.core.text import so_many
from shifter.errors import RefusedError
from shifter.ports import WHOLE, SavedFleet
from shifter.ports.transfers import Contents, KeptOrder

_ROWS_AT_ONCE: Final = 500
_LARGEST: Final = 2**63 - 1
_ALL_ORDERS: Final = "SELECT * FROM orders ORDER BY id"
_EPOCH: Final = "SELECT coalesce(max(value), 0) FROM counters WHERE name = 'epoch'"
_RAISE: Final = "UPDATE counters SET value = ? WHERE name = ? AND value < ?"
_COUNTED: Final = {
    "shift": "SELECT count(*) FROM shifts",
    "report": "SELECT count(*) FROM reports",
    "order": "SELECT count(*) FROM orders",
    "record": "SELECT value FROM counters WHERE name = 'history'",
}


class SqliteTransfer:
    """A store's file as one end of a copy.

    Args:
        path: the file; where there is none it is made by the first copy into it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = SqliteFile(path)
        self.store = SqliteStore(path)

    @property
    def place(self) -> str:
        """Where the file is."""
        return str(real(self._path))

    def leader(self) -> str:
        """Return who holds the file's lock; empty if nobody does."""
        facts, lock = lease_facts(self._path), lock_path(self._path)
        if facts.held is None:
            return f"that cannot be told, {lock} cannot be read"
        since = f" (since {facts.since:%Y-%m-%d %H:%M:%S} UTC)" if facts.since else ""
        return f"pid {facts.pid or 'unknown'}{since} holds {lock}" if facts.held else ""

    @contextmanager
    def guarded(self, above: int = 0) -> Iterator[None]:  # noqa: ARG002 - the file counts starts, and `take` raises it
        """Hold the file's lease: it is looked through and upgraded as for a service, and no service starts on it."""
        lease = SqliteLease(self._path)
        try:
            yield
        finally:
            lease.release()

    def occupied(self) -> str:
        """Return what is in the file; empty if nothing is."""
        with self._file.reading() as connection:
            counts = {noun: int(connection.execute(query).fetchone()[0]) for noun, query in _COUNTED.items()}
        said = [so_many(count, noun) for noun, count in counts.items() if count]
        return ", ".join(said) or ("the state of all shifts together" if self.store.load_fleet().version else "")

    def orders(self) -> Sequence[KeptOrder]:
        """Return all orders, by id."""
        with self._file.reading() as connection:
            return tuple(_kept(row) for row in named(connection).execute(_ALL_ORDERS))

    def epoch(self) -> int:
        """Return how many starts there were."""
        with self._file.reading() as connection:
            return int(connection.execute(_EPOCH).fetchone()[0])

    def chain_for(self, shift: str, kept: Container[str]) -> str:  # noqa: ARG002 - one chain for all
        """Return the name of the one chain."""
        return WHOLE

    def check(self, contents: Contents) -> None:
        """Refuse numbers that no file can count on from."""
        if not max(contents.last_order, contents.epoch) < _LARGEST:
            raise RefusedError(f"{self.place} cannot count on from order {contents.last_order}, epoch {contents.epoch}")

    def take(self, contents: Contents, history: Iterable[Link], notes: Sequence[NewRecord]) -> None:
        """Write everything in one transaction that is on the disk on return."""
        rows = [(name, kept.version, saved_form.state_text(kept.state)) for name, kept in contents.states.items()]
        reports = [(name, saved_form.report_text(report)) for name, report in contents.reports.items()]
        ends = [saved_records.link_of(note) for note in notes]
        with self._file.writing() as connection:
            connection.executemany("INSERT INTO shifts (name, version, state) VALUES (?, ?, ?)", rows)
            connection.executemany("INSERT INTO reports (name, report) VALUES (?, ?)", reports)
            _put_fleet(connection, contents.fleet)
            for kept in contents.orders:
                _put_order(connection, kept)
            for value, name in ((contents.last_order, "orders"), (contents.epoch, "epoch")):
                connection.execute(_RAISE, (value, name, value))
            links = iter(history)
            newest = START
            while some := list(islice(links, _ROWS_AT_ONCE)):
                newest = append_links(connection, some)
            newest = append_links(connection, ends) if ends else newest
        Mark(self._path).write(newest)

    def close(self) -> None:
        """Close the file. Calling twice is harmless."""
        self.store.close()
        self._file.close()


def _kept(row: sqlite3.Row) -> KeptOrder:
    order = order_from(row)
    if row["answered_at"] is None:
        return KeptOrder(order)
    with saved_form.understood(f"the answer to order {order.id}"):
        return KeptOrder(order, saved_records.read_moment(row["answered_at"]))


def _put_fleet(connection: sqlite3.Connection, fleet: SavedFleet) -> None:
    """Keep the fleet's state, version and all: the file lets it begin with 1 and go up one at a time."""
    if fleet.version:
        connection.execute("INSERT INTO fleet VALUES (1, 1, ?)", (saved_form.fleet_text(fleet.state),))
        for _ in range(1, fleet.version):
            connection.execute("UPDATE fleet SET version = version + 1")


def _put_order(connection: sqlite3.Connection, kept: KeptOrder) -> None:
    """Keep an order under its own number; the file counts on from there."""
    order = kept.order
    connection.execute(_RAISE, (order.id - 1, "orders", order.id - 1))
    connection.execute(NEW_ORDER, row_of_order(order.request, order.at))
    if order.answer is not None and kept.answered_at is not None:
        append(connection, (), (OrderAnswer(order.id, order.answer, order.answer_text, kept.answered_at),))
