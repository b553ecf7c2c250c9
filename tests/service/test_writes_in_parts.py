"""A shift whose routes one call does not take is written in several, and each of them is looked at like the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shifter.adapters.memory import Fault, Rule
from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.adapters.tencent.api import ClbApi
from shifter.adapters.tencent.clb import ClbProvider
from shifter.core.balancing.splits import Route, Selector, Side
from shifter.core.deciding.journal import Step, next_move
from shifter.core.deciding.orders import FLEET, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Direction, Intent
from shifter.errors import AmbiguousWriteError
from shifter.lab import emulator as lab
from shifter.ports import Change, Operation
from shifter.service.act import Courier
from shifter.service.lanes import InlineLanes
from tests.clouds import running_cloud
from tests.service.conftest import BALANCER, LISTENER, NOON, REGION, World, servers
from tests.service.outside import WatchedProvider
from tests.service.waiting import wait_for

Worlds = Callable[..., World]
URLS = ("/", "/b", "/c")


class ShortCalls(WatchedProvider):
    """A provider whose calls take one route each. `lost`: the answer to the next call that writes this route is."""

    lost = ""

    def submit(self, changes: Sequence[Change]) -> Operation:
        operation = super().submit(changes[:1])
        if changes[0].route.path == self.lost:
            self.lost = ""
            raise AmbiguousWriteError("the answer was lost")
        return replace(operation, left=len(changes) - 1)

    def routes(self) -> list[str]:
        """The routes of the calls made so far, in order."""
        return [change.route.path for changes, _ in self.submits for change in changes]


@pytest.fixture
def world(make_world: Worlds) -> World:
    """A world whose shift has three routes on one balancer, of which a call takes one; at 0 %."""
    world = make_world(steps=(50, 100), soak="1h")
    world.write_policy(
        "shop", routes=[{"listener": LISTENER, "domain": "shop.example.com", "url": url} for url in URLS]
    )
    for url in URLS:
        world.memory.put_rule(routed(world, url), Rule(servers()))
    world.provider = ShortCalls(world.memory, world.trap, world.saved)
    world.restart()
    return world


def routed(world: World, url: str) -> Route:
    return replace(world.route(), path=url)


def shares(world: World) -> list[float | None]:
    return [world.memory._view(routed(world, url)).share for url in URLS]


def calls(world: World) -> ShortCalls:
    assert isinstance(world.provider, ShortCalls)
    return world.provider


def until_parted(world: World) -> None:
    """Step until some routes were raised and some were not yet."""
    for _ in range(20):
        if set(shares(world)) == {50, 0}:
            return
        world.step()
    raise AssertionError(f"its routes never differed: {shares(world)}")


def ends(world: World) -> list[tuple[What, object]]:
    """How the intents of the shift began and ended."""
    told = (What.INTENT, What.DONE, What.FAILED)
    return [(each.what, each.evidence["to"]) for each in world.history() if each.what in told]


def test_a_climb_in_parts_is_one_intent_that_is_done_when_all_routes_show_it(world: World) -> None:
    world.until_share(50)

    assert calls(world).routes() == list(URLS)
    assert shares(world) == [50, 50, 50]
    assert ends(world) == [(What.INTENT, 50.0), (What.DONE, 50.0)]


def test_each_part_of_a_climb_is_saved_before_it_is_sent(world: World) -> None:
    world.until_share(50)

    assert [intents[0].sends for _, intents in calls(world).submits] == [1, 2, 3]


@pytest.mark.parametrize("whom", ["shop", FLEET])
@pytest.mark.fault(
    on="people",
    fault="order a pause or freeze between two calls of one climb",
    does="sends no further call; puts back what is in force",
    sees="`failed`: withheld: ...",
    safe_within="operationTimeout + 1 tick",
)
def test_an_order_between_two_parts_of_a_climb_stops_it_and_the_first_is_put_back(world: World, whom: str) -> None:
    until_parted(world)
    world.order(Verb.PAUSE if whom == "shop" else Verb.FREEZE, name=whom)
    sent = len(calls(world).routes())
    world.step(10)

    assert shares(world) == [0, 0, 0]
    assert ends(world)[1:3] == [(What.FAILED, 50.0), (What.INTENT, 0.0)]
    assert [change.weights for changes, _ in calls(world).submits[sent:] for change in changes] == [
        {server.key: server.weight for server in servers()}
    ] * (len(calls(world).routes()) - sent)


def test_a_failing_target_stops_a_climb_between_two_parts(world: World) -> None:
    until_parted(world)
    world.order(Verb.ROLLBACK)
    world.step(12)

    assert shares(world) == [0, 0, 0]
    assert world.state().phase is Phase.ROLLED_BACK


def test_a_balancer_that_is_busy_between_two_parts_is_asked_again(world: World) -> None:
    until_parted(world)
    world.memory.inject(Fault.BUSY, times=2)
    world.until_share(50)

    assert ends(world) == [(What.INTENT, 50.0), (What.DONE, 50.0)]


def test_a_lost_answer_to_a_later_part_sends_no_further_one(world: World) -> None:
    calls(world).lost = "/b"
    until_parted(world)
    world.step(3)

    assert calls(world).routes() == ["/", "/b"]
    assert world.state().intent is not None


def test_after_a_death_between_two_parts_the_first_is_put_back_and_the_climb_tried_again(world: World) -> None:
    until_parted(world)
    world.restart()
    world.until_share(50)

    assert shares(world) == [50, 50, 50]
    assert ends(world)[1:3] == [(What.FAILED, 50.0), (What.INTENT, 0.0)]


def test_a_retreat_goes_back_on_every_route_though_the_first_of_them_keeps_failing(world: World) -> None:
    world.until_share(50)
    world.order(Verb.ROLLBACK)
    world.memory.inject(Fault.TASK_FAILS)
    world.step(1)
    began = len(calls(world).routes())
    world.step(10)

    assert calls(world).routes()[began : began + 3] == ["/b", "/c", "/"]
    assert shares(world) == [0, 0, 0]


def test_a_retreat_in_parts_needs_no_lease_and_no_store(world: World) -> None:
    world.until_share(50)
    world.sides[Side.TARGET].error_percent = 100
    world.saved.down = True
    world.step(12)

    assert shares(world) == [0, 0, 0]


# --- on the emulator, which counts members -----------------------------------------------------------------------


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[tuple[lab.Emulator, ClbApi]]:
    """Six rules of a hundred members each: one call changes five hundred."""
    rules = tuple(
        lab.Rule(location_id=f"loc-{n}", domain=f"n{n}.example.com", url="/", targets=targets(n)) for n in range(6)
    )
    listener = lab.Listener(listener_id=LISTENER, protocol="HTTPS", port=443, rules=rules)
    balancer = lab.LoadBalancer(load_balancer_id=BALANCER, listeners=(listener,))
    emulator, api = running_cloud(tmp_path, [balancer], task_delay_seconds=(0.05, 0.1))
    yield emulator, api
    emulator.stop()


def targets(rule: int) -> tuple[lab.Target, ...]:
    return tuple(
        lab.Target(kind=lab.TargetKind.ENI, ip=f"10.{rule}.0.{n + 1}", port=30080 + 1000 * (n // 50), weight=50)
        for n in range(100)
    )


def split(provider: ClbProvider, routes: Sequence[Route]) -> dict[str, dict[str, int]]:
    return {route: view.weights for route, view in provider.observe(routes).items()}


@pytest.mark.parametrize("direction", [Direction.CLIMB, Direction.RETREAT])
def test_six_hundred_members_are_written_in_two_calls_one_after_the_other(
    cloud: tuple[lab.Emulator, ClbApi], direction: Direction
) -> None:
    emulator, provider, store = cloud[0], ClbProvider(cloud[1]), MemoryStore()
    courier = Courier(provider, InlineLanes(), store, MemoryLease(store))
    sides = Selector(ports=(30080,)), Selector(ports=(31080,))
    routes = [Route(REGION, BALANCER, LISTENER, f"n{n}.example.com", "/", *sides) for n in range(6)]
    before = split(provider, routes)
    wanted = {route: {key: 70 if ":31080" in key else 30 for key in weights} for route, weights in before.items()}
    intent = Intent(
        sequence=1,
        epoch=1,
        direction=direction,
        from_share=50,
        to_share=70,
        reason="because",
        by="shifter",
        created_at=NOON,
        deadline=NOON + timedelta(minutes=1),
        before=before,
        weights=wanted,
    )
    courier.send("shop", intent, routes)

    def is_done() -> bool:
        known = courier.calls("shop", intent, [routes[0].domain])
        move = next_move(intent, known, provider.observe(routes), NOON)
        assert move.step is not Step.FAILED, move.reason
        if move.step is Step.SEND:
            courier.send("shop", intent, routes)
        return move.step is Step.DONE

    wait_for(is_done, "the write is never read back as intended")
    assert split(provider, routes) == wanted
    assert [sum(map(len, write.after.values())) for write in emulator.log] == [500, 100]
