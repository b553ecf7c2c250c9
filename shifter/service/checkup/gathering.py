"""Asks many at once and waits for nobody longer than a bound, whatever they do.

A thread cannot be ended from outside: who hangs is left behind with a thread of its own, which the end of the
program ends. So threads are daemons, and there is one per question, not a pool that would be waited for.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from shifter.core.text import plain
from shifter.errors import ProviderRefusedError, RefusedError, ShifterError

T = TypeVar("T")


class Outcome(StrEnum):
    """Why there is no answer."""

    REFUSED = "refused"
    """Somebody answered: no."""
    SILENT = "silent"
    """Nobody answered, or nothing that can be believed."""
    BROKEN = "broken"
    """The question itself went wrong: a bug of shifter's."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What there is instead of an answer; `why` is a sentence for a person, `remedy` what mends it, if known."""

    why: str
    outcome: Outcome = Outcome.SILENT
    remedy: str = ""


class Errand(Generic[T]):
    """One thing to find out. `answer` is there after `gather`; the errand's own thread never sets it.

    Args:
        ask: finds it out.
        within_seconds: how long it is waited for at most, where that is less than for others.
    """

    def __init__(self, ask: Callable[[], T], within_seconds: float = math.inf) -> None:
        self.ask = ask
        self.within_seconds = within_seconds
        self.answer: T | Unanswered = Unanswered("was not asked: the others took too long")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long one answer is waited for, and all of them together, in seconds; how many are asked at a time."""

    each_seconds: float
    whole_seconds: float
    at_once: int = 16


@dataclass(frozen=True, slots=True)
class _Running:
    errand: Errand[Any]
    future: Future[Any]
    due: float


def gather(errands: Sequence[Errand[Any]], bounds: Bounds, monotonic: Callable[[], float]) -> None:
    """Carry the errands out, in order as far as only so many go at a time; return when all are answered or overdue."""
    end = monotonic() + bounds.whole_seconds
    waiting, running = deque(errands), list[_Running]()
    while waiting or running:
        while waiting and len(running) < bounds.at_once:
            errand = waiting.popleft()
            patience = min(bounds.each_seconds, errand.within_seconds)
            running.append(_Running(errand, _started(errand), min(end, monotonic() + patience)))
        left_seconds = max(0.0, min(each.due for each in running) - monotonic())
        wait([each.future for each in running], left_seconds, FIRST_COMPLETED)
        now = monotonic()
        for each in running:
            if each.future.done():
                each.errand.answer = _answer(each.future)
            elif now >= each.due:
                each.errand.answer = Unanswered("no answer in time, no longer waited for")
        running = [each for each in running if not each.future.done() and now < each.due]
        if now >= end:
            return


def _started(errand: Errand[Any]) -> Future[Any]:
    future: Future[Any] = Future()
    threading.Thread(target=_fulfil, args=(future, errand.ask), name="checkup", daemon=True).start()
    return future


def _fulfil(future: Future[Any], ask: Callable[[], Any]) -> None:
    try:
        future.set_result(ask())
    except BaseException as error:  # noqa: BLE001 - the future carries it to whoever waits
        future.set_exception(error)


def _answer(future: Future[Any]) -> Any:  # noqa: ANN401 - whatever was asked for
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, ProviderRefusedError | RefusedError):
        return Unanswered(plain(str(error)), Outcome.REFUSED, error.remedy)
    if isinstance(error, ShifterError):
        return Unanswered(plain(str(error)), remedy=error.remedy)
    return Unanswered(plain(f"the check itself failed: {type(error).__name__}: {error}"), Outcome.BROKEN)
