"""What is known by list and watch when watches fail: no silence, loss or outage lasts longer than it may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shifter.adapters.kube.watching import LONGEST_PAUSE_SECONDS, WATCH_SECONDS
from shifter.ports.kube import LEASES, Body, Change, Kind
from tests.adapters.kube_watching import World
from tests.kube import Fault, MemoryApi


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.fault(
    on="Kubernetes",
    fault="a watch goes silent without ending",
    does="what is known counts as old, and is asked for directly; the watch is given up and all is listed anew",
    sees="nothing",
    safe_within="90 s",
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
