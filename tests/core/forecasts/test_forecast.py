"""What a policy leads to: when, how soon it would be noticed, and what it may cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifter.core.documents.fleet import Timing
from shifter.core.documents.policy import AUTO_STEPS, PolicySpec
from shifter.core.forecasts.forecast import (
    RATE_UNKNOWN,
    TIMING_UNKNOWN,
    Clockwork,
    Estimate,
    Forecast,
    Outset,
    Place,
    assumptions,
    clockwork_of,
    forecast,
    live_row,
    rounded_up,
)
from shifter.core.forecasts.worst_case import Premise
from tests.core.shifts import a_policy

CLOCKWORK = Clockwork(15, 45, 10, 120)
HOLD = timedelta(minutes=4)


def a_spec(*steps: float, auto: bool = False, on_failure: str = "rollback", **analysis: Any) -> PolicySpec:  # noqa: ANN401 - as files say it
    """Steps 1, 10, 50 and 100 unless others are given, a soak of a minute, everything else as when omitted."""
    policy = a_policy("a", steps=() if auto else steps or (1, 10, 50, 100))
    changes: dict[str, Any] = {"on_failure": on_failure}
    if analysis:
        changes["analysis"] = type(policy.spec.analysis).model_validate(analysis, strict=False)
    return policy.spec.model_copy(update=changes)


def begins(found: Forecast) -> list[float | None]:
    return [step.begins.value for step in found.steps]


def test_each_step_begins_when_the_one_before_has_soaked() -> None:
    found = forecast(a_spec(), Outset(), CLOCKWORK, 1000)

    assert begins(found) == [0, 60, 120, 180]
    assert found.finished == Estimate(240)
    assert {step.stays.value for step in found.steps} == {60}


def test_a_balancer_that_lags_makes_every_step_longer() -> None:
    lagging = replace(CLOCKWORK, settle_seconds=40)

    assert begins(forecast(a_spec(), Outset(), lagging, 1000)) == [0, 100, 200, 300]
    assert (CLOCKWORK.settles_seconds, lagging.settles_seconds) == (15, 40)


def test_a_soak_shorter_than_a_tick_takes_a_tick() -> None:
    spec = a_spec().model_copy(update={"soak": timedelta(seconds=1)})

    assert begins(forecast(spec, Outset(), CLOCKWORK, 1000))[1] == 15


def test_before_the_first_step_the_source_is_learnt_in_ticks_and_requests() -> None:
    quick = forecast(a_spec(), Outset(learns=True), CLOCKWORK, 1000)
    slow = forecast(a_spec(), Outset(learns=True), CLOCKWORK, 0.1)
    never = forecast(a_spec(), Outset(learns=True), CLOCKWORK, 0.001)

    assert begins(quick)[0] == 8 * 15
    assert begins(slow)[0] == 67 * 15  # 1.5 requests a tick, 100 are needed
    assert begins(never)[0] == 240 * 15
    assert begins(forecast(a_spec(), Outset(learns=True), CLOCKWORK, None))[0] == 8 * 15


def test_a_first_step_beyond_the_blast_radius_waits_until_the_hold_is_over() -> None:
    small, larger, blind = (begins(forecast(a_spec(first, 100), Outset(), CLOCKWORK, 1000))[0] for first in (1, 5, 60))

    assert small == 0
    assert larger == blind == HOLD.total_seconds()


def test_what_was_waited_at_0_already_is_not_waited_again() -> None:
    waited = Outset(premise=Premise(waited_seconds=200))

    assert begins(forecast(a_spec(40, 100), waited, CLOCKWORK, 1000))[0] == 40
    assert begins(forecast(a_spec(60, 100), waited, CLOCKWORK, 1000))[0] == 40


def test_a_share_is_kept_for_want_of_proof_as_long_as_hold_or_soak_say_and_above_the_plateau_for_its_dwell() -> None:
    held = forecast(a_spec(10, 50, 75, 100), Outset(), CLOCKWORK, 1000).steps
    quiet = forecast(a_spec(10, 50, 75, 100), Outset(), CLOCKWORK, 1).steps
    soaked = forecast(a_spec(hold="20s"), Outset(), CLOCKWORK, 1000).steps

    assert [step.at_most.value for step in held] == [255, 255, 75, 75]
    # 300 requests at 0.75/s would take longer than 8 ticks, at 1/s as long.
    assert [step.at_most.value for step in quiet] == [255, 255, 135, 135]
    assert [step.stays.value for step in quiet] == [60, 60, 120, 120]
    assert [step.at_most.value for step in soaked] == [75, 75, 75, 75]


def test_the_last_step_needs_four_ticks_of_the_source_before_it() -> None:
    spec = a_spec(95, 100).model_copy(update={"soak": timedelta(seconds=15)})
    before, last = forecast(spec, Outset(), CLOCKWORK, 1000).steps

    assert (before.stays.value, last.stays.value) == (4 * 15, 15)


def test_at_most_is_counted_in_whole_ticks() -> None:
    step = forecast(a_spec(hold="4m1s"), Outset(), CLOCKWORK, 1000).steps[0]

    assert step.at_most == Estimate(15 + 17 * 15)


def test_auto_leaves_out_the_rungs_below_the_largest_that_the_blast_radius_allows_at_once() -> None:
    found = forecast(a_spec(auto=True), Outset(), CLOCKWORK, 1000)
    out = [step.share for step in found.steps if step.place is Place.LEFT_OUT]
    first = next(step for step in found.steps if step.place is Place.AHEAD)

    assert [step.share for step in found.steps] == list(AUTO_STEPS)
    assert out
    assert max(out) < first.share
    assert first.begins == Estimate(0)
    assert (first.costs.value or 0) <= (first.allowed.value or 0)
    after = next(step for step in found.steps if step.share > first.share)
    assert (after.costs.value or 0) > (after.allowed.value or 0)
    assert {step.begins.why for step in found.steps if step.place is Place.LEFT_OUT} == {"left out"}


def test_auto_takes_three_times_the_share_at_most_and_no_rung_is_left_out_above_the_plateau() -> None:
    spec = a_spec(auto=True)
    found = {step.share: step for step in forecast(spec, Outset(share=10, soaked_seconds=0), CLOCKWORK, 1000).steps}
    ahead = [share for share in AUTO_STEPS if share > 10]

    assert {found[share].begins.value for share in ahead if share <= 30} == {60}
    assert {found[share].begins.value for share in ahead if 30 < share <= 50} == {60 + 60}
    assert [found[share].begins.value for share in ahead if share > 50] == [180, 240, 300]


def test_with_auto_and_no_rate_any_step_that_may_be_the_first_may_come_at_once() -> None:
    found = forecast(a_spec(auto=True), Outset(), CLOCKWORK, None)

    assert {step.begins.value for step in found.steps if step.share <= 25} == {0}
    assert Place.LEFT_OUT not in {step.place for step in found.steps}


def test_a_share_at_which_it_failed_is_not_reached_again() -> None:
    found = forecast(a_spec(), Outset(share=10, ceiling=50), CLOCKWORK, 1000)
    why = "it failed at 50 % and stepped back: not reached again before a retry"

    assert [step.begins.why for step in found.steps] == ["done", "", why, why]
    assert found.finished == Estimate(None, why)


def test_a_step_may_cost_what_the_rule_that_holds_it_back_says_and_above_the_plateau_none_does() -> None:
    first, second, _, last = forecast(a_spec(), Outset(), CLOCKWORK, 1000).steps

    assert first.allowed == second.allowed == Estimate(1000)
    assert 350 <= (first.costs.value or 0) <= 360  # 1 % of 1000 for two ticks and 5 s, and a moment to find out
    assert (second.costs.value or 0) > 9 * (first.costs.value or 0)
    assert last.costs == last.allowed
    assert last.costs.why == "above 50 % a step is taken on proof or when the hold is over, whatever it could cost"


def test_of_the_step_that_a_shift_is_on_only_the_rest_of_the_soak_is_left() -> None:
    found = forecast(a_spec(), Outset(share=50, soaked_seconds=45), CLOCKWORK, 1000)

    assert [step.place for step in found.steps] == [Place.DONE, Place.DONE, Place.NOW, Place.AHEAD]
    assert begins(found) == [None, None, 0, 15]
    assert found.steps[2].at_most == Estimate(210)
    assert found.finished == Estimate(75)
    assert forecast(a_spec(), Outset(share=50, soaked_seconds=99), CLOCKWORK, 1000).steps[3].begins == Estimate(0)


def test_a_share_in_force_that_is_no_step_has_its_row_and_soaks_before_the_next_step() -> None:
    found = forecast(a_spec(), Outset(share=30, soaked_seconds=20), CLOCKWORK, 1000)

    assert [(step.share, step.place) for step in found.steps] == [
        (1, Place.DONE),
        (10, Place.DONE),
        (30, Place.NOW),
        (50, Place.AHEAD),
        (100, Place.AHEAD),
    ]
    assert begins(found) == [None, None, 0, 40, 100]
    assert found.steps[2].per_second == Estimate(300)


@pytest.mark.parametrize(("soaked", "stays"), [(None, 60), (0, 60), (20, 40), (20.4, 40), (99, 0)])
def test_the_share_in_force_stays_for_what_is_left_and_one_that_is_not_yet_for_all(
    soaked: float | None, stays: float
) -> None:
    found = forecast(a_spec(), Outset(share=100, soaked_seconds=soaked), CLOCKWORK, 1000)

    assert found.steps[3].stays == found.finished == Estimate(stays)


def test_a_share_that_is_live_though_the_way_begins_at_0_costs_requests_and_nothing_takes_it_back() -> None:
    live = live_row(a_spec(), 60, CLOCKWORK, 100, why="rolled back already")

    assert (live.place, live.per_second, live.begins) == (Place.NOW, Estimate(60), Estimate(0))
    assert live.stays == live.at_most == live.failed == Estimate(None, "rolled back already")
    assert live_row(a_spec(), 60, CLOCKWORK, None, why="x").per_second == Estimate(None, RATE_UNKNOWN)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-6, 1e7), st.floats(0.1, 99), st.floats(0.1, 300))
def test_the_numbers_are_rounded_up_before_they_are_multiplied_so_that_the_sum_can_be_done_again(
    rate: float, share: float, timeout: float
) -> None:
    clockwork = Clockwork(15, 30, 0.5, timeout)
    for step in forecast(a_spec(share, 100), Outset(), clockwork, rate).steps:
        assert step.per_second.value is not None
        assert float(f"{step.per_second.value:.4g}") == step.per_second.value
        assert step.per_second.value >= rate * step.share / 100 * (1 - 1e-9)
        if step.failed.value is not None and step.noticed.value is not None:
            assert step.noticed.value == round(step.noticed.value)
            product = step.per_second.value * (step.noticed.value + timeout)
            assert product - 1e-3 <= step.failed.value <= product + 1


def test_what_arithmetic_leaves_behind_is_not_rounded_up() -> None:
    assert rounded_up(25.000000000004) == 25
    assert rounded_up(102.61) == 102.7
    assert rounded_up(0) == 0


def test_a_gate_is_shown_at_the_step_that_passes_it_unless_that_is_behind() -> None:
    gates = (5.0, 50.0, 70.0, 100.0)

    assert [step.gates for step in forecast(a_spec(), Outset(gates=gates), CLOCKWORK, 9).steps] == [
        (),
        (5,),
        (50,),
        (70, 100),
    ]
    assert [step.gates for step in forecast(a_spec(), Outset(50, gates=gates), CLOCKWORK, 9).steps] == [
        (),
        (),
        (),
        (70, 100),
    ]


def test_a_gate_before_a_rung_that_is_left_out_is_shown_at_the_next_one() -> None:
    found = forecast(a_spec(auto=True), Outset(gates=(1.0,)), CLOCKWORK, 1000)
    gated = [step for step in found.steps if step.gates]

    assert [(step.place, step.gates) for step in gated] == [(Place.AHEAD, (1.0,))]


def test_the_worst_case_is_rate_times_share_times_the_time_until_it_is_undone() -> None:
    first = forecast(a_spec(10, 100), Outset(), CLOCKWORK, 100).steps[0]
    # Samples up to 45 s old, a tick that began before the failures, a late look; and two ticks of nothing but failures.
    seen = 45 + 15 + 2 * 10 + 1

    assert CLOCKWORK.seen_seconds == seen
    assert first.per_second == Estimate(10)
    assert first.noticed == Estimate(seen + 2 * 15)
    assert first.failed == Estimate(10 * (seen + 2 * 15 + 120))


@pytest.mark.parametrize(
    ("changes", "rate", "why"),
    [
        ({}, 0, "too few requests reach istio to notice within 1h that all of them fail"),
        ({}, 0.01, "too few requests reach istio to notice within 1h that all of them fail"),
        (
            {"on_failure": "stepBack"},
            1,
            "only one step goes back (onFailure: stepBack): too few requests to call it dead",
        ),
    ],
)
def test_what_no_rule_would_notice_or_undo_has_no_worst_case(changes: dict[str, Any], rate: float, why: str) -> None:
    first = forecast(a_spec(**changes), Outset(), CLOCKWORK, rate).steps[0]

    assert first.noticed == first.failed == Estimate(None, why)


def test_with_a_step_back_a_dead_target_goes_all_the_way_and_with_hold_nothing_does() -> None:
    back, kept = (
        forecast(a_spec(on_failure=each), Outset(), CLOCKWORK, 1000).steps[0] for each in ("stepBack", "hold")
    )

    assert back == forecast(a_spec(), Outset(), CLOCKWORK, 1000).steps[0]
    assert kept.noticed == back.noticed
    assert kept.failed == Estimate(None, "onFailure: hold: nothing goes back by itself")


def test_what_another_on_failure_means_is_among_the_assumptions() -> None:
    plain, back, kept = (assumptions(a_spec(on_failure=each)) for each in ("rollback", "stepBack", "hold"))

    assert back[:-1] == kept[:-1] == plain
    assert "goes all the way back, also with onFailure: stepBack" in back[-1]
    assert "nothing goes back by itself" in kept[-1]


def test_where_nothing_goes_back_by_itself_there_is_no_worst_case() -> None:
    found = forecast(a_spec(), Outset(no_way_back="promoted with --override"), CLOCKWORK, 1000)

    assert {step.failed for step in found.steps} == {Estimate(None, "promoted with --override")}
    assert found.finished == Estimate(240)


def test_without_a_rate_the_times_are_those_of_soak_and_hold() -> None:
    found = forecast(a_spec(), Outset(), CLOCKWORK, None)
    unknown = Estimate(None, RATE_UNKNOWN)

    assert begins(found) == [0, 60, 120, 180]
    assert [step.at_most.value for step in found.steps] == [255, 255, 255, 135]
    for step in found.steps:
        assert (step.per_second, step.noticed, step.failed) == (unknown,) * 3
    assert found.steps[0].costs == found.steps[0].allowed == unknown


def test_without_the_services_timing_there_is_only_the_soak() -> None:
    found = forecast(a_spec(), Outset(learns=True), None, 1000)
    unknown = Estimate(None, TIMING_UNKNOWN)

    assert begins(found) == [0, 60, 120, 180]
    for step in found.steps:
        assert (step.at_most, step.noticed, step.failed) == (unknown,) * 3
        assert step.per_second.value == 10 * step.share


def test_a_fleets_timing_becomes_seconds() -> None:
    assert clockwork_of(Timing()) == CLOCKWORK


@settings(max_examples=20, deadline=None)
@given(
    st.none() | st.lists(st.floats(0.1, 99), min_size=1, max_size=8, unique=True).map(sorted),
    st.floats(0, 100),
    st.none() | st.floats(0.5, 1e6),
    st.floats(0, 1e4),
)
def test_steps_never_begin_before_the_one_before_and_every_unknown_says_why(
    steps: list[float] | None, share: float, rate: float | None, soaked: float
) -> None:
    spec = a_spec(auto=True) if steps is None else a_spec(*steps, 100)
    found = forecast(spec, Outset(share, soaked), CLOCKWORK, rate)
    known = [begin for begin in begins(found) if begin is not None]

    assert known == sorted(known)
    assert [step.share for step in found.steps if step.place is Place.NOW] == ([share] if share > 0 else [])
    for step in found.steps:
        assert (step.at_most.value or 0) >= (step.stays.value or 0)
        for name in ("begins", "stays", "at_most", "per_second", "noticed", "failed", "costs", "allowed"):
            estimate = getattr(step, name)
            assert (estimate.value is None) == bool(estimate.why), name
            assert estimate.value is None or estimate.value >= 0
