"""Faults on command: what to do wrong, on which call, how often.

A fault waits until a call of its action comes, optionally only for one balancer, and is used up `times` times.
Faults of a call (its answer is late, lost, wrong) strike the next call even if that call would be refused anyway.
Faults of a task strike only when a task is made, so that a busy balancer cannot swallow them. One of each kind
can strike the same call.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from shifter.lab.emulator.cloud import Fate

MAX_FAULTS = 1_000
MAX_TIMES = 100_000
MAX_SECONDS = 300.0


class FaultKind(StrEnum):
    """Every way to fail."""

    THROTTLE = "throttle"
    """RequestLimitExceeded, nothing done."""
    LOST_REPLY = "lost_reply"
    """Done, and the client never hears of it."""
    SLOW = "slow"
    """The call waits `seconds` before it is worked on, even if the client has left by then."""
    ERROR_BEFORE = "error_before"
    """InternalError, nothing done."""
    ERROR_AFTER = "error_after"
    """Done, then InternalError."""
    TASK_FAILS = "task_fails"
    """The task ends with Status 1, nothing applied."""
    TASK_LIES = "task_lies"
    """The task ends with Status 0, nothing applied."""
    TASK_HALF = "task_half"
    """The task ends with Status 1, a random part applied, never all of it."""
    WRONG_CONTENT_TYPE = "wrong_content_type"
    """InternalError, nothing done, with a charset in the content type: the SDK reads it as a success."""
    HTML_502 = "html_502"
    """A gateway's HTML page with HTTP status 502, nothing done."""


TASK_FATES = {
    FaultKind.TASK_FAILS: Fate.FAIL,
    FaultKind.TASK_LIES: Fate.LIE,
    FaultKind.TASK_HALF: Fate.HALF,
}
TASK_KINDS = frozenset(TASK_FATES)
CALL_KINDS = frozenset(FaultKind) - TASK_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One order to fail.

    Attributes:
        action: the API action it strikes.
        kind: what goes wrong.
        times: how many calls it strikes, 1..100000.
        lb_id: strike only calls that name this balancer.
        seconds: how long `slow` waits, 0..300; other kinds ignore it.
    """

    action: str
    kind: FaultKind
    times: int = 1
    lb_id: str | None = None
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.times <= MAX_TIMES:
            raise ValueError(f"times must be 1..{MAX_TIMES}, not {self.times}")
        if not 0 <= self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds must be 0..{MAX_SECONDS:.0f}, not {self.seconds}")


class Faults:
    """The faults still waiting, oldest first. Thread-safe."""

    def __init__(self, *, reads: Collection[str], writes: Collection[str]) -> None:
        self._reads = frozenset(reads)
        self._writes = frozenset(writes)
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """Faults not yet used up, with the times they have left."""
        with self._lock:
            return tuple(self._waiting)

    def inject(self, fault: Fault) -> None:
        """Let a fault wait for its calls.

        Raises:
            ValueError: no such action, a task fault on an action without tasks, or too many faults waiting.
        """
        known = self._writes if fault.kind in TASK_KINDS else self._reads | self._writes
        if fault.action not in known:
            raise ValueError(f"{fault.kind} cannot strike {fault.action!r}; it can strike {', '.join(sorted(known))}")
        with self._lock:
            if len(self._waiting) >= MAX_FAULTS:
                raise ValueError(f"{MAX_FAULTS} faults are waiting already")
            self._waiting.append(fault)

    def clear(self) -> None:
        """Forget every waiting fault."""
        with self._lock:
            self._waiting.clear()

    def take(self, action: str, lb_ids: Collection[str], kinds: frozenset[FaultKind]) -> Fault | None:
        """Use up one time of the oldest fault that fits this call, and return it."""
        with self._lock:
            for index, fault in enumerate(self._waiting):
                fits = fault.lb_id is None or fault.lb_id in lb_ids
                if fault.action == action and fault.kind in kinds and fits:
                    left = [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
                    self._waiting[index : index + 1] = left
                    return fault
        return None
