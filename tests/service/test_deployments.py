"""What runs in the source's cluster: looked at, pinned, recorded and put back, the gateway and what a policy names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from shifter.adapters.memory_workload import MemoryWorkload
from shifter.core.deciding.orders import Verb
from shifter.core.deciding.pinning import GATEWAY, Workload
from shifter.core.documents.clusters import Clusters
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.errors import CapacityUnavailableError
from shifter.ports import SourceWorkload
from shifter.service.lanes import InlineLanes, Priority
from shifter.service.policy_files import PolicyFolder
from shifter.service.tick import Ticker
from shifter.service.workload import TargetCluster, WorkloadObserver, Workloads
from tests.kube import Fault
from tests.scaled import ScaledGateway
from tests.service.conftest import World
from tests.service.outside import HeldLanes

CHECKOUT = "shop/checkout"
SOMEWHERE = Clusters.model_validate(
    {"source": {"gateway": {"namespace": "istio-system", "deployment": "istio-ingressgateway"}}}
)


def wired(
    world: World, deployments: Mapping[str, SourceWorkload], gateway: SourceWorkload | None = None, *, named: str = ""
) -> World:
    """Name these in the policy (or only `named`), wire them to the service, and start it anew."""
    fleet = world.fleet.model_copy(update={"spec": world.fleet.spec.model_copy(update={"clusters": SOMEWHERE})})
    world.write_policy("shop", wayBack={"deployments": [named] if named else list(deployments)})
    world.parts = replace(
        world.parts,
        fleet=fleet,
        folder=PolicyFolder(world.path, fleet),
        workload=gateway,
        deployment=deployments.__getitem__,
    )
    world.ticker = Ticker(world.parts)
    world.ticker.load()
    return world


def pins(world: World) -> list[str]:
    return [record.reason for record in world.history() if record.what is What.PIN]


@pytest.mark.fault(
    on="people",
    fault="the namespace's own pods in tcm's cluster would be scaled away by their autoscaler",
    does="raises its floor before the first step, and puts it back after a rollback",
    sees="tcm's autoscaler of NAMESPACE/NAME is to keep at least N replicas",
    safe_within="before the first step",
)
def test_the_floors_of_gateway_and_deployments_are_journalled_pinned_and_put_back(world: World) -> None:
    gateway, checkout = MemoryWorkload(4, 1), MemoryWorkload(6, 2)
    wired(world, {CHECKOUT: checkout}, gateway)
    world.until_share(5)
    climbed = [record.what for record in world.history()].index(What.INTENT)
    pinned = [record.evidence["workload"] for record in world.history()[:climbed] if record.what is What.PIN]
    first = next(record for record in world.history() if record.what is What.INTENT).evidence["wayBack"]
    asked = (list(gateway.asked), list(checkout.asked))
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    world.step(4)

    assert asked == ([4], [6])
    assert pinned == [GATEWAY, CHECKOUT]
    assert isinstance(first, dict)
    assert (first["ready replicas"], first[f"ready replicas of {CHECKOUT}"]) == (4, 6)
    assert (gateway.observe().floor, checkout.observe().floor) == (1, 2)
    assert (world.state().pin, world.state().pins) == (None, {})
    assert pins(world)[-1] == f"tcm's autoscaler of {CHECKOUT} is its own again"


def test_a_deployment_that_was_scaled_away_is_a_cold_source_by_its_name(world: World) -> None:
    checkout = MemoryWorkload(6, None)
    wired(world, {CHECKOUT: checkout})
    world.until_share(25)
    checkout.scale(1)
    world.step(5)

    assert (world.holds(), world.share()) == ({"cold source"}, 25)
    assert f"tcm has 1 of the 6 ready replicas of {CHECKOUT} that carried everything" in world.reason()


def test_a_deployment_that_does_not_answer_holds_and_is_named_by_who_asked(world: World) -> None:
    checkout = MemoryWorkload(6, None)
    wired(world, {CHECKOUT: checkout})
    world.until_share(25)
    checkout.down = True
    world.step(2)

    assert world.holds() == {"cold source"}
    assert "whether tcm could take everything back cannot be seen: nobody answers" in world.reason()


def test_a_policy_that_drops_a_deployment_under_way_has_its_floor_put_back_whatever_becomes_of_it(world: World) -> None:
    checkout = MemoryWorkload(6, 2)
    wired(world, {CHECKOUT: checkout})
    world.until_share(25)
    checkout.down = True
    world.write_policy("shop")
    world.step(3)
    holds, pinned = world.holds(), world.state().pins[CHECKOUT]
    checkout.down = False
    world.step(3)

    assert (holds, pinned.released) == (set(), True)
    assert (checkout.observe().floor, world.state().pins) == (2, {})


def test_a_floor_that_is_not_taken_is_told_among_the_warnings_until_it_is(world: World) -> None:
    gateway = ScaledGateway(ready=4, floor=1)
    gateway.change(maxReplicas=3)
    wired(world, {}, gateway.workload())
    world.step(12)
    waits = world.report()
    gateway.change(maxReplicas=4)
    world.until_share(5)

    assert waits.reason.startswith("before the first step tcm's autoscaler is to keep at least 4 replicas")
    assert "the autoscaler istio-ingressgateway goes up to 3 replicas, and 4 are to be kept" in waits.warnings
    assert not [text for text in world.report().warnings if "autoscaler" in text]
    assert gateway.floor() == 4


def test_an_api_server_that_loses_the_answer_is_read_back_and_the_floor_put_back_in_the_end(world: World) -> None:
    gateway = ScaledGateway(ready=4, floor=2)
    wired(world, {}, gateway.workload())
    gateway.api.fail(Fault.LOST, "replace")
    world.until_share(5)
    pinned = gateway.floor()
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    world.step(4)

    assert (pinned, gateway.floor(), gateway.api.count("replace")) == (4, 2, 2)


def test_without_a_cluster_what_a_policy_names_is_not_known() -> None:
    workloads = Workloads(None, None, InlineLanes())
    before = workloads.problem([CHECKOUT])
    asked = workloads.ask([CHECKOUT])
    workloads.answer()

    assert before == f"{CHECKOUT} has not been looked at yet"
    assert asked == []
    assert workloads.problem([GATEWAY]) == ""
    assert workloads.problem([GATEWAY, CHECKOUT]) == (
        f"{CHECKOUT}: the fleet's clusters do not say where tcm's cluster is"
    )
    assert (workloads.seen([GATEWAY, CHECKOUT]), workloads.pin_problem([GATEWAY, CHECKOUT])) == ({}, "")


def test_what_no_shift_rests_on_any_more_is_looked_at_no_more() -> None:
    checkout = MemoryWorkload(6, None)
    workloads = Workloads(MemoryWorkload(4, 1), lambda _: checkout, InlineLanes())
    first = len(workloads.ask([CHECKOUT]))
    workloads.answer()
    seen = workloads.seen([GATEWAY, CHECKOUT])
    second = len(workloads.ask([]))
    workloads.answer()

    assert (first, second) == (2, 1)
    assert seen == {GATEWAY: Workload(4, 1), CHECKOUT: Workload(6, None)}
    assert workloads.seen([GATEWAY, CHECKOUT]) == {GATEWAY: Workload(4, 1)}


def test_a_pin_that_failed_is_told_once_it_is_known_and_forgotten_once_nobody_asks_again() -> None:
    class Refusing(MemoryWorkload):
        def pin(self, floor: int) -> None:
            raise CapacityUnavailableError(f"no room for {floor}")

    lanes = HeldLanes(Priority.CLIMB)
    observer = WorkloadObserver(Refusing(4, 1), lanes)
    observer.pin(4)
    observer.answer()
    under_way = observer.pin_problem
    lanes.let_go()
    observer.answer()
    told = observer.pin_problem
    observer.answer()

    assert (under_way, told, observer.pin_problem) == ("", "no room for 4", "")


def test_a_bug_in_pinning_is_told_and_no_crash() -> None:
    class Odd(MemoryWorkload):
        def pin(self, floor: int) -> None:
            raise KeyError(floor)

    observer = WorkloadObserver(Odd(4, 1), InlineLanes(), name=CHECKOUT)
    observer.pin(4)
    observer.answer()

    assert observer.pin_problem == f"{CHECKOUT} did not take its floor: KeyError: 4"


@pytest.mark.fault(
    on="people",
    fault="begin a shift whose namespace has no ready replica in istio's cluster",
    does="no climb",
    sees="hold `cold target`: istio has no ready replicas of NAMESPACE/NAME",
    safe_within="one tick",
)
def test_a_target_without_a_ready_replica_is_waited_for(world: World) -> None:
    gateway, checkout = MemoryWorkload(2, 1), MemoryWorkload(0, None)
    wired(world, {CHECKOUT: MemoryWorkload(6, None)})
    world.parts = replace(world.parts, target_cluster=TargetCluster(gateway, lambda _: checkout))
    world.ticker = Ticker(world.parts)
    world.ticker.load()
    world.step(12)
    held = (world.share(), world.holds())
    checkout.scale(1)
    world.until_share(25)
    gateway.down = True
    world.step(10)

    assert held == (0, {"cold target"})
    assert (world.share(), world.holds()) == (25, {"cold target"})
    assert "whether istio is ready cannot be seen: nobody answers" in world.reason()
    assert (gateway.asked, checkout.asked) == ([], [])
