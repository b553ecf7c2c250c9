"""A store on a bad day, with the real file: what the service does in the middle, at its start, and what it says.

That the file itself keeps its rules is tested in `tests/adapters/`; here it is whether a share can rise, whether
what must go back goes back, and whether anybody is told.
"""

from __future__ import annotations

import resource
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.cli.main import cli
from shifter.cli.session import Session
from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import FLEET, Answer, Verb
from shifter.core.phases import Phase
from shifter.core.state import ShiftState
from shifter.errors import RefusedError, ShifterError, StoreUnavailableError
from tests.service.conftest import NEW, NEWER, OLD, OLDER, World

PAGE = 4096


class DiskWorld(World):
    """A world whose store is a real file. `clean` and `killed` end the process in two ways."""

    def start(self) -> None:
        self.file = self.path.parent / "store" / "shifter.db"
        # World's own are of memory; the ports are the same.
        self.sqlite_lease = SqliteLease(self.file, lambda: self.now)
        lease: Any = self.sqlite_lease
        store: Any = SqliteStore(self.file)
        self.lease, self.store, self.saved = lease, store, store
        self.begin()

    def die(self) -> None:
        self.store.close()
        self.lease.release()

    def command(self, *args: str) -> Result:
        """Run `shifter ARGS` on this store, as a person beside the service does."""
        session = Session(store_path=self.file, user=lambda: "ann", now=lambda: self.now)
        return CliRunner().invoke(cli, args, obj=session)

    def backup(self) -> Path:
        """Copy the file as the runbook says, while the service runs."""
        copy = self.file.parent / "backup.db"
        copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.file)) as raw, closing(sqlite3.connect(copy)) as into:
            raw.backup(into)
        return copy

    def restore(self, backup: Path) -> None:
        """Put a backup in the place of the file of a service that was stopped, as the runbook says, and start."""
        self.die()
        for name in ("shifter.db", "shifter.db-wal", "shifter.db-shm"):
            self.file.with_name(name).unlink(missing_ok=True)
        shutil.copy(backup, self.file)
        self.start()

    def fail_target(self) -> None:
        self.sides[Side.TARGET].error_percent = 100

    def problems(self) -> str:
        """What the log says of the store, in one text."""
        lines = [*self.lines("store.problem"), *self.lines("shift.error")]
        return "\n".join(str(line) for line in lines)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DiskWorld]:
    (tmp_path / "policies").mkdir()
    made = DiskWorld(tmp_path / "policies", steps=(5, 25, 100))
    yield made
    made.die()
    structlog.reset_defaults()


def states(world: DiskWorld) -> dict[str, ShiftState]:
    """What is saved of every shift, whoever saved it last."""
    return {name: saved.state for name, saved in world.saved.load().items()}


def at_5_with_more_to_come(world: DiskWorld) -> None:
    """Go to 5 %; left alone, the shift would climb to 25 % within a few ticks."""
    world.until_share(5)
    assert world.state().phase is Phase.SHIFTING


def assert_stays_then_goes_back(world: DiskWorld, says: str) -> None:
    """Nothing rises in many ticks, a failing target goes back nevertheless, and the log says why."""
    shares = len(world.written_shares())
    world.step(12)
    assert world.written_shares()[shares:] == []
    assert world.share() == 5
    assert says in world.problems()
    world.fail_target()
    world.step(6)
    assert world.share() == 0


# -- locked ----------------------------------------------------------------------------------------------------------


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """A person has a transaction open in a shell."""
    with closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.fault(
    on="SQLite",
    fault="another process keeps it locked",
    does="holds what it has; retreats go; orders are not taken; goes on when it is free",
    sees="`database is locked; another process keeps it locked (an open sqlite3?)` in the log and from every order",
    safe_within="3 s + 1 tick",
)
def test_a_locked_file_keeps_nothing_from_going_back_and_lets_nothing_rise(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    with locked(world.file):
        ordered = world.command("pause", "shop")
        seen = world.command("get", "shop")
        assert_stays_then_goes_back(world, "another process keeps it locked")

    assert (ordered.exit_code, seen.exit_code) == (5, 0)
    assert "another process keeps it locked" in ordered.stderr
    assert "Traceback" not in ordered.output
    world.sides[Side.TARGET].error_percent = 0
    world.step(3)
    assert world.saved_state().phase is Phase.ROLLED_BACK


def test_a_locked_file_is_climbed_on_with_when_it_is_free(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    with locked(world.file):
        world.step(5)
    world.until_share(25)

    assert world.climbs() == [5, 25]


def test_a_service_does_not_start_on_a_locked_file(world: DiskWorld) -> None:
    world.die()

    with locked(world.file), pytest.raises(StoreUnavailableError, match="another process keeps it locked"):
        world.start()
    world.start()

    assert world.ticker.ready


def test_a_locked_file_is_waited_for_once_and_not_for_each_shift(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    world = DiskWorld(tmp_path / "policies", shifts={f"shop-{number}": f"lb-{number}" for number in range(20)})
    world.step()
    with locked(world.file):
        before = time.monotonic()
        world.step(2)
        took = time.monotonic() - before
    world.die()
    structlog.reset_defaults()

    assert took < 8  # 20 shifts would have waited 3 s each, twice


# -- full, failing, read-only ----------------------------------------------------------------------------------------


@contextmanager
def failing_disk(world: DiskWorld) -> Iterator[None]:
    """Let every write beyond what the log beside the file has now fail, as a failing disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (world.file.with_name("shifter.db-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.fault(
    on="SQLite",
    fault="the disk fails: I/O error in the middle of a save",
    does="holds; retreats go; what happened is saved when the disk is back",
    sees="`disk I/O error; look at the disk and at the kernel's log` in the log",
    safe_within="one tick",
)
def test_a_failing_disk_keeps_nothing_from_going_back_and_forgets_nothing(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    with failing_disk(world):
        assert_stays_then_goes_back(world, "disk I/O error; look at the disk")
    world.step()

    assert world.saved_state().phase is Phase.ROLLED_BACK
    assert world.written_shares() == [5, 0]


# -- corrupted -------------------------------------------------------------------------------------------------------


def page_of(file: Path, table: str) -> int:
    """Return where in the file the root page of a table begins, with everything folded into the file."""
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ((page,),) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchall()
    return (int(page) - 1) * PAGE


def spoil(file: Path, table: str) -> None:
    """Write over one page, as a bad sector or a stray `dd` does."""
    place = page_of(file, table)
    with file.open("r+b") as raw:
        raw.seek(place)
        raw.write(b"\xff" * PAGE)


@pytest.mark.fault(
    on="SQLite",
    fault="damaged, found at the start",
    does="refuses to start; changes nothing",
    sees="`state store FILE is damaged: ...; Keep the file, put a backup in its place and start again`",
    safe_within="at once",
)
@pytest.mark.parametrize("table", ["shifts", "history", "orders", "history_of_shift", "open_orders", "counters"])
def test_a_damaged_file_is_refused_at_the_start_wherever_the_damage_is(world: DiskWorld, table: str) -> None:
    at_5_with_more_to_come(world)
    backup = world.backup()
    world.die()
    spoil(world.file, table)
    before = world.file.read_bytes()

    with pytest.raises(RefusedError, match=r"is damaged: .*Keep the file, put a backup in its place") as refused:
        world.start()

    assert world.file.read_bytes() == before
    assert "nothing was changed" in str(refused.value)
    world.restore(backup)
    assert world.state().share == 5


def test_a_file_mixed_of_two_is_refused_at_the_start(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    world.die()
    with closing(sqlite3.connect(world.file, isolation_level=None)) as raw:
        # As when the log of one file is played onto another: every page is whole, and they do not belong together.
        raw.execute("UPDATE counters SET value = value + 5 WHERE name = 'history'")

    with pytest.raises(RefusedError, match="ids and counters do not agree, as after parts of two files were mixed"):
        world.start()

    world.file.unlink()
    world.file.with_name("shifter.db.mark").unlink()
    world.start()


@pytest.mark.fault(
    on="SQLite",
    fault="damaged, found in the middle",
    does="holds; retreats go; a restart refuses",
    sees="`database disk image is malformed; it is damaged: stop the service, keep the file, and restore a backup`",
    safe_within="one tick",
)
def test_damage_found_in_the_middle_lets_nothing_rise(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    for table in ("shifts", "orders", "history"):
        spoil(world.file, table)
    with closing(sqlite3.connect(world.file)) as raw:  # somebody's write: what the service has read is read anew
        raw.execute("INSERT OR REPLACE INTO meta VALUES ('note', 'x')")
        raw.commit()

    assert_stays_then_goes_back(world, "it is damaged: stop the service, keep the file, and restore a backup")
    seen, ordered = world.command("get", "shop"), world.command("pause", "shop")
    assert (seen.exit_code, ordered.exit_code) == (5, 5)
    assert "restore a backup" in seen.stderr
    assert "restore a backup" in ordered.stderr
    world.die()
    with pytest.raises(RefusedError, match="is damaged"):
        world.start()
    world.file.unlink()
    world.file.with_name("shifter.db.mark").unlink()
    world.start()


# -- taken away ------------------------------------------------------------------------------------------------------


def take_file(world: DiskWorld) -> None:
    world.file.unlink()


def take_directory(world: DiskWorld) -> None:
    shutil.rmtree(world.file.parent)


def take_log(world: DiskWorld) -> None:
    world.file.with_name("shifter.db-wal").unlink()


def take_log_and_index(world: DiskWorld) -> None:
    take_log(world)
    world.file.with_name("shifter.db-shm").unlink()


def replace_file(world: DiskWorld) -> None:
    world.backup().replace(world.file)


def put_back(world: DiskWorld) -> None:
    """Begin anew, so that the world can end."""
    world.file.with_name("shifter.db.mark").unlink(missing_ok=True)
    world.start()


@pytest.mark.fault(
    on="SQLite",
    fault="the file, its directory or its log is deleted or replaced while in use",
    does="creates nothing; holds with `lease`; retreats go",
    sees="`FILE was replaced or removed while in use; nothing more is written: stop the service ...` in the log",
    safe_within="one tick",
)
@pytest.mark.parametrize("take", [take_file, take_directory, take_log, take_log_and_index, replace_file])
def test_what_is_taken_away_in_use_lets_nothing_rise_and_is_not_made_anew(
    world: DiskWorld, take: Callable[[DiskWorld], None]
) -> None:
    at_5_with_more_to_come(world)
    folder = world.file.parent
    take(world)
    left = sorted(folder.iterdir()) if folder.exists() else []
    assert_stays_then_goes_back(world, "was replaced or removed while in use; nothing more is written")
    seen, ordered = world.command("get", "shop"), world.command("pause", "shop")

    assert not world.lease.valid()
    assert (sorted(folder.iterdir()) if folder.exists() else []) == left
    assert "Traceback" not in seen.output + ordered.output
    assert (seen.exit_code, ordered.exit_code) == (5, 5)
    world.die()
    if not world.file.exists():
        put_back(world)


@pytest.mark.parametrize("take", [take_log, take_log_and_index])
def test_a_log_that_was_deleted_in_use_costs_nothing_if_the_service_is_stopped_and_started(
    world: DiskWorld, take: Callable[[DiskWorld], None]
) -> None:
    at_5_with_more_to_come(world)
    saved, history = states(world), world.saved.history()
    take(world)
    world.step(3)
    seen = world.command("get", "shop")
    world.die()
    world.start()

    assert seen.exit_code == 5
    assert "shifter.db-wal was replaced or removed while in use" in seen.stderr
    assert (states(world), world.saved.history()) == (saved, history)
    world.until_share(25)
    assert world.climbs() == [5, 25]


@pytest.mark.fault(
    on="SQLite",
    fault="the file is gone or empty at the start, though shifter saved there before",
    does="refuses to start; makes no new one",
    sees="`nothing is in the state store FILE, though N records were saved there: put the file or a backup of it back`",
    safe_within="at once",
)
@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_file_that_is_gone_at_the_start_is_not_simply_made_anew(world: DiskWorld, how: str) -> None:
    at_5_with_more_to_come(world)
    backup = world.backup()
    world.die()
    world.file.unlink()
    if how == "empty":
        world.file.touch()

    for _ in range(2):
        with pytest.raises(RefusedError, match=r"though \d+ records were saved there.*to begin anew .* remove .*mark"):
            world.start()

    assert how == "empty" or not world.file.exists()
    world.restore(backup)
    assert world.state().share == 5


# -- an older backup -------------------------------------------------------------------------------------------------


@pytest.mark.fault(
    on="SQLite",
    fault="put back from a backup that is older than what the cloud has",
    does="freezes all shifts; weights that differ are drift; never climbs from there; rollback goes",
    sees="holds `restored`: `... it was put back from a backup; look at every shift, then unfreeze` and `drift`",
    safe_within="at once",
)
def test_a_backup_older_than_the_cloud_is_frozen_and_held_as_drift(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    backup = world.backup()
    world.until_share(25)
    world.restore(backup)
    world.step(12)
    fleet = world.saved.load_fleet().state
    (record,) = world.history(FLEET)

    assert (world.state().share, world.share()) == (5, 25)
    (freeze,) = fleet.freezes
    assert {"drift", "restored"} <= world.holds()
    assert world.report().page
    assert freeze.by == "shifter"
    assert "put back from a backup; look at every shift, then unfreeze" in freeze.reason
    assert record.reason == freeze.reason
    assert world.sqlite_lease.notes == (record.reason,)
    world.order(Verb.ROLLBACK)
    world.step(6)
    assert world.share() == 0


def test_after_the_unfreeze_drift_alone_keeps_an_older_backup_from_climbing(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    backup = world.backup()
    world.until_share(25)
    world.restore(backup)
    world.order(Verb.UNFREEZE, name=FLEET)
    world.step(12)

    assert world.saved.load_fleet().state.freezes == ()
    assert "drift" in world.holds()
    assert (world.state().share, world.share()) == (5, 25)


@pytest.mark.parametrize("forgets", [True, False], ids=["nobody remembers", "Prometheus remembers"])
def test_a_rollback_that_the_backup_does_not_know_is_not_undone(
    world: DiskWorld,
    forgets: bool,  # noqa: FBT001 - a row of the table
) -> None:
    at_5_with_more_to_come(world)
    world.until_share(25)
    backup = world.backup()
    world.fail_target()
    world.until(Phase.ROLLED_BACK)
    world.sides[Side.TARGET].error_percent = 0
    for side in world.sides.values():
        side.forgets = forgets
    world.restore(backup)
    world.step(12)

    assert (world.state().phase, world.state().share, world.share()) == (Phase.ROLLED_BACK, 0, 0)
    assert "found at 0 % at the start" in world.reason()


def test_a_backup_from_before_the_first_step_does_not_begin_again_by_itself(world: DiskWorld) -> None:
    world.step()
    backup = world.backup()
    world.until_share(5)
    world.fail_target()
    world.until(Phase.ROLLED_BACK)
    world.sides[Side.TARGET].error_percent = 0
    sent = len(world.provider.submits)
    world.restore(backup)
    world.step(30)

    assert world.share() == 0  # as the backup has it, too: nothing but the freeze knows that it went wrong
    assert len(world.provider.submits) == sent
    world.order(Verb.UNFREEZE, name=FLEET)
    world.until_share(5)


def put_row_back(world: DiskWorld, row: tuple[str, str] | None) -> None:
    """End the service, replace what is saved of `shop` by an earlier row of it, or by none, and start."""
    world.die()
    with closing(sqlite3.connect(world.file)) as raw, raw:
        if row is None:
            raw.execute("DELETE FROM shifts")
        else:
            raw.execute("UPDATE shifts SET version = version + 1, state = ? WHERE name = ?", row[::-1])
    world.start()


def saved_row(world: DiskWorld) -> tuple[str, str]:
    with closing(sqlite3.connect(world.file)) as raw:
        ((name, state),) = raw.execute("SELECT name, state FROM shifts").fetchall()
    return str(name), str(state)


@pytest.mark.fault(
    on="SQLite",
    fault="the row of one shift is older than the history beside it, or gone",
    does="freezes all shifts; rollback goes",
    sees="hold `restored`: `what is saved of shop is older than its write 4: it was put back, or taken out; ...`",
    safe_within="at once",
)
@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "older"])
def test_a_failed_shift_whose_row_is_older_than_its_history_or_gone_does_not_climb_again(
    world: DiskWorld,
    is_gone: bool,  # noqa: FBT001 - a row of the table
) -> None:
    world.step()
    row = saved_row(world)
    world.until_share(5)
    world.fail_target()
    world.until(Phase.ROLLED_BACK)
    world.sides[Side.TARGET].error_percent = 0
    sent = len(world.provider.submits)
    put_row_back(world, None if is_gone else row)
    world.step(12)
    said = "nothing is saved of shop any more" if is_gone else "what is saved of shop is older than its write"
    (note,) = world.sqlite_lease.notes

    assert len(world.provider.submits) == sent
    assert "restored" in world.holds()
    assert note.startswith(said)
    assert note.endswith(": it was put back, or taken out; look at every shift and its history, then unfreeze")


def test_a_pause_that_the_row_does_not_know_is_not_lost_unnoticed(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    row = saved_row(world)
    world.order(Verb.PAUSE)
    world.step(2)
    put_row_back(world, row)
    world.step(12)

    assert world.share() == 5
    assert "restored" in world.holds()
    assert "what is saved of shop is older than the answer to order 1" in world.sqlite_lease.notes[0]


def test_who_lifted_the_freeze_over_a_row_that_was_put_back_is_not_asked_again(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    put_row_back(world, None)
    world.order(Verb.UNFREEZE, name=FLEET)
    world.step(2)
    world.die()
    world.start()

    assert world.sqlite_lease.notes == ()


def test_a_row_that_cannot_be_read_is_not_called_old(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    world.die()
    with closing(sqlite3.connect(world.file)) as raw, raw:
        raw.execute("UPDATE shifts SET version = version + 1, state = 'fish'")
    lease = SqliteLease(world.file, lambda: world.now)

    assert lease.notes == ()
    lease.release()


def test_an_intent_of_the_backup_that_ended_long_ago_is_not_sent_again(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    while world.state().intent is None:
        world.step()
    backup = world.backup()
    world.until_share(100)
    sent = len(world.provider.submits)
    world.restore(backup)
    world.step(30)

    assert len(world.provider.submits) == sent
    assert world.share() == 100


def test_orders_that_the_backup_has_open_again_raise_nothing(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    raising = [world.order(Verb.PROMOTE, full=True), world.order(Verb.RESUME), world.order(Verb.UNFREEZE, name=FLEET)]
    calming = world.order(Verb.PAUSE)
    backup = world.backup()
    world.step(2)
    world.pass_time(timedelta(minutes=20))
    world.restore(backup)
    sent = len(world.provider.submits)
    world.step(12)

    assert {world.answer(order)[0] for order in raising} == {Answer.REFUSED}
    assert all("give it again if it is still meant" in world.answer(order)[1] for order in raising)
    assert world.answer(calming)[0] is Answer.ACCEPTED
    assert len(world.provider.submits) == sent


def test_a_backup_that_is_as_new_as_what_was_saved_is_not_suspected(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    world.restore(world.backup())

    assert world.sqlite_lease.notes == ()
    world.until_share(25)


def test_a_restart_after_an_older_backup_is_not_frozen_again(world: DiskWorld) -> None:
    at_5_with_more_to_come(world)
    backup = world.backup()
    world.until_share(25)
    world.restore(backup)
    world.edit_weights({OLD: 95, OLDER: 95, NEW: 5, NEWER: 5})
    world.order(Verb.UNFREEZE, name=FLEET)
    world.step(2)
    world.restart()

    assert world.sqlite_lease.notes == ()
    assert world.saved.load_fleet().state.freezes == ()


# -- the start -------------------------------------------------------------------------------------------------------


def test_a_refused_start_leaves_no_lock(world: DiskWorld) -> None:
    with pytest.raises(ShifterError, match="another shifter runs on this store"):
        SqliteLease(world.file)

    assert world.lease.valid()
