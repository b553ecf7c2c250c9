"""How the process is told to stop, in the middle of things and twice, and what it does not stop at."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.lab.emulator.faults import Fault, FaultKind
from tests.process.conftest import DEADLINE_SECONDS, WRITES, Stage, assert_safe

Stages = Callable[..., Stage]


def slow_write(stage: Stage, seconds: float) -> None:
    """Hold the next write up on its way in; it takes effect all the same."""
    for action in sorted(WRITES):
        stage.cloud.inject(Fault(action=action, kind=FaultKind.SLOW, seconds=seconds))


def in_the_middle_of_a_climb(stage: Stage) -> None:
    stage.until(
        lambda: (state := stage.state()) is not None and state.intent is not None and state.intent.to_share == 50,
        "it does not climb",
    )


@pytest.mark.fault(
    on="process",
    fault="SIGTERM in the middle of a write",
    does="waits for the call under way, journals what came of it, begins nothing; a restart does not send it again",
    sees="`service.draining`, exit code 0",
    safe_within="at once; it ends within 40 s",
)
def test_told_to_stop_in_the_middle_of_a_write_it_drains_and_the_write_is_not_repeated(stage: Stage) -> None:
    def stop(edge: str) -> None:
        state = stage.state()
        if edge == "accepted" and state is not None and state.intent is not None and state.intent.to_share == 50:
            stage.service.ask_to_stop()

    stage.cloud.strike = stop
    stage.start()
    code = stage.service.wait(DEADLINE_SECONDS)
    stopped_at = stage.shares()
    stage.start()
    stage.until_phase(Phase.COMPLETED)

    assert code == 0
    assert max(stopped_at, default=0) <= 50
    assert stage.shares().count(50) == 1
    assert stage.climbs(What.INTENT) == [50, 100]
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="told to stop twice while a call hangs",
    does="does not wait for it; the open intent is read back at the next start",
    sees="`service.hurried`, exit code 0",
    safe_within="at once; it ends within 6 s",
)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_told_twice_it_does_not_wait_for_what_hangs(make_stage: Stages, second: signal.Signals) -> None:
    stage = make_stage(call_seconds=6)
    slow_write(stage, 8)
    stage.start()
    stage.until(lambda: (state := stage.state()) is not None and state.intent is not None, "it writes nothing")
    stage.service.ask_to_stop()
    stage.until(lambda: stage.lines("service.draining"), "it does not drain")
    began = time.monotonic()
    os.kill(stage.service.pid, second)
    code = stage.service.wait(DEADLINE_SECONDS)
    took = time.monotonic() - began
    stage.start()
    stage.until_phase(Phase.COMPLETED)

    assert code == 0
    assert took < 6
    assert stage.lines("service.hurried")
    assert stage.climbs() == [50, 100]
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="SIGHUP: its terminal was closed, or somebody meant `reload`",
    does="goes on; policies are read in every tick anyway",
    sees="`service.hangup`",
    safe_within="at once",
)
def test_a_hangup_ends_nothing(stage: Stage) -> None:
    stage.start()
    os.kill(stage.service.pid, signal.SIGHUP)
    stage.until(lambda: stage.lines("service.hangup"), "it does not say so")
    stage.until_phase(Phase.COMPLETED)

    assert stage.service.running
    assert_safe(stage)
