"""What becomes of every kind of write: saved or not, answered or not, done, half done or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

from shifter.adapters.memory import Fault
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Direction
from shifter.errors import StoreUnavailableError
from tests.service.conftest import World

Worlds = Callable[..., World]


# -- the journal -----------------------------------------------------------------------------------------------------


def test_a_climb_whose_intent_cannot_be_saved_is_not_sent_even_if_orders_can_be_read(world: World) -> None:
    world.until_share(5)
    world.store.bugs["shop"] = StoreUnavailableError("disk full")
    world.step(10)

    assert len(world.provider.submits) == 1


def test_a_retreat_whose_intent_cannot_be_saved_is_sent(world: World) -> None:
    world.until_share(5)
    world.store.bugs["shop"] = StoreUnavailableError("disk full")
    world.order(Verb.ROLLBACK)
    world.step(5)

    assert world.share() == 0


def test_a_restart_asks_after_the_operation_that_was_noted(make_world: Worlds) -> None:
    world = make_world(looks_until_done=3)
    world.memory.inject(Fault.TASK_FAILS)
    world.step()
    while not (intent := world.state().intent) or not intent.operations:
        world.step()
    noted = world.saved_state().intent
    world.restart()
    world.step(3)

    assert noted is not None
    assert noted.operations == {world.route().domain: "operation-1"}
    assert _failures(world) == ["read back otherwise than intended: the operation failed"]


# -- writes that go wrong --------------------------------------------------------------------------------------------


def test_a_half_applied_climb_is_repaired_toward_the_source_and_tried_again(world: World) -> None:
    world.until_share(5)
    world.memory.inject(Fault.TASK_HALF)
    world.until(Phase.COMPLETED)
    kinds = [
        (record.what, record.evidence["direction"], record.evidence["to"])
        for record in world.history()
        if record.sequence in {2, 3, 4} and record.what in {What.INTENT, What.DONE, What.FAILED}
    ]

    assert kinds == [
        (What.INTENT, Direction.CLIMB, 25),
        (What.FAILED, Direction.CLIMB, 25),
        (What.INTENT, Direction.RETREAT, 5),
        (What.DONE, Direction.RETREAT, 5),
        (What.INTENT, Direction.CLIMB, 25),
        (What.DONE, Direction.CLIMB, 25),
    ]


def test_a_busy_balancer_is_waited_for(world: World) -> None:
    world.until_share(5)
    world.memory.inject(Fault.BUSY, times=3)
    world.until(Phase.COMPLETED)

    assert world.climbs(What.FAILED) == []


def test_a_balancer_busy_beyond_the_deadline_is_tried_again_later(world: World) -> None:
    world.until_share(5)
    world.memory.hold_lock(world.route().domain)
    world.step(15)
    world.memory.release_lock(world.route().domain)
    world.until(Phase.COMPLETED)

    assert "not in force by its deadline" in _failures(world)[0]
    assert world.climbs() == [5, 25, 50, 100]


def test_a_lost_answer_to_a_write_that_was_done_is_found_by_reading_back(world: World) -> None:
    world.until_share(5)
    world.memory.inject(Fault.AMBIGUOUS_AFTER)
    world.until(Phase.COMPLETED)

    assert world.climbs(What.INTENT) == [5, 25, 50, 100]


def test_a_lost_answer_to_a_write_that_was_not_done_is_waited_out_and_tried_again(world: World) -> None:
    world.until_share(5)
    world.memory.inject(Fault.AMBIGUOUS_BEFORE)
    world.until(Phase.COMPLETED)
    begun = [record.at for record in world.history() if record.what is What.INTENT]

    assert world.climbs(What.INTENT) == [5, 25, 25, 50, 100]
    assert begun[2] - begun[1] >= timedelta(seconds=60)


def test_a_task_that_lies_is_not_believed(world: World) -> None:
    world.until_share(5)
    world.memory.inject(Fault.TASK_LIES)
    world.until(Phase.COMPLETED)

    assert _failures(world)[0] == "not in force by its deadline: the provider calls it done"
    assert world.climbs() == [5, 25, 50, 100]


def test_a_refused_write_is_tried_again_ever_more_rarely(world: World) -> None:
    world.until_share(5)
    world.provider.refusal = "the weight is wrong"
    world.step(40)
    times = [record.at for record in world.history() if record.what is What.FAILED]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]

    assert len(gaps) >= 3
    assert all(later >= 1.5 * earlier for earlier, later in pairwise(gaps))
    assert world.share() == 5


def test_a_write_that_worked_after_refusals_ends_them(world: World) -> None:
    world.until_share(5)
    world.provider.refusal = "the weight is wrong"
    world.step(10)
    world.provider.refusal = ""
    world.until(Phase.COMPLETED)

    assert world.state().setback is None


def test_a_pause_after_the_intent_was_saved_withholds_the_call(world: World) -> None:
    world.until_share(5)
    world.memory.hold_lock(world.route().domain)
    while world.state().intent is None:
        world.step()
    world.order(Verb.PAUSE)
    world.step()
    world.memory.release_lock(world.route().domain)
    world.step(10)

    assert world.share() == 5
    assert _failures(world) == ["withheld: paused by ann: because"]


def _failures(world: World) -> list[str]:
    return [record.reason for record in world.history() if record.what is What.FAILED]


def test_a_climb_is_not_sent_again_by_who_cannot_save_that(world: World) -> None:
    world.until_share(5)
    world.memory.hold_lock(world.route().domain)
    while world.state().intent is None:
        world.step()
    sent = len(world.provider.submits)
    world.memory.release_lock(world.route().domain)
    world.saved.down = True
    world.step(2)
    world.saved.down = False

    assert len(world.provider.submits) == sent
    assert world.share() == 5


def test_a_climb_that_is_sent_again_is_saved_each_time_before(world: World) -> None:
    world.until_share(5)
    world.memory.hold_lock(world.route().domain)
    while world.state().intent is None:
        world.step()
    world.step(2)
    intent = world.saved_state().intent

    assert intent is not None
    assert intent.sends == 3
