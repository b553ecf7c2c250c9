"""Every call that a process makes to the outside passes a door: the place where anything can happen to it.

Before or after the call takes effect its process may die, be stopped, or lose its lease; the answer may be an error or
come never. Which of it happens is not decided here but by a `Fates`: chance, or a script.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

from shifter.errors import (
    AmbiguousWriteError,
    CapacityUnavailableError,
    ConflictError,
    MetricsUnavailableError,
    ProviderUnavailableError,
    ShifterError,
    StoreUnavailableError,
)
from shifter.ports.kube import Failing, KubeError
from tests.sim.journal import Journal
from tests.sim.kernel import Kernel, Killed

T = TypeVar("T")


class Fate(StrEnum):
    """What happens to one call, besides nothing."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    PAUSE_BEFORE = "pause before"
    PAUSE_AFTER = "pause after"
    LEASE_BEFORE = "lease lost before"
    LEASE_AFTER = "lease lost after"
    ERROR_BEFORE = "error before"
    ERROR_AFTER = "error after"
    HANG_BEFORE = "hang before"
    HANG_AFTER = "hang after"
    LOST = "lost on the way"
    LATE = "arrives after its timeout"
    CONFLICT = "conflict"
    STALE = "stale"
    UNKNOWN_USER = "401"
    DENIED = "403"
    EXPIRED = "410"
    INVALID = "422"
    THROTTLED = "429"
    CUT = "cut without a word"
    SLOW = "told late"
    ORDER_BEFORE = "order before"
    ORDER_AFTER = "order after"


PAUSES = frozenset({Fate.PAUSE_BEFORE, Fate.PAUSE_AFTER})
HANGS = frozenset({Fate.HANG_BEFORE, Fate.HANG_AFTER, Fate.LATE})
STOPPING = PAUSES | HANGS
"""What needs a stack that can stop in the middle."""

REFUSALS = frozenset({Fate.UNKNOWN_USER, Fate.DENIED, Fate.EXPIRED, Fate.INVALID, Fate.THROTTLED})
"""What an API server answers instead; whoever makes the call lets it say so."""

OF_WATCHES = frozenset({Fate.CUT, Fate.SLOW})
"""What happens to a watch after it was opened."""

TROUBLES = HANGS | REFUSALS | {Fate.ERROR_BEFORE, Fate.ERROR_AFTER, Fate.LOST, Fate.CONFLICT}
"""What is the fault of whoever is called."""

ANYWHERE = PAUSES | {
    Fate.CRASH_BEFORE,
    Fate.CRASH_AFTER,
    Fate.LEASE_BEFORE,
    Fate.LEASE_AFTER,
    Fate.ORDER_BEFORE,
    Fate.ORDER_AFTER,
}
"""What can happen also at a call that nobody answers from outside."""

_REMOTE = ANYWHERE | {Fate.ERROR_BEFORE, Fate.ERROR_AFTER, Fate.HANG_BEFORE, Fate.HANG_AFTER}


@dataclass(frozen=True, slots=True)
class Port:
    """One call of a port: its name, how it fails, and after how long nobody waits for its answer any more.

    `lost` makes the error if nothing is known of the call, `refused` if it certainly took no effect. What is `in_lane`
    has a thread of its own, so that a tick does not wait for it. If a conflict `is_made`, somebody else really writes
    first, and the call finds out by itself; refusals it always makes itself.
    """

    name: str
    lost: Callable[[str], ShifterError] | None = None
    refused: Callable[[str], ShifterError] | None = None
    timeout_seconds: float = 2.0
    fates: frozenset[Fate] = _REMOTE
    in_lane: bool = False
    is_made: bool = False


def _store(name: str, *more: Fate) -> Port:
    return Port(f"store.{name}", StoreUnavailableError, StoreUnavailableError, fates=_REMOTE | frozenset(more))


def _cloud(name: str, lost: type[ShifterError], *more: Fate) -> Port:
    fates = _REMOTE | frozenset(more)
    return Port(f"provider.{name}", lost, ProviderUnavailableError, fates=fates, in_lane=True)


def _unanswered(said: str) -> KubeError:
    return KubeError(Failing.UNAVAILABLE, said)


def _left_open(said: str) -> KubeError:
    return KubeError(Failing.AMBIGUOUS, said)


_ANY_KIND = REFUSALS - {Fate.EXPIRED, Fate.INVALID}
_READS: Mapping[str, frozenset[Fate]] = {
    "get": _ANY_KIND,
    "list": _ANY_KIND | {Fate.EXPIRED},
    "watch": _ANY_KIND | {Fate.EXPIRED} | OF_WATCHES,
}
_WRITES: Mapping[str, frozenset[Fate]] = {
    "create": _ANY_KIND | {Fate.LATE, Fate.LOST, Fate.INVALID},
    "replace": _ANY_KIND | {Fate.LATE, Fate.LOST, Fate.INVALID, Fate.CONFLICT},
    "replace_status": _ANY_KIND | {Fate.LATE, Fate.LOST, Fate.INVALID, Fate.CONFLICT},
    "delete": _ANY_KIND | {Fate.LATE, Fate.LOST},
}


def _server(name: str, seconds: float, *, in_lane: bool) -> Iterator[Port]:
    """Yield every call of an API server; of a read that was not answered nothing is left open."""
    for verb, fates in _READS.items():
        yield Port(f"{name}.{verb}", _unanswered, _unanswered, seconds, _REMOTE | fates, in_lane)
    for verb, fates in _WRITES.items():
        yield Port(f"{name}.{verb}", _left_open, _unanswered, seconds, _REMOTE | fates, in_lane, is_made=True)


PORTS: Mapping[str, Port] = {
    port.name: port
    for port in (
        _store("load", Fate.STALE),
        _store("save", Fate.CONFLICT, Fate.LATE),
        _store("load_fleet", Fate.STALE),
        _store("save_fleet", Fate.CONFLICT, Fate.LATE),
        _store("report"),
        _store("open_orders", Fate.STALE),
        _cloud("observe", ProviderUnavailableError),
        _cloud("submit", AmbiguousWriteError, Fate.LATE, Fate.LOST),
        _cloud("check", ProviderUnavailableError),
        Port("metrics.read", MetricsUnavailableError, MetricsUnavailableError, in_lane=True),
        Port("metrics.past", MetricsUnavailableError, MetricsUnavailableError, in_lane=True),
        Port("workload.observe", CapacityUnavailableError, CapacityUnavailableError, in_lane=True),
        Port("workload.pin", CapacityUnavailableError, CapacityUnavailableError, in_lane=True),
        Port("lease.valid", fates=ANYWHERE),
        *_server("kube", 1.0, in_lane=False),
        *_server("election", 0.5, in_lane=True),
        *_server("orders", 1.0, in_lane=True),
    )
}


@dataclass(frozen=True, slots=True)
class Made:
    """A call that is about to be made: its number, when, of which port, what is asked, and by which process."""

    number: int
    at: float
    port: str
    asked: str
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Ambush:
    """The first call of a port from an instant on that asks for something with `word` in it meets this fate.

    With a `machine`, the first of a process of that one.
    """

    at: float
    port: str
    word: str
    fate: Fate
    machine: str = ""

    def meets(self, call: Made) -> bool:
        """Whether this is the call."""
        is_its = not self.machine or call.caller.partition(".")[0] == self.machine
        return call.port == self.port and call.at >= self.at and self.word in call.asked and is_its


class Fates(Protocol):
    """Decides what happens to calls.

    `stoppable` is the part of ticks and lanes' calls (0 to 1) that can stop in the middle.
    """

    stoppable: float

    def of(self, call: Made, possible: frozenset[Fate]) -> Fate | None:
        """What happens to a call, of what is possible."""

    def seconds(self, low: float, high: float) -> float:
        """How long something takes that takes between `low` and `high`."""


class Body(Protocol):
    """The process that makes the calls."""

    name: str
    dead: bool
    paused_until: float

    def possible(self, port: Port) -> frozenset[Fate]:
        """What can happen to a call of it at this moment."""

    def crash(self) -> None:
        """Die; what runs of it unwinds."""

    def pause(self, seconds: float) -> None:
        """Be stopped by a signal for so long."""

    def lose_lease(self) -> None:
        """Have the lease taken away, without being told."""

    def interrupt(self) -> None:
        """Let somebody give an order at this very moment."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call that went wrong: of which port, from when to when that could be felt, and by whom.

    `domain` is the lock domain that it was about, empty if any; `caller` the process that made it, empty if it is not
    the caller's; it `waits` if that process could do nothing else meanwhile.
    """

    port: str
    since: float
    until: float
    domain: str = ""
    caller: str = ""
    waits: bool = False


@dataclass(slots=True)
class Tally:
    """How many calls there were, by port, what happened to how many of them, and when something was wrong.

    `made` are all calls in order: when, and of which port.
    """

    calls: Counter[str] = field(default_factory=Counter)
    fates: Counter[tuple[str, str]] = field(default_factory=Counter)
    troubles: list[Trouble] = field(default_factory=list)
    made: list[tuple[float, str]] = field(default_factory=list)
    number: int = 0


class Door:
    """Where the calls of one process pass.

    Attributes:
        made_at: when the call that takes effect now was made, true seconds.
        number: of that call.
        fate: of that call.
    """

    def __init__(self, kernel: Kernel, journal: Journal, fates: Fates, tally: Tally, body: Body) -> None:
        self._kernel = kernel
        self._journal = journal
        self._fates = fates
        self._tally = tally
        self._body = body
        self.made_at = 0.0
        self.number = 0
        self.fate: Fate | None = None

    def call(self, port: Port, asked: str, effect: Callable[[], T], domain: str = "") -> T:
        """Make a call, if its fate lets it; `domain` is the lock domain that it is about, if any.

        Raises:
            Killed: its process died.
            ShifterError: what the port answers instead.
        """
        self.enter()
        tally, body = self._tally, self._body
        tally.number += 1
        tally.calls[port.name] += 1
        number, began = tally.number, self._kernel.now
        tally.made.append((began, port.name))
        fate = self._fates.of(Made(number, began, port.name, asked, body.name), body.possible(port))
        what = f"{body.name} {number} {port.name} {asked}"
        if fate is not None:
            tally.fates[port.name, fate] += 1
            self._journal.add(self._kernel.now, f"{what} [{fate}]")
        try:
            answer = self._made(port, fate, number, effect, domain)
        except ShifterError as error:
            self._journal.add(self._kernel.now, f"{what}: {type(error).__name__}: {error}")
            if fate in TROUBLES:
                waits = fate in HANGS and not port.in_lane
                tally.troubles.append(Trouble(port.name, began, self._kernel.now, domain, body.name, waits))
            raise
        self._journal.add(self._kernel.now, what)
        return answer

    @property
    def is_stopped(self) -> bool:
        """Whether its process stands still."""
        return self._kernel.now < self._body.paused_until

    def enter(self) -> None:
        """Stop here as long as the process is stopped.

        Raises:
            Killed: it is dead.
        """
        while not self._body.dead and self.is_stopped:
            self._kernel.sleep(self._body.paused_until - self._kernel.now)
        if self._body.dead:
            raise Killed

    def _made(self, port: Port, fate: Fate | None, number: int, effect: Callable[[], T], domain: str) -> T:
        self.fate = fate
        if fate is None:
            self.made_at, self.number = self._kernel.now, number
            return effect()
        self._befall(fate, Fate.CRASH_BEFORE, Fate.PAUSE_BEFORE, Fate.LEASE_BEFORE, Fate.ORDER_BEFORE)
        if fate is Fate.CONFLICT and not port.is_made:
            raise ConflictError("somebody else saved it a moment ago")
        if fate is Fate.ERROR_BEFORE and port.refused is not None:
            raise port.refused("connection refused")
        if fate is Fate.LOST and port.lost is not None:
            raise port.lost("the connection was reset; nobody knows how far it came")
        if fate is Fate.LATE:
            self._let_arrive(port, number, effect, domain)
        if fate in {Fate.HANG_BEFORE, Fate.LATE}:
            self._hang(port)
        self.made_at, self.number, self.fate = self._kernel.now, number, fate
        answer = effect()
        self._befall(fate, Fate.CRASH_AFTER, Fate.PAUSE_AFTER, Fate.LEASE_AFTER, Fate.ORDER_AFTER)
        if fate is Fate.ERROR_AFTER and port.lost is not None:
            raise port.lost("the connection was reset; nobody knows how far it came")
        if fate is Fate.HANG_AFTER:
            self._hang(port)
        return answer

    def _befall(self, fate: Fate, crash: Fate, pause: Fate, lease: Fate, order: Fate) -> None:
        if fate is crash:
            self._body.crash()
            raise Killed
        if fate is pause:
            self._body.pause(self._fates.seconds(0.5, 12.0))
            self.enter()
        elif fate is lease:
            self._body.lose_lease()
        elif fate is order:
            self._body.interrupt()

    def _let_arrive(self, port: Port, number: int, effect: Callable[[], object], domain: str) -> None:
        """Let a call arrive when nobody waits for its answer any more."""
        late, made_at = port.timeout_seconds + self._fates.seconds(0.1, 4.0), self._kernel.now
        self._tally.troubles.append(Trouble(port.name, made_at, made_at + late, domain, self._body.name))
        self._kernel.after(late, lambda: self._arrive(port, effect, made_at, number))

    def _hang(self, port: Port) -> None:
        """Answer nothing until nobody waits any more."""
        self._kernel.sleep(port.timeout_seconds)
        self.enter()
        assert port.lost is not None, f"{port.name} is answered by nobody who could hang"
        raise port.lost(f"no answer within {port.timeout_seconds:g} s")

    def _arrive(self, port: Port, effect: Callable[[], object], made_at: float, number: int) -> None:
        said, self.made_at, self.number = "done", made_at, number
        try:
            effect()
        except ShifterError as error:
            said = str(error)
        self._journal.add(self._kernel.now, f"{self._body.name} {port.name} arrives late: {said}")
