"""What did the source have when it carried everything, what of it is left, and how much goes back onto that?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.analysis.verdicts import Assessment, Verdict
from shifter.core.balancing.splits import FULL_PERCENT, Health, RouteView
from shifter.core.deciding import journal
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.capacity import (
    PODS,
    REPLICAS,
    Sighting,
    cold,
    could_carry,
    counted,
    lines,
    lowest_share,
    recorded,
)
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Decision, Kind
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.deciding.pinning import GATEWAY, Workload
from shifter.core.deciding.stages import limits, retreating
from shifter.core.phases import Phase
from shifter.core.state import Ceiling, Direction, Failure, Pause, ShiftState, WayBack
from tests.core.shifts import (
    BAD,
    DEAD,
    EARLIER,
    GOOD,
    NOON,
    A,
    B,
    a_policy,
    a_shift,
    an_intent,
    an_order,
    kinds,
    live,
    new,
    old,
    seen,
    weights,
    written,
)
from tests.core.shifts import (
    counted as counted_fields,
)

TICK = timedelta(seconds=5)


def had(number: int, left: int, what: str = PODS) -> WayBack:
    return WayBack(at=EARLIER, had={what: number}, left={what: left})


def keeping(percent: float) -> dict[str, object]:
    """A policy by which so much of the source carries everything."""
    policy = a_policy("a", "b")
    rules = policy.spec.way_back.model_copy(update={"keep_percent": percent})
    return {"policy": policy.model_copy(update={"spec": policy.spec.model_copy(update={"way_back": rules})})}


def short(left: int = 1, share: int = 95, phase: Phase = Phase.SHIFTING, **changes: object) -> ShiftState:
    """A shift whose source had four pods and has `left`, of which two would carry everything."""
    return a_shift(phase, share, **{"way_back": had(4, left), **changes})


def pods(left: int, share: int = 95, **changes: object) -> Evidence:
    return replace(seen(share), source={PODS: left}, **changes)  # type: ignore[arg-type]


# ---- what is believed of it --------------------------------------------------------------------------------------


def looked(*looks: int | None, what: str = PODS) -> int | None:
    sighting = Sighting()
    for number in looks:
        sighting = sighting.look({} if number is None else {what: number})
    return sighting.believed.get(what)


@pytest.mark.parametrize(
    ("looks", "believed"),
    [
        ((), None),
        ((4,), 4),
        ((4, 1), 4),
        ((4, 1, 1), 1),
        ((4, 1, 2), 2),
        ((3, 2, 2), 2),
        ((2, 3, 3), 3),
        ((4, 2, 1), 2),
        ((4, 1, 4, 1, 4), 4),
        ((1, 4), 1),
        ((1, 4, 3), 3),
        ((2, 4, 1, 4, 1), 2),
        ((4, 1, None, 1), 4),
        ((4, 1, None, 1, 1), 1),
        ((4, None, None), 4),
        ((0,), None),
        ((0, 0), 0),
        ((0, 3), 3),
        ((4, 0), 4),
        ((4, 0, 0), 0),
    ],
)
def test_a_number_is_believed_once_two_looks_in_a_row_agree_that_it_changed(
    looks: tuple[int | None, ...], believed: int | None
) -> None:
    assert looked(*looks) == believed


def test_a_route_that_is_the_policys_no_more_is_forgotten_and_unread_routes_are_not() -> None:
    before = Sighting().look(counted(live(25), 4))
    unread = before.look(counted(None, 4))
    edited = before.look(counted({A.id: live(25)[A.id]}, 4))

    assert before.believed == {f"healthy members on {A.id}": 1, f"healthy members on {B.id}": 1, PODS: 4}
    assert unread.believed == before.believed
    assert edited.believed == {f"healthy members on {A.id}": 1, PODS: 4}


@pytest.mark.parametrize(
    ("health", "shown"),
    [(Health.ALIVE, None), (Health.UNCHECKED, None), (Health.DEAD, 0)],
)
def test_no_pod_at_all_is_believed_only_if_the_balancer_sends_to_none_either(health: Health, shown: int | None) -> None:
    assert counted(live((old(75, health), new(25))), 0).get(PODS) == shown


def test_a_single_pod_is_counted() -> None:
    assert counted(live(25), 1).get(PODS) == 1


def test_nobody_knowing_is_no_number() -> None:
    assert counted(None, None) == {}
    assert counted(None, 0) == {}
    assert counted(None, None, {GATEWAY: Workload(0, None)}) == {REPLICAS: 0}


# ---- what it could carry -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "left", "carries", "lowest"),
    [
        (50, 4, 100, 0),
        (50, 2, 100, 0),
        (50, 1, 50, 50),
        (50, 0, 0, 100),
        (100, 3, 75, 25),
        (75, 1, 100 / 3, 66),
        (50, 9, 100, 0),
        (0, 0, 100, 0),
    ],
)
def test_a_part_of_what_carries_everything_carries_that_part_of_the_traffic(
    keep: float, left: int, carries: float, lowest: float
) -> None:
    state = a_shift(way_back=had(4, left)).model_copy(update=keeping(keep))

    assert could_carry(state) == pytest.approx(carries)
    assert lowest_share(state) == lowest


def test_the_scarcest_counts_and_is_named() -> None:
    numbers = {PODS: 4, "healthy members on r": 6, REPLICAS: 4}
    way_back = WayBack(at=EARLIER, had=numbers, left={**numbers, "healthy members on r": 1})

    assert cold(a_shift(way_back=way_back)) == (
        "tcm has 1 of the 6 healthy members on r that carried everything; it could take back about 33 %: scale its"
        " gateway up, and raise its autoscaler's floor"
    )
    assert lines(way_back) == ["4 gateway pods", "1 of 6 healthy members on r", "4 ready replicas"]


def test_the_scarcest_is_that_of_which_the_smallest_part_is_left_however_many_those_are() -> None:
    way_back = WayBack(at=EARLIER, had={PODS: 2, REPLICAS: 10}, left={PODS: 1, REPLICAS: 3})

    assert cold(a_shift(way_back=way_back)).startswith("tcm has 3 of the 10 ready replicas")


def test_a_record_of_nothing_holds_nothing_against_the_source() -> None:
    assert could_carry(a_shift(way_back=WayBack(at=EARLIER, had={}, left={}))) == FULL_PERCENT


def test_nothing_is_held_against_a_source_that_nobody_recorded() -> None:
    state = a_shift(way_back=None)

    assert (cold(state), lowest_share(state)) == ("", 0)
    assert recorded({}, NOON, None) is None
    assert recorded({PODS: 0}, NOON, had(4, 4)) == had(4, 4)


# ---- the record --------------------------------------------------------------------------------------------------


def test_what_the_source_has_is_recorded_with_the_first_step() -> None:
    decision = decide(a_shift(Phase.WAITING, 0), pods(4, 0), NOON)

    assert written(decision) == (Direction.CLIMB, 5)
    assert decision.state.way_back == WayBack(at=NOON, had={PODS: 4}, left={PODS: 4})


def test_a_first_step_that_is_tried_again_records_what_the_source_has_then() -> None:
    decision = decide(a_shift(Phase.SHIFTING, 0, way_back=had(4, 4)), pods(2, 0), NOON)

    assert written(decision) == (Direction.CLIMB, 5)
    assert decision.state.way_back == WayBack(at=NOON, had={PODS: 2}, left={PODS: 2})


def test_before_the_first_look_the_members_that_are_seen_are_recorded() -> None:
    decision = decide(a_shift(Phase.WAITING, 0), seen(0), NOON)

    assert decision.state.way_back is not None
    assert set(decision.state.way_back.had) == {f"healthy members on {A.id}", f"healthy members on {B.id}"}


def test_later_steps_leave_the_record_alone_but_for_what_is_left() -> None:
    decision = decide(a_shift(way_back=had(4, 4)), pods(3, 25), NOON)

    assert written(decision) == (Direction.CLIMB, 100)
    assert decision.state.way_back == had(4, 3)


def test_what_nobody_knows_of_is_as_it_was() -> None:
    decision = decide(short(1), seen(95), NOON)

    assert kinds(decision) == {HoldKind.COLD_SOURCE}
    assert decision.state.way_back == had(4, 1)


def test_before_the_first_step_nothing_is_kept_of_what_the_source_had() -> None:
    waiting = a_shift(Phase.WAITING, 0, way_back=had(4, 1), paused=Pause(by="ann", reason="", at=EARLIER))

    assert decide(waiting, pods(1, 0), NOON).state.way_back is None


def test_a_retry_forgets_what_the_source_had() -> None:
    back = a_shift(Phase.ROLLED_BACK, 0, way_back=had(4, 1))
    retried = decide(back, seen(0, GOOD, an_order(Verb.RETRY)), NOON).state

    assert decide(back, seen(0), NOON).state.way_back == had(4, 1)
    assert decide(retried.model_copy(update={"paused": None}), seen(0), NOON).state.way_back != had(4, 1)


# ---- the hold ----------------------------------------------------------------------------------------------------


def test_a_source_that_could_not_take_everything_back_stops_the_climb_and_says_how_much_it_could() -> None:
    decision = decide(short(share=25, left=4), pods(1, 25), NOON)

    assert (written(decision), kinds(decision)) == (None, {HoldKind.COLD_SOURCE})
    assert decision.reason == (
        "holding: cold source: tcm has 1 of the 4 gateway pods that carried everything; it could take back about 50 %:"
        " scale its gateway up, and raise its autoscaler's floor"
    )


def test_a_climb_that_was_not_sent_yet_is_withheld_from_a_source_that_turned_short() -> None:
    first = a_shift(Phase.SHIFTING, 0, intent=an_intent(Direction.CLIMB, 0, 5), way_back=had(4, 4))
    decision = decide(first, pods(1, 0), NOON)

    assert kinds(decision) == {HoldKind.COLD_SOURCE}


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.ROLLED_BACK])
def test_at_0_percent_there_is_nothing_to_take_back(phase: Phase) -> None:
    decision = decide(short(1, 0, phase), pods(1, 0), NOON)

    assert HoldKind.COLD_SOURCE not in kinds(decision)


@pytest.mark.parametrize(
    ("share", "to_share", "is_told"), [(0, None, False), (1, None, True), (0, 0, False), (0, 1, True)]
)
def test_a_short_source_is_told_as_soon_as_anything_is_out_or_on_its_way_out(
    share: int, to_share: int | None, *, is_told: bool
) -> None:
    intent = None if to_share is None else an_intent(Direction.RETREAT, 5, to_share)

    assert bool(cold(short(1, share, intent=intent))) is is_told


def test_of_a_completed_shift_the_source_is_nobodys_concern() -> None:
    decision = decide(short(1, 100, Phase.COMPLETED), pods(1, 100), NOON)

    assert decision.holds == ()


def test_no_healthy_member_is_said_instead_of_how_many_there_were() -> None:
    views = live((old(5, DEAD), new(95)))
    decision = decide(short(1), pods(1, views=views), NOON)

    (hold,) = decision.holds
    assert hold.kind is HoldKind.COLD_SOURCE
    assert hold.reason.startswith("tcm has no healthy member left on")


def test_a_share_that_rose_by_itself_is_brought_back_also_onto_a_short_source() -> None:
    others = (old(75, DEAD, "old2"), old(75, DEAD, "old3"), old(75), new(25))
    shares = {route.id: {"old": 75, "old2": 75, "old3": 75, "new": 25} for route in (A, B)}
    state = a_shift(weights=shares, way_back=had(4, 1), share=10)
    decision = decide(state, pods(1, 10, views=live(others)), NOON)

    assert written(decision) == (Direction.RETREAT, 10)


def test_where_nobody_is_left_on_the_source_nothing_is_brought_back() -> None:
    gone = (old(75, DEAD), new(25))
    decision = decide(short(4, 25), pods(4, 25, views=live(gone, (old(75), new(25)))), NOON)

    assert (written(decision), kinds(decision)) == (None, {HoldKind.COLD_SOURCE})


# ---- going back in stages ----------------------------------------------------------------------------------------


def failing(share: int, left: int, **changes: object) -> Evidence:
    return replace(seen(share), **{**counted_fields(BAD, share), "source": {PODS: left}, **changes})  # type: ignore[arg-type]


def test_a_rollback_onto_a_short_source_goes_as_far_as_that_can_carry() -> None:
    decision = decide(short(), failing(95, 1), NOON)

    assert written(decision) == (Direction.RETREAT, 50)
    assert decision.state.phase is Phase.ROLLING_BACK
    assert decision.reason.endswith(
        "; tcm has 1 of the 4 gateway pods that carried everything; it could take back about 50 %, and so it goes to"
        " 50 % for now: scale tcm's gateway up; `shifter rollback shop --override` sends everything back at once"
    )


def test_a_stage_rests_for_a_tick_after_it_was_read_back() -> None:
    at_75 = short(2, 75, Phase.ROLLING_BACK, way_back=had(8, 2), verified_at=NOON, since=EARLIER)
    grown = replace(seen(75), source={PODS: 2})
    rests = decide(at_75, grown, NOON + TICK / 2)

    assert written(rests) is None
    assert rests.reason.endswith(
        "; tcm has 2 of the 8 gateway pods that carried everything; it could take back about 50 %, and so it goes back"
        " in stages: scale tcm's gateway up; `shifter rollback shop --override` sends everything back at once"
    )
    assert written(decide(at_75, grown, NOON + TICK)) == (Direction.RETREAT, 50)


def test_the_next_stage_follows_when_the_source_can_carry_more() -> None:
    at_75 = short(1, 75, Phase.ROLLING_BACK, way_back=had(8, 1), verified_at=NOON, since=EARLIER)
    waits = decide(at_75, replace(seen(75), source={PODS: 1}), NOON + TICK)
    goes_on = decide(at_75, replace(seen(75), source={PODS: 2}), NOON + TICK)
    ends = decide(at_75, replace(seen(75), source={PODS: 4}), NOON + TICK / 2)

    assert written(waits) is None
    assert "and it carries no less now: scale tcm's gateway up; `shifter rollback shop --override`" in waits.reason
    assert written(goes_on) == (Direction.RETREAT, 50)
    assert written(ends) == (Direction.RETREAT, 0)


def test_a_stage_under_way_is_waited_for_and_overtaken_only_by_going_all_the_way() -> None:
    stage = short(1, 95, Phase.ROLLING_BACK, intent=an_intent(Direction.RETREAT, 95, 50))
    waits = decide(stage, pods(1), NOON)

    assert written(waits) is None
    assert waits.reason.endswith("could take back about 50 %, and so it goes back in stages")
    assert written(decide(stage, pods(4), NOON)) == (Direction.RETREAT, 0)


@pytest.mark.parametrize(("lowest", "waits"), [(0, False), (1, True)])
def test_a_stage_under_way_is_waited_for_as_soon_as_the_source_lacks_anything(lowest: float, *, waits: bool) -> None:
    state = short(1, 95, Phase.ROLLING_BACK, intent=an_intent(Direction.RETREAT, 95, 50))
    back = Decision(Kind.ROLLBACK, "rolling back", state, Assessment(Verdict.FAIL, "errors"))

    assert (retreating(back, live(95), lowest) is not None) is waits


def test_a_stage_replaces_a_climb_that_may_still_land_without_asking_for_more() -> None:
    climbing = short(1, 25, intent=an_intent(Direction.CLIMB, 25, 95))
    decision = decide(climbing, replace(failing(25, 1), views=live(25)), NOON)
    landed = decide(climbing, replace(failing(25, 1), views=live(95, 25)), NOON)

    assert written(decision) == (Direction.RETREAT, 25)
    assert written(landed) == (Direction.RETREAT, 50)
    assert landed.write is not None
    assert list(landed.write.weights) == [A.id]


def test_a_share_that_is_0_already_is_made_certain_whatever_the_source_has() -> None:
    dead = live((old(75), new(25, DEAD)))
    decision = decide(short(1, 25, Phase.ROLLING_BACK), pods(1, 25, views=dead), NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_from_a_dead_target_everything_goes_back_at_once() -> None:
    gone = live((old(5), new(95, DEAD)))
    unseen = decide(short(), pods(1, views=gone, target_unseen=True, signal_problem="istio: no pod"), NOON)

    assert written(unseen) == (Direction.RETREAT, 0)
    assert unseen.state.failure is not None
    assert unseen.state.failure.at_once
    later = unseen.state.model_copy(update={"share": 95.0})
    assert written(decide(later, pods(1), NOON)) == (Direction.RETREAT, 0)


def test_where_all_members_of_both_are_dead_the_balancer_sends_by_weight_and_nothing_is_spared() -> None:
    gone = live((old(5, DEAD), new(95, DEAD)))
    decision = decide(short(0, 95, Phase.ROLLING_BACK), pods(0, views=gone), NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_after_the_rollback_a_write_that_landed_late_is_brought_back_in_one_go() -> None:
    late = an_intent(Direction.CLIMB, 5, 25).model_copy(update={"deadline": NOON + 2 * TICK})
    state = short(1, 0, Phase.ROLLED_BACK, abandoned=late)
    decision = decide(state, pods(1, 25), NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_a_step_back_goes_as_far_as_the_source_can_carry() -> None:
    steps_back = a_policy("a", "b", steps=(5, 25, 95, 100), on_failure="stepBack")
    decision = decide(short(policy=steps_back), failing(95, 1), NOON)
    ceiling = Ceiling(share=30, reason="errors", at=EARLIER)
    owed = short(1, 30, policy=steps_back, ceiling=ceiling, weights=weights(30))
    waits = decide(owed, replace(seen(30), source={PODS: 1}), NOON)
    gone = decide(owed, replace(seen(30), source={PODS: 1}, views=live((old(70), new(30, DEAD)))), NOON)

    assert written(decision) == (Direction.RETREAT, 50)
    assert "could take back about 50 %, and so it goes to 50 % for now" in decision.reason
    assert (written(waits), waits.state.verified_at) == (None, EARLIER)
    assert waits.reason.startswith("stepping back to 25 %: errors; tcm has 1 of the 4 gateway pods")
    assert gone.reason == "stepping back to 25 %: errors"


# ---- what people are told ----------------------------------------------------------------------------------------


def answered(decision: Decision) -> tuple[Answer, str]:
    (answer,) = decision.answers
    return answer.answer, answer.text


def test_who_orders_a_rollback_onto_a_short_source_is_told_that_it_goes_in_stages() -> None:
    decision = decide(short(), replace(pods(1), orders=[an_order(Verb.ROLLBACK)]), NOON)

    assert written(decision) == (Direction.RETREAT, 50)
    assert answered(decision) == (
        Answer.ACCEPTED,
        (
            "rolling back to 0 %; in stages: tcm has 1 of the 4 gateway pods that carried everything; it could take"
            " back about 50 %"
        ),
    )


def test_override_sends_everything_back_at_once() -> None:
    decision = decide(short(), replace(pods(1), orders=[an_order(Verb.ROLLBACK, override=True)]), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert answered(decision) == (Answer.ACCEPTED, "rolling back to 0 % at once")


def test_override_ends_the_stages_of_a_rollback_under_way() -> None:
    staged = short(1, 50, Phase.ROLLING_BACK, intent=an_intent(Direction.RETREAT, 95, 50))
    decision = decide(staged, replace(pods(1, 50), orders=[an_order(Verb.ROLLBACK, override=True)]), NOON)
    again = decide(decision.state, replace(pods(1, 50), orders=[an_order(Verb.ROLLBACK, order_id=2)]), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert answered(decision) == (
        Answer.ACCEPTED,
        "it is rolling back already; from now on at once, not in stages",
    )
    assert answered(again) == (Answer.ACCEPTED, "it is rolling back already")


def test_who_orders_a_rollback_onto_a_drained_source_is_told_that_nothing_is_written() -> None:
    views = live((old(5, DEAD), new(95)))
    decision = decide(short(4), replace(pods(4, views=views), orders=[an_order(Verb.ROLLBACK)]), NOON)

    assert (written(decision), decision.state.phase) == (None, Phase.ROLLING_BACK)
    assert answered(decision) == (
        Answer.ACCEPTED,
        (
            f"rolling back to 0 %; but tcm is drained (it has no healthy member on {A.id}, {B.id}): nothing is written"
            " before its gateway is back"
        ),
    )


def test_a_source_without_any_pod_takes_nothing_back_but_by_override() -> None:
    views = live((old(5, Health.UNCHECKED), new(95)))
    nobody = pods(0, views=views)
    waits = decide(short(0), replace(nobody, orders=[an_order(Verb.ROLLBACK)]), NOON)
    goes = decide(short(0), replace(nobody, orders=[an_order(Verb.ROLLBACK, override=True)]), NOON)

    assert written(waits) is None
    assert "tcm has 0 of the 4 gateway pods that carried everything; nothing could be taken back" in waits.reason
    assert "but tcm is drained" in answered(waits)[1]
    assert written(goes) == (Direction.RETREAT, 0)


def test_nothing_is_written_in_the_way_of_a_climb_that_would_take_a_drained_sources_weights_away() -> None:
    views = live((old(50, DEAD), new(50)))
    climbing = short(0, 50, Phase.ROLLING_BACK, intent=an_intent(Direction.CLIMB, 50, 100))
    decision = decide(climbing, pods(0, 50, views=views), NOON)

    assert written(decision) is None
    assert decision.reason.endswith("`shifter rollback shop --override` sends everything back at once")


def test_a_completed_shift_is_not_sent_back_to_a_source_that_was_drained() -> None:
    views = live((old(0, DEAD), new(100)))
    state = a_shift(Phase.COMPLETED, 100, last_order=3)
    decision = decide(state, replace(seen(100), views=views, orders=[an_order(Verb.ROLLBACK, 4, override=True)]), NOON)

    assert (written(decision), decision.state.phase, decision.state.last_order) == (None, Phase.COMPLETED, 4)
    assert answered(decision) == (
        Answer.REFUSED,
        (
            f"tcm is drained, there is nothing to go back to: it has no healthy member on {A.id}, {B.id}; scale its"
            " gateway up, then roll back"
        ),
    )


def test_an_order_that_is_refused_at_once_keeps_no_later_one_from_being_obeyed() -> None:
    views = live((old(0, DEAD), new(100)))
    orders = (an_order(Verb.ROLLBACK, 1), an_order(Verb.PAUSE, 2))
    decision = decide(a_shift(Phase.COMPLETED, 100), replace(seen(100), views=views, orders=orders), NOON)

    assert [answer.answer for answer in decision.answers] == [Answer.REFUSED, Answer.ACCEPTED]
    assert decision.state.paused is not None


def test_a_completed_shift_goes_back_in_stages_to_a_source_that_was_scaled_down() -> None:
    state = short(1, 100, Phase.COMPLETED)
    decision = decide(state, replace(pods(1, 100), orders=[an_order(Verb.ROLLBACK)]), NOON)

    assert written(decision) == (Direction.RETREAT, 50)


def test_who_overrides_sends_a_completed_shift_back_even_to_a_source_without_any_pod() -> None:
    state, nobody = short(0, 100, Phase.COMPLETED), pods(0, 100)
    refused = decide(state, replace(nobody, orders=[an_order(Verb.ROLLBACK)]), NOON)
    taken = decide(state, replace(nobody, orders=[an_order(Verb.ROLLBACK, override=True)]), NOON)

    assert (written(refused), answered(refused)[0]) == (None, Answer.REFUSED)
    assert written(taken) == (Direction.RETREAT, 1)
    assert answered(taken) == (Answer.ACCEPTED, "rolling back to 0 % at once")


def test_where_the_targets_members_are_dead_as_well_a_source_without_a_healthy_member_is_no_drained_one() -> None:
    views = live((old(5, DEAD), new(95, DEAD)))
    decision = decide(short(4), replace(pods(4, views=views), orders=[an_order(Verb.ROLLBACK)]), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert answered(decision) == (Answer.ACCEPTED, "rolling back to 0 %")


@pytest.mark.parametrize(
    ("verb", "share", "said"),
    [(Verb.ROLLBACK, 1, "; in stages: tcm has"), (Verb.ROLLBACK, 0, ""), (Verb.PAUSE, 50, "")],
)
def test_limits_are_told_to_whoever_takes_anything_back(verb: Verb, share: int, said: str) -> None:
    state = short(1, share, Phase.ROLLING_BACK)

    assert limits(state, an_order(verb), pods(1, share))[: len(said) or None] == said
    assert limits(state.model_copy(update={"failure": None}), an_order(verb), pods(1, share)) == ""


# ---- whatever happens --------------------------------------------------------------------------------------------


def in_force(decision: Decision, views: Mapping[str, RouteView], now: object) -> ShiftState:
    """The state once the decision's write was read back, as the journal has it."""
    assert decision.write is not None
    intent = decision.write.intent(decision.state.sequence + 1, 1, NOON, timedelta(minutes=1))
    assert intent.created_at <= now  # type: ignore[operator]
    return journal.done(decision.state, intent, views, now)  # type: ignore[arg-type]


@given(
    st.integers(1, 100),
    st.sampled_from([25.0, 50.0, 100.0]),
    st.lists(st.integers(0, 8), min_size=1, max_size=12),
)
def test_a_staged_rollback_never_rises_never_asks_for_too_much_and_ends_with_the_capacity(
    share: int, keep: float, looks: list[int]
) -> None:
    state = a_shift(
        Phase.ROLLING_BACK,
        share,
        way_back=had(8, 8),
        failure=Failure(reason="errors", share=share, at=EARLIER),
        **keeping(keep),
    )
    now, live_share, lowest_before = NOON, share, float(share)
    for left in [*looks, 8, 8]:
        now += TICK
        evidence = replace(seen(live_share), views=live(live_share), source={PODS: left})
        decision = decide(state, evidence, now)
        state = decision.state
        if decision.write is None:
            continue
        carried = FULL_PERCENT - decision.write.to_share
        # Whole percent: what is rounded off is less than one.
        assert carried < could_carry(state) + 1 or decision.write.to_share == 0 == lowest_share(state)
        assert decision.write.to_share <= lowest_before
        lowest_before, live_share = decision.write.to_share, int(decision.write.to_share)
        state = in_force(decision, live(live_share), now)

    assert (state.phase, state.share) == (Phase.ROLLED_BACK, 0)
