"""The checker of a soak: a run in which all is well breaks no rule, and each single lie is found and named.

A checker that cannot fail proves nothing, so every rule has at least one history here that breaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from shifter.lab.checker import back, chain, climbs, journal, looking, people, routes, stops, terms, users, writes
from shifter.lab.checker.judge import judge
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import (
    Bounds,
    Call,
    Change,
    Entry,
    Given,
    HealthNote,
    Incident,
    LastWord,
    Life,
    Link,
    OrderRow,
    PolicyFile,
    Seen,
    UserSecond,
)
from shifter.lab.checker.users import sufferings
from shifter.lab.soak.verdict import soak_report

BEGAN = 1_000_000.0
"""Unix time. The story: 10 % at +5, 50 % at +12, paused from +14 to +20, 100 % at +27, completed at +33, istio fails
from +36 to +39, the end is at +45. A tick is a second, a soak four."""

TCM, ISTIO = "ins-tcm:30080", "10.1.0.10:8080"
BOUNDS = Bounds(
    tick_seconds=1.0,
    operation_seconds=8.0,
    late_seconds=6.0,
    flight_seconds=2.0,
    noticed_seconds=4.0,
    plainly_percent=15.0,
    plainly_seconds=5.0,
    back_seconds=10.0,
)

Lie = Callable[[Seen], Seen]


def split(share: int) -> dict[str, int]:
    return {TCM: 100 - share, ISTIO: share}


def entry(number: int, at: float, what: str, sequence: int = 0, **evidence: object) -> Entry:
    epoch = 1 if sequence else 0
    return Entry(number, BEGAN + at, "shop", what, "shifter", "because", sequence, epoch, evidence)


def move(number: int, at: float, sequence: int, shares: tuple[int, int], direction: str = "climb") -> Entry:
    return entry(
        number, at, "intent", sequence, direction=direction, verdict="pass", **{"from": shares[0], "to": shares[1]}
    )


def done(number: int, at: float, sequence: int, share: int) -> Entry:
    return entry(number, at, "done", sequence, to=share)


def answered(number: int, at: float, order: int, answer: str = "accepted") -> Entry:
    return entry(number, at, "order", order=order, answer=answer)


def phase(number: int, at: float, before: str, after: str) -> Entry:
    moved: dict[str, object] = {"from": before, "to": after}
    return Entry(number, BEGAN + at, "shop", "phase", "shifter", "because", evidence=moved)


def order(number: int, at: float, verb: str) -> OrderRow:
    return OrderRow(number, BEGAN + at, "shop", verb, "ann", "accepted")


def given(row: OrderRow) -> Given:
    return Given(row.at - 0.3, row.at + 0.1, row.shift, row.verb, row.by, row.id, 0, f"order {row.id} recorded")


def change(at: float, before: Mapping[str, int], after: Mapping[str, int], request: str = "") -> Change:
    action = "BatchModifyTargetWeight" if request else "ConsoleEdit"
    return Change(BEGAN + at, "shop", "lb-1", action, before, after, request, "applied")


def incident(number: int, kind: Kind, start: float, end: float, *hurts: str) -> Incident:
    shop = frozenset({"shop"})
    return Incident(number, kind, BEGAN + start, BEGAN + end, shop, frozenset(hurts), frozenset(hurts), str(kind))


def second(at: int, failed: int = 0, **by_mesh: int) -> UserSecond:
    return UserSecond(int(BEGAN) + at, "shop", sum(by_mesh.values()), failed, by_mesh)


def seconds_of_users() -> tuple[UserSecond, ...]:
    """100 requests in every second, those of istio failing by half while it is broken."""
    found = []
    for at in range(45):
        share = 0 if at < 5 else 10 if at < 12 else 50 if at < 27 else 100
        found.append(second(at, 50 if at in {36, 37, 38} else 0, tcm=100 - share, istio=share))
    return tuple(found)


HISTORY = (
    move(1, 1, 1, (0, 0), "keep"),
    done(2, 2, 1, 0),
    phase(3, 3, "Waiting", "Shifting"),
    move(4, 3, 2, (0, 10)),
    done(5, 5, 2, 10),
    move(6, 10.5, 3, (10, 50)),
    done(7, 12, 3, 50),
    answered(8, 14, 1),
    answered(9, 20, 2),
    move(10, 25, 4, (50, 100)),
    done(11, 27, 4, 100),
    phase(12, 33, "Shifting", "Completed"),
)
ORDERS = (order(1, 13.8, "pause"), order(2, 19.8, "resume"))
CHANGES = (
    change(1.8, {TCM: 10, ISTIO: 0}, split(0), "r1"),
    change(4.5, split(0), split(10), "r2"),
    change(11.5, split(10), split(50), "r3"),
    change(26.5, split(50), split(100), "r4"),
)


@pytest.fixture
def good() -> Seen:
    """A soak in which shifter did everything right."""
    return Seen(
        began_at=BEGAN,
        calm_at=BEGAN + 40,
        ended_at=BEGAN + 45,
        bounds=BOUNDS,
        namespaces=("shop",),
        source_ports=frozenset({30080}),
        entries=HISTORY,
        orders=ORDERS,
        given=tuple(given(row) for row in ORDERS),
        changes=CHANGES,
        incidents=(incident(1, Kind.FAILING, 36, 39, "istio"),),
        lives=(Life(BEGAN),),
        policies=(PolicyFile(BEGAN, "shop", (10.0, 50.0, 100.0), 4.0),),
        seconds=seconds_of_users(),
        last_words=(LastWord("shop", BEGAN + 44, "Completed", 100.0, (), "completed"),),
    )


def broken(seen: Seen) -> list[str]:
    return [finding.rule for finding in judge(seen) if finding.violations]


def numbered(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(replace(each, id=number) for number, each in enumerate(entries, start=1))


def with_history(seen: Seen, *more: Entry, without: Iterable[int] = ()) -> Seen:
    """The history with records added and left out, in the order of their time, numbered anew."""
    kept = [each for each in seen.entries if each.id not in set(without)]
    return replace(seen, entries=numbered(sorted([*kept, *more], key=lambda each: (each.at, each.id))))


def going_home(at: float, sequence: int, share: int) -> tuple[Entry, Entry]:
    return move(0, at, sequence, (share, 0), "retreat"), done(0, at + 0.9, sequence, 0)


def with_order(seen: Seen, row: OrderRow, record_at: float) -> Seen:
    rows = (*seen.orders, row)
    seen = replace(seen, orders=rows, given=(*seen.given, given(row)))
    return with_history(seen, answered(0, record_at, row.id, row.answer or "accepted"))


def with_change(seen: Seen, *more: Change, without: Iterable[str] = ()) -> Seen:
    kept = [each for each in seen.changes if each.request_id not in set(without)]
    return replace(seen, changes=tuple(sorted([*kept, *more], key=lambda each: each.at)))


def with_incident(seen: Seen, *more: Incident) -> Seen:
    return replace(seen, incidents=(*seen.incidents, *more))


def ending(seen: Seen, **word: Any) -> Seen:  # noqa: ANN401 - fields of a value
    return replace(seen, last_words=(replace(seen.last_words[0], **word),))


def altered(seen: Seen, number: int, **changes: Any) -> Seen:  # noqa: ANN401 - fields of a value
    return replace(seen, entries=tuple(replace(e, **changes) if e.id == number else e for e in seen.entries))


def number_of(seen: Seen, sequence: int) -> int:
    """The record of an intent."""
    return next(each.id for each in seen.entries if each.what == "intent" and each.sequence == sequence)


def with_evidence(seen: Seen, number: int, **more: object) -> Seen:
    (found,) = (each for each in seen.entries if each.id == number)
    return altered(seen, number, evidence={**found.evidence, **more})


# ---- the lies ------------------------------------------------------------------------------------------------------


def raised_by_nobody(seen: Seen) -> Seen:
    # 30 % at +8, which no intent goes up to, and back before the next one
    return with_change(seen, change(8, split(10), split(30), "rx"), change(9, split(30), split(10), "ry"))


def raised_before_it_was_saved(seen: Seen) -> Seen:
    early = change(10, split(10), split(50), "r3")
    return with_change(seen, early, without=["r3"])


def edited_off_the_schedule(seen: Seen) -> Seen:
    return with_change(seen, change(34, split(100), split(99)), change(35, split(99), split(100)))


def landing_twice(seen: Seen) -> Seen:
    again = (
        change(12.5, split(50), split(10)),
        change(13, split(10), split(50), "r3"),
        change(13.5, split(50), split(10)),
        change(14, split(10), split(50), "r3"),
    )
    return with_incident(with_change(seen, *again), incident(2, Kind.EDIT, 12.4, 13.6))


def two_after_a_kill(seen: Seen) -> Seen:
    lives = (Life(BEGAN, BEGAN + 11, killed=True), Life(BEGAN + 13))
    seen = replace(seen, lives=lives)
    seen = with_change(seen, change(12, split(50), split(49), "rx"), change(12.9, split(49), split(50), "ry"))
    return replace(
        seen, entries=tuple(replace(e, epoch=2) if e.what == "intent" and e.id > 6 else e for e in seen.entries)
    )


def leaving_nobody(seen: Seen) -> Seen:
    dark = change(30, split(100), split(100) | {ISTIO: 0}, "rx")
    lit = change(30.5, split(100) | {ISTIO: 0}, split(100), "ry")
    late = with_history(seen, move(0, 29.5, 5, (100, 100), "keep"), done(0, 31, 5, 100))
    return with_change(late, dark, lit)


def climbing_while_paused(seen: Seen) -> Seen:
    return with_history(seen, without=[9])


def climbing_after_going_back(seen: Seen) -> Seen:
    """A refused retry, and it starts over all the same; the cloud is told the truth."""
    went = phase(0, 20.5, "Shifting", "RollingBack"), phase(0, 21.7, "RollingBack", "RolledBack")
    again = phase(0, 24.5, "RolledBack", "Waiting"), phase(0, 25, "Waiting", "Shifting")
    climb = move(0, 25.1, 5, (0, 10)), done(0, 27, 5, 100)
    seen = with_history(seen, *went, *going_home(20.6, 4, 50), *again, *climb, without=[10, 11])
    seen = with_order(seen, replace(order(3, 24, "retry"), answer="refused"), 24.4)
    back = change(20.8, split(50), split(0), "r5"), change(26.5, split(0), split(10), "r4")
    return with_change(seen, *back, change(26.6, split(10), split(100), "r6"), without=["r4"])


def skipping_a_step(seen: Seen) -> Seen:
    return replace(seen, policies=(PolicyFile(BEGAN, "shop", (10.0, 25.0, 50.0, 100.0), 4.0),))


def climbing_from_elsewhere(seen: Seen) -> Seen:
    return with_evidence(seen, 10, **{"from": 49})


def soaking_too_short(seen: Seen) -> Seen:
    return replace(seen, policies=(PolicyFile(BEGAN, "shop", (10.0, 50.0, 100.0), 6.0),))


def soaking_in_the_dark(seen: Seen) -> Seen:
    return with_incident(seen, incident(2, Kind.NO_METRICS, 5, 10))


def soaking_at_another_share(seen: Seen) -> Seen:
    edits = change(5.5, split(10), split(5)), change(10.2, split(5), split(10))
    return with_incident(with_change(seen, *edits), incident(2, Kind.EDIT, 5.4, 10.3))


def climbing_without_a_verdict(seen: Seen) -> Seen:
    return with_evidence(seen, 6, verdict="too little traffic")


def climbing_in_a_strange_name(seen: Seen) -> Seen:
    return altered(seen, 6, by="ann")


def climbing_on_a_failing_promotion(seen: Seen) -> Seen:
    seen = with_order(seen, order(3, 24.9, "promote"), 25)
    return altered(with_evidence(seen, number_of(seen, 4), verdict="fail"), number_of(seen, 4), by="ann")


def climbing_blind(seen: Seen) -> Seen:
    return with_incident(seen, incident(2, Kind.HUNG_METRICS, 19, 27))


def climbing_over_an_edit(seen: Seen) -> Seen:
    edits = change(20, split(50), split(30))
    landed = change(26.5, split(30), split(100), "r4")
    return with_incident(with_change(seen, edits, landed, without=["r4"]), incident(2, Kind.EDIT, 20, 30))


def climbing_without_a_file(seen: Seen) -> Seen:
    return replace(seen, policies=(*seen.policies, PolicyFile(BEGAN + 20, "shop", (), 0.0)))


def climbing_while_users_fail(seen: Seen) -> Seen:
    bad = tuple(replace(s, failed=30) if 20 <= s.at - BEGAN < 24 else s for s in seen.seconds)
    return with_incident(replace(seen, seconds=bad), incident(2, Kind.FAILING, 20, 24, "istio"))


def climbing_while_users_wait(seen: Seen) -> Seen:
    slow = tuple(replace(s, slow=30) if 20 <= s.at - BEGAN < 24 else s for s in seen.seconds)
    return with_incident(replace(seen, seconds=slow), incident(2, Kind.SLOW, 20, 24))


def climbing_while_frozen(seen: Seen) -> Seen:
    row = replace(order(3, 21, "freeze"), shift="*")
    seen = replace(seen, orders=(*seen.orders, row), given=(*seen.given, given(row)))
    record = replace(answered(0, 21.5, 3), shift="*")
    return with_history(seen, record)


def climbing_past_a_gate(seen: Seen) -> Seen:
    return replace(seen, policies=(replace(seen.policies[0], gates=(50.0,)),))


def stepped_back(seen: Seen, *more: Entry, to: int = 10) -> Seen:
    """50 % fails at +14: the service steps back, and nobody resumes from there."""
    failed = entry(0, 14.1, "ceiling", share=50.0, verdict="fail")
    back = move(0, 14.2, 4, (50, to), "retreat"), done(0, 15, 4, to)
    seen = with_history(seen, failed, *back, *more, without=[10, 11, 12])
    seen = with_change(seen, change(14.8, split(50), split(to), "r5"), without=["r4"])
    seen = with_order(seen, order(3, 39, "rollback"), 39.5)
    home = phase(0, 39.6, "Shifting", "RollingBack"), phase(0, 41, "RollingBack", "RolledBack")
    last = max(each.sequence for each in seen.entries)
    seen = with_history(seen, *home, *going_home(39.7, last + 1, to))
    seen = with_change(seen, change(40.5, split(to), split(0), "r9"))
    return ending(seen, phase="RolledBack", written=0.0)


def stepping_back_too_far(seen: Seen) -> Seen:
    lower = (PolicyFile(BEGAN, "shop", (10.0, 50.0, 100.0), 4.0),)
    return replace(stepped_back(seen, to=5), policies=lower)


def stepping_back_for_nothing(seen: Seen) -> Seen:
    seen = stepped_back(seen)
    (number,) = (each.id for each in seen.entries if each.what == "ceiling")
    return with_history(seen, without=[number])


def climbing_to_what_failed(seen: Seen) -> Seen:
    again = move(0, 25, 5, (10, 50)), done(0, 27, 5, 50)
    return with_change(stepped_back(seen, *again), change(26.5, split(10), split(50), "r6"))


def lifting_a_ceiling_by_itself(seen: Seen) -> Seen:
    lifted = entry(0, 24, "ceiling", verdict="pass")
    again = move(0, 25, 5, (10, 50)), done(0, 27, 5, 50)
    return with_change(stepped_back(seen, lifted, *again), change(26.5, split(10), split(50), "r6"))


def resting_below(seen: Seen, began: float, ended: float, decided: float = 14.1) -> Seen:
    """At 50 % since +11.5 both meshes fail: the service steps back, and stays there."""
    failed = entry(0, decided, "ceiling", share=50.0, verdict="pass")
    back = move(0, decided + 0.1, 4, (50, 10), "retreat"), done(0, decided + 0.9, 4, 10)
    seen = with_history(seen, failed, *back, without=[10, 11, 12])
    seen = with_change(seen, change(decided + 0.7, split(50), split(10), "r5"), without=["r4"])
    seen = ending(seen, phase="Shifting", written=10.0, holds=("stepped back",))
    return with_incident(seen, incident(2, Kind.INCIDENT, began, ended, "istio", "tcm"))


def resting_below_what_was_over_long_before(seen: Seen) -> Seen:
    return resting_below(seen, 12, 14, decided=23.5)


def resting_below_what_went_on(seen: Seen) -> Seen:
    return with_incident(resting_below(seen, 12, 18), incident(3, Kind.INCIDENT, 17, 30, "istio", "tcm"))


def resting_below_what_no_step_began(seen: Seen) -> Seen:
    return resting_below(seen, 20, 24, decided=21)


def resting_below_nothing(seen: Seen) -> Seen:
    return replace(resting_below(seen, 12, 15), incidents=seen.incidents)


def resting_at_what_was_never_left(seen: Seen) -> Seen:
    probed = resting_below(seen, 12, 15)
    return with_change(with_history(probed, without=[10, 11]), without=["r5"])


def resting_without_a_ceiling(seen: Seen) -> Seen:
    probed = resting_below(seen, 12, 15)
    held = replace(ending(seen, phase="Shifting", holds=("stepped back",)), incidents=probed.incidents)
    return with_history(held, without=[12])


def landing_after_a_pause(seen: Seen) -> Seen:
    seen = with_order(seen, order(3, 25.2, "pause"), 25.3)
    return with_change(seen, change(28.5, split(50), split(100), "r4"), without=["r4"])


def writing_with_hands_off(seen: Seen) -> Seen:
    rows = replace(seen.orders[0], hands_off_seconds=60.0), replace(seen.orders[1], verb="approve")
    return replace(seen, orders=rows, given=tuple(given(row) for row in rows))


def missing_a_record(seen: Seen) -> Seen:
    return replace(seen, entries=tuple(replace(e, id=e.id + 1) if e.id > 5 else e for e in seen.entries))


def beginning_late(seen: Seen) -> Seen:
    return replace(seen, entries=tuple(replace(e, id=e.id + 1) for e in seen.entries))


def skipping_a_number(seen: Seen) -> Seen:
    return replace(seen, entries=tuple(replace(e, sequence=5) if e.sequence == 4 else e for e in seen.entries))


def never_ending(seen: Seen) -> Seen:
    return with_history(seen, without=[2])


def ending_twice(seen: Seen) -> Seen:
    return with_history(seen, entry(0, 12.2, "failed", 3))


def ending_what_never_began(seen: Seen) -> Seen:
    return with_history(seen, done(0, 34, 9, 100))


def in_a_dead_epoch(seen: Seen) -> Seen:
    return replace(seen, lives=(Life(BEGAN, BEGAN + 20), Life(BEGAN + 20.1)))


def in_an_epoch_to_come(seen: Seen) -> Seen:
    return altered(seen, 10, epoch=2)


def losing_an_order(seen: Seen) -> Seen:
    return replace(seen, given=(*seen.given, given(order(3, 30, "pause"))))


def inventing_an_order(seen: Seen) -> Seen:
    row = order(3, 30, "pause")
    return with_history(replace(seen, orders=(*seen.orders, row)), answered(0, 30.5, 3))


def keeping_another_order(seen: Seen) -> Seen:
    return replace(seen, orders=(replace(seen.orders[0], verb="approve"), seen.orders[1]))


def never_answering(seen: Seen) -> Seen:
    row = replace(order(3, 30, "pause"), answer="")
    return replace(seen, orders=(*seen.orders, row), given=(*seen.given, given(row)))


def answering_twice(seen: Seen) -> Seen:
    return with_history(seen, answered(0, 20.5, 2))


def answering_otherwise(seen: Seen) -> Seen:
    rows = (seen.orders[0], replace(seen.orders[1], answer="refused"))
    return replace(seen, orders=rows)


def answering_what_nobody_asked(seen: Seen) -> Seen:
    return with_history(seen, answered(0, 30, 7, "refused"))


def leaving_the_table(seen: Seen) -> Seen:
    return with_history(seen, phase(0, 34, "Completed", "Waiting"), phase(0, 34, "Waiting", "Shifting"))


def jumping_phases(seen: Seen) -> Seen:
    return with_history(seen, phase(0, 30, "RollingBack", "RolledBack"))


def going_back_from_completed(seen: Seen) -> Seen:
    seen = with_history(seen, phase(0, 34, "Completed", "RollingBack"), phase(0, 35, "RollingBack", "RolledBack"))
    seen = with_change(with_history(seen, *going_home(34.1, 5, 100)), change(34.5, split(100), split(0), "r5"))
    return ending(seen, phase="RolledBack", written=0.0)


def silent_in_the_end(seen: Seen) -> Seen:
    return ending(seen, at=BEGAN + 30)


def unknown_in_the_end(seen: Seen) -> Seen:
    return replace(seen, last_words=())


def telling_another_phase(seen: Seen) -> Seen:
    return ending(seen, phase="Shifting")


def ending_at_another_share(seen: Seen) -> Seen:
    edit = change(41, split(100), split(60))
    return with_change(seen, edit)


def still_going_back(seen: Seen) -> Seen:
    seen = with_order(seen, order(3, 34, "rollback"), 34.4)
    return ending(with_history(seen, phase(0, 34.5, "Completed", "RollingBack")), phase="RollingBack")


def held_for_nothing(seen: Seen) -> Seen:
    return ending(with_history(seen, without=[12]), phase="Shifting", holds=("pause",))


def held_by_what_is_mended(seen: Seen) -> Seen:
    return ending(with_history(seen, without=[12]), phase="Shifting", holds=("no signal",))


def drifting_untouched(seen: Seen) -> Seen:
    return ending(with_history(seen, without=[12]), phase="Shifting", holds=("drift",))


def standing_still(seen: Seen) -> Seen:
    seen = ending(with_history(seen, without=[12]), phase="Shifting", at=BEGAN + 99)
    return replace(seen, ended_at=BEGAN + 100)


def throwing(seen: Seen) -> Seen:
    return replace(seen, tracebacks=("Traceback (most recent call last): ...",))


def not_coming_up(seen: Seen) -> Seen:
    return replace(seen, troubles=("shifter did not come up",))


def failing_in_the_terminal(seen: Seen) -> Seen:
    bad = replace(given(ORDERS[0]), order_id=0, exit_code=1, said="Traceback ...")
    return replace(seen, given=(*seen.given, bad))


def failing_users(seen: Seen) -> Seen:
    return replace(seen, incidents=())


def failing_more_than_was_hurt(seen: Seen) -> Seen:
    bad = tuple(
        replace(s, failed=60, by_mesh={"istio": 50, "tcm": 50}) if s.at - BEGAN == 37 else s for s in seen.seconds
    )
    return replace(seen, seconds=bad)


def failing_long_after(seen: Seen) -> Seen:
    bad = tuple(replace(s, failed=1) if s.at - BEGAN == 42 else s for s in seen.seconds)
    return replace(seen, seconds=bad)


def not_sending(seen: Seen) -> Seen:
    return replace(seen, not_sent=3)


def staying_on_a_broken_mesh(seen: Seen) -> Seen:
    bad = tuple(replace(s, failed=20) if 12 <= s.at - BEGAN < 24 else s for s in seen.seconds)
    return replace(seen, seconds=bad, incidents=(*seen.incidents, incident(2, Kind.FAILING, 12, 24, "istio")))


def staying_on_a_slow_mesh(seen: Seen) -> Seen:
    slow = tuple(replace(s, slow=20) if 12 <= s.at - BEGAN < 24 else s for s in seen.seconds)
    return replace(seen, seconds=slow, incidents=(*seen.incidents, incident(2, Kind.SLOW, 12, 24)))


# ---- the lies that only a simulation can see -------------------------------------------------------------------------


def simulated(seen: Seen) -> Seen:
    """The same with all that a simulation knows: who called when and what they were told, and the chain."""
    changes = tuple(
        replace(each, caller="a", submitted_at=each.at - 0.3) if each.request_id else each for each in seen.changes
    )
    calls = [
        call
        for each in changes
        if each.submitted_at is not None
        for call in (look(each.submitted_at - 0.4), sent(each.submitted_at, each.request_id))
    ]
    entries = tuple(replace(each, saved_at=each.at + 0.01) for each in seen.entries)
    lives = (Life(BEGAN, replica="a", epoch=1),)
    return replace(
        seen,
        changes=changes,
        calls=tuple(calls),
        entries=entries,
        lives=lives,
        bounds=replace(seen.bounds, read_seconds=2.0),
        chain=chain_of(entries),
    )


def look(at: float) -> Call:
    return Call(at, "a", "lb-1", "observe", "ok")


def sent(at: float, request: str, answer: str = "ok") -> Call:
    return Call(at, "a", "lb-1", "submit", answer, raises=True, request_id=request, routes=("",))


def chain_of(entries: Iterable[Entry]) -> tuple[Link, ...]:
    links: list[Link] = []
    before = "0" * 64
    for each in entries:
        texts = ("2001-09-09", each.shift, each.what, each.by, each.reason, str(each.sequence), str(each.epoch), "{}")
        before = chain.hash_of(before, Link(each.id, texts, ""))
        links.append(Link(each.id, texts, before))
    return tuple(links)


def handing_over(seen: Seen, at: float = 25.5) -> Seen:
    """The last climb is decided by `a`, whose term then ends; `b` is the next leader."""
    lives = Life(BEGAN, BEGAN + at, replica="a", epoch=1), Life(BEGAN + at, replica="b", epoch=2)
    return replace(simulated(seen), lives=lives)


def standing_still_from(seen: Seen, start: float, end: float) -> Seen:
    return with_incident(seen, replace(incident(7, Kind.FROZEN, start, end), whom="a"))


def saving_after_it_was_sent(seen: Seen) -> Seen:
    return altered(simulated(seen), 6, saved_at=BEGAN + 11.6)


def retreating_upwards(seen: Seen) -> Seen:
    """Somebody sets 30 % at +29, and the retreat to 100 % raises it again."""
    seen = with_history(seen, move(0, 33.1, 5, (100, 100), "retreat"), done(0, 34, 5, 100))
    edit = change(29, split(100), split(30)), change(33.5, split(30), split(100), "r8")
    return simulated(with_incident(with_change(seen, *edit), incident(2, Kind.EDIT, 28.9, 29.1)))


def saving_a_call_later(seen: Seen) -> Seen:
    """In one instant only the numbers of the calls tell what came first."""
    seen = altered(simulated(seen), 6, call=8)
    return replace(seen, changes=tuple(replace(e, call=7) if e.request_id == "r3" else e for e in seen.changes))


def raising_without_a_lease(seen: Seen) -> Seen:
    return handing_over(seen)


def raising_as_a_stranger(seen: Seen) -> Seen:
    seen = simulated(seen)
    return replace(seen, changes=tuple(replace(e, caller="b") if e.request_id == "r3" else e for e in seen.changes))


def stopped_and_meaning_nothing(seen: Seen) -> Seen:
    """It stood still, but what it raised to was not decided in its term."""
    return standing_still_from(altered(handing_over(seen, 24.9), 10, epoch=2), 24.8, 26.2)


def raising_twice_after_its_term(seen: Seen) -> Seen:
    again = replace(change(26.45, split(50), split(60), "r7"), caller="a", submitted_at=BEGAN + 26.1)
    seen = standing_still_from(handing_over(seen), 25.4, 26.2)
    last = replace(change(26.5, split(60), split(100), "r4"), caller="a", submitted_at=BEGAN + 26.2)
    seen = with_change(seen, again, last, without=["r4"])
    return replace(seen, calls=(*seen.calls, look(BEGAN + 26), sent(BEGAN + 26.1, "r7")))


def committing_too_late(seen: Seen) -> Seen:
    seen = standing_still_from(handing_over(seen, 25.2), 25.1, 26.2)
    return altered(seen, 10, saved_at=BEGAN + 26.1)


def writing_in_an_older_epoch(seen: Seen) -> Seen:
    lives = Life(BEGAN, replica="a", epoch=1), Life(BEGAN, replica="a", epoch=2)
    return altered(replace(simulated(seen), lives=lives), 6, epoch=2)


def done_without_being_in_force(seen: Seen) -> Seen:
    seen = simulated(seen)
    late = replace(change(13, split(10), split(50), "r3"), caller="a", submitted_at=BEGAN + 11.2)
    return with_change(seen, late, without=["r3"])


def raising_again_unread(seen: Seen) -> Seen:
    seen = simulated(seen)
    lost = sent(BEGAN + 10.3, "r3x", "unknown"), replace(look(BEGAN + 11.1), answer="busy")
    kept = [each for each in seen.calls if not BEGAN + 10.7 < each.at < BEGAN + 10.9]
    return replace(seen, calls=(*kept, look(BEGAN + 10.2), *lost))


def raising_twice_for_one_intent(seen: Seen) -> Seen:
    seen = simulated(seen)
    lost = sent(BEGAN + 10.6, "r3x", "unknown")
    return replace(
        seen,
        calls=(*seen.calls, look(BEGAN + 10.5), lost),
    )


def raising_after_a_restart(seen: Seen) -> Seen:
    """A second process sends what the first one has sent, whatever that was told."""
    seen = raising_twice_for_one_intent(seen)
    calls = tuple(replace(e, caller="b", answer="ok") if e.request_id == "r3x" else e for e in seen.calls)
    return replace(seen, calls=(*calls, replace(look(BEGAN + 10.4), caller="b")))


def sending_past_an_order(seen: Seen) -> Seen:
    return simulated(with_order(seen, order(3, 25.1, "pause"), 26.4))


def sending_after_a_freeze(seen: Seen) -> Seen:
    row = replace(order(3, 25.05, "freeze"), shift="*")
    seen = replace(seen, orders=(*seen.orders, row), given=(*seen.given, given(row)))
    return simulated(with_history(seen, replace(answered(0, 25.1, 3), shift="*")))


def keeping_another_share(seen: Seen) -> Seen:
    return with_evidence(seen, 6, direction="keep", verdict="no signal")


def raising_unread(seen: Seen) -> Seen:
    seen = simulated(seen)
    return replace(seen, calls=tuple(each for each in seen.calls if not BEGAN + 10 < each.at < BEGAN + 11))


def keeping_over_an_edit(seen: Seen) -> Seen:
    edit = change(29, split(100), split(60)), change(33.2, split(60), split(100), "r8")
    seen = with_history(seen, move(0, 33.1, 5, (100, 100), "keep"), done(0, 34, 5, 100))
    return with_incident(with_change(seen, *edit), incident(2, Kind.EDIT, 28.9, 29.1))


def written_over_at_once(seen: Seen, shown_at: float) -> Seen:
    """An edit upwards after the last verified share, brought back down a second later by who was shown it or not."""
    edit = change(13, split(50), split(80)), replace(change(14.2, split(80), split(50), "r8"), caller="a")
    told = with_history(seen, move(0, 14, 5, (50, 50), "retreat"), done(0, 15, 5, 50))
    shown = replace(look(shown_at), at=BEGAN + shown_at, routes=("",), as_of=BEGAN + shown_at)
    told = with_incident(with_change(told, *edit), incident(2, Kind.EDIT, 12.9, 13.1))
    return replace(told, calls=(*told.calls, shown))


def lowering_for_nobody(seen: Seen) -> Seen:
    gone = change(40, split(100), split(90), "rz")
    return with_incident(with_change(seen, gone, change(41, split(90), split(100))), incident(2, Kind.EDIT, 41, 41.1))


def writing_what_no_cloud_knows(seen: Seen) -> Seen:
    high = change(26.6, split(100), {TCM: 0, ISTIO: 101}, "r4")
    return with_change(seen, high)


def two_routes(seen: Seen, left_at: float = 12.5) -> Seen:
    """A second route, which follows every write a moment later, and the write to 50 % at `left_at`."""
    moments = {"r1": 1.9, "r2": 4.6, "r3": left_at, "r4": 26.6}
    more = [replace(each, at=BEGAN + moments[each.request_id], route="second") for each in seen.changes]
    return with_change(seen, *more)


def climbing_half_applied(seen: Seen) -> Seen:
    seen = two_routes(seen, 26.2)
    return with_incident(seen, incident(2, Kind.CLOUD, 11, 30))


def leaving_it_half_applied(seen: Seen) -> Seen:
    seen = with_history(two_routes(seen, 44.5), without=[10, 11, 12])
    seen = with_change(seen, without=["r4"])
    late = replace(change(44.5, split(10), split(50)), route="second")
    kept = [each for each in seen.changes if each.at != BEGAN + 44.5]
    seen = with_incident(replace(seen, changes=(*kept, late)), incident(2, Kind.EDIT, 44.4, 44.6))
    return ending(seen, phase="Shifting", holds=("drift",))


def changing_a_record(seen: Seen) -> Seen:
    seen = simulated(seen)
    texts = (*seen.chain[4].texts[:4], "because I say so", *seen.chain[4].texts[5:])
    return replace(seen, chain=tuple(replace(e, texts=texts) if e.id == 5 else e for e in seen.chain))


def dropping_a_record(seen: Seen) -> Seen:
    seen = simulated(seen)
    return replace(seen, chain=chain_of(seen.entries[:-1]))


def in_two_chains(seen: Seen) -> Seen:
    """Every shift's records have a chain of their own, and so have those of all together."""
    seen = simulated(seen)
    fleets = [Entry(n, BEGAN + n, "*", "holds", "shifter", "because", saved_at=BEGAN + n, chain="*") for n in (1, 2)]
    shops = [replace(each, chain="shop") for each in seen.entries]
    links = [replace(link, chain=of) for of, each in (("*", fleets), ("shop", shops)) for link in chain_of(each)]
    return replace(seen, entries=(fleets[0], *shops, fleets[1]), chain=tuple(links))


def missing_a_record_of_one_chain(seen: Seen) -> Seen:
    seen = in_two_chains(seen)
    return replace(seen, entries=tuple(replace(e, id=3) if (e.chain, e.id) == ("*", 2) else e for e in seen.entries))


def beginning_one_chain_late(seen: Seen) -> Seen:
    seen = in_two_chains(seen)
    return replace(seen, entries=tuple(each for each in seen.entries if (each.chain, each.id) != ("*", 1)))


def losing_a_chain(seen: Seen) -> Seen:
    seen = in_two_chains(seen)
    return replace(seen, entries=tuple(each for each in seen.entries if each.chain != "*"))


def chaining_to_another_chain(seen: Seen) -> Seen:
    seen = in_two_chains(seen)
    return replace(seen, chain=tuple(replace(link, chain="shop") for link in seen.chain))


LIES: list[tuple[Lie, list[str]]] = [
    (saving_after_it_was_sent, [writes.RAISES]),
    (retreating_upwards, [writes.DOWN, looking.OVER]),
    (saving_a_call_later, [writes.RAISES]),
    (raising_without_a_lease, [terms.LEADS]),
    (raising_as_a_stranger, [terms.LEADS]),
    (stopped_and_meaning_nothing, [terms.LEADS]),
    (raising_twice_after_its_term, [terms.LEADS]),
    (committing_too_late, [terms.COMMITS]),
    (writing_in_an_older_epoch, [terms.GROWS]),
    (done_without_being_in_force, [looking.VERIFIED]),
    (raising_again_unread, [looking.READ_BACK]),
    (raising_unread, [looking.LOOKED]),
    (raising_twice_for_one_intent, [looking.AGAIN]),
    (raising_after_a_restart, [looking.AGAIN]),
    (sending_past_an_order, [stops.WAITING]),
    (sending_after_a_freeze, [stops.FLYING]),
    (keeping_another_share, [climbs.VERDICT]),
    (keeping_over_an_edit, [looking.OVER]),
    (lowering_for_nobody, [writes.WRITTEN]),
    (writing_what_no_cloud_knows, [writes.RANGE]),
    (climbing_half_applied, [routes.HALF]),
    (leaving_it_half_applied, [routes.MENDED]),
    (changing_a_record, [chain.CHAINED]),
    (dropping_a_record, [chain.CHAINED]),
    (raised_by_nobody, [writes.RAISES]),
    (raised_before_it_was_saved, [writes.RAISES]),
    (edited_off_the_schedule, [writes.RAISES]),
    (landing_twice, [writes.LATE]),
    (two_after_a_kill, [writes.KILLED]),
    (leaving_nobody, [writes.DARK]),
    (climbing_while_paused, [climbs.PAUSED, people.ANSWERED]),
    (climbing_after_going_back, [climbs.BACK, writes.RAISES, people.ASKED]),
    (skipping_a_step, [climbs.STEP]),
    (climbing_from_elsewhere, [climbs.FROM]),
    (soaking_too_short, [climbs.SOAKED]),
    (soaking_in_the_dark, [climbs.SOAKED]),
    (soaking_at_another_share, [climbs.SOAKED]),
    (climbing_without_a_verdict, [climbs.VERDICT]),
    (climbing_in_a_strange_name, [climbs.SOAKED]),
    (climbing_on_a_failing_promotion, [climbs.VERDICT]),
    (climbing_blind, [climbs.BLIND]),
    (climbing_over_an_edit, [climbs.DRIFT, looking.OVER]),
    (climbing_without_a_file, [climbs.FILE]),
    (climbing_while_users_fail, [climbs.USERS]),
    (climbing_while_users_wait, [climbs.USERS]),
    (climbing_while_frozen, [climbs.FROZEN]),
    (climbing_past_a_gate, [climbs.APPROVED]),
    (stepping_back_too_far, [back.RUNG]),
    (stepping_back_for_nothing, [back.RUNG]),
    (climbing_to_what_failed, [back.CEILING]),
    (lifting_a_ceiling_by_itself, [back.CEILING]),
    (landing_after_a_pause, [stops.FLYING]),
    (writing_with_hands_off, [stops.HANDS_OFF, climbs.PAUSED]),
    (missing_a_record, [journal.IDS]),
    (missing_a_record_of_one_chain, [journal.IDS, chain.CHAINED]),
    (beginning_one_chain_late, [journal.IDS, chain.CHAINED]),
    (losing_a_chain, [chain.CHAINED]),
    (chaining_to_another_chain, [chain.CHAINED]),
    (beginning_late, [journal.IDS]),
    (skipping_a_number, [journal.SEQUENCES]),
    (never_ending, [journal.ENDS]),
    (ending_twice, [journal.ENDS]),
    (ending_what_never_began, [journal.ENDS]),
    (in_a_dead_epoch, [journal.EPOCHS]),
    (in_an_epoch_to_come, [journal.EPOCHS]),
    (losing_an_order, [people.KEPT]),
    (inventing_an_order, [people.KEPT]),
    (keeping_another_order, [people.KEPT]),
    (never_answering, [people.ANSWERED]),
    (answering_twice, [people.ANSWERED]),
    (answering_otherwise, [people.ANSWERED]),
    (answering_what_nobody_asked, [people.ANSWERED]),
    (leaving_the_table, [people.MOVES, people.STUCK]),
    (jumping_phases, [people.MOVES]),
    (going_back_from_completed, [people.ASKED]),
    (silent_in_the_end, [people.STUCK]),
    (unknown_in_the_end, [people.STUCK]),
    (telling_another_phase, [people.STUCK]),
    (ending_at_another_share, [people.STUCK]),
    (still_going_back, [people.STUCK]),
    (held_for_nothing, [people.STUCK]),
    (held_by_what_is_mended, [people.STUCK]),
    (drifting_untouched, [people.STUCK]),
    (resting_below_what_was_over_long_before, [people.STUCK]),
    (resting_below_what_went_on, [people.STUCK]),
    (resting_below_what_no_step_began, [people.STUCK]),
    (resting_below_nothing, [people.STUCK]),
    (resting_at_what_was_never_left, [people.STUCK]),
    (resting_without_a_ceiling, [people.STUCK]),
    (standing_still, [people.STUCK]),
    (throwing, [people.CALM]),
    (not_coming_up, [people.CALM]),
    (failing_in_the_terminal, [people.CALM]),
    (failing_users, [users.EXPLAINED]),
    (failing_more_than_was_hurt, [users.EXPLAINED]),
    (failing_long_after, [users.EXPLAINED]),
    (not_sending, [users.ALL_SENT]),
    (staying_on_a_broken_mesh, [users.WENT_BACK, climbs.USERS]),
    (staying_on_a_slow_mesh, [users.WENT_BACK, climbs.USERS]),
]


def test_a_soak_in_which_all_is_well_breaks_no_rule(good: Seen) -> None:
    assert broken(good) == []


@pytest.mark.parametrize(("lie", "rules"), LIES, ids=[lie.__name__ for lie, _ in LIES])
def test_what_breaks_a_rule_is_found_and_named(good: Seen, lie: Lie, rules: list[str]) -> None:
    assert set(broken(lie(good))) == set(rules)


def test_every_rule_has_a_history_that_breaks_it(good: Seen) -> None:
    proved = {rule for _, rules in LIES for rule in rules[:1]}

    assert {finding.rule for finding in judge(good)} == proved


def test_a_simulated_run_in_which_all_is_well_breaks_no_rule(good: Seen) -> None:
    assert broken(simulated(good)) == []


# ---- what is no violation ------------------------------------------------------------------------------------------


def test_a_run_whose_history_is_in_two_chains_breaks_no_rule(good: Seen) -> None:
    assert broken(in_two_chains(good)) == []


@pytest.mark.parametrize(
    ("later", "precedes"),
    [
        ({"id": 4}, True),
        ({"id": 2, "saved_at": 9.0}, False),
        ({"id": 2, "saved_at": 9.0, "chain": "*"}, True),
        ({"id": 4, "saved_at": 4.0, "chain": "*"}, False),
        ({"id": 2, "call": 8, "chain": "*"}, True),
        ({"id": 4, "call": 6, "chain": "*"}, False),
    ],
)
def test_what_was_saved_first_is_told_by_number_only_within_a_chain(later: dict[str, Any], *, precedes: bool) -> None:
    entry = Entry(3, 5.0, "shop", "holds", "shifter", "because", saved_at=6.0, call=7, chain="shop")

    assert entry.precedes(replace(entry, **later)) is precedes


def test_a_promotion_needs_no_soak_and_no_evidence(good: Seen) -> None:
    seen = with_order(soaking_too_short(good), order(3, 10.4, "promote"), 10.5)
    seen = altered(with_evidence(seen, number_of(seen, 3), verdict="no signal"), number_of(seen, 3), by="ann")
    seen = with_order(seen, order(4, 24.9, "promote"), 25)

    assert broken(altered(seen, number_of(seen, 4), by="ann")) == []


def test_a_step_back_to_the_rung_below_is_one(good: Seen) -> None:
    assert broken(stepped_back(good)) == []


def test_a_retry_lets_a_shift_go_where_it_failed(good: Seen) -> None:
    seen = with_order(climbing_to_what_failed(good), order(4, 23, "retry"), 23.5)

    assert broken(seen) == []


def test_an_incident_that_goes_on_below_the_step_acquits_it(good: Seen) -> None:
    seen = with_incident(lifting_a_ceiling_by_itself(good), incident(2, Kind.FAILING, 13, 20, "istio", "tcm"))

    assert broken(seen) == []


def test_an_incident_that_was_over_before_the_share_was_any_lower_acquits_the_step(good: Seen) -> None:
    set_at, lifted = entry(0, 13, "ceiling", share=50.0, verdict="pass"), entry(0, 26.1, "ceiling", verdict="pass")
    seen = with_incident(good, incident(2, Kind.INCIDENT, 12, 13.5, "istio", "tcm"))
    climb = move(0, 26.2, 4, (50, 100))

    assert back.CEILING in broken(with_history(seen, set_at, climb, without=[10]))
    assert broken(with_history(seen, set_at, lifted, climb, without=[10])) == []


def test_a_shift_may_rest_below_a_share_with_whose_leaving_an_incident_of_both_ended(good: Seen) -> None:
    assert broken(resting_below(good, 12, 15)) == []


def test_a_shift_may_rest_below_if_nobody_saw_that_the_incident_was_over_before(good: Seen) -> None:
    unseen = incident(3, Kind.NO_METRICS, 14, 22)

    assert broken(with_incident(resting_below_what_was_over_long_before(good), unseen)) == []


def test_a_shift_that_steps_back_has_left_a_broken_mesh_one_step_lower(good: Seen) -> None:
    files = (replace(good.policies[0], steps_back=True),)
    bad = tuple(replace(s, failed=20) if 12 <= s.at - BEGAN < 15 else s for s in good.seconds)
    broke = incident(2, Kind.FAILING, 12, 36, "istio")
    seen = with_incident(replace(stepped_back(good), seconds=bad, policies=files), broke)

    assert broken(seen) == []


def test_what_somebody_holds_all_hands_off_does_not_go_back_by_itself(good: Seen) -> None:
    broken_mesh = staying_on_a_broken_mesh(good)
    hands_off = replace(order(3, 12.5, "pause"), hands_off_seconds=12.0)

    assert users.WENT_BACK in broken(with_order(broken_mesh, order(3, 12.5, "pause"), 13.0))
    assert users.WENT_BACK not in broken(with_order(broken_mesh, hands_off, 13.0))


def test_hands_off_are_counted_from_when_they_were_asked_for(good: Seen) -> None:
    """The climb to 50 % begins at +10.5; both orders are answered at +7."""
    over, in_force = (replace(order(3, asked, "pause"), hands_off_seconds=5.0) for asked in (5, 6))

    assert stops.HANDS_OFF not in broken(with_order(good, over, 7))
    assert stops.HANDS_OFF in broken(with_order(good, in_force, 7))


def test_what_was_half_applied_may_be_set_back_by_a_unit_to_the_verified_share(good: Seen) -> None:
    """The source's weight alone had moved: 9.91 %, where 10 % was verified."""
    verified, moved = {TCM: 99, ISTIO: 11}, {TCM: 100, ISTIO: 11}
    there = replace(change(29, split(100), moved, "r7"), outcome="half")
    seen = simulated(with_history(good, move(0, 33.1, 5, (10, 10), "retreat"), done(0, 34, 5, 10)))
    back = replace(change(33.5, moved, verified, "r8"), submitted_at=BEGAN + 33.2)

    assert writes.DOWN not in broken(with_change(seen, there, back))
    assert writes.DOWN in broken(with_change(seen, replace(there, outcome="applied"), back))
    assert writes.DOWN not in broken(
        with_change(seen, replace(there, outcome="applied"), replace(back, outcome="half"))
    )


def test_what_was_counted_while_no_process_lived_counts(good: Seen) -> None:
    lives = (Life(BEGAN, BEGAN + 6, killed=True), Life(BEGAN + 9))
    later = tuple(replace(e, epoch=2) if e.what == "intent" and e.id >= 6 else e for e in good.entries)

    assert broken(replace(good, lives=lives, entries=later)) == []


def test_an_approval_of_the_attempt_opens_the_gate(good: Seen) -> None:
    seen = with_order(climbing_past_a_gate(good), order(3, 9, "approve"), 9.5)

    assert broken(seen) == []


def test_a_step_of_the_file_before_its_edit_may_still_be_taken(good: Seen) -> None:
    edit = PolicyFile(BEGAN + 24, "shop", (10.0, 60.0, 100.0), 4.0)

    assert broken(replace(good, policies=(*good.policies, edit))) == []


def test_who_does_not_mind_slow_answers_may_stay_on_a_slow_mesh(good: Seen) -> None:
    slow = replace(good, incidents=(*good.incidents, incident(2, Kind.SLOW, 12, 24)))

    assert broken(slow) == []


def test_what_users_suffered_while_nobody_could_see_it_stops_no_climb_that_soaked_since(good: Seen) -> None:
    suffered = climbing_while_users_fail(good)
    unseen = with_incident(suffered, incident(3, Kind.ODD_METRICS, 19, 25, "istio"))

    assert climbs.USERS in broken(suffered)
    assert climbs.USERS not in broken(unseen)


@pytest.mark.parametrize(("away_at", "is_known"), [(23.5, False), (24.5, True)])
def test_what_was_to_be_read_while_a_datasource_was_away_stops_no_climb(
    good: Seen,
    away_at: float,
    is_known: bool,  # noqa: FBT001 - a row of the table
) -> None:
    suffered = climbing_while_users_fail(good)
    unread = with_incident(suffered, incident(3, Kind.ODD_METRICS, away_at, away_at + 0.5, "istio"))

    assert (climbs.USERS in broken(unread)) is is_known


@pytest.mark.parametrize(("whom", "is_known"), [("a.1", False), ("", True)], ids=["its process", "one lane"])
def test_what_came_while_a_process_waited_for_a_call_stops_no_climb(
    good: Seen,
    whom: str,
    is_known: bool,  # noqa: FBT001 - a row of the table
) -> None:
    suffered = climbing_while_users_fail(good)
    waiting = replace(incident(3, Kind.WAITS, 16, 25, "istio"), whom=whom)

    assert (climbs.USERS in broken(with_incident(suffered, waiting))) is is_known


def test_who_reads_by_a_wrong_clock_may_see_what_users_suffer_a_little_later(good: Seen) -> None:
    recent = climbing_while_users_fail(good)
    bad = tuple(replace(s, failed=30) if 16 <= s.at - BEGAN < 24 else s for s in good.seconds)
    lasting = replace(recent, seconds=bad, bounds=replace(BOUNDS, plainly_seconds=10.0))
    wrong = incident(3, Kind.CLOCK, 2, 45)

    assert climbs.USERS in broken(recent)
    assert climbs.USERS not in broken(with_incident(recent, wrong))
    assert climbs.USERS in broken(with_incident(lasting, wrong))


def test_where_clocks_are_wrong_a_soak_may_be_as_much_shorter_as_they_run_fast_and_are_apart(good: Seen) -> None:
    wrong = incident(3, Kind.CLOCK, 2, 45)
    taken_over = altered(good, 6, epoch=2)

    def asked(seen: Seen, soak_seconds: float) -> Seen:
        return replace(seen, policies=(PolicyFile(BEGAN, "shop", (10.0, 50.0, 100.0), soak_seconds),))

    # It is at that share for 5.5 s.
    assert climbs.SOAKED in broken(asked(taken_over, 5.6))
    assert climbs.SOAKED not in broken(with_incident(asked(good, 5.6), wrong))
    assert climbs.SOAKED in broken(with_incident(asked(good, 6.5), wrong))
    assert climbs.SOAKED not in broken(with_incident(asked(taken_over, 6.5), wrong))
    assert climbs.SOAKED in broken(with_incident(asked(taken_over, 7.0), wrong))


def test_an_edit_that_is_set_back_and_soaked_again_stops_nothing(good: Seen) -> None:
    edits = change(14, split(50), split(30)), change(18, split(30), split(50))

    assert broken(with_incident(with_change(good, *edits), incident(2, Kind.EDIT, 14, 18))) == []


def test_a_member_that_dies_does_not_make_the_weights_of_the_others_a_raise(good: Seen) -> None:
    dead = HealthNote(BEGAN + 28, "shop", TCM, alive=False)

    assert broken(replace(good, health=(dead,))) == []


def test_a_call_that_lands_once_after_its_intent_has_ended_is_explained(good: Seen) -> None:
    late = change(12.5, split(50), split(10)), change(13, split(10), split(50), "r3")

    assert broken(with_incident(with_change(good, *late), incident(2, Kind.EDIT, 12.4, 12.6))) == []


def test_a_hold_that_somebody_left_is_no_shift_that_is_stuck(good: Seen) -> None:
    seen = with_order(with_history(good, without=[12]), order(3, 40, "pause"), 40.5)

    assert broken(ending(seen, phase="Shifting", holds=("pause",))) == []


def test_an_order_that_was_not_recorded_is_not_lost(good: Seen) -> None:
    busy = replace(given(ORDERS[0]), order_id=0, exit_code=5, said="error: the store is busy")

    assert broken(replace(good, given=(*good.given, busy))) == []


def test_one_write_of_a_process_that_stood_still_may_land_after_its_term(good: Seen) -> None:
    assert broken(standing_still_from(handing_over(good), 25.4, 26.2)) == []


def test_one_write_of_who_cannot_know_yet_that_its_lease_was_deleted_may_land_after_its_term(good: Seen) -> None:
    seen = handing_over(good, 26.1)
    deleted, cut_off = (replace(incident(7, Kind.LEASE, at, 27), whom="a") for at in (26, 20))

    assert terms.LEADS in broken(with_incident(seen, cut_off))
    assert terms.LEADS not in broken(with_incident(seen, deleted))


def test_who_cannot_know_yet_that_its_lease_was_deleted_may_still_decide_but_as_itself(good: Seen) -> None:
    """Deleted at +25.8 and taken at +25.9; it decides at +26 and sends at +26.2."""
    deleted = replace(incident(7, Kind.LEASE, 25.8, 27), whom="a")
    seen = with_incident(handing_over(good, 25.9), deleted)
    decided = altered(seen, 10, at=BEGAN + 26, saved_at=BEGAN + 26.01)

    assert terms.LEADS not in broken(decided)
    assert terms.LEADS in broken(altered(decided, 10, epoch=2))
    assert terms.LEADS in broken(standing_still_from(replace(decided, incidents=good.incidents), 25.8, 26.2))


def test_a_save_that_outlives_its_process_is_in_its_term_until_the_next_one_has_loaded(good: Seen) -> None:
    late = committing_too_late(good)
    first, second = late.lives
    began_later = replace(second, started_at=late.entries[number_of(late, 4) - 1].kept_at - 0.1)
    took_its_time = replace(second, loaded_at=began_later.started_at)

    assert terms.COMMITS in broken(late)
    assert terms.COMMITS not in broken(replace(late, lives=(first, began_later)))
    assert terms.COMMITS not in broken(replace(late, lives=(first, took_its_time)))


def test_a_retreat_needs_no_lease_and_may_be_saved_later(good: Seen) -> None:
    seen = with_order(good, order(3, 33.5, "rollback"), 34)
    home = phase(0, 34.05, "Completed", "RollingBack"), phase(0, 35, "RollingBack", "RolledBack")
    seen = with_history(seen, *home, *going_home(34.1, 5, 100))
    seen = simulated(with_change(seen, change(34.5, split(100), split(0), "r5")))
    lives = Life(BEGAN, BEGAN + 34, replica="a", epoch=1), Life(BEGAN + 34.2, replica="b", epoch=2)
    seen = altered(replace(seen, lives=lives), number_of(seen, 5), saved_at=BEGAN + 36)

    assert broken(ending(seen, phase="RolledBack", written=0.0)) == []


def test_where_faults_go_on_to_the_end_nobody_has_to_rest(good: Seen) -> None:
    seen = replace(silent_in_the_end(never_answering(good)), calm_at=None)

    assert broken(seen) == []


def test_an_edit_is_written_over_only_by_who_has_not_been_shown_it(good: Seen) -> None:
    assert looking.OVER in broken(written_over_at_once(good, shown_at=13.5))
    assert looking.OVER not in broken(written_over_at_once(good, shown_at=12.5))


def test_an_edit_that_was_adopted_may_be_climbed_from(good: Seen) -> None:
    assert looking.OVER in broken(keeping_over_an_edit(good))
    assert looking.OVER not in broken(with_history(keeping_over_an_edit(good), entry(0, 32, "adopted")))


def test_an_order_that_waits_stands_against_a_raise_also_while_the_store_is_away(good: Seen) -> None:
    away = incident(3, Kind.STORE, 0, 45)
    stale = incident(3, Kind.STALE, 0, 45)

    assert stops.WAITING in broken(with_incident(sending_past_an_order(good), away))
    assert stops.WAITING not in broken(with_incident(sending_past_an_order(good), stale))


def test_an_order_waits_until_its_answer_is_saved_and_in_one_instant_the_calls_tell(good: Seen) -> None:
    """A pause and the promotion after it, both given before +25 and answered at +26.2, when the climb is sent."""
    seen = with_order(good, order(3, 24.1, "pause"), 26.2)
    seen = simulated(with_order(seen, order(4, 24.2, "promote"), 26.2))
    (pause,) = (each.id for each in seen.entries if each.evidence.get("order") == 3)
    sent = tuple(replace(each, call=8) if each.request_id == "r4" else each for each in seen.changes)

    def answered_by(call: int) -> Seen:
        return altered(replace(seen, changes=sent), pause, saved_at=BEGAN + 26.2, call=call)

    assert stops.WAITING not in broken(answered_by(7))
    assert stops.WAITING in broken(answered_by(9))


def test_routes_that_differ_by_a_dead_member_are_even_again_when_it_lives(good: Seen) -> None:
    seen = two_routes(good)
    apart = [
        replace(each, after={f"other-{key}": weight for key, weight in each.after.items()})
        if each.route == "second"
        else each
        for each in seen.changes
    ]
    dies, lives = (HealthNote(BEGAN + at, "shop", f"other-{ISTIO}", alive) for at, alive in ((12, False), (20, True)))
    seen = with_incident(replace(seen, changes=tuple(apart)), incident(2, Kind.DEAD, 12, 20))

    assert routes.HALF in broken(replace(seen, health=(dies,)))
    assert routes.HALF not in broken(replace(seen, health=(dies, lives)))


def test_routes_that_differ_while_they_are_written_are_no_violation(good: Seen) -> None:
    assert broken(two_routes(good)) == []


def test_a_mixture_that_people_are_told_of_is_left_to_them(good: Seen) -> None:
    seen = leaving_it_half_applied(good)
    told = entry(0, 13, "holds")
    told = replace(told, reason="drift: somebody changed the weights")

    assert broken(with_history(seen, told)) == []


def test_what_was_read_after_a_lost_answer_may_be_raised_again(good: Seen) -> None:
    seen = raising_again_unread(good)

    assert broken(replace(seen, calls=(*seen.calls, look(BEGAN + 11.15)))) == []


def test_who_did_not_make_a_lost_call_need_not_wait_for_its_answer_to_read_it_back(good: Seen) -> None:
    again = raising_again_unread(good)
    mine = [replace(each, answered_at=BEGAN + 30) if each.request_id == "r3x" else each for each in again.calls]
    others = [replace(each, caller="z") if each.request_id == "r3x" else each for each in mine]
    read = look(BEGAN + 11.15)

    assert looking.READ_BACK in broken(replace(again, calls=(*mine, read)))
    assert looking.READ_BACK in broken(replace(again, calls=tuple(others)))
    assert looking.READ_BACK not in broken(replace(again, calls=(*others, read)))


def test_what_puts_back_the_weights_that_were_there_sends_no_raise_again(good: Seen) -> None:
    """The lost call for 50 % had moved the source's weight alone, so that 10 % is a little more."""
    lost = replace(sent(BEGAN + 10.6, "r3x", "unknown"), asked={"": split(50)})
    seen = replace(simulated(good), calls=(look(BEGAN + 10.5), lost))

    def then(asked: Mapping[str, int]) -> Seen:
        return replace(seen, calls=(*seen.calls, look(BEGAN + 11), replace(sent(BEGAN + 11.1, ""), asked={"": asked})))

    assert looking.AGAIN not in broken(then(split(10)))
    assert looking.AGAIN in broken(then(split(50)))
    assert looking.AGAIN in broken(then({}))


def test_what_users_felt_is_told_by_incident(good: Seen) -> None:
    (felt,) = sufferings(good)

    assert (felt.incident.number, felt.failed, felt.seconds_to_safety) == (1, 150, None)


def test_the_time_until_nobody_was_sent_to_a_broken_mesh_is_told(good: Seen) -> None:
    seen = with_change(good, change(37.25, split(100), split(0), "r5"))

    (felt,) = sufferings(seen)

    assert felt.seconds_to_safety == 1.25


def test_the_report_says_how_to_replay_and_what_was_going_on(good: Seen) -> None:
    seen = with_incident(failing_long_after(good), incident(2, Kind.LOCK, 40, 44))

    report = soak_report(seen, judge(seen), seed=7, minutes=0.75)

    assert (report["verdict"], report["replay"]) == ("failed", "shifter lab soak --seed 7 --minutes 0.75")
    (violation,) = report["violations"]
    assert (violation["at"], violation["during"]) == (42.0, ["!2 another actor's lock"])
    assert {row["rule"]: row["violations"] for row in report["rules"]}[users.EXPLAINED] == 1


@pytest.mark.parametrize(
    ("sequence", "steps", "breaks"),
    [(2, (100.0,), False), (2, (10.0, 100.0), True), (3, (10.0, 100.0), True)],
    ids=["0 to 100", "0 to 10", "10 to 100"],
)
def test_only_on_the_way_from_0_to_100_is_99_a_step(
    good: Seen, sequence: int, steps: tuple[float, ...], *, breaks: bool
) -> None:
    seen = with_evidence(good, number_of(good, sequence), to=99.0)
    seen = replace(seen, policies=(PolicyFile(BEGAN, "shop", steps, 4.0),))
    named = [
        violation.told for finding in judge(seen) for violation in finding.violations if finding.rule == climbs.STEP
    ]

    assert any(text.startswith(f"intent {sequence} ") for text in named) is breaks


def test_a_gate_that_was_passed_is_not_asked_for_at_every_step_above(good: Seen) -> None:
    seen = replace(good, policies=(replace(good.policies[0], gates=(10.0,)),))
    (finding,) = [finding for finding in judge(seen) if finding.rule == climbs.APPROVED]

    assert [violation.told.split(" (")[0] for violation in finding.violations] == ["intent 2"]


def test_a_call_that_fails_excuses_nobody_who_stays_on_a_broken_mesh(good: Seen) -> None:
    stays = staying_on_a_broken_mesh(good)
    fails, lasts = incident(3, Kind.CLOUD, 18, 18), incident(3, Kind.CLOUD, 16, 19)

    assert users.WENT_BACK in broken(with_incident(stays, fails))
    assert users.WENT_BACK not in broken(with_incident(stays, lasts))


def test_what_hinders_another_shift_excuses_nobody_who_stays_on_a_broken_mesh(good: Seen) -> None:
    stays = staying_on_a_broken_mesh(good)
    theirs = incident(3, Kind.LEASE, 12, 24)

    assert users.WENT_BACK in broken(with_incident(stays, replace(theirs, namespaces=frozenset({"pay"}))))
    assert users.WENT_BACK in broken(with_incident(stays, replace(theirs, namespaces=frozenset())))
    assert users.WENT_BACK not in broken(with_incident(stays, theirs))


def test_going_back_is_not_looked_at_where_there_was_no_time_to(good: Seen) -> None:
    stays = staying_on_a_broken_mesh(good)
    unseen = with_incident(stays, incident(3, Kind.NO_METRICS, 12, 22))
    looked_at = [f.looked_at for each in (stays, unseen) for f in judge(each) if f.rule == users.WENT_BACK]

    assert looked_at == [1, 0]


def test_what_hinders_another_shift_keeps_nobody_from_mending(good: Seen) -> None:
    apart, theirs = leaving_it_half_applied(good), incident(7, Kind.CLOUD, 0, 100)

    assert routes.MENDED in broken(with_incident(apart, replace(theirs, namespaces=frozenset({"pay"}))))
    assert routes.MENDED not in broken(with_incident(apart, theirs))


def test_who_stands_still_and_calls_for_help_is_stuck_all_the_same(good: Seen) -> None:
    seen = replace(ending(standing_still(good), page=True), incidents=())

    assert people.STUCK in broken(seen)


def test_who_stands_still_where_istio_failed_may_leave_it_to_a_person(good: Seen) -> None:
    seen = replace(ending(standing_still(good), page=True), incidents=())
    moved = max(entry.at for entry in seen.of("shop", "intent", "done", "phase")) - BEGAN
    failed, failed_before = (incident(7, Kind.FAILING, at - 8, at, "istio") for at in (moved + 1, moved - 8))

    assert people.STUCK not in broken(with_incident(seen, failed))
    assert people.STUCK in broken(with_incident(seen, failed_before))


def test_who_went_back_for_nothing_is_stuck(good: Seen) -> None:
    went_back = with_history(good, phase(0, 34.5, "Shifting", "RolledBack"), without=[12])
    seen = with_change(ending(went_back, phase="RolledBack"), change(34.4, split(100), split(0), "r9"))
    seen = replace(seen, incidents=())

    assert people.STUCK in broken(seen)
    assert people.STUCK not in broken(with_incident(seen, incident(7, Kind.FAILING, 30, 34, "istio")))
    assert people.STUCK not in broken(with_order(seen, order(3, 34, "rollback"), 34.3))


def test_a_call_of_who_led_before_an_intent_is_no_sending_of_it(good: Seen) -> None:
    """`b` stood still since before the climb to 50 % was begun by `a`; the call lands while that is on its way."""
    seen = raising_after_a_restart(good)
    later = replace(seen, entries=tuple(replace(e, epoch=2) if e.sequence == 3 else e for e in seen.entries))
    led = [Life(BEGAN, BEGAN + 9, replica="b", epoch=1), Life(BEGAN + 9, replica="a", epoch=2)]

    assert looking.AGAIN not in broken(replace(later, lives=tuple(led)))
    led = [Life(BEGAN, BEGAN + 9, replica="a", epoch=1), Life(BEGAN + 9, replica="b", epoch=2)]
    assert looking.AGAIN in broken(replace(seen, lives=tuple(led)))


def test_who_completed_before_the_failures_could_be_noticed_need_not_go_back(good: Seen) -> None:
    fails = with_incident(good, incident(3, Kind.FAILING, 12, 24, "istio"))
    bad = tuple(replace(s, failed=20) if 12 <= s.at - BEGAN < 24 else s for s in good.seconds)
    stays = replace(fails, seconds=bad)
    noticed = good.bounds.noticed_seconds
    at_once, later = (with_history(stays, phase(0, at, "Shifting", "Completed")) for at in (12.1, 12 + noticed + 1))

    assert users.WENT_BACK in broken(later)
    assert users.WENT_BACK not in broken(at_once)


def test_weights_that_somebody_set_lead_past_no_gate(good: Seen) -> None:
    edited = with_incident(with_history(good, without=[10, 11, 12]), incident(2, Kind.EDIT, 25, 26))
    edited = with_change(edited, change(25.5, split(50), split(60)), without=["r4"])
    gated = replace(edited, policies=(PolicyFile(BEGAN, "shop", (10.0, 50.0, 100.0), 4.0, gates=(55.0,)),))
    held = ending(gated, phase="Shifting", written=60.0, holds=("approval", "drift"))

    assert people.STUCK not in broken(held)
    assert people.STUCK in broken(replace(held, policies=edited.policies))


def test_who_is_paused_need_not_raise_a_route_that_sank(good: Seen) -> None:
    """The second route is still at 10 % when the share of both is 50."""
    seen = replace(leaving_it_half_applied(good), incidents=())
    paused = with_history(seen, entry(0, 12.2, "holds"))
    paused = replace(
        paused, entries=tuple(replace(e, reason="pause: ann") if e.at == BEGAN + 12.2 else e for e in paused.entries)
    )

    assert routes.MENDED in broken(seen)
    assert routes.MENDED not in broken(paused)
    lower = tuple(replace(e, evidence={**e.evidence, "to": 10.0}) if e.what == "done" else e for e in paused.entries)
    assert routes.MENDED in broken(replace(paused, entries=lower))


def test_where_nothing_could_be_saved_a_shift_at_100_percent_may_have_completed(good: Seen) -> None:
    """From +28.5 on all traffic is on istio, which fails from +29.5 on."""
    seen = replace(with_history(good, without=[number_of(good, 4) + 2]), incidents=())
    bad = tuple(replace(s, failed=20) if s.at - BEGAN >= 29 else s for s in good.seconds)
    stays = with_incident(replace(seen, seconds=bad), incident(3, Kind.FAILING, 29.5, 45, "istio"))
    away = incident(4, Kind.STORE, 30, 40)

    assert users.WENT_BACK in broken(stays)
    assert users.WENT_BACK not in broken(with_incident(stays, away))


def test_a_share_that_somebody_set_before_the_first_step_is_theirs_to_take_back(good: Seen) -> None:
    stays = staying_on_a_broken_mesh(good)
    zeros = tuple(replace(e, evidence={**e.evidence, "to": 0.0}) if e.what == "done" else e for e in stays.entries)
    edited = with_incident(stays, incident(4, Kind.EDIT, 2, 3))

    assert users.WENT_BACK in broken(edited)
    assert users.WENT_BACK in broken(replace(stays, entries=zeros))
    assert users.WENT_BACK not in broken(replace(edited, entries=zeros))
