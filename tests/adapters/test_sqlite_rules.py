"""What the file itself refuses to a person with the `sqlite3` shell, and what is read of what was done there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

import shifter
from shifter.adapters.sqlite import SqliteStore
from shifter.adapters.sqlite.file import FILE_VERSION
from shifter.core.chain import FIRST_ID
from shifter.core.deciding.orders import OrderRequest, Verb
from shifter.core.records import What
from shifter.errors import RefusedError
from tests.adapters.sqlite import NOW, filled, shell


@pytest.mark.fault(
    on="SQLite",
    fault="somebody rewrites it with the `sqlite3` shell",
    does="history, orders and counters stay as they are, by the file's own triggers",
    sees="`history is only appended to` in that shell",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE history SET why = 'nothing happened'", "only appended"),
        ("UPDATE history SET evidence = '{}' WHERE id = 2", "only appended"),
        ("DELETE FROM history", "only appended"),
        ("DELETE FROM history WHERE id = 2", "only appended"),
        ("INSERT OR REPLACE INTO history SELECT 2, at, shift, what, who, 'x', 0, 0, '{}', '' FROM history", "no gaps"),
        (
            "INSERT INTO history SELECT 9, at, shift, what, who, why, 0, 0, '{}', '' FROM history WHERE id = 1",
            "no gaps",
        ),
        ("UPDATE orders SET answer = 'refused' WHERE id = 1", "answered once"),
        ("UPDATE orders SET answer = NULL, answered_at = NULL WHERE id = 1", "answered once"),
        ("UPDATE orders SET who = 'eve' WHERE id = 2", "answered once"),
        ("DELETE FROM orders WHERE id = 1", "kept until"),
        ("DELETE FROM orders WHERE id = 2", "kept until"),
        ("UPDATE orders SET verb = 'explode' WHERE id = 2", "answered once"),
        ("UPDATE counters SET value = 0", "only grows"),
        ("DELETE FROM counters", "never dropped"),
        ("UPDATE chain SET hash = ''", "follows history"),
        ("DELETE FROM chain", "follows history"),
        ("INSERT OR REPLACE INTO chain VALUES ('head', 1, '')", "follows history"),
        ("INSERT OR REPLACE INTO chain SELECT 'head', id, hash FROM history WHERE id = 1", "follows history"),
        ("INSERT OR REPLACE INTO chain SELECT 'anchor', id, hash FROM history WHERE id = 1", "follows history"),
        ("INSERT INTO chain VALUES ('tail', 1, '')", "follows history"),
        ("UPDATE shifts SET version = 1, state = '{}'", "next version"),
        ("UPDATE shifts SET version = version + 2", "next version"),
    ],
)
def test_the_file_itself_refuses_to_be_rewritten(store: SqliteStore, path: Path, statement: str, says: str) -> None:
    filled(store)
    before = (store.history(), store.chain(FIRST_ID, 9), store.order(1), store.order(2), store.load())

    with pytest.raises(sqlite3.IntegrityError, match=says), shell(path) as raw:
        raw.execute(statement)

    assert (store.history(), store.chain(FIRST_ID, 9), store.order(1), store.order(2), store.load()) == before


def test_history_stays_closed_after_a_prune(store: SqliteStore, path: Path) -> None:
    filled(store)
    store.prune(NOW - timedelta(days=1))

    with pytest.raises(sqlite3.IntegrityError, match="only appended"), shell(path) as raw:
        raw.execute("DELETE FROM history")

    assert len(store.history()) == 2


def test_history_stays_closed_without_its_pruning_mark(store: SqliteStore, path: Path) -> None:
    filled(store)
    with shell(path) as raw:
        raw.execute("DELETE FROM meta")

    with pytest.raises(sqlite3.IntegrityError, match="only appended"), shell(path) as raw:
        raw.execute("DELETE FROM history")

    assert len(store.history()) == 2


def test_the_file_states_its_version_and_what_was_pruned(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.prune(NOW)

    with shell(path) as raw:
        meta = dict(raw.execute("SELECT name, value FROM meta"))
    assert meta == {
        "schemaVersion": str(FILE_VERSION),
        "writtenBy": shifter.__version__,
        "pruning": "",
        "prunedTo": "0",
        "prunedBefore": "2026-03-04T05:06:07.000000+00:00",
    }


def test_a_kind_of_record_that_is_not_known_is_told_of_and_not_guessed(store: SqliteStore, path: Path) -> None:
    filled(store)
    with shell(path) as raw:
        raw.execute(
            "INSERT INTO history SELECT 3, at, shift, 'dance', who, why, 0, 0, '{}', '' FROM history WHERE id = 1"
        )

    odd = store.history()[-1]

    assert (odd.id, odd.record.what, odd.record.at) == (3, What.UNREADABLE, NOW)
    assert odd.record.reason.startswith("record 3 cannot be read: 'dance' is not a valid What; `shifter history")
    assert store.load()["shop"].version == 1


@pytest.mark.fault(
    on="SQLite",
    fault="one order in it is not understood",
    does="leaves that one open; obeys the others",
    sees="`order N was written by a later shifter or is damaged` for who asks",
    safe_within="at once",
)
def test_an_order_that_is_not_understood_hides_no_other(store: SqliteStore, path: Path) -> None:
    filled(store)
    copied = "INSERT INTO orders (id, at, shift, verb, who, why, is_full, is_override) SELECT"
    with shell(path) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute(f"{copied} 3, at, shift, 'dance', who, why, 0, 0 FROM orders WHERE id = 1")
        raw.execute(f"{copied} 4, 'at noon', shift, verb, who, why, 0, 0 FROM orders WHERE id = 1")
    rollback = store.create_order(OrderRequest("shop", Verb.ROLLBACK, "ana", "errors"), NOW)

    assert [order.id for order in store.open_orders()] == [2, rollback.id]
    for odd in (3, 4):
        with pytest.raises(RefusedError, match=f"order {odd} was written by a later shifter or is damaged"):
            store.order(odd)
