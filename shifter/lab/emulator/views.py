"""What a person sees of the balancers on `/lab/state`: plain values, no API envelope, no quirks."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from shifter.lab.emulator.balancers import Listener, LoadBalancer, Rule, serving
from shifter.lab.emulator.cloud import Task
from shifter.lab.emulator.faults import Fault
from shifter.lab.emulator.tke import Declaration

Json = Mapping[str, Any]


def balancer_view(balancer: LoadBalancer, *, locked: bool) -> Json:
    """Return one balancer with every rule's targets."""
    return {
        "lb_id": balancer.load_balancer_id,
        "name": balancer.name,
        "locked": locked,
        "rules": [_rule_view(listener, rule) for listener, rule in balancer.rules()],
    }


def task_view(task: Task) -> Json:
    """Return one task; `status` is DescribeTaskStatus's number, and one that never ends is due at no time."""
    return {
        "task_id": task.task_id,
        "lb_id": task.lb_id,
        "action": task.action,
        "status": int(task.status),
        "due_at": task.due_at if task.due_at < math.inf else None,
        "fate": task.fate.value,
        "message": task.message,
    }


def fault_view(fault: Fault) -> Json:
    """Return a waiting fault, with the times it has left."""
    return asdict(fault)


def declaration_view(declared: Declaration) -> Json:
    """Return what TKE holds for the truth about one rule."""
    return {
        "lb_id": declared.lb_id,
        "listener_id": declared.rule.listener_id,
        "location_id": declared.rule.location_id,
        "weights": {f"{key.address}:{key.port}": target.weight for key, target in declared.targets.items()},
        "every_seconds": declared.every_seconds,
        "members": declared.members,
    }


def _rule_view(listener: Listener, rule: Rule) -> Json:
    served = serving(rule)
    return {
        "listener_id": listener.listener_id,
        "location_id": listener.key(rule).location_id,
        "protocol": listener.protocol,
        "domain": rule.domain,
        "url": rule.url,
        "targets": [
            {
                "kind": target.kind.value,
                "address": target.key.address,
                "port": target.port,
                "weight": target.weight,
                "health": target.health.value,
                "serving": served.get(target.key, 0),
            }
            for target in rule.targets
        ],
    }
