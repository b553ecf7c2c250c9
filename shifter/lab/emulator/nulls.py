"""Fields of answers that may be null by the API's own documents, and a way to make them so.

The list is what the SDK's models say of each field ("may return null"), as far as the emulator prints it; a test
holds it to those models. A client that survives these nulls has no excuse for the others, and needs none.
"""

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Json = Mapping[str, Any]
_CHANCE = 0.5

NULLABLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "DescribeLoadBalancers": tuple(
            f"LoadBalancerSet.{name}"
            for name in ("Log", "VipIsp", "ChargeType", "AddressIPv6", "MasterZone", "ExpireTime", "Zones", "NfvInfo")
        ),
        "DescribeListeners": tuple(
            f"Listeners.{name}"
            for name in (
                *("HealthCheck", "Scheduler", "SessionExpireTime", "TargetType", "TargetGroup", "TargetGroupList"),
                *("Rules", "Rules.Certificate", "Rules.TargetGroup", "Rules.TargetGroupList", "KeepaliveEnable"),
            )
        ),
        "DescribeTargets": tuple(
            f"Listeners.{holder}Targets.{name}"
            for holder in ("", "Rules.")
            for name in ("PublicIpAddresses", "InstanceName", "EniId", "Zone")
        ),
        "DescribeTargetHealth": ("LoadBalancers.Listeners.Rules.Domain", "LoadBalancers.Listeners.Rules.Url"),
        "DescribeTaskStatus": ("LoadBalancerIds", "Message"),
    }
)
"""By action: the way to each field, from the answer down through objects and lists."""


def with_nulls(action: str, answer: Json, rng: random.Random) -> Json:
    """Return an answer in which some of its nullable fields are null, by dice; what is absent stays absent."""
    changed: Any = answer
    for path in NULLABLE.get(action, ()):
        changed = _without(changed, path.split("."), rng)
    return dict(changed)


def _without(holder: Any, path: list[str], rng: random.Random) -> Any:  # noqa: ANN401 - JSON
    if isinstance(holder, list):
        return [_without(one, path, rng) for one in holder]
    if not isinstance(holder, Mapping) or path[0] not in holder:
        return holder
    name, rest = path[0], path[1:]
    if rest:
        return {**holder, name: _without(holder[name], rest, rng)}
    return {**holder, name: None} if rng.random() < _CHANCE else holder
