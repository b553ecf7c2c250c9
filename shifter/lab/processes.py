"""Child processes: start, wait until ready, freeze, kill, stop; and never leave one behind.

The lab's children must die with it, also when it is killed with -9 and can clean up nothing. The usual answer
(PR_SET_PDEATHSIG) fires when the *thread* that forked ends, and needs code between fork and exec, which is unsafe with
threads. Here a small guard process waits for the end of a pipe whose other end only the lab holds; when the lab is
gone, however it went, the guard kills every process that carries the lab's own random token in its environment, and
nothing else. Linux only (it reads /proc), as is the rest of the lab.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

TOKEN_VARIABLE = "SHIFTER_LAB_TOKEN"  # noqa: S105 - the name of a variable, and no secret
STOP_SECONDS = 5.0
READY_SECONDS = 20.0
PROBE_TIMEOUT_SECONDS = 1.0
PROBE_EVERY_SECONDS = 0.02
LOG_EXCERPT_BYTES = 1_500
FREEZE_SECONDS = 1.0  # a thread that is inside the kernel stops when it leaves it
GUARD_DISMISSED = b"stopped"
GUARD_SWEEPS = 20  # a child caught between fork and exec carries the token only a moment later
GUARD_SWEEP_EVERY_SECONDS = 0.05


class ProcessNotReadyError(RuntimeError):
    """A child ended, or did not answer, before its deadline; the message has an excerpt of its log."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run.

    Args:
        name: unique within one `Supervisor`; also names the log file.
        argv: the command, never a shell line.
        ready_url: answers 200 once the process can be used; empty means that there is nothing to ask.
        ready_file: exists once the process can be used; None means that there is nothing to look for.
        ahead: whether it does nothing before it has read a line, so that it can be started before it is needed.
    """

    name: str
    argv: tuple[str, ...]
    ready_url: str = ""
    ready_file: Path | None = None
    ahead: bool = False

    def is_ready(self) -> bool:
        """Whether everything that shows the process to be usable is there."""
        if self.ready_file is not None and not self.ready_file.exists():
            return False
        return not self.ready_url or _answers(self.ready_url)


class Child:
    """One supervised process, which may be started again after it ended."""

    def __init__(self, spec: ProcessSpec, log_path: Path, environment: Mapping[str, str]) -> None:
        self.spec = spec
        self.log_path = log_path
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._next: subprocess.Popen[bytes] | None = None
        self._frozen = False
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Process id.

        Raises:
            RuntimeError: it does not run.
        """
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"{self.spec.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process exists (a frozen one does)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process, appending to its log; does nothing when it runs."""
        if self.running:
            return
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        if self.spec.ahead:
            self.start_ahead()
        self._process, self._next = self._next or self._spawn(), None
        if self._process.stdin is not None:
            # One that has ended already is seen by whoever waits for it.
            with suppress(BrokenPipeError), self._process.stdin as told:
                told.write(b"\n")
        self._frozen = False

    def start_ahead(self) -> None:
        """Start the process that the next `start` only has to tell to begin; does nothing when it waits already.

        Raises:
            RuntimeError: a process of this kind does not wait to be told.
        """
        if not self.spec.ahead:
            raise RuntimeError(f"{self.spec.name} would begin at once")
        if self._next is None or self._next.poll() is not None:
            self._dismiss_next()
            self._next = self._spawn()

    def wait_ready(self, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until `ProcessSpec.is_ready`.

        Raises:
            ProcessNotReadyError: the process ended, or the time is over.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            if not self.running:
                raise ProcessNotReadyError(f"{self.spec.name} ended at once:\n{self._log_excerpt()}")
            if self.spec.is_ready():
                return
            if time.monotonic() > deadline:
                raise ProcessNotReadyError(
                    f"{self.spec.name} was not ready after {timeout_seconds:g} s:\n{self._log_excerpt()}"
                )
            time.sleep(PROBE_EVERY_SECONDS)

    def wait(self, timeout_seconds: float) -> int:
        """Wait until the process ends by itself and return its exit code.

        Raises:
            RuntimeError: it was never started.
            subprocess.TimeoutExpired: it still runs after `timeout_seconds`.
        """
        if self._process is None:
            raise RuntimeError(f"{self.spec.name} was never started")
        return self._process.wait(timeout_seconds)

    def ask_to_stop(self) -> None:
        """Send SIGTERM (waking a frozen process first, which could not hear it) and return at once."""
        self.thaw()
        self._signal(signal.SIGTERM)

    def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, and SIGKILL when that did not end it within `grace_seconds`."""
        self._dismiss_next()
        self.ask_to_stop()
        if self._process is None:
            return
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL: what a crash or the kernel's out-of-memory killer does."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
        self._frozen = False

    def freeze(self) -> None:
        """SIGSTOP: the process holds its sockets and answers nothing, from when this returns."""
        self._signal(signal.SIGSTOP)
        self._frozen = self.running
        deadline = time.monotonic() + FREEZE_SECONDS
        while self._frozen and not _all_stopped(self.pid) and time.monotonic() < deadline:
            time.sleep(PROBE_EVERY_SECONDS)

    def thaw(self) -> None:
        """SIGCONT after `freeze`; does nothing otherwise."""
        if self._frozen:
            self._signal(signal.SIGCONT)
            self._frozen = False

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                self.spec.argv,
                stdin=subprocess.PIPE if self.spec.ahead else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self._environment),
                # A Ctrl-C in the terminal must reach the lab only: it stops the children in order.
                start_new_session=True,
            )

    def _dismiss_next(self) -> None:
        waiting, self._next = self._next, None
        if waiting is not None:
            with waiting:
                waiting.kill()

    def _signal(self, number: signal.Signals) -> None:
        # Popen.send_signal polls first, so a pid that was reused by a stranger is never signalled.
        if self._process is not None:
            self._process.send_signal(number)

    def _log_excerpt(self) -> str:
        """Both ends of what it logged since its start: a crash names its cause first, a refusal last."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            head = log.read(LOG_EXCERPT_BYTES)
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start + len(head), end - LOG_EXCERPT_BYTES))
            tail = log.read(LOG_EXCERPT_BYTES)
        return b"\n[...]\n".join(part.strip() for part in (head, tail) if part).decode(errors="replace")


def _all_stopped(pid: int) -> bool:
    """Whether every thread of a process is stopped: SIGSTOP returns before they are."""
    try:
        stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:  # a thread that just ended is asked for again
        return False
    # The state follows the name in brackets, and a name may have brackets, too.
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


class Supervisor:
    """Starts children and makes sure that none outlives this process.

    Args:
        directory: where each child's `<name>.log` goes; created when missing.
        environment: what the children see.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._token = secrets.token_hex(16)
        self._environment = {**environment, TOKEN_VARIABLE: self._token}
        self._children: dict[str, Child] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve()), self._token],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()
        if self._guard is not None:
            self._guard.communicate(GUARD_DISMISSED, STOP_SECONDS)

    def start(self, spec: ProcessSpec) -> Child:
        """Start a process; it is not ready yet (`Child.wait_ready`), so that several can start at once.

        Raises:
            RuntimeError: the supervisor was not entered, or the name is taken by a child that runs.
            OSError: the program cannot be run.
        """
        if self._guard is None:
            raise RuntimeError("a supervisor starts children only inside its `with` block")
        if self.runs(spec.name):
            raise RuntimeError(f"{spec.name} runs already")
        child = Child(spec, self._directory / f"{spec.name}.log", self._environment)
        child.start()
        self._children[spec.name] = child
        return child

    def runs(self, name: str) -> bool:
        """Whether a child of that name exists now."""
        return name in self._children and self._children[name].running

    def child(self, name: str) -> Child:
        """The child of that name.

        Raises:
            KeyError: none was started under that name.
        """
        if name not in self._children:
            raise KeyError(f"the lab has no process {name!r}; it has {', '.join(sorted(self._children))}")
        return self._children[name]

    def stop_all(self) -> None:
        """Stop every child, all at once; bounded by `STOP_SECONDS` in total, then SIGKILL."""
        for child in self._children.values():
            child.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._children.values():
            child.stop(max(0.0, deadline - time.monotonic()))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_SECONDS) as response:  # noqa: S310 - our own http URL
            return bool(response.status == 200)  # noqa: PLR2004 - HTTP's OK
    except (urllib.error.URLError, OSError):
        return False


def _guard(token: str) -> None:
    """The guard's whole life: wait for the pipe to end, then kill whoever carries the token."""
    if sys.stdin.buffer.read() == GUARD_DISMISSED:
        return
    mark = f"{TOKEN_VARIABLE}={token}".encode()
    for _ in range(GUARD_SWEEPS):
        _kill_marked(mark)
        time.sleep(GUARD_SWEEP_EVERY_SECONDS)


def _kill_marked(mark: bytes) -> None:
    """SIGKILL every process whose environment has the mark."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:  # it ended meanwhile, or belongs to another user and so is not ours
            continue


if __name__ == "__main__":
    _guard(sys.argv[1])
