"""`policy lint -o sarif`: what SARIF 2.1.0 requires, with every finding in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shifter.cli.main import cli
from shifter.cli.sarif import sarif_log
from shifter.errors import Problem
from shifter.files.rules import RULES, Rule

SHOP = (Path(__file__).parents[2] / "policies" / "shop.yaml").read_text(encoding="utf-8")


def _lint(*args: str) -> tuple[int, dict[str, Any]]:
    ran = CliRunner().invoke(cli, ["policy", "lint", *args, "-o", "sarif"])
    log: dict[str, Any] = json.loads(ran.stdout)
    return ran.exit_code, log


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to lint in, with a broken policy, a suspicious one and a good one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my policies").mkdir()
    (tmp_path / "my policies" / "a.yaml").write_text(SHOP.replace("soak: 1m", "soak: 5"))
    (tmp_path / "my policies" / "b.yaml").write_text(SHOP.replace("name: shop ", "name: on "))
    return tmp_path


def test_a_log_has_what_the_format_requires(checkout: Path) -> None:
    code, log = _lint("my policies")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]

    assert checkout.exists()
    assert code == 2
    assert (log["version"], log["$schema"].rsplit("-", 1)[1]) == ("2.1.0", "2.1.0.json")
    assert driver["name"]
    assert run["columnKind"] == "unicodeCodePoints"
    assert [rule["id"] for rule in driver["rules"]] == ["bad-duration", "yaml-1.1-surprise"]
    assert all(rule["shortDescription"]["text"] == RULES[Rule(rule["id"])] for rule in driver["rules"])


def test_every_finding_is_a_result_at_its_place_with_a_relative_uri(checkout: Path) -> None:
    _, log = _lint("my policies")
    error, warning = log["runs"][0]["results"]
    line = SHOP[: SHOP.index("  soak: 1m")].count("\n") + 1

    assert checkout.exists()
    assert (error["ruleId"], error["ruleIndex"], error["level"]) == ("bad-duration", 0, "error")
    assert error["message"]["text"].startswith("spec.soak not a duration; write a number with a unit")
    assert error["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "my%20policies/a.yaml"},
                "region": {"startLine": line, "startColumn": 9},
            },
            "logicalLocations": [{"fullyQualifiedName": "spec.soak"}],
        }
    ]
    assert (warning["ruleId"], warning["ruleIndex"], warning["level"]) == ("yaml-1.1-surprise", 1, "warning")


def test_a_log_without_findings_has_its_empty_list(checkout: Path) -> None:
    (checkout / "c.yaml").write_text(SHOP)
    code, log = _lint("c.yaml")

    assert code == 0
    assert log["runs"][0]["results"] == []


def test_a_file_elsewhere_has_an_absolute_uri_and_a_file_as_a_whole_no_region() -> None:
    log: Any = sarif_log([Problem("/x y/a.yaml", 0, 0, "", "the file is empty", rule="empty-file")], [], Path("/z"))
    (place,) = log["runs"][0]["results"][0]["locations"]

    assert place == {"physicalLocation": {"artifactLocation": {"uri": "file:///x%20y/a.yaml"}}}


def test_a_problem_that_names_no_kind_still_has_a_rule_and_no_control_characters() -> None:
    log: Any = sarif_log([Problem("a\udcff.yaml", 1, 1, "spec", "bad\x1b\udcff", "mend it")], [], Path("/z"))
    (result,) = log["runs"][0]["results"]

    assert result["ruleId"] == "bad-value"
    assert result["message"]["text"] == "spec bad\ufffd\ufffd (mend it)"
    assert re.fullmatch(r"[\x20-\x7e]+", result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
