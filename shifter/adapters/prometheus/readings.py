"""The answers of Prometheus, turned into one `Reading`: which pods are fresh, and whose requests a series counts.

Anything that cannot be right (a counter below zero, a series without its pod or its response code, the same series
twice, a histogram without its total) refuses the whole read: half a reading would be differenced as if it were whole.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shifter.adapters.outside import BoundedCalls, CrowdedError, OverdueError
from shifter.adapters.prometheus.presence import instants_by_pod, pod_of, refuse_ahead, refuse_strangers, why_none
from shifter.adapters.prometheus.promql import AHEAD_SECONDS, EDGE_LABEL, HalfQuery, Queries, queries
from shifter.adapters.prometheus.recorded import Asking, instants_of, past
from shifter.adapters.prometheus.transport import Answer as Rows
from shifter.adapters.prometheus.transport import Connection, Sample
from shifter.core.counts.counters import Absence
from shifter.core.counts.evidence import BAD_PART, INFINITY_MS, TOTAL_PART, UNKNOWN, Answer, PodReading, Reading, Series
from shifter.core.documents.fleet import CustomMetric, Datasource, LabelNames
from shifter.errors import MetricsUnavailableError
from shifter.ports import Unread

ISTIO_UNKNOWN = "unknown"
"""What Istio writes into a label that it has no value for."""

_NOTHING = frozenset({"", "-", ISTIO_UNKNOWN})
"""How "no flag" and "no gRPC call" are written; Istio has `-` for the first and an empty label for the other."""

MOST_COUNTED = 1e15
"""A larger counter is damaged: a million requests per second take 30 years to get there. Up to here every whole
number is exact, and no sum of such counters can become infinite."""

SERVER_TIME = "vector(time())"
"""Prometheus' own clock, if it is asked as of no particular time."""

_READ_TIMEOUTS = 4
"""A read may take so many times the datasource's timeout, see `Connection.ask`."""

_CODE = re.compile(r"[0-9]{1,3}")
_GRPC_STATUS = re.compile(r"-?[0-9]{1,10}")
_DESTINATION = re.compile(r"[^.]+\.(?P<namespace>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)\.svc(?:\..*)?", re.DOTALL)

_Counters = dict[str, dict[Series, float]]


class PrometheusMetrics:
    """Reads the counters of one mesh's gateway (implements `ports.MeshMetrics`). Safe to call from several threads.

    Args:
        datasource: address, credentials, names and matchers.
        sample_max_age_seconds: a pod whose newest sample is older is not in the reading. An instant query repeats
            a dead pod's last values for five minutes, so this is asked of `timestamp()` and never assumed.
        name: what people call this datasource, e.g. `tcm`.
        custom: the fleet's custom metrics, read besides.
        clock: a monotonic clock, in seconds; bounds the time of a read.
    """

    def __init__(
        self,
        datasource: Datasource,
        sample_max_age_seconds: float,
        name: str,
        *,
        custom: Sequence[CustomMetric] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._datasource = datasource
        self._custom = tuple(custom)
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

    def past(
        self, start: datetime, end: datetime, step: timedelta, edges_ms: Sequence[float]
    ) -> Iterator[Reading | Unread]:
        """Yield the readings that `read` would have returned at `start`, `start` + `step` and so on up to `end`.

        Where the recorded data would have been refused, there is an `Unread`.

        Args:
            start: the first instant, with a time zone.
            end: the last one at most; not after now.
            step: to the millisecond, above 0.
            edges_ms: as for `read`.

        Raises:
            MetricsUnavailableError: no answer, an error, or partial data. Of a thousand instants the answer takes at
                most sixteen times the datasource's timeout, unless it is so much that it is asked for in pieces.
        """
        instants = instants_of(start, end, step)
        return past(
            self._datasource, self._name, self._clock, instants, lambda asked, at: self._read_from(asked, at, edges_ms)
        )

    def _read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        with Connection(self._datasource, self._name, self._clock) as connection:
            return self._read_from(connection, at, edges_ms)

    def _read_from(self, connection: Asking, at: datetime, edges_ms: Sequence[float]) -> Reading:
        known = set(self._datasource.edges_ms)
        edges = tuple(sorted({float(edge) for edge in edges_ms if edge in known}))
        asked = queries(self._datasource, edges, self._custom)
        now, began = at.timestamp(), self._clock()
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

    def _absence(self, connection: Asking, instants: Sequence[float], now: float, began: float) -> Absence:
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
        _add_pairs(counters, answers.halves, labels)
        _add_buckets(counters, answers.buckets, labels, (*edges, INFINITY_MS), metric=metrics.latency_buckets)
        pods = {pod: PodReading(fresh[pod], starts.get(pod), series) for pod, series in counters.items()}
        return Reading(now, pods)


@dataclass(frozen=True, slots=True)
class _Answers:
    """The answers to `Queries`, but for the newest sample."""

    started: Rows
    seen: Rows
    sampled: Rows
    halves: tuple[tuple[HalfQuery, Rows], ...]
    buckets: Rows
    requests: Rows


def _ask(connection: Asking, asked: Queries, at: datetime) -> _Answers:
    """Ask in the order that `Queries` argues for."""
    return _Answers(
        started=connection.ask("process starts", asked.started, at),
        seen=connection.ask("pods that are up", asked.seen, at),
        sampled=connection.ask("sample times", asked.sampled, at),
        halves=tuple(
            (half, connection.ask(f"custom metric {half.pair!r} ({half.part})", half.query, at))
            for half in asked.halves
        ),
        buckets=connection.ask("latency buckets", asked.buckets, at) if asked.buckets else Rows("latency buckets"),
        requests=connection.ask("request counts", asked.requests, at),
    )


def _add_requests(counters: _Counters, answer: Rows, labels: LabelNames, metric: str) -> None:
    seen: set[tuple[str, ...]] = set()
    for sample in answer.samples:
        pod, service, namespace = _place(answer, sample, labels)
        ended = (
            sample.labels.get(labels.code, ""),
            sample.labels.get(labels.flags, ""),
            sample.labels.get(labels.grpc, ""),
        )
        _refuse_twice(answer, seen, (pod, service, namespace, *ended))
        series = Series(subject_of(service, namespace), _ended(answer, ended, labels))
        if pod in counters:
            counters[pod][series] = _sum(answer, metric, counters[pod].get(series, 0.0), _counter(answer, sample))
    _refuse_without_destination(answer, labels)


def _refuse_without_destination(answer: Rows, labels: LabelNames) -> None:
    # Istio writes `unknown` where it knows nothing; it leaves no label out.
    destination = {labels.service, labels.namespace}
    if answer.samples and not any(destination & sample.labels.keys() for sample in answer.samples):
        raise answer.refusal(
            f"no series has the label {labels.service!r} or {labels.namespace!r}, so nobody knows which namespace was "
            "asked; say in the fleet's labels what they are called"
        )


def _ended(answer: Rows, ended: tuple[str, str, str], labels: LabelNames) -> Answer:
    """Return how a series' requests ended; without a whole code or status, errors would pass for successes."""
    code, flags, grpc = ended
    if not code:
        raise answer.refusal(
            f"a series has no label {labels.code!r}, so errors could not be told; say in the fleet's labels what the "
            "response code is called"
        )
    if not _CODE.fullmatch(code):
        raise answer.refusal(f"answered the response code {code!r}; errors are told by whole codes such as 503")
    if grpc not in _NOTHING and not _GRPC_STATUS.fullmatch(grpc):
        raise answer.refusal(
            f"answered the gRPC status {grpc!r} in {labels.grpc!r}; failures are told by numbers such as 14"
        )
    return Answer(code, "" if flags in _NOTHING else flags, "" if grpc in _NOTHING else grpc)


def _add_pairs(counters: _Counters, halves: Iterable[tuple[HalfQuery, Rows]], labels: LabelNames) -> None:
    for half, answer in halves:
        seen: set[tuple[str, ...]] = set()
        for sample in answer.samples:
            pod, service, namespace = _place(answer, sample, labels)
            _refuse_twice(answer, seen, (pod, service, namespace))
            if pod in counters:
                series = Series(subject_of(service, namespace), pair=half.pair, part=half.part)
                so_far = counters[pod].get(series, 0.0)
                counters[pod][series] = _sum(answer, half.metric, so_far, _counter(answer, sample))
        _refuse_without_destination(answer, labels)
        if half.part == TOTAL_PART:
            _refuse_more_than_all(counters, half.pair, answer)


def _refuse_more_than_all(counters: _Counters, pair: str, answer: Rows) -> None:
    """Refuse a pair of which the bad part is more than its total: the two do not belong together."""
    for pod, by_series in counters.items():
        for series, bad in by_series.items():
            if series.pair != pair or series.part != BAD_PART:
                continue
            total = by_series.get(Series(series.subject, pair=pair, part=TOTAL_PART), 0.0)
            if bad > total:
                where = f"of pod {pod!r} for {series.subject or ISTIO_UNKNOWN}"
                raise answer.refusal(
                    f"{total:g} in total {where} and {bad:g} of them bad: total must count the bad too"
                )


def _add_buckets(
    counters: _Counters, answer: Rows, labels: LabelNames, edges: tuple[float, ...], *, metric: str
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
    answer: Rows, found: Iterable[tuple[str, str, str, float]], edges: tuple[float, ...], metric: str
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


def _place(answer: Rows, sample: Sample, labels: LabelNames) -> tuple[str, str, str]:
    found: Mapping[str, str] = sample.labels
    return pod_of(answer, sample, labels.pod), found.get(labels.service, ""), found.get(labels.namespace, "")


def _refuse_twice(answer: Rows, seen: set[tuple[str, ...]], key: tuple[str, ...]) -> None:
    if key in seen:
        raise answer.refusal(f"answered the same series twice: {key}")
    seen.add(key)


def _counter(answer: Rows, sample: Sample) -> float:
    if sample.value < 0:
        raise answer.refusal(f"answered {sample.value!r} for the counter {dict(sample.labels)}")
    return sample.value


def _sum(answer: Rows, metric: str, so_far: float, value: float) -> float:
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
