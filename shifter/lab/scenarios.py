"""The scenarios of `shifter lab run`: the clockwork's here, what the metrics must tell in `scenarios_of_evidence`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shifter.core.deciding.holds import HoldKind
from shifter.core.phases import Phase
from shifter.lab.emulator import Fault, FaultKind
from shifter.lab.plot import Beat, Plot, order
from shifter.lab.scenarios_of_evidence import SCENARIOS_OF_EVIDENCE
from shifter.lab.stage import Stage
from shifter.lab.story import OWN, SHARED, Ending, Lull, Scenario, ended, reached, soaking
from shifter.lab.topology import TARGET_MESH

PAUSE_SECONDS: Final = 5.0
OUTAGE_SECONDS: Final = 6.0
FAULT_PERCENT: Final = 4.0
"""Few enough to pass for a bad day, were it not for the other mesh."""

SLOW_PERCENT: Final = 30.0
SLOW_SECONDS: Final = 0.2
SLOWEST_MS: Final = 100.0
"""What search promises its users: an edge far from the milliseconds that this machine's scheduler deals out."""

STEEP: Final = 75.0
"""The first share that is too much for search."""

# Names of the beats that the verdict asks for.
FAULT: Final = "pay breaks behind istio"
MENDED: Final = "pay is mended"
PAUSED: Final = "search is paused"
PROMOTED: Final = "search is promoted"
OUTAGE: Final = "istio's Prometheus stops"
NOTICED: Final = "the outage is noticed"
RESTORED: Final = "istio's Prometheus is back"
SLOWED: Final = "search gets slow behind istio"
RELIEVED: Final = "search is stepped back, and quick again"
WAITED: Final = "search waits for a person"
RETRIED: Final = "search is retried"
LOST_REPLY: Final = "the next write of shop loses its answer"
DRIFTED: Final = "somebody edits shop's weights by hand"
DIED: Final = "shop dies behind istio"


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


def _slow_search(stage: Stage) -> str:
    stage.plane.slow_namespace(TARGET_MESH, "search", SLOW_SECONDS, SLOW_PERCENT)
    return f"so many users are too many: {SLOW_PERCENT:g} % of requests take {SLOW_SECONDS * 1000:g} ms longer"


def _relieve_search(stage: Stage) -> str:
    stage.plane.mend(TARGET_MESH, "search")
    return "fewer users, no queue"


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
        Beat(FAULT, reached("pay", 25), _break_pay),
        ended("pay", Phase.ROLLED_BACK),
        Beat(MENDED, lambda scene: scene.since_beat > 1, _mend_pay),
        Beat(
            "pay is retried",
            lambda scene: scene.since_beat > 1,
            order("retry", "pay", "--reason", "the upstream pool is fixed", "--wait"),
        ),
        ended("pay", Phase.COMPLETED),
    ),
)
_SEARCH = Plot(
    "search is paused by on-call, then promoted; it does not bear all users until somebody adds pods",
    (
        Beat(PAUSED, reached("search", 10), order("pause", "search", "--reason", "deploy under way", "--wait")),
        Beat("search stays paused", lambda scene: scene.since_beat > PAUSE_SECONDS),
        Beat(
            PROMOTED,
            lambda scene: scene.held("search", HoldKind.PAUSE),
            order("promote", "search", "--reason", "deploy is done", "--yes", "--wait"),
        ),
        Beat(SLOWED, reached("search", STEEP), _slow_search),
        Beat(RELIEVED, lambda scene: scene.written("search") < STEEP - 1, _relieve_search),
        Beat(WAITED, lambda scene: scene.since_beat > PAUSE_SECONDS),
        Beat(RETRIED, lambda _: True, order("retry", "search", "--reason", "three more pods", "--wait")),
        ended("search", Phase.COMPLETED),
    ),
)
_OUTAGE = Plot(
    "the target's Prometheus is away for a while",
    (
        Beat(OUTAGE, reached("shop", 50), _stop_prometheus),
        Beat(NOTICED, lambda scene: all(scene.held(shift, HoldKind.NO_SIGNAL) for shift in scene.reports)),
        Beat(RESTORED, lambda scene: scene.since_beat > OUTAGE_SECONDS, _start_prometheus),
    ),
)
_SHOP = Plot("shop just moves", (ended("shop", Phase.COMPLETED),))
_LOST = Plot("one write times out after it was applied", (Beat(LOST_REPLY, reached("shop", 10), _lose_a_reply),))

_SCENARIOS = (
    Scenario(
        name="migration",
        about="three namespaces move; one fails and goes back, one is paused, promoted and steps back, metrics go away",
        balancer_of={"shop": OWN, "pay": SHARED, "search": SHARED},
        plots=(_SHOP, _LOST, _PAY, _SEARCH, _OUTAGE),
        endings={
            "shop": Ending(),
            "pay": Ending(rollbacks=1, may_fail_users=True, told=("istio fails", "evidence")),
            "search": Ending(steps_back=1, told=("istio takes over",)),
        },
        seconds_max=240.0,
        lulls=(Lull(NOTICED, RESTORED), Lull(RELIEVED, WAITED, "search")),
        faults={"pay": FAULT, "search": SLOWED},
        spec_of={
            "search": {
                "steps": [10, 25, 50, STEEP, 100],
                "onFailure": "stepBack",
                "analysis": {"latency": {"maxMs": SLOWEST_MS}},
            }
        },
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
        about="a namespace dies behind istio and vanishes from its metrics: what is missing gives it away",
        balancer_of={"shop": OWN},
        plots=(Plot("shop dies", (Beat(DIED, reached("shop", 50), _kill_shop), ended("shop", Phase.ROLLED_BACK))),),
        endings={"shop": Ending(Phase.ROLLED_BACK, 0.0, rollbacks=1, may_fail_users=True)},
        faults={"shop": DIED},
    ),
    Scenario(
        name="drift",
        about="somebody edits weights by hand: shifter holds and says so, and a rollback order still works",
        balancer_of={"shop": OWN},
        plots=(
            Plot(
                "drift",
                (
                    Beat(DRIFTED, soaking("shop", 25), _edit_weights),
                    Beat("the drift is noticed", lambda scene: scene.held("shop", HoldKind.DRIFT)),
                    Beat(
                        "shop is rolled back by order",
                        lambda scene: scene.since_beat > PAUSE_SECONDS and scene.held("shop", HoldKind.DRIFT),
                        order("rollback", "shop", "--reason", "who touched this?", "--yes", "--wait"),
                    ),
                    ended("shop", Phase.ROLLED_BACK),
                ),
            ),
        ),
        endings={"shop": Ending(Phase.ROLLED_BACK, 0.0, rollbacks=1)},
        lulls=(Lull("the drift is noticed", "shop is RolledBack"),),
    ),
)

SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {scenario.name: scenario for scenario in (*_SCENARIOS, *SCENARIOS_OF_EVIDENCE)}
)
DEFAULT: Final = "migration"
