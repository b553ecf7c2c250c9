"""Looking: what counts as answered, how old an answer may be, and what two readings amount to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shifter.adapters.memory import Fault, MemoryProvider, Rule
from shifter.core.balancing.splits import Route, RouteView, Selector, Side
from shifter.core.counts.counters import Absence, Doubt, Wait
from shifter.core.counts.evidence import INFINITY_MS, Answer, Answers, PodReading, Reading, Series, SideCounts
from shifter.core.deciding.journal import Call, Delivery
from shifter.errors import MetricsUnavailableError
from shifter.ports import Change, Operation, OperationState
from shifter.service.lanes import InlineLanes, Lanes
from shifter.service.observe import Counted, IntentCalls, MeshObserver, RouteObserver, Views
from tests.service.conftest import BALANCER, FLEET, LISTENER, NOON, REGION, TICK, fleet_with, servers
from tests.service.outside import nothing_recorded

DEADLINE_SECONDS = 5.0
SOON, PATIENT = timedelta(seconds=0.02), timedelta(seconds=DEADLINE_SECONDS)
SIDES = Selector(ports=(30080,)), Selector(ports=(31080,))
SHOP = Route(REGION, BALANCER, LISTENER, "shop.example.com", "/", *SIDES)
PAY = Route(REGION, BALANCER, LISTENER, "pay.example.com", "/", *SIDES)
FAR = Route(REGION, "lb-front0002", LISTENER, "far.example.com", "/", *SIDES)


class SlowProvider:
    """A provider whose next reads of one domain wait to be let go; `answered` counts reads that came back."""

    def __init__(self, domain: str = SHOP.domain) -> None:
        self._memory = MemoryProvider([(route, Rule(servers())) for route in (SHOP, PAY, FAR)])
        self._domain = domain
        self.reads: list[tuple[str, ...]] = []
        self.let_go = threading.Event()
        self.answered = threading.Semaphore(0)

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        self.reads.append(tuple(route.id for route in routes))
        if routes[0].domain == self._domain:
            assert self.let_go.wait(DEADLINE_SECONDS)
        found = self._memory.observe(routes)
        self.answered.release()
        return found

    def submit(self, changes: Sequence[Change]) -> Operation:
        return self._memory.submit(changes)

    def check(self, operation: Operation) -> OperationState:
        return self._memory.check(operation)


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes()
    yield made
    made.stop(DEADLINE_SECONDS)


def by_domain(*routes: Route) -> dict[str, list[Route]]:
    found: dict[str, list[Route]] = {}
    for route in routes:
        found.setdefault(route.domain, []).append(route)
    return found


def calls_of(sequence: int) -> dict[str, IntentCalls]:
    return {"shop": IntentCalls(sequence, {SHOP.domain: Call(Delivery.RUNNING)})}


def look(
    observer: RouteObserver, routes: Mapping[str, Sequence[Route]], calls: Mapping[str, IntentCalls], timeout: timedelta
) -> dict[str, Views]:
    """Ask, and wait for all that is worth it; with patience also for what was late already."""
    wait(observer.ask(routes, calls), timeout=timeout.total_seconds())
    seen = observer.answers(routes)
    deadline = time.monotonic() + timeout.total_seconds()
    while (
        left := [name for name, views in seen.items() if "in time" in views.problem]
    ) and time.monotonic() < deadline:
        seen |= observer.answers({name: routes[name] for name in left})
    return seen


def look_at_meshes(observer: MeshObserver, now: datetime, edges_ms: Sequence[float] = ()) -> Counted:
    wait(observer.ask(edges_ms, now), timeout=FLEET.spec.timing.read_deadline.total_seconds())
    return observer.answer(now)


# -- routes ----------------------------------------------------------------------------------------------------------


def test_each_domain_is_read_once_with_all_its_routes() -> None:
    provider = SlowProvider()
    provider.let_go.set()
    seen = look(RouteObserver(provider, InlineLanes()), by_domain(SHOP, PAY, FAR), {}, PATIENT)

    assert sorted(provider.reads) == sorted([(SHOP.id, PAY.id), (FAR.id,)])
    assert {domain: set(views.views or {}) for domain, views in seen.items()} == {
        SHOP.domain: {SHOP.id, PAY.id},
        FAR.domain: {FAR.id},
    }


def test_a_domain_that_is_late_already_is_not_waited_for_again(lanes: Lanes) -> None:
    provider = SlowProvider()
    observer = RouteObserver(provider, lanes)
    look(observer, by_domain(SHOP, FAR), {}, SOON)
    worth_waiting_for = observer.ask(by_domain(SHOP, FAR), {})
    wait(worth_waiting_for, timeout=DEADLINE_SECONDS)
    seen = observer.answers(by_domain(SHOP, FAR))
    provider.let_go.set()

    assert len(worth_waiting_for) == 1
    assert set(seen[FAR.domain].views or {}) == {FAR.id}
    assert seen[SHOP.domain].views is None


def test_an_answer_nobody_asks_for_any_more_is_no_late_answer_some_day(lanes: Lanes) -> None:
    provider = SlowProvider()
    observer = RouteObserver(provider, lanes)
    look(observer, by_domain(SHOP), {}, SOON)
    provider.let_go.set()
    assert provider.answered.acquire(timeout=DEADLINE_SECONDS)
    for _ in range(2):
        look(observer, by_domain(FAR), {}, PATIENT)

    assert look(observer, by_domain(SHOP), {}, PATIENT)[SHOP.domain].problem == ""


def test_who_does_not_answer_in_time_counts_as_unanswered_and_delays_nobody(lanes: Lanes) -> None:
    provider = SlowProvider()
    seen = look(RouteObserver(provider, lanes), by_domain(SHOP, FAR), {}, SOON)
    provider.let_go.set()

    assert seen[SHOP.domain].views is None
    assert "has not answered in time" in seen[SHOP.domain].problem
    assert set(seen[FAR.domain].views or {}) == {FAR.id}


def test_a_read_that_is_still_under_way_is_not_asked_for_twice(lanes: Lanes) -> None:
    provider = SlowProvider()
    observer = RouteObserver(provider, lanes)
    for _ in range(3):
        look(observer, by_domain(SHOP), {}, SOON)
    provider.let_go.set()

    assert provider.reads == [(SHOP.id,)]


def test_a_late_answer_is_handed_out_by_the_next_look_and_marked(lanes: Lanes) -> None:
    provider = SlowProvider()
    observer = RouteObserver(provider, lanes)
    look(observer, by_domain(SHOP), {}, SOON)
    provider.let_go.set()
    late = look(observer, by_domain(SHOP), {}, PATIENT)[SHOP.domain]
    fresh = look(observer, by_domain(SHOP), {}, PATIENT)[SHOP.domain]

    assert set(late.views or {}) == {SHOP.id}
    assert late.problem == f"{SHOP.domain} answered late"
    assert (fresh.problem, provider.reads) == ("", [(SHOP.id,), (SHOP.id,)])


def test_a_read_belongs_to_the_calls_known_before_it_was_asked_for(lanes: Lanes) -> None:
    provider = SlowProvider()
    observer = RouteObserver(provider, lanes)
    look(observer, by_domain(SHOP), calls_of(1), SOON)
    provider.let_go.set()
    late = look(observer, by_domain(SHOP), calls_of(2), PATIENT)[SHOP.domain]
    fresh = look(observer, by_domain(SHOP), calls_of(3), PATIENT)[SHOP.domain]

    assert late.calls["shop"].sequence == 1
    assert fresh.calls["shop"].sequence == 3


def test_a_late_answer_without_a_route_that_is_wanted_now_is_no_answer(lanes: Lanes) -> None:
    provider = SlowProvider()
    observer = RouteObserver(provider, lanes)
    look(observer, by_domain(SHOP), {}, SOON)
    provider.let_go.set()
    late = look(observer, by_domain(SHOP, PAY), {}, PATIENT)[SHOP.domain]

    assert late.views is None
    assert PAY.id in late.problem


def test_a_provider_that_fails_is_quoted() -> None:
    provider = MemoryProvider([(SHOP, Rule(servers()))])
    provider.inject(Fault.UNREACHABLE)
    seen = look(RouteObserver(provider, InlineLanes()), by_domain(SHOP), {}, PATIENT)

    assert (seen[SHOP.domain].views, seen[SHOP.domain].problem) == (None, "nobody answers")


# -- meshes ----------------------------------------------------------------------------------------------------------


class Scripted:
    """One side's metrics: plays readings back in order, an error where there is one."""

    def __init__(self, *readings: Reading | Exception) -> None:
        self._readings = list(readings)
        self.edges: list[tuple[float, ...]] = []

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:  # noqa: ARG002 - the readings say when
        self.edges.append(tuple(edges_ms))
        reading = self._readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        return reading

    def past(self, start: datetime, end: datetime, step: timedelta, edges_ms: Sequence[float]) -> list[Reading]:  # noqa: ARG002 - the protocol's
        return nothing_recorded(start, end, step)


def a_reading(ticks: float, pod: str, total: float, *, bad: float = 0, age_seconds: float = 0) -> Reading:
    at = (NOON + ticks * TICK).timestamp()
    counters = {Series("shop", Answer("200")): total - bad, Series("shop", Answer("503")): bad}
    return Reading(at, {pod: PodReading(at - age_seconds, NOON.timestamp() - 3600, counters)})


def requests(counts: SideCounts) -> float:
    return sum(counts.of(["shop"]).by_answer.values())


def looks(source: Scripted, target: Scripted, *ticks: float) -> list[Counted]:
    observer = MeshObserver({Side.SOURCE: source, Side.TARGET: target}, FLEET, InlineLanes())
    return [look_at_meshes(observer, NOON + tick * TICK) for tick in ticks]


def test_the_first_look_counts_nothing() -> None:
    (first,) = looks(Scripted(a_reading(0, "tcm", 900)), Scripted(a_reading(0, "istio", 100)), 0)

    assert (first.problem, first.span_seconds) == ("", 0.0)


def test_two_looks_count_what_came_in_between() -> None:
    source = Scripted(a_reading(0, "tcm", 900), a_reading(1, "tcm", 1260, bad=6))
    target = Scripted(a_reading(0, "istio", 100), a_reading(1, "istio", 140, bad=2))
    _, second = looks(source, target, 0, 1)

    assert second.span_seconds == TICK.total_seconds()
    assert second.source is not None
    assert second.target is not None
    assert second.source.of(["shop"]) == Answers({Answer("200"): 354, Answer("503"): 6})
    assert second.target.of(["shop"]) == Answers({Answer("200"): 38, Answer("503"): 2})


@pytest.mark.parametrize("error", [MetricsUnavailableError("connection refused"), KeyError("result")])
def test_a_side_that_does_not_answer_is_a_problem_and_no_count(error: Exception) -> None:
    source = Scripted(a_reading(0, "tcm", 900), a_reading(1, "tcm", 1260))
    target = Scripted(a_reading(0, "istio", 100), error)
    _, second = looks(source, target, 0, 1)

    assert str(error) in second.problem
    assert (second.source, second.target, second.span_seconds) == (None, None, 0.0)


def test_after_a_missed_look_nothing_is_counted_twice() -> None:
    source = Scripted(a_reading(0, "tcm", 900), a_reading(1, "tcm", 1260), a_reading(2, "tcm", 1620))
    target = Scripted(a_reading(0, "istio", 100), MetricsUnavailableError("no"), a_reading(2, "istio", 180))
    third = looks(source, target, 0, 1, 2)[-1]

    assert third.source is not None
    assert third.target is not None
    assert requests(third.source) == 360
    assert requests(third.target) == 80


def test_a_target_without_pods_is_gone_only_while_the_source_is_seen() -> None:
    empty = Reading(NOON.timestamp(), {})
    (target_empty,) = looks(Scripted(a_reading(0, "tcm", 9)), Scripted(empty), 0)
    (both_empty,) = looks(Scripted(empty), Scripted(empty), 0)

    assert (target_empty.target_unseen, both_empty.target_unseen) == (True, False)
    assert target_empty.problem
    assert both_empty.problem


def test_a_reading_that_says_why_it_is_empty_is_quoted() -> None:
    why = "istio metrics (http://istio): the newest of 2 pods is 130 s old"
    (counted,) = looks(Scripted(a_reading(0, "tcm", 9)), Scripted(Absence(NOON.timestamp(), {}, why)), 0)

    assert (counted.problem, counted.target_unseen) == (why, True)


def test_pods_that_were_there_before_are_named_when_none_is_left() -> None:
    source = Scripted(a_reading(0, "tcm", 9), a_reading(1, "tcm", 9))
    pods = {f"istio-{number}": PodReading(NOON.timestamp(), None, {}) for number in range(5)}
    target = Scripted(Reading(NOON.timestamp(), pods), Reading((NOON + TICK).timestamp(), {}))
    _, second = looks(source, target, 0, 1)

    assert second.problem == (
        "istio: Prometheus shows no gateway pod (within the last hour it showed istio-0, istio-1, istio-2 and 2 more)"
    )


def test_both_sides_without_any_pod_are_told_each_for_itself() -> None:
    empty = Reading(NOON.timestamp(), {})
    (counted,) = looks(Scripted(empty), Scripted(empty), 0)

    assert counted.problem == "tcm: Prometheus shows no gateway pod; istio: Prometheus shows no gateway pod"


def idle(ticks: float, pod: str) -> Reading:
    at = (NOON + ticks * TICK).timestamp()
    return Reading(at, {pod: PodReading(at, NOON.timestamp() - 3600, {})})


def test_two_gateways_without_any_request_series_are_no_signal() -> None:
    (counted,) = looks(Scripted(idle(0, "tcm")), Scripted(idle(0, "istio")), 0)

    assert "neither side has any series of istio_requests_total: there is no traffic at all, or" in counted.problem
    assert not counted.target_unseen


def test_one_gateway_without_any_request_is_only_quiet() -> None:
    source = Scripted(a_reading(0, "tcm", 9), a_reading(1, "tcm", 99))
    _, second = looks(source, Scripted(idle(0, "istio"), idle(1, "istio")), 0, 1)

    assert (second.problem, second.span_seconds) == ("", TICK.total_seconds())


def test_counters_that_cannot_be_right_are_named_with_mesh_and_pod() -> None:
    source = Scripted(a_reading(0, "tcm", 900), a_reading(1, "tcm", 400))
    target = Scripted(a_reading(0, "istio", 100), a_reading(1, "istio", 140))
    _, second = looks(source, target, 0, 1)

    assert second.problem == (
        "tcm: nothing can be counted of tcm: its counters fell although its process did not start anew"
    )
    assert (second.source, second.target) == (None, None)


def test_one_pod_in_doubt_keeps_the_others_from_nothing() -> None:
    def both(ticks: float, first: float, second: float) -> Reading:
        pods = {**a_reading(ticks, "tcm-1", first).pods, **a_reading(ticks, "tcm-2", second).pods}
        return Reading((NOON + ticks * TICK).timestamp(), pods)

    source = Scripted(both(0, 900, 900), both(1, 400, 960))
    target = Scripted(a_reading(0, "istio", 100), a_reading(1, "istio", 140))
    _, second = looks(source, target, 0, 1)

    assert second.problem == ""
    assert second.source is not None
    assert requests(second.source) == 60


@pytest.mark.fault(
    on="Prometheus",
    fault="both datasources read the same pods",
    does="holds; no climb",
    sees="hold `no signal`: both sides count the same pods (PODS): mend the matchers",
    safe_within="one tick",
)
def test_the_same_pods_on_both_sides_are_a_problem() -> None:
    (counted,) = looks(Scripted(a_reading(0, "gw", 900)), Scripted(a_reading(0, "gw", 900)), 0)

    assert "both sides count the same pods (gw)" in counted.problem


def test_after_a_clock_that_was_set_back_counting_begins_anew() -> None:
    source = Scripted(*(a_reading(tick, "tcm", 900 + 400 * index) for index, tick in enumerate((0, -360, -359))))
    target = Scripted(*(a_reading(tick, "istio", 100 + 40 * index) for index, tick in enumerate((0, -360, -359))))
    _, back, after = looks(source, target, 0, -360, -359)

    assert back.span_seconds == 0
    assert after.span_seconds == TICK.total_seconds()


def test_both_sides_are_asked_for_the_same_edges_in_order_and_once() -> None:
    source, target = Scripted(a_reading(0, "tcm", 9)), Scripted(a_reading(0, "istio", 9))
    observer = MeshObserver({Side.SOURCE: source, Side.TARGET: target}, FLEET, InlineLanes())
    look_at_meshes(observer, NOON, (500, 25, 500, 100))

    assert source.edges == target.edges == [(25, 100, 500)]


def test_histogram_of_one_side_only_is_that_sides_latency_and_nothing_else() -> None:
    def with_latency(ticks: float, total: float) -> Reading:
        plain = a_reading(ticks, "tcm", total)
        buckets = {Series("shop", edge_ms=edge): total for edge in (500.0, INFINITY_MS)}
        pods = {name: replace(pod, counters={**pod.counters, **buckets}) for name, pod in plain.pods.items()}
        return replace(plain, pods=pods)

    source = Scripted(with_latency(0, 900), with_latency(1, 1260))
    target = Scripted(a_reading(0, "istio", 100), a_reading(1, "istio", 140))
    _, second = looks(source, target, 0, 1)

    assert (second.problem, second.span_seconds) == ("", TICK.total_seconds())
    assert second.source is not None
    assert second.target is not None
    assert second.source.of(["shop"]).buckets == ((500, 360), (INFINITY_MS, 360))
    assert second.target.of(["shop"]).buckets == ()


@pytest.mark.parametrize(("tcm_age", "istio_age", "apart"), [(14, 2, 12), (1, 31, -30), (5, 5, 0)])
def test_how_far_the_two_sides_samples_are_apart_is_told(tcm_age: float, istio_age: float, apart: float) -> None:
    source = Scripted(*(a_reading(tick, "tcm", 900 + 9 * tick, age_seconds=tcm_age) for tick in range(2)))
    target = Scripted(*(a_reading(tick, "istio", 100 + 9 * tick, age_seconds=istio_age) for tick in range(2)))
    first, second = looks(source, target, 0, 1)

    assert (first.apart_seconds, second.apart_seconds) == (apart, apart)
    assert (second.problem, second.span_seconds) == ("", TICK.total_seconds())


def test_sides_of_which_one_shows_no_pod_are_not_apart() -> None:
    (counted,) = looks(Scripted(a_reading(0, "tcm", 9)), Scripted(Reading(NOON.timestamp(), {})), 0)

    assert counted.apart_seconds == 0.0


def test_pods_of_which_nothing_was_counted_are_told_by_mesh_with_the_reason() -> None:
    def with_a_second(ticks: float, total: float) -> Reading:
        pods = {**a_reading(ticks, "tcm-1", total).pods, **a_reading(ticks, "tcm-2", total).pods}
        return Reading((NOON + ticks * TICK).timestamp(), pods)

    source = Scripted(a_reading(0, "tcm-1", 900), with_a_second(1, 960), with_a_second(2, 400))
    target = Scripted(a_reading(0, "istio", 100), a_reading(1, "istio", 140), MetricsUnavailableError("no"))
    first, second, third = looks(source, target, 0, 1, 2)

    assert first.dropped == {"tcm": {"tcm-1": Wait.FIRST_SEEN}, "istio": {"istio": Wait.FIRST_SEEN}}
    assert (second.problem, second.dropped) == ("", {"tcm": {"tcm-2": Wait.FIRST_SEEN}})
    assert (third.problem, third.dropped) == ("no", {"tcm": {"tcm-1": Doubt.FELL, "tcm-2": Doubt.FELL}})


class Hanging:
    """Metrics that answer only when they are let go."""

    def __init__(self) -> None:
        self.reads = 0
        self.let_go = threading.Event()

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:  # noqa: ARG002 - the protocol's
        self.reads += 1
        assert self.let_go.wait(DEADLINE_SECONDS)
        return a_reading(0, "istio", 100)

    def past(self, start: datetime, end: datetime, step: timedelta, edges_ms: Sequence[float]) -> list[Reading]:  # noqa: ARG002 - the protocol's
        return nothing_recorded(start, end, step)


def test_metrics_that_hang_cost_one_deadline_and_are_not_asked_twice(lanes: Lanes) -> None:
    hanging = Hanging()
    source = Scripted(a_reading(0, "tcm", 9), a_reading(1, "tcm", 9))
    observer = MeshObserver({Side.SOURCE: source, Side.TARGET: hanging}, fleet_with(read_deadline=SOON), lanes)
    problems = [look_at_meshes(observer, NOON + tick * TICK).problem for tick in range(2)]
    hanging.let_go.set()

    assert problems == ["istio: Prometheus has not answered in time"] * 2
    assert hanging.reads == 1


@pytest.mark.fault(
    on="Prometheus",
    fault="answers after the deadline",
    does="holds; a late answer is not taken for a new one",
    sees="hold `no signal`: istio: Prometheus has not answered in time",
    safe_within="readDeadline",
)
def test_an_answer_that_was_asked_for_by_an_earlier_look_is_not_taken_for_this_ones(lanes: Lanes) -> None:
    hanging = Hanging()
    source = Scripted(*(a_reading(tick, "tcm", 9) for tick in range(3)))
    observer = MeshObserver({Side.SOURCE: source, Side.TARGET: hanging}, fleet_with(read_deadline=SOON), lanes)
    source_asked, target_asked = observer.ask((), NOON)
    wait([source_asked], timeout=DEADLINE_SECONDS)
    wait(observer.ask((), NOON + TICK), timeout=DEADLINE_SECONDS)
    hanging.let_go.set()
    wait([target_asked], timeout=DEADLINE_SECONDS)
    late = observer.answer(NOON + TICK)
    fresh = look_at_meshes(observer, NOON + 2 * TICK)

    assert late.problem == "istio: Prometheus has not answered in time"
    assert (fresh.problem, hanging.reads) == ("", 2)
