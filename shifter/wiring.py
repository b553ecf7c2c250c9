"""The one place that knows which adapter is behind which port. Defaults are production; arguments are test seams."""

from __future__ import annotations

import os
import random
import secrets
import socket
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shifter.adapters.kube.client import KubeClient
    from shifter.adapters.kube.mesh_cluster import MeshCluster
    from shifter.core.balancing.splits import Side
    from shifter.core.documents.clusters import Cluster as MeshClusterSettings
    from shifter.core.documents.fleet import Fleet
    from shifter.ports import Leadership, MeshMetrics, Store
    from shifter.service.checkup.examination import Outside, Surroundings
    from shifter.service.policy_files import PolicyFolder
    from shifter.service.telemetry import Telemetry
    from shifter.service.tick import Parts
    from shifter.transfers import Transferable


_WORKLOAD_SECONDS: Final = 4.0
"""How long one question about a workload may take: a look asks two, and a tick waits for it."""

_STORE_SECONDS: Final = 3.0
"""How long the service waits for one answer of the API server, at most: a retreat waits behind it."""


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Which installation in which cluster is meant, in kubectl's words; an empty text leaves it to the kubeconfig.

    `kubeconfig` None: what KUBECONFIG names, else the pod that this runs in, else `~/.kube/config`. `impersonate` is
    kubectl's `--as`.
    """

    kubeconfig: Path | None
    context: str
    cluster: str
    user: str
    namespace: str
    impersonate: str
    request_timeout_seconds: float


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


def file_transfer(path: Path) -> Transferable:
    """Return the embedded store at `path` as one end of a copy; nothing is opened yet."""
    from shifter.adapters.sqlite.transfer import SqliteTransfer  # noqa: PLC0415 - for this one command

    return SqliteTransfer(path)


def open_cluster_store(address: ClusterAddress) -> Store:
    """Open the store in a cluster. Nothing is asked of it yet.

    Raises:
        ConfigError: the kubeconfig is absent or wrong, or names no such context.
    """
    from shifter.adapters.kube.store import KubeStore  # noqa: PLC0415 - commands that need no store stay fast

    return KubeStore(_connected(address), address.namespace, secrets.token_hex(8), lambda: secrets.token_hex(4))


def cluster_identity(address: ClusterAddress) -> str:
    """Return as whom a cluster knows us; raises as `open_cluster_store`, and what the cluster answers."""
    from shifter.adapters.kube.connecting import identity  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.failures import store_errors  # noqa: PLC0415 - as `open_cluster_store`

    with closing(_connected(address)) as api, store_errors("who asks cannot be told"):
        return identity(api)


def cluster_may(address: ClusterAddress, verb: str, shift: str) -> bool:
    """Return whether we may order `verb` of a shift, or of all together (`*`); raises as `cluster_identity`."""
    from shifter.adapters.kube.api import SHIFTS  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.connecting import may  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.failures import store_errors  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.core.deciding.orders import FLEET  # noqa: PLC0415 - as `open_cluster_store`

    with closing(_connected(address)) as api, store_errors("what may be ordered cannot be told"):
        return may(api, address.namespace, verb, SHIFTS, "" if shift == FLEET else shift)


def cluster_served(address: ClusterAddress) -> bool:
    """Return whether somebody leads the installation, by this machine's clock; raises as `cluster_identity`."""
    from shifter.adapters.kube.failures import store_errors  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.news import is_led  # noqa: PLC0415 - as `open_cluster_store`

    with closing(_connected(address)) as api, store_errors("who leads cannot be told"):
        return is_led(api, address.namespace, datetime.now(UTC))


def cluster_transfer(address: ClusterAddress) -> Transferable:
    """Return the store in a cluster as one end of a copy; nothing is asked yet. Raises as `open_cluster_store`."""
    from shifter.adapters.kube.clocks import Clocks  # noqa: PLC0415 - for this one command
    from shifter.adapters.kube.store import KubeStore  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.transfer import KubeTransfer, Office  # noqa: PLC0415 - for this one command
    from shifter.core.documents.leasing import LeaseTiming  # noqa: PLC0415 - for this one command

    api, who = _connected(address), f"copy-{secrets.token_hex(8)}"
    store = KubeStore(api, address.namespace, who, lambda: secrets.token_hex(4))
    named = address.context or address.cluster
    place = f"namespace {address.namespace} of the cluster{f' {named}' if named else ''}"
    return KubeTransfer(api, address.namespace, place, store, Office(who, LeaseTiming(), Clocks()))


def _connected(address: ClusterAddress) -> KubeClient:
    from shifter.adapters.kube.connecting import Cluster, connect  # noqa: PLC0415 - a second, for who needs a cluster

    where = Cluster(
        kubeconfig="" if address.kubeconfig is None else str(address.kubeconfig),
        context=address.context,
        cluster=address.cluster,
        user=address.user,
        impersonate=address.impersonate,
        request_timeout_seconds=address.request_timeout_seconds,
        may_ask=sys.stdin.isatty(),
    )
    return connect(where, os.environ)


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
    source, target = _mesh_clusters(fleet)
    if source is not None:
        found = replace(found, gateway=source.gateway(), deployment=source.deployment)
    if target is not None:
        found = replace(found, target_gateway=target.gateway(), target_deployment=target.deployment)
    return found


def _mesh_clusters(fleet: Fleet) -> tuple[MeshCluster | None, MeshCluster | None]:
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
    from shifter.files.documents import load_fleet  # noqa: PLC0415
    from shifter.service import daemon, telemetry  # noqa: PLC0415
    from shifter.service.policy_files import PolicyFolder  # noqa: PLC0415

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
    if not store.load():
        # Nothing is under way, so a wrong folder is a slip of the hand and stops the start. Later it only holds.
        folder.reload()
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

    source, target = _mesh_clusters(fleet)
    return Parts(
        fleet=fleet,
        mode=options.mode or fleet.spec.mode,
        folder=folder,
        store=kept.store,
        leadership=kept.lease,
        provider=ClbProvider(ClbApi(fleet.spec.provider.tencent)),
        metrics=_metrics(fleet),
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
    from shifter.service import standby, telemetry  # noqa: PLC0415 - see `_serve`
    from shifter.service.policy_files import PolicyFolder  # noqa: PLC0415 - see `_serve`

    served = replace(address, request_timeout_seconds=min(address.request_timeout_seconds, _STORE_SECONDS))
    timing = fleet.spec.lease.timing()
    # Its calls are bounded by what a renewal may take; connections of its own, so that no list is in their way.
    patience = replace(address, request_timeout_seconds=timing.call_seconds / 2)
    pod = os.environ.get("POD_NAME") or socket.gethostname()

    def candidate() -> KubeLease:
        claim = Claim(address.namespace, f"{pod}_{secrets.token_hex(4)}", fleet.metadata.name)
        tell = lambda said: told.event("service.lease", reason=said)  # noqa: E731 - a sentence
        return KubeLease(_connected(patience), claim, timing, floor=lambda: _newest_epoch(served), tell=tell)

    def parts(lease: standby.Candidate) -> Parts:
        term = telemetry.Telemetry(CollectorRegistry(), timedelta(minutes=5))
        folder = PolicyFolder(options.policies, fleet)
        return refit(_parts(options, fleet, folder, term, Kept(_watching_store(served, term, lease.answered), lease)))

    standby.run(standby.Replica(candidate, parts, told), options.listen_host, options.listen_port)


def _watching_store(address: ClusterAddress, told: Telemetry, answered: Callable[[], float]) -> Store:
    from shifter.adapters.kube.api import SHIFT_ORDERS  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.kube.breaker import Breaker  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.kube.ordering import understood  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.kube.store import KubeStore  # noqa: PLC0415 - see `_serve`
    from shifter.adapters.kube.watching import Watched  # noqa: PLC0415 - see `_serve`

    api = _connected(address)
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
    return KubeStore(asked, address.namespace, secrets.token_hex(8), lambda: secrets.token_hex(4), seen)


def _newest_epoch(address: ClusterAddress) -> int:
    """Return the newest epoch that a write was begun in: a lease that was deleted must not begin anew."""
    from shifter.adapters.kube.store import KubeStore  # noqa: PLC0415 - see `_serve`

    with closing(KubeStore(_connected(address), address.namespace, "nobody", lambda: "")) as store:
        return store.last_epoch()


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
