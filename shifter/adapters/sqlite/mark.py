"""How far the history of a store had come, noted beside its file: `<path>.mark`.

A file that was put back from a backup looks like any other, and its place may be one that was left long ago: a
shift that had gone back because it failed would simply begin again. The note stays behind when the file is
replaced, so the next start can tell. It is a hint and never more: it is written after the file has everything on
the disk and not waited for, so it may lag behind but never be ahead; without it nothing is suspected.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from shifter.adapters.sqlite.place import mark_path

_DIGITS: Final = 20


class Mark:
    """The newest record id that was saved at `path`, as far as anybody noted it."""

    def __init__(self, path: Path) -> None:
        self.path = mark_path(path)

    def read(self) -> int:
        """Return the id; 0 if there is no note, or none that can be read."""
        try:
            return int(self.path.read_bytes()[: _DIGITS + 1])
        except (OSError, ValueError):
            return 0

    def write(self, record_id: int) -> None:
        """Note it; a note that cannot be written (a full disk) is left out."""
        with suppress(OSError):
            descriptor = os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.pwrite(descriptor, f"{record_id:>{_DIGITS}}\n".encode(), 0)  # one length: never half of a longer one
            finally:
                os.close(descriptor)
