"""What an assessment says, and in which words: the types between the analysis and whoever acts on it or reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

_LARGE_ODDS: Final = 10.0
_WHOLE_ODDS: Final = 1e6
_LARGE_PERCENT: Final = 10.0
_LEAST_PERCENT: Final = 1e-4


class Verdict(StrEnum):
    """What the evidence says. Never a bool: not knowing is not the same as good or bad."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    TOO_LITTLE = "too little traffic"
    NO_SIGNAL = "no signal"


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric's, or one guard's, part in the verdict. Values are in `unit`.

    `limit` is what the target may have whatever the source has. `bound` is U: with 95 % anytime confidence the target
    has at most the safety ratio times the source's, plus this. `source_counts` and `target_counts` are (requests, bad
    ones) at this share. `dispersion` is 1 where failures come one by one. `guard`: `metric` is the name of a guard.
    """

    metric: str
    verdict: Verdict
    text: str
    source: float | None = None
    target: float | None = None
    limit: float | None = None
    unit: str = ""
    bound: float | None = None
    dispersion: float | None = None
    source_counts: tuple[float, float] | None = None
    target_counts: tuple[float, float] | None = None
    guard: bool = False


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict, the sentence, and what it is made of.

    `harm` are the odds M against the target, `limit` those at which it goes back. `step` is the share (percent) that a
    pass allows next, None at the top. `proven`: no worse than the source is proven on all metrics. `incident` says why
    both meshes, or the source alone, are bad at once. `incident_after_ticks` is how long the share had lasted when both
    became bad; None if only the source is, if it seems to be over, or if a step back was taken because of it.
    """

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...] = ()
    incident: str = ""
    incident_after_ticks: int | None = None
    harm: float | None = None
    limit: float | None = None
    step: float | None = None
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What the evidence is judged against: the share in force (percent), since when it has been verified, now.

    `max_age` is how old the newest tick may be before there is no signal. `gate` is the first share that nobody
    approved, `ceiling` the first at which this shift failed; None if there is none. `split_by_request`: requests are
    split one by one, so that what does not arrive is lost. `written` is the share (percent) that a write under way may
    have brought. `lacking` says what is missing before anything can be judged, `problem` why nothing is seen at all.
    """

    share: float
    verified_at: datetime | None
    now: datetime
    max_age: timedelta
    tick: timedelta
    gate: float | None = None
    ceiling: float | None = None
    split_by_request: bool = True
    written: float = 0.0
    lacking: str = ""
    problem: str = ""


NOT_YET: Final = "no evidence yet at this share"
"""What is said until the first tick has been counted: after a start that is so for a tick or two, and no trouble."""


def percent(bad: float, requests: float) -> str:
    """Return a part as people read it: `3.1 %`."""
    if requests <= 0:
        return "? %"
    part = 100 * bad / requests
    # With two digits, but never as 1e+02 or 5e-05.
    return f"{part:.0f} %" if part >= _LARGE_PERCENT else f"{max(part, _LEAST_PERCENT) if part > 0 else 0:.2g} %"


def odds(value: float) -> str:
    """Return odds as people read them: `240:1`, `1.4:1`, `1:20`."""
    if value < 1:
        return f"1:{odds(1 / max(value, 1 / _WHOLE_ODDS))[:-2]}"
    if value < _LARGE_ODDS:
        return f"{value:.2g}:1"
    return f"{value:,.0f}:1" if value < _WHOLE_ODDS else "over 1,000,000:1"
