"""The answers of Prometheus, turned into one `Reading`: which pods are fresh, and whose requests a series counts.

Anything that cannot be right (a counter below zero, a series without its pod, the same series twice) refuses the
whole read: half a reading would be differenced as if it were whole.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from shifter.adapters.outside import BoundedCalls, CrowdedError, OverdueError
from shifter.adapters.prometheus.promql import EDGE_LABEL, Queries, queries
from shifter.adapters.prometheus.transport import Answer, Connection, Sample
from shifter.core.evidence import INFINITY_MS, UNKNOWN, PodReading, Reading, Series
from shifter.core.fleet import Datasource, LabelNames
from shifter.errors import MetricsUnavailableError

ISTIO_UNKNOWN = "unknown"
"""What Istio writes into a label that it has no value for."""

MOST_COUNTED = 1e15
"""A larger counter is damaged: a million requests per second take 30 years to get there. Up to here every whole
number is exact, and no sum of such counters can become infinite."""

_READ_TIMEOUTS = 4
"""A read may take so many times the datasource's timeout, see `Connection.ask`."""

_FUTURE_SECONDS = 1.0
_DESTINATION = re.compile(r"[^.]+\.(?P<namespace>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)\.svc(?:\..*)?", re.DOTALL)

_Counters = dict[str, dict[Series, float]]


class PrometheusMetrics:
    """Reads the counters of one mesh's gateway (implements `ports.MeshMetrics`). Safe to call from several threads.

    Args:
        datasource: address, credentials, names and matchers.
        sample_max_age_seconds: a pod whose newest sample is older is not in the reading. An instant query repeats
            a dead pod's last values for five minutes, so this is asked of `timestamp()` and never assumed.
        name: what people call this datasource, e.g. `tcm`.
        clock: a monotonic clock, in seconds; bounds the time of a read.
    """

    def __init__(
        self,
        datasource: Datasource,
        sample_max_age_seconds: float,
        name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._datasource = datasource
        self._sample_max_age_seconds = sample_max_age_seconds
        self._name = name
        self._clock = clock
        self._calls = BoundedCalls()

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        """Return the counters of the gateway's pods that have a fresh sample, as of `at`.

        A pod that is up without any request yet is there with no counters.

        Args:
            at: evaluation time, with a time zone.
            edges_ms: edges to read besides infinity; one that the datasource does not list is left out.

        Raises:
            MetricsUnavailableError: no answer, an error, partial data, or data that cannot be right. Takes at most
                four times the datasource's timeout.
        """
        try:
            timeout_seconds = _READ_TIMEOUTS * self._datasource.timeout.total_seconds()
            return self._calls.run(lambda: self._read(at, edges_ms), timeout_seconds)
        except (OverdueError, CrowdedError) as error:
            raise MetricsUnavailableError(f"{self._name} metrics ({self._datasource.url}): {error}") from error

    def _read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        known = set(self._datasource.edges_ms)
        edges = tuple(sorted({float(edge) for edge in edges_ms if edge in known}))
        asked = queries(self._datasource, edges)
        with Connection(self._datasource, self._name, self._clock) as connection:
            answers = _ask(connection, asked, at)
        started, seen, sampled, buckets, requests = answers
        labels = self._datasource.labels
        oldest = at.timestamp() - self._sample_max_age_seconds
        newest = at.timestamp() + _FUTURE_SECONDS
        # A pod with request series is judged by those; only a pod without any is judged by its uptime.
        instants = _by_pod(seen, labels.pod, newest) | _by_pod(sampled, labels.pod, newest)
        starts = _by_pod(started, labels.pod, newest)
        counters: _Counters = {pod: {} for pod, instant in instants.items() if instant >= oldest}
        _add_requests(counters, requests, labels, self._datasource.metrics.requests)
        allowed = frozenset((*edges, INFINITY_MS))
        _add_buckets(counters, buckets, labels, allowed, metric=self._datasource.metrics.latency_buckets)
        pods = {pod: PodReading(instants[pod], starts.get(pod), series) for pod, series in counters.items()}
        return Reading(at.timestamp(), pods)


def _ask(connection: Connection, asked: Queries, at: datetime) -> tuple[Answer, ...]:
    """Ask in the order that `Queries` argues for."""
    questions = (
        ("process starts", asked.started),
        ("pods that are up", asked.seen),
        ("sample times", asked.sampled),
        ("latency buckets", asked.buckets),
        ("request counts", asked.requests),
    )
    return tuple(connection.ask(subject, query, at) if query else Answer(subject) for subject, query in questions)


def _by_pod(answer: Answer, pod_label: str, newest: float) -> dict[str, float]:
    """Return an instant (epoch seconds) per pod."""
    instants: dict[str, float] = {}
    for sample in answer.samples:
        pod = _pod(answer, sample, pod_label)
        if pod in instants:
            raise answer.refusal(f"answered pod {pod!r} twice")
        if not 0 < sample.value <= newest:
            raise answer.refusal(f"answered {sample.value!r} for pod {pod!r}, which is no instant in the past")
        instants[pod] = sample.value
    return instants


def _pod(answer: Answer, sample: Sample, pod_label: str) -> str:
    pod = sample.labels.get(pod_label, "")
    if not pod:
        raise answer.refusal(f"a series has no label {pod_label!r}; say in the fleet's labels what the pod is called")
    return pod


def _add_requests(counters: _Counters, answer: Answer, labels: LabelNames, metric: str) -> None:
    seen: set[tuple[str, ...]] = set()
    for sample in answer.samples:
        pod, service, namespace = _place(answer, sample, labels)
        code = sample.labels.get(labels.code, "")
        _refuse_twice(answer, seen, (pod, service, namespace, code))
        if pod in counters:
            series = Series(subject_of(service, namespace), code)
            counters[pod][series] = _sum(answer, metric, counters[pod].get(series, 0.0), _counter(answer, sample))


def _add_buckets(
    counters: _Counters, answer: Answer, labels: LabelNames, edges: frozenset[float], *, metric: str
) -> None:
    spelled: set[tuple[str, ...]] = set()
    values: dict[tuple[str, str, str, float], float] = {}
    for sample in answer.samples:
        place = _place(answer, sample, labels)
        text = sample.labels.get(EDGE_LABEL, "")
        _refuse_twice(answer, spelled, (*place, text))
        edge = _edge(text)
        if edge is None or edge not in edges:
            raise answer.refusal(f"answered the bucket edge {text!r}, which was not asked for")
        # Both spellings of one edge stand side by side for minutes after Prometheus itself went from 2.x to 3.x;
        # the one that still grows is the larger.
        values[*place, edge] = max(_counter(answer, sample), values.get((*place, edge), 0.0))
    for (pod, service, namespace, edge), value in values.items():
        if pod in counters:
            series = Series(subject_of(service, namespace), edge_ms=edge)
            counters[pod][series] = _sum(answer, metric, counters[pod].get(series, 0.0), value)


def _edge(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _place(answer: Answer, sample: Sample, labels: LabelNames) -> tuple[str, str, str]:
    found: Mapping[str, str] = sample.labels
    return _pod(answer, sample, labels.pod), found.get(labels.service, ""), found.get(labels.namespace, "")


def _refuse_twice(answer: Answer, seen: set[tuple[str, ...]], key: tuple[str, ...]) -> None:
    if key in seen:
        raise answer.refusal(f"answered the same series twice: {key}")
    seen.add(key)


def _counter(answer: Answer, sample: Sample) -> float:
    if sample.value < 0:
        raise answer.refusal(f"answered {sample.value!r} for the counter {dict(sample.labels)}")
    return sample.value


def _sum(answer: Answer, metric: str, so_far: float, value: float) -> float:
    total = so_far + value
    if not total <= MOST_COUNTED:
        raise answer.refusal(f"{metric} is at {total:g}, which no counter reaches")
    return total


def subject_of(service: str, namespace: str) -> str:
    """Return the namespace whose requests a series counts, or `UNKNOWN`.

    Args:
        service: Istio's `destination_service`. A Kubernetes service reads `name.namespace.svc` and whatever the
            cluster domain is; a host of a ServiceEntry, or `PassthroughCluster`, does not.
        namespace: Istio's `destination_service_namespace`, believed only if the service does not say. Without a
            chosen upstream host it is `unknown` on Istio up to about 1.22, although the service is still right.
    """
    match = _DESTINATION.fullmatch(service)
    if match:
        return match["namespace"]
    return UNKNOWN if namespace in {"", ISTIO_UNKNOWN} else namespace
