"""A Prometheus over HTTP that answers the adapter's questions with rows, or misbehaves in every way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest

from shifter.adapters.prometheus import PrometheusMetrics
from shifter.core.counts.evidence import Reading
from shifter.core.documents.fleet import CustomMetric, Datasource
from shifter.errors import MetricsUnavailableError
from shifter.ports import MeshMetrics
from tests.http import Reply, send, serving

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AT = NOW.timestamp()
SHOP = {"destination_service": "web.shop.svc.cluster.local", "destination_service_namespace": "shop"}
Row = tuple[Mapping[str, str], str]


def kind_of(query: str) -> str:
    """Say which of the six questions a query is, the one about the clock that is asked only in trouble, or the counter.

    A half of a custom metric is known by the name of its counter.
    """
    marks = {
        "max(max_over_time(": "newest",
        "timestamp(envoy_server_uptime": "seen",
        "max by (pod, job, instance) (": "sampled",
        "max by (pod) (": "started",
        "vector(time())": "clock",
    }
    found = [kind for mark, kind in marks.items() if query.startswith(mark)]
    half = re.match(r"sum by \(pod, destination_service, destination_service_namespace\) \((\w+)", query)
    if half:
        return half[1]
    return found[0] if found else "buckets" if "_bucket{" in query else "requests"


def vector(rows: Sequence[Row], **more: object) -> bytes:
    result = [{"metric": dict(labels), "value": [AT, value]} for labels, value in rows]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}, **more}).encode()


class FakePrometheus:
    """Answers each kind of question with its rows, unless `reply` (for all) or `replies` (for a kind) take over."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {"clock": [({}, str(AT))]}
        self.reply: Reply | None = None
        self.replies: dict[str, Reply] = {}
        self.asked: list[dict[str, str]] = []
        self.tokens: list[str | None] = []
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        params = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append({"path": parts.path, **params})
        self.tokens.append(handler.headers["Authorization"])
        kind = kind_of(params.get("query", ""))
        reply = self.reply or self.replies.get(kind)
        if reply is not None:
            reply(handler)
        else:
            send(handler, 200, vector(self.rows.get(kind, [])))

    def add_pod(self, pod: str, *, age_seconds: float = 5.0, started: float = AT - 1000, requests: bool = True) -> None:
        for times in ("seen", "sampled") if requests else ("seen",):
            self.rows.setdefault(times, []).append(({"pod": pod, "job": "pods"}, str(AT - age_seconds)))
        self.rows.setdefault("started", []).append(({"pod": pod}, str(started)))

    def count(self, pod: str, code: str, value: str, labels: Mapping[str, str] = SHOP) -> None:
        self.rows.setdefault("requests", []).append(({"pod": pod, "response_code": code, **labels}, value))

    def half(self, metric: str, pod: str, value: str, labels: Mapping[str, str] = SHOP) -> None:
        self.rows.setdefault(metric, []).append(({"pod": pod, **labels}, value))

    def bucket(self, pod: str, edge: str, value: str, labels: Mapping[str, str] = SHOP) -> None:
        self.rows.setdefault("buckets", []).append(({"pod": pod, "le": edge, **labels}, value))


@contextmanager
def running() -> Iterator[FakePrometheus]:
    fake = FakePrometheus()
    with serving(fake.answer) as fake.url:
        yield fake


def datasource(url: str, **more: object) -> Datasource:
    settings = {
        "url": url,
        "matchers": {"source_workload": "gateway", "reporter": "source"},
        "podMatchers": {"app": "gateway"},
        "timeout": timedelta(seconds=5),
        **more,
    }
    return Datasource.model_validate(settings)


def read(
    fake: FakePrometheus, edges_ms: Sequence[float] = (), custom: Sequence[CustomMetric] = (), **more: object
) -> Reading:
    metrics: MeshMetrics = PrometheusMetrics(datasource(fake.url, **more), 45, "tcm", custom=custom)
    return metrics.read(NOW, edges_ms)


def refusal(
    fake: FakePrometheus, edges_ms: Sequence[float] = (5,), custom: Sequence[CustomMetric] = (), **more: object
) -> str:
    with pytest.raises(MetricsUnavailableError) as caught:
        read(fake, edges_ms, custom, **more)
    return str(caught.value)
