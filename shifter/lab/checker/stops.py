"""What people stopped stays stopped: only what the cloud had already may land after a pause, a rollback, hands off."""

from __future__ import annotations

from typing import Final

from shifter.lab.checker.climbs import accepted
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import Entry, Finding, Seen, Violation

FLYING: Final = "a climb that lands after a pause or rollback was under way"
HANDS_OFF: Final = "no write while hands are off"


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about stopping found."""
    return [_flying(seen), _hands_off(seen)]


def _flying(seen: Seen) -> Finding:
    """After an accepted pause or rollback a climb may land that the cloud had already; nothing later."""
    orders = {row.id: row for row in seen.orders}
    wrong: list[Violation] = []
    looked_at = 0
    for shift in seen.namespaces:
        said = [(entry, accepted(entry, orders)) for entry in seen.of(shift, "order")]
        stops = [entry for entry, row in said if row is not None and row.verb in {"pause", "rollback"}]
        climbs = [entry for entry in seen.of(shift, "intent") if entry.evidence.get("direction") == "climb"]
        for stop in stops:
            looked_at += 1
            before = [climb for climb in climbs if climb.id < stop.id][-1:]
            after = [climb.at for climb in climbs if climb.id > stop.id][:1]
            wrong += [
                _landed(seen, climb, stop, until) for climb in before for until in _late(seen, climb, stop, after)
            ]
    return Finding(FLYING, looked_at, tuple(wrong))


def _late(seen: Seen, climb: Entry, stop: Entry, after: list[float]) -> list[float]:
    """The times at which the climb's share came into force too long after the order that stood against it."""
    limit = stop.at + seen.bounds.flight_seconds
    until = min([*after, climb.at + seen.bounds.operation_seconds + seen.bounds.late_seconds])
    return [
        change.at
        for change in seen.changes_of(climb.shift)
        if change.request_id
        and limit < change.at < until
        and (seen.share(change.after) or 0.0) > max(seen.share(change.before) or 0.0, climb.share("from")) + 1
        and not _slow(seen, climb.at, change.at)
    ]


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
            if change.request_id
            and since + seen.bounds.flight_seconds < change.at < until
            and not _slow(seen, since - seen.bounds.late_seconds, change.at)
        ]
    return Finding(HANDS_OFF, len(spans), tuple(wrong))


def hands_off_spans(seen: Seen, shift: str) -> list[tuple[str, float, float]]:
    """When a shift was in a person's hands only: from the answer to its end, or to the order that ended it."""
    orders = {row.id: row for row in seen.orders}
    found: list[tuple[str, float, float]] = []
    said = [(entry, row) for entry in seen.of(shift, "order") if (row := accepted(entry, orders))]
    for index, (entry, row) in enumerate(said):
        if row.verb == "pause" and row.hands_off_seconds:
            ended = [later.at for later, other in said[index + 1 :] if other.verb in {"resume", "pause", "promote"}]
            found.append((shift, entry.at, min([entry.at + row.hands_off_seconds, *ended[:1]])))
    return found
