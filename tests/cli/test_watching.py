"""`watch`: follows shifts and ends by itself, by Ctrl-C, or never."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shifter.cli.views import views
from shifter.cli.watching import drawn_cells, fitting, most_urgent

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


LONG_REASON = "holding: provider: DescribeTargets: InternalError: " + "the cloud is not well today, " * 15


@pytest.mark.parametrize("columns", [200, 80, 60, 40, 36])
def test_on_every_width_the_mark_of_who_pages_stays_beside_the_name(
    world: World, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "24")
    world.shift()
    world.shift("cart", page=True, reason=LONG_REASON)
    world.terminal = True
    lines = world.run("watch", "--for", "1s").stdout.splitlines()

    assert any(line.startswith("! cart ") for line in lines)
    assert any(line.startswith("shop ") for line in lines)
    assert "! somebody has to look" in " ".join(" ".join(lines).split())


def test_where_nobody_pages_nothing_is_marked(world: World) -> None:
    world.shift()
    for world.terminal in (False, True):
        assert "!" not in world.run("watch", "--for", "1s").stdout


def test_in_a_pipe_too_who_pages_is_marked_and_that_is_a_change(world: World) -> None:
    world.shift()

    def page() -> None:
        world.shift(page=True)

    world.meanwhile = page
    lines = world.run("watch", "--for", "5s").stdout.splitlines()

    assert [line.split("   ")[1] for line in lines] == ["shop", "! shop"]


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_a_long_reason_takes_at_most_two_lines(world: World, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "24")
    world.shift("a-very-long-name-of-a-shift")
    world.shift(page=True, reason=LONG_REASON)
    world.terminal = True
    lines = [line.rstrip() for line in world.run("watch", "--for", "1s").stdout.splitlines()]
    begin = next(index for index, line in enumerate(lines) if line.startswith("! shop"))

    assert "Shifting" in lines[begin]
    assert lines[begin + 1].endswith("…")
    assert lines[begin + 1].startswith(" " * 30)
    assert not lines[begin + 2].startswith(" " * 30) or "Ctrl-C" in lines[begin + 2]
    assert max(len(line) for line in lines) <= columns


def test_of_many_shifts_each_reason_takes_one_line_so_that_all_have_room() -> None:
    row = ["shop", "Shifting", "tcm 75 · istio 25", "2/7", "pass", "-", LONG_REASON]
    few, many = drawn_cells([row] * 9, 80, 18)[1], drawn_cells([row] * 10, 80, 18)[1]

    assert {cells[-1].count("\n") for cells in few} == {1}
    assert {cells[-1].count("\n") for cells in many} == {0}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "holding: provider: InternalError (request 0b7c81f2-7a7e-4c55-9a0c-d5d9c3b6a1e0)",
            "holding: provider: InternalError (request f3d1aa00-1b2c-4d5e-8f90-a1b2c3d4e5f6)",
        ),
        ("holding: provider: InternalError (request abc-x)", "holding: provider: InternalError (request abd-y)"),
        ("RequestId DEADBEEF-7a7e-4c55-9a0c-d5d9c3b6a1e0", "RequestId 0b7c81f2-7a7e-4c55-9a0c-d5d9c3b6a1e0"),
        ("the newest evidence is 119s old", "the newest evidence is 2m old"),
        ("soaked 59m of 3h5m", "soaked 1h of 3h5m"),
        ("istio 0.25 %, limit 1e+03 ms", "istio 12 %, limit 999 ms"),
        ("trace 4bf92f3577b34da6a3ce929d0e0e4736", "trace 00f067aa0ba902b7aabbccddeeff0011"),
    ],
)
def test_in_a_pipe_a_number_or_the_id_of_a_request_is_no_news(world: World, before: str, after: str) -> None:
    world.shift(reason=before)

    def tick() -> None:
        world.shift(reason=after)

    world.meanwhile = tick

    assert len(world.run("watch", "--for", "10s").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "holding: provider: AuthFailure (request 0b7c81f2-7a7e-4c55-9a0c-d5d9c3b6a1e0)"},
        {"written": 60.0},
        {"verdict": "fail"},
        {"step": 3},
    ],
)
def test_in_a_pipe_everything_else_is_news(world: World, changes: dict[str, object]) -> None:
    reason = "holding: provider: InternalError (request 0b7c81f2-7a7e-4c55-9a0c-d5d9c3b6a1e0)"
    world.shift(reason=reason)

    def tick() -> None:
        world.shift(**{"reason": reason, **changes})  # type: ignore[arg-type]

    world.meanwhile = tick

    assert len(world.run("watch", "--for", "10s").stdout.splitlines()) == 2


def test_how_long_the_service_has_been_silent_is_no_news_either(world: World) -> None:
    world.shift(ago=100)

    assert len(world.run("watch", "--for", "10m", "--every", "10s").stderr.splitlines()) == 1
