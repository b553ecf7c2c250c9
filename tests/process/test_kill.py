"""`kill -9` at every edge of every write: what the next process finds is enough to finish, and nothing is done twice.

Two edges of a write are the cloud's: it arrives (and gets lost with its sender), and it was accepted but the reply
not sent. There the emulator's own thread kills, so nothing can come in between. The others are the store's: the open
intent, the provider's operation, what was read back, the end. In between, with the service dead, people give orders.
`tests/service/test_crash.py` has every edge of every call, without a process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise

import pytest

from shifter.core.deciding.orders import Answer, Order, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Direction, ShiftState
from tests.process.conftest import DEADLINE_SECONDS, STEPS, Stage, assert_safe

PAUSED_AND_RESUMED = (Verb.PAUSE, Verb.RESUME)


class Killer:
    """Kills the service once at every edge of every write in `directions`, and starts it again."""

    def __init__(self, stage: Stage, *directions: Direction) -> None:
        self.stage = stage
        self.directions = directions
        self.struck: list[str] = []
        self.orders: list[Order] = []
        self._lock = threading.Lock()
        stage.cloud.strike = self._cloud_edge

    def until(self, phase: Phase, *between_lives: Verb) -> None:
        """Go on until the phase is reached and killed at; give the orders whenever the service is dead."""
        deadline = time.monotonic() + 5 * DEADLINE_SECONDS
        while not self._is_over(phase):
            assert time.monotonic() < deadline, f"struck {self.struck}; {self.stage.told()}"
            if not self.stage.service.running:
                self.orders += [self.stage.order(verb) for verb in between_lives]
                self.stage.start(ready=False)
            for edge in self._store_edges(self.stage.state(), phase):
                self._strike(edge)
            time.sleep(0.002)

    def _is_over(self, phase: Phase) -> bool:
        state = self.stage.state()
        over = (
            state is not None and state.phase is phase and state.intent is None and not self.stage.store.open_orders()
        )
        return over and f"{phase}" in self.struck and self.stage.service.running

    def _cloud_edge(self, edge: str) -> bool:
        state = self.stage.state()
        assert state is not None
        assert state.intent is not None, "a write without its saved intent"
        if state.intent.direction not in self.directions:
            return False
        return self._strike(f"{state.intent.direction} to {state.intent.to_share:g} {edge}")

    def _store_edges(self, state: ShiftState | None, phase: Phase) -> Iterator[str]:
        if state is None:
            return
        if state.intent is not None:
            write = f"{state.intent.direction} to {state.intent.to_share:g}"
            # First where the cloud is asked: killed earlier, the write might never get that far.
            if {f"{write} arrives", f"{write} accepted"} <= set(self.struck):
                yield f"{write} saved"
                yield from [f"{write} under way"] if state.intent.operations else []
        elif state.verified_at is not None:
            yield f"verified at {state.share:g}"
        if state.phase is phase:
            yield f"{phase}"

    def _strike(self, edge: str) -> bool:
        """Kill, if not yet done at this edge; return whether it was done."""
        with self._lock:
            if edge in self.struck or not self.stage.service.running:
                return False
            self.struck.append(edge)
            self.stage.service.kill()
            return True


@pytest.mark.fault(
    on="process",
    fault="kill -9 at any edge of any write of a climb",
    does="a restart reads back and finishes, reverts or holds; no step twice, none left out",
    sees="the same history as without, with a higher epoch from there on",
    safe_within="one tick after the restart, operationTimeout if the answer was lost",
)
@pytest.mark.timeout(150)  # some ten lives
def test_a_migration_killed_at_every_edge_of_every_climb_completes(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(operation_seconds=2.0)
    stage.start()
    killer = Killer(stage, Direction.CLIMB)
    killer.until(Phase.COMPLETED, *PAUSED_AND_RESUMED)
    begun = stage.climbs(What.INTENT)
    asked = {f"climb to {share:g} {edge}" for share in STEPS for edge in ("arrives", "accepted")}

    assert asked | {f"verified at {share:g}" for share in STEPS} <= set(killer.struck)
    assert stage.climbs() == list(STEPS)
    assert [share for share, _ in groupby(begun)] == list(STEPS)
    assert all(before <= after for before, after in pairwise(stage.shares())), "a healthy migration never goes down"
    assert [stage.store.order(order.id).answer for order in killer.orders] == [Answer.ACCEPTED] * len(killer.orders)
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="kill -9 at any edge of any write of a rollback",
    does="a restart goes on going back; the order is not lost and not obeyed twice",
    sees="`rolling back` until it is back at 0 %",
    safe_within="one tick after the restart",
)
@pytest.mark.timeout(150)  # some six lives
def test_a_rollback_killed_at_every_edge_goes_back_all_the_same(stage: Stage) -> None:
    stage.start()
    stage.until_share(50)
    stage.service.kill()
    order = stage.order(Verb.ROLLBACK)
    killer = Killer(stage, Direction.RETREAT)
    killer.until(Phase.ROLLED_BACK)

    assert {f"retreat to 0 {edge}" for edge in ("saved", "arrives", "accepted")} <= set(killer.struck)
    assert stage.share() == 0
    assert max(stage.shares()) == 50
    assert stage.store.order(order.id).answer is Answer.ACCEPTED
    assert len([record for record in stage.history() if record.what is What.ORDER]) == 1
    assert_safe(stage)
