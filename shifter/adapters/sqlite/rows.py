"""The rows of the SQLite file: how states, orders and records are written into them and read out again.

Every function works inside the transaction of whoever calls it. What is in a column as text is `saved_form.py`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shifter.adapters import saved_form, saved_records
from shifter.adapters.bounds import kept_text
from shifter.adapters.sqlite.chaining import append_links
from shifter.core.chain import Link, Seal
from shifter.core.deciding.orders import Answer, Order, OrderAnswer, OrderRequest, Verb
from shifter.core.records import Record
from shifter.core.state import FleetState
from shifter.errors import ConflictError
from shifter.ports import SavedFleet

_LARGEST: Final = 2**63 - 1
_MICROSECOND: Final = timedelta(microseconds=1)

# All columns, by name: a file of an earlier version lacks some, and between asking for its version and for its
# orders or records it may have been upgraded.
_ORDER_OF_ID: Final = "SELECT * FROM orders WHERE id = ?"
NEW_ORDER: Final = (
    "INSERT INTO orders (id, at, shift, verb, who, why, is_full, is_override, share, hands_off_us, is_adopt)"
    " VALUES ((SELECT value + 1 FROM counters WHERE name = 'orders'), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)
"""Appends what `row_of_order` returns; its id is the next one."""

_HAS_FLEET: Final = "SELECT 1 FROM sqlite_master WHERE name = 'fleet'"
_FLEET: Final = "SELECT version, state FROM fleet"


def replace_state(connection: sqlite3.Connection, name: str, text: str, expected_version: int) -> None:
    """Save a shift's state over `expected_version`.

    Raises:
        ConflictError: the saved version is another.
        RefusedError: the saved state is not understood, so it is not written over.
    """
    row = connection.execute("SELECT version, state FROM shifts WHERE name = ?", (name,)).fetchone()
    version, existing = row or (0, None)
    if existing is not None:
        saved_form.read_state(name, existing)
    if version != expected_version:
        raise ConflictError(f"{name} is saved as version {version}, not {expected_version}: somebody else saved it")
    if existing is None:
        connection.execute("INSERT INTO shifts (name, version, state) VALUES (?, 1, ?)", (name, text))
    else:
        connection.execute("UPDATE shifts SET version = version + 1, state = ? WHERE name = ?", (text, name))


def replace_fleet(connection: sqlite3.Connection, text: str, expected_version: int) -> None:
    """Save the fleet's state over `expected_version`; raises as `replace_state`."""
    version, existing = connection.execute(_FLEET).fetchone() or (0, None)
    if existing is not None:
        saved_form.read_fleet(existing)
    if version != expected_version:
        raise ConflictError(
            f"all shifts together are saved as version {version}, not {expected_version}: somebody else saved them"
        )
    if existing is None:
        connection.execute("INSERT INTO fleet (one, version, state) VALUES (1, 1, ?)", (text,))
    else:
        connection.execute("UPDATE fleet SET version = version + 1, state = ?", (text,))


def saved_fleet(connection: sqlite3.Connection) -> SavedFleet:
    """Return what is remembered of all shifts together; the defaults with version 0 if nothing ever was.

    Raises:
        RefusedError: it is not understood.
    """
    row = None
    if connection.execute(_HAS_FLEET).fetchone():  # a file of version 1 remembers nothing of the kind
        row = connection.execute(_FLEET).fetchone()
    return SavedFleet(FleetState(), 0) if row is None else SavedFleet(saved_form.read_fleet(row[1]), row[0])


def append(connection: sqlite3.Connection, links: Sequence[Link], answers: Sequence[OrderAnswer]) -> Seal:
    """Append records and answer orders; return the newest record there ever was.

    Raises:
        ConflictError: an order was answered before.
        NotFoundError: there is no such order.
    """
    head = append_links(connection, links)
    for answer in answers:
        _answer_order(connection, answer)
    return head


def _answer_order(connection: sqlite3.Connection, answer: OrderAnswer) -> None:
    saved_form.check_answerable(answer.order_id, find_order(connection, answer.order_id))
    connection.execute(
        "UPDATE orders SET answer = ?, answer_text = ?, answered_at = ? WHERE id = ?",
        (answer.answer.value, kept_text(saved_form.plain(answer.text)), saved_form.stamp(answer.at), answer.order_id),
    )


def find_order(connection: sqlite3.Connection, order_id: int) -> Order | None:
    """Return one order; None if there is none by that id."""
    if not 0 < order_id <= _LARGEST:
        return None
    row = named(connection).execute(_ORDER_OF_ID, (order_id,)).fetchone()
    return None if row is None else order_from(row)


def named(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """Return a cursor whose rows know their columns' names."""
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor


def order_from(row: sqlite3.Row) -> Order:
    """Return the order in a row of all columns that its file has.

    Raises:
        RefusedError: a later version wrote it, or it is damaged.
    """
    with saved_form.understood(f"order {row['id']}"):
        answered = None if row["answer"] is None else Answer(row["answer"])
        at = saved_records.read_moment(row["at"])
        return Order(row["id"], at, _request_from(row), answered, row["answer_text"])


def _request_from(row: sqlite3.Row) -> OrderRequest:
    asked = OrderRequest(
        row["shift"],
        Verb(row["verb"]),
        row["who"],
        row["why"],
        full=bool(row["is_full"]),
        override=bool(row["is_override"]),
    )
    if "is_adopt" not in row.keys():  # noqa: SIM118 - `in` looks among a Row's values; a file of version 1
        return asked
    span = row["hands_off_us"]
    hands_off = None if span is None else span * _MICROSECOND
    return replace(asked, share=row["share"], hands_off=hands_off, adopt=bool(row["is_adopt"]))


def row_of_order(request: OrderRequest, at: datetime) -> tuple[str | float | None, ...]:
    """Return an order as `NEW_ORDER` takes it."""
    span = None if request.hands_off is None else request.hands_off // _MICROSECOND
    asked = (saved_form.stamp(at), request.shift, request.verb.value, request.by, request.reason)
    return (*asked, request.full, request.override, request.share, span, request.adopt)


def record_from(row: sqlite3.Row) -> Record:
    """Return the record in a row of all columns that its file has, or what tells of it if it cannot be read."""
    told = (row["at"], row["shift"], row["what"], row["who"], row["why"], str(row["sequence"]), str(row["epoch"]))
    hash_ = row["hash"] if "hash" in row.keys() else ""  # noqa: SIM118 - as above
    return saved_records.record_of(Link(row["id"], *told, row["evidence"], hash_))
