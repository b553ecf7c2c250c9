"""What two selectors or two routes have in common, as far as their words alone can tell.

Whose a member is and which request a rule takes, only the cloud knows. But a selector that implies the other one can
never tell two gateways apart, and that is certain before anybody asks; a rule that lies within another one's reach is
no mistake by itself and still what a slip of the finger looks like, so it is only told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shifter.core.balancing.splits import Route, Selector
from shifter.core.text import some

MOST_NAMED = 3
"""So many rules of others are named in one sentence."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one policy names: its file, its namespaces, and its routes in the order of the file."""

    file: str
    namespaces: Sequence[str]
    routes: Sequence[Route]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What looks odd about route number `index` of `file`, in a sentence."""

    file: str
    index: int
    reason: str


def common_members(source: Selector, target: Selector) -> str:
    """Say why no member could ever be told apart by the two selectors; empty if that is not certain.

    Certain is it if one side implies the other, or if both look at the same and share a value of all of it.
    """
    ours, theirs = _criteria(source), _criteria(target)
    shared = {key: ours[key] & theirs[key] for key in ours.keys() & theirs.keys()}
    if not ours or not theirs or not all(shared.values()):
        return ""
    if ours == theirs:
        return "source and target select the same members"
    if _implies(theirs, ours):
        return "whatever target selects, source selects as well: nothing would be the target's alone"
    if _implies(ours, theirs):
        return "whatever source selects, target selects as well: nothing would be the source's alone"
    if ours.keys() == theirs.keys():
        named = ", ".join(sorted(str(value) for values in shared.values() for value in values))
        return f"source and target both select {named}"
    return ""


def _criteria(selector: Selector) -> dict[str, frozenset[object]]:
    found: dict[str, Sequence[object]] = {
        "port": selector.ports,
        "id": selector.ids,
        "ip": selector.ips,
        "tag": selector.tags,
    }
    return {key: frozenset(values) for key, values in found.items() if values}


def _implies(narrow: Mapping[str, frozenset[object]], wide: Mapping[str, frozenset[object]]) -> bool:
    return all(key in narrow and narrow[key] <= values for key, values in wide.items())


def suspicions(policies: Sequence[Claimed]) -> Iterable[Suspicion]:
    """Yield the routes that may move a namespace which their policy does not name.

    A rule takes what no longer rule of its listener takes. So one that reaches over another policy's rule carries that
    one's requests whenever that one is missing, and a host called like another policy's namespace is that namespace's
    more likely than not.
    """
    owners = {namespace: policy.file for policy in policies for namespace in policy.namespaces}
    by_listener: dict[tuple[str, str], list[tuple[str, Route]]] = {}
    for policy in policies:
        for route in policy.routes:
            by_listener.setdefault((route.balancer, route.listener), []).append((policy.file, route))
    for policy in policies:
        for index, route in enumerate(policy.routes):
            neighbours = by_listener[route.balancer, route.listener]
            said = _foreign_host(policy, route, owners) or _reaches_over(policy.file, route, neighbours)
            if said:
                yield Suspicion(policy.file, index, said)


def _foreign_host(policy: Claimed, route: Route, owners: Mapping[str, str]) -> str:
    label = route.host.partition(".")[0].lower()
    owner = owners.get(label)
    if owner is None or owner == policy.file or label in policy.namespaces:
        return ""
    return f"{route.host} sounds like namespace {label}, which {owner} moves and this policy does not name"


def _reaches_over(file: str, route: Route, neighbours: Sequence[tuple[str, Route]]) -> str:
    inner = [(other, each) for other, each in neighbours if other != file and covers(route, each)]
    if not inner:
        return ""
    named = some((f"{each.host}{each.path} of {other}" for other, each in inner), MOST_NAMED)
    return f"reaches over {named}: should that rule be missing in the CLB, its requests move with this policy"


def covers(route: Route, other: Route) -> bool:
    """Return whether a rule would take another one's requests if that one were not there.

    Both are of one listener. Patterns (`~`, `^`) are not understood and cover nothing.
    """
    if any(word[:1] in {"~", "^"} for word in (route.host, route.path, other.host, other.path)):
        return False
    host, theirs = route.host.lower(), other.host.lower()
    if host != theirs and not _wildcard_covers(host, theirs):
        return False
    path = route.path.rstrip("/")
    within = other.path.rstrip("/") == path or other.path.startswith(f"{path}/")
    return within and (route.host, route.path) != (other.host, other.path)


def _wildcard_covers(host: str, other: str) -> bool:
    if host.startswith("*."):
        return other.endswith(host[1:])
    return host.endswith(".*") and other.startswith(host[:-1])
