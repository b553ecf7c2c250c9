"""Confidence limits: known values, and that they cover what they promise to cover."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.analysis.intervals import bootstrap, median_limits, upper_limit, wilson


def test_none_of_a_thousand_may_be_three_in_a_thousand() -> None:
    assert upper_limit(0, 1000) == pytest.approx(0.00299, abs=1e-5)
    assert upper_limit(5, 5) == 1.0


def test_wilson_never_leaves_0_and_1() -> None:
    assert wilson(0, 50)[0] == 0.0
    assert wilson(50, 50)[1] == 1.0
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_worst_of_many_has_wider_limits() -> None:
    assert wilson(8, 10, 20) == pytest.approx((0.3454, 0.9681), abs=1e-4)


def test_wilson_covers_the_rate_most_of_the_time() -> None:
    hits = np.random.default_rng(1).binomial(200, 0.1, 500)

    covered = np.mean([low <= 0.1 <= high for low, high in (wilson(int(each), 200) for each in hits)])

    assert covered > 0.92


def test_the_bootstrap_of_a_mean_is_about_two_standard_errors_wide() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(10, 2, 400)

    low, high = bootstrap(values, lambda many: many.mean(axis=-1), rng)

    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
    assert bootstrap(np.full(5, 3.0), lambda many: many.mean(axis=-1), rng) == (3.0, 3.0)


def test_a_median_lies_between_order_statistics() -> None:
    values = np.arange(1.0, 101.0)

    low, high = median_limits(values)

    assert (low, high) == (40.0, 61.0)
    assert np.isnan(median_limits(np.array([]))[0])
