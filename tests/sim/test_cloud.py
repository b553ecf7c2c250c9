"""The fake cloud keeps what the provider's port promises: the port's own contract suite, run against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from shifter.core.balancing.membership import Server
from shifter.core.balancing.splits import Health, Route, RouteView
from shifter.ports import Change, Operation, OperationState, TrafficProvider
from tests.contract import test_provider as contract
from tests.sim.calls import PAUSES, Door, Fate, Port, Tally
from tests.sim.chance import Script
from tests.sim.cloud import Cloud, Ending
from tests.sim.dice import Dice
from tests.sim.doors import DoorProvider
from tests.sim.journal import Journal
from tests.sim.kernel import Kernel

globals().update({name: test for name, test in vars(contract).items() if name.startswith("test_")})

SECONDS_PER_CALL = 0.5
ENDLESS_SECONDS = 1e6


class Caller:
    """A process that never dies."""

    name = "caller"
    dead = False
    paused_until = 0.0

    def possible(self, port: Port) -> frozenset[Fate]:
        return port.fates - PAUSES

    def crash(self) -> None: ...

    def pause(self, seconds: float) -> None: ...

    def lose_lease(self) -> None: ...

    def interrupt(self) -> None: ...


class PatientProvider:
    """Asking makes time pass, as it would while the answer is on its way."""

    def __init__(self, kernel: Kernel, inner: TrafficProvider) -> None:
        self._kernel = kernel
        self._inner = inner

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        self._kernel.run(self._kernel.now + SECONDS_PER_CALL)
        return self._inner.observe(routes)

    def submit(self, changes: Sequence[Change]) -> Operation:
        return self._inner.submit(changes)

    def check(self, operation: Operation) -> OperationState:
        self._kernel.run(self._kernel.now + SECONDS_PER_CALL)
        return self._inner.check(operation)


class SimBench:
    """The world around the fake cloud: what the network does to a call is a fate, what the cloud does is weather."""

    FATES = {  # noqa: RUF012 - a table
        "unanswered": Fate.ERROR_BEFORE,
        "lost on the way back": Fate.ERROR_AFTER,
        "reset on the way back": Fate.ERROR_AFTER,
    }
    ENDINGS = {  # noqa: RUF012 - a table
        "task fails": Ending.FAILS,
        "task lies": Ending.LIES,
        "task half": Ending.HALF,
        "task endless": Ending.ENDLESS,
    }

    def __init__(self) -> None:
        self.kernel = Kernel()
        journal = Journal()
        self.cloud = Cloud(self.kernel, Dice(1, "cloud"), journal, 0.0)
        self.tally = Tally()
        self.fates: dict[int, Fate] = {}
        door = Door(self.kernel, journal, Script(self.fates), self.tally, Caller())
        self.provider: TrafficProvider = PatientProvider(self.kernel, DoorProvider(door, self.cloud, "caller"))
        servers = (
            Server(contract.OLD, 30080, 100, Health.ALIVE, "ins-old00001", ("10.0.0.1",)),
            Server(contract.OLDER, 30080, 100, Health.ALIVE, "ins-old00002", ("10.0.0.2",)),
            Server(contract.NEW, 31080, 0, Health.ALIVE, "", ("10.0.1.1",)),
        )
        for route in (contract.SHOP, contract.PAY):
            self.cloud.put_rule(route.host, route, servers)

    def person_sets(self, route: Route, weights: Mapping[str, int]) -> None:
        self.cloud.edit(route.id, weights)

    def member_is(self, route: Route, key: str, health: Health) -> None:
        self.cloud.set_health(route.id, key, alive=health is not Health.DEAD)

    def member_joins(self, route: Route) -> str:
        self.cloud.bind(route.id, Server("10.0.1.2:31080", 31080, 10, Health.ALIVE, "", ("10.0.1.2",)))
        return "10.0.1.2:31080"

    def member_leaves(self, route: Route, key: str) -> None:
        self.cloud.unbind(route.id, key)

    def somebody_else_works(self) -> None:
        self.cloud.lock(contract.SHOP.domain, ENDLESS_SECONDS)

    def somebody_else_is_done(self) -> None:
        self.cloud.unlock(contract.SHOP.domain)

    def somebody_releases(self) -> None:
        self.cloud.unlock(contract.SHOP.domain)

    def goes_wrong(self, how: str) -> None:
        """Let the next call meet it."""
        weather = self.cloud.weather
        weather.endless_seconds = ENDLESS_SECONDS
        if how in self.ENDINGS:
            weather.endings = {self.ENDINGS[how]: 1.0}
            self.kernel.at(self.kernel.now, weather.endings.clear)
        elif how == "quota":
            weather.refusals = 1
        elif how in self.FATES:
            self.fates[self.tally.number + 1] = self.FATES[how]
        else:
            self.fates[self.tally.number + 1] = Fate.LOST


@pytest.fixture
def bench() -> SimBench:
    return SimBench()


_: Callable[[], contract.Bench] = SimBench
