"""`shifter status`: is everything all right? One answer for a person, a prompt and a cron job.

Unhealthy is what somebody has to look at: no service, or one that hangs; a shift that pages; a shift that the
service looks past; an order that nobody answers. A pause and a freeze are somebody's wish, and healthy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import click

from shifter.cli.exits import Exit, code_of
from shifter.cli.output import Format, ago, clean, odds_shown, span, stamp, write_document
from shifter.cli.session import Session, pass_session, typed
from shifter.cli.store_options import store_option
from shifter.cli.views import View, order_document, silence, views
from shifter.core.analysis.verdicts import odds
from shifter.core.deciding.orders import FLEET, STRAY_GRACE, Order, words_of
from shifter.core.phases import Phase
from shifter.core.state import Freeze
from shifter.errors import ShifterError
from shifter.ports import Store

LATE_ORDER: Final = timedelta(minutes=1)
"""A running service answers within about a second; an order that waits longer than this is in trouble."""

SHORT_COLUMNS: Final = 60
"""What `--short` takes of a prompt at most."""

_LABEL_WIDTH: Final = 10


@dataclass(frozen=True, slots=True)
class Status:
    """What there is to know about all shifts together, as of `at`. `silent` says what is wrong with the service.

    `strays` are those of the orders whose shift there is not: the service waits a while for it, and refuses them then.
    `closed` says why nobody can give an order at all; `where` is in which namespace, for a sentence.
    """

    at: datetime
    found: tuple[View, ...]
    silent: str
    served: bool
    orders: tuple[Order, ...]
    freezes: tuple[Freeze, ...]
    strays: tuple[Order, ...] = ()
    closed: str = ""
    where: str = ""

    @property
    def pages(self) -> tuple[View, ...]:
        """The shifts that somebody should look at."""
        return tuple(view for view in self.found if view.report.page)

    @property
    def passed_over(self) -> tuple[View, ...]:
        """The shifts that a service which runs does not look at."""
        return () if self.silent else tuple(view for view in self.found if view.silent_for(self.at))

    @property
    def late_orders(self) -> tuple[Order, ...]:
        """The orders that should have been answered long ago."""
        return tuple(order for order in self.orders if self.at - order.at > self._patience(order))

    def _patience(self, order: Order) -> timedelta:
        return LATE_ORDER + STRAY_GRACE if order in self.strays else LATE_ORDER

    @property
    def most_blamed(self) -> View | None:
        """The shift under way that the odds are most against; None if there is none with any evidence."""
        exposed = [view for view in self.found if view.report.wanted > 0 and view.report.harm is not None]
        return max(exposed, key=lambda view: view.report.harm or 0.0, default=None)

    @property
    def looked_at(self) -> datetime | None:
        """When the service last told anything about any shift."""
        return max((view.report.at for view in self.found if view.reported), default=None)

    @property
    def healthy(self) -> bool:
        """Whether nobody has to look."""
        return not (self.silent or self.closed or self.pages or self.passed_over or self.late_orders)


@click.command()
@store_option
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
@click.option("--short", is_flag=True, help="One line of at most 60 columns, for a prompt; nothing on stderr.")
@pass_session
def status(session: Session, output: str, *, short: bool) -> int:
    """Tell whether everything is all right: exit code 0, or 6 if somebody has to look.

    The service, the shifts by phase, who pages and why, the orders that wait. A store that cannot be read is the error
    that it is for every command: 5 if nobody answers, 4 if it refuses.
    """
    if short and output != "text":
        raise click.UsageError("--short has no other form", click.get_current_context())
    try:
        found = _look(session)
    except ShifterError as error:
        if short:
            click.echo("shifter: the store cannot be read")
            return code_of(error)
        raise
    if short:
        click.echo(short_line(found))
    elif output == "text":
        for line in status_text(found):
            click.echo(line)
    else:
        write_document("Status", status_document(found), Format(output))
    return Exit.OK if found.healthy else Exit.UNHEALTHY


def _look(session: Session) -> Status:
    store, now = session.store(), session.now()
    found, served, orders = views(store), session.served(), tuple(store.open_orders())
    return Status(
        at=now,
        found=tuple(found),
        silent=silence(found, now, served=served),
        served=served,
        orders=orders,
        freezes=store.load_fleet().state.freezes,
        strays=_strays(store, orders, found),
        closed=session.closed(),
        where=session.where(),
    )


def _strays(store: Store, orders: Sequence[Order], found: Sequence[View]) -> tuple[Order, ...]:
    """Return the orders for shifts that there are not; one of which nothing can be read is one all the same."""
    shown = {FLEET, *(view.name for view in found)}
    missed = [order for order in orders if order.request.shift not in shown]
    kept = {*store.load(), *store.reports()} if missed else set()
    return tuple(order for order in missed if order.request.shift not in kept)


def short_line(status: Status) -> str:
    """Return the status in a line for a prompt: what is wrong, else how far it all is."""
    if not status.served:
        return "shifter: no service runs"
    if status.silent:
        return "shifter: the service hangs"
    phases = Counter(view.report.phase for view in status.found)
    done, moving = phases[Phase.COMPLETED], phases[Phase.SHIFTING]
    said = [f"{moving} shifting"] if moving else []
    said += [f"{len(status.pages)} PAGE"] if status.pages else []
    said += [f"{len(status.passed_over)} not looked at"] if status.passed_over else []
    said += [f"{len(status.late_orders)} unanswered"] if status.late_orders else []
    said += ["no order possible"] if status.closed else []
    said += ["frozen"] if status.freezes else []
    if status.healthy:
        said.insert(0, f"ok {done}/{len(status.found)} done")
    line = f"shifter: {said[0]}"
    for part in said[1:]:
        if len(line) + len(part) + 2 <= SHORT_COLUMNS:
            line += f", {part}"
    return line


def status_text(status: Status) -> Iterator[str]:
    """Yield the status as people read it; of each trouble one line, with the command that shows more."""
    yield "healthy" if status.healthy else "UNHEALTHY: somebody has to look"
    yield ""
    looked = status.looked_at
    last = f"last looked {ago(looked, status.at)}" if looked else "has not looked at any shift yet"
    yield _labelled("service", status.silent or f"runs, {last}")
    if not status.served:  # of one that hangs the sentence says it
        yield _labelled("", f"it {last}")
    yield _labelled("shifts", _phases(status))
    for index, freeze in enumerate(status.freezes):
        why = f": {freeze.reason}" if freeze.reason else ""
        yield _labelled("" if index else "frozen", f"by {freeze.by}, {ago(freeze.at, status.at)}{why}")
    if (most := status.most_blamed) is not None:
        limit = "" if most.report.harm_limit is None else f", limit {odds(most.report.harm_limit)}"
        yield _labelled("odds", f"most against {most.name}: {odds_shown(most.report.harm)}{limit}")
    waiting = len(status.orders)
    waits = f"{waiting} wait{'s' * (waiting == 1)} for an answer" if waiting else "none waits"
    yield _labelled("orders", f"{waits}; none can be given: {status.closed}" if status.closed else waits)
    yield from _section("pages", (_pointed(view, view.report.reason) for view in status.pages))
    overdue = ((view, view.silent_for(status.at) or timedelta()) for view in status.passed_over)
    yield from _section("not looked at", (_pointed(view, f"for {span(quiet)}") for view, quiet in overdue))
    yield from _section("open orders", (_order(order, status) for order in status.orders))


def _labelled(label: str, text: str) -> str:
    return f"{label:<{_LABEL_WIDTH}}{clean(text)}"


def _phases(status: Status) -> str:
    found = status.found
    if not found and status.where and not status.served:
        return f"none{status.where}: is shifter installed in it? -n names another one"
    if not found:
        return "none yet"
    counted = Counter(view.report.phase for view in found)
    return f"{len(found)}: {', '.join(f'{counted[phase]} {phase}' for phase in Phase if counted[phase])}"


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    for index, line in enumerate(lines):
        if index == 0:
            yield from ("", title)
        yield f"  {clean(line)}"


def _pointed(view: View, said: str) -> str:
    return f"{view.name}: {said}; `{typed(f'describe {view.name}')}`"


def _order(order: Order, status: Status) -> str:
    waited = span(status.at - order.at)
    when = f"unanswered for {waited}" if order in status.late_orders else f"given {waited} ago"
    stray = f"; there is no shift {order.request.shift!r}" if order in status.strays else ""
    return f"{order.id} {words_of(order.request)} of {order.request.shift} by {order.request.by}, {when}{stray}"


def status_document(status: Status) -> dict[str, object]:
    """Return the status as the stable API shows it."""
    counted = Counter(view.report.phase for view in status.found)
    return {
        "healthy": status.healthy,
        "service": {
            "running": status.served and not status.silent,
            "lastLookedAt": stamp(status.looked_at),
            "problem": status.silent or None,
        },
        "shifts": {"total": len(status.found), "byPhase": {str(phase): counted[phase] for phase in Phase}},
        "pages": [
            {
                "shift": view.name,
                "reason": view.report.reason,
                "odds": view.report.harm,
                "oddsLimit": view.report.harm_limit,
            }
            for view in status.pages
        ],
        "notLookedAt": [{"shift": view.name, "since": stamp(view.report.at)} for view in status.passed_over],
        "frozen": [{"by": each.by, "reason": each.reason, "at": stamp(each.at)} for each in status.freezes],
        "openOrders": [order_document(order) for order in status.orders],
        "noOrders": status.closed or None,
    }
