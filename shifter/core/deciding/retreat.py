"""When the share must go down, how far, and how: the half of the decision that no hold can stop.

Trouble is a verdict that failed, a target that is gone, or an incident that began right after a step. What follows from
it is the policy's: all the way, one step, or nothing but a hold. A step back leaves a *ceiling* in the state, and that
the share is not below it is what every later tick acts on: a crash or a refused write in between changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from shifter.core.analysis.guards import Guard
from shifter.core.analysis.sickness import VOUCHING_REQUESTS, shows
from shifter.core.analysis.standing import Standing
from shifter.core.analysis.verdicts import Assessment, Verdict
from shifter.core.balancing.apportion import MAX_ERROR_PERCENT
from shifter.core.balancing.splits import Health, RouteView, Side
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.capacity import lowest_share, shortness
from shifter.core.deciding.decision import Decision, Kind, hold_reason, write_share
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.journal import is_back, landed_late, matches
from shifter.core.deciding.orders import Promotion, Wish, roll_back
from shifter.core.deciding.stages import retreat, retreating
from shifter.core.phases import Event, Phase, after
from shifter.core.records import SERVICE
from shifter.core.state import Ceiling, Direction, Failure, ShiftState

PROBE_TICKS: Final = 4
"""An incident of both meshes that began within so many ticks of a step may be the step's doing."""

ACQUITTED_TICKS: Final = 8
"""An incident that goes on for so many ticks wholly below a step back is not the target's doing ..."""

NEWEST_TICKS: Final = 4
"""... if so many newest ones show it: what the step broke may take a while to recover."""

FOUND_BACK: Final = (
    "found at 0 % at the start: shifter went back while nothing could be saved, or somebody did it by hand"
)
"""Why a shift is taken to have gone back when nobody saved that it did."""

STALE_TICKS: Final = 2
"""A read may be older than the moment at which it is made, by no more than so many ticks."""

TOTAL: Final = frozenset({Guard.DEAD})
"""Guards after which a smaller share would be as bad for whoever gets it: there is no step to go back to."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the share must go down, whether one step is enough for now, and whether that is only a probe.

    `dead`: whoever is sent to the target gets nothing, so that no source is too small to go back to.
    """

    why: str
    one_step: bool
    probe: bool = False
    dead: bool = False


def trouble_of(state: ShiftState, evidence: Evidence, assessment: Assessment, wish: Wish | None) -> Trouble | None:
    """Return why a shift under way must go back; None if it need not, or its policy says that it stays."""
    if not _may_go_back(state, wish):
        return None
    if _is_gone(evidence):
        gone = "istio's gateway is gone: its metrics show no pod and the balancer finds all its members dead"
        return Trouble(gone, one_step=False, dead=True)
    # At 0 % the target answers nothing, so nothing it does can be a failure.
    if assessment.verdict is Verdict.FAIL and _exposed(state, evidence) > 0:
        total = _is_total(assessment)
        one_step = state.policy.spec.on_failure == "stepBack" and not total
        return Trouble(assessment.reason, one_step=one_step, dead=total)
    return _probe(state, assessment)


def _probe(state: ShiftState, assessment: Assessment) -> Trouble | None:
    """Return why to step back once although both meshes are bad: it began right after a step, which may be the cause.

    The target may be hurting something that both share. If it is not, a step is lost; if it is, this is the only way
    in which it could be seen. What came of it, `acquitted` says.
    """
    began = assessment.incident_after_ticks
    if began is None or began > PROBE_TICKS or state.share <= 0 or state.intent is not None:
        return None
    said = f"{assessment.incident}; it began right after the step to {state.share:g} %, so one step back shows"
    return Trouble(f"{said} whether istio causes it", one_step=True, probe=True)


def _may_go_back(state: ShiftState, wish: Wish | None) -> bool:
    # Who promotes with --override judges for themselves from then on, until a retry.
    overriding = (
        state.overridden
        or (isinstance(wish, Promotion) and wish.override)
        or (state.intent is not None and state.intent.override)
    )
    return state.phase is Phase.SHIFTING and not overriding and state.policy.spec.on_failure != "hold"


def _exposed(state: ShiftState, evidence: Evidence) -> float:
    """Return the share that users may be at, percent: a write that is not done yet can be in force already."""
    if state.intent is None or state.intent.direction is Direction.RETREAT:
        return state.share
    return max([state.share, *(view.share or 0.0 for view in (evidence.views or {}).values())])


def _is_total(assessment: Assessment) -> bool:
    return any(finding.guard and finding.metric in TOTAL for finding in assessment.findings)


def _is_gone(evidence: Evidence) -> bool:
    return evidence.target_unseen and _all_dead(evidence.views)


def _all_dead(views: Mapping[str, RouteView] | None) -> bool:
    """Return whether the balancer, too, finds every member of the target dead."""
    members = [member for view in (views or {}).values() for member in view.members if member.side is Side.TARGET]
    return bool(members) and all(member.health is Health.DEAD for member in members)


def failed_by(state: ShiftState, trouble: Trouble, now: datetime) -> ShiftState:
    """Return the state of a shift that failed: on its way to 0, or with a ceiling that it steps back below.

    A step back ends the attempt: what was seen of the target above says nothing about what it does below. One that is
    owed already is no second failure, however many ticks it takes; only what was a probe can become one.
    """
    if not trouble.one_step or state.step_below <= 0:
        return roll_back(state, trouble.why, state.share, now, at_once=trouble.dead)
    if state.ceiling is not None and _is_owed(state) and (trouble.probe or not state.ceiling.probe):
        return state
    ceiling = Ceiling(share=state.share, reason=trouble.why, at=now, probe=trouble.probe)
    return state.model_copy(update={"ceiling": ceiling, "attempt": state.attempt + 1})


def acquitted(state: ShiftState, evidence: Evidence) -> ShiftState:
    """Return the state without the ceiling of a probe if the step was not the incident's cause.

    It was not if the incident is over before the share is any lower, or goes on below. If it ends with the step back,
    it may have been, and a person decides whether the shift goes there again.
    """
    ceiling, standing = state.ceiling, evidence.standing
    if ceiling is None or not ceiling.probe or standing is None or evidence.signal_problem:
        return state
    if _is_owed(state):
        innocent = standing.attempt == state.attempt and _is_over(standing) and _is_still_at(ceiling.share, evidence)
    else:
        innocent = standing.share == state.share and _goes_on(standing)
    return state.model_copy(update={"ceiling": None}) if innocent else state


def _goes_on(standing: Standing) -> bool:
    """Return whether the very incident that was probed goes on, long after the share was lowered; not another one."""
    sickness, learnt = standing.sickness, standing.history.metrics[0]
    probed = sickness is not None and sickness.after_ticks is None
    return probed and standing.ticks >= ACQUITTED_TICKS and shows(learnt, standing.recent[-NEWEST_TICKS:])


def _is_over(standing: Standing) -> bool:
    """Return whether both meshes are seen to be well; at 100 % only the target has requests to tell it by."""
    learnt, seen = standing.history.metrics[0], standing.recent_target
    answered = sum(requests for requests, _ in seen) >= VOUCHING_REQUESTS
    is_known = learnt.requests > 0
    return standing.sickness is None and is_known and answered and not shows(learnt, [(tick,) for tick in seen])


def _is_still_at(share: float, evidence: Evidence) -> bool:
    """Return whether no route is known or feared to be below a share (percent) yet."""
    live = [view.share for view in (evidence.views or {}).values()]
    is_seen = bool(live) and not evidence.provider_problem
    return is_seen and all(each is not None and each >= share - MAX_ERROR_PERCENT for each in live)


def found_back(state: ShiftState, evidence: Evidence, now: datetime) -> ShiftState:
    """Return the state on its way back if all routes are at 0 at the first look, though they were saved with a share.

    A retreat is written even when nothing can be saved, and whoever wrote it may be gone by now. Somebody may also have
    done it by hand meanwhile; either way nothing climbs again before a person says so, and it is told.

    A 0 that may be from before the share was verified is none: it is looked at again.
    """
    views = evidence.views or {}
    away = state.paused is not None and state.paused.hands_off(now)
    if not evidence.first_look or state.phase is not Phase.SHIFTING or state.share <= 0 or away or not views:
        return state
    if evidence.provider_problem or not all(is_back(view) for view in views.values()):
        return state
    if _may_be_older(state, evidence, now):
        return state
    return roll_back(state, FOUND_BACK, state.share, now)


def _may_be_older(state: ShiftState, evidence: Evidence, now: datetime) -> bool:
    """Return whether what is read now may be what was in force before the share was verified."""
    return state.share > 0 and state.verified_at is not None and now < state.verified_at + STALE_TICKS * evidence.tick


def is_too_high(state: ShiftState, wish: Wish | None) -> bool:
    """Return whether the verified share is not below the ceiling yet: the step back is owed, whatever came between."""
    return _is_owed(state) and _may_go_back(state, wish)


def _is_owed(state: ShiftState) -> bool:
    return state.ceiling is not None and state.share >= state.ceiling.share


def lower(decision: Decision, evidence: Evidence, now: datetime) -> Decision:
    """Bring the share to 0, or to the rung below the ceiling."""
    state = decision.state
    if state.phase is Phase.ROLLING_BACK or state.ceiling is None:
        return go_back(decision, evidence, now)
    to = state.step_below
    if to <= 0:
        failure = Failure(reason=state.ceiling.reason, share=state.share, at=now)
        gone = {"phase": after(state.phase, Event.RETREAT), "since": now, "failure": failure}
        return go_back(replace(decision, state=state.model_copy(update=gone)), evidence, now)
    rung, to = to, to if _all_dead(evidence.views) else max(to, lowest_share(state))
    why = f"stepping back to {rung:g} %: {state.ceiling.reason}"
    if to > rung:
        why = f"{why}; {shortness(state)}, and so it goes to {to:g} % for now"
    back = replace(decision, kind=Kind.ROLLBACK, reason=why)
    if state.intent is not None and state.intent.direction is Direction.RETREAT and state.intent.to_share <= to:
        return back
    if evidence.views is None:
        return replace(back, reason=f"{why} (waiting: {evidence.provider_problem or 'no answer yet'})")
    # A route that somebody lowered further is not raised on the way down.
    higher = {route: view for route, view in evidence.views.items() if view.share is None or view.share > to}
    if not higher:
        return back if to > rung else _settled_below(back, evidence, now)
    return write_share(back, Direction.RETREAT, to, higher, why, SERVICE)


def _settled_below(back: Decision, evidence: Evidence, now: datetime) -> Decision:
    """Nothing is left to write: the share was lowered already, and the lowest of it is what is verified now.

    By whom does matter: weights of ours, or the verified ones of fewer members, are verified with it. Somebody else's
    are not, so that they are drift from now on, and nothing climbs over them unasked.
    """
    waits = evidence.provider_problem
    if back.state.intent is not None:
        waits = waits or "an earlier write is under way"
    elif _may_be_older(back.state, evidence, now):
        waits = waits or "what was read may be older than the share"
    if waits:
        return replace(back, reason=f"{back.reason} (waiting: {waits})")
    views = evidence.views or {}
    share = min((view.share or 0.0 for view in views.values()), default=0.0)
    state = back.state.model_copy(update={"share": share, "verified_at": now})
    if matches(state.weights, views) or landed_late(back.state, views, now):
        live = {route: view.weights for route, view in views.items()}
        return replace(back, state=state.model_copy(update={"weights": live}))
    return replace(back, state=state)


def go_back(decision: Decision, evidence: Evidence, now: datetime) -> Decision:
    """Bring the share to 0, whatever holds there are, and say how far that has come."""
    state = decision.state
    why = state.failure.reason if state.failure is not None else "its last write failed"
    back = replace(decision, kind=Kind.ROLLBACK, reason=f"rolling back: {why}")
    lowest = 0.0 if _at_once(decision, evidence) else lowest_share(state)
    if under_way := retreating(back, evidence.views or {}, lowest):
        return under_way
    # Where it may only have been at 0, a retreat that is carried out leaves no doubt.
    doubtful = state.intent is not None or _may_be_older(state, evidence, now)
    arrived = not doubtful and all(is_back(view) for view in (evidence.views or {}).values())
    unproven = arrived and evidence.provider_problem and state.phase is Phase.ROLLING_BACK
    if evidence.views is None or unproven:
        return replace(back, reason=f"{back.reason} (waiting: {evidence.provider_problem or 'no answer yet'})")
    if arrived:
        return _settled_back(back, evidence.views, why, now)
    if not state.weights and state.phase is Phase.ROLLING_BACK and any(v.is_reversed for v in evidence.views.values()):
        # Never written, and all traffic is on what the policy calls the target: the policy is in doubt, not the split.
        settled = state.model_copy(update={"phase": after(state.phase, Event.SETTLE)})
        return replace(back, state=settled, reason=f"rolled back without a write: {hold_reason(decision.holds)}")
    # After the rollback, only what shifter itself has written is shifter's to write again: a share raised by hand
    # and a route it never wrote wait for a person, whose order would bring them back.
    theirs = {HoldKind.DRIFT, HoldKind.PREFLIGHT, HoldKind.POLICY}
    if state.phase is Phase.ROLLED_BACK and any(hold.kind in theirs for hold in decision.holds):
        return replace(decision, reason=hold_reason(decision.holds))
    return retreat(back, evidence.views, lowest, now - evidence.tick)


def _at_once(decision: Decision, evidence: Evidence) -> bool:
    """Return whether nothing is spared on the way back: a person wants it so, the target is dead, or it is tidied up.

    After the rollback the source carries everything; what is above 0 then is a write of ours that landed late.
    """
    state = decision.state
    asked = state.failure is not None and state.failure.at_once
    dead = _all_dead(evidence.views) or _is_total(decision.assessment)
    return asked or dead or state.phase is not Phase.ROLLING_BACK


def _settled_back(back: Decision, views: Mapping[str, RouteView], why: str, now: datetime) -> Decision:
    """Nothing is left to write: the share is 0, whoever brought it there, and that is what is verified now.

    So it is no drift, either: what is live was just taken for what shifter last wrote.
    """
    if back.state.phase is Phase.ROLLED_BACK:
        return replace(back, kind=Kind.HOLD, reason=f"rolled back: {why}; `shifter retry` starts over")
    phase = after(back.state.phase, Event.SETTLE)
    weights = {route: view.weights for route, view in views.items()}
    state = back.state.model_copy(update={"phase": phase, "share": 0.0, "weights": weights, "verified_at": now})
    holds = tuple(hold for hold in back.holds if hold.kind is not HoldKind.DRIFT)
    return replace(back, state=state, holds=holds, reason=f"rolled back: {why}")
