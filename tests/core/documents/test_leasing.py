"""Which settings of a lease are refused, and what people read then."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shifter.core.documents.leasing import LeaseTiming, Leasing
from shifter.errors import ConfigError


def test_the_default_timing_hands_over_within_48_seconds() -> None:
    assert LeaseTiming().hand_over_seconds == 48


def test_a_lease_of_three_seconds_obeys_the_same_rules() -> None:
    timing = LeaseTiming(3, 2.0, 1.2, 0.4, 0.8, 60.0)

    assert timing.hand_over_seconds == pytest.approx(5.0)


@pytest.mark.fault(
    on="Kubernetes",
    fault="a lease's timing under which two could lead",
    does="does not start; nothing is adjusted",
    sees="exit 2: the lease's timing: write budget is 11 s and must be at most ...",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        (
            "write_budget_seconds",
            11,
            (
                "write budget is 11 s and must be at most deadline - 2 x renew (20 s - 2 x 5 s = 10 s), or one lost"
                " renewal stops every climb"
            ),
        ),
        (
            "duration_seconds",
            29,
            (
                "deadline is 20 s and must be at most duration / 1.5 (29 s / 1.5 = 19.3333 s), or with clocks of unlike"
                " speed two could lead"
            ),
        ),
        (
            "call_seconds",
            8,
            (
                "deadline is 20 s and must be at least renew + 2 x call (5 s + 2 x 8 s = 21 s), or a renewal whose"
                " answer is lost costs the lease"
            ),
        ),
        (
            "lowering_seconds",
            30,
            (
                "lowering is 30 s and must be at least duration + write budget (30 s + 8 s = 38 s): before that nobody"
                " else can lead"
            ),
        ),
        ("lowering_seconds", 20_000, "lowering is 20000 s and must be at most 14400 s"),
        ("renew_seconds", 0, "renew is 0 s and must be more than 0 s"),
        ("deadline_seconds", float("nan"), "deadline is nan s and must be more than 0 s"),
        ("duration_seconds", 30.5, "duration is 30.5 s and must be whole seconds, at most 600"),
        ("duration_seconds", 601, "duration is 601 s and must be whole seconds, at most 600"),
    ],
)
def test_timing_that_breaks_a_rule_is_refused_with_both_numbers(setting: str, value: float, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        LeaseTiming(**{setting: value})

    assert str(refused.value) == f"the lease's timing: {said}"


def test_every_broken_rule_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"write budget is 19 s.*; deadline is 20 s") as refused:
        LeaseTiming(duration_seconds=25, write_budget_seconds=19)

    assert str(refused.value).count(";") == 1


def test_a_fleet_file_with_timing_that_breaks_a_rule_is_refused() -> None:
    with pytest.raises(ValidationError, match="write budget is 11 s and must be at most deadline - 2 x renew"):
        Leasing.model_validate({"writeBudget": "11s"})


def test_the_defaults_of_a_fleet_file_are_those_of_the_lease() -> None:
    assert Leasing().timing() == LeaseTiming()


def test_a_renewal_that_failed_is_tried_again_before_the_next_one_is_due() -> None:
    assert 0 < LeaseTiming().retry_seconds < LeaseTiming().renew_seconds
