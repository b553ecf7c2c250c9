"""Whether what is saved of each shift is as new as the history beside it.

A state and the records of how it came to be are saved in one transaction, so that neither can be ahead of the other. A
state that is behind was put back by somebody, or taken out: it knows nothing of the orders and the writes since, so
that a shift would climb over a pause, or begin anew where it went back. That is asked at the start, when nothing is
under way yet; what is found freezes all shifts (`lease.py`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Final

from shifter.core.deciding.orders import FLEET
from shifter.core.records import SERVICE, What
from shifter.core.text import some

NEWEST: Final = 100_000
"""So many records are looked at: a start must not take the minutes that a history of millions would."""

_SHOWN: Final = 3
_TOLD: Final = "SELECT coalesce(max(id), 0) FROM history WHERE shift = ? AND what = ? AND who = ?"
_INTENTS: Final = "SELECT shift, max(sequence) FROM history WHERE id > ? AND what = ? GROUP BY shift"
_ORDERS: Final = "SELECT shift, evidence FROM history WHERE id > ? AND what = ?"
_STATES: Final = "SELECT name, state FROM shifts"


def states_behind(connection: sqlite3.Connection, newest: int) -> str:
    """Return which states are behind their history, or gone, and how that shows; empty if none is.

    What somebody was told of already, by an earlier start that froze all shifts, is left out: whoever lifted that
    freeze has looked.

    Args:
        connection: to a file of the present version.
        newest: the number of its newest record.
    """
    ((told,),) = connection.execute(_TOLD, (FLEET, What.HOLDS, SERVICE)).fetchall()
    since = max(told, newest - NEWEST)
    intents = dict(connection.execute(_INTENTS, (since, What.INTENT)).fetchall())
    orders: dict[str, int] = {}
    for shift, evidence in connection.execute(_ORDERS, (since, What.ORDER)):
        orders[shift] = max(orders.get(shift, 0), _whole(_fields(evidence), "order"))
    states = {name: _fields(state) for name, state in connection.execute(_STATES)}
    found = [
        said
        for shift in sorted((intents.keys() | orders.keys()) - {FLEET})
        if (said := _behind(shift, states.get(shift), intents.get(shift, 0), orders.get(shift, 0)))
    ]
    return some(found, _SHOWN) if found else ""


def _behind(shift: str, state: Mapping[str, object] | None, intent: int, order: int) -> str:
    if state is None:
        return f"nothing is saved of {shift} any more"
    if not state:
        return ""  # it cannot be read, which is said elsewhere
    if _whole(state, "sequence") < intent:
        return f"what is saved of {shift} is older than its write {intent}"
    if _whole(state, "last_order") < order:
        return f"what is saved of {shift} is older than the answer to order {order}"
    return ""


def _fields(text: str) -> Mapping[str, object]:
    """Return what a JSON object says; nothing of what cannot be read."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _whole(fields: Mapping[str, object], key: str) -> int:
    value = fields.get(key, 0)
    return value if isinstance(value, int) else 0
