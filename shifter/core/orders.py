"""What people may ask of a shift, with who and why, and what each order does to a shift's state.

Whether a promotion may be carried out depends on the evidence and is decided in `decide.py`; everything an
order means by itself is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shifter.core.phases import Event, Phase, after
from shifter.core.schema import show_duration
from shifter.core.state import Failure, Pause, Promotion, ShiftState


class Verb(StrEnum):
    """The orders of this version."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    RETRY = "retry"


class Answer(StrEnum):
    """What became of an order."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


_RAISING = frozenset({Verb.RESUME, Verb.PROMOTE, Verb.RETRY})
"""Orders after which a share may rise; nobody may be surprised by one that was given days ago."""

STALE_AFTER = timedelta(minutes=15)
"""Such an order that found no service for so long is refused."""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order before it has an id. `full` and `override` belong to promote (design: the day TCM dies)."""

    shift: str
    verb: Verb
    by: str
    reason: str
    full: bool = False
    override: bool = False


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


def obey(state: ShiftState, order: Order, now: datetime) -> tuple[ShiftState, OrderAnswer]:
    """Return the state after an order, and the answer to it.

    Every verb but retry may be given twice. A promotion is noted here and confirmed or refused by the decision,
    and only a confirmed one ends a pause: after a refusal the shift is as it was.
    """
    steps = {
        Verb.PAUSE: _pause,
        Verb.RESUME: _resume,
        Verb.PROMOTE: _promote,
        Verb.ROLLBACK: _roll_back,
        Verb.RETRY: _retry,
    }
    if order.request.verb in _RAISING and now - order.at > STALE_AFTER:
        text = f"it was given {show_duration(now - order.at)} ago; give it again if it is still meant"
        changed, answer = state, Answer.REFUSED
    else:
        changed, answer, text = steps[order.request.verb](state, order, now)
    changed = changed.model_copy(update={"last_order": max(order.id, state.last_order)})
    return changed, OrderAnswer(order.id, answer, text, now)


_Obeyed = tuple[ShiftState, Answer, str]


def _pause(state: ShiftState, order: Order, now: datetime) -> _Obeyed:
    if state.paused is not None:
        return state.model_copy(update={"promotion": None}), Answer.ACCEPTED, f"already paused by {state.paused.by}"
    pause = Pause(by=order.request.by, reason=order.request.reason, at=now)
    return (
        state.model_copy(update={"paused": pause, "promotion": None}),
        Answer.ACCEPTED,
        "paused: the share will not be raised",
    )


def _resume(state: ShiftState, _: Order, __: datetime) -> _Obeyed:
    if state.paused is None:
        return state, Answer.ACCEPTED, "it was not paused"
    return state.model_copy(update={"paused": None}), Answer.ACCEPTED, "resumed"


def _promote(state: ShiftState, order: Order, _: datetime) -> _Obeyed:
    if state.phase is Phase.COMPLETED:
        return state, Answer.REFUSED, "it is completed: there is nothing to promote"
    if state.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}:
        return state, Answer.REFUSED, "it was rolled back: retry it first"
    asked = order.request
    promotion = Promotion(order_id=order.id, by=asked.by, reason=asked.reason, full=asked.full, override=asked.override)
    said = "promoted to 100 %" if asked.full else "promoted to the next step"
    return state.model_copy(update={"promotion": promotion}), Answer.ACCEPTED, said


def _roll_back(state: ShiftState, order: Order, now: datetime) -> _Obeyed:
    if state.phase is Phase.ROLLING_BACK:
        return state, Answer.ACCEPTED, "it is rolling back already"
    if state.phase is Phase.ROLLED_BACK:
        # Somebody may have raised the share by hand since: then this order is what brings it back.
        again = state.model_copy(update={"phase": after(state.phase, Event.RETREAT), "since": now})
        return again, Answer.ACCEPTED, "it was rolled back already; whatever is above 0 % goes back again"
    asked = order.request
    share = state.share if state.intent is None else max(state.share, state.intent.to_share)
    why = f"ordered by {asked.by}: {asked.reason}" if asked.reason else f"ordered by {asked.by}"
    return roll_back(state, why, share, now), Answer.ACCEPTED, "rolling back to 0 %"


def roll_back(state: ShiftState, reason: str, share: float, now: datetime) -> ShiftState:
    """Return the state of a shift that goes back to 0 % because of `reason`, having failed at `share` percent."""
    return state.model_copy(
        update={
            "phase": after(state.phase, Event.RETREAT),
            "since": now,
            "promotion": None,
            "failure": Failure(reason=reason, share=share, at=now),
        }
    )


def _retry(state: ShiftState, _: Order, now: datetime) -> _Obeyed:
    if state.phase is not Phase.ROLLED_BACK:
        return state, Answer.REFUSED, f"there is nothing to retry: it is {state.phase}, not {Phase.ROLLED_BACK}"
    changes = {
        "phase": after(state.phase, Event.RETRY),
        "since": now,
        "attempt": state.attempt + 1,
        "failure": None,
        "overridden": False,
    }
    return state.model_copy(update=changes), Answer.ACCEPTED, f"attempt {state.attempt + 1} begins at 0 %"
