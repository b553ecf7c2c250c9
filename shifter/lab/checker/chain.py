"""The chains of the history, reckoned again by their documented format: no record was changed, left out or put in.

A store that saves each shift by itself keeps a chain for each.

No run that is judged prunes, so the chain begins with the first record: the service of a soak or a kill drill drops
what is older than the fleet's `retention`, a day at least, and lives for minutes; a simulated one never prunes at all.
"""

from __future__ import annotations

import hashlib
from typing import Final

from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.seen import Link, Seen

CHAINED: Final = "every record's hash follows from the record before it"

_FORMAT: Final = "shifter record 1"
_BEFORE_THE_FIRST: Final = "0" * 64


def check(seen: Seen) -> list[Finding]:
    """Return what the rule about the chain found."""
    wrong: list[Violation] = []
    last: dict[str, str] = {}
    kept: dict[str, list[int]] = {}
    for link in seen.chain:
        if hash_of(last.get(link.chain, _BEFORE_THE_FIRST), link) != link.kept:
            wrong.append(Violation(CHAINED, seen.ended_at, link.texts[1], f"record {link.id} does not follow"))
        last[link.chain] = link.kept
        kept.setdefault(link.chain, []).append(link.id)
    known: dict[str, list[int]] = {}
    for entry in seen.entries:
        known.setdefault(entry.chain, []).append(entry.id)
    if seen.chain and known != kept:
        wrong.append(Violation(CHAINED, seen.ended_at, "", "the chain has other records than the history"))
    return [Finding(CHAINED, len(seen.chain), tuple(wrong))]


def hash_of(before: str, link: Link) -> str:
    """Return the hash that a record must have after the hash `before`: SHA-256 over netstrings of its texts."""
    texts = (_FORMAT, before, str(link.id), *link.texts)
    raw = [text.encode("utf-8", "surrogatepass") for text in texts]
    return hashlib.sha256(b"".join(b"%d:%b," % (len(each), each) for each in raw)).hexdigest()
