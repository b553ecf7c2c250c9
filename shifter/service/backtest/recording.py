"""From recorded readings to ticks: what the service would have counted, had it looked then.

Counted as the service counts: `MeshCounter` differences the readings, and the policy's rules judge the answers. The
source is learnt from what came before the range, as the service learns it before the first step.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shifter.core.analysis.learning import History, Lessons, lacking, learn
from shifter.core.analysis.measures import rules_of
from shifter.core.answers import BadAnswers
from shifter.core.counters import Absence, Baselines, advance
from shifter.core.evidence import Answers, Reading, SideCounts, Tick
from shifter.core.fleet import Fleet, common_edges_ms
from shifter.core.policy import ShiftPolicy
from shifter.core.splits import Side
from shifter.errors import NotFoundError
from shifter.ports import MeshMetrics, Unread
from shifter.service.gathering import tick_of
from shifter.service.observe import GAP_TICKS, Counted, MeshCounter

Recorded = Reading | Unread


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a policy, and the range to hold it against, both moments with a time zone.

    `share` is what the target got then, percent; None takes what the metrics show over the whole range, and then
    nothing can be said of traffic that was lost on the way. `rest` is how long after "go back" the next attempt begins.
    """

    policy: ShiftPolicy
    fleet: Fleet
    begin: datetime
    end: datetime
    share: float | None = None
    rest: timedelta = timedelta(minutes=30)

    @property
    def step(self) -> timedelta:
        """How far apart the readings are: the fleet's tick."""
        return self.fleet.spec.timing.tick

    @property
    def lessons(self) -> Lessons:
        """How the source is learnt."""
        return self.fleet.spec.learning.lessons()

    @property
    def rules(self) -> BadAnswers:
        """Which answers the policy counts as failures."""
        return rules_of(self.policy.spec.analysis)

    @property
    def edges_ms(self) -> tuple[float, ...]:
        """The bucket edges that both datasources have; none if the policy does not look at latency."""
        if not self.policy.spec.analysis.latency.enabled:
            return ()
        return common_edges_ms(self.fleet)


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the source was like, and from when on it is known: the first tick that is judged ends after `begin`."""

    history: History
    begin: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """One instant of the range: what both sides counted for the policy, or why nothing was."""

    at: datetime
    tick: Tick | None
    problem: str = ""


class _SourceCounter:
    """Differences the source's readings alone, while there need not be a target yet."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._gap_seconds = GAP_TICKS * question.step.total_seconds()
        self._baselines = Baselines()

    def count(self, reading: Reading) -> Tick | None:
        """Return what was counted since the reading before; None if that is nothing, or nothing that is judged."""
        self._baselines, counts, span = advance(self._baselines, reading, self._gap_seconds)
        return tick_of(self._question.policy, Counted(moment(reading), span, counts, SideCounts({}, Answers())))


def learnt(question: Question, source: MeshMetrics) -> Learnt:
    """Learn what the source was like, from before the range; as far into the range as it takes.

    Raises:
        NotFoundError: nothing is recorded of the source, or not as far back as the range begins, or too little.
        MetricsUnavailableError: the datasource does not answer.
    """
    lessons = question.lessons
    first = question.begin - lessons.most_ticks * question.step
    counter, ticks, why, seen = _SourceCounter(question), [], "", False
    for reading in source.past(first, question.end, question.step, question.edges_ms):
        if isinstance(reading, Unread | Absence):
            why = reading.reason
        if isinstance(reading, Unread):
            continue
        if reading.pods and not seen:
            seen = True
            _refuse_late(question, moment(reading))
        tick = counter.count(reading)
        ticks += [] if tick is None else [tick]
        if moment(reading) >= question.begin and not lacking(ticks, lessons):
            spec = question.policy.spec
            return Learnt(learn(ticks, spec.analysis, question.edges_ms, lessons), moment(reading))
    if not seen:
        raise NotFoundError(f"nothing of tcm is recorded from {_minute(first)} to {_minute(question.end)}: {why}")
    raise NotFoundError(f"the range ends before tcm is known: {lacking(ticks, lessons)}")


def _refuse_late(question: Question, seen: datetime) -> None:
    """Refuse a range that begins before the source's metrics do: its beginning would look like silence."""
    allowed = question.fleet.spec.timing.sample_max_age + GAP_TICKS * question.step
    if seen > question.begin + allowed:
        raise NotFoundError(
            f"nothing of tcm is recorded before {_minute(seen)}, and the range begins {_minute(question.begin)}: "
            "its Prometheus keeps less (retention), or its gateway was not scraped; begin later"
        )


def _minute(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def moment(reading: Recorded) -> datetime:
    """Return when a reading was made."""
    return datetime.fromtimestamp(reading.read_at, UTC)


class Replay:
    """Counts the recorded readings of both sides, instant by instant, as the service counts live ones."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._counter = MeshCounter(question.fleet)

    def count(self, source: Recorded, target: Recorded) -> Seen:
        """Return what both sides counted for the policy since the instant before."""
        sides = {Side.SOURCE: source, Side.TARGET: target}
        readings = {side: each.reason if isinstance(each, Unread) else each for side, each in sides.items()}
        counted = self._counter.count(readings, moment(source))
        return Seen(counted.at, tick_of(self._question.policy, counted), counted.problem)
