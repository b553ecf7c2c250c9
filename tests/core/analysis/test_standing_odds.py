"""The odds against a target: fair whatever happens on the way, blind to this tick's failures, and soon in any case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.analysis.measures import Kind, Metric
from shifter.core.analysis.sequential import bound
from shifter.core.analysis.standing import (
    Counted,
    Row,
    Standing,
    advance,
    at_share,
    evidence_of_harm,
    limit_rate,
)
from shifter.core.counts.evidence import Counts
from tests.core.evidences import TICK_SECONDS, a_policy, a_standing, learnt, timed
from tests.core.standings import a_row, a_start, added, odd_counts

# Fair, as a whole

Way = Sequence[tuple[int, int, float]]
"""What comes: the target's requests in a tick, the source's, and the share by then."""


def mean_harm(
    start: Standing, metrics: Sequence[Metric], way: Way, p_source: float
) -> tuple[float, set[tuple[int, int]]]:
    """Return E[M] over every outcome of all ticks of a target at its tolerance, and how many products were opened."""
    p_target = metrics[0].tolerance.of(p_source)
    found: dict[Standing, float] = {start: 1.0}
    for n_target, n_source, share in way:
        outcomes = [
            (i, j, of_target * of_source)
            for (i, of_target), (j, of_source) in product(
                enumerate(binomial(n_target, p_target)), enumerate(binomial(n_source, p_source))
            )
        ]
        following: dict[Standing, float] = {}
        for standing, likely in found.items():
            there = at_share(standing, metrics, share)
            for i, j, chance in outcomes:
                after = advance(there, metrics, a_row(n_target, i, n_source, j))
                following[after] = following.get(after, 0.0) + likely * chance
        found = following
    mean = math.fsum(likely * evidence_of_harm(standing, metrics) for standing, likely in found.items())
    return mean, {standing.wealth.metrics[0].opened for standing in found}


def binomial(n: int, p: float) -> list[float]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


FAIR = 1 + 1e-8
"""Logarithms are kept in nine decimals."""


@pytest.mark.parametrize("p_source", [0.001, 0.01, 0.1, 0.5, 0.8])
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize(
    "way",
    [
        [(6, 6, 50), (5, 6, 50)],
        [(3, 8, 25), (8, 3, 75)],
        [(2, 3, 5), (3, 2, 25), (2, 2, 25)],
        [(8, 1, 95), (9, 0, 100)],
    ],
    ids=["one share", "another share", "three ticks", "to the top"],
)
def test_the_odds_against_a_target_at_its_tolerance_do_not_grow_on_average(
    way: Way, rate: float, p_source: float
) -> None:
    standing, metrics = a_start(way[0][2], rate)
    if metrics[0].tolerance.of(p_source) > limit_rate(metrics[0], standing.history.metrics[0]):
        # It is beyond what history allows, and only the comparison must not blame it.
        metrics = unvouched(metrics)

    mean, _ = mean_harm(standing, metrics, way, p_source)

    assert 0.1 < mean <= FAIR


@pytest.mark.parametrize("p_source", [0.02, 0.05, 0.3])
def test_an_incident_of_both_does_not_make_the_odds_grow_on_average(p_source: float) -> None:
    """The source is far from its history: comparisons alone speak, and the incident begins within the tick or not."""
    standing, metrics = a_start(rate=0.001)
    unlike = replace(standing, recent=(((100.0, 30.0),),) * 7)

    mean, _ = mean_harm(unlike, metrics, [(40, 40, 50)], p_source)
    sudden, _ = mean_harm(standing, unvouched(metrics), [(40, 40, 50)], p_source)

    assert mean <= FAIR
    assert sudden <= FAIR


def unvouched(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """All that is staked on history is staked on the comparison."""
    return tuple(
        replace(metric, pair_weight=metric.pair_weight + metric.history_weight, history_weight=0.0)
        for metric in metrics
    )


def test_restarts_do_not_make_the_odds_grow_on_average() -> None:
    standing, metrics = a_start(rate=0.3)

    mean, opened = mean_harm(standing, metrics, [(6, 6, 50), (6, 6, 50), (1, 1, 50)], 0.3)

    assert len(opened) > 1
    assert 0.1 < mean <= FAIR


# Blind to what this tick's target did


@given(st.lists(odd_counts, min_size=1, max_size=12), st.integers(0, 50), st.sampled_from([5.0, 50.0, 95.0, 100.0]))
def test_what_is_held_against_the_target_next_does_not_depend_on_its_failures_now(
    counts: Sequence[Counted], bad: int, share: float
) -> None:
    """Of a tick that differs in the target's failures alone, nothing that chooses bets differs afterwards."""
    standing, metrics = a_standing()
    *before, newest = [a_row(*each) for each in counts]
    start = added(at_share(standing, metrics, share), metrics, *before)
    n_target, _, n_source, source_bad = counts[-1]
    one, other = advance(start, metrics, newest), advance(start, metrics, a_row(n_target, bad, n_source, source_bad))

    def choosing(each: Standing) -> object:
        metric = each.wealth.metrics[0]
        return (
            (metric.source_rate, metric.source_weight, each.sickness, each.recent, each.usual, each.ticks, each.lost),
            [total[::2] for total in each.totals],
        )

    assert choosing(one) == choosing(other)


@given(counts=odd_counts, more=st.integers(1, 20), whole=st.booleans())
def test_more_failures_of_the_target_never_lower_the_odds_against_it(
    *, counts: Counted, more: int, whole: bool
) -> None:
    standing, metrics = a_start()
    target, bad, source, source_bad = counts

    few = advance(standing, metrics, a_row(target, bad, source, source_bad, whole=whole))
    many = advance(standing, metrics, a_row(target, bad + more, source, source_bad, whole=whole))

    assert evidence_of_harm(many, metrics) >= evidence_of_harm(few, metrics) - 1e-9
    assert bound(many.wealth.metrics[0]) >= bound(few.wealth.metrics[0])


# Late regressions

TICKS = {"10 minutes": 40, "1 hour": 240, "24 hours": 5760}
WITHIN_TICKS = 8


@pytest.mark.parametrize("per_second", [100, 2000])
@pytest.mark.parametrize("share", [25.0, 50.0])
@pytest.mark.parametrize("clean", TICKS.values(), ids=TICKS)
def test_a_regression_after_long_clean_traffic_is_found_within_two_minutes(
    clean: int, share: float, per_second: int
) -> None:
    story = learnt(source=timed(per_second * TICK_SECONDS, per_second * TICK_SECONDS * 0.01)).at(share).tick(Counts())
    n = per_second * TICK_SECONDS
    target, source = n * share / 100, n * (1 - share / 100)
    good, bad = (a_row(target, target * rate, source, source * 0.01) for rate in (0.01, 0.05))
    quiet = added(story.known, story.metrics, *[good] * clean)
    assert evidence_of_harm(quiet, story.metrics) <= 1

    late = added(quiet, story.metrics, *[bad] * WITHIN_TICKS)

    assert evidence_of_harm(late, story.metrics) >= 100


def test_restarts_are_what_finds_it() -> None:
    """What ran on since the beginning is buried, what was opened on the way is not."""
    standing, metrics = a_start()
    quiet = added(standing, metrics, *[a_row(750, 7.5, 750, 7.5)] * 240)

    assert max(quiet.wealth.metrics[0].start[:4]) < -5
    assert quiet.wealth.metrics[0].opened[0] > 50


def test_at_the_top_a_history_product_that_clean_traffic_buried_is_opened_anew() -> None:
    """There nothing is compared: the comparisons, which bet nothing, must not hold the others back."""
    story = learnt(source=timed(400 * TICK_SECONDS, 4 * TICK_SECONDS)).at(100).tick(Counts())
    clean, failing = a_row(6000, 60, 0, 0), a_row(6000, 2700, 0, 0)
    quiet = added(story.known, story.metrics, *[clean] * 20)
    wealth = quiet.wealth.metrics[0]
    before = story.known.wealth.metrics[0].opened
    assert (wealth.opened[0], wealth.opened[1] > before[1]) == (before[0], True)
    assert evidence_of_harm(quiet, story.metrics) <= 1

    late = added(quiet, story.metrics, *[failing] * WITHIN_TICKS)

    assert evidence_of_harm(late, story.metrics) >= 100


def test_a_latency_product_is_not_kept_closed_by_another_metric() -> None:
    """Errors cannot be measured, so that theirs are as rich as ever; latency is clean, then two thirds are slow."""
    story = learnt(a_policy({})).at(100).tick(Counts())
    slow = next(place for place, metric in enumerate(story.metrics) if metric.kind is Kind.SLOW)
    clean: list[Counted | None] = [(1500.0, 1500 * each.rate, 0.0, 0.0) for each in story.known.history.metrics]
    clean[0] = None
    late = list(clean)
    late[slow] = (1500.0, 1000.0, 0.0, 0.0)
    quiet = added(story.known, story.metrics, *[Row(0.0, TICK_SECONDS, tuple(clean))] * 40)
    opened = [metric.opened[1] for metric in quiet.wealth.metrics]

    found = added(quiet, story.metrics, *[Row(0.0, TICK_SECONDS, tuple(late))] * WITHIN_TICKS)

    assert opened[slow] > opened[0] == story.known.wealth.metrics[0].opened[1]
    assert evidence_of_harm(found, story.metrics) >= 100 > evidence_of_harm(quiet, story.metrics)
