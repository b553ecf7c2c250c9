"""What a step could cost at worst, and how far up the next one may go."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.analysis import standing as standings
from shifter.core.analysis import steps
from shifter.core.analysis.learning import MetricHistory
from shifter.core.analysis.measures import Kind, Metric
from shifter.core.analysis.sequential import GRID, SAFE, bound
from shifter.core.analysis.standing import Standing, at_share
from shifter.core.analysis.steps import LARGEST_FACTOR, LARGEST_FIRST, PLATEAU, Pace, candidates, cost_of, patience_of
from shifter.core.counts.evidence import Counts
from shifter.core.documents.criteria import BlastRadius
from shifter.core.documents.policy import AUTO_STEPS
from tests.core.evidences import TICK_SECONDS, a_history, a_policy, a_standing, learnt

PACE = Pace(alpha=0.01, tick_seconds=TICK_SECONDS, blast_radius=BlastRadius())


RUNGS = (1, 2, 3, 5, 7, 10, 15, 20, 25, 35, 50, 75, 95, 100)


def a_start(
    per_second: float = 100.0, rate: float = 0.01, known: int | None = None
) -> tuple[Standing, tuple[Metric, ...]]:
    """A standing in which every excess from the `known`-th of the grid on is ruled out; None: none is."""
    standing, metrics = a_standing(replace(a_history(rate), per_tick=per_second * TICK_SECONDS))
    if known is None:
        return standing, metrics
    proven = tuple(0.0 if index < len(SAFE) * known else 5.0 for index in range(len(SAFE) * len(GRID)))
    safety = (*proven, *standing.wealth.metrics[0].safety[len(proven) :])
    wealth = replace(standing.wealth, metrics=(replace(standing.wealth.metrics[0], safety=safety),))
    return replace(standing, wealth=wealth), metrics


traffics = st.sampled_from([0.2, 5.0, 100.0, 2000.0])
shares = st.sampled_from(AUTO_STEPS)


@given(traffics, st.sampled_from([0.0, 0.001, 0.01, 0.2]), st.sampled_from([None, 5, 12, 18]), shares, shares)
def test_a_larger_share_never_costs_less(
    per_second: float, rate: float, known: int | None, one: float, other: float
) -> None:
    standing, metrics = a_start(per_second, rate, known)
    low, high = sorted((one, other))

    worse = cost_of(standing, metrics, high, PACE).worst

    assert cost_of(standing, metrics, low, PACE).worst <= worse * (1 + 1e-9)


@given(traffics, st.sampled_from([0.0, 0.001, 0.01, 0.2]), st.integers(6, 20), st.integers(1, 5), shares)
def test_what_is_less_known_never_costs_less(
    per_second: float, rate: float, known: int, less: int, share: float
) -> None:
    standing, metrics = a_start(per_second, rate, known)
    vaguer, _ = a_start(per_second, rate, min(known + less, len(GRID)))
    assert bound(standing.wealth.metrics[0]) <= bound(vaguer.wealth.metrics[0])

    assert cost_of(standing, metrics, share, PACE).worst <= cost_of(vaguer, metrics, share, PACE).worst


@given(traffics, shares, st.floats(1, 20))
def test_clusters_and_a_smaller_error_probability_never_cost_less(
    per_second: float, share: float, dispersion: float
) -> None:
    standing, metrics = a_start(per_second)
    history = replace(standing.history, metrics=(replace(standing.history.metrics[0], dispersion=dispersion),))
    clustered = replace(standing, history=history)

    cost = cost_of(standing, metrics, share, PACE).worst

    assert cost <= cost_of(clustered, metrics, share, PACE).worst * (1 + 1e-9)
    assert cost <= cost_of(standing, metrics, share, replace(PACE, alpha=0.005)).worst * (1 + 1e-9)


def test_the_worst_excess_lies_between_what_is_seen_at_once_and_what_costs_little() -> None:
    standing, metrics = a_start(per_second=1)

    assert metrics[0].safety.rate < cost_of(standing, metrics, 5, PACE).excess < 1


def test_without_traffic_nothing_is_lost() -> None:
    standing, metrics = a_start(per_second=0)

    assert cost_of(standing, metrics, 50, PACE) == steps.Cost(0, 25, 0)


@pytest.mark.parametrize(("per_second", "allowed"), [(5, 25), (25, 25), (100, 100)])
def test_what_is_allowed_is_the_larger_of_requests_and_seconds(per_second: float, allowed: float) -> None:
    standing, metrics = a_start(per_second)

    assert cost_of(standing, metrics, 1, PACE).allowed == allowed


def test_being_exposed_without_harm_allows_more() -> None:
    standing, _ = a_start()

    assert patience_of(standing, PACE) == 1
    assert patience_of(replace(standing, exposed_seconds=10 * TICK_SECONDS), PACE) == 2


def test_waiting_before_the_first_step_allows_nothing_more() -> None:
    waited = learnt().tick(Counts(1500, 15), count=40)

    assert waited.known.seconds > 0
    assert patience_of(waited.known, PACE) == 1


def test_after_a_time_without_harm_a_step_may_cost_more() -> None:
    standing, metrics = a_start(per_second=5)
    waited = replace(standing, exposed_seconds=10 * TICK_SECONDS)

    assert cost_of(waited, metrics, 1, PACE).allowed == 50


def test_what_was_allowed_lower_down_is_allowed_further_up() -> None:
    below = learnt().at(5).tick(Counts(1425, 14), Counts(75, 1), count=10)
    above = below.at(25).tick(Counts(1125, 11), Counts(375, 4))

    assert patience_of(above.known, PACE) == pytest.approx(2.1)


def test_a_step_fits_up_to_what_is_allowed() -> None:
    assert steps.Cost(25, 25, 0.1).fits
    assert not steps.Cost(25.1, 25, 0.1).fits


def test_slow_requests_are_no_failed_ones() -> None:
    story = learnt(a_policy({"answers": {"codes": ()}}))
    standing, metrics = story.known, story.metrics
    assert {metric.kind for metric in metrics} == {Kind.ERRORS, Kind.SLOW}

    errors = cost_of(standing, metrics, 5, PACE)
    slow_alone = tuple(replace(metric, kind=Kind.SLOW) for metric in metrics)

    assert errors.worst > 0
    assert cost_of(standing, slow_alone, 5, PACE).worst == 0


def test_after_slow_requests_failed_ones_are_looked_at_as_well() -> None:
    story = learnt(a_policy({"answers": {"codes": ()}}))
    first, second, *others = story.metrics
    metrics = (replace(first, kind=Kind.SLOW), replace(second, kind=Kind.ERRORS), *others)

    assert cost_of(story.known, metrics, 5, PACE).worst > 0


def test_once_the_margin_is_proven_nothing_beyond_it_is_feared() -> None:
    standing, metrics = a_start(known=12)
    known = standing.wealth.metrics[0]
    proven = replace(known, safety=(*known.safety[: -len(SAFE)], *(5.0,) * len(SAFE)))
    sure = replace(standing, wealth=replace(standing.wealth, metrics=(proven,)))

    assert cost_of(standing, metrics, 5, PACE).excess > metrics[0].safety.rate
    assert cost_of(sure, metrics, 5, PACE).excess == metrics[0].safety.rate


def by_hand(
    standing: Standing, metrics: tuple[Metric, ...], share: float, growth_of: Callable[[float], float]
) -> float:
    """The worst cost as the module's formula has it. `growth_of`: nats per request at the target's rate (0..1)."""
    per_second, (metric,), phi = standing.usual / TICK_SECONDS, metrics, standing.history.metrics[0].dispersion
    source_rate, worst = standing.wealth.metrics[0].source_rate, 0.0
    for excess in (*(each for each in GRID if each >= metric.safety.rate), 1.0):
        growth = per_second * growth_of(min(1.0, metric.safety.ratio * source_rate + excess))
        longest = 120 * TICK_SECONDS
        found = min(longest, (math.log(100) + 2.5) * phi / growth) if growth > 0 else longest
        worst = max(worst, per_second * share / 100 * excess * (2 * TICK_SECONDS + 5 + found))
    return worst


def test_beside_a_source_harm_is_found_as_fast_as_the_best_bet_grows() -> None:
    standing, metrics = a_start(per_second=1)
    unstaked = tuple(replace(metric, history_weight=0.0) for metric in metrics)
    tolerance, source_rate = metrics[0].tolerance, standing.wealth.metrics[0].source_rate

    def grows(rate: float) -> float:
        bets = (2.99 / tolerance.ratio * each / 10_000 for each in range(10_000))  # at 25 % the source has three times
        return max(
            0.25 * (rate * math.log1p(bet) - tolerance.rate * bet)
            + 0.75 * source_rate * math.log1p(-tolerance.ratio * bet / 3)
            for bet in bets
        )

    assert cost_of(standing, unstaked, 25, PACE).worst == pytest.approx(by_hand(standing, metrics, 25, grows), rel=1e-3)


@pytest.mark.parametrize("per_second", [0.2, 1.0, 20.0, 500.0])
def test_without_a_source_harm_is_found_as_fast_as_the_limit_is_ruled_out(per_second: float) -> None:
    standing, metrics = a_start(per_second)
    limit = standings.tests_of(metrics, standing.history)[0].limit_rate

    def grows(rate: float) -> float:
        return rate * math.log(rate / limit) - rate + limit if rate > limit else 0.0

    assert cost_of(standing, metrics, 100, PACE).worst == pytest.approx(by_hand(standing, metrics, 100, grows))


def test_custom_pairs_fail_users_as_errors_do() -> None:
    standing, metrics = a_start()
    custom = tuple(replace(metric, kind=Kind.CUSTOM) for metric in metrics)

    assert cost_of(standing, custom, 5, PACE) == cost_of(standing, metrics, 5, PACE)


def test_other_answers_are_no_failures_by_themselves() -> None:
    standing, metrics = a_start()

    assert cost_of(standing, tuple(replace(metric, kind=Kind.ANSWERS) for metric in metrics), 5, PACE).worst == 0


def test_what_cannot_be_found_out_costs_half_an_hour() -> None:
    """At 100 % there is no source, and without a history there is nothing to hold the target against."""
    standing, metrics = a_start(per_second=1)
    unknown = replace(standing.history, metrics=(MetricHistory("errors", 0.0, 0.0, 1.0, halves=False),))
    blind = replace(standing, history=unknown)

    cost = cost_of(blind, metrics, 100, PACE)

    assert cost.excess == 1
    assert cost.worst == 2 * TICK_SECONDS + 5 + 120 * TICK_SECONDS


def test_a_dead_target_is_found_by_history_where_there_is_no_source() -> None:
    standing, metrics = a_start()
    there = at_share(standing, metrics, 100)

    assert cost_of(there, metrics, 100, PACE).worst < 100 * 120 * TICK_SECONDS / 2


def test_history_says_nothing_of_what_it_has_no_stakes_on() -> None:
    standing, metrics = a_start(per_second=1)
    unstaked = tuple(replace(metric, history_weight=0.0) for metric in metrics)

    assert cost_of(standing, unstaked, 100, PACE).worst > cost_of(standing, metrics, 100, PACE).worst


@pytest.mark.parametrize(
    ("share", "gate", "ahead"),
    [
        (0, None, (1, 2, 3, 5, 7, 10, 15, 20, 25)),
        (1, None, (2, 3)),
        (15, None, (20, 25, 35)),
        (35, None, (50,)),
        (50, None, (75,)),
        (75, None, (95,)),
        (100, None, ()),
        (0, 5, (1, 2, 3)),
        (1, 2, ()),
        (50, 100, (75,)),
    ],
)
def test_auto_at_most_triples_the_share_and_leaves_out_none_from_the_plateau_on(
    share: float, gate: float | None, ahead: tuple[float, ...]
) -> None:
    assert candidates(RUNGS, share, gate, auto=True) == ahead


@pytest.mark.parametrize(("share", "ahead"), [(0, (5,)), (5, (60,)), (60, (100,)), (100, ())])
def test_a_list_of_steps_is_taken_one_by_one(share: float, ahead: tuple[float, ...]) -> None:
    assert candidates((5, 60, 100), share, None, auto=False) == ahead


def test_where_no_rung_is_near_enough_the_next_one_is_a_candidate_all_the_same() -> None:
    assert candidates((30, 100), 0, None, auto=True) == (30,)


@given(
    rungs=st.lists(st.floats(0.1, 100), max_size=8, unique=True),
    share=st.floats(0, 100),
    gate=st.floats(0.1, 100),
    auto=st.booleans(),
)
def test_no_candidate_is_at_or_below_the_share_or_at_a_gate(
    *, rungs: list[float], share: float, gate: float, auto: bool
) -> None:
    found = candidates(sorted(rungs), share, gate, auto=auto)

    assert all(share < step < gate for step in found)
    assert list(found) == sorted(found)
    assert all(step <= max(LARGEST_FIRST, min(PLATEAU, LARGEST_FACTOR * share)) for step in found[1:])
