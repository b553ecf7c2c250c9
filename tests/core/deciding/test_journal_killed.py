"""An intent whose process dies after any step, any number of times, still ends in a place that is right."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shifter.core.balancing.splits import RouteView
from shifter.core.deciding.journal import Call, Delivery, Move, Step, failed, next_move
from shifter.core.state import Direction, Intent, ShiftState
from tests.core.intents import ROUTES, A, B, a_view, an_intent, split
from tests.core.shifts import NOON, a_policy

NEVER = 100
"""Steps. Far more than any intent needs to end."""


@dataclass
class Cloud:
    """Two balancers that carry a call out one step after accepting it."""

    weights: dict[str, dict[str, int]]
    accepted: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def submit(self, route: str, weights: Mapping[str, int]) -> None:
        self.accepted[route] = weights

    def carry_out(self) -> None:
        for route, weights in self.accepted.items():
            self.weights[route] = dict(weights)
        self.accepted.clear()

    def views(self) -> dict[str, RouteView]:
        return {name: a_view(name, weights) for name, weights in self.weights.items()}


def a_life(cloud: Cloud, intent: Intent, start: datetime, *, first: bool) -> Iterator[tuple[datetime, Move | None]]:
    """Follow an intent until it is closed, stopping after every single thing done; the last move closes it."""
    begun = Delivery.UNSENT if first else Delivery.UNKNOWN
    known = {route.domain: Call(begun) for route in ROUTES.values()}
    now = start
    while True:
        now += timedelta(seconds=5)
        known = {
            route.domain: Call(Delivery.FINISHED)
            if known[route.domain].delivery is Delivery.RUNNING and name not in cloud.accepted
            else known[route.domain]
            for name, route in ROUTES.items()
        }
        move = next_move(intent, known, cloud.views(), now)
        if move.step in {Step.DONE, Step.FAILED}:
            yield now, move
            return
        for name, route in ROUTES.items():
            if move.step is Step.SEND and route.domain in move.domains:
                cloud.submit(name, intent.weights[name])
                known[route.domain] = Call(Delivery.RUNNING)
                yield now, None
        cloud.carry_out()
        yield now, None


def lived(cloud: Cloud, intent: Intent, deaths: tuple[int, ...]) -> Move:
    """Follow an intent through several lives, each but the last ending after so many steps, and return its end."""
    now = NOON
    for index, steps in enumerate((*deaths, NEVER)):
        life = a_life(cloud, intent, now, first=index == 0)
        for now, move in itertools.islice(life, steps + 1):  # noqa: B007 - where the next life begins
            if move is not None:
                return move
    raise AssertionError("it never ends")


def test_a_life_without_a_death_ends_as_intended() -> None:
    cloud = Cloud({A: split(5), B: split(5)})

    assert lived(cloud, an_intent(), ()).step is Step.DONE
    assert cloud.weights == {A: split(25), B: split(25)}


deaths = st.lists(st.integers(0, 6), max_size=4).map(tuple)


@given(deaths)
def test_a_climb_killed_after_any_steps_ends_as_intended_or_is_put_back(deaths: tuple[int, ...]) -> None:
    cloud, intent = Cloud({A: split(5), B: split(5)}), an_intent()
    move = lived(cloud, intent, deaths)
    if move.repair:
        shift = ShiftState(name="shop", policy=a_policy("lbl-1", steps=(5, 100)), since=NOON, intent=intent)
        state = failed(shift, intent, move, 3, NOON)
        assert state.intent is not None
        assert lived(cloud, state.intent, deaths).step is Step.DONE

    expected = split(25) if move.step is Step.DONE else split(5)
    assert cloud.weights == {A: expected, B: expected}


@given(deaths, st.sampled_from([0, 25, 50]), st.sampled_from([0, 25, 50]))
def test_a_retreat_killed_after_any_steps_always_arrives(deaths: tuple[int, ...], a: int, b: int) -> None:
    cloud = Cloud({A: split(a), B: split(b)})

    assert lived(cloud, an_intent(Direction.RETREAT, 25, 0), deaths).step is Step.DONE
    assert cloud.weights == {A: split(0), B: split(0)}
