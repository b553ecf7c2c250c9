"""Balancers as values: what a CLB holds, who of its targets gets traffic, and how one weight is changed.

Everything is frozen and nothing knows the time. A layer-4 listener is modelled as a listener with exactly one
rule that has no domain: the API itself reports its health that way, and every question ("who serves?") then has
one answer for both layers. Locks, tasks and history belong to `cloud`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

DEFAULT_WEIGHT = 10
MAX_WEIGHT = 100
MAX_TARGETS = 200
"""The account's quota of targets per rule, as TKE's documents have it; product document 214/6187 says 100."""
# Not QUIC: the SDK's models give rules to HTTP and HTTPS listeners only, and QUIC a health check of its own.
L7_PROTOCOLS = frozenset({"HTTP", "HTTPS"})
PROTOCOLS = L7_PROTOCOLS | {"TCP", "UDP", "TCP_SSL", "QUIC"}


class TargetKind(StrEnum):
    """How a target was bound, which is the only way it can be addressed later."""

    CVM = "CVM"
    ENI = "ENI"


class Health(StrEnum):
    """The health check's opinion; `Close` (check switched off) belongs to the rule, not to the target."""

    ALIVE = "Alive"
    DEAD = "Dead"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, order=True)
class TargetKey:
    """Names one target of a rule: `address` is the instance id of a CVM or the address of an ENI."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class RuleKey:
    """Names one rule of a balancer; `location_id` is None for the single rule of a layer-4 listener."""

    listener_id: str
    location_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A backend. An ENI target may carry the instance id of its host, and still not be addressed by it.

    `detail` overrides the reported HealthStatusDetail: the official samples show it contradicting HealthStatus.
    """

    kind: TargetKind
    ip: str
    port: int
    instance_id: str = ""
    eni_id: str = ""
    name: str = ""
    weight: int = DEFAULT_WEIGHT
    health: Health = Health.ALIVE
    detail: Health | None = None
    registered_at: str = "2026-01-05 10:00:00"

    def __post_init__(self) -> None:
        if self.kind is TargetKind.CVM and not self.instance_id:
            raise ValueError(f"the CVM target {self.ip}:{self.port} needs an instance id")
        if not 0 <= self.weight <= MAX_WEIGHT:
            raise ValueError(f"weight {self.weight} of {self.ip}:{self.port} is not in 0..{MAX_WEIGHT}")

    @property
    def key(self) -> TargetKey:
        """The name this target must be addressed by."""
        return TargetKey(self.instance_id if self.kind is TargetKind.CVM else self.ip, self.port)


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """A target group bound to a rule in place of single targets."""

    group_id: str
    name: str
    weight: int = DEFAULT_WEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Where weights live. `session_expire_time_seconds` is 0 without session persistence."""

    location_id: str
    targets: tuple[Target, ...] = ()
    domain: str | None = None
    url: str | None = None
    scheduler: str = "WRR"
    session_expire_time_seconds: int = 0
    health_check_on: bool = True
    target_type: str = "NODE"
    target_groups: tuple[TargetGroup, ...] = ()

    def __post_init__(self) -> None:
        if len({target.key for target in self.targets}) != len(self.targets):
            raise ValueError(f"two targets of {self.location_id} have the same address and port")
        if len(self.targets) > MAX_TARGETS:
            raise ValueError(f"{self.location_id} has {len(self.targets)} targets; the quota is {MAX_TARGETS}")

    @property
    def weights(self) -> Mapping[TargetKey, int]:
        """The configured weight of every target, served or not."""
        return MappingProxyType({target.key: target.weight for target in self.targets})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A port of the balancer; layer 4 has one rule without a domain, layer 7 any number of rules with one."""

    listener_id: str
    protocol: str
    port: int
    rules: tuple[Rule, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"{self.listener_id}: no such protocol: {self.protocol}")
        if not self.is_l7 and (len(self.rules) != 1 or self.rules[0].domain is not None):
            raise ValueError(f"{self.listener_id}: a layer-4 listener has exactly one rule, without a domain")
        if self.is_l7 and any(rule.domain is None or rule.url is None for rule in self.rules):
            raise ValueError(f"{self.listener_id}: every rule of a layer-7 listener has a domain and a URL")

    @property
    def is_l7(self) -> bool:
        """Whether rules pick targets per request (layer 7) or the listener per connection (layer 4)."""
        return self.protocol in L7_PROTOCOLS

    def key(self, rule: Rule) -> RuleKey:
        """Name one of this listener's rules."""
        return RuleKey(self.listener_id, rule.location_id if self.is_l7 else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancer:
    """A CLB. `forward` False is the classic kind; `running` False is one still being created."""

    load_balancer_id: str
    listeners: tuple[Listener, ...]
    name: str = ""
    kind: str = "OPEN"
    vips: tuple[str, ...] = ()
    domain: str = ""
    vpc_id: str = "vpc-lab00001"
    tags: tuple[tuple[str, str], ...] = ()
    attribute_flags: tuple[str, ...] = ()
    forward: bool = True
    running: bool = True
    isolated: bool = False

    def rules(self) -> Iterable[tuple[Listener, Rule]]:
        """Every rule with its listener, in the order they were given."""
        return ((listener, rule) for listener in self.listeners for rule in listener.rules)

    def rule(self, key: RuleKey) -> Rule:
        """Find a rule.

        Raises:
            KeyError: this balancer has no such rule.
        """
        for listener, rule in self.rules():
            if listener.key(rule) == key:
                return rule
        raise KeyError(f"{self.load_balancer_id} has no rule {key.listener_id}/{key.location_id}")

    def with_rule(self, key: RuleKey, changed: Rule) -> "LoadBalancer":
        """Return this balancer with one rule exchanged."""
        self.rule(key)
        listeners = tuple(
            replace(
                listener,
                rules=tuple(changed if listener.key(rule) == key else rule for rule in listener.rules),
            )
            for listener in self.listeners
        )
        return replace(self, listeners=listeners)


def with_weights(rule: Rule, weights: Mapping[TargetKey, int]) -> Rule:
    """Return the rule with some weights set; the others keep theirs.

    Raises:
        KeyError: a key names no target of this rule.
    """
    unknown = weights.keys() - rule.weights.keys()
    if unknown:
        raise KeyError(f"{rule.location_id} has no target {min(unknown)}")
    targets = tuple(replace(target, weight=weights.get(target.key, target.weight)) for target in rule.targets)
    return replace(rule, targets=targets)


def serving(rule: Rule) -> Mapping[TargetKey, int]:
    """Return who gets new traffic, with the weight it is picked by; targets left out get none.

    Healthy targets with a weight above 0 serve. If not one target of the rule is healthy, the balancer stops
    believing its checks and all serve by weight. With the check switched off, everyone counts as healthy.
    Healthy targets that all have weight 0 serve nobody: the result is empty (unproven, see the package docstring).
    """
    alive = [target for target in rule.targets if target.health is Health.ALIVE]
    trusted = alive if alive and rule.health_check_on else rule.targets
    return MappingProxyType({target.key: target.weight for target in trusted if target.weight > 0})


def is_dark(weights: Mapping[TargetKey, int]) -> bool:
    """Tell whether a rule that has targets gives weight to none of them."""
    return bool(weights) and not any(weights.values())
