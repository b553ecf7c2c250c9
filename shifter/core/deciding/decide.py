"""The decision: given a shift's state, the evidence and the time, what is to be done and why. Pure and total.

Read `decide` top to bottom: people's orders first, then everything that must go *back*, then what must wait,
and only then whether the share may rise. Going back passes every hold; going up passes none, except that a
promotion skips the soak and missing evidence. The sentence in `Decision.reason` is the log line, the CLI's
explanation and the tests' assertion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from shifter.core.analysis.assess import assess
from shifter.core.analysis.verdicts import Assessment, Situation, Verdict
from shifter.core.balancing.apportion import MAX_ERROR_PERCENT
from shifter.core.balancing.splits import FULL_PERCENT, MAX_WEIGHT, RouteView, Side, shown
from shifter.core.deciding import pinning
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.capacity import counted, recorded, relevant, watched
from shifter.core.deciding.decision import (
    Decision,
    Kind,
    Write,
    climb_to,
    hold_reason,
    refuse_wish,
    refused,
    write_share,
)
from shifter.core.deciding.holds import RULES, HoldKind, Keeping, cold_routes, holds_of
from shifter.core.deciding.journal import next_try
from shifter.core.deciding.orders import REVISING_VERBS, Answer, OrderAnswer, Wish, obey
from shifter.core.deciding.retreat import (
    STALE_TICKS,
    Trouble,
    acquitted,
    failed_by,
    found_back,
    go_back,
    is_too_high,
    lower,
    trouble_of,
)
from shifter.core.deciding.settling import observed_share, soaked_seconds
from shifter.core.deciding.stages import limits, refusal
from shifter.core.deciding.wishes import grant
from shifter.core.phases import Event, Phase, after
from shifter.core.records import SERVICE
from shifter.core.state import Direction, Intent, ShiftState


def decide(state: ShiftState, evidence: Evidence, now: datetime) -> Decision:
    """Return what to do about one shift. `state.policy` is the policy in force."""
    evidence = _whole(state, evidence)
    found = found_back(state, evidence, now)
    ordered, answers, wish = _obey_all(_seen(acquitted(found, evidence), evidence), evidence, now)
    assessment = _assess(ordered, evidence, now)
    holds = holds_of(ordered, evidence, assessment, now)
    decision = Decision(Kind.HOLD, "", ordered, assessment, holds, answers)
    trouble = trouble_of(ordered, evidence, assessment, wish)
    if ordered.paused is not None and ordered.paused.hands_off(now):
        decided = _hands_off(decision, wish, trouble)
    elif ordered.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}:
        decided = go_back(decision, evidence, now)
    elif trouble is not None:
        failed = failed_by(ordered, trouble, now)
        decided = lower(replace(decision, state=failed, answers=refused(answers, wish, trouble.why)), evidence, now)
    elif is_too_high(ordered, wish):
        decided = lower(replace(decision, answers=refused(answers, wish, "it steps back")), evidence, now)
    elif ordered.intent is not None:
        decided = _await(decision, ordered.intent, wish)
    elif wish is not None:
        decided = grant(decision, wish, evidence, now)
    else:
        decided = _stay_or_climb(decision, evidence, now)
    if decided.write is not None and decided.write.direction is Direction.CLIMB and ordered.share == 0:
        first = _source_first(decision, decided.write, wish, evidence)
        decided = first or _with_a_way_back(decision, decided, wish, evidence, now)
    changes: dict[str, object] = {"holds": tuple(sorted({hold.kind for hold in decided.holds}))}
    if decided.state.phase is not ordered.phase:
        changes["since"] = now
    by = decided.adopted_by if found is state else SERVICE
    return replace(decided, state=decided.state.model_copy(update=changes), adopted_by=by)


def _whole(state: ShiftState, evidence: Evidence) -> Evidence:
    """Return the evidence without the provider's part if a route of the policy is missing from it."""
    if evidence.views is None:
        return evidence
    unseen = [route.id for route in state.policy.routes if route.id not in evidence.views]
    if not unseen:
        return evidence
    return replace(evidence, views=None, provider_problem=f"the provider did not show {', '.join(unseen)}")


def _seen(state: ShiftState, evidence: Evidence) -> ShiftState:
    """Return the state with what is left of the source by now; before the first step nothing of it is kept."""
    way_back = None if state.phase is Phase.WAITING else watched(state, evidence.source)
    state = pinning.after(state, evidence.workloads, evidence.pins)
    return state if way_back == state.way_back else state.model_copy(update={"way_back": way_back})


def _with_a_way_back(
    before: Decision, climb: Decision, wish: Wish | None, evidence: Evidence, now: datetime
) -> Decision:
    """Return the first climb with what the source has now on record; before that its autoscalers' floors are pinned."""
    pins = pinning.needed(before.state, evidence.workloads, evidence.pins, now)
    state = pinning.with_pins(before.state, pins)
    if waits := pinning.not_kept(state, evidence.workloads):
        said = f"before the first step {'; '.join(pinning.words(name, pins[name]) for name in waits)}"
        return replace(before, reason=said, state=state, answers=refused(before.answers, wish, f"{said}; ask again"))
    believed = relevant(state.policy, evidence.source) or counted(evidence.views, None)
    way_back = recorded(believed, now, climb.state.way_back)
    recorded_state = climb.state.model_copy(update={"way_back": way_back})
    return replace(climb, state=pinning.with_pins(recorded_state, pins))


def _obey_all(
    state: ShiftState, evidence: Evidence, now: datetime
) -> tuple[ShiftState, tuple[OrderAnswer, ...], Wish | None]:
    answers: tuple[OrderAnswer, ...] = ()
    wish: Wish | None = None
    for order in sorted(evidence.orders, key=lambda each: each.id):
        if why := refusal(state, order, evidence):
            state = state.model_copy(update={"last_order": max(order.id, state.last_order)})
            answers = (*answers, OrderAnswer(order.id, Answer.REFUSED, why, now))
            continue
        if wish is not None and order.request.verb in REVISING_VERBS:
            answers, wish = refused(answers, wish, "a later order stands against it"), None
        obeyed, answer = obey(state, order, now)
        if obeyed.answer is Answer.ACCEPTED:
            answer = replace(answer, text=f"{answer.text}{limits(obeyed.state, order, evidence)}")
        state, wish, answers = obeyed.state, obeyed.wish or wish, (*answers, answer)
    return state, answers, wish


def _assess(state: ShiftState, evidence: Evidence, now: datetime) -> Assessment:
    views = evidence.views or {}
    situation = Situation(
        share=state.share,
        verified_at=state.verified_at,
        now=now,
        max_age=evidence.max_age,
        tick=evidence.tick,
        gate=state.gate(FULL_PERCENT),
        ceiling=None if state.ceiling is None else state.ceiling.share,
        split_by_request=bool(views) and all(view.split_by_request for view in views.values()),
        written=0.0 if state.intent is None else state.intent.to_share,
        lacking=evidence.lacking,
        problem=evidence.signal_problem,
    )
    assessment = assess(state.policy.spec, evidence.standing, evidence.ledger, situation)
    if state.phase is Phase.ROLLED_BACK and assessment.verdict is Verdict.PASS:
        return replace(assessment, verdict=Verdict.TOO_LITTLE, reason="nothing is judged before a retry", step=None)
    return assessment


def _hands_off(decision: Decision, wish: Wish | None, trouble: Trouble | None) -> Decision:
    """A person works on the routes: nothing is written, not even to go back; what would be done is said."""
    told = "" if trouble is None else f" (it would go back: {trouble.why})"
    answers = refused(decision.answers, wish, "hands off; resume it first")
    reason = f"{hold_reason(decision.holds)}{told}"
    return replace(decision, answers=answers, reason=reason, hands_off=True)


def _await(decision: Decision, intent: Intent, wish: Wish | None) -> Decision:
    """One write at a time: what is under way is finished first, and a wish does not wait for it."""
    reason = f"writing {shown(intent.to_share)}: {intent.reason}"
    if wish is not None:
        decision = refuse_wish(decision, wish, f"a write is under way ({reason})")
    return replace(decision, reason=reason)


def _stay_or_climb(decision: Decision, evidence: Evidence, now: datetime) -> Decision:
    state, holds = decision.state, decision.holds
    if state.phase is Phase.COMPLETED:
        return replace(decision, reason=_watch_completed(decision, evidence))
    if holds:
        return _keep_share(replace(decision, reason=hold_reason(holds)), evidence, now)
    kept = _keep_share(decision, evidence, now)
    if kept is not decision:
        return kept
    if waiting := _waits_for(state, decision.assessment, evidence, now):
        return replace(decision, reason=waiting)
    return _climb(decision, evidence)


def _watch_completed(decision: Decision, evidence: Evidence) -> str:
    """A finished shift writes nothing, but drift, failures and traffic that still reaches the source are told."""
    drifted = [hold.reason for hold in decision.holds if hold.kind is HoldKind.DRIFT]
    if drifted:
        return f"completed, but {drifted[0]}"
    if decision.assessment.verdict is Verdict.FAIL:
        return f"completed, but {decision.assessment.reason}; `shifter rollback` would go back"
    if evidence.ledger.ticks and (left := evidence.ledger.ticks[-1].source.requests) > 0:
        return f"completed, but tcm still answered {left:.0f} requests in the last tick"
    return "completed: all traffic is on istio"


def _waits_for(state: ShiftState, assessment: Assessment, evidence: Evidence, now: datetime) -> str:
    """Return what a shift without holds still waits for before its next step; empty if for nothing."""
    at = shown(state.share)
    if state.overridden and assessment.verdict is Verdict.FAIL:
        back = f"nothing goes back by itself after --override, `shifter rollback {state.name}` does"
        return f"failing at {at}: {assessment.reason}; {back}"
    if state.share > 0:
        if evidence.settled_at is None:
            return f"settling at {at}: the metrics {_shown_by_metrics(evidence)}"
        soaked = soaked_seconds(evidence.ledger, evidence.settled_at)
        soak = state.policy.spec.soak.total_seconds()
        if soaked < soak:
            return f"soaking at {at}: {soaked:.0f} of {soak:g} s of evidence"
    if assessment.verdict is not Verdict.PASS:
        return f"waiting at {at}: {assessment.verdict}: {assessment.reason}"
    if state.setback is not None and now < next_try(state.setback, evidence.tick):
        return f"waiting at {at}: the last write failed ({state.setback.reason}); trying again in a while"
    return ""


def _shown_by_metrics(evidence: Evidence) -> str:
    seen = observed_share(evidence.ledger.ticks)
    if seen is None:
        return "show no requests at it yet"
    return f"do not show it yet, but {shown(seen.share)} of {seen.requests:.0f} requests"


def _climb(decision: Decision, evidence: Evidence) -> Decision:
    state = decision.state
    step = decision.assessment.step or state.next_step
    if step is None:
        done = state.model_copy(update={"phase": after(state.phase, Event.FINISH)})
        said = f"completed: 100 % soaked on istio; {decision.assessment.reason}"
        return replace(decision, kind=Kind.ADVANCE, state=done, reason=said)
    why = decision.assessment.reason
    return climb_to(step, decision, evidence.views or {}, f"to {step:g} %: {why}", SERVICE)


def _source_first(decision: Decision, climb: Write, wish: Wish | None, evidence: Evidence) -> Decision | None:
    """Before the first step, bring the source to full weight in a write of its own, if it is not there.

    CLB binds members with weight 10. Were they raised in the same write as the target's first weight, a write of
    which only the target's part is in force would send it several times the share of the step; of all traffic there is
    no more than all. Whoever asked for the step has to ask again; what it would have passed, this passes.
    """
    views = evidence.views or {}
    members = [member for view in views.values() for member in view.members if member.side is Side.SOURCE]
    if climb.to_share >= FULL_PERCENT or all(member.weight == MAX_WEIGHT for member in members):
        return None
    why = "the source's weights first, still at 0 %"
    answers = refused(decision.answers, wish, f"{why}; ask again")
    first = write_share(replace(decision, answers=answers), Direction.KEEP, 0.0, views, why, climb.by)
    assert first.write is not None  # noqa: S101 - where a share between 0 and 100 can be written, 0 can
    return replace(first, write=replace(first.write, promoted=climb.promoted, override=climb.override))


def _keep_share(decision: Decision, evidence: Evidence, now: datetime) -> Decision:
    """Write new weights for the same share if members came, went, died or recovered.

    Bringing a share that rose by itself back down is a retreat: it needs no permission, and is sent until it is done.
    What fell is raised after that, as a climb is, and not while something holds.
    """
    state, views = decision.state, evidence.views
    keeping = {RULES[hold.kind].keeping for hold in decision.holds}
    # No intent is open, so it can only be a write that landed after it was given up.
    late = any(hold.kind is HoldKind.HALF_APPLIED for hold in decision.holds)
    if views is None or not (state.weights or late) or Keeping.NOTHING in keeping:
        return decision
    # 0 and 100 mean exactly that.
    tolerated = MAX_ERROR_PERCENT if 0 < state.share < FULL_PERCENT else 0.0
    off = {route: (view.share or 0.0) - state.share for route, view in views.items()}
    if late and all(abs(by) <= tolerated for by in off.values()):
        # What is read so soon may be what was in force before: to take that over would be to forget what is.
        soon = state.verified_at is not None and now < state.verified_at + STALE_TICKS * evidence.tick
        return decision if soon else _taken_over(decision, views, now)
    may_raise = Keeping.LOWERING not in keeping and (
        state.setback is None or now >= next_try(state.setback, evidence.tick)
    )
    # Where nobody is left on the source there is nobody to bring anything back to.
    off = {route: by for route, by in off.items() if route not in cold_routes(views)}
    rose = {route: views[route] for route, by in off.items() if by > tolerated}
    fell = {route: views[route] for route, by in off.items() if by < -tolerated and may_raise}
    if not rose and not fell:
        return decision
    direction = Direction.RETREAT if rose else Direction.KEEP
    why = "a write that was given up landed late" if late else "members changed: keeping the share"
    kept = write_share(decision, direction, state.share, rose or fell, why, SERVICE)
    if kept.write is None:
        return kept
    return decision if kept.write.weights == kept.write.before else kept


def _taken_over(decision: Decision, views: Mapping[str, RouteView], now: datetime) -> Decision:
    """Verify what landed after it was given up: other weights, but the share that is to be, so nothing is to repair."""
    weights = {route: view.weights for route, view in views.items()}
    state = decision.state.model_copy(update={"weights": weights, "verified_at": now, "abandoned": None})
    said = f"a write that was given up landed late: it is {shown(state.share)} all the same, and is taken over"
    return replace(decision, state=state, reason=said, adopted_by=SERVICE)
