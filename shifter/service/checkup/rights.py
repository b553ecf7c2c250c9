"""What is needed of Kubernetes' RBAC, by the service and by who looks, and the lines that grant it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from shifter.ports.clusters import Right

SHIFTS: Final = "shifts.shifter.io"
"""What every order needs its verb on."""

_ORDERS: Final = "shiftorders.shifter.io"
_RECORDS: Final = "shiftrecords.shifter.io"
_FLEETS: Final = "shiftfleets.shifter.io"
_LEASES: Final = "leases.coordination.k8s.io"
_LEASE: Final = "shifter"

_SERVING: Final[Mapping[str, tuple[str, ...]]] = {
    SHIFTS: ("get", "list", "create"),
    _FLEETS: ("get", "create"),
    f"{SHIFTS}/status": ("update",),
    f"{_FLEETS}/status": ("update",),
    f"{_ORDERS}/status": ("update",),
    _ORDERS: ("get", "list", "watch", "delete"),
    _RECORDS: ("get", "list", "create", "delete"),
    "events.events.k8s.io": ("create",),
}

SERVING: Final = (
    *(Right(verb, resource) for resource, verbs in _SERVING.items() for verb in verbs),
    Right("create", _LEASES),
    Right("get", _LEASES, _LEASE),
    Right("update", _LEASES, _LEASE),
)
"""What the service does in its namespace: the chart's Role `shifter`."""

LOOKING: Final = (
    *(Right(verb, each) for each in (SHIFTS, _FLEETS, _ORDERS, _RECORDS) for verb in ("get", "list")),
    Right("get", _LEASES, _LEASE),
)
"""What who looks must be allowed, and no more: a part of what the chart's role for viewers has."""

_SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9.-]+")


def is_account(who: str) -> bool:
    """Return whether this is a program's name and no person's."""
    return who.startswith(_SERVICE_ACCOUNT)


def grant(who: str, right: Right, namespace: str) -> Sequence[str]:
    """Return the commands by which an administrator grants one right in one namespace."""
    named = [f"--resource-name={right.name}"] if right.name else []
    # One name for both, of its own: a role that is there already would stop the line before its binding.
    about = [] if right.resource == SHIFTS else [right.resource.partition(".")[0], *right.resource.partition("/")[2:]]
    words = ["shifter", right.verb, *about, right.name, _plain(who)]
    name = "-".join(word for word in words if word)
    role = ["create", "role", name, f"--verb={right.verb}", f"--resource={right.resource}", *named, "-n", namespace]
    binding = ["create", "rolebinding", name, f"--role={name}", _subject(who), "-n", namespace]
    return [shlex.join(["kubectl", *role]), shlex.join(["kubectl", *binding])]


def viewing(who: str, namespace: str) -> str:
    """Return the command by which an administrator lets a person look at everything in one namespace."""
    role = ["rolebinding", f"shifter-viewer-{_plain(who)}", f"--clusterrole=viewer.{namespace}.shifter.io"]
    return shlex.join(["kubectl", "create", *role, _subject(who), "-n", namespace])


def _plain(who: str) -> str:
    return _NOT_IN_NAMES.sub("-", who.lower().removeprefix(_SERVICE_ACCOUNT)).strip("-.") or "somebody"


def _subject(who: str) -> str:
    return f"--serviceaccount={who.removeprefix(_SERVICE_ACCOUNT)}" if is_account(who) else f"--user={who}"
