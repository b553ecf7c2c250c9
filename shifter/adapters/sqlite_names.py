"""The names in a store's file, for a shell that is completing a word: at once or not at all.

Beside `sqlite.py`, since that needs pydantic, which costs longer than a person waits for a Tab. Nothing is
created or changed: not the file, not the side files of its log, and nobody who writes is waited for.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

_PATIENCE_SECONDS: Final = 0.1
_MOST: Final = 1000
_NAMES: Final = "SELECT name FROM shifts UNION SELECT name FROM reports ORDER BY 1 LIMIT ?"


def shift_names(path: Path) -> tuple[str, ...]:
    """Return the names of the shifts in the store at `path`; none if it cannot be read right now."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return ()
        # Without both side files SQLite would make them; then nobody is writing, and the file is the whole truth.
        beside = all(path.with_name(f"{path.name}-{side}").exists() for side in ("wal", "shm"))
        address = f"{path.absolute().as_uri()}?mode=ro{'' if beside else '&immutable=1'}"
        with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS)) as connection:
            return tuple(str(name) for (name,) in connection.execute(_NAMES, (_MOST,)))
    except (OSError, ValueError, sqlite3.Error):
        return ()
