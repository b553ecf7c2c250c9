"""Is what is saved and told of a shift what is so? Looked at after every wake, not only where it comes to rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from tests.service.conftest import TICK, World

WAKE = TICK / 4
MOST_WAKES = 2000


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Writes take a while, so that some wakes find one under way."""
    return make_world(looks_until_done=3)


def wakes(world: World, ends_in: Phase) -> Iterator[World]:
    """Wake the service until the shift rests in a phase; fail if it never does."""
    for _ in range(MOST_WAKES):
        world.pass_time(WAKE)
        world.wake()
        yield world
        if world.saved_state().phase is ends_in and world.saved_state().intent is None:
            return
    raise AssertionError(f"never {ends_in}: {world.report()}")


def days(world: World) -> Iterator[World]:
    """A climb to half, a target that fails, a retry, a person who goes back, a retry, and everything."""
    world.until_share(50)
    world.sides[Side.TARGET].error_percent = 60
    yield from wakes(world, Phase.ROLLED_BACK)
    world.sides[Side.TARGET].error_percent = 0
    world.order(Verb.RETRY)
    world.until_share(25)
    world.order(Verb.ROLLBACK)
    yield from wakes(world, Phase.ROLLED_BACK)
    world.order(Verb.RETRY)
    yield from wakes(world, Phase.COMPLETED)


def test_outside_of_an_open_write_the_live_weights_are_those_last_verified(world: World) -> None:
    open_writes, seen, other = 0, 0, []
    for _ in days(world):
        state = world.saved_state()
        open_writes += state.intent is not None
        if state.intent is None and state.weights:
            seen += 1
            live = dict(world.view().weights)
            other += [] if live == dict(state.weights[world.route().id]) else [(world.now, live, state.weights)]

    assert other == []
    assert min(open_writes, seen) > 10, "both kinds of moments were seen"


def test_what_people_are_told_is_where_the_shift_is_and_why(world: World) -> None:
    before, wrong, phases = world.share(), [], set()
    for _ in days(world):
        state, report, after = world.saved_state(), world.report(), world.share()
        phases.add(report.phase)
        # A write may land after the routes were read, in the very wake that tells of them.
        is_so = report.phase is state.phase and report.wanted == state.wanted and report.written in {before, after}
        wrong += [] if is_so and report.reason else [(report, before, after)]
        before = after

    assert wrong == []
    assert phases >= {Phase.SHIFTING, Phase.ROLLED_BACK, Phase.COMPLETED}
