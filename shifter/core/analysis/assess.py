"""The verdict: is the target good enough, what is it made of, and how far may the next step go?

Four-way, because not knowing is not the same as good or bad. The arithmetic is elsewhere (`sequential.py`, `steps.py`,
`guards.py`); here its numbers are held against the policy, and become sentences that somebody reads at 3 a.m. What is
done about them is the business of `deciding/`.

    no signal    nothing fresh was counted, or a metric cannot be measured
    fail         a guard saw it, or the odds against the target reached 1 / alpha
    pass         the next step may be taken: no worse than the source is proven, or what it could cost is bounded
    too little   neither: there is no reason to go back, and none yet to go on
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from shifter.core.analysis.climbing import Known, permit
from shifter.core.analysis.guards import VANISHED_TICKS, Guard, dead, lost_traffic, vanished
from shifter.core.analysis.measures import Metric, counted, metrics_of
from shifter.core.analysis.sequential import bound
from shifter.core.analysis.sickness import is_sick
from shifter.core.analysis.standing import Standing, evidence_of_harm
from shifter.core.analysis.verdicts import NOT_YET, Assessment, Finding, Situation, Verdict, odds, percent
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.counts.evidence import Ledger, Tick
from shifter.core.documents.criteria import Analysis
from shifter.core.documents.policy import PolicySpec

SUSPECTED: Final = 10.0
"""From these odds on a shift does not climb."""


_MOST_HALVINGS: Final = 30
"""From then on the probability stays: wealth is counted up to a limit, and 1 / alpha must stay within reach."""


def alpha_of(analysis: Analysis, attempt: int) -> float:
    """Return the error probability (0..1) of one attempt, counted from 1; all together have twice the first's."""
    return analysis.false_rollback_percent / FULL_PERCENT * 0.5 ** min(attempt - 1, _MOST_HALVINGS)


def assess(spec: PolicySpec, standing: Standing | None, ledger: Ledger, situation: Situation) -> Assessment:
    """Judge the evidence gathered so far.

    Args:
        spec: the policy.
        standing: what the ticks of this attempt amount to; None before the source is known.
        ledger: the ticks since the share last changed.
        situation: what share the ticks were taken at, and when it is.
    """
    silent = _silent(ledger, situation)
    if standing is None:
        return silent or Assessment(Verdict.TOO_LITTLE, situation.lacking or NOT_YET)
    metrics = metrics_of(spec.analysis, standing.history.edges_ms)
    judged = _Judged(spec, standing, metrics, situation, evidence_of_harm(standing, metrics))
    base = Assessment(
        Verdict.TOO_LITTLE, "", _findings(judged), harm=judged.harm, limit=judged.limit, proven=judged.is_proven
    )
    if silent is not None:
        # What was known stays known: who looks during an outage must see that something speaks against the target.
        return replace(base, verdict=silent.verdict, reason=silent.reason)
    exposed = situation.share > 0 or standing.failing.ticks > 0
    if exposed and (failed := _failed(judged, ledger, base)):
        return failed
    if standing.sickness is not None:
        # Only what both suffer from can be the step's doing: away from a source that fails by itself is no way back.
        # Nor could a step back end what seems to be over by itself.
        is_suspect = _is_shared(judged) and standing.sickness.well_ticks == 0
        after = standing.sickness.after_ticks if is_suspect else None
        base = replace(base, incident=_incident(judged), incident_after_ticks=after)
    if unmeasured := _unmeasured(judged, ledger.ticks[-1]):
        # A gateway may show a series' requests a moment before its histogram: one tick is no lack of signal yet.
        lasting = len(ledger.ticks) > 1 and bool(_unmeasured(judged, ledger.ticks[-2]))
        verdict = Verdict.NO_SIGNAL if lasting else Verdict.TOO_LITTLE
        return replace(base, verdict=verdict, reason=unmeasured)
    return _next(judged, base)


@dataclass(frozen=True, slots=True)
class _Judged:
    """All that the sentences below are made of."""

    spec: PolicySpec
    standing: Standing
    metrics: tuple[Metric, ...]
    situation: Situation
    harm: float

    @property
    def alpha(self) -> float:
        return alpha_of(self.spec.analysis, self.standing.attempt)

    @property
    def limit(self) -> float:
        return 1 / self.alpha

    @property
    def bounds(self) -> tuple[float, ...]:
        wealths = self.standing.wealth.metrics
        return tuple(bound(one, metric.safety.rate) for one, metric in zip(wealths, self.metrics, strict=True))

    @property
    def is_proven(self) -> bool:
        """Whether the target is proven no worse than the source on every metric."""
        return all(u <= metric.safety.rate for u, metric in zip(self.bounds, self.metrics, strict=True))


def _silent(ledger: Ledger, situation: Situation) -> Assessment | None:
    """Silence is not health."""
    if situation.problem:
        return Assessment(Verdict.NO_SIGNAL, situation.problem)
    if not ledger.ticks:
        return Assessment(Verdict.NO_SIGNAL, NOT_YET)
    age = situation.now - ledger.ticks[-1].at
    if age > situation.max_age:
        return Assessment(Verdict.NO_SIGNAL, f"the newest evidence is {age.total_seconds():.0f} s old")
    if age < -situation.max_age:
        ahead = -age.total_seconds()
        return Assessment(Verdict.NO_SIGNAL, f"the newest evidence is {ahead:.0f} s ahead: the clock was set back")
    return None


def _failed(judged: _Judged, ledger: Ledger, base: Assessment) -> Assessment | None:
    """Return the failing assessment if a guard saw something or the odds are against the target."""
    standing, situation = judged.standing, judged.situation
    verified = situation.verified_at
    newest = replace(ledger, ticks=ledger.ticks[-VANISHED_TICKS:])
    settled = newest.since(verified) if verified is not None else ()
    seen = [
        (Guard.DEAD, dead(standing, situation.tick.total_seconds(), situation.written)),
        (Guard.NAMELESS, vanished(ledger, settled, situation.share)),
    ]
    if situation.split_by_request:
        seen.append((Guard.LOST, lost_traffic(standing, judged.alpha)))
    found = [Finding(name, Verdict.FAIL, text, guard=True) for name, text in seen if text]
    if judged.harm >= judged.limit:
        index = most_blamed(judged.standing, judged.metrics)
        blamed = replace(base.findings[index], verdict=Verdict.FAIL, text=_blamed(judged, index))
        found.append(blamed)
        rest = tuple(finding for place, finding in enumerate(base.findings) if place != index)
    else:
        rest = base.findings
    if not found:
        return None
    said = "; ".join(dict.fromkeys(finding.text for finding in found))
    return replace(base, verdict=Verdict.FAIL, reason=said, findings=(*found, *rest))


def most_blamed(standing: Standing, metrics: Sequence[Metric]) -> int:
    """Return the index of the metric whose products hold most of the wealth."""

    def wealth(index: int) -> float:
        metric, stakes = standing.wealth.metrics[index], metrics[index]
        pairs, history = max((*metric.start[:4], *metric.latest[:4])), max((*metric.start[4:], *metric.latest[4:]))
        return max(pairs if stakes.pair_weight else 0.0, history if stakes.history_weight else 0.0)

    return max(range(len(metrics)), key=wealth)


def excess_said(rate: float) -> str:
    """Return U as people read it: `< 0.9 %`, or `unknown` while nothing is proven (`rate` is 1)."""
    return "unknown" if rate >= 1 else f"< {percent(rate, 1)}"


def _blamed(judged: _Judged, index: int) -> str:
    return f"{_rates(judged, index)}: evidence {odds(judged.harm)}, limit {odds(judged.limit)}"


def _rates(judged: _Judged, index: int) -> str:
    """Return both sides' part of bad requests in one metric, as `istio fails 3.1 % against tcm 0.4 %`."""
    metric = judged.metrics[index]
    requests, bad, others, theirs = judged.standing.totals[index]
    if others > 0:
        return f"{metric.said(percent(bad, requests), 'istio')} against tcm {percent(theirs, others)}"
    learnt = judged.standing.history.metrics[index]
    return f"{metric.said(percent(bad, requests), 'istio')}; tcm had {percent(learnt.rate, 1)} before the first step"


def _findings(judged: _Judged) -> tuple[Finding, ...]:
    """Return what was counted of every metric at this share, and how much of it is known."""
    found = []
    bounds = judged.bounds
    for index, metric in enumerate(judged.metrics):
        requests, bad, others, theirs = judged.standing.totals[index]
        learnt = judged.standing.history.metrics[index]
        test_limit = judged.metrics[index].most_rate
        verdict = Verdict.PASS if bounds[index] <= metric.safety.rate else Verdict.TOO_LITTLE
        known = f"excess {excess_said(bounds[index])}" + ("" if bounds[index] >= 1 else " (95 %)")
        found.append(
            Finding(
                metric=metric.name,
                verdict=verdict,
                text=f"{_rates(judged, index)} ({bad:.0f} of {requests:.0f}, {theirs:.0f} of {others:.0f}): {known}",
                source=FULL_PERCENT * theirs / others if others > 0 else None,
                target=FULL_PERCENT * bad / requests if requests > 0 else None,
                limit=None if test_limit is None else FULL_PERCENT * test_limit,
                unit="%",
                bound=FULL_PERCENT * bounds[index],
                dispersion=learnt.dispersion,
                source_counts=(others, theirs),
                target_counts=(requests, bad),
            )
        )
    return tuple(found)


def _incident(judged: _Judged) -> str:
    """Say what is wrong with the source, and with the target if that shares it."""
    requests = sum(tick[0][0] for tick in judged.standing.recent)
    bad = sum(tick[0][1] for tick in judged.standing.recent)
    seen = sum(tick[0] for tick in judged.standing.recent_target)
    failed = sum(tick[1] for tick in judged.standing.recent_target)
    usual = percent(judged.standing.history.metrics[0].rate, 1)
    theirs = f"tcm failed {bad:.0f} of its last {requests:.0f} requests, usually {usual}"
    if judged.situation.share <= 0 or not _is_shared(judged):
        return f"{theirs}: tcm itself is in trouble"
    return f"both meshes fail: {theirs}; istio {failed:.0f} of {seen:.0f}"


def _is_shared(judged: _Judged) -> bool:
    """Return whether the target fails as much as a source in an incident does."""
    requests, bad, _, _ = judged.standing.totals[0]
    return is_sick(judged.standing.history.metrics[0], requests, bad)


def _unmeasured(judged: _Judged, tick: Tick) -> str:
    """Say which metrics one side does not have: nothing can be compared, and nothing must be assumed."""
    missing = []
    for metric in judged.metrics:
        sides = (("tcm", tick.source), ("istio", tick.target))
        if lacks := [name for name, side in sides if counted(metric, side) is None]:
            missing.append(f"{' and '.join(lacks)} did not show {metric.name!r}")
    return "; ".join(missing) and f"{'; '.join(missing)}: it cannot be compared; mend the metric or leave it out"


def _next(judged: _Judged, base: Assessment) -> Assessment:
    """Say whether the next step may be taken, and if not what is missing and about how long."""
    if judged.harm >= SUSPECTED:
        said = (
            f"{_blamed(judged, most_blamed(judged.standing, judged.metrics))}: not enough to go back, too much to go on"
        )
        return replace(base, reason=said)
    known = Known(judged.alpha, judged.harm, judged.bounds, judged.is_proven, judged.metrics[0].safety.ratio)
    allowed = permit(judged.spec, judged.standing, judged.metrics, judged.situation, known)
    verdict = Verdict.PASS if allowed.granted else Verdict.TOO_LITTLE
    return replace(base, verdict=verdict, reason=allowed.said, step=allowed.step)
