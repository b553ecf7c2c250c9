"""What a run is about and how fast it goes: whose shifts, by which fleet file, and how often everybody does what.

Nearly all runs are minutes long and go by `SECONDS`, where a tick is a second: as much as possible happens in them.
What takes days to show goes by the spans that people really use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from shifter.core.documents.fleet import Fleet
from shifter.service.telemetry import Telemetry
from tests.sim.plan import SHIFTS


def fleet(timing: Mapping[str, str], learning: Mapping[str, int]) -> Fleet:
    """Return a fleet file with these settings; what is not named has its default."""
    written = {
        "apiVersion": "shifter.io/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": "sim"},
        "spec": {
            "datasources": {"source": _datasource("tcm"), "target": _datasource("istio")},
            "provider": {"tencent": {"secretIdFile": "none", "secretKeyFile": "none"}},
            "timing": {**timing, "readDeadline": "1s"},
            "learning": learning,
        },
    }
    read = Fleet.model_validate_json(json.dumps(written))
    # Nobody's answer comes while a thread waits: here there is one thread.
    patient = read.spec.timing.model_copy(update={"read_deadline": timedelta(0)})
    return read.model_copy(update={"spec": read.spec.model_copy(update={"timing": patient})})


def _datasource(app: str) -> Mapping[str, object]:
    return {"url": f"http://{app}.invalid", "matchers": {"app": app}, "podMatchers": {"app": app}}


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to set a run. All spans are seconds; what policies say is reckoned in ticks.

    Args:
        fleet: by which every process is started.
        shifts: their names.
        tick_seconds: of the fleet file.
        fresh_seconds: the age up to which samples count, of the fleet file.
        wake_seconds: how often a service is woken.
        serve_seconds: how often users are served, and gateways scraped.
        telemetry: made for each process; None: only its bugs are kept.
    """

    fleet: Fleet
    shifts: tuple[str, ...] = SHIFTS
    tick_seconds: float = 1.0
    fresh_seconds: float = 4.0
    wake_seconds: float = 0.25
    serve_seconds: float = 1.0
    telemetry: Callable[[str], Telemetry] | None = field(default=None)


SECONDS = Setting(
    fleet(
        {"tick": "1s", "sampleMaxAge": "4s", "operationTimeout": "8s", "reportEvery": "1s"},
        {"minTicks": 3, "historyTicks": 8},
    )
)
"""A tick is a second."""
