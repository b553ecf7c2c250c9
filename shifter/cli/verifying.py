"""`shifter history --verify`: goes along the whole chain of the records and says what was done to it.

Beside `reading.py`, since it needs none of what tables need. A million records pass through in pages, and who waits is
told how far it is; what cannot be parsed is checked all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import click

from shifter.cli.exits import Exit, say
from shifter.cli.output import Format, clean, local, write_document
from shifter.cli.session import Session
from shifter.core.chain import Examined, Link, Seal, Walk

_PAGE: Final = 500
_SILENT: Final = timedelta(seconds=5)


def verify(session: Session, form: Format) -> Exit:
    """Check all records, write what was found, and return the exit code.

    Raises:
        RefusedError: the store was written by a version that chained no records, or does so otherwise.
        StoreUnavailableError: it cannot be read.
    """
    found = _walked(session)
    if form in {Format.JSON, Format.YAML}:
        write_document("HistoryVerification", _document(found), form)
    else:
        for line in _lines(found):
            click.echo(line)
    if found.sound:
        return Exit.OK
    say("hint: keep a copy of the file as it is; see 'The store' in docs/runbook.md")
    return Exit.UNHEALTHY


def _walked(session: Session) -> Examined:
    store, walk, told = session.store(), Walk(), session.now()
    while walk.take(stretch := store.chain(walk.next_id, _PAGE)):
        if (now := session.now()) - told >= _SILENT:
            told = now
            say(f"{walk.count:,} of {stretch.head.id - stretch.anchor.id:,} records checked ...")
    return walk.result()


def _lines(found: Examined) -> Iterator[str]:
    """Yield what people read: one sentence if all is well, else one for each thing that is not."""
    pruned = f"; older ones, up to record {found.anchor.id:,}, were pruned" if found.anchor.id else ""
    if found.first is None or found.last is None:
        records = "no records"
    else:
        number = "1 record" if found.count == 1 else f"{found.count:,} records"
        records = f"{number}, {{}}from {_moment(found.first)} to {_moment(found.last)}"
    if found.sound:
        yield f"{records.format('unbroken ')}{pruned}"
        if found.head.id:
            yield f"record {found.head.id:,} has the hash {found.head.hash}: noted elsewhere, it proves all before it"
        return
    many = len(found.findings) + found.more
    yield f"{records.format('')}{pruned}: {'1 thing is' if many == 1 else f'{many:,} things are'} wrong"
    for each in found.findings:
        yield f"  {each.text}"
    if found.more:
        yield f"  and {found.more:,} more"


def _moment(link: Link) -> str:
    """Return when a record was written and which it is; as it stands there if that is no moment."""
    try:
        at = local(datetime.fromisoformat(link.at))
    except (ValueError, OverflowError):
        at = clean(repr(link.at[:40]))
    return f"{at} (record {link.id:,})"


def _document(found: Examined) -> dict[str, object]:
    return {
        "sound": found.sound,
        "records": found.count,
        "first": _end(found.first),
        "last": _end(found.last),
        "pruned": _seal(found.anchor) if found.anchor.id else None,
        "head": _seal(found.head) if found.head.id else None,
        "findings": [
            {"fault": str(each.fault), "first": each.first, "last": each.last, "text": each.text}
            for each in found.findings
        ],
        "more": found.more,
    }


def _end(link: Link | None) -> dict[str, object] | None:
    return None if link is None else {"id": link.id, "at": link.at, "hash": link.hash}


def _seal(seal: Seal) -> dict[str, object]:
    return {"id": seal.id, "hash": seal.hash or None}
