"""The store port on one SQLite file, for one service and any number of commands.

WAL, so that a command reads and gives orders while the service holds the file open; `synchronous=FULL`, so
that an intent is on the disk before the provider is called. One transaction per save: the state, its records
and its answers are remembered together or not at all. The file itself is `file.py`'s matter.

Not for network file systems: neither SQLite's locks nor `flock` can be relied on there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from shifter.adapters import saved_form, saved_records
from shifter.adapters.sqlite.chaining import move_anchor, note_pruned, stretch
from shifter.adapters.sqlite.file import SqliteFile
from shifter.adapters.sqlite.mark import Mark
from shifter.adapters.sqlite.rows import (
    NEW_ORDER,
    append,
    find_order,
    named,
    order_from,
    record_from,
    replace_fleet,
    replace_state,
    row_of_order,
    saved_fleet,
)
from shifter.adapters.sqlite.schema import SET_META
from shifter.core.chain import Stretch
from shifter.core.deciding.orders import Order, OrderAnswer, OrderRequest
from shifter.core.records import NewRecord, Record
from shifter.core.state import FleetState, Report, ShiftState
from shifter.errors import NotFoundError, RefusedError
from shifter.ports import WHOLE, Saved, SavedFleet, Shelf

_LARGEST: Final = 2**63 - 1

_OPEN_ORDERS: Final = "SELECT * FROM orders WHERE answer IS NULL ORDER BY id"
_HISTORY_OF_ALL: Final = "SELECT * FROM history ORDER BY id DESC LIMIT ?"
_HISTORY_OF_ONE: Final = "SELECT * FROM history WHERE shift = ? ORDER BY id DESC LIMIT ?"
# Only the oldest stretch goes, up to the first record to be kept: a record written with a clock that was
# behind must not tear a hole into the ids. One written with a clock that was ahead is passed over, unless there is
# nothing else that is young: then it may be this clock that is behind.
_KEPT_FROM: Final = (
    "SELECT coalesce((SELECT min(id) FROM history WHERE at BETWEEN ? AND ?),"
    " (SELECT min(id) FROM history WHERE at >= ?), 9223372036854775807)"
)
_LATEST: Final = "SELECT coalesce(max(at), '') FROM history WHERE id < ?"
_END_OF_TIME: Final = "~"  # sorts after every moment


MOST_PRUNED: Final = 20_000
"""The most records that one call drops: some tenths of a second."""

_OLDEST: Final = "SELECT coalesce(min(id), 0) FROM history"


class SqliteStore:
    """The store port on one SQLite file; safe for threads, and for processes on the same machine.

    Nothing is opened before the first call. Calls wait at most a few seconds for another writer.

    Args:
        path: the file; it is created, mode 0600, by the first call that writes. Its directory too, mode 0700.

    Raises:
        RefusedError: from a write, if a later version of shifter wrote the file or that state. Reading what
            can still be read goes on.
    """

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)
        self._mark = Mark(path)

    def load(self) -> Shelf[Saved]:
        """Return every shift's saved state, by name; one that is not understood is among them, with why."""
        with self._file.reading() as connection:
            rows = connection.execute("SELECT name, state, version FROM shifts ORDER BY name").fetchall()
        return saved_form.shelf((name, partial(saved_form.saved_from, name, *row)) for name, *row in rows)

    def save(
        self,
        state: ShiftState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        """Save state, records and answers in one transaction that is on the disk on return.

        Raises:
            ConflictError: the saved version is another, or an order was answered before; nothing was written.
            NotFoundError: there is no such order; nothing was written.
            RefusedError: a later version of shifter wrote this state; nothing was written.
            InvariantError: state or records could not be read back from JSON; nothing was written.
        """
        text = saved_form.state_text(state)
        self._write(lambda file: replace_state(file, state.name, text, expected_version), records, answers)
        return expected_version + 1

    def leaving(self) -> Collection[str]:
        """Return nobody: a row is there or not."""
        return ()

    def deleted(self) -> Collection[str]:
        """Return nobody: nothing takes a row away."""
        return ()

    def put_back(self) -> str:
        """Return nothing: a start looks for that, before anybody is given the file; see `lease.py`."""
        return ""

    def believe(self) -> None:
        """Do nothing; see `put_back`."""

    def load_fleet(self) -> SavedFleet:
        """Return what is remembered of all shifts together; the defaults with version 0 if nothing ever was."""
        with self._file.reading() as connection:
            return saved_fleet(connection)

    def save_fleet(
        self,
        state: FleetState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        """Save the fleet's state, records and answers in one transaction that is on the disk on return.

        Raises:
            ConflictError: the saved version is another, or an order was answered before; nothing was written.
            NotFoundError: there is no such order; nothing was written.
            RefusedError: a later version of shifter wrote this state; nothing was written.
            InvariantError: state or records could not be read back from JSON; nothing was written.
        """
        text = saved_form.fleet_text(state)
        self._write(lambda file: replace_fleet(file, text, expected_version), records, answers)
        return expected_version + 1

    def _write(
        self,
        replace: Callable[[sqlite3.Connection], None],
        records: Sequence[NewRecord],
        answers: Sequence[OrderAnswer],
    ) -> None:
        """Replace a saved state, append records and answer orders, all of it or nothing."""
        links = [saved_records.link_of(record) for record in records]
        with self._file.writing() as connection:
            replace(connection)
            newest = append(connection, links, answers)
        if links:
            self._mark.write(newest)

    def report(self, report: Report) -> None:
        """Keep the newest explanation of a shift.

        Not waited for until it is on the disk: there is one per shift and tick, and the next one replaces it.
        """
        text = saved_form.report_text(report)
        with self._file.writing(durable=False) as connection:
            connection.execute("INSERT OR REPLACE INTO reports (name, report) VALUES (?, ?)", (report.name, text))

    def reports(self) -> Shelf[Report]:
        """Return the newest explanation of every shift, by name; one that is not understood is among them, with why."""
        with self._file.reading() as connection:
            rows = connection.execute("SELECT name, report FROM reports ORDER BY name").fetchall()
        return saved_form.shelf((name, partial(saved_form.read_report, name, text)) for name, text in rows)

    def create_order(self, request: OrderRequest, at: datetime) -> Order:
        """Write down what a person asks; on the disk on return.

        Raises:
            RefusedError: a text is too long or nobody asks, or too many orders for that shift wait already.
        """
        saved_form.check_request(request)
        row = row_of_order(request, at)
        with self._file.writing() as connection:
            (waiting,) = connection.execute(
                "SELECT count(*) FROM orders WHERE shift = ? AND answer IS NULL", (request.shift,)
            ).fetchone()
            saved_form.check_room(request, waiting)
            ((order_id,),) = connection.execute(NEW_ORDER, row).fetchall()
        return Order(order_id, at, request)

    def order(self, order_id: int) -> Order:
        """Return one order, answered or not."""
        with self._file.reading() as connection:
            found = find_order(connection, order_id)
        if found is None:
            raise NotFoundError(f"there is no order {order_id}")
        return found

    def open_orders(self, *, recent: bool = False) -> Sequence[Order]:
        """Return the orders nobody answered yet, oldest first, but those that this version does not understand."""
        del recent  # asking costs nothing here
        with self._file.reading() as connection:
            rows = named(connection).execute(_OPEN_ORDERS).fetchall()
        found: list[Order] = []
        for row in rows:
            with suppress(RefusedError):  # one odd order must not hide a rollback; `order` tells who asks for it
                found.append(order_from(row))
        return tuple(found)

    def history(self, name: str | None = None, limit: int = 100) -> Sequence[Record]:
        """Return the newest `limit` records, of one shift or of all, oldest first."""
        most = min(max(limit, 0), _LARGEST)  # SQLite takes a negative limit for none at all
        with self._file.reading() as connection:
            if name is None:
                rows = named(connection).execute(_HISTORY_OF_ALL, (most,)).fetchall()
            else:
                rows = named(connection).execute(_HISTORY_OF_ONE, (saved_form.plain(name), most)).fetchall()
        return tuple(record_from(row) for row in reversed(rows))

    def chains(self) -> Sequence[str]:
        """Return the name of the one chain."""
        return (WHOLE,)

    def chain(self, first: int, limit: int, of: str = WHOLE) -> Stretch:
        """Return at most `limit` records from id `first` on as they are kept, to be checked.

        Raises:
            RefusedError: the file is of a version that chained no records, or chains them otherwise.
            NotFoundError: there is no such chain.
        """
        saved_form.check_whole(of)
        noted = self._mark.read()  # before the file, so that it never says more
        with self._file.reading() as connection:
            connection.execute("BEGIN")  # all of one moment
            try:
                self._file.refuse_unchained(connection)
                return stretch(connection, first, limit, noted)
            finally:
                if connection.in_transaction:  # some errors end it by themselves
                    connection.execute("ROLLBACK")

    def prune(self, before: datetime, now: datetime | None = None) -> int:
        """Drop the oldest records up to the first that is not older, and old answered orders; return how many.

        Of very many records only the oldest `MOST_PRUNED`: nobody else is answered meanwhile. Call again for the rest.
        `prunedBefore` in the file's `meta` says how far back whoever reads it may expect to find everything, and
        `anchor` in its `chain` what the oldest record that is kept follows.
        """
        limit, latest = saved_form.stamp(before), _END_OF_TIME if now is None else saved_form.stamp(now)
        with self._file.writing() as connection:
            ((kept_from,),) = connection.execute(_KEPT_FROM, (limit, latest, limit)).fetchall()
            ((oldest,),) = connection.execute(_OLDEST).fetchall()
            kept_from = min(kept_from, oldest + MOST_PRUNED)
            # The triggers let go of what is older than this row says, and it says so only in here.
            ((newest,),) = connection.execute(_LATEST, (kept_from,)).fetchall()
            connection.execute(SET_META, ("pruning", max(limit, newest and f"{newest}{_END_OF_TIME}")))
            move_anchor(connection, kept_from)
            records = connection.execute("DELETE FROM history WHERE id < ?", (kept_from,)).rowcount
            orders = connection.execute("DELETE FROM orders WHERE answered_at < ?", (limit,)).rowcount
            connection.execute(SET_META, ("pruning", ""))
            connection.execute(SET_META, ("prunedBefore", limit))
            note_pruned(connection)
        return records + orders

    def close(self) -> None:
        """Close the file. Calling twice is harmless; any other call after it finds no store."""
        self._file.close()
