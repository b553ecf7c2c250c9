"""Which series of a pod count as what: codes, subjects, and the buckets of a histogram."""

from __future__ import annotations

from shifter.core.counts.evidence import CLIENT_LEFT, INFINITY_MS, UNKNOWN, Answer, Answers, Counts
from tests.core.counting import BAD, NOON, OK, bucket, ended, half, judged, pod, reading, run, shop

# --- codes, subjects, buckets


def test_answers_are_counted_apart_by_code_flags_and_grpc_status() -> None:
    plain, cut, failed = OK, ended("200", flags="DC"), ended("200", grpc="14")
    _, (_, counts), _ = run(reading(0, a=pod({})), reading(15, a=pod({plain: 1, cut: 2, failed: 3})))

    by_answer = {Answer("200"): 1, Answer("200", "DC"): 2, Answer("200", grpc="14"): 3}
    assert counts.by_namespace == {"shop": Answers(by_answer)}


def test_failing_grpc_status_that_a_known_pod_never_answered_before_counts_from_zero() -> None:
    fine, failing = ended("200", grpc="0"), ended("200", grpc="14")
    _, (_, counts), _ = run(reading(0, a=pod({fine: 100})), reading(15, a=pod({fine: 104, failing: 3})))

    assert shop(counts) == Counts(7, 3)


def test_clients_that_left_are_counted_and_are_neither_requests_nor_bad() -> None:
    without_answer, with_answer = ended(CLIENT_LEFT), ended("200", flags="DC")
    _, (_, counts), _ = run(reading(0, a=pod({OK: 1})), reading(15, a=pod({OK: 2, without_answer: 50, with_answer: 4})))

    assert shop(counts) == Counts(1, 0, left=54)


def test_series_that_name_no_namespace_are_kept_apart_and_never_dropped() -> None:
    lost, unrouted = ended("503", UNKNOWN), ended("404", UNKNOWN, flags="NR")
    _, (_, counts), _ = run(reading(0, a=pod({})), reading(15, a=pod({OK: 1, lost: 8, unrouted: 5})))

    assert counts.by_namespace == {"shop": Answers({Answer("200"): 1})}
    assert judged(counts.unknown) == Counts(13, 8, kinds=(("404", 5),))


def test_pods_and_codes_are_added_up_by_namespace() -> None:
    other = ended("200", "pay")
    _, (_, counts), _ = run(
        reading(0, a=pod({}), b=pod({})), reading(15, a=pod({OK: 1, BAD: 2, other: 3}), b=pod({OK: 10}))
    )

    assert {name: judged(answers) for name, answers in counts.by_namespace.items()} == {
        "pay": Counts(3, 0),
        "shop": Counts(13, 2),
    }


def test_custom_pairs_are_added_up_by_namespace_and_a_part_that_begins_later_counts_from_zero() -> None:
    bad, total = half("logins", "bad"), half("logins", "total")
    before = {total: 100.0, half("logins", "total", "pay"): 7.0}
    after = {total: 110.0, bad: 3.0, half("logins", "total", "pay"): 7.0}
    _, (_, counts), _ = run(reading(0, a=pod(before), b=pod({})), reading(15, a=pod(after), b=pod({total: 5.0})))

    assert counts.of(["shop"]).pairs == {"logins": (3, 15)}
    assert counts.of(["pay"]).pairs == {"logins": (0, 0)}


def test_custom_pair_of_a_process_that_began_anew_counts_from_zero() -> None:
    bad, total = half("logins", "bad"), half("logins", "total")
    again = pod({OK: 2, bad: 1, total: 4}, sampled_at=NOON + 14, started_at=NOON + 5)
    _, (_, counts), _ = run(reading(0, a=pod({OK: 900, bad: 40, total: 800})), reading(15, a=again))

    assert counts.of(["shop"]).pairs == {"logins": (1, 4)}


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


def test_histograms_of_all_pods_are_added_up_and_quiet_ones_are_passed_over() -> None:
    fresh = {bucket(10): 5.0, bucket(INFINITY_MS): 6.0}
    quiet = {bucket(10): 0.0, bucket(INFINITY_MS): 0.0}
    names = "abcde"
    before = reading(0, **{name: pod({}) for name in names})
    _, (_, counts), _ = run(before, reading(15, **{name: pod(quiet if name == "c" else fresh) for name in names}))

    assert shop(counts).buckets == ((10, 20), (INFINITY_MS, 24))


def test_histogram_that_lags_behind_its_requests_measured_nobody_and_is_not_silent() -> None:
    before = {OK: 20.0, bucket(10): 19.0, bucket(INFINITY_MS): 20.0}
    counted, merged = {**before, OK: 21.0}, {OK: 21.0, bucket(10): 20.0, bucket(INFINITY_MS): 21.0}
    _, counts, _ = run(reading(0, a=pod(before)), reading(15, a=pod(counted)), reading(30, a=pod(merged)))

    assert shop(counts[1]) == Counts(1, 0, ((10, 0), (INFINITY_MS, 0)))
    assert shop(counts[2]) == Counts(0, 0, ((10, 1), (INFINITY_MS, 1)))


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
