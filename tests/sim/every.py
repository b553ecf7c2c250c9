"""Every port call of a migration, times everything that can happen to it: one run for each pair, none left to chance.

The migration is a quiet one of both shifts from nothing to all, with a workload to pin. The one call that is struck is
the only thing that goes wrong, so every run must come to its end, and break no rule on the way.

A person's order at that very moment (`ORDER_BEFORE`, `ORDER_AFTER`) is not among it: which order it is would be left to
dice after all, and most ask for another end than the one that each run must come to. Random seeds, the stages and the
scripts of `test_sim.py` have orders at any call.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.sim.calls import PORTS, Fate
from tests.sim.chance import Script
from tests.sim.plan import Layout, Plan
from tests.sim.world import World

FAULTS_SECONDS = 30.0
PLAN = Plan(
    seed=1,
    machines=2,
    layout=Layout.WIDE,
    calm_at=FAULTS_SECONDS,
    ends_at=FAULTS_SECONDS + 90.0,
    weather=(0.0, 0.0, 0.0, 1.2),
    has_workload=True,
)
"""Quiet: all that is wrong is the script's."""

MODE = "every"

_RARE = frozenset({Fate.ORDER_BEFORE, Fate.ORDER_AFTER})
"""What is left to others: see above."""


def pairs() -> Iterator[tuple[int, Fate]]:
    """Every call of the quiet migration by its number, with every fate that its port can have."""
    for number, port in enumerate(calls(), start=1):
        yield from ((number, fate) for fate in sorted(PORTS[port].fates - _RARE))


def calls() -> list[str]:
    """The ports of the calls of the quiet migration, in order, until its faults end."""
    with tempfile.TemporaryDirectory(prefix="sim-") as folder:
        world = World(PLAN, Path(folder), fates=Script({}))
        world.run()
    return [port for at, port in world.tally.made if at < FAULTS_SECONDS]


def struck(number: int, fate: Fate) -> tuple[Plan, Script]:
    """What runs one pair."""
    return PLAN, Script({number: fate})
