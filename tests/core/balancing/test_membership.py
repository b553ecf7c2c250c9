"""Whose is this server, and which weights may be asked for?"""

from __future__ import annotations

import pytest

from shifter.core.balancing.membership import Server, refuse_bad_weights, view
from shifter.core.balancing.splits import Health, Route, RouteView, Selector, Side
from shifter.errors import ProviderRefusedError

OLD = Server("ins-1:30080", 30080, 100, Health.ALIVE, "ins-1", ("10.0.0.1",), "blue")
NEW = Server("ins-2:31080", 31080, 0, Health.ALIVE, "ins-2", ("10.0.0.2",), "green")


def a_route(source: Selector, target: Selector) -> Route:
    return Route("ap-guangzhou", "lb-1", "lbl-1", "shop.example.com", "/", source, target)


BY_PORT = a_route(Selector(ports=(30080,)), Selector(ports=(31080,)))


def sides(seen: RouteView) -> dict[str, Side | None]:
    return {member.key: member.side for member in seen.members}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Selector(ports=(30080,)), Selector(ports=(31080,))),
        (Selector(ids=("ins-1",)), Selector(ids=("ins-2",))),
        (Selector(ips=("10.0.0.1",)), Selector(ips=("10.0.0.9", "10.0.0.2"))),
        (Selector(tags=("blue",)), Selector(tags=("green",))),
    ],
)
def test_each_criterion_alone_tells_the_sides_apart(source: Selector, target: Selector) -> None:
    seen = view(a_route(source, target), [OLD, NEW])

    assert sides(seen) == {"ins-1:30080": Side.SOURCE, "ins-2:31080": Side.TARGET}
    assert seen.refusal is None
    assert seen.warnings == ()


def test_every_criterion_that_is_set_must_hold() -> None:
    seen = view(a_route(Selector(ports=(30080,), ids=("ins-2",)), Selector(ports=(31080,))), [OLD, NEW])

    assert sides(seen)["ins-1:30080"] is None
    assert seen.refusal is not None
    assert "the source selector matches no member" in seen.refusal


def test_a_member_of_both_sides_is_refused_by_name() -> None:
    seen = view(a_route(Selector(ports=(30080,)), Selector(ids=("ins-1", "ins-2"))), [OLD, NEW])

    assert sides(seen) == {"ins-1:30080": None, "ins-2:31080": Side.TARGET}
    assert seen.refusal == "both selectors match ins-1:30080"


def test_a_selector_without_criteria_matches_nobody() -> None:
    seen = view(a_route(Selector(), Selector(ports=(31080,))), [NEW])

    assert seen.refusal == "the source selector matches no member"


def test_a_stranger_with_weight_is_refused_by_name() -> None:
    stranger = Server("ins-3:9", 9, 1, Health.ALIVE)
    seen = view(BY_PORT, [OLD, NEW, stranger])

    assert seen.refusal == "no selector matches ins-3:9, which would keep traffic from both sides"


def test_a_stranger_without_weight_is_only_a_warning() -> None:
    stranger = Server("ins-3:9", 9, 0, Health.ALIVE)
    seen = view(BY_PORT, [OLD, NEW, stranger])

    assert seen.refusal is None
    assert seen.warnings == ("no selector matches ins-3:9 (weight 0)",)


def test_two_members_of_one_name_are_refused() -> None:
    seen = view(BY_PORT, [OLD, NEW, NEW])

    assert seen.refusal == "two members have the same address and port, so neither can be addressed"


def test_all_reasons_are_named_together() -> None:
    seen = view(BY_PORT, [OLD], refusals=["locked away"], warnings=["slow"], settle_seconds=30)

    assert seen.refusal == "locked away; the target selector matches no member"
    assert (seen.warnings, seen.settle_seconds) == (("slow",), 30)


@pytest.mark.parametrize("weight", [-1, 101, 5.5, True, "7", None])
def test_a_weight_that_is_no_whole_number_from_0_to_100_is_refused(weight: object) -> None:
    with pytest.raises(ProviderRefusedError, match=r"weight .* of ins-1:30080 must be a whole number 0\.\.100"):
        refuse_bad_weights("r", {"ins-1:30080": weight, "ins-2:31080": 1})  # type: ignore[dict-item]


@pytest.mark.parametrize("weights", [{}, {"a:1": 0}, {"a:1": 0, "b:1": 0}])
def test_weights_that_leave_nobody_are_refused(weights: dict[str, int]) -> None:
    with pytest.raises(ProviderRefusedError, match="every weight would be 0"):
        refuse_bad_weights("r", weights)


def test_the_whole_range_of_weights_is_accepted() -> None:
    refuse_bad_weights("r", {"a:1": 0, "b:1": 1, "c:1": 100})


def test_a_route_is_split_by_request_and_without_lag_unless_its_provider_says_otherwise() -> None:
    plain, sticky = view(BY_PORT, [OLD, NEW]), view(BY_PORT, [OLD, NEW], split_by_request=False)

    assert (plain.settle_seconds, plain.split_by_request, sticky.split_by_request) == (0, True, False)
