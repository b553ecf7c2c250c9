"""Where a shifter remembers: a file on this machine, or the objects of one namespace in a cluster."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shifter.adapters.kube.client import KubeClient
    from shifter.ports import Store
    from shifter.ports.transfers import Transferable


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

    return KubeStore(connected(address), address.namespace, secrets.token_hex(8), lambda: secrets.token_hex(4))


def cluster_identity(address: ClusterAddress) -> str:
    """Return as whom a cluster knows us; raises as `open_cluster_store`, and what the cluster answers."""
    from shifter.adapters.kube.connecting import identity  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.failures import store_errors  # noqa: PLC0415 - as `open_cluster_store`

    with closing(connected(address)) as api, store_errors("who asks cannot be told"):
        return identity(api)


def cluster_may(address: ClusterAddress, verb: str, shift: str) -> bool:
    """Return whether we may order `verb` of a shift, or of all together (`*`); raises as `cluster_identity`."""
    from shifter.adapters.kube.connecting import may  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.failures import store_errors  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.kinds import SHIFTS  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.core.deciding.orders import FLEET  # noqa: PLC0415 - as `open_cluster_store`

    with closing(connected(address)) as api, store_errors("what may be ordered cannot be told"):
        return may(api, address.namespace, verb, SHIFTS, "" if shift == FLEET else shift)


def cluster_served(address: ClusterAddress) -> bool:
    """Return whether somebody leads the installation, by this machine's clock; raises as `cluster_identity`."""
    from shifter.adapters.kube.failures import store_errors  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.news import is_led  # noqa: PLC0415 - as `open_cluster_store`

    with closing(connected(address)) as api, store_errors("who leads cannot be told"):
        return is_led(api, address.namespace, datetime.now(UTC))


def cluster_closed(address: ClusterAddress) -> str:
    """Return why nobody can give an order there, empty if nothing is known of that; raises as `cluster_identity`.

    Raises:
        NotFoundError: there is no such namespace.
    """
    from shifter.adapters.kube.connecting import closed as why_closed  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.failures import store_errors  # noqa: PLC0415 - as `open_cluster_store`

    with closing(connected(address)) as api, store_errors("whether orders can be given cannot be told"):
        return why_closed(api, address.namespace)


def cluster_transfer(address: ClusterAddress) -> Transferable:
    """Return the store in a cluster as one end of a copy; nothing is asked yet. Raises as `open_cluster_store`."""
    from shifter.adapters.kube.clocks import Clocks  # noqa: PLC0415 - for this one command
    from shifter.adapters.kube.store import KubeStore  # noqa: PLC0415 - as `open_cluster_store`
    from shifter.adapters.kube.transfer import KubeTransfer, Office  # noqa: PLC0415 - for this one command
    from shifter.core.documents.leasing import LeaseTiming  # noqa: PLC0415 - for this one command

    api, who = connected(address), f"copy-{secrets.token_hex(8)}"
    store = KubeStore(api, address.namespace, who, lambda: secrets.token_hex(4))
    named = address.context or address.cluster
    place = f"namespace {address.namespace} of the cluster{f' {named}' if named else ''}"
    return KubeTransfer(api, address.namespace, place, store, Office(who, LeaseTiming(), Clocks()))


def connected(address: ClusterAddress) -> KubeClient:
    """Return a client of the API server that is meant; nothing is asked of it yet. Raises as `open_cluster_store`."""
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
