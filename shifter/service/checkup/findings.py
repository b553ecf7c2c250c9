"""What a check-up tells: one finding for everything that was looked at, good or bad, each bad one with its fix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from shifter.core.text import some

UNREACHED: Final = "see whether this machine reaches the provider, then look again"
"""The fix where the provider did not answer, and whoever asked it knows no better one."""


class Level(StrEnum):
    """How it stands. `unknown` is not `ok`: what could not be seen may be broken."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


class Group(StrEnum):
    """What findings are told under, in this order."""

    CONFIG = "config"
    VERSIONS = "versions"
    PERMISSIONS = "permissions"
    STORE = "store"
    CLOCKS = "clocks"
    DATASOURCES = "datasources"
    PROVIDER = "provider"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    `subject` is what was looked at, `text` what was found, `fix` the command or edit that mends it. `unreachable`:
    somebody did not answer. `untried`: left out on purpose, because to try would change something or because
    nobody was to be asked; shown, and no reason for a bad ending.
    """

    group: Group
    subject: str
    level: Level
    text: str
    fix: str = ""
    unreachable: bool = False
    untried: bool = False


@dataclass(slots=True)
class Notes:
    """Collects the findings of one group."""

    group: Group
    found: list[Finding] = field(default_factory=list)

    def ok(self, subject: str, text: str) -> None:
        """Note that something is as it should be."""
        self.found.append(Finding(self.group, subject, Level.OK, text))

    def warning(self, subject: str, text: str, fix: str) -> None:
        """Note something that works and may hurt."""
        self.found.append(Finding(self.group, subject, Level.WARNING, text, fix))

    def problem(self, subject: str, text: str, fix: str) -> None:
        """Note something that does not work."""
        self.found.append(Finding(self.group, subject, Level.PROBLEM, text, fix))

    def unknown(self, subject: str, text: str, fix: str, *, unreachable: bool = False) -> None:
        """Note something that could not be seen."""
        self.found.append(Finding(self.group, subject, Level.UNKNOWN, text, fix, unreachable=unreachable))

    def untried(self, subject: str, text: str, fix: str = "") -> None:
        """Note something that was left out on purpose."""
        self.found.append(Finding(self.group, subject, Level.UNKNOWN, text, fix, untried=True))

    def judged(self, level: Level, subject: str, text: str, fix: str) -> None:
        """Note something at a level that was computed; the fix is kept only where there is something to mend."""
        self.found.append(Finding(self.group, subject, level, text, "" if level is Level.OK else fix))


def few(names: Iterable[str], most: int = 5) -> str:
    """Return some names, sorted, and how many more there are."""
    return some(sorted(names), most)
