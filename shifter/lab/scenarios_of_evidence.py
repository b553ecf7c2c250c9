"""Scenarios about what metrics tell: little traffic, errors that say nothing of Istio, failures without a 5xx."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from shifter.core.deciding.holds import HoldKind
from shifter.core.phases import Phase
from shifter.lab.bursts import Rhythm
from shifter.lab.plot import Beat, Plot
from shifter.lab.stage import Stage
from shifter.lab.story import OWN, SHARED, Ending, Lull, Scenario, ended, reached, soaking
from shifter.lab.topology import MESHES, TARGET_MESH

HURT_AT: Final = 25.0
"""The share from which on the target fails; one step has passed by then."""

FEW_PER_SECOND: Final = 1.0
LEAST_LEARNT: Final = 10
"""Requests from which history is learnt where there are few, so that learning takes seconds and not minutes."""

STEADY_SECONDS: Final = 6.0
"""How long a share has lasted when an outage begins that is not to look like the step's doing ..."""

PATIENT_SECONDS: Final = 15.0
"""... and how long it is kept for want of proof, so that it does not end before the outage is seen."""

BOTH_SECONDS: Final = 6.0
ALSO_BELOW_SECONDS: Final = 16.0
"""How long both fail, from when it was noticed on: for a while, or so long that it goes on below a step back."""

BOTH_PERCENT: Final = 40.0
LOST_PERCENT: Final = 80.0
GRPC_PERCENT: Final = 30.0
GRPC_STATUS: Final = 14
RHYTHM: Final = Rhythm(every_seconds=4.0, lasts_seconds=0.2, seconds_max=600.0)
"""Every twentieth request fails, ten in a row."""

ON_ITS_WAY: Final = "shop is on its way"
BOTH_FAIL: Final = "shop fails behind both meshes"
BOTH_NOTICED: Final = "somebody is paged"
BOTH_MENDED: Final = "shop is mended"
CLUSTERS: Final = "errors come in clusters, behind both meshes"
LOST: Final = "a part of istio's traffic never arrives"
UNROUTED: Final = "istio has no route for shop"
GRPC_FAILS: Final = "shop's gRPC calls fail behind istio"


def _break_both(stage: Stage) -> str:
    for mesh in MESHES:
        stage.plane.break_namespace(mesh, "shop", BOTH_PERCENT)
    return f"{BOTH_PERCENT:g} % of all requests answer 503: no share is to blame"


def _mend_both(stage: Stage) -> str:
    for mesh in MESHES:
        stage.plane.mend(mesh, "shop")
    return "the database is back"


def _burst(stage: Stage) -> str:
    stage.plane.start_bursts("shop", RHYTHM, random.Random(stage.spec.seed))
    return f"each gateway pod fails for {RHYTHM.lasts_seconds:g} s, every {RHYTHM.every_seconds:g} s or so"


def _lose_traffic(stage: Stage) -> str:
    stage.plane.lose_traffic(TARGET_MESH, "shop", LOST_PERCENT)
    return f"{LOST_PERCENT:g} % are refused before any gateway counts them, and the weights are as they were"


def _lose_route(stage: Stage) -> str:
    stage.plane.lose_route(TARGET_MESH, "shop")
    return "404 NR, of an unknown destination: no 5xx, and no name"


def _fail_grpc(stage: Stage) -> str:
    stage.plane.fail_grpc(TARGET_MESH, "shop", GRPC_PERCENT, GRPC_STATUS)
    return f"{GRPC_PERCENT:g} % answer HTTP 200 with grpc-status {GRPC_STATUS}"


def _caught(
    name: str, about: str, fault: str, act: Callable[[Stage], str], told: str = "", *, grpc: bool = False
) -> Scenario:
    """Return a story in which Istio hurts shop from one share on, and shop must go back."""
    beats = (Beat(fault, reached("shop", HURT_AT), act), ended("shop", Phase.ROLLED_BACK))
    return Scenario(
        name=name,
        about=about,
        balancer_of={"shop": OWN},
        plots=(Plot(fault, beats),),
        endings={
            "shop": Ending(Phase.ROLLED_BACK, 0.0, rollbacks=1, may_fail_users=True, told=(told,) if told else ())
        },
        faults={"shop": fault},
        grpc=frozenset({"shop"} if grpc else ()),
    )


def _both_fail(
    name: str, about: str, outage: tuple[Beat, ...], ending: Ending, lasts_seconds: float, **analysis: str
) -> Scenario:
    """Return a story in which both meshes fail for a while, and shop arrives all the same."""
    beats = (
        *outage,
        Beat(BOTH_NOTICED, lambda scene: scene.held("shop", HoldKind.INCIDENT) and scene.paged("shop")),
        Beat(BOTH_MENDED, lambda scene: scene.since_beat > lasts_seconds, _mend_both),
        ended("shop", Phase.COMPLETED),
    )
    return Scenario(
        name=name,
        about=about,
        balancer_of={"shop": OWN},
        plots=(Plot("both sides fail for a while", beats),),
        endings={"shop": ending},
        lulls=(Lull(BOTH_NOTICED, BOTH_MENDED),),
        faults={"shop": BOTH_FAIL},
        spec_of={"shop": {"steps": [10, HURT_AT, 100], "analysis": analysis}},
    )


SCENARIOS_OF_EVIDENCE: Final = (
    Scenario(
        name="low-traffic",
        about="one request a second beside a hundred: both move, and the quiet one is bounded, not proven",
        balancer_of={"shop": OWN, "pay": SHARED},
        plots=(
            Plot("shop moves", (ended("shop", Phase.COMPLETED),)),
            Plot("pay moves", (ended("pay", Phase.COMPLETED),)),
        ),
        endings={"shop": Ending(told=("bounded, not proven",)), "pay": Ending()},
        rates={"shop": FEW_PER_SECOND},
        fleet_spec={"learning": {"minRequests": LEAST_LEARNT}},
    ),
    _both_fail(
        "both-meshes-fail",
        "an outage on both sides in the middle of a share: it holds and pages, lowers nothing, goes on after it",
        (
            Beat(ON_ITS_WAY, soaking("shop", HURT_AT)),
            Beat(BOTH_FAIL, lambda scene: scene.since_beat > STEADY_SECONDS, _break_both),
        ),
        Ending(may_fail_users=True, told=("tcm failed",)),
        BOTH_SECONDS,
        hold=f"{PATIENT_SECONDS:g}s",
    ),
    _both_fail(
        "both-meshes-fail-at-a-step",
        "an outage on both sides right after a step: one step back shows that the step was not its cause",
        (Beat(BOTH_FAIL, reached("shop", HURT_AT), _break_both),),
        Ending(may_fail_users=True, steps_back=1, told=("so one step back shows", f"it may reach {HURT_AT:g} % again")),
        ALSO_BELOW_SECONDS,
    ),
    Scenario(
        name="clustered-errors",
        about="errors come in clusters behind both meshes alike: nothing to roll back for",
        balancer_of={"shop": OWN},
        plots=(
            Plot(
                "clusters",
                (Beat(CLUSTERS, lambda scene: "shop" in scene.reports, _burst), ended("shop", Phase.COMPLETED)),
            ),
        ),
        endings={"shop": Ending(may_fail_users=True)},
    ),
    _caught(
        "lost-traffic",
        "a part of istio's requests ends before its gateways, so no metric counts a failure",
        LOST,
        _lose_traffic,
        "requests are lost on the way to it",
    ),
    _caught("missing-route", "istio has no route for the host: 404, which is no 5xx", UNROUTED, _lose_route),
    _caught(
        "grpc-failing", "gRPC calls fail behind istio, with HTTP 200", GRPC_FAILS, _fail_grpc, "istio fail", grpc=True
    ),
)
