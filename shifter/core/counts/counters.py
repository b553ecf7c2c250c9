"""From raw counters to counts: what one side's gateway pods did between two reads.

`rate()` loses the first increment of every new series, which is exactly the first 503 of a fresh pod, and
`increase()` extrapolates. So raw counters are differenced here, one pod at a time, by one table. "Began since"
compares the process start that the pod reports with the last sample we believed (for a pod not known: with the
newest sample of the side's last read). Both are by the datasource's clock, so that it may differ from shifter's. The
gap is the time since that sample was read, and too long means more than two ticks.

    pod        this reading                             counted           believed afterwards
    ---------  ---------------------------------------  ----------------  -------------------
    not known  began since the side's last read         all, from zero    this reading
    not known  began earlier, or nobody knows           nothing           this reading
    known      pod is missing                           nothing           the old one (1)
    known      sample older than the believed one       nothing           the old one (2)
    known      process began since                      all, from zero    this reading
    known      no request series any more               nothing           the old one (3)
    known      gap too long                             nothing           this reading (4)
    known      a series fell or vanished                nothing           the old one (5)
    known      nothing fell                             the differences,  this reading
                                                        a new series
                                                        from zero (6)

1. A pod unseen for `FORGET_AFTER_SECONDS` is forgotten, so that memory does not grow with every rollout.
2. A lagging replica, or a clock set back. Counting forward from it would count the same requests again.
3. A process keeps its counters, so the metric was renamed, dropped or no longer matches. Believed, it would look like
   a mesh without traffic. After `FORGET_AFTER_SECONDS` it is believed all the same (metric rotation of an idle pod).
4. The whole pod: differencing its old series while series born in the gap become baselines would count the old
   successes and lose the new errors, a bias towards healthy.
5. Also the whole pod, for the same reason. What fell without a newer process start was sampled wrongly, and the
   next good sample makes up for it. A fall that lasts runs into the gap rule: it becomes the baseline and is
   never counted, but the pod is not blind for ever (metric rotation, a restart that no series tells of).
6. Not a latency edge that was never read of this pod before: its history would count as new.

What of a policy's custom metrics fell is told apart (`Doubt.PAIR_FELL`): a gauge is easily taken for a counter, and
its pod would never be counted again. A pod of which nothing was counted is never passed over in silence: it is in
`SideCounts.dropped` with the reason. What was counted is not judged here; a policy's rules do that in `answers.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shifter.core.counts.evidence import (
    BAD_PART,
    INFINITY_MS,
    UNKNOWN,
    Answer,
    Answers,
    PodReading,
    Reading,
    Series,
    SideCounts,
)

FORGET_AFTER_SECONDS = 3600.0

START_ROUNDING_SECONDS = 1.0
"""Envoy tells its uptime in whole seconds, so a process start may be reckoned so much too early."""

START_JITTER_SECONDS = 10.0
"""How far the computed start of one process may move between samples.

Envoy writes `server.uptime` in whole seconds, and only when it flushes stats (every 5 s unless configured), so
"sample time minus uptime" moves by up to 6 s; the rest is margin.
"""


@dataclass(frozen=True, slots=True)
class Absence(Reading):
    """A reading without any fresh pod, and the sentence that says why: none at all, or samples that are too old."""

    reason: str


class Doubt(StrEnum):
    """Why nothing of a pod is counted although it is there and was read before: its samples cannot be right."""

    FELL = "its counters fell although its process did not start anew"
    PAIR_FELL = "a custom metric of it fell although its process did not start anew: is it a counter?"
    VANISHED = "it shows no request series any more although its process did not start anew"
    OLDER = "its newest sample is older than one that was read before"


class Wait(StrEnum):
    """Why nothing of a pod is counted yet although nothing is wrong with its samples: the next read makes up for it."""

    FIRST_SEEN = "seen for the first time, and it served before that"
    GAP = "not read for more than two ticks before this one"


@dataclass(frozen=True, slots=True)
class PodBaseline:
    """The last reading of one pod that was believed, and when it was read (epoch seconds)."""

    read_at: float
    reading: PodReading


@dataclass(frozen=True, slots=True)
class Baselines:
    """What one side's counters stood at when they were last believed, by pod. Kept in memory only.

    `read_at` is the side's last successful read (epoch seconds), None before the first.
    """

    read_at: float | None = None
    pods: Mapping[str, PodBaseline] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Step:
    """One row of the table, applied: what to believe, what was counted and since when, or why nothing was."""

    baseline: PodBaseline
    deltas: Mapping[Series, float] = field(default_factory=dict)
    since: float | None = None
    why: Doubt | Wait | None = None


def advance(baselines: Baselines, reading: Reading, max_gap_seconds: float) -> tuple[Baselines, SideCounts, float]:
    """Difference a reading against what was believed before, by the table above.

    Args:
        baselines: what the last call returned; `Baselines()` before the first read.
        reading: a successful read of the same side. A failed read is simply not passed here.
        max_gap_seconds: longest time between two reads of a pod that may be differenced; two ticks.

    Returns:
        The new baselines, the counts, and the seconds that the counts cover: back to the earliest believed
        reading among the pods that were counted. 0 says that no pod could be counted, and so that the counts say
        nothing, not even that there was no traffic.
    """
    steps = _steps(baselines, reading, max_gap_seconds)
    kept = {
        name: before
        for name, before in baselines.pods.items()
        if name not in steps and reading.read_at - before.read_at <= max(FORGET_AFTER_SECONDS, max_gap_seconds)
    }
    new = Baselines(reading.read_at, kept | {name: step.baseline for name, step in steps.items()})
    since = min((step.since for step in steps.values() if step.since is not None), default=reading.read_at)
    return new, _side_counts(dict(sorted(steps.items()))), max(0.0, reading.read_at - since)


def doubts(baselines: Baselines, reading: Reading, max_gap_seconds: float) -> dict[str, Doubt]:
    """Return the pods of which `advance` would count nothing because their samples cannot be right, and why."""
    steps = _steps(baselines, reading, max_gap_seconds)
    return {name: step.why for name, step in sorted(steps.items()) if isinstance(step.why, Doubt)}


def _steps(baselines: Baselines, reading: Reading, max_gap_seconds: float) -> dict[str, _Step]:
    last_read_at = _last_read(baselines)
    return {
        name: _step(last_read_at, baselines.pods.get(name), PodBaseline(reading.read_at, pod), max_gap_seconds)
        for name, pod in reading.pods.items()
    }


def _last_read(baselines: Baselines) -> float | None:
    """Return when the side was last read, by the datasource's clock where a sample tells."""
    sampled = [pod.reading.sampled_at for pod in baselines.pods.values() if pod.read_at == baselines.read_at]
    return max(sampled, default=baselines.read_at)


def _step(last_read_at: float | None, before: PodBaseline | None, now: PodBaseline, max_gap_seconds: float) -> _Step:
    if before is None:
        return _first_step(last_read_at, now)
    pod = now.reading
    if pod.sampled_at < before.reading.sampled_at:
        return _Step(before, why=Doubt.OLDER)
    fell = _fallen(before.reading, pod)
    if pod.started_at is not None and _began_since(before.reading, pod.started_at, fell=fell is not None):
        return _Step(now, pod.counters, max(pod.started_at, before.read_at))
    gap_seconds = now.read_at - before.read_at
    if _has_requests(before.reading) and not _has_requests(pod) and gap_seconds <= FORGET_AFTER_SECONDS:
        return _Step(before, why=Doubt.VANISHED)
    if gap_seconds <= max_gap_seconds:
        differences = _Step(now, _differences(before.reading, pod), before.read_at)
        return differences if fell is None else _Step(before, why=fell)
    return _Step(now, why=Wait.GAP)


def _has_requests(pod: PodReading) -> bool:
    return any(series.answer is not None for series in pod.counters)


def _first_step(last_read_at: float | None, now: PodBaseline) -> _Step:
    pod = now.reading
    if last_read_at is not None and pod.started_at is not None and pod.started_at > last_read_at:
        return _Step(now, pod.counters, pod.started_at)
    return _Step(now, why=Wait.FIRST_SEEN)


def _began_since(before: PodReading, started_at: float, *, fell: bool) -> bool:
    """Tell a new process from the jitter of a young one's start; counters that fell settle it."""
    # The start is reckoned from an uptime in whole seconds, so it may seem to lie before the last sample.
    if started_at <= before.sampled_at - (START_ROUNDING_SECONDS if fell else 0.0):
        return False
    return fell or before.started_at is None or started_at - before.started_at > START_JITTER_SECONDS


def _fallen(before: PodReading, now: PodReading) -> Doubt | None:
    """Say whether any counter is lower than before; an edge that is no longer read at all has not fallen."""
    read = {series.edge_ms for series in now.counters} | {None}
    fallen = [
        series
        for series, value in before.counters.items()
        if value > now.counters.get(series, 0.0) and series.edge_ms in read
    ]
    if not fallen:
        return None
    return Doubt.PAIR_FELL if all(series.pair for series in fallen) else Doubt.FELL


def _differences(before: PodReading, now: PodReading) -> dict[Series, float]:
    known = {series.edge_ms for series in before.counters} | {None}
    return {
        series: value - before.counters.get(series, 0.0)
        for series, value in now.counters.items()
        if not before.counters or series.edge_ms in known
    }


def _side_counts(steps: Mapping[str, _Step]) -> SideCounts:
    """Add up what was counted, in two halves of the pods that were; `steps` are sorted by pod."""
    counted = [step.deltas for step in steps.values() if step.since is not None]
    first, second = _by_subject(counted[::2]), _by_subject(counted[1::2])
    nobody = Answers()
    together = {
        subject: first[subject] + second[subject]
        if subject in first and subject in second
        else first.get(subject) or second.get(subject, nobody)
        for subject in sorted(first.keys() | second.keys())
    }
    unknown = together.pop(UNKNOWN, nobody)
    first.pop(UNKNOWN, None)
    return SideCounts(
        by_namespace=together,
        unknown=unknown,
        first_half=first if len(counted) > 1 else None,
        dropped={name: str(step.why) for name, step in steps.items() if step.why is not None},
        sampled_at=max((step.baseline.reading.sampled_at for step in steps.values()), default=None),
    )


@dataclass(slots=True)
class _Sum:
    """What one subject adds up to while pods are still added; `buckets` is None until a pod measured anybody.

    `quiet` is the histogram of a pod that measured nobody: Envoy merges histograms some seconds after it counted the
    requests, so that with little traffic a tick has requests whose latency comes in the next. That is no silence.
    """

    by_answer: dict[Answer, float] = field(default_factory=dict)
    buckets: dict[float, float] | None = None
    quiet: dict[float, float] = field(default_factory=dict)
    pairs: dict[str, list[float]] = field(default_factory=dict)

    def add_buckets(self, of_pod: Mapping[float, float]) -> None:
        """Add one pod's histogram: an edge that only some of the pods could difference is dropped."""
        if INFINITY_MS not in of_pod:
            return
        if of_pod[INFINITY_MS] <= 0:
            self.quiet = dict(of_pod)
        elif self.buckets is None:
            self.buckets = dict(of_pod)
        else:
            self.buckets = {edge: value + of_pod[edge] for edge, value in self.buckets.items() if edge in of_pod}


def _by_subject(deltas_by_pod: Iterable[Mapping[Series, float]]) -> dict[str, Answers]:
    sums: dict[str, _Sum] = {}
    for deltas in deltas_by_pod:
        buckets: dict[str, dict[float, float]] = {}
        for series, delta in deltas.items():
            so_far = sums.get(series.subject)
            if so_far is None:
                so_far = sums[series.subject] = _Sum()
            if series.answer is not None:
                so_far.by_answer[series.answer] = so_far.by_answer.get(series.answer, 0.0) + delta
            elif series.edge_ms is not None:
                buckets.setdefault(series.subject, {})[series.edge_ms] = delta
            else:
                so_far.pairs.setdefault(series.pair, [0.0, 0.0])[0 if series.part == BAD_PART else 1] += delta
        for subject, of_pod in buckets.items():
            sums[subject].add_buckets(of_pod)
    return {subject: _answers(so_far) for subject, so_far in sums.items()}


def _answers(so_far: _Sum) -> Answers:
    buckets = tuple(sorted((so_far.buckets or so_far.quiet).items()))
    return Answers(so_far.by_answer, buckets, {name: (bad, total) for name, (bad, total) in so_far.pairs.items()})
