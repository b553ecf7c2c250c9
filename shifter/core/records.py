"""History: one record for everything that happened to a shift, with who, why and the evidence. Append-only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

SERVICE = "shifter"
"""Who did it, when the service acted by itself."""


class What(StrEnum):
    """The kinds of records. `unreadable` is none that anybody writes: it stands for one that cannot be read."""

    ORDER = "order"
    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"
    ADOPTED = "adopted"
    PHASE = "phase"
    HOLDS = "holds"
    POLICY = "policy"
    CEILING = "ceiling"
    PIN = "pin"
    COPIED = "copied"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to be appended.

    `reason` is the sentence people read; `evidence` the numbers it rests on (JSON values only);
    `sequence` and `epoch` are the intent's, 0 where there is none.
    """

    at: datetime
    shift: str
    what: What
    by: str
    reason: str
    sequence: int = 0
    epoch: int = 0
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the store keeps it; ids grow without gaps.

    `hash` binds it to all records before it (`chain.py`); empty if a shifter wrote it that kept none.
    """

    id: int
    record: NewRecord
    hash: str = ""
