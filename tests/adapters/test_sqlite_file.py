"""What a store's file must stand: odd names, broken and full disks, other versions and other programs."""

from __future__ import annotations

import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

import shifter.adapters.sqlite as sqlite_folder
from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.adapters.sqlite.file import BUSY_SECONDS, FILE_VERSION, SqliteFile
from shifter.core.deciding.orders import Answer, OrderAnswer, OrderRequest, Verb
from shifter.errors import RefusedError, StoreUnavailableError
from tests.adapters.sqlite import NOW, a_record, a_state, filled, shell


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "shifter.db"
    with closing(SqliteStore(path)) as store:
        lease = SqliteLease(path)
        filled(store)

        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

        lease.release()
    names = ("shifter.db", "shifter.db-wal", "shifter.db-shm", "shifter.db.lock", "shifter.db.mark")
    assert modes == dict.fromkeys(names, 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["a b.db", "what?mode=ro", "#1", "100%25.db", 'it\'s "x".db', "a\nb", "店.db", "-x"])
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    lease = SqliteLease(path)
    with closing(SqliteStore(path)) as store:
        filled(store)
    lease.release()

    with closing(SqliteStore(path)) as again:
        assert again.load()["shop"].version == 1
    assert {file.name for file in tmp_path.iterdir()} == {name, f"{name}.lock", f"{name}.mark"}


def test_reading_where_there_is_no_file_creates_none(tmp_path: Path) -> None:
    path = tmp_path / "no" / "shifter.db"
    with closing(SqliteStore(path)) as store:
        assert store.load() == {}
        assert store.history() == ()
        assert store.open_orders() == ()

    assert not path.parent.exists()


def test_a_file_that_appears_later_is_found(store: SqliteStore, path: Path) -> None:
    before = store.load()
    with closing(SqliteStore(path)) as other:
        filled(other)

    assert before == {}
    assert store.load()["shop"].version == 1


def test_many_may_create_the_file_at_once(path: Path) -> None:
    count = 8
    start = Barrier(count)

    def begin(number: int) -> None:
        with closing(SqliteStore(path)) as store:
            start.wait(timeout=10)
            store.create_order(OrderRequest("shop", Verb.PAUSE, "ana", str(number)), NOW)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(begin, range(count)))

    with closing(SqliteStore(path)) as store:
        assert [order.id for order in store.open_orders()] == list(range(1, count + 1))


def test_a_command_gives_orders_while_the_service_has_the_file_open(store: SqliteStore, path: Path) -> None:
    lease = SqliteLease(path)
    store.save(a_state(), 0)

    with closing(SqliteStore(path)) as command:
        order = command.create_order(OrderRequest("shop", Verb.ROLLBACK, "ana", "it burns"), NOW)
        store.save(a_state(1), 1, answers=[OrderAnswer(order.id, Answer.ACCEPTED, "going back", NOW)])

        assert command.order(order.id).answer is Answer.ACCEPTED
    lease.release()


def test_a_save_waits_for_the_disk_and_a_report_does_not(path: Path) -> None:
    with closing(SqliteFile(path)) as file:
        with file.writing() as connection:
            durable = connection.execute("PRAGMA synchronous").fetchone()[0]
        with file.writing(durable=False) as connection:
            quick = connection.execute("PRAGMA synchronous").fetchone()[0]
        with file.writing() as connection:
            again = connection.execute("PRAGMA synchronous").fetchone()[0]
            journal = connection.execute("PRAGMA journal_mode").fetchone()[0]

    full, normal = 2, 1
    assert (durable, quick, again, journal) == (full, normal, full, "wal")


@pytest.mark.fault(
    on="SQLite",
    fault="written by a later version",
    does="refuses to start; commands read and order nothing",
    sees="`has schema version 4, written by shifter 9.9.9; ... run the later version`, exit code 4",
    safe_within="at once",
)
def test_a_file_of_a_later_version_is_read_and_not_written(store: SqliteStore, path: Path) -> None:
    filled(store)
    with shell(path) as raw:
        raw.execute(f"PRAGMA user_version = {FILE_VERSION + 1}")
        raw.execute("UPDATE meta SET value = '9.9.9' WHERE name = 'writtenBy'")

    with pytest.raises(RefusedError, match=r"schema version 4, written by shifter 9\.9\.9"):
        store.save(a_state(1), 1)
    with pytest.raises(RefusedError, match=r"9\.9\.9"):
        SqliteLease(path)
    with pytest.raises(RefusedError, match=r"9\.9\.9"):
        SqliteLease(path)  # and not "another shifter": the lock was given back

    assert store.load()["shop"].version == 1
    assert len(store.history()) == 2


@pytest.mark.fault(
    on="SQLite",
    fault="the path leads to another program's file",
    does="refuses; does not touch it",
    sees="`another program's SQLite file; give shifter a path of its own`",
    safe_within="at once",
)
def test_another_programs_file_is_refused_and_left_alone(store: SqliteStore, path: Path) -> None:
    with shell(path) as raw:
        raw.execute("CREATE TABLE photos (id INTEGER)")
    before = path.read_bytes()

    with pytest.raises(RefusedError, match="another program's"):
        store.load()
    with pytest.raises(RefusedError, match="another program's"):
        store.save(a_state(), 0)

    assert path.read_bytes() == before


@pytest.mark.fault(
    on="SQLite",
    fault="the path leads to no SQLite file",
    does="refuses; does not touch it",
    sees="`this is no SQLite file: check the path, or restore a backup`, exit code 5",
    safe_within="at once",
)
def test_a_file_that_is_no_database_is_unavailable_and_left_alone(store: SqliteStore, path: Path) -> None:
    path.write_text("kind: ShiftPolicy\n" * 100, encoding="utf-8")

    with pytest.raises(StoreUnavailableError, match=r"shifter\.db: .*no SQLite file: check the path"):
        store.save(a_state(), 0)

    assert path.read_text(encoding="utf-8").startswith("kind")


def test_a_damaged_file_is_unavailable_and_says_what_to_do(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        filled(store)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))

    with closing(SqliteStore(path)) as store, pytest.raises(StoreUnavailableError, match="restore a backup"):
        store.load()
    with closing(SqliteStore(path)) as store, pytest.raises(StoreUnavailableError, match="restore a backup"):
        store.save(a_state(), 0)


@pytest.mark.fault(
    on="SQLite",
    fault="its disk is full",
    does="nothing half is saved; saves again when there is room",
    sees="`database or disk is full; free some space on that disk`",
    safe_within="at once",
)
def test_a_full_disk_keeps_what_was_saved_and_takes_more_once_there_is_room(store: SqliteStore) -> None:
    filled(store)
    # SQLite's own limit stands for the disk's; it belongs to the connection, which the failure ends.
    connection = store._file._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StoreUnavailableError, match="free some space"):
        store.save(a_state(1), 1, [a_record("x" * 100_000)])

    assert store.load()["shop"].version == 1
    assert [record.id for record in store.history()] == [1, 2]
    assert store.save(a_state(1), 1, [a_record("three")]) == 2
    assert [record.id for record in store.history()] == [1, 2, 3]


def test_a_file_that_another_writer_keeps_busy_is_unavailable_after_a_bounded_wait(
    store: SqliteStore, path: Path
) -> None:
    filled(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="another process keeps it locked"):
            store.save(a_state(1), 1)
        waited = time.monotonic() - began
        readable = store.load()["shop"].version

    assert waited < 2 * BUSY_SECONDS
    assert readable == 1
    assert store.save(a_state(1), 1) == 2


@pytest.mark.parametrize("place", ["file/shifter.db", "directory"])
def test_a_path_that_cannot_be_a_file_is_unavailable(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "directory").mkdir()

    with closing(SqliteStore(tmp_path / place)) as store, pytest.raises(StoreUnavailableError, match=place):
        store.save(a_state(), 0)
    with pytest.raises(StoreUnavailableError, match=place):
        SqliteLease(tmp_path / place)


def test_what_a_later_version_has_changed_in_the_tables_is_not_guessed(store: SqliteStore, path: Path) -> None:
    filled(store)
    with shell(path) as raw:
        raw.execute("DROP TABLE reports")
        raw.execute(f"PRAGMA user_version = {FILE_VERSION + 1}")

    with pytest.raises(RefusedError, match="no such table: reports; a later shifter wrote it: run that one"):
        store.reports()

    assert store.load()["shop"].version == 1


def test_a_table_that_is_missing_from_a_file_of_this_version_is_told_as_it_is(store: SqliteStore, path: Path) -> None:
    filled(store)
    with shell(path) as raw:
        raw.execute("DROP TABLE reports")

    with pytest.raises(StoreUnavailableError, match="no such table: reports; see the cause"):
        store.reports()


@pytest.mark.parametrize("how", ["backup", "VACUUM INTO"])
def test_a_backup_works_like_the_file_it_was_made_of(store: SqliteStore, path: Path, how: str) -> None:
    filled(store)
    copy = path.with_name("copy.db")
    with closing(sqlite3.connect(path)) as raw, closing(sqlite3.connect(copy)) as into:
        if how == "backup":
            raw.backup(into)
        else:
            raw.execute("VACUUM INTO ?", (str(copy),))

    lease = SqliteLease(copy)
    with closing(SqliteStore(copy)) as restored:
        same = (restored.load(), restored.history(), restored.open_orders())
    with shell(copy) as raw:
        journal = raw.execute("PRAGMA journal_mode").fetchone()[0]

    assert same == (store.load(), store.history(), store.open_orders())
    assert journal == "wal"
    lease.release()


def test_a_thread_waits_for_the_others_only_so_long(path: Path) -> None:
    file = SqliteFile(path, turn_seconds=0.02)
    with file.writing(), ThreadPoolExecutor(1) as other:
        asked = other.submit(lambda: file.reading().__enter__())

        with pytest.raises(StoreUnavailableError, match=r"other calls have kept it for 0\.02 s"):
            asked.result()


def test_once_a_call_hangs_the_others_wait_for_it_once_and_not_each(path: Path) -> None:
    file = SqliteFile(path, turn_seconds=0.5)
    with file.writing():
        began = time.monotonic()
        for _ in range(50):
            with pytest.raises(StoreUnavailableError, match="other calls have kept it for"), file.reading():
                pass
        assert time.monotonic() - began < 10  # each for itself: 25 s

    with file.reading() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_folder_offers_what_it_says_and_nothing_else() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'SqliteNonsense'"):
        sqlite_folder.SqliteNonsense  # noqa: B018 - the access is the test


@pytest.mark.fault(
    on="SQLite",
    fault="somebody sets its schema version to another number",
    does="refuses to start, and every order; makes no backup; changes nothing",
    sees="`says that it has schema version 2, but its tables are those of version 3 ...: PRAGMA user_version = 3`",
    safe_within="at once",
)
@pytest.mark.parametrize("number", [2, 1, 0, -1])
def test_a_file_whose_number_is_not_that_of_its_tables_is_refused_with_what_sets_it_right(
    path: Path, number: int
) -> None:
    lease, store = SqliteLease(path), SqliteStore(path)
    filled(store)
    store.close()
    lease.release()
    with shell(path) as raw:
        raw.execute(f"PRAGMA user_version = {number}")
    says = f"says that it has schema version {number}, but its tables are those of version 3: .*user_version = 3"

    for use in (
        lambda: SqliteLease(path),
        lambda: SqliteStore(path).create_order(OrderRequest("shop", Verb.PAUSE, "ana", "lunch"), NOW),
        lambda: SqliteStore(path).chain(0, 9),
    ):
        with pytest.raises(RefusedError, match=says):
            use()

    assert list(path.parent.glob("*backup*")) == []
    with shell(path) as raw:
        raw.execute("PRAGMA user_version = 3")
    SqliteLease(path).release()
