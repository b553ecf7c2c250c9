"""Ambushes: the one call at which it hurts most meets its fate, which independent dice hardly ever bring about.

Right after a climb was accepted its process dies; right before it is sent the process is stopped for longer than the
lease; while the intent is being saved somebody orders the opposite. The calls are found by what they ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.sim.calls import Ambush, Fate
from tests.sim.dice import Dice
from tests.sim.plan import MACHINES, Mishap, Plan, What

_STOPPABLE = 0.4
"""The part of ticks and calls that can stop in the middle, where one of them must."""

_SOONEST_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Scene:
    """The call that is waited for, and what happens to it."""

    port: str
    word: str
    fate: Fate


SCENES: Sequence[Scene] = (
    Scene("provider.submit", "", Fate.CRASH_AFTER),
    Scene("provider.submit", "", Fate.PAUSE_BEFORE),
    Scene("provider.submit", "", Fate.ORDER_BEFORE),
    Scene("provider.submit", "", Fate.LATE),
    Scene("lease.valid", "", Fate.PAUSE_BEFORE),
    Scene("store.save", " intent ", Fate.ORDER_BEFORE),
    Scene("store.save", " intent ", Fate.ORDER_AFTER),
    Scene("store.save", " intent ", Fate.PAUSE_BEFORE),
    Scene("store.save", " intent ", Fate.ERROR_AFTER),
    Scene("store.save", " done ", Fate.CRASH_BEFORE),
)


def with_scene(plan: Plan, dice: Dice, until: float) -> Plan:
    """Return the plan with an ambush in it, from a random moment before `until` on; or everybody dies at once then."""
    at = dice.between(min(_SOONEST_SECONDS, until / 2), until)
    if dice.hits(1 / (len(SCENES) + 1)):
        # Who leads then is not known beforehand.
        crashes = [Mishap(at, What.CRASH, name) for name in MACHINES[: plan.machines]]
        return replace(plan, mishaps=tuple(sorted((*plan.mishaps, *crashes), key=lambda each: each.at)))
    scene = dice.one_of(SCENES)
    return replace(plan, ambushes=(Ambush(at, scene.port, scene.word, scene.fate),), stoppable=_STOPPABLE)
