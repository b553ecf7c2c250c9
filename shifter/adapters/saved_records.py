"""How records of the history are written as texts and read again; one that cannot be hides no other.

Both stores go through here, as with all else that is saved (`saved_form.py`). What was put into a file by a hand or by
a disk may be anything: no depth of nesting, and no moment at the end of time, may end a command that only looks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any, Final

from shifter.adapters.bounds import kept_link
from shifter.adapters.saved_form import plain, stamp
from shifter.core.chain import Link
from shifter.core.records import NewRecord, Record, What
from shifter.errors import InvariantError

_DEEPEST: Final = 50
"""How deeply evidence may be nested; what shifter writes is a tenth of it."""

_NO_MOMENT: Final = datetime.fromtimestamp(0, UTC)


def evidence_text(evidence: Mapping[str, object]) -> str:
    """Return evidence as JSON.

    Raises:
        InvariantError: it holds something that JSON cannot (no finite number, an object).
    """
    try:
        return json.dumps(dict(evidence), allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise InvariantError(f"evidence of a record must be JSON values: {error}") from error


def read_evidence(text: str) -> Mapping[str, object]:
    """Return the evidence from its JSON.

    Raises:
        ValueError: it is no JSON object, or so deep that whoever goes through it would fail.
    """
    try:
        evidence = json.loads(text)
    except RecursionError:
        evidence = None
    if not isinstance(evidence, dict) or _is_deep(evidence):
        raise ValueError("its evidence is no JSON object of a depth that anybody writes")
    return evidence


def _is_deep(whole: object) -> bool:
    """Whether JSON values are nested deeper than `_DEEPEST`; level by level, so that no depth is too deep for this."""
    level: list[Any] = [whole]
    for _ in range(_DEEPEST):
        if not level:
            return False
        inside = [each.values() if isinstance(each, dict) else each for each in level]
        level = [part for parts in inside for part in parts if isinstance(part, dict | list)]
    return True


def read_moment(text: str) -> datetime:
    """Return a moment as `stamp` wrote it.

    Raises:
        ValueError: it is none, has no time zone, or is so far off that it cannot be shown in every one.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None or not MINYEAR < at.year < MAXYEAR:
        raise ValueError(f"{text} is no moment that can be told")
    return at.astimezone(UTC)


def record_of(link: Link) -> Record:
    """Return the record that is kept as these texts; of one that cannot be read, one that tells of it in its place."""
    try:
        new = NewRecord(
            read_moment(link.at),
            link.shift,
            What(link.what),
            link.by,
            link.reason,
            int(link.sequence),
            int(link.epoch),
            read_evidence(link.evidence),
        )
    except ValueError as error:
        said = f"record {link.id} cannot be read: {error}; `shifter history --verify` says what is wrong"
        new = NewRecord(_moment_or_none(link.at), link.shift, What.UNREADABLE, "", said)
    return Record(link.id, new, link.hash)


def _moment_or_none(text: str) -> datetime:
    try:
        return read_moment(text)
    except ValueError:
        return _NO_MOMENT


def link_of(record: NewRecord) -> Link:
    """Return a record as the texts that are kept of it, still without a number and a hash.

    Raises:
        InvariantError: its evidence is beyond JSON, or its moment has no time zone.
    """
    shift, what, by, reason = map(plain, (record.shift, record.what.value, record.by, record.reason))
    numbers = (str(int(record.sequence)), str(int(record.epoch)))
    link = Link(0, stamp(record.at), shift, what, by, reason, *numbers, evidence_text(record.evidence))
    return kept_link(link)
