"""What the bench concludes from its cells: goals hold, or point the right way, by the stated limits only."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.analysis.goals import Goal, Table, goals_of
from tests.bench.analysis.measure import Cell, Value
from tests.bench.analysis.report import BEGIN, END, Results, charts, document, markdown, put_between_markers, write
from tests.bench.analysis.scenarios import RATES

NEVER = Value(math.nan, math.nan, math.nan)


def a_cell(rule: str = "shifter", scenario: str = "clean", rolled_back: int = 0, **changes: float) -> Cell:
    trials = int(changes.pop("trials", 1000))
    harm = changes.pop("harm", 10.0)
    minutes = changes.pop("minutes", 4.0)
    part = rolled_back / trials
    return Cell(
        scenario=scenario,
        rule=rule,
        rate=changes.pop("rate", 100.0),
        base=changes.pop("base", 0.01),
        trials=trials,
        rolled_back=rolled_back,
        completed=trials - rolled_back,
        rolled_back_part=Value(part, part, part),
        harm_mean=Value(harm, harm, harm),
        harm_p95=Value(harm, harm, harm),
        minutes_to_complete=Value(minutes, minutes, minutes),
        minutes_to_roll_back=NEVER,
        minutes_late_p95=changes.pop("late", 1.0),
    )


def the_goal(name: str, *cells: Cell) -> Goal:
    [found] = [goal for goal in goals_of(Table.of(cells)) if goal.name == name]
    return found


@pytest.mark.parametrize(("trials", "holds"), [(48_000, True), (1000, False)])
def test_a_pooled_rate_holds_by_its_upper_limit(trials: int, *, holds: bool) -> None:
    goal = the_goal("false rollbacks, clean", a_cell(trials=trials))

    assert goal.holds is holds
    assert goal.points_right
    assert goal.trials == trials
    assert goal.upper is not None


def test_one_rollback_in_an_outage_is_one_too_many() -> None:
    goal = the_goal(
        "false rollbacks, both-sides outage at >= 5 rps", a_cell(scenario="both-sides outage", rolled_back=1)
    )

    assert not goal.holds


def test_the_worst_cell_decides() -> None:
    cells = (a_cell(scenario="clean"), a_cell(scenario="clusters of 10", rolled_back=30))

    goal = the_goal("false rollbacks, worst cell", *cells)

    assert goal.value == 0.03
    assert not goal.holds
    assert goal.where.startswith("clusters of 10")


def test_the_worst_of_many_cells_points_the_wrong_way_only_if_chance_cannot_make_it() -> None:
    worst = a_cell(scenario="clusters of 10", trials=200, rolled_back=9)
    others = [a_cell(scenario="clean", rate=rate, base=base, trials=200) for rate in RATES for base in (0.001, 0.01)]

    alone = the_goal("false rollbacks, worst cell", worst)
    among_many = the_goal("false rollbacks, worst cell", worst, *others)

    assert (alone.points_right, among_many.points_right) == (False, True)
    assert not among_many.holds


def test_harm_is_compared_cell_by_cell() -> None:
    cells = (
        a_cell(scenario="x20", harm=10.0, rolled_back=1000),
        a_cell("flagger", "x20", harm=200.0, rolled_back=1000),
        a_cell(scenario="100%", harm=10.0, rolled_back=1000),
        a_cell("flagger", "100%", harm=800.0, rolled_back=10),
    )

    overall = the_goal("harm against Flagger's, must-catch at >= 5 rps", *cells)
    both = the_goal("harm against Flagger's, where both catch", *cells)

    assert overall.value == pytest.approx(1 / 40)
    assert both.value == pytest.approx(1 / 20)


def test_a_late_regression_that_is_missed_once_was_never_caught_in_time() -> None:
    goal = the_goal(
        "late x5 of 1 % at >= 100 rps: caught within, 95th percentile",
        a_cell(scenario="x5 after 1 h", rolled_back=999),
    )

    assert goal.value == math.inf
    assert not goal.points_right


def test_a_dead_target_may_cost_25_requests_or_half_a_second() -> None:
    goal = the_goal("a dead target costs", a_cell(scenario="100%", harm=60.0, rolled_back=1000))

    assert goal.limit == 50
    assert (goal.holds, goal.points_right) == (False, True)


def results() -> Results:
    cells = [a_cell(rate=rate) for rate in RATES] + [a_cell("flagger", "x5", rolled_back=1000)]
    rows = [{"share": 0.5, "regression": "x2", "one metric": 1.25}]
    rules = {"shifter": "ours", "flagger": "theirs"}
    return Results("quick", rules, cells, goals_of(Table.of(cells)), rows, {"metrics": 7.0})


def test_the_document_is_json_without_nan(tmp_path: Path) -> None:
    write(results(), tmp_path)

    found = json.loads((tmp_path / "bench-analysis.json").read_text())
    assert found == document(results())
    assert found["cells"][0]["minutesToRollBack"]["value"] is None
    assert {"name", "value", "limit", "holds"} <= found["goals"][0].keys()


def test_figures_go_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "analysis.md"
    page.write_text(f"before\n{BEGIN}\nold figures\n{END}\nafter\n")

    put_between_markers(page, results())

    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\n### Goals")
    assert text.endswith(f"{END}\nafter\n")
    assert "old figures" not in text


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "analysis.md"
    page.write_text("no place\n")

    with pytest.raises(ValueError, match="no place for figures"):
        put_between_markers(page, results())


def test_what_never_happened_is_a_dash() -> None:
    assert "| x5 | 100 | 1 % | - | 100 % / 10 / - |" in markdown(results())


def test_charts_are_well_formed() -> None:
    drawn = charts(results().table)

    assert set(drawn) == {"harm", "time", "operating"}
    for each in drawn.values():
        assert ET.fromstring(each).tag.endswith("svg")  # noqa: S314 - it was written two lines above
