"""What somebody may do, by the roles of a chart, and what they asked for, by the audit log: to lay one on the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from tests.cluster.plane import ControlPlane


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """A verb on a resource, `shiftorders.shifter.io` or `shifts.shifter.io/status`; `name` is empty for any object."""

    verb: str
    resource: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what right it needs, and what became of it."""

    right: Right
    namespace: str
    status: int


def granted(roles: Iterable[Mapping[str, Any]]) -> set[Right]:
    """Return every single right of Roles and ClusterRoles."""
    return {right for role in roles for rule in role["rules"] for right in _of_rule(rule)}


def allows(rights: Iterable[Right], asked: Right) -> set[Right]:
    """Return those of `rights` that allow what was asked."""
    return {
        right
        for right in rights
        if (right.verb, right.resource) == (asked.verb, asked.resource) and right.name in {"", asked.name}
    }


def asked(plane: ControlPlane, who: str) -> list[Asked]:
    """Return every request of one user so far that is about objects; an account is `system:serviceaccount:...`."""
    return [found for event in plane.audit() if event["user"].get("username") == who for found in _of_event(event)]


def _of_rule(rule: Mapping[str, Any]) -> Iterator[Right]:
    for group, resource, verb in product(rule["apiGroups"], rule["resources"], rule["verbs"]):
        for name in rule.get("resourceNames", ("",)):
            yield Right(verb, _spelled(resource, group), name)


def _of_event(event: Mapping[str, Any]) -> Iterator[Asked]:
    about = event.get("objectRef")
    if about is None or "resource" not in about or event["stage"] == "ResponseStarted":  # a watch is told twice
        return
    resource = about["resource"] + (f"/{about['subresource']}" if "subresource" in about else "")
    right = Right(event["verb"], _spelled(resource, about.get("apiGroup", "")), about.get("name", ""))
    yield Asked(right, about.get("namespace", ""), int(event.get("responseStatus", {}).get("code", 0)))


def _spelled(resource: str, group: str) -> str:
    plural, slash, rest = resource.partition("/")
    return f"{plural}.{group}{slash}{rest}" if group else resource
