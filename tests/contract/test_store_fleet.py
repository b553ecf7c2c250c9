"""What every store must do with the state of all shifts together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.deciding.orders import FLEET, Verb
from shifter.core.state import (
    FleetState,
    Freeze,
)
from shifter.errors import (
    ConflictError,
    InvariantError,
    NotFoundError,
    RefusedError,
)
from shifter.ports import SavedFleet, Store
from tests.contract.stores import (
    NOW,
    Subject,
    a_fleet,
    a_record,
    a_request,
    a_state,
    an_answer,
    counts,
    moments,
    same_store,
)


@same_store
@given(
    freezes=st.lists(st.builds(Freeze, by=st.text(), reason=st.text(), at=moments), max_size=3).map(tuple),
    last_order=counts,
)
def test_every_field_of_the_fleets_state_comes_back(store: Store, freezes: tuple[Freeze, ...], last_order: int) -> None:
    state = FleetState(freezes=freezes, last_order=last_order)
    before = store.load_fleet().version

    store.save_fleet(state, before)

    assert store.load_fleet() == SavedFleet(state, before + 1)


def test_the_fleet_begins_with_the_defaults_as_version_0(store: Store) -> None:
    assert store.load_fleet() == SavedFleet(FleetState(), 0)


def test_the_fleets_state_records_and_answers_are_saved_together(store: Store) -> None:
    order = store.create_order(a_request(Verb.FREEZE, shift=FLEET), NOW)

    version = store.save_fleet(a_fleet(), 0, [a_record("frozen", FLEET)], [an_answer(order.id)])

    assert store.load_fleet() == SavedFleet(a_fleet(), version)
    assert [record.record.reason for record in store.history(FLEET)] == ["frozen"]
    assert store.open_orders() == ()


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_saving_the_fleet_over_another_version_writes_nothing_at_all(store: Store, expected: int) -> None:
    store.save_fleet(a_fleet("ana"), 0)
    store.save_fleet(a_fleet("bob"), 1)
    order = store.create_order(a_request(Verb.UNFREEZE, shift=FLEET), NOW)

    with pytest.raises(ConflictError, match=f"all shifts together are saved as version 2, not {expected}"):
        store.save_fleet(FleetState(), expected, [a_record()], [an_answer(order.id)])

    assert store.load_fleet() == SavedFleet(a_fleet("bob"), 2)
    assert store.history() == ()
    assert store.open_orders() == (order,)


def test_an_answer_to_no_order_saves_nothing_of_the_fleet(store: Store) -> None:
    with pytest.raises(NotFoundError, match="there is no order 99 to answer"):
        store.save_fleet(a_fleet(), 0, [a_record()], [an_answer(99)])

    assert store.load_fleet() == SavedFleet(FleetState(), 0)
    assert store.history() == ()


def test_the_fleet_and_a_shift_do_not_touch_each_other(store: Store) -> None:
    store.save(a_state(share=5), 0)
    store.save_fleet(a_fleet(), 0)

    assert set(store.load()) == {"shop"}
    assert store.load()["shop"].version == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"schema_version": 2, "mood": "good"}', "schema version 2, written by a later shifter; this one knows 1"),
        ('{"schema_version": 1, "mood": "good"}', "mood"),
        ('{"schema_version": 1, "freezes": [{}]}', "freezes.0.by"),
        ("[", "not understood"),
    ],
)
def test_a_fleet_that_is_not_understood_is_neither_read_nor_written_over(
    subject: Subject, text: str, says: str
) -> None:
    subject.plant_fleet(text)

    with pytest.raises(RefusedError, match=says):
        subject.store.load_fleet()
    with pytest.raises(RefusedError, match=says):
        subject.store.save_fleet(FleetState(), 1, [a_record()])

    assert subject.store.history() == ()


def test_a_fleet_that_could_not_be_read_back_is_not_written(store: Store) -> None:
    with pytest.raises(InvariantError, match="could not be read back and is not written: "):
        store.save_fleet(a_fleet("\udc80"), 0)

    assert store.load_fleet() == SavedFleet(FleetState(), 0)
