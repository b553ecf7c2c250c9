"""An API server that takes requests and answers none: a retreat waits for one call to it, and for no other.

With the timing that a fleet file has if it says nothing, on a clock of its own that a call which hangs sets forward.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from shifter.adapters.kube.breaker import Breaker
from shifter.adapters.kube.client import BOUNDS
from shifter.adapters.kube.store import KubeStore
from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Order
from shifter.core.documents.fleet import Timing
from shifter.core.documents.leasing import Leasing
from shifter.ports.kube import Body, Change, Failing, Kind, KubeError, Listing
from shifter.service.tick import Ticker
from tests.kube import MemoryApi
from tests.kube_cluster import MemoryCluster
from tests.service.conftest import World

Worlds = Callable[..., World]

TICK_SECONDS = Timing().tick.total_seconds()
HANG_SECONDS = BOUNDS.connect_seconds + BOUNDS.answer_seconds
WAKE_SECONDS = 1.0
"""So often the daemon wakes a service at the least."""
FLOW_SECONDS = 0.5
PHASES = (0.5, 4.0, 8.0, 12.25, 14.6)
"""When in a tick something happens, seconds."""


class NobodyOrders:
    """What a watch has seen of the orders: nothing."""

    def items(self) -> Mapping[str, Order | None]:
        return {}

    def stop(self, within_seconds: float) -> bool:
        del within_seconds
        return True


class Freezing:
    """A `KubeApi` that freezes at an instant: who asks it then waits in vain; and a leadership that rests on it."""

    epoch = 1

    def __init__(self, world: FrozenWorld) -> None:
        self._world = world
        self._inner = MemoryApi(MemoryCluster(), "root")
        self.hung = 0

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        self._pass()
        return self._inner.get(kind, namespace, name)

    def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Listing:
        self._pass()
        return self._inner.list(kind, namespace, labels=labels)

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        self._pass()
        return self._inner.create(kind, namespace, body)

    def replace(self, kind: Kind, namespace: str, body: Body, *, status: bool = False) -> Body:
        self._pass()
        return self._inner.replace(kind, namespace, body, status=status)

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        self._pass()
        self._inner.delete(kind, namespace, name, uid=uid)

    def watch(self, *_: object, **__: object) -> Iterator[Change]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""

    def answered(self) -> float:
        """When somebody else was last answered."""
        return min(self._world.seconds, self._world.frozen_at)

    def valid(self) -> bool:
        timing = Leasing().timing()
        lasts = timing.deadline_seconds - timing.write_budget_seconds
        return self._world.seconds < self._world.frozen_at + lasts

    def may_lower(self) -> bool:
        return True

    def release(self) -> None:
        """Nobody waits for it."""

    def _pass(self) -> None:
        if self._world.seconds < self._world.frozen_at:
            return
        self.hung += 1
        self._world.pass_time(HANG_SECONDS)
        raise KubeError(Failing.AMBIGUOUS, "read timed out")


class FrozenWorld:
    """A shift at 50 % whose state is in a cluster; its service is woken as the daemon does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seconds = 0.0
        self.frozen_at = self.failing_at = math.inf
        self.error_percent = self.came_back_at = 0.0
        self.api = Freezing(self)
        asked = Breaker(self.api, self.api.answered, self.monotonic)
        store = KubeStore(asked, "shifter-system", "me", lambda: "token", NobodyOrders(), monotonic=self.monotonic)
        timing = world.fleet.spec.model_copy(update={"timing": Timing()})
        world.parts = replace(
            world.parts,
            fleet=world.fleet.model_copy(update={"spec": timing}),
            store=store,
            leadership=self.api,
            stopwatch=self.monotonic,
        )
        world.ticker = Ticker(world.parts)
        world.ticker.load()
        self.until(lambda: "shop" in world.ticker.shifts and world.state().share == 50 and world.state().intent is None)
        self.live(4 * TICK_SECONDS)

    def monotonic(self) -> float:
        return self.seconds

    def live(self, seconds: float) -> None:
        """Wake the service for so long."""
        until = self.seconds + seconds
        self.until(lambda: self.seconds >= until)

    def until(self, what: Callable[[], bool]) -> None:
        """Wake the service until something is so."""
        while not what():
            assert self.seconds < 600 * TICK_SECONDS, self.world.report()
            began = self.seconds
            self.world.ticker.wake(self.world.now)
            self.came_back_at = self.seconds
            self.pass_time(max(FLOW_SECONDS, began + WAKE_SECONDS - self.seconds))

    def pass_time(self, seconds: float) -> None:
        """Let users be served, and things happen at their instants."""
        until = self.seconds + seconds
        while self.seconds < until:
            if self.seconds >= self.failing_at:
                self.world.sides[Side.TARGET].error_percent = self.error_percent
            step = min(FLOW_SECONDS, until - self.seconds)
            self.world.pass_time(timedelta(seconds=step))
            self.seconds += step


def seconds_until_back(make_world: Worlds, fails: float, freezes: float, percent: float) -> tuple[float, int]:
    """Return how long users were left on a broken mesh, and how many calls hung."""
    stage = FrozenWorld(make_world(steps=(50, 100), soak="1h"))
    now, stage.error_percent = stage.seconds, percent
    stage.failing_at, stage.frozen_at = now + fails, now + freezes
    stage.until(lambda: stage.world.share() == 0)
    return stage.came_back_at - stage.failing_at, stage.api.hung


@pytest.mark.fault(
    on="Kubernetes",
    fault="the API server takes requests and answers none, and Istio answers nothing but errors",
    does="waits for one call to it, then for none; goes back to 0 % without having saved that",
    sees="`store.problem`: ... it was not asked again, since it has answered nobody else",
    safe_within="two ticks",
)
@pytest.mark.parametrize("fails", PHASES)
def test_what_fails_plainly_goes_back_within_two_ticks_though_every_call_would_hang(
    make_world: Worlds, fails: float
) -> None:
    for freezes in (*PHASES, *(TICK_SECONDS + phase for phase in PHASES)):
        took, hung = seconds_until_back(make_world, fails, freezes, 100.0)

        assert took <= 2 * TICK_SECONDS
        assert hung <= 1


@pytest.mark.parametrize(("fails", "freezes"), list(itertools.product(PHASES[::2], PHASES[1::2])))
def test_what_fails_in_part_goes_back_one_call_later_than_if_the_server_answered(
    make_world: Worlds, fails: float, freezes: float
) -> None:
    well, _ = seconds_until_back(make_world, fails, math.inf, 30.0)
    late, hung = seconds_until_back(make_world, fails, freezes, 30.0)

    assert late <= well + HANG_SECONDS + WAKE_SECONDS
    assert hung <= 1
