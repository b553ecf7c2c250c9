"""Guards: is the target good enough? Fixed limits, and the target against the source, both live.

This is the seam for the statistical engine: `assess` takes what was measured and returns a four-way verdict
with findings a person can read; what is done about it is `decide.py`'s business. Rules of this version:

* silence is not health: no fresh evidence is *no signal*, a handful of requests is *too little traffic*;
* a limit is broken early if the failures seen would break it even were the rest of `minRequests` good;
* fewer than `MIN_BAD` failures never fail a shift: one unlucky request is no verdict;
* the target over a fixed limit while the source is no better is an incident of both, not the target's failure:
  metric by metric, so errors of both excuse neither a slow target nor one whose traffic is lost;
* requests that vanish while the gateway's unattributed errors rise are failures, not quiet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shifter.core.evidence import INFINITY_MS, Counts, Ledger, Tick
from shifter.core.policy import Analysis, LatencyGuard
from shifter.core.splits import FULL_PERCENT

MIN_BAD = 3
"""The fewest failed requests that can fail a shift."""

_VANISHED = 0.2
"""Below this part of the expected requests, the target's traffic counts as vanished."""

_BLAMED = 0.5
"""The part of the vanished requests that must reappear as unattributed errors to be blamed on the target."""


_WHOLE_MS = 100
"""From here on, parts of a millisecond are noise to a reader."""


class Verdict(StrEnum):
    """What the evidence says. Never a bool: not knowing is not the same as good or bad."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    TOO_LITTLE = "too little traffic"
    NO_SIGNAL = "no signal"


@dataclass(frozen=True, slots=True)
class Finding:
    """One guard's outcome. Values are in `unit`; `limit` is the stricter of the limits that applied."""

    metric: str
    verdict: Verdict
    text: str
    source: float | None = None
    target: float | None = None
    limit: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict, its findings, and the sentence. `incident` says why both meshes are bad at once, if they are."""

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...] = ()
    incident: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the evidence is judged against: the share in force (percent), since when it has been verified, now.

    `max_age` is how old the newest tick may be before there is no signal.
    """

    share: float
    verified_at: datetime | None
    now: datetime
    max_age: timedelta


NOT_YET: Final = "no evidence yet at this share"
"""What is said until the first tick has been counted: after a start that is so for a tick or two, and no trouble."""


def assess(analysis: Analysis, ledger: Ledger, situation: Situation) -> Assessment:
    """Judge the evidence gathered at the current share.

    Args:
        analysis: the policy's guards.
        ledger: ticks since the share last changed; only the newest `analysis.window` of them count.
        situation: what share the ticks were taken at, and when it is.
    """
    if not ledger.ticks:
        return Assessment(Verdict.NO_SIGNAL, NOT_YET)
    newest = ledger.ticks[-1].at
    age = situation.now - newest
    if age > situation.max_age:
        return Assessment(Verdict.NO_SIGNAL, f"the newest evidence is {age.total_seconds():.0f} s old")
    if age < -situation.max_age:
        ahead = -age.total_seconds()
        return Assessment(Verdict.NO_SIGNAL, f"the newest evidence is {ahead:.0f} s ahead: the clock was set back")
    ticks = ledger.since(situation.now - analysis.window) or ledger.ticks[-1:]
    source = sum((tick.source for tick in ticks), Counts())
    target = sum((tick.target for tick in ticks), Counts())
    if situation.share <= 0:
        return _before_the_first_step(analysis, source)
    findings = [_errors(analysis, source, target)]
    if analysis.latency is not None:
        findings.append(_latency(analysis.latency, analysis.min_requests, source, target))
    if lost := _vanished(analysis, ledger, ticks, situation):
        findings.append(lost)
    return _conclude(tuple(findings), _incidents(analysis, source, target))


def _before_the_first_step(analysis: Analysis, source: Counts) -> Assessment:
    """At 0 % there is no target to judge; a source that is failing by itself is no moment to start."""
    limit = analysis.errors.max_percent
    bad = source.bad_percent
    if bad is not None and source.bad >= MIN_BAD and bad > limit:
        text = f"tcm itself fails {bad:.3g} % of requests, limit {limit:g} %"
        return Assessment(Verdict.PASS, text, incident=text)
    return Assessment(Verdict.PASS, f"both datasources answer; tcm has {source.requests:.0f} requests")


def _errors(analysis: Analysis, source: Counts, target: Counts) -> Finding:
    guard, minimum = analysis.errors, analysis.min_requests
    # With fewer requests than the minimum, the missing ones count as good: a limit broken even so is broken.
    bad = FULL_PERCENT * target.bad / max(target.requests, minimum)
    source_bad = source.bad_percent if source.requests >= minimum else None
    limit = guard.max_percent
    if source_bad is not None:
        limit = min(limit, source_bad + guard.over_source_percent)
    said = f"istio failed {target.bad:.0f} of {target.requests:.0f} requests"
    said += "; no baseline" if source_bad is None else f", tcm {source.bad:.0f} of {source.requests:.0f}"
    if target.bad >= MIN_BAD and bad > limit:
        missing = minimum - target.requests
        even_if = f" even if the {missing:.0f} missing to {minimum} were good" if missing > 0 else ""
        verdict, said = Verdict.FAIL, f"{said}: {bad:.3g} %{even_if} is over the limit of {limit:.3g} %"
    elif target.requests < minimum:
        verdict, said = Verdict.TOO_LITTLE, f"{said}; {minimum} are needed to judge"
    else:
        verdict, said = Verdict.PASS, f"{said}: {bad:.3g} % is within {limit:.3g} %"
    return Finding("errors", verdict, said, source.bad_percent, target.bad_percent, limit, "%")


def _latency(guard: LatencyGuard, minimum: int, source: Counts, target: Counts) -> Finding:
    name = f"p{guard.quantile * 100:g}"
    theirs, ours = source.quantile_ms(guard.quantile), target.quantile_ms(guard.quantile)
    if source.requests < minimum:
        theirs = None
    limit = guard.max_ms if theirs is None else min(guard.max_ms, theirs * guard.over_source_ratio)
    if ours is None or target.requests < minimum:
        said = f"{name}: istio answered {target.requests:.0f} requests; {minimum} are needed to judge"
        return Finding("latency", Verdict.TOO_LITTLE, said, theirs, ours, limit, "ms")
    baseline = "no baseline" if theirs is None else f"tcm {_ms(theirs)}"
    verdict, word = (Verdict.FAIL, "over") if ours > limit else (Verdict.PASS, "within")
    said = f"{name}: istio {_ms(ours)}, {baseline}: {word} the limit of {_ms(limit)}"
    return Finding("latency", verdict, said, theirs, ours, limit, "ms")


def _ms(value: float) -> str:
    if value == INFINITY_MS:
        return "beyond the last bucket"
    return f"{value:.0f} ms" if value >= _WHOLE_MS else f"{value:.3g} ms"


def _vanished(analysis: Analysis, ledger: Ledger, ticks: tuple[Tick, ...], situation: Situation) -> Finding | None:
    """Return a failure if attributed requests vanished while the gateway's unattributed errors rose.

    When a namespace dies behind a gateway, older Istio drops the namespace label from its 503s: the shift
    looks quiet. So the requests that should have come are compared with the errors nobody's name is on.
    """
    if situation.verified_at is None:
        return None
    settled = tuple(
        tick for tick in ticks if tick.at.timestamp() - tick.span_seconds >= situation.verified_at.timestamp()
    )
    seen = sum(tick.target.requests for tick in settled)
    unknown = sum(tick.target_unknown.bad for tick in settled)
    if situation.share < FULL_PERCENT:
        others = sum(tick.source.requests for tick in settled)
        expected = others * situation.share / (FULL_PERCENT - situation.share)
    else:
        expected = (ledger.usual_per_second or 0.0) * sum(tick.span_seconds for tick in settled)
    # At 100 % after a restart nothing says how much to expect: total silence beside errors then is enough.
    blind = situation.share >= FULL_PERCENT and ledger.usual_per_second is None
    missing = unknown if blind and seen == 0 else expected - seen
    vanished = seen < _VANISHED * expected or (blind and seen == 0)
    if (
        vanished
        and unknown >= max(MIN_BAD, _BLAMED * missing)
        and max(missing, unknown) >= min(analysis.min_requests, 20)
    ):
        said = (
            f"istio answered {seen:.0f} of about {seen + missing:.0f} expected requests while its gateway shows "
            f"{unknown:.0f} errors without a namespace: failing, not quiet"
        )
        return Finding("lost traffic", Verdict.FAIL, said, None, seen, seen + missing, "requests")
    return None


def _incidents(analysis: Analysis, source: Counts, target: Counts) -> dict[str, str]:
    """Say, by metric, where the source breaks a fixed limit by itself and the target is no worse: both are bad."""
    found: dict[str, str] = {}
    if source.requests < analysis.min_requests:
        return found
    theirs, ours = source.bad_percent or 0.0, target.bad_percent or 0.0
    errors = analysis.errors
    if source.bad >= MIN_BAD and theirs > errors.max_percent and ours <= theirs + errors.over_source_percent:
        found["errors"] = f"both meshes fail: tcm {theirs:.3g} %, istio {ours:.3g} %, limit {errors.max_percent:g} %"
    guard = analysis.latency
    if guard is None:
        return found
    slow, slower = source.quantile_ms(guard.quantile), target.quantile_ms(guard.quantile)
    if slow is not None and slower is not None and slow > guard.max_ms and slower <= slow * guard.over_source_ratio:
        found["latency"] = f"both meshes are slow: tcm {_ms(slow)}, istio {_ms(slower)}, limit {_ms(guard.max_ms)}"
    return found


def _conclude(findings: tuple[Finding, ...], incidents: Mapping[str, str]) -> Assessment:
    # A failure that the source does not share is the target's own, whatever else is wrong with both.
    own = any(finding.verdict is Verdict.FAIL and finding.metric not in incidents for finding in findings)
    incident = "" if own else "; ".join(incidents.values())
    for verdict in (Verdict.FAIL, Verdict.TOO_LITTLE):
        found = [finding.text for finding in findings if finding.verdict is verdict]
        if found:
            return Assessment(verdict, "; ".join(found), findings, incident)
    return Assessment(Verdict.PASS, "; ".join(finding.text for finding in findings), findings, incident)
