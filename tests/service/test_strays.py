"""What becomes of an order for a shift that there is not: made as an object, or left over from another time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from shifter.adapters.kube.kinds import SHIFT_ORDERS
from shifter.adapters.kube.objects import order_body
from shifter.adapters.kube.store import KubeStore
from shifter.adapters.memory import Rule
from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.core.deciding.orders import FLEET, STRAY_GRACE, Answer, OrderRequest, Verb
from shifter.core.records import What
from shifter.errors import ConflictError
from shifter.service.freezing import Freezer
from shifter.service.strays import LOOKS, MOST_AT_ONCE
from shifter.service.telemetry import Telemetry
from tests.kube import MemoryApi, MemoryCluster
from tests.service.conftest import NOON, TICK, World, servers

GRACE_TICKS = int(STRAY_GRACE / TICK)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    made = make_world(shifts={"shop": "lb-front0001", "cart": "lb-front0002"})
    made.step()
    return made


@pytest.mark.fault(
    on="people",
    fault="an order for a shift that there is not, made as an object of the cluster",
    does="it waits a minute for its shift to appear, and is refused then",
    sees="the order's answer: `no shift 'nope'`; it is in the history of all shifts",
    safe_within="at once",
)
def test_an_order_for_a_shift_that_there_is_not_is_refused_after_a_while(world: World) -> None:
    order = world.order(Verb.PAUSE, name="nope")
    world.step(GRACE_TICKS)
    before = world.answer(order)
    world.step(2)

    assert before == (None, "")
    assert world.answer(order) == (Answer.REFUSED, "no shift 'nope'")
    told = [each for each in world.history(FLEET) if each.what is What.ORDER]
    assert [(each.by, each.reason) for each in told] == [("ann", "pause (because): refused: no shift 'nope'")]


def test_a_refusal_counts_as_no_order_to_all_shifts(world: World) -> None:
    freeze = world.order(Verb.FREEZE, name=FLEET)
    world.order(Verb.PAUSE, name="nope")
    world.step(GRACE_TICKS + 2)
    unfreeze = world.order(Verb.UNFREEZE, name=FLEET)
    world.step()

    assert [world.answer(each)[0] for each in (freeze, unfreeze)] == [Answer.ACCEPTED, Answer.ACCEPTED]
    assert world.saved.load_fleet().state.last_order == unfreeze.id


def test_an_order_waits_for_a_policy_that_comes_within_the_grace(world: World) -> None:
    order = world.order(Verb.PAUSE, name="late")
    world.step(GRACE_TICKS)
    world.balancers["late"] = "lb-front0003"
    world.memory.put_rule(world.route("late"), Rule(servers()))
    world.write_policy("late")
    world.step(2)

    assert world.answer(order)[0] is Answer.ACCEPTED


def test_nobody_is_refused_while_a_policy_cannot_be_read(world: World) -> None:
    broken = world.path / "nope.yaml"
    broken.write_text("kind: ShiftPolicy\nspec: [")
    order = world.order(Verb.PAUSE, name="nope")
    world.step(3 * GRACE_TICKS)
    before = world.answer(order)
    broken.unlink()
    world.step(GRACE_TICKS)
    again = world.answer(order)
    world.step(2)

    assert before[0] is again[0] is None
    assert world.answer(order)[0] is Answer.REFUSED


def test_who_does_not_lead_refuses_nobody(world: World) -> None:
    order = world.order(Verb.PAUSE, name="nope")
    world.lease.lose()
    world.step(3 * GRACE_TICKS)

    assert world.answer(order)[0] is None


def test_a_clock_that_is_set_ahead_shortens_no_grace(world: World) -> None:
    order = world.order(Verb.PAUSE, name="nope")
    world.step()
    world.now += timedelta(days=1)
    world.step(2)

    assert world.answer(order)[0] is None


def test_a_clock_that_is_set_back_keeps_nobody_waiting_for_long(world: World) -> None:
    order = world.order(Verb.PAUSE, name="nope")
    world.step(2)
    world.now -= timedelta(days=1)
    world.step(GRACE_TICKS + 3)

    assert world.answer(order)[0] is Answer.REFUSED


def test_a_shift_that_somebody_else_saved_meanwhile_is_one(world: World) -> None:
    order = world.order(Verb.PAUSE, name="pay")
    world.step(GRACE_TICKS - 1)
    world.saved.save(world.state("shop").model_copy(update={"name": "pay"}), 0)
    world.step(2 * GRACE_TICKS)

    assert world.answer(order)[0] is None


def test_an_order_for_a_shift_whose_state_cannot_be_read_waits_for_it(world: World) -> None:
    world.until_share(5)
    row = world.saved._shifts["shop"]
    world.saved._shifts["shop"] = type(row)("{", row.version)
    world.restart()
    order = world.order(Verb.PAUSE)
    world.step(3 * GRACE_TICKS)

    assert world.answer(order)[0] is None


def test_of_very_many_only_some_are_refused_in_one_look(world: World) -> None:
    orders = [world.order(Verb.PAUSE, name=f"nope-{number}") for number in range(MOST_AT_ONCE + 5)]
    world.step(GRACE_TICKS + 1)
    first = [world.answer(each)[0] for each in orders]
    world.step()

    assert first == [Answer.REFUSED] * MOST_AT_ONCE + [None] * 5
    assert {world.answer(each)[0] for each in orders} == {Answer.REFUSED}


def test_a_refusal_that_could_not_be_saved_comes_later() -> None:
    store = MemoryStore()
    freezer = Freezer(store, MemoryLease(store), "act", Telemetry(CollectorRegistry(), timedelta(minutes=5)))
    freezer.load()
    order = store.create_order(OrderRequest("nope", Verb.PAUSE, "ann", "because"), NOON)
    freezer.sort_out([order], ())
    for look in range(LOOKS):
        freezer.refuse((), NOON + look * STRAY_GRACE, complete=True)
    known = store.load_fleet()
    store.save_fleet(known.state, known.version)  # by another process
    with pytest.raises(ConflictError):
        freezer.refuse((), NOON + LOOKS * STRAY_GRACE, complete=True)
    before = store.order(order.id).answer
    freezer.refuse((), NOON + LOOKS * STRAY_GRACE, complete=True)

    assert (before, store.order(order.id).answer) == (None, Answer.REFUSED)


def test_an_order_that_was_made_as_an_object_gets_its_answer_there() -> None:
    cluster = MemoryCluster()
    store = KubeStore(MemoryApi(cluster), "shifter-system", "tests", lambda: "n1")
    freezer = Freezer(store, MemoryLease(MemoryStore()), "act", Telemetry(CollectorRegistry(), timedelta(minutes=5)))
    freezer.load()
    raw = order_body("pause-1", OrderRequest("nope", Verb.PAUSE, "ann", "because"))
    cluster.create(SHIFT_ORDERS, "shifter-system", raw, "ann")
    for look in range(LOOKS + 2):
        freezer.sort_out(store.open_orders(), ("shop",))
        freezer.refuse(("shop",), NOON + look * STRAY_GRACE, complete=True)

    status = cluster.get(SHIFT_ORDERS, "shifter-system", "pause-1")["status"]
    assert (status["answer"], status["text"]) == ("refused", "no shift 'nope'")
    assert store.open_orders() == ()
    assert [each.record.reason for each in store.history()] == ["pause (because): refused: no shift 'nope'"]


def test_one_that_was_answered_meanwhile_is_not_answered_again() -> None:
    store = MemoryStore()
    freezer = Freezer(store, MemoryLease(store), "act", Telemetry(CollectorRegistry(), timedelta(minutes=5)))
    freezer.load()
    order = store.create_order(OrderRequest("nope", Verb.PAUSE, "ann", "because"), NOON)
    freezer.sort_out([order], ())
    for look in range(LOOKS + 3):  # a watch that shows the order as it was
        freezer.refuse((), NOON + look * STRAY_GRACE, complete=True)

    assert len(store.history(FLEET)) == 1
