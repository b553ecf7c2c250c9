"""One shift's turns: what holds a climb, what a rollback passes, and what becomes of every kind of write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shifter.core.balancing.splits import Health, Side
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from tests.service.conftest import NEW, NEWER, OLD, OLDER, World

Worlds = Callable[..., World]

HOUR_TICKS = 360


# -- orders ----------------------------------------------------------------------------------------------------------


def test_a_pause_holds_the_share_for_as_long_as_it_lasts(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(50)

    assert world.state().share == 25
    assert world.holds() == {"pause"}


def test_a_resumed_shift_goes_on(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(10)
    world.order(Verb.RESUME)
    world.until(Phase.COMPLETED)

    assert world.climbs() == [5, 25, 50, 100]


def test_a_promotion_goes_to_the_next_step_and_ends_the_pause(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(2)
    promotion = world.order(Verb.PROMOTE)
    world.step(2)

    assert world.saved.order(promotion.id).answer is Answer.ACCEPTED
    assert world.state().share == 50
    assert world.state().paused is None
    world.until(Phase.COMPLETED)


def test_a_promotion_does_not_wait_for_the_soak_or_the_metrics(world: World) -> None:
    world.until_share(5)
    world.sides[Side.SOURCE].down = True
    world.step()
    world.order(Verb.PROMOTE)
    world.step(2)

    assert world.state().share == 25
    assert "promoted by ann: because" in world.history()[-1].reason


def test_a_full_promotion_goes_to_100_at_once(world: World) -> None:
    world.until_share(5)
    world.order(Verb.PROMOTE, full=True)
    world.step(2)

    assert world.share() == 100


def test_a_promotion_against_drift_is_refused_and_says_why(world: World) -> None:
    world.until_share(5)
    world.edit_weights({NEW: 50})
    promotion = world.order(Verb.PROMOTE)
    world.step()

    assert world.saved.order(promotion.id).answer is Answer.REFUSED
    assert "somebody changed the weights" in world.saved.order(promotion.id).answer_text


def test_orders_are_in_the_history_with_who_and_why(world: World) -> None:
    world.until_share(5)
    world.order(Verb.PAUSE)
    world.wake()
    told = [record for record in world.history() if record.what is What.ORDER]

    assert [(record.by, record.reason) for record in told] == [
        ("ann", "pause (because): accepted: paused: the share will not be raised")
    ]


# -- what holds a climb ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", Side)
def test_a_metrics_outage_holds_for_as_long_as_it_lasts(world: World, side: Side) -> None:
    world.until_share(25)
    world.sides[side].down = True
    world.step(HOUR_TICKS)

    assert world.state().share == 25
    assert world.state().phase is Phase.SHIFTING
    assert world.holds() == {"no signal"}


@pytest.mark.parametrize("side", Side)
def test_after_a_metrics_outage_the_shift_goes_on(world: World, side: Side) -> None:
    world.until_share(25)
    world.sides[side].down = True
    world.step(20)
    world.sides[side].down = False
    world.until(Phase.COMPLETED)

    assert world.climbs() == [5, 25, 50, 100]


def test_the_same_pods_on_both_sides_are_no_signal(world: World) -> None:
    world.sides[Side.TARGET] = world.sides[Side.SOURCE]
    world.restart()
    world.step(10)

    assert world.share() == 0
    assert "both sides count the same pods" in world.reason()


def test_a_target_without_pods_holds_while_the_balancer_finds_it_alive(world: World) -> None:
    world.until_share(25)
    world.sides[Side.TARGET].gone = True
    world.step(20)

    assert world.share() == 25
    assert world.holds() == {"no signal"}


def test_drift_holds_and_is_never_overwritten(world: World) -> None:
    world.until_share(25)
    world.edit_weights({NEW: 50})
    edited = world.view().weights
    world.step(50)

    assert world.view().weights == edited
    assert world.holds() == {"drift"}


def test_drift_that_a_person_undoes_is_forgotten(world: World) -> None:
    world.until_share(25)
    before = world.view().weights
    world.edit_weights({NEW: 50})
    world.step(3)
    world.edit_weights(before)
    world.until(Phase.COMPLETED)

    assert world.climbs() == [5, 25, 50, 100]


def test_a_route_that_has_a_share_before_shifter_ever_wrote_it_is_not_started_on(world: World) -> None:
    world.edit_weights({NEW: 50})
    world.step(20)

    assert world.holds() == {"preflight"}
    assert not world.provider.submits


def test_a_source_without_a_healthy_member_stops_the_climb(world: World) -> None:
    world.until_share(25)
    for key in (OLD, OLDER):
        world.memory.set_health(world.route(), key, Health.DEAD)
    submits = len(world.provider.submits)
    world.step(20)

    assert "cold source" in world.holds()
    assert len(world.provider.submits) == submits


def test_a_lost_lease_stops_the_climb(world: World) -> None:
    world.until_share(25)
    world.lease.lose()
    world.step(20)

    assert world.share() == 25
    assert world.holds() == {"lease"}


# -- members come and go ---------------------------------------------------------------------------------------------


def test_a_new_target_member_does_not_raise_the_share(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.member_joins()
    world.step(3)

    assert world.share() == pytest.approx(25, abs=0.5)
    assert world.state().phase is Phase.SHIFTING


@pytest.mark.parametrize("key", [OLD, NEW])
def test_a_member_that_leaves_takes_no_share_along(world: World, key: str) -> None:
    world.until_share(25)
    world.memory.remove_server(world.route(), key)
    world.step(3)

    assert world.share() == pytest.approx(25, abs=0.5)
    assert "drift" not in world.holds()


@pytest.mark.parametrize("key", [OLD, NEW])
def test_a_member_that_dies_and_recovers_keeps_the_share(world: World, key: str) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.wake()
    world.memory.set_health(world.route(), key, Health.DEAD)
    world.order(Verb.RESUME)
    world.step(3)
    dead = world.share()
    world.memory.set_health(world.route(), key, Health.ALIVE)
    world.order(Verb.PAUSE)
    world.step(3)

    assert dead == pytest.approx(25, abs=0.5)
    assert (world.share() or 0) <= 25.5


def test_a_migration_completes_while_members_come_and_go(world: World) -> None:
    world.until_share(5)
    world.member_joins()
    world.until_share(25)
    world.memory.remove_server(world.route(), NEWER)
    world.until_share(50)
    world.memory.set_health(world.route(), OLDER, Health.DEAD)
    world.until(Phase.COMPLETED)

    assert world.climbs() == [5, 25, 50, 100]
    assert world.view().weights[OLDER] == 0


# -- mode: observe ---------------------------------------------------------------------------------------------------


def test_an_observing_shifter_explains_and_writes_nothing(make_world: Worlds) -> None:
    world = make_world(mode="observe")
    world.step(30)
    saved = world.saved_state()

    assert not world.provider.submits
    assert world.report().reason.startswith("to 5 %: nothing is known of istio's failures yet")
    assert (saved.phase, saved.intent, saved.sequence) == (Phase.WAITING, None, 0)
    assert world.trap.calls.count("after save") == 1
    assert not world.history()


def test_an_observing_shifter_refuses_orders(make_world: Worlds) -> None:
    world = make_world(mode="observe")
    world.step()
    order = world.order(Verb.PROMOTE, full=True)
    world.step()

    assert world.saved.order(order.id).answer is Answer.REFUSED
    assert "mode: observe" in world.saved.order(order.id).answer_text
    assert world.share() == 0


def test_an_order_to_an_observing_shifter_is_answered_once_the_store_is_back(make_world: Worlds) -> None:
    world = make_world(mode="observe")
    world.step()
    order = world.order(Verb.PROMOTE)
    world.saved.fail_next(1, after_applying=False)
    world.store.bugs["shop"] = OSError("disk")
    world.step(3)
    del world.store.bugs["shop"]
    world.step(2)

    assert world.saved.order(order.id).answer is Answer.REFUSED
    assert {line["error"] for line in world.lines("shift.error")} == {"OSError"}
    assert [line["reason"] for line in world.lines("store.problem")][1:] == ["it answers again"]


def test_an_observing_shifter_touches_no_open_write_of_an_acting_one(make_world: Worlds) -> None:
    world = make_world()
    world.until_share(5)
    world.memory.hold_lock(world.route().domain)
    while world.state().intent is None:
        world.step()
    submits = len(world.provider.submits)
    world.mode = "observe"
    world.restart()
    world.memory.release_lock(world.route().domain)
    world.step(20)

    assert len(world.provider.submits) == submits
    assert world.saved_state().intent is not None


# -- several shifts ----------------------------------------------------------------------------------------------------


@pytest.mark.fault(
    on="process",
    fault="a bug strikes in one shift's turn",
    does="the other shifts' turns are taken all the same",
    sees="`shift.error` with the shift and a traceback",
    safe_within="at once",
)
@pytest.mark.parametrize("error", [RecursionError("too deep"), MemoryError()])
def test_a_bug_in_one_shift_stops_no_other(make_world: Worlds, error: Exception) -> None:
    world = make_world(shifts={"blog": "lb-front0002", "shop": "lb-front0001"})
    world.until_share(5, name="blog")
    world.store.bugs["blog"] = error
    world.until_share(25, name="shop")

    assert world.share("blog") == 5
    assert {line["shift"] for line in world.lines("shift.error")} == {"blog"}
