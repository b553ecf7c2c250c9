"""Which steps build a mesh, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shifter.core.documents.mesh import Member, Mesh, Primary
from shifter.core.documents.mesh_gateways import EAST_WEST, SYSTEM_NAMESPACE, IngressGateway
from shifter.mesh.installing.control_plane import ControlPlane, Doing, Operator, Serving
from shifter.mesh.installing.exposing import Exposed
from shifter.mesh.installing.gateways import GatewayReady, address_of
from shifter.mesh.installing.guards import Guard, authority_missing, guards
from shifter.mesh.installing.joining import Joined, NamespaceReady, RemoteSecret
from shifter.mesh.installing.manifests import Manifests
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import Step
from shifter.mesh.operators.rendering import exposing_istiod, operator_of_member, operator_of_primary
from shifter.mesh.operators.surroundings import namespaces
from shifter.ports.istioctl import Istioctl


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the steps of a mesh are made of.

    `sites` by cluster; `allow_removal`: gateways that the file no longer has may be removed.
    """

    mesh: Mesh
    sites: Mapping[str, Site]
    istioctl: Istioctl
    allow_removal: bool = False

    def guards(self) -> Iterator[Step]:
        """Yield those that only look: nothing is written anywhere, not even a lock, before all of them are content."""
        uids: dict[str, str] = {}
        for cluster in self.mesh.clusters:
            yield from guards(self.mesh, self.sites[cluster.cluster], uids)

    def steps(self) -> Iterator[Step]:
        """Yield all steps; guards of all clusters first, so that nothing is begun that cannot be finished."""
        yield from self.guards()
        manifests = Manifests(self.istioctl)
        yield from self._primary(self.mesh.spec.primary, manifests)
        for member in self.mesh.spec.members:
            yield from self._member(member, manifests)

    def _primary(self, primary: Primary, manifests: Manifests) -> Iterator[Step]:
        site, spec = self.sites[primary.cluster], self.mesh.spec
        doing = self._doing(site, manifests)
        whole = Operator(doing, lambda: operator_of_primary(self.mesh).text)
        yield from self._namespaces(site, primary)
        if spec.certificates is not None:
            yield Guard(site, "the mesh's own CA", authority_missing, "is there")
        yield ControlPlane(doing, lambda: operator_of_primary(self.mesh, bare=True).text, whole, "control plane")
        yield Serving(site, self._image, spec.revision)
        yield from _whole(site, primary, whole)
        if primary.east_west is not None:
            existing = primary.east_west.load_balancer.existing or ""
            yield GatewayReady(site, SYSTEM_NAMESPACE, EAST_WEST, balanced=True, existing=existing)
            yield Exposed(site, exposing_istiod(self.mesh))

    def _member(self, member: Member, manifests: Manifests) -> Iterator[Step]:
        primary, site = self.sites[self.mesh.spec.primary.cluster], self.sites[member.cluster]
        doing = self._doing(site, manifests)

        def operator(*, bare: bool) -> str:
            address = address_of(primary, SYSTEM_NAMESPACE, EAST_WEST)
            return operator_of_member(self.mesh, member, address, bare=bare).text

        whole = Operator(doing, lambda: operator(bare=False))
        yield from self._namespaces(site, member)
        yield ControlPlane(doing, lambda: operator(bare=True), whole, "the way to istiod")
        yield RemoteSecret(primary, site, self.istioctl, member.server or "")
        yield Joined(site, self._image, self.mesh.spec.revision)
        yield from _whole(site, member, whole)

    def _doing(self, site: Site, manifests: Manifests) -> Doing:
        return Doing(site, self.mesh, self.istioctl, manifests, self.allow_removal)

    def _namespaces(self, site: Site, cluster: Primary | Member) -> Iterator[Step]:
        for wanted in namespaces(self.mesh, cluster):
            yield NamespaceReady(site, wanted.name, {}, wanted.annotations)

    @property
    def _image(self) -> str:
        return f"{self.mesh.spec.images.hub}/proxyv2:{self.mesh.spec.images.tag}"


def _whole(site: Site, cluster: Primary | Member, operator: Operator) -> Iterator[Step]:
    yield operator
    for gateway in cluster.gateways:
        if gateway.enabled:
            yield _ready(site, gateway)


def _ready(site: Site, gateway: IngressGateway) -> GatewayReady:
    balancer = gateway.load_balancer
    existing = (balancer.existing or "") if balancer else ""
    return GatewayReady(site, gateway.namespace, gateway.name, balanced=balancer is not None, existing=existing)
