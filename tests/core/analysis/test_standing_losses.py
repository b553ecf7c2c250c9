"""What an attempt sees without weighing: failing ticks in a row, and requests that do not arrive."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from shifter.core.analysis import standing as standings
from shifter.core.analysis.standing import Failing, Row, advance, at_share
from tests.core.evidences import learnt, timed
from tests.core.standings import a_row, a_start, added


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
