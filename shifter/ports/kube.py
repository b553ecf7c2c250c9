"""What shifter needs of an API server: seven verbs on plain objects, and every way in which they fail.

Plain objects, as they are on the wire: generated models refuse a whole object for one field that a server spells
otherwise. No call retries by itself and each is bounded in time; whoever calls knows what a repetition would mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from shifter.errors import ShifterError

Body = dict[str, Any]
"""An object as JSON: `metadata`, `spec`, `status` and so on."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: where it lives in the API. `namespaced` is False for those of the whole cluster."""

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects spell it: `shifter.io/v1alpha1`; the oldest kinds have no group: `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def body(self, **parts: Any) -> Body:  # noqa: ANN401 - JSON
        """Return an object of this kind."""
        return {"apiVersion": self.api_version, "kind": self.name, **parts}


LEASES: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS: Final = Kind("events.k8s.io", "v1", "events", "Event")
DEPLOYMENTS: Final = Kind("apps", "v1", "deployments", "Deployment")
AUTOSCALERS: Final = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
SELF_REVIEWS: Final = Kind("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
ACCESS_REVIEWS: Final = Kind(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)


class Failing(StrEnum):
    """In which way a call failed.

    `unavailable`: certainly not carried out (nobody there, throttled, a server error before a write). `ambiguous`: a
    write that may have been carried out (a timeout, a connection that broke, a 5xx after it was sent). `conflict`: the
    resource version is another. `exists`: there is one by that name. `missing`: there is none, or no such kind.
    `expired`: the resource version of a watch or a page is too old. `denied`: no permission, or nobody knows who asks
    (`reason` tells which). `invalid`: the server refuses the object, by schema, CEL rule or admission policy.
    `undecodable`: the answer is no JSON object.
    """

    UNAVAILABLE = "unavailable"
    AMBIGUOUS = "ambiguous"
    CONFLICT = "conflict"
    EXISTS = "exists"
    MISSING = "missing"
    EXPIRED = "expired"
    DENIED = "denied"
    INVALID = "invalid"
    UNDECODABLE = "undecodable"


UNSURE: Final = frozenset({Failing.AMBIGUOUS, Failing.UNDECODABLE})
"""After these a write may have been carried out."""


class KubeError(ShifterError):
    """A call to the API server failed; translated before it leaves the adapter.

    `failing` says in which way, `status` is the HTTP status (0: none came), `reason` the server's own word for it
    (`AlreadyExists`, `Forbidden`, `Unauthorized`), and the text is its sentence (`because it is being terminated` where
    a namespace is on its way out).
    """

    def __init__(self, failing: Failing, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.failing = failing
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a kind, and the resource version from which on a watch sees every later change."""

    items: Sequence[Body]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a watch saw: `type` is ADDED, MODIFIED, DELETED or BOOKMARK (only its resource version is of use)."""

    type: str
    body: Body


class KubeApi(Protocol):
    """An API server. Safe to call from several threads; each call is bounded in time and fails with `KubeError`.

    `namespace` is ignored for kinds that have none.
    """

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        """Return one object as it is now (a linearizable read)."""

    def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Listing:
        """Return all objects as they are now (a linearizable read), asked for page by page.

        Args:
            kind: of which kind.
            namespace: where; empty for all namespaces.
            labels: only those that have these labels.
        """

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        """Create an object and return it as the server keeps it."""

    def replace(self, kind: Kind, namespace: str, body: Body, *, status: bool = False) -> Body:
        """Write an object by its name, and return it as kept. With its resource version in it: compare-and-swap.

        Args:
            kind: of which kind.
            namespace: where.
            body: all of it.
            status: write the status subresource; then everything but the status is ignored by the server.
        """

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete an object; one by that name with another uid is left alone (a conflict)."""

    def watch(
        self,
        kind: Kind,
        namespace: str,
        resource_version: str,
        *,
        seconds: float,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[Change]:
        """Yield changes after `resource_version` until the server ends it, after `seconds` at most, or it fails.

        A connection that is cut silently ends it a few seconds later.
        """

    def close(self) -> None:
        """Let go of connections. Calling twice is harmless."""
