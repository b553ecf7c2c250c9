"""`kind: ShiftPolicy`: how one shift moves. Text becomes values here, and only values that cannot be wrong leave.

Rules that concern one policy live here, each at a field, so that every one that is broken is told at once, and not only
the first. Rules between policies (two on one route, two for one namespace) are in `conflicts`, rules between a policy
and the fleet in `fleet.misfits`. An error inside a field says `at` which part of it is to be shown. Reading files,
positions and carets belong to `shifter/files`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shifter.core.balancing.splits import Route, Selector
from shifter.core.documents.criteria import Analysis, BlastRadius
from shifter.core.documents.overlaps import common_members
from shifter.core.documents.schema import (
    API_VERSION,
    Duration,
    Metadata,
    Name,
    Percent,
    StrictModel,
    Unsupported,
    distinct,
)

Port = Annotated[int, Field(ge=1, le=65535)]
_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$")]
_Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9*~^][A-Za-z0-9.*~^$|()\[\]_-]{0,119}$")]
_Deployment = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
]
_Path = Annotated[str, Field(pattern=r"^[/~^][ -~]{0,199}$")]


def _climbs_to_the_top(steps: tuple[float, ...]) -> tuple[float, ...]:
    for index, (before, after) in enumerate(pairwise(steps), start=1):
        if after <= before:
            raise PydanticCustomError(
                "steps",
                "step {after} % does not climb from {before} %",
                {"after": f"{after:g}", "before": f"{before:g}", "at": (index,)},
            )
    if steps[-1] != 100:  # noqa: PLR2004 - the whole of the traffic
        raise PydanticCustomError("steps", "the last step must be 100", {"at": (len(steps) - 1,)})
    return steps


def _address(text: str) -> str:
    try:
        ip_address(text)
    except ValueError as error:
        raise PydanticCustomError("address", "no IP address: it would match no member") from error
    return text


def _auto_or_a_ladder(given: Any, ladder: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 - a validator is handed whatever the file holds
    if given in ("auto", ()):
        return ()
    # What a validator passes on counts as Python's, no longer as JSON's, and strict Python wants the tuple itself.
    return ladder(tuple(given) if isinstance(given, list) else given)


_Steps = Annotated[
    tuple[Annotated[Percent, Field(gt=0)], ...],
    Field(min_length=1, max_length=50),
    AfterValidator(_climbs_to_the_top),
    WrapValidator(_auto_or_a_ladder),
    PlainSerializer(lambda steps: list(steps) or "auto"),
]
"""The shares on the way up, growing to 100; none of them means `auto`."""

AUTO_STEPS: Final = (1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 18.0, 25.0, 35.0, 50.0, 75.0, 95.0, 100.0)
"""The shares among which `steps: auto` chooses, percent."""


class MemberSelector(StrictModel):
    """Which members of a CLB rule are one side's gateway; every key given must match."""

    port: Port | None = None
    ids: tuple[_Id, ...] = ()
    ips: tuple[Annotated[str, Field(pattern=r"^[0-9a-fA-F.:]{2,45}$"), AfterValidator(_address)], ...] = ()
    tag: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if self.port is None and not self.ids and not self.ips and self.tag is None:
            raise PydanticCustomError("selector", "selects nothing; give port, ids, ips or tag")
        return self

    def selector(self) -> Selector:
        """Return the same criteria as the core's value."""
        return Selector(
            ports=() if self.port is None else (self.port,),
            ids=self.ids,
            ips=self.ips,
            tags=() if self.tag is None else (self.tag,),
        )


class ClbRule(StrictModel):
    """One CLB rule by listener, domain and url."""

    listener: _Id
    domain: _Host
    url: _Path

    @model_validator(mode="before")
    @classmethod
    def _names_a_rule(cls, given: Any) -> Any:  # noqa: ANN401 - a validator is handed whatever the file holds
        if isinstance(given, dict) and "listener" in given and given.keys().isdisjoint({"domain", "url"}):
            raise PydanticCustomError(
                "rule",
                "a listener as a whole carries every namespace, and a layer 4 listener cannot be split per namespace;"
                " name the rule's domain and url",
            )
        return given


class ClbTraffic(StrictModel):
    """The rules of one CLB that carry this shift's traffic, and how to tell the two sides' members apart."""

    region: Annotated[str, Field(pattern=r"^[a-z]{2}-[a-z0-9-]{2,30}$")]
    load_balancer: _Id
    routes: Annotated[tuple[ClbRule, ...], Field(min_length=1, max_length=100), distinct("a route")]
    source: MemberSelector
    target: MemberSelector

    @field_validator("target")
    @classmethod
    def _sides_differ(cls, target: MemberSelector, info: ValidationInfo) -> MemberSelector:
        source = info.data.get("source")
        if source is not None and (said := common_members(source.selector(), target.selector())):
            raise PydanticCustomError("sides", "{said}", {"said": said})
        return target


class Traffic(StrictModel):
    """Where the split is set."""

    clb: ClbTraffic
    dns: Unsupported


class ApprovalGate(StrictModel):
    """A person must approve before the share reaches `before` percent."""

    before: Annotated[Percent, Field(gt=0)]


def _grow(gates: tuple[ApprovalGate, ...]) -> tuple[ApprovalGate, ...]:
    for index, (before, after) in enumerate(pairwise(gates), start=1):
        if after.before <= before.before:
            said = "approvals must grow from one to the next"
            raise PydanticCustomError("approvals", said, {"at": (index, "before")})
    return gates


class WayBackRules(StrictModel):
    """What must be left of the source so that it could take everything back.

    `keepPercent` of what it had before the first step: healthy members on every route, gateway pods, replicas. Below it
    there is no climb, and a rollback goes in stages. 0 looks at nothing but that a healthy member is left.
    `deployments`, as `namespace/name`, are the namespaces' own in the source's cluster that its traffic needs: they are
    counted and pinned as the gateway is.
    """

    keep_percent: Percent = 50.0
    deployments: Annotated[tuple[_Deployment, ...], Field(max_length=20), distinct("a Deployment")] = ()


class PolicySpec(StrictModel):
    """The body of a policy; see the fields."""

    namespace: Name | None = None
    namespaces: Annotated[tuple[Name, ...], Field(min_length=1), distinct("a namespace")] | None = Field(
        default=None, validate_default=True
    )
    traffic: Traffic
    steps: _Steps
    soak: Duration
    analysis: Analysis = Analysis()
    blast_radius: BlastRadius = BlastRadius()
    on_failure: Literal["rollback", "stepBack", "hold"] = "rollback"
    way_back: WayBackRules = WayBackRules()
    approvals: Annotated[tuple[ApprovalGate, ...], Field(max_length=50), AfterValidator(_grow)] = ()
    windows: Unsupported
    depends_on: Unsupported
    retry: Unsupported

    @field_validator("way_back")
    @classmethod
    def _in_its_own_namespaces(cls, rules: WayBackRules, info: ValidationInfo) -> WayBackRules:
        own = {info.data.get("namespace"), *(info.data.get("namespaces") or ())}
        if not {"namespace", "namespaces"} <= info.data.keys():
            return rules  # one of them is wrong itself, and was told so
        for index, name in enumerate(rules.deployments):
            if name.split("/")[0] not in own:
                said = "{name} is in none of the policy's namespaces: it would belong to another shift"
                raise PydanticCustomError("deployments", said, {"name": name, "at": ("deployments", index)})
        return rules

    @property
    def ladder(self) -> tuple[float, ...]:
        """The shares on the way up, percent; those that `auto` chooses among."""
        return self.steps or AUTO_STEPS

    @field_validator("namespaces")
    @classmethod
    def _one_of_the_two(cls, namespaces: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        # A namespace that is wrong by itself is not in the data: it has been given.
        if "namespace" in info.data and (info.data["namespace"] is None) == (namespaces is None):
            raise PydanticCustomError("namespace", "give namespace or namespaces, exactly one of the two")
        return namespaces


class ShiftPolicy(StrictModel):
    """One shift: what moves, where the split is set, in which steps, and what counts as good."""

    api_version: Literal["shifter.io/v1alpha1"] = Field(default=API_VERSION)
    kind: Literal["ShiftPolicy"]
    metadata: Metadata
    spec: PolicySpec

    @property
    def name(self) -> str:
        """The shift's name."""
        return self.metadata.name

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces that move as one."""
        if self.spec.namespaces is not None:
            return self.spec.namespaces
        return (self.spec.namespace,) if self.spec.namespace else ()

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes whose split this policy sets."""
        clb = self.spec.traffic.clb
        return tuple(
            Route(
                clb.region,
                clb.load_balancer,
                rule.listener,
                rule.domain,
                rule.url,
                clb.source.selector(),
                clb.target.selector(),
            )
            for rule in clb.routes
        )

    @property
    def gates(self) -> tuple[float, ...]:
        """The shares (percent, growing) that are not reached or passed before somebody approved."""
        return tuple(gate.before for gate in self.spec.approvals)

    @property
    def identity(self) -> str:
        """A digest of what must not change under way: namespaces, routes, selectors."""
        parts = repr((sorted(self.namespaces), sorted(map(repr, self.routes))))
        return hashlib.sha256(parts.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A rule between policies that `file` breaks at the dotted `path`; the file that came first is in `reason`."""

    file: str
    path: tuple[str | int, ...]
    reason: str


def conflicts(policies: Mapping[str, ShiftPolicy]) -> Iterable[Conflict]:
    """Yield every rule between policies that is broken: one name, one namespace, one route has one policy.

    Args:
        policies: by file name, in order of precedence: of two policies that claim one thing the later one is wrong.
    """
    taken: dict[tuple[str, str], str] = {}
    for file, policy in policies.items():
        for kind, key, path in _claims(policy):
            first = taken.setdefault((kind, key), file)
            if first != file:
                yield Conflict(file, path, f"{kind} {key} already has a policy, in {first}")


def _claims(policy: ShiftPolicy) -> Iterable[tuple[str, str, tuple[str | int, ...]]]:
    """Yield what a policy must be the only one to name: kind, key and where it says so."""
    yield "the name", policy.name, ("metadata", "name")
    for index, namespace in enumerate(policy.namespaces):
        place = ("spec", "namespace") if policy.spec.namespace else ("spec", "namespaces", index)
        yield "namespace", namespace, place
    for index, route in enumerate(policy.routes):
        yield "route", route.id, ("spec", "traffic", "clb", "routes", index)
