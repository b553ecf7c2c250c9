"""What do people's decisions do to a whole service: gates, drift that is adopted or restored, and hands off?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Direction
from tests.service.conftest import NEW, NEWER, OLD, OLDER, TICK, World

HALF = {OLD: 100, OLDER: 100, NEW: 100, NEWER: 100}


def gated(world: World, *shares: float) -> None:
    world.write_policy("shop", approvals=[{"before": share} for share in shares])


# Gates


def test_a_shift_waits_before_a_gate_and_goes_on_once_approved(world: World) -> None:
    gated(world, 50)
    world.until_share(25)
    world.step(40)
    waited = world.share(), world.holds(), world.report().page
    order = world.order(Verb.APPROVE)
    world.until_share(50)

    assert waited == (25, {HoldKind.APPROVAL}, False)
    assert world.answer(order) == (Answer.ACCEPTED, "approved: the share may reach 50 %")
    assert world.state().approved[0].by == "ann"


def test_an_approval_is_for_one_attempt(world: World) -> None:
    gated(world, 25)
    world.order(Verb.APPROVE)
    world.until_share(25)
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    world.order(Verb.RETRY)
    world.until_share(5)
    world.step(30)

    assert world.share() == 5
    assert world.holds() == {HoldKind.APPROVAL}


def test_an_approval_outlives_a_restart(world: World) -> None:
    gated(world, 50)
    world.until_share(5)
    world.order(Verb.APPROVE)
    world.step(2)
    world.restart()
    world.until_share(50)

    assert world.climbs() == [5, 25, 50]


# Promotions to a step


def test_promote_to_a_step_goes_there_in_one_write(world: World) -> None:
    world.until_share(5)
    world.order(Verb.PROMOTE, share=50.0)
    world.until_share(50)

    assert world.climbs() == [5, 50]


# Drift


@pytest.mark.fault(
    on="people",
    fault="somebody edits the weights by hand",
    does="holds and pages; a person adopts what is live or restores what was verified",
    sees="hold `drift` with both splits, the members that changed and the two commands",
    safe_within="one tick",
)
def test_drift_that_is_adopted_must_settle_and_soak_before_the_next_step(world: World) -> None:
    world.until_share(25)
    world.edit_weights(HALF)
    world.step(5)
    held = world.holds(), world.report().page
    order = world.order(Verb.RECONCILE, adopt=True)
    world.step()
    soaked_at_once = world.report().soaked_seconds
    world.until_share(100)

    adopted = next(record for record in world.history() if record.what is What.ADOPTED)
    assert held == ({HoldKind.DRIFT}, True)
    assert (adopted.by, adopted.evidence["share"]) == ("ann", 50)
    assert world.answer(order) == (Answer.ACCEPTED, "what is live is adopted")
    assert soaked_at_once == 0
    assert world.climbs() == [5, 25, 100]


def test_drift_that_is_restored_is_written_back_and_the_shift_goes_on(world: World) -> None:
    world.until_share(25)
    world.edit_weights(HALF)
    world.step(5)
    order = world.order(Verb.RECONCILE)
    world.step(3)
    restored = world.share()
    world.until_share(50)

    assert restored == 25
    assert world.answer(order)[0] is Answer.ACCEPTED
    intent = next(r for r in world.history() if r.what is What.INTENT and r.by == "ann")
    assert intent.evidence["direction"] == Direction.RETREAT


def test_a_share_that_somebody_lowered_is_raised_again_only_by_order(world: World) -> None:
    world.until_share(25)
    world.edit_weights({OLD: 100, OLDER: 100, NEW: 5, NEWER: 5})
    world.step(30)
    waited = world.share()
    world.order(Verb.RECONCILE)
    world.step(3)

    assert waited == pytest.approx(100 * 10 / 210)
    assert world.share() == 25


def test_a_completed_shift_that_drifted_is_restored_to_100_by_order(world: World) -> None:
    world.until(Phase.COMPLETED)
    world.edit_weights(HALF)
    world.step(10)
    drifted = world.share()
    world.order(Verb.RECONCILE)
    world.step(4)

    assert drifted == 50
    assert (world.share(), world.state().phase, world.holds()) == (100, Phase.COMPLETED, set())


def test_traffic_that_was_there_before_the_first_step_is_taken_over_by_order(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.edit_weights({OLD: 95, OLDER: 95, NEW: 5, NEWER: 5})
    world.step(5)
    before = world.state().phase, world.holds()
    world.order(Verb.RECONCILE, adopt=True)
    world.until_share(25)

    assert before == (Phase.WAITING, {HoldKind.PREFLIGHT})
    assert world.climbs() == [25]


def test_a_kill_right_after_drift_was_adopted_does_not_lose_it(world: World) -> None:
    world.until_share(25)
    world.edit_weights(HALF)
    world.step(2)
    world.order(Verb.RECONCILE, adopt=True)
    world.trap.strike_next = "after save"
    world.step(4)

    assert world.state().share == 50
    assert HoldKind.DRIFT not in world.holds()


# Hands off


def hands_off(world: World, span: timedelta = 10 * TICK) -> None:
    order = world.order(Verb.PAUSE, hands_off=span)
    world.wake()
    assert world.answer(order)[0] is Answer.ACCEPTED


@pytest.mark.fault(
    on="people",
    fault="pause --hands-off while istio fails",
    does="nothing is written until it is over; then it rolls back, still paused",
    sees="hold `hands off`, pages all the while and says that it would go back",
    safe_within="the span that was asked for + 1 tick",
)
def test_hands_off_writes_nothing_and_pages_until_it_is_over(world: World) -> None:
    world.until_share(25)
    hands_off(world)
    world.sides[Side.TARGET].error_percent = 100
    world.step(8)
    meanwhile = world.share(), world.holds(), world.report().page, world.reason()
    world.step(6)

    assert meanwhile[:3] == (25, {HoldKind.HANDS_OFF}, True)
    assert "it would go back: istio failed" in meanwhile[3]
    assert world.share() == 0
    assert world.state().paused is not None


def test_a_rollback_during_hands_off_is_refused_and_works_after_resume(world: World) -> None:
    world.until_share(25)
    hands_off(world)
    refused = world.order(Verb.ROLLBACK)
    world.step()
    world.order(Verb.RESUME)
    world.order(Verb.ROLLBACK)
    world.step(3)

    assert world.answer(refused)[0] is Answer.REFUSED
    assert "`shifter resume shop` first, then roll back" in world.answer(refused)[1]
    assert world.share() == 0


def test_a_retreat_under_way_is_not_sent_again_while_hands_are_off(world: World) -> None:
    world.until_share(25)
    world.provider.bugs["submit clb/ap-guangzhou/lb-front0001"] = RuntimeError("lost")
    world.order(Verb.ROLLBACK)
    world.wake()
    hands_off(world)
    writes = len(world.provider.submits)
    world.step(8)
    meanwhile = len(world.provider.submits), world.share()
    world.step(6)

    assert meanwhile == (writes, 25)
    assert (world.share(), world.state().phase) == (0, Phase.ROLLED_BACK)


def test_hands_off_outlives_a_restart(world: World) -> None:
    world.until_share(25)
    hands_off(world)
    world.restart()
    world.sides[Side.TARGET].error_percent = 100
    world.step(5)

    assert (world.share(), world.holds()) == (25, {HoldKind.HANDS_OFF})


# Many orders


@pytest.mark.fault(
    on="people",
    fault="two people give contradicting orders within a second",
    does="both are recorded; the last one counts, and each is answered with what became of it",
    sees="two answers, two records in the history",
    safe_within="one tick",
)
def test_of_contradicting_orders_the_last_counts_and_all_are_answered(world: World) -> None:
    world.until_share(25)
    orders = [world.order(verb) for verb in (Verb.PROMOTE, Verb.PAUSE, Verb.RESUME, Verb.ROLLBACK, Verb.PROMOTE)]
    world.step(3)

    answers = [world.answer(order)[0] for order in orders]
    assert answers == [Answer.REFUSED, Answer.ACCEPTED, Answer.ACCEPTED, Answer.ACCEPTED, Answer.REFUSED]
    assert world.share() == 0
    assert sum(record.what is What.ORDER for record in world.history()) == len(orders)


@pytest.mark.fault(
    on="people",
    fault="200 orders for one shift at once, a rollback among them",
    does="all are recorded and answered in one tick, oldest first; up to 500 may wait for one shift",
    sees="an answer to each",
    safe_within="one tick",
)
def test_two_hundred_orders_at_once_are_all_answered(world: World) -> None:
    world.until_share(25)
    orders = [world.order(Verb.PAUSE if index % 2 else Verb.RESUME) for index in range(199)]
    orders.append(world.order(Verb.ROLLBACK))
    world.step(3)

    assert all(world.answer(order)[0] is Answer.ACCEPTED for order in orders)
    assert world.share() == 0
