"""Splits in Tencent's CLB: member weights of layer 7 rules, many rules of one CLB in one call.

Facts this module is built around, from `tencentcloud/clb/v20180317/models.py` unless said otherwise:

* a weight that is left out becomes 10, so every weight is sent, 0 included;
* BatchModifyTargetWeight takes at most 100 items, 50 members in one, 500 in all; what is more is for another call;
* a CLB carries out one operation at a time; TKE's controllers take the same lock, so being refused is normal;
* a write is accepted long before it is true, and a task that says it succeeded is a claim: callers read back;
* a layer 4 listener sees connections, not hosts: it cannot give one namespace a share of its own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from shifter.adapters.tencent import clb_decoding as decoding
from shifter.adapters.tencent.api import STATUS_ACTION, WRITE_ACTION, ClbApi
from shifter.core.balancing.membership import Server, refuse_bad_weights, view
from shifter.core.balancing.splits import Health, Route, RouteView
from shifter.errors import InvariantError, ProviderRefusedError, ProviderUnavailableError
from shifter.ports import Change, Operation, OperationState, Progress

MAX_ITEMS = 100
MAX_MEMBERS_PER_ITEM = 50
MAX_MEMBERS = 500
_LISTENERS_PER_CALL = 20
_PROGRESS = {0: Progress.DONE, 1: Progress.FAILED, 2: Progress.RUNNING}
_NODES = {"", "NODE"}
_BY_WEIGHT = {"", "WRR"}
"""The schedulers that send each request by weight; without a word it is weighted round robin."""

_Json: TypeAlias = dict[str, Any]
_Bound: TypeAlias = Mapping[decoding.RulePlace, decoding.Bound]


class ClbProvider:
    """The `TrafficProvider` port on Tencent Cloud CLB; see there for what each method promises.

    Keeps nothing between calls, so that it cannot be wrong about what is in force.
    """

    def __init__(self, api: ClbApi) -> None:
        self._api = api

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        """Return what is in force now: four calls, two of them once more per 20 listeners."""
        if not routes:
            return {}
        region, balancer = _one_balancer(routes)
        named = {"LoadBalancerIds": [balancer]}
        answer = self._api.read(region, "DescribeLoadBalancers", named, ["TotalCount"])
        refusals = decoding.balancer_refusals(answer, balancer)
        # All listeners: naming one that does not exist would fail the others with it.
        answer = self._api.read(region, "DescribeListeners", {"LoadBalancerId": balancer}, ["TotalCount"])
        listeners = decoding.listeners(answer)
        bound: dict[decoding.RulePlace, decoding.Bound] = {}
        functions: set[decoding.RulePlace] = set()
        for ids in _chunks(sorted({route.listener for route in routes} & listeners.keys()), _LISTENERS_PER_CALL):
            health = self._api.read(region, "DescribeTargetHealth", {**named, "ListenerIds": ids}, ["LoadBalancers"])
            asked = {"LoadBalancerId": balancer, "ListenerIds": ids}
            answer = self._api.read(region, "DescribeTargets", asked, ["Listeners"])
            bound |= decoding.bound(answer, decoding.healths(health))
            functions |= decoding.functions(answer)
        return {route.id: _view(route, listeners, bound, functions, refusals) for route in routes}

    def submit(self, changes: Sequence[Change]) -> Operation:
        """Send the changes, or as many as fit, as one BatchModifyTargetWeight; nothing is asked first."""
        if not changes:
            raise InvariantError("an empty batch of changes was submitted")
        region, balancer = _one_balancer([change.route for change in changes])
        items, left = _fitting(changes)
        request = {"LoadBalancerId": balancer, "ModifyList": items}
        answer = self._api.write(region, WRITE_ACTION, request, ["RequestId"])
        return Operation(changes[0].route.domain, str(answer["RequestId"]), left)

    def check(self, operation: Operation) -> OperationState:
        """Ask DescribeTaskStatus; the id of an operation is the RequestId of the call that started it."""
        region = operation.domain.split("/")[1]
        answer = self._api.read(region, STATUS_ACTION, {"TaskId": operation.id}, ["Status"])
        status = decoding.task_status(answer)
        if status not in _PROGRESS:
            raise ProviderUnavailableError(f"{STATUS_ACTION}: status {status} of {operation.id} means nothing")
        return OperationState(_PROGRESS[status], str(answer.get("Message") or ""))


def _one_balancer(routes: Sequence[Route]) -> tuple[str, str]:
    if len({route.domain for route in routes}) > 1:
        raise InvariantError("routes of several lock domains in one call")
    return routes[0].region, routes[0].balancer


def _chunks(ids: Sequence[str], size: int) -> Iterable[list[str]]:
    return (list(ids[start : start + size]) for start in range(0, len(ids), size))


def _view(
    route: Route,
    listeners: Mapping[str, decoding.Listener],
    bound: _Bound,
    functions: set[decoding.RulePlace],
    refusals: Sequence[str],
) -> RouteView:
    """Put together what is known of one route, and everything that speaks against writing it."""
    listener = listeners.get(route.listener)
    reasons = [*refusals, *_listener_refusals(route, listener)]
    rule = None if listener is None else _rule(route, listener)
    if listener is None or rule is None:
        return RouteView(route, (), refusal="; ".join(reasons))
    place = decoding.RulePlace(listener.id, rule.location)
    behind = bound.get(place, decoding.Bound())
    if rule.target_type not in _NODES:
        reasons.append(f"the rule is bound to a target group ({rule.target_type}), its members have no weights here")
    if place in functions:
        reasons.append("the rule also sends to cloud functions, which no weight here moves")
    if (members := len(behind.servers)) > MAX_MEMBERS:
        reasons.append(_too_many(members))
    if behind.refusal or rule.session_seconds is None:
        reasons.append(behind.refusal or "how long the rule keeps sessions cannot be read")
        return RouteView(route, (), refusal="; ".join(reasons))
    return view(
        route,
        behind.servers,
        settle_seconds=float(rule.session_seconds),
        warnings=tuple(_warnings(rule, behind.servers)),
        refusals=reasons,
        split_by_request=rule.scheduler in _BY_WEIGHT and not rule.session_seconds,
    )


def _listener_refusals(route: Route, listener: decoding.Listener | None) -> Iterable[str]:
    if listener is None:
        yield f"{route.balancer} has no listener {route.listener}"
        return
    if listener.belongs_to_tke:
        yield f"listener {listener.id} is managed by TKE ({listener.name}), which overwrites weights"
    if not listener.has_rules:
        yield (
            f"listener {listener.id} is layer 4 ({listener.protocol}): it sees connections, not hosts, and cannot "
            "split per namespace; use an HTTP or HTTPS listener with a rule per namespace"
        )
    elif _rule(route, listener) is None:
        yield _no_rule(route, listener)


def _rule(route: Route, listener: decoding.Listener) -> decoding.Rule | None:
    exact = (rule for rule in listener.rules if (rule.domain, rule.url) == (route.host, route.path))
    return next(exact, None)


def _no_rule(route: Route, listener: decoding.Listener) -> str:
    for rule in listener.rules:
        # One rule for several domains has one set of weights, and is addressed by its first domain.
        if route.host in rule.domains and rule.url == route.path:
            return f"{route.host} shares a rule with {rule.domain}: name {rule.domain}, they can only move together"
    return f"listener {listener.id} has no rule for {route.host}{route.path}"


def _warnings(rule: decoding.Rule, servers: Sequence[Server]) -> Iterable[str]:
    if rule.scheduler not in _BY_WEIGHT:
        yield f"scheduler {rule.scheduler}: the traffic will not follow the weights exactly; WRR does"
    if rule.session_seconds:
        yield f"session persistence: clients stay with their member for up to {rule.session_seconds} s"
    if unchecked := sorted(server.key for server in servers if server.health is Health.UNCHECKED):
        yield f"no health check tells about {', '.join(unchecked)}"


def _items(change: Change) -> Iterable[_Json]:
    """Return the ModifyList items of one change: one, or more if it has too many members for one."""
    route = change.route
    refuse_bad_weights(route.id, change.weights)
    rule = {"ListenerId": route.listener, "Domain": route.host, "Url": route.path}
    for keys in _chunks(sorted(change.weights), MAX_MEMBERS_PER_ITEM):
        yield {**rule, "Targets": [_addressed(key, change.weights[key]) for key in keys]}


def _addressed(key: str, weight: int) -> _Json:
    """Address a member the way it was bound, which its key remembers: an instance id, or an address."""
    address, _, port = key.rpartition(":")
    if not address or not port.isdecimal():
        raise ProviderRefusedError(f"{key!r} is not the key of a member")
    return {_named_by(address): address, "Port": int(port), "Weight": weight}


def _named_by(address: str) -> str:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return "InstanceId"
    return "EniIp"


def _fitting(changes: Sequence[Change]) -> tuple[list[_Json], int]:
    """Return the ModifyList of as many changes as fit in one call, and how many are left; none is ever split."""
    if len({change.route.id for change in changes}) < len(changes):
        raise ProviderRefusedError("a route is changed twice in one batch")
    taken: list[_Json] = []
    members = 0
    # All of them first: a weight that may not be sent must not be found when a part is in force already.
    for index, items in enumerate([list(_items(change)) for change in changes]):
        members += len(changes[index].weights)
        if members > MAX_MEMBERS or len(taken) + len(items) > MAX_ITEMS:
            if not taken:
                raise ProviderRefusedError(f"{changes[index].route.id}: {_too_many(members)}")
            return taken, len(changes) - index
        taken += items
    return taken, 0


def _too_many(members: int) -> str:
    return f"{members} members are behind one rule, and one call changes {MAX_MEMBERS} at most: bind fewer"
