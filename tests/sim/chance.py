"""Who decides what happens to calls: dice, or a list."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tests.sim.calls import STOPPING, Ambush, Fate, Made
from tests.sim.dice import Dice


class Chance:
    """Decides by dice. `odds` are probabilities per call; while it `is_calm`, nothing happens."""

    def __init__(
        self, dice: Dice, odds: Mapping[Fate, float], stoppable: float, ambushes: Sequence[Ambush] = ()
    ) -> None:
        self.stoppable = stoppable
        self.is_calm = False
        self._dice = dice
        self._ambushes = list(ambushes)
        # A stack that can stop is rare; when there is one, something should stop.
        self._odds = {fate: each / stoppable if fate in STOPPING else each for fate, each in odds.items()}

    def of(self, call: Made, possible: frozenset[Fate]) -> Fate | None:
        """Throw once for all fates together, unless an ambush is laid."""
        if self.is_calm:
            return None
        for ambush in self._ambushes:
            if ambush.meets(call) and ambush.fate in possible:
                self._ambushes.remove(ambush)
                return ambush.fate
        thrown = self._dice.between(0.0, 1.0)
        for fate, odds in self._odds.items():
            if fate in possible:
                if thrown < odds:
                    return fate
                thrown -= odds
        return None

    def seconds(self, low: float, high: float) -> float:
        """Throw."""
        return self._dice.between(low, high)


class Script:
    """Decides by a list: what happens to the call of which number, unless it is made after `until_seconds`.

    All spans are the same `fraction` of the longest.
    """

    def __init__(self, fates: Mapping[int, Fate], fraction: float = 0.5, until_seconds: float = math.inf) -> None:
        self.stoppable = 1.0
        self._fates = fates
        self._fraction = fraction
        self._until_seconds = until_seconds

    def of(self, call: Made, possible: frozenset[Fate]) -> Fate | None:
        """Look it up; what cannot happen to that call does not."""
        fate = self._fates.get(call.number)
        return fate if fate in possible and call.at < self._until_seconds else None

    def seconds(self, low: float, high: float) -> float:
        """Always the same part of the span."""
        return low + self._fraction * (high - low)
