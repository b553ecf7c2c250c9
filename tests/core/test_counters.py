"""Rules for turning raw counters into counts: the table in `counters.py` row by row, and what holds for all inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.counters import (
    FORGET_AFTER_SECONDS,
    START_JITTER_SECONDS,
    Baselines,
    Doubt,
    advance,
    doubts,
    edges_around,
    is_server_error,
)
from shifter.core.evidence import CLIENT_LEFT, INFINITY_MS, UNKNOWN, Counts, PodReading, Reading, Series, SideCounts

GAP = 30.0
NOON = 1_800_000_000.0
OK = Series("shop", "200")
BAD = Series("shop", "503")
LONG_AGO = NOON - 100_000


def bucket(edge_ms: float, subject: str = "shop") -> Series:
    return Series(subject, edge_ms=edge_ms)


def pod(
    counters: Mapping[Series, float], *, sampled_at: float = NOON, started_at: float | None = LONG_AGO
) -> PodReading:
    return PodReading(sampled_at, started_at, counters)


def reading(after_seconds: float, **pods: PodReading) -> Reading:
    return Reading(NOON + after_seconds, pods)


def run(*readings: Reading, gap: float = GAP) -> tuple[Baselines, list[SideCounts], list[float]]:
    baselines, all_counts, spans = Baselines(), [], []
    for each in readings:
        baselines, counts, span = advance(baselines, each, gap)
        all_counts.append(counts)
        spans.append(span)
    return baselines, all_counts, spans


def shop(counts: SideCounts) -> Counts:
    return counts.by_namespace.get("shop", Counts())


# --- the table, row by row


def test_first_reading_of_a_side_is_only_a_baseline() -> None:
    _, (counts,), (span,) = run(reading(0, a=pod({OK: 100, BAD: 7})))

    assert counts == SideCounts({}, Counts())
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


# --- codes, subjects, buckets


def test_client_that_left_is_neither_request_nor_bad() -> None:
    left = Series("shop", CLIENT_LEFT)
    _, (_, counts), _ = run(reading(0, a=pod({OK: 1})), reading(15, a=pod({OK: 2, left: 50})))

    assert shop(counts) == Counts(1, 0)


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        *((code, True) for code in ("500", "503", "599")),
        *((code, False) for code in ("200", "404", "0", "", "5", "5xx", "5000")),
    ],
)
def test_bad_is_a_server_error(code: str, *, bad: bool) -> None:
    assert is_server_error(code) is bad


def test_series_that_name_no_namespace_are_kept_apart_and_never_dropped() -> None:
    lost = Series(UNKNOWN, "503")
    _, (_, counts), _ = run(reading(0, a=pod({})), reading(15, a=pod({OK: 1, lost: 8})))

    assert counts == SideCounts({"shop": Counts(1, 0)}, Counts(8, 8))


def test_pods_and_codes_are_added_up_by_namespace() -> None:
    other = Series("pay", "200")
    _, (_, counts), _ = run(
        reading(0, a=pod({}), b=pod({})), reading(15, a=pod({OK: 1, BAD: 2, other: 3}), b=pod({OK: 10}))
    )

    assert counts.by_namespace == {"pay": Counts(3, 0), "shop": Counts(13, 2)}


def test_edge_never_read_before_is_left_out_once() -> None:
    before = {bucket(5): 10.0, bucket(INFINITY_MS): 20.0}
    wider = {bucket(5): 11.0, bucket(10): 16.0, bucket(INFINITY_MS): 22.0}
    widest = {bucket(5): 11.0, bucket(10): 17.0, bucket(INFINITY_MS): 24.0}
    _, counts, _ = run(reading(0, a=pod(before)), reading(15, a=pod(wider)), reading(30, a=pod(widest)))

    assert shop(counts[1]).buckets == ((5, 1), (INFINITY_MS, 2))
    assert shop(counts[2]).buckets == ((5, 0), (10, 1), (INFINITY_MS, 2))


def test_edge_that_only_some_pods_can_difference_is_left_out_for_all() -> None:
    known, wider = {bucket(INFINITY_MS): 20.0}, {bucket(10): 19.0, bucket(INFINITY_MS): 22.0}
    fresh = {bucket(10): 5.0, bucket(INFINITY_MS): 6.0}
    _, (_, counts), _ = run(reading(0, a=pod(known), b=pod({})), reading(15, a=pod(wider), b=pod(fresh)))

    assert shop(counts).buckets == ((INFINITY_MS, 8),)


def test_edge_no_longer_read_is_not_a_fall() -> None:
    before = {OK: 20.0, bucket(5): 10.0, bucket(INFINITY_MS): 20.0}
    _, (_, counts), _ = run(reading(0, a=pod(before)), reading(15, a=pod({OK: 23})))

    assert shop(counts) == Counts(3, 0)


def test_latency_read_for_the_first_time_is_a_baseline() -> None:
    after = {OK: 23.0, bucket(5): 10.0, bucket(INFINITY_MS): 23.0}
    _, (_, counts), _ = run(reading(0, a=pod({OK: 20})), reading(15, a=pod(after)))

    assert shop(counts) == Counts(3, 0)


def test_buckets_without_their_total_are_no_latency() -> None:
    _, (_, counts), _ = run(reading(0, a=pod({})), reading(15, a=pod({OK: 1, bucket(5): 1})))

    assert shop(counts) == Counts(1, 0)


# --- edges


def test_edges_reach_from_a_twentieth_of_the_limit_to_the_first_at_its_double() -> None:
    known = (5000, 0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 1000)

    assert edges_around(500, known) == (25, 50, 100, 250, 500, 1000)
    assert edges_around(300, known) == (25, 50, 100, 250, 500, 1000)
    assert edges_around(400, known) == (25, 50, 100, 250, 500, 1000)


def test_edges_end_with_the_last_known_if_none_reaches_the_double() -> None:
    assert edges_around(1000, (10, 50, 100, 1000)) == (50, 100, 1000)


@given(st.floats(0.1, 1e6), st.lists(st.floats(0.1, 1e7)))
def test_edges_are_known_ascending_and_unique(limit_ms: float, known: list[float]) -> None:
    edges = edges_around(limit_ms, known)

    assert set(edges) <= set(known)
    assert all(low < high for low, high in pairwise(edges))
    assert sum(edge >= 2 * limit_ms for edge in edges) <= 1


# --- what holds for all inputs

SERIES = [Series(subject, code) for subject in ("shop", "pay", UNKNOWN) for code in ("200", "503", CLIENT_LEFT)] + [
    bucket(edge) for edge in (5.0, 10.0, INFINITY_MS)
]
VALUES = st.dictionaries(st.sampled_from(SERIES), st.integers(0, 50).map(float))
READINGS = st.lists(
    st.tuples(
        st.integers(-5, 100),
        st.dictionaries(
            st.sampled_from("abc"),
            st.tuples(st.integers(-40, 0), st.one_of(st.none(), st.integers(-200, 0)), VALUES),
        ),
    ),
    max_size=12,
)
GROWTH = st.lists(st.dictionaries(st.sampled_from("ab"), VALUES), min_size=1, max_size=10)


def any_readings(
    script: Sequence[tuple[int, Mapping[str, tuple[int, int | None, Mapping[Series, float]]]]],
) -> list[Reading]:
    """Build readings that need not make sense: time may run backwards, counters fall, starts come and go."""
    now, built = NOON, []
    for step, pods in script:
        now += step
        built.append(
            Reading(
                now,
                {
                    name: PodReading(now + age, None if start is None else now + age + start, counters)
                    for name, (age, start, counters) in pods.items()
                },
            )
        )
    return built


def growing_readings(growth: Sequence[Mapping[str, Mapping[Series, float]]]) -> list[Reading]:
    """Build readings of two pods whose counters start from nothing and only grow, one every 15 s."""
    totals: dict[str, dict[Series, float]] = {"a": {}, "b": {}}
    built = [reading(0, a=pod({}), b=pod({}))]
    for number, grown in enumerate(growth, start=1):
        for name, deltas in grown.items():
            for series, delta in deltas.items():
                totals[name][series] = totals[name].get(series, 0.0) + delta
        at = 15.0 * number
        built.append(reading(at, **{name: pod(dict(totals[name]), sampled_at=NOON + at) for name in totals}))
    return built


def total(counts: Sequence[SideCounts]) -> tuple[dict[str, tuple[float, float]], tuple[float, float]]:
    spaces = sorted({name for each in counts for name in each.by_namespace})
    by_namespace = {
        name: (sum(each.of([name]).requests for each in counts), sum(each.of([name]).bad for each in counts))
        for name in spaces
    }
    unknown = (sum(each.unknown.requests for each in counts), sum(each.unknown.bad for each in counts))
    return {name: both for name, both in by_namespace.items() if any(both)}, unknown


@given(READINGS)
def test_no_input_gives_a_negative_or_impossible_count(
    script: list[tuple[int, dict[str, tuple[int, int | None, dict[Series, float]]]]],
) -> None:
    _, all_counts, spans = run(*any_readings(script))

    assert all(span >= 0 and math.isfinite(span) for span in spans)
    for counts in all_counts:
        for each in (*counts.by_namespace.values(), counts.unknown):
            assert each.requests >= each.bad >= 0
            assert all(value >= 0 for _, value in each.buckets)
            assert all(low < high for (low, _), (high, _) in pairwise(each.buckets))


@given(READINGS)
def test_nothing_is_counted_without_time_having_been_covered_before_it(
    script: list[tuple[int, dict[str, tuple[int, int | None, dict[Series, float]]]]],
) -> None:
    _, all_counts, _ = run(*any_readings(script))

    assert not all_counts or all_counts[0] == SideCounts({}, Counts())


@given(READINGS, st.randoms(use_true_random=False))
def test_order_of_pods_does_not_matter(
    script: list[tuple[int, dict[str, tuple[int, int | None, dict[Series, float]]]]], random: object
) -> None:
    shuffled = []
    for each in any_readings(script):
        names = list(each.pods)
        random.shuffle(names)  # type: ignore[attr-defined] # Hypothesis' seeded random.Random
        shuffled.append(Reading(each.read_at, {name: each.pods[name] for name in names}))

    assert run(*shuffled) == run(*any_readings(script))


@given(GROWTH)
def test_everything_counted_from_zero_is_exactly_the_final_counters(
    growth: list[dict[str, dict[Series, float]]],
) -> None:
    readings = growing_readings(growth)
    _, all_counts, _ = run(*readings)
    final = [counters for each in readings[-1].pods.values() for counters in each.counters.items()]

    by_namespace, unknown = total(all_counts)
    answered = [(series, value) for series, value in final if series.edge_ms is None and series.code != CLIENT_LEFT]
    assert sum(requests for requests, _ in (*by_namespace.values(), unknown)) == sum(value for _, value in answered)
    assert sum(bad for _, bad in (*by_namespace.values(), unknown)) == sum(
        value for series, value in answered if series.code == "503"
    )


@given(GROWTH, st.data())
def test_reading_less_often_gives_the_same_total(
    growth: list[dict[str, dict[Series, float]]], data: st.DataObject
) -> None:
    readings = growing_readings(growth)
    kept = (
        data.draw(st.lists(st.booleans(), min_size=len(readings) - 2, max_size=len(readings) - 2)) if growth[1:] else []
    )
    fewer = [readings[0], *(each for each, keep in zip(readings[1:-1], kept, strict=True) if keep), readings[-1]]

    assert total(run(*fewer, gap=math.inf)[1]) == total(run(*readings, gap=math.inf)[1])


@given(GROWTH, st.data())
def test_dropped_samples_never_change_the_total(
    growth: list[dict[str, dict[Series, float]]], data: st.DataObject
) -> None:
    readings = growing_readings(growth)
    spoiled = [
        Reading(
            each.read_at,
            {name: data.draw(st.sampled_from([whole, halved(whole)])) for name, whole in each.pods.items()},
        )
        for each in readings[1:-1]
    ]
    wrong = [readings[0], *spoiled, *readings[-1:]] if growth[1:] else readings

    # What was halved either fell and was dropped, or is a smaller growth: later samples make up for both.
    assert total(run(*wrong, gap=math.inf)[1]) == total(run(*readings, gap=math.inf)[1])


def halved(whole: PodReading) -> PodReading:
    return PodReading(
        whole.sampled_at, whole.started_at, {series: value // 2 for series, value in whole.counters.items()}
    )


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_restart_in_place_loses_only_what_came_after_the_last_sample(before: int, after: int, later: int) -> None:
    first = pod({OK: before})
    again = pod({OK: after}, sampled_at=NOON + 15, started_at=NOON + 12)
    more = pod({OK: after + later}, sampled_at=NOON + 30, started_at=NOON + 12.5)
    _, counts, _ = run(reading(0, a=first), reading(15, a=again), reading(30, a=more))

    assert sum(shop(each).requests for each in counts) == after + later
