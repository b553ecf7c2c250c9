"""From recorded readings to ticks: what the service would have counted, had it looked then.

Counted as the service counts: `MeshCounter` differences the readings, and the policy's rules judge the answers. The
source is learnt from what came before the range, as the service learns it before the first step.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from shifter.core.analysis.learning import History, lacking, learn
from shifter.core.analysis.measures import rules_of
from shifter.core.balancing.splits import Side
from shifter.core.counts.answers import BadAnswers
from shifter.core.counts.counters import Baselines, advance
from shifter.core.counts.evidence import Answers, Reading, SideCounts, Tick
from shifter.core.documents.fleet import Fleet, Lessons, common_edges_ms
from shifter.core.documents.policy import ShiftPolicy
from shifter.errors import NotFoundError
from shifter.ports import MeshMetrics, Unread
from shifter.service.backtest.coverage import Coverage, minute, typed
from shifter.service.gathering import tick_of
from shifter.service.observe import GAP_TICKS, Counted, MeshCounter

Recorded = Reading | Unread

_OTHER_TIMES: Final = (
    "ask its Prometheus for these series over these times; if it keeps less than that (retention), take a later range"
)


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
    def grace(self) -> timedelta:
        """How much later than the range a recording may begin: less is a scrape or two that are missing."""
        return self.fleet.spec.timing.sample_max_age + GAP_TICKS * self.step

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


def learnt(question: Question, source: MeshMetrics, covered: Coverage) -> Learnt:
    """Learn what the source was like, from before the range; as far into the range as it takes.

    Args:
        question: policy, fleet and range.
        source: its datasource.
        covered: of the source; takes in what is read on the way.

    Raises:
        NotFoundError: nothing is recorded of the source, or not as far back as the range begins, or too little.
        MetricsUnavailableError: the datasource does not answer.
    """
    lessons = question.lessons
    first = question.begin - lessons.most_ticks * question.step
    counter, ticks = _SourceCounter(question), list[Tick]()
    for reading in source.past(first, question.end, question.step, question.edges_ms):
        covered.see(reading)
        if isinstance(reading, Unread):
            continue
        _refuse_late(question, covered)
        tick = counter.count(reading)
        ticks += [] if tick is None else [tick]
        if moment(reading) >= question.begin and not lacking(ticks, lessons):
            spec = question.policy.spec
            return Learnt(learn(ticks, spec.analysis, question.edges_ms, lessons), moment(reading))
    if covered.begins is None:
        span = f"from {minute(first)} to {minute(question.end)}"
        raise NotFoundError(f"nothing of tcm is recorded {span}: {covered.why}", remedy=_OTHER_TIMES)
    raise NotFoundError(
        f"the range ends before tcm is known: {lacking(ticks, lessons)}",
        remedy=covered.lacks() or "make the range longer, or begin where more is recorded before it",
    )


def _refuse_late(question: Question, covered: Coverage) -> None:
    """Refuse a range that begins before the source's metrics do: its beginning would look like silence."""
    begins = covered.begins
    if begins is not None and begins > question.begin + question.grace:
        raise NotFoundError(
            f"nothing of tcm is recorded before {minute(begins)}, and the range begins {minute(question.begin)}: "
            "its Prometheus keeps less (retention), or its gateway was not scraped",
            remedy=f"begin later: --from {typed(begins)}",
        )


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
