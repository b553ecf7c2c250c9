"""The actions the emulator answers: which parameters each allows, and what it does.

One table, `ACTIONS`; an action that is not in it is an InvalidAction. Parameters that the real action has and the
emulator does not act on are refused with UnsupportedOperation rather than ignored: an ignored filter would return
too much and look right. Order of a write: shape, existence, state of the balancer, lock; then a task.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from shifter.lab.emulator import shapes
from shifter.lab.emulator.balancers import MAX_TARGETS, MAX_WEIGHT, PROTOCOLS, Listener, LoadBalancer, Rule
from shifter.lab.emulator.cloud import Cloud, Fate, Task
from shifter.lab.emulator.envelope import ApiError
from shifter.lab.emulator.faults import TASK_FATES, TASK_KINDS, Fault, Faults
from shifter.lab.emulator.parameters import Many, Structure, Text, Whole
from shifter.lab.emulator.writes import Changes, changes_of, find_listener

Json = Mapping[str, Any]
_BATCH_TARGETS_AT_MOST = 500

_BUSY = (
    "Loadbalancer({}) is not in normal desState, maybe some tasks are being processed, please try later.",
    "Your task is working (DelQLBL4ListenerDevice). Pls wait for the task to complete and try again.",
)
"""How the real API words one and the same code, as other people's controllers have met it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a write takes: a delay drawn from `delay_seconds`, and a lock that may outlast the task."""

    delay_seconds: tuple[float, float]
    lock_linger_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Everything a handler may use: what was asked, of which cloud, when."""

    action: str
    parameters: Json
    request_id: str
    now: float
    region: str
    cloud: Cloud
    faults: Faults
    rng: random.Random
    pace: Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One row of the table. `unsupported` are parameters of the real action that the emulator refuses."""

    parameters: Structure
    handle: Callable[[Call], Json]
    writes: bool = False
    unsupported: frozenset[str] = frozenset()


def _describe_load_balancers(call: Call) -> Json:
    asked = call.parameters
    tests: list[Callable[[LoadBalancer], bool]] = [_tag_test(one) for one in asked.get("Filters", [])]
    if "LoadBalancerIds" in asked:
        tests.append(lambda balancer: balancer.load_balancer_id in asked["LoadBalancerIds"])
    if "LoadBalancerType" in asked:
        tests.append(lambda balancer: balancer.kind == asked["LoadBalancerType"])
    if "Forward" in asked:
        tests.append(lambda balancer: int(balancer.forward) == asked["Forward"])
    if "LoadBalancerName" in asked:
        tests.append(lambda balancer: asked["LoadBalancerName"] in balancer.name)
    if "LoadBalancerVips" in asked:
        tests.append(lambda balancer: not set(asked["LoadBalancerVips"]).isdisjoint(balancer.vips))
    if "VpcId" in asked:
        tests.append(lambda balancer: balancer.vpc_id == asked["VpcId"])
    found = [balancer for balancer in call.cloud.balancers if all(test(balancer) for test in tests)]
    offset = asked.get("Offset", 0)
    page = found[offset : offset + asked.get("Limit", 20)]
    return {
        "TotalCount": len(found),
        "LoadBalancerSet": [shapes.load_balancer(balancer, call.region) for balancer in page],
    }


def _tag_test(one: Json) -> Callable[[LoadBalancer], bool]:
    name, values = one["Name"], one["Values"]
    if name == "tag-key":
        return lambda balancer: any(key in values for key, _ in balancer.tags)
    if name.startswith("tag:"):
        return lambda balancer: any(key == name[4:] and value in values for key, value in balancer.tags)
    raise ApiError("UnsupportedOperation", f"The emulator does not filter load balancers by {name}.")


def _describe_listeners(call: Call) -> Json:
    shown = _asked_listeners(call)
    return {"TotalCount": len(shown), "Listeners": [shapes.listener(listener) for listener in shown]}


def _describe_targets(call: Call) -> Json:
    filters = {one["Name"]: one["Values"] for one in call.parameters.get("Filters", [])}
    if not filters.keys() <= {"location-id", "private-ip-address"}:
        raise ApiError("InvalidParameter.InvalidFilter", "Only location-id and private-ip-address are filters here.")
    backends = []
    for listener in _asked_listeners(call):
        rules = tuple(
            _only_private_ips(rule, filters.get("private-ip-address"))
            for rule in listener.rules
            if "location-id" not in filters or (listener.is_l7 and rule.location_id in filters["location-id"])
        )
        if rules or not filters:
            backends.append(shapes.listener_backend(listener, rules, call.rng))
    return {"Listeners": backends}


def _asked_listeners(call: Call) -> list[Listener]:
    """Return the listeners that ListenerIds, Protocol and Port leave; every id named must exist."""
    balancer, asked = _balancer(call), call.parameters
    named = [find_listener(balancer, listener_id) for listener_id in asked.get("ListenerIds", [])]
    return [
        listener
        for listener in balancer.listeners
        if (not named or listener in named)
        and asked.get("Protocol", listener.protocol) == listener.protocol
        and asked.get("Port", listener.port) == listener.port
    ]


def _only_private_ips(rule: Rule, ips: list[str] | None) -> Rule:
    # What a rule bound to a target group lists here is not documented; nothing is the answer that misleads least.
    shown = () if rule.target_type != "NODE" else rule.targets
    return replace(rule, targets=tuple(target for target in shown if ips is None or target.ip in ips))


def _describe_target_health(call: Call) -> Json:
    balancers = [_known(call.cloud, lb_id) for lb_id in call.parameters["LoadBalancerIds"]]
    listener_ids = call.parameters.get("ListenerIds")
    location_ids = call.parameters.get("LocationIds")
    answer = []
    for balancer in balancers:
        listeners = []
        for listener in balancer.listeners:
            rules = tuple(rule for rule in listener.rules if not location_ids or rule.location_id in location_ids)
            if (not listener_ids or listener.listener_id in listener_ids) and (rules or not location_ids):
                listeners.append(shapes.listener_health(listener, rules, call.rng))
        answer.append(
            {
                "LoadBalancerId": balancer.load_balancer_id,
                "LoadBalancerName": balancer.name,
                "Listeners": listeners,
            }
        )
    return {"LoadBalancers": answer}


def _describe_task_status(call: Call) -> Json:
    task_id = call.parameters.get("TaskId")
    if not task_id and not call.parameters.get("DealName"):
        raise ApiError("MissingParameter", "Either TaskId or DealName is required.")
    task = call.cloud.task(task_id) if task_id else None
    if task is None:
        raise ApiError("InvalidParameter", "There is no such task.")
    answer = {"Status": int(task.status), "LoadBalancerIds": [task.lb_id]}
    return {**answer, "Message": task.message} if task.message else answer


def _modify_target_weight(call: Call) -> Json:
    return _write(call, [call.parameters])


def _batch_modify_target_weight(call: Call) -> Json:
    items = call.parameters["ModifyList"]
    total = sum(len(item["Targets"]) for item in items)
    if total > _BATCH_TARGETS_AT_MOST:
        raise ApiError(
            "InvalidParameterValue.Length",
            f"All Targets together are at most {_BATCH_TARGETS_AT_MOST}, these are {total}.",
        )
    return _write(call, items)


def _write(call: Call, items: list[Json]) -> Json:
    balancer = _balancer(call)
    lb_id = balancer.load_balancer_id
    if not balancer.forward:
        raise ApiError("UnsupportedOperation", f"{lb_id} is a classic load balancer.")
    changes = changes_of(balancer, items)
    if not balancer.running or balancer.isolated:
        raise ApiError("FailedOperation.InvalidLBStatus", f"The status of {lb_id} does not allow this.")
    if call.cloud.is_locked(lb_id, call.now):
        raise ApiError("FailedOperation.ResourceInOperating", call.rng.choice(_BUSY).format(lb_id))
    fault = call.faults.take(call.action, {lb_id}, TASK_KINDS)
    _submit(call, lb_id, changes, fault)
    return {}


def _submit(call: Call, lb_id: str, changes: Changes, fault: Fault | None) -> None:
    fate = Fate.SUCCEED if fault is None else TASK_FATES[fault.kind]
    due_at = call.now + call.rng.uniform(*call.pace.delay_seconds)
    locked_until = due_at + call.pace.lock_linger_seconds
    if fault is not None and fate is Fate.ENDLESS:
        due_at, locked_until = math.inf, call.now + fault.seconds
    task = Task(
        task_id=call.request_id,
        lb_id=lb_id,
        action=call.action,
        changes=changes,
        due_at=due_at,
        fate=fate,
    )
    call.cloud.submit(task, locked_until=locked_until)


def _balancer(call: Call) -> LoadBalancer:
    return _known(call.cloud, call.parameters["LoadBalancerId"])


def _known(cloud: Cloud, lb_id: str) -> LoadBalancer:
    balancer = cloud.balancer(lb_id)
    if balancer is None:
        raise ApiError("InvalidParameter.LBIdNotFound", f"Load balancer {lb_id} is not found.")
    return balancer


_ID = Text(required=True)
_IDS = Many(of=Text(), at_most=1000)
_PORT = Whole(low=1, high=65535)
_WEIGHT = Whole(low=0, high=MAX_WEIGHT)
_PROTOCOL = Text(one_of=PROTOCOLS)
_FILTERS = Many(
    of=Structure(members={"Name": _ID, "Values": Many(of=Text(), at_least=1, at_most=100, required=True)}),
    at_most=10,
)
_TARGET = Structure(
    members={
        "Port": replace(_PORT, required=True),
        "Type": Text(),
        "InstanceId": Text(),
        "EniIp": Text(),
        "Weight": _WEIGHT,
        "Tag": Text(),
    }
)
_RULE: Mapping[str, Any] = {
    "ListenerId": _ID,
    "LocationId": Text(),
    "Domain": Text(),
    "Url": Text(),
    "Weight": _WEIGHT,
}
_LB_FILTERS_NOT_EMULATED: Mapping[str, Any] = {
    "Domain": Text(),
    "BackendPublicIps": _IDS,
    "BackendPrivateIps": _IDS,
    "OrderBy": Text(),
    "OrderType": Whole(low=0, high=1),
    "SearchKey": Text(),
    "ProjectId": Whole(low=-1, high=2**63),
    "WithRs": Whole(low=-1, high=1),
    "SecurityGroup": Text(),
    "MasterZone": Text(),
    "AdditionalFields": _IDS,
}

ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "DescribeLoadBalancers": Action(
            parameters=Structure(
                members={
                    "LoadBalancerIds": Many(of=Text(), at_most=20),
                    "LoadBalancerType": Text(one_of=frozenset({"OPEN", "INTERNAL"})),
                    "Forward": Whole(low=0, high=1),
                    "LoadBalancerName": Text(),
                    "LoadBalancerVips": _IDS,
                    "VpcId": Text(),
                    "Offset": Whole(low=0, high=2**31),
                    "Limit": Whole(low=1, high=100),
                    "Filters": _FILTERS,
                    **_LB_FILTERS_NOT_EMULATED,
                }
            ),
            handle=_describe_load_balancers,
            unsupported=frozenset(_LB_FILTERS_NOT_EMULATED),
        ),
        "DescribeListeners": Action(
            parameters=Structure(
                members={
                    "LoadBalancerId": _ID,
                    "ListenerIds": Many(of=Text(), at_most=100),
                    "Protocol": _PROTOCOL,
                    "Port": _PORT,
                }
            ),
            handle=_describe_listeners,
        ),
        "DescribeTargets": Action(
            parameters=Structure(
                members={
                    "LoadBalancerId": _ID,
                    "ListenerIds": Many(of=Text(), at_most=20),
                    "Protocol": _PROTOCOL,
                    "Port": _PORT,
                    "Filters": _FILTERS,
                }
            ),
            handle=_describe_targets,
        ),
        "DescribeTargetHealth": Action(
            parameters=Structure(
                members={
                    "LoadBalancerIds": Many(of=Text(), at_least=1, at_most=30, required=True),
                    "ListenerIds": _IDS,
                    "LocationIds": _IDS,
                }
            ),
            handle=_describe_target_health,
        ),
        "DescribeTaskStatus": Action(
            parameters=Structure(members={"TaskId": Text(), "DealName": Text()}),
            handle=_describe_task_status,
        ),
        "ModifyTargetWeight": Action(
            parameters=Structure(
                members={
                    "LoadBalancerId": _ID,
                    **_RULE,
                    # No limit is documented here; a rule holds no more.
                    "Targets": Many(of=_TARGET, at_least=1, at_most=MAX_TARGETS, required=True),
                }
            ),
            handle=_modify_target_weight,
            writes=True,
        ),
        "BatchModifyTargetWeight": Action(
            parameters=Structure(
                members={
                    "LoadBalancerId": _ID,
                    "ModifyList": Many(
                        of=Structure(
                            members={**_RULE, "Targets": Many(of=_TARGET, at_least=1, at_most=50, required=True)}
                        ),
                        at_least=1,
                        at_most=100,
                        required=True,
                    ),
                }
            ),
            handle=_batch_modify_target_weight,
            writes=True,
        ),
    }
)
