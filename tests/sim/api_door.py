"""The way of one process to the API server: each call passes its door, and then reaches what all processes share.

A watch passes it when it is opened, and from then on stands still and dies with its process. It may be cut without a
word, by the network as well, and end only when its time is up; what it tells may come late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shifter.ports.kube import Body, Change, Kind, Listing
from tests.kube import Call, Fault, MemoryApi
from tests.kube_faults import error_of
from tests.sim.calls import PORTS, REFUSALS, Fate
from tests.sim.keeping import Member

if TYPE_CHECKING:
    from tests.sim.cluster import ClusterKeeping

T = TypeVar("T")

FAULTS: Final[Mapping[Fate, Fault]] = {
    Fate.UNKNOWN_USER: Fault.UNKNOWN_USER,
    Fate.DENIED: Fault.DENIED,
    Fate.EXPIRED: Fault.EXPIRED,
    Fate.INVALID: Fault.INVALID,
    Fate.THROTTLED: Fault.THROTTLED,
}
"""What the server says to a call that it refuses."""

_LATE_SECONDS: Final = 4.0
"""So late a watch tells at the most."""

_PROMPT_SECONDS: Final = 0.25


class DoorApi:
    """The `KubeApi` of one process. `port` is how its calls are called, and thereby how long each is waited for."""

    def __init__(self, keeping: ClusterKeeping, member: Member, port: str) -> None:
        self._keeping = keeping
        self._member = member
        self._port = port
        self._inner = MemoryApi(keeping.cluster, member.name)
        self._tokens: dict[str, str] = {}

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        """Return an object."""
        return self._call("get", kind, name, lambda: self._inner.get(kind, namespace, name))

    def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Listing:
        """Return all objects of a kind."""
        return self._call("list", kind, "", lambda: self._inner.list(kind, namespace, labels=labels))

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        """Make an object."""
        return self._call("create", kind, name_of(body), lambda: self._inner.create(kind, namespace, body))

    def replace(self, kind: Kind, namespace: str, body: Body, *, status: bool = False) -> Body:
        """Write an object."""

        def replace() -> Body:
            kept = self._inner.replace(kind, namespace, body, status=status)
            self._keeping.note(self._member, kept)
            return kept

        said = self._said(kind, body)
        return self._call("replace_status" if status else "replace", kind, name_of(body), replace, said)

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete an object."""
        self._call("delete", kind, name, lambda: self._inner.delete(kind, namespace, name, uid=uid))

    def watch(
        self,
        kind: Kind,
        namespace: str,
        resource_version: str,
        *,
        seconds: float,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[Change]:
        """Yield what changes, on a strand of its own."""
        fate = self._call("watch", kind, "", lambda: self._member.door.fate)
        pace = self._member.dice.between(_PROMPT_SECONDS, _LATE_SECONDS) if fate is Fate.SLOW else _PROMPT_SECONDS
        keeping = self._keeping

        def waits(rest_seconds: float) -> bool:
            keeping.sleep(self._member, min(rest_seconds, pace))
            line.down = keeping.is_away()
            line.silent = line.silent or not self._member.reaches()
            return True

        line = MemoryApi(keeping.cluster, self._member.name, monotonic=keeping.now, waiting=waits)
        line.silent = fate is Fate.CUT
        yield from line.watch(kind, namespace, resource_version, seconds=seconds, labels=labels)

    def close(self) -> None:
        """Let go."""
        self._inner.close()

    def _call(self, verb: str, kind: Kind, name: str, act: Callable[[], T], said: str = "") -> T:
        port, door = PORTS[f"{self._port}.{verb}"], self._member.door

        def reach() -> T:
            call = Call(verb, kind, name)
            self._keeping.let_through(self._member, port.timeout_seconds, call)
            if door.fate in REFUSALS:
                raise error_of(FAULTS[door.fate], call, self._member.name)
            if door.fate is Fate.CONFLICT:
                self._keeping.touch(kind, name, self._member.name)
            return act()

        answer = door.call(port, " ".join(filter(None, (kind.plural, name, said))), reach)
        self._keeping.answered(self._member.name, kind)
        return answer

    def _said(self, kind: Kind, body: Body) -> str:
        """Say what a status is about, and of a save also what is appended."""
        status, name = body.get("status") or {}, f"{kind.plural}/{name_of(body)}"
        if "savedBy" not in status or self._tokens.get(name) == status["savedBy"]:
            return str(status.get("answer", ""))
        self._tokens[name] = status["savedBy"]
        told = "; ".join(
            f"{each['shift']} {each['what']} {each['sequence']}/{each['epoch']} {each['reason']}"
            for each in status["history"]["unflushed"]
        )
        return f"v{status['version']} {status.get('phase', '')} {told}"


def name_of(body: Mapping[str, Any]) -> str:
    """Return an object's name."""
    return str(body["metadata"]["name"])
