"""What earlier versions told and kept of all shifts together is read as it is: those forms only gained fields.

The states of earlier versions, which change on the way, are in `tests/contract/test_store_state.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shifter.adapters.saved_form import fleet_text, read_fleet, read_report, report_text
from shifter.core.state import FindingReport, FleetState, Freeze, Report
from shifter.errors import RefusedError

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
REPORT_OF_VERSION_1 = """{"name":"shop","at":"2026-03-04T12:00:00Z","mode":"act","namespaces":["shop"],
"phase":"Shifting","since":"2026-03-04T12:00:00Z","step":1,"steps":[5.0,100.0],"wanted":5.0,"written":5.0,
"observed":null,"attempt":1,"decision":"hold","reason":"soaking","verdict":"pass","holds":[{"kind":"pause",
"reason":"lunch"}],"findings":[{"metric":"errors","verdict":"pass","source":0.1,"target":0.2,"limit":1.0,"unit":"%",
"text":"fine"}],"warnings":[],"source_requests":95.0,"source_bad":0.0,"target_requests":5.0,"target_bad":0.0,
"members":{"r1":"a"},"soaked_seconds":5.0,"soak_seconds":60.0,"epoch":2,"sequence":4,"failure":"","page":false,
"silent_after_seconds":90.0}"""


def test_a_report_of_an_earlier_version_is_read_and_what_it_did_not_know_is_unknown() -> None:
    report = read_report("shop", REPORT_OF_VERSION_1)

    assert (report.reason, report.findings[0].target, report.tick_seconds) == ("soaking", 0.2, None)
    assert (report.harm, report.harm_limit, report.proven, report.dropped) == (None, None, False, {})
    assert (report.findings[0].bound, report.findings[0].source_counts) == (None, None)


def test_every_field_of_a_report_comes_back() -> None:
    finding = FindingReport(
        metric="errors",
        verdict="fail",
        source=0.1,
        target=3.0,
        limit=None,
        unit="%",
        text="istio fails 3 %",
        bound=1.5,
        dispersion=2.0,
        source_counts=(100.0, 1.0),
        target_counts=(50.0, 2.0),
    )
    known = {"harm": 240.0, "harm_limit": 100.0, "proven": True, "dropped": {"istio gateway-1": "first seen"}}
    report = Report.model_validate(read_report("shop", REPORT_OF_VERSION_1).model_dump() | known)
    report = report.model_copy(update={"findings": (finding,)})

    assert read_report("shop", report_text(report)) == report


def test_a_report_that_is_damaged_is_refused() -> None:
    with pytest.raises(RefusedError, match="report of shop is not understood"):
        read_report("shop", REPORT_OF_VERSION_1.replace("5.0", '"much"'))


def test_the_state_of_all_shifts_together_has_not_changed() -> None:
    text = '{"schema_version":1,"freezes":[{"by":"ana","reason":"release","at":"2026-03-04T12:00:00Z"}],"last_order":3}'
    fleet = FleetState(freezes=(Freeze(by="ana", reason="release", at=NOON),), last_order=3)

    assert read_fleet(text) == fleet
    assert fleet_text(fleet) == text
