"""What is compared, with which stakes, and what a tick counted of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.analysis.hypotheses import Margin
from shifter.core.analysis.measures import Kind, Metric, counted, metrics_of, rules_of, slo_edge
from shifter.core.counts.answers import BadAnswers
from shifter.core.counts.evidence import INFINITY_MS, Counts
from shifter.core.documents.criteria import Analysis, AnswerRules, CustomRules, ErrorRules, LatencyRules

EDGES_MS = (250.0, 500.0)
CUSTOM = Analysis(custom=(CustomRules.model_validate({"name": "carts", "maxPercent": 3}),))


def a_metric(name: str, analysis: Analysis = CUSTOM, edges_ms: tuple[float, ...] = EDGES_MS) -> Metric:
    return next(metric for metric in metrics_of(analysis, edges_ms) if metric.name == name)


def test_the_default_rules_compare_the_answers_that_most_migrations_break() -> None:
    assert rules_of(Analysis()) == BadAnswers()


def test_a_policys_rules_become_those_of_counting() -> None:
    errors = ErrorRules.model_validate({"codes": ("5xx", "404"), "flags": ("UH", "NR"), "grpcStatuses": (14,)})

    assert rules_of(Analysis(errors=errors)) == BadAnswers(
        codes=("5xx", "404"), flags=("UH", "NR"), grpc=("14",), compared=("3xx", "401", "403")
    )


def test_an_answer_that_is_a_failure_is_not_compared_a_second_time() -> None:
    names = [metric.name for metric in metrics_of(Analysis(errors=ErrorRules(codes=("5xx", "404"))), ())]

    assert names == ["errors", "3xx", "401", "403"]


def test_errors_come_first_then_latency_by_edge_answers_and_custom_pairs() -> None:
    names = [metric.name for metric in metrics_of(CUSTOM, (500.0, 250.0))]

    assert names == ["errors", "over 250 ms", "over 500 ms", "3xx", "401", "403", "404", "carts"]


@given(
    st.sets(st.floats(1, 10_000), max_size=3),
    st.lists(st.sampled_from(["3xx", "401", "403", "404", "429"]), unique=True, max_size=5),
    st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3),
)
def test_all_stakes_together_are_1(edges_ms: set[float], codes: list[str], pairs: list[str]) -> None:
    custom = tuple(CustomRules(name=name) for name in pairs)
    metrics = metrics_of(Analysis(answers=AnswerRules(codes=tuple(codes)), custom=custom), tuple(edges_ms))

    assert sum(metric.pair_weight + metric.history_weight for metric in metrics) == pytest.approx(1)
    assert metrics[0].pair_weight == max(metric.pair_weight for metric in metrics)


def test_answers_are_held_against_no_history() -> None:
    assert {metric.history_weight for metric in metrics_of(CUSTOM, EDGES_MS) if metric.kind is Kind.ANSWERS} == {0.0}


def test_margins_are_rates_and_limits_are_parts() -> None:
    errors = a_metric("errors", Analysis(errors=ErrorRules.model_validate({"maxPercent": 2})))

    assert (errors.tolerance, errors.safety, errors.most_rate) == (Margin(1.1, 1e-4), Margin(1.5, 1e-3), 0.02)
    assert a_metric("carts").most_rate == 0.03
    assert a_metric("404").most_rate is None


def test_the_first_edge_at_or_above_the_limit_stands_for_it() -> None:
    assert slo_edge(250, EDGES_MS) == 250
    assert slo_edge(251, EDGES_MS) == 500
    assert slo_edge(501, EDGES_MS) is None


def test_only_the_limits_edge_carries_the_limit() -> None:
    latency = Analysis(latency=LatencyRules.model_validate({"maxMs": 300, "quantile": 0.9}))

    assert a_metric("over 500 ms", latency).most_rate == pytest.approx(0.1)
    assert a_metric("over 250 ms", latency).most_rate is None


def test_a_limit_beyond_every_edge_is_on_none_of_them() -> None:
    latency = Analysis(latency=LatencyRules.model_validate({"maxMs": 900}))

    assert {metric.most_rate for metric in metrics_of(latency, EDGES_MS) if metric.kind is Kind.SLOW} == {None}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("errors", "istio fails 3 %"),
        ("over 250 ms", "istio takes over 250 ms for 3 %"),
        ("404", "istio answers 404 to 3 %"),
        ("carts", "istio has 3 % of carts"),
    ],
)
def test_a_part_is_said_in_the_words_of_its_metric(name: str, said: str) -> None:
    assert a_metric(name).said("3 %", "istio") == said


COUNTS = Counts(
    requests=100,
    bad=7,
    buckets=((250.0, 90.0), (INFINITY_MS, 98.0)),
    kinds=(("404", 4.0),),
    pairs=(("carts", 2.0, 50.0),),
)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("errors", (100, 7)),
        ("404", (100, 4)),
        ("401", (100, 0)),
        ("carts", (50, 2)),
        ("over 250 ms", (98, 8)),
        ("over 500 ms", None),
    ],
)
def test_every_metric_is_so_many_bad_ones_of_so_many(name: str, seen: tuple[float, float] | None) -> None:
    assert counted(a_metric(name), COUNTS) == seen


def test_a_pair_that_nobody_counted_was_not_measured() -> None:
    assert counted(a_metric("carts"), Counts(100)) is None


def test_requests_without_a_histogram_leave_latency_unmeasured() -> None:
    assert counted(a_metric("over 250 ms"), Counts(100)) is None


def test_a_side_without_requests_measured_its_latency() -> None:
    assert counted(a_metric("over 250 ms"), Counts()) == (0, 0)


def test_a_side_without_requests_measured_its_pairs() -> None:
    assert counted(a_metric("carts"), Counts()) == (0, 0)


def test_slow_ones_are_counted_out_of_all_that_the_histogram_holds() -> None:
    counts = Counts(100, 0, ((250.0, 90.0), (500.0, 95.0), (INFINITY_MS, 98.0)))

    assert counted(a_metric("over 250 ms"), counts) == (98, 8)


def test_a_histogram_that_was_read_between_two_scrapes_counts_nothing_below_0() -> None:
    assert counted(a_metric("over 250 ms"), Counts(10, 0, ((250.0, 12.0), (INFINITY_MS, 10.0)))) == (10, 0)
