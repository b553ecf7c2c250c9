"""A service that cannot read what is saved of one shift: that one holds and is told of, all others go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from shifter.core.balancing.splits import Side
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import FLEET, Verb
from shifter.core.phases import Phase
from tests.service.test_bad_store import DiskWorld

DAMAGE = "UPDATE shifts SET version = version + 1, state = replace(state, '\"attempt\":1', '\"attempt\":2')"
MEND = "UPDATE shifts SET version = version + 1, state = replace(state, '\"attempt\":2', '\"attempt\":1')"
SAYS = "saved state of shop is not what shifter saved: somebody, or the disk, changed it"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DiskWorld]:
    """Two shifts at 5 %, which left alone would climb on within a few ticks."""
    (tmp_path / "policies").mkdir()
    made = DiskWorld(tmp_path / "policies", shifts={"shop": "lb-1", "cart": "lb-2"}, steps=(5, 25, 100))
    made.until_share(5)
    made.until_share(5, name="cart")
    yield made
    made.die()
    structlog.reset_defaults()


def run(world: DiskWorld, statement: str) -> None:
    with closing(sqlite3.connect(world.file)) as raw, raw:
        raw.execute(f"{statement} WHERE name = 'shop'")


def restarted_with_damage(world: DiskWorld) -> None:
    world.die()
    run(world, DAMAGE)
    world.start()


def row(world: DiskWorld) -> tuple[int, str]:
    with closing(sqlite3.connect(world.file)) as raw:
        found: tuple[int, str] = raw.execute("SELECT version, state FROM shifts WHERE name = 'shop'").fetchone()
    return found


def reason(world: DiskWorld) -> str:
    (hold,) = (hold for hold in world.report().holds if hold.kind == HoldKind.UNREADABLE)
    return hold.reason


@pytest.mark.fault(
    on="SQLite",
    fault="what is saved of one shift cannot be read at a start",
    does="that shift stays where it is; all others climb, go back and take orders; goes on once it is mended",
    sees="hold `unreadable`: `saved state of SHIFT is not what shifter saved ...: restore a backup ...`, which pages",
    safe_within="at once",
)
def test_a_shift_that_cannot_be_read_at_a_start_holds_and_is_not_written_over(world: DiskWorld) -> None:
    shares = len(world.written_shares())
    restarted_with_damage(world)
    before = row(world)
    world.until_share(25, name="cart")

    assert world.written_shares()[shares:] == []
    assert row(world) == before
    assert reason(world).startswith(SAYS)
    assert world.report().page
    assert world.report().phase is Phase.SHIFTING
    assert world.reason().endswith("the share is the one that was last seen")
    assert {"shop"} == {line["shift"] for line in world.lines("shift.tick") if "unreadable" in line["holds"]}


def test_beside_a_shift_that_cannot_be_read_others_go_back(world: DiskWorld) -> None:
    restarted_with_damage(world)
    world.fail_target()
    world.until(Phase.ROLLED_BACK, name="cart")

    assert world.share("cart") == 0


def test_what_was_ordered_of_a_shift_that_cannot_be_read_is_obeyed_once_it_can(world: DiskWorld) -> None:
    restarted_with_damage(world)
    world.order(Verb.ROLLBACK)
    world.step(4)
    waited = world.share()
    run(world, MEND)
    world.until(Phase.ROLLED_BACK)

    assert waited == 5
    assert world.share() == 0
    assert HoldKind.UNREADABLE not in world.holds()


def test_a_shift_that_is_mended_goes_on_from_where_it_was(world: DiskWorld) -> None:
    restarted_with_damage(world)
    world.step(3)
    run(world, MEND)
    world.until_share(25)

    assert world.climbs()[-1] == 25


def test_a_shift_whose_unreadable_row_was_taken_out_is_not_begun_anew_before_a_start(world: DiskWorld) -> None:
    restarted_with_damage(world)
    world.step()
    run(world, "DELETE FROM shifts")
    world.step(5)

    assert world.share() == 5
    assert reason(world).startswith(SAYS)


def test_of_a_shift_of_which_nothing_can_be_read_is_told_that_it_may_be_under_way(world: DiskWorld) -> None:
    world.die()
    run(world, DAMAGE)
    run(world, "UPDATE reports SET report = '{}'")
    world.start()
    world.step(2)

    assert world.report().page
    assert world.report().written is None
    assert reason(world).startswith(SAYS)


def test_a_state_that_is_damaged_under_a_running_service_is_held_and_still_goes_back(world: DiskWorld) -> None:
    run(world, DAMAGE)
    world.step(12)
    held, stayed = reason(world), world.share()
    world.sides[Side.TARGET].error_percent = 100
    world.step(8)

    assert held.startswith(SAYS)
    assert (stayed, world.share()) == (5, 0)


def test_a_state_that_is_mended_under_a_running_service_is_believed(world: DiskWorld) -> None:
    run(world, DAMAGE)
    world.step(12)
    run(world, MEND)
    world.until_share(25)

    assert HoldKind.UNREADABLE not in world.holds()


@pytest.mark.parametrize("line", [("rollback", "shop", "--yes"), ("pause", "shop"), ("freeze",)])
def test_an_order_needs_no_state_that_can_be_read(world: DiskWorld, line: tuple[str, ...]) -> None:
    run(world, DAMAGE)
    ordered = world.command(*line)
    (order,) = world.saved.open_orders()

    assert ordered.exit_code == 0, ordered.output
    assert order.request.shift in {"shop", FLEET}
