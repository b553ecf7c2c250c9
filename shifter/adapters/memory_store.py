"""A store and a lease that live as long as the process: for tests and dry runs.

They ship because they keep the real rules (the contract suites in `tests/contract` run against them too) and fail
when told to: what shifter does without its memory is tried against these. Everything is kept as the text the
SQLite store would write, so what cannot be saved there cannot be saved here.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from shifter.adapters import saved_form, saved_records
from shifter.adapters.bounds import kept_text
from shifter.core.chain import START, Link, Seal, Stretch, chained
from shifter.core.deciding.orders import Order, OrderAnswer, OrderRequest
from shifter.core.records import NewRecord, Record
from shifter.core.state import FleetState, Report, ShiftState
from shifter.errors import ConflictError, NotFoundError, RefusedError, StoreUnavailableError
from shifter.ports import WHOLE, Saved, SavedFleet, Shelf


@dataclass(frozen=True, slots=True)
class _Row:
    text: str
    version: int


@dataclass(frozen=True, slots=True)
class _Appended:
    """A record as it would come back from the disk, and the texts that would be there."""

    record: NewRecord
    link: Link

    @classmethod
    def of(cls, record: NewRecord) -> _Appended:
        link = saved_records.link_of(record)
        evidence = saved_records.read_evidence(link.evidence)
        at = datetime.fromisoformat(link.at).astimezone(UTC)
        return cls(replace(record, at=at, shift=link.shift, by=link.by, reason=link.reason, evidence=evidence), link)


@dataclass(frozen=True, slots=True)
class _Answered:
    order: Order
    at: datetime | None = None


class MemoryStore:
    """The store port without a disk; safe for threads.

    Attributes:
        down: while true, every call fails and does nothing.
        deleting: the shifts that somebody is deleting.
        restored: what `put_back` says, until it is believed.
        tells_deleted: whether `deleted` tells what `remove` took away; else whoever saves it finds out.
    """

    def __init__(self) -> None:
        self.down = False
        self.deleting: set[str] = set()
        self.restored = ""
        self.tells_deleted = True
        self._deleted: list[str] = []
        self._lock = threading.RLock()
        self._failures_before = 0
        self._failures_after = 0
        self._closed = False
        self._shifts: dict[str, _Row] = {}
        self._fleet = _Row("", 0)
        self._reports: dict[str, str] = {}
        self._orders: dict[int, _Answered] = {}
        self._last_order = 0
        self._history: list[Record] = []
        self._links: list[Link] = []
        self._anchor = self._head = START
        self._epoch = 0
        self._holder: MemoryLease | None = None

    def fail_next(self, times: int, *, after_applying: bool = False) -> None:
        """Let the next calls fail with `StoreUnavailableError`.

        Args:
            times: how many calls, from now on.
            after_applying: the call does its work first, like a disk that fails while it confirms.
        """
        with self._lock:
            self._failures_before = 0 if after_applying else times
            self._failures_after = times if after_applying else 0

    def plant(self, name: str, text: str) -> None:
        """Put a saved state in place as another version of shifter would have left it, as version 1."""
        with self._lock:
            self._shifts[name] = _Row(text, 1)

    def remove(self, name: str) -> None:
        """Take away what is saved of a shift, as somebody who deletes it by force."""
        with self._lock:
            self._shifts.pop(name)
            self._reports.pop(name, None)
            self.deleting.discard(name)
            if self.tells_deleted:
                self._deleted.append(name)

    def plant_report(self, name: str, text: str) -> None:
        """Put a report in place as another version of shifter would have left it."""
        with self._lock:
            self._reports[name] = text

    def plant_fleet(self, text: str) -> None:
        """Put the fleet's saved state in place as another version of shifter would have left it, as version 1."""
        with self._lock:
            self._fleet = _Row(text, 1)

    def rewrite(self, links: Sequence[Link]) -> None:
        """Put records in place, by id, as somebody who writes past shifter would have left them."""
        with self._lock:
            self._links = sorted(links, key=lambda link: link.id)
            self._history = [saved_records.record_of(link) for link in self._links]

    def load(self) -> Shelf[Saved]:
        """Return every shift's saved state, by name; one that is not understood is among them, with why."""
        with self._call():
            rows = sorted(self._shifts.items())
            return saved_form.shelf(
                (name, partial(saved_form.saved_from, name, row.text, row.version)) for name, row in rows
            )

    def save(
        self,
        state: ShiftState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        """Save state, records and answers, all or none."""
        text = saved_form.state_text(state)
        kept = [_Appended.of(record) for record in records]
        with self._call():
            row = self._shifts.get(state.name)
            if row is not None:
                saved_form.read_state(state.name, row.text)
            version = row.version if row else 0
            if version != expected_version:
                raise ConflictError(f"{state.name} is saved as version {version}, not {expected_version}")
            self._append(kept, answers)
            self._shifts[state.name] = _Row(text, version + 1)
            return version + 1

    def leaving(self) -> Collection[str]:
        """Return those of whom `deleting` says so."""
        return tuple(self.deleting)

    def deleted(self) -> Collection[str]:
        """Return those that `remove` took away, each once."""
        with self._lock:
            told, self._deleted = tuple(self._deleted), []
            return told

    def put_back(self) -> str:
        """Return what `restored` says."""
        return self.restored

    def believe(self) -> None:
        """Say it no more."""
        with self._call():
            self.restored = ""

    def load_fleet(self) -> SavedFleet:
        """Return what is remembered of all shifts together; the defaults with version 0 if nothing ever was."""
        with self._call():
            row = self._fleet
            return SavedFleet(saved_form.read_fleet(row.text) if row.version else FleetState(), row.version)

    def save_fleet(
        self,
        state: FleetState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        """Save the fleet's state, records and answers, all or none."""
        text = saved_form.fleet_text(state)
        kept = [_Appended.of(record) for record in records]
        with self._call():
            if self._fleet.version:
                saved_form.read_fleet(self._fleet.text)
            version = self._fleet.version
            if version != expected_version:
                raise ConflictError(f"all shifts together are saved as version {version}, not {expected_version}")
            self._append(kept, answers)
            self._fleet = _Row(text, version + 1)
            return version + 1

    def report(self, report: Report) -> None:
        """Keep the newest explanation of a shift."""
        text = saved_form.report_text(report)
        with self._call():
            self._reports[report.name] = text

    def reports(self) -> Shelf[Report]:
        """Return the newest explanation of every shift, by name; one that is not understood is among them, with why."""
        with self._call():
            rows = sorted(self._reports.items())
            return saved_form.shelf((name, partial(saved_form.read_report, name, text)) for name, text in rows)

    def create_order(self, request: OrderRequest, at: datetime) -> Order:
        """Write down what a person asks and return it with its id."""
        saved_form.check_request(request)
        saved_form.stamp(at)
        with self._call():
            saved_form.check_room(request, sum(order.request.shift == request.shift for order in self._open()))
            self._last_order += 1
            order = Order(self._last_order, at, request)
            self._orders[order.id] = _Answered(order)
            return order

    def order(self, order_id: int) -> Order:
        """Return one order, answered or not."""
        with self._call():
            if order_id not in self._orders:
                raise NotFoundError(f"there is no order {order_id}")
            return self._orders[order_id].order

    def open_orders(self, *, recent: bool = False) -> Sequence[Order]:
        """Return the orders nobody answered yet, oldest first."""
        del recent  # asking costs nothing here
        with self._call():
            return self._open()

    def history(self, name: str | None = None, limit: int = 100) -> Sequence[Record]:
        """Return the newest `limit` records, of one shift or of all, oldest first."""
        with self._call():
            found = [record for record in self._history if name is None or record.record.shift == name]
            return tuple(found[-limit:]) if limit > 0 else ()

    def chains(self) -> Sequence[str]:
        """Return the name of the one chain."""
        return (WHOLE,)

    def chain(self, first: int, limit: int, of: str = WHOLE) -> Stretch:
        """Return at most `limit` records from id `first` on as they are kept, to be checked."""
        saved_form.check_whole(of)
        with self._call():
            began = bisect_left(self._links, first, key=lambda link: link.id)
            return Stretch(self._anchor, self._head, None, tuple(self._links[began : began + max(limit, 0)]))

    def prune(self, before: datetime, now: datetime | None = None) -> int:
        """Drop the oldest records up to the first that is not older, and old answered orders; return how many."""
        saved_form.stamp(before)
        if now is not None:
            saved_form.stamp(now)
        with self._call():
            young = [place for place, record in enumerate(self._history) if record.record.at >= before]
            dated = [place for place in young if now is None or self._history[place].record.at <= now]
            records = min(dated or young, default=len(self._history))
            if records:
                self._anchor = Seal(self._links[records - 1].id, self._links[records - 1].hash)
            del self._history[:records], self._links[:records]
            old = [key for key, order in self._orders.items() if order.at is not None and order.at < before]
            for key in old:
                del self._orders[key]
            return records + len(old)

    def close(self) -> None:
        """End it. Calling twice is harmless; any other call after it finds no store."""
        self._closed = True

    def take_lease(self, lease: MemoryLease) -> int:
        """Make `lease` the one that holds, and return its epoch; `MemoryLease` calls this.

        Raises:
            RefusedError: another one holds.
        """
        with self._call():
            if self._holder is not None:
                raise RefusedError(f"another shifter runs on this store (epoch {self._epoch})")
            self._holder = lease
            self._epoch += 1
            return self._epoch

    def holds(self, lease: MemoryLease) -> bool:
        """Return whether `lease` is the one that holds."""
        return self._holder is lease

    def drop_lease(self, lease: MemoryLease) -> None:
        """Free the place if `lease` has it."""
        with self._lock:
            if self._holder is lease:
                self._holder = None

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._lock:
            if self._closed or self.down:
                raise StoreUnavailableError(f"state store in memory is {'closed' if self._closed else 'down'}")
            if self._failures_before:
                self._failures_before -= 1
                raise StoreUnavailableError("state store in memory was told to fail")
            yield
            if self._failures_after:
                self._failures_after -= 1
                raise StoreUnavailableError("state store in memory was told to fail after applying")

    def _open(self) -> tuple[Order, ...]:
        return tuple(entry.order for entry in self._orders.values() if entry.order.answer is None)

    def _append(self, kept: Sequence[_Appended], answers: Sequence[OrderAnswer]) -> None:
        self._orders.update(self._answered(answers))
        for each in kept:
            link = chained(self._head, each.link)
            self._history.append(Record(link.id, each.record, link.hash))
            self._links.append(link)
            self._head = Seal(link.id, link.hash)

    def _answered(self, answers: Sequence[OrderAnswer]) -> dict[int, _Answered]:
        changed: dict[int, _Answered] = {}
        for answer in answers:
            known = changed.get(answer.order_id) or self._orders.get(answer.order_id)
            order = known.order if known else None
            saved_form.stamp(answer.at)
            order = saved_form.check_answerable(answer.order_id, order)
            text = kept_text(saved_form.plain(answer.text))
            changed[answer.order_id] = _Answered(replace(order, answer=answer.answer, answer_text=text), answer.at)
        return changed


class MemoryLease:
    """The right to raise shares on one `MemoryStore`.

    Raises:
        RefusedError: another lease on that store holds.
        StoreUnavailableError: the store was told to fail.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._epoch = store.take_lease(self)

    @property
    def epoch(self) -> int:
        """The number of this lease; it grows with each one taken."""
        return self._epoch

    def valid(self) -> bool:
        """Return whether this lease still holds."""
        return self._store.holds(self)

    def may_lower(self) -> bool:
        """Return True, as the lease on a file does."""
        return True

    def lose(self) -> None:
        """Lose it without knowing, as a process does whose lock file was removed: the next one may be taken."""
        self._store.drop_lease(self)

    def release(self) -> None:
        """Let it go. Calling twice is harmless."""
        self._store.drop_lease(self)
