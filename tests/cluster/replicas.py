"""Two replicas of the real service on the real API server, between an emulated Tencent Cloud and two Prometheus.

The stage of `tests/process`, with the state in a cluster: each replica is a process with the rights of the chart's
service account, and a way of its own to the API server that can be cut. The lease is scaled down by its own rules.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import yaml

from shifter.adapters.kube.lease_record import RELEASED
from shifter.adapters.kube.store import KubeStore
from shifter.lab.free_ports import LOOPBACK, reserve_ports
from shifter.lab.processes import Child, ProcessSpec
from shifter.ports import Store
from shifter.ports.kube import LEASES, Body, KubeApi
from tests.cluster.installation import ACCOUNT
from tests.cluster.plane import ControlPlane
from tests.cluster.wire import Wire
from tests.process.conftest import DEADLINE_SECONDS, Stage

LEASE: Final = {
    "duration": "4s",
    "deadline": "2600ms",
    "writeBudget": "1200ms",
    "renew": "400ms",
    "call": "900ms",
    "lowering": "60s",
}
CALL_SECONDS: Final = 0.4
"""Of one wait of a call to the cloud: three of them fit into the write budget."""

HAND_OVER_SECONDS: Final = 4.0 + 1.2 + 2 * 0.4
"""Lease, write budget and two polls: how long after a leader was killed another one leads, at most."""

NAMES: Final = ("shifter-a", "shifter-b")


class Replicas(Stage):
    """Everything around two `shifter run --store kubernetes`, inside a `with` block. Starts nothing by itself.

    Somebody led before and was told to stop, so that the first leader of a test has nobody to wait for.
    """

    def __init__(self, path: Path, plane: ControlPlane, namespace: str, api: KubeApi, **rest: Any) -> None:  # noqa: ANN401 - of `Stage`
        super().__init__(path, **rest)
        self.plane = plane
        self.namespace = namespace
        self.api = api
        self.replicas: dict[str, Child] = {}
        self.wires: dict[str, Wire] = {}
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            reserved = self._stack.enter_context(reserve_ports(len(NAMES), random.Random()))  # noqa: S311 - other labs run
            self._ports = dict(zip(NAMES, reserved.ports, strict=True))
            for name in NAMES:
                self.wires[name] = self._stack.enter_context(self.plane.wire())
            self.api.create(LEASES, self.namespace, _left_in_good_order())
        except BaseException:
            self._stack.close()
            raise
        return self

    def open_store(self) -> Store:
        names = (f"t{number}" for number in count())
        return KubeStore(self.api, self.namespace, "test", lambda: next(names))

    def write_fleet(self, **timing: str) -> None:
        super().write_fleet(**timing)
        place = self.path / "fleet.yaml"
        fleet = yaml.safe_load(place.read_text())
        fleet["spec"]["lease"] = LEASE
        fleet["spec"]["provider"]["tencent"]["timeout"] = f"{CALL_SECONDS}s"
        place.write_text(yaml.safe_dump(fleet))

    def run(self, *names: str, token_seconds: float = 3600.0, ready: bool = True) -> None:
        """Start replicas, or start them again."""
        for name in names or NAMES:
            if name not in self.replicas:
                self.replicas[name] = self._supervisor.start(self._spec(name, token_seconds))
            else:
                self.replicas[name].start()
        for name in names or NAMES:
            if ready:
                self.replicas[name].wait_ready(DEADLINE_SECONDS)

    def _spec(self, name: str, token_seconds: float) -> ProcessSpec:
        kubeconfig = self.plane.account_kubeconfig(
            self.namespace, ACCOUNT, seconds=token_seconds, wire=self.wires[name]
        )
        listen = f"{LOOPBACK}:{self._ports[name]}"
        argv = (
            *("/usr/bin/env", f"POD_NAME={name}", sys.executable, "-m", "shifter"),
            *("--store", "kubernetes", "--kubeconfig", str(kubeconfig), "-n", self.namespace, "run"),
            *("--fleet", str(self.path / "fleet.yaml"), "--policies", str(self.path / "policies")),
            *("--listen", listen),
        )
        return ProcessSpec(name, argv, ready_url=f"http://{listen}/readyz")

    def lease(self) -> Mapping[str, Any]:
        """What stands in the Lease now."""
        spec: Mapping[str, Any] = self.api.get(LEASES, self.namespace, "shifter").get("spec") or {}
        return spec

    def leader(self) -> str:
        """Whose the Lease is; empty if nobody's."""
        return str(self.lease().get("holderIdentity") or "").partition("_")[0]

    def leads(self, name: str) -> bool:
        """Whether a replica says that it may raise shares."""
        status, text = self.ask_of(name, "/metrics")
        return status == 200 and "shifter_leader 1.0" in text.splitlines()

    def ask_of(self, name: str, path: str) -> tuple[int, str]:
        """Ask a replica's web side."""
        self.port = self._ports[name]
        return self.ask(path)

    def until_somebody_leads(self, *besides: str) -> str:
        """Wait until one of the replicas leads, other than those named; return which."""
        found: list[str] = []

        def leads() -> bool:
            found[:] = [name for name in NAMES if name not in besides and self.leads(name)]
            return bool(found)

        self.until(leads, "nobody leads")
        return found[0]

    def type(self, who: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of shifter's as a person with a kubeconfig, in a process of its own."""
        argv = (sys.executable, "-m", "shifter", "--kubeconfig", str(self.plane.kubeconfig(who)), "-n", self.namespace)
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("SHIFTER_", "KUBE"))}
        return subprocess.run(
            [*argv, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            env=environment,
            check=False,
        )


def _left_in_good_order() -> Body:
    spec = {"holderIdentity": "", "leaseTransitions": 1, "leaseDurationSeconds": 3}
    return LEASES.body(metadata={"name": "shifter", "annotations": {RELEASED: "1"}}, spec=spec)


def others(name: str) -> Sequence[str]:
    """Return the other replicas."""
    return [each for each in NAMES if each != name]
