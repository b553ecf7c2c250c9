"""`shifter watch`: shifts as they move. Watching changes nothing, and to stop watching stops nothing.

Who watches at night must see two things on any terminal: which shift pages, and that nothing new is nothing new. So
the mark of a page stands beside the name, which is never dropped, and a pipe gets no line for a number that moved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import click

from shifter.cli.exits import CommandError, Exit, say
from shifter.cli.output import clean, console, drawn_room, in_lines, narrowest, plain_table, rich_table
from shifter.cli.params import SHIFT, Span
from shifter.cli.session import Session, pass_session
from shifter.cli.store_options import store_option
from shifter.cli.views import View, holds, silence, split, step, views
from shifter.core.phases import Phase
from shifter.errors import StoreUnavailableError
from shifter.ports import Store

_HEADERS: Final = ("SHIFT", "PHASE", "SPLIT", "STEP", "VERDICT", "HOLDS", "REASON")
_DROPPED: Final = ("HOLDS", "STEP", "VERDICT", "REASON")
"""What a narrow terminal goes without, in this order; the reason names the holds."""

_AROUND_ROWS: Final = 6
"""Lines of a terminal that a table's header, its caption and a row of two lines may need."""

_REASON: Final = "REASON"
_REASON_LINES: Final = 2
_PAGES: Final = "! "

_REQUEST_ID = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\(request [^)\s]+\)|\b[0-9a-f]{16,}\b", re.IGNORECASE
)
"""What tells one call of a cloud from the next: a UUID, or however else an adapter's sentence names it."""

_NUMBER = re.compile(r"(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:(?:ms|[smhd])(?![a-z]))?)+", re.IGNORECASE)
"""A number or a span: `7`, `0.25`, `1e+03`, `45s`, `3h5m`."""

_Show = Callable[[list[View], datetime, str], None]
"""Shows the shifts as of a time, and what is wrong with the service if anything is."""


@click.command()
@store_option
@click.argument("shifts", nargs=-1, type=SHIFT, metavar="[SHIFT]...")
@click.option("--for", "for_", type=Span(), help="Stop after this long, e.g. 30s; the exit code is 0.")
@click.option("--every", type=Span(), default="2s", show_default=True, help="How often to look.")
@pass_session
def watch(session: Session, shifts: tuple[str, ...], for_: timedelta | None, every: timedelta) -> None:
    """Follow shifts as they move: all of them, or those named.

    On a terminal a table that is kept current, anywhere else one line per change. Ctrl-C stops watching,
    never the migration.
    """
    store = session.store()
    views(store, shifts)  # an unknown name is an error now; later it is only a shift that is gone
    until = None if for_ is None else session.now() + for_
    try:
        with _live() if session.is_terminal() else _lines() as show:
            _follow(session, store, shifts, until, every, show)
    except KeyboardInterrupt:
        raise CommandError(Exit.INTERRUPTED, "stopped watching; the migration goes on") from None


def _follow(
    session: Session,
    store: Store,
    names: tuple[str, ...],
    until: datetime | None,
    every: timedelta,
    show: _Show,
) -> None:
    said = ""
    while True:
        now = session.now()
        try:
            found = views(store, names)
            show(found, now, silence(found, now, served=session.served()))
            said = ""
        except StoreUnavailableError as error:  # it may be back at the next look
            if str(error) != said:
                said = str(error)
                say(f"note: {said}; looking again")
        if until is not None and now >= until:
            return
        left = every if until is None else min(every, until - now)
        session.sleep(left.total_seconds())


def _cells(view: View) -> list[str]:
    report = view.report
    name = f"{_PAGES if report.page else ''}{view.name}"
    row = [name, report.phase, split(view), step(view), report.verdict, holds(view), report.reason]
    return [clean(cell) for cell in row]


@contextmanager
def _live() -> Iterator[_Show]:
    from rich.live import Live  # noqa: PLC0415 - 60 ms that pipes need not pay

    terminal = console()
    with Live(console=terminal, auto_refresh=False, transient=False) as live:

        def show(found: list[View], now: datetime, silent: str) -> None:
            room = max(1, terminal.height - _AROUND_ROWS)
            first = most_urgent(found, room)
            table = rich_table(*drawn_cells([_cells(view) for view in first], terminal.width, room), whole=_REASON)
            table.caption = f"{now.astimezone():%H:%M:%S}  Ctrl-C stops watching, not the migration"
            if any(view.report.page for view in first):
                table.caption += f"  {_PAGES}somebody has to look"
            if len(first) < len(found):
                table.caption = f"and {len(found) - len(first)} more: `get` lists them\n{table.caption}"
            if silent:
                table.caption += f"\n{silent}"
            live.update(table, refresh=True)

        yield show


def most_urgent(found: Sequence[View], room: int) -> list[View]:
    """Return as many shifts as there is room for, in their order: those that page first, then those that move."""
    calm = {Phase.WAITING, Phase.COMPLETED}
    urgent = sorted(found, key=lambda view: (not view.report.page, view.report.phase in calm))[:room]
    names = {view.name for view in urgent}
    return [view for view in found if view.name in names]


def fitting(rows: Sequence[Sequence[str]], width: int) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows without the columns that a terminal of this width has no room for."""
    headers, cells = list(_HEADERS), [list(row) for row in rows]
    for header in _DROPPED:
        if narrowest(headers, cells) <= width:
            break
        column = headers.index(header)
        del headers[column]
        for row in cells:
            del row[column]
    return headers, cells


def drawn_cells(rows: Sequence[Sequence[str]], width: int, room: int) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows that fit a terminal of this width; `room` is how many lines there are for the rows.

    A reason takes at most two lines, and one where there are many shifts: a long sentence must push nobody off.
    """
    headers, cells = fitting(rows, width)
    if _REASON in headers:
        column, columns = headers.index(_REASON), drawn_room(headers, cells, _REASON, width)
        most = _REASON_LINES if _REASON_LINES * len(cells) <= room else 1
        for row in cells:
            row[column] = in_lines(row[column], columns, most)
    return headers, cells


def essence(text: str) -> str:
    """Return a sentence without what changes at every look and means nothing new: numbers, spans, ids of requests."""
    return _NUMBER.sub("#", _REQUEST_ID.sub("#", text))


@contextmanager
def _lines() -> Iterator[_Show]:
    """Print a shift again only when something other than a number or a request's id in its reason has changed."""
    last: dict[str, list[str]] = {}
    told = ""

    def show(found: list[View], now: datetime, silent: str) -> None:
        nonlocal told
        # How long it has been silent grows with every look; that it is, is said once.
        if told != essence(silent):
            told = essence(silent)
            say(f"note: {silent or 'the service is back'}")
        for view in found:
            cells = _cells(view)
            kept = [*cells[:-1], essence(cells[-1])]
            if last.get(view.name) != kept:
                last[view.name] = kept
                (line,) = plain_table(cells, [])
                click.echo(f"{now.astimezone():%H:%M:%S}   {line}")

    yield show
