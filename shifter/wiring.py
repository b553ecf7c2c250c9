"""The one place that knows which adapter is behind which port. Defaults are production; arguments are test seams."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shifter.core.balancing.splits import Side
    from shifter.core.documents.fleet import Fleet
    from shifter.ports import MeshMetrics, Store
    from shifter.service.checkup.examination import Outside, Surroundings
    from shifter.service.tick import Parts


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `shifter run` was told. `mode` overrides the fleet file's; `listen` is `host:port`."""

    fleet: Path
    policies: Path
    store: Path
    listen_host: str
    listen_port: int
    mode: str | None = None
    log_level: str = "info"


def open_store(path: Path) -> Store:
    """Open the embedded store, creating it if need be.

    Raises:
        StoreUnavailableError: it cannot be opened.
    """
    from shifter.adapters.sqlite.store import SqliteStore  # noqa: PLC0415 - commands that need no store stay fast

    return SqliteStore(path)


def is_served(path: Path) -> bool:
    """Return whether a service runs on the embedded store at `path`; True also where that cannot be told."""
    from shifter.adapters.sqlite.lock import is_held  # noqa: PLC0415 - commands that need no store stay fast

    return is_held(path)


def store_absence(path: Path) -> str:
    """Return why there is no embedded store at `path` yet, in a sentence; empty if there is one.

    Raises:
        StoreUnavailableError: what is there cannot be a store, or cannot be looked at.
    """
    from shifter.adapters.sqlite.place import absence  # noqa: PLC0415 - commands that need no store stay fast

    return absence(path)


def shift_names(path: Path) -> tuple[str, ...]:
    """Return the names of the shifts in the embedded store at `path`; none if it cannot be read right now."""
    from shifter.adapters.sqlite import names  # noqa: PLC0415 - without pydantic, for a shell that is waiting

    return names.shift_names(path)


def look_into_store(path: Path) -> Store:
    """Open the embedded store to look only: nothing of it is changed, and nothing created.

    Raises:
        StoreUnavailableError: it cannot be opened.
    """
    from shifter.adapters.sqlite.look import LookingStore  # noqa: PLC0415 - commands that need no store stay fast

    return LookingStore(path)


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
    return Outside(meshes, ClbProvider(ClbApi(tencent)), TencentClock(tencent), permission_for(WRITE_ACTION))


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


def _as_built(parts: Parts) -> Parts:
    return parts


def serve(options: ServeOptions, refit: Callable[[Parts], Parts] = _as_built) -> None:
    """Run the service on the embedded store, the real cloud and both datasources, until it is told to stop.

    Args:
        options: what `shifter run` was told.
        refit: is handed the parts and returns those to run with; the lab's way in, production leaves them as built.

    Raises:
        ConfigError: the fleet file or the policy folder cannot be used.
        RefusedError: another shifter holds the lease of this store, or the store is damaged, gone, or a later one's.
        StoreUnavailableError: the store cannot be opened.
    """
    from shifter.service import log_stream, telemetry  # noqa: PLC0415 - see `_serve`

    with log_stream.patient(sys.stderr) as stream:
        telemetry.configure_logs(options.log_level, stream)
        _serve(options, refit)


def _serve(options: ServeOptions, refit: Callable[[Parts], Parts]) -> None:
    # Imported here: these cost half a second and 100 MB, and `shifter get` needs none of them.
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from shifter.adapters.sqlite.lease import SqliteLease  # noqa: PLC0415
    from shifter.adapters.sqlite.store import SqliteStore  # noqa: PLC0415
    from shifter.adapters.tencent.api import ClbApi  # noqa: PLC0415
    from shifter.adapters.tencent.clb import ClbProvider  # noqa: PLC0415
    from shifter.files.documents import load_fleet  # noqa: PLC0415
    from shifter.service import daemon, telemetry  # noqa: PLC0415
    from shifter.service.lanes import Lanes  # noqa: PLC0415
    from shifter.service.policy_files import PolicyFolder  # noqa: PLC0415
    from shifter.service.tick import Parts  # noqa: PLC0415

    fleet = load_fleet(options.fleet)
    folder = PolicyFolder(options.policies, fleet)
    told = telemetry.Telemetry(CollectorRegistry(), timedelta(minutes=5))
    # First, since it looks the file through and upgrades it: what is read of it before could be told wrongly.
    lease = SqliteLease(options.store)
    for note in lease.notes:
        told.warn("store.note", reason=note)
    store = SqliteStore(options.store)
    if not store.load():
        # Nothing is under way, so a wrong folder is a slip of the hand and stops the start. Later it only holds.
        folder.reload()
    parts = Parts(
        fleet=fleet,
        mode=options.mode or fleet.spec.mode,
        folder=folder,
        store=store,
        leadership=lease,
        provider=ClbProvider(ClbApi(fleet.spec.provider.tencent)),
        metrics=_metrics(fleet),
        lanes=Lanes(),
        telemetry=told,
        stopwatch=time.monotonic,
    )
    daemon.run(refit(parts), options.listen_host, options.listen_port)


def _metrics(fleet: Fleet) -> Mapping[Side, MeshMetrics]:
    from shifter.adapters.prometheus import PrometheusMetrics  # noqa: PLC0415 - see `_serve`
    from shifter.core.balancing.splits import Side  # noqa: PLC0415 - as above
    from shifter.service.observe import MESH  # noqa: PLC0415 - as above

    max_age = fleet.spec.timing.sample_max_age.total_seconds()
    sources = {Side.SOURCE: fleet.spec.datasources.source, Side.TARGET: fleet.spec.datasources.target}
    return {
        side: PrometheusMetrics(source, max_age, MESH[side], custom=fleet.spec.custom_metrics)
        for side, source in sources.items()
    }
