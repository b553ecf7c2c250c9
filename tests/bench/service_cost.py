"""What the real `shifter run` costs while nothing moves: start, processor and memory, with few shifts and with many.

Every shift waits before a gate, so that ticks look at everything and write nothing. The cloud is the emulator and
Prometheus a scripted server, both in this process; only the service's own process is measured, by the kernel's count.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from shifter.core.documents.fleet import ISTIO_EDGES_MS
from shifter.lab import files
from shifter.lab.account import REGION, SECRET_ID, SECRET_KEY, open_account
from shifter.lab.emulator import Emulator
from shifter.lab.free_ports import LOOPBACK, reserve_ports
from shifter.lab.processes import ProcessSpec, Supervisor
from shifter.lab.topology import MESHES, Gateway, Namespace

SHIFTS_PER_BALANCER = 10
WARM_UP_SECONDS = 20.0
WATCHED_SECONDS = 45.0
PER_SECOND = 20.0
MIB = 1024 * 1024
START_SECONDS = 60.0
_NOTHING_YET: Mapping[str, Any] = {"status": "success", "data": {"resultType": "matrix", "result": []}}
"""What a Prometheus that has just been set up answers about the past."""

_EDGES = re.compile(r'le=~"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Cost:
    """What one service costs: seconds until it is ready, percent of one core and MiB while idle."""

    start_seconds: float
    core_percent: float
    memory_mib: float


def cost_of(shifts: int) -> Cost:
    """Start a service on so many shifts with production's timing, and watch it do nothing."""
    with tempfile.TemporaryDirectory() as directory, _around(Path(directory), shifts) as (supervisor, spec):
        began = time.perf_counter()
        service = supervisor.start(spec)
        service.wait_ready(START_SECONDS)
        start_seconds = time.perf_counter() - began
        time.sleep(WARM_UP_SECONDS)
        before, at = _processor_seconds(service.pid), time.perf_counter()
        time.sleep(WATCHED_SECONDS)
        used, span = _processor_seconds(service.pid) - before, time.perf_counter() - at
        return Cost(start_seconds, 100 * used / span, _resident_mib(service.pid))


@contextmanager
def _around(path: Path, shifts: int) -> Iterator[tuple[Supervisor, ProcessSpec]]:
    namespaces = [Namespace(f"ns-{index:03d}") for index in range(shifts)]
    balancer_of = {
        namespace.name: f"lb-front{index // SHIFTS_PER_BALANCER:04d}" for index, namespace in enumerate(namespaces)
    }
    gateways = [Gateway(mesh, f"{mesh}-{index}", 1, 1) for mesh in MESHES for index in range(3)]
    account = open_account(namespaces, balancer_of, gateways)
    with ExitStack() as stack:
        urls = {mesh: stack.enter_context(_prometheus(mesh, namespaces)) for mesh in MESHES}
        cloud = Emulator(
            balancers=account.balancers,
            region=REGION,
            secret_id=SECRET_ID,
            secret_key=SECRET_KEY,
            clock=time.time,
            rng=random.Random(1),  # noqa: S311 - the same dice in every run
        )
        port = cloud.start()
        stack.callback(cloud.stop)
        files.write_all(path, account, port, urls, files.Pace())
        _slow_down(path)
        listen = stack.enter_context(reserve_ports(1, random.Random())).ports[0]  # noqa: S311 - other labs run, too
        supervisor = stack.enter_context(Supervisor(path / "logs", dict(os.environ)))
        argv = (
            *(sys.executable, "-m", "shifter", "--store", str(path / "shifter.db"), "run"),
            *("--fleet", str(path / "fleet.yaml"), "--policies", str(path / "policies")),
            *("--listen", f"{LOOPBACK}:{listen}"),
        )
        yield supervisor, ProcessSpec("shifter", argv, ready_url=f"http://{LOOPBACK}:{listen}/readyz")


def _slow_down(path: Path) -> None:
    """Production's timing instead of the lab's, and a gate before every first step."""
    fleet = yaml.safe_load((path / "fleet.yaml").read_text())
    del fleet["spec"]["timing"]
    (path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    for policy in (path / "policies").iterdir():
        document = yaml.safe_load(policy.read_text())
        document["spec"]["approvals"] = [{"before": 1}]
        policy.write_text(yaml.safe_dump(document))


@contextmanager
def _prometheus(mesh: str, namespaces: list[Namespace]) -> Iterator[str]:
    began = time.time() - 3600

    class Answers(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            asked = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            at = float(asked.get("time", time.time()))
            told = _NOTHING_YET if "query_range" in self.path else _answer(mesh, namespaces, asked["query"], at, began)
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(START_SECONDS)


def _answer(mesh: str, namespaces: list[Namespace], query: str, at: float, began: float) -> Mapping[str, Any]:
    """Answer by the shape of the question; every sample was taken just now."""
    pods: list[dict[str, str]] = [{"pod": f"{mesh}-gateway-{index}"} for index in range(3)]
    if query.startswith("sum by (pod, destination_service"):
        pattern = _EDGES.search(query)
        asked = re.split(r"[|()]+", pattern[1]) if pattern else []
        edges = [*(f"{edge:g}" for edge in ISTIO_EDGES_MS if f"{edge:g}" in asked), "+Inf"]
        kinds = [{"le": edge} for edge in edges] if "_bucket" in query else [{"response_code": "200"}]
        counted = [
            (
                pod
                | {"destination_service": namespace.service, "destination_service_namespace": namespace.name}
                | kind,
                PER_SECOND * (at - began),
            )
            for pod in pods
            for namespace in namespaces
            for kind in kinds
        ]
    elif " - " in query:
        counted = [(pod, began) for pod in pods]
    else:
        sampled = min(at, time.time())
        counted = [({}, sampled)] if query.startswith("max(") else [(pod, sampled) for pod in pods]
    rows = [{"metric": labels, "value": [at, repr(value)]} for labels, value in counted]
    return {"status": "success", "data": {"resultType": "vector", "result": rows}}


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB
