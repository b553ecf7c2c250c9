"""What is known of the new mesh from its file alone, before any of it is installed: enough for most of lint.

Which Secrets and namespaces there are only the cluster itself knows; whoever asked it hands that in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from shifter.core.documents.mesh import Mesh
from shifter.mesh.configuration.cleaning import mapping, sequence
from shifter.mesh.configuration.findings import GatewayPods, Target
from shifter.mesh.configuration.kinds import ConfigKind

_TRUST_DOMAIN: Final = "cluster.local"
"""Istio's own, unless meshConfig says another."""


def target_of(
    mesh: Mesh,
    *,
    served: Mapping[ConfigKind, Collection[str]] | None = None,
    secrets: Collection[tuple[str, str]] | None = None,
    namespaces: Collection[str] | None = None,
) -> Target:
    """Return what lint has to know of a mesh.

    Args:
        mesh: its file.
        served: the versions by kind that the primary serves; not known: what the release serves.
        secrets: those of the clusters where gateways run, as pairs of namespace and name.
        namespaces: those of the primary, and those that come with the export.
    """
    spec = mesh.spec
    gateways = [each for cluster in mesh.clusters for each in cluster.gateways if each.enabled]
    providers = (mapping(each).get("name") for each in sequence(spec.mesh_config.get("extensionProviders")))
    trust_domain = spec.mesh_config.get("trustDomain")
    return Target(
        release=spec.version,
        revision=spec.revision or "",
        served=served,
        gateways=tuple(GatewayPods(each.namespace, each.name, each.selector()) for each in gateways),
        secrets=secrets,
        namespaces=namespaces,
        providers=frozenset(name for name in providers if isinstance(name, str)),
        trust_domain=trust_domain if isinstance(trust_domain, str) else _TRUST_DOMAIN,
    )
