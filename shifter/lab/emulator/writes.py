"""From a write's parameters to the weights it sets: the rules' addressing and the traps that go with it.

ModifyTargetWeight and BatchModifyTargetWeight differ only in how many rules one call names, so both come down to
the same value: for each rule, the new weight of some of its targets. A weight left out is 10, not "as it was".
"""

from collections.abc import Iterable, Mapping
from typing import Any

from shifter.lab.emulator.balancers import (
    DEFAULT_WEIGHT,
    Listener,
    LoadBalancer,
    Rule,
    RuleKey,
    TargetKey,
    TargetKind,
)
from shifter.lab.emulator.envelope import ApiError

Json = Mapping[str, Any]
Changes = dict[RuleKey, dict[TargetKey, int]]


def changes_of(balancer: LoadBalancer, items: Iterable[Json]) -> Changes:
    """Resolve what each item names and return the weights it sets.

    Args:
        balancer: the one the call names.
        items: each with ListenerId, Targets and optionally LocationId, Domain, Url and Weight; shapes checked.

    Raises:
        ApiError: something named does not exist, is named the wrong way, or twice.
    """
    changes: Changes = {}
    for item in items:
        listener = find_listener(balancer, item["ListenerId"])
        rule = _find_rule(listener, item)
        if rule.target_type != "NODE":
            raise ApiError("UnsupportedOperation", f"{rule.location_id} is bound to a target group.")
        weights = changes.setdefault(listener.key(rule), {})
        for wanted in item["Targets"]:
            key = _find_target(rule, wanted)
            if key in weights:
                raise ApiError("InvalidParameterValue.Duplicate", f"{key.address}:{key.port} is given twice.")
            weights[key] = wanted.get("Weight", item.get("Weight", DEFAULT_WEIGHT))
    return changes


def find_listener(balancer: LoadBalancer, listener_id: str) -> Listener:
    """Return the balancer's listener of that id.

    Raises:
        ApiError: InvalidParameter.ListenerIdNotFound.
    """
    for listener in balancer.listeners:
        if listener.listener_id == listener_id:
            return listener
    raise ApiError("InvalidParameter.ListenerIdNotFound", f"{balancer.load_balancer_id} has no listener {listener_id}.")


def _find_rule(listener: Listener, item: Json) -> Rule:
    if not listener.is_l7:
        if item.get("LocationId"):
            raise ApiError("InvalidParameter.LocationNotFound", f"{listener.listener_id} is layer 4: it has no rules.")
        return listener.rules[0]
    if item.get("LocationId"):
        found = [rule for rule in listener.rules if rule.location_id == item["LocationId"]]
    elif item.get("Domain") and item.get("Url"):
        found = [rule for rule in listener.rules if (rule.domain, rule.url) == (item["Domain"], item["Url"])]
    else:
        raise ApiError("MissingParameter", f"{listener.listener_id} is layer 7: give LocationId, or Domain and Url.")
    if not found:
        raise ApiError("InvalidParameter.LocationNotFound", f"{listener.listener_id} has no such rule.")
    return found[0]


def _find_target(rule: Rule, wanted: Json) -> TargetKey:
    instance_id, eni_ip = wanted.get("InstanceId", ""), wanted.get("EniIp", "")
    if not instance_id and not eni_ip:
        raise ApiError("MissingParameter", "Each target needs an InstanceId or an EniIp.")
    if instance_id and eni_ip:
        raise ApiError("InvalidParameter", "A target has either an InstanceId or an EniIp, not both.")
    kind = TargetKind.CVM if instance_id else TargetKind.ENI
    key = TargetKey(instance_id or eni_ip, wanted["Port"])
    if not any(target.kind is kind and target.key == key for target in rule.targets):
        raise ApiError("InvalidParameter", f"{key.address}:{key.port} is not bound to {rule.location_id}.")
    return key
