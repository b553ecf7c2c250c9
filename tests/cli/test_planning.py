"""`plan`: what the steps lead to, for a shift or a file, with a reason for everything that is not known."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import Result

from shifter.core.analysis.learning import History, MetricHistory
from shifter.core.analysis.measures import metrics_of
from shifter.core.analysis.standing import Standing, begin
from shifter.core.phases import Phase
from shifter.core.policy import ApprovalGate
from shifter.core.state import Approval, Ceiling, Direction, HoldReport, Intent, Pause

if TYPE_CHECKING:
    from tests.cli.conftest import World

EXAMPLES = Path(__file__).parents[2] / "policies"
TIMING = {
    "tick_seconds": 15.0,
    "sample_max_age_seconds": 45.0,
    "read_deadline_seconds": 10.0,
    "operation_timeout_seconds": 120.0,
    "settle_seconds": 0.0,
}


def _shift(world: World, *, ago: float = 10, state: dict[str, Any] | None = None, **changes: Any) -> None:  # noqa: ANN401 - any field
    """A shift that soaks at 25 % and has told everything."""
    saved = {"share": 25.0, "phase": Phase.SHIFTING, **(state or {})}
    world.shift(ago=ago, **{**TIMING, "requests_per_second": 400.0, "written": saved["share"], **changes})
    world.state(**saved)


def _gated(world: World, *gates: float) -> dict[str, Any]:
    policy = world.state().policy
    spec = policy.spec.model_copy(update={"approvals": tuple(ApprovalGate(before=gate) for gate in gates)})
    return {"policy": policy.model_copy(update={"spec": spec})}


def _standing(world: World, dispersion: float) -> Standing:
    """A source whose failures come in clusters of that size, of 1 in 1000 requests, at a share of 0."""
    metrics = metrics_of(world.state().policy.spec.analysis, (100, 1000))
    known = tuple(MetricHistory(metric.name, 0.001, 10_000, dispersion, halves=True) for metric in metrics)
    return begin(metrics, History(100, 10_000, 100, (100, 1000), known), attempt=1)


def test_a_plan_shows_each_step_when_and_what_it_may_cost(world: World) -> None:
    _shift(world)
    ran = world.run("plan", "shop")

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[:6] == [
        "shop: 3 steps, 400 requests/s",
        "",
        "SPLIT               BEGINS      STAYS   AT MOST   ISTIO   AT WORST",
        "tcm 99 · istio 1    done",
        "tcm 75 · istio 25   now         2m      2m15s     100/s   23100 in 231s",
        "tcm 0 · istio 100   +2m 20:02   5m      5m15s     400/s   134400 in 336s",
    ]


def test_a_plan_says_what_its_numbers_mean_and_rest_on(world: World) -> None:
    _shift(world)
    said = " ".join(world.run("plan", "shop").stdout.split())

    assert "stays at least: soak 5m from when the balancer shows the split, and above 50 %" in said
    assert "`now`: what is left" in said
    assert "at most so long a share is kept for want of proof if nothing is wrong: hold 4m or soak" in said
    assert "done in 7m at the soonest (2026-11-20 20:07)" in said
    assert (
        "every request to istio fails from the first second of the step; noticed after at most 111 to 216 s,"
        " rolled back within 120 s more; so many fail: ISTIO x the sum of both, rounded up" in said
    )
    assert "assumes every request to istio fails in a way that `analysis.errors` counts" in said


def test_a_plan_shows_what_steps_could_cost_beside_what_is_allowed(world: World) -> None:
    _shift(world, state={"share": 1.0})
    step = world.json("plan", "shop")["steps"][1]
    said = " ".join(world.run("plan", "shop").stdout.split())

    assert step["couldCostRequests"] > step["mayCostRequests"] == 400
    assert f", 25 %: {step['couldCostRequests']:.0f}; allowed are 400 (blastRadius), twice that after 2m30s" in said


def test_a_balancer_that_lags_is_named(world: World) -> None:
    _shift(world, settle_seconds=40.0)

    assert "shows the split (it lags 40 s)" in " ".join(world.run("plan", "shop").stdout.split())


def test_what_was_learnt_of_the_source_and_how_often_it_was_tried_count(world: World) -> None:
    _shift(world, state={"share": 1.0}, requests_per_second=4.0)
    untold = world.json("plan", "shop")["steps"][0]
    standing = _standing(world, dispersion=6.0)
    _shift(world, state={"share": 1.0, "standing": standing}, requests_per_second=4.0)
    clustered = world.json("plan", "shop")["steps"][0]
    _shift(world, state={"share": 1.0, "standing": standing, "attempt": 20}, requests_per_second=4.0)
    late = world.json("plan", "shop")["steps"][0]

    assert untold["noticedSeconds"] <= clustered["noticedSeconds"] <= late["noticedSeconds"]
    assert untold["couldCostRequests"] < clustered["couldCostRequests"] < late["couldCostRequests"]


def test_of_the_hold_before_the_first_step_only_the_rest_is_waited_for(world: World) -> None:
    policy = world.state().policy
    steep = policy.model_copy(update={"spec": policy.spec.model_copy(update={"steps": (40.0, 100.0)})})
    waited = replace(_standing(world, dispersion=1.0), share=0.0, seconds=200.0)
    _shift(world, state={"share": 0.0, "policy": steep, "standing": waited})

    assert world.json("plan", "shop")["steps"][0]["begins"]["inSeconds"] == 40


def test_a_share_at_which_it_failed_is_said_not_to_come_again(world: World) -> None:
    ceiling = Ceiling(share=100, reason="slow", at=world.now)
    _shift(world, state={"ceiling": ceiling})
    said = " ".join(world.run("plan", "shop").stdout.split())

    assert "? from 100 % on: it failed at 100 % and stepped back: not reached again before a retry" in said
    assert "done in" not in said


@pytest.mark.parametrize(
    ("on_failure", "failed", "said"),
    [
        ("rollback", 23100, ""),
        ("stepBack", 23100, "a dead target goes all the way back, also with onFailure: stepBack"),
        ("hold", None, "onFailure: hold: somebody is paged, and nothing goes back by itself"),
    ],
)
def test_what_on_failure_means_for_the_worst_case_is_said(
    world: World, on_failure: str, failed: float | None, said: str
) -> None:
    policy = world.state().policy
    spec = policy.spec.model_copy(update={"on_failure": on_failure})
    _shift(world, state={"policy": policy.model_copy(update={"spec": spec})})
    found = world.json("plan", "shop")

    assert found["steps"][1]["failedRequests"] == failed
    assert said in " ".join(found["assumptions"])


@pytest.mark.parametrize("terminal", [False, True])
def test_a_plan_fits_into_80_columns(world: World, monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    world.terminal = terminal
    _shift(world, state=_gated(world, 100))
    shown = world.run("plan", "shop").stdout + world.run("plan", "-f", str(EXAMPLES / "shop.yaml"), "--rps", "5").stdout

    assert max(len(line) for line in shown.splitlines()) <= 80


def test_what_the_service_has_not_told_is_unknown_with_the_reason(world: World) -> None:
    world.shift()
    world.state(share=25.0, phase=Phase.SHIFTING)
    ran = world.run("plan", "shop")

    assert ran.stdout.splitlines()[0] == "shop: 3 steps, requests/s unknown"
    assert ran.stdout.splitlines()[5].split()[-3:] == ["?", "?", "?"]  # AT MOST, ISTIO, AT WORST
    said = " ".join(ran.stdout.split())
    assert "? from 25 % on: the service has not told how many requests it sees" in said
    assert "? from 25 % on: the service's timing is unknown" in said


def test_rps_is_taken_instead_of_what_was_observed(world: World) -> None:
    _shift(world)

    assert "shop: 3 steps, 8 requests/s" in world.run("plan", "shop", "--rps", "8").stdout


def test_a_gate_that_nobody_approved_is_shown_and_an_approved_one_is_not(world: World) -> None:
    gated = _gated(world, 100)
    _shift(world, state=gated)
    before = world.run("plan", "shop").stdout
    _shift(world, state={**gated, "approved": (Approval(before=100, by="ann", reason="", at=world.now),)})
    after = world.run("plan", "shop").stdout

    assert "gate      before 100 % somebody must approve" in before
    assert "somebody must approve" not in after


def test_a_hold_is_said_first(world: World) -> None:
    _shift(world, holds=(HoldReport(kind="pause", reason="paused by ann: lunch"),))

    assert world.run("plan", "shop").stdout.splitlines()[1] == (
        "held by pause: paused by ann: lunch; no step comes while it lasts"
    )


@pytest.mark.parametrize(
    ("state", "mode", "why"),
    [
        ({"overridden": True}, "act", "promoted with --override: nothing goes back by itself until a retry"),
        ({}, "observe", "mode observe: nothing is written, so nothing goes back by itself either"),
    ],
)
def test_where_nothing_goes_back_by_itself_the_worst_case_is_unknown(
    world: World, state: dict[str, Any], mode: str, why: str
) -> None:
    _shift(world, state=state, mode=mode)
    steps = world.json("plan", "shop")["steps"]

    assert [step["failedRequests"] for step in steps] == [None, None, None]
    assert steps[1]["unknown"] == {"failedRequests": why}
    assert "at worst" not in world.run("plan", "shop").stdout.splitlines()


def test_hands_off_means_that_nothing_goes_back_until_it_is_over(world: World) -> None:
    off = Pause(by="ann", reason="", at=world.now, hands_off_until=world.now + timedelta(hours=1))
    _shift(world, state={"paused": off})
    during = world.json("plan", "shop")["steps"][1]
    world.now += timedelta(hours=2)
    later = world.json("plan", "shop")["steps"][1]

    assert during["unknown"] == {"failedRequests": "hands off by order of ann: nothing goes back by itself"}
    assert later["unknown"] == {}


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (Phase.ROLLED_BACK, "rolled back: errors: 7 %; the steps are those after `shifter retry shop`"),
        (Phase.ROLLING_BACK, "it is going back to tcm: errors: 7 %; the steps are those after a retry"),
    ],
)
def test_a_shift_that_went_back_says_so_and_is_planned_from_0(world: World, phase: Phase, said: str) -> None:
    _shift(world, state={"phase": phase, "share": 0.0}, failure="errors: 7 %")
    ran = world.run("plan", "shop")

    assert ran.stdout.splitlines()[1] == said
    assert "tcm 99 · istio 1    +0s 20:00" in ran.stdout


def test_a_completed_shift_has_no_plan_and_says_so(world: World) -> None:
    _shift(world, state={"phase": Phase.COMPLETED, "share": 100.0})
    found = world.json("plan", "shop")

    assert world.run("plan", "shop").stdout.splitlines() == [
        "shop: 3 steps, 400 requests/s",
        "completed: all traffic is on istio, and there is no step left",
    ]
    assert (found["finished"], found["steps"]) == (None, [])


def _rows(ran: Result) -> list[list[str]]:
    """The rows of a plan's table, cell by cell."""
    lines = ran.stdout.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("SPLIT")) + 1
    rows = lines[first : lines.index("", first)]
    return [re.split(r" {3,}", row) for row in rows]


def test_while_somebody_raised_the_share_by_hand_the_row_in_force_is_what_is_live(world: World) -> None:
    _shift(world, written=60.0)
    ran = world.run("plan", "shop")
    found = world.json("plan", "shop")

    assert ran.stdout.splitlines()[1:4] == [
        "live is tcm 40 · istio 60, not tcm 75 · istio 25 as verified last; the row",
        "`now` is what is live",
        "the steps are those after `shifter reconcile shop --adopt`",
    ]
    assert _rows(ran) == [
        ["tcm 99 · istio 1", "done"],
        ["tcm 75 · istio 25", "done"],
        ["tcm 40 · istio 60", "now", "5m", "5m15s", "240/s", "55440 in 231s"],
        ["tcm 0 · istio 100", "+5m 20:05", "5m", "5m15s", "400/s", "134400 in 336s"],
    ]
    assert [(step["share"], step["place"]) for step in found["steps"]] == [
        (1, "done"),
        (25, "done"),
        (60, "now"),
        (100, "ahead"),
    ]


def test_while_somebody_lowered_the_share_by_hand_the_row_in_force_is_what_is_live(world: World) -> None:
    _shift(world, written=10.0)

    assert [row[:2] for row in _rows(world.run("plan", "shop"))] == [
        ["tcm 99 · istio 1", "done"],
        ["tcm 90 · istio 10", "now"],
        ["tcm 75 · istio 25", "+5m 20:05"],
        ["tcm 0 · istio 100", "+10m 20:10"],
    ]


def test_a_share_that_was_taken_over_and_is_no_step_has_its_row(world: World) -> None:
    _shift(world, state={"share": 60.0})
    ran = world.run("plan", "shop")

    assert "tcm 40 · istio 60 is in force, and no step of the policy: a person had it" in ran.stdout
    assert _rows(ran)[2:] == [
        ["tcm 40 · istio 60", "now", "2m", "2m15s", "240/s", "55440 in 231s"],
        ["tcm 0 · istio 100", "+2m 20:02", "5m", "5m15s", "400/s", "134400 in 336s"],
    ]


@pytest.mark.parametrize("written", [24.6, 25.4, None])
def test_a_share_that_whole_weights_meet_about_or_that_nobody_sees_is_the_verified_one(
    world: World, written: float | None
) -> None:
    _shift(world, written=written)

    assert [row[0] for row in _rows(world.run("plan", "shop"))][1] == "tcm 75 · istio 25"
    assert "live is" not in world.run("plan", "shop").stdout


@pytest.mark.parametrize(
    ("phase", "verified", "live", "why"),
    [
        (Phase.WAITING, 0.0, 0.4, "it has not begun: nothing goes back by itself before shifter has written"),
        (Phase.ROLLED_BACK, 0.0, 60.0, "it was rolled back already: nothing goes back by itself before a retry"),
        (Phase.COMPLETED, 100.0, 99.8, "it is completed: nothing goes back by itself any more"),
        (Phase.ROLLING_BACK, 25.0, 60.0, "it is going back already"),
    ],
)
def test_what_is_live_before_the_first_step_and_after_the_last_has_its_row_and_no_way_back(
    world: World, phase: Phase, verified: float, live: float, why: str
) -> None:
    _shift(world, state={"phase": phase, "share": verified}, written=live, failure="errors: 7 %")
    ran = world.run("plan", "shop")
    first = _rows(ran)[0]

    assert (first[1:3], first[5]) == (["now", "?"], "?")
    assert first[0].endswith(f"istio {live:g}")
    assert f"? at {live:g} %: {why}" in " ".join(ran.stdout.split())
    assert len(_rows(ran)) == (1 if phase is Phase.COMPLETED else 4)
    assert ("done in" in " ".join(ran.stdout.split())) == (phase is not Phase.COMPLETED)


@pytest.mark.parametrize("rate", [102.58, 1025.83, 0.04, 33.3333])
def test_whoever_multiplies_what_is_printed_comes_to_what_is_printed(world: World, rate: float) -> None:
    _shift(world, state={"share": 1.0}, requests_per_second=rate, tick_seconds=1.0, operation_timeout_seconds=7.5)
    for row in _rows(world.run("plan", "shop")):
        if len(row) > 2 and row[5] != "?":
            per_second, (fails, seconds) = float(row[4].removesuffix("/s")), row[5].removesuffix("s").split(" in ")

            assert int(fails) == math.ceil(round(per_second * float(seconds), 6))


@pytest.mark.parametrize("soaked", [0.0, 180.0, 299.2])
def test_what_stays_and_what_is_done_are_the_same_sum(world: World, soaked: float) -> None:
    _shift(world, soaked_seconds=soaked)
    found = world.json("plan", "shop")

    assert found["finished"]["inSeconds"] == sum(step["staysSeconds"] or 0 for step in found["steps"])


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
    _shift(world)
    ran = world.run("plan", *of, f"--rps={rps}")

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr == f"error: Invalid value for '--rps': {said}\nhint: see `cli plan --help`\n"


def test_a_write_under_way_is_the_step_that_the_shift_is_on_and_nothing_of_it_has_soaked(world: World) -> None:
    intent = Intent(
        sequence=3,
        epoch=1,
        direction=Direction.CLIMB,
        from_share=25,
        to_share=100,
        reason="to 100 %",
        by="shifter",
        created_at=world.now,
        deadline=world.now + timedelta(minutes=2),
        before={},
        weights={},
    )
    _shift(world, state={"intent": intent})
    found = world.json("plan", "shop")

    assert [step["place"] for step in found["steps"]] == ["done", "done", "now"]
    assert found["finished"] == {"inSeconds": 300.0, "at": "2026-11-20T12:05:00.000Z"}


def test_json_has_the_numbers_and_what_they_rest_on(world: World) -> None:
    _shift(world)
    found = world.json("plan", "shop")

    assert (found["kind"], found["name"], found["requestsPerSecond"]) == ("Plan", "shop", 400)
    assert (found["soakSeconds"], found["settleSeconds"], found["rolledBackWithinSeconds"]) == (300, 0, 120)
    assert (found["automatic"], found["holdSeconds"]) == (False, 240)
    assert found["finished"] == {"inSeconds": 420.0, "at": "2026-11-20T12:07:00.000Z"}
    assert len(found["assumptions"]) == 5
    assert found["steps"][2] == {
        "share": 100.0,
        "place": "ahead",
        "gates": [],
        "staysSeconds": 300.0,
        "atMostSeconds": 315.0,
        "targetRequestsPerSecond": 400.0,
        "noticedSeconds": 216.0,
        "failedRequests": 134400.0,
        "couldCostRequests": None,
        "mayCostRequests": None,
        "begins": {"inSeconds": 120.0, "at": "2026-11-20T12:02:00.000Z"},
        "unknown": dict.fromkeys(
            ("couldCostRequests", "mayCostRequests"),
            "above 50 % a step is taken on proof or when the hold is over, whatever it could cost",
        ),
    }


def test_a_silent_service_is_said_on_stderr(world: World) -> None:
    _shift(world, ago=600)

    assert "it hangs, or cannot write this store" in world.run("plan", "shop").stderr


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
    assert [row[:4] for row in _rows(ran)] == [
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


def test_an_unknown_shift_is_not_found(world: World) -> None:
    _shift(world)

    assert world.run("plan", "shp").exit_code == 3


def test_of_a_report_alone_there_is_no_plan(world: World) -> None:
    world.store.report(world.report("ghost"))
    ran = world.run("plan", "ghost")

    assert (ran.exit_code, ran.stderr.splitlines()[0]) == (
        3,
        "error: nothing is saved of ghost but its last report",
    )
