"""What only the SQLite store must do: survive kills, full and broken disks, and people with a shell."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

import pytest

import shifter
from shifter.adapters.sqlite import SqliteLease, SqliteStore, is_held
from shifter.adapters.sqlite_file import BUSY_SECONDS, FILE_VERSION, SqliteFile
from shifter.core.orders import Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.policy import ShiftPolicy
from shifter.core.records import NewRecord, What
from shifter.core.state import ShiftState
from shifter.errors import ConflictError, RefusedError, StoreUnavailableError

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
POLICY = {
    "kind": "ShiftPolicy",
    "metadata": {"name": "shop"},
    "spec": {
        "namespace": "shop",
        "traffic": {
            "clb": {
                "region": "ap-guangzhou",
                "loadBalancer": "lb-1",
                "routes": [{"listener": "lbl-1", "domain": "shop.example.com", "url": "/"}],
                "source": {"port": 30080},
                "target": {"port": 31080},
            }
        },
        "steps": [5, 100],
        "soak": "5m",
    },
}

# Saves for ever; each save brings two records with its own number. Prints what was acknowledged.
WRITER = """
import sys
from pathlib import Path
from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.core.records import NewRecord, What
path = Path(sys.argv[1])
lease, store = SqliteLease(path), SqliteStore(path)
saved = store.load()["shop"]
state, version = saved.state, saved.version
while True:
    state = state.model_copy(update={"sequence": version + 1, "share": float(lease.epoch)})
    record = NewRecord(state.since, "shop", What.INTENT, "shifter", "x" * 3000, version + 1, lease.epoch)
    version = store.save(state, version, [record, record])
    print(version, flush=True)
"""

# Takes the lease, says so, and keeps it until its input ends.
HOLDER = """
import sys
from pathlib import Path
from shifter.adapters.sqlite import SqliteLease
print(SqliteLease(Path(sys.argv[1])).epoch, flush=True)
sys.stdin.read()
"""

# Takes the lock of the lease, says so, and opens the file a moment later, as a service that starts on a slow disk.
STARTING = """
import sys, time
from pathlib import Path
from shifter.adapters.sqlite_file import SqliteFile
from shifter.adapters.sqlite_lock import lock_path, take_lock
path = Path(sys.argv[1])
held = take_lock(lock_path(path))
print("locked", flush=True)
time.sleep(0.3)
file = SqliteFile(path, of_lease=True)
file.examine()
sys.stdin.read()
"""

# Reads as a user who may not write (the superuser may always), then tries to.
VIEWER = """
import os, sys
from pathlib import Path
from shifter.adapters.sqlite import SqliteStore
from shifter.core.orders import OrderRequest, Verb
from shifter.errors import StoreUnavailableError
if os.geteuid() == 0:
    os.seteuid(65534)
store = SqliteStore(Path(sys.argv[1]))
print(store.load()["shop"].version, len(store.history()))
try:
    store.create_order(OrderRequest("shop", Verb.PAUSE, "ana", "lunch"), store.load()["shop"].state.since)
except StoreUnavailableError as error:
    print(error)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shifter.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(path)
    yield made
    made.close()


def a_state(sequence: int = 0) -> ShiftState:
    policy = ShiftPolicy.model_validate_json(json.dumps(POLICY))
    return ShiftState(name="shop", policy=policy, since=NOW, sequence=sequence)


def a_record(reason: str = "because") -> NewRecord:
    return NewRecord(NOW, "shop", What.PHASE, "shifter", reason)


def filled(store: SqliteStore) -> None:
    """Fill the store: state version 1, records 1 and 2, order 1 answered, order 2 open."""
    for _ in range(2):
        store.create_order(OrderRequest("shop", Verb.PAUSE, "ana", "lunch"), NOW)
    store.save(a_state(), 0, [a_record("one"), a_record("two")], [OrderAnswer(1, Answer.ACCEPTED, "paused", NOW)])


@contextmanager
def shell(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file as a person would, past shifter; what was done is committed at the end."""
    with closing(sqlite3.connect(path)) as raw, raw:
        yield raw


@contextmanager
def process(script: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a script of this file on the store, and kill it at the end whatever it does."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def next_line(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


# --- people with a shell


@pytest.mark.fault(
    on="SQLite",
    fault="somebody rewrites it with the `sqlite3` shell",
    does="history, orders and counters stay as they are, by the file's own triggers",
    sees="`history is only appended to` in that shell",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE history SET why = 'nothing happened'", "only appended"),
        ("UPDATE history SET evidence = '{}' WHERE id = 2", "only appended"),
        ("DELETE FROM history", "only appended"),
        ("DELETE FROM history WHERE id = 2", "only appended"),
        ("INSERT OR REPLACE INTO history SELECT 2, at, shift, what, who, 'x', 0, 0, '{}' FROM history", "no gaps"),
        ("INSERT INTO history SELECT 9, at, shift, what, who, why, 0, 0, '{}' FROM history WHERE id = 1", "no gaps"),
        ("UPDATE orders SET answer = 'refused' WHERE id = 1", "answered once"),
        ("UPDATE orders SET answer = NULL, answered_at = NULL WHERE id = 1", "answered once"),
        ("UPDATE orders SET who = 'eve' WHERE id = 2", "answered once"),
        ("DELETE FROM orders WHERE id = 1", "kept until"),
        ("DELETE FROM orders WHERE id = 2", "kept until"),
        ("UPDATE orders SET verb = 'explode' WHERE id = 2", "answered once"),
        ("UPDATE counters SET value = 0", "only grows"),
        ("DELETE FROM counters", "never dropped"),
        ("UPDATE shifts SET version = 1, state = '{}'", "next version"),
        ("UPDATE shifts SET version = version + 2", "next version"),
    ],
)
def test_the_file_itself_refuses_to_be_rewritten(store: SqliteStore, path: Path, statement: str, says: str) -> None:
    filled(store)
    before = (store.history(), store.order(1), store.order(2), store.load())

    with pytest.raises(sqlite3.IntegrityError, match=says), shell(path) as raw:
        raw.execute(statement)

    assert (store.history(), store.order(1), store.order(2), store.load()) == before


def test_history_stays_closed_after_a_prune(store: SqliteStore, path: Path) -> None:
    filled(store)
    store.prune(NOW - timedelta(days=1))

    with pytest.raises(sqlite3.IntegrityError, match="only appended"), shell(path) as raw:
        raw.execute("DELETE FROM history")

    assert len(store.history()) == 2


def test_history_stays_closed_without_its_pruning_mark(store: SqliteStore, path: Path) -> None:
    filled(store)
    with shell(path) as raw:
        raw.execute("DELETE FROM meta")

    with pytest.raises(sqlite3.IntegrityError, match="only appended"), shell(path) as raw:
        raw.execute("DELETE FROM history")

    assert len(store.history()) == 2


def test_the_file_states_its_version_and_what_was_pruned(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.prune(NOW)

    with shell(path) as raw:
        meta = dict(raw.execute("SELECT name, value FROM meta"))
    assert meta == {
        "schemaVersion": str(FILE_VERSION),
        "writtenBy": shifter.__version__,
        "pruning": "",
        "prunedBefore": "2026-03-04T05:06:07.000000+00:00",
    }


def test_a_kind_of_record_that_is_not_known_is_refused_and_not_guessed(store: SqliteStore, path: Path) -> None:
    filled(store)
    with shell(path) as raw:
        raw.execute("INSERT INTO history SELECT 3, at, shift, 'dance', who, why, 0, 0, '{}' FROM history WHERE id = 1")

    with pytest.raises(RefusedError, match="record 3 was written by a later shifter"):
        store.history()

    assert store.load()["shop"].version == 1


@pytest.mark.fault(
    on="SQLite",
    fault="one order in it is not understood",
    does="leaves that one open; obeys the others",
    sees="`order N was written by a later shifter or is damaged` for who asks",
    safe_within="at once",
)
def test_an_order_that_is_not_understood_hides_no_other(store: SqliteStore, path: Path) -> None:
    filled(store)
    copied = "INSERT INTO orders (id, at, shift, verb, who, why, is_full, is_override) SELECT"
    with shell(path) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute(f"{copied} 3, at, shift, 'dance', who, why, 0, 0 FROM orders WHERE id = 1")
        raw.execute(f"{copied} 4, 'at noon', shift, verb, who, why, 0, 0 FROM orders WHERE id = 1")
    rollback = store.create_order(OrderRequest("shop", Verb.ROLLBACK, "ana", "errors"), NOW)

    assert [order.id for order in store.open_orders()] == [2, rollback.id]
    for odd in (3, 4):
        with pytest.raises(RefusedError, match=f"order {odd} was written by a later shifter or is damaged"):
            store.order(odd)


# --- the file


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


# --- what can be wrong with a file


@pytest.mark.fault(
    on="SQLite",
    fault="written by a later version",
    does="refuses to start; commands read and order nothing",
    sees="`has schema version 3, written by shifter 9.9.9; ... run the later version`, exit code 4",
    safe_within="at once",
)
def test_a_file_of_a_later_version_is_read_and_not_written(store: SqliteStore, path: Path) -> None:
    filled(store)
    with shell(path) as raw:
        raw.execute(f"PRAGMA user_version = {FILE_VERSION + 1}")
        raw.execute("UPDATE meta SET value = '9.9.9' WHERE name = 'writtenBy'")

    with pytest.raises(RefusedError, match=r"schema version 3, written by shifter 9\.9\.9"):
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


@pytest.mark.fault(
    on="SQLite",
    fault="may be read and not written",
    does="is read; takes no order",
    sees="`make the file, its -wal and -shm and their directory readable and writable for this user`",
    safe_within="at once",
)
@pytest.mark.parametrize("in_use", [True, False])
def test_who_may_not_write_the_file_may_still_read_it(in_use: bool) -> None:  # noqa: FBT001 - a parameter
    # Not in `tmp_path`, which other users may not enter.
    with TemporaryDirectory() as directory, closing(SqliteStore(Path(directory) / "shifter.db")) as store:
        path = Path(directory) / "shifter.db"
        filled(store)
        if not in_use:
            store.close()
        for file in path.parent.iterdir():
            file.chmod(0o444)
        path.parent.chmod(0o555)

        with process(VIEWER, path) as viewer:
            seen, refused = next_line(viewer), next_line(viewer)

        path.parent.chmod(0o700)
    assert seen == "1 2"
    assert "make the file, its -wal and -shm and their directory readable and writable" in refused


@pytest.mark.parametrize("place", ["file/shifter.db", "directory"])
def test_a_path_that_cannot_be_a_file_is_unavailable(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "directory").mkdir()

    with closing(SqliteStore(tmp_path / place)) as store, pytest.raises(StoreUnavailableError, match=place):
        store.save(a_state(), 0)
    with pytest.raises(StoreUnavailableError, match=place):
        SqliteLease(tmp_path / place)


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


# Tries to start a service and to look, as a user who may not do everything.
STRANGER = """
import os, sys
from pathlib import Path
from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.errors import ShifterError
if os.geteuid() == 0:
    os.seteuid(65534)
for what in (lambda path: SqliteStore(path).load(), SqliteLease):
    try:
        what(Path(sys.argv[1]))
    except ShifterError as error:
        print(type(error).__name__, error)
    else:
        print("well")
"""


@pytest.mark.fault(
    on="SQLite",
    fault="its -wal and -shm belong to another user",
    does="refuses to start and to read: what is in them would be missing",
    sees="`make the file, its -wal and -shm and their directory readable and writable for this user`, exit code 5",
    safe_within="at once",
)
def test_side_files_of_another_user_are_named() -> None:
    with TemporaryDirectory() as directory, closing(SqliteStore(Path(directory) / "shifter.db")) as store:
        path = Path(directory) / "shifter.db"
        filled(store)
        path.parent.chmod(0o777)
        path.chmod(0o666)
        for side in ("-wal", "-shm"):
            path.with_name(path.name + side).chmod(0)

        with process(STRANGER, path) as stranger:
            looked, started = next_line(stranger), next_line(stranger)

    for said in (looked, started):
        assert said.startswith("StoreUnavailableError")
        assert "make the file, its -wal and -shm and their directory readable and writable for this user" in said


@pytest.mark.fault(
    on="SQLite",
    fault="may not be written at the start",
    does="refuses to start",
    sees="`make the file, its -wal and -shm and their directory readable and writable for this user`, exit code 5",
    safe_within="at once",
)
def test_a_service_that_may_not_write_the_file_does_not_start() -> None:
    with TemporaryDirectory() as directory, closing(SqliteStore(Path(directory) / "shifter.db")) as store:
        path = Path(directory) / "shifter.db"
        filled(store)
        store.close()
        path.parent.chmod(0o777)
        path.chmod(0o444)

        with process(STRANGER, path) as stranger:
            looked, started = next_line(stranger), next_line(stranger)

    assert looked == "well"
    assert started.startswith("StoreUnavailableError")
    assert "make the file, its -wal and -shm and their directory readable and writable for this user" in started


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


def test_a_command_waits_for_a_service_that_has_its_lease_and_not_yet_its_file(store: SqliteStore, path: Path) -> None:
    filled(store)
    store.close()
    with process(STARTING, path) as starting, closing(SqliteStore(path)) as command:
        ready = next_line(starting)

        order = command.create_order(OrderRequest("shop", Verb.PAUSE, "ana", ""), NOW)

    assert (ready, order.id) == ("locked", 3)


# --- the note of how far history had come


def test_a_note_that_says_nothing_suspects_nothing(store: SqliteStore, path: Path) -> None:
    filled(store)
    path.with_name("shifter.db.mark").write_text("many", encoding="utf-8")

    lease = SqliteLease(path)

    assert lease.notes == ()
    assert store.load_fleet().state.freeze is None
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


# --- kills


@pytest.mark.fault(
    on="SQLite",
    fault="kill -9 in the middle of a save",
    does="the save is there as a whole or not at all",
    sees="nothing",
    safe_within="at once",
)
def test_a_killed_writer_leaves_whole_saves_only(store: SqliteStore, path: Path) -> None:
    store.save(a_state(1), 0)
    epochs = []
    for acknowledged_at_least in (1, 8, 21):
        with process(WRITER, path) as writer:
            lines = [next_line(writer) for _ in range(acknowledged_at_least)]
            writer.send_signal(signal.SIGKILL)
            assert writer.stdout is not None
            lines += writer.stdout.read().split()
        acknowledged = int(lines[-1])

        saved = store.load()["shop"]
        history = store.history(limit=10_000)
        with shell(path) as raw:
            health = raw.execute("PRAGMA integrity_check").fetchone()[0]

        assert acknowledged <= saved.version <= acknowledged + 1
        assert saved.state.sequence == saved.version
        assert [record.id for record in history] == list(range(1, 2 * saved.version - 1))
        assert [record.record.sequence for record in history[::2]] == list(range(2, saved.version + 1))
        assert [record.record.sequence for record in history[1::2]] == list(range(2, saved.version + 1))
        assert health == "ok"
        epochs.append(saved.state.share)

    assert epochs == [1, 2, 3]


# --- leases


@pytest.mark.fault(
    on="SQLite",
    fault="a second service on the same file",
    does="the second refuses to start",
    sees="`another shifter runs on this store: pid N (since ...) holds FILE.lock`, exit code 4",
    safe_within="at once",
)
def test_another_process_cannot_have_the_lease_too_until_it_is_killed(path: Path) -> None:
    with process(HOLDER, path) as holder:
        theirs = int(next_line(holder))

        with pytest.raises(RefusedError, match=rf"pid {holder.pid} \(since 20.* UTC\) holds"):
            SqliteLease(path)
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
        lease = SqliteLease(path)

        assert (theirs, lease.epoch) == (1, 2)
        assert lease.valid()
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


def test_of_two_processes_one_save_wins(store: SqliteStore, path: Path) -> None:
    store.save(a_state(1), 0)
    with process(WRITER, path) as writer:
        next_line(writer)

        with pytest.raises(ConflictError, match="somebody else saved it"):
            store.save(a_state(99), 1)

    assert store.load()["shop"].state.sequence != 99
