"""The way back passes every hold and every trouble, whether a person orders it or the target fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shifter.adapters.memory import Fault, Rule
from shifter.core.balancing.membership import Server
from shifter.core.balancing.splits import Health, Side
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from tests.service.conftest import NEW, OLD, World, servers
from tests.service.outside import SlowLanes


def paused(world: World) -> None:
    world.order(Verb.PAUSE)


def metrics_down(world: World) -> None:
    world.sides[Side.SOURCE].down = world.sides[Side.TARGET].down = True


def drifted(world: World) -> None:
    world.edit_weights({NEW: 50})


def policy_gone(world: World) -> None:
    (world.path / "shop.yaml").unlink()


def policy_broken(world: World) -> None:
    (world.path / "shop.yaml").write_text("kind: [")


def provider_throttles(world: World) -> None:
    world.memory.inject(Fault.UNREACHABLE, times=3)


def balancer_busy_for_a_while(world: World) -> None:
    world.memory.inject(Fault.BUSY, times=3)


def answer_lost(world: World) -> None:
    world.memory.inject(Fault.AMBIGUOUS_BEFORE, times=2)


def task_lies(world: World) -> None:
    world.memory.inject(Fault.TASK_LIES, times=2)


def task_fails(world: World) -> None:
    world.memory.inject(Fault.TASK_FAILS, times=2)


def half_of_it_is_done(world: World) -> None:
    world.memory.inject(Fault.TASK_HALF, times=2)


def lease_lost(world: World) -> None:
    world.lease.lose()


def store_fails(world: World) -> None:
    world.saved.fail_next(1, after_applying=True)


def route_refuses(world: World) -> None:
    world.memory.put_rule(world.route(), Rule(_live(world), refusal="it redirects"))


def both_meshes_fail(world: World) -> None:
    for gateway in world.sides.values():
        gateway.error_percent = 30


def one_source_member_dead(world: World) -> None:
    world.memory.set_health(world.route(), OLD, Health.DEAD)


def member_joined(world: World) -> None:
    world.member_joins()


def nothing(_: World) -> None:
    pass


TROUBLE = (
    nothing,
    paused,
    metrics_down,
    drifted,
    policy_gone,
    policy_broken,
    provider_throttles,
    balancer_busy_for_a_while,
    answer_lost,
    task_lies,
    task_fails,
    half_of_it_is_done,
    lease_lost,
    store_fails,
    route_refuses,
    both_meshes_fail,
    one_source_member_dead,
    member_joined,
)


def _live(world: World) -> tuple[Server, ...]:
    weights = world.view().weights
    return tuple(Server(one.key, one.port, weights[one.key], one.health, one.id) for one in servers())


@pytest.mark.parametrize("trouble", TROUBLE)
def test_an_ordered_rollback_passes(world: World, trouble: Callable[[World], None]) -> None:
    world.until_share(25)
    trouble(world)
    world.step()
    world.order(Verb.ROLLBACK)
    world.step(12)

    assert world.share() == 0
    assert world.state().phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("trouble", TROUBLE)
def test_an_ordered_rollback_passes_what_begins_together_with_it(
    world: World, trouble: Callable[[World], None]
) -> None:
    world.until_share(25)
    world.order(Verb.ROLLBACK)
    trouble(world)
    world.step(12)

    assert world.share() == 0
    assert world.state().phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("trouble", [each for each in TROUBLE if each not in {metrics_down, both_meshes_fail}])
def test_a_failing_target_goes_back_through(world: World, trouble: Callable[[World], None]) -> None:
    world.until_share(25)
    trouble(world)
    world.sides[Side.TARGET].error_percent = 60
    world.step(15)

    assert world.share() == 0
    assert world.state().phase is Phase.ROLLED_BACK


def test_a_rollback_overtakes_a_climb_under_way(world: World) -> None:
    world.until_share(25)
    while world.state().intent is None:
        world.step()
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    ended = [(record.what, record.reason) for record in world.history() if record.what is What.FAILED]

    assert world.share() == 0
    assert len(ended) == 1
    assert ended[0][1].startswith("superseded: rolling back")


def step_late(world: World, lanes: SlowLanes, count: int) -> None:
    for _ in range(count):
        world.step()
        lanes.answer()


def test_a_provider_that_always_answers_too_late_is_no_reason_to_climb(world: World) -> None:
    lanes = world.restart_slow()
    step_late(world, lanes, 20)

    assert not world.provider.submits
    assert world.holds() == {"provider"}


def test_a_provider_that_always_answers_too_late_still_lets_a_rollback_through(world: World) -> None:
    world.until_share(25)
    lanes = world.restart_slow()
    step_late(world, lanes, 4)
    world.order(Verb.ROLLBACK)
    step_late(world, lanes, 12)

    assert world.share() == 0
    assert world.state().phase is Phase.ROLLED_BACK
