"""Where an attempt stands: what a share, another attempt and a tick of any kind make of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shifter.core.analysis import standing as standings
from shifter.core.analysis.sequential import bound
from shifter.core.analysis.sickness import Sickness
from shifter.core.analysis.standing import (
    Counted,
    Failing,
    Row,
    advance,
    at_share,
    begin_anew,
    evidence_of_harm,
    limit_rate,
    row_of,
)
from shifter.core.counts.evidence import Counts, Tick
from tests.core.evidences import NOON, TICK_SECONDS, a_history, a_policy, a_standing, learnt
from tests.core.standings import a_row, a_start, added, said_of, with_carts


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


@pytest.mark.parametrize("since", [True, False], ids=["after it was verified", "it began before"])
def test_the_first_tick_of_a_share_is_bet_on_if_it_began_after_that_whatever_is_being_written(since: bool) -> None:  # noqa: FBT001 - a row of the table
    standing, metrics = a_start()
    after = advance(standing, metrics, a_row(100, 40, 100, 0, whole=False, since=since))

    assert (evidence_of_harm(after, metrics) > 1) is since
    assert after.exposed_ticks == 0


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


def test_each_metric_is_judged_by_its_own_history() -> None:
    story = learnt(a_policy({}))
    tests = standings.tests_of(story.metrics, story.known.history)

    assert [test.history_rate for test in tests] == [each.rate for each in story.known.history.metrics]
