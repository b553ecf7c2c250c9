"""A store's file that is not as it was left: cut off anywhere, its log cut off anywhere, a million records long.

Damage inside of pages, files of other versions and files put back from a backup have tests of their own
(`tests/service/test_bad_store.py`, `test_sqlite_upgrade.py`, `test_sqlite_file.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.adapters.sqlite.store import MOST_PRUNED
from shifter.core.deciding.orders import OrderRequest, Verb
from shifter.core.records import NewRecord, What
from shifter.errors import RefusedError, StoreUnavailableError
from tests.adapters.sqlite import NOW, a_record, a_state

SECTOR = 512
RECORDS = 5


def written(path: Path, records: int = RECORDS) -> None:
    """Fill a store, one record to a save, and close it: everything is in the one file, and the mark beside it."""
    lease, store = SqliteLease(path), SqliteStore(path)
    for number in range(records):
        store.save(a_state(number), number, [a_record(f"record {number}, {'because ' * 20}")])
    store.close()
    lease.release()


def started(path: Path) -> tuple[int, int]:
    """Start as a service does, and return the sequence that is saved and the newest record's id; 0 for none."""
    lease, store = SqliteLease(path), SqliteStore(path)
    try:
        saved = store.load().get("shop")
        history = store.history(limit=1)
        return saved.state.sequence if saved else 0, history[-1].id if history else 0
    finally:
        store.close()
        lease.release()


def freezes(path: Path) -> int:
    with closing(SqliteStore(path)) as store:
        return len(store.load_fleet().state.freezes)


@pytest.mark.fault(
    on="SQLite",
    fault="the file is cut off, at any sector",
    does="refuses to start; changes no byte of it",
    sees="`state store FILE is damaged: ...`, or `nothing is in the state store FILE, though N records were saved`",
    safe_within="at once",
)
def test_a_file_that_was_cut_off_anywhere_is_refused_and_left_as_it_is(path: Path) -> None:
    written(path)
    whole = path.read_bytes()
    said = set()
    for length in range(SECTOR, len(whole), SECTOR):
        path.write_bytes(whole[:length])
        with pytest.raises((RefusedError, StoreUnavailableError)) as refused:
            started(path)
        assert path.read_bytes() == whole[:length], length
        said.add(str(refused.value).split(":")[0].replace(str(path), "FILE"))
    path.write_bytes(whole)

    assert said == {"state store FILE is damaged", "state store FILE"}
    assert started(path) == (RECORDS - 1, RECORDS)


def test_a_log_that_was_cut_off_anywhere_leaves_whole_saves_and_is_suspected(path: Path, tmp_path: Path) -> None:
    written(path, 5)
    lease, store = SqliteLease(path), SqliteStore(path)
    for number in range(5, 7):
        store.save(a_state(number), number, [a_record(f"record {number}")])
    copies = tmp_path / "copies"
    copies.mkdir()
    log = path.with_name(f"{path.name}-wal").read_bytes()
    found = set()
    for length in range(0, len(log), SECTOR):
        copy = copies / f"{length}.db"
        shutil.copy(path, copy)
        shutil.copy(path.with_name(f"{path.name}.mark"), copy.with_name(f"{copy.name}.mark"))
        copy.with_name(f"{copy.name}-wal").write_bytes(log[:length])
        sequence, newest = started(copy)
        suspected = sequence < 6
        # Whole saves: the state and its record together. That it was put back is one more record.
        assert newest == sequence + 1 + suspected, length
        assert freezes(copy) == suspected, length
        found.add(sequence)
    store.close()
    lease.release()

    assert found == set(range(4, 6))


# -- a long history --------------------------------------------------------------------------------------------------


class Counted(SqliteStore):
    """A store that counts the instructions that SQLite runs for a call: the same on every machine and on every day."""

    def instructions(self, call: Callable[[], object]) -> int:
        run = 0

        def one() -> None:
            nonlocal run
            run += 1

        with self._file.reading() as connection:
            connection.set_progress_handler(one, 1)
        try:
            call()
        finally:
            with self._file.reading() as connection:
                connection.set_progress_handler(None, 1)
        return run


@contextmanager
def with_history(path: Path, records: int) -> Iterator[Counted]:
    store = Counted(path)
    store.create_order(OrderRequest("shop", Verb.PAUSE, "ana", "lunch"), NOW)
    at_once = 5_000
    for number in range(0, records, at_once):
        many = [NewRecord(NOW, "shop", What.HOLDS, "shifter", "because")] * min(at_once, records - number)
        store.save(a_state(number), number // at_once, many)
    with closing(store):
        yield store


def cost(store: Counted) -> dict[str, int]:
    """What the calls of a tick, and of the commands that people wait for, cost."""
    version = store.load()["shop"].version
    return {
        "load": store.instructions(store.load),
        "reports": store.instructions(store.reports),
        "open orders": store.instructions(store.open_orders),
        "history": store.instructions(lambda: store.history("shop")),
        "history of all": store.instructions(lambda: store.history(limit=20)),
        "save": store.instructions(lambda: store.save(a_state(7), version, [a_record()])),
        "order": store.instructions(lambda: store.create_order(OrderRequest("shop", Verb.PAUSE, "ana", "x"), NOW)),
        "prune nothing": store.instructions(lambda: store.prune(NOW - timedelta(days=1))),
    }


def test_nothing_but_the_look_at_the_start_takes_longer_with_a_long_history(tmp_path: Path) -> None:
    with with_history(tmp_path / "short.db", 500) as store:
        short = cost(store)
    with with_history(tmp_path / "long.db", 50_000) as store:
        long = cost(store)

    assert min(short.values()) > 0
    assert {call: steps for call, steps in long.items() if steps > 1.2 * short[call]} == {}


def test_of_a_long_history_only_a_part_is_dropped_at_a_time(tmp_path: Path) -> None:
    with with_history(tmp_path / "long.db", MOST_PRUNED + 5_000) as store:
        later = NOW + timedelta(days=1)
        dropped = [store.prune(later) for _ in range(3)]

        assert dropped == [MOST_PRUNED, 5_000, 0]
        assert store.history() == ()
