"""What is next about a saved intent? Every row of the journal's table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.balancing.splits import RouteView
from shifter.core.deciding.decision import Write
from shifter.core.deciding.journal import (
    Call,
    Delivery,
    Move,
    Step,
    done,
    failed,
    landed_late,
    matches,
    next_move,
    next_try,
)
from shifter.core.phases import Phase
from shifter.core.state import Direction, Failure, Intent, Setback, ShiftState
from tests.core.intents import DEADLINE, ROUTES, A, B, a_view, an_intent, split
from tests.core.shifts import NOON, a_policy

LATE = DEADLINE

DOMAIN_A, DOMAIN_B = (route.domain for route in ROUTES.values())

UPWARD = [Direction.CLIMB, Direction.KEEP]
IN_FLIGHT = [Delivery.QUEUED, Delivery.RUNNING]
OPEN_ENDS = [Delivery.UNSENT, Delivery.BUSY, Delivery.UNKNOWN]
COME_BACK = [delivery for delivery in Delivery if delivery not in IN_FLIGHT]


def live(a: int, b: int) -> dict[str, RouteView]:
    return {A: a_view(A, split(a)), B: a_view(B, split(b))}


def calls(a: Delivery, b: Delivery, message: str = "") -> dict[str, Call]:
    return {DOMAIN_A: Call(a, message), DOMAIN_B: Call(b, message)}


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("views", [None, {A: a_view(A, split(25))}], ids=["none", "one route is missing"])
def test_nothing_is_done_or_failed_unseen(direction: Direction, views: Mapping[str, RouteView] | None) -> None:
    move = next_move(an_intent(direction), calls(Delivery.REFUSED, Delivery.REFUSED), views, LATE)

    assert move.step is Step.WAIT
    assert move.reason == "the provider does not answer; the write is read back when it does"


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("delivery", COME_BACK)
@pytest.mark.parametrize("now", [NOON, LATE])
def test_weights_as_intended_with_no_call_in_flight_are_done(
    direction: Direction, delivery: Delivery, now: datetime
) -> None:
    move = next_move(an_intent(direction), calls(delivery, delivery), live(25, 25), now, "frozen")

    proven = direction is not Direction.RETREAT or delivery not in OPEN_ENDS or now is LATE
    assert proven == (move == Move(Step.DONE, "read back as intended"))


@pytest.mark.parametrize("delivery", OPEN_ENDS)
def test_a_retreat_is_carried_out_even_if_it_changes_nothing_lest_an_earlier_climb_lands_after_it(
    delivery: Delivery,
) -> None:
    retreat = an_intent(Direction.RETREAT, 25, 0)
    move = next_move(retreat, calls(delivery, Delivery.FINISHED), live(0, 0), NOON)

    assert move == Move(Step.SEND, "making sure that nothing sent earlier lands later", (DOMAIN_A,))
    assert next_move(retreat, {}, live(0, 0), NOON).domains == (DOMAIN_A, DOMAIN_B)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("delivery", IN_FLIGHT)
@pytest.mark.parametrize("views", [live(5, 5), live(25, 5), live(25, 25)])
def test_a_call_in_flight_is_waited_for(
    direction: Direction, delivery: Delivery, views: Mapping[str, RouteView]
) -> None:
    move = next_move(an_intent(direction), calls(delivery, Delivery.REFUSED), views, NOON)

    assert move == Move(Step.WAIT, "the provider is carrying it out")


@pytest.mark.parametrize("direction", Direction)
def test_a_queued_call_is_waited_for_beyond_the_deadline(direction: Direction) -> None:
    move = next_move(an_intent(direction), calls(Delivery.QUEUED, Delivery.FINISHED), live(5, 25), LATE)

    assert move.step is Step.WAIT


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("other", [Delivery.RUNNING, Delivery.FINISHED, Delivery.REFUSED])
def test_weights_as_intended_are_done_after_the_deadline_though_a_call_still_runs(
    direction: Direction, other: Delivery
) -> None:
    move = next_move(an_intent(direction), calls(Delivery.RUNNING, other), live(25, 25), LATE)

    assert move == Move(Step.DONE, "read back as intended, though the provider still calls it running")


@pytest.mark.parametrize("direction", Direction)
def test_a_refusal_for_good_fails_with_the_providers_words(direction: Direction) -> None:
    move = next_move(an_intent(direction), calls(Delivery.REFUSED, Delivery.UNSENT, "no such rule"), live(5, 5), NOON)

    assert (move.step, move.reason) == (Step.FAILED, "refused: no such rule")


@pytest.mark.parametrize("delivery", [each for each in COME_BACK if each is not Delivery.REFUSED])
@pytest.mark.parametrize("now", [NOON, LATE])
def test_a_retreat_is_sent_again_until_it_is_read_back_whatever_forbids(delivery: Delivery, now: datetime) -> None:
    retreat = an_intent(Direction.RETREAT, 25, 0)
    move = next_move(retreat, calls(delivery, delivery), live(25, 0), now, "frozen")

    assert move == Move(Step.SEND, "lowering the share", (DOMAIN_A,))


def test_a_retreat_that_still_runs_after_its_deadline_is_sent_again() -> None:
    retreat = an_intent(Direction.RETREAT, 25, 0)
    move = next_move(retreat, calls(Delivery.RUNNING, Delivery.FINISHED), live(25, 0), LATE)

    assert move == Move(Step.SEND, "lowering the share", (DOMAIN_A,))


def test_a_retreat_whose_calls_nobody_remembers_is_sent() -> None:
    move = next_move(an_intent(Direction.RETREAT, 25, 0), {}, live(25, 25), LATE)

    assert move == Move(Step.SEND, "lowering the share", (DOMAIN_A, DOMAIN_B))


@pytest.mark.parametrize("direction", UPWARD)
def test_a_climb_whose_task_failed_without_effect_fails(direction: Direction) -> None:
    answers = {DOMAIN_A: Call(Delivery.FAILED, "task failed"), DOMAIN_B: Call(Delivery.UNSENT)}
    move = next_move(an_intent(direction), answers, live(5, 5), NOON)

    assert move == Move(Step.FAILED, "read back otherwise than intended: task failed")


@pytest.mark.parametrize("direction", UPWARD)
def test_a_climb_that_is_called_done_may_show_a_moment_later(direction: Direction) -> None:
    finished = calls(Delivery.FINISHED, Delivery.FINISHED)
    waiting = next_move(an_intent(direction), finished, live(25, 5), NOON)
    late = next_move(an_intent(direction), finished, live(5, 5), LATE)

    assert (waiting.step, waiting.reason) == (
        Step.WAIT,
        "the provider calls it done, but it does not show yet; reading back",
    )
    assert late == Move(Step.FAILED, "not in force by its deadline: the provider calls it done")


@pytest.mark.parametrize("direction", UPWARD)
def test_a_climb_that_is_called_done_and_shows_other_weights_fails(direction: Direction) -> None:
    move = next_move(an_intent(direction), calls(Delivery.FINISHED, Delivery.FINISHED), live(25, 15), NOON)

    assert (move.step, move.repair) == (Step.FAILED, False)
    assert move.reason == "read back otherwise than intended: the provider calls it done"


@pytest.mark.parametrize("direction", UPWARD)
@pytest.mark.parametrize("delivery", [Delivery.UNSENT, Delivery.BUSY])
def test_a_climb_that_was_not_taken_is_sent_only_if_nothing_forbids_it_and_nobody_changed_the_weights(
    direction: Direction, delivery: Delivery
) -> None:
    not_taken = calls(delivery, delivery)
    free = next_move(an_intent(direction), not_taken, live(5, 5), NOON)
    forbidden = next_move(an_intent(direction), not_taken, live(5, 5), NOON, "frozen")
    changed = next_move(an_intent(direction), not_taken, live(5, 15), NOON)

    assert free == Move(Step.SEND, "raising the share", (DOMAIN_A, DOMAIN_B))
    assert forbidden == Move(Step.FAILED, "withheld: frozen", never_sent=True)
    assert changed == Move(Step.FAILED, "the weights were changed before it was sent")


@pytest.mark.parametrize("direction", UPWARD)
@pytest.mark.parametrize("delivery", [Delivery.UNSENT, Delivery.BUSY, Delivery.RUNNING, Delivery.UNKNOWN])
def test_a_climb_not_in_force_by_its_deadline_fails(direction: Direction, delivery: Delivery) -> None:
    move = next_move(an_intent(direction), calls(delivery, delivery), live(5, 5), LATE)

    never_sent = delivery in {Delivery.UNSENT, Delivery.BUSY}
    assert move == Move(Step.FAILED, "not in force by its deadline: no answer", never_sent=never_sent)


@pytest.mark.parametrize("direction", UPWARD)
@pytest.mark.parametrize(
    ("delivery", "now"),
    [(Delivery.REFUSED, NOON), (Delivery.FAILED, NOON), (Delivery.WITHHELD, NOON), (Delivery.BUSY, LATE)],
)
def test_a_failed_climb_that_was_applied_in_part_must_be_repaired(
    direction: Direction, delivery: Delivery, now: datetime
) -> None:
    half = next_move(an_intent(direction), calls(Delivery.FINISHED, delivery), live(25, 5), now)
    not_at_all = next_move(an_intent(direction), calls(delivery, delivery), live(5, 5), now)

    # What was before new weights for the same share may be a higher share: it is never put back.
    assert (half.step, half.repair) == (Step.FAILED, direction is Direction.CLIMB)
    assert (not_at_all.step, not_at_all.repair) == (Step.FAILED, False)


def after(given_up: Intent, verified: int | None = 5) -> ShiftState:
    """A shift that gave a write up, and verified this share before or since, or none."""
    weights = {} if verified is None else {A: split(verified), B: split(verified)}
    share = float(verified or 0)
    policy = a_policy("lbl-1", steps=(5, 100))
    return ShiftState(name="shop", policy=policy, since=NOON, share=share, weights=weights, abandoned=given_up)


@pytest.mark.parametrize(
    ("shares", "late"),
    [((25, 25), True), ((25, 5), True), ((5, 5), False), ((25, 15), False)],
    ids=["whole", "half", "not at all", "somebody else"],
)
def test_what_landed_of_an_intent_that_was_given_up_is_known_as_ours(shares: tuple[int, int], late: bool) -> None:  # noqa: FBT001 - a row of the table
    assert landed_late(after(an_intent()), live(*shares), NOON) is late


LONG_AFTER = DEADLINE + timedelta(days=1)


@pytest.mark.parametrize(
    ("shares", "verified", "late"),
    [
        ((25, 25), 5, True),
        ((25, 5), 5, True),
        ((25, 0), 0, True),
        ((25, 25), None, True),
        ((25, 5), None, True),
        ((25, 15), 5, False),
        ((25, 5), 0, False),
        ((25, 25), 50, False),
        ((25, 50), 50, False),
    ],
    ids=[
        "whole",
        "half",
        "half, after going back",
        "nothing was verified",
        "half, nothing was verified",
        "somebody else",
        "what was before is not verified any more",
        "somebody may have gone back",
        "somebody may have gone back on a route",
    ],
)
def test_routes_exactly_as_a_write_that_was_given_up_asked_are_ours_however_late_it_is_if_they_are_too_high(
    shares: tuple[int, int],
    verified: int | None,
    late: bool,  # noqa: FBT001 - a row of the table
) -> None:
    assert landed_late(after(an_intent(), verified), live(*shares), LONG_AFTER) is late


def test_a_part_of_a_routes_weights_is_known_as_ours_for_a_short_while_only() -> None:
    half = {A: a_view(A, split(5) | {"new": 25}), B: a_view(B, split(5))}
    a_minute_after = DEADLINE + timedelta(minutes=1)

    assert landed_late(after(an_intent()), half, a_minute_after - timedelta(seconds=1))
    assert not landed_late(after(an_intent()), half, a_minute_after)


def test_what_landed_late_explains_nothing_of_a_route_that_it_does_not_name() -> None:
    only_a = an_intent().model_copy(update={"before": {A: split(5)}, "weights": {A: split(25)}})
    gave_up = after(only_a)

    assert landed_late(gave_up, live(25, 5), NOON)
    assert not landed_late(gave_up, live(25, 60), NOON)


def test_what_landed_is_not_known_while_a_route_is_not_seen() -> None:
    assert not landed_late(after(an_intent()), {A: a_view(A, split(25))}, NOON)


def test_a_write_that_nobody_took_is_not_taken_for_the_one_that_lands_late() -> None:
    earlier = an_intent()
    later = an_intent().model_copy(update={"sequence": earlier.sequence + 1})
    shift = ShiftState(name="shop", policy=a_policy("lbl-1", steps=(5, 100)), since=NOON, abandoned=earlier)
    busy, unknown = (calls(delivery, delivery) for delivery in (Delivery.BUSY, Delivery.UNKNOWN))
    withheld = next_move(later, busy, live(5, 5), NOON, "frozen")
    given_up = next_move(later, unknown, live(5, 5), LATE)
    half = next_move(later, calls(Delivery.FINISHED, Delivery.WITHHELD), live(25, 5), NOON)

    assert failed(shift, later, withheld, 1, NOON).abandoned == earlier
    assert failed(shift, later, given_up, 1, NOON).abandoned == later
    assert failed(shift, later, half, 1, NOON).abandoned == later


def test_a_write_that_was_sent_twice_may_land_once_more_after_it_is_done() -> None:
    shift = ShiftState(name="shop", policy=a_policy("lbl-1", steps=(5, 100)), since=NOON)
    once, twice = an_intent(), an_intent().model_copy(update={"sends": 2})

    assert done(shift, once, live(25, 25), NOON).abandoned is None
    assert done(shift, twice, live(25, 25), NOON).abandoned == twice


@pytest.mark.parametrize("direction", UPWARD)
def test_a_weight_that_is_neither_of_before_nor_intended_is_drift_and_not_repaired(direction: Direction) -> None:
    somebody = {A: a_view(A, split(25)), B: a_view(B, split(50))}
    move = next_move(an_intent(direction), calls(Delivery.FINISHED, Delivery.REFUSED), somebody, NOON)

    assert (move.step, move.repair) == (Step.FAILED, False)


def test_a_member_that_came_meanwhile_is_no_reason_not_to_repair() -> None:
    half = live(25, 5) | {A: a_view(A, split(25) | {"new2": 9})}
    move = next_move(an_intent(), calls(Delivery.FINISHED, Delivery.REFUSED), half, NOON)

    assert (move.step, move.repair) == (Step.FAILED, True)


def test_a_retreat_refused_half_way_is_never_repaired_back_up() -> None:
    retreat = an_intent(Direction.RETREAT, 25, 0)
    move = next_move(retreat, calls(Delivery.FINISHED, Delivery.REFUSED), live(0, 25), NOON)

    assert (move.step, move.repair) == (Step.FAILED, False)


def test_live_weights_match_when_every_member_still_there_has_its_own() -> None:
    assert matches({A: split(25)}, live(25, 5))
    assert not matches({A: split(25), B: split(25)}, live(25, 5))


def test_members_that_came_or_went_are_membership_and_no_mismatch() -> None:
    assert matches({A: {"old": 75, "new": 25, "gone": 9}}, live(25, 0))
    assert matches({A: {"old": 75}}, live(25, 0))


def test_a_done_intent_is_the_new_verified_share() -> None:
    before = a_shift(share=5, intent=an_intent(), setback=Setback(reason="busy", at=NOON, count=2))
    state = done(before, an_intent(), live(25, 25), LATE)

    assert (state.share, state.verified_at, state.intent, state.setback) == (25, LATE, None, None)
    assert state.weights == {A: split(25), B: split(25)}
    assert (state.phase, state.since) == (Phase.SHIFTING, NOON)


def test_of_a_route_that_an_intent_does_not_name_what_was_verified_before_stays_so() -> None:
    only_a = an_intent().model_copy(update={"before": {A: split(5)}, "weights": {A: split(25)}})
    state = done(a_shift(share=5, intent=only_a, weights={A: split(5), B: split(5)}), only_a, live(25, 60), LATE)
    first = done(a_shift(share=0, intent=only_a, weights={}), only_a, live(25, 60), LATE)

    assert state.weights == {A: split(25), B: split(5)}
    assert first.weights == {A: split(25), B: split(60)}


@pytest.mark.parametrize(
    ("phase", "to_share", "after", "since"),
    [
        (Phase.ROLLING_BACK, 0, Phase.ROLLED_BACK, LATE),
        (Phase.ROLLING_BACK, 5, Phase.ROLLING_BACK, NOON),
        (Phase.SHIFTING, 0, Phase.SHIFTING, NOON),
        (Phase.ROLLED_BACK, 0, Phase.ROLLED_BACK, NOON),
    ],
)
def test_only_a_rollback_that_reached_0_has_settled(phase: Phase, to_share: int, after: Phase, since: datetime) -> None:
    retreat = an_intent(Direction.RETREAT, 25, to_share)
    state = done(a_shift(phase=phase, intent=retreat), retreat, live(to_share, to_share), LATE)

    assert (state.phase, state.since) == (after, since)


def test_a_failed_intent_without_a_mixture_is_closed_and_counted() -> None:
    state = failed(a_shift(intent=an_intent()), an_intent(), Move(Step.FAILED, "busy"), 9, LATE)
    again = failed(state, an_intent(), Move(Step.FAILED, "busy still"), 9, LATE)

    assert (state.intent, state.sequence) == (None, 4)
    assert state.setback == Setback(reason="busy", at=LATE, count=1)
    assert again.setback == Setback(reason="busy still", at=LATE, count=2)


def test_a_half_applied_intent_is_followed_by_a_retreat_to_the_weights_before() -> None:
    state = failed(a_shift(intent=an_intent()), an_intent(), Move(Step.FAILED, "busy", repair=True), 9, LATE)

    assert state.intent == Intent(
        sequence=5,
        epoch=9,
        direction=Direction.RETREAT,
        from_share=25,
        to_share=5,
        reason="half applied, repairing toward tcm: busy",
        by="shifter",
        created_at=LATE,
        deadline=LATE + timedelta(seconds=60),
        before={A: split(25), B: split(25)},
        weights={A: split(5), B: split(5)},
    )
    assert state.sequence == 5


@pytest.mark.parametrize(("count", "ticks"), [(1, 2), (2, 4), (6, 64), (7, 64), (1000, 64)])
def test_each_setback_doubles_the_wait_up_to_a_limit(count: int, ticks: int) -> None:
    due = next_try(Setback(reason="busy", at=NOON, count=count), timedelta(seconds=5))

    assert due == NOON + timedelta(seconds=5 * ticks)


def a_shift(**changes: object) -> ShiftState:
    fields: dict[str, object] = {
        "name": "shop",
        "policy": a_policy("lbl-1", steps=(5, 100)),
        "phase": Phase.SHIFTING,
        "since": NOON,
        "share": 5.0,
        "sequence": 4,
        "failure": Failure(reason="", share=25, at=NOON),
    }
    return ShiftState.model_validate(fields | changes)


upward_or_back = st.sampled_from(Direction)
deliveries = st.tuples(st.sampled_from(Delivery), st.sampled_from(Delivery))
percents = st.tuples(st.sampled_from([0, 5, 25]), st.sampled_from([0, 5, 25]))


@given(upward_or_back, deliveries, percents, st.sampled_from([NOON, LATE]), st.sampled_from(["", "frozen"]))
def test_a_move_is_done_only_if_read_back_and_sends_only_what_is_missing(
    direction: Direction, delivered: tuple[Delivery, Delivery], shares: tuple[int, int], now: datetime, forbidden: str
) -> None:
    move = next_move(an_intent(direction), calls(*delivered), live(*shares), now, forbidden)
    missing = {domain for domain, share in zip((DOMAIN_A, DOMAIN_B), shares, strict=True) if share != 25}

    assert move.step is not Step.DONE or not missing
    assert (move.step is Step.SEND) == bool(move.domains)
    assert set(move.domains) <= missing or (direction is Direction.RETREAT and not missing)
    assert not (move.step is Step.SEND and forbidden and direction is not Direction.RETREAT)
    assert not move.repair or (move.step is Step.FAILED and direction is not Direction.RETREAT)


def test_a_decided_write_is_journalled_whole_with_its_deadline() -> None:
    decided = Write(
        direction=Direction.CLIMB,
        from_share=5,
        to_share=25,
        before={A: split(5), B: split(5)},
        weights={A: split(25), B: split(25)},
        reason="why not",
        by="shifter",
    )

    assert decided.intent(4, 2, NOON, timedelta(seconds=60)) == an_intent()


def test_the_journal_keeps_that_a_person_ordered_a_write() -> None:
    plain = an_intent()
    decided = Write(
        direction=plain.direction,
        from_share=plain.from_share,
        to_share=plain.to_share,
        before=plain.before,
        weights=plain.weights,
        reason=plain.reason,
        by="ann",
        promoted=True,
        override=True,
    )
    intent = decided.intent(4, 2, NOON, timedelta(seconds=60))

    assert (intent.by, intent.promoted, intent.override) == ("ann", True, True)
