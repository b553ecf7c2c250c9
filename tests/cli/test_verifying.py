"""`shifter history --verify`: one sentence if all is well, one for each thing that is not, and never a traceback."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shifter.adapters.sqlite import SqliteStore
from shifter.cli.exits import Exit
from shifter.cli.main import cli
from shifter.cli.session import Session
from shifter.core.chain import FIRST_ID, Link
from shifter.core.records import SERVICE, NewRecord, What
from tests.cli.conftest import NOON, World

HINT = "hint: keep a copy of the file as it is; see 'The store' in docs/runbook.md\n"
OLD_FILE = Path(__file__).parents[1] / "adapters" / "version_2.sql"


def remember(world: World, count: int) -> None:
    """Append so many records, a minute apart, the first at noon."""
    for number in range(count):
        world.record(NewRecord(NOON + timedelta(minutes=number), "shop", What.HOLDS, SERVICE, f"number {number}"))


def links_of(world: World) -> list[Link]:
    return list(world.store.chain(FIRST_ID, 10_000).links)


def with_text(link: Link, **change: str) -> Link:
    return Link(**{**asdict(link), **change})


def test_a_history_as_it_was_written_is_one_sentence_and_the_hash_to_note(world: World) -> None:
    remember(world, 1234)

    done = world.run("history", "--verify")

    assert (done.exit_code, done.stderr) == (Exit.OK, "")
    assert done.stdout.splitlines() == [
        (
            "1,234 records, unbroken from 2026-11-20 20:00:00 +08:00 (record 1)"
            " to 2026-11-21 16:33:00 +08:00 (record 1,234)"
        ),
        f"record 1,234 has the hash {links_of(world)[-1].hash}: noted elsewhere, it proves all before it",
    ]


def test_what_was_pruned_is_said(world: World) -> None:
    remember(world, 3)
    world.store.prune(NOON + timedelta(minutes=2))

    assert world.run("history", "--verify").stdout.splitlines()[0] == (
        "1 record, unbroken from 2026-11-20 20:02:00 +08:00 (record 3) to 2026-11-20 20:02:00 +08:00 (record 3);"
        " older ones, up to record 2, were pruned"
    )


def test_no_history_is_sound(world: World) -> None:
    done = world.run("history", "--verify")

    assert (done.exit_code, done.stdout) == (Exit.OK, "no records\n")


@pytest.mark.fault(
    on="people",
    fault="somebody rewrote history in the store",
    does="says which records; changes nothing",
    sees="`record 2 was changed after it was written, ...`, exit code 6",
    safe_within="at once",
)
def test_each_thing_that_is_wrong_is_a_sentence_and_the_exit_code_is_6(world: World) -> None:
    remember(world, 6)
    links = links_of(world)

    world.store.rewrite([links[0], with_text(links[1], by="eve"), *links[3:5]])
    done = world.run("history", "--verify")

    assert (done.exit_code, done.stderr) == (Exit.UNHEALTHY, HINT)
    assert done.stdout.splitlines() == [
        (
            "4 records, from 2026-11-20 20:00:00 +08:00 (record 1) to 2026-11-20 20:04:00 +08:00 (record 5):"
            " 3 things are wrong"
        ),
        "  record 2 was changed after it was written, or record 1 was and got a hash that fits",
        "  record 3 is missing; so record 4 cannot be checked",
        "  history ends with record 5, but 6 were appended: the newest were cut off",
    ]


def test_of_many_findings_twenty_are_told_and_the_rest_is_counted(world: World) -> None:
    remember(world, 50)

    world.store.rewrite([with_text(link, hash="") for link in links_of(world)])
    done = world.run("history", "--verify")

    lines = done.stdout.splitlines()
    assert lines[0].endswith("51 things are wrong")  # the newest is not the one that the store remembers, either
    assert (len(lines), lines[-1]) == (22, "  and 31 more")


def test_records_that_nobody_can_read_are_checked_and_shown_harmlessly(world: World) -> None:
    remember(world, 2)
    first, last = links_of(world)
    odd = {"at": "9999-99-99 \x1b[2J", "what": "dance", "evidence": "{"}

    world.store.rewrite([with_text(first, **odd), replace(last, at="\ud800")])
    done = world.run("history", "--verify")

    assert done.exit_code == Exit.UNHEALTHY
    assert done.stdout.splitlines()[0] == (
        "2 records, from '9999-99-99 \\x1b[2J' (record 1) to '\\ud800' (record 2): 2 things are wrong"
    )


def test_the_document_says_the_same(world: World) -> None:
    remember(world, 4)
    world.store.prune(NOON + timedelta(minutes=1))
    links = links_of(world)

    sound = world.json("history", "--verify")
    world.store.rewrite([links[0], links[2]])
    broken = world.json("history", "--verify")

    ends: dict[str, Any] = {
        "first": {"id": 2, "at": "2026-11-20T12:01:00.000000+00:00", "hash": links[0].hash},
        "last": {"id": 4, "at": "2026-11-20T12:03:00.000000+00:00", "hash": links[2].hash},
        "pruned": {"id": 1, "hash": world.store.chain(FIRST_ID, 0).anchor.hash},
        "head": {"id": 4, "hash": links[2].hash},
    }
    versions = {"apiVersion": "shifter.io/v1alpha1", "kind": "HistoryVerification", "schemaVersion": 1}
    assert sound == {**versions, "sound": True, "records": 3, **ends, "findings": [], "more": 0}
    text = "record 3 is missing; so record 4 cannot be checked"
    missing = {"fault": "missing", "first": 3, "last": 3, "text": text}
    assert broken == {**versions, "sound": False, "records": 2, **ends, "findings": [missing], "more": 0}


def test_each_record_of_history_shows_the_hash_that_binds_it(world: World) -> None:
    remember(world, 3)
    shown = [(each["id"], each["hash"]) for each in world.json("history")["items"]]

    assert shown == [(link.id, link.hash) for link in links_of(world)]
    assert world.json("history", "--verify")["head"] == dict(zip(("id", "hash"), shown[-1], strict=True))


def test_a_record_that_nothing_binds_shows_no_hash(world: World, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(OLD_FILE.read_text(encoding="utf-8"))
    session = Session(opener=SqliteStore, now=lambda: world.now, store_path=path)
    shown = CliRunner().invoke(cli, ["history", "-o", "json"], obj=session).stdout

    assert {each["hash"] for each in json.loads(shown)["items"]} == {None}


def test_the_document_of_no_history_has_no_ends(world: World) -> None:
    document = world.json("history", "--verify")

    assert [document[key] for key in ("records", "first", "last", "pruned", "head")] == [0, None, None, None, None]


def test_who_waits_is_told_how_far_it_is(world: World) -> None:
    remember(world, 1001)
    moments = (NOON + timedelta(seconds=3 * count) for count in range(100))
    session = Session(opener=lambda _: world.store, now=lambda: next(moments))

    done = CliRunner().invoke(cli, ["history", "--verify"], obj=session)

    assert done.stderr == "1,000 of 1,001 records checked ...\n"
    assert done.exit_code == Exit.OK


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["shop"], "--verify checks the records of all shifts together: they are one chain"),
        (["--limit", "5"], "--verify checks all records: leave --limit out"),
    ],
)
def test_a_part_of_a_chain_is_not_verified(world: World, more: Sequence[str], says: str) -> None:
    done = world.run("history", "--verify", *more)

    assert done.exit_code == Exit.USAGE
    assert says in done.stderr


def test_a_file_whose_records_are_not_chained_yet_is_refused_with_the_way_out(world: World, tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(OLD_FILE.read_text(encoding="utf-8"))
    session = Session(opener=SqliteStore, now=lambda: world.now, store_path=path)

    done = CliRunner().invoke(cli, ["history", "--verify"], obj=session)

    assert done.exit_code == Exit.REFUSED
    assert "has schema version 2, and records are chained only from 3 on: restart the service" in done.stderr
