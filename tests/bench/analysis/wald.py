"""How much longer than necessary the evidence takes: requests until detection against Wald's bound.

The share, the base error and the regression are fixed, and only errors differ. No test with error probability alpha
that does not know the common rate can expect to be sure before it has seen

    ln(1 / alpha) / KL(theta1 || theta0)

bad requests (Wald, 1945), where theta is the probability that a bad request is the target's: w x / (w x + 1 - w) at a
share w and x times the source's rate; x0 is what the tolerance allows. An oracle that knows x and w comes near it, and
what it misses is overshoot. Ticks are small here, so that the length of a tick costs nothing and the cap does not act.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from tests.bench.analysis.goals import Goal, at_most
from tests.bench.analysis.measure import seed_of
from tests.bench.analysis.standing_arrays import ANSWERS, HIGH, LOW, METRICS, tests_of_rates
from tests.bench.analysis.wealth_arrays import PRIOR, Cells, Tests, Wealth
from tests.bench.analysis.world import KIND_SHARES, Floats, beyond

ALPHA: Final = 0.01
BASE: Final = 0.01
CASES: Final = tuple((share, factor) for share in (0.05, 0.25, 0.5) for factor in (1.5, 2.0, 5.0, 20.0))
_TICK_PARTS: Final = 200.0
_TICK_EVENTS: Final = 0.05
_LONGEST: Final = 12.0
"""So many times the bound is the longest that is waited."""

_PSEUDO: Final = 20.0
ONE: Final = "one metric"
FULL: Final = "full budget"


@dataclass(frozen=True, slots=True)
class Case:
    """One share (0..1) and one factor, with everything that follows from them."""

    share: float
    factor: float

    @property
    def tolerated(self) -> float:
        margin = METRICS[0].tolerance
        return margin.ratio + margin.rate / BASE

    def theta(self, factor: float) -> float:
        return self.share * factor / (self.share * factor + 1 - self.share)

    @property
    def bound_events(self) -> float:
        one, zero = self.theta(self.factor), self.theta(self.tolerated)
        divergence = one * math.log(one / zero) + (1 - one) * math.log((1 - one) / (1 - zero))
        return math.log(1 / ALPHA) / divergence

    @property
    def requests_per_event(self) -> float:
        """Requests of both sides for one bad one."""
        return 1 / (BASE * (self.share * self.factor + 1 - self.share))

    @property
    def bound_requests(self) -> float:
        """The target's requests at the bound."""
        return self.bound_events * self.requests_per_event * self.share


def detection(trials: int) -> list[dict[str, Any]]:
    """Return one row per case: the bound, and how many times it the oracle and shifter take on average."""
    rows = []
    for share, factor in CASES:
        case = Case(share, factor)
        found = _measured(case, trials)
        rows.append(
            {
                "share": share,
                "regression": f"x{factor:g}",
                "bound, bad requests": case.bound_events,
                "bound, target's requests": case.bound_requests,
                **{name: float(requests.mean()) / case.bound_requests for name, requests in found.items()},
            }
        )
    return rows


def wald_goals(rows: Sequence[Mapping[str, Any]]) -> list[Goal]:
    """Return the goals on detection, decided by the worst case."""
    goals = []
    for name, limit in ((ONE, 1.5), (FULL, 1.8)):
        worst = max(rows, key=lambda row: float(row[name]))
        where = f"share {worst['share']:g}, {worst['regression']}"
        goals.append(at_most(f"detection against Wald's bound, {name}", worst[name], limit, "ratio", where))
    return goals


def _measured(case: Case, trials: int) -> dict[str, Floats]:
    """Return the target's requests until detection, per trial, of the oracle and of both forms of shifter."""
    rng = np.random.default_rng(seed_of("wald", case.share, case.factor))
    events = max(_TICK_EVENTS, case.bound_events / _TICK_PARTS)
    requests = events * case.requests_per_event
    seen, at = np.zeros((2, trials)), {name: np.full(trials, np.nan) for name in ("oracle", ONE, FULL)}
    oracle, wealth, tests = np.zeros(trials), *_known(trials)
    for _ in range(round(_LONGEST * case.bound_events / events)):
        cells = _tick(case, requests, rng, trials, seen)
        seen += np.stack([cells.target[0], cells.source[0]])
        oracle += _oracle(case, cells)
        wealth.add(tests, cells, np.ones(trials, dtype=np.bool_), safety=False)
        wealth.reopen(np.ones(trials, dtype=np.bool_))
        odds = {
            "oracle": np.exp(oracle),
            ONE: (PRIOR[0] * np.exp(wealth.pairs[0][0])).sum(axis=0),
            FULL: wealth.harm(tests),
        }
        for name, value in odds.items():
            at[name] = np.where(np.isnan(at[name]) & (value >= 1 / ALPHA), seen[0], at[name])
        if not any(np.isnan(each).any() for each in at.values()):
            break
    # Who has not been detected by then counts as if detected then: too kind by less than the part that is left.
    return {name: np.where(np.isnan(each), seen[0], each) for name, each in at.items()}


def _known(trials: int) -> tuple[Wealth, Tests]:
    """Return the stakes of the default policy, for a source whose rates are known and whose dispersion is 1."""
    rates = np.array([BASE, beyond(100.0, 1.0), beyond(250.0, 1.0), *KIND_SHARES])
    tests = tests_of_rates(np.broadcast_to(rates[:, None], (len(METRICS), trials)).copy(), requests=1e6)
    return Wealth(tests), replace(tests)


def _tick(case: Case, requests: float, rng: np.random.Generator, trials: int, seen: Floats) -> Cells:
    """Return one small tick; the ratio is pooled over everything so far, as with little traffic."""
    target = rng.poisson(requests * case.share, trials)
    source = rng.poisson(requests * (1 - case.share), trials)
    rates = [BASE, beyond(100.0, 1.0), beyond(250.0, 1.0), *KIND_SHARES]
    factors = [case.factor, *([1.0] * (len(rates) - 1))]
    target_bad = [rng.binomial(target, min(1.0, rate * by)) for rate, by in zip(rates, factors, strict=True)]
    source_bad = [rng.binomial(source, rate) for rate in rates]
    shape = (len(rates), trials)
    pooled = (seen[0] + target + _PSEUDO * case.share) / (seen[1] + source + _PSEUDO * (1 - case.share))
    return Cells(
        target=np.broadcast_to(target.astype(np.float64), shape),
        target_bad=np.array(target_bad, dtype=np.float64),
        source=np.broadcast_to(source.astype(np.float64), shape),
        source_bad=np.array(source_bad, dtype=np.float64),
        ratio=pooled,
        vouched=np.ones(shape, dtype=np.bool_),
        incident=np.zeros(trials, dtype=np.bool_),
        foreseen=np.zeros(trials, dtype=np.bool_),
        steady=np.ones((1, trials), dtype=np.bool_),
    )


def _oracle(case: Case, cells: Cells) -> Floats:
    """Return the log-likelihood ratio of this tick's bad requests: whose they are."""
    one, zero = case.theta(case.factor), case.theta(case.tolerated)
    ours, theirs = math.log(one / zero), math.log((1 - one) / (1 - zero))
    return np.asarray(cells.target_bad[0] * ours + cells.source_bad[0] * theirs, dtype=np.float64)


assert (LOW, HIGH, ANSWERS) == (1, 2, 3)  # the order of the rates above
