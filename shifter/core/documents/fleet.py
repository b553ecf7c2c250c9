"""`kind: Fleet`: what all shifts have in common: the two datasources, the cloud, the clockwork, who may write.

One file per shifter. Secrets are never in it, only the names of the files that hold them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shifter.core.documents.clusters import Clusters
from shifter.core.documents.leasing import Leasing
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.documents.schema import (
    API_VERSION,
    Duration,
    Metadata,
    Name,
    StrictModel,
    second_of_its_kind,
    show_duration,
)

_LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
_MetricName = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
_Url = Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]

ISTIO_EDGES_MS = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000)
"""The bucket edges of istio_request_duration_milliseconds that Istio and Envoy ship (Envoy's default histogram)."""


MOST_CUSTOM_METRICS = 10
"""Each costs two queries per side and tick, for everybody."""


def _edges_climb(edges: tuple[float, ...]) -> tuple[float, ...]:
    for index, (before, after) in enumerate(pairwise((0, *edges))):
        if after <= before:
            raise PydanticCustomError(
                "edges", "edgesMs must be above 0 and grow from one to the next", {"at": (index,)}
            )
    return edges


def _isolates(matchers: dict[str, str]) -> dict[str, str]:
    if not set(matchers) - {"reporter"}:
        raise PydanticCustomError(
            "matchers",
            "reporter alone matches every sidecar too; add a label that only the gateway has, e.g. source_workload",
        )
    return matchers


def _outlives_a_day(retention: timedelta) -> timedelta:
    if retention < timedelta(days=1):
        raise PydanticCustomError("retention", "history must be kept for at least 1d")
    return retention


class LabelNames(StrictModel):
    """What the user's Prometheus calls the labels shifter reads.

    Series without `flags` or `grpc` are read all the same: then a failed gRPC call, being HTTP 200, looks like any
    other answer, and an answer's flags are nobody's rule.
    """

    pod: _LabelName = "pod"
    service: _LabelName = "destination_service"
    namespace: _LabelName = "destination_service_namespace"
    code: _LabelName = "response_code"
    flags: _LabelName = "response_flags"
    grpc: _LabelName = "grpc_response_status"


class MetricNames(StrictModel):
    """What the user's Prometheus calls the metrics shifter reads. `uptime` is seconds since process start."""

    requests: _MetricName = "istio_requests_total"
    latency_buckets: _MetricName = "istio_request_duration_milliseconds_bucket"
    uptime: _MetricName = "envoy_server_uptime"


class Datasource(StrictModel):
    """One mesh's Prometheus, and the matchers that isolate that mesh's ingress gateway in it.

    `matchers` are label equalities on the request metrics. `reporter` alone is not enough: every sidecar
    that calls a namespace reports as `source` too. `podMatchers` find the gateway's pods in `uptime`, whose series
    have only the labels of the scrape: a pod that has served nothing yet must be seen as well.
    """

    url: _Url
    matchers: Annotated[dict[_LabelName, str], Field(min_length=1), AfterValidator(_isolates)]
    pod_matchers: Annotated[dict[_LabelName, str], Field(min_length=1)]
    labels: LabelNames = LabelNames()
    metrics: MetricNames = MetricNames()
    edges_ms: Annotated[tuple[float, ...], Field(min_length=1, max_length=64), AfterValidator(_edges_climb)] = (
        ISTIO_EDGES_MS
    )
    timeout: Duration = timedelta(seconds=5)
    bearer_token_file: str | None = None
    ca_file: str | None = None


class Datasources(StrictModel):
    """One datasource per mesh."""

    source: Datasource
    target: Datasource

    @field_validator("target")
    @classmethod
    def _sides_are_apart(cls, target: Datasource, info: ValidationInfo) -> Datasource:
        source = info.data.get("source")
        if source is None or source.url != target.url:
            return target
        for place, ours, theirs in (
            ("matchers", source.matchers, target.matchers),
            ("podMatchers", source.pod_matchers, target.pod_matchers),
        ):
            if all(ours[label] == theirs[label] for label in set(ours) & set(theirs)):
                raise PydanticCustomError(
                    "datasources",
                    "both sides read the same Prometheus and no matcher tells them apart: they would share series",
                    {"at": (place,)},
                )
        return target


class CustomCounter(StrictModel):
    """One raw counter of the gateway's pods. `matchers` come on top of the datasource's own, of either side."""

    metric: _MetricName
    matchers: dict[_LabelName, str] = Field(default_factory=dict)


class CustomMetric(StrictModel):
    """A pair of counters on both sides that policies may name: what is `bad`, as a part of what is counted in `total`.

    Told apart by namespace as the requests are, so the metrics need Istio's destination labels.
    """

    name: Name
    bad: CustomCounter
    total: CustomCounter

    @field_validator("total")
    @classmethod
    def _counts_more_than_bad(cls, total: CustomCounter, info: ValidationInfo) -> CustomCounter:
        if total == info.data.get("bad"):
            raise PydanticCustomError(
                "custom", "bad and total are the same counter: all of it would be bad; give bad a matcher of its own"
            )
        return total


def _names_differ(metrics: tuple[CustomMetric, ...]) -> tuple[CustomMetric, ...]:
    if (twice := second_of_its_kind([metric.name for metric in metrics])) is not None:
        said = "a custom metric of this name is defined already"
        raise PydanticCustomError("twice", said, {"at": (twice, "name")})
    return metrics


CALL_TIMEOUTS: Final = 3
"""A whole call to the cloud may take so many timeouts: one each to connect, to be sent and to be answered."""


class Tencent(StrictModel):
    """How to reach Tencent Cloud. Keys are in files (mounted secrets), re-read when they change.

    `timeout` is of each wait of a call, which ends after `CALL_TIMEOUTS` of them whatever the other side does. In a
    cluster that must fit into the lease's write budget (`late_calls`).
    """

    secret_id_file: str
    secret_key_file: str
    token_file: str | None = None
    endpoint: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:\d{1,5})?$")] = "clb.tencentcloudapi.com"
    scheme: Literal["https", "http"] = "https"
    timeout: Duration = timedelta(seconds=2.5)
    requests_per_second: Annotated[float, Field(gt=0, le=20)] = 10.0

    @field_validator("scheme")
    @classmethod
    def _plain_http_stays_home(cls, scheme: str, info: ValidationInfo) -> str:
        host = info.data.get("endpoint", "127.0.0.1").rsplit(":", 1)[0]
        if scheme == "http" and host not in {"127.0.0.1", "localhost"}:
            raise PydanticCustomError("scheme", "plain http is for a loopback endpoint only")
        return scheme

    @property
    def longest_call(self) -> timedelta:
        """After so long a call has ended, or was given up; its place in line is part of it."""
        return CALL_TIMEOUTS * self.timeout


class Provider(StrictModel):
    """The cloud that holds the splits."""

    tencent: Tencent


class Timing(StrictModel):
    """The clockwork. All defaults fit a 15 s scrape interval.

    `tick`: how often every shift is looked at. `sampleMaxAge`: older samples count as not seen.
    `readDeadline`: how long one tick waits for reads; what is late counts as unanswered in this tick.
    `operationTimeout`: an operation still running after it is read back and treated as failed.
    `reportEvery`: how often an unchanged shift's explanation is refreshed in the store.
    """

    tick: Duration = timedelta(seconds=15)
    sample_max_age: Duration = timedelta(seconds=45)
    read_deadline: Duration = timedelta(seconds=10)
    operation_timeout: Duration = timedelta(minutes=2)
    report_every: Duration = timedelta(seconds=30)

    @model_validator(mode="after")
    def _spans_fit(self) -> Self:
        if self.sample_max_age < self.tick:
            # What the file does not say has a default, and nothing to point at.
            said = "sampleMaxAge" if "sample_max_age" in self.model_fields_set else "tick"
            raise PydanticCustomError("timing", "sampleMaxAge must be at least one tick", {"at": (said,)})
        return self


@dataclass(frozen=True, slots=True)
class Lessons:
    """How history is learnt: from the newest `most_ticks`, once there are `least_ticks` with `least_requests`.

    With all of `most_ticks` it is learnt whatever the requests: a namespace that nobody uses must be able to move.
    `one_pod_dispersion` is taken where the source has no two pods to compare.
    """

    least_ticks: int = 8
    least_requests: float = 100.0
    most_ticks: int = 240
    one_pod_dispersion: float = 2.0


_USUAL: Final = Lessons()


class Learning(StrictModel):
    """How history is learnt before the first step, from the source alone; see `analysis/learning.py`.

    From the newest `historyTicks`, once there are `minTicks` with `minRequests`, or `historyTicks` with whatever
    requests. `onePodDispersion`: how much more failures are taken to cluster than chance where the source's gateway
    has no two pods to compare; 1 is not at all.
    """

    history_ticks: Annotated[int, Field(ge=8, le=720)] = _USUAL.most_ticks
    min_ticks: Annotated[int, Field(ge=2, le=720)] = _USUAL.least_ticks
    min_requests: Annotated[float, Field(ge=0)] = _USUAL.least_requests
    one_pod_dispersion: Annotated[float, Field(ge=1, le=100)] = _USUAL.one_pod_dispersion

    @model_validator(mode="after")
    def _can_be_learnt(self) -> Self:
        if self.min_ticks > self.history_ticks:
            said = "min_ticks" if "min_ticks" in self.model_fields_set else "history_ticks"
            at = {"min_ticks": "minTicks", "history_ticks": "historyTicks"}[said]
            raise PydanticCustomError("learning", "minTicks must be at most historyTicks", {"at": (at,)})
        return self

    def lessons(self) -> Lessons:
        """Return the same as what the analysis takes."""
        return Lessons(self.min_ticks, self.min_requests, self.history_ticks, self.one_pod_dispersion)


class FleetSpec(StrictModel):
    """The body of a fleet file. `retention` is how long history and closed orders are kept.

    `customMetrics` are read in every tick whether or not a policy names them, with two queries each and side.
    Without `clusters` nobody is asked what the source's gateway runs as, and no autoscaler is told anything.
    """

    mode: Literal["act", "observe"] = "act"
    datasources: Datasources
    custom_metrics: Annotated[
        tuple[CustomMetric, ...], Field(max_length=MOST_CUSTOM_METRICS), AfterValidator(_names_differ)
    ] = ()
    clusters: Clusters | None = None
    provider: Provider
    timing: Timing = Timing()
    lease: Leasing = Leasing()
    learning: Learning = Learning()
    retention: Annotated[Duration, AfterValidator(_outlives_a_day)] = timedelta(days=180)

    @field_validator("custom_metrics")
    @classmethod
    def _nothing_else_is_selected(
        cls, metrics: tuple[CustomMetric, ...], info: ValidationInfo
    ) -> tuple[CustomMetric, ...]:
        sources = info.data.get("datasources")
        if sources is None:
            return metrics
        for index, metric in enumerate(metrics):
            for part, half in (("bad", metric.bad), ("total", metric.total)):
                for label, value in half.matchers.items():
                    if any(each.matchers.get(label, value) != value for each in (sources.source, sources.target)):
                        raise PydanticCustomError(
                            "custom",
                            "{label} has another value in a datasource's matchers: both together select nothing",
                            {"label": repr(label), "at": (index, part, "matchers", label)},
                        )
        return metrics


class Fleet(StrictModel):
    """The one fleet file of a shifter."""

    api_version: Literal["shifter.io/v1alpha1"] = Field(default=API_VERSION)
    kind: Literal["Fleet"]
    metadata: Metadata
    spec: FleetSpec


@dataclass(frozen=True, slots=True)
class Misfit:
    """What a policy asks at the dotted `path` that the fleet cannot give, and why."""

    path: tuple[str | int, ...]
    reason: str


def misfits(policy: ShiftPolicy, fleet: Fleet | None) -> Iterable[Misfit]:
    """Yield what a policy asks and the fleet cannot give; without a fleet, what no fleet of defaults could."""
    yield from _unknown_metrics(policy, fleet)
    yield from _unmeasured_latency(policy, fleet)
    if fleet is not None and fleet.spec.clusters is None and policy.spec.way_back.deployments:
        unknown = "the fleet's clusters do not say where tcm's cluster is: nobody could be asked about these"
        yield Misfit(("spec", "wayBack", "deployments"), unknown)


def _unknown_metrics(policy: ShiftPolicy, fleet: Fleet | None) -> Iterable[Misfit]:
    """Custom metrics that the fleet does not define; without a fleet nobody knows what it would."""
    if fleet is None:
        return
    defined = [metric.name for metric in fleet.spec.custom_metrics]
    for index, wanted in enumerate(policy.spec.analysis.custom):
        if wanted.name not in defined:
            there = f"it has {', '.join(defined)}" if defined else "it has none"
            reason = f"the fleet's customMetrics define no {wanted.name!r}: {there}"
            yield Misfit(("spec", "analysis", "custom", index, "name"), reason)


def late_calls(fleet: Fleet) -> str:
    """Return why a write may end only when another replica leads already, for people; empty if none does.

    Only in a cluster: a store in a file has one process, and its lease no time.
    """
    tencent, budget = fleet.spec.provider.tencent, fleet.spec.lease.write_budget
    if tencent.longest_call <= budget:
        return ""
    takes = f"{CALL_TIMEOUTS} x {show_duration(tencent.timeout)} = {show_duration(tencent.longest_call)}"
    return (
        f"spec.provider.tencent.timeout: a call takes at most {takes}, more than spec.lease.writeBudget"
        f" ({show_duration(budget)}): a write that was begun in time could end when another replica leads"
    )


def common_edges_ms(fleet: Fleet) -> tuple[float, ...]:
    """Return the bucket edges that both datasources have, ascending: latency is compared at these."""
    sources = fleet.spec.datasources
    return tuple(sorted({*sources.source.edges_ms} & {*sources.target.edges_ms}))


def _unmeasured_latency(policy: ShiftPolicy, fleet: Fleet | None) -> Iterable[Misfit]:
    """A limit beyond the last edge of a histogram: above that, one second over is as good as one hour."""
    latency = policy.spec.analysis.latency
    if not latency.enabled:
        return
    known: dict[str, Sequence[float]] = {"edgesMs": ISTIO_EDGES_MS}
    if fleet is not None:
        if not common_edges_ms(fleet):
            apart = "the fleet's two datasources have no bucket edge in common, so latency cannot be compared"
            mend = "mend edgesMs there, or say `latency: {enabled: false}` here"
            yield Misfit(("spec", "analysis", "latency"), f"{apart}: {mend}")
            return
        sources = fleet.spec.datasources
        known = {
            "the source's edgesMs": sources.source.edges_ms,
            "the target's edgesMs": sources.target.edges_ms,
            "the edgesMs that both sides have": common_edges_ms(fleet),
        }
    for whose, edges in known.items():
        if latency.max_ms is not None and latency.max_ms > edges[-1]:
            limits = f"{latency.max_ms:.12g} ms is beyond the last of {whose}, {edges[-1]:.12g} ms"
            yield Misfit(("spec", "analysis", "latency", "maxMs"), f"{limits}: nothing slower can be told apart")
            return
