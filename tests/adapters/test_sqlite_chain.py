"""What somebody does to the history in the file, with SQLite's shell or with an editor, does not stay hidden."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.adapters.sqlite.look import LookingStore
from shifter.adapters.sqlite.schema import FILE_VERSION
from shifter.core.chain import FIRST_ID, GENESIS, START, Examined, Seal, digest
from shifter.core.deciding.orders import FLEET
from shifter.errors import RefusedError, StoreUnavailableError
from shifter.ports import Store
from tests.adapters.sqlite import NOW, a_record, a_state, filled, shell
from tests.contract import stores

RULES = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
FILE_OF_VERSION_2 = Path(__file__).with_name("version_2.sql").read_text(encoding="utf-8")


def examined(store: Store) -> Examined:
    return stores.examined(store, page=2)


def told(store: Store) -> list[str]:
    return [each.text for each in examined(store).findings]


def forced(path: Path, *statements: str) -> None:
    """Carry statements out as somebody would who takes the file's own rules away meanwhile."""
    with shell(path) as raw:
        rules = raw.execute(RULES).fetchall()
        for name, _ in rules:
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            raw.execute(statement)
        for _, rule in rules:
            raw.execute(rule)


def five(store: SqliteStore) -> None:
    """Save five records in three transactions."""
    filled(store)
    store.save(a_state(1), 1, [a_record("three")])
    store.save(a_state(2), 2, [a_record("four"), a_record("five")])


# --- with the shell


@pytest.mark.fault(
    on="SQLite",
    fault="somebody drops its rules and rewrites history",
    does="nothing else; `shifter history --verify` and `doctor` tell which record",
    sees="`record 3 was changed after it was written, ...`, exit code 6",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE history SET who = 'eve' WHERE id = 3", "record 3 was changed"),
        ("UPDATE history SET sequence = 9 WHERE id = 3", "record 3 was changed"),
        ("UPDATE history SET why = CAST(x'ff00fe' AS TEXT) WHERE id = 3", "record 3 was changed"),
        ("UPDATE history SET evidence = '{' WHERE id = 3", "record 3 was changed"),
        ("UPDATE history SET at = 'at noon' WHERE id = 3", "record 3 was changed"),
        ("UPDATE history SET hash = '' WHERE id = 3", "the hash of record 3 was changed"),
        ("DELETE FROM history WHERE id = 3", "record 3 is missing; so record 4 cannot be checked"),
        ("DELETE FROM history WHERE id < 3", "records 1 to 2 are missing; so record 3 cannot be checked"),
        ("DELETE FROM history WHERE id > 3", "history ends with record 3, but 5 were appended"),
        ("DELETE FROM history", "history ends with record 0, but 5 were appended"),
        ("INSERT INTO history SELECT 6, at, shift, what, who, why, 0, 0, '{}', hash FROM history WHERE id = 5", "6"),
        ("INSERT INTO history SELECT -7, at, shift, what, who, why, 0, 0, '{}', hash FROM history WHERE id = 5", "-7"),
        ("UPDATE chain SET hash = '' WHERE name = 'head'", "record 5 is the newest, but not as it was"),
        ("UPDATE chain SET id = 4 WHERE name = 'head'", "record 5 is the newest, but not as it was"),
        ("DELETE FROM chain", "record 5 is the newest, but not as it was"),
        ("UPDATE counters SET value = 4 WHERE name = 'history'", "records 5 to 5 are there, but the newest"),
        ("DELETE FROM counters", "records 1 to 5 are there, but the newest that was appended is 0"),
    ],
)
def test_what_is_done_with_the_shell_is_found(store: SqliteStore, path: Path, statement: str, says: str) -> None:
    five(store)
    assert told(store) == []

    forced(path, statement)

    assert says in " ".join(told(store))


def test_records_that_changed_places_are_found(store: SqliteStore, path: Path) -> None:
    five(store)

    change = "UPDATE history SET id = CASE id WHEN"
    forced(path, f"{change} 2 THEN -4 WHEN 4 THEN -2 ELSE id END", "UPDATE history SET id = -id WHERE id < 0")

    assert told(store) == [
        "in the place of record 2 is the one that was written as record 4",
        "in the place of record 4 is the one that was written as record 2",
    ]


def test_a_byte_that_flips_in_the_file_is_found(store: SqliteStore, path: Path) -> None:
    five(store)
    store.save(a_state(3), 3, [a_record("a sentence that is nowhere else")])
    store.close()
    whole = path.read_bytes()
    assert whole.count(b"that is nowhere else") == 1

    path.write_bytes(whole.replace(b"that is nowhere else", b"that is nowhere elsf"))

    with closing(SqliteStore(path)) as again:
        assert told(again) == [
            "record 6 was changed after it was written, or record 5 was and got a hash that fits",
        ]


def test_a_history_that_was_written_anew_hashes_and_all_is_found_by_the_note_beside_it(
    store: SqliteStore, path: Path
) -> None:
    five(store)
    forced(path, "UPDATE history SET who = 'eve' WHERE id = 2")
    before = GENESIS
    for link in store.chain(FIRST_ID, 9).links:
        before = digest(before, link)
        forced(path, f"UPDATE history SET hash = '{before}' WHERE id = {link.id}")  # noqa: S608 - a hash and a number
    forced(path, f"UPDATE chain SET hash = '{before}' WHERE name = 'head'")  # noqa: S608 - a hash

    assert told(store) == ["record 5 is another than the one that was noted beside the store when it was saved"]


@pytest.mark.fault(
    on="SQLite",
    fault="its history is another than the one saved here",
    does="starts with all shifts frozen; nothing climbs",
    sees="hold `restored`: record N of the state file is another than the one that was saved here",
    safe_within="at once",
)
def test_a_start_on_a_history_that_is_another_freezes_all_shifts(store: SqliteStore, path: Path) -> None:
    five(store)
    store.close()
    SqliteLease(path).release()
    forced(path, "UPDATE history SET hash = 'f' WHERE id = 5", "UPDATE chain SET hash = 'f' WHERE name = 'head'")

    first = SqliteLease(path)
    first.release()
    second = SqliteLease(path)

    with closing(SqliteStore(path)) as again:
        (freeze,) = again.load_fleet().state.freezes
        (record,) = again.history(FLEET)
    assert record.record.reason == freeze.reason == first.notes[0]
    assert freeze.reason.startswith("record 5 of the state file is another than the one that was saved here")
    assert second.notes == ()
    second.release()


def test_the_file_goes_on_although_its_own_memory_of_the_chain_is_gone(store: SqliteStore, path: Path) -> None:
    five(store)
    with shell(path) as raw:
        raw.execute("DROP TRIGGER chain_stays")
        raw.execute("DELETE FROM chain WHERE name = 'head'")

    store.save(a_state(3), 3, [a_record("six")])

    assert told(store) == []


def test_a_file_that_is_torn_is_unavailable_and_no_chain_is_judged(store: SqliteStore, path: Path) -> None:
    five(store)
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))

    with closing(SqliteStore(path)) as again, pytest.raises(StoreUnavailableError, match="restore a backup"):
        again.chain(FIRST_ID, 9)


# --- the note beside it


def test_the_note_beside_the_file_has_the_newest_record_and_its_hash(store: SqliteStore, path: Path) -> None:
    five(store)

    stretch = store.chain(FIRST_ID, 0)

    assert stretch.noted == stretch.head == Seal(5, store.history()[-1].hash)
    note = path.with_name("shifter.db.mark").read_text(encoding="ascii")
    assert note == f"{5:>20} {stretch.head.hash}\n"


@pytest.mark.parametrize("note", ["many", "", "-3", "7 seven", f"{9:>20} {'g' * 64}\n"])
def test_a_note_that_cannot_be_read_says_nothing(store: SqliteStore, path: Path, note: str) -> None:
    five(store)

    path.with_name("shifter.db.mark").write_text(note, encoding="utf-8")

    assert store.chain(FIRST_ID, 0).noted is None
    assert examined(store).sound


def test_the_note_of_an_earlier_version_is_read_and_made_anew(store: SqliteStore, path: Path) -> None:
    five(store)
    head = store.chain(FIRST_ID, 0).head
    store.close()
    mark = path.with_name("shifter.db.mark")
    mark.write_bytes(f"{5:>20}\n".encode())

    with closing(SqliteStore(path)) as again:
        noted = again.chain(FIRST_ID, 0).noted
    SqliteLease(path).release()

    assert noted == Seal(5, "")
    assert mark.read_text(encoding="ascii") == f"{5:>20} {head.hash}\n"


# --- of other versions


def test_records_of_version_2_are_chained_as_they_are_found(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(FILE_OF_VERSION_2)
    with closing(SqliteStore(path)) as store:
        before = store.history()
        with pytest.raises(RefusedError, match=r"schema version 2, and records are chained only from 3 on: restart"):
            store.chain(FIRST_ID, 9)

        lease = SqliteLease(path)
        found = examined(store)
        after = store.history()
        store.save(store.load()["shop"].state, 3, [a_record("later")])

        assert [each.record for each in after] == [each.record for each in before]
        assert {each.hash for each in before} == {""}
        assert (found.count, found.anchor, found.findings) == (4, Seal(2, GENESIS), ())
        assert examined(store).sound
    lease.release()


@pytest.mark.parametrize(("does", "head"), [("DELETE FROM history", Seal(6, GENESIS)), ("SELECT 1", None)])
def test_a_history_of_version_2_that_was_pruned_to_the_last_goes_on(path: Path, does: str, head: Seal | None) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(FILE_OF_VERSION_2)
        raw.executescript(f"DROP TRIGGER history_kept; {does};")
    lease = SqliteLease(path)
    with closing(SqliteStore(path)) as store:
        found = store.chain(FIRST_ID, 0).head
        store.save(store.load()["shop"].state, 3, [a_record("later")])

        assert head in {None, found}
        assert store.history()[-1].id == 7
        assert examined(store).sound
    lease.release()


def test_an_upgrade_copies_what_no_text_is_byte_for_byte_and_finds_what_was_missing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(FILE_OF_VERSION_2)
    forced(path, "UPDATE history SET why = CAST(x'ff00fe' AS TEXT) WHERE id = 4", "DELETE FROM history WHERE id = 5")

    lease = SqliteLease(path)

    with closing(SqliteStore(path)) as store, closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT CAST(why AS BLOB) FROM history WHERE id = 4").fetchone() == (b"\xff\x00\xfe",)
        assert told(store) == ["record 5 is missing; so record 6 cannot be checked"]
    lease.release()


def test_the_chain_of_a_later_version_is_not_judged(store: SqliteStore, path: Path) -> None:
    five(store)
    with shell(path) as raw:
        raw.execute(f"PRAGMA user_version = {FILE_VERSION + 1}")

    with pytest.raises(RefusedError, match="run the later version"):
        store.chain(FIRST_ID, 9)

    assert len(store.history()) == 5


def test_looking_at_the_chain_of_no_file_makes_none(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        assert store.chain(FIRST_ID, 9).head == START

    assert not path.exists()


def test_whoever_only_looks_may_check_the_chain(store: SqliteStore, path: Path) -> None:
    five(store)
    store.prune(NOW)

    with closing(LookingStore(path)) as looking:
        assert examined(looking).count == 5
    store.close()
    with closing(LookingStore(path)) as looking:
        assert examined(looking).sound


@pytest.mark.fault(
    on="SQLite",
    fault="somebody takes out the oldest history as a prune would",
    does="nothing else; `shifter history --verify` tells which records",
    sees="`records 1 to 3 are missing, and were not pruned: the beginning was cut off`, exit code 6",
    safe_within="at once",
)
def test_the_oldest_records_taken_out_as_by_a_prune_are_missed(store: SqliteStore, path: Path) -> None:
    five(store)
    with shell(path) as raw:
        raw.execute("UPDATE meta SET value = '9' WHERE name = 'pruning'")
        raw.execute("INSERT OR REPLACE INTO chain SELECT 'anchor', id, hash FROM history WHERE id = 3")
        raw.execute("DELETE FROM history WHERE id <= 3")
        raw.execute("UPDATE meta SET value = '' WHERE name = 'pruning'")

    (finding,) = examined(store).findings

    assert finding.text == "records 1 to 3 are missing, and were not pruned: the beginning was cut off"


def test_history_that_was_pruned_before_pruning_was_noted_is_sound(store: SqliteStore, path: Path) -> None:
    five(store)
    store.prune(NOW + timedelta(days=1))
    with shell(path) as raw:
        raw.execute("DELETE FROM meta WHERE name = 'prunedTo'")

    assert examined(store).sound
