"""Orders for shifts that there are not: they wait a little for their shift to appear, and are then refused.

Whoever orders through the command line is told at once that there is no such shift. An order that was made as an object
of a cluster met nobody who could say so: it would wait in everybody's status for ever, and be obeyed by whatever shift
has that name one day. Yet a policy may be on its way here, so nobody is refused in haste.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from shifter.core.deciding.orders import FLEET, STRAY_GRACE, Order

LOOKS: Final = 3
"""So many looks must have found no such shift besides: a clock that was set ahead shortens no grace."""

MOST_AT_ONCE: Final = 20
"""So many are refused in one look: each answer is written for itself, and no shift's turn may wait for long."""


class Strays:
    """Knows since when orders wait for shifts that there are not. Not thread-safe: the ticker's."""

    def __init__(self) -> None:
        self._open: Sequence[Order] = ()
        self._waits: dict[int, tuple[datetime, int]] = {}

    def sort_out(self, orders: Sequence[Order], names: Collection[str]) -> Sequence[Order]:
        """Return the orders to all shifts and to those of these names; the others are remembered as strays."""
        known = {FLEET, *names}
        self._open = [order for order in orders if order.request.shift not in known]
        return [order for order in orders if order.request.shift in known]

    def due(self, names: Collection[str], now: datetime, *, complete: bool) -> frozenset[int]:
        """Return the ids of orders that have waited for long enough, oldest first; count this look.

        `complete` is whether every policy could be read: while that is not so nobody knows what shifts there are, and
        all begin to wait anew.
        """
        if not complete:
            self._waits = {}
            return frozenset()
        waits: dict[int, tuple[datetime, int]] = {}
        for order in self._open:
            if order.request.shift not in names:
                since, looks = self._waits.get(order.id, (now, 0))
                waits[order.id] = min(since, now), looks + 1  # a clock that was set back makes nobody wait for hours
        self._waits = waits
        due = sorted(each for each, (since, looks) in waits.items() if now - since >= STRAY_GRACE and looks > LOOKS)
        return frozenset(due[:MOST_AT_ONCE])
