"""The orders as objects: made once by a person, never changed, and answered in their status by the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from shifter.adapters.kube.failures import store_errors
from shifter.adapters.kube.kinds import SHIFT_ORDERS
from shifter.adapters.kube.objects import order_body, order_from, status_of
from shifter.adapters.saved_records import read_moment
from shifter.core.deciding.orders import Order, OrderRequest
from shifter.ports.kube import UNSURE, Body, Failing, KubeApi, KubeError


class Orders:
    """All orders of an installation.

    Args:
        api: the API server.
        namespace: where they are.
        token: returns a few characters that were never returned before; they make an order's name its own.
    """

    def __init__(self, api: KubeApi, namespace: str, token: Callable[[], str]) -> None:
        self._api = api
        self._namespace = namespace
        self._token = token
        self._names: dict[int, str] = {}

    def place(self, request: OrderRequest) -> Order:
        """Write an order down and return it.

        The name is chosen here, so that an order whose answer was lost can be looked for, and is not given twice.

        Raises:
            RefusedError: the person may not give it, or the server refuses it.
            StoreUnavailableError: it may or may not have been placed.
        """
        body = order_body(f"{request.verb}-{self._token()}", request)
        with store_errors(f"{request.verb} of {request.shift} cannot be ordered"):
            try:
                kept = self._api.create(SHIFT_ORDERS, self._namespace, body)
            except KubeError as error:
                if error.failing not in UNSURE:
                    raise
                kept = self._found(body["metadata"]["name"], error)
        return self._noted(kept, order_from(kept))

    def all(self) -> Sequence[tuple[str, Order]]:
        """Return all orders with their names, oldest first; one that is not understood is left out."""
        with store_errors("orders cannot be listed"):
            bodies = self._api.list(SHIFT_ORDERS, self._namespace).items
        found = [(body["metadata"]["name"], order) for body in bodies if (order := understood(body)) is not None]
        self._names = {order.id: name for name, order in found}
        return sorted(found, key=lambda each: each[1].id)

    def one(self, number: int) -> tuple[str, Order] | None:
        """Return an order by its id with its name, as it is now; None if there is none."""
        name = self._names.get(number)
        if name is None:
            return next((each for each in self.all() if each[1].id == number), None)
        with store_errors(f"order {number} cannot be read"):
            try:
                order = understood(self._api.get(SHIFT_ORDERS, self._namespace, name))
            except KubeError as error:
                if error.failing is not Failing.MISSING:
                    raise
                order = None
        return None if order is None or order.id != number else (name, order)

    def deliver(self, answer: Mapping[str, Any]) -> None:
        """Write an answer into its order; one that is there already, and an order that is gone, will do.

        Raises:
            StoreUnavailableError: it may or may not be there; deliver it again.
        """
        wanted = {key: answer[key] for key in ("id", "answer", "text", "at")}
        with store_errors(f"the answer to order {answer['id']} cannot be written"):
            try:
                body = self._api.get(SHIFT_ORDERS, self._namespace, answer["order"])
            except KubeError as error:
                if error.failing is Failing.MISSING:
                    return
                raise
            if "answer" not in status_of(body):
                self._api.replace(SHIFT_ORDERS, self._namespace, {**body, "status": wanted}, status=True)

    def drop(self, before: datetime) -> int:
        """Delete orders that were answered before a moment; return how many."""
        with store_errors("old orders cannot be dropped"):
            bodies = self._api.list(SHIFT_ORDERS, self._namespace).items
            old = [body for body in bodies if _answered_before(body, before)]
            for body in old:
                metadata = body["metadata"]
                self._api.delete(SHIFT_ORDERS, self._namespace, metadata["name"], uid=metadata["uid"])
        return len(old)

    def _found(self, name: str, failed: KubeError) -> Body:
        try:
            return self._api.get(SHIFT_ORDERS, self._namespace, name)
        except KubeError:
            raise failed from None

    def _noted(self, body: Body, order: Order) -> Order:
        self._names[order.id] = body["metadata"]["name"]
        return order


def understood(body: Body) -> Order | None:
    """Return an order from its object; None if this version does not understand it."""
    try:
        return order_from(body)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _answered_before(body: Body, before: datetime) -> bool:
    status = status_of(body)
    try:
        return "answer" in status and read_moment(str(status["at"])) < before
    except (KeyError, ValueError):
        return False
