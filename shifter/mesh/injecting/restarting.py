"""A rolling restart of a few workloads at a time, until their pods carry what their namespace chooses.

It is what `kubectl rollout restart` does, and the workload's own strategy decides how many of its pods are away at a
time. The first workload that does not become ready ends it: the others keep the pods that they have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shifter.mesh.injecting.labels import Choice
from shifter.mesh.injecting.pods import Sidecar
from shifter.mesh.injecting.workloads import (
    REPLICA_SETS,
    RESTARTABLE,
    RESTARTER,
    STATEFUL_SETS,
    Goal,
    Workload,
    gathered,
)
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import Look, NotReadyError
from shifter.ports.kube import Body
from shifter.ports.mesh import PODS

RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"


def workloads_of(site: Site, namespace: str) -> list[Workload]:
    """Return the workloads of a namespace as they are now, those of a kind together, by name."""
    # Owners first: a pod that is made in between has an owner then that is not listed, and is seen by the next look.
    bodies = {kind: sorted(site.all(kind, namespace), key=_name) for kind in RESTARTABLE}
    replica_sets, pods = site.all(REPLICA_SETS, namespace), site.all(PODS, namespace)
    return [each for kind in RESTARTABLE for each in gathered(kind, bodies[kind], pods, replica_sets)]


def _name(body: Body) -> str:
    return str(body["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Restarted:
    """The pods of some workloads of a namespace carry what it chooses, and are ready.

    `titles` says which workloads. `choice` is what the namespace chooses, or will once its labels are as they shall be;
    `now` is the wall clock, with a timezone. `back` is the command that leads back.
    """

    site: Site
    namespace: str
    titles: Sequence[str]
    sidecar: Sidecar
    choice: Choice
    now: Callable[[], datetime]
    back: str

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.site.name

    @property
    def title(self) -> str:
        """As a step says."""
        return f"pods in {self.namespace} of {', '.join(self.titles)}"

    @property
    def _goal(self) -> Goal:
        return Goal(self.sidecar, self.choice)

    def look(self) -> Look:
        """Needed as long as a pod carries something else, or what was restarted is not ready."""
        goal = self._goal
        restarts = [each.title for each in self._workloads() if goal.restarts(each)]
        waits = [f"{each.title}: {missing}" for each in self._workloads() if (missing := goal.waits(each))]
        if restarts:
            return Look(needed=True, says=f"restart {', '.join(restarts)}", detail="\n".join(waits))
        return Look(needed=bool(waits), says=waits[0] if waits else "as the namespace chooses")

    def act(self) -> None:
        """Restart those that have to be, and wait for all of them.

        Raises:
            NotReadyError: one of them did not become ready in time.
        """
        for each in self._workloads():
            if self._goal.restarts(each):
                self._restart(each)
        patience = self.site.patience
        if patience.until(self._missing, patience.ready_seconds):
            self._refuse_late()

    def _workloads(self) -> Iterator[Workload]:
        return (each for each in workloads_of(self.site, self.namespace) if each.title in self.titles)

    def _restart(self, workload: Workload) -> None:
        """Change its template by what kubectl changes; nothing else of it is ours."""
        moment = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        body = workload.kind.body(
            metadata={"name": workload.name, "namespace": self.namespace},
            spec={"template": {"metadata": {"annotations": {RESTARTED_AT: moment}}}},
        )
        with self.site.asked(f"restart {workload.title} in namespace {self.namespace}"):
            # By force: a moment that kubectl wrote there is not worth a conflict.
            self.site.api.apply(workload.kind, self.namespace, body, manager=RESTARTER, force=True)

    def _missing(self) -> str:
        return next((missing for each in self._workloads() if (missing := self._goal.waits(each))), "")

    def _refuse_late(self) -> None:
        """Raise what is known of the first that is not ready; nothing, if it has become ready just now."""
        late = ((each, missing) for each in self._workloads() if (missing := self._goal.waits(each)))
        for workload, missing in late:
            says = "; ".join(filter(None, (self._events(workload), _waiting(workload))))
            remedy = f"mend it and run this again, or go back: {self.back}"
            if workload.kind == STATEFUL_SETS:
                remedy += "; a StatefulSet never replaces a pod that did not become ready: delete that pod yourself"
            raise NotReadyError(
                f"{self.site.name}: after {self.site.patience.ready_seconds:g} s {workload.title} in namespace"
                f" {self.namespace}: {missing}{f'; the cluster says: {says}' if says else ''};"
                " nothing after it was restarted",
                remedy=remedy,
            )

    def _events(self, workload: Workload) -> str:
        """Return what the cluster has against new pods of a workload: of a Deployment, its ReplicaSet is told."""
        own = self.site.events_of(self.namespace, workload.kind.name, workload.name)
        return own or (
            self.site.events_of(self.namespace, REPLICA_SETS.name, workload.latest) if workload.latest else ""
        )


def _waiting(workload: Workload) -> str:
    """Return why containers of its new pods do not run, as they say."""
    reasons = {
        f"{each['name']} {state.get('reason')}"
        for pod in workload.current
        for each in pod.get("status", {}).get("containerStatuses") or ()
        if (state := (each.get("state") or {}).get("waiting"))
    }
    return ", ".join(sorted(reasons))
