"""The lanes with real threads: who goes first, what is bounded, and that a hung domain hangs alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from shifter.errors import ProviderUnavailableError
from shifter.service.lanes import QUEUE_LIMIT, InlineLanes, Lanes, Priority

DEADLINE_SECONDS = 5.0


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes()
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
