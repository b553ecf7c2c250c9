"""Both meshes' Prometheus: reachable, showing the gateway's pods, fresh, counting what the policies name.

Asked as of Prometheus' own now: a wrong clock of ours is told under clocks and must not look like missing pods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from shifter.core.analysis.guards import APART_TICKS
from shifter.core.counts.evidence import INFINITY_MS, UNKNOWN, Reading, shared_pods
from shifter.core.documents.fleet import Datasource, Timing
from shifter.core.documents.policy import ShiftPolicy
from shifter.errors import MetricsUnavailableError
from shifter.ports import MeshMetrics, MeshProbe
from shifter.service.checkup.clocks import Offset, measure
from shifter.service.checkup.findings import Finding, Group, Level, Notes, few
from shifter.service.checkup.gathering import Outcome, Unanswered

STALENESS_SECONDS: Final = 300.0
"""How long an instant query repeats the last sample of a series: what is older is not shown at all."""

_LABELS_ASKED_AT_MOST: Final = 6
_PROTOCOL: Final = "request_protocol"
"""Istio's label that says `grpc` of gRPC; it is only looked at to see whether the status is missed."""


@dataclass(frozen=True, slots=True)
class MeshSource:
    """One mesh's datasource. `name` is what people call it, `key` where it stands in the fleet file.

    `metrics` must show pods however old their samples are.
    """

    name: str
    key: str
    settings: Datasource
    metrics: MeshMetrics
    probe: MeshProbe


@dataclass(frozen=True, slots=True)
class MeshLook:
    """What one datasource shows, as of its own now.

    `existing` has, for labels that seem to be wrong, the values that there are; by metric and label. `edges_ms` are
    the latency edges that were asked for. `missing_labels` are labels that no series has and that something is lost
    without, each with what is lost.
    """

    offset: Offset
    reading: Reading
    scrape_seconds: float | None
    edges_ms: tuple[float, ...] = ()
    existing: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    missing_labels: Mapping[str, str] = field(default_factory=dict)


def look(source: MeshSource, policies: Iterable[ShiftPolicy], now: Callable[[], float]) -> MeshLook:
    """Return what a datasource shows.

    Raises:
        MetricsUnavailableError: it does not answer, or not with what can be believed.
    """
    settings = source.settings
    # A shift learns from all of them which it will hold against each other.
    edges = settings.edges_ms if any(policy.spec.analysis.latency.enabled for policy in policies) else ()
    offset = measure(source.probe, now)
    reading = source.metrics.read(datetime.fromtimestamp(now() + offset.seconds, UTC), edges)
    scrape_seconds = source.probe.scrape_seconds()
    wrong: list[tuple[str, str, Mapping[str, str]]] = []
    if not reading.pods:
        wrong = [(settings.metrics.uptime, label, {}) for label in settings.pod_matchers]
    elif not _subjects(reading):
        wrong = [(settings.metrics.requests, label, {}) for label in settings.matchers]
    elif set(edges) - _edges(reading):
        wrong = [(settings.metrics.latency_buckets, "le", settings.matchers)]
    existing = {(metric, label): _values(source.probe, metric, label, matchers)
                for metric, label, matchers in wrong[:_LABELS_ASKED_AT_MOST]}  # fmt: skip
    missing = _missing_labels(source, reading)
    return MeshLook(offset, reading, scrape_seconds, edges, existing, missing)


def _missing_labels(source: MeshSource, reading: Reading) -> Mapping[str, str]:
    """Return the labels that would tell answers apart and are nowhere, and what cannot be told without them."""
    settings, found = source.settings, dict[str, str]()
    answers = [series.answer for pod in reading.pods.values() for series in pod.counters if series.answer is not None]
    if not answers:
        return found
    if not any(answer.flags for answer in answers) and _is_absent(source, settings.labels.flags):
        found[settings.labels.flags] = "a client that left looks like any other answer, and errors.flags finds nothing"
    speaks_grpc = not _is_absent(source, _PROTOCOL) and "grpc" in _values(
        source.probe, settings.metrics.requests, _PROTOCOL, settings.matchers
    )
    if speaks_grpc and not any(answer.grpc for answer in answers) and _is_absent(source, settings.labels.grpc):
        found[settings.labels.grpc] = "there are gRPC calls, and a failed one is HTTP 200 like any other"
    return found


def _is_absent(source: MeshSource, label: str) -> bool:
    """Return whether no series has a label; what nobody answered is not known to be absent."""
    try:
        return not source.probe.values(source.settings.metrics.requests, label, source.settings.matchers)
    except MetricsUnavailableError:
        return False


def _values(probe: MeshProbe, metric: str, label: str, matchers: Mapping[str, str]) -> Sequence[str]:
    try:
        return probe.values(metric, label, matchers)
    except MetricsUnavailableError:
        return ()  # only a suggestion is lost


def findings(
    sources: Sequence[MeshSource],
    looks: Mapping[str, MeshLook | Unanswered],
    policies: Mapping[str, ShiftPolicy],
    timing: Timing,
) -> Sequence[Finding]:
    """Return what is wrong with the datasources, each alone and both together. `looks` are by the sources' names."""
    notes = Notes(Group.DATASOURCES)
    seen: dict[str, Reading] = {}
    for source in sources:
        found = looks[source.name]
        if isinstance(found, Unanswered):
            _unreachable(notes, source, found)
            continue
        seen[source.name] = found.reading
        notes.ok(source.name, f"answers at {source.settings.url}")
        if _pods(notes, source, found):
            _ages(notes, source, found, timing)
            _scrapes(notes, source, found, timing)
            _series(notes, source, found)
            _labels(notes, source, found)
            _latency(notes, source, found)
    if len(seen) == len(sources) and all(reading.pods for reading in seen.values()):
        _namespaces(notes, seen, policies)
        _apart(notes, seen, timing)
        first, second = seen.values()
        if twins := shared_pods(first, second):
            text = f"both sides count the same pods: {few(twins)}"
            notes.problem("both", text, "edit the matchers and podMatchers of one side, so that each finds its own")
    return notes.found


def _unreachable(notes: Notes, source: MeshSource, found: Unanswered) -> None:
    where = f"spec.datasources.{source.key}"
    if found.outcome is Outcome.BROKEN:
        notes.unknown(source.name, found.why, "report it with `shifter bundle`")
    elif found.remedy:
        notes.problem(source.name, found.why, f"{found.remedy} (in {where})")
    else:
        fix = f"see whether it runs and this machine reaches it: curl -s '{source.settings.url}/-/ready'; else {where}"
        notes.unknown(source.name, found.why, fix, unreachable=True)


def _pods(notes: Notes, source: MeshSource, found: MeshLook) -> bool:
    subject = f"{source.name} pods"
    if found.reading.pods:
        pods = found.reading.pods
        notes.ok(subject, f"{len(pods)} found by podMatchers: {few(pods, 3)}")
        return True
    settings = source.settings
    text = f"no series of {settings.metrics.uptime} with {_shown(settings.pod_matchers)} in the last 5 minutes"
    place = f"spec.datasources.{source.key}.podMatchers"
    notes.problem(subject, text, _suggestion(found, place) or _no_series(settings.metrics.uptime))
    return False


def _no_series(metric: str) -> str:
    scrape = "let Prometheus scrape the gateway's pods (port 15020, /stats/prometheus)"
    return f"there is no series of {metric} at all: {scrape}"


def _suggestion(found: MeshLook, place: str) -> str:
    told = [f"{label} is {few(values, 10)}" for (_, label), values in found.existing.items() if values]
    return f"edit {place}; what there is: {'; '.join(told)}" if told else ""


def _ages(notes: Notes, source: MeshSource, found: MeshLook, timing: Timing) -> None:
    subject, limit = f"{source.name} samples", timing.sample_max_age.total_seconds()
    ages = {name: found.reading.read_at - pod.sampled_at for name, pod in found.reading.pods.items()}
    youngest, old = min(ages.values()), [name for name, age in ages.items() if age > limit]
    text = f"the newest is {youngest:.0f} s old, sampleMaxAge is {limit:g} s"
    if len(old) == len(ages):
        fix = "see whether Prometheus still scrapes these pods (its page /targets), or raise spec.timing.sampleMaxAge"
        notes.problem(subject, text, fix)
    elif old:
        fix = "nothing if these pods have just ended; else see Prometheus' page /targets"
        notes.warning(subject, f"{text}; older than that: {few(old)}", fix)
    else:
        notes.ok(subject, text)


def _scrapes(notes: Notes, source: MeshSource, found: MeshLook, timing: Timing) -> None:
    subject, every = f"{source.name} scrapes", found.scrape_seconds
    if every is None:
        text = "how often cannot be told: no pod has been scraped for five minutes"
        notes.unknown(subject, text, "look again in five minutes")
        return
    tick, max_age = timing.tick.total_seconds(), timing.sample_max_age.total_seconds()
    text = f"one every {every:.0f} s; tick {tick:g} s, sampleMaxAge {max_age:g} s"
    fix = f"edit spec.timing: tick: {every:.0f}s, sampleMaxAge: {3 * every:.0f}s; or let Prometheus scrape more often"
    slack = 1.1  # counting over a span that does not begin with a scrape is off by one
    level = Level.OK
    if every > slack * max_age:
        level = Level.PROBLEM
    elif every > slack * tick or 2 * every > slack * max_age:
        level = Level.WARNING
    notes.judged(level, subject, text, fix)


def _series(notes: Notes, source: MeshSource, found: MeshLook) -> None:
    """Tell whether the request metrics are found at all, and carry the labels that shifter reads."""
    settings, subject = source.settings, f"{source.name} requests"
    subjects = _subjects(found.reading)
    if not subjects:
        text = f"no series of {settings.metrics.requests} with {_shown(settings.matchers)}"
        fix = _suggestion(found, f"spec.datasources.{source.key}.matchers")
        # The new gateway has no request to count before its first step; the old one carries everything.
        if source.key == "source":
            notes.problem(subject, text, fix or _no_series(settings.metrics.requests))
        else:
            told = f"normal before its first request, else {fix}" if fix else "normal before its first request"
            notes.warning(subject, text, told)
        return
    place = f"spec.datasources.{source.key}.labels"
    counted = [series.answer for pod in found.reading.pods.values() for series in pod.counters]
    if not any(answer.code for answer in counted if answer is not None):
        text = f"no series has a label {settings.labels.code}: no error would ever be seen"
        notes.problem(subject, text, f"edit {place}.code")
    elif subjects == {UNKNOWN}:
        text = f"no series says whose it is ({settings.labels.service}, {settings.labels.namespace})"
        notes.problem(subject, text, f"edit {place}.service and {place}.namespace")
    else:
        notes.ok(subject, f"counted for {few(subjects - {UNKNOWN})}")


def _labels(notes: Notes, source: MeshSource, found: MeshLook) -> None:
    keys = {source.settings.labels.flags: "flags", source.settings.labels.grpc: "grpc"}
    for label, lost in found.missing_labels.items():
        place = f"spec.datasources.{source.key}.labels.{keys[label]}"
        fix = f"edit {place}, or let the gateways and Prometheus keep the label"
        notes.warning(f"{source.name} label {label}", f"no series has it: {lost}", fix)


def _apart(notes: Notes, seen: Mapping[str, Reading], timing: Timing) -> None:
    """Tell how far apart the two sides are sampled: what struck both in between shows on one of them only."""
    ages = [reading.read_at - max(pod.sampled_at for pod in reading.pods.values()) for reading in seen.values()]
    apart, limit = max(ages) - min(ages), APART_TICKS * timing.tick.total_seconds()
    subject, text = "both samples", f"the newest of the two sides are {apart:.0f} s apart"
    if apart <= limit:
        notes.ok(subject, text)
        return
    said = f"{text}, more than {limit:g} s: an istio that dies is believed after two ticks, not after one"
    fix = f"let both Prometheus scrape the gateways every {max(1.0, limit):.0f} s or more often"
    notes.warning(subject, said, fix)


def _latency(notes: Notes, source: MeshSource, found: MeshLook) -> None:
    if not found.edges_ms or not _subjects(found.reading):
        return
    subject, listed = f"{source.name} latency", _edges(found.reading)
    missing = [edge for edge in found.edges_ms if edge not in listed]
    if not missing:
        notes.ok(subject, f"all {len(found.edges_ms)} edges that the fleet file names")
        return
    place = f"spec.datasources.{source.key}"
    values = [value for values in found.existing.values() for value in values]
    there = f"; there are le {few(values, 10)}" if values else ""
    text = (
        f"{source.settings.metrics.latency_buckets} has no bucket {', '.join(f'{edge:g}' for edge in missing)}{there}"
    )
    notes.problem(subject, text, f"edit {place}.edgesMs to the edges there are, or {place}.metrics.latencyBuckets")


def _namespaces(notes: Notes, seen: Mapping[str, Reading], policies: Mapping[str, ShiftPolicy]) -> None:
    subjects = {name: _subjects(reading) for name, reading in seen.items()}
    for policy in policies.values():
        for namespace in policy.namespaces:
            sides = [name for name, found in subjects.items() if namespace in found]
            subject = f"namespace {namespace}"
            if sides:
                notes.ok(subject, f"counted by {' and '.join(sides)}")
                continue
            there = few(set().union(*subjects.values()) - {UNKNOWN}, 10) or "none"
            text = f"neither side counts a request of it ({policy.name}); counted are: {there}"
            notes.warning(subject, text, "quiet, or called otherwise: compare spec.namespace with those")


def _subjects(reading: Reading) -> set[str]:
    return {series.subject for pod in reading.pods.values() for series in pod.counters if series.answer is not None}


def _edges(reading: Reading) -> set[float]:
    edges = {series.edge_ms for pod in reading.pods.values() for series in pod.counters}
    return {edge for edge in edges if edge is not None and edge != INFINITY_MS}


def _shown(matchers: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{label}="{value}"' for label, value in sorted(matchers.items())) + "}"
