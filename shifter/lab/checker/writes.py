"""Every write of the cloud's own log is somebody's: a saved intent's, or one of the schedule's.

The log says what was really applied and when, whatever anybody was told; the history says what was meant.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import Change, Entry, Finding, Seen, Violation

RAISES: Final = "every raise of a live share is explained"
LATE: Final = "an intent that has ended lands at most once more"
KILLED: Final = "at most one write per lock domain lands after a kill"
DARK: Final = "no write leaves a rule without weight"

_ROUNDING_PERCENT: Final = 0.05
_HALF_PERCENT: Final = 0.5
"""How much a write of which a random part was applied may overshoot: from step to step the source's weights move by a
unit or two, and without them the target's amount to a little more."""

_BESIDE_SECONDS: Final = 1.0
_MOVES_WEIGHTS: Final = frozenset({Kind.EDIT, Kind.RESYNC, Kind.GONE})


@dataclass(frozen=True, slots=True)
class _Span:
    """An intent with the time of its end; None while it is open."""

    intent: Entry
    end: float | None

    def open_at(self, at: float) -> bool:
        return self.intent.at <= at and (self.end is None or at <= self.end)

    def late_at(self, at: float, late_seconds: float) -> bool:
        return self.end is not None and self.end < at <= self.end + late_seconds


def spans(seen: Seen, shift: str) -> list[_Span]:
    """A shift's intents with their ends, in order."""
    ends = {entry.sequence: entry.at for entry in seen.of(shift, "done", "failed")}
    return [_Span(intent, ends.get(intent.sequence)) for intent in seen.of(shift, "intent")]


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about writes found."""
    return [*_raises(seen), _killed(seen), _dark(seen)]


def raised(seen: Seen, change: Change) -> bool:
    """Whether a change raised the share that users got, as far as the health check's opinion goes."""
    dead = seen.dead(change.namespace, change.at)
    before, after = seen.share(change.before, dead), seen.share(change.after, dead)
    return after is not None and after > (before or 0.0) + _ROUNDING_PERCENT


def _raises(seen: Seen) -> Iterator[Finding]:
    raises = [change for change in seen.changes if raised(seen, change)]
    wrong: list[Violation] = []
    landings: Counter[tuple[str, int, str]] = Counter()
    for change in raises:
        if not change.request_id:
            if not _scheduled(seen, change):
                wrong.append(_violation(RAISES, seen, change, f"{change.action} that the schedule does not have"))
            continue
        found = _explained(seen, change)
        if found is None:
            wrong.append(_violation(RAISES, seen, change, "no intent saved before it goes so high"))
        elif not found.open_at(change.at):
            landings[change.namespace, found.intent.sequence, change.balancer] += 1
            if landings[change.namespace, found.intent.sequence, change.balancer] > 1:
                wrong.append(_violation(LATE, seen, change, f"intent {found.intent.sequence} again"))
    yield Finding(RAISES, len(raises), tuple(each for each in wrong if each.rule == RAISES))
    yield Finding(LATE, len(raises), tuple(each for each in wrong if each.rule == LATE))


def _scheduled(seen: Seen, change: Change) -> bool:
    start, end = change.at - _BESIDE_SECONDS, change.at + _BESIDE_SECONDS
    return any(
        incident.kind in _MOVES_WEIGHTS and change.namespace in incident.namespaces and incident.covers(start, end)
        for incident in seen.incidents
    )


def _explained(seen: Seen, change: Change) -> _Span | None:
    """Return the intent that may have done it: an open one if any, else one that ended a short while ago."""
    late_seconds = seen.bounds.late_seconds
    fits = [span for span in spans(seen, change.namespace) if _high_enough(seen, change, span.intent)]
    is_open = [span for span in fits if span.open_at(change.at)]
    late = [span for span in fits if span.late_at(change.at, late_seconds)]
    return next(reversed(is_open or late), None)


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
    killed = [(life, following) for life, following in zip(seen.lives, seen.lives[1:], strict=False) if life.killed]
    for life, following in killed:
        assert life.ended_at is not None  # noqa: S101 - a killed process has an end
        landed: dict[str, set[str]] = defaultdict(set)
        for change in seen.changes:
            if change.request_id and life.ended_at < change.at < following.started_at:
                landed[change.balancer].add(change.request_id)
        for balancer, requests in landed.items():
            if len(requests) > 1:
                told = f"{len(requests)} writes on {balancer} after the kill: {', '.join(sorted(requests))}"
                wrong.append(Violation(KILLED, life.ended_at, balancer, told))
    return Finding(KILLED, len(killed), tuple(wrong))


def _dark(seen: Seen) -> Finding:
    ours = [change for change in seen.changes if change.request_id]
    wrong = tuple(
        Violation(DARK, change.at, change.namespace, f"{change.action} {change.request_id} left every weight 0")
        for change in ours
        if change.after and not any(change.after.values()) and any(change.before.values())
    )
    return Finding(DARK, len(ours), wrong)
