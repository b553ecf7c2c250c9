"""Nothing waits in silence for ever: what is late is said with a reason, and what has one already is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shifter.core.analysis.climbing import PATIENCE_IF_DOUBTED
from shifter.core.analysis.verdicts import Assessment, Verdict
from shifter.core.counts.evidence import Counts, Ledger
from shifter.core.deciding.holds import Hold, HoldKind
from shifter.core.deciding.overdue import GRACE_TICKS, overdue
from shifter.core.phases import Phase
from shifter.core.state import Direction
from tests.core.shifts import GOOD, NOON, POLICY, a_shift, an_intent, live, seen, ticks

UNDECIDED = Assessment(Verdict.TOO_LITTLE, "not enough to go back, too much to go on")
TICK = timedelta(seconds=5)
LONGEST = POLICY.spec.analysis.hold + GRACE_TICKS * TICK


def settling(waited: timedelta, ledger: Ledger = GOOD) -> str:
    evidence = replace(seen(25, ledger), settling_since=NOON - waited)
    return overdue(a_shift(), evidence, (), UNDECIDED, NOON)


def standing(seconds: float, assessment: Assessment = UNDECIDED) -> str:
    evidence = seen()
    assert evidence.standing is not None
    evidence = replace(evidence, settling_since=None, standing=replace(evidence.standing, seconds=seconds))
    return overdue(a_shift(), evidence, (), assessment, NOON)


def test_a_share_that_the_metrics_never_show_is_late_after_the_hold_and_ten_ticks() -> None:
    assert settling(LONGEST) == ""
    assert "does traffic reach a mesh by another way" in settling(LONGEST + TICK)


def test_a_share_that_nobody_uses_is_late_with_the_way_on() -> None:
    assert "`shifter promote shop` goes on without traffic" in settling(LONGEST + TICK, ticks(Counts(), Counts()))


def test_odds_that_decide_nothing_are_late_after_the_longest_hold() -> None:
    assert standing(60) == ""
    assert "roll back, or widen the tolerance" in standing(24 * 3600)
    assert standing(24 * 3600, Assessment(Verdict.PASS, "good")) == ""


@pytest.mark.parametrize("phase", [Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.COMPLETED])
def test_only_a_shift_that_is_under_way_can_be_late(phase: Phase) -> None:
    evidence = replace(seen(), settling_since=NOON - 2 * LONGEST)

    assert overdue(a_shift(phase), evidence, (), UNDECIDED, NOON) == ""


def test_of_what_has_a_reason_or_a_deadline_nothing_is_said() -> None:
    evidence = replace(seen(), settling_since=NOON - 2 * LONGEST)
    writing = a_shift(intent=an_intent(Direction.CLIMB, 25, 100))

    assert overdue(a_shift(), evidence, (Hold(HoldKind.FREEZE, "frozen"),), UNDECIDED, NOON) == ""
    assert overdue(writing, evidence, (), UNDECIDED, NOON) == ""


@pytest.mark.parametrize(("share", "is_late"), [(0, False), (1, True)])
def test_a_share_is_late_from_the_least_one_on(share: int, *, is_late: bool) -> None:
    evidence = replace(seen(), settling_since=NOON - 2 * LONGEST)

    assert bool(overdue(a_shift(share=share), evidence, (), UNDECIDED, NOON)) is is_late


def test_the_balancers_own_lag_is_waited_for_as_well() -> None:
    slow = {route: replace(view, settle_seconds=30) for route, view in live(25).items()}
    lags = [
        overdue(a_shift(), replace(seen(), views=views, settling_since=NOON - waited), (), UNDECIDED, NOON)
        for views, waited in (
            (slow, LONGEST + timedelta(seconds=30)),
            (slow, LONGEST + timedelta(seconds=31)),
            (None, LONGEST),
            (None, LONGEST + timedelta(seconds=1)),
        )
    ]

    assert [bool(said) for said in lags] == [False, True, False, True]


def test_odds_are_late_after_the_soak_the_longest_hold_and_ten_ticks() -> None:
    spec = POLICY.spec
    longest = (spec.soak + PATIENCE_IF_DOUBTED * spec.analysis.hold + GRACE_TICKS * TICK).total_seconds()

    assert standing(longest) == ""
    assert standing(longest + 1)
