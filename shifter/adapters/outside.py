"""What both doors to the network need: one call that certainly ends, and a short sentence for one that failed.

The HTTP libraries bound every wait for bytes, not the call: a server that sends one byte of a header now and then
is never late, and would hold its caller for ever. A Python thread cannot be ended from outside, so such a call is
left behind with its thread, and only so many may be left behind at a time: by each caller, so that one lock domain
that always hangs takes no other one's place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from shifter.core.text import plain

T = TypeVar("T")

MOST_LEFT_BEHIND = 4
"""The most calls that one thread may leave behind; each costs a thread and a connection. A lane is a thread."""

LONGEST_FOREIGN_TEXT = 120
"""The most characters shown of a body that is no answer, such as a proxy's page."""


class OverdueError(Exception):
    """The call did not end in time and goes on by itself: what it does may still be done."""


class CrowdedError(Exception):
    """Too many calls that were left behind have not ended; this one was not made."""


class BoundedCalls:
    """Makes calls that end in time, as far as the caller can see. Safe to use from several threads."""

    def __init__(self, most_left_behind: int = MOST_LEFT_BEHIND) -> None:
        self._most_left_behind = most_left_behind
        self._left_behind: list[tuple[int, threading.Thread]] = []
        self._lock = threading.Lock()

    def run(self, call: Callable[[], T], timeout_seconds: float) -> T:
        """Return what `call` returns, or raise what it raises.

        Args:
            call: made in a thread of its own.
            timeout_seconds: how long to wait for it.

        Raises:
            OverdueError: it has not ended by then.
            CrowdedError: it was not made at all.
        """
        caller = threading.get_ident()
        with self._lock:
            self._left_behind = [(whose, thread) for whose, thread in self._left_behind if thread.is_alive()]
            mine = sum(whose == caller for whose, _ in self._left_behind)
            if mine >= self._most_left_behind:
                raise CrowdedError(f"{mine} earlier calls have still not ended")
        future: Future[T] = Future()
        thread = threading.Thread(target=_fulfil, args=(future, call), name="call", daemon=True)
        thread.start()
        try:
            # Not `result`: a TimeoutError of the call's own must not be taken for ours.
            error = future.exception(timeout_seconds)
        except TimeoutError:
            with self._lock:
                self._left_behind.append((caller, thread))
            raise OverdueError(f"no whole answer within {timeout_seconds:g} s") from None
        if error is not None:
            raise error
        return future.result()


def _fulfil(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - the future carries it to whoever waits
        future.set_exception(error)


def cause_of(error: BaseException, timeout_seconds: float) -> str:
    """Say why a network call failed: by its innermost cause, since the outer ones repeat URLs and addresses.

    Args:
        error: what the library raised.
        timeout_seconds: the timeout of the call, for people.
    """
    innermost = error
    while (cause := innermost.__cause__ or innermost.__context__) is not None:
        innermost = cause
    if isinstance(innermost, OSError) and innermost.strerror:
        return plain(innermost.strerror.lower(), LONGEST_FOREIGN_TEXT)
    if isinstance(innermost, TimeoutError):
        return f"no answer within {timeout_seconds:g} s"
    return plain(f"{type(innermost).__name__}: {innermost}", LONGEST_FOREIGN_TEXT)
