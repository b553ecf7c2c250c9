"""Looking at a store without touching it: not a byte, not a lock that a service would wait for, no file left behind.

`SqliteFile` opens to write, because a command that orders needs it, and the last one to close such a connection
folds the write-ahead log into the file. A check-up beside a running service, or of a file somebody wants to keep
as evidence, must not do that. So the connection is read-only, and where no log lies beside the file it is taken
for one that nobody changes. (With a log, SQLite may renew the index `-shm` beside it, which holds nothing of ours.)
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from shifter.adapters.sqlite import SqliteStore
from shifter.adapters.sqlite_file import BUSY_SECONDS, FILE_VERSION, SqliteFile
from shifter.adapters.sqlite_lock import is_certainly_held, lock_path
from shifter.errors import StoreUnavailableError
from shifter.ports import LeaseFacts, StoreFacts

CHECK_SECONDS: Final = 3.0
"""How long a file is looked through for damage."""

_STEPS_BETWEEN_LOOKS: Final = 10_000


class LookingStore(SqliteStore):
    """A store that only answers. What would write fails with `StoreUnavailableError`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = _LookingFile(path)


class _LookingFile(SqliteFile):
    """A file that is opened to read, whatever its rights."""

    def _opened(self) -> sqlite3.Connection:
        if self._frozen:
            self._drop()
        if self._connection is None:
            self._connection, self._frozen = connect_to_look(self.path)
            status = self.path.stat()
            self._identity = status.st_dev, status.st_ino
        return self._connection


def connect_to_look(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Open a file to read only.

    Returns:
        The connection, and whether it takes the file for one that nobody changes: good for one look.

    Raises:
        sqlite3.Error: it is no database, or cannot be opened.
        StoreUnavailableError: a service has it open, and its log is gone.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() and is_certainly_held(path):
        raise StoreUnavailableError(
            f"state store {path}: its log ({log.name}) is gone while a service has it open; what the file says is old"
        )
    alone = not log.exists() or log.stat().st_size == 0
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    return connection, alone


def store_facts(path: Path, monotonic: Callable[[], float] = time.monotonic) -> StoreFacts:
    """Return what the file says of itself; takes a few seconds at most.

    Raises:
        StoreUnavailableError: it cannot be opened, or is no file of SQLite's.
    """
    try:
        connection, _ = connect_to_look(path)
        with closing(connection):
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            row = None
            if "meta" in tables:
                row = connection.execute("SELECT value FROM meta WHERE name = 'writtenBy'").fetchone()
            return StoreFacts(version, FILE_VERSION, str(row[0]) if row else "", _damage(connection, monotonic))
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailableError(f"state store {path}: {error}") from error


def _damage(connection: sqlite3.Connection, monotonic: Callable[[], float]) -> str | None:
    until = monotonic() + CHECK_SECONDS
    connection.set_progress_handler(lambda: int(monotonic() > until), _STEPS_BETWEEN_LOOKS)
    try:
        ((said,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    return "" if said == "ok" else str(said)


def lease_facts(path: Path) -> LeaseFacts:
    """Return who holds the lease of the store at `path`. The lock file is opened to read; nothing is created."""
    try:
        descriptor = os.open(lock_path(path), os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return LeaseFacts(held=False)
    except OSError:
        return LeaseFacts(held=None)
    try:
        pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        since = datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)
        return LeaseFacts(_is_locked(descriptor), pid if pid.isdecimal() else "", since)
    except OSError:
        return LeaseFacts(held=None)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Ask by a shared lock for a moment, like `is_held`: the only question that works across containers."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
