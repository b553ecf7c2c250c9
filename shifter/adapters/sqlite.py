"""The embedded default store: one SQLite file on one machine, for one service and any number of commands.

WAL, so that a command reads and gives orders while the service holds the file open; `synchronous=FULL`, so
that an intent is on the disk before the provider is called. One transaction per save: the state, its records
and its answers are remembered together or not at all. The file itself is `sqlite_file.py`'s matter.

Not for network file systems: neither SQLite's locks nor `flock` can be relied on there.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import shifter
from shifter.adapters import saved_form
from shifter.adapters.sqlite_file import SqliteFile
from shifter.core.orders import Answer, Order, OrderAnswer, OrderRequest, Verb
from shifter.core.records import NewRecord, Record, What
from shifter.core.state import Report, ShiftState
from shifter.errors import ConflictError, NotFoundError, RefusedError, StoreUnavailableError
from shifter.ports import Saved

_LARGEST: Final = 2**63 - 1

_OrderRow = tuple[int, str, str, str, str, str, int, int, str | None, str]
_RecordRow = tuple[int, str, str, str, str, str, int, int, str]

_SET_META: Final = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"
_ORDER_OF_ID: Final = (
    "SELECT id, at, shift, verb, who, why, is_full, is_override, answer, answer_text FROM orders WHERE id = ?"
)
_OPEN_ORDERS: Final = (
    "SELECT id, at, shift, verb, who, why, is_full, is_override, answer, answer_text FROM orders"
    " WHERE answer IS NULL ORDER BY id"
)
_NEW_ORDER: Final = (
    "INSERT INTO orders (id, at, shift, verb, who, why, is_full, is_override)"
    " VALUES ((SELECT value + 1 FROM counters WHERE name = 'orders'), ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)
_NEW_RECORD: Final = (
    "INSERT INTO history (id, at, shift, what, who, why, sequence, epoch, evidence)"
    " VALUES ((SELECT value + 1 FROM counters WHERE name = 'history'), ?, ?, ?, ?, ?, ?, ?, ?)"
)
_HISTORY_OF_ALL: Final = (
    "SELECT id, at, shift, what, who, why, sequence, epoch, evidence FROM history ORDER BY id DESC LIMIT ?"
)
_HISTORY_OF_ONE: Final = (
    "SELECT id, at, shift, what, who, why, sequence, epoch, evidence FROM history"
    " WHERE shift = ? ORDER BY id DESC LIMIT ?"
)
# Only the oldest stretch goes, up to the first record to be kept: a record written with a clock that was
# behind must not tear a hole into the ids.
_PRUNE_HISTORY: Final = (
    "DELETE FROM history WHERE id < coalesce((SELECT min(id) FROM history WHERE at >= ?), 9223372036854775807)"
)


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

    def load(self) -> Mapping[str, Saved]:
        """Return every shift's saved state, by name.

        Raises:
            RefusedError: a later version wrote one of them; leaving it out would look like a new shift.
        """
        with self._file.reading() as connection:
            rows = connection.execute("SELECT name, state, version FROM shifts ORDER BY name").fetchall()
        return {name: Saved(saved_form.read_state(name, text), version) for name, text, version in rows}

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
        rows = [_row_of(record) for record in records]
        with self._file.writing() as connection:
            _replace_state(connection, state.name, text, expected_version)
            connection.executemany(_NEW_RECORD, rows)
            for answer in answers:
                _answer_order(connection, answer)
        return expected_version + 1

    def report(self, report: Report) -> None:
        """Keep the newest explanation of a shift.

        Not waited for until it is on the disk: there is one per shift and tick, and the next one replaces it.
        """
        text = saved_form.report_text(report)
        with self._file.writing(durable=False) as connection:
            connection.execute("INSERT OR REPLACE INTO reports (name, report) VALUES (?, ?)", (report.name, text))

    def reports(self) -> Mapping[str, Report]:
        """Return the newest explanation of every shift, by name."""
        with self._file.reading() as connection:
            rows = connection.execute("SELECT name, report FROM reports ORDER BY name").fetchall()
        return {name: saved_form.read_report(name, text) for name, text in rows}

    def create_order(self, request: OrderRequest, at: datetime) -> Order:
        """Write down what a person asks; on the disk on return.

        Raises:
            RefusedError: a text is too long or nobody asks, or too many orders for that shift wait already.
        """
        saved_form.check_request(request)
        asked = (saved_form.stamp(at), request.shift, request.verb.value, request.by, request.reason)
        with self._file.writing() as connection:
            (waiting,) = connection.execute(
                "SELECT count(*) FROM orders WHERE shift = ? AND answer IS NULL", (request.shift,)
            ).fetchone()
            saved_form.check_room(request.shift, waiting)
            ((order_id,),) = connection.execute(_NEW_ORDER, (*asked, request.full, request.override)).fetchall()
        return Order(order_id, at, request)

    def order(self, order_id: int) -> Order:
        """Return one order, answered or not."""
        with self._file.reading() as connection:
            found = _find_order(connection, order_id)
        if found is None:
            raise NotFoundError(f"there is no order {order_id}")
        return found

    def open_orders(self) -> Sequence[Order]:
        """Return the orders nobody answered yet, oldest first, but those that this version does not understand."""
        with self._file.reading() as connection:
            rows = connection.execute(_OPEN_ORDERS).fetchall()
        found: list[Order] = []
        for row in rows:
            with suppress(RefusedError):  # one odd order must not hide a rollback; `order` tells who asks for it
                found.append(_order_from(row))
        return tuple(found)

    def history(self, name: str | None = None, limit: int = 100) -> Sequence[Record]:
        """Return the newest `limit` records, of one shift or of all, oldest first."""
        most = min(max(limit, 0), _LARGEST)  # SQLite takes a negative limit for none at all
        with self._file.reading() as connection:
            if name is None:
                rows = connection.execute(_HISTORY_OF_ALL, (most,)).fetchall()
            else:
                rows = connection.execute(_HISTORY_OF_ONE, (saved_form.plain(name), most)).fetchall()
        return tuple(_record_from(row) for row in reversed(rows))

    def prune(self, before: datetime) -> int:
        """Drop the oldest records up to the first that is not older, and old answered orders; return how many.

        `prunedBefore` in the file's `meta` says how far back whoever reads it may expect to find everything.
        """
        limit = saved_form.stamp(before)
        with self._file.writing() as connection:
            # The triggers let go of what is older than this row says, and it says so only in here.
            connection.execute(_SET_META, ("pruning", limit))
            records = connection.execute(_PRUNE_HISTORY, (limit,)).rowcount
            orders = connection.execute("DELETE FROM orders WHERE answered_at < ?", (limit,)).rowcount
            connection.execute(_SET_META, ("pruning", ""))
            connection.execute(_SET_META, ("prunedBefore", limit))
        return records + orders

    def close(self) -> None:
        """Close the file. Calling twice is harmless; any other call after it finds no store."""
        self._file.close()


class SqliteLease:
    """The right to raise shares: an OS lock beside the SQLite file, and the count of those who had it.

    The lock is `flock` on `<path>.lock`, so it ends with the process however that ends. The lock file stays:
    removing it would let two processes lock two files of one name. It holds the owner's pid, for people.

    Args:
        path: the store's file, as given to `SqliteStore`.

    Raises:
        RefusedError: another process has it (its pid and since when are in the text), or a later version of
            shifter wrote the file.
        StoreUnavailableError: the file or the lock file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._lock_path = path.with_name(f"{path.name}.lock")
        self._file = SqliteFile(path)
        self._descriptor: int | None = _take_lock(self._lock_path)
        try:
            self._epoch = self._count()
        except BaseException:
            self.release()
            raise

    @property
    def epoch(self) -> int:
        """The number of this start; on the disk before anybody sees it, so no later one has it too."""
        return self._epoch

    def valid(self) -> bool:
        """Return whether the lock is held on the file that others would lock, and the store is still in place."""
        if self._descriptor is None:
            return False
        try:
            ours = os.fstat(self._descriptor)
            theirs = self._lock_path.stat()
        except OSError:
            return False
        return os.path.samestat(ours, theirs) and self._file.in_place()

    def release(self) -> None:
        """Let the lock go. Calling twice is harmless."""
        descriptor, self._descriptor = self._descriptor, None
        self._file.close()
        if descriptor is not None:
            with suppress(OSError):  # the pid in it is for people only
                os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def _count(self) -> int:
        with self._file.writing() as connection:
            connection.execute(_SET_META, ("writtenBy", shifter.__version__))
            ((epoch,),) = connection.execute(
                "UPDATE counters SET value = value + 1 WHERE name = 'epoch' RETURNING value"
            ).fetchall()
        return int(epoch)


def is_held(path: Path) -> bool:
    """Return whether a process holds the lease of the store at `path`; True also where that cannot be told.

    Asks by a shared lock that is let go at once, on the file opened to read: nothing is created or changed.
    """
    try:
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:  # another user's, perhaps: the age of what the service told is all there is to go by
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take_lock(path: Path) -> int:
    """Return the descriptor of the locked lock file, with our pid written into it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            raise RefusedError(f"another shifter runs on this store: {_holder(descriptor)} holds {path}") from error
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise StoreUnavailableError(f"lock file {path}: {error.strerror or error}") from error
    return descriptor


def _holder(descriptor: int) -> str:
    """Return who holds the lock and since when: the pid was written when it was taken, and never after."""
    pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
    since = datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)
    return f"pid {pid} (since {since:%Y-%m-%d %H:%M:%S} UTC)"


def _replace_state(connection: sqlite3.Connection, name: str, text: str, expected_version: int) -> None:
    row = connection.execute("SELECT version, state FROM shifts WHERE name = ?", (name,)).fetchone()
    version, existing = row or (0, None)
    if existing is not None:
        saved_form.read_state(name, existing)
    if version != expected_version:
        raise ConflictError(f"{name} is saved as version {version}, not {expected_version}: somebody else saved it")
    if existing is None:
        connection.execute("INSERT INTO shifts (name, version, state) VALUES (?, 1, ?)", (name, text))
    else:
        connection.execute("UPDATE shifts SET version = version + 1, state = ? WHERE name = ?", (text, name))


def _answer_order(connection: sqlite3.Connection, answer: OrderAnswer) -> None:
    saved_form.check_answerable(answer.order_id, _find_order(connection, answer.order_id))
    connection.execute(
        "UPDATE orders SET answer = ?, answer_text = ?, answered_at = ? WHERE id = ?",
        (answer.answer.value, saved_form.plain(answer.text), saved_form.stamp(answer.at), answer.order_id),
    )


def _find_order(connection: sqlite3.Connection, order_id: int) -> Order | None:
    if not 0 < order_id <= _LARGEST:
        return None
    row = connection.execute(_ORDER_OF_ID, (order_id,)).fetchone()
    return None if row is None else _order_from(row)


def _order_from(row: _OrderRow) -> Order:
    order_id, at, shift, verb, who, why, full, override, answer, answer_text = row
    with saved_form.understood(f"order {order_id}"):
        request = OrderRequest(shift, Verb(verb), who, why, full=bool(full), override=bool(override))
        answered = None if answer is None else Answer(answer)
        return Order(order_id, datetime.fromisoformat(at), request, answered, answer_text)


def _row_of(record: NewRecord) -> tuple[str | int, ...]:
    texts = (saved_form.plain(text) for text in (record.shift, record.what.value, record.by, record.reason))
    evidence = saved_form.evidence_text(record.evidence)
    return (saved_form.stamp(record.at), *texts, record.sequence, record.epoch, evidence)


def _record_from(row: _RecordRow) -> Record:
    record_id, at, shift, what, who, why, sequence, epoch, text = row
    with saved_form.understood(f"record {record_id}"):
        evidence = saved_form.read_evidence(text)
        happened = datetime.fromisoformat(at)
        return Record(record_id, NewRecord(happened, shift, What(what), who, why, sequence, epoch, evidence))
