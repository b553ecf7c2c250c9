"""`policy lint`: everything wrong with files, found before the service reads them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Generator
from pathlib import Path, PosixPath
from typing import Self

import pytest
from click.testing import CliRunner, Result

from shifter.cli.main import cli
from shifter.cli.policies import lint_files, problem_lines
from shifter.errors import Problem

EXAMPLES = Path(__file__).parents[2] / "policies"
SHOP = (EXAMPLES / "shop.yaml").read_text(encoding="utf-8")


def _lint(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["policy", "lint", *map(str, args)])


def test_the_examples_are_clean(tmp_path: Path) -> None:
    ran = _lint(EXAMPLES)

    assert (ran.exit_code, ran.stdout) == (0, "")
    assert ran.stderr == f"{len(list(EXAMPLES.glob('*.yaml')))} files, no problems\n"
    assert not list(tmp_path.iterdir())


def test_a_problem_is_shown_with_its_line_and_a_caret(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP.replace("  onFailure:", "  onFailur:"))
    ran = _lint(file)
    number = SHOP[: SHOP.index("  onFailure:")].count("\n") + 1

    assert ran.exit_code == 2
    assert ran.stdout.splitlines() == [
        f'{file}:{number}:3 spec.onFailur unknown key (did you mean "onFailure"?)',
        f"{number:>6} |   onFailur: rollback",
        "       |   ^",
    ]
    assert ran.stderr == "1 file, 1 problem\n"


def test_all_problems_of_all_files_are_shown_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SHOP.replace("soak: 5m", "soak: 5").replace("minRequests: 100", "minRequests: 0"))
    (tmp_path / "b.yml").write_text("[")
    (tmp_path / "c.yaml").write_text("kind: Fleet\n")
    ran = _lint(tmp_path)

    assert ran.exit_code == 2
    assert ran.stderr == "3 files, 5 problems\n"


def test_json_lists_files_and_problems(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP.replace("steps: [1,", "steps: auto #"))
    ran = _lint(file, "-o", "json")
    number = SHOP[: SHOP.index("  steps:")].count("\n") + 1

    assert ran.exit_code == 2
    assert json.loads(ran.stdout) == {
        "apiVersion": "shifter.io/v1alpha1",
        "kind": "LintReport",
        "schemaVersion": 1,
        "files": [str(file)],
        "problems": [
            {
                "file": str(file),
                "line": number,
                "column": 3,
                "path": "spec.steps",
                "message": "'auto' is not supported yet by this version of shifter",
                "hint": "",
                "sourceLine": "  steps: auto # 5, 25, 50, 75, 95, 100]",
            }
        ],
    }


def test_a_fleet_may_be_checked_beside_and_counts_once(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text((EXAMPLES / "fleet.yaml").read_text() + "  concurrency: 3\n")

    assert _lint(EXAMPLES / "shop.yaml", "--fleet", EXAMPLES / "fleet.yaml").exit_code == 0
    ran = _lint(EXAMPLES / "shop.yaml", tmp_path, "--fleet", fleet)
    assert (ran.exit_code, ran.stderr) == (2, "2 files, 1 problem\n")
    assert "spec.concurrency unknown key" in ran.stdout


def test_a_policy_given_as_the_fleet_is_a_problem() -> None:
    ran = _lint(EXAMPLES / "fleet.yaml", "--fleet", EXAMPLES / "shop.yaml")

    assert ran.exit_code == 2
    assert "kind should be 'Fleet', found \"ShiftPolicy\"" in ran.stdout
    assert ran.stderr == "2 files, 1 problem\n"


@pytest.mark.parametrize(
    ("fleet_edges", "beside", "problems"),
    [
        (None, False, 1),
        ("[700000]", True, 0),
        ("[700000]", False, 0),
        ("[5]", True, 1),
        ("[]", True, 1),  # a broken fleet is its own problem, and says nothing about what fits
    ],
)
def test_a_latency_limit_must_lie_within_the_edges_of_the_fleet(
    tmp_path: Path,
    fleet_edges: str | None,
    beside: bool,  # noqa: FBT001 - a table
    problems: int,
) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP.replace("maxMs: 500", "maxMs: 700000"))
    fleet = tmp_path / "fleet.yaml"
    if fleet_edges is not None:
        text = (EXAMPLES / "fleet.yaml").read_text()
        fleet.write_text(text.replace("      podMatchers:", f"      edgesMs: {fleet_edges}\n      podMatchers:"))
        problems *= 2 if fleet_edges == "[]" else 1
    found = lint_files([tmp_path / "shop.yaml" if beside else tmp_path], fleet if beside else None)

    assert len(found.problems) == problems
    assert all(problem.line for problem in found.problems)


def test_links_in_a_circle_are_a_problem_and_the_rest_is_checked(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("a.yaml")
    ran = _lint(tmp_path, EXAMPLES / "shop.yaml")

    assert (ran.exit_code, ran.stderr) == (2, "2 files, 1 problem\n")
    assert ran.stdout == f"{tmp_path / 'a.yaml'} cannot be read: Too many levels of symbolic links\n"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ShiftPolcy", 'unknown kind "ShiftPolcy" (did you mean "ShiftPolicy"?)'),
        ("Deployment", 'unknown kind "Deployment" (known: ShiftPolicy, Fleet)'),
        ("3", "kind should be 'ShiftPolicy', found 3"),
    ],
)
def test_an_unknown_kind_is_a_problem_at_the_kind(tmp_path: Path, kind: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(SHOP.replace("kind: ShiftPolicy", f"kind: {kind}"))

    assert said in _lint(tmp_path).stdout


def test_policies_that_claim_the_same_are_problems_of_the_later_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SHOP)
    (tmp_path / "b.yaml").write_text(SHOP.replace("name: shop ", "name: shop2 "))
    ran = _lint(tmp_path)
    first_lines = [line for line in ran.stdout.splitlines() if ".yaml:" in line]

    assert ran.exit_code == 2
    assert [line.split()[1] for line in first_lines] == ["spec.namespace", "spec.traffic.clb.routes.0"]
    assert all(line.startswith(f"{tmp_path / 'b.yaml'}:") for line in first_lines)


def test_a_file_given_twice_does_not_conflict_with_itself(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "link.yaml").symlink_to("shop.yaml")
    ran = _lint(tmp_path / "shop.yaml", tmp_path, tmp_path / "shop.yaml")

    assert (ran.exit_code, ran.stderr) == (0, "1 file, no problems\n")


def test_a_path_that_does_not_exist_is_a_problem(tmp_path: Path) -> None:
    ran = _lint(tmp_path / "none.yaml")

    assert (ran.exit_code, ran.stdout) == (2, f"{tmp_path / 'none.yaml'} cannot be read: No such file or directory\n")


def test_a_directory_without_files_is_a_problem(tmp_path: Path) -> None:
    ran = _lint(tmp_path)

    assert (ran.exit_code, ran.stdout) == (2, f"{tmp_path} has no *.yaml or *.yml file\n")


class _Forbidden(PosixPath):
    """A directory that nobody may list; tests may run as root, who may list them all."""

    def iterdir(self) -> Generator[Self, None, None]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_directory_that_cannot_be_listed_is_a_problem_and_the_rest_is_checked(tmp_path: Path) -> None:
    found = lint_files([_Forbidden(tmp_path), EXAMPLES / "shop.yaml"])

    assert found.files == [str(EXAMPLES / "shop.yaml")]
    assert found.problems == [Problem(str(tmp_path), 0, 0, "", "cannot be listed: Permission denied")]


def test_no_path_is_a_usage_error() -> None:
    ran = _lint()

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: Missing argument")


def test_the_caret_stands_under_the_place_also_behind_wide_characters() -> None:
    lines = list(problem_lines(Problem("a.yaml", 3, 4, "x", "m", "", "中文\tx\x1b")))

    assert lines == ["a.yaml:3:4 x m", "     3 | 中文 x ", "       |      ^"]


def test_a_place_beyond_the_shown_part_of_a_line_has_no_caret() -> None:
    assert len(list(problem_lines(Problem("a.yaml", 3, 400, "x", "m", "", "short")))) == 2


def test_escape_sequences_in_a_file_never_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("\x1b[2J: \x9b\u202e\n")

    assert not set(_lint(tmp_path).output) & set("\x1b\x9b\u202e")
