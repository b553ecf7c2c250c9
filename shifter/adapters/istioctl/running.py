"""One run of a program that certainly ends: with its words, or without.

What is read is bounded, for a program that has gone wrong may print for ever; who prints too much or takes too long is
ended together with all that it started, since an orphan would go on changing a cluster that nobody looks at any more.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final

from shifter.adapters.istioctl.ending import ending_with
from shifter.ports.istioctl import IstioctlError

MOST_TEXT_BYTES: Final = 32 * 1024 * 1024
"""The most that one stream may say; what a release installs is about 1 MiB."""

_GRACE_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.02
_PIECE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """What a program said and how it ended."""

    exit_code: int
    out: str
    complaints: str
    seconds: float


class _Listener(threading.Thread):
    """Reads one stream to its end, keeping so much of it; `overflown` once that much was said."""

    def __init__(self, stream: IO[bytes], most_bytes: int) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._left = most_bytes
        self._pieces: list[bytes] = []
        self.overflown = threading.Event()

    def run(self) -> None:
        """Read on even what is not kept: a program that nobody listens to stands still."""
        with self._stream:
            while piece := os.read(self._stream.fileno(), _PIECE_BYTES):
                self._pieces.append(piece[: self._left])
                self._left -= len(self._pieces[-1])
                if self._left == 0:
                    self.overflown.set()

    def text(self) -> str:
        """Return what was kept."""
        return b"".join(self._pieces).decode("utf-8", "replace")


def run(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    stdin: str = "",
    timeout_seconds: float,
    most_bytes: int = MOST_TEXT_BYTES,
    ends_with_us: bool = False,
) -> Said:
    """Run a program to its end and return what it said.

    Args:
        argv: the program, by its path, and its arguments; no shell reads them.
        environ: all of its environment.
        stdin: what it is told.
        timeout_seconds: how long it may take.
        most_bytes: how much it may say on each stream.
        ends_with_us: it is killed when we are, where the system can do that.

    Raises:
        IstioctlError: it cannot be started, took too long or said too much.
    """
    began = time.monotonic()
    try:
        process = subprocess.Popen(  # noqa: S603 - a list of arguments of our own, no shell
            ending_with(os.getpid(), argv) if ends_with_us else list(argv),
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or type(error).__name__).lower()
        raise IstioctlError(f"{argv[0]} cannot be started: {why}") from error
    assert process.stdin and process.stdout and process.stderr  # noqa: PT018, S101 - all three were asked for
    listeners = _Listener(process.stdout, most_bytes), _Listener(process.stderr, most_bytes)
    threads = (*listeners, threading.Thread(target=_tell, args=(process.stdin, stdin), daemon=True))
    for thread in threads:
        thread.start()
    try:
        _wait(process, listeners, f"`{' '.join(argv)}`", began + timeout_seconds)
    finally:
        _end(process)
        for thread in threads:
            thread.join(_GRACE_SECONDS)
    return Said(process.returncode, listeners[0].text(), listeners[1].text(), time.monotonic() - began)


def _wait(process: subprocess.Popen[bytes], listeners: Sequence[_Listener], name: str, deadline: float) -> None:
    while not _has_ended(process):
        if any(listener.overflown.is_set() for listener in listeners):
            raise IstioctlError(f"{name} said more than it may and was ended", unfinished=True)
        if time.monotonic() >= deadline:
            raise IstioctlError(f"{name} had not ended in time and was ended", unfinished=True)
        listeners[0].overflown.wait(_LOOK_SECONDS)
    if any(listener.overflown.is_set() for listener in listeners):
        raise IstioctlError(f"{name} said more than it may", unfinished=True)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Say whether it has, and leave it to be reaped: until then nobody else is given its number."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _tell(stream: IO[bytes], text: str) -> None:
    try:
        with stream:
            stream.write(text.encode())
    except BrokenPipeError:
        return  # it did not want to hear the rest; what came of that its exit code says


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the program and of all that it started, then reap it."""
    if not _has_ended(process):
        os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while not _has_ended(process) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
