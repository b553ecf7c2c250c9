"""What selectors and routes have in common: certain mistakes, mere suspicions, and what is neither."""

from __future__ import annotations

import pytest

from shifter.core.balancing.splits import Route, Selector
from shifter.core.documents.overlaps import Claimed, Suspicion, common_members, covers, suspicions

SOURCE, TARGET = Selector(ports=(30080,)), Selector(ports=(31080,))


def _route(host: str, path: str = "/", *, listener: str = "lbl-1", balancer: str = "lb-1") -> Route:
    return Route("ap-guangzhou", balancer, listener, host, path, SOURCE, TARGET)


def _claimed(name: str, *routes: Route) -> Claimed:
    return Claimed(f"{name}.yaml", (name,), routes)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (SOURCE, SOURCE, "source and target select the same members"),
        (Selector(ids=("a", "b")), Selector(ids=("b", "a")), "source and target select the same members"),
        (SOURCE, Selector(ports=(30080,), ids=("a",)), "whatever target selects, source selects as well"),
        (Selector(ports=(30080,), tags=("x",)), SOURCE, "whatever source selects, target selects as well"),
        (Selector(ids=("a", "b")), Selector(ids=("a",)), "whatever target selects, source selects as well"),
        (Selector(ips=("10.0.0.1",)), Selector(ips=("10.0.0.1", "10.0.0.2")), "whatever source selects"),
        (Selector(ids=("a", "b")), Selector(ids=("b", "c")), "source and target both select b"),
        (Selector(ports=(1,), ids=("a", "b")), Selector(ports=(1,), ids=("b", "c")), "both select 1, b"),
    ],
)
def test_selectors_that_cannot_tell_members_apart_are_named(source: Selector, target: Selector, said: str) -> None:
    assert said in common_members(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (SOURCE, TARGET),
        (SOURCE, Selector(tags=("istio",))),
        (Selector(ports=(30080,), ids=("a",)), Selector(ports=(31080,), ids=("a",))),
        (Selector(ports=(30080,), tags=("x",)), Selector(ports=(30080,), ids=("a",))),
        (Selector(ids=("a",)), Selector(ids=("b",))),
        (Selector(), SOURCE),
        (SOURCE, Selector()),
    ],
)
def test_selectors_that_may_differ_are_left_to_the_cloud(source: Selector, target: Selector) -> None:
    assert common_members(source, target) == ""


@pytest.mark.parametrize(
    ("outer", "inner", "covered"),
    [
        (_route("a.com"), _route("a.com", "/pay"), True),
        (_route("a.com", "/pay"), _route("a.com", "/pay/eu"), True),
        (_route("a.com", "/pay"), _route("a.com", "/payments"), False),
        (_route("a.com", "/pay"), _route("a.com", "/"), False),
        (_route("a.com"), _route("a.com"), False),
        (_route("A.com"), _route("a.com"), True),
        (_route("a.com", "/pay/"), _route("a.com", "/pay"), True),
        (_route("*.a.com"), _route("pay.a.com"), True),
        (_route("*.a.com"), _route("pay.a.com", "/x"), True),
        (_route("*.a.com", "/x"), _route("pay.a.com"), False),
        (_route("*.a.com"), _route("a.com"), False),
        (_route("pay.*"), _route("pay.a.com"), True),
        (_route("pay.*"), _route("shop.a.com"), False),
        (_route("pay.*"), _route("pixel.a.com"), False),
        (_route("pay.*"), _route("payments.a.com"), False),
        (_route("b.com"), _route("a.com"), False),
        (_route("~.*"), _route("a.com"), False),
        (_route("a.com"), _route("a.com", "~/x"), False),
        (_route("a.com", "~/x"), _route("a.com", "~/x/y"), False),
        (_route("a.com", "^/x"), _route("a.com", "^/x/y"), False),
        (_route("~a.com"), _route("~a.com", "/x"), False),
        (_route("^a.com"), _route("^a.com", "/x"), False),
    ],
)
def test_a_rule_covers_what_it_would_take_if_the_other_were_not_there(
    outer: Route, inner: Route, *, covered: bool
) -> None:
    assert covers(outer, inner) is covered


def test_a_rule_that_reaches_over_another_policys_is_suspicious_and_the_inner_one_is_not() -> None:
    shop, pay = _claimed("shop", _route("x.com", "/cart"), _route("a.com")), _claimed("pay", _route("a.com", "/pay"))

    assert list(suspicions([shop, pay])) == [
        Suspicion(
            "shop.yaml",
            1,
            "reaches over a.com/pay of pay.yaml: should that rule be missing in the CLB,"
            " its requests move with this policy",
        )
    ]


@pytest.mark.parametrize(
    "other", [_route("a.com", "/pay", listener="lbl-2"), _route("a.com", "/pay", balancer="lb-2"), _route("b.com")]
)
def test_rules_elsewhere_are_nobodys_concern(other: Route) -> None:
    assert list(suspicions([_claimed("shop", _route("a.com")), _claimed("pay", other)])) == []


def test_rules_of_one_policy_may_cover_each_other() -> None:
    assert list(suspicions([_claimed("shop", _route("a.com"), _route("a.com", "/pay"))])) == []


def test_only_some_of_many_rules_are_named() -> None:
    many = [_claimed(f"n{number}", _route("a.com", f"/n{number}")) for number in range(5)]
    (found,) = suspicions([_claimed("shop", _route("a.com")), *many])

    assert "a.com/n0 of n0.yaml, a.com/n1 of n1.yaml, a.com/n2 of n2.yaml and 2 more: should" in found.reason


def test_a_host_called_like_another_policys_namespace_is_suspicious() -> None:
    shop, pay = _claimed("shop", _route("Pay.a.com")), _claimed("pay", _route("b.com"))

    assert [(each.file, each.reason) for each in suspicions([shop, pay])] == [
        ("shop.yaml", "Pay.a.com sounds like namespace pay, which pay.yaml moves and this policy does not name")
    ]


def test_a_host_called_like_a_namespace_of_its_own_is_not() -> None:
    both = Claimed("both.yaml", ("shop", "pay"), (_route("pay.a.com"),))

    assert list(suspicions([both, Claimed("other.yaml", ("pay",), ())])) == []
    assert list(suspicions([both])) == []
