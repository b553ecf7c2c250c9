"""`kill -9` of the leader at every failpoint, with the state in a real cluster: the other one goes on each time.

Four installations at the same time, each with two replicas of which one is always dead or starting: what takes time is
that a lease runs out, and nobody can hurry that. At what to kill is derived from the code (`killing.py`), so that one
that is new, and is not reached here, fails the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from shifter.adapters.kube.client import KubeClient
from shifter.core.deciding.orders import Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.records import NewRecord, What
from shifter.core.state import ShiftState
from shifter.files.documents import load_policy
from shifter.lab.failpoints import FAILPOINTS
from shifter.lab.kills.plan import Need
from shifter.ports.kube import AUTOSCALERS, DEPLOYMENTS, LEASES
from tests.cluster.installation import install, render, uninstall
from tests.cluster.killing import Failpoint, World, assert_nothing_lost, of_calls, of_ports
from tests.cluster.lives import Nursery
from tests.cluster.plane import ControlPlane
from tests.cluster.replicas import NAMES
from tests.cluster.rights import granted
from tests.process.conftest import SHOP

LONG_AGO: Final = timedelta(days=400)
"""Beyond the default `retention`."""

MOVING: Final = frozenset({Need.CLIMB, Need.RETREAT})
OF_OLD: Final = ("shiftorders", "shiftrecords", "deployments", "horizontalpodautoscalers")
"""What is asked about where there is a past to be dropped, and workloads to be looked at and pinned."""


@dataclass(frozen=True, slots=True)
class Place:
    """One installation, and what is killed in it."""

    namespace: str
    failpoints: Sequence[Failpoint]
    words: Sequence[str] = ()
    clusters: Mapping[str, Any] | None = None


@pytest.fixture
def places(plane: ControlPlane, namespace: str, kinds: None, admin_api: KubeClient) -> Iterator[Sequence[Place]]:
    """All failpoints, in four installations."""
    del kinds
    words, clusters = workloads(plane, namespace, admin_api)
    roles = [each for each in render(plane, namespace, *words) if each["kind"] == "Role"]
    calls = of_calls(f"{right.verb} {right.resource}" for right in granted(roles))
    of_old = [each for each in calls if any(word in each.name for word in OF_OLD)]
    resting = [each for each in of_ports() if each.need not in MOVING]
    made = (
        Place(f"{namespace}-rests", [each for each in resting if "past" not in each.name]),
        Place(f"{namespace}-moves", moving()),
        Place(f"{namespace}-new", [each for each in calls if each not in of_old]),
        Place(namespace, of_old, words, clusters),
    )
    for place in made:
        if place.namespace != namespace:
            plane.add_namespace(place.namespace)
        install(plane, place.namespace, *place.words)
    yield made
    plane.mend()
    for place in made:
        uninstall(plane, place.namespace)


@pytest.mark.fault(
    on="process",
    fault="the leading replica is killed (-9) at any call to store, cloud, Prometheus, API server or autoscaler",
    does="the other one takes over and goes on; no step is lost, none is made twice, no order is forgotten",
    sees="`service.started` with the next epoch, in the log of the other",
    safe_within="lease + write budget + 2 polls (48 s)",
)
@pytest.mark.timeout(900)
def test_a_leader_killed_at_every_failpoint_is_followed_and_nothing_is_lost_or_doubled(
    places: Sequence[Place], tmp_path: Path, plane: ControlPlane, client: Callable[[str], KubeClient]
) -> None:
    nursery = Nursery()
    # Each has clients of its own, since a store closes what it was given.
    people = {place.namespace: {who: client(who) for who in ("root", "ann", "adm")} for place in places}

    def go_through(place: Place) -> World:
        path = tmp_path / place.namespace
        with World(path, plane, place.namespace, people[place.namespace], nursery, place.clusters) as world:
            begin(world, old=place.clusters is not None)
            world.kill_at(place.failpoints)
            world.complete()
            assert_nothing_lost(world)
            return world

    with ThreadPoolExecutor(len(places)) as threads:
        worlds = list(threads.map(go_through, places))

    died = [name for world in worlds for name, _ in world.deaths]
    assert sorted(died) == sorted(each.name for place in places for each in place.failpoints)
    assert set(FAILPOINTS) <= set(died)
    assert all({victim for _, victim in world.deaths} == set(NAMES) for world in worlds)


def moving() -> Sequence[Failpoint]:
    """Return those of a shift on its way. The past is asked for at 0 %, by whoever leads next."""
    found = [each for each in of_ports() if each.need in MOVING]
    back = next(number for number, each in enumerate(found, 1) if each.name == "store.save.done.retreat:after")
    return [*found[:back], *(each for each in of_ports() if "past" in each.name), *found[back:]]


def begin(world: World, *, old: bool) -> None:
    """Let a shift be there since long ago, with a record and an order of then; or nothing at all, and no Lease."""
    if not old:
        world.api.delete(LEASES, world.namespace, "shifter")
        return
    ago = datetime.now(UTC) - LONG_AGO
    order = world.store.create_order(OrderRequest(SHOP, Verb.PAUSE, "root", "drill"), ago)
    policy = load_policy(world.path / "policies" / f"{SHOP}.yaml")
    record = NewRecord(ago, SHOP, What.PHASE, "shifter", "it was young")
    answer = OrderAnswer(order.id, Answer.ACCEPTED, "paused", ago)
    world.store.save(ShiftState(name=SHOP, policy=policy, since=ago), 0, [record], [answer])


def workloads(plane: ControlPlane, namespace: str, api: KubeClient) -> tuple[Sequence[str], Mapping[str, Any]]:
    """Make the gateways of both meshes; return what the chart and the fleet file say of them."""
    tcm, istio = f"{namespace}-tcm", f"{namespace}-istio"
    for where in (tcm, istio):
        plane.add_namespace(where)
        run(api, where)
    named = {"deployment": "ingress", "autoscaler": "ingress-scaler"}
    words = (
        *("--set", f"sourceGateways[0].namespace={tcm}", "--set", "sourceGateways[0].deployment=ingress"),
        *("--set", "sourceGateways[0].autoscaler=ingress-scaler"),
        *("--set", f"targetWorkloads[0].namespace={istio}", "--set", "targetWorkloads[0].deployment=ingress"),
    )
    source = {"gateway": {"namespace": tcm, **named}}
    return words, {"source": source, "target": {"gateway": {"namespace": istio, "deployment": "ingress"}}}


def run(api: KubeClient, namespace: str) -> None:
    """Make a gateway of two replicas, as a controller would report it, and an autoscaler that could take one away."""
    labels = {"app": "ingress"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "proxy", "image": "proxy"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    made = api.create(DEPLOYMENTS, namespace, DEPLOYMENTS.body(metadata={"name": "ingress"}, spec=spec))
    api.replace(DEPLOYMENTS, namespace, {**made, "status": {"replicas": 2, "readyReplicas": 2}}, status=True)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "ingress"}
    scaling = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 4}
    api.create(AUTOSCALERS, namespace, AUTOSCALERS.body(metadata={"name": "ingress-scaler"}, spec=scaling))
