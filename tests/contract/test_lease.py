"""What every lease must do, and how the memory store and its lease fail when told to."""

from __future__ import annotations

import pytest

from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.errors import (
    RefusedError,
    StoreUnavailableError,
)
from tests.contract.stores import (
    Subject,
    a_state,
)


def test_of_two_leases_the_second_is_refused(subject: Subject) -> None:
    first = subject.lease()

    with pytest.raises(RefusedError, match="another shifter"):
        subject.lease()

    assert first.valid()
    first.release()


def test_each_lease_has_a_higher_epoch(subject: Subject) -> None:
    epochs = []
    for _ in range(3):
        lease = subject.lease()
        epochs.append(lease.epoch)
        lease.release()

    assert epochs == [1, 2, 3]


def test_a_released_lease_is_not_valid_and_frees_the_place(subject: Subject) -> None:
    first = subject.lease()

    first.release()
    first.release()
    second = subject.lease()
    first.release()

    assert not first.valid()
    assert second.valid()
    second.release()


def test_who_holds_the_lease_may_lower_shares(subject: Subject) -> None:
    lease = subject.lease()

    assert lease.may_lower()
    lease.release()


def test_memory_that_is_down_does_nothing() -> None:
    store = MemoryStore()
    store.down = True

    with pytest.raises(StoreUnavailableError):
        store.save(a_state(), 0)
    store.down = False

    assert store.load() == {}


def test_memory_fails_before_applying_as_often_as_told() -> None:
    store = MemoryStore()
    store.fail_next(2)

    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            store.save(a_state(), 0)

    assert store.save(a_state(), 0) == 1


def test_memory_fails_after_applying_as_often_as_told() -> None:
    store = MemoryStore()
    store.fail_next(1, after_applying=True)

    with pytest.raises(StoreUnavailableError):
        store.save(a_state(), 0)

    assert store.load()["shop"].version == 1


def test_a_lost_memory_lease_is_not_valid_and_the_next_one_is() -> None:
    store = MemoryStore()
    first = MemoryLease(store)

    first.lose()
    second = MemoryLease(store)

    assert not first.valid()
    assert second.valid()
    assert second.epoch > first.epoch
