"""Random days in a cluster: the same days otherwise, with the real store and the real lease before an API server.

A mode of its own. What strikes a save on the usual days strikes one of its calls here; and a part of the days has an
ambush that only here there is a place for: between what is saved and what is filed, or at the lease.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tests.kube_faults import Fault
from tests.sim.calls import Ambush, Fate
from tests.sim.dice import Dice
from tests.sim.drawing import plan_of as drawn
from tests.sim.plan import CLUSTER, Mishap, Plan, What
from tests.sim.scenes import Scene

MODE: Final = CLUSTER

_AMBUSHED: Final = 0.4
_STOPPABLE: Final = 0.4
_SOONEST_SECONDS: Final = 2.0
_MOST_AMBUSHES: Final = 3
_CALLS: Final = {"store.save": "kube.replace_status", "store.save_fleet": "kube.replace_status"}
"""Which call of the API a call of the store comes down to."""

SCENES: Final[Sequence[Scene]] = (
    Scene("kube.replace_status", " intent ", Fate.LOST),
    Scene("kube.replace_status", " intent ", Fate.LATE),
    Scene("kube.replace_status", " intent ", Fate.ERROR_AFTER),
    Scene("kube.replace_status", " intent ", Fate.CRASH_AFTER),
    Scene("kube.replace_status", " intent ", Fate.CONFLICT),
    Scene("kube.replace_status", " done ", Fate.ERROR_AFTER),
    Scene("kube.replace_status", " order ", Fate.ERROR_AFTER),
    Scene("kube.replace_status", " order ", Fate.CRASH_AFTER),
    Scene("kube.create", "shiftrecords", Fate.CRASH_BEFORE),
    Scene("kube.create", "shiftrecords", Fate.CRASH_AFTER),
    Scene("kube.create", "shiftrecords", Fate.PAUSE_BEFORE),
    Scene("kube.create", "shiftrecords", Fate.LATE),
    Scene("kube.list", "shiftorders", Fate.PAUSE_AFTER),
    Scene("kube.list", "shifts", Fate.PAUSE_AFTER),
    Scene("kube.get", "shiftorders", Fate.CRASH_AFTER),
    Scene("kube.replace_status", "shiftorders", Fate.LATE),
    Scene("election.replace", "", Fate.PAUSE_BEFORE),
    Scene("election.replace", "", Fate.PAUSE_AFTER),
    Scene("election.replace", "", Fate.LATE),
    Scene("election.replace", "", Fate.CONFLICT),
    Scene("election.replace", "", Fate.LEASE_AFTER),
    Scene("election.create", "", Fate.ERROR_AFTER),
    Scene("election.get", "", Fate.PAUSE_AFTER),
    Scene("kube.replace_status", " intent ", Fate.INVALID),
    Scene("kube.replace_status", " intent ", Fate.UNKNOWN_USER),
    Scene("kube.replace_status", " done ", Fate.DENIED),
    Scene("kube.replace_status", " order ", Fate.THROTTLED),
    Scene("kube.create", "shiftrecords", Fate.INVALID),
    Scene("kube.list", "shiftorders", Fate.EXPIRED),
    Scene("election.replace", "", Fate.DENIED),
    Scene("election.replace", "", Fate.THROTTLED),
    Scene("orders.watch", "", Fate.CUT),
    Scene("orders.watch", "", Fate.SLOW),
    Scene("orders.watch", "", Fate.EXPIRED),
    Scene("orders.watch", "", Fate.HANG_BEFORE),
    Scene("orders.list", "", Fate.LEASE_AFTER),
)

_ODDS: Final[Mapping[Fate, float]] = {
    Fate.UNKNOWN_USER: 0.01,
    Fate.DENIED: 0.01,
    Fate.EXPIRED: 0.1,
    Fate.INVALID: 0.01,
    Fate.THROTTLED: 0.02,
    Fate.CUT: 0.2,
    Fate.SLOW: 0.2,
}
"""On the wildest day, per call: watches are few."""

_REFUSED: Final = 0.3
_REFUSED_SECONDS: Final = (0.5, 15.0)
_REFUSING: Final = (Fault.UNKNOWN_USER, Fault.DENIED, Fault.INVALID, Fault.THROTTLED, Fault.ERROR)
"""What a server says to everybody for a while: a token ran out, a role or a definition was edited, etcd is full."""


def plan_of(seed: int) -> Plan:
    """Return the random day of a seed (odd ones have an end of their faults) in a cluster."""
    plan, dice = drawn(seed, liveness=bool(seed % 2)), Dice(seed, MODE)
    ambushes = [replace(each, port=_CALLS.get(each.port, each.port)) for each in plan.ambushes]
    stoppable = plan.stoppable
    if dice.hits(_AMBUSHED):
        until = min(plan.calm_at, plan.ends_at)
        for _ in range(dice.whole(1, _MOST_AMBUSHES)):
            scene, at = dice.one_of(SCENES), dice.between(min(_SOONEST_SECONDS, until), until)
            ambushes.append(Ambush(at, scene.port, scene.word, scene.fate))
        stoppable = _STOPPABLE
    wild = dice.between(0.2, 1.0)
    odds = {**plan.odds, **{fate: wild * most for fate, most in _ODDS.items() if dice.hits(0.6)}}
    mishaps = sorted((*plan.mishaps, *_refusals(plan, dice)), key=lambda each: (each.at, each.what, each.whom))
    ambushed = replace(plan, ambushes=tuple(ambushes), stoppable=stoppable, store=CLUSTER)
    return replace(ambushed, odds=odds, mishaps=tuple(mishaps))


def _refusals(plan: Plan, dice: Dice) -> Iterator[Mishap]:
    while dice.hits(_REFUSED):
        at, seconds = dice.between(0.0, min(plan.calm_at, plan.ends_at)), dice.between(*_REFUSED_SECONDS)
        yield Mishap(at, What.REFUSING, seconds=seconds, word=dice.one_of(_REFUSING))
