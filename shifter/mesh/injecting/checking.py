"""Which pods of a namespace carry the new mesh's sidecar, by name: what is said when all is done.

Only pods count that run or are about to. Those that opted out are told apart: nobody restarts them, and whether they
should be in the mesh is for their owners to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shifter.mesh.injecting.labels import Choice
from shifter.mesh.injecting.pods import Carrying, Sidecar, found, runs, selects_pod
from shifter.mesh.injecting.restarting import workloads_of
from shifter.mesh.installing.site import Site
from shifter.ports.kube import Body
from shifter.ports.mesh import PODS


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod. `owner` is what makes it (empty: nobody), `is_right` whether it carries what its namespace chooses."""

    name: str
    owner: str
    carrying: Carrying
    is_right: bool
    says: str


@dataclass(frozen=True, slots=True)
class NamespaceSeen:
    """A namespace and its pods, by name."""

    cluster: str
    namespace: str
    choice: Choice
    pods: Sequence[PodSeen]

    def count(self, carrying: Carrying) -> int:
        """Return how many pods carry that."""
        return sum(each.carrying is carrying for each in self.pods)

    @property
    def wrong(self) -> Sequence[PodSeen]:
        """Those that carry something else than their namespace chooses."""
        return [each for each in self.pods if not each.is_right]


def check(site: Site, namespace: str, sidecar: Sidecar, choice: Choice) -> NamespaceSeen:
    """Look at the pods of a namespace.

    Args:
        site: the cluster.
        namespace: which.
        sidecar: the new mesh's.
        choice: what the namespace chooses.
    """
    owners: dict[str, tuple[str, str]] = {}
    for workload in workloads_of(site, namespace):
        for pod in workload.pods:
            owners[str(pod["metadata"]["uid"])] = (workload.title, workload.held)
    pods = [each for each in site.all(PODS, namespace) if runs(each)]
    seen = [_seen(each, owners, sidecar, choice) for each in pods]
    return NamespaceSeen(site.name, namespace, choice, sorted(seen, key=lambda each: each.name))


def _seen(pod: Body, owners: Mapping[str, tuple[str, str]], sidecar: Sidecar, choice: Choice) -> PodSeen:
    name, carries = str(pod["metadata"]["name"]), found(pod, sidecar)
    owner, held = owners.get(str(pod["metadata"]["uid"]), ("", ""))
    is_ours = carries.carrying is Carrying.OURS
    is_wanted = selects_pod(choice, pod, sidecar)
    is_right = carries.carrying is Carrying.OPTED_OUT or is_ours == is_wanted
    says = carries.says or ("" if is_right else "still has this mesh's sidecar")
    if not is_right and not owner:
        owner = _controller(pod)
        held = "no Deployment, StatefulSet or DaemonSet makes it: replace it yourself"
    return PodSeen(name, owner, carries.carrying, is_right, f"{says}; {held}" if held and not is_right else says)


def _controller(pod: Body) -> str:
    for each in pod["metadata"].get("ownerReferences") or ():
        if each.get("controller"):
            return f"{each.get('kind')} {each.get('name')}"
    return ""
