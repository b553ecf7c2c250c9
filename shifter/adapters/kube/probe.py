"""What `shifter doctor` asks of a cluster besides the store itself: rights, guards, the lease, and objects' outsides.

Only reads, and questions that keep nothing (`SelfSubjectReview`, `SelfSubjectAccessReview`).
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from shifter.adapters import saved_form, saved_records
from shifter.adapters.bounds import LARGEST_STATE_BYTES
from shifter.adapters.kube.connecting import identity
from shifter.adapters.kube.definitions import Documents, read_definitions
from shifter.adapters.kube.failures import INSTALL, store_errors
from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.lease_record import read
from shifter.adapters.kube.ledger import Ledger
from shifter.adapters.kube.news import LEASE_NAME
from shifter.adapters.kube.objects import FLEET_OBJECT, record_name, status_of
from shifter.adapters.kube.ordering import understood
from shifter.adapters.kube.shown import shift_shown
from shifter.adapters.saved_form import plain
from shifter.core.chain import Link
from shifter.core.deciding.orders import FLEET
from shifter.errors import ShifterError, StoreUnavailableError
from shifter.ports import Store
from shifter.ports.clusters import Admission, Definition, HeldLease, KeptShift, Right
from shifter.ports.kube import ACCESS_REVIEWS, LEASES, SELF_REVIEWS, Body, Failing, Kind, KubeApi, KubeError
from shifter.ports.mesh import NAMESPACES

POLICIES: Final = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    namespaced=False,
)
BINDINGS: Final = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
)

WRITER: Final = "shifter"
"""Whom a server notes down as who wrote a field: what our client calls itself, up to the slash."""

LONGEST: Final[Mapping[str, int]] = {"state": LARGEST_STATE_BYTES, "report": 196_608}
"""How long texts of a status may be: characters by the definitions, and bytes by who saves a state."""

LONGEST_OBJECT: Final = 1_500_000
"""How long etcd lets an object be by default, in bytes, a little less."""

_COMPARED: Final = ("phase", "share", "intent")


class Asked(KubeApi, Documents, Protocol):
    """What a probe needs of an API server."""


class KubeProbe:
    """The `ClusterProbe` port on one API server.

    Args:
        api: the API server; closed with this.
        namespace: where shifter is installed.
        server: its address, for people.
        store: makes the store behind the same connection.
    """

    def __init__(self, api: Asked, namespace: str, server: str, store: Callable[[], Store]) -> None:
        self._api = api
        self.namespace = namespace
        self.server = server
        self._store = store

    def who(self) -> str:
        """Return who asks, as the server verified it."""
        with store_errors("who asks cannot be told"):
            return identity(self._api)

    def server_time(self) -> float:
        """Return the server's time: when it made the answer to who asks, good to half a second."""
        body = {"apiVersion": SELF_REVIEWS.api_version, "kind": SELF_REVIEWS.name}
        with store_errors("what time it is cannot be told"):
            made = self._api.create(SELF_REVIEWS, "", body).get("metadata") or {}
        try:
            # A time to the second, cut off: on average half a second less than it is.
            return datetime.fromisoformat(str(made.get("creationTimestamp"))).timestamp() + 0.5
        except ValueError as error:
            raise StoreUnavailableError("the API server does not say what time it is") from error

    def definitions(self) -> Sequence[Definition]:
        """Return the kinds that this shifter keeps things in."""
        with store_errors("the definitions cannot be read"):
            return read_definitions(self._api)

    def admission(self) -> Admission:
        """Return how orders are guarded."""
        name = f"orders.{self.namespace}.shifter.io"
        with store_errors("the admission policy cannot be read"):
            policy, binding = self._found(POLICIES, name), self._found(BINDINGS, name)
        mend = INSTALL.replace("shifter-system", self.namespace)
        return Admission(name, _why_unguarded(name, self.namespace, policy, binding), mend)

    def denied(self, rights: Sequence[Right]) -> Sequence[Right]:
        """Return those of the rights that who asks does not have in the namespace."""
        with store_errors("what is allowed cannot be told"):
            return tuple(each for each in rights if not self._allows(each))

    def lease(self) -> HeldLease | None:
        """Return the lease; None if there is none."""
        with store_errors("the lease cannot be read"):
            body = self._found(LEASES, LEASE_NAME)
        if body is None:
            return None
        record = read(body)
        return HeldLease(
            record.holder, record.installation, record.epoch, _moment(record.renewal), record.duration_seconds
        )

    def shifts(self) -> Sequence[KeptShift]:
        """Return what there is to say of each shift's object, and of that of all shifts together."""
        with store_errors("shifts cannot be listed"):
            bodies = list(self._api.list(SHIFTS, self.namespace).items)
        with store_errors("what all shifts have in common cannot be read"):
            fleet = self._found(SHIFT_FLEETS, FLEET_OBJECT)
        if fleet is not None:
            bodies.append(fleet)
        waiting = self._waiting() if any(status_of(body).get("answers") for body in bodies) else frozenset()
        return tuple(self._kept(body, waiting) for body in bodies)

    def is_there(self) -> bool | None:
        """Return whether there is such a namespace; None if who asks may not know that."""
        with store_errors("the namespace cannot be read"):
            try:
                return self._found(NAMESPACES, self.namespace) is not None
            except KubeError as error:
                if error.failing is not Failing.DENIED:
                    raise
        return None

    def strange_orders(self) -> Sequence[str]:
        """Return the names of orders that this shifter does not understand, and so never answers."""
        with store_errors("orders cannot be listed"):
            bodies = self._api.list(SHIFT_ORDERS, self.namespace).items
        return tuple(sorted(str(each["metadata"].get("name", "")) for each in bodies if understood(each) is None))

    def open(self) -> Store:
        """Return the store itself."""
        return self._store()

    def close(self) -> None:
        """Let go of connections. Calling twice is harmless."""
        self._api.close()

    def _kept(self, body: Body, waiting: Collection[str]) -> KeptShift:
        metadata, status, of_fleet = body["metadata"], status_of(body), body.get("kind") == SHIFT_FLEETS.name
        name = str(metadata.get("name", ""))
        unfiled = self._unfiled(FLEET if of_fleet else name, Ledger.of(status).unfiled)
        return KeptShift(
            "all shifts together" if of_fleet else name,
            address=f"shiftfleet {name}" if of_fleet else f"shift {name}",
            deleting_since=_moment(str(metadata.get("deletionTimestamp", ""))),
            fullest=max(_sizes(body, status), key=lambda each: each[1] / each[2]),
            unfiled=len(unfiled),
            unfiled_since=_oldest(link.at for link in unfiled),
            undelivered=sum(str(each.get("order")) in waiting for each in status.get("answers") or ()),
            edits=(*_foreign(metadata), *(() if of_fleet else _contradictions(name, status))),
        )

    def _unfiled(self, chain: str, links: Sequence[Link]) -> Sequence[Link]:
        """Return those records of a status that are no objects yet.

        A status lists what was filed, too, until its shift is saved again, which one at rest is not for long. They are
        filed in their order: where the newest is, are all.
        """

        def lacks(link: Link) -> bool:
            return self._found(SHIFT_RECORDS, record_name(chain, link.id)) is None

        with store_errors("records cannot be read"):
            if not links or not lacks(links[-1]):
                return ()
            return links[bisect_left(links[:-1], x=True, key=lacks) :]

    def _waiting(self) -> Collection[str]:
        """Return the names of orders that have no answer; one that is gone needs none."""
        with store_errors("orders cannot be listed"):
            bodies = self._api.list(SHIFT_ORDERS, self.namespace).items
        return frozenset(str(each["metadata"].get("name", "")) for each in bodies if "answer" not in status_of(each))

    def _found(self, kind: Kind, name: str) -> Body | None:
        try:
            return self._api.get(kind, self.namespace, name)
        except KubeError as error:
            if error.failing is not Failing.MISSING:
                raise
        return None

    def _allows(self, right: Right) -> bool:
        resource, _, subresource = right.resource.partition("/")
        plural, _, group = resource.partition(".")
        asked = {
            "namespace": self.namespace,
            "verb": right.verb,
            "group": group,
            "resource": plural,
            "subresource": subresource,
            "name": right.name,
        }
        spec = {"resourceAttributes": {key: value for key, value in asked.items() if value}}
        body = {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.name, "spec": spec}
        match self._api.create(ACCESS_REVIEWS, "", body).get("status"):
            case {"allowed": bool(allowed)}:
                return allowed
            case _:
                raise KubeError(Failing.UNDECODABLE, "the API server's answer to what is allowed holds none")


def _why_unguarded(name: str, namespace: str, policy: Body | None, binding: Body | None) -> str:
    """Return why orders could be given in another's name; empty if they cannot."""
    if policy is None or binding is None:
        lacking = "ValidatingAdmissionPolicy" if policy is None else "ValidatingAdmissionPolicyBinding"
        return f"there is no {lacking} {name}"
    return _why_unbound(name, namespace, binding.get("spec") or {}) or _why_blind(name, policy.get("spec") or {})


def _why_unbound(name: str, namespace: str, bound: Mapping[str, Any]) -> str:
    """Return why a binding does not put its policy in force; empty if it does."""
    selected = ((bound.get("matchResources") or {}).get("namespaceSelector") or {}).get("matchLabels") or {}
    if bound.get("policyName") != name:
        return f"the binding {name} is of the policy {plain(str(bound.get('policyName')))}"
    if "Deny" not in (bound.get("validationActions") or ()):
        return f"the binding {name} denies nothing"
    if selected.get("kubernetes.io/metadata.name", namespace) != namespace:
        return f"the binding {name} is for another namespace"
    return ""


def _why_blind(name: str, spec: Mapping[str, Any]) -> str:
    """Return why a policy does not see who gives an order; empty if it does."""
    if spec.get("failurePolicy", "Fail") != "Fail":
        return f"the policy {name} lets orders through that it cannot judge"
    every = [*(spec.get("validations") or ()), *(spec.get("variables") or ())]
    said = " ".join(str(each.get("expression")) for each in every)
    sees = "request.userInfo.username" in said and ".by" in said
    return "" if sees else f"the policy {name} does not compare spec.by with who asks"


def _sizes(body: Body, status: Body) -> Iterator[tuple[str, int, int]]:
    for field, most in LONGEST.items():
        yield f"status.{field}", len(str(status.get(field, "")).encode("utf-8", "replace")), most
    yield "the whole object", len(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")), LONGEST_OBJECT


def _foreign(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield who else has written a status, as the server noted it down."""
    for entry in metadata.get("managedFields") or ():
        manager = str(entry.get("manager", ""))
        if entry.get("subresource") == "status" and manager != WRITER:
            yield f"{plain(manager)} at {plain(str(entry.get('time', '?')))}"


def _contradictions(name: str, status: Body) -> Iterator[str]:
    """Yield what people are shown and the saved state does not say; one save writes both."""
    if "state" not in status:
        return
    try:
        shown = shift_shown(saved_form.read_state(name, str(status["state"])))
    except ShifterError:  # which is told of the store
        return
    for field in _COMPARED:
        if status.get(field) != shown[field]:
            yield f"status.{field} says {json.dumps(status.get(field))}, the saved state {json.dumps(shown[field])}"


def _oldest(texts: Iterable[str]) -> datetime | None:
    moments: list[datetime] = []
    for text in texts:
        with suppress(ValueError):
            moments.append(saved_records.read_moment(text))
    return min(moments, default=None)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None
