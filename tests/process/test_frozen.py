"""SIGSTOP for many ticks: what nobody saw is no evidence, and what people asked meanwhile comes first."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from shifter.core.deciding.orders import Answer, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.lab.topology import TARGET_MESH
from tests.process.conftest import TICK_SECONDS, Stage, assert_safe

FROZEN_TICKS = 15
SOAK_SECONDS = 2.0

Stages = Callable[..., Stage]


def frozen(stage: Stage, seconds: float = FROZEN_TICKS * TICK_SECONDS) -> None:
    """Let that much time pass for everybody but the service: the time itself is the fault."""
    stage.service.freeze()
    time.sleep(seconds)


def soaking(make_stage: Stages) -> Stage:
    stage = make_stage(soak_seconds=SOAK_SECONDS)
    stage.start()
    stage.until_share(50)
    stage.until(lambda: (report := stage.report()) is not None and report.soaked_seconds > 0.3, "it does not soak")
    return stage


@pytest.mark.fault(
    on="process",
    fault="is stopped (SIGSTOP) for many ticks while a share soaks",
    does="counts none of that time as soak",
    sees="the soak goes on where it was",
    safe_within="at once",
)
def test_time_that_nobody_watched_is_no_soak(make_stage: Stages) -> None:
    stage = soaking(make_stage)
    frozen(stage)
    stage.service.thaw()
    stage.until_share(100)
    intents = {str(record.evidence["to"]): record.at for record in stage.history() if record.what is What.INTENT}
    verified = next(record.at for record in stage.history() if record.what is What.DONE and record.evidence["to"] == 50)
    watched = (intents["100.0"] - verified).total_seconds() - FROZEN_TICKS * TICK_SECONDS

    assert watched > SOAK_SECONDS - 3 * TICK_SECONDS
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="is stopped (SIGSTOP) while the target goes bad",
    does="looks anew before it decides; goes back, never up",
    sees="`rolling back: istio failed ...`",
    safe_within="3 ticks after it goes on",
)
def test_nothing_rises_on_evidence_from_before_a_stop(make_stage: Stages) -> None:
    stage = soaking(make_stage)
    stage.service.freeze()
    stage.meshes[TARGET_MESH].fail(100)
    frozen(stage)
    stage.service.thaw()
    stage.until_phase(Phase.ROLLED_BACK)

    assert max(stage.shares()) == 50
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="is stopped (SIGSTOP) in the middle of a write, beyond operationTimeout",
    does="reads back first; a write that is in force is done and not sent again",
    sees="`read back` in the history, one write in the cloud's log",
    safe_within="one tick after it goes on",
)
def test_a_write_that_landed_while_the_process_stood_still_is_not_sent_again(stage: Stage) -> None:
    def freeze(edge: str) -> None:
        state = stage.state()
        if edge == "accepted" and state is not None and state.intent is not None and state.intent.to_share == 50:
            stage.service.freeze()

    stage.cloud.strike = freeze
    stage.start()
    stage.until(lambda: stage.share() == 50, "nothing was written")
    frozen(stage, 1.5 * stage.operation_seconds)
    stage.service.thaw()
    stage.until_share(50)

    assert stage.shares().count(50) == 1
    assert stage.climbs(What.INTENT) == [50]
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="is stopped (SIGSTOP) while somebody orders a rollback",
    does="obeys it before anything else",
    sees="the order's answer, then `rolling back`",
    safe_within="one tick after it goes on",
)
def test_an_order_given_while_it_stood_still_is_obeyed_first(make_stage: Stages) -> None:
    stage = soaking(make_stage)
    stage.service.freeze()
    order = stage.order(Verb.ROLLBACK)
    frozen(stage)
    stage.service.thaw()
    stage.until_phase(Phase.ROLLED_BACK)

    assert stage.store.order(order.id).answer is Answer.ACCEPTED
    assert max(stage.shares()) == 50
    assert_safe(stage)
