"""What is bet about: the edges of a metric's two hypotheses, its part of the stakes, and what a tick counted of it.

Values only. How they are bet on, and why that is fair, is in `sequential.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Margin:
    """The edge of a hypothesis: the target's rate is `ratio` times the source's plus `rate` (0..1)."""

    ratio: float
    rate: float

    def of(self, source_rate: float) -> float:
        """Return the target's rate at the edge."""
        return self.ratio * source_rate + self.rate


@dataclass(frozen=True, slots=True)
class Test:
    """How one metric is judged.

    `tolerance`: up to here the target is not blamed. `safety`: up to `safety.rate` beyond `safety.ratio` times the
    source it counts as no worse. `pair_weight` and `history_weight` are its parts of all stakes, which add up to 1 over
    all metrics. `history_rate` is the source's rate of bad requests before the first step, over `history_requests`;
    `limit_rate` what the target may have whatever the source has. `dispersion` is at least 1.
    """

    tolerance: Margin
    safety: Margin
    pair_weight: float
    history_weight: float
    history_rate: float
    history_requests: float
    limit_rate: float
    dispersion: float = 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """What one metric counted in one tick, and by how much the target's requests outnumber the source's.

    `ratio` is r of formula (1), None where a comparison says nothing: no source (a share of 100 %) or no request.
    `vouched`: the source looks like its history, so that the target may be held against that as well. `steady`: its
    rate is what it used to be; only then something is proven, since what both suffer together would hide what one does
    by itself, and a bound on the day of an outage says nothing about the day after.
    """

    target: float
    target_bad: float
    source: float
    source_bad: float
    ratio: float | None
    vouched: bool = True
    steady: bool = True
