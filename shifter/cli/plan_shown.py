"""How a plan is shown: a table that fits a terminal with what its numbers mean under it, and the stable document.

What is not known is `?`, with the reason under the table. Whoever does the sums with what is printed comes to what is
printed: numbers are rounded where they are made (`core/forecasts/forecast.py`), and never here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from textwrap import wrap
from typing import Final

import click

from shifter.cli.output import clean, number, span, stamp, write_table
from shifter.core.analysis.steps import PATIENCE_TICKS
from shifter.core.balancing.splits import shown
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.documents.schema import show_duration
from shifter.core.forecasts.forecast import (
    RATE_UNKNOWN,
    Clockwork,
    Estimate,
    Forecast,
    Place,
    StepForecast,
    assumptions,
)

_UNKNOWN: Final = "?"
_HEADERS: Final = ("SPLIT", "BEGINS", "STAYS", "AT MOST", "ISTIO", "AT WORST")
_COLUMNS: Final = 79
_LABEL_WIDTH: Final = 10
_HOUR: Final = 3600
_NOT_AHEAD: Final = frozenset({Place.DONE, Place.LEFT_OUT})


@dataclass(frozen=True, slots=True)
class Plan:
    """A forecast with what it is of and what it rests on. `remarks` are sentences that a person must know first."""

    name: str
    policy: ShiftPolicy
    forecast: Forecast
    clockwork: Clockwork | None
    rate: Estimate
    remarks: tuple[str, ...]
    ended: bool = False


def write_plan(made: Plan, now: datetime, *, terminal: bool) -> None:
    """Write a plan as people read it, times as of `now`."""
    rate = "requests/s unknown" if made.rate.value is None else f"{number(made.rate.value)} requests/s"
    for said in (f"{made.name}: {_ladder(made.policy)}, {rate}", *made.remarks):
        for line in wrap(clean(said), _COLUMNS):
            click.echo(line)
    if made.ended:
        return
    click.echo("")
    write_table(_HEADERS, [_row(step, made.clockwork, now) for step in made.forecast.steps], terminal=terminal)
    click.echo("")
    for label, said in _explained(made, now):
        first, *rest = wrap(clean(said), _COLUMNS - _LABEL_WIDTH)
        click.echo(f"{label:<{_LABEL_WIDTH}}{first}")
        for line in rest:
            click.echo(f"{'':<{_LABEL_WIDTH}}{line}")


def _ladder(policy: ShiftPolicy) -> str:
    steps = len(policy.spec.ladder)
    if not policy.spec.steps:
        return f"auto, {steps} rungs of which some may be left out"
    return f"{steps} step{'s' * (steps != 1)}"


def _row(step: StepForecast, clockwork: Clockwork | None, now: datetime) -> list[str]:
    split = shown(step.share)
    if step.place in _NOT_AHEAD:
        return [split, str(step.place), "", "", "", ""]
    return [
        split,
        str(Place.NOW) if step.place is Place.NOW else _begins(step.begins, now),
        _span(step.stays),
        _span(step.at_most),
        _UNKNOWN if step.per_second.value is None else f"{number(step.per_second.value)}/s",
        _UNKNOWN if step.failed.value is None else f"{step.failed.value:.0f} in {_failing_seconds(step, clockwork):g}s",
    ]


def _failing_seconds(step: StepForecast, clockwork: Clockwork | None) -> float:
    """Return how long requests fail at most: noticed and undone. Where there is a number of them both are known."""
    return (step.noticed.value or 0.0) + (clockwork.operation_timeout_seconds if clockwork else 0.0)


def _begins(begins: Estimate, now: datetime) -> str:
    if begins.value is None:
        return _UNKNOWN
    ahead = timedelta(seconds=begins.value)
    at = (now + ahead).astimezone()
    return f"+{_exactly(begins.value)} {at:%H:%M}" if ahead < timedelta(days=1) else f"+{span(ahead)}"


def _span(estimate: Estimate) -> str:
    return _UNKNOWN if estimate.value is None else _exactly(estimate.value)


def _exactly(seconds: float) -> str:
    """Return a span to the second below an hour, so that rows add up; beyond, who counts seconds?"""
    return show_duration(timedelta(seconds=seconds)) if seconds < _HOUR else span(timedelta(seconds=seconds))


def _explained(made: Plan, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what the table's numbers mean and rest on: a label and a text; an empty label goes on with the last one."""
    finished, clockwork = made.forecast.finished, made.clockwork
    soak = _exactly(made.policy.spec.soak.total_seconds())
    lag = "" if clockwork is None or not clockwork.settle_seconds else f" (it lags {clockwork.settle_seconds:g} s)"
    said = f"at least: soak {soak} from when the balancer shows the split{lag}"
    yield "stays", f"{said}, and above 50 % so many requests or ticks as show a limit of capacity; `now`: what is left"
    hold = show_duration(made.policy.spec.analysis.hold)
    yield "at most", f"so long a share is kept for want of proof if nothing is wrong: hold {hold} or soak, in ticks"
    yield from _blast(made)
    if finished.value is not None:
        at = (now + timedelta(seconds=finished.value)).astimezone()
        ahead = _exactly(finished.value)
        yield "done", f"in {ahead} at the soonest ({at:%Y-%m-%d %H:%M}); holds, slow writes and people make it later"
    for step in made.forecast.steps:
        for gate in step.gates:
            yield "gate", f"before {gate:g} % somebody must approve; the times are as if that were done at once"
    yield from _worst_case(made)
    yield from (("?", reason) for reason in _reasons(made))


def _blast(made: Plan) -> Iterator[tuple[str, str]]:
    """Yield what steps are taken to cost by the rule that holds them back, beside what the policy allows."""
    steps = [step for step in made.forecast.steps if step.place is not Place.DONE and step.costs.value is not None]
    if not steps:
        return
    costs = ", ".join(f"{step.share:.4g} %: {step.costs.value:.0f}" for step in steps)
    allowed = next(step.allowed.value for step in steps)
    yield (
        "blast",
        (
            f"failed requests that a step from nothing known could cost before it is found out: {costs}; allowed are"
            f" {allowed:.0f} (blastRadius), twice that after {_patience(made)} at a share; a larger step waits for"
            " evidence, or until the hold is over"
        ),
    )


def _patience(made: Plan) -> str:
    tick = 0.0 if made.clockwork is None else made.clockwork.tick_seconds
    return _exactly(PATIENCE_TICKS * tick)


def _worst_case(made: Plan) -> Iterator[tuple[str, str]]:
    ahead = [step for step in made.forecast.steps if step.place not in _NOT_AHEAD and step.failed.value is not None]
    noticed = [step.noticed.value for step in ahead if step.noticed.value is not None]
    if not noticed or made.clockwork is None:
        return
    yield (
        "at worst",
        (
            "every request to istio fails from the first second of the step; noticed after at most"
            f" {_range(noticed)} s, rolled back within {made.clockwork.operation_timeout_seconds:g} s more;"
            " so many fail: ISTIO x the sum of both, rounded up; blastRadius does not limit this: it weighs a step"
            " at the usual pace, AT WORST has everything as slow as the settings allow"
        ),
    )
    told = assumptions(made.policy.spec)
    for index, assumption in enumerate(told):
        yield "" if index else "assumes", f"{assumption};" if index + 1 < len(told) else assumption


def _range(seconds: Sequence[float]) -> str:
    least, most = min(seconds), max(seconds)
    return f"{most:.0f}" if round(least) == round(most) else f"{least:.0f} to {most:.0f}"


def _reasons(made: Plan) -> Iterator[str]:
    """Yield why there is a `?`, each reason once, with the first step it concerns."""
    told: dict[str, list[float]] = {}
    for step in made.forecast.steps:
        for estimate in (step.begins, step.stays, step.at_most, step.per_second, step.failed):
            if estimate.value is None and step.place not in _NOT_AHEAD:
                told.setdefault(estimate.why, []).append(step.share)
    for why, shares in told.items():
        alone = len(set(shares)) == 1 and shares[0] not in made.policy.spec.ladder
        where = f"at {shares[0]:.4g} %" if alone else f"from {shares[0]:.4g} % on"
        yield f"{where}: {made.rate.why if why == RATE_UNKNOWN else why}"


def plan_document(made: Plan, now: datetime) -> dict[str, object]:
    """Return a plan as the stable API shows it. Spans are seconds; null is unknown, and `unknown` says why."""
    clockwork = made.clockwork
    return {
        "name": made.name,
        "remarks": list(made.remarks),
        "requestsPerSecond": made.rate.value,
        "automatic": not made.policy.spec.steps,
        "soakSeconds": made.policy.spec.soak.total_seconds(),
        "holdSeconds": made.policy.spec.analysis.hold.total_seconds(),
        "settleSeconds": None if clockwork is None else clockwork.settle_seconds,
        "rolledBackWithinSeconds": None if clockwork is None else clockwork.operation_timeout_seconds,
        "finished": None if made.ended else _moment(made.forecast.finished, now),
        "assumptions": list(assumptions(made.policy.spec)),
        "steps": [] if made.ended else [_step_document(step, now) for step in made.forecast.steps],
    }


def _step_document(step: StepForecast, now: datetime) -> dict[str, object]:
    estimates = {
        "begins": step.begins,
        "staysSeconds": step.stays,
        "atMostSeconds": step.at_most,
        "targetRequestsPerSecond": step.per_second,
        "noticedSeconds": step.noticed,
        "failedRequests": step.failed,
        "couldCostRequests": step.costs,
        "mayCostRequests": step.allowed,
    }
    done = step.place in _NOT_AHEAD
    return {
        "share": step.share,
        "place": str(step.place),
        "gates": list(step.gates),
        **{key: None if done else each.value for key, each in estimates.items() if key != "begins"},
        "begins": None if done else _moment(step.begins, now),
        "unknown": {} if done else {key: each.why for key, each in estimates.items() if each.value is None},
    }


def _moment(estimate: Estimate, now: datetime) -> dict[str, object]:
    at = None if estimate.value is None else stamp(now + timedelta(seconds=estimate.value))
    return {"inSeconds": estimate.value, "at": at}
