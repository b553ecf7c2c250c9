"""Users: every second in which requests failed is explained by a fault of the schedule, or is a violation.

A fault explains failures of its namespaces while it is in force, and for a stated while after, and no more of them
than the meshes it hurts have answered in that second. What users suffered is also told by fault: how many requests,
and how long until nobody was sent to the broken mesh any more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from shifter.lab.checker.climbs import policies_at
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.people import phase_at
from shifter.lab.checker.seen import SOURCE, TARGET, Finding, Incident, Seen, UserSecond, Violation
from shifter.lab.checker.spans import overlap_seconds
from shifter.lab.checker.stops import hands_off_spans

EXPLAINED: Final = "every failure that users saw has a fault of the schedule"
WENT_BACK: Final = "a shift goes back from a broken istio when nothing is in its way"
ALL_SENT: Final = "every request that was due was sent"

TAIL_SECONDS: Final = 2.0
"""How long after a fault's end its failures may still be counted: an answer under way, a configuration on its way."""

_PLAINLY_BROKEN: Final = 3
_HALTING: Final = frozenset(
    {
        Kind.CLOUD, Kind.LOCK, Kind.NO_METRICS, Kind.HUNG_METRICS, Kind.SLOW_METRICS, Kind.KILLED,
        Kind.FROZEN, Kind.RESTARTED, Kind.GATEWAY, Kind.DEAD, Kind.GONE, Kind.EDIT, Kind.RESYNC, Kind.STALE,
        Kind.LEASE, Kind.CLOCK, Kind.CHURN, Kind.ODD_METRICS, Kind.QUIET,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Suffering:
    """What users felt of one incident: requests, whose, and seconds until the broken mesh got none (None: never)."""

    incident: Incident
    failed: int
    seconds_to_safety: float | None


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about users found."""
    bad = [second for second in seen.seconds if second.failed]
    wrong = tuple(_unexplained(seen, second) for second in bad if not _culprits(seen, second))
    lost = (Violation(ALL_SENT, seen.ended_at, "", f"{seen.not_sent} requests were due and not sent"),)
    return [
        Finding(EXPLAINED, len(bad), wrong),
        Finding(ALL_SENT, len(seen.seconds), lost if seen.not_sent else ()),
        _went_back(seen),
    ]


def sufferings(seen: Seen) -> list[Suffering]:
    """Return what users felt of each incident that they may have felt; each failure is one incident's."""
    failed: Counter[int] = Counter()
    for second in seen.seconds:
        if second.failed and (culprits := _culprits(seen, second)):
            failed[max(culprits, key=lambda each: each.began_at).number] += second.failed
    hurting = [each for each in seen.incidents if each.hurts]
    return [Suffering(each, failed[each.number], _seconds_to_safety(seen, each)) for each in hurting]


def _culprits(seen: Seen, second: UserSecond) -> list[Incident]:
    """Return the incidents that may have done it; none if all of them together hurt too few answers."""
    found = [
        each
        for each in seen.incidents
        if each.hurts and second.namespace in each.namespaces and each.covers(second.at, second.at + 1, TAIL_SECONDS)
    ]
    hurt = frozenset[str]().union(*(each.hurts for each in found))
    return found if sum(second.by_mesh.get(mesh, 0) for mesh in hurt) >= second.failed else []


def _unexplained(seen: Seen, second: UserSecond) -> Violation:
    share = seen.share_at(second.namespace, second.at + 1)
    told = f"{second.failed} of {second.requests} requests failed, answers {dict(second.by_mesh)}, share {share:.4g} %"
    return Violation(EXPLAINED, float(second.at), second.namespace, told)


def _seconds_to_safety(seen: Seen, incident: Incident) -> float | None:
    """How long until a single namespace's share of the mesh that broke was 0; None if it was not in time."""
    if len(incident.namespaces) != 1 or len(incident.hurts & {SOURCE, TARGET}) != 1:
        return None
    (namespace,), broken = incident.namespaces, next(iter(incident.hurts & {SOURCE, TARGET}))
    safe = 0.0 if broken == TARGET else 100.0
    if seen.share_at(namespace, incident.began_at) == safe:
        return 0.0
    later = [
        at for at, share in seen.shares(namespace) if incident.began_at < at <= incident.ended_at and share == safe
    ]
    return round(later[0] - incident.began_at, 2) if later else None


def _went_back(seen: Seen) -> Finding:
    """The worst mistake is to leave users on a broken mesh: undisturbed, a shift must have left it within a bound."""
    looked_at, wrong = 0, []
    for each in seen.incidents:
        if each.kind != Kind.FAILING or each.hurts != {TARGET}:
            continue
        (namespace,) = each.namespaces
        if phase_at(seen, namespace, each.began_at) != "Shifting" or _overridden(seen, namespace, each.ended_at):
            continue
        if any(file.stays for file in policies_at(seen, namespace, each.began_at)):
            continue
        looked_at += 1
        ended_at = _left_at(seen, each, namespace)
        undisturbed = _undisturbed_seconds(seen, each, min(ended_at, each.ended_at))
        felt = sum(
            second.failed
            for second in seen.seconds
            if second.namespace == namespace and each.began_at <= second.at < ended_at
        )
        if undisturbed > seen.bounds.back_seconds and felt > _PLAINLY_BROKEN * seen.bounds.back_seconds:
            allowed = f"{seen.bounds.back_seconds:g} allowed"
            told = f"{each.told}: {felt} failures, {undisturbed:.0f} undisturbed seconds, {allowed}"
            wrong.append(Violation(WENT_BACK, each.began_at, namespace, told))
    return Finding(WENT_BACK, looked_at, tuple(wrong))


def _left_at(seen: Seen, incident: Incident, namespace: str) -> float:
    """When a shift left a broken mesh: at 0, or one step lower if that is what its policy wants."""
    files = policies_at(seen, namespace, incident.began_at)
    stays_below = seen.share_at(namespace, incident.began_at) if any(file.steps_back for file in files) else 0.0
    later = ((at, share or 0.0) for at, share in seen.shares(namespace) if at > incident.began_at)
    return next((at for at, share in later if not share or share < stays_below - 1), incident.ended_at)


def _undisturbed_seconds(seen: Seen, incident: Incident, until: float) -> float:
    """The longest stretch of an incident in which nothing else stood in the way of seeing it and going back."""
    others = [
        each
        for each in seen.incidents
        if each is not incident
        and (each.kind in _HALTING or (each.namespaces & incident.namespaces and SOURCE in each.hurts))
        and each.covers(incident.began_at, until)
    ]
    # Who has all hands off has taken it in hand, and is told that it would go back.
    by_hand = [(since, off) for shift in incident.namespaces for _, since, off in hands_off_spans(seen, shift)]
    taken = [*((each.began_at, each.ended_at) for each in others), *by_hand]
    edges = sorted({incident.began_at, until, *(at for span in taken for at in span)})
    longest = 0.0
    for start, end in pairwise(edges):
        within = incident.began_at <= start and end <= until
        if within and not any(overlap_seconds(start, end, taken)):
            longest = max(longest, end - start)
    return longest


def _overridden(seen: Seen, shift: str, at: float) -> bool:
    """Whether somebody took the judgement over, and nobody has retried since."""
    rows = sorted((row for row in seen.orders if row.shift == shift and row.at <= at and row.answer == "accepted"),
                  key=lambda row: row.id)  # fmt: skip
    last = [row for row in rows if row.verb == "retry" or row.override][-1:]
    return bool(last) and last[0].override
