"""The verdict on a soak: all rules over all that was seen, as JSON values and as a table.

`"verdict": "ok"` only if no rule is broken. A rule that had nothing to look at is told as such: it proved nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.seen import Incident, Seen
from shifter.lab.checker.users import sufferings


def soak_report(seen: Seen, findings: list[Finding], seed: int, minutes: float) -> dict[str, Any]:
    """Return the report as JSON values; times in it are seconds since the soak began."""
    violations = [violation for finding in findings for violation in finding.violations]
    return {
        "apiVersion": "shifter.io/v1alpha1",
        "kind": "SoakReport",
        "verdict": "failed" if violations else "ok",
        "seed": seed,
        "minutes": minutes,
        "replay": f"shifter lab soak --seed {seed} --minutes {minutes:g}",
        "began": datetime.fromtimestamp(seen.began_at, UTC).isoformat(),
        "seconds": round(seen.ended_at - seen.began_at, 1),
        "counts": _counts(seen),
        "rules": [
            {"rule": finding.rule, "lookedAt": finding.looked_at, "violations": len(finding.violations)}
            for finding in findings
        ],
        "violations": [_violation(seen, violation) for violation in violations],
        "incidents": [_incident(seen, incident) for incident in seen.incidents],
        "users": _users(seen),
        "suffered": [
            {
                **_incident(seen, suffered.incident),
                "failedRequests": suffered.failed,
                "secondsUntilNobodyWasSentThere": suffered.seconds_to_safety,
            }
            for suffered in sufferings(seen)
        ],
    }


def _counts(seen: Seen) -> dict[str, Any]:
    intents = [entry for entry in seen.entries if entry.what == "intent"]
    return {
        "incidents": dict(Counter(incident.kind for incident in seen.incidents)),
        "severalAtOnce": _at_once(seen),
        "records": len(seen.entries),
        "intents": dict(Counter(str(entry.evidence.get("direction")) for entry in intents)),
        "ends": dict(Counter(entry.what for entry in seen.entries if entry.what in {"done", "failed"})),
        "phases": dict(Counter(str(entry.evidence.get("to")) for entry in seen.entries if entry.what == "phase")),
        "orders": dict(Counter(f"{row.verb} {row.answer or 'unanswered'}" for row in seen.orders)),
        "ordersNotRecorded": sum(not given.order_id for given in seen.given),
        "writesInTheCloud": dict(
            Counter(change.outcome if change.request_id else change.action for change in seen.changes)
        ),
        "lives": len(seen.lives),
        "kills": sum(life.killed for life in seen.lives),
    }


def _at_once(seen: Seen) -> int:
    """How many incidents were in force at the same time, at most."""
    return max(
        (sum(each.began_at <= other.began_at < each.ended_at for each in seen.incidents) for other in seen.incidents),
        default=0,
    )


def _users(seen: Seen) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for namespace in seen.namespaces:
        seconds = [second for second in seen.seconds if second.namespace == namespace]
        meshes: Counter[str] = Counter()
        for second in seconds:
            meshes.update(second.by_mesh)
        found[namespace] = {
            "requests": sum(second.requests for second in seconds),
            "failed": sum(second.failed for second in seconds),
            "secondsWithFailures": sum(bool(second.failed) for second in seconds),
            "byMesh": dict(meshes),
        }
    return found


def _incident(seen: Seen, incident: Incident) -> dict[str, Any]:
    return {
        "number": incident.number,
        "kind": incident.kind,
        "at": round(incident.began_at - seen.began_at, 1),
        "seconds": round(incident.ended_at - incident.began_at, 1),
        "namespaces": sorted(incident.namespaces),
        "meshes": sorted(incident.meshes),
        "told": incident.told,
    }


def _violation(seen: Seen, violation: Violation) -> dict[str, Any]:
    at = round(violation.at - seen.began_at, 1)
    going = [f"!{each.number} {each.kind}" for each in seen.incidents if each.covers(violation.at - 1, violation.at)]
    return {"rule": violation.rule, "at": at, "shift": violation.shift, "told": violation.told, "during": going}


def closing(console: Console, report: Mapping[str, Any]) -> None:
    """Print the tables at the end."""
    rules = Table("rule", "looked at", "broken", title="rules")
    for row in report["rules"]:
        mark = "✖" if row["violations"] else "✔" if row["lookedAt"] else "·"
        rules.add_row(f"{mark} {row['rule']}", str(row["lookedAt"]), str(row["violations"] or "-"))
    users = Table("namespace", "requests", "failed", "seconds with failures", "by mesh", title="users")
    for name, row in report["users"].items():
        meshes = " · ".join(f"{mesh} {count}" for mesh, count in row["byMesh"].items())
        users.add_row(name, str(row["requests"]), str(row["failed"]), str(row["secondsWithFailures"]), meshes)
    suffered = Table("fault", "at", "whom", "what", "failed", "until nobody was sent there", title="what users felt")
    for row in report["suffered"]:
        if not row["failedRequests"]:
            continue
        safe = row["secondsUntilNobodyWasSentThere"]
        whom = ", ".join(row["namespaces"])
        suffered.add_row(f"!{row['number']}", f"{row['at']} s", whom, row["told"], str(row["failedRequests"]),
                         "-" if safe is None else f"{safe} s")  # fmt: skip
    for table in (suffered, users, rules):
        console.print(table)
    for row in report["violations"]:
        during = f" [during {', '.join(row['during'])}]" if row["during"] else ""
        said = f"✖ +{row['at']}s {row['shift']}: {row['rule']}: {row['told']}{during}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    _verdict(console, report)


def _verdict(console: Console, report: Mapping[str, Any]) -> None:
    counts = report["counts"]
    failed = sum(row["failed"] for row in report["users"].values())
    requests = sum(row["requests"] for row in report["users"].values())
    console.print(
        f"{'✔' if report['verdict'] == 'ok' else '✖'} verdict: {report['verdict']} - {len(report['violations'])} "
        f"violations; {sum(counts['incidents'].values())} incidents, up to {counts['severalAtOnce']} at once, "
        f"{counts['intents'].get('climb', 0)} climbs, {sum(counts['orders'].values())} orders, {counts['lives']} lives "
        f"of shifter, {failed} of {requests} requests failed; {report['replay']}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
