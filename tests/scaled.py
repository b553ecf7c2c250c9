"""A Deployment with an autoscaler in an API server in memory, and the controller that keeps to the floor.

For tests of who reads and pins it (`KubeWorkload`), and of what is built on that.
"""

from __future__ import annotations

from typing import Any

from shifter.adapters.kube.mesh_cluster import Connection
from shifter.adapters.kube.workload import KubeWorkload, Scaled
from shifter.ports.kube import AUTOSCALERS, DEPLOYMENTS, Body
from tests.kube import Call, MemoryApi, MemoryCluster

NAMESPACE = "istio-system"
NAME = "istio-ingressgateway"


def autoscaler_body(name: str, scales: str, **spec: Any) -> Body:  # noqa: ANN401 - JSON
    """An autoscaler of a Deployment, as a person would write it."""
    target = {"apiVersion": DEPLOYMENTS.api_version, "kind": DEPLOYMENTS.name, "name": scales}
    return {"metadata": {"name": name}, "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, **spec}}


class ScaledGateway:
    """The source's gateway with so many ready replicas; raising the floor makes replicas, and makes them ready.

    `api` is the door of whoever asks, where things can go wrong; `hand` is another's, who may change anything.
    """

    def __init__(self, ready: int = 2, floor: int | None = 1, namespace: str = NAMESPACE, name: str = NAME) -> None:
        self.namespace, self.name = namespace, name
        cluster = MemoryCluster(namespaces=(namespace,))
        self.api, self.hand = MemoryApi(cluster), MemoryApi(cluster, "ana")
        self.hand.create(DEPLOYMENTS, namespace, {"metadata": {"name": name}, "spec": {"replicas": ready}})
        if floor is not None:
            self.hand.create(AUTOSCALERS, namespace, autoscaler_body(name, name, minReplicas=floor))
        self.scale(ready)
        self.api.meanwhile(self._keep_to_the_floor, "replace", kind=AUTOSCALERS, times=None, after=True)

    def workload(self, **known: str) -> KubeWorkload:
        """The port over it."""
        return KubeWorkload(Connection(lambda: self.api, "tcm"), Scaled(self.namespace, self.name, **known))

    def deployment(self) -> Body:
        """The Deployment as it is now."""
        return self.hand.get(DEPLOYMENTS, self.namespace, self.name)

    def autoscaler(self) -> Body:
        """The autoscaler as it is now."""
        return self.hand.get(AUTOSCALERS, self.namespace, self.name)

    def floor(self) -> int:
        """What the autoscaler keeps to."""
        return int(self.autoscaler()["spec"]["minReplicas"])

    def change(self, **spec: Any) -> None:  # noqa: ANN401 - JSON
        """Change the autoscaler's spec as a person would; None takes a key away."""
        body = self.autoscaler()
        body["spec"] = {key: value for key, value in (body["spec"] | spec).items() if value is not None}
        self.hand.replace(AUTOSCALERS, self.namespace, body)

    def scale(self, ready: Any) -> None:  # noqa: ANN401 - what a server says
        """Let so many replicas be ready; none are left out of the status, as a server does."""
        body = self.deployment()
        body["status"] = {"replicas": ready, "readyReplicas": ready} if ready else {}
        self.hand.replace(DEPLOYMENTS, self.namespace, body, status=True)

    def _keep_to_the_floor(self, call: Call) -> None:
        del call
        ready = self.deployment().get("status", {}).get("readyReplicas", 0)
        self.scale(max(ready, self.floor()))
