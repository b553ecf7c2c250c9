"""The store in a file, looked at and not touched: its version, its soundness, who serves it, and what is in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shifter.errors import ShifterError
from shifter.ports import LeaseFacts, Store, StoreFacts
from shifter.service.checkup.contents import DEAD, Contents, Past, judge, judge_past, read_contents, read_past
from shifter.service.checkup.doors import Context, Kept
from shifter.service.checkup.findings import Finding, Group, Notes
from shifter.service.checkup.gathering import Errand, Outcome, Unanswered


@dataclass(frozen=True, slots=True)
class FileDoor:
    """A store in a file, and how it is looked at without touching it.

    `absence` says why there is none, empty if there is one; `open_` gives a store that only answers.
    """

    path: Path
    absence: Callable[[Path], str]
    facts: Callable[[Path], StoreFacts]
    lease: Callable[[Path], LeaseFacts]
    open_: Callable[[Path], Store]

    @property
    def file(self) -> Path:
        """Where it lies."""
        return self.path

    def survey(self, *, offline: bool) -> FileSurvey:
        """Return a look to be taken: this machine's own disk is looked at with `offline`, too."""
        del offline
        return FileSurvey(self)


@dataclass(frozen=True, slots=True)
class StoreLook:
    """What was seen. Everything but `lease` is empty if there is no store.

    `trouble` is why its contents cannot be read, or why there is none.
    """

    path: Path
    exists: bool
    lease: LeaseFacts
    facts: StoreFacts | None = None
    contents: Contents | None = None
    past: Past | None = None
    trouble: str = ""


class FileSurvey:
    """One look at a store in a file."""

    def __init__(self, door: FileDoor) -> None:
        self._look: Errand[StoreLook] = Errand(partial(look, door))

    @property
    def errands(self) -> Sequence[Errand[Any]]:
        """What there is to find out."""
        return (self._look,)

    def findings(self, context: Context) -> Sequence[Finding]:
        """Return what is wrong with the store and with whoever serves it."""
        return findings(self._look.answer, context)

    def kept(self) -> Kept:
        """Return what others are judged by."""
        seen = self._look.answer
        if isinstance(seen, Unanswered) or seen.contents is None or seen.past is None:
            return Kept()
        return Kept(seen.past.last_write, seen.contents.written)


def look(door: FileDoor) -> StoreLook:
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
        contents, past = read_contents(store), read_past(store)
    except ShifterError as error:
        return StoreLook(door.path, exists=True, lease=lease, facts=facts, trouble=str(error))
    finally:
        store.close()
    return StoreLook(door.path, exists=True, lease=lease, facts=facts, contents=contents, past=past)


def findings(seen: StoreLook | Unanswered, context: Context) -> Sequence[Finding]:
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
    if seen.past is not None:
        judge_past(notes, seen.past, f"keep a copy of the file; shifter history --verify --store {seen.path}")
    if seen.contents is not None:
        judge(notes, seen.contents, context, "lock" if seen.lease.held else "")
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
        notes.warning("service", text, f"shifter run --store {seen.path} ...; {DEAD}")


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
