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
    HANDS_OFF = "hands off"
    FREEZE = "freeze"
    APPROVAL = "approval"
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

OVERRIDE_PASSES: Final = frozenset({HoldKind.INCIDENT, HoldKind.COLD_SOURCE, HoldKind.APPROVAL})
"""What `promote --full --override` skips on top: the signs of a source mesh that is dying, and who is not there."""

PAGING: Final = frozenset(HoldKind) - {HoldKind.PAUSE, HoldKind.FREEZE, HoldKind.APPROVAL, HoldKind.LEASE}
"""The holds that somebody should be told about; the others are as somebody wanted them."""

_OF_COMPLETED: Final = frozenset({HoldKind.DRIFT, HoldKind.HANDS_OFF})
"""TCM may be scaled away and the policy file deleted by then: neither is anybody's concern any more."""

_MEMBERS_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason not to climb, with the sentence a person reads."""

    kind: HoldKind
    reason: str


def forbids(holds: Sequence[Hold], intent: Intent, state: ShiftState) -> str:
    """Return why a climb that was journalled must not be sent any more; empty if nothing forbids it."""
    passes = PROMOTE_PASSES if intent.promoted else frozenset()
    if state.overridden or intent.override:
        passes |= OVERRIDE_PASSES
    if intent.direction is Direction.KEEP:
        passes |= {HoldKind.APPROVAL}
    if intent.promoted and state.paused is not None and state.paused.at < intent.created_at:
        # Who ordered it knew of the pause; one that came later stops it.
        passes |= {HoldKind.PAUSE}
    return "; ".join(hold.reason for hold in holds if hold.kind not in passes)


def pages(state: ShiftState, holds: Sequence[Hold], assessment: Assessment, source_requests: float) -> bool:
    """Return whether somebody should look at a shift. `source_requests` are those of the newest tick."""
    if state.phase is Phase.COMPLETED:
        return bool(holds) or assessment.verdict is Verdict.FAIL or source_requests > 0
    return state.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK} or any(hold.kind in PAGING for hold in holds)


def holds_of(state: ShiftState, evidence: Evidence, assessment: Assessment, now: datetime) -> tuple[Hold, ...]:
    """Return every reason not to climb, as of now; of a completed shift only what is wrong with it."""
    found = every_hold(state, evidence, assessment, now)
    if state.phase is Phase.COMPLETED:
        return tuple(hold for hold in found if hold.kind in _OF_COMPLETED)
    return found


def every_hold(state: ShiftState, evidence: Evidence, assessment: Assessment, now: datetime) -> tuple[Hold, ...]:
    """Return every reason not to raise the share, whatever phase the shift is in."""
    said = (
        (HoldKind.HANDS_OFF, _hands_off(state, now)),
        (HoldKind.PAUSE, _paused(state, now)),
        (HoldKind.FREEZE, _frozen(evidence)),
        (HoldKind.APPROVAL, _unapproved(state)),
        (HoldKind.INCIDENT, assessment.incident),
        (HoldKind.NO_SIGNAL, assessment.reason if assessment.verdict is Verdict.NO_SIGNAL else ""),
        (HoldKind.POLICY, evidence.policy_problem),
        (HoldKind.BUG, evidence.bug and f"a bug of shifter struck ({evidence.bug}); restart it and report this"),
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


def _hands_off(state: ShiftState, now: datetime) -> str:
    if state.paused is None or not state.paused.hands_off(now):
        return ""
    until = f"{state.paused.hands_off_until:%Y-%m-%d %H:%M:%S} UTC"
    return f"until {until} nothing is written, not even to go back, by order of {state.paused.by}"


def _frozen(evidence: Evidence) -> str:
    if evidence.freeze is None:
        return ""
    why = f": {evidence.freeze.reason}" if evidence.freeze.reason else ""
    return f"all shifts are frozen by {evidence.freeze.by}{why}; `shifter unfreeze` ends it"


def _unapproved(state: ShiftState) -> str:
    step = state.next_step
    if state.phase not in {Phase.WAITING, Phase.SHIFTING} or step is None or (gate := state.gate(step)) is None:
        return ""
    return f"the share may not reach {gate:g} % before somebody approves: `shifter approve {state.name}`"


def _paused(state: ShiftState, now: datetime) -> str:
    if state.paused is None or state.paused.hands_off(now):
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
                f"`shifter reconcile {state.name} --restore` sets it to 0, `--adopt` takes it over",
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
        f"somebody changed the weights: {live}, last verified {shown(state.share)} ({_differences(state, views)});"
        f" `shifter reconcile {state.name} --adopt` or `--restore` decides",
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
