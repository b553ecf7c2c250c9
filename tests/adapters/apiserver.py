"""A pretended API server over real sockets: it records what reached it and answers what a test wants, or never.

It keeps no objects (tests/kube.py does): here only what happens on a wire is of interest.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.http import Reply, send

_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: Any
    peer: str = ""
    """The common name in the certificate that the client showed."""


@dataclass(slots=True)
class FakeApiServer:
    """Answers every request with `reply`; `released` lets those go that hang."""

    url: str = ""
    reply: Reply = lambda handler: send(handler, 404, b"404 page not found\n", Content_Type="text/plain")
    asked: list[Asked] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    def answer(self, status: int, body: object) -> None:
        """Answer everything with this JSON."""
        self.reply = lambda handler: send(handler, status, json.dumps(body).encode())

    def hang(self, _: BaseHTTPRequestHandler | None = None) -> None:
        """Say nothing until the test is over."""
        self.released.wait(20)


@contextmanager
def running(certificate: tuple[Path, Path] | None = None) -> Iterator[FakeApiServer]:
    """Yield a server on loopback; with the files of a certificate and its key, over TLS.

    It takes client certificates that this one has signed, which it is the authority of, too.
    """
    fake = FakeApiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            fake.connections += 1
            super().setup()

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                self.close_connection = True

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            body = json.loads(self.rfile.read(length)) if length else None
            fake.asked.append(Asked(self.command, parts.path, query, self.headers, body, _common_name(self.connection)))
            fake.reply(self)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the library's names

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that refuses our certificate is what a test wanted."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            context.load_verify_locations(certificate[0])
            context.verify_mode = ssl.CERT_OPTIONAL
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": _POLL_SECONDS})
        thread.start()
        fake.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
        try:
            yield fake
        finally:
            fake.released.set()
            server.shutdown()
            thread.join()


def _common_name(connection: object) -> str:
    shown = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    subject: Any = (shown or {}).get("subject", ())
    return str(dict(pair for part in subject for pair in part).get("commonName", ""))
