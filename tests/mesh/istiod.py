"""istiod as a process: what a kubelet would make of the pod that a release's own Deployment asks for.

Its arguments and environment are those of the pod, its rights are those of the pod's ServiceAccount, its mesh settings
come from the ConfigMaps in the cluster. Only the addresses it listens at are ours, since all must be on 127.0.0.1.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from shifter.lab.free_ports import LOOPBACK, PortReservation, reserve_ports
from shifter.lab.processes import Child, ProcessSpec, Supervisor
from tests.cluster.plane import ControlPlane
from tests.mesh.clusters import Asking, Body

LISTENS: Final = ("monitoringAddr", "httpAddr", "httpsAddr", "grpcAddr", "secureGRPCAddr")
AUTHORITY: Final = "cacerts"
_TOKEN_SECONDS: Final = 7_200.0


@dataclass(frozen=True, slots=True)
class Istiod:
    """One that runs. `webhook` is the port at which it injects, `secure` at which it tells proxies."""

    child: Child
    reservation: PortReservation

    @property
    def ports(self) -> Mapping[str, int]:
        """The port of each of `LISTENS`."""
        return dict(zip(LISTENS, self.reservation.ports, strict=True))


class Istiods:
    """All of one cluster, by the pods that they stand for; inside a `with` block.

    Args:
        program: pilot-discovery, by release.
        plane: where.
        folder: for what they write.
    """

    def __init__(self, program: Path, plane: ControlPlane, folder: Path) -> None:
        self._program = program
        self._plane = plane
        self._folder = folder
        self._asking = Asking(plane)
        self._running: dict[str, Istiod] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._supervisor = stack.enter_context(Supervisor(self._folder / "logs", self._plane.environment))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def one(self) -> Istiod | None:
        """One that is ready, if there is any."""
        return next((each for each in list(self._running.values()) if each.child.spec.is_ready()), None)

    def is_ready(self, pod: Body) -> bool:
        """Start what a pod stands for, if that is an istiod and does not run, and say whether it is ready."""
        if pod["metadata"].get("labels", {}).get("app") != "istiod":
            return True
        uid = pod["metadata"]["uid"]
        if uid not in self._running:
            self._running[uid] = self._started(pod)
        istiod = self._running[uid]
        istiod.child.start()
        return istiod.child.spec.is_ready()

    def sweep(self, uids: frozenset[str]) -> None:
        """End those whose pods are gone."""
        for uid in self._running.keys() - uids:
            istiod = self._running.pop(uid)
            istiod.child.kill()
            istiod.reservation.close()

    def _started(self, pod: Body) -> Istiod:
        metadata, container = pod["metadata"], pod["spec"]["containers"][0]
        folder = self._folder / metadata["name"]
        folder.mkdir(parents=True)
        self._give_authority(metadata["namespace"], folder / "etc" / "cacerts")
        account = pod["spec"]["serviceAccountName"]
        kubeconfig = self._plane.account_kubeconfig(metadata["namespace"], account, seconds=_TOKEN_SECONDS)
        reservation = self._stack.enter_context(reserve_ports(len(LISTENS), random.Random()))  # noqa: S311 - a place
        istiod_ports = dict(zip(LISTENS, reservation.ports, strict=True))
        kept = [each for each in container["args"] if not each.startswith(tuple(f"--{name}" for name in LISTENS))]
        argv = (
            # Its own folder is where it looks for certificates; `env` becomes the program and is no process beside it.
            *("/usr/bin/env", f"--chdir={folder}", *(f"{k}={v}" for k, v in _environment(pod, container).items())),
            *(str(self._program), *kept, f"--kubeconfig={kubeconfig}", "--ctrlz_port=0"),
            *(f"--{name}={LOOPBACK}:{port}" for name, port in istiod_ports.items()),
        )
        ready = f"http://{LOOPBACK}:{istiod_ports['httpAddr']}/ready"
        child = self._supervisor.start(ProcessSpec(f"istiod-{metadata['name']}", argv, ready_url=ready))
        return Istiod(child, reservation)

    def _give_authority(self, namespace: str, folder: Path) -> None:
        """Put a plugged-in CA where the pod's volume would."""
        found = self._asking.items(f"/api/v1/namespaces/{namespace}/secrets?fieldSelector=metadata.name={AUTHORITY}")
        for name, content in ((n, c) for each in found for n, c in each.get("data", {}).items()):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(base64.b64decode(content))


def _environment(pod: Body, container: Body) -> Mapping[str, str]:
    """Return a container's variables, those of the downward API too, without the paths that only a pod has."""
    said: dict[str, str] = {}
    for each in container.get("env", ()):
        path = each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
        if "value" in each or path:
            said[each["name"]] = _field(pod, path) if path else each["value"]
    return said | {"KUBECONFIG": ""}


def _field(pod: Body, path: str) -> str:
    found: Any = pod
    for name in path.split("."):
        found = found.get(name, "") if isinstance(found, dict) else ""
    return str(found)
