"""Connections that broke without a word: none is asked twice, none is left open, and none is another call's trouble."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from kubernetes.client import Configuration

from shifter.adapters.kube.client import Bounds, KubeClient
from shifter.adapters.kube.kinds import SHIFTS
from shifter.ports.kube import Failing, KubeError
from tests.adapters.apiserver import FakeApiServer, running
from tests.cluster.wire import Wire
from tests.http import send

BOUNDS = Bounds(connect_seconds=0.5, answer_seconds=0.5, grace_seconds=0.2)
MANY = 4
DEADLINE_SECONDS = 20.0
SHIFT = {"apiVersion": "shifter.io/v1alpha1", "kind": "Shift", "metadata": {"name": "a", "resourceVersion": "7"}}
CHANGE = json.dumps({"type": "ADDED", "object": SHIFT}).encode() + b"\n"


@dataclass
class Way:
    """A client whose every connection to the server goes through a wire that can be cut."""

    server: FakeApiServer
    wire: Wire
    api: KubeClient
    together: threading.Barrier

    def fill_the_pool(self) -> None:
        """Leave as many idle connections behind as calls were under way at once."""
        self.server.reply = self._wait_for_each_other
        with ThreadPoolExecutor(MANY) as pool:
            list(pool.map(lambda _: self.get(), range(MANY)))
        assert self.wire.taken == MANY
        self.server.answer(200, SHIFT)

    def get(self) -> Failing | None:
        """Ask for an object, and return how that failed."""
        try:
            self.api.get(SHIFTS, "ns", "a")
        except KubeError as error:
            return error.failing
        return None

    def watch(self, seconds: float = 0.3) -> Failing | None:
        """Watch to the end, and return how that failed."""
        try:
            list(self.api.watch(SHIFTS, "ns", "7", seconds=seconds))
        except KubeError as error:
            return error.failing
        return None

    def _wait_for_each_other(self, handler: BaseHTTPRequestHandler) -> None:
        self.together.wait(DEADLINE_SECONDS)
        send(handler, 200, json.dumps(SHIFT).encode())


@pytest.fixture
def way() -> Iterator[Way]:
    with running() as server, Wire(int(server.url.rpartition(":")[2])) as wire:
        configuration = Configuration(host=f"http://127.0.0.1:{wire.port}")
        configuration.proxy = None
        api = KubeClient(configuration, bounds=BOUNDS)
        yield Way(server, wire, api, threading.Barrier(MANY))
        api.close()


def test_of_many_connections_that_were_forgotten_while_idle_one_call_fails(way: Way) -> None:
    way.fill_the_pool()
    way.wire.forget()

    assert [way.get() for _ in range(MANY)] == [Failing.UNAVAILABLE, None, None, None]


def test_of_many_connections_that_were_reset_while_idle_one_call_fails_at_most(way: Way) -> None:
    way.fill_the_pool()
    way.wire.cut()
    way.get()  # who is told of the reset only while it asks

    assert [way.get() for _ in range(MANY)] == [None] * MANY


def silent_after_the_first_change(way: Way) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        if "watch" not in handler.path:
            send(handler, 200, json.dumps(SHIFT).encode())
            return
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(f"{len(CHANGE):x}\r\n".encode() + CHANGE + b"\r\n")
        handler.wfile.flush()
        way.server.hang()

    return reply


def test_after_a_watch_that_went_silent_no_call_fails(way: Way) -> None:
    way.fill_the_pool()
    way.server.reply = silent_after_the_first_change(way)
    changes = way.api.watch(SHIFTS, "ns", "7", seconds=0.3)
    first = next(changes)
    way.wire.forget()
    with pytest.raises(KubeError) as caught:
        list(changes)

    assert (first.type, caught.value.failing) == ("ADDED", Failing.UNAVAILABLE)
    assert [way.get() for _ in range(MANY)] == [None] * MANY


def test_after_a_call_that_went_silent_no_watch_fails(way: Way) -> None:
    way.server.answer(404, {"kind": "Status", "code": 404})
    before = way.watch()
    way.get()
    way.wire.forget()
    way.get()
    way.server.reply = lambda handler: send(handler, 200, CHANGE)

    assert (before, way.watch()) == (Failing.MISSING, None)


def test_a_call_that_is_under_way_does_not_suffer_from_one_that_breaks(way: Way) -> None:
    arrived, broken = threading.Event(), threading.Event()

    def reply(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "GET":
            arrived.set()
            broken.wait(DEADLINE_SECONDS)
            send(handler, 200, json.dumps(SHIFT).encode())
        else:
            handler.connection.shutdown(socket.SHUT_RDWR)

    way.server.reply = reply
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(way.get)
        assert arrived.wait(DEADLINE_SECONDS)
        with pytest.raises(KubeError):
            way.api.delete(SHIFTS, "ns", "a")
        broken.set()

        assert under_way.result(DEADLINE_SECONDS) is None


def test_no_connection_is_left_open_by_calls_that_failed(way: Way) -> None:
    way.fill_the_pool()
    for _ in range(MANY):
        way.wire.forget()
        way.get()
    way.server.reply = silent_after_the_first_change(way)
    for _ in range(MANY):
        way.watch()
    way.api.close()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while open_to(way.wire.port):
        assert time.monotonic() < deadline, open_to(way.wire.port)
        time.sleep(0.01)


def open_to(port: int) -> list[str]:
    """This machine's connections whose far end is a port, and that this end has not closed."""
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text("ascii").splitlines()[1:]]
    return [row[1] for row in rows if int(row[2].rpartition(":")[2], 16) == port and row[3] in {"01", "08"}]
