"""Rules for reading a mesh's counters, against a server that speaks Prometheus' API and can misbehave in every way."""

from __future__ import annotations

import gzip
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shifter.adapters.prometheus import PrometheusMetrics, transport
from shifter.adapters.prometheus.promql import edge_pattern, queries, spellings
from shifter.adapters.prometheus.readings import subject_of
from shifter.core.counters import Absence
from shifter.core.evidence import INFINITY_MS, UNKNOWN, Reading, Series
from shifter.core.fleet import Datasource
from shifter.errors import MetricsUnavailableError
from shifter.ports import MeshMetrics

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AT = NOW.timestamp()
SHOP = {"destination_service": "web.shop.svc.cluster.local", "destination_service_namespace": "shop"}
NOWHERE = {"destination_service": "unknown", "destination_service_namespace": "unknown"}
ANSWERED = {"pod": "a", "response_code": "200", **SHOP}
Row = tuple[Mapping[str, str], str]
Reply = Callable[[BaseHTTPRequestHandler], None]


def kind_of(query: str) -> str:
    """Say which of the six questions a query is, or the one about the clock that is asked only in trouble."""
    marks = {
        "max(max_over_time(": "newest",
        "timestamp(envoy_server_uptime": "seen",
        "max by (pod, job, instance) (": "sampled",
        "max by (pod) (": "started",
        "vector(time())": "clock",
    }
    found = [kind for mark, kind in marks.items() if query.startswith(mark)]
    return found[0] if found else "buckets" if "_bucket{" in query else "requests"


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **given}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


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
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                params = {name: values[0] for name, values in parse_qs(parts.query).items()}
                fake.asked.append({"path": parts.path, **params})
                fake.tokens.append(self.headers["Authorization"])
                kind = kind_of(params.get("query", ""))
                reply = fake.reply or fake.replies.get(kind)
                try:
                    if reply is not None:
                        reply(self)
                    else:
                        send(self, 200, vector(fake.rows.get(kind, [])))
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def add_pod(self, pod: str, *, age_seconds: float = 5.0, started: float = AT - 1000, requests: bool = True) -> None:
        for times in ("seen", "sampled") if requests else ("seen",):
            self.rows.setdefault(times, []).append(({"pod": pod, "job": "pods"}, str(AT - age_seconds)))
        self.rows.setdefault("started", []).append(({"pod": pod}, str(started)))

    def count(self, pod: str, code: str, value: str, labels: Mapping[str, str] = SHOP) -> None:
        self.rows.setdefault("requests", []).append(({"pod": pod, "response_code": code, **labels}, value))

    def bucket(self, pod: str, edge: str, value: str, labels: Mapping[str, str] = SHOP) -> None:
        self.rows.setdefault("buckets", []).append(({"pod": pod, "le": edge, **labels}, value))


@contextmanager
def running(fake: FakePrometheus) -> Iterator[FakePrometheus]:
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()
    thread.join()


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with running(FakePrometheus()) as fake:
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


def read(fake: FakePrometheus, edges_ms: Sequence[float] = (), **more: object) -> Reading:
    metrics: MeshMetrics = PrometheusMetrics(datasource(fake.url, **more), 45, "tcm")
    return metrics.read(NOW, edges_ms)


def refusal(fake: FakePrometheus, edges_ms: Sequence[float] = (5,), **more: object) -> str:
    with pytest.raises(MetricsUnavailableError) as caught:
        read(fake, edges_ms, **more)
    return str(caught.value)


# --- what a reading holds


def test_reading_has_every_fresh_pods_counters_and_process_start(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a", age_seconds=5, started=AT - 1000)
    prometheus.count("a", "200", "100")
    prometheus.count("a", "503", "3")
    prometheus.bucket("a", "5", "60")
    prometheus.bucket("a", "+Inf", "103")

    reading = read(prometheus, (5,))

    assert reading.read_at == AT
    assert set(reading.pods) == {"a"}
    assert (reading.pods["a"].sampled_at, reading.pods["a"].started_at) == (AT - 5, AT - 1000)
    assert reading.pods["a"].counters == {
        Series("shop", "200"): 100,
        Series("shop", "503"): 3,
        Series("shop", edge_ms=5.0): 60,
        Series("shop", edge_ms=INFINITY_MS): 103,
    }


def test_pod_with_a_stale_sample_is_not_in_the_reading(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("fresh", age_seconds=45)
    prometheus.add_pod("stale", age_seconds=45.5)
    for pod in ("fresh", "stale"):
        prometheus.count(pod, "200", "1")
        prometheus.bucket(pod, "5", "1")
        prometheus.bucket(pod, "+Inf", "1")

    assert set(read(prometheus, (5,)).pods) == {"fresh"}


def test_pod_that_is_up_without_requests_is_in_the_reading_without_counters(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("idle", age_seconds=7, requests=False)
    prometheus.add_pod("gone", age_seconds=70, requests=False)

    reading = read(prometheus)

    assert set(reading.pods) == {"idle"}
    assert (reading.pods["idle"].sampled_at, dict(reading.pods["idle"].counters)) == (AT - 7, {})


def test_pod_with_requests_is_judged_by_them_and_not_by_its_uptime(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a", age_seconds=100)
    prometheus.add_pod("b")
    prometheus.rows["seen"][0] = ({"pod": "a"}, str(AT - 1))

    assert set(read(prometheus).pods) == {"b"}


def test_pod_without_uptime_has_no_known_start(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.rows["started"] = []

    assert read(prometheus).pods["a"].started_at is None


def test_counters_of_a_pod_that_no_one_timed_are_left_out(prometheus: FakePrometheus) -> None:
    prometheus.count("a", "200", "1")

    assert read(prometheus).pods == {}


def test_services_of_one_namespace_are_added_up(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.count("a", "200", "1")
    prometheus.count("a", "200", "2", {**SHOP, "destination_service": "api.shop.svc.cluster.local"})

    assert read(prometheus).pods["a"].counters == {Series("shop", "200"): 3}


@pytest.mark.fault(
    on="Prometheus",
    fault="a histogram has no +Inf bucket",
    does="refuses the read: holds; no climb",
    sees="hold `no signal`: tcm metrics (URL), latency buckets: METRIC of pod POD has no bucket +Inf",
    safe_within="one tick",
)
def test_histogram_without_its_total_refuses_the_read(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.bucket("a", "5", "1")

    assert refusal(prometheus).endswith(
        "latency buckets: istio_request_duration_milliseconds_bucket of pod 'a' has no bucket +Inf, which is its total"
    )


@pytest.mark.fault(
    on="Prometheus",
    fault="a histogram has other edges than the fleet file says",
    does="refuses the read: holds; no climb, and no rollback for a quantile nobody knows",
    sees="hold `no signal`: tcm metrics (URL), latency buckets: METRIC of pod POD has no bucket at 250 ms",
    safe_within="one tick",
)
def test_histogram_without_an_edge_refuses_the_read_and_says_which(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.bucket("a", "5", "1")
    prometheus.bucket("a", "+Inf", "1")

    assert refusal(prometheus, (5, 10, 2500)).endswith(
        "of pod 'a' has no bucket at 10, 2500 ms; write the edges it has into the fleet's edgesMs"
    )


@pytest.mark.fault(
    on="Prometheus",
    fault="bucket edges are spelled differently (0.5, 5e-01, 500.0)",
    does="reads them as the same edge",
    sees="nothing: the climb goes on",
    safe_within="at once",
)
@pytest.mark.parametrize(("edge_ms", "spelled"), [(0.5, "5e-01"), (500, "500.0"), (500, "5e+02"), (1e6, "1e+06")])
def test_edge_is_understood_however_it_is_spelled(prometheus: FakePrometheus, edge_ms: float, spelled: str) -> None:
    prometheus.add_pod("a")
    prometheus.bucket("a", spelled, "7")
    prometheus.bucket("a", "+Inf", "9")

    counters = read(prometheus, (edge_ms,), edgesMs=(edge_ms,)).pods["a"].counters
    assert counters[Series("shop", edge_ms=edge_ms)] == 7
    assert spelled in edge_pattern((edge_ms,)).replace("\\", "").split("|")


def test_both_spellings_of_an_edge_are_one_edge_and_the_larger_is_believed(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    for edge, value in (("500", "40"), ("500.0", "41"), ("+Inf", "50")):
        prometheus.bucket("a", edge, value)

    assert read(prometheus, (500,)).pods["a"].counters[Series("shop", edge_ms=500.0)] == 41


@pytest.mark.parametrize(
    ("service", "namespace", "subject"),
    [
        ("web.shop.svc.cluster.local", "shop", "shop"),
        ("web.shop.svc.cluster.local", "unknown", "shop"),
        ("web.shop.svc.cluster.local", "", "shop"),
        ("web.shop.svc", "elsewhere", "shop"),
        ("web.shop.svc.example.org", "", "shop"),
        ("api.example.com", "shop", "shop"),
        ("web..svc.cluster.local", "shop", "shop"),
        ("web.shop.svcs", "pay", "pay"),
        ("PassthroughCluster", "", UNKNOWN),
        ("unknown", "unknown", UNKNOWN),
        ("", "", UNKNOWN),
    ],
)
def test_series_belongs_to_its_service_then_to_its_namespace_label_then_to_nobody(
    service: str, namespace: str, subject: str
) -> None:
    assert subject_of(service, namespace) == subject


def test_series_that_name_nothing_are_read_as_unknown(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.count("a", "404", "9", NOWHERE)

    assert read(prometheus).pods["a"].counters == {Series(UNKNOWN, "404"): 9}


# --- what is asked


def test_every_query_names_its_time_and_its_timeout(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    read(prometheus, (5,))

    assert [kind_of(asked["query"]) for asked in prometheus.asked] == [
        "newest",
        "started",
        "seen",
        "sampled",
        "buckets",
        "requests",
    ]
    assert [asked["time"] for asked in prometheus.asked] == [f"{AT + 240:.3f}", *[f"{AT:.3f}"] * 5]
    assert all(1 <= int(asked["timeout"].removesuffix("ms")) <= 5000 for asked in prometheus.asked)


def test_no_query_uses_rate_or_increase_and_all_isolate_the_gateway(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    read(prometheus, (5,))

    for asked in prometheus.asked:
        assert "rate(" not in asked["query"]
        assert "increase(" not in asked["query"]
        assert 'source_workload="gateway"' in asked["query"] or 'app="gateway"' in asked["query"]


def test_no_edges_read_no_latency_and_unlisted_edges_are_left_out(prometheus: FakePrometheus) -> None:
    read(prometheus)
    read(prometheus, (777,))

    assert "buckets" not in {kind_of(asked["query"]) for asked in prometheus.asked}


def test_names_come_from_the_settings() -> None:
    labels = {"pod": "kubernetes_pod_name", "service": "svc", "namespace": "ns", "code": "status"}
    asked = queries(
        datasource("http://127.0.0.1", labels=labels, metrics={"requests": "r:total", "latencyBuckets": "b"}), (5,)
    )

    assert asked.requests.startswith("sum by (kubernetes_pod_name, svc, ns, status) (r:total{")
    assert asked.buckets is not None
    assert asked.buckets.startswith("sum by (kubernetes_pod_name, svc, ns, le) (b{")


@pytest.mark.parametrize(
    ("edge", "words"),
    [
        (0.5, ("0.5", "5e-01")),
        (500, ("500", "500.0", "5e+02")),
        (1_800_000, ("1800000", "1800000.0", "1.8e+06")),
        (1_000_000, ("1000000", "1000000.0", "1e+06")),
        (1_234_567.5, ("1234567.5", "1.2345675e+06")),
    ],
)
def test_edge_is_asked_for_in_every_spelling(edge: float, words: tuple[str, ...]) -> None:
    assert spellings(edge) == words


# --- credentials


def test_bearer_token_is_read_anew_for_every_read(prometheus: FakePrometheus, tmp_path: Path) -> None:
    prometheus.add_pod("a")
    token = tmp_path / "token"
    metrics = PrometheusMetrics(datasource(prometheus.url, bearerTokenFile=str(token)), 45, "tcm")
    for text in ("first\n", "second\n"):
        token.write_text(text)
        metrics.read(NOW, ())

    assert set(prometheus.tokens[:5]) == {"Bearer first"}
    assert set(prometheus.tokens[5:]) == {"Bearer second"}


@pytest.mark.parametrize("content", [None, b"", b"a\nb", b"\xff"])
def test_unusable_token_file_asks_nothing(prometheus: FakePrometheus, tmp_path: Path, content: bytes | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)

    assert "bearer token file" in refusal(prometheus, bearerTokenFile=str(token))
    assert prometheus.asked == []


def test_environment_is_not_read(prometheus: FakePrometheus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    read(prometheus)

    assert set(prometheus.tokens) == {None}


# --- answers that must not be believed


def test_nobody_there_is_unavailable() -> None:
    metrics = PrometheusMetrics(datasource("http://127.0.0.1:1"), 45, "tcm")

    with pytest.raises(MetricsUnavailableError) as caught:
        metrics.read(NOW, ())
    assert str(caught.value) == "tcm metrics (http://127.0.0.1:1), newest sample: no answer (connection refused)"


def test_a_name_that_does_not_resolve_is_unavailable() -> None:
    metrics = PrometheusMetrics(datasource("http://prometheus.invalid"), 45, "tcm")

    with pytest.raises(MetricsUnavailableError, match=r"no answer \([a-z ]*name[a-z ]*\)$"):
        metrics.read(NOW, ())


def test_missing_ca_file_is_unavailable(prometheus: FakePrometheus) -> None:
    url = prometheus.url.replace("http:", "https:")
    metrics = PrometheusMetrics(datasource(url, caFile="/nowhere/ca.pem"), 45, "tcm")

    with pytest.raises(MetricsUnavailableError, match="CA certificate"):
        metrics.read(NOW, ())


def replying(status: int, body: bytes, **headers: str) -> Reply:
    return lambda handler: send(handler, status, body, **headers)


def answering(value: object) -> Reply:
    return replying(200, json.dumps({"status": "success", "data": value}).encode())


POD = {"pod": "a"}
BAD_REPLIES = [
    (replying(200, b"<html>login</html>"), "no JSON; is that a Prometheus.*<html>login</html>"),
    (replying(200, b"[" * 200_000), "no JSON"),
    (replying(200, b"[]"), "no JSON"),
    (replying(200, b""), "no JSON"),
    (replying(200, b'{"status":"error","errorType":"x","error":"too many samples"}'), "the error too many samples"),
    (replying(200, b'{"status":"success"}'), "without any result"),
    (replying(200, vector([], warnings=["store-2 did not answer"])), "may be partial, .*warnings.*store-2"),
    (replying(200, vector([], infos=["odd"])), "may be partial, .*infos.*odd"),
    (answering({"resultType": "scalar", "result": [AT, "1"]}), "a scalar where a vector must be"),
    (answering({"resultType": "matrix", "result": []}), "a matrix where a vector must be"),
    (answering({"resultType": "vector", "result": None}), "a vector where a vector must be"),
    (answering({"resultType": "vector", "result": [{"metric": POD, "value": [AT, 5]}]}), "no sample"),
    (answering({"resultType": "vector", "result": [{"metric": {"pod": 5}, "value": [AT, "5"]}]}), "no sample"),
    (answering({"resultType": "vector", "result": [{"metric": POD}]}), "no sample"),
    (answering({"resultType": "vector", "result": ["a"]}), "no sample"),
    (replying(200, vector([(POD, "NaN")])), "answered NaN where a number must be"),
    (replying(200, vector([(POD, "+Inf")])), r"answered \+Inf where a number must be"),
    (replying(200, vector([(POD, "many")])), "answered many where a number must be"),
    (replying(400, b'{"status":"error","error":"parse error"}'), "HTTP 400: parse error"),
    (replying(401, b"who are you?\x00\n"), r"HTTP 401: who are you\?; look at the fleet's bearerTokenFile$"),
    (replying(503, b"x" * 1000, Retry_After="3600"), "HTTP 503: x{119}…$"),
    (replying(502, b"<html>\n<p>\n" * 100), "HTTP 502: (<html> <p> )+<html> <p…$"),
    (replying(204, b""), "HTTP 204"),
    (replying(404, b"404 page not found"), "HTTP 404: 404 page not found; is the fleet's url that of a Prometheus"),
    (replying(302, b"", Location="/elsewhere"), r"redirects \(HTTP 302\); write the final address"),
    (replying(307, b"", Location="https://sso.example.com/in?code=x"), r"redirects to https://sso.example.com \("),
    (replying(301, b"", Location="http://[bad"), r"redirects \(HTTP 301"),
    (replying(300, b""), "redirects"),
    (replying(200, b'{"sta', Content_Length="500", Connection="close"), "no answer"),
    (replying(200, b"no gzip", Content_Encoding="gzip"), "no answer"),
]


@pytest.mark.parametrize(("reply", "sentence"), BAD_REPLIES)
@pytest.mark.parametrize("kind", ["newest", "requests"])
def test_bad_answer_to_any_question_refuses_the_read_and_says_what_and_where(
    prometheus: FakePrometheus, reply: Reply, sentence: str, kind: str
) -> None:
    prometheus.replies[kind] = close_after(reply)

    with pytest.raises(MetricsUnavailableError, match=f"(?s)^tcm metrics .*: .*{sentence}") as caught:
        read(prometheus, (5,))

    subject = {"newest": "newest sample", "requests": "request counts"}[kind]
    assert subject in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(asked["path"] == "/api/v1/query" for asked in prometheus.asked)
    assert [kind_of(asked["query"]) for asked in prometheus.asked].count(kind) == 1


def close_after(reply: Reply) -> Reply:
    def closing(handler: BaseHTTPRequestHandler) -> None:
        reply(handler)
        handler.close_connection = True

    return closing


@pytest.mark.parametrize(
    ("kind", "rows", "sentence"),
    [
        ("requests", [({**SHOP, "response_code": "200"}, "1")], "has no label 'pod'"),
        ("requests", [({"pod": ""}, "1")], "has no label 'pod'; say in the fleet's labels what the pod is called"),
        ("requests", [(ANSWERED, "-1")], "answered -1.0 for the counter"),
        ("requests", [(ANSWERED, "1"), (ANSWERED, "2")], "same series twice"),
        ("requests", [({"pod": "a", **SHOP}, "1")], "has no label 'response_code', so errors could not be told; say"),
        ("requests", [({**ANSWERED, "response_code": "5xx"}, "1")], "response code '5xx'; errors are told by whole"),
        (
            "requests",
            [({"pod": "a", "response_code": "200", "svc": "web.shop.svc.cluster.local"}, "1")],
            "no series has the label 'destination_service' or 'destination_service_namespace'",
        ),
        ("buckets", [({"pod": "a", "le": "5"}, "1"), ({"pod": "a", "le": "5"}, "2")], "same series twice"),
        ("buckets", [({"pod": "a", "le": "5"}, "-3")], "answered -3.0 for the counter"),
        ("requests", [(ANSWERED, "1.1e15")], "istio_requests_total is at 1.1e+15, which no counter reaches"),
        ("requests", [(ANSWERED, "1.7e308")], "istio_requests_total is at 1.7e+308"),
        (
            "requests",
            [({**ANSWERED, "destination_service": f"{name}.shop.svc"}, "6e14") for name in ("web", "api")],
            "istio_requests_total is at 1.2e+15",
        ),
        (
            "buckets",
            [({"pod": "a", "le": edge}, "1e16") for edge in ("5", "+Inf")],
            "milliseconds_bucket is at 1e+16",
        ),
        ("buckets", [({"pod": "a", "le": "7"}, "1")], "bucket edge '7', which was not asked for"),
        ("buckets", [({"pod": "a", "le": "five"}, "1")], "bucket edge 'five'"),
        ("buckets", [({"pod": "a"}, "1")], "bucket edge ''"),
        ("buckets", [({"le": "5"}, "1")], "has no label 'pod'"),
        ("sampled", [({"pod": "a"}, str(AT)), ({"pod": "a"}, str(AT))], "pod 'a' is there twice"),
        ("sampled", [({"pod": "a"}, str(AT + 60))], "no instant in the past"),
        (
            "sampled",
            [({"pod": "all"}, str(AT))],
            "requests are counted for all, but the pods that are up are a: the label 'pod' must name the gateway's pod",
        ),
        ("started", [({"pod": "a"}, "-5")], "no instant in the past"),
        ("seen", [({}, str(AT))], "has no label 'pod'"),
        (
            "seen",
            [({"pod": "a", "job": job, "node": "n1"}, str(AT)) for job in ("pods", "envoys")],
            "pod 'a' is there twice, its requests would count twice (job is 'pods' and 'envoys'): add a matcher",
        ),
        ("newest", [({}, str(AT + 61))], "from the future: Prometheus' clock is ahead of shifter's"),
    ],
)
def test_data_that_cannot_be_right_refuses_the_read(
    prometheus: FakePrometheus, kind: str, rows: list[Row], sentence: str
) -> None:
    prometheus.add_pod("a")
    prometheus.rows[kind] = rows

    assert sentence in refusal(prometheus)


# --- clocks, and answers without a pod


@pytest.mark.parametrize(("ahead_seconds", "shown"), [(61, "61 s from"), (238, "238 s or more from")])
def test_samples_from_the_future_are_a_wrong_clock_and_no_evidence(
    prometheus: FakePrometheus, ahead_seconds: float, shown: str
) -> None:
    prometheus.add_pod("a")
    prometheus.rows["newest"] = [({}, str(AT + ahead_seconds))]
    metrics = PrometheusMetrics(datasource(prometheus.url), 45, "tcm", clock=lambda: 0.0)

    with pytest.raises(MetricsUnavailableError, match=rf"^tcm metrics .*: a sample is {shown} the future: .* set them"):
        metrics.read(NOW, ())


def test_clock_that_is_a_little_ahead_is_believed(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a", age_seconds=0)
    prometheus.rows["newest"] = [({}, str(AT + 4))]

    assert set(read(prometheus).pods) == {"a"}


def test_scrape_that_came_while_the_read_was_under_way_is_not_from_the_future(prometheus: FakePrometheus) -> None:
    times = iter([0.0, 0.0, *[9.0] * 50])
    prometheus.add_pod("a")
    prometheus.rows["newest"] = [({}, str(AT + 9))]
    metrics = PrometheusMetrics(
        datasource(prometheus.url, timeout=timedelta(seconds=30)), 45, "tcm", clock=lambda: next(times)
    )

    assert set(metrics.read(NOW, ()).pods) == {"a"}


def why_absent(prometheus: FakePrometheus) -> str:
    reading = PrometheusMetrics(datasource(prometheus.url), 45, "istio", clock=lambda: 0.0).read(NOW, ())
    assert isinstance(reading, Absence)
    assert not reading.pods
    return reading.reason.removeprefix(f"istio metrics ({prometheus.url}): ")


def test_answer_without_any_pod_says_what_was_looked_for(prometheus: FakePrometheus) -> None:
    assert why_absent(prometheus) == (
        'shows no gateway pod, neither envoy_server_uptime{app="gateway"} nor istio_requests_total{reporter="source",'
        'source_workload="gateway"}: it is gone or not scraped, or podMatchers and matchers in the fleet are wrong'
    )


def test_answer_with_old_samples_only_says_how_old(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a", age_seconds=130)
    prometheus.add_pod("b", age_seconds=140)

    assert why_absent(prometheus) == (
        "shows no gateway pod with a fresh sample: the newest of 2 pods is 130 s old, sampleMaxAge is 45 s; "
        "it scrapes no more, or samples reach it late"
    )


@pytest.mark.parametrize("age_seconds", [130, None])
def test_clock_that_is_behind_is_named_and_by_how_much(prometheus: FakePrometheus, age_seconds: float | None) -> None:
    prometheus.rows["clock"] = [({}, str(AT - 120))]
    if age_seconds is not None:
        prometheus.add_pod("a", age_seconds=age_seconds)

    assert why_absent(prometheus).endswith(
        "; its clock is 120 s behind: Prometheus' clock is behind shifter's, or shifter's is ahead; set them right"
    )
    assert "time" not in prometheus.asked[-1]


def test_clock_that_nobody_tells_leaves_the_samples_too_old(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a", age_seconds=130)
    prometheus.replies["clock"] = replying(503, b"")

    assert "the newest of 1 pods is 130 s old" in why_absent(prometheus)


# --- what is told to whom


def test_redirect_is_not_followed_and_no_token_leaves(prometheus: FakePrometheus, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    with running(FakePrometheus()) as elsewhere:
        prometheus.reply = replying(307, b"", Location=f"{elsewhere.url}/api/v1/query?leaked=1")
        said = refusal(prometheus, bearerTokenFile=str(token))

    assert f"redirects to {elsewhere.url.rsplit(':', 1)[0]} (HTTP 307)" in said
    assert "secret" not in said
    assert prometheus.tokens == ["Bearer secret"]
    assert elsewhere.asked == []


# --- bounds


@pytest.mark.parametrize(("coding", "layers"), [("gzip", 1), ("gzip, gzip", 2)])
def test_small_body_that_unpacks_to_hundreds_of_megabytes_is_not_unpacked(
    prometheus: FakePrometheus, coding: str, layers: int
) -> None:
    body = b" " * 200_000_000
    for _ in range(layers):
        body = gzip.compress(body, 1)
    prometheus.reply = replying(200, body, Content_Encoding=coding)
    tracemalloc.start()
    said = refusal(prometheus)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert "answered more than 32 MiB" in said
    assert most_bytes < 3 * transport.MAX_ANSWER_BYTES


def test_body_of_very_many_values_is_not_parsed(prometheus: FakePrometheus) -> None:
    prometheus.reply = replying(200, b"[" + b"[]," * 1_100_000 + b"[]]")
    began = time.process_time()
    said = refusal(prometheus)

    assert "answered more than 2000000 values" in said
    assert time.process_time() - began < 2


def test_body_of_any_size_is_not_read(prometheus: FakePrometheus) -> None:
    sent = 0

    def flood(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        while True:
            sent += handler.wfile.write(b" " * 1_000_000)

    prometheus.reply = flood

    assert "more than 32 MiB" in refusal(prometheus)
    assert sent < 2 * transport.MAX_ANSWER_BYTES


def test_silent_server_is_given_up_after_the_timeout(prometheus: FakePrometheus) -> None:
    released = threading.Event()

    def stay_silent(_: BaseHTTPRequestHandler) -> None:
        released.wait(20)

    prometheus.reply = stay_silent
    began = time.monotonic()
    text = refusal(prometheus, timeout=timedelta(seconds=0.3))
    took = time.monotonic() - began
    released.set()

    assert text.endswith("newest sample: no answer within 0.3 s")
    assert 0.3 <= took < 1.2


@pytest.mark.parametrize("chunked", [False, True])
def test_server_that_sends_a_byte_now_and_then_is_given_up_too(prometheus: FakePrometheus, *, chunked: bool) -> None:
    released = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header(*("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "100000"))
        handler.end_headers()
        while not released.wait(0.05):
            handler.wfile.write(b"1\r\n \r\n" if chunked else b" ")

    prometheus.reply = drip
    began = time.monotonic()
    text = refusal(prometheus, timeout=timedelta(seconds=0.3))
    took = time.monotonic() - began
    released.set()

    assert "still answering when the time was up" in text
    assert took < 1.2


def test_server_that_drips_its_header_is_given_up_too(prometheus: FakePrometheus) -> None:
    released = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.flush_headers()
        while not released.wait(0.05):
            handler.wfile.write(b"X: y\r\n")

    prometheus.reply = drip
    began = time.monotonic()
    text = refusal(prometheus, timeout=timedelta(seconds=0.2))
    took = time.monotonic() - began
    released.set()

    assert text == f"tcm metrics ({prometheus.url}): no whole answer within 0.8 s"
    assert took < 1.6


def test_queries_together_get_twice_the_timeout(prometheus: FakePrometheus) -> None:
    elapsed_seconds = 0.0

    def just_in_time(handler: BaseHTTPRequestHandler) -> None:
        nonlocal elapsed_seconds
        elapsed_seconds += 5.0
        send(handler, 200, vector([]))

    prometheus.reply = just_in_time
    metrics = PrometheusMetrics(
        datasource(prometheus.url, timeout=timedelta(seconds=5)), 45, "tcm", clock=lambda: elapsed_seconds
    )

    with pytest.raises(MetricsUnavailableError, match="pods that are up: no time left"):
        metrics.read(NOW, ())
    assert len(prometheus.asked) == 2


def test_chunked_and_compressed_answers_are_read_whole(prometheus: FakePrometheus) -> None:
    body = vector([({"pod": f"pod-{number}"}, str(AT)) for number in range(5000)])

    def chunked(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(body), 10_000):
            piece = body[start : start + 10_000]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    prometheus.replies = {"sampled": chunked, "seen": replying(200, gzip.compress(body), Content_Encoding="gzip")}

    assert len(read(prometheus).pods) == 5000
