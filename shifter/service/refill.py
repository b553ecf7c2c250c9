"""What was counted while nobody looked: after a restart, and before a new shift was known.

Prometheus remembers. So the ticks between a saved standing and now are read from it once, and a new shift learns the
source from the last hour instead of waiting for one. It is read and counted beside the tick, in a lane, since an hour
of all namespaces takes seconds; a look takes up what has come. What comes after live ticks were bet on, or lies too far
back, is left out: the odds stay valid without it, since whether it comes does not depend on what it would say. That it
is missing is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from shifter.core.analysis.replay import CHECKPOINT_SECONDS
from shifter.core.balancing.splits import Side
from shifter.core.counts.evidence import Reading, Tick
from shifter.core.documents.fleet import Fleet
from shifter.core.state import ShiftState
from shifter.core.text import plain
from shifter.errors import ShifterError
from shifter.ports import MeshMetrics, Unread
from shifter.service.gathering import Gathering, tick_of, wanted_edges_ms
from shifter.service.lanes import CallLanes, Priority
from shifter.service.observe import MeshCounter
from shifter.service.turn import Shift

MOST_TICKS: Final = 60
"""So many ticks may be missing since the last that can have been saved; a longer gap is not filled."""

MOST_LOOKS: Final = 8
"""An answer about the past that takes more looks than this is not waited for."""


@dataclass(frozen=True, slots=True)
class _Gap:
    """What one shift lacks: the ticks after `since`, by what its state was when it was asked for.

    `whole`: no write was under way then, so that all of them are wholly at its share.
    """

    since: datetime
    state: ShiftState

    @property
    def whole(self) -> bool:
        return self.state.intent is None

    def is_before(self, state: ShiftState) -> bool:
        """Return whether it lies before what the state has verified since, or before its attempt."""
        asked = self.state.verified_at, self.state.attempt
        return state.share > 0 and (state.verified_at, state.attempt) != asked


@dataclass(slots=True)
class _Asked:
    """One question under way, until when, its answer to come (ticks by shift), and how many looks it was waited for."""

    gaps: Mapping[str, _Gap]
    until: datetime
    answer: Future[Mapping[str, Sequence[Tick]]]
    looks: int = 0


class Refill:
    """Reads the past for the shifts that lack it, once each. Not thread-safe: the ticker's thread calls it."""

    def __init__(self, metrics: Mapping[Side, MeshMetrics], fleet: Fleet, lanes: CallLanes) -> None:
        self._metrics = metrics
        self._fleet = fleet
        self._lanes = lanes
        self._asked: _Asked | None = None

    def ask(self, shifts: Mapping[str, Shift], now: datetime) -> None:
        """Ask for what the shifts lack that were never asked for; `now` is when the live look begins."""
        if self._asked is not None:
            return
        gaps = {name: gap for name, shift in shifts.items() if (gap := self._gap(shift, now)) is not None}
        if not gaps:
            return
        edges = wanted_edges_ms(self._fleet, [(shift.place.state, shift.seen.standing) for shift in shifts.values()])
        job = partial(_remember, self._metrics, self._fleet, gaps, now, edges)
        self._asked = _Asked(gaps, now, self._lanes.run("past", Priority.READ, job))

    def take(self, shifts: Mapping[str, Shift]) -> str:
        """Give the shifts what has come; return why it did not, empty if it did, is still awaited, or was not asked."""
        asked = self._asked
        if asked is None:
            return ""
        asked.looks += 1
        if not asked.answer.done() and asked.looks < MOST_LOOKS:
            return ""
        self._asked = None
        ticks, problem = _answered(asked.answer)
        for name, gap in asked.gaps.items():
            if name not in shifts or shifts[name].place.state.policy != gap.state.policy:
                continue
            shift = shifts[name]
            if why := problem or _too_late(shift, gap):
                _leave_out(shift.seen, gap.since, asked.until, why)
            else:
                shift.seen.catch_up(shift.place.state, ticks[name], self._fleet, whole=gap.whole)
        return problem

    def _gap(self, shift: Shift, now: datetime) -> _Gap | None:
        """Return what a shift lacks that is worth reading; None if it lacks nothing, or was asked for."""
        state, seen = shift.place.state, shift.seen
        since = None if seen.standing is None else datetime.fromtimestamp(seen.standing.counted_until, UTC)
        if seen.caught_up or (since is not None and now < since):
            # A clock that is behind what was counted is set right some day: only then it is known what is missing.
            return None
        seen.caught_up = True
        tick = self._fleet.spec.timing.tick
        if state.share == 0 and state.intent is None:
            return _Gap(now - self._fleet.spec.learning.history_ticks * tick, state)
        if since is None:
            return None
        if state.share == 0:
            _leave_out(seen, since, now, "a write was under way")
            return None
        if now - since > MOST_TICKS * tick + timedelta(seconds=CHECKPOINT_SECONDS):
            _leave_out(seen, since, now, "it is too long ago to be read again")
            return None
        return _Gap(since, state) if now - since > tick else None


def _too_late(shift: Shift, gap: _Gap) -> str:
    """Return why what has come cannot be added any more; empty if it can."""
    if gap.is_before(shift.place.state):
        return "a share was verified since, or another attempt begun"
    return "" if shift.seen.takes_past(shift.place.state) else "it came after ticks that were bet on already"


def _answered(answer: Future[Mapping[str, Sequence[Tick]]]) -> tuple[Mapping[str, Sequence[Tick]], str]:
    if not answer.done():
        return {}, "Prometheus has not answered about the past in time"
    try:
        return answer.result(), ""
    except ShifterError as error:
        return {}, plain(str(error))
    except Exception as error:  # noqa: BLE001 - a bug in reading the past must not keep anybody from looking
        return {}, plain(f"the past cannot be read: {type(error).__name__}: {error}")


def _remember(
    metrics: Mapping[Side, MeshMetrics], fleet: Fleet, gaps: Mapping[str, _Gap], now: datetime, edges_ms: list[float]
) -> Mapping[str, Sequence[Tick]]:
    """Return the ticks that each shift lacks, oldest first; runs in a lane."""
    since, step = min(gap.since for gap in gaps.values()), fleet.spec.timing.tick
    source, target = (metrics[side].past(since, now, step, edges_ms) for side in Side)
    counter, found = MeshCounter(fleet), dict[str, list[Tick]]((name, []) for name in gaps)
    for ours, theirs in zip(source, target, strict=True):
        readings = {Side.SOURCE: _readable(ours), Side.TARGET: _readable(theirs)}
        counted = counter.count(readings, datetime.fromtimestamp(ours.read_at, UTC))
        for name, gap in gaps.items():
            # Wholly after the gap's beginning: what was counted before it is in the standing already.
            began = counted.at - timedelta(seconds=counted.span_seconds)
            if began >= gap.since and (tick := tick_of(gap.state.policy, counted)) is not None:
                found[name].append(tick)
    return found


def _readable(reading: Reading | Unread) -> Reading | str:
    return reading.reason if isinstance(reading, Unread) else reading


def _leave_out(seen: Gathering, since: datetime, until: datetime, why: str) -> None:
    if seen.standing is None:
        return  # it learns from what comes
    seen.gap = f"what was counted from {since:%H:%M:%S} to {until:%H:%M:%S} UTC is not part of the evidence: {why}"
