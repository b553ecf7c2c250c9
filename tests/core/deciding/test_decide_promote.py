"""What is to be done about a shift? Promotions: what they skip, what they pass, and what they are refused for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shifter.core.counts.evidence import Ledger
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Decision
from shifter.core.deciding.orders import Answer, OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.state import Ceiling, Direction, Pause, Setback
from tests.core.shifts import (
    BAD,
    BOTH_BAD,
    DEAD,
    EARLIER,
    GOOD,
    LITTLE,
    NOON,
    PAUSED,
    A,
    a_policy,
    a_shift,
    an_intent,
    an_order,
    counted,
    live,
    new,
    old,
    seen,
    written,
)


def answered(decision: Decision, order_id: int = 1) -> tuple[Answer, str]:
    (answer,) = (each for each in decision.answers if each.order_id == order_id)
    return answer.answer, answer.text


FULL = {"full": True}
OVERRIDE = {"override": True}


def test_promote_skips_the_soak_and_takes_the_next_step_only() -> None:
    at_5 = replace(seen(5, GOOD, an_order(Verb.PROMOTE)), settled_at=None)
    decision = decide(a_shift(share=5), at_5, NOON)

    assert written(decision) == (Direction.CLIMB, 25)
    assert decision.reason == "to 25 %: promoted by bob: because"
    assert answered(decision) == (Answer.ACCEPTED, "promoted to the next step")
    assert decision.write is not None
    assert decision.write.by == "bob"


@pytest.mark.parametrize("ledger", [Ledger(), LITTLE], ids=["none", "little"])
def test_promote_skips_missing_evidence(ledger: Ledger) -> None:
    decision = decide(a_shift(), seen(25, ledger, an_order(Verb.PROMOTE)), NOON)

    assert written(decision) == (Direction.CLIMB, 100)
    assert not decision.state.overridden


@pytest.mark.parametrize("override", [True, False])
def test_what_was_promoted_is_written_as_a_persons_word(*, override: bool) -> None:
    order = replace(an_order(Verb.PROMOTE), request=OrderRequest("shop", Verb.PROMOTE, "bob", "", override=override))
    decision = decide(a_shift(), seen(25, GOOD, order), NOON)

    assert decision.write is not None
    assert (decision.write.promoted, decision.write.override) == (True, override)
    assert decision.write.reason == "to 100 %: promoted by bob"


def test_an_override_goes_up_even_while_a_step_back_is_owed() -> None:
    owed = a_shift(ceiling=Ceiling(share=25, reason="errors", at=EARLIER))
    decision = decide(owed, seen(25, GOOD, an_order(Verb.PROMOTE, override=True)), NOON)

    assert written(decision) == (Direction.CLIMB, 100)


def test_promote_skips_the_wait_after_a_failed_write() -> None:
    setback = Setback(reason="busy", at=NOON, count=6)
    decision = decide(a_shift(setback=setback), seen(25, GOOD, an_order(Verb.PROMOTE)), NOON)

    assert written(decision) == (Direction.CLIMB, 100)


def test_promote_ends_a_pause() -> None:
    decision = decide(a_shift(paused=PAUSED), seen(25, GOOD, an_order(Verb.PROMOTE)), NOON)

    assert written(decision) == (Direction.CLIMB, 100)
    assert (decision.state.paused, decision.holds, decision.state.holds) == (None, (), ())


def test_promote_full_goes_to_100_at_once() -> None:
    decision = decide(a_shift(share=10), seen(10, GOOD, an_order(Verb.PROMOTE, **FULL)), NOON)

    assert written(decision) == (Direction.CLIMB, 100)


def test_from_0_percent_promote_full_goes_to_99_first_so_that_half_of_the_write_leaves_nobody_unserved() -> None:
    decision = decide(a_shift(Phase.WAITING, 0), seen(0, GOOD, an_order(Verb.PROMOTE, **FULL)), NOON)

    assert written(decision) == (Direction.CLIMB, 99)
    assert decision.state.phase is Phase.SHIFTING
    assert decision.reason == (
        "to 100 %: promoted by bob: because; to 99 % first, since half of a write to 100 % would leave a route without"
        " weight"
    )


BARRED: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "incident": ({}, counted(BOTH_BAD)),
    "drift": ({}, {"views": live(50)}),
    "preflight": ({}, {"views": {key: replace(view, refusal="no") for key, view in live(25).items()}}),
    "cold source": ({}, {"views": live((old(75, DEAD), new(25)))}),
    "provider": ({}, {"views": None}),
    "policy": ({}, {"policy_problem": "the file is gone"}),
    "lease": ({}, {"leader": False}),
    "a write is under way": ({"intent": an_intent(Direction.CLIMB, 25, 100)}, {}),
    "a write is under way (writing tcm 95 · istio 5": ({"intent": an_intent(Direction.RETREAT, 25, 5)}, {}),
}


@pytest.mark.parametrize("barrier", BARRED)
def test_promote_is_refused_with_what_stands_in_its_way_and_leaves_a_pause_alone(barrier: str) -> None:
    state_changes, changes = BARRED[barrier]
    evidence = replace(seen(25, GOOD, an_order(Verb.PROMOTE)), **changes)  # type: ignore[arg-type]
    decision = decide(a_shift(paused=PAUSED).model_copy(update=state_changes), evidence, NOON)

    answer, text = answered(decision)
    assert answer is Answer.REFUSED
    assert text.startswith(f"not promoted: {barrier}")
    assert written(decision) is None
    assert decision.state.paused == PAUSED


@pytest.mark.parametrize("barrier", ["drift", "preflight", "provider", "policy", "lease"])
def test_override_passes_neither_drift_nor_a_lost_lease_nor_the_like(barrier: str) -> None:
    order = an_order(Verb.PROMOTE, **FULL, **OVERRIDE)
    evidence = replace(seen(25, GOOD, order), **BARRED[barrier][1])  # type: ignore[arg-type]
    decision = decide(a_shift(), evidence, NOON)

    assert answered(decision)[0] is Answer.REFUSED
    assert (written(decision), decision.state.overridden) == (None, False)


@pytest.mark.parametrize("barrier", ["incident", "cold source"])
def test_override_passes_the_signs_of_a_dying_source(barrier: str) -> None:
    order = an_order(Verb.PROMOTE, **FULL, **OVERRIDE)
    evidence = replace(seen(25, GOOD, order), **BARRED[barrier][1])  # type: ignore[arg-type]
    decision = decide(a_shift(), evidence, NOON)

    assert written(decision) == (Direction.CLIMB, 100)
    assert decision.write is not None
    assert decision.write.override


def test_a_failing_target_rolls_back_and_refuses_the_promotion() -> None:
    decision = decide(a_shift(), seen(25, BAD, an_order(Verb.PROMOTE)), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert answered(decision)[0] is Answer.REFUSED
    assert answered(decision)[1].startswith("not promoted: istio fails 10 % against tcm 0 %")


def test_override_passes_a_failing_verdict() -> None:
    decision = decide(a_shift(), seen(25, BAD, an_order(Verb.PROMOTE, **OVERRIDE)), NOON)

    assert written(decision) == (Direction.CLIMB, 100)
    assert decision.write is not None
    assert decision.write.override


def test_a_promotion_without_override_does_not_pass_a_failing_verdict_of_an_overridden_shift() -> None:
    decision = decide(a_shift(overridden=True), seen(25, BAD, an_order(Verb.PROMOTE)), NOON)

    assert written(decision) is None
    assert answered(decision)[1].startswith("not promoted: fail: istio fails")


@pytest.mark.parametrize("gone", [False, True], ids=["failing", "gone"])
def test_an_overridden_shift_neither_climbs_nor_goes_back_by_itself_on_a_failing_target(*, gone: bool) -> None:
    dead = replace(seen(25, BAD), target_unseen=True, views=live((old(75), new(25, DEAD))))
    decision = decide(a_shift(overridden=True), dead if gone else seen(25, BAD), NOON)

    assert written(decision) is None
    assert decision.state.phase is Phase.SHIFTING


def test_an_overridden_shift_stays_overridden_when_promoted_without() -> None:
    decision = decide(a_shift(overridden=True), seen(25, GOOD, an_order(Verb.PROMOTE)), NOON)

    assert decision.state.overridden


CEILING = Ceiling(share=100, reason="istio fails 3 %", at=EARLIER)
STEEP = a_policy("a", "b", steps=(5, 25, 50, 100))


@pytest.mark.parametrize("share", [5, 50], ids=["far below", "right below"])
def test_promote_does_not_go_to_the_share_that_failed(share: int) -> None:
    order = an_order(Verb.PROMOTE, **FULL)
    decision = decide(a_shift(share=share, policy=STEEP, ceiling=CEILING), seen(share, GOOD, order), NOON)

    assert written(decision) is None
    assert answered(decision) == (
        Answer.REFUSED,
        "not promoted: stepped back: it failed at 100 % (istio fails 3 %); `shifter retry shop` lets it go there again",
    )


def test_promote_goes_to_a_step_below_the_share_that_failed() -> None:
    decision = decide(a_shift(share=5, policy=STEEP, ceiling=CEILING), seen(5, LITTLE, an_order(Verb.PROMOTE)), NOON)

    assert written(decision) == (Direction.CLIMB, 25)


def test_override_goes_to_the_share_that_failed() -> None:
    order = an_order(Verb.PROMOTE, **FULL, **OVERRIDE)
    decision = decide(a_shift(ceiling=CEILING), seen(25, GOOD, order), NOON)

    assert written(decision) == (Direction.CLIMB, 100)


def test_a_retry_and_a_promotion_in_one_tick_go_to_the_share_that_failed() -> None:
    orders = (an_order(Verb.RETRY, 1), an_order(Verb.PROMOTE, 2))
    decision = decide(a_shift(ceiling=CEILING), seen(25, GOOD, *orders), NOON)

    assert (decision.state.ceiling, written(decision)) == (None, (Direction.CLIMB, 100))


def test_promote_is_refused_beside_a_failing_target_that_its_policy_lets_stay_and_says_so_once() -> None:
    stays = a_policy("a", "b", on_failure="hold")
    decision = decide(a_shift(policy=stays), seen(25, BAD, an_order(Verb.PROMOTE)), NOON)

    answer, text = answered(decision)
    assert (written(decision), answer) == (None, Answer.REFUSED)
    assert text.startswith("not promoted: failing: istio fails 10 %")
    assert text.count("istio fails") == 1


def test_override_passes_a_failing_target_that_its_policy_lets_stay() -> None:
    stays = a_policy("a", "b", on_failure="hold")
    decision = decide(a_shift(policy=stays), seen(25, BAD, an_order(Verb.PROMOTE, **OVERRIDE)), NOON)

    assert written(decision) == (Direction.CLIMB, 100)


def test_promote_is_refused_while_a_step_back_is_owed() -> None:
    owed = a_shift(share=100, policy=STEEP, ceiling=CEILING)
    decision = decide(owed, seen(100, GOOD, an_order(Verb.PROMOTE)), NOON)

    assert written(decision) == (Direction.RETREAT, 50)
    assert answered(decision) == (Answer.REFUSED, "not promoted: it steps back")


@pytest.mark.parametrize("flags", [{}, FULL])
def test_promote_at_100_percent_is_refused(flags: dict[str, bool]) -> None:
    decision = decide(a_shift(share=100), seen(100, GOOD, an_order(Verb.PROMOTE, **flags)), NOON)

    assert written(decision) is None
    assert answered(decision) == (Answer.REFUSED, "not promoted: already at 100 %; it completes when it has soaked")


def test_a_promotion_that_weights_cannot_express_is_refused() -> None:
    views = live((old(75), new(25, DEAD)))
    decision = decide(a_shift(), replace(seen(25, GOOD, an_order(Verb.PROMOTE)), views=views), NOON)

    assert answered(decision)[0] is Answer.REFUSED
    assert "the target side has no healthy member" in answered(decision)[1]


@pytest.mark.parametrize("later", [Verb.PAUSE, Verb.ROLLBACK, Verb.PROMOTE])
@pytest.mark.parametrize("paused", [None, PAUSED])
def test_a_promotion_that_a_later_order_undid_is_refused(later: Verb, paused: Pause | None) -> None:
    orders = (an_order(Verb.PROMOTE, 1, **FULL), an_order(later, 2))
    decision = decide(a_shift(share=5, paused=paused), seen(5, GOOD, *orders), NOON)

    assert answered(decision, 1) == (Answer.REFUSED, "not promoted: a later order stands against it")
    assert answered(decision, 2)[0] is Answer.ACCEPTED
    assert decision.write is None or decision.write.to_share != 100


@pytest.mark.parametrize("later", [Verb.RESUME, Verb.RETRY])
def test_a_promotion_stands_beside_orders_that_do_not_contradict_it(later: Verb) -> None:
    orders = (an_order(Verb.PROMOTE, 1), an_order(later, 2))
    decision = decide(a_shift(), seen(25, GOOD, *orders), NOON)

    assert written(decision) == (Direction.CLIMB, 100)
    assert answered(decision, 1)[0] is Answer.ACCEPTED


@pytest.mark.parametrize("paused", [None, PAUSED], ids=["going", "paused"])
def test_the_first_step_is_promoted_to_once_the_source_has_its_full_weight(paused: Pause | None) -> None:
    """Half of a write that raises both sides would send the target several times the step."""
    asked = an_order(Verb.PROMOTE)
    fresh = a_shift(Phase.WAITING, share=0, paused=paused, weights={})
    bound_with_10 = replace(seen(0, GOOD, asked), views=live((old(10), new(0))))

    first = decide(fresh, bound_with_10, NOON)
    again = decide(fresh, seen(0, GOOD, asked), NOON)

    assert written(first) == (Direction.KEEP, 0)
    assert first.write is not None
    assert first.write.promoted
    assert answered(first) == (
        Answer.REFUSED,
        "not promoted: the source's weights first, still at 0 %; ask again",
    )
    assert written(again) == (Direction.CLIMB, 5)


def test_all_traffic_is_sent_at_once_from_a_source_that_died_with_any_weight() -> None:
    full = an_order(Verb.PROMOTE, full=True, override=True)
    dead = replace(seen(0, GOOD, full), views=live((old(10, DEAD), new(0))))

    decision = decide(a_shift(Phase.WAITING, share=0, weights={A.id: {"old": 10, "new": 0}}), dead, NOON)

    assert written(decision) == (Direction.CLIMB, 100)
