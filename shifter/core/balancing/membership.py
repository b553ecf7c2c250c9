"""Which real server belongs to which side of a route, and which weights may be asked for at all.

Every provider answers with servers that know nothing of meshes; the policy's selectors say whose they are. The
rules are the same for all providers, so they are here and not in an adapter. All of them err toward not
writing: a server that nobody claims, or that both sides claim, would make every share a lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shifter.core.balancing.splits import MAX_WEIGHT, Health, Member, Route, RouteView, Selector, Side
from shifter.errors import ProviderRefusedError


@dataclass(frozen=True, slots=True)
class Server:
    """One real server behind a route, before anybody knows whose it is.

    `key` is how the provider wants it addressed. `id`, `ips`, `port` and `tag` are what selectors look at; empty
    means the provider does not say. `weight` is 0..100.
    """

    key: str
    port: int
    weight: int
    health: Health
    id: str = ""
    ips: tuple[str, ...] = ()
    tag: str = ""


def view(
    route: Route,
    servers: Sequence[Server],
    *,
    settle_seconds: float = 0.0,
    warnings: Sequence[str] = (),
    refusals: Sequence[str] = (),
    split_by_request: bool = True,
) -> RouteView:
    """Return the route as seen now, with every server's side, and with a refusal if it must not be written.

    Args:
        route: whose selectors decide.
        servers: all real servers of the route, also those that no selector matches.
        settle_seconds: how long the balancer may lag behind new weights, from 0.
        warnings: what a person should know besides.
        refusals: what already speaks against writing; all reasons are named, not only the first.
        split_by_request: each request goes by the weights, whichever client sends it.
    """
    members = tuple(Member(server.key, _side(route, server), server.weight, server.health) for server in servers)
    reasons = [*refusals, *_refusals(route, servers)]
    idle = sorted(server.key for server in servers if server.weight == 0 and not _claims(route, server))
    told = [*warnings, *([f"no selector matches {', '.join(idle)} (weight 0)"] if idle else [])]
    return RouteView(route, members, settle_seconds, tuple(told), "; ".join(reasons) or None, split_by_request)


def refuse_bad_weights(route_id: str, weights: Mapping[str, int]) -> None:
    """Accept weights that may be sent for one route.

    Args:
        route_id: for the sentence.
        weights: by member key, whole numbers 0..100, at least one of them above 0.

    Raises:
        ProviderRefusedError: a weight is no whole number or out of range, or nobody would get traffic.
    """
    for key, weight in weights.items():
        # bool is an int to Python, and a float would be sent as it is.
        if type(weight) is not int or not 0 <= weight <= MAX_WEIGHT:
            raise ProviderRefusedError(f"{route_id}: weight {weight!r} of {key} must be a whole number 0..{MAX_WEIGHT}")
    if not any(weights.values()):
        raise ProviderRefusedError(f"{route_id}: every weight would be 0, nobody would get its traffic")


def _side(route: Route, server: Server) -> Side | None:
    """Return the only side that claims the server; None if nobody does, or both do."""
    claims = _claims(route, server)
    return claims[0] if len(claims) == 1 else None


def _claims(route: Route, server: Server) -> tuple[Side, ...]:
    selectors = ((Side.SOURCE, route.source), (Side.TARGET, route.target))
    return tuple(side for side, selector in selectors if _matches(selector, server))


def _matches(selector: Selector, server: Server) -> bool:
    """Every criterion that is set holds; a selector that sets none matches nobody."""
    criteria = [
        (selector.ports, server.port in selector.ports),
        (selector.ids, server.id in selector.ids),
        (selector.ips, not set(server.ips).isdisjoint(selector.ips)),
        (selector.tags, server.tag in selector.tags),
    ]
    held = [holds for wanted, holds in criteria if wanted]
    return bool(held) and all(held)


def _refusals(route: Route, servers: Sequence[Server]) -> Iterable[str]:
    claims = {server.key: _claims(route, server) for server in servers}
    if len(claims) < len(servers):
        yield "two members have the same address and port, so neither can be addressed"
    if both := sorted(key for key, sides in claims.items() if len(sides) > 1):
        yield f"both selectors match {', '.join(both)}"
    for side in Side:
        if not any(side in sides for sides in claims.values()):
            yield f"the {side} selector matches no member"
    if strangers := sorted(server.key for server in servers if server.weight > 0 and not claims[server.key]):
        yield f"no selector matches {', '.join(strangers)}, which would keep traffic from both sides"
