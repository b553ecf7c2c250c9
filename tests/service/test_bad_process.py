"""The process on a bad day, in one process: clocks that are set, threads that die, logs that nobody takes.

`tests/process` has the rest, with a process of its own.
"""

from __future__ import annotations

import ctypes
import io
import os
import resource
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from shifter.core.orders import Answer, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.splits import Side
from shifter.errors import AmbiguousWriteError, InvariantError, ProviderUnavailableError, StoreUnavailableError
from shifter.service.clockwork import WAKE_JOB, LeapClock, Wakes
from shifter.service.daemon import Waker, out_of_descriptors
from shifter.service.lanes import Lanes, Priority, _Entry
from shifter.service.log_stream import MOST_WAITING, patient
from shifter.service.tick import Parts, Ticker
from shifter.service.web import application, served
from tests.service.conftest import NOON, TICK, World

Worlds = Callable[..., World]
DEADLINE_SECONDS = 10.0
HOUR = timedelta(hours=1)


def wait_for(what: Callable[[], object], why: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.005)


def kill_thread(thread: threading.Thread) -> None:
    """Let a thread die wherever it is; it does when it next runs Python."""
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


# -- a wall clock that is set ----------------------------------------------------------------------------------------


class Clocked:
    """A world whose service reads two clocks, one of which can be set. A write takes a few looks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.off = timedelta()
        self.waker = Waker(world.ticker, world.telemetry, TICK, wall=self.wall, monotonic=self.monotonic)

    def wall(self) -> datetime:
        return self.world.now + self.off

    def monotonic(self) -> float:
        return (self.world.now - NOON).total_seconds()

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.world.pass_time(TICK)
            self.waker.wake()

    def until(self, what: Callable[[], object], most: int = 80) -> None:
        for _ in range(most):
            if what():
                return
            self.step()
        raise AssertionError(self.world.reason())

    def until_share(self, share: float) -> None:
        shifts = self.world.ticker.shifts
        self.until(lambda: "shop" in shifts and self.world.state().share == share and not self.world.state().intent)


@pytest.fixture
def clocked(make_world: Worlds) -> Clocked:
    return Clocked(make_world(soak="10m", looks_until_done=3))


@pytest.mark.fault(
    on="process",
    fault="the wall clock is set forward by an hour",
    does="counts none of it as soak; a write under way keeps its deadline",
    sees="`service.clock` in the log",
    safe_within="at once",
)
@pytest.mark.parametrize("leap", [HOUR, timedelta(seconds=15), timedelta(days=400)])
def test_a_clock_set_forward_is_no_soak(clocked: Clocked, leap: timedelta) -> None:
    clocked.until_share(5)
    clocked.step(3)
    before = clocked.world.report().soaked_seconds
    clocked.off += leap
    clocked.step(3)
    after = clocked.world.report().soaked_seconds

    assert clocked.world.share() == 5
    assert after - before <= (3 + 2.5) * TICK.total_seconds()
    assert clocked.world.lines("service.clock")[0]["reason"].startswith("the wall clock was set by +")


@pytest.mark.parametrize("leap", [HOUR, -HOUR])
def test_a_write_under_way_is_not_given_up_because_a_clock_was_set(clocked: Clocked, leap: timedelta) -> None:
    clocked.until(lambda: "shop" in clocked.world.ticker.shifts and clocked.world.climbs(What.INTENT))
    clocked.off += leap
    clocked.until_share(5)

    assert clocked.world.climbs(What.INTENT) == [5]
    assert clocked.world.climbs(What.FAILED) == []


@pytest.mark.fault(
    on="process",
    fault="the wall clock is set back by an hour",
    does="looks on in every tick, gathers evidence anew, obeys orders",
    sees="`service.clock` in the log",
    safe_within="at once",
)
def test_a_clock_set_back_silences_nobody_and_begins_the_soak_anew(clocked: Clocked) -> None:
    clocked.until_share(5)
    clocked.step(5)
    clocked.off -= HOUR
    clocked.step(4)
    soaked = clocked.world.report().soaked_seconds
    order = clocked.world.order(Verb.PROMOTE)
    clocked.step()

    assert clocked.world.report().at == clocked.wall()
    assert soaked <= 4 * TICK.total_seconds()
    assert clocked.world.saved.order(order.id).answer is Answer.ACCEPTED


@pytest.mark.parametrize("leap", [HOUR, -HOUR])
def test_a_target_that_fails_after_a_clock_was_set_goes_back(clocked: Clocked, leap: timedelta) -> None:
    clocked.until_share(5)
    clocked.off += leap
    clocked.step()
    clocked.world.sides[Side.TARGET].error_percent = 50
    clocked.until(lambda: clocked.world.state().phase is Phase.ROLLED_BACK, most=12)

    assert clocked.world.share() == 0


def test_a_leap_is_taken_over_in_the_end_even_if_somebody_is_always_busy() -> None:
    wall, monotonic = [NOON], [0.0]
    clock = LeapClock(lambda: wall[0], lambda: monotonic[0], patience_seconds=60)
    wall[0] += HOUR
    kept = clock.now(keep=True)
    wall[0], monotonic[0] = wall[0] + timedelta(minutes=1), 60.0
    taken = clock.now(keep=True)

    assert kept == (NOON, 0.0)
    assert taken == (NOON + HOUR + timedelta(minutes=1), 3600.0)


def test_a_clock_that_is_only_being_adjusted_is_followed_without_a_word() -> None:
    wall, monotonic = [NOON], [0.0]
    clock = LeapClock(lambda: wall[0], lambda: monotonic[0], patience_seconds=60)
    wall[0], monotonic[0] = NOON + timedelta(seconds=10.9), 10.0

    assert clock.now(keep=True) == (wall[0], 0.0)


# -- threads that die ------------------------------------------------------------------------------------------------


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes()
    yield made
    made.stop(DEADLINE_SECONDS)


class Deadly(_Entry):
    """A waiting call that, once it is let go, takes its lane's thread along."""

    def __init__(self) -> None:
        super().__init__(Priority.READ, lambda: None)
        self.let_go = threading.Event()

    def run(self) -> None:
        assert self.let_go.wait(DEADLINE_SECONDS)
        raise SystemExit(7)


def thread_called(name: str) -> threading.Thread:
    (found,) = [each for each in threading.enumerate() if each.name == name]
    return found


def answered(future: Future[str]) -> BaseException | None:
    return future.exception(DEADLINE_SECONDS)


@pytest.mark.fault(
    on="process",
    fault="the thread of a lane dies in the middle of a call",
    does="that call may have been carried out and is read back; what waited is lined up again; the lane gets a thread",
    sees="`service.thread`: the thread of the lane died",
    safe_within="0.5 s + 1 tick",
)
def test_what_a_dead_lane_holds_is_answered_and_the_lane_works_again(lanes: Lanes) -> None:
    lanes.run("a", Priority.READ, lambda: "first").result(DEADLINE_SECONDS)
    deadly, thread = Deadly(), thread_called("lane a")
    lanes._lanes["a"].put(deadly)
    waiting = lanes.run("a", Priority.CLIMB, lambda: "never")
    deadly.let_go.set()
    thread.join(DEADLINE_SECONDS)
    dead = lanes.tend()
    again = lanes.run("a", Priority.RETREAT, lambda: "again")

    assert dead == ["a"]
    assert isinstance(deadly.future.exception(DEADLINE_SECONDS), AmbiguousWriteError)
    assert str(deadly.future.exception()) == "a: the thread of this call died (SystemExit: 7)"
    assert isinstance(answered(waiting), ProviderUnavailableError)
    assert str(answered(waiting)) == "a: the thread of its lane died (SystemExit: 7)"
    assert again.result(DEADLINE_SECONDS) == "again"
    assert lanes.tend() == []


def test_a_call_to_a_dead_lane_gets_a_new_one_though_nobody_tended_it(lanes: Lanes) -> None:
    lanes.run("a", Priority.READ, lambda: "first").result(DEADLINE_SECONDS)
    deadly, thread = Deadly(), thread_called("lane a")
    lanes._lanes["a"].put(deadly)
    deadly.let_go.set()
    thread.join(DEADLINE_SECONDS)
    again = lanes.run("a", Priority.RETREAT, lambda: "again")

    assert again.result(DEADLINE_SECONDS) == "again"
    assert isinstance(deadly.future.exception(DEADLINE_SECONDS), AmbiguousWriteError)


@pytest.mark.fault(
    on="process",
    fault="the system has no thread left",
    does="the call fails as not carried out; the others' lanes go on",
    sees="hold `provider`: raise the limit of threads (ulimit -u)",
    safe_within="at once",
)
def test_without_a_thread_for_its_lane_a_call_fails_with_what_to_do() -> None:
    def no_thread(_: Callable[[], None], __: str) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    refused = Lanes(no_thread).run("a", Priority.RETREAT, lambda: "never")
    error = refused.exception(DEADLINE_SECONDS)

    assert isinstance(error, ProviderUnavailableError)
    assert str(error) == "a: can't start new thread; raise the limit of threads (ulimit -u) or free some memory"


def test_a_call_whose_thread_dies_may_have_been_carried_out(lanes: Lanes) -> None:
    began = threading.Event()

    def hang() -> str:
        began.set()
        while True:
            time.sleep(0.005)

    future = lanes.run("a", Priority.CLIMB, hang)
    assert began.wait(DEADLINE_SECONDS)
    kill_thread(thread_called("lane a"))

    assert isinstance(answered(future), AmbiguousWriteError)
    assert lanes.run("a", Priority.READ, lambda: "next").result(DEADLINE_SECONDS) == "next"


def test_a_call_that_wants_to_end_the_process_ends_neither_its_lane_nor_who_reads_the_answer(lanes: Lanes) -> None:
    def leave() -> str:
        raise SystemExit(3)

    failed = lanes.run("a", Priority.CLIMB, leave)

    assert str(answered(failed)) == "a: the call ended with SystemExit: 3"
    assert isinstance(answered(failed), AmbiguousWriteError)
    assert lanes.run("a", Priority.READ, lambda: "next").result(DEADLINE_SECONDS) == "next"


@pytest.fixture
def wakes() -> Iterator[Callable[[Callable[[], None], timedelta], Wakes]]:
    with ExitStack() as stack:

        def make(wake: Callable[[], None], every: timedelta) -> Wakes:
            made = Wakes(wake, every)
            stack.callback(made.stop)
            return made

        yield make


def test_a_scheduler_that_waits_for_a_clock_that_was_set_back_wakes_at_once(
    wakes: Callable[[Callable[[], None], timedelta], Wakes],
) -> None:
    woken: list[float] = []
    made = wakes(lambda: woken.append(time.monotonic()), HOUR)
    wait_for(lambda: woken, "the first wake did not come")
    made.scheduler.modify_job(WAKE_JOB, next_run_time=datetime.now(UTC) + HOUR)
    said = made.tend(3 * HOUR.total_seconds() + 1)

    wait_for(lambda: len(woken) == 2, "it was not woken")
    assert said == ""


def test_a_scheduler_that_just_woke_somebody_is_left_alone(
    wakes: Callable[[Callable[[], None], timedelta], Wakes],
) -> None:
    made = wakes(lambda: None, HOUR)
    before = made.scheduler.get_job(WAKE_JOB).next_run_time
    made.tend(5.0)

    assert made.scheduler.get_job(WAKE_JOB).next_run_time == before


@pytest.mark.fault(
    on="process",
    fault="the scheduler's thread dies",
    does="the main thread notices the silence and starts another scheduler",
    sees="`service.thread`: nobody was woken for N s",
    safe_within="11 s",
)
def test_a_dead_scheduler_is_replaced(wakes: Callable[[Callable[[], None], timedelta], Wakes]) -> None:
    woken: list[float] = []
    made = wakes(lambda: woken.append(time.monotonic()), timedelta(seconds=0.05))
    wait_for(lambda: woken, "the first wake did not come")
    made.scheduler.shutdown(wait=False)
    woken.clear()
    said = made.tend(10.5)

    wait_for(lambda: len(woken) > 2, "nobody is woken any more")
    assert said == "nobody was woken for 10 s; another scheduler was started"


@pytest.mark.fault(
    on="process",
    fault="the web side's thread dies",
    does="is started again; callers wait meanwhile",
    sees="`service.thread`: web",
    safe_within="at once: nothing hangs on it",
)
def test_a_dead_web_side_is_started_again() -> None:
    app = application(str, str, CollectorRegistry())
    with served(app, "127.0.0.1", 0) as web:
        url = f"http://127.0.0.1:{web.port}/livez"
        with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as answer:
            first = answer.status
        web._server.should_exit = True
        thread_called("web").join(DEADLINE_SECONDS)
        wait_for(web.tend, "it was not started again")
        with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as answer:
            assert (first, answer.status) == (200, 200)


# -- a tick that does not do well ------------------------------------------------------------------------------------


class OddTicker(Ticker):
    """A ticker whose wakes raise what a test says, or nothing."""

    def __init__(self, parts: Parts, error: BaseException | None = None) -> None:
        super().__init__(parts)
        self.error = error
        self.woken = 0

    def wake(self, now: datetime) -> bool:
        self.woken += 1
        if self.error is not None:
            raise self.error
        return now == NOON


class Stopwatch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.fault(
    on="process",
    fault="a bug, MemoryError or SystemExit in a tick",
    does="is told; the next wake comes; /livez is red if it is so in every tick",
    sees="`shift.error` with a traceback; /livez: every tick has failed",
    safe_within="one tick",
)
@pytest.mark.parametrize("error", [MemoryError(), SystemExit(1), KeyboardInterrupt(), RecursionError("too deep")])
def test_nothing_that_a_tick_raises_ends_the_waking(world: World, error: BaseException) -> None:
    ticker, stopwatch = OddTicker(world.parts, error), Stopwatch()
    waker = Waker(ticker, world.telemetry, TICK, monotonic=stopwatch)
    for _ in range(6):
        stopwatch.now += TICK.total_seconds()
        waker.wake()
    failing = waker.problem()
    ticker.error = None
    waker.wake()

    assert ticker.woken == 7
    assert world.lines("shift.error")[0]["error"] == type(error).__name__
    assert failing == f"every tick for 60 s has failed: {type(error).__name__}: {error}"
    assert waker.problem() == ""


def test_a_store_that_is_away_is_no_reason_to_restart_the_process(world: World) -> None:
    stopwatch = Stopwatch()
    waker = Waker(
        OddTicker(world.parts, StoreUnavailableError("disk full")), world.telemetry, TICK, monotonic=stopwatch
    )
    for _ in range(6):
        stopwatch.now += TICK.total_seconds()
        waker.wake()

    assert waker.problem() == ""


@pytest.mark.fault(
    on="process",
    fault="a tick never ends",
    does="/livez is red; in the end the process ends with an error, for its supervisor to start it again",
    sees="/livez: no tick for N s; exit 1: a tick has not ended for N s",
    safe_within="4 ticks until red, 40 ticks until the end; at least 10 s and 100 s",
)
def test_a_tick_that_never_ends_is_told_and_in_the_end_ends_the_process(world: World) -> None:
    inside, let_go, stopwatch = threading.Event(), threading.Event(), Stopwatch()

    class Hung(OddTicker):
        def wake(self, now: datetime) -> bool:
            inside.set()
            assert let_go.wait(DEADLINE_SECONDS)
            return super().wake(now)

    waker = Waker(Hung(world.parts), world.telemetry, TICK, monotonic=stopwatch)
    waking = threading.Thread(target=waker.wake)
    waking.start()
    assert inside.wait(DEADLINE_SECONDS)
    stopwatch.now = 4 * TICK.total_seconds() + 1
    red = waker.problem()
    waker.must_not_be_hung()
    stopwatch.now = 40 * TICK.total_seconds() + 1
    with pytest.raises(InvariantError, match="a tick has not ended for 401 s; start shifter again"):
        waker.must_not_be_hung()
    let_go.set()
    waking.join(DEADLINE_SECONDS)

    assert red == "no tick for 41 s"


@pytest.mark.fault(
    on="process",
    fault="a bug strikes in one shift's turn",
    does="the other shifts' turns are taken all the same",
    sees="`shift.error` with the shift and a traceback",
    safe_within="at once",
)
@pytest.mark.parametrize("error", [RecursionError("too deep"), MemoryError()])
def test_a_bug_in_one_shift_stops_no_other(make_world: Worlds, error: Exception) -> None:
    world = make_world(shifts={"blog": "lb-front0002", "shop": "lb-front0001"})
    world.until_share(5, name="blog")
    world.store.bugs["blog"] = error
    world.until_share(25, name="shop")

    assert world.share("blog") == 5
    assert {line["shift"] for line in world.lines("shift.error")} == {"blog"}


def test_without_descriptors_it_is_said_what_to_do() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = out_of_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        said = out_of_descriptors()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert before == ""
    assert said == "too many open files (at most 3): nobody can be asked; raise the limit (ulimit -n)"


# -- a log that cannot be written ------------------------------------------------------------------------------------


class Reluctant(io.StringIO):
    """A stream that raises what a test says, or takes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)


def test_log_lines_arrive_whole_and_in_order() -> None:
    stream = Reluctant()
    with patient(stream) as log:
        for number in range(100):
            print(number, file=log, flush=True)

    assert stream.getvalue().split() == [str(number) for number in range(100)]


def test_a_log_that_cannot_be_written_hurts_nobody_and_says_how_much_it_lost() -> None:
    stream = Reluctant()
    stream.error = OSError(28, "No space left on device")
    with patient(stream) as log:
        for _ in range(3):
            print("lost", file=log, flush=True)
        log.buffer.drain(DEADLINE_SECONDS)  # type: ignore[attr-defined] # what is under every text stream
        stream.error = None
        print("taken", file=log, flush=True)

    assert stream.getvalue() == '{"event": "log.lost", "level": "warning", "lost": 3}\ntaken\n'


def test_a_log_that_nobody_reads_keeps_nobody_waiting_and_only_so_much() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as full, patient(full) as log:
        for _ in range(MOST_WAITING * 2):
            print("x" * 100, file=log, flush=True)
        waiting = len(log.buffer._waiting)  # type: ignore[attr-defined] # the bound is what is asked for
        read = 0
        while read < MOST_WAITING * 100:
            read += len(os.read(reading, 65536))
    os.close(reading)

    assert waiting <= MOST_WAITING
