"""A way to the API server for one replica, which tells of every request when it arrives, and again when it is answered.

Whoever is told can kill between the two for certain, as `StruckEmulator` lets for the cloud: a request that is struck
when it arrives is never passed on, and the answer of one that is struck later is never passed back. It speaks plain
HTTP to the replica, since what it carries has to be read.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from shifter.lab.free_ports import LOOPBACK
from tests.cluster.plane import ControlPlane

ARRIVES: Final = "arrives"
ANSWERED: Final = "answered"
EDGES: Final = (ARRIVES, ANSWERED)

_PATIENCE_SECONDS: Final = 600.0
"""Longer than a watch, of which nobody may hear anything until it ends."""

_CHUNK_BYTES: Final = 65_536
_VERBS: Final = {"POST": "create", "PUT": "update", "DELETE": "delete"}
_HOP_BY_HOP: Final = frozenset({"connection", "host", "transfer-encoding", "content-length", "keep-alive"})
_NAME_AT: Final = 1
_SUBRESOURCE_AT: Final = 2


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its verb and resource as a role spells them, the object in it if one is, and which process asks."""

    right: str
    body: Mapping[str, Any]
    by: int = 0


Strike = Callable[[Call, str], bool]
"""Is told of a call and which edge it is at; returns whether whoever made it is dead."""


class StruckApi:
    """Carries requests to a control plane's API server, inside a `with` block.

    Args:
        plane: whose API server.
        strike: is told of each request, at both edges.
        caller: returns the id of the process that connects now; the next one has connections of its own.
    """

    def __init__(self, plane: ControlPlane, strike: Strike, caller: Callable[[], int]) -> None:
        class Carries(_Carrier):
            to = plane
            struck = staticmethod(strike)
            called_by = staticmethod(caller)

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Carries)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        # Not `server_close`, which waits for every thread: a watch that nobody reads lasts for minutes.
        self._server.socket.close()


def call_of(method: str, target: str, body: bytes, by: int) -> Call:
    """Return what a request is, of an API group that has a name: `update shifts.shifter.io/status`."""
    parts = urlsplit(target)
    _, group, _, *rest = parts.path.strip("/").split("/")
    if rest[0] == "namespaces":
        rest = rest[2:]
    if method == "GET":
        watches = "watch" in parse_qs(parts.query)
        verb = "get" if len(rest) > _NAME_AT else "watch" if watches else "list"
    else:
        verb = _VERBS[method]
    subresource = f"/{rest[_SUBRESOURCE_AT]}" if len(rest) > _SUBRESOURCE_AT else ""
    return Call(f"{verb} {rest[0]}.{group}{subresource}", json.loads(body) if body else {}, by)


class _Carrier(BaseHTTPRequestHandler):
    """Carries the requests of one connection, one after another, over a connection of its own."""

    to: ControlPlane
    struck: Strike
    called_by: Callable[[], int]
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE_SECONDS

    def setup(self) -> None:
        super().setup()
        self._by = self.called_by()
        self._asking = HTTPSConnection(LOOPBACK, self.to.port, timeout=_PATIENCE_SECONDS, context=self.to.trust)

    def handle(self) -> None:
        with suppress(OSError):  # whoever called is dead
            super().handle()

    def finish(self) -> None:
        self._asking.close()
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        self._carry()

    def do_POST(self) -> None:
        self._carry()

    def do_PUT(self) -> None:
        self._carry()

    def do_DELETE(self) -> None:
        self._carry()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _carry(self) -> None:
        self.close_connection = True  # unless all goes well
        # Whoever called may be dead, and the API server may be gone: then this connection is, too.
        with suppress(OSError, HTTPException):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:
                return  # whoever sent it died in the middle of it
            call = call_of(self.command, self.path, body, self._by)
            if self.struck(call, ARRIVES):
                return
            headers = {name: text for name, text in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            self._asking.request(self.command, self.path, body or None, headers)
            with self._asking.getresponse() as answer:
                self._pass_back(call, answer)

    def _pass_back(self, call: Call, answer: HTTPResponse) -> None:
        watched = call.right.startswith("watch")
        whole = b"" if watched else answer.read()
        if self.struck(call, ANSWERED):
            return
        self.send_response(answer.status)
        for name, text in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, text)
        self.send_header(*(("Transfer-Encoding", "chunked") if watched else ("Content-Length", str(len(whole)))))
        self.end_headers()
        if watched:
            for piece in _pieces(answer):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(whole)
        self.close_connection = False


def _pieces(answer: HTTPResponse) -> Iterator[bytes]:
    while piece := answer.read1(_CHUNK_BYTES):
        yield piece
