"""Traffic that never was: what both meshes' gateways would count in a tick, in a scenario, by chance.

Pure: chance is an argument, and the same seed gives the same traffic. Requests arrive by themselves (Poisson), each is
sent by the share, fails by itself, and takes a time that is log-normal, as those of web services about are. One
request at a time would be slow at thousands per second, so counts are drawn: exactly where they are small, and from
the normal distribution with the same mean and variance where they are large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.counts.evidence import INFINITY_MS, Answer, Answers


class Chance(Protocol):
    """Where chance comes from; `random.Random` is one."""

    def random(self) -> float:
        """Return a number in [0, 1), each as likely as the other."""

    def gauss(self, mu: float, sigma: float) -> float:
        """Return a normal number."""

    def expovariate(self, lambd: float) -> float:
        """Return an exponential number of mean 1 / `lambd`."""


MEDIAN_MS: Final = 40.0
"""Half of the requests are faster. With `SPREAD` one in a hundred takes longer than 257 ms."""

SPREAD: Final = 0.8
"""The standard deviation of the logarithm of a request's time."""

PAIR_BAD: Final = 0.001
"""The part (0..1) of every custom pair that is bad, on both sides: no scenario says anything of them."""

MOST_ERRORS: Final = 0.95
"""No rate of errors is multiplied beyond this."""

_LARGE: Final = 30.0
"""From so many expected events on, a count is drawn from the normal distribution."""

_OUTAGE_SECONDS: Final = (180.0, 480.0)
_OUTAGE_RATE: Final = 0.3
_OVERLOADED_PERCENT: Final = 50.0
_OVERLOAD_RATE: Final = 0.1

WELL: Final = Answer("200")
"""What a gateway gives that does not fail."""

FAILED: Final = Answer("503")
"""What one gives that does; whether that is a failure is the policy's to say."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is wrong. `errors` is the target's rate of errors as a multiple of the source's, `slowness` of its times.

    `dead`: everything that the target answers fails. `outage`: both meshes fail for five minutes. `overload`: the
    target fails more once it has over half of the traffic.
    """

    says: str
    errors: float = 1.0
    slowness: float = 1.0
    dead: bool = False
    outage: bool = False
    overload: bool = False


SCENARIOS: Final = MappingProxyType(
    {
        "clean": Scenario("istio is as good as tcm"),
        "worse-x2": Scenario("istio fails twice as often as tcm", errors=2),
        "worse-x5": Scenario("istio fails five times as often as tcm", errors=5),
        "worse-x20": Scenario("istio fails twenty times as often as tcm", errors=20),
        "dead": Scenario("everything that istio answers fails", dead=True),
        "slow": Scenario("istio takes three times as long as tcm", slowness=3),
        "both-fail": Scenario("both meshes fail 30 % of requests from minute 3 to minute 8", outage=True),
        "capacity": Scenario("istio fails 10 % more requests above a share of 50 %", overload=True),
    }
)


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked of both meshes together, and how much of it fails without any scenario (a rate, 0..1).

    `edges_ms` are the finite bucket edges of the latency histograms, ascending. `pairs` are the custom pairs of
    counters that there are, by name: each counts every request, of which `PAIR_BAD` is bad.
    """

    requests_per_second: float
    base_errors: float
    edges_ms: Sequence[float]
    pairs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """What the gateways counted in one tick: of the source by two halves of its pods, and of the target."""

    first_half: Answers
    second_half: Answers
    target: Answers


def one_tick(scenario: Scenario, load: Load, span: tuple[float, float], share: float, chance: Chance) -> Counted:
    """Return what is counted in one tick.

    Args:
        scenario: what is wrong.
        load: how much is asked.
        span: when the tick begins and ends, seconds since the simulation began.
        share: what the target gets, percent.
        chance: where chance comes from.
    """
    arrived = poisson(load.requests_per_second * (span[1] - span[0]), chance)
    to_target = binomial(arrived, share / FULL_PERCENT, chance)
    to_first = binomial(arrived - to_target, 0.5, chance)
    source_rate, target_rate = error_rates(scenario, load.base_errors, span[0], share)
    slow = MEDIAN_MS * scenario.slowness
    return Counted(
        first_half=_answered(to_first, source_rate, MEDIAN_MS, load, chance),
        second_half=_answered(arrived - to_target - to_first, source_rate, MEDIAN_MS, load, chance),
        target=_answered(to_target, target_rate, slow, load, chance),
    )


def error_rates(scenario: Scenario, base: float, at_seconds: float, share: float) -> tuple[float, float]:
    """Return the rates (0..1) at which source and target fail, at a time and a share (percent)."""
    source = base
    if scenario.outage and _OUTAGE_SECONDS[0] <= at_seconds < _OUTAGE_SECONDS[1]:
        source = _OUTAGE_RATE
    target = max(source, min(MOST_ERRORS, scenario.errors * source))
    if scenario.overload and share > _OVERLOADED_PERCENT:
        target = min(1.0, target + _OVERLOAD_RATE)
    return source, 1.0 if scenario.dead else target


def _answered(requests: int, error_rate: float, median_ms: float, load: Load, chance: Chance) -> Answers:
    bad = binomial(requests, error_rate, chance)
    buckets: list[tuple[float, float]] = []
    upto, part = 0, 0.0
    for edge in load.edges_ms if requests else ():
        below = faster(edge, median_ms)
        # Of those that took longer than the edge before, each is below this one by itself.
        upto += binomial(requests - upto, (below - part) / (1 - part) if part < 1 else 0.0, chance)
        part = below
        buckets.append((edge, float(upto)))
    if buckets:
        buckets.append((INFINITY_MS, float(requests)))
    counts = {WELL: float(requests - bad), FAILED: float(bad)}
    pairs = {name: (float(binomial(requests, PAIR_BAD, chance)), float(requests)) for name in load.pairs if requests}
    return Answers({answer: count for answer, count in counts.items() if count}, tuple(buckets), pairs)


def faster(edge_ms: float, median_ms: float) -> float:
    """Return the part of the requests (0..1) that take at most `edge_ms`."""
    return 0.5 * (1 + math.erf(math.log(edge_ms / median_ms) / (SPREAD * math.sqrt(2))))


def poisson(mean: float, chance: Chance) -> int:
    """Return how many events there are where `mean` are expected, each by itself."""
    if mean >= _LARGE:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    count, at = 0, chance.expovariate(1.0)
    while at <= mean:
        count, at = count + 1, at + chance.expovariate(1.0)
    return count


def binomial(trials: int, probability: float, chance: Chance) -> int:
    """Return how many of so many trials succeed, each with this probability (0..1)."""
    if probability > 0.5:  # noqa: PLR2004 - the rarer outcome is counted
        return trials - binomial(trials, 1 - probability, chance)
    if trials <= 0 or probability <= 0:
        return 0
    mean = trials * probability
    if mean >= _LARGE:
        return min(trials, max(0, round(chance.gauss(mean, math.sqrt(mean * (1 - probability))))))
    # From success to success: the trials up to the next one are geometric.
    count, at, scale = 0, 0.0, math.log1p(-probability)
    while (at := at + math.floor(math.log(1.0 - chance.random()) / scale) + 1) <= trials:
        count += 1
    return count
