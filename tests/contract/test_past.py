"""What is read of the past is what would have been read then: against a Prometheus that scrapes, reading on the way."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from shifter.adapters.prometheus import PrometheusMetrics
from shifter.core.counts.counters import Absence
from shifter.core.counts.evidence import Reading
from shifter.core.documents.fleet import Datasource
from shifter.errors import MetricsUnavailableError
from shifter.lab.free_ports import reserve_ports
from shifter.lab.processes import ProcessSpec, Supervisor
from shifter.lab.tools import find_prometheus
from shifter.ports import MeshMetrics, Unread
from tests.http import send, serving

SCRAPE_SECONDS = 0.1
STEP = timedelta(milliseconds=200)
DEADLINE_SECONDS = 20.0
MAX_AGE_SECONDS = 0.6
EDGES_MS = (5.0, 500.0)
GATEWAY = {"app": "gateway"}
SHOP = {"destination_service": "web.shop.svc.cluster.local", **GATEWAY}


@dataclass
class Exporter:
    """One mesh's gateway pods as one scrape shows them: requests so far and uptime in seconds, by pod.

    Since `frozen_at` the samples name that time as their own, so that Prometheus repeats them instead of ending them.
    """

    requests: dict[str, float] = field(default_factory=dict)
    uptime: dict[str, float] = field(default_factory=dict)
    twice: bool = False
    broken: bool = False
    frozen_at: float | None = None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.broken:
            send(handler, 500, b"")
        else:
            send(handler, 200, self._page().encode(), Content_Type="text/plain; version=0.0.4")

    def _page(self) -> str:
        taken_at = "" if self.frozen_at is None else f" {self.frozen_at * 1000:.0f}"
        return "".join(f"{text}{taken_at}\n" for text in self._lines())

    def _lines(self) -> Iterator[str]:
        for pod, uptime in self.uptime.items():
            jobs = ("pods", "more pods") if self.twice else ("pods",)
            for job in jobs:
                yield line("envoy_server_uptime", {"pod": pod, "job": job, **GATEWAY}, uptime)
            # Both spellings of the same edges, a pod each.
            edges = ("5", "500", "+Inf") if pod == "gw-1" else ("5.0", "500.0", "+Inf")
            for part, edge in enumerate(edges, start=1):
                labels = {"pod": pod, "le": edge, "response_code": "200", **SHOP}
                count = self.requests[pod] * part // 3
                yield line("istio_request_duration_milliseconds_bucket", labels, count)
            for code, count in (("200", self.requests[pod]), ("503", self.requests[pod] // 7)):
                yield line("istio_requests_total", {"pod": pod, "response_code": code, **SHOP}, count)


def line(metric: str, labels: dict[str, str], value: float) -> str:
    return f"{metric}{{{','.join(f'{name}={json.dumps(text)}' for name, text in labels.items())}}} {value}"


def bad_days(exporter: Exporter) -> Iterator[str]:
    """Change what the pods show from one step to the next, and say what goes on."""
    for step in range(40):
        for pod in exporter.uptime:
            exporter.requests[pod] += 3
            exporter.uptime[pod] += STEP.total_seconds()
        if step == 3:
            exporter.uptime["gw-2"], exporter.requests["gw-2"] = 0, 0
        if step == 7:
            exporter.uptime["gw-1"], exporter.requests["gw-1"] = 0, 1
        if step == 11:
            del exporter.uptime["gw-2"]
        exporter.broken = 14 <= step < 17
        exporter.twice = 20 <= step < 23
        if step == 25:
            # A pod that Prometheus never saw without a time: of others it would write down that they ended.
            exporter.frozen_at, exporter.uptime, exporter.requests["gw-3"] = time.time(), {"gw-3": 9}, 2
        yield f"step {step}"


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that scrapes the exporter."""

    url: str

    def scraped_after(self, moment: float) -> float:
        """Wait for a scrape that began after a moment (seconds since the epoch), and return when the newest began.

        Scrapes of one target never overlap, and each is written down whole: so is then everything of before.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (newest := self._newest_scrape()) <= moment:
            assert time.monotonic() < deadline, "it never scraped"
            time.sleep(SCRAPE_SECONDS / 4)
        return newest

    def _newest_scrape(self) -> float:
        with urllib.request.urlopen(f"{self.url}/api/v1/query?query=timestamp(up)", timeout=5) as answer:  # noqa: S310 - on loopback
            found = json.load(answer)["data"]["result"]
        return max((float(each["value"][1]) for each in found), default=0.0)


@pytest.fixture
def prometheus(exporter: Exporter, tmp_path: Path) -> Iterator[Prometheus]:
    with (
        serving(exporter.answer) as exported,
        reserve_ports(1, random.Random()) as reserved,  # noqa: S311 - only where to look first
        Supervisor(tmp_path, os.environ) as supervisor,
    ):
        url = f"http://127.0.0.1:{reserved.ports[0]}"
        scrape = {
            "job_name": "gateways",
            "scrape_interval": f"{SCRAPE_SECONDS * 1000:.0f}ms",
            "scrape_timeout": f"{SCRAPE_SECONDS * 1000:.0f}ms",
            "honor_labels": True,
            "static_configs": [{"targets": [exported.removeprefix("http://")]}],
        }
        config = tmp_path / "prometheus.json"
        config.write_text(json.dumps({"scrape_configs": [scrape]}))
        argv = (
            str(find_prometheus(os.environ)),
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'store'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--log.level=warn",
        )
        supervisor.start(ProcessSpec("prometheus", argv, ready_url=f"{url}/-/ready")).wait_ready()
        yield Prometheus(url)


@pytest.fixture
def metrics(prometheus: Prometheus) -> MeshMetrics:
    datasource = Datasource.model_validate({"url": prometheus.url, "matchers": GATEWAY, "podMatchers": GATEWAY})
    return PrometheusMetrics(datasource, MAX_AGE_SECONDS, "tcm")


def read(metrics: MeshMetrics, at: datetime) -> Reading | Unread:
    try:
        return metrics.read(at, EDGES_MS)
    except MetricsUnavailableError as error:
        return Unread(at.timestamp(), str(error))


def scraped_since(exporter: Exporter, metrics: MeshMetrics) -> datetime:
    """Wait for the first scrape, which is late, and return a moment after it."""
    exporter.uptime["gw-1"], exporter.requests["gw-1"] = 500, 1000
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not metrics.read(datetime.now(UTC), ()).pods:
        assert time.monotonic() < deadline, "it never scraped"
        time.sleep(SCRAPE_SECONDS)
    return datetime.fromtimestamp(round(time.time(), 1) + SCRAPE_SECONDS, UTC)


def test_past_is_what_was_read_then(exporter: Exporter, prometheus: Prometheus, metrics: MeshMetrics) -> None:
    first = at = scraped_since(exporter, metrics) - 8 * STEP
    read_then: list[Reading | Unread] = []
    for _ in bad_days(exporter):
        # However slow the machine is: what goes on is scraped, and an instant is read when nothing of before it is due.
        written_until = prometheus.scraped_after(time.time())
        while at.timestamp() < written_until:
            read_then.append(read(metrics, at))
            at += STEP

    recorded = list(metrics.past(first, at - STEP, STEP, EDGES_MS))

    assert recorded == read_then
    seen = [set(reading.pods) for reading in recorded if isinstance(reading, Reading)]
    shown = {frozenset(pods) for pods in seen}
    assert shown >= {frozenset(), frozenset({"gw-1"}), frozenset({"gw-1", "gw-2"}), frozenset({"gw-3"})}
    assert any(isinstance(reading, Absence) and "with a fresh sample" in reading.reason for reading in recorded)
    assert any(isinstance(reading, Unread) and "is there twice" in reading.reason for reading in recorded)
    starts = {
        reading.pods["gw-1"].started_at
        for reading in recorded
        if isinstance(reading, Reading) and "gw-1" in reading.pods
    }
    assert max(filter(None, starts)) - min(filter(None, starts)) > 400


def test_past_of_more_instants_than_are_asked_at_a_time_has_no_seam(
    exporter: Exporter, prometheus: Prometheus, metrics: MeshMetrics
) -> None:
    start = scraped_since(exporter, metrics)
    end = start + timedelta(seconds=3)
    while prometheus.scraped_after(0.0) <= end.timestamp():
        exporter.requests["gw-1"] += 1
        time.sleep(SCRAPE_SECONDS)

    fine = list(metrics.past(start, end, timedelta(milliseconds=2), EDGES_MS))
    coarse = list(metrics.past(start, end, timedelta(milliseconds=100), EDGES_MS))

    assert len(fine) == 1501
    assert all(isinstance(reading, Reading) and reading.pods for reading in fine)
    assert fine[::50] == coarse
    assert [reading.read_at for reading in fine if isinstance(reading, Reading)] == pytest.approx(
        [start.timestamp() + index * 0.002 for index in range(1501)], abs=0.0005
    )
