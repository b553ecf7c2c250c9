"""One question to the recorded metrics, answered: in one pass over the range, since reading it is what takes long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shifter.core.analysis.learning import History
from shifter.core.balancing.splits import Side
from shifter.errors import NotFoundError
from shifter.ports import MeshMetrics
from shifter.service.backtest.coverage import Coverage
from shifter.service.backtest.halves import FalseAlarms, Halves, false_alarms
from shifter.service.backtest.judging import Outcome, judged
from shifter.service.backtest.recording import Question, Replay, Seen, learnt
from shifter.service.observe import MESH


@dataclass(frozen=True, slots=True)
class Backtest:
    """The answer. `begin` is from when on the source was known, and `history` what it was like."""

    begin: datetime
    end: datetime
    history: History
    ticks: int
    counted: int
    outcome: Outcome
    alarms: FalseAlarms


def backtest(question: Question, metrics: Mapping[Side, MeshMetrics], window: timedelta) -> Backtest:
    """Return what the policy would have said.

    Args:
        question: policy, fleet and range, not after now. Every tick of it is kept: who asks bounds them.
        metrics: both sides' datasources.
        window: how long each attempt of the false-alarm estimate is.

    Raises:
        NotFoundError: too little is recorded to say anything; the text says of what, its remedy what to ask instead.
        MetricsUnavailableError: a datasource does not answer.
    """
    covered = _coverage(question)
    known = learnt(question, metrics[Side.SOURCE], covered[Side.SOURCE])
    edges = known.history.edges_ms
    source, target = (metrics[side].past(known.begin, question.end, question.step, edges) for side in Side)
    halves, both, each_half = Halves(), Replay(question), Replay(question)
    found: list[Seen] = []
    of_halves: list[Seen] = []
    for ours, theirs in zip(source, target, strict=True):
        covered[Side.SOURCE].see(ours)
        covered[Side.TARGET].see(theirs)
        found.append(both.count(ours, theirs))
        of_halves.append(each_half.count(*halves.split(ours)))
    del found[0], of_halves[0]  # the readings before the first tick
    if not found:
        raise NotFoundError("the range ends as soon as tcm is known", remedy="make it longer")
    if halves.two:
        alarms = false_alarms(question, known, of_halves, window)
    else:
        alarms = FalseAlarms(window, impossible="tcm showed no two gateway pods at a time to hold against each other")
    counted = sum(each.tick is not None for each in found)
    outcome = judged(question, known, found)
    remarks = [said for each in covered.values() for said in each.remarks(known.begin + question.grace)]
    outcome = replace(outcome, remarks=(*outcome.remarks, *remarks))
    return Backtest(known.begin, question.end, known.history, len(found), counted, outcome, alarms)


def _coverage(question: Question) -> dict[Side, Coverage]:
    datasources = question.fleet.spec.datasources
    settings = {Side.SOURCE: datasources.source, Side.TARGET: datasources.target}
    return {side: Coverage(MESH[side], each, question.policy.namespaces) for side, each in settings.items()}
