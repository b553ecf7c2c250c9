"""People at the command line: orders through the real CLI, two at a time, each remembered with what came of it.

The list is the soak's own: whether an order was lost is told by comparing it with the store, never by asking.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from shifter.lab.checker.seen import EVERYBODY, Given
from shifter.lab.stage import COMMAND_SECONDS, Stage

_HANDS: Final = 3
_WAITING_MOST: Final = 24
_ORDER_ID: Final = re.compile(r"\border (\d+)\b")
_KILLED: Final = 137
_SAID_MOST: Final = 2_000


class Desk:
    """Gives orders without making the caller wait; inside a `with` block.

    Args:
        stage: where the command line is.
        tell: is handed every order once it is recorded or refused.
    """

    def __init__(self, stage: Stage, tell: Callable[[Given], None]) -> None:
        self._stage = stage
        self._tell = tell
        self._pool = ThreadPoolExecutor(_HANDS, thread_name_prefix="person")
        self._waiting: list[Future[None]] = []
        self._given: list[Given] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def given(self) -> tuple[Given, ...]:
        """Every order so far, as far as its command has ended."""
        with self._lock:
            return tuple(self._given)

    def order(self, verb: str, shift: str, by: str, words: Sequence[str] = (), reason: str = "") -> bool:
        """Have somebody give an order; False if too many wait already, and this one is not given at all."""
        self._waiting = [each for each in self._waiting if not each.done()]
        if len(self._waiting) >= _WAITING_MOST:
            return False
        self._waiting.append(self._pool.submit(self._give, verb, shift, by, (*words, "--reason", reason or "soak")))
        return True

    def quiet(self) -> bool:
        """Whether every order that was asked for has been given."""
        return all(each.done() for each in self._waiting)

    def _give(self, verb: str, shift: str, by: str, words: Sequence[str]) -> None:
        at = time.time()
        try:
            whom = () if shift == EVERYBODY else (shift,)
            finished = self._stage.command(verb, *whom, *words, "--by", by)
            code, said = finished.returncode, f"{finished.stdout}{finished.stderr}"
        except subprocess.TimeoutExpired:
            code, said = _KILLED, f"it did not end within {COMMAND_SECONDS:g} s"
        found = _ORDER_ID.search(said) if not code else None
        number = int(found[1]) if found else 0
        given = Given(at, time.time(), shift, verb, by, number, code, said.strip()[-_SAID_MOST:])
        with self._lock:
            self._given.append(given)
        self._tell(given)
