"""The text of `shifter describe`: the sentence first, then everything it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from shifter.cli.output import ago, clean, local, number, plain_table, span
from shifter.cli.views import View, step, waits_for
from shifter.core.orders import Order, words_of
from shifter.core.records import Record
from shifter.core.splits import FULL_PERCENT, shown
from shifter.core.state import FindingReport, Report

_LABEL_WIDTH: Final = 12


def describe_text(view: View, orders: Sequence[Order], records: Sequence[Record], now: datetime) -> Iterator[str]:
    """Yield the lines that explain a shift; `orders` are its open ones, `records` its newest, oldest first."""
    report = view.report
    yield clean(f"{report.name}: {report.reason}")
    yield ""
    yield _labelled("phase", f"{report.phase}, step {step(view)}, attempt {report.attempt}, {_since(report, now)}")
    yield _labelled("steps", " ".join(_marked(each, report.wanted) for each in report.steps))
    yield _labelled("namespaces", ", ".join(report.namespaces))
    yield _labelled("mode", _mode(report.mode))
    yield _labelled("looked at", ago(report.at, now) if view.reported else "not yet")
    yield from _shares(view)
    yield from _evidence(report)
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


def _evidence(report: Report) -> Iterator[str]:
    yield ""
    yield f"evidence: {clean(report.verdict)}"
    source = _counted(report.source_requests, report.source_bad)
    target = _counted(report.target_requests, report.target_bad)
    yield f"  requests since the share changed: tcm {source}, istio {target}"
    if report.soak_seconds:
        done, whole = (span(timedelta(seconds=each)) for each in (report.soaked_seconds, report.soak_seconds))
        yield f"  soaked {done} of {whole}"
    if report.wanted >= FULL_PERCENT:
        yield "  at istio 100 there is no baseline: only fixed limits judge"
    rows = [
        [
            clean(finding.metric),
            *(_measured(value, finding) for value in (finding.source, finding.target, finding.limit)),
            clean(finding.verdict),
            clean(finding.text),
        ]
        for finding in report.findings
    ]
    if rows:
        yield from (f"  {line}" for line in plain_table(["METRIC", "TCM", "ISTIO", "LIMIT", "VERDICT", "WHY"], rows))


def _counted(requests: float, bad: float) -> str:
    return f"{requests:.0f} ({bad:.0f} bad)"


def _measured(value: float | None, finding: FindingReport) -> str:
    return "?" if value is None else clean(f"{number(value)} {finding.unit}")


def _order(order: Order, now: datetime) -> str:
    return f"{order.id} {words_of(order.request)} by {order.request.by}, {ago(order.at, now)}"


def _record(record: Record) -> str:
    new = record.record
    return f"{local(new.at)} {new.by} {new.what}: {new.reason}"
