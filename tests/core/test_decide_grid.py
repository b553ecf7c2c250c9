"""What may happen in each cell of phase, hold and evidence? The grid is the specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from shifter.core.decide import Decision, decide
from shifter.core.evidence import Counts, Evidence, Ledger, Tick
from shifter.core.holds import HoldKind
from shifter.core.phases import Phase
from shifter.core.policy import ShiftPolicy
from shifter.core.splits import Health, Member, RouteView, Side
from shifter.core.state import Direction, Failure, Intent, Pause, ShiftState

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


def seen(share: int = 25, ledger: Ledger = GOOD) -> Evidence:
    """Everything in order: the share is live, settled, soaked, and this replica leads."""
    return Evidence(
        views=live(share),
        ledger=ledger,
        leader=True,
        max_age=timedelta(seconds=15),
        tick=timedelta(seconds=5),
        settled_at=EARLIER,
    )


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


# climb: a write of the next step · back: a write of 0 % · hold: no write, same phase · stuck: going back, cannot yet

GRID = {
    Phase.WAITING: """
        hold         | good  | bad   | little | none
        -            | climb | climb | climb  | hold
        pause        | hold  | hold  | hold   | hold
        no signal    | hold  | hold  | hold   | hold
        incident     | hold  | hold  | hold   | hold
        drift        | hold  | hold  | hold   | hold
        preflight    | hold  | hold  | hold   | hold
        half-applied | hold  | hold  | hold   | hold
        cold source  | hold  | hold  | hold   | hold
        provider     | hold  | hold  | hold   | hold
        policy       | hold  | hold  | hold   | hold
        lease        | hold  | hold  | hold   | hold
    """,
    Phase.SHIFTING: """
        hold         | good  | bad   | little | none
        -            | climb | back  | hold   | hold
        pause        | hold  | back  | hold   | hold
        no signal    | hold  | hold  | hold   | hold
        incident     | hold  | hold  | hold   | hold
        drift        | hold  | back  | hold   | hold
        preflight    | hold  | back  | hold   | hold
        half-applied | hold  | back  | hold   | hold
        cold source  | hold  | stuck | hold   | hold
        provider     | hold  | stuck | hold   | hold
        policy       | hold  | back  | hold   | hold
        lease        | hold  | back  | hold   | hold
    """,
    Phase.COMPLETED: """
        hold         | good  | bad   | little | none
        -            | hold  | hold  | hold   | hold
        pause        | hold  | hold  | hold   | hold
        no signal    | hold  | hold  | hold   | hold
        incident     | hold  | hold  | hold   | hold
        drift        | hold  | hold  | hold   | hold
        preflight    | hold  | hold  | hold   | hold
        half-applied | hold  | hold  | hold   | hold
        cold source  | hold  | hold  | hold   | hold
        provider     | hold  | hold  | hold   | hold
        policy       | hold  | hold  | hold   | hold
        lease        | hold  | hold  | hold   | hold
    """,
    Phase.ROLLING_BACK: """
        hold         | good  | bad   | little | none
        -            | back  | back  | back   | back
        pause        | back  | back  | back   | back
        no signal    | back  | back  | back   | back
        incident     | back  | back  | back   | back
        drift        | back  | back  | back   | back
        preflight    | back  | back  | back   | back
        half-applied | back  | back  | back   | back
        cold source  | stuck | stuck | stuck  | stuck
        provider     | stuck | stuck | stuck  | stuck
        policy       | back  | back  | back   | back
        lease        | back  | back  | back   | back
    """,
    Phase.ROLLED_BACK: """
        hold         | good  | bad   | little | none
        -            | hold  | hold  | hold   | hold
        pause        | hold  | hold  | hold   | hold
        no signal    | hold  | hold  | hold   | hold
        incident     | hold  | hold  | hold   | hold
        drift        | hold  | hold  | hold   | hold
        preflight    | hold  | hold  | hold   | hold
        half-applied | hold  | hold  | hold   | hold
        cold source  | hold  | hold  | hold   | hold
        provider     | hold  | hold  | hold   | hold
        policy       | hold  | hold  | hold   | hold
        lease        | hold  | hold  | hold   | hold
    """,
}
SHARES = {Phase.WAITING: 0, Phase.SHIFTING: 25, Phase.COMPLETED: 100, Phase.ROLLING_BACK: 25, Phase.ROLLED_BACK: 0}
LEDGERS = {"good": GOOD, "bad": BAD, "little": LITTLE, "none": Ledger()}


@dataclass(frozen=True)
class Cell:
    phase: Phase
    hold: str
    evidence: str
    outcome: str


def cells() -> list[Cell]:
    found = []
    for phase, table in GRID.items():
        head, *rows = ([word.strip() for word in line.split("|")] for line in table.strip().splitlines())
        found += [Cell(phase, row[0], head[i], row[i]) for row in rows for i in range(1, len(head))]
    return found


def with_hold(state: ShiftState, evidence: Evidence, hold: str) -> tuple[ShiftState, Evidence]:
    """Return the same situation with one more reason not to climb."""
    share = int(state.share)
    views = evidence.views or {}
    retreat = an_intent(Direction.RETREAT, 25, 5 if state.phase in {Phase.SHIFTING, Phase.ROLLING_BACK} else 0)
    cold = live((old(100 - share, DEAD), new(share)))
    refused = {route: replace(view, refusal="a stranger has weight") for route, view in views.items()}
    states: Mapping[str, Mapping[str, object]] = {
        HoldKind.PAUSE: {"paused": PAUSED},
        HoldKind.HALF_APPLIED: {"intent": retreat},
    }
    changes: Mapping[str, Mapping[str, object]] = {
        HoldKind.NO_SIGNAL: {"signal_problem": "istio: Prometheus does not answer"},
        HoldKind.INCIDENT: {"ledger": BOTH_BAD if evidence.ledger is BAD else ONLY_SOURCE_BAD},
        HoldKind.DRIFT: {"views": live(50)},
        HoldKind.PREFLIGHT: {"views": refused},
        HoldKind.COLD_SOURCE: {"views": cold},
        HoldKind.PROVIDER: {"views": None},
        HoldKind.POLICY: {"policy_problem": "the file is gone"},
        HoldKind.LEASE: {"leader": False},
    }
    return state.model_copy(update=dict(states.get(hold, {}))), replace(evidence, **changes.get(hold, {}))  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: f"{cell.phase}-{cell.hold}-{cell.evidence}")
def test_each_cell_of_the_grid_allows_what_it_says(cell: Cell) -> None:
    share = SHARES[cell.phase]
    state, evidence = with_hold(a_shift(cell.phase, share), seen(share, LEDGERS[cell.evidence]), cell.hold)
    decision = decide(state, evidence, NOON)

    next_step = 5.0 if cell.phase is Phase.WAITING else 100.0
    expected = {"climb": (Direction.CLIMB, next_step), "back": (Direction.RETREAT, 0.0)}.get(cell.outcome)
    going_back = {"back": Phase.ROLLING_BACK, "stuck": Phase.ROLLING_BACK, "climb": Phase.SHIFTING}
    assert written(decision) == expected
    assert decision.state.phase is going_back.get(cell.outcome, cell.phase)
    assert decision.reason


@pytest.mark.parametrize("hold", [hold for hold in HoldKind if hold is not HoldKind.INCIDENT])
def test_each_hold_is_told_by_its_kind(hold: HoldKind) -> None:
    state, evidence = with_hold(a_shift(), seen(), hold)
    decision = decide(state, evidence, NOON)

    assert kinds(decision) == {hold}
    assert decision.state.holds == (hold,)


def test_an_incident_is_told_by_its_kind() -> None:
    decision = decide(a_shift(), seen(25, BOTH_BAD), NOON)

    assert kinds(decision) == {HoldKind.INCIDENT}
    assert decision.reason.startswith("holding: incident: both meshes fail")


def test_a_kind_of_hold_is_remembered_once_however_many_routes_have_it() -> None:
    state, evidence = with_hold(a_shift(), seen(), HoldKind.PREFLIGHT)
    decision = decide(state, evidence, NOON)

    assert len(decision.holds) == 2
    assert decision.state.holds == (HoldKind.PREFLIGHT,)
