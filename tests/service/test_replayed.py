"""Every decision of a whole migration can be computed again from its record, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shifter.cli.replaying import Replay, replayed
from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from tests.service.conftest import World


def _replays(world: World) -> list[Replay]:
    records = [each for each in world.saved.history("shop", limit=100_000) if "replay" in each.record.evidence]
    return [replayed(record) for record in records]


def _differences(world: World) -> list[tuple[int, str]]:
    return [(each.record.id, said) for each in _replays(world) for said in each.differences]


def test_every_decision_of_a_clean_migration_follows_from_its_record(world: World) -> None:
    world.until(Phase.COMPLETED)
    shares = [(each.trail.base.share, each.record.record.what) for each in _replays(world)]

    assert _differences(world) == []
    assert [share for share, what in shares if what is What.INTENT] == [0, 5, 25, 50]


@pytest.mark.parametrize("on_failure", ["rollback", "stepBack"])
def test_every_decision_of_one_that_failed_follows_from_its_record(
    make_world: Callable[..., World], on_failure: str
) -> None:
    world = make_world()
    world.write_policy("shop", onFailure=on_failure)
    world.until_share(50)
    world.sides[Side.TARGET].error_percent = 20
    world.step(20)
    went_back = [each for each in _replays(world) if each.record.record.evidence["verdict"] == "fail"]

    assert _differences(world) == []
    assert went_back
    assert all(each.reached.share > 0 for each in went_back)


def test_what_is_decided_right_after_a_new_attempt_began_follows_from_its_record(world: World) -> None:
    world.until_share(25)
    world.sides[Side.TARGET].error_percent = 90
    world.until(Phase.ROLLED_BACK)
    world.sides[Side.TARGET].error_percent = 0
    world.order(Verb.RETRY)
    world.wake()
    world.order(Verb.PROMOTE)
    world.wake()
    world.step(4)

    assert [each.trail.base.attempt for each in _replays(world)][-1] == 2
    assert _differences(world) == []


def test_what_is_decided_after_a_restart_follows_from_its_record(world: World) -> None:
    world.until_share(25)
    world.restart()
    world.until(Phase.COMPLETED)

    assert _differences(world) == []
