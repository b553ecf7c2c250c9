"""A call that never ends, seen from its caller, and the sentence about one that failed."""

from __future__ import annotations

import threading
import time

import pytest

from shifter.adapters.outside import BoundedCalls, CrowdedError, OverdueError, cause_of


def raising(error: Exception) -> None:
    raise error


def test_a_call_that_ends_in_time_hands_on_its_answer() -> None:
    assert BoundedCalls().run(lambda: 7, 5) == 7


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("its own")])
def test_a_call_that_fails_in_time_hands_on_its_error(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        BoundedCalls().run(lambda: raising(error), 5)

    assert caught.value is error


def test_a_call_that_does_not_end_is_left_behind() -> None:
    released = threading.Event()
    began = time.monotonic()

    with pytest.raises(OverdueError, match=r"no whole answer within 0\.05 s"):
        BoundedCalls().run(released.wait, 0.05)
    released.set()
    assert time.monotonic() - began < 5


def test_only_so_many_calls_are_left_behind_and_those_that_end_make_room() -> None:
    released = threading.Event()
    calls = BoundedCalls(most_left_behind=2)
    for _ in range(2):
        with pytest.raises(OverdueError):
            calls.run(released.wait, 0.01)

    with pytest.raises(CrowdedError, match="2 earlier calls have still not ended"):
        calls.run(lambda: 7, 5)
    released.set()
    assert answered_by(calls, time.monotonic() + 5) == 7


def test_calls_that_one_caller_left_behind_take_no_place_of_another_ones() -> None:
    released = threading.Event()
    calls = BoundedCalls(most_left_behind=1)
    with pytest.raises(OverdueError):
        calls.run(released.wait, 0.01)
    others: list[int] = []
    other = threading.Thread(target=lambda: others.append(calls.run(lambda: 7, 5)))
    other.start()
    other.join(5)

    with pytest.raises(CrowdedError, match="1 earlier calls have still not ended"):
        calls.run(lambda: 7, 5)
    assert others == [7]
    released.set()


def answered_by(calls: BoundedCalls, deadline: float) -> int:
    """Make a call again and again until it is made at all."""
    while True:
        try:
            return calls.run(lambda: 7, 5)
        except CrowdedError:
            assert time.monotonic() < deadline


def chained(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (chained(OSError("a long URL"), ConnectionRefusedError(111, "Connection refused")), "connection refused"),
        (chained(OSError("a long URL"), OSError(-2, "Name or service not known")), "name or service not known"),
        (chained(OSError("a long URL"), TimeoutError("timed out")), "no answer within 5 s"),
        (ConnectionResetError("bye\n\x00"), "ConnectionResetError: bye"),
    ],
)
def test_a_failed_call_is_told_by_its_innermost_cause(error: Exception, text: str) -> None:
    assert cause_of(error, 5.0) == text


def test_a_cause_is_one_short_line() -> None:
    assert len(cause_of(ValueError("x\n" * 1000), 5)) == 120
