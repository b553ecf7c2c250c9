"""A small deterministic world for the service: two meshes, a balancer, a store, a folder, and no clock but `now`.

Everything is real except what lies outside shifter, and even that keeps the rules of its port. Time passes only
in `World.step`: traffic flows by the live weights, the clock moves, the ticker is woken once.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog
from prometheus_client import CollectorRegistry

from shifter.adapters.memory import MemoryProvider, Rule
from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.core.balancing.membership import Server
from shifter.core.balancing.splits import Health, Route, RouteView, Selector, Side
from shifter.core.deciding.orders import Answer, Order, OrderRequest, Verb
from shifter.core.documents.fleet import Fleet, Learning
from shifter.core.phases import Phase
from shifter.core.records import NewRecord, What
from shifter.core.state import Direction, Report, ShiftState
from shifter.ports import Store, TrafficProvider
from shifter.service.lanes import CallLanes
from shifter.service.policy_files import PolicyFolder
from shifter.service.telemetry import Telemetry, configure_logs
from shifter.service.tick import Parts, Ticker
from tests.documents import a_fleet, policy_document
from tests.service.outside import Gateway, Killed, MortalLanes, SlowLanes, Trap, WatchedProvider, WatchedStore

T = TypeVar("T")

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TICK = timedelta(seconds=10)
REGION, BALANCER, LISTENER = "ap-guangzhou", "lb-front0001", "lbl-https443"
OLD, OLDER, NEW, NEWER = "ins-old1:30080", "ins-old2:30080", "ins-new1:31080", "ins-new2:31080"


NO_LATENCY: dict[str, Any] = {"latency": {"enabled": False}, "hold": "20s"}
"""The criteria of most tests: the gateways have no histogram, and nobody waits for proof."""

ANY_STEP = {"requests": 1e6}
"""The blast radius of most tests, which are not about how large a step may be."""


FLEET = a_fleet(
    "lab",
    timing={
        "tick": "10s",
        "sampleMaxAge": "20s",
        "readDeadline": "2s",
        "operationTimeout": "60s",
        "reportEvery": "30s",
    },
)


def fleet_with(*, learning: Learning | None = None, **timing: timedelta) -> Fleet:
    """The fleet with other timing, that learns the source from as few ticks as there can be if nothing else is said."""
    told = {
        "timing": FLEET.spec.timing.model_copy(update=timing),
        "learning": learning or Learning.model_validate({"minTicks": 2}),
    }
    return FLEET.model_copy(update={"spec": FLEET.spec.model_copy(update=told)})


class World:
    """Everything that one shifter sees. `shifts` maps names to load balancers; all begin at 0 %."""

    PER_SECOND = 40.0

    def __init__(
        self,
        path: Path,
        *,
        shifts: Mapping[str, str] | None = None,
        steps: Sequence[float] = (5, 25, 50, 100),
        soak: str = "20s",
        mode: str = "act",
        looks_until_done: int = 1,
    ) -> None:
        self.now = NOON
        self.lanes: CallLanes = MortalLanes()
        self.fleet = fleet_with()
        self.path = path
        self.mode = mode
        self._steps, self._soak = steps, soak
        self.log = io.StringIO()
        configure_logs("debug", self.log)
        self.trap = Trap()
        self.memory = MemoryProvider(looks_until_done=looks_until_done)
        self.saved = MemoryStore()
        self.provider = WatchedProvider(self.memory, self.trap, self.saved)
        self.store = WatchedStore(self.saved, self.trap)
        self.sides = {Side.SOURCE: Gateway("tcm-1"), Side.TARGET: Gateway("istio-1")}
        self.balancers = dict(shifts or {"shop": BALANCER})
        for name in self.balancers:
            self.write_policy(name)
            self.memory.put_rule(self.route(name), Rule(servers()))
        self.start()

    # -- the process ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a shifter on what is there, with a lease of its own."""
        self.lease = MemoryLease(self.saved)
        self.begin()

    def begin(self) -> None:
        """Start a shifter with this lease and this store."""
        self.telemetry = Telemetry(CollectorRegistry(), timedelta(minutes=5))
        self.parts = Parts(
            fleet=self.fleet,
            mode=self.mode,
            folder=PolicyFolder(self.path, self.fleet),
            store=self.store,
            leadership=self.lease,
            provider=self.provider,
            metrics=self.sides,
            lanes=self.lanes,
            telemetry=self.telemetry,
            stopwatch=lambda: 0.0,
        )
        self.ticker = Ticker(self.parts)
        self.ticker.load()

    def die(self) -> None:
        """End the process as a kill does: nothing is drained or released; the lease is simply gone."""
        self.lease.lose()

    def restart(self) -> None:
        self.die()
        self.start()

    def restart_slow(self) -> SlowLanes:
        """Restart with lanes in which every read is late, and with hardly any patience."""
        lanes = SlowLanes()
        self.lanes, self.fleet = lanes, fleet_with(read_deadline=timedelta(seconds=0.001))
        self.restart()
        return lanes

    def step(self, count: int = 1) -> None:
        """Let one tick of time pass, `count` times, and wake the ticker after each; restart it where it is killed."""
        for _ in range(count):
            self.pass_time(TICK)
            self.wake()

    def pass_time(self, span: timedelta) -> None:
        for name in self.balancers:
            self._flow(name, span.total_seconds())
        self.now += span

    def wake(self) -> None:
        """Wake the ticker at this very moment, as a finished call or an order would."""
        try:
            self.ticker.wake(self.now)
        except Killed:
            self._rise()

    def _rise(self) -> None:
        """Start again; a process may be killed while it starts, too."""
        while True:
            self.die()
            with suppress(Killed):
                return self.start()

    def until(self, *phases: Phase, name: str = "shop", most: int = 300) -> ShiftState:
        """Step until the shift is in one of the phases with nothing under way; fail if that takes too long."""
        for _ in range(most):
            if name in self.ticker.shifts and self.state(name).phase in phases and self.state(name).intent is None:
                return self.state(name)
            self.step()
        raise AssertionError(f"{name} is not {phases} after {most} ticks: {self.report(name)}")

    def until_share(self, share: float, *, name: str = "shop", most: int = 200) -> None:
        """Step until the shift has verified this share."""
        for _ in range(most):
            if name in self.ticker.shifts and self.state(name).share == share and self.state(name).intent is None:
                return
            self.step()
        raise AssertionError(f"{name} is not at {share:g} % after {most} ticks: {self.report(name)}")

    # -- people --------------------------------------------------------------------------------------------------

    def order(self, verb: Verb, *, name: str = "shop", **asked: Any) -> Order:  # noqa: ANN401 - any field of a request
        return self.saved.create_order(OrderRequest(name, verb, "ann", "because", **asked), self.now)

    def answer(self, order: Order) -> tuple[Answer | None, str]:
        """What became of an order."""
        found = self.saved.order(order.id)
        return found.answer, found.answer_text

    def write_policy(self, name: str, **changes: Any) -> Path:  # noqa: ANN401 - whatever a person types
        file = self.path / f"{name}.yaml"
        usual = {"steps": self._steps, "soak": self._soak, "analysis": NO_LATENCY, "blastRadius": ANY_STEP}
        # JSON is YAML, and nobody has to get indentation right.
        file.write_text(json.dumps(policy(name, self.balancers[name], **{**usual, **changes})))
        return file

    def edit_weights(self, weights: Mapping[str, int], *, name: str = "shop") -> None:
        self.memory.edit_weights(self.route(name), weights)

    def member_joins(self) -> None:
        """Bind one more gateway of the target, with weight, as an autoscaler would."""
        self.memory.add_server(self.route(), Server("ins-new3:31080", 31080, 10, Health.ALIVE, "ins-new3"))

    # -- what is to be seen --------------------------------------------------------------------------------------

    def route(self, name: str = "shop") -> Route:
        sides = Selector(ports=(30080,)), Selector(ports=(31080,))
        return Route(REGION, self.balancers[name], LISTENER, f"{name}.example.com", "/", *sides)

    def view(self, name: str = "shop") -> RouteView:
        """The truth at the balancer; looking at it does not make its time pass."""
        quiet = self.memory._view(self.route(name))
        assert quiet.refusal is None or quiet.members, f"{name} has no rule"
        return quiet

    def share(self, name: str = "shop") -> float | None:
        return self.view(name).share

    def state(self, name: str = "shop") -> ShiftState:
        return self.ticker.shifts[name].place.state

    def saved_state(self, name: str = "shop") -> ShiftState:
        return self.saved.load()[name].state

    def report(self, name: str = "shop") -> Report:
        return self.saved.reports()[name]

    def reason(self, name: str = "shop") -> str:
        return self.report(name).reason

    def holds(self, name: str = "shop") -> set[str]:
        return {hold.kind for hold in self.report(name).holds}

    def history(self, name: str | None = "shop") -> list[NewRecord]:
        return [each.record for each in self.saved.history(name, limit=100_000)]

    def climbs(self, what: What = What.DONE, *, name: str = "shop") -> list[float]:
        """The shares of all climbs that were done (or begun, or failed), in order."""
        found = [record for record in self.history(name) if record.what is what]
        return [_number(each.evidence["to"]) for each in found if each.evidence["direction"] == Direction.CLIMB]

    def written_shares(self, name: str = "shop") -> list[float | None]:
        """What the balancer's weights amounted to after each write to this shift's route, by whomever."""
        route = self.route(name)
        return [_share(write.after[route.id]) for write in self.memory.writes if route.id in write.after]

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """What was logged, one object per line; only one kind of event if it is named."""
        found = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in found if not event or line["event"] == event]

    def _flow(self, name: str, seconds: float) -> None:
        share = self.share(name)
        if share is None:
            return
        requests = self.PER_SECOND * seconds
        self.sides[Side.TARGET].serve(name, requests * share / 100)
        self.sides[Side.SOURCE].serve(name, requests * (100 - share) / 100)


def servers() -> tuple[Server, ...]:
    """Two healthy members on each side; all traffic is TCM's."""
    ports = itertools.chain(((OLD, 30080, 100), (OLDER, 30080, 100)), ((NEW, 31080, 0), (NEWER, 31080, 0)))
    return tuple(Server(key, port, weight, Health.ALIVE, key.split(":")[0]) for key, port, weight in ports)


def policy(name: str, balancer: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A policy file's content; `changes` as `policy_document` has them."""
    usual = {
        "loadBalancer": balancer,
        "routes": [{"listener": LISTENER, "domain": f"{name}.example.com", "url": "/"}],
        "steps": [50, 100],
        "soak": "1m",
        "analysis": {},
    }
    return policy_document(name, **{**usual, **changes})


def _share(weights: Mapping[str, int]) -> float | None:
    total = sum(weights.values())
    target = sum(weight for key, weight in weights.items() if key.endswith(":31080"))
    return 100 * target / total if total else None


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Build worlds, each in a folder of its own."""
    made: list[World] = []

    def make(**options: Any) -> World:  # noqa: ANN401 - World's own
        path = tmp_path / f"world-{len(made)}"
        path.mkdir()
        made.append(World(path, **options))
        return made[-1]

    yield make
    structlog.reset_defaults()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


_: type[Store] = WatchedStore
__: type[TrafficProvider] = WatchedProvider
