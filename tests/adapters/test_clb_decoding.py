"""The CLB API's answers, after the official samples: which disagree with each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shifter.adapters.tencent import clb_decoding as decoding
from shifter.core.balancing.splits import Health

BACKEND = {
    "Type": "CVM",
    "InstanceId": "ins-1",
    "Port": 80,
    "Weight": 10,
    "PublicIpAddresses": None,
    "PrivateIpAddresses": ["10.0.0.1"],
    "EniId": "",
    "Tag": None,
}


def decoded(backend: Mapping[str, Any], health: Mapping[str, Any] | None = None) -> tuple[str, Health]:
    rule = {"LocationId": "loc-1", "Domain": "a.example.com", "Url": "/", "FunctionTargets": None}
    listener = {"ListenerId": "lbl-1", "Protocol": "HTTPS", "Targets": None, "Rules": [rule | {"Targets": [backend]}]}
    checks = [{"ListenerId": "lbl-1", "Rules": [rule | {"Targets": [health] if health else None}]}]
    answer = {"LoadBalancers": [{"LoadBalancerId": "lb-1", "Listeners": checks}]}
    found = decoding.bound({"Listeners": [listener]}, decoding.healths(answer))
    (server,) = found[decoding.RulePlace("lbl-1", "loc-1")].servers
    return server.key, server.health


def bound_beside(backend: Mapping[str, Any]) -> tuple[decoding.Bound, decoding.Bound]:
    """Return what is bound to a rule with this backend besides a good one, and to the rule next to it."""
    rules = [{"LocationId": "loc-1", "Targets": [BACKEND, backend]}, {"LocationId": "loc-2", "Targets": [BACKEND]}]
    found = decoding.bound({"Listeners": [{"ListenerId": "lbl-1", "Rules": rules}]}, {})
    return found[decoding.RulePlace("lbl-1", "loc-1")], found[decoding.RulePlace("lbl-1", "loc-2")]


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"Type": "CVM"}, "ins-1:80"),
        ({"Type": "cvm"}, "ins-1:80"),
        ({"Type": "cvm", "InstanceId": None}, "10.0.0.1:80"),
        ({"Type": "ENI"}, "10.0.0.1:80"),
        ({"Type": "eni", "EniId": "eni-1"}, "10.0.0.1:80"),
        ({"Type": "CCN", "InstanceId": ""}, "10.0.0.1:80"),
        ({"Type": "ENI", "PrivateIpAddresses": ["2001:db8::1"]}, "2001:db8::1:80"),
    ],
)
def test_only_a_cvm_is_addressed_by_its_instance(facts: dict[str, Any], key: str) -> None:
    assert decoded(BACKEND | facts)[0] == key


@pytest.mark.parametrize(
    ("told_health", "health"),
    [
        ({"HealthStatus": True, "HealthStatusDetail": "Alive"}, Health.ALIVE),
        ({"HealthStatus": True, "HealthStatusDetail": "Dead"}, Health.ALIVE),
        ({"HealthStatus": False, "HealthStatusDetail": "Alive"}, Health.DEAD),
        ({"HealthStatus": False, "HealthStatusDetail": "Unknown"}, Health.DEAD),
        ({"HealthStatus": True, "HealthStatusDetail": "Close"}, Health.UNCHECKED),
        ({"HealthStatus": False, "HealthStatusDetail": "close"}, Health.UNCHECKED),
        ({"HealthStatus": None, "HealthStatusDetail": "Alive"}, Health.ALIVE),
        ({"HealthStatus": None, "HealthStatusDetail": "Unknown"}, Health.DEAD),
        ({"HealthStatus": True, "HealthStatusDetail": None}, Health.ALIVE),
    ],
)
def test_the_health_flag_decides_and_the_detail_only_says_whether_anybody_looks(
    told_health: dict[str, Any], health: Health
) -> None:
    assert decoded(BACKEND, {"IP": "10.0.0.1", "Port": 80, "TargetId": "ins-1"} | told_health)[1] is health


@pytest.mark.parametrize(
    "named",
    [{"IP": "10.0.0.1", "TargetId": "eni-9"}, {"IP": None, "TargetId": "ins-1"}, {"IP": "10.0.0.1", "TargetId": None}],
)
def test_health_finds_its_member_by_address_or_by_id(named: dict[str, Any]) -> None:
    assert decoded(BACKEND, {"Port": 80, "HealthStatus": True} | named)[1] is Health.ALIVE


def test_health_of_another_port_of_the_same_machine_is_not_taken() -> None:
    assert decoded(BACKEND, {"IP": "10.0.0.1", "Port": 81, "HealthStatus": False})[1] is Health.UNCHECKED


def test_a_member_whose_health_nobody_tells_is_unchecked() -> None:
    assert decoded(BACKEND)[1] is Health.UNCHECKED


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"Weight": None}, "it has no readable Weight"),
        ({"Weight": "much"}, "it has no readable Weight"),
        ({"Weight": float("inf")}, "it has no readable Weight"),
        ({"Port": None}, "it has no readable Port"),
        ({"Type": "NAT", "PrivateIpAddresses": None}, "the one on port 80 has no address"),
    ],
)
def test_a_member_that_cannot_be_read_makes_its_own_rule_unknown_and_no_other(facts: dict[str, Any], why: str) -> None:
    own, other = bound_beside(BACKEND | facts)

    assert (own.servers, why in own.refusal) == ((), True)
    assert ([server.key for server in other.servers], other.refusal) == (["ins-1:80"], "")


@pytest.mark.parametrize("port", [None, "http"])
def test_health_without_a_readable_port_is_about_nobody(port: object) -> None:
    assert decoded(BACKEND, {"IP": "10.0.0.1", "Port": port, "HealthStatus": False})[1] is Health.UNCHECKED


@pytest.mark.parametrize(("told", "seconds"), [(None, 0), (30, 30), ("30", 30), ("long", None)])
def test_a_session_time_that_cannot_be_read_is_not_taken_for_none(told: object, seconds: int | None) -> None:
    rules = [{"LocationId": "loc-1", "SessionExpireTime": told}]
    (rule,) = decoding.listeners({"Listeners": [{"ListenerId": "lbl-1", "Rules": rules}]})["lbl-1"].rules

    assert rule.session_seconds == seconds


def test_null_where_a_list_belongs_is_an_empty_list() -> None:
    assert decoding.listeners({"Listeners": None}) == {}
    assert decoding.healths({"LoadBalancers": None}) == {}
    assert decoding.bound({"Listeners": None}, {}) == {}


def test_what_hangs_behind_a_layer_4_listener_itself_is_behind_no_rule() -> None:
    answer = {"Listeners": [{"ListenerId": "lbl-1", "Protocol": "TCP", "Rules": None, "Targets": [BACKEND]}]}

    assert decoding.bound(answer, {}) == {}


@pytest.mark.parametrize(("protocol", "has_rules"), [("http", True), ("HTTPS", True), ("QUIC", False), ("TCP", False)])
def test_only_http_and_https_listeners_have_rules(protocol: str, has_rules: bool) -> None:  # noqa: FBT001 - a table
    answer = {"Listeners": [{"ListenerId": "lbl-1", "Protocol": protocol, "Rules": None}]}

    assert decoding.listeners(answer)["lbl-1"].has_rules is has_rules
