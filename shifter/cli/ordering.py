"""The commands that ask something of a shift, or of all of them: each turns its options into one kind of order.

How an order is recorded, confirmed and waited for is the same for all of them and in `placing.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Final

import click

from shifter.cli.amounts import percent
from shifter.cli.output import ago
from shifter.cli.params import SHIFT, Span
from shifter.cli.placing import Wish, asking, confirmed, many, order_options, place, place_for_all
from shifter.cli.session import Session
from shifter.cli.views import View, split, views
from shifter.core.balancing.splits import FULL_PERCENT, shown
from shifter.core.deciding.orders import FLEET, LONGEST_HANDS_OFF, OrderRequest, Verb
from shifter.core.documents.schema import show_duration
from shifter.core.state import ShiftState
from shifter.ports import Store

_OVERRIDDEN: Final = ", whatever the verdict says; from then on nothing goes back by itself until a retry"


def _steps(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the steps above the verified share that begin like what was typed."""
    state = _state_of(context)
    return (
        [] if state is None else _begun(incomplete, [each for each in state.policy.spec.ladder if each > state.share])
    )


def _gates(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the gates that nobody has approved and that begin like what was typed."""
    state = _state_of(context)
    if state is None:
        return []
    approved = {approval.before for approval in state.approved}
    return _begun(incomplete, [each for each in state.policy.gates if each not in approved])


def _begun(incomplete: str, shares: Sequence[float]) -> list[str]:
    return [shown for share in shares if (shown := f"{share:g}").startswith(incomplete)]


def _state_of(context: click.Context) -> ShiftState | None:
    """Return what is saved of the shift that was typed before the option; None if nothing is."""
    # While an option waits for its value click has not told the words apart from it yet: they are what is left.
    words = [context.params.get("shift"), *context.args]
    session, name = context.find_object(Session), next((word for word in words if word), None)
    if session is None or name is None:
        return None
    with closing(session.glance()) as store:
        saved = store.load().get(SHIFT.convert(name, None, context))
    return None if saved is None else saved.state


@click.command()
@click.option("--hands-off", is_flag=True, help="Write nothing at all, not even a rollback. Needs --for and --reason.")
@click.option("--for", "for_", type=Span(), help="How long --hands-off lasts, e.g. 30m; the pause stays after it.")
@order_options
@many
def pause(session: Session, wish: Wish, shifts: tuple[str, ...], *, hands_off: bool, for_: timedelta | None) -> int:
    """Stop raising a shift's share. A failing verdict still sends it back, unless --hands-off says otherwise."""
    context = click.get_current_context()
    if hands_off != (for_ is not None):
        raise click.UsageError("--hands-off and --for need each other", context)
    if hands_off and not wish.reason:
        raise click.UsageError("--hands-off needs --reason: it keeps shifter from going back", context)
    if for_ is not None and for_ > LONGEST_HANDS_OFF:
        raise click.UsageError(f"--for is at most {show_duration(LONGEST_HANDS_OFF)} at a time", context)
    request = OrderRequest("", Verb.PAUSE, asking(session, wish), wish.reason, hands_off=for_)
    return place(session, wish, shifts, request)


@click.command()
@order_options
@many
def resume(session: Session, wish: Wish, shifts: tuple[str, ...]) -> int:
    """End a pause, hands off or not."""
    return place(session, wish, shifts, OrderRequest("", Verb.RESUME, asking(session, wish), wish.reason))


@click.command()
@order_options
@many
def retry(session: Session, wish: Wish, shifts: tuple[str, ...]) -> int:
    """Start a rolled back shift over, from its first step; or let one that stepped back go up again."""
    return place(session, wish, shifts, OrderRequest("", Verb.RETRY, asking(session, wish), wish.reason))


@click.command()
@click.argument("shift", type=SHIFT)
@click.option("--before", type=percent(), shell_complete=_gates, help="Which gate, percent. Default: the next.")
@order_options
def approve(session: Session, wish: Wish, shift: str, *, before: float | None) -> int:
    """Let the share pass a gate of its policy (`approvals`). For this attempt only; approving ahead is possible."""
    if before is None:
        # Named now, so that what is approved is what was seen, however long the order waits.
        (view,) = views(session.store(), [shift])
        before = None if view.state is None else view.state.gate(FULL_PERCENT)
    request = OrderRequest("", Verb.APPROVE, asking(session, wish), wish.reason, share=before)
    return place(session, wish, (shift,), request)


@click.command()
@confirmed
@click.option("--override", is_flag=True, help="All at once, even onto a TCM that was scaled down.")
@order_options
@many
def rollback(session: Session, wish: Wish, shifts: tuple[str, ...], *, override: bool, yes: bool) -> int:
    """Send all of a shift's traffic back to TCM. Passes every hold but hands off.

    Onto a TCM that could not carry everything it goes in stages. With --wait it ends once the order is accepted;
    `shifter watch` shows when 0 % is reached (RolledBack).
    """
    request = OrderRequest("", Verb.ROLLBACK, asking(session, wish), wish.reason, override=override)
    after = ", all at once, whatever tcm can carry" if override else ""
    return place(session, wish, shifts, request, None if yes else _plan_to(0.0, "roll back", after))


@click.command()
@click.argument("shift", type=SHIFT)
@confirmed
@click.option("--to", type=percent(), shell_complete=_steps, help="Go to this step of its policy.")
@click.option("--full", is_flag=True, help="Go to 100 % at once.")
@click.option("--override", is_flag=True, help="Go although the verdict fails: for the day TCM dies. Needs --reason.")
@order_options
def promote(  # noqa: PLR0913 - one parameter per option
    session: Session, wish: Wish, shift: str, *, to: float | None, full: bool, override: bool, yes: bool
) -> int:
    """Take the next step now: ends a pause, skips the soak and missing evidence.

    Never passes a freeze, a gate, drift, preflight or a failing verdict.
    """
    context = click.get_current_context()
    if to is not None and full:
        raise click.UsageError("--to or --full, not both", context)
    if override and not (full and wish.reason):
        raise click.UsageError("--override needs --full and --reason", context)
    request = OrderRequest("", Verb.PROMOTE, asking(session, wish), wish.reason, full=full, override=override, share=to)
    goal = FULL_PERCENT if full else to
    after = _OVERRIDDEN if override else ""
    return place(session, wish, (shift,), request, None if goal is None or yes else _plan_to(goal, "promote", after))


@click.command()
@click.argument("shift", type=SHIFT)
@confirmed
@click.option("--adopt", is_flag=True, help="Take what is live over as if shifter had written it.")
@click.option("--restore", is_flag=True, help="Write the last verified share again.")
@order_options
def reconcile(session: Session, wish: Wish, shift: str, *, adopt: bool, restore: bool, yes: bool) -> int:
    """Decide about drift: somebody changed the weights, and shifter waits for a person.

    An adopted share must settle and soak like any other. Restoring a share that somebody lowered raises it, and is
    refused by whatever refuses a promotion.
    """
    if adopt == restore:
        raise click.UsageError("--adopt or --restore, one of the two", click.get_current_context())
    request = OrderRequest("", Verb.RECONCILE, asking(session, wish), wish.reason, adopt=adopt)
    return place(session, wish, (shift,), request, None if yes else _adopted if adopt else _restored)


@click.command()
@order_options
def freeze(session: Session, wish: Wish) -> int:
    """Stop raising the share of any shift, until unfrozen. Rollback stays possible."""
    return place_for_all(session, wish, OrderRequest(FLEET, Verb.FREEZE, asking(session, wish), wish.reason))


@click.command()
@confirmed
@order_options
def unfreeze(session: Session, wish: Wish, *, yes: bool) -> int:
    """End a freeze, whoever asked for it. Pauses of single shifts stay."""
    by = asking(session, wish)
    request = OrderRequest(FLEET, Verb.UNFREEZE, by, wish.reason)
    return place_for_all(session, wish, request, None if yes else lambda store: _thaw(session, store, by))


def _thaw(session: Session, store: Store, by: str) -> str:
    """Say whose freezes end too; empty if nobody else froze: one's own is nothing to ask about."""
    others = [freeze for freeze in store.load_fleet().state.freezes if freeze.by != by]
    said = "; and by ".join(f"{freeze.why} ({ago(freeze.at, session.now())})" for freeze in others)
    return f"unfreeze all shifts: they are frozen by {said}" if others else ""


def _plan_to(share: float, act: str, after: str = "") -> Callable[[View], str]:
    """Return what says a shift's great move in a line; empty for a climb to where the shift is already."""

    def plan(view: View) -> str:
        if view.share == share == FULL_PERCENT:
            return ""
        return f"{act} {view.name}: {split(view)} → {shown(share)}{_namespaces(view)}{after}"

    return plan


def _adopted(view: View) -> str:
    return f"adopt {view.name}: {split(view)} becomes its verified share{_namespaces(view)}"


def _restored(view: View) -> str:
    verified = "its last verified share" if view.state is None else shown(view.state.share)
    return f"restore {view.name}: {split(view)} → {verified}{_namespaces(view)}"


def _namespaces(view: View) -> str:
    return f" (namespaces: {', '.join(view.report.namespaces)})"
