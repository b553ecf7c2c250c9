"""Members of a rule that die, come and go, also under a write: no raise without evidence, and a way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from shifter.core.balancing.splits import Health
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Direction
from tests.service.conftest import NEW, NEWER, OLD, OLDER, World

Worlds = Callable[..., World]

MINUTE = 6
"""Ticks."""


def climbing(world: World) -> None:
    """Go on until a climb is under way."""
    while (intent := world.state().intent) is None or intent.direction is not Direction.CLIMB:
        world.step()


def failures(world: World) -> list[str]:
    return [record.reason for record in world.history() if record.what is What.FAILED]


def dead(world: World, *keys: str) -> None:
    for key in keys:
        world.memory.set_health(world.route(), key, Health.DEAD)


def alive(world: World, *keys: str) -> None:
    for key in keys:
        world.memory.set_health(world.route(), key, Health.ALIVE)


@pytest.mark.fault(
    on="CLB",
    fault="every target of the rule is dead, so that the balancer sends to all of them",
    does="no write; goes on when they recover",
    sees="hold `cold source`: tcm has no healthy member left",
    safe_within="one tick",
)
def test_when_all_are_dead_at_25_nothing_is_written_until_they_recover(world: World) -> None:
    world.until_share(25)
    before = world.view().weights
    dead(world, OLD, OLDER, NEW, NEWER)
    submits = len(world.provider.submits)
    world.step(MINUTE)

    assert (world.view().weights, len(world.provider.submits)) == (before, submits)
    assert "cold source" in world.holds()
    assert "no healthy member left" in world.reason()
    alive(world, OLD, OLDER, NEW, NEWER)
    world.until(Phase.COMPLETED)
    assert world.climbs() == [5, 25, 50, 100]


@pytest.mark.fault(
    on="CLB",
    fault="every target of the rule is dead while a rollback is ordered",
    does="goes back all the same: the balancer then sends to all of them by weight",
    sees="rolled back, and hold `cold source`",
    safe_within="2 ticks",
)
def test_when_all_are_dead_a_rollback_is_carried_out(world: World) -> None:
    world.until_share(25)
    dead(world, OLD, OLDER, NEW, NEWER)
    world.order(Verb.ROLLBACK)
    world.step(3)

    assert world.view().weights == {OLD: 100, OLDER: 100, NEW: 0, NEWER: 0}
    assert "cold source" in world.holds()


@pytest.mark.fault(
    on="CLB",
    fault="every target of istio is dead at 25 %",
    does="no climb; the balancer itself sends everything to tcm",
    sees="hold `preflight`: the target side has no healthy member",
    safe_within="one tick",
)
def test_when_istio_is_dead_at_25_the_share_is_not_raised_and_a_rollback_is_carried_out(world: World) -> None:
    world.until_share(25)
    dead(world, NEW, NEWER)
    world.step(MINUTE)

    assert max(share or 0 for share in world.written_shares()) == 25
    assert "the target side has no healthy member" in world.reason()
    world.order(Verb.ROLLBACK)
    world.step(3)
    assert world.view().weights[NEW] == world.view().weights[NEWER] == 0


@pytest.mark.fault(
    on="CLB",
    fault="targets come and go at 25 %",
    does="writes new weights for the same share",
    sees="members changed: keeping the share",
    safe_within="2 ticks",
)
@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.member_joins(),
        lambda world: world.memory.remove_server(world.route(), NEW),
        lambda world: world.memory.remove_server(world.route(), OLD),
        lambda world: dead(world, NEWER),
        lambda world: dead(world, OLDER),
    ],
    ids=["istio joins", "istio leaves", "tcm leaves", "istio dies", "tcm dies"],
)
def test_the_share_is_kept_whoever_comes_or_goes(world: World, change: Callable[[World], None]) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step()
    change(world)
    world.step()
    world.order(Verb.RESUME)
    world.step(2)

    assert world.share() == pytest.approx(25, abs=0.5)


@pytest.mark.fault(
    on="CLB",
    fault="a target that a write names is unbound while the write waits",
    does="the write fails whole, the next look decides anew with who is there",
    sees="the write failed: a member is no longer there",
    safe_within="2 ticks",
)
def test_a_member_that_leaves_under_a_climb_fails_it_and_the_next_one_does_without(make_world: Worlds) -> None:
    world = make_world(looks_until_done=4)
    world.until_share(25)
    climbing(world)
    world.memory.remove_server(world.route(), NEWER)
    world.until(Phase.COMPLETED)

    assert any("a member is no longer there" in reason for reason in failures(world))
    assert world.climbs() == [5, 25, 50, 100]


def test_members_that_go_under_a_rollback_do_not_keep_it_from_its_end(make_world: Worlds) -> None:
    world = make_world(looks_until_done=4)
    world.until_share(25)
    world.order(Verb.ROLLBACK)
    world.step()
    world.memory.remove_server(world.route(), OLDER)
    world.step(8)

    weights: Mapping[str, int] = world.view().weights
    assert world.share() == 0
    assert OLDER not in weights
    assert world.until(Phase.ROLLED_BACK).share == 0
