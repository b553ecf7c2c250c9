"""A store that takes nothing any more: what must go back goes back, and nothing that happened is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog
from prometheus_client import CollectorRegistry

from shifter.adapters.memory_store import MemoryStore
from shifter.core.balancing.splits import Side
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.records import NewRecord, What
from shifter.core.state import Direction, Report, ShiftState
from shifter.errors import StoreUnavailableError
from shifter.ports import Operation, OperationState, Progress, SavedFleet
from shifter.service.act import BACKLOG_LIMIT, Place, StateWriter
from shifter.service.telemetry import Telemetry
from shifter.service.tick import Ticker
from tests.service.conftest import BALANCER, NEW, NEWER, NOON, TICK, World, fleet_with, policy
from tests.service.outside import WatchedProvider, WatchedStore

Worlds = Callable[..., World]

DISK_FULL = StoreUnavailableError("disk full")


# -- analysis --------------------------------------------------------------------------------------------------------


def climbing(world: World) -> None:
    """Go on until the next climb is under way."""
    world.step()
    while world.state().intent is None:
        world.step()


def test_a_write_that_is_done_counts_as_done_though_it_cannot_be_saved(world: World) -> None:
    world.until_share(5)
    climbing(world)
    world.saved.down = True
    world.step(4)

    assert (world.state().share, world.state().intent) == (25, None)
    assert len(world.ticker.shifts["shop"].seen.ledger.ticks) >= 3


@pytest.mark.parametrize("shares", [(50, 100), (5, 50, 100)])
def test_a_target_that_fails_right_after_a_climb_goes_back_though_the_store_is_down(
    make_world: Worlds, shares: Sequence[float]
) -> None:
    world = make_world(steps=shares)
    if len(shares) > 2:
        world.until_share(shares[0])
    climbing(world)
    world.saved.down = True
    world.sides[Side.TARGET].error_percent = 100
    world.step(8)

    assert world.written_shares()[-2:] == [50, 0]
    assert world.state().phase is Phase.ROLLED_BACK


def test_evidence_gathered_while_nothing_can_be_saved_adds_up(make_world: Worlds) -> None:
    world = make_world(steps=(5, 50, 100))
    world.until_share(5)
    climbing(world)
    # At two requests per tick for the target it takes ten ticks until there is enough evidence.
    world.PER_SECOND = 0.4
    world.saved.down = True
    world.sides[Side.TARGET].error_percent = 100
    world.step(30)

    assert world.share() == 0


class Unending(WatchedProvider):
    """A provider that calls every operation running, also when the weights are long in force."""

    def check(self, operation: Operation) -> OperationState:
        super().check(operation)
        return OperationState(Progress.RUNNING)


def test_a_target_that_fails_while_its_first_task_still_runs_goes_back_before_the_deadline(make_world: Worlds) -> None:
    world = make_world(steps=(50, 100))
    world.provider = Unending(world.memory, world.trap, world.saved)
    world.restart()
    climbing(world)
    began = world.now
    world.sides[Side.TARGET].error_percent = 100
    world.step()
    at_fault = world.share()
    while world.share() != 0:
        world.step()

    assert at_fault == 50
    assert world.now - began < world.fleet.spec.timing.operation_timeout


# -- memory ----------------------------------------------------------------------------------------------------------


def what(world: World) -> list[str]:
    """The history from the first order or end of a phase on, without the coming and going of holds."""
    told = [record.what for record in world.history() if record.what is not What.HOLDS]
    return [str(each) for each in told]


def test_an_order_is_obeyed_once_though_its_answer_cannot_be_saved(world: World) -> None:
    world.until_share(5)
    world.store.bugs["shop"] = DISK_FULL
    order = world.order(Verb.ROLLBACK)
    world.step(5)
    sent = len(world.provider.submits)
    world.step(20)

    assert world.share() == 0
    assert len(world.provider.submits) == sent == 2
    assert world.saved.order(order.id).answer is None


def test_a_pause_is_in_force_though_it_cannot_be_saved(world: World) -> None:
    world.until_share(5)
    world.store.bugs["shop"] = DISK_FULL
    world.order(Verb.PAUSE)
    world.step(2)
    paused = world.state().paused
    del world.store.bugs["shop"]
    world.step(20)

    assert paused is not None
    assert world.share() == 5


def test_orders_given_during_an_outage_are_obeyed_in_turn_and_answered_when_it_ends(world: World) -> None:
    world.until_share(5)
    world.store.bugs["shop"] = DISK_FULL
    orders = []
    for verb in (Verb.ROLLBACK, Verb.PAUSE, Verb.RETRY):
        orders.append(world.order(verb))
        world.step(5)
    del world.store.bugs["shop"]
    world.step()

    assert [world.saved.order(order.id).answer for order in orders] == [Answer.ACCEPTED] * 3
    assert (world.saved_state().attempt, world.saved_state().paused is not None) == (2, True)
    assert what(world).count(str(What.ORDER)) == 3


def test_an_ordered_rollback_during_an_outage_is_in_the_history_when_it_ends(world: World) -> None:
    world.until_share(5)
    before = len(what(world))
    world.store.bugs["shop"] = DISK_FULL
    order = world.order(Verb.ROLLBACK)
    world.step(10)
    del world.store.bugs["shop"]
    world.step()

    assert world.saved_state().phase is Phase.ROLLED_BACK
    assert world.saved.order(order.id).answer is Answer.ACCEPTED
    assert what(world)[before:] == [What.ORDER, What.PHASE, What.INTENT, What.DONE, What.PHASE]


def test_an_automatic_rollback_during_an_outage_with_an_open_order_is_remembered_when_it_ends(
    make_world: Worlds,
) -> None:
    world = make_world(steps=(50, 100), soak="1h")
    world.until_share(50)
    world.order(Verb.PAUSE)
    world.store.bugs["shop"] = DISK_FULL
    world.sides[Side.TARGET].error_percent = 100
    world.step(10)
    world.sides[Side.TARGET].error_percent = 0
    del world.store.bugs["shop"]
    world.step()
    retreats = [
        record.what
        for record in world.history()
        if record.evidence.get("direction") == Direction.RETREAT and record.what in {What.INTENT, What.DONE}
    ]

    assert world.share() == 0
    assert (world.saved_state().phase, world.saved_state().paused is not None) == (Phase.ROLLED_BACK, True)
    assert retreats == [What.INTENT, What.DONE]


# -- bounds ----------------------------------------------------------------------------------------------------------


def a_record(number: int) -> NewRecord:
    return NewRecord(NOON + timedelta(seconds=number), "shop", What.PHASE, "shifter", f"record {number}")


def a_place() -> Place:
    told = ShiftPolicy.model_validate(policy("shop", BALANCER), by_alias=True, strict=False)
    return Place(ShiftState(name="shop", policy=told, since=NOON), version=0)


def kept(*batches: range) -> list[str]:
    """Return the reasons of the records that are left when each batch of them meets a store that is down."""
    store, place = MemoryStore(), a_place()
    writer = StateWriter(store, Telemetry(CollectorRegistry(), timedelta(minutes=5)))
    store.down = True
    for batch in batches:
        place.records += [a_record(number) for number in batch]
        writer.save(place, may_wait=True)
    store.down = False
    writer.save(place, may_wait=True)
    return [each.record.reason for each in store.history(limit=100_000)]


def test_a_backlog_within_its_bound_is_kept_whole() -> None:
    assert len(kept(range(BACKLOG_LIMIT))) == BACKLOG_LIMIT


def test_a_backlog_beyond_its_bound_keeps_its_beginning_and_end_and_says_what_is_missing() -> None:
    left = kept(range(1000))

    assert len(left) == BACKLOG_LIMIT
    assert (left[0], left[-1]) == ("record 0", "record 999")
    assert [reason for reason in left if "left out" in reason] == [
        "601 records were left out: the store could not be written for too long"
    ]


def test_a_backlog_that_grows_record_by_record_says_all_that_is_missing() -> None:
    left = kept(*(range(number, number + 1) for number in range(1000)))

    assert len(left) == BACKLOG_LIMIT
    assert [reason for reason in left if "left out" in reason] == [
        "601 records were left out: the store could not be written for too long"
    ]


# -- gone back, unsaved, and killed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("climbs", [False, True], ids=["from a share", "in the middle of a climb"])
def test_a_retreat_that_nobody_could_save_is_taken_over_by_the_next_process(
    world: World,
    climbs: bool,  # noqa: FBT001 - a row of the table
) -> None:
    world.until_share(25)
    if climbs:
        climbing(world)
    world.saved.down = True
    world.sides[Side.TARGET].error_percent = 100
    world.step(8)
    gone_back = world.share()
    world.saved.down = False
    world.restart()
    world.step(4)

    assert gone_back == 0
    assert (world.share(), world.state().phase) == (0, Phase.ROLLED_BACK)
    assert "shifter went back while nothing could be saved, or somebody did it by hand" in world.reason()
    assert world.report().page
    assert [record.by for record in world.history() if record.what is What.ADOPTED] == ["shifter"]


def test_a_first_look_from_before_the_verified_share_is_no_retreat(world: World) -> None:
    world.until_share(5)
    verified = dict(world.view().weights)
    at_0(world)
    world.restart()
    world.step()
    at_first = world.state().phase, world.holds()
    world.edit_weights(verified)
    world.step(2)

    assert at_first == (Phase.SHIFTING, {HoldKind.NO_SIGNAL, HoldKind.DRIFT})
    assert (world.state().phase, world.state().share, world.share()) == (Phase.SHIFTING, 5, 5)
    assert HoldKind.DRIFT not in world.holds()


@pytest.mark.parametrize("looks_before", [0, 1], ids=["soon after the share was verified", "unseen at the first look"])
def test_a_retreat_that_nobody_could_save_is_taken_over_though_reads_may_be_old(
    world: World, looks_before: int
) -> None:
    world.until_share(5)
    world.restart()
    world.step(looks_before)
    at_0(world)
    world.step(3)

    assert world.state().phase is Phase.ROLLED_BACK
    assert "found at 0 % at the start" in world.reason()


def at_0(world: World) -> None:
    world.edit_weights(dict(world.view().weights) | {NEW: 0, NEWER: 0})


def test_weights_that_a_person_sets_to_0_while_the_service_watches_are_drift(world: World) -> None:
    world.until_share(25)
    at_0(world)
    world.step(2)

    assert world.holds() == {HoldKind.DRIFT}
    assert world.state().phase is Phase.SHIFTING


def test_a_share_that_rose_by_itself_is_not_brought_back_by_what_nobody_has_on_record(world: World) -> None:
    """The next process would take the weights for a stranger's, and hold for ever."""
    world.until_share(5)
    sent = len(world.provider.submits)
    world.saved.down = True
    world.member_joins()
    world.step(3)
    meanwhile = len(world.provider.submits), world.share()
    world.saved.down = False
    world.step(3)

    assert meanwhile[0] == sent
    assert (meanwhile[1] or 0) > 5
    assert world.share() == pytest.approx(5, abs=0.2)


# -- a store that is only slow -----------------------------------------------------------------------------------------


class SlowStore(WatchedStore):
    """A store whose every report takes `seconds`, by the stopwatch that it is, and every look at a freeze `to_look`."""

    now = seconds = to_look = 0.0

    def load_fleet(self) -> SavedFleet:
        self.now += self.to_look
        return super().load_fleet()

    def __call__(self) -> float:
        return self.now

    def report(self, report: Report) -> None:
        self.now += self.seconds
        super().report(report)


def test_what_was_read_too_long_ago_is_not_climbed_on_but_gone_back_on(make_world: Worlds) -> None:
    world = make_world(shifts={"alpha": "lb-a", "beta": "lb-b", "gamma": "lb-c"})
    store = SlowStore(world.saved, world.trap)
    world.parts = replace(world.parts, store=store, stopwatch=store, fleet=fleet_with(report_every=TICK))
    world.ticker = Ticker(world.parts)
    world.ticker.load()
    world.until_share(5, name="beta")
    store.seconds = 100.0
    world.step(20)
    slow = world.share("beta"), world.reason("beta")
    world.order(Verb.ROLLBACK, name="beta")
    world.step(2)

    assert slow[0] == 5
    assert "what was read is" in slow[1]
    assert world.share("beta") == 0


def test_a_share_is_in_force_since_it_was_read_back_however_long_the_store_took_before(world: World) -> None:
    store = SlowStore(world.saved, world.trap)
    world.parts = replace(world.parts, store=store, stopwatch=store)
    world.ticker = Ticker(world.parts)
    world.ticker.load()
    climbing(world)
    store.to_look = 7.0
    world.step()
    done = [record.at for record in world.history() if record.what is What.DONE]

    assert done[-1:] == [world.state().verified_at] == [world.now + timedelta(seconds=7)]


@pytest.mark.parametrize(("error", "is_bug"), [(DISK_FULL, False), (KeyError("odd"), True)])
def test_of_a_save_that_may_wait_only_a_bug_is_told_with_a_traceback(
    world: World, error: Exception, *, is_bug: bool
) -> None:
    place = a_place()
    place.records.append(a_record(1))
    world.store.bugs["shop"] = error

    with structlog.testing.capture_logs() as lines:
        saved = StateWriter(world.store, world.telemetry).save(place, may_wait=True)

    assert not saved
    assert [(line["event"], line["error"], line["exc_info"]) for line in lines] == [
        ("shift.error", type(error).__name__, is_bug)
    ]
