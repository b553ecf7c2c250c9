"""Istio's standard metrics out of a plain Envoy: pure rendering of access loggers.

Envoy's stats access logger counts requests with tags of our choosing, so a gateway of the lab exports
`envoy_istio_requests_total` and `envoy_istio_request_duration_milliseconds` (its default histogram has Istio's bucket
edges), and Prometheus only strips the prefix. Sources: Envoy's `access_loggers.stats.v3` and
`access_loggers.filters.cel.v3`; Istio's "Standard metrics" reference for the label names.

Istio's awkward semantics are kept, because a reader of the metrics must survive them: labels of the destination are
known only if an upstream host was chosen. No healthy upstream (503, flag UH) and no route (404, NR) say `unknown`; a
client that leaves (DC) has response code 0.

Users of gRPC are known by their request's content type, as Istio knows them; only their series say `grpc` and have a
`grpc_response_status`, Envoy's `GRPC_STATUS_NUMBER` (from the trailers, else the headers, else the HTTP status). Where
it finds none it writes a dash and Istio nothing, so `prometheus` takes the dash away.

The decoys are series that look right and must not be counted: the same metric as seen by the destination's sidecars,
by a sidecar client in the same namespace, and by a second gateway. They say that nearly everything fails slowly, so
counting one changes a verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shifter.lab.topology import GATEWAY_NAMESPACE, GATEWAY_WORKLOAD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shifter.lab.topology import Namespace

Json = dict[str, Any]

SCOPE = "istio"
METADATA_KEY = "istio"
UNKNOWN = "unknown"
DESTINATION_LABELS = (
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_workload",
    "destination_workload_namespace",
)
UPSTREAM_CHOSEN = "has(upstream.address)"
SPEAKS_GRPC = "'content-type' in request.headers && request.headers['content-type'].startsWith('application/grpc')"
GRPC_STATUS_LABEL = "grpc_response_status"
NO_GRPC_STATUS = "-"
SECOND_GATEWAY_WORKLOAD = f"{GATEWAY_WORKLOAD}-intranet"
CLIENT_WORKLOAD = "web"
DECOY_HEADER = "x-decoy-milliseconds"
DECOY_MILLISECONDS = 2_500
DECOY_STATUS = 503
DECOY_REQUESTS_PER_PROBE = 5


def destination_metadata(namespace: Namespace) -> Json:
    """Endpoint metadata from which a gateway takes the destination's labels."""
    return {
        "filter_metadata": {
            METADATA_KEY: {
                "destination_service": namespace.service,
                "destination_service_name": namespace.name,
                "destination_service_namespace": namespace.name,
                "destination_workload": namespace.name,
                "destination_workload_namespace": namespace.name,
            }
        }
    }


def gateway_loggers(mesh: str) -> list[Json]:
    """The access loggers of a mesh's gateway pod: for requests that reached a host or did not, by protocol."""
    source = {
        "reporter": "source",
        "source_workload": GATEWAY_WORKLOAD,
        "source_workload_namespace": GATEWAY_NAMESPACE,
        "source_cluster": mesh,
    }
    known = {label: f"%UPSTREAM_METADATA({METADATA_KEY}:{label})%" for label in DESTINATION_LABELS}
    unknown = dict.fromkeys(DESTINATION_LABELS, UNKNOWN)
    measured = {"response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%"}
    protocols = {
        f"!({SPEAKS_GRPC})": {"request_protocol": "http"},
        SPEAKS_GRPC: {"request_protocol": "grpc", GRPC_STATUS_LABEL: "%GRPC_STATUS_NUMBER%"},
    }
    return [
        _logger(source | destination | measured | protocol, "%DURATION%", only_if=f"{reached} && {spoken}")
        for reached, destination in ((UPSTREAM_CHOSEN, known), (f"!{UPSTREAM_CHOSEN}", unknown))
        for spoken, protocol in protocols.items()
    ]


def decoy_loggers(mesh: str, namespace: Namespace) -> list[Json]:
    """The three misleading reports about a namespace, each for every request that the decoy listener gets."""
    destination = dict(destination_metadata(namespace)["filter_metadata"][METADATA_KEY])
    failed = {"response_code": str(DECOY_STATUS), "response_flags": "UF"}
    result = failed | {"source_cluster": mesh, "request_protocol": "http"}
    decoys = (
        ("destination", GATEWAY_WORKLOAD, GATEWAY_NAMESPACE),
        ("source", CLIENT_WORKLOAD, namespace.name),
        ("source", SECOND_GATEWAY_WORKLOAD, GATEWAY_NAMESPACE),
    )
    return [
        _logger(
            {"reporter": reporter, "source_workload": workload, "source_workload_namespace": home}
            | destination
            | result,
            f"%REQUEST_HEADER({DECOY_HEADER})%",
            only_if=f"request.host == '{namespace.name}'",
            requests=DECOY_REQUESTS_PER_PROBE,
        )
        for reporter, workload, home in decoys
    ]


def _logger(labels: Mapping[str, str], duration_format: str, only_if: str, requests: int = 1) -> Json:
    tags = [{"name": name, "value_format": value} for name, value in labels.items()]
    return {
        "name": "envoy.access_loggers.stats",
        "filter": {
            "extension_filter": {
                "name": "cel",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                    "expression": only_if,
                },
            }
        },
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config",
            "stats_scope": {"prefix": SCOPE},
            "counters": [{"stat": {"name": "requests_total", "tags": tags}, "value_fixed": requests}],
            "histograms": [
                {
                    "stat": {"name": "request_duration_milliseconds", "tags": tags},
                    "unit": "Milliseconds",
                    "value_format": duration_format,
                }
            ],
        },
    }
