"""A Shift whose object is gone while a leader looks after it: what is written in its place, and by whom it is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count

import pytest

from shifter.adapters.kube.kinds import SHIFTS
from shifter.adapters.kube.store import KubeStore
from shifter.core.deciding.orders import Answer, Order, OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.ports.kube import Body, Kind
from shifter.service.tick import Ticker
from tests.contract.stores import examined
from tests.kube import MemoryApi
from tests.kube_cluster import MemoryCluster
from tests.service.conftest import NOON, World

NAMESPACE = "shifter-system"

Worlds = Callable[..., World]


class NoWatch:
    """What a watch has seen of the orders: nothing. They are listed all the same."""

    def items(self) -> Mapping[str, Order | None]:
        return {}

    def stop(self, within_seconds: float) -> bool:
        del within_seconds
        return True


class Noting(MemoryApi):
    """A door that notes every status of a Shift as it is written."""

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__(cluster)
        self.statuses: list[Body] = []

    def replace(self, kind: Kind, namespace: str, body: Body, *, status: bool = False) -> Body:
        kept = super().replace(kind, namespace, body, status=status)
        if kind == SHIFTS and status:
            self.statuses.append(kept["status"])
        return kept


class Stage:
    """A shift that rests at 50 %, paused, in a cluster; and the people there."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.api = Noting(MemoryCluster())
        self.person = MemoryApi(self.api.cluster)
        self.names = (f"n{number}" for number in count())
        self.desk = self.opened("ann")
        self.start("leader-1")
        world.until_share(50)
        self.order(Verb.PAUSE)
        world.step(5)

    def opened(self, writer: str) -> KubeStore:
        return KubeStore(MemoryApi(self.api.cluster), NAMESPACE, writer, self.names.__next__)

    def start(self, writer: str) -> KubeStore:
        """Start a service on what is there, with a lease of its own."""
        world = self.world
        names = self.names.__next__
        store = KubeStore(self.api, NAMESPACE, writer, names, NoWatch(), monotonic=self.seconds, calls_roll=True)
        world.parts = replace(world.parts, store=store)
        world.ticker = Ticker(world.parts)
        world.ticker.load()
        return store

    def seconds(self) -> float:
        return (self.world.now - NOON).total_seconds()

    def order(self, verb: Verb) -> Callable[[], Answer | None]:
        placed = self.desk.create_order(OrderRequest("shop", verb, "ann", "because"), self.world.now)
        return lambda: self.desk.order(placed.id).answer

    def delete(self) -> None:
        self.person.delete(SHIFTS, NAMESPACE, "shop")
        body = self.person.get(SHIFTS, NAMESPACE, "shop")
        body["metadata"]["finalizers"] = []
        self.person.replace(SHIFTS, NAMESPACE, body)
        self.api.statuses.clear()

    def holds(self) -> set[str]:
        return {hold.kind for hold in self.desk.reports()["shop"].holds}


@pytest.fixture
def stage(make_world: Worlds) -> Stage:
    return Stage(make_world(steps=(50, 100), soak="1h"))


@pytest.mark.fault(
    on="Kubernetes",
    fault="somebody deletes a Shift and takes its finalizer away, while a leader looks after it",
    does="notices; begins it anew at 0 % with its history and its pause, in the first write; nothing is raised",
    sees="`store.problem`: shop was deleted from the store; it begins anew; hold `preflight`",
    safe_within="at once; begun anew within 10 s + one tick",
)
def test_a_shift_that_is_gone_is_begun_anew_with_pause_and_history_in_its_first_write(stage: Stage) -> None:
    chain = examined(stage.desk, "shop").count

    stage.delete()
    stage.world.step()

    first = stage.api.statuses[0]
    saved = stage.desk.load()["shop"].state
    assert {"state", "history", "version"} <= first.keys()
    assert first["history"]["head"]["id"] >= chain
    assert (saved.phase, saved.share, saved.paused is not None) == (Phase.WAITING, 0, True)
    assert stage.holds() == {"pause", "preflight"}
    assert stage.world.share() == 50
    assert examined(stage.desk, "shop").findings == ()
    assert examined(stage.desk, "shop").count >= chain


def test_who_follows_right_after_that_finds_the_pause_and_nothing_that_was_put_back(stage: Stage) -> None:
    stage.delete()
    stage.world.step()

    follower = stage.start("leader-2")
    stage.world.step()

    assert stage.world.state().paused is not None
    assert follower.put_back() == ""
    assert {"pause", "preflight"} <= stage.holds()


def test_an_order_to_go_back_is_obeyed_though_the_shift_is_gone(stage: Stage) -> None:
    stage.delete()
    answer = stage.order(Verb.ROLLBACK)
    stage.world.step(5)

    assert answer() is Answer.ACCEPTED
    assert stage.world.share() == 0


def test_who_dies_before_anything_was_saved_anew_leaves_no_object_that_looks_like_a_shift(stage: Stage) -> None:
    stage.delete()
    stage.person.create(
        SHIFTS, NAMESPACE, SHIFTS.body(metadata={"name": "shop"}, spec={"namespaces": [], "steps": [1]})
    )

    stage.start("leader-2")
    stage.world.step()

    assert "restored" in stage.holds()
