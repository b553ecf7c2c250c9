"""What is learnt of the source before the first step: when, which rates, which edges, and how much chance there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.analysis.learning import MetricHistory, fixed_edges, lacking, learn, shrunk, unlearnt
from shifter.core.counts.evidence import INFINITY_MS, Counts, Tick
from shifter.core.documents.criteria import Analysis, LatencyRules
from shifter.core.documents.fleet import Lessons
from tests.core.evidences import EDGES_MS, NOON, TICK_SECONDS, timed

ERRORS = Analysis.model_validate({"latency": {"enabled": False}, "answers": {"codes": ()}})
LESSONS = Lessons()


def a_tick(source: Counts, half: Counts | None = None) -> Tick:
    return Tick(NOON + timedelta(seconds=TICK_SECONDS), TICK_SECONDS, source, Counts(), source_half=half)


def errors_of(ticks: Sequence[Tick], lessons: Lessons = LESSONS) -> MetricHistory:
    return learn(ticks, ERRORS, EDGES_MS, lessons).metrics[0]


@pytest.mark.parametrize(
    ("count", "requests", "is_lacking"),
    [(8, 12.5, False), (7, 1000, True), (8, 12.4, True), (240, 0, False), (239, 0, True), (0, 0, True)],
    ids=["enough of both", "too few ticks", "too few requests", "all ticks, no request", "one tick less", "nothing"],
)
def test_history_needs_ticks_and_requests_or_all_the_ticks_that_count(
    count: int, requests: float, *, is_lacking: bool
) -> None:
    assert bool(lacking([a_tick(Counts(requests))] * count, LESSONS)) is is_lacking


def test_what_is_lacking_is_said_with_what_there_is() -> None:
    assert lacking([a_tick(Counts(5))] * 2, LESSONS) == (
        "learning what tcm is like: 2 ticks and 10 requests, 8 ticks and 100 requests are needed, "
        "or 240 ticks of any traffic"
    )


def test_a_rate_is_that_of_all_ticks_together() -> None:
    learnt = learn([a_tick(Counts(100, 1)), a_tick(Counts(300, 7))], ERRORS, (), LESSONS)

    assert (learnt.ticks, learnt.requests, learnt.per_tick) == (2, 400, 200)
    assert (learnt.metrics[0].rate, learnt.metrics[0].requests) == (0.02, 400)


def test_only_the_newest_ticks_count() -> None:
    ticks = [a_tick(Counts(100, 100))] * 5 + [a_tick(Counts(100))] * 3

    assert errors_of(ticks, Lessons(most_ticks=3)).rate == 0


def test_an_empty_history_knows_nothing_and_blames_nobody() -> None:
    learnt = learn([], ERRORS, EDGES_MS, LESSONS)

    assert (learnt.ticks, learnt.per_tick, learnt.edges_ms) == (0, 0, ())
    assert learnt.metrics == (MetricHistory("errors", 0.0, 0.0, LESSONS.one_pod_dispersion, halves=False),)


def test_a_source_without_a_failure_has_a_rate_of_0() -> None:
    assert errors_of([a_tick(Counts(1000))] * 8).rate == 0


def test_with_one_pod_the_stated_dispersion_is_taken() -> None:
    learnt = errors_of([a_tick(Counts(100, 1))] * 8, Lessons(one_pod_dispersion=3.5))

    assert (learnt.dispersion, learnt.halves) == (3.5, False)


def test_of_a_metric_that_nobody_learnt_nothing_is_known() -> None:
    assert unlearnt("404", 2.0) == MetricHistory("404", 0.0, 0.0, 2.0, halves=False)


def test_a_metric_that_the_source_does_not_show_is_not_learnt() -> None:
    custom = Analysis.model_validate({"latency": {"enabled": False}, "custom": ({"name": "carts"},)})
    learnt = learn([a_tick(Counts(100), Counts(50))] * 8, custom, (), LESSONS).metrics[-1]

    assert (learnt.name, learnt.requests, learnt.halves) == ("carts", 0, False)


Bad = Callable[[np.random.Generator], tuple[float, float]]
"""The bad requests of the two halves in one tick."""


def one_by_one(random: np.random.Generator) -> tuple[float, float]:
    return float(random.poisson(5)), float(random.poisson(5))


def in_clusters_of(size: int) -> Bad:
    def bad(random: np.random.Generator) -> tuple[float, float]:
        return float(size * random.poisson(2)), float(size * random.poisson(2))

    return bad


def in_common_bursts(random: np.random.Generator) -> tuple[float, float]:
    rate = 200 if random.random() < 0.1 else 2
    return float(random.poisson(rate)), float(random.poisson(rate))


def mean_dispersion(bad: Bad) -> float:
    """Return the mean of what is learnt over many histories of an hour."""
    random = np.random.default_rng(7)
    found = []
    for _ in range(60):
        ticks = []
        for _ in range(240):
            first, second = bad(random)
            ticks.append(a_tick(Counts(2000, first + second), Counts(1000, first)))
        found.append(errors_of(ticks).dispersion)
    return float(np.mean(found))


def test_failures_that_come_one_by_one_have_a_dispersion_of_1() -> None:
    assert mean_dispersion(one_by_one) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("size", [3, 10])
def test_failures_that_come_in_clusters_have_about_their_size(size: int) -> None:
    assert mean_dispersion(in_clusters_of(size)) == pytest.approx(size, rel=0.25)


def test_bursts_that_both_halves_suffer_are_no_dispersion() -> None:
    assert mean_dispersion(in_common_bursts) == pytest.approx(1, abs=0.15)


def test_ticks_that_only_one_half_answered_compare_nothing() -> None:
    uneven = [a_tick(Counts(100, 30), Counts(100, 30)), a_tick(Counts(100, 30), Counts())]

    assert errors_of(uneven * 4).dispersion == LESSONS.one_pod_dispersion


def test_a_tick_whose_half_shows_no_histogram_compares_no_latency() -> None:
    slow = Analysis.model_validate({"answers": {"codes": ()}})
    ticks = [a_tick(timed(100, slow={250: 10.0}), Counts(50))] * 8
    latency = learn(ticks, slow, EDGES_MS, LESSONS).metrics[1]

    assert (latency.halves, latency.dispersion) == (False, LESSONS.one_pod_dispersion)


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e9))
def test_dispersion_is_never_below_1(squares: float, variance: float, events: float) -> None:
    assert 1 <= shrunk(squares, variance, events) < float("inf")


def test_a_dispersion_that_rests_on_few_clusters_is_enlarged() -> None:
    few, many = shrunk(40.0, 10.0, 40.0), shrunk(4000.0, 1000.0, 4000.0)

    assert few == pytest.approx(3.4 * (1 + 1.5 / (40 / 3.4) ** 0.5))
    assert many == pytest.approx(4, rel=0.05)


SLOW = {100.0: 400.0, 250.0: 120.0, 500.0: 40.0, 1000.0: 2.0}
"""Of 1000 requests so many are slower than an edge."""


def edges(
    slow: Mapping[float, float] = SLOW, known: Sequence[float] = EDGES_MS, **latency: object
) -> tuple[float, ...]:
    return fixed_edges(LatencyRules.model_validate(latency), timed(1000, slow=slow), known)


def test_the_tail_and_the_body_are_judged() -> None:
    assert edges() == (250.0, 500.0)


def test_an_edge_that_the_other_datasource_lacks_is_never_chosen() -> None:
    assert edges(known=(100.0, 250.0, 1000.0)) == (250.0,)


def test_an_edge_that_most_requests_exceed_is_of_no_use() -> None:
    assert edges(slow=dict.fromkeys(EDGES_MS, 260.0)) == ()


def test_one_edge_may_be_both_tail_and_body() -> None:
    assert edges(slow={100.0: 100.0}) == (100.0,)


def test_of_two_edges_equally_near_to_the_body_the_smaller_is_taken() -> None:
    assert edges(slow={100.0: 120.0, 250.0: 80.0, 500.0: 8.0}) == (100.0, 500.0)


def test_a_source_that_is_never_slow_is_judged_at_its_smallest_edge() -> None:
    assert edges(slow={}) == (100.0,)


def test_the_limits_edge_is_judged_whatever_the_source_does() -> None:
    assert edges(maxMs=60) == (100.0, 250.0, 500.0)
    assert edges(maxMs=800) == (250.0, 500.0, 1000.0)


def test_a_limit_beyond_the_last_edge_adds_none() -> None:
    assert edges(maxMs=5000) == (250.0, 500.0)


def test_latency_that_is_not_read_has_no_edges() -> None:
    assert edges(enabled=False) == ()


def test_without_a_histogram_only_the_limit_has_an_edge() -> None:
    limit = LatencyRules.model_validate({"maxMs": 300})

    assert fixed_edges(limit, Counts(100), EDGES_MS) == (500.0,)
    assert fixed_edges(LatencyRules(), Counts(100), EDGES_MS) == ()


def test_a_histogram_of_nothing_fixes_no_edge() -> None:
    assert fixed_edges(LatencyRules(), timed(0), EDGES_MS) == ()


def test_infinity_is_no_edge() -> None:
    assert fixed_edges(LatencyRules(), Counts(10, 0, ((INFINITY_MS, 10.0),)), (INFINITY_MS,)) == ()


def test_layouts_that_differ_from_tick_to_tick_leave_the_edges_they_share() -> None:
    other = Counts(1000, 0, ((250.0, 880.0), (INFINITY_MS, 1000.0)))
    latency = Analysis.model_validate({"answers": {"codes": ()}})

    assert learn([a_tick(timed(1000, slow=SLOW)), a_tick(other)], latency, EDGES_MS, LESSONS).edges_ms == (250.0,)


def test_a_tick_of_another_span_counts_by_its_requests() -> None:
    long = replace(a_tick(Counts(300, 3)), span_seconds=45.0)

    assert errors_of([a_tick(Counts(100, 1)), long]).rate == 0.01
