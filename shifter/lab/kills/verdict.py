"""The verdict on a drill: each moment reached and got over, each shift where it belongs, and no rule broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from shifter.lab.checker.findings import Finding
from shifter.lab.checker.seen import Seen
from shifter.lab.failpoints import Act
from shifter.lab.kills.conduct import Outcome


@dataclass(frozen=True, slots=True)
class Drill:
    """What there is to judge. `shares`: the weights' share of every namespace in the end, percent; `ended`: in time."""

    outcomes: Sequence[Outcome]
    seen: Seen
    findings: Sequence[Finding]
    ended: bool
    shares: Mapping[str, float]


def kill_report(drill: Drill, seed: int) -> dict[str, Any]:
    """Return the report as JSON values; times in it are seconds since the drill began."""
    seen = drill.seen
    violations = [
        {
            "rule": each.rule,
            "at": round(each.at - seen.began_at, 1),
            "shift": each.shift,
            "told": each.told,
        }
        for finding in drill.findings
        for each in finding.violations
    ]
    arrived = drill.ended and all(share >= 100 for share in drill.shares.values())  # noqa: PLR2004 - percent
    good = not violations and arrived and all(outcome.good for outcome in drill.outcomes)
    return {
        "apiVersion": "shifter.io/v1alpha1",
        "kind": "KillReport",
        "verdict": "ok" if good else "failed",
        "seed": seed,
        "seconds": round(seen.ended_at - seen.began_at, 1),
        "spent": _spent(drill),
        "lives": len(seen.lives),
        "moments": [_moment(outcome) for outcome in drill.outcomes],
        "ended": drill.ended,
        "shares": dict(drill.shares),
        "failedRequests": sum(second.failed for second in seen.seconds),
        "requests": sum(second.requests for second in seen.seconds),
        "rules": [
            {"rule": finding.rule, "lookedAt": finding.looked_at, "violations": len(finding.violations)}
            for finding in drill.findings
        ],
        "violations": violations,
    }


def _spent(drill: Drill) -> dict[str, float]:
    """Return where the time went, in seconds; recovering is a part of killing and freezing."""
    took = {act: sum(each.took_seconds for each in drill.outcomes if each.moment.act is act) for act in Act}
    recovering = sum(outcome.seconds or 0.0 for outcome in drill.outcomes)
    ending = 0.0 if drill.seen.calm_at is None else drill.seen.ended_at - drill.seen.calm_at
    spent = {"killing": took[Act.KILL], "freezing": took[Act.STOP], "recovering": recovering, "ending": ending}
    return {name: round(seconds, 1) for name, seconds in spent.items()}


def _moment(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.moment.name,
        "act": str(outcome.moment.act),
        "again": outcome.moment.again,
        "hit": outcome.hit,
        "tookSeconds": outcome.took_seconds,
        "recoveredAfterSeconds": outcome.seconds,
        "ends": list(outcome.ends),
    }


def closing(console: Console, report: Mapping[str, Any]) -> None:
    """Print the tables at the end."""
    moments = Table(title="moments", expand=False)
    moments.add_column("failpoint, or what was frozen", no_wrap=True)
    for name in ("act", "recovered after"):
        moments.add_column(name, no_wrap=True)
    moments.add_column("what was under way: how it ended", overflow="fold")
    for row in report["moments"]:
        seconds = row["recoveredAfterSeconds"]
        recovered = "never reached" if not row["hit"] else "never" if seconds is None else f"{seconds:g} s"
        mark = "✔" if seconds is not None else "✖"
        again = f"\n  then {row['again']}" if row["again"] else ""
        moments.add_row(f"{mark} {row['name']}{again}", row["act"], recovered, ", ".join(row["ends"]) or "-")
    rules = Table("rule", "looked at", "broken", title="rules")
    for row in report["rules"]:
        mark = "✖" if row["violations"] else "✔" if row["lookedAt"] else "·"
        rules.add_row(f"{mark} {row['rule']}", str(row["lookedAt"]), str(row["violations"] or "-"))
    for table in (moments, rules):
        console.print(table)
    lines = [f"✖ +{row['at']}s {row['shift']}: {row['rule']}: {row['told']}" for row in report["violations"]]
    reached = sum(row["hit"] for row in report["moments"])
    over = sum(row["recoveredAfterSeconds"] is not None for row in report["moments"])
    shares = ", ".join(f"{name} {share:g} %" for name, share in report["shares"].items())
    spent = report["spent"]
    lines.append(
        f"the kills took {spent['killing']:g} s and the freezes {spent['freezing']:g} s, of which to recover "
        f"{spent['recovering']:g} s; the end {spent['ending']:g} s"
    )
    lines.append(
        f"{'✔' if report['verdict'] == 'ok' else '✖'} verdict: {report['verdict']} - {reached} of "
        f"{len(report['moments'])} moments reached, {over} got over, {len(report['violations'])} violations; "
        f"{report['lives']} lives of shifter, {report['failedRequests']} of {report['requests']} requests failed; "
        f"in the end {shares}; {report['seconds']:g} s"
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
