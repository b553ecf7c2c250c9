"""The read-only web side: /livez, /readyz and /metrics. No route changes anything.

/livez says that the loop runs; it never asks Prometheus or the cloud, since restarting shifter mends neither.
/readyz says that the saved state is loaded; of one that stands by, that it sees the lease and could take over.

Whoever may ask may also ask too much. A connection carries one request, lives a few seconds, and there are only so
many, so that callers can never take the descriptors that a retreat needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from shifter.errors import ConfigError

_STOP_SECONDS = 3
_BACKLOG = 128
_RESTART_SECONDS = 5.0

MOST_CONNECTIONS = 64
"""The most callers at a time; any more are hung up on."""

LONGEST_CONNECTION_SECONDS = 10.0
"""How long a caller has to ask and to be answered."""


def application(alive: Callable[[], str], ready: Callable[[], str], registry: Collector) -> Starlette:
    """Return the application. `alive` and `ready` return an empty string, or the sentence that says why not."""

    def livez(_: Request) -> Response:
        return _probe(alive())

    def readyz(_: Request) -> Response:
        return _probe(ready())

    def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    routes = [
        Route(path, endpoint, methods=["GET"])
        for path, endpoint in (("/livez", livez), ("/readyz", readyz), ("/metrics", metrics))
    ]
    return Starlette(routes=routes)


def _probe(problem: str) -> Response:
    return PlainTextResponse(problem or "ok", status_code=503 if problem else 200)


def _short_lived(longest_seconds: float) -> type[H11Protocol]:
    """Return the protocol of callers' connections: hung up on if there are too many, or when their time is over."""

    class ShortLived(H11Protocol):
        end: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
            super().connection_made(transport)
            if len(self.connections) > MOST_CONNECTIONS:
                transport.abort()
            else:
                self.end = asyncio.get_running_loop().call_later(longest_seconds, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self.end is not None:
                self.end.cancel()

    return ShortLived


class Served:
    """The web side while it is served. `port` is where; call `tend` every now and then."""

    def __init__(self, app: Starlette, listening: socket.socket, longest_seconds: float) -> None:
        self.port: int = listening.getsockname()[1]
        self._app = app
        self._protocol = _short_lived(longest_seconds)
        self._listening = listening
        self._started_at = time.monotonic()
        self._server, self._thread = self._start()

    def tend(self) -> str:
        """Start the server again if its thread died; return what happened, empty if nothing did.

        Raises:
            OSError: there is no descriptor left for it; it is tried again later.
            RuntimeError: there is no thread left for it; it is tried again later.
        """
        if self._thread.is_alive() or time.monotonic() < self._started_at + _RESTART_SECONDS:
            return ""
        self._started_at = time.monotonic()
        self._server, self._thread = self._start()
        return "the thread that serves it died; it was started again"

    def stop(self) -> None:
        """Stop serving; waits for the thread, for a bounded time."""
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)

    def _start(self) -> tuple[uvicorn.Server, threading.Thread]:
        config = uvicorn.Config(
            self._app,
            http=self._protocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            headers=[("Connection", "close")],
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        # The server closes the socket that it is given; ours stays, so that callers wait and are not refused.
        listening = self._listening.dup()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="web", daemon=True)
        thread.start()
        return server, thread


@contextlib.contextmanager
def served(
    app: Starlette, host: str, port: int, *, longest_seconds: float = LONGEST_CONNECTION_SECONDS
) -> Iterator[Served]:
    """Serve `app` in a thread for as long as the context lasts, on a free port if `port` is 0.

    A caller has `longest_seconds` to ask and to be answered.

    Raises:
        ConfigError: the address cannot be bound.
    """
    # Named as TCP on purpose: asyncio switches Nagle's delay off only for sockets that say so.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # From here on a caller is kept waiting, not refused, until the server's thread is up.
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another with --listen") from error
    with contextlib.closing(listening):
        serving = Served(app, listening, longest_seconds)
        try:
            yield serving
        finally:
            serving.stop()
