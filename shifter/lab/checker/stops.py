"""What people stopped stays stopped: only what the cloud had already may land after a pause, a rollback, hands off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shifter.lab.checker.climbs import accepted
from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import EVERYBODY, Change, Entry, Seen
from shifter.lab.checker.terms import was_stopped
from shifter.lab.checker.writes import explained, raised, saved_first

FLYING: Final = "a climb that lands after a pause, rollback or freeze was under way"
WAITING: Final = "no raise is sent while an order against it waits"
HANDS_OFF: Final = "no write while hands are off"

_AGAINST: Final = frozenset({"pause", "rollback", "freeze"})
_UNREAD: Final = frozenset({Kind.STALE})
"""After which an old answer may have been read; who gets none sends nothing."""

_WRONG_SECONDS: Final = 2.0
"""How much earlier a moment may come by a clock that is wrong."""

_READING_SECONDS: Final = 0.5
"""Between the last look at the orders and the call."""


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about stopping found."""
    return [_flying(seen), _waiting(seen), _hands_off(seen)]


def _flying(seen: Seen) -> Finding:
    """After an accepted pause, rollback or freeze a climb may land that the cloud had already; nothing later."""
    orders = {row.id: row for row in seen.orders}
    frozen = [
        entry for entry in seen.of(EVERYBODY, "order") if (row := accepted(entry, orders)) and row.verb == "freeze"
    ]
    wrong: list[Violation] = []
    looked_at = 0
    for shift in seen.namespaces:
        said = [(entry, accepted(entry, orders)) for entry in seen.of(shift, "order")]
        stops = [entry for entry, row in said if row is not None and row.verb in {"pause", "rollback"}]
        stops += frozen
        climbs = [entry for entry in seen.of(shift, "intent") if entry.evidence.get("direction") == "climb"]
        for stop in stops:
            looked_at += 1
            before = [climb for climb in climbs if climb.precedes(stop)][-1:]
            after = [climb.at for climb in climbs if stop.precedes(climb)][:1]
            for climb in before:
                wrong += [_landed(seen, climb, stop, until) for until in _late(seen, climb, stop, after)]
                wrong += _sent(seen, climb, stop)
    return Finding(FLYING, looked_at, tuple(wrong))


def _late(seen: Seen, climb: Entry, stop: Entry, after: list[float]) -> list[float]:
    """The times at which the climb's share came into force too long after the order that stood against it."""
    limit = stop.kept_at + seen.bounds.flight_seconds
    until = min([*after, climb.at + seen.bounds.operation_seconds + seen.bounds.late_seconds])
    return [
        change.at
        for change in seen.changes_of(climb.shift)
        if change.request_id
        and change.submitted_at is None
        and limit < change.at < until
        and (seen.share(change.after) or 0.0) > max(seen.share(change.before) or 0.0, climb.share("from")) + 1
        and not _slow(seen, climb.at, change.at)
    ]


def _sent(seen: Seen, climb: Entry, stop: Entry) -> Iterator[Violation]:
    """Where the log says when a call was made: none after the answer, but of a process that stood still meanwhile."""
    for change in seen.changes_of(climb.shift):
        at = change.submitted_at
        if at is None or at <= stop.kept_at or not change.request_id or not raised(seen, change):
            continue
        found = explained(seen, change)
        if found is None or found.intent.id != climb.id or was_stopped(seen, change.caller, stop.kept_at, at):
            continue
        told = f"sent {at - stop.kept_at:.2f} s after record {stop.id} ({stop.reason})"
        yield Violation(FLYING, change.at, climb.shift, f"intent {climb.sequence}, record {climb.id}: {told}")


def _waiting(seen: Seen) -> Finding:
    """Orders are read right before each call: one that was given before stands against it until its answer is saved.

    A pause and what ends it may be answered in one turn, and what follows from that be sent in the same instant.
    """
    answers = {entry.evidence.get("order"): entry for entry in seen.entries if entry.what == "order"}
    raises = [change for change in seen.changes if change.request_id and change.submitted_at and raised(seen, change)]
    wrong: list[Violation] = []
    for change in raises:
        at = change.submitted_at or change.at
        against = [
            row
            for row in seen.orders
            if row.verb in _AGAINST
            and row.shift in {change.namespace, EVERYBODY}
            and row.at < at - _READING_SECONDS
            and not (row.id in answers and saved_first(answers[row.id], change))
        ]
        stale = any(each.kind in _UNREAD and each.covers(at, at) for each in seen.incidents)
        if against and not stale and not was_stopped(seen, change.caller, against[0].at, at):
            row = against[0]
            told = f"{change.request_id} sent {at - row.at:.1f} s after order {row.id}, {row.verb} by {row.by}"
            wrong.append(Violation(WAITING, change.at, change.namespace, told))
    return Finding(WAITING, len(raises), tuple(wrong))


def _slow(seen: Seen, start: float, end: float) -> bool:
    """Whether the cloud was told to sit on calls: then one lands when it likes."""
    return any(each.kind == Kind.CLOUD and each.covers(start, end) for each in seen.incidents)


def _landed(seen: Seen, climb: Entry, stop: Entry, at: float) -> Violation:
    allowed = f"{seen.bounds.flight_seconds:g} s allowed"
    told = f"{at - stop.at:.1f} s after record {stop.id} ({stop.reason}) a raise landed, {allowed}"
    return Violation(FLYING, at, climb.shift, f"intent {climb.sequence}, record {climb.id}: {told}")


def _hands_off(seen: Seen) -> Finding:
    """Nothing at all is written, not even to go back; what the cloud has already may land."""
    wrong: list[Violation] = []
    spans = [span for shift in seen.namespaces for span in hands_off_spans(seen, shift)]
    for shift, since, until in spans:
        wrong += [
            Violation(HANDS_OFF, entry.at, shift, f"intent {entry.sequence}, record {entry.id}: {entry.reason}")
            for entry in seen.of(shift, "intent")
            if since < entry.at < until
        ]
        wrong += [
            Violation(HANDS_OFF, change.at, shift, f"{change.action} {change.request_id} landed")
            for change in seen.changes_of(shift)
            if change.request_id and _sent_within(seen, change, since, until)
        ]
    return Finding(HANDS_OFF, len(spans), tuple(wrong))


def _sent_within(seen: Seen, change: Change, since: float, until: float) -> bool:
    """Whether a write was sent while hands were off; it is told by when it landed where nobody knows when it was."""
    if change.submitted_at is None:
        landed = since + seen.bounds.flight_seconds < change.at < until
        return landed and not _slow(seen, since - seen.bounds.late_seconds, change.at)
    return since < change.submitted_at < until and not was_stopped(seen, change.caller, since, change.submitted_at)


def hands_off_spans(seen: Seen, shift: str) -> list[tuple[str, float, float]]:
    """When a shift was in a person's hands only: from the answer to the order that ended it, or its end.

    Its time is counted from when it was asked for, as the answer says.
    """
    orders = {row.id: row for row in seen.orders}
    off_seconds = _WRONG_SECONDS if any(each.kind == Kind.CLOCK for each in seen.incidents) else 0.0
    found: list[tuple[str, float, float]] = []
    said = [(entry, row) for entry in seen.of(shift, "order") if (row := accepted(entry, orders))]
    for index, (entry, row) in enumerate(said):
        if row.verb == "pause" and row.hands_off_seconds:
            ended = [later.at for later, other in said[index + 1 :] if other.verb in {"resume", "pause", "promote"}]
            until = min(row.at, entry.at) + row.hands_off_seconds - off_seconds
            found.append((shift, entry.at, min([until, *ended[:1]])))
    return found
