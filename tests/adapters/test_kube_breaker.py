"""A server that was silent once: nobody waits for it again before it has answered somebody, and then it is asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.adapters.kube.breaker import PATIENCE_SECONDS, Breaker, is_silence
from shifter.adapters.kube.clocks import Clocks
from shifter.adapters.kube.kinds import SHIFTS
from shifter.adapters.kube.lease import KubeLease
from shifter.adapters.kube.lease_record import Claim
from shifter.core.documents.leasing import LeaseTiming
from shifter.ports.kube import LEASES, Body, Failing, KubeApi, KubeError
from tests.kube import Fault, MemoryApi, MemoryCluster

NS = "ns"
SILENT = (Fault.DOWN, Fault.TIMEOUT, Fault.LOST)
ANSWERED = (Fault.THROTTLED, Fault.ERROR, Fault.ERROR_AFTER, Fault.DENIED, Fault.UNKNOWN_USER, Fault.INVALID)
CALLS: dict[str, Callable[[KubeApi], object]] = {
    "get": lambda api: api.get(SHIFTS, NS, "shop"),
    "list": lambda api: api.list(SHIFTS, NS),
    "create": lambda api: api.create(SHIFTS, NS, a_shift("other")),
    "replace": lambda api: api.replace(SHIFTS, NS, a_shift("shop")),
    "delete": lambda api: api.delete(SHIFTS, NS, "shop"),
}


def a_shift(name: str = "shop") -> Body:
    return SHIFTS.body(metadata={"name": name}, spec={"namespaces": [name], "steps": [100]})


def a_door() -> MemoryApi:
    cluster = MemoryCluster()
    cluster.add_namespace(NS)
    return MemoryApi(cluster)


@dataclass
class World:
    """An API server whose every call takes `takes` seconds, behind a breaker; and when it answered somebody else."""

    takes: float = 3.0
    waited: float = 0.0
    answered_at: float = -math.inf
    door: MemoryApi = field(default_factory=a_door)

    def __post_init__(self) -> None:
        self.door.cluster.create(SHIFTS, NS, a_shift(), "root")
        self.api = Breaker(self.door, lambda: self.answered_at, self.monotonic)

    def monotonic(self) -> float:
        return self.waited + self.takes * len(self.door.calls)

    def ask(self, call: str = "get", fault: Fault | None = None) -> KubeError | None:
        """Make a call and return how it failed."""
        self.door.heal()
        if fault is not None:
            self.door.fail(fault)
        try:
            CALLS[call](self.api)
        except KubeError as error:
            return error
        return None

    def somebody_is_answered(self) -> None:
        self.waited += 1.0
        self.answered_at = self.monotonic()


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("fault", SILENT)
@pytest.mark.parametrize("after", CALLS)
def test_after_a_call_that_nobody_answered_no_other_is_made_and_it_fails_at_once(
    world: World, fault: Fault, after: str
) -> None:
    world.ask("get", fault)
    failed = world.ask(after)

    assert failed is not None
    assert (failed.failing, failed.status) == (Failing.UNAVAILABLE, 0)
    assert "it was not asked again, since it has answered nobody else" in str(failed)
    assert len(world.door.calls) == 1


@pytest.mark.parametrize("call", CALLS)
def test_every_kind_of_call_that_nobody_answers_is_the_last(world: World, call: str) -> None:
    first = world.ask(call, Fault.TIMEOUT)
    second = world.ask("get")

    assert first is not None
    assert second is not None
    assert str(first) in str(second)
    assert len(world.door.calls) == 1


def test_the_server_is_asked_again_once_somebody_was_answered_after_the_silence(world: World) -> None:
    world.ask("get", Fault.TIMEOUT)
    world.somebody_is_answered()

    assert world.ask("get") is None
    assert world.ask("list") is None


def test_what_was_answered_before_the_silence_says_nothing_of_now(world: World) -> None:
    world.somebody_is_answered()
    world.ask("get", Fault.TIMEOUT)

    assert world.ask("get") is not None
    assert len(world.door.calls) == 1


@pytest.mark.parametrize("fault", ANSWERED)
def test_a_server_that_refuses_or_fails_is_asked_again(world: World, fault: Fault) -> None:
    assert world.ask("get", fault) is not None
    assert world.ask("get") is None


def test_a_call_that_failed_at_once_held_nobody_up_and_the_next_one_is_made() -> None:
    world = World(takes=PATIENCE_SECONDS / 2)

    assert world.ask("get", Fault.DOWN) is not None
    assert world.ask("get") is None


def test_a_call_of_another_thread_that_was_answered_later_ends_the_silence(world: World) -> None:
    world.door.meanwhile(lambda _: silence_meanwhile(world), "list", after=True)
    CALLS["list"](world.api)
    world.waited += 1.0

    assert world.ask("get") is None


def silence_meanwhile(world: World) -> None:
    """Let a call of another thread hang, while one is under way."""
    world.door.fail(Fault.TIMEOUT, "get")
    with suppress(KubeError):
        CALLS["get"](world.api)
    world.waited += 1.0


def test_a_watch_is_asked_for_even_of_a_silent_server(world: World) -> None:
    world.ask("get", Fault.TIMEOUT)
    changes = list(world.api.watch(SHIFTS, NS, "", seconds=0.0))

    assert [change.body["metadata"]["name"] for change in changes] == ["shop"]


def test_closing_closes_what_is_behind(world: World) -> None:
    world.api.close()

    assert world.ask("get") is not None


@given(
    st.lists(
        st.one_of(
            st.just("answered"),
            st.tuples(st.sampled_from(sorted(CALLS)), st.sampled_from([None, *SILENT, *ANSWERED])),
        ),
        max_size=30,
    )
)
def test_a_silent_server_is_never_asked_and_one_that_has_answered_always(
    steps: list[str | tuple[str, Fault | None]],
) -> None:
    world, silent = World(), False

    for step in steps:
        if isinstance(step, str):
            world.somebody_is_answered()
            silent = False
            continue
        before = len(world.door.calls)
        failed = world.ask(*step)
        assert len(world.door.calls) - before == (0 if silent else 1)
        assert failed is not None or not silent
        silent = silent or (failed is not None and is_silence(failed))


@pytest.mark.parametrize("fault", [None, *ANSWERED, Fault.GARBLED, Fault.CONFLICT])
def test_whatever_a_lease_is_answered_counts_as_an_answer(fault: Fault | None) -> None:
    door, now = a_door(), iter(range(1_000))
    lease = KubeLease(door, Claim(NS, "me", "test"), LeaseTiming(), clocks=Clocks(monotonic=lambda: float(next(now))))
    if fault is not None:
        door.fail(fault, kind=LEASES)
    before = lease.answered()
    lease.step()

    assert before == -math.inf
    assert lease.answered() >= 0


@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.TIMEOUT])
def test_a_lease_that_nobody_answers_was_last_answered_when_it_was(fault: Fault) -> None:
    door = a_door()
    lease = KubeLease(door, Claim(NS, "me", "test"), LeaseTiming())
    lease.step()
    before = lease.answered()
    door.fail(fault, times=None)
    lease.step()

    assert lease.answered() == before
