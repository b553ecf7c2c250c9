"""Why a shift may not climb. A hold forbids raising the share and nothing else: rollback passes every hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from shifter.core.analysis import Assessment, Verdict
from shifter.core.evidence import Evidence
from shifter.core.journal import landed_late, matches
from shifter.core.phases import Phase
from shifter.core.splits import Health, RouteView, Side, shown
from shifter.core.state import Direction, Intent, ShiftState


class HoldKind(StrEnum):
    """The reasons of this version."""

    PAUSE = "pause"
    NO_SIGNAL = "no signal"
    INCIDENT = "incident"
    DRIFT = "drift"
    PREFLIGHT = "preflight"
    HALF_APPLIED = "half-applied"
    COLD_SOURCE = "cold source"
    PROVIDER = "provider"
    POLICY = "policy"
    LEASE = "lease"
    BUG = "bug"


PROMOTE_PASSES: Final = frozenset({HoldKind.NO_SIGNAL})
"""The holds that `promote` skips. A pause it does not pass but end, if it is carried out; everything else stands."""

OVERRIDE_PASSES: Final = frozenset({HoldKind.INCIDENT, HoldKind.COLD_SOURCE})
"""What `promote --full --override` skips on top: the signs of a source mesh that is dying."""

PAGING: Final = frozenset(HoldKind) - {HoldKind.PAUSE, HoldKind.LEASE}
"""The holds that somebody should be told about."""


_MEMBERS_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason not to climb, with the sentence a person reads."""

    kind: HoldKind
    reason: str


def forbids(holds: Sequence[Hold], intent: Intent, state: ShiftState) -> str:
    """Return why a climb that was journalled must not be sent any more; empty if nothing forbids it."""
    passes = PROMOTE_PASSES if intent.promoted else frozenset()
    if state.overridden:
        passes |= OVERRIDE_PASSES
    return "; ".join(hold.reason for hold in holds if hold.kind not in passes)


def pages(state: ShiftState, holds: Sequence[Hold], assessment: Assessment, source_requests: float) -> bool:
    """Return whether somebody should look at a shift. `source_requests` are those of the newest tick."""
    if state.phase is Phase.COMPLETED:
        return bool(holds) or assessment.verdict is Verdict.FAIL or source_requests > 0
    return state.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK} or any(hold.kind in PAGING for hold in holds)


def holds_of(state: ShiftState, evidence: Evidence, assessment: Assessment, now: datetime) -> tuple[Hold, ...]:
    """Return every reason not to climb, as of now; of a completed shift only what is wrong with it."""
    if state.phase is Phase.COMPLETED:
        # TCM may be scaled away and the policy file deleted by now: neither is anybody's concern any more.
        return tuple(hold for hold in _route_holds(state, evidence.views or {}, now) if hold.kind is HoldKind.DRIFT)
    said = (
        (HoldKind.PAUSE, _paused(state)),
        (HoldKind.INCIDENT, assessment.incident),
        (HoldKind.NO_SIGNAL, assessment.reason if assessment.verdict is Verdict.NO_SIGNAL else ""),
        (HoldKind.POLICY, evidence.policy_problem),
        (HoldKind.BUG, evidence.frozen and f"a bug of shifter struck ({evidence.frozen}); restart it and report this"),
        (HoldKind.LEASE, "" if evidence.leader else "this replica does not hold the lease"),
    )
    found = [Hold(kind, reason) for kind, reason in said if reason]
    if evidence.views is None or evidence.provider_problem:
        found.append(Hold(HoldKind.PROVIDER, evidence.provider_problem or "the provider has not answered yet"))
    if evidence.views is not None:
        found.extend(_route_holds(state, evidence.views, now))
    if state.intent is not None and state.intent.direction is Direction.RETREAT and state.phase is Phase.SHIFTING:
        found.append(Hold(HoldKind.HALF_APPLIED, state.intent.reason))
    return tuple(found)


def _paused(state: ShiftState) -> str:
    if state.paused is None:
        return ""
    return f"paused by {state.paused.by}" + (f": {state.paused.reason}" if state.paused.reason else "")


def _route_holds(state: ShiftState, views: Mapping[str, RouteView], now: datetime) -> list[Hold]:
    found = [Hold(HoldKind.PREFLIGHT, view.refusal) for view in views.values() if view.refusal]
    if found or state.intent is not None:
        return found
    if not state.weights:
        strays = [view for view in views.values() if view.share is None or view.share > 0]
        found += [
            Hold(
                HoldKind.PREFLIGHT,
                f"{view.route.id} is at {shown(view.share)}, though shifter has never written it; "
                "set its istio weights to 0, or order a rollback and a retry",
            )
            for view in strays
        ]
    elif not matches(state.weights, views):
        found.append(_changed(state, views, now))
    if cold := _cold_routes(views):
        found.append(Hold(HoldKind.COLD_SOURCE, f"tcm has no healthy member left on {cold}: there is no way back"))
    return found


def _changed(state: ShiftState, views: Mapping[str, RouteView], now: datetime) -> Hold:
    """Tell a write of our own that landed after it was given up, which is repaired, from somebody else's doing."""
    live = ", ".join(f"{view.route.id} {shown(view.share)}" for view in views.values())
    if landed_late(state.abandoned, views, now):
        return Hold(HoldKind.HALF_APPLIED, f"a write that was given up landed late: {live}; repairing")
    return Hold(
        HoldKind.DRIFT,
        f"somebody changed the weights: {live}, last verified {shown(state.share)} ({_differences(state, views)})",
    )


def _differences(state: ShiftState, views: Mapping[str, RouteView]) -> str:
    """Name the members whose weight is not the verified one, as `key verified→live`; a few of them."""
    changed = [
        f"{key} {weight}→{views[route].weights[key]}"
        for route, verified in state.weights.items()
        for key, weight in verified.items()
        if route in views and views[route].weights.get(key, weight) != weight
    ]
    more = len(changed) - _MEMBERS_SHOWN
    return ", ".join(changed[:_MEMBERS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _cold_routes(views: Mapping[str, RouteView]) -> str:
    return ", ".join(
        route
        for route, view in views.items()
        if not any(member.side is Side.SOURCE and member.health is not Health.DEAD for member in view.members)
    )
