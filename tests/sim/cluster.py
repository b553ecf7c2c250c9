"""The real store and the real lease of a cluster, before an API server in memory that every process reaches by a door.

Each call to the API server is a port call of its own: between any two of those that one save is made of, a process may
die, be stopped or lose its lease, and each may fail, hang, be lost, arrive when nobody waits for it, or meet somebody
who has just written the same object. A process that starts again has a new store and a new lease with nothing in mind;
what its predecessor left half done is in the cluster. What records really say of when is noted where a write of a
status comes into force.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from shifter.adapters.kube.breaker import Breaker
from shifter.adapters.kube.clocks import Clocks
from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFTS
from shifter.adapters.kube.lease import KubeLease
from shifter.adapters.kube.lease_record import Claim
from shifter.adapters.kube.noticing import OrdersSeen
from shifter.adapters.kube.ordering import understood
from shifter.adapters.kube.store import KubeStore
from shifter.adapters.kube.watching import Rhythm, Watched
from shifter.core.deciding.orders import OrderRequest
from shifter.core.documents.leasing import LeaseTiming
from shifter.core.state import Report
from shifter.lab.checker import seen
from shifter.ports import Leadership, Store
from shifter.ports.kube import LEASES, Body, Failing, Kind, KubeError
from tests.kube import Fault, MemoryApi
from tests.kube_cluster import MemoryCluster
from tests.kube_faults import READS, Call, error_of
from tests.sim.api_door import DoorApi, name_of
from tests.sim.dice import Dice
from tests.sim.doors import Library
from tests.sim.keeping import Member, Seat
from tests.sim.kernel import Kernel, Killed, Strand

T = TypeVar("T")

NAMESPACE: Final = "shifter-system"

TIMING: Final = LeaseTiming(
    duration_seconds=3,
    deadline_seconds=2.0,
    write_budget_seconds=1.0,
    renew_seconds=0.5,
    call_seconds=0.5,
    lowering_seconds=90.0,
)
"""A tenth of what a cluster has, more or less; a renewal gives up after as long as its port's timeout."""

RHYTHM: Final = Rhythm(list_seconds=12.0, watch_seconds=4.0, pause_seconds=(0.2, 2.0))
"""How often orders are watched: as much sooner."""

_REMEMBERED: Final = 8
"""So many changes of a kind the server remembers: a watch that begins before them is told that it is too late."""

_POLL_SECONDS: Final = 0.25
_HAIR_SECONDS: Final = 1e-6
_LEAST_SECONDS: Final = 0.01
_MISDELIVERED: Final = 0.1
_PEOPLES_FAULTS: Final = (Fault.LOST, Fault.TIMEOUT, Fault.ERROR_AFTER, Fault.THROTTLED)


class ToldStore(KubeStore):
    """A store that lets it be known when a shift was told of: one that says nothing new is told of, too."""

    def __init__(
        self, keeping: ClusterKeeping, member: Member, answered: Callable[[], float], seen: OrdersSeen
    ) -> None:
        api = Breaker(DoorApi(keeping, member, "kube"), answered, member.monotonic)
        super().__init__(api, NAMESPACE, member.name, keeping.token, seen, monotonic=member.monotonic)
        self._told_at = keeping.library.told
        self._member = member

    def report(self, report: Report) -> None:
        """Keep a report."""
        super().report(report)
        self._told_at[report.name] = self._member.true_at(report.at)


class ClusterSeat:
    """One process's part in a cluster: its store, and its lease, which it polls beside everything else that it does."""

    def __init__(self, keeping: ClusterKeeping, member: Member, kernel: Kernel) -> None:
        self._keeping = keeping
        self._member = member
        self._kernel = kernel
        newest = KubeStore(DoorApi(keeping, member, "election"), NAMESPACE, "nobody", keeping.token)
        self._lease = KubeLease(
            DoorApi(keeping, member, "election"),
            Claim(NAMESPACE, member.name, "sim"),
            TIMING,
            clocks=Clocks(member.monotonic, member.monotonic, member.wall),
            floor=newest.last_epoch,
            tell=member.tell,
        )
        self._watched = Watched(
            DoorApi(keeping, member, "orders"),
            SHIFT_ORDERS,
            NAMESPACE,
            keep=understood,
            monotonic=member.monotonic,
            dice=lambda: member.dice.between(0.0, 1.0),
            tell=member.tell,
            rhythm=RHYTHM,
        )
        self._store = ToldStore(keeping, member, self._lease.answered, self._watched)
        self._due = 0.0
        self._polling = False
        self._strand: Strand | None = None
        self._watching: Strand | None = None

    @property
    def store(self) -> Store:
        """The `Store` of this process."""
        return self._store

    @property
    def leadership(self) -> Leadership:
        """The `Leadership` of this process."""
        return self._lease

    def poll(self) -> None:
        """Poll the lease if that is due, where it can stop in the middle at times."""
        if self._polling or self._kernel.now + _HAIR_SECONDS < self._due:
            return
        self._polling = True
        if self._member.dice.hits(self._member.stoppable):
            self._kernel.start(self._poll)
        else:
            self._poll()

    def leads(self) -> bool:
        """Whether it holds the lease, and whoever had it before was waited out; from then on it watches for orders."""
        valid = self._lease.valid()
        if valid and self._watching is None:
            self._kernel.after(0.0, self._begin_to_watch)
        return valid

    def is_over(self) -> bool:
        """Whether somebody else has the lease; that it cannot be renewed is no reason to end."""
        return bool(self._lease.lost())

    def rob(self) -> None:
        """Have the lease taken away."""
        self._keeping.rob(self._member.name)

    def release(self) -> None:
        """Give the lease up, in the course of which anything may happen as well; who stands still gives nothing up."""
        self._unwind()
        if self._member.door.is_stopped:
            return
        try:
            self._lease.release()
        except Killed:
            return

    def kill(self) -> None:
        """Let a poll that is under way unwind, and the watch."""
        self._unwind()
        if self._watching is not None:
            self._kernel.kill(self._watching)

    def _begin_to_watch(self) -> None:
        if self._watching is None:
            self._kernel.start(self._watch)

    def _watch(self) -> None:
        self._watching = self._kernel.strand
        while True:
            self._keeping.sleep(self._member, self._watched.turn())

    def _unwind(self) -> None:
        if self._strand is not None:
            self._kernel.kill(self._strand)

    def _poll(self) -> None:
        self._strand = self._kernel.strand
        try:
            self._due = self._kernel.now + self._lease.step()
        except Killed:
            return
        finally:
            self._polling, self._strand = False, None


class ClusterKeeping:
    """An API server with the objects of one installation.

    Args:
        kernel: of the run.
        zero: Unix seconds at its beginning.
        dice: of what people suffer, and of how a lease is taken away.
    """

    poll_seconds = _POLL_SECONDS

    def __init__(self, kernel: Kernel, zero: float, dice: Dice) -> None:
        self._kernel = kernel
        self._zero = zero
        self._dice = dice
        self._tokens = itertools.count(1)
        self.cluster = MemoryCluster(clock=self._clock, remembers=_REMEMBERED)
        self._people = MemoryApi(self.cluster, "people")
        self._saved = self._opened(self._people)
        self.library = Library(self._saved, lambda: kernel.now)
        self._answers: list[tuple[str, float]] = []
        self._touched: list[tuple[str, float]] = []

    @property
    def saved(self) -> Store:
        """All that is saved."""
        return self._saved

    def token(self) -> str:
        """Return what was never returned before."""
        return f"{next(self._tokens):05d}"

    def join(self, member: Member) -> Seat:
        """Give a process its doors."""
        return ClusterSeat(self, member, self._kernel)

    def order(self, request: OrderRequest, at: datetime) -> int:
        """Write an order down, as people do: the way to the server is theirs, and at times it fails them, too."""
        self._people.down = self._kernel.now < self.library.away_until
        if self._dice.hits(_MISDELIVERED):
            self._people.fail(self._dice.one_of(_PEOPLES_FAULTS), "create", kind=SHIFT_ORDERS)
        try:
            return self._saved.create_order(request, at).id
        finally:
            self._people.heal()

    def orders(self, given: Sequence[seen.Given], *, rests: bool) -> Sequence[seen.OrderRow]:
        """Return every order that is there, also one whose giver was told that nobody knows.

        An answer is one as soon as it is saved, in the object of whom it is about; in the end it is in the order.
        """
        by = {each.by: each for each in given}
        kept = [body for kind in (SHIFTS, SHIFT_FLEETS) for body in self._people.list(kind, NAMESPACE).items]
        told = {each["order"]: each for body in kept for each in (body.get("status") or {}).get("answers") or ()}
        told = {} if rests else told
        found = [
            _row(body, told.get(name_of(body)) or {}, by[body["spec"]["by"]])
            for body in self._people.list(SHIFT_ORDERS, NAMESPACE).items
        ]
        return sorted(found, key=lambda row: row.id)

    def audit(self) -> Store:
        """Return a store that has nothing in mind."""
        return self._opened(MemoryApi(self.cluster, "auditor"))

    def steal(self) -> str:
        """Delete the Lease, or empty it by hand."""
        body = self._lease()
        holder = "" if body is None else str(body["spec"].get("holderIdentity") or "")
        if body is None or not holder:
            return ""
        if self._dice.hits(0.5):
            self._people.delete(LEASES, NAMESPACE, "shifter")
        else:
            body["spec"]["holderIdentity"] = ""
            self._people.replace(LEASES, NAMESPACE, body)
        return holder

    def rob(self, name: str) -> None:
        """Take the lease away if this process holds it."""
        body = self._lease()
        if body is not None and body["spec"].get("holderIdentity") == name:
            self.steal()

    def doubts(self) -> Sequence[tuple[str, float, float]]:
        """Return from when to when who had to look at its lease before it could believe in it again."""
        return [
            (name, at, next((then for who, then in self._answers if who == name and then > at), self._kernel.now))
            for name, at in self._touched
        ]

    # -- what the doors ask ---------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return true time in seconds."""
        return self._kernel.now

    def is_away(self) -> bool:
        """Whether the server is gone."""
        return self._kernel.now < self.library.away_until

    def sleep(self, member: Member, seconds: float) -> None:
        """Wait on a strand of a process, and on as long as that one stands still.

        Raises:
            Killed: it is dead.
        """
        self._kernel.sleep(max(_LEAST_SECONDS, seconds))
        member.door.enter()

    def let_through(self, member: Member, timeout_seconds: float, call: Call) -> None:
        """Let a call reach the server.

        Raises:
            KubeError: the server is gone, or refuses everybody; or the network does not let it out, and there who can
                wait does so in vain.
        """
        if self.is_away():
            raise KubeError(Failing.UNAVAILABLE, "connection refused")
        if member.reaches():
            until, word = self.library.refusing
            if self._kernel.now < until:
                raise error_of(Fault(word), call, member.name)
            return
        if self._kernel.strand is None:
            raise KubeError(Failing.UNAVAILABLE, "no route to host")
        self._kernel.sleep(timeout_seconds)
        member.door.enter()
        raise KubeError(Failing.UNAVAILABLE if call.verb in READS else Failing.AMBIGUOUS, "read timed out")

    def touch(self, kind: Kind, name: str, caller: str) -> None:
        """Let somebody else write a note into an object, so that whoever has read it before is too late."""
        try:
            body = self._people.get(kind, NAMESPACE, name)
        except KubeError:
            return
        body["metadata"].setdefault("annotations", {})["example.com/note"] = self.token()
        self._people.replace(kind, NAMESPACE, body)
        if kind == LEASES:
            self._touched.append((caller, self._kernel.now))

    def answered(self, name: str, kind: Kind) -> None:
        """Remember that a process was answered about the lease."""
        if kind == LEASES:
            self._answers.append((name, self._kernel.now))

    def note(self, member: Member, body: Body) -> None:
        """Remember when what has just been appended had been decided."""
        for each in ((body.get("status") or {}).get("history") or {}).get("unflushed") or ():
            key = each["id"], each["hash"]
            if key not in self.library.records:
                decided_at = member.true_at(datetime.fromisoformat(each["at"]))
                self.library.records[key] = decided_at, self._kernel.now, member.door.number

    def _lease(self) -> Body | None:
        try:
            return self._people.get(LEASES, NAMESPACE, "shifter")
        except KubeError:
            return None

    def _opened(self, api: MemoryApi) -> KubeStore:
        return KubeStore(api, NAMESPACE, api.user, self.token)

    def _clock(self) -> datetime:
        return datetime.fromtimestamp(self._zero + self._kernel.now, UTC)


def _row(body: Body, told: Body, given: seen.Given) -> seen.OrderRow:
    """Return an order as its object has it: its number is the version it was made as, until its answer says it."""
    spec, status = body["spec"], body.get("status") or told
    cut_off = given.at % 1.0  # a server dates what it keeps to the second
    return seen.OrderRow(
        id=int(status.get("id") or given.order_id or body["metadata"]["resourceVersion"]),
        at=given.at,
        shift=spec["shift"],
        verb=spec["verb"],
        by=spec["by"],
        answer=str(status.get("answer", "")),
        full=spec.get("full", False),
        override=spec.get("override", False),
        share=spec.get("share"),
        hands_off_seconds=max(0.0, spec.get("handsOffSeconds", 0.0) - cut_off),
        adopt=spec.get("adopt", False),
    )
