"""When the share goes down, how far, and that nothing on the way makes a shift forget it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shifter.core.analysis.verdicts import Assessment, Verdict
from shifter.core.balancing.splits import Health, Member, RouteView, Side
from shifter.core.counts.evidence import Counts
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Decision, Kind
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Answer, Order, OrderRequest, Verb
from shifter.core.deciding.retreat import ACQUITTED_TICKS, FOUND_BACK, PROBE_TICKS, STALE_TICKS, acquitted, trouble_of
from shifter.core.phases import Phase
from shifter.core.records import SERVICE
from shifter.core.state import Ceiling, Direction, Pause, ShiftState
from tests.core.evidences import NOON, NOTHING, TICK_SECONDS, Story, a_history, a_policy, an_intent, learnt

STEPS = (5, 25, 50, 100)
STEPPING_BACK = a_policy(onFailure="stepBack", steps=STEPS)
ROLLING_BACK = a_policy(steps=STEPS)
HOLDING = a_policy(onFailure="hold", steps=STEPS)
ROUTE = STEPPING_BACK.routes[0]

GOOD = 0.01
BAD = 0.2


def members(share: float | None, health: Health = Health.ALIVE) -> tuple[Member, ...]:
    """Both sides at a share; None: no weight at all."""
    source, target = (0, 0) if share is None else (100 - int(share), int(share))
    return (
        Member("old", Side.SOURCE, source, Health.ALIVE),
        Member("new", Side.TARGET, target, health),
    )


def a_view(share: float | None, health: Health = Health.ALIVE) -> dict[str, RouteView]:
    return {ROUTE.id: RouteView(ROUTE, members(share, health))}


def at(share: float, policy: Any = STEPPING_BACK, **changes: object) -> Story:  # noqa: ANN401 - a policy
    weights = {ROUTE.id: {"old": 100 - int(share), "new": int(share)}}
    return learnt(policy).at(share, weights=weights, **changes)


def traffic(story: Story, rate: float, count: int = 1, source_rate: float = GOOD, **more: Any) -> Story:  # noqa: ANN401
    """Return the story after ticks of 100 requests per second, of which the target fails a part."""
    target = 15 * story.state.share
    source = 1500 - target
    return story.tick(Counts(source, source * source_rate), Counts(target, target * rate), count, **more)


def seen(story: Story, live: float | None = None, *orders: Order, **changes: Any) -> Evidence:  # noqa: ANN401
    """Everything in order, at the share that is live: by default the verified one."""
    fields: dict[str, Any] = {
        "views": a_view(story.state.share if live is None else live),
        "ledger": story.ledger,
        "leader": True,
        "max_age": timedelta(seconds=45),
        "tick": timedelta(seconds=TICK_SECONDS),
        "standing": story.standing,
        "settled_at": story.state.verified_at,
        "orders": orders,
    }
    return Evidence(**(fields | changes))


def decided(story: Story, live: float | None = None, *orders: Order, **changes: Any) -> Decision:  # noqa: ANN401
    return decide(story.state, seen(story, live, *orders, **changes), story.now)


def written(decision: Decision) -> tuple[Direction, float] | None:
    return None if decision.write is None else (decision.write.direction, decision.write.to_share)


def after(story: Story, state: ShiftState) -> Story:
    return replace(story, state=state)


FAILING = traffic(at(25), BAD, 4)


# How far


def test_a_step_back_leaves_a_ceiling_and_ends_the_attempt() -> None:
    decision = decided(FAILING)

    assert written(decision) == (Direction.RETREAT, 5)
    assert decision.state.phase is Phase.SHIFTING
    assert decision.state.attempt == 2
    assert decision.state.ceiling == Ceiling(share=25, reason=decision.assessment.reason, at=FAILING.now)
    assert decision.reason.startswith("stepping back to 5 %: istio fails 20 % against tcm 1 %: evidence")


def test_below_the_first_step_there_is_only_the_way_back() -> None:
    decision = decided(traffic(at(5), BAD, 4))

    assert written(decision) == (Direction.RETREAT, 0)
    assert (decision.state.phase, decision.state.ceiling) == (Phase.ROLLING_BACK, None)


def test_a_shift_that_fails_again_below_its_ceiling_steps_back_again() -> None:
    ceiling = Ceiling(share=50, reason="errors", at=FAILING.now)
    decision = decided(traffic(at(25, ceiling=ceiling, attempt=2), BAD, 5))

    assert written(decision) == (Direction.RETREAT, 5)
    assert decision.state.ceiling is not None
    assert (decision.state.ceiling.share, decision.state.attempt) == (25, 3)


def test_without_step_back_all_goes_back() -> None:
    decision = decided(traffic(at(25, ROLLING_BACK), BAD, 4))

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.state.phase is Phase.ROLLING_BACK


def test_a_policy_that_holds_stays_where_it_is() -> None:
    story = traffic(at(25, HOLDING), BAD, 4)
    decision = decided(story)

    assert decision.assessment.verdict == "fail"
    assert written(decision) is None
    assert (decision.state.phase, decision.state.ceiling, decision.state.attempt) == (Phase.SHIFTING, None, 1)


def test_a_dead_target_goes_all_the_way_whatever_the_policy_says() -> None:
    decision = decided(traffic(at(25), 1.0))

    assert written(decision) == (Direction.RETREAT, 0)
    assert "dead" in decision.reason


def test_a_gateway_that_is_gone_goes_all_the_way() -> None:
    story = at(25).tick(Counts(1125, 11), NOTHING)
    gone = decided(story, target_unseen=True, views=a_view(25, Health.DEAD), signal_problem="istio shows no pod")

    assert written(gone) == (Direction.RETREAT, 0)
    assert "its metrics show no pod and the balancer finds all its members dead" in gone.reason


def test_from_a_dead_target_everything_goes_back_at_once_also_once_a_member_recovers() -> None:
    gone = decided(at(25).tick(Counts(1125, 11), NOTHING), target_unseen=True, views=a_view(25, Health.DEAD))
    dead = decided(traffic(at(25), 1.0))
    failing = decided(traffic(at(25, ROLLING_BACK), BAD, 4))

    failures = [each.state.failure for each in (gone, dead, failing)]
    assert [failure is not None and failure.at_once for failure in failures] == [True, True, False]


def test_a_target_that_dies_after_a_step_back_goes_all_the_way() -> None:
    ceiling = Ceiling(share=50, reason="errors", at=FAILING.now)
    decision = decided(traffic(at(25, ceiling=ceiling, attempt=2), 1.0))

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.state.phase is Phase.ROLLING_BACK


def test_the_least_share_is_a_rung_to_step_back_to() -> None:
    decision = decided(traffic(at(5, a_policy(onFailure="stepBack", steps=(1, 5, 100))), BAD, 4))

    assert written(decision) == (Direction.RETREAT, 1)
    assert decision.state.phase is Phase.SHIFTING


@pytest.mark.parametrize(("share", "goes_back"), [(0, False), (1, True)])
def test_from_the_least_share_on_a_failing_target_and_a_young_incident_are_trouble(
    share: float, *, goes_back: bool
) -> None:
    story = at(share)
    failing = Assessment(Verdict.FAIL, "errors")
    incident = Assessment(Verdict.PASS, "fine", incident="both fail", incident_after_ticks=0)

    for assessment in (failing, incident):
        assert (trouble_of(story.state, seen(story), assessment, None) is not None) is goes_back


@pytest.mark.parametrize("views", [a_view(25), None], ids=["members alive", "provider silent"])
def test_a_gateway_that_only_metrics_miss_holds(views: dict[str, RouteView] | None) -> None:
    story = at(25).tick(Counts(1125, 11), NOTHING)

    assert written(decided(story, target_unseen=True, views=views, signal_problem="istio shows no pod")) is None


def test_a_policy_that_holds_keeps_even_a_gateway_that_is_gone() -> None:
    story = at(25, HOLDING).tick(Counts(1125, 11), NOTHING)

    assert written(decided(story, target_unseen=True, views=a_view(25, Health.DEAD))) is None


def test_who_overrides_judges_for_themselves() -> None:
    assert written(decided(traffic(at(25, overridden=True), BAD, 4))) is None


def test_who_overrides_now_is_not_rolled_back_in_the_same_tick() -> None:
    request = OrderRequest("shop", Verb.PROMOTE, "ann", "I know", override=True, full=True)

    assert decided(FAILING, None, Order(1, FAILING.now, request)).state.ceiling is None


def test_a_promotion_that_comes_as_it_fails_is_refused_with_the_reason() -> None:
    decision = decided(FAILING, None, Order(1, FAILING.now, OrderRequest("shop", Verb.PROMOTE, "ann", "go")))

    assert written(decision) == (Direction.RETREAT, 5)
    (answer,) = decision.answers
    assert (answer.answer, "istio fails 20 %" in answer.text) == (Answer.REFUSED, True)


# Writes under way


def climbing(story: Story) -> Story:
    intent = an_intent(story.state.share, 50).model_copy(update={"weights": {ROUTE.id: {"old": 50, "new": 50}}})
    return after(story, story.state.model_copy(update={"intent": intent}))


def retreating(story: Story, to: float) -> Story:
    return after(story, story.state.model_copy(update={"intent": an_intent(story.state.share, to)}))


def test_a_climb_under_way_is_replaced_by_the_step_back() -> None:
    decision = decided(climbing(FAILING), 25)

    assert written(decision) == (Direction.RETREAT, 5)
    assert decision.state.ceiling is not None


def test_a_first_write_that_is_in_force_before_it_is_verified_can_fail() -> None:
    moving = learnt(STEPPING_BACK).at(0, intent=an_intent(0, 25), verified_at=None)
    story = moving.tick(Counts(1125, 11), Counts(375, 375), whole=False)

    assert written(decided(story, 25)) == (Direction.RETREAT, 0)
    assert written(decided(story, 0)) is None


def test_a_step_back_under_way_is_not_written_twice() -> None:
    first = decided(FAILING).state
    story = retreating(after(FAILING, first), 5)

    again = decided(traffic(story, BAD, whole=False), 25)

    assert written(again) is None
    assert again.kind == "rollback"
    assert again.state.ceiling == first.ceiling


def test_a_failure_that_is_still_seen_while_it_steps_back_is_no_further_attempt() -> None:
    """Requests without a name are looked for in the ticks of the share, which outlive the attempt's own evidence."""
    story = at(25).tick(Counts(1125, 11), NOTHING, 4, target_unknown=Counts(375, 375))
    state = decided(story).state
    attempts = []
    for _ in range(5):
        story = after(story, state).tick(Counts(1125, 11), NOTHING, target_unknown=Counts(375, 375), whole=False)
        decision = decided(retreating(story, 5), 25)
        assert decision.assessment.verdict == "fail"
        attempts.append(decision.state.attempt)
        state = story.state

    assert attempts == [2] * 5


def test_a_failure_after_a_probe_makes_its_ceiling_one_of_the_targets_own() -> None:
    ceiling = Ceiling(share=25, reason="both", at=FAILING.now, probe=True)
    decision = decided(traffic(at(25, ceiling=ceiling), BAD, 4))

    assert decision.state.ceiling is not None
    assert not decision.state.ceiling.probe
    assert "istio fails 20 %" in decision.state.ceiling.reason


# Owed until it happened

OWED = after(FAILING, decided(FAILING).state)


def test_a_step_back_that_was_refused_or_interrupted_is_owed_until_it_happened() -> None:
    story = traffic(OWED, GOOD)
    for _ in range(3):
        decision = decided(story)
        assert written(decision) == (Direction.RETREAT, 5)
        assert decision.state.attempt == 2
        story = traffic(after(story, decision.state), GOOD)


def test_once_it_happened_nothing_is_owed() -> None:
    below = traffic(OWED.at(5, weights={ROUTE.id: {"old": 95, "new": 5}}), GOOD, 2)

    decision = decided(below)

    assert written(decision) is None
    assert decision.state.ceiling is not None


def test_a_step_back_waits_for_a_provider_that_does_not_answer() -> None:
    assert decided(OWED, views=None).reason.endswith("(waiting: no answer yet)")
    assert decided(OWED, views=None, provider_problem="timed out").reason.endswith("(waiting: timed out)")


def test_a_retreat_that_stops_above_the_rung_is_not_enough() -> None:
    """A repair of an earlier write goes to the share before it, which may be the ceiling itself."""
    assert written(decided(retreating(OWED, 25), 25)) == (Direction.RETREAT, 5)


def test_a_route_that_somebody_lowered_is_never_raised() -> None:
    decision = decided(OWED, 2)

    assert written(decision) is None


def test_a_share_that_somebody_lowered_below_the_ceiling_is_the_verified_one() -> None:
    decision = decided(OWED, 0)

    assert (decision.state.share, decision.state.verified_at) == (0, OWED.now)


def test_weights_that_somebody_set_below_the_ceiling_are_drift_and_nothing_climbs_over_them() -> None:
    decision = decided(OWED, 2)
    held = decided(traffic(after(OWED, decision.state), GOOD, 2), 2)

    assert decision.state.weights == OWED.state.weights
    assert {hold.kind for hold in held.holds} >= {HoldKind.DRIFT}
    assert written(held) is None


def test_a_write_of_ours_that_landed_late_below_the_ceiling_is_no_drift() -> None:
    live = {ROUTE.id: {"old": 98, "new": 2}}
    deadline = OWED.now + timedelta(minutes=1)
    late = an_intent(25, 2).model_copy(update={"weights": live, "created_at": OWED.now, "deadline": deadline})
    decision = decided(after(OWED, OWED.state.model_copy(update={"abandoned": late})), 2)

    assert (decision.state.share, decision.state.weights) == (2, live)


def test_what_is_stale_or_under_way_settles_nothing() -> None:
    assert decided(OWED, 2, provider_problem="timed out").reason.endswith("(waiting: timed out)")
    moving = decided(climbing(OWED), 2)
    assert moving.reason.endswith("(waiting: an earlier write is under way)")
    assert moving.state.share == 25


def test_a_lower_share_that_may_be_from_before_the_verified_one_settles_nothing() -> None:
    verified_at = OWED.now - STALE_TICKS * timedelta(seconds=TICK_SECONDS)
    just_now = OWED.state.model_copy(update={"verified_at": verified_at + timedelta(seconds=1)})
    before = OWED.state.model_copy(update={"verified_at": verified_at})
    decision = decided(after(OWED, just_now), 2)

    assert decision.reason.endswith("(waiting: what was read may be older than the share)")
    assert (written(decision), decision.state.share) == (None, 25)
    assert decided(after(OWED, before), 2).state.share == 2


def test_weights_that_send_traffic_nowhere_are_written_all_the_same() -> None:
    assert written(decided(OWED, views=a_view(None))) == (Direction.RETREAT, 5)


def test_a_ceiling_below_every_rung_of_an_edited_policy_goes_all_the_way() -> None:
    edited = OWED.state.model_copy(update={"policy": a_policy(onFailure="stepBack", steps=(25, 100))})
    decision = decided(traffic(after(OWED, edited), GOOD))

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.state.phase is Phase.ROLLING_BACK
    assert decision.state.failure is not None
    assert decision.state.ceiling is not None
    assert decision.state.failure.reason == decision.state.ceiling.reason


def test_a_promotion_is_refused_while_a_step_back_is_owed() -> None:
    decision = decided(traffic(OWED, GOOD), None, Order(1, OWED.now, OrderRequest("shop", Verb.PROMOTE, "ann", "go")))

    assert written(decision) == (Direction.RETREAT, 5)
    assert decision.answers[0].answer is Answer.REFUSED


# The probe


def in_an_outage(story: Story, count: int = 2, **more: Any) -> Story:  # noqa: ANN401 - any field of a tick
    return traffic(story, 0.6, count, source_rate=0.6, **more)


def test_an_outage_of_both_right_after_a_step_is_probed_by_one_step_back() -> None:
    decision = decided(in_an_outage(traffic(at(25, ROLLING_BACK), GOOD, 2)))

    assert decision.assessment.verdict != "fail"
    assert written(decision) == (Direction.RETREAT, 5)
    assert decision.state.ceiling is not None
    assert decision.state.ceiling.probe
    assert "it began right after the step to 25 %, so one step back shows whether istio causes it" in decision.reason


def test_an_outage_that_began_within_the_change_itself_is_probed_too() -> None:
    story = traffic(at(5), GOOD, 10)
    moving = in_an_outage(after(story, story.state.model_copy(update={"intent": an_intent(5, 25)})), whole=False)
    there = in_an_outage(moving.at(25, intent=None, weights={ROUTE.id: {"old": 75, "new": 25}}))

    assert written(decided(there)) == (Direction.RETREAT, 5)


@pytest.mark.parametrize(("ticks", "probed"), [(PROBE_TICKS, True), (PROBE_TICKS + 1, False)])
def test_an_outage_long_after_a_step_is_no_reason(ticks: int, *, probed: bool) -> None:
    decision = decided(in_an_outage(traffic(at(25), GOOD, ticks)))

    assert (written(decision) is not None) is probed


def test_one_incident_is_probed_once() -> None:
    story = in_an_outage(traffic(at(25), GOOD, 2))
    state = decided(story).state
    below = in_an_outage(after(story, state).at(5, weights={ROUTE.id: {"old": 95, "new": 5}}), 12)

    decision = decided(below)

    assert written(decision) is None
    assert decision.assessment.incident_after_ticks is None


def test_an_incident_that_seems_to_be_over_is_not_probed() -> None:
    story = in_an_outage(traffic(at(25), GOOD, 2))

    while story.known.sickness is not None and story.known.sickness.well_ticks == 0:
        assert decided(story).state.ceiling is not None
        story = traffic(story, GOOD)

    assert story.known.sickness is not None
    assert decided(story).assessment.incident.startswith("both meshes fail")
    assert decided(story).state.ceiling is None


def test_an_incident_of_the_source_alone_is_not_probed() -> None:
    story = traffic(traffic(at(25), GOOD, 2), GOOD, 2, source_rate=0.6)

    assert decided(story).assessment.incident
    assert written(decided(story)) is None


def test_nothing_is_probed_while_a_write_is_under_way_or_where_the_policy_holds() -> None:
    story = in_an_outage(traffic(at(25), GOOD, 2))
    holding = in_an_outage(traffic(at(25, HOLDING), GOOD, 2))

    assert decided(climbing(story), 25).state.ceiling is None
    assert written(decided(holding)) is None


def probed() -> Story:
    """Below the ceiling of a probe, which was verified just now, in an incident that goes on."""
    story = in_an_outage(traffic(at(25), GOOD, 2))
    return after(story, decided(story).state).at(5, weights={ROUTE.id: {"old": 95, "new": 5}})


@pytest.mark.parametrize(("ticks", "lifted"), [(ACQUITTED_TICKS - 1, False), (ACQUITTED_TICKS, True)])
def test_an_incident_that_goes_on_below_acquits_the_step(ticks: int, *, lifted: bool) -> None:
    story = in_an_outage(probed(), ticks)

    assert (acquitted(story.state, seen(story)).ceiling is None) is lifted


@pytest.mark.parametrize("ticks", [0, 1, 4])
def test_an_incident_that_ended_below_acquits_nobody_even_if_it_took_a_while(ticks: int) -> None:
    story = in_an_outage(probed(), ticks)

    for _ in range(20):
        story = traffic(story, GOOD)
        assert acquitted(story.state, seen(story)) is story.state


def test_only_ticks_that_lie_wholly_below_are_of_what_goes_on_there() -> None:
    story = in_an_outage(in_an_outage(probed(), ACQUITTED_TICKS, whole=False), ACQUITTED_TICKS - 1)

    assert acquitted(story.state, seen(story)) is story.state
    assert acquitted((later := in_an_outage(story)).state, seen(later)).ceiling is None


def test_another_incident_below_acquits_nobody() -> None:
    story = in_an_outage(traffic(probed(), GOOD, ACQUITTED_TICKS), 2 * ACQUITTED_TICKS)

    assert story.known.sickness is not None
    assert acquitted(story.state, seen(story)) is story.state


def owed(share: float = 25, below: float = 5) -> Story:
    """At the ceiling of a probe whose step back could not be written yet; the incident began within the step."""
    moving = at(below, intent=an_intent(below, share))
    weights = {ROUTE.id: {"old": 100 - int(share), "new": int(share)}}
    there = in_an_outage(moving, 1, whole=False).at(share, intent=None, weights=weights)
    story = traffic(there, BAD, source_rate=BAD)
    return after(story, decided(story, provider_problem="throttled").state)


def test_an_incident_that_is_over_before_the_step_back_acquits_the_step_and_it_goes_on() -> None:
    story = traffic(owed(), GOOD, 7)

    decision = decided(story)

    assert decision.state.ceiling is None
    assert written(decision) == (Direction.CLIMB, 50)


def test_a_step_back_stays_owed_for_as_long_as_the_incident_is_not_over() -> None:
    story = traffic(owed(), GOOD, 2)

    assert story.known.sickness is not None
    assert acquitted(story.state, seen(story)) is story.state


def test_what_is_over_while_a_step_back_is_under_way_acquits_the_step_too() -> None:
    story = traffic(owed(), GOOD, 7)
    state = story.state.model_copy(update={"intent": an_intent(25, 5)})

    decision = decided(after(story, state))

    assert (decision.state.ceiling, decision.state.intent) == (None, state.intent)


@pytest.mark.parametrize(
    "changes",
    [{"views": a_view(5)}, {"views": a_view(None)}, {"views": None}, {"views": {}}, {"provider_problem": "throttled"}],
    ids=["lower already", "nobody gets anything", "not seen", "no route", "not fresh"],
)
def test_what_is_over_acquits_nobody_where_the_share_may_be_lower_already(changes: dict[str, Any]) -> None:
    story = traffic(owed(), GOOD, 20)

    assert acquitted(story.state, seen(story, **changes)) is story.state


@pytest.mark.parametrize(("rate", "lifted"), [(BAD, False), (GOOD, True)], ids=["it fails on", "it is well"])
def test_at_100_percent_the_target_tells_whether_it_is_over(rate: float, *, lifted: bool) -> None:
    story = traffic(owed(100, below=50), rate, 20)

    assert story.known.sickness is None
    assert (acquitted(story.state, seen(story)).ceiling is None) is lifted


def test_where_nobody_asks_for_anything_nothing_is_seen_to_be_over() -> None:
    story = owed().tick(NOTHING, NOTHING, 20)

    assert story.known.sickness is None
    assert acquitted(story.state, seen(story)) is story.state


@pytest.mark.parametrize("changes", [{"attempt": 1}, {"history": a_history(requests=0.0)}], ids=["old", "unlearnt"])
def test_a_standing_that_does_not_know_of_the_incident_acquits_nobody(changes: dict[str, Any]) -> None:
    story = traffic(owed(), GOOD, 7)

    assert acquitted(story.state, seen(story, standing=replace(story.known, **changes))) is story.state


@pytest.mark.parametrize(
    "changes",
    [
        {"ceiling": None},
        {"ceiling": Ceiling(share=25, reason="errors", at=FAILING.now)},
        {"share": 25.0},
        {"share": 10.0},
    ],
    ids=["no ceiling", "no probe", "not below yet", "seen at another share"],
)
def test_only_a_probe_that_happened_can_be_acquitted(changes: dict[str, object]) -> None:
    story = in_an_outage(probed(), ACQUITTED_TICKS)
    state = story.state.model_copy(update=changes)

    assert acquitted(state, seen(story)) is state


@pytest.mark.parametrize("changes", [{"standing": None}, {"signal_problem": "tcm does not answer"}])
def test_who_sees_nothing_acquits_nobody(changes: dict[str, Any]) -> None:
    story = in_an_outage(probed(), ACQUITTED_TICKS)

    assert acquitted(story.state, seen(story, **changes)) is story.state


# All the way

GOING = after(FAILING, decided(traffic(at(25, ROLLING_BACK), BAD, 4)).state)


def test_going_back_goes_on_whatever_comes() -> None:
    assert written(decided(traffic(GOING, GOOD))) == (Direction.RETREAT, 0)


def test_going_back_is_not_written_twice() -> None:
    assert written(decided(retreating(GOING, 0), 25)) is None


def test_a_step_back_under_way_is_not_enough_for_a_shift_that_goes_all_the_way() -> None:
    assert written(decided(retreating(GOING, 5), 25)) == (Direction.RETREAT, 0)


def test_going_back_waits_for_the_provider() -> None:
    assert decided(GOING, views=None).reason.endswith("(waiting: no answer yet)")
    assert decided(GOING, 0, provider_problem="timed out").reason.endswith("(waiting: timed out)")


def test_what_arrived_at_0_is_rolled_back_and_stays() -> None:
    back = decided(GOING, 0)
    assert (back.state.phase, back.state.share, back.state.verified_at) == (Phase.ROLLED_BACK, 0, GOING.now)

    again = decided(after(GOING, back.state), 0)

    assert again.reason.endswith("`shifter retry` starts over")


def test_a_shift_that_was_never_written_and_is_all_on_the_target_is_left_there() -> None:
    unwritten = GOING.state.model_copy(update={"weights": {}, "share": 0.0})
    decision = decided(after(GOING, unwritten), 100)

    assert (written(decision), decision.state.phase) == (None, Phase.ROLLED_BACK)
    assert decision.reason.startswith("rolled back without a write: ")


def test_after_the_rollback_what_somebody_raised_by_hand_waits_for_a_person() -> None:
    back = decided(GOING, 0).state
    decision = decided(after(GOING, back), 25)

    assert written(decision) is None
    assert "drift" in decision.reason


def test_a_0_that_may_be_from_before_the_verified_share_is_written_on_the_way_back() -> None:
    verified_at = GOING.now - STALE_TICKS * timedelta(seconds=TICK_SECONDS)
    just_now = GOING.state.model_copy(update={"verified_at": verified_at + timedelta(seconds=1)})
    before = GOING.state.model_copy(update={"verified_at": verified_at})

    assert written(decided(after(GOING, just_now), 0)) == (Direction.RETREAT, 0)
    assert decided(after(GOING, before), 0).state.phase is Phase.ROLLED_BACK


def test_a_rollback_without_a_failure_says_so() -> None:
    broken = GOING.state.model_copy(update={"failure": None})

    assert "rolling back: its last write failed" in decided(after(GOING, broken)).reason


# What an earlier process did and could not save


def found_at(live: float | None, story: Story, **changes: Any) -> Decision:  # noqa: ANN401 - any field of evidence
    return decide(story.state, replace(seen(story, live), **{"first_look": True, **changes}), story.now)


def test_a_share_that_is_0_at_the_first_look_is_taken_for_a_retreat_and_stays() -> None:
    decision = found_at(0, traffic(at(25), GOOD, 2))

    assert (decision.kind, decision.write, decision.adopted_by) == (Kind.ROLLBACK, None, SERVICE)
    assert (decision.state.phase, decision.state.share) == (Phase.ROLLED_BACK, 0)
    assert decision.reason == f"rolled back: {FOUND_BACK}"
    assert HoldKind.DRIFT not in {hold.kind for hold in decision.holds}


def test_a_climb_that_is_open_when_the_share_is_found_at_0_is_overtaken_by_a_retreat() -> None:
    story = traffic(at(5), GOOD, 2)
    decision = found_at(0, replace(story, state=story.state.model_copy(update={"intent": an_intent(5, 25)})))

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.state.phase is Phase.ROLLING_BACK


@pytest.mark.parametrize(
    ("live", "changes"),
    [(0, {"first_look": False}), (0, {"provider_problem": "it does not answer"}), (5, {}), (0, {"views": None})],
    ids=["it has been looked at", "the look is old", "not at 0", "not seen"],
)
def test_nothing_else_is_taken_for_a_retreat(live: float, changes: dict[str, Any]) -> None:
    decision = found_at(live, traffic(at(25), GOOD, 2), **changes)

    assert (decision.state.phase, decision.adopted_by) == (Phase.SHIFTING, "")


@pytest.mark.parametrize(("share", "goes_back"), [(0, False), (1, True)])
def test_only_a_share_that_was_verified_can_have_been_taken_back(share: int, *, goes_back: bool) -> None:
    story = traffic(at(share, intent=an_intent(share, 5)), GOOD, STALE_TICKS)
    decision = found_at(0, story)

    assert (decision.state.phase is Phase.ROLLING_BACK) is goes_back


@pytest.mark.parametrize(("ticks", "is_back"), [(STALE_TICKS - 1, False), (STALE_TICKS, True)])
def test_a_0_that_may_be_from_before_the_verified_share_is_not_taken_for_a_retreat(
    ticks: int, *, is_back: bool
) -> None:
    decision = found_at(0, traffic(at(25), GOOD, ticks))

    assert (decision.state.phase is Phase.ROLLED_BACK, written(decision)) == (is_back, None)


def test_whoever_has_hands_on_the_routes_may_set_them_to_0() -> None:
    paused = Pause(by="ann", reason="maintenance", at=NOON, hands_off_until=NOON + timedelta(days=1))
    decision = found_at(0, traffic(at(25, paused=paused), GOOD, 2))

    assert decision.state.phase is Phase.SHIFTING
