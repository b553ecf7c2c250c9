"""A cloud on a bad day, seen by the whole service: what becomes of the share, what people read, and when it is safe.

The provider is the one in memory; that Tencent's API comes out of its adapter as these very errors is proved in
`tests/adapters/test_clb_faults.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from shifter.adapters.memory import Author, Fault
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Direction
from shifter.ports import Change, Operation, OperationState, Progress
from tests.service.conftest import NEW, NEWER, OLD, OLDER, World

Worlds = Callable[..., World]

MINUTE = 6
"""Ticks."""

TIMEOUT = 6
"""`operationTimeout` in ticks."""

TKE_SAYS = {OLD: 10, OLDER: 10, NEW: 10, NEWER: 10}
"""What TKE binds everybody with: half of the traffic for each side."""


def climbing(world: World) -> None:
    """Go on until a climb is under way."""
    while (intent := world.state().intent) is None or intent.direction is not Direction.CLIMB:
        world.step()


def highest_written(world: World) -> float:
    """The highest share that a write of shifter's own has brought about."""
    route = world.route()
    shares = [0.0]
    for write in world.memory.writes:
        after = write.after.get(route.id, {})
        if write.author is Author.SHIFTER and (total := sum(after.values())):
            shares.append(100 * sum(weight for key, weight in after.items() if key.endswith(":31080")) / total)
    return max(shares)


def failures(world: World) -> list[str]:
    return [record.reason for record in world.history() if record.what is What.FAILED]


# -- nobody answers, or nobody may write -------------------------------------------------------------------------------


@pytest.mark.fault(
    on="Tencent API",
    fault="reads are throttled or fail for minutes",
    does="no climb; the share stays; goes on by itself afterwards",
    sees="hold `provider`: what the provider said",
    safe_within="one tick",
)
def test_minutes_without_an_answer_hold_and_the_shift_goes_on_afterwards(world: World) -> None:
    world.until_share(25)
    world.memory.inject(Fault.UNREACHABLE, times=5 * MINUTE)
    submits = len(world.provider.submits)
    world.step()
    first = world.holds()
    world.step(4 * MINUTE)

    assert first == world.holds() == {"provider"}
    assert "provider: nobody answers" in world.reason()
    assert (world.share(), len(world.provider.submits)) == (25, submits)
    world.until(Phase.COMPLETED)
    assert world.climbs() == [5, 25, 50, 100]


@pytest.mark.fault(
    on="Tencent API",
    fault="nobody answers while a rollback is ordered",
    does="accepts the order, tries each tick, is back one tick after the first answer",
    sees="rolling back (waiting: what the provider said)",
    safe_within="2 ticks after the cloud answers",
)
def test_a_rollback_ordered_while_nobody_answers_is_carried_out_as_soon_as_somebody_does(world: World) -> None:
    world.until_share(25)
    world.memory.inject(Fault.UNREACHABLE, times=MINUTE)
    order = world.order(Verb.ROLLBACK)
    world.step(MINUTE)
    told = world.reason()
    world.step(2)

    assert world.saved.order(order.id).answer is Answer.ACCEPTED
    assert "rolling back" in told
    assert "waiting: nobody answers" in told
    assert world.share() == 0


@pytest.mark.fault(
    on="CLB",
    fault="another actor holds the balancer's lock for a minute while a rollback is ordered",
    does="tries each tick; back one tick after the lock is free",
    sees="rolling back; the provider: another operation is running",
    safe_within="2 ticks after the lock is free",
)
def test_a_rollback_onto_a_locked_balancer_is_tried_until_it_is_free(world: World) -> None:
    world.until_share(25)
    world.memory.hold_lock(world.route().domain)
    world.order(Verb.ROLLBACK)
    world.step(MINUTE)
    told = world.reason()
    world.memory.release_lock(world.route().domain)
    world.step(2)

    assert "another operation is running" in told
    assert world.share() == 0


@pytest.mark.fault(
    on="CLB",
    fault="another actor holds the balancer's lock for a minute during a climb",
    does="tries each tick until operationTimeout, then fails the climb; tries again after 2, 4, 8 ... ticks",
    sees="writing ...; the provider: another operation is running (sent N times)",
    safe_within="at once",
)
def test_a_climb_onto_a_locked_balancer_is_tried_and_given_up_in_time(world: World) -> None:
    world.until_share(25)
    world.memory.hold_lock(world.route().domain)
    climbing(world)
    world.step(TIMEOUT - 1)
    told = world.reason()
    world.step(2)

    assert "another operation is running" in told
    assert "not in force by its deadline" in failures(world)[-1]
    assert world.share() == 25
    world.memory.release_lock(world.route().domain)
    world.until(Phase.COMPLETED)
    assert world.climbs() == [5, 25, 50, 100]


@pytest.mark.fault(
    on="Tencent API",
    fault="the account's quota refuses a climb",
    does="fails the climb, the share stays; tries again after 2, 4, 8 ... ticks",
    sees="the write of tcm 50 · istio 50 failed: refused: what the provider said",
    safe_within="at once",
)
def test_a_climb_that_a_quota_refuses_leaves_the_share_and_is_tried_again(world: World) -> None:
    world.until_share(25)
    world.memory.inject(Fault.QUOTA, times=2)
    climbing(world)
    world.step(2)

    assert failures(world) == ["refused: the quota of the account is exceeded"]
    assert world.share() == 25
    world.until(Phase.COMPLETED)
    assert len(failures(world)) == 2


# -- a task that never ends --------------------------------------------------------------------------------------------


@pytest.mark.fault(
    on="CLB",
    fault="a climb's task never ends",
    does="given up at operationTimeout, tried again ever more rarely; the share stays",
    sees="the write failed: not in force by its deadline",
    safe_within="at once",
)
def test_a_climb_whose_task_never_ends_is_given_up_and_done_when_the_balancer_is_free(world: World) -> None:
    world.until_share(25)
    world.memory.inject(Fault.TASK_ENDLESS)
    climbing(world)
    world.step(TIMEOUT + 1)

    assert failures(world) == ["not in force by its deadline: no answer"]
    world.step(4 * MINUTE)
    assert world.share() == 25
    assert highest_written(world) == 25
    assert len(failures(world)) > 1
    world.memory.release_lock(world.route().domain)
    world.until(Phase.COMPLETED)
    assert world.climbs() == [5, 25, 50, 100]


@pytest.mark.fault(
    on="CLB",
    fault="a rollback's task never ends",
    does="sends it again each tick from operationTimeout on, until the balancer takes it",
    sees="rolling back; the provider: the cloud still calls it running, later: another operation is running",
    safe_within="operationTimeout + 1 tick, and 2 ticks after the balancer is free",
)
def test_a_rollback_whose_task_never_ends_is_sent_again_until_it_is_carried_out(world: World) -> None:
    world.until_share(25)
    world.memory.inject(Fault.TASK_ENDLESS)
    world.order(Verb.ROLLBACK)
    world.step()
    sent = len(world.provider.submits)
    world.step(3)
    waiting = world.reason()
    world.step(TIMEOUT)
    again = len(world.provider.submits)
    world.step(MINUTE)
    told = world.reason()
    world.memory.release_lock(world.route().domain)
    world.step(2)

    assert again > sent
    assert "the provider: the cloud still calls it running (sent 1 times)" in waiting
    assert "another operation is running" in told
    assert world.share() == 0
    assert world.until(Phase.ROLLED_BACK).share == 0


def test_a_rollback_is_sent_as_soon_as_the_endless_task_of_a_climb_lets_go(world: World) -> None:
    world.until_share(25)
    world.memory.inject(Fault.TASK_ENDLESS)
    climbing(world)
    world.order(Verb.ROLLBACK)
    world.step(3)
    stuck = world.share()
    world.memory.release_lock(world.route().domain)
    world.step(2)

    assert (stuck, world.share()) == (25, 0)
    assert highest_written(world) == 25


# -- lies, halves and resets on the way back ---------------------------------------------------------------------------


@pytest.mark.fault(
    on="CLB",
    fault="a rollback's task lies, fails, is half applied, or its answer is lost or reset before or after applying",
    does="reads back and sends it again",
    sees="rolling back",
    safe_within="3 ticks",
)
@pytest.mark.parametrize(
    "fault",
    [Fault.TASK_LIES, Fault.TASK_FAILS, Fault.TASK_HALF, Fault.AMBIGUOUS_BEFORE, Fault.AMBIGUOUS_AFTER, Fault.BUSY],
)
def test_a_rollback_that_goes_wrong_is_sent_again_until_it_is_read_back(world: World, fault: Fault) -> None:
    world.until_share(25)
    world.memory.inject(fault)
    world.order(Verb.ROLLBACK)
    world.step(4)

    assert world.share() == 0
    assert world.until(Phase.ROLLED_BACK).share == 0
    assert highest_written(world) == 25


@pytest.mark.fault(
    on="CLB",
    fault="a climb's task lies, fails, is half applied, or its answer is lost or reset before or after applying",
    does="reads back, repairs a half toward tcm, tries again; no step is skipped or done twice",
    sees="the write failed: read back otherwise than intended",
    safe_within="operationTimeout + 1 tick",
)
@pytest.mark.parametrize(
    "fault", [Fault.TASK_LIES, Fault.TASK_FAILS, Fault.TASK_HALF, Fault.AMBIGUOUS_BEFORE, Fault.AMBIGUOUS_AFTER]
)
def test_a_climb_that_goes_wrong_is_never_higher_than_its_step(world: World, fault: Fault) -> None:
    world.until_share(25)
    world.memory.inject(fault, times=2)
    climbing(world)
    while world.state().share != 50:
        assert highest_written(world) <= 50
        world.step()
    world.until(Phase.COMPLETED)
    assert world.climbs() == [5, 25, 50, 100]


# -- a person, and TKE -------------------------------------------------------------------------------------------------


@pytest.mark.fault(
    on="CLB",
    fault="a person edits weights between the read and the write",
    does="the climb overwrites what it did not see, reads back what it wrote; nobody's share is higher than the step",
    sees="nothing",
    safe_within="one tick",
)
def test_an_edit_between_the_read_and_the_write_never_ends_above_the_step(world: World) -> None:
    world.until_share(25)
    submit = world.provider.submit
    edits = [{NEW: 90}]

    def edited(changes: Sequence[Change]) -> Operation:
        # The write was decided on what was read before; the edit is there when it arrives.
        if edits:
            world.edit_weights(edits.pop())
        return submit(changes)

    world.provider.submit = edited  # type: ignore[method-assign] # the edge between the read and the write
    climbing(world)
    world.step(3)

    assert not edits
    assert world.share() == 50
    assert highest_written(world) == 50


def resynced_when_done(world: World, times: int) -> None:
    """Let TKE write its weights between the end of a task and the look that reads it back."""
    check = world.provider.check
    left = [TKE_SAYS] * times

    def checked(operation: Operation) -> OperationState:
        state = check(operation)
        if state.progress is Progress.DONE and left:
            world.edit_weights(left.pop())
        return state

    world.provider.check = checked  # type: ignore[method-assign] # the edge between the task's end and the look


@pytest.mark.fault(
    on="CLB",
    fault="TKE's resync rewrites the weights during a climb",
    does="the climb fails, then holds; never written over, never climbed from",
    sees="hold `drift`: somebody changed the weights",
    safe_within="one tick",
)
def test_a_resync_in_the_middle_of_a_climb_is_drift_and_not_climbed_from(make_world: Worlds) -> None:
    world = make_world(looks_until_done=3)
    world.until_share(25)
    resynced_when_done(world, times=1)
    climbing(world)
    submits = len(world.provider.submits)
    world.step(5 * MINUTE)

    assert "read back otherwise than intended" in failures(world)[-1]
    assert world.view().weights == TKE_SAYS
    assert world.holds() == {"drift"}
    assert "somebody changed the weights" in world.reason()
    assert len(world.provider.submits) == submits


@pytest.mark.fault(
    on="CLB",
    fault="TKE's resync rewrites the weights in the middle of a rollback",
    does="sends the rollback again until it is read back",
    sees="rolling back",
    safe_within="2 ticks after the resync",
)
def test_a_resync_in_the_middle_of_a_rollback_does_not_end_it(make_world: Worlds) -> None:
    world = make_world(looks_until_done=3)
    world.until_share(25)
    resynced_when_done(world, times=3)
    submits = len(world.provider.submits)
    world.order(Verb.ROLLBACK)
    world.step(12)

    assert len(world.provider.submits) - submits >= 4
    assert world.share() == 0
    assert world.until(Phase.ROLLED_BACK).share == 0


@pytest.mark.fault(
    on="CLB",
    fault="TKE's resync raises the share of a shift that is rolled back",
    does="not written over: only an order brings it back",
    sees="hold `drift`: somebody changed the weights",
    safe_within="one tick, by an order",
)
def test_a_resync_after_a_rollback_is_drift_and_an_order_goes_back_again(world: World) -> None:
    world.until_share(25)
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    world.edit_weights(TKE_SAYS)
    world.step(4)
    held, share = world.holds(), world.share()
    world.order(Verb.ROLLBACK)
    world.step(3)

    assert (held, share) == ({"drift"}, 50)
    assert world.share() == 0
