"""Turns one turn of a shift into what people are told: the report in the store and the records in the history."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from shifter.core.analysis.replay import Trail, as_json
from shifter.core.balancing.apportion import MAX_ERROR_PERCENT
from shifter.core.balancing.splits import Health, RouteView, Side
from shifter.core.counts.evidence import Ledger
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decision import Decision
from shifter.core.deciding.holds import pages
from shifter.core.deciding.orders import Order, OrderAnswer, words_of
from shifter.core.deciding.overdue import overdue
from shifter.core.deciding.pinning import pins_of, words
from shifter.core.deciding.settling import observed_share, soaked_seconds
from shifter.core.documents.fleet import Timing
from shifter.core.phases import Phase
from shifter.core.records import SERVICE, NewRecord, What
from shifter.core.state import Direction, FindingReport, HoldReport, Intent, Report, ShiftState

_DIGITS = 4

SILENT_REPORTS = 3
"""So many reports may be missed before people are told that no service is running."""


def report(decision: Decision, evidence: Evidence, mode: str, timing: Timing, now: datetime) -> Report:
    """Return the explanation of one shift as of `now`."""
    state, views = decision.state, evidence.views
    spec = state.policy.spec
    source, source_bad, target, target_bad = evidence.ledger.requests()
    late = overdue(state, evidence, decision.holds, decision.assessment, now)
    told = Report(
        name=state.name,
        at=now,
        mode=mode,
        namespaces=state.policy.namespaces,
        phase=state.phase,
        since=state.since,
        step=state.step,
        steps=spec.ladder,
        wanted=state.wanted,
        written=_written(views),
        observed=_observed(evidence, now),
        attempt=state.attempt,
        decision=decision.kind,
        reason=f"{decision.reason}; {late}" if late else decision.reason,
        verdict=decision.assessment.verdict,
        said=decision.assessment.reason,
        holds=tuple(HoldReport(kind=hold.kind, reason=hold.reason) for hold in decision.holds),
        findings=_findings(decision),
        warnings=_warnings(decision, views),
        source_requests=_finite(source),
        source_bad=_finite(source_bad),
        target_requests=_finite(target),
        target_bad=_finite(target_bad),
        members=_members(views),
        soaked_seconds=_soaked(state, evidence.ledger, evidence.settled_at),
        soak_seconds=spec.soak.total_seconds(),
        epoch=0 if state.intent is None else state.intent.epoch,
        sequence=state.sequence,
        failure="" if state.failure is None else state.failure.reason,
        harm=_odds(decision.assessment.harm),
        harm_limit=_odds(decision.assessment.limit),
        proven=decision.assessment.proven,
        page=bool(late) or _pages(decision, evidence),
        requests_per_second=_per_second(evidence.ledger),
        settle_seconds=None if not views else max(view.settle_seconds for view in views.values()),
    )
    return told.model_copy(update=_timing(timing))


def _timing(timing: Timing) -> dict[str, float]:
    """How long what a reader may wait for takes at most, by the service's own settings."""
    return {
        "silent_after_seconds": (SILENT_REPORTS * timing.report_every).total_seconds(),
        "tick_seconds": timing.tick.total_seconds(),
        "sample_max_age_seconds": timing.sample_max_age.total_seconds(),
        "read_deadline_seconds": timing.read_deadline.total_seconds(),
        "operation_timeout_seconds": timing.operation_timeout.total_seconds(),
    }


def _pages(decision: Decision, evidence: Evidence) -> bool:
    ticks = evidence.ledger.ticks
    left = ticks[-1].source.requests if ticks else 0.0
    return pages(decision.state, decision.holds, decision.assessment, left)


def _observed(evidence: Evidence, now: datetime) -> float | None:
    """The share that the metrics show; None if nothing recent shows one."""
    ticks = evidence.ledger.ticks
    fresh = bool(ticks) and now - ticks[-1].at <= evidence.max_age
    seen = observed_share(ticks) if fresh else None
    return None if seen is None else round(seen.share, _DIGITS)


def evidence_of(decision: Decision, ledger: Ledger, trail: Trail | None) -> dict[str, object]:
    """Return what a decision rested on, as JSON values, for the history.

    With the trail and the policy's criteria the decision can be computed again from its record alone.
    """
    source, source_bad, target, target_bad = ledger.requests()
    return {
        "verdict": str(decision.assessment.verdict),
        "said": decision.assessment.reason,
        "findings": [finding.model_dump(mode="json") for finding in _findings(decision)],
        "requests": {"tcm": _finite(source), "istio": _finite(target)},
        "bad": {"tcm": _finite(source_bad), "istio": _finite(target_bad)},
        "harm": _odds(decision.assessment.harm),
        "limit": _odds(decision.assessment.limit),
        # Where nothing was judged there is nothing to compute again.
        **({} if trail is None or decision.assessment.harm is None else {"replay": _replay(decision.state, trail)}),
    }


def _replay(state: ShiftState, trail: Trail) -> dict[str, object]:
    spec = state.policy.spec
    return {
        "analysis": spec.analysis.model_dump(mode="json", by_alias=True),
        # Not the state's: a step back ends the attempt that it follows from.
        "attempt": trail.base.attempt,
        "trail": as_json(trail),
    }


def _odds(value: float | None) -> float | None:
    """Return odds in six digits that count: more is noise, and infinity is no number in JSON."""
    return None if value is None else float(f"{min(value, 1e300):.6g}")


def records_of_orders(decision: Decision, orders: Mapping[int, Order]) -> list[NewRecord]:
    """Return one record per order the decision answered, in the name of who gave it."""
    return [record_of_order(decision.state.name, orders[answer.order_id], answer) for answer in decision.answers]


def record_of_order(shift: str, order: Order, answer: OrderAnswer) -> NewRecord:
    """Return the record of one order that was answered. `shift` is whose history it belongs to."""
    told = {"order": order.id, "answer": str(answer.answer), "givenAt": order.at.isoformat()}
    said = f"{words_of(order.request)}: {answer.answer}: {answer.text}"
    return NewRecord(answer.at, shift, What.ORDER, order.request.by, said, evidence=told)


def records_of_change(
    before: ShiftState, decision: Decision, now: datetime, evidence: Callable[[], Mapping[str, object]]
) -> list[NewRecord]:
    """Return records of a phase, a ceiling or holds that changed; `evidence` tells what the decision rested on."""
    state, found = decision.state, []
    if before.phase is not state.phase:
        phase = record_of_phase(before.phase, state, decision.reason, now)
        found.append(replace(phase, evidence={**phase.evidence, **evidence()}))
    if before.ceiling != state.ceiling:
        found.append(_record_of_ceiling(before, state, now, evidence()))
    found += _records_of_pins(before, state, now)
    if before.holds != state.holds:
        said = "; ".join(f"{hold.kind}: {hold.reason}" for hold in decision.holds) or "no hold any more"
        found.append(NewRecord(now, state.name, What.HOLDS, SERVICE, said))
    return found


def _records_of_pins(before: ShiftState, state: ShiftState, now: datetime) -> list[NewRecord]:
    earlier, pins = pins_of(before), pins_of(state)
    found = []
    for name in sorted({*earlier, *pins}):
        pin = pins.get(name)
        if pin != earlier.get(name):
            told = {"workload": name, **({} if pin is None else pin.model_dump(mode="json"))}
            found.append(NewRecord(now, state.name, What.PIN, SERVICE, words(name, pin), evidence=told))
    return found


def _record_of_ceiling(
    before: ShiftState, state: ShiftState, now: datetime, evidence: Mapping[str, object]
) -> NewRecord:
    if state.ceiling is None:
        share = 0.0 if before.ceiling is None else before.ceiling.share
        return NewRecord(now, state.name, What.CEILING, SERVICE, f"it may reach {share:g} % again", evidence=evidence)
    at = f"{state.ceiling.share:g} %"
    stays = f"it stays below {at} as a probe" if state.ceiling.probe else f"it failed at {at} and stays below"
    said = f"{stays}: {state.ceiling.reason}"
    return NewRecord(now, state.name, What.CEILING, SERVICE, said, evidence={"share": state.ceiling.share, **evidence})


def record_of_adoption(state: ShiftState, reason: str, by: str, now: datetime) -> NewRecord:
    """Return the record of a live split that a person had taken over as the verified one."""
    taken = {"share": state.share, "weights": {route: dict(weights) for route, weights in state.weights.items()}}
    return NewRecord(now, state.name, What.ADOPTED, by, reason, evidence=taken)


def record_of_phase(before: Phase, state: ShiftState, reason: str, now: datetime) -> NewRecord:
    """Return the record of a phase that changed."""
    moved = {"from": str(before), "to": str(state.phase)}
    return NewRecord(now, state.name, What.PHASE, SERVICE, f"{before} → {state.phase}: {reason}", evidence=moved)


def record_of_intent(
    shift: str, what: What, intent: Intent, reason: str, now: datetime, evidence: Mapping[str, object] | None = None
) -> NewRecord:
    """Return the journal record of an intent that began, was done or failed."""
    shares = {"from": intent.from_share, "to": intent.to_share, "direction": str(intent.direction)}
    return NewRecord(now, shift, what, intent.by, reason, intent.sequence, intent.epoch, {**shares, **(evidence or {})})


def way_back_of(state: ShiftState, intent: Intent) -> dict[str, object]:
    """Return what the source had before the first step, for the record of that step; nothing for any other write."""
    if intent.direction is not Direction.CLIMB or intent.from_share > 0 or state.way_back is None:
        return {}
    return {"wayBack": dict(state.way_back.had)}


def _warnings(decision: Decision, views: Mapping[str, RouteView] | None) -> tuple[str, ...]:
    """What a person should know besides: what the routes show, and that nobody goes back by themselves."""
    state = decision.state
    told = [warning for view in (views or {}).values() for warning in view.warnings]
    if state.overridden or (state.intent is not None and state.intent.override):
        told.insert(0, "promoted with --override: shifter does not roll back by itself until a retry")
    if state.share > 0 and state.phase is Phase.SHIFTING and state.way_back is None:
        told.append(
            "what tcm had before the first step is not known: whether it could take everything back is not, too"
        )
    if state.intent is None and decision.holds and state.phase in {Phase.SHIFTING, Phase.COMPLETED}:
        told += [
            _sunk(route, view.share, state.share) for route, view in (views or {}).items() if _is_sunk(view, state)
        ]
    return tuple(told)


def _is_sunk(view: RouteView, state: ShiftState) -> bool:
    return view.share is not None and view.share < state.share - MAX_ERROR_PERCENT


def _sunk(route: str, share: float | None, verified: float) -> str:
    """Members came, went or recovered; weights that raise the share again wait as a climb does."""
    return f"{route} is at {share:.3g} % while {verified:g} % is verified: it is raised again once nothing holds"


def _soaked(state: ShiftState, ledger: Ledger, settled_at: datetime | None) -> float:
    """Nothing has soaked while a write is under way: what was gathered is the share's before it."""
    if state.intent is not None or settled_at is None:
        return 0.0
    return round(soaked_seconds(ledger, settled_at), 1)


def _per_second(ledger: Ledger) -> float | None:
    """The rate of both sides' requests at this share; right after a change of the share, the one before it."""
    seconds = sum(tick.span_seconds for tick in ledger.ticks)
    requests = sum(tick.source.requests + tick.target.requests for tick in ledger.ticks)
    return _rounded(requests / seconds if seconds > 0 else ledger.usual_per_second)


def _written(views: Mapping[str, RouteView] | None) -> float | None:
    """The live share of the routes; of several that differ, the highest, since that is the exposure."""
    shares = [view.share for view in (views or {}).values() if view.share is not None]
    return round(max(shares), _DIGITS) if shares else None


def _members(views: Mapping[str, RouteView] | None) -> dict[str, str]:
    told = {}
    for route, view in (views or {}).items():
        sides = []
        for side, name in ((Side.SOURCE, "tcm"), (Side.TARGET, "istio")):
            members = [member for member in view.members if member.side is side]
            healthy = sum(member.health is not Health.DEAD for member in members)
            weights = ",".join(str(member.weight) for member in members)
            sides.append(f"{name} {healthy}/{len(members)} healthy, weights {weights or 'none'}")
        told[route] = "; ".join(sides)
    return told


def _findings(decision: Decision) -> tuple[FindingReport, ...]:
    return tuple(
        FindingReport(
            metric=finding.metric,
            verdict=finding.verdict,
            source=_rounded(finding.source),
            target=_rounded(finding.target),
            limit=_rounded(finding.limit),
            unit=finding.unit,
            text=finding.text,
            bound=_rounded(finding.bound),
            dispersion=_rounded(finding.dispersion),
            source_counts=finding.source_counts,
            target_counts=finding.target_counts,
            guard=finding.guard,
        )
        for finding in decision.assessment.findings
    )


def _rounded(value: float | None) -> float | None:
    # JSON has no infinity: a quantile beyond the last bucket is told in the finding's text.
    return None if value is None or not math.isfinite(value) else round(value, _DIGITS)


def _finite(value: float) -> float:
    """No number from outside may keep a record or a report from being saved."""
    return value if math.isfinite(value) else 0.0
