"""The lab's directory: whose it is, that one run at a time has it, and that a run starts with it empty.

Nothing is deleted that the lab did not make: a directory is the lab's if it has the lab's marker or had nothing in it.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shifter.errors import ConfigError

_MARKER: Final = ".shifter-lab"


@contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Hold the directory, emptied of the last run, for the length of a `with` block; made when missing.

    Raises:
        ConfigError: it is somebody else's, or another lab runs in it; it is left as it was.
    """
    marker = directory / _MARKER
    if directory.exists() and any(directory.iterdir()) and not marker.exists():
        raise ConfigError(f"{directory} is not empty and not the lab's; choose another with --directory")
    directory.mkdir(parents=True, exist_ok=True)
    with marker.open("a", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another lab runs in {directory}; choose another with --directory") from error
        for entry in directory.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != marker:
                entry.unlink()
        yield
