"""Steps back: a share that failed is left by one rung, for a reason on record, and not reached again unasked.

A ceiling is what the history calls the share at which a shift failed. Who may lift it is written out here a second
time: a person, or, if both meshes were bad, the incident itself by going on below it or by ending before the share is
any lower. So is where a shift may rest for ever: below a share with whose leaving such an incident ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from shifter.lab.checker.climbs import accepted, policies_at
from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import SERVICE, SOURCE, TARGET, Entry, Seen
from shifter.lab.checker.spans import overlap_seconds

RUNG: Final = "a step back goes to the rung below the share that failed"
CEILING: Final = "no climb to a share that failed, until somebody says so"

_TAIL_SECONDS: Final = 12.0
"""For how long after its end an incident of the source may still be what the service looks at."""

_BEGAN_TICKS: Final = 4
_OVER_TICKS: Final = 5
_RECENT_TICKS: Final = 8
_GOING_ON_TICKS: Final = 10
"""So long after a step an incident may be its doing; for so long all must be well before it is over, bad ticks still
being looked at for so many more; and for so long it must go on below, with the tick in which the share changed and the
next one."""

_LOWER_PERCENT: Final = 1.0
_BLINDING: Final = frozenset(
    {
        Kind.NO_METRICS, Kind.HUNG_METRICS, Kind.SLOW_METRICS, Kind.ODD_METRICS, Kind.KILLED, Kind.FROZEN,
        Kind.RESTARTED, Kind.STORE, Kind.CLOUD, Kind.STALE,
    }
)  # fmt: skip
"""While which nobody may have seen how the meshes are, or where the share is."""

_SHORTENING: Final = frozenset({Kind.DEAD, Kind.GONE, Kind.CHURN})
"""After which a source may be short of what it had."""


@dataclass(slots=True)
class _Failed:
    """Where a shift is, and the share at which it failed; None if nothing stands against any share."""

    share: float = 0.0
    ceiling: float | None = None
    failed_at: float = 0.0
    going_back: bool = False


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about steps back found."""
    walked = [(entry, failed) for shift in seen.namespaces for entry, failed in _walked(seen, shift)]
    back = [(entry, failed) for entry, failed in walked if _is_step_back(entry, failed)]
    wrong = [(entry, said) for entry, failed in back if (said := _beside(seen, entry, failed.ceiling))]
    above = [
        (entry, f"it failed at {failed.ceiling:g} %")
        for entry, failed in walked
        if entry.evidence.get("direction") == "climb"
        and failed.ceiling is not None
        and entry.share("to") >= failed.ceiling
    ]
    ceilings = [entry for entry in seen.entries if entry.what == "ceiling" and entry.share("share") > 0]
    return [
        Finding(RUNG, len(back), tuple(_violation(RUNG, entry, said) for entry, said in wrong)),
        Finding(CEILING, len(ceilings), tuple(_violation(CEILING, entry, said) for entry, said in above)),
    ]


def _walked(seen: Seen, shift: str) -> Iterator[tuple[Entry, _Failed]]:
    """Walk a shift's history and yield its intents, each with what stood at that moment."""
    now = _Failed()
    orders = {row.id: row for row in seen.orders}
    for entry in seen.of(shift):
        if entry.what == "order" and (row := accepted(entry, orders)) is not None:
            if row.verb == "retry" or row.override or (row.verb == "reconcile" and row.adopt):
                now.ceiling = None
            if row.verb == "reconcile" and row.adopt:
                now.share = seen.share_at(shift, entry.at)
        elif entry.what == "ceiling" and entry.share("share") > 0:
            now.ceiling, now.failed_at = entry.share("share"), entry.at
        elif entry.what == "ceiling" and now.ceiling is not None and _is_acquitted(seen, entry, now):
            now.ceiling = None
        elif entry.what == "done":
            now.share = entry.share("to")
        elif entry.what == "phase":
            now.going_back = entry.evidence.get("to") == "RollingBack"
            now.share = 0.0 if entry.evidence.get("to") == "RolledBack" else now.share
        elif entry.what == "intent":
            yield entry, replace(now)


def _is_step_back(entry: Entry, failed: _Failed) -> bool:
    """Whether the service lowers a verified share, and not to 0; what it sets back to that share is a repair.

    A whole rollback may go in stages where the source could not take everything back at once.
    """
    lowers = entry.evidence.get("direction") == "retreat" and 0 < entry.share("to") < failed.share
    return lowers and entry.by == SERVICE and not failed.going_back


def _beside(seen: Seen, entry: Entry, ceiling: float | None) -> str:
    if ceiling is None:
        return "nothing on record had failed"
    rungs = {
        max((step for step in file.steps if step < ceiling), default=0.0)
        for file in policies_at(seen, entry.shift, entry.at)
    }
    if any(each.kind in _SHORTENING and each.covers(seen.began_at, entry.at) for each in seen.incidents):
        return ""  # it goes no further back than the source can carry
    return "" if entry.share("to") in rungs else f"below {ceiling:g} % comes {' or '.join(f'{r:g} %' for r in rungs)}"


def _is_acquitted(seen: Seen, entry: Entry, failed: _Failed) -> bool:
    """Whether a ceiling may be lifted unasked: the source is bad below it, or was at it and got well at it."""
    if _source_was_bad(seen, entry.shift, entry.at):
        return True
    has_left = _left_at(seen, entry.shift, failed.ceiling or 0.0, failed.failed_at) < entry.at
    return _source_was_bad(seen, entry.shift, failed.failed_at) and not has_left


def _source_was_bad(seen: Seen, shift: str, at: float) -> bool:
    return any(
        SOURCE in each.hurts and shift in each.namespaces and each.covers(at, at, _TAIL_SECONDS)
        for each in seen.incidents
    )


def _left_at(seen: Seen, shift: str, share: float, after: float) -> float:
    """When the live share was first below a share again; the end if it never was."""
    lower = (at for at, live in seen.shares(shift) if at > after and (live or 0.0) < share - _LOWER_PERCENT)
    return next(lower, seen.ended_at)


def ended_with_step(seen: Seen, shift: str) -> bool:
    """Whether the last step back left an incident of both meshes that began with the step before it and ended with it.

    Then nobody can say that the step was not its cause. To those who see all of it, such an incident never has one.
    """
    last = [entry for entry in seen.of(shift, "ceiling") if entry.share("share") > 0][-1:]
    if not last:
        return False
    share, failed_at = last[0].share("share"), last[0].at
    left_at = _left_at(seen, shift, share, failed_at)
    shares = [(at, live or 0.0) for at, live in seen.shares(shift) if at <= failed_at]
    lower = [at for at, live in shares if live < share - _LOWER_PERCENT]
    reached_at = min((at for at, _ in shares if at > max(lower, default=0.0)), default=failed_at)

    def within(ticks: int, since: float, until: float) -> bool:
        bounds = seen.bounds
        return _watched_seconds(seen, since, until) <= ticks * bounds.tick_seconds + bounds.noticed_seconds

    return left_at < seen.ended_at and any(
        within(_BEGAN_TICKS, reached_at, began_at)
        and within(_OVER_TICKS + _still_seen_ticks(seen, failed_at, ended_at), ended_at, left_at)
        and within(_GOING_ON_TICKS, left_at, ended_at)
        for began_at, ended_at in _shared(seen, shift)
        if began_at <= failed_at
    )


def _still_seen_ticks(seen: Seen, failed_at: float, ended_at: float) -> int:
    """For how many ticks an incident is looked at after its end: what came before the step back was decided is not."""
    return min(_RECENT_TICKS, math.ceil(max(0.0, ended_at - failed_at) / seen.bounds.tick_seconds))


def _shared(seen: Seen, shift: str) -> list[tuple[float, float]]:
    """When both meshes were bad; one incident that goes over into another is one."""
    both = [each for each in seen.incidents if shift in each.namespaces and {SOURCE, TARGET} <= each.hurts]
    found: list[tuple[float, float]] = []
    for each in sorted(both, key=lambda each: each.began_at):
        if found and each.began_at <= found[-1][1] + seen.bounds.noticed_seconds:
            found[-1] = found[-1][0], max(found[-1][1], each.ended_at)
        else:
            found.append((each.began_at, each.ended_at))
    return found


def _watched_seconds(seen: Seen, since: float, until: float) -> float:
    """How much of a time nothing kept who led from seeing anything; 0 if it ends before it begins."""
    lives = [life for life in seen.lives if life.started_at <= until]
    led = {"", *(life.replica for life in lives if life.ended_at is None or life.ended_at >= since)}
    found = [each for each in seen.incidents if each.kind in _BLINDING and each.whom in led]
    blind = [(each.began_at, each.ended_at) for each in found]
    edges = sorted({since, until, *(at for span in blind for at in span if since < at < until)})
    spans = pairwise(edges) if since < until else ()
    return sum(end - start for start, end in spans if not any(overlap_seconds(start, end, blind)))


def _violation(rule: str, entry: Entry, said: str) -> Violation:
    told = f"intent {entry.sequence} ({entry.share('from'):g} to {entry.share('to'):g} %, record {entry.id}): {said}"
    return Violation(rule, entry.at, entry.shift, told)
