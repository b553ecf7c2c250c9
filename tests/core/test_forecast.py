"""What a policy leads to: when, how soon it would be noticed, and what it may cost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.fleet import Timing
from shifter.core.forecast import (
    RATE_UNKNOWN,
    Clockwork,
    Estimate,
    Forecast,
    Outset,
    Place,
    clockwork_of,
    forecast,
    rounded_up,
    standing,
)
from shifter.core.policy import PolicySpec
from tests.core.shifts import a_policy

CLOCKWORK = Clockwork(15, 45, 10, 120)


def a_spec(*steps: float, **analysis: Any) -> PolicySpec:  # noqa: ANN401 - as files say it
    """Steps 10, 50 and 100 unless others are given, a soak of a minute, a window of a minute, 100 requests, 1 %."""
    policy = a_policy("a", steps=steps or (10, 50, 100))
    changes = {"analysis": type(policy.spec.analysis).model_validate(analysis, strict=False)} if analysis else {}
    return policy.spec.model_copy(update=changes)


def begins(found: Forecast) -> list[float | None]:
    return [step.begins.value for step in found.steps]


def test_each_step_begins_when_the_one_before_has_settled_and_soaked() -> None:
    found = forecast(a_spec(), Outset(), CLOCKWORK, 1000)

    assert begins(found) == [0, 75, 150]
    assert found.finished == Estimate(225)
    assert {step.stays.value for step in found.steps} == {75}


def test_a_step_settles_for_a_tick_or_as_long_as_the_balancer_lags() -> None:
    assert Clockwork(15, 45, 10, 120, settle_seconds=4).settles_seconds == 15
    assert Clockwork(15, 45, 10, 120, settle_seconds=40).settles_seconds == 40


def test_a_step_stays_until_the_requests_that_are_needed_have_come() -> None:
    # 30 requests/s, 10 % of them: 100 take 33 s; a window of ten minutes and 2700 requests take 15 minutes.
    quick = forecast(a_spec(), Outset(), CLOCKWORK, 30)
    slow = forecast(a_spec(minRequests=1000, window="10m"), Outset(), CLOCKWORK, 30)

    assert quick.steps[0].evidence == Estimate(34)
    assert quick.steps[0].stays.value == 75
    assert slow.steps[0].stays == Estimate(334)


def test_a_step_whose_window_is_too_short_for_its_traffic_is_where_the_shift_stays() -> None:
    found = forecast(a_spec(), Outset(), CLOCKWORK, 10)
    first, second, _ = found.steps

    assert first.begins == Estimate(0)
    assert first.evidence.value is None
    assert first.evidence.why == "the window of 60 s holds about 45 requests to istio, and 100 are needed to judge"
    assert second.begins == Estimate(None, f"it stays at 10 %: {first.evidence.why}")
    assert found.finished == second.begins


def test_of_the_step_that_a_shift_is_on_only_the_rest_of_the_soak_is_left() -> None:
    found = forecast(a_spec(), Outset(share=50, soaked_seconds=45), CLOCKWORK, 1000)

    assert [step.place for step in found.steps] == [Place.DONE, Place.NOW, Place.AHEAD]
    assert begins(found) == [None, 0, 15]
    assert found.finished == Estimate(90)
    assert forecast(a_spec(), Outset(share=50, soaked_seconds=99), CLOCKWORK, 1000).steps[2].begins == Estimate(0)


def test_a_share_in_force_that_is_no_step_has_its_row_and_soaks_before_the_next_step() -> None:
    found = forecast(a_spec(), Outset(share=30, soaked_seconds=20), CLOCKWORK, 1000)

    assert [(step.share, step.place) for step in found.steps] == [
        (10, Place.DONE),
        (30, Place.NOW),
        (50, Place.AHEAD),
        (100, Place.AHEAD),
    ]
    assert begins(found) == [None, 0, 40, 115]
    assert found.steps[1].per_second == Estimate(300)


@pytest.mark.parametrize(("soaked", "stays"), [(None, 75), (0, 60), (20, 40), (20.4, 40), (99, 0)])
def test_the_share_in_force_stays_for_what_is_left_and_one_that_is_not_yet_for_all(
    soaked: float | None, stays: float
) -> None:
    found = forecast(a_spec(), Outset(share=100, soaked_seconds=soaked), CLOCKWORK, 1000)

    assert found.steps[2].stays == found.finished == Estimate(stays)


def test_a_share_that_is_live_though_the_way_begins_at_0_costs_requests_and_nothing_takes_it_back() -> None:
    live = standing(a_spec(), 60, CLOCKWORK, 100, why="rolled back already")

    assert (live.place, live.per_second, live.begins) == (Place.NOW, Estimate(60), Estimate(0))
    assert live.stays == live.failed == Estimate(None, "rolled back already")
    assert standing(a_spec(), 60, CLOCKWORK, None, why="x").per_second == Estimate(None, RATE_UNKNOWN)


@given(st.floats(1e-6, 1e7), st.floats(0.1, 99), st.floats(0.1, 300))
def test_the_numbers_are_rounded_up_before_they_are_multiplied_so_that_the_sum_can_be_done_again(
    rate: float, share: float, timeout: float
) -> None:
    clockwork = Clockwork(1, 3, 0.5, timeout)
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
        (5,),
        (50,),
        (70, 100),
    ]
    assert [step.gates for step in forecast(a_spec(), Outset(50, gates=gates), CLOCKWORK, 9).steps] == [
        (),
        (),
        (70, 100),
    ]


def test_the_worst_case_is_rate_times_share_times_the_time_until_it_is_undone() -> None:
    first = forecast(a_spec(), Outset(), CLOCKWORK, 100).steps[0]
    # 10/s on istio; 1 % of the 600 in a window and one more is 7; almost as many again may be forgotten: 13.
    seen = 45 + 15 + 2 * 10 + 1

    assert first.per_second == Estimate(10)
    assert seen + 13 / 10 == pytest.approx(82.3)
    assert first.noticed == Estimate(83)
    assert first.failed == Estimate(10 * (83 + 120))


def test_fewer_than_three_failures_are_never_noticed() -> None:
    found = forecast(a_spec(minRequests=1, errors={"maxPercent": 0.1}), Outset(), CLOCKWORK, 1).steps[0]

    # 0.1/s on istio: three failures need 30 s, and two more may be forgotten.
    assert found.noticed == Estimate(5 / 0.1 + 81)


@pytest.mark.parametrize(
    ("analysis", "rate", "why"),
    [
        (
            {"window": "20s"},
            1,
            "the window of 20 s holds about 1.5 requests to istio, and 3 must fail to fail the shift",
        ),
        ({"errors": {"maxPercent": 100}}, 1000, "errors.maxPercent 100 never fails a shift"),
        ({}, 0, "the window of 60 s holds about 0 requests to istio, and 3 must fail to fail the shift"),
    ],
)
def test_what_no_guard_would_notice_has_no_worst_case(analysis: dict[str, Any], rate: float, why: str) -> None:
    first = forecast(a_spec(**analysis), Outset(), CLOCKWORK, rate).steps[0]

    assert first.noticed == first.failed == Estimate(None, why)


def test_where_nothing_goes_back_by_itself_there_is_no_worst_case() -> None:
    found = forecast(a_spec(), Outset(no_way_back="promoted with --override"), CLOCKWORK, 1000)

    assert {step.failed for step in found.steps} == {Estimate(None, "promoted with --override")}
    assert found.finished == Estimate(225)


def test_without_a_rate_the_times_are_those_of_settle_and_soak() -> None:
    found = forecast(a_spec(), Outset(), CLOCKWORK, None)
    unknown = Estimate(None, RATE_UNKNOWN)

    assert begins(found) == [0, 75, 150]
    for step in found.steps:
        assert (step.per_second, step.evidence, step.noticed, step.failed) == (unknown,) * 4


def test_without_the_services_timing_there_is_only_the_soak() -> None:
    found = forecast(a_spec(), Outset(), None, 1000)
    unknown = Estimate(None, "the service's timing is unknown")

    assert begins(found) == [0, 60, 120]
    for step in found.steps:
        assert (step.evidence, step.noticed, step.failed) == (unknown,) * 3
        assert step.per_second.value == 10 * step.share


def test_a_fleets_timing_becomes_seconds() -> None:
    assert clockwork_of(Timing()) == CLOCKWORK


@given(
    st.lists(st.floats(0.1, 99), min_size=1, max_size=8, unique=True).map(sorted),
    st.floats(0, 100),
    st.none() | st.floats(0, 1e6),
    st.floats(0, 1e4),
)
def test_steps_never_begin_before_the_one_before_and_every_unknown_says_why(
    steps: list[float], share: float, rate: float | None, soaked: float
) -> None:
    found = forecast(a_spec(*steps, 100), Outset(share, soaked), CLOCKWORK, rate)
    known = [begin for begin in begins(found) if begin is not None]

    assert known == sorted(known)
    assert [step.share for step in found.steps if step.place is Place.NOW] == ([share] if share > 0 else [])
    for step in found.steps:
        for estimate in (step.begins, step.stays, step.per_second, step.evidence, step.noticed, step.failed):
            assert (estimate.value is None) == bool(estimate.why)
            assert estimate.value is None or estimate.value >= 0
