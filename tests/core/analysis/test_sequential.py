"""The arithmetic of bets: fair under every null, chosen before the outcome, and going the right way.

Fairness is shown by exact enumeration: every outcome of a tick with its binomial probability, on the bets that the
product itself chooses. numpy is the oracle of expectations and optima.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shifter.core.analysis import hypotheses, sequential
from shifter.core.analysis.hypotheses import Cell, Margin
from shifter.core.analysis.sequential import (
    CAP_NATS,
    GRID,
    HARM_PRIOR,
    HISTORY_WORSE,
    LEAST_RATE,
    SAFE,
    STARTS,
    WITHIN_EDGE,
    Starts,
    Wealth,
    add,
    alternatives,
    best_bet,
    bound,
    harm,
    history_bets,
    log_growth,
    new_start,
    open_wealth,
    reopened,
    stakes_left,
    with_source_rates,
)

FAIR = 1 + 1e-9
ROUNDED = 1 + 1e-8
"""What is kept is rounded to nine decimals."""

MANY = 3000


BASE = hypotheses.Test(
    tolerance=Margin(1.1, 1e-4),
    safety=Margin(1.5, 1e-3),
    pair_weight=0.8,
    history_weight=0.2,
    history_rate=0.01,
    history_requests=10_000.0,
    limit_rate=0.04,
)


def a_test(**changes: Any) -> hypotheses.Test:  # noqa: ANN401 - any field
    """Errors with the default margins, of a source with 1 % in its history."""
    return replace(BASE, **changes)


def binomial(n: int, p: float) -> np.ndarray:
    """Return the probability of 0, 1 ... n bad requests."""
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def after_one_tick(test: hypotheses.Test, cell: Cell, *, incident: bool = False) -> Wealth:
    return add(open_wealth([test]), [test], [cell], incident=incident)


def products(wealth: Wealth) -> np.ndarray:
    """Return all products of the first metric, harm and history first."""
    return np.array([*wealth.metrics[0].latest, *wealth.metrics[0].safety])


def random_nulls(seed: int) -> list[tuple[hypotheses.Test, int, int, float, bool]]:
    """Return (test, target's requests, source's requests, source's true rate, whether there is an incident)."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(MANY):
        believed, p_source = random.uniform(0, 0.8, 2) ** random.choice([1, 3])
        test = a_test(
            tolerance=Margin(random.uniform(1, 3), random.choice([0.0, 1e-4, 2e-3, 0.05])),
            safety=Margin(random.uniform(1, 3), 0.06),
            history_rate=believed,
            limit_rate=random.uniform(0.005, 0.9),
            dispersion=random.choice([1.0, 1.0, 1.7, 4.0]),
        )
        n_target, n_source = random.integers(1, 7, 2)
        found.append((test, int(n_target), int(n_source), float(p_source), bool(random.random() < 0.3)))
    return found


def expected(growths: dict[tuple[int, int], np.ndarray], p_target: float, p_source: float) -> Any:  # noqa: ANN401 - numpy's
    """Return E[e] over all outcomes (bad of the target, bad of the source)."""
    n_target, n_source = max(growths)
    of_target, of_source = binomial(n_target, p_target), binomial(n_source, p_source)
    return np.sum([of_target[i] * of_source[j] * np.exp(logs) for (i, j), logs in growths.items()], axis=0)


def test_no_comparison_gains_on_average_from_a_target_within_tolerance() -> None:
    worst = 0.0
    for test, n_target, n_source, p_source, incident in random_nulls(1):
        tolerated, _ = alternatives(test, test.history_rate, incident=incident)
        p_target = min(1.0, tolerated.of(p_source))
        metric = open_wealth([test]).metrics[0]
        growths = {
            (i, j): np.array(
                sequential._pair_growth(
                    metric, test, Cell(n_target, i, n_source, j, n_target / n_source), incident=incident
                )
            )
            for i in range(n_target + 1)
            for j in range(n_source + 1)
        }
        worst = max(
            worst, expected(growths, p_target, p_source).max(), expected(growths, 0.7 * p_target, p_source).max()
        )

    assert 0.9 < worst <= FAIR


def test_no_history_bet_gains_on_average_from_a_target_within_its_limit() -> None:
    worst = 0.0
    for test, n_target, _, _, _ in random_nulls(2):
        growths = {
            (i, 0): np.array(sequential._history_growth(test, Cell(n_target, i, 0, 0, None), incident=False))
            for i in range(n_target + 1)
        }
        worst = max(worst, expected(growths, test.limit_rate, 0.0).max())

    assert 0.9 < worst <= FAIR


def test_no_proof_of_safety_gains_on_average_from_a_target_at_the_excess_it_rules_out() -> None:
    worst = 0.0
    for test, n_target, n_source, p_source, _ in random_nulls(3)[: MANY // 4]:
        metric = open_wealth([test]).metrics[0]
        growths = {
            (i, j): np.array(sequential._safety(metric, test, Cell(n_target, i, n_source, j, n_target / n_source)))
            for i in range(n_target + 1)
            for j in range(n_source + 1)
        }
        logs = np.array([[growths[i, j] for j in range(n_source + 1)] for i in range(n_target + 1)])
        for index, excess in enumerate((*GRID, test.safety.rate)):
            p_target = Margin(test.safety.ratio, excess).of(p_source)
            if p_target <= 1:
                likely = np.outer(binomial(n_target, p_target), binomial(n_source, p_source))
                pair = np.exp(logs[:, :, 2 * index : 2 * index + 2])
                worst = max(worst, (likely[:, :, None] * pair).sum(axis=(0, 1)).max())

    assert 0.9 < worst <= ROUNDED


@pytest.mark.parametrize("size", [2, 5])
def test_clusters_as_large_as_the_dispersion_are_no_evidence(size: int) -> None:
    test = a_test(dispersion=float(size))
    metric = open_wealth([test]).metrics[0]
    clusters, p_source = 6, 0.1
    n = clusters * size
    growths = {
        (i, j): np.array(sequential._pair_growth(metric, test, Cell(n, i * size, n, j * size, 1.0), incident=False))
        for i in range(clusters + 1)
        for j in range(clusters + 1)
    }

    assert expected(growths, test.tolerance.of(p_source), p_source).max() <= FAIR


def test_without_dispersion_the_same_clusters_would_be_taken_for_evidence() -> None:
    test, size, p_source = a_test(), 5, 0.1
    metric = open_wealth([test]).metrics[0]
    growths = {
        (i, j): np.array(sequential._pair_growth(metric, test, Cell(30, i * size, 30, j * size, 1.0), incident=False))
        for i in range(7)
        for j in range(7)
    }

    assert expected(growths, test.tolerance.of(p_source), p_source).max() > 1.05


@pytest.mark.parametrize("foreseen", [False, True])
def test_an_incident_that_this_tick_began_or_ended_makes_no_bet_better_than_fair(*, foreseen: bool) -> None:
    test = a_test(history_rate=0.02)
    n, p_source, sick_from = 50, 0.02, 3
    growths = {}
    for i in range(n + 1):
        for j in range(n + 1):
            wealth = add(
                open_wealth([test]), [test], [Cell(n, i, n, j, 1.0)], incident=j >= sick_from, foreseen=foreseen
            )
            growths[i, j] = np.array(wealth.metrics[0].latest[: len(HARM_PRIOR)])

    assert expected(growths, test.tolerance.of(p_source), p_source).max() <= ROUNDED


def test_choosing_by_this_ticks_source_errors_would_not_be_fair() -> None:
    test = a_test(history_rate=0.02)
    n, p_source, sick_from = 50, 0.02, 3
    metric = open_wealth([test]).metrics[0]
    growths = {
        (i, j): np.array(sequential._pair_growth(metric, test, Cell(n, i, n, j, 1.0), incident=j >= sick_from))
        for i in range(n + 1)
        for j in range(n + 1)
    }

    mixed = expected(growths, test.tolerance.of(p_source), p_source) @ np.array(HARM_PRIOR)
    assert mixed > 1.001


rates = st.floats(1e-6, 0.8)
margins = st.builds(Margin, st.floats(1, 4), st.sampled_from([0.0, 1e-4, 2e-3, 0.05]))
ratios = st.floats(0.01, 50)


@given(rates, rates, margins, ratios)
def test_a_bet_has_the_sign_of_the_excess_and_can_always_be_paid(
    p_source: float, p_target: float, margin: Margin, ratio: float
) -> None:
    bet = best_bet(p_source, p_target, margin, ratio)

    assert -1 <= bet <= 1 / (margin.ratio * ratio) * FAIR
    assert math.copysign(1, bet) == math.copysign(1, p_target - margin.of(p_source)) or abs(bet) < 1e-12


@given(rates, rates, margins, ratios)
def test_no_other_bet_grows_faster_if_the_rates_are_as_believed(
    p_source: float, p_target: float, margin: Margin, ratio: float
) -> None:
    def growth(bets: np.ndarray) -> Any:  # noqa: ANN401 - numpy's
        lost = np.log1p(-margin.ratio * ratio * bets)
        return ratio * p_target * np.log1p(bets) + p_source * lost - ratio * margin.rate * bets

    most = 1 / (margin.ratio * ratio)
    others = np.linspace(-1 + 1e-9, most * (1 - 1e-9), 4001)
    bet = np.clip(best_bet(p_source, p_target, margin, ratio), others[0], others[-1])

    assert growth(np.array([bet]))[0] >= growth(others).max() - 1e-9


def test_where_no_failure_is_expected_and_none_tolerated_nothing_is_bet() -> None:
    assert best_bet(0.0, 0.0, Margin(1.0, 0.0), 1.0) == 0.0


def test_a_source_without_a_failure_and_a_policy_without_a_tolerance_are_judged_all_the_same() -> None:
    test = a_test(tolerance=Margin(1.0, 0.0), history_rate=0.0)

    assert harm(after_one_tick(test, Cell(100, 60, 100, 0, 1.0)), [test]) > 5


@given(p_source=rates, incident=st.booleans(), tolerance=margins)
def test_what_is_bet_on_is_always_worse_than_what_is_tolerated(
    *, p_source: float, incident: bool, tolerance: Margin
) -> None:
    tolerated, bad_rates = alternatives(a_test(tolerance=tolerance), p_source, incident=incident)

    assert tolerated.ratio >= (2 if incident else 1)
    assert all(rate > tolerated.of(p_source) for rate in bad_rates)


def test_history_bets_lose_everything_at_most_and_are_none_above_what_they_bet_on() -> None:
    assert history_bets(0.1) == pytest.approx((1.0, 4.0, 7.0))
    assert history_bets(0.9) == (0.0, 0.0, 0.0)


cells = st.builds(
    Cell,
    target=st.integers(10, 400),
    target_bad=st.integers(0, 6),
    source=st.integers(10, 400),
    source_bad=st.integers(0, 6),
    ratio=st.floats(0.05, 4),
    vouched=st.booleans(),
)
CAUTIOUS = a_test(dispersion=40.0)
"""Its growth never meets the cap, which would bend the line."""


def with_bad(cell: Cell, side: str, number: float) -> Cell:
    return replace(cell, target_bad=number) if side == "target" else replace(cell, source_bad=number)


@given(cell=cells, incident=st.booleans(), side=st.sampled_from(["target", "source"]))
def test_no_bet_depends_on_this_ticks_bad_requests(*, cell: Cell, incident: bool, side: str) -> None:
    """Growth is a straight line in either count, so each bad request is worth the same whatever their number."""
    at = [products(after_one_tick(CAUTIOUS, with_bad(cell, side, number), incident=incident)) for number in (0, 1, 2)]

    assert np.abs(at[2] - 2 * at[1] + at[0]).max() < 5e-9


@given(cells, st.integers(1, 50))
def test_more_bad_requests_of_the_target_never_lower_the_evidence(cell: Cell, more: int) -> None:
    test = a_test()
    worse = replace(cell, target_bad=cell.target_bad + more)

    assert harm(after_one_tick(test, worse), [test]) >= harm(after_one_tick(test, cell), [test])
    assert bound(after_one_tick(test, worse).metrics[0]) >= bound(after_one_tick(test, cell).metrics[0])


@given(cell=cells, more=st.integers(1, 50), incident=st.booleans())
def test_more_bad_requests_of_the_source_never_raise_a_comparison(*, cell: Cell, more: int, incident: bool) -> None:
    pairs = slice(len(HARM_PRIOR))
    before = after_one_tick(a_test(), cell, incident=incident).metrics[0]
    after = after_one_tick(a_test(), replace(cell, source_bad=cell.source_bad + more), incident=incident).metrics[0]

    assert all(np.array(after.latest[pairs]) <= np.array(before.latest[pairs]))
    assert all(np.array(after.safety) >= np.array(before.safety))


def test_clean_traffic_brings_the_bound_down_tick_by_tick() -> None:
    test = a_test()
    wealth = open_wealth([test])
    bounds = [bound(wealth.metrics[0])]
    for _ in range(200):
        wealth = add(wealth, [test], [Cell(500, 5, 500, 5, 1.0)], incident=False)
        bounds.append(bound(wealth.metrics[0]))

    assert bounds[0] == 1
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] <= test.safety.rate


def test_one_tick_adds_no_more_than_the_cap_to_any_product() -> None:
    wealth = after_one_tick(a_test(), Cell(10_000, 10_000, 10_000, 0, 1.0))

    assert max(wealth.metrics[0].latest) == CAP_NATS
    assert harm(wealth, [a_test()]) < 100


def test_a_metric_that_was_not_measured_bets_nothing() -> None:
    wealth = open_wealth([a_test(), a_test()])
    added = add(wealth, [a_test(), a_test()], [None, Cell(100, 50, 100, 0, 1.0)], incident=False)

    assert added.metrics[0] == wealth.metrics[0]
    assert added.metrics[1] != wealth.metrics[1]


def test_without_a_ratio_the_target_is_held_against_history_alone() -> None:
    metric = after_one_tick(a_test(), Cell(100, 50, 0, 0, None)).metrics[0]

    assert metric.latest[: len(HARM_PRIOR)] == (0.0,) * len(HARM_PRIOR)
    assert all(log > 0 for log in metric.latest[len(HARM_PRIOR) :])
    assert metric.safety == (0.0,) * len(metric.safety)


@pytest.mark.parametrize(
    ("cell", "incident"),
    [
        (Cell(100, 50, 100, 0, 1.0, vouched=False), False),
        (Cell(100, 50, 100, 0, 1.0), True),
        (Cell(0, 0, 100, 0, 1.0), False),
    ],
    ids=["a source unlike its history", "an incident", "no request of the target"],
)
def test_history_is_not_held_against_the_target_then(cell: Cell, *, incident: bool) -> None:
    metric = after_one_tick(a_test(), cell, incident=incident).metrics[0]

    assert metric.latest[len(HARM_PRIOR) :] == (0.0,) * len(HISTORY_WORSE)


def test_during_an_incident_twice_the_sources_rate_is_not_blamed() -> None:
    cell = Cell(1000, 180, 1000, 100, 1.0, vouched=False)
    test = a_test(history_rate=0.1)

    assert harm(after_one_tick(test, cell, incident=True), [test]) < 1 < harm(after_one_tick(test, cell), [test])


def test_the_sources_rate_is_smoothed_after_it_was_used() -> None:
    test = a_test(history_rate=0.0, history_requests=100.0)
    metric = after_one_tick(test, Cell(10, 0, 3, 1, 1.0)).metrics[0]

    assert metric.source_rate == pytest.approx(1 / 100)
    assert metric.source_weight == pytest.approx(100)


def test_a_source_that_was_never_seen_has_a_rate_of_0() -> None:
    test = a_test(history_rate=0.0, history_requests=0.0)

    assert after_one_tick(test, Cell(10, 0, 0, 0, None)).metrics[0].source_rate == 0


def test_one_request_of_a_source_that_was_never_seen_is_its_rate() -> None:
    test = a_test(history_rate=0.0, history_requests=0.0)

    assert after_one_tick(test, Cell(10, 0, 1, 1, 10.0)).metrics[0].source_rate == 1


@given(st.integers(1, 10_000))
def test_the_stakes_of_all_start_times_add_up_to_1(opened: int) -> None:
    """What is spent on openings so far, and what is in hand, whatever the number of openings."""
    spent = math.fsum(STARTS.weight(j) for j in range(1, opened + 1))

    assert STARTS.beginning + spent + STARTS.left(opened) == pytest.approx(1, abs=1e-12)


def test_every_start_takes_something_of_the_stakes_and_leaves_something() -> None:
    left = [stakes_left(start) for start in range(1000)]

    assert left[0] == 0.5
    assert left[1] == 0.25
    assert all(0 < after < before for before, after in pairwise(left))
    assert left[999] > 0.02


def test_a_new_start_keeps_what_the_closed_products_won() -> None:
    test = a_test()
    won = after_one_tick(test, Cell(100, 50, 100, 0, 1.0))
    opened = new_start(won)

    assert harm(opened, [test]) == pytest.approx(harm(won, [test]))
    assert opened.metrics[0].opened == (2, 2)
    assert opened.metrics[0].latest == (0.0,) * len(won.metrics[0].latest)
    assert opened.metrics[0].start == won.metrics[0].start
    assert opened.metrics[0].safety == won.metrics[0].safety


def test_before_the_first_tick_the_odds_are_even_however_often_the_share_changed() -> None:
    test = a_test()
    wealth = open_wealth([test])
    for _ in range(20):
        assert harm(wealth, [test]) == pytest.approx(1, abs=1e-9)
        wealth = new_start(wealth)


def test_a_limited_number_of_starts_is_kept_to() -> None:
    limited = Starts(beginning=0.5, weight=lambda _: 0.25, left=lambda j: 0.25 * (2 - j), reopen_below=None, most=2)
    wealth = new_start(open_wealth([a_test()]), limited)

    assert wealth.metrics[0].opened == (2, 2)
    assert new_start(wealth, limited) == wealth


def test_a_product_that_clean_traffic_used_up_is_opened_anew() -> None:
    test = a_test()
    poor = after_one_tick(test, Cell(5000, 0, 5000, 500, 1.0))
    again = reopened(poor)

    assert again.metrics[0].opened == (2, 2)
    assert harm(again, [test]) == pytest.approx(harm(poor, [test]))


@pytest.mark.parametrize(
    ("cell", "opened"),
    [(Cell(5000, 0, 5000, 500, 1.0, vouched=False), (2, 1)), (Cell(5000, 0, 0, 0, None), (1, 2))],
    ids=["comparisons", "history"],
)
def test_the_kind_that_is_used_up_is_opened_anew_alone(cell: Cell, opened: tuple[int, int]) -> None:
    """At 100 % nothing is compared, so that the comparisons, as rich as ever, must not keep the others closed."""
    test = a_test()
    poor = after_one_tick(test, cell)
    again = reopened(poor)

    assert again.metrics[0].opened == opened
    assert harm(again, [test]) == pytest.approx(harm(poor, [test]))
    assert reopened(again) == again


def test_one_metric_that_won_does_not_keep_the_products_of_another_closed() -> None:
    tests = [a_test(pair_weight=0.4, history_weight=0.1)] * 2
    cells = [Cell(100, 60, 100, 0, 1.0), Cell(5000, 0, 5000, 500, 1.0)]
    wealth = add(open_wealth(tests), tests, cells, incident=False)
    again = reopened(wealth)

    assert [metric.opened for metric in again.metrics] == [(1, 1), (2, 2)]
    assert harm(again, tests) == pytest.approx(harm(wealth, tests))


def test_a_product_that_is_not_used_up_runs_on() -> None:
    wealth = after_one_tick(a_test(), Cell(10, 0, 10, 0, 1.0))

    assert reopened(wealth) == wealth


def test_without_restarts_a_poor_product_runs_on() -> None:
    never = Starts(STARTS.beginning, STARTS.weight, STARTS.left, reopen_below=None)
    poor = after_one_tick(a_test(), Cell(5000, 0, 5000, 500, 1.0))

    assert reopened(poor, never) is poor


def test_a_source_that_is_not_steady_proves_nothing_and_is_compared_all_the_same() -> None:
    cell = Cell(1000, 0, 1000, 10, 1.0)
    steady, unsteady = (after_one_tick(a_test(), replace(cell, steady=each)).metrics[0] for each in (True, False))

    assert unsteady.safety == (0.0,) * len(unsteady.safety)
    assert max(steady.safety) > 0
    assert unsteady.latest == steady.latest


def test_bets_can_be_aimed_at_what_the_source_used_to_be() -> None:
    wealth = after_one_tick(a_test(), Cell(100, 50, 100, 50, 1.0))
    aimed = with_source_rates(wealth, [(0.01, 500.0)])

    assert (aimed.metrics[0].source_rate, aimed.metrics[0].source_weight) == (0.01, 500)
    assert products(aimed).tolist() == products(wealth).tolist()


def test_the_bound_is_the_smallest_excess_whose_mean_product_reached_20() -> None:
    metric = open_wealth([a_test()]).metrics[0]
    logs = [0.0] * (len(SAFE) * len(GRID))
    logs[2 * 5] = math.log(39.001)

    assert bound(metric) == 1
    assert bound(replace(metric, safety=tuple(logs))) == GRID[5]
    logs[2 * 5] = math.log(38.9)
    assert bound(replace(metric, safety=tuple(logs))) == 1


def test_wealth_beyond_all_measure_is_still_a_number() -> None:
    test = a_test()
    metric = replace(open_wealth([test]).metrics[0], start=(5000.0,) * 7, latest=(-5000.0,) * 7)

    assert math.isfinite(harm(Wealth((metric,)), [test]))


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=6),
    st.lists(st.floats(0, 1), min_size=6, max_size=6),
)
@example([(300, 0)], [1.0] * 6)
def test_no_counts_make_anything_but_finite_numbers(requests: Sequence[tuple[int, int]], parts: list[float]) -> None:
    assume(requests)
    test = a_test(tolerance=Margin(1.0, 0.0), history_rate=0.0, history_requests=0.0)
    wealth = open_wealth([test])
    for (target, source), part in zip(requests, parts, strict=False):
        ratio = target / source if target and source else None
        cell = Cell(target, part * target, source, (1 - part) * source, ratio)
        wealth = reopened(add(wealth, [test], [cell], incident=part > 0.5))

    assert math.isfinite(harm(wealth, [test]))
    assert 0 < bound(wealth.metrics[0]) <= 1


def test_the_margin_itself_is_a_bound_of_its_own() -> None:
    """Whatever margin a policy names, proof of it need not wait for the next excess of the grid."""
    metric = open_wealth([a_test()]).metrics[0]
    proven = replace(metric, safety=(*metric.safety[:-2], math.log(40), math.log(40)))

    assert bound(proven, 0.033) == 0.033
    assert bound(proven) == 1
    assert bound(metric, 0.033) == 1


@pytest.mark.parametrize("ratio", [1e-100, 1e-9, 1.0, 1e6, 1e18, 1e100])
def test_no_ratio_of_requests_is_too_odd_to_bet_on(ratio: float) -> None:
    """One request against millions, and what only a broken datasource counts."""
    for p_source in (0.0, 1e-9, 0.01, 0.8):
        for p_target in (0.0, 1e-5, 0.5):
            bet = best_bet(p_source, p_target, Margin(1.5, 0.95), ratio)
            assert -FAIR <= bet <= 1 / (1.5 * ratio) * FAIR
    wealth = after_one_tick(a_test(), Cell(1.0, 0.0, 1.0, 0.0, ratio))
    assert all(math.isfinite(log) for log in (*wealth.metrics[0].latest, *wealth.metrics[0].safety))


def test_growth_is_formula_1() -> None:
    cell, margin, bet = Cell(30, 4, 60, 3, 0.5), Margin(1.1, 0.01), 0.7

    assert log_growth(bet, margin, cell) == pytest.approx(
        4 * math.log(1.7) + 3 * math.log(1 - 1.1 * 0.5 * 0.7) - 30 * 0.01 * 0.7
    )


@pytest.mark.parametrize("ratio", [0.01, 1.0, 99.0])
@pytest.mark.parametrize("times", [1.0, 1.5])
def test_a_proof_of_safety_grows_by_formula_1_with_the_best_bet(ratio: float, times: float) -> None:
    """Also where an excess is as small as the source's rate, and the target has nearly all requests."""
    test = a_test(safety=Margin(times, 1e-3))
    cell = Cell(30, 1, 30 / ratio, 2, ratio)

    safety = iter(after_one_tick(test, cell).metrics[0].safety)

    for excess in (*GRID, 1e-3):
        margin = Margin(times, excess)
        for safe in SAFE:
            rate = min(WITHIN_EDGE * margin.of(0.01), safe * 0.01 + LEAST_RATE)
            bet = max(best_bet(0.01, rate, margin, ratio), -0.98)
            assert next(safety) == pytest.approx(log_growth(bet, margin, cell), abs=1e-8)
