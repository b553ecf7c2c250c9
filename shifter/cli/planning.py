"""`shifter plan`: what a policy leads to, for a shift that runs or a file that nobody has accepted yet.

The arithmetic is `core/forecast.py`'s. Here is where its numbers come from (the service's report, or files and
`--rps`) and how they are shown. What is not known is `?`, with the reason under the table. The row in force is what is
live, whoever set it: what people would lose rests on that and not on what was verified last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import wrap
from types import MappingProxyType
from typing import Final

import click

from shifter.cli.amounts import requests_per_second
from shifter.cli.exits import CommandError, Exit
from shifter.cli.output import Format, clean, number, span, stamp, write_document, write_table
from shifter.cli.params import SHIFT
from shifter.cli.session import Session, pass_session, store_option, typed
from shifter.cli.views import View, views, warn_of_silence
from shifter.core.apportion import MAX_ERROR_PERCENT
from shifter.core.fleet import Fleet
from shifter.core.fleet import Timing as FleetTiming
from shifter.core.forecast import (
    ASSUMPTIONS,
    RATE_UNKNOWN,
    Clockwork,
    Estimate,
    Forecast,
    Outset,
    Place,
    StepForecast,
    clockwork_of,
    forecast,
    rounded_up,
    standing,
)
from shifter.core.phases import Phase
from shifter.core.policy import ShiftPolicy
from shifter.core.schema import show_duration
from shifter.core.splits import FULL_PERCENT, shown
from shifter.core.state import ShiftState
from shifter.errors import ConfigError
from shifter.files.documents import load_fleet, misfit_problems, read_document, value_of

_UNKNOWN: Final = "?"
_HEADERS: Final = ("SPLIT", "BEGINS", "STAYS", "ISTIO", "SEEN", "AT WORST")
_COLUMNS: Final = 79
_LABEL_WIDTH: Final = 10
_HOUR: Final = 3600
_EXACT: Final = frozenset({0.0, FULL_PERCENT})
_FILE = click.Path(path_type=Path)
_NO_WAY_BACK: Final = MappingProxyType(
    {
        Phase.WAITING: "it has not begun: nothing goes back by itself before shifter has written the first step",
        Phase.ROLLING_BACK: "it is going back already",
        Phase.ROLLED_BACK: "it was rolled back already: nothing goes back by itself before a retry",
        Phase.COMPLETED: "it is completed: nothing goes back by itself any more",
    }
)
"""Why what is live without shifter's doing has no way back: guards judge a shift that is under way."""


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


@click.command()
@store_option
@click.argument("shift", required=False, type=SHIFT)
@click.option("-f", "--file", "file", type=_FILE, help="A policy file, instead of a shift.")
@click.option("--fleet", type=_FILE, help="With --file: the fleet file, for its timing. Default: the defaults.")
@click.option("--rps", type=requests_per_second(), help="Requests per second of both meshes, instead of the observed.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
@pass_session
def plan(
    session: Session, shift: str | None, file: Path | None, fleet: Path | None, rps: float | None, output: str
) -> None:
    """Show what the steps lead to: when each begins at the soonest, and how many requests it may cost at worst.

    Of a shift, or with --file of a policy before there is one. Nothing is written anywhere.
    """
    if (shift is None) == (file is None) or (fleet is not None and file is None):
        raise click.UsageError(
            "name a shift, or a policy with --file; --fleet is for --file", click.get_current_context()
        )
    now = session.now()
    if file is not None:
        made = _plan_of_files(file, fleet, rps)
    else:
        (view,) = found = views(session.store(), [shift or ""])
        made = _plan_of_shift(view, rps, now)
        warn_of_silence(found, now, served=session.served())
    if output == "text":
        _write_text(made, now, terminal=session.is_terminal())
    else:
        write_document("Plan", plan_document(made, now), Format(output))


def _plan_of_files(file: Path, fleet: Path | None, rps: float | None) -> Plan:
    """Return the plan of a policy that no service has accepted yet.

    Raises:
        ConfigError: a file cannot be read, is wrong, or the two do not fit together.
    """
    document = read_document(file)
    policy = value_of(document, ShiftPolicy)
    known = None if fleet is None else load_fleet(fleet)
    if problems := misfit_problems(document, policy, known):
        raise ConfigError(str(problems[0]), problems)
    clockwork = clockwork_of(_timing(known))
    rate = _rate(rps, "no requests per second are given: --rps")
    remarks = () if known is not None else ("without --fleet: the defaults of timing",)
    found = forecast(policy.spec, Outset(gates=policy.gates), clockwork, rate.value)
    return Plan(policy.name, policy, found, clockwork, rate, remarks)


def _rate(value: float | None, why: str) -> Estimate:
    return Estimate(None, why) if value is None else Estimate(rounded_up(value))


def _timing(fleet: Fleet | None) -> FleetTiming:
    return FleetTiming() if fleet is None else fleet.spec.timing


def _plan_of_shift(view: View, rps: float | None, now: datetime) -> Plan:
    """Return the plan of a shift that the service knows.

    Raises:
        CommandError: only its report is left; without its policy there is nothing to plan.
    """
    state, report = view.state, view.report
    if state is None:
        raise CommandError(Exit.NOT_FOUND, f"nothing is saved of {clean(view.name)} but its last report")
    rate = _rate(
        report.requests_per_second if rps is None else rps, "the service has not told how many requests it sees"
    )
    clockwork, live = _clockwork(view), _live(view, state)
    begun = state.phase is Phase.SHIFTING
    taken_over = begun and live is not None
    approved = set() if _is_over(state) else {approval.before for approval in state.approved}
    outset = Outset(
        share=live if begun and live is not None else 0.0 if _is_over(state) else state.wanted,
        soaked_seconds=_soaked(view, state, taken_over=taken_over),
        gates=tuple(gate for gate in state.policy.gates if gate not in approved),
        no_way_back=_no_way_back(state, report.mode, now),
    )
    found = forecast(state.policy.spec, outset, clockwork, rate.value)
    if live is not None and not begun:
        why = outset.no_way_back or _NO_WAY_BACK[state.phase]
        row = standing(state.policy.spec, live, clockwork, rate.value, why=why)
        found = replace(found, steps=(row, *found.steps))
        if state.phase is Phase.COMPLETED:
            found = Forecast((row,), Estimate(None, why))
    ended = state.phase is Phase.COMPLETED and live is None
    return Plan(view.name, state.policy, found, clockwork, rate, tuple(_remarks(view, state, live)), ended)


def _is_over(state: ShiftState) -> bool:
    return state.phase in {Phase.ROLLED_BACK, Phase.ROLLING_BACK}


def _live(view: View, state: ShiftState) -> float | None:
    """Return the live share, percent, if it is neither the verified one nor on its way between two of shifter's."""
    live = view.report.written
    if live is None:
        return None
    ours = [state.wanted] if state.intent is None else [state.intent.from_share, state.intent.to_share]
    # Weights are whole numbers, so that a share is met about; but 0 and 100 mean exactly that.
    exact = live in _EXACT or (state.intent is None and state.wanted in _EXACT)
    tolerated = 0.0 if exact else MAX_ERROR_PERCENT
    return None if min(ours) - tolerated <= live <= max(ours) + tolerated else live


def _soaked(view: View, state: ShiftState, *, taken_over: bool) -> float | None:
    """Return how much of its soak the share in force has done; None if it must settle first."""
    if state.intent is not None or taken_over or _is_over(state):
        return None
    return view.report.soaked_seconds


def _clockwork(view: View) -> Clockwork | None:
    """Return the service's timing as it told it; None if it has not, or an earlier version did."""
    report = view.report
    told = (
        report.tick_seconds,
        report.sample_max_age_seconds,
        report.read_deadline_seconds,
        report.operation_timeout_seconds,
    )
    known = [each for each in told if each is not None]
    if len(known) < len(told):
        return None
    tick, max_age, deadline, timeout = known
    return Clockwork(tick, max_age, deadline, timeout, report.settle_seconds or 0.0)


def _no_way_back(state: ShiftState, mode: str, now: datetime) -> str:
    if state.overridden:
        return "promoted with --override: nothing goes back by itself until a retry"
    if state.paused is not None and state.paused.hands_off(now):
        return f"hands off by order of {state.paused.by}: nothing goes back by itself"
    if mode == "observe":
        return "mode observe: nothing is written, so nothing goes back by itself either"
    return ""


def _remarks(view: View, state: ShiftState, live: float | None) -> Iterator[str]:
    report = view.report
    yield from _remarks_on_live(view, state, live)
    if state.phase is Phase.COMPLETED:
        yield "completed" + (": all traffic is on istio, and there is no step left" if live is None else "")
    elif state.phase is Phase.ROLLING_BACK:
        yield f"it is going back to tcm: {report.failure or report.reason}; the steps are those after a retry"
    elif state.phase is Phase.ROLLED_BACK:
        retry = typed(f"retry {view.name}")
        yield f"rolled back: {report.failure or report.reason}; the steps are those after `{retry}`"
    if report.mode == "observe":
        yield "mode observe: nothing is written, and no step comes by itself"
    if state.phase is not Phase.COMPLETED:
        for hold in report.holds:
            yield f"held by {hold.kind}: {hold.reason}; no step comes while it lasts"


def _remarks_on_live(view: View, state: ShiftState, live: float | None) -> Iterator[str]:
    if live is None:
        if state.wanted > 0 and state.wanted not in state.policy.spec.steps:
            yield f"{shown(state.wanted)} is in force, and no step of the policy: a person had it taken over"
        return
    yield f"live is {shown(live)}, not {shown(state.wanted)} as verified last; the row `now` is what is live"
    if state.phase is Phase.SHIFTING:
        yield f"the steps are those after `{typed(f'reconcile {view.name} --adopt')}`"


def _write_text(made: Plan, now: datetime, *, terminal: bool) -> None:
    rate = "requests/s unknown" if made.rate.value is None else f"{number(made.rate.value)} requests/s"
    steps = len(made.policy.spec.steps)
    for said in (f"{made.name}: {steps} step{'s' * (steps != 1)}, {rate}", *made.remarks):
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


def _row(step: StepForecast, clockwork: Clockwork | None, now: datetime) -> list[str]:
    split = shown(step.share)
    if step.place is Place.DONE:
        return [split, str(Place.DONE), "", "", "", ""]
    return [
        split,
        str(Place.NOW) if step.place is Place.NOW else _begins(step.begins, now),
        _span(step.stays),
        _UNKNOWN if step.per_second.value is None else f"{number(step.per_second.value)}/s",
        _span(step.evidence),
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
    settle = _UNKNOWN if clockwork is None else _exactly(clockwork.settles_seconds)
    said = f"at least: settle {settle}, soak {soak}; longer until minRequests are seen (SEEN)"
    yield "stays", f"{said}; of the row `now` what is left of it"
    if finished.value is not None:
        at = (now + timedelta(seconds=finished.value)).astimezone()
        ahead = _exactly(finished.value)
        yield "done", f"in {ahead} at the soonest ({at:%Y-%m-%d %H:%M}); holds, slow writes and people make it later"
    for step in made.forecast.steps:
        for gate in step.gates:
            yield "gate", f"before {gate:g} % somebody must approve; the times are as if that were done at once"
    yield from _worst_case(made)
    yield from (("?", reason) for reason in _reasons(made))


def _worst_case(made: Plan) -> Iterator[tuple[str, str]]:
    ahead = [step for step in made.forecast.steps if step.place is not Place.DONE and step.failed.value is not None]
    noticed = [step.noticed.value for step in ahead if step.noticed.value is not None]
    if not noticed or made.clockwork is None:
        return
    yield (
        "at worst",
        (
            "every request to istio fails from the first second of the step; noticed after at most"
            f" {_range(noticed)} s, rolled back within {made.clockwork.operation_timeout_seconds:g} s more;"
            " so many fail: ISTIO x the sum of both, rounded up"
        ),
    )
    for index, assumption in enumerate(ASSUMPTIONS):
        yield "" if index else "assumes", f"{assumption};" if index + 1 < len(ASSUMPTIONS) else assumption


def _range(seconds: Sequence[float]) -> str:
    least, most = min(seconds), max(seconds)
    return f"{most:.0f}" if round(least) == round(most) else f"{least:.0f} to {most:.0f}"


def _reasons(made: Plan) -> Iterator[str]:
    """Yield why there is a `?`, each reason once, with the first step it concerns."""
    told: dict[str, list[float]] = {}
    for step in made.forecast.steps:
        for estimate in (step.begins, step.stays, step.per_second, step.evidence, step.failed):
            if estimate.value is None and step.place is not Place.DONE:
                told.setdefault(estimate.why, []).append(step.share)
    for why, shares in told.items():
        alone = len(set(shares)) == 1 and shares[0] not in made.policy.spec.steps
        where = f"at {shares[0]:.4g} %" if alone else f"from {shares[0]:.4g} % on"
        yield f"{where}: {made.rate.why if why == RATE_UNKNOWN else why}"


def plan_document(made: Plan, now: datetime) -> dict[str, object]:
    """Return a plan as the stable API shows it. Spans are seconds; null is unknown, and `unknown` says why."""
    clockwork = made.clockwork
    return {
        "name": made.name,
        "remarks": list(made.remarks),
        "requestsPerSecond": made.rate.value,
        "soakSeconds": made.policy.spec.soak.total_seconds(),
        "settleSeconds": None if clockwork is None else clockwork.settles_seconds,
        "rolledBackWithinSeconds": None if clockwork is None else clockwork.operation_timeout_seconds,
        "finished": None if made.ended else _moment(made.forecast.finished, now),
        "assumptions": list(ASSUMPTIONS),
        "steps": [] if made.ended else [_step_document(step, now) for step in made.forecast.steps],
    }


def _step_document(step: StepForecast, now: datetime) -> dict[str, object]:
    estimates = {
        "begins": step.begins,
        "staysSeconds": step.stays,
        "targetRequestsPerSecond": step.per_second,
        "evidenceSeconds": step.evidence,
        "noticedSeconds": step.noticed,
        "failedRequests": step.failed,
    }
    done = step.place is Place.DONE
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
