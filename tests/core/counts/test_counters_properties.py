"""What holds of counts whatever the readings are: never negative, never impossible, nothing counted twice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shifter.core.counts.evidence import (
    CLIENT_LEFT,
    INFINITY_MS,
    UNKNOWN,
    Answers,
    PodReading,
    Reading,
    Series,
    SideCounts,
)
from tests.core.counting import NOON, OK, bucket, ended, half, judged, pod, reading, run, shop

SERIES = [
    *(ended(code, subject) for subject in ("shop", "pay", UNKNOWN) for code in ("200", "503", CLIENT_LEFT)),
    *(bucket(edge) for edge in (5.0, 10.0, INFINITY_MS)),
    *(half("logins", part) for part in ("bad", "total")),
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
        name: (
            sum(judged(each.of([name])).requests for each in counts),
            sum(judged(each.of([name])).bad for each in counts),
        )
        for name in spaces
    }
    unknown = (
        sum(judged(each.unknown).requests for each in counts),
        sum(judged(each.unknown).bad for each in counts),
    )
    return {name: both for name, both in by_namespace.items() if any(both)}, unknown


@given(READINGS)
def test_no_input_gives_a_negative_or_impossible_count(
    script: list[tuple[int, dict[str, tuple[int, int | None, dict[Series, float]]]]],
) -> None:
    _, all_counts, spans = run(*any_readings(script))

    assert all(span >= 0 and math.isfinite(span) for span in spans)
    for counts in all_counts:
        for each in map(judged, (*counts.by_namespace.values(), counts.unknown)):
            assert each.left >= 0
            assert all(total >= bad >= 0 for _, bad, total in each.pairs)
            assert each.requests >= each.bad >= 0
            assert all(value >= 0 for _, value in each.buckets)
            assert all(low < high for (low, _), (high, _) in pairwise(each.buckets))


@given(READINGS)
def test_nothing_is_counted_without_time_having_been_covered_before_it(
    script: list[tuple[int, dict[str, tuple[int, int | None, dict[Series, float]]]]],
) -> None:
    _, all_counts, _ = run(*any_readings(script))

    assert not all_counts or (all_counts[0].by_namespace, all_counts[0].unknown) == ({}, Answers())


@given(READINGS)
def test_every_pod_that_answers_is_counted_or_said_to_be_dropped(
    script: list[tuple[int, dict[str, tuple[int, int | None, dict[Series, float]]]]],
) -> None:
    readings = any_readings(script)
    _, all_counts, _ = run(*readings)

    for each, counts in zip(readings, all_counts, strict=True):
        counted = len(each.pods) - len(counts.dropped)
        assert counts.dropped.keys() <= each.pods.keys()
        assert (counts.first_half is None) == (counted < 2)
        assert counted or counts.by_namespace == {}


@given(READINGS)
def test_half_of_the_pods_never_count_more_than_all(
    script: list[tuple[int, dict[str, tuple[int, int | None, dict[Series, float]]]]],
) -> None:
    _, all_counts, _ = run(*any_readings(script))

    for counts in all_counts:
        part, whole = counts.half_of(["shop"]), counts.of(["shop"])
        assert part is None or all(number <= whole.by_answer[answer] for answer, number in part.by_answer.items())


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
    answered = [
        (series.answer.code, value) for series, value in final if series.answer and series.answer.code != CLIENT_LEFT
    ]
    assert sum(requests for requests, _ in (*by_namespace.values(), unknown)) == sum(value for _, value in answered)
    assert sum(bad for _, bad in (*by_namespace.values(), unknown)) == sum(
        value for code, value in answered if code == "503"
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
