"""Policies that change names, places or routes move nothing that is under way, and write nothing never written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shifter.adapters.memory import Author, Rule
from shifter.core.balancing.splits import Route
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from tests.service.conftest import BALANCER, LISTENER, NEW, NEWER, OLD, World, servers

Worlds = Callable[..., World]

SHORT_SOAK, LONG_SOAK = "20s", "10h"


def content(world: World, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((world.path / f"{name}.yaml").read_text())
    return told


def put(world: World, file: str, told: dict[str, Any], name: str) -> None:
    """Write a policy file's content under another name of the policy."""
    told["metadata"]["name"] = name
    (world.path / f"{file}.yaml").write_text(json.dumps(told))


def writes(world: World) -> int:
    return sum(write.author is Author.SHIFTER for write in world.memory.writes)


@pytest.fixture
def swapped(make_world: Worlds) -> World:
    """Two shifts at 50 % whose policies changed names with each other."""
    world = make_world(shifts={"shop": BALANCER, "pay": BALANCER}, steps=(50, 100), soak=LONG_SOAK)
    world.until_share(50, name="shop")
    world.until_share(50, name="pay")
    shop, pay = content(world, "shop"), content(world, "pay")
    put(world, "shop", shop, "pay")
    put(world, "pay", pay, "shop")
    world.step(3)
    return world


@pytest.mark.fault(
    on="policy files",
    fault="two policies exchange names, or one is renamed, under way",
    does="writes no route under two names; waits for 0 %",
    sees="hold `policy`: ... is still under way as shop",
    safe_within="one tick",
)
def test_swapped_policies_move_nothing_and_hold_both(swapped: World) -> None:
    assert writes(swapped) == 2
    assert "policy" in swapped.holds("shop") & swapped.holds("pay")


def test_after_a_swap_a_rollback_moves_the_routes_its_shift_wrote_and_no_others(swapped: World) -> None:
    swapped.order(Verb.ROLLBACK, name="shop")
    swapped.step(20)

    assert (swapped.share("shop"), swapped.share("pay")) == (0, 50)


def test_a_renamed_policy_takes_no_route_that_is_under_way_under_its_old_name(make_world: Worlds) -> None:
    world = make_world(steps=(50, 100), soak=SHORT_SOAK)
    world.until_share(50)
    put(world, "shop", content(world, "shop"), "new-name")
    world.step(20)

    assert world.share() == 50
    assert writes(world) == 1
    assert "still under way as shop" in world.reason("new-name")


def test_a_renamed_policy_begins_once_its_old_name_is_back(make_world: Worlds) -> None:
    world = make_world(steps=(50, 100), soak=SHORT_SOAK)
    world.until_share(50)
    put(world, "shop", content(world, "shop"), "new-name")
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    world.step(10)

    assert world.state("shop").phase is Phase.ROLLED_BACK
    assert world.climbs(name="new-name")[:1] == [50]


def test_a_namespace_that_moved_to_another_policy_while_under_way_is_written_by_its_first_alone(
    make_world: Worlds,
) -> None:
    world = make_world(steps=(50, 100), soak=SHORT_SOAK)
    world.until_share(50)
    moved, emptied = content(world, "shop"), content(world, "shop")
    emptied["spec"]["namespace"] = "other"
    emptied["spec"]["traffic"]["clb"]["routes"][0]["domain"] = "other.example.com"
    put(world, "shop", emptied, "shop")
    put(world, "next", moved, "next")
    world.step(20)
    before, written_before = world.share(), writes(world)
    world.order(Verb.ROLLBACK, name="shop")
    world.step(5)

    assert (before, written_before) == (50, 1)
    assert world.written_shares()[:2] == [50, 0]


def rolled_back(make_world: Worlds) -> World:
    world = make_world(steps=(50, 100), soak=LONG_SOAK)
    world.until_share(50)
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    return world


def other_route(world: World) -> Route:
    return replace(world.route(), host="other.example.com")


def test_a_rolled_back_shift_edited_to_a_route_with_traffic_does_not_write_it(make_world: Worlds) -> None:
    world = rolled_back(make_world)
    half = tuple(replace(server, weight=50) for server in servers())
    world.memory.put_rule(other_route(world), Rule(half))
    routes = [{"listener": LISTENER, "domain": "other.example.com", "url": "/"}]
    world.write_policy("shop", routes=routes, namespace="other")
    world.step(5)

    assert writes(world) == 2
    assert "preflight" in world.holds()


def test_an_edited_selector_does_not_make_a_share_raised_by_hand_shifters_own(make_world: Worlds) -> None:
    world = rolled_back(make_world)
    world.edit_weights({NEW: 100, NEWER: 100})
    world.step(2)
    world.write_policy("shop", target={"port": 31080, "ids": ["ins-new1", "ins-new2"]})
    world.step(4)

    assert world.share() == 50
    assert writes(world) == 2


def test_an_order_does_write_what_an_edited_policy_found_with_traffic(make_world: Worlds) -> None:
    world = rolled_back(make_world)
    world.edit_weights({NEW: 100, NEWER: 100})
    world.write_policy("shop", target={"port": 31080, "ids": ["ins-new1", "ins-new2"]})
    world.step(2)
    world.order(Verb.ROLLBACK)
    world.step(4)

    assert world.share() == 0


def test_a_renamed_policy_waits_for_its_old_name_also_when_a_person_took_the_traffic_back(make_world: Worlds) -> None:
    world = make_world(steps=(50, 100), soak=SHORT_SOAK)
    world.until_share(50)
    put(world, "shop", content(world, "shop"), "new-name")
    world.step(3)
    world.edit_weights({NEW: 0, NEWER: 0})
    world.step(20)

    assert world.state("shop").share == 50
    assert writes(world) == 1


OLD_IDS, NEW_IDS = {"ids": ["ins-old1", "ins-old2"]}, {"ids": ["ins-new1", "ins-new2"]}


def swapped_by_ids_under_way(world: World) -> None:
    world.until_share(25)
    world.write_policy("shop", source=NEW_IDS, target=OLD_IDS)
    world.step(2)
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    world.step(2)


def swapped_in_two_edits(world: World) -> None:
    world.until_share(5)
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    world.write_policy("shop", source={"port": 32080})
    world.step(2)
    world.write_policy("shop", source={"port": 31080}, target={"port": 30080})
    world.step(2)


def swapped_before_anything_was_written(world: World) -> None:
    world.order(Verb.PAUSE)
    world.step(2)
    world.write_policy("shop", source={"port": 31080}, target={"port": 30080})
    world.step(2)


@pytest.mark.fault(
    on="policy files",
    fault="source and target are swapped in a way that words do not show, and then a rollback is ordered",
    does="writes nothing: what the policy calls tcm may be istio",
    sees="hold `preflight`: ... are source and target swapped in the policy?",
    safe_within="at once",
)
@pytest.mark.parametrize("swap", [swapped_by_ids_under_way, swapped_in_two_edits, swapped_before_anything_was_written])
@pytest.mark.parametrize("retried", [False, True])
def test_no_order_sends_users_to_istio_because_the_sides_are_swapped(
    world: World, swap: Callable[[World], None], *, retried: bool
) -> None:
    swap(world)
    if retried:
        world.order(Verb.RETRY)
        world.step(2)
    orders = [world.order(Verb.RECONCILE), world.order(Verb.RECONCILE, adopt=True), world.order(Verb.ROLLBACK)]
    world.step(8)
    world.order(Verb.RETRY)
    world.step(8)

    weights = world.view().weights
    assert (weights[NEW], weights[NEWER]) == (0, 0)
    assert weights[OLD] > 0
    assert "are source and target swapped in the policy?" in world.reason()
    assert all(world.answer(order)[0] is not None for order in orders)


def test_swapped_sides_can_be_put_right_and_the_shift_begins(world: World) -> None:
    swapped_before_anything_was_written(world)
    world.order(Verb.ROLLBACK)
    world.step(4)
    world.write_policy("shop")
    world.step(2)
    world.order(Verb.RESUME)
    world.order(Verb.RETRY)
    world.until_share(5)

    assert world.climbs() == [5]
