"""Odds and parts, as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.analysis.verdicts import odds, percent


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.0, "1:1"),
        (1.42, "1.4:1"),
        (9.96, "10:1"),
        (240.4, "240:1"),
        (12_345, "12,345:1"),
        (1e9, "over 1,000,000:1"),
        (0.5, "1:2"),
        (0.05, "1:20"),
        (0.0, "1:over 1,000,000"),
    ],
)
def test_odds_are_said_as_one_number_against_another(value: float, said: str) -> None:
    assert odds(value) == said


@pytest.mark.parametrize(
    ("bad", "requests", "said"),
    [
        (31, 1000, "3.1 %"),
        (1, 1, "100 %"),
        (996, 1000, "100 %"),
        (126, 1000, "13 %"),
        (0, 10, "0 %"),
        (1, 10_000, "0.01 %"),
        (1, 1e9, "0.0001 %"),
        (0, 0, "? %"),
    ],
)
def test_a_part_is_said_with_two_digits(bad: float, requests: float, said: str) -> None:
    assert percent(bad, requests) == said


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_no_part_is_said_as_a_power_of_ten(requests: int, part: float) -> None:
    assert "e" not in percent(part * requests, requests)
