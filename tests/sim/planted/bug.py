"""A planted bug: a small edit of shifter, and what it must be found by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """One place of one file: `old` occurs there exactly once and becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug, the rules one of which it must break, and within how many seeds of each mode.

    `struck`: ports and fates (`provider.submit`, `crash after`) that are tried first, one by one, on a quiet day.
    """

    name: str
    edits: tuple[Edit, ...]
    rules: tuple[str, ...]
    seeds: int = 100
    struck: tuple[tuple[str, str], ...] = ()
