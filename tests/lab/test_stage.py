"""A migration on real parts, with a service that ends in the middle of it: drained, then killed.

The pace is quicker than the demo's and everything else is the same.
"""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.lab.emulator import Outcome
from shifter.lab.emulator.cloud import TaskStatus
from shifter.lab.files import Pace
from shifter.lab.stage import Stage, StageSpec

QUICK = Pace(steps=(25, 100), tick_seconds=0.5, scrape_seconds=0.5, soak_seconds=1.5, hold_seconds=3.0)


def eventually(holds: Callable[[], bool], timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def is_writing(stage: Stage, share: float) -> bool:
    """Whether the cloud has accepted the write of that share, and it is not yet in force."""
    running = any(task["status"] == TaskStatus.RUNNING for task in stage.emulator.state()["tasks"])
    return running and shares(stage, What.INTENT)[-1] == share


def is_completed(stage: Stage) -> bool:
    reports = stage.reports()
    return "shop" in reports and reports["shop"].phase is Phase.COMPLETED


def shares(stage: Stage, what: What) -> list[object]:
    """The shares of all writes that were begun, or done, in order."""
    return [each.record.evidence["to"] for each in stage.history() if each.record.what is what]


def epochs(stage: Stage) -> list[int]:
    return [each.record.epoch for each in stage.history() if each.record.what is What.INTENT]


def test_outside_its_with_block_a_stage_has_no_parts(tmp_path: Path) -> None:
    stage = Stage(StageSpec(tmp_path, {"shop": "lb-front0002"}, QUICK, seed=3, load_seconds_max=50))

    for part in (lambda: stage.account, lambda: stage.emulator, lambda: stage.service, stage.reports, stage.history):
        with pytest.raises(RuntimeError, match="the lab runs inside its `with` block only"):
            part()
    with pytest.raises(RuntimeError, match="the data plane gets its ports when its `with` block is entered"):
        _ = stage.plane.gateways


def test_a_namespace_may_have_a_rate_of_its_own(tmp_path: Path) -> None:
    balancer_of = {"shop": "lb-front0002", "pay": "lb-front0001"}

    stage = Stage(StageSpec(tmp_path, balancer_of, QUICK, seed=3, load_seconds_max=50, rates={"shop": 1.0}))

    assert stage.rates == {"shop": 1.0, "pay": QUICK.requests_per_second}


def test_a_service_that_ends_in_mid_write_goes_on_where_it_was(tmp_path: Path) -> None:
    spec = StageSpec(tmp_path, {"shop": "lb-front0002"}, QUICK, seed=3, load_seconds_max=50)
    with Stage(spec) as stage:
        eventually(lambda: is_writing(stage, 25), timeout_seconds=20)
        stage.service.ask_to_stop()
        drained = stage.service.wait(timeout_seconds=10), shares(stage, What.INTENT)
        stage.service.start()
        eventually(lambda: is_writing(stage, 100), timeout_seconds=20)
        stage.service.kill()
        killed = stage.service.wait(timeout_seconds=10), shares(stage, What.INTENT)
        stage.service.start()
        eventually(lambda: is_completed(stage), timeout_seconds=30)
        shop = stage.plane.stop_load().namespaces["shop"]
        [told] = json.loads(stage.command("get", "-o", "json").stdout)["items"]

        # Nothing is lost and nothing is written twice; the write of 0 % raises the source's weights.
        assert drained == (0, [0, 25])
        assert killed == (-signal.SIGKILL, [0, 25, 100])
        assert shares(stage, What.INTENT) == shares(stage, What.DONE) == [0, 25, 100]
        assert [write.outcome for write in stage.emulator.log] == [Outcome.APPLIED] * 3
        assert epochs(stage) == [1, 1, 2]
        assert (shop.failed, shop.not_sent) == (0, 0)
        assert (told["name"], told["phase"]) == ("shop", "Completed")
