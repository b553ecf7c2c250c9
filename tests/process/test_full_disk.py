"""A disk that takes nothing any more, logs included: nothing rises, what must go back goes back, nothing is lost.

The limit on file sizes stands for the full disk: unlike a small file system it needs no privileges and can be set and
lifted while the service runs. Every write to a file fails with it, the store's and those of standard error.
"""

from __future__ import annotations

import resource

import pytest

from shifter.core.deciding.orders import Answer, Verb
from shifter.core.phases import Phase
from shifter.lab.topology import TARGET_MESH
from tests.process.conftest import Stage, assert_safe


def ticks(stage: Stage) -> float:
    _, text = stage.ask("/metrics")
    return next((float(line.split()[1]) for line in text.splitlines() if line.startswith("shifter_tick_seconds_c")), 0)


def let_tick(stage: Stage, count: int) -> None:
    before = ticks(stage)
    stage.until(lambda: ticks(stage) >= before + count, "it does not tick")


def full(stage: Stage) -> None:
    stage.limit(resource.RLIMIT_FSIZE, 0)


def room(stage: Stage) -> None:
    stage.limit(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)


@pytest.mark.fault(
    on="process",
    fault="the disk is full, for the store and the log",
    does="no climb; goes on watching; goes on climbing when there is room",
    sees="the log says what the store says; `get`: the service hangs or cannot write; how many log lines were lost",
    safe_within="at once",
)
def test_nothing_rises_while_nothing_can_be_saved(stage: Stage) -> None:
    stage.start()
    stage.until_share(50)
    full(stage)
    let_tick(stage, 12)
    probes = [stage.ask(path)[0] for path in ("/livez", "/readyz")]
    shares = stage.shares()
    stage.until(lambda: "it hangs, or cannot write this store" in stage.shifter("get").output, "nobody says so")
    room(stage)
    stage.until_phase(Phase.COMPLETED)

    assert shares[-1] == 50
    assert probes == [200, 200]
    assert stage.lines("log.lost")
    assert stage.climbs() == [50, 100]
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="the disk is full while the target goes bad",
    does="goes back all the same; saves what happened when there is room",
    sees="the way back in the history, afterwards",
    safe_within="3 ticks",
)
def test_what_must_go_back_goes_back_though_nothing_can_be_saved(stage: Stage) -> None:
    stage.start()
    stage.until_share(50)
    full(stage)
    stage.meshes[TARGET_MESH].fail(100)
    stage.until(lambda: stage.share() == 0, "it does not go back")
    let_tick(stage, 3)
    room(stage)
    stage.until_phase(Phase.ROLLED_BACK)

    assert max(stage.shares()) == 50
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="no file descriptor is left",
    does="no climb; orders wait or are obeyed, none is lost; goes on by itself when there are some",
    sees="`too many open files (at most N): nobody can be asked; raise the limit (ulimit -n)` in the log",
    safe_within="one tick",
)
def test_without_descriptors_it_holds_says_so_and_goes_on_when_there_are_some(stage: Stage) -> None:
    stage.start()
    stage.until_share(50)
    stage.limit(resource.RLIMIT_NOFILE, 3)
    stage.until(lambda: "ulimit -n" in stage.log(), "nobody says so")
    stage.until(lambda: "too many open files" in str(stage.holds()), "no hold says so")
    held = stage.shares()[-1]
    order = stage.order(Verb.ROLLBACK)
    stage.limit(resource.RLIMIT_NOFILE, resource.RLIM_INFINITY)
    stage.until_phase(Phase.ROLLED_BACK)
    stage.until(lambda: stage.ask("/livez")[0] == 200, "it does not answer any more")
    stage.until(lambda: len(stage.lines("service.problem")) == 2, "it does not say that it is over")

    assert held == 50
    assert stage.store.order(order.id).answer is Answer.ACCEPTED
    assert [line["reason"] for line in stage.lines("service.problem")] == [
        "too many open files (at most 3): nobody can be asked; raise the limit (ulimit -n)",
        "there are file descriptors again",
    ]
    assert_safe(stage)
