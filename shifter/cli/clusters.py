"""What a command asks of a cluster besides its store: who asks, what they may do, who leads.

Who asks is what the cluster says, never what somebody claims; what they may order is Kubernetes' RBAC, with one verb
per kind of order. The cluster refuses by itself (an admission policy): asking first is only so that a person is told
before "Go ahead?", in words that name the missing permission and the line that grants it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from shifter.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from shifter.ports import Store
    from shifter.ports.clusters import ClusterProbe
    from shifter.ports.transfers import Transferable
    from shifter.wiring import ClusterAddress

RESOURCE: Final = "shifts.shifter.io"
"""What every order needs its verb on."""

ALL_SHIFTS: Final = "*"
"""Whom an order to all shifts together is addressed to; `core/deciding/orders.py` has it too, behind pydantic."""


class ClusterDoor(Protocol):
    """The ways into a cluster. Each call is bounded in time and fails with a `ShifterError`."""

    def open(self, address: ClusterAddress) -> Store:
        """Open the store."""

    def identity(self, address: ClusterAddress) -> str:
        """Return who asks, as the cluster verified it."""

    def served(self, address: ClusterAddress) -> bool:
        """Return whether a leader holds a live lease."""

    def closed(self, address: ClusterAddress) -> str:
        """Return why nobody can give an order there; empty if nothing is known of that.

        Raises:
            NotFoundError: there is no such namespace.
        """

    def may(self, address: ClusterAddress, verb: str, shift: str) -> bool:
        """Return whether who asks may order `verb` of a shift, or of all shifts together (`ALL_SHIFTS`)."""

    def transfer(self, address: ClusterAddress) -> Transferable:
        """Return the store as one end of a copy."""

    def probe(self, address: ClusterAddress) -> ClusterProbe:
        """Return what asks what is wrong with it; nothing is asked yet."""


class Clusters:
    """The real ways in: what `wiring` knows. The client library is imported with the first call."""

    def open(self, address: ClusterAddress) -> Store:
        """Open the store."""
        from shifter import wiring  # noqa: PLC0415 - pydantic and more: not for `--help`

        return wiring.open_cluster_store(address)

    def identity(self, address: ClusterAddress) -> str:
        """Return who asks, as the cluster verified it."""
        from shifter import wiring  # noqa: PLC0415 - as above

        return wiring.cluster_identity(address)

    def served(self, address: ClusterAddress) -> bool:
        """Return whether a leader holds a live lease."""
        from shifter import wiring  # noqa: PLC0415 - as above

        return wiring.cluster_served(address)

    def closed(self, address: ClusterAddress) -> str:
        """Return why nobody can give an order there; empty if nothing is known of that."""
        from shifter import wiring  # noqa: PLC0415 - as above

        return wiring.cluster_closed(address)

    def may(self, address: ClusterAddress, verb: str, shift: str) -> bool:
        """Return whether who asks may order `verb` of a shift, or of all shifts together."""
        from shifter import wiring  # noqa: PLC0415 - as above

        return wiring.cluster_may(address, verb, shift)

    def transfer(self, address: ClusterAddress) -> Transferable:
        """Return the store as one end of a copy."""
        from shifter import wiring  # noqa: PLC0415 - as above

        return wiring.cluster_transfer(address)

    def probe(self, address: ClusterAddress) -> ClusterProbe:
        """Return what asks what is wrong with it; nothing is asked yet."""
        from shifter import wiring  # noqa: PLC0415 - as above

        return wiring.cluster_probe(address)


def forbidden(by: str, verb: str, shift: str, namespace: str) -> CommandError:
    """Return the refusal of an order that RBAC does not allow: what is missing, and the line that grants it."""
    whom = "all shifts" if shift == ALL_SHIFTS else shift
    said = f"{by} may not {verb} {whom}: it needs the verb {verb} on {RESOURCE} in namespace {namespace}"
    return CommandError(Exit.REFUSED, said, f"grant it with: {' && '.join(grant(by, verb, shift, namespace))}")


def grant(by: str, verb: str, shift: str, namespace: str) -> Sequence[str]:
    """Return the commands by which an administrator grants one verb: on one shift, or on all of them together."""
    from shifter.ports.clusters import Right  # noqa: PLC0415 - for who is refused
    from shifter.service.checkup.rights import grant as granting  # noqa: PLC0415 - for who is refused

    return granting(by, Right(verb, RESOURCE, "" if shift == ALL_SHIFTS else shift), namespace)
