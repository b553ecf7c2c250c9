"""No climb without evidence: each one is held against the soak, the verdict, the people, the files and the schedule.

The history is walked in the order of its ids, so what stands in one transaction is in force within it. The soak is
reckoned from when a share was verified, less what the schedule took away from the datasources; the service's own idea
of how long it soaked is not asked. While no process of it lived the datasources went on counting, so that is no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import SERVICE, SOURCE, TARGET, Entry, Incident, OrderRow, PolicyFile, Seen

PAUSED: Final = "no climb while a shift is paused"
BACK: Final = "no climb after going back, until a retry"
STEP: Final = "no climb beyond the policy's next step"
FROM: Final = "every climb begins at the verified share"
SOAKED: Final = "every climb has soaked, or a person promoted it"
VERDICT: Final = "every climb has a passing verdict, or a person promoted it"
BLIND: Final = "no climb while a datasource is away"
DRIFT: Final = "no climb over weights that somebody else set"
FILE: Final = "no climb under a policy file that is broken or gone"
USERS: Final = "no climb while users of istio fail"
FROZEN: Final = "no climb while all shifts are frozen"
APPROVED: Final = "no climb past a gate that nobody approved"

BLINDING: Final = frozenset({Kind.NO_METRICS, Kind.HUNG_METRICS})
_SAME_PERCENT: Final = 0.01
_BY_WAY_OF: Final = 99
_SETTLED_SECONDS: Final = 3.0
_FEWEST_BAD: Final = 5
_FASTEST_CLOCK: Final = 1.03
"""A soak is counted by the clock of who counts, which may run so much faster where clocks are wrong. To set one adds
nothing."""

_CLOCKS_APART_SECONDS: Final = 1.2
"""And from what one process verified another one may count on, by a clock that is so much ahead."""

_UNSEEN_TICKS: Final = 2.5
"""Counters reach across a gap of so many ticks."""


@dataclass(slots=True)
class _Place:
    """Where a shift is, as far as the history has been walked."""

    share: float = 0.0
    verified_at: float = 0.0
    verified_in: int = 0
    paused: bool = False
    back: bool = False
    promoted: OrderRow | None = None
    promoted_at: float = 0.0
    approved: set[float | None] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Climb:
    """One climb, and where its shift was at that moment. `promoted` is the order that asked for it, if any did.

    `verified_in` is the epoch of who verified the share; 0 if it was not a write.
    """

    entry: Entry
    share: float
    verified_at: float
    verified_in: int
    paused: bool
    back: bool
    promoted: OrderRow | None
    approved: frozenset[float | None]


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about climbs found."""
    climbs = [climb for shift in seen.namespaces for climb in climbs_of(seen, shift)]
    rules: dict[str, Callable[[Seen, _Climb], str]] = {
        PAUSED: _paused,
        BACK: _went_back,
        STEP: _beyond,
        FROM: _from_elsewhere,
        SOAKED: _not_soaked,
        VERDICT: _no_verdict,
        BLIND: _blind,
        DRIFT: _drifted,
        FILE: _no_file,
        USERS: _users_failed,
        FROZEN: _frozen,
        APPROVED: _not_approved,
    }
    findings = []
    for rule, judge in rules.items():
        wrong = [(climb.entry, said) for climb in climbs if (said := judge(seen, climb))]
        told = tuple(Violation(rule, entry.at, entry.shift, _told(entry, said)) for entry, said in wrong)
        findings.append(Finding(rule, len(climbs), told))
    return findings


def _told(entry: Entry, said: str) -> str:
    return f"intent {entry.sequence} ({entry.share('from'):g} to {entry.share('to'):g} %, record {entry.id}): {said}"


def climbs_of(seen: Seen, shift: str) -> Iterator[_Climb]:
    """Walk a shift's history and yield its climbs, each with the shift's place at that moment."""
    place = _Place(verified_at=seen.began_at)
    orders = {row.id: row for row in seen.orders}
    for entry in seen.of(shift):
        if entry.what == "order":
            _obey(seen, place, entry, orders)
        elif entry.what == "phase":
            # Only an accepted retry ends it, whatever the phases say.
            place.back = place.back or entry.evidence.get("to") in {"RollingBack", "RolledBack"}
            if entry.evidence.get("to") == "RolledBack":
                place.share, place.verified_at = 0.0, entry.at
        elif entry.what == "done":
            # Of the epoch of its intent: whoever saw it through later has another, and so has what it climbs next.
            place.share, place.verified_at, place.verified_in = entry.share("to"), entry.at, entry.epoch
        elif entry.what == "adopted" and entry.by == SERVICE:
            # Only a write of its own that landed late, at the share that was verified anyway.
            place.verified_at, place.verified_in = entry.at, 0
        elif entry.what == "intent" and _goes_up(entry, place):
            asked = place.promoted if place.promoted_at == entry.at else None
            approved = frozenset(place.approved)
            verified = place.share, place.verified_at, place.verified_in
            yield _Climb(entry, *verified, place.paused, place.back, asked, approved)


def _goes_up(entry: Entry, place: _Place) -> bool:
    """Whether an intent is a climb, by its name or because it goes above what was verified."""
    direction = entry.evidence.get("direction")
    return direction == "climb" or (direction != "retreat" and entry.share("to") > place.share + _SAME_PERCENT)


def accepted(entry: Entry, orders: Mapping[int, OrderRow]) -> OrderRow | None:
    """Return the order that a record of the history says was accepted."""
    number = entry.evidence.get("order")
    yes = entry.what == "order" and entry.evidence.get("answer") == "accepted"
    return orders.get(number) if yes and isinstance(number, int) else None


def _obey(seen: Seen, place: _Place, entry: Entry, orders: Mapping[int, OrderRow]) -> None:
    row = accepted(entry, orders)
    if row is None:
        return
    if row.verb == "pause":
        place.paused = True
    elif row.verb in {"resume", "promote"}:
        place.paused = False
    elif row.verb in {"rollback", "retry"}:
        place.back = row.verb == "rollback"
    elif row.verb == "reconcile" and row.adopt:
        place.share, place.verified_at, place.verified_in = seen.share_at(entry.shift, entry.at), entry.at, 0
    if row.verb == "promote":
        place.promoted, place.promoted_at = row, entry.at
    elif row.verb == "approve":
        place.approved.add(row.share)
    elif row.verb == "retry":
        place.approved.clear()


def _paused(_: Seen, climb: _Climb) -> str:
    return "it was paused" if climb.paused else ""


def _went_back(_: Seen, climb: _Climb) -> str:
    return "it had gone back and nobody had ordered a retry" if climb.back else ""


def _from_elsewhere(_: Seen, climb: _Climb) -> str:
    off = abs(climb.entry.share("from") - climb.share) > _SAME_PERCENT
    return f"the verified share was {climb.share:g} %" if off else ""


def policies_at(seen: Seen, shift: str, at: float) -> list[PolicyFile]:
    """The versions of a policy file that may be in force: the last good one with time to be read, and later ones."""
    read_by = at - 2 * seen.bounds.tick_seconds
    good = [each for each in seen.policies if each.shift == shift and each.steps and each.at <= at + _SETTLED_SECONDS]
    old = [each for each in good if each.at <= read_by][-1:]
    return [*old, *(each for each in good if each.at > read_by)]


def _beyond(seen: Seen, climb: _Climb) -> str:
    to = climb.entry.share("to")
    if climb.share <= 0 and to == _BY_WAY_OF:
        # Whoever may go from 0 to 100 % stops there: half of one write of all weight would leave nobody with any.
        to = 100.0
    if climb.promoted is not None and climb.promoted.full and to == 100:  # noqa: PLR2004 - percent
        return ""
    if climb.promoted is not None and climb.promoted.share is not None:
        return "" if to == climb.promoted.share else f"it was promoted to {climb.promoted.share:g} %"
    files = policies_at(seen, climb.entry.shift, climb.entry.at)
    nexts = {min((step for step in file.steps if step > climb.share), default=0.0) for file in files}
    return "" if to in nexts else f"the next step was {' or '.join(f'{step:g} %' for step in sorted(nexts))}"


def _not_soaked(seen: Seen, climb: _Climb) -> str:
    """A promotion needs no soak, nor does the first step; anything else needs all of it, in sight of both meshes."""
    if climb.promoted is not None:
        return "" if climb.entry.by == climb.promoted.by else f"it is in the name of {climb.entry.by}"
    if climb.entry.by != SERVICE:
        return f"it is in the name of {climb.entry.by}, whose promotion was not accepted"
    if climb.share <= 0:
        return ""
    at = climb.entry.at
    in_sight = at - climb.verified_at - _lost_seconds(seen, climb)
    soaks = [file.soak_seconds for file in policies_at(seen, climb.entry.shift, at)]
    soak = min(soaks, default=0.0)
    if in_sight >= soak - _clocks_seconds(seen, climb, soak):
        return ""
    return f"{in_sight:.1f} s at that share in sight of both meshes since it was verified, {soak:g} s asked"


def _clocks_seconds(seen: Seen, climb: _Climb, soak: float) -> float:
    """How much sooner a soak may be over where clocks are wrong."""
    if not any(each.kind == Kind.CLOCK for each in seen.incidents):
        return 0.0
    handed_over = climb.entry.epoch != climb.verified_in
    return soak - soak / _FASTEST_CLOCK + (_CLOCKS_APART_SECONDS if handed_over else 0.0)


def _lost_seconds(seen: Seen, climb: _Climb) -> float:
    """How long, since a share was verified, a datasource was away or other weights in force; short gaps are none."""
    start, end = climb.verified_at, climb.entry.at
    blind = [
        (each.began_at, each.ended_at)
        for each in seen.incidents
        if each.kind in BLINDING and not (each.kind == Kind.HUNG_METRICS and _read_later(seen, each, end))
    ]
    foreign = foreign_spans(seen, climb.entry.shift, climb.verified_at, end)
    reach = _UNSEEN_TICKS * seen.bounds.tick_seconds
    total, until = 0.0, start
    for since, ended in sorted((*blind, *foreign)):
        within = min(end, ended) - max(since, until)
        total += max(0.0, within - reach)
        until = max(until, min(end, ended))
    return total


def _read_later(seen: Seen, hung: Incident, until: float) -> bool:
    """Whether a process that began since may have read what a datasource went on to count while it did not answer."""
    return any(hung.began_at <= life.started_at <= until for life in seen.lives)


def _no_verdict(_: Seen, climb: _Climb) -> str:
    verdict = climb.entry.evidence.get("verdict")
    if climb.promoted is not None:
        return "its verdict was fail, which a promotion does not pass" if _fails(verdict, climb.promoted) else ""
    return "" if verdict == "pass" else f"its verdict was {verdict!r}"


def _fails(verdict: object, order: OrderRow) -> bool:
    return verdict == "fail" and not order.override


def _blind(seen: Seen, climb: _Climb) -> str:
    if climb.promoted is not None:
        return ""
    at = climb.entry.at
    for each in seen.incidents:
        if each.kind in BLINDING and each.began_at < at - seen.bounds.noticed_seconds and at < each.ended_at:
            return f"{each.told} since {at - each.began_at:.1f} s"
    return ""


def _drifted(seen: Seen, climb: _Climb) -> str:
    """Weights that somebody set after the share was verified are not climbed over; time to see it is given."""
    at = climb.entry.at
    for since, until in foreign_spans(seen, climb.entry.shift, climb.verified_at, at):
        if until >= at and at - since > _SETTLED_SECONDS:
            return f"somebody else's weights were in force for {at - since:.1f} s"
    return ""


def foreign_spans(seen: Seen, shift: str, verified_at: float, until: float) -> list[tuple[float, float]]:
    """When, since the share was verified, other weights than those verified were in force on members still there."""
    routes = dict.fromkeys(change.route for change in seen.changes_of(shift))
    return sorted(span for route in routes for span in _foreign_spans(seen, shift, route, verified_at, until))


def _foreign_spans(seen: Seen, shift: str, route: str, verified_at: float, until: float) -> list[tuple[float, float]]:
    changes = [change for change in seen.changes_of(shift) if change.route == route and change.at <= until]
    read_by = verified_at + seen.bounds.tick_seconds
    earlier = [change for change in changes if change.at <= read_by]
    written = [change for change in earlier if change.request_id]
    verified = (written or earlier)[-1].after if earlier else {}
    found: list[tuple[float, float]] = []
    since: float | None = None
    for change in changes:
        foreign = any(change.after.get(key, weight) != weight for key, weight in verified.items())
        if change.at < verified_at or foreign == (since is not None):
            continue
        if since is not None:
            found.append((since, change.at))
        since = change.at if foreign else None
    return found if since is None else [*found, (since, until)]


def _no_file(seen: Seen, climb: _Climb) -> str:
    at, shift = climb.entry.at, climb.entry.shift
    known = [each for each in seen.policies if each.shift == shift and each.at <= at + _SETTLED_SECONDS]
    recent = [each for each in known if each.at > at - _SETTLED_SECONDS]
    before = [each for each in known if each.at <= at - _SETTLED_SECONDS]
    bad = bool(before) and not before[-1].steps and not any(each.steps for each in recent)
    return f"its file was broken or gone since {at - before[-1].at:.1f} s" if bad else ""


def _users_failed(seen: Seen, climb: _Climb) -> str:
    """What users saw in the seconds before, their edges left out: no verdict may pass what they plainly suffered.

    They suffer what fails, and what takes too long.
    """
    if climb.share <= 0 or climb.promoted is not None:
        return ""
    at, shift = climb.entry.at, climb.entry.shift
    since = max(at - seen.bounds.plainly_seconds, climb.verified_at) + 1
    until = at - seen.bounds.noticed_seconds / 2
    also = [each for each in seen.incidents if shift in each.namespaces and each.hurts - {TARGET}]
    if any(each.covers(since, until, _SETTLED_SECONDS) for each in also):
        return ""
    seconds = [each for each in seen.seconds if each.namespace == shift and since <= each.at and each.at + 1 <= until]
    # What nobody could see while it happened, or when it was to be read, is no evidence afterwards: a sample and a look
    # come later, and what was counted before a datasource went away, or a process waited, is lost if that goes on.
    blind = [each for each in seen.incidents if each.kind in BLINDING | {Kind.ODD_METRICS} or _stands_still(each)]
    read_seconds = seen.bounds.noticed_seconds / 2
    seconds = [each for each in seconds if not any(one.covers(each.at, each.at + 1 + read_seconds) for one in blind)]
    # Who reads by a clock that is behind sees what was, as long ago as a sample may be.
    behind = any(each.kind == Kind.CLOCK and each.began_at <= at for each in seen.incidents)
    known_until = at - seen.bounds.noticed_seconds if behind else until
    bad = sum(each.failed + each.slow for each in seconds if each.at + 1 <= known_until)
    answers = sum(each.by_mesh.get(TARGET, 0) for each in seconds)
    if bad < _FEWEST_BAD or 100 * bad <= seen.bounds.plainly_percent * answers:
        return ""
    return f"users saw {bad} bad answers among {answers} of {TARGET} and none of {SOURCE} is to blame"


def _stands_still(incident: Incident) -> bool:
    """Whether a process waits for a call that it can do nothing without."""
    return incident.kind == Kind.WAITS and incident.whom != ""


def _frozen(seen: Seen, climb: _Climb) -> str:
    """Not even a promotion passes a freeze."""
    orders = {row.id: row for row in seen.orders}
    said = [row for entry in seen.entries if entry.precedes(climb.entry) and (row := accepted(entry, orders))]
    last = [row for row in said if row.verb in {"freeze", "unfreeze"}][-1:]
    return f"{last[0].by} froze all shifts by order {last[0].id}" if last and last[0].verb == "freeze" else ""


def _not_approved(seen: Seen, climb: _Climb) -> str:
    """An approval without a share is for the next gate; which one that was is not asked."""
    if None in climb.approved or (climb.promoted is not None and climb.promoted.override):
        return ""
    files = policies_at(seen, climb.entry.shift, climb.entry.at)
    lowest, highest = climb.share, climb.entry.share("to")
    shut = [{gate for gate in file.gates if lowest < gate <= highest} - climb.approved for file in files]
    return "" if not shut or not all(shut) else f"nobody has approved {sorted(shut[0])} in this attempt"
