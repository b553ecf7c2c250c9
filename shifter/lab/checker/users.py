"""Users: every second in which requests failed is explained by a fault of the schedule, or is a violation.

A fault explains failures of its namespaces while it is in force, and for a stated while after, and no more of them
than the meshes it hurts have answered in that second. What users suffered is also told by fault: how many requests,
and how long until nobody was sent to the broken mesh any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from shifter.lab.checker.climbs import policies_at
from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.people import phase_at
from shifter.lab.checker.seen import SOURCE, TARGET, Incident, Seen, UserSecond
from shifter.lab.checker.spans import overlap_seconds
from shifter.lab.checker.stops import hands_off_spans

EXPLAINED: Final = "every failure that users saw has a fault of the schedule"
WENT_BACK: Final = "a shift goes back from a broken istio when nothing is in its way"
ALL_SENT: Final = "every request that was due was sent"

TAIL_SECONDS: Final = 2.0
"""How long after a fault's end its failures may still be counted: an answer under way, a configuration on its way."""

_PLAINLY_BROKEN: Final = 3
_ALL_PERCENT: Final = 99.5
_HALTING: Final = frozenset(
    {
        Kind.NO_METRICS, Kind.HUNG_METRICS, Kind.SLOW_METRICS, Kind.KILLED, Kind.FROZEN, Kind.RESTARTED, Kind.LEASE,
        Kind.CLOCK, Kind.DEAD, Kind.GONE, Kind.EDIT, Kind.RESYNC, Kind.CHURN, Kind.QUIET,
    }
)  # fmt: skip
"""After which whoever looks on begins anew: with nothing in memory, or with members that are others."""

_DELAYING: Final = frozenset({Kind.CLOUD, Kind.LOCK, Kind.STALE, Kind.GATEWAY, Kind.ODD_METRICS, Kind.WAITS})
"""Which only keep it waiting, and for whom the clock stands still meanwhile."""


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
    """The worst mistake is to leave users on a broken mesh: undisturbed, a shift must have left it within a bound.

    Broken is what fails, and what takes too long for users of a shift whose policy compares that. Looked at is only
    what gave a shift time enough, and users plainly something to suffer while it stayed.
    """
    looked_at, wrong = 0, []
    bound = seen.bounds.back_seconds
    for each in seen.incidents:
        if not _is_to_be_left(seen, each):
            continue
        (namespace,) = each.namespaces
        left_at = _left_at(seen, each, namespace)
        stayed_seconds = _undisturbed_seconds(seen, each, min(left_at, each.ended_at))
        felt = sum(
            second.failed if each.kind == Kind.FAILING else second.slow
            for second in seen.seconds
            if second.namespace == namespace and each.began_at <= second.at < left_at
        )
        plainly = felt > _PLAINLY_BROKEN * min(stayed_seconds, bound)
        if not plainly or _undisturbed_seconds(seen, each, each.ended_at) <= bound:
            continue
        looked_at += 1
        if stayed_seconds > bound:
            what = "failures" if each.kind == Kind.FAILING else "slow answers"
            told = f"{each.told}: {felt} {what}, {stayed_seconds:.0f} undisturbed seconds, {bound:g} allowed"
            wrong.append(Violation(WENT_BACK, each.began_at, namespace, told))
    return Finding(WENT_BACK, looked_at, tuple(wrong))


def _is_to_be_left(seen: Seen, incident: Incident) -> bool:
    """Whether one shift's istio broke while it was on its way there, and nobody had said that it may."""
    fails = incident.kind == Kind.FAILING and incident.hurts == {TARGET}
    if len(incident.namespaces) != 1 or not (fails or incident.kind == Kind.SLOW):
        return False
    (namespace,) = incident.namespaces
    # What completes before anybody could notice had no failure in its evidence.
    noticed_at = incident.began_at + seen.bounds.noticed_seconds
    if (
        phase_at(seen, namespace, incident.began_at) != "Shifting"
        or phase_at(seen, namespace, noticed_at) == "Completed"
    ):
        return False
    if seen.share_at(namespace, incident.began_at) > _ALL_PERCENT and _is_unkept(seen, incident.began_at, noticed_at):
        return False
    if _is_somebody_elses(seen, namespace, incident.began_at):
        return False
    stays = any(file.stays for file in policies_at(seen, namespace, incident.began_at))
    return not stays and not _overridden(seen, namespace, incident.ended_at)


def _is_unkept(seen: Seen, since: float, until: float) -> bool:
    """Whether nothing could be saved: at 100 % a shift may have completed then, and nobody wrote it down."""
    return any(each.kind == Kind.STORE and each.covers(since, until) for each in seen.incidents)


def _is_somebody_elses(seen: Seen, namespace: str, at: float) -> bool:
    """Whether a share was set by hand while shifter had verified none: it holds, and leaves that to who did it."""
    verified = [entry.share("to") for entry in seen.of(namespace, "done") if entry.at <= at]
    edited = any(
        each.kind == Kind.EDIT and namespace in each.namespaces and each.began_at <= at for each in seen.incidents
    )
    return edited and (not verified or verified[-1] <= 0)


def _left_at(seen: Seen, incident: Incident, namespace: str) -> float:
    """When a shift left a broken mesh: at 0, or one step lower if that is what its policy wants."""
    files = policies_at(seen, namespace, incident.began_at)
    stays_below = seen.share_at(namespace, incident.began_at) if any(file.steps_back for file in files) else 0.0
    later = ((at, share or 0.0) for at, share in seen.shares(namespace) if at > incident.began_at)
    return next((at for at, share in later if not share or share < stays_below - 1), incident.ended_at)


def _undisturbed_seconds(seen: Seen, incident: Incident, until: float) -> float:
    """How long it could be seen and left: the most that nothing began anew, less what only kept it waiting."""
    anew, waiting = _disturbances(seen, incident)
    edges = sorted({incident.began_at, until, *(at for span in (*anew, *waiting) for at in span)})
    longest = run = 0.0
    for start, end in pairwise(each for each in edges if incident.began_at <= each <= until):
        if any(overlap_seconds(start, end, anew)):
            run = 0.0
        elif not any(overlap_seconds(start, end, waiting)):
            run += end - start
        longest = max(longest, run)
    return longest


def _disturbances(seen: Seen, incident: Incident) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """When whoever looks on had to begin anew, and when it was only kept waiting, each with what is felt after it."""
    (namespace,) = incident.namespaces
    others = [each for each in seen.incidents if each is not incident and namespace in each.namespaces]

    def spans(found: Iterable[Incident]) -> list[tuple[float, float]]:
        # It is felt until the next look.
        return [(each.began_at, each.ended_at + seen.bounds.tick_seconds) for each in found]

    anew = spans(each for each in others if each.kind in _HALTING or SOURCE in each.hurts)
    # Who has all hands off has taken it in hand, and is told that it would go back; at 0 % there is nothing to leave.
    anew += [(since, off) for _, since, off in hands_off_spans(seen, namespace)]
    reached = [at for at, share in seen.shares(namespace) if at > incident.began_at and share]
    if not seen.share_at(namespace, incident.began_at):
        anew.append((incident.began_at, min(reached, default=incident.ended_at)))
    return anew, spans(each for each in others if each.kind in _DELAYING)


def _overridden(seen: Seen, shift: str, at: float) -> bool:
    """Whether somebody took the judgement over, and nobody has retried since."""
    rows = sorted((row for row in seen.orders if row.shift == shift and row.at <= at and row.answer == "accepted"),
                  key=lambda row: row.id)  # fmt: skip
    last = [row for row in rows if row.verb == "retry" or row.override][-1:]
    return bool(last) and last[0].override
