"""The shipped decision for many trials at once.

What `decide.py`, `retreat.py` and `settling.py` make of a standing, on the way of a migration that nobody disturbs: no
person, no write that fails, no drift. The share is in force and read back at once (see `world.py`), so that what is
left of settling is whether the metrics show it. `test_same_decisions.py` holds this against `decide` itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

import numpy as np

from shifter.core.analysis.assess import SUSPECTED, alpha_of
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.deciding.gathering import RELEARN_TICKS
from shifter.core.deciding.retreat import ACQUITTED_TICKS, NEWEST_TICKS, PROBE_TICKS
from shifter.core.deciding.settling import _DEVIATIONS, ALLOWANCE_PERCENT, CLIENTS, SAMPLE_REQUESTS
from shifter.core.documents.policy import ShiftPolicy
from tests.bench.analysis.permit_arrays import dead, loses_traffic, permits
from tests.bench.analysis.rules import COMPLETED, ROLLED_BACK, RUNNING, Columns, Rule, Run
from tests.bench.analysis.scenarios import Scenario
from tests.bench.analysis.standing_arrays import Standing, Sums, learn
from tests.bench.analysis.world import TICK_SECONDS, Flags, Floats, Seen

MAX_AGE: Final = timedelta(seconds=45)
"""The default `sampleMaxAge`: evidence older than this is no signal."""

_SHOWN_TICKS: Final = 64
_NEVER: Final = -1.0


def a_policy(**spec: Any) -> ShiftPolicy:  # noqa: ANN401 - any field of a policy
    """Return the policy of the bench: everything as when omitted, but for what is given."""
    clb = {
        "region": "ap-guangzhou",
        "loadBalancer": "lb-1",
        "routes": ({"listener": "lbl-1", "domain": "shop.example.com", "url": "/"},),
        "source": {"port": 30080},
        "target": {"port": 31080},
    }
    document = {"namespace": "shop", "traffic": {"clb": clb}, "steps": "auto", "soak": "30s"}
    return ShiftPolicy.model_validate({"kind": "ShiftPolicy", "metadata": {"name": "shop"}, "spec": document | spec})


AUTO: Final = a_policy()
ON_FLAGGERS_LADDER: Final = a_policy(steps=(10, 20, 30, 40, 50, 100), soak="1m", analysis={"hold": "1m"})


def held_at(share: float) -> ShiftPolicy:
    """Return a policy that keeps one share for days: a soak is never cut short."""
    return a_policy(steps=(FULL_PERCENT * share, 100), soak="7d")


class Settling(Columns):
    """Whether the metrics show the share in force, and how many ticks have soaked since; see `settling.py`."""

    def __init__(self, trials: int, *, by_request: bool) -> None:
        self._most_telling = np.inf if by_request else float(CLIENTS)
        self._contradicted = 2.0 if by_request else 1.0
        self.settled = np.zeros(trials, dtype=np.bool_)
        self.soaked_ticks = np.zeros(trials)
        self.shown = np.zeros((_SHOWN_TICKS, 2, trials))

    def restart(self, which: Flags) -> None:
        """Begin anew where the share has changed."""
        self.settled = self.settled & ~which
        self.soaked_ticks = np.where(which, 0.0, self.soaked_ticks)
        self.shown = np.where(which, 0.0, self.shown)

    def add(self, share: Floats, seen: Seen) -> None:
        """Add one tick at these shares (percent)."""
        newest = np.stack([seen.target.requests, seen.source.requests])[None]
        self.shown = np.where(seen.seen, np.concatenate([newest, self.shown[:-1]]), self.shown)
        # What showed the share was gathered at it, and counts as soaked; what came before a doubt does not.
        self.soaked_ticks = self.soaked_ticks + seen.seen
        part = share / FULL_PERCENT
        so_far = self.shown.cumsum(axis=0)
        total = so_far.sum(axis=1)
        enough = total >= SAMPLE_REQUESTS
        last = np.where(enough.any(axis=0), enough.argmax(axis=0), _SHOWN_TICKS - 1)[None]
        requests = np.take_along_axis(total, last, axis=0)[0]
        target = np.take_along_axis(so_far[:, 0], last, axis=0)[0]
        some = np.maximum(requests, 1.0)
        off = np.abs(FULL_PERCENT * target / some - share)
        telling = np.minimum(some, self._most_telling)
        tolerated = FULL_PERCENT * _DEVIATIONS * np.sqrt(part * (1 - part) / telling) + ALLOWANCE_PERCENT
        lost = self.settled & (requests > 0) & (off > self._contradicted * tolerated)
        self.settled = (self.settled & ~lost) | (~(self.settled & ~lost) & (requests > 0) & (off <= tolerated))
        self.soaked_ticks = np.where(lost, 0.0, self.soaked_ticks)


class Shifter(Run):
    """`decide` on many trials; `share` is the part 0..1, everything inside is in percent as in the core."""

    def __init__(self, trials: int, policy: ShiftPolicy, scenario: Scenario | None = None) -> None:
        super().__init__(trials)
        self._by_request = scenario is None or not scenario.sticky
        self._spec = policy.spec
        self._soak_ticks = policy.spec.soak.total_seconds() / TICK_SECONDS
        self._standing: Standing | None = None
        self._sums = Sums(trials)
        self._attempt = np.full(trials, 1 if scenario is None else scenario.attempt)
        self._ceiling = np.full(trials, _NEVER)
        self._settling = Settling(trials, by_request=self._by_request)
        self._silent_seconds = np.full(trials, np.inf)

    @property
    def standing(self) -> Standing:
        """Where every trial stands; only after history."""
        assert self._standing is not None
        return self._standing

    @property
    def percent(self) -> Floats:
        return self.standing.share

    def learn(self, history: Iterable[Seen]) -> None:
        """Learn the source from its past, as after a start; the newest tick is the first that is judged."""
        newest = None
        for newest in history:
            self._sums.add(newest, newest.seen)
        assert newest is not None
        self._standing = Standing(learn(self._sums), by_request=self._by_request)
        self.standing.advance(newest)

    def begin(self) -> None:
        granted, step = self._permits(np.ones(len(self.share)))
        self._go_to(np.where(granted & ~self.standing.is_sick, step, 0.0))

    def _judge(self, seen: Seen) -> None:
        standing = self.standing
        running = self.status == RUNNING
        self._relearn(seen, running & seen.seen & (standing.share == 0))
        standing.advance(seen)
        self._settling.add(standing.share, seen)
        self._silent_seconds = np.where(seen.seen, 0.0, self._silent_seconds + TICK_SECONDS)
        self._acquit()
        heard = running & (self._silent_seconds <= MAX_AGE.total_seconds())
        harm = standing.wealth.harm(standing.tests)
        failed = heard & self._fails(harm)
        probed = heard & ~failed & self._began_with_a_step()
        free = heard & ~failed & ~standing.is_sick & (self._ceiling < 0) & (harm < SUSPECTED)
        soaked = self._settling.settled & (self._settling.soaked_ticks >= self._soak_ticks)
        free = free & (soaked | (standing.share == 0))
        granted, step = self._permits(harm) if free.any() else (free, standing.share)
        climbing = free & granted
        below = self._step_below()
        # A step back from the first rung is a way back to 0.
        self._end(failed | (probed & (below <= 0)), ROLLED_BACK)
        self._end(climbing & (step < 0), COMPLETED)
        share = np.where(climbing & (step > 0), step, standing.share)
        back = probed & (below > 0)
        if back.any():
            self._ceiling = np.where(back, standing.share, self._ceiling)
            self._attempt = self._attempt + back
            standing.begin_anew(back)
        self._go_to(np.where(back, below, share))

    def _relearn(self, seen: Seen, waiting: Flags) -> None:
        """Before the first step, history grows with every tick and is learnt anew from time to time."""
        if waiting.any():
            self._sums.add(seen, waiting)
            ticks = self.standing.ticks.astype(np.int64)
            due = waiting & ((ticks % RELEARN_TICKS == 0) | (ticks & (ticks - 1) == 0))
            if due.any():
                self.standing.relearn(learn(self._sums), due)

    def _fails(self, harm: Floats) -> Flags:
        standing = self.standing
        alpha = self._alphas()
        return np.asarray(dead(standing) | loses_traffic(standing, alpha) | (harm >= 1 / alpha), dtype=np.bool_)

    def _acquit(self) -> None:
        """Lift the ceiling of who stepped back while the incident went on: the step was not its cause."""
        standing = self.standing
        probed = standing.is_sick & (standing.sick_after < 0)
        goes_on = probed & (standing.ticks >= ACQUITTED_TICKS) & standing.shows_incident(NEWEST_TICKS)
        self._ceiling = np.where(goes_on & (standing.share < self._ceiling), _NEVER, self._ceiling)

    def _began_with_a_step(self) -> Flags:
        """Return where both sides are bad, and since a moment after a step."""
        standing = self.standing
        soon = (standing.sick_after >= 0) & (standing.sick_after <= PROBE_TICKS) & (standing.well_ticks == 0)
        return np.asarray(standing.is_sick & soon & standing.shares_incident & (standing.share > 0), dtype=np.bool_)

    def _alphas(self) -> Floats:
        by_attempt = [
            alpha_of(self._spec.analysis, attempt) for attempt in range(1, int(self._attempt.max(initial=1)) + 1)
        ]
        return np.asarray(np.array(by_attempt)[self._attempt - 1], dtype=np.float64)

    def _permits(self, harm: Floats) -> tuple[Flags, Floats]:
        return permits(self.standing, harm, self._alphas(), self._spec)

    def _step_below(self) -> Floats:
        rungs = np.array((0.0, *self._spec.ladder))[:, None]
        return np.asarray(np.where(rungs < self.standing.share, rungs, 0.0).max(axis=0), dtype=np.float64)

    def _go_to(self, percent: Floats) -> None:
        """The share is in force and verified at once; what was counted before says nothing about it."""
        standing = self.standing
        changed = percent != standing.share
        self._settling.restart(changed)
        self._silent_seconds = np.where(changed, np.inf, self._silent_seconds)
        standing.at_share(percent)
        self.share = np.where(self.status == RUNNING, percent / FULL_PERCENT, self.share)


def _started(trials: int, scenario: Scenario) -> Shifter:
    policy = AUTO if scenario.held_share is None else held_at(scenario.held_share)
    return Shifter(trials, policy, scenario)


SHIFTER: Final = Rule("shifter", "the default policy, steps: auto", _started, needs_history=True)
LADDER: Final = Rule(
    "shifter_ladder",
    "10, 20 .. 50 %, a minute each, as Flagger climbs",
    lambda trials, scenario: Shifter(trials, ON_FLAGGERS_LADDER, scenario),
    needs_history=True,
)
