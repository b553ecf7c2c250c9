"""What somebody may do, by roles or by the server's word, and what they asked for, by the audit log: to compare."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import product
from typing import Any

from shifter.ports.kube import Kind, KubeApi
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


Everywhere = dict[str, set[Right]]
"""Rights by namespace."""

_RULES_REVIEWS = Kind(
    "authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", namespaced=False
)


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


def refused(plane: ControlPlane, who: str) -> list[str]:
    """Return every request of one user so far that was forbidden, those that are about no object among them."""
    events = (event for event in plane.audit() if event["user"].get("username") == who)
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in events
        if event.get("responseStatus", {}).get("code") == HTTPStatus.FORBIDDEN
    ]


def bound(plane: ControlPlane, namespace: str, account: str) -> Everywhere:
    """Return what a service account was granted, by every binding in the cluster that names it itself.

    Raises:
        AssertionError: something was granted in all namespaces at once.
    """
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    everywhere: Everywhere = {}
    for binding in _all(plane, "rolebindings,clusterrolebindings"):
        if subject in binding.get("subjects", ()):
            where, role = binding["metadata"].get("namespace", ""), binding["roleRef"]
            assert where, f"{binding['metadata']['name']} binds {account} in the whole cluster"
            there = ("-n", where) if role["kind"] == "Role" else ()
            told = plane.kubectl("root", "get", role["kind"].lower(), role["name"], "-o", "json", *there)
            everywhere.setdefault(where, set()).update(granted([json.loads(told.stdout)]))
    return everywhere


def told(api: KubeApi, namespace: str) -> set[Right]:
    """Return what the API server says that whoever asks may do in a namespace, with what everybody may."""
    body = {"apiVersion": _RULES_REVIEWS.api_version, "kind": _RULES_REVIEWS.name, "spec": {"namespace": namespace}}
    review = api.create(_RULES_REVIEWS, "", body)["status"]
    assert not review.get("incomplete"), review
    return granted([{"rules": review["resourceRules"]}])


def _all(plane: ControlPlane, kinds: str) -> list[Mapping[str, Any]]:
    items: list[Mapping[str, Any]] = json.loads(plane.kubectl("root", "get", kinds, "-A", "-o", "json").stdout)["items"]
    return items


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
