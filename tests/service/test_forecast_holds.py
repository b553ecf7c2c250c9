"""What `core/forecast.py` promises of a bad day is kept by the service that has one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from shifter.core.forecast import Outset, clockwork_of, forecast
from shifter.core.phases import Phase
from shifter.core.splits import Side
from tests.service.conftest import World

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("before", "step"), [(5, 25), (25, 50), (50, 100)])
@pytest.mark.parametrize("looks_until_done", [1, 20])
def test_a_target_that_fails_from_the_first_second_costs_no_more_than_the_plan_said(
    make_world: Callable[..., World], before: float, step: float, looks_until_done: int
) -> None:
    world = make_world(looks_until_done=looks_until_done)
    world.until_share(before)
    spec = world.state().policy.spec
    told = forecast(spec, Outset(share=before), clockwork_of(world.fleet.spec.timing), world.PER_SECOND)
    (promised,) = [each.failed.value for each in told.steps if each.share == step]
    failed = 0.0
    while (world.share() or 0) < step:
        _pass_a_second(world)
    world.sides[Side.TARGET].error_percent = 100
    while share := world.share():
        failed += world.PER_SECOND * share / 100
        _pass_a_second(world)

    assert promised is not None
    assert 0 < failed <= promised
    assert world.until(Phase.ROLLED_BACK).failure is not None


def test_a_step_begins_no_sooner_than_the_plan_said(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.until_share(5)
    began, spec = world.now, world.state().policy.spec
    told = forecast(spec, Outset(share=5), clockwork_of(world.fleet.spec.timing), world.PER_SECOND)
    (promised,) = [each.begins.value for each in told.steps if each.share == 25]
    while (world.share() or 0) < 25:
        _pass_a_second(world)

    assert promised is not None
    assert (world.now - began).total_seconds() >= promised


def _pass_a_second(world: World) -> None:
    world.pass_time(SECOND)
    world.wake()
