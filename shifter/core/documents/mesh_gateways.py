"""The part of a mesh file about what runs in a cluster: gateways, their Services and CLBs, replicas and resources.

A LoadBalancer Service without a word about its CLB gets a public one from TKE. So how a gateway is reached must be
written, and `public: true` is the only way to a public one: nothing becomes reachable from everywhere because somebody
left a line out. The east-west gateway has no such way at all: it lets into the control plane.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shifter.core.documents.schema import Name, StrictModel, second_of_its_kind

SYSTEM_NAMESPACE: Final = "istio-system"
EAST_WEST: Final = "istio-eastwestgateway"
"""The name that Istio's own samples give the gateway to the control plane."""

EXISTING_CLB: Final = "service.kubernetes.io/tke-existed-lbid"
INTERNAL_SUBNET: Final = "service.kubernetes.io/qcloud-loadbalancer-internal-subnetid"
"""What TKE's service controller reads (https://cloud.tencent.com/document/product/457/51258)."""

_FOUND_CLB: Final = "service.kubernetes.io/loadbalance-id"
_OWN_ANNOTATIONS: Final[Mapping[str, str]] = {
    EXISTING_CLB: "write it as loadBalancer.existing",
    INTERNAL_SUBNET: "write it as loadBalancer.subnet",
    _FOUND_CLB: "TKE's service controller writes it, and nobody else",
}
_KUBERNETES_OWN: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})
_STATUS_PORT: Final = 15021

Subnet = Annotated[str, Field(pattern=r"^subnet-[a-z0-9]{4,16}$")]
BalancerId = Annotated[str, Field(pattern=r"^lb-[a-z0-9]{4,16}$")]
_Amount = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,3})?([mkMGT]|[KMGT]i)?$")]
_WORD: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_Key = Annotated[str, Field(pattern=rf"^([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_WORD}$")]
_LabelValue = Annotated[str, Field(pattern=f"^({_WORD})?$")]
_AnyPort = Annotated[int, Field(ge=1, le=65535)]
_UnprivilegedPort = Annotated[int, Field(ge=1024, le=65535)]
_Count = Annotated[int, Field(ge=1, le=100)]


def _leaves_the_balancer_alone(annotations: dict[str, str]) -> dict[str, str]:
    for key in annotations:
        if key in _OWN_ANNOTATIONS:
            said = "which CLB a Service has is not said by annotation here: {instead}"
            raise PydanticCustomError("mesh", said, {"instead": _OWN_ANNOTATIONS[key], "at": (key,)})
    return annotations


def _not_of_kubernetes(namespace: str) -> str:
    if namespace in _KUBERNETES_OWN:
        raise PydanticCustomError("mesh", "a namespace of Kubernetes itself; nothing of a mesh belongs there")
    return namespace


def _asked_for(public: bool) -> bool:  # noqa: FBT001 - a validator's only argument
    if not public:
        raise PydanticCustomError("mesh", "is not public anyway: say subnet, existing or service instead")
    return public


Annotations = Annotated[dict[_Key, str], AfterValidator(_leaves_the_balancer_alone)]
Labels = dict[_Key, _LabelValue]
OpenNamespace = Annotated[Name, AfterValidator(_not_of_kubernetes)]


class Amounts(StrictModel):
    """So much processor and memory, as Kubernetes writes it: `500m`, `2Gi`; always a text."""

    cpu: _Amount | None = None
    memory: _Amount | None = None


class Resources(StrictModel):
    """What a pod asks for and may have at most; what is not said is what the release's chart says."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


class Autoscaling(StrictModel):
    """A HorizontalPodAutoscaler: so many pods, by the processor they use in percent of what they request."""

    min: _Count
    max: _Count
    cpu_percent: Annotated[int, Field(ge=1, le=400)] = 80

    @model_validator(mode="after")
    def _has_room(self) -> Autoscaling:
        if self.max < self.min:
            raise PydanticCustomError("mesh", "max must be at least min", {"at": ("max",)})
        return self


class Workload(StrictModel):
    """What all Deployments of a mesh have: resources, and either a number of pods or an autoscaler."""

    resources: Resources = Resources()
    replicas: _Count | None = None
    autoscaling: Autoscaling | None = None

    @field_validator("autoscaling")
    @classmethod
    def _one_of_both(cls, autoscaling: Autoscaling | None, info: ValidationInfo) -> Autoscaling | None:
        if autoscaling is not None and info.data.get("replicas") is not None:
            raise PydanticCustomError("mesh", "replicas says how many pods there are, so nothing can scale them")
        return autoscaling


class InternalBalancer(StrictModel):
    """The CLB of the east-west gateway: one that exists, or one that TKE makes in a subnet; never a public one."""

    existing: BalancerId | None = None
    subnet: Subnet | None = None

    @model_validator(mode="after")
    def _is_one(self) -> InternalBalancer:
        if (self.existing is None) == (self.subnet is None):
            raise PydanticCustomError("mesh", "say either existing or subnet")
        return self

    def annotations(self) -> Mapping[str, str]:
        """Return what a Service says to TKE's controller to get this CLB."""
        return _balancer_annotations(self.existing, self.subnet)


class Balancer(StrictModel):
    """The CLB of a gateway: a public one that TKE makes, an internal one that it makes in a subnet, or an existing one.

    What an existing one is, public or internal, its id does not say.
    """

    public: Annotated[bool, AfterValidator(_asked_for)] | None = None
    subnet: Subnet | None = None
    existing: BalancerId | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Balancer:
        if sum(each is not None for each in (self.public, self.subnet, self.existing)) != 1:
            raise PydanticCustomError("mesh", "say one of public, subnet and existing")
        return self

    def annotations(self) -> Mapping[str, str]:
        """Return what a Service says to TKE's controller to get this CLB; of a public one that is nothing."""
        return _balancer_annotations(self.existing, self.subnet)


def _balancer_annotations(existing: str | None, subnet: str | None) -> Mapping[str, str]:
    said = {EXISTING_CLB: existing, INTERNAL_SUBNET: subnet}
    return {key: value for key, value in said.items() if value is not None}


class GatewayPort(StrictModel):
    """One port of a gateway's Service. The pods run without privileges, so theirs is above 1023."""

    name: Name
    port: _AnyPort
    target_port: _UnprivilegedPort
    protocol: Literal["TCP", "UDP"] = "TCP"
    node_port: _UnprivilegedPort | None = None


def _ports_differ(ports: tuple[GatewayPort, ...]) -> tuple[GatewayPort, ...]:
    for key, said in (("name", "this name"), ("port", "this number")):
        values = [each.name if key == "name" else (each.port, each.protocol) for each in ports]
        if (twice := second_of_its_kind(values)) is not None:
            raise PydanticCustomError("mesh", "{said} is another port's already", {"said": said, "at": (twice, key)})
    for index, each in enumerate(ports):
        if each.name == "status-port" or _STATUS_PORT in {each.port, each.target_port}:
            said = "15021, the pods' own status, is always there as status-port: leave it out"
            raise PydanticCustomError("mesh", said, {"at": (index,)})
    return ports


class EastWest(Workload):
    """The gateway by which members reach istiod. Without `replicas` and `autoscaling` it has 2 to 5 pods."""

    load_balancer: InternalBalancer
    annotations: Annotations = Field(default_factory=dict)


class IngressGateway(Workload):
    """One ingress gateway of one cluster. Without `replicas` and `autoscaling` it has 2 to 5 pods.

    `load_balancer` or `service` says how it is reached; only one that is not `enabled` may leave both out. `labels` are
    added to `app` (its name) and `istio` (its name without `istio-`), by which Services and Gateways find its pods.
    Without `ports` it has Istio's own: 15021, 80 and 443.
    """

    name: Name
    namespace: OpenNamespace = SYSTEM_NAMESPACE
    enabled: bool = True
    load_balancer: Balancer | None = None
    service: Literal["NodePort", "ClusterIP"] | None = None
    external_traffic_policy: Literal["Cluster", "Local"] | None = None
    annotations: Annotations = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    ports: Annotated[tuple[GatewayPort, ...], Field(max_length=40), AfterValidator(_ports_differ)] = ()

    @model_validator(mode="after")
    def _is_reached_one_way(self) -> IngressGateway:
        if self.load_balancer is not None and self.service is not None:
            said = "a {service} Service has no CLB: say either service or loadBalancer"
            raise PydanticCustomError("mesh", said, {"service": self.service, "at": ("service",)})
        if self.enabled and self.load_balancer is None and self.service is None:
            said = "how is it reached? Say loadBalancer (public, subnet or existing) or service (NodePort or ClusterIP)"
            raise PydanticCustomError("mesh", said)
        if self.service == "ClusterIP":
            if self.external_traffic_policy is not None:
                said = "nothing from outside comes to a ClusterIP Service"
                raise PydanticCustomError("mesh", said, {"at": ("externalTrafficPolicy",)})
            for index, each in enumerate(self.ports):
                if each.node_port is not None:
                    said = "a ClusterIP Service has no node ports"
                    raise PydanticCustomError("mesh", said, {"at": ("ports", index, "nodePort")})
        return self

    def selector(self) -> Mapping[str, str]:
        """Return the labels of its pods, by which its Service finds them: all of these."""
        return {"app": self.name, "istio": self.name.removeprefix("istio-"), **self.labels}


def clash(gateways: Iterable[IngressGateway], *, east_west: bool) -> tuple[int, str, str] | None:
    """Return the first gateway of a cluster that another one rules out: its position, the key at fault, and why.

    Args:
        gateways: a cluster's, in the order of the file.
        east_west: whether this cluster has the gateway to the control plane, too.
    """
    before: list[IngressGateway] = []
    for index, each in enumerate(gateways):
        if east_west and each.name == EAST_WEST:
            return index, "name", "the gateway that eastWest makes has this name"
        if any(each.name == other.name for other in before):
            # istioctl 1.18 merges gateways by their name alone: of two in different namespaces one would get lost.
            return index, "name", "another gateway of this cluster has this name, and istioctl 1.18 keeps one of a name"
        if east_west and each.namespace == SYSTEM_NAMESPACE and each.selector()["app"] == EAST_WEST:
            return index, "labels", f"app: {EAST_WEST} is the label of the gateway that eastWest makes"
        for other in before:
            if each.namespace == other.namespace and _covers(each.selector(), other.selector()):
                said = f"its Service would select the pods of {other.name}, or the other way around"
                return (
                    index,
                    "labels" if each.labels else "name",
                    f"{said}: gateways of one namespace need other labels",
                )
        before.append(each)
    return None


def _covers(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return one.items() <= other.items() or other.items() <= one.items()
