"""How far the history of a store had come, noted beside its file: `<path>.mark`, the newest record's id and hash.

A file that was put back from a backup looks like any other, and its place may be one that was left long ago: a
shift that had gone back because it failed would simply begin again. The note stays behind when the file is
replaced, so the next start can tell. And whoever writes history anew, hashes and all, finds the last one noted
here. It is a hint and never more: it is written after the file has everything on the disk and not waited for, so it
may lag behind but never be ahead; without it nothing is suspected.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from shifter.adapters.sqlite.place import mark_path
from shifter.core.chain import Seal

_DIGITS: Final = 20
_LOOKS: Final = 3
_LINE: Final = re.compile(rb" *([0-9]{1,19})(?: ([0-9a-f]{64}))?\s*")  # without a hash: an earlier version's


class Mark:
    """The newest record that was saved at `path`, as far as anybody noted it."""

    def __init__(self, path: Path) -> None:
        self.path = mark_path(path)

    def read(self) -> Seal | None:
        """Return it; None if there is no note, or none that can be read."""
        seen = b""
        for _ in range(_LOOKS):  # somebody may be writing: a line is believed that was seen twice
            last, seen = seen, self._line()
            if seen == last:
                break
        found = _LINE.fullmatch(seen)
        return None if found is None else Seal(int(found[1]), (found[2] or b"").decode())

    def write(self, newest: Seal) -> None:
        """Note it; a note that cannot be written (a full disk) is left out."""
        with suppress(OSError):
            descriptor = os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                # One length: never half of a longer one.
                os.pwrite(descriptor, f"{newest.id:>{_DIGITS}} {newest.hash:<64}\n".encode(), 0)
            finally:
                os.close(descriptor)

    def _line(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                return file.readline(4 * _DIGITS + 64)
        except OSError:
            return b""
