"""A replica: stands by, leads when the lease lets it, and stands by again when it has lost it.

Nothing of a time in office outlives it. Each has a leadership of its own, which never becomes valid again once it is
lost, and everything that was built on it (ticker, lanes, store, telemetry) goes with it. So a thread of a former term
that hangs in a call finds, whenever it comes back, a leadership that says no, and never the new one's yes. A tick that
does not end within the time to drain ends the process: then only that lets go of what it has in memory.

Why not end the process every time: whoever restarts it waits longer from one time to the next, up to minutes, and just
where leases are lost again and again nobody would stand by.

Signals and the web side span all of it: a standby is alive while it polls, whether or not it is answered, and ready
once it has seen the lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Gauge, Metric

from shifter.errors import ConflictError, TransientError
from shifter.ports import Leadership
from shifter.service.daemon import Term, listen, told_to_stop
from shifter.service.telemetry import Telemetry
from shifter.service.tick import Parts
from shifter.service.web import Served, application, served

_LOOK_SECONDS: Final = 0.25
"""How often a standby looks whether it leads."""

_RELOAD_SECONDS: Final = 2.0
"""How long a new leader waits before it asks again for a state that it could not read."""


class Candidate(Leadership, Protocol):
    """A leadership that is waited for, and can be had once."""

    def start(self) -> None:
        """Begin to try for it, in the background."""

    def lost(self) -> str:
        """Return why it will never be valid again, in a sentence; empty while it may.

        Raises:
            RefusedError: nobody here should try for it.
        """

    def stuck(self) -> str:
        """Return why trying does not count as alive; empty if it does. That nobody answers is no reason."""

    def answered(self) -> float:
        """Return when whoever keeps it last answered, in seconds of the monotonic clock; before any time if never."""

    def unread(self) -> str:
        """Return why nobody could even look whether it is to be had; empty once somebody could."""


@dataclass(frozen=True, slots=True)
class Replica:
    """How to become a leader: `candidate` makes a leadership to wait for, `parts` what runs on one that is valid.

    `telemetry` is for what happens between two times in office; `parts` has another for each.
    """

    candidate: Callable[[], Candidate]
    parts: Callable[[Candidate], Parts]
    telemetry: Telemetry


def run(replica: Replica, host: str, port: int) -> None:
    """Stand by and lead, in turn, until SIGTERM or SIGINT; returns when everything is drained and let go.

    Raises:
        ShifterError: the address cannot be bound, the lease is somebody else's, or what is saved cannot be used.
        InvariantError: a tick never ended; the state is safe, and a new process goes on from it.
    """
    told = listen()
    standby = Standby(replica, told)
    with served(application(standby.alive, standby.ready, standby), host, port) as web:
        replica.telemetry.event("service.standby", port=web.port)
        try:
            while standby.turn(web):
                pass
        finally:
            replica.telemetry.event("service.stopped")


class Standby:
    """One replica's turns, and what its probes say meanwhile; a source of metrics, those of whoever it is now."""

    def __init__(self, replica: Replica, told: SimpleQueue[int]) -> None:
        self._replica = replica
        self._told = told
        self._candidate: Candidate | None = None
        self._term: Term | None = None
        self._registry = CollectorRegistry()
        leads = Gauge("shifter_leader", "1 if this replica may raise shares", registry=self._registry)
        leads.set_function(self._leads)

    def turn(self, web: Served) -> bool:
        """Wait for one leadership, and lead until it is lost; return whether there is to be another turn.

        Raises:
            ShifterError: there can be none.
        """
        candidate = self._candidate = self._replica.candidate()
        candidate.start()
        try:
            if self._stopped_before(candidate.valid, candidate, web):
                return False
            return bool(candidate.lost()) or self._lead(candidate, web)
        finally:
            candidate.release()

    def alive(self) -> str:
        """Return why this replica should be started again; empty if it should not."""
        candidate, term = self._candidate, self._term
        return (candidate.stuck() if candidate else "") or (term.alive() if term else "")

    def ready(self) -> str:
        """Return why this replica neither leads nor could take over; empty if it does or could."""
        candidate, term = self._candidate, self._term
        if term is not None:
            return term.ready()
        return candidate.unread() if candidate else "nobody has asked for the lease yet"

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of the term, or of standing by."""
        term = self._term
        yield from self._registry.collect()
        yield from (self._replica.telemetry if term is None else term.parts.telemetry).registry.collect()

    def _lead(self, candidate: Candidate, web: Served) -> bool:
        term = self._term = Term(self._replica.parts(candidate))
        try:
            if self._stopped_before(lambda: self._loads(term), candidate, web, _RELOAD_SECONDS):
                return False
            return bool(candidate.lost() or term.serve(self._told, web, candidate.lost))
        finally:
            self._term = None
            term.close()

    def _loads(self, term: Term) -> bool:
        """Load what is saved; return False if nobody answers, or somebody else saved at the same time."""
        try:
            term.load()
        except (TransientError, ConflictError) as error:
            self._replica.telemetry.error("", error, bug=False)
            return False
        return True

    def _stopped_before(
        self, what: Callable[[], bool], candidate: Candidate, web: Served, look_seconds: float = _LOOK_SECONDS
    ) -> bool:
        """Wait until it is so or the leadership is lost; return whether we were told to stop before."""
        while not (candidate.lost() or what()):
            if told_to_stop(self._told, look_seconds, self._replica.telemetry):
                return True
            self._tend(web)
        return False

    def _tend(self, web: Served) -> None:
        try:
            happened = web.tend()
        except (OSError, RuntimeError) as error:
            self._replica.telemetry.error("", error, bug=False)
        else:
            if happened:
                self._replica.telemetry.warn("service.thread", reason=f"web: {happened}")

    def _leads(self) -> float:
        candidate = self._candidate
        return float(candidate is not None and candidate.valid())
