"""How often a policy would cry wolf: the source's own pods against each other, where nothing can be wrong.

One half of the pods plays the target, at the part of the traffic that it got (an A/A test). They are the same program
under the same traffic, so every "go back" is a false alarm. The range is cut into windows, each an attempt of its own.
What such a test cannot show: differences that two healthy meshes have and two halves of one have not. A step back to
see whether an incident of both is the step's doing is no alarm: no step was taken where a window begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shifter.core.analysis.verdicts import Verdict
from shifter.core.counts.evidence import Reading
from shifter.ports import Unread
from shifter.service.backtest.judging import Trial, observed_share
from shifter.service.backtest.recording import Learnt, Question, Recorded, Seen

CONFIDENCE: Final = 0.95
"""How sure the upper limit of the false alarms is."""

_BISECTIONS: Final = 60
_LEAST_PART: Final = 0.5
"""A window of which less was counted is no attempt."""


@dataclass(slots=True)
class Halves:
    """Which half each of the source's pods is in. Once there a pod stays: its counters are differenced.

    A pod that is new joins the half that has fewer of those that are up. `two`: both halves had pods at some instant.
    """

    two: bool = False
    _in_second: dict[str, bool] = field(default_factory=dict)

    def split(self, reading: Recorded) -> tuple[Recorded, Recorded]:
        """Return what each half of the pods showed; what is unread is so of both."""
        if isinstance(reading, Unread):
            return reading, reading
        for pod in sorted(reading.pods.keys() - self._in_second.keys()):
            placed = [self._in_second[each] for each in reading.pods if each in self._in_second]
            self._in_second[pod] = 2 * sum(placed) < len(placed)
        first = {pod: each for pod, each in reading.pods.items() if not self._in_second[pod]}
        second = {pod: each for pod, each in reading.pods.items() if self._in_second[pod]}
        self.two = self.two or bool(first and second)
        return Reading(reading.read_at, first), Reading(reading.read_at, second)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A window in which the policy would have gone back for nothing: when, and why."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """How many of the `windows`, each of `length`, would have gone back.

    `highest` are the highest odds M in any window, None without one. `impossible` says why there can be none, `skipped`
    counts those in which a half had no requests or too little was recorded.
    """

    length: timedelta
    windows: int = 0
    skipped: int = 0
    alarms: tuple[Alarm, ...] = ()
    highest: float | None = None
    impossible: str = ""

    @property
    def most_percent(self) -> float | None:
        """The upper limit of the part of windows that go back, percent, at `CONFIDENCE`; None without a window."""
        return 100 * upper_limit(len(self.alarms), self.windows) if self.windows else None


def false_alarms(question: Question, known: Learnt, found: Sequence[Seen], length: timedelta) -> FalseAlarms:
    """Judge each window of what the two halves counted as an attempt of its own.

    Args:
        question: policy and fleet.
        known: what the source as a whole was like.
        found: what the halves counted, the second as the target; all of the range, in order.
        length: of a window.
    """
    alarms: list[Alarm] = []
    skipped = windows = 0
    highest: float | None = None
    least = _LEAST_PART * (length / question.step)
    for window in _windows(known.begin, found, length):
        share = observed_share(window)
        # The share is that of the requests of the whole window: it may depend on them, never on which were bad.
        if share is None or share >= 100 or sum(each.tick is not None for each in window) < least:  # noqa: PLR2004 - percent
            skipped += 1
            continue
        windows += 1
        alarm, harm = _tried(Trial(question, known.history, share, window[0].at, split_by_request=False), window)
        alarms += [] if alarm is None else [alarm]
        highest = harm if highest is None else max(highest, harm)
    return FalseAlarms(length, windows, skipped, tuple(alarms), highest)


def _windows(begin: datetime, found: Sequence[Seen], length: timedelta) -> Iterator[list[Seen]]:
    by_window: dict[int, list[Seen]] = {}
    for each in found:
        by_window.setdefault(max(0, math.ceil((each.at - begin) / length) - 1), []).append(each)
    yield from by_window.values()


def _tried(trial: Trial, window: Sequence[Seen]) -> tuple[Alarm | None, float]:
    """Return the alarm, if there is one, and the highest odds up to it."""
    highest = 0.0
    for each in window:
        if each.tick is None:
            continue
        assessment = trial.decide(each).assessment
        highest = max(highest, assessment.harm or 0.0)
        if assessment.verdict is Verdict.FAIL:
            return Alarm(each.at, assessment.reason), highest
    return None, highest


def upper_limit(hits: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the probability (0..1) above which so few hits would be less likely than 1 - `confidence`.

    The exact one-sided limit of Clopper and Pearson (1934), by bisection; for 0 hits it is 1 - (1 - confidence)^(1/n).
    """
    if hits >= trials:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        likely = math.fsum(_binomial(k, trials, middle) for k in range(hits + 1))
        low, high = (middle, high) if likely > 1 - confidence else (low, middle)
    return high


def _binomial(hits: int, trials: int, probability: float) -> float:
    """Return the probability of exactly so many hits; by logarithms, since the coefficients leave every float."""
    ways = math.lgamma(trials + 1) - math.lgamma(hits + 1) - math.lgamma(trials - hits + 1)
    return math.exp(ways + hits * math.log(probability) + (trials - hits) * math.log1p(-probability))
