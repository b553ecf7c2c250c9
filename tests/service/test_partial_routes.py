"""Routes that can go back do, whatever is wrong with another, and the shift is on its way until all of them did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from shifter.adapters.memory import Author, Rule
from shifter.core.balancing.membership import Server
from shifter.core.balancing.splits import Health, Route, Side
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from tests.service.conftest import LISTENER, NEW, NEWER, OLD, OLDER, World, servers

Worlds = Callable[..., World]


def second_route(world: World) -> Route:
    return replace(world.route(), path="/b")


@pytest.fixture
def world(make_world: Worlds) -> World:
    """A world whose shift has two routes on one balancer, both at 50 %."""
    world = make_world(steps=(50, 100), soak="1h")
    routes = [{"listener": LISTENER, "domain": "shop.example.com", "url": url} for url in ("/", "/b")]
    world.write_policy("shop", routes=routes)
    world.memory.put_rule(second_route(world), Rule(servers()))
    world.restart()
    world.until_share(50)
    return world


def share_of(world: World, route: Route) -> float | None:
    return world.memory.observe([route])[route.id].share


def deleted(world: World) -> None:
    world.memory.remove_rule(second_route(world))


def without_a_healthy_source(world: World) -> None:
    for key in (OLD, OLDER):
        world.memory.set_health(second_route(world), key, Health.DEAD)


def without_members(world: World) -> None:
    world.memory.put_rule(second_route(world), Rule(()))


TROUBLE = (deleted, without_a_healthy_source, without_members)


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_failing_target_goes_back_on_the_route_that_can(world: World, trouble: Callable[[World], None]) -> None:
    trouble(world)
    world.step(2)
    world.sides[Side.TARGET].error_percent = 100
    world.step(8)

    assert world.share() == 0


@pytest.mark.parametrize("trouble", TROUBLE)
def test_an_ordered_rollback_goes_back_on_the_route_that_can_and_is_not_over(
    world: World, trouble: Callable[[World], None]
) -> None:
    trouble(world)
    world.order(Verb.ROLLBACK)
    world.step(8)

    assert world.share() == 0
    assert world.state().phase is Phase.ROLLING_BACK


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_route_that_could_not_go_back_goes_back_when_it_is_mended(
    world: World, trouble: Callable[[World], None]
) -> None:
    trouble(world)
    world.order(Verb.ROLLBACK)
    world.step(8)
    half = tuple(replace(server, weight=50) for server in servers())
    world.memory.put_rule(second_route(world), Rule(half))
    world.step(4)

    assert share_of(world, second_route(world)) == 0
    assert world.state().phase is Phase.ROLLED_BACK


def all_dead(world: World) -> None:
    for route in (world.route(), second_route(world)):
        for key in (OLD, OLDER, NEW, NEWER):
            world.memory.set_health(route, key, Health.DEAD)


def test_a_rollback_is_written_though_the_balancer_finds_every_member_dead(world: World) -> None:
    all_dead(world)
    world.order(Verb.ROLLBACK)
    world.step(4)

    assert world.view().weights == {OLD: 100, OLDER: 100, NEW: 0, NEWER: 0}
    assert world.memory.writes[-1].author is Author.SHIFTER


def test_a_failing_target_goes_back_though_the_balancer_finds_every_member_dead(world: World) -> None:
    all_dead(world)
    world.sides[Side.TARGET].error_percent = 100
    world.step(8)

    assert world.share() == 0


def test_a_write_whose_members_are_all_gone_is_not_done(make_world: Worlds) -> None:
    world = make_world()
    world.until_share(5)
    world.memory.hold_lock(world.route().domain)
    while world.state().intent is None:
        world.step()
    fresh = (Server("ins-x:30080", 30080, 10, Health.ALIVE), Server("ins-y:31080", 31080, 0, Health.ALIVE))
    world.memory.put_rule(world.route(), Rule(fresh))
    world.step()

    assert world.climbs() == [5]
    assert world.state().share == 5


def test_a_retreat_whose_members_are_all_gone_is_not_done(make_world: Worlds) -> None:
    world = make_world(steps=(50, 100), soak="1h")
    world.until_share(50)
    world.memory.hold_lock(world.route().domain)
    world.order(Verb.ROLLBACK)
    world.step()
    fresh = (Server("ins-x:30080", 30080, 10, Health.ALIVE), Server("ins-y:31080", 31080, 10, Health.ALIVE))
    world.memory.put_rule(world.route(), Rule(fresh))
    world.step(2)
    too_early = [record for record in world.history() if record.what is What.DONE]
    world.memory.release_lock(world.route().domain)
    world.step(10)

    assert len(too_early) == 1
    assert world.share() == 0
    assert world.state().phase is Phase.ROLLED_BACK


def test_a_route_that_sank_under_a_pause_is_told_of_until_it_is_raised_again(world: World) -> None:
    world.order(Verb.PAUSE)
    world.step(2)
    world.memory.set_health(second_route(world), NEW, Health.DEAD)
    world.step(3)
    sunk, told = share_of(world, second_route(world)), world.report().warnings
    world.order(Verb.RESUME)
    world.step(6)

    assert sunk == pytest.approx(100 / 3)
    assert [each for each in told if "again" in each] == [
        f"{second_route(world).id} is at 33.3 % while 50 % is verified: it is raised again once nothing holds"
    ]
    assert share_of(world, second_route(world)) == 50
    assert not [each for each in world.report().warnings if "again" in each]
