"""A share that was observed and then is not: requests are lost on the way, or what is counted meanwhile is no soak."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shifter.adapters.memory import Rule
from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Verb
from tests.service.conftest import NEW, NEWER, OLD, OLDER, World, servers


def most_never_arrive(world: World) -> None:
    """Let a tick pass in which nine of ten of the target's requests are not counted there, but at the source."""
    world.sides[Side.SOURCE].serve("shop", 4000)
    world.step()


@pytest.mark.fault(
    on="CLB",
    fault="requests never arrive at istio: fewer than three of ten of its share",
    does="rolls back, where requests are split one by one",
    sees="rolling back: of N requests istio counted ... at a share of 25 %: requests are lost on the way to it",
    safe_within="3 ticks",
)
def test_requests_that_never_arrive_are_a_failure_that_no_counter_shows(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(6)
    for _ in range(3):
        most_never_arrive(world)

    assert world.share() == 0
    assert "requests are lost on the way to it" in world.reason()


def test_a_scrape_that_is_missed_once_is_no_lost_traffic(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(6)
    most_never_arrive(world)
    world.step(6)

    assert world.share() == 25


@pytest.mark.fault(
    on="CLB",
    fault="istio gets less than its share where clients stay with their member",
    does="holds: the soak begins anew",
    sees="settling at tcm 75 · istio 25: the metrics do not show it yet, but ...",
    safe_within="at once",
)
def test_a_soak_begins_anew_when_the_metrics_show_another_share(world: World) -> None:
    world.memory.put_rule(world.route(), Rule(servers(), split_by_request=False))
    world.write_policy("shop", soak="100s")
    world.until_share(25)
    world.step(5)
    soaked = world.report().soaked_seconds
    for _ in range(30):
        most_never_arrive(world)
    meanwhile = world.share(), world.reason()
    world.until_share(50)

    assert soaked > 0
    assert meanwhile[0] == 25
    assert "settling at tcm 75 · istio 25: the metrics do not show it yet, but tcm 97.73" in meanwhile[1]


def test_time_at_somebody_elses_weights_is_no_soak_of_the_verified_ones(world: World) -> None:
    world.write_policy("shop", soak="100s")
    world.until_share(25)
    world.step(4)
    verified = dict(world.state().weights[world.route().id])
    world.edit_weights({OLD: 100, OLDER: 100, NEW: 0, NEWER: 0})
    world.step(10)
    world.edit_weights(verified)
    world.step()
    began_at = world.now
    world.until_share(50)

    assert world.now - began_at >= timedelta(seconds=100)


def test_a_target_that_fails_at_somebody_elses_weights_goes_back_all_the_same(world: World) -> None:
    world.until_share(25)
    world.edit_weights({OLD: 100, OLDER: 100, NEW: 100, NEWER: 100})
    world.step(2)
    world.sides[Side.TARGET].error_percent = 100
    world.step(8)

    assert world.share() == 0
