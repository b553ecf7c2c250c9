"""`status`: one answer to "is everything all right?", for people, prompts and cron jobs."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

from shifter.core.deciding.orders import OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.state import FleetState, Freeze, HoldReport
from shifter.errors import RefusedError

if TYPE_CHECKING:
    from tests.cli.conftest import World

PAGED = HoldReport(kind="drift", reason="somebody changed the weights")


def _order(world: World, ago: float, name: str = "shop") -> None:
    world.store.create_order(OrderRequest(name, Verb.PAUSE, "ann@desk", "lunch"), world.now - timedelta(seconds=ago))


def _freeze(world: World, *others: str) -> None:
    freezes = [Freeze(by="bob@desk", reason="campaign", at=world.now - timedelta(hours=3))]
    freezes += [Freeze(by=by, reason="", at=world.now) for by in others]
    world.store.save_fleet(FleetState(freezes=tuple(freezes)), 0)


def test_all_is_well_is_said_with_exit_code_0(world: World) -> None:
    world.shift()
    world.shift("cart", phase=Phase.COMPLETED)
    ran = world.run("status")

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "healthy",
        "",
        "service   runs, last looked 10s ago (19:59:50 +08:00)",
        "shifts    2: 1 Shifting, 1 Completed",
        "odds      most against cart: 1:2.4, limit 100:1",
        "orders    none waits",
    ]


def test_the_shift_that_is_nearest_to_going_back_is_named(world: World) -> None:
    world.shift(harm=7.3)
    world.shift("cart", harm=None)
    world.shift("pay", harm=900.0, wanted=0)

    assert "odds      most against shop: 7.3:1, limit 100:1\n" in world.run("status").stdout


def test_no_shifts_yet_is_well(world: World) -> None:
    ran = world.run("status")

    assert ran.exit_code == 0
    assert "service   runs, has not looked at any shift yet" in ran.stdout
    assert "shifts    none yet" in ran.stdout


def test_a_shift_that_pages_is_one_line_with_its_sentence_and_the_command_that_shows_more(world: World) -> None:
    world.shift()
    world.shift("cart", page=True, reason="holding: drift: somebody changed the weights")
    ran = world.run("status")

    assert ran.exit_code == 6
    assert ran.stdout.startswith("UNHEALTHY: somebody has to look\n")
    assert ran.stdout.splitlines()[-2:] == [
        "pages",
        "  cart: holding: drift: somebody changed the weights; `shifter describe cart`",
    ]


def test_a_service_that_is_gone_or_hangs_is_unhealthy(world: World) -> None:
    world.shift(ago=600)
    hangs = world.run("status")
    world.served = False
    gone = world.run("status")

    assert (hangs.exit_code, gone.exit_code) == (6, 6)
    assert "service   the service last looked 10m ago: it hangs, or cannot write this store" in hangs.stdout
    assert "service   no service runs on this store" in gone.stdout


def test_a_shift_that_a_running_service_looks_past_is_unhealthy(world: World) -> None:
    world.shift()
    world.shift("cart", ago=600)
    ran = world.run("status")

    assert ran.exit_code == 6
    assert ran.stdout.splitlines()[-2:] == ["not looked at", "  cart: for 10m; `shifter describe cart`"]


@pytest.mark.parametrize(("ago", "code", "said"), [(20, 0, "given 20s ago"), (90, 6, "unanswered for 90s")])
def test_an_order_that_waits_is_shown_and_after_a_minute_it_is_trouble(
    world: World, ago: float, code: int, said: str
) -> None:
    world.shift()
    _order(world, ago)
    ran = world.run("status")

    assert ran.exit_code == code
    assert "orders    1 waits for an answer" in ran.stdout
    assert ran.stdout.splitlines()[-1] == f"  1 pause (lunch) of shop by ann@desk, {said}"


@pytest.mark.parametrize(("ago", "code", "said"), [(110, 0, "given 110s ago"), (130, 6, "unanswered for 2m")])
def test_an_order_for_a_shift_that_there_is_not_is_trouble_only_if_it_is_not_refused_in_time(
    world: World, ago: float, code: int, said: str
) -> None:
    world.shift()
    _order(world, ago, "nope")
    ran = world.run("status")

    assert ran.exit_code == code
    assert ran.stdout.splitlines()[-1] == f"  1 pause (lunch) of nope by ann@desk, {said}; there is no shift 'nope'"


def test_an_order_for_a_shift_that_cannot_be_read_is_trouble_after_a_minute(world: World) -> None:
    world.store.plant_report("ghost", "{}")
    _order(world, 90, "ghost")
    ran = world.run("status")

    assert ran.exit_code == 6
    assert ran.stdout.endswith("of ghost by ann@desk, unanswered for 90s\n")


def test_a_freeze_is_somebodys_wish_and_healthy(world: World) -> None:
    world.shift()
    _freeze(world)
    ran = world.run("status")

    assert ran.exit_code == 0
    assert "frozen    by bob@desk, 3h ago (17:00:00 +08:00): campaign" in ran.stdout
    assert world.run("status", "--short").stdout == "shifter: ok 0/1 done, 1 shifting, frozen\n"


def test_everybody_who_froze_is_named(world: World) -> None:
    world.shift()
    _freeze(world, "eve@desk", "shifter")
    ran = world.run("status")

    assert ran.stdout.splitlines()[4:7] == [
        "frozen    by bob@desk, 3h ago (17:00:00 +08:00): campaign",
        "          by eve@desk, 0s ago (20:00:00 +08:00)",
        "          by shifter, 0s ago (20:00:00 +08:00)",
    ]
    assert [each["by"] for each in world.json("status")["frozen"]] == ["bob@desk", "eve@desk", "shifter"]


@pytest.mark.parametrize(
    ("shifts", "since"),
    [
        (True, "          it last looked 3h ago (17:00:00 +08:00)"),
        (False, "          it has not looked at any shift yet"),
    ],
)
def test_of_a_dead_service_it_is_said_since_when(world: World, since: str, *, shifts: bool) -> None:
    if shifts:
        world.shift(ago=3 * 3600)
        world.shift("cart", ago=4 * 3600)
    world.served = False

    assert world.run("status").stdout.splitlines()[3] == since


def test_json_has_everything_and_yaml_says_the_same(world: World) -> None:
    world.shift(page=True)
    world.shift("cart", ago=600)
    _order(world, 90)
    _freeze(world)
    found = world.json("status")

    assert (found["kind"], found["schemaVersion"], found["healthy"]) == ("Status", 1, False)
    assert found["service"] == {"running": True, "lastLookedAt": "2026-11-20T11:59:50.000Z", "problem": None}
    assert found["shifts"] == {
        "total": 2,
        "byPhase": {"Waiting": 0, "Shifting": 2, "Completed": 0, "RollingBack": 0, "RolledBack": 0},
    }
    said = "soaking at tcm 75 · istio 25: 180 of 300 s of evidence"
    assert found["pages"] == [{"shift": "shop", "reason": said, "odds": 0.42, "oddsLimit": 100.0}]
    assert found["notLookedAt"] == [{"shift": "cart", "since": "2026-11-20T11:50:00.000Z"}]
    assert found["frozen"] == [{"by": "bob@desk", "reason": "campaign", "at": "2026-11-20T09:00:00.000Z"}]
    assert [order["verb"] for order in found["openOrders"]] == ["pause"]
    assert yaml.safe_load(world.run("status", "-o", "yaml").stdout) == found


def test_json_of_a_dead_service_says_so(world: World) -> None:
    world.served = False
    ran = world.run("status", "-o", "json")
    found = json.loads(ran.stdout)

    assert ran.exit_code == 6
    assert (found["healthy"], found["service"]["running"], found["service"]["lastLookedAt"]) == (False, False, None)
    assert found["service"]["problem"].startswith("no service runs")
    assert found["frozen"] == []


@pytest.mark.parametrize(
    ("changes", "line", "code"),
    [
        ({}, "shifter: ok 0/1 done, 1 shifting", 0),
        ({"phase": Phase.COMPLETED}, "shifter: ok 1/1 done", 0),
        ({"page": True}, "shifter: 1 shifting, 1 PAGE", 6),
        ({"phase": Phase.ROLLED_BACK, "page": True}, "shifter: 1 PAGE", 6),
        ({"ago": 600}, "shifter: the service hangs", 6),
    ],
)
def test_short_is_one_line_for_a_prompt(world: World, changes: dict[str, object], line: str, code: int) -> None:
    world.shift(**changes)  # type: ignore[arg-type]
    ran = world.run("status", "--short")

    assert (ran.exit_code, ran.stdout, ran.stderr) == (code, f"{line}\n", "")


def test_short_never_takes_more_than_60_columns(world: World) -> None:
    old = world.now - timedelta(hours=1)
    for index in range(120):
        world.store.report(world.report(f"a{index}").model_copy(update={"page": True}))
        world.store.report(world.report(f"b{index}").model_copy(update={"at": old}))
        world.store.create_order(OrderRequest(f"a{index}", Verb.PAUSE, "ann", ""), old)
    _freeze(world)
    line = world.run("status", "--short").stdout

    assert line == "shifter: 240 shifting, 120 PAGE, 120 not looked at, frozen\n"


def test_short_without_a_service_says_only_that(world: World) -> None:
    world.shift(page=True)
    world.served = False
    ran = world.run("status", "--short")

    assert (ran.exit_code, ran.stdout, ran.stderr) == (6, "shifter: no service runs\n", "")


def test_a_store_that_cannot_be_read_is_exit_code_5_and_short_says_so_in_its_line(world: World) -> None:
    world.store.down = True
    ran, short = world.run("status"), world.run("status", "--short")

    assert (ran.exit_code, ran.stdout) == (5, "")
    assert ran.stderr.startswith("error: ")
    assert (short.exit_code, short.stdout, short.stderr) == (5, "shifter: the store cannot be read\n", "")


def test_a_store_that_a_later_version_wrote_cannot_be_read_either(world: World) -> None:
    def later(_: object) -> None:
        raise RefusedError("state of shop was written by a later shifter")

    world.before_open = later
    ran = world.run("status")

    assert (ran.exit_code, ran.stderr) == (4, "error: state of shop was written by a later shifter\n")


def test_short_has_no_other_form(world: World) -> None:
    ran = world.run("status", "--short", "-o", "json")

    assert ran.exit_code == 2
    assert "error: --short has no other form" in ran.stderr
