"""The running service: its waker, and how it stops. Threads and signals are real, the ports memory."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.core.balancing.splits import Route, RouteView
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.errors import ConfigError, InvariantError, StoreUnavailableError
from shifter.ports import Change, Operation, OperationState, TrafficProvider
from shifter.service import daemon
from shifter.service.daemon import Waker
from shifter.service.lanes import Lanes
from shifter.service.tick import Parts, Ticker
from tests.service.conftest import TICK, World, fleet_with
from tests.service.waiting import DEADLINE_SECONDS, wait_for

Act = Callable[[], object]


# -- the waker -------------------------------------------------------------------------------------------------------


class OddTicker(Ticker):
    """A ticker whose wakes do what a test says; `now`s are what it was woken with."""

    def __init__(self, parts: Parts, act: Act) -> None:
        super().__init__(parts)
        self.act = act
        self.nows: list[datetime] = []

    def wake(self, now: datetime) -> bool:
        self.nows.append(now)
        self.act()
        return True


class Stopwatch:
    """Seconds that pass only if a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Hanging:
    """What does not end before it is let go."""

    def __init__(self) -> None:
        self.began, self.let_go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.began.set()
        assert self.let_go.wait(DEADLINE_SECONDS)


def raising(error: BaseException) -> Act:
    def act() -> None:
        raise error

    return act


def a_waker(world: World, act: Act, stopwatch: Callable[[], float] = time.monotonic) -> tuple[Waker, OddTicker]:
    ticker = OddTicker(world.parts, act)
    return Waker(ticker, world.telemetry, TICK, monotonic=stopwatch), ticker


def wake_for_a_minute(waker: Waker, stopwatch: Stopwatch) -> None:
    for _ in range(6):
        stopwatch.now += TICK.total_seconds()
        waker.wake()


def test_the_waker_hands_over_the_time_in_utc(world: World) -> None:
    waker, ticker = a_waker(world, lambda: None)
    waker.wake()

    assert ticker.nows[0].tzinfo is UTC


def test_a_second_wake_at_the_same_time_returns_at_once(world: World) -> None:
    hanging = Hanging()
    waker, ticker = a_waker(world, hanging)
    first = threading.Thread(target=waker.wake)
    first.start()
    assert hanging.began.wait(DEADLINE_SECONDS)
    waker.wake()
    hanging.let_go.set()
    first.join(DEADLINE_SECONDS)

    assert len(ticker.nows) == 1


def test_the_loop_counts_as_dead_only_after_several_silent_ticks(world: World) -> None:
    waker, _ = a_waker(world, lambda: None)
    fresh = waker.problem()
    waker.last_wake -= waker.stuck_after_seconds + 1

    assert fresh == ""
    assert waker.problem() == f"no tick for {waker.stuck_after_seconds + 1:.0f} s"
    assert waker.stuck_after_seconds == 4 * TICK.total_seconds()


@pytest.mark.fault(
    on="process",
    fault="a bug, MemoryError or SystemExit in a tick",
    does="is told; the next wake comes; /livez is red if it is so in every tick",
    sees="`shift.error` with a traceback; /livez: every tick has failed",
    safe_within="one tick",
)
@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a bug"), MemoryError(), SystemExit(1), KeyboardInterrupt(), RecursionError("too deep")]
)
def test_nothing_that_a_tick_raises_ends_the_waking(world: World, error: BaseException) -> None:
    stopwatch = Stopwatch()
    waker, ticker = a_waker(world, raising(error), stopwatch)
    wake_for_a_minute(waker, stopwatch)
    failing = waker.problem()
    ticker.act = lambda: None
    waker.wake()
    told = world.lines("shift.error")

    assert len(ticker.nows) == 7
    assert [line["error"] for line in told] == [type(error).__name__] * 6
    assert all("exception" in line for line in told)
    assert failing == f"every tick for 60 s has failed: {type(error).__name__}: {error}"
    assert waker.problem() == ""


def test_a_store_that_is_away_is_told_and_no_reason_to_restart_the_process(world: World) -> None:
    stopwatch = Stopwatch()
    waker, ticker = a_waker(world, raising(StoreUnavailableError("disk full")), stopwatch)
    wake_for_a_minute(waker, stopwatch)
    told = world.lines("shift.error")

    assert waker.problem() == ""
    assert (len(ticker.nows), len(told)) == (6, 1)
    assert {(line["error"], "exception" in line) for line in told} == {("StoreUnavailableError", False)}


@pytest.mark.fault(
    on="process",
    fault="a tick never ends",
    does="/livez is red; in the end the process ends with an error, for its supervisor to start it again",
    sees="/livez: no tick for N s; exit 1: a tick has not ended for N s",
    safe_within="4 ticks until red, 40 ticks until the end; at least 10 s and 100 s",
)
def test_a_tick_that_never_ends_is_told_and_in_the_end_ends_the_process(world: World) -> None:
    hanging, stopwatch = Hanging(), Stopwatch()
    waker, _ = a_waker(world, hanging, stopwatch)
    waking = threading.Thread(target=waker.wake)
    waking.start()
    assert hanging.began.wait(DEADLINE_SECONDS)
    stopwatch.now = 4 * TICK.total_seconds() + 1
    red = waker.problem()
    waker.must_not_be_hung()
    stopwatch.now = 40 * TICK.total_seconds() + 1
    with pytest.raises(InvariantError, match="a tick has not ended for 401 s; start shifter again"):
        waker.must_not_be_hung()
    hanging.let_go.set()
    waking.join(DEADLINE_SECONDS)

    assert red == "no tick for 41 s"


def test_a_drained_waker_takes_one_last_look_and_none_after(world: World) -> None:
    waker, ticker = a_waker(world, lambda: None)
    waker.drain()
    waker.wake()

    assert len(ticker.nows) == 1


def test_draining_survives_a_store_that_does_not_answer(world: World) -> None:
    waker, ticker = a_waker(world, raising(StoreUnavailableError("disk full")))
    waker.drain()

    assert len(ticker.nows) == 1


def test_a_draining_ticker_takes_no_order_and_begins_nothing(world: World) -> None:
    world.until_share(5)
    order = world.order(Verb.PROMOTE)
    world.ticker.drain()
    world.step(10)

    assert world.saved.order(order.id).answer is None
    assert world.share() == 5


def test_a_draining_ticker_still_journals_what_came_back(world: World) -> None:
    while world.share() == 0:
        world.step()
    world.ticker.drain()
    world.wake()

    assert world.saved_state().share == 5


# -- the whole -------------------------------------------------------------------------------------------------------


class SlowProvider:
    """A provider whose submits wait to be let go."""

    def __init__(self, inner: TrafficProvider) -> None:
        self._inner = inner
        self.began, self.let_go = threading.Event(), threading.Event()

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        return self._inner.observe(routes)

    def submit(self, changes: Sequence[Change]) -> Operation:
        self.began.set()
        assert self.let_go.wait(DEADLINE_SECONDS)
        return self._inner.submit(changes)

    def check(self, operation: Operation) -> OperationState:
        return self._inner.check(operation)


class NotingLease(MemoryLease):
    """A lease that writes its end into the same list as everything else."""

    def __init__(self, store: MemoryStore, told: list[str]) -> None:
        super().__init__(store)
        self._told = told

    def release(self) -> None:
        self._told.append("lease released")
        super().release()


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Give the handlers back that a run takes over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def running_parts(world: World, provider: TrafficProvider) -> Parts:
    """The world's parts with real lanes, a lease of its own and ticks of a fraction of a second."""
    world.die()
    fleet = fleet_with(tick=timedelta(seconds=0.2))
    lease = NotingLease(world.saved, world.trap.calls)
    return replace(
        world.parts, fleet=fleet, lanes=Lanes(), provider=provider, leadership=lease, stopwatch=time.monotonic
    )


def run_beside(world: World, person: Callable[[], None], parts: Parts) -> None:
    """Run the service in this thread, where signals arrive, and a person in another; end it whatever happens there.

    A service that the person told to stop is not told again: the second time means "do not wait".
    """
    with ThreadPoolExecutor(1) as other:

        def play() -> None:
            try:
                person()
            finally:
                if not world.lines("service.draining"):
                    os.kill(os.getpid(), signal.SIGTERM)

        played = other.submit(play)
        daemon.run(parts, "127.0.0.1", 0)
        played.result(DEADLINE_SECONDS)


def started_port(world: World) -> int:
    wait_for(lambda: bool(world.lines("service.started")), "it did not start")
    port = world.lines("service.started")[0]["port"]
    assert isinstance(port, int)
    return port


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_lets_the_call_under_way_come_back_and_releases_the_lease_last(
    world: World, number: signal.Signals
) -> None:
    world.until_share(25)
    world.order(Verb.ROLLBACK)
    provider = SlowProvider(world.provider)
    parts = running_parts(world, provider)
    seen: list[str] = []

    def person() -> None:
        url = f"http://127.0.0.1:{started_port(world)}/readyz"
        with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as answer:
            seen.append(f"ready {answer.status}")
        assert provider.began.wait(DEADLINE_SECONDS)
        os.kill(os.getpid(), number)
        wait_for(lambda: bool(world.lines("service.draining")), "it does not drain")
        seen.append("released early" if "lease released" in world.trap.calls else "lease still held")
        provider.let_go.set()

    run_beside(world, person, parts)
    saved = world.saved_state()

    assert seen == ["ready 200", "lease still held"]
    assert world.trap.calls[-2:] == ["close", "lease released"]
    assert world.share() == 0
    assert saved.phase is Phase.ROLLING_BACK or saved.share == 0
    assert [bool(world.lines(f"service.{event}")) for event in ("started", "draining", "stopped")] == [True] * 3


@pytest.mark.usefixtures("own_signals")
def test_an_address_that_is_taken_is_an_error_and_holds_no_lease(world: World) -> None:
    parts = running_parts(world, world.provider)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot listen"):
            daemon.run(parts, "127.0.0.1", taken.getsockname()[1])

    assert world.trap.calls[-2:] == ["close", "lease released"]


@pytest.mark.usefixtures("own_signals")
def test_a_store_that_does_not_answer_at_the_start_is_an_error(world: World) -> None:
    parts = running_parts(world, world.provider)
    world.saved.down = True

    with pytest.raises(StoreUnavailableError):
        daemon.run(parts, "127.0.0.1", 0)


@pytest.mark.usefixtures("own_signals")
def test_a_running_service_survives_a_folder_that_vanishes(world: World, tmp_path: Path) -> None:
    parts = running_parts(world, world.provider)

    def person() -> None:
        started_port(world)
        wait_for(lambda: bool(world.lines("shift.tick")), "it never ticked")
        world.path.rename(tmp_path / "elsewhere")
        wait_for(lambda: bool(world.lines("policy.problem")), "nobody said so")

    run_beside(world, person, parts)

    assert not world.lines("shift.error")
