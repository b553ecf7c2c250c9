"""`plan` of a file that no service has accepted yet, and what of a command line is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.plans import a_soaking_shift, rows

if TYPE_CHECKING:
    from tests.cli.conftest import World

EXAMPLES = Path(__file__).parents[2] / "policies"


def test_a_file_is_planned_before_there_is_a_shift(world: World) -> None:
    line = ["plan", "-f", str(EXAMPLES / "shop.yaml"), "--fleet", str(EXAMPLES / "fleet.yaml"), "--rps", "500"]
    ran = world.run(*line)

    assert (ran.exit_code, ran.stderr, world.opened) == (0, "", [])
    assert ran.stdout.splitlines()[0] == "shop: auto, 14 rungs of which some may be left out, 500 requests/s"
    assert "tcm 99 · istio 1    left out" in ran.stdout.splitlines()
    assert "tcm 98 · istio 2    +2m 20:02   1m      4m15s     10/s    2310 in 231s" in ran.stdout


def test_a_list_of_steps_is_planned_one_by_one(world: World, tmp_path: Path) -> None:
    listed = tmp_path / "listed.yaml"
    text = (EXAMPLES / "shop.yaml").read_text(encoding="utf-8")
    listed.write_text(text.replace("steps: auto", "steps: [1, 5, 100]"))
    ran = world.run("plan", "-f", str(listed), "--rps", "500")

    assert ran.stdout.splitlines()[0] == "shop: 3 steps, 500 requests/s"
    assert [row[:4] for row in rows(ran)] == [
        ["tcm 99 · istio 1", "+2m 20:02", "1m", "4m15s"],
        ["tcm 95 · istio 5", "+3m 20:03", "1m", "4m15s"],
        ["tcm 0 · istio 100", "+4m 20:04", "1m", "1m15s"],
    ]


def test_too_little_traffic_for_a_step_shows_before_it_is_taken(world: World) -> None:
    ran = world.run("plan", "-f", str(EXAMPLES / "shop.yaml"), "--rps", "0.01")
    said = " ".join(ran.stdout.split())

    assert "too few requests reach istio to notice within 1h that all of them fail" in said
    assert "done in" in said


def test_without_a_fleet_the_timing_is_the_defaults_and_said_to_be(world: World) -> None:
    ran = world.run("plan", "-f", str(EXAMPLES / "shop.yaml"))
    said = " ".join(ran.stdout.split())

    assert ran.stdout.splitlines()[1] == "without --fleet: the defaults of timing and learning"
    assert "? from 1 % on: no requests per second are given: --rps" in said


def test_a_long_way_is_shown_in_days_without_the_hour(world: World, tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text((EXAMPLES / "shop.yaml").read_text(encoding="utf-8").replace("soak: 1m", "soak: 2d"))

    assert "tcm 50 · istio 50   +2d " in world.run("plan", "-f", str(slow)).stdout


def test_a_file_that_is_wrong_is_told_at_its_place(world: World, tmp_path: Path) -> None:
    text = (EXAMPLES / "shop.yaml").read_text(encoding="utf-8")
    wrong, beyond = tmp_path / "wrong.yaml", tmp_path / "beyond.yaml"
    wrong.write_text(text.replace("soak: 1m", "soak: 5"))
    beyond.write_text(text.replace("maxMs: 500", "maxMs: 700000"))
    ran, misfit = world.run("plan", "-f", str(wrong)), world.run("plan", "-f", str(beyond))

    assert (ran.exit_code, misfit.exit_code) == (2, 2)
    assert ran.stderr.startswith(f"error: {wrong}:")
    assert f"error: {beyond}:" in misfit.stderr
    assert "beyond the last of edgesMs" in misfit.stderr


@pytest.mark.parametrize("line", [[], ["shop", "-f", "x.yaml"], ["shop", "--fleet", "x.yaml"]])
def test_a_plan_is_of_a_shift_or_of_a_file(world: World, line: list[str]) -> None:
    ran = world.run("plan", *line)

    assert ran.exit_code == 2
    assert "error: name a shift, or a policy with --file; --fleet is for --file" in ran.stderr


@pytest.mark.fault(
    on="people",
    fault="`plan --rps nan`, `inf`, 0, less, or 1e308",
    does="refuses it and computes nothing",
    sees="usage error 2: `nan is not a number above 0 and at most 10000000`",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("rps", "said"),
    [
        ("nan", "nan is not a number above 0 and at most 10000000."),
        ("inf", "inf is not in the range 0<x<=10000000."),
        ("1e308", "1e+308 is not in the range 0<x<=10000000."),
        ("0", "0.0 is not in the range 0<x<=10000000."),
        ("-1", "-1.0 is not in the range 0<x<=10000000."),
    ],
)
@pytest.mark.parametrize("of", [["shop"], ["-f", str(EXAMPLES / "shop.yaml")]])
def test_a_rate_that_is_none_is_a_usage_error(world: World, of: list[str], rps: str, said: str) -> None:
    a_soaking_shift(world)
    ran = world.run("plan", *of, f"--rps={rps}")

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr == f"error: Invalid value for '--rps': {said}\nhint: see `cli plan --help`\n"
