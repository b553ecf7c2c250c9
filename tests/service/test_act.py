"""The courier: what is looked at right before a call, and what becomes of calls that were overtaken.

The lanes here are a queue that a test empties by hand, in the lanes' own order, so that the moment between "lined
up" and "called" lasts as long as a test needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from shifter.adapters.memory import Fault, MemoryProvider, Rule
from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.core.balancing.splits import Route, RouteView, Selector
from shifter.core.deciding.journal import Call, Delivery
from shifter.core.deciding.orders import FLEET, Answer, Order, OrderAnswer, OrderRequest, Verb
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.records import NewRecord, What
from shifter.core.state import Direction, Intent, ShiftState
from shifter.errors import ConflictError, ProviderUnavailableError, StoreUnavailableError
from shifter.ports import Change, Operation, OperationState
from shifter.service.act import Courier, Place, StateWriter
from shifter.service.lanes import InlineLanes, Priority
from shifter.service.telemetry import Telemetry
from tests.service.conftest import BALANCER, LISTENER, NEW, NEWER, NOON, OLD, OLDER, REGION, policy, servers
from tests.service.outside import HeldLanes

ROUTE = Route(REGION, BALANCER, LISTENER, "shop.example.com", "/", Selector(ports=(30080,)), Selector(ports=(31080,)))
ALL_OLD = {OLD: 100, OLDER: 100, NEW: 0, NEWER: 0}
HALF = {OLD: 100, OLDER: 100, NEW: 100, NEWER: 100}

TELEMETRY = Telemetry(CollectorRegistry(), timedelta(minutes=5))


class Bench:
    """A courier with hands on everything around it."""

    def __init__(self) -> None:
        self.memory = MemoryProvider([(ROUTE, Rule(servers()))], looks_until_done=0)
        self.store = MemoryStore()
        self.lease = MemoryLease(self.store)
        self.lanes = HeldLanes(*Priority)
        self.courier = self.another()

    def another(self) -> Courier:
        return Courier(self.memory, self.lanes, self.store, self.lease)

    def weights(self) -> Mapping[str, int]:
        return self.memory.observe([ROUTE])[ROUTE.id].weights

    def call(self, intent: Intent, courier: Courier | None = None) -> Delivery:
        return (courier or self.courier).calls("shop", intent, [ROUTE.domain])[ROUTE.domain].delivery

    def send(self, intent: Intent) -> None:
        self.courier.forget("shop", intent.sequence)
        self.courier.send("shop", intent, [ROUTE])


@pytest.fixture
def bench() -> Bench:
    return Bench()


def message(bench: Bench, intent: Intent) -> str:
    return bench.courier.calls("shop", intent, [ROUTE.domain])[ROUTE.domain].message


def an_intent(direction: Direction = Direction.CLIMB, *, sequence: int = 1, epoch: int = 1) -> Intent:
    weights = ALL_OLD if direction is Direction.RETREAT else HALF
    return Intent(
        sequence=sequence,
        epoch=epoch,
        direction=direction,
        from_share=0,
        to_share=50,
        reason="because",
        by="shifter",
        created_at=NOON,
        deadline=NOON + timedelta(minutes=1),
        before={ROUTE.id: ALL_OLD},
        weights={ROUTE.id: weights},
    )


RISING = (Direction.CLIMB, Direction.KEEP)


@pytest.mark.parametrize(("whom", "verb"), [("shop", Verb.PAUSE), ("shop", Verb.ROLLBACK), (FLEET, Verb.FREEZE)])
@pytest.mark.parametrize("direction", RISING)
def test_an_order_given_while_a_climb_waits_withholds_it(
    bench: Bench, whom: str, verb: Verb, direction: Direction
) -> None:
    climb = an_intent(direction)
    bench.send(climb)
    bench.store.create_order(OrderRequest(whom, verb, "ann", ""), NOON)
    bench.lanes.let_run()

    assert bench.call(climb) is Delivery.WITHHELD
    assert bench.weights() == ALL_OLD
    assert not bench.memory.calls


def test_an_order_for_another_shift_withholds_nothing(bench: Bench) -> None:
    climb = an_intent()
    bench.send(climb)
    bench.store.create_order(OrderRequest("pay", Verb.PAUSE, "ann", ""), NOON)
    bench.lanes.let_run()

    assert bench.weights() == HALF


@pytest.mark.parametrize("verb", [Verb.RESUME, Verb.APPROVE, Verb.PROMOTE, Verb.RETRY, Verb.RECONCILE])
def test_an_order_that_does_not_stop_withholds_nothing(bench: Bench, verb: Verb) -> None:
    bench.send(an_intent())
    bench.store.create_order(OrderRequest("shop", verb, "ann", ""), NOON)
    bench.lanes.let_run()

    assert bench.weights() == HALF


def test_a_lease_lost_while_a_climb_waits_withholds_it(bench: Bench) -> None:
    climb = an_intent()
    bench.send(climb)
    bench.lease.lose()
    bench.lanes.let_run()

    assert bench.call(climb) is Delivery.WITHHELD
    assert bench.weights() == ALL_OLD


class OutvotedLease(MemoryLease):
    """The lease of a process that has seen another holder; or was cut off, for as long as it may go back."""

    lowers = False

    def may_lower(self) -> bool:
        return self.valid() or self.lowers


def a_bench_with(lease: OutvotedLease, bench: Bench) -> Bench:
    bench.lease.lose()
    bench.lease = lease
    bench.courier = bench.another()
    bench.memory.edit_weights(ROUTE, HALF)
    return bench


@pytest.mark.fault(
    on="process",
    fault="another replica leads, and this one still has a retreat in a lane",
    does="it is not sent: who saw another holder writes nothing at all",
    sees="withheld: the lease was lost, and another may lead",
    safe_within="at once",
)
def test_a_retreat_that_waits_when_another_leads_is_withheld(bench: Bench) -> None:
    lease = OutvotedLease(MemoryStore())
    bench = a_bench_with(lease, bench)
    retreat = an_intent(Direction.RETREAT)
    bench.send(retreat)
    lease.lose()
    bench.lanes.let_run()

    assert message(bench, retreat) == "the lease was lost, and another may lead"
    assert bench.weights() == HALF


def test_a_retreat_is_sent_by_who_led_when_nobody_answered_any_more(bench: Bench) -> None:
    lease = OutvotedLease(MemoryStore())
    bench = a_bench_with(lease, bench)
    lease.lose()
    lease.lowers = True
    bench.send(an_intent(Direction.RETREAT))
    bench.lanes.let_run()

    assert bench.weights() == ALL_OLD


class SlowOrders(MemoryStore):
    """Takes so long to say which orders there are that `meanwhile` happens."""

    meanwhile: Callable[[], None]

    def open_orders(self, *, recent: bool = False) -> Sequence[Order]:
        self.meanwhile()
        return super().open_orders(recent=recent)


def test_a_lease_lost_while_the_orders_are_read_withholds_a_climb() -> None:
    bench = Bench()
    bench.store = slow = SlowOrders()
    bench.lease = MemoryLease(slow)
    slow.meanwhile = bench.lease.lose
    bench.courier = bench.another()
    climb = an_intent()
    bench.send(climb)
    bench.lanes.let_run()

    assert bench.call(climb) is Delivery.WITHHELD
    assert bench.weights() == ALL_OLD


def test_a_climb_of_a_shift_that_somebody_is_deleting_is_withheld(bench: Bench) -> None:
    bench.store.deleting.add("shop")
    climb = an_intent()
    bench.send(climb)
    bench.lanes.let_run()

    assert bench.call(climb) is Delivery.WITHHELD
    assert bench.weights() == ALL_OLD


def test_orders_that_cannot_be_read_withhold_a_climb(bench: Bench) -> None:
    climb = an_intent()
    bench.send(climb)
    bench.store.down = True
    bench.lanes.let_run()

    assert bench.call(climb) is Delivery.WITHHELD
    assert bench.weights() == ALL_OLD


def test_shutting_down_withholds_a_climb_that_waits(bench: Bench) -> None:
    climb = an_intent()
    bench.send(climb)
    bench.courier.drain()
    bench.lanes.let_run()

    assert bench.call(climb) is Delivery.WITHHELD
    assert bench.weights() == ALL_OLD


@pytest.mark.parametrize("direction", Direction)
def test_hands_off_withholds_whatever_waits(bench: Bench, direction: Direction) -> None:
    bench.memory.edit_weights(ROUTE, HALF if direction is Direction.RETREAT else ALL_OLD)
    before, intent = bench.weights(), an_intent(direction)
    bench.send(intent)
    bench.courier.withhold("shop", intent, "hands off")
    bench.lanes.let_run()

    assert bench.call(intent) is Delivery.WITHHELD
    assert bench.weights() == before


def test_nothing_else_withholds_a_retreat(bench: Bench) -> None:
    bench.memory.edit_weights(ROUTE, HALF)
    bench.send(an_intent(Direction.RETREAT))
    bench.store.create_order(OrderRequest("shop", Verb.PAUSE, "ann", ""), NOON)
    bench.lease.lose()
    bench.store.down = True
    bench.courier.drain()
    bench.lanes.let_run()

    assert bench.weights() == ALL_OLD


def test_a_climb_that_a_retreat_overtook_in_the_lane_is_never_made(bench: Bench) -> None:
    bench.send(an_intent(sequence=1))
    bench.send(an_intent(Direction.RETREAT, sequence=2))
    bench.lanes.let_run()

    assert bench.weights() == ALL_OLD
    assert [call.changes[0].weights for call in bench.memory.calls] == [ALL_OLD]


def test_what_is_under_way_is_not_sent_twice(bench: Bench) -> None:
    climb = an_intent()
    bench.send(climb)
    bench.courier.send("shop", climb, [ROUTE])
    bench.lanes.let_run()

    assert len(bench.memory.calls) == 1


@pytest.mark.parametrize(
    ("fault", "delivery"),
    [
        (Fault.BUSY, Delivery.BUSY),
        (Fault.UNREACHABLE, Delivery.BUSY),
        (Fault.AMBIGUOUS_BEFORE, Delivery.UNKNOWN),
        (Fault.AMBIGUOUS_AFTER, Delivery.UNKNOWN),
    ],
)
def test_what_the_provider_answers_is_remembered(bench: Bench, fault: Fault, delivery: Delivery) -> None:
    climb = an_intent()
    bench.memory.inject(fault)
    bench.send(climb)
    queued = bench.call(climb)
    bench.lanes.let_run()

    assert queued is Delivery.QUEUED
    assert bench.call(climb) is delivery


def test_a_call_under_way_to_one_balancer_keeps_none_from_another(bench: Bench) -> None:
    other = replace(ROUTE, balancer=f"{BALANCER}-2")
    memory = MemoryProvider([(ROUTE, Rule(servers())), (other, Rule(servers()))], looks_until_done=0)
    courier = Courier(memory, bench.lanes, bench.store, bench.lease)
    both = {ROUTE.id: HALF, other.id: HALF}
    climb = an_intent().model_copy(update={"weights": both})
    courier.send("shop", climb, [ROUTE])
    courier.send("shop", climb, [ROUTE, other])
    bench.lanes.let_run()

    assert sorted(call.changes[0].route.balancer for call in memory.calls) == [BALANCER, f"{BALANCER}-2"]


def test_a_retreat_is_lined_up_before_what_climbs(bench: Bench) -> None:
    lanes = HeldLanes(Priority.CLIMB)
    courier = Courier(bench.memory, lanes, bench.store, bench.lease)
    courier.send("shop", an_intent(sequence=1), [ROUTE])
    waiting = bench.weights()
    bench.memory.edit_weights(ROUTE, HALF)
    courier.send("shop", an_intent(Direction.RETREAT, sequence=2), [ROUTE])

    assert (waiting, bench.weights()) == (ALL_OLD, ALL_OLD)
    assert len(bench.memory.calls) == 1


def test_what_the_provider_says_against_a_write_is_told_with_how_often_it_was_sent(bench: Bench) -> None:
    climb = an_intent()
    for _ in range(2):
        bench.memory.inject(Fault.BUSY)
        bench.courier.send("shop", climb, [ROUTE])
        bench.lanes.let_run()
        bench.call(climb)

    assert message(bench, climb)
    assert bench.courier.trouble("shop", climb) == f"{message(bench, climb)} (sent 2 times)"


def test_a_call_that_runs_is_told_of_and_one_that_waits_to_be_made_is_not(bench: Bench) -> None:
    climb = an_intent()
    bench.send(climb)
    bench.call(climb)
    waiting = bench.courier.trouble("shop", climb)
    bench.lanes.let_run()
    bench.call(climb)

    assert (waiting, bench.courier.trouble("shop", climb)) == ("", "the cloud still calls it running (sent 1 times)")


def test_a_call_that_took_all_routes_is_whole(bench: Bench) -> None:
    climb = an_intent()
    bench.send(climb)
    for _ in range(2):
        bench.lanes.let_run()
        bench.call(climb)

    assert bench.courier.calls("shop", climb, [ROUTE.domain])[ROUTE.domain] == Call(Delivery.FINISHED, "", apart=False)


def test_an_operation_that_is_over_is_not_asked_after_again(bench: Bench) -> None:
    climb = an_intent()
    bench.send(climb)
    for _ in range(2):
        bench.lanes.let_run()
        bench.call(climb)
    bench.memory.inject(Fault.UNREACHABLE)
    for _ in range(2):
        bench.call(climb)
        bench.lanes.let_run()

    with pytest.raises(ProviderUnavailableError):
        bench.memory.observe([ROUTE])  # the fault strikes any call, and none was made before this one


def test_of_an_intent_that_nobody_sent_there_is_nothing_to_tell_or_to_withhold(bench: Bench) -> None:
    bench.send(an_intent(sequence=2))
    for shift, intent in (("shop", an_intent(sequence=3)), ("cart", an_intent(sequence=2))):
        bench.courier.withhold(shift, intent, "hands off")

        assert bench.courier.operations(shift, intent) == {}
        assert bench.courier.trouble(shift, intent) == ""


def test_why_a_call_came_to_nothing_is_told(bench: Bench) -> None:
    withheld, unknown, refused = (an_intent(sequence=number) for number in (1, 2, 3))
    bench.send(withheld)
    bench.courier.withhold("shop", withheld, "hands off")
    bench.lanes.let_run()
    told = [message(bench, withheld)]
    bench.memory.inject(Fault.AMBIGUOUS_BEFORE)
    bench.send(unknown)
    bench.lanes.let_run()
    told.append(message(bench, unknown))
    bench.memory.remove_server(ROUTE, NEW)
    bench.send(refused)
    bench.lanes.let_run()
    told.append(message(bench, refused))

    assert told[:2] == ["hands off", "the answer was lost; the write may have been carried out"]
    assert NEW in told[2]
    assert message(bench, an_intent(sequence=4, epoch=0)) == "shifter stopped in the middle of it"


@pytest.mark.parametrize(
    ("fault", "delivery"),
    [(None, Delivery.FINISHED), (Fault.TASK_FAILS, Delivery.FAILED), (Fault.TASK_LIES, Delivery.FINISHED)],
)
def test_an_accepted_operation_is_asked_after(bench: Bench, fault: Fault | None, delivery: Delivery) -> None:
    climb = an_intent()
    if fault is not None:
        bench.memory.inject(fault)
    bench.send(climb)
    bench.lanes.let_run()
    running = bench.call(climb)
    bench.lanes.let_run()

    assert running is Delivery.RUNNING
    assert bench.call(climb) is delivery
    assert bool(message(bench, climb)) is (delivery is Delivery.FAILED)


def test_a_refused_write_is_refused_for_good(bench: Bench) -> None:
    climb = an_intent()
    bench.send(climb)
    bench.memory.remove_server(ROUTE, NEW)
    bench.lanes.let_run()

    assert bench.call(climb) is Delivery.REFUSED


def test_an_operation_id_is_known_as_soon_as_it_is_accepted(bench: Bench) -> None:
    climb = an_intent()
    bench.send(climb)
    bench.lanes.let_run()
    bench.call(climb)

    assert list(bench.courier.operations("shop", climb)) == [ROUTE.domain]


class BrokenProvider:
    """An adapter with a bug in every call."""

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        raise KeyError(routes[0].id)

    def submit(self, changes: Sequence[Change]) -> Operation:
        raise KeyError(changes[0].route.id)

    def check(self, operation: Operation) -> OperationState:
        raise KeyError(operation.id)


@pytest.mark.parametrize(
    ("operations", "said"), [({}, f"KeyError: '{ROUTE.id}'"), ({ROUTE.domain: "operation-1"}, "'operation-1'")]
)
def test_a_bug_in_an_adapter_leaves_it_open_whether_the_write_was_done(
    bench: Bench, operations: Mapping[str, str], said: str
) -> None:
    courier = Courier(BrokenProvider(), InlineLanes(), bench.store, bench.lease)
    climb = an_intent().model_copy(update={"operations": operations})
    if not operations:
        courier.send("shop", climb, [ROUTE])

    call = courier.calls("shop", climb, [ROUTE.domain])[ROUTE.domain]
    assert (call.delivery, call.message) == (Delivery.UNKNOWN, said)


def test_after_a_restart_a_write_of_the_last_life_is_not_known_to_have_been_sent(bench: Bench) -> None:
    assert bench.call(an_intent(epoch=0)) is Delivery.UNKNOWN


def test_a_write_that_was_saved_and_not_sent_in_this_life_is_unsent(bench: Bench) -> None:
    assert bench.call(an_intent(epoch=bench.lease.epoch)) is Delivery.UNSENT


def test_after_a_restart_a_noted_operation_is_asked_after(bench: Bench) -> None:
    bench.send(an_intent())
    bench.lanes.let_run()
    bench.call(an_intent())
    noted = an_intent(epoch=0).model_copy(update={"operations": bench.courier.operations("shop", an_intent())})
    successor = bench.another()
    running = bench.call(noted, successor)
    bench.lanes.let_run()

    assert running is Delivery.RUNNING
    assert bench.call(noted, successor) is Delivery.FINISHED


def test_an_operation_that_the_provider_has_forgotten_is_unknown(bench: Bench) -> None:
    noted = an_intent(epoch=0).model_copy(update={"operations": {ROUTE.domain: "operation-77"}})
    bench.call(noted)
    bench.lanes.let_run()

    assert bench.call(noted) is Delivery.UNKNOWN


def test_it_is_known_whether_anything_is_in_flight(bench: Bench) -> None:
    before = bench.courier.in_flight()
    bench.send(an_intent())
    during = bench.courier.in_flight()
    bench.lanes.let_run()

    assert (before, during, bench.courier.in_flight()) == (False, True, False)


# -- the journal -----------------------------------------------------------------------------------------------------


def a_place() -> Place:
    told = ShiftPolicy.model_validate(policy("shop", BALANCER), by_alias=True, strict=False)
    return Place(ShiftState(name="shop", policy=told, since=NOON), version=0)


def a_record() -> NewRecord:
    return NewRecord(NOON, "shop", What.INTENT, "shifter", "because")


def test_what_did_not_change_is_not_saved_again(bench: Bench) -> None:
    place, writer = a_place(), StateWriter(bench.store, TELEMETRY)
    first, second = writer.save(place, may_wait=False), writer.save(place, may_wait=False)

    assert (first, second) == (True, True)
    assert place.version == 1


def test_answers_are_saved_with_the_state(bench: Bench) -> None:
    order = bench.store.create_order(OrderRequest("shop", Verb.PAUSE, "ann", ""), NOON)
    place = a_place()
    place.answers.append(OrderAnswer(order.id, Answer.ACCEPTED, "paused", NOON))
    StateWriter(bench.store, TELEMETRY).save(place, may_wait=False)

    assert not bench.store.open_orders()
    assert not place.answers


def test_what_may_wait_is_kept_until_the_store_takes_it(bench: Bench) -> None:
    place, writer = a_place(), StateWriter(bench.store, TELEMETRY)
    place.records.append(a_record())
    bench.store.down = True
    kept = writer.save(place, may_wait=True)
    bench.store.down = False
    taken = writer.save(place, may_wait=False)

    assert (kept, taken) == (False, True)
    assert not place.records
    assert [record.record.reason for record in bench.store.history()] == ["because"]


def test_of_a_backlog_beyond_its_bound_one_record_stands_for_what_is_left_out_and_belongs_to_no_write(
    bench: Bench,
) -> None:
    place = a_place()
    place.records = [replace(a_record(), at=NOON + timedelta(seconds=n), sequence=n, epoch=1) for n in range(1, 401)]
    bench.store.down = True
    StateWriter(bench.store, TELEMETRY).save(place, may_wait=True)
    whole = list(place.records)
    place.records.append(a_record())
    StateWriter(bench.store, TELEMETRY).save(place, may_wait=True)
    (gap,) = (record for record in place.records if "were left out" in record.reason)

    assert [record.sequence for record in whole] == list(range(1, 401))
    assert len(place.records) == 400
    assert (gap.what, gap.sequence, gap.epoch) == (What.HOLDS, 0, 0)
    assert gap.at == place.records[199].at + timedelta(seconds=1)


def test_what_must_not_wait_is_an_error_and_keeps_the_backlog(bench: Bench) -> None:
    place = a_place()
    place.records.append(a_record())
    bench.store.down = True

    with pytest.raises(StoreUnavailableError):
        StateWriter(bench.store, TELEMETRY).save(place, may_wait=False)
    assert len(place.records) == 1


def test_somebody_elses_save_is_a_conflict_even_for_what_may_wait(bench: Bench) -> None:
    place = a_place()
    bench.store.save(place.state, 0)

    with pytest.raises(ConflictError):
        StateWriter(bench.store, TELEMETRY).save(place, may_wait=True)


class LosingStore(MemoryStore):
    """Keeps what it is given, and does not say so as long as it is `mute`."""

    mute = False

    def save(
        self,
        state: ShiftState,
        expected_version: int,
        records: Sequence[NewRecord] = (),
        answers: Sequence[OrderAnswer] = (),
    ) -> int:
        version = super().save(state, expected_version, records, answers)
        if self.mute:
            raise StoreUnavailableError("no answer")
        return version


def test_after_a_save_that_may_have_been_kept_the_next_finds_out_even_if_nothing_else_changed() -> None:
    store = LosingStore()
    place, writer = a_place(), StateWriter(store, TELEMETRY)
    writer.save(place, may_wait=False)
    before = place.state
    store.mute = True
    place.state = before.model_copy(update={"share": 10.0})
    with pytest.raises(StoreUnavailableError):
        writer.save(place, may_wait=False)
    store.mute = False

    place.state = before
    with pytest.raises(ConflictError):
        writer.save(place, may_wait=True)
