"""Kayenta's judge, re-written from NetflixACAJudge-v1.0; each constant says where it comes from.

The judge compares two series of points, one a minute: here the share of failed requests and the share of requests
slower than 250 ms, on each side. It is asked at the end of every step about the points of that step, as in a canary of
three stages of 30 minutes at 10, 25 and 50 %. Version read: kayenta a69573b (`NetflixACAJudge.scala`,
`MannWhitneyClassifier.scala`, `MannWhitney.scala`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tests.bench.analysis.rules import COMPLETED, ROLLED_BACK, RUNNING, Rule, Run
from tests.bench.analysis.world import EDGES_MS, SLOW_MS, TICK_SECONDS, Arm, Floats, Seen

STEPS: Final = (0.10, 0.25, 0.50)
STEP_MINUTES: Final = 30
POINT_TICKS: Final = round(60 / TICK_SECONDS)

# Hard-coded in NetflixACAJudge.scala: confidence level 0.98, tolerance 0.25; the outlier factor is the judge's default.
Z_98: Final = 2.3263478740408408
TOLERANCE: Final = 0.25
OUTLIER_FACTOR: Final = 3.0

_SLOW: Final = EDGES_MS.index(SLOW_MS)


def without_outliers(points: Floats) -> Floats:
    """Remove what lies outside min(p1, Q1 - 3 IQR) .. max(p99, Q3 + 3 IQR), and points without traffic (NaN)."""
    points = points[~np.isnan(points)]
    if not len(points):
        return points
    p1, q1, q3, p99 = np.percentile(points, (1, 25, 75, 99))
    reach = OUTLIER_FACTOR * (q3 - q1)
    inside = (points >= min(p1, q1 - reach)) & (points <= max(p99, q3 + reach))
    return np.asarray(points[inside], dtype=np.float64)


def _tied(points: Floats) -> float:
    _, counts = np.unique(points, return_counts=True)
    return float((counts**3 - counts).sum())


def is_high(control: Floats, experiment: Floats) -> bool:
    """Return whether the experiment's points are classified High: shifted upwards by more than the tolerance.

    The limits of Mann and Whitney's interval are differences of pairs: the root that Kayenta searches is where the
    number of pairs beyond the shift passes a normal quantile, with corrections for continuity and ties.
    """
    control, experiment = without_outliers(control), without_outliers(experiment)
    if not len(control) or not len(experiment):
        return False  # Nodata: no verdict on this metric
    if np.array_equal(np.sort(control), np.sort(experiment)):
        return False
    if control.min() == control.max() and experiment.min() == experiment.max():
        return bool(experiment[0] > control[0])
    shifts = np.sort((experiment[:, None] - control[None, :]).ravel())
    pairs, both = len(shifts), len(control) + len(experiment)
    ties = (_tied(control) + _tied(experiment)) / (both * (both - 1))
    deviation = np.sqrt(pairs / 12 * max(both + 1 - ties, 0.0))
    needed = pairs / 2 + Z_98 * deviation + 0.5
    low = shifts[max(int(np.ceil(pairs - needed)) - 1, 0)]
    estimate = float(np.median(shifts))
    if not low > TOLERANCE * abs(estimate):
        return False
    # meanRatio, allowedIncrease 1.0; without a mean to divide by the test is skipped.
    return bool(control.mean() == 0 or experiment.mean() == 0 or experiment.mean() / control.mean() >= 1)


class Kayenta(Run):
    """Three stages; a metric that is High in one ends the canary (its score falls to the marginal limit or below)."""

    def __init__(self, trials: int) -> None:
        super().__init__(trials, STEPS[0])
        self._points: list[Floats] = []
        self._sums: list[Floats] = []

    def _judge(self, seen: Seen) -> None:
        now = [part for arm in (seen.source, seen.target) for part in _parts(arm)]
        self._sums = [a + b for a, b in zip(self._sums, now, strict=True)] if self._sums else now
        if self.ticks % POINT_TICKS:
            return
        with np.errstate(invalid="ignore", divide="ignore"):
            point = np.stack([self._sums[i] / self._sums[3 * (i // 3)] for i in (1, 2, 4, 5)])
        self._points.append(point)
        self._sums = []
        if len(self._points) == STEP_MINUTES:
            self._end_step(np.stack(self._points))
            self._points = []

    def _end_step(self, points: Floats) -> None:
        failing = np.zeros(len(self.share), dtype=np.bool_)
        for trial in np.flatnonzero(self.status == RUNNING):
            errors, slow, target_errors, target_slow = points[:, :, trial].T
            failing[trial] = is_high(errors, target_errors) or is_high(slow, target_slow)
        self._end(failing, ROLLED_BACK)
        index = self.ticks // (STEP_MINUTES * POINT_TICKS)
        if index >= len(STEPS):
            self._end(self.status == RUNNING, COMPLETED)
        else:
            self.share = np.where(self.status == RUNNING, STEPS[index], self.share)


def _parts(arm: Arm) -> tuple[Floats, Floats, Floats]:
    return arm.requests, arm.bad, arm.above[_SLOW]


KAYENTA: Final = Rule("kayenta", "judge: 10/25/50 %, 30 min each", lambda trials, _: Kayenta(trials), trials_part=0.2)
