"""What the rules say: how much each one looked at, and what it found wrong. What they look at is in `seen.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken: when, by whom, and the evidence."""

    rule: str
    at: float
    shift: str
    told: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found: how many things it looked at, and what was wrong. None looked at proves nothing."""

    rule: str
    looked_at: int
    violations: tuple[Violation, ...] = ()
