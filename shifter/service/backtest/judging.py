"""What a policy would have said of each tick.

The judgement is the service's own (`standing`, `analysis`). What is different is that the share does not follow it:
what was recorded went at the share that it had then. So a range is judged at one share, and a verdict of "go on" or
"go back" is told and changes nothing. After "go back" the next attempt begins anew, as a first one, once the question's
`rest` is over: what is wrong is wrong for a while, and to say so in every tick would tell nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from shifter.core.analysis import assess
from shifter.core.evidence import Ledger, Tick
from shifter.core.learning import History
from shifter.core.measures import metrics_of
from shifter.core.sequential import bound
from shifter.core.splits import FULL_PERCENT, shown
from shifter.core.standing import advance, at_share, begin, row_of
from shifter.core.verdicts import Assessment, Situation, Verdict
from shifter.service.backtest.recording import Learnt, Question, Seen

HOLD: Final = "hold"
ADVANCE: Final = "advance"

FIRST_ATTEMPT: Final = 1
"""Every attempt is judged like a first one, with the whole error probability of the policy."""

_STEADY_PARTS: Final = 12
_STEADY_REQUESTS: Final = 100.0
_UNSTEADY_POINTS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Said:
    """What the policy would have said at one instant.

    `word` is `advance`, `hold`, or the policy's `onFailure` (`rollback` by default); `harm` the odds against the
    target, None without a signal. `bounds` are U by metric, percent.
    """

    at: datetime
    word: str
    reason: str
    harm: float | None = None
    bounds: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the policy would have said of the whole range.

    `share` is what was judged at (percent), None if the target answered nothing. `remarks` are sentences that a person
    must know first.
    """

    share: float | None
    said: tuple[Said, ...]
    remarks: tuple[str, ...]

    @property
    def changes(self) -> tuple[Said, ...]:
        """What was said at the moments at which it changed, the first one included."""
        before: list[Said | None] = [None, *self.said[:-1]]
        return tuple(
            said for said, last in zip(self.said, before, strict=False) if last is None or said.word != last.word
        )


class Trial:
    """One attempt, judged tick by tick at one share, as the service would; without a cloud and without people.

    Args:
        question: policy and fleet.
        history: what the source was like.
        share: percent, above 0.
        began: when the share is taken to have been verified.
        split_by_request: what does not arrive counts as lost; only where the share is known and not observed.
    """

    def __init__(
        self, question: Question, history: History, share: float, began: datetime, *, split_by_request: bool
    ) -> None:
        self._spec, self._timing = question.policy.spec, question.fleet.spec.timing
        self._metrics = metrics_of(self._spec.analysis, history.edges_ms)
        self._standing = at_share(begin(self._metrics, history, FIRST_ATTEMPT), self._metrics, share)
        self._ledger = Ledger()
        self._share, self._began, self._split_by_request = share, began, split_by_request

    def judge(self, tick: Tick) -> Assessment:
        """Return what is made of the attempt after one more tick."""
        self._ledger = self._ledger.add(tick)
        row = row_of(tick, self._metrics, whole=True)
        self._standing = advance(self._standing, self._metrics, row)
        situation = Situation(
            share=self._share,
            verified_at=self._began,
            now=tick.at,
            max_age=self._timing.sample_max_age,
            tick=self._timing.tick,
            attempt=FIRST_ATTEMPT,
            split_by_request=self._split_by_request,
        )
        return assess(self._spec, self._standing, self._ledger, situation)

    @property
    def seconds(self) -> float:
        """How many seconds of evidence there are."""
        return self._standing.seconds

    def bounds(self) -> dict[str, float]:
        """Return U by metric, percent."""
        wealths = self._standing.wealth.metrics
        return {
            each.name: FULL_PERCENT * bound(one, each.safety.rate)
            for each, one in zip(self._metrics, wealths, strict=True)
        }


def judged(question: Question, known: Learnt, found: Sequence[Seen]) -> Outcome:
    """Return what the policy would have said about every instant, at one share."""
    share = question.share if question.share is not None else observed_share(found)
    if share is None:
        why = "istio answered no request of it in this range, so there is nothing to judge but tcm"
        return Outcome(None, (), (why,))
    said: list[Said] = []
    began, over = known.begin, None
    trial = _trial(question, known, share, began)
    for each in found:
        if over is not None and each.at - over.at < question.rest:
            said.append(replace(over, at=each.at, harm=None, bounds=None))
            continue
        if over is not None:
            trial, over = _trial(question, known, share, each.at), None
        if each.tick is None:
            said.append(Said(each.at, HOLD, f"no signal: {each.problem or 'nothing to difference yet'}"))
            continue
        assessment = trial.judge(each.tick)
        said.append(_said(question, trial, assessment, each.at))
        over = said[-1] if assessment.verdict is Verdict.FAIL else None
    return Outcome(share, tuple(said), tuple(_remarks(question, found, share)))


def _trial(question: Question, known: Learnt, share: float, began: datetime) -> Trial:
    return Trial(question, known.history, share, began, split_by_request=question.share is not None)


def _said(question: Question, trial: Trial, assessment: Assessment, at: datetime) -> Said:
    spec = question.policy.spec
    soak = spec.soak.total_seconds()
    word, reason = HOLD, assessment.reason
    if assessment.verdict is Verdict.FAIL:
        word = str(spec.on_failure)
    elif assessment.incident:
        reason = assessment.incident
    elif assessment.verdict is Verdict.PASS and trial.seconds < soak:
        reason = f"soaking: {trial.seconds:.0f} of {soak:g} s; {reason}"
    elif assessment.verdict is Verdict.PASS:
        word = ADVANCE
        reason = reason if assessment.step is None else f"to {shown(assessment.step)}: {reason}"
    return Said(at, word, reason, assessment.harm, trial.bounds())


def observed_share(found: Iterable[Seen]) -> float | None:
    """Return the part of the requests that the target answered over the whole range, percent; None if it is 0."""
    source = target = 0.0
    for each in found:
        if each.tick is not None:
            source, target = source + each.tick.source.requests, target + each.tick.target.requests
    return FULL_PERCENT * target / (source + target) if target > 0 else None


def _remarks(question: Question, found: Sequence[Seen], share: float) -> Iterator[str]:
    blind = sum(1 for each in found if each.tick is None)
    if 2 * blind > len(found):
        why = next((each.problem for each in reversed(found) if each.problem), "nothing to difference")
        yield f"{blind} of {len(found)} ticks say nothing, the last of them because: {why}"
    parts = [found[at : at + size] for at, size in _parts(len(found))]
    shares = [each for part in parts if (each := _steady_share(part)) is not None]
    if question.share is None and shares and max(shares) - min(shares) > _UNSTEADY_POINTS:
        yield (
            f"istio's share was between {min(shares):.3g} % and {max(shares):.3g} %, and is taken to be {share:.3g} %"
            " all the time: give a range within one step"
        )


def _parts(length: int) -> Iterator[tuple[int, int]]:
    size = max(1, -(-length // _STEADY_PARTS))
    return ((begin, size) for begin in range(0, length, size))


def _steady_share(part: Sequence[Seen]) -> float | None:
    requests = sum(each.tick.source.requests + each.tick.target.requests for each in part if each.tick is not None)
    return (observed_share(part) or 0.0) if requests >= _STEADY_REQUESTS else None
