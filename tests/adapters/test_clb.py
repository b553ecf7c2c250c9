"""The traps of Tencent's CLB API that no other provider has: its samples, its limits, its owners.

The other side is the emulator, which shares no code with the adapter; what it does not emulate is decoded from
JSON written after the official samples.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from shifter.adapters.tencent.api import ClbApi
from shifter.adapters.tencent.clb import ClbProvider
from shifter.core.balancing.splits import Health, Route, RouteView, Selector
from shifter.core.documents.fleet import Tencent
from shifter.errors import ProviderRefusedError, ProviderUnavailableError
from shifter.lab import emulator as lab
from shifter.ports import Change, Operation
from tests.clouds import running_cloud

REGION, BALANCER = "ap-guangzhou", "lb-front0001"
SOURCE, TARGET = Selector(ports=(30080,)), Selector(ports=(31080,))
OLD = lab.Target(kind=lab.TargetKind.CVM, ip="10.0.0.1", port=30080, instance_id="ins-old00001", weight=100)
NEW = lab.Target(kind=lab.TargetKind.ENI, ip="10.0.1.1", port=31080, instance_id="ins-host0001", weight=0)


def a_route(listener: str = "lbl-1", host: str = "shop.example.com") -> Route:
    return Route(REGION, BALANCER, listener, host, "/", SOURCE, TARGET)


def a_rule(**facts: Any) -> lab.Rule:  # noqa: ANN401 - whatever a rule takes
    chosen = {"location_id": "loc-1", "domain": "shop.example.com", "url": "/", "targets": (OLD, NEW)} | facts
    return lab.Rule(**chosen)


def a_listener(*rules: lab.Rule, protocol: str = "HTTPS", id_: str = "lbl-1", name: str = "") -> lab.Listener:
    return lab.Listener(listener_id=id_, protocol=protocol, port=443, rules=rules or (a_rule(),), name=name)


class Cloud:
    """A started emulator with a provider that talks to it."""

    def __init__(self, balancers: Sequence[lab.LoadBalancer], keys: Path) -> None:
        self.emulator, self.api = running_cloud(keys, balancers)
        self.provider = ClbProvider(self.api)

    def close(self) -> None:
        self.emulator.stop()

    def seen(self, route: Route) -> RouteView:
        return self.provider.observe([route])[route.id]


Start = Callable[..., Cloud]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a cloud with one balancer of these listeners."""
    clouds: list[Cloud] = []

    def started(*listeners: lab.Listener, **facts: Any) -> Cloud:  # noqa: ANN401 - whatever a balancer takes
        balancer = lab.LoadBalancer(load_balancer_id=BALANCER, listeners=listeners or (a_listener(),), **facts)
        clouds.append(Cloud([balancer], tmp_path))
        return clouds[-1]

    yield started
    for cloud in clouds:
        cloud.close()


# --- who may be written at all ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["tke-createdBy-flag", "tke-clusterId", "tke-lb-serviceuuid", "tke-lb-ingress-uuid"])
def test_a_balancer_that_tke_manages_is_refused_and_still_shown(start: Start, tag: str) -> None:
    view = start(tags=(("team", "shop"), (tag, "x"))).seen(a_route())

    assert view.refusal is not None
    assert f"managed by TKE (tag {tag})" in view.refusal
    assert view.weights == {"ins-old00001:30080": 100, "10.0.1.1:31080": 0}


def test_tags_of_the_users_own_are_no_reason_to_refuse(start: Start) -> None:
    assert start(tags=(("team", "shop"),)).seen(a_route()).refusal is None


def test_a_listener_that_tke_manages_on_a_balancer_of_the_users_own_is_refused(start: Start) -> None:
    view = start(a_listener(name="TKE-DEDICATED-LISTENER")).seen(a_route())

    assert "managed by TKE" in (view.refusal or "")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"forward": False}, "classic"),
        ({"running": False}, "still being created"),
        ({"isolated": True}, "isolated"),
    ],
)
def test_a_balancer_in_no_state_to_be_written_is_refused(start: Start, facts: dict[str, bool], reason: str) -> None:
    assert reason in (start(**facts).seen(a_route()).refusal or "")


@pytest.mark.parametrize("protocol", ["TCP", "UDP", "TCP_SSL"])
def test_a_layer_4_listener_is_refused_with_the_way_out(start: Start, protocol: str) -> None:
    rule = a_rule(domain=None, url=None)
    view = start(a_listener(rule, protocol=protocol)).seen(a_route())

    assert "cannot split per namespace; use an HTTP or HTTPS listener" in (view.refusal or "")


def test_an_unknown_listener_is_refused_beside_a_good_one(start: Start) -> None:
    good, bad = a_route(), a_route(listener="lbl-nowhere")
    views = start().provider.observe([good, bad])

    assert views[good.id].refusal is None
    assert views[bad.id].refusal == "lb-front0001 has no listener lbl-nowhere"


def test_an_unknown_balancer_is_refused_as_a_whole(start: Start) -> None:
    elsewhere = Route(REGION, "lb-nowhere", "lbl-1", "shop.example.com", "/", SOURCE, TARGET)

    with pytest.raises(ProviderRefusedError, match="lb-nowhere"):
        start().provider.observe([elsewhere])


@pytest.mark.parametrize("target_type", ["TARGETGROUP", "TARGETGROUP-V2"])
def test_a_rule_bound_to_a_target_group_is_refused(start: Start, target_type: str) -> None:
    group = lab.TargetGroup(group_id="lbtg-1", name="both")
    rule = a_rule(target_type=target_type, target_groups=(group,))

    assert "target group" in (start(a_listener(rule)).seen(a_route()).refusal or "")


def test_a_rule_for_several_domains_must_be_named_by_its_own() -> None:
    rule = {"LocationId": "loc-1", "Domain": "a.example.com", "Domains": ["a.example.com", "b.example.com"], "Url": "/"}
    answers = {
        "DescribeLoadBalancers": {"TotalCount": 1, "LoadBalancerSet": [{"LoadBalancerId": BALANCER}]},
        "DescribeListeners": {
            "TotalCount": 1,
            "Listeners": [{"ListenerId": "lbl-1", "Protocol": "HTTPS", "Rules": [rule]}],
        },
        "DescribeTargets": {"Listeners": [{"ListenerId": "lbl-1", "Rules": [rule | {"Targets": None}]}]},
        "DescribeTargetHealth": {"LoadBalancers": []},
    }
    view = told(answers, a_route(host="b.example.com"))

    assert view.refusal == (
        "b.example.com shares a rule with a.example.com: name a.example.com, they can only move together"
    )


def test_a_rule_that_also_calls_cloud_functions_is_refused() -> None:
    rule = {"LocationId": "loc-1", "Domain": "shop.example.com", "Url": "/"}
    function = {"Weight": 10, "Function": {"FunctionName": "f"}}
    answers = {
        "DescribeLoadBalancers": {"TotalCount": 1, "LoadBalancerSet": [{"LoadBalancerId": BALANCER}]},
        "DescribeListeners": {
            "TotalCount": 1,
            "Listeners": [{"ListenerId": "lbl-1", "Protocol": "HTTPS", "Rules": [rule]}],
        },
        "DescribeTargets": {"Listeners": [{"ListenerId": "lbl-1", "Rules": [rule | {"FunctionTargets": [function]}]}]},
        "DescribeTargetHealth": {"LoadBalancers": []},
    }

    assert "cloud functions" in (told(answers, a_route()).refusal or "")


@pytest.mark.parametrize(
    ("rule_facts", "target_facts", "why"),
    [
        ({}, {"Weight": None}, "no readable Weight"),
        ({}, {"Port": None}, "no readable Port"),
        ({}, {"PrivateIpAddresses": None, "Type": "ENI"}, "has no address"),
        ({"SessionExpireTime": "long"}, {}, "sessions cannot be read"),
    ],
)
def test_what_cannot_be_read_behind_a_rule_refuses_its_route_alone(
    rule_facts: dict[str, Any], target_facts: dict[str, Any], why: str
) -> None:
    good = {"LocationId": "loc-1", "Domain": "shop.example.com", "Url": "/"}
    bad = {"LocationId": "loc-2", "Domain": "pay.example.com", "Url": "/"} | rule_facts
    old = {"Type": "CVM", "InstanceId": "ins-1", "Port": 30080, "Weight": 10, "PrivateIpAddresses": ["10.0.0.1"]}
    new = {"Type": "CVM", "InstanceId": "ins-2", "Port": 31080, "Weight": 0, "PrivateIpAddresses": ["10.0.0.2"]}
    targets = [good | {"Targets": [old, new]}, bad | {"Targets": [old, new | target_facts]}]
    listener = {"ListenerId": "lbl-1", "Protocol": "HTTPS"}
    answers = {
        "DescribeLoadBalancers": {"TotalCount": 1, "LoadBalancerSet": [{"LoadBalancerId": BALANCER}]},
        "DescribeListeners": {"TotalCount": 1, "Listeners": [listener | {"Rules": [good, bad]}]},
        "DescribeTargets": {"Listeners": [listener | {"Rules": targets}]},
        "DescribeTargetHealth": {"LoadBalancers": []},
    }
    shop, pay = a_route(), a_route(host="pay.example.com")
    views = ClbProvider(Told(answers)).observe([shop, pay])

    assert (views[shop.id].refusal, len(views[shop.id].members)) == (None, 2)
    assert why in (views[pay.id].refusal or "")
    assert (views[pay.id].members, views[pay.id].share) == ((), None)


class Told(ClbApi):
    """An API that answers from a table; for answers the emulator never gives."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(Tencent.model_validate({"secretIdFile": "none", "secretKeyFile": "none"}))
        self._answers = answers

    def read(self, region: str, action: str, request: Mapping[str, Any], required: Sequence[str]) -> Mapping[str, Any]:
        assert (region, bool(request), bool(required)) == (REGION, True, True)
        answer: Mapping[str, Any] = self._answers[action]
        return answer


def told(answers: Mapping[str, Any], route: Route) -> RouteView:
    return ClbProvider(Told(answers)).observe([route])[route.id]


# --- what bends the split --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["LEAST_CONN", "IP_HASH"])
def test_a_scheduler_other_than_wrr_is_a_warning(start: Start, scheduler: str) -> None:
    view = start(a_listener(a_rule(scheduler=scheduler))).seen(a_route())

    assert view.refusal is None
    assert any(scheduler in warning for warning in view.warnings)


def test_session_persistence_is_a_warning_and_counts_into_the_settle_time(start: Start) -> None:
    view = start(a_listener(a_rule(session_expire_time_seconds=1800))).seen(a_route())

    assert view.settle_seconds == 1800
    assert any("1800 s" in warning for warning in view.warnings)


def test_without_session_persistence_nothing_lags_and_nothing_is_warned_of(start: Start) -> None:
    view = start().seen(a_route())

    assert view.settle_seconds == 0
    assert view.warnings == ()


def test_members_that_no_health_check_looks_at_are_unchecked_and_warned_of(start: Start) -> None:
    view = start(a_listener(a_rule(health_check_on=False))).seen(a_route())

    assert {member.health for member in view.members} == {Health.UNCHECKED}
    assert any("10.0.1.1:31080, ins-old00001:30080" in warning for warning in view.warnings)


# --- how members are addressed, and how many fit ----------------------------------------------------------------


def test_each_member_is_addressed_the_way_it_was_bound(start: Start) -> None:
    cloud = start()
    weights = {"ins-old00001:30080": 3, "10.0.1.1:31080": 1}
    cloud.provider.submit([Change(a_route(), weights)])

    assert cloud.seen(a_route()).weights == weights


@pytest.mark.parametrize("key", ["10.0.1.1", "", ":31080", "10.0.1.1:", "10.0.1.1:http"])
def test_what_is_no_key_of_a_member_is_refused(start: Start, key: str) -> None:
    with pytest.raises(ProviderRefusedError, match="not the key of a member"):
        start().provider.submit([Change(a_route(), {key: 1})])


def test_a_weight_of_zero_is_sent_and_not_left_to_become_ten(start: Start) -> None:
    cloud = start()
    cloud.provider.submit([Change(a_route(), {"ins-old00001:30080": 0, "10.0.1.1:31080": 7})])

    assert cloud.seen(a_route()).weights == {"ins-old00001:30080": 0, "10.0.1.1:31080": 7}


def many_targets(count: int, port: int) -> tuple[lab.Target, ...]:
    return tuple(
        lab.Target(kind=lab.TargetKind.ENI, ip=f"10.{port % 100}.{n // 250}.{n % 250 + 1}", port=port)
        for n in range(count)
    )


def test_a_rule_with_more_than_fifty_members_is_written_in_one_call(start: Start) -> None:
    targets = many_targets(60, 30080) + many_targets(61, 31080)
    cloud = start(a_listener(a_rule(targets=targets)))
    wanted = {f"{target.ip}:{target.port}": n % 101 for n, target in enumerate(targets)}
    cloud.provider.submit([Change(a_route(), wanted)])

    assert cloud.seen(a_route()).weights == wanted
    assert len(cloud.emulator.log) == 1


def test_five_hundred_members_fit_into_one_call_and_one_more_is_left_for_another(start: Start) -> None:
    rules = tuple(
        a_rule(location_id=f"loc-{n}", domain=f"n{n}.example.com", targets=many_targets(100, 30080)) for n in range(6)
    )
    cloud = start(a_listener(*rules))
    changes = [
        Change(a_route(host=f"n{n}.example.com"), {f"{target.ip}:30080": n for target in rules[n].targets})
        for n in range(1, 6)
    ]
    extra = Change(a_route(host="n0.example.com"), {f"{rules[0].targets[0].ip}:30080": 1})

    part = cloud.provider.submit([*changes, extra])
    shares = [set(cloud.seen(change.route).weights.values()) for change in changes]
    whole = cloud.provider.submit(changes)

    assert (part.left, whole.left) == (1, 0)
    assert shares == [{1}, {2}, {3}, {4}, {5}]
    assert cloud.seen(extra.route).weights[f"{rules[0].targets[0].ip}:30080"] == rules[0].targets[0].weight


def test_a_rule_with_more_members_than_one_call_changes_is_refused_before_its_first_step() -> None:
    rule = {"LocationId": "loc-1", "Domain": "shop.example.com", "Url": "/"}
    many = [
        {"Type": "ENI", "Port": 30080 + n % 2 * 1000, "Weight": 9, "PrivateIpAddresses": [f"10.0.{n // 250}.{n % 250}"]}
        for n in range(501)
    ]
    listener = {"ListenerId": "lbl-1", "Protocol": "HTTPS"}
    answers = {
        "DescribeLoadBalancers": {"TotalCount": 1, "LoadBalancerSet": [{"LoadBalancerId": BALANCER}]},
        "DescribeListeners": {"TotalCount": 1, "Listeners": [listener | {"Rules": [rule]}]},
        "DescribeTargets": {"Listeners": [listener | {"Rules": [rule | {"Targets": many}]}]},
        "DescribeTargetHealth": {"LoadBalancers": []},
    }
    view = told(answers, a_route())
    refusal = "501 members are behind one rule, and one call changes 500 at most: bind fewer"

    assert view.refusal == refusal
    with pytest.raises(ProviderRefusedError, match=refusal):
        ClbProvider(Told(answers)).submit([Change(a_route(), view.weights)])


def test_a_weight_that_may_not_be_sent_is_found_before_any_part_is(start: Start) -> None:
    rules = tuple(
        a_rule(location_id=f"loc-{n}", domain=f"n{n}.example.com", targets=many_targets(100, 30080)) for n in range(6)
    )
    cloud = start(a_listener(*rules))
    changes = [
        Change(a_route(host=f"n{n}.example.com"), {f"{target.ip}:30080": 100 + n // 5 for target in rules[n].targets})
        for n in range(6)
    ]

    with pytest.raises(ProviderRefusedError, match="weight 101"):
        cloud.provider.submit(changes)
    assert cloud.emulator.log == []


def test_a_hundred_items_fit_into_one_call_and_one_more_is_left_for_another(start: Start) -> None:
    rules = tuple(a_rule(location_id=f"loc-{n}", domain=f"n{n}.example.com") for n in range(101))
    cloud = start(a_listener(*rules))
    changes = [Change(a_route(host=f"n{n}.example.com"), {"10.0.1.1:31080": 9}) for n in range(101)]

    part = cloud.provider.submit(changes)
    before = [cloud.seen(changes[n].route).weights["10.0.1.1:31080"] for n in (0, 99, 100)]
    rest = cloud.provider.submit(changes[100:])

    assert (part.left, rest.left) == (1, 0)
    assert before == [9, 9, rules[100].targets[-1].weight]
    assert cloud.seen(changes[100].route).weights["10.0.1.1:31080"] == 9


def test_more_listeners_than_one_call_may_name_are_all_observed(start: Start) -> None:
    listeners = [a_listener(id_=f"lbl-{n}") for n in range(41)]
    routes = [a_route(listener=f"lbl-{n}") for n in range(41)]
    views = start(*listeners).provider.observe(routes)

    assert [views[route.id].refusal for route in routes] == [None] * 41
    assert all(len(views[route.id].members) == 2 for route in routes)


def test_a_hundred_looks_survive_whatever_the_samples_disagree_about(start: Start) -> None:
    rules = tuple(a_rule(location_id=f"loc-{n}", domain=f"n{n}.example.com") for n in range(100))
    routes = [a_route(host=f"n{n}.example.com") for n in range(100)]
    views = start(a_listener(*rules)).provider.observe(routes)

    assert {view.refusal for view in views.values()} == {None}
    assert {member.key for view in views.values() for member in view.members} == {
        "ins-old00001:30080",
        "10.0.1.1:31080",
    }
    assert {member.health for view in views.values() for member in view.members} == {Health.ALIVE}


# --- tasks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "progress"), [(0, "done"), ("0", "done"), ("1", "failed"), (2, "running")])
def test_a_task_status_is_understood_as_a_number_and_as_text(status: object, progress: str) -> None:
    provider = ClbProvider(Told({"DescribeTaskStatus": {"Status": status}}))

    assert provider.check(Operation(a_route().domain, "1")).progress == progress


def test_a_task_status_nobody_documented_is_no_answer() -> None:
    provider = ClbProvider(Told({"DescribeTaskStatus": {"Status": 3}}))

    with pytest.raises(ProviderUnavailableError, match="DescribeTaskStatus: status 3 of 1 means nothing"):
        provider.check(Operation(a_route().domain, "1"))


def test_an_operation_is_named_by_the_request_that_started_it(start: Start) -> None:
    cloud = start()
    operation = cloud.provider.submit([Change(a_route(), {"10.0.1.1:31080": 9})])

    assert [record.request_id for record in cloud.emulator.log] == [operation.id]
    assert operation.domain == a_route().domain


def test_the_sdk_is_loaded_only_when_the_cloud_is_called() -> None:
    code = "import sys; import shifter.adapters.tencent.clb; print('tencentcloud' in sys.modules)"
    told_ = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert told_.stdout == "False\n"
