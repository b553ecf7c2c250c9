"""The commands that ask something of a shift: one order into the store and, with `--wait`, its answer out of it.

The order is the whole effect: nothing here talks to the cloud. Whether it may be carried out is for the service
to say (`decide.py`), so an order given while the service restarts is answered when it is back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import click

from shifter.cli.exits import CommandError, Exit, say
from shifter.cli.output import clean
from shifter.cli.session import Session, Span, pass_session, store_option
from shifter.cli.views import View, split, views, warn_of_silence
from shifter.core.orders import Answer, Order, OrderRequest, Verb
from shifter.core.splits import FULL_PERCENT, shown
from shifter.errors import StoreUnavailableError
from shifter.ports import Store

_LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Wish:
    """What every ordering command is given besides the shift. Without `wait` the command ends once it is recorded."""

    reason: str
    wait: bool
    timeout: timedelta
    by: str | None


def _order_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all orders have in common; the command gets it as one `wish`."""

    @click.argument("shift")
    @store_option
    @click.option("--reason", default="", help="Why; kept in the history.")
    @click.option("--wait", is_flag=True, help="Wait for the service's answer; refused: exit code 4.")
    @click.option("--timeout", type=Span(), default="60s", show_default=True, help="How long --wait waits at most.")
    @click.option("--by", hidden=True, help="Who asks, if not the user at this machine.")
    @pass_session
    @functools.wraps(command)
    def wished(session: Session, /, shift: str, **options: Any) -> None:  # noqa: ANN401 - whatever the command declares
        common = {key: options.pop(key) for key in ("reason", "wait", "timeout", "by")}
        command(session, shift, Wish(**{**common, "reason": clean(common["reason"])}), **options)

    return wished


_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.command()
@_order_options
def pause(session: Session, shift: str, wish: Wish) -> None:
    """Stop raising a shift's share. A failing verdict still sends it back."""
    _place(session, wish, OrderRequest(shift, Verb.PAUSE, _by(session, wish), wish.reason))


@click.command()
@_order_options
def resume(session: Session, shift: str, wish: Wish) -> None:
    """End a pause."""
    _place(session, wish, OrderRequest(shift, Verb.RESUME, _by(session, wish), wish.reason))


@click.command()
@_order_options
def retry(session: Session, shift: str, wish: Wish) -> None:
    """Start a rolled back shift over, from its first step."""
    _place(session, wish, OrderRequest(shift, Verb.RETRY, _by(session, wish), wish.reason))


@click.command()
@_yes
@_order_options
def rollback(session: Session, shift: str, wish: Wish, *, yes: bool) -> None:
    """Send all of a shift's traffic back to TCM. Passes every hold."""
    request = OrderRequest(shift, Verb.ROLLBACK, _by(session, wish), wish.reason)
    _place(session, wish, request, None if yes else _plan_to(0.0, "roll back"))


@click.command()
@_yes
@click.option("--full", is_flag=True, help="Go to 100 % at once.")
@click.option("--override", is_flag=True, help="Go although the verdict fails: for the day TCM dies. Needs --reason.")
@_order_options
def promote(session: Session, shift: str, wish: Wish, *, full: bool, override: bool, yes: bool) -> None:
    """Take the next step now: ends a pause, skips the soak and missing evidence.

    Never passes drift, preflight or a failing verdict.
    """
    if override and not (full and wish.reason):
        raise click.UsageError("--override needs --full and --reason", click.get_current_context())
    request = OrderRequest(shift, Verb.PROMOTE, _by(session, wish), wish.reason, full=full, override=override)
    act = "promote, whatever the verdict says," if override else "promote"
    _place(session, wish, request, _plan_to(FULL_PERCENT, act) if full and not yes else None)


def _by(session: Session, wish: Wish) -> str:
    return clean(wish.by or session.user())


def _plan_to(share: float, act: str) -> Callable[[View], str]:
    def plan(view: View) -> str:
        namespaces = ", ".join(view.report.namespaces)
        return f"{act} {view.name}: {split(view)} → {shown(share)} (namespaces: {namespaces})"

    return plan


def _place(session: Session, wish: Wish, request: OrderRequest, plan: Callable[[View], str] | None = None) -> None:
    """Record the order, after asking if there is a plan to show, and wait for its answer if that is wished."""
    store = session.store()
    (view,) = views(store, [request.shift])
    if plan is not None:
        _ask(session, clean(plan(view)))
    order = store.create_order(request, session.now())
    warn_of_silence([view], session.now(), "the order is kept and will be carried out when it does")
    if wish.wait:
        try:
            click.echo(clean(_answer(session, store, order, wish.timeout)))
        except KeyboardInterrupt:
            what = f"order {order.id}: {request.verb} {view.name}"
            raise CommandError(Exit.INTERRUPTED, f"stopped waiting; {what} stays recorded") from None
    else:
        click.echo(f"order {order.id}: {request.verb} {view.name} recorded; the service will answer")


def _ask(session: Session, plan: str) -> None:
    if not session.can_ask():
        raise CommandError(Exit.USAGE, f"{plan}: not confirmed, and there is no terminal to ask", "pass --yes")
    if not click.confirm(f"{plan}\nGo ahead?", err=True):
        raise CommandError(Exit.UNEXPECTED, "not confirmed; nothing was recorded")


def _answer(session: Session, store: Store, order: Order, timeout: timedelta) -> str:
    """Return the text of an accepted order.

    Raises:
        CommandError: refused (4), or not answered in time (124).
    """
    what = f"order {order.id}: {order.request.verb} {order.request.shift}"
    until = session.now() + timeout
    while True:
        try:
            order = store.order(order.id)
        except StoreUnavailableError as error:  # the order is in it; it may be back at the next look
            say(f"note: {error}; looking again")
        if order.answer is Answer.ACCEPTED:
            return f"{what} accepted: {order.answer_text}"
        if order.answer is Answer.REFUSED:
            raise CommandError(Exit.REFUSED, clean(f"{what} refused: {order.answer_text}"))
        if session.now() >= until:
            raise CommandError(
                Exit.TIMED_OUT, clean(f"{what} is not answered yet"), "it stays recorded; no need to repeat it"
            )
        session.sleep(_LOOK_SECONDS)
