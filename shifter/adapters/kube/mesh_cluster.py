"""A mesh's own cluster, as the fleet file says: how it is reached, and which workloads are looked at in it.

It is connected to when somebody first asks, and not when the service starts: a kubeconfig that is missing must hold
climbs and must not keep a service from starting whose shifts may have to go back. Who asks may change: a kubeconfig is
read anew once the cluster did not know us.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from shifter.adapters.kube.workload import KubeWorkload, Scaled
from shifter.core.documents.clusters import Cluster
from shifter.core.text import plain
from shifter.errors import CapacityUnavailableError, ShifterError
from shifter.ports.kube import KubeApi


class Connection:
    """A connection that is made when it is needed. Safe to call from several threads.

    Args:
        connect: makes one; may fail with any error of shifter's.
        mesh: whose cluster, for people.
    """

    def __init__(self, connect: Callable[[], KubeApi], mesh: str) -> None:
        self._connect = connect
        self._mesh = mesh
        self._lock = threading.Lock()
        self._api: KubeApi | None = None

    def api(self) -> KubeApi:
        """Return the connection, made now if there is none.

        Raises:
            CapacityUnavailableError: it cannot be made.
        """
        with self._lock:
            if self._api is None:
                try:
                    self._api = self._connect()
                except ShifterError as error:
                    raise CapacityUnavailableError(
                        f"{self._mesh}'s cluster cannot be reached: {plain(str(error))}",
                        remedy=error.remedy or "mend kubeconfigFile or context in the fleet's clusters",
                    ) from error
            return self._api

    def forget(self) -> None:
        """Let go of the connection and make the next one anew; what is under way on it may fail."""
        with self._lock:
            before, self._api = self._api, None
        if before is not None:
            before.close()


class MeshCluster:
    """The workloads of one mesh's cluster.

    Args:
        settings: as the fleet file has it.
        mesh: whose it is, for people: `tcm` or `istio`.
        connect: makes a connection to it.
    """

    def __init__(self, settings: Cluster, mesh: str, connect: Callable[[], KubeApi]) -> None:
        gateway = settings.gateway
        self._mesh = mesh
        self._connection = Connection(connect, mesh)
        self._gateway = Scaled(
            gateway.namespace, gateway.deployment, gateway.autoscaler or "", gateway.uid or "", self._mesh
        )

    def gateway(self) -> KubeWorkload:
        """Return the mesh's gateway."""
        return KubeWorkload(self._connection, self._gateway)

    def deployment(self, name: str) -> KubeWorkload:
        """Return the Deployment of a `namespace/name`."""
        namespace, _, deployment = name.partition("/")
        return KubeWorkload(self._connection, Scaled(namespace, deployment, mesh=self._mesh))


def surroundings_of(settings: Cluster, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment in which a cluster of the fleet file is reached.

    Without a kubeconfigFile it is the cluster that shifter runs in, and no kubeconfig that lies about here.
    """
    if settings.kubeconfig_file is not None:
        return environ
    return {name: value for name, value in environ.items() if name not in {"KUBECONFIG", "HOME"}}
