"""What is known of each release line that can be rendered, and what a person should be warned of before installing.

Warnings refuse nothing: who runs TCM's 1.18 does well to build the new mesh with 1.18, although it is long out of
support. But it must have been said, with the date.

Sources: for 1.18 the table "Support status of Istio releases" of
https://istio.io/latest/docs/releases/supported-releases/ (istio/istio.io, data/compatibility/supportStatus.yml). For
1.31 the announcement of 1.31.0 (https://istio.io/latest/news/releases/1.31.x/announcing-1.31/), and as its end, which
was not announced, the month from which its own istioctl warns (operator/version: February 2027). Which Kubernetes a
release was only tested with is not counted as supported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final

from shifter.core.documents.mesh import Mesh, release_line
from shifter.core.documents.mesh_gateways import Workload

At = tuple[str | int, ...]

_KUBERNETES: Final = re.compile(r"v?([0-9]{1,3})\.([0-9]{1,3})(?:\D.*)?", re.DOTALL)
_RETIRED_HUBS: Final = ("registry.istio.io/", "gcr.io/istio-release")
"""Where Istio publishes no images from 1.31 on, and switches off what is there
(https://istio.io/latest/news/releases/1.31.x/announcing-1.31/upgrade-notes/)."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release line.

    `end_of_life` is its last day of support, which was `announced` or is only what istioctl expects. The Kubernetes
    releases 1.`oldest_kubernetes` to 1.`newest_kubernetes` are supported. `budgets_one_pod`: whether even a single pod
    gets a budget, which forbids to drain its node.
    """

    line: str
    released: date
    end_of_life: date
    announced: bool
    oldest_kubernetes: int
    newest_kubernetes: int
    budgets_one_pod: bool


RELEASES: Final[Mapping[str, Release]] = MappingProxyType(
    {
        "1.18": Release(
            line="1.18",
            released=date(2023, 6, 3),
            end_of_life=date(2024, 1, 4),
            announced=True,
            oldest_kubernetes=24,
            newest_kubernetes=27,
            budgets_one_pod=True,
        ),
        "1.31": Release(
            line="1.31",
            released=date(2026, 8, 20),
            end_of_life=date(2027, 1, 31),
            announced=False,
            oldest_kubernetes=32,
            newest_kubernetes=36,
            budgets_one_pod=False,
        ),
    }
)
"""By line."""


@dataclass(frozen=True, slots=True)
class Warned:
    """What a person should know about the value at the dotted `path` of the file."""

    path: At
    reason: str


def warnings(mesh: Mesh, kubernetes: Mapping[str, str], today: date) -> tuple[Warned, ...]:
    """Return what should be said before a mesh is installed.

    Args:
        mesh: the file.
        kubernetes: the `gitVersion` of each cluster's API server, by the cluster's id; of clusters that are not in it
            nothing is said.
        today: the day, which decides whether a release is out of support.
    """
    release = RELEASES[release_line(mesh.spec.version)]
    return (
        *_out_of_support(release, today),
        *_unlike_tcm(mesh),
        *_images(mesh),
        *_root(mesh),
        *_kubernetes(mesh, release, kubernetes),
        *_lone_pods(mesh, release),
    )


def _out_of_support(release: Release, today: date) -> Iterator[Warned]:
    if today > release.end_of_life:
        since = f"since {release.end_of_life}"
        if not release.announced:
            since = f"{since}, as istioctl expects; istio.io, supported releases, knows better"
        said = f"Istio {release.line} is out of support {since}: holes that are found in it now, nobody closes"
        yield Warned(("spec", "version"), said)


def _unlike_tcm(mesh: Mesh) -> Iterator[Warned]:
    tcm, spec = mesh.spec.tcm, mesh.spec
    if tcm is not None and tcm.version not in (None, spec.version):
        said = f"TCM runs {tcm.version}: mesh and release change at once, EnvoyFilters and defaults with them"
        yield Warned(("spec", "version"), said)
    if (tcm is None or not tcm.revisions()) and re.fullmatch(r"[0-9]+(-[0-9]+)+", spec.revision or ""):
        said = "TCM's revisions look like this, and tcm does not say which it has: were they one, both would inject"
        yield Warned(("spec", "revision"), said)


def _images(mesh: Mesh) -> Iterator[Warned]:
    images, version = mesh.spec.images, mesh.spec.version
    if version not in images.tag:
        said = f"does not name {version}: istioctl would render for one release what runs as another"
        yield Warned(("spec", "images", "tag"), said)
    if f"{images.hub}/".startswith(_RETIRED_HUBS):
        said = (
            "Istio publishes no images there any more, and switches off what is there: use docker.io/istio or a mirror"
        )
        yield Warned(("spec", "images", "hub"), said)


def _root(mesh: Mesh) -> Iterator[Warned]:
    if mesh.spec.certificates is None:
        said = (
            "SELF-SIGNED ROOT: istiod makes a CA of its own, in a Secret that is the only copy; when it is lost or must"
            " be replaced, all sidecars break at once, and no other mesh can ever share it. Bring a CA as the Secret"
            " cacerts and say certificates: {secret: cacerts}"
        )
        yield Warned(("spec", "certificates"), said)


def _kubernetes(mesh: Mesh, release: Release, versions: Mapping[str, str]) -> Iterator[Warned]:
    oldest, newest = release.oldest_kubernetes, release.newest_kubernetes
    supported = f"Istio {release.line} supports Kubernetes 1.{oldest} to 1.{newest}"
    for at, cluster in _places(mesh):
        if (version := versions.get(cluster)) is None:
            continue
        found = _KUBERNETES.fullmatch(version)
        if found is None:
            yield Warned((*at, "cluster"), f"{cluster} says that its Kubernetes is {version!r:.60}; {supported}")
        elif not (found[1] == "1" and oldest <= int(found[2]) <= newest):
            yield Warned((*at, "cluster"), f"{cluster} has Kubernetes {found[1]}.{found[2]}; {supported}")


def _lone_pods(mesh: Mesh, release: Release) -> Iterator[Warned]:
    said = "with one pod nobody serves while it restarts or moves; have two"
    if mesh.spec.pod_disruption_budget and release.budgets_one_pod:
        said = "with one pod and podDisruptionBudget its node can never be drained; have two, or do without the budget"
    primary = mesh.spec.primary
    workloads: list[tuple[At, Workload]] = [(("spec", "primary", "istiod"), primary.istiod)]
    if primary.east_west is not None:
        workloads.append((("spec", "primary", "eastWest"), primary.east_west))
    for (at, _), cluster in zip(_places(mesh), mesh.clusters, strict=True):
        workloads += [((*at, "gateways", index), each) for index, each in enumerate(cluster.gateways) if each.enabled]
    for at, workload in workloads:
        if workload.replicas == 1:
            yield Warned((*at, "replicas"), said)
        elif workload.autoscaling is not None and workload.autoscaling.min == 1:
            yield Warned((*at, "autoscaling", "min"), said)


def _places(mesh: Mesh) -> Iterator[tuple[At, str]]:
    """Yield the place and the id of every cluster, in the order of `mesh.clusters`."""
    yield ("spec", "primary"), mesh.spec.primary.cluster
    for index, member in enumerate(mesh.spec.members):
        yield ("spec", "members", index), member.cluster
