"""The lock file beside a store's file, `<path>.lock`: who runs on the store.

The lock is `flock`, so it ends with the process however that ends. The file stays: removing it would let two
processes lock two files of one name. In it are, line by line, the owner's pid, for people, and which file it has
open, for whoever comes to another file of that name while it runs.
"""

from __future__ import annotations

import fcntl
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from shifter.errors import RefusedError, StoreUnavailableError

_PID_BYTES: Final = 32

_ASKING_SECONDS: Final = 1.0
"""How long a start waits for the lock: whoever asks who holds it holds it, too, for a moment."""

_RETRY_SECONDS: Final = 0.02

Identity = tuple[int, int]
"""Which file it is, whatever its name: device and inode."""


def identity_of(path: Path) -> Identity | None:
    """Return which file a path leads to; None if to none that can be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def real(path: Path) -> Path:
    """Return where the file itself is: whoever comes by another way (a symbolic link) must meet the same lock."""
    return Path(os.path.realpath(path))


def lock_path(path: Path) -> Path:
    """Return the lock file of the store at `path`."""
    store = real(path)
    return store.with_name(f"{store.name}.lock")


def take_lock(path: Path) -> int:
    """Return the descriptor of the locked lock file at `path`, with our pid written into it.

    Raises:
        RefusedError: another process holds it; its pid and since when are in the text.
        StoreUnavailableError: it cannot be made or written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            _lock(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid():<{_PID_BYTES - 1}}\n".encode(), 0)
        except BlockingIOError as error:
            raise RefusedError(f"another shifter runs on this store: {_holder(descriptor)} holds {path}") from error
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise StoreUnavailableError(f"lock file {path}: {error.strerror or error}") from error
    return descriptor


def _lock(descriptor: int) -> None:
    until = time.monotonic() + _ASKING_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def name_file(descriptor: int, path: Path) -> None:
    """Write into a locked lock file which file its owner has open."""
    if identity := identity_of(path):
        os.pwrite(descriptor, "{} {}\n".format(*identity).encode(), _PID_BYTES)


def file_in_use(path: Path) -> Identity | None:
    """Return which file the holder of the lock has open; None if nobody holds it, or that cannot be told."""
    if not is_certainly_held(path):
        return None
    try:
        device, inode = lock_path(path).read_bytes()[_PID_BYTES:].split()
        return int(device), int(inode)
    except (OSError, ValueError):
        return None


def is_held(path: Path) -> bool:
    """Return whether a process holds the lease of the store at `path`; True also where that cannot be told."""
    return _held(path) is not False


def is_certainly_held(path: Path) -> bool:
    """Return whether a process holds the lease of the store at `path`; False where that cannot be told."""
    return _held(path) is True


def _held(path: Path) -> bool | None:
    """Ask by a shared lock that is let go at once, on the file opened to read: nothing is created or changed."""
    try:
        descriptor = os.open(lock_path(path), os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:  # another user's, perhaps
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def _holder(descriptor: int) -> str:
    """Return who holds the lock and since when: the pid was written when it was taken, and never after."""
    pid = os.pread(descriptor, _PID_BYTES, 0).decode("ascii", "replace").strip() or "unknown"
    since = datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)
    return f"pid {pid} (since {since:%Y-%m-%d %H:%M:%S} UTC)"
