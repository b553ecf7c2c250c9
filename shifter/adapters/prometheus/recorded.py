"""What Prometheus recorded: the same questions over a range, answered one instant at a time.

A recorded instant is judged by the very code that judges a live one. A moment of a `Recording` stands in for the
connection: what is asked of one instant is asked of Prometheus once for all of them (`/api/v1/query_range`).
Prometheus evaluates each step of a range like an instant query, lookback included, so a dead pod's last values are
repeated here too, and how fresh a sample was comes from `timestamp()` at each step as it does live.

What cannot be asked of the past is whether a clock was ahead: after any instant that is past there are later samples.

A range is read in chunks. One that is too much for Prometheus or for us (bytes, values, samples, time) is halved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from shifter.adapters.outside import BoundedCalls, CrowdedError, OverdueError
from shifter.adapters.prometheus.transport import Answer, Connection, TooMuchError
from shifter.core.counts.evidence import Reading
from shifter.core.documents.fleet import Datasource
from shifter.errors import InvariantError, MetricsUnavailableError
from shifter.ports import Unread

MOST_INSTANTS: Final = 1_000
"""The most instants asked of Prometheus at a time. It refuses more than 11,000 by itself."""

TIMEOUT_FACTOR: Final = 4
"""A range takes longer than an instant, and nobody's traffic waits for it: so many times the datasource's timeout."""

_ASK_TIMEOUTS: Final = 3
_SAME_INSTANT_SECONDS: Final = 0.002
_MILLISECOND: Final = timedelta(milliseconds=1)

_Row = tuple[Mapping[str, str], object]


class Asking(Protocol):
    """What a reading is made through: a connection, or a moment of a recording."""

    @property
    def where(self) -> str:
        """What people call it."""

    def ask(self, subject: str, query: str, at: datetime | None) -> Answer:
        """Return the instant vector of a query, see `Connection.ask`."""


class Recording:
    """What every query answered at each of some instants; asks each query once. Not for several threads.

    Args:
        connection: where to ask; the caller closes it.
        instants: when, evenly apart and ascending, to the millisecond; at least one.
        step: how far apart.
        calls: keep a question's time within bounds that the HTTP library does not know.
        timeout_seconds: longest time for one question.
    """

    def __init__(
        self,
        connection: Connection,
        instants: Sequence[datetime],
        step: timedelta,
        calls: BoundedCalls,
        timeout_seconds: float,
    ) -> None:
        self.where = connection.where
        self.failed = False
        """Whether a range could not be had; otherwise what is refused is one instant's answer."""
        self._connection = connection
        self._instants = instants
        self._step = step
        self._calls = calls
        self._timeout_seconds = timeout_seconds
        self._rows: dict[str, list[list[_Row]]] = {}

    def answer(self, subject: str, query: str, index: int) -> Answer:
        """Return the instant vector that a query had at one of the instants.

        Raises:
            TooMuchError: the range is too much; record fewer instants.
            MetricsUnavailableError: no answer (then `failed` is true), or a value of this instant is no number.
        """
        if query not in self._rows:
            self._rows[query] = self._recorded(subject, query)
        answer = Answer(f"{self.where}, {subject}")
        found = tuple(answer.sample(labels, text) for labels, text in self._rows[query][index])
        return Answer(answer.question, found)

    def _recorded(self, subject: str, query: str) -> list[list[_Row]]:
        within = self._instants[0].timestamp(), self._instants[-1].timestamp()
        step_seconds = self._step.total_seconds()
        try:
            tracks = self._calls.run(
                lambda: self._connection.ask_range(subject, query, within, step_seconds), self._timeout_seconds
            )
        except (OverdueError, CrowdedError) as error:
            self.failed = True
            raise MetricsUnavailableError(f"{self.where}, {subject}: {error}") from error
        except MetricsUnavailableError:
            self.failed = True
            raise
        rows: list[list[_Row]] = [[] for _ in self._instants]
        for track in tracks:
            for point in track.points:
                rows[self._place(subject, point, within[0], step_seconds)].append((track.labels, point[1]))
        return rows

    def _place(self, subject: str, point: object, first: float, step_seconds: float) -> int:
        """Return which instant a point is of."""
        match point:
            case [int() | float() as instant, _] if math.isfinite(instant):
                index = round((instant - first) / step_seconds)
                off = abs(instant - first - index * step_seconds)
                if 0 <= index < len(self._instants) and off < _SAME_INSTANT_SECONDS:
                    return index
        self.failed = True
        raise Answer(f"{self.where}, {subject}").refusal(
            "answered an instant that was not asked for; something before Prometheus moves the steps of a range "
            "(align_queries_with_step)"
        )


@dataclass(frozen=True, slots=True)
class _Moment:
    """One instant of a recording, to be asked like a connection."""

    recording: Recording
    index: int
    at: datetime

    @property
    def where(self) -> str:
        return self.recording.where

    def ask(self, subject: str, query: str, at: datetime | None) -> Answer:
        """Answer about this instant; what came after it, and Prometheus' own now, say nothing about it."""
        if at != self.at:
            return Answer(f"{self.where}, {subject}")
        return self.recording.answer(subject, query, self.index)


def past(
    datasource: Datasource,
    name: str,
    clock: Callable[[], float],
    instants: Sequence[datetime],
    read: Callable[[Asking, datetime], Reading],
) -> Iterator[Reading | Unread]:
    """Yield what `read` makes of each instant, in order; where it refuses what was recorded then, an `Unread`.

    Args:
        datasource: where to ask.
        name: what people call it.
        clock: a monotonic clock, in seconds.
        instants: evenly apart and ascending, to the millisecond.
        read: makes a reading of what is answered.

    Raises:
        MetricsUnavailableError: a range cannot be had. One chunk takes at most sixteen times the datasource's
            timeout; what was yielded before stands.
    """
    patient = datasource.model_copy(update={"timeout": TIMEOUT_FACTOR * datasource.timeout})
    timeout_seconds = _ASK_TIMEOUTS * patient.timeout.total_seconds()
    step = instants[1] - instants[0] if len(instants) > 1 else timedelta(seconds=1)
    calls = BoundedCalls()
    begin, size = 0, MOST_INSTANTS
    while begin < len(instants):
        chunk = instants[begin : begin + size]
        with Connection(patient, name, clock) as connection:
            recording = Recording(connection, chunk, step, calls, timeout_seconds)
            for index, at in enumerate(chunk):
                try:
                    reading = _read(_Moment(recording, index, at), read)
                except TooMuchError:
                    if len(chunk) == 1:
                        raise
                    size = max(1, len(chunk) // 2)
                    break
                yield reading
                begin += 1


def _read(moment: _Moment, read: Callable[[Asking, datetime], Reading]) -> Reading | Unread:
    try:
        return read(moment, moment.at)
    except MetricsUnavailableError as error:
        if moment.recording.failed:
            raise
        return Unread(moment.at.timestamp(), str(error))


def instants_of(start: datetime, end: datetime, step: timedelta) -> tuple[datetime, ...]:
    """Return start, start + step ... up to end, to the millisecond, as Prometheus evaluates them.

    Raises:
        InvariantError: a moment has no time zone, or the step is not at least a millisecond.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise InvariantError("a range of recorded readings needs time zones")
    if step < _MILLISECOND:
        raise InvariantError(f"{step} is no step from one recorded reading to the next")
    first, last = round(start.timestamp() * 1000), round(end.timestamp() * 1000)
    every = round(step / _MILLISECOND)
    return tuple(datetime.fromtimestamp(at / 1000, UTC) for at in range(first, last + 1, every))
