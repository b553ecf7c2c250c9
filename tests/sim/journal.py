"""The decision log of a run: every call with its answer, and everything else that happened, as text, in order.

Two runs of one seed write the same log to the last letter; its digest says so without keeping it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable


class Journal:
    """A log that is hashed as it is written. `show` is handed every line; no log depends on the folder's name."""

    def __init__(self, show: Callable[[str], None] | None = None, folder: str = "") -> None:
        self._hash = hashlib.sha256()
        self._show = show
        self._folder = folder
        self.lines = 0

    def add(self, at: float, text: str) -> None:
        """Write one line."""
        line = f"{at:10.3f} {text}"
        if self._folder:
            line = line.replace(f"{self._folder}/", "").replace(self._folder, "policies")
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self.lines += 1
        if self._show is not None:
            self._show(line)

    @property
    def digest(self) -> str:
        """What tells one run from another."""
        return self._hash.hexdigest()
