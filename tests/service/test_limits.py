"""Everything that lives as long as the process has a limit: each is flooded here, and a long run stays flat.

The table of all bounds is in docs/reliability.md. What the store refuses (orders, texts) is in `tests/contract`, what
the doors to the network refuse is in `tests/adapters`.
"""

from __future__ import annotations

import gc
import io
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from shifter.adapters.memory import Fault, Rule
from shifter.adapters.saved_form import OPEN_ORDERS_PER_SHIFT
from shifter.core.balancing.splits import Side
from shifter.core.counts.evidence import Answer as Code
from shifter.core.counts.evidence import PodReading, Reading, Series
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.state import FindingReport, Report
from shifter.errors import RefusedError, StoreUnavailableError
from shifter.service import daemon
from shifter.service.lanes import IDLE_LOOKS, QUEUE_LIMIT, Lanes, Priority
from shifter.service.log_stream import MOST_WAITING_BYTES, PatientOutput
from shifter.service.observe import LONGEST_REFUSAL, MOST_DROPPED, MOST_WARNINGS, MeshCounter
from shifter.service.telemetry import LONGEST_FIELD, MOST_ERRORS, MOST_ITEMS, Telemetry, configure_logs
from tests.reports import a_report
from tests.service.conftest import FLEET, NOON, TICK, World, servers
from tests.service.waiting import DEADLINE_SECONDS, wait_for

KIB = 1024


# -- lanes -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes()
    yield made
    made.stop(DEADLINE_SECONDS)


def lane_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("lane limits-")}


def look(lanes: Lanes, times: int) -> None:
    for _ in range(times):
        assert lanes.tend() == []


def test_a_lane_that_nobody_uses_any_more_ends_and_the_next_call_gets_another(lanes: Lanes) -> None:
    lanes.run("limits-a", Priority.READ, lambda: None).result(DEADLINE_SECONDS)
    look(lanes, IDLE_LOOKS - 1)
    used = lanes.run("limits-a", Priority.READ, lambda: "used").result(DEADLINE_SECONDS)
    look(lanes, IDLE_LOOKS - 1)
    before = lane_threads()
    look(lanes, 2)
    wait_for(lambda: not lane_threads(), "its thread did not end")

    assert (used, before) == ("used", {"lane limits-a"})
    assert lanes.run("limits-a", Priority.RETREAT, lambda: "again").result(DEADLINE_SECONDS) == "again"


def test_a_lane_with_a_call_that_hangs_is_not_idle_however_long_it_hangs(lanes: Lanes) -> None:
    let_go = threading.Event()
    hung = lanes.run("limits-a", Priority.READ, lambda: let_go.wait(DEADLINE_SECONDS))
    wait_for(hung.running, "it did not begin")
    look(lanes, 2 * IDLE_LOOKS)
    waiting = lanes.run("limits-a", Priority.RETREAT, lambda: "its turn")
    let_go.set()

    assert waiting.result(DEADLINE_SECONDS) == "its turn"


def test_balancers_that_come_and_go_leave_no_threads_behind(lanes: Lanes) -> None:
    for number in range(100):
        lanes.run(f"limits-{number}", Priority.READ, lambda: None).result(DEADLINE_SECONDS)
    look(lanes, IDLE_LOOKS + 1)

    wait_for(lambda: not lane_threads(), "some threads did not end")


def test_a_flooded_lane_keeps_only_so_many_calls_and_every_retreat_that_fits(lanes: Lanes) -> None:
    let_go = threading.Event()
    hung = lanes.run("limits-a", Priority.READ, lambda: let_go.wait(DEADLINE_SECONDS))
    wait_for(hung.running, "it did not begin")
    reads = [lanes.run("limits-a", Priority.READ, lambda: None) for _ in range(10_000)]
    retreats = [lanes.run("limits-a", Priority.RETREAT, lambda: "back") for _ in range(QUEUE_LIMIT)]

    assert sum(not read.done() for read in reads) == 0
    assert sum(not retreat.done() for retreat in retreats) == QUEUE_LIMIT
    let_go.set()
    assert [retreat.result(DEADLINE_SECONDS) for retreat in retreats] == ["back"] * QUEUE_LIMIT


# -- the log ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logs("debug", stream)
    yield stream
    structlog.reset_defaults()


@pytest.fixture
def telemetry(log: io.StringIO) -> Telemetry:
    assert log is not None
    return Telemetry(CollectorRegistry(), timedelta(minutes=5))


def deep(levels: int) -> None:
    if levels == 0:
        raise ValueError("x" * 1_000_000)
    deep(levels - 1)


def test_a_line_of_the_log_is_short_whatever_is_quoted_in_it(telemetry: Telemetry, log: io.StringIO) -> None:
    telemetry.warn("x", reason="y" * 10**6, many=list(range(10**5)), named={str(n): "z" * 10**5 for n in range(10**3)})
    (line,) = log.getvalue().splitlines()
    told = json.loads(line)

    assert (len(told["reason"]), told["reason"][-1]) == (LONGEST_FIELD, "…")
    assert told["many"] == list(range(MOST_ITEMS))
    assert len(told["named"]) == MOST_ITEMS
    assert len(line) < (MOST_ITEMS + 2) * 2 * LONGEST_FIELD


def test_of_a_long_traceback_the_end_is_kept(telemetry: Telemetry, log: io.StringIO) -> None:
    try:
        deep(200)
    except ValueError as error:
        telemetry.error("shop", error, bug=True)
    told = json.loads(log.getvalue())

    assert (len(told["reason"]), len(told["exception"])) == (LONGEST_FIELD, LONGEST_FIELD)
    assert told["exception"].startswith("…")
    assert told["exception"].endswith("xxx")


def test_what_is_no_json_value_is_told_as_text(telemetry: Telemetry, log: io.StringIO) -> None:
    telemetry.warn("x", at=NOON, none=None, share=2.5, kinds=frozenset({"a"}), nested={"a": (1, NOON)})
    told = json.loads(log.getvalue())

    assert (told["at"], told["none"], told["share"], told["kinds"]) == (str(NOON), None, 2.5, ["a"])
    assert told["nested"] == {"a": [1, str(NOON)]}


def test_a_log_that_nobody_reads_keeps_only_so_many_bytes() -> None:
    let_go, written = threading.Event(), []

    def write(piece: bytes) -> int:
        assert let_go.wait(DEADLINE_SECONDS)
        written.append(piece)
        return len(piece)

    output = PatientOutput(write)
    for _ in range(100):
        output.write(b"x" * (MOST_WAITING_BYTES // 8))
    output.write(b"y" * (MOST_WAITING_BYTES + 1))
    let_go.set()
    output.drain(DEADLINE_SECONDS)
    output.write(b"z")
    output.drain(DEADLINE_SECONDS)

    assert 8 <= sum(len(piece) > KIB for piece in written) <= 9
    assert b"y" not in b"".join(written)
    assert b'"lost": 9' in b"".join(written)
    assert written[-1].endswith(b"z")


# -- labels ----------------------------------------------------------------------------------------------------------


def reported(name: str = "shop", *metrics: str) -> Report:
    findings = tuple(
        FindingReport(metric=metric, verdict="pass", source=0, target=0, limit=1, unit="%", text="", bound=0.1)
        for metric in metrics
    )
    return a_report(NOON, name, step=0, steps=(100,), wanted=0, written=0, findings=findings)


def series(telemetry: Telemetry) -> int:
    return sum(not line.startswith(b"#") for line in generate_latest(telemetry.registry).splitlines())


def test_each_shift_has_as_many_series_however_its_policy_is_edited(telemetry: Telemetry) -> None:
    telemetry.turn(reported("shop", "errors", "logins"), changed=True)
    once = series(telemetry)
    for number in range(500):
        phase = list(Phase)[number % len(Phase)]
        report = reported("shop", "errors", f"custom-{number}").model_copy(update={"phase": phase})
        telemetry.turn(report, changed=True)

    assert series(telemetry) == once


def test_errors_that_libraries_make_up_are_counted_together_beyond_a_limit(telemetry: Telemetry) -> None:
    before = series(telemetry)
    for number in range(10 * MOST_ERRORS):
        telemetry.error("shop", type(f"Odd{number}Error", (Exception,), {})("x"), bug=False)
    counted = telemetry.registry.get_sample_value("shifter_tick_errors_total", {"error": "other"})

    assert counted == 9 * MOST_ERRORS
    assert series(telemetry) - before == 2 * (MOST_ERRORS + 1)  # each with the instant it began


# -- what others send ------------------------------------------------------------------------------------------------


def a_reading(at: float, pods: int, requests: float, began: float) -> Reading:
    counters = {Series("shop", Code("200")): requests}
    return Reading(at, {f"pod-{number:05d}": PodReading(at, began, counters) for number in range(pods)})


def test_of_thousands_of_pods_that_are_not_counted_some_are_named_and_the_others_are_a_number() -> None:
    counter, at = MeshCounter(FLEET), NOON.timestamp()
    counter.count({side: a_reading(at, 1, 1, at - 100) for side in Side}, NOON)
    later = {side: a_reading(at + 10, 5_000, 2, at - 100) for side in Side}
    counted = counter.count(later, NOON + TICK)

    assert {mesh: len(pods) for mesh, pods in counted.dropped.items()} == dict.fromkeys(
        ("tcm", "istio"), MOST_DROPPED + 1
    )
    assert counted.dropped["istio"]["others"] == f"{5_000 - 1 - MOST_DROPPED} more pods"


def test_pods_that_come_and_go_are_forgotten_after_an_hour() -> None:
    counter, at = MeshCounter(FLEET), NOON.timestamp()
    sizes = []
    for tick in range(1_200):
        now = at + 10 * tick
        pods = {f"pod-{tick}": PodReading(now, now - 5, {Series("shop", Code("200")): 1.0})}
        counter.count({side: Reading(now, pods) for side in Side}, NOON + tick * TICK)
        sizes.append(max(len(each.pods) for each in counter._baselines.values()))

    assert max(sizes) <= 362
    assert sizes[-1] == sizes[500]


def test_a_balancers_endless_sentences_are_cut_before_they_are_kept(world: World) -> None:
    world.step(3)
    endless = tuple("w" * 10_000 for _ in range(1_000))
    world.memory.put_rule(world.route(), Rule(servers(), refusal="x" * 10**6, warnings=endless))
    world.step(2)
    report = world.report()

    assert [len(hold.reason) for hold in report.holds if hold.kind == "preflight"] == [LONGEST_REFUSAL]
    assert len(report.warnings) == MOST_WARNINGS
    assert len(report.model_dump_json()) < 64 * KIB
    assert max(len(record.reason) for record in world.history()) < 2 * LONGEST_REFUSAL
    assert max(map(len, world.log.getvalue().splitlines())) < 8 * LONGEST_FIELD


def test_hundreds_of_members_make_no_report_that_nobody_can_read(world: World) -> None:
    old, new = servers()[:2], servers()[2]
    many = tuple(replace(new, key=f"ins-{number}:31080", id=f"ins-{number}") for number in range(200))
    world.memory.put_rule(world.route(), Rule((*old, *many)))
    world.until_share(5)

    assert len(world.report().model_dump_json()) < 64 * KIB
    assert max(len(record.reason) for record in world.history()) < LONGEST_REFUSAL


# -- what people send ------------------------------------------------------------------------------------------------


def test_ten_thousand_orders_are_all_answered_though_only_so_many_may_wait(world: World) -> None:
    world.until_share(5)
    answered = 0
    while answered < 10_000:
        given = [world.order(Verb.RESUME if number % 2 else Verb.APPROVE) for number in range(OPEN_ORDERS_PER_SHIFT)]
        with pytest.raises(RefusedError, match="wait unanswered already"):
            world.order(Verb.RESUME)
        world.step()
        assert {world.answer(order)[0] is None for order in given} == {False}
        answered += len(given)
        world.saved.prune(world.now + TICK)

    assert world.ticker.shifts["shop"].place.answers == []


def test_answers_that_cannot_be_saved_wait_once_for_each_order(world: World) -> None:
    world.until_share(5)
    for _ in range(2 * OPEN_ORDERS_PER_SHIFT):
        world.order(Verb.PAUSE)
    world.store.bugs["shop"] = StoreUnavailableError("the disk is full")
    waiting = []
    for _ in range(20):
        world.step()
        waiting.append(len(world.ticker.shifts["shop"].place.answers))

    assert waiting == [2 * OPEN_ORDERS_PER_SHIFT] * 20


def test_a_flood_of_hangups_is_kept_short_and_hides_no_order_to_stop() -> None:
    told: SimpleQueue[int] = SimpleQueue()
    for _ in range(10_000):
        daemon._note(told, signal.SIGHUP)
    daemon._note(told, signal.SIGTERM)
    kept = [told.get(timeout=0) for _ in range(told.qsize())]

    assert kept == [signal.SIGHUP] * 16 + [signal.SIGTERM]


# -- a week ----------------------------------------------------------------------------------------------------------


class LongWorld(World):
    """A world that keeps nothing of its own, so that what grows is shifter's. Something goes wrong all the time."""

    PERIOD = 120

    def chapter(self) -> None:
        """A period of ticks, with a fault of every kind; at its end the shift is where it was at its beginning."""
        for tick in range(self.PERIOD):
            self._trouble(tick)
            self.step()
            self._forget()
        self.memory._tasks.clear()

    def _trouble(self, tick: int) -> None:
        target = self.sides[Side.TARGET]
        target.down = 10 <= tick < 13
        self.saved.down = 20 <= tick < 23
        if tick == 30:
            self.memory.inject(Fault.UNREACHABLE, times=3)
        if tick in {35, 55}:
            target.pod = f"istio-{self.now:%d%H%M%S}"
        if tick == 40:
            self.write_policy("shop", soak="20s" if self.now.minute % 2 else "30s", approvals=[{"before": 100}])
        if tick == 50:
            target.error_percent = 100.0
        if tick == 60:
            target.error_percent = 0.0
            self.order(Verb.RETRY)
        if tick in {25, 45}:
            self.order(Verb.PAUSE)
            self.order(Verb.RESUME)

    def _forget(self) -> None:
        """Drop what the doubles around the service remember, and history as housekeeping would."""
        self.trap.calls.clear()
        self.provider.submits.clear()
        for remembered in (self.memory._calls, self.memory._writes):
            remembered.clear()
        for side in self.sides.values():
            side.asked_edges_ms.clear()
            del side._shown[:-2]
        if not self.saved.down:
            self.saved.prune(self.now - 60 * TICK)
        self.log.seek(0)
        self.log.truncate()


def test_memory_is_flat_over_days_of_trouble(make_world: Callable[..., World], tmp_path: Path) -> None:
    assert make_world is not None  # puts back what a world configures
    world = LongWorld(tmp_path, steps=(5, 100), soak="1h")
    blocks = []
    for _ in range(6):
        world.chapter()
        gc.collect()
        # Of the interpreter's small objects; unlike tracing every allocation, counting them slows nothing down.
        blocks.append(sys.getallocatedblocks())
    growth = [later - earlier for earlier, later in pairwise(blocks[2:])]

    assert (world.state().phase, world.state().share) == (Phase.SHIFTING, 5)
    assert world.state().attempt > 6  # it went back in every chapter
    # One block kept by each tick of a chapter would be `PERIOD` of them.
    assert min(growth) < world.PERIOD / 2, growth
