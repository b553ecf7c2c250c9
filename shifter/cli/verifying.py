"""`shifter history --verify`: goes along the whole chain of the records and says what was done to it.

Beside `reading.py`, since it needs none of what tables need. A million records pass through in pages, and who waits is
told how far it is; what cannot be parsed is checked all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

import click

from shifter.cli.exits import Exit, say
from shifter.cli.output import Format, clean, local, write_document
from shifter.cli.session import Session
from shifter.cli.views import views
from shifter.core.chain import Examined, Link, Seal, Walk
from shifter.core.deciding.orders import FLEET
from shifter.core.text import so_many
from shifter.ports import WHOLE, Store

_PAGE: Final = 500
_SILENT: Final = timedelta(seconds=5)


def verify(session: Session, shift: str | None, form: Format) -> Exit:
    """Check all records, or those of one shift where each has a chain; write what was found, return the exit code.

    Raises:
        UsageError: one shift's records are asked for, and they are in one chain with all others.
        CommandError: there is no such shift.
        RefusedError: the store was written by a version that chained no records, or does so otherwise.
        StoreUnavailableError: it cannot be read.
    """
    store = session.store()
    chains = store.chains()
    if shift is not None:
        if WHOLE in chains:
            said = "--verify checks the records of all shifts together: they are one chain"
            raise click.UsageError(said, click.get_current_context())
        views(store, [shift])  # an unknown name is an error of its own
        chains = [chain for chain in chains if chain == shift]
    found = {chain: _walked(session, store, chain) for chain in chains}
    if form in {Format.JSON, Format.YAML}:
        write_document("HistoryVerification", _document_of_all(found), form)
    else:
        for line in _lines_of_all(found):
            click.echo(line)
    if all(each.sound for each in found.values()):
        return Exit.OK
    kept = "the file as it is" if WHOLE in found else "it: `kubectl get shiftrecords -o yaml`"
    say(f"hint: keep a copy of {kept}; see 'The store' in docs/runbook.md")
    return Exit.UNHEALTHY


def _walked(session: Session, store: Store, chain: str) -> Examined:
    walk, told = Walk(), session.now()
    while walk.take(stretch := store.chain(walk.next_id, _PAGE, chain)):
        if (now := session.now()) - told >= _SILENT:
            told = now
            say(f"{walk.count:,} of {stretch.head.id - stretch.anchor.id:,} records checked ...")
    return walk.result()


def _lines_of_all(found: Mapping[str, Examined]) -> Iterator[str]:
    """Yield what people read: of the one chain, or of every chain with its name in front, and then of all."""
    if WHOLE in found:
        yield from _lines(found[WHOLE])
        return
    for chain, each in found.items():
        name = "all shifts" if chain == FLEET else clean(chain)
        yield from (f"{name}: {line}" for line in _lines(each))
    broken, count = sum(not each.sound for each in found.values()), sum(each.count for each in found.values())
    said = f"{broken:,} of them not as written" if broken else "all of them unbroken"
    yield f"{so_many(len(found), 'chain')}, {so_many(count, 'record')}: {said}"


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


def _document_of_all(found: Mapping[str, Examined]) -> dict[str, object]:
    if WHOLE in found:
        return _document(found[WHOLE])
    return {
        "sound": all(each.sound for each in found.values()),
        "records": sum(each.count for each in found.values()),
        "chains": [{"name": chain, **_document(each)} for chain, each in found.items()],
    }


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
