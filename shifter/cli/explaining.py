"""`shifter explain`: a decision, computed again from its own record. Who asks "why did it roll back?" gets numbers.

A record that says what was decided carries the standing before it, the counts that were added since, and the policy's
criteria: nothing else is looked at, so the answer is the same years later and on another machine. If it is not the
same, either the record was changed or this shifter computes otherwise, and that is said loudly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

import click

from shifter.cli.exits import CommandError, Exit
from shifter.cli.output import Format, clean, local, plain_table, stamp, write_document
from shifter.cli.params import SHIFT
from shifter.cli.replaying import Replay, Step, carries_replay, excess, odds_of, replayed
from shifter.cli.session import Session, pass_session, typed
from shifter.cli.store_options import store_option
from shifter.cli.views import views
from shifter.core.analysis.assess import SUSPECTED, excess_said, most_blamed
from shifter.core.analysis.measures import Metric
from shifter.core.analysis.standing import Counted, Standing, evidence_of_harm
from shifter.core.analysis.verdicts import odds
from shifter.core.balancing.splits import FULL_PERCENT, shown
from shifter.core.records import Record
from shifter.core.text import some
from shifter.ports import WHOLE, Store

_PAGES: Final = (50, 1_000, 100_000)
"""How many of the newest records are looked through, more each time; the last is all that a store keeps in practice."""

_SHOWN_IDS: Final = 5
_OFFERED_IDS: Final = 20
_HEADERS: Final = ("TIME", "SHARE", "TCM BAD", "ISTIO BAD", "ODDS", "BLAMED", "EXCESS", "NOTES")


def _ids(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the newest decisions of the shift that was typed before the option."""
    words = [context.params.get("shift"), *context.args]
    session, name = context.find_object(Session), next((word for word in words if word), None)
    if session is None or name is None:
        return []
    with closing(session.glance()) as store:
        records = store.history(SHIFT.convert(name, None, context), limit=_PAGES[0])
    ids = [str(record.id) for record in reversed(records) if carries_replay(record)]
    return [each for each in ids if each.startswith(incomplete)][:_OFFERED_IDS]


@click.command()
@store_option
@click.argument("shift", type=SHIFT)
@click.option(
    "--at",
    "id_",
    type=click.IntRange(min=1),
    metavar="ID",
    shell_complete=_ids,
    help="Which record. Default: the newest.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True)
@pass_session
def explain(session: Session, shift: str, *, id_: int | None, output: str) -> int:
    """Compute a decision again from its record: tick by tick, and whether the numbers are those recorded.

    The ids are in `history -o wide`; what started a write, a phase or a ceiling can be replayed. Exit code 6: the
    numbers are not those recorded, or the record is damaged.
    """
    record = find(session.store(), shift, id_)
    replay = replayed(record)
    if output == "table":
        for line in text(replay):
            click.echo(line)
    else:
        write_document("Replay", document(replay), Format(output))
    return Exit.UNHEALTHY if replay.differences else Exit.OK


def find(store: Store, name: str, id_: int | None) -> Record:
    """Return a shift's record by its id, or its newest one that can be replayed.

    Raises:
        CommandError: there is none, it is another shift's, or it carries no replay.
    """
    if id_ is None:
        newest = next((each for each in _newest_first(store, name) if carries_replay(each)), None)
        if newest is not None:
            return newest
        views(store, [name])  # an unknown name has an error of its own
        hint = f"it has taken none yet; `{typed(f'describe {name}')}` shows the evidence there is"
        raise CommandError(Exit.NOT_FOUND, f"no decision of {clean(name)} can be replayed", hint)
    # Where each shift has a chain of its own, so it has numbers of its own.
    among = None if WHOLE in store.chains() else name
    record = next((each for each in _newest_first(store, among) if each.id <= id_), None)
    if record is None or record.id != id_:
        views(store, [name])
        raise CommandError(Exit.NOT_FOUND, f"there is no record {id_}", _hint(store, name))
    if record.record.shift != name:
        other = clean(record.record.shift)
        raise CommandError(Exit.NOT_FOUND, f"record {id_} is of {other}", f"`{typed(f'explain {other} --at {id_}')}`")
    if not carries_replay(record):
        said = f"record {id_} ({record.record.what}) carries no evidence to compute it from"
        raise CommandError(Exit.NOT_FOUND, said, _hint(store, name))
    return record


def _newest_first(store: Store, name: str | None) -> Iterator[Record]:
    """Yield the records of a shift, or of all, reading no more of them than are asked for."""
    told = 0
    for most in _PAGES:
        records = store.history(name, limit=most)
        yield from list(reversed(records))[told:]
        told = len(records)
        if told < most:
            return


def _hint(store: Store, name: str) -> str:
    """Say which records of a shift can be replayed."""
    found = [
        f"{record.id} ({record.record.what})"
        for record in store.history(name, limit=_PAGES[0])
        if carries_replay(record)
    ]
    if not found:
        return f"`{typed(f'history {name} -o wide')}` has the ids"
    return f"those that can be replayed, the newest first: {some(reversed(found), _SHOWN_IDS)}"


def text(replay: Replay) -> Iterator[str]:
    """Yield the lines for a person: what was decided, how the evidence grew, and whether it is as recorded."""
    new = replay.record.record
    yield clean(f"{new.shift}: record {replay.record.id}, {local(new.at)}, {new.what} by {new.by}")
    yield f"  {clean(new.reason)}"
    yield f"  {clean(_verdict(new.evidence))}"
    yield ""
    yield from _ticks(replay)
    yield ""
    limit = f"limit {odds_of(new.evidence.get('limit'))}{_guards(new.evidence)}"
    yield f"evidence against istio {odds(replay.harm)} (odds), {limit}"
    rows = [_metric_cells(replay, index) for index in range(len(replay.metrics))]
    yield from (f"  {line}" for line in plain_table(("METRIC", "TCM BAD", "ISTIO BAD", "EXCESS (95 %)"), rows))
    yield ""
    if not replay.differences:
        yield f"replayed: evidence {odds(replay.harm)}, as recorded"
        return
    yield "DIFFERENT: the record does not follow from the counts that it carries"
    yield from (f"  {clean(each)}" for each in replay.differences)
    yield "  it was changed, or it was written by a shifter that computes otherwise"


def _verdict(recorded: Mapping[str, object]) -> str:
    return f"the verdict was {recorded.get('verdict', '?')}: {recorded.get('said', '')}"


def _guards(recorded: Mapping[str, object]) -> str:
    """Name the guards that decided besides: they look at counts, not at odds."""
    findings: Any = recorded.get("findings") or []
    seen = [each["metric"] for each in findings if each.get("guard")]
    return f"; decided by a guard: {clean(', '.join(seen))}" if seen else ""


def _ticks(replay: Replay) -> Iterator[str]:
    """Yield the table of ticks; a trail seldom begins with the share, so its first line is what was there before."""
    base, at = replay.trail.base, f"at {shown(replay.trail.base.share)}, attempt {replay.trail.base.attempt}"
    rows = [_cells(step, replay.metrics) for step in replay.steps]
    if base.counted_until:
        until = local(datetime.fromtimestamp(base.counted_until, UTC))
        yield f"{at}; `before` sums up what was counted until {until}"
        rows.insert(0, _before(base, replay.metrics))
    else:
        yield f"{at}, from the first tick on"
    yield from (f"  {line}" for line in plain_table(_HEADERS, rows) if rows)


def _before(base: Standing, metrics: Sequence[Metric]) -> list[str]:
    note = f"{base.ticks} ticks in one line" if base.ticks else "no tick at this share yet"
    if base.share <= 0:
        note = "at 0 % nothing is compared"
    return ["before", *_numbers(base, base.totals[0], _blamed(base, metrics), metrics), note]


def _cells(step: Step, metrics: Sequence[Metric]) -> list[str]:
    row, standing = step.row, step.standing
    at = datetime.fromtimestamp(row.at, UTC).astimezone()
    numbers = _numbers(standing, row.cells[0], _blamed(standing, metrics, row.cells), metrics)
    return [f"{at:%H:%M:%S}", *numbers, clean("; ".join(_notes(step)))]


def _numbers(standing: Standing, errors: Counted | None, blamed: str | None, metrics: Sequence[Metric]) -> list[str]:
    return [
        f"{standing.share:g} %",
        "?" if errors is None else f"{errors[3]:.0f}/{errors[2]:.0f}",
        "?" if errors is None else f"{errors[1]:.0f}/{errors[0]:.0f}",
        odds(evidence_of_harm(standing, metrics)),
        clean(blamed or "-"),
        excess_said(excess(standing, metrics, 0)),
    ]


def _blamed(standing: Standing, metrics: Sequence[Metric], newest: Sequence[Counted | None] = ()) -> str | None:
    """Return the metric that the odds are about; None while they blame nobody, or nothing bad was counted of it.

    `newest` are a tick's counts: a tick in which the share changed is in no total, and is held against history.
    """
    if evidence_of_harm(standing, metrics) <= 1:
        return None
    index = most_blamed(standing, metrics)
    cells = (standing.totals[index], *newest[index : index + 1])
    return metrics[index].name if any(cell is not None and cell[1] > 0 for cell in cells) else None


def _notes(step: Step) -> list[str]:
    """Return what was special about a tick, and with that how it counted."""
    row, standing = step.row, step.standing
    told = [] if row.whole else ["not whole"]
    told += ["incident"] if standing.sickness is not None else []
    told += [f"failing {standing.failing.ticks}"] if standing.failing.ticks else []
    told += [f"traffic lost {odds(math.exp(standing.lost))}"] if standing.lost >= math.log(SUSPECTED) else []
    told += ["merged"] if standing.pending else []
    return told + ([f"unmeasured: {', '.join(standing.unmeasured)}"] if standing.unmeasured else [])


def _metric_cells(replay: Replay, index: int) -> list[str]:
    requests, bad, others, theirs = replay.reached.totals[index]
    name = clean(replay.metrics[index].name)
    counts = [f"{so_many:.0f}/{of:.0f}" for so_many, of in ((theirs, others), (bad, requests))]
    return [name, *counts, excess_said(excess(replay.reached, replay.metrics, index))]


def document(replay: Replay) -> dict[str, object]:
    """Return the replay as the stable API shows it. Rates are percent."""
    new, base = replay.record.record, replay.trail.base
    return {
        "shift": new.shift,
        "record": {
            "id": replay.record.id,
            "at": stamp(new.at),
            "what": str(new.what),
            "by": new.by,
            "reason": new.reason,
            "verdict": new.evidence.get("verdict"),
            "said": new.evidence.get("said"),
            "odds": new.evidence.get("harm"),
            "oddsLimit": new.evidence.get("limit"),
        },
        "attempt": base.attempt,
        "before": _summed(base, replay.metrics) if base.counted_until else None,
        "ticks": [_tick(step, replay.metrics) for step in replay.steps],
        "odds": _finite(replay.harm),
        "metrics": [_metric(replay, index) for index in range(len(replay.metrics))],
        "asRecorded": not replay.differences,
        "differences": list(replay.differences),
    }


def _summed(base: Standing, metrics: Sequence[Metric]) -> dict[str, object]:
    """Return what was there before the first tick that the record carries one by one."""
    return {
        "until": stamp(datetime.fromtimestamp(base.counted_until, UTC)),
        "ticks": base.ticks,
        "share": base.share,
        "counts": {metric.name: _sides(cell) for metric, cell in zip(metrics, base.totals, strict=True)},
        "odds": _finite(evidence_of_harm(base, metrics)),
        "blamed": _blamed(base, metrics),
        "excessPercent": FULL_PERCENT * excess(base, metrics, 0),
    }


def _tick(step: Step, metrics: Sequence[Metric]) -> dict[str, object]:
    row, standing = step.row, step.standing
    return {
        "at": stamp(datetime.fromtimestamp(row.at, UTC)),
        "seconds": row.seconds,
        "share": standing.share,
        "counts": {
            metric.name: None if cell is None else _sides(cell) for metric, cell in zip(metrics, row.cells, strict=True)
        },
        "odds": _finite(evidence_of_harm(standing, metrics)),
        "blamed": _blamed(standing, metrics, row.cells),
        "excessPercent": FULL_PERCENT * excess(standing, metrics, 0),
        "notes": _notes(step),
    }


def _metric(replay: Replay, index: int) -> dict[str, object]:
    totals, learnt = replay.reached.totals[index], replay.reached.history.metrics[index]
    return {
        "metric": replay.metrics[index].name,
        **_sides(totals),
        "excessPercent": FULL_PERCENT * excess(replay.reached, replay.metrics, index),
        "dispersion": learnt.dispersion,
    }


def _sides(counts: Sequence[float]) -> dict[str, object]:
    requests, bad, others, theirs = counts
    return {"source": {"requests": others, "bad": theirs}, "target": {"requests": requests, "bad": bad}}


def _finite(value: float) -> float:
    return min(value, 1e300)
