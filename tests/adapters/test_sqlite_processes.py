"""The store among processes: killed writers, second services, and users who may not do everything."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.core.chain import Walk
from shifter.core.deciding.orders import OrderRequest, Verb
from shifter.errors import ConflictError, RefusedError
from tests.adapters.sqlite import NOW, a_state, filled, shell

ROOT = Path(__file__).resolve().parents[2]


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
from shifter.adapters.sqlite.file import SqliteFile
from shifter.adapters.sqlite.lock import take_lock
from shifter.adapters.sqlite.place import lock_path
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
from shifter.core.deciding.orders import OrderRequest, Verb
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


def test_a_command_waits_for_a_service_that_has_its_lease_and_not_yet_its_file(store: SqliteStore, path: Path) -> None:
    filled(store)
    store.close()
    with process(STARTING, path) as starting, closing(SqliteStore(path)) as command:
        ready = next_line(starting)

        order = command.create_order(OrderRequest("shop", Verb.PAUSE, "ana", ""), NOW)

    assert (ready, order.id) == ("locked", 3)


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
        walk = Walk()
        while walk.take(store.chain(walk.next_id, 100)):
            pass
        with shell(path) as raw:
            health = raw.execute("PRAGMA integrity_check").fetchone()[0]

        assert acknowledged <= saved.version <= acknowledged + 1
        assert saved.state.sequence == saved.version
        assert [record.id for record in history] == list(range(1, 2 * saved.version - 1))
        assert [record.record.sequence for record in history[::2]] == list(range(2, saved.version + 1))
        assert [record.record.sequence for record in history[1::2]] == list(range(2, saved.version + 1))
        assert walk.result().sound
        assert health == "ok"
        epochs.append(saved.state.share)

    assert epochs == [1, 2, 3]


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


def test_of_two_processes_one_save_wins(store: SqliteStore, path: Path) -> None:
    store.save(a_state(1), 0)
    with process(WRITER, path) as writer:
        next_line(writer)

        with pytest.raises(ConflictError, match="somebody else saved it"):
            store.save(a_state(99), 1)

    assert store.load()["shop"].state.sequence != 99
