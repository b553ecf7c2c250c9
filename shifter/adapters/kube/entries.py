"""What one save puts into an object's status, and where what was saved goes from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shifter.core.chain import Link
from shifter.ports.kube import Body


@dataclass(frozen=True, slots=True)
class Entry:
    """What one save puts into a status.

    `text` is the saved state. `links` and `answers` are appended. `shown` is what people read, `spec` the object's
    other part, for one that is still to be made.
    """

    text: str
    links: Sequence[Link]
    answers: Sequence[Body]
    shown: Body
    spec: Body


@dataclass(frozen=True, slots=True)
class Filing:
    """Where what was saved goes: `file` makes an object of a record, `deliver` writes an answer into its order.

    `file` is given the uid of the object that the record belongs to. `filed` returns the records that are there.
    """

    file: Callable[[Link, str], None]
    filed: Callable[[], Sequence[Link]]
    deliver: Callable[[Mapping[str, Any]], None]
