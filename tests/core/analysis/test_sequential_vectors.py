"""Trajectories computed by an independent reference, counts in and evidence out: every tick is reproduced."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shifter.core.analysis import hypotheses
from shifter.core.analysis.hypotheses import Cell, Margin
from shifter.core.analysis.sequential import Starts, Wealth, add, bound, harm, new_start, open_wealth

TRAJECTORIES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "sequential_vectors.json").read_text(encoding="utf-8")
)
CLOSE = 1e-6
TOLERANCES = (Margin(1.1, 1e-4), Margin(1.25, 2e-3), Margin(1.25, 2e-3))
SAFE = (Margin(1.5, 1e-3), Margin(1.5, 5e-3), Margin(1.5, 5e-3))
PAIR_WEIGHTS, HISTORY_WEIGHTS = (0.5, 0.125, 0.125), (0.13, 0.06, 0.06)

TEN = Starts(beginning=0.5, weight=lambda _: 0.05, left=lambda j: 0.05 * (10 - j), reopen_below=None, most=10)
"""The reference's start times: ten, all alike, and no product is opened but with a new share."""


def metrics_of(trajectory: dict[str, Any]) -> tuple[hypotheses.Test, ...]:
    return tuple(
        hypotheses.Test(
            tolerance=tolerance,
            safety=safety,
            pair_weight=pair,
            history_weight=history,
            history_rate=rate,
            history_requests=trajectory["history_requests"],
            limit_rate=2 * rate + 0.02,
            dispersion=dispersion,
        )
        for tolerance, safety, pair, history, rate, dispersion in zip(
            TOLERANCES,
            SAFE,
            PAIR_WEIGHTS,
            HISTORY_WEIGHTS,
            trajectory["history_rates"],
            trajectory["dispersions"],
            strict=True,
        )
    )


def replayed(trajectory: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Wealth, float]]:
    """Yield each tick with the wealth and the odds after it."""
    tests = metrics_of(trajectory)
    wealth = open_wealth(tests)
    for tick in trajectory["ticks"]:
        if tick["new_share"]:
            wealth = new_start(wealth, TEN)
        cells = [
            Cell(tick["target"], bad, tick["source"], source_bad, tick["ratio"], vouched)
            for bad, source_bad, vouched in zip(tick["target_bad"], tick["source_bad"], tick["vouched"], strict=True)
        ]
        wealth = add(wealth, tests, cells, incident=tick["incident"])
        yield tick, wealth, harm(wealth, tests, TEN)


each_trajectory = pytest.mark.parametrize("trajectory", TRAJECTORIES, ids=lambda each: each["name"])


@each_trajectory
def test_evidence_of_harm_is_the_references_in_every_tick(trajectory: dict[str, Any]) -> None:
    for tick, _, odds in replayed(trajectory):
        assert math.log(odds) == pytest.approx(tick["log_harm"], abs=CLOSE, rel=0)


@each_trajectory
def test_bounds_are_the_references_in_every_tick(trajectory: dict[str, Any]) -> None:
    for tick, wealth, _ in replayed(trajectory):
        assert [bound(metric) for metric in wealth.metrics] == pytest.approx(tick["bounds"], abs=CLOSE, rel=0)


@each_trajectory
def test_a_shift_goes_back_in_the_ticks_in_which_the_references_does(trajectory: dict[str, Any]) -> None:
    assert [odds >= 100 for _, _, odds in replayed(trajectory)] == [tick["goes_back"] for tick in trajectory["ticks"]]


def test_the_trajectories_hold_every_kind_of_tick() -> None:
    ticks = [tick for trajectory in TRAJECTORIES for tick in trajectory["ticks"]]

    assert {tick["incident"] for tick in ticks} == {tick["new_share"] for tick in ticks} == {True, False}
    assert {vouched for tick in ticks for vouched in tick["vouched"]} == {True, False}
    assert any(dispersion > 1 for trajectory in TRAJECTORIES for dispersion in trajectory["dispersions"])
