"""What is to be done about a shift? Going back: what starts it, what it passes, and when it has arrived."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shifter.core.decide import Decision, Kind, decide
from shifter.core.evidence import Counts, Evidence, Ledger, Tick
from shifter.core.holds import HoldKind
from shifter.core.orders import Order, OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.policy import ShiftPolicy
from shifter.core.splits import Health, Member, RouteView, Side
from shifter.core.state import Direction, Failure, Intent, ShiftState

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
EARLIER = NOON - timedelta(minutes=10)
POLICY = ShiftPolicy.model_validate(
    {
        "kind": "ShiftPolicy",
        "metadata": {"name": "shop"},
        "spec": {
            "namespace": "shop",
            "traffic": {
                "clb": {
                    "region": "ap-guangzhou",
                    "loadBalancer": "lb-1",
                    "routes": ({"listener": "a"}, {"listener": "b"}),
                    "source": {"port": 30080},
                    "target": {"port": 31080},
                }
            },
            "steps": (5, 25, 100),
            "soak": "1m",
        },
    }
)
A, B = POLICY.routes
ALIVE, DEAD = Health.ALIVE, Health.DEAD


def old(weight: int, health: Health = ALIVE, key: str = "old") -> Member:
    return Member(key, Side.SOURCE, weight, health)


def new(weight: int, health: Health = ALIVE, key: str = "new") -> Member:
    return Member(key, Side.TARGET, weight, health)


def live(a: int | tuple[Member, ...], b: int | tuple[Member, ...] | None = None) -> dict[str, RouteView]:
    """Both routes at a share, or with these members; the second one is like the first unless said."""
    at = {A: a, B: a if b is None else b}
    return {
        route.id: RouteView(route, (old(100 - what), new(what)) if isinstance(what, int) else what)
        for route, what in at.items()
    }


def weights(share: int) -> dict[str, dict[str, int]]:
    return {route.id: {"old": 100 - share, "new": share} for route in (A, B)}


def ticks(source: Counts, target: Counts, count: int = 12) -> Ledger:
    """Ticks of 5 s each, the newest one now."""
    ends = [NOON - timedelta(seconds=5 * before) for before in reversed(range(count))]
    return Ledger(tuple(Tick(end, 5, source, target) for end in ends))


GOOD = ticks(Counts(100), Counts(100))
BAD = ticks(Counts(100), Counts(100, 10))
BOTH_BAD = ticks(Counts(100, 10), Counts(100, 10))


def a_shift(phase: Phase = Phase.SHIFTING, share: int = 25, **changes: object) -> ShiftState:
    fields: dict[str, object] = {
        "name": "shop",
        "policy": POLICY,
        "phase": phase,
        "since": EARLIER,
        "share": float(share),
        "weights": weights(share),
        "verified_at": EARLIER,
        "failure": Failure(reason="errors", share=25, at=EARLIER) if "ol" in phase and "Roll" in phase else None,
    }
    return ShiftState.model_validate(fields | changes)


def seen(share: int = 25, ledger: Ledger = GOOD, *orders: Order) -> Evidence:
    """Everything in order: the share is live, settled, soaked, and this replica leads."""
    return Evidence(
        views=live(share),
        ledger=ledger,
        leader=True,
        max_age=timedelta(seconds=15),
        tick=timedelta(seconds=5),
        settled_at=EARLIER,
        orders=orders,
    )


def an_order(verb: Verb, order_id: int = 1, **flags: bool) -> Order:
    return Order(order_id, NOON, OrderRequest("shop", verb, "bob", "because", **flags))


def an_intent(direction: Direction, from_share: int, to_share: int) -> Intent:
    return Intent(
        sequence=1,
        epoch=1,
        direction=direction,
        from_share=from_share,
        to_share=to_share,
        reason="said so",
        by="shifter",
        created_at=NOON,
        deadline=NOON,
        before=weights(from_share),
        weights=weights(to_share),
    )


def written(decision: Decision) -> tuple[Direction, float] | None:
    return None if decision.write is None else (decision.write.direction, decision.write.to_share)


def kinds(decision: Decision) -> set[HoldKind]:
    return {hold.kind for hold in decision.holds}


def test_a_failing_target_rolls_back_at_once_and_says_why() -> None:
    decision = decide(a_shift(), seen(25, BAD), NOON)

    assert (written(decision), decision.kind) == ((Direction.RETREAT, 0), Kind.ROLLBACK)
    assert (decision.state.phase, decision.state.since) == (Phase.ROLLING_BACK, NOON)
    assert decision.state.failure is not None
    assert decision.state.failure.share == 25
    assert decision.reason == f"rolling back: {decision.state.failure.reason}"


def test_a_failing_verdict_at_0_percent_is_not_the_targets() -> None:
    decision = decide(a_shift(share=0), seen(0, BAD), NOON)

    assert decision.state.phase is Phase.SHIFTING


@pytest.mark.parametrize("ledger", [Ledger(), BOTH_BAD, GOOD])
def test_a_dead_target_rolls_back_also_without_a_signal_and_in_an_incident(ledger: Ledger) -> None:
    evidence = replace(seen(25, ledger), target_gone=True, signal_problem="istio: no gateway pod")
    decision = decide(a_shift(), evidence, NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.reason.startswith("rolling back: istio's gateway is gone")


def test_a_rollback_replaces_a_climb_under_way_and_says_from_where() -> None:
    decision = decide(a_shift(intent=an_intent(Direction.CLIMB, 25, 100)), seen(25, BAD), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.write is not None
    assert decision.write.from_share == 100


def test_a_rollback_under_way_is_not_written_twice() -> None:
    retreat = an_intent(Direction.RETREAT, 25, 0)
    decision = decide(a_shift(Phase.ROLLING_BACK, intent=retreat), seen(25, BAD), NOON)

    assert (written(decision), decision.kind) == (None, Kind.ROLLBACK)
    assert decision.reason == "rolling back: errors"


def test_a_rollback_from_0_needs_no_write_and_verifies_what_is_live() -> None:
    views = live((old(50), new(0)))
    decision = decide(a_shift(), replace(seen(0, GOOD, an_order(Verb.ROLLBACK)), views=views), NOON)

    assert written(decision) is None
    assert (decision.state.phase, decision.state.since) == (Phase.ROLLED_BACK, NOON)
    assert (decision.state.share, decision.state.verified_at) == (0, NOON)
    assert decision.state.weights == {A.id: {"old": 50, "new": 0}, B.id: {"old": 50, "new": 0}}
    assert decision.reason == "rolled back: ordered by bob: because"


@pytest.mark.parametrize(
    "members",
    [(old(75), new(25, DEAD)), (old(0), new(0))],
    ids=["a dead target that would recover", "weights that lead nowhere"],
)
def test_0_percent_means_that_the_target_has_no_weight_and_the_source_has(members: tuple[Member, ...]) -> None:
    decision = decide(a_shift(Phase.ROLLING_BACK), replace(seen(), views=live(members)), NOON)

    assert written(decision) == (Direction.RETREAT, 0)
    assert decision.write is not None
    assert decision.write.weights == {A.id: {"old": 100, "new": 0}, B.id: {"old": 100, "new": 0}}


def test_a_rollback_onto_a_dead_source_is_refused_and_told() -> None:
    views = live((old(75, DEAD), new(25)))
    decision = decide(a_shift(), replace(seen(25, GOOD, an_order(Verb.ROLLBACK)), views=views), NOON)

    assert (written(decision), decision.state.phase) == (None, Phase.ROLLING_BACK)
    assert kinds(decision) == {HoldKind.COLD_SOURCE}
    assert "the source side has no healthy member" in decision.reason


@pytest.mark.parametrize("problem", ["", "lb-1: throttled"])
def test_a_rollback_waits_for_a_provider_that_does_not_answer(problem: str) -> None:
    evidence = replace(seen(), views=None, provider_problem=problem)
    decision = decide(a_shift(Phase.ROLLING_BACK), evidence, NOON)

    assert decision.reason == f"rolling back: errors (waiting: {problem or 'no answer yet'})"


def test_a_rollback_is_written_on_a_view_that_is_not_fresh_but_not_believed_to_have_arrived_on_one() -> None:
    stale = replace(seen(), provider_problem="lb-1: throttled")
    going = decide(a_shift(Phase.ROLLING_BACK), stale, NOON)
    arrived = decide(a_shift(Phase.ROLLING_BACK), replace(stale, views=live(0)), NOON)
    at_rest = decide(a_shift(Phase.ROLLED_BACK, 0), replace(stale, views=live(0)), NOON)

    assert written(going) == (Direction.RETREAT, 0)
    assert (written(arrived), arrived.state.phase) == (None, Phase.ROLLING_BACK)
    assert arrived.reason == "rolling back: errors (waiting: lb-1: throttled)"
    assert (written(at_rest), at_rest.state.phase) == (None, Phase.ROLLED_BACK)


def test_a_rollback_whose_reason_was_lost_still_goes_back() -> None:
    decision = decide(a_shift(Phase.ROLLING_BACK, failure=None), seen(), NOON)

    assert decision.reason == "rolling back: its last write failed"


def test_a_completed_shift_can_still_be_rolled_back() -> None:
    decision = decide(a_shift(Phase.COMPLETED, 100), seen(100, GOOD, an_order(Verb.ROLLBACK)), NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_a_rolled_back_shift_rests_and_says_how_to_start_over() -> None:
    decision = decide(a_shift(Phase.ROLLED_BACK, 0), seen(0), NOON)

    assert (decision.kind, decision.state.since) == (Kind.HOLD, EARLIER)
    assert decision.reason == "rolled back: errors; `shifter retry` starts over"


def test_a_share_raised_by_hand_after_a_rollback_waits_for_a_persons_order() -> None:
    raised = replace(seen(0), views=live(50))
    left_alone = decide(a_shift(Phase.ROLLED_BACK, 0), raised, NOON)
    ordered = decide(a_shift(Phase.ROLLED_BACK, 0), replace(raised, orders=(an_order(Verb.ROLLBACK),)), NOON)

    assert (written(left_alone), kinds(left_alone)) == (None, {HoldKind.DRIFT})
    assert written(ordered) == (Direction.RETREAT, 0)


def test_a_new_member_with_weight_after_a_rollback_is_taken_off_again() -> None:
    views = live((old(100), new(0), new(10, key="new2")))
    decision = decide(a_shift(Phase.ROLLED_BACK, 0), replace(seen(0), views=views), NOON)

    assert written(decision) == (Direction.RETREAT, 0)


def test_a_retried_shift_climbs_again_from_the_first_step() -> None:
    decision = decide(a_shift(Phase.ROLLED_BACK, 0), seen(0, GOOD, an_order(Verb.RETRY)), NOON)

    assert written(decision) == (Direction.CLIMB, 5)
    assert decision.state.attempt == 2
