"""What a change of a running Envoy says when it cannot be made."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from shifter.lab.envoy_control import EnvoyControlError, fraction, set_runtime


@pytest.fixture
def refusing() -> Iterator[int]:
    """The port of an Envoy without an admin layer in its runtime: it refuses every change."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(503)
            self.send_header("Content-Length", "24")
            self.end_headers()
            self.wfile.write(b"No admin layer specified")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_refused_change_quotes_the_envoy(refusing: int) -> None:
    said = f"the Envoy with admin port {refusing} refused: 503 No admin layer specified"

    with pytest.raises(EnvoyControlError, match=said):
        set_runtime(refusing, {"key": "1"})


def test_an_envoy_that_is_not_there_did_not_answer() -> None:
    with pytest.raises(EnvoyControlError, match=r"the Envoy with admin port 1 did not answer: .*refused"):
        set_runtime(1, {"key": "1"})


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan")])
def test_a_percentage_is_within_0_and_100(percent: float) -> None:
    with pytest.raises(ValueError, match=f"{percent} is not a percentage"):
        fraction(percent)
