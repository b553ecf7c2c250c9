"""From a standing to every later one: what is kept so that any decision can be computed again, and when it is saved.

A trail is a standing and the rows that were added to it since. It is bounded: after `MAX_ROWS` rows it begins anew with
the standing reached. A record of the history that says what was decided carries the trail of its moment, so that the
numbers it names can be had again from the record alone, on another machine, years later.

Its JSON takes 16 KB as a rule, at most 40 KB for a policy of defaults, and at most 180 KB with every metric that a
policy can name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from shifter.core.analysis.measures import Metric
from shifter.core.analysis.standing import Row, Standing, advance, evidence_of_harm

MAX_ROWS: Final = 40
"""Ten minutes of the default tick."""

CHECKPOINT_SECONDS: Final = 600.0
"""A standing that nothing happened to is saved this often at most."""


@dataclass(frozen=True, slots=True)
class Trail:
    """A standing, and the rows that were added to it since, oldest first."""

    base: Standing
    rows: tuple[Row, ...] = ()

    def last(self, metrics: Sequence[Metric]) -> Standing:
        """Return the standing that the rows lead to."""
        standing = self.base
        for row in self.rows:
            standing = advance(standing, metrics, row)
        return standing


_TRAILS: Final = TypeAdapter(Trail)


def with_row(trail: Trail | None, before: Standing, row: Row, *, unbroken: bool) -> Trail:
    """Return the trail with one more row.

    Args:
        trail: so far; None if there is none.
        before: the standing that the row was added to.
        row: what was added.
        unbroken: `before` is what the trail led to. Otherwise (another share, another attempt) a new one begins.
    """
    if trail is None or not unbroken or len(trail.rows) >= MAX_ROWS:
        return Trail(before, (row,))
    return Trail(trail.base, (*trail.rows, row))


def as_json(trail: Trail) -> dict[str, Any]:
    """Return a trail as JSON values, for a record; what is as usual is left out."""
    dumped: dict[str, Any] = _TRAILS.dump_python(trail, mode="json", exclude_defaults=True)
    return dumped


def of_json(values: Mapping[str, Any]) -> Trail:
    """Return the trail of a record.

    Raises:
        ValueError: these are not the values of one.
    """
    return _TRAILS.validate_python(values)


def is_due(saved: Standing | None, now: Standing, metrics: Sequence[Metric]) -> bool:
    """Return whether a standing must be saved: it is another one's, the odds grew tenfold, or it is long ago."""
    if saved is None or (saved.attempt, saved.share) != (now.attempt, now.share):
        return True
    if len(saved.history.metrics) != len(now.history.metrics):
        return True
    if _power(now, metrics) > _power(saved, metrics):
        return True
    return abs(now.counted_until - saved.counted_until) >= CHECKPOINT_SECONDS


def _power(standing: Standing, metrics: Sequence[Metric]) -> int:
    """Return how many times ten the odds are; 0 for anything below."""
    return math.floor(math.log10(max(1.0, evidence_of_harm(standing, metrics))))
