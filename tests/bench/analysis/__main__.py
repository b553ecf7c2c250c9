"""The analysis bench: `make bench-analysis` (the full table) and `make bench-analysis-quick` (for CI).

Thousands of simulated migrations, the shipped decision and its peers side by side on the same scenarios. It exits
with 1 if a goal does not hold (full form) or points in the wrong direction (quick form). Seeds are fixed: two runs of
one version give the same figures.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from tests.bench.analysis.cost import cost_goal, cost_of
from tests.bench.analysis.goals import Goal, Table, at_most, goals_of
from tests.bench.analysis.jobs import FULL, QUICK, Form, compared_with_decide, jobs_of, measured, rules_for
from tests.bench.analysis.measure import Cell
from tests.bench.analysis.report import Results, goal_table, put_between_markers, write
from tests.bench.analysis.same_decisions import Compared
from tests.bench.analysis.scenarios import BASE_ERRORS
from tests.bench.analysis.wald import detection, wald_goals

PROCESSES: Final = 2
OUTPUT: Final = Path("build")
PAGE: Final = Path("docs/analysis.md")


def run(form: Form) -> Results:
    """Measure everything, with two processes; the first error ends it."""
    jobs, began = list(jobs_of(form)), time.monotonic()
    cells: list[Cell] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        rows = pool.submit(detection, form.wald_trials)
        same = [pool.submit(compared_with_decide, seed) for seed in range(form.comparisons)]
        for done in as_completed([pool.submit(measured, job) for job in jobs]):
            cells.append(done.result())
            _progress(len(cells), len(jobs), time.monotonic() - began)
        found, compared = rows.result(), [each.result() for each in same]
    cost = cost_of()
    order = {(job.rule, job.scenario, job.rate, job.base): index for index, job in enumerate(jobs)}
    cells.sort(key=lambda cell: order[cell.rule, cell.scenario, cell.rate, cell.base])
    goals = [*goals_of(Table.of(cells)), *wald_goals(found), same_decisions_goal(compared), cost_goal(cost)]
    says = {name: rule.says for name, rule in rules_for(min(BASE_ERRORS)).items()}
    return Results(form.name, says, cells, goals, found, cost)


def same_decisions_goal(compared: Sequence[Compared]) -> Goal:
    """Return the goal that the arrays decide as `decide` does."""
    trajectories = sum(each.trajectories for each in compared)
    found = [difference for each in compared for difference in each.differences]
    name = f"decisions unlike those of `decide`, in {trajectories:,} trajectories"
    return at_most(name, float(len(found)), 0.0, "", found[0] if found else "")


def _progress(done: int, jobs: int, seconds: float) -> None:
    if done % 25 == 0 or done == jobs:
        sys.stderr.write(f"{done} of {jobs} cells, {seconds:.0f} s\n")
        sys.stderr.flush()


def broken(form: Form, goals: Iterable[Goal]) -> list[Goal]:
    """Return the goals that make the run fail."""
    return [goal for goal in goals if goal.required and not (goal.points_right if form is QUICK else goal.holds)]


def main(arguments: Sequence[str]) -> int:
    """Run one form and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.analysis", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials, for CI: do goals point the right way?")
    form = QUICK if parser.parse_args(arguments).quick else FULL
    results = run(form)
    write(results, OUTPUT)
    if form is FULL and PAGE.exists():
        put_between_markers(PAGE, results)
    sys.stdout.write(goal_table(results.goals))
    wrong = broken(form, results.goals)
    for goal in wrong:
        sys.stderr.write(f"does not hold: {goal.name} ({goal.where})\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
