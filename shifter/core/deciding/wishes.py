"""What people ask that only the evidence can grant: a promotion, and what is to become of drift.

An order cannot know what holds now; a wish is granted in the tick that reads it or refused with everything that
stands in its way, never kept for better times: nobody may be surprised by a climb asked for an hour ago.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime

from shifter.core.analysis.verdicts import Verdict
from shifter.core.balancing.apportion import MAX_ERROR_PERCENT
from shifter.core.balancing.splits import FULL_PERCENT, RouteView, shown
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decision import Decision, Kind, climb_to, refuse_wish, write_share
from shifter.core.deciding.holds import RULES, Hold, HoldKind, beyond_ceiling, every_hold
from shifter.core.deciding.journal import matches
from shifter.core.deciding.orders import Promotion, Reconciliation, Wish
from shifter.core.phases import Event, Phase, after
from shifter.core.state import Direction


def grant(decision: Decision, wish: Wish, evidence: Evidence, now: datetime) -> Decision:
    """Return the decision with what somebody asked carried out, or with the refusal that says what is in the way."""
    if isinstance(wish, Promotion):
        return _promote(decision, wish, evidence)
    if wish.adopt:
        return _adopt(decision, wish, evidence, now)
    return _restore(decision, wish, evidence, now)


def _promote(decision: Decision, wish: Promotion, evidence: Evidence) -> Decision:
    state = decision.state
    step = state.next_step if wish.share is None else wish.share
    if step is None or step <= state.share:
        at = f"at {state.share:g} %" + ("; it completes when it has soaked" if state.share == FULL_PERCENT else "")
        return refuse_wish(decision, wish, f"already {at}")
    # A pause ends with a promotion; gates and the share that failed are asked for below, all on its way.
    passes = {HoldKind.PAUSE, HoldKind.APPROVAL, HoldKind.STEPPED_BACK} | {
        kind for kind, rule in RULES.items() if rule.promoting or (rule.overriding and wish.override)
    }
    in_the_way = _said(decision.holds, passes)
    if not wish.override:
        in_the_way += _gate(decision, step) + _ceiling(decision, step) + _failing(decision)
    if in_the_way:
        return refuse_wish(decision, wish, "; ".join(in_the_way))
    why = f": {wish.reason}" if wish.reason else ""
    raised = climb_to(step, decision, evidence.views or {}, f"to {step:g} %: promoted by {wish.by}{why}", wish.by)
    if raised.write is None:
        return refuse_wish(raised, wish, raised.reason)
    write = replace(raised.write, promoted=True, override=wish.override)
    holds = tuple(hold for hold in raised.holds if hold.kind is not HoldKind.PAUSE)
    return replace(raised, state=raised.state.model_copy(update={"paused": None}), holds=holds, write=write)


def _adopt(decision: Decision, wish: Reconciliation, evidence: Evidence, now: datetime) -> Decision:
    """Take the live split over as the verified one; nothing is written."""
    views, state = evidence.views or {}, decision.state
    blocked = _said(decision.holds, set(HoldKind) - {HoldKind.LEASE, HoldKind.BUG})
    if in_the_way := _undecidable(decision, evidence) or "; ".join(blocked):
        return refuse_wish(decision, wish, in_the_way)
    shares = [view.share for view in views.values()]
    known = [share for share in shares if share is not None]
    live = ", ".join(f"{route} {shown(view.share)}" for route, view in views.items())
    if len(known) < len(shares) or max(known) - min(known) > MAX_ERROR_PERCENT:
        return refuse_wish(decision, wish, f"the routes do not agree on a share: {live}")
    share = max(known)
    if gate := _gate(decision, share):
        return refuse_wish(decision, wish, gate[0])
    weights = {route: view.weights for route, view in views.items()}
    changes: dict[str, object] = {"share": share, "weights": weights, "verified_at": now, "abandoned": None}
    if state.ceiling is not None and share >= state.ceiling.share:
        changes["ceiling"] = None  # they have seen it, and it is their word
    if state.phase is Phase.WAITING and share > 0:
        changes["phase"] = after(state.phase, Event.CLIMB)
    said = f"{shown(share)} was adopted by order of {wish.by}: it must settle and soak like any other share"
    held = tuple(hold for hold in decision.holds if hold.kind not in {HoldKind.DRIFT, HoldKind.PREFLIGHT})
    return replace(decision, state=state.model_copy(update=changes), holds=held, reason=said, adopted_by=wish.by)


def _restore(decision: Decision, wish: Reconciliation, evidence: Evidence, now: datetime) -> Decision:
    """Write the last verified share again. Lowering the live one passes every hold, raising it is a promotion."""
    views, state = evidence.views or {}, decision.state
    if in_the_way := _undecidable(decision, evidence):
        return refuse_wish(decision, wish, in_the_way)
    why = f": {wish.reason}" if wish.reason else ""
    reason = f"back to {shown(state.share)}, as verified last: ordered by {wish.by}{why}"
    if all(view.share is not None and view.share >= state.share for view in views.values()):
        lowered = write_share(decision, Direction.RETREAT, state.share, views, reason, wish.by)
        return lowered if lowered.write is not None else refuse_wish(lowered, wish, lowered.reason)
    passes = {kind for kind, rule in RULES.items() if rule.restoring}
    in_the_way_of_more = _said(every_hold(state, evidence, decision.assessment, now), passes) + _failing(decision)
    if in_the_way_of_more:
        return refuse_wish(decision, wish, f"it would raise the share; {'; '.join(in_the_way_of_more)}")
    advance = replace(decision, kind=Kind.ADVANCE)
    raised = write_share(advance, Direction.KEEP, state.share, views, reason, wish.by)
    if raised.write is None:
        return refuse_wish(raised, wish, raised.reason)
    return replace(raised, write=replace(raised.write, promoted=True))


def _said(holds: tuple[Hold, ...], passes: AbstractSet[HoldKind]) -> list[str]:
    return [f"{hold.kind}: {hold.reason}" for hold in holds if hold.kind not in passes]


def _gate(decision: Decision, share: float) -> list[str]:
    gate = decision.state.gate(share)
    return [] if gate is None else [f"{HoldKind.APPROVAL}: nobody has approved {gate:g} % yet"]


def _ceiling(decision: Decision, share: float) -> list[str]:
    failed = beyond_ceiling(decision.state, share)
    return [f"{HoldKind.STEPPED_BACK}: {failed}"] if failed else []


def _failing(decision: Decision) -> list[str]:
    said = any(hold.kind is HoldKind.FAILING for hold in decision.holds)
    failing = decision.assessment.verdict is Verdict.FAIL and not said
    return [f"{Verdict.FAIL}: {decision.assessment.reason}"] if failing else []


def _undecidable(decision: Decision, evidence: Evidence) -> str:
    """Return why there is nothing to decide about what is live: not known, not drifted, or not to be believed."""
    if evidence.views is None or evidence.provider_problem:
        return evidence.provider_problem or "the provider has not answered yet"
    views = evidence.views
    if refusals := [view.refusal for view in views.values() if view.refusal]:
        return "; ".join(refusals)
    if not _is_drifted(decision, views):
        return "nothing has drifted"
    if not decision.state.weights and any(view.is_reversed for view in views.values()):
        return "; ".join(hold.reason for hold in decision.holds if hold.kind is HoldKind.PREFLIGHT)
    return ""


def _is_drifted(decision: Decision, views: Mapping[str, RouteView]) -> bool:
    state = decision.state
    if state.weights:
        return not matches(state.weights, views)
    return any(view.share is None or view.share > 0 for view in views.values())
