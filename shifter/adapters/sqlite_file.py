"""One SQLite file: its schema, how it is opened and checked, and its errors in shifter's words.

What the tables mean is `sqlite.py`'s; here is what keeps the file true whoever writes to it. The rules that
must hold even against a person with the `sqlite3` shell (history is only appended to, ids have no gaps, an
order is answered once, counters only grow) are triggers in the file itself.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import shifter
from shifter.core.orders import Answer, Verb
from shifter.errors import RefusedError, StoreUnavailableError

FILE_VERSION: Final = 1
"""The schema version of the file (`user_version`, and `schemaVersion` in `meta`); later ones are only read."""

BUSY_SECONDS: Final = 3.0
"""How long a call waits for another process that is writing."""

TURN_SECONDS: Final = 10.0
"""How long a call waits for other threads of this process: three calls that each find the file busy."""

_APPLICATION_ID: Final = 0x73686674  # "shft": tells our file from any other program's

_SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
    "CREATE TABLE shifts (name TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL) STRICT",
    "CREATE TABLE reports (name TEXT PRIMARY KEY, report TEXT NOT NULL) STRICT",
    f"""CREATE TABLE orders (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, shift TEXT NOT NULL,
        verb TEXT NOT NULL CHECK (verb IN ({", ".join(f"'{verb}'" for verb in Verb)})),
        who TEXT NOT NULL, why TEXT NOT NULL, is_full INTEGER NOT NULL, is_override INTEGER NOT NULL,
        answer TEXT CHECK (answer IN ({", ".join(f"'{answer}'" for answer in Answer)})),
        answer_text TEXT NOT NULL DEFAULT '', answered_at TEXT,
        CHECK ((answer IS NULL) = (answered_at IS NULL))) STRICT""",
    "CREATE INDEX open_orders ON orders (shift) WHERE answer IS NULL",
    """CREATE TABLE history (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, shift TEXT NOT NULL, what TEXT NOT NULL, who TEXT NOT NULL,
        why TEXT NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, evidence TEXT NOT NULL) STRICT""",
    "CREATE INDEX history_of_shift ON history (shift, id)",
    """CREATE TRIGGER counters_grow BEFORE UPDATE ON counters
        WHEN NEW.name <> OLD.name OR NEW.value <= OLD.value
        BEGIN SELECT RAISE(ABORT, 'a counter only grows'); END""",
    """CREATE TRIGGER counters_stay BEFORE DELETE ON counters
        BEGIN SELECT RAISE(ABORT, 'a counter is never dropped'); END""",
    """CREATE TRIGGER shifts_move_on BEFORE UPDATE ON shifts
        WHEN NEW.name <> OLD.name OR NEW.version <> OLD.version + 1
        BEGIN SELECT RAISE(ABORT, 'a saved state is replaced by its next version only'); END""",
    """CREATE TRIGGER history_in_order BEFORE INSERT ON history
        WHEN NEW.id IS NOT (SELECT value + 1 FROM counters WHERE name = 'history')
        BEGIN SELECT RAISE(ABORT, 'history has no gaps'); END""",
    """CREATE TRIGGER history_counted AFTER INSERT ON history
        BEGIN UPDATE counters SET value = NEW.id WHERE name = 'history'; END""",
    """CREATE TRIGGER history_fixed BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'history is only appended to'); END""",
    """CREATE TRIGGER history_kept BEFORE DELETE ON history
        WHEN OLD.at >= coalesce((SELECT value FROM meta WHERE name = 'pruning'), '')
        BEGIN SELECT RAISE(ABORT, 'history is only appended to'); END""",
    """CREATE TRIGGER orders_in_order BEFORE INSERT ON orders
        WHEN NEW.answer IS NOT NULL OR NEW.id IS NOT (SELECT value + 1 FROM counters WHERE name = 'orders')
        BEGIN SELECT RAISE(ABORT, 'orders begin unanswered and have no gaps'); END""",
    """CREATE TRIGGER orders_counted AFTER INSERT ON orders
        BEGIN UPDATE counters SET value = NEW.id WHERE name = 'orders'; END""",
    """CREATE TRIGGER orders_answered_once BEFORE UPDATE ON orders
        WHEN OLD.answer IS NOT NULL OR NEW.answer IS NULL
            OR (NEW.id, NEW.at, NEW.shift, NEW.verb, NEW.who, NEW.why, NEW.is_full, NEW.is_override)
            IS NOT (OLD.id, OLD.at, OLD.shift, OLD.verb, OLD.who, OLD.why, OLD.is_full, OLD.is_override)
        BEGIN SELECT RAISE(ABORT, 'an order is answered once and not rewritten'); END""",
    """CREATE TRIGGER orders_kept BEFORE DELETE ON orders
        WHEN OLD.answer IS NULL OR OLD.answered_at >= coalesce((SELECT value FROM meta WHERE name = 'pruning'), '')
        BEGIN SELECT RAISE(ABORT, 'an order is kept until it is answered and old'); END""",
    "INSERT INTO counters VALUES ('epoch', 0), ('history', 0), ('orders', 0)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {FILE_VERSION}",
)

_ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "another process is writing; it is tried again",
    sqlite3.SQLITE_LOCKED: "another call is writing; it is tried again",
    sqlite3.SQLITE_FULL: "free some space on that disk",
    sqlite3.SQLITE_IOERR: "look at the disk and at the kernel's log",
    sqlite3.SQLITE_CORRUPT: "stop the service, keep the file, and restore a backup",
    sqlite3.SQLITE_NOTADB: "this is no SQLite file: check the path, or restore a backup",
    sqlite3.SQLITE_READONLY: "make the file and its directory writable for this user",
    sqlite3.SQLITE_CANTOPEN: "check that the file and its directory may be read by this user",
}


class SqliteFile:
    """One connection to one file, made on first use, used by one thread at a time.

    Reading a file that does not exist finds nothing and creates nothing. A file that was replaced or removed
    while it is open is not used again: what is written to it would be lost with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._frozen = False
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection for single queries.

        Raises:
            StoreUnavailableError: the file cannot be read, is busy, was replaced, or this is closed.
            RefusedError: the file is another program's.
        """
        with self._turn():
            if self._identity is None and not self.path.exists():
                with closing(sqlite3.connect(":memory:", isolation_level=None)) as nothing:
                    _create_schema(nothing)
                    yield nothing
            else:
                yield self._opened()

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Yield the connection inside one write transaction: all of it is kept, or nothing.

        Args:
            durable: wait until the disk has it. Without, a power cut may take it back, but never half of it.

        Raises:
            StoreUnavailableError: not written. If the disk failed during the last step, it may be written
                after all: load again and compare versions.
            RefusedError: a later version wrote the file, or it is another program's.
        """
        with self._turn():
            connection = self._opened()
            connection.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._refuse_later_version(connection)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def in_place(self) -> bool:
        """Return whether the path still leads to the file that was opened."""
        try:
            return self._identity == _identity_of(self.path)
        except OSError:
            return False

    def close(self) -> None:
        """Close the file. Calling twice is harmless."""
        with self._lock:
            self._closed = True
            self._drop()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for this thread's turn, and translate what goes wrong in it."""
        if not self._lock.acquire(timeout=TURN_SECONDS):
            raise StoreUnavailableError(f"state store {self.path}: other calls have kept it for {TURN_SECONDS:g} s")
        try:
            if self._closed:
                raise StoreUnavailableError(f"state store {self.path} is closed")
            yield
        except sqlite3.Error as error:
            # Code 0 is for errors the Python module itself raises. A busy file is a healthy one; after any
            # other error the connection may be what is broken, so the next call makes a new one.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code != sqlite3.SQLITE_BUSY:
                self._drop()
            advice = _ADVICE.get(code, "see the cause")
            raise StoreUnavailableError(f"state store {self.path}: {error}; {advice}") from error
        except OSError as error:
            raise StoreUnavailableError(f"state store {self.path}: {error.strerror or error}") from error
        finally:
            self._lock.release()

    def _opened(self) -> sqlite3.Connection:
        if self._identity is not None and not self.in_place():
            self._drop()
            raise StoreUnavailableError(
                f"state store {self.path} was replaced or removed while in use; nothing more is written to it:"
                " restart with the file that is meant"
            )
        if self._frozen:
            self._drop()
        if self._connection is None:
            _create_file(self.path)
            self._connection, self._frozen = _connect(self.path)
            self._identity = _identity_of(self.path)
        return self._connection

    def _refuse_later_version(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > FILE_VERSION:
            row = connection.execute("SELECT value FROM meta WHERE name = 'writtenBy'").fetchone()
            raise RefusedError(
                f"state store {self.path} has schema version {version}, written by shifter {row[0] if row else '?'};"
                f" this one ({shifter.__version__}) knows {FILE_VERSION} and only reads it: run the later version"
            )

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _identity_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _create_file(path: Path) -> None:
    """Create the file, for its owner alone; SQLite gives its side files the same mode.

    Only if it does not exist: closing a second descriptor of a live database would drop SQLite's locks.
    """
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _connect(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Open the file to write, or to read where it may not be written (SQLite falls back by itself).

    Returns:
        The connection, and whether it takes the file for one that nobody changes: good for one call.
    """
    address = path.absolute().as_uri()
    try:
        return _connect_to(path, f"{address}?mode=rw"), False
    except sqlite3.OperationalError as error:
        # A reader needs the log's side files, and may not create them in a read-only directory. Without
        # a log nobody is writing, and the file alone is the whole truth.
        alone = not path.with_name(f"{path.name}-wal").exists()
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY} or not alone:
            raise
        return _connect_to(path, f"{address}?mode=ro&immutable=1"), True


def _connect_to(path: Path, address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is ours, and create the schema in an empty one."""
    # One statement, so that a schema being created by another process is seen as a whole or not at all.
    application, tables = connection.execute(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if application == _APPLICATION_ID:
        return
    if application or tables:
        raise RefusedError(f"{path} is another program's SQLite file; give shifter a path of its own")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreUnavailableError(f"state store {path}: no write-ahead log there; is it a network or read-only disk?")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        _create_schema(connection)
    connection.execute("COMMIT")


def _create_schema(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)
    meta = {"schemaVersion": str(FILE_VERSION), "writtenBy": shifter.__version__, "pruning": ""}
    connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", meta.items())
