"""The way back: what the source had is recorded, watched, kept by a pinned floor, and not asked for too much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from shifter.adapters.memory_workload import MemoryWorkload
from shifter.core.balancing.splits import Health, Side
from shifter.core.counts.evidence import Reading
from shifter.core.deciding.orders import Answer, Verb
from shifter.core.deciding.pinning import Workload
from shifter.core.phases import Phase
from shifter.core.records import NewRecord, What
from shifter.service.lanes import Priority
from shifter.service.tick import Ticker
from shifter.service.workload import WorkloadObserver
from tests.service.conftest import NEW, NEWER, OLD, OLDER, World
from tests.service.outside import Gateway, HeldLanes

Worlds = Callable[..., World]

ROUTE = "lb-front0001/lbl-https443/shop.example.com/"


class Pods(Gateway):
    """A gateway of `count` pods, of which the first answers all requests."""

    def __init__(self, pod: str, count: int) -> None:
        super().__init__(pod)
        self.count = count

    def read(self, at: object, edges_ms: object) -> Reading:
        reading = super().read(at, edges_ms)  # type: ignore[arg-type]
        (first,) = reading.pods.values()
        idle = {f"{self.pod}-{index}": replace(first, counters={}) for index in range(1, self.count)}
        return replace(reading, pods={self.pod: first, **idle})


def with_pods(world: World, count: int = 4) -> Pods:
    """Give tcm so many pods, from the start."""
    pods = Pods("tcm-1", count)
    world.sides[Side.SOURCE] = pods
    world.restart()
    return pods


def beside_a_short_tcm(make_world: Worlds, had: int = 4) -> tuple[World, Pods]:
    """Bring a shift to 95 % that was carried by so many pods of tcm, and scale those down to one."""
    world = make_world(steps=(50, 95, 100))
    pods = with_pods(world, had)
    world.until_share(95)
    pods.count = 1
    world.step(3)
    return world, pods


def members_of_tcm_are(world: World, health: Health) -> None:
    for key in (OLD, OLDER):
        world.memory.set_health(world.route(), key, health)


def records(world: World, what: What) -> list[NewRecord]:
    return [record for record in world.history() if record.what is what]


def retreats(world: World) -> list[object]:
    return [each.evidence["to"] for each in records(world, What.INTENT) if each.evidence["direction"] == "retreat"]


def test_what_tcm_has_is_recorded_with_the_intent_of_the_first_step_and_survives_a_restart(world: World) -> None:
    with_pods(world)
    world.until_share(5)
    world.restart()
    world.until_share(25)

    first, *later = [record for record in records(world, What.INTENT) if record.evidence["direction"] == "climb"]
    assert first.evidence["wayBack"] == {"gateway pods": 4, f"healthy members on {ROUTE}": 2}
    assert all("wayBack" not in record.evidence for record in later)
    way_back = world.saved_state().way_back
    assert way_back is not None
    assert way_back.left == way_back.had == first.evidence["wayBack"]


@pytest.mark.fault(
    on="people",
    fault="scale tcm's gateway down while istio has a share",
    does="no climb; a rollback goes in stages",
    sees="hold `cold source`: tcm has 1 of the 4 gateway pods that carried everything",
    safe_within="sampleMaxAge + 2 ticks",
)
def test_a_tcm_that_was_scaled_down_stops_the_climb_pages_and_is_climbed_beside_again(world: World) -> None:
    pods = with_pods(world)
    world.until_share(25)
    pods.count = 1
    world.step(20)

    assert (world.share(), world.holds(), world.report().page) == (25, {"cold source"}, True)
    assert "tcm has 1 of the 4 gateway pods that carried everything; it could take back about 50 %" in world.reason()
    pods.count = 2
    world.until(Phase.COMPLETED)
    assert world.climbs() == [5, 25, 50, 100]


def test_a_pod_that_is_away_for_a_single_look_changes_nothing(world: World) -> None:
    pods = with_pods(world)
    world.until_share(25)
    for _ in range(5):
        pods.count = 1
        world.step()
        assert "cold source" not in world.holds()
        pods.count = 4
        world.step()


def test_a_datasource_that_does_not_answer_is_no_signal_and_not_a_cold_source(world: World) -> None:
    pods = with_pods(world)
    world.until_share(25)
    pods.down = True
    world.step(10)

    assert world.holds() == {"no signal"}


def test_what_was_seen_of_a_short_source_outlives_a_restart_and_an_outage(world: World) -> None:
    pods = with_pods(world)
    world.until_share(50)
    pods.count = 1
    world.step(3)
    pods.down = True
    world.restart()
    world.step(3)

    assert world.holds() == {"cold source", "no signal"}


@pytest.mark.fault(
    on="people",
    fault="order a rollback onto a tcm that was scaled down",
    does="goes back in stages, each no more than tcm can carry, the rest when there is more",
    sees="the answer and the reason: in stages, how much it could take back, and `rollback --override`",
    safe_within="one tick",
)
def test_a_rollback_onto_a_short_tcm_goes_in_stages_as_capacity_returns(make_world: Worlds) -> None:
    world, pods = beside_a_short_tcm(make_world, had=8)
    order = world.order(Verb.ROLLBACK)
    world.step(10)
    assert world.share() == pytest.approx(75, abs=0.5)
    pods.count = 2
    world.step(10)
    assert world.share() == 50
    assert (world.state().phase, world.report().page) == (Phase.ROLLING_BACK, True)
    pods.count = 4
    world.until(Phase.ROLLED_BACK)

    assert retreats(world) == [75, 50, 0]
    assert world.answer(order)[0] is Answer.ACCEPTED
    assert "in stages: tcm has 1 of the 8 gateway pods" in world.answer(order)[1]


def test_a_staged_rollback_goes_on_where_it_was_after_a_restart(make_world: Worlds) -> None:
    world, pods = beside_a_short_tcm(make_world)
    world.order(Verb.ROLLBACK)
    world.step(3)
    world.restart()
    world.step(5)
    assert (world.share(), world.state().phase) == (50, Phase.ROLLING_BACK)
    pods.count = 4
    world.until(Phase.ROLLED_BACK)

    assert retreats(world) == [50, 0]


def test_a_failing_istio_goes_back_in_stages_too_and_override_ends_them(make_world: Worlds) -> None:
    world, _ = beside_a_short_tcm(make_world)
    world.sides[Side.TARGET].error_percent = 10
    world.step(20)
    assert (world.share(), world.state().phase) == (50, Phase.ROLLING_BACK)
    order = world.order(Verb.ROLLBACK, override=True)
    world.until(Phase.ROLLED_BACK)

    assert retreats(world) == [50, 0]
    assert world.answer(order) == (
        Answer.ACCEPTED,
        "it is rolling back already; from now on at once, not in stages",
    )


@pytest.mark.fault(
    on="process",
    fault="istio's gateway dies while tcm is scaled down",
    does="everything back to tcm at once: there is nothing to spare it from",
    sees="phase RollingBack: istio failed N of N requests: dead",
    safe_within="2 ticks",
)
def test_from_a_dead_istio_everything_goes_back_at_once_whatever_tcm_has(make_world: Worlds) -> None:
    world, _ = beside_a_short_tcm(make_world)
    world.sides[Side.TARGET].error_percent = 100
    world.until(Phase.ROLLED_BACK, most=6)

    assert retreats(world) == [0]


@pytest.mark.fault(
    on="people",
    fault="order a completed shift back after tcm was drained",
    does="refuses the order; the shift stays completed",
    sees="`tcm is drained, there is nothing to go back to`",
    safe_within="at once",
)
def test_a_completed_shift_does_not_go_back_to_a_tcm_that_was_drained(world: World) -> None:
    world.until(Phase.COMPLETED)
    members_of_tcm_are(world, Health.DEAD)
    world.step(2)
    order = world.order(Verb.ROLLBACK)
    world.step(3)

    assert (world.state().phase, world.share()) == (Phase.COMPLETED, 100)
    answer, text = world.answer(order)
    assert (answer, text.startswith("tcm is drained, there is nothing to go back to")) == (Answer.REFUSED, True)


def test_a_rollback_onto_a_drained_tcm_waits_says_so_and_goes_on_by_itself(world: World) -> None:
    world.until_share(25)
    members_of_tcm_are(world, Health.DEAD)
    world.step(2)
    order = world.order(Verb.ROLLBACK)
    submits = len(world.provider.submits)
    world.step(5)

    assert (world.state().phase, len(world.provider.submits)) == (Phase.ROLLING_BACK, submits)
    assert world.answer(order)[1].endswith("nothing is written before its gateway is back")
    members_of_tcm_are(world, Health.ALIVE)
    world.until(Phase.ROLLED_BACK)
    assert world.view().weights == {OLD: 100, OLDER: 100, NEW: 0, NEWER: 0}


def test_a_split_that_was_adopted_has_nothing_to_compare_its_source_with_and_says_so(world: World) -> None:
    world.edit_weights({NEW: 50})
    world.step(3)
    world.order(Verb.RECONCILE, adopt=True)
    world.step(3)

    assert world.state().way_back is None
    (warning,) = world.report().warnings
    assert (
        warning == "what tcm had before the first step is not known: whether it could take everything back is not, too"
    )


# ---- the autoscaler's floor --------------------------------------------------------------------------------------


def with_workload(world: World, workload: MemoryWorkload | None = None) -> MemoryWorkload:
    """Wire a workload to the service and start it anew on it."""
    made = MemoryWorkload(4, 1) if workload is None else workload
    world.parts = replace(world.parts, workload=made)
    world.ticker = Ticker(world.parts)
    world.ticker.load()
    return made


def said(world: World) -> list[str]:
    return [record.reason for record in records(world, What.PIN)]


def test_the_floor_is_journalled_then_pinned_and_read_back_before_the_first_step(world: World) -> None:
    workload = with_workload(world)
    world.until_share(5)

    assert (workload.asked, workload.observe().floor) == ([4], 4)
    pinned = world.history().index(records(world, What.PIN)[0])
    climbed = world.history().index(records(world, What.INTENT)[0])
    assert pinned < climbed
    assert said(world) == ["tcm's autoscaler is to keep at least 4 replicas; its floor was 1"]
    assert records(world, What.INTENT)[0].evidence["wayBack"] == {
        "gateway pods": 1,
        "ready replicas": 4,
        f"healthy members on {ROUTE}": 2,
    }


def test_a_pin_that_was_saved_and_never_sent_is_sent_after_a_restart(world: World) -> None:
    workload = with_workload(world)
    while not records(world, What.PIN):
        world.step()
    workload.set_floor(1)  # as if the process had died between the two
    with_workload(world, workload)
    world.until_share(5)

    assert (workload.asked, workload.observe().floor, len(said(world))) == ([4, 4], 4, 1)


def test_a_pin_is_asked_for_again_until_it_is_seen(world: World) -> None:
    workload = with_workload(world)
    workload.deaf = True
    world.step(12)
    taken = len(workload.asked)
    workload.deaf = False
    world.until_share(5)

    assert (taken > 1, workload.observe().floor) == (True, 4)


def test_a_pin_whose_answer_was_lost_is_read_back_and_not_asked_for_again(world: World) -> None:
    workload = with_workload(world)
    workload.loses_answers = True
    world.until_share(5)

    assert (workload.asked, workload.observe().floor) == ([4], 4)


def test_after_a_rollback_the_floor_is_put_back(world: World) -> None:
    workload = with_workload(world)
    world.until_share(25)
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    world.step(4)

    assert (workload.observe().floor, world.state().pin) == (1, None)
    assert said(world)[1:] == [
        "tcm's autoscaler need not keep 4 replicas any more: back to 1",
        "tcm's autoscaler is its own again",
    ]


def test_of_two_shifts_the_last_to_go_puts_the_floor_back(make_world: Worlds) -> None:
    world = make_world(shifts={"shop": "lb-a", "cart": "lb-b"})
    workload = with_workload(world)
    world.until_share(5, name="shop")
    world.until_share(5, name="cart")
    world.order(Verb.ROLLBACK, name="shop")
    world.until(Phase.ROLLED_BACK, name="shop")
    world.step(4)
    between = workload.observe().floor
    world.order(Verb.ROLLBACK, name="cart")
    world.until(Phase.ROLLED_BACK, name="cart")
    world.step(4)

    assert (between, workload.observe().floor) == (4, 1)


@pytest.mark.fault(
    on="Kubernetes",
    fault="tcm's cluster does not tell its replicas, where it is asked for them",
    does="holds; no climb; a rollback goes on",
    sees="hold `cold source`: whether tcm could take everything back cannot be seen",
    safe_within="one tick",
)
def test_a_workload_that_does_not_answer_holds_and_stops_no_rollback(world: World) -> None:
    workload = with_workload(world)
    world.until_share(25)
    workload.down = True
    world.step(10)
    assert (world.holds(), world.share()) == ({"cold source"}, 25)
    assert "whether tcm could take everything back cannot be seen: nobody answers" in world.reason()
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)

    assert world.share() == 0


def test_replicas_that_go_away_in_spite_of_the_pin_are_a_cold_source(world: World) -> None:
    workload = with_workload(world)
    world.until_share(25)
    workload.set_floor(0)
    workload.scale(1)
    workload.deaf = True
    world.step(5)

    assert "tcm has 1 of the 4 ready replicas that carried everything" in world.reason()


def test_in_mode_observe_nothing_is_pinned(make_world: Worlds) -> None:
    world = make_world(mode="observe")
    workload = with_workload(world)
    world.step(20)

    assert workload.asked == []
    assert "before the first step tcm's autoscaler is to keep at least 4 replicas" in world.reason()


def test_without_the_lease_a_pin_is_not_insisted_on(world: World) -> None:
    workload = with_workload(world)
    world.until_share(25)
    world.lease.lose()
    workload.set_floor(1)
    world.step(5)

    assert workload.asked == [4]


def test_a_look_at_the_workload_that_is_late_is_not_asked_for_twice_and_nothing_is_believed_meanwhile() -> None:
    workload = MemoryWorkload(4, 1)
    lanes = HeldLanes(Priority.READ, Priority.CLIMB)
    observer = WorkloadObserver(workload, lanes)
    before = observer.problem
    asked = observer.ask()
    observer.answer()
    late = observer.problem
    again = observer.ask()
    observer.pin(4)
    observer.pin(6)
    lanes.let_go()
    observer.answer()

    assert (len(asked), again, workload.asked) == (1, [], [4])
    assert before == "its workload has not been looked at yet"
    assert late == "its workload has not been seen in time"
    assert (observer.seen, observer.problem) == (Workload(4, 1), "")


def test_a_bug_in_looking_at_the_workload_is_a_problem_and_no_crash() -> None:
    class Odd(MemoryWorkload):
        def observe(self) -> Workload:
            raise KeyError("replicas")

    observer = WorkloadObserver(Odd(1, 1), HeldLanes())
    observer.ask()
    observer.answer()

    assert observer.problem == "its workload cannot be seen: KeyError: 'replicas'"
    assert observer.seen is None


def test_where_there_is_no_workload_to_ask_nothing_is_asked_and_nothing_is_wrong() -> None:
    observer = WorkloadObserver(None, HeldLanes())
    observer.answer()
    observer.pin(4)

    assert (observer.ask(), observer.seen, observer.problem) == ([], None, "")
