"""Rules for turning raw counters into counts: the table in `counters.py` row by row."""

from __future__ import annotations

import pytest

from shifter.core.counts.counters import FORGET_AFTER_SECONDS, START_JITTER_SECONDS, Baselines, Doubt, advance, doubts
from shifter.core.counts.evidence import INFINITY_MS, Answers, Counts, PodReading, Series
from tests.core.counting import BAD, GAP, NOON, OK, bucket, pod, reading, run, shop


def test_first_reading_of_a_side_is_only_a_baseline() -> None:
    _, (counts,), (span,) = run(reading(0, a=pod({OK: 100, BAD: 7})))

    assert (counts.by_namespace, counts.unknown) == ({}, Answers())
    assert span == 0


def test_pod_that_began_since_the_sides_last_read_counts_from_zero() -> None:
    young = pod({OK: 5, BAD: 2}, sampled_at=NOON + 14, started_at=NOON + 4)
    _, (_, counts), (_, span) = run(reading(0), reading(15, b=young))

    assert shop(counts) == Counts(7, 2)
    assert span == 11


@pytest.mark.parametrize("started_at", [None, NOON, NOON - 5])
def test_unknown_pod_that_began_earlier_or_nobody_knows_when_is_a_baseline(started_at: float | None) -> None:
    first = pod({OK: 5}, sampled_at=NOON + 14, started_at=started_at)
    second = pod({OK: 6}, sampled_at=NOON + 29, started_at=started_at)
    _, counts, spans = run(reading(0), reading(15, b=first), reading(30, b=second))

    assert [shop(each).requests for each in counts] == [0, 0, 1]
    assert spans == [0, 0, 15]


def test_missing_pod_keeps_its_baseline_and_is_differenced_when_it_is_back() -> None:
    _, counts, spans = run(
        reading(0, a=pod({OK: 100})), reading(15), reading(30, a=pod({OK: 130, BAD: 4}, sampled_at=NOON + 30))
    )

    assert [shop(each) for each in counts] == [Counts(), Counts(), Counts(34, 4)]
    assert spans == [0, 0, 30]


def test_pod_unseen_for_too_long_is_forgotten() -> None:
    kept, _, _ = run(reading(0, a=pod({OK: 1})), reading(FORGET_AFTER_SECONDS))
    forgotten, _, _ = run(reading(0, a=pod({OK: 1})), reading(FORGET_AFTER_SECONDS + 1))

    assert set(kept.pods) == {"a"}
    assert set(forgotten.pods) == set()


def test_pod_is_never_forgotten_within_the_gap() -> None:
    kept, _, _ = run(reading(0, a=pod({OK: 1})), reading(FORGET_AFTER_SECONDS + 1), gap=2 * FORGET_AFTER_SECONDS)

    assert set(kept.pods) == {"a"}


def test_sample_older_than_the_believed_one_counts_nothing_however_late() -> None:
    stale = pod({OK: 90}, sampled_at=NOON - 10)
    fresh = pod({OK: 105}, sampled_at=NOON + 40)
    baselines, counts, _ = run(reading(0, a=pod({OK: 100})), reading(45, a=stale), reading(60, a=fresh))

    assert [shop(each).requests for each in counts] == [0, 0, 0]
    assert baselines.pods["a"].reading == fresh


def test_lagging_replica_after_a_restart_is_not_counted_as_growth() -> None:
    restarted = pod({OK: 3}, sampled_at=NOON + 14, started_at=NOON + 5)
    lagging = pod({OK: 990}, sampled_at=NOON + 3)
    later = pod({OK: 8}, sampled_at=NOON + 44, started_at=NOON + 5)
    _, counts, _ = run(
        reading(0, a=pod({OK: 900})), reading(15, a=restarted), reading(30, a=lagging), reading(45, a=later)
    )

    assert [shop(each).requests for each in counts] == [0, 3, 0, 5]


def test_fall_with_a_newer_process_start_is_a_reset() -> None:
    restarted = pod({OK: 3, BAD: 1}, sampled_at=NOON + 14, started_at=NOON + 5)
    _, (_, counts), (_, span) = run(reading(0, a=pod({OK: 100})), reading(15, a=restarted))

    assert shop(counts) == Counts(4, 1)
    assert span == 10


def test_restart_counts_from_zero_even_if_no_counter_is_lower() -> None:
    restarted = pod({OK: 120}, sampled_at=NOON + 14, started_at=NOON + 5)
    _, (_, counts), _ = run(reading(0, a=pod({OK: 100})), reading(15, a=restarted))

    assert shop(counts).requests == 120


def test_restart_within_a_second_of_the_last_sample_counts_from_zero_though_its_start_is_rounded_before_it() -> None:
    restarted = pod({OK: 3, BAD: 2}, sampled_at=NOON + 14, started_at=NOON - 0.35)
    _, (_, counts), _ = run(reading(0, a=pod({OK: 100})), reading(15, a=restarted))

    assert shop(counts) == Counts(5, 2)


def test_restart_after_a_gap_counts_from_zero() -> None:
    restarted = pod({OK: 3, BAD: 1}, sampled_at=NOON + 600, started_at=NOON + 500)
    _, (_, counts), (_, span) = run(reading(0, a=pod({OK: 100})), reading(600, a=restarted))

    assert shop(counts) == Counts(4, 1)
    assert span == 100


def test_start_of_a_young_process_may_move_between_samples() -> None:
    young = pod({OK: 5}, sampled_at=NOON, started_at=NOON - 1)
    moved = pod({OK: 9}, sampled_at=NOON + 5, started_at=NOON + START_JITTER_SECONDS - 1)
    _, (_, counts), _ = run(reading(0, a=young), reading(15, a=moved))

    assert shop(counts).requests == 4


def test_fall_settles_whether_a_young_process_began_again() -> None:
    young = pod({OK: 5}, sampled_at=NOON, started_at=NOON - 1)
    again = pod({OK: 2}, sampled_at=NOON + 5, started_at=NOON + 3)
    _, (_, counts), _ = run(reading(0, a=young), reading(15, a=again))

    assert shop(counts).requests == 2


def test_process_that_began_just_when_it_was_last_sampled_is_the_same_one() -> None:
    before = pod({OK: 100}, started_at=None)
    after = pod({OK: 104}, sampled_at=NOON + 15, started_at=NOON)
    _, (_, counts), _ = run(reading(0, a=before), reading(15, a=after))

    assert shop(counts).requests == 4


def test_process_start_that_becomes_known_later_is_believed() -> None:
    before = pod({OK: 100}, started_at=None)
    restarted = pod({OK: 120}, sampled_at=NOON + 14, started_at=NOON + 5)
    _, (_, counts), _ = run(reading(0, a=before), reading(15, a=restarted))

    assert shop(counts).requests == 120


def test_gap_makes_the_whole_pod_a_baseline() -> None:
    late = pod({OK: 150, BAD: 9}, sampled_at=NOON + 31)
    later = pod({OK: 151, BAD: 10}, sampled_at=NOON + 45)
    _, counts, spans = run(reading(0, a=pod({OK: 100})), reading(31, a=late), reading(46, a=later))

    assert [shop(each) for each in counts] == [Counts(), Counts(), Counts(2, 1)]
    assert spans == [0, 0, 15]


def test_gap_of_exactly_two_ticks_is_still_differenced() -> None:
    _, (_, counts), (_, span) = run(reading(0, a=pod({OK: 1})), reading(GAP, a=pod({OK: 3}, sampled_at=NOON + 30)))

    assert shop(counts).requests == 2
    assert span == GAP


@pytest.mark.parametrize("skew_seconds", [-40, 0, 5])
def test_whether_a_new_pod_began_since_is_told_by_the_datasources_clock(skew_seconds: float) -> None:
    def at(seconds: float) -> float:
        return NOON + skew_seconds + seconds

    known = pod({OK: 1}, sampled_at=at(-2))
    again = pod({OK: 1}, sampled_at=at(13))
    young = pod({OK: 5, BAD: 2}, sampled_at=at(13), started_at=at(4))
    older = pod({OK: 100}, sampled_at=at(13), started_at=at(-3))
    _, (_, counts), _ = run(reading(0, a=known), reading(15, a=again, b=young, c=older))

    assert shop(counts) == Counts(7, 2)


def test_pod_unseen_since_the_last_read_is_no_clock_for_new_ones() -> None:
    old = pod({OK: 1}, sampled_at=NOON)
    other = pod({OK: 9}, sampled_at=NOON + 300, started_at=NOON + 100)
    _, counts, _ = run(reading(0, a=old), reading(285), reading(300, b=other))

    assert [shop(each).requests for each in counts] == [0, 0, 0]


def test_request_series_that_vanish_from_a_process_are_no_quiet() -> None:
    before = {OK: 100.0, bucket(INFINITY_MS): 100.0}
    without = [pod({bucket(INFINITY_MS): 100.0}, sampled_at=NOON + 15 * each) for each in range(1, 5)]
    back = pod({OK: 130, bucket(INFINITY_MS): 130}, sampled_at=NOON + 75)
    baselines, counts, spans = run(
        reading(0, a=pod(before)), *(reading(15 * number, a=each) for number, each in enumerate(without, start=1))
    )
    _, late, span = advance(baselines, reading(75, a=back), GAP)

    assert spans == [0] * 5
    assert {shop(each) for each in counts} == {Counts()}
    assert doubts(baselines, reading(75, a=without[-1]), GAP) == {"a": Doubt.VANISHED}
    assert (shop(late), span) == (Counts(), 0)


def test_request_series_that_stay_away_are_believed_to_be_gone_in_the_end() -> None:
    late = FORGET_AFTER_SECONDS + 1
    gone, still = pod({}, sampled_at=NOON + late), pod({}, sampled_at=NOON + late + 15)
    _, _, spans = run(reading(0, a=pod({OK: 100})), reading(late, a=gone), reading(late + 15, a=still))

    assert spans == [0, 0, 15]


def test_process_that_began_anew_without_requests_has_lost_none() -> None:
    again = pod({}, sampled_at=NOON + 15, started_at=NOON + 5)
    _, _, spans = run(reading(0, a=pod({OK: 100})), reading(15, a=again))

    assert spans == [0, 10]


@pytest.mark.parametrize(
    ("now", "doubt"),
    [
        (pod({OK: 60, BAD: 9}, sampled_at=NOON + 15), Doubt.FELL),
        (pod({BAD: 9}, sampled_at=NOON + 15), Doubt.FELL),
        (pod({}, sampled_at=NOON + 15), Doubt.VANISHED),
        (pod({OK: 200, BAD: 9}, sampled_at=NOON - 1), Doubt.OLDER),
        (pod({OK: 200, BAD: 9}, sampled_at=NOON + 15), None),
        (pod({OK: 1}, sampled_at=NOON + 15, started_at=NOON + 5), None),
    ],
)
def test_pod_that_cannot_be_counted_is_doubted_by_name(now: PodReading, doubt: Doubt | None) -> None:
    baselines, _, _ = advance(Baselines(), reading(0, a=pod({OK: 100, BAD: 4})), GAP)

    assert doubts(baselines, reading(15, a=now, b=pod({OK: 7})), GAP) == ({} if doubt is None else {"a": doubt})


def test_fall_beyond_the_gap_is_believed_and_not_doubted() -> None:
    baselines, _, _ = advance(Baselines(), reading(0, a=pod({OK: 100})), GAP)
    fallen = pod({OK: 60}, sampled_at=NOON + GAP + 1)

    assert doubts(baselines, reading(GAP + 1, a=fallen), GAP) == {}


@pytest.mark.parametrize("dropped", [{OK: 60, BAD: 9}, {BAD: 9}, {}])
def test_fall_without_a_newer_start_drops_the_pods_whole_sample(dropped: dict[Series, float]) -> None:
    good = pod({OK: 110, BAD: 9}, sampled_at=NOON + 30)
    _, counts, spans = run(
        reading(0, a=pod({OK: 100, BAD: 4})),
        reading(15, a=pod(dropped, sampled_at=NOON + 15)),
        reading(30, a=good),
    )

    assert [shop(each) for each in counts] == [Counts(), Counts(), Counts(15, 5)]
    assert spans == [0, 0, 30]


def test_fall_that_lasts_becomes_the_baseline_and_is_never_counted() -> None:
    low = [pod({OK: 10 + each}, sampled_at=NOON + 15 * each) for each in range(1, 5)]
    _, counts, _ = run(
        reading(0, a=pod({OK: 100})), *(reading(15 * number, a=each) for number, each in enumerate(low, start=1))
    )

    # Dropped at 15 and 30 s, believed at 45 s, differenced at 60 s.
    assert [shop(each).requests for each in counts] == [0, 0, 0, 0, 1]


def test_new_error_series_of_a_known_pod_counts_from_zero() -> None:
    _, (_, counts), (_, span) = run(
        reading(0, a=pod({OK: 100})), reading(15, a=pod({OK: 104, BAD: 3}, sampled_at=NOON + 15))
    )

    assert shop(counts) == Counts(7, 3)
    assert span == 15


def test_pod_known_without_any_series_counts_its_first_ones_from_zero() -> None:
    first = pod({OK: 2, BAD: 1, bucket(5): 1, bucket(INFINITY_MS): 3}, sampled_at=NOON + 15)
    _, (_, counts), _ = run(reading(0, a=pod({})), reading(15, a=first))

    assert shop(counts) == Counts(3, 1, ((5, 1), (INFINITY_MS, 3)))


def test_one_pods_trouble_is_not_the_others() -> None:
    _, (_, counts), _ = run(
        reading(0, a=pod({OK: 100}), b=pod({OK: 50})),
        reading(15, a=pod({OK: 20}, sampled_at=NOON + 15), b=pod({OK: 55}, sampled_at=NOON + 15)),
    )

    assert shop(counts).requests == 5


def test_span_reaches_back_to_the_earliest_reading_that_was_differenced() -> None:
    late = NOON + 30
    _, _, spans = run(
        reading(0, a=pod({OK: 1}), b=pod({OK: 1})),
        reading(15, a=pod({OK: 2}, sampled_at=NOON + 15)),
        reading(30, a=pod({OK: 3}, sampled_at=late), b=pod({OK: 3}, sampled_at=late)),
    )

    assert spans == [0, 15, 30]


def test_quiet_pods_cover_the_time_and_vanished_pods_do_not() -> None:
    _, _, quiet = run(reading(0, a=pod({OK: 1})), reading(15, a=pod({OK: 1})))
    _, _, gone = run(reading(0, a=pod({OK: 1})), reading(15))

    assert quiet == [0, 15]
    assert gone == [0, 0]


def test_clock_set_back_gives_no_negative_span() -> None:
    _, (_, counts), (_, span) = run(reading(0, a=pod({OK: 1})), reading(-5, a=pod({OK: 3})))

    assert shop(counts).requests == 2
    assert span == 0
