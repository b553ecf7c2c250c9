"""The way back: what the source had when it carried everything, what is left of it, and how much it could take back.

Autoscalers shrink a mesh as its traffic leaves it. So what the source has is recorded right before the first step, when
it still carries everything, and looked at from then on: healthy members of each route, gateway pods that the metrics
show, and ready replicas, of the gateway and of the Deployments that the policy names, where somebody says how many.
The scarcest of them counts. A policy says how much of what there was carries everything (`wayBack.keepPercent`); so a
part of that carries this part of the traffic.

What one look shows is not believed: pods come and go. A number is believed once two looks in a row are below, or above,
what was believed before, and then the one that is nearer to it; a pod that restarts within `sampleMaxAge` does not
even miss from one. A number that nobody says stays as it was: that is `no signal`, and no sign of a cold source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shifter.core.balancing.splits import FULL_PERCENT, Health, RouteView, Side
from shifter.core.deciding.pinning import GATEWAY, Workload, concerned
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.state import ShiftState, WayBack

PODS: Final = "gateway pods"
REPLICAS: Final = "ready replicas"
_REPLICAS_OF: Final = f"{REPLICAS} of "
_MEMBERS: Final = "healthy members on "

_NOISE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is believed of the source, and what the newest look showed of it; numbers by what was counted."""

    believed: Mapping[str, int] = field(default_factory=dict)
    newest: Mapping[str, int] = field(default_factory=dict)

    def look(self, shown: Mapping[str, int]) -> Sighting:
        """Return the sighting after one more look; what it does not show is believed to be as it was.

        But for routes: all are shown or none, so one that is missing is the policy's no more.
        """
        routes = any(what.startswith(_MEMBERS) for what in shown)
        kept = {what: number for what, number in self.believed.items() if not (routes and what.startswith(_MEMBERS))}
        believed = {what: self._believed(what, number) for what, number in shown.items()}
        known = {what: number for what, number in believed.items() if number is not None}
        return Sighting({**kept, **known}, dict(shown))

    def _believed(self, what: str, now: int) -> int | None:
        before, newest = self.believed.get(what), self.newest.get(what)
        if before is None:
            # Nothing at all is no first impression: it takes a second look.
            return now if now > 0 or newest == 0 else None
        if newest is None or (now - before) * (newest - before) <= 0:
            return before
        return max(now, newest) if now < before else min(now, newest)


def counted(
    views: Mapping[str, RouteView] | None, pods: int | None, workloads: Mapping[str, Workload] | None = None
) -> dict[str, int]:
    """Return what one look shows of the source.

    Args:
        views: the routes as read back, None if nobody answered.
        pods: the source's gateway pods in the metrics, None if the datasource did not answer. None at all while the
            balancer sends to a member is no evidence, but a scrape that went wrong.
        workloads: those of which somebody says how many replicas are ready.
    """
    sources = {
        route: [member.health for member in view.members if member.side is Side.SOURCE]
        for route, view in (views or {}).items()
    }
    shown = {f"{_MEMBERS}{route}": sum(each is not Health.DEAD for each in found) for route, found in sources.items()}
    if pods is not None and (pods > 0 or (shown and not any(shown.values()))):
        shown[PODS] = pods
    for name, workload in (workloads or {}).items():
        shown[_replicas_of(name)] = workload.ready
    return shown


def relevant(policy: ShiftPolicy, numbers: Mapping[str, int]) -> dict[str, int]:
    """Return what of the numbers concerns a policy: not those of Deployments that it does not name."""
    named = {_replicas_of(name) for name in concerned(policy)}
    return {what: number for what, number in numbers.items() if not what.startswith(REPLICAS) or what in named}


def recorded(believed: Mapping[str, int], now: datetime, before: WayBack | None) -> WayBack | None:
    """Return what the source has now that it carries everything; what was recorded before if nobody knows."""
    had = {what: number for what, number in believed.items() if number > 0}
    return WayBack(at=now, had=had, left=had) if had else before


def watched(state: ShiftState, believed: Mapping[str, int]) -> WayBack | None:
    """Return the record with what is left by now; what nobody knows of is as it was.

    A Deployment that the policy names no more counts no more.
    """
    way_back = state.way_back
    if way_back is None:
        return None
    had = relevant(state.policy, way_back.had)
    now = WayBack(at=way_back.at, had=had, left={what: believed.get(what, way_back.left[what]) for what in had})
    return way_back if now == way_back else now


def could_carry(state: ShiftState) -> float:
    """Return how much of all traffic the source could carry, percent, by the policy's word; 100 where nobody knows."""
    keep = state.policy.spec.way_back.keep_percent
    if state.way_back is None or keep == 0:
        return FULL_PERCENT
    parts = [left / had for had, left in _pairs(state.way_back).values()]
    return min(FULL_PERCENT, FULL_PERCENT * min(parts, default=1.0) * FULL_PERCENT / keep)


def lowest_share(state: ShiftState) -> float:
    """Return the share, whole percent, below which the source would get more than it could carry; 0 is none."""
    return float(math.floor(FULL_PERCENT - could_carry(state) + _NOISE))


def shortness(state: ShiftState) -> str:
    """Return what the source lacks to take everything back, whatever the share is; empty if it lacks nothing."""
    carries = could_carry(state)
    if state.way_back is None or carries >= FULL_PERCENT:
        return ""
    scarcest, had, left = _scarcest(state.way_back)
    back = "nothing could be taken back" if carries == 0 else f"it could take back about {carries:.0f} %"
    return f"tcm has {left} of the {had} {scarcest} that carried everything; {back}"


def cold(state: ShiftState) -> str:
    """Return why not everything could be taken back now, and what mends it; empty if it could, or nothing is out."""
    out = state.share > 0 or (state.intent is not None and state.intent.to_share > 0)
    said = shortness(state)
    if not (out and said):
        return ""
    assert state.way_back is not None  # noqa: S101 - what was never recorded lacks nothing
    what = "it" if _scarcest(state.way_back)[0].startswith(_REPLICAS_OF) else "its gateway"
    return f"{said}: scale {what} up, and raise its autoscaler's floor"


def unready(state: ShiftState, workloads: Mapping[str, Workload]) -> str:
    """Return why a shift that has not begun could not go back: a workload without any ready replica; empty if none.

    The source carries everything now, so it is not what the policy rests on, or about to fail: no time to begin.
    """
    gone = _without_replicas(state, workloads)
    if state.phase is not Phase.WAITING or not gone:
        return ""
    return f"tcm has no {_replicas_of(gone[0])}, though it carries everything: is that the right Deployment?"


def idle(state: ShiftState, workloads: Mapping[str, Workload]) -> str:
    """Return why the target could carry nothing: a workload of its cluster without a ready replica; empty if none.

    How many it needs for a share is not asked: its autoscalers add them as traffic comes, and whether they do so in
    time is seen in what is measured.
    """
    gone = _without_replicas(state, workloads)
    return f"istio has no {_replicas_of(gone[0])}: deploy it there, or scale it up" if gone else ""


def _without_replicas(state: ShiftState, workloads: Mapping[str, Workload]) -> list[str]:
    return [name for name in concerned(state.policy) if name in workloads and workloads[name].ready == 0]


def lines(way_back: WayBack) -> list[str]:
    """Return what was recorded and what is left of it, as people read it; a line for each number."""
    return [
        f"{had} {what}" if left == had else f"{left} of {had} {what}" for what, (had, left) in _pairs(way_back).items()
    ]


def _scarcest(way_back: WayBack) -> tuple[str, int, int]:
    """Return of what the least is left, how much there was and how much is left."""
    pairs = _pairs(way_back)
    what = min(pairs, key=lambda each: pairs[each][1] / pairs[each][0])
    return what, *pairs[what]


def _replicas_of(name: str) -> str:
    """Return what the ready replicas of a workload are counted as."""
    return REPLICAS if name == GATEWAY else f"{_REPLICAS_OF}{name}"


def _pairs(way_back: WayBack) -> dict[str, tuple[int, int]]:
    """Return what there was and what is left, by what was counted."""
    return {what: (had, way_back.left[what]) for what, had in sorted(way_back.had.items())}
