"""What `lint` says of policies that protect less than they seem to: refused, warned of, or told as not checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from shifter.cli.main import cli
from shifter.errors import Problem
from shifter.files.lint import Lint, lint_files
from shifter.files.rules import Rule

POLICIES = Path(__file__).parents[2] / "policies"
SHOP = (POLICIES / "shop.yaml").read_text(encoding="utf-8")
ERRORS = SHOP[SHOP.index("    errors:") : SHOP.index("    latency:")]
LATENCY = SHOP[SHOP.index("    latency:") : SHOP.index("  # How many requests a step may fail")]


def _linted(directory: Path, *changes: str) -> Lint:
    """Lint the example with its texts replaced, each by the one after it."""
    text = SHOP
    for before, after in zip(changes[::2], changes[1::2], strict=True):
        assert before in text
        text = text.replace(before, after, 1)
    (directory / "shop.yaml").write_text(text, encoding="utf-8")
    return lint_files([directory])


def _told(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(each.path.removeprefix("spec."), each.message) for each in problems]


@pytest.mark.fault(
    on="policy files",
    fault="rules by which nothing is a failure, or a good answer is one",
    does="refused; the earlier policy stays in force",
    sees="`policy lint`: no answer would ever be a failure: an Istio that fails every request would be proven no worse",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("errors", "path", "said"),
    [
        ("{codes: [], flags: [], grpcStatuses: []}", "grpcStatuses", "no answer would ever be a failure: an Istio"),
        ("{codes: [], grpcStatuses: []}", "grpcStatuses", "name codes, flags or grpcStatuses, or leave the keys out"),
        ("{codes: [], flags: [DC, DR], grpcStatuses: []}", "grpcStatuses", "no answer would ever be a failure"),
        ("{codes: [5xx, 2xx]}", "codes.1", "answers of class 1xx and 2xx went well"),
        ('{codes: ["200"]}', "codes.0", "as failures they would make nearly every request one"),
        ("{codes: [1xx]}", "codes.0", "went well"),
    ],
)
def test_rules_by_which_nothing_or_everything_fails_are_refused(
    tmp_path: Path, errors: str, path: str, said: str
) -> None:
    found = _linted(tmp_path, ERRORS, f"    errors: {errors}\n")
    (problem,) = found.problems

    assert problem.path == f"spec.analysis.errors.{path}"
    assert said in problem.message
    assert problem.line
    assert problem.source_line.strip().startswith("errors:")


@pytest.mark.parametrize(
    ("errors", "path", "said"),
    [
        ("{codes: []}", "codes", "only gRPC calls can fail by this: an Istio that answers 503"),
        ("{codes: [], flags: [UF]}", "", ""),
        ("{flags: [UH, UF, NR, UAEX]}", "", ""),
        ("{flags: [uh]}", "flags.0", "none of Envoy's response flags: without one of this name it has no effect; did"),
        ("{flags: [uh]}", "flags.0", 'did you mean "UH"?'),
        ("{flags: [UF, MyExtension]}", "flags.1", "none of Envoy's response flags"),
        ("{flags: [DC]}", "flags.0", "has no effect: a client that left is no failure, and in no count"),
        ("{flags: [UF, DR]}", "flags.1", "has no effect: a client that left"),
        ("{maxPercent: 100}", "maxPercent", "switches a protection off: nothing is above it"),
        ("{maxPercent: 99}", "", ""),
        ("{maxPercent: 0.01}", "maxPercent", "cannot be enforced: the tolerance allows 0.01 points more than TCM"),
    ],
)
def test_errors_that_protect_less_than_they_seem_to_are_a_warning(
    tmp_path: Path, errors: str, path: str, said: str
) -> None:
    found = _linted(tmp_path, ERRORS, f"    errors: {errors}\n")

    assert found.problems == []
    assert [(each.path, each.rule) for each in found.warnings] == (
        [(f"spec.analysis.errors.{path}", Rule.ADVICE)] if path else []
    )
    assert all(said in each.message and each.line for each in found.warnings)


@pytest.mark.parametrize(
    ("errors", "answers", "told"),
    [
        ('["404", 5xx]', "", None),  # that the default of answers has it too is nobody's slip
        ('["404", 5xx]', '["401", "404"]', "has no effect: errors.codes counts these answers"),
        ("[4xx, 5xx]", '["301", "404"]', "compared twice: 4xx in errors.codes counts these answers as failures"),
        ("[5xx]", '["301", "404"]', None),
    ],
)
def test_answers_that_are_failures_already_are_a_warning(
    tmp_path: Path, errors: str, answers: str, told: str | None
) -> None:
    said = f"    answers: {{codes: {answers}}}\n" if answers else ""
    found = _linted(tmp_path, ERRORS, f"    errors: {{codes: {errors}}}\n{said}")

    assert found.problems == []
    assert [each.path for each in found.warnings] == ([] if told is None else ["spec.analysis.answers.codes.1"])
    assert all(told is not None and told in each.message for each in found.warnings)


@pytest.mark.parametrize(
    ("latency", "keys", "said"),
    [
        ("{enabled: false}", (), ""),
        ("{enabled: false, maxMs: 500, quantile: 0.9}", ("maxMs", "quantile"), "latency is neither read nor judged"),
        ("{enabled: false, tolerance: {ratio: 9, percent: 9}}", ("tolerance",), "has no effect: latency is neither"),
        ("{enabled: false, margin: {ratio: 1, percent: 0}}", ("margin",), "(`enabled: false`)"),
        ("{quantile: 0.9}", ("quantile",), "has no effect without maxMs"),
        ("{quantile: 0.9, maxMs: 500}", (), ""),
        ("{enabled: true}", (), ""),
    ],
)
def test_a_latency_key_that_nothing_reads_is_a_warning_and_never_an_error(
    tmp_path: Path, latency: str, keys: tuple[str, ...], said: str
) -> None:
    found = _linted(tmp_path, LATENCY, f"    latency: {latency}\n\n")

    assert found.problems == []
    assert [each.path for each in found.warnings] == [f"spec.analysis.latency.{key}" for key in keys]
    assert all(said in each.message for each in found.warnings)


@pytest.mark.parametrize(
    ("before", "after", "path", "said"),
    [
        ("hold: 4m", "hold: 25h", "analysis.hold", "as with little traffic, each share is kept for 1d1h"),
        ("hold: 4m", "hold: 1d", "", ""),
        ("requests: 25", "requests: 1000001", "blastRadius.requests", "costs as much as 1000001 failed requests"),
        ("requests: 25", "requests: 1000000", "", ""),
        ("seconds: 1}", "seconds: 601}", "blastRadius.seconds", "costs as much as all traffic failing for 10m1s"),
        ("seconds: 1}", "seconds: 600}", "", ""),
        ("    hold", "    custom: [{name: a, maxPercent: 100}]\n    hold", "analysis.custom.0.maxPercent", "off"),
    ],
)
def test_what_waits_or_costs_without_end_is_a_warning(
    tmp_path: Path, before: str, after: str, path: str, said: str
) -> None:
    found = _linted(tmp_path, before, after)

    assert found.problems == []
    assert [each.path for each in found.warnings] == ([f"spec.{path}"] if path else [])
    assert all(said in each.message for each in found.warnings)


@pytest.mark.parametrize(
    ("retired", "key"), [("errors", "overSourcePercent: 0.5"), ("latency", "overSourceRatio: 1.5")]
)
def test_what_the_hint_of_a_retired_key_says_is_clean_if_it_is_written(tmp_path: Path, retired: str, key: str) -> None:
    block = {"errors": ERRORS, "latency": LATENCY}[retired]
    (problem,) = _linted(tmp_path, block, f"    {retired}: {{{key}}}\n\n").problems
    (written,) = re.findall(r"write `([^`]+)`", problem.hint)
    found = _linted(tmp_path, block, f"    {retired}: {{{written}}}\n\n")
    rows = (POLICIES.parent / "docs/policy.md").read_text(encoding="utf-8")

    assert problem.rule is Rule.RETIRED
    assert (found.problems, found.warnings) == ([], [])
    assert f"Now `{written}` |" in rows


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "codes: [5xx]",
            "codes: [5xx, 9xx, 5xx]",
            {"codes.1": "has not the form", "codes.2": "a code is listed twice"},
        ),
        ("codes: [5xx]", "codes: [4xx, 4xx, 2xx]", {"codes.1": "a code is listed twice", "codes.2": "went well"}),
        ("codes: [5xx]", "flags: [UF, '!', UF]", {"flags.1": "has not the form", "flags.2": "a flag is listed twice"}),
        ("codes: [5xx]", "codes: [5xx, 5xx]", {"codes.1": "a code is listed twice"}),
        ("codes: [5xx]", "codes: [5xx, 9xx]", {"codes.1": "has not the form"}),
    ],
)
def test_what_a_list_has_twice_is_told_although_another_entry_is_wrong(
    tmp_path: Path, before: str, after: str, told: dict[str, str]
) -> None:
    found = dict(_told(_linted(tmp_path, before, after).problems))

    assert set(found) == {f"analysis.errors.{path}" for path in told}
    assert all(said in found[f"analysis.errors.{path}"] for path, said in told.items())


def test_a_pair_that_is_named_twice_is_told_although_another_is_wrong(tmp_path: Path) -> None:
    custom = "    custom: [{name: a}, {name: B}, {name: a, maxPercent: 0}, 3]\n    hold"
    problems = _linted(tmp_path, "    hold", custom).problems

    assert [each.path.removeprefix("spec.analysis.custom.") for each in problems] == [
        "1.name",
        "2.name",
        "2.maxPercent",
        "3",
    ]
    assert problems[1].message == "a metric is listed twice"


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("0s", ""),
        ("0 sec", ""),
        ("4000d", ""),
        ("0", ""),
        ("-5", ""),
        ("0:00", ""),
        ("0:30", 'did you mean "0m30s" or "0h30m"?'),
        ("30 S", 'did you mean "30s"?'),
        ("30", 'did you mean "30s"?'),
    ],
)
def test_the_hint_of_a_duration_is_a_valid_one(tmp_path: Path, typed: str, hint: str) -> None:
    (problem,) = _linted(tmp_path, "hold: 4m", f"hold: {typed}").problems

    assert (problem.path, problem.hint) == ("spec.analysis.hold", hint)


@pytest.mark.parametrize(
    ("typed", "path", "hint"),
    [
        ("[auto]", "steps.0", "write `steps: auto`"),
        ("[5, Auto, 100]", "steps.1", "write `steps: auto`"),
        ("fast", "steps", "write auto, or [first, second] or one '- ' line per entry"),
        ("[fast]", "steps.0", "numbers are written plainly"),
    ],
)
def test_whoever_mistypes_auto_is_told_how_it_is_written(tmp_path: Path, typed: str, path: str, hint: str) -> None:
    (problem,) = _linted(tmp_path, "steps: auto", f"steps: {typed}").problems

    assert problem.path == f"spec.{path}"
    assert problem.hint.startswith(hint)


def test_custom_metrics_that_no_fleet_was_there_to_define_are_told_as_not_checked(tmp_path: Path) -> None:
    text = SHOP.replace("    hold", "    custom: [{name: logins}, {name: carts}]\n    hold", 1)
    (tmp_path / "shop.yaml").write_text(text, encoding="utf-8")
    alone = CliRunner().invoke(cli, ["policy", "lint", str(tmp_path)])
    with_fleet = CliRunner().invoke(cli, ["policy", "lint", str(tmp_path), "--fleet", str(POLICIES / "fleet.yaml")])

    assert (alone.exit_code, alone.stdout) == (0, "")
    assert alone.stderr == (
        "1 file, no problems\nnot checked, for want of a valid fleet file: custom metrics carts, logins\n"
    )
    assert with_fleet.exit_code == 2
    assert "not checked" not in with_fleet.stderr
