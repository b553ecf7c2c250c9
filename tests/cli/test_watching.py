"""`watch`: follows shifts and ends by itself, by Ctrl-C, or never."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shifter.cli.views import views
from shifter.cli.watching import fitting, most_urgent

if TYPE_CHECKING:
    from tests.cli.conftest import World


def test_watch_prints_a_line_when_something_changed_and_only_then(world: World) -> None:
    world.shift()

    def tick() -> None:
        looks = len(world.slept)
        world.shift(reason=f"soaking at tcm 75 · istio 25: {180 + looks} of 300 s of evidence")
        if looks >= 3:
            world.shift(verdict="fail", reason="errors: 7 %, limit 0.6 %")

    world.meanwhile = tick
    ran = world.run("watch", "--for", "20s", "--every", "5s")

    assert ran.exit_code == 0
    assert [line.split("   ")[0] for line in ran.stdout.splitlines()] == ["20:00:00", "20:00:15"]
    assert ran.stdout.splitlines()[1].endswith("fail   -   errors: 7 %, limit 0.6 %")
    assert world.slept == [5, 5, 5, 5]


def test_watch_never_oversleeps_its_end(world: World) -> None:
    world.shift()
    world.run("watch", "--for", "3s")

    assert world.slept == [2, 1]


def test_watch_takes_names(world: World) -> None:
    world.shift()
    world.shift("cart")

    assert "cart" not in world.run("watch", "shop", "--for", "1s").stdout


def test_watch_shows_shifts_that_appear(world: World) -> None:
    def appear() -> None:
        world.shift("cart")

    world.meanwhile = appear

    assert "cart" in world.run("watch", "--for", "5s").stdout


def test_ctrl_c_stops_watching_and_says_that_the_migration_goes_on(world: World) -> None:
    world.shift()

    def interrupt() -> None:
        raise KeyboardInterrupt

    world.meanwhile = interrupt
    for terminal in (False, True):
        world.terminal = terminal
        ran = world.run("watch")

        assert ran.exit_code == 130
        assert ran.stderr == "stopped watching; the migration goes on\n"


def test_watch_on_a_terminal_keeps_a_table_current(world: World) -> None:
    world.shift()
    world.terminal = True
    ran = world.run("watch", "--for", "1s")

    assert ran.exit_code == 0
    assert "Ctrl-C stops watching, not the migration" in ran.stdout


def test_a_store_that_is_away_for_a_while_is_looked_at_again(world: World) -> None:
    world.shift()

    def away_and_back() -> None:
        world.store.down = len(world.slept) < 3
        if not world.store.down:
            world.shift(verdict="fail")

    world.meanwhile = away_and_back
    ran = world.run("watch", "--for", "10s")

    assert ran.exit_code == 0
    assert ran.stderr == "note: state store in memory is down; looking again\n"
    assert [" fail " in line for line in ran.stdout.splitlines()] == [False, True]


def test_watch_says_once_that_the_service_is_gone_and_once_that_it_is_back(world: World) -> None:
    world.shift()

    def gone_and_back() -> None:
        world.served = len(world.slept) not in {1, 2}

    world.meanwhile = gone_and_back
    ran = world.run("watch", "--for", "8s")

    assert [line[:30] for line in ran.stderr.splitlines()] == [
        "note: no service runs on this ",
        "note: the service is back",
    ]


def test_watch_on_a_terminal_says_under_the_table_that_no_service_runs(world: World) -> None:
    world.shift()
    world.terminal, world.served = True, False

    assert "no service runs on this store" in world.run("watch", "--for", "1s").stdout


def test_watch_goes_without_columns_where_they_have_no_room() -> None:
    row = [["shop", "Shifting", "tcm 75 · istio 25", "2/7", "pass", "-", "soaking at tcm 75 · istio 25: 180 of 300 s"]]

    assert fitting(row, 200)[0] == ["SHIFT", "PHASE", "SPLIT", "STEP", "VERDICT", "HOLDS", "REASON"]
    assert fitting(row, 80)[0] == ["SHIFT", "PHASE", "SPLIT", "VERDICT", "REASON"]
    assert fitting(row, 40)[0] == ["SHIFT", "PHASE", "SPLIT"]
    assert fitting(row, 1)[1] == [["shop", "Shifting", "tcm 75 · istio 25"]]


def test_as_many_shifts_as_fit_are_kept_in_their_order(world: World) -> None:
    for name, changes in (("a", {}), ("b", {"phase": "Waiting"}), ("c", {"page": True}), ("d", {"phase": "Completed"})):
        world.shift(name, **changes)
    found = views(world.store)

    assert [view.name for view in most_urgent(found, 2)] == ["a", "c"]
    assert [view.name for view in most_urgent(found, 9)] == ["a", "b", "c", "d"]
