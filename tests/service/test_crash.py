"""Killed at any edge of any call to the outside, a restarted shifter finishes the same migration.

An edge is the moment right before or right after a call to the store or the provider takes effect. Every edge of a
whole run is tried, each as a test of its own, and pairs of them by seed; the checker judges what the balancer and
the history recorded, not what shifter believes.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from tests.service.conftest import World

STEPS = (5.0, 50.0, 100.0)
PAIRS = 40
MOST_TICKS = 80

Worlds = Callable[..., World]


def migrate(world: World) -> None:
    """Let a healthy migration run to its end, and a little longer."""
    world.until(Phase.COMPLETED, most=MOST_TICKS)
    world.step(2)


def fail_and_go_back(world: World) -> None:
    """Let the target fail as soon as it carries traffic, and let the shift go back by itself."""
    world.sides[Side.TARGET].error_percent = 50
    world.until(Phase.ROLLED_BACK, most=MOST_TICKS)
    world.step(2)


def go_back_in_the_middle_of_a_climb(world: World) -> None:
    """Let a person order the way back while the second step is being written."""
    while not world.climbs(What.INTENT) or world.climbs(What.INTENT)[-1] < STEPS[1]:
        world.step()
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK, most=MOST_TICKS)
    world.step(2)


def a_world(path: Path) -> World:
    """A world whose first process has started: the edges are those from then on."""
    world = World(path, steps=STEPS, soak="10s", looks_until_done=2)
    world.trap.calls.clear()
    return world


def edges(run: Callable[[World], None]) -> list[str]:
    """Every edge of an undisturbed run, in order."""
    with tempfile.TemporaryDirectory() as path:
        world = a_world(Path(path))
        run(world)
        return world.trap.calls


def named(calls: Iterable[str]) -> list[str]:
    return [f"{index:03}-{call.replace(' ', '-')}" for index, call in enumerate(calls)]


CLIMBING, RETREATING, ORDERED = edges(migrate), edges(fail_and_go_back), edges(go_back_in_the_middle_of_a_climb)


def crashed(path: Path, run: Callable[[World], None], *points: int) -> World:
    world = a_world(path)
    world.trap.strike_at = frozenset(points)
    run(world)
    return world


@pytest.mark.parametrize("point", range(len(CLIMBING)), ids=named(CLIMBING))
def test_a_migration_killed_at_any_edge_completes_all_the_same(tmp_path: Path, point: int) -> None:
    world = crashed(tmp_path, migrate, point)

    assert world.lease.epoch == 2
    assert_same_migration(world, repeats=1)


@pytest.mark.parametrize("point", range(len(RETREATING)), ids=named(RETREATING))
def test_a_rollback_killed_at_any_edge_goes_back_all_the_same(tmp_path: Path, point: int) -> None:
    world = crashed(tmp_path, fail_and_go_back, point)

    assert world.lease.epoch == 2
    assert_same_rollback(world)


@pytest.mark.parametrize("point", range(len(ORDERED)), ids=named(ORDERED))
def test_an_ordered_rollback_killed_at_any_edge_goes_back_all_the_same(tmp_path: Path, point: int) -> None:
    world = crashed(tmp_path, go_back_in_the_middle_of_a_climb, point)
    shares = [share or 0 for share in world.written_shares()]

    assert world.lease.epoch == 2
    assert world.saved_state().phase is Phase.ROLLED_BACK
    assert world.view().weights == final_weights(go_back_in_the_middle_of_a_climb)
    assert not world.saved.open_orders()
    assert max(shares) <= STEPS[1]
    assert_safe(world)


def pairs(calls: list[str], seed: int) -> list[tuple[int, int]]:
    random_ = random.Random(seed)  # noqa: S311 - a sample of cases, no secret
    return [(first, first + random_.randint(1, 12)) for first in random_.sample(range(len(calls)), k=PAIRS)]


@pytest.mark.parametrize("points", pairs(CLIMBING, seed=1), ids=str)
def test_a_migration_killed_twice_completes_all_the_same(tmp_path: Path, points: tuple[int, int]) -> None:
    world = crashed(tmp_path, migrate, *points)

    assert_same_migration(world, repeats=2)


@pytest.mark.parametrize("points", pairs(RETREATING, seed=2), ids=str)
def test_a_rollback_killed_twice_goes_back_all_the_same(tmp_path: Path, points: tuple[int, int]) -> None:
    world = crashed(tmp_path, fail_and_go_back, *points)

    assert_same_rollback(world)


def assert_same_migration(world: World, *, repeats: int) -> None:
    begun, done = world.climbs(What.INTENT), world.climbs(What.DONE)
    shares = [share for share in world.written_shares() if share is not None]

    assert world.saved_state().phase is Phase.COMPLETED
    assert world.view().weights == final_weights(migrate)
    assert done == list(STEPS), "every step is done once, none is skipped"
    assert [share for share, _ in groupby(begun)] == list(STEPS)
    assert len(begun) <= len(STEPS) + repeats
    assert all(before <= after for before, after in pairwise(shares)), "a healthy migration never goes down"
    assert_safe(world)


def assert_same_rollback(world: World) -> None:
    state = world.saved_state()

    assert state.phase is Phase.ROLLED_BACK
    assert state.share == 0
    assert state.failure is not None
    assert "istio fail" in state.failure.reason
    assert world.view().weights == final_weights(fail_and_go_back)
    assert max(share or 0 for share in world.written_shares()) == STEPS[0], "a failing target never got more"
    assert_safe(world)


def assert_safe(world: World) -> None:
    """What holds at any time in any run, with or without crashes."""
    history = world.history()
    epochs = [record.epoch for record in history if record.what is What.INTENT]
    sequences = [record.sequence for record in history if record.what is What.INTENT]
    ids = [record.id for record in world.saved.history(limit=100_000)]

    assert None not in world.written_shares(), "nobody would get the traffic"
    assert epochs == sorted(epochs)
    assert sequences == list(range(1, len(sequences) + 1)), "every intent has the next number"
    assert ids == list(range(1, len(ids) + 1))
    for changes, saved in world.provider.submits:
        sent: Mapping[str, Mapping[str, int]] = {change.route.id: change.weights for change in changes}
        assert [intent.weights for intent in saved] == [sent], "a write without its saved intent"
    assert len(outcomes(world)) == len(sequences), "every intent has one outcome"


def outcomes(world: World) -> list[int]:
    return [record.sequence for record in world.history() if record.what in {What.DONE, What.FAILED}]


def final_weights(run: Callable[[World], None]) -> Mapping[str, int]:
    """The weights an undisturbed run ends with, worked out once more by the balancer's own rule."""
    on_target = 100 if run is migrate else 0
    return {
        "ins-old1:30080": 100 - on_target,
        "ins-old2:30080": 100 - on_target,
        "ins-new1:31080": on_target,
        "ins-new2:31080": on_target,
    }


def test_an_undisturbed_run_passes_the_same_checks(tmp_path: Path) -> None:
    world = crashed(tmp_path, migrate)

    assert world.lease.epoch == 1
    assert_same_migration(world, repeats=0)


def test_the_checked_edges_cover_every_kind_of_call() -> None:
    kinds = {
        f"{when} {call}" for when in ("before", "after") for call in ("save", "submit", "check", "observe", "report")
    }

    assert set(CLIMBING) == kinds
    assert set(RETREATING) == kinds
