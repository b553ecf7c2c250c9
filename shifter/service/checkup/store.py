"""The store, looked at and not touched: its version, its soundness, who serves it, and how long it has been silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from shifter.core.chain import FIRST_ID, Examined, Walk
from shifter.core.documents.fleet import Fleet
from shifter.core.records import What
from shifter.core.state import Report
from shifter.errors import RefusedError, ShifterError
from shifter.ports import LeaseFacts, Store, StoreFacts
from shifter.service.checkup.findings import Finding, Group, Notes, few
from shifter.service.checkup.gathering import Outcome, Unanswered

_RECORDS_LOOKED_AT: Final = 500
_RECORDS_CHECKED: Final = 1000
_DEAD: Final = "see runbook 'shifter is dead'"
_UNREADABLE: Final = "see runbook 'Hold: unreadable'"


@dataclass(frozen=True, slots=True)
class StoreDoor:
    """How the store is looked at without touching it.

    `absence` says why there is none, empty if there is one; `open_` gives a store that only answers.
    """

    path: Path
    absence: Callable[[Path], str]
    facts: Callable[[Path], StoreFacts]
    lease: Callable[[Path], LeaseFacts]
    open_: Callable[[Path], Store]


@dataclass(frozen=True, slots=True)
class StoreLook:
    """What was seen. Everything but `lease` is empty if there is no store.

    `trouble` is why its contents cannot be read, or why there is none. `last_write` is when a write to the cloud was
    last read back, `written` are the shifts whose weights shifter has verified. `unreadable`: what of states and
    reports cannot be read, and what to do. `chain` is what became of the newest
    records, or why that cannot be told.
    """

    path: Path
    exists: bool
    lease: LeaseFacts
    facts: StoreFacts | None = None
    reports: Mapping[str, Report] | None = None
    open_orders: int = 0
    last_write: datetime | None = None
    written: frozenset[str] = frozenset()
    unreadable: Sequence[str] = ()
    chain: Examined | str = ""
    trouble: str = ""


def look(door: StoreDoor) -> StoreLook:
    """Return what there is to see.

    Raises:
        StoreUnavailableError: the file cannot be read, or is no store.
    """
    lease = door.lease(door.path)
    if absent := door.absence(door.path):
        return StoreLook(door.path, exists=False, lease=lease, trouble=absent)
    facts = door.facts(door.path)
    store = door.open_(door.path)
    try:
        states, told = store.load(), store.reports()
        orders = len(store.open_orders())
        done = [each for each in store.history(limit=_RECORDS_LOOKED_AT) if each.record.what is What.DONE]
        written = frozenset(name for name, saved in states.readable.items() if saved.state.weights)
        chain = _newest(store)
    except ShifterError as error:
        return StoreLook(door.path, exists=True, lease=lease, facts=facts, trouble=str(error))
    finally:
        store.close()
    return StoreLook(
        door.path,
        exists=True,
        lease=lease,
        facts=facts,
        reports=told.readable,
        unreadable=(*states.unreadable.values(), *told.unreadable.values()),
        open_orders=orders,
        last_write=done[-1].record.at if done else None,
        written=written,
        chain=chain,
    )


def _newest(store: Store) -> Examined | str:
    """Return how the newest records hang together, the first of them on trust; or why that cannot be told."""
    walk = Walk(newest_only=True)
    try:
        newest = store.chain(FIRST_ID, 0).head.id
        walk.take(store.chain(max(newest - _RECORDS_CHECKED, FIRST_ID), _RECORDS_CHECKED + 1))
    except RefusedError as error:
        return str(error)
    return walk.result()


def findings(seen: StoreLook | Unanswered, fleet: Fleet | None, now: datetime) -> Sequence[Finding]:
    """Return what is wrong with the store and with whoever serves it."""
    notes = Notes(Group.STORE)
    if isinstance(seen, Unanswered):
        fix = "look at the disk; restore a backup (runbook 'The store')"
        if seen.outcome is Outcome.BROKEN:
            notes.unknown("store", seen.why, "report it with `shifter bundle`")
        else:
            notes.problem("store", seen.why, fix)
        return notes.found
    _lease(notes, seen)
    if not seen.exists:
        text = f"{seen.trouble}; `shifter run` makes one"
        notes.warning("store", text, "if there should be one: pass --store or set SHIFTER_STORE")
        return notes.found
    if seen.facts is not None:
        _file(notes, seen.path, seen.facts)
    if seen.trouble:
        notes.problem("contents", seen.trouble, "run the version that wrote it, or restore a backup")
    elif seen.reports is not None:
        _contents(notes, seen, fleet, now)
    return notes.found


def _lease(notes: Notes, seen: StoreLook) -> None:
    lease = seen.lease
    if lease.held is None:
        text = "the lock file cannot be read, so whether a service runs cannot be told"
        notes.unknown("service", text, f"ls -l {seen.path}.lock; run as the service's user")
    elif lease.held:
        since = f" since {lease.since:%Y-%m-%d %H:%M:%S} UTC" if lease.since else ""
        notes.ok("service", f"one runs on this store: pid {lease.pid or 'unknown'}{since}")
    else:
        text = "none runs on this store: nothing climbs, and nothing goes back by itself"
        notes.warning("service", text, f"shifter run --store {seen.path} ...; {_DEAD}")


def _file(notes: Notes, path: Path, facts: StoreFacts) -> None:
    if facts.schema_version > facts.known_version:
        text = (
            f"schema version {facts.schema_version}, written by shifter {facts.written_by or '?'}; this one knows "
            f"{facts.known_version} and only reads it"
        )
        notes.problem("schema", text, "run the later version of shifter")
    else:
        notes.ok("schema", f"version {facts.schema_version}, written by shifter {facts.written_by or '?'}")
    if facts.damage is None:
        text = "too large to be looked through in a few seconds"
        notes.unknown("soundness", text, f"sqlite3 'file:{path}?mode=ro' 'PRAGMA quick_check'")
    elif facts.damage:
        text = f"{path} is damaged: {facts.damage}"
        notes.problem("soundness", text, "stop the service, keep the file, restore a backup (runbook 'The store')")
    else:
        notes.ok("soundness", "looked through, no damage")


def _history(notes: Notes, seen: StoreLook) -> None:
    if isinstance(seen.chain, str):
        notes.untried("history", f"not checked: {seen.chain}")
    elif seen.chain.sound:
        notes.ok("history", f"the newest {seen.chain.count:,} records are as they were written")
    else:
        more = len(seen.chain.findings) + seen.chain.more - 1
        text = seen.chain.findings[0].text + (f"; and {more:,} more" if more else "")
        notes.problem("history", text, f"keep a copy of the file; shifter history --verify --store {seen.path}")


def _contents(notes: Notes, seen: StoreLook, fleet: Fleet | None, now: datetime) -> None:
    reports = seen.reports or {}
    _history(notes, seen)
    for trouble in seen.unreadable:
        notes.problem("shifts", trouble, f"{_UNREADABLE}; the other shifts go on")
    notes.ok("shifts", f"{len(reports)} told about: {few(reports) or 'none'}; {seen.open_orders} orders wait")
    if not seen.lease.held:
        return
    silent = [each.name for each in reports.values() if now - each.at > timedelta(seconds=each.silent_after_seconds)]
    if reports and len(silent) == len(reports):
        newest = max(each.at for each in reports.values())
        text = f"the service holds the lock and has told nothing for {(now - newest).total_seconds():.0f} s: it hangs"
        notes.problem("service", text, f"restart it; {_DEAD}")
    elif silent:
        text = f"not looked at lately: {few(silent)}"
        notes.warning("shifts", text, "no policy names them any more, or their turns fail: shifter describe")
    modes = {each.mode for each in reports.values() if each.name not in silent and each.mode}
    if fleet is not None and modes and modes != {fleet.spec.mode}:
        text = f"the service runs in mode {', '.join(sorted(modes))}, the fleet file says {fleet.spec.mode}"
        notes.warning("mode", text, "restart the service, or see what --mode it was started with")
