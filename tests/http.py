"""HTTP servers on loopback that say what a test wants, for whoever asks over a real connection.

Only how such a server is run belongs here; what one pretends to be stands beside the tests that ask it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[[BaseHTTPRequestHandler], None]
"""Answers one request, by whatever it writes to the handler."""

_POLL_SECONDS = 0.01


@contextmanager
def serving(reply: Reply) -> Iterator[str]:
    """Yield the URL of a server that answers every GET with `reply`, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            try:
                reply(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": _POLL_SECONDS})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """Send a whole answer, of JSON if no other `Content_Type` is given; `_` in a header's name stands for `-`."""
    handler.send_response(status)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **given}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def replying(status: int, body: bytes, **headers: str) -> Reply:
    """Return what answers every request the same."""
    return lambda handler: send(handler, status, body, **headers)
