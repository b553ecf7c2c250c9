"""A shift that never was: what `decide` must be shown where there is neither a balancer nor a person.

Shared by what judges recorded metrics and by what plays a migration: both let the service's own decision speak, so both
need a place and routes that decision can look at.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from shifter.core.balancing.splits import FULL_PERCENT, MAX_WEIGHT, Health, Member, RouteView, Side
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.state import Approval, ShiftState

_MEMBERS: Final = 4
"""So many members a side can show any share to an eighth of a percent, but for the least."""

_NOBODY: Final = "nobody"


def routes_at(policy: ShiftPolicy, share: float, *, split_by_request: bool = True) -> dict[str, RouteView]:
    """Return the policy's routes with healthy members and weights that amount to a share (percent), nearly."""
    members = tuple(
        Member(f"{mesh}-{number}", side, weight, Health.ALIVE)
        for mesh, side, total in zip(("tcm", "istio"), Side, _totals(share), strict=True)
        for number, weight in enumerate(_dealt(total), 1)
    )
    return {route.id: RouteView(route, members, split_by_request=split_by_request) for route in policy.routes}


def place_at(policy: ShiftPolicy, share: float, routes: dict[str, RouteView], verified_at: datetime) -> ShiftState:
    """Return the state of a shift at a verified share (percent), with every gate approved; at 0 it has not begun."""
    gates = tuple(Approval(before=gate, by=_NOBODY, reason="", at=verified_at) for gate in policy.gates)
    fresh = ShiftState(name=policy.name, policy=policy, since=verified_at, approved=gates)
    if share <= 0:
        return fresh
    weights = {route: view.weights for route, view in routes.items()}
    verified = {"phase": Phase.SHIFTING, "share": share, "weights": weights, "verified_at": verified_at}
    return fresh.model_copy(update=verified)


def _totals(share: float) -> tuple[int, int]:
    """Return the weights of source and target, all members of a side together."""
    most = _MEMBERS * MAX_WEIGHT
    if share <= 0 or share >= FULL_PERCENT:
        return (most, 0) if share <= 0 else (0, most)
    ratio = share / (FULL_PERCENT - share)
    return (most, max(1, round(most * ratio))) if ratio <= 1 else (max(1, round(most / ratio)), most)


def _dealt(total: int) -> list[int]:
    each, rest = divmod(total, _MEMBERS)
    return [each + (number < rest) for number in range(_MEMBERS)]
