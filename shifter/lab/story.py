"""What a scenario is: who is in it, what happens, how it must end. And the turns that many of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shifter.core.phases import Phase
from shifter.lab.plot import Beat, Plot, Scene

SHARED: Final = "lb-front0001"
OWN: Final = "lb-front0002"


@dataclass(frozen=True, slots=True)
class Ending:
    """How one shift must end.

    Args:
        phase: in which phase.
        share: at which share, percent.
        rollbacks: how often it went back for good.
        steps_back: how often its share fell and not to 0.
        may_fail_users: whether requests had to fail (some, and not many), or none may.
        told: words that must be in some record's reason.
    """

    phase: Phase = Phase.COMPLETED
    share: float = 100.0
    rollbacks: int = 0
    steps_back: int = 0
    may_fail_users: bool = False
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lull:
    """A time in which no share may be raised: from one beat to another, of one shift or, if none is named, of all."""

    begin: str
    end: str
    shift: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story.

    Args:
        name: what `shifter lab run --scenario` calls it.
        about: one line for people.
        balancer_of: the namespaces, and the CLB of each.
        plots: what happens.
        endings: how each namespace must end.
        seconds_max: when it has failed.
        lulls: when no share may be raised.
        faults: the beat that hurts a namespace, by namespace: the verdict reckons from it.
        rates: requests per second of namespaces that do not have the pace's.
        grpc: the namespaces whose users speak gRPC.
        spec_of: what a namespace's policy has of its own, merged into its `spec`; None takes a key away.
        fleet_spec: what the fleet file has of its own, likewise.
    """

    name: str
    about: str
    balancer_of: Mapping[str, str]
    plots: tuple[Plot, ...]
    endings: Mapping[str, Ending]
    seconds_max: float = 170.0
    lulls: tuple[Lull, ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    grpc: frozenset[str] = frozenset()
    spec_of: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fleet_spec: Mapping[str, Any] = field(default_factory=dict)


def ended(shift: str, phase: Phase) -> Beat:
    """Return the beat that waits for a shift to be in a phase."""
    return Beat(f"{shift} is {phase}", lambda scene: scene.phase(shift) is phase)


def reached(shift: str, share: float) -> Callable[[Scene], bool]:
    """Return whether a share is in force, give or take the balancer's whole weights."""
    return lambda scene: scene.written(shift) >= share - 1


def soaking(shift: str, share: float) -> Callable[[Scene], bool]:
    """Return whether a shift is in the middle of a soak at a share, or above."""

    def soaks(scene: Scene) -> bool:
        if scene.written(shift) < share - 1:
            return False
        # While a write is under way the report still shows the soak before it, a whole one.
        report = scene.reports[shift]
        return 0 < report.soaked_seconds < report.soak_seconds

    return soaks
