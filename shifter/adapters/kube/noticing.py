"""The orders that wait, for a service that asks every second: noticed by a watch, and listed now and then all the same.

Only for deciding what to look at. Whoever is about to raise a share lists them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from shifter.core.deciding.orders import STOPPING_VERBS, Order
from shifter.errors import ShifterError

LIST_SECONDS: Final = 10.0
"""An order that a watch missed is noticed after so long; and so long nobody is asked again who did not answer."""


class OrdersSeen(Protocol):
    """What a watch has seen of the orders, by name; None for one that is not understood."""

    def items(self) -> Mapping[str, Order | None]:
        """Return what is known."""

    def stop(self, within_seconds: float) -> bool:
        """Watch no more; return whether that is so already."""


class Noticed:
    """The orders of one installation, as of a moment ago.

    Args:
        seen: what a watch has seen.
        listed: lists those that nobody answered, by name.
        monotonic: seconds that only grow.
    """

    def __init__(
        self, seen: OrdersSeen, listed: Callable[[], Mapping[str, Order]], monotonic: Callable[[], float]
    ) -> None:
        self._seen = seen
        self._listed = listed
        self._monotonic = monotonic
        self._due_at = monotonic()
        self._last: Mapping[str, Order] = {}
        self._failed: ShifterError | None = None

    def waiting(self) -> Sequence[Order]:
        """Return the orders that nobody answered, oldest first.

        While they cannot be listed, those that are known are enough as soon as one of them stops something: it waits
        for nobody. The others come along, for who has obeyed an order has done with all before it.

        Raises:
            ShifterError: they could not be listed, a moment ago at most, and none that is known stops anything.
        """
        if self._monotonic() >= self._due_at:
            self._list()
        found: dict[str, Order | None] = {**self._last, **self._seen.items()}
        waiting = [order for order in found.values() if order is not None and order.answer is None]
        if self._failed is not None and not any(order.request.verb in STOPPING_VERBS for order in waiting):
            raise self._failed
        return tuple(sorted(waiting, key=lambda order: order.id))

    def _list(self) -> None:
        try:
            self._last, self._failed = self._listed(), None
        except ShifterError as error:
            self._failed = error
        # From the end of the call: it may have taken long to fail.
        self._due_at = self._monotonic() + LIST_SECONDS
