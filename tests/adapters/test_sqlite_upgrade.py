"""A file of an earlier schema version becomes one of this version: whole or not at all, once, only by the service."""

from __future__ import annotations

import fcntl
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.adapters.sqlite.schema import FILE_VERSION, create_schema, upgrade, version_of
from shifter.core.deciding.orders import Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.records import NewRecord
from shifter.core.state import FleetState, Freeze
from shifter.errors import RefusedError, StoreUnavailableError
from shifter.ports import SavedFleet

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

FILE_OF_VERSION_1 = Path(__file__).with_name("version_1.sql").read_text(encoding="utf-8")

# Upgrades copies of a file, and is killed as the n-th statement of the n-th copy's upgrade begins.
KILLED_AT_EACH = """
import os, shutil, signal, sqlite3, sys
from shifter.adapters.sqlite.schema import upgrade
path, steps = sys.argv[1], int(sys.argv[2])
for step in range(steps):
    shutil.copy(path, f"{path}-{step}")
    child = os.fork()
    if child == 0:
        connection = sqlite3.connect(f"{path}-{step}", isolation_level=None)
        begun = []
        def count(statement):
            begun.append(statement)
            if len(begun) > step:
                os.kill(os.getpid(), signal.SIGKILL)
        connection.set_trace_callback(count)
        connection.execute("BEGIN IMMEDIATE")
        upgrade(connection)
        connection.execute("COMMIT")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Failing(sqlite3.Connection):
    """A connection whose n-th statement fails, and none after it."""

    left = 10**6
    said: list[str] = []  # noqa: RUF012 - replaced by each test

    def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
        self.said.append(sql)
        self.left -= 1
        if self.left == -1:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)  # type: ignore[arg-type] # handed on as it came


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "shifter.db"
    with closing(sqlite3.connect(made)) as raw:
        raw.executescript(FILE_OF_VERSION_1)
    return made


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(path)
    yield made
    made.close()


TABLES = {
    "meta": "name, value",
    "counters": "name, value",
    "shifts": "name, version, state",
    "reports": "name, report",
    "history": "id, at, shift, what, who, why, sequence, epoch, evidence",
    "orders": "id, at, shift, verb, who, why, is_full, is_override, answer, answer_text, answered_at",
}
SIGNATURE = {("writtenBy",), ("schemaVersion",)}


def kept(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything that version 1 keeps, but for who wrote the file last and its epoch."""
    with closing(sqlite3.connect(path)) as raw:
        found = {table: raw.execute(f"SELECT {columns} FROM {table}").fetchall() for table, columns in TABLES.items()}  # noqa: S608 - this file's
    found["meta"] = [row for row in found["meta"] if row[0] not in {"writtenBy", "schemaVersion", "prunedTo"}]
    found["counters"] = [row for row in found["counters"] if row[0] != "epoch"]
    return {table: sorted(rows, key=repr) for table, rows in found.items()}


def schema_of(path: Path) -> tuple[int, set[tuple[str, str, str | None]]]:
    with closing(sqlite3.connect(path)) as raw:
        return version_of(raw), set(raw.execute("SELECT type, name, sql FROM sqlite_master"))


def told(store: SqliteStore) -> list[NewRecord]:
    """What the records of a store say; not what binds them to each other, which an upgrade adds."""
    return [each.record for each in store.history()]


def new_schema(directory: Path) -> tuple[int, set[tuple[str, str, str | None]]]:
    path = directory / "new.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        create_schema(raw)
    return schema_of(path)


# --- the upgrade


def test_an_upgraded_file_has_everything_and_is_like_a_new_one(path: Path, tmp_path: Path) -> None:
    before = kept(path)

    lease = SqliteLease(path)

    assert kept(path) == before
    assert schema_of(path) == new_schema(tmp_path)
    assert lease.epoch == 8
    lease.release()
    path.unlink()
    with pytest.raises(RefusedError, match="4 records were saved there"):  # noted from the first start on
        SqliteLease(path)


def test_after_the_upgrade_the_store_reads_what_was_and_takes_what_is_new(store: SqliteStore, path: Path) -> None:
    before = store.load(), store.reports(), told(store), store.open_orders(), store.order(1)  # and stays open
    lease = SqliteLease(path)

    after = store.load(), store.reports(), told(store), store.open_orders(), store.order(1)
    frozen = FleetState(freezes=(Freeze(by="ana", reason="release", at=NOW),))
    store.save_fleet(frozen, 0)
    asked = OrderRequest("shop", Verb.PAUSE, "ana", "", share=5, hands_off=timedelta(hours=1), adopt=True)
    order = store.create_order(asked, NOW)
    saved = store.load()["shop"]
    store.save(saved.state, saved.version, (), [OrderAnswer(2, Answer.ACCEPTED, "going back", NOW)])

    assert after == before
    assert store.load_fleet() == SavedFleet(frozen, 1)
    assert (order.id, store.order(4).request) == (4, asked)
    assert [each.id for each in store.open_orders()] == [3, 4]
    assert store.load()["shop"] == type(saved)(saved.state, 10)
    lease.release()


def test_an_upgraded_file_is_not_upgraded_again(path: Path) -> None:
    first = SqliteLease(path)
    copy = path.with_name("shifter.db.v1-backup")
    first.release()
    whole = copy.read_bytes()

    second = SqliteLease(path)

    assert (len(first.notes), second.notes) == (1, ())
    assert copy.read_bytes() == whole
    second.release()


def test_a_whole_copy_of_the_earlier_file_is_kept_beside_it(path: Path, tmp_path: Path) -> None:
    before, schema = kept(path), schema_of(path)
    stale = path.with_name("shifter.db.v1-backup.part")
    stale.write_text("what a killed start left", encoding="utf-8")

    lease = SqliteLease(path)
    lease.release()

    copy = path.with_name("shifter.db.v1-backup")
    assert lease.notes == (f"the file was upgraded; as it was before, it is in {copy}",)
    assert (kept(copy), schema_of(copy)) == (before, schema)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not stale.exists()
    again = tmp_path / "again.db"
    again.write_bytes(copy.read_bytes())
    lease = SqliteLease(again)
    assert (kept(again), schema_of(again)[0], lease.epoch) == (before, FILE_VERSION, 8)
    lease.release()


@pytest.mark.fault(
    on="SQLite",
    fault="no room for the copy that an upgrade makes first",
    does="refuses to start; the file stays as it was",
    sees="`no copy could be made at FILE.v1-backup before the upgrade: ...`",
    safe_within="at once",
)
def test_without_room_for_the_copy_the_file_stays_as_it_was(path: Path) -> None:
    before, schema = kept(path), schema_of(path)
    path.with_name("shifter.db.v1-backup.part").mkdir()  # stands in the way as a full disk would

    with pytest.raises(
        StoreUnavailableError, match=r"no copy could be made at .*v1-backup before the upgrade: Is a directory; "
    ):
        SqliteLease(path)

    assert (kept(path), schema_of(path)) == (before, schema)


# --- nobody but the service


@pytest.mark.fault(
    on="SQLite",
    fault="of an earlier version, beside a command of this one",
    does="is read; takes no order; only a service that starts upgrades it",
    sees="`has schema version 1 and this shifter writes 3: restart the service with it`, exit code 4",
    safe_within="at once",
)
def test_a_command_reads_an_earlier_file_whole_and_writes_nothing(store: SqliteStore, path: Path) -> None:
    before, schema = kept(path), schema_of(path)

    saved = store.load()["shop"]
    with pytest.raises(
        RefusedError, match=r"schema version 1 and this shifter .* writes 3: restart the service with it"
    ):
        store.create_order(OrderRequest("shop", Verb.ROLLBACK, "ana", ""), NOW)
    with pytest.raises(RefusedError, match="restart the service"):
        store.save(saved.state, saved.version)
    with pytest.raises(RefusedError, match="restart the service"):
        store.save_fleet(FleetState(), 0)

    assert (saved.state.share, saved.version, store.reports()["shop"].wanted) == (5, 9, 5)
    assert store.load_fleet() == SavedFleet(FleetState(), 0)
    assert [record.id for record in store.history()] == [3, 4]
    assert store.order(1).request == OrderRequest("shop", Verb.PROMOTE, "ana", "go", full=True, override=True)
    assert [(order.id, order.request.verb) for order in store.open_orders()] == [(2, Verb.ROLLBACK), (3, Verb.PAUSE)]
    assert (kept(path), schema_of(path)) == (before, schema)
    assert not path.with_name("shifter.db.v1-backup").exists()


def test_beside_a_running_service_nobody_upgrades(store: SqliteStore, path: Path) -> None:
    lease = SqliteLease(path)
    lease.release()
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript("PRAGMA user_version = 1")  # as if the holder were of version 1
    with path.with_name("shifter.db.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RefusedError, match="another shifter"):
            SqliteLease(path)

    assert schema_of(path)[0] == 1
    assert store.load()["shop"].version == 9


# --- in the middle


def statements(path: Path) -> int:
    """How many statements an upgrade has, with the begin and the end of its transaction."""
    with closing(sqlite3.connect(path, isolation_level=None, factory=Failing)) as raw:
        raw.said = []
        raw.execute("BEGIN IMMEDIATE")
        upgrade(raw)
        raw.execute("ROLLBACK")
        return len(raw.said)


def test_a_statement_that_fails_at_any_step_leaves_version_1(path: Path) -> None:
    before, schema = kept(path), schema_of(path)
    count = statements(path)

    for step in range(1, count - 1):
        with closing(sqlite3.connect(path, isolation_level=None, factory=Failing)) as raw:
            raw.left = step
            raw.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
                upgrade(raw)
            raw.execute("ROLLBACK")
        assert (kept(path), schema_of(path)) == (before, schema)

    assert count > 15


@pytest.mark.fault(
    on="SQLite",
    fault="kill -9 in the middle of an upgrade",
    does="the file is of the earlier version or of the later one, whole; the next start goes on",
    sees="nothing; a copy as it was before is `FILE.v1-backup`",
    safe_within="at once",
)
def test_a_kill_at_any_step_leaves_version_1_or_this_version_and_never_a_mixture(path: Path, tmp_path: Path) -> None:
    before, schema, new = kept(path), schema_of(path), new_schema(tmp_path)
    steps = statements(path) + 1

    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EACH, str(path), str(steps)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    copies = [path.with_name(f"shifter.db-{step}") for step in range(steps)]
    assert killed.stdout.split() == [str(-signal.SIGKILL)] * (steps - 1) + ["0"]
    assert [schema_of(copy)[0] for copy in copies] == [1] * (steps - 1) + [FILE_VERSION]
    assert all(schema_of(copy) in (schema, new) for copy in copies)
    assert all(kept(copy) == before for copy in copies)
