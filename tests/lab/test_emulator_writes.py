import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tencentcloud.clb.v20180317 import models
from tencentcloud.clb.v20180317.clb_client import ClbClient
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from shifter.lab.emulator import Emulator, LoadBalancer, Outcome, RuleKey, TargetKey
from shifter.lab.emulator.api import Admitted

Advance = Callable[[float], None]
Call = Callable[[str, Mapping[str, Any]], dict[str, Any]]
Refused = Callable[[str, Mapping[str, Any]], str]
SHOP = RuleKey("lbl-http", "loc-shop")
TCP = RuleKey("lbl-tcp", None)
TCM1, TCM2 = TargetKey("ins-tcm1", 30080), TargetKey("ins-tcm2", 30080)
ENI1, ENI2 = TargetKey("10.1.0.1", 8080), TargetKey("10.1.0.2", 8080)


def item(*targets: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {"ListenerId": "lbl-http", "LocationId": "loc-shop", **fields, "Targets": list(targets)}


def cvm(instance_id: str = "ins-tcm1", port: int = 30080, **fields: object) -> dict[str, Any]:
    return {"InstanceId": instance_id, "Port": port, **fields}


def eni(ip: str = "10.1.0.1", port: int = 8080, **fields: object) -> dict[str, Any]:
    return {"EniIp": ip, "Port": port, **fields}


def batch(*items: dict[str, Any], lb_id: str = "lb-shop") -> dict[str, Any]:
    return {"LoadBalancerId": lb_id, "ModifyList": list(items)}


def weights(emulator: Emulator, key: RuleKey = SHOP) -> Mapping[TargetKey, int]:
    return emulator.balancer("lb-shop").rule(key).weights


def test_a_write_takes_effect_only_when_its_task_is_due(emulator: Emulator, call: Call, advance: Advance) -> None:
    task_id = call("BatchModifyTargetWeight", batch(item(eni(Weight=30), eni("10.1.0.2", Weight=0))))["RequestId"]

    assert call("DescribeTaskStatus", {"TaskId": task_id})["Status"] == 2
    assert weights(emulator)[ENI1] == 0
    advance(0.1)
    assert call("DescribeTaskStatus", {"TaskId": task_id})["Status"] == 2
    advance(0.5)
    finished = call("DescribeTaskStatus", {"TaskId": task_id})
    assert (finished["Status"], finished["LoadBalancerIds"]) == (0, ["lb-shop"])
    assert "Message" not in finished
    assert weights(emulator) == {TCM1: 100, TCM2: 100, ENI1: 30, ENI2: 0}


def test_one_call_writes_both_layers_through_the_models_of_the_sdk(
    emulator: Emulator, sdk: ClbClient, advance: Advance
) -> None:
    request = models.BatchModifyTargetWeightRequest()
    request._deserialize(
        batch(item(cvm(Weight=80), eni(Weight=20)), {"ListenerId": "lbl-tcp", "Targets": [cvm(port=30090, Weight=7)]})
    )

    response = sdk.BatchModifyTargetWeight(request)
    advance(1)

    assert response.RequestId
    assert weights(emulator) == {TCM1: 80, TCM2: 100, ENI1: 20, ENI2: 0}
    assert weights(emulator, TCP)[TargetKey("ins-tcm1", 30090)] == 7


def test_a_rule_can_be_named_by_domain_and_url(emulator: Emulator, call: Call, advance: Advance) -> None:
    by_name = item(cvm(Weight=1), LocationId="", Domain="shop.example.com", Url="/")

    call("ModifyTargetWeight", {"LoadBalancerId": "lb-shop", **by_name})
    advance(1)

    assert weights(emulator)[TCM1] == 1


@pytest.mark.parametrize("action", ["BatchModifyTargetWeight", "ModifyTargetWeight"])
def test_omitted_weight_becomes_ten(emulator: Emulator, call: Call, advance: Advance, action: str) -> None:
    single = {"LoadBalancerId": "lb-shop", **item(cvm())}

    call(action, single if action == "ModifyTargetWeight" else batch(item(cvm())))
    advance(1)

    assert weights(emulator)[TCM1] == 10


def test_a_targets_weight_beats_its_rules(emulator: Emulator, call: Call, advance: Advance) -> None:
    call("BatchModifyTargetWeight", batch(item(cvm(Weight=0), eni(), Weight=55)))
    advance(1)

    assert (weights(emulator)[TCM1], weights(emulator)[ENI1]) == (0, 55)


@pytest.mark.parametrize(
    "target",
    [
        eni("10.0.0.1", 30080, Weight=1),
        cvm("ins-node", 8080, Weight=1),
        eni("ins-tcm1", 30080, Weight=1),
        cvm("10.1.0.1", 8080, Weight=1),
        cvm(port=30081, Weight=1),
        cvm("ins-gone", Weight=1),
        {**cvm(Weight=1), "EniIp": "10.0.0.1"},
    ],
    ids=[
        "CVM by its address",
        "ENI by its host's instance id",
        "instance id given as EniIp",
        "address given as InstanceId",
        "wrong port",
        "unbound",
        "both names",
    ],
)
def test_a_target_addressed_another_way_than_it_was_bound_is_refused(refused: Refused, target: dict[str, Any]) -> None:
    assert refused("BatchModifyTargetWeight", batch(item(target))) == "InvalidParameter"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        (batch(item(cvm(Weight=101))), "InvalidParameterValue.Range"),
        (batch(item(cvm(Weight=-1))), "InvalidParameterValue.Range"),
        (batch(item(cvm(Weight=5.5))), "InvalidParameter"),
        (batch(item(cvm(Weight="5"))), "InvalidParameter"),
        (batch(item(cvm(Weight=True))), "InvalidParameter"),
        (batch(item(cvm(Weight=None))), "InvalidParameter"),
        (batch(item(cvm(Weight=5), Weight=101)), "InvalidParameterValue.Range"),
        (batch(item(cvm(port=0, Weight=5))), "InvalidParameterValue.Range"),
        (batch(item({"Port": 30080, "Weight": 5})), "MissingParameter"),
        (batch(item({"InstanceId": "ins-tcm1", "Weight": 5})), "MissingParameter"),
        (batch(item(cvm(Weight=5), cvm(Weight=6))), "InvalidParameterValue.Duplicate"),
        (batch(item(cvm(Weight=5)), item(cvm(Weight=6))), "InvalidParameterValue.Duplicate"),
        (batch(item(cvm(Weight=5, Wieght=6))), "UnknownParameter"),
        (batch(item(cvm(Weight=5), Colour="red")), "UnknownParameter"),
        ({**batch(item(cvm(Weight=5))), "DryRun": True}, "UnknownParameter"),
        (batch(item(cvm(Weight=5), LocationId="")), "MissingParameter"),
        (batch(item(cvm(Weight=5), LocationId="", Domain="shop.example.com")), "MissingParameter"),
        (batch(item(cvm(Weight=5), LocationId="loc-tcp")), "InvalidParameter.LocationNotFound"),
        (batch(item(cvm(Weight=5), ListenerId="lbl-tcp")), "InvalidParameter.LocationNotFound"),
        (batch(item(cvm(Weight=5), ListenerId="lbl-gone")), "InvalidParameter.ListenerIdNotFound"),
        (batch(item(cvm(Weight=5)), lb_id="lb-gone"), "InvalidParameter.LBIdNotFound"),
        (batch(item(cvm(Weight=5)), lb_id="lb-classic"), "UnsupportedOperation"),
        (batch(item(cvm(Weight=5), LocationId="loc-grouped")), "UnsupportedOperation"),
        (batch(), "InvalidParameterValue.Length"),
        (batch(item()), "InvalidParameterValue.Length"),
        (batch(*[item(cvm(Weight=5))] * 101), "InvalidParameterValue.Length"),
        (batch(item(*[cvm(port=port, Weight=5) for port in range(1, 52)])), "InvalidParameterValue.Length"),
        (
            batch(*[item(*[cvm(port=port, Weight=5) for port in range(1, 47)])] * 11),
            "InvalidParameterValue.Length",
        ),
        # Exactly at each limit, the length is no longer the objection.
        (batch(*[item(cvm(Weight=5))] * 100), "InvalidParameterValue.Duplicate"),
        (batch(*[item(*[cvm(port=port, Weight=5) for port in range(1, 51)])] * 10), "InvalidParameter"),
        ({"LoadBalancerId": "lb-shop"}, "MissingParameter"),
        ({"LoadBalancerId": "lb-shop", "ModifyList": "all"}, "InvalidParameter"),
        ({"LoadBalancerId": "lb-shop", "ModifyList": ["all"]}, "InvalidParameter"),
    ],
)
def test_a_write_that_does_not_fit_is_refused_and_changes_nothing(
    emulator: Emulator, refused: Refused, advance: Advance, parameters: dict[str, Any], code: str
) -> None:
    before = weights(emulator)

    assert refused("BatchModifyTargetWeight", parameters) == code
    advance(1)
    assert (weights(emulator), emulator.log) == (before, [])


@pytest.mark.parametrize("facts", [{"running": False}, {"isolated": True}])
def test_a_balancer_that_is_out_of_order_takes_no_write(
    balancers: list[LoadBalancer], clock: Callable[[], float], facts: dict[str, bool]
) -> None:
    emulator = Emulator(
        balancers=[replace(balancers[0], **facts)],  # type: ignore[arg-type] # only those two
        region="ap-guangzhou",
        secret_id="id",
        secret_key="key",
        clock=clock,
        rng=random.Random(1),  # noqa: S311 - seeded on purpose
    )
    write = Admitted(
        action="BatchModifyTargetWeight",
        parameters=batch(item(cvm(Weight=5))),
        request_id="request",
        region="ap-guangzhou",
        fault=None,
    )
    answer = json.loads(emulator.perform(write).body)

    assert answer["Response"]["Error"] == {
        "Code": "FailedOperation.InvalidLBStatus",
        "Message": "The status of lb-shop does not allow this.",
    }
    assert emulator.log == []


def test_a_second_write_is_refused_while_the_first_is_under_way(
    emulator: Emulator, call: Call, sdk: ClbClient, advance: Advance
) -> None:
    call("BatchModifyTargetWeight", batch(item(cvm(Weight=50))))

    with pytest.raises(TencentCloudSDKException) as caught:
        sdk.call_json("ModifyTargetWeight", {"LoadBalancerId": "lb-shop", **item(cvm(Weight=60))})

    assert caught.value.code == "FailedOperation.ResourceInOperating"
    assert caught.value.message in {
        "Loadbalancer(lb-shop) is not in normal desState, maybe some tasks are being processed, please try later.",
        "Your task is working (DelQLBL4ListenerDevice). Pls wait for the task to complete and try again.",
    }
    advance(1)
    call("ModifyTargetWeight", {"LoadBalancerId": "lb-shop", **item(cvm(Weight=60))})
    advance(1)
    assert weights(emulator)[TCM1] == 60


def test_a_lock_belongs_to_one_balancer(call: Call) -> None:
    call("BatchModifyTargetWeight", batch(item(cvm(Weight=50))))

    other = {"LoadBalancerId": "lb-tke", "ListenerId": "lbl-tke", "Targets": [cvm("ins-9", Weight=1)]}
    assert call("ModifyTargetWeight", other)["RequestId"]


def test_another_actors_lock_refuses_until_it_is_released(
    emulator: Emulator, call: Call, refused: Refused, advance: Advance
) -> None:
    emulator.hold_lock("lb-shop", 5)

    assert refused("BatchModifyTargetWeight", batch(item(cvm(Weight=50)))) == "FailedOperation.ResourceInOperating"
    advance(5)
    assert call("BatchModifyTargetWeight", batch(item(cvm(Weight=50))))["RequestId"]


def test_a_shorter_lock_does_not_end_a_longer_one(emulator: Emulator, refused: Refused, advance: Advance) -> None:
    emulator.hold_lock("lb-shop", 60)
    emulator.hold_lock("lb-shop", 1)
    advance(2)

    assert refused("BatchModifyTargetWeight", batch(item(cvm(Weight=50)))) == "FailedOperation.ResourceInOperating"


def test_a_lock_may_outlast_its_task(
    balancers: list[LoadBalancer], clock: Callable[[], float], advance: Advance, make_sdk: Callable[..., ClbClient]
) -> None:
    emulator = Emulator(
        balancers=balancers,
        region="ap-guangzhou",
        secret_id="AKIDlab",
        secret_key="lab-secret",
        clock=clock,
        rng=random.Random(1),  # noqa: S311 - seeded on purpose
        lock_linger_seconds=2.0,
    )
    try:
        client = make_sdk(at_port=emulator.start())
        task_id = client.call_json("BatchModifyTargetWeight", batch(item(cvm(Weight=50))))["Response"]["RequestId"]
        advance(1)
        status = client.call_json("DescribeTaskStatus", {"TaskId": task_id})["Response"]["Status"]
        with pytest.raises(TencentCloudSDKException) as caught:
            client.call_json("BatchModifyTargetWeight", batch(item(cvm(Weight=60))))
    finally:
        emulator.stop()

    assert status == 0
    assert caught.value.code == "FailedOperation.ResourceInOperating"


def test_a_task_takes_effect_and_is_announced_although_nobody_asks(
    balancers: list[LoadBalancer], make_sdk: Callable[..., ClbClient]
) -> None:
    announced = threading.Event()
    emulator = Emulator(
        balancers=balancers,
        region="ap-guangzhou",
        secret_id="AKIDlab",
        secret_key="lab-secret",
        clock=time.time,
        rng=random.Random(1),  # noqa: S311 - seeded on purpose
        task_delay_seconds=(0.05, 0.05),
        on_change=lambda lb_id: announced.set() if lb_id == "lb-shop" else None,
    )
    try:
        make_sdk(at_port=emulator.start()).call_json("BatchModifyTargetWeight", batch(item(cvm(Weight=50))))
        heard = announced.wait(5)
    finally:
        emulator.stop()

    assert heard
    assert weights(emulator)[TCM1] == 50


def test_a_task_whose_target_was_unbound_meanwhile_fails_and_applies_nothing(
    emulator: Emulator, call: Call, advance: Advance
) -> None:
    task_id = call("BatchModifyTargetWeight", batch(item(cvm(Weight=50), eni(Weight=50))))["RequestId"]
    emulator.remove_target("lb-shop", "lbl-http", "loc-shop", ENI1)
    advance(1)

    finished = call("DescribeTaskStatus", {"TaskId": task_id})

    assert finished["Status"] == 1
    assert finished["Message"]
    assert weights(emulator)[TCM1] == 100
    assert emulator.log[-1].outcome is Outcome.NOTHING


def test_every_write_is_on_record_with_the_weights_of_the_whole_rule(
    emulator: Emulator, call: Call, advance: Advance
) -> None:
    request_id = call("BatchModifyTargetWeight", batch(item(eni(Weight=50))))["RequestId"]
    advance(1)

    (record,) = emulator.log

    assert (record.lb_id, record.action, record.request_id) == ("lb-shop", "BatchModifyTargetWeight", request_id)
    assert record.outcome is Outcome.APPLIED
    assert record.before == {SHOP: {TCM1: 100, TCM2: 100, ENI1: 0, ENI2: 0}}
    assert record.after == {SHOP: {TCM1: 100, TCM2: 100, ENI1: 50, ENI2: 0}}
    assert record.darkened == ()


def test_weights_that_are_all_zero_are_accepted_and_stand_out_in_the_record(
    emulator: Emulator, call: Call, advance: Advance
) -> None:
    call("BatchModifyTargetWeight", batch(item(cvm(Weight=0), cvm("ins-tcm2", Weight=0))))
    advance(1)

    assert emulator.serving("lb-shop", "lbl-http", "loc-shop") == {}
    assert [record.darkened for record in emulator.log] == [(SHOP,)]
