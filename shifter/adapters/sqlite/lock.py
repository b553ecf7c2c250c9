"""The lock file beside a store's file, `<path>.lock`: who runs on the store.

The lock is `flock`, so it ends with the process however that ends. The file stays: removing it would let two
processes lock two files of one name. In it are, line by line, the owner's pid, for people, and which file it has
open, for whoever comes to another file of that name while it runs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from shifter.adapters.sqlite.place import Identity, identity_of, lock_path, log_of, real
from shifter.errors import RefusedError, StoreUnavailableError
from shifter.ports import LeaseFacts

_PID_BYTES: Final = 32

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a disk without room answers."""

_ASKING_SECONDS: Final = 1.0
"""How long a start waits for the lock: whoever asks who holds it holds it, too, for a moment."""

_RETRY_SECONDS: Final = 0.02

_STARTING_SECONDS: Final = 2.0
"""How long a service may be between taking the lease and having its file open."""

_LOOK_SECONDS: Final = 0.05


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
        hint = "; free some space: until it starts nothing goes back by itself" if error.errno in _FULL else ""
        raise StoreUnavailableError(f"lock file {path}: {error.strerror or error}{hint}") from error
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


def lost_to_service(path: Path) -> Path | None:
    """Return what a running service had and that is not in its place any more: the file or its log; None if all is.

    Whoever holds the lease has the file open, and a file that is open has its log beside it; but for the moment
    between taking the lease and opening the file, which is waited for.
    """
    until = time.monotonic() + _STARTING_SECONDS
    while (lost := _lost(real(path))) and time.monotonic() <= until:
        time.sleep(_LOOK_SECONDS)
    return lost


def _lost(path: Path) -> Path | None:
    if _file_in_use(path) not in {None, identity_of(path)}:
        return path
    log = log_of(path)
    return log if not log.exists() and _is_certainly_held(path) else None


def _file_in_use(path: Path) -> Identity | None:
    """Return which file the holder of the lock has open; None if nobody holds it, or that cannot be told."""
    if not _is_certainly_held(path):
        return None
    try:
        device, inode = lock_path(path).read_bytes()[_PID_BYTES:].split()
        return int(device), int(inode)
    except (OSError, ValueError):
        return None


def is_held(path: Path) -> bool:
    """Return whether a process holds the lease of the store at `path`; True also where that cannot be told."""
    return lease_facts(path).held is not False


def _is_certainly_held(path: Path) -> bool:
    return lease_facts(path).held is True


def lease_facts(path: Path) -> LeaseFacts:
    """Return who holds the lease of the store at `path`. The lock file is opened to read; nothing is created."""
    try:
        descriptor = os.open(lock_path(path), os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return LeaseFacts(held=False)
    except OSError:  # another user's, perhaps
        return LeaseFacts(held=None)
    try:
        pid, since = _owner(descriptor)
        return LeaseFacts(_is_locked(descriptor), pid if pid.isdecimal() else "", since)
    except OSError:
        return LeaseFacts(held=None)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Ask by a shared lock that is let go with the descriptor: the only question that works across containers."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _holder(descriptor: int) -> str:
    pid, since = _owner(descriptor)
    return f"pid {pid or 'unknown'} (since {since:%Y-%m-%d %H:%M:%S} UTC)"


def _owner(descriptor: int) -> tuple[str, datetime]:
    """Return whose pid is in the lock file and since when: it was written when the lock was taken, and never after."""
    pid = os.pread(descriptor, _PID_BYTES, 0).decode("ascii", "replace").strip()
    return pid, datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)
