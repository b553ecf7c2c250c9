"""The whole check-up: first what the files say, then everybody they name, at the same time and bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from shifter.core.balancing.splits import Route, RouteView, Side
from shifter.core.deciding.pinning import GATEWAY
from shifter.core.documents.fleet import Fleet
from shifter.core.documents.policy import ShiftPolicy
from shifter.ports import Operation, OperationState, ProviderClock, TrafficProvider
from shifter.service.checkup import capacity, clocks, datasources, learning, machine, provider, versions
from shifter.service.checkup.configuration import Configuration, read_configuration
from shifter.service.checkup.doors import Context, Kept, StoreDoor
from shifter.service.checkup.findings import Finding, Group, Level, Notes
from shifter.service.checkup.gathering import Bounds, Errand, Outcome, Unanswered, gather
from shifter.service.policy_files import PolicyFolder

FILES: Final = Bounds(each_seconds=4.0, whole_seconds=4.0)
"""For the files: on a disk that hangs, nothing else can be looked at."""

LEARNT_FROM: Final = "source"
"""Whose past a shift learns from."""

OTHERS: Final = Bounds(each_seconds=20.0, whole_seconds=24.0, at_once=16 + 10)
"""For everybody else. A call of the SDK's may take three timeouts of 2.5 s, a read of Prometheus four of 5 s.

So many at a time that the ten questions to an API server that hangs keep nobody else waiting.
"""


@dataclass(frozen=True, slots=True)
class Outside:
    """The parties that a fleet names. `write_permission` is what grants the keys the one call that writes.

    `gateway` and `deployment` are of the source's cluster, as the service has them, `target_gateway` and
    `target_deployment` of the target's; None where the fleet names none.
    """

    meshes: tuple[datasources.MeshSource, ...]
    provider: TrafficProvider
    provider_clock: ProviderClock
    write_permission: str
    gateway: capacity.Examined | None = None
    deployment: Callable[[str], capacity.Examined] | None = None
    target_gateway: capacity.Examined | None = None
    target_deployment: Callable[[str], capacity.Examined] | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a check-up looks at, and how.

    `fleet` and `policies` are None if nobody named them. `outside` makes the parties of a fleet, `folder_for` reads
    policies by its rules. `now` is an aware time, `monotonic` seconds that only grow.
    """

    fleet: Path | None
    policies: Path | None
    store: StoreDoor
    folder_for: Callable[[Fleet | None], PolicyFolder]
    outside: Callable[[Fleet], Outside]
    machine: machine.Machine
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    versions: Callable[[], versions.Versions] = versions.installed


@dataclass(slots=True)
class _Asked:
    """Everything that was asked of others."""

    meshes: Mapping[str, Errand[datasources.MeshLook]]
    pasts: Mapping[str, Errand[learning.Remembered]]
    domains: Mapping[str, Errand[Mapping[str, RouteView]]]
    status: Errand[OperationState] | None
    clock: Errand[clocks.Offset]
    workloads: Mapping[str, Errand[capacity.CapacityLook]]


def examine(
    around: Surroundings, *, offline: bool = False, files: Bounds = FILES, others: Bounds = OTHERS
) -> tuple[Finding, ...]:
    """Return all findings, by group. Takes about as long as both bounds together at most, and changes nothing.

    Args:
        around: what to look at.
        offline: ask nobody outside this machine.
        files: how long files are waited for.
        others: how long everybody else is waited for.
    """
    read = Errand(partial(read_configuration, around.fleet, around.policies, around.folder_for))
    gather([read], files, around.monotonic)
    found = read.answer if isinstance(read.answer, Configuration) else Configuration()
    kept = around.store.survey(offline=offline)
    local = Errand(partial(machine.findings, found.fleet, around.store.file, around.machine))
    installed = Errand(lambda: versions.findings(around.versions()))
    outside = None if offline or found.fleet is None else around.outside(found.fleet)
    asked = None
    if outside is not None and found.fleet is not None:
        asked = _errands(outside, found.fleet, found.policies or {}, around.now)
    gather([*kept.errands, local, installed, *(_all(asked) if asked else ())], others, around.monotonic)
    told = [
        *_or_unknown(read.answer, Group.CONFIG, found.findings),
        *_or_unknown(installed.answer, Group.VERSIONS, installed.answer),
        *_or_unknown(local.answer, Group.PERMISSIONS, local.answer),
        *kept.findings(Context(found.fleet, found.policies, around.now())),
    ]
    if found.fleet is not None and outside is not None and asked is not None:
        told += _judged(found.fleet, found.policies or {}, outside, asked, kept.kept())
    else:
        told += _not_asked(_why_nobody(around.fleet, offline=offline))
    order = list(Group)
    return tuple(sorted(told, key=lambda each: order.index(each.group)))


def _why_nobody(fleet: Path | None, *, offline: bool) -> str:
    if offline:
        return "--offline: nobody was asked"
    return f"not asked: {'no fleet file was named' if fleet is None else 'the fleet file cannot be used'}"


def _errands(
    outside: Outside, fleet: Fleet, policies: Mapping[str, ShiftPolicy], now: Callable[[], datetime]
) -> _Asked:
    routes: dict[str, list[Route]] = {}
    for policy in policies.values():
        for route in policy.routes:
            routes.setdefault(route.domain, []).append(route)
    first = min(routes, default=None)
    known = tuple(policies.values())

    def seconds() -> float:
        return now().timestamp()

    return _Asked(
        meshes={each.name: Errand(partial(datasources.look, each, known, seconds)) for each in outside.meshes},
        pasts={
            each.name: Errand(partial(learning.look, each, fleet, policies, seconds))
            for each in outside.meshes
            if each.key == LEARNT_FROM
        },
        domains={each: Errand(partial(outside.provider.observe, tuple(routes[each]))) for each in sorted(routes)},
        status=None if first is None else Errand(partial(_status_of_nobody, outside.provider, first)),
        clock=Errand(partial(clocks.measure, outside.provider_clock, seconds)),
        workloads={
            name: Errand(partial(capacity.look, each, pinned=not capacity.is_targets(name)))
            for name, each in _workloads(outside, known).items()
        },
    )


def _workloads(outside: Outside, policies: Sequence[ShiftPolicy]) -> Mapping[str, capacity.Examined]:
    """Return what is to be looked at in both clusters, by what it is called in findings."""
    found: dict[str, capacity.Examined] = {}
    names = sorted({name for policy in policies for name in policy.spec.way_back.deployments})
    for side, gateway, made in (
        (Side.SOURCE, outside.gateway, outside.deployment),
        (Side.TARGET, outside.target_gateway, outside.target_deployment),
    ):
        if gateway is not None and made is not None:
            found |= {capacity.subject(side, name): made(name) for name in names}
            found[capacity.subject(side, GATEWAY)] = gateway
    return found


def _status_of_nobody(asked: TrafficProvider, domain: str) -> OperationState:
    return asked.check(Operation(domain, provider.NOBODYS_OPERATION))


def _all(asked: _Asked) -> Sequence[Errand[Any]]:
    """Return the errands so that every party's first one is among the first."""
    status = [] if asked.status is None else [asked.status]
    cluster = asked.workloads.values()
    return [*asked.meshes.values(), asked.clock, *status, *cluster, *asked.domains.values(), *asked.pasts.values()]


def _judged(
    fleet: Fleet, policies: Mapping[str, ShiftPolicy], outside: Outside, asked: _Asked, kept: Kept
) -> Sequence[Finding]:
    looks = {name: errand.answer for name, errand in asked.meshes.items()}
    offsets = {name: each if isinstance(each, Unanswered) else each.offset for name, each in looks.items()}
    cloud = provider.CloudLook(
        {domain: errand.answer for domain, errand in asked.domains.items()},
        None if asked.status is None else asked.status.answer,
    )
    writes = provider.Writes(kept.last_write, outside.write_permission, kept.written)
    return [
        *clocks.findings(offsets, asked.clock.answer, outside.provider_clock.tolerance_seconds, fleet.spec.timing),
        *datasources.findings(outside.meshes, looks, policies, fleet.spec.timing),
        *_learnt(fleet, looks, asked),
        *provider.findings(cloud, policies, fleet, writes),
        *capacity.findings({name: each.answer for name, each in asked.workloads.items()}, _pods(fleet, outside, looks)),
    ]


def _pods(fleet: Fleet, outside: Outside, looks: Mapping[str, datasources.MeshLook | Unanswered]) -> int | None:
    """Return how many pods of the source's gateway its metrics show now, None if nobody knows."""
    (source,) = (looks[each.name] for each in outside.meshes if each.key == LEARNT_FROM)
    if isinstance(source, Unanswered):
        return None
    oldest = source.reading.read_at - fleet.spec.timing.sample_max_age.total_seconds()
    return sum(pod.sampled_at >= oldest for pod in source.reading.pods.values())


def _learnt(fleet: Fleet, looks: Mapping[str, object], asked: _Asked) -> list[Finding]:
    """Return what is to be said of the past; of a datasource that does not answer at all that was said."""
    told: list[Finding] = []
    for name, past in asked.pasts.items():
        if not isinstance(looks[name], Unanswered):
            told += learning.findings(name, past.answer, fleet)
    return told


def _or_unknown(answer: object, group: Group, found: Sequence[Finding] | Unanswered) -> Sequence[Finding]:
    if not isinstance(answer, Unanswered) and not isinstance(found, Unanswered):
        return found
    why = answer.why if isinstance(answer, Unanswered) else ""
    broken = isinstance(answer, Unanswered) and answer.outcome is Outcome.BROKEN
    fix = "report it with `shifter bundle`" if broken else "does a disk or a mount hang? see `dmesg`"
    return [Finding(group, str(group), Level.UNKNOWN, why, fix, unreachable=not broken)]


def _not_asked(why: str) -> Sequence[Finding]:
    told: list[Finding] = []
    for group in (Group.CLOCKS, Group.DATASOURCES, Group.PROVIDER, Group.CLUSTER):
        notes = Notes(group)
        notes.untried(str(group), why, "")
        told += notes.found
    return told
