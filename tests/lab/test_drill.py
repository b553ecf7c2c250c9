"""Running a scenario: what is refused before anything starts, and what is left behind by a run that fails."""

import fcntl
import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from shifter.errors import ConfigError
from shifter.lab.drill import DrillOptions, rehearse, run
from shifter.lab.files import Pace
from shifter.lab.plot import Beat, Plot, order
from shifter.lab.scenarios import SCENARIOS
from shifter.lab.story import Ending, Scenario

MARKER = ".shifter-lab"
QUICK = Pace(steps=(25, 100), tick_seconds=0.5, scrape_seconds=0.5, soak_seconds=1.5, hold_seconds=3.0)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200, force_terminal=False)


def options(tmp_path: Path, scenario: str = "clean") -> DrillOptions:
    return DrillOptions(scenario, tmp_path / "lab", tmp_path / "reports" / "report.json", seed=5, pace=QUICK)


@pytest.fixture
def no_prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Prometheus and without apt-get to fetch it."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("SHIFTER_CACHE", str(tmp_path / "cache"))


def test_an_unknown_scenario_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no scenario 'nonsense'") as caught:
        run(options(tmp_path, "nonsense"), quiet())

    assert all(name in str(caught.value) for name in SCENARIOS)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_the_lab_did_not_make_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "lab" / "deep").mkdir(parents=True)
    (tmp_path / "lab" / "deep" / "thesis.txt").write_text("years of work")

    with pytest.raises(ConfigError, match="is not empty and not the lab's; choose another with --directory"):
        run(options(tmp_path), quiet())

    assert [path.name for path in (tmp_path / "lab").rglob("*")] == ["deep", "thesis.txt"]
    assert (tmp_path / "lab" / "deep" / "thesis.txt").read_text() == "years of work"


def test_a_directory_in_which_a_lab_runs_is_left_as_it_is(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "shifter.db").write_text("in use")

    with (lab / MARKER).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"another lab runs in .*; choose another with --directory"):
            run(options(tmp_path), quiet())

    assert (lab / "shifter.db").read_text() == "in use"


@pytest.mark.usefixtures("no_prometheus")
def test_a_missing_program_is_one_line_that_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(options(tmp_path), quiet())

    said = str(caught.value)
    assert "\n" not in said
    assert "rometheus" in said
    assert said.endswith("get it with: apt-get install prometheus")
    assert not (tmp_path / "reports").exists()


@pytest.mark.usefixtures("no_prometheus")
def test_files_of_the_last_run_are_cleared_and_nothing_that_they_point_to(tmp_path: Path) -> None:
    lab, elsewhere = tmp_path / "lab", tmp_path / "elsewhere"
    for folder in (lab / "policies", elsewhere):
        folder.mkdir(parents=True)
        (folder / "shop.yaml").write_text("old")
    (lab / MARKER).touch()
    (lab / "link").symlink_to(elsewhere)

    with pytest.raises(ConfigError):  # no Prometheus: nothing new is written
        run(options(tmp_path), quiet())

    assert [path.name for path in lab.iterdir()] == [MARKER]
    assert (elsewhere / "shop.yaml").read_text() == "old"


def test_a_story_that_fails_ends_at_once_with_1_and_a_whole_report(tmp_path: Path) -> None:
    refused = Beat("an order is refused", lambda scene: "shop" in scene.reports, order("pause", "nobody"))
    never = Beat("nothing more", lambda _: False)
    story = Scenario(
        name="refused",
        about="an order for a shift that does not exist",
        balancer_of={"shop": "lb-front0002"},
        plots=(Plot("refused", (refused, never)),),
        endings={"shop": Ending()},
    )
    told, given = quiet(), options(tmp_path)
    given.report.parent.mkdir()
    given.report.write_text("the report of the last run")

    with given.report.open() as reader:
        code = rehearse(story, given, told)
        read_meanwhile = reader.read()

    found = json.loads(given.report.read_text())
    assert (code, found["verdict"]) == (1, "failed")
    broken = {check["name"]: check["told"] for check in found["checks"] if not check["ok"]}
    assert broken["the story went to its end"] == "did not come: nothing more"
    assert broken["nothing went wrong on the way"].startswith("`shifter pause nobody` ended with 3: ")
    assert found["seconds"] < 30
    # Replaced and not written over: whoever reads it meanwhile reads one whole report.
    assert read_meanwhile == "the report of the last run"
    assert os.listdir(given.report.parent) == ["report.json"]  # noqa: PTH208 - hidden files too
    assert isinstance(told.file, io.StringIO)
    assert "✖ verdict: failed" in told.file.getvalue()


def test_the_clean_scenario_ends_ok_and_says_how(tmp_path: Path) -> None:
    told, given = quiet(), options(tmp_path)

    code = run(given, told)

    found = json.loads(given.report.read_text())
    assert [check for check in found["checks"] if not check["ok"]] == []
    assert (code, found["verdict"], found["seed"]) == (0, "ok", 5)
    assert [step["wanted"] for step in found["shifts"]["shop"]["steps"]] == [0, 25, 100]
    assert found["shifts"]["shop"]["users"]["failed"] == 0
    assert isinstance(told.file, io.StringIO)
    assert "✔ verdict: ok" in told.file.getvalue()
