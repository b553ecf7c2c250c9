"""How a Prometheus is asked: with which credentials, for how long, and which answers are not even looked into."""

from __future__ import annotations

import gzip
import json
import threading
import time
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from shifter.adapters.prometheus import PrometheusMetrics, transport
from shifter.errors import MetricsUnavailableError
from tests.adapters.prometheus import AT, NOW, FakePrometheus, datasource, kind_of, read, refusal, running, vector
from tests.http import Reply, replying, send


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with running() as fake:
        yield fake


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


# --- what is told to whom


def test_redirect_is_not_followed_and_no_token_leaves(prometheus: FakePrometheus, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    with running() as elsewhere:
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
