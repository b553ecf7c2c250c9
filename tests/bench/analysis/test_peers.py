"""The peers' rules do what their sources say: when they shift, when they give up, and what no traffic means to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.bench.analysis.kayenta import KAYENTA, is_high, without_outliers
from tests.bench.analysis.measure import Cell, cell_of, seed_of, simulate
from tests.bench.analysis.peers import ARGO, flagger
from tests.bench.analysis.rules import COMPLETED, ROLLED_BACK, RUNNING, Rule, Run
from tests.bench.analysis.scenarios import named
from tests.bench.analysis.world import EDGES_MS, KINDS, TICK_SECONDS, Arm, Seen, World

FLAGGER, TUNED, EVERY_SCRAPE = flagger(0.01)
BACKGROUND, INLINE = ARGO


def an_arm(requests: float, bad: float = 0.0, slow: float = 0.0) -> Arm:
    """One trial's counts; `slow` requests took over 500 ms and less than a second."""
    above = np.array([[slow if edge <= 500 else 0.0] for edge in EDGES_MS])
    return Arm(np.array([requests]), np.array([bad]), above, np.zeros((len(KINDS), 1)))


def a_tick(target: Arm, source: Arm | None = None) -> Seen:
    source = source or an_arm(1000)
    flag = np.ones(1, dtype=np.bool_)
    return Seen(source, source, target, flag, ~flag, np.zeros(1))


def followed(rule: Rule, targets: Callable[[int], Arm], minutes: float) -> tuple[Run, list[float]]:
    """Let a rule see so many minutes; return it and the share after every minute."""
    run = rule.start(1, named("clean"))
    run.begin()
    shares = []
    for tick in range(round(minutes * 60 / TICK_SECONDS)):
        run.step(a_tick(targets(tick)))
        if tick % 4 == 3:
            shares.append(round(float(run.share[0]), 3))
    return run, shares


def measured(rule: Rule, scenario: str, rate: float, base: float, trials: int = 500) -> Cell:
    world = World(named(scenario), rate, base, trials, seed_of(rule.name, scenario, rate, base))
    return cell_of(rule, named(scenario), rate, base, simulate(rule, world))


def test_flagger_climbs_once_a_minute_and_promotes_without_a_look() -> None:
    run, shares = followed(FLAGGER, lambda _: an_arm(1000), 6)

    assert shares == [0.2, 0.3, 0.4, 0.5, 1.0, 1.0]
    assert run.status[0] == COMPLETED


def test_flagger_goes_back_on_the_tick_after_the_fifth_failed_check() -> None:
    run, shares = followed(FLAGGER, lambda _: an_arm(1000, bad=500), 5)
    assert run.status[0] == RUNNING
    assert set(shares) == {0.1}

    run, _ = followed(FLAGGER, lambda _: an_arm(1000, bad=500), 6)
    assert run.status[0] == ROLLED_BACK


def test_flaggers_failed_checks_add_up_over_good_ones() -> None:
    # Two of three minutes are bad: the fifth failed check is that of minute 8, and never were three in a row.
    run, _ = followed(FLAGGER, lambda tick: an_arm(1000, bad=500 * (tick // 4 % 3 > 0)), 9)

    assert run.status[0] == ROLLED_BACK


def test_no_traffic_fails_flaggers_check() -> None:
    run, _ = followed(FLAGGER, lambda _: an_arm(0), 6)

    assert run.status[0] == ROLLED_BACK


@pytest.mark.parametrize(("slow", "share"), [(10, 0.2), (11, 0.1)])
def test_flagger_compares_the_99th_percentile_with_500_ms(slow: float, share: float) -> None:
    _, shares = followed(FLAGGER, lambda _: an_arm(1000, slow=slow), 1)

    assert shares == [share]


def test_flagger_stops_looking_at_its_last_step() -> None:
    run, _ = followed(FLAGGER, lambda tick: an_arm(1000, bad=1000 if tick >= 20 else 0), 6)

    assert run.status[0] == COMPLETED


def test_argo_fails_on_the_fourth_failed_measurement_not_on_the_third() -> None:
    run, _ = followed(INLINE, lambda _: an_arm(1000, bad=60), 3)
    assert run.status[0] == RUNNING

    run, _ = followed(INLINE, lambda _: an_arm(1000, bad=60), 4)
    assert run.status[0] == ROLLED_BACK


def test_argos_inline_analysis_counts_anew_in_every_step() -> None:
    # Three of the five measurements of every step fail.
    run, shares = followed(INLINE, lambda tick: an_arm(1000, bad=60 if tick // 4 % 5 < 3 else 0), 20)

    assert run.status[0] == COMPLETED
    assert shares[::5] == [0.2, 0.4, 0.6, 0.8]


def test_argos_background_analysis_begins_with_the_second_weight() -> None:
    run, _ = followed(BACKGROUND, lambda tick: an_arm(1000, bad=1000 if tick < 38 else 0), 40)

    assert run.status[0] == COMPLETED


def test_argos_background_analysis_measures_every_five_minutes() -> None:
    run, _ = followed(BACKGROUND, lambda _: an_arm(1000, bad=1000), 24)
    assert run.status[0] == RUNNING

    run, _ = followed(BACKGROUND, lambda _: an_arm(1000, bad=1000), 25)
    assert run.status[0] == ROLLED_BACK


def test_kayenta_judges_at_the_end_of_each_half_hour() -> None:
    run, _ = followed(KAYENTA, lambda tick: an_arm(1000, bad=100 + tick % 5), 29)
    assert run.status[0] == RUNNING

    run, _ = followed(KAYENTA, lambda tick: an_arm(1000, bad=100 + tick % 5), 30)
    assert run.status[0] == ROLLED_BACK


def test_kayenta_needs_most_points_to_be_worse() -> None:
    # What its own judge says of ten points: 7 a hundred times worse pass, 8 are High.
    control = np.linspace(0.9, 1.1, 10)

    def experiment(worse: int) -> Sequence[float]:
        return [*(100 * control[:worse]), *control[worse:]]

    assert not is_high(control, np.array(experiment(7)))
    assert is_high(control, np.array(experiment(8)))


def test_kayenta_drops_the_bursts_that_one_wants_to_see() -> None:
    points = np.array([0.01] * 29 + [0.9])

    assert without_outliers(points).max() == 0.01


def test_kayenta_passes_equal_series() -> None:
    points = np.linspace(0, 1, 30)

    assert not is_high(points, points[::-1].copy())


@pytest.mark.parametrize(
    ("rule", "scenario", "rate", "base", "harm", "minutes"),
    [
        (FLAGGER, "100%", 2000.0, 0.001, 72_927, 6.1),
        (EVERY_SCRAPE, "100%", 2000.0, 0.01, 18_813, 1.6),
        (INLINE, "100%", 100.0, 0.001, 4_894, 4.1),
        (FLAGGER, "lat x3", 2000.0, 0.001, 12_299, 6.1),
        (FLAGGER, "x5", 5.0, 0.01, 13, 7.1),
        (KAYENTA, "x2", 2000.0, 0.01, 3_609, 30.1),
    ],
    ids=lambda each: each.name if isinstance(each, Rule) else str(each),
)
def test_an_independent_simulation_found_the_same(
    rule: Rule, scenario: str, rate: float, base: float, harm: float, minutes: float
) -> None:
    cell = measured(rule, scenario, rate, base, trials=50 if rule is KAYENTA else 500)

    assert cell.rolled_back_part.value > 0.99
    assert cell.harm_mean.value == pytest.approx(harm, rel=0.05)
    assert cell.minutes_to_roll_back.value == pytest.approx(minutes, abs=0.1)


def test_flaggers_documented_limit_goes_back_on_a_healthy_namespace() -> None:
    cell = measured(FLAGGER, "clean", 2000.0, 0.01)

    # 48.6 % in 2,000 trials of an independent simulation.
    assert 0.40 < cell.rolled_back_part.value < 0.57
    assert measured(TUNED, "clean", 2000.0, 0.01).rolled_back == 0


def test_a_migration_that_is_missed_is_followed_for_ten_minutes_at_the_top() -> None:
    cell = measured(FLAGGER, "x2", 2000.0, 0.001)

    assert cell.rolled_back == 0
    assert cell.harm_mean.value == pytest.approx(1500, rel=0.02)
