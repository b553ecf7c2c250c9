"""One cluster for the installer's tests: a real control plane, and what stands in for its machines and its cloud.

Real are the API server, the controllers that make pods of Deployments and endpoints of pods, admission webhooks, and
istiod, which runs as a process for every pod that is one. Not real: kubelets (`Machines` makes pods ready), the
network (`Network` leads a Service's address to a process) and the cloud's load balancers (`Balancers`).
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Self

from tests.cluster.plane import ControlPlane

Body = dict[str, Any]

POLL_SECONDS: Final = 0.1
ASK_SECONDS: Final = 5.0
CONTROLLERS: Final = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "endpointslice-controller",
    "endpoints-controller",
)
"""On top of those of every plane: what makes pods, and the addresses behind Services."""

MERGE_PATCH: Final = "application/merge-patch+json"
PODS: Final = "/api/v1/pods"
SERVICES: Final = "/api/v1/services"
INTERNAL_SUBNET: Final = "service.kubernetes.io/qcloud-loadbalancer-internal-subnetid"
EXISTING: Final = "service.kubernetes.io/tke-existed-lbid"
BALANCER: Final = "service.kubernetes.io/loadbalance-id"


class Asking:
    """Plain requests to an API server, as `root`; the stand-ins share no code with what is tested."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def __call__(self, method: str, path: str, body: Body | None = None, content: str = "application/json") -> Body:
        """Return what is answered.

        Raises:
            HTTPError: refused.
            OSError: nobody answered.
        """
        asked = urllib.request.Request(  # noqa: S310 - our own address
            f"{self._plane.url}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._plane.token('root')}", "Content-Type": content},
            method=method,
        )
        with urllib.request.urlopen(asked, timeout=ASK_SECONDS, context=self._plane.trust) as answer:  # noqa: S310 - ours
            found: Body = json.load(answer)
        return found

    def items(self, path: str) -> Sequence[Body]:
        """Return all objects of a collection."""
        found = self("GET", path)
        kind = found["kind"].removesuffix("List")
        return [{"kind": kind} | each for each in found["items"]]

    def patch(self, body: Body, change: Body, *, status: bool = False) -> None:
        """Change an object, if it is still there."""
        metadata = body["metadata"]
        start = f"/api/v1/namespaces/{metadata['namespace']}/{body['kind'].lower()}s/{metadata['name']}"
        try:
            self("PATCH", f"{start}/status" if status else start, change, MERGE_PATCH)
        except urllib.error.HTTPError as error:
            if error.code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
                raise


class Standing(ABC):
    """Something that looks at a cluster again and again, in a thread of its own, inside a `with` block."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @abstractmethod
    def look(self) -> None:
        """Look once and do what is to be done."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            with suppress(OSError, http.client.HTTPException):  # it is away or refuses for now: again, as kubelets do
                self.look()


class Balancers(Standing):
    """The part of TKE that gives Services of type LoadBalancer a CLB: an address, and the CLB's id in an annotation.

    Args:
        asking: the cluster.
        number: which cluster it is, 0..255; addresses are `10.0.<number>.*` inside, `111.231.<number>.*` outside.

    `refused` says of a Service by its name what the cloud has against it; it gets an Event and no address. Source
    of the annotations: "Service Annotation" in TKE's documentation.
    """

    def __init__(self, asking: Asking, number: int) -> None:
        super().__init__()
        self._asking = asking
        self._number = number
        self._given = itertools.count(11)
        self._told: set[str] = set()
        self.refused: dict[str, str] = {}

    def look(self) -> None:
        """Give those addresses that have none."""
        for service in self._asking.items(SERVICES):
            is_balanced = service["spec"].get("type") == "LoadBalancer"
            if not is_balanced or service["status"].get("loadBalancer", {}).get("ingress"):
                continue
            if said := self.refused.get(service["metadata"]["name"]):
                self._refuse(service, said)
            else:
                self._give(service)

    def _give(self, service: Body) -> None:
        annotations = service["metadata"].get("annotations", {})
        number = next(self._given)
        is_internal = INTERNAL_SUBNET in annotations or EXISTING in annotations
        address = f"{'10.0' if is_internal else '111.231'}.{self._number}.{number}"
        balancer = annotations.get(EXISTING) or f"lb-{self._number:04}{number:04}"
        self._asking.patch(service, {"metadata": {"annotations": {BALANCER: balancer}}})
        self._asking.patch(service, {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}, status=True)

    def _refuse(self, service: Body, said: str) -> None:
        metadata = service["metadata"]
        if metadata["uid"] in self._told:
            return
        self._told.add(metadata["uid"])
        about = {"kind": "Service", "apiVersion": "v1", **{key: metadata[key] for key in ("name", "namespace", "uid")}}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": about,
            "type": "Warning",
            "reason": "EnsureServiceFailed",
            "message": said,
            "source": {"component": "service-controller"},
            "firstTimestamp": _now(),
            "lastTimestamp": _now(),
            "count": 1,
        }
        self._asking("POST", f"/api/v1/namespaces/{metadata['namespace']}/events", event)


class Machines(Standing):
    """The kubelets: every pod gets an address and becomes ready, once the process that it stands for is.

    Args:
        asking: the cluster.
        number: which cluster it is, 0..255; pods' addresses are `10.244.<number>.*`.
        is_ready: whether what a pod stands for can be used; asked again and again.

    `broken` says by a pod's label `app` why its containers do not run, such as `CrashLoopBackOff`.
    """

    def __init__(self, asking: Asking, number: int, is_ready: Callable[[Body], bool]) -> None:
        super().__init__()
        self._asking = asking
        self._number = number
        self._is_ready = is_ready
        self._addresses = itertools.count(2)
        self.broken: dict[str, str] = {}

    def look(self) -> None:
        """Move every pod on by as much as it can be."""
        for pod in self._asking.items(PODS):
            reason = self.broken.get(pod["metadata"].get("labels", {}).get("app", ""), "")
            is_ready = not reason and self._is_ready(pod)
            if _shown(pod) != (is_ready, reason):
                address = pod["status"].get("podIP") or f"10.244.{self._number}.{next(self._addresses)}"
                self._asking.patch(pod, {"status": _status(pod, address, reason, is_ready=is_ready)}, status=True)


def _shown(pod: Body) -> tuple[bool, str] | None:
    """Return whether a pod's status says that it is ready, and what it waits for; None if it says nothing."""
    status = pod["status"]
    if not status.get("podIP"):
        return None
    waiting = [each.get("state", {}).get("waiting", {}) for each in status.get("containerStatuses", ())]
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    return conditions.get("Ready") == "True", next((each.get("reason", "") for each in waiting), "")


def _status(pod: Body, address: str, reason: str, *, is_ready: bool) -> Body:
    states: Body = {"waiting": {"reason": reason}} if reason else {"running": {"startedAt": _now()}}
    told = "True" if is_ready else "False"
    kinds = ("Initialized", "ContainersReady", "Ready", "PodScheduled")
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": _now(),
        "conditions": [
            {"type": kind, "status": told if "Ready" in kind else "True", "lastTransitionTime": _now()}
            for kind in kinds
        ],
        "containerStatuses": [
            {
                "name": each["name"],
                "image": each["image"],
                "imageID": "",
                "ready": is_ready,
                "restartCount": 5 if reason else 0,
                "state": states,
            }
            for each in pod["spec"]["containers"]
        ],
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
