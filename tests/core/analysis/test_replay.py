"""Every later standing follows from an earlier one and its rows, from a record alone; and what is kept is bounded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifter.core.analysis.assess import assess
from shifter.core.analysis.learning import History, MetricHistory
from shifter.core.analysis.measures import Metric, metrics_of
from shifter.core.analysis.replay import (
    CHECKPOINT_SECONDS,
    MAX_ROWS,
    Trail,
    as_json,
    is_due,
    of_json,
    with_row,
)
from shifter.core.analysis.standing import Counted, Row, advance, at_share, begin, evidence_of_harm
from shifter.core.counts.evidence import Counts
from shifter.core.deciding.gathering import gather
from shifter.core.documents.criteria import Analysis
from tests.core.evidences import TICK_SECONDS, Story, a_policy, a_standing, learnt, timed

ALL = a_policy({})

MOST_BYTES_BY_DEFAULT = 40_000
"""What `replay.py` promises of the JSON of a trail: seven metrics, all rows, numbers that need all their digits."""

MOST_BYTES = 180_000
"""The same with every metric that a policy can have: 34 of them."""


def through_a_record(trail: Trail) -> Trail:
    """Return what a record of it says years later."""
    return of_json(json.loads(json.dumps(as_json(trail))))


def followed(story: Story, ticks: Sequence[tuple[Counts, Counts]]) -> tuple[Story, Trail]:
    """Return the story after these ticks, and its trail."""
    trail: Trail | None = None
    for source, target in ticks:
        after = story.tick(source, target)
        gathered = gather(story.standing, after.state, after.ledger, whole=True, terms=story.terms)
        assert gathered is not None
        trail = with_row(trail, gathered.before, gathered.row, unbroken=gathered.before is story.standing)
        story = replace(after, standing=gathered.standing)
    assert trail is not None
    return story, trail


counted = st.builds(
    timed,
    st.floats(0, 2000),
    st.floats(0, 50),
    st.dictionaries(st.sampled_from([100.0, 250.0, 500.0, 1000.0]), st.floats(0, 100)),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(counted, counted), min_size=1, max_size=50), st.sampled_from([5.0, 50.0, 100.0]))
def test_every_standing_is_computed_again_from_its_trail_bit_by_bit(
    ticks: Sequence[tuple[Counts, Counts]], share: float
) -> None:
    story, trail = followed(learnt(ALL).at(share), ticks)

    assert through_a_record(trail).last(story.metrics) == story.standing


def test_every_decision_is_computed_again_from_its_record() -> None:
    ticks = [(timed(1425, 14, {100: 100}), timed(75, 9, {100: 6}))] * 4
    story, trail = followed(learnt(ALL).at(5), ticks)

    again = through_a_record(trail).last(story.metrics)

    assert story.judged().verdict == "fail"
    assert assess(story.state.policy.spec, again, story.ledger, story.situation()) == story.judged()
    assert evidence_of_harm(again, story.metrics) == story.judged().harm


def test_a_replay_goes_on_as_the_original_does() -> None:
    story, trail = followed(learnt(ALL).at(5), [(timed(1425, 14), timed(75, 1))] * 3)
    again = replace(story, standing=through_a_record(trail).last(story.metrics))

    further = [each.tick(timed(1425, 30), timed(75, 9), count=5).standing for each in (story, again)]

    assert further[0] == further[1]


def test_another_share_begins_a_trail_of_its_own() -> None:
    story, first = followed(learnt(ALL).at(5), [(timed(1425, 14), timed(75, 1))] * 3)
    higher, second = followed(story.at(25), [(timed(1125, 14), timed(375, 1))] * 2)

    assert (first.base.share, len(first.rows)) == (5, 3)
    assert (second.base.share, len(second.rows)) == (25, 2)
    assert through_a_record(second).last(higher.metrics) == higher.standing


def test_a_trail_is_bounded_and_goes_on_from_where_it_was() -> None:
    story, trail = followed(learnt(ALL).at(5), [(timed(1425, 14), timed(75, 1))] * (MAX_ROWS + 1))

    assert len(trail.rows) == 1
    assert trail.last(story.metrics) == story.standing


def test_a_trail_of_one_more_row_is_the_same_with_it() -> None:
    standing, metrics = a_standing()
    row = Row(15.0, TICK_SECONDS, ((5.0, 1.0, 95.0, 1.0),))
    first = with_row(None, standing, row, unbroken=True)
    second = with_row(first, advance(standing, metrics, row), row, unbroken=True)

    assert (first.rows, second.rows) == ((row,), (row, row))
    assert second.base is standing


def test_what_is_no_trail_is_refused() -> None:
    with pytest.raises(ValueError, match="base"):
        of_json({"rows": []})


def a_trail(analysis: Analysis, edges_ms: Sequence[float]) -> Trail:
    """Return the longest trail there can be: all rows, and numbers that need all their digits."""
    metrics = metrics_of(analysis, edges_ms)
    third = 1e9 / 3
    known = tuple(MetricHistory(metric.name, 1 / 3, third, 100 / 3, halves=True) for metric in metrics)
    history = History(720, third, third, tuple(edges_ms), known)
    standing = at_share(begin(metrics, history, attempt=10), metrics, 100 / 3)
    cells = ((third, third / 7, third, third / 7),) * len(metrics)
    row = Row(1_800_000_000.123, 15.123, cells, whole=False, apart_seconds=-1.234, by_request=False, since=True)
    for _ in range(12):
        standing = advance(standing, metrics, replace(row, whole=True))
    return Trail(replace(standing, pending=row.cells, unmeasured=tuple(m.name for m in metrics)), (row,) * MAX_ROWS)


def size(trail: Trail) -> int:
    return len(json.dumps(as_json(trail)).encode())


def test_a_trail_of_a_policy_of_defaults_is_no_larger_than_stated() -> None:
    assert MOST_BYTES_BY_DEFAULT / 2 < size(a_trail(Analysis(), (250.0, 500.0))) <= MOST_BYTES_BY_DEFAULT


def test_a_trail_of_the_largest_policy_is_no_larger_than_stated() -> None:
    codes = tuple(str(code) for code in range(400, 420))
    custom = tuple({"name": f"{'a' * 50}-{index}"} for index in range(10))
    largest = Analysis.model_validate({"answers": {"codes": codes}, "custom": custom, "latency": {"maxMs": 900}})

    assert MOST_BYTES / 2 < size(a_trail(largest, (250.0, 500.0, 1000.0))) <= MOST_BYTES


# When a standing is saved


def saved(**changes: Any) -> tuple[Any, Any, tuple[Metric, ...]]:  # noqa: ANN401 - any field of a standing
    standing, metrics = a_standing()
    there = at_share(standing, metrics, 5)
    return there, replace(there, **changes), metrics


def test_the_first_standing_is_saved() -> None:
    standing, metrics = a_standing()

    assert is_due(None, standing, metrics)


@pytest.mark.parametrize("changes", [{"attempt": 2}, {"share": 25.0}], ids=["another attempt", "another share"])
def test_a_standing_of_another_attempt_or_share_is_saved(changes: dict[str, Any]) -> None:
    assert is_due(*saved(**changes))


def test_a_standing_of_other_metrics_is_saved() -> None:
    one, _, metrics = saved()
    other = replace(one, history=replace(one.history, metrics=one.history.metrics * 2))

    assert is_due(other, one, metrics)


@pytest.mark.parametrize("seconds", [CHECKPOINT_SECONDS, -CHECKPOINT_SECONDS])
def test_a_standing_that_nothing_happened_to_is_saved_after_a_while(seconds: float) -> None:
    assert is_due(*saved(counted_until=seconds))
    assert not is_due(*saved(counted_until=seconds * 0.99))


def test_a_standing_is_saved_each_time_the_odds_grew_tenfold() -> None:
    standing, metrics = a_standing()
    now = at_share(standing, metrics, 50)
    last, odds = now, []
    bad: Counted = (75.0, 4.0, 75.0, 1.0)
    while evidence_of_harm(now, metrics) < 2000:
        now = advance(now, metrics, Row(0.0, TICK_SECONDS, (bad,)))
        if is_due(last, now, metrics):
            last = now
            odds.append(evidence_of_harm(now, metrics))

    assert [len(str(int(each))) for each in odds] == [2, 3, 4]


def test_odds_that_fall_are_not_saved_for_it() -> None:
    standing, metrics = a_standing()
    high = advance(at_share(standing, metrics, 50), metrics, Row(0.0, TICK_SECONDS, ((75.0, 40.0, 75.0, 1.0),)))
    low = advance(high, metrics, Row(0.0, TICK_SECONDS, ((750.0, 0.0, 750.0, 9.0),)))
    assert evidence_of_harm(low, metrics) < evidence_of_harm(high, metrics) / 10

    assert not is_due(high, low, metrics)
