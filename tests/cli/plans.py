"""What tests of `plan` share: a shift whose service has told everything, and the table cell by cell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from click.testing import Result

from shifter.core.phases import Phase

if TYPE_CHECKING:
    from tests.cli.conftest import World

TIMING = {
    "tick_seconds": 15.0,
    "sample_max_age_seconds": 45.0,
    "read_deadline_seconds": 10.0,
    "operation_timeout_seconds": 120.0,
    "settle_seconds": 0.0,
}


def a_soaking_shift(world: World, *, ago: float = 10, state: dict[str, Any] | None = None, **changes: Any) -> None:  # noqa: ANN401 - any field
    """A shift that soaks at 25 % and has told everything."""
    saved = {"share": 25.0, "phase": Phase.SHIFTING, **(state or {})}
    world.shift(ago=ago, **{**TIMING, "requests_per_second": 400.0, "written": saved["share"], **changes})
    world.state(**saved)


def rows(ran: Result) -> list[list[str]]:
    """The rows of a plan's table, cell by cell."""
    lines = ran.stdout.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("SPLIT")) + 1
    return [re.split(r" {3,}", row) for row in lines[first : lines.index("", first)]]
