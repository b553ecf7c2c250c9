"""What every key of a file is, in a sentence, with an example: for editors, for `explain`, and for refusals.

The words stand beside the models and not in them: `core` says what may be written, this says what a person reads of it,
and a description in every field would bury the rules. That none is forgotten is a test's business: it walks the models.
Paths are those of the documentation's tables: `[]` is any entry of a list, `source/target` either side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Words:
    """What a key is, and values that it may have, the plainest first."""

    about: str
    examples: tuple[object, ...] = ()


_COMMON: Final[Mapping[str, Words]] = {
    "apiVersion": Words("The format this file is written in; may be left out."),
    "kind": Words("What the file is: ShiftPolicy for one shift, Fleet for what all shifts share."),
    "metadata": Words("How the file is named."),
}

POLICY_WORDS: Final[Mapping[str, Words]] = {
    **_COMMON,
    "metadata.name": Words("The shift's name in every command and in the history: a Kubernetes name.", ("shop",)),
    "spec": Words("What moves, where the split is set, in which steps, and what counts as good."),
    "spec.namespace": Words("The namespace that moves. Give this or `namespaces`.", ("shop",)),
    "spec.namespaces": Words("Namespaces that share routes and must move as one.", (["shop", "cart"],)),
    "spec.traffic": Words("Where the split is set."),
    "spec.traffic.clb": Words("The rules of one CLB whose real servers belong to both meshes' gateways."),
    "spec.traffic.clb.region": Words("The CLB's region, as the API spells it.", ("ap-guangzhou",)),
    "spec.traffic.clb.loadBalancer": Words(
        "The CLB's id. Of all shifts on one CLB, one is written at a time.", ("lb-1a2b3c4d",)
    ),
    "spec.traffic.clb.routes": Words(
        "The rules that carry this shift's traffic; all of them always have the same split."
    ),
    "spec.traffic.clb.routes[].listener": Words("The id of the rule's listener, HTTP or HTTPS.", ("lbl-1a2b3c4d",)),
    "spec.traffic.clb.routes[].domain": Words(
        "The rule's domain, spelled as the rule itself says it.", ("shop.example.com", "*.example.com")
    ),
    "spec.traffic.clb.routes[].url": Words("The rule's path, spelled as the rule itself says it.", ("/", "/pay")),
    "spec.traffic.clb.source/target": Words(
        "How to tell one mesh's real servers from the other's: source is TCM's gateway, target Istio's. Every key"
        " given must match."
    ),
    "spec.traffic.clb.source/target.port": Words("The real servers' port, often the gateway's NodePort.", (30080,)),
    "spec.traffic.clb.source/target.ids": Words("The instances' ids.", (["ins-1a2b3c4d"],)),
    "spec.traffic.clb.source/target.ips": Words("The real servers' private addresses.", (["10.0.0.7"],)),
    "spec.traffic.clb.source/target.tag": Words("The real servers' tag in the CLB.", ("istio",)),
    "spec.steps": Words(
        "Percent of the traffic that Istio gets, one step after the other: growing, the last 100.",
        ([1, 5, 25, 50, 100],),
    ),
    "spec.soak": Words(
        "How much good evidence each step needs, counted from when the balancer and the metrics show the split.",
        ("5m",),
    ),
    "spec.analysis": Words("What counts as good. A guard that fails sends everything back to TCM."),
    "spec.analysis.window": Words("How far back a verdict looks; never across a change of the share.", ("1m",)),
    "spec.analysis.minRequests": Words(
        "Requests in the window that Istio must have answered before a verdict can pass; fewer is too little"
        " traffic, which waits.",
        (100,),
    ),
    "spec.analysis.errors": Words("How many requests may fail: answered with 500 to 599."),
    "spec.analysis.errors.maxPercent": Words("More than this percentage of Istio's requests fails.", (1,)),
    "spec.analysis.errors.overSourcePercent": Words(
        "More than TCM's percentage plus this many percentage points fails.", (0.5,)
    ),
    "spec.analysis.latency": Words("How slow requests may be. Without it latency is neither read nor judged."),
    "spec.analysis.latency.quantile": Words("Which quantile is judged: 0.99 is the p99.", (0.99,)),
    "spec.analysis.latency.maxMs": Words(
        "A slower quantile at Istio fails, in milliseconds. Not beyond the last edge of the fleet's edgesMs.", (500,)
    ),
    "spec.analysis.latency.overSourceRatio": Words("More than this many times TCM's quantile fails.", (1.5,)),
    "spec.onFailure": Words("What a failing verdict does."),
    "spec.approvals": Words("Shares that are not reached before somebody approved, growing from one to the next."),
    "spec.approvals[].before": Words("The share, percent, that waits for an approval.", (50,)),
}

_DATASOURCE: Final = "spec.datasources.source/target"

FLEET_WORDS: Final[Mapping[str, Words]] = {
    **_COMMON,
    "metadata.name": Words("What people call this fleet.", ("guangzhou",)),
    "spec": Words("What all shifts have in common."),
    "spec.mode": Words("`observe` decides and explains and writes nothing to the cloud; `act` does."),
    "spec.datasources": Words("One Prometheus per mesh, or one for both if a label tells the meshes apart."),
    _DATASOURCE: Words("One mesh's Prometheus: source is TCM's, target Istio's."),
    f"{_DATASOURCE}.url": Words(
        "The server's address, without query or user name; redirects are refused.",
        ("http://prometheus.example.com:9090",),
    ),
    f"{_DATASOURCE}.matchers": Words(
        "Labels of the request metrics that only the ingress gateway has.",
        ({"reporter": "source", "source_workload": "istio-ingressgateway"},),
    ),
    f"{_DATASOURCE}.podMatchers": Words(
        "Labels of the uptime metric of the same pods.", ({"app": "istio-ingressgateway"},)
    ),
    f"{_DATASOURCE}.labels": Words("What this Prometheus calls the labels that are read."),
    f"{_DATASOURCE}.labels.pod": Words("The label with the pod's name.", ("pod",)),
    f"{_DATASOURCE}.labels.service": Words("The label with Istio's destination service.", ("destination_service",)),
    f"{_DATASOURCE}.labels.namespace": Words(
        "The label with the destination's namespace.", ("destination_service_namespace",)
    ),
    f"{_DATASOURCE}.labels.code": Words("The label with the response code.", ("response_code",)),
    f"{_DATASOURCE}.metrics": Words("What this Prometheus calls the metrics that are read."),
    f"{_DATASOURCE}.metrics.requests": Words("The counter of requests.", ("istio_requests_total",)),
    f"{_DATASOURCE}.metrics.latencyBuckets": Words(
        "The latency histogram's buckets, in milliseconds.", ("istio_request_duration_milliseconds_bucket",)
    ),
    f"{_DATASOURCE}.metrics.uptime": Words("Seconds since the gateway's process began.", ("envoy_server_uptime",)),
    f"{_DATASOURCE}.edgesMs": Words(
        "The histogram's finite edges, in milliseconds, growing.", ([100, 250, 500, 1000],)
    ),
    f"{_DATASOURCE}.timeout": Words("The limit of one query.", ("5s",)),
    f"{_DATASOURCE}.bearerTokenFile": Words(
        "A file with a token to send, read anew each time.", ("/etc/shifter/prometheus/token",)
    ),
    f"{_DATASOURCE}.caFile": Words(
        "A file with the certificates to trust instead of the system's.", ("/etc/shifter/prometheus/ca.pem",)
    ),
    "spec.provider": Words("The cloud that holds the splits."),
    "spec.provider.tencent": Words("How to reach Tencent Cloud. Secrets are in files, never here."),
    "spec.provider.tencent.secretIdFile": Words(
        "The file with the SecretId, one word.", ("/etc/shifter/tencent/secret-id",)
    ),
    "spec.provider.tencent.secretKeyFile": Words(
        "The file with the SecretKey, one word.", ("/etc/shifter/tencent/secret-key",)
    ),
    "spec.provider.tencent.tokenFile": Words(
        "The file with the session token of temporary keys.", ("/etc/shifter/tencent/token",)
    ),
    "spec.provider.tencent.endpoint": Words("The API's host, perhaps with a port.", ("clb.tencentcloudapi.com",)),
    "spec.provider.tencent.scheme": Words("`http` is for a loopback endpoint, the lab, only."),
    "spec.provider.tencent.timeout": Words("The limit of one call.", ("6s",)),
    "spec.provider.tencent.requestsPerSecond": Words("The pace per action; the API allows 20 per account.", (10,)),
    "spec.timing": Words("The clockwork. The defaults fit a scrape interval of 15 s."),
    "spec.timing.tick": Words("How often every shift is looked at; about the scrape interval.", ("15s",)),
    "spec.timing.sampleMaxAge": Words(
        "Older samples count as not seen, older evidence as no signal; at least a tick.", ("45s",)
    ),
    "spec.timing.readDeadline": Words("How long a tick waits for reads; who is later counts as unanswered.", ("10s",)),
    "spec.timing.operationTimeout": Words(
        "How long a climb may take until it is in force; then it has failed.", ("2m",)
    ),
    "spec.timing.reportEvery": Words("How often an unchanged shift's report is refreshed.", ("30s",)),
    "spec.retention": Words("How long history and answered orders are kept; at least 1d.", ("180d",)),
}

WORDS: Final[Mapping[str, Mapping[str, Words]]] = {"ShiftPolicy": POLICY_WORDS, "Fleet": FLEET_WORDS}
"""By kind and path."""


def key_of(path: Sequence[str | int]) -> str:
    """Return the path under which a place of a document has its words."""
    key = ""
    for step in path:
        if isinstance(step, int):
            key = f"{key}[]"
        else:
            both = step in {"source", "target"} and key.endswith((".clb", ".datasources"))
            key = f"{key}.{'source/target' if both else step}" if key else step
    return key


def example_of(kind: str, path: Sequence[str | int]) -> object:
    """Return the plainest value that a place of a document may have; None if the words show none."""
    words = WORDS.get(kind, {}).get(key_of(path))
    return words.examples[0] if words and words.examples else None
