"""What is in a store, wherever it is: shifts, what was told of them, orders that wait, the newest of the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shifter.core.chain import FIRST_ID, Examined, Walk
from shifter.core.deciding.orders import FLEET, STRAY_GRACE, Order
from shifter.core.documents.fleet import Fleet
from shifter.core.records import What
from shifter.core.state import Report
from shifter.core.text import so_many
from shifter.errors import RefusedError
from shifter.ports import WHOLE, Store
from shifter.service.checkup.doors import Context
from shifter.service.checkup.findings import Notes, few

ANSWERED_WITHIN: Final = timedelta(minutes=1)
"""An order that has waited for longer has nobody who obeys it: a tick is a few seconds."""

DEAD: Final = "see runbook 'shifter is dead'"

_RECORDS_LOOKED_AT: Final = 500
_RECORDS_CHECKED: Final = 1000
_CHAINS_CHECKED: Final = 8
_UNREADABLE: Final = "see runbook 'Hold: unreadable'"


@dataclass(frozen=True, slots=True)
class Contents:
    """What was read of a store.

    `names` are its shifts, `written` those whose weights shifter has verified. `unreadable`: what of states and reports
    cannot be read, and what to do. `waiting` are orders that nobody answered yet.
    """

    reports: Mapping[str, Report] = field(default_factory=dict)
    unreadable: Sequence[str] = ()
    waiting: Sequence[Order] = ()
    names: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Past:
    """What was read of the history. `last_write` is when a write to the cloud was last read back.

    `chains` is, by chain, what became of the newest records, or why that cannot be told; of so many chains in `all_`.
    """

    last_write: datetime | None = None
    chains: Mapping[str, Examined | str] = field(default_factory=dict)
    all_: int = 0


def read_contents(store: Store) -> Contents:
    """Return what is in a store.

    Raises:
        ShifterError: it cannot be read.
    """
    states, told = store.load(), store.reports()
    return Contents(
        reports=told.readable,
        unreadable=(*states.unreadable.values(), *told.unreadable.values()),
        waiting=store.open_orders(),
        names=frozenset(states),
        written=frozenset(name for name, saved in states.readable.items() if saved.state.weights),
    )


def read_past(store: Store) -> Past:
    """Return what the newest records say, and how those of a few chains hang together, the first of each on trust.

    Raises:
        ShifterError: they cannot be read.
    """
    done = [each for each in store.history(limit=_RECORDS_LOOKED_AT) if each.record.what is What.DONE]
    names = store.chains()
    chains = {name: _newest(store, name) for name in names[:_CHAINS_CHECKED]}
    return Past(done[-1].record.at if done else None, chains, len(names))


def _newest(store: Store, of: str) -> Examined | str:
    walk = Walk(newest_only=True)
    try:
        newest = store.chain(FIRST_ID, 0, of).head.id
        walk.take(store.chain(max(newest - _RECORDS_CHECKED, FIRST_ID), _RECORDS_CHECKED + 1, of))
    except RefusedError as error:
        return str(error)
    return walk.result()


def judge_past(notes: Notes, past: Past, fix: str) -> None:
    """Tell whether the newest records are as they were written."""
    count, sound = 0, 0
    for name, chain in past.chains.items():
        of = "" if name == WHOLE else f"{name}: "
        if isinstance(chain, str):
            notes.untried("history", f"{of}not checked: {chain}")
        elif chain.sound:
            count, sound = count + chain.count, sound + 1
        else:
            more = len(chain.findings) + chain.more - 1
            notes.problem("history", of + chain.findings[0].text + (f"; and {more:,} more" if more else ""), fix)
    if sound:
        some = f" of {sound} of {past.all_} chains" if past.all_ > 1 else ""
        notes.ok("history", f"the newest {count:,} records{some} are as they were written")


def judge(notes: Notes, seen: Contents, context: Context, right: str) -> None:
    """Tell what is wrong with the shifts, their orders, and whoever should look after them.

    Args:
        notes: where to.
        seen: what was read.
        context: what it is held against.
        right: what gives a service the right to it just now, a `lock` or a `lease`; empty if none has it.
    """
    for trouble in seen.unreadable:
        notes.problem("shifts", trouble, f"{_UNREADABLE}; the other shifts go on")
    reports = seen.reports
    notes.ok("shifts", f"{len(reports)} told about: {few(reports) or 'none'}; {len(seen.waiting)} orders wait")
    _orders(notes, seen, context.now, served=bool(right))
    lost = sorted(seen.names - context.policies.keys()) if context.policies else []
    if lost:
        text = f"no policy names {few(lost)}: it holds where it is, and nobody's traffic goes on or back by itself"
        notes.warning("policies", text, "put the file back into the policy folder, or see runbook 'Hold: policy'")
    if right:
        _silence(notes, reports, context.now, right)
        _mode(notes, reports, context.fleet, context.now)


def _orders(notes: Notes, seen: Contents, now: datetime, *, served: bool) -> None:
    """Tell of orders that nobody answers: of those for shifts that there are not, once they should be refused."""
    known = {FLEET, *seen.names, *seen.reports}
    strays = [order for order in seen.waiting if served and order.request.shift not in known]
    late = [order for order in seen.waiting if order not in strays and now - order.at > ANSWERED_WITHIN]
    if late:
        obey = f"the service does not obey: see its log, restart it; {DEAD}"
        fix = obey if served else f"nobody is there to obey: start the service; {DEAD}"
        notes.problem("orders", f"{so_many(len(late), 'order')} unanswered for more than a minute; {_first(late)}", fix)
    lost = [order for order in strays if now - order.at > ANSWERED_WITHIN + STRAY_GRACE]
    if lost:
        text = f"{so_many(len(lost), 'order')} for shifts that there are not, and not refused yet; {_first(lost)}"
        fix = "they are refused once every policy could be read: `shifter policy lint`, and see the leader's log"
        notes.problem("orders", text, fix)


def _first(orders: Sequence[Order]) -> str:
    """Return which one has waited for longest."""
    first, asked = orders[0], orders[0].request
    return f"the first: {asked.verb} {asked.shift} by {asked.by}, at {first.at:%Y-%m-%d %H:%M:%S} UTC"


def _is_silent(report: Report, now: datetime) -> bool:
    return now - report.at > timedelta(seconds=report.silent_after_seconds)


def _silence(notes: Notes, reports: Mapping[str, Report], now: datetime, right: str) -> None:
    silent = [each.name for each in reports.values() if _is_silent(each, now)]
    if reports and len(silent) == len(reports):
        newest = max(each.at for each in reports.values())
        seconds = (now - newest).total_seconds()
        text = f"the service holds the {right} and has told nothing for {seconds:.0f} s: it hangs"
        notes.problem("service", text, f"restart it; {DEAD}")
    elif silent:
        text = f"not looked at lately: {few(silent)}"
        notes.warning("shifts", text, "no policy names them any more, or their turns fail: shifter describe")


def _mode(notes: Notes, reports: Mapping[str, Report], fleet: Fleet | None, now: datetime) -> None:
    modes = {each.mode for each in reports.values() if each.mode and not _is_silent(each, now)}
    if fleet is not None and modes and modes != {fleet.spec.mode}:
        text = f"the service runs in mode {', '.join(sorted(modes))}, the fleet file says {fleet.spec.mode}"
        notes.warning("mode", text, "restart the service, or see what --mode it was started with")
