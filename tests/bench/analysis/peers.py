"""The rules of Flagger and Argo Rollouts, re-written from their sources; each constant says where it comes from.

They are models of the rules, not the programs: a metric query is answered at once and without error, and a share that
is set is in force. Both look at the target alone, at fixed limits. Versions read: Flagger 1.44.0
(`pkg/controller/scheduler.go`, `scheduler_metrics.go`, `pkg/metrics/observers/istio.go`), Argo Rollouts after 1.9.1
(`analysis/analysis.go`, `rollout/analysis.go`, `utils/defaults`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.bench.analysis.rules import COMPLETED, ROLLED_BACK, RUNNING, Columns, Rule, Run, kept
from tests.bench.analysis.world import EDGES_MS, TICK_SECONDS, Arm, Flags, Seen, Whole

# Flagger's Istio tutorial: interval 1m, threshold 5, maxWeight 50, stepWeight 10; request-success-rate at least 99 over
# 1m; request-duration (p99) at most 500 ms over 30s.
FLAGGER_INTERVAL: Final = 60.0
FLAGGER_THRESHOLD: Final = 5
FLAGGER_MAX: Final = 0.5
FLAGGER_STEP: Final = 0.1
FLAGGER_BAD: Final = 0.01
FLAGGER_MAX_MS: Final = 500.0
FLAGGER_SUCCESS_SECONDS: Final = 60.0
FLAGGER_DURATION_SECONDS: Final = 30.0
FLAGGER_QUANTILE: Final = 0.99

# Argo's documented analysis: successCondition result[0] >= 0.95, failureLimit 3. The background example has interval
# 5m over an irate (the last two samples), steps 20/40/60/80 with pause 10m, startingStep 2. The inline example has
# interval 60s and count 5 in every step.
ARGO_BAD: Final = 0.05
ARGO_FAILURE_LIMIT: Final = 3
ARGO_STEPS: Final = (0.2, 0.4, 0.6, 0.8)
ARGO_INTERVAL: Final = 300.0
ARGO_PAUSE: Final = 600.0
ARGO_STARTING_STEP: Final = 2
ARGO_INLINE_INTERVAL: Final = 60.0
ARGO_INLINE_COUNT: Final = 5


def ticks_of(seconds: float) -> int:
    """Return how many scrapes so much time holds."""
    return round(seconds / TICK_SECONDS)


class Window(Columns):
    """The target's counts of the newest scrapes, as a range vector over raw counters would have them."""

    def __init__(self, seconds: float) -> None:
        self._arms: deque[Arm] = deque(maxlen=ticks_of(seconds))

    def add(self, arm: Arm) -> None:
        self._arms.append(arm)

    def total(self) -> Arm:
        first, *rest = self._arms
        for each in rest:
            first = first + each
        return first

    def keep(self, index: Whole, trials: int) -> None:
        for at, arm in enumerate(self._arms):
            columns = (kept(each, index, trials) for each in (arm.requests, arm.bad, arm.above, arm.kinds))
            self._arms[at] = Arm(*columns)


@dataclass(frozen=True, slots=True)
class FlaggerSettings:
    """What a Flagger user sets; the defaults are the tutorial's."""

    interval_seconds: float = FLAGGER_INTERVAL
    max_bad: float = FLAGGER_BAD
    duration_seconds: float = FLAGGER_DURATION_SECONDS


class Flagger(Run):
    """`advanceCanary`: failed checks add up over the whole analysis; it goes back on the tick after the last one."""

    def __init__(self, trials: int, settings: FlaggerSettings) -> None:
        super().__init__(trials)
        self._every = ticks_of(settings.interval_seconds)
        self._max_bad = settings.max_bad
        self._success, self._duration = Window(FLAGGER_SUCCESS_SECONDS), Window(settings.duration_seconds)
        self._failed = np.zeros(trials)
        self._promoting = np.zeros(trials, dtype=np.bool_)

    def begin(self) -> None:
        # The first tick shifts without a look at any metric: there is no traffic to look at.
        self.share[:] = FLAGGER_STEP

    def _judge(self, seen: Seen) -> None:
        self._success.add(seen.target)
        self._duration.add(seen.target)
        if self.ticks % self._every:
            return
        # Promotion looks at no metric any more (runPromotionTrafficShift).
        self._end(self._promoting, COMPLETED)
        # failedChecks >= threshold is asked before this tick's analysis, so the rollback is one interval late.
        self._end(self._failed >= FLAGGER_THRESHOLD, ROLLED_BACK)
        running = self.status == RUNNING
        passed = self._passes()
        self._failed = self._failed + (running & ~passed)
        topped = self.share >= FLAGGER_MAX - 1e-9
        self._promoting = running & passed & topped
        self.share = np.where(running & passed & ~topped, self.share + FLAGGER_STEP, self.share)
        # The promotion copies the new version over the primary: from here all traffic is served by it.
        self.share = np.where(self._promoting, 1.0, self.share)

    def _passes(self) -> Flags:
        """Return which trials pass both built-in checks. No traffic is "no values found", which fails as well."""
        success, duration = self._success.total(), self._duration.total()
        beyond = duration.above[EDGES_MS.index(FLAGGER_MAX_MS)]
        good = (success.requests > 0) & (success.bad <= self._max_bad * success.requests)
        # histogram_quantile is beyond an edge when more requests are than the quantile leaves out.
        quick = (duration.requests > 0) & (beyond <= (1 - FLAGGER_QUANTILE) * duration.requests)
        return np.asarray(good & quick, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class ArgoSettings:
    """One of Argo's two documented forms of analysis; all in ticks."""

    pause: int
    interval: int
    window: int
    first_at: int
    """The tick of the first measurement."""

    count: int | None
    """Measurements in each step, whose failures are counted by themselves; None for one analysis in the background."""


ARGO_BACKGROUND: Final = ArgoSettings(
    pause=ticks_of(ARGO_PAUSE),
    interval=ticks_of(ARGO_INTERVAL),
    window=1,
    # startingStep 2 is the second setWeight: the analysis starts with it, and measures at once.
    first_at=ticks_of(ARGO_PAUSE) * ARGO_STARTING_STEP // 2,
    count=None,
)
ARGO_INLINE: Final = ArgoSettings(
    pause=ticks_of(ARGO_INLINE_INTERVAL) * ARGO_INLINE_COUNT,
    interval=ticks_of(ARGO_INLINE_INTERVAL),
    window=ticks_of(ARGO_INLINE_INTERVAL),
    # A minute after the step, so that what is measured is the step's (initialDelay 60s).
    first_at=ticks_of(ARGO_INLINE_INTERVAL),
    count=ARGO_INLINE_COUNT,
)


class Argo(Run):
    """`assessMetricStatus`: an analysis fails when more than `failureLimit` measurements have failed."""

    def __init__(self, trials: int, settings: ArgoSettings) -> None:
        super().__init__(trials)
        self._settings = settings
        self._window = Window(settings.window * TICK_SECONDS)
        self._failed = np.zeros(trials)

    def begin(self) -> None:
        self.share[:] = ARGO_STEPS[0]

    def _judge(self, seen: Seen) -> None:
        settings = self._settings
        self._window.add(seen.target)
        since = self.ticks - settings.first_at
        if since >= 0 and since % settings.interval == 0:
            target = self._window.total()
            # Without traffic the ratio is NaN, and NaN >= 0.95 is false: failed.
            good = (target.requests > 0) & (target.bad <= ARGO_BAD * target.requests)
            self._failed = self._failed + ~good
            self._end(self._failed > ARGO_FAILURE_LIMIT, ROLLED_BACK)
        if self.ticks % settings.pause == 0:
            self._next_step(self.ticks // settings.pause)

    def _next_step(self, index: int) -> None:
        if index >= len(ARGO_STEPS):
            # After the last step the analysis is ended, as successful, and the weight is 100.
            self._end(self.status == RUNNING, COMPLETED)
            return
        self.share = np.where(self.status == RUNNING, ARGO_STEPS[index], self.share)
        if self._settings.count is not None:
            self._failed = np.zeros_like(self._failed)


def flagger(base: float) -> tuple[Rule, ...]:
    """Return Flagger's rules: as documented, with a limit that fits the base error, and looking at every scrape."""
    tuned = FlaggerSettings(max_bad=max(FLAGGER_BAD, 3 * base), duration_seconds=FLAGGER_SUCCESS_SECONDS)
    often = FlaggerSettings(interval_seconds=TICK_SECONDS)
    return (
        Rule("flagger", "documented settings", lambda trials, _: Flagger(trials, FlaggerSettings())),
        Rule("flagger_tuned", "success >= 1 - max(1 %, 3 x base error)", lambda trials, _: Flagger(trials, tuned)),
        Rule("flagger_15s", "interval 15 s", lambda trials, _: Flagger(trials, often)),
    )


ARGO: Final = (
    Rule("argo", "documented background analysis", lambda trials, _: Argo(trials, ARGO_BACKGROUND)),
    Rule(
        "argo_inline", "documented inline analysis: 5 measurements a step", lambda trials, _: Argo(trials, ARGO_INLINE)
    ),
)
