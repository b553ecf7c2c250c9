"""Where a store's file is, what lies beside it, and whether there is one.

Whoever comes by another way, a symbolic link, must meet the same file, the same log and the same lock: so every
question is asked of the place that `real` returns, and the names of what lies beside it are put together here only.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from shifter.core.text import why
from shifter.errors import StoreUnavailableError

Identity = tuple[int, int]
"""Which file it is, whatever its name: device and inode."""


def real(path: Path) -> Path:
    """Return where the file itself is, as an absolute path."""
    return Path(os.path.realpath(path))


def identity_of(path: Path) -> Identity | None:
    """Return which file a path leads to; None if to none that can be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def log_of(path: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of the store at `path`, while somebody has it open."""
    return _beside(path, "-wal")


def index_of(path: Path) -> Path:
    """Return where SQLite keeps the index of that log."""
    return _beside(path, "-shm")


def lock_path(path: Path) -> Path:
    """Return the lock file of the store at `path`."""
    return _beside(path, ".lock")


def mark_path(path: Path) -> Path:
    """Return the note of how far the history of the store at `path` had come."""
    return _beside(path, ".mark")


def _beside(path: Path, ending: str) -> Path:
    store = real(path)
    return store.with_name(f"{store.name}{ending}")


def is_whole(path: Path) -> bool:
    """Return whether the file alone is the whole truth: no log lies beside it, or one with nothing in it.

    Raises:
        OSError: that cannot be told.
    """
    try:
        return log_of(path).stat().st_size == 0
    except FileNotFoundError:
        return True


def absence(path: Path) -> str:
    """Return why there is no store at `path` yet, in a sentence; empty if there is one.

    A file of no bytes is none: the first who opened it to write would make a store of it. What a service began
    may be in the log alone.

    Raises:
        StoreUnavailableError: what is there cannot be a store, or cannot be looked at.
    """
    try:
        found = real(path).stat()
        empty = found.st_size == 0 and is_whole(path)
    except FileNotFoundError:
        return f"there is no store at {path.absolute()}"
    except (OSError, ValueError) as error:
        said = why(error)
        raise StoreUnavailableError(f"the store at {path}: {said}") from error
    if stat.S_ISDIR(found.st_mode):
        raise StoreUnavailableError(f"{path} is a directory, not a store")
    if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for ever
        raise StoreUnavailableError(f"{path} is no regular file, and so no store")
    return f"{path} is empty: no service has written it" if empty else ""
