"""The lanes with real threads: who goes first, what is bounded, what a hung domain and a dead thread leave alone."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from shifter.errors import AmbiguousWriteError, ProviderUnavailableError
from shifter.service.lanes import QUEUE_LIMIT, InlineLanes, Lanes, Priority
from tests.service.waiting import DEADLINE_SECONDS


class Threads(list[threading.Thread]):
    """The threads that lanes were given, oldest first."""

    def start(self, work: Callable[[], None], name: str) -> threading.Thread:
        self.append(threading.Thread(target=work, name=name, daemon=True))
        self[-1].start()
        return self[-1]


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def lanes(threads: Threads) -> Iterator[Lanes]:
    made = Lanes(threads.start)
    yield made
    made.stop(DEADLINE_SECONDS)


class Hung:
    """A call that does not come back until it is let go."""

    def __init__(self, lanes: Lanes, domain: str = "a") -> None:
        self.began, self.let_go = threading.Event(), threading.Event()
        self.future = lanes.run(domain, Priority.READ, self)
        assert self.began.wait(DEADLINE_SECONDS)

    def __call__(self) -> str:
        self.began.set()
        assert self.let_go.wait(DEADLINE_SECONDS)
        return "late"


def mistaken() -> str:
    raise KeyError("a bug")


def noting(done: list[str], name: str) -> Callable[[], None]:
    return lambda: done.append(name)


def test_a_call_answers_in_its_future(lanes: Lanes) -> None:
    future = lanes.run("a", Priority.READ, lambda: 42)

    assert future.result(DEADLINE_SECONDS) == 42


def test_a_call_that_fails_fails_its_future_and_not_the_lane(lanes: Lanes) -> None:
    failed = lanes.run("a", Priority.READ, mistaken)
    after = lanes.run("a", Priority.READ, lambda: "next")

    assert isinstance(failed.exception(DEADLINE_SECONDS), KeyError)
    assert after.result(DEADLINE_SECONDS) == "next"


def test_of_what_waits_retreats_go_first_then_reads_then_climbs(lanes: Lanes) -> None:
    hung = Hung(lanes)
    done: list[str] = []
    waiting: list[Future[None]] = []
    for name, priority in (("climb", Priority.CLIMB), ("read", Priority.READ), ("retreat", Priority.RETREAT)):
        waiting += [lanes.run("a", priority, noting(done, f"{name} {number}")) for number in (1, 2)]
    hung.let_go.set()
    for future in waiting:
        future.result(DEADLINE_SECONDS)

    assert done == ["retreat 1", "retreat 2", "read 1", "read 2", "climb 1", "climb 2"]


def test_a_hung_domain_does_not_delay_another(lanes: Lanes) -> None:
    hung = Hung(lanes, "a")
    other = lanes.run("b", Priority.CLIMB, lambda: "done")

    assert other.result(DEADLINE_SECONDS) == "done"
    assert not hung.future.done()
    hung.let_go.set()


def test_one_domain_runs_one_call_at_a_time(lanes: Lanes) -> None:
    hung = Hung(lanes)
    second = lanes.run("a", Priority.RETREAT, threading.get_ident)

    assert not second.done()
    hung.let_go.set()
    second.result(DEADLINE_SECONDS)
    assert hung.future.done()


def test_a_full_lane_fails_what_is_least_urgent(lanes: Lanes) -> None:
    hung = Hung(lanes)
    waiting = [lanes.run("a", Priority.READ, lambda: "read") for _ in range(QUEUE_LIMIT)]
    climb = lanes.run("a", Priority.CLIMB, lambda: "climb")
    retreat = lanes.run("a", Priority.RETREAT, lambda: "retreat")
    hung.let_go.set()

    with pytest.raises(ProviderUnavailableError, match=r"^a: too many calls wait$"):
        climb.result(DEADLINE_SECONDS)
    assert retreat.result(DEADLINE_SECONDS) == "retreat"
    assert isinstance(waiting[-1].exception(DEADLINE_SECONDS), ProviderUnavailableError)
    assert [future.result(DEADLINE_SECONDS) for future in waiting[:-1]] == ["read"] * (QUEUE_LIMIT - 1)


def test_a_cancelled_call_is_not_made(lanes: Lanes) -> None:
    hung = Hung(lanes)
    done: list[str] = []
    cancelled = lanes.run("a", Priority.CLIMB, noting(done, "cancelled"))
    cancelled.cancel()
    hung.let_go.set()
    lanes.run("a", Priority.CLIMB, noting(done, "next")).result(DEADLINE_SECONDS)

    assert done == ["next"]


@pytest.mark.parametrize("cancel", [False, True])
def test_stopping_fails_what_waits_and_lets_finish_what_runs(lanes: Lanes, *, cancel: bool) -> None:
    hung = Hung(lanes)
    waiting = lanes.run("a", Priority.RETREAT, lambda: "never")
    if cancel:
        waiting.cancel()
    stopping = threading.Thread(target=lanes.stop, args=(DEADLINE_SECONDS,))
    stopping.start()
    failed = "cancelled" if waiting.cancelled() else repr(waiting.exception(DEADLINE_SECONDS))
    hung.let_go.set()
    stopping.join(DEADLINE_SECONDS)

    assert failed == ("cancelled" if cancel else "ProviderUnavailableError('a: shutting down')")
    assert not stopping.is_alive()
    assert hung.future.result(0) == "late"


def test_stopping_waits_for_a_hung_call_only_so_long(lanes: Lanes) -> None:
    hung = Hung(lanes)
    lanes.stop(0.05)

    assert not hung.future.done()
    hung.let_go.set()


def test_after_stopping_nothing_is_taken_any_more(lanes: Lanes) -> None:
    lanes.run("a", Priority.READ, lambda: None).result(DEADLINE_SECONDS)
    lanes.stop(DEADLINE_SECONDS)

    for domain in ("a", "never seen"):
        refused = lanes.run(domain, Priority.RETREAT, lambda: "never")
        with pytest.raises(ProviderUnavailableError, match=f"^{domain}: shutting down$"):
            refused.result(DEADLINE_SECONDS)


def test_inline_lanes_answer_at_once() -> None:
    future = InlineLanes().run("a", Priority.CLIMB, lambda: "now")

    assert future.result(0) == "now"


# -- threads that die ------------------------------------------------------------------------------------------------


def kill_thread(thread: threading.Thread) -> None:
    """Let a thread die wherever it is; it does when it next runs Python."""
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


def dying(lanes: Lanes, threads: Threads) -> tuple[Future[str], Future[str]]:
    """Let the lane's thread die as it begins a call; return the futures of that call and of one behind it."""
    hung = Hung(lanes)
    began = lanes.run("a", Priority.READ, lambda: "never")
    waiting = lanes.run("a", Priority.CLIMB, lambda: "never")
    # Who is told that it runs already does not run it: the thread cannot go on, as after a bug of ours.
    began.set_running_or_notify_cancel()
    hung.let_go.set()
    threads[-1].join(DEADLINE_SECONDS)
    return began, waiting


def answered(future: Future[str]) -> BaseException | None:
    return future.exception(DEADLINE_SECONDS)


@pytest.mark.fault(
    on="process",
    fault="the thread of a lane dies in the middle of a call",
    does="that call may have been carried out and is read back; what waited is lined up again; the lane gets a thread",
    sees="`service.thread`: the thread of the lane died",
    safe_within="0.5 s + 1 tick",
)
def test_what_a_dead_lane_holds_is_answered_and_the_lane_works_again(lanes: Lanes, threads: Threads) -> None:
    began, waiting = dying(lanes, threads)
    dead = lanes.tend()
    again = lanes.run("a", Priority.RETREAT, lambda: "again")

    assert dead == ["a"]
    assert isinstance(answered(began), AmbiguousWriteError)
    assert str(answered(began)) == "a: the thread of this call died (RuntimeError: Future in unexpected state)"
    assert isinstance(answered(waiting), ProviderUnavailableError)
    assert str(answered(waiting)) == "a: the thread of its lane died (RuntimeError: Future in unexpected state)"
    assert again.result(DEADLINE_SECONDS) == "again"
    assert lanes.tend() == []


def test_a_call_to_a_dead_lane_gets_a_new_one_though_nobody_tended_it(lanes: Lanes, threads: Threads) -> None:
    began, _ = dying(lanes, threads)
    again = lanes.run("a", Priority.RETREAT, lambda: "again")

    assert again.result(DEADLINE_SECONDS) == "again"
    assert isinstance(answered(began), AmbiguousWriteError)


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


def test_a_call_whose_thread_dies_may_have_been_carried_out(lanes: Lanes, threads: Threads) -> None:
    began = threading.Event()

    def hang() -> str:
        began.set()
        while True:
            time.sleep(0.005)

    future = lanes.run("a", Priority.CLIMB, hang)
    assert began.wait(DEADLINE_SECONDS)
    kill_thread(threads[-1])

    assert isinstance(answered(future), AmbiguousWriteError)
    assert lanes.run("a", Priority.READ, lambda: "next").result(DEADLINE_SECONDS) == "next"


def test_a_call_that_wants_to_end_the_process_ends_neither_its_lane_nor_who_reads_the_answer(lanes: Lanes) -> None:
    def leave() -> str:
        raise SystemExit(3)

    failed = lanes.run("a", Priority.CLIMB, leave)

    assert str(answered(failed)) == "a: the call ended with SystemExit: 3"
    assert isinstance(answered(failed), AmbiguousWriteError)
    assert lanes.run("a", Priority.READ, lambda: "next").result(DEADLINE_SECONDS) == "next"
