"""The right to raise shares on one SQLite file, and what is asked of the file before anybody works on it.

A start is the moment to be strict: nothing is under way yet, and a person is there to read. So the file is looked
through for damage, and one that is gone or empty is not simply made anew. One that is older than what was saved here
before, a backup, or has another history, or states that are behind it, is taken with all shifts frozen. Only the holder
of the lease upgrades a file of an earlier version: a command that did it beside a running service would take the file
away from under it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import shifter
from shifter.adapters import saved_form, saved_records
from shifter.adapters.sqlite.behind import states_behind
from shifter.adapters.sqlite.chaining import append_links, hash_of, newest_link
from shifter.adapters.sqlite.file import SqliteFile
from shifter.adapters.sqlite.lock import name_file, take_lock
from shifter.adapters.sqlite.mark import Mark
from shifter.adapters.sqlite.place import lock_path, real
from shifter.adapters.sqlite.rows import replace_fleet, saved_fleet
from shifter.adapters.sqlite.schema import SET_META
from shifter.core.chain import START, Seal
from shifter.core.deciding.orders import FLEET
from shifter.core.records import SERVICE, NewRecord, What
from shifter.core.state import Freeze
from shifter.errors import RefusedError

_COUNT: Final = "UPDATE counters SET value = value + 1 WHERE name = 'epoch' RETURNING value"


class SqliteLease:
    """The right to raise shares: an OS lock beside the SQLite file, and the count of those who had it.

    Args:
        path: the store's file, as given to `SqliteStore`.
        clock: says when a freeze was put in place.

    Raises:
        RefusedError: another process has it (its pid and since when are in the text), a later version of shifter
            wrote the file, it is damaged, it has another name, or it is gone though shifter has saved here before.
        StoreUnavailableError: the file or the lock file cannot be used.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._lock_path = lock_path(path)
        self._file = SqliteFile(path, of_lease=True)
        self._mark = Mark(path)
        self._descriptor: int | None = take_lock(self._lock_path)
        try:
            self._refuse_what_is_gone(real(path))
            self._file.examine()
            name_file(self._descriptor, real(path))
            self._copy = self._file.upgrade()
            self._epoch, self._restored = self._begin(clock())
        except BaseException:
            self.release()
            raise

    @property
    def epoch(self) -> int:
        """The number of this start; on the disk before anybody sees it, so no later one has it too."""
        return self._epoch

    @property
    def notes(self) -> tuple[str, ...]:
        """What this start did to the file, in sentences for people."""
        copied = () if self._copy is None else (f"the file was upgraded; as it was before, it is in {self._copy}",)
        return (*copied, self._restored) if self._restored else copied

    def valid(self) -> bool:
        """Return whether the lock is held on the file that others would lock, and the store is still in place."""
        if self._descriptor is None:
            return False
        try:
            ours = os.fstat(self._descriptor)
            theirs = self._lock_path.stat()
        except OSError:
            return False
        return os.path.samestat(ours, theirs) and self._file.in_place()

    def may_lower(self) -> bool:
        """Return True: the one file is on this machine, and a retreat must not depend on whether it can be seen."""
        return True

    def release(self) -> None:
        """Let the lock go. Calling twice is harmless."""
        descriptor, self._descriptor = self._descriptor, None
        self._file.close()
        if descriptor is not None:
            with suppress(OSError):  # the pid in it is for people only
                os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def _refuse_what_is_gone(self, path: Path) -> None:
        """Refuse a file that is not there any more, or that somebody could come to by another name."""
        if not path.exists():
            if self._marked().id:
                self._refuse_empty(path)
        elif path.is_file() and (names := path.stat().st_nlink) > 1:
            raise RefusedError(
                f"state store {path} has {names} names (hard links), and a second shifter could run under another:"
                " remove the others"
            )

    def _marked(self) -> Seal:
        return self._mark.read() or START

    def _refuse_empty(self, path: Path) -> None:
        raise RefusedError(
            f"nothing is in the state store {path}, though {self._marked().id} records were saved there: put the file"
            f" or a backup of it back; to begin anew without it, remove {self._mark.path}"
        )

    def _begin(self, now: datetime) -> tuple[int, str]:
        """Count this start and return its number; freeze all shifts if the file is not the one that was saved here.

        Returns:
            The epoch, and why all shifts were frozen; empty if they were not.
        """
        marked = self._marked()
        with self._file.writing() as connection:
            newest = newest_link(connection)
            if newest.id == 0 < marked.id:
                self._refuse_empty(self._file.path)
            why = _restored(connection, newest, marked) or _behind(connection, newest)
            if why:
                _freeze(connection, why, now)
            connection.execute(SET_META, ("writtenBy", shifter.__version__))
            ((epoch,),) = connection.execute(_COUNT).fetchall()
            newest = newest_link(connection)
        if newest != marked:
            self._mark.write(newest)  # only now: killed before, the next start says it again
        return int(epoch), why


def _restored(connection: sqlite3.Connection, newest: Seal, marked: Seal) -> str:
    """Return why the file is not the one that was saved here; empty if nothing says so."""
    if newest.id < marked.id:
        return (
            f"the state file ends with record {newest.id}, but {marked.id} were saved here: it was put back from a"
            " backup; look at every shift, then unfreeze"
        )
    if marked.hash and hash_of(connection, marked.id) not in {None, marked.hash}:
        return (
            f"record {marked.id} of the state file is another than the one that was saved here: history was rewritten,"
            " or the file is another one's; look at every shift and at shifter history --verify, then unfreeze"
        )
    return ""


def _behind(connection: sqlite3.Connection, newest: Seal) -> str:
    """Return which states are not as new as the history beside them, for people; empty if all are."""
    found = states_behind(connection, newest.id)
    return found and f"{found}: it was put back, or taken out; look at every shift and its history, then unfreeze"


def _freeze(connection: sqlite3.Connection, why: str, now: datetime) -> None:
    saved = saved_fleet(connection)
    others = tuple(freeze for freeze in saved.state.freezes if freeze.by != SERVICE)
    frozen = saved.state.model_copy(update={"freezes": (*others, Freeze(by=SERVICE, reason=why, at=now))})
    replace_fleet(connection, saved_form.fleet_text(frozen), saved.version)
    append_links(connection, [saved_records.link_of(NewRecord(now, FLEET, What.HOLDS, SERVICE, why))])
