"""The chain of the history, reckoned again by its documented format: no record was changed, left out or put in.

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
    before = _BEFORE_THE_FIRST
    for link in seen.chain:
        if hash_of(before, link) != link.kept:
            wrong.append(Violation(CHAINED, seen.ended_at, link.texts[1], f"record {link.id} does not follow"))
        before = link.kept
    known = [entry.id for entry in seen.entries]
    if seen.chain and known != [link.id for link in seen.chain]:
        wrong.append(Violation(CHAINED, seen.ended_at, "", "the chain has other records than the history"))
    return [Finding(CHAINED, len(seen.chain), tuple(wrong))]


def hash_of(before: str, link: Link) -> str:
    """Return the hash that a record must have after the hash `before`: SHA-256 over netstrings of its texts."""
    texts = (_FORMAT, before, str(link.id), *link.texts)
    raw = [text.encode("utf-8", "surrogatepass") for text in texts]
    return hashlib.sha256(b"".join(b"%d:%b," % (len(each), each) for each in raw)).hexdigest()
