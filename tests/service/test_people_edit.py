"""A person who takes traffic off the target by hand is not overwritten by a write decided before that."""

from __future__ import annotations

import pytest

from shifter.adapters.memory import Author, Fault
from shifter.core.deciding.orders import Verb
from shifter.core.records import What
from shifter.core.state import Direction
from tests.service.conftest import NEW, NEWER, OLD, OLDER, World

ALL_ON_THE_SOURCE = {OLD: 100, OLDER: 100, NEW: 0, NEWER: 0}
A_LITTLE_ON_THE_TARGET = {OLD: 95, OLDER: 95, NEW: 10, NEWER: 0}


def climbing(world: World) -> None:
    """Go on until the next climb is under way."""
    while world.state().intent is None:
        world.step()


@pytest.mark.parametrize("edit", [ALL_ON_THE_SOURCE, A_LITTLE_ON_THE_TARGET])
def test_a_climb_that_met_a_busy_balancer_is_not_sent_over_a_persons_edit(world: World, edit: dict[str, int]) -> None:
    world.until_share(25)
    world.memory.hold_lock(world.route().domain)
    climbing(world)
    world.edit_weights(edit)
    world.memory.release_lock(world.route().domain)
    world.step(5)

    assert world.memory.writes[-1].author is Author.PERSON
    assert "drift" in world.holds()


def repairing(world: World) -> None:
    """Go on until a half applied climb is to be repaired, and the balancer is too busy for it."""
    world.until_share(25)
    world.memory.inject(Fault.TASK_HALF)
    climbing(world)
    world.memory.hold_lock(world.route().domain)
    while (intent := world.state().intent) is None or intent.direction is not Direction.RETREAT:
        world.step()


def test_a_half_applied_climb_is_repaired_when_the_balancer_is_free_again(world: World) -> None:
    repairing(world)
    world.memory.release_lock(world.route().domain)
    world.step(3)

    assert 25 in world.written_shares()[-2:]


def test_a_repair_that_met_a_busy_balancer_is_not_sent_over_a_persons_lower_share(world: World) -> None:
    repairing(world)
    world.edit_weights(ALL_ON_THE_SOURCE)
    world.memory.release_lock(world.route().domain)
    world.step(5)

    assert world.memory.writes[-1].author is Author.PERSON
    assert world.share() == 0


def test_a_rollback_is_sent_over_any_edit(world: World) -> None:
    world.until_share(25)
    world.memory.hold_lock(world.route().domain)
    world.order(Verb.ROLLBACK)
    world.step()
    world.edit_weights(A_LITTLE_ON_THE_TARGET)
    world.memory.release_lock(world.route().domain)
    world.step(3)

    assert world.share() == 0
    assert not [record for record in world.history() if record.what is What.FAILED]
