"""The chain of the records in the file: gone on with by every save, read to be checked, begun by an upgrade.

Columns are read as the bytes that they are: what somebody put into the file need not be text, and must not keep
anybody from finding out. Every function works inside the transaction of whoever calls it. What the hashes mean is
`core/chain.py`'s matter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from shifter.core.chain import FIRST_ID, GENESIS, Link, Seal, Stretch, chained

_TEXTS: Final = ("at", "shift", "what", "who", "why", "sequence", "epoch", "evidence")
_HASHED: Final = "id, " + ", ".join(f"CAST({column} AS BLOB)" for column in _TEXTS)

_LINKS: Final = f"SELECT {_HASHED}, CAST(hash AS BLOB) FROM history WHERE id >= ? ORDER BY id LIMIT ?"  # noqa: S608 - our words
_UNCHAINED: Final = f"SELECT {_HASHED} FROM history_of_version_2 ORDER BY id"  # noqa: S608 - our words
_NEW_LINK: Final = (
    "INSERT INTO history (id, at, shift, what, who, why, sequence, epoch, evidence, hash)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# By SQLite itself, byte for byte, whatever is in the columns.
_COPIED: Final = "INSERT INTO history SELECT *, ? FROM history_of_version_2 WHERE id = ?"
_SEALED: Final = "SELECT CAST(id AS INTEGER), CAST(hash AS BLOB) FROM chain WHERE name = ?"
_NEWEST: Final = "SELECT id, CAST(hash AS BLOB) FROM history ORDER BY id DESC LIMIT 1"
_COUNTED: Final = "SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM counters WHERE name = 'history'"

# Beside the anchor, so that who moves that one has to know of this one too. A file whose last prune is older than this
# rule has none.
_PRUNED_TO: Final = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'prunedTo'"
_NOTE_PRUNED: Final = "INSERT OR REPLACE INTO meta SELECT 'prunedTo', id FROM chain WHERE name = 'anchor'"

SET_SEAL: Final = "INSERT OR REPLACE INTO chain VALUES (?, ?, ?)"
"""Sets `head` or `anchor`: its name, its id, its hash."""

_LARGEST: Final = 2**63 - 1
_ROWS_AT_ONCE: Final = 500


def append_links(connection: sqlite3.Connection, links: Iterable[Link]) -> Seal:
    """Append records, each after the one before it, and return the newest record there ever was.

    Their ids and hashes are found here. A file whose own memory of its newest record is gone goes on after the
    newest that is there: to refuse would cost a record, and the walk along the chain tells of it.
    """
    ((counted,),) = connection.execute(_COUNTED).fetchall()
    found = _seal(connection.execute(_SEALED, ("head",)).fetchone()) or _seal(connection.execute(_NEWEST).fetchone())
    head = Seal(int(counted), found.hash if found else GENESIS)
    rows = []
    for link in links:
        new = chained(head, link)
        rows.append(_row_of(new))
        head = Seal(new.id, new.hash)
    connection.executemany(_NEW_LINK, rows)
    return head


def stretch(connection: sqlite3.Connection, first: int, limit: int, noted: Seal | None) -> Stretch:
    """Return at most `limit` records from id `first` on, with what the file remembers beside them."""
    counted = int(connection.execute(_COUNTED).fetchone()[0])
    sealed = _seal(connection.execute(_SEALED, ("head",)).fetchone())
    anchor = _seal(connection.execute(_SEALED, ("anchor",)).fetchone())
    head = sealed if sealed is not None and sealed.id == counted else Seal(counted, "")  # one of the two was changed
    links: tuple[Link, ...] = ()
    if first <= _LARGEST and limit > 0:
        links = tuple(map(_link_from, connection.execute(_LINKS, (max(first, FIRST_ID), min(limit, _LARGEST)))))
    pruned = connection.execute(_PRUNED_TO).fetchone()
    return Stretch(anchor or Seal(0, GENESIS), head, noted, links, None if pruned is None else int(pruned[0]))


def newest_link(connection: sqlite3.Connection) -> Seal:
    """Return the newest record there ever was, as the file remembers it."""
    return stretch(connection, 0, 0, None).head


def hash_of(connection: sqlite3.Connection, record_id: int) -> str | None:
    """Return the hash of one record; None if it is not there."""
    found = _seal(
        connection.execute("SELECT id, CAST(hash AS BLOB) FROM history WHERE id = ?", (record_id,)).fetchone()
    )
    return found.hash if found else None


def move_anchor(connection: sqlite3.Connection, before: int) -> None:
    """Remember the newest of the records with an id below `before`, which are about to be pruned."""
    last = "SELECT id, CAST(hash AS BLOB) FROM history WHERE id < ? ORDER BY id DESC LIMIT 1"
    found = _seal(connection.execute(last, (before,)).fetchone())
    if found is not None:
        connection.execute(SET_SEAL, ("anchor", found.id, found.hash))


def note_pruned(connection: sqlite3.Connection) -> None:
    """Remember beside the chain how far history was pruned: to the anchor."""
    connection.execute(_NOTE_PRUNED)


def chain_all(connection: sqlite3.Connection) -> None:
    """Copy the records of `history_of_version_2` into `history`, chained as they are found.

    What was done to them before cannot be told. A million of them pass through, and never more than some at once.
    """
    head = anchor = Seal(0, GENESIS)
    for link in _unchained(connection):
        if anchor.id == head.id == 0:
            head = anchor = Seal(link.id - 1, GENESIS)
        new = chained(Seal(link.id - 1, head.hash), link)
        connection.execute(_COPIED, (new.hash, new.id))
        head = Seal(new.id, new.hash)
    if head.id == 0:  # pruned to the last one, or never begun
        head = anchor = Seal(int(connection.execute(_COUNTED).fetchone()[0]), GENESIS)
    for name, seal in (("anchor", anchor), ("head", head)):
        connection.execute(SET_SEAL, (name, seal.id, seal.hash))


def _unchained(connection: sqlite3.Connection) -> Iterator[Link]:
    old = connection.execute(_UNCHAINED)
    while rows := old.fetchmany(_ROWS_AT_ONCE):
        for row in rows:
            yield _link_from((*row, b""))


def _link_from(row: tuple[object, ...]) -> Link:
    number, *texts = row
    at, shift, what, by, reason, sequence, epoch, evidence, seal = map(_text, texts)
    return Link(int(str(number)), at, shift, what, by, reason, sequence, epoch, evidence, seal)


def _row_of(link: Link) -> tuple[str | int, ...]:
    told = (link.at, link.shift, link.what, link.by, link.reason)
    return (link.id, *told, int(link.sequence), int(link.epoch), link.evidence, link.hash)


def _seal(row: tuple[int, object] | None) -> Seal | None:
    return None if row is None else Seal(int(row[0]), _text(row[1]))


def _text(value: object) -> str:
    """Return a column's bytes as text; bytes that are none can be told apart, and are never what was hashed."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else ""
