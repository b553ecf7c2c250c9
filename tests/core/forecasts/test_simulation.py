"""Made-up traffic: chance that is as it should be, and the same for the same seed."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from shifter.core.counts.evidence import INFINITY_MS, Answer, Answers
from shifter.core.forecasts.simulation import (
    MEDIAN_MS,
    PAIR_BAD,
    SCENARIOS,
    Load,
    binomial,
    error_rates,
    faster,
    one_tick,
    poisson,
)

EDGES = (25.0, 50.0, 100.0, 500.0)
LOAD = Load(100, 0.01, EDGES)
TICK = (0.0, 15.0)
DRAWS = 4000


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - traffic, no secret


def requests(answers: Answers) -> float:
    return sum(answers.by_answer.values())


@pytest.mark.parametrize(
    ("trials", "probability"), [(10, 0.3), (10, 0.9), (1000, 0.004), (1000, 0.5), (10**6, 1e-5), (10**6, 0.999)]
)
def test_binomial_has_the_mean_and_variance_of_its_distribution(trials: int, probability: float) -> None:
    chance = seeded(7)
    drawn = [binomial(trials, probability, chance) for _ in range(DRAWS)]
    mean, variance = trials * probability, trials * probability * (1 - probability)

    assert statistics.fmean(drawn) == pytest.approx(mean, abs=5 * math.sqrt(variance / DRAWS))
    assert statistics.variance(drawn) == pytest.approx(variance, rel=0.15)
    assert 0 <= min(drawn) <= max(drawn) <= trials


@pytest.mark.parametrize(("trials", "probability", "count"), [(0, 0.5, 0), (9, 0.0, 0), (9, 1.0, 9), (-1, 0.2, 0)])
def test_binomial_at_its_edges_is_certain(trials: int, probability: float, count: int) -> None:
    assert binomial(trials, probability, seeded(1)) == count


@pytest.mark.parametrize("mean", [0.0, 0.05, 3.0, 29.0, 31.0, 4000.0])
def test_poisson_has_its_mean_and_variance(mean: float) -> None:
    chance = seeded(7)
    drawn = [poisson(mean, chance) for _ in range(DRAWS)]

    assert statistics.fmean(drawn) == pytest.approx(mean, abs=5 * math.sqrt(mean / DRAWS))
    assert statistics.variance(drawn) == pytest.approx(mean, rel=0.15, abs=0.01)
    assert min(drawn) >= 0


def test_the_same_seed_gives_the_same_traffic() -> None:
    first, second = (one_tick(SCENARIOS["worse-x5"], LOAD, TICK, 25, seeded(3)) for _ in range(2))

    assert first == second


def test_requests_go_by_the_share_and_the_halves_are_even() -> None:
    chance = seeded(1)
    ticks = [one_tick(SCENARIOS["clean"], LOAD, TICK, 25, chance) for _ in range(200)]
    first, second, target = (
        sum(requests(getattr(tick, part)) for tick in ticks) for part in ("first_half", "second_half", "target")
    )

    assert first + second + target == pytest.approx(200 * 1500, rel=0.02)
    assert target / (first + second + target) == pytest.approx(0.25, abs=0.01)
    assert first == pytest.approx(second, rel=0.02)


@pytest.mark.parametrize(
    ("name", "at", "share", "rates"),
    [
        ("clean", 0, 50, (0.01, 0.01)),
        ("worse-x2", 0, 50, (0.01, 0.02)),
        ("worse-x20", 0, 50, (0.01, 0.2)),
        ("dead", 0, 1, (0.01, 1.0)),
        ("slow", 0, 50, (0.01, 0.01)),
        ("both-fail", 100, 50, (0.01, 0.01)),
        ("both-fail", 200, 50, (0.3, 0.3)),
        ("both-fail", 500, 50, (0.01, 0.01)),
        ("capacity", 0, 50, (0.01, 0.01)),
        ("capacity", 0, 75, (0.01, 0.11)),
    ],
)
def test_each_scenario_fails_as_it_says(name: str, at: float, share: float, rates: tuple[float, float]) -> None:
    assert error_rates(SCENARIOS[name], 0.01, at, share) == pytest.approx(rates)


def test_no_multiple_of_errors_is_more_than_all_requests() -> None:
    assert error_rates(SCENARIOS["worse-x20"], 0.2, 0, 50) == (0.2, 0.95)


def test_failures_are_503_and_all_requests_are_in_the_histogram() -> None:
    target = one_tick(SCENARIOS["worse-x20"], LOAD, TICK, 50, seeded(1)).target
    edges, counts = zip(*target.buckets, strict=True)

    assert set(target.by_answer) == {Answer("200"), Answer("503")}
    assert edges == (*EDGES, INFINITY_MS)
    assert list(counts) == sorted(counts)
    assert counts[-1] == requests(target)


@pytest.mark.parametrize(("name", "slowness"), [("clean", 1), ("slow", 3)])
def test_times_are_log_normal_and_a_slow_target_is_slower(name: str, slowness: float) -> None:
    chance = seeded(1)
    load = Load(10_000, 0.01, EDGES)
    target = one_tick(SCENARIOS[name], load, TICK, 50, chance).target
    parts = {edge: count / requests(target) for edge, count in target.buckets}

    for edge in EDGES:
        assert parts[edge] == pytest.approx(faster(edge, slowness * MEDIAN_MS), abs=0.01)
    assert faster(40, 40) == 0.5
    assert faster(257, 40) == pytest.approx(0.99, abs=0.001)


def test_a_side_that_nobody_asks_counts_nothing() -> None:
    assert one_tick(SCENARIOS["clean"], LOAD, TICK, 0, seeded(1)).target == Answers()


def test_custom_pairs_count_every_request_and_are_as_bad_on_both_sides_in_any_scenario() -> None:
    load, chance = Load(10_000, 0.01, EDGES, pairs=("carts",)), seeded(3)
    counted = one_tick(SCENARIOS["dead"], load, TICK, 50, chance)

    for side in (counted.first_half + counted.second_half, counted.target):
        bad, total = side.pairs["carts"]
        assert total == requests(side)
        assert bad / total == pytest.approx(PAIR_BAD, rel=0.5)


def test_a_side_without_requests_counts_no_custom_pair() -> None:
    counted = one_tick(SCENARIOS["clean"], Load(100, 0.01, EDGES, pairs=("carts",)), TICK, 0, seeded(3))

    assert counted.target.pairs == {}
