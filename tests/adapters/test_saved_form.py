"""What earlier versions told and kept of all shifts together is read as it is: those forms only gained fields.

The states of earlier versions, which change on the way, are in `tests/contract/test_store_state.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shifter.adapters.saved_form import fleet_text, read_fleet, read_report, read_state, report_text, state_text
from shifter.core.state import FindingReport, FleetState, Freeze, Report
from shifter.errors import RefusedError
from tests.adapters.sqlite import a_state

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
    assert fleet_text(fleet).split(",", 1)[1] == text[1:]


@pytest.mark.fault(
    on="SQLite",
    fault="somebody, or a bit of the disk, changes a saved share",
    does="refuses to start; writes nothing",
    sees="`saved state of SHIFT is not what shifter saved: somebody, or the disk, changed it`, exit code 4",
    safe_within="at once",
)
@pytest.mark.parametrize("edit", [('"share":0.0', '"share":50.0'), ('"last_order":0', '"last_order":999'), (",", ", ")])
def test_a_saved_state_that_was_changed_is_refused(edit: tuple[str, str]) -> None:
    text = state_text(a_state())
    assert edit[0] in text

    with pytest.raises(RefusedError, match="saved state of shop is not what shifter saved: somebody, or the disk"):
        read_state("shop", text.replace(*edit))


def test_no_byte_of_a_saved_state_can_be_another_one_without_being_noticed() -> None:
    state = a_state()
    text = state_text(state)
    begins = text.index(",")
    for place in range(begins + 1, len(text)):
        other = "7" if text[place] != "7" else "8"
        with pytest.raises(RefusedError):
            read_state("shop", f"{text[:place]}{other}{text[place + 1 :]}")

    assert read_state("shop", text) == state


def test_a_saved_state_whose_digest_was_taken_out_is_believed() -> None:
    text = state_text(a_state())
    edited = ("{" + text.split(",", 1)[1]).replace('"share":0.0', '"share":50.0')

    assert read_state("shop", edited).share == 50
