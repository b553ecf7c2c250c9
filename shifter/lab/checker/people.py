"""What people asked and where it left their shifts: no order lost, no move outside the table, nobody stuck.

The table of moves is written out here a second time, on purpose: a checker that read the service's would agree with
whatever it says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from shifter.lab.checker.back import ended_with_step
from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import NOBODY, TARGET, Entry, LastWord, Seen

KEPT: Final = "every order that was recorded is kept"
ANSWERED: Final = "every order is answered exactly once, and the history has the answer"
MOVES: Final = "phases move by the table"
ASKED: Final = "what only a person may start has an order"
STUCK: Final = "no shift is stuck in the end"
CALM: Final = "nothing answers with a traceback, and the lab itself did as told"

_RESTING: Final[Mapping[str, float]] = {"Completed": 100.0, "RolledBack": 0.0}
_FRESH_SECONDS: Final = 6.0
_MOVING_SECONDS: Final = 30.0
_EXIT_CODES: Final = frozenset({0, 3, 4, 5, 124})
"""How a command that orders something may end: done, unknown shift, refused, store away, not answered in time."""

_EDITING: Final = frozenset({Kind.EDIT, Kind.RESYNC, Kind.CHURN})
"""Of whom weights may be: a member that is unbound and bound again comes back with another one."""

_MISLEADING: Final = frozenset({Kind.CLOCK, Kind.ODD_METRICS, Kind.NO_METRICS, Kind.HUNG_METRICS, Kind.GATEWAY})
"""By which requests may seem to be lost on their way, if it lasts for longer than a tick."""

_MOVES: Final = frozenset(
    {
        ("Waiting", "Shifting"),
        ("Waiting", "RollingBack"),
        ("Waiting", "RolledBack"),  # a rollback at 0 % has arrived in the same turn
        ("Shifting", "Completed"),
        ("Shifting", "RollingBack"),
        ("Shifting", "RolledBack"),  # likewise
        ("Completed", "RollingBack"),
        ("Completed", "RolledBack"),  # likewise, after somebody set it to 0
        ("RollingBack", "RolledBack"),
        ("RolledBack", "RollingBack"),
        ("RolledBack", "Waiting"),
        ("RolledBack", "Shifting"),  # a retry whose first step came in the same turn
    }
)
_BACK: Final = frozenset({"rollback", "reconcile"})
_AGAIN: Final = frozenset({"retry"})
_NEEDS: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("RolledBack", "Waiting"): _AGAIN,
    ("RolledBack", "Shifting"): _AGAIN,
    ("RolledBack", "RollingBack"): _BACK,
    ("Completed", "RollingBack"): _BACK,
    ("Completed", "RolledBack"): _BACK,
    ("Waiting", "RollingBack"): _BACK,
    ("Waiting", "RolledBack"): _BACK,
}


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about orders and phases found."""
    return [_kept(seen), _answered(seen), *_phases(seen), _stuck(seen), _calm(seen)]


def _kept(seen: Seen) -> Finding:
    rows = {row.id: row for row in seen.orders}
    wrong: list[Violation] = []
    recorded = [given for given in seen.given if given.order_id]
    for given in recorded:
        row = rows.get(given.order_id)
        if row is None or (row.shift, row.verb, row.by) != (given.shift, given.verb, given.by):
            told = f"order {given.order_id}: {given.verb} by {given.by} was recorded, the store has {row}"
            wrong.append(Violation(KEPT, given.at, given.shift, told))
    known = {given.order_id for given in recorded}
    by_order = {(given.shift, given.verb, given.by) for given in seen.given if not given.order_id}
    # A command that was cut off may have recorded what it could not tell any more.
    wrong += [
        Violation(KEPT, row.at, row.shift, f"order {row.id}: nobody here gave it")
        for row in seen.orders
        if row.id not in known and (row.shift, row.verb, row.by) not in by_order
    ]
    return Finding(KEPT, len(recorded), tuple(wrong))


def _answered(seen: Seen) -> Finding:
    told: Counter[int] = Counter()
    answers: dict[int, Entry] = {}
    for entry in seen.entries:
        number = entry.evidence.get("order")
        if entry.what == "order" and isinstance(number, int):
            told[number] += 1
            answers[number] = entry
    wrong: list[Violation] = []
    for row in seen.orders:
        what = f"order {row.id}, {row.verb} by {row.by}"
        if not row.answer and not seen.rests:
            continue
        if not row.answer:
            wrong.append(Violation(ANSWERED, row.at, row.shift, f"{what}: nobody answered it"))
        elif told[row.id] != 1:
            wrong.append(Violation(ANSWERED, row.at, row.shift, f"{what}: {told[row.id]} records in the history"))
        elif answers[row.id].evidence.get("answer") != row.answer or answers[row.id].shift != row.shift:
            said = f"{row.answer}, but the history says {answers[row.id].evidence.get('answer')}"
            wrong.append(Violation(ANSWERED, row.at, row.shift, f"{what}: {said}"))
    strangers = sorted(told.keys() - {row.id for row in seen.orders})
    wrong += [
        Violation(ANSWERED, answers[each].at, answers[each].shift, f"there is no order {each}") for each in strangers
    ]
    return Finding(ANSWERED, len(seen.orders), tuple(wrong))


def _phases(seen: Seen) -> list[Finding]:
    moves: list[Violation] = []
    asked: list[Violation] = []
    looked_at = 0
    verbs = {row.id: row.verb for row in seen.orders if row.answer == "accepted"}
    for shift in seen.namespaces:
        phase, fresh = "Waiting", set[str]()
        for entry in seen.of(shift, "phase", "order"):
            if entry.what == "order":
                number = entry.evidence.get("order")
                fresh |= {verbs[number]} if isinstance(number, int) and number in verbs else set()
                continue
            looked_at += 1
            move = (str(entry.evidence.get("from")), str(entry.evidence.get("to")))
            if move[0] != phase or move not in _MOVES:
                moves.append(_moved(MOVES, entry, f"it was {phase}"))
            elif (needed := _NEEDS.get(move)) and not fresh & needed:
                said = (
                    f"needs an accepted {' or '.join(sorted(needed))}, there were {sorted(fresh)} since the last move"
                )
                asked.append(_moved(ASKED, entry, said))
            phase, fresh = move[1], set()
    return [Finding(MOVES, looked_at, tuple(moves)), Finding(ASKED, looked_at, tuple(asked))]


def _moved(rule: str, entry: Entry, said: str) -> Violation:
    return Violation(rule, entry.at, entry.shift, f"record {entry.id}: {entry.reason}: {said}")


def phase_at(seen: Seen, shift: str, at: float) -> str:
    """The phase that the history says a shift was in at a time."""
    moved = [entry for entry in seen.of(shift, "phase") if entry.at <= at]
    return str(moved[-1].evidence.get("to")) if moved else "Waiting"


def is_paused(seen: Seen, shift: str) -> bool:
    """Whether the last accepted order that begins or ends a pause began one."""
    rows = sorted(
        (row for row in seen.orders if row.shift == shift and row.answer == "accepted"), key=lambda row: row.id
    )
    last = [row.verb for row in rows if row.verb in {"pause", "resume", "promote"}][-1:]
    return last == ["pause"]


def _stuck(seen: Seen) -> Finding:
    """Where faults go on to the end, the end is no place to rest at."""
    if not seen.rests:
        return Finding(STUCK, 0)
    words = {word.shift: word for word in seen.last_words}
    wrong: list[Violation] = []
    for shift in seen.namespaces:
        word = words.get(shift)
        if word is None:
            wrong.append(Violation(STUCK, seen.ended_at, shift, "the service never told anything of it"))
        elif said := _ill(seen, word):
            told = f"{word.phase} at {word.written} %, holds {list(word.holds)}, {word.reason!r}: {said}"
            wrong.append(Violation(STUCK, word.at, shift, told))
    return Finding(STUCK, len(seen.namespaces), tuple(wrong))


def _ill(seen: Seen, word: LastWord) -> str:
    """Return what is wrong with where a shift ended; empty if that is where its last orders and faults lead."""
    phase, share = phase_at(seen, word.shift, seen.ended_at), seen.share_at(word.shift, seen.ended_at)
    if word.at < seen.ended_at - _FRESH_SECONDS:
        return f"told {seen.ended_at - word.at:.0f} s before the end: nobody looks at it any more"
    if word.phase != phase:
        return f"the history says {phase}"
    if phase == "RolledBack" and not _sent_back(seen, word.shift):
        return "it went back, though nobody ordered that and nothing ever seemed wrong with istio"
    if phase in _RESTING:
        told = any(hold in {"drift", "preflight"} and not _baseless(seen, word.shift, hold) for hold in word.holds)
        return "" if told or abs(share - _RESTING[phase]) < 1 else f"the cloud has {share:.4g} %"
    if phase == "RollingBack":
        return "it has not arrived, though nothing was in its way"
    return _waits(seen, word)


def _waits(seen: Seen, word: LastWord) -> str:
    """Return why a shift in the middle has no reason to be there; empty if it has one that is known here, or moves.

    That it calls somebody is none by itself: who waits for ever and calls for help all the while is stuck.
    """
    if word.holds:
        return "; ".join(said for hold in word.holds if (said := _baseless(seen, word.shift, hold)))
    moved = max((entry.at for entry in seen.of(word.shift, "intent", "done", "phase")), default=0.0)
    if moved > seen.ended_at - _MOVING_SECONDS:
        return ""
    # What failed at this very share is neither enough to go back nor little enough to go on: a person has to say.
    undecided = word.page and _was_broken(seen, word.shift, moved - seen.bounds.noticed_seconds)
    return "" if undecided else f"nothing has moved for {seen.ended_at - moved:.0f} s"


def _sent_back(seen: Seen, shift: str) -> bool:
    """Whether anything that went wrong, or anybody, sent a shift back."""
    ordered = any(row.shift == shift and row.verb in _BACK and row.answer == "accepted" for row in seen.orders)
    return ordered or _was_broken(seen, shift)


def _was_broken(seen: Seen, shift: str, after: float = 0.0) -> bool:
    """Whether istio was broken or slow for a shift's users, or was shown to be, and could still be after a time."""
    theirs = [each for each in seen.incidents if shift in each.namespaces and each.ended_at >= after]
    shown = (each for each in theirs if each.ended_at - each.began_at > seen.bounds.tick_seconds)
    return any(each.hurts & {TARGET, NOBODY} or each.kind == Kind.SLOW for each in theirs) or any(
        each.kind in _MISLEADING for each in shown
    )


def _baseless(seen: Seen, shift: str, hold: str) -> str:
    """Return why a hold cannot be in force in the end: everything but what people left is mended by then."""
    if hold == "pause":
        return "" if is_paused(seen, shift) else "nobody's accepted pause is in force"
    if hold in {"drift", "preflight"}:
        edited = any(each.kind in _EDITING and shift in each.namespaces for each in seen.incidents)
        return "" if edited else f"{hold}, but nobody edited anything"
    if hold == "freeze":
        return "" if _is_frozen(seen) else "nobody's accepted freeze is in force"
    files = [file for file in seen.policies if file.shift == shift]
    # Weights that somebody set lead past no gate.
    share = min(seen.share_at(shift, seen.ended_at), _verified_share(seen, shift))
    broken = _was_broken(seen, shift)
    left = {
        "approval": any(gate > share for file in files for gate in file.gates),
        "stepped back": broken
        and bool(seen.of(shift, "ceiling"))
        and (any(file.steps_back for file in files) or ended_with_step(seen, shift)),
        "failing": broken and any(file.stays for file in files),
    }
    return "" if left.get(hold) else f"{hold}, but everything is mended, or its policy does not ask for it"


def _verified_share(seen: Seen, shift: str) -> float:
    done = seen.of(shift, "done")
    return done[-1].share("to") if done else 0.0


def _is_frozen(seen: Seen) -> bool:
    rows = [row for row in seen.orders if row.verb in {"freeze", "unfreeze"} and row.answer == "accepted"]
    return [row.verb for row in sorted(rows, key=lambda row: row.id)][-1:] == ["freeze"]


def _calm(seen: Seen) -> Finding:
    wrong = [Violation(CALM, seen.ended_at, "", f"a traceback: {line}") for line in seen.tracebacks]
    wrong += [Violation(CALM, seen.ended_at, "", trouble) for trouble in seen.troubles]
    for given in seen.given:
        if given.exit_code not in _EXIT_CODES or "Traceback" in given.said:
            said = f"`{given.verb}` by {given.by} ended with {given.exit_code}: {given.said[-300:]}"
            wrong.append(Violation(CALM, given.at, given.shift, said))
    return Finding(CALM, len(seen.given), tuple(wrong))
