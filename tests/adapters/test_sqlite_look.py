"""Looking at a store leaves no trace, whatever state it is in, and says what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.adapters.sqlite.lock import lease_facts
from shifter.adapters.sqlite.look import LookingStore, store_facts
from shifter.core.deciding.orders import OrderRequest, Verb
from shifter.errors import StoreUnavailableError

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ASKED = OrderRequest("shop", Verb.PAUSE, "ann@desk", "lunch")

KILLED = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from shifter.adapters.sqlite import SqliteStore
from shifter.core.deciding.orders import OrderRequest, Verb
store = SqliteStore(Path(sys.argv[1]))
store.create_order(OrderRequest("shop", Verb.PAUSE, "ann@desk", "lunch"), datetime.now(UTC))
os._exit(9)
"""


def _bytes(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Return every file with its bytes and time, but the index of the log: it holds nothing of ours."""
    files = [path for path in directory.iterdir() if not path.name.endswith("-shm")]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def _closed(path: Path) -> Callable[[], None]:
    store = SqliteStore(path)
    store.create_order(ASKED, NOW)
    store.close()
    return lambda: None


def _in_use(path: Path) -> Callable[[], None]:
    store = SqliteStore(path)
    store.create_order(ASKED, NOW)
    return store.close


def _killed(path: Path) -> Callable[[], None]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=30, env=environment)
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0
    return lambda: None


@pytest.mark.parametrize("made", [_closed, _in_use, _killed])
def test_looking_changes_no_byte_and_leaves_no_file(tmp_path: Path, made: Callable[[Path], Callable[[], None]]) -> None:
    path = tmp_path / "shifter.db"
    end = made(path)
    before = _bytes(tmp_path)
    store = LookingStore(path)
    orders = store.open_orders()
    store.load()
    store.reports()
    store.history()
    store.close()
    facts = store_facts(path)
    after = _bytes(tmp_path)
    end()

    assert [order.request for order in orders] == [ASKED]
    assert (facts.schema_version, facts.damage) == (facts.known_version, "")
    assert after == before


def test_what_would_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    _closed(path)
    store = LookingStore(path)

    with pytest.raises(StoreUnavailableError, match="readonly"):
        store.create_order(ASKED, NOW)
    store.close()


def test_looking_for_a_store_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    store = LookingStore(tmp_path / "none.db")

    assert store.reports() == {}
    store.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreUnavailableError):
        store_facts(tmp_path / "none.db")


def test_a_file_that_is_no_store_is_unavailable_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    path.write_bytes(b"garbage " * 1000)

    with pytest.raises(StoreUnavailableError, match="not a database"):
        store_facts(path)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        LookingStore(path).load()
    assert path.read_bytes() == b"garbage " * 1000


def _grow(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE many (one INTEGER PRIMARY KEY, other TEXT UNIQUE)")
    connection.executemany("INSERT INTO many (other) VALUES (?)", ((str(each),) for each in range(20_000)))
    connection.commit()
    connection.close()


def test_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    _closed(path)
    _grow(path)
    raw = bytearray(path.read_bytes())
    raw[-2 * 4096 : -4096] = b"\xff" * 4096
    path.write_bytes(raw)

    assert store_facts(path).damage


def test_a_file_of_which_not_even_its_own_words_can_be_read_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    _closed(path)
    raw = bytearray(path.read_bytes())
    raw[2 * 4096 : 3 * 4096] = b"\xff" * 4096
    path.write_bytes(raw)

    with pytest.raises(StoreUnavailableError, match="malformed"):
        store_facts(path)


def test_a_file_too_large_to_be_looked_through_in_time_is_neither_sound_nor_damaged(tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    _closed(path)
    _grow(path)
    times = iter([0.0])

    assert store_facts(path, lambda: next(times, 60.0)).damage is None


def test_who_holds_the_lease_is_told_with_pid_and_since_when(tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    assert lease_facts(path).held is False
    lease = SqliteLease(path)
    held = lease_facts(path)
    lease.release()

    assert (held.held, held.pid) == (True, str(os.getpid()))
    assert held.since is not None
    assert abs((held.since - datetime.now(UTC)).total_seconds()) < 60
    assert (lease_facts(path).held, lease_facts(path).pid) == (False, "")


def test_a_store_in_use_whose_log_was_removed_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    end = _in_use(path)
    lease = SqliteLease(path)
    path.with_name(f"{path.name}-wal").unlink()

    with pytest.raises(StoreUnavailableError, match=r"its log \(shifter\.db-wal\) is gone while a service has it open"):
        LookingStore(path).load()
    lease.release()
    end()


def test_a_file_that_was_put_in_the_place_of_the_one_in_use_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    end = _in_use(path)
    lease = SqliteLease(path)
    _closed(tmp_path / "other.db")
    (tmp_path / "other.db").replace(path)

    with pytest.raises(StoreUnavailableError, match="it is not the file any more that a service has open"):
        store_facts(path)
    lease.release()
    end()


def test_a_lock_file_that_cannot_be_read_leaves_it_open(tmp_path: Path) -> None:
    (tmp_path / "shifter.db.lock").mkdir()

    assert lease_facts(tmp_path / "shifter.db").held is None
