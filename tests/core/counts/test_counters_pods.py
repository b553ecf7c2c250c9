"""What is said of a side's pods besides the counts: which were not counted and why, what half of them saw."""

from __future__ import annotations

import pytest

from shifter.core.counts.counters import Doubt, Wait
from shifter.core.counts.evidence import UNKNOWN, PodReading
from tests.core.counting import BAD, GAP, NOON, OK, ended, half, judged, pod, reading, run, shop

LATER = NOON + 15


def later(number: float, bad: float = 0.0) -> PodReading:
    return pod({OK: number, BAD: bad} if bad else {OK: number}, sampled_at=LATER)


# --- pods that were not counted


def test_pod_seen_for_the_first_time_is_said_to_be_dropped() -> None:
    _, counts, _ = run(reading(0, a=pod({OK: 1})), reading(15, a=later(2), b=later(100)))

    assert [each.dropped for each in counts] == [{"a": Wait.FIRST_SEEN}, {"b": Wait.FIRST_SEEN}]


def test_pod_that_began_since_the_last_read_is_counted_and_not_dropped() -> None:
    young = pod({OK: 5}, sampled_at=LATER, started_at=NOON + 4)
    _, (_, counts), _ = run(reading(0, a=pod({OK: 1})), reading(15, a=later(2), b=young))

    assert counts.dropped == {}
    assert shop(counts).requests == 6


def test_pod_after_a_gap_is_said_to_be_dropped() -> None:
    _, (_, counts), _ = run(reading(0, a=pod({OK: 1})), reading(GAP + 1, a=pod({OK: 9}, sampled_at=NOON + 31)))

    assert counts.dropped == {"a": Wait.GAP}


def test_pod_that_is_gone_is_not_dropped_since_it_did_not_answer() -> None:
    _, (_, counts), _ = run(reading(0, a=pod({OK: 1}), b=pod({OK: 1})), reading(15, a=later(2)))

    assert counts.dropped == {}


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (pod({OK: 60}, sampled_at=LATER), Doubt.FELL),
        (pod({}, sampled_at=LATER), Doubt.VANISHED),
        (pod({OK: 200}, sampled_at=NOON - 1), Doubt.OLDER),
    ],
)
def test_pod_in_doubt_is_dropped_with_the_doubt_and_the_others_are_counted(now: PodReading, why: Doubt) -> None:
    _, (_, counts), _ = run(reading(0, a=pod({OK: 100}), b=pod({OK: 1})), reading(15, a=now, b=later(3)))

    assert counts.dropped == {"a": why}
    assert shop(counts).requests == 2


def test_custom_metric_that_is_no_counter_is_named_as_what_fell() -> None:
    gauge = half("sessions", "total")
    _, (_, counts), _ = run(
        reading(0, a=pod({OK: 1, gauge: 40})), reading(15, a=pod({OK: 3, gauge: 12}, sampled_at=LATER))
    )

    assert counts.dropped == {"a": Doubt.PAIR_FELL}


def test_pod_whose_requests_fell_too_is_not_blamed_on_a_custom_metric() -> None:
    total = half("logins", "total")
    _, (_, counts), _ = run(
        reading(0, a=pod({OK: 10, total: 40})), reading(15, a=pod({OK: 3, total: 12}, sampled_at=LATER))
    )

    assert counts.dropped == {"a": Doubt.FELL}


# --- a step that pods come into, leave, or begin again in


def test_pods_that_come_and_go_are_counted_as_long_as_they_are_there() -> None:
    young = {"started_at": NOON + 5}
    _, counts, _ = run(
        reading(0, a=pod({OK: 100}), b=pod({OK: 50})),
        reading(15, a=later(110), c=pod({OK: 4}, sampled_at=LATER, **young)),
        reading(30, c=pod({OK: 9, BAD: 2}, sampled_at=NOON + 30, **young)),
    )

    assert [shop(each).requests for each in counts] == [0, 14, 7]
    assert [shop(each).bad for each in counts] == [0, 0, 2]


def test_reset_in_the_middle_loses_only_that_pods_last_seconds_and_nothing_twice() -> None:
    again = {"started_at": NOON + 20}
    _, counts, _ = run(
        reading(0, a=pod({OK: 100}), b=pod({OK: 100})),
        reading(15, a=later(110), b=later(110)),
        reading(30, a=pod({OK: 120}, sampled_at=NOON + 30), b=pod({OK: 4, BAD: 1}, sampled_at=NOON + 30, **again)),
        reading(45, a=pod({OK: 130}, sampled_at=NOON + 45), b=pod({OK: 14, BAD: 1}, sampled_at=NOON + 45, **again)),
    )

    assert [shop(each).requests for each in counts] == [0, 20, 15, 20]
    assert [shop(each).bad for each in counts] == [0, 0, 1, 0]


def test_sample_that_is_read_twice_is_counted_once() -> None:
    same = later(110)
    _, counts, _ = run(reading(0, a=pod({OK: 100})), reading(15, a=same), reading(30, a=same))

    assert [shop(each).requests for each in counts] == [0, 10, 0]
    assert counts[-1].dropped == {}


def test_samples_out_of_order_are_counted_once_and_the_late_one_is_dropped() -> None:
    _, counts, _ = run(
        reading(0, a=pod({OK: 100})),
        reading(15, a=pod({OK: 120}, sampled_at=NOON + 14)),
        reading(30, a=pod({OK: 110}, sampled_at=NOON + 7)),
        reading(45, a=pod({OK: 130}, sampled_at=NOON + 44)),
    )

    assert [shop(each).requests for each in counts] == [0, 20, 0, 10]
    assert counts[2].dropped == {"a": Doubt.OLDER}


# --- half of the pods


@pytest.mark.parametrize(("pods", "first"), [("ab", 1), ("abc", 1 + 4), ("abcd", 1 + 4), ("cab", 1 + 4)])
def test_first_half_is_every_second_pod_by_name(pods: str, first: int) -> None:
    sizes = dict(zip("abcd", (1, 2, 4, 8), strict=True))
    before = reading(0, **{name: pod({OK: 100}) for name in pods})
    after = reading(15, **{name: later(100 + sizes[name]) for name in pods})
    _, (_, counts), _ = run(before, after)

    part = counts.half_of(["shop"])
    assert part is not None
    assert judged(part).requests == first
    assert shop(counts).requests == sum(sizes[name] for name in pods)


def test_one_pod_has_no_half() -> None:
    _, (_, counts), _ = run(reading(0, a=pod({OK: 1})), reading(15, a=later(2)))

    assert counts.first_half is None


def test_pods_that_were_not_counted_are_in_no_half() -> None:
    _, (_, counts), _ = run(
        reading(0, a=pod({OK: 10}), b=pod({OK: 10}), d=pod({OK: 10})),
        reading(15, a=later(5), b=later(11), c=later(50), d=later(12)),
    )

    assert counts.dropped.keys() == {"a", "c"}
    assert {name: judged(each).requests for name, each in (counts.first_half or {}).items()} == {"shop": 1}


def test_quiet_pod_is_counted_and_makes_a_half_of_nothing() -> None:
    _, (_, counts), _ = run(reading(0, a=pod({}), b=pod({OK: 1})), reading(15, a=pod({}), b=later(3)))

    assert counts.first_half == {}


def test_what_names_no_namespace_is_in_no_half() -> None:
    lost = ended("404", UNKNOWN)
    _, (_, counts), _ = run(reading(0, a=pod({}), b=pod({})), reading(15, a=pod({lost: 3}), b=pod({lost: 4})))

    assert counts.first_half == {}
    assert judged(counts.unknown).requests == 7


# --- when it was sampled


def test_newest_sample_that_is_believed_says_when_a_side_was_sampled() -> None:
    _, counts, _ = run(
        reading(0, a=pod({OK: 1}, sampled_at=NOON - 3), b=pod({OK: 1}, sampled_at=NOON - 9)),
        reading(15, a=pod({OK: 0}, sampled_at=NOON + 13), b=pod({OK: 2}, sampled_at=NOON + 6)),
    )

    assert [each.sampled_at for each in counts] == [NOON - 3, NOON + 6]


def test_side_without_pods_was_not_sampled() -> None:
    _, (counts,), _ = run(reading(0))

    assert counts.sampled_at is None
