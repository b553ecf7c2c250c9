"""What a shift's evidence amounts to: what counts as a tick of it, when it is saved, and what outlives a restart."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from shifter.adapters.memory import Fault
from shifter.core.analysis.assess import alpha_of
from shifter.core.analysis.measures import metrics_of
from shifter.core.analysis.replay import CHECKPOINT_SECONDS, MAX_ROWS, Trail, of_json
from shifter.core.analysis.standing import Standing, evidence_of_harm
from shifter.core.balancing.splits import Health, Side
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Verb
from shifter.core.documents.criteria import Analysis
from shifter.core.documents.fleet import ISTIO_EDGES_MS, Learning
from shifter.core.phases import Phase
from shifter.core.records import NewRecord, What
from tests.service.conftest import ANY_STEP, NEW, NEWER, NO_LATENCY, NOON, OLD, OLDER, TICK, World, fleet_with
from tests.service.outside import Gateway

Worlds = Callable[..., World]

HOUR_TICKS = 360


def standing(world: World) -> Standing:
    """The standing in memory."""
    found = world.ticker.shifts["shop"].seen.standing
    assert found is not None
    return found


def saved(world: World) -> Standing:
    found = world.saved_state().standing
    assert found is not None
    return found


def odds_of(world: World, of: Standing) -> float:
    return evidence_of_harm(of, metrics_of(world.state().policy.spec.analysis, of.history.edges_ms))


@pytest.fixture
def paused(world: World) -> World:
    """A world that stays at 25 %, three ticks in."""
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(3)
    return world


# -- learnt before the first step ------------------------------------------------------------------------------------


def test_nothing_climbs_before_the_source_is_known(make_world: Worlds) -> None:
    world = make_world()
    world.fleet = fleet_with(learning=Learning())
    world.restart()
    world.step(8)
    meanwhile = world.share(), world.reason(), world.report().page
    world.until_share(5)

    assert meanwhile[0] == 0
    assert meanwhile[1] == (
        "waiting at tcm 100 · istio 0: too little traffic: learning what tcm is like: 7 ticks and 2800 requests, "
        "8 ticks and 100 requests are needed, or 240 ticks of any traffic"
    )
    assert meanwhile[2] is False


def test_a_source_that_counts_no_latency_is_told_before_the_first_step(world: World) -> None:
    world.write_policy("shop", analysis={})
    world.step(10)

    assert world.share() == 0
    assert (world.holds(), world.report().page) == ({HoldKind.NO_SIGNAL}, True)
    assert "tcm counts requests but shows no latency histogram" in world.reason()
    assert "`latency: {enabled: false}` in the policy" in world.reason()


def test_how_much_failures_cluster_is_learnt_from_the_sources_two_pods(make_world: Worlds) -> None:
    found = []
    for clustered in (False, True):
        world = make_world()
        world.fleet = fleet_with(learning=Learning())
        world.sides[Side.SOURCE] = Gateway("tcm-1", "tcm-2")
        world.sides[Side.SOURCE].clustered = clustered
        world.sides[Side.SOURCE].error_percent = 2
        world.restart()
        world.until_share(5)
        found.append(standing(world).history.metrics[0])

    assert [history.halves for history in found] == [True, True]
    assert found[0].dispersion == 1
    assert found[1].dispersion > 5


def test_an_edit_of_the_namespace_learns_the_source_anew(make_world: Worlds) -> None:
    world = make_world(shifts={"shop": "lb-front0001"})
    world.write_policy("shop", approvals=[{"before": 5}])
    world.sides[Side.SOURCE].error_percent = 10
    world.step(10)
    before = standing(world).history.metrics[0].rate
    world.write_policy("shop", namespace="other", approvals=[{"before": 5}])
    world.step()
    restored = world.ticker.shifts["shop"].seen.standing
    for _ in range(5):
        world.sides[Side.SOURCE].error_percent = 0
        world.sides[Side.SOURCE].serve("other", 400)
        world.step()

    assert before == pytest.approx(0.1)
    assert restored is None
    assert standing(world).history.metrics[0].rate == 0


def test_edited_criteria_at_0_learn_the_source_anew_by_the_new_rules(make_world: Worlds) -> None:
    world = make_world()
    world.write_policy("shop", approvals=[{"before": 5}])
    world.sides[Side.SOURCE].error_percent = 10
    world.step(10)
    before = standing(world).history.metrics[0].rate
    world.write_policy("shop", approvals=[{"before": 5}], analysis={**NO_LATENCY, "errors": {"codes": ["500"]}})
    world.step(4)

    assert before == pytest.approx(0.1)
    assert standing(world).history.metrics[0].rate == 0
    assert world.state().attempt == 1


# -- what is a tick of it ----------------------------------------------------------------------------------------------


def test_the_tick_in_which_the_share_changed_compares_nothing(world: World) -> None:
    world.until_share(5)
    world.step()
    while world.state().intent is None:
        world.step()
    world.pass_time(TICK / 2)
    world.wake()
    verified = world.state().share, standing(world).ticks
    world.pass_time(TICK / 2)
    world.wake()
    mixed = standing(world).ticks
    world.step()

    assert verified == (25, 0)
    assert mixed == 0
    assert standing(world).ticks == 1


def test_ticks_at_somebody_elses_weights_compare_nothing_and_neither_does_the_one_in_which_they_ended(
    paused: World,
) -> None:
    verified = dict(paused.state().weights[paused.route().id])
    before = standing(paused).totals, standing(paused).ticks
    paused.edit_weights({OLD: 100, OLDER: 100, NEW: 0, NEWER: 0})
    paused.step(5)
    paused.pass_time(TICK / 2)
    paused.edit_weights(verified)
    paused.pass_time(TICK / 2)
    paused.wake()
    after = standing(paused).totals, standing(paused).ticks
    paused.step()

    assert after == before
    assert standing(paused).ticks == before[1] + 1


def test_ticks_in_which_members_were_dead_compare_nothing(paused: World) -> None:
    before = standing(paused).totals, standing(paused).ticks, standing(paused).lost
    for key in (NEW, NEWER):
        paused.memory.set_health(paused.route(), key, Health.DEAD)
    paused.step(10)

    assert (standing(paused).totals, standing(paused).ticks, standing(paused).lost) == before
    assert paused.share() is not None
    assert paused.state().phase is Phase.SHIFTING


@pytest.mark.fault(
    on="process",
    fault="the clock is set back an hour at 25 %, and istio begins to fail",
    does="counts from the first look after it, and rolls back",
    sees="rolling back: istio fails 30 % against tcm 0 %: evidence ...",
    safe_within="4 ticks",
)
def test_after_a_clock_that_was_set_back_ticks_are_compared_again(paused: World) -> None:
    before = standing(paused).ticks
    paused.now -= timedelta(hours=1)
    paused.sides[Side.TARGET].error_percent = 30
    paused.step(2)
    compared = standing(paused).ticks
    paused.step(2)

    assert compared == before + 1
    assert paused.now < NOON
    assert paused.share() == 0
    assert "istio fails " in paused.reason()


@pytest.mark.fault(
    on="Prometheus",
    fault="scrapes one side later than the tick, or misses a scrape",
    does="waits, and counts both sides over the same span once it was scraped",
    sees="nothing; with no sample for longer `the newest evidence is N s old`",
    safe_within="at once",
)
@pytest.mark.parametrize("side", Side)
def test_a_side_that_was_not_scraped_is_counted_together_with_the_other_once_it_is(paused: World, side: Side) -> None:
    before = standing(paused)
    paused.sides[side].scraped = False
    paused.step()
    meanwhile = standing(paused)
    paused.sides[side].scraped = True
    paused.step()
    after = standing(paused)

    assert meanwhile == before
    assert after.ticks == before.ticks + 1
    assert after.seconds == before.seconds + 20
    assert [new - old for new, old in zip(after.totals[0], before.totals[0], strict=True)] == [200, 0, 600, 0]
    assert paused.share() == 25


def test_numbers_that_nobody_counts_are_no_evidence_and_are_told(paused: World) -> None:
    before = standing(paused).totals
    for _ in range(2):
        paused.sides[Side.TARGET].serve("shop", 1.7e308)
    paused.step()

    assert standing(paused).totals == before
    assert paused.report().dropped == {"all pods": "more requests in one tick than any gateway has: no evidence"}


# -- what is read ------------------------------------------------------------------------------------------------------


def test_only_the_edges_that_history_fixed_are_read_after_the_first_step(make_world: Worlds) -> None:
    world = make_world()
    for side in world.sides.values():
        side.latency_ms = 30
    world.write_policy("shop", analysis={"hold": "20s", "latency": {"maxMs": 500}})
    world.step()
    first = world.sides[Side.TARGET].asked_edges_ms[-1]
    world.until_share(25)
    later = world.sides[Side.TARGET].asked_edges_ms[-1]

    assert first == tuple(sorted(ISTIO_EDGES_MS))
    assert later == standing(world).history.edges_ms
    assert 500 in later
    assert len(later) <= 3


def test_no_latency_is_read_if_no_policy_wants_it(world: World) -> None:
    world.until_share(25)

    assert set(world.sides[Side.SOURCE].asked_edges_ms) == {()}


@pytest.mark.parametrize("shifts", [1, 5])
def test_every_side_is_read_once_in_a_tick_however_many_shifts_there_are(make_world: Worlds, shifts: int) -> None:
    world = make_world(shifts={f"shop-{number}": f"lb-front000{number}" for number in range(shifts)})
    world.step(7)

    assert [len(side.asked_edges_ms) for side in world.sides.values()] == [7, 7]


# -- when it is saved --------------------------------------------------------------------------------------------------


def test_it_is_saved_with_every_share(world: World) -> None:
    seen = []
    for share in (5, 25, 50, 100):
        world.until_share(share)
        seen.append((saved(world).share, saved(world).ticks))

    assert seen == [(5, 0), (25, 0), (50, 0), (100, 0)]


def test_a_standing_to_which_nothing_happens_is_saved_every_10_minutes(paused: World) -> None:
    when = {saved(paused).counted_until}
    for _ in range(HOUR_TICKS):
        paused.step()
        when.add(saved(paused).counted_until)
    instants = sorted(when)

    assert 6 <= len(instants) <= 7
    assert min(later - sooner for sooner, later in pairwise(instants[1:])) >= CHECKPOINT_SECONDS


def test_in_between_nothing_is_saved_of_a_shift_that_did_not_change(paused: World) -> None:
    saves = paused.trap.calls.count("after save")
    paused.step(int(CHECKPOINT_SECONDS / TICK.total_seconds()) - 6)

    assert paused.trap.calls.count("after save") == saves


def test_it_is_saved_when_the_odds_cross_a_power_of_ten(paused: World) -> None:
    paused.write_policy("shop", onFailure="hold")
    paused.sides[Side.TARGET].error_percent = 2.5
    crossed, powers = [], {0}
    for _ in range(40):
        paused.step()
        harm = odds_of(paused, standing(paused))
        if harm >= 10 ** (max(powers) + 1):
            powers.add(len(str(int(harm))) - 1)
            crossed.append(odds_of(paused, saved(paused)) == harm)

    assert len(crossed) >= 2
    assert all(crossed)


# -- what a restart takes up -------------------------------------------------------------------------------------------


@pytest.mark.fault(
    on="process",
    fault="restarts while evidence against istio grows, and Prometheus remembers nothing",
    does="goes on from the odds that were saved: at most a tenth of them is lost",
    sees="evidence ... in `shifter describe`, as before",
    safe_within="at once",
)
def test_after_a_restart_the_odds_survive(paused: World) -> None:
    paused.sides[Side.TARGET].error_percent = 2.5
    while odds_of(paused, standing(paused)) < 12:
        paused.step()
    before = odds_of(paused, standing(paused))
    for side in paused.sides.values():
        side.forgets = True
        side.error_percent = 0
    paused.restart()
    paused.step(2)
    after = odds_of(paused, standing(paused))

    assert before / 10 <= after <= before
    assert after > 5
    assert standing(paused).history == saved(paused).history


def without_a_process(world: World, ticks: int) -> None:
    """Let time pass in which nobody looks; Prometheus goes on scraping."""
    world.die()
    for _ in range(ticks):
        world.pass_time(TICK)
        for side in world.sides.values():
            side.read(world.now, ())


def writing(world: World, share: float, fault: Fault | None = None) -> None:
    """Go on until the step after a share is being written."""
    world.until_share(share)
    if fault is not None:
        world.memory.inject(fault)
    while world.state().intent is None:
        world.step()


@pytest.mark.fault(
    on="process",
    fault="dies while a write is under way, and istio fails until the next process begins",
    does="reads from Prometheus what was counted meanwhile, and rolls back",
    sees="rolling back: istio fails ...",
    safe_within="2 ticks",
)
def test_what_istio_failed_while_a_write_was_open_and_nobody_looked_is_known_to_the_next_process(
    world: World,
) -> None:
    writing(world, 25, Fault.TASK_LIES)
    world.sides[Side.TARGET].error_percent = 20
    without_a_process(world, 12)
    world.sides[Side.TARGET].error_percent = 0
    world.start()
    world.step(2)

    assert world.state().phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}
    assert world.climbs() == [5, 25]


@pytest.mark.fault(
    on="process",
    fault="istio fails while no process lives, and the next one begins with a clock that is before what was counted",
    does="reads from Prometheus what was counted meanwhile, once its clock is set right, and rolls back",
    sees="rolling back: istio fails ...",
    safe_within="2 ticks after the clock is set",
)
def test_what_nobody_counted_is_read_once_a_clock_that_was_behind_is_set_right(paused: World) -> None:
    paused.sides[Side.TARGET].error_percent = 20
    without_a_process(paused, 12)
    paused.sides[Side.TARGET].error_percent = 0
    behind = timedelta(minutes=10)
    paused.now -= behind
    paused.start()
    paused.step()
    believed = odds_of(paused, standing(paused))
    paused.now += behind
    paused.ticker.clock_was_set()
    paused.step(2)

    assert believed < 2
    assert paused.state().phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}


@pytest.mark.parametrize(
    ("share", "fault", "why"),
    [
        (0, Fault.TASK_ENDLESS, "a write was under way"),
        (25, None, "a share was verified since, or another attempt begun"),
    ],
)
def test_what_was_counted_before_another_share_was_verified_is_left_out_and_told(
    world: World, share: float, fault: Fault | None, why: str
) -> None:
    world.step()
    writing(world, share, fault)
    without_a_process(world, 3)
    world.start()
    world.step(2)
    (warning,) = world.report().warnings

    assert warning.startswith("what was counted from 12:")
    assert warning.endswith(f"UTC is not part of the evidence: {why}")


def test_after_a_restart_history_is_not_learnt_from_the_target(paused: World) -> None:
    before = standing(paused).history
    paused.restart()
    paused.step(5)

    assert standing(paused).history == before


# -- an edit on the way ------------------------------------------------------------------------------------------------


def test_edited_criteria_begin_a_new_attempt_and_keep_what_is_known_of_the_source(make_world: Worlds) -> None:
    world = make_world()
    world.sides[Side.SOURCE].error_percent = world.sides[Side.TARGET].error_percent = 1
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(4)
    before = standing(world)
    world.write_policy("shop", analysis={**NO_LATENCY, "answers": {"codes": ["404", "429"]}})
    world.step()
    names = [metric.name for metric in standing(world).history.metrics]

    assert (before.attempt, world.state().attempt, standing(world).attempt) == (1, 2, 2)
    assert names == ["errors", "404", "429"]
    assert standing(world).history.metrics[0] == before.history.metrics[0]
    assert standing(world).history.metrics[0].rate == pytest.approx(0.01)
    assert standing(world).history.metrics[2].requests == 0
    assert standing(world).ticks == 1
    assert world.share() == 25


def test_an_edit_of_anything_else_voids_no_evidence(paused: World) -> None:
    before = standing(paused).ticks
    paused.write_policy("shop", soak="3m", steps=[25, 75, 100], blastRadius=ANY_STEP)
    paused.step()

    assert paused.state().attempt == 1
    assert standing(paused).ticks == before + 1


# -- computed again ----------------------------------------------------------------------------------------------------


def replayed(record: NewRecord) -> tuple[Trail, Standing, float]:
    """The trail of a record, the standing it leads to, and the odds then."""
    replay = json.loads(json.dumps(record.evidence["replay"]))
    trail = of_json(replay["trail"])
    metrics = metrics_of(Analysis.model_validate_json(json.dumps(replay["analysis"])), trail.base.history.edges_ms)
    last = trail.last(metrics)
    return trail, last, evidence_of_harm(last, metrics)


def decided(world: World) -> list[NewRecord]:
    """The records of decisions: what became of a write afterwards is none."""
    wanted = {What.INTENT, What.PHASE, What.CEILING}
    return [record for record in world.history() if record.what in wanted and "verdict" in record.evidence]


@pytest.mark.parametrize("on_failure", ["rollback", "stepBack"])
def test_every_decision_can_be_computed_again_from_its_record(world: World, on_failure: str) -> None:
    world.write_policy("shop", onFailure=on_failure)
    world.sides[Side.SOURCE].error_percent = world.sides[Side.TARGET].error_percent = 0.5
    world.until_share(50)
    world.order(Verb.PAUSE)
    world.step(MAX_ROWS + 5)
    world.sides[Side.TARGET].error_percent = 10
    world.until(Phase.ROLLED_BACK)
    records = decided(world)

    assert {record.what for record in records} >= {What.INTENT, What.PHASE}
    assert all("replay" in record.evidence for record in world.history() if record.what is What.INTENT)
    for record in records:
        trail, _, harm = replayed(record)
        assert len(trail.rows) <= MAX_ROWS
        assert float(f"{harm:.6g}") == record.evidence["harm"]


def test_the_record_of_a_failure_has_the_limit_of_its_own_attempt(world: World) -> None:
    world.write_policy("shop", onFailure="stepBack")
    world.until_share(50)
    world.sides[Side.TARGET].error_percent = 20
    world.until_share(25)
    (ceiling,) = (record for record in world.history() if record.what is What.CEILING)
    replay = ceiling.evidence["replay"]
    _, last, harm = replayed(ceiling)

    assert isinstance(replay, dict)
    assert (replay["attempt"], last.attempt, last.share) == (1, 1, 50)
    assert ceiling.evidence["limit"] == 1 / alpha_of(world.state().policy.spec.analysis, 1)
    assert harm >= 100


# -- while a write is under way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarts", [False, True], ids=["the same process", "the next process"])
def test_a_target_that_fails_while_its_second_write_is_under_way_goes_back_before_that_ends(
    world: World,
    restarts: bool,  # noqa: FBT001 - a row of the table
) -> None:
    world.until_share(5)
    world.memory.inject(Fault.TASK_ENDLESS)
    world.order(Verb.PROMOTE)
    world.wake()
    under_way = world.saved_state().intent
    if restarts:
        world.restart()
    world.sides[Side.TARGET].error_percent = 40
    world.step(4)

    assert under_way is not None
    assert world.now < under_way.deadline
    assert world.state().phase is Phase.ROLLING_BACK
    assert "istio fails" in world.reason()
