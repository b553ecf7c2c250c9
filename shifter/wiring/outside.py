"""The parties that a fleet file names: datasources, and the clusters of both meshes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shifter.adapters.kube.mesh_cluster import MeshCluster
    from shifter.core.balancing.splits import Side
    from shifter.core.documents.clusters import Cluster as MeshClusterSettings
    from shifter.core.documents.fleet import Fleet
    from shifter.ports import MeshMetrics


_WORKLOAD_SECONDS: Final = 4.0
"""How long one question about a workload may take: a look asks two, and a tick waits for it."""


def mesh_clusters(fleet: Fleet) -> tuple[MeshCluster | None, MeshCluster | None]:
    """Return the source's and the target's cluster, where the fleet names them; nobody is asked yet."""
    if fleet.spec.clusters is None:
        return None, None
    from shifter.adapters.kube.connecting import Cluster, connect  # noqa: PLC0415 - as in `serve`
    from shifter.adapters.kube.mesh_cluster import MeshCluster, surroundings_of  # noqa: PLC0415 - as in `serve`
    from shifter.core.balancing.splits import Side  # noqa: PLC0415 - as in `serve`
    from shifter.service.observe import MESH  # noqa: PLC0415 - as in `serve`

    def made(settings: MeshClusterSettings, side: Side) -> MeshCluster:
        where = Cluster(
            kubeconfig=settings.kubeconfig_file or "",
            context=settings.context or "",
            request_timeout_seconds=_WORKLOAD_SECONDS,
        )
        return MeshCluster(settings, MESH[side], lambda: connect(where, surroundings_of(settings, os.environ)))

    clusters = fleet.spec.clusters
    target = None if clusters.target is None else made(clusters.target, Side.TARGET)
    return made(clusters.source, Side.SOURCE), target


def recorded_metrics(fleet: Fleet) -> Mapping[Side, MeshMetrics]:
    """Return both datasources of a fleet, for what they recorded; nobody is asked before they are read."""
    from shifter.adapters.prometheus import PrometheusMetrics  # noqa: PLC0415 - as in `serve`
    from shifter.core.balancing.splits import Side  # noqa: PLC0415 - as in `serve`
    from shifter.service.observe import MESH  # noqa: PLC0415 - as in `serve`

    max_age = fleet.spec.timing.sample_max_age.total_seconds()
    sources = {Side.SOURCE: fleet.spec.datasources.source, Side.TARGET: fleet.spec.datasources.target}
    return {
        side: PrometheusMetrics(source, max_age, MESH[side], custom=fleet.spec.custom_metrics)
        for side, source in sources.items()
    }
