"""A replica that stands by, leads, loses the lease and stands by again. Threads, signals and HTTP are real."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from shifter.errors import InvariantError, RefusedError
from shifter.service import standby
from shifter.service.daemon import Waker
from shifter.service.lanes import Lanes
from shifter.service.standby import Candidate, Replica
from shifter.service.telemetry import Telemetry
from shifter.service.tick import Parts, Ticker
from tests.service.conftest import TICK, World, fleet_with
from tests.service.waiting import DEADLINE_SECONDS, wait_for


class Chance:
    """A leadership that a test gives and takes."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.given = threading.Event()
        self.why_lost = self.why_stuck = self.why_unread = ""
        self.refusal: RefusedError | None = None
        self.started = self.released = False

    def start(self) -> None:
        self.started = True

    def valid(self) -> bool:
        return self.given.is_set() and not self.why_lost and not self.released

    def may_lower(self) -> bool:
        return self.valid()

    def lost(self) -> str:
        if self.refusal is not None:
            raise self.refusal
        return self.why_lost

    def stuck(self) -> str:
        return self.why_stuck

    def unread(self) -> str:
        return self.why_unread

    def answered(self) -> float:
        return time.monotonic()

    def release(self) -> None:
        self.released = True


class Stage:
    """A replica in front of a world, and what a person sees and does."""

    def __init__(self, world: World) -> None:
        world.die()
        self.world = world
        self.chances: list[Chance] = []
        self.built: list[Parts] = []
        self.telemetry = Telemetry(CollectorRegistry(), timedelta(minutes=5))

    def candidate(self) -> Chance:
        self.chances.append(Chance(len(self.chances) + 1))
        return self.chances[-1]

    def parts(self, candidate: Candidate) -> Parts:
        made = replace(
            self.world.parts,
            fleet=fleet_with(tick=timedelta(seconds=0.2)),
            lanes=Lanes(),
            leadership=candidate,
            stopwatch=time.monotonic,
            telemetry=Telemetry(CollectorRegistry(), timedelta(minutes=5)),
        )
        self.built.append(made)
        return made

    def run(self, person: Callable[[], None]) -> None:
        """Run the replica in this thread, where signals arrive, and a person in another; stop it afterwards."""
        with ThreadPoolExecutor(1) as other:

            def play() -> None:
                try:
                    self.until(lambda: bool(self.chances), "it does not stand by")
                    person()
                finally:
                    os.kill(os.getpid(), signal.SIGTERM)

            played = other.submit(play)
            try:
                standby.run(Replica(self.candidate, self.parts, self.telemetry), "127.0.0.1", 0)
            finally:
                played.result(DEADLINE_SECONDS)

    def until(self, what: Callable[[], object], why: str) -> None:
        wait_for(what, why)

    def ask(self, path: str) -> tuple[int, str]:
        self.until(lambda: self.world.lines("service.standby"), "it serves nothing")
        port = self.world.lines("service.standby")[0]["port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def lead(self, number: int = 0) -> None:
        """Give the lease to this chance, and wait until its ticks come."""
        self.until(lambda: len(self.chances) > number, "nobody tries again")
        self.chances[number].given.set()
        self.until(lambda: len(self.world.lines("service.started")) > number, "it does not lead")
        before = len(self.world.lines("shift.tick"))
        self.until(lambda: len(self.world.lines("shift.tick")) > before, "it does not tick")


@pytest.fixture
def own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def stage(world: World, own_signals: None) -> Stage:
    del own_signals
    return Stage(world)


def test_a_standby_is_alive_and_ready_and_touches_nothing(stage: Stage) -> None:
    answers: list[object] = []

    def person() -> None:
        answers.extend([stage.ask("/livez"), stage.ask("/readyz")])
        answers.append("shifter_leader 0.0" in stage.ask("/metrics")[1])

    before = len(stage.world.trap.calls)
    stage.run(person)

    assert answers == [(200, "ok"), (200, "ok"), True]
    assert not stage.built
    assert len(stage.world.trap.calls) == before
    assert stage.chances[0].released


@pytest.mark.fault(
    on="process",
    fault="SIGTERM while standing by",
    does="ends at once; there is nothing to drain",
    sees="`service.stopped`",
    safe_within="1 s, and one call to the API server",
)
def test_a_standby_that_is_told_to_stop_ends_quickly(stage: Stage) -> None:
    began = time.monotonic()
    stage.run(lambda: None)

    assert time.monotonic() - began < 3.0
    assert stage.chances[0].released
    assert stage.world.lines("service.stopped")


def test_a_standby_whose_polls_do_not_come_is_not_alive(stage: Stage) -> None:
    answers: list[object] = []

    def person() -> None:
        stage.chances[0].why_stuck = "no poll of the lease for 40 s"
        answers.append(stage.ask("/livez"))

    stage.run(person)

    assert answers == [(503, "no poll of the lease for 40 s")]


def test_a_standby_that_never_saw_the_lease_is_alive_and_not_ready(stage: Stage) -> None:
    answers: list[object] = []

    def person() -> None:
        stage.chances[0].why_unread = "the lease was never read: forbidden"
        answers.extend([stage.ask("/livez"), stage.ask("/readyz")])

    stage.run(person)

    assert answers == [(200, "ok"), (503, "the lease was never read: forbidden")]


def test_who_gets_the_lease_leads_and_releases_it_last_when_told_to_stop(stage: Stage) -> None:
    answers: list[object] = []

    def person() -> None:
        stage.lead()
        answers.extend([stage.ask("/livez"), stage.ask("/readyz")])
        told = stage.ask("/metrics")[1]
        answers.append("shifter_leader 1.0" in told and "shifter_phase{" in told)
        answers.append(stage.chances[0].released)

    stage.run(person)

    assert answers == [(200, "ok"), (200, "ok"), True, False]
    assert stage.world.trap.calls[-1] == "close"
    assert stage.chances[0].released
    assert len(stage.chances) == 1
    assert [bool(stage.world.lines(f"service.{event}")) for event in ("started", "draining", "stopped")] == [True] * 3


@pytest.mark.fault(
    on="process",
    fault="a leader loses the lease to another replica",
    does="writes nothing more, lets go of all it knows and stands by with a new leadership",
    sees="`service.lost`; shifter_leader 0",
    safe_within="at once for writes; 1 s to stand by",
)
def test_who_loses_the_lease_stands_by_with_nothing_of_the_time_before_and_may_lead_again(stage: Stage) -> None:
    answers: list[object] = []

    def person() -> None:
        stage.lead()
        stage.chances[0].why_lost = "b holds it, in epoch 2"
        stage.until(lambda: len(stage.chances) > 1, "it does not stand by again")
        answers.extend([stage.ask("/readyz"), "shifter_phase{" in stage.ask("/metrics")[1]])
        stage.lead(1)

    stage.run(person)
    first, second = stage.built

    assert answers == [(200, "ok"), False]
    assert [line["reason"] for line in stage.world.lines("service.lost")] == ["b holds it, in epoch 2"]
    assert first.leadership is not second.leadership
    assert first.lanes is not second.lanes
    assert [line["epoch"] for line in stage.world.lines("service.started")] == [1, 2]
    assert len(stage.world.lines("service.draining")) == 1


def test_a_lease_that_is_lost_before_anybody_led_is_tried_for_again(stage: Stage) -> None:
    def person() -> None:
        stage.chances[0].why_lost = "it was deleted"
        stage.until(lambda: len(stage.chances) > 1, "it does not try again")

    stage.run(person)

    assert not stage.built


def test_a_new_leader_that_cannot_read_what_is_saved_asks_again_and_is_not_ready(stage: Stage) -> None:
    answers: list[object] = []
    stage.world.saved.down = True

    def person() -> None:
        stage.chances[0].given.set()
        stage.until(lambda: stage.world.lines("shift.error"), "nobody said so")
        answers.extend([stage.ask("/livez"), stage.ask("/readyz")])
        stage.world.saved.down = False
        stage.lead()

    stage.run(person)

    assert answers == [(200, "ok"), (503, "state is not loaded")]
    assert len(stage.chances) == 1


def test_a_new_leader_that_cannot_read_and_loses_the_lease_stands_by_again(stage: Stage) -> None:
    stage.world.saved.down = True

    def person() -> None:
        stage.chances[0].given.set()
        stage.until(lambda: stage.world.lines("shift.error"), "nobody said so")
        stage.chances[0].why_lost = "b holds it, in epoch 2"
        stage.until(lambda: len(stage.chances) > 1, "it does not stand by again")

    stage.run(person)

    assert stage.chances[0].released
    assert not stage.world.lines("service.started")


@pytest.mark.parametrize("leads", [False, True])
def test_a_lease_of_somebody_else_ends_the_replica_with_the_reason(
    stage: Stage,
    leads: bool,  # noqa: FBT001 - a parameter
) -> None:
    def person() -> None:
        if leads:
            stage.lead()
        stage.chances[0].refusal = RefusedError("the lease is of the installation 'blue'")
        stage.until(lambda: stage.world.lines("service.stopped"), "it goes on")

    with pytest.raises(RefusedError, match="of the installation 'blue'"):
        stage.run(person)

    assert stage.chances[0].released


# -- letting go --------------------------------------------------------------------------------------------------------


class HangingTicker(Ticker):
    """A ticker whose wake waits to be let go."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.began, self.let_go = threading.Event(), threading.Event()

    def wake(self, now: object) -> bool:
        del now
        self.began.set()
        return self.let_go.wait(DEADLINE_SECONDS)


def test_a_tick_that_does_not_end_after_the_lease_was_lost_ends_the_process(world: World) -> None:
    ticker = HangingTicker(world.parts)
    waker = Waker(ticker, world.telemetry, TICK)
    waking = threading.Thread(target=waker.wake)
    waking.start()
    assert ticker.began.wait(DEADLINE_SECONDS)
    with pytest.raises(InvariantError, match=r"a tick has not ended 0\.1 s after the lease was lost; start shifter"):
        waker.retire(0.1)
    ticker.let_go.set()
    waking.join(DEADLINE_SECONDS)


def test_a_retired_waker_wakes_nobody(world: World) -> None:
    before = len(world.trap.calls)
    waker = Waker(world.ticker, world.telemetry, TICK)
    waker.retire()
    waker.wake()

    assert len(world.trap.calls) == before
