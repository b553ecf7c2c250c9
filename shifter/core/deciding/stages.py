"""How much goes back at a time: everything at once onto a source that can carry it, in stages onto one that cannot.

A source that was scaled down meanwhile would break under all of the traffic, and then nobody is left to answer it. So a
stage lowers the share as far as the source can carry what comes back (`capacity.py`), is read back, rests for a tick,
and the next follows once the source can carry more. A stage never asks for more than that, and no stage raises a share;
so where the source carries all it can already, nothing moves and a person is told what does: a gateway that is scaled
up, or an order that spares nothing. A source that could carry nothing at all is *drained*.

From 100 % everything at once still is two writes: of one that is carried out in part, that part may be the target's,
and then nobody serves. With the first, to 1 %, the source has its full weight, whatever part of it is in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from shifter.core.balancing.splits import FULL_PERCENT, Health, RouteView, Side
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.capacity import lowest_share, shortness
from shifter.core.deciding.decision import LEAST_PERCENT, Decision, hands_over, write_share
from shifter.core.deciding.holds import cold_routes
from shifter.core.deciding.orders import Order, Verb
from shifter.core.phases import Phase
from shifter.core.records import SERVICE
from shifter.core.state import Direction, ShiftState
from shifter.core.text import some

_ROUTES_SHOWN: Final = 3


def retreating(back: Decision, views: Mapping[str, RouteView], lowest: float) -> Decision | None:
    """Return the decision to wait for a retreat that is under way; None if there is none, or a longer one is possible.

    Args:
        back: the decision to go back.
        views: the routes as read back; empty if they could not be read.
        lowest: the share, percent, below which the source would get more than it can carry.
    """
    intent = back.state.intent
    if intent is None or intent.direction is not Direction.RETREAT:
        return None
    if intent.to_share == 0 or (lowest == 0 and intent.to_share == LEAST_PERCENT and _is_all_on_target(views)):
        return back
    return replace(back, reason=f"{_short(back)}, and so it goes back in stages") if lowest > 0 else None


def retreat(back: Decision, views: Mapping[str, RouteView], lowest: float, rested_since: datetime) -> Decision:
    """Return the decision with the write that takes back as much as the source can carry, or with why it waits.

    Args:
        back: the decision to go back; no retreat is under way.
        views: the routes as read back.
        lowest: as for `retreating`; 0 takes back everything.
        rested_since: a stage that was verified later has not shown yet what it does to the source.
    """
    if lowest == 0 and _is_all_on_target(views):
        lowered = {route: view for route, view in views.items() if view.share is None or view.share > LEAST_PERCENT}
        return write_share(back, Direction.RETREAT, LEAST_PERCENT, lowered, back.reason, SERVICE)
    if lowest == 0 or all(view.share == 0 for view in views.values()):
        return write_share(back, Direction.RETREAT, 0.0, views, back.reason, SERVICE)
    state, short = back.state, _short(back)
    advice = f"scale tcm's gateway up; `shifter rollback {state.name} --override` sends everything back at once"
    if lowest == FULL_PERCENT:
        # A share of 100 as a stage would take the source's weights away, for which it may come back any moment.
        return replace(back, reason=f"{short}: {advice}")
    if state.intent is None and state.verified_at is not None and state.verified_at > max(state.since, rested_since):
        return replace(back, reason=f"{short}, and so it goes back in stages: {advice}")
    to, higher = lowest, {route: view for route, view in views.items() if view.share is None or view.share > lowest}
    if state.intent is not None and not higher:
        # A climb that is not in force yet may still land; the same share again, as a retreat, is in its way.
        to = max(view.share or 0.0 for view in views.values())
        higher = {route: view for route, view in views.items() if view.share == to}
    if not higher:
        return replace(back, reason=f"{short}, and it carries no less now: {advice}")
    why = f"{short}, and so it goes to {to:g} % for now: {advice}"
    return write_share(replace(back, reason=why), Direction.RETREAT, to, higher, why, SERVICE)


def _is_all_on_target(views: Mapping[str, RouteView]) -> bool:
    return any(hands_over(view, Side.TARGET) for view in views.values())


def _short(back: Decision) -> str:
    return f"{back.reason}; {shortness(back.state)}"


def refusal(state: ShiftState, order: Order, evidence: Evidence) -> str:
    """Return why an order to go back is not taken; empty if it is.

    A completed shift whose source was drained is at its end: it would be on its way back for ever. One that is under
    way goes back as soon as there is a source again.
    """
    if order.request.verb is not Verb.ROLLBACK or state.phase is not Phase.COMPLETED:
        return ""
    drained = _drained(state, evidence, at_once=order.request.override)
    return (
        drained and f"tcm is drained, there is nothing to go back to: {drained}; scale its gateway up, then roll back"
    )


def limits(state: ShiftState, order: Order, evidence: Evidence) -> str:
    """Return what stands in the way of a rollback that was accepted, to be told with the answer; empty if nothing."""
    if order.request.verb is not Verb.ROLLBACK or state.failure is None or state.share == 0:
        return ""
    if drained := _drained(state, evidence, at_once=state.failure.at_once):
        return f"; but tcm is drained ({drained}): nothing is written before its gateway is back"
    short = "" if state.failure.at_once else shortness(state)
    return short and f"; in stages: {short}"


def _drained(state: ShiftState, evidence: Evidence, *, at_once: bool) -> str:
    """Return why nothing at all can be taken back now; empty if something can."""
    views = evidence.views or {}
    living = [route for route, view in views.items() if any(each.health is not Health.DEAD for each in view.members)]
    # Where the target's members are dead as well, the balancer sends to all of them by weight.
    if gone := [route for route in cold_routes(views) if route in living]:
        return f"it has no healthy member on {some(gone, _ROUTES_SHOWN)}"
    return shortness(state) if not at_once and lowest_share(state) >= FULL_PERCENT else ""
