"""From a state and its ticks to the standing that belongs to it."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from shifter.core.analysis.standing import evidence_of_harm
from shifter.core.counts.evidence import Counts, Tick
from shifter.core.deciding.gathering import RELEARN_TICKS, belonging, gather, no_histogram, still_lacking
from shifter.core.documents.fleet import Lessons
from tests.core.evidences import EDGES_MS, NOON, TICK_SECONDS, a_policy, a_story, an_intent, learnt, timed

LATENCY = a_policy({"answers": {"codes": ()}})
LATENCY_LIMIT = a_policy({"answers": {"codes": ()}, "latency": {"maxMs": 300}})
GOOD = Counts(1500, 15)
FEW = Lessons(least_ticks=2, least_requests=10, most_ticks=20)


def test_nothing_stands_before_enough_is_known_of_the_source() -> None:
    story = a_story().tick(GOOD, count=7)

    assert story.standing is None
    assert "7 ticks and 10500 requests" in still_lacking(None, story.state, story.ledger, story.terms)


def test_enough_of_the_source_is_history() -> None:
    story = a_story().tick(GOOD, count=8)

    assert story.known.history.metrics[0].rate == 0.01
    assert (story.known.share, story.known.ticks) == (0, 1)
    assert still_lacking(story.known, story.state, story.ledger, story.terms) == ""


def test_until_the_first_step_history_is_learnt_anew_at_first_often_and_then_regularly() -> None:
    story, learnt_at = learnt(), []
    for _ in range(3 * RELEARN_TICKS):
        before = story
        story = story.tick(Counts(1500, 60))
        if story.known.history != before.known.history:
            learnt_at.append(before.known.ticks)

    doubling = [2**power for power in range(int(math.log2(RELEARN_TICKS)))]
    assert learnt_at == [*doubling, RELEARN_TICKS, 2 * RELEARN_TICKS, 3 * RELEARN_TICKS]
    assert story.known.history.metrics[0].rate == story.known.wealth.metrics[0].source_rate > 0.03


@pytest.mark.parametrize("share", [0.5, 5])
def test_once_it_climbs_history_is_fixed(share: float) -> None:
    story = learnt().at(share).tick(Counts(1400, 200), Counts(75, 1), count=2 * RELEARN_TICKS)

    assert story.known.history == learnt().known.history


def test_while_the_first_write_is_under_way_history_is_fixed() -> None:
    story = learnt().tick(Counts(1500, 60))
    moving = story.at(0, intent=an_intent(0, 5), verified_at=None).tick(Counts(1500, 60), whole=False)

    assert moving.known.history == story.known.history


def test_a_verified_share_begins_its_own_counts() -> None:
    story = learnt().at(5).tick(Counts(1425, 14), Counts(75, 1), count=3)

    assert (story.known.share, story.known.ticks) == (5, 3)
    assert story.known.totals == ((225, 3, 4275, 42),)


@pytest.mark.parametrize(
    ("before", "after_ticks", "span_ticks", "adds"),
    [(1, 1, 2, 1), (2, 1, 2, 1), (1, 3, 1, 1), (1, -1, 1, 0)],
    ids=["a pod counted back", "into the newest only", "after a gap", "clock set back"],
)
def test_the_time_that_a_tick_has_in_common_with_the_one_before_counts_once(
    before: int, after_ticks: int, span_ticks: int, adds: int
) -> None:
    """A pod that was left out of a tick is counted back into it in the next."""
    story = learnt().at(5).tick(Counts(1425, 14), Counts(75, 1), count=before)
    now = story.now + timedelta(seconds=after_ticks * TICK_SECONDS)
    ledger = story.ledger.add(Tick(now, span_ticks * TICK_SECONDS, Counts(1425, 14), Counts(75, 1)))
    gathered = gather(story.standing, story.state, ledger, whole=True, terms=story.terms)

    assert gathered is not None
    assert gathered.standing.seconds == gathered.standing.exposed_seconds == (before + adds) * TICK_SECONDS
    assert not gathered.row.since, "nobody said that it began after the share was verified"


def test_a_row_says_whether_its_tick_began_after_the_share_was_verified() -> None:
    story = learnt().at(5).tick(Counts(1425, 14), Counts(75, 1))
    rows = [
        gather(story.standing, story.state, story.ledger, whole=False, terms=story.terms, since=since)
        for since in (False, True)
    ]

    assert [None if each is None else each.row.since for each in rows] == [False, True]


def test_a_share_that_is_not_verified_yet_changes_nothing() -> None:
    story = learnt().at(5, verified_at=None).tick(Counts(1425, 14), Counts(75, 1), whole=False)

    assert story.known.share == 0


def test_another_attempt_begins_anew() -> None:
    failing = learnt().at(5).tick(Counts(1425, 14), Counts(75, 60))
    again = failing.at(5, attempt=2).tick(Counts(1425, 14), Counts(75, 0))

    assert evidence_of_harm(failing.known, failing.metrics) > 1
    assert (again.known.attempt, evidence_of_harm(again.known, again.metrics) < 1) == (2, True)


def test_other_metrics_begin_anew() -> None:
    story = learnt().at(5).tick(Counts(1425, 14), Counts(75, 1))
    wider = story.at(5, policy=a_policy({"latency": {"enabled": False}, "answers": {"codes": ("404",)}}))

    mine = belonging(story.known, wider.state)

    assert mine is not None
    assert [each.name for each in mine.history.metrics] == ["errors", "404"]
    assert [each.requests for each in mine.history.metrics] == [12_000, 0]


def test_what_belongs_is_left_alone() -> None:
    story = learnt().at(5).tick(Counts(1425, 14), Counts(75, 1))

    assert belonging(story.standing, story.state) is story.standing
    assert belonging(None, story.state) is None


def test_after_a_restart_what_was_learnt_stays_until_there_is_enough_to_learn_again() -> None:
    story, again = learnt(), a_story()
    standing = story.known
    for _ in range(story.terms.lessons.least_ticks - 1):
        again = again.tick(Counts(1500, 60))
        gathered = gather(standing, again.state, again.ledger, whole=True, terms=again.terms)
        assert gathered is not None
        standing = gathered.standing

    assert standing.history == story.known.history


def test_a_share_that_nobody_watched_from_the_start_knows_nothing_of_the_source() -> None:
    story = a_story(LATENCY_LIMIT).at(25).tick(timed(1200, 12), timed(300, 3))

    assert [each.name for each in story.known.history.metrics] == ["errors", "over 500 ms"]
    assert {each.requests for each in story.known.history.metrics} == {0}
    assert {each.dispersion for each in story.known.history.metrics} == {2.0}
    assert (story.known.share, story.known.history.per_tick, story.known.ticks) == (25, 1500, 1)


def test_a_share_that_nobody_watched_is_what_all_its_ticks_show_and_no_history() -> None:
    story = a_story().at(25).tick(Counts(1200, 12), Counts(300, 3)).tick(Counts(900), Counts(200))
    gathered = gather(None, story.state, story.ledger, whole=True, terms=story.terms)

    assert gathered is not None
    history = gathered.before.history
    assert (history.ticks, history.requests, history.per_tick) == (0, 0, 1300)


def test_a_share_that_nobody_watched_nor_verified_is_not_the_standings() -> None:
    story = a_story().at(25, verified_at=None).tick(Counts(1200, 12), Counts(300, 3), whole=False)

    assert story.known.share == 0


def test_without_a_limit_such_a_share_judges_no_latency() -> None:
    assert a_story(LATENCY).at(25).tick(timed(1200), timed(300)).known.history.edges_ms == ()


def test_a_limit_beyond_every_edge_judges_no_latency_there() -> None:
    beyond = a_policy({"answers": {"codes": ()}, "latency": {"maxMs": 5000}})

    assert a_story(beyond).at(25).tick(timed(1200), timed(300)).known.history.edges_ms == ()


def test_a_limit_of_latency_that_is_not_judged_is_not_judged_there_either() -> None:
    unjudged = a_policy({"latency": {"enabled": False, "maxMs": 300}})

    assert a_story(unjudged).at(25).tick(timed(1200), timed(300)).known.history.edges_ms == ()


def test_a_write_under_way_from_0_without_a_standing_is_judged_all_the_same() -> None:
    story = a_story().at(0, intent=an_intent(0, 5), verified_at=None).tick(Counts(1400), Counts(50, 50), whole=False)

    assert (story.known.share, story.known.failing.ticks) == (0, 1)


def test_latency_edges_are_fixed_by_history() -> None:
    story = learnt(LATENCY)

    assert story.known.history.edges_ms == (100.0, 500.0)
    assert [metric.edge_ms for metric in story.metrics] == [None, 100, 500]


def test_other_edges_learnt_later_begin_the_standing_anew_but_not_the_wait() -> None:
    slower = timed(15_000, 150, dict.fromkeys(EDGES_MS[:3], 6000.0))
    story = learnt(LATENCY).tick(slower, count=12)

    assert story.known.history.edges_ms == (1000.0,)
    assert (story.known.ticks, story.known.seconds) == (13, 13 * TICK_SECONDS)


def test_what_is_usual_before_the_first_step_is_learnt_anew_with_history() -> None:
    known = learnt().tick(Counts(3000, 30)).known

    assert known.history.per_tick > learnt().known.history.per_tick
    assert known.usual == pytest.approx(0.9 * known.history.per_tick + 0.1 * 3000)


def test_a_source_without_a_histogram_is_said_to_lack_one() -> None:
    story = a_story(LATENCY).tick(GOOD, count=10)

    assert story.standing is None
    assert "shows no latency histogram" in no_histogram(None, story.state, story.ledger)
    assert "`latency: {enabled: false}`" in no_histogram(None, story.state, story.ledger)


def test_a_source_that_nobody_uses_need_not_show_a_histogram() -> None:
    story = a_story(LATENCY, FEW).tick(Counts(), count=20)

    assert still_lacking(None, story.state, story.ledger, story.terms) == ""
    assert story.known.history.requests == 0


def test_where_something_was_learnt_or_users_are_on_the_target_no_histogram_is_lacking() -> None:
    story = a_story(LATENCY).tick(GOOD, count=10)

    assert no_histogram(learnt(LATENCY).known, story.state, story.ledger) == ""
    assert no_histogram(None, story.at(0.5).state, story.ledger) == ""


@pytest.mark.parametrize("share", [0.5, 5, 100])
def test_above_0_nothing_is_lacking(share: float) -> None:
    story = a_story().at(share)

    assert still_lacking(None, story.state, story.ledger, story.terms) == ""


def test_different_bucket_layouts_are_judged_at_the_edges_that_both_have() -> None:
    story = learnt(LATENCY, edges_ms=(250.0, 1000.0))

    assert story.known.history.edges_ms == (250.0,)


def test_where_clients_stick_rows_say_so() -> None:
    story = learnt(split_by_request=False).at(50)
    gathered = story.tick(Counts(60), Counts(60))

    assert gathered.known.pending == ((60, 0, 60, 0),)
    assert story.now > NOON
