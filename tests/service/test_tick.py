"""Whole ticks: when one is due, what it does when a neighbour is missing, and that shifts do not hold each other up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shifter.adapters.memory import Fault
from shifter.core.balancing.splits import Health, Side
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import FLEET, Answer, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Direction
from shifter.errors import ConflictError, InvariantError, RefusedError
from shifter.service.policy_files import PolicyFolder, PolicySet
from shifter.service.tick import Ticker
from tests.service.conftest import NEW, NOON, OLD, TICK, World

Worlds = Callable[..., World]
OTHER_BALANCER = "lb-front0002"


def test_a_healthy_migration_goes_through_every_step_and_completes(world: World) -> None:
    world.until(Phase.COMPLETED)

    assert world.climbs() == [5, 25, 50, 100]
    assert world.written_shares() == [5, 25, 50, 100]
    assert world.reason().startswith(
        "completed: 100 % soaked on istio; bounded, not proven: istio fails at most 1.5 times as often as tcm, plus"
    )


def test_a_completed_shift_writes_nothing_and_is_still_watched(world: World) -> None:
    world.until(Phase.COMPLETED)
    submits = len(world.provider.submits)
    world.step(5)

    assert len(world.provider.submits) == submits
    assert world.reason() == "completed: all traffic is on istio"


def test_every_step_soaks_before_the_next(make_world: Worlds) -> None:
    world = make_world(soak="50s")
    world.until(Phase.COMPLETED)
    begun = [record.at for record in world.history() if record.what is What.INTENT]
    done = [record.at for record in world.history() if record.what is What.DONE]

    assert all(later - earlier >= timedelta(seconds=50) for earlier, later in zip(done, begun[1:], strict=False))


def test_a_failing_target_is_rolled_back_by_itself_and_stays_there(world: World) -> None:
    world.until_share(25)
    world.sides[Side.TARGET].error_percent = 30
    world.until(Phase.ROLLED_BACK)
    world.sides[Side.TARGET].error_percent = 0
    world.step(20)

    assert world.state().phase is Phase.ROLLED_BACK
    assert world.written_shares() == [5, 25, 0]
    assert "istio fail" in world.reason()


def test_a_retry_after_a_rollback_completes(world: World) -> None:
    world.until_share(5)
    world.sides[Side.TARGET].error_percent = 30
    world.until(Phase.ROLLED_BACK)
    world.sides[Side.TARGET].error_percent = 0
    world.order(Verb.RETRY)
    world.wake()
    world.until(Phase.COMPLETED)

    assert world.state().attempt == 2
    assert world.climbs() == [5, 5, 25, 50, 100]


def test_a_failure_at_full_share_goes_back_before_it_completes(world: World) -> None:
    world.until_share(100)
    world.sides[Side.TARGET].error_percent = 30
    world.until(Phase.ROLLED_BACK)

    assert world.share() == 0


def test_a_dead_target_is_rolled_back_without_its_metrics(world: World) -> None:
    world.until_share(25)
    world.sides[Side.TARGET].gone = True
    for key in (NEW, "ins-new2:31080"):
        world.memory.set_health(world.route(), key, Health.DEAD)
    world.until(Phase.ROLLED_BACK)

    assert "gateway is gone" in world.reason()
    assert {key: weight for key, weight in world.view().weights.items() if weight} == {OLD: 100, "ins-old2:30080": 100}


# -- due or not ------------------------------------------------------------------------------------------------------


def test_a_wake_between_ticks_with_nothing_open_does_nothing(world: World) -> None:
    world.step()
    calls = len(world.trap.calls)
    world.pass_time(TICK / 10)
    worked = world.ticker.wake(world.now)

    assert not worked
    assert len(world.trap.calls) == calls


def test_an_order_is_answered_at_the_next_wake_and_not_at_the_next_tick(world: World) -> None:
    world.until_share(5)
    order = world.order(Verb.PAUSE)
    world.pass_time(TICK / 10)
    world.wake()

    assert world.saved.order(order.id).answer is Answer.ACCEPTED
    assert world.saved_state().paused is not None


def test_an_open_write_is_followed_at_every_wake(world: World) -> None:
    while world.share() == 0:
        world.step()
    world.pass_time(TICK / 10)
    world.wake()

    assert world.saved_state().share == 5


def test_doubled_wakes_change_nothing(world: World) -> None:
    for _ in range(200):
        world.step()
        world.wake()
        world.wake()

    assert world.state().phase is Phase.COMPLETED
    assert world.climbs() == [5, 25, 50, 100]


def test_late_wakes_cost_time_and_nothing_else(world: World) -> None:
    for turn in range(200):
        world.pass_time(TICK / 2 if turn % 3 else TICK)
        world.wake()

    assert world.climbs() == [5, 25, 50, 100]


def test_a_wall_clock_that_jumps_back_an_hour_does_not_stop_ticks(world: World) -> None:
    world.until_share(25)
    world.now -= timedelta(hours=1)
    observed = world.trap.calls.count("after observe")
    world.step(3)

    assert world.trap.calls.count("after observe") == observed + 3
    assert world.report().at < NOON


def test_after_a_clock_jump_a_failing_target_still_goes_back_on_order(world: World) -> None:
    world.until_share(25)
    world.now -= timedelta(hours=1)
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)

    assert world.share() == 0


def test_after_a_clock_jump_a_share_that_has_soaked_does_not_rise_on_old_evidence(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(6)
    world.now -= timedelta(hours=1)
    world.order(Verb.RESUME)
    world.step()

    assert world.report().verdict == "no signal"
    assert world.saved_state().intent is None


def test_after_a_clock_jump_a_target_that_begins_to_fail_goes_back_within_a_few_ticks(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(6)
    world.now -= timedelta(hours=1)
    world.sides[Side.TARGET].error_percent = 30
    world.step(5)

    assert world.share() == 0


def test_after_a_clock_jump_long_good_evidence_does_not_outweigh_what_is_seen_now(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(100)
    world.now -= timedelta(hours=1)
    world.sides[Side.TARGET].error_percent = 3
    world.step(6)

    assert world.share() == 0


# -- restart ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [5, 25, 50, 100])
def test_a_restart_goes_on_where_the_last_process_stopped(world: World, share: float) -> None:
    world.until_share(share)
    world.restart()
    world.until(Phase.COMPLETED)

    assert world.climbs() == [5, 25, 50, 100]


def test_a_restart_soaks_anew_where_prometheus_remembers_nothing(make_world: Worlds) -> None:
    world = make_world(soak="50s")
    world.until_share(25)
    world.step(3)
    soaked = world.report().soaked_seconds
    for side in world.sides.values():
        side.forgets = True
    world.restart()
    restarted_at = world.now
    world.until_share(50)

    assert soaked >= 20
    assert world.now - restarted_at >= timedelta(seconds=50)


def test_a_restart_keeps_a_pause(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.wake()
    world.restart()
    world.step(10)

    assert world.holds() == {"pause"}
    assert world.state().share == 25


def test_a_replica_is_ready_once_the_state_is_loaded(world: World) -> None:
    assert world.ticker.ready


# -- without the store -----------------------------------------------------------------------------------------------


def test_without_the_store_nothing_climbs(world: World) -> None:
    world.until_share(5)
    world.saved.down = True
    world.step(20)

    assert world.share() == 5


def test_without_the_store_a_failing_target_still_goes_back(world: World) -> None:
    world.until_share(25)
    world.saved.down = True
    world.sides[Side.TARGET].error_percent = 30
    world.step(20)

    assert world.share() == 0
    assert world.state().phase is Phase.ROLLED_BACK


@pytest.mark.parametrize(
    "trouble",
    [RefusedError("a newer version wrote this"), InvariantError("no JSON"), ZeroDivisionError("a bug")],
    ids=lambda trouble: type(trouble).__name__,
)
def test_a_store_that_refuses_does_not_keep_a_failing_target_from_going_back(
    make_world: Worlds, trouble: Exception
) -> None:
    world = make_world()
    world.until_share(25)
    world.store.bugs["shop"] = trouble
    world.sides[Side.TARGET].error_percent = 30
    world.step(20)

    assert world.share() == 0
    assert {line["error"] for line in world.lines("shift.error")} == {type(trouble).__name__}


def test_an_unexpected_state_of_a_shift_stops_its_climbs_until_a_restart_and_not_its_way_back(world: World) -> None:
    world.until_share(25)
    world.store.bugs["shop"] = InvariantError("Completed is no way out of Waiting")
    world.step(40)
    del world.store.bugs["shop"]
    world.step(40)

    assert world.share() == 25
    assert world.holds() == {HoldKind.BUG}
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    assert world.share() == 0


def test_what_happened_without_the_store_is_journalled_once_it_is_back(world: World) -> None:
    world.until_share(25)
    world.saved.down = True
    world.sides[Side.TARGET].error_percent = 30
    world.step(20)
    world.saved.down = False
    world.step(2)
    saved, told = world.saved_state(), [(record.what, record.evidence.get("to")) for record in world.history()]

    assert saved.phase is Phase.ROLLED_BACK
    assert saved.share == 0
    assert told.count((What.INTENT, 0.0)) == 1
    assert told.count((What.DONE, 0.0)) == 1


def test_a_save_that_worked_but_was_not_confirmed_is_found_again(world: World) -> None:
    world.until_share(25)
    world.step(2)
    world.saved.fail_next(1, after_applying=True)
    world.until(Phase.COMPLETED)

    assert world.climbs() == [5, 25, 50, 100]


def test_whoever_saved_first_is_believed(world: World) -> None:
    world.until_share(5)
    saved = world.saved.load()["shop"]
    world.saved.save(saved.state.model_copy(update={"attempt": 7}), saved.version)
    world.until_share(25)

    assert world.state().attempt == 7
    assert ConflictError.__name__ in {line.get("error") for line in world.lines("shift.error")}


def test_what_is_wrong_with_its_file_stands_against_a_shift_that_somebody_else_saved(world: World) -> None:
    world.until_share(5)
    (world.path / "shop.yaml").write_text("{")
    world.step()
    saved = world.saved.load()["shop"]
    world.saved.save(saved.state, saved.version)
    world.order(Verb.PAUSE)
    world.wake()
    order = world.order(Verb.PROMOTE, full=True)
    world.wake()

    assert ConflictError.__name__ in {line.get("error") for line in world.lines("shift.error")}
    assert world.answer(order)[0] is Answer.REFUSED
    assert "policy" in world.answer(order)[1]


# -- several shifts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["lb-front0001", OTHER_BALANCER])
def test_two_shifts_complete_side_by_side(make_world: Worlds, second: str) -> None:
    world = make_world(shifts={"shop": "lb-front0001", "pay": second})
    world.until(Phase.COMPLETED, name="shop")
    world.until(Phase.COMPLETED, name="pay")

    assert world.climbs(name="shop") == world.climbs(name="pay") == [5, 25, 50, 100]


def test_of_two_shifts_on_one_balancer_each_writes_its_own_routes(make_world: Worlds) -> None:
    world = make_world(shifts={"shop": "lb-front0001", "pay": "lb-front0001"})
    world.until(Phase.COMPLETED, name="shop")
    world.until(Phase.COMPLETED, name="pay")
    touched = [{change.route.id for change in changes} for changes, _ in world.provider.submits]

    assert all(len(routes) == 1 for routes in touched)


def test_the_failure_of_one_shift_is_not_the_other_ones(make_world: Worlds) -> None:
    world = make_world(shifts={"shop": "lb-front0001", "pay": OTHER_BALANCER})
    world.until_share(5, name="shop")
    world.order(Verb.ROLLBACK, name="shop")
    world.until(Phase.COMPLETED, name="pay")

    assert world.state("shop").phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("call", ["observe", "submit"])
def test_a_bug_at_one_balancer_does_not_stop_the_other_shift(make_world: Worlds, call: str) -> None:
    world = make_world(shifts={"shop": "lb-front0001", "pay": OTHER_BALANCER})
    world.step()
    world.provider.bugs[f"{call} {world.route('shop').domain}"] = KeyError("Targets")
    world.until(Phase.COMPLETED, name="pay")

    assert world.climbs(name="pay") == [5, 25, 50, 100]


def test_a_bug_in_one_shifts_turn_does_not_stop_the_other(make_world: Worlds) -> None:
    world = make_world(shifts={"pay": OTHER_BALANCER, "shop": "lb-front0001"})
    world.store.bugs["pay"] = ZeroDivisionError("a bug")
    world.until(Phase.COMPLETED, name="shop")
    errors = {(line["shift"], line["error"]) for line in world.lines("shift.error")}

    assert errors == {("pay", "ZeroDivisionError")}
    assert world.share("pay") == 0


def test_after_a_bug_nothing_is_remembered_that_was_not_saved(make_world: Worlds) -> None:
    world = make_world()
    world.until_share(5)
    world.store.bugs["shop"] = ZeroDivisionError("a bug")
    world.step(10)
    del world.store.bugs["shop"]
    world.until(Phase.COMPLETED)

    assert world.climbs(What.INTENT) == [5, 25, 50, 100]


def test_a_bug_while_a_retreat_is_sent_does_not_keep_it_from_being_sent_again(world: World) -> None:
    world.until_share(25)
    world.provider.bugs[f"submit {world.route().domain}"] = KeyError("RequestId")
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)

    assert world.share() == 0


def test_shifts_on_their_way_back_come_first(make_world: Worlds) -> None:
    world = make_world(shifts={"alpha": "lb-front0001", "omega": "lb-front0001"})
    world.until_share(5, name="alpha")
    world.until_share(5, name="omega")
    world.memory.hold_lock(world.route("omega").domain)
    world.order(Verb.ROLLBACK, name="omega")
    world.step()
    world.memory.release_lock(world.route("omega").domain)
    world.until(Phase.ROLLED_BACK, name="omega")
    last = [record for record in world.history(None) if record.what is What.DONE][-1]

    assert last.shift == "omega"
    assert last.evidence["direction"] == Direction.RETREAT


# -- telling ---------------------------------------------------------------------------------------------------------


def test_an_unchanged_report_is_written_only_every_so_often(world: World) -> None:
    world.until(Phase.COMPLETED)
    world.step(2)
    before = world.trap.calls.count("after report")
    world.step(9)

    assert world.trap.calls.count("after report") == before + 3


def test_a_report_that_could_not_be_kept_is_kept_later(world: World) -> None:
    world.until_share(5)
    world.saved.down = world.sides[Side.SOURCE].down = True
    world.step()
    world.saved.down = False
    world.step()

    assert world.holds() == {"no signal"}


def test_a_report_that_cannot_be_written_does_not_stop_the_other_shift(make_world: Worlds) -> None:
    world = make_world(shifts={"pay": OTHER_BALANCER, "shop": "lb-front0001"})
    world.store.report_bugs["pay"] = ZeroDivisionError("a bug")
    world.until(Phase.COMPLETED, name="shop")

    assert world.climbs(name="shop") == [5, 25, 50, 100]


def test_a_provider_that_answers_nothing_is_a_hold_with_its_reason(world: World) -> None:
    world.until_share(5)
    world.memory.inject(Fault.UNREACHABLE, times=5)
    world.step(5)

    assert world.holds() == {"provider"}
    assert "nobody answers" in world.reason()
    assert world.share() == 5


class BrokenFolder(PolicyFolder):
    def reload(self) -> PolicySet:
        raise TypeError("a bug in reading the folder")


def test_a_bug_in_obeying_the_fleets_orders_keeps_nothing_from_going_back(world: World) -> None:
    world.until_share(25)
    world.store.fleet_bug = TypeError("a bug in saving the fleet")
    order = world.order(Verb.FREEZE, name=FLEET)
    world.sides[Side.TARGET].error_percent = 100
    world.step(8)

    assert world.share() == 0
    assert HoldKind.FREEZE in world.holds()
    assert world.answer(order)[0] is None


def test_a_bug_in_reading_the_policies_keeps_nothing_from_going_back(world: World) -> None:
    world.until_share(25)
    world.ticker = Ticker(replace(world.parts, folder=BrokenFolder(world.path)))
    world.ticker.load()
    world.sides[Side.TARGET].error_percent = 100
    world.step(10)

    assert world.share() == 0
    assert "a bug in reading the folder" in world.log.getvalue()
