"""Every write of the cloud's own log is somebody's: a saved intent's, or one of the schedule's.

The log says what was really applied and when, whatever anybody was told; the history says what was meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import Change, Entry, Life, Seen

RAISES: Final = "every raise of a live share is explained"
LATE: Final = "an intent that has ended lands at most once more"
KILLED: Final = "at most one write per lock domain lands after a kill"
DOWN: Final = "what is sent to lower the share never raises it"
WRITTEN: Final = "every write has an intent, or lowers the share while the store is away"
DARK: Final = "no write leaves a rule without weight"
RANGE: Final = "every weight written is one that the cloud knows"

_ROUNDING_PERCENT: Final = 0.05
_HALF_PERCENT: Final = 0.5
"""How much a write of which a random part was applied may overshoot: from step to step the source's weights move by a
unit or two, and without them the target's amount to a little more."""

_BESIDE_SECONDS: Final = 1.0
_MOVES_WEIGHTS: Final = frozenset({Kind.EDIT, Kind.RESYNC, Kind.GONE, Kind.CHURN})
_AWAY: Final = frozenset({Kind.STORE, Kind.KILLED, Kind.FROZEN, Kind.LEASE, Kind.RESTARTED})
"""While which a retreat may be sent that no store has taken."""

_MOST_WEIGHT: Final = 100


@dataclass(frozen=True, slots=True)
class Span:
    """An intent with the time of its end; None while it is open."""

    intent: Entry
    end: float | None

    def open_at(self, at: float) -> bool:
        """Whether it was saved and had not ended."""
        return self.intent.kept_at <= at and (self.end is None or at <= self.end)

    def late_at(self, at: float, late_seconds: float) -> bool:
        """Whether it had ended a short while before."""
        return self.end is not None and self.end < at <= self.end + late_seconds


def spans(seen: Seen, shift: str) -> list[Span]:
    """A shift's intents with their ends, in order."""
    ends = {entry.sequence: entry.kept_at for entry in seen.of(shift, "done", "failed")}
    return [Span(intent, ends.get(intent.sequence)) for intent in seen.of(shift, "intent")]


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about writes found."""
    return [*_raises(seen), _down(seen), _written(seen), _killed(seen), _dark(seen), _range(seen)]


def raised(seen: Seen, change: Change) -> bool:
    """Whether a change raised the share that users got, as far as the health check's opinion goes."""
    dead = seen.dead(change.namespace, change.at)
    before, after = seen.share(change.before, dead), seen.share(change.after, dead)
    return after is not None and after > (before or 0.0) + _ROUNDING_PERCENT


def _raises(seen: Seen) -> Iterator[Finding]:
    raises = [change for change in seen.changes if raised(seen, change)]
    wrong: list[Violation] = []
    # One call may set several rules at once.
    landings: dict[tuple[str, int, str], set[tuple[str, float]]] = defaultdict(set)
    for change in raises:
        if not change.request_id:
            if not _scheduled(seen, change):
                wrong.append(_violation(RAISES, seen, change, f"{change.action} that the schedule does not have"))
            continue
        found = explained(seen, change)
        if found is None:
            wrong.append(_violation(RAISES, seen, change, "no intent saved before it goes so high"))
        elif not found.open_at(change.at):
            place = change.namespace, found.intent.sequence, change.balancer
            landings[place].add((change.request_id, change.at))
            if len(landings[place]) > 1:
                wrong.append(_violation(LATE, seen, change, f"intent {found.intent.sequence} again"))
    yield Finding(RAISES, len(raises), tuple(each for each in wrong if each.rule == RAISES))
    yield Finding(LATE, len(raises), tuple(each for each in wrong if each.rule == LATE))


def _down(seen: Seen) -> Finding:
    """A retreat needs neither a lease nor the store and passes every hold, so it must be one."""
    ours = [change for change in seen.changes if change.request_id and raised(seen, change)]
    wrong = []
    for change in ours:
        sent_at = change.at if change.submitted_at is None else change.submitted_at
        meant = [
            span for span in spans(seen, change.namespace) if span.intent.at <= sent_at and span.open_at(change.at)
        ]
        if not meant or meant[-1].intent.evidence.get("direction") != "retreat":
            continue
        if change.submitted_at is None and _explained_before(seen, change, meant[-1]):
            continue  # it may as well be an earlier one that landed late
        if _share_then(seen, change, sent_at) >= (
            seen.share(change.after, seen.dead(change.namespace, sent_at)) or 0.0
        ):
            continue  # somebody lowered the share while it was on its way
        wrong.append(_violation(DOWN, seen, change, f"by intent {meant[-1].intent.sequence}, a retreat"))
    return Finding(DOWN, len(ours), tuple(wrong))


def _share_then(seen: Seen, change: Change, at: float) -> float:
    """The share of a change's route when it was sent; where nothing had changed it yet, as it found it."""
    weights = seen.weights_at(change.namespace, at).get(change.route, change.before)
    found = [each for each in seen.changes_of(change.namespace) if each.route == change.route and each.at <= at]
    # What is half applied may lie a unit's worth off: above where it came from, or below where it is set back to.
    halves = {change.outcome, *(each.outcome for each in found[-1:])}
    off = _HALF_PERCENT if "half" in halves else _ROUNDING_PERCENT
    return (seen.share(weights, seen.dead(change.namespace, at)) or 0.0) + off


def _explained_before(seen: Seen, change: Change, span: Span) -> bool:
    late = [each for each in spans(seen, change.namespace) if each.late_at(change.at, seen.bounds.late_seconds)]
    return any(each.intent.id < span.intent.id and _high_enough(seen, change, each.intent) for each in late)


def _written(seen: Seen) -> Finding:
    """What raises is judged by its own rule; what does not may come before it is saved, but not without a reason."""
    ours = [change for change in seen.changes if change.request_id and not raised(seen, change)]
    ours = [change for change in ours if change.before.keys() == change.after.keys()]
    away = [each for each in seen.incidents if each.kind in _AWAY]
    wrong = []
    for change in ours:
        meant = spans(seen, change.namespace)
        since = change.at if change.submitted_at is None else change.submitted_at
        begun = [span for span in meant if span.intent.at <= change.at]
        if begun and (begun[-1].end is None or change.at <= begun[-1].end + seen.bounds.late_seconds):
            continue
        theirs = [each for each in away if each.whom in {change.caller, ""} or not change.caller]
        if any(each.covers(since - seen.bounds.operation_seconds, change.at) for each in theirs):
            continue
        wrong.append(_violation(WRITTEN, seen, change, "nobody meant it"))
    return Finding(WRITTEN, len(ours), tuple(wrong))


def _scheduled(seen: Seen, change: Change) -> bool:
    start, end = change.at - _BESIDE_SECONDS, change.at + _BESIDE_SECONDS
    return any(
        incident.kind in _MOVES_WEIGHTS and change.namespace in incident.namespaces and incident.covers(start, end)
        for incident in seen.incidents
    )


def explained(seen: Seen, change: Change) -> Span | None:
    """Return the intent that may have done it: an open one if any, else one that ended a short while ago."""
    late_seconds = seen.bounds.late_seconds
    fits = [span for span in spans(seen, change.namespace) if _high_enough(seen, change, span.intent)]
    fits = [span for span in fits if saved_first(span.intent, change)]
    is_open = [span for span in fits if span.open_at(change.at)]
    late = [span for span in fits if span.late_at(change.at, late_seconds)]
    return next(reversed(is_open or late), None)


def saved_first(entry: Entry, change: Change) -> bool:
    """Whether a record was in the store before the call was made; in one instant the calls' numbers tell."""
    if change.call and entry.call:
        return entry.call < change.call
    return entry.kept_at <= (change.at if change.submitted_at is None else change.submitted_at)


def _high_enough(seen: Seen, change: Change, intent: Entry) -> bool:
    """Whether the share after a change stays within an intent's, by what was known of health when it was made."""
    known = {intent.at, intent.at - seen.bounds.tick_seconds, change.at}
    known |= {note.at for note in seen.health if intent.at - seen.bounds.tick_seconds <= note.at <= change.at}
    shares = [seen.share(change.after, seen.dead(change.namespace, at)) for at in known]
    lowest = min((share for share in shares if share is not None), default=0.0)
    if lowest <= intent.share("to") + (_HALF_PERCENT if change.outcome == "half" else _ROUNDING_PERCENT):
        return True
    # Members that came or went since were not in the sum.
    return any(
        other.action in {"AddTarget", "RemoveTarget"} and intent.at - seen.bounds.tick_seconds <= other.at <= change.at
        for other in seen.changes_of(change.namespace)
    )


def _violation(rule: str, seen: Seen, change: Change, why: str) -> Violation:
    dead = seen.dead(change.namespace, change.at)
    before, after = seen.share(change.before, dead), seen.share(change.after, dead)
    told = f"{_shown(before)} to {_shown(after)} by {change.action} {change.request_id or '(no API)'}: {why}"
    return Violation(rule, change.at, change.namespace, told)


def _shown(share: float | None) -> str:
    return "nobody" if share is None else f"{share:.4g} %"


def _killed(seen: Seen) -> Finding:
    """A process that dies leaves at most the one call per lock domain behind that it was making."""
    wrong: list[Violation] = []
    answered = frozenset(call.request_id for call in seen.calls if call.what == "submit" and call.answer == "ok")
    killed = [
        (life, following) for life, following in pairwise([*seen.lives, None]) if life is not None and life.killed
    ]
    for life, following in killed:
        assert life.ended_at is not None  # noqa: S101 - a killed process has an end
        landed: dict[str, set[str]] = defaultdict(set)
        for change in seen.changes:
            if change.request_id and life.ended_at < change.at and _left_by(change, life, following, answered):
                landed[change.balancer].add(change.request_id)
        for balancer, requests in landed.items():
            if len(requests) > 1:
                told = f"{len(requests)} writes on {balancer} after the kill: {', '.join(sorted(requests))}"
                wrong.append(Violation(KILLED, life.ended_at, balancer, told))
    return Finding(KILLED, len(killed), tuple(wrong))


def _left_by(change: Change, life: Life, following: Life | None, answered: frozenset[str]) -> bool:
    """Whether its call was under way when the process died; without a caller, what lands before the next one began."""
    if change.submitted_at is not None:
        if change.request_id in answered:
            return False
        return change.caller == life.replica and life.started_at <= change.submitted_at <= (life.ended_at or 0.0)
    return following is None or change.at < following.started_at


def _range(seen: Seen) -> Finding:
    ours = [change for change in seen.changes if change.request_id]
    wrong = tuple(
        Violation(RANGE, change.at, change.namespace, f"{change.action} {change.request_id}: {dict(change.after)}")
        for change in ours
        if any(not 0 <= weight <= _MOST_WEIGHT for weight in change.after.values())
    )
    return Finding(RANGE, len(ours), wrong)


def _dark(seen: Seen) -> Finding:
    ours = [change for change in seen.changes if change.request_id]
    wrong = tuple(
        Violation(DARK, change.at, change.namespace, f"{change.action} {change.request_id} left every weight 0")
        for change in ours
        if change.after and not any(change.after.values()) and any(change.before.values())
    )
    return Finding(DARK, len(ours), wrong)
