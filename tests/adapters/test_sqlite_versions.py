"""Files as each version wrote them, kept as SQL: what one wrote, every later one reads, with nothing lost.

`version_N.sql` is what version N wrote, as SQLite dumps it: history that was pruned once, an order that was answered
and one that was not, a freeze. Whoever raises `FILE_VERSION` adds the file of the new version, from a store that was
filled as these were; that of the one before is what its upgrade begins with.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.adapters.sqlite.schema import CHAINED, FILE_VERSION, create_schema, version_of
from shifter.core.deciding.orders import Answer
from shifter.core.state import FleetState
from tests.adapters.sqlite import a_record
from tests.contract.stores import examined

VERSIONS = range(1, FILE_VERSION + 1)
FILES = Path(__file__).parent


def text_of(version: int) -> str:
    return (FILES / f"version_{version}.sql").read_text(encoding="utf-8")


def written_by(version: int, path: Path) -> Path:
    """Make the file that a version wrote."""
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(text_of(version))
    return path


def schema_of(path: Path) -> tuple[int, set[tuple[str, str, str | None]]]:
    with closing(sqlite3.connect(path)) as raw:
        return version_of(raw), set(raw.execute("SELECT type, name, sql FROM sqlite_master"))


def told(store: SqliteStore) -> tuple[object, ...]:
    """Everything that a store tells, but for what binds its records to each other, which an upgrade adds."""
    records: Iterable[object] = [(each.id, each.record) for each in store.history()]
    return store.load(), store.reports(), records, [store.order(1), store.order(2)], store.open_orders()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_wrote_is_read_before_and_after_its_upgrade_alike(version: int, tmp_path: Path) -> None:
    path = written_by(version, tmp_path / "shifter.db")
    with closing(SqliteStore(path)) as store:
        before = told(store), store.load_fleet()
    SqliteLease(path).release()
    with closing(SqliteStore(path)) as store:
        after = told(store), store.load_fleet()
        sound = examined(store).sound

    assert after == before
    assert sound
    assert schema_of(path)[0] == FILE_VERSION


@pytest.mark.parametrize("version", VERSIONS)
def test_each_file_has_what_an_upgrade_could_lose(version: int, tmp_path: Path) -> None:
    with closing(SqliteStore(written_by(version, tmp_path / "shifter.db"))) as store:
        assert store.load()["shop"].state.sequence > 0
        assert "shop" in store.reports()
        assert store.history()[0].id > 1
        assert store.order(1).answer is Answer.ACCEPTED
        assert store.open_orders()[0].id == 2
        assert (store.load_fleet().state == FleetState()) == (version == 1)
        assert {bool(each.hash) for each in store.history()} == {version >= CHAINED}


def test_the_file_of_this_version_is_as_this_version_makes_it(tmp_path: Path) -> None:
    """A change of the tables is a new version, lest there be files of one version that are not alike."""
    new = tmp_path / "new.db"
    with closing(sqlite3.connect(new, isolation_level=None)) as raw:
        create_schema(raw)

    assert schema_of(written_by(FILE_VERSION, tmp_path / "shifter.db")) == schema_of(new)


def test_a_file_of_this_version_is_gone_on_with(tmp_path: Path) -> None:
    path = written_by(FILE_VERSION, tmp_path / "shifter.db")
    lease = SqliteLease(path)
    with closing(SqliteStore(path)) as store:
        found = store.load()["shop"]
        store.save(found.state, found.version, [a_record("later")])

        assert [each.record.reason for each in store.history()][-1] == "later"
        assert examined(store).sound
    lease.release()
