"""The two ways in which SQLite is asked for a connection to a store: to write, and to read only.

SQLite may not be left to choose. Opened to write, the last one to close folds the log into the file; opened to read
without a log beside the file, SQLite would make one. So whoever only reads says so, and takes a file without a log
for one that nobody changes; and both ways follow symbolic links first, since the log lies beside the file itself.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from shifter.adapters.sqlite.place import is_whole, real


def open_to_write(path: Path, timeout_seconds: float) -> sqlite3.Connection:
    """Open a file that is there; where it may not be written, SQLite opens it to read by itself.

    Args:
        path: the file.
        timeout_seconds: how long a statement waits for somebody else who is writing.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    return _connected(f"{real(path).as_uri()}?mode=rw", timeout_seconds)


def open_to_read(path: Path, timeout_seconds: float) -> tuple[sqlite3.Connection, bool]:
    """Open a file to read only: not a byte of it is changed. With a log, SQLite may renew the index beside it.

    Returns:
        The connection, and whether it takes the file for one that nobody changes: good for one look.

    Raises:
        sqlite3.Error: it cannot be opened.
        OSError: what lies beside it cannot be looked at.
    """
    whole = is_whole(path)
    return _connected(f"{real(path).as_uri()}?mode=ro{'&immutable=1' if whole else ''}", timeout_seconds), whole


def _connected(address: str, timeout_seconds: float) -> sqlite3.Connection:
    made = sqlite3.connect(address, uri=True, timeout=timeout_seconds, isolation_level=None, check_same_thread=False)
    # What somebody put into one row need not be text, and must not keep anybody from reading the others.
    made.text_factory = _text
    return made


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
