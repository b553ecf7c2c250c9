"""Which steps give the namespaces of a mesh file their sidecars, or take them away, in which order.

What is asked of all clusters is asked first, so that nothing is begun that cannot be finished. Then one namespace after
the other: a label without its restart would do half of the work at a moment of its own choosing, whenever a pod happens
to be replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from shifter.core.documents.mesh import Member, Mesh, Primary
from shifter.errors import NotFoundError
from shifter.mesh.injecting.checking import NamespaceSeen, check
from shifter.mesh.injecting.labels import KEPT, Choice, wanted
from shifter.mesh.injecting.namespaces import Labelled, PutBack, chosen, refusal
from shifter.mesh.injecting.pods import Sidecar
from shifter.mesh.injecting.restarting import Restarted, workloads_of
from shifter.mesh.injecting.workloads import Goal
from shifter.mesh.installing.control_plane import injection
from shifter.mesh.installing.guards import Guard, another_cluster
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import Step
from shifter.ports.mesh import NAMESPACES

AT_A_TIME: Final = 3
"""So many workloads are restarted together, unless somebody says otherwise."""

_NEVER: Final = frozenset({"istio-system", "kube-system", "kube-public", "kube-node-lease"})


@dataclass(frozen=True, slots=True)
class Target:
    """A namespace of a cluster."""

    cluster: Primary | Member
    namespace: str


@dataclass(frozen=True, slots=True)
class Injection:
    """All that the steps are made of.

    `targets` are the namespaces, `sites` the clusters by name. `undone`: take the sidecars away again. `now` is the
    wall clock, with a timezone; `back` returns the command that goes back from a cluster's namespace.
    """

    mesh: Mesh
    sites: Mapping[str, Site]
    targets: Sequence[Target]
    now: Callable[[], datetime]
    back: Callable[[str, str], str]
    restarts: bool = False
    undone: bool = False
    at_a_time: int = AT_A_TIME

    def steps(self) -> Iterator[Step]:
        """Yield all steps; which workloads there are is asked when their turn has come."""
        yield from self._guards()
        for target in self.targets:
            site, sidecar = self.sites[target.cluster.cluster], self._sidecar(target)
            if self.undone:
                yield PutBack(site, target.namespace)
            else:
                yield Labelled(site, target.namespace, sidecar, has_cni=_has_cni(self.mesh))
            if self.restarts:
                yield from self._restarts(site, target.namespace, sidecar)

    def check(self) -> Sequence[NamespaceSeen]:
        """Look at the pods of all namespaces."""
        return [
            check(site, each.namespace, self._sidecar(each), self._choice(site, each.namespace))
            for each in self.targets
            for site in (self.sites[each.cluster.cluster],)
        ]

    def forgotten(self) -> Sequence[tuple[str, str]]:
        """Return cluster and name of namespaces that shifter has labelled and that the file no longer lists."""
        clusters = {each.cluster.cluster: each.cluster for each in self.targets}
        return [
            (name, str(body["metadata"]["name"]))
            for name, cluster in clusters.items()
            for body in self.sites[name].all(NAMESPACES)
            if KEPT in (body["metadata"].get("annotations") or {}) and body["metadata"]["name"] not in cluster.inject
        ]

    def _guards(self) -> Iterator[Step]:
        clusters = dict.fromkeys(each.cluster.cluster for each in self.targets)
        uids: dict[str, str] = {}
        for name in clusters:
            yield Guard(
                self.sites[name], "the cluster that is meant", lambda each: another_cluster(each, uids), "it is"
            )
        if self.undone:
            return
        revision = self.mesh.spec.revision
        for name in clusters:
            image = self._image
            serves = partial(_unserved, image, revision)
            yield Guard(self.sites[name], "the mesh's webhook", serves, f"it injects {image}")
        for each in self.targets:
            site, lacking = self.sites[each.cluster.cluster], partial(_lacking, each.namespace)
            yield Guard(site, f"namespace {each.namespace}", lacking, "is there")

    def _restarts(self, site: Site, namespace: str, sidecar: Sidecar) -> Iterator[Step]:
        choice = self._choice(site, namespace)
        goal = Goal(sidecar, choice)
        due = [each.title for each in workloads_of(site, namespace) if goal.waits(each)]
        back = self.back(site.name, namespace)
        for start in range(0, len(due), self.at_a_time):
            titles = due[start : start + self.at_a_time]
            yield Restarted(site, namespace, titles, sidecar, choice, self.now, back)

    def _choice(self, site: Site, namespace: str) -> Choice:
        """Return what a namespace chooses once its labels are as they shall be; those of it may not be yet."""
        return chosen(site, namespace, undone=True) if self.undone else wanted(self.mesh.spec.revision)

    def _sidecar(self, target: Target) -> Sidecar:
        spec = self.mesh.spec
        revisions = frozenset() if spec.tcm is None else spec.tcm.revisions()
        tcm_mesh = None if spec.tcm is None else spec.tcm.mesh_id
        return Sidecar(self._image, target.cluster.cluster, spec.mesh_id, spec.revision, revisions, tcm_mesh)

    @property
    def _image(self) -> str:
        return f"{self.mesh.spec.images.hub}/proxyv2:{self.mesh.spec.images.tag}"


def targets(mesh: Mesh, clusters: Sequence[str], namespaces: Sequence[str], *, undone: bool) -> Sequence[Target]:
    """Return the namespaces that are meant, in the order of the file.

    Args:
        mesh: the file.
        clusters: only of these; empty for all.
        namespaces: only these; empty for all that the file lists.
        undone: what shifter once injected may be named although the file no longer lists it.

    Raises:
        NotFoundError: the file knows no such cluster, or lists no such namespace.
    """
    known = [each.cluster for each in mesh.clusters]
    for name in clusters:
        if name not in known:
            raise NotFoundError(f"the mesh {mesh.name} has no cluster {name}; it has {', '.join(known)}")
    meant = [each for each in mesh.clusters if not clusters or each.cluster in clusters]
    listed = {name for each in meant for name in each.inject}
    for name in namespaces:
        if name in _NEVER:
            raise NotFoundError(f"namespace {name} never gets sidecars: what runs there must run before any mesh does")
        if name not in listed and not undone:
            where = f"cluster {', '.join(clusters)}" if clusters else "any cluster"
            raise NotFoundError(
                f"the mesh {mesh.name} does not list namespace {name} under inject of {where}",
                remedy="add it to the file",
            )
    return [
        Target(each, name)
        for each in meant
        for name in dict.fromkeys([*each.inject, *(namespaces if undone else ())])
        if not namespaces or name in namespaces
    ]


def _lacking(namespace: str, site: Site) -> str:
    return refusal(site, namespace)


def _unserved(image: str, revision: str | None, site: Site) -> str:
    missing = injection(site, image, revision)
    return f"pods would not get the sidecar: {missing}; see `shifter mesh install`" if missing else ""


def _has_cni(mesh: Mesh) -> bool:
    """Say whether the file has Istio's CNI plugin switched on: where releases look for it differs, so all are asked."""
    values: Mapping[str, Any] = mesh.spec.values
    places = (("istio_cni",), ("cni",), ("pilot", "cni"))
    return any(_at(values, place).get("enabled") is True for place in places)


def _at(values: Mapping[str, Any], place: Sequence[str]) -> Mapping[str, Any]:
    found: Any = values
    for key in place:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
