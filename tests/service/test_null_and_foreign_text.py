"""Numbers and texts from outside that no store would take: they keep nothing from being saved, and nobody from going
back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.phases import Phase
from tests.service.conftest import World

Worlds = Callable[..., World]


@pytest.fixture
def world(make_world: Worlds) -> World:
    """A world at 50 %."""
    world = make_world(steps=(50, 100), soak="1h")
    world.until_share(50)
    return world


def counters_overflow(world: World) -> None:
    for _ in range(2):
        world.sides[Side.TARGET].serve("shop", 1.7e308)


def pod_name_is_no_unicode(world: World) -> None:
    world.sides[Side.TARGET].pod = "istio-\ud800"


def provider_speaks_no_unicode(world: World) -> None:
    world.provider.bugs[f"observe {world.route().domain}"] = RuntimeError("bad \ud800 thing\x00")


ODD = (counters_overflow, pod_name_is_no_unicode, provider_speaks_no_unicode)


@pytest.mark.parametrize("odd", ODD)
def test_odd_answers_keep_no_order_from_being_answered(world: World, odd: Callable[[World], None]) -> None:
    odd(world)
    order = world.order(Verb.ROLLBACK)
    world.step(2)

    assert world.saved.order(order.id).answer is Answer.ACCEPTED
    assert world.saved_state().phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}


@pytest.mark.fault(
    on="Prometheus",
    fault="counters near the largest number there is, names that are no Unicode",
    does="a person's rollback is carried out and saved all the same",
    sees="rolled back: ...; every reason is printable",
    safe_within="4 ticks",
)
@pytest.mark.parametrize("odd", [counters_overflow, pod_name_is_no_unicode])
def test_odd_answers_keep_a_rollback_from_nothing(world: World, odd: Callable[[World], None]) -> None:
    odd(world)
    world.step(2)
    world.order(Verb.ROLLBACK)
    world.step(4)

    assert world.share() == 0
    assert world.saved_state().phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("odd", ODD)
def test_odd_answers_are_reported_in_words_a_person_can_read(world: World, odd: Callable[[World], None]) -> None:
    odd(world)
    began = world.now
    world.step(4)

    assert world.report().at > began
    assert world.reason().isprintable()


def test_a_refusal_that_is_no_unicode_is_saved_as_text(world: World) -> None:
    world.provider.refusal = "bad \ud800 thing"
    world.order(Verb.ROLLBACK)
    world.step(8)
    said = [record.reason for record in world.history() if "bad" in record.reason]
    world.provider.refusal = ""
    world.step(10)

    assert said
    assert all(reason.isprintable() and reason.encode() for reason in said)
    assert world.saved_state().phase is Phase.ROLLED_BACK
