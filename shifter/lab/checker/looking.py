"""Nothing is believed unseen: shares are verified by what was in force, and written over what was read before.

The cloud's own log of calls tells who read what and when, its log of weights what there was to see.
"""

from __future__ import annotations

from typing import Final

from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.seen import Call, Change, Entry, Seen
from shifter.lab.checker.terms import was_stopped
from shifter.lab.checker.writes import spans

VERIFIED: Final = "a write is called done only when it was in force"
READ_BACK: Final = "after an answer that never came, nothing is raised before it was read back"
AGAIN: Final = "a raise whose answer never came is not sent again within its intent"
LOOKED: Final = "nothing is raised that was not read shortly before"
OVER: Final = "nobody else's weights are written over unasked"

_SHORT_PERCENT: Final = 0.6
"""How far integer weights may stay below a share between 0 and 100."""

_OVER_PERCENT: Final = 0.1
_SEEN_SECONDS: Final = 3.0
"""Weights that somebody set so shortly before are not known yet, but to whom they were shown."""

_MEMBERSHIP: Final = frozenset({"AddTarget", "RemoveTarget", "Resync", "TkeResync"})


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about reading found."""
    return [_verified(seen), _read_back(seen), _again(seen), _looked(seen), _over(seen)]


def _verified(seen: Seen) -> Finding:
    """Only judged where it is known how old what was read may be."""
    done = [entry for entry in seen.entries if entry.what == "done" and seen.bounds.read_seconds]
    wrong = [(entry, said) for entry in done if (said := _unseen(seen, entry))]
    told = tuple(
        Violation(VERIFIED, entry.at, entry.shift, f"intent {entry.sequence}: {said}") for entry, said in wrong
    )
    return Finding(VERIFIED, len(done), told)


def _unseen(seen: Seen, entry: Entry) -> str:
    """Return which shares were in force instead, at any time that the read may have shown; empty if the right ones.

    What was known of members and their health when it was meant may be what was reckoned with, then or since.
    """
    to, since, until = entry.share("to"), entry.at - seen.bounds.read_seconds, entry.kept_at
    earlier = [each.at for each in seen.of(entry.shift, "done") if each.id < entry.id]
    meant = min(since, earlier[-1] if earlier else seen.began_at) - seen.bounds.read_seconds - seen.bounds.tick_seconds
    changes = [change for change in seen.changes_of(entry.shift) if meant <= change.at <= until]
    if any(change.action in _MEMBERSHIP for change in changes):
        return ""
    notes = [note.at for note in seen.health if note.namespace == entry.shift and meant <= note.at <= until]
    opinions = {seen.dead(entry.shift, at) for at in (meant, *notes)}
    by_route: dict[str, list[float | None]] = {}
    for at in sorted({since, until, *(change.at for change in changes if change.at >= since)}):
        for route, weights in seen.weights_at(entry.shift, at).items():
            by_route.setdefault(route, []).extend(seen.share(weights, dead) for dead in opinions)
    missed = [route for route, shares in by_route.items() if not any(_is(share, to) for share in shares)]
    if not missed:
        return ""
    return (
        f"{to:g} % was not in force: {', '.join(f'{route or entry.shift} had {by_route[route]}' for route in missed)}"
    )


def _is(share: float | None, to: float) -> bool:
    if share is None or to in {0, 100}:
        return share == to
    return to - _SHORT_PERCENT <= share <= to + _OVER_PERCENT


def _read_back(seen: Seen) -> Finding:
    wrong: list[Violation] = []
    unanswered = 0
    for place in dict.fromkeys((call.domain, route) for call in seen.calls for route in call.routes):
        open_since: Call | None = None
        for call in sorted((call for call in seen.calls if _is_about(call, place)), key=lambda call: call.at):
            if call.what == "observe" and call.answer == "ok" and open_since and call.at > _lost_at(open_since, call):
                open_since = None
            if call.what != "submit" or not call.raises:
                continue
            if open_since is not None:
                said = f"{call.request_id} by {call.caller}, but nobody knew what became of {open_since.request_id}"
                wrong.append(Violation(READ_BACK, call.at, place[1], said))
            if call.answer == "unknown":
                unanswered, open_since = unanswered + 1, call
    return Finding(READ_BACK, unanswered, tuple(wrong))


def _is_about(call: Call, place: tuple[str, str]) -> bool:
    """Whether a call concerns a route; a look at a lock domain shows all of its routes."""
    return call.domain == place[0] and (place[1] in call.routes or (call.what == "observe" and not call.routes))


def _again(seen: Seen) -> Finding:
    """It may still be carried out: until that is known, or its time is over, a second one could only make it worse.

    Another process than the one that sent it cannot know what it was answered, so to it every answer is lost. Weights
    as they were when the intent began are not sent again but put back: the source's may have gone up by a unit alone.
    """
    raises = [call for call in seen.calls if call.what == "submit" and call.raises and call.routes]
    names = {change.route: change.namespace for change in seen.changes}
    wrong: list[Violation] = []
    taken: dict[tuple[str, int, str], Call] = {}
    for call in sorted(raises, key=lambda call: call.at):
        namespace = names.get(call.routes[0], "")
        is_open = [span.intent for span in spans(seen, namespace) if span.open_at(call.at)]
        if not is_open or is_open[-1].evidence.get("direction") == "retreat" or _puts_back(seen, call, is_open[-1]):
            continue
        key = namespace, is_open[-1].sequence, call.domain
        if _led_before(seen, call, is_open[-1]):
            # What an earlier leader decided, and sent late: what may come of that is `terms`' to judge.
            continue
        before = taken.get(key)
        if before is not None and (before.answer == "unknown" or before.caller != call.caller):
            said = f"{call.request_id} by {call.caller}, after {before.request_id} by {before.caller}, intent {key[1]}"
            wrong.append(Violation(AGAIN, call.at, namespace, said))
        if call.answer in {"ok", "unknown"}:
            taken[key] = call
    return Finding(AGAIN, len(taken), tuple(wrong))


def _led_before(seen: Seen, call: Call, intent: Entry) -> bool:
    """Whether who made a call never led as late as an intent was begun, so that it is no sending of that one."""
    epochs = [life.epoch for life in seen.lives if life.replica and life.replica == call.caller]
    return bool(epochs) and max(epochs) < intent.epoch


def _puts_back(seen: Seen, call: Call, intent: Entry) -> bool:
    """Whether a call asks for the weights that were live when an intent was saved: a part of it is mended so.

    Who mends toward the source need not have it saved first, so that no intent of its own need be open.
    """
    live = seen.weights_at(intent.shift, intent.kept_at)
    same = [live.get(route, {}).get(key) == each for route, asked in call.asked.items() for key, each in asked.items()]
    return bool(same) and all(same)


def _told_at(call: Call) -> float:
    return call.at if call.answered_at is None else call.answered_at


def _lost_at(call: Call, look: Call) -> float:
    """Since when a look may be made because the answer never came: others than the caller do not wait for it."""
    return _told_at(call) if call.caller == look.caller else call.at


def _looked(seen: Seen) -> Finding:
    """Or right before it stood still between its look and its call: that is the one write which may come late."""
    raises = [call for call in seen.calls if call.what == "submit" and call.raises and seen.bounds.read_seconds]
    wrong = []
    for call in raises:
        looks = [
            _told_at(other)
            for other in seen.calls
            if (other.what, other.answer, other.caller, other.domain) == ("observe", "ok", call.caller, call.domain)
            and _told_at(other) <= call.at
        ]
        last, allowed = max(looks, default=seen.began_at), seen.bounds.read_seconds + seen.bounds.tick_seconds
        if call.at - last > allowed and not was_stopped(seen, call.caller, last + allowed, call.at):
            said = f"{call.request_id} by {call.caller}: not read since {call.at - last:.1f} s"
            wrong.append(Violation(LOOKED, call.at, call.domain, said))
    return Finding(LOOKED, len(raises), tuple(wrong))


def _over(seen: Seen) -> Finding:
    """Going back passes drift, and a person may have it written over; the service keeps its hands off it.

    To bring what is live back down to the share that is verified is no going back.
    """
    ours = [change for change in seen.changes if change.request_id]
    wrong = []
    for change in ours:
        foreign = _before(seen, change)
        if foreign is None:
            continue
        intent = _meant(seen, change)
        if intent is None or _goes_back(intent) or intent.by != "shifter" or _adopted(seen, foreign, intent):
            continue
        if foreign.at < intent.at - _SEEN_SECONDS or _had_read(seen, change, foreign.at, intent.at):
            said = f"{foreign.action} of {intent.at - foreign.at:.1f} s before, by intent {intent.sequence}"
            wrong.append(Violation(OVER, change.at, change.namespace, said))
    return Finding(OVER, len(ours), tuple(wrong))


def _had_read(seen: Seen, change: Change, since: float, until: float) -> bool:
    """Whether who made a change had been shown its route as it was since then, when it decided."""
    return any(
        call.what == "observe" and call.answer == "ok" and call.caller == change.caller and change.route in call.routes
        for call in seen.calls
        if call.as_of is not None and call.as_of >= since and _told_at(call) <= until
    )


def _adopted(seen: Seen, foreign: Change, intent: Entry) -> bool:
    """Whether what somebody set was taken over since: then it is the verified share."""
    return any(foreign.at <= entry.at <= intent.at for entry in seen.of(foreign.namespace, "adopted"))


def _goes_back(intent: Entry) -> bool:
    to = intent.share("to")
    return intent.evidence.get("direction") == "retreat" and (to == 0 or to != intent.share("from"))


def _before(seen: Seen, change: Change) -> Change | None:
    """Return the last change of this route before this one, if somebody set weights there that were others."""
    earlier = [each for each in seen.changes_of(change.namespace) if each.route == change.route and each.at < change.at]
    if not earlier or earlier[-1].request_id or earlier[-1].action in _MEMBERSHIP:
        return None
    last = earlier[-1]
    moved = any(last.before.get(key, weight) != weight for key, weight in last.after.items())
    same = len(earlier) > 1 and all(earlier[-2].before.get(key) == weight for key, weight in last.after.items())
    return last if moved and not same else None


def _meant(seen: Seen, change: Change) -> Entry | None:
    """Return the intent that was open when a write came into force."""
    is_open = [span.intent for span in spans(seen, change.namespace) if span.open_at(change.at)]
    return is_open[-1] if is_open else None
