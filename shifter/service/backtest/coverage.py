"""What a datasource has recorded for a question: since when its mesh is there, and which namespaces it names.

A wrong name and a quiet service look alike in counts, both are 0; and so do a gateway that was not scraped yet and one
that was gone. Here they are told apart, with what was asked and what to check.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from shifter.core.counts.counters import Absence
from shifter.core.counts.evidence import UNKNOWN, Reading
from shifter.core.documents.fleet import Datasource
from shifter.core.text import some
from shifter.ports import Unread

_NAMES_SHOWN: Final = 5


@dataclass(slots=True)
class Coverage:
    """One mesh's readings, as they go by.

    `missing` are the policy's namespaces that no series has named so far. `begins` is when the gateway was first there,
    `why` the newest reason that an instant showed nothing.
    """

    mesh: str
    datasource: Datasource
    missing: Collection[str]
    begins: datetime | None = None
    why: str = ""
    _others: set[str] = field(default_factory=set)

    def see(self, reading: Reading | Unread) -> None:
        """Take in one instant."""
        if isinstance(reading, Unread | Absence):
            self.why = reading.reason
        if isinstance(reading, Unread):
            return
        if reading.pods and self.begins is None:
            self.begins = datetime.fromtimestamp(reading.read_at, UTC)
        if self.missing:
            named = {series.subject for pod in reading.pods.values() for series in pod.counters}
            self.missing = sorted(set(self.missing) - named)
            self._others |= named - {UNKNOWN}

    def lacks(self) -> str:
        """Return which namespaces no series names, what was asked, and what to check; empty if all are named."""
        if not self.missing or self.begins is None:
            return ""
        labels = self.datasource.labels
        there = some(sorted(self._others), _NAMES_SHOWN) or "none"
        return (
            f"{self.mesh}: no series of {self.asked} names {some(self.missing, _NAMES_SHOWN)} in {labels.service} or "
            f"{labels.namespace} (named are: {there}); if it had requests then, check `namespace` in the policy, and "
            "`matchers` and `labels` in the fleet"
        )

    @property
    def asked(self) -> str:
        """Whose series are asked for, as people type it into Prometheus."""
        matchers = sorted(self.datasource.matchers.items())
        said = ",".join(f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in matchers)
        return f"{self.datasource.metrics.requests}{{{said}}}"

    def remarks(self, known_by: datetime) -> Iterator[str]:
        """Yield what a person must know who takes the range for covered.

        Args:
            known_by: until when the gateway must have shown itself not to be late.
        """
        if self.begins is None and self.why:
            yield f"{self.mesh} is not recorded in this range: {self.why}"
        if self.begins is not None and self.begins > known_by:
            yield (
                f"{self.mesh} is recorded from {minute(self.begins)} on, and nothing before that says anything: leave "
                f"it out with --from {typed(self.begins)}"
            )
        if lacks := self.lacks():
            yield lacks


def minute(at: datetime) -> str:
    """Return an instant as people read it, local time."""
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def typed(at: datetime) -> str:
    """Return an instant as people type it: RFC 3339 with their own offset, to the second."""
    return at.astimezone().isoformat(timespec="seconds")
