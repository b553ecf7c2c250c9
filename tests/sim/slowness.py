"""Random days on which policies compare latency and istio may get slow: the same days otherwise, drawn by other dice.

A mode of its own. Whoever compares latency waits for more evidence, and learns more of the source before it begins, so
that on the random days there are every seed would mean another day if some of them did.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.sim.dice import Dice
from tests.sim.drawing import plan_of as drawn
from tests.sim.plan import SHIFTS, Mishap, Plan, What

MODE: Final = "latency"

_LEAST, _MOST = 0.3, 1.0
_SECONDS: Final = (8.0, 35.0)
_SOONEST_SECONDS: Final = 4.0


def plan_of(seed: int) -> Plan:
    """Return the random day of a seed (odd ones have an end of their faults) with latency, and spells of slowness."""
    plan, dice = drawn(seed, liveness=bool(seed % 2)), Dice(seed, MODE)
    until = min(plan.calm_at, plan.ends_at)
    timed = dice.one_of((SHIFTS, SHIFTS, SHIFTS[:1], SHIFTS[1:]))
    spells = [
        Mishap(
            dice.between(min(_SOONEST_SECONDS, until), until), What.SLOW, dice.one_of(timed), dice.between(*_SECONDS),
            dice.between(_LEAST, _MOST),
        )
        for _ in range(dice.whole(0, 3))
    ]  # fmt: skip
    mishaps = sorted((*plan.mishaps, *spells), key=lambda each: (each.at, each.what, each.whom))
    return replace(plan, mishaps=tuple(mishaps), timed=timed)
