"""What has to be there before what: the order in which an export is applied, and the reverse for taking it away.

The rule behind all of it: nothing is used before it is there, and a door is opened last. So, from first to last:

1. Definitions and namespaces: without them the server refuses what follows.
2. Secrets: a gateway whose certificate is not there cannot finish a handshake for any of its hosts.
3. Who may do what, before anything can be reached. PeerAuthentication, then RequestAuthentication, then
   AuthorizationPolicy: a policy that asks for a token's claims denies everybody as long as nobody reads tokens; the
   other way round nobody is less protected than a moment before.
4. What is in a proxy: ProxyConfig, Telemetry, EnvoyFilter, WasmPlugin, TrafficExtension. Rate limits, a firewall or an
   external check that an EnvoyFilter brings have to be in place when the first request comes.
5. What there is to reach: WorkloadGroup, WorkloadEntry, ServiceEntry. An entry that selects workloads which are not
   there yet answers 503.
6. DestinationRule: a VirtualService that names a subset before it exists answers 503 to all of that traffic.
7. Sidecar: it narrows what a proxy sees, to hosts that by now exist.
8. ReferenceGrant and BackendTLSPolicy, by which the routes of the Kubernetes Gateway API are allowed to lead elsewhere
   and know how; GatewayClass, which its gateways name.
9. VirtualService and the routes of the Gateway API. First the VirtualServices without hosts: they serve nobody by
   themselves, others delegate to them. For calls inside the mesh a VirtualService counts from here on.
10. Gateway, of either API: it opens a port. Before its routes it would answer 404, and a load balancer that checks the
   port would send people there; after them it answers right from the first request.

What is not known goes between 8 and 9: it may be needed by traffic, and opens none as far as anybody knows.

Within a step objects go by namespace, kind and name, so that two runs do the same and a run that was cut off goes on
where it stopped. What is taken away goes in exactly the opposite order: the door is closed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from shifter.mesh.configuration.cleaning import mapping
from shifter.mesh.configuration.kinds import (
    API_GATEWAY,
    AUTHORIZATION_POLICY,
    BACKEND_TLS,
    DEFINITION,
    DESTINATION_RULE,
    ENVOY_FILTER,
    GATEWAY,
    GATEWAY_CLASS,
    GRPC_ROUTE,
    HTTP_ROUTE,
    LISTENER_SET,
    NAMESPACE,
    PEER_AUTHENTICATION,
    PROXY_CONFIG,
    REFERENCE_GRANT,
    REQUEST_AUTHENTICATION,
    SECRET,
    SERVICE_ENTRY,
    SIDECAR,
    TCP_ROUTE,
    TELEMETRY,
    TLS_ROUTE,
    TRAFFIC_EXTENSION,
    UDP_ROUTE,
    VIRTUAL_SERVICE,
    WASM_PLUGIN,
    WORKLOAD_ENTRY,
    WORKLOAD_GROUP,
    kind_of,
)
from shifter.mesh.configuration.layout import Identity, identity_of

Key = tuple[int, int, Identity]
"""What objects are ordered by: the step, whether others delegate to it (0 before 1), and which object it is."""

UNKNOWN: Final = None
"""Stands in `STEPS` for every kind that is not known here."""

STEPS: Final = (
    DEFINITION,
    NAMESPACE,
    SECRET,
    PEER_AUTHENTICATION,
    REQUEST_AUTHENTICATION,
    AUTHORIZATION_POLICY,
    PROXY_CONFIG,
    TELEMETRY,
    ENVOY_FILTER,
    WASM_PLUGIN,
    TRAFFIC_EXTENSION,
    WORKLOAD_GROUP,
    WORKLOAD_ENTRY,
    SERVICE_ENTRY,
    DESTINATION_RULE,
    SIDECAR,
    REFERENCE_GRANT,
    BACKEND_TLS,
    GATEWAY_CLASS,
    UNKNOWN,
    VIRTUAL_SERVICE,
    HTTP_ROUTE,
    GRPC_ROUTE,
    TLS_ROUTE,
    TCP_ROUTE,
    UDP_ROUTE,
    GATEWAY,
    API_GATEWAY,
    LISTENER_SET,
)
"""Every kind's step, first to last; the docstring above says why."""

_STEP_OF: Final = {kind: step for step, kind in enumerate(STEPS)}
_NOBODY: Final = Identity("", "", "", "")

_Object = TypeVar("_Object")


def order_key(body: Mapping[str, Any]) -> Key:
    """Return what an object is ordered by. Two objects have one key only if they are the same object."""
    kind = kind_of(body)
    hosts = mapping(body.get("spec")).get("hosts")
    is_delegate = kind is VIRTUAL_SERVICE and not hosts
    return _STEP_OF.get(kind, _STEP_OF[UNKNOWN]), 0 if is_delegate else 1, identity_of(body) or _NOBODY


def to_apply(objects: Iterable[_Object], key: Callable[[_Object], Key]) -> list[_Object]:
    """Return objects in the order in which they are applied; `key` says what `order_key` says of each one's body."""
    return sorted(objects, key=key)


def to_remove(objects: Iterable[_Object], key: Callable[[_Object], Key]) -> list[_Object]:
    """Return objects in the order in which they are taken away: the other way round."""
    return sorted(objects, key=key, reverse=True)
