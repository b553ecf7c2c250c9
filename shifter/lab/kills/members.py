"""Takes a member out of the target and brings it back: how the drill makes a share fall, and rise, by itself.

Nobody orders that, it happens: Kubernetes moves a gateway's pod, and whoever binds it again knows of no migration. So a
member that comes back has the weight of any other, and the share rises, which shifter has to take back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import HealthNote, Incident
from shifter.lab.soak.hands import RESYNC_WEIGHT, CloudHands, Notes
from shifter.lab.soak.plan import Trouble
from shifter.lab.stage import Stage
from shifter.lab.topology import TARGET_MESH


@dataclass(frozen=True, slots=True)
class _Away:
    """A member that is out of a shift's target, since Unix seconds."""

    since: float
    told: str
    bind: Callable[[], str]


class Members:
    """The members of the target; at most one of each shift is out."""

    def __init__(self, stage: Stage) -> None:
        self._notes = Notes()
        self._unbind: Final = CloudHands(stage, self._notes).acts()[Kind.GONE]
        self._away: dict[str, _Away] = {}
        self._incidents: list[Incident] = []

    @property
    def health(self) -> tuple[HealthNote, ...]:
        """What the health check came to think of members that are back."""
        return tuple(self._notes.health)

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """What happened to whom, of members that are back."""
        return tuple(self._incidents)

    def move(self, shift: str) -> None:
        """Let the share of a shift fall: take a member out; one that is out comes back, so that it can fall again."""
        if shift in self._away:
            self._bring_back(shift)
            return
        trouble = Trouble(0, Kind.GONE, 0.0, 0.0, (shift,), (TARGET_MESH,), amount=float(RESYNC_WEIGHT))
        since = time.time()
        self._away[shift] = _Away(since, *self._unbind(trouble))

    def bring_all_back(self) -> bool:
        """Bind again whoever is out; return whether anybody was."""
        away = tuple(self._away)
        for shift in away:
            self._bring_back(shift)
        return bool(away)

    def _bring_back(self, shift: str) -> None:
        away = self._away.pop(shift)
        told = f"{away.told}; {away.bind()}"
        self._incidents.append(
            Incident(0, Kind.GONE, away.since, time.time(), frozenset({shift}), frozenset({TARGET_MESH}), told=told)
        )
