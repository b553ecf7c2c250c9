"""`simulate`: what a migration would look like, on any terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import Result

from shifter.cli.simulating import chart
from shifter.core.phases import Phase
from shifter.service.rehearsal import Moment

if TYPE_CHECKING:
    from tests.cli.conftest import World

MARKS = ("#", ".", "-", "+")


def simulate(world: World, folder: Path, *args: str, spec: dict[str, Any] | None = None) -> Result:
    clb = {
        "region": "ap-guangzhou",
        "loadBalancer": "lb-1",
        "routes": [{"listener": "lbl-1", "domain": "shop.example.com", "url": "/"}],
        "source": {"port": 30080},
        "target": {"port": 31080},
    }
    document = {"kind": "ShiftPolicy", "metadata": {"name": "shop"}}
    whole = {"namespace": "shop", "traffic": {"clb": clb}, "steps": "auto", "soak": "30s", **(spec or {})}
    (folder / "shop.yaml").write_text(json.dumps({**document, "spec": whole}))
    return world.run("simulate", "--policy", str(folder / "shop.yaml"), *args)


def moment(seconds: float, share: float, harm: float | None = None) -> Moment:
    return Moment(seconds, share, share, Phase.SHIFTING, "", harm, 0, 0, 0)


def test_it_says_how_it_ends_what_it_costs_and_every_step(world: World, tmp_path: Path) -> None:
    ran = simulate(world, tmp_path, "--scenario", "worse-x20", "--rps", "200")
    lines = ran.stdout.splitlines()

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert lines[0] == "shop: worse-x20 (istio fails twenty times as often as tcm), 200 requests/s, tcm"
    assert " ".join(lines[:4]).split(" after ")[0].endswith("rolled back")
    assert "against what tcm would have failed" in " ".join(lines[:8])
    assert "istio's share, %" in lines
    assert ["TIME", "SPLIT", "ODDS", "REASON"] in [line.split() for line in lines]
    assert "rolled back: istio fails" in lines[-1]


def test_custom_metrics_are_made_up_and_named_so_that_the_migration_arrives(world: World, tmp_path: Path) -> None:
    custom = {"analysis": {"custom": [{"name": "carts"}, {"name": "logins"}]}}
    ran = simulate(world, tmp_path, "--rps", "200", spec=custom)
    found = json.loads(simulate(world, tmp_path, "--rps", "200", "-o", "json", spec=custom).stdout)

    assert (ran.exit_code, found["phase"]) == (0, "Completed")
    assert "custom metrics made up as well: carts, logins; 0.1 % bad on both sides in every scenario" in " ".join(
        ran.stdout.split()
    )
    assert found["customBadPercent"] == {"carts": 0.1, "logins": 0.1}


def test_what_a_policy_does_not_name_is_not_said_to_be_made_up(world: World, tmp_path: Path) -> None:
    assert "made up as well" not in simulate(world, tmp_path, "--rps", "200", "--for", "5m").stdout


@pytest.mark.parametrize(
    ("args", "spec", "said"),
    [
        (
            ("--rps", "200", "--for", "5m"),
            {},
            "NOT OVER after 5m, the longest it may take (--for); tcm 50 · istio 50 for the last 45s; the reason: wait",
        ),
        (
            ("--rps", "0.00001", "--for", "2h"),
            {},
            "tcm 75 · istio 25 for the last 1h; the reason: settling at tcm 75 · istio 25: the metrics show no",
        ),
        (
            ("--rps", "50", "--scenario", "slow", "--for", "1h"),
            {"onFailure": "hold"},
            "for the last 58m; the reason: holding: failing: istio takes over 100 ms for",
        ),
        (
            ("--rps", "50", "--for", "1m"),
            {},
            "tcm 100 · istio 0 for the last 1m; the reason: waiting at tcm 100 · istio 0: too little traffic: learning",
        ),
    ],
    ids=["too little time", "no requests", "a person must order it", "not begun"],
)
def test_a_migration_that_is_not_over_says_so_where_it_stays_and_why(
    world: World, tmp_path: Path, args: tuple[str, ...], spec: dict[str, Any], said: str
) -> None:
    ran = simulate(world, tmp_path, *args, spec=spec)

    assert ran.exit_code == 1
    assert said in " ".join(ran.stdout.split())


def test_no_number_is_minus_zero_and_one_request_is_one(world: World, tmp_path: Path) -> None:
    shown = simulate(world, tmp_path, "--rps", "0.0005", "--for", "2h").stdout

    assert "istio failed 0 of 1 request, +0 against what tcm would have failed" in shown


def test_chart_and_heading_fit_into_80_columns(world: World, tmp_path: Path) -> None:
    lines = simulate(world, tmp_path, "--rps", "5").stdout.splitlines()
    table = next(index for index, line in enumerate(lines) if line.startswith("TIME"))

    assert max(len(line) for line in lines[:table]) < 80


def test_table_fits_a_terminal_of_80_columns(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    world.terminal = True
    shown = simulate(world, tmp_path, "--rps", "100").stdout

    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "\x1b[" not in shown


def test_chart_shows_the_share_and_the_powers_of_ten_of_the_odds() -> None:
    moments = [moment(15, 0), moment(30, 1), moment(45, 50, 3), moment(60, 100, 250)]

    assert list(chart(moments, MARKS)) == [
        "istio's share, %",
        "100 |   #",
        "    |   #",
        " 80 |   #",
        "    |   #",
        " 60 |   #",
        "    |  ##",
        " 40 |  ##",
        "    |  ##",
        " 20 |  ##",
        "    | ###",
        "  0 +----",
        "     0 1m",
        "odds ...2",
        "     powers of ten of the odds against istio; . is less than 10:1",
    ]


def test_long_simulation_is_squeezed_and_loses_no_peak() -> None:
    moments = [moment(15 * at, 100 if at == 500 else 10, 1e12 if at == 501 else 1) for at in range(1, 1441)]
    lines = list(chart(moments, MARKS))

    assert max(map(len, lines)) < 80
    assert lines[1].count("#") == 1
    assert lines[-2].count("9") == 1


def test_json_has_every_tick_and_is_the_same_for_the_same_seed(world: World, tmp_path: Path) -> None:
    first, again, other = (
        json.loads(simulate(world, tmp_path, "--rps", "50", "--seed", seed, "-o", "json").stdout)
        for seed in ("1", "1", "2")
    )

    assert first == again != other
    assert first["kind"] == "Simulation"
    assert first["ticks"][-1]["seconds"] == first["seconds"] == 15 * len(first["ticks"])
    assert first["turns"][-1]["reason"] == first["reason"]
    assert max(tick["odds"] or 0 for tick in first["ticks"]) > 0


def test_yaml_is_the_same_document(world: World, tmp_path: Path) -> None:
    as_yaml, as_json = (simulate(world, tmp_path, "--rps", "50", "-o", form).stdout for form in ("yaml", "json"))

    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_fleet_gives_the_timing(world: World, tmp_path: Path) -> None:
    side = {"url": "http://127.0.0.1:1", "podMatchers": {"app": "gw"}}
    fleet = {
        "kind": "Fleet",
        "metadata": {"name": "lab"},
        "spec": {
            "datasources": {
                "source": {**side, "matchers": {"app": "old"}},
                "target": {**side, "url": "http://127.0.0.1:2", "matchers": {"app": "new"}},
            },
            "provider": {"tencent": {"secretIdFile": "id", "secretKeyFile": "key"}},
            "timing": {"tick": "5s"},
        },
    }
    (tmp_path / "fleet.yaml").write_text(json.dumps(fleet))
    ran = simulate(world, tmp_path, "--fleet", str(tmp_path / "fleet.yaml"), "--rps", "50", "-o", "json")

    assert json.loads(ran.stdout)["tickSeconds"] == 5


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--rps", "nan"), "is not a number above 0"),
        (("--rps", "0"), "is not in the range 0<x<=10000000"),
        (("--rps", "5", "--base-errors", "60"), "is not in the range 0<x<=50"),
        (("--rps", "5", "--scenario", "worse"), "'worse' is not one of"),
        (("--rps", "5", "--for", "8d"), "--for 8d is 46080 ticks of 15s; it must be 1 to 40320"),
        (("--rps", "5", "--for", "1s"), "--for 1s is 0 ticks of 15s; it must be 1 to 40320"),
        ((), "Missing option '--rps'"),
    ],
)
def test_what_cannot_be_simulated_is_a_usage_error(
    world: World, tmp_path: Path, args: tuple[str, ...], sentence: str
) -> None:
    ran = simulate(world, tmp_path, *args)

    assert ran.exit_code == 2
    assert sentence in ran.stderr


def test_wrong_policy_is_refused_with_its_place(world: World, tmp_path: Path) -> None:
    ran = simulate(world, tmp_path, "--rps", "5", spec={"steps": [10, 5]})

    assert ran.exit_code == 2
    assert "shop.yaml:1" in ran.stderr


def test_chart_is_ascii_where_the_terminal_knows_no_more(world: World, tmp_path: Path) -> None:
    simulate(world, tmp_path, "--rps", "100")
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(
        [sys.executable, "-m", "shifter", "simulate", "--policy", str(tmp_path / "shop.yaml"), "--rps", "100"],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
        env={**os.environ, **ascii_only},
    )

    assert ran.stdout.isascii()
    assert "\\" not in ran.stdout
    assert "#####" in ran.stdout
