"""The scenarios of `shifter lab run`: which namespaces there are, what happens to them, how it must end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from shifter.core.holds import HoldKind
from shifter.core.phases import Phase
from shifter.lab.emulator import Fault, FaultKind
from shifter.lab.plot import Beat, Plot, Scene, order
from shifter.lab.stage import Stage
from shifter.lab.topology import TARGET_MESH

SHARED: Final = "lb-front0001"
OWN: Final = "lb-front0002"
PAUSE_SECONDS: Final = 5.0
OUTAGE_SECONDS: Final = 6.0
FAULT_PERCENT: Final = 40.0

# Names of the beats that the verdict asks for.
FAULT: Final = "pay breaks behind istio"
MENDED: Final = "pay is mended"
PAUSED: Final = "search is paused"
PROMOTED: Final = "search is promoted"
OUTAGE: Final = "istio's Prometheus stops"
NOTICED: Final = "the outage is noticed"
RESTORED: Final = "istio's Prometheus is back"
LOST_REPLY: Final = "the next write of shop loses its answer"
DRIFTED: Final = "somebody edits shop's weights by hand"
DIED: Final = "shop dies behind istio"


@dataclass(frozen=True, slots=True)
class Ending:
    """How one shift must end: in which phase, at which share, after how many rollbacks."""

    phase: Phase = Phase.COMPLETED
    share: float = 100.0
    rollbacks: int = 0
    may_fail_users: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story. `balancer_of` gives each namespace its CLB; `seconds_max` is when it has failed."""

    name: str
    about: str
    balancer_of: Mapping[str, str]
    plots: tuple[Plot, ...]
    endings: Mapping[str, Ending]
    seconds_max: float = 170.0
    holds_between: tuple[tuple[str, str], ...] = field(default=())
    """Pairs of beats between which no share may be raised."""


def _ended(shift: str, phase: Phase) -> Beat:
    return Beat(f"{shift} is {phase}", lambda scene: scene.phase(shift) is phase)


def _reached(shift: str, share: float) -> Callable[[Scene], bool]:
    return lambda scene: scene.written(shift) >= share - 1


def _soaking(shift: str, share: float) -> Callable[[Scene], bool]:
    def soaks(scene: Scene) -> bool:
        if scene.written(shift) < share - 1:
            return False
        # While a write is under way the report still shows the soak before it, a whole one.
        report = scene.reports[shift]
        return 0 < report.soaked_seconds < report.soak_seconds

    return soaks


def _lose_a_reply(stage: Stage) -> str:
    balancer = stage.account.places["shop"].balancer
    stage.emulator.faults.inject(Fault(action="BatchModifyTargetWeight", kind=FaultKind.LOST_REPLY, lb_id=balancer))
    return "the cloud will apply the next write of shop and never answer"


def _break_pay(stage: Stage) -> str:
    stage.plane.break_namespace(TARGET_MESH, "pay", FAULT_PERCENT)
    return f"{FAULT_PERCENT:g} % of pay's requests behind istio now answer 503"


def _mend_pay(stage: Stage) -> str:
    stage.plane.mend(TARGET_MESH, "pay")
    return "somebody fixed it"


def _stop_prometheus(stage: Stage) -> str:
    stage.plane.stop_prometheus(TARGET_MESH)
    return "connections are refused; nothing may be raised on no evidence"


def _start_prometheus(stage: Stage) -> str:
    stage.plane.start_prometheus(TARGET_MESH)
    return "same port, same history"


def _kill_shop(stage: Stage) -> str:
    stage.plane.kill_namespace(TARGET_MESH, "shop")
    return "no healthy upstream: 503 UH, and Istio's metrics do not even name the namespace"


def _edit_weights(stage: Stage) -> str:
    place = stage.account.places["shop"]
    served = stage.emulator.serving(place.balancer, place.listener, place.location)
    stage.emulator.edit_weights(place.balancer, place.listener, place.location, dict.fromkeys(served, 50))
    return "a person in the console"


_PAY = Plot(
    "pay fails, is rolled back, is mended, is retried",
    (
        Beat(FAULT, _reached("pay", 25), _break_pay),
        _ended("pay", Phase.ROLLED_BACK),
        Beat(MENDED, lambda scene: scene.since_beat > 1, _mend_pay),
        Beat(
            "pay is retried",
            lambda scene: scene.since_beat > 1,
            order("retry", "pay", "--reason", "the upstream pool is fixed", "--wait"),
        ),
        _ended("pay", Phase.COMPLETED),
    ),
)
_SEARCH = Plot(
    "search is paused by on-call, then promoted",
    (
        Beat(PAUSED, _reached("search", 10), order("pause", "search", "--reason", "deploy under way", "--wait")),
        Beat("search stays paused", lambda scene: scene.since_beat > PAUSE_SECONDS),
        Beat(
            PROMOTED,
            lambda scene: scene.held("search", HoldKind.PAUSE),
            order("promote", "search", "--reason", "deploy is done", "--yes", "--wait"),
        ),
        _ended("search", Phase.COMPLETED),
    ),
)
_OUTAGE = Plot(
    "the target's Prometheus is away for a while",
    (
        Beat(OUTAGE, _reached("shop", 50), _stop_prometheus),
        Beat(NOTICED, lambda scene: all(scene.held(shift, HoldKind.NO_SIGNAL) for shift in scene.reports)),
        Beat(RESTORED, lambda scene: scene.since_beat > OUTAGE_SECONDS, _start_prometheus),
    ),
)
_SHOP = Plot("shop just moves", (_ended("shop", Phase.COMPLETED),))
_LOST = Plot("one write times out after it was applied", (Beat(LOST_REPLY, _reached("shop", 10), _lose_a_reply),))

_SCENARIOS = (
    Scenario(
        name="migration",
        about="three namespaces move; one fails and is rolled back, one is paused and promoted, metrics go away",
        balancer_of={"shop": OWN, "pay": SHARED, "search": SHARED},
        plots=(_SHOP, _LOST, _PAY, _SEARCH, _OUTAGE),
        endings={"shop": Ending(), "pay": Ending(rollbacks=1, may_fail_users=True), "search": Ending()},
        holds_between=((NOTICED, RESTORED),),
    ),
    Scenario(
        name="clean",
        about="one namespace moves from 0 to 100 % and nothing goes wrong",
        balancer_of={"shop": OWN},
        plots=(_SHOP,),
        endings={"shop": Ending()},
    ),
    Scenario(
        name="quiet-death",
        about="a namespace dies behind istio and vanishes from its metrics; the rise of nameless 503s gives it away",
        balancer_of={"shop": OWN},
        plots=(Plot("shop dies", (Beat(DIED, _reached("shop", 50), _kill_shop), _ended("shop", Phase.ROLLED_BACK))),),
        endings={"shop": Ending(Phase.ROLLED_BACK, 0.0, rollbacks=1, may_fail_users=True)},
    ),
    Scenario(
        name="drift",
        about="somebody edits weights by hand: shifter holds and says so, and a rollback order still works",
        balancer_of={"shop": OWN},
        plots=(
            Plot(
                "drift",
                (
                    Beat(DRIFTED, _soaking("shop", 25), _edit_weights),
                    Beat("the drift is noticed", lambda scene: scene.held("shop", HoldKind.DRIFT)),
                    Beat(
                        "shop is rolled back by order",
                        lambda scene: scene.since_beat > PAUSE_SECONDS and scene.held("shop", HoldKind.DRIFT),
                        order("rollback", "shop", "--reason", "who touched this?", "--yes", "--wait"),
                    ),
                    _ended("shop", Phase.ROLLED_BACK),
                ),
            ),
        ),
        endings={"shop": Ending(Phase.ROLLED_BACK, 0.0, rollbacks=1)},
        holds_between=(("the drift is noticed", "shop is RolledBack"),),
    ),
)

SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType({scenario.name: scenario for scenario in _SCENARIOS})
DEFAULT: Final = "migration"
