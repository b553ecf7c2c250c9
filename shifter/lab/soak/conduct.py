"""Conducts a soak: strikes and undoes what is due, lets people order, and sees to it that something always moves.

One thread, one loop, no waiting for anybody but processes that start or stop. A mover (a third person) puts
every shift that rests back on its way, so that faults meet writes, not sleep; in the calm at the end all come to rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final

from shifter.core.deciding.orders import Verb
from shifter.core.state import Report
from shifter.errors import StoreUnavailableError
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import EVERYBODY, NOBODY, Incident, UserSecond
from shifter.lab.soak.hands import CloudHands, FileHands, Notes, Undo
from shifter.lab.soak.machines import MachineHands
from shifter.lab.soak.people import Desk
from shifter.lab.soak.plan import Asked, Trouble, calm_seconds
from shifter.lab.stage import Stage

_LOOP_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 0.5
_MOVER: Final = "eve"
_BETWEEN_ORDERS_SECONDS: Final = 6.0
_PATIENCE_SECONDS: Final[Mapping[str, float]] = {
    "Completed": 4.0,
    "RolledBack": 2.0,
    "pause": 9.0,
    "drift": 7.0,
    "preflight": 7.0,
    "freeze": 5.0,
    "approval": 4.0,
    "stepped back": 6.0,
}
_FIRST_WISHES: Final[Mapping[str, str]] = {"freeze": "unfreeze", "drift": "reconcile", "preflight": "rollback"}
_LATER_WISHES: Final[Mapping[str, str]] = {"pause": "resume", "stepped back": "retry", "approval": "approve"}
"""What ends a hold, the first that applies: before and after what a shift that rests is asked for."""

_YES: Final[Mapping[str, tuple[str, ...]]] = {"rollback": ("--yes",), "unfreeze": ("--yes",)}
_RECONCILING: Final = (("reconcile", ("--restore", "--yes")), ("reconcile", ("--adopt", "--yes")))
GATE_PERCENT: Final = 50.0
"""The first namespace needs somebody's approval before this share."""

_LAST_WORD_SECONDS: Final = 0.55
"""After this part of the calm, whoever has not come to rest is rolled back."""

_CALM_LEAST_SECONDS: Final = 40.0
"""A calm may last so long however short the soak, and however late it began: a busy machine is no fault of shifter."""

_REST_SECONDS: Final = 4.0
_RESTING: Final = frozenset({"Completed", "RolledBack"})
_HALFWAY_PERCENT: Final = 50.0

Tell = Callable[[str, str], None]


@dataclass(slots=True)
class _Open:
    """A trouble in force."""

    trouble: Trouble
    began_at: float
    undo: Undo
    told: str


@dataclass(slots=True)
class _Rest:
    """Since when a shift gives the same picture, and when the mover last ordered something of it."""

    picture: str = ""
    since: float = 0.0
    ordered_at: float = 0.0


@dataclass(slots=True)
class Kept:
    """What the conductor keeps for the checker."""

    incidents: list[Incident] = field(default_factory=list)
    seconds: dict[tuple[str, int], UserSecond] = field(default_factory=dict)
    calm_at: float = 0.0


class Conductor:
    """One soak on one stage.

    Args:
        stage: running, with users on it.
        troubles: what to do, by time.
        seconds: how long it goes on, the calm included; it ends earlier once all shifts rest in the calm, and later if
            they do not and the calm was short.
        desk: where people order.
        tell: is told every event, as subject and sentence.
    """

    def __init__(self, stage: Stage, troubles: Sequence[Trouble], seconds: float, desk: Desk, tell: Tell) -> None:
        # What this version of shifter cannot do is not asked of it.
        verbs = {str(verb) for verb in Verb}
        gated = next(iter(stage.spec.balancer_of)) if "approve" in verbs else ""
        reconciling = _RECONCILING if "reconcile" in verbs else ()
        self._stage = stage
        self._seconds = seconds
        self._desk = desk
        self._tell = tell
        self.began_at = time.time()
        self.notes = Notes()
        self.kept = Kept()
        self._due = list(troubles)
        self._asked: list[tuple[float, Asked]] = []
        self._open: list[_Open] = []
        self._rests: dict[str, _Rest] = {name: _Rest() for name in stage.spec.balancer_of}
        cloud = CloudHands(stage, self.notes)
        files = FileHands(stage.spec.directory / "policies", self.notes)
        self.machines = MachineHands(stage, cloud, self.began_at)
        self._acts = {**cloud.acts(), **files.acts(), **self.machines.acts(), Kind.ORDERS: self._order}
        for name in stage.spec.balancer_of:
            files.remember(name, self.began_at, GATE_PERCENT if name == gated else None)
        self._about_drift = cycle((("rollback", ("--yes",)), *reconciling))
        self._looked_at = 0.0
        self._rested_since = 0.0
        self._pause = threading.Event()

    def play(self) -> None:
        """Go through the plan and the calm after it."""
        calm_at = self.began_at + self._seconds - calm_seconds(self._seconds)
        while (now := time.time()) < calm_at:
            self._round(now, calm=False)
            self._pause.wait(_LOOP_SECONDS)
        self._make_calm()
        ends_at = max(self.began_at + self._seconds, self.kept.calm_at + _CALM_LEAST_SECONDS)
        while (now := time.time()) < ends_at and not self._all_rest(now):
            self._round(now, calm=True)
            self._pause.wait(_LOOP_SECONDS)
        self.collect()

    def collect(self) -> None:
        """Take over what users saw since the last time; the load forgets its oldest seconds."""
        for name, load in self._stage.users().namespaces.items():
            for second in load.timeline:
                seen = UserSecond(second.at, name, second.requests, second.failed, dict(second.by_mesh))
                self.kept.seconds[name, second.at] = seen

    def _round(self, now: float, *, calm: bool) -> None:
        while self._due and self.began_at + self._due[0].at_seconds <= now:
            self._strike(self._due.pop(0))
        for each in [each for each in self._open if each.began_at + each.trouble.lasts_seconds <= now]:
            self._end(each)
        for at, asked in [each for each in self._asked if each[0] <= now]:
            self._asked.remove((at, asked))
            self._desk.order(asked.verb, asked.shift, asked.by, asked.words)
        self.machines.advance(now)
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self.collect()
            self._move(now, calm=calm)

    def _strike(self, trouble: Trouble) -> None:
        at = time.time()
        told, undo = self._acts[trouble.kind](trouble)
        self._open.append(_Open(trouble, at, undo, told))
        self._tell(f"!{trouble.number}", f"{trouble.kind}{_whom(trouble)}: {told}")

    def _end(self, each: _Open) -> None:
        said = each.undo()
        self._open.remove(each)
        trouble = each.trouble
        everybody = frozenset(self._stage.spec.balancer_of)
        self.kept.incidents.append(
            Incident(
                number=trouble.number,
                kind=trouble.kind,
                began_at=each.began_at,
                ended_at=time.time(),
                namespaces=frozenset(trouble.namespaces) or everybody,
                meshes=frozenset(trouble.meshes),
                hurts=_hurts(trouble),
                told=each.told,
            )
        )
        self._tell(f"!{trouble.number}", f"over after {time.time() - each.began_at:.1f} s: {said}")

    def _order(self, trouble: Trouble) -> tuple[str, Undo]:
        now = time.time()
        self._asked += [(now + asked.after_seconds, asked) for asked in trouble.orders]
        said = ", ".join(f"{asked.by} {asked.verb} {' '.join(asked.words)}".strip() for asked in trouble.orders)
        return said, lambda: "said"

    def _make_calm(self) -> None:
        for each in list(self._open):
            self._end(each)
        self._stage.emulator.faults.clear()
        self.kept.calm_at = time.time()
        self._tell("calm", "everything is undone; now it must end well")

    def _move(self, now: float, *, calm: bool) -> None:
        try:
            reports = self._stage.reports()
        except StoreUnavailableError:
            return
        resting = True
        for name, rest in self._rests.items():
            report = reports.get(name)
            if report is None:
                resting = False
                continue
            picture = _picture(report)
            if picture != rest.picture:
                rest.picture, rest.since = picture, now
                self._tell(name, f"{report.phase} {_percent(report.written)}  {report.reason}")
            resting = resting and _rests(report)
            wish = self._last_wish(report, now) if calm else _wish(report, now - rest.since)
            # All shifts wish for the end of one freeze.
            last = max(each.ordered_at for each in self._rests.values()) if wish == "unfreeze" else rest.ordered_at
            if wish and now - last > _BETWEEN_ORDERS_SECONDS:
                rest.ordered_at = now
                verb, words = next(self._about_drift) if wish == "reconcile" else (wish, _YES.get(wish, ()))
                self._desk.order(verb, EVERYBODY if verb == "unfreeze" else name, _MOVER, words)
        self._rested_since = self._rested_since if resting and self._rested_since else now if resting else 0.0

    def _last_wish(self, report: Report, now: float) -> str:
        """What brings a shift to rest: home if it has not come half way, or if it takes too long."""
        if _rests(report):
            return ""
        kinds = {str(hold.kind) for hold in report.holds}
        if "freeze" in kinds:
            return "unfreeze"
        late = now > self.kept.calm_at + _LAST_WORD_SECONDS * calm_seconds(self._seconds)
        if late or kinds & {"drift", "preflight"} or (report.written or 0.0) < _HALFWAY_PERCENT:
            if "hands off" in kinds:
                return "resume"
            return "rollback" if str(report.phase) != "RollingBack" else ""
        if "stepped back" in kinds:
            return "retry"
        return "approve" if "approval" in kinds else "resume" if kinds & {"pause", "hands off"} else ""

    def _all_rest(self, now: float) -> bool:
        return self._desk.quiet() and bool(self._rested_since) and now - self._rested_since > _REST_SECONDS


def _hurts(trouble: Trouble) -> frozenset[str]:
    """Whose answers may fail: a rule whose targets are all gone answers by itself, so does one whose gateway is."""
    hurting: Mapping[Kind, Sequence[str]] = {
        Kind.FAILING: trouble.meshes,
        Kind.GATEWAY: (*trouble.meshes, NOBODY),
        Kind.DEAD: (NOBODY,),
    }
    return frozenset(hurting.get(trouble.kind, ()))


def _whom(trouble: Trouble) -> str:
    return f" ({', '.join(trouble.namespaces)})" if trouble.namespaces else ""


def _picture(report: Report) -> str:
    return f"{report.phase} {_percent(report.written)} {sorted(str(hold.kind) for hold in report.holds)}"


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.4g} %"


def _rests(report: Report) -> bool:
    holds = {str(hold.kind) for hold in report.holds}
    return str(report.phase) in _RESTING and not holds & {"drift", "preflight"}


def _wish(report: Report, seconds: float) -> str:
    """What gets a shift moving again that has given the same picture for some time."""
    phase, kinds = str(report.phase), {str(hold.kind) for hold in report.holds}
    resting = {phase: "rollback" if phase == "Completed" else "retry"} if phase in _RESTING else {}
    wishes = {**_FIRST_WISHES, **resting, **_LATER_WISHES}
    due = (verb for why, verb in wishes.items() if why in {phase, *kinds} and seconds > _PATIENCE_SECONDS[why])
    return next(due, "")
