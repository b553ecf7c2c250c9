"""What do given weights mean?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.balancing.splits import Health, Member, Route, RouteView, Selector, Side, serving, share_of, shown

ALIVE, DEAD, UNCHECKED = Health.ALIVE, Health.DEAD, Health.UNCHECKED


def old(weight: int, health: Health = ALIVE, key: str = "old") -> Member:
    return Member(key, Side.SOURCE, weight, health)


def new(weight: int, health: Health = ALIVE, key: str = "new") -> Member:
    return Member(key, Side.TARGET, weight, health)


def a_route(host: str = "shop.example.com", path: str = "/") -> Route:
    return Route("ap-guangzhou", "lb-1", "lbl-1", host, path, Selector(ports=(30080,)), Selector(ports=(31080,)))


def test_share_is_the_targets_part_of_all_weights() -> None:
    share = share_of([old(30), old(45, key="old2"), new(25)])

    assert share == 25


def test_share_is_unknown_when_nobody_has_weight() -> None:
    share = share_of([old(0), new(0)])

    assert share is None


def test_share_of_no_members_is_unknown() -> None:
    assert share_of([]) is None


def test_dead_members_take_no_part_in_the_share() -> None:
    share = share_of([old(100, DEAD), old(50, key="old2"), new(50)])

    assert share == 50


def test_when_all_members_are_dead_all_of_them_count_again() -> None:
    share = share_of([old(75, DEAD), new(25, DEAD)])

    assert share == 25


def test_members_that_nobody_checks_count_as_serving() -> None:
    share = share_of([old(50, UNCHECKED), new(50, DEAD)])

    assert share == 0


def test_a_member_of_neither_side_takes_traffic_from_both() -> None:
    share = share_of([old(25), new(25), Member("stranger", None, 50, ALIVE)])

    assert share == 25


def test_serving_leaves_out_the_dead_only() -> None:
    alive, unchecked = old(1), new(1, UNCHECKED)
    found = serving(iter([alive, unchecked, new(1, DEAD, "dead")]))

    assert found == (alive, unchecked)


def test_a_views_share_is_that_of_its_members() -> None:
    view = RouteView(a_route(), (old(60), new(40)))

    assert view.share == 40


def test_a_views_weights_are_those_of_both_sides_only() -> None:
    view = RouteView(a_route(), (old(60), new(40), Member("stranger", None, 7, ALIVE)))

    assert view.weights == {"old": 60, "new": 40}


def test_a_rule_is_named_by_balancer_listener_host_and_path() -> None:
    route = a_route("shop.example.com", "/cart")

    assert route.id == "lb-1/lbl-1/shop.example.com/cart"


def test_the_lock_domain_is_the_balancer_in_its_region() -> None:
    assert a_route().domain == "clb/ap-guangzhou/lb-1"


@pytest.mark.parametrize(
    ("share", "text"),
    [(25.0, "tcm 75 · istio 25"), (0.0, "tcm 100 · istio 0"), (0.5, "tcm 99.5 · istio 0.5"), (None, "tcm ? · istio ?")],
)
def test_a_share_is_shown_with_both_sides_and_the_source_first(share: float | None, text: str) -> None:
    assert shown(share) == text


_members = st.lists(
    st.builds(
        Member,
        key=st.text(min_size=1, max_size=4),
        side=st.sampled_from([*Side, None]),
        weight=st.integers(0, 100),
        health=st.sampled_from(Health),
    ),
    max_size=8,
)


@given(_members)
def test_a_share_is_unknown_or_between_0_and_100(members: list[Member]) -> None:
    share = share_of(members)

    assert share is None or 0 <= share <= 100


@given(_members)
def test_the_order_of_members_does_not_matter(members: list[Member]) -> None:
    assert share_of(reversed(members)) == share_of(members)
