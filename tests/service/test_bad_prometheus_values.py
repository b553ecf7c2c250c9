"""A Prometheus whose numbers or clock cannot be right, and pods whose counters begin anew, which is no fault."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from shifter.core.balancing.splits import Health, Side
from shifter.core.counts.evidence import Answer, PodReading, Reading, Series
from shifter.core.phases import Phase
from shifter.service.observe import MESH
from tests.service.conftest import NEW, NEWER, NOON, TICK, World
from tests.service.outside import nothing_recorded
from tests.service.prometheus import BOTH, SOAK_SECONDS, Bad, Rows, only, soaking_worlds, with_value

Worlds = Callable[..., World]


@pytest.fixture
def bad(make_world: Worlds) -> Iterator[Bad]:
    with soaking_worlds(make_world) as build:
        yield build


@pytest.mark.fault(
    on="Prometheus",
    fault="answers NaN",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL), request counts: answered NaN ...",
    safe_within="one tick",
)
@BOTH
def test_a_counter_that_is_not_a_number_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)

    soaking.endures("answered NaN where a number must be", soaking.becoming(bend=only("requests", with_value("NaN"))))


@pytest.mark.fault(
    on="Prometheus",
    fault="answers infinity",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL), request counts: answered +Inf ...",
    safe_within="one tick",
)
@BOTH
def test_a_counter_that_is_infinite_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)

    soaking.endures(
        r"answered \+Inf where a number must be", soaking.becoming(bend=only("requests", with_value("+Inf")))
    )


@pytest.mark.fault(
    on="Prometheus",
    fault="answers a negative counter",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL), request counts: answered -4 ...",
    safe_within="one tick",
)
@BOTH
def test_a_counter_that_is_negative_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)

    soaking.endures("answered -4.0 for the counter", soaking.becoming(bend=only("requests", with_value("-4"))))


@pytest.mark.fault(
    on="Prometheus",
    fault="counters fall while the uptime grows",
    does="holds; counts nothing, never a negative number",
    sees="hold `no signal`: tcm: nothing can be counted of POD: its counters fell",
    safe_within="one tick",
)
@BOTH
def test_counters_that_run_backwards_hold(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus
    shrunk = 1.0

    def shrinking(rows: Rows) -> Rows:
        nonlocal shrunk
        shrunk *= 0.5
        return [(labels, float(value) * shrunk) for labels, value in rows]

    def strike() -> None:
        prometheus.bend = only("requests", shrinking)

    soaking.endures("nothing can be counted of .*: its counters fell although its process did not start anew", strike)


# -- clocks, and samples that are old ----------------------------------------------------------------------------------


@pytest.mark.fault(
    on="Prometheus",
    fault="its clock is ahead of shifter's",
    does="holds: what it shows is as old as that, though it looks fresh",
    sees="hold `no signal`: tcm metrics (URL) ...: a sample is 120 s from the future",
    safe_within="one tick",
)
@BOTH
def test_a_clock_that_is_ahead_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.ahead_seconds = 120.0

    soaking.endures("a sample is 11[67] s from the future: Prometheus' clock is ahead of shifter's", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="its clock is behind shifter's",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL): ...; its clock is 120 s behind: ...",
    safe_within="one tick",
)
@BOTH
def test_a_clock_that_is_behind_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.clock_behind_seconds = 120.0

    soaking.endures("newest of 1 pods is 123 s old, .*; its clock is 1[12][0-9] s behind: ", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="its samples are stale: it scrapes no more",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL): ... the newest of 2 pods is 50 s old",
    safe_within="sampleMaxAge + 1 tick",
)
@BOTH
def test_samples_that_are_no_longer_renewed_hold(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.freeze()

    soaking.endures(
        r"newest of 1 pods is 2\d s old, sampleMaxAge is 20 s; it scrapes no more, or samples reach it late",
        strike,
        slow_ticks=1,
    )


@pytest.mark.fault(
    on="Prometheus",
    fault="its clock is behind by less than sampleMaxAge",
    does="goes on, and rolls back if Istio fails: what it shows is fresh",
    sees="rolling back: istio failed ...",
    safe_within="3 ticks",
)
@BOTH
def test_a_clock_that_differs_a_little_neither_holds_nor_hides_a_failing_target(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    soaking.prometheus.clock_behind_seconds = 10
    soaking.world.step(3)
    held = soaking.world.holds()
    target = soaking.world.sides[Side.TARGET]
    target.error_percent = 50
    # The sides are not sampled at one time, so that one tick is not enough.
    soaking.world.step(3)

    assert held == set()
    assert soaking.world.share() == 0


def seen_requests(world: World) -> dict[Side, float]:
    ticks = world.ticker.shifts["shop"].seen.ledger.ticks
    counts = {Side.SOURCE: [tick.source for tick in ticks], Side.TARGET: [tick.target for tick in ticks]}
    return {side: sum(each.requests for each in found) for side, found in counts.items()}


@pytest.mark.fault(
    on="Prometheus",
    fault="samples arrive late, older ones after newer",
    does="holds; counts nothing until newer ones come, and then nothing twice",
    sees="hold `no signal`: tcm: nothing can be counted of POD: its newest sample is older than ...",
    safe_within="one tick",
)
@BOTH
def test_samples_that_arrive_late_are_never_counted_twice(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    world = soaking.world
    before = seen_requests(world)
    reasons = []
    for lag_seconds in (15, 0, 15):
        soaking.prometheus.clock_behind_seconds = lag_seconds
        world.step()
        reasons.append(world.reason())
    counted = {each: seen_requests(world)[each] - before[each] for each in Side}

    late = f"no signal: {MESH[side]}: nothing can be counted of {MESH[side]}-1: its newest sample is older than one"
    assert all(late in reason for reason in reasons[::2])
    assert counted[side] <= 3 * TICK.total_seconds() * world.PER_SECOND
    assert all(count >= 0 for count in counted.values())
    assert world.share() == 25


@pytest.mark.fault(
    on="Prometheus",
    fault="Istio's gateways die and its samples only grow old (no staleness markers)",
    does="rolls back: the CLB finds all members dead as well",
    sees="rolling back: istio's gateway is gone",
    safe_within="sampleMaxAge + 2 ticks",
)
def test_a_dead_target_whose_samples_only_grow_old_is_rolled_back(bad: Bad) -> None:
    soaking = bad(Side.TARGET)
    world = soaking.world
    soaking.prometheus.freeze()
    for key in (NEW, NEWER):
        world.memory.set_health(world.route(), key, Health.DEAD)
    world.step(4)

    assert world.share() == 0
    assert "istio's gateway is gone" in world.reason()


# -- counters that begin anew ------------------------------------------------------------------------------------------


class Crowd:
    """A gateway whose pods come, go and restart in every tick; nothing it serves ever fails. Some pods are unlucky."""

    def __init__(self, mesh: str) -> None:
        self._mesh = mesh
        self._born = 0
        self._pods: dict[str, tuple[float, dict[Series, float]]] = {}
        self.read_counts: list[int] = []

    def serve(self, namespace: str, requests: float) -> None:
        for name, (started, counters) in self._pods.items():
            series = Series(namespace, Answer("200"))
            self._pods[name] = started, {series: counters.get(series, 0.0) + requests / len(self._pods)}

    def read(self, at: datetime, edges_ms: tuple[float, ...]) -> Reading:  # noqa: ARG002 - the protocol's
        now = at.timestamp()
        shown = {name: PodReading(now, started, dict(series)) for name, (started, series) in self._pods.items()}
        self._churn(now)
        self.read_counts.append(len(shown))
        return Reading(now, shown or {f"{self._mesh}-0": PodReading(now, NOON.timestamp() - 60, {})})

    def past(self, start: datetime, end: datetime, step: timedelta, edges_ms: tuple[float, ...]) -> list[Reading]:  # noqa: ARG002 - the protocol's
        return nothing_recorded(start, end, step)

    def _churn(self, now: float) -> None:
        """Replace one pod by a new one, restart one in place with counters at zero, and scale out and in."""
        self._born += 1
        self._pods[f"{self._mesh}-{self._born}"] = now, {}
        if len(self._pods) > 4 - self._born % 2:
            del self._pods[min(self._pods, key=lambda name: int(name.rsplit("-", 1)[1]))]
        again = sorted(self._pods)[self._born % len(self._pods)]
        self._pods[again] = now, {}


@pytest.mark.fault(
    on="Prometheus",
    fault="pods come, go and restart all the time; counters begin at 0 again",
    does="counts every process from zero: never an error, never negative traffic",
    sees="the climb goes on",
    safe_within="at once",
)
@BOTH
def test_pods_that_come_and_go_are_neither_errors_nor_negative_traffic(make_world: Worlds, side: Side) -> None:
    world = make_world(steps=(25, 100), soak=f"{SOAK_SECONDS}s")
    crowd = Crowd(MESH[side])
    world.sides[side] = crowd  # type: ignore[assignment]
    least = math.inf
    for _ in range(120):
        world.step()
        ticks = world.ticker.shifts["shop"].seen.ledger.ticks
        least = min([least, *(min(t.source.requests, t.target.requests, t.source.bad, t.target.bad) for t in ticks)])

    assert world.state().phase is Phase.COMPLETED
    assert world.climbs() == [25, 100]
    assert least >= 0
    assert max(crowd.read_counts) > 2


@pytest.mark.fault(
    on="Prometheus",
    fault="counters reset while Istio fails",
    does="rolls back",
    sees="rolling back: istio failed ...",
    safe_within="2 ticks",
)
def test_a_counter_reset_does_not_hide_a_failing_target(bad: Bad) -> None:
    soaking = bad(Side.TARGET)
    soaking.prometheus.restart_process()
    soaking.prometheus.error_percent = 50
    soaking.world.step(2)

    assert soaking.world.share() == 0
    assert "istio failed" in soaking.world.reason()
