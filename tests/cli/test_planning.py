"""`plan` of a shift: what the steps lead to, with a reason for everything that is not known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shifter.core.analysis.learning import History, MetricHistory
from shifter.core.analysis.measures import metrics_of
from shifter.core.analysis.standing import Standing, begin
from shifter.core.documents.policy import ApprovalGate
from shifter.core.phases import Phase
from shifter.core.state import Approval, Ceiling, HoldReport
from tests.cli.plans import a_soaking_shift, rows

if TYPE_CHECKING:
    from tests.cli.conftest import World

EXAMPLES = Path(__file__).parents[2] / "policies"


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
    a_soaking_shift(world)
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
    a_soaking_shift(world)
    said = " ".join(world.run("plan", "shop").stdout.split())

    assert "stays at least: soak 5m from when the balancer shows the split, and above 50 %" in said
    assert "`now`: what is left" in said
    assert "at most so long a share is kept for want of proof if nothing is wrong: hold 4m or soak" in said
    assert "done in 7m at the soonest (2026-11-20 20:07)" in said
    assert (
        "every request to istio fails from the first second of the step; noticed after at most 111 to 216 s,"
        " rolled back within 120 s more; so many fail: ISTIO x the sum of both, rounded up; blastRadius does not limit"
        " this: it weighs a step at the usual pace, AT WORST has everything as slow as the settings allow" in said
    )
    assert "assumes every request to istio fails in a way that `analysis.errors` counts" in said


def test_a_plan_shows_what_steps_could_cost_beside_what_is_allowed(world: World) -> None:
    a_soaking_shift(world, state={"share": 1.0})
    step = world.json("plan", "shop")["steps"][1]
    said = " ".join(world.run("plan", "shop").stdout.split())

    assert step["couldCostRequests"] > step["mayCostRequests"] == 400
    assert f", 25 %: {step['couldCostRequests']:.0f}; allowed are 400 (blastRadius), twice that after 2m30s" in said


def test_a_balancer_that_lags_is_named(world: World) -> None:
    a_soaking_shift(world, settle_seconds=40.0)

    assert "shows the split (it lags 40 s)" in " ".join(world.run("plan", "shop").stdout.split())


def test_what_was_learnt_of_the_source_and_how_often_it_was_tried_count(world: World) -> None:
    a_soaking_shift(world, state={"share": 1.0}, requests_per_second=4.0)
    untold = world.json("plan", "shop")["steps"][0]
    standing = _standing(world, dispersion=6.0)
    a_soaking_shift(world, state={"share": 1.0, "standing": standing}, requests_per_second=4.0)
    clustered = world.json("plan", "shop")["steps"][0]
    a_soaking_shift(world, state={"share": 1.0, "standing": standing, "attempt": 20}, requests_per_second=4.0)
    late = world.json("plan", "shop")["steps"][0]

    assert untold["noticedSeconds"] <= clustered["noticedSeconds"] <= late["noticedSeconds"]
    assert untold["couldCostRequests"] < clustered["couldCostRequests"] < late["couldCostRequests"]


def test_of_the_hold_before_the_first_step_only_the_rest_is_waited_for(world: World) -> None:
    policy = world.state().policy
    steep = policy.model_copy(update={"spec": policy.spec.model_copy(update={"steps": (40.0, 100.0)})})
    waited = replace(_standing(world, dispersion=1.0), share=0.0, seconds=200.0)
    a_soaking_shift(world, state={"share": 0.0, "policy": steep, "standing": waited})

    assert world.json("plan", "shop")["steps"][0]["begins"]["inSeconds"] == 40


def test_a_share_at_which_it_failed_is_said_not_to_come_again(world: World) -> None:
    ceiling = Ceiling(share=100, reason="slow", at=world.now)
    a_soaking_shift(world, state={"ceiling": ceiling})
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
    a_soaking_shift(world, state={"policy": policy.model_copy(update={"spec": spec})})
    found = world.json("plan", "shop")

    assert found["steps"][1]["failedRequests"] == failed
    assert said in " ".join(found["assumptions"])


@pytest.mark.parametrize("terminal", [False, True])
def test_a_plan_fits_into_80_columns(world: World, monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    world.terminal = terminal
    a_soaking_shift(world, state=_gated(world, 100))
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
    a_soaking_shift(world)

    assert "shop: 3 steps, 8 requests/s" in world.run("plan", "shop", "--rps", "8").stdout


def test_a_gate_that_nobody_approved_is_shown_and_an_approved_one_is_not(world: World) -> None:
    gated = _gated(world, 100)
    a_soaking_shift(world, state=gated)
    before = world.run("plan", "shop").stdout
    a_soaking_shift(world, state={**gated, "approved": (Approval(before=100, by="ann", reason="", at=world.now),)})
    after = world.run("plan", "shop").stdout

    assert "gate      before 100 % somebody must approve" in before
    assert "somebody must approve" not in after


def test_a_hold_is_said_first(world: World) -> None:
    a_soaking_shift(world, holds=(HoldReport(kind="pause", reason="paused by ann: lunch"),))

    assert world.run("plan", "shop").stdout.splitlines()[1] == (
        "held by pause: paused by ann: lunch; no step comes while it lasts"
    )


@pytest.mark.parametrize("rate", [102.58, 1025.83, 0.04, 33.3333])
def test_whoever_multiplies_what_is_printed_comes_to_what_is_printed(world: World, rate: float) -> None:
    timing = {"tick_seconds": 1.0, "operation_timeout_seconds": 7.5}
    a_soaking_shift(world, state={"share": 1.0}, requests_per_second=rate, **timing)
    for row in rows(world.run("plan", "shop")):
        if len(row) > 2 and row[5] != "?":
            per_second, (fails, seconds) = float(row[4].removesuffix("/s")), row[5].removesuffix("s").split(" in ")

            assert int(fails) == math.ceil(round(per_second * float(seconds), 6))


@pytest.mark.parametrize("soaked", [0.0, 180.0, 299.2])
def test_what_stays_and_what_is_done_are_the_same_sum(world: World, soaked: float) -> None:
    a_soaking_shift(world, soaked_seconds=soaked)
    found = world.json("plan", "shop")

    assert found["finished"]["inSeconds"] == sum(step["staysSeconds"] or 0 for step in found["steps"])


def test_json_has_the_numbers_and_what_they_rest_on(world: World) -> None:
    a_soaking_shift(world)
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
    a_soaking_shift(world, ago=600)

    assert "it hangs, or cannot write this store" in world.run("plan", "shop").stderr


def test_an_unknown_shift_is_not_found(world: World) -> None:
    a_soaking_shift(world)

    assert world.run("plan", "shp").exit_code == 3


def test_of_a_report_alone_there_is_no_plan(world: World) -> None:
    world.store.report(world.report("ghost"))
    ran = world.run("plan", "ghost")

    assert (ran.exit_code, ran.stderr.splitlines()[0]) == (
        3,
        "error: nothing is saved of ghost but its last report",
    )
