"""What a policy leads to before it happens: when each step comes at the soonest, and what it may cost at worst.

Pure arithmetic over the same rules that `deciding/` and `analysis/climbing.py` follow, with every assumption written
down; how soon a target that fails is noticed, and what a step is taken to cost, is asked of the rules
themselves (`worst_case.py`). A number that rests on something nobody measured is no number but a reason
(`Estimate.why`). Rates are taken in four digits and spans in whole seconds, rounded up *before* they are multiplied or
added: whoever reads the numbers and does the sum must come to what is printed.
Times are lower bounds, since holds, people and quiet nights only ever add to them, but for `at_most`; failed requests
are an upper bound under `assumptions`, since that is the question people ask before they agree to a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum
from typing import Final

from shifter.core.analysis.climbing import HOLDBACK_TICKS, LATE_REQUESTS, LATE_TICKS
from shifter.core.analysis.steps import PLATEAU, candidates
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.documents.fleet import Timing
from shifter.core.documents.policy import PolicySpec
from shifter.core.documents.schema import show_duration
from shifter.core.forecasts.worst_case import (
    MOST_TICKS,
    Found,
    Premise,
    Pulse,
    first_cost,
    first_wait_seconds,
    ticks_until_found,
)

LATE_WAKE_SECONDS: Final = 1.0
"""The service wakes once a second, so that a look may come that much after its tick."""

RATE_UNKNOWN: Final = "the rate of requests is unknown"
TIMING_UNKNOWN: Final = "the service's timing is unknown"

_ASSUMPTIONS: Final = (
    "every request to istio fails in a way that `analysis.errors` counts, and tcm is as well as ever",
    "requests come evenly, and its gateway counts them for these namespaces",
    "the service runs, and both datasources answer with samples no older than sampleMaxAge",
    "the cloud carries each write out within operationTimeout; the CLB is not busy with another one",
    "clients with session persistence follow the balancer; a request that waits has not failed",
)
_DUST: Final = 1e-9
_ON_FAILURE: Final = {
    "stepBack": "a dead target goes all the way back, also with onFailure: stepBack; one that fails in part goes one"
    " step down, and the rest goes on failing",
    "hold": "onFailure: hold: somebody is paged, and nothing goes back by itself",
}


def assumptions(spec: PolicySpec) -> tuple[str, ...]:
    """Return what the worst case rests on, for people. Each of them can be false on a bad day."""
    said = _ON_FAILURE.get(spec.on_failure)
    return (*_ASSUMPTIONS, said) if said else _ASSUMPTIONS


class Place(StrEnum):
    """Where a step is on the way. `left out`: a rung of `auto` that the first step is larger than."""

    DONE = "done"
    NOW = "now"
    AHEAD = "ahead"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, or None and the reason why there is none."""

    value: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Clockwork:
    """What of the fleet's timing bounds how fast trouble is seen and undone; seconds, see `fleet.Timing`.

    `settle_seconds` is how long the balancer itself may lag behind new weights.
    """

    tick_seconds: float
    sample_max_age_seconds: float
    read_deadline_seconds: float
    operation_timeout_seconds: float
    settle_seconds: float = 0.0

    @property
    def seen_seconds(self) -> float:
        """How long a counted failure may take to be in front of the guards.

        It is in every sample that is taken after it, and a look takes samples up to `sampleMaxAge` old. Looks are a
        tick apart; one may begin late, when the wake before it waited up to `readDeadline`, and waits as long itself.
        """
        waits = 2 * self.read_deadline_seconds + LATE_WAKE_SECONDS
        return self.sample_max_age_seconds + self.tick_seconds + waits

    @property
    def settles_seconds(self) -> float:
        """How long it takes at most until a tick counts for a share: the balancer's lag, and the tick it came in."""
        return max(self.settle_seconds, self.tick_seconds)


@dataclass(frozen=True, slots=True)
class Outset:
    """Where the way begins: `share` percent is what is in force or is being written, 0 for before all.

    It need not be a step: a person may have set it. `soaked_seconds` of its soak are done; None if it is not even in
    force yet, and must settle as well. `gates` are the shares (percent) that still wait for somebody's approval.
    `ceiling` is the share at which it failed and stepped back, None if it did not. `no_way_back` says why nothing goes
    back by itself; empty if it does. `premise` is what is known, `learns` whether the source is still to be learnt.
    """

    share: float = 0.0
    soaked_seconds: float | None = 0.0
    gates: tuple[float, ...] = ()
    ceiling: float | None = None
    no_way_back: str = ""
    premise: Premise = field(default_factory=Premise)
    learns: bool = False


@dataclass(frozen=True, slots=True)
class StepForecast:
    """One step, or a share in force that is none. Seconds from now for `begins`, else spans.

    `begins`: at the soonest. `stays`: the balancer's lag and soak at least; of the share in force what is left of that.
    `at_most`: how long it is kept for want of proof if nothing is wrong, settling included. `gates`: the shares that
    somebody must approve first. `per_second`: requests on the target. `noticed`: from the first failure until the rules
    that are shipped have failed the shift. `failed`: the most requests that fail. `costs` and `allowed`: what a step
    there from nothing known is taken to cost before it is found out, and the policy's blast radius, in failed requests.
    """

    share: float
    place: Place
    begins: Estimate
    stays: Estimate
    at_most: Estimate
    gates: tuple[float, ...]
    per_second: Estimate
    noticed: Estimate
    failed: Estimate
    costs: Estimate
    allowed: Estimate


@dataclass(frozen=True, slots=True)
class Forecast:
    """All steps and the share in force, by share; and the seconds until the shift can be completed at the soonest."""

    steps: tuple[StepForecast, ...]
    finished: Estimate


def clockwork_of(timing: Timing) -> Clockwork:
    """Return a fleet file's timing as seconds; how far the balancer lags is not in it."""
    return Clockwork(
        timing.tick.total_seconds(),
        timing.sample_max_age.total_seconds(),
        timing.read_deadline.total_seconds(),
        timing.operation_timeout.total_seconds(),
    )


def forecast(spec: PolicySpec, outset: Outset, clockwork: Clockwork | None, rate: float | None) -> Forecast:
    """Return what the steps of a policy lead to.

    Args:
        spec: the policy in force.
        outset: where the shift is, and what is known.
        clockwork: the service's timing; None if nobody told it.
        rate: requests per second of both sides together; None if unknown.
    """
    way = _Way(spec, outset, clockwork, None if rate is None else rounded_up(rate))
    shares = sorted({*spec.ladder, *([outset.share] if outset.share > 0 else [])})
    stays = {share: way.stays(share) for share in shares}
    begins = way.begins(shares, stays)
    found: list[StepForecast] = []
    before = 0.0
    for share in shares:
        place = way.place(share, begins)
        step = way.step(share, place, begins.get(share, Estimate(None)), stays[share])
        if place is not Place.LEFT_OUT:
            gates = tuple(gate for gate in outset.gates if before < gate <= share and place is Place.AHEAD)
            step, before = replace(step, gates=gates), share
        found.append(step)
    return Forecast(tuple(found), _after(begins[shares[-1]], stays[shares[-1]]))


def live_row(
    spec: PolicySpec, share: float, clockwork: Clockwork | None, rate: float | None, *, why: str
) -> StepForecast:
    """Return the row of a share that is live though the way begins at 0 %; nothing takes it back, `why` says."""
    way = _Way(spec, Outset(no_way_back=why), clockwork, None if rate is None else rounded_up(rate))
    return replace(way.step(share, Place.NOW, Estimate(0.0), Estimate(None, why)), at_most=Estimate(None, why))


@dataclass(frozen=True, slots=True)
class _Way:
    """All that the numbers of a step follow from."""

    spec: PolicySpec
    outset: Outset
    clockwork: Clockwork | None
    rate: float | None

    @property
    def pulse(self) -> Pulse | None:
        if self.rate is None or self.clockwork is None:
            return None
        return Pulse(self.rate, self.clockwork.tick_seconds, self.clockwork.operation_timeout_seconds)

    @property
    def unknown(self) -> str:
        """Why there is no pulse."""
        return TIMING_UNKNOWN if self.clockwork is None else RATE_UNKNOWN

    def per_second(self, share: float) -> Estimate:
        if self.rate is None:
            return Estimate(None, RATE_UNKNOWN)
        return Estimate(rounded_up(self.rate * share / FULL_PERCENT))

    def place(self, share: float, begins: dict[float, Estimate]) -> Place:
        if share == self.outset.share:
            return Place.NOW
        if share < self.outset.share:
            return Place.DONE
        return Place.AHEAD if share in begins else Place.LEFT_OUT

    def step(self, share: float, place: Place, begins: Estimate, stays: Estimate) -> StepForecast:
        behind = place in {Place.DONE, Place.LEFT_OUT}
        noticed = Estimate(None, str(place)) if behind else self.noticed(share)
        costs, allowed = self.blast(share)
        return StepForecast(
            share=share,
            place=place,
            begins=Estimate(None, str(place)) if behind else begins,
            stays=stays,
            at_most=self.at_most(share),
            gates=(),
            per_second=self.per_second(share),
            noticed=noticed,
            failed=self.failed(share, noticed),
            costs=costs,
            allowed=allowed,
        )

    # -- time ----------------------------------------------------------------------------------------------------

    def begins(self, shares: list[float], stays: dict[float, Estimate]) -> dict[float, Estimate]:
        """Return when each share can begin at the soonest; a rung that no way leads over is not in it."""
        ceiling, start = self.outset.ceiling, self.outset.share
        found: dict[float, Estimate] = dict(self.first()) if start <= 0 else {start: Estimate(0.0)}
        for share in shares:
            if share not in found:
                continue
            for step in candidates(self.spec.ladder, share, None, auto=not self.spec.steps):
                after = _after(found[share], stays[share])
                if ceiling is not None and step >= ceiling:
                    failed = f"it failed at {ceiling:g} % and stepped back: not reached again before a retry"
                    after = Estimate(None, failed)
                if step not in found or _soonness(after) < _soonness(found[step]):
                    found[step] = after
        return found

    def first(self) -> dict[float, Estimate]:
        """Return which steps may come first and when: with history learnt, as large as the blast radius allows."""
        spec, premise, pulse = self.spec, self.outset.premise, self.pulse
        steps = candidates(spec.ladder, 0.0, None, auto=not spec.steps)
        learnt = self.learning_seconds()
        if pulse is None:
            return dict.fromkeys(steps, Estimate(learnt))
        waits = [(step, first_wait_seconds(spec, premise, pulse, step)) for step in steps]
        step = max((step for step, wait in waits if wait == 0), default=steps[0])
        return {step: Estimate(_whole(learnt + dict(waits)[step]))}

    def learning_seconds(self) -> float:
        """Return how long it takes at least to learn what the source is like."""
        lessons, clockwork = self.outset.premise.lessons, self.clockwork
        if not self.outset.learns or clockwork is None:
            return 0.0
        ticks = lessons.least_ticks
        if self.rate is not None:
            needed = lessons.least_requests / max(self.rate * clockwork.tick_seconds, _DUST)
            ticks = min(lessons.most_ticks, max(ticks, math.ceil(needed)))
        return _whole(ticks * clockwork.tick_seconds)

    def stays(self, share: float) -> Estimate:
        """Return how long a share is kept at least; of the one in force what is left of that."""
        soak = self.spec.soak.total_seconds()
        if share == self.outset.share and self.outset.soaked_seconds is not None:
            return Estimate(_whole(max(0.0, soak - self.outset.soaked_seconds)))
        if self.clockwork is None:
            return Estimate(_whole(soak))
        # A tick that showed the share is evidence of it already: nothing but the balancer's lag comes on top.
        soaked = self.clockwork.settle_seconds + max(soak, self.clockwork.tick_seconds)
        return Estimate(_whole(max(soaked, self.clockwork.tick_seconds * self.late_ticks(share, unknown=0.0))))

    def at_most(self, share: float) -> Estimate:
        """Return how long a share is kept for want of proof if nothing is wrong: in whole ticks, and settled first."""
        if self.clockwork is None:
            return Estimate(None, TIMING_UNKNOWN)
        tick, soak = self.clockwork.tick_seconds, self.spec.soak.total_seconds()
        hold = self.spec.analysis.hold.total_seconds()
        late = self.late_ticks(share, unknown=LATE_TICKS)
        ticks = max(math.ceil(soak / tick - _DUST), late if share > PLATEAU else math.ceil(hold / tick - _DUST))
        most = self.clockwork.settles_seconds + ticks * tick
        if share == self.outset.share and self.outset.soaked_seconds is not None:
            most = max(0.0, soak - self.outset.soaked_seconds, most - self.outset.soaked_seconds)
        return Estimate(_whole(most))

    def late_ticks(self, share: float, unknown: float) -> float:
        """Return for how many ticks a share above the plateau is watched; `unknown` if that depends on the rate."""
        if share <= PLATEAU:
            return 0
        next_step = next((step for step in self.spec.ladder if step > share), None)
        watched = unknown
        if self.pulse is not None:
            per_tick = self.pulse.per_second * self.pulse.tick_seconds * share / FULL_PERCENT
            watched = min(LATE_TICKS, math.ceil(LATE_REQUESTS / max(per_tick, _DUST)))
        return max(watched, HOLDBACK_TICKS if next_step == FULL_PERCENT else 0)

    # -- cost ----------------------------------------------------------------------------------------------------

    def noticed(self, share: float) -> Estimate:
        """Return in how many seconds a target that fails is failed at the latest, from its first failure on."""
        if self.pulse is None or self.clockwork is None:
            return Estimate(None, self.unknown)
        found = ticks_until_found(self.spec, self.outset.premise, self.pulse, share)
        if found is None:
            within = show_duration(timedelta(seconds=MOST_TICKS * self.clockwork.tick_seconds))
            few = f"too few requests reach istio to notice within {within} that all of them fail"
            return Estimate(None, few)
        if not self.goes_back(found):
            return Estimate(None, "only one step goes back (onFailure: stepBack): too few requests to call it dead")
        return Estimate(_whole(found.ticks * self.clockwork.tick_seconds + self.clockwork.seen_seconds))

    def goes_back(self, found: Found) -> bool:
        return self.spec.on_failure != "stepBack" or found.is_total

    def failed(self, share: float, noticed: Estimate) -> Estimate:
        """Return how many requests fail at most if all that istio gets fail from its first second on.

        rate x share x (time until it is noticed + time until the rollback is in force), under `assumptions`; up.
        """
        per_second = self.per_second(share).value
        if self.outset.no_way_back:
            return Estimate(None, self.outset.no_way_back)
        if self.spec.on_failure == "hold":
            return Estimate(None, "onFailure: hold: nothing goes back by itself")
        if per_second is None or noticed.value is None or self.clockwork is None:
            return Estimate(None, noticed.why)
        return Estimate(_whole(per_second * (noticed.value + self.clockwork.operation_timeout_seconds)))

    def blast(self, share: float) -> tuple[Estimate, Estimate]:
        """Return what a step to a share could cost if nothing is known, and what it may cost, as `steps.py` says."""
        if share > PLATEAU:
            free = f"above {PLATEAU:g} % a step is taken on proof or when the hold is over, whatever it could cost"
            return Estimate(None, free), Estimate(None, free)
        if self.pulse is None:
            return Estimate(None, self.unknown), Estimate(None, self.unknown)
        cost = first_cost(self.spec, self.outset.premise, self.pulse, share)
        return Estimate(_whole(cost.worst)), Estimate(_whole(cost.allowed))


def rounded_up(rate: float) -> float:
    """Return a rate in four digits that count, rounded up; the 1e-9 that arithmetic leaves behind is none of them."""
    exact = Context(prec=12).create_decimal(Decimal(rate))
    return float(Context(prec=4, rounding=ROUND_CEILING).create_decimal(exact))


def _whole(number: float) -> float:
    return float(math.ceil(round(number, 6)))


def _soonness(begins: Estimate) -> float:
    return math.inf if begins.value is None else begins.value


def _after(begins: Estimate, stays: Estimate) -> Estimate:
    """Return when what comes after a share begins."""
    if begins.value is None or stays.value is None:
        return begins if begins.value is None else stays
    return Estimate(begins.value + stays.value)
