"""How an order is placed: recorded in the store, asked for first where much moves, and waited for with `--wait`.

The order is the whole effect: nothing here talks to the cloud. Whether it may be carried out is for the service
to say (`core/deciding`), so an order given while the service restarts is answered when it is back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from shifter.cli.exits import CommandError, Exit, say, worst
from shifter.cli.output import clean
from shifter.cli.params import SHIFT, Span
from shifter.cli.session import Session, pass_session
from shifter.cli.store_options import store_option
from shifter.cli.views import Found, View, find, silence, views
from shifter.core.deciding.orders import FLEET, STOPPING_VERBS, Answer, Order, OrderRequest
from shifter.errors import ShifterError, StoreUnavailableError
from shifter.ports import Store

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_LOOK_SECONDS: Final = 0.5

_GONE: Final = "there is a history of it, and nothing is saved of it any more; it begins anew if its policy is there"
_KEPT: Final = (
    "The order is kept: a service that remembers the shift obeys it now, any other may wait until that is done"
)

LONGEST_REASON: Final = 1000
"""Characters of a reason: a few sentences, not a pasted log. No store takes more."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What every ordering command is given besides the shift. Without `wait` the command ends once it is recorded."""

    reason: str
    wait: bool
    timeout: timedelta
    by: str | None


def order_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all orders have in common; the command gets it as one `wish`."""

    @store_option
    @click.option("--reason", default="", help="Why; kept in the history.")
    @click.option("--wait", is_flag=True, help="Wait for the service's answer; refused: exit code 4.")
    @click.option("--timeout", type=Span(), default="60s", show_default=True, help="How long --wait waits at most.")
    @click.option("--by", hidden=True, help="Who asks, if not the user at this machine.")
    @pass_session
    @functools.wraps(command)
    def wished(session: Session, /, **options: Any) -> int:  # noqa: ANN401 - whatever the command declares
        context = click.get_current_context()
        if not options["wait"] and context.get_parameter_source("timeout") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--timeout is for --wait", context)
        common = {key: options.pop(key) for key in ("reason", "wait", "timeout", "by")}
        reason = clean(common["reason"])
        if len(reason) > LONGEST_REASON:
            said = f"--reason is a few sentences, at most {LONGEST_REASON} characters; these are {len(reason)}"
            raise click.UsageError(said, context)
        code: int = command(session, Wish(**{**common, "reason": reason}), **options)
        return code

    return wished


def many(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let an order name several shifts, or all; the command gets them as `shifts`, empty for all."""

    @click.argument("shifts", nargs=-1, type=SHIFT, metavar="SHIFT...", shell_complete=_names)
    @click.option("--all", "all_", is_flag=True, help="Every shift there is: one order each.")
    @functools.wraps(command)
    def named(*given: Any, shifts: tuple[str, ...], all_: bool, **options: Any) -> int:  # noqa: ANN401 - as above
        if all_ == bool(shifts):
            raise click.UsageError("name the shifts, or --all; one of the two", click.get_current_context())
        code: int = command(*given, shifts=tuple(dict.fromkeys(shifts)), **options)
        return code

    return named


def _names(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return the shifts that may be named; none beside `--all`."""
    return [] if context.params.get("all_") else SHIFT.shell_complete(context, param, incomplete)


confirmed = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def asking(session: Session, wish: Wish) -> str:
    """Return who asks: the user at this machine, unless `--by` names another. In a cluster, who it says that asks.

    Raises:
        CommandError: a name is claimed where one is verified.
        ShifterError: the cluster does not say who asks.
    """
    if isinstance(session.address, Path):
        return clean(wish.by or session.asker())
    if wish.by is not None:
        said = "--by is for a store in a file: in a cluster an order is in the name that the cluster verified"
        raise CommandError(Exit.USAGE, said, "--as asks as somebody else, if the cluster lets you")
    return session.asker()


def place(
    session: Session,
    wish: Wish,
    shifts: tuple[str, ...],
    request: OrderRequest,
    plan: Callable[[View], str] | None = None,
) -> int:
    """Record one order per shift, asking first if there is a plan to show, and wait for the answers if wished.

    Args:
        session: what the command stands in.
        wish: what all orders have in common.
        shifts: their names; empty for all shifts there are, one order each.
        request: the order; the shift's name is put in.
        plan: returns what is about to happen to a shift, in a line; empty if there is nothing to ask about.

    Returns:
        The worst exit code of them all.

    Raises:
        CommandError: there is no such shift, or the person did not confirm.
    """
    store = session.store()
    found = _found(session, store, request, shifts)
    names = shifts or sorted([*(view.name for view in found.views), *found.lost])
    if not names:
        raise CommandError(Exit.NOT_FOUND, "there are no shifts yet")
    _warn_of_silence(session, found.views)
    _warn_of_trouble(found)
    barred = _barred(session, request, names)
    if plan is not None and (plans := [clean(line) for line in _plans(plan, found, barred)]):
        _ask(session, plans)
    orders: list[Order] = []

    def record(name: str) -> None:
        if name in barred:
            raise barred[name]
        orders.append(store.create_order(replace(request, shift=name), session.now()))
        if not wish.wait:
            click.echo(f"{_what(orders[-1])} recorded; the service will answer")

    code = worst([partial(record, name) for name in names])
    return max(code, _wait(session, store, orders, wish.timeout)) if wish.wait and orders else code


def place_for_all(
    session: Session, wish: Wish, request: OrderRequest, plan: Callable[[Store], str] | None = None
) -> int:
    """Record one order to all shifts together, and wait for its answer if wished; return the exit code.

    Args:
        session: what the command stands in.
        wish: what all orders have in common.
        request: the order.
        plan: returns what is about to happen, in a line; empty if there is nothing to ask about.

    Raises:
        CommandError: who asks may not order this, or did not confirm.
    """
    store = session.store()
    if refusal := session.refusal(request.by, request.verb, FLEET):
        raise refusal
    _warn_of_silence(session, find(store).views)
    if plan is not None and (said := plan(store)):
        _ask(session, [clean(said)])
    order = store.create_order(request, session.now())
    if wish.wait:
        return _wait(session, store, [order], wish.timeout)
    click.echo(f"{_what(order)} recorded; the service will answer")
    return Exit.OK


def _found(session: Session, store: Store, request: OrderRequest, shifts: Sequence[str]) -> Found:
    """Return what there is of the shifts.

    In a cluster a person can take a Shift away that a service looks after, and that service knows it for a while after
    that. So what stops or takes back needs no more than its name, if that has a history; any other name is a slip.
    """
    try:
        return find(store, shifts)
    except CommandError:
        if isinstance(session.address, Path) or request.verb not in STOPPING_VERBS:
            raise
        known = {*store.load(), *store.reports()}
        gone = {name: _GONE for name in shifts if name not in known}
        if not all(_has_history(store, name) for name in gone) or not session.served():
            raise
    listed = [name for name in shifts if name not in gone]
    found = find(store, listed) if listed else Found((), {})
    return Found(found.views, {**found.lost, **gone})


def _has_history(store: Store, name: str) -> bool:
    try:
        return bool(store.history(name, limit=1))
    except ShifterError:  # no permission to read it, for one
        return False


def _warn_of_silence(session: Session, found: Sequence[View]) -> None:
    if silent := silence(found, session.now(), served=session.served()):
        say(f"note: {silent}")


def _warn_of_trouble(found: Found) -> None:
    """Say that an order may wait until a state can be read; a service that had read it goes on by what it remembers."""
    troubles = {view.name: view.trouble for view in found.views if view.trouble} | dict(found.lost)
    for name, trouble in sorted(troubles.items()):
        say(f"note: {clean(name)}: {clean(trouble)}. {_KEPT}")


def _barred(session: Session, request: OrderRequest, names: Sequence[str]) -> Mapping[str, CommandError]:
    """Return what may not be ordered of which shifts, as far as is known before it is; the store has the last word."""
    if len(names) > 1 and session.refusal(request.by, request.verb, FLEET) is None:
        return {}  # who may order it of all shifts need not be asked about a thousand of them
    refusals = ((name, session.refusal(request.by, request.verb, name)) for name in names)
    return {name: refusal for name, refusal in refusals if refusal is not None}


def _plans(plan: Callable[[View], str], found: Found, barred: Container[str]) -> list[str]:
    told = [line for view in found.views if view.name not in barred and (line := plan(view))]
    return [*told, *(f"order {name}, of which nothing can be read" for name in found.lost if name not in barred)]


def _wait(session: Session, store: Store, orders: Sequence[Order], timeout: timedelta) -> int:
    """Print the answers, all of them within `timeout`; return the worst exit code."""
    until = session.now() + timeout
    try:
        return worst([partial(_print_answer, session, store, order, until) for order in orders])
    except KeyboardInterrupt:
        what = ", ".join(_what(order) for order in orders)
        stays = "stays" if len(orders) == 1 else "stay"
        raise CommandError(Exit.INTERRUPTED, f"stopped waiting; {what} {stays} recorded") from None


def _what(order: Order) -> str:
    whom = "all shifts" if order.request.shift == FLEET else order.request.shift
    return clean(f"order {order.id}: {order.request.verb} {whom}")


def _ask(session: Session, plans: Sequence[str]) -> None:
    if not session.can_ask():
        said = "; ".join(plans)
        raise CommandError(Exit.USAGE, f"{said}: not confirmed, and there is no terminal to ask", "pass --yes")
    if not click.confirm("\n".join([*plans, "Go ahead?"]), err=True):
        raise CommandError(Exit.UNEXPECTED, "not confirmed; nothing was recorded")


def _print_answer(session: Session, store: Store, order: Order, until: datetime) -> None:
    """Print the text of an accepted order.

    Raises:
        CommandError: refused (4), or not answered in time (124).
    """
    what = _what(order)
    while True:
        try:
            order = store.order(order.id)
        except StoreUnavailableError as error:  # the order is in it; it may be back at the next look
            say(f"note: {error}; looking again")
        if order.answer is Answer.ACCEPTED:
            click.echo(clean(f"{what} accepted: {order.answer_text}"))
            return
        if order.answer is Answer.REFUSED:
            raise CommandError(Exit.REFUSED, clean(f"{what} refused: {order.answer_text}"))
        if session.now() >= until:
            raise CommandError(Exit.TIMED_OUT, f"{what} is not answered yet", _late(session, store, order))
        session.sleep(_LOOK_SECONDS)


def _late(session: Session, store: Store, order: Order) -> str:
    """Return what to know about an order that nobody has answered in time."""
    kept = "it stays recorded; no need to repeat it"
    try:
        names = [] if order.request.shift == FLEET else [order.request.shift]
        silent = silence(views(store, names), session.now(), served=session.served())
    except ShifterError:  # the store is away: what it holds cannot be told now
        return kept
    return f"{kept}; {silent}" if silent else kept
