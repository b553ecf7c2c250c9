"""Bootstrap configurations of the lab's Envoys: pure functions from the topology to JSON.

Four roles. The *front* is the balancer's data plane: one cluster per domain, whose weighted endpoints are the gateway
pods. A *gateway* pod routes hosts to namespaces and reports Istio's metrics. A mesh's *workloads* Envoy answers for all
its namespaces, misbehaves on request, and produces the decoy series.

What changes at run time comes from files (the front's weights) and from runtime keys (everything else), never from a
new bootstrap; see `envoy_control`. Only weights are files, because each watched file costs an inotify instance, of
which Linux gives a user 128. Cluster names have no dots: Envoy's native stat tags split names at dots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shifter.lab.free_ports import LOOPBACK
from shifter.lab.istio_metrics import (
    DECOY_HEADER,
    DECOY_MILLISECONDS,
    DECOY_STATUS,
    SCOPE,
    decoy_loggers,
    destination_metadata,
    gateway_loggers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from shifter.lab.topology import Gateway, Namespace, Topology, Workloads

Json = dict[str, Any]

MESH_HEADER = "x-mesh"
POD_HEADER = "x-gateway"
MAX_CONNECTIONS = 4_096
STATS_FLUSH = "0.5s"  # histograms are as old as the last flush; half of the shortest scrape interval
DEAD_CLUSTER = "no_pods"  # an underscore, which no namespace has
DECOY_EVERY = "0.1s"
_TYPE = "type.googleapis.com/envoy."
_FAULT = "envoy.filters.http.fault"
_GRPC_FAULT = "lab.grpc"  # one fault filter cannot fail with an HTTP status and with a gRPC one
_POD_FAULT = "lab.pod"
_NOBODY = {"numerator": 0}
FAULTS = ("abort_percent", "abort_status", "grpc_percent", "grpc_status", "delay_percent", "delay_milliseconds")
GRPC_OK = "0"
GRPC_UNAVAILABLE = 14
GRPC_STATUS_MAX = 16
GRPC_STATUS_HEADER = "grpc-status"
GRPC_CONTENT_TYPE = "application/grpc"


def arguments(binary: Path, config: Path) -> tuple[str, ...]:
    """The command of one Envoy: one worker thread, as a small gateway pod has."""
    return (str(binary), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning")


def ready_url(admin_port: int) -> str:
    """Answers 200 once every listener and cluster is warm."""
    return f"http://{LOOPBACK}:{admin_port}/ready"


def front_cluster(host: str) -> str:
    """The front's cluster for a domain, which is also the name of its endpoint file."""
    return f"front-{host.replace('.', '_')}"


def endpoints(cluster: str, weights: Iterable[tuple[int, int]]) -> Json:
    """An endpoint discovery answer.

    Args:
        cluster: whose endpoints these are.
        weights: (port on 127.0.0.1, weight) pairs. Weight 0 leaves the endpoint out, since Envoy knows no such
            weight; none left means that the cluster answers 503 with flag UH.
    """
    members = [
        {"endpoint": {"address": _address(port)}, "load_balancing_weight": weight}
        for port, weight in weights
        if weight > 0
    ]
    assignment = {
        "@type": f"{_TYPE}config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": members}] if members else [],
    }
    return {"resources": [assignment]}


def front_bootstrap(topology: Topology, endpoint_directory: Path) -> Json:
    """The balancer's data plane: no retry, no health check, so users get exactly the split that was set."""
    hosts = [host for namespace in topology.namespaces for host in namespace.hosts]
    virtual_hosts = [
        {
            "name": front_cluster(host),
            "domains": [host],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": front_cluster(host), "timeout": "60s"}}],
        }
        for host in hosts
    ]
    return _bootstrap(
        topology.front_admin_port,
        [_listener("front", topology.front_port, {"virtual_hosts": virtual_hosts})],
        [_file_cluster(front_cluster(host), endpoint_directory) for host in hosts],
    )


def gateway_bootstrap(topology: Topology, gateway: Gateway) -> Json:
    """One gateway pod of a mesh."""
    said = {MESH_HEADER: gateway.mesh, POD_HEADER: gateway.pod}
    routes = {
        "virtual_hosts": [_gateway_host(namespace) for namespace in topology.namespaces],
        "response_headers_to_add": [_header(name, value) for name, value in said.items()],
        "request_headers_to_add": [_header(POD_HEADER, gateway.pod)],
    }
    no_route = {
        "filter": {"response_flag_filter": {"flags": ["NR"]}},
        # Without a route the route table's headers are not added either.
        "headers_to_add": [_header(name, value) for name, value in said.items()],
    }
    listener = _listener(
        "gateway", gateway.port, routes, access_log=gateway_loggers(gateway.mesh), local_reply=no_route
    )
    port = topology.workloads_of(gateway.mesh).port
    clusters = [_namespace_cluster(namespace, port) for namespace in topology.namespaces]
    return _bootstrap(gateway.admin_port, [listener], [*clusters, _static_cluster(DEAD_CLUSTER, [])])


def workloads_bootstrap(topology: Topology, workloads: Workloads) -> Json:
    """The applications of one mesh, and the pods whose series are decoys.

    The decoy traffic is this Envoy's own health checks against its decoy listener: steady, bounded, and independent of
    what users send, so that the decoys are there also when the mesh gets no traffic.
    """
    pods = [gateway.pod for gateway in topology.gateways_of(workloads.mesh)]
    answering = {"virtual_hosts": [_answering_host(namespace, pods) for namespace in topology.namespaces]}
    faults = [{"name": name, "typed_config": _fault()} for name in (_FAULT, _GRPC_FAULT, _POD_FAULT)]
    refusing = {
        "virtual_hosts": [
            {
                "name": "decoys",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": DECOY_STATUS}}],
            }
        ]
    }
    loggers = [logger for namespace in topology.namespaces for logger in decoy_loggers(workloads.mesh, namespace)]
    return _bootstrap(
        workloads.admin_port,
        [
            _listener("workloads", workloads.port, answering, filters=faults),
            _listener("decoys", workloads.decoy_port, refusing, access_log=loggers),
        ],
        [_decoy_cluster(namespace.name, workloads.decoy_port) for namespace in topology.namespaces],
    )


def fault_key(namespace: str, what: str) -> str:
    """Runtime key of a namespace's fault; `what` is one of `FAULTS`."""
    return f"lab.{namespace}.{what}"


def pod_fault_key(namespace: str, pod: str) -> str:
    """Runtime key of the percentage of a namespace's requests that fail (503) if they come through one gateway pod."""
    return f"lab.{namespace}.through.{pod}"


def alive_key(namespace: str) -> str:
    """Runtime key of a gateway: the percentage of a namespace's requests that find a pod."""
    return f"lab.{namespace}.alive_percent"


def routed_key(namespace: str) -> str:
    """Runtime key of a gateway: of the requests that find no pod, the percentage that find a route (UH, else NR)."""
    return f"lab.{namespace}.routed_percent"


def _gateway_host(namespace: Namespace) -> Json:
    def route(key: str, cluster: str) -> Json:
        always = {"default_value": {"numerator": 100}, "runtime_key": key}
        # As in Istio, no timeout.
        return {"match": {"prefix": "/", "runtime_fraction": always}, "route": {"cluster": cluster, "timeout": "0s"}}

    return {
        "name": namespace.name,
        "domains": list(namespace.hosts),
        "routes": [
            route(alive_key(namespace.name), namespace.name),
            route(routed_key(namespace.name), DEAD_CLUSTER),
        ],
    }


def _answering_host(namespace: Namespace, pods: Sequence[str]) -> Json:
    """A namespace's application. It answers gRPC, too: with trailers only, since a direct response has no others.

    A fault with an HTTP status becomes, for gRPC, the status that Envoy maps it to (503: 14), as from a real Envoy.
    """

    def key(what: str) -> str:
        return fault_key(namespace.name, what)

    through = [[{"name": POD_HEADER, "string_match": {"exact": pod}}] for pod in pods]
    return {
        "name": namespace.name,
        "domains": list(namespace.hosts),
        "routes": [
            route | {"typed_per_filter_config": {_POD_FAULT: _pod_fault(namespace, pod)}}
            for pod, headers in zip(pods, through, strict=True)
            for route in _answers(namespace, headers)
        ],
        "typed_per_filter_config": {
            _FAULT: _fault(
                abort={"http_status": 503, "percentage": _NOBODY},
                abort_percent_runtime=key("abort_percent"),
                abort_http_status_runtime=key("abort_status"),
                delay={"fixed_delay": "0.001s", "percentage": _NOBODY},
                delay_percent_runtime=key("delay_percent"),
                delay_duration_runtime=key("delay_milliseconds"),
            ),
            _GRPC_FAULT: _fault(
                abort={"grpc_status": GRPC_UNAVAILABLE, "percentage": _NOBODY},
                abort_percent_runtime=key("grpc_percent"),
                abort_grpc_status_runtime=key("grpc_status"),
            ),
        },
    }


def _answers(namespace: Namespace, headers: Sequence[Json]) -> list[Json]:
    body = {"inline_string": namespace.name}
    return [
        {
            "match": {"prefix": "/", "grpc": {}, "headers": list(headers)},
            "direct_response": {"status": 200},
            "response_headers_to_add": [_header(GRPC_STATUS_HEADER, GRPC_OK)],
        },
        {"match": {"prefix": "/", "headers": list(headers)}, "direct_response": {"status": 200, "body": body}},
    ]


def _pod_fault(namespace: Namespace, pod: str) -> Json:
    key = pod_fault_key(namespace.name, pod)
    return _fault(abort={"http_status": 503, "percentage": _NOBODY}, abort_percent_runtime=key)


def _fault(**settings: Any) -> Json:  # noqa: ANN401 - a message of Envoy's
    return {"@type": f"{_TYPE}extensions.filters.http.fault.v3.HTTPFault", **settings}


def _bootstrap(admin_port: int, listeners: list[Json], clusters: list[Json]) -> Json:
    patterns = [{"prefix": f"{SCOPE}."}, {"exact": "server.uptime"}]
    connections = {
        "@type": f"{_TYPE}extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": MAX_CONNECTIONS,
    }
    return {
        "node": {"id": "lab", "cluster": "lab"},  # Envoy refuses file subscriptions without a node
        "admin": {"address": _address(admin_port)},
        "stats_flush_interval": STATS_FLUSH,
        # Thousands of native series per scrape would cost more than the lab's traffic.
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": patterns}}},
        "layered_runtime": {"layers": [{"name": "lab", "admin_layer": {}}]},
        "overload_manager": {
            "resource_monitors": [
                {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": connections}
            ]
        },
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def _listener(
    name: str,
    port: int,
    routes: Json,
    *,
    access_log: Sequence[Json] = (),
    filters: Sequence[Json] = (),
    local_reply: Json | None = None,
) -> Json:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPE}extensions.filters.http.router.v3.Router"},
    }
    connection_manager = {
        "@type": f"{_TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "strip_any_host_port": True,
        "route_config": routes,
        "access_log": list(access_log),
        "http_filters": [*filters, router],
        "local_reply_config": {"mappers": [local_reply] if local_reply else []},
    }
    chain = {"filters": [{"name": "http", "typed_config": connection_manager}]}
    return {"name": name, "address": _address(port), "filter_chains": [chain]}


def _file_cluster(name: str, endpoint_directory: Path) -> Json:
    source = {"path": str(endpoint_directory / f"{name}.json")}
    return {
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "eds_cluster_config": {"eds_config": {"resource_api_version": "V3", "path_config_source": source}},
        # No panic mode: an emptied cluster refuses. No merge window: a weight counts from the moment it is written.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
    }


def _namespace_cluster(namespace: Namespace, port: int) -> Json:
    pod = {"endpoint": {"address": _address(port)}, "metadata": destination_metadata(namespace)}
    return _static_cluster(namespace.name, [pod])


def _decoy_cluster(namespace: str, decoy_port: int) -> Json:
    probe = {
        "timeout": "1s",
        "interval": DECOY_EVERY,
        "no_traffic_interval": DECOY_EVERY,
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "http_health_check": {
            "host": namespace,
            "path": "/",
            "request_headers_to_add": [_header(DECOY_HEADER, str(DECOY_MILLISECONDS))],
            "expected_statuses": [{"start": DECOY_STATUS, "end": DECOY_STATUS + 1}],
        },
    }
    pod = {"endpoint": {"address": _address(decoy_port)}}
    return _static_cluster(f"decoy-{namespace}", [pod]) | {"health_checks": [probe]}


def _static_cluster(name: str, members: Sequence[Json]) -> Json:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": list(members)}]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def _header(name: str, value: str) -> Json:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _address(port: int) -> Json:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}
