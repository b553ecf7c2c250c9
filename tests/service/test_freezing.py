"""What does a freeze of all shifts stop, what not, and what is left of it when things go wrong?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.core.balancing.splits import Side
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import FLEET, OBSERVING, STALE_AFTER, Answer, OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Freeze
from shifter.errors import ConflictError
from shifter.ports import SavedFleet
from shifter.service.freezing import Freezer
from shifter.service.telemetry import Telemetry
from tests.service.conftest import NOON, World

BALANCERS = {"shop": "lb-front0001", "cart": "lb-front0002"}


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(shifts=BALANCERS)


def freeze(world: World) -> None:
    order = world.order(Verb.FREEZE, name=FLEET)
    world.wake()
    assert world.answer(order)[0] is Answer.ACCEPTED


def test_a_freeze_stops_every_shift_in_the_tick_that_reads_it(world: World) -> None:
    world.until_share(5)
    world.until_share(5, name="cart")
    freeze(world)
    world.step(30)

    assert (world.share("shop"), world.share("cart")) == (5, 5)
    assert world.holds("shop") == world.holds("cart") == {HoldKind.FREEZE}
    assert "all shifts are frozen by ann: because" in world.reason()


def test_a_frozen_shift_still_goes_back_when_it_fails_and_when_ordered(world: World) -> None:
    world.until_share(25)
    freeze(world)
    world.order(Verb.ROLLBACK, name="cart")
    world.sides[Side.TARGET].error_percent = 100
    world.step(10)

    assert world.state("shop").phase is Phase.ROLLED_BACK
    assert world.state("cart").phase is Phase.ROLLED_BACK


def test_a_freeze_that_another_process_obeyed_is_seen(world: World) -> None:
    world.until_share(5)
    known = world.saved.load_fleet()
    frozen = Freeze(by="ann", reason="because", at=world.now)
    world.saved.save_fleet(known.state.model_copy(update={"freezes": (frozen,)}), known.version)
    world.step(30)

    assert world.share() == 5
    assert HoldKind.FREEZE in world.holds("shop")


class StaleStore(MemoryStore):
    """Answers, where told to, with what it held a while ago."""

    stale: SavedFleet | None = None

    def load_fleet(self) -> SavedFleet:
        return self.stale or super().load_fleet()


def test_a_freeze_that_was_obeyed_is_not_forgotten_over_a_stale_answer() -> None:
    store = StaleStore()
    freezer = Freezer(store, MemoryLease(store), "act", Telemetry(CollectorRegistry(), timedelta(minutes=5)))
    freezer.load()
    before = store.load_fleet()
    order = store.create_order(OrderRequest(FLEET, Verb.FREEZE, "ann", "because"), NOON)
    freezer.obey([order], NOON)
    store.stale = before
    freezer.refresh()

    assert [freeze.by for freeze in freezer.freezes] == ["ann"]


def test_who_holds_the_lease_no_more_answers_no_freeze(world: World) -> None:
    world.until_share(5)
    world.lease.lose()
    order = world.order(Verb.FREEZE, name=FLEET)
    world.step()

    assert world.answer(order)[0] is None


def test_who_was_there_before_can_save_nothing_after_a_start(world: World) -> None:
    world.until_share(5)
    before, fleet = world.saved.load()["shop"], world.saved.load_fleet()
    world.restart()

    with pytest.raises(ConflictError):
        world.saved.save(before.state, before.version)
    with pytest.raises(ConflictError):
        world.saved.save_fleet(fleet.state, fleet.version)


def test_unfreezing_lets_all_go_on(world: World) -> None:
    world.until_share(5)
    freeze(world)
    world.step(5)
    lifted = world.order(Verb.UNFREEZE, name=FLEET)
    world.until(Phase.COMPLETED)

    assert world.answer(lifted) == (Answer.ACCEPTED, "unfrozen; it was frozen by ann: because")


@pytest.mark.fault(
    on="people",
    fault="a freeze, then the service is killed",
    does="the freeze is remembered; no shift climbs after the restart",
    sees="hold `freeze` with who and why on every shift",
    safe_within="at once",
)
def test_a_freeze_outlives_the_process(world: World) -> None:
    world.until_share(5)
    freeze(world)
    world.restart()
    world.step(20)

    assert world.share() == 5
    assert HoldKind.FREEZE in world.holds()


@pytest.mark.fault(
    on="people",
    fault="a freeze while the store cannot be written",
    does="frozen in memory at once; saved when the store is back; the order stays open until then",
    sees="hold `freeze`",
    safe_within="at once",
)
def test_a_freeze_holds_from_the_moment_it_is_read_though_it_cannot_be_saved(world: World) -> None:
    world.until_share(5)
    order = world.order(Verb.FREEZE, name=FLEET)
    world.store.fleet_refusals = 3
    world.step(3)
    while_down = world.saved.load_fleet().state.freezes, world.saved.order(order.id).answer, world.holds()
    world.step(10)

    assert while_down == ((), None, {HoldKind.FREEZE})
    assert world.saved.load_fleet().state.freezes
    assert world.answer(order)[0] is Answer.ACCEPTED
    assert world.share() == 5


def test_lifting_a_freeze_waits_until_the_store_has_it(world: World) -> None:
    world.until_share(5)
    freeze(world)
    world.order(Verb.UNFREEZE, name=FLEET)
    world.store.fleet_refusals = 3
    world.step(3)
    meanwhile = world.holds()
    world.step()

    assert meanwhile == {HoldKind.FREEZE}
    assert world.saved.load_fleet().state.freezes == ()


@pytest.mark.parametrize("edge", ["before fleet save", "after fleet save"])
def test_a_kill_around_the_save_of_a_freeze_loses_neither_it_nor_its_answer(world: World, edge: str) -> None:
    world.until_share(5)
    order = world.order(Verb.FREEZE, name=FLEET)
    world.trap.strike_next = edge
    world.step(10)

    assert world.answer(order)[0] is Answer.ACCEPTED
    assert world.share() == 5
    assert [record.what for record in world.history(FLEET)] == [What.ORDER]


def test_somebody_else_who_obeyed_first_is_believed(world: World) -> None:
    world.until_share(5)
    world.saved.save_fleet(world.saved.load_fleet().state, world.saved.load_fleet().version)
    order = world.order(Verb.FREEZE, name=FLEET)
    world.wake()
    at_once = world.answer(order)[0]
    world.step()

    assert at_once is Answer.ACCEPTED
    assert HoldKind.FREEZE in world.holds()


def test_an_unfreeze_that_found_no_service_is_refused_and_a_freeze_is_not(world: World) -> None:
    world.until_share(5)
    world.die()
    frozen = world.order(Verb.FREEZE, name=FLEET)
    lifted = world.order(Verb.UNFREEZE, name=FLEET)
    world.pass_time(STALE_AFTER + timedelta(minutes=1))
    world.start()
    world.step(5)

    assert world.answer(frozen)[0] is Answer.ACCEPTED
    assert world.answer(lifted)[0] is Answer.REFUSED
    assert HoldKind.FREEZE in world.holds()


def test_an_observing_shifter_refuses_to_freeze(make_world: Callable[..., World]) -> None:
    world = make_world(mode="observe")
    order = world.order(Verb.FREEZE, name=FLEET)
    world.step(2)

    assert world.answer(order) == (Answer.REFUSED, OBSERVING)


def test_a_freeze_is_in_the_history_in_the_name_of_who_ordered_it(world: World) -> None:
    freeze(world)
    (record,) = world.history(FLEET)

    assert (record.what, record.by) == (What.ORDER, "ann")
    assert record.reason == (
        "freeze (because): accepted: frozen: no share will be raised, but writes under way may still land;"
        " rollback stays possible"
    )


def test_what_was_put_back_freezes_all_shifts_until_a_person_has_looked(world: World) -> None:
    world.until_share(5)
    world.until_share(5, name="cart")
    world.saved.restored = "what is saved of shop was put back"
    world.step(30)
    shares, holds = (world.share("shop"), world.share("cart")), world.holds("cart")
    world.order(Verb.UNFREEZE, name=FLEET)
    world.until_share(25)

    assert shares == (5, 5)
    assert holds == {HoldKind.RESTORED}
    assert world.saved.restored == ""
    assert [record.reason for record in world.history(FLEET) if record.what is What.HOLDS] == [
        "what is saved of shop was put back"
    ]


def test_what_was_put_back_still_goes_back(world: World) -> None:
    world.until_share(25)
    world.saved.restored = "what is saved of shop was put back"
    world.sides[Side.TARGET].error_percent = 100
    world.step(10)

    assert world.state("shop").phase is Phase.ROLLED_BACK


def freezer_on(store: MemoryStore) -> tuple[Freezer, MemoryLease]:
    lease = MemoryLease(store)
    freezer = Freezer(store, lease, "act", Telemetry(CollectorRegistry(), timedelta(minutes=5)))
    freezer.load()
    return freezer, lease


def test_what_was_put_back_is_believed_only_once_the_freeze_is_saved() -> None:
    store = MemoryStore()
    freezer, _ = freezer_on(store)
    store.restored = "put back"
    store.fail_next(1)
    freezer.freeze_what_was_put_back(NOON)
    told, held = store.restored, [freeze.by for freeze in freezer.freezes]
    freezer.freeze_what_was_put_back(NOON)

    assert (told, held) == ("put back", ["shifter"])
    assert store.restored == ""
    assert [freeze.reason for freeze in store.load_fleet().state.freezes] == ["put back"]


def test_what_was_put_back_freezes_over_what_somebody_else_saved_meanwhile() -> None:
    store = MemoryStore()
    freezer, _ = freezer_on(store)
    known = store.load_fleet()
    ann = Freeze(by="ann", reason="because", at=NOON)
    store.save_fleet(known.state.model_copy(update={"freezes": (ann,)}), known.version)
    store.restored = "put back"
    freezer.freeze_what_was_put_back(NOON)

    assert [freeze.by for freeze in store.load_fleet().state.freezes] == ["ann", "shifter"]
    assert store.restored == ""


def test_who_holds_the_lease_no_more_believes_nothing() -> None:
    store = MemoryStore()
    freezer, lease = freezer_on(store)
    store.restored = "put back"
    lease.lose()
    freezer.freeze_what_was_put_back(NOON)

    assert (store.restored, store.load_fleet().state.freezes) == ("put back", ())
