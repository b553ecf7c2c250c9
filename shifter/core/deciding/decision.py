"""What a decision is: to advance, hold or roll back, why, what is to be written, and what people are answered.

Also the one way from a share to weights, `write_share`, and the one way to refuse what somebody asked: they are
used by everything that decides (`decide.py`, `wishes.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shifter.core.analysis.verdicts import Assessment
from shifter.core.balancing.apportion import apportion
from shifter.core.balancing.splits import FULL_PERCENT, Health, Member, RouteView, Side, shown
from shifter.core.deciding.holds import Hold, HoldKind
from shifter.core.deciding.orders import Answer, OrderAnswer, Promotion, Wish
from shifter.core.phases import Event, after
from shifter.core.state import Direction, Intent, ShiftState, Weights
from shifter.errors import RefusedError

LEAST_PERCENT: Final = 1.0
"""The last stop between 100 and 0, and 99 the one on the way up: with it both sides have weight. See `hands_over`."""


class Kind(StrEnum):
    """What is made of a verdict."""

    ADVANCE = "advance"
    HOLD = "hold"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Write:
    """A write to be journalled and sent: new weights by route, replacing `before`. Shares are percent."""

    direction: Direction
    from_share: float
    to_share: float
    before: Weights
    weights: Weights
    reason: str
    by: str
    promoted: bool = False
    override: bool = False

    def intent(self, sequence: int, epoch: int, now: datetime, allowed: timedelta) -> Intent:
        """Return this write as it is journalled; it has `allowed` from `now` on to be in force."""
        return Intent(
            sequence=sequence,
            epoch=epoch,
            direction=self.direction,
            from_share=self.from_share,
            to_share=self.to_share,
            reason=self.reason,
            by=self.by,
            promoted=self.promoted,
            override=self.override,
            created_at=now,
            deadline=now + allowed,
            before=self.before,
            weights=self.weights,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, why, and the state to remember. `write` is None if the split stays as it is.

    `hands_off`: not even what was journalled earlier may be sent. `adopted_by`: who had the live split taken over as
    the verified one, so that what was counted before says nothing about it; empty if nobody had.
    """

    kind: Kind
    reason: str
    state: ShiftState
    assessment: Assessment
    holds: tuple[Hold, ...] = ()
    answers: tuple[OrderAnswer, ...] = ()
    write: Write | None = None
    hands_off: bool = False
    adopted_by: str = ""


def write_share(
    decision: Decision, direction: Direction, share: float, views: Mapping[str, RouteView], reason: str, by: str
) -> Decision:
    """Return the decision with the write that makes `share` true on every route, or a hold that says why not.

    A retreat leaves out the routes on which it cannot be done, instead of leaving users on the others as well.
    """
    weights: dict[str, Mapping[str, int]] = {}
    refusals: dict[str, list[str]] = {}
    for route, view in views.items():
        try:
            weights[route] = apportion(_sided(view.members), share).weights
        except RefusedError as refusal:
            refusals.setdefault(str(refusal), []).append(route)
    live = {route: view.weights for route, view in views.items()}
    retreats = direction is Direction.RETREAT
    if refusals:
        said = "; ".join(
            why if len(routes) == len(views) else f"{', '.join(routes)}: {why}" for why, routes in refusals.items()
        )
        kind = HoldKind.COLD_SOURCE if retreats else HoldKind.PREFLIGHT
        if kind not in {hold.kind for hold in decision.holds}:
            decision = replace(decision, holds=(*decision.holds, Hold(kind, said)))
        if not retreats or all(weights[route] == live[route] for route in weights):
            return replace(decision, kind=Kind.HOLD, reason=f"{shown(share)} refused: {said}")
    state = decision.state
    from_share = state.share if state.intent is None else max(state.share, state.intent.to_share)
    before = {route: live[route] for route in weights}
    return replace(decision, write=Write(direction, from_share, share, before, weights, reason, by), reason=reason)


def hands_over(view: RouteView, giving: Side) -> bool:
    """Return whether `giving` serves a route alone and the other side could, so that it is no matter for one write.

    A write may be carried out in part. Were that the part that takes weight away, no member would be left with any.
    """
    alive = [member for member in view.members if member.side is not None and member.health is not Health.DEAD]
    serving = {member.side for member in alive if member.weight}
    return serving == {giving} and any(member.side is not giving for member in alive)


def climb_to(step: float, decision: Decision, views: Mapping[str, RouteView], reason: str, by: str) -> Decision:
    """Return the decision with the write that raises the share to `step` percent, or a hold that says why not.

    From 0 to 100 % it goes by way of 99.
    """
    if step == FULL_PERCENT and any(hands_over(view, Side.SOURCE) for view in views.values()):
        step = FULL_PERCENT - LEAST_PERCENT
        reason = f"{reason}; to {step:g} % first, since half of a write to 100 % would leave a route without weight"
    raised = write_share(replace(decision, kind=Kind.ADVANCE), Direction.CLIMB, step, views, reason, by)
    if raised.write is None:
        return raised
    phase = after(raised.state.phase, Event.CLIMB)
    return replace(raised, state=raised.state.model_copy(update={"phase": phase}))


def refuse_wish(decision: Decision, wish: Wish, reason: str) -> Decision:
    """Return the decision without what somebody asked, and with the sentence that says why."""
    return replace(decision, answers=refused(decision.answers, wish, reason), reason=f"{_not_granted(wish)}: {reason}")


def refused(answers: Sequence[OrderAnswer], wish: Wish | None, reason: str) -> tuple[OrderAnswer, ...]:
    """Return the answers, that to a wish which is not granted turned into a refusal."""
    if wish is None:
        return tuple(answers)
    text = f"{_not_granted(wish)}: {reason}"
    return tuple(
        replace(answer, answer=Answer.REFUSED, text=text) if answer.order_id == wish.order_id else answer
        for answer in answers
    )


def _not_granted(wish: Wish) -> str:
    return "not promoted" if isinstance(wish, Promotion) else "not reconciled"


def _sided(members: Sequence[Member]) -> tuple[Member, ...]:
    """Members of neither side with weight 0 take no part; any other makes the provider's view a refusal."""
    return tuple(member for member in members if member.side is not None)


def hold_reason(holds: Sequence[Hold]) -> str:
    """Return why a shift holds, as people read it."""
    return "holding: " + "; ".join(f"{hold.kind}: {hold.reason}" for hold in holds)
