"""The names in a store's file, for a shell that is completing a word: at once or not at all.

Beside `store.py`, since that needs pydantic, which costs longer than a person waits for a Tab. Nothing is created
or changed, and nobody who writes is waited for.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from shifter.adapters.sqlite.opening import open_to_read
from shifter.adapters.sqlite.place import absence
from shifter.errors import StoreUnavailableError

_PATIENCE_SECONDS: Final = 0.1
_MOST: Final = 1000
_NAMES: Final = "SELECT name FROM shifts UNION SELECT name FROM reports ORDER BY 1 LIMIT ?"


def shift_names(path: Path) -> tuple[str, ...]:
    """Return the names of the shifts in the store at `path`; none if it cannot be read right now."""
    try:
        if absence(path):
            return ()
        connection, _ = open_to_read(path, _PATIENCE_SECONDS)
        with closing(connection):
            return tuple(str(name) for (name,) in connection.execute(_NAMES, (_MOST,)))
    except (OSError, ValueError, sqlite3.Error, StoreUnavailableError):
        return ()
