"""The API server over HTTP, by the official client's lowest layer: its sockets, TLS and log-in, none of its models.

The client alone is not safe here. It has no timeouts, its urllib3 repeats GET, PUT and DELETE three times by itself (so
that a write that timed out is sent again), its generated methods read answers of any size, and errors arrive as
ApiException, as bare urllib3 exceptions and as pydantic's. So a request is serialized and sent by `ApiClient`, and
read, bounded and judged here. What an answer means is in `answers`.

A watch has connections of its own, so that a hundred of them never stand between a lease and its renewal. Silence is no
proof that one is cut: a server sends a bookmark every minute, but none while its cache of that kind is where the watch
began, as may be for ever with a kind that nobody writes (seen with kube-apiserver 1.34). So a watch lasts as long as it
was asked for and a little more, and the kernel probes a peer that is silent.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import OpenApiException
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from shifter import __version__
from shifter.adapters.kube.answers import decoded, from_status, refusal, silence, undecodable
from shifter.adapters.kube.kinds import SHIFTS
from shifter.adapters.kube.requests import Request, collection, path_of, selecting
from shifter.adapters.outside import BoundedCalls, CrowdedError, OverdueError
from shifter.errors import ConfigError
from shifter.ports.kube import ACCESS_REVIEWS, SELF_REVIEWS, Body, Change, Failing, Kind, KubeError, Listing

PAGE: Final = 500
"""How many objects are asked for at a time: records have a few kB each."""

SHIFTS_PAGE: Final = 50
"""How many Shifts are asked for at a time: tens of kB each, and a page is held as bytes, text and values at once."""

_LIST_FACTOR: Final = 4.0
_CHUNK_BYTES: Final = 65536
# A dead peer is noticed by the kernel within 25 s.
_KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
_CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
# Creating one of these asks a question and keeps nothing.
_QUESTIONS: Final = (SELF_REVIEWS, ACCESS_REVIEWS)
# ValueError: bytes that are no HTTP, or a header that cannot be sent.
_BROKEN: Final = (OSError, HTTPError, OpenApiException, EOFError, ValueError, CrowdedError, OverdueError)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a call may take; all above 0.

    To connect and to wait for an answer: a call takes no longer than both together, so that a lease can be renewed
    twice before it runs out. A page of a list may take four times as long to arrive, but a server that is silent for
    `answer_seconds` meanwhile is given up: a rollback may be waiting behind it. A watch that has not ended
    `grace_seconds` after it should have is cut. Longer answers, and longer changes of a watch, are not read: etcd keeps
    no object above 1.5 MiB by default.
    """

    connect_seconds: float = 2.0
    answer_seconds: float = 3.0
    grace_seconds: float = 5.0
    pages: int = 200
    body_bytes: int = 64 * 1024**2
    change_bytes: int = 8 * 1024**2


BOUNDS: Final = Bounds()
"""Those that hold if no others are given."""


class KubeClient:
    """The API server that a configuration leads to; see `KubeApi`. Safe to use from several threads.

    `server` is its address, for people.

    Args:
        configuration: where it is. Belongs to the client from now on, which turns its retries off.
        authorization: what to send in the header of that name, asked for every request; empty for nothing. None: what
            the configuration holds.
        refused: told what was sent in that header when the server did not know whose it is.
        impersonate: on whose behalf each request is made, as a user name; empty for nobody's.
        bounds: what a call may take.
        clock: monotonic, in seconds.
        at_close: done once, by the first `close`.
    """

    def __init__(  # noqa: PLR0913 - who asks, for whom, and what it must not take from its surroundings
        self,
        configuration: Configuration,
        *,
        authorization: Callable[[], str] | None = None,
        refused: Callable[[str], None] = lambda _: None,
        impersonate: str = "",
        bounds: Bounds = BOUNDS,
        clock: Callable[[], float] = time.monotonic,
        at_close: Callable[[], None] = lambda: None,
    ) -> None:
        configuration.retries = False  # urllib3's word for none; redirects are not followed then, either
        configuration.client_go_retries = False
        configuration.socket_options = _socket_options()
        self.server = str(configuration.host)
        self._authorization = authorization
        self._refused = refused
        self._bounds = bounds
        self._clock = clock
        self._at_close = at_close
        self._asking, self._watching = ApiClient(configuration), ApiClient(configuration)
        for each in (self._asking, self._watching):
            each.user_agent = f"shifter/{__version__}"
            if impersonate:
                each.set_default_header("Impersonate-User", impersonate)
        self._bounded = BoundedCalls()
        self._open: set[BaseHTTPResponse] = set()
        self._lock = threading.Lock()
        self._closed = False

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        """Return one object as it is now."""
        return self._object(kind, Request("GET", path_of(kind, namespace, name)))

    def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Listing:
        """Return all objects as they are now, page by page; see `KubeApi.list`."""
        items: list[Body] = []
        size = SHIFTS_PAGE if kind == SHIFTS else PAGE
        query = (*selecting(labels), ("limit", str(size)))
        resource_version, more = "", ""
        for _ in range(self._bounds.pages):
            rest = (("continue", more),) if more else ()
            found, metadata = self._page(kind, namespace, query + rest)
            items.extend(found)
            # Pages are of one instant; were they not, a watch from the first one's on would miss nothing.
            resource_version = resource_version or str(metadata.get("resourceVersion") or "")
            more = str(metadata.get("continue") or "")
            if not more:
                return Listing(items, resource_version)
        raise KubeError(Failing.UNDECODABLE, f"there are more than {size * self._bounds.pages} {kind.plural}")

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        """Create an object and return it as the server keeps it."""
        request = Request("POST", collection(kind, namespace, whole=True), (), body, kind not in _QUESTIONS)
        return self._object(kind, request)

    def replace(self, kind: Kind, namespace: str, body: Body, *, status: bool = False) -> Body:
        """Write an object by its name and return it as kept; see `KubeApi.replace`."""
        path = path_of(kind, namespace, str(body["metadata"].get("name") or ""))
        return self._object(kind, Request("PUT", f"{path}/status" if status else path, (), body, writes=True))

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete an object; one by that name with another uid is left alone."""
        body: Body = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        self._ask(Request("DELETE", path_of(kind, namespace, name), (), body, writes=True))

    def watch(
        self,
        kind: Kind,
        namespace: str,
        resource_version: str,
        *,
        seconds: float,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[Change]:
        """Yield changes after `resource_version`; asked for with the first one. See `KubeApi.watch`."""
        query = (
            *selecting(labels),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(max(1, math.ceil(seconds)))),
        )
        patience_seconds = seconds + self._bounds.grace_seconds
        ends = self._clock() + patience_seconds
        try:
            response = self._opened(Request("GET", collection(kind, namespace), query), patience_seconds)
            try:
                for line in self._lines(response, ends):
                    yield _change(kind, line)
            finally:
                with self._lock:
                    self._open.discard(response)
                response.close()
        except _BROKEN as error:
            self._let_go()
            raise silence(error, self.server, patience_seconds, writes=False) from _quotable(error)

    def document(self, path: str) -> Body:
        """Return what the server says of itself under a path that is no object's; see `Documents`."""
        return self._ask(Request("GET", path))

    def close(self) -> None:
        """Let go of connections and end the watches. Calling twice is harmless."""
        with self._lock:
            first, self._closed = not self._closed, True
            watches = tuple(self._open)
        for response in watches:
            _hang_up(response)
        self._asking.close()
        self._watching.close()
        if first:
            self._at_close()

    def _page(self, kind: Kind, namespace: str, query: tuple[tuple[str, str], ...]) -> tuple[Sequence[Body], Body]:
        page = self._ask(Request("GET", collection(kind, namespace), query), _LIST_FACTOR)
        found, metadata = page.get("items") or [], page.get("metadata")
        if not isinstance(metadata, dict) or not _are_objects(found):
            raise undecodable(f"list of {kind.plural}", writes=False)
        return [_as(kind, each) for each in found], metadata

    def _object(self, kind: Kind, request: Request) -> Body:
        found = self._ask(request)
        if found.get("kind") != kind.name or not isinstance(found.get("metadata"), dict):
            raise undecodable(kind.name, writes=request.writes)
        return found

    def _ask(self, request: Request, factor: float = 1.0) -> Body:
        connect_seconds, read_seconds = self._bounds.connect_seconds, self._bounds.answer_seconds
        whole_seconds = connect_seconds + read_seconds * factor
        ends = self._clock() + whole_seconds

        def exchange() -> tuple[int, bytes]:
            response = self._sent(self._asking, request, (connect_seconds, read_seconds), ends)
            return int(response.status), self._whole(response, ends)

        try:
            status, body = self._bounded.run(exchange, whole_seconds)
        except _BROKEN as error:
            self._let_go()
            raise silence(error, self.server, read_seconds, writes=request.writes) from _quotable(error)
        if not _is_success(status):
            raise refusal(status, body, writes=request.writes)
        found = decoded(body)
        if found is None:
            raise undecodable("JSON object", writes=request.writes)
        return found

    def _sent(
        self, api: ApiClient, request: Request, timeouts_seconds: tuple[float, float], ends: float
    ) -> BaseHTTPResponse:
        """Send a request and return the answer's head; its body is still to be read."""
        headers = {"Accept": "application/json"}
        if request.body is not None:
            headers["Content-Type"] = request.content
        if self._authorization is not None and (shown := self._shown(self._authorization)):
            headers["Authorization"] = shown
        method, url, headers, body, _ = api.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query),
            header_params=headers,
            body=request.sent,
            auth_settings=["BearerToken"] if self._authorization is None else [],
        )
        if self._closed or self._clock() >= ends:
            raise KubeError(Failing.UNAVAILABLE, f"the API server {self.server} was not asked: it is too late")
        answer = api.rest_client.request(method, url, headers=headers, body=body, _request_timeout=timeouts_seconds)
        response: BaseHTTPResponse = answer.response
        if response.status == HTTPStatus.UNAUTHORIZED:
            self._refused(headers.get("Authorization", ""))
            self._let_go()  # a newer certificate is shown on a new connection only
        return response

    def _let_go(self) -> None:
        """Close what is idle: what broke one connection has probably broken the others, and the next call needs one.

        Those that are in use are closed when they come back.
        """
        for each in (self._asking, self._watching):
            each.rest_client.close()

    def _shown(self, authorization: Callable[[], str]) -> str:
        try:
            return authorization()
        except ConfigError as error:
            raise KubeError(Failing.UNAVAILABLE, f"the API server {self.server} was not asked: {error}") from error

    def _whole(self, response: BaseHTTPResponse, ends: float) -> bytes:
        body = bytearray()
        while piece := response.read1(_CHUNK_BYTES, decode_content=True):
            body += piece
            if len(body) > self._bounds.body_bytes:
                response.close()
                raise OverdueError(f"it answers more than {self._bounds.body_bytes} bytes")
            if self._clock() >= ends:
                response.close()
                raise OverdueError("no whole answer in time")
        return bytes(body)

    def _opened(self, request: Request, patience_seconds: float) -> BaseHTTPResponse:
        """Return a watch whose head has come; its body ends or fails after `patience_seconds` of silence."""
        connect_seconds = self._bounds.connect_seconds
        whole_seconds = connect_seconds + self._bounds.answer_seconds
        ends = self._clock() + whole_seconds
        come: list[BaseHTTPResponse] = []

        def exchange() -> tuple[BaseHTTPResponse, bytes]:
            response = self._sent(self._watching, request, (connect_seconds, patience_seconds), ends)
            come.append(response)
            if self._clock() >= ends:  # nobody waits for it any more
                response.close()
            return response, b"" if _is_success(response.status) else self._whole(response, ends)

        try:
            response, body = self._bounded.run(exchange, whole_seconds)
        except OverdueError:
            # One that came in the last moment, and that nobody would ever close.
            for response in come:
                response.close()
            raise
        if not _is_success(response.status):
            raise refusal(response.status, body, writes=False)
        with self._lock:
            self._open.add(response)
            closed = self._closed
        if closed:
            _hang_up(response)
        return response

    def _lines(self, response: BaseHTTPResponse, ends: float) -> Iterator[bytes]:
        """Yield the lines of a body as they come, until it ends or its time is over."""
        rest = b""
        while piece := response.read1(_CHUNK_BYTES, decode_content=True):
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line for line in lines if line.strip())
            if len(rest) > self._bounds.change_bytes:
                raise undecodable(f"change of at most {self._bounds.change_bytes} bytes", writes=False)
            if self._clock() >= ends:
                return
        if rest.strip():
            raise EOFError


def _socket_options() -> Sequence[tuple[int, int, int]]:
    """Return urllib3's own options (it replaces them by ours), and probing of a peer that is silent."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    known = ((getattr(socket, name, None), value) for name, value in _KEEP_ALIVE)
    return options + [(socket.IPPROTO_TCP, option, value) for option, value in known if option is not None]


def _are_objects(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(each, dict) for each in found)


def _as(kind: Kind, body: Body) -> Body:
    """Return an item of a list as it is alone: lists of the server's own kinds leave these two out."""
    return {"apiVersion": kind.api_version, "kind": kind.name} | body


def _change(kind: Kind, line: bytes) -> Change:
    match decoded(line):
        case {"type": "ERROR", "object": dict(status)}:
            raise from_status(status, writes=False)
        case {"type": str(what), "object": dict(body)} if what in _CHANGES:
            return Change(what, _as(kind, body))
        case _:
            raise undecodable("change", writes=False)


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _quotable(error: Exception) -> Exception | None:
    """Return an error unless its text may quote a header, and with it the token."""
    return None if isinstance(error, ValueError) and not isinstance(error, HTTPError) else error


def _hang_up(response: BaseHTTPResponse) -> None:
    """End a watch that another thread is reading: closing its socket would not wake that one, shutting it down does."""
    connected = getattr(response.connection, "sock", None)
    if connected is not None:
        try:
            connected.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended by itself
            return
