"""Who holds an installer's lock, in words that tell people who that is and this machine whether that is still at work.

A run that was killed leaves its lock behind. Its own machine can see at once that its process is gone; any other one
has to wait until nobody has renewed the lock for long enough.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import socket
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES: Final = Path("/proc/self/ns/pid")
_SAID: Final = re.compile(r"process (\d{1,10}) of ([0-9a-f]{12})$")


def here(pid: int) -> str:
    """Return a holder's name: user, machine, process, and a mark of where that number means this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, process {pid} of {_machine() or 'an unknown machine'}"


def is_gone(holder: str) -> bool:
    """Say whether a holder is a process of this very machine that is no more; False where that cannot be known."""
    found, machine = _SAID.search(holder), _machine()
    # Where istioctl cannot be made to end with its run, one may still be at work: that is waited for.
    if found is None or not machine or found[2] != machine:
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _machine() -> str:
    """Return a mark of the space in which process numbers are ours: one start of one machine, or of one container."""
    try:
        where = f"{_BOOT.read_text(encoding='ascii').strip()} {_PROCESSES.readlink()}"
    except OSError:
        return ""
    return hashlib.sha256(where.encode()).hexdigest()[:12]
