"""What people see and can do beside something in the store that cannot be read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shifter.core.chain import FIRST_ID
from shifter.core.deciding.orders import FLEET, Verb
from shifter.core.records import NewRecord, What
from tests.cli.conftest import World

STATE = "saved state of shop is not understood and will not be written over"
REPORT = "report of ghost is not understood"


def damaged(world: World) -> None:
    """Shop's state and the report of a ghost cannot be read; cart is well."""
    world.shift()
    world.shift("cart")
    world.store.plant("shop", "{}")
    world.store.plant_report("ghost", "{}")


def test_get_shows_all_others_and_the_one_that_cannot_be_read_with_its_hold(world: World) -> None:
    damaged(world)
    ran = world.run("get")
    rows = {line.split()[0]: line for line in ran.stdout.splitlines()}

    assert ran.exit_code == 0
    assert rows.keys() == {"SHIFT", "cart", "shop"}
    assert "unreadable" in rows["shop"]
    assert "unreadable" not in rows["cart"]
    assert f"note: ghost: {REPORT}" in ran.stderr


def test_describe_says_what_is_wrong_with_the_saved_state(world: World) -> None:
    damaged(world)
    shop, cart = world.json("describe", "shop"), world.json("describe", "cart")

    assert [hold["kind"] for hold in shop["holds"]] == ["unreadable"]
    assert STATE in shop["holds"][0]["reason"]
    assert "restore a backup" in shop["holds"][0]["reason"]
    assert cart["holds"] == []


def test_the_first_line_of_describe_says_why_and_then_what_was_told_last(world: World) -> None:
    damaged(world)
    said = world.report().reason

    first, *_ = world.run("describe", "shop").stdout.splitlines()

    assert f"unreadable: {STATE}" in world.run("get", "-o", "wide").stdout
    assert first.startswith(f"shop: unreadable: {STATE}")
    assert first.endswith(f"; what was told last: {said}")


def test_describe_of_what_cannot_be_read_at_all_is_refused_with_why(world: World) -> None:
    damaged(world)
    ran = world.run("describe", "ghost")

    assert ran.exit_code == 4
    assert REPORT in ran.stderr


def test_a_report_that_cannot_be_read_leaves_what_is_saved_to_be_seen(world: World) -> None:
    world.shift()
    world.store.plant_report("shop", "{}")
    ran = world.json("describe", "shop")

    assert ran["phase"] == "Waiting"
    assert ran["reason"].startswith("report of shop is not understood")


@pytest.mark.parametrize("line", [("pause", "shop"), ("rollback", "shop", "-y"), ("rollback", "ghost", "-y")])
def test_an_order_to_what_cannot_be_read_is_recorded_and_says_that_it_may_wait(
    world: World, line: tuple[str, ...]
) -> None:
    damaged(world)
    ran = world.run(*line)

    assert ran.exit_code == 0
    assert [order.request.shift for order in world.store.open_orders()] == [line[1]]
    assert f"note: {line[1]}: " in ran.stderr
    assert ". The order is kept: a service that remembers the shift obeys it now, any other may wait" in ran.stderr


def test_an_order_to_all_goes_to_those_too_of_which_nothing_can_be_read(world: World) -> None:
    damaged(world)
    world.can_ask = True
    ran = world.run("rollback", "--all", typed="y\n")

    assert ran.exit_code == 0
    assert [order.request.shift for order in world.store.open_orders()] == ["cart", "ghost", "shop"]
    assert "order ghost, of which nothing can be read" in ran.stderr


def test_a_freeze_is_recorded_whatever_cannot_be_read(world: World) -> None:
    damaged(world)
    ran = world.run("freeze")

    assert ran.exit_code == 0
    assert [(each.request.shift, each.request.verb) for each in world.store.open_orders()] == [(FLEET, Verb.FREEZE)]


@pytest.mark.parametrize("odd", [{"evidence": "[" * 100_000}, {"at": "0001-01-01T00:00:00.000000+14:00"}])
def test_history_and_describe_show_all_records_but_the_one_that_cannot_be_read(
    world: World, odd: dict[str, Any]
) -> None:
    world.shift()
    for reason in ("one", "two", "three"):
        world.record(NewRecord(world.now, "shop", What.PHASE, "shifter", reason))
    links = list(world.store.chain(FIRST_ID, 9).links)
    world.store.rewrite([links[0], replace(links[1], **odd), links[2]])

    for line in (("history",), ("describe", "shop"), ("history", "-o", "json")):
        ran = world.run(*line)
        assert ran.exit_code == 0, ran.output
        assert "record 2 cannot be read: " in ran.stdout
        assert "one" in ran.stdout
        assert "three" in ran.stdout
    assert "no decision of shop can be replayed" in world.run("explain", "shop").stderr
    assert world.run("history", "--verify").exit_code == 6
