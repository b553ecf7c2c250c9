"""Whoever hangs, hangs alone: a balancer, a mesh's metrics, a call's thread. The lanes' threads are real here.

What hangs is held by an event until the test is over, so that a tick which waited for it would never come back. The
bound that is shown is in wakes: how long one lasts at most is `timing.readDeadline` and what the store takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shifter.core.balancing.splits import Route, RouteView, Side
from shifter.core.counts.evidence import Reading
from shifter.core.deciding.orders import Answer, Order, Verb
from shifter.core.documents.fleet import Fleet
from shifter.core.phases import Phase
from shifter.errors import StoreUnavailableError
from shifter.ports import Change, Operation, OperationState, TrafficProvider
from shifter.service.lanes import Lanes
from shifter.service.policy_files import PolicyFolder, PolicySet
from shifter.service.tick import Ticker
from tests.service.conftest import TICK, World, fleet_with
from tests.service.outside import Gateway
from tests.service.waiting import DEADLINE_SECONDS, wait_for

DOMAINS = 5
NAMESPACES = 50
HUNG = "lb-0"
READ_DEADLINE = timedelta(seconds=1)

FEW_NAMESPACES = 15


class Door:
    """Something that calls pass, or hang at while it is shut. `waiting` counts those that hang."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.waiting = 0

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def pass_through(self) -> None:
        if not self._open.is_set():
            self.waiting += 1
            self._open.wait()


class HangingProvider:
    """A provider of which one lock domain hangs at will: its reads, or its writes before they are carried out."""

    def __init__(self, inner: TrafficProvider, domain: str) -> None:
        self._inner = inner
        self._domain = domain
        self.reads, self.writes = Door(), Door()

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        if routes[0].domain.endswith(self._domain):
            self.reads.pass_through()
        return self._inner.observe(routes)

    def submit(self, changes: Sequence[Change]) -> Operation:
        if changes[0].route.domain.endswith(self._domain):
            self.writes.pass_through()
        return self._inner.submit(changes)

    def check(self, operation: Operation) -> OperationState:
        if operation.domain.endswith(self._domain):
            self.reads.pass_through()
        return self._inner.check(operation)


class HangingFolder(PolicyFolder):
    """A folder of policies on a disk that hangs at will."""

    def __init__(self, directory: Path, fleet: Fleet) -> None:
        super().__init__(directory, fleet)
        self.door = Door()

    def reload(self) -> PolicySet:
        self.door.pass_through()
        return super().reload()


class HangingGateway(Gateway):
    """A mesh whose Prometheus hangs at will."""

    def __init__(self, pod: str) -> None:
        super().__init__(pod)
        self.door = Door()

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        self.door.pass_through()
        return super().read(at, edges_ms)


class ThreadedWorld(World):
    """Namespaces on five balancers, each of these in a lane with a thread of its own; all at 5 %.

    `hung` are those of the balancer that can be made to hang, `healthy` the others.
    """

    def __init__(self, path: Path, namespaces: int) -> None:
        shifts = {f"team-{index:02d}": f"lb-{index % DOMAINS}" for index in range(namespaces)}
        self.hung = [name for name, balancer in shifts.items() if balancer == HUNG]
        self.healthy = [name for name, balancer in shifts.items() if balancer != HUNG]
        super().__init__(path, shifts=shifts, steps=(5, 100), soak="1h")
        self.tick_until(lambda: self.at(5, list(shifts)), "not all came to 5 %", most=60)
        self.tick(2)

    def start(self) -> None:
        self.fleet = fleet_with(read_deadline=READ_DEADLINE)
        self.threads = Lanes()
        self.lanes = self.threads
        self.hanging = HangingProvider(self.memory, HUNG)
        self.target, self.source = HangingGateway("istio-1"), HangingGateway("tcm-1")
        self.sides = {Side.SOURCE: self.source, Side.TARGET: self.target}
        watched: Any = self.hanging  # World's own watches every call, for one thread
        self.provider = watched
        super().start()
        self.folder = HangingFolder(self.path, self.fleet)
        self.ticker = Ticker(replace(self.parts, folder=self.folder))
        self.ticker.load()

    def wake_in_time(self) -> None:
        """Wake the ticker, as the clock would; fail if it waits for what hangs."""
        ended = threading.Event()

        def wake() -> None:
            self.ticker.wake(self.now)
            ended.set()

        threading.Thread(target=wake, daemon=True).start()
        assert ended.wait(DEADLINE_SECONDS), "the tick waits for what hangs"

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.pass_time(TICK)
            self.wake_in_time()

    def at(self, share: float, names: Sequence[str]) -> bool:
        return all(self.share(name) == share for name in names)

    def tick_until(self, what: Callable[[], bool], why: str, most: int) -> None:
        for _ in range(most):
            if what():
                return
            self.tick()
        assert what(), why

    def roll_back(self, names: Sequence[str]) -> list[Order]:
        return [self.order(Verb.ROLLBACK, name=name) for name in names]

    def release(self) -> None:
        """Let go of everything that hangs, and end the threads."""
        for door in (self.hanging.reads, self.hanging.writes, self.source.door, self.target.door, self.folder.door):
            door.open()
        self.threads.stop(DEADLINE_SECONDS)


@pytest.fixture
def make(make_world: Callable[..., World], tmp_path: Path) -> Iterator[Callable[[int], ThreadedWorld]]:
    """Make a world of so many namespaces; what hangs in it is let go at the end."""
    assert make_world is not None  # puts back what a world configures
    made: list[ThreadedWorld] = []

    def build(namespaces: int) -> ThreadedWorld:
        made.append(ThreadedWorld(tmp_path, namespaces))
        return made[-1]

    yield build
    for world in made:
        world.release()


@pytest.fixture
def world(make: Callable[[int], ThreadedWorld]) -> ThreadedWorld:
    return make(FEW_NAMESPACES)


def goes_back_while_it_hangs(world: ThreadedWorld, names: Sequence[str]) -> None:
    """Order all of these back, and see it written within the wakes that the namespaces of one balancer take."""
    before = len(world.memory.calls)
    orders = world.roll_back(names)
    world.tick()
    asked = {call.domain for call in world.memory.calls[before:]}
    answers = {world.answer(order)[0] for order in orders}

    assert answers == {Answer.ACCEPTED}
    wait_for(lambda: len({call.domain for call in world.memory.calls[before:]}) >= DOMAINS - 1, f"only {asked}")
    # A balancer carries out one operation at a time: its namespaces take turns, two wakes each.
    most = 3 * len(world.balancers) // DOMAINS
    world.tick_until(lambda: world.at(0, names), "they did not come back", most)


@pytest.mark.fault(
    on="CLB",
    fault="the API hangs for one balancer, in the middle of 50 namespaces",
    does="the namespaces of the others go back at once; its own as soon as it answers",
    sees="hold `provider` on its namespaces only: ... has not answered in time",
    safe_within="readDeadline + 1 tick for the others",
)
def test_a_balancer_that_hangs_keeps_no_other_ones_namespaces_from_going_back(
    make: Callable[[int], ThreadedWorld],
) -> None:
    world = make(NAMESPACES)
    world.hanging.reads.shut()
    world.tick(3)
    held = [name for name in world.balancers if "provider" in world.holds(name)]
    own = world.roll_back(world.hung)
    goes_back_while_it_hangs(world, world.healthy)

    assert held == world.hung
    assert world.hanging.reads.waiting == 1
    assert {world.answer(order)[0] for order in own} == {Answer.ACCEPTED}
    assert world.at(5, world.hung)
    world.hanging.reads.open()
    world.tick_until(lambda: world.at(0, world.hung), "its own did not come back", most=4 * NAMESPACES // DOMAINS)


def test_a_write_that_hangs_keeps_no_other_balancers_namespaces_from_going_back(world: ThreadedWorld) -> None:
    world.hanging.writes.shut()
    world.roll_back(["team-00"])
    world.tick()
    wait_for(lambda: world.hanging.writes.waiting == 1, "nothing was written")
    goes_back_while_it_hangs(world, world.healthy)

    assert world.share("team-00") == 5


@pytest.mark.fault(
    on="Prometheus",
    fault="hangs while 50 namespaces are ordered back",
    does="nothing climbs; every namespace goes back as if it answered",
    sees="hold `no signal`: tcm: Prometheus has not answered in time",
    safe_within="readDeadline + 1 tick",
)
@pytest.mark.parametrize("side", [Side.SOURCE, Side.TARGET])
def test_metrics_that_hang_keep_no_namespace_from_going_back(world: ThreadedWorld, side: Side) -> None:
    hanging = world.source if side is Side.SOURCE else world.target
    hanging.door.shut()
    world.tick(2)
    told = {kind for name in world.balancers for kind in world.holds(name)}
    goes_back_while_it_hangs(world, list(world.balancers))

    assert "no signal" in told
    assert hanging.door.waiting == 1


def test_everything_that_hangs_at_once_is_asked_once_and_delays_no_way_back(world: ThreadedWorld) -> None:
    for door in (world.hanging.reads, world.source.door, world.target.door):
        door.shut()
    world.tick(5)

    assert (world.hanging.reads.waiting, world.source.door.waiting, world.target.door.waiting) == (1, 1, 1)
    goes_back_while_it_hangs(world, world.healthy)


@pytest.mark.fault(
    on="policy files",
    fault="the folder hangs, as on a network disk whose server is gone",
    does="the last good policies stay in force; nothing climbs; every namespace goes back as ordered",
    sees="hold `policy`: has not answered in time: does its disk hang?",
    safe_within="2 x readDeadline + 1 tick",
)
def test_a_folder_that_hangs_keeps_no_namespace_from_going_back(world: ThreadedWorld) -> None:
    world.folder.door.shut()
    world.tick(3)
    said = {hold.reason for name in world.balancers for hold in world.report(name).holds if hold.kind == "policy"}
    goes_back_while_it_hangs(world, list(world.balancers))

    assert len(said) == 1
    assert "has not answered in time: does its disk hang?" in said.pop()
    assert world.folder.door.waiting == 1
    world.folder.door.open()
    world.tick_until(lambda: not world.holds("team-00"), "it is not read again", most=3)


def test_a_namespace_whose_turn_raises_keeps_no_other_one_of_its_balancer_from_going_back(world: ThreadedWorld) -> None:
    world.store.bugs["team-01"] = KeyError("a bug")
    world.store.report_bugs["team-06"] = StoreUnavailableError("the disk is full")
    others = [name for name in world.healthy if name != "team-01"]
    goes_back_while_it_hangs(world, others)

    assert world.state("team-01").phase is not Phase.ROLLED_BACK
