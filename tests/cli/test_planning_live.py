"""`plan` of a share that is not soaking as usual: set by hand, being written, gone back, arrived."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shifter.core.phases import Phase
from shifter.core.state import Direction, Intent, Pause
from tests.cli.plans import a_soaking_shift, rows

if TYPE_CHECKING:
    from tests.cli.conftest import World


@pytest.mark.parametrize(
    ("state", "mode", "why"),
    [
        ({"overridden": True}, "act", "promoted with --override: nothing goes back by itself until a retry"),
        ({}, "observe", "mode observe: nothing is written, so nothing goes back by itself either"),
    ],
)
def test_where_nothing_goes_back_by_itself_the_worst_case_is_unknown(
    world: World, state: dict[str, Any], mode: str, why: str
) -> None:
    a_soaking_shift(world, state=state, mode=mode)
    steps = world.json("plan", "shop")["steps"]

    assert [step["failedRequests"] for step in steps] == [None, None, None]
    assert steps[1]["unknown"] == {"failedRequests": why}
    assert "at worst" not in world.run("plan", "shop").stdout.splitlines()


def test_hands_off_means_that_nothing_goes_back_until_it_is_over(world: World) -> None:
    off = Pause(by="ann", reason="", at=world.now, hands_off_until=world.now + timedelta(hours=1))
    a_soaking_shift(world, state={"paused": off})
    during = world.json("plan", "shop")["steps"][1]
    world.now += timedelta(hours=2)
    later = world.json("plan", "shop")["steps"][1]

    assert during["unknown"] == {"failedRequests": "hands off by order of ann: nothing goes back by itself"}
    assert later["unknown"] == {}


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (Phase.ROLLED_BACK, "rolled back: errors: 7 %; the steps are those after `shifter retry shop`"),
        (Phase.ROLLING_BACK, "it is going back to tcm: errors: 7 %; the steps are those after a retry"),
    ],
)
def test_a_shift_that_went_back_says_so_and_is_planned_from_0(world: World, phase: Phase, said: str) -> None:
    a_soaking_shift(world, state={"phase": phase, "share": 0.0}, failure="errors: 7 %")
    ran = world.run("plan", "shop")

    assert ran.stdout.splitlines()[1] == said
    assert "tcm 99 · istio 1    +0s 20:00" in ran.stdout


def test_a_completed_shift_has_no_plan_and_says_so(world: World) -> None:
    a_soaking_shift(world, state={"phase": Phase.COMPLETED, "share": 100.0})
    found = world.json("plan", "shop")

    assert world.run("plan", "shop").stdout.splitlines() == [
        "shop: 3 steps, 400 requests/s",
        "completed: all traffic is on istio, and there is no step left",
    ]
    assert (found["finished"], found["steps"]) == (None, [])


def test_while_somebody_raised_the_share_by_hand_the_row_in_force_is_what_is_live(world: World) -> None:
    a_soaking_shift(world, written=60.0)
    ran = world.run("plan", "shop")
    found = world.json("plan", "shop")

    assert ran.stdout.splitlines()[1:4] == [
        "live is tcm 40 · istio 60, not tcm 75 · istio 25 as verified last; the row",
        "`now` is what is live",
        "the steps are those after `shifter reconcile shop --adopt`",
    ]
    assert rows(ran) == [
        ["tcm 99 · istio 1", "done"],
        ["tcm 75 · istio 25", "done"],
        ["tcm 40 · istio 60", "now", "5m", "5m15s", "240/s", "55440 in 231s"],
        ["tcm 0 · istio 100", "+5m 20:05", "5m", "5m15s", "400/s", "134400 in 336s"],
    ]
    assert [(step["share"], step["place"]) for step in found["steps"]] == [
        (1, "done"),
        (25, "done"),
        (60, "now"),
        (100, "ahead"),
    ]


def test_while_somebody_lowered_the_share_by_hand_the_row_in_force_is_what_is_live(world: World) -> None:
    a_soaking_shift(world, written=10.0)

    assert [row[:2] for row in rows(world.run("plan", "shop"))] == [
        ["tcm 99 · istio 1", "done"],
        ["tcm 90 · istio 10", "now"],
        ["tcm 75 · istio 25", "+5m 20:05"],
        ["tcm 0 · istio 100", "+10m 20:10"],
    ]


def test_a_share_that_was_taken_over_and_is_no_step_has_its_row(world: World) -> None:
    a_soaking_shift(world, state={"share": 60.0})
    ran = world.run("plan", "shop")

    assert "tcm 40 · istio 60 is in force, and no step of the policy: a person had it" in ran.stdout
    assert rows(ran)[2:] == [
        ["tcm 40 · istio 60", "now", "2m", "2m15s", "240/s", "55440 in 231s"],
        ["tcm 0 · istio 100", "+2m 20:02", "5m", "5m15s", "400/s", "134400 in 336s"],
    ]


@pytest.mark.parametrize("written", [24.6, 25.4, None])
def test_a_share_that_whole_weights_meet_about_or_that_nobody_sees_is_the_verified_one(
    world: World, written: float | None
) -> None:
    a_soaking_shift(world, written=written)

    assert [row[0] for row in rows(world.run("plan", "shop"))][1] == "tcm 75 · istio 25"
    assert "live is" not in world.run("plan", "shop").stdout


@pytest.mark.parametrize(
    ("phase", "verified", "live", "why"),
    [
        (Phase.WAITING, 0.0, 0.4, "it has not begun: nothing goes back by itself before shifter has written"),
        (Phase.ROLLED_BACK, 0.0, 60.0, "it was rolled back already: nothing goes back by itself before a retry"),
        (Phase.COMPLETED, 100.0, 99.8, "it is completed: nothing goes back by itself any more"),
        (Phase.ROLLING_BACK, 25.0, 60.0, "it is going back already"),
    ],
)
def test_what_is_live_before_the_first_step_and_after_the_last_has_its_row_and_no_way_back(
    world: World, phase: Phase, verified: float, live: float, why: str
) -> None:
    a_soaking_shift(world, state={"phase": phase, "share": verified}, written=live, failure="errors: 7 %")
    ran = world.run("plan", "shop")
    first = rows(ran)[0]

    assert (first[1:3], first[5]) == (["now", "?"], "?")
    assert first[0].endswith(f"istio {live:g}")
    assert f"? at {live:g} %: {why}" in " ".join(ran.stdout.split())
    assert len(rows(ran)) == (1 if phase is Phase.COMPLETED else 4)
    assert ("done in" in " ".join(ran.stdout.split())) == (phase is not Phase.COMPLETED)


def test_a_write_under_way_is_the_step_that_the_shift_is_on_and_nothing_of_it_has_soaked(world: World) -> None:
    intent = Intent(
        sequence=3,
        epoch=1,
        direction=Direction.CLIMB,
        from_share=25,
        to_share=100,
        reason="to 100 %",
        by="shifter",
        created_at=world.now,
        deadline=world.now + timedelta(minutes=2),
        before={},
        weights={},
    )
    a_soaking_shift(world, state={"intent": intent})
    found = world.json("plan", "shop")

    assert [step["place"] for step in found["steps"]] == ["done", "done", "now"]
    assert found["finished"] == {"inSeconds": 300.0, "at": "2026-11-20T12:05:00.000Z"}
