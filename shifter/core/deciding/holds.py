"""Why a shift may not climb. A hold forbids raising the share and nothing else: rollback passes every hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from shifter.core.analysis.verdicts import NOT_YET, Assessment, Verdict
from shifter.core.balancing.splits import Health, RouteView, Side, shown
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.capacity import cold, idle, unready
from shifter.core.deciding.journal import landed_late, matches
from shifter.core.phases import Phase
from shifter.core.records import SERVICE
from shifter.core.state import Direction, Intent, ShiftState
from shifter.core.text import some


class HoldKind(StrEnum):
    """The reasons of this version."""

    PAUSE = "pause"
    HANDS_OFF = "hands off"
    FREEZE = "freeze"
    RESTORED = "restored"
    UNREADABLE = "unreadable"
    APPROVAL = "approval"
    NO_SIGNAL = "no signal"
    INCIDENT = "incident"
    DRIFT = "drift"
    PREFLIGHT = "preflight"
    HALF_APPLIED = "half-applied"
    COLD_SOURCE = "cold source"
    COLD_TARGET = "cold target"
    STEPPED_BACK = "stepped back"
    FAILING = "failing"
    PROVIDER = "provider"
    POLICY = "policy"
    LEASE = "lease"
    BUG = "bug"


class Keeping(StrEnum):
    """What may be written of new weights for the same share, when members came or went, while a hold is in force."""

    NOTHING = "nothing"
    LOWERING = "lowering"
    ANYTHING = "anything"


@dataclass(frozen=True, slots=True)
class HoldRule:
    """What a kind of hold means, besides that it forbids the service to climb.

    `pages`: somebody should be told; otherwise it is as somebody wanted it. `promoting`, `overriding`, `restoring`: a
    promotion, what `--full --override` adds to it, and a restoration pass it. `of_completed`: it means something once
    a shift is completed. `hinders_going_back`: nothing forbids a rollback, but this can keep it from being written.
    """

    pages: bool = True
    promoting: bool = False
    overriding: bool = False
    restoring: bool = False
    keeping: Keeping = Keeping.LOWERING
    of_completed: bool = False
    hinders_going_back: bool = False


RULES: Final[Mapping[HoldKind, HoldRule]] = MappingProxyType(
    {
        # A promotion does not pass a pause but ends it, and an approval it needs for every gate on its way.
        HoldKind.PAUSE: HoldRule(pages=False, restoring=True),
        HoldKind.HANDS_OFF: HoldRule(keeping=Keeping.NOTHING, of_completed=True, hinders_going_back=True),
        HoldKind.FREEZE: HoldRule(pages=False),
        HoldKind.RESTORED: HoldRule(),
        HoldKind.UNREADABLE: HoldRule(of_completed=True, hinders_going_back=True),
        HoldKind.APPROVAL: HoldRule(pages=False, overriding=True, restoring=True, keeping=Keeping.ANYTHING),
        HoldKind.NO_SIGNAL: HoldRule(promoting=True, restoring=True),
        # The signs of a source mesh that is dying.
        HoldKind.INCIDENT: HoldRule(overriding=True),
        HoldKind.COLD_SOURCE: HoldRule(overriding=True, hinders_going_back=True),
        # On the day that TCM dies, a person knows better than a cluster that does not answer.
        HoldKind.COLD_TARGET: HoldRule(overriding=True),
        # A person has to say that it may fail again; that it fails at all is no secret to who overrides.
        HoldKind.STEPPED_BACK: HoldRule(overriding=True, restoring=True, keeping=Keeping.ANYTHING),
        HoldKind.FAILING: HoldRule(overriding=True),
        HoldKind.DRIFT: HoldRule(restoring=True, keeping=Keeping.NOTHING, of_completed=True),
        HoldKind.PREFLIGHT: HoldRule(restoring=True, keeping=Keeping.NOTHING),
        HoldKind.HALF_APPLIED: HoldRule(keeping=Keeping.ANYTHING),
        HoldKind.PROVIDER: HoldRule(keeping=Keeping.NOTHING, hinders_going_back=True),
        HoldKind.POLICY: HoldRule(),
        HoldKind.LEASE: HoldRule(keeping=Keeping.NOTHING),
        HoldKind.BUG: HoldRule(),
    }
)
"""One row per kind; of a completed shift TCM may be gone and the file deleted, which is nobody's concern any more."""

_MEMBERS_SHOWN: Final = 4

_NOT_LEADING: Final = (
    "this process does not hold the lease (any more): in a cluster another one may lead by now, and with a file it is"
    " to be restarted; see runbook 'Hold: lease'"
)
"""Whoever decides does not know where the lease is kept, and a replica that lost it stands by without a restart."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason not to climb, with the sentence a person reads."""

    kind: HoldKind
    reason: str


def forbids(holds: Sequence[Hold], intent: Intent, state: ShiftState) -> str:
    """Return why a climb that was journalled must not be sent any more; empty if nothing forbids it."""
    # Who ordered it knew of the pause; one that came later stops it.
    knew = intent.promoted and state.paused is not None and state.paused.at < intent.created_at

    def passes(kind: HoldKind) -> bool:
        rule = RULES[kind]
        return (
            (rule.promoting and intent.promoted)
            or (rule.overriding and (state.overridden or intent.override))
            or (rule.keeping is Keeping.ANYTHING and intent.direction is Direction.KEEP)
            or (kind is HoldKind.PAUSE and knew)
        )

    return "; ".join(hold.reason for hold in holds if not passes(hold.kind))


def pages(state: ShiftState, holds: Sequence[Hold], assessment: Assessment, source_requests: float) -> bool:
    """Return whether somebody should look at a shift. `source_requests` are those of the newest tick."""
    if state.phase is Phase.COMPLETED:
        return bool(holds) or assessment.verdict is Verdict.FAIL or source_requests > 0
    if any(RULES[hold.kind].pages and hold.reason != NOT_YET for hold in holds):
        return True
    if state.phase is Phase.ROLLED_BACK:
        # Whoever ordered it knows of it; whoever paused it has seen it.
        return state.paused is None and not (state.failure is not None and state.failure.ordered)
    # Where it does not go back by itself any more, a failing verdict is somebody's to know.
    return state.phase is Phase.ROLLING_BACK or (state.share > 0 and assessment.verdict is Verdict.FAIL)


def holds_of(state: ShiftState, evidence: Evidence, assessment: Assessment, now: datetime) -> tuple[Hold, ...]:
    """Return every reason not to climb, as of now; of a completed shift only what is wrong with it."""
    found = every_hold(state, evidence, assessment, now)
    if state.phase is Phase.COMPLETED:
        return tuple(hold for hold in found if RULES[hold.kind].of_completed)
    return found


def every_hold(state: ShiftState, evidence: Evidence, assessment: Assessment, now: datetime) -> tuple[Hold, ...]:
    """Return every reason not to raise the share, whatever phase the shift is in."""
    said = (
        (HoldKind.HANDS_OFF, _hands_off(state, now)),
        (HoldKind.PAUSE, _paused(state, now)),
        (HoldKind.FREEZE, _frozen(evidence)),
        (HoldKind.RESTORED, _restored(evidence)),
        (HoldKind.UNREADABLE, evidence.unreadable),
        (HoldKind.APPROVAL, _unapproved(state)),
        (HoldKind.INCIDENT, assessment.incident),
        (HoldKind.COLD_TARGET, _not_ready(state, evidence)),
        (HoldKind.STEPPED_BACK, beyond_ceiling(state, state.next_step)),
        (HoldKind.FAILING, _failing(state, assessment)),
        (HoldKind.NO_SIGNAL, assessment.reason if assessment.verdict is Verdict.NO_SIGNAL else ""),
        (HoldKind.POLICY, evidence.policy_problem),
        (HoldKind.BUG, evidence.bug and f"a bug of shifter struck ({evidence.bug}); restart it and report this"),
        (HoldKind.LEASE, "" if evidence.leader else _NOT_LEADING),
    )
    found = [Hold(kind, reason) for kind, reason in said if reason]
    if evidence.views is None or evidence.provider_problem:
        found.append(Hold(HoldKind.PROVIDER, evidence.provider_problem or "the provider has not answered yet"))
    if evidence.views is not None:
        found.extend(_route_holds(state, evidence.views, now, put_back=bool(_restored(evidence))))
    if not any(hold.kind is HoldKind.COLD_SOURCE for hold in found) and (short := _short(state, evidence)):
        found.append(Hold(HoldKind.COLD_SOURCE, short))
    intent = state.intent
    if intent is not None and intent.direction is Direction.RETREAT and state.phase is Phase.SHIFTING:
        # What a person had restored is no half of anything, and neither are a step back and the same share anew.
        is_repair = intent.by == SERVICE and intent.from_share > intent.to_share >= state.share
        found += [Hold(HoldKind.HALF_APPLIED, intent.reason)] if is_repair else []
    return tuple(found)


def _hands_off(state: ShiftState, now: datetime) -> str:
    if state.paused is None or not state.paused.hands_off(now):
        return ""
    until = f"{state.paused.hands_off_until:%Y-%m-%d %H:%M:%S} UTC"
    order = f"by order of {state.paused.why}; `shifter resume {state.name}` ends it"
    return f"until {until} nothing is written, not even to go back, {order}"


def _frozen(evidence: Evidence) -> str:
    people = " and by ".join(freeze.why for freeze in evidence.freezes if freeze.by != SERVICE)
    return f"all shifts are frozen by {people}; `shifter unfreeze` ends it" if people else ""


def _restored(evidence: Evidence) -> str:
    """Only a file that is older than what was saved here makes shifter freeze all shifts by itself."""
    return "; ".join(freeze.reason for freeze in evidence.freezes if freeze.by == SERVICE)


def _unapproved(state: ShiftState) -> str:
    step = state.next_step
    if state.phase not in {Phase.WAITING, Phase.SHIFTING} or step is None or (gate := state.gate(step)) is None:
        return ""
    return f"the share may not reach {gate:g} % before somebody approves: `shifter approve {state.name}`"


def beyond_ceiling(state: ShiftState, step: float | None) -> str:
    """Return why the share may not go to `step` percent: it failed there, or below, and stepped back; empty if it may.

    The ladder ends below the share that failed, until a person says that it may be tried again.
    """
    ceiling = state.ceiling
    if ceiling is None or state.phase is not Phase.SHIFTING or step is None or step < ceiling.share:
        return ""
    again = f"`shifter retry {state.name}` lets it go there again"
    if ceiling.probe:
        probe = f"a step back from {ceiling.share:g} % as a probe ({ceiling.reason})"
        return f"{probe}; if that goes on below, it is lifted; if it ended with the step back, {again}"
    return f"it failed at {ceiling.share:g} % ({ceiling.reason}); {again}"


def _failing(state: ShiftState, assessment: Assessment) -> str:
    """A policy may say that nothing goes back by itself; then nothing goes up either, and somebody must know."""
    stays = state.policy.spec.on_failure == "hold" and not state.overridden
    if not stays or state.phase is not Phase.SHIFTING or assessment.verdict is not Verdict.FAIL:
        return ""
    return f"{assessment.reason}; onFailure is hold: `shifter rollback {state.name}` goes back"


def _paused(state: ShiftState, now: datetime) -> str:
    if state.paused is None or state.paused.hands_off(now):
        return ""
    return f"paused by {state.paused.why}"


def _route_holds(state: ShiftState, views: Mapping[str, RouteView], now: datetime, *, put_back: bool) -> list[Hold]:
    found = [Hold(HoldKind.PREFLIGHT, view.refusal) for view in views.values() if view.refusal]
    if found or state.intent is not None:
        return found
    if not state.weights:
        strays = [view for view in views.values() if view.share is None or view.share > 0]
        if strays and landed_late(state, views, now):
            found.append(_late(views))
        else:
            found += [Hold(HoldKind.PREFLIGHT, _stray(state, view)) for view in strays]
    elif not matches(state.weights, views):
        found.append(_changed(state, views, now, put_back=put_back))
    if gone := cold_routes(views):
        routes = ", ".join(gone)
        mend = "scale its gateway up, look at its checks"
        said = f"tcm has no healthy member left on {routes}: there is no way back; {mend}"
        found.append(Hold(HoldKind.COLD_SOURCE, said))
    return found


def _stray(state: ShiftState, view: RouteView) -> str:
    said = f"{view.route.id} is at {shown(view.share)}, though shifter has never written it"
    if view.is_reversed:
        # Sending everything to what a wrong policy calls tcm would send all users to Istio.
        return f"{said}: are source and target swapped in the policy? Nothing is written here, not even to go back"
    return f"{said}; `shifter reconcile {state.name} --restore` sets it to 0, `--adopt` takes it over"


def _changed(state: ShiftState, views: Mapping[str, RouteView], now: datetime, *, put_back: bool) -> Hold:
    """Tell a write of our own that landed after it was given up, which is repaired, from somebody else's doing.

    Where something saved was `put_back`, nobody need have touched the weights: what is compared with them may be older.
    """
    if landed_late(state, views, now):
        return _late(views)
    why = "somebody changed the weights"
    if put_back:
        why = f"what is saved may be older than the weights (hold `{HoldKind.RESTORED}`), or somebody changed them"
    live = f"{_live(views)}, last verified {shown(state.share)} ({_differences(state, views)})"
    return Hold(HoldKind.DRIFT, f"{why}: {live}; {_deciding(state)}")


def _deciding(state: ShiftState) -> str:
    """Return by which orders a person ends drift: only a shift that is not at an end of its way adopts anything."""
    if state.phase is Phase.COMPLETED:
        anew = f"`shifter rollback {state.name}`, then `retry`, begins anew"
        return f"{anew}; `shifter reconcile {state.name} --restore` sends everything to istio again"
    if state.phase is Phase.ROLLED_BACK:
        return f"`shifter rollback {state.name}` brings it back to 0 %"
    return f"`shifter reconcile {state.name} --adopt` or `--restore` decides"


def _late(views: Mapping[str, RouteView]) -> Hold:
    return Hold(HoldKind.HALF_APPLIED, f"a write that was given up landed late: {_live(views)}; repairing")


def _live(views: Mapping[str, RouteView]) -> str:
    return ", ".join(f"{view.route.id} {shown(view.share)}" for view in views.values())


def _differences(state: ShiftState, views: Mapping[str, RouteView]) -> str:
    """Name the members whose weight is not the verified one, as `key verified→live`; a few of them."""
    changed = [
        f"{key} {weight}→{views[route].weights[key]}"
        for route, verified in state.weights.items()
        for key, weight in verified.items()
        if route in views and views[route].weights.get(key, weight) != weight
    ]
    return some(changed, _MEMBERS_SHOWN)


def _short(state: ShiftState, evidence: Evidence) -> str:
    """Return why it is not known that the source could take everything back; empty if it is, or nobody looks."""
    if evidence.workload_problem and state.phase is not Phase.ROLLED_BACK:
        return f"whether tcm could take everything back cannot be seen: {evidence.workload_problem}"
    return unready(state, evidence.workloads) or cold(state)


def _not_ready(state: ShiftState, evidence: Evidence) -> str:
    """Return why it is not known that the target can carry anything; empty if it is, nobody looks, or none is due."""
    if state.phase not in {Phase.WAITING, Phase.SHIFTING}:
        return ""
    if evidence.target_problem:
        return f"whether istio is ready cannot be seen: {evidence.target_problem}"
    return idle(state, evidence.target_workloads)


def cold_routes(views: Mapping[str, RouteView]) -> tuple[str, ...]:
    """Return the routes on which the source has no healthy member."""
    return tuple(
        route
        for route, view in views.items()
        if not any(member.side is Side.SOURCE and member.health is not Health.DEAD for member in view.members)
    )
