"""Where an attempt stands: fair whatever happens on the way, blind to this tick's failures, and bounded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifter.core.analysis import standing as standings
from shifter.core.analysis.learning import MetricHistory
from shifter.core.analysis.measures import Kind, Metric
from shifter.core.analysis.sequential import bound
from shifter.core.analysis.sickness import Sickness, is_sick
from shifter.core.analysis.standing import (
    Counted,
    Failing,
    Row,
    Standing,
    advance,
    at_share,
    begin_anew,
    evidence_of_harm,
    is_sound,
    limit_rate,
    row_of,
)
from shifter.core.evidence import Counts, Tick
from tests.core.evidences import NOON, TICK_SECONDS, a_history, a_policy, a_standing, learnt, timed

CUSTOM = a_policy({"latency": {"enabled": False}, "answers": {"codes": ()}, "custom": ({"name": "carts"},)})


CARTS = MetricHistory("carts", rate=0.0, requests=0.0, dispersion=1.0, halves=False)


def with_carts() -> tuple[Standing, tuple[Metric, ...]]:
    """A standing of errors and of a custom pair of which nothing is known."""
    return a_standing(replace(a_history(), metrics=(*a_history().metrics, CARTS)), CUSTOM)


def a_row(target: float, bad: float, source: float, source_bad: float, **how: bool | float) -> Row:
    """One tick of errors alone."""
    return Row(0.0, TICK_SECONDS, ((target, bad, source, source_bad),), **how)  # type: ignore[arg-type]


def added(standing: Standing, metrics: Sequence[Metric], *rows: Row) -> Standing:
    return reduce(lambda so_far, row: advance(so_far, metrics, row), rows, standing)


def a_start(share: float = 50.0, rate: float = 0.01, **history: float) -> tuple[Standing, tuple[Metric, ...]]:
    """A standing at a share that has just been verified, with so many requests that each tick's own ratio is used."""
    standing, metrics = a_standing(replace(a_history(rate, **history), per_tick=1e9))
    return at_share(standing, metrics, share), metrics


def said_of(standing: Standing) -> Sickness | None:
    """How the source's incident is, but for what its rates were before."""
    return None if standing.sickness is None else replace(standing.sickness, rates=())


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

odd_counts = st.tuples(st.integers(0, 50), st.integers(0, 3), st.integers(0, 50), st.integers(0, 3))


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


# An outage of both


def outage_of_both() -> tuple[Standing, Standing, Standing, tuple[Metric, ...]]:
    """Return the standing before an outage, at its end, and once the source has been well for long enough."""
    standing, metrics = a_start()
    before = added(standing, metrics, *[a_row(750, 7, 750, 7)] * 30)
    during = added(before, metrics, *[a_row(750, 375, 750, 375)] * 20)
    after = during
    for _ in range(standings.RECENT_TICKS + 5):
        if after.sickness is not None:
            after = advance(after, metrics, a_row(750, 7, 750, 7))
    return before, during, after, metrics


def test_an_outage_of_both_proves_nothing() -> None:
    before, during, after, metrics = outage_of_both()

    assert said_of(during) == Sickness(20, 0, 30)
    assert bound(during.wealth.metrics[0]) == bound(before.wealth.metrics[0]) < 1
    assert during.wealth.metrics[0].safety == after.wealth.metrics[0].safety == before.wealth.metrics[0].safety
    assert evidence_of_harm(during, metrics) < 10


def test_an_outage_of_both_aims_no_bet_once_it_is_over() -> None:
    before, during, after, metrics = outage_of_both()
    rates = [(each.source_rate, each.source_weight) for each in before.wealth.metrics]
    next_tick = advance(after, metrics, a_row(750, 7, 750, 7))

    assert during.wealth.metrics[0].source_rate > 0.1
    assert after.sickness is None
    assert [(each.source_rate, each.source_weight) for each in after.wealth.metrics] == rates
    assert next_tick.wealth.metrics[0].source_rate == pytest.approx(rates[0][0], rel=0.05)


def test_an_incident_that_was_saved_without_the_rates_before_it_ends_without_them() -> None:
    _, during, after, metrics = outage_of_both()
    last = Sickness(24, 4, 30)
    without = advance(replace(during, sickness=last, recent=()), metrics, a_row(750, 7, 750, 7))

    assert without.sickness is None
    assert without.wealth.metrics[0].source_rate > after.wealth.metrics[0].source_rate


def test_the_hold_does_not_run_during_an_incident() -> None:
    before, during, after, metrics = outage_of_both()
    on = advance(after, metrics, a_row(750, 7, 750, 7))

    assert during.ticks == before.ticks + 20
    assert (during.seconds, during.exposed_seconds) == (before.seconds, before.exposed_seconds)
    assert (on.seconds, on.exposed_seconds) == (after.seconds + TICK_SECONDS, after.exposed_seconds + TICK_SECONDS)


def test_a_source_that_fails_more_than_it_used_to_lets_nothing_be_proven() -> None:
    """Not an incident yet; but what both suffer together would hide what the target does by itself."""
    standing, metrics = a_start(rate=0.01)
    worse = added(standing, metrics, *[a_row(1000, 35, 1000, 35)] * 8)
    usual = added(standing, metrics, *[a_row(1000, 15, 1000, 15)] * 8)

    assert worse.sickness is usual.sickness is None
    assert worse.wealth.metrics[0].safety == standing.wealth.metrics[0].safety
    assert usual.wealth.metrics[0].safety != standing.wealth.metrics[0].safety


# The parts


def test_before_the_first_step_nothing_is_known() -> None:
    standing, metrics = a_standing()

    assert evidence_of_harm(standing, metrics) == 1
    assert bound(standing.wealth.metrics[0]) == 1
    assert (standing.share, standing.ticks, standing.totals) == (0, 0, ((0, 0, 0, 0),))


def test_at_a_share_of_0_the_source_is_watched_and_nothing_is_bet() -> None:
    standing, metrics = a_standing()
    after = advance(standing, metrics, a_row(5, 5, 100, 1))

    assert after.wealth == standing.wealth
    assert after.totals == standing.totals
    assert (after.ticks, after.seconds, after.recent) == (1, TICK_SECONDS, (((100, 1),),))


def test_a_new_share_counts_from_zero_and_opens_products() -> None:
    standing, metrics = a_start(5)
    before = added(standing, metrics, *[a_row(50, 2, 50, 1)] * 3)
    after = at_share(before, metrics, 25)

    assert (after.share, after.ticks, after.seconds, after.totals) == (25, 0, 0, ((0, 0, 0, 0),))
    opened = before.wealth.metrics[0].opened
    assert after.wealth.metrics[0].opened == (opened[0] + 1, opened[1] + 1)
    assert evidence_of_harm(after, metrics) == pytest.approx(evidence_of_harm(before, metrics))
    assert after.wealth.metrics[0].safety == before.wealth.metrics[0].safety
    assert after.recent == before.recent


def test_the_same_share_again_changes_nothing() -> None:
    standing, metrics = a_start(5)

    assert at_share(standing, metrics, 5) is standing


def test_back_at_0_what_comes_next_is_another_try() -> None:
    standing, metrics = a_start(5)
    failed = added(standing, metrics, *[a_row(50, 40, 50, 1)] * 3)

    assert evidence_of_harm(at_share(failed, metrics, 0), metrics) == 1


def test_another_attempt_knows_nothing_of_the_target_and_all_of_the_source() -> None:
    standing, metrics = a_start(5)
    failed = added(standing, metrics, *[a_row(50, 40, 50, 1)] * 3)
    again = begin_anew(failed, metrics, 2)

    assert (again.attempt, again.share, again.history, again.usual) == (2, 5, failed.history, failed.usual)
    assert again.counted_until == failed.counted_until
    assert evidence_of_harm(again, metrics) == 1
    assert again.failing == Failing()


def test_a_metric_that_is_new_in_an_attempt_has_no_history() -> None:
    standing, _ = a_standing()
    _, both = with_carts()
    again = begin_anew(standing, both, 2)

    assert [each.requests for each in again.history.metrics] == [18_000, 0]


def test_an_incident_goes_on_in_another_attempt_but_is_no_reason_for_another_step_back() -> None:
    standing, metrics = a_start(5)
    sick = added(standing, metrics, *[a_row(10, 5, 100, 50)] * 2)
    assert said_of(sick) == Sickness(2, 0, 0)

    assert begin_anew(sick, metrics, 2).sickness == replace(sick.sickness or Sickness(0, 0, 0), after_ticks=None)


@pytest.mark.parametrize(
    ("rate", "most", "limit"),
    [(0.01, None, 0.04), (0.01, 0.02, 0.02), (0.01, 0.5, 0.5), (0.1, 0.02, 0.1101)],
    ids=["twice and two points", "the policy's", "the policy's, looser", "never less than is tolerated"],
)
def test_what_the_target_may_have_whatever_the_source_has(rate: float, most: float | None, limit: float) -> None:
    _, (errors,) = a_standing()

    assert limit_rate(replace(errors, most_rate=most), a_history(rate).metrics[0]) == pytest.approx(limit)


def test_a_tick_is_a_row_of_what_each_metric_counted() -> None:
    _, metrics = with_carts()
    pairs = Counts(100, 2, pairs=(("carts", 1.0, 10.0),))
    tick = Tick(NOON, 15.0004, pairs, Counts(50, 1), apart_seconds=1.23456)

    assert row_of(tick, metrics, whole=False, by_request=False) == Row(
        at=NOON.timestamp(),
        seconds=15.0,
        cells=((50, 1, 100, 2), None),
        whole=False,
        apart_seconds=1.235,
        by_request=False,
    )


def test_a_metric_that_one_side_lacks_is_named_and_bets_nothing() -> None:
    standing, metrics = with_carts()
    there = at_share(standing, metrics, 50)
    after = advance(there, metrics, Row(0, 15, ((50, 1, 50, 1), None)))

    assert after.unmeasured == ("carts",)
    assert after.wealth.metrics[1] == there.wealth.metrics[1]
    assert after.totals == ((50, 1, 50, 1), (0, 0, 0, 0))


def test_a_tick_without_errors_counts_no_request() -> None:
    standing, metrics = a_start()
    after = advance(standing, metrics, Row(0, 15, (None,)))

    assert (after.failing, after.lost) == (Failing(), 0)
    assert after.usual == pytest.approx(0.9 * standing.usual)


def test_a_tick_in_which_the_share_changed_is_held_against_history_alone() -> None:
    start, metrics = a_start()
    standing = replace(start, exposed_ticks=1)
    after = advance(standing, metrics, a_row(100, 50, 100, 1, whole=False))

    assert after.wealth.metrics[0].latest[:4] == (0, 0, 0, 0)
    assert all(log > 0 for log in after.wealth.metrics[0].latest[4:])
    assert (after.ticks, after.seconds, after.totals) == (0, 0, standing.totals)


def test_before_a_tick_wholly_at_its_share_an_attempt_bets_on_none_that_is_not() -> None:
    """After a step back the newest samples are of the share above: they were the last attempt's evidence."""
    standing, metrics = a_start()
    failed = added(standing, metrics, *[a_row(100, 60, 100, 1)] * 3)
    again = at_share(begin_anew(failed, metrics, 2), metrics, 25)
    after = added(again, metrics, *[a_row(100, 90, 100, 1, whole=False)] * 3)

    assert evidence_of_harm(failed, metrics) >= 100
    assert after.wealth == again.wealth
    assert after.failing.ticks == 3


def test_with_many_requests_the_ticks_own_ratio_is_used() -> None:
    standing, metrics = a_start()
    own = advance(standing, metrics, a_row(100, 1, 300, 3))
    again = advance(own, metrics, a_row(300, 3, 100, 1))

    assert standings._ratio(own, own.totals[0], (300, 3, 100, 1), by_request=True) == 3
    assert again.totals == ((400, 4, 400, 4),)


@pytest.mark.parametrize("cell", [(0, 0, 300, 3), (300, 3, 0, 0), (300, 3, 5e-324, 0)])
def test_a_side_without_a_whole_request_compares_nothing_where_there_should_be_many(cell: Counted) -> None:
    standing, _ = a_start()

    assert standings._ratio(standing, (0, 0, 0, 0), cell, by_request=True) is None


def test_with_few_requests_the_ratio_of_the_whole_share_is_used() -> None:
    standing, metrics = a_standing(replace(a_history(), per_tick=10))
    few = at_share(standing, metrics, 25)

    assert standings._ratio(few, (6, 0, 22, 0), (1, 0, 0, 0), by_request=True) == pytest.approx((7 + 5) / (22 + 15))


def test_which_ratio_is_used_does_not_depend_on_this_ticks_requests() -> None:
    standing, metrics = a_standing(replace(a_history(), per_tick=10))
    few = at_share(standing, metrics, 50)

    assert standings._ratio(few, (0, 0, 0, 0), (10_000, 0, 20_000, 0), by_request=True) != 0.5


def test_at_100_percent_there_is_nothing_to_compare_with() -> None:
    standing, metrics = a_start(100)
    after = advance(standing, metrics, a_row(100, 50, 0, 0))

    assert after.wealth.metrics[0].latest[:4] == (0, 0, 0, 0)
    assert after.lost == 0


def test_where_clients_stick_ticks_are_merged_until_both_sides_have_enough() -> None:
    standing, metrics = a_start()
    rows = [a_row(60, 1, 40, 0, by_request=False)] * 3
    gathering = added(standing, metrics, *rows[:2])
    assert gathering.pending == ((120, 2, 80, 0),)
    assert gathering.wealth == standing.wealth

    bet = advance(gathering, metrics, rows[2])

    assert bet.pending == ()
    assert bet.wealth.metrics[0].source_weight == pytest.approx(0.97 * 18_000 + 120)
    assert bet.totals == ((180, 3, 120, 0),)


def test_at_100_percent_no_tick_waits_for_another() -> None:
    standing, metrics = a_start(100)
    after = advance(standing, metrics, a_row(10, 10, 0, 0, by_request=False))

    assert after.pending == ()
    assert after.wealth.metrics[0].latest[4] > 0


def test_merged_ticks_use_their_own_ratio() -> None:
    standing, metrics = a_standing(replace(a_history(), per_tick=10))
    there = at_share(standing, metrics, 50)

    assert standings._ratio(there, (0, 0, 0, 0), (100, 0, 400, 0), by_request=False) == 0.25


def test_a_tick_across_a_change_is_not_merged_with_others_and_loses_none_of_them() -> None:
    standing, metrics = a_start()
    pending = advance(standing, metrics, a_row(10, 0, 10, 0, by_request=False))
    assert pending.exposed_seconds == TICK_SECONDS
    after = advance(pending, metrics, a_row(10, 10, 10, 0, whole=False, by_request=False))

    assert after.pending == pending.pending != ()
    assert after.wealth.metrics[0].latest[:4] == (0, 0, 0, 0)
    assert after.wealth.metrics[0].latest[4] > 0


def test_a_metric_that_is_missing_in_one_of_the_merged_ticks_is_missing() -> None:
    standing, metrics = with_carts()
    there = at_share(standing, metrics, 50)
    after = added(
        there,
        metrics,
        Row(0, 15, ((50, 1, 50, 1), (5, 1, 5, 1)), by_request=False),
        Row(0, 15, ((20, 1, 20, 1), None), by_request=False),
    )

    assert after.pending == ((70, 2, 70, 2), None)


# The source's health


@pytest.mark.parametrize(
    ("rate", "dispersion", "bad", "sick"),
    [
        (0.001, 1, 8, False),
        (0.001, 1, 9, True),
        (0.02, 1, 19, False),
        (0.02, 1, 20, True),
        (0.001, 4, 13, False),
        (0.001, 4, 14, True),
    ],
    ids=["three points", "beyond them", "five times", "beyond that", "in clusters", "beyond clusters"],
)
def test_a_source_is_sick_above_five_times_its_history_and_three_points_and_chance(
    rate: float, dispersion: float, bad: float, *, sick: bool
) -> None:
    assert is_sick(a_history(rate, dispersion=dispersion).metrics[0], 100, bad) is sick


def test_the_source_is_well_again_after_five_well_ticks() -> None:
    standing, metrics = a_start()
    story = [advance(standing, metrics, a_row(100, 0, 100, 50))]
    for _ in range(14):
        story.append(advance(story[-1], metrics, a_row(100, 0, 10_000, 3)))

    assert [each.sickness and each.sickness.well_ticks for each in story[:6]] == [0, 1, 2, 3, 4, None]
    assert all(each.sickness is None for each in story[5:])


def test_an_incident_that_flares_up_again_is_the_same_one() -> None:
    standing, metrics = a_start()
    sick = advance(standing, metrics, a_row(100, 0, 100, 50))
    well = added(sick, metrics, *[a_row(100, 0, 10_000, 3)] * 3)

    assert said_of(advance(well, metrics, a_row(100, 0, 100, 50))) == Sickness(5, 0, 0)


def test_fewer_than_three_failures_make_no_incident() -> None:
    standing, metrics = a_start()

    assert added(standing, metrics, *[a_row(1, 0, 1, 1)] * 2).sickness is None
    assert said_of(added(standing, metrics, *[a_row(1, 0, 1, 1)] * 3)) == Sickness(1, 0, 2)


def test_an_incident_remembers_how_long_the_share_had_lasted() -> None:
    standing, metrics = a_start()
    good = added(standing, metrics, *[a_row(100, 1, 100, 1)] * 6)

    assert said_of(advance(good, metrics, a_row(100, 50, 100, 50))) == Sickness(1, 0, 6)


def test_an_incident_that_begins_while_the_share_changes_began_with_the_change() -> None:
    standing, metrics = a_start()
    good = added(standing, metrics, *[a_row(100, 1, 100, 1)] * 6)

    assert said_of(advance(good, metrics, a_row(100, 50, 100, 50, whole=False))) == Sickness(1, 0, 0)


def test_a_source_unlike_its_history_vouches_for_no_limit() -> None:
    standing, metrics = a_start(rate=0.001)
    after = advance(standing, metrics, a_row(100, 20, 100, 2))

    assert after.sickness is None
    assert after.wealth.metrics[0].latest[4:] == (0, 0, 0)


def test_a_source_above_the_policys_limit_vouches_for_none() -> None:
    analysis = {"latency": {"enabled": False}, "answers": {"codes": ()}, "errors": {"maxPercent": 0.5}}
    standing, metrics = a_standing(replace(a_history(0.001), per_tick=1e9), a_policy(analysis))
    there = at_share(standing, metrics, 50)

    assert advance(there, metrics, a_row(1000, 20, 1000, 6)).wealth.metrics[0].latest[4:] == (0, 0, 0)
    assert all(log > 0 for log in advance(there, metrics, a_row(1000, 200, 1000, 5)).wealth.metrics[0].latest[4:])


def test_what_history_never_counted_is_no_limit() -> None:
    standing, metrics = a_start(rate=0.0, requests=0.0)

    assert advance(standing, metrics, a_row(100, 100, 100, 0)).wealth.metrics[0].latest[4:] == (0, 0, 0)


def test_a_source_with_too_few_requests_vouches_for_nothing_below_100_percent() -> None:
    fewer, enough, top = (
        advance(start, metrics, a_row(100, 90, source, 0)).wealth.metrics[0].latest[4]
        for (start, metrics), source in ((a_start(95), 9), (a_start(95), 10), (a_start(100), 0))
    )

    assert (fewer, enough > 0, top > 0) == (0, True, True)


# Death and losses


def test_failing_ticks_in_a_row_are_summed_up() -> None:
    standing, metrics = a_start()
    after = added(standing, metrics, a_row(10, 5, 100, 1), a_row(8, 8, 90, 9, apart_seconds=-2.5))

    assert after.failing == Failing(ticks=2, bad=13, requests=18, source_requests=190, apart_seconds=-2.5)


@pytest.mark.parametrize(
    "row",
    [a_row(10, 4, 100, 0), a_row(10, 10, 100, 11)],
    ids=["less than half fail", "the source fails as well"],
)
def test_a_tick_that_is_no_death_ends_the_row(row: Row) -> None:
    standing, metrics = a_start()

    assert added(standing, metrics, a_row(10, 10, 100, 0), row).failing == Failing()


def test_a_tick_in_which_nobody_asks_the_target_changes_nothing_about_its_death() -> None:
    standing, metrics = a_start()
    failing = added(standing, metrics, a_row(10, 10, 100, 0))

    assert added(failing, metrics, a_row(0, 0, 100, 0)).failing == failing.failing


def test_what_does_not_arrive_adds_up_and_is_never_below_even_odds() -> None:
    standing, metrics = a_start()
    good = added(standing, metrics, *[a_row(500, 0, 500, 0)] * 100)
    assert good.lost == 0

    assert added(good, metrics, *[a_row(100, 0, 500, 0)] * 2).lost > math.log(100)


def test_what_does_not_arrive_at_one_share_counts_on_at_the_next_one_and_not_back_at_0() -> None:
    standing, metrics = a_start()
    losing = advance(standing, metrics, a_row(100, 0, 500, 0))

    assert at_share(losing, metrics, 75).lost == losing.lost > 0
    assert at_share(losing, metrics, 0).lost == 0


@pytest.mark.parametrize("how", [{"by_request": False}, {"whole": False}], ids=["clients stick", "the share changes"])
def test_where_the_share_is_not_what_it_says_nothing_is_missed(how: dict[str, bool]) -> None:
    standing, metrics = a_start()
    losing = advance(standing, metrics, a_row(100, 0, 500, 0))

    assert advance(losing, metrics, a_row(100, 0, 500, 0, **how)).lost == losing.lost


@pytest.mark.parametrize(("others", "asked"), [(18.0, False), (19.0, True)], ids=["too early", "it should have"])
def test_a_target_that_answers_nothing_though_it_should_is_given_no_more(others: float, *, asked: bool) -> None:
    """At 5 % one of 20 requests is its own."""
    story = learnt().at(5).tick(timed(others))

    assert ("istio has answered no request at this share, tcm 19: do they arrive?" in story.judged().reason) is asked


def test_traffic_at_its_share_is_not_lost_by_chance() -> None:
    """Clients send several requests at a time: in lumps of two, over a day, at every share."""
    random = np.random.default_rng(5)
    for share in (1.0, 5.0, 50.0, 95.0):
        standing, metrics = a_start(share)
        worst = 0.0
        for _ in range(1500):
            target = 2.0 * random.binomial(15, share / 100)
            standing = replace(standing, lost=standings._lost(standing, (target, 0, 30 - target, 0)))
            worst = max(worst, standing.lost)
        assert worst < math.log(100), metrics


# Replay and size


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(odd_counts, st.booleans(), st.booleans()), max_size=60))
def test_whatever_comes_a_standing_stays_finite_and_bounded(
    story: Sequence[tuple[Counted, bool, bool]],
) -> None:
    standing, metrics = a_start()
    after = added(
        standing, metrics, *(a_row(*counts, whole=whole, by_request=by_request) for counts, whole, by_request in story)
    )

    assert len(after.recent) <= standings.RECENT_TICKS
    assert math.isfinite(evidence_of_harm(after, metrics))
    assert 0 <= after.lost < float("inf")


def test_each_metric_is_judged_by_its_own_history() -> None:
    story = learnt(a_policy({}))
    tests = standings.tests_of(story.metrics, story.known.history)

    assert [test.history_rate for test in tests] == [each.rate for each in story.known.history.metrics]


NAN, INFINITE = math.nan, math.inf


def with_metric(standing: Standing, **changes: object) -> Standing:
    metric = replace(standing.wealth.metrics[0], **changes)  # type: ignore[arg-type]
    return replace(standing, wealth=replace(standing.wealth, metrics=(metric, *standing.wealth.metrics[1:])))


def with_learnt(standing: Standing, **changes: float) -> Standing:
    learnt_of = replace(standing.history.metrics[0], **changes)  # type: ignore[arg-type]
    return replace(standing, history=replace(standing.history, metrics=(learnt_of,)))


def a_saved() -> Standing:
    standing, metrics = a_start()
    return added(standing, metrics, *[a_row(750, 7, 750, 7)] * 3)


SHAPES = {
    "no metric": lambda s: replace(s, wealth=replace(s.wealth, metrics=()), history=replace(s.history, metrics=())),
    "wealth of fewer metrics": lambda s: replace(s, wealth=replace(s.wealth, metrics=())),
    "wealth of more metrics": lambda s: replace(s, wealth=replace(s.wealth, metrics=s.wealth.metrics * 2)),
    "history of more metrics": lambda s: replace(s, history=replace(s.history, metrics=s.history.metrics * 2)),
    "totals of fewer metrics": lambda s: replace(s, totals=()),
    "a recent tick of more metrics": lambda s: replace(s, recent=(*s.recent, ((1.0, 0.0),) * 2)),
    "too few products from the start": lambda s: with_metric(s, start=(0.0,) * 6),
    "too many latest products": lambda s: with_metric(s, latest=(0.0,) * 8),
    "too few products of safety": lambda s: with_metric(s, safety=(0.0,) * 2),
    "never started": lambda s: with_metric(s, opened=(1, 0)),
    "a dispersion below 1": lambda s: with_learnt(s, dispersion=0.9),
}
NUMBERS = {
    **{name: {name: NAN} for name in ("share", "usual", "seconds", "exposed_seconds", "lost")},
    "infinite": {"lost": INFINITE},
}
OF_METRIC = {
    "start": (0.0,) * 6 + (NAN,),
    "latest": (INFINITE,) + (0.0,) * 6,
    "frozen": (0.0, NAN),
    "source_rate": NAN,
    "source_weight": INFINITE,
}


@pytest.mark.parametrize("spoilt", SHAPES.values(), ids=SHAPES)
def test_a_saved_standing_of_a_wrong_shape_is_not_sound(spoilt: Callable[[Standing], Standing]) -> None:
    assert is_sound(a_saved())

    assert not is_sound(spoilt(a_saved()))


@pytest.mark.parametrize("changes", NUMBERS.values(), ids=NUMBERS)
def test_a_saved_standing_with_what_is_no_number_is_not_sound(changes: dict[str, float]) -> None:
    assert not is_sound(replace(a_saved(), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OF_METRIC)
def test_a_saved_product_that_is_no_number_is_not_sound(name: str) -> None:
    assert not is_sound(with_metric(a_saved(), **{name: OF_METRIC[name]}))


@pytest.mark.parametrize("name", ["rate", "requests", "dispersion"])
def test_a_saved_history_that_is_no_number_is_not_sound(name: str) -> None:
    assert not is_sound(with_learnt(a_saved(), **{name: NAN}))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(odd_counts, st.booleans(), st.booleans()), max_size=30))
def test_whatever_comes_a_standing_is_sound(story: Sequence[tuple[Counted, bool, bool]]) -> None:
    standing, metrics = a_start()
    rows = (a_row(*counts, whole=whole, by_request=by_request) for counts, whole, by_request in story)

    assert is_sound(added(standing, metrics, *rows))
