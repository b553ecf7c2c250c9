"""What a log and a metrics reader see: one wide line per change, warnings for what pages, no line for nothing."""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.state import FindingReport, Report
from shifter.errors import RefusedError, StoreUnavailableError
from shifter.service.repeats import MOST_LINES, Repeats
from shifter.service.telemetry import Telemetry, configure_logs
from tests.reports import a_report, held
from tests.service.conftest import NOON, World

TALK_EVERY = timedelta(minutes=5)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logs("info", stream)
    yield stream
    structlog.reset_defaults()


@pytest.fixture
def telemetry(log: io.StringIO) -> Telemetry:
    assert log is not None
    return Telemetry(CollectorRegistry(), TALK_EVERY)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def reported(*, seconds: float = 0, phase: Phase = Phase.SHIFTING, wanted: float = 25, hold: str = "") -> Report:
    return a_report(
        NOON + timedelta(seconds=seconds),
        since=NOON,
        phase=phase,
        step=2,
        steps=(5, 25, 50, 100),
        wanted=wanted,
        reason="soaking at tcm 75 · istio 25",
        holds=held(hold) if hold else (),
    )


def test_a_change_is_one_wide_line_of_json(telemetry: Telemetry, log: io.StringIO) -> None:
    telemetry.turn(reported(), changed=True)
    (line,) = lines(log)

    assert (line["event"], line["level"], line["shift"], line["phase"]) == ("shift.tick", "info", "shop", "Shifting")
    assert (line["step"], line["wanted_percent"], line["written_percent"], line["observed_percent"]) == (
        "2/4",
        25,
        25,
        None,
    )
    assert line["reason"] == "soaking at tcm 75 · istio 25"
    assert "·" in log.getvalue(), "people read it without unescaping"


def test_what_did_not_change_is_told_only_every_few_minutes(telemetry: Telemetry, log: io.StringIO) -> None:
    telemetry.turn(reported(), changed=True)
    for seconds in range(15, 600, 15):
        telemetry.turn(reported(seconds=seconds), changed=False)

    assert len(lines(log)) == 2


@pytest.mark.parametrize(("page", "level"), [(True, "warning"), (False, "info")])
def test_what_pages_is_a_warning(telemetry: Telemetry, log: io.StringIO, *, page: bool, level: str) -> None:
    telemetry.turn(reported().model_copy(update={"page": page}), changed=True)

    assert lines(log)[0]["level"] == level


def test_a_clock_that_was_set_back_silences_nobody(telemetry: Telemetry, log: io.StringIO) -> None:
    telemetry.turn(reported(seconds=3600), changed=True)
    telemetry.turn(reported(seconds=0), changed=False)

    assert len(lines(log)) == 2


def test_a_failed_turn_is_an_error_and_only_a_bug_has_a_traceback(telemetry: Telemetry, log: io.StringIO) -> None:
    for error, bug in ((StoreUnavailableError("disk full"), False), (KeyError("x"), True)):
        try:
            raise error
        except (StoreUnavailableError, KeyError) as caught:
            telemetry.error("shop", caught, bug=bug)
    first, second = lines(log)

    assert (first["level"], first["error"], first["reason"]) == ("error", "StoreUnavailableError", "disk full")
    assert "exception" not in first
    assert "Traceback" in second["exception"]


def test_the_gauges_show_the_shares_the_phase_and_the_holds(telemetry: Telemetry) -> None:
    telemetry.turn(reported(hold="drift"), changed=True)
    value = telemetry.registry.get_sample_value

    assert value("shifter_share_percent", {"shift": "shop", "kind": "written"}) == 25
    assert value("shifter_share_percent", {"shift": "shop", "kind": "observed"}) != value(
        "shifter_share_percent", {"shift": "shop", "kind": "observed"}
    ), "an unknown share is NaN, not 0"
    assert value("shifter_phase", {"shift": "shop", "phase": "Shifting"}) == 1
    assert value("shifter_phase", {"shift": "shop", "phase": "Completed"}) == 0
    assert value("shifter_hold", {"shift": "shop", "hold": "drift"}) == 1
    assert value("shifter_hold", {"shift": "shop", "hold": "pause"}) == 0


def test_a_hold_that_ended_is_0_again(telemetry: Telemetry) -> None:
    telemetry.turn(reported(hold="drift"), changed=True)
    telemetry.turn(reported(), changed=True)

    assert telemetry.registry.get_sample_value("shifter_hold", {"shift": "shop", "hold": "drift"}) == 0
    assert telemetry.registry.get_sample_value("shifter_page", {"shift": "shop"}) == 0


def test_libraries_speak_from_warnings_up(log: io.StringIO) -> None:
    assert log is not None
    for name in ("apscheduler", "tencentcloud_sdk_common", "urllib3", "uvicorn"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)


def _judged(**bounds: float) -> Report:
    """A report whose odds are 240:1, with what is known of some metrics."""
    found = [
        FindingReport(metric=metric, verdict="pass", source=0, target=0, limit=None, unit="%", text="", bound=bound)
        for metric, bound in bounds.items()
    ]
    evidence = {"harm": 240.0, "harm_limit": 100.0, "dropped": {"tcm pod-a": "new", "tcm pod-b": "its counters fell"}}
    return reported().model_copy(update={**evidence, "findings": tuple(found)})


def test_the_evidence_is_in_the_wide_line_as_numbers(telemetry: Telemetry, log: io.StringIO) -> None:
    telemetry.turn(reported(), changed=True)
    telemetry.turn(_judged(errors=0.9), changed=True)
    before, after = lines(log)
    names = ("odds", "odds_limit", "proven", "bound_percent", "pods_dropped")

    assert [before[name] for name in names] == [None, None, False, None, 0]
    assert [after[name] for name in names] == [240.0, 100.0, False, 0.9, 2]


def test_the_gauges_show_the_evidence_and_forget_a_metric_that_is_judged_no_more(telemetry: Telemetry) -> None:
    value = telemetry.registry.get_sample_value
    telemetry.turn(reported(), changed=True)
    unknown = value("shifter_harm_odds", {"shift": "shop"})
    telemetry.turn(_judged(errors=0.9, slow=2), changed=True)
    telemetry.turn(_judged(errors=0.7), changed=True)

    assert unknown is not None
    assert math.isnan(unknown)
    assert value("shifter_harm_odds", {"shift": "shop"}) == 240
    assert value("shifter_harm_limit", {"shift": "shop"}) == 100
    assert value("shifter_bound_percent", {"shift": "shop", "metric": "errors"}) == 0.7
    assert value("shifter_bound_percent", {"shift": "shop", "metric": "slow"}) is None
    assert value("shifter_pods_dropped", {"shift": "shop", "mesh": "tcm"}) == 2
    assert value("shifter_pods_dropped", {"shift": "shop", "mesh": "istio"}) == 0


# -- in a whole run --------------------------------------------------------------------------------------------------


def test_a_migration_counts_its_writes(world: World) -> None:
    world.until(Phase.COMPLETED)
    value = world.telemetry.registry.get_sample_value

    assert value("shifter_writes_total", {"direction": "climb", "outcome": "begun"}) == 4
    assert value("shifter_writes_total", {"direction": "climb", "outcome": "done"}) == 4
    assert value("shifter_last_tick_timestamp_seconds") == world.now.timestamp()


def test_a_long_hold_is_told_at_once_and_then_every_few_minutes(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.until_share(25)
    world.sides[Side.TARGET].down = True
    world.step(4)
    before = len(world.lines("shift.tick"))
    world.step(90)
    loud = [line for line in world.lines("shift.tick")[before:] if line["level"] == "warning"]

    assert 2 <= len(loud) <= 4
    assert {line["holds"][0] for line in loud} == {"no signal"}


def test_every_order_leaves_a_line(world: World) -> None:
    world.until_share(25)
    world.step()
    before = len(world.lines("shift.tick"))
    world.order(Verb.PAUSE)
    world.wake()

    assert [line["holds"] for line in world.lines("shift.tick")[before:]] == [["pause"]]


class Errors:
    """Telemetry on a clock that a test sets."""

    def __init__(self, log: io.StringIO) -> None:
        self.now = 0.0
        self.registry = CollectorRegistry()
        self._log = log
        self._telemetry = Telemetry(self.registry, TALK_EVERY, lambda: self.now)

    def tell(self, error: Exception, *, shift: str = "shop", at: float = 0.0) -> None:
        self.now = at
        self._telemetry.error(shift, error, bug=False)

    def said(self) -> list[tuple[str, str, int]]:
        return [(line["shift"], line["reason"], line["left_out"]) for line in lines(self._log)]


@pytest.fixture
def errors(log: io.StringIO) -> Errors:
    return Errors(log)


@pytest.mark.fault(
    on="Kubernetes",
    fault="the API server is away for long, with many shifts",
    does="says so once for each shift, and every 5 minutes how many lines were left out",
    sees="`shift.error` with `left_out`",
    safe_within="at once",
)
def test_the_same_error_is_said_once_and_then_now_and_then_with_how_many_were_left_out(errors: Errors) -> None:
    every = TALK_EVERY.total_seconds()
    for second in range(0, int(every) + 15, 15):
        errors.tell(StoreUnavailableError(f"shop cannot be saved: nobody answers since {second} s"), at=second)
        errors.tell(StoreUnavailableError("shop cannot be read: connection refused"), at=second)

    assert errors.said() == [
        ("shop", "shop cannot be saved: nobody answers since 0 s", 0),
        ("shop", f"shop cannot be saved: nobody answers since {every:.0f} s", 2 * every / 15 - 1),
    ]
    assert errors.registry.get_sample_value("shifter_tick_errors_total", {"error": "StoreUnavailableError"}) == 2 * (
        every / 15 + 1
    )


def test_another_error_and_another_shift_are_said_at_once(errors: Errors) -> None:
    errors.tell(StoreUnavailableError("nobody answers"))
    errors.tell(StoreUnavailableError("nobody answers"), shift="cart")
    errors.tell(RefusedError("shop cannot be saved: too long by 3"))
    errors.tell(RefusedError("shop cannot be saved: too long by 4"))
    errors.tell(RefusedError("shop cannot be saved: no such kind"))

    assert [(shift, reason) for shift, reason, _ in errors.said()] == [
        ("shop", "nobody answers"),
        ("cart", "nobody answers"),
        ("shop", "shop cannot be saved: too long by 3"),
        ("shop", "shop cannot be saved: no such kind"),
    ]


def test_of_very_many_lines_the_oldest_is_forgotten_and_said_again() -> None:
    repeats = Repeats(60.0, lambda: 0.0)
    for number in range(MOST_LINES):
        repeats.due(number)
    before = repeats.due(0)
    repeats.due("one more")

    assert (before, repeats.due(0), repeats.due("one more")) == (None, 0, None)
