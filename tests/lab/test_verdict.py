"""The verdict on a run: `ok` only if everything that was told is true, and each single lie is found and named."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shifter.core.phases import Phase
from shifter.core.records import NewRecord, Record, What
from shifter.core.state import Report
from shifter.lab.emulator import Outcome, RuleKey, TargetKey, WriteRecord
from shifter.lab.load_report import Latency, LoadReport, NamespaceLoad, Second
from shifter.lab.plot import Beat, Plot
from shifter.lab.scenarios import SCENARIOS
from shifter.lab.story import Ending, Lull, Scenario
from shifter.lab.verdict import Material, lab_report
from tests.reports import a_report

BEGAN = 1_000_000
"""Unix time. The story: 25 % is written at +10, 100 % at +25, the load ends at +40; 100 requests a second."""

FIRST, SECOND, LAST = "the outage begins", "the outage ends", "shop is Completed"
FAULT = "shop breaks"
NO_LATENCY = Latency(0.01, 0.01, 0.01, 0.02, 0.02)


def scenario(ending: Ending) -> Scenario:
    beats = tuple(Beat(name, lambda _: True) for name in (FIRST, SECOND, LAST))
    return Scenario(
        name="told",
        about="made up",
        balancer_of={"shop": "lb-front0002"},
        plots=(Plot("shop moves", beats),),
        endings={"shop": ending},
        lulls=(Lull(FIRST, SECOND),),
        faults={"shop": FAULT},
    )


def load(shares: Sequence[tuple[int, float]], *, failed: int = 0, not_sent: int = 0) -> NamespaceLoad:
    """100 requests in each second since `BEGAN`; `shares` says from which second on how many percent were istio's."""
    timeline = []
    for second in range(40):
        share = round([percent for since, percent in shares if since <= second][-1])
        timeline.append(Second(BEGAN + second, 100, 0, {"tcm": 100 - share, "istio": share}))
    by_mesh = {mesh: sum(second.by_mesh[mesh] for second in timeline) for mesh in ("tcm", "istio")}
    cause = {"503": failed} if failed else {}
    bad_at = BEGAN + 30.0 if failed else None
    return NamespaceLoad(4000, 4000 - failed, cause, not_sent, by_mesh, NO_LATENCY, bad_at, bad_at, tuple(timeline))


def users(shop: NamespaceLoad) -> LoadReport:
    return LoadReport(BEGAN, BEGAN + 40, finished=True, namespaces={"shop": shop})


def record(number: int, second: float, what: What, *, told: str = "", **evidence: object) -> Record:
    at = datetime.fromtimestamp(BEGAN + second, UTC)
    return Record(number, NewRecord(at, "shop", what, "shifter", told, evidence=evidence))


def move(number: int, begun: float, done: float, to: float, direction: str = "climb") -> list[Record]:
    written = {"lb-front0002/lbl/shop.example.com/": to}
    return [
        record(number, begun, What.INTENT, to=to, direction=direction),
        record(number + 1, done, What.DONE, to=to, direction=direction, written=written),
    ]


def going_back(number: int, second: float) -> Record:
    moved = {"from": str(Phase.SHIFTING), "to": str(Phase.ROLLING_BACK)}
    return record(number, second, What.PHASE, told="istio failed 9 of 10 requests", **moved)


def report(phase: Phase = Phase.COMPLETED, written: float | None = 100.0) -> Report:
    at = datetime.fromtimestamp(BEGAN + 40, UTC)
    return a_report(at, phase=phase, step=2, wanted=100, written=written, observed=100)


def write(*weights: int, second: float = 10, by_hand: bool = False) -> WriteRecord:
    rule = RuleKey("lbl", "loc")
    targets = {TargetKey(f"10.1.0.{index}", 8080): weight for index, weight in enumerate(weights)}
    return WriteRecord(
        at=BEGAN + second,
        lb_id="lb-front0002",
        action="ConsoleEdit" if by_hand else "BatchModifyTargetWeight",
        before={rule: dict.fromkeys(targets, 10)},
        after={rule: targets},
        request_id="" if by_hand else "1",
        outcome=Outcome.APPLIED,
    )


@pytest.fixture
def good() -> Material:
    """A story that went as it must."""
    shop = load([(0, 0), (10, 25), (25, 100)])
    return Material(
        scenario=scenario(Ending()),
        beats={FIRST: BEGAN + 15.0, SECOND: BEGAN + 20.0, LAST: BEGAN + 38.0},
        finished=True,
        trouble="",
        history=[*move(1, 9, 10, 25), *move(3, 24, 25, 100)],
        reports={"shop": report()},
        users=users(shop),
        counted={mesh: {"shop": float(count)} for mesh, count in shop.by_mesh.items()},
        writes=[write(75, 25), write(0, 100)],
        faults_left=0,
        seconds=42.04,
        seed=7,
    )


def broken(found: Mapping[str, Any]) -> list[str]:
    return [check["name"] for check in found["checks"] if not check["ok"]]


def without_a_beat(good: Material) -> Material:
    return replace(good, beats={name: at for name, at in good.beats.items() if name != LAST})


def cut_short(good: Material) -> Material:
    return replace(good, finished=False)


def with_trouble(good: Material) -> Material:
    return replace(good, trouble="`shifter pause shop` ended with 5")


def in_another_phase(good: Material) -> Material:
    return replace(good, reports={"shop": report(Phase.SHIFTING)})


def at_another_share(good: Material) -> Material:
    return replace(good, reports={"shop": report(written=99.5)})


def rolled_back_once(good: Material) -> Material:
    return replace(good, history=[*good.history, going_back(9, 12)])


def failing_users(good: Material) -> Material:
    return replace(good, users=users(load([(0, 0), (10, 25), (25, 100)], failed=1)))


def silent_users(good: Material) -> Material:
    return replace(good, users=users(load([(0, 0), (10, 25), (25, 100)], not_sent=1)))


def counting(good: Material, mesh: str, requests: float) -> Material:
    counts = {each: dict(found) for each, found in good.counted.items()}
    counts[mesh]["shop"] += requests
    return replace(good, counted=counts)


def counting_a_decoy(good: Material) -> Material:
    return counting(good, "istio", +50)


def losing_requests(good: Material) -> Material:
    return counting(good, "tcm", -50)


def going_dark(good: Material) -> Material:
    return replace(good, writes=[*good.writes, write(0, 0)])


def split_off(good: Material) -> Material:
    # 34 % where 25 % were written; chance explains 5.5 points at 1200 requests
    shop = load([(0, 0), (10, 34), (25, 100)])
    counts = {mesh: {"shop": float(count)} for mesh, count in shop.by_mesh.items()}
    return replace(good, users=users(shop), counted=counts)


def all_but_one(good: Material) -> Material:
    # 1 % is within what chance could do to a split, but at 100 % there is no chance
    shop = load([(0, 0), (10, 25), (25, 99)])
    counts = {mesh: {"shop": float(count)} for mesh, count in shop.by_mesh.items()}
    return replace(good, users=users(shop), counted=counts)


def climbing_in_the_outage(good: Material) -> Material:
    climb = record(5, 17, What.INTENT, to=100.0, direction="climb")
    return replace(good, history=[*good.history, climb])


def skipping_a_step(good: Material) -> Material:
    skipped = move(1, 9, 10, 50) + move(3, 24, 25, 100)
    shop = load([(0, 0), (10, 50), (25, 100)])
    counts = {mesh: {"shop": float(count)} for mesh, count in shop.by_mesh.items()}
    return replace(good, history=skipped, users=users(shop), counted=counts)


def nobody_reporting(good: Material) -> Material:
    return replace(good, reports={})


def test_a_story_that_went_as_told_is_ok(good: Material) -> None:
    found = lab_report(good)

    assert broken(found) == []
    assert found["verdict"] == "ok"


def missing_its_fault(good: Material) -> Material:
    return replace(good, faults_left=1)


def stepping_back(good: Material) -> Material:
    history = [*move(1, 2, 3, 50), *move(3, 9, 10, 25, "retreat"), *move(5, 24, 25, 100)]
    shop = load([(0, 0), (3, 50), (10, 25), (25, 100)])
    counts = {mesh: {"shop": float(count)} for mesh, count in shop.by_mesh.items()}
    return replace(good, history=history, users=users(shop), counted=counts)


@pytest.mark.parametrize(
    ("lie", "named"),
    [
        (without_a_beat, "the story went to its end"),
        (cut_short, "the story went to its end"),
        (with_trouble, "nothing went wrong on the way"),
        (in_another_phase, "shop ends Completed"),
        (at_another_share, "shop ends at 100 %"),
        (rolled_back_once, "shop went back 0 times"),
        (failing_users, "users of shop saw what was told"),
        (silent_users, "users of shop saw what was told"),
        (counting_a_decoy, "istio's metrics of shop agree with its users"),
        (losing_requests, "tcm's metrics of shop agree with its users"),
        (going_dark, "no rule was ever without weight"),
        (split_off, "shop at 25 % really was"),
        (all_but_one, "shop at 100 % really was"),
        (climbing_in_the_outage, "nothing rose between 'the outage begins' and 'the outage ends'"),
        (skipping_a_step, "shop took every step"),
        (missing_its_fault, "every fault struck"),
        (stepping_back, "shop stepped back 0 times"),
    ],
)
def test_one_thing_that_is_not_as_told_fails_the_run(
    good: Material, lie: Callable[[Material], Material], named: str
) -> None:
    found = lab_report(lie(good))

    assert broken(found) == [named]
    assert found["verdict"] == "failed"


def test_a_shift_that_nobody_reports_fails_the_run(good: Material) -> None:
    found = lab_report(nobody_reporting(good))

    assert broken(found) == ["shop ends Completed", "shop ends at 100 %"]
    assert found["shifts"]["shop"]["phase"] is None


def test_retreats_and_repairs_in_an_outage_are_no_climbs(good: Material) -> None:
    retreat = record(5, 17, What.INTENT, to=0.0, direction="retreat")

    found = lab_report(replace(good, history=[*good.history, retreat]))

    assert found["verdict"] == "ok"


@pytest.mark.parametrize(("whose", "verdict"), [("", "failed"), ("shop", "failed"), ("pay", "ok")])
def test_a_lull_of_one_shift_is_no_other_shifts(good: Material, whose: str, verdict: str) -> None:
    climbing = climbing_in_the_outage(good)
    quiet = replace(climbing.scenario, lulls=(Lull(FIRST, SECOND, whose),))

    found = lab_report(replace(climbing, scenario=quiet))

    assert found["verdict"] == verdict


def test_a_step_taken_again_after_a_rollback_still_counts(good: Material) -> None:
    history = [*move(1, 2, 3, 25), *move(3, 5, 6, 0, "retreat"), *move(5, 9, 10, 25), *move(7, 24, 25, 100)]

    found = lab_report(replace(good, history=history))

    assert "shop took every step" not in broken(found)


def test_a_step_of_a_few_requests_is_not_judged_by_its_split(good: Material) -> None:
    # The 50 % lasted for no whole second: nobody can say what users got.
    history = [*move(1, 9, 10, 25), *move(3, 24.2, 24.5, 50), *move(5, 24.6, 25, 100)]

    found = lab_report(replace(good, history=history))

    assert found["verdict"] == "ok"
    assert [step["requests"] for step in found["shifts"]["shop"]["steps"]] == [1300, 0, 1400]
    assert found["shifts"]["shop"]["steps"][1]["observed"] is None


def test_going_back_for_good_is_no_step_back(good: Material) -> None:
    history = [*move(1, 2, 3, 25), *move(3, 5, 6, 0, "retreat"), *move(5, 9, 10, 25), *move(7, 24, 25, 100)]

    found = lab_report(replace(good, history=history))

    assert "shop stepped back 0 times" not in broken(found)


@pytest.mark.parametrize(("told", "wrong"), [("bounded", []), ("proven by all", ["shop said 'proven by all'"])])
def test_what_was_to_be_said_is_in_a_reason(good: Material, told: str, wrong: list[str]) -> None:
    said = record(9, 20, What.PHASE, told="bounded, not proven: extra failures < 3.1 %")

    found = lab_report(replace(good, scenario=scenario(Ending(told=(told,))), history=[*good.history, said]))

    assert broken(found) == wrong


@pytest.mark.parametrize(("lost", "verdict"), [(0, "failed"), (15, "ok"), (3, "failed")])
def test_what_no_gateway_answered_may_have_been_meant_for_either_mesh(good: Material, lost: int, verdict: str) -> None:
    # 10 % reach istio where 25 % were written: all right if the other 15 % were lost on the way.
    second = {"tcm": 90 - lost, "istio": 10, "none": lost}
    shop = load([(0, 0), (10, 10), (25, 100)], failed=15 * lost)
    timeline = tuple(replace(each, by_mesh=second) if 10 <= each.at - BEGAN < 25 else each for each in shop.timeline)
    by_mesh = {mesh: sum(each.by_mesh.get(mesh, 0) for each in timeline) for mesh in ("tcm", "istio", "none")}
    users_saw = replace(shop, timeline=timeline, by_mesh=by_mesh)
    counts = {mesh: {"shop": float(by_mesh[mesh])} for mesh in ("tcm", "istio")}
    ending = Ending(may_fail_users=lost > 0)

    found = lab_report(replace(good, scenario=scenario(ending), users=users(users_saw), counted=counts))

    assert found["verdict"] == verdict
    assert broken(found) == ([] if verdict == "ok" else ["shop at 25 % really was"])


def test_who_chooses_the_steps_may_leave_some_out(good: Material) -> None:
    skipped = skipping_a_step(good)

    found = lab_report(replace(skipped, scenario=replace(skipped.scenario, spec_of={"shop": {"steps": "auto"}})))

    assert broken(found) == []


def test_a_split_is_judged_until_somebody_else_changes_it(good: Material) -> None:
    edit = write(50, 50, second=15, by_hand=True)
    shop = load([(0, 0), (10, 25), (15, 50), (25, 100)])
    counts = {mesh: {"shop": float(count)} for mesh, count in shop.by_mesh.items()}

    found = lab_report(replace(good, writes=[*good.writes, edit], users=users(shop), counted=counts))

    assert found["verdict"] == "ok"
    assert [step["requests"] for step in found["shifts"]["shop"]["steps"]] == [400, 1400]


def test_somebody_elses_balancer_changes_nothing(good: Material) -> None:
    edit = replace(write(50, 50, second=15, by_hand=True), lb_id="lb-front0009")

    found = lab_report(replace(good, writes=[*good.writes, edit]))

    assert [step["requests"] for step in found["shifts"]["shop"]["steps"]] == [1300, 1400]


def test_requests_that_lost_their_name_may_be_missing_but_never_added(good: Material) -> None:
    def nameless(difference: float) -> Material:
        changed = counting(good, "istio", difference)
        istio = {**changed.counted["istio"], "unknown": 60.0}
        return replace(changed, counted={**changed.counted, "istio": istio})

    assert lab_report(nameless(-50))["verdict"] == "ok"
    assert broken(lab_report(nameless(+50))) == ["istio's metrics of shop agree with its users"]


@pytest.mark.parametrize(
    ("failed", "verdict"),
    [(0, "failed"), (1, "ok"), (799, "ok"), (800, "failed")],
    ids=["the fault did nothing", "one", "below a fifth", "a fifth"],
)
def test_users_who_may_fail_must_but_not_many(good: Material, failed: int, verdict: str) -> None:
    shop = load([(0, 0), (10, 25), (25, 100)], failed=failed)

    found = lab_report(replace(good, scenario=scenario(Ending(may_fail_users=True)), users=users(shop)))

    assert found["verdict"] == verdict
    assert broken(found) in ([], ["users of shop saw what was told"])


def test_a_rollback_says_how_long_users_felt_the_fault(good: Material) -> None:
    back = going_back(9, 31)
    beats = {**good.beats, FAULT: BEGAN + 28.5}
    shop = load([(0, 0), (10, 25), (25, 100)], failed=9)

    found = lab_report(replace(good, history=[*good.history, back], beats=beats, users=users(shop)))

    [row] = found["shifts"]["shop"]["rollbacks"]
    assert row["secondsFromFaultToDecision"] == 2.5
    assert row["secondsFromFaultToLastBadRequest"] == 1.5
    assert (row["reason"], row["failedRequests"]) == ("istio failed 9 of 10 requests", 9)


def test_what_is_said_about_going_back_is_no_rollback(good: Material) -> None:
    settled = {"from": str(Phase.ROLLING_BACK), "to": str(Phase.ROLLED_BACK)}
    said = record(9, 31, What.PHASE, told="Shifting → RollingBack: quoted", **settled)

    found = lab_report(replace(good, history=[*good.history, said]))

    assert found["shifts"]["shop"]["rollbacks"] == []
    assert found["verdict"] == "ok"


def test_the_report_says_which_run_it_was(good: Material) -> None:
    found = lab_report(good)

    assert (found["apiVersion"], found["kind"]) == ("shifter.io/v1alpha1", "LabReport")
    assert (found["scenario"], found["seed"], found["seconds"]) == ("told", 7, 42.0)
    assert found["beats"] == {FIRST: 15.0, SECOND: 20.0, LAST: 38.0}


@pytest.mark.parametrize("told", SCENARIOS.values(), ids=list(SCENARIOS))
def test_every_scenario_names_beats_once_and_asks_for_no_other(told: Scenario) -> None:
    beats = [beat.name for plot in told.plots for beat in plot.beats]

    assert len(set(beats)) == len(beats)
    assert {beat for lull in told.lulls for beat in (lull.begin, lull.end)} | set(told.faults.values()) <= set(beats)


@pytest.mark.parametrize("told", SCENARIOS.values(), ids=list(SCENARIOS))
def test_every_scenario_judges_every_namespace(told: Scenario) -> None:
    assert told.endings.keys() == told.balancer_of.keys()
    assert {*told.faults, *told.rates, *told.grpc, *told.spec_of} <= told.balancer_of.keys()
