"""What needs no odds: death, requests that do not arrive, and requests that lost their name."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from shifter.core.analysis.guards import LEAST_SPARED, dead, lost_traffic, vanished
from shifter.core.analysis.standing import Standing
from shifter.core.counts.evidence import Counts, Ledger, Tick
from shifter.core.documents.fleet import Lessons
from tests.core.evidences import EDGES_MS, NOON, NOTHING, TICK_SECONDS, Story, a_policy, a_story, learnt, timed

ALPHA = 0.01
CLUSTERED = 4.0


def at_5(dispersion: float = 1.0) -> Story:
    lessons = Lessons(one_pod_dispersion=dispersion)
    return a_story(lessons=lessons).tick(Counts(1500, 15), count=8).at(5)


def is_dead(story: Story) -> bool:
    return bool(dead(story.known, TICK_SECONDS))


# Dead


def test_ten_failures_in_one_scrape_are_death() -> None:
    assert is_dead(at_5().tick(Counts(1425, 14), Counts(10, 10)))
    assert not is_dead(at_5().tick(Counts(1425, 14), Counts(9, 9)))


def test_death_is_said_in_numbers() -> None:
    assert dead(at_5().tick(Counts(1425, 14), Counts(75, 75)).known, TICK_SECONDS) == (
        "istio failed 75 of 75 requests in one tick while tcm is well: dead"
    )


@pytest.mark.parametrize(("bad", "is_death"), [(40, True), (39, False)])
def test_clusters_of_failures_need_as_many_more(bad: float, *, is_death: bool) -> None:
    assert is_dead(at_5(CLUSTERED).tick(Counts(1425, 14), Counts(bad, bad))) is is_death


@pytest.mark.parametrize(("bad", "is_death"), [(38, True), (37, False)])
def test_a_target_that_fails_less_than_half_is_not_dead(bad: float, *, is_death: bool) -> None:
    assert is_dead(at_5().tick(Counts(1425, 14), Counts(75, bad))) is is_death


def test_where_both_fail_nobody_is_dead() -> None:
    assert not is_dead(at_5().tick(Counts(1425, 700), Counts(75, 75), count=10))


@pytest.mark.parametrize("apart", [-6.1, 6.1])
def test_samples_far_apart_ask_for_two_ticks(apart: float) -> None:
    one = at_5().tick(Counts(1425, 14), Counts(75, 75), apart_seconds=apart)

    assert not is_dead(one)
    assert is_dead(one.tick(Counts(1425, 14), Counts(75, 75), apart_seconds=apart))


@pytest.mark.parametrize("apart", [-6.0, 0.0, 6.0])
def test_samples_that_are_close_do_not(apart: float) -> None:
    assert is_dead(at_5().tick(Counts(1425, 14), Counts(75, 75), apart_seconds=apart))


def test_a_source_that_hardly_answers_cannot_tell_the_targets_death_from_an_incident_of_both() -> None:
    few = LEAST_SPARED - 1

    assert not is_dead(at_5().tick(NOTHING, Counts(75, 75), count=5))
    assert not is_dead(at_5().tick(Counts(few), Counts(75, 75)))
    assert is_dead(at_5().tick(Counts(LEAST_SPARED), Counts(75, 75)))


def test_what_a_quiet_source_answers_adds_up_tick_by_tick() -> None:
    assert is_dead(at_5().tick(Counts(LEAST_SPARED / 2), Counts(5, 5), count=2))


def test_at_100_percent_there_is_no_source_to_wait_for() -> None:
    assert is_dead(learnt().at(100).tick(NOTHING, Counts(1500, 1500), apart_seconds=30.0))


def test_a_quiet_target_is_dead_after_six_failures_in_several_ticks() -> None:
    assert is_dead(at_5().tick(Counts(28), Counts(3, 3), count=2))
    assert not is_dead(at_5().tick(Counts(28), Counts(1, 1), count=5))
    assert is_dead(at_5().tick(Counts(28), Counts(1, 1), count=6))


def test_clusters_of_failures_need_as_many_more_in_several_ticks_too() -> None:
    assert is_dead(at_5(CLUSTERED).tick(Counts(28), Counts(12, 12), count=2))
    assert not is_dead(at_5(CLUSTERED).tick(Counts(28), Counts(11, 11), count=2))


def test_at_100_percent_nothing_is_said_of_the_source() -> None:
    standing = learnt().at(100).tick(NOTHING, Counts(1500, 1500)).known

    assert dead(standing, TICK_SECONDS) == "istio failed 1500 of 1500 requests in one tick: dead"


def test_a_tick_in_which_nobody_asks_a_quiet_target_does_not_bring_it_back_to_life() -> None:
    assert is_dead(at_5().tick(Counts(28), Counts(3, 3)).tick(Counts(28), NOTHING).tick(Counts(28), Counts(3, 3)))


def test_three_ticks_are_said_as_three() -> None:
    said = dead(at_5().tick(Counts(28), Counts(2, 2), count=3).known, TICK_SECONDS)

    assert "6 of 6 requests in 3 ticks in a row" in said


def test_a_target_that_was_never_seen_is_not_dead() -> None:
    assert not is_dead(at_5().tick(Counts(1425, 14), NOTHING, count=10))


def test_a_target_that_was_dead_and_answers_again_is_not() -> None:
    assert not is_dead(at_5().tick(Counts(1425, 14), Counts(75, 75), count=3).tick(Counts(1425, 14), Counts(75)))


def test_a_history_without_a_failure_is_enough_to_see_death() -> None:
    assert is_dead(learnt(source=Counts(1500)).at(5).tick(Counts(1425), Counts(75, 75)))


def test_a_share_that_nobody_watched_from_the_start_is_enough_to_see_death() -> None:
    assert is_dead(a_story().at(25).tick(Counts(1125), Counts(375, 375)))


def test_no_latency_on_one_side_hides_no_death() -> None:
    story = learnt(a_policy({})).at(5)

    assert is_dead(story.tick(timed(1425, 14), Counts(75, 75)))
    assert story.known.history.edges_ms != EDGES_MS


# Lost on the way


def lost(standing: Standing) -> str:
    return lost_traffic(standing, ALPHA)


def test_traffic_that_does_not_arrive_is_lost() -> None:
    one = at_5().tick(Counts(1500), Counts(8))
    assert lost(one.known) == "", "one odd scrape is no loss"

    two = one.tick(Counts(1500), Counts(8))

    assert "of 3016 requests istio counted 16 (0.531 %) at a share of 5 %" in lost(two.known)


@pytest.mark.parametrize("arrived", [75, 60, 150, 1500])
def test_traffic_near_or_above_its_share_is_not_lost(arrived: float) -> None:
    assert lost(at_5().tick(Counts(1425), Counts(arrived), count=200).known) == ""


def test_a_target_that_is_never_scraped_is_lost_traffic_where_requests_are_split_one_by_one() -> None:
    assert lost(at_5().tick(Counts(1500), NOTHING, count=2).known)


def test_a_namespace_that_nobody_uses_loses_nothing() -> None:
    assert lost(at_5().tick(NOTHING, NOTHING, count=200).known) == ""


def test_a_smaller_error_probability_asks_for_more() -> None:
    standing = at_5().tick(Counts(1000), NOTHING, count=2).known

    assert lost_traffic(standing, 0.01)
    assert not lost_traffic(standing, 0.00001)


@pytest.mark.parametrize(("odds", "is_lost"), [(99.9, False), (100.0, True), (150.0, True)])
def test_traffic_is_lost_from_the_odds_on_that_the_error_probability_asks_for(odds: float, *, is_lost: bool) -> None:
    standing = replace(at_5().tick(Counts(1425), Counts(75)).known, lost=math.log(odds))

    assert bool(lost(standing)) is is_lost


def test_what_arrived_is_said_of_a_single_request_too() -> None:
    standing = replace(at_5().tick(Counts(1425), Counts(75)).known, lost=10.0, totals=((1.0, 0.0, 0.0, 0.0),))

    assert "of 1 requests istio counted 1 (100 %)" in lost(standing)


def test_ticks_across_a_change_of_the_share_say_nothing_about_losses() -> None:
    assert lost(at_5().tick(Counts(1500), NOTHING, count=20, whole=False).known) == ""


def test_losses_that_nobody_counted_are_said_all_the_same() -> None:
    """The odds outlive the counts only in what is handed in; a sentence is made of whatever there is."""
    story = at_5().tick(Counts(1500), NOTHING)
    bare = Standing(
        attempt=1,
        share=5.0,
        history=story.known.history,
        wealth=story.known.wealth,
        totals=((0.0, 0.0, 0.0, 0.0),),
        recent=(),
        usual=0.0,
        lost=10.0,
    )

    assert "of 0 requests istio counted 0 (0 %)" in lost(bare)


# Without a name


def seen(
    source: float, target: float, nameless: Counts, share: float = 50.0, usual: float | None = None, count: int = 1
) -> str:
    """Return why quiet is no quiet after `count` such ticks of 10 s."""
    tick = Tick(NOON, 10.0, Counts(source), Counts(target), nameless)
    return vanished(Ledger((tick,) * count, usual), (tick,) * count, share)


def test_errors_without_a_name_instead_of_the_expected_requests_are_told_from_quiet() -> None:
    assert seen(1000, 0, Counts(900, 900)) == (
        "istio answered 0 of about 1000 expected requests, and its gateway gave 900 bad answers that name no namespace "
        "(5xx 900 times): failing, not quiet; is there a route, and a healthy upstream?"
    )


def test_a_missing_route_is_told_from_quiet_too() -> None:
    said = seen(1000, 0, Counts(900, 0, kinds=(("401", 5.0), ("404", 895.0))))

    assert "900 bad answers that name no namespace (404 895 times, 401 5 times)" in said


def test_a_single_answer_without_a_name_is_named() -> None:
    said = seen(1000, 0, Counts(900, 0, kinds=(("401", 1.0), ("404", 899.0))))

    assert "(404 899 times, 401 1 times)" in said


@pytest.mark.parametrize(
    ("target", "nameless", "is_lost"),
    [(199, 401, True), (200, 401, False), (199, 400, False), (100, 450, True), (0, 0, False)],
    ids=["both", "a fifth still comes", "few nameless", "just half nameless", "merely quiet"],
)
def test_it_needs_both_missing_requests_and_answers_to_nobody(target: float, nameless: float, *, is_lost: bool) -> None:
    assert bool(seen(1000, target, Counts(nameless, nameless))) is is_lost


def test_what_is_expected_follows_the_share() -> None:
    assert "0 of about 50 expected" in seen(950, 0, Counts(50, 50), share=5)


@pytest.mark.parametrize(("missing", "is_lost"), [(20, True), (19, False)])
def test_a_few_missing_requests_are_not_lost(missing: float, *, is_lost: bool) -> None:
    assert bool(seen(missing, 0, Counts(missing, missing))) is is_lost


def test_quiet_ticks_add_up() -> None:
    assert seen(5, 0, Counts(5, 5), count=4)
    assert not seen(5, 0, Counts(5, 5), count=3)


def test_at_100_percent_the_usual_rate_says_what_is_expected() -> None:
    assert "10 of about 1000 expected" in seen(0, 10, Counts(990, 990), share=100, usual=100)
    assert not seen(0, 900, Counts(990, 990), share=100, usual=100)


def test_at_100_percent_without_a_usual_rate_total_silence_beside_such_answers_is_enough() -> None:
    assert "0 of about 20 expected" in seen(0, 0, Counts(20, 20), share=100)
    assert not seen(0, 0, Counts(19, 19), share=100)


def test_at_100_percent_without_a_usual_rate_some_traffic_is_believed() -> None:
    assert not seen(0, 100, Counts(10_000, 10_000), share=100)
    assert not seen(0, 1, Counts(10_000, 10_000), share=100)
