"""Standard error that can neither stop nor slow the service: a closed pipe, a full disk, a reader that fell asleep.

A service that watches traffic must not end, nor keep a retreat waiting, because nobody takes its log lines. So
lines are handed to a thread that does nothing but write them. What cannot be written is left out, and how much
was left out is said as soon as lines can be written again. What waits is bounded in lines and in bytes.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final, TextIO, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

MOST_WAITING: Final = 2_000
"""The most pieces that wait to be written; a piece is one log line."""

MOST_WAITING_BYTES: Final = 4 * 1024 * 1024
"""The most bytes that wait to be written; a piece that alone is larger is left out."""

_LOST: Final = '{{"event": "log.lost", "level": "warning", "lost": {lost}}}\n'
_FLUSH_SECONDS: Final = 1.0


class PatientOutput(io.BufferedIOBase):
    """Takes everything at once and writes it later, in order. Safe to use from several threads.

    Args:
        write: writes some bytes and returns how many it took; may block, and may raise OSError or ValueError.
    """

    def __init__(self, write: Callable[[bytes], int]) -> None:
        super().__init__()
        self._write = write
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._torn = False
        self._busy = False
        self._changed = threading.Condition()
        threading.Thread(target=self._work, name="log", daemon=True).start()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, piece: Buffer, /) -> int:
        """Take a piece; never blocks and never fails."""
        taken = bytes(piece)
        with self._changed:
            if len(self._waiting) < MOST_WAITING and self._waiting_bytes + len(taken) <= MOST_WAITING_BYTES:
                self._waiting.append(taken)
                self._waiting_bytes += len(taken)
                self._changed.notify()
            else:
                self._lost += 1
        return len(taken)

    def drain(self, timeout_seconds: float) -> None:
        """Wait until everything was written or left out, at most so long."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while (self._waiting or self._busy) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                piece, lost = self._waiting.popleft(), self._lost
                self._waiting_bytes -= len(piece)
                self._busy = True
            if self._written((_LOST.format(lost=lost).encode() if lost else b"") + piece):
                with self._changed:
                    self._lost -= lost
            else:
                with self._changed:
                    self._lost += 1

    def _written(self, piece: bytes) -> bool:
        """Write all of a piece, on a line of its own; return whether that went well."""
        whole = left = b"\n" + piece if self._torn else piece
        try:
            while left:
                left = left[self._write(left) :]
        except (OSError, ValueError):
            self._torn = self._torn or len(left) < len(whole)
            return False
        self._torn = False
        return True


@contextmanager
def patient(stream: TextIO | None) -> Iterator[TextIO]:
    """Yield a text stream that writes to `stream` (None: nowhere) without ever blocking or failing.

    At the end of the context what still waits is written, for at most a second.
    """
    output = PatientOutput(_writer(stream))
    # A whole line at a time, however it was put together: half of one would be torn apart by the next thread's.
    text = io.TextIOWrapper(cast("IO[bytes]", output), encoding="utf-8", errors="backslashreplace", line_buffering=True)
    try:
        yield text
    finally:
        output.drain(_FLUSH_SECONDS)


def _writer(stream: TextIO | None) -> Callable[[bytes], int]:
    """Return what writes to the stream's descriptor, or to the stream itself if it has none."""
    if stream is None:
        return len
    with suppress(OSError, ValueError):
        descriptor = stream.fileno()
        # Past Python's own buffer: what that could not write, it would try to write again for ever.
        return lambda piece: os.write(descriptor, piece)
    given = stream

    def write(piece: bytes) -> int:
        given.write(piece.decode("utf-8", "replace"))
        given.flush()
        return len(piece)

    return write
