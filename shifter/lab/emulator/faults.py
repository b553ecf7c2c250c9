"""Faults on command: what to do wrong, on which call, how often, for how long.

A fault waits until a call of its action comes, optionally only for one balancer, and is used up `times` times, or
gone when its time is over. Faults of a call (its answer is late, lost, wrong) strike the next call even if that
call would be refused anyway. Faults of a task strike only when a task is made, so that a busy balancer cannot
swallow them. One of each kind can strike the same call.
"""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from shifter.lab.emulator.cloud import Fate

MAX_FAULTS = 1_000
MAX_TIMES = 100_000
MAX_SECONDS = 300.0
MAX_LASTS_SECONDS = 86_400.0


class FaultKind(StrEnum):
    """Every way to fail."""

    THROTTLE = "throttle"
    """RequestLimitExceeded, nothing done."""
    QUOTA = "quota"
    """LimitExceeded, nothing done: a quota of the account, which waiting does not widen. Writes only."""
    LOCKED = "locked"
    """Another actor's operation holds the balancer from now on, for `seconds`: ResourceInOperating. Writes only."""
    LOST_REPLY = "lost_reply"
    """Done, and the client never hears of it."""
    SLOW = "slow"
    """The call waits `seconds` before it is worked on, even if the client has left by then."""
    ERROR_BEFORE = "error_before"
    """InternalError, nothing done."""
    ERROR_AFTER = "error_after"
    """Done, then InternalError."""
    RESET_BEFORE = "reset_before"
    """The connection is reset, nothing done."""
    RESET_AFTER = "reset_after"
    """Done, then the connection is reset: the client hears at once that it will hear nothing."""
    TRUNCATED = "truncated"
    """Done, and the connection is closed in the middle of the answer."""
    TASK_FAILS = "task_fails"
    """The task ends with Status 1, nothing applied."""
    TASK_LIES = "task_lies"
    """The task ends with Status 0, nothing applied."""
    TASK_HALF = "task_half"
    """The task ends with Status 1, a random part applied, never all of it."""
    TASK_ENDLESS = "task_endless"
    """The task has Status 2 for ever, nothing applied; it holds the balancer for `seconds`, or until a release."""
    WRONG_CONTENT_TYPE = "wrong_content_type"
    """InternalError, nothing done, with a charset in the content type: the SDK reads it as a success."""
    WRONG_CONTENT_TYPE_AFTER = "wrong_content_type_after"
    """Done, and the right answer with a charset in the content type."""
    NULLS = "nulls"
    """The right answer, with null in some of the fields of which the documents say that it may be. Reads only."""
    HTML_502 = "html_502"
    """A gateway's HTML page with HTTP status 502, nothing done."""


TASK_FATES = {
    FaultKind.TASK_FAILS: Fate.FAIL,
    FaultKind.TASK_LIES: Fate.LIE,
    FaultKind.TASK_HALF: Fate.HALF,
    FaultKind.TASK_ENDLESS: Fate.ENDLESS,
}
TASK_KINDS = frozenset(TASK_FATES)
CALL_KINDS = frozenset(FaultKind) - TASK_KINDS
WRITE_KINDS = TASK_KINDS | {FaultKind.LOCKED, FaultKind.QUOTA}
READ_KINDS = frozenset({FaultKind.NULLS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One order to fail.

    Attributes:
        action: the API action it strikes.
        kind: what goes wrong.
        times: how many calls it strikes, 1..100000.
        lb_id: strike only calls that name this balancer.
        seconds: how long `slow` waits, and `locked` and `task_endless` hold the balancer, 0..300; other kinds
            ignore it.
        lasts_seconds: how long it waits for its calls, 0..86400; None is until they have come.
    """

    action: str
    kind: FaultKind
    times: int = 1
    lb_id: str | None = None
    seconds: float = 1.0
    lasts_seconds: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.times <= MAX_TIMES:
            raise ValueError(f"times must be 1..{MAX_TIMES}, not {self.times}")
        if not 0 <= self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds must be 0..{MAX_SECONDS:.0f}, not {self.seconds}")
        if self.lasts_seconds is not None and not 0 <= self.lasts_seconds <= MAX_LASTS_SECONDS:
            raise ValueError(f"lasts_seconds must be 0..{MAX_LASTS_SECONDS:.0f}, not {self.lasts_seconds}")


class Faults:
    """The faults still waiting, oldest first. Thread-safe.

    Args:
        reads: the actions that only tell.
        writes: the actions that make tasks.
        clock: seconds since the epoch, by which faults end.
    """

    def __init__(self, *, reads: Collection[str], writes: Collection[str], clock: Callable[[], float]) -> None:
        self._reads = frozenset(reads)
        self._writes = frozenset(writes)
        self._clock = clock
        self._waiting: list[tuple[Fault, float | None]] = []
        self._lock = threading.Lock()

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """Faults not yet used up or over, with the times they have left."""
        with self._lock:
            self._forget_ended()
            return tuple(fault for fault, _ in self._waiting)

    def inject(self, fault: Fault) -> None:
        """Let a fault wait for its calls.

        Raises:
            ValueError: no such action, a fault that cannot strike it, or too many faults waiting.
        """
        known = self._known(fault.kind)
        if fault.action not in known:
            raise ValueError(f"{fault.kind} cannot strike {fault.action!r}; it can strike {', '.join(sorted(known))}")
        with self._lock:
            self._forget_ended()
            if len(self._waiting) >= MAX_FAULTS:
                raise ValueError(f"{MAX_FAULTS} faults are waiting already")
            ends_at = None if fault.lasts_seconds is None else self._clock() + fault.lasts_seconds
            self._waiting.append((fault, ends_at))

    def clear(self) -> None:
        """Forget every waiting fault."""
        with self._lock:
            self._waiting.clear()

    def take(self, action: str, lb_ids: Collection[str], kinds: frozenset[FaultKind]) -> Fault | None:
        """Use up one time of the oldest fault that fits this call, and return it."""
        with self._lock:
            self._forget_ended()
            for index, (fault, ends_at) in enumerate(self._waiting):
                fits = fault.lb_id is None or fault.lb_id in lb_ids
                if fault.action == action and fault.kind in kinds and fits:
                    left = [(replace(fault, times=fault.times - 1), ends_at)] if fault.times > 1 else []
                    self._waiting[index : index + 1] = left
                    return fault
        return None

    def _known(self, kind: FaultKind) -> frozenset[str]:
        if kind in WRITE_KINDS:
            return self._writes
        return self._reads if kind in READ_KINDS else self._reads | self._writes

    def _forget_ended(self) -> None:
        now = self._clock()
        self._waiting = [(fault, ends_at) for fault, ends_at in self._waiting if ends_at is None or now < ends_at]
