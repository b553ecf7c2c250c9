"""What a command asks of a cluster besides its store: who asks, what they may do, who leads.

Who asks is what the cluster says, never what somebody claims; what they may order is Kubernetes' RBAC, with one verb
per kind of order. The cluster refuses by itself (an admission policy): asking first is only so that a person is told
before "Go ahead?", in words that name the missing permission and the line that grants it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from shifter.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from shifter.ports import Store
    from shifter.ports.transfers import Transferable
    from shifter.wiring import ClusterAddress

RESOURCE: Final = "shifts.shifter.io"
"""What every order needs its verb on."""

ALL_SHIFTS: Final = "*"
"""Whom an order to all shifts together is addressed to; `core/deciding/orders.py` has it too, behind pydantic."""

_SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9.-]+")


class ClusterDoor(Protocol):
    """The ways into a cluster. Each call is bounded in time and fails with a `ShifterError`."""

    def open(self, address: ClusterAddress) -> Store:
        """Open the store."""

    def identity(self, address: ClusterAddress) -> str:
        """Return who asks, as the cluster verified it."""

    def served(self, address: ClusterAddress) -> bool:
        """Return whether a leader holds a live lease."""

    def may(self, address: ClusterAddress, verb: str, shift: str) -> bool:
        """Return whether who asks may order `verb` of a shift, or of all shifts together (`ALL_SHIFTS`)."""

    def transfer(self, address: ClusterAddress) -> Transferable:
        """Return the store as one end of a copy."""


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

    def may(self, address: ClusterAddress, verb: str, shift: str) -> bool:
        """Return whether who asks may order `verb` of a shift, or of all shifts together."""
        from shifter import wiring  # noqa: PLC0415 - as above

        return wiring.cluster_may(address, verb, shift)

    def transfer(self, address: ClusterAddress) -> Transferable:
        """Return the store as one end of a copy."""
        from shifter import wiring  # noqa: PLC0415 - as above

        return wiring.cluster_transfer(address)


def forbidden(by: str, verb: str, shift: str, namespace: str) -> CommandError:
    """Return the refusal of an order that RBAC does not allow: what is missing, and the line that grants it."""
    whom = "all shifts" if shift == ALL_SHIFTS else shift
    said = f"{by} may not {verb} {whom}: it needs the verb {verb} on {RESOURCE} in namespace {namespace}"
    return CommandError(Exit.REFUSED, said, f"grant it with: {' && '.join(grant(by, verb, shift, namespace))}")


def grant(by: str, verb: str, shift: str, namespace: str) -> Sequence[str]:
    """Return the commands by which an administrator grants one verb: on one shift, or on all of them together."""
    named = [] if shift == ALL_SHIFTS else [f"--resource-name={shift}"]
    # One name for both, of its own: a role that is there already would stop the line before its binding.
    name = "-".join(["shifter", verb, *([] if shift == ALL_SHIFTS else [shift]), _plain(by)])
    role = ["create", "role", name, f"--verb={verb}", f"--resource={RESOURCE}", *named, "-n", namespace]
    binding = ["create", "rolebinding", name, f"--role={name}", _subject(by), "-n", namespace]
    return [shlex.join(["kubectl", *role]), shlex.join(["kubectl", *binding])]


def _plain(by: str) -> str:
    return _NOT_IN_NAMES.sub("-", by.lower().removeprefix(_SERVICE_ACCOUNT)).strip("-.") or "somebody"


def _subject(by: str) -> str:
    return (
        f"--serviceaccount={by.removeprefix(_SERVICE_ACCOUNT)}" if by.startswith(_SERVICE_ACCOUNT) else f"--user={by}"
    )
