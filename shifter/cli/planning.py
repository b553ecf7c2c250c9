"""`shifter plan`: what a policy leads to, for a shift that runs or a file that nobody has accepted yet.

The arithmetic is `core/forecast.py`'s. Here is where its numbers come from (the service's report, or files and
`--rps`) and how they are shown. What is not known is `?`, with the reason under the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import wrap
from typing import Final

import click

from shifter.cli.exits import CommandError, Exit
from shifter.cli.output import Format, clean, number, span, stamp, write_document, write_table
from shifter.cli.session import SHIFT, Session, pass_session, store_option, typed
from shifter.cli.views import View, views, warn_of_silence
from shifter.core.fleet import Fleet, misfits
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
)
from shifter.core.phases import Phase
from shifter.core.policy import ShiftPolicy
from shifter.core.splits import shown
from shifter.core.state import ShiftState
from shifter.errors import ConfigError
from shifter.files.documents import load_fleet, read_document, value_of

_UNKNOWN: Final = "?"
_HEADERS: Final = ("SPLIT", "BEGINS", "STAYS", "ISTIO", "EVIDENCE", "AT WORST")
_COLUMNS: Final = 79
_LABEL_WIDTH: Final = 10
_FILE = click.Path(path_type=Path)


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
@click.option(
    "--rps", type=click.FloatRange(min=0), help="Requests per second of both meshes, instead of the observed."
)
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
    problems = tuple(document.problem(each.path, each.reason) for each in misfits(policy, known))
    if problems:
        raise ConfigError(str(problems[0]), problems)
    clockwork = clockwork_of(_timing(known))
    rate = Estimate(rps) if rps is not None else Estimate(None, "no requests per second are given: --rps")
    remarks = () if known is not None else ("without --fleet: the defaults of timing",)
    found = forecast(policy.spec, Outset(gates=policy.gates), clockwork, rate.value)
    return Plan(policy.name, policy, found, clockwork, rate, remarks)


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
    rate = Estimate(rps)
    if rps is None:
        observed = report.requests_per_second
        rate = Estimate(observed, "" if observed is not None else "the service has not told how many requests it sees")
    clockwork = _clockwork(view)
    ended = state.phase is Phase.COMPLETED
    over = state.phase in {Phase.ROLLED_BACK, Phase.ROLLING_BACK}
    approved = {approval.before for approval in state.approved}
    outset = Outset(
        share=0.0 if over else state.wanted,
        soaked_seconds=0.0 if state.intent is not None or over else report.soaked_seconds,
        gates=tuple(gate for gate in state.policy.gates if gate not in approved or over),
        no_way_back=_no_way_back(state, report.mode, now),
    )
    found = forecast(state.policy.spec, outset, clockwork, rate.value)
    return Plan(view.name, state.policy, found, clockwork, rate, tuple(_remarks(view, state)), ended)


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


def _remarks(view: View, state: ShiftState) -> Iterator[str]:
    report = view.report
    if state.phase is Phase.COMPLETED:
        yield "completed: all traffic is on istio, and there is no step left"
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


def _write_text(made: Plan, now: datetime, *, terminal: bool) -> None:
    rate = "requests/s unknown" if made.rate.value is None else f"{number(made.rate.value)} requests/s"
    steps = len(made.policy.spec.steps)
    for said in (f"{made.name}: {steps} step{'s' * (steps != 1)}, {rate}", *made.remarks):
        for line in wrap(clean(said), _COLUMNS):
            click.echo(line)
    if made.ended:
        return
    click.echo("")
    write_table(_HEADERS, [_row(step, now) for step in made.forecast.steps], terminal=terminal)
    click.echo("")
    for label, said in _explained(made, now):
        first, *rest = wrap(clean(said), _COLUMNS - _LABEL_WIDTH)
        click.echo(f"{label:<{_LABEL_WIDTH}}{first}")
        for line in rest:
            click.echo(f"{'':<{_LABEL_WIDTH}}{line}")


def _row(step: StepForecast, now: datetime) -> list[str]:
    split = shown(step.share)
    if step.place is Place.DONE:
        return [split, str(Place.DONE), "", "", "", ""]
    return [
        split,
        str(Place.NOW) if step.place is Place.NOW else _begins(step.begins, now),
        _span(step.stays),
        _shown(step.per_second, "/s"),
        _span(step.evidence),
        _shown(step.failed, " fail", whole=True),
    ]


def _begins(begins: Estimate, now: datetime) -> str:
    if begins.value is None:
        return _UNKNOWN
    ahead = timedelta(seconds=begins.value)
    at = (now + ahead).astimezone()
    return f"+{span(ahead)} {at:%H:%M}" if ahead < timedelta(days=1) else f"+{span(ahead)}"


def _span(estimate: Estimate) -> str:
    return _UNKNOWN if estimate.value is None else span(timedelta(seconds=estimate.value))


def _shown(estimate: Estimate, unit: str, *, whole: bool = False) -> str:
    if estimate.value is None:
        return _UNKNOWN
    return f"{estimate.value:.0f}{unit}" if whole else f"{number(estimate.value)}{unit}"


def _explained(made: Plan, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what the table's numbers mean and rest on: a label and a text; an empty label goes on with the last one."""
    finished, clockwork = made.forecast.finished, made.clockwork
    soak = span(made.policy.spec.soak)
    settle = _UNKNOWN if clockwork is None else span(timedelta(seconds=clockwork.settles_seconds))
    yield "stays", f"at least: settle {settle}, soak {soak}; longer until minRequests are seen (evidence)"
    if finished.value is not None:
        at = (now + timedelta(seconds=finished.value)).astimezone()
        ahead = span(timedelta(seconds=finished.value))
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
            " requests/s x share x the sum of both"
        ),
    )
    for index, assumption in enumerate(ASSUMPTIONS):
        yield "" if index else "assumes", f"{assumption};" if index + 1 < len(ASSUMPTIONS) else assumption


def _range(seconds: Sequence[float]) -> str:
    least, most = min(seconds), max(seconds)
    return f"{most:.0f}" if round(least) == round(most) else f"{least:.0f} to {most:.0f}"


def _reasons(made: Plan) -> Iterator[str]:
    """Yield why there is a `?`, each reason once, with the first step it concerns."""
    told: dict[str, float] = {}
    for step in made.forecast.steps:
        for estimate in (step.begins, step.stays, step.per_second, step.evidence, step.failed):
            if estimate.value is None and step.place is not Place.DONE:
                told.setdefault(estimate.why, step.share)
    for why, share in told.items():
        yield f"from {share:g} % on: {made.rate.why if why == RATE_UNKNOWN else why}"


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
        **{key: None if done else _rounded(each.value) for key, each in estimates.items() if key != "begins"},
        "begins": None if done else _moment(step.begins, now),
        "unknown": {} if done else {key: each.why for key, each in estimates.items() if each.value is None},
    }


def _moment(estimate: Estimate, now: datetime) -> dict[str, object]:
    at = None if estimate.value is None else stamp(now + timedelta(seconds=estimate.value))
    return {"inSeconds": _rounded(estimate.value), "at": at}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
