"""The commands that only look: `get`, `describe` and `history`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from shifter.cli.description import describe_text
from shifter.cli.exits import Exit, say
from shifter.cli.output import Format, clean, local, odds_shown, span, write_document, write_table
from shifter.cli.params import SHIFT
from shifter.cli.session import Session, pass_session
from shifter.cli.store_options import store_option
from shifter.cli.views import (
    View,
    holds,
    order_document,
    record_document,
    shift_document,
    split,
    step,
    views,
    waits_for,
    warn_of_silence,
)
from shifter.core.deciding.orders import Order, words_of
from shifter.core.records import NewRecord, Record, What

_LISTS = click.Choice([str(form) for form in Format])
_DESCRIBED_RECORDS: Final = 5


@click.command()
@store_option
@click.argument("shifts", nargs=-1, type=SHIFT, metavar="[SHIFT]...")
@click.option("-o", "--output", type=_LISTS, default="table", show_default=True, help="Form of the answer.")
@pass_session
def get(session: Session, shifts: tuple[str, ...], output: str) -> None:
    """List shifts, one line each: all of them, or those named.

    AGE is how long the shift has been in its phase. ODDS (-o wide) are those against Istio.
    """
    form, now = Format(output), session.now()
    found = views(session.store(), shifts)
    nothing = "" if found else _nothing(session)
    if form in {Format.JSON, Format.YAML}:
        write_document("ShiftList", {"items": [shift_document(view) for view in found]}, form)
    elif form is Format.NAME:
        for view in found:
            click.echo(f"shift/{clean(view.name)}")
    elif nothing:
        say(nothing)
    else:
        headers = ["SHIFT", "PHASE", "SPLIT", "STEP", "VERDICT", "HOLDS", "AGE"]
        wide = form is Format.WIDE
        rows = [_row(view, span(now - view.report.since), wide=wide) for view in found]
        write_table(
            [*headers, "OBSERVED", "ODDS", "ATTEMPT", "REASON"] if wide else headers,
            rows,
            terminal=session.is_terminal(),
        )
    warn_of_silence(found, now, served=session.served())


def _nothing(session: Session) -> str:
    """Return what it means that there are no shifts.

    Raises:
        NotFoundError: there is not even such a namespace.
    """
    where = session.where()
    session.closed()
    if where and not session.served():
        return f"no shifts{where}, and nobody leads there: is shifter installed in it? -n names another one"
    return f"no shifts yet{where}: the service takes them from its policy files"


def _row(view: View, age: str, *, wide: bool) -> list[str]:
    report = view.report
    row = [view.name, report.phase, split(view), step(view), report.verdict, holds(view), age]
    if wide:
        observed = "?" if report.observed is None else f"{report.observed:.4g} %"
        row += [observed, odds_shown(report.harm), str(report.attempt), report.reason]
    return row


@click.command()
@store_option
@click.argument("shift", type=SHIFT)
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
@pass_session
def describe(session: Session, shift: str, output: str) -> None:
    """Explain why a shift is where it is.

    The evidence against Istio and what is known of it, the holds, what it waits for, who did what last.
    """
    store, now = session.store(), session.now()
    (view,) = views(store, [shift])
    orders = [order for order in store.open_orders() if order.request.shift == shift]
    records = store.history(shift, limit=_DESCRIBED_RECORDS)
    if output == "text":
        for line in describe_text(view, orders, records, now):
            click.echo(line)
    else:
        body = {
            **shift_document(view),
            "waitsFor": waits_for(view, orders),
            "openOrders": [order_document(order) for order in orders],
            "history": [record_document(record) for record in records],
        }
        write_document("Shift", body, Format(output))
    warn_of_silence([view], now, served=session.served())


@click.command()
@store_option
@click.argument("shift", required=False, type=SHIFT)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Newest records to show.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json", "yaml"]), default="table", show_default=True
)
@click.option("--verify", is_flag=True, help="Check instead that no record was changed, taken out or put in.")
@pass_session
def history(session: Session, *, shift: str | None, limit: int, output: str, verify: bool) -> int:
    """Show what happened, oldest first: when, who, what and why.

    With --verify, all records of all shifts are checked; exit code 6 if history is not as it was written. In a
    cluster each shift has a chain of its own, and one alone can be checked.
    """
    if verify:
        return _verified(session, shift, Format(output))
    store, form = session.store(), Format(output)
    newest = store.history(shift, limit=limit + 1)
    records = newest[-limit:]
    if shift is not None and not records:
        views(store, [shift])  # an unknown name is an error, a shift without history is not
    if form in {Format.JSON, Format.YAML}:
        write_document("HistoryList", {"items": [record_document(record) for record in records]}, form)
    else:
        waiting = [order for order in store.open_orders() if shift in {None, order.request.shift}]
        _write_history(session, records, waiting, named=shift is None, wide=form is Format.WIDE)
    if len(newest) > limit:
        say(f"the newest {limit} of more; --limit shows more of them")
    return Exit.OK


def _verified(session: Session, shift: str | None, form: Format) -> int:
    from shifter.cli.verifying import verify  # noqa: PLC0415 - for this one option

    context = click.get_current_context()
    if context.get_parameter_source("limit") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--verify checks all records: leave --limit out", context)
    return verify(session, shift, form)


def _write_history(
    session: Session, records: Sequence[Record], waiting: Sequence[Order], *, named: bool, wide: bool
) -> None:
    """Write the table: what happened, then the orders that wait for their answer."""
    if not records and not waiting:
        say("no history yet")
        return
    headers = [
        "TIME",
        *(["SHIFT"] if named else []),
        "WHO",
        "WHAT",
        *(["ID", "SEQ", "EPOCH"] if wide else []),
        "REASON",
    ]
    rows = [_history_row(record.record, str(record.id), named=named, wide=wide) for record in records]
    rows += [_history_row(_unanswered(order), "-", named=named, wide=wide) for order in waiting]
    write_table(headers, rows, terminal=session.is_terminal())


def _unanswered(order: Order) -> NewRecord:
    asked = order.request
    return NewRecord(order.at, asked.shift, What.ORDER, asked.by, f"{words_of(order.request)} (not answered yet)")


def _history_row(new: NewRecord, id_: str, *, named: bool, wide: bool) -> list[str]:
    row = [local(new.at), *([new.shift] if named else []), new.by, new.what]
    if wide:
        row += [id_, str(new.sequence or "-"), str(new.epoch or "-")]
    return [*row, new.reason]
