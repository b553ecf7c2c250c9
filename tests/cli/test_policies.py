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
from shifter.cli.policies import problem_lines
from shifter.errors import Problem
from shifter.files.lint import lint_files

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
    (tmp_path / "a.yaml").write_text(SHOP.replace("soak: 1m", "soak: 5").replace("maxPercent: 1 ", "maxPercent: 0 "))
    (tmp_path / "b.yml").write_text("[")
    (tmp_path / "c.yaml").write_text("kind: Fleet\n")
    ran = _lint(tmp_path)

    assert ran.exit_code == 2
    assert ran.stderr == "3 files, 5 problems\n"


def test_json_lists_files_and_problems(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP.replace("steps: auto", "steps: automatic"))
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
                "column": 10,
                "path": "spec.steps",
                "message": 'should be a list, found "automatic"',
                "hint": "write auto, or [first, second] or one '- ' line per entry",
                "sourceLine": "  steps: automatic",
                "rule": "wrong-type",
            }
        ],
        "warnings": [],
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


@pytest.mark.fault(
    on="policy files",
    fault="a tolerance that is not below the margin, also where the other half is the default",
    does="refused; nothing is enforced",
    sees="`policy lint`: the tolerance ... is not below the margin ...: what is not blamed could never be proven safe",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("before", "after", "at", "numbers"),
    [
        (
            "tolerance: {ratio: 1.1, percent: 0.01}",
            "tolerance: {ratio: 2, percent: 5}",
            "      margin: {ratio: 1.5",
            "2 times tcm and 5 points) is not below the margin (1.5 times tcm and 0.1 points)",
        ),
        (
            "margin: {ratio: 1.5, percent: 0.1}",
            "margin: {ratio: 1, percent: 0.1}",
            "      margin: {ratio: 1,",
            "1.1 times tcm and 0.01 points) is not below the margin (1 times tcm and 0.1 points)",
        ),
        (
            "      maxMs: 500 ",
            "      tolerance: {ratio: 1.25, percent: 0.5} ",
            "      tolerance: {ratio: 1.25",
            "1.25 times tcm and 0.5 points) is not below the margin (1.5 times tcm and 0.5 points)",
        ),
        (
            "      maxMs: 500 ",
            "      margin: {ratio: 1.25, percent: 0.1} ",
            "      margin: {ratio: 1.25",
            "1.25 times tcm and 0.2 points) is not below the margin (1.25 times tcm and 0.1 points)",
        ),
    ],
)
def test_margins_that_contradict_each_other_are_refused_with_the_reason_at_what_the_file_says(
    tmp_path: Path, before: str, after: str, at: str, numbers: str
) -> None:
    text = SHOP.replace(before, after, 1)
    (tmp_path / "a.yaml").write_text(text)
    ran = _lint(tmp_path)
    line = text[: text.index(at)].count("\n") + 1
    first, source, caret = ran.stdout.splitlines()

    assert text != SHOP
    assert (ran.exit_code, ran.stderr) == (2, "1 file, 1 problem\n")
    assert first.startswith(f"{tmp_path / 'a.yaml'}:{line}:7 spec.analysis.")
    assert f"the tolerance ({numbers}: what is not blamed could never be proven safe" in first
    assert source.index(at.strip()) == caret.index("^")


@pytest.mark.parametrize(
    ("before", "key", "hint"),
    [
        ("    hold: 4m", "    window: 5m", "`hold` says how long a share is kept"),
        ("    hold: 4m", "    minRequests: 100", "`blastRadius` says what a step may cost"),
        ("      maxPercent: 1", "      overSourcePercent: 0.5", "write `tolerance: {ratio: 1.1, percent: 0.5},"),
        ("      maxMs: 500", "      overSourceRatio: 1.5", "write `tolerance: {ratio: 1.5, percent: 0.2}, margin: "),
    ],
)
def test_a_key_of_an_earlier_version_is_refused_at_its_place_with_what_says_it_now(
    tmp_path: Path, before: str, key: str, hint: str
) -> None:
    text = SHOP.replace(before, f"{key}\n{before}", 1)
    (tmp_path / "a.yaml").write_text(text)
    ran = _lint(tmp_path, "-o", "json")
    (problem,) = json.loads(ran.stdout)["problems"]

    assert ran.exit_code == 2
    assert (problem["line"], problem["column"]) == (
        text[: text.index(key)].count("\n") + 1,
        len(key) - len(key.strip()) + 1,
    )
    assert problem["message"].startswith(
        "not used any more: evidence is weighed instead of held against a fixed window"
    )
    assert hint in problem["hint"]
    assert problem["rule"] == "retired"


@pytest.mark.parametrize(
    ("before", "after", "path", "said"),
    [
        (
            "maxMs: 500",
            "maxMs: 400",
            "analysis.latency.maxMs",
            "the next edge is the limit, 500 ms; 250 is one as well",
        ),
        ("maxMs: 500", "maxMs: 0.2", "analysis.latency.maxMs", "the next edge is the limit, 0.5 ms"),
        ("soak: 1m", "soak: 4m", "analysis.hold", "hold (4m) is over when the soak (4m) is: no step waits for proof"),
        ("    hold: 4m", "    #", "", ""),
        ("onFailure: rollback", "onFailure: hold", "onFailure", "nothing goes back by itself: a failing Istio keeps"),
        (
            "maxPercent: 1 ",
            "maxPercent: 0.01 ",
            "analysis.errors.maxPercent",
            "cannot be enforced: the tolerance allows 0.01",
        ),
        ("steps: auto", "steps: [60, 100]", "steps.0", "it waits for the whole hold, and comes then unseen"),
        (
            "steps: auto",
            "steps: [5, 100]",
            "steps.0",
            "failed requests before it is found out, and blastRadius allows 100: it waits for all of hold (4m)",
        ),
        ("steps: auto", "steps: [1, 5, 100]", "", ""),
        (
            "blastRadius: {requests: 25, seconds: 1}",
            "blastRadius: {requests: 1, seconds: 0.1}",
            "steps",
            "smaller step",
        ),
        ("    latency:", "    latency: {enabled: false}  #", "", ""),
    ],
)
def test_what_a_valid_policy_does_and_its_writer_may_overlook_is_a_warning(
    tmp_path: Path, before: str, after: str, path: str, said: str
) -> None:
    text = SHOP.replace(before, after, 1)
    if "enabled: false" in after:
        text = text.replace("      quantile: 0.99\n", "").replace("      maxMs: 500", "      #")
    (tmp_path / "a.yaml").write_text(text)
    ran = _lint(tmp_path, "-o", "json")
    warnings = json.loads(ran.stdout)["warnings"]

    assert text != SHOP
    assert ran.exit_code == 0
    assert [each["path"] for each in warnings] == ([f"spec.{path}"] if path else [])
    assert all(said in each["message"] and each["line"] and each["rule"] == "probably-not-meant" for each in warnings)


def test_a_default_hold_within_the_soak_is_told_at_the_soak(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SHOP.replace("    hold: 4m", "    #").replace("soak: 1m", "soak: 5m"))
    (warning,) = json.loads(_lint(tmp_path, "-o", "json").stdout)["warnings"]

    assert warning["path"] == "spec.soak"
    assert warning["message"].startswith("hold (4m, the default) is over when the soak (5m) is")


def _with_edges(source: str, target: str) -> str:
    before, first, after = (EXAMPLES / "fleet.yaml").read_text().partition("      podMatchers:")
    middle, second, rest = after.partition("      podMatchers:")
    return f"{before}      edgesMs: {source}\n{first}{middle}      edgesMs: {target}\n{second}{rest}"


def test_a_cloud_call_that_outlasts_the_lease_is_a_warning_since_a_file_does_not_know_its_store(tmp_path: Path) -> None:
    quick = (EXAMPLES / "fleet.yaml").read_text()
    (tmp_path / "fleet.yaml").write_text(quick.replace("    tencent:\n", "    tencent:\n      timeout: 6s\n"))
    ran = _lint(tmp_path, "-o", "json")
    (warning,) = json.loads(ran.stdout)["warnings"]

    assert ran.exit_code == 0
    assert (Path(warning["file"]).name, warning["path"]) == ("fleet.yaml", "spec.provider.tencent.timeout")
    assert "in a cluster `shifter run` refuses it" in warning["message"]


def test_datasources_without_a_common_edge_are_refused_by_every_policy_that_compares_latency(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(_with_edges("[1, 600]", "[2, 700]"))
    (tmp_path / "shop.yaml").write_text(SHOP)
    ran = _lint(tmp_path, "-o", "json")
    (problem,), (warning,) = (json.loads(ran.stdout)[kind] for kind in ("problems", "warnings"))
    quiet = SHOP.replace("    latency:  ", "    latency: {enabled: false}  #")
    (tmp_path / "shop.yaml").write_text(
        quiet.replace("      quantile: 0.99\n", "").replace("      maxMs: 500", "      #")
    )

    assert ran.exit_code == 2
    assert (Path(problem["file"]).name, problem["path"]) == ("shop.yaml", "spec.analysis.latency")
    assert problem["sourceLine"].strip().startswith("latency:")
    assert "no bucket edge in common, so latency cannot be compared: mend edgesMs there, or say" in problem["message"]
    assert (Path(warning["file"]).name, warning["path"]) == ("fleet.yaml", "spec.datasources.target.edgesMs")
    assert "latency cannot be compared" in warning["message"]
    assert _lint(tmp_path).exit_code == 0


def test_a_limit_beyond_the_last_common_edge_is_refused_and_beside_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(_with_edges("[100, 1000, 5000]", "[100, 1000, 6000]"))
    (tmp_path / "shop.yaml").write_text(SHOP)
    beside = json.loads(_lint(tmp_path, "-o", "json").stdout)
    (tmp_path / "shop.yaml").write_text(SHOP.replace("maxMs: 500", "maxMs: 2000"))
    beyond = json.loads(_lint(tmp_path, "-o", "json").stdout)

    assert "the next edge is the limit, 1000 ms; 100 is one as well" in beside["warnings"][0]["message"]
    assert beside["problems"] == []
    assert "2000 ms is beyond the last of the edgesMs that both sides have, 1000 ms" in beyond["problems"][0]["message"]


@pytest.mark.parametrize(
    ("defined", "said"),
    [
        ("", "the fleet's customMetrics define no 'throttled': it has none"),
        ("logins", "the fleet's customMetrics define no 'throttled': it has logins"),
        ("throttled", ""),
    ],
)
def test_a_custom_metric_that_the_fleet_does_not_define_is_refused_at_its_name(
    tmp_path: Path, defined: str, said: str
) -> None:
    pair = "{bad: {metric: x_total, matchers: {a: b}}, total: {metric: x_total}, name: " + defined + "}"
    fleet = (EXAMPLES / "fleet.yaml").read_text()
    (tmp_path / "fleet.yaml").write_text(f"{fleet}  customMetrics: [{pair}]\n" if defined else fleet)
    (tmp_path / "shop.yaml").write_text(SHOP.replace("    hold: 4m", "    custom: [{name: throttled}]\n    hold: 4m"))
    problems = json.loads(_lint(tmp_path, "-o", "json").stdout)["problems"]

    assert [(each["path"], each["message"]) for each in problems] == (
        [("spec.analysis.custom.0.name", said)] if said else []
    )


def test_links_in_a_circle_are_a_problem_and_the_rest_is_checked(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("a.yaml")
    ran = _lint(tmp_path, EXAMPLES / "shop.yaml")

    assert (ran.exit_code, ran.stderr) == (2, "2 files, 1 problem\n")
    assert ran.stdout == f"{tmp_path / 'a.yaml'} cannot be read: Too many levels of symbolic links\n"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ShiftPolcy", 'unknown kind "ShiftPolcy" (did you mean "ShiftPolicy"?)'),
        ("Deployment", 'unknown kind "Deployment" (known: ShiftPolicy, Fleet, Mesh)'),
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

    assert lines == ["a.yaml:3:4 x m", "     3 | 中文→x\ufffd", "       |      ^"]


def test_a_place_beyond_the_shown_part_of_a_line_has_no_caret() -> None:
    assert len(list(problem_lines(Problem("a.yaml", 3, 400, "x", "m", "", "short")))) == 2


def test_escape_sequences_in_a_file_never_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("\x1b[2J: \x9b\u202e\n")

    assert not set(_lint(tmp_path).output) & set("\x1b\x9b\u202e")


@pytest.mark.parametrize(
    ("column", "shown", "caret"),
    [
        (1, "0" * 100 + "…", 0),
        (150, "…" + "0" * 79 + "1" + "0" * 20 + "…", 80),
        (300, "…" + "0" * 79 + "0", 80),
    ],
)
def test_of_a_long_line_the_part_around_the_place_is_shown(column: int, shown: str, caret: int) -> None:
    line = "0" * 149 + "1" + "0" * 150
    lines = list(problem_lines(Problem("a.yaml", 3, column, "x", "m", "", line)))

    assert lines[1:] == [f"     3 | {shown}", f"       | {' ' * caret}^"]


def test_a_warning_is_told_as_one_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SHOP.replace("name: shop ", "name: on "))
    ran = _lint(tmp_path)

    assert ran.exit_code == 0
    assert 'metadata.name warning: "on" is a text here, but a boolean to YAML 1.1' in ran.stdout
    assert ran.stderr == "1 file, no problems, 1 warning\n"


def test_a_place_with_an_error_is_not_warned_of_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SHOP.replace("soak: 1m", "soak: 1:30"))
    ran = _lint(tmp_path)

    assert (ran.exit_code, ran.stderr) == (2, "1 file, 1 problem\n")
    assert "warning" not in ran.stdout


@pytest.fixture
def two_policies(tmp_path: Path) -> Path:
    """A folder with two policies that share no name, namespace or route."""
    pay = SHOP.replace("name: shop ", "name: pay ").replace("namespace: shop ", "namespace: pay ")
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "pay.yaml").write_text(pay.replace("url: /", "url: /pay"))
    return tmp_path


def test_a_route_that_reaches_over_another_policys_is_a_warning_at_the_route(two_policies: Path) -> None:
    ran = _lint(two_policies, "-o", "json")
    first, second = json.loads(ran.stdout)["warnings"]

    assert ran.exit_code == 0
    assert (Path(second["file"]).name, second["path"]) == ("shop.yaml", "spec.traffic.clb.routes.0")
    assert "reaches over shop.example.com/pay of" in second["message"]
    assert "sounds like namespace shop" in first["message"]
    assert {first["rule"], second["rule"]} == {"suspicious-route"}


def test_the_schema_of_all_kinds_or_of_one_is_printed() -> None:
    runner = CliRunner()
    all_of_them, one = (runner.invoke(cli, ["policy", "schema", *kind]) for kind in ([], ["Fleet"]))

    assert (all_of_them.exit_code, one.exit_code) == (0, 0)
    assert [each["title"] for each in json.loads(all_of_them.stdout)["oneOf"]] == ["ShiftPolicy", "Fleet", "Mesh"]
    assert json.loads(one.stdout)["title"] == "Fleet"
    assert runner.invoke(cli, ["policy", "schema", "Deployment"]).exit_code == 2


def test_a_policy_is_explained_line_by_line_with_its_defaults_marked() -> None:
    ran = CliRunner().invoke(cli, ["policy", "explain", str(EXAMPLES / "shop.yaml")])
    lines = ran.stdout.splitlines()

    assert ran.exit_code == 0
    assert lines[lines.index("spec.traffic.clb.target.tag: none (default)") + 1] == "    not looked at"
    assert "    members on port 31080 are Istio's gateway" in lines
    assert not any(line.startswith("fleet:") for line in lines)


def test_an_explanation_as_json_has_values_and_with_a_fleet_what_it_adds() -> None:
    arguments = [str(EXAMPLES / "shop.yaml"), "--fleet", str(EXAMPLES / "fleet.yaml"), "-o", "json"]
    ran = CliRunner().invoke(cli, ["policy", "explain", *arguments])
    told = json.loads(ran.stdout)
    lines = {line["path"]: line for line in told["lines"]}

    assert ran.exit_code == 0
    assert (told["kind"], told["name"], told["file"]) == ("PolicyExplanation", "shop", arguments[0])
    assert lines["spec.steps"]["value"] == "auto"
    assert lines["fleet:spec.timing.tick"]["value"] == "15s"


@pytest.mark.parametrize("broken", ["policy", "fleet"])
def test_what_is_broken_is_not_explained_and_every_problem_is_shown(tmp_path: Path, broken: str) -> None:
    (tmp_path / "policy.yaml").write_text(SHOP)
    (tmp_path / "fleet.yaml").write_text((EXAMPLES / "fleet.yaml").read_text())
    (tmp_path / f"{broken}.yaml").write_text("kind: x\n- [\n")
    given = [str(tmp_path / "policy.yaml"), "--fleet", str(tmp_path / "fleet.yaml")]
    ran = CliRunner().invoke(cli, ["policy", "explain", *given])

    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert f"{tmp_path / broken}.yaml:" in ran.stderr
    assert "     2 | - [" in ran.stderr


@pytest.mark.fault(
    on="policy files",
    fault="a rule that people type wrong: unknown or second key, tab, steps that fall, 1:30, NaN, equal sides",
    does="refused with every problem at once; nothing is enforced",
    sees="`policy lint`: file:line:column path message, the line with a caret, a hint; exit 2",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("  onFailure:", "  onFailur:", 'unknown key (did you mean "onFailure"?)'),
        ("  soak: 1m", "  soak: 1m\n  soak: 6m", "a second 'soak'"),
        ("  soak: 1m", "\tsoak: 5m", "a tab stands where YAML allows only spaces"),
        ("  soak: 1m", "  soak: 1:30", "not a duration"),
        ("  soak: 1m", "  soak: !!str 5m", "the tag tag:yaml.org,2002:str is refused"),
        ("  soak: 1m", "  soak: &soak 5m", "the anchor &soak is refused"),
        ("steps: auto", "steps: [5, 1, 100]", "step 1 % does not climb from 5 %"),
        ("steps: auto", "steps: [95, 150]", "should be less than or equal to 100, found 150"),
        ("steps: auto", "steps: [.nan, 100]", 'should be a number, found ".nan"'),
        ("steps: auto", "steps: [true, 100]", "should be a number, found true"),
        ("port: 31080", "port: 30080", "source and target select the same members"),
        ("port: 31080", "port: 30080, ids: [a]", "whatever target selects, source selects as well"),
        ("{port: 31080}", "{}", "selects nothing"),
        ("namespace: shop ", "namespace: Shop_1 ", "not a Kubernetes name"),
        ("namespace: shop ", 'namespace: "sh\\u0007op" ', "control characters are refused"),
    ],
)
def test_a_slip_of_the_hand_is_shown_with_its_line_and_a_caret(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    text = SHOP.replace(before, after, 1)
    (tmp_path / "a.yaml").write_text(text)
    ran = _lint(tmp_path)
    lines = ran.stdout.splitlines()

    assert text != SHOP
    assert (ran.exit_code, ran.stderr) == (2, "1 file, 1 problem\n")
    assert lines[0].startswith(f"{tmp_path / 'a.yaml'}:")
    assert said in lines[0]
    assert lines[2].strip(" |") == "^"


@pytest.mark.parametrize(
    "line",
    [
        "pwd: hunter2",
        "credentials: hunter2",
        "authorization: Bearer hunter2",
        "'cookie' : a=hunter2",
        "tls.key: hunter2",
        "secretKeyFile: hunter2",
        "token: &hunter2 x",
        "token: *hunter2",
        "token: !hunter2 x",
        "pwd: 'hunter2",
        "soak: 'pwd: hunter2'",
        "password:\n    - hunter2: [",
        "password: |\n      hunter2\n     hunter2",
        "password:\n    hunter2: hunter2: x",
        "x: {a: 1, passwords: [hunter2, 2026-01-02",
        "pass: hunter2",
        "密码: hunter2",
        "soak: --token hunter2",
        "soak: {name: DB_PASSWORD, value: hunter2}",
        '"secret\\x4bey": &hunter2 x',
        "soak: http://prom:Sl/hunter2@127.0.0.1",
        "http://prom:Sl/hunter2@127.0.0.1: 1",
    ],
)
@pytest.mark.parametrize("output", ["text", "json", "sarif"])
def test_what_sounds_like_a_secret_is_never_shown(tmp_path: Path, line: str, output: str) -> None:
    (tmp_path / "a.yaml").write_text(f"{SHOP}  {line}\n")
    ran = _lint(tmp_path, "-o", output)

    assert ran.exit_code == 2
    assert "a.yaml" in ran.stdout
    assert "hunter2" not in ran.output


def test_a_password_with_a_slash_in_a_url_of_the_fleet_is_never_shown(tmp_path: Path) -> None:
    text = (EXAMPLES / "fleet.yaml").read_text()
    (tmp_path / "fleet.yaml").write_text(
        text.replace("http://prometheus.tcm.example.com", "http://prom:Sl/hunter2Pw@127.0.0.1")
    )
    ran = _lint(tmp_path)

    assert ran.exit_code == 2
    assert "http://***@127.0.0.1:9090" in ran.stdout
    assert "hunter2Pw" not in ran.output


def test_a_device_is_told_in_a_sentence() -> None:
    assert _lint("/dev/zero").stdout == "/dev/zero is not a regular file\n"


def test_a_word_that_other_readers_take_otherwise_is_not_told_if_it_is_a_secret(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{SHOP}  pwd: 0o777\n  kept: 1_000\n")
    ran = _lint(tmp_path, "-o", "json")

    assert "1_000" in ran.stdout
    assert "0o777" not in ran.stdout


def test_of_a_fleets_key_that_names_a_secret_what_was_typed_is_not_told(tmp_path: Path) -> None:
    text = (EXAMPLES / "fleet.yaml").read_text()
    begin = text.index("secretKeyFile:")
    (tmp_path / "fleet.yaml").write_text(f"{text[:begin]}secretKeyFile: 271828 #{text[begin:]}")
    ran = _lint(tmp_path)

    assert "spec.provider.tencent.secretKeyFile should be a text\n" in ran.stdout
    assert "271828" not in ran.output
