"""Whether the decision on arrays is the shipped one: both see the same traffic, tick by tick.

The scalar side goes through everything the service uses (`Gathering`, `decide`, `journal`), with a provider that obeys
and shows every write at once. Raw answers go in, so that judging and counting are compared as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from shifter.core.balancing.splits import MAX_WEIGHT, Health, Member, RouteView, Side
from shifter.core.counts.evidence import INFINITY_MS, Answer, Answers, Ledger, SideCounts, Tick
from shifter.core.deciding import journal
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.decision import Write
from shifter.core.deciding.gathering import Terms
from shifter.core.documents.fleet import Lessons
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.state import ShiftState
from shifter.service.gathering import Gathering
from shifter.service.observe import Counted
from tests.bench.analysis.measure import seed_of
from tests.bench.analysis.rules import COMPLETED, ROLLED_BACK, RUNNING
from tests.bench.analysis.scenarios import SCENARIOS, Scenario
from tests.bench.analysis.shifter_rule import AUTO, MAX_AGE, ON_FLAGGERS_LADDER, Shifter
from tests.bench.analysis.world import EDGES_MS, TICK_SECONDS, Arm, Seen, World

TICK: Final = timedelta(seconds=TICK_SECONDS)
NOON: Final = datetime(2026, 3, 4, 12, tzinfo=UTC)
HISTORY_TICKS: Final = 40
TERMS: Final = Terms(Lessons(), EDGES_MS)
STATUSES: Final = {RUNNING: Phase.SHIFTING, ROLLED_BACK: Phase.ROLLED_BACK, COMPLETED: Phase.COMPLETED}
_CODES: Final = ("302", "401", "403", "404")
_OLD, _NEW = "old", "new"


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of trajectories: a scenario under one traffic and one policy."""

    scenario: Scenario
    rate: float
    base: float
    policy: ShiftPolicy
    seed: int


@dataclass(frozen=True, slots=True)
class Compared:
    """How many trajectories and ticks were compared, and what differed."""

    trajectories: int
    ticks: int
    differences: tuple[str, ...]


class Scalar:
    """One migration as the service would carry it: a shift at 0 % that has read its past."""

    def __init__(self, policy: ShiftPolicy, scenario: Scenario) -> None:
        [route] = policy.routes
        members = (
            Member(_OLD, Side.SOURCE, MAX_WEIGHT, Health.ALIVE),
            Member(_NEW, Side.TARGET, 0, Health.ALIVE),
        )
        self._views = {route.id: RouteView(route, members, split_by_request=not scenario.sticky)}
        self._terms = replace(TERMS, split_by_request=not scenario.sticky)
        self._seen = Gathering()
        self._now = NOON
        self.state = ShiftState(
            name=policy.name,
            policy=policy,
            since=NOON,
            weights={route.id: {_OLD: MAX_WEIGHT, _NEW: 0}},
            verified_at=NOON,
            attempt=scenario.attempt,
        )

    def learn(self, past: Sequence[Counted]) -> None:
        """Take over the past, as after a start; the newest tick of it is the first that is seen."""
        *before, newest = past
        self._seen.ledger = Ledger(tuple(_tick(self.state, each) for each in before))
        self._now = newest.at
        self.step(newest)

    def step(self, shown: Counted | None, *, gone: bool = False) -> None:
        """Let one tick pass, then decide, and let the write be in force at once."""
        self._seen.add(self.state, shown, self._views, self._terms, self._now)
        self._decide(gone=gone)
        if self.state.phase is Phase.ROLLING_BACK:
            # From 100 % it goes by way of 1.
            self._decide(gone=gone)

    def _decide(self, *, gone: bool) -> None:
        evidence = Evidence(
            views=self._views,
            ledger=self._seen.ledger,
            leader=True,
            max_age=MAX_AGE,
            tick=TICK,
            target_unseen=gone,
            standing=self._seen.standing,
            settled_at=self._seen.settled_at,
        )
        decision = decide(self.state, evidence, self._now)
        self.state = decision.state
        if decision.write is not None:
            self._carry_out(decision.write)

    def after(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)

    @property
    def now(self) -> datetime:
        return self._now

    def _carry_out(self, write: Write) -> None:
        intent = write.intent(self.state.sequence + 1, 1, self._now, TICK)
        self._views = {
            route: replace(
                view, members=tuple(replace(m, weight=write.weights[route].get(m.key, m.weight)) for m in view.members)
            )
            for route, view in self._views.items()
        }
        state = self.state.model_copy(update={"intent": intent, "sequence": intent.sequence})
        self.state = journal.done(state, intent, self._views, self._now)
        self._seen.forget_ticks()


def _tick(state: ShiftState, shown: Counted) -> Tick:
    gathering = Gathering()
    gathering.add(state, shown, None, TERMS, shown.at)
    return gathering.ledger.ticks[-1]


def compare(trial: Trial, trials: int, ticks: int, on_arrays: ShiftPolicy | None = None) -> Compared:
    """Let both forms carry the same migrations for so many ticks, and return where they first went different ways.

    `on_arrays`: another policy for the arrays, to see that a difference is noticed.
    """
    world = World(trial.scenario, trial.rate, trial.base, trials, trial.seed)
    past = [world.tick(np.zeros(trials), before=True) for _ in range(HISTORY_TICKS)]
    vector = Shifter(trials, on_arrays or trial.policy, trial.scenario)
    vector.learn(past)
    vector.begin()
    scalars = [Scalar(trial.policy, trial.scenario) for _ in range(trials)]
    for index, scalar in enumerate(scalars):
        scalar.learn([counted(seen, index, NOON + number * TICK) for number, seen in enumerate(past, start=1)])
    found: list[str] = []
    compared, open_ = 0, set(range(trials))
    for number in range(ticks):
        found += list(_different(vector, scalars, open_, f"{trial.scenario.name}, seed {trial.seed}, tick {number}"))
        open_ -= {index for index in open_ if vector.status[index] != RUNNING}
        if found or not open_:
            break
        seen = world.tick(vector.share.copy())
        vector.step(seen)
        for index in sorted(open_):
            scalars[index].after(TICK_SECONDS)
            shown = counted(seen, index, scalars[index].now) if seen.seen[index] else None
            scalars[index].step(shown, gone=bool(seen.target_gone[index]))
            compared += 1
    return Compared(trials, compared, tuple(found))


def _different(vector: Shifter, scalars: Sequence[Scalar], open_: set[int], where: str) -> Iterator[str]:
    for index in sorted(open_):
        state = scalars[index].state
        share, phase = round(100 * float(vector.share[index]), 6), STATUSES[int(vector.status[index])]
        # A way back is written at once, and seen to be through one tick later.
        is_same_phase = phase is state.phase or (phase is Phase.ROLLED_BACK and state.phase is Phase.ROLLING_BACK)
        is_before = state.phase is Phase.WAITING and share == 0
        if share != state.share or not (is_same_phase or is_before):
            yield f"{where}, trial {index}: arrays {share:g} % {phase}, decide {state.share:g} % {state.phase}"


def counted(seen: Seen, index: int, at: datetime) -> Counted:
    """Return one trial's tick as the service's metrics would show it."""
    source, half, target = (_answers(arm, index) for arm in (seen.source, seen.half, seen.target))
    nobody = Answers()
    return Counted(
        at,
        TICK_SECONDS,
        SideCounts({"shop": source}, nobody, first_half={"shop": half}),
        SideCounts({"shop": target}, nobody),
    )


def _answers(arm: Arm, index: int) -> Answers:
    requests, bad = float(arm.requests[index]), float(arm.bad[index])
    others = {Answer(code): float(number) for code, number in zip(_CODES, arm.kinds[:, index], strict=True)}
    good = requests - bad - sum(others.values())
    buckets = [(edge, requests - float(slow)) for edge, slow in zip(EDGES_MS, arm.above[:, index], strict=True)]
    by_answer = {Answer("200"): good, Answer("503"): bad, **others}
    return Answers(by_answer, (*buckets, (INFINITY_MS, requests)))


def random_trials(count: int, seed: int) -> Iterator[Trial]:
    """Yield so many sets of trajectories: every scenario in turn, at random rates, base errors and policies."""
    rng = np.random.default_rng(seed)
    usual = [each for each in SCENARIOS if each.held_share is None]
    for number in range(count):
        yield Trial(
            scenario=usual[number % len(usual)],
            rate=float(10 ** rng.uniform(-0.7, 3.4)),
            base=float(rng.choice([0.0, 0.001, 0.01, 0.05])),
            policy=ON_FLAGGERS_LADDER if rng.uniform() < 0.2 else AUTO,
            seed=seed_of("same decisions", seed, number),
        )
