"""What a policy leads to before it happens: when each step comes at the soonest, and what it may cost at worst.

Pure arithmetic over the same rules that `decide.py`, `settling.py` and `analysis.py` follow, with every assumption
written down: a number that rests on something nobody measured is no number but a reason (`Estimate.why`). Rates are
taken in four digits and spans in whole seconds, rounded up *before* they are multiplied or added: whoever reads the
numbers and does the sum must come to what is printed.
Times are lower bounds, since holds, people and quiet nights only ever add to them; failed requests are an upper
bound under `ASSUMPTIONS`, since that is the question people ask before they agree to a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum
from typing import Final

from shifter.core.analysis import MIN_BAD
from shifter.core.fleet import Timing
from shifter.core.policy import Analysis, PolicySpec
from shifter.core.splits import FULL_PERCENT

LATE_WAKE_SECONDS: Final = 1.0
"""The service wakes once a second, so that a look may come that much after its tick."""

RATE_UNKNOWN: Final = "the rate of requests is unknown"

ASSUMPTIONS: Final = (
    "every request to istio fails with a 5xx that its gateway counts for these namespaces, and tcm is well",
    "the service runs, and both datasources answer with samples no older than sampleMaxAge",
    "the cloud carries the write back out within operationTimeout; the CLB is not busy with another one",
    "clients with session persistence follow the balancer; a request that waits has not failed",
)
"""What the worst case rests on, for people. Each of them can be false on a bad day."""


class Place(StrEnum):
    """Where a step is on the way."""

    DONE = "done"
    NOW = "now"
    AHEAD = "ahead"


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
        """How long a share takes to be observed at least: the balancer's lag, and one whole tick at the share."""
        return max(self.settle_seconds, self.tick_seconds)


@dataclass(frozen=True, slots=True)
class Outset:
    """Where the way begins: `share` percent is what is in force or is being written, 0 for before all.

    It need not be a step: a person may have set it. `soaked_seconds` of its soak are done; None if it is not even in
    force yet, and must settle as well. `gates` are the shares (percent) that still wait for somebody's approval.
    `no_way_back` says why nothing goes back by itself; empty if it does.
    """

    share: float = 0.0
    soaked_seconds: float | None = 0.0
    gates: tuple[float, ...] = ()
    no_way_back: str = ""


@dataclass(frozen=True, slots=True)
class StepForecast:
    """One step, or a share in force that is none. Seconds from now for `begins`, else spans.

    `begins`: at the soonest. `stays`: settle and soak, or longer if `minRequests` take longer; of the share in force
    what is left of that. `gates`: the shares somebody must approve first. `per_second`: requests on the target.
    `evidence`: until `minRequests` are seen there. `noticed`: from the first failure until the guards have seen
    enough. `failed`: the most requests that fail.
    """

    share: float
    place: Place
    begins: Estimate
    stays: Estimate
    gates: tuple[float, ...]
    per_second: Estimate
    evidence: Estimate
    noticed: Estimate
    failed: Estimate


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
        outset: where the shift is.
        clockwork: the service's timing; None if nobody told it.
        rate: requests per second of both sides together; None if unknown.
    """
    rate = None if rate is None else rounded_up(rate)
    found: list[StepForecast] = []
    begins, before = Estimate(0.0), 0.0
    for share in sorted({*spec.steps, *([outset.share] if outset.share > 0 else [])}):
        step = _step(spec, share, _place(share, outset.share), clockwork, rate)
        if outset.no_way_back:
            step = replace(step, failed=Estimate(None, outset.no_way_back))
        if step.place is Place.DONE:
            step = replace(step, begins=Estimate(None, str(Place.DONE)))
        else:
            ahead = step.place is Place.AHEAD
            gates = tuple(gate for gate in outset.gates if before < gate <= share and ahead)
            stays = step.stays if ahead else _left(step, spec, outset)
            step = replace(step, begins=begins, gates=gates, stays=stays)
            begins = _after(step, begins)
        found.append(step)
        before = share
    return Forecast(tuple(found), begins)


def standing(
    spec: PolicySpec, share: float, clockwork: Clockwork | None, rate: float | None, *, why: str
) -> StepForecast:
    """Return the row of a share that is live though the way begins at 0 %; nothing takes it back, `why` says."""
    step = _step(spec, share, Place.NOW, clockwork, None if rate is None else rounded_up(rate))
    return replace(step, stays=Estimate(None, why), failed=Estimate(None, why))


def rounded_up(rate: float) -> float:
    """Return a rate in four digits that count, rounded up; the 1e-9 that arithmetic leaves behind is none of them."""
    exact = Context(prec=12).create_decimal(Decimal(rate))
    return float(Context(prec=4, rounding=ROUND_CEILING).create_decimal(exact))


def _whole(seconds: float) -> float:
    return float(math.ceil(round(seconds, 6)))


def _place(share: float, at: float) -> Place:
    if share == at:
        return Place.NOW
    return Place.DONE if share < at else Place.AHEAD


def _step(
    spec: PolicySpec, share: float, place: Place, clockwork: Clockwork | None, rate: float | None
) -> StepForecast:
    per_second = Estimate(None, RATE_UNKNOWN) if rate is None else Estimate(rounded_up(rate * share / FULL_PERCENT))
    evidence = _evidence(spec.analysis, clockwork, per_second)
    noticed = _noticed(spec.analysis, clockwork, per_second)
    soak = spec.soak.total_seconds()
    stays = Estimate(_whole(soak if clockwork is None else clockwork.settles_seconds + soak))
    if per_second.value is not None and clockwork is not None:
        stays = evidence if evidence.value is None else Estimate(max(stays.value or 0.0, evidence.value))
    return StepForecast(
        share=share,
        place=place,
        begins=Estimate(0.0),
        stays=stays,
        gates=(),
        per_second=per_second,
        evidence=evidence,
        noticed=noticed,
        failed=_failed(clockwork, per_second, noticed),
    )


def _left(step: StepForecast, spec: PolicySpec, outset: Outset) -> Estimate:
    """Return how much longer the share in force stays at least. The evidence may be gathered already."""
    if step.stays.value is None or outset.soaked_seconds is None:
        return step.stays
    return Estimate(_whole(max(0.0, spec.soak.total_seconds() - outset.soaked_seconds)))


def _after(step: StepForecast, begins: Estimate) -> Estimate:
    """Return when the step after this one begins."""
    if begins.value is None or step.stays.value is None:
        return begins if begins.value is None else Estimate(None, f"it stays at {step.share:g} %: {step.stays.why}")
    return Estimate(begins.value + step.stays.value)


def _evidence(analysis: Analysis, clockwork: Clockwork | None, per_second: Estimate) -> Estimate:
    """Return in how many seconds `minRequests` are counted, if the window is long enough to hold so many."""
    if per_second.value is None or clockwork is None:
        return _unknown(clockwork, per_second)
    return _time_for(analysis.min_requests, "are needed to judge", analysis, clockwork, per_second.value)


def _noticed(analysis: Analysis, clockwork: Clockwork | None, per_second: Estimate) -> Estimate:
    """Return in how many seconds the errors guard fails at the latest, from the first failure on.

    It fails once more than `maxPercent` of the requests in the window failed, and at least `MIN_BAD`; as long as
    there are fewer than `minRequests`, of these. In the window there may be good requests from before the step. What
    was counted before the write is read back is forgotten with the old share, almost the same number again.
    """
    if per_second.value is None or clockwork is None:
        return _unknown(clockwork, per_second)
    percent = analysis.errors.max_percent
    if percent >= FULL_PERCENT:
        return Estimate(None, f"errors.maxPercent {percent:g} never fails a shift")
    most = max(analysis.min_requests, per_second.value * analysis.window.total_seconds())
    enough = max(MIN_BAD, math.floor(most * percent / FULL_PERCENT) + 1)
    found = _time_for(enough, "must fail to fail the shift", analysis, clockwork, per_second.value)
    if found.value is None:
        return found
    return Estimate(_whole((2 * enough - 1) / per_second.value + clockwork.seen_seconds))


def _failed(clockwork: Clockwork | None, per_second: Estimate, noticed: Estimate) -> Estimate:
    """Return how many requests fail at most if all that istio gets fail from its first second on.

    rate x share x (time until the guard has failed + time until the rollback is in force), under `ASSUMPTIONS`; up.
    """
    if per_second.value is None or noticed.value is None or clockwork is None:
        return Estimate(None, noticed.why)
    return Estimate(_whole(per_second.value * (noticed.value + clockwork.operation_timeout_seconds)))


def _time_for(count: int, what: str, analysis: Analysis, clockwork: Clockwork, per_second: float) -> Estimate:
    """Return in how many seconds so many requests come, if the window holds them.

    A window holds whole ticks, one fewer than it seems when they are a little long, and never less than one.
    """
    window = analysis.window.total_seconds()
    held = per_second * max(clockwork.tick_seconds, window - clockwork.tick_seconds)
    if held < count:
        said = f"the window of {window:g} s holds about {held:.3g} requests to istio, and {count} {what}"
        return Estimate(None, said)
    return Estimate(_whole(count / per_second))


def _unknown(clockwork: Clockwork | None, per_second: Estimate) -> Estimate:
    return Estimate(None, "the service's timing is unknown" if clockwork is None else per_second.why)
