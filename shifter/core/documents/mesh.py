"""`kind: Mesh`: the Istio that takes over from TCM: its version, its clusters, its gateways, who gets sidecars.

One file says everything that the clusters' IstioOperators need, each thing once: the mesh's id, the network and the
address of istiod cannot differ from one cluster to the next, because nobody writes them twice. What of it is said to a
release of istioctl, and how, is `shifter/mesh/operators`; what a person should be warned of is there as well.

Rules between clusters stand at `primary` and `members`, each pointing at the key that must change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shifter.core.documents.mesh_gateways import (
    SYSTEM_NAMESPACE,
    Autoscaling,
    EastWest,
    IngressGateway,
    OpenNamespace,
    Workload,
    clash,
)
from shifter.core.documents.mesh_values import Passed, Values
from shifter.core.documents.schema import API_VERSION, Metadata, Name, StrictModel, distinct, second_of_its_kind

RELEASE_LINES: Final = ("1.18", "1.31")
"""The releases of Istio that shifter can render for: the last that TCM has, and the current one."""

_VERSION: Final = r"^[0-9]{1,2}\.[0-9]{1,3}\.[0-9]{1,3}$"
_FIRST_WITH_REVISED_MEMBERS: Final = (1, 31)

_Version = Annotated[str, Field(pattern=_VERSION)]
_Uid = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")]
_Hub = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.:_-]{0,127}(/[a-z0-9][a-z0-9._-]{0,127}){0,8}$")]
_Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
_Https = Annotated[str, Field(pattern=r"^https://[^\s@?#]+$")]


def release_line(version: str) -> str:
    """Return the first two numbers of a version: `1.18` of `1.18.5`."""
    return ".".join(version.split(".")[:2])


def _renderable(version: str) -> str:
    if (line := release_line(version)) not in RELEASE_LINES:
        known = " and ".join(f"{each}.x" for each in RELEASE_LINES)
        said = "shifter does not know what Istio {line} makes of an IstioOperator; it knows {known}"
        raise PydanticCustomError("mesh", said, {"line": line, "known": known})
    return version


def _released_images(hub: str) -> str:
    if hub.endswith(("istio-testing", "/testing")):
        raise PydanticCustomError("mesh", "these are builds of Istio's own tests, not a release")
    return hub


def _fixed(tag: str) -> str:
    if tag.split("-", maxsplit=1)[0] == "latest":
        raise PydanticCustomError("mesh", "names another image tomorrow; write the version's tag")
    return tag


def _takes_sidecars(namespace: str) -> str:
    if namespace == SYSTEM_NAMESPACE:
        raise PydanticCustomError("mesh", "the control plane's own namespace gets no sidecars")
    return namespace


class Images(StrictModel):
    """Where the images come from. All three are written, so that no default of a release decides it."""

    hub: Annotated[_Hub, AfterValidator(_released_images)]
    tag: Annotated[_Tag, AfterValidator(_fixed)]
    pull_secrets: Annotated[tuple[Name, ...], Field(max_length=10), distinct("a Secret")]


class TcmMesh(StrictModel):
    """What is known of the mesh that goes away: the new one must not be taken for it."""

    version: _Version | None = None
    revision: Name | None = None
    mesh_id: Annotated[Name | None, Field(alias="meshID")] = None

    def revisions(self) -> frozenset[str]:
        """Return the revisions that TCM's webhooks may serve: the one given, and its version with dashes.

        TCM injects where a namespace says `istio.io/rev` with the version in this form
        (https://cloud.tencent.com/document/product/1261/63059).
        """
        of_version = None if self.version is None else self.version.replace(".", "-")
        return frozenset(each for each in (self.revision, of_version) if each is not None)


class Certificates(StrictModel):
    """The mesh's own CA: a Secret in the primary's istio-system. istiod looks for it under this name and no other."""

    secret: Literal["cacerts"]


class Istiod(Workload):
    """The control plane's Deployment. Without `replicas` and `autoscaling` it has 2 pods."""


class ClusterOfMesh(StrictModel):
    """A cluster: how to reach it, which gateways it has, which of its namespaces get sidecars.

    `cluster` is its TKE id, which is its name in the mesh. `uid` is that of its namespace kube-system: a cluster with
    another one is another cluster, whatever the context is called.
    """

    cluster: Name
    context: Annotated[str, Field(min_length=1, max_length=253)]
    kubeconfig_file: Annotated[str, Field(min_length=1)] | None = None
    uid: _Uid | None = None
    gateways: Annotated[tuple[IngressGateway, ...], Field(max_length=50)] = ()
    inject: Annotated[
        tuple[Annotated[OpenNamespace, AfterValidator(_takes_sidecars)], ...],
        Field(max_length=1000),
        distinct("a namespace"),
    ] = ()


class Primary(ClusterOfMesh):
    """The cluster in which istiod runs, with the gateway by which members reach it."""

    istiod: Istiod = Istiod()
    east_west: EastWest | None = None


class Member(ClusterOfMesh):
    """A cluster that istiod serves from the primary. `server` is its API's address as istiod reaches it."""

    server: _Https | None = None


class MeshSpec(StrictModel):
    """The body of a mesh file."""

    version: Annotated[_Version, AfterValidator(_renderable)]
    images: Images
    tcm: TcmMesh | None = None
    mesh_id: Annotated[Name, Field(alias="meshID")]
    network: Name
    revision: Name | None = None
    certificates: Certificates | None = None
    pod_disruption_budget: bool = True
    mesh_config: Passed = Field(default_factory=dict)
    values: Values = Field(default_factory=dict)
    primary: Primary
    members: Annotated[tuple[Member, ...], Field(max_length=50)] = ()

    @field_validator("mesh_id")
    @classmethod
    def _is_another_mesh(cls, mesh_id: str, info: ValidationInfo) -> str:
        tcm = info.data.get("tcm")
        if tcm is not None and tcm.mesh_id == mesh_id:
            raise PydanticCustomError("mesh", "is TCM's own; two meshes that both run need two ids")
        return mesh_id

    @field_validator("revision")
    @classmethod
    def _is_another_revision(cls, revision: str | None, info: ValidationInfo) -> str | None:
        tcm = info.data.get("tcm")
        if revision == "default":
            raise PydanticCustomError("mesh", "is what Istio calls having none; leave it out")
        if tcm is not None and revision in tcm.revisions():
            said = "is TCM's own: this mesh's webhook would inject wherever TCM's does"
            raise PydanticCustomError("mesh", said)
        return revision

    @field_validator("primary")
    @classmethod
    def _gateways_differ(cls, primary: Primary) -> Primary:
        _refuse_clash(primary, (), east_west=primary.east_west is not None)
        _refuse_second_use(_balancers(primary, ()))
        return primary

    @field_validator("members")
    @classmethod
    def _clusters_differ(cls, members: tuple[Member, ...], info: ValidationInfo) -> tuple[Member, ...]:
        for index, member in enumerate(members):
            _refuse_clash(member, (index,), east_west=False)
        if (primary := info.data.get("primary")) is None:
            return members
        _refuse_twins(primary, members)
        balancers = [*_balancers(primary, ())]
        for index, member in enumerate(members):
            balancers += _balancers(member, (index,))
        _refuse_second_use(balancers)
        if members and primary.east_west is None:
            said = "members reach istiod by the primary's eastWest gateway, and it has none"
            raise PydanticCustomError("mesh", said)
        return members

    @field_validator("members")
    @classmethod
    def _revision_reaches_members(cls, members: tuple[Member, ...], info: ValidationInfo) -> tuple[Member, ...]:
        version, revision = info.data.get("version"), info.data.get("revision")
        if members and revision is not None and version is not None:
            numbers = tuple(int(each) for each in re.findall(r"[0-9]+", release_line(version)))
            if numbers < _FIRST_WITH_REVISED_MEMBERS:
                said = (
                    "Istio {line} calls a member's istiod Service istiod, and its webhook looks for istiod-{revision}:"
                    " with members, leave revision out"
                )
                raise PydanticCustomError("mesh", said, {"line": release_line(version), "revision": revision})
        return members


class Mesh(StrictModel):
    """One mesh file."""

    api_version: Literal["shifter.io/v1alpha1"] = Field(default=API_VERSION)
    kind: Literal["Mesh"]
    metadata: Metadata
    spec: MeshSpec

    @property
    def name(self) -> str:
        """What people call this mesh."""
        return self.metadata.name

    @property
    def clusters(self) -> tuple[Primary | Member, ...]:
        """The primary, then the members in the order of the file."""
        return (self.spec.primary, *self.spec.members)


def autoscaling_of(workload: Workload, usual: Autoscaling) -> Autoscaling:
    """Return how many pods a workload may have; a fixed number is one that leaves nothing to scale."""
    if workload.replicas is not None:
        return Autoscaling(min=workload.replicas, max=workload.replicas)
    return workload.autoscaling or usual


_At = tuple[str | int, ...]


def _balancers(cluster: Primary | Member, at: _At) -> Iterator[tuple[str, _At]]:
    """Yield the existing CLBs that a cluster's gateways use, with the place of each."""
    if isinstance(cluster, Primary) and cluster.east_west is not None and cluster.east_west.load_balancer.existing:
        yield cluster.east_west.load_balancer.existing, (*at, "eastWest", "loadBalancer", "existing")
    for index, gateway in enumerate(cluster.gateways):
        if gateway.load_balancer is not None and gateway.load_balancer.existing is not None:
            yield gateway.load_balancer.existing, (*at, "gateways", index, "loadBalancer", "existing")


def _refuse_second_use(balancers: Iterator[tuple[str, _At]] | list[tuple[str, _At]]) -> None:
    found = list(balancers)
    if (twice := second_of_its_kind([each for each, _ in found])) is not None:
        said = "is another gateway's CLB already, and of two Services one would take the other's listeners"
        raise PydanticCustomError("mesh", said, {"at": found[twice][1]})


def _refuse_clash(cluster: Primary | Member, at: _At, *, east_west: bool) -> None:
    if (found := clash(cluster.gateways, east_west=east_west)) is not None:
        index, key, said = found
        raise PydanticCustomError("mesh", "{said}", {"said": said, "at": (*at, "gateways", index, key)})


def _refuse_twins(primary: Primary, members: tuple[Member, ...]) -> None:
    clusters = (primary, *members)
    for key, values in (
        ("cluster", [each.cluster for each in clusters]),
        ("context", [(each.kubeconfig_file, each.context) for each in clusters]),
        ("uid", [each.uid or number for number, each in enumerate(clusters)]),
        ("server", [getattr(each, "server", None) or number for number, each in enumerate(clusters)]),
    ):
        if (twice := second_of_its_kind(values)) is not None:
            said = "is another cluster's of this mesh already"
            raise PydanticCustomError("mesh", said, {"at": (twice - 1, key)})
