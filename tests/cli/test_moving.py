"""`store copy`: which two stores are meant, what is shown of a copy, and what is refused before one is begun."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.cli.exits import Exit
from shifter.cli.main import cli
from shifter.core.records import NewRecord, What
from shifter.wiring import ClusterAddress

if TYPE_CHECKING:
    from tests.cli.conftest import World

GOLDEN = Path(__file__).parent / "golden" / "store_copy.txt"


@pytest.fixture
def old(world: World, tmp_path: Path) -> Path:
    """The file of a store with two shifts and three records."""
    path = tmp_path / "old.db"
    with closing(SqliteStore(path)) as store:
        for name in ("pay", "shop"):
            store.save(world.state(name), 0, [NewRecord(world.now, name, What.HOLDS, "shifter", "held")])
        store.save(world.state("shop"), 1, [NewRecord(world.now, "shop", What.HOLDS, "shifter", "held no more")])
        store.report(world.report("shop"))
    return path


def _copy(world: World, *line: str | Path) -> Result:
    return CliRunner().invoke(cli, ["store", "copy", *map(str, line)], obj=world.session(store_path=None))


def test_a_file_is_copied_into_a_cluster_and_shown(world: World, old: Path) -> None:
    ran = _copy(world, "--from", old, "--to", "kubernetes", "--context", "lab")

    assert ran.exit_code == 0
    assert (ran.stdout + ran.stderr).replace(str(old), "OLD") == GOLDEN.read_text(encoding="utf-8")
    assert sorted(world.door.end.contents.states) == ["pay", "shop"]
    assert {each.context for each in world.door.addresses} == {"lab"}
    assert world.door.end.closed == 1


def test_it_is_in_the_name_that_the_cluster_verified(world: World, old: Path) -> None:
    _copy(world, "--from", old, "--to", "kubernetes", "--as", "carol")
    with closing(SqliteStore(old)) as store:
        (freeze,) = store.load_fleet().state.freezes

    assert freeze.by == "carol"
    assert {links[-1].by for links in world.door.end.links.values()} == {"carol"}


def test_and_back_into_another_file(world: World, old: Path, tmp_path: Path) -> None:
    _copy(world, "--from", old, "--to", "kubernetes")
    new = tmp_path / "new.db"
    ran = _copy(world, "--from", "kubernetes", "--to", new)

    assert ran.exit_code == 0
    checked = CliRunner().invoke(cli, ["history", "--verify", "--store", str(new)])
    assert (checked.exit_code, checked.stdout.partition(",")[0]) == (0, "9 records")


def test_the_document_of_a_copy(world: World, old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    ran = _copy(world, "--from", old, "--to", new, "-o", "json")
    document = json.loads(ran.stdout)
    (chain,) = document.pop("chains")

    assert document == {
        "apiVersion": "shifter.io/v1alpha1",
        "kind": "StoreCopy",
        "schemaVersion": 1,
        "from": str(old),
        "to": str(new),
        "dryRun": False,
        "shifts": ["pay", "shop"],
        "reports": 1,
        "orders": 0,
        "ordersWaiting": 0,
        "ordersLeftOut": 0,
        "records": 3,
        "sourceFrozen": True,
    }
    assert (chain["name"], chain["records"], chain["pruned"], chain["head"]["id"]) == (None, 3, 0, 3)


def test_a_dry_run_says_that_nothing_was_written(world: World, old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    ran = _copy(world, "--from", old, "--to", new, "--dry-run")

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert f"nothing was written: this is what would be copied, {old} → {new}\n" in ran.stdout
    assert not new.exists()


def test_orders_and_pruned_records_are_told_of(world: World, old: Path, tmp_path: Path) -> None:
    CliRunner().invoke(cli, ["pause", "shop", "--store", str(old)], obj=world.session(opener=SqliteStore))
    with closing(SqliteStore(old)) as store:
        store.prune(world.now.replace(hour=13))
    ran = _copy(world, "--from", old, "--to", tmp_path / "new.db", "--dry-run")

    said = " ".join(ran.stdout.split())
    assert "orders 1 1 not answered yet" in said
    assert "records 0 3 older ones were pruned" in said


def test_an_unsound_history_needs_a_word(world: World, old: Path, tmp_path: Path) -> None:
    _copy(world, "--from", old, "--to", "kubernetes")
    links = world.door.end.links["shop"]
    links[0] = replace(links[0], reason="x")
    refused = _copy(world, "--from", "kubernetes", "--to", tmp_path / "new.db")

    assert refused.exit_code == Exit.REFUSED
    assert "is not as it was written: record 1 was changed" in refused.stderr
    assert "hint: look at it with `shifter history --verify`; --unsound copies it" in refused.stderr

    told = _copy(world, "--from", "kubernetes", "--to", tmp_path / "new.db", "--unsound")

    assert told.exit_code == 0
    assert "1 thing in them not as written" in told.stdout


@pytest.mark.parametrize(
    ("ends", "more", "says"),
    [
        (("A", "B"), ["--store", "x.db"], "--store names one store, and a copy has two: --from and --to"),
        (("kubernetes", "kubernetes"), [], "flags name one cluster only: copy into a file first"),
        (("A", "B"), ["-n", "ours"], "--namespace is for a store in a cluster, and both are files"),
        (("A", "B"), ["--as", "bob"], "--as is for a store in a cluster, and both are files"),
    ],
)
def test_what_cannot_be_meant_is_refused(world: World, ends: tuple[str, str], more: list[str], says: str) -> None:
    line = [*(["--store", "x.db"] if "--store" in more else []), "store", "copy", "--from", ends[0], "--to", ends[1]]
    line += [] if "--store" in more else more
    ran = CliRunner().invoke(cli, line, obj=world.session(store_path=None))

    assert (ran.exit_code, ran.stdout) == (Exit.USAGE, "")
    assert says in ran.stderr


def test_a_file_that_is_not_there_is_not_copied_and_not_made(world: World, tmp_path: Path) -> None:
    ran = _copy(world, "--from", tmp_path / "none.db", "--to", "kubernetes")

    assert ran.exit_code == Exit.UNREACHABLE
    assert ran.stderr == (
        f"error: there is no store at {tmp_path / 'none.db'}\nhint: name the service's state file with --from\n"
    )
    assert world.door.end.guards == []


def test_a_service_that_runs_is_named(world: World, old: Path) -> None:
    lease = SqliteLease(old)
    try:
        ran = _copy(world, "--from", old, "--to", "kubernetes")
    finally:
        lease.release()

    assert ran.exit_code == Exit.REFUSED
    assert "error: another shifter runs on this store: pid " in ran.stderr


def test_a_leader_in_the_cluster_is_named(world: World, old: Path) -> None:
    world.door.end.alive = "shifter-0 until 12:00:15"
    ran = _copy(world, "--from", old, "--to", "kubernetes", "--dry-run")

    assert ran.exit_code == Exit.REFUSED
    assert ran.stderr == ("error: a leader is alive on namespace shifter-system of lab: shifter-0 until 12:00:15\n")


def test_an_old_store_that_could_not_be_frozen_is_not_well(world: World, old: Path, tmp_path: Path) -> None:
    _copy(world, "--from", old, "--to", "kubernetes")
    world.door.end.frozen_fails = "somebody else saved it"
    ran = _copy(world, "--from", "kubernetes", "--to", tmp_path / "new.db")

    assert ran.exit_code == Exit.UNHEALTHY
    assert ran.stderr == (
        "note: nobody may lead meanwhile; the lease in the cluster is waited for, about a minute at most\n"
        "error: the copy is whole, but namespace shifter-system of lab could not be frozen: somebody else saved it\n"
        "hint: start no service on it any more, or freeze it by hand\n"
    )


def test_the_cluster_is_the_one_that_the_flags_name(world: World, old: Path) -> None:
    _copy(world, "--from", old, "--to", "kubernetes", "-n", "ours", "--request-timeout", "3s")

    assert set(world.door.addresses) == {ClusterAddress(None, "", "", "", "ours", "", 3.0)}
