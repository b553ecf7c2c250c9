"""What every rule under test has in common: it sees one tick after the other and says which share it wants next.

All trials of a cell go through a rule at once. A rule keeps its state in numpy arrays whose last axis is the trial, so
that trials that have ended can be dropped by `keep`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tests.bench.analysis.scenarios import Scenario
from tests.bench.analysis.world import Flags, Floats, Seen, Whole

RUNNING: Final = 0
ROLLED_BACK: Final = 1
COMPLETED: Final = 2


class Columns:
    """State in numpy arrays whose last axis is the trial."""

    def keep(self, index: Whole, trials: int) -> None:
        """Go on with these of so many trials only."""
        for name, value in vars(self).items():
            setattr(self, name, kept(value, index, trials))


class Run(Columns, ABC):
    """One rule on so many trials. `share` (0..1) is what it wants from the next tick on, `status` how it stands."""

    def __init__(self, trials: int, first_share: float = 0.0) -> None:
        self.share: Floats = np.full(trials, first_share)
        self.status: Whole = np.zeros(trials, dtype=np.int64)
        self.ticks = 0

    def learn(self, history: Iterable[Seen]) -> None:
        """Look at the source alone, before the first step. Rules that hold nothing against it need not."""

    def begin(self) -> None:
        """Take the first step."""

    def step(self, seen: Seen) -> None:
        """Look at one tick that passed at `share`, then set `share` and `status` anew."""
        self.ticks += 1
        self._judge(seen)

    @abstractmethod
    def _judge(self, seen: Seen) -> None: ...

    def _end(self, which: Flags, status: int) -> None:
        """End the trials that are still running among `which`: back to no traffic, or all of it."""
        now = which & (self.status == RUNNING)
        self.status = np.where(now, status, self.status)
        self.share = np.where(now, 1.0 if status == COMPLETED else 0.0, self.share)


def kept(value: Any, index: Whole, trials: int) -> Any:  # noqa: ANN401 - whatever a rule's state is made of
    """Return a part of a rule's state with these trials only: arrays, lists of them, and what has columns itself."""
    if isinstance(value, Columns):
        value.keep(index, trials)
        return value
    if isinstance(value, np.ndarray) and value.ndim and value.shape[-1] == trials:
        return value[..., index]
    if isinstance(value, list):
        return [kept(each, index, trials) for each in value]
    return value


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule by name. `start` begins it on so many trials.

    `needs_history`: it looks at the source before the first step. `trials_part`: the part of the usual number of
    trials that it is run on; an expensive rule gets fewer, and wider confidence intervals.
    """

    name: str
    says: str
    start: Callable[[int, Scenario], Run]
    needs_history: bool = False
    trials_part: float = 1.0
