"""What may a hold forbid, whom does it call, and what is left of holds once a shift is completed?"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from shifter.core.analysis.verdicts import NOT_YET, Assessment, Verdict
from shifter.core.counts.evidence import Ledger
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.holds import Hold, HoldKind, forbids, pages
from shifter.core.deciding.orders import Answer, Verb, obey
from shifter.core.phases import Phase
from shifter.core.records import SERVICE
from shifter.core.state import Ceiling, Direction, Failure, Freeze, ShiftState
from tests.core.shifts import (
    BAD,
    DEAD,
    EARLIER,
    NOON,
    PAUSED,
    a_policy,
    a_shift,
    an_intent,
    an_order,
    kinds,
    live,
    new,
    old,
    seen,
    written,
)

GOOD = Assessment(Verdict.PASS, "fine")
FAILING = Assessment(Verdict.FAIL, "bad")


@pytest.mark.parametrize("kind", HoldKind)
def test_every_hold_forbids_a_climb_of_the_services_own(kind: HoldKind) -> None:
    intent = an_intent(Direction.CLIMB, 5, 25)

    assert forbids([Hold(kind, "why")], intent, a_shift()) == "why"


def test_a_promotion_is_sent_without_evidence_and_an_override_beside_a_dying_source() -> None:
    intent = an_intent(Direction.CLIMB, 5, 25).model_copy(update={"promoted": True})
    dying = [Hold(HoldKind.INCIDENT, "both bad"), Hold(HoldKind.COLD_SOURCE, "cold")]

    assert forbids([Hold(HoldKind.NO_SIGNAL, "blind")], intent, a_shift()) == ""
    assert forbids(dying, intent, a_shift()) == "both bad; cold"
    assert forbids(dying, intent, a_shift(overridden=True)) == ""
    assert forbids(dying, intent.model_copy(update={"override": True}), a_shift()) == ""
    assert forbids([Hold(HoldKind.DRIFT, "drift")], intent, a_shift(overridden=True)) == "drift"


@pytest.mark.parametrize("kind", [HoldKind.APPROVAL, HoldKind.STEPPED_BACK, HoldKind.HALF_APPLIED])
def test_keeping_the_share_needs_no_leave_to_raise_it(kind: HoldKind) -> None:
    keep = an_intent(Direction.KEEP, 25, 25)

    assert forbids([Hold(kind, "why")], keep, a_shift()) == ""
    assert forbids([Hold(HoldKind.FREEZE, "frozen")], keep, a_shift()) == "frozen"


def test_what_a_person_ordered_beside_a_pause_is_stopped_only_by_a_later_one() -> None:
    ordered = an_intent(Direction.KEEP, 25, 25).model_copy(update={"promoted": True})
    held = [Hold(HoldKind.PAUSE, "lunch")]
    later = PAUSED.model_copy(update={"at": NOON})

    assert forbids(held, ordered, a_shift(paused=PAUSED)) == ""
    assert forbids(held, ordered, a_shift(paused=later)) == "lunch"


def test_a_bug_of_ours_forbids_climbs_and_says_what_to_do() -> None:
    decision = decide(a_shift(), replace(seen(), bug="KeyError: 'x'"), NOON)

    assert kinds(decision) == {HoldKind.BUG}
    assert decision.write is None
    assert decision.reason == "holding: bug: a bug of shifter struck (KeyError: 'x'); restart it and report this"


@pytest.mark.parametrize(
    "changes",
    [
        {"policy_problem": "its policy file is gone"},
        {"signal_problem": "tcm: Prometheus shows no gateway pod"},
        {"views": live((old(0, DEAD), new(100)))},
        {"views": None, "provider_problem": "no answer"},
        {"ledger": Ledger()},
    ],
    ids=["file deleted", "tcm's pods gone", "tcm's members dead", "provider silent", "no evidence"],
)
def test_a_completed_shift_ends_quietly(changes: dict[str, object]) -> None:
    state = a_shift(Phase.COMPLETED, 100)
    evidence: Evidence = replace(seen(100), **changes)  # type: ignore[arg-type]
    decision = decide(state, evidence, NOON)

    assert decision.holds == ()
    assert not pages(decision.state, decision.holds, decision.assessment, 0)


def test_a_completed_shift_calls_for_drift_a_failing_target_and_traffic_left_on_the_source() -> None:
    state = a_shift(Phase.COMPLETED, 100)

    assert kinds(decide(state, replace(seen(100), views=live(50)), NOON)) == {HoldKind.DRIFT}
    assert pages(state, [Hold(HoldKind.DRIFT, "who?")], GOOD, 0)
    assert pages(state, [], FAILING, 0)
    assert pages(state, [], GOOD, 1)
    assert not pages(state, [], GOOD, 0)


@pytest.mark.parametrize("kind", HoldKind)
def test_every_hold_calls_somebody_but_what_somebody_wanted(kind: HoldKind) -> None:
    quiet = {"pause", "freeze", "approval"}
    loud = {"hands off", "restored", "no signal", "incident", "drift", "preflight", "half-applied", "cold source"}
    loud |= {"cold target", "stepped back", "failing", "provider", "policy", "lease", "bug", "unreadable"}

    assert (kind in quiet) != (kind in loud), "whether this hold calls somebody is not written down"
    assert pages(a_shift(), [Hold(kind, "why")], GOOD, 0) == (kind in loud)


@pytest.mark.parametrize("phase", [Phase.ROLLING_BACK, Phase.ROLLED_BACK])
def test_a_shift_that_went_back_calls_somebody(phase: Phase) -> None:
    assert pages(a_shift(phase, 0), [], GOOD, 0)


def test_a_rollback_that_a_person_ordered_or_has_seen_calls_nobody_once_it_is_done() -> None:
    ordered = Failure(reason="ordered by ann", share=25, at=NOON, ordered=True)

    assert pages(a_shift(Phase.ROLLING_BACK, 0, failure=ordered), [], GOOD, 0)
    assert not pages(a_shift(Phase.ROLLED_BACK, 0, failure=ordered), [], GOOD, 0)
    assert not pages(a_shift(Phase.ROLLED_BACK, 0, paused=PAUSED), [], GOOD, 0)
    assert pages(a_shift(Phase.ROLLED_BACK, 0, paused=PAUSED), [Hold(HoldKind.DRIFT, "who?")], GOOD, 0)


def test_a_failing_target_that_nothing_sends_back_calls_somebody_and_says_so() -> None:
    decision = decide(a_shift(overridden=True), seen(25, BAD), NOON)

    assert pages(decision.state, decision.holds, decision.assessment, 0)
    assert decision.reason.startswith("failing at tcm 75 · istio 25: istio fails 10 % against tcm 0 %")
    assert decision.reason.endswith("nothing goes back by itself after --override, `shifter rollback shop` does")
    assert not pages(a_shift(share=0), [], FAILING, 0)


@pytest.mark.parametrize(("override", "sent"), [(False, False), (True, True)])
@pytest.mark.parametrize("kind", [HoldKind.STEPPED_BACK, HoldKind.FAILING])
def test_only_an_override_is_sent_to_a_share_that_failed_or_beside_a_failing_target(
    kind: HoldKind, *, override: bool, sent: bool
) -> None:
    intent = an_intent(Direction.CLIMB, 5, 25).model_copy(update={"promoted": True, "override": override})

    assert (forbids([Hold(kind, "why")], intent, a_shift()) == "") is sent


def test_a_share_that_was_stepped_back_from_is_not_gone_to_again_and_somebody_is_called() -> None:
    ceiling = Ceiling(share=100, reason="istio fails 3 %", at=EARLIER)
    decision = decide(a_shift(ceiling=ceiling), seen(), NOON)

    assert (decision.write, kinds(decision)) == (None, {HoldKind.STEPPED_BACK})
    assert decision.reason == (
        "holding: stepped back: it failed at 100 % (istio fails 3 %); `shifter retry shop` lets it go there again"
    )
    assert pages(decision.state, decision.holds, decision.assessment, 0)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.SHIFTING])
def test_a_ceiling_holds_only_a_shift_on_its_way(phase: Phase) -> None:
    ceiling = Ceiling(share=5, reason="errors", at=EARLIER)
    decision = decide(a_shift(phase, 0, ceiling=ceiling), seen(0), NOON)

    assert HoldKind.STEPPED_BACK not in kinds(decision)


def test_steps_below_the_ceiling_are_taken() -> None:
    ceiling = Ceiling(share=100, reason="errors", at=EARLIER)
    decision = decide(a_shift(share=5, ceiling=ceiling), seen(5), NOON)

    assert (decision.holds, written(decision)) == ((), (Direction.CLIMB, 25))


STAYS = a_policy("a", "b", on_failure="hold")


def test_a_failing_target_whose_policy_says_hold_stays_and_calls_somebody() -> None:
    decision = decide(a_shift(policy=STAYS), seen(25, BAD), NOON)

    assert (decision.write, kinds(decision)) == (None, {HoldKind.FAILING})
    assert decision.state.phase is Phase.SHIFTING
    assert decision.reason.endswith("onFailure is hold: `shifter rollback shop` goes back")
    assert pages(decision.state, decision.holds, decision.assessment, 0)


def test_a_target_that_is_gone_stays_as_well_where_the_policy_says_hold() -> None:
    gone = replace(seen(), target_unseen=True, views=live((old(75), new(25, DEAD))), signal_problem="istio: no pod")
    decision = decide(a_shift(policy=STAYS), gone, NOON)

    assert (decision.write, decision.state.phase) == (None, Phase.SHIFTING)
    assert pages(decision.state, decision.holds, decision.assessment, 0)


def test_an_order_to_go_back_is_obeyed_where_the_policy_says_hold() -> None:
    decision = decide(a_shift(policy=STAYS), seen(25, BAD, an_order(Verb.ROLLBACK)), NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_a_target_that_does_not_fail_is_not_held_where_the_policy_says_hold() -> None:
    assert decide(a_shift(policy=STAYS), seen(), NOON).holds == ()


def test_an_overridden_shift_says_that_nothing_goes_back_whatever_its_policy_says() -> None:
    decision = decide(a_shift(policy=STAYS, overridden=True), seen(25, BAD), NOON)

    assert decision.holds == ()
    assert decision.reason.startswith("failing at tcm 75 · istio 25")


@pytest.mark.parametrize(
    ("to_share", "by", "is_repair"), [(25, "shifter", True), (50, "shifter", True), (5, "shifter", False)]
)
def test_a_step_back_is_no_half_of_a_climb_and_a_repair_is(to_share: int, by: str, *, is_repair: bool) -> None:
    under_way = an_intent(Direction.RETREAT, 100, to_share).model_copy(update={"by": by})
    decision = decide(a_shift(intent=under_way), seen(), NOON)

    assert (HoldKind.HALF_APPLIED in kinds(decision)) is is_repair


def test_the_same_share_anew_is_no_half_of_a_climb() -> None:
    anew = an_intent(Direction.RETREAT, 25, 25)

    assert decide(a_shift(intent=anew), seen(), NOON).holds == ()


def test_a_repair_is_told_beside_what_else_holds() -> None:
    repair = an_intent(Direction.RETREAT, 100, 25)
    decision = decide(a_shift(intent=repair), replace(seen(), leader=False), NOON)

    assert kinds(decision) == {HoldKind.LEASE, HoldKind.HALF_APPLIED}


@pytest.mark.parametrize("share", [1, 50])
def test_a_route_that_must_not_be_written_says_only_that(share: int) -> None:
    views = {route: replace(view, refusal="not ours") for route, view in live(share).items()}
    decision = decide(a_shift(share=25), replace(seen(), views=views), NOON)

    assert set(decision.holds) == {Hold(HoldKind.PREFLIGHT, "not ours")}


@pytest.mark.parametrize(("share", "is_stray"), [(0, False), (1, True)])
def test_a_shift_that_never_wrote_begins_where_nothing_is_the_targets(share: int, *, is_stray: bool) -> None:
    decision = decide(a_shift(Phase.WAITING, 0, weights={}), replace(seen(0), views=live(share)), NOON)

    assert (HoldKind.PREFLIGHT in kinds(decision)) is is_stray
    assert written(decision) == (None if is_stray else (Direction.CLIMB, 5))


def test_while_a_write_is_under_way_its_weights_are_nobody_elses_doing() -> None:
    decision = decide(
        a_shift(share=5, intent=an_intent(Direction.CLIMB, 5, 25)), replace(seen(5), views=live(25, 5)), NOON
    )

    assert decision.holds == ()


@pytest.mark.parametrize(
    ("phase", "is_held"), [(Phase.WAITING, True), (Phase.SHIFTING, True), (Phase.ROLLING_BACK, False)]
)
def test_only_a_shift_on_its_way_up_waits_for_an_approval(phase: Phase, *, is_held: bool) -> None:
    state = a_shift(phase, 0 if phase is Phase.WAITING else 25, policy=a_policy("a", "b", approvals=(5, 100)))
    decision = decide(state, seen(int(state.share)), NOON)

    assert (HoldKind.APPROVAL in kinds(decision)) is is_held


def test_what_a_file_that_was_put_back_says_is_told_apart_from_a_persons_freeze() -> None:
    freezes = (Freeze(by=SERVICE, reason="an older file", at=NOON), Freeze(by="ann", reason="", at=NOON))
    decision = decide(a_shift(), replace(seen(), freezes=freezes), NOON)

    assert {hold.kind: hold.reason for hold in decision.holds} == {
        HoldKind.RESTORED: "an older file",
        HoldKind.FREEZE: "all shifts are frozen by ann; `shifter unfreeze` ends it",
    }


def drift_of(phase: Phase, share: int, live_share: int, **changes: Any) -> tuple[ShiftState, str]:  # noqa: ANN401
    """Return a shift that drifted, and what is said about it."""
    state = a_shift(phase, share)
    decision = decide(state, replace(seen(live_share), **changes), NOON)
    (said,) = (hold.reason for hold in decision.holds if hold.kind is HoldKind.DRIFT)
    return state, said


@pytest.mark.parametrize(
    ("phase", "share", "live_share", "orders"),
    [
        (Phase.WAITING, 0, 25, ["reconcile shop --adopt", "--restore"]),
        (Phase.SHIFTING, 25, 50, ["reconcile shop --adopt", "--restore"]),
        (Phase.COMPLETED, 100, 0, ["rollback shop", "retry", "reconcile shop --restore"]),
        (Phase.ROLLED_BACK, 0, 25, ["rollback shop"]),
    ],
)
def test_drift_names_the_orders_that_are_obeyed_in_its_phase(
    phase: Phase, share: int, live_share: int, orders: list[str]
) -> None:
    state, said = drift_of(phase, share, live_share)
    adopted, answer = obey(state, an_order(Verb.RECONCILE, adopt=True), NOON)
    _, back = obey(state, an_order(Verb.ROLLBACK), NOON)

    assert [told.removeprefix("shifter ") for told in re.findall("`(.+?)`", said)] == orders
    assert ("--adopt" in said) is (answer.answer is Answer.ACCEPTED) is (adopted.wish is not None)
    assert back.answer is Answer.ACCEPTED


def test_a_completed_shift_that_was_restored_after_a_rollback_goes_on_as_its_drift_says() -> None:
    freezes = (Freeze(by=SERVICE, reason="put back from a backup", at=NOON),)
    evidence = replace(seen(0), freezes=freezes)
    back = decide(a_shift(Phase.COMPLETED, 100), replace(evidence, orders=(an_order(Verb.ROLLBACK),)), NOON)
    again = decide(back.state, replace(evidence, orders=(an_order(Verb.RETRY, 2),)), NOON)
    restored = decide(a_shift(Phase.COMPLETED, 100), replace(evidence, orders=(an_order(Verb.RECONCILE),)), NOON)

    assert [each.answers[0].answer for each in (back, again, restored)] == ["accepted", "accepted", "refused"]
    assert (back.state.phase, back.state.share, back.write) == (Phase.ROLLED_BACK, 0, None)
    assert (again.state.phase, again.state.attempt, again.write) == (Phase.WAITING, 2, None)
    assert "it would raise the share; restored: put back from a backup" in restored.answers[0].text


@pytest.mark.parametrize(("by", "says"), [("ann", "somebody changed the weights: "), (SERVICE, "(hold `restored`)")])
def test_drift_beside_what_was_put_back_accuses_nobody(by: str, says: str) -> None:
    freezes = (Freeze(by=by, reason="why", at=NOON),)
    _, said = drift_of(Phase.COMPLETED, 100, 0, freezes=freezes)

    assert says in said
    assert said.startswith("what is saved may be older than the weights") is (by == SERVICE)
    assert "last verified tcm 0 · istio 100" in said


def test_who_does_not_lead_is_told_what_that_means_in_a_cluster_and_with_a_file() -> None:
    decision = decide(a_shift(), replace(seen(), leader=False), NOON)
    (said,) = (hold.reason for hold in decision.holds if hold.kind is HoldKind.LEASE)

    assert said == (
        "this process does not hold the lease (any more): in a cluster another one may lead by now, and with a file"
        " it is to be restarted; see runbook 'Hold: lease'"
    )


def test_a_cold_source_is_told_once() -> None:
    cold = live((old(75, DEAD), new(25)))
    decision = decide(a_shift(), replace(seen(), views=cold, workload_problem="no answer"), NOON)

    assert [hold.kind for hold in decision.holds] == [HoldKind.COLD_SOURCE]
    assert "no healthy member" in decision.holds[0].reason


def test_the_moment_before_the_first_count_calls_nobody() -> None:
    assert not pages(a_shift(), [Hold(HoldKind.NO_SIGNAL, NOT_YET)], GOOD, 0)
    assert pages(a_shift(), [Hold(HoldKind.NO_SIGNAL, "istio: no answer")], GOOD, 0)


def test_a_failing_target_calls_somebody_from_the_least_share_on_and_nobody_at_0() -> None:
    assert pages(a_shift(share=1), [], FAILING, 0)
    assert not pages(a_shift(share=0), [], FAILING, 0)


def test_a_shift_on_its_way_without_holds_calls_nobody() -> None:
    assert not pages(a_shift(), [], GOOD, 1)
