import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import requests
from tencentcloud.clb.v20180317 import models
from tencentcloud.clb.v20180317.clb_client import ClbClient
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from shifter.lab.emulator import Emulator, Fault, FaultKind, LoadBalancer, Outcome, RuleKey, TargetKey
from shifter.lab.emulator.faults import MAX_FAULTS

Advance = Callable[[float], None]
Call = Callable[[str, Mapping[str, Any]], dict[str, Any]]
Refused = Callable[[str, Mapping[str, Any]], str]
WRITE = "BatchModifyTargetWeight"
SHOP = RuleKey("lbl-http", "loc-shop")
ENI1, ENI2 = TargetKey("10.1.0.1", 8080), TargetKey("10.1.0.2", 8080)
HALF_AND_HALF: dict[str, Any] = {
    "LoadBalancerId": "lb-shop",
    "ModifyList": [
        {
            "ListenerId": "lbl-http",
            "LocationId": "loc-shop",
            "Targets": [{"EniIp": key.address, "Port": key.port, "Weight": 100} for key in (ENI1, ENI2)],
        }
    ],
}


def applied(emulator: Emulator) -> set[TargetKey]:
    weights = emulator.balancer("lb-shop").rule(SHOP).weights
    return {key for key in (ENI1, ENI2) if weights[key] == 100}


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.THROTTLE, "RequestLimitExceeded"),
        (FaultKind.ERROR_BEFORE, "InternalError"),
        (FaultKind.HTML_502, "ServerNetworkError"),
        (FaultKind.QUOTA, "LimitExceeded"),
        (FaultKind.RESET_BEFORE, "ClientNetworkError"),
    ],
)
def test_a_refused_write_is_not_applied(
    emulator: Emulator, refused: Refused, call: Call, kind: FaultKind, code: str
) -> None:
    emulator.faults.inject(Fault(action=WRITE, kind=kind))

    assert refused(WRITE, HALF_AND_HALF) == code
    assert emulator.state()["tasks"] == []
    assert call(WRITE, HALF_AND_HALF)["RequestId"]


def test_an_error_after_the_fact_hides_a_write_that_is_applied(
    emulator: Emulator, refused: Refused, advance: Advance
) -> None:
    emulator.faults.inject(Fault(action=WRITE, kind=FaultKind.ERROR_AFTER))

    assert refused(WRITE, HALF_AND_HALF) == "InternalError"
    advance(1)
    assert applied(emulator) == {ENI1, ENI2}


def test_a_wrong_content_type_makes_the_sdk_take_an_error_for_a_success(
    emulator: Emulator, sdk: ClbClient, advance: Advance
) -> None:
    for action in ("DescribeLoadBalancers", WRITE):
        emulator.faults.inject(Fault(action=action, kind=FaultKind.WRONG_CONTENT_TYPE))
    request = models.BatchModifyTargetWeightRequest()
    request._deserialize(HALF_AND_HALF)

    read = sdk.DescribeLoadBalancers(models.DescribeLoadBalancersRequest())
    written = sdk.BatchModifyTargetWeight(request)
    advance(1)

    assert (read.TotalCount, read.LoadBalancerSet) == (None, None)
    assert written.RequestId
    assert applied(emulator) == set()


def test_a_lost_reply_is_a_timeout_for_the_sdk_and_a_write_all_the_same(
    emulator: Emulator, make_sdk: Callable[..., ClbClient], advance: Advance
) -> None:
    emulator.faults.inject(Fault(action=WRITE, kind=FaultKind.LOST_REPLY))

    with pytest.raises(TencentCloudSDKException) as caught:
        make_sdk(timeout_seconds=0.2).call_json(WRITE, HALF_AND_HALF)

    assert caught.value.code == "ClientNetworkError"
    advance(1)
    assert applied(emulator) == {ENI1, ENI2}


def test_a_client_that_outwaits_a_lost_reply_hears_from_the_gateway_alone(
    balancers: list[LoadBalancer], make_sdk: Callable[..., ClbClient]
) -> None:
    emulator = Emulator(
        balancers=balancers,
        region="ap-guangzhou",
        secret_id="AKIDlab",
        secret_key="lab-secret",
        clock=time.time,
        rng=random.Random(1),  # noqa: S311 - seeded on purpose
        lost_reply_seconds=0.1,
    )
    emulator.faults.inject(Fault(action=WRITE, kind=FaultKind.LOST_REPLY))
    try:
        client = make_sdk(at_port=emulator.start())
        with pytest.raises(TencentCloudSDKException) as caught:
            client.call_json(WRITE, HALF_AND_HALF)
    finally:
        emulator.stop()

    assert caught.value.code == "ServerNetworkError"
    assert len(emulator.state()["tasks"]) == 1


def test_stopping_ends_a_lost_reply_early(emulator: Emulator, make_sdk: Callable[..., ClbClient]) -> None:
    emulator.faults.inject(Fault(action=WRITE, kind=FaultKind.LOST_REPLY))
    own_port = emulator.start()
    codes: list[str] = []

    def wait_for_a_reply() -> None:
        try:
            make_sdk(timeout_seconds=30.0, at_port=own_port).call_json(WRITE, HALF_AND_HALF)
        except TencentCloudSDKException as error:
            codes.append(str(error.code))

    waiting = threading.Thread(target=wait_for_a_reply)
    waiting.start()
    accepted = until(lambda: bool(emulator.state()["tasks"]))
    begun = time.monotonic()
    emulator.stop()
    stopped_after_seconds = time.monotonic() - begun
    waiting.join(5)

    assert accepted
    assert stopped_after_seconds < 1.5
    assert codes in (["ServerNetworkError"], ["ClientNetworkError"])


@pytest.mark.parametrize(
    ("kind", "said"), [(FaultKind.RESET_AFTER, "Connection reset by peer"), (FaultKind.TRUNCATED, "IncompleteRead")]
)
def test_a_cut_answer_is_told_at_once_and_the_write_is_done_all_the_same(
    emulator: Emulator, make_sdk: Callable[..., ClbClient], advance: Advance, kind: FaultKind, said: str
) -> None:
    emulator.inject(Fault(action=WRITE, kind=kind))
    begun = time.monotonic()

    with pytest.raises(Exception, match=said):
        make_sdk(timeout_seconds=30.0).call_json(WRITE, HALF_AND_HALF)
    assert time.monotonic() - begun < 5
    advance(1)
    assert applied(emulator) == {ENI1, ENI2}
    assert len(emulator.state()["tasks"]) == 1


def test_a_right_answer_with_a_charset_is_the_right_answer(emulator: Emulator, call: Call, advance: Advance) -> None:
    emulator.inject(Fault(action=WRITE, kind=FaultKind.WRONG_CONTENT_TYPE_AFTER))

    assert call(WRITE, HALF_AND_HALF)["RequestId"]
    advance(1)
    assert applied(emulator) == {ENI1, ENI2}


def test_another_actors_lock_outlasts_the_call_it_struck_and_ends_by_itself(
    emulator: Emulator, refused: Refused, call: Call, advance: Advance
) -> None:
    emulator.inject(Fault(action=WRITE, kind=FaultKind.LOCKED, seconds=60))

    assert [refused(WRITE, HALF_AND_HALF) for _ in range(3)] == ["FailedOperation.ResourceInOperating"] * 3
    advance(59)
    assert refused(WRITE, HALF_AND_HALF) == "FailedOperation.ResourceInOperating"
    advance(1)
    assert call(WRITE, HALF_AND_HALF)["RequestId"]


def test_a_task_that_never_ends_says_so_for_ever_and_locks_for_as_long_as_ordered(
    emulator: Emulator, refused: Refused, call: Call, advance: Advance
) -> None:
    emulator.inject(Fault(action=WRITE, kind=FaultKind.TASK_ENDLESS, seconds=60))
    task_id = call(WRITE, HALF_AND_HALF)["RequestId"]
    advance(59)
    assert refused(WRITE, HALF_AND_HALF) == "FailedOperation.ResourceInOperating"
    advance(1)

    second = call(WRITE, HALF_AND_HALF)["RequestId"]
    advance(100_000)
    # The SDK signs with the real time, so the past is asked after through the lab.
    told = {task["task_id"]: (task["status"], task["due_at"] is None) for task in emulator.state()["tasks"]}
    assert told == {task_id: (2, True), second: (0, False)}


def test_a_release_ends_the_lock_of_an_endless_task_and_no_other_tasks(
    emulator: Emulator, refused: Refused, call: Call
) -> None:
    emulator.inject(Fault(action=WRITE, kind=FaultKind.TASK_ENDLESS, seconds=60))
    call(WRITE, HALF_AND_HALF)
    emulator.release_lock("lb-shop")
    call(WRITE, HALF_AND_HALF)
    emulator.release_lock("lb-shop")

    assert refused(WRITE, HALF_AND_HALF) == "FailedOperation.ResourceInOperating"


def test_a_fault_whose_time_is_over_strikes_nobody(
    emulator: Emulator, refused: Refused, call: Call, advance: Advance
) -> None:
    emulator.inject(Fault(action="DescribeListeners", kind=FaultKind.THROTTLE, times=1000, lasts_seconds=60))
    shop = {"LoadBalancerId": "lb-shop"}

    assert refused("DescribeListeners", shop) == "RequestLimitExceeded"
    advance(59.9)
    assert refused("DescribeListeners", shop) == "RequestLimitExceeded"
    advance(0.1)
    assert call("DescribeListeners", shop)["TotalCount"] == 2
    assert emulator.faults.waiting == ()


def test_a_slow_write_lands_after_its_sender_has_given_up(
    emulator: Emulator, make_sdk: Callable[..., ClbClient]
) -> None:
    emulator.faults.inject(Fault(action=WRITE, kind=FaultKind.SLOW, seconds=0.3))

    with pytest.raises(TencentCloudSDKException) as caught:
        make_sdk(timeout_seconds=0.1).call_json(WRITE, HALF_AND_HALF)
    before = emulator.state()["tasks"]

    assert caught.value.code == "ClientNetworkError"
    assert before == []
    assert until(lambda: len(emulator.state()["tasks"]) == 1)


def test_a_slow_read_is_answered_in_the_end(emulator: Emulator, call: Call) -> None:
    emulator.faults.inject(Fault(action="DescribeListeners", kind=FaultKind.SLOW, seconds=0.1))
    begun = time.monotonic()

    answer = call("DescribeListeners", {"LoadBalancerId": "lb-shop"})

    assert answer["TotalCount"] == 2
    assert time.monotonic() - begun >= 0.1


@pytest.mark.parametrize(
    ("kind", "status", "outcome"),
    [
        (FaultKind.TASK_FAILS, 1, Outcome.NOTHING),
        (FaultKind.TASK_LIES, 0, Outcome.LIED),
    ],
)
def test_a_task_that_fails_or_lies_applies_nothing(
    emulator: Emulator, call: Call, advance: Advance, kind: FaultKind, status: int, outcome: Outcome
) -> None:
    emulator.faults.inject(Fault(action=WRITE, kind=kind))
    task_id = call(WRITE, HALF_AND_HALF)["RequestId"]
    advance(1)

    finished = call("DescribeTaskStatus", {"TaskId": task_id})

    assert finished["Status"] == status
    assert ("Message" in finished) == (status == 1)
    assert applied(emulator) == set()
    assert [record.outcome for record in emulator.log] == [outcome]


def test_a_half_applied_task_fails_and_leaves_some_of_it_behind(
    emulator: Emulator, call: Call, advance: Advance
) -> None:
    emulator.faults.inject(Fault(action=WRITE, kind=FaultKind.TASK_HALF))
    task_id = call(WRITE, HALF_AND_HALF)["RequestId"]
    advance(1)

    assert call("DescribeTaskStatus", {"TaskId": task_id})["Status"] == 1
    assert len(applied(emulator)) == 1
    assert [record.outcome for record in emulator.log] == [Outcome.HALF]


def test_a_fault_strikes_as_often_as_told_and_no_other_action(emulator: Emulator, refused: Refused, call: Call) -> None:
    emulator.faults.inject(Fault(action="DescribeTargets", kind=FaultKind.ERROR_BEFORE, times=2))
    shop = {"LoadBalancerId": "lb-shop"}

    assert call("DescribeListeners", shop)["TotalCount"] == 2
    assert [refused("DescribeTargets", shop) for _ in range(2)] == ["InternalError"] * 2
    assert call("DescribeTargets", shop)["Listeners"]


def test_a_fault_for_one_balancer_spares_the_others(emulator: Emulator, refused: Refused, call: Call) -> None:
    emulator.faults.inject(Fault(action="DescribeTargets", kind=FaultKind.ERROR_BEFORE, lb_id="lb-shop"))

    assert call("DescribeTargets", {"LoadBalancerId": "lb-tke"})["Listeners"]
    assert refused("DescribeTargets", {"LoadBalancerId": "lb-shop"}) == "InternalError"


def test_a_fault_on_task_status_knows_the_balancer_of_the_task(
    emulator: Emulator, refused: Refused, call: Call
) -> None:
    emulator.faults.inject(Fault(action="DescribeTaskStatus", kind=FaultKind.ERROR_BEFORE, lb_id="lb-shop"))
    task_id = call(WRITE, HALF_AND_HALF)["RequestId"]

    assert refused("DescribeTaskStatus", {"TaskId": task_id}) == "InternalError"


def test_a_task_fault_for_one_balancer_spares_the_others(emulator: Emulator, call: Call, advance: Advance) -> None:
    emulator.faults.inject(Fault(action=WRITE, kind=FaultKind.TASK_FAILS, lb_id="lb-tke"))
    emulator.faults.inject(Fault(action=WRITE, kind=FaultKind.TASK_LIES, lb_id="lb-shop"))
    task_id = call(WRITE, HALF_AND_HALF)["RequestId"]
    advance(1)

    assert call("DescribeTaskStatus", {"TaskId": task_id})["Status"] == 0
    assert applied(emulator) == set()


def test_a_busy_balancer_does_not_swallow_a_task_fault(emulator: Emulator, refused: Refused) -> None:
    emulator.hold_lock("lb-shop", 60)
    emulator.faults.inject(Fault(action=WRITE, kind=FaultKind.TASK_LIES))

    assert refused(WRITE, HALF_AND_HALF) == "FailedOperation.ResourceInOperating"
    assert [fault.kind for fault in emulator.faults.waiting] == [FaultKind.TASK_LIES]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(action="DescribeCats", kind=FaultKind.SLOW),
        Fault(action="DescribeTargets", kind=FaultKind.TASK_LIES),
        Fault(action="DescribeTargets", kind=FaultKind.QUOTA),
        Fault(action="DescribeTargets", kind=FaultKind.LOCKED),
        Fault(action=WRITE, kind=FaultKind.NULLS),
    ],
)
def test_a_fault_that_could_never_strike_is_refused(emulator: Emulator, fault: Fault) -> None:
    with pytest.raises(ValueError, match=f"{fault.kind} cannot strike '{fault.action}'; it can strike "):
        emulator.faults.inject(fault)


def test_only_so_many_faults_wait_at_a_time(emulator: Emulator) -> None:
    for _ in range(MAX_FAULTS):
        emulator.inject(Fault(action=WRITE, kind=FaultKind.SLOW))

    with pytest.raises(ValueError, match=f"{MAX_FAULTS} faults are waiting already"):
        emulator.inject(Fault(action=WRITE, kind=FaultKind.SLOW))


def test_a_person_can_order_a_fault_and_look_at_the_state(port: int, refused: Refused) -> None:
    with requests.Session() as session:
        session.trust_env = False
        lab = f"http://127.0.0.1:{port}/lab"
        order = {"action": WRITE, "kind": "throttle", "times": 2}
        ordered = session.post(f"{lab}/faults", json=order, timeout=5)
        code = refused(WRITE, HALF_AND_HALF)
        state = session.get(f"{lab}/state", timeout=5).json()

    assert ordered.status_code == 200
    assert code == "RequestLimitExceeded"
    assert [(fault["kind"], fault["times"]) for fault in state["faults"]] == [("throttle", 1)]
    assert state["balancers"][0]["rules"][0]["targets"][0] == {
        "kind": "CVM",
        "address": "ins-tcm1",
        "port": 30080,
        "weight": 100,
        "health": "Alive",
        "serving": 100,
    }
