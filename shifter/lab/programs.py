"""Which programs the data plane consists of: the configuration file and the command of each. Pure rendering.

A program's name is also its file's: `front`, a pod's name, or `prometheus-<mesh>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shifter.lab import envoy, prometheus
from shifter.lab.processes import ProcessSpec

if TYPE_CHECKING:
    from pathlib import Path

    from shifter.lab.tools import Tools
    from shifter.lab.topology import Gateway, Topology, Workloads

FRONT = "front"


def config_path(directory: Path, name: str) -> Path:
    """Where a program's configuration is in the folder of configurations."""
    return directory / f"{name}.json"


def configurations(
    topology: Topology, endpoint_directory: Path, scrape_interval_seconds: float
) -> dict[str, dict[str, Any]]:
    """The configuration of every program, as JSON values by the program's name.

    Args:
        topology: who stands where.
        endpoint_directory: from where the front takes its weights.
        scrape_interval_seconds: of both Prometheus servers.
    """
    return (
        {FRONT: envoy.front_bootstrap(topology, endpoint_directory)}
        | {pod.pod: envoy.gateway_bootstrap(topology, pod) for pod in topology.gateways}
        | {pod.pod: envoy.workloads_bootstrap(topology, pod) for pod in topology.workloads}
        | {
            f"prometheus-{mesh}": prometheus.configuration(prometheus.scraped(topology, mesh), scrape_interval_seconds)
            for mesh in topology.prometheus_ports
        }
    )


def process_specs(topology: Topology, tools: Tools, config_directory: Path, directory: Path) -> list[ProcessSpec]:
    """The command of every program; the Prometheus servers keep their history below `directory`."""
    pods: list[Gateway | Workloads] = [*topology.gateways, *topology.workloads]
    admin_ports = {FRONT: topology.front_admin_port} | {pod.pod: pod.admin_port for pod in pods}
    specs = [
        ProcessSpec(name, envoy.arguments(tools.envoy, config_path(config_directory, name)), envoy.ready_url(port))
        for name, port in admin_ports.items()
    ]
    for mesh, port in topology.prometheus_ports.items():
        name = f"prometheus-{mesh}"
        config = config_path(config_directory, name)
        argv = prometheus.arguments(tools.prometheus, config, directory / name, port)
        specs.append(ProcessSpec(name, argv, prometheus.ready_url(port)))
    return specs
