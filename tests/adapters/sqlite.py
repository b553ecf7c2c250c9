"""What the tests of the SQLite store put into it, and how they come to it past shifter."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from shifter.adapters.sqlite import SqliteStore
from shifter.core.deciding.orders import Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.records import NewRecord, What
from shifter.core.state import ShiftState
from tests.documents import a_policy

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def a_state(sequence: int = 0) -> ShiftState:
    return ShiftState(name="shop", policy=a_policy(), since=NOW, sequence=sequence)


def a_record(reason: str = "because") -> NewRecord:
    return NewRecord(NOW, "shop", What.PHASE, "shifter", reason)


def filled(store: SqliteStore) -> None:
    """Fill the store: state version 1, records 1 and 2, order 1 answered, order 2 open."""
    for _ in range(2):
        store.create_order(OrderRequest("shop", Verb.PAUSE, "ana", "lunch"), NOW)
    store.save(a_state(), 0, [a_record("one"), a_record("two")], [OrderAnswer(1, Answer.ACCEPTED, "paused", NOW)])


@contextmanager
def shell(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file as a person would, past shifter; what was done is committed at the end."""
    with closing(sqlite3.connect(path)) as raw, raw:
        yield raw
