"""Arithmetic of spans of time."""

from __future__ import annotations

from collections.abc import Iterable


def overlap_seconds(start: float, end: float, spans: Iterable[tuple[float, float]]) -> list[float]:
    """How much of each span lies within two times."""
    return [max(0.0, min(end, until) - max(start, since)) for since, until in spans]
