"""Draws the plan of a seed. Who changes anything here, or what the dice are asked, changes what every seed means."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.sim.calls import Fate
from tests.sim.cloud import Ending
from tests.sim.dice import Dice
from tests.sim.pairs import with_pair
from tests.sim.plan import MACHINES, SHIFTS, STEPS, Layout, Mishap, Plan, What
from tests.sim.scenes import with_scene

SAFETY_SECONDS = (20.0, 60.0)
FAULTS_SECONDS = (5.0, 40.0)
CALM_SECONDS = 90.0
"""Within so long of calm everything must have finished, gone back, or rest at a hold that says why."""

_PAIRED, _AMBUSHED = 0.35, 0.4
_DRAWN_ELSEWHERE = frozenset({What.SLOW, What.REFUSING})

_ORDERS = (
    ("pause", 4), ("resume", 4), ("promote", 8), ("promote full", 2), ("promote override", 1), ("rollback", 3),
    ("retry", 5), ("adopt", 2), ("restore", 2), ("freeze", 2), ("unfreeze", 3), ("approve", 3), ("hands off", 2),
)  # fmt: skip


def plan_of(seed: int, *, liveness: bool) -> Plan:
    """Return the plan of a seed: faults for ever, or faults that stop."""
    dice = Dice(seed, "plan")
    until = dice.between(*(FAULTS_SECONDS if liveness else SAFETY_SECONDS))
    ends, calm = (until + CALM_SECONDS, until) if liveness else (until, until + 1)
    machines = dice.whole(2, 3)
    wild = dice.between(0.2, 1.0)
    odds = {fate: wild * most for fate, most in _ODDS.items() if dice.hits(0.6)}
    endings: dict[Ending, float] = {
        ending: wild * 0.1 for ending in Ending if ending is not Ending.DONE and dice.hits(0.5)
    }
    stale = dice.between(0.0, 0.3) if dice.hits(0.4) else 0.0
    weather = (dice.between(0.0, 0.1) if dice.hits(0.4) else 0.0, stale, dice.between(0.2, 2.0), dice.between(0.3, 5.0))
    plan = Plan(
        seed=seed,
        machines=machines,
        layout=dice.one_of(list(Layout)),
        calm_at=calm,
        ends_at=ends,
        mishaps=_mishaps(dice, until, machines),
        odds=odds,
        endings=endings,
        weather=weather,
        refused=dice.between(0.0, 0.05) if dice.hits(0.2) else 0.0,
        lanes=dice.between(0.0, 0.1) if dice.hits(0.5) else 0.0,
        stoppable=dice.one_of((0.02, 0.05, 0.1)),
        rates=tuple(dice.between(0.985, 1.015) if dice.hits(0.3) else 1.0 for _ in range(machines)),
        offsets=tuple(dice.between(-0.5, 0.5) if dice.hits(0.5) else 0.0 for _ in range(machines)),
        gates=(50.0,) if dice.hits(0.2) else (),
        has_workload=dice.hits(0.4),
        on_failure=dice.one_of(("rollback", "rollback", "rollback", "stepBack", "hold")),
    )
    if dice.hits(_PAIRED):
        return with_pair(plan, dice, until)
    return with_scene(plan, dice, until) if dice.hits(_AMBUSHED) else plan


_ODDS: Mapping[Fate, float] = {
    Fate.CRASH_BEFORE: 0.003,
    Fate.CRASH_AFTER: 0.003,
    Fate.PAUSE_BEFORE: 0.002,
    Fate.PAUSE_AFTER: 0.002,
    Fate.LEASE_BEFORE: 0.002,
    Fate.LEASE_AFTER: 0.002,
    Fate.ERROR_BEFORE: 0.02,
    Fate.ERROR_AFTER: 0.02,
    Fate.HANG_BEFORE: 0.01,
    Fate.HANG_AFTER: 0.01,
    Fate.LOST: 0.03,
    Fate.LATE: 0.03,
    Fate.CONFLICT: 0.02,
    Fate.STALE: 0.05,
    Fate.ORDER_BEFORE: 0.003,
    Fate.ORDER_AFTER: 0.003,
}
"""On the wildest day, per call."""


def _mishaps(dice: Dice, until: float, machines: int) -> tuple[Mishap, ...]:
    kinds = [what for what in What if what not in _DRAWN_ELSEWHERE and dice.hits(0.45)]
    # What people do, and what users suffer, is what most rules are about.
    kinds += [what for what in (What.ORDER, What.ORDER, What.ORDER, What.FAILING) if what in kinds]
    if not kinds:
        return ()
    count = dice.whole(0, 4 + round(until / 4))
    found = [_mishap(dice, dice.one_of(kinds), dice.between(0.0, until), machines) for _ in range(count)]
    return tuple(sorted(found, key=lambda each: (each.at, each.what, each.whom)))


def _mishap(dice: Dice, what: What, at: float, machines: int) -> Mishap:
    return _MADE.get(what, _for_a_while)(dice, what, at, machines)


def _for_a_while(dice: Dice, what: What, at: float, _: int) -> Mishap:
    return Mishap(at, what, dice.one_of(SHIFTS), dice.between(1.0, 15.0), dice.between(0.0, 1.0))


def _for_long(dice: Dice, what: What, at: float, _: int) -> Mishap:
    return Mishap(at, what, dice.one_of(SHIFTS), dice.between(8.0, 35.0), dice.between(0.0, 1.0))


def _of_mesh(dice: Dice, what: What, at: float, _: int) -> Mishap:
    return Mishap(at, what, dice.one_of(("source", "target")), dice.between(1.0, 15.0), dice.between(1.0, 4.0))


def _of_machine(dice: Dice, what: What, at: float, machines: int) -> Mishap:
    jump = dice.one_of((2.5, 40.0))
    return Mishap(at, what, dice.one_of(MACHINES[:machines]), dice.between(0.5, 12.0), dice.between(-jump, jump))


def _order(dice: Dice, what: What, at: float, _: int) -> Mishap:
    words = [word for word, weight in _ORDERS for _ in range(weight)]
    return Mishap(at, what, dice.one_of(SHIFTS), dice.between(2.0, 15.0), dice.one_of(STEPS), dice.one_of(words))


_MADE: Mapping[What, Callable[[Dice, What, float, int], Mishap]] = {
    What.NO_METRICS: _of_mesh,
    What.MUTE_METRICS: _of_mesh,
    What.LATE_METRICS: _of_mesh,
    What.LESS_METRICS: _of_mesh,
    What.POD: _of_mesh,
    What.CUT_OFF: _of_machine,
    What.CRASH: _of_machine,
    What.STOP: _of_machine,
    What.END: _of_machine,
    What.CLOCK: _of_machine,
    What.STOLEN: _of_machine,
    What.ORDER: _order,
    What.FAILING: _for_long,
    What.INCIDENT: _for_long,
}
