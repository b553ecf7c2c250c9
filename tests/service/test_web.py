"""The web side over real HTTP: two probes, the metrics, and nothing that changes anything."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from shifter.errors import ConfigError
from shifter.service.web import MOST_CONNECTIONS, Served, application, served
from tests.service.waiting import wait_for

TIMEOUT_SECONDS = 5.0
HOST = "127.0.0.1"


class Service:
    """What the probes ask: why it is not alive, and why not ready; empty if it is."""

    def __init__(self) -> None:
        self.dead = ""
        self.unready = ""
        self.registry = CollectorRegistry()
        self.port = 0
        self.web: Served

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    app = application(lambda: made.dead, lambda: made.unready, made.registry)
    with served(app, HOST, 0) as made.web:
        made.port = made.web.port
        yield made


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_probe_of_a_healthy_service_says_ok(service: Service, path: str) -> None:
    assert service.ask(path) == (200, "ok")


def test_a_dead_loop_fails_liveness_with_its_reason_and_not_readiness(service: Service) -> None:
    service.dead = "no tick for 61 s"

    assert service.ask("/livez") == (503, "no tick for 61 s")
    assert service.ask("/readyz") == (200, "ok")


def test_unloaded_state_fails_readiness_and_not_liveness(service: Service) -> None:
    service.unready = "state is not loaded"

    assert service.ask("/readyz") == (503, "state is not loaded")
    assert service.ask("/livez") == (200, "ok")


def test_metrics_are_in_prometheus_text(service: Service) -> None:
    Gauge("shifter_test", "A test", registry=service.registry).set(7)
    status, text = service.ask("/metrics")

    assert status == 200
    assert "\nshifter_test 7.0\n" in text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_no_route_takes_anything_but_reads(service: Service, method: str, path: str) -> None:
    status, _ = service.ask(path, method)

    assert status == 405


def test_there_is_nothing_else(service: Service) -> None:
    assert service.ask("/")[0] == service.ask("/orders")[0] == 404


def test_an_address_in_use_is_refused_with_what_to_do() -> None:
    app = application(str, str, CollectorRegistry())
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        attempt = served(app, HOST, port)

        with pytest.raises(ConfigError, match=rf"cannot listen on {HOST}:{port}: .*; choose another with --listen"):
            attempt.__enter__()


def test_after_the_context_the_port_is_free_again() -> None:
    app = application(str, str, CollectorRegistry())
    with served(app, HOST, 0) as first:
        pass
    with served(app, HOST, first.port) as again:
        assert again.port == first.port


# -- callers and threads that do not behave --------------------------------------------------------------------------


def silent_callers(service: Service, count: int) -> list[socket.socket]:
    return [socket.create_connection((HOST, service.port), TIMEOUT_SECONDS) for _ in range(count)]


def is_hung_up(caller: socket.socket) -> bool:
    try:
        return caller.recv(1) == b""
    except ConnectionError:
        return True


def test_an_answer_ends_its_connection(service: Service) -> None:
    (caller,) = silent_callers(service, 1)
    with caller:
        caller.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
        answer = b"".join(iter(lambda: caller.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in answer.lower()


@pytest.mark.fault(
    on="process",
    fault="callers open connections to the web side and ask nothing",
    does="hangs up on those beyond 64, and on everyone after 10 s, so that descriptors are left",
    sees="their own connection closed",
    safe_within="at once",
)
def test_more_callers_than_there_is_room_for_are_hung_up_on(service: Service) -> None:
    with contextlib.ExitStack() as stack:
        for caller in silent_callers(service, MOST_CONNECTIONS):
            stack.enter_context(caller)
        one_more = stack.enter_context(silent_callers(service, 1)[0])

        assert is_hung_up(one_more)


def test_a_caller_that_asks_nothing_is_hung_up_on_in_time() -> None:
    app = application(str, str, CollectorRegistry())
    with (
        served(app, HOST, 0, longest_seconds=0.05) as web,
        socket.create_connection((HOST, web.port), TIMEOUT_SECONDS) as caller,
    ):
        assert is_hung_up(caller)


@pytest.mark.fault(
    on="process",
    fault="the web side's thread dies",
    does="is started again; callers wait meanwhile",
    sees="`service.thread`: web",
    safe_within="at once: nothing hangs on it",
)
def test_a_dead_web_side_is_started_again(service: Service) -> None:
    before = service.ask("/livez")
    service.web.stop()
    wait_for(service.web.tend, "it was not started again")

    assert before == service.ask("/livez") == (200, "ok")
