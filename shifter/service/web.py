"""The read-only web side: /livez, /readyz and /metrics. No route changes anything.

/livez says that the loop runs; it never asks Prometheus or the cloud, since restarting shifter mends neither.
/readyz says that the saved state is loaded.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from shifter.errors import ConfigError

_STOP_SECONDS = 3
_BACKLOG = 128


def application(alive: Callable[[], str], ready: Callable[[], str], registry: CollectorRegistry) -> Starlette:
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


@contextlib.contextmanager
def served(app: Starlette, host: str, port: int) -> Iterator[int]:
    """Serve `app` in a thread for as long as the context lasts; yields the port (a free one if `port` is 0).

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
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="web", daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(_STOP_SECONDS)
        listening.close()
