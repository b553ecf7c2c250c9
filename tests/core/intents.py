"""One intent that touches two balancers, so that a part of it can be carried out and the rest not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from shifter.core.balancing.splits import Health, Member, Route, RouteView, Selector, Side
from shifter.core.state import Direction, Intent
from tests.core.shifts import NOON

SIDES = Selector(ports=(30080,)), Selector(ports=(31080,))
DEADLINE = NOON + timedelta(seconds=60)
ROUTES = {
    route.id: route
    for route in (
        Route(
            "ap-guangzhou",
            balancer,
            "lbl-1",
            "shop.example.com",
            "/",
            Selector(ports=(30080,)),
            Selector(ports=(31080,)),
        )
        for balancer in ("lb-a", "lb-b")
    )
}
A, B = ROUTES


def split(share: int) -> dict[str, int]:
    return {"old": 100 - share, "new": share}


def a_view(route: str, weights: Mapping[str, int]) -> RouteView:
    sides = {"old": Side.SOURCE, "new": Side.TARGET}
    members = tuple(Member(key, sides.get(key, Side.TARGET), weight, Health.ALIVE) for key, weight in weights.items())
    return RouteView(ROUTES[route], members)


def an_intent(direction: Direction = Direction.CLIMB, before: int = 5, after: int = 25) -> Intent:
    """The fourth write of the second epoch, decided at noon and given a minute."""
    return Intent(
        sequence=4,
        epoch=2,
        direction=direction,
        from_share=before,
        to_share=after,
        reason="why not",
        by="shifter",
        created_at=NOON,
        deadline=DEADLINE,
        before={A: split(before), B: split(before)},
        weights={A: split(after), B: split(after)},
    )
