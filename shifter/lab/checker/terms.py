"""Whose turn it was: only the leader raises shares, but for the one write that was on its way when it was stopped.

Only where several processes share a lease and the cloud's log says who called is there anything to judge. The
exception is written here once: a process that is stopped between its last look and its call, and hears of nothing
while it stands still, may land one write per lock domain afterwards. The cloud has no fencing token against it. It is
the same where somebody deletes a lease under who holds it; until its next renewal that one may even decide on a write,
since it does not stand still. It saves it as its own, in time for whoever comes next to see it.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Final

from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import Change, Entry, Life, Seen
from shifter.lab.checker.writes import explained, raised

LEADS: Final = "only the leader raises, but for one write per lock domain that was on its way"
COMMITS: Final = "no climb is saved in a term that is over"
GROWS: Final = "the epochs of a shift's intents never fall"

_AT_ONCE_SECONDS: Final = 0.5
"""A process that goes on after it was stopped makes its call at once; and a lease is renewed so often."""


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about terms found."""
    return [_leads(seen), _commits(seen), _grows(seen)]


def was_stopped(seen: Seen, caller: str, since: float, submitted_at: float) -> bool:
    """Whether a process stood still from `since`, or before, until right before a call: it could not know better."""
    return any(
        each.kind == Kind.FROZEN
        and each.whom in {caller, ""}
        and each.began_at <= since + _AT_ONCE_SECONDS
        and each.ended_at - _AT_ONCE_SECONDS <= submitted_at <= each.ended_at + _AT_ONCE_SECONDS
        for each in seen.incidents
    )


def _leads(seen: Seen) -> Finding:
    raises = [change for change in seen.changes if change.caller and change.request_id and raised(seen, change)]
    wrong: list[Violation] = []
    stale: Counter[tuple[str, float, str]] = Counter()
    requests: set[str] = set()
    for change in raises:
        at = change.at if change.submitted_at is None else change.submitted_at
        terms = [life for life in seen.lives if life.replica == change.caller and life.started_at <= at]
        if any(life.ended_at is None or at <= life.ended_at for life in terms):
            continue
        if not terms:
            wrong.append(_violation(LEADS, change, "it has never been the leader"))
            continue
        last = max(terms, key=lambda life: life.started_at)
        if change.request_id not in requests:
            stale[change.caller, last.started_at, change.balancer] += 1
        requests.add(change.request_id)
        if said := _not_excused(seen, change, last, at):
            wrong.append(_violation(LEADS, change, said))
        elif stale[change.caller, last.started_at, change.balancer] > 1:
            wrong.append(_violation(LEADS, change, "the second on this lock domain after its term"))
    return Finding(LEADS, len(raises), tuple(wrong))


def _not_excused(seen: Seen, change: Change, term: Life, at: float) -> str:
    """Return why a raise after the end of a term is not the one that was on its way; empty if it is."""
    ended_at = term.ended_at if term.ended_at is not None else at
    robbed = _was_robbed(seen, change.caller, ended_at, at)
    if not robbed and not was_stopped(seen, change.caller, ended_at, at):
        return f"its term ended {at - ended_at:.1f} s before, and it did not stand still since"
    found = explained(seen, change)
    if found is None or (found.intent.at > ended_at and not (robbed and found.intent.epoch == term.epoch)):
        return "no intent of its term explains it"
    return ""


def _was_robbed(seen: Seen, caller: str, ended_at: float, at: float) -> bool:
    """Whether somebody had just deleted its lease: until it renews it, nothing can tell it so."""
    return any(
        each.kind == Kind.LEASE
        and each.whom == caller
        and each.began_at <= ended_at
        and at <= each.began_at + _AT_ONCE_SECONDS
        for each in seen.incidents
    )


def _commits(seen: Seen) -> Finding:
    """What is decided in a term is saved in it: whoever came after must have seen it, or it must not be there.

    A save may outlive its process on its way to the store; nobody has missed it who had not loaded yet.
    """
    terms = {life.epoch: life for life in seen.lives if life.replica}
    climbs = [
        entry for entry in _intents(seen) if entry.epoch in terms and entry.evidence.get("direction") != "retreat"
    ]
    wrong = []
    for entry in climbs:
        ended_at = terms[entry.epoch].ended_at
        later = [_loaded_at(life) for life in terms.values() if life.epoch > entry.epoch]
        if ended_at is not None and later and entry.kept_at > max(ended_at, min(later)) + _AT_ONCE_SECONDS:
            said = f"saved {entry.kept_at - ended_at:.1f} s after the end of its term"
            wrong.append(_of_entry(COMMITS, entry, said))
    return Finding(COMMITS, len(climbs), tuple(wrong))


def _loaded_at(life: Life) -> float:
    return life.started_at if life.loaded_at is None else life.loaded_at


def _grows(seen: Seen) -> Finding:
    wrong = [
        _of_entry(GROWS, entry, f"epoch {entry.epoch} after {before.epoch}")
        for shift in seen.namespaces
        for before, entry in pairwise(seen.of(shift, "intent"))
        if entry.epoch < before.epoch
    ]
    return Finding(GROWS, len(_intents(seen)), tuple(wrong))


def _intents(seen: Seen) -> list[Entry]:
    return [entry for entry in seen.entries if entry.what == "intent"]


def _of_entry(rule: str, entry: Entry, said: str) -> Violation:
    told = f"intent {entry.sequence} of epoch {entry.epoch}, record {entry.id}: {said}"
    return Violation(rule, entry.kept_at, entry.shift, told)


def _violation(rule: str, change: Change, said: str) -> Violation:
    told = f"{change.request_id} by {change.caller} on {change.balancer}: {said}"
    return Violation(rule, change.at, change.namespace, told)
