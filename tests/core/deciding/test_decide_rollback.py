"""What is to be done about a shift? Going back: what starts it, what it passes, and when it has arrived."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shifter.core.analysis.verdicts import Verdict
from shifter.core.balancing.splits import Member
from shifter.core.counts.evidence import Counts, Ledger
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Kind
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Verb
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.state import Ceiling, Direction, Setback
from tests.core.shifts import (
    BAD,
    BOTH_BAD,
    DEAD,
    EARLIER,
    GOOD,
    MANY,
    NOON,
    POLICY,
    A,
    B,
    a_policy,
    a_shift,
    an_intent,
    an_order,
    at_times,
    kinds,
    live,
    new,
    old,
    seen,
    ticks,
    weights,
    written,
)


def test_a_failing_target_rolls_back_at_once_and_says_why() -> None:
    decision = decide(a_shift(), seen(25, BAD), NOON)

    assert (written(decision), decision.kind) == ((Direction.RETREAT, 0), Kind.ROLLBACK)
    assert (decision.state.phase, decision.state.since) == (Phase.ROLLING_BACK, NOON)
    assert decision.state.failure is not None
    assert decision.state.failure.share == 25
    assert decision.reason == f"rolling back: {decision.state.failure.reason}"


STEPS_BACK = a_policy("a", "b", on_failure="stepBack")


def test_a_failing_target_whose_policy_says_step_back_goes_one_step_back_and_stays_on_its_way() -> None:
    decision = decide(a_shift(policy=STEPS_BACK), seen(25, BAD), NOON)

    assert (written(decision), decision.kind) == ((Direction.RETREAT, 5), Kind.ROLLBACK)
    assert (decision.state.phase, decision.state.attempt) == (Phase.SHIFTING, 2)
    assert decision.state.ceiling is not None
    assert (decision.state.ceiling.share, decision.state.failure) == (25, None)
    assert decision.reason.startswith("stepping back to 5 %: istio fails 10 %")


def test_a_failing_target_at_the_first_step_goes_all_the_way_back() -> None:
    decision = decide(a_shift(share=5, policy=STEPS_BACK), seen(5, BAD), NOON)

    assert (written(decision), decision.state.phase) == ((Direction.RETREAT, 0), Phase.ROLLING_BACK)


OWED = Ceiling(share=25, reason="errors", at=EARLIER)


def test_a_step_back_that_was_refused_or_lost_is_written_again() -> None:
    setback = Setback(reason="busy", at=NOON, count=6)
    decision = decide(a_shift(policy=STEPS_BACK, ceiling=OWED, setback=setback), seen(), NOON)

    assert written(decision) == (Direction.RETREAT, 5)


def test_a_step_back_under_way_is_not_written_twice_and_takes_the_place_of_a_repair() -> None:
    repair = an_intent(Direction.RETREAT, 100, 25)
    under_way = an_intent(Direction.RETREAT, 25, 5)

    assert written(decide(a_shift(ceiling=OWED, intent=under_way), seen(), NOON)) is None
    assert written(decide(a_shift(ceiling=OWED, intent=repair), seen(), NOON)) == (Direction.RETREAT, 5)


def test_a_step_back_that_somebody_did_by_hand_is_over_and_their_weights_are_not_verified() -> None:
    decision = decide(a_shift(ceiling=OWED), replace(seen(), views=live(5, 3)), NOON)

    assert (written(decision), decision.kind) == (None, Kind.ROLLBACK)
    assert (decision.state.share, decision.state.verified_at) == (3, NOON)
    assert decision.state.weights == weights(25)
    assert (decision.state.phase, decision.state.ceiling) == (Phase.SHIFTING, OWED)
    after = decide(decision.state, replace(seen(3), views=live(5, 3)), NOON)
    assert (written(after), kinds(after)) == (None, {HoldKind.DRIFT})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"provider_problem": "lb-1: throttled"}, "lb-1: throttled"),
        ({"views": None}, "no answer yet"),
        ({"views": None, "provider_problem": "lb-1: busy"}, "lb-1: busy"),
    ],
)
def test_a_step_back_is_not_believed_to_be_over_while_the_provider_does_not_answer(
    changes: dict[str, object], said: str
) -> None:
    evidence = replace(seen(5), **changes)  # type: ignore[arg-type]
    decision = decide(a_shift(ceiling=OWED), evidence, NOON)

    assert (written(decision), decision.state.share) == (None, 25)
    assert decision.reason == f"stepping back to 5 %: errors (waiting: {said})"


def test_a_step_back_is_not_over_while_a_climb_may_still_land() -> None:
    climb = an_intent(Direction.CLIMB, 25, 100)
    decision = decide(a_shift(ceiling=OWED, intent=climb), replace(seen(5), settled_at=None), NOON)

    assert (written(decision), decision.state.share) == (None, 25)
    assert decision.reason == "stepping back to 5 %: errors (waiting: an earlier write is under way)"


SICK = Counts(MANY, MANY / 10)


@pytest.mark.parametrize("on_failure", ["rollback", "stepBack"])
def test_an_incident_of_both_meshes_that_began_right_after_a_step_is_probed_by_one_step_back(on_failure: str) -> None:
    state = a_shift(policy=a_policy("a", "b", on_failure=on_failure))
    decision = decide(state, seen(25, ticks(SICK, SICK, 3)), NOON)

    assert (written(decision), kinds(decision)) == ((Direction.RETREAT, 5), {HoldKind.INCIDENT})
    assert decision.state.ceiling is not None
    assert (decision.state.ceiling.share, decision.state.ceiling.probe) == (25, True)
    assert "it began right after the step to 25 %" in decision.reason


@pytest.mark.parametrize(
    ("ledger", "policy"),
    [
        (BOTH_BAD, POLICY),
        (ticks(SICK, Counts(MANY), 3), POLICY),
        (ticks(SICK, SICK, 3), a_policy("a", "b", on_failure="hold")),
    ],
    ids=["it began later", "only the source", "the policy says hold"],
)
def test_an_incident_that_is_not_the_steps_doing_holds(ledger: Ledger, policy: ShiftPolicy) -> None:
    decision = decide(a_shift(policy=policy), seen(25, ledger), NOON)

    assert (written(decision), kinds(decision)) == (None, {HoldKind.INCIDENT})
    assert (decision.state.phase, decision.state.ceiling) == (Phase.SHIFTING, None)


PROBE = Ceiling(share=25, reason="both meshes fail", at=EARLIER, probe=True)


def below_since_it_began(ledger: Ledger) -> Evidence:
    """At 5 %, in an incident that began above it, if the ledger has one."""
    evidence = seen(5, ledger)
    assert evidence.standing is not None
    sickness = evidence.standing.sickness
    probed = None if sickness is None else replace(sickness, after_ticks=None)
    return replace(evidence, standing=replace(evidence.standing, sickness=probed))


@pytest.mark.parametrize(
    ("ledger", "ceiling", "lifted"),
    [(BOTH_BAD, PROBE, True), (GOOD, PROBE, False), (BOTH_BAD, OWED, False)],
    ids=["it goes on", "it ended", "the target failed by itself"],
)
def test_an_incident_that_goes_on_below_the_step_acquits_it(ledger: Ledger, ceiling: Ceiling, *, lifted: bool) -> None:
    decision = decide(a_shift(share=5, ceiling=ceiling), below_since_it_began(ledger), NOON)

    assert (decision.state.ceiling is None) is lifted
    assert written(decision) is None
    assert (HoldKind.INCIDENT in kinds(decision), HoldKind.STEPPED_BACK in kinds(decision)) == (
        ledger is BOTH_BAD,
        not lifted,
    )


def test_nothing_is_acquitted_right_after_the_step_back_or_unseen() -> None:
    just_now = below_since_it_began(ticks(SICK, SICK, 3))
    unseen = replace(below_since_it_began(BOTH_BAD), signal_problem="tcm: no answer")

    assert decide(a_shift(share=5, ceiling=PROBE), just_now, NOON).state.ceiling == PROBE
    assert decide(a_shift(share=5, ceiling=PROBE), unseen, NOON).state.ceiling == PROBE


def test_a_failing_verdict_at_0_percent_is_not_the_targets() -> None:
    decision = decide(a_shift(share=0), seen(0, BAD), NOON)

    assert decision.state.phase is Phase.SHIFTING


@pytest.mark.parametrize("ledger", [Ledger(), BOTH_BAD, GOOD])
def test_a_dead_target_rolls_back_also_without_a_signal_and_in_an_incident(ledger: Ledger) -> None:
    dead = live((old(75), new(25, DEAD)))
    evidence = replace(seen(25, ledger), views=dead, target_unseen=True, signal_problem="istio: no gateway pod")
    decision = decide(a_shift(), evidence, NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.reason.startswith("rolling back: istio's gateway is gone")


FEW_ARRIVE = ticks(Counts(MANY), Counts(MANY / 20))


def test_requests_that_do_not_arrive_are_lost_where_every_route_splits_them_one_by_one() -> None:
    decision = decide(a_shift(), seen(25, FEW_ARRIVE), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert "requests are lost on the way to it" in decision.reason


@pytest.mark.parametrize("views", [[A.id], [A.id, B.id], None], ids=["one sticks", "both stick", "unseen"])
def test_where_clients_stick_or_nobody_knows_requests_that_go_elsewhere_are_not_lost(views: list[str] | None) -> None:
    shown = live(25) | {
        name: replace(view, split_by_request=False) for name, view in live(25).items() if name in (views or ())
    }
    evidence = replace(seen(25, FEW_ARRIVE), views=None if views is None else shown)

    decision = decide(a_shift(), evidence, NOON)

    assert decision.assessment.verdict is not Verdict.FAIL
    assert written(decision) is None


@pytest.mark.parametrize(("to_share", "goes_back"), [(99, False), (100, True), (None, False)])
def test_without_a_source_a_target_is_only_dead_where_a_write_under_way_may_have_left_none(
    to_share: int | None, *, goes_back: bool
) -> None:
    intent = None if to_share is None else an_intent(Direction.CLIMB, 25, to_share)
    ledger = at_times(*[(Counts(MANY), Counts(MANY))] * 11, (Counts(), Counts(20, 20)))

    decision = decide(a_shift(intent=intent), seen(25, ledger), NOON)

    assert (written(decision) == (Direction.RETREAT, 0)) is goes_back
    assert ("istio failed 20 of 20 requests in one tick: dead" in decision.reason) is goes_back


def test_pods_that_no_metric_shows_are_not_gone_while_the_balancer_finds_a_member_alive() -> None:
    evidence = replace(seen(), target_unseen=True, signal_problem="istio: no gateway pod")
    decision = decide(a_shift(), evidence, NOON)

    assert written(decision) is None
    assert kinds(decision) == {HoldKind.NO_SIGNAL}


def test_a_rollback_replaces_a_climb_under_way_and_says_from_where() -> None:
    decision = decide(a_shift(intent=an_intent(Direction.CLIMB, 25, 100)), seen(25, BAD), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.write is not None
    assert decision.write.from_share == 100


def test_a_rollback_under_way_is_not_written_twice() -> None:
    retreat = an_intent(Direction.RETREAT, 25, 0)
    decision = decide(a_shift(Phase.ROLLING_BACK, intent=retreat), seen(25, BAD), NOON)

    assert (written(decision), decision.kind) == (None, Kind.ROLLBACK)
    assert decision.reason == "rolling back: errors"


def test_a_rollback_from_0_needs_no_write_and_verifies_what_is_live() -> None:
    views = live((old(50), new(0)))
    decision = decide(a_shift(), replace(seen(0, GOOD, an_order(Verb.ROLLBACK)), views=views), NOON)

    assert written(decision) is None
    assert (decision.state.phase, decision.state.since) == (Phase.ROLLED_BACK, NOON)
    assert (decision.state.share, decision.state.verified_at) == (0, NOON)
    assert decision.state.weights == {A.id: {"old": 50, "new": 0}, B.id: {"old": 50, "new": 0}}
    assert decision.reason == "rolled back: ordered by bob: because"


@pytest.mark.parametrize(
    "members",
    [(old(75), new(25, DEAD)), (old(0), new(0))],
    ids=["a dead target that would recover", "weights that lead nowhere"],
)
def test_0_percent_means_that_the_target_has_no_weight_and_the_source_has(members: tuple[Member, ...]) -> None:
    decision = decide(a_shift(Phase.ROLLING_BACK), replace(seen(), views=live(members)), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.write is not None
    assert decision.write.weights == {A.id: {"old": 100, "new": 0}, B.id: {"old": 100, "new": 0}}


def test_a_rollback_onto_a_dead_source_is_refused_and_told() -> None:
    views = live((old(75, DEAD), new(25)))
    decision = decide(a_shift(), replace(seen(25, GOOD, an_order(Verb.ROLLBACK)), views=views), NOON)

    assert (written(decision), decision.state.phase) == (None, Phase.ROLLING_BACK)
    assert kinds(decision) == {HoldKind.COLD_SOURCE}
    assert "the source side has no healthy member" in decision.reason


@pytest.mark.parametrize("problem", ["", "lb-1: throttled"])
def test_a_rollback_waits_for_a_provider_that_does_not_answer(problem: str) -> None:
    evidence = replace(seen(), views=None, provider_problem=problem)
    decision = decide(a_shift(Phase.ROLLING_BACK), evidence, NOON)

    assert decision.reason == f"rolling back: errors (waiting: {problem or 'no answer yet'})"


def test_a_rollback_is_written_on_a_view_that_is_not_fresh_but_not_believed_to_have_arrived_on_one() -> None:
    stale = replace(seen(), provider_problem="lb-1: throttled")
    going = decide(a_shift(Phase.ROLLING_BACK), stale, NOON)
    arrived = decide(a_shift(Phase.ROLLING_BACK), replace(stale, views=live(0)), NOON)
    at_rest = decide(a_shift(Phase.ROLLED_BACK, 0), replace(stale, views=live(0)), NOON)

    assert written(going) == (Direction.RETREAT, 0)
    assert (written(arrived), arrived.state.phase) == (None, Phase.ROLLING_BACK)
    assert arrived.reason == "rolling back: errors (waiting: lb-1: throttled)"
    assert (written(at_rest), at_rest.state.phase) == (None, Phase.ROLLED_BACK)


def test_a_rollback_whose_reason_was_lost_still_goes_back() -> None:
    decision = decide(a_shift(Phase.ROLLING_BACK, failure=None), seen(), NOON)

    assert decision.reason == "rolling back: its last write failed"


def test_a_completed_shift_can_still_be_rolled_back() -> None:
    decision = decide(a_shift(Phase.COMPLETED, 100), seen(100, GOOD, an_order(Verb.ROLLBACK)), NOON)

    assert written(decision) == (Direction.RETREAT, 1)


def test_from_100_percent_it_goes_back_by_way_of_1_so_that_half_of_the_write_leaves_nobody_unserved() -> None:
    first = decide(a_shift(Phase.ROLLING_BACK, 100), seen(100), NOON)
    waits = decide(a_shift(Phase.ROLLING_BACK, 100, intent=an_intent(Direction.RETREAT, 100, 1)), seen(100), NOON)
    then = decide(a_shift(Phase.ROLLING_BACK, 1), seen(1), NOON)

    assert written(first) == (Direction.RETREAT, 1)
    assert written(waits) is None
    assert written(then) == (Direction.RETREAT, 0)


def test_where_one_route_is_at_100_percent_no_other_is_raised_on_the_way_back() -> None:
    views = live(100, 0)
    decision = decide(a_shift(Phase.ROLLING_BACK, 100), replace(seen(100), views=views), NOON)

    assert decision.write is not None
    assert list(decision.write.weights) == [A.id]


def test_a_route_without_a_living_source_keeps_no_other_one_from_going_all_the_way_back() -> None:
    views = live((old(99), new(1)), (old(0, DEAD), new(100)))
    decision = decide(a_shift(Phase.ROLLING_BACK, 100), replace(seen(100), views=views), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.write is not None
    assert list(decision.write.weights) == [A.id]


def test_from_a_target_that_is_dead_everything_goes_back_in_one_write() -> None:
    views = live((old(0), new(100, DEAD)))
    decision = decide(a_shift(Phase.ROLLING_BACK, 100), replace(seen(100), views=views), NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_a_rolled_back_shift_rests_and_says_how_to_start_over() -> None:
    decision = decide(a_shift(Phase.ROLLED_BACK, 0), seen(0), NOON)

    assert (decision.kind, decision.state.since) == (Kind.HOLD, EARLIER)
    assert decision.reason == "rolled back: errors; `shifter retry` starts over"


def test_nothing_is_judged_well_after_a_rollback_before_a_retry() -> None:
    assessment = decide(a_shift(Phase.ROLLED_BACK, 0), seen(0), NOON).assessment

    assert (assessment.verdict, assessment.step) == (Verdict.TOO_LITTLE, None)
    assert assessment.reason == "nothing is judged before a retry"


def test_a_rollback_waits_for_a_route_that_was_not_shown() -> None:
    views = live(25)
    del views[B.id]
    decision = decide(a_shift(Phase.ROLLING_BACK), replace(seen(), views=views), NOON)

    assert written(decision) is None
    assert decision.reason == f"rolling back: errors (waiting: the provider did not show {B.id})"


def test_a_share_raised_by_hand_after_a_rollback_waits_for_a_persons_order() -> None:
    raised = replace(seen(0), views=live(50))
    left_alone = decide(a_shift(Phase.ROLLED_BACK, 0), raised, NOON)
    ordered = decide(a_shift(Phase.ROLLED_BACK, 0), replace(raised, orders=(an_order(Verb.ROLLBACK),)), NOON)

    assert (written(left_alone), kinds(left_alone)) == (None, {HoldKind.DRIFT})
    assert written(ordered) == (Direction.RETREAT, 0)


def test_a_new_member_with_weight_after_a_rollback_is_taken_off_again() -> None:
    views = live((old(100), new(0), new(10, key="new2")))
    decision = decide(a_shift(Phase.ROLLED_BACK, 0), replace(seen(0), views=views), NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_a_retried_shift_climbs_again_from_the_first_step() -> None:
    decision = decide(a_shift(Phase.ROLLED_BACK, 0), seen(0, GOOD, an_order(Verb.RETRY)), NOON)

    assert written(decision) == (Direction.CLIMB, 5)
    assert decision.state.attempt == 2
