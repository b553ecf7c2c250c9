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
from contextlib import contextmanager
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
from shifter.core.counts.answers import BadAnswers, counts_of
from shifter.core.counts.counters import Absence, Baselines, advance
from shifter.core.counts.evidence import INFINITY_MS, UNKNOWN, Answer, Answers, Counts, Reading, Series
from shifter.core.documents.fleet import CustomMetric, Datasource
from shifter.errors import MetricsUnavailableError
from shifter.lab.free_ports import reserve_ports
from shifter.lab.processes import ProcessSpec, Supervisor
from shifter.lab.tools import find_prometheus

SCRAPE_SECONDS = 0.1
DEADLINE_SECONDS = 10.0
SHOP = {"destination_service": "web.shop.svc.cluster.local", "destination_service_namespace": "shop"}
LOGINS = CustomMetric.model_validate(
    {
        "name": "logins",
        "bad": {"metric": "logins_total", "matchers": {"result": "failed"}},
        "total": {"metric": "logins_total"},
    }
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass
class Exporter:
    """Serves whatever series a test sets, for one Prometheus. `dead` lines carry a time of their own, long ago."""

    url: str = ""
    port: int = 0
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
    exporter.port = server.server_address[1]
    with running(tmp_path_factory.mktemp("prometheus"), exporter.port) as url:
        exporter.url = url
        yield exporter
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def running(folder: Path, exporter_port: int, jobs: tuple[str, ...] = ("gateways",), **more: object) -> Iterator[str]:
    """Run a Prometheus without any history that scrapes the exporter with every job; yield its address."""
    with reserve_ports(1, random.Random()) as reserved, Supervisor(folder, os.environ) as supervisor:  # noqa: S311 - only where to look first
        url = f"http://127.0.0.1:{reserved.ports[0]}"
        scrapes = [scrape(job, exporter_port) for job in jobs]
        supervisor.start(prometheus_spec(folder, {"scrape_configs": scrapes, **more}, url)).wait_ready()
        yield url


def scrape(job: str, exporter_port: int) -> dict[str, object]:
    return {
        "job_name": job,
        "scrape_interval": f"{SCRAPE_SECONDS * 1000:.0f}ms",
        "scrape_timeout": f"{SCRAPE_SECONDS * 1000:.0f}ms",
        "honor_labels": True,
        "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"]}],
    }


def prometheus_spec(folder: Path, configuration: Mapping[str, object], url: str) -> ProcessSpec:
    config = folder / "prometheus.json"
    config.write_text(json.dumps(configuration))
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
        self.ask(exporter.url)

    def ask(self, url: str) -> None:
        """Ask this Prometheus from now on."""
        matchers = {"reporter": "source", "source_workload": self.workload}
        settings = {"url": url, "matchers": matchers, "podMatchers": {"app": self.workload}}
        self.metrics = PrometheusMetrics(Datasource.model_validate(settings), 45, "tcm", custom=(LOGINS,))

    def count(self, pod: str, code: str, value: float, age_seconds: float | None = None, **labels: str) -> None:
        mine = {"reporter": "source", "source_workload": self.workload, **SHOP, **labels}
        self.exporter.set("istio_requests_total", {"pod": pod, "response_code": code, **mine}, value, age_seconds)

    def logins(self, pod: str, result: str, value: float) -> None:
        mine = {"reporter": "source", "source_workload": self.workload, **SHOP}
        self.exporter.set("logins_total", {"pod": pod, "result": result, **mine}, value)

    def bucket(self, pod: str, edge: str, value: float) -> None:
        mine = {"reporter": "source", "source_workload": self.workload, **SHOP, "response_code": "200"}
        self.exporter.set("istio_request_duration_milliseconds_bucket", {"pod": pod, "le": edge, **mine}, value)

    def up(self, pod: str, uptime_seconds: float, age_seconds: float | None = None) -> None:
        labels = {"pod": pod, "app": self.workload}
        self.exporter.set("envoy_server_uptime", labels, uptime_seconds, age_seconds)

    def when(self, condition: Callable[[Reading], bool], edges_ms: tuple[float, ...] = ()) -> Reading:
        """Read until the condition holds."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            reading = self.metrics.read(datetime.now(UTC), edges_ms)
            if condition(reading):
                return reading
            assert time.monotonic() < deadline, f"never seen; the last reading was {reading}"
            time.sleep(SCRAPE_SECONDS / 2)

    def refused(self, sentence: str, edges_ms: tuple[float, ...] = ()) -> str:
        """Read until it is refused with this sentence."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        said = ""
        while sentence not in said:
            assert time.monotonic() < deadline, f"never said; the last was {said!r}"
            time.sleep(SCRAPE_SECONDS / 2)
            try:
                said = str(self.metrics.read(datetime.now(UTC), edges_ms))
            except MetricsUnavailableError as error:
                said = str(error)
        return said


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
    assert reading.pods["gw-1"].counters == {
        Series("shop", Answer("200")): 100,
        Series("shop", Answer("200", "URX")): 20,
        Series("shop", Answer("503")): 3,
    }
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
    nowhere = "unknown"
    gateway.count(
        "gw-1", "404", 1, destination_service=nowhere, destination_service_namespace=nowhere, response_flags="NR"
    )
    after = gateway.when(lambda reading: bool(reading.pods["gw-1"].counters))

    _, counts, span = advance(baselines, after, 30)

    assert quiet.pods["gw-1"].counters == {}
    assert counts.by_namespace == {"shop": Answers({Answer("503"): 2})}
    assert counts.unknown == Answers({Answer("404", "NR"): 1})
    assert span > 0


def test_first_failing_grpc_status_counts_from_zero_and_clients_that_left_do_not(gateway: Gateway) -> None:
    gateway.up("gw-1", 500)
    gateway.count("gw-1", "200", 100, response_flags="-", grpc_response_status="0")
    before = gateway.when(lambda reading: bool(reading.pods) and bool(reading.pods["gw-1"].counters))
    baselines, _, _ = advance(Baselines(), before, 30)
    gateway.exporter.lines.clear()
    gateway.up("gw-1", 505)
    gateway.count("gw-1", "200", 110, response_flags="-", grpc_response_status="0")
    gateway.count("gw-1", "200", 4, response_flags="-", grpc_response_status="14")
    gateway.count("gw-1", "0", 2, response_flags="DC")
    gateway.count("gw-1", "200", 1, response_flags="DC", grpc_response_status="")
    after = gateway.when(lambda reading: len(reading.pods["gw-1"].counters) == 4)

    _, counts, _ = advance(baselines, after, 30)

    assert counts_of(counts.of(["shop"]), BadAnswers()) == Counts(14, 4, left=3)


def test_both_halves_of_a_custom_metric_are_differenced(gateway: Gateway) -> None:
    gateway.up("gw-1", 500)
    gateway.logins("gw-1", "granted", 40)
    before = gateway.when(lambda reading: bool(reading.pods) and bool(reading.pods["gw-1"].counters))
    baselines, _, _ = advance(Baselines(), before, 30)
    gateway.exporter.lines.clear()
    gateway.up("gw-1", 505)
    gateway.logins("gw-1", "granted", 47)
    gateway.logins("gw-1", "failed", 3)
    after = gateway.when(lambda reading: len(reading.pods["gw-1"].counters) == 2)

    _, counts, _ = advance(baselines, after, 30)

    assert counts.of(["shop"]).pairs == {"logins": (3, 10)}


def test_restarted_process_is_seen_by_its_uptime(gateway: Gateway) -> None:
    gateway.up("gw-1", 500)
    gateway.count("gw-1", "200", 100)
    before = gateway.when(lambda reading: bool(reading.pods) and bool(reading.pods["gw-1"].counters))
    baselines, _, _ = advance(Baselines(), before, 30)
    gateway.exporter.lines[:] = []
    gateway.up("gw-1", 0)
    gateway.count("gw-1", "200", 7)
    after = gateway.when(lambda reading: reading.pods["gw-1"].counters.get(Series("shop", Answer("200"))) == 7)

    _, counts, _ = advance(baselines, after, 30)

    assert counts.by_namespace == {"shop": Answers({Answer("200"): 7})}


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

    assert reading.pods["gw-1"].counters == {Series(UNKNOWN, Answer("503")): 4, Series("shop", Answer("503")): 2}


@pytest.mark.parametrize("ahead_seconds", [30, 120, 500])
def test_samples_from_the_future_are_seen_although_they_are_not_asked_for(
    gateway: Gateway, ahead_seconds: float
) -> None:
    gateway.up("gw-1", 500, age_seconds=-ahead_seconds)
    gateway.count("gw-1", "200", 5, age_seconds=-ahead_seconds)
    if ahead_seconds == 500:
        gateway.up("gw-2", 500, age_seconds=-200)

    said = gateway.refused("s from the future: Prometheus' clock is ahead of shifter's, or shifter's is behind")

    ahead = float(said.partition("a sample is ")[2].partition(" s ")[0])
    assert ahead == pytest.approx(min(ahead_seconds, 200), abs=6)


def test_pods_that_are_up_now_are_not_from_the_future(gateway: Gateway) -> None:
    gateway.up("gw-1", 500)
    gateway.when(lambda reading: "gw-1" in reading.pods)
    readings = [gateway.metrics.read(datetime.now(UTC), ()) for _ in range(10)]

    assert all(set(reading.pods) == {"gw-1"} for reading in readings)


def test_old_samples_only_are_an_absence_that_says_how_old(gateway: Gateway) -> None:
    gateway.up("gw-1", 500, age_seconds=100)
    gateway.count("gw-1", "200", 5, age_seconds=100)
    gateway.count("gw-2", "200", 5, age_seconds=130)

    reading = gateway.when(lambda reading: isinstance(reading, Absence) and "newest" in reading.reason)

    assert isinstance(reading, Absence)
    assert re.search(r"the newest of 2 pods is 10\d s old, sampleMaxAge is 45 s; it scrapes no more", reading.reason)


@pytest.mark.fault(
    on="Prometheus",
    fault="restarts with an empty write-ahead log",
    does="holds until it has scraped; then counts on from where it was, nothing twice",
    sees="hold `no signal`: tcm metrics (URL): shows no gateway pod (... it showed PODS)",
    safe_within="one tick",
)
def test_prometheus_without_its_history_loses_and_invents_nothing(gateway: Gateway, tmp_path: Path) -> None:
    gateway.up("gw-1", 500)
    gateway.count("gw-1", "200", 100)
    before = gateway.when(lambda reading: bool(reading.pods) and bool(reading.pods["gw-1"].counters))
    baselines, _, _ = advance(Baselines(), before, 30)
    empty = tmp_path / "empty"
    empty.mkdir()
    with running(empty, gateway.exporter.port, jobs=()) as url:
        gateway.ask(url)
        nothing = gateway.metrics.read(datetime.now(UTC), ())
    baselines, none, _ = advance(baselines, nothing, 30)
    gateway.exporter.lines.clear()
    gateway.up("gw-1", 505)
    gateway.count("gw-1", "200", 104)
    gateway.count("gw-1", "503", 1)
    again = tmp_path / "again"
    again.mkdir()
    with running(again, gateway.exporter.port) as url:
        gateway.ask(url)
        after = gateway.when(lambda reading: bool(reading.pods) and bool(reading.pods["gw-1"].counters))
    _, counts, _ = advance(baselines, after, 30)

    assert isinstance(nothing, Absence)
    assert "shows no gateway pod, neither envoy_server_uptime{" in nothing.reason
    assert none.by_namespace == {}
    assert counts.by_namespace == {"shop": Answers({Answer("200"): 4, Answer("503"): 1})}


def test_pods_that_two_jobs_scrape_are_refused_by_the_jobs_names(gateway: Gateway, tmp_path: Path) -> None:
    gateway.up("gw-1", 500)
    gateway.count("gw-1", "200", 100)
    with running(tmp_path, gateway.exporter.port, jobs=("pods", "envoys")) as url:
        gateway.ask(url)
        said = gateway.refused("is there twice")

    assert "pod 'gw-1' is there twice, its requests would count twice (job is 'envoys' and 'pods')" in said


def test_remote_storage_that_does_not_answer_makes_the_answer_partial(gateway: Gateway, tmp_path: Path) -> None:
    gateway.up("gw-1", 500)
    remote = [{"url": "http://127.0.0.1:1/read", "read_recent": True}]
    with running(tmp_path, gateway.exporter.port, remote_read=remote) as url:
        gateway.ask(url)
        said = gateway.refused("may be partial, it came with warnings")

    assert "remote_read" in said


def test_histogram_with_other_edges_than_the_fleet_says_is_refused(gateway: Gateway) -> None:
    gateway.up("gw-1", 500)
    gateway.count("gw-1", "200", 10)
    for edge, value in (("0.2", 1), ("500", 9), ("+Inf", 10)):
        gateway.bucket("gw-1", edge, value)

    said = gateway.refused("of pod 'gw-1' has no bucket at 100 ms", edges_ms=(100, 500))

    assert said.endswith("write the edges it has into the fleet's edgesMs")


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
        half = {"metric": "logins_total", "matchers": {"result": text}}
        custom = CustomMetric.model_validate({"name": "logins", "bad": half, "total": {"metric": "logins_total"}})
        made = queries(Datasource.model_validate(settings), (5, 500), (custom,))
        halves = [each.query for each in made.halves]
        every = (made.newest, made.started, made.seen, made.sampled, *halves, made.buckets, made.requests)
        return [formatted(exporter.url, query) for query in every if query is not None]

    assert [skeleton(text) for text in parsed(value)] == [skeleton(text) for text in parsed("harmless")]


@given(st.text())
def test_quoted_value_is_one_literal_of_printable_characters(value: str) -> None:
    assert _STRING.fullmatch(quoted(value))
    assert quoted(value).isprintable()
    assert ast.literal_eval(quoted(value)) == value
