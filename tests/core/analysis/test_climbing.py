"""Whether the next step may be taken: small enough, proven, or held long enough, and what is said of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shifter.core.analysis.climbing import (
    DOUBTED,
    HOLDBACK_TICKS,
    LATE_REQUESTS,
    LATE_TICKS,
    PATIENCE_IF_DOUBTED,
    Known,
    Permit,
    permit,
)
from shifter.core.analysis.standing import Standing
from shifter.core.analysis.steps import Pace, cost_of
from shifter.core.documents.policy import ShiftPolicy
from tests.core.evidences import a_history, a_policy, a_standing, a_story, learnt, timed

AUTO = a_policy(steps="auto")
LADDER = a_policy(steps=(5, 25, 50, 75, 100))
HOLD_SECONDS = 240.0
NOTHING_KNOWN = Known(alpha=0.01, harm=1.0, bounds=(1.0,), proven=False, ratio=1.5)
BOUNDED = Known(alpha=0.01, harm=1.0, bounds=(0.031,), proven=False, ratio=1.5)
PROVEN = Known(alpha=0.01, harm=0.5, bounds=(0.001,), proven=True, ratio=1.5)


def a_start(share: float, per_second: float = 100.0, **changes: Any) -> Standing:  # noqa: ANN401 - any field
    standing, _ = a_standing(replace(a_history(), per_tick=per_second * 15))
    changed = replace(standing, share=share, **changes)
    return replace(changed, exposed_seconds=changed.exposed_seconds or (changed.seconds if share > 0 else 0.0))


def permitted(policy: ShiftPolicy, standing: Standing, known: Known = NOTHING_KNOWN, **situation: object) -> Permit:
    _, metrics = a_standing()
    where = a_story(policy).situation(share=standing.share, **situation)
    return permit(policy.spec, standing, metrics, where, known)


def test_auto_takes_the_largest_step_that_is_small_enough() -> None:
    steps = [permitted(AUTO, a_start(0, per_second)).step for per_second in (0.2, 5, 2000)]

    assert steps[0] == 25
    assert steps == sorted(steps, reverse=True)  # type: ignore[type-var]  # none of them is None


def test_what_a_step_can_cost_is_said() -> None:
    standing, (_, metrics) = a_start(0, 0.2), a_standing()
    cost = cost_of(standing, metrics, 25, Pace(0.01, 15.0, AUTO.spec.blast_radius)).worst

    assert permitted(AUTO, standing).said == (
        f"nothing is known of istio's failures yet; the step can cost {cost:.0f} failed requests"
    )


def test_a_step_of_a_list_waits_until_it_is_small_enough() -> None:
    waiting = permitted(LADDER, a_start(5), BOUNDED)
    patient = permitted(LADDER, a_start(5, seconds=239.0), BOUNDED)

    assert (waiting.granted, waiting.step) == (False, None)
    assert "a step to 25 % could cost" in waiting.said
    assert f"100 allowed so far; {BOUNDED.bounded}; about" in waiting.said
    assert "about 1 s more" in patient.said


def test_a_step_that_waiting_will_allow_sooner_than_the_hold_says_so() -> None:
    first = permitted(LADDER, a_start(5, per_second=5.0))
    assert "about 240 s more" not in first.said

    left = float(first.said.split("about ")[1].split(" s")[0])
    after = permitted(LADDER, a_start(5, per_second=5.0, seconds=left + 1))

    assert (first.granted, after.granted, after.step) == (False, True, 25)
    assert "held" not in after.said


def seconds_left(found: Permit) -> float:
    return float(found.said.split("about ")[1].split(" s")[0])


def test_only_where_the_target_has_users_does_waiting_allow_more() -> None:
    policy = a_policy(steps=(1, 5, 50, 100))

    assert seconds_left(permitted(LADDER, a_start(0, per_second=20.0))) == HOLD_SECONDS
    assert seconds_left(permitted(policy, a_start(1, per_second=20.0), BOUNDED)) < HOLD_SECONDS / 2


def test_the_time_left_goes_by_and_ends_with_nothing() -> None:
    first, later = (permitted(LADDER, a_start(5, per_second=5.0, seconds=seconds)) for seconds in (0.0, 10.0))

    assert seconds_left(later) == seconds_left(first) - 10
    assert seconds_left(permitted(LADDER, a_start(5, seconds=239.8), BOUNDED)) == 0


def test_what_was_waited_lower_down_does_not_make_the_time_left_look_shorter_than_it_is() -> None:
    long_exposed = a_start(5, per_second=2000.0, seconds=40.0, exposed_seconds=300.0)

    assert "about 200 s more" in permitted(LADDER, long_exposed).said


def test_before_the_first_step_waiting_allows_nothing_but_the_end_of_the_hold_does() -> None:
    waiting = permitted(LADDER, a_start(0, per_second=2000.0, seconds=HOLD_SECONDS - 15))
    over = permitted(LADDER, a_start(0, per_second=2000.0, seconds=HOLD_SECONDS))

    assert "about 15 s more" in waiting.said
    assert "2000 allowed so far" in waiting.said
    assert (over.granted, over.step) == (True, 5)


def test_when_the_hold_is_over_the_smallest_step_is_taken_and_called_bounded() -> None:
    over = permitted(LADDER, a_start(5, 2000, seconds=HOLD_SECONDS), BOUNDED)

    assert (over.granted, over.step) == (True, 25)
    assert over.said.startswith(f"bounded, not proven: {BOUNDED.bounded}; held 4m")


def test_some_evidence_of_harm_makes_the_hold_longer() -> None:
    doubted = replace(BOUNDED, harm=DOUBTED)
    held = a_start(5, 20_000, seconds=HOLD_SECONDS)
    long = a_start(5, 20_000, seconds=HOLD_SECONDS * PATIENCE_IF_DOUBTED)

    assert permitted(LADDER, held, BOUNDED).granted
    assert not permitted(LADDER, held, doubted).granted
    assert permitted(LADDER, long, doubted).granted


def test_the_plateau_is_left_on_proof() -> None:
    assert permitted(LADDER, a_start(50), PROVEN) == Permit(
        granted=True, said="no worse than tcm within the margins, proven on every metric", step=75
    )


def test_without_proof_the_plateau_is_kept_for_the_hold() -> None:
    waiting = permitted(LADDER, a_start(50, seconds=100.0), BOUNDED)
    over = permitted(LADDER, a_start(50, seconds=HOLD_SECONDS), BOUNDED)

    assert not waiting.granted
    assert waiting.said == (
        f"{BOUNDED.bounded}; not proven yet: errors; proof is being gathered, for 140 s more at most"
    )
    assert (over.granted, over.step) == (True, 75)
    assert "bounded, not proven" in over.said


def test_the_metrics_that_are_not_proven_yet_are_named_and_those_that_are_not() -> None:
    policy = a_policy({}, steps=(50, 75, 100))
    story = learnt(policy, source=timed(1500, 15))
    there, metrics = replace(story.known, share=50.0, seconds=0.0), story.metrics
    bounds = [metric.safety.rate for metric in metrics]
    some = Known(alpha=0.01, harm=1.0, bounds=(bounds[0], 0.2, *bounds[2:]), proven=False, ratio=1.5)
    none = replace(some, bounds=(1.0,) * len(metrics))
    where = a_story(policy).situation(share=50.0)
    said, of_none = (permit(policy.spec, there, metrics, where, known).said for known in (some, none))

    assert f"; not proven yet: {metrics[1].name}; proof is being gathered" in said
    assert f"; not proven yet: errors, {metrics[1].name}, " in of_none
    assert f" and {len(metrics) - 4} more; proof is being gathered" in of_none


def test_a_step_onto_the_plateau_needs_no_proof_if_it_is_small_enough() -> None:
    found = permitted(LADDER, a_start(25, per_second=0.2), BOUNDED)

    assert (found.granted, found.step) == (True, 50)
    assert found.said.startswith(f"bounded, not proven: {BOUNDED.bounded}; the step can cost ")


def test_a_step_across_the_plateau_is_taken_like_one_from_it() -> None:
    policy = a_policy(steps=(5, 100))

    assert not permitted(policy, a_start(5), BOUNDED).granted
    assert permitted(policy, a_start(5), PROVEN).step == 100


@pytest.mark.parametrize(
    ("requests", "ticks", "granted"),
    [
        (LATE_REQUESTS, 0, True),
        (LATE_REQUESTS - 1, LATE_TICKS - 1, False),
        (LATE_REQUESTS - 1, LATE_TICKS, True),
    ],
)
def test_above_the_plateau_a_limit_of_capacity_is_watched_for(requests: float, ticks: int, *, granted: bool) -> None:
    late = a_start(75, totals=((requests, 0.0, 100.0, 1.0),), ticks=ticks)
    policy = a_policy(steps=(75, 95, 100))

    assert permitted(policy, late, BOUNDED).granted is granted


def test_what_is_watched_for_is_said() -> None:
    late = a_start(75, totals=((100.0, 0.0, 100.0, 1.0),), ticks=3)

    assert permitted(AUTO, late).said == "watching for a limit of capacity: 200 requests or 5 ticks more"


def test_before_the_last_step_the_source_is_kept_for_some_ticks() -> None:
    early = a_start(95, totals=((5000.0, 0.0, 100.0, 1.0),), ticks=HOLDBACK_TICKS - 1)

    assert permitted(AUTO, early, PROVEN).said == "the source is kept to compare with for 1 tick more"
    assert permitted(AUTO, replace(early, ticks=HOLDBACK_TICKS), PROVEN).step == 100


def test_above_the_plateau_doubt_is_waited_out() -> None:
    doubted = replace(BOUNDED, harm=DOUBTED)
    late = a_start(75, totals=((5000.0, 0.0, 100.0, 1.0),), ticks=9)

    assert permitted(AUTO, late, doubted).said == "there is some evidence against istio: waiting for it to fade or grow"
    assert permitted(AUTO, replace(late, seconds=HOLD_SECONDS * PATIENCE_IF_DOUBTED), doubted).step == 95


def test_at_the_top_a_pass_has_no_step() -> None:
    top = a_start(100, totals=((5000.0, 0.0, 0.0, 0.0),), ticks=9)

    assert permitted(AUTO, top, PROVEN) == Permit(
        granted=True, said="no worse than tcm within the margins, proven on every metric", step=None
    )


@pytest.mark.parametrize("others", [0.0, 3.0])
def test_at_the_top_a_target_that_nobody_asks_is_no_reason_to_wait(others: float) -> None:
    top = a_start(100, totals=((0.0, 0.0, others, 0.0),), ticks=1)

    assert permitted(AUTO, top, PROVEN).granted


@pytest.mark.parametrize(
    ("share", "requests", "others", "unheard"),
    [(25, 0, 3, True), (25, 0, 2, False), (50, 0, 1, True), (50, 1, 1000, False)],
)
def test_a_target_is_unheard_that_should_have_had_a_request_and_answered_none(
    share: float, requests: float, others: float, *, unheard: bool
) -> None:
    standing = a_start(share, totals=((requests, 0.0, others, 0.0),))

    assert permitted(LADDER, standing, PROVEN).said.startswith("istio has answered no request") is unheard


@pytest.mark.parametrize("stops", [(5.0, None), (None, 5.0)], ids=["gate", "ceiling"])
def test_no_step_is_permitted_at_a_gate_or_a_ceiling(stops: tuple[float | None, float | None]) -> None:
    below = max(step for step in AUTO.spec.ladder if step < 5)
    gate, ceiling = stops

    assert permitted(AUTO, a_start(0, 0.2), gate=gate, ceiling=ceiling).step == below
    assert permitted(AUTO, a_start(below, 0.2), gate=gate, ceiling=ceiling) == Permit(
        granted=True, said="nothing is known of istio's failures yet", step=None
    )


def test_of_a_gate_and_a_ceiling_the_lower_one_counts() -> None:
    assert permitted(LADDER, a_start(0, 0.2), gate=25.0, ceiling=5.0).step is None
    assert permitted(LADDER, a_start(0, 0.2), gate=5.0, ceiling=25.0).step is None
    assert permitted(LADDER, a_start(0, 0.2), gate=50.0, ceiling=25.0).step == 5
