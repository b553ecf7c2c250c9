"""What every key of a file is, in a sentence, with an example: for editors, for `explain`, and for refusals.

The words stand beside the models and not in them: `core` says what may be written, this says what a person reads of it,
and a description in every field would bury the rules. That none is forgotten is a test's business: it walks the models.
Paths are those of the documentation's tables: `[]` is any entry of a list, `source/target` either side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from shifter.files import mesh_words
from shifter.files.wording import Words

_COMMON: Final[Mapping[str, Words]] = {
    "apiVersion": Words("The format this file is written in; may be left out."),
    "kind": Words(
        "What the file is: ShiftPolicy for one shift, Fleet for what all shifts share, Mesh for the new Istio."
    ),
    "metadata": Words("How the file is named."),
}


_LIMIT: Final = (
    "More than this percentage is held against Istio, as long as TCM itself keeps to it. Without it that is twice TCM's"
    " history and 2 points; with it this, stricter or looser."
)


def _edges(key: str, what: str, tolerance: tuple[float, float], margin: tuple[float, float]) -> Mapping[str, Words]:
    """Return the words of a metric's two edges, each a ratio and points."""
    return {
        f"{key}.tolerance": Words(f"Up to here Istio's {what} is not blamed. Below the margin."),
        f"{key}.tolerance.ratio": Words(f"So many times TCM's {what} ...", (tolerance[0],)),
        f"{key}.tolerance.percent": Words("... and so many percentage points on top.", (tolerance[1],)),
        f"{key}.margin": Words(f"Up to here Istio's {what} counts as no worse than TCM's. Above the tolerance."),
        f"{key}.margin.ratio": Words(f"So many times TCM's {what} ...", (margin[0],)),
        f"{key}.margin.percent": Words("... and so many percentage points on top.", (margin[1],)),
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
        "`auto`, or percent of the traffic that Istio gets, one step after the other: growing, the last 100.",
        ("auto", [1, 5, 25, 50, 100]),
    ),
    "spec.soak": Words(
        "How long each step is kept at least, counted from when the balancer and the metrics show the split.",
        ("1m",),
    ),
    "spec.analysis": Words("What counts as good: Istio is compared with TCM, both live, in every tick."),
    "spec.analysis.falseRollbackPercent": Words(
        "Of all migrations whose Istio is within every tolerance, at most this many percent go back by chance.", (1,)
    ),
    "spec.analysis.hold": Words(
        "How long a share is kept for want of proof, before the shift goes on: bounded, not proven.", ("4m",)
    ),
    "spec.analysis.errors": Words("Which answers are failures, and how many more of them than TCM Istio may have."),
    "spec.analysis.errors.codes": Words(
        "Response codes, or classes of them, that are failures; none of 1xx and 2xx.", (["5xx", "429"],)
    ),
    "spec.analysis.errors.flags": Words(
        "Envoy's response flags that make a request a failure whatever its code.", (["UH", "UF"],)
    ),
    "spec.analysis.errors.grpcStatuses": Words("The numbers of the gRPC statuses that are failures.", ([13, 14],)),
    "spec.analysis.errors.maxPercent": Words(_LIMIT, (1,)),
    **_edges("spec.analysis.errors", "share of failures", (1.1, 0.01), (1.5, 0.1)),
    "spec.analysis.answers": Words(
        "Answers that are no failures by themselves, but are if Istio gives many more of them than TCM."
    ),
    "spec.analysis.answers.codes": Words(
        "Response codes, or classes of them, whose shares are compared.", (["3xx", "401", "403", "404"],)
    ),
    **_edges("spec.analysis.answers", "share of each of these answers", (1.25, 0.5), (1.5, 1)),
    "spec.analysis.latency": Words("How many more slow requests than TCM Istio may have."),
    "spec.analysis.latency.enabled": Words("`false`: latency is neither read nor judged.", (False,)),
    "spec.analysis.latency.quantile": Words("Which part of Istio's requests must be faster than `maxMs`.", (0.99,)),
    "spec.analysis.latency.maxMs": Words(
        "The limit in milliseconds, best one of the fleet's edgesMs; not beyond the last. At this edge it takes the"
        " place of the default, twice TCM's history and 2 points: stricter or looser.",
        (500,),
    ),
    **_edges("spec.analysis.latency", "share of slow requests", (1.25, 0.2), (1.5, 0.5)),
    "spec.analysis.custom": Words("Pairs of counters that the fleet file defines under `customMetrics`."),
    "spec.analysis.custom[].name": Words("The pair's name in the fleet file.", ("throttled",)),
    "spec.analysis.custom[].maxPercent": Words(_LIMIT, (1,)),
    **_edges("spec.analysis.custom[]", "share of what is bad", (1.25, 0.2), (1.5, 0.5)),
    "spec.blastRadius": Words(
        "What a step may cost at worst before it is found out; whichever of the two is more. A larger one waits."
    ),
    "spec.blastRadius.requests": Words("So many failed requests.", (25,)),
    "spec.blastRadius.seconds": Words("So many seconds in which all traffic fails.", (1,)),
    "spec.onFailure": Words(
        "What follows when Istio is worse: back to TCM, one step down and no further up, or only a hold that pages."
    ),
    "spec.wayBack": Words(
        "What must be left of TCM's gateway while Istio has a share, so that everything could be taken back."
    ),
    "spec.wayBack.keepPercent": Words(
        "So much of what TCM had before the first step carries everything. With less no step comes, it pages, and a"
        " rollback goes in stages. 0: only that one healthy member is left.",
        (50,),
    ),
    "spec.wayBack.deployments": Words(
        "The namespaces' own Deployments in TCM's cluster that its traffic needs, as `namespace/name`: their ready"
        " replicas count like the gateway's, and their autoscalers keep them while the shift is under way.",
        (["shop/checkout"],),
    ),
    "spec.approvals": Words("Shares that are not reached before somebody approved, growing from one to the next."),
    "spec.approvals[].before": Words("The share, percent, that waits for an approval.", (50,)),
}

_DATASOURCE: Final = "spec.datasources.source/target"
_CLUSTER: Final = "spec.clusters.source/target"

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
    f"{_DATASOURCE}.labels.flags": Words("The label with Envoy's response flags; may be missing.", ("response_flags",)),
    f"{_DATASOURCE}.labels.grpc": Words(
        "The label with the number of the gRPC status; may be missing.", ("grpc_response_status",)
    ),
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
    "spec.customMetrics": Words(
        "Pairs of counters of both gateways' pods that policies may name in `analysis.custom`: of `total`, so many are"
        " `bad`."
    ),
    "spec.customMetrics[].name": Words("What policies call the pair.", ("logins",)),
    "spec.customMetrics[].bad": Words("The counter of what went wrong; at most as much as `total`."),
    "spec.customMetrics[].bad.metric": Words(
        "A raw counter that grows from zero and has Istio's destination labels.", ("istio_requests_total",)
    ),
    "spec.customMetrics[].bad.matchers": Words(
        "Labels that select what is counted, besides the datasource's matchers.", ({"response_code": "429"},)
    ),
    "spec.customMetrics[].total": Words("The counter of everything, good and bad."),
    "spec.customMetrics[].total.metric": Words(
        "A raw counter that grows from zero and has Istio's destination labels.", ("istio_requests_total",)
    ),
    "spec.customMetrics[].total.matchers": Words(
        "Labels that select what is counted, besides the datasource's matchers.", ({"request_protocol": "http"},)
    ),
    "spec.clusters": Words(
        "Where the gateways run: TCM's replicas are counted and kept by their autoscaler, Istio's must be there before"
        " it gets anything. Without it nobody is asked."
    ),
    _CLUSTER: Words("One mesh's cluster: source is TCM's, target, which may be left out, Istio's."),
    f"{_CLUSTER}.kubeconfigFile": Words(
        "How to reach it; without it, it is the cluster that shifter runs in.", ("/etc/shifter/clusters/tcm.yaml",)
    ),
    f"{_CLUSTER}.context": Words("The context in that file; without it the file's current one.", ("tcm",)),
    f"{_CLUSTER}.gateway": Words("The Deployment of the mesh's ingress gateway."),
    f"{_CLUSTER}.gateway.namespace": Words("Its namespace.", ("istio-system",)),
    f"{_CLUSTER}.gateway.deployment": Words("Its name.", ("istio-ingressgateway",)),
    f"{_CLUSTER}.gateway.autoscaler": Words(
        "The HorizontalPodAutoscaler that scales it; without it the one that says so is found.",
        ("istio-ingressgateway",),
    ),
    f"{_CLUSTER}.gateway.uid": Words(
        "The Deployment's metadata.uid: a Deployment of that name with another uid is another cluster's, and not"
        " believed.",
        ("7c1d0c9e-3f1a-4a53-9d0e-2a6b8f5f1c11",),
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
    "spec.provider.tencent.timeout": Words("The limit of each wait of a call, which takes three at most.", ("2.5s",)),
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
    "spec.lease": Words("How replicas in a cluster take turns; a store in a file has no lease of this kind."),
    "spec.lease.duration": Words("Without a renewal for so long another replica takes over.", ("30s",)),
    "spec.lease.deadline": Words(
        "The leader gives up so long after its last renewal; at most duration / 1.5, for clocks of unlike speed.",
        ("20s",),
    ),
    "spec.lease.writeBudget": Words(
        "Of the deadline so much must be left for a climb to start; at most deadline - 2 x renew.", ("8s",)
    ),
    "spec.lease.renew": Words("How often the leader renews, and a standby looks.", ("5s",)),
    "spec.lease.call": Words("How long one renewal may take; twice that and renew fit into the deadline.", ("5s",)),
    "spec.lease.lowering": Words(
        "How long shares may still be lowered, and no more, while the API server does not answer.", ("15m",)
    ),
    "spec.learning": Words("How it is learnt what TCM is like, before the first step and from TCM alone."),
    "spec.learning.historyTicks": Words("The newest ticks that count; with all of them any traffic will do.", (240,)),
    "spec.learning.minTicks": Words("So many ticks at least, unless it is all of historyTicks.", (8,)),
    "spec.learning.minRequests": Words("... with so many requests.", (100,)),
    "spec.learning.onePodDispersion": Words(
        "How many failures are taken to come at once where TCM's gateway has no two pods to compare; 1 is one by one.",
        (2,),
    ),
    "spec.retention": Words("How long history and answered orders are kept; at least 1d.", ("180d",)),
}

MESH_WORDS: Final[Mapping[str, Words]] = {**_COMMON, **mesh_words.MESH_WORDS}

WORDS: Final[Mapping[str, Mapping[str, Words]]] = {
    "ShiftPolicy": POLICY_WORDS,
    "Fleet": FLEET_WORDS,
    "Mesh": MESH_WORDS,
}
"""By kind and path."""

LISTED_ONCE: Final[Mapping[str, str]] = {
    "spec.namespaces": "a namespace",
    "spec.traffic.clb.routes": "a route",
    "spec.analysis.errors.codes": "a code",
    "spec.analysis.errors.flags": "a flag",
    "spec.analysis.errors.grpcStatuses": "a status",
    "spec.analysis.answers.codes": "a code",
    "spec.analysis.custom": "a metric",
    "spec.wayBack.deployments": "a Deployment",
}
"""Lists of a policy in which nothing may stand twice, and what an entry is called; of mappings their `name` counts."""


def key_of(path: Sequence[str | int]) -> str:
    """Return the path under which a place of a document has its words."""
    key = ""
    for step in path:
        if isinstance(step, int):
            key = f"{key}[]"
        else:
            both = step in {"source", "target"} and key.endswith((".clb", ".datasources", ".clusters"))
            key = f"{key}.{'source/target' if both else step}" if key else step
    return key


def example_of(kind: str, path: Sequence[str | int]) -> object:
    """Return the plainest value that a place of a document may have; None if the words show none."""
    words = WORDS.get(kind, {}).get(key_of(path))
    return words.examples[0] if words and words.examples else None
