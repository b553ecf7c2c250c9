"""What people may ask of a shift, with who and why, and what each order does to a shift's state.

Whether a promotion or a reconciliation may be carried out depends on the evidence and is decided in `wishes.py`;
everything an order means by itself is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shifter.core.analysis.assess import alpha_of
from shifter.core.analysis.verdicts import odds
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.documents.schema import show_duration
from shifter.core.phases import Event, Phase, after
from shifter.core.state import Approval, Direction, Failure, FleetState, Freeze, Pause, ShiftState

FLEET: Final = "*"
"""Whom an order to all shifts together is addressed to; no shift can have this name."""

LONGEST_HANDS_OFF: Final = timedelta(hours=12)
"""So long may a person keep shifter from going back; whoever needs more asks again."""


class Verb(StrEnum):
    """The orders of this version. `freeze` and `unfreeze` are addressed to the fleet, all others to one shift."""

    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    RETRY = "retry"
    RECONCILE = "reconcile"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"


class Answer(StrEnum):
    """What became of an order."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


FLEET_VERBS: Final = frozenset({Verb.FREEZE, Verb.UNFREEZE})
"""The orders to all shifts together."""

STOPPING_VERBS: Final = frozenset({Verb.PAUSE, Verb.ROLLBACK, Verb.FREEZE})
"""Orders that forbid a climb which was saved but not sent yet."""

REVISING_VERBS: Final = frozenset({Verb.PAUSE, Verb.PROMOTE, Verb.ROLLBACK, Verb.RECONCILE})
"""Of several orders in one tick the last word counts: after one of these an earlier wish is not granted any more."""

_RAISING: Final = frozenset({Verb.RESUME, Verb.APPROVE, Verb.PROMOTE, Verb.RETRY, Verb.RECONCILE, Verb.UNFREEZE})
"""Orders after which a share may rise; nobody may be surprised by one that was given days ago."""

STALE_AFTER = timedelta(minutes=15)
"""Such an order that found no service for so long is refused."""

STRAY_GRACE: Final = timedelta(minutes=1)
"""So long an order for a shift that there is not waits for it to appear; then the service refuses it."""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order before it has an id.

    `shift` is a shift's name, or `FLEET`. `full`, `override` and `share` (percent: the step to go to) belong to
    promote, `override` also to rollback (in one write, whatever the source can carry), `share` also to approve (the
    gate that is meant), `hands_off` to pause (for how long nothing at all is to be written), `adopt` to reconcile: take
    what is live over, instead of writing what was verified last.
    """

    shift: str
    verb: Verb
    by: str
    reason: str
    full: bool = False
    override: bool = False
    share: float | None = None
    hands_off: timedelta | None = None
    adopt: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the store keeps it; `answer` is None until the service has dealt with it."""

    id: int
    at: datetime
    request: OrderRequest
    answer: Answer | None = None
    answer_text: str = ""


@dataclass(frozen=True, slots=True)
class OrderAnswer:
    """What the service says to one order, in a sentence."""

    order_id: int
    answer: Answer
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Promotion:
    """A person asks for the next step now, or for the one at `share` percent; `override` passes a failing verdict."""

    order_id: int
    by: str
    reason: str
    share: float | None = None
    override: bool = False


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A person decides about drift: `adopt` what is live, or else write what was verified last."""

    order_id: int
    by: str
    reason: str
    adopt: bool = False


Wish = Promotion | Reconciliation
"""What an order asks that only the evidence can grant; it lives for one decision and is granted or refused there."""


@dataclass(frozen=True, slots=True)
class Obeyed:
    """What an order made of a shift: its state, the answer so far, and the wish that is still to be granted."""

    state: ShiftState
    answer: Answer
    text: str
    wish: Wish | None = None


OBSERVING: Final = (
    "this shifter only observes (mode: observe) and writes nothing: do it in the cloud's console, or in mode act"
)
"""What every order is answered then."""


def words_of(asked: OrderRequest) -> str:
    """Return what was asked as it was typed, with its reason: `promote --full (TCM is down)`."""
    options = [
        ("--full", asked.full),
        ("--override", asked.override),
        (f"--to {asked.share:g}" if asked.share is not None else "", asked.verb is Verb.PROMOTE),
        (f"--before {asked.share:g}" if asked.share is not None else "", asked.verb is Verb.APPROVE),
        (f"--hands-off --for {show_duration(asked.hands_off)}" if asked.hands_off is not None else "", True),
        ("--adopt" if asked.adopt else "--restore", asked.verb is Verb.RECONCILE),
    ]
    words = " ".join([str(asked.verb), *(option for option, given in options if option and given)])
    return words + (f" ({asked.reason})" if asked.reason else "")


def obey(state: ShiftState, order: Order, now: datetime) -> tuple[Obeyed, OrderAnswer]:
    """Return what an order to one shift makes of its state, and the answer to it.

    Every verb but retry may be given twice. A wish is noted here and granted or refused by the decision, and only a
    granted one ends a pause: after a refusal the shift is as it was.
    """
    steps = {
        Verb.PAUSE: _pause,
        Verb.RESUME: _resume,
        Verb.APPROVE: _approve,
        Verb.PROMOTE: _promote,
        Verb.ROLLBACK: _roll_back,
        Verb.RETRY: _retry,
        Verb.RECONCILE: _reconcile,
    }
    if refusal := _stale(order, now):
        obeyed = Obeyed(state, Answer.REFUSED, refusal)
    elif order.request.verb in FLEET_VERBS:
        obeyed = Obeyed(state, Answer.REFUSED, f"{order.request.verb} is for all shifts together, not for one")
    else:
        obeyed = steps[order.request.verb](state, order, now)
    last = max(order.id, state.last_order)
    obeyed = Obeyed(obeyed.state.model_copy(update={"last_order": last}), obeyed.answer, obeyed.text, obeyed.wish)
    return obeyed, OrderAnswer(order.id, obeyed.answer, obeyed.text, now)


def obey_all(fleet: FleetState, order: Order, now: datetime) -> tuple[FleetState, OrderAnswer]:
    """Return what an order to all shifts together makes of the fleet's state, and the answer to it."""
    asked = order.request
    changes: dict[str, object] = {"last_order": max(order.id, fleet.last_order)}
    answer = Answer.ACCEPTED
    if refusal := _stale(order, now):
        answer, text = Answer.REFUSED, refusal
    elif asked.verb not in FLEET_VERBS:
        answer, text = Answer.REFUSED, f"{asked.verb} is for one shift, not for all of them together"
    elif asked.verb is Verb.FREEZE:
        others = tuple(each for each in fleet.freezes if each.by != asked.by)
        changes["freezes"] = (*others, Freeze(by=asked.by, reason=asked.reason, at=now))
        too = f"; also frozen by {_together(others)}" if others else ""
        text = f"frozen: no share will be raised, but writes under way may still land; rollback stays possible{too}"
    else:
        text = f"unfrozen; it was frozen by {_together(fleet.freezes)}" if fleet.freezes else "it was not frozen"
        changes["freezes"] = ()
    return fleet.model_copy(update=changes), OrderAnswer(order.id, answer, text, now)


def _together(freezes: Sequence[Freeze]) -> str:
    return " and by ".join(freeze.why for freeze in freezes)


def _stale(order: Order, now: datetime) -> str:
    if order.request.verb not in _RAISING:
        return ""
    if now - order.at > STALE_AFTER:
        return f"it was given {show_duration(now - order.at)} ago; give it again if it is still meant"
    if order.at - now > STALE_AFTER:
        return f"its time is {show_duration(order.at - now)} ahead: look at the clocks, and give it again"
    return ""


def _pause(state: ShiftState, order: Order, now: datetime) -> Obeyed:
    asked = order.request
    if asked.hands_off is not None:
        return _hands_off(state, order, asked.hands_off, now)
    if state.paused is not None:
        return Obeyed(state, Answer.ACCEPTED, f"already paused by {state.paused.why}")
    pause = Pause(by=asked.by, reason=asked.reason, at=now)
    said = "paused: the share will not be raised"
    if state.intent is not None and state.intent.direction is not Direction.RETREAT:
        said += f"; a write to {state.intent.to_share:g} % is under way and may still land"
    return Obeyed(state.model_copy(update={"paused": pause}), Answer.ACCEPTED, said)


def _hands_off(state: ShiftState, order: Order, span: timedelta, now: datetime) -> Obeyed:
    """Write nothing at all for a while, counted from when it was asked for; the pause stays when that is over."""
    if not timedelta(0) < span <= LONGEST_HANDS_OFF:
        return Obeyed(state, Answer.REFUSED, f"hands off is for at most {show_duration(LONGEST_HANDS_OFF)} at a time")
    until = min(order.at, now) + span
    if until <= now:
        said = "paused; the time that hands off was asked for is over"
        pause = Pause(by=order.request.by, reason=order.request.reason, at=now)
        return Obeyed(state.model_copy(update={"paused": state.paused or pause}), Answer.ACCEPTED, said)
    before = state.paused
    if before is not None and before.hands_off_until is not None and before.hands_off_until >= until:
        longer = f"hands off until {before.hands_off_until:%Y-%m-%d %H:%M:%S} UTC already, by order of {before.why}"
        return Obeyed(state, Answer.ACCEPTED, f"{longer}; only resume makes it shorter")
    pause = Pause(by=order.request.by, reason=order.request.reason, at=now, hands_off_until=until)
    text = (
        f"hands off until {until:%Y-%m-%d %H:%M:%S} UTC: nothing is written, not even to go back; then it stays paused"
    )
    return Obeyed(state.model_copy(update={"paused": pause}), Answer.ACCEPTED, text)


def _resume(state: ShiftState, _: Order, __: datetime) -> Obeyed:
    if state.paused is None:
        return Obeyed(state, Answer.ACCEPTED, "it was not paused")
    said = f"resumed; it was paused by {state.paused.why}"
    return Obeyed(state.model_copy(update={"paused": None}), Answer.ACCEPTED, said)


def _approve(state: ShiftState, order: Order, now: datetime) -> Obeyed:
    asked = order.request
    before = asked.share if asked.share is not None else state.gate(FULL_PERCENT)
    if before is None or before not in state.policy.gates:
        named = "" if before is None else f" before {before:g} %"
        gates = ", ".join(f"{gate:g} %" for gate in state.policy.gates) or "none"
        return Obeyed(state, Answer.REFUSED, f"there is nothing to approve{named}; gates of its policy: {gates}")
    if state.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}:
        return Obeyed(state, Answer.REFUSED, "it was rolled back: retry it first; an approval is for one attempt")
    if done := next((each for each in state.approved if each.before == before), None):
        return Obeyed(state, Answer.ACCEPTED, f"already approved before {before:g} % by {done.by}")
    approval = Approval(before=before, by=asked.by, reason=asked.reason, at=now)
    approved = state.model_copy(update={"approved": (*state.approved, approval)})
    return Obeyed(approved, Answer.ACCEPTED, f"approved: the share may reach {before:g} %")


def _promote(state: ShiftState, order: Order, _: datetime) -> Obeyed:
    asked = order.request
    share = FULL_PERCENT if asked.full else asked.share
    if state.phase is Phase.COMPLETED:
        return Obeyed(state, Answer.REFUSED, "it is completed: there is nothing to promote")
    if state.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}:
        return Obeyed(state, Answer.REFUSED, "it was rolled back: retry it first")
    if share is not None and share != FULL_PERCENT and share not in state.policy.spec.ladder:
        steps = ", ".join(f"{step:g}" for step in state.policy.spec.ladder)
        return Obeyed(state, Answer.REFUSED, f"{share:g} is not a step of its policy: {steps}")
    said = "promoted to the next step" if share is None else f"promoted to {share:g} %"
    wish = Promotion(order.id, asked.by, asked.reason, share, asked.override)
    return Obeyed(state, Answer.ACCEPTED, said, wish)


def _reconcile(state: ShiftState, order: Order, now: datetime) -> Obeyed:
    asked = order.request
    if asked.adopt and state.phase not in {Phase.WAITING, Phase.SHIFTING}:
        return Obeyed(state, Answer.REFUSED, f"it is {state.phase}: what is live cannot be adopted, only restored")
    if state.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}:
        return _roll_back(state, order, now)  # what was verified last is, or is to be, 0 %
    said = "what is live is adopted" if asked.adopt else "what was verified last is written again"
    return Obeyed(state, Answer.ACCEPTED, said, Reconciliation(order.id, asked.by, asked.reason, asked.adopt))


def _roll_back(state: ShiftState, order: Order, now: datetime) -> Obeyed:
    if state.paused is not None and state.paused.hands_off(now):
        until = f"{state.paused.hands_off_until:%Y-%m-%d %H:%M:%S} UTC, by order of {state.paused.why}"
        said = f"hands off until {until}; `shifter resume {state.name}` first, then roll back"
        return Obeyed(state, Answer.REFUSED, said)
    asked = order.request
    if state.phase is Phase.ROLLING_BACK and asked.override and state.failure is not None:
        at_once = state.model_copy(update={"failure": state.failure.model_copy(update={"at_once": True})})
        return Obeyed(at_once, Answer.ACCEPTED, "it is rolling back already; from now on at once, not in stages")
    if state.phase is Phase.ROLLING_BACK:
        return Obeyed(state, Answer.ACCEPTED, "it is rolling back already")
    if state.phase is Phase.ROLLED_BACK:
        # Somebody may have raised the share by hand since: then this order is what brings it back.
        again = state.model_copy(update={"phase": after(state.phase, Event.RETREAT), "since": now})
        return Obeyed(again, Answer.ACCEPTED, "it was rolled back already; whatever is above 0 % goes back again")
    share = state.share if state.intent is None else max(state.share, state.intent.to_share)
    why = f"ordered by {asked.by}: {asked.reason}" if asked.reason else f"ordered by {asked.by}"
    back = roll_back(state, why, share, now, ordered=True, at_once=asked.override)
    return Obeyed(back, Answer.ACCEPTED, f"rolling back to 0 %{' at once' * asked.override}")


def roll_back(
    state: ShiftState, reason: str, share: float, now: datetime, *, ordered: bool = False, at_once: bool = False
) -> ShiftState:
    """Return the state of a shift that goes back to 0 % because of `reason`, having failed at `share` percent."""
    return state.model_copy(
        update={
            "phase": after(state.phase, Event.RETREAT),
            "since": now,
            "failure": Failure(reason=reason, share=share, at=now, ordered=ordered, at_once=at_once),
        }
    )


def _retry(state: ShiftState, _: Order, now: datetime) -> Obeyed:
    """Let it fail once more: from 0 % after a rollback, else where it is. Who overrode shifter hands judgement back."""
    if state.phase is Phase.SHIFTING and state.ceiling is not None:
        lifted = state.model_copy(update={"ceiling": None, "overridden": False})
        return Obeyed(lifted, Answer.ACCEPTED, f"it may reach {state.ceiling.share:g} % again, from {state.share:g} %")
    if state.phase is Phase.SHIFTING and state.policy.spec.on_failure == "hold":
        # What was seen before, and soaked, is the attempt's that failed: for the next process, too, that is since when.
        since = state.verified_at and now
        anew = {"attempt": state.attempt + 1, "overridden": False, "approved": (), "verified_at": since}
        again = state.model_copy(update=anew)
        said = f"attempt {again.attempt} begins at {state.share:g} %: evidence anew; it fails at {_limits(state)}"
        return Obeyed(again, Answer.ACCEPTED, said)
    if state.phase is not Phase.ROLLED_BACK:
        said = f"there is nothing to retry: it is {state.phase}, not {Phase.ROLLED_BACK}"
        return Obeyed(state, Answer.REFUSED, said)
    changes = {
        "phase": after(state.phase, Event.RETRY),
        "since": now,
        "attempt": state.attempt + 1,
        "failure": None,
        "ceiling": None,
        "approved": (),
        "overridden": False,
    }
    said = f"attempt {state.attempt + 1} begins at 0 %; it goes back at {_limits(state)}"
    return Obeyed(state.model_copy(update=changes), Answer.ACCEPTED, said)


def _limits(state: ShiftState) -> str:
    """Return the odds at which the next attempt fails, and those of this one: a retry is not free, and not undone."""
    before, then = (odds(1 / alpha_of(state.policy.spec.analysis, state.attempt + more)) for more in (0, 1))
    return f"odds of {then} (attempt {state.attempt}: {before})"
