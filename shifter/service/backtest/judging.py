"""What a policy would have said of each tick.

The judgement and the decision are the service's own (`gather`, `decide`). What is different is that the share does not
follow them: what was recorded went at the share that it had then. So a range is judged at one share, as if it had been
verified when the range begins, and to go on or back is told and changes nothing. After "go back" the next attempt
begins anew once the question's `rest` is over: what is wrong is wrong for a while, and to say so in every tick would
tell nothing. An incident of the source that is not over by then is no reason for another step back, as in the service.

What only the balancer knows is not said: it is taken to show every member healthy, and every approval to be given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from shifter.core.analysis.learning import History
from shifter.core.analysis.standing import at_share, begin, begin_anew
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.counts.evidence import Ledger
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Decision, Kind
from shifter.core.deciding.gathering import Terms, gather, metrics_for
from shifter.core.deciding.holds import HoldKind
from shifter.core.phases import Phase
from shifter.service.backtest.recording import Learnt, Question, Seen
from shifter.service.imagined import place_at, routes_at

FIRST_ATTEMPT: Final = 1
"""Every attempt is judged like a first one, with the whole error probability of the policy."""

_STEADY_PARTS: Final = 12
_STEADY_REQUESTS: Final = 100.0
_UNSTEADY_POINTS: Final = 5.0


class Word(StrEnum):
    """What is made of one instant. `failing`: it would go back, but the policy says that a person must order it."""

    ADVANCE = "advance"
    HOLD = "hold"
    FAILING = "failing"
    STEP_BACK = "stepBack"
    ROLLBACK = "rollback"


_ENDING: Final = frozenset({Word.FAILING, Word.STEP_BACK, Word.ROLLBACK})
"""What ends an attempt."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the policy would have said at one instant.

    `reason` is the decision's sentence. `harm` are the odds against the target and `bounds` U by metric (percent), both
    None while nothing can be judged.
    """

    at: datetime
    word: Word
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
    """One attempt after another, decided tick by tick at one share, as the service would; without a cloud or people.

    Args:
        question: policy and fleet.
        history: what the source was like.
        share: percent, above 0.
        began: when the share is taken to have been verified.
        split_by_request: the share is known to be that of the requests, so that what does not arrive is lost. If it is
            only observed, the ratio is taken as it comes, of ticks merged until it says something.
    """

    def __init__(
        self, question: Question, history: History, share: float, began: datetime, *, split_by_request: bool
    ) -> None:
        self._timing = question.fleet.spec.timing
        self._terms = Terms(question.lessons, question.edges_ms, split_by_request)
        self._routes = routes_at(question.policy, share, split_by_request=split_by_request)
        self._state = place_at(question.policy, share, self._routes, began)
        self._metrics = metrics_for(self._state, history)
        self._standing = at_share(begin(self._metrics, history, FIRST_ATTEMPT), self._metrics, share)
        self._ledger = Ledger()

    def see(self, seen: Seen) -> None:
        """Add what was counted at one instant, if anything was."""
        if seen.tick is None:
            return
        self._ledger = self._ledger.add(seen.tick)
        gathered = gather(self._standing, self._state, self._ledger, whole=True, terms=self._terms)
        self._standing = self._standing if gathered is None else gathered.standing

    def decide(self, seen: Seen) -> Decision:
        """Return what is decided after one more instant."""
        self.see(seen)
        evidence = Evidence(
            views=self._routes,
            ledger=self._ledger,
            leader=True,
            max_age=self._timing.sample_max_age,
            tick=self._timing.tick,
            signal_problem=seen.problem,
            standing=self._standing,
            settled_at=self._state.verified_at,
        )
        return decide(self._state, evidence, seen.at)

    def begin_anew(self, at: datetime) -> None:
        """Begin the next attempt: nothing is known of the target any more."""
        self._state = self._state.model_copy(update={"verified_at": at})
        self._standing = begin_anew(self._standing, self._metrics, FIRST_ATTEMPT)
        self._ledger = self._ledger.new_share()

    def say(self, seen: Seen) -> Said:
        """Return what would have been said at one more instant."""
        decision = self.decide(seen)
        known = {each.metric: each.bound for each in decision.assessment.findings if each.bound is not None}
        bounds = {metric.name: known[metric.name] for metric in self._metrics} if known else None
        return Said(seen.at, word_of(decision), decision.reason, decision.assessment.harm, bounds)


def word_of(decision: Decision) -> Word:
    """Return a decision of a shift that was at a share without a ceiling, in a word."""
    if decision.state.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}:
        return Word.ROLLBACK
    if decision.state.ceiling is not None:
        return Word.STEP_BACK
    if any(hold.kind is HoldKind.FAILING for hold in decision.holds):
        return Word.FAILING
    return Word.ADVANCE if decision.kind is Kind.ADVANCE else Word.HOLD


def judged(question: Question, known: Learnt, found: Sequence[Seen]) -> Outcome:
    """Return what the policy would have said about every instant, at one share."""
    share = question.share if question.share is not None else observed_share(found)
    if share is None:
        why = "istio answered no request of it in this range, so there is nothing to judge but tcm"
        return Outcome(None, (), (why,))
    trial = Trial(question, known.history, share, known.begin, split_by_request=question.share is not None)
    said: list[Said] = []
    over: Said | None = None
    for each in found:
        if over is not None and each.at - over.at < question.rest:
            trial.see(each)
            said.append(replace(over, at=each.at, harm=None, bounds=None))
            continue
        if over is not None:
            trial.begin_anew(each.at)
        said.append(trial.say(each))
        over = said[-1] if said[-1].word in _ENDING else None
    return Outcome(share, tuple(said), tuple(_remarks(question, found, share)))


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
