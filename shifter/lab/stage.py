"""The stage: everything of a migration on one machine, started together and knobs to turn while it runs.

Real Envoys and Prometheus servers (`dataplane`), the emulated Tencent account whose weights drive the front
Envoy, the real service as a process of its own, and the real CLI for every order. What is read here is read the
way a user could: from the store, through the CLI, or from what the load generator's users saw.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from shifter.core.records import Record
from shifter.core.state import Report
from shifter.lab import files
from shifter.lab.account import REGION, SECRET_ID, SECRET_KEY, Account, open_account
from shifter.lab.dataplane import DataPlane, DataPlaneSpec
from shifter.lab.emulator import Emulator
from shifter.lab.free_ports import LOOPBACK, reserve_ports
from shifter.lab.load_report import LoadReport
from shifter.lab.processes import Child, ProcessSpec, Supervisor
from shifter.lab.tools import find_tools
from shifter.lab.topology import MESHES, Namespace
from shifter.ports import Store
from shifter.wiring import open_store

SERVICE: Final = "shifter"
RELAY: Final = "relay"
COMMAND_SECONDS: Final = 30.0
_TASK_DELAY_SECONDS: Final = (0.2, 0.6)

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class StageSpec:
    """What to set up.

    Args:
        directory: takes every file.
        balancer_of: gives each namespace its CLB.
        pace: how fast to migrate.
        seed: of the cloud's dice.
        load_seconds_max: for how long there are users.
        rates: requests per second of namespaces that do not have the pace's.
        grpc: the namespaces whose users speak gRPC.
        own: what the files have of their own.
        service: how Python is told to start the service.
        ahead: whether what is started so waits to be told to begin.
        relayed: whether the service reaches the emulator through a process that can be frozen.
    """

    directory: Path
    balancer_of: Mapping[str, str]
    pace: files.Pace
    seed: int
    load_seconds_max: float
    rates: Mapping[str, float] = field(default_factory=dict)
    grpc: frozenset[str] = frozenset()
    own: files.Own = files.NOTHING_OWN
    service: tuple[str, ...] = ("-m", "shifter")
    ahead: bool = False
    relayed: bool = False


class Stage:
    """The running lab, inside a `with` block."""

    def __init__(self, spec: StageSpec) -> None:
        self.spec = spec
        self._stack = ExitStack()
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self._environment = environment | {"NO_COLOR": "1", "SHIFTER_STORE": str(self.store_path)}
        namespaces = tuple(Namespace(name, grpc=name in spec.grpc) for name in spec.balancer_of)
        self._namespaces = namespaces
        self.plane = DataPlane(
            DataPlaneSpec(
                directory=spec.directory,
                namespaces=namespaces,
                scrape_interval_seconds=spec.pace.scrape_seconds,
                rates=self.rates,
                load_seconds_max=spec.load_seconds_max,
            ),
            find_tools(os.environ),
            environment,
        )
        self._account: Account | None = None
        self._emulator: Emulator | None = None
        self._store: Store | None = None
        self._service: Child | None = None
        self._relay: Child | None = None
        self.emulator_port = 0
        self.web_port = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.plane)
            self._account = open_account(self._namespaces, self.spec.balancer_of, self.plane.gateways)
            self._emulator = Emulator(
                balancers=self._account.balancers,
                region=REGION,
                secret_id=SECRET_ID,
                secret_key=SECRET_KEY,
                clock=time.time,
                rng=random.Random(self.spec.seed),
                task_delay_seconds=_TASK_DELAY_SECONDS,
                on_change=self._follow_weights,
            )
            self.emulator_port = self._emulator.start()
            stack.callback(self._emulator.stop)
            for balancer in self._account.balancers:
                self._follow_weights(balancer.load_balancer_id)
            urls = {mesh: self.plane.prometheus_url(mesh) for mesh in MESHES}
            own = self.spec.own
            supervisor = Supervisor(self.spec.directory / "logs", self._environment)
            stack.enter_context(supervisor)
            reserved = stack.enter_context(reserve_ports(2, random.Random()))
            self.web_port, relay_port = reserved.ports
            api_port = self._start_relay(supervisor, relay_port) if self.spec.relayed else self.emulator_port
            files.write_all(self.spec.directory, self._account, api_port, urls, self.spec.pace, own=own)
            self._service = self._start_service(supervisor)
            self._store = open_store(self.store_path)
            stack.callback(self._store.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def rates(self) -> Mapping[str, float]:
        """How many requests per second users send to each namespace."""
        return dict.fromkeys(self.spec.balancer_of, self.spec.pace.requests_per_second) | dict(self.spec.rates)

    @property
    def store_path(self) -> Path:
        """Where the service keeps its state."""
        return self.spec.directory / "shifter.db"

    @property
    def account(self) -> Account:
        """The Tencent account; inside the `with` block only."""
        return _running(self._account)

    @property
    def emulator(self) -> Emulator:
        """The Tencent API; inside the `with` block only."""
        return _running(self._emulator)

    @property
    def service(self) -> Child:
        """The process of `shifter run`, to stop, kill or start again; inside the `with` block only."""
        return _running(self._service)

    @property
    def relay(self) -> Child:
        """What stands before the emulator, to freeze; inside the `with` block of a relayed stage only."""
        return _running(self._relay)

    def reports(self) -> Mapping[str, Report]:
        """Return the service's newest explanation of every shift."""
        return _running(self._store).reports()

    def history(self, limit: int = 10_000) -> Sequence[Record]:
        """Return everything that happened so far, or the newest `limit` records of it."""
        return _running(self._store).history(limit=limit)

    def users(self) -> LoadReport:
        """Return what users saw so far, at most about half a second old."""
        return self.plane.load_report()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the real CLI, as an on-call engineer would."""
        argv = [sys.executable, "-m", "shifter", *words]
        return subprocess.run(
            argv,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def _start_relay(self, supervisor: Supervisor, port: int) -> int:
        argv = (sys.executable, "-m", "shifter.lab.relay", str(port), str(self.emulator_port))
        self._relay = supervisor.start(ProcessSpec(RELAY, argv, ready_url=f"http://{LOOPBACK}:{port}/lab/"))
        self._relay.wait_ready()
        return port

    def _start_service(self, supervisor: Supervisor) -> Child:
        directory = self.spec.directory
        argv = (
            *(sys.executable, *self.spec.service, "--store", str(self.store_path), "run"),
            *("--fleet", str(directory / "fleet.yaml"), "--policies", str(directory / "policies")),
            *("--listen", f"{LOOPBACK}:{self.web_port}"),
        )
        ready_url = f"http://{LOOPBACK}:{self.web_port}/readyz"
        spec = ProcessSpec(SERVICE, argv, ready_url=ready_url, ahead=self.spec.ahead)
        child = supervisor.start(spec)
        child.wait_ready()
        return child

    def _follow_weights(self, balancer: str) -> None:
        """Let the front Envoy do what the balancer's weights say: the emulator calls this after every change."""
        account = self.account
        for namespace in account.namespaces_of(balancer):
            place = account.places[namespace]
            served = self.emulator.serving(place.balancer, place.listener, place.location)
            self.plane.set_weights(namespace, {account.gateway_port[key]: weight for key, weight in served.items()})


def _running(part: _Part | None) -> _Part:
    if part is None:
        raise RuntimeError("the lab runs inside its `with` block only")
    return part
