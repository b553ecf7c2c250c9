"""HTTP around the emulator: the API on `/`, a person's controls under `/lab/`, one thread on 127.0.0.1.

Only this module knows HTTP. The API's own answers are always 200 with exactly `application/json`; the controls
are ordinary REST for curl, unsigned, and therefore never bound to anything but the loopback interface.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shifter.lab.emulator.api import MAX_BODY_BYTES, Admitted
from shifter.lab.emulator.controls import listing
from shifter.lab.emulator.envelope import Ending, Reply, bad_gateway
from shifter.lab.emulator.signing import HttpRequest
from shifter.lab.emulator.wire import CuttableProtocol, cut

_POLL_SECONDS = 0.02
_START_SECONDS = 10.0
_STOP_SECONDS = 10.0
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Backend(Protocol):
    """What the server serves."""

    def admit(self, request: HttpRequest) -> Admitted | Reply:
        """Take a request in, or answer it at once."""

    def perform(self, admitted: Admitted) -> Reply:
        """Work on an admitted call."""

    def control(self, name: str, order: object) -> Mapping[str, Any]:
        """Carry out a person's order, or raise ValueError, or LookupError if there is no such control."""

    def state(self) -> Mapping[str, Any]:
        """Return everything there is to see, as JSON values."""


class Web:
    """The application's endpoints.

    Args:
        backend: what to serve; its methods are quick and never block.
        stopping: set to end every wait, so that a held reply cannot hold up a stop.
        lost_reply_seconds: how long a lost reply keeps its connection open at most; beyond it, HTTP 504.
    """

    def __init__(self, backend: Backend, *, stopping: threading.Event, lost_reply_seconds: float) -> None:
        self._backend = backend
        self._stopping = stopping
        self._lost_reply_seconds = lost_reply_seconds

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/", self._call, methods=_METHODS),
                Route("/lab/", self._listing, methods=["GET"]),
                Route("/lab/state", self._state, methods=["GET"]),
                Route("/lab/{name}", self._control, methods=["POST"]),
            ]
        )

    async def _call(self, request: Request) -> Response:
        try:
            admitted = self._backend.admit(await _received(request))
        except ClientDisconnect:
            # Nobody reads this; the framework wants an answer all the same.
            return Response(status_code=400)
        if isinstance(admitted, Reply):
            return await self._ended(request, admitted)
        await self._hold(admitted.wait_seconds)
        if self._stopping.is_set():
            return _response(bad_gateway(502))
        return await self._ended(request, self._backend.perform(admitted))

    async def _ended(self, request: Request, reply: Reply) -> Response:
        """Let an answer go its way, or not."""
        if reply.ending is Ending.LOST:
            await self._hold(self._lost_reply_seconds)
            return _response(bad_gateway(504))
        if reply.ending is not Ending.SENT:
            await cut(request.scope, reply)
        return _response(reply)

    async def _control(self, request: Request) -> Response:
        try:
            body = (await _received(request)).body
            done = self._backend.control(request.path_params["name"], json.loads(body) if body.strip() else {})
        except ClientDisconnect:
            return Response(status_code=400)
        except RecursionError:
            return JSONResponse({"error": "that is nested too deeply"}, status_code=400)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except LookupError as error:
            return JSONResponse({"error": str(error)}, status_code=404)
        return JSONResponse({**done, "faults": self._backend.state()["faults"]})

    async def _listing(self, _: Request) -> Response:
        return JSONResponse({"post": listing(), "get": {"/lab/state": "everything there is to see"}})

    async def _state(self, _: Request) -> Response:
        return JSONResponse(self._backend.state())

    async def _hold(self, seconds: float) -> None:
        """Wait, but not beyond a stop; that comes from another thread, so it is looked for, not awaited."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or self._stopping.is_set():
                return
            await asyncio.sleep(min(left, _POLL_SECONDS))


class LoopbackServer:
    """Serves one application from a thread of its own, on 127.0.0.1 only.

    Args:
        app: what to serve.
        stop_seconds: how long its thread may take to end.
    """

    def __init__(self, app: Starlette, stop_seconds: float = _STOP_SECONDS) -> None:
        config = uvicorn.Config(
            app,
            http=CuttableProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._stop_seconds = stop_seconds
        self._thread: threading.Thread | None = None

    def start(self, port: int) -> int:
        """Listen and return the port; 0 picks a free one.

        Raises:
            OSError: the port is taken.
            TimeoutError: the server did not come up within 10 s, or not at all.
        """
        # Bound here and not by uvicorn, so that the port is known, or refused, before any thread exists.
        # Named TCP, because asyncio sends small answers at once only on sockets that say so; else each costs 40 ms.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", port))
        except OSError:
            listening.close()
            raise
        chosen = int(listening.getsockname()[1])
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="tencent-emulator-http", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                try:
                    self.stop()
                finally:
                    listening.close()
                raise TimeoutError(f"the emulator did not come up on 127.0.0.1:{chosen}")
            time.sleep(_POLL_SECONDS / 4)
        return chosen

    def stop(self) -> None:
        """Close every connection and wait until the thread is gone.

        Raises:
            TimeoutError: it is not gone in time.
        """
        self._server.should_exit = True
        if self._thread is None:
            return
        self._thread.join(self._stop_seconds)
        if self._thread.is_alive():
            raise TimeoutError("the emulator did not stop")


async def _received(request: Request) -> HttpRequest:
    body = bytearray()
    async for chunk in request.stream():
        # One byte too many is kept, for the API to refuse; the rest is read and dropped.
        body += chunk[: MAX_BODY_BYTES + 1 - len(body)]
    return HttpRequest(
        method=request.method,
        path=request.url.path,
        query=request.url.query,
        headers=dict(request.headers),
        body=bytes(body),
    )


def _response(reply: Reply) -> Response:
    # Set as a raw header: Starlette would add a charset to a text type on its own.
    return Response(reply.body, status_code=reply.status, headers={"content-type": reply.content_type})
