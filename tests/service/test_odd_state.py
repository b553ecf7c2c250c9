"""A service that finds its state other than it left it: edited by a person, or later than the clock says it is.

What it does not understand it refuses to start with (`tests/adapters/test_saved_states.py`); here is what can be read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Answer, Verb
from tests.service.test_bad_store import DiskWorld

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DiskWorld]:
    """At 5 %, with evidence enough for the next step as soon as it has soaked."""
    (tmp_path / "policies").mkdir()
    made = DiskWorld(tmp_path / "policies", steps=(5, 25, 100), soak="1m")
    made.until_share(5)
    yield made
    made.die()
    structlog.reset_defaults()


def edited(world: DiskWorld, edit: Edit) -> None:
    """Stop the service, let a person edit its state in a `sqlite3` shell, and start it again."""
    world.die()
    with closing(sqlite3.connect(world.file, isolation_level=None)) as raw:
        ((text,),) = raw.execute("SELECT state FROM shifts").fetchall()
        state = json.loads(text)
        state.pop("sha256", None)  # as one must, to have an edit believed
        edit(state)
        raw.execute("UPDATE shifts SET version = version + 1, state = ?", (json.dumps(state),))
    world.start()


def other_weights(state: dict[str, Any]) -> None:
    for weights in state["weights"].values():
        weights.update(dict.fromkeys(weights, 50))


def goes_back_when_told(world: DiskWorld) -> None:
    order = world.order(Verb.ROLLBACK)
    world.step(4)

    assert world.answer(order)[0] is Answer.ACCEPTED
    assert world.share() == 0


@pytest.mark.fault(
    on="SQLite",
    fault="somebody edits the weights, the phase or the share of a saved state into what cannot be",
    does="raises nothing; goes back when told to",
    sees="hold `drift` or `preflight` with what contradicts what, or `completed, but tcm still answered ...`",
    safe_within="one tick",
)
@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (other_weights, "drift: somebody changed the weights"),
        (lambda state: state.update(phase="Completed"), "completed, but tcm still answered"),
        (lambda state: state.update(share=-5.0), "a share of -5 % does not exist"),
        (lambda state: state.update(share=150.0), "150"),
    ],
    ids=["weights", "phase", "a negative share", "a share above 100"],
)
def test_a_state_that_was_edited_into_what_cannot_be_raises_nothing(world: DiskWorld, edit: Edit, says: str) -> None:
    shares = len(world.written_shares())
    edited(world, edit)
    world.step(15)

    assert world.written_shares()[shares:] == []
    assert says in world.reason()
    goes_back_when_told(world)


@pytest.mark.fault(
    on="process",
    fault="starts with a clock that is before everything it has saved",
    does="counts no soak from before; goes on, and back, by what it sees from then on",
    sees="records whose instants run backwards, by ids that do not",
    safe_within="at once",
)
@pytest.mark.parametrize("back", [timedelta(minutes=5), timedelta(days=400)])
def test_a_clock_before_the_last_record_begins_the_soak_anew(world: DiskWorld, back: timedelta) -> None:
    world.step(4)
    shares, ids = len(world.written_shares()), [record.id for record in world.saved.history(limit=1000)]
    world.now -= back
    world.restart()
    world.step(4)
    too_early = world.written_shares()[shares:]
    world.until_share(25)
    later = [record.id for record in world.saved.history(limit=1000)]

    assert too_early == []
    assert later[: len(ids)] == ids
    assert later == list(range(ids[0], ids[0] + len(later)))


def test_with_a_clock_before_the_last_record_a_failing_target_goes_back(world: DiskWorld) -> None:
    world.now -= timedelta(days=400)
    world.restart()
    world.sides[Side.TARGET].error_percent = 100
    world.step(6)

    assert world.share() == 0


def test_with_a_clock_before_the_last_record_an_order_is_obeyed(world: DiskWorld) -> None:
    world.now -= timedelta(days=400)
    world.restart()
    goes_back_when_told(world)
