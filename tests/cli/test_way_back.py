"""What do people see of the way back, and how do they order it?"""

from __future__ import annotations

from shifter.core.deciding.orders import OrderRequest, Verb, words_of
from shifter.core.state import WayBack
from tests.cli.conftest import NOON, World


def test_describe_shows_what_tcm_had_and_what_is_left_of_it(world: World) -> None:
    world.shift()
    way_back = WayBack(
        at=NOON, had={"gateway pods": 4, "ready replicas": 4}, left={"gateway pods": 1, "ready replicas": 4}
    )
    world.state(way_back=way_back)

    shown = "\ntcm when it carried everything, and what is left\n  1 of 4 gateway pods\n  4 ready replicas\n"
    assert shown in world.run("describe", "shop").stdout


def test_without_a_record_describe_says_nothing_about_it(world: World) -> None:
    world.shift()

    assert "carried everything" not in world.run("describe", "shop").stdout


def test_a_rollback_that_spares_nothing_is_said_so_before_it_is_asked_for(world: World) -> None:
    world.shift()
    world.can_ask = True
    ran = world.run("rollback", "shop", "--override", typed="y\n")

    order = OrderRequest("shop", Verb.ROLLBACK, "ann@desk", "", override=True)
    assert [each.request for each in world.store.open_orders()] == [order]
    assert "tcm 100 · istio 0 (namespaces: shop, cart), all at once, whatever tcm can carry" in ran.stderr
    assert words_of(order) == "rollback --override"
