"""What is next about an intent whose routes, all behind one balancer, one call does not take?"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from shifter.core.balancing.splits import RouteView
from shifter.core.deciding.journal import Call, Delivery, Move, Step, next_move
from shifter.core.state import Direction, Intent
from tests.core.intents import DEADLINE, ROUTES, A, a_view, an_intent, split
from tests.core.shifts import NOON

FIRST = ROUTES[A]
SECOND = replace(FIRST, path="/b")
DOMAIN = FIRST.domain
UPWARD = [Direction.CLIMB, Direction.KEEP]


def intended(direction: Direction = Direction.CLIMB, before: int = 5, after: int = 25) -> Intent:
    told = {"before": split(before), "weights": split(after)}
    changes = {name: {FIRST.id: each, SECOND.id: each} for name, each in told.items()}
    return an_intent(direction, before, after).model_copy(update=changes)


def live(first: int, second: int) -> dict[str, RouteView]:
    return {route.id: replace(a_view(A, split(n)), route=route) for route, n in ((FIRST, first), (SECOND, second))}


def said(delivery: Delivery, message: str = "") -> dict[str, Call]:
    return {DOMAIN: Call(delivery, message, apart=True)}


@pytest.mark.parametrize("direction", UPWARD)
@pytest.mark.parametrize("first", [25, 5], ids=["in force", "does not show yet"])
def test_when_a_part_of_the_routes_is_written_the_rest_is_sent(direction: Direction, first: int) -> None:
    move = next_move(intended(direction), said(Delivery.PARTLY), live(first, 5), NOON)

    assert move == Move(Step.SEND, "raising the share", (DOMAIN,))


@pytest.mark.parametrize("direction", UPWARD)
def test_a_balancer_that_is_busy_between_two_parts_is_asked_again_until_the_deadline(direction: Direction) -> None:
    again = next_move(intended(direction), said(Delivery.PARTLY, "busy"), live(25, 5), NOON)
    late = next_move(intended(direction), said(Delivery.PARTLY), live(25, 5), DEADLINE)

    assert again == Move(Step.SEND, "busy", (DOMAIN,))
    assert (late.step, late.reason) == (Step.FAILED, "not in force by its deadline: a part of the routes was written")
    assert late.repair == (direction is Direction.CLIMB)


@pytest.mark.parametrize("direction", UPWARD)
def test_what_forbids_a_climb_stops_it_between_two_parts_and_the_first_is_put_back(direction: Direction) -> None:
    move = next_move(intended(direction), said(Delivery.PARTLY), live(25, 5), NOON, "frozen")

    assert move == Move(Step.FAILED, "withheld: frozen", repair=direction is Direction.CLIMB)


@pytest.mark.parametrize("direction", UPWARD)
@pytest.mark.parametrize("delivery", [Delivery.PARTLY, Delivery.FINISHED])
@pytest.mark.parametrize("shares", [(15, 5), (25, 15)])
def test_a_part_that_shows_other_weights_is_not_gone_on_with(
    direction: Direction, delivery: Delivery, shares: tuple[int, int]
) -> None:
    move = next_move(intended(direction), said(delivery), live(*shares), NOON)

    assert (move.step, move.repair) == (Step.FAILED, False)
    assert move.reason.startswith("read back otherwise than intended")


@pytest.mark.parametrize(("first", "second"), [(25, 5), (5, 25), (5, 5)])
def test_when_the_last_part_is_done_each_may_show_a_moment_later(first: int, second: int) -> None:
    waiting = next_move(intended(), said(Delivery.FINISHED), live(first, second), NOON)
    late = next_move(intended(), said(Delivery.FINISHED), live(first, second), DEADLINE)

    assert waiting.step is Step.WAIT
    assert late == Move(
        Step.FAILED, "not in force by its deadline: the provider calls it done", repair=first + second > 10
    )


@pytest.mark.parametrize("delivery", [Delivery.FAILED, Delivery.REFUSED, Delivery.WITHHELD])
def test_a_later_part_that_fails_has_the_first_put_back(delivery: Delivery) -> None:
    move = next_move(intended(), said(delivery), live(25, 5), NOON)

    assert (move.step, move.repair, move.never_sent) == (Step.FAILED, True, False)


def test_a_later_part_whose_answer_never_came_is_waited_for() -> None:
    assert next_move(intended(), said(Delivery.UNKNOWN), live(25, 5), NOON).step is Step.WAIT


def test_one_call_for_all_routes_that_shows_only_some_of_them_is_half_applied() -> None:
    move = next_move(intended(), {DOMAIN: Call(Delivery.FINISHED)}, live(25, 5), NOON)

    assert (move.step, move.repair) == (Step.FAILED, True)


@pytest.mark.parametrize("delivery", [Delivery.PARTLY, Delivery.FAILED, Delivery.FINISHED, Delivery.BUSY])
@pytest.mark.parametrize("now", [NOON, DEADLINE])
def test_a_retreat_goes_on_with_its_parts_whatever_became_of_one_and_whatever_forbids(
    delivery: Delivery, now: datetime
) -> None:
    retreat = intended(Direction.RETREAT, 25, 0)
    move = next_move(retreat, said(delivery), live(25, 0), now, "frozen")

    assert move == Move(Step.SEND, "lowering the share", (DOMAIN,))
