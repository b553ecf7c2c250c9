"""The embedded default store: one SQLite file on one machine.

    store.py    the store port: states, reports, orders and history in the file's tables
    lease.py    the right to raise shares, and what a start asks of the file first
    file.py     one open file: checked, upgraded, taken by one thread at a time, its errors in our words
    look.py     a store that is only looked at: nothing is changed, nothing left behind
    names.py    the names in it, for a shell that completes a word
    rows.py     how states, orders and records become rows, and rows become them
    schema.py   the tables, their triggers, and the upgrade from an earlier version
    lock.py     the lock file beside it: who runs on the store, and what that one has lost
    chaining.py the chain of the records: gone on with, read to be checked, begun by an upgrade
    mark.py     the note beside it: how far history had come
    opening.py  the two ways in which SQLite is asked for a connection: to write, and to read only
    place.py    where the file is, what lies beside it, and whether there is one

`place`, `opening` and `names` import no pydantic: whoever presses Tab does not wait for it. So nothing is imported
here before somebody asks for it by name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shifter.adapters.sqlite.lease import SqliteLease
    from shifter.adapters.sqlite.lock import is_held
    from shifter.adapters.sqlite.store import SqliteStore

__all__ = ["SqliteLease", "SqliteStore", "is_held"]

_HOMES: Final = {"SqliteLease": "lease", "SqliteStore": "store", "is_held": "lock"}


def __getattr__(name: str) -> object:
    """Import what is asked for: `from shifter.adapters.sqlite import SqliteStore`."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
