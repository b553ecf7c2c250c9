"""What the journal keeps of a write at its edges: who went lower, what nobody remembers, what is not back yet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shifter.core.balancing.splits import Health, Member, RouteView, Side
from shifter.core.deciding.journal import Call, Delivery, Move, Step, done, next_move
from shifter.core.phases import Phase
from shifter.core.state import Direction
from tests.core.intents import DEADLINE, ROUTES, A, B, a_view, an_intent, split
from tests.core.shifts import NOON, a_shift

DOMAIN_A, DOMAIN_B = (route.domain for route in ROUTES.values())
NOT_TAKEN = Call(Delivery.WITHHELD, "frozen")


def at(a: int, b: int) -> dict[str, RouteView]:
    return {A: a_view(A, split(a)), B: a_view(B, split(b))}


@pytest.mark.parametrize("to_share", [1, 5])
def test_a_retreat_to_a_share_above_0_is_not_sent_over_weights_that_somebody_set_meanwhile(to_share: int) -> None:
    move = next_move(an_intent(Direction.RETREAT, 25, to_share), {}, at(25, 0), NOON)

    assert move == Move(Step.FAILED, "somebody else changed the weights meanwhile")


def test_a_climb_whose_calls_nobody_remembers_is_read_back_until_its_deadline() -> None:
    early, late = (next_move(an_intent(), {}, at(5, 5), now) for now in (NOON, DEADLINE))

    assert early == Move(Step.WAIT, "it is not known whether the write was carried out (); reading back")
    assert late == Move(Step.FAILED, "not in force by its deadline: no answer")


def test_what_every_balancer_said_is_in_the_reason() -> None:
    answers = {DOMAIN_A: Call(Delivery.FAILED, "no quota"), DOMAIN_B: Call(Delivery.FAILED, "task failed")}
    move = next_move(an_intent(), answers, at(5, 5), NOON)

    assert move.reason == "read back otherwise than intended: no quota; task failed"


@pytest.mark.parametrize(("first", "never_sent"), [(5, True), (25, False)])
def test_a_withheld_climb_was_never_sent_unless_something_of_it_is_in_force(first: int, *, never_sent: bool) -> None:
    move = next_move(an_intent(), {DOMAIN_A: NOT_TAKEN, DOMAIN_B: NOT_TAKEN}, at(first, 5), NOON)

    assert move == Move(
        Step.FAILED, "withheld: frozen; frozen" if never_sent else "withheld: frozen", (), not never_sent, never_sent
    )


def test_a_climb_that_three_balancers_did_not_take_for_three_reasons_was_never_sent() -> None:
    third = replace(ROUTES[A], balancer="lb-c")
    two = an_intent()
    three = two.model_copy(
        update={"before": {**two.before, third.id: split(5)}, "weights": {**two.weights, third.id: split(25)}}
    )
    views = {**at(5, 5), third.id: replace(a_view(A, split(5)), route=third)}
    answers = {DOMAIN_A: NOT_TAKEN, DOMAIN_B: Call(Delivery.BUSY), third.domain: Call(Delivery.UNSENT)}

    assert next_move(three, answers, views, NOON).never_sent


@pytest.mark.parametrize("overridden", [True, False])
@pytest.mark.parametrize("override", [True, False])
def test_a_shift_is_overridden_from_a_written_override_on(*, overridden: bool, override: bool) -> None:
    intent = an_intent().model_copy(update={"override": override})
    state = done(a_shift(share=5, overridden=overridden), intent, at(25, 25), NOON)

    assert state.overridden == (overridden or override)


def test_the_verified_share_is_the_one_that_was_decided_though_whole_weights_only_come_close_to_it() -> None:
    state = done(a_shift(share=5), an_intent(), at(25, 24), NOON)

    assert state.share == 25


@pytest.mark.parametrize(("first", "second", "share"), [(5, 0, 5), (0, 3, 3)])
def test_a_route_that_is_not_back_keeps_the_shift_on_its_way_at_the_highest_share(
    first: int, second: int, share: int
) -> None:
    state = done(a_shift(Phase.ROLLING_BACK), an_intent(Direction.RETREAT, 25, 0), at(first, second), NOON)

    assert (state.phase, state.share) == (Phase.ROLLING_BACK, share)


def test_a_dead_member_with_weight_keeps_a_shift_at_0_percent_on_its_way_back() -> None:
    dead = Member("new", Side.TARGET, 5, Health.DEAD)
    views = {A: RouteView(ROUTES[A], (Member("old", Side.SOURCE, 95, Health.ALIVE), dead))}
    state = done(a_shift(Phase.ROLLING_BACK), an_intent(Direction.RETREAT, 25, 0), views, NOON)

    assert (state.phase, state.share) == (Phase.ROLLING_BACK, 0)
