"""The lab's data plane as one object: starts everything, changes weights, breaks and mends.

What a balancer, two meshes and their Prometheus servers do in production is done here by the real programs on
127.0.0.1; this module only starts them and turns the knobs. Weights are written by whoever plays the cloud.
"""

from __future__ import annotations

import random
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from shifter.lab import envoy, programs
from shifter.lab.bursts import Bursts, Rhythm
from shifter.lab.envoy_control import FrontEnvoy, Loss, fraction, set_runtime
from shifter.lab.free_ports import LOOPBACK, reserve_ports
from shifter.lab.json_files import write_json
from shifter.lab.load import HostLoad, LoadSpec
from shifter.lab.load_report import LoadReport
from shifter.lab.processes import Child, ProcessSpec, Supervisor
from shifter.lab.topology import (
    FIRST_WEIGHT,
    SOURCE_MESH,
    Gateway,
    Namespace,
    Topology,
    lay_out,
    ports_needed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from shifter.lab.tools import Tools

LOAD = "load"
LOAD_STOP_SECONDS = 8.0  # more than a user's patience, so that the last answers are counted


@dataclass(frozen=True, slots=True)
class DataPlaneSpec:
    """What to start.

    Args:
        directory: for configurations, logs, reports and Prometheus' history; created when missing.
        namespaces: at least one.
        scrape_interval_seconds: of both Prometheus servers.
        rates: requests per second for each namespace that gets load from the start; divided evenly over its hosts.
        load_seconds_max: the load ends by itself after that.
        load_requests_max: or after that many requests.
        load_in_flight_max: how many requests may be under way.
    """

    directory: Path
    namespaces: Sequence[Namespace]
    scrape_interval_seconds: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    load_seconds_max: float = 3_600.0
    load_requests_max: int = 2_000_000
    load_in_flight_max: int = 512


class DataPlane:
    """Envoys, Prometheus servers and load, running inside a `with` block.

    At first every user reaches the source mesh: its gateways have weight 10, the target's have none.

    Args:
        spec: what to start.
        tools: where Envoy and Prometheus are (`tools.find_tools`).
        environment: what the child processes see.
    """

    def __init__(self, spec: DataPlaneSpec, tools: Tools, environment: Mapping[str, str]) -> None:
        self._spec = spec
        self._tools = tools
        self._stack = ExitStack()
        self._supervisor = Supervisor(spec.directory / "logs", environment)
        self._config_directory = spec.directory / "config"
        self._endpoint_directory = spec.directory / "endpoints"
        self._report_path = spec.directory / "load-report.json"
        self._topology: Topology | None = None
        self._front = FrontEnvoy(self._endpoint_directory)
        self._dead: set[tuple[str, str]] = set()  # (mesh, namespace)
        self._unrouted: set[tuple[str, str]] = set()
        self._lost: dict[tuple[str, str], Loss] = {}
        self._bursts: dict[str, Bursts] = {}  # by namespace

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # Port numbers are no behaviour, so their randomness needs no seed.
            ports = stack.enter_context(reserve_ports(ports_needed(), random.Random()))
            self._topology = lay_out(self._spec.namespaces, ports.ports)
            self._write_files()
            stack.enter_context(self._supervisor)
            specs = programs.process_specs(self.topology, self._tools, self._config_directory, self._spec.directory)
            children = [self._supervisor.start(spec) for spec in specs]
            for child in children:
                child.wait_ready()
            if self._spec.rates:
                self.start_load(self._spec.rates)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for namespace in list(self._bursts):
                self.stop_bursts(namespace)
        finally:
            self._stack.close()

    @property
    def topology(self) -> Topology:
        """Every process, pod and port.

        Raises:
            RuntimeError: before the `with` block.
        """
        if self._topology is None:
            raise RuntimeError("the data plane gets its ports when its `with` block is entered")
        return self._topology

    @property
    def gateways(self) -> tuple[Gateway, ...]:
        """Every gateway pod: the balancer's possible targets."""
        return self.topology.gateways

    @property
    def front_port(self) -> int:
        """Where users connect, on 127.0.0.1; the Host header says which rule they mean."""
        return self.topology.front_port

    def prometheus_url(self, mesh: str) -> str:
        """Base URL of a mesh's Prometheus. Raises KeyError for an unknown mesh."""
        return f"http://{LOOPBACK}:{self.topology.prometheus_ports[mesh]}"

    def set_weights(self, namespace: str, weights: Mapping[int, int]) -> None:
        """Set the weights of all rules (domains) of a namespace.

        Args:
            namespace: its name.
            weights: gateway port to weight 0-100; ports left out get nothing, none above 0 means 503 for users.

        Raises:
            KeyError: no such namespace.
            ValueError: a port that is no gateway's, or a weight outside 0-100.
        """
        for host in self.topology.namespace(namespace).hosts:
            self.set_domain_weights(host, weights)

    def set_domain_weights(self, host: str, weights: Mapping[int, int]) -> None:
        """Set the weights of one rule (domain), as `set_weights` does for all of a namespace."""
        if not any(host in namespace.hosts for namespace in self.topology.namespaces):
            raise KeyError(f"the lab has no domain {host!r}")
        strangers = set(weights) - {gateway.port for gateway in self.gateways}
        if strangers:
            raise ValueError(f"no gateway listens on {sorted(strangers)}")
        self._front.set_weights(host, weights.items())

    def break_namespace(self, mesh: str, namespace: str, abort_percent: float, status: int = 503) -> None:
        """Let that percentage of a namespace's requests fail behind one mesh, with an HTTP status of 400-599."""
        self._fault(mesh, namespace, {"abort_percent": fraction(abort_percent), "abort_status": str(status)})

    def slow_namespace(self, mesh: str, namespace: str, delay_seconds: float, percent: float = 100) -> None:
        """Delay that percentage of a namespace's requests behind one mesh."""
        milliseconds = str(round(delay_seconds * 1_000))
        self._fault(mesh, namespace, {"delay_percent": fraction(percent), "delay_milliseconds": milliseconds})

    def fail_grpc(self, mesh: str, namespace: str, percent: float, status: int = envoy.GRPC_UNAVAILABLE) -> None:
        """Let that percentage of a namespace's gRPC answers behind one mesh be HTTP 200 with a failing gRPC status.

        Raises:
            ValueError: its users do not speak gRPC, a status outside 1-16, or no percentage.
        """
        if not self.topology.namespace(namespace).grpc or not 0 < status <= envoy.GRPC_STATUS_MAX:
            raise ValueError(f"{namespace} cannot answer with gRPC status {status}")
        self._fault(mesh, namespace, {"grpc_percent": fraction(percent), "grpc_status": str(status)})

    def lose_traffic(self, mesh: str, namespace: str, percent: float) -> None:
        """Let that percentage of a mesh's requests for a namespace end before its gateways, at a port that refuses.

        The balancer's weights stay as they are and it knows of nothing: no gateway counts these requests, and users
        get the front's own 503.
        """
        self._lost[self._known(mesh, namespace)] = Loss(percent, self.topology.closed_port)
        self._lose(namespace)

    def start_bursts(self, namespace: str, rhythm: Rhythm, rng: random.Random) -> None:
        """Let all of a namespace's requests through a gateway pod fail (503) for an instant, pod by pod, in all meshes.

        It ends with `stop_bursts`, the rhythm's end, or the `with` block.

        Raises:
            KeyError: no such namespace.
            RuntimeError: its bursts come already.
        """
        if namespace in self._bursts:
            raise RuntimeError(f"{namespace} has bursts already; stop them first")
        name, mesh_of = self.topology.namespace(namespace).name, {pod.pod: pod.mesh for pod in self.gateways}

        def strike(pod: str, begins: bool) -> None:  # noqa: FBT001 - as `Bursts` calls it
            keys = {envoy.pod_fault_key(name, pod): fraction(100) if begins else ""}
            set_runtime(self.topology.workloads_of(mesh_of[pod]).admin_port, keys)

        self._bursts[namespace] = Bursts(tuple(mesh_of), rhythm, strike, rng)
        self._bursts[namespace].start()

    def stop_bursts(self, namespace: str) -> None:
        """End a namespace's bursts, if there are any.

        Raises:
            EnvoyControlError: they had ended earlier, because an Envoy did not answer or refused.
        """
        if (bursts := self._bursts.pop(namespace, None)) is not None:
            bursts.stop()

    def lose_route(self, mesh: str, namespace: str) -> None:
        """Make a mesh's gateways forget the namespace's route, like a missing VirtualService: 404, flag NR."""
        self._unrouted.add(self._known(mesh, namespace))
        self._route(mesh, namespace)

    def mend(self, mesh: str, namespace: str) -> None:
        """Undo `break_namespace`, `slow_namespace`, `fail_grpc`, `lose_traffic` and `lose_route`."""
        self._fault(mesh, namespace, dict.fromkeys(envoy.FAULTS, ""))
        if self._lost.pop(self._known(mesh, namespace), None) is not None:
            self._lose(namespace)
        self._unrouted.discard(self._known(mesh, namespace))
        self._route(mesh, namespace)

    def kill_namespace(self, mesh: str, namespace: str) -> None:
        """Take all of a namespace's pods away in one mesh: its gateways answer 503, flag UH."""
        self._dead.add(self._known(mesh, namespace))
        self._route(mesh, namespace)

    def revive_namespace(self, mesh: str, namespace: str) -> None:
        """Undo `kill_namespace`."""
        self._dead.discard(self._known(mesh, namespace))
        self._route(mesh, namespace)

    def stop_prometheus(self, mesh: str) -> None:
        """Stop a mesh's Prometheus: connections are refused."""
        self.process(f"prometheus-{mesh}").stop()

    def start_prometheus(self, mesh: str) -> None:
        """Start it again, on the same port and with its history."""
        self._restart(self.process(f"prometheus-{mesh}"))

    def hang_prometheus(self, mesh: str) -> None:
        """Freeze a mesh's Prometheus: it accepts connections and answers nothing."""
        self.process(f"prometheus-{mesh}").freeze()

    def resume_prometheus(self, mesh: str) -> None:
        """Undo `hang_prometheus`."""
        self.process(f"prometheus-{mesh}").thaw()

    def process(self, name: str) -> Child:
        """A process by name, to freeze, kill or start again.

        Names are `front`, `load`, `prometheus-<mesh>`, a gateway's pod name, or `<mesh>-workloads-0`.

        Raises:
            KeyError: no such process.
        """
        return self._supervisor.child(name)

    def start_gateway(self, pod: str) -> None:
        """Start a gateway pod again after `process(pod).kill()`; its counters begin at 0, as a new pod's do.

        Raises:
            KeyError: no such gateway.
        """
        by_pod = {gateway.pod: gateway for gateway in self.gateways}
        gateway = by_pod[pod]
        self._restart(self.process(pod))
        for mesh, namespace in self._dead | self._unrouted:
            if mesh == gateway.mesh:  # a new pod reads the same configuration as the others
                self._route_at(gateway, namespace)

    def start_load(
        self, rates: Mapping[str, float], *, requests_max: int | None = None, seconds_max: float | None = None
    ) -> None:
        """Send requests through the front and count what users see; replaces the report of an earlier load.

        Args:
            rates: requests per second for each namespace.
            requests_max: it ends by itself after so many; None means the bound of the `DataPlaneSpec`.
            seconds_max: or after that long; None likewise.

        Raises:
            KeyError: no such namespace.
            RuntimeError: load runs already.
        """
        if self._supervisor.runs(LOAD):
            raise RuntimeError("load runs already; stop it first")
        hosts = tuple(
            HostLoad(name, host, rate / len(namespace.hosts), namespace.grpc)
            for name, rate in rates.items()
            for namespace in (self.topology.namespace(name),)
            for host in namespace.hosts
        )
        spec = LoadSpec(
            port=self.front_port,
            hosts=hosts,
            report_path=str(self._report_path),
            seconds_max=seconds_max or self._spec.load_seconds_max,
            requests_max=requests_max or self._spec.load_requests_max,
            in_flight_max=self._spec.load_in_flight_max,
        )
        path = self._config_directory / "load.json"
        spec.write(path)
        argv = (sys.executable, "-m", "shifter.lab.load", "--spec", str(path))
        self._report_path.unlink(missing_ok=True)
        self._supervisor.start(ProcessSpec(LOAD, argv, ready_file=self._report_path)).wait_ready()

    def stop_load(self) -> LoadReport:
        """Stop the load, wait for the requests under way, and return its last report."""
        self.process(LOAD).stop(LOAD_STOP_SECONDS)
        return self.load_report()

    def load_report(self) -> LoadReport:
        """What users saw, at most about half a second old.

        Raises:
            FileNotFoundError: no load has started yet.
        """
        return LoadReport.read(self._report_path)

    def _fault(self, mesh: str, namespace: str, values: Mapping[str, str]) -> None:
        name = self.topology.namespace(namespace).name
        keys = {envoy.fault_key(name, what): value for what, value in values.items()}
        set_runtime(self.topology.workloads_of(mesh).admin_port, keys)

    def _lose(self, namespace: str) -> None:
        losses = {
            gateway.port: self._lost[gateway.mesh, namespace]
            for gateway in self.gateways
            if (gateway.mesh, namespace) in self._lost
        }
        for host in self.topology.namespace(namespace).hosts:
            self._front.set_losses(host, losses)

    def _known(self, mesh: str, namespace: str) -> tuple[str, str]:
        return self.topology.workloads_of(mesh).mesh, self.topology.namespace(namespace).name

    def _route(self, mesh: str, namespace: str) -> None:
        for gateway in self.topology.gateways_of(mesh):
            if self.process(gateway.pod).running:
                self._route_at(gateway, namespace)

    def _route_at(self, gateway: Gateway, namespace: str) -> None:
        unrouted = (gateway.mesh, namespace) in self._unrouted
        dead = (gateway.mesh, namespace) in self._dead
        never, as_configured = "0", ""
        keys = {
            envoy.alive_key(namespace): never if dead or unrouted else as_configured,
            envoy.routed_key(namespace): never if unrouted else as_configured,
        }
        set_runtime(gateway.admin_port, keys)

    def _restart(self, child: Child) -> None:
        child.start()
        child.wait_ready()

    def _write_files(self) -> None:
        for directory in (self._config_directory, self._endpoint_directory):
            directory.mkdir(parents=True, exist_ok=True)
        first = {gateway.port: FIRST_WEIGHT for gateway in self.topology.gateways_of(SOURCE_MESH)}
        for namespace in self.topology.namespaces:
            self.set_weights(namespace.name, first)
        interval_seconds = self._spec.scrape_interval_seconds
        for name, content in programs.configurations(self.topology, self._endpoint_directory, interval_seconds).items():
            write_json(programs.config_path(self._config_directory, name), content)
