"""The store in a cluster: a Shift per shift, a ShiftFleet for all of them, orders and records beside them.

All of one save is one compare-and-swap of one object's status (`cell.py`). So each of these objects has a chain of
records of its own: what is not saved in one write cannot be numbered in one row without two writers doubling a number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from shifter.adapters import saved_form, saved_records
from shifter.adapters.bounds import LARGEST_STATE_BYTES
from shifter.adapters.kube.archive import Archive, oldest
from shifter.adapters.kube.cell import Cell
from shifter.adapters.kube.chains import Chains
from shifter.adapters.kube.entries import Entry, Filing
from shifter.adapters.kube.events import event_body, tell
from shifter.adapters.kube.failures import store_errors
from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFTS
from shifter.adapters.kube.news import is_news, last_sign_of_life
from shifter.adapters.kube.noticing import Noticed, OrdersSeen
from shifter.adapters.kube.objects import FLEET_OBJECT, answer_entry, check_name, status_of
from shifter.adapters.kube.ordering import Orders
from shifter.adapters.kube.origin import counted_here, is_believed, version_of
from shifter.adapters.kube.roll import Roll
from shifter.adapters.kube.shown import fleet_shown, report_shown, reported_spec, shift_shown, shift_spec
from shifter.core.chain import Link, Seal, Stretch
from shifter.core.deciding.orders import FLEET, Answer, Order, OrderAnswer, OrderRequest
from shifter.core.records import NewRecord, Record
from shifter.core.state import FleetState, Report, ShiftState
from shifter.core.text import so_many
from shifter.errors import ConflictError, NotFoundError, RefusedError, StoreUnavailableError
from shifter.ports import WHOLE, Saved, SavedFleet, Shelf
from shifter.ports.kube import Body, Failing, KubeApi, KubeError

_PUT_BACK: Final = (
    "it was put back from a backup, or carried here from another cluster, and does not know what happened since; look"
    " at every shift and its history, `shifter reconcile` where the balancer differs, then unfreeze"
)
_SHOWN: Final = 3
"""So many of what was put back are named."""


class KubeStore:
    """The store port on the objects of one namespace. Safe for threads, and for as many processes as there are.

    Args:
        api: the API server.
        namespace: where shifter is installed.
        writer: what no other process is called; marks what this one saved.
        token: returns a few characters that were never returned before, for names of orders.
        seen: what a watch sees of the orders, for a service, which asks for them all the time.
        monotonic: seconds that only grow; says when orders are listed all the same.
        calls_roll: whether to notice by itself what is deleted, for a service.
    """

    def __init__(  # noqa: PLR0913 - what it is, and what a service wants of it besides
        self,
        api: KubeApi,
        namespace: str,
        writer: str,
        token: Callable[[], str],
        seen: OrdersSeen | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        calls_roll: bool = False,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._writer = writer
        self._archive = Archive(api, namespace)
        self._orders = Orders(api, namespace, token)
        self._cells: dict[str, Cell] = {}
        self._seen = seen
        self._noticed = None if seen is None else Noticed(seen, self._waiting, monotonic)
        self._roll = Roll(self._shifts, monotonic) if calls_roll else None
        self._told: dict[str, Report] = {}
        self._chains = Chains(self._archive, self._bodies)
        self._lock = threading.Lock()
        self._closed = False

    def load(self) -> Shelf[Saved]:
        """Return every shift's saved state, by name; one that is not understood is among them, with why."""
        return saved_form.shelf(self._rows())

    def _rows(self) -> Iterator[tuple[str, Callable[[], Saved]]]:
        """Yield what there is of each shift, and let go of it then: all of them at once are large."""
        bodies = self._shifts()
        for name in list(bodies):
            body = bodies.pop(name)
            if "state" in status_of(body):
                self._cell(name).learn(body)
                yield name, partial(_saved, name, body)
            else:
                self._suspect_emptied(name, body)

    def save(
        self,
        state: ShiftState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        """Save state, records and answers in one write; return the new version.

        Raises:
            RefusedError: no object takes so much, or as the port says.
        """
        text = _that_fits(state)
        entry = self._entry(text, records, answers, shift_shown(state), shift_spec(state))
        if expected_version == 0:
            self._told.pop(state.name, None)  # an object that is still to be made shows nothing
        return self._cell(state.name).save(entry, expected_version)

    def leaving(self) -> Collection[str]:
        """Return the shifts whose objects are being deleted; the finalizer keeps them until a person takes it away."""
        return [name for name, cell in list(self._cells.items()) if cell.leaving]

    def deleted(self) -> Collection[str]:
        """Return the shifts of which nothing is saved any more, each once; all are listed for that, now and then."""
        # Only what was there before they were listed.
        known = [(name, cell) for name, cell in list(self._cells.items()) if name != FLEET]
        listed = None if self._roll is None else self._roll.call()
        if listed is None:
            return ()
        gone = [name for name, cell in known if cell.is_gone(listed.get(name))]
        for name in gone:
            if name in listed:
                self._suspect_emptied(name, listed[name])
        return gone

    def put_back(self) -> str:
        """Return how it shows that something saved was put back from a backup, or carried here; see `origin`."""
        found = [cell.put_back for _, cell in sorted(self._cells.items()) if cell.put_back]
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        return f"{'; '.join([*found[:_SHOWN], *more])}: {_PUT_BACK}" if found else ""

    def believe(self) -> None:
        """Remember of all of these that somebody was told, so that whoever loads them next does not tell it again."""
        for cell in list(self._cells.values()):
            if cell.put_back:
                cell.believe()

    def load_fleet(self) -> SavedFleet:
        """Return what is remembered of all shifts together; the defaults with version 0 if nothing ever was."""
        body = self._fleet()
        status = status_of(body or {})
        if body is not None:
            self._cell(FLEET).learn(body)
        if body is None or "state" not in status:
            self._suspect_emptied(FLEET, body)
            return SavedFleet(FleetState(), 0)
        state = saved_form.read_fleet(str(status["state"]))
        state = state.model_copy(update={"last_order": counted_here(state.last_order, body)})
        return SavedFleet(state, version_of(body))

    def save_fleet(
        self,
        state: FleetState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        """Save the fleet's state, records and answers in one write; return the new version."""
        text = saved_form.fleet_text(state)
        entry = self._entry(text, records, answers, fleet_shown(state), {})
        return self._cell(FLEET).save(entry, expected_version)

    def report(self, report: Report) -> None:
        """Keep the newest explanation of a shift, beside its state; one that says nothing new is not written.

        What could not be filed or delivered is tried again by the way: a shift that rests is saved no more.
        """
        text = saved_form.report_text(report)
        cell = self._cell(report.name)
        if is_news(report, self._told.get(report.name)) and cell.show(
            lambda before: {"report": text, **report_shown(report, before)}, reported_spec(report)
        ):
            self._told[report.name] = report
        for each in (cell, self._cell(FLEET)):
            each.tidied()

    def reports(self) -> Shelf[Report]:
        """Return the newest explanation of every shift, by name; one that is not understood is among them, with why.

        What was told is true until something else is, as long as somebody leads: so it is as young as the lease.
        """
        found = {name: status_of(body) for name, body in self._shifts().items()}
        texts = {name: str(status["report"]) for name, status in found.items() if "report" in status}
        leading_at = last_sign_of_life(self._api, self._namespace) if texts else None
        return saved_form.shelf((name, partial(_as_of, leading_at, name, text)) for name, text in texts.items())

    def last_epoch(self) -> int:
        """Return the highest epoch that a write was begun in, 0 if none was: no lease may give it out again.

        Not from the states alone: an intent that has ended is in none, and its epoch is in the history all the same.
        """
        return max((int(status_of(body).get("epoch", 0)) for body in self._bodies().values()), default=0)

    def create_order(self, request: OrderRequest, at: datetime) -> Order:
        """Write down what a person asks and return it with its id; when it was asked is for the API server to say."""
        saved_form.check_request(request)
        saved_form.stamp(at)
        waiting = sum(order.request.shift == request.shift for order in self.open_orders())
        saved_form.check_room(request, waiting)
        return self._orders.place(request)

    def order(self, order_id: int) -> Order:
        """Return one order, answered or not."""
        self._must_be_open()
        found = self._one_order(order_id)
        if found is None:
            raise NotFoundError(f"there is no order {order_id}")
        return found[1]

    def open_orders(self, *, recent: bool = False) -> Sequence[Order]:
        """Return the orders nobody answered yet, oldest first; one whose answer only waits to be delivered is none."""
        self._must_be_open()
        if recent and self._noticed is not None:
            return self._noticed.waiting()
        return tuple(self._waiting().values())

    def history(self, name: str | None = None, limit: int = 100) -> Sequence[Record]:
        """Return the newest `limit` records, of one shift or of all, oldest first; ids are of one chain each."""
        self._must_be_open()
        found = self._chains.newest(name, limit) if limit > 0 else ()
        return tuple(saved_records.record_of(link) for link in found)

    def chains(self) -> Sequence[str]:
        """Return the names of the chains: every shift's, and that of all shifts together."""
        return tuple(sorted(self._bodies()))

    def chain(self, first: int, limit: int, of: str = WHOLE) -> Stretch:
        """Return at most `limit` records of one chain from id `first` on as they are kept, to be checked."""
        self._must_be_open()
        return self._chains.stretch(of, first, limit)

    def prune(self, before: datetime, now: datetime | None = None) -> int:
        """Drop old records of every chain and old answered orders; return how many."""
        saved_form.stamp(before)
        if now is not None:
            saved_form.stamp(now)
        dropped = 0
        for chain in self.chains():
            links = self._archive.of_chain(chain)
            if old := links[: oldest(links, before, now)]:
                self._cell(chain).give_up(Seal(old[-1].id, old[-1].hash))
                dropped += self._archive.drop(chain, [link.id for link in old])
        return dropped + self._orders.drop(before)

    def close(self) -> None:
        """Let go of connections. Calling twice is harmless; any other call after it fails."""
        if not self._closed:
            self._closed = True
            if self._seen is not None:
                self._seen.stop(0.0)
            self._api.close()

    def _cell(self, chain: str) -> Cell:
        """Return what this process knows of an object.

        Raises:
            StoreUnavailableError: the store is closed.
            InvariantError: no object can have that name.
        """
        self._must_be_open()
        check_name(chain)
        with self._lock:
            if chain not in self._cells:
                understood = saved_form.read_fleet if chain == FLEET else partial(saved_form.read_state, chain)
                filing = Filing(
                    partial(self._file, chain), partial(self._archive.of_chain, chain), self._orders.deliver
                )
                self._cells[chain] = Cell(self._api, self._namespace, chain, filing, understood, self._writer)
            return self._cells[chain]

    def _suspect_emptied(self, chain: str, body: Body | None) -> None:
        """Tell what was put back without its status, or taken away, from what is not saved yet: it has a history."""
        if not (body is not None and is_believed(body)) and self._archive.of_chain(chain):
            self._cell(chain).suspect_emptied()

    def _file(self, chain: str, link: Link, uid: str) -> None:
        self._archive.file(chain, link)
        tell(self._api, self._namespace, event_body(chain, uid, link, self._writer))

    def _entry(
        self, text: str, records: Sequence[NewRecord], answers: Sequence[OrderAnswer], shown: Body, spec: Body
    ) -> Entry:
        links = [saved_records.link_of(record) for record in records]
        told: list[Body] = []
        for answer in answers:
            saved_form.stamp(answer.at)
            found = self._one_order(answer.order_id)
            saved_form.check_answerable(answer.order_id, None if found is None else found[1])
            if any(each["id"] == answer.order_id for each in told):
                raise ConflictError(f"order {answer.order_id} was {answer.answer} already in the same save")
            told.append(answer_entry(found[0] if found else "", answer))
        return Entry(text, links, told, shown, spec)

    def _shifts(self) -> dict[str, Body]:
        self._must_be_open()
        with store_errors("shifts cannot be listed"):
            items = self._api.list(SHIFTS, self._namespace).items
        return {body["metadata"]["name"]: body for body in sorted(items, key=lambda each: each["metadata"]["name"])}

    def _fleet(self) -> Body | None:
        self._must_be_open()
        with store_errors("what all shifts have in common cannot be read"):
            try:
                return self._api.get(SHIFT_FLEETS, self._namespace, FLEET_OBJECT)
            except KubeError as error:
                if error.failing is not Failing.MISSING:
                    raise
        return None

    def _bodies(self) -> Mapping[str, Body]:
        """Return every object that has a chain, by the chain's name."""
        fleet = self._fleet()
        return {**({} if fleet is None else {FLEET: fleet}), **self._shifts()}

    def _one_order(self, order_id: int) -> tuple[str, Order] | None:
        """Return an order with its object's name; answered as soon as an answer is saved, delivered or not."""
        found = self._orders.one(order_id)
        if found is None or found[1].answer is not None:
            return found
        name, order = found
        return name, _answered(order, self._undelivered().get(name))

    def _waiting(self) -> Mapping[str, Order]:
        """Return the orders that nobody answered, by their objects' names, oldest first."""
        found = {name: order for name, order in self._orders.all() if order.answer is None}
        told = self._undelivered() if found else {}
        return {name: order for name, order in found.items() if name not in told}

    def _undelivered(self) -> Mapping[str, Body]:
        """Return the answers that are saved and not yet in their orders, by the order's name.

        Not by its id: until its answer is delivered, a note that somebody writes into an order changes that.
        """
        told = [each for body in self._bodies().values() for each in status_of(body).get("answers") or ()]
        return {str(each["order"]): each for each in told}

    def _must_be_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError("the store in the cluster is closed")


def _that_fits(state: ShiftState) -> str:
    """Return what is saved of a state, if an object takes it; asked before the server refuses it without a reason."""
    text = saved_form.state_text(state)
    if (size := len(text.encode())) > LARGEST_STATE_BYTES:
        members = sum(map(len, state.weights.values()))
        raise RefusedError(
            f"what is to be saved of {state.name} is {size} bytes, and an object in a cluster takes"
            f" {LARGEST_STATE_BYTES}: {so_many(len(state.policy.routes), 'route')} with"
            f" {so_many(members, 'member')} are too many for one policy; divide it into several"
        )
    return text


def _saved(name: str, body: Body) -> Saved:
    state = saved_form.read_state(name, str(status_of(body)["state"]))
    state = state.model_copy(update={"last_order": counted_here(state.last_order, body)})
    return Saved(state, version_of(body))


def _as_of(leading_at: datetime | None, name: str, text: str) -> Report:
    report = saved_form.read_report(name, text)
    return report if leading_at is None or leading_at <= report.at else report.model_copy(update={"at": leading_at})


def _answered(order: Order, told: Body | None) -> Order:
    return order if told is None else replace(order, answer=Answer(told["answer"]), answer_text=str(told["text"]))
