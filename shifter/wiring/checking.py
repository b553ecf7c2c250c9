"""What `shifter doctor` looks at."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shifter.wiring.outside import mesh_clusters
from shifter.wiring.stores import ClusterAddress, connected, look_into_store, store_absence

if TYPE_CHECKING:
    from shifter.core.documents.fleet import Fleet
    from shifter.ports.clusters import ClusterProbe
    from shifter.service.checkup.doors import StoreDoor
    from shifter.service.checkup.examination import Outside, Surroundings


def surroundings(fleet: Path | None, policies: Path | None, store: StoreDoor) -> Surroundings:
    """Return what `shifter doctor` looks at: these files, this machine, the store, and whom the fleet names."""
    from shifter.service.checkup.examination import Surroundings  # noqa: PLC0415 - for this one command
    from shifter.service.checkup.machine import Machine  # noqa: PLC0415 - for this one command
    from shifter.service.policy_files import PolicyFolder  # noqa: PLC0415 - for this one command

    return Surroundings(
        fleet=fleet,
        policies=policies,
        store=store,
        folder_for=lambda found: PolicyFolder(policies or Path(), found),
        outside=_outside,
        machine=Machine(),
        now=_now,
        monotonic=time.monotonic,
    )


def file_door(path: Path) -> StoreDoor:
    """Return the store in a file, as `shifter doctor` looks at it; nothing is opened yet."""
    from shifter.adapters.sqlite.lock import lease_facts  # noqa: PLC0415 - as `look_into_store`
    from shifter.adapters.sqlite.look import store_facts  # noqa: PLC0415 - as `look_into_store`
    from shifter.service.checkup.store import FileDoor  # noqa: PLC0415 - for this one command

    return FileDoor(path, store_absence, store_facts, lease_facts, look_into_store)


def cluster_door(probe: ClusterProbe) -> StoreDoor:
    """Return a store in a cluster, as `shifter doctor` looks at it; nobody is asked yet."""
    from shifter.service.checkup.cluster import ClusterDoor  # noqa: PLC0415 - for this one command

    return ClusterDoor(probe, _now)


def cluster_probe(address: ClusterAddress) -> ClusterProbe:
    """Return what asks a cluster what is wrong with it; nothing is asked yet. Raises as `open_cluster_store`."""
    from shifter.adapters.kube.probe import KubeProbe  # noqa: PLC0415 - for this one command
    from shifter.adapters.kube.store import KubeStore  # noqa: PLC0415 - as `open_cluster_store`

    api = connected(address)
    return KubeProbe(
        api,
        address.namespace,
        api.server,
        lambda: KubeStore(api, address.namespace, secrets.token_hex(8), lambda: secrets.token_hex(4)),
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _outside(fleet: Fleet) -> Outside:
    from shifter.adapters.prometheus import PrometheusMetrics, PrometheusProbe  # noqa: PLC0415 - as in `serve`
    from shifter.adapters.tencent.api import WRITE_ACTION, ClbApi, permission_for  # noqa: PLC0415 - as in `serve`
    from shifter.adapters.tencent.clb import ClbProvider  # noqa: PLC0415 - as in `serve`
    from shifter.adapters.tencent.server_clock import TencentClock  # noqa: PLC0415 - as in `serve`
    from shifter.core.balancing.splits import Side  # noqa: PLC0415 - as in `serve`
    from shifter.service.checkup.datasources import STALENESS_SECONDS, MeshSource  # noqa: PLC0415 - as in `serve`
    from shifter.service.checkup.examination import Outside  # noqa: PLC0415 - as in `serve`
    from shifter.service.observe import MESH  # noqa: PLC0415 - as in `serve`

    sources = {Side.SOURCE: fleet.spec.datasources.source, Side.TARGET: fleet.spec.datasources.target}
    meshes = tuple(
        MeshSource(
            name=MESH[side],
            key=side,
            settings=source,
            # A scrape may lie between the questions of one read; old samples are to be seen, to be told.
            metrics=PrometheusMetrics(source, 2 * STALENESS_SECONDS, MESH[side], custom=fleet.spec.custom_metrics),
            probe=PrometheusProbe(source, MESH[side]),
        )
        for side, source in sources.items()
    )
    tencent = fleet.spec.provider.tencent
    found = Outside(meshes, ClbProvider(ClbApi(tencent)), TencentClock(tencent), permission_for(WRITE_ACTION))
    source, target = mesh_clusters(fleet)
    if source is not None:
        found = replace(found, gateway=source.gateway(), deployment=source.deployment)
    if target is not None:
        found = replace(found, target_gateway=target.gateway(), target_deployment=target.deployment)
    return found
