"""The chain of the records: every record's hash covers the hash before it, so that none can be changed unseen.

What is hashed is what is kept, the very texts, and not what they mean: a record that cannot be read any more can
still be checked. A hash is the SHA-256, as 64 hexadecimal digits, over these eleven texts, each as the netstring
(https://cr.yp.to/proto/netstrings.txt) of its UTF-8, one after the other:

    FORMAT, the hash before (GENESIS before the first), id, at, shift, what, by, reason, sequence, epoch, evidence

with whole numbers in decimal, `at` as RFC 3339 in UTC with six digits of a second and `+00:00`, and `evidence` as the
JSON that is kept. The name of the format comes first, so that a later one can never be taken for this.

There is no secret in it. Who can write the store can write a whole new chain, and only a hash that was noted
somewhere else tells: so a store remembers how its history ended apart from the rows, and people can note it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

FORMAT: Final = "shifter record 1"
"""The first text under every hash."""

GENESIS: Final = "0" * 64
"""The hash before the first record."""

FIRST_ID: Final = -(2**63)
"""No store keeps an id below: to ask from here on is to ask for everything, also for what should not be there."""

MOST_FINDINGS: Final = 20
"""So many findings are told; a history that was written anew would have one per record."""

_MOST_SUSPECTS: Final = MOST_FINDINGS
"""So many are held against each other; that takes some thousand hashes."""

_FURTHEST: Final = 8
"""How far records that were numbered anew are recognised."""


@dataclass(frozen=True, slots=True)
class Link:
    """One record as the store keeps it: texts, none of them parsed.

    `sequence` and `epoch` are whole numbers in decimal, `hash` the one that was written with it; empty before it is.
    """

    id: int
    at: str
    shift: str
    what: str
    by: str
    reason: str
    sequence: str
    epoch: str
    evidence: str
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Seal:
    """Where a history stood: the newest record's id and hash. An empty hash is one that nobody knows."""

    id: int
    hash: str


START: Final = Seal(0, GENESIS)
"""Where every history begins."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the chain, and what is remembered beside the records, all of one moment.

    Args:
        anchor: the last record that was pruned; `START` if none was.
        head: the newest record that was ever appended, as remembered apart from the records.
        noted: the same as noted outside of the store, where there is such a note; it may lag behind.
        links: records, oldest first.
        pruned: the same id as the anchor's, as remembered apart from it; None where nobody does.
    """

    anchor: Seal
    head: Seal
    noted: Seal | None = None
    links: Sequence[Link] = ()
    pruned: int | None = None


class Fault(StrEnum):
    """What can be wrong with a chain."""

    CHANGED = "changed"
    MISSING = "missing"
    MOVED = "moved"
    STRAY = "stray"
    CUT = "cut"
    HEAD = "head"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with the records `first` to `last`; `text` is a sentence for people."""

    fault: Fault
    first: int
    last: int
    text: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What a walk along the chain found.

    `count` records were looked at, from `first` to `last` (None if there is none); older ones up to `anchor` were
    pruned. `head` is what the store remembers as the newest. `more` findings were left out.
    """

    count: int
    first: Link | None
    last: Link | None
    anchor: Seal
    head: Seal
    findings: tuple[Finding, ...]
    more: int

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A record whose hash is not that of its texts after `before`, but would be `computed`; before that was `older`."""

    link: Link
    before: str
    older: str
    computed: str


def digest(previous: str, link: Link, number: int | None = None) -> str:
    """Return the hash of a record's texts after the hash `previous`.

    Args:
        previous: the hash before it.
        link: the record; its own `hash` does not matter.
        number: an id to take instead of its own.
    """
    found = hashlib.sha256()
    identity = str(link.id if number is None else number)
    told = (link.at, link.shift, link.what, link.by, link.reason, link.sequence, link.epoch, link.evidence)
    for text in (FORMAT, previous, identity, *told):
        raw = text.encode("utf-8", "surrogatepass")  # no text is one that cannot be checked
        found.update(b"%d:%b," % (len(raw), raw))
    return found.hexdigest()


def chained(head: Seal, link: Link) -> Link:
    """Return a record as the one that comes after `head`: with its id and its hash."""
    return replace(link, id=head.id + 1, hash=digest(head.hash, link, head.id + 1))


def follows(previous: str, link: Link) -> bool:
    """Return whether a record's hash is that of its texts after the hash `previous`."""
    return digest(previous, link) == link.hash


class Walk:
    """Goes along a chain, stretch after stretch, in bounded memory, and finds out what was done to it.

    Records may be appended and pruned between two stretches.

    Args:
        newest_only: begin with whatever record comes first, on trust, if it is not the oldest.
    """

    def __init__(self, *, newest_only: bool = False) -> None:
        self._trusting = newest_only
        self._began = False
        self._next_id = FIRST_ID
        self._anchor = self._last = self._head = START
        self._noted: Seal | None = None
        self._count = 0
        self._ends: tuple[Link, Link] | None = None
        self._found: list[Finding] = []
        self._suspects: list[_Suspect] = []
        self._more = 0
        self._offset = 0
        self._older = ""
        self._pruned: int | None = None

    @property
    def next_id(self) -> int:
        """The id from which on the next stretch is to be asked for."""
        return self._next_id

    @property
    def count(self) -> int:
        """How many records were looked at so far."""
        return self._count

    def take(self, stretch: Stretch) -> bool:
        """Go along one more stretch; return whether there may be more: until one has no records."""
        if not self._began:
            self._began, self._noted = True, stretch.noted
        if stretch.anchor.id > self._anchor.id:
            self._anchor = stretch.anchor
        if stretch.anchor.id > self._last.id:
            self._last = stretch.anchor
        for link in stretch.links:
            self._step(link)
            self._next_id = link.id + 1
        self._head, self._pruned = stretch.head, stretch.pruned
        return bool(stretch.links)

    def result(self) -> Examined:
        """Return what was found, after the last stretch."""
        found = [*self._found, *self._beginning(), *self._judged(), *self._ending()]
        found.sort(key=lambda each: each.first)
        first, last = self._ends or (None, None)
        told = tuple(found[:MOST_FINDINGS])
        more = self._more + len(found) - len(told)
        return Examined(self._count, first, last, self._anchor, self._head, told, more)

    def _step(self, link: Link) -> None:
        before = self._last
        self._count += 1
        if link.id <= before.id:
            text = f"record {link.id} is there, although everything up to {before.id} was pruned: it was put in"
            self._note(Finding(Fault.STRAY, link.id, link.id, text))
            return
        if link.id == before.id + 1:
            self._compare(link, before.hash)
        elif not self._trusting:
            self._note(_missing(before.id + 1, link.id - 1, link.id))
        self._trusting = False
        noted = self._noted
        if noted is not None and noted.hash and noted.id == link.id and noted.hash != link.hash:
            text = f"record {link.id} is another than the one that was noted beside the store when it was saved"
            self._note(Finding(Fault.NOTE, link.id, link.id, text))
        self._ends = (self._ends[0] if self._ends else link, link)
        self._older = before.hash
        self._last = Seal(link.id, link.hash)

    def _compare(self, link: Link, before: str) -> None:
        computed = digest(before, link)
        if computed == link.hash:
            self._offset = 0
        elif len(self._suspects) >= _MOST_SUSPECTS:
            self._more += 1
        elif not self._is_renumbered(link, before):
            self._suspects.append(_Suspect(link, before, self._older, computed))

    def _is_renumbered(self, link: Link, before: str) -> bool:
        """Return whether a record is whole but for its number; the first of such is a finding."""
        for offset in (self._offset, *(sign * step for step in range(1, _FURTHEST + 1) for sign in (1, -1))):
            if digest(before, link, link.id + offset) != link.hash:
                continue
            if offset != self._offset:
                self._offset = offset
                what = "taken out" if offset > 0 else "put in"
                text = (
                    f"record {link.id} and what follows it were written with other numbers, beginning with"
                    f" {link.id + offset}: {abs(offset)} before it {'was' if abs(offset) == 1 else 'were'} {what}"
                )
                self._note(Finding(Fault.MOVED, link.id, link.id, text))
            return True
        return False

    def _judged(self) -> Iterator[Finding]:
        """Yield what is wrong with the records that do not follow from the ones before them."""
        told = False
        for each in self._suspects:
            finding = self._judge(each)
            if finding is not None:
                told = True
                yield finding
        if self._suspects and not told and not self._found:  # each would follow from another, and yet none is in place
            yield _changed(self._suspects[0].link.id)

    def _judge(self, suspect: _Suspect) -> Finding | None:
        """Return what was done to a record; None if it is whole, and only what was before it is not there any more."""
        link, hashes = suspect.link, {each.link.hash for each in self._suspects}
        if any(each.link.id == link.id + 1 and follows(suspect.computed, each.link) for each in self._suspects):
            text = f"the hash of record {link.id} was changed; what it says is as it was written"
            return Finding(Fault.CHANGED, link.id, link.id, text)
        hashes |= {each for other in self._suspects for each in (other.before, other.older, other.computed)}
        if any(follows(each, link) for each in hashes):
            return None
        for number in (link.id - 1, *(each.link.id for each in self._suspects)):
            if any(digest(each, link, number) == link.hash for each in hashes):
                text = f"in the place of record {link.id} is the one that was written as record {number}"
                return Finding(Fault.MOVED, link.id, link.id, text)
        return _changed(link.id)

    def _beginning(self) -> Iterator[Finding]:
        """Yield what is missing at the beginning though nobody pruned it."""
        pruned, anchor = self._pruned, self._anchor.id
        if pruned is not None and anchor > pruned:
            which, were = (
                (f"record {anchor} is", "was")
                if anchor == pruned + 1
                else (f"records {pruned + 1} to {anchor} are", "were")
            )
            text = f"{which} missing, and {were} not pruned: the beginning was cut off"
            yield Finding(Fault.CUT, pruned + 1, anchor, text)

    def _ending(self) -> Iterator[Finding]:
        """Yield what is wrong with the end of the history."""
        last, head, noted = self._last, self._head, self._noted
        if head.id > last.id:
            text = f"history ends with record {last.id}, but {head.id} were appended: the newest were cut off"
            yield Finding(Fault.CUT, last.id + 1, head.id, text)
        elif head.id < last.id:
            text = f"records {head.id + 1} to {last.id} are there, but the newest that was appended is {head.id}"
            yield Finding(Fault.HEAD, head.id + 1, last.id, text)
        elif head.hash != last.hash:
            text = f"record {last.id} is the newest, but not as it was when it was appended: its hash is another"
            yield Finding(Fault.HEAD, last.id, last.id, text)
        if noted is not None and noted.id > max(last.id, head.id):
            text = f"history ends with record {last.id}, but a note beside the store says that {noted.id} were saved"
            yield Finding(Fault.CUT, last.id + 1, noted.id, text)

    def _note(self, finding: Finding) -> None:
        if len(self._found) < _MOST_SUSPECTS:
            self._found.append(finding)
        else:
            self._more += 1


def _missing(first: int, last: int, then: int) -> Finding:
    which = f"record {first} is" if first == last else f"records {first} to {last} are"
    return Finding(Fault.MISSING, first, last, f"{which} missing; so record {then} cannot be checked")


def _changed(number: int) -> Finding:
    other = f", or record {number - 1} was and got a hash that fits" if number > 1 else ""
    return Finding(Fault.CHANGED, number, number, f"record {number} was changed after it was written{other}")
