"""What a split is: routes, their members on the two sides, and the share that weights amount to.

A *member* is what the balancer calls a target or real server (`ins-1:30080`); shifter says member because
"target" already names the new mesh. Turning a wanted share into weights is `apportion.py`'s job; this
module only says what given weights mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

FULL_PERCENT = 100.0

MAX_WEIGHT = 100
"""The largest weight of one member; the smallest is 0."""


class Side(StrEnum):
    """The two meshes: `source` is TCM, `target` the self-built Istio."""

    SOURCE = "source"
    TARGET = "target"


class Health(StrEnum):
    """What the balancer says of a member. `unchecked`: it looks at nothing and sends traffic anyway."""

    ALIVE = "alive"
    DEAD = "dead"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which members of a route belong to one side. Every criterion that is set must hold.

    `ports` are member ports, `ids` instance ids, `ips` private addresses, `tags` the balancer's member tags.
    """

    ports: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One thing whose split can be set: a rule of a CLB listener, named by its host and path."""

    region: str
    balancer: str
    listener: str
    host: str
    path: str
    source: Selector
    target: Selector

    @property
    def domain(self) -> str:
        """The lock domain: the provider carries out one operation at a time per CLB."""
        return f"clb/{self.region}/{self.balancer}"

    @property
    def id(self) -> str:
        """A stable, readable identity, used as a key in state and history."""
        return f"{self.balancer}/{self.listener}/{self.host}{self.path}"


@dataclass(frozen=True, slots=True)
class Member:
    """One real server behind a route. `side` is None if neither selector matches it. `weight` is 0..100."""

    key: str
    side: Side | None
    weight: int
    health: Health


@dataclass(frozen=True, slots=True)
class RouteView:
    """One route as the provider shows it now.

    `settle_seconds` is how long the balancer itself may lag behind new weights (session persistence).
    `refusal` says why shifter must not write here at all; `warnings` what a person should know. `split_by_request`:
    each request goes by the weights, whichever client sends it.
    """

    route: Route
    members: tuple[Member, ...]
    settle_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    refusal: str | None = None
    split_by_request: bool = True

    @property
    def share(self) -> float | None:
        """The share that the live weights amount to, percent; None if they send traffic nowhere."""
        return share_of(self.members)

    @property
    def is_reversed(self) -> bool:
        """Whether all weight is the target's and none the source's: finished elsewhere, or the sides are swapped."""
        weights = {side: sum(member.weight for member in self.members if member.side is side) for side in Side}
        return weights[Side.SOURCE] == 0 < weights[Side.TARGET]

    @property
    def weights(self) -> dict[str, int]:
        """The live weights of the members of both sides, by key."""
        return {member.key: member.weight for member in self.members if member.side is not None}


def serving(members: Iterable[Member]) -> tuple[Member, ...]:
    """Return the members that take part in the split.

    Only members that are not dead count; if all are dead the CLB sends to all of them again
    (Tencent's 全死全活 rule), so then all count.
    """
    everyone = tuple(members)
    alive = tuple(member for member in everyone if member.health is not Health.DEAD)
    return alive or everyone


def share_of(members: Iterable[Member]) -> float | None:
    """Return the target's share of the traffic in percent (0..100), None if no member has weight."""
    counted = serving(members)
    total = sum(member.weight for member in counted)
    if total == 0:
        return None
    target = sum(member.weight for member in counted if member.side is Side.TARGET)
    return FULL_PERCENT * target / total


def shown(share: float | None) -> str:
    """Return a share the way people read it, both sides, source first: `tcm 75 · istio 25`."""
    if share is None:
        return "tcm ? · istio ?"
    return f"tcm {FULL_PERCENT - share:.4g} · istio {share:.4g}"
