"""Random days in a cluster: the same days otherwise, with the real store and the real lease before an API server.

A mode of its own. What strikes a save on the usual days strikes one of its calls here; and a part of the days has an
ambush that only here there is a place for: between what is saved and what is filed, or at the lease.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tests.sim.calls import Ambush, Fate
from tests.sim.dice import Dice
from tests.sim.drawing import plan_of as drawn
from tests.sim.plan import CLUSTER, Plan
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
)


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
    return replace(plan, ambushes=tuple(ambushes), stoppable=stoppable, store=CLUSTER)
