"""What the check-up asks of Prometheus and of Tencent's endpoint besides: clocks, scrapes, labels."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from shifter.adapters.prometheus import PrometheusProbe
from shifter.adapters.tencent.server_clock import TencentClock
from shifter.core.documents.fleet import Datasource, Tencent
from shifter.errors import MetricsUnavailableError, ProviderUnavailableError
from shifter.ports import MeshProbe, RemoteClock

Row = tuple[dict[str, str], str]


class Server:
    """Answers every GET alike: with rows as Prometheus does, and with the Date that a test wants."""

    def __init__(self) -> None:
        self.rows: Sequence[Row] = ()
        self.date: str | None = None
        self.hangs: threading.Event | None = None
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                server.asked.append({name: values[0] for name, values in query.items()})
                server.headers.append(dict(self.headers))
                if server.hangs is not None:
                    server.hangs.wait(20)
                    return
                rows = [{"metric": labels, "value": [0, value]} for labels, value in server.rows]
                body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}).encode()
                self.send_response_only(200)
                if server.date is not None:
                    self.send_header("Date", server.date)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_port


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    if server.hangs is not None:
        server.hangs.set()
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def probe(server: Server, timeout_seconds: float = 5) -> MeshProbe:
    return probe_at(server.port, timeout_seconds)


def probe_at(port: int, timeout_seconds: float) -> MeshProbe:
    settings = {
        "url": f"http://127.0.0.1:{port}",
        "matchers": {"app": "x"},
        "podMatchers": {"app": 'the "gateway"'},
        "timeout": timedelta(seconds=timeout_seconds),
    }
    return PrometheusProbe(Datasource.model_validate(settings), "tcm")


def clock(port: int, timeout: str = "5s") -> RemoteClock:
    settings = {"secretIdFile": "none", "secretKeyFile": "none", "scheme": "http", "timeout": timeout}
    return TencentClock(Tencent.model_validate({**settings, "endpoint": f"127.0.0.1:{port}"}))


def test_prometheus_says_its_own_time_and_is_not_told_ours(server: Server) -> None:
    server.rows = [({}, "1700000000.25")]

    assert probe(server).server_time() == 1700000000.25
    assert server.asked[0]["query"] == "vector(time())"
    assert "time" not in server.asked[0]


def test_an_answer_without_a_time_is_refused(server: Server) -> None:
    with pytest.raises(MetricsUnavailableError, match=r"tcm metrics .*, its clock: answered no time"):
        probe(server).server_time()


@pytest.mark.parametrize(
    ("rows", "seconds"), [([({}, "20")], 15.0), ([], None), ([({}, "1")], None), ([({}, "300")], 1.0)]
)
def test_how_often_it_scrapes_is_counted_over_five_minutes(
    server: Server, rows: Sequence[Row], seconds: float | None
) -> None:
    server.rows = rows

    assert probe(server).scrape_seconds() == seconds
    assert server.asked[0]["query"] == (
        'max(count_over_time(envoy_server_uptime{app="the \\"gateway\\""}[300s])'
        ' and envoy_server_uptime{app="the \\"gateway\\""} >= 300)'
    )


def test_values_of_a_label_are_few_and_sorted(server: Server) -> None:
    server.rows = [({"app": "b"}, "9"), ({"app": "a"}, "3"), ({}, "1")]

    assert probe(server).values("up", "app", {"job": "x"}) == ("a", "b")
    assert server.asked[0]["query"] == 'topk(10, count by (app) (up{job="x"}))'


def test_a_prometheus_that_hangs_is_unavailable_in_time(server: Server) -> None:
    server.hangs = threading.Event()
    began = time.monotonic()

    with pytest.raises(MetricsUnavailableError, match="no answer within"):
        probe(server, 0.2).server_time()
    assert time.monotonic() - began < 3


def test_tencents_time_is_read_off_the_date_without_any_signature(server: Server) -> None:
    server.date = "Fri, 20 Nov 2026 12:00:00 GMT"

    assert clock(server.port).server_time() == 1795176000.5
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("date", [None, "", "yesterday", "Fri, 99 Nov 2026 12:00:00 GMT"])
def test_an_answer_without_a_readable_date_tells_nothing(server: Server, date: str | None) -> None:
    server.date = date

    with pytest.raises(ProviderUnavailableError, match="answers without a readable Date"):
        clock(server.port).server_time()


def test_an_endpoint_that_is_not_there_or_hangs_is_unavailable_in_time(server: Server) -> None:
    server.hangs = threading.Event()
    began = time.monotonic()

    with pytest.raises(ProviderUnavailableError, match=rf"the clock of 127\.0\.0\.1:{server.port}: no answer within"):
        clock(server.port, "200ms").server_time()
    with pytest.raises(ProviderUnavailableError, match=r"the clock of 127\.0\.0\.1:1: connection refused"):
        clock(1).server_time()
    assert time.monotonic() - began < 3


@pytest.fixture
def trickling() -> Iterator[int]:
    """The port of a server whose answer's head never ends."""
    over = threading.Event()

    def trickle(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not over.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        thread = threading.Thread(target=trickle, args=(listening,))
        thread.start()
        yield listening.getsockname()[1]
        over.set()
        thread.join()


def test_an_endpoint_whose_head_never_ends_is_unavailable_in_time(trickling: int) -> None:
    said = rf"the clock of 127\.0\.0\.1:{trickling}: no whole answer within 0\.3 s"

    with pytest.raises(ProviderUnavailableError, match=said):
        clock(trickling, "100ms").server_time()


def test_a_prometheus_whose_head_never_ends_is_unavailable_in_time(trickling: int) -> None:
    said = rf"tcm metrics \(http://127\.0\.0\.1:{trickling}/?\): no whole answer within"

    with pytest.raises(MetricsUnavailableError, match=said):
        probe_at(trickling, 0.1).server_time()
