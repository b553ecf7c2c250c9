"""What a person deletes from the store while it is looked after: it may go down and not up, and is not forgotten."""

from __future__ import annotations

from collections.abc import Callable

from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.phases import Phase
from tests.service.conftest import BALANCER, World

Worlds = Callable[..., World]


def paused_at(world: World, share: float) -> None:
    """Bring the shift to a share and pause it there, so that nothing is to be saved of it any more."""
    world.until_share(share)
    pause = world.order(Verb.PAUSE)
    world.step(3)
    assert world.answer(pause)[0] is Answer.ACCEPTED


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


def test_who_saves_a_shift_that_was_deleted_notices_too(world: World) -> None:
    world.saved.tells_deleted = False
    world.until_share(25)

    world.saved.remove("shop")
    world.step(20)

    assert world.share() == 25
    assert world.holds() == {"preflight"}


def test_a_shift_that_rests_and_was_deleted_is_saved_anew_in_the_next_tick_with_its_pause(world: World) -> None:
    paused_at(world, 25)
    before = len(world.history())

    world.saved.remove("shop")
    world.step()

    state = world.saved_state()
    assert (state.share, state.phase, state.verified_at) == (0, Phase.WAITING, None)
    assert state.paused is not None
    assert (state.paused.by, state.paused.reason) == ("ann", "because")
    assert world.holds() == {"pause", "preflight"}
    assert world.share() == 25
    assert len(world.history()) > before


def test_a_shift_that_was_deleted_is_rolled_back_by_an_order(world: World) -> None:
    paused_at(world, 25)

    world.saved.remove("shop")
    rollback = world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)

    assert world.answer(rollback)[0] is Answer.ACCEPTED
    assert world.share() == 0


def test_a_shift_that_was_deleted_and_has_no_policy_any_more_is_forgotten(make_world: Worlds) -> None:
    world = make_world(shifts={"shop": BALANCER, "cart": "lb-cart0001"})
    paused_at(world, 25)

    (world.path / "shop.yaml").unlink()
    world.step(2)
    world.saved.remove("shop")
    world.step(3)

    assert list(world.ticker.shifts) == list(world.saved.load()) == ["cart"]
    assert world.share() == 25


def test_a_completed_shift_that_is_being_deleted_says_so_and_pages(world: World) -> None:
    world.until(Phase.COMPLETED)
    world.step(3)
    quiet = world.report().page

    world.saved.deleting.add("shop")
    world.step()

    assert not quiet
    assert world.report().page
    assert world.reason().startswith("somebody is deleting what is saved of it; it is kept, and goes down only")
