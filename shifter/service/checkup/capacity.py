"""The meshes' clusters: can be seen what runs there, may autoscalers be told, and is it the cluster of the metrics.

Nothing is pinned. Whether a floor may be changed is asked of whoever grants permissions, not tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from shifter.core.balancing.splits import Side
from shifter.core.deciding.pinning import GATEWAY, Workload
from shifter.ports import SourceWorkload
from shifter.service.checkup.findings import UNREACHED, Finding, Group, Notes
from shifter.service.checkup.gathering import Outcome, Unanswered
from shifter.service.observe import MESH


def subject(side: Side, name: str) -> str:
    """Return what findings call a workload of one side: `tcm gateway`, `istio shop/checkout`."""
    return f"{MESH[side]} {name}"


_SOURCE_GATEWAY: Final = subject(Side.SOURCE, GATEWAY)
_OF_TARGET: Final = subject(Side.TARGET, "")


def is_targets(name: str) -> bool:
    """Return whether a finding of this name is about the target's cluster, which is told nothing."""
    return name.startswith(_OF_TARGET)


class Examined(SourceWorkload, Protocol):
    """A workload that also tells whether it could be pinned."""

    def pin_refusal(self) -> str:
        """Return why its autoscaler's floor may not be changed; empty if it may, or it has none.

        Raises:
            CapacityUnavailableError: it cannot be told.
        """


@dataclass(frozen=True, slots=True)
class CapacityLook:
    """What runs there, and why its floor may not be changed; empty if it may."""

    workload: Workload
    pin_refusal: str


def look(workload: Examined, *, pinned: bool) -> CapacityLook:
    """Return what there is of one workload; whether it may be pinned only of those that are.

    Raises:
        CapacityUnavailableError: it does not answer, or not with what can be believed.
    """
    return CapacityLook(workload.observe(), workload.pin_refusal() if pinned else "")


def findings(looks: Mapping[str, CapacityLook | Unanswered], pods: int | None) -> Sequence[Finding]:
    """Return what is wrong with the workloads in both clusters.

    Args:
        looks: by name; without any, the fleet names no cluster.
        pods: the gateway's pods in the source's metrics, None if nobody knows.
    """
    notes = Notes(Group.CLUSTER)
    if not looks:
        notes.ok(_SOURCE_GATEWAY, "the fleet names no clusters: health checks and metrics alone tell what tcm has")
    for name, seen in looks.items():
        if isinstance(seen, Unanswered):
            _unanswered(notes, name, seen)
            continue
        _ready(notes, name, seen.workload)
        if seen.pin_refusal:
            notes.problem(name, seen.pin_refusal, "grant it, or raise the floor by hand and take the autoscaler away")
        ready = seen.workload.ready
        if name == _SOURCE_GATEWAY and pods is not None and pods != ready:
            text = f"{ready} replicas are ready, and tcm's metrics show {pods} pods of the gateway"
            fix = "do gateway and podMatchers mean the same Deployment, in the same cluster? set gateway.uid"
            notes.warning(name, text, fix)
    return notes.found


def _ready(notes: Notes, name: str, workload: Workload) -> None:
    if workload.ready == 0:
        notes.problem(name, "no replica is ready: no shift begins", "name the right one, or scale it up")
        return
    kept = "no autoscaler" if workload.floor is None else f"its autoscaler keeps at least {workload.floor}"
    said = f"{workload.ready} replicas ready, {kept}"
    if is_targets(name) and workload.ready < (workload.floor or 0):
        notes.warning(name, said, "see why its pods do not become ready: `kubectl describe` them")
    else:
        notes.ok(name, said)


def _unanswered(notes: Notes, name: str, found: Unanswered) -> None:
    if found.outcome is Outcome.BROKEN:
        notes.unknown(name, found.why, "report it with `shifter bundle`")
    else:
        notes.unknown(name, found.why, found.remedy or UNREACHED, unreachable=True)
