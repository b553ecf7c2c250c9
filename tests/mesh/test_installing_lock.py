"""The installer's lock: who waits for whom, for how long, and what they are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest

from shifter.errors import RefusedError
from shifter.mesh.installing.lock import LASTS_SECONDS, NAME, Lock
from shifter.mesh.installing.site import Patience, Site
from shifter.ports.istioctl import Reach
from shifter.ports.kube import LEASES
from shifter.ports.mesh import MeshApi
from tests.kube import MemoryApi
from tests.kube_cluster import MemoryCluster
from tests.kube_faults import Fault
from tests.mesh.guide import guide_mesh

WHERE = "kube-system"
BOB = "bob@elsewhere, process 7 of 0123456789ab"


@dataclass
class Clock:
    """Time goes by only while somebody waits; `while_waiting` is what others do then."""

    now: float = 0.0
    while_waiting: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.while_waiting()


@dataclass
class World:
    """A cluster, and what a person is told who installs in it."""

    api: MemoryApi = field(default_factory=lambda: MemoryApi(MemoryCluster(namespaces=(WHERE,))))
    clock: Clock = field(default_factory=Clock)
    told: list[str] = field(default_factory=list)

    def lock(self, holder: str = "ann@here", *, is_gone: Callable[[str], bool] = lambda _: False) -> Lock:
        patience = Patience(self.clock, self.clock.pause, 10, 10)
        site = Site(guide_mesh("1.18.5").spec.primary, cast("MeshApi", self.api), Reach("/k", "c"), patience)
        return Lock(site, holder, lambda: datetime(2026, 1, 1, tzinfo=UTC), is_gone=is_gone, waits=self.told.append)

    def held_by(self, holder: str) -> None:
        self.api.create(LEASES, WHERE, LEASES.body(metadata={"name": NAME}, spec={"holderIdentity": holder}))

    def renew(self) -> None:
        lease = self.api.get(LEASES, WHERE, NAME)
        lease["spec"]["renewTime"] = f"2026-01-01T00:00:{self.clock.now:09.6f}Z"
        self.api.replace(LEASES, WHERE, lease)

    @property
    def holder(self) -> str:
        return str(self.api.get(LEASES, WHERE, NAME)["spec"]["holderIdentity"])


@pytest.fixture
def world() -> World:
    return World()


def test_a_lock_is_let_go_of_at_the_end(world: World) -> None:
    with world.lock():
        inside = world.holder

    assert (inside, world.holder) == ("ann@here", "")
    assert world.told == []


@pytest.mark.fault(
    on="people",
    fault="install the same mesh twice at once",
    does="the second one refuses",
    sees="error `... is installing there at this moment`",
    safe_within="15 s",
)
def test_who_renews_the_lock_keeps_it(world: World) -> None:
    world.held_by(BOB)
    world.clock.while_waiting = world.renew

    with (
        pytest.raises(RefusedError, match=r"cls-dxgdg1rl: bob@elsewhere, process 7 of .* at this moment") as caught,
        world.lock(),
    ):
        pass

    assert caught.value.remedy.startswith("wait, or look who that is: kubectl get lease shifter-mesh -n kube-system")
    assert world.holder == BOB


def test_a_lock_that_nobody_renews_is_taken_after_it_has_run_out_and_the_wait_is_told(world: World) -> None:
    world.held_by(BOB)

    with world.lock():
        inside = world.holder

    assert inside == "ann@here"
    assert world.clock.now == LASTS_SECONDS
    assert world.told == [
        f"cls-dxgdg1rl: {BOB} has the installer's lock; if nobody renews it for 15 s, that run was killed"
    ]


def test_a_lock_of_a_process_that_is_gone_is_taken_at_once(world: World) -> None:
    world.held_by(BOB)

    with world.lock(is_gone=lambda holder: holder == BOB):
        inside = world.holder

    assert inside == "ann@here"
    assert world.clock.now == 0


def test_a_lock_that_is_let_go_of_meanwhile_is_taken(world: World) -> None:
    world.held_by(BOB)
    world.clock.while_waiting = lambda: world.api.delete(LEASES, WHERE, NAME)

    with world.lock():
        inside = world.holder

    assert inside == "ann@here"


def test_who_takes_it_first_keeps_it(world: World) -> None:
    world.api.meanwhile(lambda _: world.held_by(BOB), "create", kind=LEASES)

    with pytest.raises(RefusedError, match="cls-dxgdg1rl: somebody else is installing there"), world.lock():
        pass

    assert world.holder == BOB


def test_no_step_begins_without_a_lock_that_was_renewed(world: World) -> None:
    with world.lock() as lock:
        lock.check()
        world.clock.now = LASTS_SECONDS

        with pytest.raises(RefusedError, match="the installer's lock could not be renewed for 15 s"):
            lock.check()


def test_no_permission_for_the_lock_is_told_as_such(world: World) -> None:
    world.api.fail(Fault.DENIED, "create", kind=LEASES)

    with pytest.raises(RefusedError, match="cls-dxgdg1rl: cannot take the installer's lock"), world.lock():
        pass
