"""The cloud: are the keys accepted, may they do what they must, and is each policy's route fit to be written.

Only what reads is called. That weights may be written cannot be tried without writing; that they have been is
in the history, and is all that can be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shifter.core.fleet import Fleet
from shifter.core.policy import ShiftPolicy
from shifter.core.splits import Health, Member, RouteView, Side, shown
from shifter.ports import OperationState
from shifter.service.checkup.findings import Finding, Group, Notes
from shifter.service.checkup.gathering import Outcome, Unanswered

NOBODYS_OPERATION: Final = "00000000-0000-0000-0000-000000000000"
"""An id that no operation has. To be told so takes the permission to ask."""

WRITE_ACTION: Final = "BatchModifyTargetWeight"
STATUS_ACTION: Final = "DescribeTaskStatus"

_SAID = re.compile(r"(?P<action>[A-Z]\w+): (?P<code>[A-Z]\w+(?:\.\w+)*): ")
_PLACE: Final = "edit spec.traffic.clb of the policy: region and loadBalancer must be those of the console"
_REMEDIES: Final = {
    "AuthFailure.SignatureExpire": "set this machine's clock by NTP (see clocks): timedatectl set-ntp true",
    "AuthFailure.TokenFailure": "renew the temporary key: id, key and token belong together (tokenFile)",
    "AuthFailure": "compare with CAM's list of keys; is it enabled? then write secretIdFile and secretKeyFile again",
    "credential file": "write one word into the file, readable for this user (see permissions)",
    "no load balancer": _PLACE,
    "ResourceNotFound": _PLACE,
    "LBIdNotFound": _PLACE,
    "UnsupportedRegion": _PLACE,
}
"""What mends a refusal, by words of its code, or of its text if it has none; the first that fits."""

_MESH: Final = {Side.SOURCE: "tcm", Side.TARGET: "istio"}


@dataclass(frozen=True, slots=True)
class CloudLook:
    """What the provider answered: the routes of each lock domain, and how it answers for an operation of nobody's."""

    domains: Mapping[str, Mapping[str, RouteView] | Unanswered]
    status: OperationState | Unanswered | None


def findings(
    seen: CloudLook, policies: Mapping[str, ShiftPolicy], fleet: Fleet, last_write: datetime | None
) -> Sequence[Finding]:
    """Return what is wrong with keys, permissions and routes.

    Args:
        seen: the provider's answers.
        policies: whose routes were asked for, by name.
        fleet: for the mode.
        last_write: when shifter last read back a write of its own; None if it never did.
    """
    notes = Notes(Group.PROVIDER)
    answered = [each for each in seen.domains.values() if not isinstance(each, Unanswered)]
    if answered:
        notes.ok("keys", "accepted")
    for domain, found in seen.domains.items():
        if isinstance(found, Unanswered):
            _unanswered(notes, domain, found)
    _status(notes, seen.status)
    _writes(notes, fleet, last_write)
    for policy in policies.values():
        _policy(notes, policy, seen)
    return notes.found


def _unanswered(notes: Notes, subject: str, found: Unanswered) -> None:
    if found.outcome is Outcome.BROKEN:
        notes.unknown(subject, found.why, "report it with `shifter bundle`")
    elif found.outcome is Outcome.REFUSED:
        notes.problem(subject, found.why, remedy(found.why))
    elif "RequestLimitExceeded" in found.why or "RateLimitExceeded" in found.why:
        fix = "somebody else uses up the account's calls: lower spec.provider.tencent.requestsPerSecond, look again"
        notes.unknown(subject, found.why, fix, unreachable=True)
    else:
        fix = "see whether this machine reaches the endpoint of spec.provider.tencent, then look again"
        notes.unknown(subject, found.why, fix, unreachable=True)


def remedy(text: str) -> str:
    """Return what mends a refusal, by the action and the code that are in its text.

    Codes: product document 1140/51177, and `tencentcloud/clb/v20180317/errorcodes.py`.
    """
    said = _SAID.match(text)
    action, code = (said["action"], said["code"]) if said else ("", text)
    if "UnauthorizedOperation" in code:
        return f"allow it to this key in CAM: {statement(action)}"
    for words, fix in _REMEDIES.items():
        if words in code:
            return fix
    return "look the code up in Tencent's documents, or give them the request id"


def statement(action: str) -> str:
    """Return the line of a CAM policy that allows one action."""
    return f'{{"effect": "allow", "action": ["clb:{action}"], "resource": ["*"]}}'


def _status(notes: Notes, status: OperationState | Unanswered | None) -> None:
    """An unknown operation is refused by whoever may be asked at all; which code the real API uses is not known."""
    subject = f"clb:{STATUS_ACTION}"
    if status is None:
        return
    if not isinstance(status, Unanswered):
        notes.ok(subject, "allowed")
    elif status.outcome is Outcome.REFUSED and "UnauthorizedOperation" not in status.why:
        if "AuthFailure" not in status.why and "credential file" not in status.why:
            notes.ok(subject, "allowed: an operation that does not exist was not found")
        # Otherwise it is the keys, which the routes tell already.
    else:
        _unanswered(notes, subject, status)


def _writes(notes: Notes, fleet: Fleet, last_write: datetime | None) -> None:
    subject = f"clb:{WRITE_ACTION}"
    if last_write is not None:
        notes.ok(subject, f"a write was last carried out and read back at {last_write:%Y-%m-%d %H:%M:%S} UTC")
    elif fleet.spec.mode == "observe":
        notes.ok(subject, "not needed in mode observe; before `act`, allow it to this key")
    else:
        text = "whether the key may write cannot be tried without writing, and nothing has been written yet"
        notes.untried(subject, text, f"see that CAM allows it: {statement(WRITE_ACTION)}")


def _policy(notes: Notes, policy: ShiftPolicy, seen: CloudLook) -> None:
    shares: set[float] = set()
    for route in policy.routes:
        found = seen.domains.get(route.domain)
        if found is None or isinstance(found, Unanswered):
            continue  # told once, for the whole domain
        subject, view = f"{policy.name} {route.id}", found.get(route.id)
        if view is None:
            notes.unknown(subject, "the provider answered without it", "look again")
            continue
        _route(notes, subject, view)
        if view.share is not None:
            shares.add(round(view.share))
    if len(shares) > 1:
        text = f"its routes carry different shares: istio {', '.join(f'{share} %' for share in sorted(shares))}"
        notes.warning(policy.name, text, f"nothing while a write is under way; else: shifter describe {policy.name}")


def _route(notes: Notes, subject: str, view: RouteView) -> None:
    if view.refusal is not None:
        notes.problem(subject, view.refusal, "mend the CLB or the policy: docs/providers.md, 'What is refused'")
    text = f"{shown(view.share)}; {'; '.join(_side(view, side) for side in Side)}"
    if view.settle_seconds:
        text += f"; lags up to {view.settle_seconds:g} s behind new weights"
    if view.refusal is None:
        notes.ok(subject, text)
    elif view.members:
        notes.ok(f"{subject} members", text)
    for warning in view.warnings:
        notes.warning(subject, warning, "works, with this in mind: docs/providers.md, 'What is a warning'")
    for side in Side:
        members = _members(view, side)
        if members and all(member.health is Health.DEAD for member in members):
            what = "there is no way back" if side is Side.SOURCE else "no step can be taken"
            fix = "see the gateway's pods, and the health check of the CLB's rule (port, path, security group)"
            notes.problem(subject, f"{_MESH[side]} has no healthy member: {what}", fix)


def _side(view: RouteView, side: Side) -> str:
    members = _members(view, side)
    healthy = sum(member.health is not Health.DEAD for member in members)
    weights = ",".join(str(member.weight) for member in members)
    return f"{_MESH[side]} {healthy}/{len(members)} healthy, weights {weights or 'none'}"


def _members(view: RouteView, side: Side) -> Sequence[Member]:
    return [member for member in view.members if member.side is side]
