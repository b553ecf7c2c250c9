"""`shifter backtest`: what a policy would have said about metrics that a datasource recorded.

The judging is `service/backtest`'s. Here is what may be asked, and how the answer is shown: what was said and when it
changed, the odds and bounds over time, and how often the policy would have cried wolf.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import wrap
from typing import Final

import click

from shifter import wiring
from shifter.cli.amounts import percent
from shifter.cli.exits import CommandError, Exit
from shifter.cli.moments import Moment
from shifter.cli.output import Format, clean, local, number, odds_shown, stamp, write_document, write_table
from shifter.cli.params import Span
from shifter.cli.session import Session, pass_session
from shifter.cli.supposing import MOST_TICKS, policy_in
from shifter.core.analysis.verdicts import odds
from shifter.core.analysis.verdicts import percent as part
from shifter.core.balancing.splits import shown
from shifter.core.documents.schema import show_duration
from shifter.errors import NotFoundError
from shifter.files.documents import load_fleet
from shifter.service.backtest.answering import Backtest
from shifter.service.backtest.answering import backtest as answered
from shifter.service.backtest.halves import CONFIDENCE, FalseAlarms
from shifter.service.backtest.judging import Said
from shifter.service.backtest.recording import Question

_FILE: Final = click.Path(path_type=Path)
_LEAST_TICKS: Final = 2
_COLUMNS: Final = 79
_MOST_CHANGES: Final = 40
_MOST_MOMENTS: Final = 12
_PERCENT: Final = 100


@click.command()
@click.option("--policy", "policy_file", type=_FILE, required=True, help="The policy file.")
@click.option("--fleet", "fleet_file", type=_FILE, required=True, help="The fleet file: datasources and timing.")
@click.option("--from", "begin", type=Moment(), required=True, help="Where the range begins: RFC 3339, or -6h.")
@click.option("--to", "end", type=Moment(), default="now", show_default=True, help="Where it ends.")
@click.option("--share", type=percent(), help="The share that istio had, percent. Default: as the metrics show.")
@click.option(
    "--window",
    type=Span(),
    default="30m",
    show_default=True,
    help="How long one trial lasts, and the rest after a rollback.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True)
@pass_session
def backtest(  # noqa: PLR0913, PLR0917 - one argument per option
    session: Session,
    policy_file: Path,
    fleet_file: Path,
    begin: datetime,
    end: datetime,
    share: float | None,
    window: timedelta,
    output: str,
) -> None:
    """Show what a policy would have said about recorded metrics, and how often it would have cried wolf.

    Only reads, and only Prometheus. The share did not follow what the policy would have said, so the range is judged at
    one share. Before the range an hour is read, to learn what tcm is like.
    """
    fleet = load_fleet(fleet_file)
    question = Question(policy_in(policy_file, fleet), fleet, begin, end, share, rest=window)
    _check(question, window, session.now())
    try:
        found = answered(question, wiring.recorded_metrics(fleet), window)
    except NotFoundError as error:
        raise CommandError(Exit.NOT_FOUND, str(error), error.remedy) from error
    if output == "table":
        _write_text(question, found, terminal=session.is_terminal())
    else:
        write_document("Backtest", backtest_document(question, found), Format(output))


def _check(question: Question, window: timedelta, now: datetime) -> None:
    """Refuse a range of which nothing can be said."""
    tick, length = show_duration(question.step), question.end - question.begin
    said = ""
    if length <= timedelta():
        said = f"the range is empty: --from {local(question.begin)} is not before --to {local(question.end)}"
    elif question.end > now:
        said = f"--to {local(question.end)} is in the future; nothing is recorded yet"
    elif length < _LEAST_TICKS * question.step:
        said = f"the range is shorter than {_LEAST_TICKS} ticks of {tick}"
    elif length / question.step > MOST_TICKS:
        most = show_duration(MOST_TICKS * question.step)
        said = f"the range has {length / question.step:.0f} ticks of {tick}; at most {MOST_TICKS} ({most}) at a time"
    elif window < _LEAST_TICKS * question.step:
        said = f"--window is shorter than {_LEAST_TICKS} ticks of {tick}"
    if said:
        raise click.UsageError(said, click.get_current_context())


def _write_text(question: Question, found: Backtest, *, terminal: bool) -> None:
    for line in _heading(question, found):
        for piece in wrap(clean(line), _COLUMNS):
            click.echo(piece)
    outcome = found.outcome
    if outcome.said:
        changes = outcome.changes
        click.echo("")
        rows = [[local(each.at), each.word, odds_shown(each.harm), each.reason] for each in changes[:_MOST_CHANGES]]
        write_table(["TIME", "SAID", "ODDS", "REASON"], rows, terminal=terminal)
        if len(changes) > _MOST_CHANGES:
            click.echo(f"and {_many(len(changes) - _MOST_CHANGES, 'more change')}; -o json has all")
        click.echo("")
        _write_course(question, outcome.said, terminal=terminal)
    click.echo("")
    for line in _alarms(found.alarms):
        for piece in wrap(clean(line), _COLUMNS):
            click.echo(piece)


def _heading(question: Question, found: Backtest) -> Iterator[str]:
    outcome = found.outcome
    known = "as given" if question.share is not None else "as the metrics show"
    at = "no share" if outcome.share is None else f"{shown(outcome.share)}, {known}"
    yield (
        f"{question.policy.name}: {at}; {local(found.begin)} to {local(found.end)}, {found.ticks} ticks of "
        f"{show_duration(question.step)}, {found.counted} of them counted"
    )
    if found.begin > question.begin:
        yield f"judged from {local(found.begin)} on: until then there was too little to know what tcm is like"
    history = found.history
    errors = history.metrics[0]
    yield (
        f"tcm before that: {_many(round(history.requests), 'request')} in {_many(history.ticks, 'tick')}, "
        f"{part(errors.rate, 1)} of them failed, dispersion {number(round(errors.dispersion, 1))}"
        f"{'' if errors.halves else ' (assumed: one pod)'}"
    )
    words = [each.word for each in outcome.said]
    if words:
        said = ", ".join(f"{word} in {_many(words.count(word), 'tick')}" for word in dict.fromkeys(words))
        yield f"it would have said: {said}"
    yield from outcome.remarks


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"


def _write_course(question: Question, said: Sequence[Said], *, terminal: bool) -> None:
    """Write odds and bounds at some moments, evenly spread over the range, the last one among them.

    The codes that are compared share a column, with the largest of their bounds.
    """
    judged = [each for each in said if each.bounds is not None]
    if not judged:
        return
    every = max(1, -(-len(judged) // _MOST_MOMENTS))
    moments = judged[::-every][::-1]
    columns: dict[str, list[str]] = {}
    for name in moments[-1].bounds or {}:
        columns.setdefault("answers" if name in question.rules.compared else name, []).append(name)
    rows = [
        [
            f"{each.at.astimezone():%m-%d %H:%M:%S}",
            odds_shown(each.harm),
            *(_bound(each, names) for names in columns.values()),
        ]
        for each in moments
    ]
    click.echo("ODDS against istio, and the EXCESS of each metric: 95 % sure that istio has no")
    click.echo("more of it than the margin's multiple of what tcm has, and so much on top.")
    click.echo("")
    write_table(["TIME", "ODDS", *(column.upper() for column in columns)], rows, terminal=terminal)


def _bound(said: Said, names: Sequence[str]) -> str:
    most = max((said.bounds or {}).get(name, _PERCENT) for name in names)
    return "?" if most >= _PERCENT else part(most, _PERCENT)


def _alarms(found: FalseAlarms) -> Iterator[str]:
    """Say how often the policy would have cried wolf."""
    length = show_duration(found.length)
    if found.impossible:
        yield f"false alarms: cannot be estimated: {found.impossible}"
        return
    skipped = f"; {found.skipped} more had too little to judge" if found.skipped else ""
    if found.most_percent is None or found.highest is None:
        yield f"false alarms: cannot be estimated: no window of {length} has enough in it{skipped}"
        return
    most = f"{_PERCENT * CONFIDENCE:.0f} % upper limit {part(found.most_percent, _PERCENT)}"
    yield (
        f"false alarms, tcm's pods against each other: {len(found.alarms)} of {_many(found.windows, 'window')} of "
        f"{length} would have rolled back ({most}); highest odds {odds(found.highest)}{skipped}"
    )
    for alarm in found.alarms[:_MOST_CHANGES]:
        yield f"false alarm {local(alarm.at)}: {alarm.reason}"


def backtest_document(question: Question, found: Backtest) -> dict[str, object]:
    """Return the answer as a document of the stable API; shares and rates in percent, moments in UTC."""
    outcome, alarms = found.outcome, found.alarms
    return {
        "policy": question.policy.name,
        "from": stamp(question.begin),
        "to": stamp(question.end),
        "judgedFrom": stamp(found.begin),
        "tickSeconds": question.step.total_seconds(),
        "ticks": found.ticks,
        "countedTicks": found.counted,
        "share": outcome.share,
        "shareObserved": question.share is None,
        "remarks": list(outcome.remarks),
        "history": {
            "ticks": found.history.ticks,
            "requests": found.history.requests,
            "edgesMs": list(found.history.edges_ms),
            "metrics": [
                {
                    "name": each.name,
                    "ratePercent": _PERCENT * each.rate,
                    "dispersion": each.dispersion,
                    "dispersionMeasured": each.halves,
                }
                for each in found.history.metrics
            ],
        },
        "changes": [{**_said_document(each), "reason": each.reason} for each in outcome.changes],
        "said": [_said_document(each) for each in outcome.said],
        "falseAlarms": {
            "windowSeconds": alarms.length.total_seconds(),
            "windows": alarms.windows,
            "skipped": alarms.skipped,
            "alarms": [{"at": stamp(each.at), "reason": each.reason} for each in alarms.alarms],
            "upperLimitPercent": alarms.most_percent,
            "highestOdds": alarms.highest,
            "impossible": alarms.impossible,
        },
    }


def _said_document(said: Said) -> dict[str, object]:
    bounds = None if said.bounds is None else dict(said.bounds)
    return {"at": stamp(said.at), "said": str(said.word), "odds": said.harm, "excessPercent": bounds}
