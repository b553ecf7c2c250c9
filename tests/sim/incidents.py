"""What went wrong, in the checker's words: only what really happened, when it did, and whom it could hinder.

Who is hindered is told by an incident's namespaces. What strikes a process that does not lead hinders nobody, and so
does a clock that is off by less than anybody minds; a call that fails hinders those whose rules are in its lock domain.
What hinders nobody is kept all the same: some rules reckon with what any clock says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from shifter.lab.checker import seen
from shifter.lab.checker.kinds import Kind
from tests.sim.calls import Trouble
from tests.sim.plan import SHIFTS

if TYPE_CHECKING:
    from tests.sim.world import World

BEARABLE_SECONDS: Final = 1.0
"""A clock that is off by less than a tick is nobody's concern."""

_EVERYBODY: Final = frozenset(SHIFTS)
_NOBODY: Final = frozenset[str]()
_ENDED_SECONDS: Final = 6.0
_ROBBED_SECONDS: Final = 2.0

_TROUBLE: Final = {
    "store": Kind.STORE,
    "kube": Kind.STORE,
    "election": Kind.LEASE,
    "orders": Kind.STORE,
    "provider": Kind.CLOUD,
    "task": Kind.CLOUD,
    "throttled": Kind.CLOUD,
    "metrics": Kind.ODD_METRICS,
    "workload": Kind.ODD_METRICS,
    "stale": Kind.STALE,
}
"""What a call that went wrong is called."""

_METRICS: Final = ("metrics/", "past")
"""How the lanes of a datasource are called; the others are lock domains, or what going back does without."""

_ASIDE: Final = frozenset({"store", "kube", "election", "orders", "workload"})
"""Who is asked for what going back does without."""


def incidents_of(world: World) -> tuple[seen.Incident, ...]:
    """Return what the plan did, what fate did to processes, and how the cloud and the store were, until the end."""
    terms, ended_at = _terms(world), world.zero + world.kernel.now
    found = [
        each if not each.whom or _leads(terms, each.whom, each.began_at - world.zero, each.ended_at - world.zero)
        else replace(each, namespaces=_NOBODY)
        for each in (*world.hands.incidents, *_of_processes(world), *_of_calls(world))
    ]  # fmt: skip
    found += [*_of_clocks(world, terms), *_without_leader(world)]
    return tuple(
        replace(each, number=number, ended_at=max(each.began_at, min(each.ended_at, ended_at)))
        for number, each in enumerate(found)
    )


def _incident(
    world: World, kind: Kind, span: tuple[float, float], told: str, *, whom: str = "",
    namespaces: frozenset[str] = _EVERYBODY,
) -> seen.Incident:  # fmt: skip
    since, until = span
    return seen.Incident(
        0, str(kind), world.zero + since, world.zero + until, namespaces, frozenset(), told=told, whom=whom
    )


def _of_processes(world: World) -> Iterator[seen.Incident]:
    for (name, since), until in world.chronicle.pauses.items():
        yield _incident(world, Kind.FROZEN, (since, until), f"{name} is stopped", whom=name)
    for at, name in world.chronicle.robbed:
        yield _incident(world, Kind.LEASE, (at, at + _ROBBED_SECONDS), f"the lease of {name} is taken away", whom=name)
    for name, since, until in world.keeping.doubts():
        yield _incident(world, Kind.LEASE, (since, until), f"{name} is in doubt of its lease", whom=name)
    for name, (at, killed) in world.chronicle.ends.items():
        kind = Kind.KILLED if killed else Kind.RESTARTED
        yield _incident(world, kind, (at, at + _ENDED_SECONDS), f"{name} ends", whom=name)


def _of_calls(world: World) -> Iterator[seen.Incident]:
    for each in (*world.tally.troubles, *world.cloud.troubles):
        name, span, told = each.port.partition(".")[0], (each.since, each.until), f"{each.port} goes wrong"
        yield _incident(world, _TROUBLE[name], span, told, whom=each.caller, namespaces=_hindered(world, name, each))
        if each.waits:
            yield _incident(world, Kind.WAITS, span, f"{each.caller} waits for {each.port}", whom=each.caller)
    for lane, since, until in world.pace.lates:
        about = _EVERYBODY if lane.startswith(_METRICS) else world.shifts_of(lane)
        yield _incident(world, Kind.WAITS, (since, until), f"the lane {lane} is late", namespaces=about)
    for since, until in world.keeping.library.stale:
        yield _incident(world, Kind.STALE, (since, until), "the store is read stale", namespaces=_NOBODY)


def _hindered(world: World, name: str, trouble: Trouble) -> frozenset[str]:
    if name in _ASIDE:
        return _NOBODY
    return world.shifts_of(trouble.domain) if trouble.domain else _EVERYBODY


def _of_clocks(world: World, terms: list[tuple[float, float, str]]) -> Iterator[seen.Incident]:
    """Yield when clocks were set, for as long as they are plainly wrong; and that some are a little off, if so."""
    plan, clocks = world.plan, world.chronicle.clocks
    for machine in sorted({name for _, name, _ in clocks}):
        set_at = [(at, error) for at, name, error in clocks if name == machine]
        for (since, error), (until, _) in pairwise([*set_at, (world.kernel.now, 0.0)]):
            span = since, until if abs(error) > BEARABLE_SECONDS else since
            led = any(_overlap(term, span) and term[2].startswith(f"{machine}.") for term in terms)
            told = f"the clock of {machine} is off by {error:+.1f} s"
            yield _incident(world, Kind.CLOCK, span, told, namespaces=_EVERYBODY if led else _NOBODY)
    if any(plan.offsets) or any(rate != 1 for rate in plan.rates):
        yield _incident(world, Kind.CLOCK, (0.0, plan.ends_at), "clocks are off", namespaces=_NOBODY)


def _terms(world: World) -> list[tuple[float, float, str]]:
    """From when to when which process led: until it ended or the next one took over."""
    leaders, ends = world.chronicle.leaders, world.chronicle.ends
    return [
        (since, min(until, ends.get(name, (math.inf, False))[0]), name)
        for (since, name), (until, _) in pairwise([*leaders, (math.inf, "")])
    ]


def _without_leader(world: World) -> Iterator[seen.Incident]:
    """Yield when nobody led: from the end of a term until somebody else had read what is saved."""
    free_since = 0.0
    for _, until, name in _terms(world):
        loaded_at = world.chronicle.loaded.get(name)
        if loaded_at is None:
            continue
        yield _incident(world, Kind.LEASE, (min(free_since, loaded_at), loaded_at), "nobody leads")
        free_since = until
    if free_since <= world.kernel.now:
        yield _incident(world, Kind.LEASE, (free_since, world.kernel.now), "nobody leads")


def _leads(terms: list[tuple[float, float, str]], name: str, since: float, until: float) -> bool:
    return any(name == term[2] and _overlap(term, (since, until)) for term in terms)


def _overlap(term: tuple[float, float, str], span: tuple[float, float]) -> bool:
    return term[0] <= span[1] and span[0] <= term[1]
