"""What the drill sees of the service from outside: which writes are open, and since when everything goes on again.

Read from the store, as a person would; whether it was right is for the checker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shifter.core.records import Record, What
from shifter.core.state import Report

_ENDS = frozenset({What.DONE, What.FAILED})


@dataclass(frozen=True, slots=True)
class OpenWrite:
    """A write that the journal has begun, at Unix seconds, and not ended. Shares are percent."""

    shift: str
    sequence: int
    from_share: float
    to_share: float
    at: float = 0.0

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.shift} {self.from_share:g} → {self.to_share:g} %"


def open_writes(history: Iterable[Record]) -> tuple[OpenWrite, ...]:
    """Return the writes under way, by shift."""
    found: dict[str, OpenWrite] = {}
    for each in history:
        record = each.record
        if record.what is What.INTENT:
            shares = _share(record.evidence, "from"), _share(record.evidence, "to")
            found[record.shift] = OpenWrite(record.shift, record.sequence, *shares, record.at.timestamp())
        elif record.what in _ENDS and record.shift in found and found[record.shift].sequence == record.sequence:
            del found[record.shift]
    return tuple(found[shift] for shift in sorted(found))


def _share(evidence: Mapping[str, object], end: str) -> float:
    share = evidence.get(end)
    return float(share) if isinstance(share, int | float) else 0.0


def endings(writes: Sequence[OpenWrite], history: Iterable[Record]) -> tuple[str, ...] | None:
    """Return in words what became of writes; None as long as one of them is open."""
    ends = {(each.record.shift, each.record.sequence): each.record for each in history if each.record.what in _ENDS}
    found = [ends.get((write.shift, write.sequence)) for write in writes]
    told = [f"{write}: {end.what}" for write, end in zip(writes, found, strict=True) if end is not None]
    return tuple(told) if len(told) == len(writes) else None


def told_since(at: float, shifts: Iterable[str], reports: Mapping[str, Report]) -> bool:
    """Whether the service has told of all shifts after a time, in Unix seconds."""
    return all(shift in reports and reports[shift].at.timestamp() > at for shift in shifts)
