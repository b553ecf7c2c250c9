"""What every store must do with history: append, tell, and drop what is old."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.records import NewRecord, What
from shifter.errors import (
    ConflictError,
    InvariantError,
    NotFoundError,
)
from shifter.ports import Store
from tests.contract.stores import (
    DAY,
    NOW,
    a_record,
    a_request,
    a_state,
    an_answer,
    counts,
    moments,
    remember,
    same_store,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


records = st.builds(
    NewRecord,
    at=moments,
    shift=st.text(),
    what=st.sampled_from(What),
    by=st.text(),
    reason=st.text(),
    sequence=counts,
    epoch=counts,
    evidence=st.dictionaries(st.text(), json_values, max_size=3),
)


@same_store
@given(record=records)
def test_every_field_of_a_record_comes_back(store: Store, record: NewRecord) -> None:
    remember(store, record)

    assert store.history(limit=1)[0].record == record


def test_evidence_that_is_not_json_is_not_written(store: Store) -> None:
    record = NewRecord(NOW, "shop", What.PHASE, "shifter", "because", evidence={"p99": float("inf")})

    with pytest.raises(InvariantError, match="evidence of a record must be JSON values: Out of range float"):
        remember(store, a_record(), record)

    assert store.history() == ()


def test_a_moment_without_a_time_zone_is_not_written(store: Store) -> None:
    naive = NOW.replace(tzinfo=None)
    said = f"a moment without a time zone cannot be remembered: {naive.isoformat()}"

    with pytest.raises(InvariantError, match=said):
        remember(store, a_record(at=naive))
    with pytest.raises(InvariantError, match=said):
        store.create_order(a_request(), naive)
    with pytest.raises(InvariantError, match=said):
        store.prune(naive)

    assert store.history() == ()
    assert store.open_orders() == ()


def test_an_odd_byte_in_a_sentence_does_not_cost_the_record(store: Store) -> None:
    remember(store, a_record("the cloud said \udc80"))

    assert store.history()[0].record.reason == "the cloud said \\udc80"


def test_history_is_the_newest_records_oldest_first(store: Store) -> None:
    remember(store, *(a_record(str(number)) for number in range(10)))

    assert [record.record.reason for record in store.history(limit=3)] == ["7", "8", "9"]
    assert [record.id for record in store.history(limit=3)] == [8, 9, 10]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_gives_no_history(store: Store, limit: int) -> None:
    remember(store, a_record())

    assert store.history(limit=limit) == ()


def test_history_can_be_of_one_shift(store: Store) -> None:
    remember(store, a_record("a1", "a"), a_record("b1", "b"), a_record("a2", "a"), a_record("b2", "b"))

    assert [record.record.reason for record in store.history("a")] == ["a1", "a2"]
    assert [record.record.reason for record in store.history("b", limit=1)] == ["b2"]
    assert store.history("\udc80") == ()


def test_a_failed_save_leaves_no_gap_in_the_ids(store: Store) -> None:
    remember(store, a_record("one"))
    with pytest.raises(ConflictError):
        store.save(a_state(), 9, [a_record("never")])
    with pytest.raises(NotFoundError):
        store.save(a_state(), 0, [a_record("never")], [an_answer(9)])

    remember(store, a_record("two"))

    assert [(record.id, record.record.reason) for record in store.history()] == [(1, "one"), (2, "two")]


def test_prune_drops_old_records_and_keeps_young_ones(store: Store) -> None:
    remember(store, a_record("old", at=NOW - 3 * DAY), a_record("edge", at=NOW - 2 * DAY), a_record("new"))

    dropped = store.prune(NOW - 2 * DAY)

    assert dropped == 1
    assert [record.record.reason for record in store.history()] == ["edge", "new"]


def test_ids_go_on_after_everything_was_pruned(store: Store) -> None:
    remember(store, a_record(), a_record())
    order = store.create_order(a_request(), NOW)
    store.save(a_state(), 0, answers=[an_answer(order.id)])
    store.prune(NOW + DAY)

    remember(store, a_record())
    next_order = store.create_order(a_request(), NOW)

    assert [record.id for record in store.history()] == [3]
    assert next_order.id == 2


def test_prune_tears_no_hole_when_a_clock_was_behind(store: Store) -> None:
    moments_in_order = [NOW - 9 * DAY, NOW, NOW - 9 * DAY, NOW]
    remember(store, *(a_record(at=at) for at in moments_in_order))

    dropped = store.prune(NOW - DAY)

    assert dropped == 1
    assert [record.id for record in store.history()] == [2, 3, 4]


def test_prune_compares_moments_and_not_their_spelling(store: Store) -> None:
    east, west = timezone(timedelta(hours=12)), timezone(timedelta(hours=-12))
    remember(store, a_record("old", at=(NOW - DAY).astimezone(east)), a_record("new", at=NOW.astimezone(west)))

    store.prune((NOW - timedelta(hours=1)).astimezone(east))

    assert [record.record.reason for record in store.history()] == ["new"]


def test_prune_leaves_the_states_alone(store: Store) -> None:
    store.save(a_state(), 0)

    store.prune(NOW + 9999 * DAY)

    assert set(store.load()) == {"shop"}
