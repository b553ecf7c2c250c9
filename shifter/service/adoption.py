"""Which policy is in force for a shift: the file's, unless taking it over would move or strand traffic.

An edit never moves traffic by itself. New steps, soaks and limits hold from the next decision on. Another
namespace, route or selector is another shift in disguise: while any share is on the target, it waits for 0 %.
A file that is gone or broken leaves the last good policy in force, holds the climb, and says so.

A disk can hang as well as a network, and a look at a folder on one has no timeout: so it is read in a lane, and waited
for once, like everybody who is asked in a tick.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from shifter.core.documents.overlaps import common_members
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.records import SERVICE, NewRecord, What
from shifter.core.state import ShiftState
from shifter.errors import ConfigError, Problem
from shifter.service.act import Place
from shifter.service.gathering import Gathering
from shifter.service.lanes import CallLanes, Priority
from shifter.service.policy_files import PolicyFolder, PolicySet
from shifter.service.telemetry import Telemetry
from shifter.service.turn import Shift

LANE: Final = "policies"


class Adoption:
    """Takes policy files over into shifts, once per look.

    `patience` is how long a look waits for the folder; one that hangs is waited for once.
    """

    def __init__(self, folder: PolicyFolder, telemetry: Telemetry, lanes: CallLanes, patience: timedelta) -> None:
        self._folder = folder
        self._telemetry = telemetry
        self._lanes = lanes
        self._patience = patience
        self._asked: Future[PolicySet] | None = None
        self._last = PolicySet()
        self._told: frozenset[Problem] = frozenset()
        self._complete = False

    @property
    def complete(self) -> bool:
        """Whether the last look read every policy that there is: a shift that nobody knows then has none."""
        return self._complete

    def reload(self, shifts: MutableMapping[str, Shift], now: datetime, unread: Collection[str] = ()) -> None:
        """Read the folder and bring every shift's policy up to date, adding shifts for new files.

        Those of which the store has a state that cannot be read (`unread`) are not new, and are left alone.
        """
        self._complete = False
        try:
            found = self._read()
        except ConfigError as error:
            # Started without its folder: what is remembered must still be watched, and still be able to go back.
            if not (shifts or unread):
                raise
            found = PolicySet(problems=error.problems)
        self._tell_problems(found)
        under_way = _under_way(shifts)
        for name, policy in found.policies.items():
            if name in unread:
                continue
            if name not in shifts:
                shifts[name] = Shift(Place(ShiftState(name=name, policy=policy, since=now), version=0))
            shifts[name].policy_problem = _stale_reason(found, name)
            if not shifts[name].policy_problem:
                shifts[name].policy_problem = _claimed(under_way, name, policy)
            if not shifts[name].policy_problem:
                _take_over(shifts[name], policy, now)
        for name in shifts.keys() - found.policies.keys():
            shifts[name].policy_problem = "its policy file is gone; restore it, or roll the shift back"
        self._complete = not found.problems

    def _read(self) -> PolicySet:
        """Return what the folder holds; if it does not answer, what it held before, all of it stale.

        Raises:
            ConfigError: as `PolicyFolder.reload`.
        """
        late = self._asked is not None
        asked = self._asked or self._lanes.run(LANE, Priority.READ, self._folder.reload)
        self._asked = asked
        if not late:
            wait([asked], timeout=self._patience.total_seconds())
        if asked.done():
            self._asked = None
            self._last = asked.result()
            return self._last
        problem = self._folder.trouble("has not answered in time: does its disk hang?")
        return replace(self._last, problems=(problem,), stale=frozenset(self._last.policies))

    def _tell_problems(self, found: PolicySet) -> None:
        """Log what is wrong with the files, each problem when it comes up, and none again while it stays."""
        told, self._told = self._told, frozenset(found.problems)
        for problem in sorted(self._told - told):
            self._telemetry.warn("policy.problem", file=problem.file, reason=str(problem))


def _stale_reason(found: PolicySet, name: str) -> str:
    if name not in found.stale:
        return ""
    file = found.files.get(name, "its file")
    said = [str(problem) for problem in found.problems if problem.file in {file, str(Path(file).parent)}]
    said = said or [f"{file} does not say so any more"]
    return f"the last good policy stays in force: {said[0]}"


def _under_way(shifts: Mapping[str, Shift]) -> dict[str, list[str]]:
    """Return which shifts a route is under way in, by the route's id; gathered once for all policies."""
    found: dict[str, list[str]] = {}
    for name, shift in sorted(shifts.items()):
        state = shift.place.state
        if state.share == 0 and state.intent is None and state.phase in {Phase.WAITING, Phase.ROLLED_BACK}:
            continue
        for route in state.policy.routes:
            found.setdefault(route.id, []).append(name)
    return found


def _claimed(under_way: Mapping[str, Sequence[str]], name: str, policy: ShiftPolicy) -> str:
    """Say whose routes the policy would take while they are under way under another name's policy."""
    for route in sorted(route.id for route in policy.routes):
        if others := [other for other in under_way.get(route, ()) if other != name]:
            return f"{route} is still under way as {others[0]}"
    return ""


def _take_over(shift: Shift, policy: ShiftPolicy, now: datetime) -> None:
    place = shift.place
    state = place.state
    if policy == state.policy:
        return
    if policy.identity != state.policy.identity:
        if state.verified_at is not None and (route := _swapped_on(state.policy, policy)):
            shift.policy_problem = f"source and target changed places on {route}: an edit never does that; undo it"
            return
        if state.share > 0 or state.intent is not None or state.phase not in {Phase.WAITING, Phase.ROLLED_BACK}:
            shift.policy_problem = "namespaces, routes or selectors were edited: the edit waits for 0 %"
            return
        # New routes were never written: what they look like now is checked before the first step.
        place.state = state.model_copy(update={"policy": policy, "weights": {}, "verified_at": None, "standing": None})
        shift.seen = Gathering()
    elif policy.spec.analysis.judges_like(state.policy.spec.analysis):
        # Patience alone is another: the evidence is what it was.
        place.state = state.model_copy(update={"policy": policy})
    elif state.share > 0 or state.intent is not None:
        # What the target was held against is another thing now, so that the evidence is void; the odds are not.
        place.state = state.model_copy(update={"policy": policy, "attempt": state.attempt + 1})
        if not policy.spec.analysis.errors.fails_like(state.policy.spec.analysis.errors):
            # Nor is it known what the source is like by the new rules.
            place.state = place.state.model_copy(update={"standing": None})
            shift.seen.standing = None
    else:
        # What was learnt of the source was counted by the old rules.
        place.state = state.model_copy(update={"policy": policy, "standing": None})
        shift.seen = Gathering()
    if place.version > 0:
        place.records.append(NewRecord(now, state.name, What.POLICY, SERVICE, "an edited policy is in force"))


def _swapped_on(before: ShiftPolicy, after: ShiftPolicy) -> str:
    """Return a route on which one side now selects what the other did; empty if there is none.

    Even at 0 % that is no edit to take over: from then on a rollback would send everything to Istio.
    """
    were = {route.id: route for route in before.routes}
    for route in after.routes:
        was = were.get(route.id)
        if was and (common_members(was.source, route.target) or common_members(was.target, route.source)):
            return route.id
    return ""
