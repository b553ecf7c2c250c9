"""What every `TrafficProvider` promises, asked of each adapter by the same tests.

A *bench* is one adapter with two rules of one lock domain behind it, and the hands of everybody else: a person in
the console, the health check, the autoscaler, another controller, the network.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from shifter.adapters import memory
from shifter.adapters.memory import MemoryProvider
from shifter.adapters.tencent.clb import ClbProvider
from shifter.core.balancing.membership import Server
from shifter.core.balancing.splits import Health, Route, RouteView, Selector, Side
from shifter.errors import AmbiguousWriteError, InvariantError, ProviderRefusedError, ProviderUnavailableError
from shifter.lab import emulator as lab
from shifter.ports import Change, Operation, OperationState, Progress, TrafficProvider
from tests.clouds import running_cloud

REGION, BALANCER, LISTENER = "ap-guangzhou", "lb-front0001", "lbl-https443"
OLD, OLDER, NEW = "ins-old00001:30080", "ins-old00002:30080", "10.0.1.1:31080"
BEFORE = {OLD: 100, OLDER: 100, NEW: 0}
AFTER = {OLD: 90, OLDER: 90, NEW: 20}
DEADLINE_SECONDS = 10.0


def a_route(host: str, **selectors: Selector) -> Route:
    chosen = {"source": Selector(ports=(30080,)), "target": Selector(ports=(31080,))} | selectors
    return Route(REGION, BALANCER, LISTENER, host, "/", chosen["source"], chosen["target"])


SHOP, PAY = a_route("shop.example.com"), a_route("pay.example.com")


class Bench(Protocol):
    """One adapter and the world around it. `settles_on_read`: whether asking is what makes time pass."""

    provider: TrafficProvider

    def person_sets(self, route: Route, weights: Mapping[str, int]) -> None: ...

    def member_is(self, route: Route, key: str, health: Health) -> None: ...

    def member_joins(self, route: Route) -> str: ...

    def member_leaves(self, route: Route, key: str) -> None: ...

    def somebody_else_works(self) -> None: ...

    def somebody_else_is_done(self) -> None: ...

    def goes_wrong(self, how: str) -> None: ...

    def somebody_releases(self) -> None: ...


class MemoryBench:
    FAULTS = {  # noqa: RUF012 - a table
        "unanswered": memory.Fault.UNREACHABLE,
        "lost on the way": memory.Fault.AMBIGUOUS_BEFORE,
        "lost on the way back": memory.Fault.AMBIGUOUS_AFTER,
        "task fails": memory.Fault.TASK_FAILS,
        "task lies": memory.Fault.TASK_LIES,
        "task half": memory.Fault.TASK_HALF,
        "task endless": memory.Fault.TASK_ENDLESS,
        "reset on the way": memory.Fault.AMBIGUOUS_BEFORE,
        "reset on the way back": memory.Fault.AMBIGUOUS_AFTER,
        "quota": memory.Fault.QUOTA,
    }

    def __init__(self) -> None:
        servers = (
            Server(OLD, 30080, 100, Health.ALIVE, "ins-old00001", ("10.0.0.1",)),
            Server(OLDER, 30080, 100, Health.ALIVE, "ins-old00002", ("10.0.0.2",)),
            Server(NEW, 31080, 0, Health.ALIVE, "", ("10.0.1.1",)),
        )
        self.memory = MemoryProvider([(SHOP, memory.Rule(servers)), (PAY, memory.Rule(servers))], looks_until_done=2)
        self.provider: TrafficProvider = self.memory

    def person_sets(self, route: Route, weights: Mapping[str, int]) -> None:
        self.memory.edit_weights(route, weights)

    def member_is(self, route: Route, key: str, health: Health) -> None:
        self.memory.set_health(route, key, health)

    def member_joins(self, route: Route) -> str:
        self.memory.add_server(route, Server("10.0.1.2:31080", 31080, 10, Health.ALIVE, "", ("10.0.1.2",)))
        return "10.0.1.2:31080"

    def member_leaves(self, route: Route, key: str) -> None:
        self.memory.remove_server(route, key)

    def somebody_else_works(self) -> None:
        self.memory.hold_lock(SHOP.domain)

    def somebody_else_is_done(self) -> None:
        self.memory.release_lock(SHOP.domain)

    def goes_wrong(self, how: str) -> None:
        self.memory.inject(self.FAULTS[how])

    def somebody_releases(self) -> None:
        self.memory.release_lock(SHOP.domain)


class ClbBench:
    FAULTS = {  # noqa: RUF012 - a table
        "unanswered": ("DescribeTargets", lab.FaultKind.THROTTLE),
        "lost on the way": ("BatchModifyTargetWeight", lab.FaultKind.ERROR_BEFORE),
        "lost on the way back": ("BatchModifyTargetWeight", lab.FaultKind.LOST_REPLY),
        "task fails": ("BatchModifyTargetWeight", lab.FaultKind.TASK_FAILS),
        "task lies": ("BatchModifyTargetWeight", lab.FaultKind.TASK_LIES),
        "task half": ("BatchModifyTargetWeight", lab.FaultKind.TASK_HALF),
        "task endless": ("BatchModifyTargetWeight", lab.FaultKind.TASK_ENDLESS),
        "reset on the way": ("BatchModifyTargetWeight", lab.FaultKind.RESET_BEFORE),
        "reset on the way back": ("BatchModifyTargetWeight", lab.FaultKind.RESET_AFTER),
        "quota": ("BatchModifyTargetWeight", lab.FaultKind.QUOTA),
    }
    LOCATIONS = {SHOP.id: "loc-shop0001", PAY.id: "loc-pay00001"}  # noqa: RUF012 - a table
    WORK_SECONDS = 0.5

    def __init__(self, keys: Path) -> None:
        targets = (
            lab.Target(kind=lab.TargetKind.CVM, ip="10.0.0.1", port=30080, instance_id="ins-old00001", weight=100),
            lab.Target(kind=lab.TargetKind.CVM, ip="10.0.0.2", port=30080, instance_id="ins-old00002", weight=100),
            # An ENI target shows the instance of its host, and still cannot be addressed by it.
            lab.Target(kind=lab.TargetKind.ENI, ip="10.0.1.1", port=31080, instance_id="ins-host0001", weight=0),
        )
        rules = tuple(
            lab.Rule(location_id=self.LOCATIONS[route.id], domain=route.host, url=route.path, targets=targets)
            for route in (SHOP, PAY)
        )
        listener = lab.Listener(listener_id=LISTENER, protocol="HTTPS", port=443, rules=rules)
        balancer = lab.LoadBalancer(load_balancer_id=BALANCER, listeners=(listener,))
        self.emulator, self.api = running_cloud(keys, [balancer], task_delay_seconds=(0.05, 0.1), timeout="1s")
        self.provider: TrafficProvider = ClbProvider(self.api)

    def close(self) -> None:
        self.emulator.stop()

    def person_sets(self, route: Route, weights: Mapping[str, int]) -> None:
        changed = {self._target(key): weight for key, weight in weights.items()}
        self.emulator.edit_weights(BALANCER, LISTENER, self.LOCATIONS[route.id], changed)

    def member_is(self, route: Route, key: str, health: Health) -> None:
        told = {Health.ALIVE: lab.Health.ALIVE, Health.DEAD: lab.Health.DEAD}[health]
        self.emulator.set_health(BALANCER, LISTENER, self.LOCATIONS[route.id], self._target(key), told)

    def member_joins(self, route: Route) -> str:
        target = lab.Target(kind=lab.TargetKind.ENI, ip="10.0.1.2", port=31080, weight=10)
        self.emulator.add_target(BALANCER, LISTENER, self.LOCATIONS[route.id], target)
        return "10.0.1.2:31080"

    def member_leaves(self, route: Route, key: str) -> None:
        self.emulator.remove_target(BALANCER, LISTENER, self.LOCATIONS[route.id], self._target(key))

    def somebody_else_works(self) -> None:
        self.emulator.hold_lock(BALANCER, self.WORK_SECONDS)
        self.free_at = time.monotonic() + self.WORK_SECONDS

    def somebody_else_is_done(self) -> None:
        until(lambda: time.monotonic() > self.free_at)

    def goes_wrong(self, how: str) -> None:
        action, kind = self.FAULTS[how]
        # Longer than any test takes: what holds a lock holds it until it is released.
        self.emulator.inject(lab.Fault(action=action, kind=kind, seconds=60))

    def somebody_releases(self) -> None:
        self.emulator.release_lock(BALANCER)

    @staticmethod
    def _target(key: str) -> lab.TargetKey:
        address, _, port = key.rpartition(":")
        return lab.TargetKey(address, int(port))


@pytest.fixture(params=["memory", "clb"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "memory":
        yield MemoryBench()
        return
    clb = ClbBench(tmp_path)
    yield clb
    clb.close()


def until(happened: object) -> None:
    """Wait until a condition holds; a test that waits for ever has failed."""
    assert callable(happened)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def seen(bench: Bench, route: Route = SHOP) -> RouteView:
    return bench.provider.observe([route])[route.id]


def finished(bench: Bench, operation: Operation) -> OperationState:
    state = bench.provider.check(operation)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while state.progress is Progress.RUNNING:
        assert time.monotonic() < deadline, "the operation never ended"
        time.sleep(0.05)
        state = bench.provider.check(operation)
    return state


def member(view: RouteView, key: str) -> Health:
    return next(one.health for one in view.members if one.key == key)


def test_a_route_shows_its_members_with_sides_weights_and_health(bench: Bench) -> None:
    view = seen(bench)

    assert view.refusal is None
    assert {one.key: one.side for one in view.members} == {OLD: Side.SOURCE, OLDER: Side.SOURCE, NEW: Side.TARGET}
    assert view.weights == BEFORE
    assert {one.health for one in view.members} == {Health.ALIVE}


@pytest.mark.parametrize(
    ("weights", "share"),
    [(AFTER, 10.0), ({OLD: 0, OLDER: 0, NEW: 100}, 100.0), ({OLD: 100, OLDER: 100, NEW: 0}, 0.0)],
)
def test_what_was_set_is_what_is_seen(bench: Bench, weights: dict[str, int], share: float) -> None:
    bench.person_sets(SHOP, {OLD: 1, OLDER: 2, NEW: 3})
    state = finished(bench, bench.provider.submit([Change(SHOP, weights)]))

    assert state.progress is Progress.DONE
    assert seen(bench).weights == weights
    assert seen(bench).share == share


def test_setting_what_is_in_force_already_succeeds(bench: Bench) -> None:
    state = finished(bench, bench.provider.submit([Change(SHOP, BEFORE)]))

    assert state.progress is Progress.DONE
    assert seen(bench).weights == BEFORE


def test_members_not_named_keep_their_weight(bench: Bench) -> None:
    finished(bench, bench.provider.submit([Change(SHOP, {NEW: 40})]))

    assert seen(bench).weights == BEFORE | {NEW: 40}


def test_several_routes_of_one_domain_move_in_one_submit(bench: Bench) -> None:
    other = {OLD: 50, OLDER: 50, NEW: 100}
    finished(bench, bench.provider.submit([Change(SHOP, AFTER), Change(PAY, other)]))
    views = bench.provider.observe([SHOP, PAY])

    assert {id_: view.weights for id_, view in views.items()} == {SHOP.id: AFTER, PAY.id: other}


def test_a_change_of_one_route_leaves_the_other_alone(bench: Bench) -> None:
    finished(bench, bench.provider.submit([Change(SHOP, AFTER)]))

    assert seen(bench, PAY).weights == BEFORE


def test_an_operation_takes_time_and_keeps_its_domain_busy(bench: Bench) -> None:
    operation = bench.provider.submit([Change(SHOP, AFTER)])

    with pytest.raises(ProviderUnavailableError):
        bench.provider.submit([Change(PAY, AFTER)])
    assert finished(bench, operation).progress is Progress.DONE
    assert seen(bench, PAY).weights == BEFORE


def test_a_domain_busy_with_somebody_elses_operation_refuses_and_accepts_later(bench: Bench) -> None:
    bench.somebody_else_works()

    with pytest.raises(ProviderUnavailableError):
        bench.provider.submit([Change(SHOP, AFTER)])
    assert seen(bench).weights == BEFORE
    bench.somebody_else_is_done()
    finished(bench, bench.provider.submit([Change(SHOP, AFTER)]))
    assert seen(bench).weights == AFTER


@pytest.mark.parametrize("how", ["lost on the way", "reset on the way"])
def test_an_ambiguous_write_that_never_arrived_is_told_by_reading_back(bench: Bench, how: str) -> None:
    bench.goes_wrong(how)

    with pytest.raises(AmbiguousWriteError):
        bench.provider.submit([Change(SHOP, AFTER)])
    # The domain is free: nothing is under way that could still change the weights.
    finished(bench, bench.provider.submit([Change(PAY, AFTER)]))
    assert seen(bench).weights == BEFORE


@pytest.mark.parametrize("how", ["lost on the way back", "reset on the way back"])
def test_an_ambiguous_write_that_did_arrive_is_told_by_reading_back(bench: Bench, how: str) -> None:
    bench.goes_wrong(how)

    with pytest.raises(AmbiguousWriteError):
        bench.provider.submit([Change(SHOP, AFTER)])
    until(lambda: seen(bench).weights == AFTER)


def test_a_failed_operation_says_so_and_why(bench: Bench) -> None:
    bench.goes_wrong("task fails")
    state = finished(bench, bench.provider.submit([Change(SHOP, AFTER)]))

    assert state.progress is Progress.FAILED
    assert state.message
    assert seen(bench).weights == BEFORE


def test_a_lying_operation_is_seen_by_reading_back(bench: Bench) -> None:
    bench.goes_wrong("task lies")
    state = finished(bench, bench.provider.submit([Change(SHOP, AFTER)]))

    assert state.progress is Progress.DONE
    assert seen(bench).weights == BEFORE


def test_a_half_applied_operation_is_seen_by_reading_back(bench: Bench) -> None:
    bench.goes_wrong("task half")
    state = finished(bench, bench.provider.submit([Change(SHOP, AFTER)]))

    assert state.progress is Progress.FAILED
    assert seen(bench).weights not in (BEFORE, AFTER)
    assert all(weight in {BEFORE[key], AFTER[key]} for key, weight in seen(bench).weights.items())


def test_an_endless_operation_keeps_its_domain_busy_until_it_is_released(bench: Bench) -> None:
    bench.goes_wrong("task endless")
    operation = bench.provider.submit([Change(SHOP, AFTER)])

    for _ in range(3):
        assert bench.provider.check(operation).progress is Progress.RUNNING
        with pytest.raises(ProviderUnavailableError):
            bench.provider.submit([Change(PAY, AFTER)])
    bench.somebody_releases()
    finished(bench, bench.provider.submit([Change(PAY, AFTER)]))
    assert (seen(bench).weights, seen(bench, PAY).weights) == (BEFORE, AFTER)


def test_an_exhausted_quota_is_a_refusal_that_changes_nothing(bench: Bench) -> None:
    bench.goes_wrong("quota")

    with pytest.raises(ProviderRefusedError, match="quota"):
        bench.provider.submit([Change(SHOP, AFTER)])
    assert seen(bench).weights == BEFORE


def test_an_unanswered_read_is_unavailable_and_passes(bench: Bench) -> None:
    bench.goes_wrong("unanswered")

    with pytest.raises(ProviderUnavailableError):
        seen(bench)
    assert seen(bench).weights == BEFORE


def test_an_unknown_operation_is_refused(bench: Bench) -> None:
    with pytest.raises(ProviderRefusedError):
        bench.provider.check(Operation(SHOP.domain, "00000000-0000-4000-8000-000000000000"))


def test_an_unknown_route_is_shown_as_refused_beside_a_good_one(bench: Bench) -> None:
    unknown = a_route("nobody.example.com")
    views = bench.provider.observe([SHOP, unknown])

    assert views[SHOP.id].refusal is None
    assert views[unknown.id].refusal is not None
    assert views[unknown.id].members == ()


@pytest.mark.parametrize(
    "weights",
    [
        {OLD: 0, OLDER: 0, NEW: 0},
        {},
        {OLD: 101, OLDER: 100, NEW: 0},
        {OLD: -1, OLDER: 100, NEW: 0},
        {OLD: 5.5, OLDER: 100, NEW: 0},
        {OLD: True, OLDER: 100, NEW: 0},
        {"10.9.9.9:31080": 1},
    ],
)
def test_a_change_that_cannot_be_right_is_refused_and_changes_nothing(bench: Bench, weights: dict[str, int]) -> None:
    with pytest.raises(ProviderRefusedError):
        bench.provider.submit([Change(PAY, AFTER), Change(SHOP, weights)])
    assert seen(bench).weights == BEFORE
    assert seen(bench, PAY).weights == BEFORE


def test_a_route_given_twice_in_one_submit_is_refused(bench: Bench) -> None:
    with pytest.raises(ProviderRefusedError, match="a route is changed twice in one batch"):
        bench.provider.submit([Change(SHOP, AFTER), Change(SHOP, BEFORE)])


def test_several_domains_in_one_call_are_our_own_bug(bench: Bench) -> None:
    elsewhere = Route(REGION, "lb-other", LISTENER, "shop.example.com", "/", SHOP.source, SHOP.target)

    with pytest.raises(InvariantError, match="routes of several lock domains in one call"):
        bench.provider.observe([SHOP, elsewhere])
    with pytest.raises(InvariantError, match="routes of several lock domains in one call"):
        bench.provider.submit([Change(SHOP, AFTER), Change(elsewhere, AFTER)])
    with pytest.raises(InvariantError, match="an empty batch of changes was submitted"):
        bench.provider.submit([])


def test_nothing_asked_is_nothing_answered(bench: Bench) -> None:
    assert dict(bench.provider.observe([])) == {}


def test_the_health_of_a_member_is_seen(bench: Bench) -> None:
    bench.member_is(SHOP, OLD, Health.DEAD)

    assert member(seen(bench), OLD) is Health.DEAD
    assert member(seen(bench), OLDER) is Health.ALIVE
    assert member(seen(bench, PAY), OLD) is Health.ALIVE
    bench.member_is(SHOP, OLD, Health.ALIVE)
    assert member(seen(bench), OLD) is Health.ALIVE


def test_a_persons_edit_is_seen_at_once(bench: Bench) -> None:
    assert seen(bench).weights == BEFORE
    bench.person_sets(SHOP, {NEW: 77})

    assert seen(bench).weights == BEFORE | {NEW: 77}


def test_every_weight_at_zero_is_shown_as_no_share(bench: Bench) -> None:
    bench.person_sets(SHOP, {OLD: 0, OLDER: 0, NEW: 0})

    assert seen(bench).share is None


def test_members_that_join_and_leave_are_seen(bench: Bench) -> None:
    joined = bench.member_joins(SHOP)
    assert seen(bench).weights == BEFORE | {joined: 10}
    bench.member_leaves(SHOP, OLDER)

    assert seen(bench).weights == {OLD: 100, NEW: 0, joined: 10}


def test_a_member_gone_since_it_was_seen_is_refused(bench: Bench) -> None:
    bench.member_leaves(SHOP, OLDER)

    with pytest.raises(ProviderRefusedError):
        bench.provider.submit([Change(SHOP, AFTER)])
    assert seen(bench).weights == {OLD: 100, NEW: 0}


def test_a_member_that_nobody_selects_is_refused_while_it_has_weight(bench: Bench) -> None:
    narrow = a_route("shop.example.com", source=Selector(ids=("ins-old00001",)))
    assert OLDER in (seen(bench, narrow).refusal or "")
    bench.person_sets(SHOP, {OLDER: 0})

    assert seen(bench, narrow).refusal is None
    assert any(OLDER in warning for warning in seen(bench, narrow).warnings)


def test_a_member_that_both_sides_select_is_refused(bench: Bench) -> None:
    wide = a_route("shop.example.com", target=Selector(ips=("10.0.0.1", "10.0.1.1")))

    assert OLD in (seen(bench, wide).refusal or "")


def test_a_selector_that_matches_nobody_is_refused(bench: Bench) -> None:
    empty = a_route("shop.example.com", target=Selector(ports=(1,)))

    assert "target" in (seen(bench, empty).refusal or "")
