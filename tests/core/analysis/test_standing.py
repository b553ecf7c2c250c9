"""Where an attempt stands: what a share, another attempt and a tick of any kind make of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shifter.core.analysis import standing as standings
from shifter.core.analysis.hypotheses import Cell
from shifter.core.analysis.sequential import CAP_NATS, add, bound, new_start, reopened
from shifter.core.analysis.sickness import Sickness
from shifter.core.analysis.standing import (
    Counted,
    Failing,
    Row,
    advance,
    arrived_share,
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

    assert standings._ratio(few, (6, 0, 22, 0), (1, 0, 2, 0), by_request=True) == pytest.approx((7 + 5) / (24 + 15))


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


def test_a_metric_is_judged_with_the_dispersion_that_was_learnt() -> None:
    _, metrics = a_standing()

    assert standings.tests_of(metrics, a_history(dispersion=4.0))[0].dispersion == 4


@pytest.mark.parametrize(("part", "arrives", "share"), [(0.5, 1.0, 0.5), (0.5, 0.5, 1 / 3), (0.2, 0.5, 1 / 9)])
def test_of_what_arrives_the_target_has_less_if_some_of_its_own_does_not(
    part: float, arrives: float, share: float
) -> None:
    assert arrived_share(part, arrives) == pytest.approx(share)


def test_a_row_keeps_how_its_tick_was_counted() -> None:
    _, metrics = a_standing()
    tick = Tick(NOON, TICK_SECONDS, Counts(100, 1), Counts(50, 2))

    row = row_of(tick, metrics, whole=False, by_request=False, since=True)

    assert (row.whole, row.by_request, row.since) == (False, False, True)
    assert row_of(tick, metrics, whole=True).by_request


def test_a_tick_says_what_is_usual_what_the_target_had_and_how_far_was_counted() -> None:
    standing, metrics = a_standing(replace(a_history(), per_tick=100.0))
    row = replace(a_row(50, 2, 70, 1), at=1234.5)

    after = advance(standing, metrics, row)

    assert 100 < after.usual < 120
    assert (120 - after.usual) / 20 == pytest.approx((advance(after, metrics, row).usual - 120) / (after.usual - 120))
    assert after.recent_target == ((50, 2),)
    assert after.counted_until == 1234.5
    assert begin_anew(after, metrics, 2).counted_until == 1234.5


def test_a_share_of_1_percent_is_one_that_is_bet_on_and_not_another_try() -> None:
    standing, metrics = a_start(5)
    before = replace(added(standing, metrics, *[a_row(50, 2, 950, 9)] * 2), lost=1.0)

    lower = at_share(before, metrics, 1)
    after = advance(lower, metrics, a_row(10, 3, 990, 9))

    assert lower.wealth != standing.wealth
    assert lower.lost == 1
    assert after.wealth != lower.wealth
    assert (after.exposed_ticks, after.totals) == (3, ((10, 3, 990, 9),))


def test_what_waits_to_be_merged_is_of_one_share() -> None:
    standing, metrics = a_start(5)
    waiting = advance(standing, metrics, a_row(1, 0, 19, 0, by_request=False))
    assert waiting.pending

    assert at_share(waiting, metrics, 25).pending == ()


@pytest.mark.parametrize("cells", [(1, 1, 300, 0), (2, 1, 300, 0)])
def test_a_tick_with_a_request_that_failed_is_one_of_failing(cells: Counted) -> None:
    standing, metrics = a_start(5)

    after = advance(standing, metrics, a_row(*cells))

    assert (after.failing.ticks, after.failing.bad, after.failing.requests) == (1, cells[1], cells[0])


def test_a_tick_without_a_failure_ends_failing_and_one_without_a_request_does_not() -> None:
    standing, metrics = a_start(5)
    failing = advance(standing, metrics, a_row(50, 50, 950, 9))

    assert advance(failing, metrics, a_row(0, 0, 950, 9)).failing == failing.failing
    assert advance(failing, metrics, a_row(50, 0, 950, 9)).failing == Failing()
    assert advance(standing, metrics, a_row(1, 0, 0, 0)).failing == Failing()


def test_a_tick_that_ends_an_incident_gains_no_more_than_the_past_would_have_bet() -> None:
    calm, metrics = a_start(50)
    standing = replace(calm, sickness=Sickness(ticks=50, well_ticks=49, after_ticks=0))
    tests = standings.tests_of(metrics, standing.history)

    after = advance(standing, metrics, a_row(1000, 25, 1000, 10))

    assert after.sickness is None
    cell = Cell(1000, 25, 1000, 10, 1.0, steady=False)
    foreseen, unforeseen = (
        reopened(add(standing.wealth, tests, [cell], incident=False, foreseen=seen)) for seen in (True, False)
    )
    assert after.wealth == foreseen
    assert foreseen != unforeseen


def test_a_tick_in_which_failures_were_not_measured_has_none_of_nothing() -> None:
    standing, metrics = a_standing(replace(a_history(), per_tick=100.0))
    blind = replace(a_row(50, 2, 70, 1), cells=(None,))

    after = advance(standing, metrics, blind)

    assert (after.recent, after.recent_target) == ((((0, 0),),), ((0, 0),))
    assert after.usual == pytest.approx(100 * (advance(after, metrics, blind).usual / after.usual))


def test_of_the_target_the_newest_ticks_are_kept_to_half_a_second() -> None:
    standing, metrics = a_start(50)
    rows = [replace(a_row(number, 0, 50, 0), seconds=0.5) for number in range(1, standings.RECENT_TICKS + 2)]

    after = added(standing, metrics, *rows)

    assert after.recent_target == tuple((number, 0) for number in range(2, standings.RECENT_TICKS + 2))
    assert after.seconds == after.exposed_seconds == 0.5 * len(rows)


@pytest.mark.parametrize(("per_tick", "ratio"), [(1000, (20 + 19) / (1 + 1)), (2000, 20)])
def test_the_side_with_fewer_requests_decides_which_ratio_is_used(per_tick: float, ratio: float) -> None:
    standing, metrics = a_standing(replace(a_history(), per_tick=per_tick))
    most = at_share(standing, metrics, 95)

    assert standings._ratio(most, (0, 0, 0, 0), (20, 0, 1, 0), by_request=True) == pytest.approx(ratio)


def test_one_request_of_each_side_is_a_ratio() -> None:
    standing, _ = a_start()

    assert standings._ratio(standing, (0, 0, 0, 0), (1, 0, 1, 0), by_request=True) == 1


def test_merged_ticks_are_enough_with_a_hundred_requests_of_each_side() -> None:
    standing, metrics = a_start()

    assert advance(standing, metrics, a_row(100, 0, 100, 0, by_request=False)).pending == ()
    assert advance(standing, metrics, a_row(100, 0, 99, 0, by_request=False)).pending != ()


def test_one_tick_says_no_more_of_lost_traffic_than_the_cap() -> None:
    standing, metrics = a_start(25)

    assert advance(standing, metrics, a_row(0, 0, 1500, 15)).lost == CAP_NATS


def test_at_100_percent_requests_of_the_source_are_no_lost_traffic() -> None:
    standing, metrics = a_start(100)

    assert advance(standing, metrics, a_row(100, 0, 500, 0)).lost == 0


def test_only_a_share_that_had_a_tick_is_followed_by_a_new_start() -> None:
    standing, metrics = a_start(5)

    assert at_share(standing, metrics, 25).wealth.metrics[0].opened == (1, 1)
    after = added(standing, metrics, a_row(50, 0, 950, 9))
    assert at_share(after, metrics, 25).wealth == new_start(after.wealth)


def test_back_at_0_nothing_is_bet_though_there_was_a_share() -> None:
    standing, metrics = a_start(5)
    back = at_share(added(standing, metrics, *[a_row(50, 2, 950, 9)] * 2), metrics, 0)

    assert advance(back, metrics, a_row(50, 40, 950, 9)).wealth == back.wealth
