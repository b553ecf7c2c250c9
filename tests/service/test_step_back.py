"""A policy may say that a failure costs one step and not all of them: `onFailure: stepBack` and `hold`."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Direction
from tests.service.conftest import TICK, World

EDGES = (
    "before save",
    "after save",
    "before submit",
    "after submit",
    "before check",
    "after check",
    "before observe",
    "after observe",
    "before report",
    "after report",
)


@pytest.fixture
def stepping(world: World) -> World:
    """A world at 50 % that steps back when it fails."""
    world.write_policy("shop", onFailure="stepBack")
    world.until_share(50)
    return world


def fail(world: World, percent: float = 20) -> None:
    """Let a part of the target's requests fail from now on: a fifth is bad, but not dead."""
    world.sides[Side.TARGET].error_percent = percent


def fail_above_25(world: World) -> None:
    """Let a fifth of the target's requests fail wherever it gets more than a quarter of the traffic."""
    world.sides[Side.TARGET].capacity = 1.1 * world.PER_SECOND * TICK.total_seconds() / 4
    fail(world)


def ceiling_share(world: World) -> float | None:
    """Where the saved state says that it failed."""
    ceiling = world.saved_state().ceiling
    return None if ceiling is None else ceiling.share


def step_back(world: World) -> None:
    fail_above_25(world)
    world.until_share(25, most=10)


# -- one step --------------------------------------------------------------------------------------------------------


def test_a_failure_at_50_goes_to_the_rung_below(stepping: World) -> None:
    step_back(stepping)
    stepping.step(30)

    assert stepping.written_shares() == [5, 25, 50, 25]
    assert stepping.state().phase is Phase.SHIFTING
    assert ceiling_share(stepping) == 50


def test_below_the_ceiling_a_shift_holds_until_somebody_says_that_it_may_be_tried_again(stepping: World) -> None:
    step_back(stepping)
    stepping.step(30)
    held = stepping.holds(), stepping.report().page, stepping.reason()
    fail(stepping, 0)
    retry = stepping.order(Verb.RETRY)
    stepping.until(Phase.COMPLETED)

    assert held[:2] == ({HoldKind.STEPPED_BACK}, True)
    assert "it failed at 50 % (istio fails 20 % against tcm 0 %" in held[2]
    assert "`shifter retry shop` lets it go there again" in held[2]
    assert stepping.answer(retry)[0] is Answer.ACCEPTED
    assert stepping.climbs() == [5, 25, 50, 50, 100]


def test_a_ceiling_and_what_it_rests_on_are_in_the_history(stepping: World) -> None:
    step_back(stepping)
    stepping.order(Verb.RETRY)
    stepping.wake()
    set_at, lifted = (record for record in stepping.history() if record.what is What.CEILING)

    assert set_at.reason.startswith("it failed at 50 % and stays below: istio fails 20 %")
    assert set_at.evidence["share"] == 50
    assert "replay" in set_at.evidence
    assert lifted.reason == "it may reach 50 % again"


def test_a_step_back_ends_the_attempt_and_knows_nothing_of_the_target_any_more(stepping: World) -> None:
    before = stepping.state().attempt
    step_back(stepping)
    standing = stepping.ticker.shifts["shop"].seen.standing
    stepping.step(2)

    assert stepping.state().attempt == before + 1
    assert standing is not None
    assert (standing.attempt, standing.share, standing.ticks) == (before + 1, 25, 0)
    assert stepping.report().harm_limit == 200


def test_a_target_that_fails_at_every_rung_goes_down_all_of_them(stepping: World) -> None:
    fail(stepping)
    stepping.until(Phase.ROLLED_BACK)

    assert stepping.written_shares() == [5, 25, 50, 25, 5, 0]


def test_a_dead_target_goes_back_all_the_way_whatever_the_policy_says(stepping: World) -> None:
    fail(stepping, 100)
    stepping.until(Phase.ROLLED_BACK)

    assert stepping.written_shares() == [5, 25, 50, 0]


def test_a_failure_at_the_first_rung_has_only_0_to_go_back_to(world: World) -> None:
    world.write_policy("shop", onFailure="stepBack")
    world.until_share(5)
    fail(world)
    world.until(Phase.ROLLED_BACK)

    assert world.written_shares() == [5, 0]


# -- whatever comes between ------------------------------------------------------------------------------------------


@pytest.mark.fault(
    on="process",
    fault="dies between the decision to step back and the write",
    does="steps back after the restart",
    sees="stepping back to 25 %: istio fails ...",
    safe_within="2 ticks after the restart",
)
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("ticks", range(4))
def test_killed_at_any_edge_of_a_step_back_it_still_steps_back(stepping: World, edge: str, ticks: int) -> None:
    fail_above_25(stepping)
    stepping.step(ticks)
    stepping.trap.strike_next = edge
    stepping.step(6)
    stepping.trap.strike_next = ""
    stepping.step(4)

    assert stepping.share() == 25
    assert ceiling_share(stepping) == 50
    assert [share for share, _ in groupby(stepping.written_shares())] == [5, 25, 50, 25]
    assert stepping.holds() == {HoldKind.STEPPED_BACK}


@pytest.mark.fault(
    on="SQLite",
    fault="is down while a shift steps back",
    does="steps back all the same; it is journalled when the store is back",
    sees="`store.problem` in the log, and the record `ceiling` later",
    safe_within="at once",
)
def test_without_the_store_it_steps_back_all_the_same(stepping: World) -> None:
    stepping.saved.down = True
    fail_above_25(stepping)
    stepping.step(3)
    meanwhile = stepping.share()
    stepping.step(3)
    stepping.saved.down = False
    stepping.step(3)

    assert meanwhile == 25
    assert [record.evidence["share"] for record in stepping.history() if record.what is What.CEILING] == [50]
    assert (ceiling_share(stepping), stepping.saved_state().share) == (50, 25)


def test_a_bug_while_a_step_back_is_saved_does_not_forget_why(stepping: World) -> None:
    stepping.store.bugs["shop"] = ZeroDivisionError("a bug")
    fail_above_25(stepping)
    while not stepping.lines("shift.error"):
        stepping.step()
    standing = stepping.ticker.shifts["shop"].seen.standing
    del stepping.store.bugs["shop"]
    stepping.step(3)

    assert standing is not None
    assert (standing.attempt, standing.share) == (1, 50)
    assert standing.ticks > 0
    assert stepping.share() == 25
    assert len([record for record in stepping.history() if record.what is What.CEILING]) == 1


def test_a_refused_write_is_tried_again_until_the_share_is_below_the_ceiling(stepping: World) -> None:
    stepping.provider.refusal = "quota"
    fail_above_25(stepping)
    stepping.step(4)
    stepping.provider.refusal = ""
    stepping.until_share(25, most=30)

    retreats = [r for r in stepping.history() if r.what is What.INTENT and r.evidence["direction"] == Direction.RETREAT]
    assert {record.evidence["to"] for record in retreats} == {25.0}


# -- no step at all --------------------------------------------------------------------------------------------------


@pytest.mark.fault(
    on="people",
    fault="a policy says `onFailure: hold` and istio fails",
    does="nothing is written, up or down; `shifter rollback` goes back",
    sees="hold `failing`, and it pages",
    safe_within="when somebody orders it",
)
def test_a_policy_that_holds_on_failure_writes_nothing_and_pages(world: World) -> None:
    world.write_policy("shop", onFailure="hold")
    world.until_share(25)
    submits = len(world.provider.submits)
    fail(world, 50)
    world.step(20)
    meanwhile = world.share(), world.holds(), world.report().page, world.reason()
    written = len(world.provider.submits) - submits
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)

    assert meanwhile[:3] == (25, {HoldKind.FAILING}, True)
    assert "onFailure is hold: `shifter rollback shop` goes back" in meanwhile[3]
    assert written == 0
    assert world.share() == 0


@pytest.mark.parametrize("restarts", [False, True])
def test_a_retry_in_place_soaks_anew(world: World, restarts: bool) -> None:  # noqa: FBT001 - a parameter
    world.write_policy("shop", onFailure="hold", soak="20m")
    world.until_share(25)
    fail(world, 50)
    world.step(8)
    fail(world, 0)
    world.step(200)
    world.order(Verb.RETRY)
    world.step()
    retried = world.now
    if restarts:
        world.restart()
    world.until_share(50)

    assert world.now - retried >= timedelta(minutes=20)
