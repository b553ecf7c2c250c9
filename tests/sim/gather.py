"""What was seen of a run, in the checker's words: the cloud's log, the store's rows, the users, and what went wrong.

Nothing of shifter's own state is read: the rows of the store are what it wrote down, as a person would read them.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from shifter.core.chain import FIRST_ID
from shifter.lab.checker import seen
from tests.sim.incidents import incidents_of
from tests.sim.plan import SHIFTS, Plan

if TYPE_CHECKING:
    from tests.sim.world import World

EVERYTHING = 1_000_000
REST_SECONDS = 12.0
"""How long after the last fault a process may still be stopped."""


def bounds_of(plan: Plan) -> seen.Bounds:
    """What the rules measure by, from the settings of the world: a tick is a second."""
    _, stale, stale_seconds, _ = plan.weather
    return seen.Bounds(
        tick_seconds=1.0,
        operation_seconds=8.0,
        late_seconds=20.0,
        flight_seconds=6.0,
        noticed_seconds=4.0,
        plainly_percent=15.0,
        plainly_seconds=8.0,
        back_seconds=8.0,
        read_seconds=3.0 + (stale_seconds if stale else 0.0),
    )


def gather(world: World) -> seen.Seen:
    """Return everything that was seen."""
    plan, zero = world.plan, world.zero
    return seen.Seen(
        began_at=zero,
        calm_at=None if plan.is_safety else zero + plan.calm_at + REST_SECONDS,
        ended_at=zero + world.kernel.now,
        bounds=bounds_of(plan),
        namespaces=SHIFTS,
        source_ports=frozenset({30080}),
        entries=_entries(world),
        orders=tuple(world.keeping.orders(world.hands.given, rests=not plan.is_safety)),
        given=tuple(world.hands.given),
        changes=tuple(world.cloud.changes),
        health=tuple(world.cloud.health),
        incidents=incidents_of(world),
        lives=_lives(world),
        policies=tuple(world.desk.versions),
        seconds=tuple(world.users.seconds),
        last_words=_words(world),
        tracebacks=tuple(world.chronicle.bugs),
        calls=_calls(world),
        chain=_chain(world),
    )


def _entries(world: World) -> tuple[seen.Entry, ...]:
    zero, found = world.zero, []
    store = world.keeping.audit()
    of = {link.hash: chain for chain in store.chains() for link in store.chain(FIRST_ID, EVERYTHING, chain).links}
    for kept in store.history(limit=EVERYTHING):
        record = kept.record
        at, saved_at, call = world.keeping.library.records[kept.id, kept.hash]
        found.append(
            seen.Entry(
                kept.id, zero + at, record.shift, str(record.what), record.by, record.reason, record.sequence,
                record.epoch, record.evidence, zero + saved_at, call, of.get(kept.hash, ""),
            )
        )  # fmt: skip
    return tuple(found)


def _words(world: World) -> tuple[seen.LastWord, ...]:
    return tuple(
        seen.LastWord(
            name,
            world.zero + world.keeping.library.told[name],
            str(report.phase),
            report.written,
            tuple(hold.kind for hold in report.holds),
            report.reason,
            report.page,
        )
        for name, report in world.keeping.audit().reports().items()
    )


def _lives(world: World) -> tuple[seen.Life, ...]:
    """One life per term of leadership, until the next one began or its process ended."""
    found = []
    terms = [*world.chronicle.leaders, None]
    for term, following in pairwise(terms):
        assert term is not None
        began, name = term
        ended, killed = world.chronicle.ends.get(name, (None, False))
        until = min((at for at in (ended, following[0] if following else None) if at is not None), default=None)
        found.append(
            seen.Life(
                world.zero + began,
                None if until is None else world.zero + until,
                killed and until == ended,
                replica=name,
                epoch=world.chronicle.epochs[name],
                loaded_at=world.zero + world.chronicle.loaded.get(name, math.inf),
            )
        )
    return tuple(found)


def _calls(world: World) -> tuple[seen.Call, ...]:
    zero = world.zero

    def true(at: float | None) -> float | None:
        return None if at is None else zero + at

    return tuple(
        seen.Call(
            zero + call.at, call.caller, call.domain, call.what, call.answer, call.raises, true(call.answered_at),
            true(call.as_of), call.request_id, call.routes, call.asked,
        )
        for call in world.cloud.calls
    )  # fmt: skip


def _chain(world: World) -> tuple[seen.Link, ...]:
    store = world.keeping.audit()
    return tuple(
        seen.Link(
            link.id,
            (link.at, link.shift, link.what, link.by, link.reason, link.sequence, link.epoch, link.evidence),
            link.hash,
            chain,
        )
        for chain in store.chains()
        for link in store.chain(FIRST_ID, EVERYTHING, chain).links
    )
