"""What is known by list and watch, and since when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from shifter.adapters.kube.watching import LIST_SECONDS, WATCH_SECONDS, Watched
from shifter.ports.kube import LEASES
from tests.adapters.kube_watching import HERE, World, holder
from tests.kube import Call, Fault, MemoryApi, MemoryCluster

DEADLINE_SECONDS = 10.0


@pytest.fixture
def world() -> World:
    return World()


def test_before_the_first_list_nothing_is_known_and_nothing_is_fresh(world: World) -> None:
    world.put("one")
    watched = world.watched()

    assert watched.items() == {}
    assert watched.age_seconds() == float("inf")
    assert not watched.fresh(1e9)


def test_what_was_there_is_listed_and_what_changes_is_seen(world: World) -> None:
    world.put("one")
    world.put("two")
    watched = world.watched()
    seen = []
    world.later(1, lambda: world.put("three"))
    world.later(2, lambda: seen.append(watched.items()))
    world.later(3, lambda: world.put("one", "b"))
    world.later(4, lambda: world.remove("two"))
    world.later(5, lambda: seen.append(watched.items()))

    watched.turn()

    assert seen == [{"one": "a", "two": "a", "three": "a"}, {"one": "b", "three": "a"}]
    assert world.told == []


def test_only_those_with_the_labels_are_known(world: World) -> None:
    world.put("one", app="shifter")
    world.put("two")
    watched = Watched(
        world.api,
        LEASES,
        HERE,
        keep=holder,
        monotonic=lambda: world.now,
        dice=lambda: 1.0,
        tell=world.told.append,
        labels={"app": "shifter"},
    )
    world.later(1, lambda: world.put("three", app="shifter"))
    world.later(2, lambda: world.put("four"))

    watched.turn()

    assert watched.items() == {"one": "a", "three": "a"}


def test_what_is_handed_out_is_a_copy(world: World) -> None:
    watched = world.watched()
    watched.turn()

    before = watched.items()
    world.put("one")
    watched.turn()

    assert (before, watched.items()) == ({}, {"one": "a"})


def test_a_watch_that_ends_is_followed_by_another_and_not_by_a_list(world: World) -> None:
    watched = world.watched()
    world.later(1, lambda: world.put("one"))

    pauses = [watched.turn() for _ in range(3)]

    assert pauses == [0.0, 0.0, 0.0]
    assert (world.api.count("list"), world.api.count("watch")) == (1, 3)
    assert watched.items() == {"one": "a"}


def test_a_kind_that_nobody_writes_is_fresh_while_the_server_ends_watches_in_good_order(world: World) -> None:
    watched = world.watched()
    watched.turn()
    ages: list[float] = []
    for seconds in range(10, int(WATCH_SECONDS), 10):
        world.later(seconds, lambda: ages.append(watched.age_seconds()))

    watched.turn()

    assert ages == [10, 20, 30, 40, 50]
    assert watched.age_seconds() == 0
    assert watched.fresh(0)


def test_a_list_is_no_younger_than_when_it_was_asked_for(world: World) -> None:
    watched = world.watched()

    def slowly(_: Call) -> None:
        world.wait(7)

    world.api.meanwhile(slowly, "list", after=True)
    world.api.fail(Fault.DOWN, "watch")

    watched.turn()

    assert watched.age_seconds() == 7


def test_a_bookmark_is_a_sign_of_life_and_says_where_to_go_on(world: World) -> None:
    watched = world.watched()
    world.api.bookmark_seconds = 20.0
    ages: list[float] = []
    world.later(1, lambda: world.put("noise", namespace="elsewhere"))
    world.later(25, lambda: ages.append(watched.age_seconds()))

    watched.turn()
    world.cluster.forget_changes()
    watched.turn()

    assert ages == [5]
    assert world.api.count("list") == 1
    assert world.told == []


@pytest.mark.fault(
    on="Kubernetes",
    fault="a watch loses a change",
    does="lists everything anew every 5 minutes; what decides is asked for directly",
    sees="nothing",
    safe_within="5 min",
)
def test_a_change_that_a_watch_lost_is_found_by_the_next_list(world: World) -> None:
    world.put("gone")
    watched = world.watched(dice=0.0)
    watched.turn()
    world.api.lose = 2
    world.later(1, lambda: world.remove("gone"))
    world.later(2, lambda: world.put("one"))

    watched.turn()
    lost = watched.items()
    world.pass_by(watched, LIST_SECONDS)

    assert lost == {"gone": "a"}
    assert watched.items() == {"one": "a"}
    assert world.api.count("list") == 2


@pytest.mark.parametrize("dice", [0.0, 0.5, 1.0])
def test_everything_is_listed_anew_at_least_every_five_minutes(world: World, dice: float) -> None:
    watched = world.watched(dice=dice)
    at: list[float] = []
    world.api.meanwhile(lambda _: at.append(world.now), "list", times=None)

    world.pass_by(watched, 3_600)

    gaps = [after - before for before, after in pairwise(at)]
    assert len(gaps) >= 11
    assert all(LIST_SECONDS * 3 / 4 <= gap <= LIST_SECONDS for gap in gaps)


def test_a_quiet_hour_costs_so_many_requests(world: World) -> None:
    watched = world.watched(dice=0.0)

    world.pass_by(watched, 3_600)

    assert world.api.count("list") == 12
    assert world.api.count("watch") == 60


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass
class Running:
    """The same with a thread, and real time."""

    cluster: MemoryCluster
    api: MemoryApi
    watched: Watched[str]

    def put(self, name: str) -> None:
        body = LEASES.body(metadata={"name": name}, spec={"holderIdentity": "a"})
        MemoryApi(self.cluster).create(LEASES, HERE, body)


@pytest.fixture
def running() -> Iterator[Running]:
    cluster = MemoryCluster()
    api = MemoryApi(cluster)
    watched = Watched(api, LEASES, HERE, keep=holder, monotonic=time.monotonic, dice=lambda: 1.0, tell=lambda _: None)
    yield Running(cluster, api, watched)
    api.close()
    assert watched.stop(DEADLINE_SECONDS)


def test_a_thread_keeps_it_up_to_date(running: Running) -> None:
    running.put("one")
    running.watched.start()

    until(lambda: running.watched.items() == {"one": "a"})
    running.put("two")
    until(lambda: len(running.watched.items()) == 2)

    assert running.watched.fresh(DEADLINE_SECONDS)


def test_stopping_waits_so_long_and_no_longer_for_a_watch(running: Running) -> None:
    running.watched.start()
    until(lambda: running.api.count("watch"))
    began_at = time.monotonic()

    ended = running.watched.stop(0.05)
    took_seconds = time.monotonic() - began_at
    running.api.close()

    assert not ended
    assert took_seconds < DEADLINE_SECONDS / 2
    assert running.watched.stop(DEADLINE_SECONDS)


def test_stopping_ends_a_pause(running: Running) -> None:
    running.api.set(down=True)
    running.watched.start()
    until(lambda: running.api.count("list") >= 2)

    assert running.watched.stop(DEADLINE_SECONDS)


def test_stopping_ends_a_watch_at_its_next_change(running: Running) -> None:
    running.watched.start()
    until(lambda: running.api.count("watch"))
    running.watched.stop(0.0)

    running.put("one")

    assert running.watched.stop(DEADLINE_SECONDS)
    assert running.watched.items() == {"one": "a"}


def test_stopping_what_never_started_is_harmless(world: World) -> None:
    assert world.watched().stop()


def test_no_thread_keeps_the_process_alive(running: Running) -> None:
    before = set(threading.enumerate())
    running.watched.start()

    (started,) = set(threading.enumerate()) - before

    assert started.daemon
    assert started.name == "watch leases"
