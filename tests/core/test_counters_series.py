"""Which series of a pod count as what: codes, subjects, and the buckets of a histogram."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.counters import edges_around, is_server_error
from shifter.core.evidence import CLIENT_LEFT, INFINITY_MS, UNKNOWN, Counts, Series, SideCounts
from tests.core.counting import BAD, OK, bucket, pod, reading, run, shop

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
