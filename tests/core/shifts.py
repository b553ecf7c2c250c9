"""A shift in the middle of its way, and evidence in which everything is in order; each test changes what it is about.

`a_policy` serves whatever needs a valid policy; the rest is one shift, `shop`, on two routes of one balancer.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from shifter.core.decision import Decision
from shifter.core.evidence import Counts, Evidence, Ledger, Tick
from shifter.core.holds import HoldKind
from shifter.core.orders import Order, OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.policy import ShiftPolicy
from shifter.core.splits import Health, Member, RouteView, Side
from shifter.core.state import Direction, Failure, Intent, Pause, ShiftState

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
EARLIER = NOON - timedelta(minutes=10)


def a_policy(
    *listeners: str, steps: tuple[float, ...] = (5, 25, 100), approvals: tuple[float, ...] = ()
) -> ShiftPolicy:
    """One namespace, a route on each listener, a soak of one minute, everything else as when omitted."""
    clb = {
        "region": "ap-guangzhou",
        "loadBalancer": "lb-1",
        "routes": tuple({"listener": listener, "domain": "shop.example.com", "url": "/"} for listener in listeners),
        "source": {"port": 30080},
        "target": {"port": 31080},
    }
    gates = tuple({"before": share} for share in approvals)
    spec = {"namespace": "shop", "traffic": {"clb": clb}, "steps": steps, "soak": "1m", "approvals": gates}
    return ShiftPolicy.model_validate({"kind": "ShiftPolicy", "metadata": {"name": "shop"}, "spec": spec})


POLICY = a_policy("a", "b")
A, B = POLICY.routes
ALIVE, DEAD = Health.ALIVE, Health.DEAD
PAUSED = Pause(by="ann", reason="lunch", at=EARLIER)


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
LITTLE = ticks(Counts(100), Counts(1))
BOTH_BAD = ticks(Counts(100, 10), Counts(100, 10))
ONLY_SOURCE_BAD = ticks(Counts(100, 10), Counts(100))


def a_shift(phase: Phase = Phase.SHIFTING, share: int = 25, **changes: object) -> ShiftState:
    """A shift whose share was verified ten minutes ago; one that goes or went back failed at 25 %."""
    went_back = phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}
    fields: dict[str, object] = {
        "name": "shop",
        "policy": POLICY,
        "phase": phase,
        "since": EARLIER,
        "share": float(share),
        "weights": weights(share),
        "verified_at": EARLIER,
        "failure": Failure(reason="errors", share=25, at=EARLIER) if went_back else None,
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


def an_order(verb: Verb, order_id: int = 1, **asked: Any) -> Order:  # noqa: ANN401 - any field of a request
    return Order(order_id, NOON, OrderRequest("shop", verb, "bob", "because", **asked))


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
