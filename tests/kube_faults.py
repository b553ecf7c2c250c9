"""How calls fail on the way to a `MemoryCluster`, and what a test plans to go wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shifter.ports.kube import ACCESS_REVIEWS, SELF_REVIEWS, Failing, Kind, KubeError
from tests.kube_bodies import resource

READS = ("get", "list", "watch")
WRITES = ("create", "replace", "replace_status", "delete")
RBAC_VERBS = {"replace": "update", "replace_status": "update"}


class Fault(StrEnum):
    """What goes wrong with a call at one door.

    Not carried out: `down` (nobody there), `throttled` (429), `timeout` (hangs; who wrote cannot know), `error` (500),
    `conflict`, `denied` (403), `unknown_user` (401), `expired` (410), `no_kind` (404, the definition is missing),
    `invalid` (422). Carried out, but not told: `lost` (a timeout), `error_after` (500), `garbled` (no JSON).
    """

    DOWN = "down"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    ERROR = "error"
    CONFLICT = "conflict"
    DENIED = "denied"
    UNKNOWN_USER = "unknown_user"
    EXPIRED = "expired"
    NO_KIND = "no_kind"
    INVALID = "invalid"
    LOST = "lost"
    ERROR_AFTER = "error_after"
    GARBLED = "garbled"


CARRIED_OUT = (Fault.LOST, Fault.ERROR_AFTER, Fault.GARBLED)
_UNSURE = Failing.AMBIGUOUS
_ERRORS: Mapping[Fault, tuple[Failing, str, int, str]] = {
    Fault.DOWN: (Failing.UNAVAILABLE, "connection refused", 0, ""),
    Fault.THROTTLED: (Failing.UNAVAILABLE, "too many requests, please try again later", 429, "TooManyRequests"),
    Fault.TIMEOUT: (_UNSURE, "read timed out", 0, ""),
    Fault.LOST: (_UNSURE, "read timed out", 0, ""),
    Fault.ERROR: (_UNSURE, "etcdserver: request timed out", 500, "InternalError"),
    Fault.ERROR_AFTER: (_UNSURE, "etcdserver: request timed out", 500, "InternalError"),
    Fault.CONFLICT: (Failing.CONFLICT, "the object has been modified", 409, "Conflict"),
    Fault.DENIED: (Failing.DENIED, "", 403, "Forbidden"),
    Fault.UNKNOWN_USER: (Failing.DENIED, "Unauthorized", 401, "Unauthorized"),
    Fault.EXPIRED: (Failing.EXPIRED, "too old resource version", 410, "Expired"),
    Fault.NO_KIND: (Failing.MISSING, "the server could not find the requested resource", 404, "NotFound"),
    Fault.INVALID: (Failing.INVALID, "denied by an admission policy", 422, "Invalid"),
    Fault.GARBLED: (_UNSURE, "the answer is no JSON object", 200, ""),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call as a door saw it. `verb`: get, list, create, replace, replace_status, delete or watch."""

    verb: str
    kind: Kind
    name: str = ""


@dataclass(slots=True)
class Planned:
    """Meets the calls that it is about, so many `times`."""

    verbs: Sequence[str]
    kind: Kind | None
    name: str | None
    times: int | None

    def takes(self, call: Call) -> bool:
        """Whether this call is one of them; counts it."""
        fits = (not self.verbs or call.verb in self.verbs) and self.kind in (None, call.kind)
        if not fits or self.name not in (None, call.name) or self.times == 0:
            return False
        self.times = None if self.times is None else self.times - 1
        return True


@dataclass(slots=True)
class Fails(Planned):
    """A call fails."""

    fault: Fault
    saying: str


@dataclass(slots=True)
class Happens(Planned):
    """Something happens while a call is on its way."""

    action: Callable[[Call], None]
    after: bool


def error_of(fault: Fault, call: Call, user: str, saying: str = "") -> KubeError:
    """Return what the caller gets to see of a fault."""
    failing, said, status, reason = _ERRORS[fault]
    if fault is Fault.DENIED:
        verb = RBAC_VERBS.get(call.verb, call.verb)
        said = f'User "{user}" cannot {verb} resource "{call.kind.plural}" in API group "{call.kind.group}"'
        said = f'{resource(call.kind)} "{call.name}" is forbidden: {said}'
    if failing is _UNSURE and (call.verb in READS or call.kind in (SELF_REVIEWS, ACCESS_REVIEWS)):
        failing = Failing.UNDECODABLE if fault is Fault.GARBLED else Failing.UNAVAILABLE
    return KubeError(failing, saying or said, status=status, reason=reason)
