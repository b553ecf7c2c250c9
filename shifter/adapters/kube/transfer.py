"""The store in a cluster as one end of a copy (`ports/transfers.py`): read as a whole, or filled object by object.

An API server has no transaction over objects. So the first thing that is written is the state of all shifts together,
frozen and saying why, and the last is that state as it is to be: whoever leads on what a killed copy left behind raises
nothing, and whoever copies again is told what it is. Records go before the shifts that they are about: a shift's status
says how its chain ends.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, cast

from shifter.adapters import saved_form, saved_records
from shifter.adapters.kube.archive import Archive
from shifter.adapters.kube.clocks import Clocks
from shifter.adapters.kube.connecting import identity, may
from shifter.adapters.kube.failures import is_no_namespace, store_error, store_errors
from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.lease import KubeLease
from shifter.adapters.kube.lease_record import Claim, LeaseRecord, read
from shifter.adapters.kube.ledger import Ledger
from shifter.adapters.kube.news import LEASE_NAME, is_led
from shifter.adapters.kube.objects import FLEET_OBJECT, IN_FLIGHT, MANAGED, check_name, order_from, status_of
from shifter.adapters.kube.origin import WRITTEN_FOR
from shifter.adapters.kube.shown import fleet_shown, report_shown, shift_shown, shift_spec
from shifter.adapters.kube.store import KubeStore
from shifter.core.chain import START, Link, Seal, chained
from shifter.core.deciding.orders import FLEET
from shifter.core.documents.leasing import LeaseTiming
from shifter.core.records import SERVICE, NewRecord
from shifter.core.state import FleetState, Freeze, Report
from shifter.core.text import so_many
from shifter.errors import InvariantError, RefusedError, StoreUnavailableError
from shifter.ports import Saved
from shifter.ports.kube import LEASES, Body, Failing, Kind, KubeApi, KubeError
from shifter.ports.transfers import Contents, KeptOrder

COPYING: Final = "a copy into this store is under way, or was interrupted"
"""Why all shifts are frozen until a copy is whole."""

_LOOK_SECONDS: Final = 0.2
_RIGHTS: Final = (
    ("update", LEASES, LEASE_NAME),
    ("create", LEASES, ""),
    *(("create", kind, "") for kind in (SHIFT_FLEETS, SHIFTS, SHIFT_RECORDS)),
)
"""What the service may, and hardly anybody else: whoever has these has its role."""

_OURS: Final = ((SHIFTS, "shift"), (SHIFT_ORDERS, "order"), (SHIFT_RECORDS, "record"))


@dataclass(frozen=True, slots=True)
class Office:
    """What the lease of a copy needs: who copies, how long who believes in it, and this machine's clocks."""

    identity: str
    timing: LeaseTiming
    clocks: Clocks
    sleep: Callable[[float], None] = time.sleep


class _Heard:
    """The calls of a lease, and the last one that cannot succeed: a lease asks again, and a copy need not wait."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self.refused: KubeError | None = None

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        return self._noted(lambda: self._api.get(kind, namespace, name))

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        return self._noted(lambda: self._api.create(kind, namespace, body))

    def replace(self, kind: Kind, namespace: str, body: Body) -> Body:
        return self._noted(lambda: self._api.replace(kind, namespace, body))

    def _noted(self, call: Callable[[], Body]) -> Body:
        try:
            return call()
        except KubeError as error:
            if error.failing is Failing.DENIED or is_no_namespace(error):
                self.refused = error
            raise


class KubeTransfer:
    """The store in one namespace as one end of a copy.

    Args:
        api: the API server; closed with this.
        namespace: where shifter is installed.
        place: where that is, for people.
        store: the store there.
        office: for holding the lease meanwhile.
    """

    def __init__(self, api: KubeApi, namespace: str, place: str, store: KubeStore, office: Office) -> None:
        self._api = api
        self._namespace = namespace
        self._office = office
        self._archive = Archive(api, namespace)
        self.place = place
        self.store = store

    def leader(self) -> str:
        """Return who holds a lease that has not run out; empty if nobody does.

        Raises:
            RefusedError: nobody does, and who asks may not hold it for the time of a copy.
        """
        with store_errors("who leads cannot be told"):
            led = is_led(self._api, self._namespace, self._office.clocks.wall())
        if not led:
            self._must_be_allowed()
            return ""
        record = self._lease()
        return f"{record.holder if record else 'somebody'} holds the lease {self._namespace}/{LEASE_NAME}"

    def _must_be_allowed(self) -> None:
        """Refuse who has not the service's rights: before the lease is waited for, which takes longer than a minute."""
        with store_errors("what is allowed cannot be told"):
            lacking = next((each for each in _RIGHTS if not may(self._api, self._namespace, *each)), None)
        if lacking is None:
            return
        verb, kind, name = lacking
        with store_errors("who asks cannot be told"):
            who = identity(self._api)
        what = f"{kind.plural}.{kind.group} {name}".rstrip()
        grant = ["create", "rolebinding", "copying", "--role=shifter", f"--user={who}"]
        raise RefusedError(
            f"{who} may not {verb} {what} in namespace {self._namespace}: whoever copies needs the service's own"
            " rights",
            remedy=f"for as long as it takes: {shlex.join(['kubectl', '-n', self._namespace, *grant])}",
        )

    @contextmanager
    def guarded(self, above: int = 0) -> Iterator[None]:
        """Hold the lease, after everybody who may have had it before has certainly stopped: as long as a hand-over."""
        if leader := self.leader():
            raise RefusedError(f"a leader is alive on {self.place}: {leader}")
        record = self._lease()
        claim = Claim(self._namespace, self._office.identity, record.installation if record else "", LEASE_NAME)
        told: list[str] = []
        calls = _Heard(self._api)
        lease = KubeLease(
            cast("KubeApi", calls),  # a lease makes no other ones
            claim,
            self._office.timing,
            clocks=self._office.clocks,
            floor=lambda: above,
            tell=told.append,
        )
        try:
            self._wait_for(lease, told, calls)
            lease.start()
            yield
            if not lease.valid():
                raise StoreUnavailableError(f"the lease of {self.place} was lost while it was copied: {lease.lost()}")
        finally:
            lease.release()

    def _wait_for(self, lease: KubeLease, told: Sequence[str], calls: _Heard) -> None:
        clocks, began = self._office.clocks, self._office.clocks.now()
        patience = 2 * self._office.timing.hand_over_seconds
        due = began
        while not lease.valid():
            now = clocks.now()
            if calls.refused is not None:
                raise store_error(f"{self.place} cannot be kept to ourselves", calls.refused) from calls.refused
            if over := lease.lost():
                raise RefusedError(f"{self.place} cannot be kept to ourselves: {over}")
            if now.least_since(began) > patience:
                why = told[-1] if told else "somebody may still have the lease"
                raise StoreUnavailableError(f"{self.place} cannot be kept to ourselves within {patience:g} s: {why}")
            if now.least_since(due) >= 0:
                due = replace(now, monotonic=now.monotonic + (pause := lease.step()), booted=now.booted + pause)
            self._office.sleep(_LOOK_SECONDS)

    def occupied(self) -> str:
        """Return what is in the namespace; empty if nothing of shifter's is."""
        with store_errors("what is there cannot be told"):
            counts = {noun: len(self._api.list(kind, self._namespace).items) for kind, noun in _OURS}
        fleet = self.store.load_fleet()
        said = ", ".join(so_many(count, noun) for noun, count in counts.items() if count)
        if any(freeze.reason == COPYING for freeze in fleet.state.freezes):
            left = f" ({said})" if said else ""
            return (
                f"{COPYING}{left}; if it was: kubectl delete shifts,shiftfleets,shiftorders,shiftrecords --all"
                f" -n {self._namespace}"
            )
        return said or ("the state of all shifts together" if fleet.version else "")

    def orders(self) -> Sequence[KeptOrder]:
        """Return the orders that wait, and those whose answer has reached them, by id."""
        with store_errors("orders cannot be listed"):
            bodies = self._api.list(SHIFT_ORDERS, self._namespace).items
        waiting = {order.id for order in self.store.open_orders()}
        kept = [_kept(body) for body in bodies]
        found = [each for each in kept if each.answered_at is not None or each.order.id in waiting]
        return tuple(sorted(found, key=lambda each: each.order.id))

    def epoch(self) -> int:
        """Return the epoch of the lease; 0 if there is none."""
        record = self._lease()
        return 0 if record is None else record.epoch

    def chain_for(self, shift: str, kept: Container[str]) -> str:
        """Return the shift's own chain, or that of all together for one that has no object."""
        return shift if shift in kept else FLEET

    def check(self, contents: Contents) -> None:
        """Refuse names that no object can have, orders that wait, and numbers beyond the cluster's own."""
        for name in contents.states:
            try:
                check_name(name)
            except InvariantError as error:
                raise RefusedError(f"{error}: it cannot be copied into {self.place}") from error
        if waiting := [kept for kept in contents.orders if kept.order.answer is None]:
            wait = "waits" if len(waiting) == 1 else "wait"
            raise RefusedError(
                f"{so_many(len(waiting), 'order')} {wait} for an answer, and in {self.place} nobody could tell who gave"
                " them and when: start the service once, it answers them; then copy"
            )
        with store_errors("orders cannot be listed"):
            newest = self._api.list(SHIFT_ORDERS, self._namespace).resource_version
        if newest.isdecimal() and int(newest) <= contents.last_obeyed:
            raise RefusedError(
                f"orders up to {contents.last_obeyed} were answered, and {self.place} numbers new ones from {newest}"
                " on: they would be taken for answered; copy into a cluster that has been used for longer"
            )

    def take(self, contents: Contents, history: Iterable[Link], notes: Sequence[NewRecord]) -> None:
        """Write everything, frozen until the last write."""
        self.store.save_fleet(FleetState(freezes=(Freeze(by=SERVICE, reason=COPYING, at=notes[0].at),)), 0)
        heads: dict[str, Seal] = {}
        epoch = contents.epoch
        for link in _then(history, notes):
            chain = self.chain_for(link.shift, contents.states)
            new = chained(heads.get(chain, START), link)
            self._archive.file(chain, new)
            heads[chain] = Seal(new.id, new.hash)
            epoch = max(epoch, int(link.epoch) if link.epoch.isdecimal() else 0)
        # In each of them: a lease that is deleted begins above the highest, and none may be given out twice.
        known: Body = {"epoch": epoch} if epoch else {}
        for name, saved in contents.states.items():
            self._make(saved, contents.reports.get(name), {**known, "history": Ledger(heads.get(name, START)).entry()})
        self._thaw(contents, {**known, "history": Ledger(heads.get(FLEET, START)).entry()})

    def _make(self, saved: Saved, report: Report | None, known: Body) -> None:
        state = saved.state
        metadata: Body = {"name": state.name, "labels": dict(MANAGED), "finalizers": [IN_FLIGHT]}
        status: Body = {
            **shift_shown(state),
            "version": saved.version,
            "state": saved_form.state_text(state),
            **known,
            "answers": [],
        }
        if report is not None:
            status |= {"report": saved_form.report_text(report), **report_shown(report, {})}
        with store_errors(f"{state.name} cannot be copied"):
            body = SHIFTS.body(metadata=metadata, spec=shift_spec(state))
            made = self._api.create(SHIFTS, self._namespace, body)
            status[WRITTEN_FOR] = made["metadata"]["uid"]
            self._api.replace(SHIFTS, self._namespace, {**made, "status": status}, status=True)

    def _thaw(self, contents: Contents, known: Body) -> None:
        state = contents.fleet.state
        with store_errors("the copy cannot be ended"):
            body = self._api.get(SHIFT_FLEETS, self._namespace, FLEET_OBJECT)
            status = {
                **status_of(body),
                **fleet_shown(state),
                "version": max(contents.fleet.version, 1),
                "state": saved_form.fleet_text(state),
                **known,
            }
            self._api.replace(SHIFT_FLEETS, self._namespace, {**body, "status": status}, status=True)

    def close(self) -> None:
        """Let go of connections. Calling twice is harmless."""
        self.store.close()

    def _lease(self) -> LeaseRecord | None:
        with store_errors("the lease cannot be read"):
            try:
                return read(self._api.get(LEASES, self._namespace, LEASE_NAME))
            except KubeError as error:
                if error.failing is not Failing.MISSING:
                    raise
        return None


def _then(history: Iterable[Link], notes: Sequence[NewRecord]) -> Iterator[Link]:
    yield from history
    yield from map(saved_records.link_of, notes)


def _kept(body: Body) -> KeptOrder:
    name, status = body["metadata"]["name"], status_of(body)
    try:
        order = order_from(body)
        at = saved_records.read_moment(str(status["at"])) if "answer" in status else None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RefusedError(f"the order {name} is not understood: {error!r}") from error
    return KeptOrder(order, at)
