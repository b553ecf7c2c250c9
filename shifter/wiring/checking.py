"""What `shifter doctor` looks at."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shifter.wiring.outside import mesh_clusters
from shifter.wiring.stores import look_into_store, store_absence

if TYPE_CHECKING:
    from shifter.core.documents.fleet import Fleet
    from shifter.service.checkup.examination import Outside, Surroundings


def surroundings(fleet: Path, policies: Path, store: Path) -> Surroundings:
    """Return what `shifter doctor` looks at: these files, this machine, and the parties that the fleet names."""
    from shifter.adapters.sqlite.lock import lease_facts  # noqa: PLC0415 - as `look_into_store`
    from shifter.adapters.sqlite.look import store_facts  # noqa: PLC0415 - as `look_into_store`
    from shifter.service.checkup.examination import Surroundings  # noqa: PLC0415 - for this one command
    from shifter.service.checkup.machine import Machine  # noqa: PLC0415 - for this one command
    from shifter.service.checkup.store import StoreDoor  # noqa: PLC0415 - for this one command
    from shifter.service.policy_files import PolicyFolder  # noqa: PLC0415 - for this one command

    return Surroundings(
        fleet=fleet,
        policies=policies,
        store=StoreDoor(store, store_absence, store_facts, lease_facts, look_into_store),
        folder_for=lambda found: PolicyFolder(policies, found),
        outside=_outside,
        machine=Machine(),
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
    )


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
