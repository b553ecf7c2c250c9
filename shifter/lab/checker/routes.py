"""The routes of one shift move together: a part of a write is seen, never climbed upon, and mended or told in time."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from shifter.lab.checker.climbs import climbs_of
from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import Entry, Seen
from shifter.lab.checker.spans import overlap_seconds
from shifter.lab.checker.writes import spans

HALF: Final = "no climb while the routes of a shift differ"
MENDED: Final = "routes that differ are mended, or people are told"

_APART_PERCENT: Final = 1.0
_SEEN_SECONDS: Final = 3.0
_TELLING: Final = (
    "half-applied",
    "drift",
    "preflight",
    "provider",
    "hands off",
    "lease",
    "bug",
    "cold source",
    "cold target",
    "policy",
)
"""Holds of which people are told and that keep routes from being mended."""

_WITHHOLDING: Final = ("pause", "freeze", "restored", "no signal", "incident", "failing")
"""And those that let no share rise: they keep routes from being mended where none is above the verified share."""

_HINDERING: Final = frozenset(
    {
        Kind.CLOUD, Kind.LOCK, Kind.KILLED, Kind.FROZEN, Kind.RESTARTED, Kind.STALE, Kind.LEASE, Kind.CLOCK, Kind.STORE,
        Kind.GONE, Kind.DEAD, Kind.CHURN,
    }
)  # fmt: skip


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about several routes found."""
    return [_half(seen), _mended(seen)]


def _apart(seen: Seen, shift: str, at: float) -> float:
    shares = [share or 0.0 for share in seen.split(shift, at).values()]
    return max(shares, default=0.0) - min(shares, default=0.0)


def _half(seen: Seen) -> Finding:
    climbs = [(shift, climb) for shift in seen.namespaces for climb in climbs_of(seen, shift)]
    wrong = []
    for shift, climb in climbs:
        spans_apart = [each for each in apart_spans(seen, shift) if each[0] <= climb.entry.at - _SEEN_SECONDS]
        if any(until > climb.entry.at for _, until in spans_apart):
            said = f"intent {climb.entry.sequence}, record {climb.entry.id}: {seen.split(shift, climb.entry.at)}"
            wrong.append(Violation(HALF, climb.entry.at, shift, said))
    return Finding(HALF, len(climbs), tuple(wrong))


def apart_spans(seen: Seen, shift: str) -> list[tuple[float, float]]:
    """When the routes of a shift had different shares, by weights and health."""
    times = sorted({at for at, _ in seen.weights(shift)} | {note.at for note in seen.health if note.namespace == shift})
    found: list[tuple[float, float]] = []
    since: float | None = None
    for at in times:
        apart = _apart(seen, shift, at) > _APART_PERCENT
        if apart and since is None:
            since = at
        elif not apart and since is not None:
            found.append((since, at))
            since = None
    return found if since is None else [*found, (since, seen.ended_at)]


def _mended(seen: Seen) -> Finding:
    looked_at, wrong = 0, []
    bound = seen.bounds.operation_seconds + seen.bounds.late_seconds
    for shift in seen.namespaces:
        for since, until in apart_spans(seen, shift):
            looked_at += 1
            idle = _idle_seconds(seen, shift, since, until)
            if idle > bound:
                said = f"they differed for {until - since:.1f} s, {idle:.1f} s of it nobody wrote and nobody was told"
                wrong.append(Violation(MENDED, since, shift, said))
    return Finding(MENDED, looked_at, tuple(wrong))


def _tells(seen: Seen, entry: Entry, until: float) -> bool:
    """Whether holds tell people why routes that differ stay so."""
    kinds = {kind for kind in (*_TELLING, *_WITHHOLDING) if f"{kind}: " in f"{entry.reason}; "}
    if kinds - {*_WITHHOLDING}:
        return True
    done = [each for each in seen.of(entry.shift, "done") if each.at <= until]
    highest = max((share or 0.0 for share in seen.split(entry.shift, until).values()), default=0.0)
    return bool(kinds and done) and highest <= done[-1].share("to") + _APART_PERCENT


def _idle_seconds(seen: Seen, shift: str, since: float, until: float) -> float:
    """The longest stretch without an open intent, a hold that tells of it, or anything that keeps from either."""
    busy = [(span.intent.at, seen.ended_at if span.end is None else span.end) for span in spans(seen, shift)]
    holds = seen.of(shift, "holds")
    told = [
        (entry.at, following.at if following is not None else seen.ended_at)
        for entry, following in pairwise([*holds, None])
        if entry is not None and _tells(seen, entry, until)
    ]
    hindering = [each for each in seen.incidents if each.kind in _HINDERING and shift in each.namespaces]
    struck = [(each.began_at, each.ended_at) for each in hindering]
    taken = [*busy, *told, *struck]
    edges = sorted({since, until, *(at for span in taken for at in span if since < at < until)})
    free = [(a, b) for a, b in pairwise(edges) if not any(overlap_seconds(a, b, taken))]
    longest = run = 0.0
    before = since
    for a, b in free:
        run = run + (b - a) if a == before else b - a
        before, longest = b, max(longest, run)
    return longest
