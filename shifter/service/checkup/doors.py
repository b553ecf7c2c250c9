"""Where a shifter remembers, as a check-up looks at it: a file on this machine, or a namespace of a cluster.

A door says what there is to ask, which is gathered together with everything else, and afterwards what the answers mean.
Another kind of store is another door.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from shifter.core.documents.fleet import Fleet
from shifter.core.documents.policy import ShiftPolicy
from shifter.service.checkup.findings import Finding
from shifter.service.checkup.gathering import Errand


@dataclass(frozen=True, slots=True)
class Context:
    """What a store is held against. `fleet` and `policies` are None where their files cannot be used."""

    fleet: Fleet | None
    policies: Mapping[str, ShiftPolicy] | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """What others are judged by.

    `last_write` is when a write to the cloud was last read back, `written` are the shifts whose weights shifter has
    verified.
    """

    last_write: datetime | None = None
    written: frozenset[str] = frozenset()


class Survey(Protocol):
    """One look at a store. `errands` are to be carried out first."""

    @property
    def errands(self) -> Sequence[Errand[Any]]:
        """What there is to find out."""

    def findings(self, context: Context) -> Sequence[Finding]:
        """Return what the answers mean; nobody is asked any more."""

    def kept(self) -> Kept:
        """Return what others are judged by, as far as it could be seen."""


class StoreDoor(Protocol):
    """Where a shifter remembers. `file` is the store's file; None if it is on no disk of this machine."""

    @property
    def file(self) -> Path | None:
        """Where it lies on this machine."""

    def survey(self, *, offline: bool) -> Survey:
        """Return a look to be taken; nobody is asked yet, and nobody outside this machine is with `offline`."""
