"""A migration that never was: the service's own decisions, tick by tick, over traffic from a generator.

What decides is `core/deciding/decide.py`, and what gathers evidence is the service's `Gathering`: nothing of the
judgement is written twice. What is left out is the world: every write is in force after `WRITE_SECONDS`, every scrape
is there and on time, and gates are approved at once. So this shows what a policy is like at its best.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from shifter.core.analysis.measures import rules_of
from shifter.core.balancing.splits import RouteView
from shifter.core.counts.answers import counts_of
from shifter.core.counts.evidence import Answers, SideCounts
from shifter.core.deciding import journal
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Write
from shifter.core.deciding.gathering import Terms, still_lacking
from shifter.core.documents.fleet import Timing
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.forecasts.simulation import FAILED, WELL, Load, Scenario, error_rates, one_tick
from shifter.core.forecasts.simulation import Counted as Drawn
from shifter.core.phases import Phase
from shifter.service.gathering import Gathering
from shifter.service.imagined import place_at, routes_at
from shifter.service.observe import Counted

WRITE_SECONDS: Final = 5.0
"""A balancer takes a few seconds to carry a write out."""

BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When every rehearsal begins: which day it is changes nothing."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One tick, after its decision.

    `seconds` is since the beginning; `share` what the target got in the tick (percent); `wanted` what it gets from now
    on. `harm` are the odds against the target, None while nothing can be judged. `requests` and `failed` are the
    target's in this tick, by the policy's rules; `excess` is how many of those failed beyond what the source would have
    failed on average.
    """

    seconds: float
    share: float
    wanted: float
    phase: Phase
    reason: str
    harm: float | None
    requests: float
    failed: float
    excess: float


@dataclass(frozen=True, slots=True)
class Cast:
    """What a rehearsal is of: the policy, the clockwork, how evidence is gathered, what is wrong, how much is asked."""

    policy: ShiftPolicy
    timing: Timing
    terms: Terms
    scenario: Scenario
    load: Load


class Rehearsal:
    """One migration, from the first look at the source on. The same chance gives the same migration."""

    def __init__(self, cast: Cast, chance: random.Random) -> None:
        self._cast, self._chance = cast, chance
        self._rules = rules_of(cast.policy.spec.analysis)
        self._views = routes_at(cast.policy, 0)
        self._state = place_at(cast.policy, 0, self._views, BEGIN)
        self._seen = Gathering()
        self._now = BEGIN

    def moments(self, most_ticks: int) -> Iterator[Moment]:
        """Yield every tick until the shift has arrived, went back, or so many are over."""
        for _ in range(most_ticks):
            yield self._tick()
            if self._state.phase in {Phase.COMPLETED, Phase.ROLLED_BACK}:
                return

    def _tick(self) -> Moment:
        began, share = self._now, self._share()
        self._now += self._cast.timing.tick
        self._finish(began)
        span = (began - BEGIN).total_seconds(), (self._now - BEGIN).total_seconds()
        drawn = one_tick(self._cast.scenario, self._cast.load, span, share, self._chance)
        self._seen.add(self._state, self._counted(drawn), self._views, self._cast.terms, self._now)
        decision = decide(self._state, self._evidence(), self._now)
        self._state = decision.state
        if decision.write is not None:
            self._write(decision.write)
        requests, failed = self._tally(drawn.target)
        source_rate, _ = error_rates(self._cast.scenario, self._cast.load.base_errors, span[0], share)
        _, expected = self._tally(Answers({WELL: requests * (1 - source_rate), FAILED: requests * source_rate}))
        return Moment(
            seconds=span[1],
            share=share,
            wanted=self._share(),
            phase=self._state.phase,
            reason=decision.reason,
            harm=decision.assessment.harm,
            requests=requests,
            failed=failed,
            excess=failed - expected,
        )

    def _tally(self, answers: Answers) -> tuple[float, float]:
        """Return (requests, failed ones) by the policy's rules."""
        counts = counts_of(answers, self._rules)
        return counts.requests, counts.bad

    def _share(self) -> float:
        """Return what the target gets now, percent; all routes have the same split."""
        return max(view.share or 0.0 for view in self._views.values())

    def _finish(self, began: datetime) -> None:
        """Read back the write that was begun in the tick before, as the service does."""
        if self._state.intent is None:
            return
        verified_at = began + timedelta(seconds=WRITE_SECONDS)
        state = journal.done(self._state, self._state.intent, self._views, verified_at)
        self._seen.forget_ticks()
        self._state = self._seen.saved_with(state)

    def _counted(self, drawn: Drawn) -> Counted:
        namespace = self._cast.policy.namespaces[0]
        span_seconds = self._cast.timing.tick.total_seconds()
        both = drawn.first_half + drawn.second_half
        source = SideCounts({namespace: both}, Answers(), first_half={namespace: drawn.first_half})
        return Counted(self._now, span_seconds, source, SideCounts({namespace: drawn.target}, Answers()))

    def _evidence(self) -> Evidence:
        seen, timing = self._seen, self._cast.timing
        return Evidence(
            views=self._views,
            ledger=seen.ledger,
            leader=True,
            max_age=timing.sample_max_age,
            tick=timing.tick,
            standing=seen.standing,
            lacking=still_lacking(seen.standing, self._state, seen.ledger, self._cast.terms),
            settled_at=seen.settled_at,
        )

    def _write(self, write: Write) -> None:
        """Journal a write and let the balancer carry it out."""
        intent = write.intent(self._state.sequence + 1, 1, self._now, self._cast.timing.operation_timeout)
        self._state = self._state.model_copy(update={"intent": intent, "sequence": intent.sequence})
        self._views = self._views | {id_: _weighed(self._views[id_], wanted) for id_, wanted in write.weights.items()}


def _weighed(view: RouteView, weights: Mapping[str, int]) -> RouteView:
    members = (replace(member, weight=weights.get(member.key, member.weight)) for member in view.members)
    return replace(view, members=tuple(members))
