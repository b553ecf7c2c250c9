"""The simulated world: machines that compete, one cloud, two meshes, people, and one thread of time.

`World(plan).run()` lets everything happen and returns what was seen of it, for the checker.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from shifter.core.balancing.membership import Server
from shifter.core.balancing.splits import Health, Route, Selector, Side
from shifter.core.phases import Phase
from shifter.lab.checker import seen
from shifter.ports import Store
from tests.sim import files
from tests.sim.calls import Fates, Tally
from tests.sim.chance import Chance
from tests.sim.clock import Clock
from tests.sim.cloud import Cloud, Weather
from tests.sim.cluster import ClusterKeeping
from tests.sim.dice import Dice
from tests.sim.gather import REST_SECONDS, gather
from tests.sim.hands import Hands
from tests.sim.journal import Journal
from tests.sim.keeping import Keeping, MemoryKeeping
from tests.sim.kernel import Kernel
from tests.sim.lanes import Pace
from tests.sim.meshes import Mesh, Users, Workload
from tests.sim.plan import MACHINES, Plan
from tests.sim.process import Chronicle, Machine, Notes, Surroundings
from tests.sim.setting import SECONDS, Setting

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ZERO = NOON.timestamp()
PER_SECOND = 200
_MEMBERS = (("ins-old1", 30080, 100), ("ins-old2", 30080, 100), ("ins-new1", 31080, 0), ("ins-new2", 31080, 0))
_AT_REST_SECONDS = 5.0
_LEFT_SECONDS = 1.5
"""A clock that is off by less stays so when nothing goes wrong any more."""


class World:
    """Everything of one run. `folder` is an empty directory for its policy files."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        *,
        fates: Fates | None = None,
        show: Callable[[str], None] | None = None,
        setting: Setting = SECONDS,
    ) -> None:
        self.plan = plan
        self.setting = setting
        self.zero = ZERO
        self.kernel = Kernel()
        self.journal = Journal(show, str(folder))
        self.chance = Chance(Dice(plan.seed, "fates"), plan.odds, plan.stoppable, plan.ambushes)
        self.fates = fates or self.chance
        self.tally = Tally()
        self.chronicle = Chronicle()
        self.keeping = self._keeping()
        self.cloud = Cloud(self.kernel, Dice(plan.seed, "cloud"), self.journal, ZERO)
        self.meshes = {
            side: Mesh(side, self.kernel, Dice(plan.seed, f"mesh {side}"), ZERO, setting.fresh_seconds) for side in Side
        }
        for side, mesh in self.meshes.items():
            mesh.time(plan.timed, Dice(plan.seed, f"latency {side}"))
        self.workload = Workload(self.meshes[Side.SOURCE])
        self.users = Users(self.kernel, Dice(plan.seed, "users"), ZERO, self.meshes)
        self.desk = files.Desk(folder, plan, setting.tick_seconds)
        self.routes = {name: routes_of(plan, name) for name in setting.shifts}
        self.pace = Pace(self.fates.stoppable, plan.lanes)
        self.machines = self._machines(folder)
        self.hands = Hands(self)
        self._set_up()

    @property
    def saved(self) -> Store:
        """All that is saved."""
        return self.keeping.saved

    def run(self) -> seen.Seen:
        """Let everything happen, and return what was seen of it."""
        plan = self.plan
        for mishap in plan.mishaps:
            self.kernel.at(mishap.at, lambda mishap=mishap: self.hands.do(mishap))  # type: ignore[misc] # bound
        if not plan.is_safety:
            self.kernel.at(plan.calm_at, self.hands.calm_down)
        self._let_happen()
        found = gather(self)
        self.close()
        return found

    def _let_happen(self) -> None:
        """Let time pass to the end; after a calm, only until everything rests."""
        plan = self.plan
        if not plan.is_safety:
            self.kernel.run(min(plan.ends_at, plan.calm_at + REST_SECONDS + _AT_REST_SECONDS))
            while self.kernel.now < plan.ends_at and not self._rests():
                self.kernel.run(min(plan.ends_at, self.kernel.now + _AT_REST_SECONDS))
        self.kernel.run(max(plan.ends_at if plan.is_safety else 0.0, self.kernel.now))

    def _rests(self) -> bool:
        """Whether every shift has said that it is finished or back: then nothing is to be seen any more."""
        reports = self.saved.reports()
        told = {name: report.phase for name, report in reports.items() if not report.holds}
        return told.keys() == set(self.setting.shifts) and set(told.values()) <= {Phase.COMPLETED, Phase.ROLLED_BACK}

    def calm_down(self) -> None:
        """Let nothing go wrong any more; what people did stays done."""
        self.chance.is_calm = True
        self.cloud.weather = Weather()
        self.keeping.library.away_until = 0.0
        for mesh in self.meshes.values():
            mesh.calm_down()
        for machine in self.machines.values():
            machine.cut_off_until = 0.0
            if abs(machine.clock.error_seconds) > _LEFT_SECONDS:
                machine.jump(-machine.clock.error_seconds)
        self.pace.late = self.pace.stoppable = 0.0

    def _keeping(self) -> Keeping:
        if self.plan.store == "memory":
            return MemoryKeeping(self.kernel)
        return ClusterKeeping(self.kernel, ZERO, Dice(self.plan.seed, "cluster"))

    def _machines(self, folder: Path) -> dict[str, Machine]:
        plan = self.plan
        around = Surroundings(
            kernel=self.kernel,
            journal=self.journal,
            seed=plan.seed,
            fates=self.fates,
            tally=self.tally,
            fleet=self.setting.fleet,
            folder=folder,
            keeping=self.keeping,
            cloud=self.cloud,
            meshes=self.meshes,
            pace=self.pace,
            workload=self.workload if plan.has_workload else None,
            chronicle=self.chronicle,
            interrupt=self._interrupt,
            wake_seconds=self.setting.wake_seconds,
            telemetry=self.setting.telemetry or self._notes,
        )
        return {
            name: Machine(name, around, Clock(self.kernel, ZERO, plan.rates[index], plan.offsets[index]))
            for index, name in enumerate(MACHINES[: plan.machines])
        }

    def _notes(self, name: str) -> Notes:
        return Notes(name, self.chronicle, self.journal, lambda: self.kernel.now)

    def _interrupt(self) -> None:
        self.hands.interrupt()

    def _set_up(self) -> None:
        throttled, stale, stale_seconds, most_seconds = self.plan.weather
        self.cloud.weather = Weather(
            dict(self.plan.endings),
            0.2,
            most_seconds,
            throttled,
            stale,
            stale_seconds,
            endless_seconds=12.0,
            refused=self.plan.refused,
        )
        for name in self.setting.shifts:
            for number, route in enumerate(self.routes[name]):
                self.cloud.put_rule(name, route, servers(number))
            self.desk.write(ZERO, name)
        every = self.setting.serve_seconds
        self.kernel.every(every, self._serve, every)
        self.kernel.every(every, self._scrape, 0.4)
        for index, machine in enumerate(self.machines.values()):
            machine.begin(0.1 + 0.07 * index)

    def _serve(self) -> None:
        requests = round(PER_SECOND * self.setting.serve_seconds)
        for name in self.setting.shifts:
            self.users.second(name, requests, [self.cloud.share(route) for route in self.routes[name]])

    def _scrape(self) -> None:
        for mesh in self.meshes.values():
            mesh.scrape()

    def shifts_of(self, domain: str) -> frozenset[str]:
        """Return whose rules are in a lock domain."""
        return frozenset(name for name, routes in self.routes.items() if any(each.domain == domain for each in routes))

    def forget(self) -> None:
        """Drop everything that is noted for the checker, and the store's history: for runs that are too long for it."""
        self.saved.prune(datetime.fromtimestamp(ZERO + self.kernel.now, UTC))
        self.cloud.forget()
        self.chronicle.bugs.clear()
        self.chronicle.pauses.clear()
        self.chronicle.clocks.clear()
        self.tally.troubles.clear()
        self.tally.made.clear()
        self.pace.lates.clear()
        self.keeping.library.records.clear()
        self.keeping.library.stale.clear()
        self.hands.incidents.clear()
        self.hands.given.clear()
        self.desk.versions.clear()
        self.users.seconds.clear()

    def close(self) -> None:
        """Leave no thread behind."""
        for machine in self.machines.values():
            machine.process.leave()
        self.kernel.close()


def routes_of(plan: Plan, name: str) -> tuple[Route, ...]:
    """The rules of a shift."""
    sides = Selector(ports=(30080,)), Selector(ports=(31080,))
    return tuple(
        Route(files.REGION, place.balancer, files.LISTENER, place.host, "/", *sides)
        for place in files.places(plan, name)
    )


def servers(number: int) -> tuple[Server, ...]:
    """Two healthy members on each side of a shift's n-th rule; all traffic is the source's."""
    more = "" if not number else f"-{number}"
    return tuple(Server(f"{id_}{more}:{port}", port, weight, Health.ALIVE, id_) for id_, port, weight in _MEMBERS)
