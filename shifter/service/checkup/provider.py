"""The cloud: are the keys accepted, may they do what they must, and is each policy's route fit to be written.

Only what reads is called. That weights may be written cannot be tried without writing; that they have been is
in the history, and is all that can be told. What mends a refusal comes with it, from whoever knows the provider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shifter.core.balancing.splits import Health, Member, RouteView, Side, shown
from shifter.core.documents.fleet import Fleet
from shifter.core.documents.policy import ShiftPolicy
from shifter.ports import OperationState
from shifter.service.checkup.findings import UNREACHED, Finding, Group, Notes
from shifter.service.checkup.gathering import Outcome, Unanswered

NOBODYS_OPERATION: Final = "00000000-0000-0000-0000-000000000000"
"""An id that no operation has. To be told so takes the permission to ask."""

_LOOK_IT_UP: Final = "look the code up in the provider's documents, or give its support the request id"
_STATUS: Final = "operations"
_WRITES: Final = "writes"
_MESH: Final = {Side.SOURCE: "tcm", Side.TARGET: "istio"}


@dataclass(frozen=True, slots=True)
class CloudLook:
    """What the provider answered: the routes of each lock domain, and how it answers for an operation of nobody's."""

    domains: Mapping[str, Mapping[str, RouteView] | Unanswered]
    status: OperationState | Unanswered | None


@dataclass(frozen=True, slots=True)
class Writes:
    """What is known of writing: when one was last read back (None: never), what permits it, and for which shifts."""

    last: datetime | None
    permission: str
    shifts: frozenset[str] = frozenset()


def findings(seen: CloudLook, policies: Mapping[str, ShiftPolicy], fleet: Fleet, writes: Writes) -> Sequence[Finding]:
    """Return what is wrong with keys, permissions and routes.

    Args:
        seen: the provider's answers.
        policies: whose routes were asked for, by name.
        fleet: for the mode.
        writes: what is known of writing without trying it.
    """
    notes = Notes(Group.PROVIDER)
    answered = [each for each in seen.domains.values() if not isinstance(each, Unanswered)]
    if answered:
        notes.ok("keys", "accepted")
    for domain, found in seen.domains.items():
        if isinstance(found, Unanswered):
            _unanswered(notes, domain, found)
    _status(notes, seen)
    _writes(notes, fleet, writes)
    for policy in policies.values():
        _policy(notes, policy, seen, written=policy.name in writes.shifts)
    return notes.found


def _unanswered(notes: Notes, subject: str, found: Unanswered) -> None:
    if found.outcome is Outcome.BROKEN:
        notes.unknown(subject, found.why, "report it with `shifter bundle`")
    elif found.outcome is Outcome.REFUSED:
        notes.problem(subject, found.why, found.remedy or _LOOK_IT_UP)
    else:
        notes.unknown(subject, found.why, found.remedy or UNREACHED, unreachable=True)


def _status(notes: Notes, seen: CloudLook) -> None:
    """Tell whether operations may be asked for.

    An unknown one is refused to whoever may ask at all, with nothing for us to mend; in which words is not known. A
    refusal that can be mended is one of us, and if it is one of the keys as such, the routes tell it already.
    """
    status = seen.status
    if status is None:
        return
    if not isinstance(status, Unanswered):
        notes.ok(_STATUS, "allowed")
    elif status.outcome is not Outcome.REFUSED:
        _unanswered(notes, _STATUS, status)
    elif not status.remedy:
        notes.ok(_STATUS, "allowed: an operation that does not exist was not found")
    elif status.remedy not in {each.remedy for each in seen.domains.values() if isinstance(each, Unanswered)}:
        _unanswered(notes, _STATUS, status)


def _writes(notes: Notes, fleet: Fleet, writes: Writes) -> None:
    if writes.last is not None:
        notes.ok(_WRITES, f"one was last carried out and read back at {writes.last:%Y-%m-%d %H:%M:%S} UTC")
    elif fleet.spec.mode == "observe":
        notes.ok(_WRITES, "not needed in mode observe; before `act`, allow them to this key")
    else:
        text = "whether the key may write cannot be tried without writing, and nothing has been written yet"
        notes.untried(_WRITES, text, writes.permission)


def _policy(notes: Notes, policy: ShiftPolicy, seen: CloudLook, *, written: bool) -> None:
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
        if not written and view.refusal is None and (view.share is None or view.share > 0):
            _stray(notes, policy.name, subject, view)
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


def _stray(notes: Notes, name: str, subject: str, view: RouteView) -> None:
    """Tell a route on which the first step would be held, or of which nobody knows which side is which."""
    text = f"it is at {shown(view.share)}, though shifter has never written it: its shift would hold"
    if view.is_reversed:
        notes.problem(subject, text, "are source and target swapped in the policy? else there is nothing to shift")
    else:
        fix = f"give istio's members weight 0 in the CLB, or once it runs: shifter reconcile {name} --restore"
        notes.problem(subject, text, fix)


def _side(view: RouteView, side: Side) -> str:
    members = _members(view, side)
    healthy = sum(member.health is not Health.DEAD for member in members)
    weights = ",".join(str(member.weight) for member in members)
    return f"{_MESH[side]} {healthy}/{len(members)} healthy, weights {weights or 'none'}"


def _members(view: RouteView, side: Side) -> Sequence[Member]:
    return [member for member in view.members if member.side is side]
