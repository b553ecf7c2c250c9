"""A promotion that was not carried out leaves nothing behind, and one given long ago is not carried out at all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import STALE_AFTER, Answer, Verb
from shifter.core.phases import Phase
from tests.service.conftest import World


def refused_override(world: World) -> None:
    """Promote with override, and let the provider refuse the write."""
    world.until_share(5)
    world.provider.refusal = "no"
    world.order(Verb.PROMOTE, full=True, override=True)
    world.step(3)
    world.provider.refusal = ""


def test_an_override_whose_write_failed_is_not_in_force(world: World) -> None:
    refused_override(world)

    assert (world.state().share, world.state().overridden) == (5, False)


def test_after_a_failed_override_a_failing_target_goes_back(world: World) -> None:
    refused_override(world)
    world.order(Verb.PAUSE)
    world.sides[Side.TARGET].error_percent = 100
    world.step(10)

    assert world.share() == 0
    assert world.state().phase is Phase.ROLLED_BACK


def test_an_override_that_was_carried_out_stays_in_force(world: World) -> None:
    world.until_share(5)
    world.order(Verb.PROMOTE, full=True, override=True)
    world.until_share(100)
    world.sides[Side.TARGET].error_percent = 100
    world.step(10)

    assert world.share() == 100


@pytest.mark.parametrize("verb", [Verb.RESUME, Verb.PROMOTE])
def test_an_old_order_to_raise_that_found_no_service_is_refused_when_one_starts(world: World, verb: Verb) -> None:
    world.until_share(5)
    world.order(Verb.PAUSE)
    world.step()
    world.die()
    order = world.order(verb)
    world.pass_time(STALE_AFTER + timedelta(minutes=1))
    world.start()
    world.step(10)

    assert world.saved.order(order.id).answer is Answer.REFUSED
    assert "give it again" in world.saved.order(order.id).answer_text
    assert world.share() == 5


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.ROLLBACK])
def test_an_old_order_that_raises_nothing_is_obeyed_when_a_service_starts(world: World, verb: Verb) -> None:
    world.until_share(5)
    world.die()
    order = world.order(verb)
    world.pass_time(timedelta(days=3))
    world.start()
    world.step(4)

    assert world.saved.order(order.id).answer is Answer.ACCEPTED
    assert world.share() == (0 if verb is Verb.ROLLBACK else 5)
