"""A Prometheus that has recorded what a test says happened, at any time in the past.

promtool writes the blocks (`tsdb create-blocks-from openmetrics`), and a real Prometheus serves them.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from shifter.lab.free_ports import reserve_ports
from shifter.lab.processes import ProcessSpec, Supervisor
from shifter.lab.tools import find_prometheus

TICK_SECONDS = 15
EDGES = ("5.0", "100.0", "500.0", "+Inf")
PROMTOOL_TIMEOUT_SECONDS = 60
UP_SECONDS = 5000

Served = Callable[[int], tuple[float, float]]
"""What a pod served in the n-th tick of the recording: (requests, those of them that failed)."""


def steady(requests: int, error_percent: float, seed: int) -> Served:
    """Return a pod's traffic: requests a tick, each of which fails by itself."""
    chance = random.Random(seed)  # noqa: S311 - traffic, no secret
    failed = [sum(chance.random() < error_percent / 100 for _ in range(requests)) for _ in range(4000)]
    return lambda tick: (requests, failed[tick])


@dataclass
class Recording:
    """What was scraped of gateway pods from `begin` on, every 15 s; `lines` are OpenMetrics, by metric."""

    begin: datetime
    lines: dict[str, list[str]] = field(default_factory=dict)

    def pod(self, mesh: str, pod: str, served: Served, ticks: range) -> None:
        """Add a pod that was there for some ticks, and served a part of its requests slower than 100 ms."""
        good = bad = slow = 0.0
        for tick in ticks:
            requests, failed = served(tick)
            good, bad, slow = good + requests - failed, bad + failed, slow + requests * 0.02
            at = self.begin.timestamp() + tick * TICK_SECONDS
            labels = {"pod": pod, "app": mesh, "destination_service": "web.shop.svc.cluster.local"}
            for code, count in (("200", good), ("503", bad)):
                self._add("istio_requests_total", {**labels, "response_code": code}, count, at)
            fast = good + bad - slow
            for edge, count in zip(EDGES, (fast / 2, fast, good + bad, good + bad), strict=True):
                self._add("istio_request_duration_milliseconds_bucket", {**labels, "le": edge}, count, at)
            self._add("envoy_server_uptime", {"pod": pod, "app": mesh}, UP_SECONDS + tick * TICK_SECONDS, at)

    def _add(self, metric: str, labels: dict[str, str], value: float, at: float) -> None:
        # As `unknown`: a counter's name would get a suffix, and a histogram needs its count and sum.
        lines = self.lines.setdefault(metric, [f"# TYPE {metric} unknown"])
        said = ",".join(f"{name}={json.dumps(text)}" for name, text in labels.items())
        lines.append(f"{metric}{{{said}}} {value} {at:.3f}")

    @contextmanager
    def served(self, folder: Path) -> Iterator[str]:
        """Yield the address of a Prometheus that remembers it, until the block ends."""
        prometheus = find_prometheus(os.environ)
        text = folder / "recording.txt"
        text.write_text("\n".join(line for lines in self.lines.values() for line in lines) + "\n# EOF\n")
        command = [str(prometheus.with_name("promtool")), "tsdb", "create-blocks-from", "openmetrics", str(text)]
        subprocess.run(
            [*command, str(folder / "store")], check=True, capture_output=True, timeout=PROMTOOL_TIMEOUT_SECONDS
        )
        (folder / "prometheus.json").write_text("{}")
        with reserve_ports(1, random.Random()) as reserved, Supervisor(folder, os.environ) as supervisor:  # noqa: S311 - only where to look first
            url = f"http://127.0.0.1:{reserved.ports[0]}"
            argv = (
                str(prometheus),
                f"--config.file={folder / 'prometheus.json'}",
                f"--storage.tsdb.path={folder / 'store'}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address={url.removeprefix('http://')}",
                "--log.level=warn",
            )
            supervisor.start(ProcessSpec("prometheus", argv, ready_url=f"{url}/-/ready")).wait_ready()
            yield url
