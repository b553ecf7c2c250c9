"""What to do next about a write that was decided and saved: the intent journal, as a pure function.

INTENT is saved with compare-and-swap, then the provider is called, asked, and read back; DONE is written only
when the live weights *are* the intended ones. `next_move` looks at the intent, at what became of its calls,
and at the live weights, and says: wait, send, done, or failed. It is the same function after a crash, which
is the point: a restart reads the provider first and then finishes, reverts or holds.

    direction  live weights   the calls ...                          move
    retreat    as intended    unsent, busy or unknown                SEND, until the deadline (1)
    any        as intended    none in flight                         DONE
    any        any            queued, or running before deadline     WAIT
    any        not yet        refused for good                       FAILED
    retreat    not yet        anything else                          SEND (setting weights twice is harmless)
    climb      not yet        unsent or busy, nothing forbids it     SEND, until the deadline
    climb      not yet        unknown (timeout, crash)               WAIT until the deadline, it may still apply
    climb      as before      finished, as the provider says         WAIT until the deadline, it may not show yet (2)
    climb      some routes    a part of the routes finished (3)      SEND the rest, until the deadline
    climb      not yet        anything else                          FAILED; with a repair if a part was applied

1. A climb that the retreat replaces may still be running and land after this look. A balancer carries out one
   operation at a time, so a retreat that was carried out itself is the proof that nothing does.

2. A read may be a moment older than the task. To give the write up would leave it in force with nobody looking.

3. Where one call does not take all routes of a lock domain, it takes several, each begun when the one before is over,
   and each looked at like the first: what forbids a climb stops it between two. A call takes whole routes, and each of
   them is as before or as intended, so that whatever lands is no higher than either. A retreat goes on if one fails.

`keep` (the share anew, where it fell by itself) follows the climb's rules. A failed climb that left a mixture behind is
repaired toward the source: the caller journals a retreat to the share before. Of a `keep` the next one is the repair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shifter.core.balancing.splits import RouteView, Side
from shifter.core.phases import Event, Phase, after
from shifter.core.records import SERVICE
from shifter.core.state import Direction, Intent, Setback, ShiftState


class Delivery(StrEnum):
    """What became of an intent's call to one lock domain."""

    UNSENT = "unsent"
    QUEUED = "queued"
    WITHHELD = "withheld"
    BUSY = "busy"
    RUNNING = "running"
    PARTLY = "partly"
    FINISHED = "finished"
    FAILED = "failed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


_NOT_TAKEN: Final = frozenset({Delivery.UNSENT, Delivery.WITHHELD, Delivery.BUSY})
"""Who gave these answers, or none, will not carry the call out later."""

_OVER: Final = frozenset({Delivery.PARTLY, Delivery.FINISHED})


@dataclass(frozen=True, slots=True)
class Call:
    """An intent's call to one lock domain, and what the provider said about it.

    `apart`: one call does not take all routes, so that this is the last of several. `PARTLY` is then said of one that
    left routes for another.
    """

    delivery: Delivery
    message: str = ""
    apart: bool = False


class Step(StrEnum):
    """What to do next about an intent."""

    WAIT = "wait"
    SEND = "send"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Move:
    """The next step, why, the lock domains to send to, and what is left of a write that failed.

    `repair`: it is half applied. `never_sent`: nobody took any of it, so that nothing of it can land later.
    """

    step: Step
    reason: str
    domains: tuple[str, ...] = ()
    repair: bool = False
    never_sent: bool = False


def next_move(  # noqa: PLR0911 - one return per row of the table above
    intent: Intent, calls: Mapping[str, Call], views: Mapping[str, RouteView] | None, now: datetime, forbidden: str = ""
) -> Move:
    """Return what to do next about `intent`.

    Args:
        intent: the saved intent.
        calls: what became of its calls, by lock domain; a domain never called in this life is `UNSENT`, or
            `UNKNOWN` if an earlier life may have called it, which is also what a domain not named here counts as.
        views: the routes by id, read back *after* the calls were asked about; None if the provider did not answer.
        now: the current time, compared with the intent's deadline.
        forbidden: why a climb must not be sent (a hold, a lost lease); empty if nothing forbids it.
    """
    if views is None or not intent.weights.keys() <= views.keys():
        return Move(Step.WAIT, "the provider does not answer; the write is read back when it does")
    missing = _domains_not_yet(intent, views)
    busy_with = [name for name, call in calls.items() if call.delivery in {Delivery.QUEUED, Delivery.RUNNING}]
    late = now >= intent.deadline
    if not missing and not busy_with:
        if intent.direction is Direction.RETREAT and not late and (unproven := _domains_unproven(intent, calls, views)):
            return Move(Step.SEND, "making sure that nothing sent earlier lands later", unproven)
        return Move(Step.DONE, "read back as intended")
    states = {calls[name].delivery for name in calls}
    if Delivery.QUEUED in states or (Delivery.RUNNING in states and not late):
        return Move(Step.WAIT, "the provider is carrying it out")
    if not missing:
        return Move(Step.DONE, "read back as intended, though the provider still calls it running")
    if refused := [call.message for call in calls.values() if call.delivery is Delivery.REFUSED]:
        return _failed(intent, views, f"refused: {refused[0]}")
    if intent.direction is Direction.RETREAT:
        # A repair goes to a share above 0: somebody who went lower meanwhile must not be overwritten.
        if intent.to_share > 0 and not _is_explained(intent, views):
            return _failed(intent, views, "somebody else changed the weights meanwhile")
        return Move(Step.SEND, "lowering the share", missing)
    awaited = {name: calls.get(name, Call(Delivery.UNKNOWN)) for name in missing}
    return _climb(intent, awaited, views, late=late, forbidden=forbidden)


def _climb(  # noqa: PLR0911 - as above
    intent: Intent, calls: Mapping[str, Call], views: Mapping[str, RouteView], *, late: bool, forbidden: str
) -> Move:
    states = {call.delivery for call in calls.values()}
    said = "; ".join(call.message for call in calls.values() if call.message)
    nowhere = states <= _NOT_TAKEN and matches(intent.before, views)
    if states & {Delivery.WITHHELD}:
        return _failed(intent, views, f"withheld: {said}", never_sent=nowhere)
    begun = {name for name, call in calls.items() if call.apart and call.delivery in _OVER}
    unchanged = all(_is_as_before(intent, route, views) for route in _routes_of(calls.keys() - begun, intent, views))
    whole = all(_is_one_or_the_other(intent, route, views) for route in _routes_of(begun, intent, views))
    if Delivery.FAILED in states or (Delivery.FINISHED in states and not unchanged) or not whole:
        return _failed(intent, views, f"read back otherwise than intended: {said or 'the provider calls it done'}")
    if late:
        return _failed(intent, views, f"not in force by its deadline: {said or _last_said(states)}", never_sent=nowhere)
    if Delivery.FINISHED in states:
        return Move(Step.WAIT, "the provider calls it done, but it does not show yet; reading back")
    if Delivery.UNKNOWN in states:
        return Move(Step.WAIT, f"it is not known whether the write was carried out ({said}); reading back")
    if forbidden:
        return _failed(intent, views, f"withheld: {forbidden}", never_sent=nowhere)
    if not unchanged:
        return _failed(intent, views, "the weights were changed before it was sent")
    return Move(Step.SEND, said or "raising the share", tuple(sorted(calls)))


def _last_said(states: AbstractSet[Delivery]) -> str:
    if Delivery.PARTLY in states:
        return "a part of the routes was written"
    return "the provider calls it done" if Delivery.FINISHED in states else "no answer"


def _routes_of(domains: AbstractSet[str], intent: Intent, views: Mapping[str, RouteView]) -> Iterator[str]:
    return (route for route in intent.before if views[route].route.domain in domains)


def _is_as_before(intent: Intent, route: str, views: Mapping[str, RouteView]) -> bool:
    return matches({route: intent.before[route]}, views)


def _is_one_or_the_other(intent: Intent, route: str, views: Mapping[str, RouteView]) -> bool:
    return _in_force(intent.weights[route], views[route]) or _is_as_before(intent, route, views)


def _failed(intent: Intent, views: Mapping[str, RouteView], reason: str, *, never_sent: bool = False) -> Move:
    # Of a `keep` the share anew is the repair: what was before it may be a higher one.
    repair = intent.direction is Direction.CLIMB and _is_mixture(intent, views)
    return Move(Step.FAILED, reason, repair=repair, never_sent=never_sent)


def _is_mixture(intent: Intent, views: Mapping[str, RouteView]) -> bool:
    """Return whether a part of the write is in force, and nothing else.

    A weight that is neither of before nor intended is somebody else's doing. That is drift, which a person
    decides about; repairing it would overwrite them.
    """
    return not matches(intent.before, views) and _is_explained(intent, views)


def _is_explained(intent: Intent, views: Mapping[str, RouteView]) -> bool:
    """Return whether every member has its weight of before or the intended one."""
    return all(
        weight in {intent.before[route].get(key, weight), wanted.get(key, weight)}
        for route, wanted in intent.weights.items()
        for key, weight in views[route].weights.items()
    )


def _domains_not_yet(intent: Intent, views: Mapping[str, RouteView]) -> tuple[str, ...]:
    """The lock domains whose routes do not have the intended weights yet."""
    return tuple(
        sorted(
            {
                views[route].route.domain
                for route, wanted in intent.weights.items()
                if not _in_force(wanted, views[route])
            }
        )
    )


def _domains_unproven(intent: Intent, calls: Mapping[str, Call], views: Mapping[str, RouteView]) -> tuple[str, ...]:
    """The lock domains that have not carried this intent's own call out, as far as is known."""
    open_ends = {Delivery.UNSENT, Delivery.BUSY, Delivery.UNKNOWN}
    domains = {views[route].route.domain for route in intent.weights}
    return tuple(sorted(name for name in domains if name not in calls or calls[name].delivery in open_ends))


def _in_force(wanted: Mapping[str, int], view: RouteView) -> bool:
    """Return whether a route has the intended weights; one whose members are all others by now has not."""
    live = view.weights
    return any(key in live for key in wanted) and all(live[key] == wanted[key] for key in wanted if key in live)


def matches(weights: Mapping[str, Mapping[str, int]], views: Mapping[str, RouteView]) -> bool:
    """Return whether the live weights are these, for every member that is still there.

    Members that came or went meanwhile do not count: they are membership, handled by a new apportionment.
    """
    return all(
        all(live[key] == weight for key, weight in wanted.items() if key in live)
        for route, wanted in weights.items()
        if (view := views.get(route)) is not None and (live := view.weights) is not None
    )


def is_back(view: RouteView) -> bool:
    """Return whether a route sends nothing to the target, and would not if a dead member recovered."""
    return view.share == 0 and not any(member.weight for member in view.members if member.side is Side.TARGET)


def done(state: ShiftState, intent: Intent, views: Mapping[str, RouteView], now: datetime) -> ShiftState:
    """Return the state once an intent was read back as intended: its share is verified from `now` on.

    Of routes that it does not name, what was verified before stays so: they may have been edited meanwhile.
    """
    before = {route: weights for route, weights in state.weights.items() if route not in intent.weights}
    changes: dict[str, object] = {
        "intent": None,
        "share": intent.to_share,
        "weights": {route: before.get(route, view.weights) for route, view in views.items()},
        "verified_at": now,
        "setback": None,
        "overridden": state.overridden or intent.override,
    }
    if intent.sends > 1:
        # The cloud has no fencing token: one of the calls may still wait somewhere, and land on what comes next.
        changes["abandoned"] = intent
    if state.phase is Phase.ROLLING_BACK and not all(is_back(view) for view in views.values()):
        # A route that cannot be written, or not yet, keeps the shift on its way back.
        changes["share"] = max(view.share or 0.0 for view in views.values())
    elif state.phase is Phase.ROLLING_BACK and intent.to_share == 0:
        changes |= {"phase": after(state.phase, Event.SETTLE), "since": now}
    return state.model_copy(update=changes)


def failed(state: ShiftState, intent: Intent, move: Move, epoch: int, now: datetime) -> ShiftState:
    """Return the state once an intent failed; a mixture it left is repaired by a retreat to the weights before."""
    count = 1 if state.setback is None else state.setback.count + 1
    setback = Setback(reason=move.reason, at=now, count=count)
    changes: dict[str, object] = {"intent": None, "setback": setback}
    if not move.never_sent:
        # One that was never sent must not be taken for what landed of an earlier one.
        changes["abandoned"] = intent
    if move.repair:
        changes["sequence"] = state.sequence + 1
        changes["intent"] = Intent(
            sequence=state.sequence + 1,
            epoch=epoch,
            direction=Direction.RETREAT,
            from_share=intent.to_share,
            to_share=intent.from_share,
            reason=f"half applied, repairing toward tcm: {move.reason}",
            by=SERVICE,
            created_at=now,
            deadline=now + (intent.deadline - intent.created_at),
            before=intent.weights,
            weights=intent.before,
        )
    return state.model_copy(update=changes)


def landed_late(state: ShiftState, views: Mapping[str, RouteView], now: datetime) -> bool:
    """Return whether live weights that are not the verified ones are those of the intent given up last, or a part.

    The cloud has no fencing token: a call that was cut off may be carried out after it was given up. Within
    twice the time that the intent itself was given, that explains its weights better than a person's edit.

    Who stood still before the call wakes at any time, and nobody may look for a while. So however late it is, routes
    that are exactly as asked for are ours, next to those as verified; but not below the verified share, where it may
    be a person who went back.
    """
    abandoned = state.abandoned
    if abandoned is None or not abandoned.weights.keys() <= views.keys():
        return False
    verified = state.weights or abandoned.before
    if now < abandoned.deadline + (abandoned.deadline - abandoned.created_at):
        # It explains nothing of the routes that it does not name.
        others = {route: weights for route, weights in verified.items() if route not in abandoned.weights}
        return matches(others, views) and (matches(abandoned.weights, views) or _is_mixture(abandoned, views))
    return abandoned.to_share >= state.share and all(
        _in_force(abandoned.weights.get(route, {}), view) or matches({route: verified.get(route, {})}, views)
        for route, view in views.items()
    )


def next_try(setback: Setback, tick: timedelta) -> datetime:
    """Return when a failed climb may be tried again: after 2, 4, 8 ... ticks, at most 64."""
    return setback.at + tick * (1 << min(setback.count, 6))
