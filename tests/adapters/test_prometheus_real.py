"""The same rules against a real Prometheus that scrapes a tiny exporter: what the fake server could get wrong."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.adapters.prometheus import PrometheusMetrics
from shifter.adapters.prometheus.promql import queries, quoted, selector
from shifter.core.counters import Baselines, advance
from shifter.core.evidence import INFINITY_MS, UNKNOWN, Counts, Reading, Series
from shifter.core.fleet import Datasource
from shifter.lab.free_ports import reserve_ports
from shifter.lab.processes import ProcessSpec, Supervisor
from shifter.lab.tools import find_prometheus

SCRAPE_SECONDS = 0.1
DEADLINE_SECONDS = 10.0
SHOP = {"destination_service": "web.shop.svc.cluster.local", "destination_service_namespace": "shop"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass
class Exporter:
    """Serves whatever series a test sets, for one Prometheus. `dead` lines carry a time of their own, long ago."""

    url: str = ""
    lines: list[str] = field(default_factory=list)

    def set(self, metric: str, labels: Mapping[str, str], value: float, age_seconds: float | None = None) -> None:
        names = ",".join(f"{name}={json.dumps(text, ensure_ascii=False)}" for name, text in labels.items())
        at = "" if age_seconds is None else f" {round((time.time() - age_seconds) * 1000)}"
        self.lines.append(f"{metric}{{{names}}} {value}{at}")


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """Start the exporter and the Prometheus that scrapes it every 100 ms; `url` is Prometheus'."""
    exporter = Exporter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(("\n".join(exporter.lines) + "\n").encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    folder = tmp_path_factory.mktemp("prometheus")
    with reserve_ports(1, random.Random()) as reserved, Supervisor(folder, os.environ) as supervisor:  # noqa: S311 - only where to look first
        exporter.url = f"http://127.0.0.1:{reserved.ports[0]}"
        child = supervisor.start(prometheus_spec(folder, server.server_address[1], exporter.url))
        child.wait_ready()
        yield exporter
    server.shutdown()
    server.server_close()
    thread.join()


def prometheus_spec(folder: Path, exporter_port: int, url: str) -> ProcessSpec:
    scrape = {
        "job_name": "gateways",
        "scrape_interval": f"{SCRAPE_SECONDS * 1000:.0f}ms",
        "scrape_timeout": f"{SCRAPE_SECONDS * 1000:.0f}ms",
        "honor_labels": True,
        "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"]}],
    }
    config = folder / "prometheus.json"
    config.write_text(json.dumps({"scrape_configs": [scrape]}))
    argv = (
        str(find_prometheus(os.environ)),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'store'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--log.level=warn",
    )
    return ProcessSpec("prometheus", argv, ready_url=f"{url}/-/ready")


class Gateway:
    """One test's gateway: a workload name of its own, so that no test sees another's series."""

    def __init__(self, exporter: Exporter, workload: str) -> None:
        exporter.lines.clear()
        self.exporter = exporter
        self.workload = workload
        matchers = {"reporter": "source", "source_workload": workload}
        settings = {"url": exporter.url, "matchers": matchers, "podMatchers": {"app": workload}}
        self.metrics = PrometheusMetrics(Datasource.model_validate(settings), 45, "tcm")

    def count(self, pod: str, code: str, value: float, age_seconds: float | None = None, **labels: str) -> None:
        mine = {"reporter": "source", "source_workload": self.workload, **SHOP, **labels}
        self.exporter.set("istio_requests_total", {"pod": pod, "response_code": code, **mine}, value, age_seconds)

    def bucket(self, pod: str, edge: str, value: float) -> None:
        mine = {"reporter": "source", "source_workload": self.workload, **SHOP, "response_code": "200"}
        self.exporter.set("istio_request_duration_milliseconds_bucket", {"pod": pod, "le": edge, **mine}, value)

    def up(self, pod: str, uptime_seconds: float) -> None:
        self.exporter.set("envoy_server_uptime", {"pod": pod, "app": self.workload}, uptime_seconds)

    def when(self, condition: Callable[[Reading], bool], edges_ms: tuple[float, ...] = ()) -> Reading:
        """Read until the condition holds."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            reading = self.metrics.read(datetime.now(UTC), edges_ms)
            if condition(reading):
                return reading
            assert time.monotonic() < deadline, f"never seen; the last reading was {reading}"
            time.sleep(SCRAPE_SECONDS / 2)


@pytest.fixture
def gateway(exporter: Exporter, request: pytest.FixtureRequest) -> Gateway:
    return Gateway(exporter, request.node.name)


def test_gateways_counters_are_read_and_no_decoy_is(gateway: Gateway) -> None:
    gateway.up("gw-1", 500)
    gateway.count("gw-1", "200", 100, response_flags="-")
    gateway.count("gw-1", "200", 20, response_flags="URX")
    gateway.count("gw-1", "503", 3)
    gateway.count("gw-1", "200", 1000, reporter="destination")
    gateway.count("cart-1", "200", 2000, source_workload="cart")
    gateway.count("other-gw-1", "200", 4000, source_workload="second-gateway")
    gateway.exporter.set("envoy_server_uptime", {"pod": "cart-1", "app": "cart"}, 9)

    reading = gateway.when(lambda reading: "gw-1" in reading.pods and bool(reading.pods["gw-1"].counters))

    assert set(reading.pods) == {"gw-1"}
    assert reading.pods["gw-1"].counters == {Series("shop", "200"): 120, Series("shop", "503"): 3}
    assert reading.pods["gw-1"].started_at == pytest.approx(time.time() - 500, abs=5)


def test_dead_pods_last_value_is_not_counted(gateway: Gateway) -> None:
    gateway.count("dead", "200", 5, age_seconds=100)
    gateway.count("alive", "200", 1)
    reading = gateway.when(lambda reading: "alive" in reading.pods)
    query = urllib.parse.urlencode({"query": selector("istio_requests_total", {"pod": "dead"})})

    assert set(reading.pods) == {"alive"}
    assert len(asked(f"{gateway.exporter.url}/api/v1/query?{query}")["result"]) == 1, (
        "it must still repeat the dead pod"
    )


def test_first_errors_of_a_quiet_pod_count_from_zero(gateway: Gateway) -> None:
    gateway.up("gw-1", 500)
    quiet = gateway.when(lambda reading: "gw-1" in reading.pods)
    baselines, _, _ = advance(Baselines(), quiet, 30)
    gateway.count("gw-1", "503", 2)
    gateway.count("gw-1", "404", 1, destination_service="unknown", destination_service_namespace="unknown")
    after = gateway.when(lambda reading: bool(reading.pods["gw-1"].counters))

    _, counts, span = advance(baselines, after, 30)

    assert quiet.pods["gw-1"].counters == {}
    assert counts.by_namespace == {"shop": Counts(2, 2)}
    assert counts.unknown == Counts(1, 0)
    assert span > 0


def test_restarted_process_is_seen_by_its_uptime(gateway: Gateway) -> None:
    gateway.up("gw-1", 500)
    gateway.count("gw-1", "200", 100)
    before = gateway.when(lambda reading: bool(reading.pods) and bool(reading.pods["gw-1"].counters))
    baselines, _, _ = advance(Baselines(), before, 30)
    gateway.exporter.lines[:] = []
    gateway.up("gw-1", 0)
    gateway.count("gw-1", "200", 7)
    after = gateway.when(lambda reading: reading.pods["gw-1"].counters.get(Series("shop", "200")) == 7)

    _, counts, _ = advance(baselines, after, 30)

    assert counts.by_namespace == {"shop": Counts(7, 0)}


def test_both_spellings_of_edges_are_read_and_only_the_edges_asked(gateway: Gateway) -> None:
    gateway.count("new", "200", 10)
    gateway.count("old", "200", 10)
    for edge, value in (("0.5", 1), ("100.0", 5), ("500.0", 9), ("+Inf", 10)):
        gateway.bucket("new", edge, value)
    for edge, value in (("0.5", 1), ("100", 4), ("500", 8), ("+Inf", 10)):
        gateway.bucket("old", edge, value)

    reading = gateway.when(lambda reading: len(reading.pods) == 2, edges_ms=(0.5, 500))

    buckets = {
        pod: {series.edge_ms: value for series, value in each.counters.items() if series.edge_ms is not None}
        for pod, each in reading.pods.items()
    }
    assert buckets == {"new": {0.5: 1, 500: 9, INFINITY_MS: 10}, "old": {0.5: 1, 500: 8, INFINITY_MS: 10}}


def test_series_of_no_namespace_are_read_per_gateway(gateway: Gateway) -> None:
    gateway.count("gw-1", "503", 4, destination_service="", destination_service_namespace="")
    gateway.count("gw-1", "503", 2, destination_service_namespace="unknown")

    reading = gateway.when(lambda reading: "gw-1" in reading.pods)

    assert reading.pods["gw-1"].counters == {Series(UNKNOWN, "503"): 4, Series("shop", "503"): 2}


def test_matcher_value_of_any_letters_still_matches(exporter: Exporter) -> None:
    gateway = Gateway(exporter, 'gate"way\\ {}网关=~".*"')
    gateway.count("gw-1", "200", 1)

    assert set(gateway.when(lambda reading: "gw-1" in reading.pods).pods) == {"gw-1"}


def formatted(url: str, query: str) -> str:
    """Return how Prometheus itself parsed a query."""
    return str(asked(f"{url}/api/v1/format_query", urllib.parse.urlencode({"query": query}).encode()))


def asked(url: str, body: bytes | None = None) -> Any:  # noqa: ANN401 - JSON
    with urllib.request.urlopen(url, body, timeout=5) as answer:  # noqa: S310 - our own server
        return json.load(answer)["data"]


def skeleton(text: str) -> str:
    """Return the query without its strings; long ones are laid out over several lines."""
    return "".join(_STRING.sub("S", text).split())


@given(value=st.one_of(st.text(), st.text(alphabet="\"\\'`{}()=~#,\n\r\0 a1")))
def test_no_matcher_value_is_read_as_anything_but_that_value(exporter: Exporter, value: str) -> None:
    query = selector("istio_requests_total", {"source_workload": value})
    parsed = formatted(exporter.url, query)

    assert skeleton(parsed) == "istio_requests_total{source_workload=S}"
    assert [ast.literal_eval(text) for text in _STRING.findall(parsed)] == [value]


@given(value=st.text(alphabet="\"\\'`{}()=~#,\n\r\0 é网"))
def test_every_query_differs_only_in_the_quoted_value(exporter: Exporter, value: str) -> None:
    def parsed(text: str) -> list[str]:
        settings = {"url": exporter.url, "matchers": {"a": text}, "podMatchers": {"b": text}}
        made = queries(Datasource.model_validate(settings), (5, 500))
        every = (made.started, made.seen, made.sampled, made.buckets, made.requests)
        return [formatted(exporter.url, query) for query in every if query is not None]

    assert [skeleton(text) for text in parsed(value)] == [skeleton(text) for text in parsed("harmless")]


@given(st.text())
def test_quoted_value_is_one_literal_of_printable_characters(value: str) -> None:
    assert _STRING.fullmatch(quoted(value))
    assert quoted(value).isprintable()
    assert ast.literal_eval(quoted(value)) == value
