"""What is asked of a store in a cluster only to find out what is wrong with it. Everything here is read.

What these mean is judged by who asks (`service/checkup`); what a definition, a right or a policy is in Kubernetes is
known to the adapter alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shifter.ports.looking import RemoteClock
from shifter.ports.store import Store


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind of object as a cluster defines it, against what this shifter keeps in it.

    `name` is as people know it: `shifts.shifter.io`. `trouble` says in a sentence why nothing can be kept in it, empty
    if it can; `remedy` is what mends that. `more` are fields that only a later shifter knows, which do no harm.
    """

    name: str
    trouble: str = ""
    remedy: str = ""
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """The policy that sees that an order is in the name of who gives it. `trouble` is why it does not; empty if so."""

    name: str
    trouble: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """A verb on a resource, `shifts.shifter.io/status`; `name` is empty for objects of any name."""

    verb: str
    resource: str
    name: str = ""

    def __str__(self) -> str:
        """Return it as people say it: `get leases.coordination.k8s.io named shifter`."""
        return f"{self.verb} {self.resource}{f' named {self.name}' if self.name else ''}"


@dataclass(frozen=True, slots=True)
class HeldLease:
    """Who leads. `holder` is empty if it was let go of; `renewed` is by the holder's clock, None if nobody can read it.

    `installation` is the fleet's name that its holder was started with.
    """

    holder: str
    installation: str
    epoch: int
    renewed: datetime | None
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class KeptShift:
    """What the object of one shift says beside its contents.

    `deleting_since`: somebody deletes it, and a finalizer keeps it. `fullest` is the text in it that comes closest to
    its limit, with its length and that limit in characters. `unfiled` are records that are no objects yet, the oldest
    of them from `unfiled_since`; `undelivered` are answers that have not reached their orders. `edits` tell what
    somebody else than shifter has written into its status. `address` is as kubectl takes it: `shift shop`.
    """

    name: str
    address: str = ""
    deleting_since: datetime | None = None
    fullest: tuple[str, int, int] = ("", 0, 1)
    unfiled: int = 0
    unfiled_since: datetime | None = None
    undelivered: int = 0
    edits: tuple[str, ...] = ()


class ClusterProbe(RemoteClock, Protocol):
    """A store in a cluster, looked at through an API server. Each call is bounded in time.

    Raises from any call:
        RefusedError: the server says no.
        TransientError: it does not answer.
    """

    @property
    def server(self) -> str:
        """The API server's address, for people."""

    @property
    def namespace(self) -> str:
        """Where shifter is installed."""

    def who(self) -> str:
        """Return who asks, as the server verified it."""

    def definitions(self) -> Sequence[Definition]:
        """Return the kinds that this shifter keeps things in."""

    def admission(self) -> Admission:
        """Return how orders are guarded."""

    def denied(self, rights: Sequence[Right]) -> Sequence[Right]:
        """Return those of the rights that who asks does not have in the namespace."""

    def lease(self) -> HeldLease | None:
        """Return the lease; None if there is none."""

    def shifts(self) -> Sequence[KeptShift]:
        """Return what there is to say of each shift's object, and of that of all shifts together."""

    def is_there(self) -> bool | None:
        """Return whether there is such a namespace; None if who asks may not know that."""

    def strange_orders(self) -> Sequence[str]:
        """Return the names of orders that this shifter does not understand, and so never answers."""

    def open(self) -> Store:
        """Return the store itself, to look only. What it asks goes through this probe's connection."""

    def close(self) -> None:
        """Let go of connections. Calling twice is harmless."""
