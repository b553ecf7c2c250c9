"""What goes wrong in a run, and when: pure, the same for the same seed. The world only does what is written here.

Each seed is another kind of bad day: of everything that can go wrong, a part is switched off, so that rare things also
meet in otherwise quiet runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.sim.calls import Ambush, Fate
from tests.sim.cloud import Ending

SHIFTS = ("shop", "pay")
MACHINES = ("a", "b", "c")
STEPS = (10.0, 50.0, 100.0)
SOAK_SECONDS = 4.0
HOLD_SECONDS = 3.0
CLUSTER = "kubernetes"
"""Where things are kept in a cluster."""


class What(StrEnum):
    """Every kind of thing that happens at an instant of its own."""

    DOWN = "cloud down"
    LOCK = "domain locked"
    EDIT = "weights edited"
    DEAD = "members dead"
    BOUND = "member bound"
    UNBOUND = "member unbound"
    NO_METRICS = "prometheus away"
    MUTE_METRICS = "prometheus answers errors"
    LATE_METRICS = "prometheus late"
    LESS_METRICS = "pod not shown"
    POD = "pod restarted"
    SCALED = "source scaled down"
    FAILING = "target fails"
    SLOW = "target slow"
    INCIDENT = "both meshes fail"
    NO_STORE = "store away"
    REFUSING = "store refuses"
    CUT_OFF = "machine cut off"
    CRASH = "process killed"
    STOP = "process stopped"
    END = "process ended"
    CLOCK = "clock set"
    STOLEN = "lease deleted"
    ORDER = "order"
    POLICY = "policy edited"
    BROKEN = "policy broken"
    GONE = "policy gone"


class Layout(StrEnum):
    """Which balancers the shifts' rules are on: one for both, one each, or one for both and a second for one."""

    SHARED = "shared"
    APART = "apart"
    WIDE = "wide"


@dataclass(frozen=True, slots=True)
class Mishap:
    """One thing that happens `at` true seconds, for so long; `whom` is a shift, a machine or a mesh.

    `amount` is whatever number it needs, `word` whatever word (the verb of an order).
    """

    at: float
    what: What
    whom: str = ""
    seconds: float = 0.0
    amount: float = 0.0
    word: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Until `calm_at` things go wrong, then nothing does any more until `ends_at`: a safety run has no calm.

    Args:
        seed: of all dice.
        machines: how many processes compete.
        layout: which balancers the shifts' rules are on.
        calm_at: true seconds; after `ends_at` if faults never stop.
        ends_at: true seconds.
        mishaps: by instant.
        odds: of every call's fates.
        ambushes: calls whose fate is sure.
        endings: odds of how tasks end, besides well.
        weather: throttled, stale, stale seconds, most seconds of a task.
        refused: odds that a write is refused for good.
        lanes: odds that a lane's call is late.
        stoppable: the part of ticks and calls that may stop in the middle.
        rates: how fast the machines' clocks run; `offsets`: how far they are off.
        gates: shares that need an approval.
        on_failure: what the policies say.
        has_workload: whether somebody can be asked what the source's gateway runs as.
        store: where things are kept: `memory` or `kubernetes`.
        timed: the shifts whose policies compare latency; the meshes count no other one's.
    """

    seed: int
    machines: int = 2
    layout: Layout = Layout.SHARED
    calm_at: float = 0.0
    ends_at: float = 60.0
    mishaps: tuple[Mishap, ...] = ()
    odds: Mapping[Fate, float] = field(default_factory=dict)
    ambushes: tuple[Ambush, ...] = ()
    endings: Mapping[Ending, float] = field(default_factory=dict)
    weather: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.2)
    refused: float = 0.0
    lanes: float = 0.0
    stoppable: float = 0.05
    rates: tuple[float, ...] = (1.0, 1.0, 1.0)
    offsets: tuple[float, ...] = (0.0, 0.0, 0.0)
    gates: tuple[float, ...] = ()
    on_failure: str = "rollback"
    has_workload: bool = False
    store: str = "memory"
    timed: tuple[str, ...] = ()

    @property
    def is_safety(self) -> bool:
        """Whether faults never stop."""
        return self.calm_at > self.ends_at
