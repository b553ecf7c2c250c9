"""What `core/forecasts/forecast.py` promises of good and bad days is kept by the service that has them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.forecasts.forecast import Outset, StepForecast, clockwork_of, forecast
from shifter.core.forecasts.worst_case import Premise
from shifter.core.phases import Phase
from tests.service.conftest import World

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("before", "step"), [(5, 25), (25, 50), (50, 100)])
@pytest.mark.parametrize("looks_until_done", [1, 20])
@pytest.mark.parametrize("per_second", [40.0, 0.5])
def test_a_target_that_fails_from_the_first_second_costs_no_more_than_the_plan_said(
    make_world: Callable[..., World], before: float, step: float, looks_until_done: int, per_second: float
) -> None:
    world = make_world(looks_until_done=looks_until_done)
    world.PER_SECOND = per_second
    world.until_share(before, most=500)
    promised = _told(world, step).failed.value
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


@pytest.mark.parametrize("per_second", [40.0, 0.5])
def test_a_step_begins_no_sooner_and_is_kept_no_longer_than_the_plan_said(
    make_world: Callable[..., World], per_second: float
) -> None:
    world = make_world()
    world.PER_SECOND = per_second
    world.until_share(5, most=500)
    for share, then in ((5, 25), (25, 50), (50, 100)):
        began, told = world.now, _told(world, share)
        soonest = _told(world, then).begins.value
        while world.state().share < then:
            _pass_a_second(world)
        kept = (world.now - began).total_seconds()

        assert soonest is not None
        assert told.at_most.value is not None
        assert soonest <= kept <= told.at_most.value + WRITTEN_SECONDS


WRITTEN_SECONDS = 20
"""A write takes a look or two here, and they are a tick apart."""


def _told(world: World, share: float) -> StepForecast:
    """What the plan says of a share now."""
    state = world.state()
    assert state.standing is not None
    outset = Outset(share=state.share, soaked_seconds=None, premise=Premise(state.standing.history, state.attempt))
    told = forecast(state.policy.spec, outset, clockwork_of(world.fleet.spec.timing), world.PER_SECOND)
    return next(each for each in told.steps if each.share == share)


def _pass_a_second(world: World) -> None:
    world.pass_time(SECOND)
    world.wake()
