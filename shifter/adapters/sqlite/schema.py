"""The tables of the SQLite file, and how a file of an earlier version becomes one of this version.

The rules that must hold even against a person with the `sqlite3` shell (history is only appended to, ids have no
gaps, an order is answered once, counters only grow) are triggers in the file itself. They can be dropped: that history
is the one that was written is for `core/chain.py` to find out, and `chain` says where it began and ended. What kinds of
orders there
are is not among them: SQLite can change a CHECK only by rebuilding its table, and whoever reads an order judges
its verb anyway, since a later version may have written it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import shifter
from shifter.adapters.sqlite.chaining import SET_SEAL, chain_all, note_pruned
from shifter.core.chain import START
from shifter.core.deciding.orders import Answer
from shifter.errors import RefusedError

FILE_VERSION: Final = 3
"""The schema version of the file (`user_version`, and `schemaVersion` in `meta`)."""

CHAINED: Final = 3
"""The first version whose records are chained."""

_WITH_FLEET: Final = 2

_BEGAN_WITH: Final = {"orders": 1, "fleet": _WITH_FLEET, "chain": CHAINED}
"""A table that each version has and the one before it has not."""

APPLICATION_ID: Final = 0x73686674  # "shft": tells our file from any other program's

SET_META: Final = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"
"""Sets one row of `meta`: its name, its value."""

_FLEET: Final = (
    """CREATE TABLE fleet (
        one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, state TEXT NOT NULL) STRICT""",
    """CREATE TRIGGER fleet_is_one BEFORE INSERT ON fleet
        WHEN NEW.version <> 1 OR EXISTS (SELECT 1 FROM fleet)
        BEGIN SELECT RAISE(ABORT, 'a saved state is replaced by its next version only'); END""",
    """CREATE TRIGGER fleet_moves_on BEFORE UPDATE ON fleet
        WHEN NEW.version <> OLD.version + 1
        BEGIN SELECT RAISE(ABORT, 'a saved state is replaced by its next version only'); END""",
    """CREATE TRIGGER fleet_stays BEFORE DELETE ON fleet
        BEGIN SELECT RAISE(ABORT, 'a saved state is replaced by its next version only'); END""",
)

_ORDERS: Final = f"""CREATE TABLE orders (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, shift TEXT NOT NULL, verb TEXT NOT NULL,
        who TEXT NOT NULL, why TEXT NOT NULL, is_full INTEGER NOT NULL, is_override INTEGER NOT NULL,
        share REAL, hands_off_us INTEGER, is_adopt INTEGER NOT NULL DEFAULT 0,
        answer TEXT CHECK (answer IN ({", ".join(f"'{answer}'" for answer in Answer)})),
        answer_text TEXT NOT NULL DEFAULT '', answered_at TEXT,
        CHECK ((answer IS NULL) = (answered_at IS NULL))) STRICT"""

_RULES_OF_ORDERS: Final = (
    "CREATE INDEX open_orders ON orders (shift) WHERE answer IS NULL",
    """CREATE TRIGGER orders_in_order BEFORE INSERT ON orders
        WHEN NEW.answer IS NOT NULL OR NEW.id IS NOT (SELECT value + 1 FROM counters WHERE name = 'orders')
        BEGIN SELECT RAISE(ABORT, 'orders begin unanswered and have no gaps'); END""",
    """CREATE TRIGGER orders_counted AFTER INSERT ON orders
        BEGIN UPDATE counters SET value = NEW.id WHERE name = 'orders'; END""",
    """CREATE TRIGGER orders_answered_once BEFORE UPDATE ON orders
        WHEN OLD.answer IS NOT NULL OR NEW.answer IS NULL
            OR (NEW.id, NEW.at, NEW.shift, NEW.verb, NEW.who, NEW.why, NEW.is_full, NEW.is_override, NEW.share,
                NEW.hands_off_us, NEW.is_adopt)
            IS NOT (OLD.id, OLD.at, OLD.shift, OLD.verb, OLD.who, OLD.why, OLD.is_full, OLD.is_override, OLD.share,
                OLD.hands_off_us, OLD.is_adopt)
        BEGIN SELECT RAISE(ABORT, 'an order is answered once and not rewritten'); END""",
    """CREATE TRIGGER orders_kept BEFORE DELETE ON orders
        WHEN OLD.answer IS NULL OR OLD.answered_at >= coalesce((SELECT value FROM meta WHERE name = 'pruning'), '')
        BEGIN SELECT RAISE(ABORT, 'an order is kept until it is answered and old'); END""",
)

# `head` is the newest record there ever was, `anchor` the newest that was pruned. A row is only ever replaced, and
# replacing fires no trigger of deleting.
_CHAIN: Final = "CREATE TABLE chain (name TEXT PRIMARY KEY, id INTEGER NOT NULL, hash TEXT NOT NULL) STRICT"

_RULES_OF_CHAIN: Final = (
    """CREATE TRIGGER chain_follows BEFORE INSERT ON chain
        WHEN CASE NEW.name
            WHEN 'head' THEN (NEW.id, NEW.hash) IS NOT (SELECT id, hash FROM history ORDER BY id DESC LIMIT 1)
            WHEN 'anchor' THEN coalesce((SELECT value FROM meta WHERE name = 'pruning'), '') = ''
            ELSE 1 END
        BEGIN SELECT RAISE(ABORT, 'the chain follows history'); END""",
    """CREATE TRIGGER chain_fixed BEFORE UPDATE ON chain
        BEGIN SELECT RAISE(ABORT, 'the chain follows history'); END""",
    """CREATE TRIGGER chain_stays BEFORE DELETE ON chain
        BEGIN SELECT RAISE(ABORT, 'the chain follows history'); END""",
)

_HISTORY: Final = """CREATE TABLE history (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, shift TEXT NOT NULL, what TEXT NOT NULL, who TEXT NOT NULL,
        why TEXT NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, evidence TEXT NOT NULL,
        hash TEXT NOT NULL) STRICT"""

_RULES_OF_HISTORY: Final = (
    "CREATE INDEX history_of_shift ON history (shift, id)",
    """CREATE TRIGGER history_in_order BEFORE INSERT ON history
        WHEN NEW.id IS NOT (SELECT value + 1 FROM counters WHERE name = 'history')
        BEGIN SELECT RAISE(ABORT, 'history has no gaps'); END""",
    """CREATE TRIGGER history_counted AFTER INSERT ON history
        BEGIN
            UPDATE counters SET value = NEW.id WHERE name = 'history';
            INSERT OR REPLACE INTO chain VALUES ('head', NEW.id, NEW.hash);
        END""",
    """CREATE TRIGGER history_fixed BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'history is only appended to'); END""",
    """CREATE TRIGGER history_kept BEFORE DELETE ON history
        WHEN OLD.at >= coalesce((SELECT value FROM meta WHERE name = 'pruning'), '')
        BEGIN SELECT RAISE(ABORT, 'history is only appended to'); END""",
)

_SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
    "CREATE TABLE shifts (name TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL) STRICT",
    "CREATE TABLE reports (name TEXT PRIMARY KEY, report TEXT NOT NULL) STRICT",
    *_FLEET,
    _ORDERS,
    *_RULES_OF_ORDERS,
    _HISTORY,
    _CHAIN,
    """CREATE TRIGGER counters_grow BEFORE UPDATE ON counters
        WHEN NEW.name <> OLD.name OR NEW.value <= OLD.value
        BEGIN SELECT RAISE(ABORT, 'a counter only grows'); END""",
    """CREATE TRIGGER counters_stay BEFORE DELETE ON counters
        BEGIN SELECT RAISE(ABORT, 'a counter is never dropped'); END""",
    """CREATE TRIGGER shifts_move_on BEFORE UPDATE ON shifts
        WHEN NEW.name <> OLD.name OR NEW.version <> OLD.version + 1
        BEGIN SELECT RAISE(ABORT, 'a saved state is replaced by its next version only'); END""",
    *_RULES_OF_HISTORY,
    "INSERT INTO counters VALUES ('epoch', 0), ('history', 0), ('orders', 0)",
    "INSERT INTO meta VALUES ('pruning', ''), ('prunedTo', '0')",
    f"PRAGMA application_id = {APPLICATION_ID}",
)

# The old table is moved aside and copied, the new one made by the very words of a new file, so that nobody can
# tell the one from the other. Dropping a table drops its index and triggers and fires none of them.
_FROM_1_TO_2: Final = (
    "ALTER TABLE orders RENAME TO orders_of_version_1",
    _ORDERS,
    """INSERT INTO orders (id, at, shift, verb, who, why, is_full, is_override, answer, answer_text, answered_at)
        SELECT id, at, shift, verb, who, why, is_full, is_override, answer, answer_text, answered_at
        FROM orders_of_version_1""",
    "DROP TABLE orders_of_version_1",
    *_RULES_OF_ORDERS,
    *_FLEET,
)

# The counter stands already where the records end, so the rules come only after them.
_FROM_2_TO_3: Final = ("ALTER TABLE history RENAME TO history_of_version_2", _HISTORY, _CHAIN)


def create_schema(connection: sqlite3.Connection) -> None:
    """Make an empty file one of this version; in one transaction, which is the caller's."""
    for statement in _SCHEMA:
        connection.execute(statement)
    for name in ("anchor", "head"):
        connection.execute(SET_SEAL, (name, START.id, START.hash))
    for statement in _RULES_OF_CHAIN:
        connection.execute(statement)
    _sign(connection)


def upgrade(connection: sqlite3.Connection) -> int:
    """Make a file of an earlier version one of this version, and return which it was.

    In one transaction, which is the caller's: every statement of it can be taken back, `PRAGMA user_version` too.
    States stay as they are: their readers know the earlier form, and each is written anew by its next save.
    """
    version = version_of(connection)
    if version < _WITH_FLEET:
        for statement in _FROM_1_TO_2:
            connection.execute(statement)
    if version < FILE_VERSION:
        for statement in _FROM_2_TO_3:
            connection.execute(statement)
        chain_all(connection)
        for statement in ("DROP TABLE history_of_version_2", *_RULES_OF_HISTORY, *_RULES_OF_CHAIN):
            connection.execute(statement)
        note_pruned(connection)
        _sign(connection)
    return version


def version_of(connection: sqlite3.Connection) -> int:
    """Return the file's schema version; 0 for a file without a schema."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_misnumbered(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file whose number is not that of its tables: an upgrade would fail, after making a copy each time.

    Raises:
        RefusedError: somebody changed the number; what sets it right is in the text.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    shown = max((version for table, version in _BEGAN_WITH.items() if table in tables), default=0)
    version = version_of(connection)
    if version <= FILE_VERSION and version != shown:
        raise RefusedError(
            f"state store {path} says that it has schema version {version}, but its tables are those of version"
            f" {shown}: somebody changed the number. Nothing was changed; stop the service and set it right:"
            f' sqlite3 {path} "PRAGMA user_version = {shown}"'
        )


def _sign(connection: sqlite3.Connection) -> None:
    connection.execute(SET_META, ("schemaVersion", str(FILE_VERSION)))
    connection.execute(SET_META, ("writtenBy", shifter.__version__))
    connection.execute(f"PRAGMA user_version = {FILE_VERSION}")
