"""A standing by hand: rows of one tick each, and a start at a share that has just been verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from hypothesis import strategies as st

from shifter.core.analysis.learning import MetricHistory
from shifter.core.analysis.measures import Metric
from shifter.core.analysis.sickness import Sickness
from shifter.core.analysis.standing import Row, Standing, advance, at_share
from tests.core.evidences import TICK_SECONDS, a_history, a_policy, a_standing

CUSTOM = a_policy({"latency": {"enabled": False}, "answers": {"codes": ()}, "custom": ({"name": "carts"},)})
CARTS = MetricHistory("carts", rate=0.0, requests=0.0, dispersion=1.0, halves=False)


def with_carts() -> tuple[Standing, tuple[Metric, ...]]:
    """A standing of errors and of a custom pair of which nothing is known."""
    return a_standing(replace(a_history(), metrics=(*a_history().metrics, CARTS)), CUSTOM)


def a_row(target: float, bad: float, source: float, source_bad: float, **how: bool | float) -> Row:
    """One tick of errors alone."""
    return Row(0.0, TICK_SECONDS, ((target, bad, source, source_bad),), **how)  # type: ignore[arg-type]


def added(standing: Standing, metrics: Sequence[Metric], *rows: Row) -> Standing:
    return reduce(lambda so_far, row: advance(so_far, metrics, row), rows, standing)


def a_start(share: float = 50.0, rate: float = 0.01, **history: float) -> tuple[Standing, tuple[Metric, ...]]:
    """A standing at a share that has just been verified, with so many requests that each tick's own ratio is used."""
    standing, metrics = a_standing(replace(a_history(rate, **history), per_tick=1e9))
    return at_share(standing, metrics, share), metrics


def said_of(standing: Standing) -> Sickness | None:
    """How the source's incident is, but for what its rates were before."""
    return None if standing.sickness is None else replace(standing.sickness, rates=())


odd_counts = st.tuples(st.integers(0, 50), st.integers(0, 3), st.integers(0, 50), st.integers(0, 3))
"""One metric's numbers of a tick: (target's requests, bad ones, source's requests, bad ones)."""
