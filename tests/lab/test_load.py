"""The load generator: bounded, open loop, and it counts what users saw."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from aiohttp import web

from shifter.lab.free_ports import NoFreePortError, reserve_ports
from shifter.lab.load import HostLoad, LoadGenerator, LoadSpec
from shifter.lab.load_report import LoadReport, NamespaceLoad, Tally

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def spec(port: int, report: Path, rate: float = 200, **bounds: float) -> LoadSpec:
    return spec_of(HostLoad("shop", "shop.example.com", rate), port, report, **bounds)


def spec_of(host: HostLoad, port: int, report: Path, **bounds: float) -> LoadSpec:
    return LoadSpec(port=port, hosts=(host,), report_path=str(report), **bounds)  # type: ignore[arg-type]


def random_with(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - where to look for a port is no secret


def answering(status: int, mesh: str, delay_seconds: float = 0) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(delay_seconds)
        return web.Response(status=status, headers={"x-mesh": mesh})

    return answer


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def run(handler: Handler, report: Path, rate: float = 200, **bounds: float) -> NamespaceLoad:
    return run_for(HostLoad("shop", "shop.example.com", rate), handler, report, **bounds)


def run_for(host: HostLoad, handler: Handler, report: Path, **bounds: float) -> NamespaceLoad:
    """Run the generator against a server until a bound ends it."""

    async def session() -> None:
        application = web.Application()
        application.router.add_get("/", handler)
        application.router.add_post("/lab.Application/Answer", handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await LoadGenerator(spec_of(host, runner.addresses[0][1], report, **bounds)).run()
        await runner.cleanup()

    asyncio.run(session())
    finished = LoadReport.read(report)
    assert finished.finished
    return finished.namespaces["shop"]


def test_answers_are_counted_by_mesh(tmp_path: Path) -> None:
    seen = run(answering(200, "istio"), tmp_path / "report.json", requests_max=30)

    assert (seen.total, seen.ok, seen.failed) == (30, 30, 0)
    assert seen.by_mesh == {"istio": 30}
    assert (seen.share("istio"), seen.share("tcm")) == (100, 0)
    assert seen.first_failed_at is None


def test_bad_statuses_are_failures_of_the_mesh_that_sent_them(tmp_path: Path) -> None:
    before = time.time()
    seen = run(answering(503, "istio"), tmp_path / "report.json", requests_max=10)

    assert seen.failed_by_cause == {"503": 10}
    assert seen.by_mesh == {"istio": 10}
    assert seen.first_failed_at is not None
    assert seen.last_failed_at is not None
    assert before <= seen.first_failed_at <= seen.last_failed_at <= time.time()


@pytest.mark.parametrize(
    ("status", "headers", "cause"),
    [
        (200, {"grpc-status": "0"}, None),
        (200, {"grpc-status": "5"}, "grpc 5"),
        (200, {}, "grpc none"),
        (503, {"grpc-status": "0"}, "503"),
    ],
)
def test_users_of_grpc_go_by_its_status(
    tmp_path: Path, status: int, headers: Mapping[str, str], cause: str | None
) -> None:
    asked: set[tuple[str | None, bytes]] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.add((request.headers.get("content-type"), await request.read()))
        return web.Response(status=status, headers={"x-mesh": "istio", **headers})

    host = HostLoad("shop", "shop.example.com", 200, grpc=True)
    seen = run_for(host, answer, tmp_path / "report.json", requests_max=5)

    assert asked == {("application/grpc", bytes(5))}
    assert seen.failed_by_cause == ({cause: 5} if cause else {})
    assert seen.by_mesh == {"istio": 5}


def test_impatient_users_are_timeouts(tmp_path: Path) -> None:
    seen = run(answering(200, "tcm", delay_seconds=5), tmp_path / "report.json", requests_max=5, timeout_seconds=0.1)

    assert seen.failed_by_cause == {"timeout": 5}
    assert seen.by_mesh == {"none": 5}
    assert seen.latency.max_seconds == pytest.approx(0.1, abs=0.09)


def test_dropped_connections_are_connection_failures(tmp_path: Path) -> None:
    seen = run(hang_up, tmp_path / "report.json", requests_max=5)

    assert seen.failed_by_cause == {"connection": 5}


def test_a_slow_server_does_not_slow_the_users_down(tmp_path: Path) -> None:
    started = time.monotonic()
    seen = run(answering(200, "tcm", delay_seconds=0.5), tmp_path / "report.json", requests_max=100)
    took_seconds = time.monotonic() - started

    assert seen.total == 100
    assert took_seconds < 2  # one after the other would be 50 s


def test_requests_beyond_the_cap_are_counted_and_not_queued(tmp_path: Path) -> None:
    bounds = {"in_flight_max": 4, "seconds_max": 0.5, "timeout_seconds": 2.0}
    seen = run(answering(200, "tcm", delay_seconds=1), tmp_path / "report.json", **bounds)

    assert seen.total == 4
    assert seen.not_sent > 50


def test_time_ends_the_load(tmp_path: Path) -> None:
    seen = run(answering(200, "tcm"), tmp_path / "report.json", seconds_max=0.5, rate=100)

    assert seen.total == pytest.approx(50, abs=15)


def test_sigterm_leaves_a_finished_report(tmp_path: Path) -> None:
    report, path = tmp_path / "report.json", tmp_path / "spec.json"
    with reserve_ports(1, random_with(seed=os.getpid())) as nobody_listens:
        spec(nobody_listens.ports[0], report, rate=50).write(path)
        argv = [sys.executable, "-m", "shifter.lab.load", "--spec", str(path)]
        with subprocess.Popen(argv) as process:
            deadline = time.monotonic() + 10
            while not report.exists() or not LoadReport.read(report).namespaces["shop"].total:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)

    last = LoadReport.read(report)
    assert process.returncode == 0
    assert last.finished
    assert set(last.namespaces["shop"].failed_by_cause) == {"connection"}


@pytest.mark.parametrize("bound", ["seconds_max", "requests_max", "in_flight_max", "timeout_seconds"])
def test_a_load_without_bounds_is_refused(tmp_path: Path, bound: str) -> None:
    with pytest.raises(ValueError, match="every bound must be above 0"):
        spec(1, tmp_path / "report.json", **{bound: 0})


@pytest.mark.parametrize("rate", [0, -1])
def test_a_load_without_a_rate_is_refused(tmp_path: Path, rate: float) -> None:
    with pytest.raises(ValueError, match=rf"shop\.example\.com: {rate} requests/s is not a rate"):
        spec(1, tmp_path / "report.json", rate)


def test_a_load_without_hosts_is_refused() -> None:
    with pytest.raises(ValueError, match="no host to send requests to"):
        LoadSpec(port=1, hosts=(), report_path="report.json")


def namespace_load(tally: Tally, path: Path) -> NamespaceLoad:
    """What a reader of the snapshot gets."""
    content = {"started_at": 0.0, "written_at": 0.0, "finished": False, "namespaces": {"shop": tally.snapshot()}}
    path.write_text(json.dumps(content))
    return LoadReport.read(path).namespaces["shop"]


def test_between_adds_up_whole_seconds_only(tmp_path: Path) -> None:
    tally = Tally(timeline_seconds_max=60)
    for at, mesh, cause in [(10.9, "tcm", ""), (11.0, "tcm", ""), (12.5, "istio", "503"), (13.0, "istio", "")]:
        tally.answered(at, 0.001, mesh, cause)

    window = namespace_load(tally, tmp_path / "report.json").between(10.5, 13.5)

    assert (window.at, window.requests, window.failed) == (11, 2, 1)
    assert window.by_mesh == {"tcm": 1, "istio": 1}


def test_the_timeline_forgets_its_oldest_seconds_and_the_totals_do_not(tmp_path: Path) -> None:
    tally = Tally(timeline_seconds_max=3)
    for second in range(10):
        tally.answered(float(second), 0.001, "tcm", "")

    seen = namespace_load(tally, tmp_path / "report.json")

    assert [second.at for second in seen.timeline] == [7, 8, 9]
    assert seen.total == 10


def test_percentiles_are_at_most_a_fifth_too_high(tmp_path: Path) -> None:
    tally = Tally(timeline_seconds_max=1)
    for milliseconds in range(1, 1001):
        tally.answered(0.0, milliseconds / 1000, "tcm", "")

    latency = namespace_load(tally, tmp_path / "report.json").latency

    assert 0.5 <= latency.p50_seconds <= 0.6
    assert 0.95 <= latency.p95_seconds <= 1.0
    assert latency.mean_seconds == pytest.approx(0.5005)
    assert latency.max_seconds == 1.0


def test_reserved_ports_are_not_handed_out_twice() -> None:
    with reserve_ports(20, random_with(seed=7)) as first, reserve_ports(20, random_with(seed=7)) as second:
        ports = {*first.ports, *second.ports}

    assert len(ports) == 40


def test_closed_reservations_can_be_had_again() -> None:
    with reserve_ports(20, random_with(seed=7)) as first:
        pass

    with reserve_ports(20, random_with(seed=7)) as second:
        assert second.ports == first.ports


def test_ports_in_use_are_passed_over() -> None:
    with reserve_ports(1, random_with(seed=8)) as reserved:
        taken = reserved.ports[0]
    with socket.create_server(("127.0.0.1", taken)), reserve_ports(1, random_with(seed=8)) as other:
        assert other.ports != (taken,)


class Stuck(random.Random):
    """Dice that always show the same."""

    def randint(self, a: int, b: int) -> int:
        assert a <= 12_345 <= b
        return 12_345


def test_ports_that_cannot_be_had_are_counted() -> None:
    with pytest.raises(NoFreePortError, match=r"found [01] of 2 free ports in 12000-29999"):
        reserve_ports(2, Stuck())
