"""A week's memory: what counts as held, what counts as grown, and that an hour of it is what it should be.

The week itself is `make sim-week`; here it is two days of one hour.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.sim.held import Held, held_by
from tests.sim.journal import Journal
from tests.sim.week import Day, Ears, Week, grown, main

LARGE = 1_000_000


def a_day(held: float, blocks: float, **objects: int) -> Day:
    return Day(held, blocks, Held(round(held), Counter(objects)))


@pytest.fixture
def week(tmp_path: Path) -> Iterator[Week]:
    week = Week(tmp_path, hours=1)
    yield week
    week.close()


def test_what_can_be_reached_is_held() -> None:
    large = bytes(LARGE)

    def closes_over_it() -> int:
        return len(large)

    closes_over_it.__module__ = "shifter.somewhere"
    before = held_by(()).size_bytes

    assert held_by([{"deep": [(large,)]}]).size_bytes - before > LARGE
    assert held_by([closes_over_it]).size_bytes - before > LARGE


def test_what_is_reached_twice_is_held_once() -> None:
    large = bytes(LARGE)

    assert held_by([large, [large]]).size_bytes - held_by(()).size_bytes < 1.5 * LARGE


def test_what_the_world_keeps_is_not_held() -> None:
    lines = [bytes(LARGE)]
    before = held_by(()).size_bytes

    assert held_by([Journal(show=lambda line: lines.append(line.encode()))]).size_bytes == before


def test_what_a_module_of_shifter_keeps_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("shifter.keeps")
    before = held_by(()).size_bytes
    vars(module)["kept"] = [bytes(LARGE)]
    monkeypatch.setitem(sys.modules, module.__name__, module)

    assert held_by(()).size_bytes - before > LARGE


def test_a_week_is_flat_if_the_last_day_holds_about_what_the_second_did() -> None:
    assert grown([a_day(50, 90), a_day(100, 100), a_day(300, 100), a_day(119, 119)]) == []


@pytest.mark.parametrize(
    ("last", "what"),
    [(a_day(121, 100, Tick=70), "what the service holds"), (a_day(100, 121, Tick=70), "what is allocated in all")],
)
def test_what_grew_is_told_with_what_there_is_more_of(last: Day, what: str) -> None:
    told = grown([a_day(100, 100), a_day(100, 100, Tick=50, dict=9), last])

    assert told == [f"{what} is 1.21 times as much as on day 2, at most 1.2 is allowed: Tick +20"]


def test_a_bug_is_heard_in_the_log() -> None:
    ears = Ears()

    ears.write('{"event": "shift.tick"}\n')
    ears.write('{"event": "shift.error", "exception": "Traceback: ZeroDivisionError"}\n')

    assert (ears.lines, ears.bugs) == (2, ["Traceback: ZeroDivisionError"])


def test_what_a_shift_keeps_is_part_of_what_a_service_holds(week: Week) -> None:
    week.hour()
    (process,) = (machine.process for machine in week.world.machines.values())
    (shifts,) = (each for each in process.service if isinstance(each, dict) and "home" in each)
    before = held_by(process.service)

    shifts["home"].policy_problem = "x" * LARGE

    assert held_by(process.service).size_bytes - before.size_bytes > LARGE / 2
    assert before.size_bytes < LARGE * 10


def test_the_command_says_what_was_held_after_each_day_and_fails_beyond_the_limit() -> None:
    said: list[str] = []

    code = main(1, said.append, days=2, hours=1, most=0.9)

    assert [line.partition(":")[0] for line in said[:2]] == ["day 1", "day 2"]
    assert [line.partition(" is 1")[0] for line in said[2:-1]] == ["what the service holds", "what is allocated in all"]
    assert "held after day 2" in said[-1]
    assert "ratio 1.00" in said[-1]
    assert " 0 times completed" not in said[-1]
    assert code == 1
