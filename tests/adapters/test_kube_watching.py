"""What is known by list and watch, and since when: no silence, loss or outage lasts longer than it may."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from shifter.adapters.kube.api import LEASES, Body, Change, Kind
from shifter.adapters.kube.watching import LIST_SECONDS, LONGEST_PAUSE_SECONDS, WATCH_SECONDS, Rhythm, Watched
from tests.kube import Call, Fault, MemoryApi, MemoryCluster

HERE = "shifter-system"
DEADLINE_SECONDS = 10.0


@dataclass
class World:
    """A cluster, somebody else at work in it, and a clock that only moves when there is nothing to do."""

    now: float = 1000.0
    script: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cluster = MemoryCluster(namespaces=(HERE, "elsewhere"), remembers=50)
        self.other = MemoryApi(self.cluster)
        self.api = MemoryApi(self.cluster, monotonic=lambda: self.now, waiting=self.wait)

    def wait(self, seconds: float) -> bool:
        """Let time pass until the next thing in the script, at most so long."""
        until = self.now + seconds
        if self.script and self.script[0][0] <= until:
            self.now, act = self.script.pop(0)
            act()
        else:
            self.now = until
        return True

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        self.script.append((self.now + seconds, act))

    def watched(self, dice: float = 1.0, **more: object) -> Watched[str]:
        return Watched(
            self.api,
            LEASES,
            HERE,
            keep=holder,
            monotonic=lambda: self.now,
            dice=lambda: dice,
            tell=self.told.append,
            rhythm=Rhythm(**more),  # type: ignore[arg-type]
        )

    def put(self, name: str, who: str = "a", namespace: str = HERE, **labels: str) -> None:
        spec = {"holderIdentity": who, "leaseDurationSeconds": 15}
        body = LEASES.body(metadata={"name": name, "labels": labels}, spec=spec)
        there = {each["metadata"]["name"]: each for each in self.other.list(LEASES, namespace).items}
        if name in there:
            self.other.replace(LEASES, namespace, there[name] | {"spec": spec})
        else:
            self.other.create(LEASES, namespace, body)

    def remove(self, name: str) -> None:
        self.other.delete(LEASES, HERE, name)

    def pass_by(self, watched: Watched[str], seconds: float) -> None:
        """Let a watched kind do what it does for so long."""
        until = self.now + seconds
        while self.now < until:
            pause_seconds = watched.turn()  # which lets time pass, too
            self.now += pause_seconds


def holder(body: Body) -> str:
    return str(body["spec"]["holderIdentity"])


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


@pytest.mark.fault(
    on="Kubernetes",
    fault="a watch goes silent without ending",
    does="what is known counts as old, and is asked for directly; the watch is given up and all is listed anew",
    sees="nothing",
    safe_within="1 min",
)
def test_a_watch_that_goes_silent_makes_what_is_known_old_and_is_given_up(world: World) -> None:
    watched = world.watched()
    ages: list[tuple[float, bool]] = []
    world.later(1, lambda: world.api.set(silent=True))
    world.later(2, lambda: world.put("one"))
    world.later(50, lambda: ages.append((watched.age_seconds(), watched.fresh(45))))

    pause = watched.turn()
    unknown = watched.items()
    age_seconds = watched.age_seconds()
    world.api.heal()
    watched.turn()

    assert ages == [(50, False)]
    assert unknown == {}
    assert age_seconds == WATCH_SECONDS
    assert 0 < pause <= 1
    assert watched.items() == {"one": "a"}


def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_hurry(world: World) -> None:
    watched = world.watched()
    world.api.set(closing=True)

    world.pass_by(watched, 600)

    assert world.api.count() < 50
    assert world.told == ["leases in shifter-system cannot be watched: the API server ends every watch at once"]
    world.api.heal()
    world.put("one")
    watched.turn()
    assert watched.items() == {"one": "a"}
    assert world.told[1:] == ["leases in shifter-system are watched again"]


def test_a_server_that_ends_watches_soon_after_a_change_is_not_asked_in_a_hurry_either(world: World) -> None:
    watched = world.watched()
    world.api.set(closing=True)
    world.api.meanwhile(lambda _: world.put("one", f"at {world.now}"), "watch", times=None)

    world.pass_by(watched, 600)

    assert world.api.count() < 50
    assert watched.age_seconds() <= LONGEST_PAUSE_SECONDS


@pytest.mark.fault(
    on="Kubernetes",
    fault="answers a watch with 410: what it should begin with is forgotten",
    does="lists everything anew",
    sees="nothing",
    safe_within="1 s",
)
def test_a_watch_from_too_long_ago_leads_to_a_new_list(world: World) -> None:
    world.put("gone")
    watched = world.watched()
    watched.turn()
    world.remove("gone")
    world.put("one")
    world.cluster.forget_changes()

    pause = watched.turn()
    watched.turn()

    assert pause <= 1
    assert watched.items() == {"one": "a"}
    assert world.told == []


def test_a_watch_that_fell_too_far_behind_leads_to_a_new_list(world: World) -> None:
    watched = world.watched()
    watched.turn()

    def flood() -> None:
        for number in range(60):
            world.put(f"{number}")

    world.later(1, flood)
    world.pass_by(watched, 120)

    assert len(watched.items()) == 60


def test_what_was_deleted_while_nobody_answered_is_gone_afterwards(world: World) -> None:
    world.put("gone")
    world.put("stays")
    watched = world.watched()
    watched.turn()
    world.api.set(down=True)
    world.remove("gone")
    for _ in range(3):
        watched.turn()
    meanwhile = watched.items()
    world.api.heal()

    watched.turn()

    assert meanwhile == {"gone": "a", "stays": "a"}
    assert watched.items() == {"stays": "a"}


def test_what_breaks_in_the_middle_of_a_watch_leads_to_a_new_list(world: World) -> None:
    watched = world.watched()
    world.later(5, lambda: world.api.set(down=True))

    pause = watched.turn()
    world.api.heal()
    watched.turn()

    assert 0 < pause <= 1
    assert world.api.count("list") == 2


@pytest.mark.parametrize(("dice", "share"), [(0.0, 0.5), (1.0, 1.0)])
def test_pauses_double_up_to_a_bound_and_are_never_all_the_same(world: World, dice: float, share: float) -> None:
    watched = world.watched(dice=dice)
    world.api.set(down=True)

    pauses = [watched.turn() for _ in range(1_100)]

    assert pauses[:8] == [share * each for each in (0.5, 1, 2, 4, 8, 16, 30, 30)]
    assert max(pauses) == share * LONGEST_PAUSE_SECONDS
    world.api.heal()
    watched.turn()
    world.api.set(down=True)
    assert watched.turn() == share * 0.5


def test_trouble_that_goes_away_is_not_told(world: World) -> None:
    watched = world.watched()
    world.api.fail(Fault.ERROR, "list")
    world.api.fail(Fault.THROTTLED, "watch")

    pauses = [watched.turn() for _ in range(3)]

    assert pauses[0] > 0 < pauses[1]
    assert pauses[2] == 0
    assert world.told == []


def test_trouble_that_stays_is_told_once_and_so_is_its_end(world: World) -> None:
    watched = world.watched()
    world.api.fail(Fault.DOWN, times=5)
    world.api.fail(Fault.DENIED, "list", times=5)

    for _ in range(12):
        watched.turn()

    refusal = 'leases.coordination.k8s.io "" is forbidden: User "shifter" cannot list resource "leases"'
    assert [
        told.partition(": ")[2].startswith(why) for told, why in zip(world.told, ("conn", refusal), strict=False)
    ] == [
        True,
        True,
    ]
    assert world.told[2:] == ["leases in shifter-system are watched again"]


def test_a_kind_that_is_not_defined_is_told_and_what_was_known_grows_old(world: World) -> None:
    world.put("one")
    watched = world.watched()
    watched.turn()
    world.cluster.withdraw(LEASES)

    world.pass_by(watched, 100)

    assert world.told == ["leases in shifter-system cannot be watched: HTTP 404: 404 page not found"]
    assert watched.age_seconds() >= 100
    assert watched.items() == {"one": "a"}


class Mumbling(MemoryApi):
    """Tells of objects that are none."""

    body: Body

    def watch(self, kind: Kind, namespace: str, resource_version: str, **more: object) -> Iterator[Change]:
        del kind, namespace, resource_version, more
        yield Change("ADDED", self.body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "an object without metadata.resourceVersion"),
        ({"metadata": None}, "an object without metadata.resourceVersion"),
        ({"metadata": {"resourceVersion": "7"}}, "an object without metadata.name"),
        ({"metadata": {"resourceVersion": "7", "name": "one"}}, "KeyError: 'spec'"),
    ],
)
def test_an_object_that_is_none_does_not_end_the_watching(world: World, body: Body, said: str) -> None:
    world.api = Mumbling(world.cluster, monotonic=lambda: world.now, waiting=world.wait)
    world.api.body = body
    watched = world.watched()

    pauses = [watched.turn() for _ in range(4)]

    assert all(pauses)
    assert world.told == [f"leases in shifter-system cannot be watched: {said}"]
    assert world.api.count("list") == 4


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
