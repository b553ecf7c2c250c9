"""Conducts a drill: arms, gets things going, waits until the service has died of it, starts it again, and times it.

One moment after the other, each ended before the next begins: what a moment did to the service must not be mended or
hidden by the following one. Waits are for something to come about, so that a fast machine is not held up and a slow one
gets on as well. Every wait has an end; what was waited for in vain is written down and fails the drill.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from shifter.core.phases import Phase
from shifter.errors import StoreUnavailableError
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import Incident, Life, UserSecond
from shifter.lab.emulator import Fault, FaultKind
from shifter.lab.failpoints import Act, arm, disarm, fired
from shifter.lab.kills.members import Members
from shifter.lab.kills.movers import Fall, ask_for, ask_to_end
from shifter.lab.kills.plan import Moment, Need, Part
from shifter.lab.kills.watch import OpenWrite, endings, open_writes, told_since
from shifter.lab.processes import ProcessNotReadyError
from shifter.lab.soak.people import Desk
from shifter.lab.stage import Stage
from shifter.lab.topology import MESHES, SOURCE_MESH, TARGET_MESH

PERSON: Final = "ann"
HIT_SECONDS: Final = 120.0
"""How long a failpoint may take to be reached; a busy machine is no fault of shifter."""

RECOVERY_SECONDS: Final = 120.0
END_SECONDS: Final = 240.0
_OVER_SECONDS: Final = 0.5
"""How much longer than a write's deadline something stands still."""

_LOOK_SECONDS: Final = 0.05
_COLLECT_SECONDS: Final = 5.0
_DEATH_SECONDS: Final = 30.0
_NEWEST: Final = 300
"""Records among which every write under way is: none lasts for more than a few of them."""

_KIND_OF: Final = {
    None: Kind.FROZEN,
    Part.SOURCE_METRICS: Kind.HUNG_METRICS,
    Part.TARGET_METRICS: Kind.HUNG_METRICS,
    Part.CLOUD: Kind.CLOUD,
}
_FAULT_OF: Final = {Need.FAILURE: FaultKind.TASK_FAILS, Need.MIXTURE: FaultKind.TASK_HALF}
_OPENED: Final = frozenset({Need.FALL, *_FAULT_OF})
"""What is not meant to strike a shift's very first write, which brings tcm to full weight and raises nothing."""

_FAULTS: Final = 10
"""More than are needed: a part may be none of a write's targets, or all."""

_MESHES_OF: Final = {Part.SOURCE_METRICS: (SOURCE_MESH,), Part.TARGET_METRICS: (TARGET_MESH,)}

Tell = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one moment.

    Args:
        moment: which one.
        hit: whether it was reached.
        seconds: from then on until all shifts were told of and no write from before was open; None if never.
        ends: in words, what became of the writes that were open.
        took_seconds: altogether, from the arming until the next moment may begin.
    """

    moment: Moment
    hit: bool
    seconds: float | None
    ends: tuple[str, ...] = ()
    took_seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether it was reached, and got over."""
        return self.hit and self.seconds is not None


@dataclass(slots=True)
class Notes:
    """What the checker is told besides what the parts have on record themselves."""

    lives: list[Life]
    incidents: list[Incident] = field(default_factory=list)
    seconds: dict[tuple[str, int], UserSecond] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    calm_at: float = 0.0


class Conductor:
    """One drill on one stage, of which the service has failpoints and the emulator a relay.

    Args:
        stage: running, with users on it.
        armed: the file that arms a failpoint.
        operation_seconds: how long the service gives a write; what is stopped stands still for longer.
        desk: where people order.
        tell: is told every event, as subject and sentence.
    """

    def __init__(self, stage: Stage, armed: Path, operation_seconds: float, desk: Desk, tell: Tell) -> None:
        self._stage = stage
        self._armed = armed
        self._operation_seconds = operation_seconds
        self._desk = desk
        self._tell = tell
        self.began_at = time.time()
        self.notes = Notes([Life(self.began_at)])
        self._shifts = tuple(stage.spec.balancer_of)
        self._members = Members(stage)
        self._asked_at: float | None = 0.0
        self._collected_at = 0.0
        self._pause = threading.Event()

    @property
    def members(self) -> Members:
        """Who came and went meanwhile."""
        return self._members

    def play(self, moments: Sequence[Moment]) -> tuple[Outcome, ...]:
        """Go through all moments."""
        self._stage.service.start_ahead()
        self._until(lambda: told_since(0, self._shifts, self._stage.reports()), RECOVERY_SECONDS)
        outcomes = []
        for number, moment in enumerate(moments, start=1):
            began_at = time.monotonic()
            outcome = self._play(number, moment)
            self._bring_back(number)
            outcomes.append(replace(outcome, took_seconds=round(time.monotonic() - began_at, 1)))
            self._tell(f"{number}/{len(moments)}", words_of(outcomes[-1]))
        return tuple(outcomes)

    def end(self) -> bool:
        """Let every shift come to its end by itself; return whether all did."""
        self._stage.emulator.faults.clear()
        self.notes.calm_at = time.time()

        def ended() -> bool:
            reports = self._stage.reports()
            asks = {ask: report.reason for report in reports.values() if (ask := ask_to_end(report)) is not None}
            if asks and self._was_heard():
                self._asked_at = None
                for ask, reason in asks.items():
                    self._desk.order(ask.verb, ask.shift, PERSON, ask.words)
                    self._tell(ask.shift, f"{reason}: {ask.verb}")
            return self._desk.quiet() and all(report.phase is Phase.COMPLETED for report in reports.values())

        return self._until(ended, END_SECONDS)

    def collect(self) -> None:
        """Take over what users saw since the last time; the load forgets its oldest seconds."""
        self._collected_at = time.monotonic()
        for name, load in self._stage.users().namespaces.items():
            for second in load.timeline:
                seen = UserSecond(second.at, name, second.requests, second.failed, dict(second.by_mesh))
                self.notes.seconds[name, second.at] = seen

    def _play(self, number: int, moment: Moment) -> Outcome:
        if moment.need in _OPENED or moment.act is Act.STOP:
            self._until(self._is_opened, HIT_SECONDS)
        if moment.part is not None:
            return self._freeze_part(number, moment)
        began_at = time.time()
        fault = _FAULT_OF.get(moment.need)
        if fault is not None:
            self._stage.emulator.faults.inject(Fault(action="BatchModifyTargetWeight", kind=fault, times=_FAULTS))
        arm(self._armed, moment.name, moment.act)
        hit = self._provoked(moment)
        if fault is not None:
            self._stage.emulator.faults.clear()
            self._note(number, Kind.CLOUD, began_at, f"tasks of the cloud: {fault}")
        if not hit:
            self._raise_up()
            return Outcome(moment, hit=False, seconds=None)
        return self._stopped(number, moment) if moment.act is Act.STOP else self._killed(number, moment)

    def _provoked(self, moment: Moment) -> bool:
        """Order what the moment needs, again if need be, until it was reached; return whether it was."""

        def reached() -> bool:
            if fired(self._armed) is not None:
                return True
            self._ask(moment.need)
            return False

        if self._until(reached, HIT_SECONDS):
            return True
        disarm(self._armed)
        # It may have been reached in the very instant.
        return fired(self._armed) is not None

    def _is_opened(self) -> bool:
        return all(report.phase is not Phase.WAITING for report in self._stage.reports().values())

    def _ask(self, need: Need) -> None:
        """Order, or do, what brings about what is needed, unless something is still coming of the last time."""
        if not self._was_heard():
            return
        ask = ask_for(need, self._stage.reports())
        if ask is None:
            return
        self._asked_at = None
        if isinstance(ask, Fall):
            self._members.move(ask.shift)
        else:
            self._desk.order(ask.verb, ask.shift, PERSON, ask.words)

    def _was_heard(self) -> bool:
        """Whether the service has looked at everything since what was asked for last, and writes nothing any more."""
        if not self._desk.quiet():
            return False
        if self._asked_at is None:
            self._asked_at = time.time()
        return told_since(self._asked_at, self._shifts, self._stage.reports()) and not self._open_writes()

    def _open_writes(self) -> tuple[OpenWrite, ...]:
        return open_writes(self._stage.history(_NEWEST))

    def _bring_back(self, number: int) -> None:
        """Bind again whoever was unbound, and wait until shifter has come to terms with it."""
        if not self._members.bring_all_back():
            return
        self._asked_at = None
        if not self._until(self._was_heard, RECOVERY_SECONDS):
            self.notes.troubles.append(f"shifter did not come to terms with a member that came back (moment {number})")

    def _killed(self, number: int, moment: Moment) -> Outcome:
        hit = fired(self._armed)
        assert hit is not None  # noqa: S101 - the caller looked
        self._bury(hit.at)
        writes = self._open_writes()
        again = not moment.again or self._died_again(moment.again)
        if not self._stage.service.running:
            self._begin_life()
        self._raise_up()
        self._stage.service.start_ahead()
        self._note(number, Kind.KILLED, hit.at, str(moment))
        return replace(self._recovered(moment, hit.at, writes), hit=again)

    def _died_again(self, failpoint: str) -> bool:
        """Start the service to die at a failpoint of its start; return whether it did."""
        arm(self._armed, failpoint, Act.KILL)
        self._begin_life()
        self._until(lambda: fired(self._armed) is not None, HIT_SECONDS)
        disarm(self._armed)
        hit = fired(self._armed)
        if hit is not None:
            self._bury(hit.at)
        return hit is not None

    def _stopped(self, number: int, moment: Moment) -> Outcome:
        hit = fired(self._armed)
        assert hit is not None  # noqa: S101 - the caller looked
        self._stage.service.freeze()
        writes = self._open_writes()
        self._stand_still(moment, writes)
        self._stage.service.thaw()
        self._note(number, Kind.FROZEN, hit.at, str(moment))
        return self._recovered(moment, time.time(), writes)

    def _freeze_part(self, number: int, moment: Moment) -> Outcome:
        """Freeze a part as soon as a write is under way, and let a person order the contrary."""
        part = moment.part
        assert part is not None  # noqa: S101 - the caller looked
        if not self._until(lambda: self._is_writing(moment), HIT_SECONDS):
            return Outcome(moment, hit=False, seconds=None)
        child = self._stage.relay if part is Part.CLOUD else self._stage.plane.process(f"prometheus-{_mesh(part)}")
        at, writes = time.time(), self._open_writes()
        child.freeze()
        self._stand_still(moment, writes)
        if part is not Part.CLOUD and not self._until(lambda: self._is_back(writes), RECOVERY_SECONDS):
            self.notes.troubles.append(f"a rollback was not carried out while {part} stood still")
        child.thaw()
        meshes = frozenset(_MESHES_OF.get(part, MESHES))
        self._note(number, _KIND_OF[part], at, f"SIGSTOP of {part}", meshes)
        return self._recovered(moment, time.time(), writes)

    def _is_writing(self, moment: Moment) -> bool:
        if self._open_writes():
            return True
        self._ask(moment.need)
        return False

    def _stand_still(self, moment: Moment, writes: Sequence[OpenWrite]) -> None:
        """Let the deadline of what is under way go by, while a person may order the contrary."""
        if moment.ordered and writes:
            self._desk.order(moment.ordered, writes[0].shift, PERSON, ("--yes",))
        until = max((write.at for write in writes), default=time.time()) + self._operation_seconds + _OVER_SECONDS
        self._pause.wait(max(0.0, until - time.time()))
        self._until(self._desk.quiet, RECOVERY_SECONDS)

    def _is_back(self, writes: Sequence[OpenWrite]) -> bool:
        return self._stage.reports()[writes[0].shift].phase is Phase.ROLLED_BACK

    def _recovered(self, moment: Moment, since: float, writes: Sequence[OpenWrite]) -> Outcome:
        """Wait until the service tells of all shifts again, has ended what it found open, and obeyed what was asked."""
        back = bool(moment.ordered and writes)

        def over() -> bool:
            if not told_since(since, self._shifts, self._stage.reports()):
                return False
            if endings(writes, self._stage.history(_NEWEST)) is None:
                return False
            return not back or self._is_back(writes)

        good = self._until(over, RECOVERY_SECONDS)
        ends = endings(writes, self._stage.history(_NEWEST)) or ()
        return Outcome(moment, hit=True, seconds=round(time.time() - since, 1) if good else None, ends=ends)

    def _bury(self, at: float) -> None:
        """Note when a life ended that is ending by itself."""
        self._stage.service.wait(_DEATH_SECONDS)
        self.notes.lives[-1] = replace(self.notes.lives[-1], ended_at=at, killed=True)

    def _begin_life(self) -> None:
        self.notes.lives.append(Life(time.time()))
        self._stage.service.start()

    def _raise_up(self) -> None:
        """Wait until the service is ready; one that is not, though nothing is armed, is trouble."""
        try:
            self._stage.service.wait_ready(RECOVERY_SECONDS)
        except ProcessNotReadyError as error:
            self.notes.troubles.append(f"shifter did not come up: {error}")

    def _note(self, number: int, kind: Kind, began_at: float, told: str, meshes: frozenset[str] = frozenset()) -> None:
        everybody = frozenset(self._shifts)
        self.notes.incidents.append(
            Incident(number, kind, began_at, time.time(), everybody, meshes or frozenset(MESHES), told=told)
        )

    def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds; return whether it came about in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if holds():
                    return True
            except StoreUnavailableError:
                pass  # the service may be upgrading or starting; the next look tells
            if time.monotonic() - self._collected_at > _COLLECT_SECONDS:
                self.collect()
            self._pause.wait(_LOOK_SECONDS)
        return False


def _mesh(part: Part) -> str:
    return SOURCE_MESH if part is Part.SOURCE_METRICS else TARGET_MESH


def words_of(outcome: Outcome) -> str:
    """Return an outcome as a line for people."""
    what = str(outcome.moment)
    if not outcome.hit:
        return f"{what}: never reached"
    if outcome.seconds is None:
        return f"{what}: did not recover"
    ends = ", ".join(outcome.ends) or "nothing was under way"
    return f"{what}: recovered after {outcome.seconds:.1f} s; {ends}"
