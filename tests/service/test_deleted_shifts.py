"""What a person deletes from the store while it is looked after: it may go down and not up, and is not forgotten."""

from __future__ import annotations

from shifter.core.balancing.splits import Side
from shifter.core.phases import Phase
from tests.service.conftest import World


def test_a_shift_that_is_being_deleted_holds_and_pages(world: World) -> None:
    world.until_share(25)

    world.saved.deleting.add("shop")
    world.step(20)

    assert world.share() == 25
    assert world.holds() == {"policy"}
    assert world.report().page
    assert "somebody is deleting what is saved of it" in world.reason()


def test_a_shift_that_is_being_deleted_still_goes_back(world: World) -> None:
    world.until_share(25)

    world.saved.deleting.add("shop")
    world.sides[Side.TARGET].error_percent = 30
    world.until(Phase.ROLLED_BACK)

    assert world.share() == 0


def test_a_shift_that_was_deleted_by_force_begins_anew_and_does_not_write_over_what_is_live(world: World) -> None:
    world.until_share(25)

    world.saved.remove("shop")
    world.step(20)

    assert world.share() == 25
    assert world.holds() == {"preflight"}
    assert world.report().page
