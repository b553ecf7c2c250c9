"""One cluster while a mesh is being installed in it: what the file says of it, and the doors to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from shifter.core.documents.mesh import Member, Primary
from shifter.core.text import plain
from shifter.errors import RefusedError, TransientError
from shifter.mesh.installing.steps import NotReadyError
from shifter.ports.istioctl import Reach
from shifter.ports.kube import Body, Failing, Kind, KubeError
from shifter.ports.mesh import CORE_EVENTS, MeshApi

T = TypeVar("T")

MANAGER: Final = "shifter"
"""In whose name the server keeps what is applied."""

_LONGEST_EVENTS: Final = 3


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the installer waits, and by what: `pause` sleeps for so many seconds.

    `ready_seconds` is for pods to become ready, `address_seconds` for a load balancer to get its address.
    """

    monotonic: Callable[[], float]
    pause: Callable[[float], None]
    ready_seconds: float = 300.0
    address_seconds: float = 300.0
    look_every_seconds: float = 2.0

    def until(self, ready: Callable[[], str], seconds: float) -> str:
        """Wait until `ready` returns an empty text: what is still missing. Return the last that it said.

        Args:
            ready: asked again and again; that a cluster does not answer is waited out, too.
            seconds: how long; then what is missing is returned.
        """
        ends = self.monotonic() + seconds
        while True:
            try:
                missing = ready()
            except TransientError as error:
                missing = str(error)
            if not missing or self.monotonic() >= ends:
                return missing
            self.pause(self.look_every_seconds)


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster of the file. `name` is its name in the mesh, `reach` how istioctl is told of it."""

    cluster: Primary | Member
    api: MeshApi
    reach: Reach
    patience: Patience

    @property
    def name(self) -> str:
        """Its name in the mesh: the TKE cluster id."""
        return self.cluster.cluster

    def find(self, kind: Kind, namespace: str, name: str) -> Body | None:
        """Return an object, None if there is none (nor any of its kind)."""
        try:
            with self.asked(f"read {kind.plural} {name}"):
                return self.api.get(kind, namespace, name)
        except _MissingError:
            return None

    def all(self, kind: Kind, namespace: str = "") -> Sequence[Body]:
        """Return all objects of a kind; none where the cluster does not know the kind."""
        try:
            with self.asked(f"list {kind.plural}"):
                return self.api.list(kind, namespace).items
        except _MissingError:
            return ()

    def apply(self, kind: Kind, namespace: str, body: Body, *, force: bool = False) -> Body:
        """Have the server keep what is said of an object, in shifter's name; what others said of it stays.

        Args:
            kind: of which kind.
            namespace: where.
            body: what is said of it.
            force: take what somebody else said otherwise; without it that is refused.
        """
        with self.asked(f"apply {kind.plural} {body['metadata']['name']}"):
            return self.api.apply(kind, namespace, kind.body(**body), manager=MANAGER, force=force)

    @contextmanager
    def asked(self, what: str) -> Iterator[None]:
        """Translate what an API server has against something into the sentence of a command."""
        try:
            yield
        except KubeError as error:
            raise _translated(error, f"{self.name}: cannot {what}: {plain(str(error))}") from error

    def events_of(self, namespace: str, kind: str, name: str) -> str:
        """Return the last warnings that the cluster has of an object, for a sentence; empty if there are none."""
        told = [
            each
            for each in self.all(CORE_EVENTS, namespace)
            if each.get("type") == "Warning"
            and each.get("involvedObject", {}).get("name") == name
            and each.get("involvedObject", {}).get("kind") == kind
        ]
        told.sort(key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""))
        shown = [plain(f"{each.get('reason', '')}: {each.get('message', '')}") for each in told[-_LONGEST_EVENTS:]]
        return "; ".join(dict.fromkeys(shown))

    def not_ready(self, missing: str, events: str, seconds: float, *, remedy: str = "") -> NotReadyError:
        """Return the error of something that did not become ready in time."""
        said = f"; the cluster says: {events}" if events else ""
        return NotReadyError(f"{self.name}: after {seconds:g} s: {missing}{said}", remedy=remedy)


class _MissingError(RefusedError):
    """There is no such object."""


def _translated(error: KubeError, said: str) -> Exception:
    match error.failing:
        case Failing.MISSING:
            return _MissingError(said)
        case Failing.UNAVAILABLE | Failing.AMBIGUOUS | Failing.UNDECODABLE | Failing.EXPIRED:
            return TransientError(said)
        case Failing.DENIED | Failing.INVALID | Failing.CONFLICT | Failing.EXISTS:
            return RefusedError(said)
