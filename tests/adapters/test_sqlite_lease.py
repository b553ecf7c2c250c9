"""The lease on a store's file, and the note of how far its history had come."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from shifter.adapters.sqlite import SqliteLease, SqliteStore, is_held
from shifter.errors import RefusedError, StoreUnavailableError
from tests.adapters.sqlite import NOW, a_state, filled


@pytest.mark.parametrize("with_another", [True, False])
def test_a_file_that_was_replaced_or_removed_is_not_written_any_more(
    store: SqliteStore,
    path: Path,
    with_another: bool,  # noqa: FBT001 - a parameter
) -> None:
    filled(store)
    lease = SqliteLease(path)
    valid_before = lease.valid()
    with closing(SqliteStore(path.with_name("other.db"))) as other:
        filled(other)
    if with_another:
        path.with_name("other.db").replace(path)
    else:
        path.unlink()

    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="was replaced or removed"):
            store.save(a_state(1), 1)
    with pytest.raises(StoreUnavailableError, match="was replaced or removed"):
        store.load()

    assert valid_before
    assert not lease.valid()
    lease.release()


def test_a_note_that_says_nothing_suspects_nothing(store: SqliteStore, path: Path) -> None:
    filled(store)
    path.with_name("shifter.db.mark").write_text("many", encoding="utf-8")

    lease = SqliteLease(path)

    assert lease.notes == ()
    assert store.load_fleet().state.freezes == ()
    lease.release()


def test_a_note_that_cannot_be_written_costs_no_save(store: SqliteStore, path: Path) -> None:
    path.with_name("shifter.db.mark").mkdir()

    filled(store)

    assert store.load()["shop"].version == 1


def test_history_that_was_pruned_is_not_taken_for_lost(store: SqliteStore, path: Path) -> None:
    filled(store)
    store.prune(NOW + timedelta(days=1))

    lease = SqliteLease(path)

    assert (store.history(), lease.notes) == ((), ())
    lease.release()


def test_a_second_service_that_comes_by_a_symbolic_link_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(path)
    lease = SqliteLease(path)

    with pytest.raises(RefusedError, match="another shifter runs on this store"):
        SqliteLease(link)

    assert is_held(link)
    assert [file.name for file in link.parent.iterdir()] == ["link.db"]
    lease.release()


def test_a_file_with_a_second_name_is_refused_since_a_second_service_could_come_by_it(
    store: SqliteStore, path: Path
) -> None:
    filled(store)
    other = path.with_name("other.db")
    other.hardlink_to(path)

    for name in (path, other):
        with pytest.raises(RefusedError, match=r"has 2 names \(hard links\).*remove the others"):
            SqliteLease(name)
    other.unlink()
    lease = SqliteLease(path)

    assert lease.valid()
    lease.release()


def test_a_refused_start_does_not_count(path: Path) -> None:
    first = SqliteLease(path)
    with pytest.raises(RefusedError):
        SqliteLease(path)
    first.release()

    second = SqliteLease(path)

    assert (first.epoch, second.epoch) == (1, 2)
    second.release()


@pytest.mark.fault(
    on="SQLite",
    fault="its lock file is deleted while in use",
    does="the first service holds; only the later one may climb",
    sees="hold `lease`",
    safe_within="at once",
)
@pytest.mark.parametrize("with_another", [True, False])
def test_a_lease_whose_lock_file_was_replaced_or_removed_is_not_valid(
    path: Path,
    with_another: bool,  # noqa: FBT001 - a parameter
) -> None:
    lock_path = path.with_name("shifter.db.lock")
    first = SqliteLease(path)
    lock_path.unlink()
    if with_another:
        second = SqliteLease(path)

        assert second.valid()
        assert second.epoch > first.epoch
        second.release()

    assert not first.valid()
    first.release()


def test_a_released_lock_file_names_nobody(path: Path) -> None:
    lease = SqliteLease(path)
    lock_path = path.with_name("shifter.db.lock")
    named = lock_path.read_text(encoding="ascii")

    lease.release()

    assert named.splitlines()[0].strip() == str(os.getpid())
    assert lock_path.read_text(encoding="ascii") == ""
