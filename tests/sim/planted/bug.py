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
    """One bug, the rules one of which it must break, and within how many seeds.

    Only rules that it was seen to break are named: each that might is no proof that the rule can convict.

    `stage`: the one of `tests.sim.stages` on which it has to show, or another mode; empty for random days, with and
    without an end of their faults.
    """

    name: str
    edits: tuple[Edit, ...]
    rules: tuple[str, ...]
    seeds: int = 20
    stage: str = ""
