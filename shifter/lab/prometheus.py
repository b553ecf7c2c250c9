"""One Prometheus per mesh: pure rendering of its configuration and its command.

Each server scrapes the gateway pods of its mesh and the pods whose series are decoys, with the labels a Kubernetes pod
discovery would add. Relabelling makes Envoy's spelling Istio's (the prefix, the dash for no gRPC status) and does
nothing else, so that whatever is wrong with a series is still wrong in Prometheus. Written for 2.42 (Debian 12) and
newer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shifter.lab.free_ports import LOOPBACK
from shifter.lab.istio_metrics import GRPC_STATUS_LABEL, NO_GRPC_STATUS
from shifter.lab.topology import GATEWAY_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shifter.lab.topology import Topology

JOB = "kubernetes-pods"
WORKLOADS_NAMESPACE = "apps"
RETENTION = "6h"


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """One scraped Envoy: its admin port, and the pod it stands for."""

    admin_port: int
    pod: str
    namespace: str


def scraped(topology: Topology, mesh: str) -> tuple[ScrapeTarget, ...]:
    """The pods that a mesh's Prometheus scrapes: its gateways first, then the decoys.

    Raises:
        KeyError: the lab has no such mesh.
    """
    gateways = tuple(ScrapeTarget(pod.admin_port, pod.pod, GATEWAY_NAMESPACE) for pod in topology.gateways_of(mesh))
    workloads = topology.workloads_of(mesh)
    return (*gateways, ScrapeTarget(workloads.admin_port, workloads.pod, WORKLOADS_NAMESPACE))


def configuration(targets: Sequence[ScrapeTarget], scrape_interval_seconds: float) -> dict[str, Any]:
    """The server's configuration file (JSON, which is YAML).

    Args:
        targets: what to scrape.
        scrape_interval_seconds: above 0; to the millisecond. Also the scrape timeout.

    Raises:
        ValueError: an interval below one millisecond.
    """
    milliseconds = round(scrape_interval_seconds * 1_000)
    if milliseconds < 1:
        raise ValueError(f"a scrape interval of {scrape_interval_seconds} s is too short")
    return {
        "global": {"scrape_interval": f"{milliseconds}ms", "scrape_timeout": f"{milliseconds}ms"},
        "scrape_configs": [
            {
                "job_name": JOB,
                "metrics_path": "/stats/prometheus",
                "params": {"usedonly": [""]},
                "static_configs": [
                    {
                        "targets": [f"{LOOPBACK}:{target.admin_port}"],
                        "labels": {"pod": target.pod, "namespace": target.namespace},
                    }
                    for target in targets
                ],
                "metric_relabel_configs": [
                    {
                        "source_labels": ["__name__"],
                        "regex": "envoy_(istio_.*)",
                        "target_label": "__name__",
                        "replacement": "$1",
                    },
                    {
                        "source_labels": [GRPC_STATUS_LABEL],
                        "regex": NO_GRPC_STATUS,
                        "target_label": GRPC_STATUS_LABEL,
                        "replacement": "",
                    },
                ],
            }
        ],
    }


def arguments(binary: Path, config: Path, store: Path, port: int) -> tuple[str, ...]:
    """The command of one server. It keeps its history in `store` over restarts, also after a kill."""
    return (
        str(binary),
        f"--config.file={config}",
        f"--storage.tsdb.path={store}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--log.level=warn",
    )


def ready_url(port: int) -> str:
    """Answers 200 once queries are served."""
    return f"http://{LOOPBACK}:{port}/-/ready"
