"""Objects on the wire as an API server treats them: what it fills in, keeps, refuses, and how it says so."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shifter.adapters.kube.kinds import OUR_GROUP, SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.probe import BINDINGS, POLICIES
from shifter.ports.kube import AUTOSCALERS, DEPLOYMENTS, EVENTS, LEASES, Body, Failing, Kind, KubeError
from shifter.ports.mesh import NAMESPACES

SERVED = (
    SHIFTS,
    SHIFT_FLEETS,
    SHIFT_ORDERS,
    SHIFT_RECORDS,
    LEASES,
    EVENTS,
    DEPLOYMENTS,
    AUTOSCALERS,
    POLICIES,
    BINDINGS,
    NAMESPACES,
)
HAVE_STATUS = (SHIFTS, SHIFT_FLEETS, SHIFT_ORDERS, DEPLOYMENTS, AUTOSCALERS)
DOCUMENTS = Kind("", "", "documents", "", namespaced=False)
"""What a server says of itself, for faults of such calls."""
MAY_BE_WRITTEN_BLINDLY = (DEPLOYMENTS, AUTOSCALERS, EVENTS)
"""Where a replace may leave the resource version out; leases and all custom objects must name it."""
MADE_BY_REPLACING = (LEASES, EVENTS)
"""Where a replace of what is not there creates it, whatever resource version it names."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_HALVES = re.compile("[\ud800-\udfff]")
_LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_NAME = 253
_LONGEST_LABEL = 63
_LONGEST_REQUEST = 3 * 1024**2


@dataclass(frozen=True, slots=True)
class Kept:
    """An object as the cluster keeps it: a text, so that nobody shares a part of it with the cluster."""

    text: str
    labels: Mapping[str, str]

    @classmethod
    def of(cls, body: Body) -> Kept:
        """Keep what an object is now, with 5 for 5.0."""
        return cls(json.dumps(_numbers(body)), dict(body["metadata"].get("labels") or {}))

    def body(self) -> Body:
        """Return a copy of it that is the caller's own."""
        copied: Body = json.loads(self.text)
        return copied

    def has(self, labels: Mapping[str, str]) -> bool:
        """Whether it is among those with these labels."""
        return all(self.labels.get(key) == value for key, value in labels.items())


def resource(kind: Kind) -> str:
    """Return a kind as the server's sentences name it: `shifts.shifter.io`."""
    return f"{kind.plural}.{kind.group}"


def stamp(moment: datetime) -> str:
    """Return a moment as metadata has it, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def missing(what: str, name: str) -> KubeError:
    """Return the error for what is not there."""
    return KubeError(Failing.MISSING, f'{what} "{name}" not found', status=404, reason="NotFound")


def unknown_kind() -> KubeError:
    """Return the error for a kind that is not served."""
    return KubeError(Failing.MISSING, "HTTP 404: 404 page not found", status=404)


def exists(kind: Kind, name: str) -> KubeError:
    """Return the error for what is there already."""
    said = f'{resource(kind)} "{name}" already exists'
    return KubeError(Failing.EXISTS, said, status=409, reason="AlreadyExists")


def conflict(kind: Kind, name: str, why: str) -> KubeError:
    """Return the error for a write that is based on something else."""
    said = f'Operation cannot be fulfilled on {resource(kind)} "{name}": {why}'
    return KubeError(Failing.CONFLICT, said, status=409, reason="Conflict")


def invalid(kind: Kind, name: str, why: str) -> KubeError:
    """Return the error for an object that is refused."""
    said = f'{kind.name}.{kind.group} "{name}" is invalid: {why}'
    return KubeError(Failing.INVALID, said, status=422, reason="Invalid")


def bad(why: str) -> KubeError:
    """Return the error for what is no object of that kind at all."""
    return KubeError(Failing.INVALID, why, status=400, reason="BadRequest")


def clean(body: Body) -> Body:
    """Return what of an object arrives: JSON, without halves of characters."""
    try:
        text = json.dumps(body, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise bad(f"the object provided is unrecognized: {error}") from error
    sent = _HALVES.sub("\ufffd", text).encode()
    if len(sent) > _LONGEST_REQUEST:
        said = f"Request entity too large: limit is {_LONGEST_REQUEST}"
        raise KubeError(Failing.INVALID, said, status=413, reason="RequestEntityTooLarge")
    arrived: Body = json.loads(sent)
    return arrived


def _numbers(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def born(kind: Kind, namespace: str, body: Body, uid: str, now: str) -> Body:
    """Return a new object as the server would keep it.

    Args:
        kind: of which kind.
        namespace: where.
        body: as it was sent.
        uid: who it will be.
        now: when.
    """
    told = _fitting(kind, namespace, body)
    if told.get("resourceVersion"):
        raise KubeError(
            Failing.AMBIGUOUS,
            "resourceVersion should not be set on objects to be created",
            status=500,
            reason="InternalError",
        )
    if (prefix := told.get("generateName")) and not _NAME.fullmatch(re.sub("-$", "a", prefix)):
        raise invalid(kind, "", f'metadata.generateName: Invalid value: "{prefix}"')
    if not told.get("name") and told.get("generateName"):
        told["name"] = told["generateName"] + _suffix(int(uid[-12:], 16))
    _named(kind, told)
    for own in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        told.pop(own, None)
    told |= {"uid": uid, "creationTimestamp": now, "managedFields": [{"manager": "tests", "operation": "Update"}]}
    if kind.namespaced:
        told["namespace"] = namespace
    if _has_generation(kind):
        told["generation"] = 1
    made = body | {"apiVersion": kind.api_version, "kind": kind.name, "metadata": told}
    if kind in HAVE_STATUS:
        made.pop("status", None)
    return made


def replaced(kind: Kind, namespace: str, before: Body, body: Body, *, status: bool) -> Body:
    """Return what is kept after a replace, still with the old resource version.

    Args:
        kind: of which kind.
        namespace: where.
        before: what is there.
        body: as it was sent.
        status: whether only the status is meant.
    """
    told, was = _fitting(kind, namespace, body), before["metadata"]
    name = str(was["name"])
    if (uid := told.get("uid")) and uid != was["uid"]:
        raise conflict(kind, name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {was['uid']}")
    if not (version := told.get("resourceVersion")):
        if kind not in MAY_BE_WRITTEN_BLINDLY:
            raise invalid(kind, name, "metadata.resourceVersion: Invalid value: 0: must be specified for an update")
    elif version != was["resourceVersion"]:
        why = "the object has been modified; please apply your changes to the latest version and try again"
        raise conflict(kind, name, why)
    if status:
        return _with_status(before, body)
    after = body | {"apiVersion": kind.api_version, "kind": kind.name, "metadata": _metadata(kind, was, told)}
    if kind in HAVE_STATUS:
        after = _with_status(after, before)
    if _has_generation(kind) and _content(after) != _content(before):
        after["metadata"]["generation"] += 1
    return after


def owned_by_server(after: Body, before: Body) -> bool:
    """Whether a write changes nothing, so that not even the resource version grows."""
    return after == before


def legible(kind: Kind, body: Body) -> None:
    """Refuse a lease or an event whose moments cannot be read, and labels that are none."""
    for key, value in (body["metadata"].get("labels") or {}).items():
        if not _LABEL.fullmatch(value) or len(value) > _LONGEST_LABEL:
            why = f'metadata.labels: Invalid value: "{value}": a valid label must be an empty string or ({key})'
            raise invalid(kind, body["metadata"]["name"], why)
    for moment in _micro_times(kind, body):
        if moment is not None and not _MICRO_TIME.fullmatch(moment):
            raise bad(f'parsing time "{moment}" as "2006-01-02T15:04:05.000000Z07:00"')


def _micro_times(kind: Kind, body: Body) -> Sequence[str | None]:
    if kind == LEASES:
        return [(body.get("spec") or {}).get(key) for key in ("acquireTime", "renewTime")]
    return [body.get("eventTime")] if kind == EVENTS else []


def _fitting(kind: Kind, namespace: str, body: Body) -> Body:
    for key in ("kind", "apiVersion"):
        if kind.group == OUR_GROUP and not body.get(key):
            raise bad(f"Object '{key[0].upper()}{key[1:]}' is missing")
    told = dict(body.get("metadata") or {})
    if (said := body.get("apiVersion") or kind.api_version) != kind.api_version:
        why = f"the API version in the data ({said}) does not match the expected API version ({kind.api_version})"
        raise bad(why)
    if (called := body.get("kind") or kind.name) != kind.name:
        raise invalid(kind, str(told.get("name", "")), f'kind: Invalid value: "{called}": must be {kind.name}')
    if kind.namespaced and told.get("namespace", namespace) != namespace:
        raise bad("the namespace of the provided object does not match the namespace sent on the request")
    return told


def _named(kind: Kind, told: Body) -> None:
    name = told.get("name") or ""
    if not name:
        raise invalid(kind, "", "metadata.name: Required value: name or generateName is required")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise invalid(kind, name, f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain')


def _suffix(number: int) -> str:
    letters = ""
    for _ in range(5):
        number, rest = divmod(number, len(_LETTERS))
        letters += _LETTERS[rest]
    return letters


def _has_generation(kind: Kind) -> bool:
    return kind.group == OUR_GROUP or kind == DEPLOYMENTS


def _with_status(body: Body, source: Body) -> Body:
    rest = {key: value for key, value in body.items() if key != "status"}
    return rest | ({"status": source["status"]} if "status" in source else {})


def _content(body: Body) -> Body:
    return {key: value for key, value in body.items() if key not in ("metadata", "status")}


def _metadata(kind: Kind, was: Body, told: Body) -> Body:
    if told.get("deletionTimestamp") and "deletionTimestamp" not in was:
        raise invalid(kind, was["name"], "metadata.deletionTimestamp: Invalid value: field is immutable")
    new = set(told.get("finalizers") or ()) - set(was.get("finalizers") or ())
    if "deletionTimestamp" in was and new:
        why = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"
        raise invalid(kind, was["name"], why)
    free = ("labels", "annotations", "finalizers", "ownerReferences")
    kept = {key: value for key, value in was.items() if key not in free}
    return kept | {key: told[key] for key in free if told.get(key)}
