"""A climb that waits in its lane behind something slow: whatever speaks against it meanwhile is heard in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from shifter.adapters.memory import Fault
from shifter.core.balancing.splits import Health, Side
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.phases import Phase
from shifter.service.lanes import Priority
from tests.service.conftest import BALANCER, OLD, OLDER, TICK, World, fleet_with
from tests.service.outside import HeldLanes

Worlds = Callable[..., World]


@pytest.fixture
def lane(world: World) -> HeldLanes:
    """The world's lane, with the climb from 5 % to 25 % waiting in it."""
    lane = HeldLanes()
    world.lanes, world.fleet = lane, fleet_with(read_deadline=timedelta(seconds=0.001))
    world.restart()
    world.until_share(5)
    lane.held = {Priority.CLIMB}
    while world.state().intent is None:
        world.step()
    return lane


def test_a_climb_that_waits_is_sent_when_nothing_speaks_against_it(world: World, lane: HeldLanes) -> None:
    lane.let_go()
    world.step(2)

    assert world.share() == 25


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.ROLLBACK])
def test_a_climb_that_waits_is_not_sent_once_an_order_against_it_was_accepted(
    world: World, lane: HeldLanes, verb: Verb
) -> None:
    order = world.order(verb)
    # The cloud cannot be read either, so that no retreat overtakes the climb.
    lane.held.add(Priority.READ)
    world.step()
    world.wake()
    answer = world.saved.order(order.id).answer
    lane.let_go()
    world.step(4)

    assert answer is Answer.ACCEPTED
    assert max(share or 0.0 for share in world.written_shares()) == 5


def test_a_climb_that_waits_is_not_sent_once_its_shift_was_deleted(world: World, lane: HeldLanes) -> None:
    lane.held.add(Priority.READ)
    world.saved.remove("shop")
    world.step()
    lane.let_go()
    world.step(4)

    assert max(share or 0.0 for share in world.written_shares()) == 5


def source_is_dead(world: World) -> None:
    for key in (OLD, OLDER):
        world.memory.set_health(world.route(), key, Health.DEAD)


def test_an_overridden_climb_that_waits_is_not_sent_after_a_rollback_that_cannot_be_written_yet(
    world: World, lane: HeldLanes
) -> None:
    lane.let_go()
    world.until_share(25)
    world.order(Verb.PROMOTE, override=True)
    world.until_share(50)
    lane.held = {Priority.CLIMB}
    while world.state().intent is None:
        world.step()
    source_is_dead(world)
    world.order(Verb.ROLLBACK)
    world.step()
    before = len(world.provider.submits)
    lane.let_go()
    world.step(2)

    assert world.state().phase is Phase.ROLLING_BACK
    assert len(world.provider.submits) == before


def test_an_overridden_climb_that_met_a_busy_balancer_is_not_sent_again_after_such_a_rollback(world: World) -> None:
    world.until_share(5)
    world.order(Verb.PROMOTE, override=True)
    world.until_share(25)
    world.memory.hold_lock(world.route().domain)
    while world.state().intent is None:
        world.step()
    source_is_dead(world)
    world.order(Verb.ROLLBACK)
    world.step()
    before = len(world.provider.submits)
    world.memory.release_lock(world.route().domain)
    world.step(2)

    assert world.state().phase is Phase.ROLLING_BACK
    assert len(world.provider.submits) == before


def test_a_climb_that_waited_beyond_its_deadline_is_not_sent(world: World, lane: HeldLanes) -> None:
    world.step(7)
    lane.let_go()
    world.wake()

    assert len(world.provider.submits) == 1
    assert world.share() == 5


def metrics_are_down(world: World) -> None:
    world.sides[Side.SOURCE].down = True


def policy_is_gone(world: World) -> None:
    (world.path / "shop.yaml").unlink()


def lease_is_lost(world: World) -> None:
    world.lease.lose()


@pytest.mark.parametrize("trouble", [metrics_are_down, policy_is_gone, lease_is_lost])
def test_a_climb_that_waits_is_not_sent_under_a_new_hold(
    world: World, lane: HeldLanes, trouble: Callable[[World], None]
) -> None:
    trouble(world)
    world.step()
    lane.let_go()
    world.wake()

    assert len(world.provider.submits) == 1
    assert world.share() == 5


def test_a_retreat_that_waits_is_sent_whatever_came_meanwhile(world: World, lane: HeldLanes) -> None:
    lane.held.add(Priority.RETREAT)
    world.order(Verb.ROLLBACK)
    world.step()
    world.order(Verb.PAUSE)
    world.sides[Side.SOURCE].down = True
    world.step(9)
    lane.let_go()
    sent = len(world.provider.submits)
    world.step(2)

    assert sent == 2
    assert world.share() == 0
    assert world.state().phase is Phase.ROLLED_BACK


def test_a_slow_look_at_a_write_under_way_does_not_starve_another_shifts_rollback(make_world: Worlds) -> None:
    world = make_world(shifts={"shop": BALANCER, "pay": BALANCER}, steps=(50, 100), soak="1h")
    world.until_share(50, name="shop")
    world.until_share(50, name="pay")
    # The write of shop never comes into force, so that shop is looked at on every wake.
    world.memory.inject(Fault.TASK_LIES, times=1000)
    world.order(Verb.ROLLBACK, name="shop")
    world.step(2)
    lanes = world.restart_slow()
    world.order(Verb.ROLLBACK, name="pay")
    for second in range(4 * int(TICK.total_seconds())):
        world.pass_time(timedelta(seconds=1))
        world.wake()
        # A read takes longer than the time from one wake to the next.
        if second % 3 == 2:
            lanes.answer()

    assert world.state("shop").intent is not None
    assert any(change.route == world.route("pay") for changes, _ in world.provider.submits[-3:] for change in changes)
