"""`run` and `lab run`: thin, so what is tested is what they check before they start anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shifter.cli.main import cli
from shifter.cli.params import Listen
from shifter.cli.session import Session

EXAMPLES = Path(__file__).parents[2] / "policies"


def _run(tmp_path: Path, *args: str | Path, store: str = "deep/er/shifter.db") -> Result:
    session = Session(store_path=tmp_path / store)
    return CliRunner().invoke(cli, ["run", *map(str, args)], obj=session)


def test_run_needs_a_fleet_and_policies(tmp_path: Path) -> None:
    ran = _run(tmp_path)

    assert ran.exit_code == 2
    assert "--fleet" in ran.stderr


def test_run_refuses_a_fleet_file_that_is_not_there(tmp_path: Path) -> None:
    ran = _run(tmp_path, "--fleet", tmp_path / "none.yaml", "--policies", EXAMPLES)

    assert ran.exit_code == 2
    assert "does not exist" in ran.stderr


def test_run_ends_with_2_and_every_problem_if_the_fleet_file_is_wrong(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("kind: Fleet\nspec: {mod: act}\n")
    ran = _run(tmp_path, "--fleet", fleet, "--policies", EXAMPLES)

    assert ran.exit_code == 2
    assert f'error: {fleet}:2:8 spec.mod unknown key (did you mean "mode"?)' in ran.stderr
    assert not (tmp_path / "deep").exists()


def test_run_refuses_a_policy_given_as_the_fleet_with_that_one_error(tmp_path: Path) -> None:
    ran = _run(tmp_path, "--fleet", EXAMPLES / "shop.yaml", "--policies", EXAMPLES)

    assert ran.exit_code == 2
    assert ran.stderr.count("error: ") == 1
    assert "kind should be 'Fleet', found \"ShiftPolicy\"" in ran.stderr


@pytest.mark.parametrize(
    ("text", "place"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("localhost:0", ("localhost", 0)), ("[::1]:9", ("::1", 9))],
)
def test_listen_is_host_and_port(text: str, place: tuple[str, int]) -> None:
    assert Listen().convert(text, None, None) == place
    assert Listen().convert(place, None, None) == place


@pytest.mark.parametrize("text", ["8080", ":8080", "host:", "host:x", "host:65536", "host:-1", "host:٣"])
def test_anything_else_is_no_place_to_listen(tmp_path: Path, text: str) -> None:
    ran = _run(tmp_path, "--fleet", EXAMPLES / "fleet.yaml", "--policies", EXAMPLES, "--listen", text)

    assert ran.exit_code == 2
    assert "is not host:port" in ran.stderr


def test_the_lab_lists_its_scenarios() -> None:
    ran = CliRunner().invoke(cli, ["lab", "run", "--list"])

    assert ran.exit_code == 0
    assert ran.stdout.splitlines()[0].startswith("SCENARIO")
    assert len(ran.stdout.splitlines()) > 1


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = CliRunner().invoke(cli, ["lab", "run", "--directory", str(tmp_path / "file" / "lab")])

    assert ran.exit_code == 2
    assert ran.stderr == (
        f"error: the directory {tmp_path / 'file' / 'lab'} cannot be made: Not a directory\n"
        "hint: choose another with --directory\n"
    )


def test_an_unknown_scenario_is_a_usage_error(tmp_path: Path) -> None:
    ran = CliRunner().invoke(cli, ["lab", "run", "--scenario", "nope", "--directory", str(tmp_path / "lab")])

    assert ran.exit_code == 2
    assert "there is no scenario 'nope'" in ran.stderr
    assert not (tmp_path / "lab").exists()


@pytest.mark.parametrize("words", [("run",), ("run", "--list"), ("soak",), ("kill",)])
def test_where_the_lab_is_left_out_it_is_said_in_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    package = Path(__file__).parents[2] / "shifter"
    shutil.copytree(package, tmp_path / "shifter", ignore=shutil.ignore_patterns("lab", "__pycache__"))
    ran = subprocess.run(
        [sys.executable, "-m", "shifter", "lab", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "error: the lab is no part of this installation: an image of the service leaves it out\n"
        "hint: run it from a checkout, with `make setup`: docs/lab.md\n"
    )
