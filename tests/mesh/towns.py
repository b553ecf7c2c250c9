"""Two clusters and the network between them: where a mesh is installed in the tests.

The member's API server reaches istiod as in production: through its own Service `istiod`, whose endpoint is the address
of the primary's east-west gateway. The gateway's Envoy does not run here, so what carries a call on from that address
is this network, and only while everything stands that would: the gateway's Service with that address, and Istio's
Gateway that exposes istiod.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.cluster.plane import ControlPlane
from tests.cluster.tools import ClusterTools
from tests.mesh.clusters import CONTROLLERS, PODS, SERVICES, Asking, Balancers, Body, Machines, Standing
from tests.mesh.istiod import Istiods
from tests.mesh.network import Network

SYSTEM: Final = "istio-system"
PORTS: Final = {443: "httpsAddr", 15017: "httpsAddr", 15012: "secureGRPCAddr"}
"""What istiod's Service offers, and which of its listeners that is."""

_EXPOSING: Final = "/apis/networking.istio.io/v1beta1/gateways"
_ENDPOINTS: Final = f"/api/v1/namespaces/{SYSTEM}/endpoints"
_SLICES: Final = f"/apis/discovery.k8s.io/v1/namespaces/{SYSTEM}/endpointslices"


@dataclass(frozen=True, slots=True)
class TownCluster:
    """One cluster of a town."""

    name: str
    plane: ControlPlane
    network: Network
    istiods: Istiods
    machines: Machines
    balancers: Balancers

    @property
    def asking(self) -> Asking:
        """Plain requests to it."""
        return Asking(self.plane)


class Town:
    """A primary cluster and members, each a real control plane; inside a `with` block.

    Args:
        tools: the control plane's programs.
        discovery: pilot-discovery of the release that will be installed.
        folder: where everything goes; must not exist.
        names: what the clusters are called, the primary first.
    """

    def __init__(self, tools: ClusterTools, discovery: Path, folder: Path, names: tuple[str, ...]) -> None:
        self._tools = tools
        self._discovery = discovery
        self._folder = folder
        self._names = names
        self.clusters: dict[str, TownCluster] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for number, name in enumerate(self._names):
                self.clusters[name] = _built(stack, self._tools, self._discovery, self._folder / name, number)
            stack.enter_context(_Wires(self))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def primary(self) -> TownCluster:
        """The cluster whose istiod it is."""
        return self.clusters[self._names[0]]

    def kubeconfig(self) -> Path:
        """A new kubeconfig file with one context for each cluster, of its name, as somebody who may do everything."""
        place = self._folder / "kubeconfig.yaml"
        parts: dict[str, list[Body]] = {"clusters": [], "users": [], "contexts": []}
        for name, each in self.clusters.items():
            own = each.plane
            authority = {"server": own.url, "certificate-authority": str(own.credentials.authority)}
            parts["clusters"].append({"name": name, "cluster": authority})
            parts["users"].append({"name": name, "user": {"token": own.token("root")}})
            parts["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
        place.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **parts}), encoding="utf-8")
        return place


def _built(stack: ExitStack, tools: ClusterTools, discovery: Path, folder: Path, number: int) -> TownCluster:
    network = stack.enter_context(Network(folder / "network"))
    flags = (f"--egress-selector-config-file={network.selector}",)
    plane = stack.enter_context(ControlPlane(tools, folder / "plane", os.environ, more=flags, controllers=CONTROLLERS))
    plane.start()
    istiods = stack.enter_context(Istiods(discovery, plane, folder / "istiods"))
    machines = stack.enter_context(Machines(Asking(plane), number, istiods.is_ready))
    balancers = stack.enter_context(Balancers(Asking(plane), number))
    return TownCluster(folder.name, plane, network, istiods, machines, balancers)


class _Wires(Standing):
    """Keeps every network leading to where the cluster's own objects say."""

    def __init__(self, town: Town) -> None:
        super().__init__()
        self._town = town

    def look(self) -> None:
        primary = self._town.primary
        for cluster in self._town.clusters.values():
            cluster.istiods.sweep(frozenset(pod["metadata"]["uid"] for pod in cluster.asking.items(PODS)))
        for cluster in self._town.clusters.values():
            serving = primary if cluster is primary or _leads_to(primary, cluster) else None
            cluster.network.lead({} if serving is None else _leads(cluster, serving))


def _leads(cluster: TownCluster, serving: TownCluster) -> Mapping[tuple[str, int], int]:
    one = serving.istiods.one
    if one is None:
        return {}
    services = [each for each in cluster.asking.items(SERVICES) if each["metadata"]["name"].startswith("istiod")]
    return {
        (service["spec"]["clusterIP"], port): one.ports[listener]
        for service in services
        for port, listener in PORTS.items()
    }


def _leads_to(primary: TownCluster, member: TownCluster) -> bool:
    """Say whether the member's Service istiod has the address of a gateway of the primary that exposes istiod."""
    given = {
        address["ip"]
        for service in primary.asking.items(SERVICES)
        for address in service["status"].get("loadBalancer", {}).get("ingress", ())
    }
    # Istio 1.18 writes Endpoints, a current one EndpointSlices; no controller here makes one of the other.
    named = {
        address["ip"]
        for endpoints in member.asking.items(_ENDPOINTS)
        if endpoints["metadata"]["name"].startswith("istiod")
        for subset in endpoints.get("subsets") or ()
        for address in subset.get("addresses") or ()
    } | {
        address
        for endpoint_slice in member.asking.items(_SLICES)
        if endpoint_slice["metadata"]["name"].startswith("istiod")
        for endpoint in endpoint_slice.get("endpoints") or ()
        for address in endpoint["addresses"]
    }
    return bool(given & named) and any("istiod" in each["metadata"]["name"] for each in primary.asking.items(_EXPOSING))
