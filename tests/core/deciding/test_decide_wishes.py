"""What is to be done about drift when a person decides, before a gate, while all is frozen, and while hands are off?"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shifter.core.balancing.splits import Member
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Decision, Kind
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.phases import Phase
from shifter.core.state import Approval, Ceiling, Direction, Freeze, Pause, ShiftState
from tests.core.shifts import (
    BAD,
    EARLIER,
    GOOD,
    NOON,
    PAUSED,
    A,
    B,
    a_policy,
    a_shift,
    an_intent,
    an_order,
    counted,
    kinds,
    live,
    new,
    old,
    seen,
    weights,
    written,
)

ADOPT = an_order(Verb.RECONCILE, adopt=True)
RESTORE = an_order(Verb.RECONCILE)
GATED = a_policy("a", "b", approvals=(25, 100))
FREEZE = Freeze(by="ann", reason="Singles' Day", at=EARLIER)
ORDERED_BACK = an_intent(Direction.RETREAT, 50, 25).model_copy(update={"by": "bob"})
HANDS_OFF = Pause(by="ann", reason="vendor", at=EARLIER, hands_off_until=NOON + timedelta(minutes=5))


def reconciled(state: ShiftState, evidence: Evidence, order: Any = RESTORE, **changes: Any) -> Decision:  # noqa: ANN401
    return decide(state, replace(evidence, orders=(order,), **changes), NOON)


def answer_of(decision: Decision) -> tuple[Answer, str]:
    (answer,) = decision.answers
    return answer.answer, answer.text


# Adopting


@pytest.mark.parametrize("share", [10, 50])
def test_adopting_takes_the_live_split_as_verified_from_now_on_and_writes_nothing(share: int) -> None:
    decision = reconciled(a_shift(share=25), seen(share), ADOPT)

    assert answer_of(decision) == (Answer.ACCEPTED, "what is live is adopted")
    assert (decision.adopted_by, decision.write, decision.holds) == ("bob", None, ())
    assert (decision.state.share, decision.state.weights) == (share, weights(share))
    assert decision.state.verified_at == NOON
    assert decision.state.phase is Phase.SHIFTING


def test_adopting_a_share_that_shifter_never_wrote_puts_the_shift_on_its_way() -> None:
    decision = reconciled(a_shift(Phase.WAITING, 0, weights={}), seen(5), ADOPT)

    assert (decision.state.phase, decision.state.share) == (Phase.SHIFTING, 5)


def test_who_adopts_the_least_share_there_is_has_the_shift_on_its_way() -> None:
    decision = reconciled(a_shift(Phase.WAITING, 0, weights={}), seen(1), ADOPT)

    assert (decision.state.phase, decision.state.share) == (Phase.SHIFTING, 1)
    assert (
        decision.reason == "tcm 99 · istio 1 was adopted by order of bob: it must settle and soak like any other share"
    )


def test_routes_that_differ_by_no_more_than_weights_must_are_adopted_at_the_higher_share() -> None:
    near = (old(100), old(49, key="old2"), new(51))
    decision = reconciled(a_shift(), replace(seen(), views=live((old(75), new(25)), near)), ADOPT)

    assert (decision.adopted_by, decision.state.share) == ("bob", 25.5)


def test_adopting_0_percent_leaves_a_waiting_shift_waiting() -> None:
    changed = live((old(90), new(0)))
    decision = reconciled(a_shift(Phase.WAITING, 0), replace(seen(0), views=changed), ADOPT)

    assert (decision.state.phase, decision.state.share) == (Phase.WAITING, 0)
    assert decision.state.weights[A.id] == {"old": 90, "new": 0}


def test_routes_that_do_not_agree_cannot_be_adopted() -> None:
    decision = reconciled(a_shift(), replace(seen(), views=live(25, 50)), ADOPT)

    assert answer_of(decision) == (
        Answer.REFUSED,
        f"not reconciled: the routes do not agree on a share: {A.id} tcm 75 · istio 25, {B.id} tcm 50 · istio 50",
    )
    assert (decision.adopted_by, decision.state.share) == ("", 25)


def test_routes_that_send_traffic_nowhere_cannot_be_adopted() -> None:
    decision = reconciled(a_shift(), replace(seen(), views=live((old(0), new(0)))), ADOPT)

    assert answer_of(decision)[0] is Answer.REFUSED
    assert "do not agree" in answer_of(decision)[1]


def test_a_share_beyond_a_gate_is_adopted_only_once_the_gate_is_approved() -> None:
    approved = Approval(before=100, by="ann", reason="", at=EARLIER)
    gated = a_shift(policy=GATED)

    assert answer_of(reconciled(gated, seen(100), ADOPT)) == (
        Answer.REFUSED,
        "not reconciled: approval: nobody has approved 100 % yet",
    )
    assert reconciled(gated.model_copy(update={"approved": (approved,)}), seen(100), ADOPT).state.share == 100


@pytest.mark.parametrize(("share", "lifted"), [(50, True), (10, False)], ids=["at the ceiling", "below"])
def test_adopting_a_share_that_failed_lifts_the_ceiling_since_it_is_a_persons_word(share: int, *, lifted: bool) -> None:
    ceiling = Ceiling(share=50, reason="errors", at=EARLIER)
    decision = reconciled(a_shift(ceiling=ceiling), seen(share), ADOPT)

    assert (decision.state.share, decision.state.ceiling is None) == (share, lifted)


@pytest.mark.parametrize("order", [ADOPT, RESTORE], ids=["adopt", "restore"])
def test_nobody_decides_about_drift_while_a_step_back_is_owed(order: Any) -> None:  # noqa: ANN401
    ceiling = Ceiling(share=25, reason="errors", at=EARLIER)
    decision = reconciled(a_shift(ceiling=ceiling), seen(50), order)

    assert written(decision) == (Direction.RETREAT, 5)
    assert answer_of(decision) == (Answer.REFUSED, "not reconciled: it steps back")


@pytest.mark.parametrize(
    ("live_share", "text"), [(0, "not reconciled: nothing has drifted"), (1, "what is live is adopted")]
)
def test_what_was_never_written_has_drifted_as_soon_as_the_target_has_any_of_it(live_share: int, text: str) -> None:
    decision = reconciled(a_shift(Phase.WAITING, 0, weights={}), seen(live_share), ADOPT)

    assert answer_of(decision)[1] == text


def test_restoring_a_share_below_the_one_that_failed_is_granted() -> None:
    ceiling = Ceiling(share=100, reason="errors", at=EARLIER)
    decision = reconciled(a_shift(ceiling=ceiling), seen(5))

    assert written(decision) == (Direction.KEEP, 25)


@pytest.mark.parametrize("order", [ADOPT, RESTORE], ids=["adopt", "restore"])
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "nothing has drifted"),
        ({"views": None}, "the provider has not answered yet"),
        ({"views": None, "provider_problem": "busy"}, "busy"),
        ({"provider_problem": "clb answered late"}, "clb answered late"),
        ({"views": {each: replace(view, refusal="a stranger") for each, view in live(50).items()}}, "a stranger"),
    ],
    ids=["no drift", "unseen", "silent", "late", "refusal"],
)
def test_nobody_can_decide_about_what_is_not_known_or_not_there(order: Any, changes: dict[str, Any], text: str) -> None:  # noqa: ANN401
    decision = reconciled(a_shift(), seen(), order, **changes)

    assert answer_of(decision)[0] is Answer.REFUSED
    assert text in answer_of(decision)[1]
    assert (decision.write, decision.adopted_by) == (None, "")


@pytest.mark.parametrize(("changes", "text"), [({"leader": False}, "lease"), ({"bug": "KeyError"}, "bug")])
def test_only_a_sound_leader_adopts(changes: dict[str, Any], text: str) -> None:
    assert text in answer_of(reconciled(a_shift(), seen(50), ADOPT, **changes))[1]


@pytest.mark.parametrize("order", [ADOPT, RESTORE], ids=["adopt", "restore"])
def test_a_write_under_way_comes_first(order: Any) -> None:  # noqa: ANN401
    decision = reconciled(a_shift(intent=an_intent(Direction.CLIMB, 25, 100)), seen(50), order)

    assert answer_of(decision)[1].startswith("not reconciled: a write is under way")


@pytest.mark.parametrize("order", [ADOPT, RESTORE], ids=["adopt", "restore"])
def test_nobody_decides_about_sides_that_look_swapped(order: Any) -> None:  # noqa: ANN401
    decision = reconciled(a_shift(Phase.WAITING, 0, weights={}), seen(100), order)

    assert answer_of(decision)[0] is Answer.REFUSED
    assert "are source and target swapped in the policy?" in answer_of(decision)[1]
    assert (decision.write, decision.adopted_by) == (None, "")


def test_a_rollback_of_sides_that_look_swapped_writes_nothing_and_is_over() -> None:
    decision = decide(a_shift(Phase.WAITING, 0, weights={}), seen(100, GOOD, an_order(Verb.ROLLBACK)), NOON)

    assert (decision.write, decision.state.phase, decision.state.weights) == (None, Phase.ROLLED_BACK, {})
    assert decision.reason.startswith("rolled back without a write: holding: preflight: ")


# Restoring


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.SHIFTING])
@pytest.mark.parametrize(
    "trouble",
    [{}, {"leader": False}, {"freezes": (FREEZE,)}, {"signal_problem": "gone"}, {"policy_problem": "gone"}],
    ids=["none", "lease", "freeze", "no signal", "policy"],
)
def test_restoring_a_share_that_rose_lowers_it_whatever_holds(phase: Phase, trouble: dict[str, Any]) -> None:
    share = 0 if phase is Phase.WAITING else 25
    decision = reconciled(a_shift(phase, share, paused=PAUSED), seen(50), RESTORE, **trouble)

    assert answer_of(decision) == (Answer.ACCEPTED, "what was verified last is written again")
    assert written(decision) == (Direction.RETREAT, share)
    assert decision.state.paused == PAUSED
    assert HoldKind.HALF_APPLIED not in kinds(decide(a_shift(intent=ORDERED_BACK), seen(50), NOON))


def test_restoring_other_weights_of_the_same_share_raises_nothing_and_needs_no_leave() -> None:
    halved = live((old(60), new(20)))
    decision = reconciled(a_shift(), replace(seen(), views=halved, leader=False))

    assert written(decision) == (Direction.RETREAT, 25)
    assert decision.write is not None
    assert dict(decision.write.weights) != {route: view.weights for route, view in halved.items()}


def test_restoring_a_share_that_shifter_never_wrote_sets_it_to_0() -> None:
    decision = reconciled(a_shift(Phase.WAITING, 0, weights={}), seen(50))

    assert written(decision) == (Direction.RETREAT, 0)


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.COMPLETED])
def test_restoring_a_share_that_fell_raises_it_in_the_persons_name(phase: Phase) -> None:
    share = 100 if phase is Phase.COMPLETED else 25
    decision = reconciled(a_shift(phase, share), seen(5))

    assert written(decision) == (Direction.KEEP, share)
    assert decision.write is not None
    assert (decision.write.by, decision.write.promoted, decision.kind) == ("bob", True, Kind.ADVANCE)
    assert decision.reason.endswith("as verified last: ordered by bob: because")


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.COMPLETED])
@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        ({"leader": False}, "lease"),
        ({"freezes": (FREEZE,)}, "freeze: all shifts are frozen by ann: Singles' Day"),
        ({"bug": "KeyError"}, "bug"),
        (counted(BAD), "fail: istio fails"),
    ],
    ids=["lease", "freeze", "bug", "fail"],
)
def test_restoring_a_share_that_fell_is_refused_like_a_promotion(
    phase: Phase, trouble: dict[str, Any], text: str
) -> None:
    share = 100 if phase is Phase.COMPLETED else 25
    # With an override behind it, a failing verdict does not send it back by itself: it is the person's to refuse.
    decision = reconciled(a_shift(phase, share, overridden=True), seen(5), RESTORE, **trouble)

    assert answer_of(decision)[1].startswith("not reconciled: it would raise the share; ")
    assert text in answer_of(decision)[1]
    assert decision.write is None


def test_a_failing_target_goes_back_instead_of_being_restored() -> None:
    decision = reconciled(a_shift(), seen(50, BAD))

    assert written(decision) == (Direction.RETREAT, 0)
    assert answer_of(decision)[1].startswith("not reconciled: istio fails")


@pytest.mark.parametrize("members", [(new(50),), (old(95),)], ids=["nobody to go back to", "nobody to raise"])
def test_what_weights_cannot_express_is_not_restored(members: tuple[Member, ...]) -> None:
    decision = reconciled(a_shift(), replace(seen(), views=live(members)))

    assert answer_of(decision)[0] is Answer.REFUSED
    assert decision.write is None


def test_an_order_without_a_reason_still_says_who() -> None:
    silent = replace(RESTORE, request=replace(RESTORE.request, reason=""))

    assert reconciled(a_shift(), seen(50), silent).reason.endswith("ordered by bob")


# Gates


def test_the_share_stops_before_a_gate_until_somebody_approves() -> None:
    waiting = decide(a_shift(policy=GATED), seen(), NOON)
    approved = decide(a_shift(policy=GATED), seen(25, GOOD, an_order(Verb.APPROVE)), NOON)

    assert (written(waiting), kinds(waiting)) == (None, {HoldKind.APPROVAL})
    assert waiting.reason == (
        "holding: approval: the share may not reach 100 % before somebody approves: `shifter approve shop`"
    )
    assert written(approved) == (Direction.CLIMB, 100)


def test_a_gate_further_up_holds_nothing_yet() -> None:
    assert written(decide(a_shift(share=5, policy=a_policy("a", "b", approvals=(100,))), seen(5), NOON)) == (
        Direction.CLIMB,
        25,
    )


def test_a_promotion_does_not_pass_a_gate_and_an_override_does() -> None:
    plain = an_order(Verb.PROMOTE, full=True)
    forced = an_order(Verb.PROMOTE, full=True, override=True)
    refused = decide(a_shift(policy=GATED), seen(25, GOOD, plain), NOON)

    assert answer_of(refused) == (Answer.REFUSED, "not promoted: approval: nobody has approved 100 % yet")
    assert written(decide(a_shift(policy=GATED), seen(25, GOOD, forced), NOON)) == (Direction.CLIMB, 100)


def test_members_are_kept_at_the_share_while_a_gate_is_closed() -> None:
    fewer = live((old(75, key="x"), old(0, key="old"), new(10)))
    decision = decide(a_shift(policy=GATED), replace(seen(), views=fewer), NOON)

    assert written(decision) in {(Direction.KEEP, 25.0), None}
    assert HoldKind.APPROVAL in kinds(decision)


def test_promote_to_a_step_goes_there_at_once() -> None:
    steep = a_policy("a", "b", steps=(5, 25, 50, 100))
    decision = decide(a_shift(share=5, policy=steep), seen(5, GOOD, an_order(Verb.PROMOTE, share=50.0)), NOON)
    below = decide(a_shift(policy=steep), seen(25, GOOD, an_order(Verb.PROMOTE, share=5.0)), NOON)

    assert written(decision) == (Direction.CLIMB, 50)
    assert answer_of(below) == (Answer.REFUSED, "not promoted: already at 25 %")


# Freeze and hands off


def test_a_freeze_stops_climbs_and_promotions_and_no_rollback() -> None:
    frozen = replace(seen(), freezes=(FREEZE,))
    promoted = replace(seen(25, GOOD, an_order(Verb.PROMOTE)), freezes=(FREEZE,))

    assert written(decide(a_shift(), frozen, NOON)) is None
    assert answer_of(decide(a_shift(), promoted, NOON))[0] is Answer.REFUSED
    assert written(decide(a_shift(), replace(seen(25, BAD), freezes=(FREEZE,)), NOON)) == (Direction.RETREAT, 0)


def test_hands_off_says_what_it_would_do() -> None:
    decision = decide(a_shift(paused=HANDS_OFF), seen(25, BAD), NOON)

    assert (decision.write, decision.hands_off, decision.state.phase) == (None, True, Phase.SHIFTING)
    assert (
        "until 2026-03-04 12:05:00 UTC nothing is written, not even to go back, by order of ann: vendor;"
        " `shifter resume shop` ends it" in decision.reason
    )
    assert "(it would go back: istio fails 10 % against tcm 0 %" in decision.reason


def test_hands_off_refuses_what_would_write() -> None:
    decision = decide(a_shift(paused=HANDS_OFF), seen(25, GOOD, an_order(Verb.PROMOTE)), NOON)

    assert answer_of(decision) == (Answer.REFUSED, "not promoted: hands off; resume it first")


def test_when_hands_off_is_over_what_is_due_is_done_and_the_pause_stays() -> None:
    later = NOON + timedelta(minutes=5)
    evidence = replace(seen(25, BAD), max_age=timedelta(hours=1))
    decision = decide(a_shift(paused=HANDS_OFF), evidence, later)

    assert not decision.hands_off
    assert decision.state.paused == HANDS_OFF
