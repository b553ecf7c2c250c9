"""Rules for counts, the ledger they are added to, and readings of two sides side by side."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shifter.core.counts.evidence import (
    INFINITY_MS,
    MAX_TICKS,
    Answer,
    Answers,
    Counts,
    Ledger,
    PodReading,
    Reading,
    Series,
    SideCounts,
    Tick,
    shared_pods,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BUCKETS = ((10.0, 50.0), (20.0, 90.0), (INFINITY_MS, 100.0))


def tick(after_seconds: float, requests: float = 0.0, span_seconds: float = 15.0) -> Tick:
    return Tick(NOON + timedelta(seconds=after_seconds), span_seconds, Counts(requests), Counts(requests / 2))


def pod(counters: dict[Series, float], sampled_at: float = 100.0, started_at: float | None = 5.0) -> PodReading:
    return PodReading(sampled_at, started_at, counters)


# --- counts


def test_counts_add_up() -> None:
    assert Counts(3, 1, BUCKETS) + Counts(4, 2, BUCKETS) == Counts(
        7, 3, ((10.0, 100.0), (20.0, 180.0), (INFINITY_MS, 200.0))
    )


def test_edge_that_only_one_side_of_a_sum_knows_is_dropped() -> None:
    assert (Counts(buckets=BUCKETS) + Counts(buckets=((20.0, 1.0), (INFINITY_MS, 2.0)))).buckets == (
        (20.0, 91.0),
        (INFINITY_MS, 102.0),
    )


def test_edges_are_matched_by_what_they_are_and_not_by_their_place() -> None:
    others = ((20.0, 1.0), (40.0, 2.0), (INFINITY_MS, 3.0))

    assert (Counts(buckets=BUCKETS) + Counts(buckets=others)).buckets == ((20.0, 91.0), (INFINITY_MS, 103.0))


def test_counts_without_latency_leave_the_others_latency_as_it_is() -> None:
    assert Counts(3, 1) + Counts(4, 2, BUCKETS) == Counts(7, 3, BUCKETS)
    assert Counts(4, 2, BUCKETS) + Counts(3, 1) == Counts(7, 3, BUCKETS)


def test_kinds_pairs_and_clients_that_left_add_up_by_name() -> None:
    first = Counts(kinds=(("3xx", 1), ("404", 2)), pairs=(("logins", 1, 10),), left=3)
    second = Counts(kinds=(("401", 5), ("404", 4)), pairs=(("cards", 2, 9), ("logins", 1, 20)), left=4)

    assert first + second == second + first
    assert first + second == Counts(
        kinds=(("3xx", 1), ("401", 5), ("404", 6)), pairs=(("cards", 2, 9), ("logins", 2, 30)), left=7
    )
    assert first + Counts() == Counts() + first == first


def test_answers_add_up_by_how_requests_ended() -> None:
    cut = Answer("200", "DC")
    first = Answers({Answer("200"): 5, cut: 1}, BUCKETS, {"logins": (1, 10)})
    second = Answers({Answer("200"): 2}, ((20.0, 1.0), (INFINITY_MS, 2.0)), {"cards": (2, 9), "logins": (1, 20)})

    assert first + second == Answers(
        {Answer("200"): 7, cut: 1},
        ((20.0, 91.0), (INFINITY_MS, 102.0)),
        {"logins": (2, 30), "cards": (2, 9)},
    )


def test_answers_of_several_namespaces_are_their_sum_and_an_unseen_one_is_nothing() -> None:
    shop, pay = Answers({Answer("200"): 3}), Answers({Answer("503"): 4})
    side = SideCounts({"shop": shop, "pay": pay}, Answers({Answer("404"): 9}), {"shop": Answers({Answer("200"): 2})})

    assert side.of(["shop", "pay", "nobody"]) == Answers({Answer("200"): 3, Answer("503"): 4})
    assert side.half_of(["shop", "pay", "nobody"]) == Answers({Answer("200"): 2})
    assert side.of([]) == side.half_of([]) == Answers()


def test_side_without_two_counted_pods_has_no_half() -> None:
    assert SideCounts({"shop": Answers({Answer("200"): 3})}, Answers()).half_of(["shop"]) is None


# --- the ledger


def test_a_full_ledger_makes_one_tick_of_its_two_oldest_and_forgets_no_count() -> None:
    ledger = Ledger(ticks=tuple(tick(15 * number) for number in range(MAX_TICKS)))

    grown = ledger.add(tick(15 * MAX_TICKS))

    assert len(grown.ticks) == MAX_TICKS
    assert grown.ticks[0].at == ledger.ticks[1].at
    assert grown.ticks[0].span_seconds == ledger.ticks[0].span_seconds + ledger.ticks[1].span_seconds
    assert sum(each.source.requests for each in grown.ticks) == (MAX_TICKS + 1) * tick(0).source.requests


def oldest_of_a_full_ledger(first: Tick, second: Tick) -> Tick:
    """Return what becomes of the two oldest ticks of a full ledger when one more comes."""
    rest = tuple(tick(15 * number) for number in range(10, 8 + MAX_TICKS))
    return Ledger(ticks=(first, second, *rest)).add(tick(15 * (8 + MAX_TICKS))).ticks[0]


def test_a_ledger_is_full_only_beyond_its_bound() -> None:
    ledger = Ledger(ticks=tuple(tick(15 * number) for number in range(MAX_TICKS - 1)))

    assert len(ledger.add(tick(15 * MAX_TICKS)).ticks) == MAX_TICKS


@pytest.mark.parametrize(
    ("later_seconds", "adds_seconds"),
    [(20, 15), (15, 15), (10, 10), (0.5, 0.5), (0, 15), (-60, 15)],
    ids=["gap", "in a row", "overlap", "much overlap", "at one instant", "clock set back"],
)
def test_of_two_ticks_made_one_what_both_reach_over_is_counted_once(later_seconds: float, adds_seconds: float) -> None:
    oldest = oldest_of_a_full_ledger(tick(15, span_seconds=10), tick(15 + later_seconds, span_seconds=15))

    assert oldest.span_seconds == 10 + adds_seconds


def test_two_ticks_made_one_keep_what_was_nameless_half_and_apart() -> None:
    first = replace(tick(15), target_unknown=Counts(3, 2), source_half=Counts(10, 1), apart_seconds=-3)
    second = replace(tick(30), target_unknown=Counts(4, 4), source_half=Counts(20, 5), apart_seconds=2)

    oldest = oldest_of_a_full_ledger(first, second)

    assert (oldest.target_unknown, oldest.source_half, oldest.apart_seconds) == (Counts(7, 6), Counts(30, 6), -3)


@pytest.mark.parametrize("halves", [(Counts(10), None), (None, Counts(10))])
def test_two_ticks_made_one_of_which_one_has_no_half_have_none(halves: tuple[Counts | None, Counts | None]) -> None:
    first, second = (replace(tick(at), source_half=half) for at, half in zip((15, 30), halves, strict=True))

    assert oldest_of_a_full_ledger(first, second).source_half is None


def test_ledger_answers_only_ticks_that_began_at_or_after_the_start() -> None:
    ledger = Ledger().add(tick(14)).add(tick(15)).add(tick(30))

    assert ledger.since(NOON) == (tick(15), tick(30))


def test_new_share_empties_the_ledger_and_keeps_the_usual_rate() -> None:
    ledger = Ledger().add(tick(15, requests=20)).add(tick(30, requests=40))

    assert ledger.new_share() == Ledger((), usual_per_second=3.0)


def test_new_share_after_less_than_a_second_knows_the_usual_rate() -> None:
    ledger = Ledger(usual_per_second=7.0).add(tick(1, requests=2, span_seconds=0.5))

    assert ledger.new_share() == Ledger((), usual_per_second=6.0)


def test_new_share_without_measured_time_keeps_the_rate_known_before() -> None:
    assert Ledger(usual_per_second=7.0).new_share() == Ledger((), usual_per_second=7.0)


# --- two sides


def test_pod_claimed_by_both_sides_is_found() -> None:
    same = {Series("shop", Answer("200")): 5.0}
    source = Reading(0, {"a": pod(same), "b": pod(same), "c": pod(same)})
    target = Reading(0, {"b": pod(same, sampled_at=101.0), "c": pod(same)})

    assert shared_pods(source, target) == ("b", "c")


@pytest.mark.parametrize(
    "other",
    [
        pod({Series("shop", Answer("200")): 6.0}),
        pod({Series("pay", Answer("200")): 5.0}),
        pod({Series("shop", Answer("200")): 5.0}, started_at=6.0),
        pod({}),
    ],
)
def test_pods_of_one_name_that_differ_are_two_pods(other: PodReading) -> None:
    ours = pod({Series("shop", Answer("200")): 5.0})

    assert shared_pods(Reading(0, {"a": ours}), Reading(0, {"a": other})) == ()


def test_pods_without_any_counter_are_not_the_same_series() -> None:
    assert shared_pods(Reading(0, {"a": pod({})}), Reading(0, {"a": pod({})})) == ()


def test_the_requests_of_a_ledger_are_those_of_all_its_ticks() -> None:
    noon = datetime(2026, 3, 4, 12, tzinfo=UTC)
    ledger = Ledger((Tick(noon, 5, Counts(10, 1), Counts(4, 2)), Tick(noon, 5, Counts(20), Counts(6, 1))))

    assert ledger.requests() == (30, 1, 10, 3)
