"""Clocks that are set and schedulers that die: a soak is neither shortened nor is anybody left asleep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Answer, OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.service.clockwork import FOLLOWING, WAKE_JOB, LeapClock, Wakes
from shifter.service.daemon import Waker
from tests.service.conftest import NOON, TICK, World
from tests.service.waiting import wait_for

Worlds = Callable[..., World]
MakeWakes = Callable[[Callable[[], None], timedelta], Wakes]
HOUR = timedelta(hours=1)


# -- a wall clock that is set ----------------------------------------------------------------------------------------


class Clocked:
    """A world whose service reads two clocks, one of which can be set. A write takes a few looks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.off = timedelta()
        self.waker = Waker(world.ticker, world.telemetry, TICK, wall=self.wall, monotonic=self.monotonic)

    def wall(self) -> datetime:
        return self.world.now + self.off

    def monotonic(self) -> float:
        return (self.world.now - NOON).total_seconds()

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.world.pass_time(TICK)
            self.waker.wake()

    def until(self, what: Callable[[], object], most: int = 80) -> None:
        for _ in range(most):
            if what():
                return
            self.step()
        raise AssertionError(self.world.reason())

    def until_share(self, share: float) -> None:
        shifts = self.world.ticker.shifts
        self.until(lambda: "shop" in shifts and self.world.state().share == share and not self.world.state().intent)


@pytest.fixture
def clocked(make_world: Worlds) -> Clocked:
    return Clocked(make_world(soak="10m", looks_until_done=3))


@pytest.mark.fault(
    on="process",
    fault="the wall clock is set forward by an hour",
    does="counts none of it as soak; a write under way keeps its deadline",
    sees="`service.clock` in the log",
    safe_within="at once",
)
@pytest.mark.parametrize("leap", [HOUR, timedelta(seconds=15), timedelta(days=400)])
def test_a_clock_set_forward_is_no_soak(clocked: Clocked, leap: timedelta) -> None:
    clocked.until_share(5)
    clocked.step(3)
    before = clocked.world.report().soaked_seconds
    clocked.off += leap
    clocked.step(3)
    after = clocked.world.report().soaked_seconds

    assert clocked.world.share() == 5
    assert after - before <= 3 * TICK.total_seconds()
    assert clocked.world.lines("service.clock")[0]["reason"].startswith("the wall clock was set by +")


@pytest.mark.parametrize("leap", [HOUR, -HOUR])
def test_a_write_under_way_is_not_given_up_because_a_clock_was_set(clocked: Clocked, leap: timedelta) -> None:
    clocked.until(lambda: "shop" in clocked.world.ticker.shifts and clocked.world.climbs(What.INTENT))
    clocked.off += leap
    clocked.until_share(5)

    assert clocked.world.climbs(What.INTENT) == [5]
    assert clocked.world.climbs(What.FAILED) == []


@pytest.mark.fault(
    on="process",
    fault="the wall clock is set back by an hour",
    does="looks on in every tick, gathers evidence anew, obeys orders",
    sees="`service.clock` in the log",
    safe_within="at once",
)
def test_a_clock_set_back_silences_nobody_and_begins_the_soak_anew(clocked: Clocked) -> None:
    clocked.until_share(5)
    clocked.step(5)
    clocked.off -= HOUR
    clocked.step(4)
    soaked = clocked.world.report().soaked_seconds
    # Whoever orders does so on the same machine, by the same clock.
    order = clocked.world.saved.create_order(OrderRequest("shop", Verb.PROMOTE, "ann", "because"), clocked.wall())
    clocked.step()

    assert clocked.world.report().at == clocked.wall()
    assert soaked <= 4 * TICK.total_seconds()
    assert clocked.world.saved.order(order.id).answer is Answer.ACCEPTED


@pytest.mark.parametrize("leap", [HOUR, -HOUR])
def test_a_target_that_fails_after_a_clock_was_set_goes_back(clocked: Clocked, leap: timedelta) -> None:
    clocked.until_share(5)
    clocked.off += leap
    clocked.step()
    clocked.world.sides[Side.TARGET].error_percent = 50
    clocked.until(lambda: clocked.world.state().phase is Phase.ROLLED_BACK, most=12)

    assert clocked.world.share() == 0


def test_a_leap_is_taken_over_in_the_end_even_if_somebody_is_always_busy() -> None:
    wall, monotonic = [NOON], [0.0]
    clock = LeapClock(lambda: wall[0], lambda: monotonic[0], patience_seconds=60)
    wall[0] += HOUR
    kept = clock.now(keep=True)
    wall[0], monotonic[0] = wall[0] + timedelta(minutes=1), 60.0
    taken = clock.now(keep=True)

    assert kept == (NOON, 0.0)
    assert taken == (NOON + HOUR + timedelta(minutes=1), 3600.0)


@pytest.mark.parametrize("adjusted_seconds", [0.9, -0.9])
def test_a_clock_that_is_only_being_adjusted_is_followed_without_a_word(adjusted_seconds: float) -> None:
    wall, monotonic = [NOON], [0.0]
    clock = LeapClock(lambda: wall[0], lambda: monotonic[0], patience_seconds=60)
    wall[0] += timedelta(seconds=adjusted_seconds)
    for _ in range(20):
        wall[0], monotonic[0] = wall[0] + timedelta(seconds=10), monotonic[0] + 10.0
        clock.now(keep=True)

    assert clock.now(keep=True) == (wall[0], 0.0)


@pytest.mark.fault(
    on="process",
    fault="the wall clock is set by less than a second",
    does="follows it by 1 % of the time that passes: a soak is off by no more",
    sees="nothing",
    safe_within="at once",
)
@pytest.mark.parametrize("adjusted_seconds", [0.9, -0.9])
def test_a_clock_that_is_being_adjusted_adds_nothing_to_a_soak(adjusted_seconds: float) -> None:
    wall, monotonic = [NOON], [0.0]
    clock = LeapClock(lambda: wall[0], lambda: monotonic[0], patience_seconds=60)
    before, _ = clock.now(keep=False)
    wall[0], monotonic[0] = NOON + timedelta(seconds=10 + adjusted_seconds), 10.0
    after, _ = clock.now(keep=False)

    assert (after - before).total_seconds() == pytest.approx(10.0, rel=FOLLOWING)


# -- the scheduler that wakes ----------------------------------------------------------------------------------------


@pytest.fixture
def wakes() -> Iterator[MakeWakes]:
    with ExitStack() as stack:

        def make(wake: Callable[[], None], every: timedelta) -> Wakes:
            made = Wakes(wake, every)
            stack.callback(made.stop)
            return made

        yield make


def test_a_scheduler_that_waits_for_a_clock_that_was_set_back_wakes_at_once(wakes: MakeWakes) -> None:
    woken: list[float] = []
    made = wakes(lambda: woken.append(time.monotonic()), HOUR)
    wait_for(lambda: woken, "the first wake did not come")
    made.scheduler.modify_job(WAKE_JOB, next_run_time=datetime.now(UTC) + HOUR)
    said: set[str] = set()

    def was_woken() -> bool:  # tended again and again, as by the main thread: the first wake may not have ended yet
        said.add(made.tend(3 * HOUR.total_seconds() + 1))
        return len(woken) > 1

    wait_for(was_woken, "it was not woken")
    assert said == {""}


def test_a_scheduler_that_just_woke_somebody_is_left_alone(wakes: MakeWakes) -> None:
    made = wakes(lambda: None, HOUR)
    before = made.scheduler.get_job(WAKE_JOB).next_run_time
    made.tend(5.0)

    assert made.scheduler.get_job(WAKE_JOB).next_run_time == before


@pytest.mark.fault(
    on="process",
    fault="the scheduler's thread dies",
    does="the main thread notices the silence and starts another scheduler",
    sees="`service.thread`: nobody was woken for N s",
    safe_within="11 s",
)
def test_a_dead_scheduler_is_replaced(wakes: MakeWakes) -> None:
    woken: list[float] = []
    made = wakes(lambda: woken.append(time.monotonic()), timedelta(seconds=0.05))
    wait_for(lambda: woken, "the first wake did not come")
    made.scheduler.shutdown(wait=False)
    woken.clear()
    said = made.tend(10.5)

    wait_for(lambda: len(woken) > 2, "nobody is woken any more")
    assert said == "nobody was woken for 10 s; another scheduler was started"
