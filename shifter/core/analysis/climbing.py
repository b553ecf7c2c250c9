"""Whether the next step may be taken, and if not, what is missing and about how long that takes.

Up to the plateau a step must be small enough (`steps.py`), or the hold is over. The plateau itself is left on proof
that the target is no worse, or when the hold is over: "bounded, not proven", and called so ever after. Above it the
source thins out and proof is not to be had any more; there a limit of capacity shows, for which requests are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shifter.core.analysis.measures import Metric
from shifter.core.analysis.standing import Standing
from shifter.core.analysis.steps import PATIENCE_TICKS, PLATEAU, Cost, Pace, candidates, cost_of, patience_of
from shifter.core.analysis.verdicts import Situation, percent
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.documents.policy import PolicySpec
from shifter.core.documents.schema import show_duration
from shifter.core.text import so_many, some

DOUBTED: Final = 1.02
"""From these odds on the plateau is kept longer, up to `PATIENCE_IF_DOUBTED` times the policy's hold."""

PATIENCE_IF_DOUBTED: Final = 3.0
LATE_REQUESTS: Final = 300.0
"""Above the plateau a share is kept until the target answered so many requests: a limit of capacity shows only now."""

LATE_TICKS: Final = 8
"""... or for so many ticks, if it gets fewer."""

HOLDBACK_TICKS: Final = 4
"""So many ticks at least before the last step, after which there is no source to compare with."""

_SHOWN_METRICS: Final = 4


@dataclass(frozen=True, slots=True)
class Permit:
    """`step`: the share (percent) that may come next, None if there is none. `said`: why, or what is missing."""

    granted: bool
    said: str
    step: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the target: the odds against it, the bound U of each metric, and whether they prove safety.

    `ratio` is the safety ratio of errors: U is on top of so many times the source's rate.
    """

    alpha: float
    harm: float
    bounds: tuple[float, ...]
    proven: bool
    ratio: float

    @property
    def bounded(self) -> str:
        """What may still be wrong, as `istio fails at most 1.5 times as often as tcm, plus 3.1 %`."""
        if self.bounds[0] >= 1:
            return "nothing is known of istio's failures yet"
        excess = percent(self.bounds[0], 1)
        return f"istio fails at most {self.ratio:g} times as often as tcm, plus {excess} (95 % confidence)"


def permit(
    spec: PolicySpec, standing: Standing, metrics: Sequence[Metric], situation: Situation, known: Known
) -> Permit:
    """Return whether the next step may be taken."""
    share = situation.share
    if missing := _unheard(standing):
        return _waiting(missing)
    stops = [stop for stop in (situation.gate, situation.ceiling) if stop is not None]
    ahead = candidates(spec.ladder, share, min(stops, default=None), auto=not spec.steps)
    over = standing.seconds >= _hold_seconds(spec, known)
    if share > PLATEAU:
        return _late(standing, ahead, known, over=over)
    if not ahead:
        return _granted(_standing_said(known))
    if ahead[0] > PLATEAU:
        return _from_the_plateau(spec, (standing, metrics), ahead[0], known, over=over)
    return _up_to_the_plateau(spec, standing, metrics, (situation, ahead), known)


def _up_to_the_plateau(
    spec: PolicySpec,
    standing: Standing,
    metrics: Sequence[Metric],
    where: tuple[Situation, Sequence[float]],
    known: Known,
) -> Permit:
    """Permit the largest step that the blast radius allows, or the smallest one when the hold is over."""
    situation, ahead = where
    pace = Pace(known.alpha, situation.tick.total_seconds(), spec.blast_radius)
    costs = [(step, cost_of(standing, metrics, step, pace)) for step in ahead]
    fitting = [(step, cost) for step, cost in costs if cost.fits]
    if fitting:
        step, cost = fitting[-1]
        return _granted(f"{_standing_said(known)}; the step can cost {so_many(cost.worst, 'failed request')}", step)
    step, cost = costs[0]
    if standing.seconds >= _hold_seconds(spec, known):
        return _granted(f"{_standing_said(known)}; held {_held(standing)}, the step can cost {cost.worst:.0f}", step)
    return _waiting(_too_costly(spec, standing, (step, cost), pace, known))


def _granted(said: str, step: float | None = None) -> Permit:
    return Permit(granted=True, said=said, step=step)


def _waiting(said: str) -> Permit:
    return Permit(granted=False, said=said)


def _standing_said(known: Known) -> str:
    if known.proven:
        return "no worse than tcm within the margins, proven on every metric"
    return known.bounded if known.bounds[0] >= 1 else f"bounded, not proven: {known.bounded}"


def _held(standing: Standing) -> str:
    return show_duration(timedelta(seconds=round(standing.seconds)))


def _hold_seconds(spec: PolicySpec, known: Known) -> float:
    return spec.analysis.hold.total_seconds() * (PATIENCE_IF_DOUBTED if known.harm >= DOUBTED else 1.0)


def _from_the_plateau(
    spec: PolicySpec, where: tuple[Standing, Sequence[Metric]], step: float, known: Known, *, over: bool
) -> Permit:
    standing, metrics = where
    if known.proven:
        return _granted(_standing_said(known), step)
    if over:
        return _granted(f"{_standing_said(known)}; held {_held(standing)}", step)
    left = _hold_seconds(spec, known) - standing.seconds
    unproven = [metric.name for metric, u in zip(metrics, known.bounds, strict=True) if u > metric.safety.rate]
    lacks = f"not proven yet: {some(unproven, _SHOWN_METRICS)}"
    return _waiting(f"{known.bounded}; {lacks}; proof is being gathered, for {left:.0f} s more at most")


def _unheard(standing: Standing) -> str:
    """Say that a target which should have had requests by now has answered none: whatever that is, it is no health."""
    requests, _, others, _ = standing.totals[0]
    part = standing.share / FULL_PERCENT
    if part <= 0 or part >= 1 or requests > 0 or others * part < 1 - part:
        return ""
    return f"istio has answered no request at this share, tcm {others:.0f}: do they arrive?"


def _late(standing: Standing, ahead: Sequence[float], known: Known, *, over: bool) -> Permit:
    """Above the plateau: enough requests or ticks, and no doubt that has not been waited out."""
    requests = standing.totals[0][0]
    least = HOLDBACK_TICKS if ahead and ahead[0] >= FULL_PERCENT else 0
    if standing.ticks < least:
        return _waiting(f"the source is kept to compare with for {so_many(least - standing.ticks, 'tick')} more")
    if standing.share < FULL_PERCENT and requests < LATE_REQUESTS and standing.ticks < LATE_TICKS:
        lacks = so_many(LATE_REQUESTS - requests, "request"), so_many(LATE_TICKS - standing.ticks, "tick")
        return _waiting(f"watching for a limit of capacity: {' or '.join(lacks)} more")
    if known.harm >= DOUBTED and not over:
        return _waiting("there is some evidence against istio: waiting for it to fade or grow")
    return _granted(_standing_said(known), ahead[0] if ahead else None)


def _too_costly(spec: PolicySpec, standing: Standing, step: tuple[float, Cost], pace: Pace, known: Known) -> str:
    """Say what a step could cost, and in how long so much is allowed."""
    share, cost = step
    left = _hold_seconds(spec, known) - standing.seconds
    if standing.share > 0:
        at_once = cost.allowed / patience_of(standing, pace)
        needed = (cost.worst / at_once - 1) * PATIENCE_TICKS * pace.tick_seconds
        left = min(left, needed - standing.exposed_seconds)
    left = max(0.0, left)
    return (
        f"a step to {share:g} % could cost {so_many(cost.worst, 'failed request')} before it is found out, "
        f"{cost.allowed:.0f} allowed so far; {known.bounded}; about {left:.0f} s more"
    )
