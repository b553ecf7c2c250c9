"""`shifter run`: everything that a service is made of, with a store in a file or in a cluster."""

from __future__ import annotations

import os
import random
import secrets
import socket
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shifter.wiring.outside import mesh_clusters, recorded_metrics
from shifter.wiring.stores import ClusterAddress, connected

if TYPE_CHECKING:
    from collections.abc import Callable

    from shifter.adapters.kube.probe import Asked
    from shifter.core.documents.fleet import Fleet
    from shifter.ports import Leadership, Store
    from shifter.service.policy_files import PolicyFolder
    from shifter.service.telemetry import Telemetry
    from shifter.service.tick import Parts


_STORE_SECONDS: Final = 3.0
"""How long the service waits for one answer of the API server, at most: a retreat waits behind it."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `shifter run` was told. `mode` overrides the fleet file's; `listen` is `host:port`."""

    fleet: Path
    policies: Path
    store: Path | ClusterAddress
    listen_host: str
    listen_port: int
    mode: str | None = None
    log_level: str = "info"


def _as_built(parts: Parts) -> Parts:
    return parts


def serve(options: ServeOptions, refit: Callable[[Parts], Parts] = _as_built) -> None:
    """Run the service on the embedded store, the real cloud and both datasources, until it is told to stop.

    Args:
        options: what `shifter run` was told.
        refit: is handed the parts and returns those to run with; the lab's way in, production leaves them as built.

    Raises:
        ConfigError: the fleet file or the policy folder cannot be used, or not in a cluster.
        RefusedError: the definitions in a cluster are of another version, or not there;
            another shifter holds the lease of this store, or the store is damaged, gone, or a later one's.
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
    from shifter.files.documents import load_fleet  # noqa: PLC0415
    from shifter.service import daemon, telemetry  # noqa: PLC0415
    from shifter.service.policy_files import PolicyFolder, refuse_unusable  # noqa: PLC0415

    fleet = load_fleet(options.fleet)
    told = telemetry.Telemetry(CollectorRegistry(), timedelta(minutes=5))
    if isinstance(options.store, ClusterAddress):
        _serve_in_cluster(options, options.store, fleet, told, refit)
        return
    folder = PolicyFolder(options.policies, fleet)
    # First, since it looks the file through and upgrades it: what is read of it before could be told wrongly.
    lease = SqliteLease(options.store)
    for note in lease.notes:
        told.warn("store.note", reason=note)
    store = SqliteStore(options.store)
    refuse_unusable(folder, lambda: bool(store.load()))
    parts = _parts(options, fleet, folder, told, Kept(store, lease))
    daemon.run(refit(parts), options.listen_host, options.listen_port)


@dataclass(frozen=True, slots=True)
class Kept:
    """A store, and the right to raise shares that goes with it."""

    store: Store
    lease: Leadership


def _parts(options: ServeOptions, fleet: Fleet, folder: PolicyFolder, told: Telemetry, kept: Kept) -> Parts:
    from shifter.adapters.tencent.api import ClbApi  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.tencent.clb import ClbProvider  # noqa: PLC0415 - see `_serve`
    from shifter.service.lanes import Lanes  # noqa: PLC0415 - see `_serve`
    from shifter.service.tick import Parts  # noqa: PLC0415 - see `_serve`
    from shifter.service.workload import TargetCluster  # noqa: PLC0415 - see `_serve`

    source, target = mesh_clusters(fleet)
    return Parts(
        fleet=fleet,
        mode=options.mode or fleet.spec.mode,
        folder=folder,
        store=kept.store,
        leadership=kept.lease,
        provider=ClbProvider(ClbApi(fleet.spec.provider.tencent)),
        metrics=recorded_metrics(fleet),
        lanes=Lanes(),
        telemetry=told,
        stopwatch=time.monotonic,
        workload=None if source is None else source.gateway(),
        deployment=None if source is None else source.deployment,
        target_cluster=None if target is None else TargetCluster(target.gateway(), target.deployment),
    )


def _serve_in_cluster(
    options: ServeOptions, address: ClusterAddress, fleet: Fleet, told: Telemetry, refit: Callable[[Parts], Parts]
) -> None:
    """Stand by and lead in turn, on the store and the lease of one namespace."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - see `_serve`

    from shifter.adapters.kube.lease import KubeLease  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.kube.lease_record import Claim  # noqa: PLC0415 - see `_serve`
    from shifter.core.documents.fleet import late_calls  # noqa: PLC0415 - see `_serve`
    from shifter.errors import ConfigError  # noqa: PLC0415 - see `_serve`
    from shifter.service import standby, telemetry  # noqa: PLC0415 - see `_serve`
    from shifter.service.policy_files import PolicyFolder  # noqa: PLC0415 - see `_serve`

    if late := late_calls(fleet):
        raise ConfigError(f"{options.fleet}: {late}; lower the one, or raise the other")
    served = replace(address, request_timeout_seconds=min(address.request_timeout_seconds, _STORE_SECONDS))
    timing = fleet.spec.lease.timing()
    # Its calls are bounded by what a renewal may take; connections of its own, so that no list is in their way.
    patience = replace(address, request_timeout_seconds=timing.call_seconds / 2)
    pod = os.environ.get("POD_NAME") or socket.gethostname()

    with closing(connected(served)) as asked:
        unchecked = lambda said: told.warn("store.note", reason=said)  # noqa: E731 - a sentence
        refuse_to_stand_by(asked, address.namespace, PolicyFolder(options.policies, fleet), unchecked)

    # One client for all terms: each has a lease of its own, and no connection is left behind with it.
    electing = connected(patience)

    def candidate() -> KubeLease:
        claim = Claim(address.namespace, f"{pod}_{secrets.token_hex(4)}", fleet.metadata.name)
        tell = lambda said: told.event("service.lease", reason=said)  # noqa: E731 - a sentence
        return KubeLease(electing, claim, timing, floor=lambda: _newest_epoch(served), tell=tell)

    def parts(lease: standby.Candidate) -> Parts:
        term = telemetry.Telemetry(CollectorRegistry(), timedelta(minutes=5))
        folder = PolicyFolder(options.policies, fleet)
        return refit(_parts(options, fleet, folder, term, Kept(_watching_store(served, term, lease.answered), lease)))

    with closing(electing):
        standby.run(standby.Replica(candidate, parts, told), options.listen_host, options.listen_port)


def refuse_to_stand_by(api: Asked, namespace: str, folder: PolicyFolder, tell: Callable[[str], None]) -> None:
    """Refuse to start a replica that could only fail: what it saves would be lost, or it has nothing to do.

    What cannot be asked now refuses nothing: a replica that starts while the API server is away stands by until it is
    back. Nor is it asked again: of a leader whose definitions are exchanged, saves fail and retreats go on.

    Args:
        api: the API server.
        namespace: where shifter is installed.
        folder: the policies, never read before.
        tell: is told in a sentence what could not be looked at.

    Raises:
        RefusedError: the cluster's definitions would drop what is saved, or are not there.
        ConfigError: the folder cannot be used, and no shift is under way.
    """
    from shifter.adapters.kube.definitions import refuse_unfit  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.kube.kinds import SHIFTS  # noqa: PLC0415 - see `_serve`
    from shifter.ports.kube import KubeError  # noqa: PLC0415 - see `_serve`
    from shifter.service.policy_files import refuse_unusable  # noqa: PLC0415 - see `_serve`

    def is_under_way() -> bool:
        try:
            return bool(api.list(SHIFTS, namespace).items)
        except KubeError as error:
            tell(f"whether a shift is under way cannot be told: {error}")
            return True

    try:
        refuse_unfit(api)
    except KubeError as error:
        tell(f"whether the definitions are those of this version cannot be told: {error}")
    refuse_unusable(folder, is_under_way)


def _watching_store(address: ClusterAddress, told: Telemetry, answered: Callable[[], float]) -> Store:
    from shifter.adapters.kube.breaker import Breaker  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.kube.kinds import SHIFT_ORDERS  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.kube.ordering import understood  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.kube.store import KubeStore  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.kube.watching import Watched  # noqa: PLC0415 - see `_serve`

    api = connected(address)
    seen = Watched(
        api,
        SHIFT_ORDERS,
        address.namespace,
        keep=understood,
        monotonic=time.monotonic,
        dice=random.random,
        tell=lambda said: told.warn("store.watch", reason=said),
    )
    seen.start()
    asked = Breaker(api, answered)
    token = lambda: secrets.token_hex(4)  # noqa: E731 - a few characters
    return KubeStore(asked, address.namespace, secrets.token_hex(8), token, seen, calls_roll=True)


def _newest_epoch(address: ClusterAddress) -> int:
    """Return the newest epoch that a write was begun in: a lease that was deleted must not begin anew."""
    from shifter.adapters.kube.store import KubeStore  # noqa: PLC0415 - see `_serve`

    with closing(KubeStore(connected(address), address.namespace, "nobody", lambda: "")) as store:
        return store.last_epoch()
