"""A target that fails from its first second on, looked at by the rules that are shipped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shifter.core.analysis.learning import History, MetricHistory
from shifter.core.analysis.measures import metrics_of
from shifter.core.analysis.sequential import bound
from shifter.core.documents.fleet import Lessons
from shifter.core.documents.policy import PolicySpec
from shifter.core.forecasts.worst_case import (
    MOST_TICKS,
    Found,
    Premise,
    Pulse,
    first_cost,
    first_wait_seconds,
    ticks_until_found,
    unseen,
)
from tests.core.shifts import a_policy

PULSE = Pulse(per_second=100, tick_seconds=15, writing_seconds=120)


def a_spec(**analysis: Any) -> PolicySpec:  # noqa: ANN401 - as files say it
    spec = a_policy("a").spec
    return spec.model_copy(update={"analysis": type(spec.analysis).model_validate(analysis, strict=False)})


def learnt(rate: float = 0.001, dispersion: float = 1.0, **analysis: Any) -> Premise:  # noqa: ANN401 - as files say it
    """A source of which 1000 requests were seen: so many of all metrics bad, in clusters of that size."""
    metrics = metrics_of(a_spec(**analysis).analysis, (100, 1000))
    known = tuple(MetricHistory(metric.name, rate, 1000, dispersion, halves=True) for metric in metrics)
    return Premise(History(8, 1000, 1500, (100, 1000), known))


@pytest.mark.parametrize("share", [1, 5, 50, 95])
def test_a_dead_target_with_traffic_is_found_in_two_ticks_at_any_share_and_all_goes_back(share: float) -> None:
    assert ticks_until_found(a_spec(), Premise(), PULSE, share) == Found(2, is_total=True)


def test_a_dead_target_that_has_everything_is_found_when_the_write_is_read_back() -> None:
    found = ticks_until_found(a_spec(), Premise(), PULSE, 100)

    assert found is not None
    assert found.is_total
    assert found.ticks <= 120 / 15 + 2


def test_where_ticks_are_empty_the_odds_find_it_once_the_write_is_read_back() -> None:
    # Nine requests an hour at 1 %: no two ticks in a row have any.
    slow = Pulse(per_second=0.25, tick_seconds=15, writing_seconds=120)
    found = ticks_until_found(a_spec(), learnt(), slow, 5)
    sooner = ticks_until_found(a_spec(), learnt(), replace(slow, writing_seconds=0), 5)

    assert found is not None
    assert sooner is not None
    assert not found.is_total
    assert sooner.ticks < found.ticks <= sooner.ticks + 8


def test_failures_that_come_in_clusters_take_longer_to_be_believed() -> None:
    slow = replace(PULSE, per_second=0.25)
    single, clustered = (ticks_until_found(a_spec(), learnt(dispersion=size), slow, 5) for size in (1, 4))

    assert single is not None
    assert clustered is None or clustered.ticks > single.ticks


def test_a_later_attempt_needs_longer_odds() -> None:
    slow = replace(PULSE, per_second=0.25)
    first, fifth = (ticks_until_found(a_spec(), replace(learnt(), attempt=which), slow, 5) for which in (1, 5))

    assert first is not None
    assert fifth is not None
    assert fifth.ticks > first.ticks


@pytest.mark.parametrize("rate", [0.0, 1e-6, 1e-3])
def test_what_is_not_found_in_so_many_ticks_is_not_called_found(rate: float) -> None:
    assert ticks_until_found(a_spec(), Premise(), replace(PULSE, per_second=rate), 1) is None
    assert MOST_TICKS == 240


def test_custom_metrics_and_no_latency_change_nothing_about_a_dead_target() -> None:
    spec = a_spec(custom=[{"name": "throttled"}], latency={"enabled": False})

    assert ticks_until_found(spec, Premise(), PULSE, 5) == Found(2, is_total=True)


def test_of_the_target_nothing_is_known_and_of_the_source_what_was_learnt() -> None:
    standing, metrics = unseen(a_spec().analysis, learnt(0.002), PULSE)
    fresh, _ = unseen(a_spec().analysis, Premise(lessons=Lessons(one_pod_dispersion=3)), PULSE)

    assert {bound(each) for each in standing.wealth.metrics} == {1.0}
    assert {each.rate for each in standing.history.metrics} == {0.002}
    assert {each.dispersion for each in fresh.history.metrics} == {3}
    assert standing.usual == fresh.usual == 1500
    assert [each.name for each in standing.history.metrics] == [metric.name for metric in metrics]


def test_a_metric_that_is_new_is_one_of_which_nothing_is_known() -> None:
    standing, _ = unseen(a_spec(custom=[{"name": "throttled"}]).analysis, learnt(), PULSE)

    assert (standing.history.metrics[-1].name, standing.history.metrics[-1].requests) == ("throttled", 0)


def test_a_larger_first_step_costs_more_and_is_allowed_as_much() -> None:
    costs = [first_cost(a_spec(), Premise(), PULSE, share) for share in (1, 5, 25, 50)]

    assert [cost.worst for cost in costs] == sorted(cost.worst for cost in costs)
    assert {cost.allowed for cost in costs} == {100}


def test_a_first_step_within_the_blast_radius_comes_at_once_and_any_other_when_the_hold_is_over() -> None:
    spec, waited = a_spec(hold="4m"), Premise(waited_seconds=100)

    assert first_wait_seconds(spec, Premise(), PULSE, 1) == 0
    assert first_wait_seconds(spec, Premise(), PULSE, 5) == 240
    assert first_wait_seconds(spec, waited, PULSE, 5) == 140
    assert first_wait_seconds(spec, replace(waited, waited_seconds=999), PULSE, 5) == 0


def test_a_first_step_above_the_plateau_waits_for_the_hold_whatever_it_costs() -> None:
    assert first_wait_seconds(a_spec(hold="4m"), Premise(), replace(PULSE, per_second=0.001), 60) == 240
