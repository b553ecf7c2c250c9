"""What the store knows of shifts, as the commands show it: one `View` per shift, and the stable documents.

The documents are written out key by key on purpose. They are an API: renaming a field of `Report` must not
rename a key that somebody's script reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from shifter.cli.exits import CommandError, Exit, say
from shifter.cli.output import clean, span, stamp
from shifter.cli.session import typed
from shifter.core.analysis.standing import Standing
from shifter.core.analysis.verdicts import Verdict
from shifter.core.balancing.splits import FULL_PERCENT, shown
from shifter.core.deciding.decision import Kind
from shifter.core.deciding.holds import RULES, HoldKind
from shifter.core.deciding.orders import Order
from shifter.core.phases import Phase
from shifter.core.records import Record
from shifter.core.state import Ceiling, FindingReport, HoldReport, Pause, Report, ShiftState
from shifter.core.text import did_you_mean
from shifter.errors import RefusedError
from shifter.ports import Store

_RUNBOOK: Final = "see runbook 'shifter is dead'"

_RECORDED: Final = MappingProxyType({"harm": "odds", "limit": "oddsLimit"})
_RECORDED_FINDING: Final = MappingProxyType({"bound": "excessPercent"})
"""What a record has by a name of its own: the saved form changes with its version only."""


@dataclass(frozen=True, slots=True)
class View:
    """One shift. `report` is made of the state alone if the service has not looked at it yet (`reported` false).

    `trouble` is why its saved state cannot be read, and so why it holds; empty if it can.
    """

    report: Report
    state: ShiftState | None
    reported: bool
    trouble: str = ""

    @property
    def name(self) -> str:
        """The shift's name."""
        return self.report.name

    @property
    def share(self) -> float | None:
        """The share that is in force, as far as anybody knows: observed at the balancer, else wanted."""
        return self.report.written if self.reported else self.report.wanted

    def silent_for(self, now: datetime) -> timedelta | None:
        """Return how long the service has said nothing about this shift, None if not suspiciously long."""
        quiet = now - self.report.at
        return quiet if quiet.total_seconds() > self.report.silent_after_seconds else None


@dataclass(frozen=True, slots=True)
class Found:
    """The shifts that were asked for: what there is to see of them, and why of the others nothing is, by name."""

    views: Sequence[View]
    lost: Mapping[str, str]


def views(store: Store, names: Sequence[str] = ()) -> list[View]:
    """Return the shifts by those names in that order, or all of them by name.

    One of which nothing can be read is told of on stderr if all are asked for.

    Raises:
        CommandError: there is no shift by one of the names.
        RefusedError: of one of those named nothing can be read.
    """
    found = find(store, names)
    for name, reason in found.lost.items():
        if names:
            raise RefusedError(reason)
        say(f"note: {clean(name)}: {clean(reason)}")
    return list(found.views)


def find(store: Store, names: Sequence[str] = ()) -> Found:
    """Return what can be read of the shifts by those names, in that order, or of all of them by name.

    Raises:
        CommandError: there is no shift by one of the names.
    """
    states, reports = store.load(), store.reports()
    known = sorted({*states, *reports})
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or (
                f"there are: {', '.join(known)}" if known else "there are no shifts yet"
            )
            raise CommandError(Exit.NOT_FOUND, f"no shift {clean(name)!r}", clean(hint))
    seen, lost = [], {}
    for name in names or known:
        saved, report, trouble = states.readable.get(name), reports.readable.get(name), states.unreadable.get(name, "")
        if report is not None:
            seen.append(View(_held(report, trouble), saved.state if saved else None, reported=True, trouble=trouble))
        elif saved is not None:
            seen.append(View(_unreported(saved.state, reports.unreadable.get(name, "")), saved.state, reported=False))
        else:
            lost[name] = trouble or reports.unreadable[name]
    return Found(seen, lost)


def _held(report: Report, trouble: str) -> Report:
    """Return the report with the hold that an unreadable state is, and says why; no service may have told it yet."""
    if not trouble or any(hold.kind == HoldKind.UNREADABLE for hold in report.holds):
        return report
    hold = HoldReport(kind=HoldKind.UNREADABLE, reason=trouble)
    said = f"{HoldKind.UNREADABLE}: {trouble}; what was told last: {report.reason}"
    return report.model_copy(update={"holds": (*report.holds, hold), "page": True, "reason": said})


def silence(found: Sequence[View], now: datetime, *, served: bool) -> str:
    """Return what is wrong with the service and what follows from it; empty if it runs and looks.

    Args:
        found: the shifts that are looked at or ordered.
        now: the current time.
        served: whether a process holds the store's lock. One that does and is silent hangs.
    """
    if not served:
        return f"no service runs on this store: nothing is carried out until one is started; {_RUNBOOK}"
    if not found or not all(view.silent_for(now) for view in found):
        return ""
    looked = [view.report.at for view in found if view.reported]
    since = f"last looked {span(now - max(looked))} ago" if looked else "has not looked yet"
    return (
        f"the service {since}: it hangs, or cannot write this store (is the disk full?); nothing is carried out"
        f" until that is mended, but what fails may still go back; {_RUNBOOK}"
    )


def warn_of_silence(found: Sequence[View], now: datetime, *, served: bool) -> None:
    """Say on stderr if no service runs, or one that hangs."""
    if said := silence(found, now, served=served):
        say(f"note: {said}")


def _unreported(state: ShiftState, trouble: str = "") -> Report:
    spec = state.policy.spec
    return Report(
        name=state.name,
        at=state.since,
        mode="",
        namespaces=state.policy.namespaces,
        phase=state.phase,
        since=state.since,
        step=state.step,
        steps=spec.ladder,
        wanted=state.wanted,
        written=None,
        observed=None,
        attempt=state.attempt,
        decision=Kind.HOLD,
        reason=trouble or "the service has not looked at it yet",
        verdict=Verdict.NO_SIGNAL,
    )


def split(view: View) -> str:
    """Return the split in force as `tcm 75 · istio 25`."""
    return shown(view.share)


def step(view: View) -> str:
    """Return the step as `3/7`."""
    return f"{view.report.step}/{len(view.report.steps)}"


def holds(view: View) -> str:
    """Return the kinds of holds in force, `-` for none."""
    return ", ".join(hold.kind for hold in view.report.holds) or "-"


def waits_for(view: View, orders: Sequence[Order]) -> list[str]:
    """Return what has to happen before the shift moves on, a sentence each; never empty."""
    report, state = view.report, view.state
    found = [f"the service to answer order {order.id} ({order.request.verb})" for order in orders]
    if report.phase is Phase.COMPLETED:
        found += [f"a person: {hold.kind}: {hold.reason}" for hold in report.holds]
        return found or ["nothing: it is completed, and still observed"]
    if report.phase is Phase.ROLLED_BACK:
        return [*found, _a_person(report.name, state)]
    if state is not None and state.intent is not None:
        found.append(f"the provider to show {shown(state.intent.to_share)}: {state.intent.reason}")
    if report.phase is Phase.ROLLING_BACK:
        found += [f"{hold.kind} to end: {hold.reason}" for hold in report.holds if _hinders_going_back(hold)]
        return found or [f"the provider to show {shown(0.0)}"]
    found += [f"{hold.kind} to end: {hold.reason}" for hold in report.holds]
    left = report.soak_seconds - report.soaked_seconds
    if report.phase is Phase.SHIFTING and left > 0:
        whole = span(timedelta(seconds=report.soak_seconds))
        found.append(f"the soak: {span(timedelta(seconds=left))} more of {whole}")
    if report.verdict != Verdict.PASS:
        found.append(f"a verdict of {Verdict.PASS}; it is: {report.verdict}")
    return found or ["the next tick"]


def _hinders_going_back(hold: HoldReport) -> bool:
    """A rollback passes every hold, but nobody can write what the cloud does not show, or send traffic to nobody."""
    # A report that a later version left may name a kind that this one does not know.
    return hold.kind in set(HoldKind) and RULES[HoldKind(hold.kind)].hinders_going_back


def _a_person(name: str, state: ShiftState | None) -> str:
    starts_over = f"a person: `{typed(f'retry {name}')}` starts over"
    if state is None or state.paused is None:
        return starts_over
    return f"{starts_over}, and `{typed(f'resume {name}')}`: still paused by {state.paused.by}"


def shift_document(view: View) -> dict[str, object]:
    """Return a shift as the stable API shows it. Shares are percent of the traffic for the target mesh."""
    report, state = view.report, view.state
    paused = None if state is None else state.paused
    return {
        "name": report.name,
        "mode": report.mode or None,
        "namespaces": list(report.namespaces),
        "phase": str(report.phase),
        "since": stamp(report.since),
        "reportedAt": stamp(report.at) if view.reported else None,
        "decision": report.decision,
        "reason": report.reason,
        "share": {"wanted": report.wanted, "written": report.written, "observed": report.observed},
        "step": report.step,
        "steps": list(report.steps),
        "attempt": report.attempt,
        "verdict": report.verdict,
        "evidence": _evidence_document(report),
        "findings": [_finding_document(finding) for finding in report.findings],
        "learnt": None if state is None or state.standing is None else _learnt(state.standing),
        "dropped": dict(sorted(report.dropped.items())),
        "requests": _requests_document(report),
        "soak": {"doneSeconds": report.soaked_seconds, "wholeSeconds": report.soak_seconds},
        "holds": [{"kind": hold.kind, "reason": hold.reason} for hold in report.holds],
        "paused": None if paused is None else _paused_document(paused),
        "approvals": [] if state is None else _approvals(state),
        "members": dict(sorted(report.members.items())),
        "warnings": list(report.warnings),
        "failure": report.failure or None,
        "ceiling": None if state is None or state.ceiling is None else _ceiling_document(state.ceiling),
        "epoch": report.epoch,
        "sequence": report.sequence,
    }


def _evidence_document(report: Report) -> dict[str, object]:
    return {
        "said": report.said or None,
        "odds": report.harm,
        "oddsLimit": report.harm_limit,
        "proven": report.proven,
    }


def _requests_document(report: Report) -> dict[str, object]:
    return {
        "source": report.source_requests,
        "sourceBad": report.source_bad,
        "target": report.target_requests,
        "targetBad": report.target_bad,
    }


def _finding_document(finding: FindingReport) -> dict[str, object]:
    """Rates and limits are in the finding's unit; the excess is U: by how much the target may be worse (95 %)."""
    return {
        "metric": finding.metric,
        "verdict": finding.verdict,
        "guard": finding.guard,
        "source": finding.source,
        "target": finding.target,
        "limit": finding.limit,
        "unit": finding.unit,
        "text": finding.text,
        "excessPercent": finding.bound,
        "dispersion": finding.dispersion,
        "sourceCounts": _counts(finding.source_counts),
        "targetCounts": _counts(finding.target_counts),
    }


def _counts(counts: tuple[float, float] | None) -> dict[str, float] | None:
    return None if counts is None else {"requests": counts[0], "bad": counts[1]}


def _learnt(standing: Standing) -> dict[str, object]:
    """Return what was learnt of the source before the first step; rates are percent."""
    learnt = standing.history
    return {
        "ticks": learnt.ticks,
        "requests": learnt.requests,
        "requestsPerTick": learnt.per_tick,
        "edgesMs": list(learnt.edges_ms),
        "metrics": [
            {
                "metric": each.name,
                "rate": round(FULL_PERCENT * each.rate, 6),
                "requests": each.requests,
                "dispersion": each.dispersion,
                "measured": each.halves,
            }
            for each in learnt.metrics
        ],
    }


def _ceiling_document(ceiling: Ceiling) -> dict[str, object]:
    return {"share": ceiling.share, "reason": ceiling.reason, "at": stamp(ceiling.at)}


def _paused_document(paused: Pause) -> dict[str, object]:
    handed = {"handsOffUntil": stamp(paused.hands_off_until)}
    return {"by": paused.by, "reason": paused.reason, "at": stamp(paused.at), **handed}


def _approvals(state: ShiftState) -> list[dict[str, object]]:
    given = {approval.before: approval for approval in state.approved}
    return [
        {
            "before": gate,
            "by": None if gate not in given else given[gate].by,
            "at": None if gate not in given else stamp(given[gate].at),
        }
        for gate in state.policy.gates
    ]


def record_document(record: Record) -> dict[str, object]:
    """Return one record of the history as the stable API shows it."""
    new = record.record
    return {
        "id": record.id,
        "at": stamp(new.at),
        "shift": new.shift,
        "what": str(new.what),
        "by": new.by,
        "reason": new.reason,
        "sequence": new.sequence,
        "epoch": new.epoch,
        "evidence": _named(new.evidence, _RECORDED),
        "hash": record.hash or None,
    }


def _named(recorded: Mapping[str, object], names: Mapping[str, str]) -> dict[str, object]:
    """Return saved evidence in the words of the stable API; what nobody renamed is as it was saved."""
    shown = {names.get(key, key): value for key, value in recorded.items()}
    findings = shown.get("findings")
    if isinstance(findings, list):
        shown["findings"] = [
            _named(each, _RECORDED_FINDING) if isinstance(each, Mapping) else each for each in findings
        ]
    return shown


def order_document(order: Order) -> dict[str, object]:
    """Return one order as the stable API shows it."""
    request = order.request
    return {
        "id": order.id,
        "at": stamp(order.at),
        "shift": request.shift,
        "verb": str(request.verb),
        "by": request.by,
        "reason": request.reason,
        "full": request.full,
        "override": request.override,
        "share": request.share,
        "handsOffSeconds": None if request.hands_off is None else request.hands_off.total_seconds(),
        "adopt": request.adopt,
        "answer": None if order.answer is None else str(order.answer),
        "answerText": order.answer_text,
    }
