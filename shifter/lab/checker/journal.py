"""The history by itself: nothing missing, nothing twice, one write at a time, each in its own life of the service."""

from __future__ import annotations

from collections import Counter
from typing import Final

from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.seen import Entry, Seen

IDS: Final = "the history's ids have no gaps"
SEQUENCES: Final = "intents are numbered 1, 2, 3 ... in every shift"
ENDS: Final = "every intent ends exactly once, before the next begins"
EPOCHS: Final = "every start of the service has its own epoch"

_LIFE_SECONDS: Final = 1.0


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about the journal found."""
    return [_ids(seen), _sequences(seen), _ends(seen), _epochs(seen)]


def _ids(seen: Seen) -> Finding:
    wrong: list[Violation] = []
    last: dict[str, int] = {}
    for entry in seen.entries:
        before = last.get(entry.chain)
        if before is None and entry.id != 1:
            wrong.append(Violation(IDS, entry.at, "", f"the first record is {entry.id}"))
        elif before is not None and entry.id != before + 1:
            wrong.append(Violation(IDS, entry.at, entry.shift, f"after record {before} comes {entry.id}"))
        last[entry.chain] = entry.id
    return Finding(IDS, len(seen.entries), tuple(wrong))


def _sequences(seen: Seen) -> Finding:
    wrong: list[Violation] = []
    intents = 0
    for shift in seen.namespaces:
        for number, entry in enumerate(seen.of(shift, "intent"), start=1):
            intents += 1
            if entry.sequence != number:
                wrong.append(_violation(SEQUENCES, entry, f"it is the {number}. intent"))
                break
    return Finding(SEQUENCES, intents, tuple(wrong))


def _ends(seen: Seen) -> Finding:
    wrong: list[Violation] = []
    intents = 0
    for shift in seen.namespaces:
        is_open: Entry | None = None
        ended: Counter[int] = Counter()
        for entry in seen.of(shift, "intent", "done", "failed"):
            if entry.what == "intent":
                intents += 1
                if is_open is not None:
                    wrong.append(_violation(ENDS, entry, f"intent {is_open.sequence} was still open"))
                is_open = entry
                continue
            ended[entry.sequence] += 1
            if ended[entry.sequence] > 1:
                wrong.append(_violation(ENDS, entry, f"it had ended before, now {entry.what}"))
            elif is_open is None or is_open.sequence != entry.sequence:
                wrong.append(_violation(ENDS, entry, f"{entry.what} without an intent that was open"))
            else:
                is_open = None
    return Finding(ENDS, intents, tuple(wrong))


def _epochs(seen: Seen) -> Finding:
    """The n-th life of the service has epoch n, or the one of its lease, and begins its intents while it lives."""
    wrong: list[Violation] = []
    intents = [entry for entry in seen.entries if entry.what == "intent"]
    lives = {life.epoch or number: life for number, life in enumerate(seen.lives, start=1)}
    for entry in intents:
        life = lives.get(entry.epoch)
        if life is None:
            wrong.append(_violation(EPOCHS, entry, f"epoch {entry.epoch}, but there were {sorted(lives)}"))
            continue
        if life.replica and entry.evidence.get("direction") == "retreat":
            continue  # who held the lease may still lower the share
        ended_at = life.ended_at if life.ended_at is not None else seen.ended_at
        if not life.started_at - _LIFE_SECONDS <= entry.at <= ended_at + _LIFE_SECONDS:
            wrong.append(_violation(EPOCHS, entry, f"epoch {entry.epoch} was over, or had not begun"))
    return Finding(EPOCHS, len(intents), tuple(wrong))


def _violation(rule: str, entry: Entry, said: str) -> Violation:
    return Violation(rule, entry.at, entry.shift, f"record {entry.id}, intent {entry.sequence}: {said}")
