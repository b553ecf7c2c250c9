"""One SQLite file: how it is opened, checked, upgraded and locked, and its errors in shifter's words.

What is in the tables is `store.py`'s matter, what the tables are `schema.py`'s.
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
from shifter.adapters.sqlite.lock import lost_to_service
from shifter.adapters.sqlite.opening import open_to_read, open_to_write
from shifter.adapters.sqlite.place import Identity, identity_of, index_of, is_whole, log_of, real
from shifter.adapters.sqlite.schema import (
    APPLICATION_ID,
    CHAINED,
    FILE_VERSION,
    create_schema,
    refuse_misnumbered,
    upgrade,
    version_of,
)
from shifter.core.text import why
from shifter.errors import RefusedError, StoreUnavailableError

__all__ = ["BUSY_SECONDS", "FILE_VERSION", "TURN_SECONDS", "SqliteFile"]

BUSY_SECONDS: Final = 3.0
"""How long a call waits for another process that is writing."""

TURN_SECONDS: Final = 10.0
"""How long a call waits for other threads of this process: three calls that each find the file busy."""

_IMPATIENT_SECONDS: Final = 0.01
"""How long a call waits once one has waited in vain: a tick with many shifts must not wait anew for each of them."""

_MISPLACED: Final = (
    "was replaced or removed while in use; nothing more is written: stop the service (by SIGTERM: what it still has is"
    " folded into the file), put the file that is meant in place, and start it"
)

_ACCESS: Final = "make the file, its -wal and -shm and their directory readable and writable for this user"

_ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked (an open `sqlite3`?): let it end what it does",
    sqlite3.SQLITE_LOCKED: "another call is writing; it is tried again",
    sqlite3.SQLITE_FULL: "free some space on that disk; a service that is started on it cannot go back by itself",
    sqlite3.SQLITE_IOERR: "look at the disk and at the kernel's log",
    sqlite3.SQLITE_CORRUPT: "it is damaged: stop the service, keep the file, and restore a backup",
    sqlite3.SQLITE_NOTADB: "this is no SQLite file: check the path, or restore a backup",
    sqlite3.SQLITE_READONLY: _ACCESS,
    sqlite3.SQLITE_CANTOPEN: f"{_ACCESS}, or raise the limit of open files (ulimit -n)",
}

# What no damage to a page shows: history ends with its counter unless all of it was pruned.
_MIXED: Final = """SELECT coalesce((SELECT max(id) FROM history), records) <> records
        OR coalesce((SELECT max(id) FROM orders), 0) > orders
    FROM (SELECT coalesce((SELECT value FROM counters WHERE name = 'history'), -1) AS records,
        coalesce((SELECT value FROM counters WHERE name = 'orders'), -1) AS orders)"""


class SqliteFile:
    """One connection to one file, made on first use, used by one thread at a time.

    Reading a file that does not exist finds nothing and creates nothing. A file that was replaced or removed
    while it is open is not used again, nor is one whose write-ahead log was: what is written would be lost with it.

    Args:
        path: the file; a symbolic link is followed here, once.
        of_lease: this is the file of whoever has just taken the lease, and the first to be opened under it.
        turn_seconds: how long a call waits for other threads of this process.
    """

    def __init__(self, path: Path, *, of_lease: bool = False, turn_seconds: float = TURN_SECONDS) -> None:
        self.path = real(path)
        self._turn_seconds = self._longest_turn_seconds = turn_seconds
        self._of_lease = of_lease
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._beside: dict[Path, Identity] = {}
        self._patience_seconds = BUSY_SECONDS
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
                    create_schema(nothing)
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
            RefusedError: another version wrote the file, or it is another program's.
        """
        with self._turn():
            connection = self._opened()
            connection.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA busy_timeout = {int(1000 * self._patience_seconds)}")
            with _transaction(connection):
                self._refuse_other_version(connection)
                yield connection
            self._patience_seconds = BUSY_SECONDS

    def upgrade(self) -> Path | None:
        """Make a file of an earlier version one of this version, or leave it as it was.

        Only for whoever holds the lease: a command must not change the file under a service of that version.

        Returns:
            Where a copy of the file as it was has been put; None if nothing was to be done.

        Raises:
            StoreUnavailableError: it cannot be written or copied (no space, say); the file is as it was.
            RefusedError: its tables are not of the version that it says.
        """
        with self._turn():
            connection = self._opened()
            refuse_misnumbered(connection, self.path)
            if version_of(connection) >= FILE_VERSION:
                return None
            copy = _copied(connection, self.path)
            connection.execute("PRAGMA synchronous = FULL")
            with _transaction(connection):
                upgrade(connection)
            return copy

    def refuse_unchained(self, connection: sqlite3.Connection) -> None:
        """Refuse to look for a chain in a file of a version that has none, or has it otherwise.

        Raises:
            RefusedError: it is of such a version.
        """
        version = version_of(connection)
        if version < CHAINED:
            refuse_misnumbered(connection, self.path)
            raise RefusedError(
                f"state store {self.path} has schema version {version}, and records are chained only from {CHAINED} on:"
                " restart the service with this shifter, that upgrades the file"
            )
        if version > FILE_VERSION:
            self._refuse_other_version(connection)

    def examine(self) -> None:
        """Look the whole file through, and have it keep a write-ahead log (a copy made by SQLite may have none).

        Takes about a second for 400 MB.

        Raises:
            RefusedError: it is damaged; what is wrong first, and what to do, is in the text.
            StoreUnavailableError: it cannot be read.
        """
        with self._turn():
            connection = self._opened()
            if damage := _damage(connection):
                raise RefusedError(
                    f"state store {self.path} is damaged: {damage}; nothing was changed. Keep the file, put a backup in"
                    " its place and start again: what the cloud has is compared with it before anything is raised"
                )
            _keep_log(connection, self.path)

    def in_place(self) -> bool:
        """Return whether the path still leads to the file that was opened, and its log is the one in use."""
        return not self._misplaced()

    def _misplaced(self) -> str:
        """Return what was replaced or removed since it was opened; empty if all is in place."""
        for path, identity in ((self.path, self._identity), *self._beside.items()):
            if identity != identity_of(path):
                return str(path)
        return ""

    def close(self) -> None:
        """Close the file. Calling twice is harmless."""
        with self._lock:
            self._closed = True
            self._drop()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for this thread's turn, and translate what goes wrong in it."""
        if not self._lock.acquire(timeout=self._turn_seconds):
            self._turn_seconds = min(self._turn_seconds, _IMPATIENT_SECONDS)
            kept = f"other calls have kept it for {self._longest_turn_seconds:g} s"
            raise StoreUnavailableError(f"state store {self.path}: {kept}")
        self._turn_seconds = self._longest_turn_seconds
        try:
            if self._closed:
                raise StoreUnavailableError(f"state store {self.path} is closed")
            yield
        except sqlite3.Error as error:
            raise self._in_words(error) from error
        except OSError as error:
            raise StoreUnavailableError(f"state store {self.path}: {error.strerror or error}") from error
        finally:
            self._lock.release()

    def _in_words(self, error: sqlite3.Error) -> RefusedError | StoreUnavailableError:
        # Code 0 is for errors the Python module itself raises. A busy file is a healthy one; after any other error
        # the connection may be what is broken, so the next call makes a new one.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            self._patience_seconds = _IMPATIENT_SECONDS
        else:
            later = self._is_later() if code == sqlite3.SQLITE_ERROR else False
            self._drop()
            if later:
                return RefusedError(f"state store {self.path}: {error}; a later shifter wrote it: run that one")
        return StoreUnavailableError(f"state store {self.path}: {error}; {_ADVICE.get(code, 'see the cause')}")

    def _is_later(self) -> bool:
        with suppress(sqlite3.Error):
            return self._connection is not None and version_of(self._connection) > FILE_VERSION
        return False

    def _opened(self) -> sqlite3.Connection:
        if self._identity is not None and (gone := self._misplaced()):
            # Another connection to it would be one to another log. What this one has is folded into the file when
            # the last one is closed, unless somebody else has the file open by then.
            raise StoreUnavailableError(f"state store: {gone} {_MISPLACED}")
        if self._frozen:
            self._drop()
        if self._connection is None:
            self._refuse_lost()
            _create_file(self.path)
            self._connection, self._frozen = _connect(self.path)
            self._identity = identity_of(self.path)
        if not self._frozen and not self._beside:
            beside = {path: identity_of(path) for path in (log_of(self.path), index_of(self.path))}
            self._beside = {path: identity for path, identity in beside.items() if identity is not None}
        return self._connection

    def _refuse_lost(self) -> None:
        """Refuse to open a file that was replaced, or lost its log, under the service: two logs tear a file apart."""
        if not self._of_lease and (gone := lost_to_service(self.path)):
            raise StoreUnavailableError(f"state store: {gone} {_MISPLACED}")

    def _refuse_other_version(self, connection: sqlite3.Connection) -> None:
        version = version_of(connection)
        if version == FILE_VERSION:
            return
        refuse_misnumbered(connection, self.path)
        if version < FILE_VERSION:
            raise RefusedError(
                f"state store {self.path} has schema version {version} and this shifter ({shifter.__version__}) writes"
                f" {FILE_VERSION}: restart the service with it, that upgrades the file"
            )
        row = connection.execute("SELECT value FROM meta WHERE name = 'writtenBy'").fetchone()
        raise RefusedError(
            f"state store {self.path} has schema version {version}, written by shifter {row[0] if row else '?'};"
            f" this one ({shifter.__version__}) knows {FILE_VERSION} and only reads it: run the later version"
        )

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._beside = {}
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _copied(connection: sqlite3.Connection, path: Path) -> Path:
    """Put a whole copy of the file beside it, in place of an earlier such copy, and return where.

    It gets its name only once it is on the disk: what a kill leaves behind is called something else.
    """
    copy = path.with_name(f"{path.name}.v{version_of(connection)}-backup")
    part = copy.with_name(f"{copy.name}.part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            connection.execute("VACUUM INTO ?", (str(part),))
            os.fsync(descriptor)
            part.replace(copy)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
    except (sqlite3.Error, OSError) as error:
        cause = why(error)
        raise StoreUnavailableError(
            f"no copy could be made at {copy} before the upgrade: {cause}; the file is as it was: make room for a copy"
        ) from error
    return copy


def _damage(connection: sqlite3.Connection) -> str:
    """Return the first thing that is wrong with a file; empty if it is whole."""
    try:
        ((said,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if said != "ok":
            return " ".join(str(said).removeprefix("*** in database main ***").split())
        mixed = connection.execute(_MIXED).fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        return str(error)
    return "ids and counters do not agree, as after parts of two files were mixed" if mixed else ""


def _keep_log(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreUnavailableError(f"state store {path}: no write-ahead log there; is it a network or read-only disk?")


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
    try:
        return _prepared(open_to_write(path, BUSY_SECONDS), path), False
    except sqlite3.OperationalError as error:
        # A reader needs the log's side files, and may not create them in a read-only directory.
        cannot = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
        if not cannot or not is_whole(path):
            raise
        connection, frozen = open_to_read(path, BUSY_SECONDS)
        return _prepared(connection, path), frozen


def _prepared(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
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
    if application == APPLICATION_ID:
        return
    if application or tables:
        raise RefusedError(f"{path} is another program's SQLite file; give shifter a path of its own")
    _keep_log(connection, path)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        create_schema(connection)
    connection.execute("COMMIT")
