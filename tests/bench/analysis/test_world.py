"""The simulated traffic is what its scenarios say: means within five standard errors of their sources."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.analysis.scenarios import SCENARIOS, Scenario, named
from tests.bench.analysis.world import EDGES_MS, MEDIAN_MS, P99_MS, STICKY_CLIENTS, Seen, World, beyond

TRIALS = 400


def a_world(scenario: str | Scenario, rate: float = 100.0, base: float = 0.01) -> World:
    return World(named(scenario) if isinstance(scenario, str) else scenario, rate, base, TRIALS, seed=7)


def ticks(world: World, share: float, count: int = 20) -> list[Seen]:
    return [world.tick(np.full(world.trials, share)) for _ in range(count)]


def part(bad: float, requests: float) -> float:
    return bad / requests


def rate_of(seen: list[Seen]) -> tuple[float, float]:
    """The part of the requests that failed, at the source and at the target."""
    source = part(sum(s.source.bad.sum() for s in seen), sum(s.source.requests.sum() for s in seen))
    return source, part(sum(s.target.bad.sum() for s in seen), sum(s.target.requests.sum() for s in seen))


def test_traffic_is_split_by_the_share() -> None:
    seen = ticks(a_world("clean"), 0.25)

    source = np.mean([s.source.requests for s in seen])
    target = np.mean([s.target.requests for s in seen])
    assert source == pytest.approx(0.75 * 1500, rel=0.01)
    assert target == pytest.approx(0.25 * 1500, rel=0.01)


def test_a_clean_target_fails_like_the_source() -> None:
    source, target = rate_of(ticks(a_world("clean"), 0.5))

    assert source == pytest.approx(0.01, rel=0.02)
    assert target == pytest.approx(0.01, rel=0.02)


def test_harm_is_what_the_target_adds() -> None:
    world = a_world("x5")

    [seen] = ticks(world, 0.5, count=1)

    assert seen.harm == pytest.approx(seen.target.requests * 0.04)
    assert world.harm_per_second(np.full(TRIALS, 0.5)) == pytest.approx(100 * 0.5 * 0.04)


def test_latency_has_the_stated_median_and_tail() -> None:
    assert beyond(MEDIAN_MS, 1.0) == pytest.approx(0.5)
    assert beyond(P99_MS, 1.0) == pytest.approx(0.01)

    [seen] = ticks(a_world("clean", rate=2000.0), 0.5, count=1)
    at_100 = seen.source.above[EDGES_MS.index(100.0)].sum() / seen.source.requests.sum()

    assert at_100 == pytest.approx(beyond(100.0, 1.0), rel=0.02)


def test_buckets_are_cumulative_even_after_a_restart() -> None:
    seen = ticks(a_world("pod restart"), 0.5)

    for each in seen:
        assert (np.diff(each.target.above, axis=0) <= 0).all()
        assert (each.target.above[0] <= each.target.requests).all()


def test_a_restart_loses_counts_once() -> None:
    seen = ticks(a_world("pod restart"), 0.5)

    requests = np.array([s.target.requests for s in seen])
    lowest = requests.min(axis=0) / np.median(requests, axis=0)
    assert (lowest < 1).all()
    assert 0.7 < np.mean(lowest) < 0.8


def test_a_late_regression_begins_late() -> None:
    world = a_world("x5 after 10 min")

    before, after = ticks(world, 0.5, 40), ticks(world, 0.5, 20)

    assert rate_of(before)[1] == pytest.approx(0.01, rel=0.03)
    assert rate_of(after)[1] == pytest.approx(0.05, rel=0.03)


def test_a_limit_of_capacity_shows_above_its_share_only() -> None:
    world = a_world("capacity >50%")

    assert rate_of(ticks(world, 0.5))[1] == pytest.approx(0.01, rel=0.03)
    assert rate_of(ticks(world, 0.75))[1] == pytest.approx(0.11, rel=0.03)


def test_clusters_keep_the_rate_and_widen_the_spread() -> None:
    seen = ticks(a_world("clusters of 10"), 0.5)

    bad = np.array([s.half.bad for s in seen])
    assert rate_of(seen)[0] == pytest.approx(0.01, rel=0.05)
    # E[S^2] / E[S] of geometric sizes with mean 10 is 19.
    assert bad.var() / bad.mean() == pytest.approx(19, rel=0.15)


def test_an_outage_of_both_sides_is_no_harm_of_the_target() -> None:
    world = a_world("both-sides outage")

    seen = ticks(world, 0.1, 40)

    assert max(s.source.bad.sum() / s.source.requests.sum() for s in seen) > 0.25
    assert all((s.harm == 0).all() for s in seen)


def test_lost_scrapes_show_nothing_at_all() -> None:
    seen = ticks(a_world("5% of scrapes lost"), 0.5)

    unseen = np.mean([~s.seen for s in seen])
    assert unseen == pytest.approx(0.05, abs=0.015)
    assert all((s.source.requests[~s.seen] == 0).all() for s in seen)


def test_sticky_clients_move_one_by_one() -> None:
    seen = ticks(a_world("sticky clients"), 0.1)

    achieved = sum(s.target.requests for s in seen) / sum(s.target.requests + s.source.requests for s in seen)
    moved = np.asarray((achieved - 0.05) / 0.5 * STICKY_CLIENTS)
    assert np.abs(moved - np.round(moved)).max() < 0.25
    assert moved.std() > 0.5


def test_lost_requests_are_harm_that_nobody_counts() -> None:
    seen = ticks(a_world("30% never arrive"), 0.5)

    arrived = np.mean([s.target.requests for s in seen])
    assert arrived == pytest.approx(0.7 * 750, rel=0.01)
    assert np.mean([s.harm for s in seen]) == pytest.approx(0.3 * 750, rel=0.01)


def test_the_same_seed_gives_the_same_traffic() -> None:
    first, second = (ticks(a_world("x5"), 0.5, 3) for _ in range(2))

    assert all((a.target.bad == b.target.bad).all() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_no_scenario_counts_more_bad_than_requests(scenario: Scenario) -> None:
    world = a_world(scenario, rate=5.0)

    for seen in (world.tick(np.full(TRIALS, 0.6)) for _ in range(20)):
        for arm in (seen.half, seen.source, seen.target):
            assert (arm.bad <= arm.requests).all()
            assert (arm.above <= arm.requests).all()
            assert (arm.kinds <= arm.requests).all()
