"""What the bench writes: one JSON document, the tables of docs/analysis.md, and the charts.

The document's figures stand between two markers, so that its text stays a person's. A part is shown in percent, a time
in minutes, harm in requests; `-` means that it never happened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.analysis.charts import Axis, Line, chart, decades
from tests.bench.analysis.goals import MUST, Goal, Table
from tests.bench.analysis.measure import Cell
from tests.bench.analysis.scenarios import BASE_ERRORS, RATES, SCENARIOS, Group, Scenario

BEGIN: Final = "<!-- figures: begin (make bench-analysis) -->"
END: Final = "<!-- figures: end -->"
CURVE: Final = (("clean", 1.0), ("x1.5", 1.5), ("x2", 2.0), ("x5", 5.0), ("x20", 20.0))
MINUTES: Final = (1.0, 3.0, 10.0, 30.0, 100.0)
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Results:
    """Everything one run found. `detection` are rows of Wald's bound, `cost` processor time; see their modules."""

    form: str
    rules: Mapping[str, str]
    cells: Sequence[Cell]
    goals: Sequence[Goal]
    detection: Sequence[Mapping[str, Any]]
    cost: Mapping[str, float]

    @property
    def table(self) -> Table:
        return Table.of(self.cells)


def document(results: Results) -> dict[str, Any]:
    """Return the JSON document. NaN, which JSON has not, is null."""
    scenarios = {each.name: {"group": each.group, "heldOut": each.held_out} for each in SCENARIOS}
    found = {
        "form": results.form,
        "rules": dict(results.rules),
        "scenarios": scenarios,
        "cells": [asdict(cell) for cell in results.cells],
        "goals": [asdict(goal) for goal in results.goals],
        "detection": [dict(row) for row in results.detection],
        "cost": dict(results.cost),
    }
    plain = _plain(found)
    assert isinstance(plain, dict)
    return plain


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {_camel(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


def _camel(key: str) -> str:
    if " " in key or not key.islower():
        return key
    first, *others = key.split("_")
    return first + "".join(each.title() for each in others) if key.isidentifier() and others else key


def write(results: Results, folder: Path) -> None:
    """Write the document, the tables and the charts into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench-analysis.json").write_text(json.dumps(document(results), indent=1) + "\n")
    (folder / "bench-analysis.md").write_text(markdown(results))
    for name, drawn in charts(results.table).items():
        (folder / f"bench-analysis-{name}.svg").write_text(drawn)


def put_between_markers(page: Path, results: Results) -> None:
    """Renew the figures in a document.

    Raises:
        ValueError: the document has no markers.
    """
    text = page.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for figures: {BEGIN} ... {END}")
    page.write_text(f"{head}{begin}\n\n{markdown(results)}\n{end}{tail}")


def markdown(results: Results) -> str:
    """Return all tables."""
    names = [name for name in results.rules if any(cell.rule == name for cell in results.cells)]
    parts = [
        "### Goals\n",
        goal_table(results.goals),
        "\n### False rollbacks, pooled over all traffic\n",
        _quiet_table(results.table, names),
        "\n### Time of a clean migration, minutes (median)\n",
        _time_table(results.table, names),
        "\n### Regressions: rolled back / mean harm in requests / median minutes to the rollback\n",
        _regression_table(results.table, names),
        *_detection_table(results.detection),
        *_cost_lines(results.cost),
    ]
    return "\n".join(parts)


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def goal_table(goals: Iterable[Goal]) -> str:
    """Return the goals as a Markdown table."""
    rows = []
    for goal in goals:
        value = _shown(goal.value, goal.unit)
        if goal.upper is not None:
            value += f" of {goal.trials:,} trials; 95 % upper limit {_shown(goal.upper, 'part')}"
        word = "yes" if goal.holds else "**no**" if goal.required else "no (out of reach, see Wald)"
        rows.append((goal.name, value, _shown(goal.limit, goal.unit), word, goal.where, "yes" if goal.tuned else "no"))
    return _rows(("goal", "value", "limit", "holds", "decided by", "tuned on these"), rows)


def _shown(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "never"
    if unit == "part":
        return f"{100 * value:.3g} %"
    if unit == "ratio" and 0 < value < 1:
        return f"1/{1 / value:.3g}"
    return f"{value:.3g} {'' if unit == 'ratio' else unit}".strip()


def _quiet_table(table: Table, names: Sequence[str]) -> str:
    rows = []
    for scenario in (each for each in SCENARIOS if each.group is Group.QUIET):
        row = [_title(scenario)]
        for name in names:
            cells = table.of_rule(name, [scenario.name], RATES)
            trials, hits = sum(cell.trials for cell in cells), sum(cell.rolled_back for cell in cells)
            worst = max((cell.rolled_back_part.value for cell in cells), default=0.0)
            row.append(f"{100 * hits / trials:.3g} % ({100 * worst:.3g} %)" if trials else "-")
        rows.append(row)
    return _rows(("no regression (worst cell)", *names), rows)


def _title(scenario: Scenario) -> str:
    return f"{scenario.name} (held out)" if scenario.held_out else scenario.name


def _time_table(table: Table, names: Sequence[str]) -> str:
    rows = []
    for rate in RATES:
        for base in BASE_ERRORS:
            cells = (table.cells.get((name, "clean", rate, base)) for name in names)
            shown = [_number(cell.minutes_to_complete.value) if cell else "-" for cell in cells]
            rows.append([f"{rate:g} rps, {100 * base:g} %", *shown])
    return _rows(("traffic, base error", *names), rows)


def _regression_table(table: Table, names: Sequence[str]) -> str:
    rows = []
    places = sorted({(cell.rate, cell.base) for cell in table.cells.values()})
    for scenario in (each for each in SCENARIOS if each.group is not Group.QUIET):
        for rate, base in places:
            cells = [table.cells.get((name, scenario.name, rate, base)) for name in names]
            if any(cells):
                rows.append([_title(scenario), f"{rate:g}", f"{100 * base:g} %", *map(_outcome, cells)])
    return _rows(("regression", "rps", "base error", *names), rows)


def _outcome(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    late = _number(cell.minutes_to_roll_back.value) if cell.rolled_back_part.value >= 0.5 else "-"
    return f"{100 * cell.rolled_back_part.value:.0f} % / {cell.harm_mean.value:,.0f} / {late}"


def _number(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "-"


def _detection_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    header = tuple(rows[0])
    shown = [[f"{row[key]:.3g}" if isinstance(row[key], float) else str(row[key]) for key in header] for row in rows]
    return ["\n### Detection against Wald's bound\n", _rows(header, shown)]


def _cost_lines(cost: Mapping[str, float]) -> list[str]:
    return ["\n### Processor time\n", _rows(tuple(cost), [[f"{value:.3g}" for value in cost.values()]])] if cost else []


def charts(table: Table) -> dict[str, str]:
    """Return the charts by name: harm against traffic, time to complete, operating curves."""
    rules = list(dict.fromkeys(rule for rule, *_ in table.cells))
    return {
        "harm": _harm_chart(table, rules),
        "time": _time_chart(table, rules),
        "operating": _operating_chart(table, rules),
    }


def _harm_chart(table: Table, rules: Sequence[str]) -> str:
    lines = []
    for rule in rules:
        points = []
        for rate in RATES:
            harm = [cell.harm_mean.value for cell in table.of_rule(rule, MUST, [rate]) if cell.harm_mean.value > 0]
            if harm:
                points.append((rate, math.exp(sum(map(math.log, harm)) / len(harm))))
        lines.append(Line(rule, tuple(points)))
    every = [y for line in lines for _, y in line.points]
    x, y = Axis("requests per second", RATES, logarithmic=True), Axis("requests", decades(every), logarithmic=True)
    return chart("Harm of regressions that must be caught (geometric mean)", x, y, _drawn(lines))


def _time_chart(table: Table, rules: Sequence[str]) -> str:
    lines = []
    for rule in rules:
        points = []
        for rate in RATES:
            minutes = [cell.minutes_to_complete.value for cell in table.of_rule(rule, ["clean"], [rate])]
            if minutes and all(map(math.isfinite, minutes)):
                points.append((rate, max(minutes)))
        lines.append(Line(rule, tuple(points)))
    x, y = Axis("requests per second", RATES, logarithmic=True), Axis("minutes", MINUTES, logarithmic=True)
    return chart("A clean migration takes (median; the slower base error)", x, y, _drawn(lines))


def _operating_chart(table: Table, rules: Sequence[str], rate: float = 100.0, base: float = 0.01) -> str:
    lines = []
    for rule in rules:
        cells = ((factor, table.cells.get((rule, name, rate, base))) for name, factor in CURVE)
        lines.append(
            Line(rule, tuple((factor, 100 * cell.rolled_back_part.value) for factor, cell in cells if cell is not None))
        )
    x = Axis("the target's errors are so many times the source's", tuple(f for _, f in CURVE), logarithmic=True)
    y = Axis("rolled back, %", (0.0, 20.0, 40.0, 60.0, 80.0, 100.0))
    return chart(f"Operating curves at {rate:g} rps and {100 * base:g} % base error", x, y, _drawn(lines))


def _drawn(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.points]
