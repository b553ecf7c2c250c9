"""What a cluster of a mesh needs beside its IstioOperator: namespaces, and what is written on them.

istioctl makes istio-system and nothing else, and writes no annotation. A member without the one below gets no
`istio-ca-root-cert` in its namespaces and no certificate in its webhook: istiod serves only clusters that name it, and
looks once, when the cluster's remote secret comes. Who makes istio-system before istioctl does must also write the
network's label: istioctl writes it only on a namespace that it makes itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shifter.core.documents.mesh import Member, Mesh, Primary
from shifter.core.documents.mesh_gateways import SYSTEM_NAMESPACE

CONTROL_PLANE_CLUSTERS: Final = "topology.istio.io/controlPlaneClusters"
"""Which clusters' istiods may write to this one
(https://istio.io/latest/docs/setup/install/multicluster/primary-remote/, istio.io/api annotation)."""

NETWORK: Final = "topology.istio.io/network"
"""On istio-system: the network of pods that do not say theirs."""


@dataclass(frozen=True, slots=True)
class NamespaceWanted:
    """A namespace that must be there, with these labels and annotations; whatever else it has is somebody else's."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def namespaces(mesh: Mesh, cluster: Primary | Member) -> tuple[NamespaceWanted, ...]:
    """Return the namespaces that a cluster must have before istioctl runs in it: the system's, then gateways' by name.

    Namespaces that get sidecars are not among them: they are there already, or there is nothing to inject.
    """
    served_by = {CONTROL_PLANE_CLUSTERS: mesh.spec.primary.cluster} if isinstance(cluster, Member) else {}
    others = {each.namespace for each in cluster.gateways if each.enabled} - {SYSTEM_NAMESPACE}
    system = NamespaceWanted(SYSTEM_NAMESPACE, {NETWORK: mesh.spec.network}, served_by)
    return (system, *map(NamespaceWanted, sorted(others)))
