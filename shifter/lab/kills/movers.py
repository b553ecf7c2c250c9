"""What is to be done to get something going that a failpoint needs: pure, from the newest reports alone.

Nearly all of it is an order. Nobody can order a share to fall by itself: for that a member is taken out of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shifter.core.deciding.holds import HoldKind
from shifter.core.phases import Phase
from shifter.core.state import Report
from shifter.lab.checker.seen import EVERYBODY
from shifter.lab.kills.plan import Need

_NEARLY_ALL_PERCENT = 99.0
_NEARLY_NONE_PERCENT = 1.0
_KEPT = frozenset({Need.OPENING, Need.FALL})
"""What shifter meets with new weights for the same share."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One order to give; `words` are what the command line wants besides."""

    verb: str
    shift: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fall:
    """Let the share of a shift fall by itself: a member of its target is unbound."""

    shift: str


def ask_for(need: Need, reports: Mapping[str, Report]) -> Ask | Fall | None:
    """Return what brings about what is needed, or comes nearer to it; None if nothing is to be done."""
    if not reports or _comes_by_itself(need, reports):
        return None
    frozen = any(_held(report, HoldKind.FREEZE) for report in reports.values())
    if need is Need.FREEZE or frozen:
        verb = "unfreeze" if frozen else "freeze"
        return Ask(verb, EVERYBODY, ("--yes",) if frozen else ())
    if need is Need.ORDER:
        name, report = next(iter(sorted(reports.items())))
        return Ask("resume" if _held(report, HoldKind.PAUSE) else "pause", name)
    if need is Need.RETREAT:
        return _back(reports) or _up(reports)
    return (_fall(reports) if need in _KEPT else None) or _up(reports) or _back(reports)


def ask_to_end(report: Report) -> Ask | None:
    """Return what lets one shift come to its end by itself; None if nothing is in its way."""
    if _held(report, HoldKind.FREEZE):
        return Ask("unfreeze", EVERYBODY, ("--yes",))
    if _held(report, HoldKind.PAUSE):
        return Ask("resume", report.name)
    return Ask("retry", report.name) if report.phase is Phase.ROLLED_BACK else None


def _comes_by_itself(need: Need, reports: Mapping[str, Report]) -> bool:
    opening = need is Need.OPENING and any(report.phase is Phase.WAITING for report in reports.values())
    return opening or need is Need.NOTHING


def _held(report: Report, kind: HoldKind) -> bool:
    return any(hold.kind == kind for hold in report.holds)


def _up(reports: Mapping[str, Report]) -> Ask | None:
    """Let the lowest shift climb that can, so that all of them get about; else one that has gone back starts over."""
    ready = [report for report in reports.values() if report.phase in {Phase.WAITING, Phase.SHIFTING}]
    ready = [report for report in ready if (report.written or 0.0) < _NEARLY_ALL_PERCENT]
    if ready:
        return Ask("promote", min(ready, key=_height).name)
    gone_back = [name for name, report in reports.items() if report.phase is Phase.ROLLED_BACK]
    return Ask("retry", min(gone_back)) if gone_back else None


def _back(reports: Mapping[str, Report]) -> Ask | None:
    """Let the highest shift go back that can."""
    able = [report for report in reports.values() if report.phase in {Phase.SHIFTING, Phase.COMPLETED}]
    able = [report for report in able if (report.written or 0.0) > _NEARLY_NONE_PERCENT]
    return Ask("rollback", max(able, key=_height).name, ("--yes",)) if able else None


def _fall(reports: Mapping[str, Report]) -> Fall | None:
    """Let the lowest shift fall that both meshes have a part of: at 0 and at 100 % no member makes a difference."""
    able = [report for report in reports.values() if report.phase is Phase.SHIFTING]
    able = [report for report in able if _NEARLY_NONE_PERCENT < (report.written or 0.0) < _NEARLY_ALL_PERCENT]
    return Fall(min(able, key=_height).name) if able else None


def _height(report: Report) -> tuple[float, str]:
    return report.written or 0.0, report.name
