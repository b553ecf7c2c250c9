import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tencentcloud.clb.v20180317 import models
from tencentcloud.clb.v20180317.clb_client import ClbClient
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from shifter.lab.emulator import Emulator, Health, TargetKey

Call = Callable[[str, Mapping[str, Any]], dict[str, Any]]
Refused = Callable[[str, Mapping[str, Any]], str]
SHOP = {"LoadBalancerId": "lb-shop"}


def ask(request: Any, **fields: object) -> Any:  # noqa: ANN401 - the SDK has no types
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def test_every_answer_fits_the_models_of_the_sdk(sdk: ClbClient) -> None:
    # The SDK warns of a nested field that its models do not know, and warnings are errors here.
    balancers = sdk.DescribeLoadBalancers(models.DescribeLoadBalancersRequest())
    listeners = sdk.DescribeListeners(ask(models.DescribeListenersRequest(), LoadBalancerId="lb-shop"))
    targets = sdk.DescribeTargets(ask(models.DescribeTargetsRequest(), LoadBalancerId="lb-shop"))
    health = sdk.DescribeTargetHealth(ask(models.DescribeTargetHealthRequest(), LoadBalancerIds=["lb-shop"]))

    assert [one.LoadBalancerId for one in balancers.LoadBalancerSet] == [
        "lb-shop",
        "lb-tke",
        "lb-classic",
        "lb-unchecked",
    ]
    assert listeners.TotalCount == 2
    assert targets.Listeners[0].Rules[0].Targets[0].InstanceId == "ins-tcm1"
    assert health.LoadBalancers[0].Listeners[1].Rules[0].Targets[0].HealthStatus is True


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("DescribeLoadBalancers", {}),
        ("DescribeListeners", SHOP),
        ("DescribeTargets", SHOP),
        ("DescribeTargetHealth", {"LoadBalancerIds": ["lb-shop"]}),
    ],
)
def test_an_answer_has_exactly_the_top_level_fields_of_its_model(
    call: Call, action: str, parameters: dict[str, Any]
) -> None:
    model = getattr(models, f"{action}Response")()

    assert {f"_{name}" for name in call(action, parameters)} == set(vars(model))


def test_tags_tell_who_manages_a_balancer(call: Call) -> None:
    balancers = call("DescribeLoadBalancers", {"LoadBalancerIds": ["lb-tke"]})["LoadBalancerSet"]

    assert {"TagKey": "tke-createdBy-flag", "TagValue": "yes"} in balancers[0]["Tags"]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"LoadBalancerIds": ["lb-shop", "lb-gone"]}, ["lb-shop"]),
        ({"LoadBalancerName": "gateway"}, ["lb-tke"]),
        ({"LoadBalancerVips": ["203.0.113.7"]}, ["lb-shop"]),
        ({"Forward": 0}, ["lb-classic"]),
        ({"LoadBalancerType": "INTERNAL"}, []),
        ({"Filters": [{"Name": "tag-key", "Values": ["tke-createdBy-flag"]}]}, ["lb-tke"]),
        ({"Filters": [{"Name": "tag:tke-createdBy-flag", "Values": ["no"]}]}, []),
        ({"VpcId": "vpc-lab00001", "Offset": 1, "Limit": 1}, ["lb-tke"]),
    ],
)
def test_load_balancers_are_filtered(call: Call, parameters: dict[str, Any], found: list[str]) -> None:
    answer = call("DescribeLoadBalancers", parameters)

    assert [one["LoadBalancerId"] for one in answer["LoadBalancerSet"]] == found


def test_a_filter_that_is_not_emulated_is_refused_and_not_ignored(sdk: ClbClient) -> None:
    with pytest.raises(TencentCloudSDKException, match="The emulator does not filter load balancers by charge-type"):
        sdk.call_json("DescribeLoadBalancers", {"Filters": [{"Name": "charge-type", "Values": ["PREPAID"]}]})


def test_the_total_does_not_depend_on_the_page(call: Call) -> None:
    assert call("DescribeLoadBalancers", {"Limit": 1})["TotalCount"] == 4


def test_another_region_is_empty(make_sdk: Callable[..., ClbClient]) -> None:
    elsewhere = make_sdk(region="ap-shanghai")

    with pytest.raises(TencentCloudSDKException) as caught:
        elsewhere.call_json("DescribeListeners", SHOP)

    assert caught.value.code == "InvalidParameter.LBIdNotFound"
    assert elsewhere.call_json("DescribeLoadBalancers", {})["Response"]["TotalCount"] == 0


def test_layer_4_lists_targets_and_no_rules(call: Call) -> None:
    listener = call("DescribeTargets", {**SHOP, "ListenerIds": ["lbl-tcp"]})["Listeners"][0]

    assert listener["Rules"] is None
    assert [target["Port"] for target in listener["Targets"]] == [30090, 9090]


def test_layer_7_lists_rules_and_no_targets(call: Call) -> None:
    listener = call("DescribeTargets", {**SHOP, "ListenerIds": ["lbl-http"]})["Listeners"][0]

    assert listener["Targets"] is None
    assert [rule["LocationId"] for rule in listener["Rules"]] == ["loc-shop", "loc-grouped"]


def test_health_has_rules_on_layer_4_too_without_domain(call: Call) -> None:
    balancer = call("DescribeTargetHealth", {"LoadBalancerIds": ["lb-shop"], "ListenerIds": ["lbl-tcp"]})
    rule = balancer["LoadBalancers"][0]["Listeners"][0]["Rules"][0]

    assert (rule["LocationId"], rule["Domain"], rule["Url"]) == ("loc-tcp", None, None)
    assert [target["HealthStatus"] for target in rule["Targets"]] == [True, False]


def test_settings_stand_in_the_listener_on_layer_4_and_in_the_rule_on_layer_7(call: Call) -> None:
    http, tcp = call("DescribeListeners", SHOP)["Listeners"]

    assert (tcp["Scheduler"], tcp["Rules"], tcp["TargetType"]) == ("LEAST_CONN", None, "NODE")
    assert http["Scheduler"] is None
    assert http["Rules"][0]["SessionExpireTime"] == 120
    assert http["Rules"][1]["TargetType"] == "TARGETGROUP"
    assert http["Rules"][1]["TargetGroupList"][0]["TargetGroupId"] == "lbtg-1"


def test_listeners_are_filtered_by_protocol_and_port(call: Call) -> None:
    assert call("DescribeListeners", {**SHOP, "Protocol": "TCP"})["TotalCount"] == 1
    assert call("DescribeListeners", {**SHOP, "Port": 81})["TotalCount"] == 0


def test_targets_are_filtered_by_rule_and_by_address(call: Call) -> None:
    filters = [
        {"Name": "location-id", "Values": ["loc-shop"]},
        {"Name": "private-ip-address", "Values": ["10.1.0.1"]},
    ]

    listeners = call("DescribeTargets", {**SHOP, "Filters": filters})["Listeners"]

    assert [len(rule["Targets"]) for listener in listeners for rule in listener["Rules"]] == [1]


def test_an_unknown_filter_is_refused(refused: Refused) -> None:
    filters = [{"Name": "colour", "Values": ["red"]}]

    assert refused("DescribeTargets", {**SHOP, "Filters": filters}) == "InvalidParameter.InvalidFilter"


def test_a_filter_the_emulator_does_not_act_on_is_refused_not_ignored(refused: Refused) -> None:
    assert refused("DescribeLoadBalancers", {"SearchKey": "shop"}) == "UnsupportedOperation"


@pytest.mark.parametrize(
    ("action", "parameters", "code"),
    [
        ("DescribeLoadBalancers", {"LoadBalancerIds": ["lb-1"] * 21}, "InvalidParameterValue.Length"),
        ("DescribeLoadBalancers", {"Limit": 101}, "InvalidParameterValue.Range"),
        ("DescribeListeners", {**SHOP, "ListenerIds": ["lbl-1"] * 101}, "InvalidParameterValue.Length"),
        ("DescribeTargets", {**SHOP, "ListenerIds": ["lbl-1"] * 21}, "InvalidParameterValue.Length"),
        ("DescribeTargetHealth", {"LoadBalancerIds": ["lb-1"] * 31}, "InvalidParameterValue.Length"),
        ("DescribeTargetHealth", {"LoadBalancerIds": []}, "InvalidParameterValue.Length"),
        ("DescribeTargetHealth", {"LoadBalancerIds": ["lb-gone"]}, "InvalidParameter.LBIdNotFound"),
        ("DescribeTargets", {**SHOP, "ListenerIds": ["lbl-gone"]}, "InvalidParameter.ListenerIdNotFound"),
        ("DescribeListeners", {"LoadBalancerId": "lb-gone"}, "InvalidParameter.LBIdNotFound"),
        ("DescribeListeners", {}, "MissingParameter"),
        ("DescribeListeners", {"LoadBalancerId": 7}, "InvalidParameter"),
        ("DescribeListeners", {"LoadBalancerId": None}, "InvalidParameter"),
        ("DescribeListeners", {**SHOP, "Protocol": "tcp"}, "InvalidParameterValue"),
        ("DescribeListeners", {**SHOP, "OadbalancerId": "lb-shop"}, "UnknownParameter"),
        ("DescribeTargets", {**SHOP, "Filters": [{"Name": "tag", "Value": ["x"]}]}, "UnknownParameter"),
        ("DescribeTaskStatus", {}, "MissingParameter"),
        ("DescribeTaskStatus", {"TaskId": "never-made"}, "InvalidParameter"),
        ("DescribeCats", {}, "InvalidAction"),
    ],
)
def test_what_does_not_fit_is_refused(refused: Refused, action: str, parameters: dict[str, Any], code: str) -> None:
    assert refused(action, parameters) == code


def test_an_old_version_is_refused(sdk: ClbClient, refused: Refused) -> None:
    sdk._apiVersion = "2017-03-12"

    assert refused("DescribeLoadBalancers", {}) == "NoSuchVersion"


def test_the_twenty_first_call_in_a_second_is_refused_and_the_next_second_is_free(
    call: Call, refused: Refused, advance: Callable[[float], None]
) -> None:
    for _ in range(20):
        call("DescribeListeners", SHOP)

    assert refused("DescribeListeners", SHOP) == "RequestLimitExceeded"
    assert call("DescribeTargets", SHOP)["Listeners"]
    advance(1)
    assert call("DescribeListeners", SHOP)["TotalCount"] == 2


def test_the_samples_contradictions_show_up(call: Call, advance: Callable[[float], None]) -> None:
    kinds, functions, eni_ids = set(), set(), set()
    for _ in range(20):
        advance(1)
        rule = call("DescribeTargets", SHOP)["Listeners"][0]["Rules"][0]
        kinds |= {target["Type"] for target in rule["Targets"]}
        eni_ids |= {target["EniId"] for target in rule["Targets"]}
        functions.add(repr(rule["FunctionTargets"]))
        assert {repr(target["PublicIpAddresses"]) for target in rule["Targets"]} == {"None"}

    assert kinds == {"CVM", "cvm", "ENI", "eni"}
    assert functions == {"None", "[]"}
    assert "" in eni_ids


def test_a_healthy_target_is_sometimes_called_dead_in_the_detail(call: Call, advance: Callable[[float], None]) -> None:
    seen = set()
    for _ in range(40):
        advance(1)
        balancer = call("DescribeTargetHealth", {"LoadBalancerIds": ["lb-shop"]})["LoadBalancers"][0]
        for target in balancer["Listeners"][0]["Rules"][0]["Targets"]:
            seen.add((target["HealthStatus"], target["HealthStatusDetail"]))
            assert target["HealthStatusDetial"] == target["HealthStatusDetail"]

    assert seen == {(True, "Alive"), (True, "Dead")}


def test_a_contradicting_detail_can_be_ordered(emulator: Emulator, call: Call) -> None:
    target = TargetKey("ins-tcm1", 30090)
    emulator.set_health("lb-shop", "lbl-tcp", None, target, Health.DEAD, detail=Health.ALIVE)

    balancer = call("DescribeTargetHealth", {"LoadBalancerIds": ["lb-shop"], "LocationIds": ["loc-tcp"]})
    shown = balancer["LoadBalancers"][0]["Listeners"][0]["Rules"][0]["Targets"][0]

    assert (shown["HealthStatus"], shown["HealthStatusDetail"]) == (False, "Alive")


def test_a_check_that_is_off_is_reported_as_closed_and_healthy(call: Call) -> None:
    balancer = call("DescribeTargetHealth", {"LoadBalancerIds": ["lb-unchecked"]})["LoadBalancers"][0]
    target = balancer["Listeners"][0]["Rules"][0]["Targets"][0]
    listener = call("DescribeListeners", {"LoadBalancerId": "lb-unchecked"})["Listeners"][0]

    assert (target["HealthStatus"], target["HealthStatusDetail"]) == (True, "Close")
    assert listener["HealthCheck"]["HealthSwitch"] == 0


def test_a_small_answer_is_sent_at_once(call: Call, advance: Callable[[float], None]) -> None:
    took_seconds = []
    for _ in range(15):
        advance(1)
        begun = time.monotonic()
        call("DescribeListeners", SHOP)
        took_seconds.append(time.monotonic() - begun)

    # Held back by the kernel until the client acknowledges, each would take 40 ms.
    assert statistics.median(took_seconds) < 0.035


def test_a_rule_bound_to_a_target_group_lists_no_targets(call: Call) -> None:
    filters = [{"Name": "location-id", "Values": ["loc-grouped"]}]

    rule = call("DescribeTargets", {**SHOP, "Filters": filters})["Listeners"][0]["Rules"][0]

    assert rule["Targets"] == []
