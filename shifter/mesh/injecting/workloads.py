"""What makes the pods of a namespace, and how far its last change has come: pure rules on what the cluster says.

Deployments, StatefulSets and DaemonSets: those that replace their pods by themselves when their template changes. Pods
of anything else are somebody else's to replace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shifter.mesh.injecting.labels import Choice
from shifter.mesh.injecting.pods import Carrying, Sidecar, found, runs, wants
from shifter.ports.kube import DEPLOYMENTS, Body, Kind

REPLICA_SETS: Final = Kind("apps", "v1", "replicasets", "ReplicaSet")
STATEFUL_SETS: Final = Kind("apps", "v1", "statefulsets", "StatefulSet")
DAEMON_SETS: Final = Kind("apps", "v1", "daemonsets", "DaemonSet")
RESTARTABLE: Final = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)

RESTARTER: Final = "shifter-inject"
"""In whose name the server keeps that shifter has restarted a workload."""

_NUMBER_OF_REPLICA_SET: Final = "deployment.kubernetes.io/revision"
_NUMBER_OF_DAEMON: Final = "deprecated.daemonset.template.generation"


@dataclass(frozen=True, slots=True)
class Workload:
    """One of them, the pods that it has, and those of them that were made from its present template."""

    kind: Kind
    body: Body
    pods: Sequence[Body]
    current: Sequence[Body]
    latest: str = ""
    """The ReplicaSet of the present template, which is who cannot make pods if somebody cannot."""

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.body["metadata"]["name"])

    @property
    def title(self) -> str:
        """What it is called, with its kind."""
        return f"{self.kind.name} {self.name}"

    @property
    def held(self) -> str:
        """Why a new template does not lead to new pods; empty if it does."""
        spec = self.body["spec"]
        if spec.get("paused"):
            return f"its rollouts are paused: kubectl rollout resume deployment/{self.name}"
        strategy = spec.get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return "it replaces pods only when they are deleted (updateStrategy OnDelete): delete them one by one"
        if partition := (strategy.get("rollingUpdate") or {}).get("partition"):
            return f"it replaces no pod below number {partition} (its updateStrategy has a partition)"
        return ""

    @property
    def unfinished(self) -> str:
        """What is missing until it runs as it was last said; empty if nothing is."""
        spec, status = self.body["spec"], self.body.get("status") or {}
        if status.get("observedGeneration", 0) < self.body["metadata"].get("generation", 0):
            return "what was changed is not looked at yet"
        if self.kind == DAEMON_SETS:
            wanted, counted = status.get("desiredNumberScheduled", 0), ("updatedNumberScheduled", "numberAvailable")
        else:
            wanted, counted = spec.get("replicas", 1), ("updatedReplicas", "availableReplicas")
        ready = min(int(status.get(each) or 0) for each in counted)
        surplus = self.kind == DEPLOYMENTS and (status.get("replicas") or 0) > wanted
        return f"{min(ready, wanted)} of {wanted} pods are new and ready" if ready < wanted or surplus else ""

    @property
    def was_restarted(self) -> bool:
        """Say whether it was shifter that restarted it last."""
        return any(each.get("manager") == RESTARTER for each in self.body["metadata"].get("managedFields") or ())


@dataclass(frozen=True, slots=True)
class Goal:
    """What pods of a namespace shall carry: the sidecar where the namespace's labels and the pod choose it."""

    sidecar: Sidecar
    choice: Choice

    def off(self, workload: Workload, pods: Iterable[Body]) -> str:
        """Return what is wrong with the first of these pods of a workload; empty if nothing is with any of them."""
        template: Mapping[str, Any] = workload.body["spec"]["template"]
        wanted = wants(self.choice, template.get("metadata") or {}, template["spec"], self.sidecar)
        for pod in pods:
            carries = found(pod, self.sidecar)
            if wanted and carries.carrying is not Carrying.OURS:
                return f"pod {pod['metadata']['name']} {carries.says}"
            if not wanted and carries.carrying is Carrying.OURS:
                return f"pod {pod['metadata']['name']} still has this mesh's sidecar"
        return ""

    def restarts(self, workload: Workload) -> str:
        """Return why a workload has to be restarted; empty if it has not.

        One whose pods are just being replaced by right ones is not: a second restart would only begin all over.
        """
        if workload.held:
            return ""
        return self.off(workload, workload.current if workload.unfinished else workload.pods)

    def waits(self, workload: Workload) -> str:
        """Return what is missing until a workload's pods are right and ready; empty if nothing is, or never will be."""
        if workload.held:
            return ""
        off, unfinished = self.off(workload, workload.pods), workload.unfinished
        if not off and not (unfinished and workload.was_restarted):
            return ""
        return unfinished or off


def gathered(kind: Kind, bodies: Iterable[Body], pods: Iterable[Body], replica_sets: Iterable[Body]) -> list[Workload]:
    """Return the workloads of a kind with the pods that each of them owns.

    Args:
        kind: one of `RESTARTABLE`.
        bodies: the workloads.
        pods: of the namespace.
        replica_sets: of the namespace, which stand between Deployments and pods.
    """
    owned = _by_owner(each for each in pods if runs(each))
    sets = _by_owner(replica_sets)
    return [_gathered(kind, each, owned, sets) for each in bodies]


def _gathered(
    kind: Kind, body: Body, owned: Mapping[str, Sequence[Body]], sets: Mapping[str, Sequence[Body]]
) -> Workload:
    uid, annotations = str(body["metadata"]["uid"]), body["metadata"].get("annotations") or {}
    status = body.get("status") or {}
    is_seen = status.get("observedGeneration", 0) >= body["metadata"].get("generation", 0)
    if kind == DEPLOYMENTS:
        number = annotations.get(_NUMBER_OF_REPLICA_SET)
        own = sets.get(uid, ())
        pods = [pod for each in own for pod in owned.get(each["metadata"]["uid"], ())]
        newest = [
            each for each in own if (each["metadata"].get("annotations") or {}).get(_NUMBER_OF_REPLICA_SET) == number
        ]
        current = [pod for each in newest for pod in owned.get(each["metadata"]["uid"], ())]
        latest = str(newest[0]["metadata"]["name"]) if newest else ""
        return Workload(kind, body, pods, current if is_seen else (), latest)
    pods = list(owned.get(uid, ()))
    if kind == STATEFUL_SETS:
        label, value = "controller-revision-hash", status.get("updateRevision")
    else:
        label, value = "pod-template-generation", annotations.get(_NUMBER_OF_DAEMON)
    current = [each for each in pods if (each["metadata"].get("labels") or {}).get(label) == value]
    return Workload(kind, body, pods, current if is_seen else ())


def _by_owner(bodies: Iterable[Body]) -> Mapping[str, Sequence[Body]]:
    found_: dict[str, list[Body]] = {}
    for each in bodies:
        for owner in each["metadata"].get("ownerReferences") or ():
            if owner.get("controller"):
                found_.setdefault(str(owner.get("uid")), []).append(each)
    return found_
