"""The answers of Prometheus, turned into one `Reading`: which pods are fresh, and whose requests a series counts.

Anything that cannot be right (a counter below zero, a series without its pod or its response code, the same series
twice, a histogram without its total) refuses the whole read: half a reading would be differenced as if it were whole.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shifter.adapters.outside import BoundedCalls, CrowdedError, OverdueError
from shifter.adapters.prometheus.presence import instants_by_pod, pod_of, refuse_ahead, refuse_strangers, why_none
from shifter.adapters.prometheus.promql import AHEAD_SECONDS, EDGE_LABEL, Queries, queries
from shifter.adapters.prometheus.transport import Answer, Connection, Sample
from shifter.core.counters import Absence
from shifter.core.evidence import INFINITY_MS, UNKNOWN, PodReading, Reading, Series
from shifter.core.fleet import Datasource, LabelNames
from shifter.errors import MetricsUnavailableError

ISTIO_UNKNOWN = "unknown"
"""What Istio writes into a label that it has no value for."""

MOST_COUNTED = 1e15
"""A larger counter is damaged: a million requests per second take 30 years to get there. Up to here every whole
number is exact, and no sum of such counters can become infinite."""

SERVER_TIME = "vector(time())"
"""Prometheus' own clock, if it is asked as of no particular time."""

_READ_TIMEOUTS = 4
"""A read may take so many times the datasource's timeout, see `Connection.ask`."""

_CODE = re.compile(r"[0-9]{1,3}")
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

        A pod that is up without any request yet is there with no counters. If there is no pod, the reading is an
        `Absence` that says why.

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
        now, began = at.timestamp(), self._clock()
        with Connection(self._datasource, self._name, self._clock) as connection:
            newest = connection.ask("newest sample", asked.newest, at + timedelta(seconds=AHEAD_SECONDS))
            # A scrape may have come since `at`.
            refuse_ahead(newest, now + self._clock() - began)
            answers = _ask(connection, asked, at)
            instants = self._instants(answers, now)
            fresh = {pod: instant for pod, instant in instants.items() if instant >= now - self._sample_max_age_seconds}
            if not fresh:
                return self._absence(connection, tuple(instants.values()), now, began)
        return self._reading(answers, fresh, now, edges)

    def _instants(self, answers: _Answers, now: float) -> dict[str, float]:
        """Return when each pod was last sampled; one with request series is judged by those and not by its uptime."""
        label = self._datasource.labels.pod
        up, counted = instants_by_pod(answers.seen, label, now), instants_by_pod(answers.sampled, label, now)
        refuse_strangers(answers.sampled, up.keys(), counted.keys(), label)
        return up | counted

    def _absence(self, connection: Connection, instants: Sequence[float], now: float, began: float) -> Absence:
        def ahead() -> float:
            try:
                answer = connection.ask("its clock", SERVER_TIME, None)
            except MetricsUnavailableError:
                return math.nan  # the samples are too old all the same
            return max((each.value for each in answer.samples), default=math.nan) - (now + self._clock() - began)

        why = why_none(self._datasource, instants, now, self._sample_max_age_seconds, ahead)
        return Absence(now, {}, f"{connection.where}: {why}")

    def _reading(self, answers: _Answers, fresh: Mapping[str, float], now: float, edges: tuple[float, ...]) -> Reading:
        labels, metrics = self._datasource.labels, self._datasource.metrics
        starts = instants_by_pod(answers.started, labels.pod, now)
        counters: _Counters = {pod: {} for pod in fresh}
        _add_requests(counters, answers.requests, labels, metrics.requests)
        _add_buckets(counters, answers.buckets, labels, (*edges, INFINITY_MS), metric=metrics.latency_buckets)
        pods = {pod: PodReading(fresh[pod], starts.get(pod), series) for pod, series in counters.items()}
        return Reading(now, pods)


@dataclass(frozen=True, slots=True)
class _Answers:
    """The answers to `Queries`, but for the newest sample."""

    started: Answer
    seen: Answer
    sampled: Answer
    buckets: Answer
    requests: Answer


def _ask(connection: Connection, asked: Queries, at: datetime) -> _Answers:
    """Ask in the order that `Queries` argues for."""
    return _Answers(
        started=connection.ask("process starts", asked.started, at),
        seen=connection.ask("pods that are up", asked.seen, at),
        sampled=connection.ask("sample times", asked.sampled, at),
        buckets=connection.ask("latency buckets", asked.buckets, at) if asked.buckets else Answer("latency buckets"),
        requests=connection.ask("request counts", asked.requests, at),
    )


def _add_requests(counters: _Counters, answer: Answer, labels: LabelNames, metric: str) -> None:
    seen: set[tuple[str, ...]] = set()
    for sample in answer.samples:
        pod, service, namespace = _place(answer, sample, labels)
        code = _code(answer, sample, labels.code)
        _refuse_twice(answer, seen, (pod, service, namespace, code))
        if pod in counters:
            series = Series(subject_of(service, namespace), code)
            counters[pod][series] = _sum(answer, metric, counters[pod].get(series, 0.0), _counter(answer, sample))
    # Istio writes `unknown` where it knows nothing; it leaves no label out.
    destination = {labels.service, labels.namespace}
    if answer.samples and not any(destination & sample.labels.keys() for sample in answer.samples):
        raise answer.refusal(
            f"no series has the label {labels.service!r} or {labels.namespace!r}, so nobody knows which namespace was "
            "asked; say in the fleet's labels what they are called"
        )


def _code(answer: Answer, sample: Sample, label: str) -> str:
    """Return the response code; without a whole one, errors would pass for successes."""
    code = sample.labels.get(label, "")
    if not code:
        raise answer.refusal(
            f"a series has no label {label!r}, so errors could not be told; say in the fleet's labels what the "
            "response code is called"
        )
    if not _CODE.fullmatch(code):
        raise answer.refusal(f"answered the response code {code!r}; errors are told by whole codes such as 503")
    return code


def _add_buckets(
    counters: _Counters, answer: Answer, labels: LabelNames, edges: tuple[float, ...], *, metric: str
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
    _refuse_gaps(answer, values.keys(), edges, metric)
    for (pod, service, namespace, edge), value in values.items():
        if pod in counters:
            series = Series(subject_of(service, namespace), edge_ms=edge)
            counters[pod][series] = _sum(answer, metric, counters[pod].get(series, 0.0), value)


def _refuse_gaps(
    answer: Answer, found: Iterable[tuple[str, str, str, float]], edges: tuple[float, ...], metric: str
) -> None:
    """Refuse a histogram that lacks an edge: a quantile of it could be anything between its neighbours."""
    by_place: dict[tuple[str, str, str], set[float]] = {}
    for pod, service, namespace, edge in found:
        by_place.setdefault((pod, service, namespace), set()).add(edge)
    for (pod, _, _), present in by_place.items():
        missing = [edge for edge in edges if edge not in present]
        if not missing:
            continue
        if INFINITY_MS in missing:
            raise answer.refusal(f"{metric} of pod {pod!r} has no bucket +Inf, which is its total")
        said = ", ".join(f"{edge:g}" for edge in missing)
        raise answer.refusal(
            f"{metric} of pod {pod!r} has no bucket at {said} ms; write the edges it has into the fleet's edgesMs"
        )


def _edge(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _place(answer: Answer, sample: Sample, labels: LabelNames) -> tuple[str, str, str]:
    found: Mapping[str, str] = sample.labels
    return pod_of(answer, sample, labels.pod), found.get(labels.service, ""), found.get(labels.namespace, "")


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
