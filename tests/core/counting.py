"""Readings of one side's pods, and what counting them one after another comes to."""

from __future__ import annotations

from collections.abc import Mapping

from shifter.core.counts.answers import BadAnswers, counts_of
from shifter.core.counts.counters import Baselines, advance
from shifter.core.counts.evidence import Answer, Answers, Counts, PodReading, Reading, Series, SideCounts

GAP = 30.0
NOON = 1_800_000_000.0
RULES = BadAnswers()
LONG_AGO = NOON - 100_000


def ended(code: str, subject: str = "shop", *, flags: str = "", grpc: str = "") -> Series:
    return Series(subject, Answer(code, flags, grpc))


OK = ended("200")
BAD = ended("503")


def bucket(edge_ms: float, subject: str = "shop") -> Series:
    return Series(subject, edge_ms=edge_ms)


def pod(
    counters: Mapping[Series, float], *, sampled_at: float = NOON, started_at: float | None = LONG_AGO
) -> PodReading:
    return PodReading(sampled_at, started_at, counters)


def reading(after_seconds: float, **pods: PodReading) -> Reading:
    return Reading(NOON + after_seconds, pods)


def run(*readings: Reading, gap: float = GAP) -> tuple[Baselines, list[SideCounts], list[float]]:
    baselines, all_counts, spans = Baselines(), [], []
    for each in readings:
        baselines, counts, span = advance(baselines, each, gap)
        all_counts.append(counts)
        spans.append(span)
    return baselines, all_counts, spans


def half(pair: str, part: str, subject: str = "shop") -> Series:
    return Series(subject, pair=pair, part=part)


def judged(answers: Answers) -> Counts:
    """Return what the default rules say."""
    return counts_of(answers, RULES)


def shop(counts: SideCounts) -> Counts:
    return judged(counts.of(["shop"]))
