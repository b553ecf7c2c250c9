"""Whether a story ended as told: `lab-report.json`, its figures and its checks.

The figures come from what users saw (the load generator's own count), from the store's history and from the
cloud's log of writes; each is held against the others. `"verdict": "ok"` only if every check holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from shifter.core.phases import Phase
from shifter.core.records import Record, What
from shifter.core.state import Report
from shifter.lab.counted import UNKNOWN
from shifter.lab.emulator import WriteRecord
from shifter.lab.load_report import NO_MESH, LoadReport, NamespaceLoad
from shifter.lab.story import Ending, Scenario
from shifter.lab.topology import TARGET_MESH

_CHANCE_DEVIATIONS: Final = 4.0
_SPLIT_ALLOWANCE_PERCENT: Final = 1.0
_COUNT_ALLOWANCE: Final = 0.005
_COUNT_ALLOWANCE_REQUESTS: Final = 3
_LEAST_REQUESTS: Final = 50
"""A step that lasted for fewer requests says too little about its split to be judged."""

MeshCounts = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Material:
    """Everything the verdict is made of.

    Args:
        scenario: what was to happen.
        beats: Unix time of every beat that came, by name.
        finished: whether every plot went to its end in time.
        trouble: what broke the story off; empty if nothing did.
        history: all records of the store.
        reports: the last one of each shift.
        users: what the load generator counted.
        counted: requests as each mesh's Prometheus has them, by mesh and namespace (`counted`).
        writes: the cloud's own log.
        faults_left: how many injected faults never found a call to strike.
        seconds: how long the run took.
        seed: of everything it drew.
    """

    scenario: Scenario
    beats: Mapping[str, float]
    finished: bool
    trouble: str
    history: Sequence[Record]
    reports: Mapping[str, Report]
    users: LoadReport
    counted: MeshCounts
    writes: Sequence[WriteRecord]
    faults_left: int
    seconds: float
    seed: int


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be true of the story, whether it is, and the numbers."""

    name: str
    ok: bool
    told: str


def lab_report(material: Material) -> dict[str, Any]:
    """Return the report as JSON values."""
    shifts = {name: _shift(material, name) for name in material.scenario.endings}
    checks = [
        *_story(material),
        *(check for name, ending in material.scenario.endings.items() for check in _ending(material, name, ending)),
        *(check for name, ending in material.scenario.endings.items() for check in _told(material, name, ending)),
        *(check for name, shift in shifts.items() for check in _splits(name, shift["steps"])),
        *_no_step_left_out(material, shifts),
        *_counts(material),
        *_nobody_left_alone(material),
        *_nothing_raised(material),
    ]
    return {
        "apiVersion": "shifter.io/v1alpha1",
        "kind": "LabReport",
        "scenario": material.scenario.name,
        "verdict": "ok" if all(check.ok for check in checks) else "failed",
        "seconds": round(material.seconds, 1),
        "seed": material.seed,
        "shifts": shifts,
        "beats": {name: round(at - material.users.started_at, 1) for name, at in material.beats.items()},
        "checks": [{"name": check.name, "ok": check.ok, "told": check.told} for check in checks],
    }


def _records(material: Material, shift: str, what: What) -> list[Record]:
    return [each for each in material.history if each.record.shift == shift and each.record.what is what]


def _shift(material: Material, name: str) -> dict[str, Any]:
    load = material.users.namespaces[name]
    report = material.reports.get(name)
    return {
        "phase": None if report is None else str(report.phase),
        "finalShare": None if report is None else report.written,
        "rollbacks": _rollbacks(material, name, load),
        "steps": _steps(material, name, load),
        "users": {
            "requests": load.total,
            "failed": load.failed,
            "failedByCause": dict(load.failed_by_cause),
            "byMesh": dict(load.by_mesh),
            "p99Ms": round(load.latency.p99_seconds * 1000, 1),
        },
    }


def _rollbacks(material: Material, name: str, load: NamespaceLoad) -> list[dict[str, Any]]:
    """One row per rollback; the fault's own instant is known to the story, the last bad request to the users."""
    fault_at = material.beats.get(material.scenario.faults.get(name, ""))
    return [
        {
            "at": each.record.at.isoformat(),
            "reason": each.record.reason,
            "secondsFromFaultToDecision": _span(fault_at, each.record.at.timestamp()) if load.failed else None,
            "secondsFromFaultToLastBadRequest": _span(fault_at, load.last_failed_at) if load.failed else None,
            "failedRequests": load.failed,
        }
        for each in _went_back(material, name)
    ]


def _went_back(material: Material, shift: str) -> list[Record]:
    """The instants at which a shift began to go back, by itself or by order."""
    return [
        each for each in _records(material, shift, What.PHASE) if each.record.evidence.get("to") == Phase.ROLLING_BACK
    ]


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(end - start, 2)


def _steps(material: Material, name: str, load: NamespaceLoad) -> list[dict[str, Any]]:
    """One row per verified share: wanted, what the weights amount to, and what users got until the next change.

    The next change may be somebody else's: a write that came through no API, on the shift's balancer.
    """
    moves = sorted(
        [*_records(material, name, What.INTENT), *_records(material, name, What.DONE)], key=lambda each: each.id
    )
    balancer = material.scenario.balancer_of[name]
    edits = [write.at for write in material.writes if write.lb_id == balancer and not write.request_id]
    rows = []
    for index, move in enumerate(moves):
        if move.record.what is not What.DONE:
            continue
        done = move.record.at.timestamp()
        later = [each.record.at.timestamp() for each in moves[index + 1 :] if each.record.what is What.INTENT]
        changes = [*later[:1], *(at for at in edits if at > done), material.users.written_at]
        seen = load.between(done + 1, min(changes))
        answered = sum(seen.by_mesh.values())
        written = max(dict(move.record.evidence["written"]).values())  # type: ignore[call-overload] # JSON of our own
        observed = 100 * seen.by_mesh.get(TARGET_MESH, 0) / answered if answered else None
        rows.append(
            {
                "wanted": move.record.evidence["to"],
                "written": round(written, 3),
                "observed": None if observed is None else round(observed, 3),
                "errorPercentagePoints": None if observed is None else round(observed - written, 3),
                "requests": answered,
                "unanswered": seen.by_mesh.get(NO_MESH, 0),
            }
        )
    return rows


def _story(material: Material) -> list[Check]:
    beats = [beat.name for plot in material.scenario.plots for beat in plot.beats]
    missing = [name for name in beats if name not in material.beats]
    told = "every beat came" if not missing else f"did not come: {', '.join(missing)}"
    checks = [Check("the story went to its end", material.finished and not missing, told)]
    if material.faults_left:
        checks.append(Check("every fault struck", ok=False, told=f"{material.faults_left} never did"))
    if material.trouble:
        checks.append(Check("nothing went wrong on the way", ok=False, told=material.trouble))
    return checks


def _ending(material: Material, name: str, ending: Ending) -> list[Check]:
    report = material.reports.get(name)
    phase = None if report is None else report.phase
    share = None if report is None else report.written
    rollbacks, steps_back = len(_went_back(material, name)), _steps_back(material, name)
    load = material.users.namespaces[name]
    failed = f"{load.failed} of {load.total} requests failed {dict(load.failed_by_cause)}"
    fine = load.failed == 0 if not ending.may_fail_users else 0 < load.failed < load.total / 5
    return [
        Check(f"{name} ends {ending.phase}", phase is ending.phase, f"it is {phase}"),
        Check(f"{name} ends at {ending.share:g} %", share == ending.share, f"the weights amount to {share} %"),
        Check(f"{name} went back {ending.rollbacks} times", rollbacks == ending.rollbacks, f"{rollbacks} times"),
        Check(f"{name} stepped back {ending.steps_back} times", steps_back == ending.steps_back, f"{steps_back} times"),
        Check(f"users of {name} saw what was told", fine and load.not_sent == 0, failed),
    ]


def _steps_back(material: Material, name: str) -> int:
    """How often a verified share was below the one before it, and above 0: going back for good is not counted."""
    taken = [float(str(each.record.evidence["to"])) for each in _records(material, name, What.DONE)]
    return sum(0 < after < before for before, after in pairwise(taken))


def _told(material: Material, name: str, ending: Ending) -> list[Check]:
    """What people were told: the words must be in the reason of some record."""
    reasons = [each.record.reason for each in material.history if each.record.shift == name]
    checks = []
    for words in ending.told:
        found = next((reason for reason in reasons if words in reason), None)
        checks.append(Check(f"{name} said {words!r}", found is not None, found or "nobody said so"))
    return checks


def _splits(name: str, steps: Sequence[Mapping[str, Any]]) -> list[Check]:
    """The split users got is the split that was written, give or take chance.

    What no gateway answered was meant for one mesh or the other: the written share lies between the two splits.
    """
    checks = []
    for step in steps:
        if step["requests"] < _LEAST_REQUESTS:
            continue
        ratio = step["written"] / 100
        chance = 100 * _CHANCE_DEVIATIONS * math.sqrt(ratio * (1 - ratio) / step["requests"])
        # None means none and all means all: only a split between the two may be off.
        allowed = chance + _SPLIT_ALLOWANCE_PERCENT if 0 < ratio < 1 else 0.0
        told = f"users got {step['observed']} % of {step['requests']} requests, allowed ±{allowed:.1f}"
        lost = 100 * step["unanswered"] / step["requests"]
        near = -allowed - lost <= step["errorPercentagePoints"] <= allowed
        checks.append(Check(f"{name} at {step['wanted']:g} % really was", near, told))
    return checks


def _no_step_left_out(material: Material, shifts: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """Who completed went through every step of the policy, in order."""
    checks = []
    for name, ending in material.scenario.endings.items():
        report = material.reports.get(name)
        free = material.scenario.spec_of.get(name, {}).get("steps") == "auto"
        if ending.phase is not Phase.COMPLETED or report is None or free:
            continue
        taken = [step["wanted"] for step in shifts[name]["steps"]]
        left = iter(taken)
        told = f"steps {_list(report.steps)}, verified {_list(taken)}"
        checks.append(Check(f"{name} took every step", all(step in left for step in report.steps), told))
    return checks


def _list(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:g}" for share in shares) or "none"


def _counts(material: Material) -> list[Check]:
    """What the gateways' metrics count is what users saw, mesh by mesh: no decoy, no request lost."""
    checks = []
    for name in material.scenario.endings:
        seen = material.users.namespaces[name].by_mesh
        for mesh, counted in material.counted.items():
            # Requests that lost their namespace's label are counted for nobody: then the sum may only fall short.
            unknown = counted.get(UNKNOWN, 0.0)
            metric, users = counted.get(name, 0.0), seen.get(mesh, 0)
            allowed = _COUNT_ALLOWANCE * users + _COUNT_ALLOWANCE_REQUESTS
            ok = -allowed - unknown <= metric - users <= allowed
            told = f"Prometheus {metric:.0f}, users {users}" + (f", nameless {unknown:.0f}" if unknown else "")
            checks.append(Check(f"{mesh}'s metrics of {name} agree with its users", ok, told))
    return checks


def _nobody_left_alone(material: Material) -> list[Check]:
    dark = sum(bool(write.darkened) for write in material.writes)
    told = f"{len(material.writes)} changes of weights in the cloud's own log, {dark} left a rule without weight"
    return [Check("no rule was ever without weight", dark == 0, told)]


def _nothing_raised(material: Material) -> list[Check]:
    """Between two beats nothing may be raised, whatever else happens."""
    checks = []
    times = material.beats
    for lull in material.scenario.lulls:
        if lull.begin not in times or lull.end not in times:
            continue
        raised = [
            each
            for each in material.history
            if each.record.what is What.INTENT
            and lull.shift in {"", each.record.shift}
            and each.record.evidence["direction"] == "climb"
            and times[lull.begin] < each.record.at.timestamp() < times[lull.end]
        ]
        told = f"{len(raised)} climbs began in {times[lull.end] - times[lull.begin]:.1f} s"
        whose = f" of {lull.shift}" if lull.shift else ""
        checks.append(Check(f"nothing{whose} rose between {lull.begin!r} and {lull.end!r}", not raised, told))
    return checks
