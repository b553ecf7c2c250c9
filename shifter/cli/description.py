"""The text of `shifter describe`: the sentence first, then everything it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from shifter.cli.output import ago, clean, local, number, plain_table, span
from shifter.cli.session import typed
from shifter.cli.views import View, step, waits_for
from shifter.core.analysis.assess import excess_said
from shifter.core.analysis.learning import MetricHistory
from shifter.core.analysis.verdicts import odds, percent
from shifter.core.balancing.splits import FULL_PERCENT, shown
from shifter.core.deciding.capacity import lines
from shifter.core.deciding.orders import Order, words_of
from shifter.core.records import Record
from shifter.core.state import FindingReport, Report

_LABEL_WIDTH: Final = 12
_METRIC_HEADERS: Final = ("METRIC", "TCM", "ISTIO", "TCM BAD", "ISTIO BAD", "EXCESS (95 %)")
_MANY: Final = 100_000
_MILLION: Final = 999_500
_ONE_BY_ONE: Final = 1.05
"""Below this dispersion failures come one by one, as far as anybody can tell."""


def describe_text(view: View, orders: Sequence[Order], records: Sequence[Record], now: datetime) -> Iterator[str]:
    """Yield the lines that explain a shift; `orders` are its open ones, `records` its newest, oldest first."""
    report = view.report
    yield clean(f"{report.name}: {report.reason}")
    yield ""
    yield _labelled("phase", f"{report.phase}, step {step(view)}, attempt {report.attempt}, {_since(report, now)}")
    yield _labelled("steps", " ".join(_marked(each, report.wanted) for each in report.steps))
    yield from _ceiling(view)
    yield _labelled("namespaces", ", ".join(report.namespaces))
    yield _labelled("mode", _mode(report.mode))
    yield _labelled("looked at", ago(report.at, now) if view.reported else "not yet")
    yield from _shares(view)
    yield from _evidence(view)
    yield from _section("learnt of tcm before the first step", _learnt(view))
    if view.state is not None and view.state.way_back is not None:
        yield from _section("tcm when it carried everything, and what is left", lines(view.state.way_back))
    yield from _section("not counted", (f"{pod}: {why}" for pod, why in sorted(report.dropped.items())))
    yield from _section("holds", (f"{hold.kind}: {hold.reason}" for hold in report.holds))
    yield from _section("waits for", waits_for(view, orders))
    yield from _section("members", (f"{route}: {said}" for route, said in sorted(report.members.items())))
    yield from _section("warnings", report.warnings)
    yield from _section("failure", [report.failure] if report.failure else [])
    yield from _section("open orders", (_order(order, now) for order in orders))
    yield from _section("history", (_record(record) for record in records))


def _labelled(label: str, text: str) -> str:
    return f"{label:<{_LABEL_WIDTH}}{clean(text)}"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    for index, line in enumerate(lines):
        if index == 0:
            yield ""
            yield title
        yield f"  {clean(line)}"


def _since(report: Report, now: datetime) -> str:
    return f"since {ago(report.since, now)}"


def _marked(step: float, wanted: float) -> str:
    return f"[{step:g}]" if step == wanted else f"{step:g}"


def _mode(mode: str) -> str:
    return "observe: decides and explains, writes nothing" if mode == "observe" else mode or "?"


def _shares(view: View) -> Iterator[str]:
    report = view.report
    yield ""
    yield "share"
    for label, share, what in (
        ("wanted", report.wanted, "what shifter works towards"),
        ("written", report.written, "what the balancer's weights amount to"),
        ("observed", report.observed, "what the metrics show"),
    ):
        yield f"  {label:<{_LABEL_WIDTH - 2}}{shown(share):<26}{what}"


def _evidence(view: View) -> Iterator[str]:
    report = view.report
    yield ""
    # What is said is the first line of all, unless something holds the shift besides.
    also = f": {report.said}" if report.said and report.said not in report.reason else ""
    yield f"evidence: {clean(report.verdict + also)}"
    if report.harm is not None and report.harm_limit is not None:
        limit = f"limit {odds(report.harm_limit)}{_attempt(report.attempt)}"
        yield f"  evidence against istio {odds(report.harm)} (odds), {limit}"
    if report.proven:
        yield "  proven on every metric: istio is no worse than tcm"
    source = _counted(report.source_requests, report.source_bad)
    target = _counted(report.target_requests, report.target_bad)
    yield f"  requests in all ticks since the share changed: tcm {source}, istio {target}"
    if report.soak_seconds:
        done, whole = (span(timedelta(seconds=each)) for each in (report.soaked_seconds, report.soak_seconds))
        yield f"  soaked {done} of {whole}"
    if report.wanted >= FULL_PERCENT:
        yield "  at istio 100 there is no tcm to compare with: only what its history promised judges"
    yield from (f"  {clean(f'{each.metric}: {each.text}')}" for each in report.findings if each.guard)
    rows = [_row(finding) for finding in report.findings if not finding.guard]
    if rows:
        yield "  compared, in ticks wholly at this share:"
        yield from (f"  {line}" for line in plain_table(_METRIC_HEADERS, rows))


def _attempt(attempt: int) -> str:
    return f" (attempt {attempt}: twice that of the one before)" if attempt > 1 else ""


def _row(finding: FindingReport) -> list[str]:
    """Return one metric in cells that fit 80 columns: part of bad requests, how many of how many, what is known."""
    return [
        clean(finding.metric),
        *("?" if value is None else percent(value, FULL_PERCENT) for value in (finding.source, finding.target)),
        *(_of(counts) for counts in (finding.source_counts, finding.target_counts)),
        _excess(finding),
    ]


def _of(counts: tuple[float, float] | None) -> str:
    return "?" if counts is None else f"{_short(counts[1])}/{_short(counts[0])}"


def _short(count: float) -> str:
    """Return a number of requests in at most five characters: `12345`, `123k`, `12.4m`."""
    if round(count) < _MANY:
        return f"{count:.0f}"
    size, unit = (1e6, "m") if count >= _MILLION else (1e3, "k")
    return f"{number(float(f'{count / size:.3g}'))}{unit}"


def _excess(finding: FindingReport) -> str:
    """Return U: by how much the target may be worse, with 95 % confidence, and the policy's own limit."""
    limit = "" if finding.limit is None else f", max {percent(finding.limit, FULL_PERCENT)}"
    return excess_said(1.0 if finding.bound is None else finding.bound / FULL_PERCENT) + limit


def _learnt(view: View) -> Iterator[str]:
    """Yield what the source was like before the first step: what the target is held against when it is gone."""
    if view.state is None or view.state.standing is None or view.state.standing.history.ticks == 0:
        return
    learnt = view.state.standing.history
    edges = " and ".join(f"{edge:g}" for edge in learnt.edges_ms)
    latency = f", latency at {edges} ms" if edges else ""
    yield f"{learnt.ticks} ticks, {learnt.requests:.0f} requests ({learnt.per_tick:.3g} a tick){latency}"
    for each in learnt.metrics:
        yield f"{each.name} {percent(each.rate, 1)}{_clusters(each)}"


def _clusters(learnt: MetricHistory) -> str:
    if learnt.dispersion <= _ONE_BY_ONE:
        return ""
    how = "" if learnt.halves else " (the fleet's onePodDispersion: no two pods to compare)"
    return f", in clusters of about {learnt.dispersion:.2g}{how}"


def _ceiling(view: View) -> Iterator[str]:
    if view.state is None or view.state.ceiling is None:
        return
    ceiling = view.state.ceiling
    retry = f"`{typed(f'retry {view.name}')}` lets it go there again"
    yield _labelled("ceiling", f"below {ceiling.share:g} %, where it failed: {ceiling.reason}; {retry}")


def _counted(requests: float, bad: float) -> str:
    return f"{requests:.0f} ({bad:.0f} bad)"


def _order(order: Order, now: datetime) -> str:
    return f"{order.id} {words_of(order.request)} by {order.request.by}, {ago(order.at, now)}"


def _record(record: Record) -> str:
    new = record.record
    return f"{local(new.at)} {new.by} {new.what}: {new.reason}"
