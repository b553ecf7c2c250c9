"""Numbers that people type: within a range, and numbers at all. `nan` is in every range, as comparisons go.

Beside `params.py`: only commands that take numbers pay for it.
"""

from __future__ import annotations

import math
from typing import Any

import click

from shifter.core.balancing.splits import FULL_PERCENT

_HIGHEST_RATE = 10_000_000


class Amount(click.FloatRange):
    """A number above 0 and up to `max`; neither `nan` nor infinite."""

    def __init__(self, most: float) -> None:
        super().__init__(min=0, max=most, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as click's
        """Return the number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number above 0 and at most {self.max:.0f}.", param, ctx)
        return number


def percent() -> Amount:
    """Return what takes a share or a gate: percent."""
    return Amount(FULL_PERCENT)


def requests_per_second() -> Amount:
    """Return what takes a rate of requests; beyond the highest it is a slip of the hand."""
    return Amount(_HIGHEST_RATE)
