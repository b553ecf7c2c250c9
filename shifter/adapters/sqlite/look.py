"""Looking at a store without touching it: not a byte, not a lock that a service would wait for, no file left behind.

`SqliteFile` opens to write, because a command that orders needs it, and the last one to close such a connection
folds the write-ahead log into the file. A check-up beside a running service, or of a file somebody wants to keep
as evidence, must not do that. So the connection is read-only, and where no log lies beside the file it is taken
for one that nobody changes. (With a log, SQLite may renew the index `-shm` beside it, which holds nothing of ours.)
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from shifter.adapters.sqlite.file import BUSY_SECONDS, FILE_VERSION, SqliteFile
from shifter.adapters.sqlite.lock import lost_to_service
from shifter.adapters.sqlite.opening import open_to_read
from shifter.adapters.sqlite.place import identity_of, real
from shifter.adapters.sqlite.store import SqliteStore
from shifter.errors import StoreUnavailableError
from shifter.ports import StoreFacts

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
            self._connection, self._frozen = _connected(self.path)
            self._identity = identity_of(self.path)
        return self._connection


def _connected(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Open a file to read only, as `open_to_read`.

    Raises:
        sqlite3.Error: it is no database, or cannot be opened.
        StoreUnavailableError: a service has it open, and it was replaced since, or its log is gone.
    """
    lost = lost_to_service(path)
    if lost == real(path):
        raise StoreUnavailableError(f"state store {path}: it is not the file any more that a service has open")
    if lost is not None:
        raise StoreUnavailableError(
            f"state store {path}: its log ({lost.name}) is gone while a service has it open; what the file says is old"
        )
    return open_to_read(path, BUSY_SECONDS)


def store_facts(path: Path, monotonic: Callable[[], float] = time.monotonic) -> StoreFacts:
    """Return what the file says of itself; takes a few seconds at most.

    Raises:
        StoreUnavailableError: it cannot be opened, or is no file of SQLite's.
    """
    try:
        connection, _ = _connected(path)
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
