"""Who stands where in the lab: pure values, no process and no socket.

Everything that has to agree on a port, a pod name or a host (the Envoys, Prometheus, the load, the tests)
reads it from one `Topology`. The meshes have different numbers of gateway pods on purpose: with equal numbers,
code that forgets to divide a mesh's share by its number of targets would still give the right split.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOURCE_MESH = "tcm"
TARGET_MESH = "istio"
MESHES = (SOURCE_MESH, TARGET_MESH)
GATEWAY_PODS = {SOURCE_MESH: 2, TARGET_MESH: 3}
FIRST_WEIGHT = 10  # of the source's gateways in every rule, before anything moves; the target's have none
# Both meshes call their gateway the same, as whoever takes TCM's manifests along does: only the datasource tells.
GATEWAY_WORKLOAD = "istio-ingressgateway"
GATEWAY_NAMESPACE = "istio-system"


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace that users reach through the balancer.

    Args:
        name: Kubernetes name, for example `shop`.
        domains: host names that lead to it; none given means `<name>.example.com`.
        grpc: whether its users speak gRPC.
    """

    name: str
    domains: tuple[str, ...] = ()
    grpc: bool = False

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that lead here, never empty."""
        return self.domains or (f"{self.name}.example.com",)

    @property
    def service(self) -> str:
        """The cluster-local name that Istio reports as `destination_service`."""
        return f"{self.name}.{self.name}.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway pod: an Envoy of its own, and one target of the balancer's rules."""

    mesh: str
    pod: str
    port: int
    admin_port: int


@dataclass(frozen=True, slots=True)
class Workloads:
    """The applications of one mesh (one Envoy that answers for all of them), and the mesh's decoy series."""

    mesh: str
    pod: str
    port: int
    decoy_port: int
    admin_port: int


@dataclass(frozen=True, slots=True)
class Topology:
    """The whole lab: every process and its ports, all on 127.0.0.1. Nobody ever listens on `closed_port`."""

    namespaces: tuple[Namespace, ...]
    gateways: tuple[Gateway, ...]
    workloads: tuple[Workloads, ...]
    front_port: int
    front_admin_port: int
    prometheus_ports: Mapping[str, int]
    closed_port: int

    def namespace(self, name: str) -> Namespace:
        """The namespace of that name.

        Raises:
            KeyError: the lab has no such namespace.
        """
        for namespace in self.namespaces:
            if namespace.name == name:
                return namespace
        raise KeyError(f"the lab has no namespace {name!r}")

    def gateways_of(self, mesh: str) -> tuple[Gateway, ...]:
        """The gateway pods of a mesh.

        Raises:
            KeyError: the lab has no such mesh.
        """
        if mesh not in GATEWAY_PODS:
            raise KeyError(f"the lab has no mesh {mesh!r}")
        return tuple(gateway for gateway in self.gateways if gateway.mesh == mesh)

    def workloads_of(self, mesh: str) -> Workloads:
        """The applications of a mesh.

        Raises:
            KeyError: the lab has no such mesh.
        """
        for workloads in self.workloads:
            if workloads.mesh == mesh:
                return workloads
        raise KeyError(f"the lab has no mesh {mesh!r}")


def ports_needed() -> int:
    """How many ports `lay_out` hands out.

    They are 2 a gateway, 3 for a mesh's workloads, 1 a Prometheus, 2 for the front, and a closed one.
    """
    meshes = len(GATEWAY_PODS)
    return 2 * sum(GATEWAY_PODS.values()) + 3 * meshes + meshes + 2 + 1


def lay_out(namespaces: Sequence[Namespace], ports: Sequence[int]) -> Topology:
    """Give every process its ports.

    Args:
        namespaces: at least one; names and hosts must be unique.
        ports: exactly `ports_needed()` free TCP ports.

    Raises:
        ValueError: no namespace, an impossible name or host, one given twice, or the wrong number of ports.
    """
    _check_names(namespaces)
    if len(ports) != ports_needed():
        raise ValueError(f"the lab needs {ports_needed()} ports, got {len(ports)}")
    free = iter(ports)
    gateways = tuple(
        Gateway(mesh, f"{mesh}-ingressgateway-{index}", next(free), next(free))
        for mesh, pods in GATEWAY_PODS.items()
        for index in range(pods)
    )
    workloads = tuple(
        Workloads(mesh, f"{mesh}-workloads-0", next(free), next(free), next(free)) for mesh in GATEWAY_PODS
    )
    return Topology(
        namespaces=tuple(namespaces),
        gateways=gateways,
        workloads=workloads,
        front_port=next(free),
        front_admin_port=next(free),
        prometheus_ports={mesh: next(free) for mesh in GATEWAY_PODS},
        closed_port=next(free),
    )


def _check_names(namespaces: Sequence[Namespace]) -> None:
    if not namespaces:
        raise ValueError("the lab needs at least one namespace")
    names = [namespace.name for namespace in namespaces]
    hosts = [host for namespace in namespaces for host in namespace.hosts]
    # They become file names, Envoy cluster names and parts of expressions.
    for pattern, words in ((r"[a-z0-9-]+", names), (r"[a-z0-9.-]+", hosts)):
        for word in words:
            if not re.fullmatch(pattern, word):
                raise ValueError(f"{word!r} is no name that Kubernetes or DNS would take")
            if words.count(word) > 1:
                raise ValueError(f"{word!r} is given twice")
