"""`shifter plan`: what a policy leads to, for a shift that runs or a file that nobody has accepted yet.

The arithmetic is `forecasts/forecast.py`'s. Here is where its numbers come from: the service's report, or files and
`--rps`. The row in force is what is live, whoever set it: what people would lose rests on that, not on what was
verified last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

import click

from shifter.cli.amounts import requests_per_second
from shifter.cli.exits import CommandError, Exit
from shifter.cli.output import Format, clean, write_document
from shifter.cli.params import SHIFT
from shifter.cli.plan_shown import Plan, plan_document, write_plan
from shifter.cli.session import Session, pass_session, typed
from shifter.cli.store_options import store_option
from shifter.cli.supposing import policy_in
from shifter.cli.views import View, views, warn_of_silence
from shifter.core.balancing.apportion import MAX_ERROR_PERCENT
from shifter.core.balancing.splits import FULL_PERCENT, shown
from shifter.core.documents.fleet import Fleet, Learning
from shifter.core.documents.fleet import Timing as FleetTiming
from shifter.core.forecasts.forecast import (
    Clockwork,
    Estimate,
    Forecast,
    Outset,
    clockwork_of,
    forecast,
    live_row,
    rounded_up,
)
from shifter.core.forecasts.worst_case import Premise
from shifter.core.phases import Phase
from shifter.core.state import ShiftState
from shifter.files.documents import load_fleet

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
        write_plan(made, now, terminal=session.is_terminal())
    else:
        write_document("Plan", plan_document(made, now), Format(output))


def _plan_of_files(file: Path, fleet: Path | None, rps: float | None) -> Plan:
    """Return the plan of a policy that no service has accepted yet.

    Raises:
        ConfigError: a file cannot be read, is wrong, or the two do not fit together.
    """
    known = None if fleet is None else load_fleet(fleet)
    policy = policy_in(file, known)
    clockwork = clockwork_of(_timing(known))
    rate = _rate(rps, "no requests per second are given: --rps")
    remarks = () if known is not None else ("without --fleet: the defaults of timing and learning",)
    lessons = (Learning() if known is None else known.spec.learning).lessons()
    outset = Outset(gates=policy.gates, premise=Premise(lessons=lessons), learns=True)
    found = forecast(policy.spec, outset, clockwork, rate.value)
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
        ceiling=None if state.ceiling is None or _is_over(state) else state.ceiling.share,
        no_way_back=_no_way_back(state, report.mode, now),
        premise=_premise(state),
    )
    found = forecast(state.policy.spec, outset, clockwork, rate.value)
    if live is not None and not begun:
        why = outset.no_way_back or _NO_WAY_BACK[state.phase]
        row = live_row(state.policy.spec, live, clockwork, rate.value, why=why)
        found = replace(found, steps=(row, *found.steps))
        if state.phase is Phase.COMPLETED:
            found = Forecast((row,), Estimate(None, why))
    ended = state.phase is Phase.COMPLETED and live is None
    return Plan(view.name, state.policy, found, clockwork, rate, tuple(_remarks(view, state, live)), ended)


def _is_over(state: ShiftState) -> bool:
    return state.phase in {Phase.ROLLED_BACK, Phase.ROLLING_BACK}


def _premise(state: ShiftState) -> Premise:
    """Return what is known: the source as it was learnt, and which attempt the steps are of."""
    standing = state.standing
    if _is_over(state):
        return Premise(None if standing is None else standing.history, state.attempt + 1)
    if standing is None:
        return Premise(attempt=state.attempt)
    waited = standing.seconds if standing.share == 0 and standing.attempt == state.attempt else 0.0
    return Premise(standing.history, state.attempt, waited_seconds=waited)


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
        if state.wanted > 0 and state.wanted not in state.policy.spec.ladder:
            yield f"{shown(state.wanted)} is in force, and no step of the policy: a person had it taken over"
        return
    yield f"live is {shown(live)}, not {shown(state.wanted)} as verified last; the row `now` is what is live"
    if state.phase is Phase.SHIFTING:
        yield f"the steps are those after `{typed(f'reconcile {view.name} --adopt')}`"
