"""What the CLB API answers, as values. Pure: JSON in, values out.

Lenient where the official samples are inconsistent (types in either case, null for an empty list, a health detail
that contradicts the flag), strict about what a decision rests on: a member without a weight is not believed, and
neither is its rule. Other rules of the same answer are: they may be other people's, and must not wait for each other.
Field names are those of `tencentcloud/clb/v20180317/models.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shifter.core.balancing.membership import Server
from shifter.core.balancing.splits import Health
from shifter.errors import ProviderRefusedError, ProviderUnavailableError

Json: TypeAlias = Mapping[str, Any]

WRONG_BALANCER = "edit spec.traffic.clb of the policy: region and loadBalancer must be those of the console"
"""What mends a policy whose CLB is not there."""

_TKE_TAGS = ("tke-createdBy-flag", "tke-clusterId", "tke-lb-serviceuuid", "tke-lb-ingress-uuid")
"""How TKE marks a CLB it manages (TKE's Service documentation); any one of them is enough."""

_TKE_LISTENER = "TKE-DEDICATED-LISTENER"
"""What TKE calls the listeners it manages, also on a CLB that the user brought along."""

_RULE_PROTOCOLS = frozenset({"HTTP", "HTTPS"})
"""Listeners that have rules (layer 7). All others, QUIC too, see connections only."""

_Address: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True, order=True)
class RulePlace:
    """The rule that servers hang behind: its listener's id and its own, the LocationId."""

    listener: str
    location: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A layer 7 rule. `domain` is the one it is addressed by; `domains` has all that lead to it.

    `session_seconds` is None if it cannot be read.
    """

    location: str
    domain: str
    domains: tuple[str, ...]
    url: str
    scheduler: str
    session_seconds: int | None
    target_type: str


@dataclass(frozen=True, slots=True)
class Bound:
    """What hangs behind a rule: its servers; or none of them, and why they are not believed."""

    servers: tuple[Server, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """A port of a CLB; `rules` is empty on layer 4."""

    id: str
    name: str
    protocol: str
    rules: tuple[Rule, ...]

    @property
    def has_rules(self) -> bool:
        """Return whether traffic can be told apart by host and path here."""
        return self.protocol in _RULE_PROTOCOLS

    @property
    def belongs_to_tke(self) -> bool:
        """Return whether TKE overwrites what anybody else sets here."""
        return self.name.startswith(_TKE_LISTENER)


def balancer_refusals(answer: Json, balancer: str) -> tuple[str, ...]:
    """Return why nothing on this CLB may be written, from a DescribeLoadBalancers answer.

    Raises:
        ProviderRefusedError: there is no such CLB in this region.
    """
    found = [one for one in _many(answer, "LoadBalancerSet") if one.get("LoadBalancerId") == balancer]
    if not found:
        raise ProviderRefusedError(f"there is no load balancer {balancer} in this region", remedy=WRONG_BALANCER)
    return tuple(_balancer_refusals(found[0], balancer))


def _balancer_refusals(one: Json, balancer: str) -> Iterable[str]:
    tags = {tag.get("TagKey") for tag in _many(one, "Tags")}
    if ours := [name for name in _TKE_TAGS if name in tags]:
        yield f"{balancer} is managed by TKE (tag {ours[0]}), which overwrites weights; use a CLB of your own"
    if one.get("Forward") == 0:
        yield f"{balancer} is a classic load balancer, which has no weights per rule"
    if one.get("Status") == 0:
        yield f"{balancer} is still being created"
    if one.get("Isolation") == 1:
        yield f"{balancer} is isolated (overdue account)"


def listeners(answer: Json) -> dict[str, Listener]:
    """Return the listeners of a DescribeListeners answer, by id."""
    found = [_listener(one) for one in _many(answer, "Listeners")]
    return {listener.id: listener for listener in found}


def _listener(one: Json) -> Listener:
    return Listener(
        _text(one, "ListenerId"),
        _text(one, "ListenerName"),
        _text(one, "Protocol").upper(),
        tuple(_rule(rule) for rule in _many(one, "Rules")),
    )


def _rule(one: Json) -> Rule:
    return Rule(
        location=_text(one, "LocationId"),
        domain=_text(one, "Domain"),
        domains=tuple(str(domain) for domain in one.get("Domains") or ()),
        url=_text(one, "Url"),
        scheduler=_text(one, "Scheduler").upper(),
        session_seconds=_number(one.get("SessionExpireTime") or 0),
        target_type=_text(one, "TargetType").upper(),
    )


def healths(answer: Json) -> dict[RulePlace, dict[_Address, Health]]:
    """Return what DescribeTargetHealth says, by place and then by (address or instance id, port)."""
    found: dict[RulePlace, dict[_Address, Health]] = {}
    for balancer in _many(answer, "LoadBalancers"):
        for listener in _many(balancer, "Listeners"):
            for rule in _many(listener, "Rules"):
                told = found.setdefault(_place(listener, rule), {})
                for member in _many(rule, "Targets"):
                    # Without a port it is about nobody: whoever it was meant for counts as unchecked.
                    if (port := _number(member.get("Port"))) is not None:
                        told |= {(_text(member, name), port): _health(member) for name in ("IP", "TargetId")}
    return found


def _health(member: Json) -> Health:
    """The flag decides; the detail only where it says that nothing is checked, or where there is no flag."""
    detail = _text(member, "HealthStatusDetail").lower()
    if detail == "close":
        return Health.UNCHECKED
    flag = member.get("HealthStatus")
    alive = flag if isinstance(flag, bool) else detail == "alive"
    return Health.ALIVE if alive else Health.DEAD


def bound(answer: Json, told: Mapping[RulePlace, Mapping[_Address, Health]]) -> dict[RulePlace, Bound]:
    """Return what a DescribeTargets answer says is bound, by place, with the health that `told` has of it.

    A server whose health nobody tells is `unchecked`. One without a readable port or weight, or that cannot be
    addressed, makes everything behind its rule unknown: a share computed without it would be a lie.
    """
    return {place: _bound(rule, told.get(place, {})) for place, rule in _rules(answer)}


def _bound(rule: Json, told: Mapping[_Address, Health]) -> Bound:
    try:
        return Bound(tuple(_server(member, told) for member in _many(rule, "Targets")))
    except ProviderUnavailableError as error:
        return Bound(refusal=f"a member cannot be read: {error}")


def functions(answer: Json) -> frozenset[RulePlace]:
    """Return the places that send to cloud functions, which have no weights a split could use."""
    return frozenset(place for place, rule in _rules(answer) if _many(rule, "FunctionTargets"))


def _rules(answer: Json) -> Iterable[tuple[RulePlace, Json]]:
    """Yield the rules of a DescribeTargets answer; a layer 4 listener has none, and nothing that could be split."""
    for listener in _many(answer, "Listeners"):
        for rule in _many(listener, "Rules"):
            yield _place(listener, rule), rule


def _place(listener: Json, rule: Json) -> RulePlace:
    return RulePlace(_text(listener, "ListenerId"), _text(rule, "LocationId"))


def _server(member: Json, told: Mapping[_Address, Health]) -> Server:
    id_, port, weight = _text(member, "InstanceId"), _whole(member, "Port"), _whole(member, "Weight")
    ips = tuple(str(ip) for ip in member.get("PrivateIpAddresses") or ())
    # A member must be addressed the way it was bound: only a CVM by its instance, whatever else carries one.
    bound_by_id = _text(member, "Type").upper() == "CVM" and id_
    address = id_ if bound_by_id else next(iter(ips), "")
    if not address:
        raise ProviderUnavailableError(f"the one on port {port} has no address")
    names = [*ips, id_, _text(member, "EniId")]
    health = next((told[name, port] for name in names if name and (name, port) in told), Health.UNCHECKED)
    return Server(f"{address}:{port}", port, weight, health, id_, ips, _text(member, "Tag"))


def task_status(answer: Json) -> int:
    """Return the Status of a DescribeTaskStatus answer: 0 succeeded, 1 failed, 2 running."""
    return _whole(answer, "Status")


def _many(holder: Json, name: str) -> list[Json]:
    return list(holder.get(name) or ())


def _text(holder: Json, name: str) -> str:
    value = holder.get(name)
    return "" if value is None else str(value)


def _whole(holder: Json, name: str) -> int:
    number = _number(holder.get(name))
    if number is None:
        raise ProviderUnavailableError(f"it has no readable {name}")
    return number


def _number(value: object) -> int | None:
    """Return a whole number that came as one or as text; None if it is neither."""
    try:
        return int(value)  # type: ignore[call-overload,no-any-return] # whatever it is, the attempt tells
    except (TypeError, ValueError, OverflowError):
        return None
