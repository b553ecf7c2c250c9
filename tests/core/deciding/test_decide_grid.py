"""What may happen in each cell of phase, hold and evidence? The grid is the specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from shifter.core.counts.evidence import Ledger
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.holds import HoldKind
from shifter.core.phases import Phase
from shifter.core.records import SERVICE
from shifter.core.state import Ceiling, Direction, Freeze, ShiftState
from tests.core.shifts import (
    BAD,
    BOTH_BAD,
    DEAD,
    EARLIER,
    GOOD,
    LITTLE,
    NOON,
    ONLY_SOURCE_BAD,
    PAUSED,
    a_policy,
    a_shift,
    an_intent,
    counted,
    kinds,
    live,
    new,
    old,
    seen,
    written,
)

# climb: a write of the next step · back: a write of 0 % · hold: no write, same phase · stuck: going back, cannot yet

GRID = {
    Phase.WAITING: """
        hold         | good  | bad   | little | none
        -            | climb | climb | climb  | hold
        pause        | hold  | hold  | hold   | hold
        hands off    | hold  | hold  | hold   | hold
        freeze       | hold  | hold  | hold   | hold
        restored     | hold  | hold  | hold   | hold
        approval     | hold  | hold  | hold   | hold
        no signal    | hold  | hold  | hold   | hold
        incident     | hold  | hold  | hold   | hold
        drift        | hold  | hold  | hold   | hold
        preflight    | hold  | hold  | hold   | hold
        half-applied | hold  | hold  | hold   | hold
        cold source  | hold  | hold  | hold   | hold
        cold target  | hold  | hold  | hold   | hold
        stepped back | climb | climb | climb  | hold
        failing      | climb | climb | climb  | hold
        provider     | hold  | hold  | hold   | hold
        policy       | hold  | hold  | hold   | hold
        lease        | hold  | hold  | hold   | hold
        bug          | hold  | hold  | hold   | hold
        unreadable   | hold  | hold  | hold   | hold
    """,
    Phase.SHIFTING: """
        hold         | good  | bad   | little | none
        -            | climb | back  | hold   | hold
        pause        | hold  | back  | hold   | hold
        hands off    | hold  | hold  | hold   | hold
        freeze       | hold  | back  | hold   | hold
        restored     | hold  | back  | hold   | hold
        approval     | hold  | back  | hold   | hold
        no signal    | hold  | hold  | hold   | hold
        incident     | hold  | hold  | hold   | hold
        drift        | hold  | back  | hold   | hold
        preflight    | hold  | back  | hold   | hold
        half-applied | hold  | back  | hold   | hold
        cold source  | hold  | stuck | hold   | hold
        cold target  | hold  | back  | hold   | hold
        stepped back | hold  | back  | hold   | hold
        failing      | climb | hold  | hold   | hold
        provider     | hold  | stuck | hold   | hold
        policy       | hold  | back  | hold   | hold
        lease        | hold  | back  | hold   | hold
        bug          | hold  | back  | hold   | hold
        unreadable   | hold  | back  | hold   | hold
    """,
    Phase.COMPLETED: """
        hold         | good  | bad   | little | none
        -            | hold  | hold  | hold   | hold
        pause        | hold  | hold  | hold   | hold
        hands off    | hold  | hold  | hold   | hold
        freeze       | hold  | hold  | hold   | hold
        restored     | hold  | hold  | hold   | hold
        approval     | hold  | hold  | hold   | hold
        no signal    | hold  | hold  | hold   | hold
        incident     | hold  | hold  | hold   | hold
        drift        | hold  | hold  | hold   | hold
        preflight    | hold  | hold  | hold   | hold
        half-applied | hold  | hold  | hold   | hold
        cold source  | hold  | hold  | hold   | hold
        cold target  | hold  | hold  | hold   | hold
        stepped back | hold  | hold  | hold   | hold
        failing      | hold  | hold  | hold   | hold
        provider     | hold  | hold  | hold   | hold
        policy       | hold  | hold  | hold   | hold
        lease        | hold  | hold  | hold   | hold
        bug          | hold  | hold  | hold   | hold
        unreadable   | hold  | hold  | hold   | hold
    """,
    Phase.ROLLING_BACK: """
        hold         | good  | bad   | little | none
        -            | back  | back  | back   | back
        pause        | back  | back  | back   | back
        hands off    | hold  | hold  | hold   | hold
        freeze       | back  | back  | back   | back
        restored     | back  | back  | back   | back
        approval     | back  | back  | back   | back
        no signal    | back  | back  | back   | back
        incident     | back  | back  | back   | back
        drift        | back  | back  | back   | back
        preflight    | back  | back  | back   | back
        half-applied | back  | back  | back   | back
        cold source  | stuck | stuck | stuck  | stuck
        cold target  | back  | back  | back   | back
        stepped back | back  | back  | back   | back
        failing      | back  | back  | back   | back
        provider     | stuck | stuck | stuck  | stuck
        policy       | back  | back  | back   | back
        lease        | back  | back  | back   | back
        bug          | back  | back  | back   | back
        unreadable   | back  | back  | back   | back
    """,
    Phase.ROLLED_BACK: """
        hold         | good  | bad   | little | none
        -            | hold  | hold  | hold   | hold
        pause        | hold  | hold  | hold   | hold
        hands off    | hold  | hold  | hold   | hold
        freeze       | hold  | hold  | hold   | hold
        restored     | hold  | hold  | hold   | hold
        approval     | hold  | hold  | hold   | hold
        no signal    | hold  | hold  | hold   | hold
        incident     | hold  | hold  | hold   | hold
        drift        | hold  | hold  | hold   | hold
        preflight    | hold  | hold  | hold   | hold
        half-applied | hold  | hold  | hold   | hold
        cold source  | hold  | hold  | hold   | hold
        cold target  | hold  | hold  | hold   | hold
        stepped back | hold  | hold  | hold   | hold
        failing      | hold  | hold  | hold   | hold
        provider     | hold  | hold  | hold   | hold
        policy       | hold  | hold  | hold   | hold
        lease        | hold  | hold  | hold   | hold
        bug          | hold  | hold  | hold   | hold
        unreadable   | hold  | hold  | hold   | hold
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
    repairs = {Phase.SHIFTING: (100, 25), Phase.ROLLING_BACK: (25, 5)}
    retreat = an_intent(Direction.RETREAT, *repairs.get(state.phase, (25, 0)))
    cold = live((old(100 - share, DEAD), new(share)))
    refused = {route: replace(view, refusal="a stranger has weight") for route, view in views.items()}
    states: Mapping[str, Mapping[str, object]] = {
        HoldKind.PAUSE: {"paused": PAUSED},
        HoldKind.HANDS_OFF: {"paused": PAUSED.model_copy(update={"hands_off_until": NOON + timedelta(minutes=1)})},
        HoldKind.APPROVAL: {"policy": a_policy("a", "b", approvals=(5, 100))},
        HoldKind.HALF_APPLIED: {"intent": retreat},
        HoldKind.STEPPED_BACK: {"ceiling": Ceiling(share=100, reason="it broke", at=EARLIER)},
        HoldKind.FAILING: {"policy": a_policy("a", "b", on_failure="hold")},
    }
    changes: Mapping[str, Mapping[str, object]] = {
        HoldKind.FREEZE: {"freezes": (Freeze(by="ann", reason="Singles' Day", at=NOON),)},
        HoldKind.RESTORED: {"freezes": (Freeze(by=SERVICE, reason="put back from a backup", at=NOON),)},
        HoldKind.NO_SIGNAL: {"signal_problem": "istio: Prometheus does not answer"},
        HoldKind.INCIDENT: counted(BOTH_BAD if evidence.ledger is BAD else ONLY_SOURCE_BAD, share),
        HoldKind.DRIFT: {"views": live(50)},
        HoldKind.PREFLIGHT: {"views": refused},
        HoldKind.COLD_SOURCE: {"views": cold},
        HoldKind.COLD_TARGET: {"target_problem": "the API server does not answer"},
        HoldKind.PROVIDER: {"views": None},
        HoldKind.POLICY: {"policy_problem": "the file is gone"},
        HoldKind.LEASE: {"leader": False},
        HoldKind.BUG: {"bug": "Completed is no way out of Waiting"},
        HoldKind.UNREADABLE: {"unreadable": "saved state of shop is not what shifter saved"},
    }
    if hold not in {*states, *changes, "-"}:
        raise KeyError(hold)
    return state.model_copy(update=dict(states.get(hold, {}))), replace(evidence, **changes.get(hold, {}))  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", Phase)
def test_the_grid_has_a_row_for_every_hold(phase: Phase) -> None:
    assert {cell.hold for cell in cells() if cell.phase is phase} == {"-", *HoldKind}


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


@pytest.mark.parametrize("hold", [hold for hold in HoldKind if hold not in {HoldKind.INCIDENT, HoldKind.FAILING}])
def test_each_hold_is_told_by_its_kind(hold: HoldKind) -> None:
    state, evidence = with_hold(a_shift(), seen(), hold)
    decision = decide(state, evidence, NOON)

    assert kinds(decision) == {hold}
    assert decision.state.holds == (hold,)


def test_an_incident_is_told_by_its_kind() -> None:
    decision = decide(a_shift(), seen(25, BOTH_BAD), NOON)

    assert kinds(decision) == {HoldKind.INCIDENT}
    assert decision.reason.startswith("holding: incident: both meshes fail")


def test_a_failing_target_that_its_policy_lets_stay_is_told_by_its_kind() -> None:
    state, evidence = with_hold(a_shift(), seen(25, BAD), HoldKind.FAILING)
    decision = decide(state, evidence, NOON)

    assert kinds(decision) == {HoldKind.FAILING}
    assert decision.reason == (
        "holding: failing: istio fails 10 % against tcm 0 %: evidence over 1,000,000:1, limit 100:1; onFailure is hold:"
        " `shifter rollback shop` goes back"
    )


def test_a_kind_of_hold_is_remembered_once_however_many_routes_have_it() -> None:
    state, evidence = with_hold(a_shift(), seen(), HoldKind.PREFLIGHT)
    decision = decide(state, evidence, NOON)

    assert len(decision.holds) == 2
    assert decision.state.holds == (HoldKind.PREFLIGHT,)
