"""A report of tests that are about something else: what the service would say of a shift, but for what a test says."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from shifter.core.phases import Phase
from shifter.core.state import HoldReport, Report


def a_report(at: datetime, name: str = "shop", **facts: Any) -> Report:  # noqa: ANN401 - any field
    """A shift that holds at 25 %, where it has been since, and that passes; `facts` are fields of the report."""
    usual: dict[str, Any] = {
        "mode": "act",
        "namespaces": (name,),
        "phase": Phase.SHIFTING,
        "since": at,
        "step": 1,
        "steps": (25, 100),
        "wanted": 25,
        "written": 25,
        "observed": None,
        "attempt": 1,
        "decision": "hold",
        "reason": "",
        "verdict": "pass",
    }
    return Report(name=name, at=at, **{**usual, **facts})


def held(*kinds: str) -> tuple[HoldReport, ...]:
    """Holds of these kinds, as a report tells them."""
    return tuple(HoldReport(kind=kind, reason="because") for kind in kinds)
