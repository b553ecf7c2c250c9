"""Whatever the state, the evidence and the orders are: these things never happen, and these always do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shifter.core.analysis.verdicts import Verdict
from shifter.core.balancing.splits import Health, Member, RouteView, Side, share_of
from shifter.core.counts.evidence import Counts, Ledger
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.capacity import PODS, lowest_share
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Decision, Kind
from shifter.core.deciding.holds import RULES, HoldKind
from shifter.core.deciding.orders import Answer, Order, OrderRequest, Promotion, Verb
from shifter.core.phases import Phase
from shifter.core.records import SERVICE
from shifter.core.state import (
    Approval,
    Ceiling,
    Direction,
    Failure,
    Freeze,
    Intent,
    Pause,
    Setback,
    ShiftState,
    WayBack,
)
from tests.core.shifts import (
    BAD,
    BOTH_BAD,
    DEAD,
    EARLIER,
    GOOD,
    LITTLE,
    MANY,
    NOON,
    ONLY_SOURCE_BAD,
    POLICY,
    a_policy,
    gathered,
    live,
    new,
    old,
    ticks,
)

STEPS = POLICY.spec.ladder
GATED = a_policy("a", "b", approvals=(25, 100))
APPROVED = Approval(before=25, by="ann", reason="", at=EARLIER)
NOISE = 1e-6
PROMOTE_PASSES = frozenset({HoldKind.NO_SIGNAL})
OVERRIDE_PASSES = frozenset(
    {HoldKind.INCIDENT, HoldKind.COLD_SOURCE, HoldKind.APPROVAL, HoldKind.STEPPED_BACK, HoldKind.FAILING}
)
PERSON = "bob"

THOROUGH = settings(max_examples=200)
"""The space is large: twice the usual number, where a rule is about few of the situations."""


def at(share: float) -> tuple[Member, ...]:
    return old(100 - int(share)), new(int(share))


DEAD_TARGET = live((old(75), new(25, DEAD)))
PROBED = ticks(Counts(MANY, MANY / 10), Counts(MANY, MANY / 10))
LEDGERS = st.sampled_from([BAD, LITTLE, BOTH_BAD, ONLY_SOURCE_BAD, PROBED, ticks(Counts(), Counts(MANY)), Ledger()])
HEALTHS = st.sampled_from([Health.ALIVE, Health.ALIVE, Health.DEAD, Health.UNCHECKED])
WEIGHTS = st.sampled_from([0, 1, 5, 25, 50, 95, 100])
STRANGERS = st.builds(
    Member, key=st.sampled_from("xyz"), side=st.sampled_from([*Side, None]), weight=WEIGHTS, health=HEALTHS
)
SETBACKS = st.builds(Setback, reason=st.just("busy"), at=st.sampled_from([EARLIER, NOON]), count=st.integers(1, 9))


def an_intent(direction: Direction, from_share: float, to_share: float) -> Intent:
    return Intent(
        sequence=1,
        epoch=1,
        direction=direction,
        from_share=from_share,
        to_share=to_share,
        reason="said so",
        by=SERVICE,
        created_at=NOON,
        deadline=NOON,
        before={},
        weights={},
    )


INTENTS = st.builds(
    an_intent, st.sampled_from(Direction), st.sampled_from([0.0, *STEPS]), st.sampled_from([0.0, *STEPS])
)


@st.composite
def other_members(draw: st.DrawFn, share: float) -> tuple[Member, ...]:
    """What was verified with other health and new members beside it, some weights changed or some members gone."""
    kept = [replace(member, health=draw(HEALTHS)) for member in at(share)]
    if draw(st.booleans()):
        kept = [replace(member, weight=draw(WEIGHTS)) for member in kept[draw(st.integers(0, 1)) :]]
    return (*kept, *draw(st.lists(STRANGERS, max_size=2, unique_by=lambda member: member.key)))


@st.composite
def other_views(draw: st.DrawFn, share: float) -> dict[str, RouteView] | None:
    refusals = st.sampled_from([None, None, "no"])
    found = {route.id: RouteView(route, draw(other_members(share)), refusal=draw(refusals)) for route in POLICY.routes}
    return draw(st.sampled_from([None, {}, dict(list(found.items())[:1]), found, found, found]))


OTHER_POLICIES = [a_policy("a", "b", on_failure="stepBack"), a_policy("a", "b", on_failure="hold")]
STATE_TROUBLES: Mapping[str, st.SearchStrategy[object]] = {
    "intent": INTENTS,
    "paused": st.just(Pause(by="ann", reason="", at=EARLIER)),
    "policy": st.sampled_from([GATED, *OTHER_POLICIES]),
    "approved": st.just((APPROVED,)),
    "overridden": st.just(value=True),
    "setback": SETBACKS,
    "ceiling": st.builds(Ceiling, share=st.sampled_from(STEPS), reason=st.just("errors"), at=st.just(EARLIER)),
    "failure": st.just(Failure(reason="errors", share=25, at=EARLIER)),
    "way_back": st.sampled_from([WayBack(at=EARLIER, had={PODS: 4}, left={PODS: left}) for left in (0, 1, 2)]),
    "verified_at": st.none(),
    "weights": st.just({}),
}
EVIDENCE_TROUBLES: Mapping[str, st.SearchStrategy[object]] = {
    "ledger": LEDGERS,
    "leader": st.just(value=False),
    "provider_problem": st.just("trouble"),
    "signal_problem": st.just("trouble"),
    "policy_problem": st.just("trouble"),
    "target_unseen": st.just(value=True),
    "bug": st.just("trouble"),
    "freezes": st.just((Freeze(by="ann", reason="", at=EARLIER),)),
    "settled_at": st.sampled_from([None, NOON]),
}
TROUBLES = st.lists(st.sampled_from([*STATE_TROUBLES, *EVIDENCE_TROUBLES, "standing", "views", "views"]), max_size=3)
REQUESTS = st.builds(
    OrderRequest,
    shift=st.just("shop"),
    verb=st.sampled_from(Verb),
    by=st.just(PERSON),
    reason=st.sampled_from(["", "because"]),
    full=st.booleans(),
    override=st.booleans(),
    share=st.sampled_from([None, None, *STEPS]),
    hands_off=st.sampled_from([None, None, timedelta(minutes=1)]),
    adopt=st.booleans(),
)
ASKED: st.SearchStrategy[list[OrderRequest]] = st.one_of(st.just([]), st.lists(REQUESTS, max_size=3))
SHARES: Mapping[Phase, tuple[float, ...]] = {
    Phase.WAITING: (0.0,),
    Phase.ROLLED_BACK: (0.0,),
    Phase.COMPLETED: (100.0,),
    Phase.SHIFTING: (0.0, *STEPS),
    Phase.ROLLING_BACK: (0.0, *STEPS),
}
UNDER_WAY = (Phase.WAITING, Phase.SHIFTING)


@st.composite
def situations(
    draw: st.DrawFn,
    phases: tuple[Phase, ...] = tuple(Phase),
    asked: st.SearchStrategy[list[OrderRequest]] = ASKED,
) -> tuple[ShiftState, Evidence]:
    """A shift that is ready for its next step, and up to three things wrong with it or its evidence."""
    phase = draw(st.sampled_from(phases))
    share = draw(st.sampled_from(SHARES[phase]))
    wrong = draw(TROUBLES)
    weights = {route.id: {member.key: member.weight for member in at(share)} for route in POLICY.routes}
    state = ShiftState(
        name="shop", policy=POLICY, phase=phase, since=EARLIER, share=share, weights=weights, verified_at=EARLIER
    )
    evidence = Evidence(
        views=draw(other_views(share))
        if "views" in wrong
        else {route.id: RouteView(route, at(share)) for route in POLICY.routes},
        ledger=GOOD,
        leader=True,
        max_age=timedelta(seconds=15),
        tick=timedelta(seconds=5),
        settled_at=EARLIER,
        orders=[Order(number, NOON, request) for number, request in enumerate(draw(asked), 1)],
    )
    changes = {name: draw(STATE_TROUBLES[name]) for name in wrong if name in STATE_TROUBLES}
    if phase is Phase.WAITING:
        changes.pop("ceiling", None)  # forgotten with the attempt
    seen = {name: draw(EVIDENCE_TROUBLES[name]) for name in wrong if name in EVIDENCE_TROUBLES}
    found = replace(evidence, **seen)  # type: ignore[arg-type]
    known = not draw(st.booleans()) if "standing" in wrong else True
    return state.model_copy(update=changes), replace(found, standing=gathered(found.ledger, share) if known else None)


def shares_after(decision: Decision, shown: Mapping[str, RouteView]) -> dict[str, float | None]:
    assert decision.write is not None
    wanted = decision.write.weights
    return {
        route: share_of(replace(each, weight=wanted.get(route, {}).get(each.key, each.weight)) for each in view.members)
        for route, view in shown.items()
    }


def raised(decision: Decision, evidence: Evidence) -> bool:
    """Whether any route would get more than it shows now, or the decision calls itself a climb."""
    if decision.write is None:
        return False
    live = {route: view.share for route, view in (evidence.views or {}).items()}
    after = shares_after(decision, evidence.views or {})
    more = [route for route in live if (after[route] or 0.0) > (live[route] or 0.0) + NOISE]
    return bool(more) or decision.write.direction is Direction.CLIMB


def promotion_of(evidence: Evidence, decision: Decision) -> Promotion | None:
    """The promotion that was carried out: the last one asked for that was not refused."""
    if decision.write is None or decision.write.by != PERSON:
        return None
    accepted = {answer.order_id for answer in decision.answers if answer.answer is Answer.ACCEPTED}
    found = None
    for order in evidence.orders:
        if order.request.verb is Verb.PROMOTE and order.id in accepted:
            asked = order.request
            found = Promotion(order.id, asked.by, "", 100.0 if asked.full else asked.share, asked.override)
    return found


@THOROUGH
@given(situations())
def test_every_situation_has_one_decision_with_a_sentence(situation: tuple[ShiftState, Evidence]) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)

    assert decision.reason
    assert decision == decide(state, evidence, NOON)


@given(situations())
def test_every_order_gets_exactly_one_answer_in_order(situation: tuple[ShiftState, Evidence]) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)

    assert [answer.order_id for answer in decision.answers] == [order.id for order in evidence.orders]
    assert all(answer.text for answer in decision.answers)
    assert decision.state.last_order == len(evidence.orders)


@THOROUGH
@given(situations())
def test_an_accepted_promotion_is_a_climb(
    situation: tuple[ShiftState, Evidence],
) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    verbs = {order.id: order.request.verb for order in evidence.orders}
    promoted = [
        answer
        for answer in decision.answers
        if verbs[answer.order_id] is Verb.PROMOTE and answer.answer is Answer.ACCEPTED
    ]

    assert len(promoted) <= 1
    assert not promoted or (decision.write is not None and decision.write.by == PERSON)


@THOROUGH
@given(situations(UNDER_WAY))
def test_nothing_raises_the_share_through_a_hold_without_a_lease_or_beside_a_write(
    situation: tuple[ShiftState, Evidence],
) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    if not raised(decision, evidence):
        return
    promotion = promotion_of(evidence, decision)
    restored = decision.write is not None and decision.write.direction is Direction.KEEP and decision.write.promoted
    passes = PROMOTE_PASSES if promotion is not None or restored else frozenset()
    if promotion is not None:
        passes |= {HoldKind.APPROVAL}
    if promotion is not None and promotion.override:
        passes |= OVERRIDE_PASSES
    if restored:
        passes |= {kind for kind, rule in RULES.items() if rule.restoring}
    if decision.write is not None and decision.write.direction is Direction.KEEP:
        passes |= {HoldKind.APPROVAL, HoldKind.STEPPED_BACK}

    assert evidence.leader
    assert not evidence.freezes
    assert {hold.kind for hold in decision.holds} <= passes
    assert state.intent is None
    assert decision.state.paused is None or restored
    assert (
        decision.state.phase is Phase.SHIFTING or decision.write is None or decision.write.direction is Direction.KEEP
    )


@THOROUGH
@given(situations(UNDER_WAY))
def test_no_climb_without_a_passing_verdict_a_settled_share_and_a_soak_unless_promoted(
    situation: tuple[ShiftState, Evidence],
) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    write = decision.write
    if write is None or write.direction is not Direction.CLIMB or write.by != SERVICE:
        return

    assert decision.assessment.verdict is Verdict.PASS
    assert state.share == 0 or evidence.settled_at == EARLIER


PROMOTED = REQUESTS.map(lambda request: [replace(request, verb=Verb.PROMOTE)])


@THOROUGH
@given(situations(UNDER_WAY, PROMOTED))
def test_a_promotion_passes_a_failing_verdict_only_with_override(situation: tuple[ShiftState, Evidence]) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    promotion = promotion_of(evidence, decision)
    override = promotion is not None and promotion.override

    assert promotion is None or decision.assessment.verdict is not Verdict.FAIL or override
    assert not override or (decision.write is not None and decision.write.override)


@THOROUGH
@given(situations(UNDER_WAY))
def test_a_climb_takes_the_next_step_and_only_a_promotion_may_skip(situation: tuple[ShiftState, Evidence]) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    write = decision.write
    if write is None or write.direction is not Direction.CLIMB:
        return
    promotion = promotion_of(evidence, decision)
    asked = None if promotion is None else promotion.share

    to = asked or min(step for step in STEPS if step > state.share)
    assert decision.kind is Kind.ADVANCE
    assert write.to_share in ({to, 99} if to == 100 else {to})
    assert write.by != SERVICE or write.to_share == decision.assessment.step


@THOROUGH
@given(situations())
def test_a_write_is_whole_numbers_that_keep_to_its_share_and_names_what_was_live(
    situation: tuple[ShiftState, Evidence],
) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    write, shown = decision.write, evidence.views
    if write is None:
        return

    assert shown is not None
    assert write.before == {route: shown[route].weights for route in write.weights}
    assert set(write.weights) <= set(shown)
    # A retreat may repeat what is live: it replaces a climb under way, which may still land.
    assert write.weights != write.before or (write.direction is Direction.RETREAT and state.intent is not None)
    for route, weights in write.weights.items():
        assert all(type(weight) is int and 0 <= weight <= 100 for weight in weights.values())
        sided = [replace(member, weight=weights[member.key]) for member in shown[route].members if member.side]
        share = share_of(sided)
        assert share is not None
        assert share <= write.to_share + NOISE


@given(situations((Phase.COMPLETED,)))
def test_a_completed_shift_writes_nothing_unless_it_is_rolled_back_or_restored(
    situation: tuple[ShiftState, Evidence],
) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    asked = {order.request.verb for order in evidence.orders}
    # Onto a source that was scaled down it goes in stages.
    back = {0.0, 1.0, lowest_share(decision.state)} if Verb.ROLLBACK in asked else set()
    allowed = back | ({state.share} if Verb.RECONCILE in asked else set())

    assert decision.write is None or decision.write.to_share in allowed


@pytest.mark.parametrize("phase", [Phase.ROLLING_BACK, Phase.ROLLED_BACK])
@given(data=st.data())
def test_after_a_rollback_nothing_rises_until_a_person_retries(phase: Phase, data: st.DataObject) -> None:
    state, evidence = data.draw(situations((phase,)))
    decision = decide(state, evidence, NOON)
    retried = phase is Phase.ROLLED_BACK and any(order.request.verb is Verb.RETRY for order in evidence.orders)

    assert retried or not raised(decision, evidence)
    staged = phase is Phase.ROLLING_BACK and lowest_share(decision.state) > 0
    assert retried or decision.write is None or decision.write.to_share in {0, 1} or staged


@THOROUGH
@given(situations())
def test_no_part_of_a_climb_or_of_the_way_back_leaves_a_route_without_weight(
    situation: tuple[ShiftState, Evidence],
) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    write, restored = decision.write, any(order.request.verb is Verb.RECONCILE for order in evidence.orders)
    if write is None or restored or write.to_share == state.share:
        return
    for route, weights in write.weights.items():
        members = (evidence.views or {})[route].members
        alive = [member.key for member in members if member.weight and member.health is not Health.DEAD]

        assert not alive or any(weights[key] for key in alive)


@given(situations())
def test_a_pause_ordered_last_stops_every_climb_of_the_same_tick(situation: tuple[ShiftState, Evidence]) -> None:
    state, evidence = situation
    last = Order(9, NOON, OrderRequest("shop", Verb.PAUSE, "ann", ""))
    decision = decide(state, replace(evidence, orders=[*evidence.orders, last]), NOON)

    assert not raised(decision, evidence)
    assert decision.state.paused is not None


@given(situations())
def test_a_rollback_ordered_last_wins_over_every_other_order_but_hands_off(
    situation: tuple[ShiftState, Evidence],
) -> None:
    state, evidence = situation
    assume(all(order.request.hands_off is None for order in evidence.orders))
    last = Order(9, NOON, OrderRequest("shop", Verb.ROLLBACK, "ann", ""))
    decision = decide(state, replace(evidence, orders=[*evidence.orders, last]), NOON)
    drained = state.phase is Phase.COMPLETED and "tcm is drained" in decision.answers[-1].text

    assert drained or decision.state.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}
    assert not raised(decision, evidence)


HELD: Mapping[HoldKind, Mapping[str, object]] = {
    HoldKind.NO_SIGNAL: {"signal_problem": "no answer"},
    HoldKind.POLICY: {"policy_problem": "gone"},
    HoldKind.LEASE: {"leader": False},
    HoldKind.INCIDENT: {"ledger": ONLY_SOURCE_BAD, "standing": gathered(ONLY_SOURCE_BAD)},
}


@given(
    st.sets(st.sampled_from([*HELD, HoldKind.PAUSE, HoldKind.DRIFT, HoldKind.PREFLIGHT])),
    st.sampled_from([Verb.ROLLBACK, None]),
    st.booleans(),
)
def test_a_rollback_is_written_through_every_set_of_holds(
    holds: set[HoldKind],
    verb: Verb | None,
    climbing: bool,  # noqa: FBT001 - Hypothesis passes by position
) -> None:
    share = 50 if HoldKind.DRIFT in holds else 25
    refusal = "no" if HoldKind.PREFLIGHT in holds else None
    shown = {route.id: RouteView(route, at(share), refusal=refusal) for route in POLICY.routes}
    going = Phase.SHIFTING if verb else Phase.ROLLING_BACK
    under_way = an_intent(Direction.CLIMB, 25, 100)
    state = ShiftState(
        name="shop",
        policy=POLICY,
        phase=going,
        since=EARLIER,
        share=25,
        weights={route.id: {"old": 75, "new": 25} for route in POLICY.routes},
        paused=Pause(by="ann", reason="", at=EARLIER) if HoldKind.PAUSE in holds else None,
        intent=under_way if climbing else None,
    )
    orders = [] if verb is None else [Order(1, NOON, OrderRequest("shop", verb, PERSON, ""))]
    evidence = Evidence(
        views=shown,
        ledger=GOOD,
        standing=gathered(GOOD),
        leader=True,
        max_age=timedelta(seconds=15),
        tick=timedelta(seconds=5),
        orders=orders,
    )
    for hold in holds & HELD.keys():
        evidence = replace(evidence, **HELD[hold])  # type: ignore[arg-type]
    decision = decide(state, evidence, NOON)

    assert decision.write is not None
    assert (decision.write.direction, decision.write.to_share) == (Direction.RETREAT, 0)
    assert decision.kind is Kind.ROLLBACK


@THOROUGH
@given(situations((Phase.SHIFTING,), st.just([])), st.booleans())
def test_a_target_that_fails_by_itself_is_always_left_unless_its_policy_lets_it_stay(
    situation: tuple[ShiftState, Evidence],
    gone: bool,  # noqa: FBT001 - Hypothesis passes by position
) -> None:
    state, evidence = situation
    assume(state.share > 0 and not state.overridden)
    how = state.policy.spec.on_failure
    failing = replace(evidence, signal_problem="", ledger=BAD, standing=gathered(BAD, state.share))
    decision = decide(state, replace(failing, target_unseen=gone, views=DEAD_TARGET) if gone else failing, NOON)
    ceiling = decision.state.ceiling

    if how == "hold":
        assert not raised(decision, evidence)
    elif how == "rollback" or gone or state.step_below <= 0:
        assert decision.state.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}
    else:
        assert ceiling is not None
        assert ceiling.share <= state.share
        assert decision.write is None or decision.write.to_share < ceiling.share


@THOROUGH
@given(situations(UNDER_WAY))
def test_nothing_but_a_person_goes_to_a_share_that_failed(situation: tuple[ShiftState, Evidence]) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    ceiling, write = decision.state.ceiling, decision.write
    if ceiling is None or write is None or not raised(decision, evidence):
        return
    stays = state.overridden or state.policy.spec.on_failure == "hold"

    assert write.to_share < ceiling.share or write.override or (stays and write.direction is Direction.KEEP)


@given(situations())
def test_the_phase_began_now_if_it_changed_and_when_it_did_otherwise(situation: tuple[ShiftState, Evidence]) -> None:
    state, evidence = situation
    decision = decide(state, replace(evidence, orders=()), NOON)

    assert decision.state.since == (EARLIER if decision.state.phase is state.phase else NOON)


@THOROUGH
@given(situations(UNDER_WAY))
def test_no_climb_passes_a_gate_that_nobody_approved_unless_overridden(situation: tuple[ShiftState, Evidence]) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    write = decision.write
    if write is None or write.direction is not Direction.CLIMB or write.override:
        return

    assert decision.state.gate(write.to_share) is None


HANDS_OFF = Pause(by="ann", reason="", at=EARLIER, hands_off_until=NOON + timedelta(minutes=1))


@THOROUGH
@given(situations())
def test_hands_off_writes_nothing_whatever_there_is_and_ends_when_it_is_over(
    situation: tuple[ShiftState, Evidence],
) -> None:
    state, evidence = situation
    off = state.model_copy(update={"paused": HANDS_OFF})
    quiet = replace(evidence, orders=[order for order in evidence.orders if order.request.verb is not Verb.RESUME])
    decision = decide(off, quiet, NOON)

    assert decision.hands_off
    assert decision.write is None
    assert HoldKind.HANDS_OFF in {hold.kind for hold in decision.holds}
    assert not decide(off, replace(evidence, orders=()), NOON + timedelta(minutes=1)).hands_off


@THOROUGH
@given(situations(UNDER_WAY))
def test_adopting_writes_nothing_and_takes_what_is_live(situation: tuple[ShiftState, Evidence]) -> None:
    state, evidence = situation
    decision = decide(state, evidence, NOON)
    if not decision.adopted_by:
        return

    assert decision.write is None
    assert decision.state.weights == {route: view.weights for route, view in (evidence.views or {}).items()}
    assert decision.state.verified_at == NOON
