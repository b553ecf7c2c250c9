"""A shift in the middle of its way, and evidence in which everything is in order; each test changes what it is about.

`a_policy` serves whatever needs a valid policy; the rest is one shift, `shop`, on two routes of one balancer. What is
known of its target is no invention: every standing is gathered from a history of the source and the ticks of a ledger,
as the service does it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from shifter.core.analysis.standing import Standing
from shifter.core.balancing.splits import Health, Member, RouteView, Side
from shifter.core.counts.evidence import Counts, Ledger, Tick
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decision import Decision
from shifter.core.deciding.gathering import Terms, gather
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Order, OrderRequest, Verb
from shifter.core.documents.fleet import Lessons
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.state import Direction, Failure, Intent, Pause, ShiftState

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
EARLIER = NOON - timedelta(minutes=10)


def a_policy(
    *listeners: str,
    steps: tuple[float, ...] = (5, 25, 100),
    approvals: tuple[float, ...] = (),
    on_failure: str = "rollback",
) -> ShiftPolicy:
    """One namespace, a route on each listener, a soak of one minute, no latency, everything else as when omitted.

    No `steps` at all are `auto`. Without latency, so that counts need no histogram.
    """
    clb = {
        "region": "ap-guangzhou",
        "loadBalancer": "lb-1",
        "routes": tuple({"listener": listener, "domain": "shop.example.com", "url": "/"} for listener in listeners),
        "source": {"port": 30080},
        "target": {"port": 31080},
    }
    gates = tuple({"before": share} for share in approvals)
    spec = {
        "namespace": "shop",
        "traffic": {"clb": clb},
        "steps": steps,
        "soak": "1m",
        "analysis": {"latency": {"enabled": False}},
        "onFailure": on_failure,
        "approvals": gates,
    }
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


MANY = 2000
"""Requests of one side in one tick of what is good or bad: enough to be sure of either within a minute."""


def at_times(*counts: tuple[Counts, Counts], end: datetime = NOON) -> Ledger:
    """Ticks of 5 s each, with what the source and the target counted; the newest one ends at `end`."""
    ends = [end - timedelta(seconds=5 * before) for before in reversed(range(len(counts)))]
    return Ledger(tuple(Tick(at, 5, source, target) for at, (source, target) in zip(ends, counts, strict=True)))


def ticks(source: Counts, target: Counts, count: int = 12) -> Ledger:
    """The same in every tick of a minute, the newest one now."""
    return at_times(*[(source, target)] * count)


def turning(source: Counts, target: Counts) -> Ledger:
    """Half a minute in which all is well, long enough for no step to be blamed, and then half a minute of this."""
    return at_times(*[(Counts(MANY), Counts(MANY))] * 6, *[(source, target)] * 6)


GOOD = ticks(Counts(MANY), Counts(MANY))
BAD = ticks(Counts(MANY), Counts(MANY, MANY / 10))
LITTLE = ticks(Counts(3), Counts(1))
BOTH_BAD = turning(Counts(MANY, MANY / 10), Counts(MANY, MANY / 10))
ONLY_SOURCE_BAD = turning(Counts(MANY, MANY / 10), Counts(MANY))
TERMS = Terms(Lessons(), edges_ms=())
LEARNT_TICKS = 16


@cache
def gathered(ledger: Ledger, share: float = 25, attempt: int = 1) -> Standing:
    """What the ticks of a ledger amount to at a share, after a while in which the source alone answered, and well."""
    alone = at_times(*[(Counts(MANY), Counts())] * LEARNT_TICKS, end=NOON - timedelta(minutes=30))
    before = a_shift(Phase.WAITING, 0, attempt=attempt)
    standing, so_far = None, Ledger()
    for tick in alone.ticks:
        standing, so_far = _with(standing, before, so_far.add(tick)), so_far.add(tick)
    state = a_shift(share=int(share), attempt=attempt) if share > 0 else before
    so_far = Ledger() if share > 0 else so_far
    for tick in ledger.ticks:
        standing, so_far = _with(standing, state, so_far.add(tick)), so_far.add(tick)
    assert standing is not None
    return standing


def _with(standing: Standing | None, state: ShiftState, ledger: Ledger) -> Standing | None:
    found = gather(standing, state, ledger, whole=True, terms=TERMS)
    return standing if found is None else found.standing


def counted(ledger: Ledger, share: float = 25, attempt: int = 1) -> dict[str, object]:
    """The fields of the evidence that follow from a ledger, for `replace`."""
    return {"ledger": ledger, "standing": gathered(ledger, share, attempt)}


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
        standing=gathered(ledger, share),
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
