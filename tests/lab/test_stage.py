"""Whole migrations on real parts: the service, the CLI, SQLite, the emulated cloud, Envoys and Prometheus servers.

The pace is quicker than the demo's and everything else is the same.
"""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.lab.drill import DrillOptions, run
from shifter.lab.emulator import Outcome
from shifter.lab.emulator.cloud import TaskStatus
from shifter.lab.files import Pace
from shifter.lab.stage import Stage, StageSpec

QUICK = Pace(
    steps=(25, 100), tick_seconds=0.5, scrape_seconds=0.5, soak_seconds=1.5, window_seconds=2.0, min_requests=20
)


def eventually(holds: Callable[[], bool], timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def is_writing(stage: Stage) -> bool:
    """Whether the cloud has accepted a write that is not yet in force."""
    return any(task["status"] == TaskStatus.RUNNING for task in stage.emulator.state()["tasks"])


def is_completed(stage: Stage) -> bool:
    reports = stage.reports()
    return "shop" in reports and reports["shop"].phase is Phase.COMPLETED


def shares(stage: Stage, what: What) -> list[object]:
    """The shares of all writes that were begun, or done, in order."""
    return [each.record.evidence["to"] for each in stage.history() if each.record.what is what]


def epochs(stage: Stage) -> list[int]:
    return [each.record.epoch for each in stage.history() if each.record.what is What.INTENT]


def test_the_clean_scenario_ends_ok_and_says_how(tmp_path: Path) -> None:
    lab, report = tmp_path / "lab", tmp_path / "report.json"
    console = Console(record=True, width=200, force_terminal=False)

    code = run(DrillOptions("clean", lab, report, seed=3, pace=QUICK), console)

    found = json.loads(report.read_text())
    assert [check for check in found["checks"] if not check["ok"]] == []
    assert (code, found["verdict"], found["seed"]) == (0, "ok", 3)
    assert [step["wanted"] for step in found["shifts"]["shop"]["steps"]] == [25, 100]
    assert found["shifts"]["shop"]["users"]["failed"] == 0
    assert "verdict: ok" in console.export_text()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_service_that_ends_in_mid_write_goes_on_where_it_was(tmp_path: Path, end: signal.Signals) -> None:
    spec = StageSpec(tmp_path, {"shop": "lb-front0002"}, QUICK, seed=3, load_seconds_max=50)
    with Stage(spec) as stage:
        eventually(lambda: is_writing(stage), timeout_seconds=20)
        if end is signal.SIGTERM:
            stage.service.ask_to_stop()
        else:
            stage.service.kill()
        code = stage.service.wait(timeout_seconds=10)
        begun_before = shares(stage, What.INTENT)
        stage.service.start()
        eventually(lambda: is_completed(stage), timeout_seconds=30)
        shop = stage.plane.stop_load().namespaces["shop"]
        [told] = stage.shifts()["items"]

        # Nothing is lost and nothing is written twice.
        assert code == (0 if end is signal.SIGTERM else -signal.SIGKILL)
        assert begun_before == [25]
        assert shares(stage, What.INTENT) == shares(stage, What.DONE) == [25, 100]
        assert [write.outcome for write in stage.emulator.log] == [Outcome.APPLIED, Outcome.APPLIED]
        assert epochs(stage) == [1, 2]
        assert (shop.failed, shop.not_sent) == (0, 0)
        assert (told["name"], told["phase"]) == ("shop", "Completed")
