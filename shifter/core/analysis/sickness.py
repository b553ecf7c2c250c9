"""How well the source is: in an incident of its own, or still what its history says.

All of it is read off the source's own requests and failures, never off the target's: what gates a bet must not know
what the bet is about. Three questions, from the loudest to the quietest: is it *sick* (an incident: nothing is blamed
on the target for it), does it *vouch* for its history (then the target may be held against that), is it *steady* (then
something can be proven safe)?
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shifter.core.analysis.hypotheses import Margin
from shifter.core.analysis.learning import MetricHistory
from shifter.core.analysis.measures import Metric

VOUCHING_REQUESTS: Final = 10.0
"""A source with fewer requests than this in its recent ticks cannot tell whether it is still what it was."""

_VOUCHED: Final = Margin(2.0, 0.01)
_STEADY_RATIO: Final = 2.0
_SICK_RATIO: Final = 5.0
_SICK_RATE: Final = 0.03
_SICK_EVENTS: Final = 3.0
_SICK_DEVIATIONS: Final = 3.0
_WELL_TICKS: Final = 5

Recent = Sequence[Sequence[tuple[float, float]]]
"""One side's newest ticks, oldest first: (requests, bad ones) of every metric, errors first."""


@dataclass(frozen=True, slots=True)
class Sickness:
    """The source is in an incident: for how many ticks, how many since it was last seen sick, and how it began.

    `after_ticks` is how many ticks the share had lasted when it began; None once a step back was taken because of it.
    `rates` are (rate, weight) of each metric of the source before it: bets are aimed at them again when it is over.
    """

    ticks: int
    well_ticks: int
    after_ticks: int | None
    rates: tuple[tuple[float, float], ...] = ()


def is_sick(learnt: MetricHistory, requests: float, bad: float) -> bool:
    """Return whether a source that failed so many requests is in an incident of its own.

    It must fail far more than it used to, and more than chance explains: three standard deviations beyond that limit.
    """
    if learnt.requests <= 0:
        return False  # nobody knows what it used to be
    limit = requests * max(_SICK_RATIO * learnt.rate, learnt.rate + _SICK_RATE)
    return bad >= _SICK_EVENTS and bad > limit + _SICK_DEVIATIONS * math.sqrt(learnt.dispersion * limit)


def shows(learnt: MetricHistory, recent: Recent) -> bool:
    """Return whether the errors in the newest tick, in the newest two, or so on to all of them are an incident's."""
    requests = bad = 0.0
    sick = False
    for tick in reversed(recent):
        requests, bad = requests + tick[0][0], bad + tick[0][1]
        sick = sick or is_sick(learnt, requests, bad)
    return sick


def after_tick(before: Sickness | None, learnt: MetricHistory, recent: Recent, began: Sickness) -> Sickness | None:
    """Return how the source is after one more tick.

    Args:
        before: how it was.
        learnt: what its errors were like.
        recent: its newest ticks, this one the last.
        began: what it is if it begins now.
    """
    if shows(learnt, recent):
        return began if before is None else replace(before, ticks=before.ticks + 1, well_ticks=0)
    if before is None or before.well_ticks + 1 >= _WELL_TICKS:
        return None
    return replace(before, ticks=before.ticks + 1, well_ticks=before.well_ticks + 1)


def vouches(metric: Metric, learnt: MetricHistory, recent: Iterable[tuple[float, float]], least: float) -> bool:
    """Return whether the source looks like its history, and keeps to the policy's limit itself.

    With fewer than `least` requests nobody can tell; at 100 % it has none, and what it was like is all there is.
    """
    requests = bad = 0.0
    for so_many, failed in recent:
        requests, bad = requests + so_many, bad + failed
    most = _VOUCHED.of(learnt.rate)
    if metric.most_rate is not None:
        most = min(most, max(metric.most_rate, metric.tolerance.of(learnt.rate)))
    return requests >= least and bad <= requests * most


def is_steady(learnt: MetricHistory, recent: Iterable[tuple[float, float]]) -> bool:
    """Return whether the source is no worse than twice its history, give or take chance; unknown history says nothing.

    To leave a tick out because the source fails in it only takes away from what could be proven.
    """
    requests = bad = 0.0
    for so_many, failed in recent:
        requests, bad = requests + so_many, bad + failed
    expected = _STEADY_RATIO * learnt.rate * requests
    return learnt.requests <= 0 or bad <= expected + _SICK_DEVIATIONS * math.sqrt(learnt.dispersion * (expected + 1))
