"""What is written of a share, what is not, and how a decision says so."""

from __future__ import annotations

import pytest

from shifter.core.analysis.verdicts import Assessment, Verdict
from shifter.core.balancing.splits import Member, RouteView
from shifter.core.deciding.decision import Decision, Kind, hold_reason, refuse_wish, refused, write_share
from shifter.core.deciding.holds import Hold, HoldKind
from shifter.core.deciding.orders import Answer, OrderAnswer, Promotion, Reconciliation, Wish
from shifter.core.state import Direction
from tests.core.shifts import DEAD, NOON, A, a_shift, an_intent, new, old

NO_TARGET = (old(75), new(25, DEAD))
NO_SOURCE = (old(75, DEAD), new(25))
WHOLE = (old(75), new(25))
PROMOTED = OrderAnswer(1, Answer.ACCEPTED, "promoted to 50 %", NOON)
PAUSED = OrderAnswer(2, Answer.ACCEPTED, "paused", NOON)


def undecided(*holds: Hold, share: int = 25) -> Decision:
    return Decision(Kind.HOLD, "", a_shift(share=share), Assessment(Verdict.PASS, "fine"), holds, (PROMOTED, PAUSED))


def routes(**members: tuple[Member, ...]) -> dict[str, RouteView]:
    return {name: RouteView(A, those) for name, those in members.items()}


def asked(direction: Direction, share: float, views: dict[str, RouteView], *holds: Hold) -> Decision:
    return write_share(undecided(*holds), direction, share, views, "why not", "ann")


def test_what_is_decided_is_the_reason_of_the_decision_and_of_its_write() -> None:
    decision = asked(Direction.CLIMB, 50, routes(a=WHOLE))

    assert decision.write is not None
    assert (decision.reason, decision.write.reason, decision.write.by) == ("why not", "why not", "ann")


def test_a_write_begins_at_the_highest_share_that_may_be_in_force() -> None:
    climbing = a_shift(share=25, intent=an_intent(Direction.CLIMB, 25, 50))
    returning = a_shift(share=25, intent=an_intent(Direction.RETREAT, 25, 5))
    writes = [
        write_share(
            Decision(Kind.HOLD, "", state, Assessment(Verdict.FAIL, "")), Direction.RETREAT, 0, views, "", ""
        ).write
        for state in (climbing, returning, a_shift(share=25))
        for views in (routes(a=WHOLE),)
    ]

    assert [write.from_share for write in writes if write is not None] == [50, 25, 25]


def test_a_climb_that_one_route_refuses_is_no_climb_and_every_refusal_is_told_with_its_routes() -> None:
    decision = asked(Direction.CLIMB, 50, routes(a=WHOLE, b=NO_TARGET, c=NO_TARGET, d=NO_SOURCE))
    said = (
        "b, c: the target side has no healthy member to send traffic to;"
        " d: the source side has no healthy member to send traffic to"
    )

    assert decision.write is None
    assert decision.holds == (Hold(HoldKind.PREFLIGHT, said),)
    assert (decision.kind, decision.reason) == (Kind.HOLD, f"tcm 50 · istio 50 refused: {said}")


def test_where_all_routes_refuse_for_one_reason_they_are_not_named() -> None:
    decision = asked(Direction.CLIMB, 50, routes(a=NO_TARGET, b=NO_TARGET))

    assert decision.reason == "tcm 50 · istio 50 refused: the target side has no healthy member to send traffic to"


def test_a_retreat_leaves_out_the_routes_on_which_it_cannot_be_done_and_says_so() -> None:
    decision = asked(Direction.RETREAT, 0, routes(a=WHOLE, b=NO_SOURCE))

    assert decision.write is not None
    assert dict(decision.write.weights) == {"a": {"old": 100, "new": 0}}
    assert dict(decision.write.before) == {"a": {"old": 75, "new": 25}}
    assert decision.holds == (
        Hold(HoldKind.COLD_SOURCE, "b: the source side has no healthy member to send traffic to"),
    )


def test_a_retreat_that_would_change_nothing_where_it_can_be_done_is_not_written() -> None:
    decision = asked(Direction.RETREAT, 0, routes(a=(old(100), new(0)), b=NO_SOURCE))

    assert (decision.write, decision.kind) == (None, Kind.HOLD)


def test_a_refusal_is_not_told_beside_a_hold_of_its_kind() -> None:
    known = Hold(HoldKind.COLD_SOURCE, "scale it up")

    assert asked(Direction.RETREAT, 0, routes(a=WHOLE, b=NO_SOURCE), known).holds == (known,)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Promotion(1, "ann", "", 50), "not promoted: it is frozen"),
        (Reconciliation(1, "ann", ""), "not reconciled: it is frozen"),
    ],
)
def test_a_wish_that_is_not_granted_is_the_reason_and_other_orders_keep_their_answers(wish: Wish, said: str) -> None:
    decision = refuse_wish(undecided(), wish, "it is frozen")

    assert decision.reason == said
    assert decision.answers == (OrderAnswer(1, Answer.REFUSED, said, NOON), PAUSED)


def test_without_a_wish_no_answer_is_turned_into_a_refusal() -> None:
    assert refused([PROMOTED, PAUSED], None, "it is frozen") == (PROMOTED, PAUSED)


def test_a_shift_says_all_its_holds_with_their_kinds() -> None:
    holds = [Hold(HoldKind.FREEZE, "by ann"), Hold(HoldKind.LEASE, "lost")]

    assert hold_reason(holds) == "holding: freeze: by ann; lease: lost"
