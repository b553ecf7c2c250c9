"""Tencent Cloud's API v3 for CLB, emulated: as unkind as the real one, and sharing no code with shifter.

It is the other side of the wire. Nothing here imports shifter's adapters or Tencent's SDK (import-linter
enforces it), so a mistake in one cannot hide in the other; the tests drive it with the official SDK, unmodified.

Reproduced (sources: the SDK's models and error codes, the official samples, product documents 214/33789,
213/30654, 1140/51177):

- TC3-HMAC-SHA256 verified over the raw bytes, five minutes of clock skew, one key pair.
- HTTP 200 for answers and refusals alike, and exactly `application/json`.
- Refusal of unknown parameters at any depth, of wrong JSON types, of ranges and of list lengths.
- An omitted weight becomes 10. A target is addressed the way it was bound: a CVM by InstanceId, an ENI by EniIp.
- Layer 4: Targets, and Rules null. Layer 7: Rules, and Targets null. Health: Rules for both.
- Writes are tasks named by their RequestId; one operation per balancer at a time; 20 calls a second per action.
- The samples' contradictions: `cvm` and `CVM`, `null` and `[]`, a HealthStatusDetail against its HealthStatus; and
  on command null in the fields that the SDK's models call nullable (`nulls`).
- All targets dead means all targets serve. A rule holds 200 targets at most.
- Faults on command, on the wire and inside tasks (`faults`): also a connection that is reset or closed in the middle
  of an answer (`wire`), a task that never ends, a quota that is exhausted.
- Other actors (`neighbours`, `tke`): a person in the console, health checks, an autoscaler, somebody else's lock, and
  TKE, which writes back what was declared to it. A person orders them under `/lab/` (`controls`); `weather` draws
  faults and doings from a seed.

Not reproduced: other services and actions; GET and the older signature methods; Chinese messages (whatever
X-TC-Language says); CAM permissions; the clock of health checks; session persistence and connections that outlive
a weight of 0, which are the data plane's; filters that `actions` refuses with UnsupportedOperation; DescribeQuota,
and quotas other than the targets of a rule, which are met on command only; TKE's registering, unregistering and
weighing of targets as calls of the API (its resync is there at once, then keeps the lock for a task's time).

Unproven, because no source says it; each is answered in the way that hurts a careless client most, or not at all:

- All weights 0 in one rule: accepted, serves nobody, and stays visible as `WriteRecord.darkened`.
- All targets dead, some with weight 0: the dead ones with weight serve. Only weight-0 targets alive: nobody does.
- Error codes for an unknown target or task (InvalidParameter), for a target named twice (.Duplicate), for a
  LocationId on layer 4 (.LocationNotFound), for a rule bound to a target group (UnsupportedOperation; its
  DescribeTargets lists nothing); which of several refusals comes first.
- Unknown ids: refused in DescribeListeners and DescribeTargets, left out in the filters of DescribeTargetHealth
  and in DescribeLoadBalancers.
- HealthStatus while the check is off (true, with detail Close); TargetId and InstanceId of an ENI target.
- Partial application of a failed task, a task that never ends and what ends its lock, how long a lock outlasts its
  task: faults and settings.
- Whether a resync of TKE in which nothing else changed resets weights: it does here.
- Which code an exhausted quota has for a write of weights (LimitExceeded), and whether there is one at all.
"""

from shifter.lab.emulator.balancers import (
    Health,
    Listener,
    LoadBalancer,
    Rule,
    RuleKey,
    Target,
    TargetGroup,
    TargetKey,
    TargetKind,
)
from shifter.lab.emulator.cloud import Outcome, WriteRecord
from shifter.lab.emulator.emulator import Emulator
from shifter.lab.emulator.faults import Fault, FaultKind

__all__ = [
    "Emulator",
    "Fault",
    "FaultKind",
    "Health",
    "Listener",
    "LoadBalancer",
    "Outcome",
    "Rule",
    "RuleKey",
    "Target",
    "TargetGroup",
    "TargetKey",
    "TargetKind",
    "WriteRecord",
]
