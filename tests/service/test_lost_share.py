"""A share that was observed and then is not: what is counted meanwhile is no soak."""

from __future__ import annotations

from datetime import timedelta

from shifter.core.splits import Side
from tests.service.conftest import NEW, NEWER, OLD, OLDER, World


def test_a_soak_begins_anew_when_the_metrics_show_another_share(world: World) -> None:
    world.write_policy("shop", soak="100s")
    world.until_share(25)
    world.step(5)
    soaked = world.report().soaked_seconds
    for _ in range(30):
        # Half of Istio's gateway stops counting: nothing fails, and still nobody knows what users get.
        world.sides[Side.SOURCE].serve("shop", 4000)
        world.step()
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
