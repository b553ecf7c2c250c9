"""Looks at what runs in the meshes' clusters, and asks the source's autoscalers for the floors that saved pins need.

A cluster may not answer, so both go through lanes and are never waited for beyond a look's deadline. What is asked for
follows from what is saved and what was seen (`core/deciding/pinning.py`); a call that is lost is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

from shifter.core.balancing.splits import Side
from shifter.core.deciding.pinning import GATEWAY, Workload, concerned, pins_of
from shifter.core.state import ShiftState
from shifter.core.text import plain
from shifter.errors import ShifterError
from shifter.ports import SourceWorkload
from shifter.service.lanes import CallLanes, Priority
from shifter.service.observe import MESH

LANE: Final = "workload/source"
"""What calls about the source's gateway line up in."""


class WorkloadObserver:
    """One look and one pin at a time. Without a workload there is nothing to see, and that is no problem.

    `problem` is why it was not seen, `pin_problem` why the floor that was asked for last was not taken; empty if it was
    or nobody knows yet.
    """

    def __init__(
        self, workload: SourceWorkload | None, lanes: CallLanes, lane: str = LANE, name: str = "its workload"
    ) -> None:
        self._workload = workload
        self._lanes = lanes
        self._lane = lane
        self._name = name
        self._asked: Future[Workload] | None = None
        self._pinning: Future[None] | None = None
        self.seen: Workload | None = None
        self.problem = "" if workload is None else f"{name} has not been looked at yet"
        self.pin_problem = ""

    def ask(self) -> list[Future[object]]:
        """Ask what there is, and return what is worth waiting for: a look that is late already is not."""
        if self._workload is None or (self._asked is not None and not self._asked.done()):
            return []
        self._asked = self._lanes.run(self._lane, Priority.READ, self._workload.observe)
        return [cast("Future[object]", self._asked)]

    def answer(self) -> None:
        """Take up what was answered in time; what was not leaves nothing to believe."""
        if self._pinning is None:
            self.pin_problem = ""
        elif self._pinning.done():
            # Asked for again in every look in which it is still not there.
            self.pin_problem, self._pinning = _why_not(self._pinning, f"{self._name} did not take its floor"), None
        if self._asked is None:
            return
        self.seen = None
        if not self._asked.done():
            self.problem = f"{self._name} has not been seen in time"
            return
        self.problem = _why_not(self._asked, f"{self._name} cannot be seen")
        if not self.problem:
            self.seen = self._asked.result()

    def pin(self, floor: int) -> None:
        """Ask for a floor, unless that is under way; whether it came to be is for the next look to say."""
        if self._workload is not None and (self._pinning is None or self._pinning.done()):
            self._pinning = self._lanes.run(self._lane, Priority.CLIMB, partial(self._workload.pin, floor))


class Workloads:
    """The gateway and every Deployment that a shift rests on, by name; each is looked at once for all shifts.

    Args:
        gateway: the mesh's, None where nobody can be asked.
        deployment: makes the workload of a `namespace/name` in its cluster, None where nobody can be asked.
        lanes: what calls go through; those about one namespace line up.
        side: whose cluster.
    """

    def __init__(
        self,
        gateway: SourceWorkload | None,
        deployment: Callable[[str], SourceWorkload] | None,
        lanes: CallLanes,
        side: Side = Side.SOURCE,
    ) -> None:
        self._lane = f"workload/{side}"
        self._mesh = MESH[side]
        self._deployment = deployment
        self._lanes = lanes
        self._of = {GATEWAY: WorkloadObserver(gateway, lanes, self._lane)}

    def ask(self, names: Collection[str]) -> list[Future[object]]:
        """Ask about these and the gateway, and return what is worth waiting for; others are forgotten."""
        wanted = sorted({GATEWAY, *names})
        self._of = {name: self._of.get(name) or self._made(name) for name in wanted}
        return [each for name in wanted for each in self._of[name].ask()]

    def answer(self) -> None:
        """Take up what was answered in time."""
        for observer in self._of.values():
            observer.answer()

    def seen(self, names: Iterable[str]) -> Mapping[str, Workload]:
        """Return what the newest look showed of these."""
        known = {name: self._of[name].seen for name in names if name in self._of}
        return {name: workload for name, workload in known.items() if workload is not None}

    def problem(self, names: Iterable[str]) -> str:
        """Return why one of these is not known; empty if all are, or nobody can be asked about the gateway."""
        for name in names:
            if problem := self._of[name].problem if name in self._of else f"{name} has not been looked at yet":
                return problem
        return ""

    def pin_problem(self, names: Iterable[str]) -> str:
        """Return why the autoscaler of one of these did not take its floor; empty if all did."""
        return next((said for name in names if name in self._of and (said := self._of[name].pin_problem)), "")

    def pin(self, name: str, floor: int) -> None:
        """Ask for a floor."""
        self._of[name].pin(floor)

    def _made(self, name: str) -> WorkloadObserver:
        if self._deployment is not None:
            namespace = name.partition("/")[0]
            return WorkloadObserver(self._deployment(name), self._lanes, f"{self._lane}/{namespace}", name)
        nobody = WorkloadObserver(None, self._lanes, name=name)
        nobody.problem = f"{name}: the fleet's clusters do not say where {self._mesh}'s cluster is"
        return nobody


@dataclass(frozen=True, slots=True)
class TargetCluster:
    """The target's cluster, which is looked at and told nothing: its gateway, and what a `namespace/name` is there."""

    gateway: SourceWorkload
    deployment: Callable[[str], SourceWorkload]


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the newest look showed a shift of both clusters.

    `workloads` are the source's by name, `problem` why one that the shift rests on is not known, `pin_problem` why a
    floor that it pinned was not taken; `target` and `target_problem` the same of the target's. A problem is empty where
    there is none, or nobody is there to ask.
    """

    workloads: Mapping[str, Workload] = field(default_factory=dict)
    problem: str = ""
    pin_problem: str = ""
    target: Mapping[str, Workload] = field(default_factory=dict)
    target_problem: str = ""


class CapacityObserver:
    """Both clusters, for all shifts.

    Args:
        gateway: as of `Workloads`, the source's.
        deployment: as of `Workloads`, in the source's cluster.
        target: the target's cluster, None where nobody can be asked.
        lanes: what calls go through.
    """

    def __init__(
        self,
        gateway: SourceWorkload | None,
        deployment: Callable[[str], SourceWorkload] | None,
        target: TargetCluster | None,
        lanes: CallLanes,
    ) -> None:
        self._source = Workloads(gateway, deployment, lanes)
        self._target = None if target is None else Workloads(target.gateway, target.deployment, lanes, Side.TARGET)

    def ask(self, states: Collection[ShiftState]) -> list[Future[object]]:
        """Ask about everything that these shifts rest on or have pinned; return what is worth waiting for."""
        asked = self._source.ask({name for state in states for name in (*concerned(state.policy), *pins_of(state))})
        if self._target is not None:
            asked += self._target.ask({name for state in states for name in concerned(state.policy)})
        return asked

    def answer(self) -> None:
        """Take up what was answered in time."""
        self._source.answer()
        if self._target is not None:
            self._target.answer()

    def seen(self, state: ShiftState) -> Capacity:
        """Return what concerns one shift."""
        names, pinned = concerned(state.policy), pins_of(state)
        return Capacity(
            workloads=self._source.seen({*names, *pinned}),
            problem=self._source.problem(names),
            pin_problem=self._source.pin_problem(pinned),
            target={} if self._target is None else self._target.seen(names),
            target_problem="" if self._target is None else self._target.problem(names),
        )

    def pin(self, name: str, floor: int) -> None:
        """Ask for a floor in the source's cluster."""
        self._source.pin(name, floor)


def _why_not(done: Future[Workload] | Future[None], bug: str) -> str:
    """Return why a call failed, empty if it did not; a bug in it holds, and stops no way back."""
    error = done.exception()
    if error is None:
        return ""
    return plain(str(error) if isinstance(error, ShifterError) else f"{bug}: {type(error).__name__}: {error}")
