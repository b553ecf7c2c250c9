"""Which kinds of configuration a mesh has, which versions of each a release of Istio reads, and which one to write.

The versions are those of Istio's own definitions (`manifests/charts/base` of its tags 1.8.0 to 1.30.0 and of 1.31).
Before 1.8 nobody looked; TCM began later. All versions of a kind have the same stored form and the API server changes
one into another by its name alone, so a file is good for every mesh that serves the version which it names. Hence the
rule: an export names the newest version that the old mesh and the new one both serve. The old one is not less able to
take it back, and the new one needs no translation.

The Kubernetes Gateway API is no part of Istio: its definitions are installed by somebody else. What stands here is
since when Istio reads a version (`pkg/config/schema/metadata.yaml` of the same tags), which is the other half of what
is needed. Left out of it are what no release reads any more: ReferencePolicy (1.12 to 1.16, now ReferenceGrant) and the
first form of BackendTLSPolicy (1.26 and 1.27). The guide exports eleven kinds; people who use the others would miss
them only when traffic is there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from shifter.ports.kube import Kind

Minor = tuple[int, int]
"""A release of Istio as far as it decides what is served: (1, 18)."""

_RELEASE: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:[.+-].*)?")
_VERSION: Final = re.compile(r"v(\d{1,4})(?:(alpha|beta)(\d{1,4}))?")
_STAGES: Final = {"alpha": 0, "beta": 1, None: 2}


class Origin(StrEnum):
    """Why a kind is in the list: the guide names it, the guide forgets it, it is Kubernetes' own, it came later."""

    GUIDE = "guide"
    FORGOTTEN = "forgotten"
    GATEWAY_API = "gateway-api"
    REFERENCED = "referenced"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class ConfigKind:
    """One kind: where it lives in the API, and since which minor release of Istio each version of it is served."""

    group: str
    name: str
    plural: str
    since: Mapping[str, Minor] = field(hash=False)
    origin: Origin
    namespaced: bool = True

    @property
    def folder(self) -> str:
        """What its folder in an export is called: as in the guide, with the group where another kind has that name."""
        return f"{self.plural}.{self.group}" if self.origin is Origin.GATEWAY_API else self.plural

    def at(self, version: str) -> Kind:
        """Return the kind in one of its versions, as an API server is asked for it."""
        return Kind(self.group, version, self.plural, self.name, self.namespaced)

    def served_by(self, release: Minor) -> tuple[str, ...]:
        """Return the versions that a release of Istio serves (of the Gateway API: reads), the newest first."""
        return newest_first(version for version, since in self.since.items() if since <= release)


_FIRST: Final[Minor] = (1, 8)
_V1: Final[Minor] = (1, 22)
_NETWORKING: Final = "networking.istio.io"
_SECURITY: Final = "security.istio.io"
_GATEWAY_API: Final = "gateway.networking.k8s.io"
_TRAFFIC: Final[Mapping[str, Minor]] = {"v1alpha3": _FIRST, "v1beta1": _FIRST, "v1": _V1}
_WHO: Final[Mapping[str, Minor]] = {"v1beta1": _FIRST, "v1": (1, 17)}
_OF_KUBERNETES: Final[Mapping[str, Minor]] = {"v1": _FIRST}
_ROUTED: Final[Mapping[str, Minor]] = {"v1alpha2": (1, 12), "v1beta1": (1, 16), "v1": (1, 21)}

SECRET: Final = ConfigKind("", "Secret", "secrets", _OF_KUBERNETES, Origin.REFERENCED)
NAMESPACE: Final = ConfigKind("", "Namespace", "namespaces", _OF_KUBERNETES, Origin.REFERENCED, namespaced=False)
DEFINITION: Final = ConfigKind(
    "apiextensions.k8s.io",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    _OF_KUBERNETES,
    Origin.REFERENCED,
    namespaced=False,
)
VIRTUAL_SERVICE: Final = ConfigKind(_NETWORKING, "VirtualService", "virtualservices", _TRAFFIC, Origin.GUIDE)
GATEWAY: Final = ConfigKind(_NETWORKING, "Gateway", "gateways", _TRAFFIC, Origin.GUIDE)
ENVOY_FILTER: Final = ConfigKind(_NETWORKING, "EnvoyFilter", "envoyfilters", {"v1alpha3": _FIRST}, Origin.GUIDE)
DESTINATION_RULE: Final = ConfigKind(_NETWORKING, "DestinationRule", "destinationrules", _TRAFFIC, Origin.GUIDE)
SIDECAR: Final = ConfigKind(_NETWORKING, "Sidecar", "sidecars", _TRAFFIC, Origin.GUIDE)
PEER_AUTHENTICATION: Final = ConfigKind(
    _SECURITY, "PeerAuthentication", "peerauthentications", {"v1beta1": _FIRST, "v1": _V1}, Origin.GUIDE
)
AUTHORIZATION_POLICY: Final = ConfigKind(_SECURITY, "AuthorizationPolicy", "authorizationpolicies", _WHO, Origin.GUIDE)
REQUEST_AUTHENTICATION: Final = ConfigKind(
    _SECURITY, "RequestAuthentication", "requestauthentications", _WHO, Origin.GUIDE
)
TELEMETRY: Final = ConfigKind(
    "telemetry.istio.io", "Telemetry", "telemetries", {"v1alpha1": (1, 10), "v1": _V1}, Origin.GUIDE
)
PROXY_CONFIG: Final = ConfigKind(_NETWORKING, "ProxyConfig", "proxyconfigs", {"v1beta1": (1, 13)}, Origin.GUIDE)
SERVICE_ENTRY: Final = ConfigKind(_NETWORKING, "ServiceEntry", "serviceentries", _TRAFFIC, Origin.GUIDE)
WASM_PLUGIN: Final = ConfigKind(
    "extensions.istio.io", "WasmPlugin", "wasmplugins", {"v1alpha1": (1, 12)}, Origin.FORGOTTEN
)
WORKLOAD_ENTRY: Final = ConfigKind(_NETWORKING, "WorkloadEntry", "workloadentries", _TRAFFIC, Origin.FORGOTTEN)
WORKLOAD_GROUP: Final = ConfigKind(
    _NETWORKING,
    "WorkloadGroup",
    "workloadgroups",
    {"v1alpha3": _FIRST, "v1beta1": (1, 13), "v1": _V1},
    Origin.FORGOTTEN,
)
TRAFFIC_EXTENSION: Final = ConfigKind(
    "extensions.istio.io", "TrafficExtension", "trafficextensions", {"v1alpha1": (1, 30)}, Origin.LATER
)
GATEWAY_CLASS: Final = ConfigKind(
    _GATEWAY_API, "GatewayClass", "gatewayclasses", _ROUTED, Origin.GATEWAY_API, namespaced=False
)
API_GATEWAY: Final = ConfigKind(_GATEWAY_API, "Gateway", "gateways", _ROUTED, Origin.GATEWAY_API)
HTTP_ROUTE: Final = ConfigKind(_GATEWAY_API, "HTTPRoute", "httproutes", _ROUTED, Origin.GATEWAY_API)
GRPC_ROUTE: Final = ConfigKind(
    _GATEWAY_API, "GRPCRoute", "grpcroutes", {"v1alpha2": (1, 17), "v1": (1, 22)}, Origin.GATEWAY_API
)
TCP_ROUTE: Final = ConfigKind(
    _GATEWAY_API, "TCPRoute", "tcproutes", {"v1alpha2": (1, 12), "v1": (1, 31)}, Origin.GATEWAY_API
)
TLS_ROUTE: Final = ConfigKind(
    _GATEWAY_API, "TLSRoute", "tlsroutes", {"v1alpha2": (1, 12), "v1": (1, 30)}, Origin.GATEWAY_API
)
UDP_ROUTE: Final = ConfigKind(_GATEWAY_API, "UDPRoute", "udproutes", {"v1alpha2": (1, 17)}, Origin.GATEWAY_API)
REFERENCE_GRANT: Final = ConfigKind(
    _GATEWAY_API, "ReferenceGrant", "referencegrants", {"v1alpha2": (1, 15), "v1beta1": (1, 18)}, Origin.GATEWAY_API
)
BACKEND_TLS: Final = ConfigKind(
    _GATEWAY_API, "BackendTLSPolicy", "backendtlspolicies", {"v1": (1, 28)}, Origin.GATEWAY_API
)
LISTENER_SET: Final = ConfigKind(_GATEWAY_API, "ListenerSet", "listenersets", {"v1": (1, 30)}, Origin.GATEWAY_API)

EXPORTED: Final = (
    VIRTUAL_SERVICE,
    GATEWAY,
    ENVOY_FILTER,
    DESTINATION_RULE,
    SIDECAR,
    PEER_AUTHENTICATION,
    AUTHORIZATION_POLICY,
    REQUEST_AUTHENTICATION,
    TELEMETRY,
    PROXY_CONFIG,
    SERVICE_ENTRY,
    WASM_PLUGIN,
    WORKLOAD_ENTRY,
    WORKLOAD_GROUP,
    GATEWAY_CLASS,
    API_GATEWAY,
    HTTP_ROUTE,
    GRPC_ROUTE,
    TCP_ROUTE,
    TLS_ROUTE,
    UDP_ROUTE,
    REFERENCE_GRANT,
    BACKEND_TLS,
    LISTENER_SET,
)
"""What an export asks a cluster for, in this order: the guide's eleven as its script names them, then the others."""

KNOWN: Final = (*EXPORTED, TRAFFIC_EXTENSION, SECRET, NAMESPACE, DEFINITION)
"""What may stand in an export: also what a person has put there, and the Secrets that somebody asked for."""

REMOVED_GROUPS: Final[Mapping[str, str]] = {
    "rbac.istio.io": "write an AuthorizationPolicy of security.istio.io instead",
    "authentication.istio.io": "write a PeerAuthentication or RequestAuthentication of security.istio.io instead",
    "config.istio.io": "Mixer is gone: write a Telemetry, a WasmPlugin or an AuthorizationPolicy instead",
}
"""Groups of earlier releases that no release since 1.8 has, and what does their work now."""

_BY_NAME: Final = {(kind.group, kind.name): kind for kind in KNOWN}


def minor_of(release: str) -> Minor:
    """Return (1, 18) for `1.18.5`.

    Raises:
        ValueError: it is no release of Istio.
    """
    found = _RELEASE.fullmatch(release)
    if found is None:
        raise ValueError(f"{release[:60]!r} is no release of Istio; they are written like 1.18.5")
    return int(found[1]), int(found[2])


def group_and_version(api_version: str) -> tuple[str, str]:
    """Return the group, empty for Kubernetes' core, and the version that an `apiVersion` names."""
    group, _, version = api_version.rpartition("/")
    return group, version


def kind_of(body: Mapping[str, Any]) -> ConfigKind | None:
    """Return what kind a body says it is; None if it is none of those that are known here."""
    api_version, name = body.get("apiVersion"), body.get("kind")
    if not isinstance(api_version, str) or not isinstance(name, str):
        return None
    return _BY_NAME.get((group_and_version(api_version)[0], name))


def newest_first(versions: Iterable[str]) -> tuple[str, ...]:
    """Return versions as Kubernetes ranks them: v2, v1, v1beta1, v1alpha3, v1alpha1, and what has another form last."""
    return tuple(sorted(sorted(versions), key=_rank, reverse=True))


def common_version(kind: ConfigKind, source: Collection[str], target: Collection[str]) -> str | None:
    """Return the newest version of a kind that both meshes serve; None if there is none.

    Args:
        kind: of which kind; a version that its table does not have is left alone, as nobody knows its form.
        source: the versions that the old cluster serves, as its discovery says.
        target: those that the new one serves, or what `served_by` says of its release.
    """
    return next((each for each in newest_first(kind.since) if each in source and each in target), None)


def _rank(version: str) -> tuple[int, int, int]:
    found = _VERSION.fullmatch(version)
    return (_STAGES[found[2]], int(found[1]), int(found[3] or 0)) if found else (-1, 0, 0)
