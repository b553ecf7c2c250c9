"""What every store must do with history: append, tell, and drop what is old."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

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
    Subject,
    a_record,
    a_request,
    a_state,
    an_answer,
    counts,
    examined,
    links_of,
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
    assert next_order.id > order.id


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


@pytest.mark.fault(
    on="SQLite",
    fault="one record of the history cannot be read",
    does="shows all others; `history --verify` tells what is wrong with it",
    sees="`record N cannot be read: ...; shifter history --verify says what is wrong`, in its place",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ({"evidence": "[" * 60_000}, "its evidence is no JSON object"),
        ({"evidence": '{"a":' + "[" * 60 + "]" * 60 + "}"}, "its evidence is no JSON object"),
        ({"evidence": "[1]"}, "its evidence is no JSON object"),
        ({"evidence": "{"}, "Expecting property name"),
        ({"what": "dance"}, "'dance' is not a valid What"),
        ({"at": "at noon"}, "at noon"),
        ({"at": "0001-01-01T00:00:00.000000+14:00"}, "is no moment that can be told"),
        ({"at": "9999-12-31T23:59:59.000000+00:00"}, "is no moment that can be told"),
        ({"at": "2026-03-04T05:06:07"}, "is no moment that can be told"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_record_that_cannot_be_read_is_told_of_in_its_place_and_hides_no_other(
    subject: Subject, odd: dict[str, Any], says: str
) -> None:
    remember(subject.store, a_record("one"), a_record("two"), a_record("three"))
    links = list(links_of(subject.store))
    subject.rewrite([links[0], replace(links[1], **odd), links[2]])

    one, two, three = subject.store.history()

    assert [one.record.reason, three.record.reason] == ["one", "three"]
    assert (two.id, two.record.what, two.record.shift) == (2, What.UNREADABLE, "shop")
    assert two.record.reason.startswith("record 2 cannot be read: ")
    assert says in two.record.reason
    assert two.record.reason.endswith("; `shifter history --verify` says what is wrong")
    assert two.record.at == (datetime.fromtimestamp(0, UTC) if "at" in odd else NOW)
    assert subject.store.history("shop") == (one, two, three)


def test_a_record_from_a_clock_that_was_ahead_keeps_nothing_from_being_pruned(store: Store) -> None:
    ahead = NOW + 2000 * DAY
    remember(store, a_record("old", at=NOW - 9 * DAY), a_record("ahead", at=ahead))
    remember(store, a_record("old too", at=NOW - 8 * DAY), a_record("young", at=NOW - DAY))

    dropped = store.prune(NOW - 2 * DAY, NOW)

    assert dropped == 3
    assert [record.record.reason for record in store.history()] == ["young"]
    assert examined(store).sound


def test_a_clock_that_is_behind_prunes_nothing_that_is_young(store: Store) -> None:
    remember(store, a_record("old", at=NOW - 9 * DAY), a_record("young"), a_record("younger", at=NOW + DAY))

    store.prune(NOW - 4 * DAY, NOW - 2 * DAY)

    assert [record.record.reason for record in store.history()] == ["young", "younger"]


def test_of_a_moment_to_prune_by_the_time_zone_is_known(store: Store) -> None:
    with pytest.raises(InvariantError, match="time zone"):
        store.prune(NOW, NOW.replace(tzinfo=None))
