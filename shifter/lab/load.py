"""The bounded load generator: real HTTP requests through the front, counted as users see them.

`python -m shifter.lab.load --spec FILE` runs it as a process of its own. Open loop: requests are due at a fixed rate
whether or not earlier ones were answered, because users do not wait for each other; a slow mesh must not look like a
quiet one. Bounded in time, in number, and in requests under way; what is due beyond that is counted, not queued.
It sends to 127.0.0.1 only.

Users of gRPC send what a gRPC client sends, but over HTTP/1.1: the client library has no HTTP/2. Envoy tells gRPC by
the content type alone, routes, counts and fails it as such, and answers with HTTP 200 and a `grpc-status`; the lab's
applications put it into the headers, which a gRPC client takes as well (a "trailers-only" answer). To such a user
everything but `grpc-status: 0` is a failure, whatever the HTTP status says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import aiohttp

from shifter.lab.envoy import GRPC_CONTENT_TYPE, GRPC_OK, GRPC_STATUS_HEADER, MESH_HEADER
from shifter.lab.free_ports import LOOPBACK
from shifter.lab.json_files import write_json
from shifter.lab.load_report import NO_MESH, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    _Asking = AbstractAsyncContextManager[aiohttp.ClientResponse]

SNAPSHOT_EVERY_SECONDS = 0.5
CATCH_UP_SECONDS = 1.0
FIRST_FAILING_STATUS = 400
GRPC_METHOD = "/lab.Application/Answer"
EMPTY_MESSAGE = bytes(5)  # not compressed, no bytes long


@dataclass(frozen=True, slots=True)
class HostLoad:
    """Requests for one host.

    Args:
        namespace: under which they are counted.
        host: the Host header.
        requests_per_second: above 0.
        grpc: whether these users speak gRPC.
    """

    namespace: str
    host: str
    requests_per_second: float
    grpc: bool = False


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """What to send, and the bounds. It ends at the first bound it meets.

    Args:
        port: of the front, on 127.0.0.1.
        hosts: at least one.
        report_path: where the snapshot goes.
        seconds_max: how long to send.
        requests_max: how many to send, over all hosts.
        in_flight_max: how many may be under way, over all hosts.
        timeout_seconds: when a user gives up.
        timeline_seconds_max: how much history the snapshot has.
    """

    port: int
    hosts: tuple[HostLoad, ...]
    report_path: str
    seconds_max: float = 3_600.0
    requests_max: int = 1_000_000
    in_flight_max: int = 512
    timeout_seconds: float = 5.0
    timeline_seconds_max: int = 900

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("no host to send requests to")
        for host in self.hosts:
            if host.requests_per_second <= 0:
                raise ValueError(f"{host.host}: {host.requests_per_second} requests/s is not a rate")
        bounds = (
            self.seconds_max,
            self.requests_max,
            self.in_flight_max,
            self.timeout_seconds,
            self.timeline_seconds_max,
        )
        if min(bounds) <= 0:
            raise ValueError("every bound must be above 0")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        hosts = tuple(HostLoad(**host) for host in content.pop("hosts"))
        return cls(hosts=hosts, **content)

    def write(self, path: Path) -> None:
        """Write the file for `--spec`."""
        write_json(path, asdict(self))


class LoadGenerator:
    """Sends what a `LoadSpec` says.

    Args:
        spec: what to send.
        clock: Unix time in seconds.
    """

    def __init__(self, spec: LoadSpec, clock: Callable[[], float] = time.time) -> None:
        self._spec = spec
        self._clock = clock
        self._tallies = {host.namespace: Tally(spec.timeline_seconds_max) for host in spec.hosts}
        self._under_way: set[asyncio.Task[None]] = set()
        self._sent = 0
        self._stopping = asyncio.Event()
        self._started_at = clock()

    def stop(self) -> None:
        """Send no more; `run` returns once the requests under way have ended."""
        self._stopping.set()

    async def run(self) -> None:
        """Send until a bound or `stop`, then wait for what is under way and write the last snapshot."""
        self._write(finished=False)
        # Answers come at once or not at all; a pool as large as the bound never makes a user wait for a connection.
        connector = aiohttp.TCPConnector(limit=self._spec.in_flight_max)
        patience_seconds = self._spec.timeout_seconds
        # aiohttp rounds long timeouts up to a whole second of its clock unless the threshold is above them.
        timeout = aiohttp.ClientTimeout(total=patience_seconds, ceil_threshold=patience_seconds + 1)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            snapshots = asyncio.create_task(self._keep_writing())
            end = asyncio.get_running_loop().call_later(self._spec.seconds_max, self.stop)
            try:
                await asyncio.gather(*(self._pace(session, host) for host in self._spec.hosts))
                await asyncio.gather(*self._under_way)  # each ends within timeout_seconds
            finally:
                end.cancel()
                snapshots.cancel()
        self._write(finished=True)

    async def _pace(self, session: aiohttp.ClientSession, host: HostLoad) -> None:
        loop = asyncio.get_running_loop()
        every_seconds = 1 / host.requests_per_second
        due = loop.time()
        while not self._stopping.is_set():
            behind = loop.time() - due
            if behind < 0:
                await self._pause(-behind)
                continue
            if behind > CATCH_UP_SECONDS:  # the machine slept; a burst would be no user's behaviour
                due = loop.time()
            due += every_seconds
            self._send(session, host)

    def _send(self, session: aiohttp.ClientSession, host: HostLoad) -> None:
        if self._sent >= self._spec.requests_max:
            self.stop()
            return
        if len(self._under_way) >= self._spec.in_flight_max:
            self._tallies[host.namespace].not_sent()
            return
        self._sent += 1
        task = asyncio.create_task(self._request(session, host))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _request(self, session: aiohttp.ClientSession, host: HostLoad) -> None:
        started = time.perf_counter()
        mesh, cause = NO_MESH, ""
        try:
            async with self._ask(session, host) as response:
                await response.read()
                mesh = response.headers.get(MESH_HEADER, NO_MESH)
                cause = _cause(response, grpc=host.grpc)
        except TimeoutError:
            mesh, cause = NO_MESH, "timeout"
        except aiohttp.ClientError:
            mesh, cause = NO_MESH, "connection"
        latency_seconds = time.perf_counter() - started
        self._tallies[host.namespace].answered(self._clock(), latency_seconds, mesh, cause)

    def _ask(self, session: aiohttp.ClientSession, host: HostLoad) -> _Asking:
        url = f"http://{LOOPBACK}:{self._spec.port}"
        if not host.grpc:
            return session.get(f"{url}/", headers={"Host": host.host}, allow_redirects=False)
        headers = {"Host": host.host, "Content-Type": GRPC_CONTENT_TYPE, "TE": "trailers"}
        return session.post(f"{url}{GRPC_METHOD}", data=EMPTY_MESSAGE, headers=headers, allow_redirects=False)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_EVERY_SECONDS)
            self._write(finished=False)

    def _write(self, *, finished: bool) -> None:
        content = {
            "started_at": self._started_at,
            "written_at": self._clock(),
            "finished": finished,
            "namespaces": {name: tally.snapshot() for name, tally in self._tallies.items()},
        }
        write_json(Path(self._spec.report_path), content)


def _cause(response: aiohttp.ClientResponse, *, grpc: bool) -> str:
    """Why a user calls this answer a failure; empty if they do not."""
    if response.status >= FIRST_FAILING_STATUS:
        return str(response.status)
    if not grpc:
        return ""
    status = response.headers.get(GRPC_STATUS_HEADER, "none")
    return "" if status == GRPC_OK else f"grpc {status}"


async def _run_until_told(spec: LoadSpec) -> None:
    generator = LoadGenerator(spec)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, generator.stop)
    await generator.run()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the load of `--spec FILE` until it is done or told to stop (SIGTERM); exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m shifter.lab.load", description="Send bounded load.")
    parser.add_argument("--spec", type=Path, required=True, help="a JSON file, see LoadSpec")
    asyncio.run(_run_until_told(LoadSpec.read(parser.parse_args(argv).spec)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
