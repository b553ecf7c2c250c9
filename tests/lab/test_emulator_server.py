"""The emulator's own start and stop, and the settings with which it does not start at all."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shifter.lab.emulator import Emulator
from shifter.lab.emulator.server import LoopbackServer


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"region": "ap-nowhere"}, "no such region: ap-nowhere"),
        ({"task_delay_seconds": (0.2, 0.1)}, r"task_delay_seconds must be shortest and longest, not \(0\.2, 0\.1\)"),
        ({"task_delay_seconds": (-1.0, 0.1)}, r"task_delay_seconds must be shortest and longest, not \(-1\.0, 0\.1\)"),
    ],
)
def test_an_emulator_of_nothing_that_exists_is_refused(settings: dict[str, Any], said: str) -> None:
    wanted: dict[str, Any] = {"region": "ap-guangzhou", "secret_id": "id", "secret_key": "key"} | settings

    with pytest.raises(ValueError, match=said):
        Emulator(balancers=[], clock=time.time, rng=random.Random(1), **wanted)  # noqa: S311 - seeded


class Stuck:
    """An application whose handler holds up its whole server until it is let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()
        self.app = Starlette(routes=[Route("/", self._answer)])

    async def _answer(self, _: Request) -> Response:
        self.asked.set()
        self.let_go.wait(10)
        return Response()


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    stuck = Stuck()
    before = set(threading.enumerate())
    yield stuck
    stuck.let_go.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)


def test_a_server_that_does_not_end_is_told_in_time(stuck: Stuck) -> None:
    server = LoopbackServer(stuck.app, stop_seconds=0.05)
    with socket.create_connection(("127.0.0.1", server.start(0)), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
        assert stuck.asked.wait(5)

        with pytest.raises(TimeoutError, match="the emulator did not stop"):
            server.stop()


@pytest.mark.filterwarnings("ignore:Exception in thread tencent-emulator-http")  # its end is what is wanted here
def test_a_server_that_cannot_come_up_is_told_at_once_and_frees_its_port() -> None:
    server = LoopbackServer("nowhere:app")  # type: ignore[arg-type] # so that the server's thread ends at once
    began = time.monotonic()

    with pytest.raises(TimeoutError, match=r"the emulator did not come up on 127\.0\.0\.1:\d+") as caught:
        server.start(0)
    port = int(str(caught.value).rpartition(":")[2])
    assert time.monotonic() - began < 5
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
