"""Does what the plan says, at the instant it says, and writes down what that may explain.

The only place that knows both what went wrong and what the checker calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shifter.core.balancing.membership import Server
from shifter.core.balancing.splits import Health, Route, Side
from shifter.core.deciding.orders import FLEET, OrderRequest, Verb
from shifter.errors import RefusedError, ShifterError
from shifter.lab.checker import seen
from shifter.lab.checker.kinds import Kind
from tests.sim.dice import Dice
from tests.sim.meshes import PODS
from tests.sim.plan import SHIFTS, STEPS, Mishap, What

if TYPE_CHECKING:
    from tests.sim.world import World

_EVERYBODY = frozenset(SHIFTS)
_BOTH = frozenset({seen.SOURCE, seen.TARGET})
_BAD_PERCENT = 40.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a word of the plan asks for."""

    verb: Verb
    full: bool = False
    override: bool = False
    adopt: bool = False
    hands_off: bool = False
    gate: bool = False


_WORDS: Mapping[str, _Asked] = {
    "pause": _Asked(Verb.PAUSE),
    "resume": _Asked(Verb.RESUME),
    "promote": _Asked(Verb.PROMOTE),
    "promote full": _Asked(Verb.PROMOTE, full=True),
    "promote override": _Asked(Verb.PROMOTE, full=True, override=True),
    "rollback": _Asked(Verb.ROLLBACK),
    "retry": _Asked(Verb.RETRY),
    "adopt": _Asked(Verb.RECONCILE, adopt=True),
    "restore": _Asked(Verb.RECONCILE),
    "freeze": _Asked(Verb.FREEZE),
    "unfreeze": _Asked(Verb.UNFREEZE),
    "approve": _Asked(Verb.APPROVE, gate=True),
    "hands off": _Asked(Verb.PAUSE, hands_off=True),
}


class Hands:
    """Everybody's hands: those of people, of other controllers, and of fate."""

    def __init__(self, world: World) -> None:
        self.incidents: list[seen.Incident] = []
        self.given: list[seen.Given] = []
        self._world = world
        self._people = 0
        self._dice = Dice(world.plan.seed, "hands")

    def do(self, mishap: Mishap) -> None:
        """Do one thing."""
        world = self._world
        world.journal.add(world.kernel.now, f"-- {mishap.what} {mishap.whom} {mishap.word} {mishap.seconds:g} s")
        _DOINGS[mishap.what](self, mishap)

    def calm_down(self) -> None:
        """End everything that is wrong, and let people mend what only they can."""
        world = self._world
        world.journal.add(world.kernel.now, "-- calm")
        world.calm_down()
        for name in SHIFTS:
            world.desk.write(world.zero + world.kernel.now, name)
        world.kernel.after(3.0, lambda: self._give("", "unfreeze", 0.0, 0.0))
        if world.plan.on_failure != "rollback":
            for name in SHIFTS:
                world.kernel.after(4.0, lambda name=name: self._give(name, "retry", 0.0, 0.0))  # type: ignore[misc]

    # -- the cloud -----------------------------------------------------------------------------------------------

    def _down(self, mishap: Mishap) -> None:
        weather = self._world.cloud.weather
        weather.down_until = max(weather.down_until, self._until(mishap))
        self._note(Kind.CLOUD, mishap)

    def _lock(self, mishap: Mishap) -> None:
        domain = self._route(mishap).domain
        if self._world.cloud.lock(domain, mishap.seconds):
            self._note(Kind.LOCK, mishap, self._world.shifts_of(domain))

    def _edit(self, mishap: Mishap) -> None:
        """A person types weights: the source's stay above 0, the target's are anything."""
        route = self._route(mishap)
        weights = {
            server.key: round(mishap.amount * 100)
            if server.port == _PORTS[Side.TARGET]
            else 100 - round(mishap.amount * 50)
            for server in self._world.cloud.servers(route.id)
        }
        self._world.cloud.edit(route.id, weights)
        self._note(Kind.EDIT, mishap, {mishap.whom}, seconds=0.0)

    def _dead(self, mishap: Mishap) -> None:
        world, route = self._world, self._route(mishap)
        servers = [server.key for server in world.cloud.servers(route.id)]
        key = servers[int(mishap.amount * len(servers)) % len(servers)]
        world.cloud.set_health(route.id, key, alive=False)
        world.kernel.at(self._until(mishap), lambda: world.cloud.set_health(route.id, key, alive=True))
        self._note(Kind.DEAD, mishap, {mishap.whom}, hurts={_mesh_of(key), seen.NOBODY})

    def _bound(self, mishap: Mishap) -> None:
        number = 3 + int(mishap.amount * 5)
        server = Server(f"ins-new{number}:31080", 31080, 10, Health.ALIVE, f"ins-new{number}")
        self._world.cloud.bind(self._route(mishap).id, server)
        self._note(Kind.CHURN, mishap, {mishap.whom}, seconds=0.0)

    def _unbound(self, mishap: Mishap) -> None:
        route = self._route(mishap)
        servers = [server.key for server in self._world.cloud.servers(route.id)]
        kept = {side: [key for key in servers if key.endswith(f":{port}")] for side, port in _PORTS.items()}
        key = servers[int(mishap.amount * len(servers)) % len(servers)]
        if all(keys != [key] for keys in kept.values()):
            self._world.cloud.unbind(route.id, key)
            self._note(Kind.CHURN, mishap, {mishap.whom}, hurts={_mesh_of(key), seen.NOBODY}, seconds=0.0)

    # -- the meshes ----------------------------------------------------------------------------------------------

    def _no_metrics(self, mishap: Mishap) -> None:
        mesh = self._world.meshes[Side(mishap.whom)]
        mesh.away_until = max(mesh.away_until, self._until(mishap))
        mesh.down_until = max(mesh.down_until, self._until(mishap))
        self._note(Kind.NO_METRICS, mishap)

    def _mute_metrics(self, mishap: Mishap) -> None:
        """Its API fails, but it goes on scraping."""
        mesh = self._world.meshes[Side(mishap.whom)]
        mesh.away_until = max(mesh.away_until, self._until(mishap))
        self._note(Kind.HUNG_METRICS, mishap)

    def _late_metrics(self, mishap: Mishap) -> None:
        mesh = self._world.meshes[Side(mishap.whom)]
        mesh.late_seconds = mishap.amount
        self._world.kernel.at(self._until(mishap), lambda: setattr(mesh, "late_seconds", 0.0))
        self._note(Kind.ODD_METRICS, mishap)

    def _less_metrics(self, mishap: Mishap) -> None:
        mesh = self._world.meshes[Side(mishap.whom)]
        pod = mesh.pod(int(mishap.amount))
        mesh.hidden.add(pod)
        self._world.kernel.at(self._until(mishap), lambda: mesh.hidden.discard(pod))
        self._note(Kind.ODD_METRICS, mishap)

    def _pod(self, mishap: Mishap) -> None:
        self._world.meshes[Side(mishap.whom)].restart_pod(int(mishap.amount))
        self._note(Kind.GATEWAY, mishap, seconds=0.0)

    def _scaled(self, mishap: Mishap) -> None:
        """The source's autoscaler, or somebody, takes pods away for a while."""
        world, mesh = self._world, self._world.meshes[Side.SOURCE]
        pods = int(mishap.amount * PODS)
        if world.plan.has_workload:
            world.workload.scale(pods)
        else:
            mesh.scale(pods)
        world.kernel.at(self._until(mishap), lambda: mesh.scale(max(PODS, mesh.ready)))
        self._note(Kind.GATEWAY, mishap, hurts={seen.SOURCE})

    def _failing(self, mishap: Mishap) -> None:
        self._fail(mishap, (Side.TARGET,))
        self._note(Kind.FAILING, mishap, {mishap.whom}, hurts={seen.TARGET})

    def _slow(self, mishap: Mishap) -> None:
        percent = 5.0 + _BAD_PERCENT * mishap.amount
        self._world.meshes[Side.TARGET].slow_down(mishap.whom, percent, self._until(mishap))
        self._note(Kind.SLOW, mishap, {mishap.whom})

    def _incident(self, mishap: Mishap) -> None:
        self._fail(mishap, tuple(Side))
        self._note(Kind.INCIDENT, mishap, {mishap.whom}, hurts=_BOTH)

    def _fail(self, mishap: Mishap, sides: Iterable[Side]) -> None:
        percent = 5.0 + _BAD_PERCENT * mishap.amount
        for mesh in (self._world.meshes[side] for side in sides):
            mesh.fail(mishap.whom, percent, self._until(mishap))

    # -- the processes -------------------------------------------------------------------------------------------

    def _no_store(self, mishap: Mishap) -> None:
        library = self._world.keeping.library
        library.away_until = max(library.away_until, self._until(mishap))
        self._note(Kind.STORE, mishap)

    def _refusing(self, mishap: Mishap) -> None:
        self._world.keeping.library.refusing = self._until(mishap), mishap.word
        self._note(Kind.STORE, mishap)
        self._note(Kind.LEASE, mishap)

    def _cut_off(self, mishap: Mishap) -> None:
        machine = self._world.machines[mishap.whom]
        machine.cut_off_until = max(machine.cut_off_until, self._until(mishap))
        self._note(Kind.STORE, mishap, whom=machine.process.name)
        self._note(Kind.LEASE, mishap, whom=machine.process.name)

    def _crash(self, mishap: Mishap) -> None:
        self._world.machines[mishap.whom].process.crash()

    def _stop(self, mishap: Mishap) -> None:
        self._world.machines[mishap.whom].process.pause(mishap.seconds)

    def _end(self, mishap: Mishap) -> None:
        process = self._world.machines[mishap.whom].process
        process.drain()
        self._note(Kind.RESTARTED, mishap, seconds=2.0, whom=process.name)

    def _clock(self, mishap: Mishap) -> None:
        machine = self._world.machines[mishap.whom]
        machine.jump(mishap.amount)
        self._note(Kind.CLOCK, mishap, (), seconds=1e9, whom=machine.process.name)

    def _stolen(self, mishap: Mishap) -> None:
        self._note(Kind.LEASE, mishap, seconds=2.0, whom=self._world.keeping.steal())

    def interrupt(self) -> None:
        """Let somebody give an order in the middle of a call: mostly one against a climb."""
        word = self._dice.one_of(("pause", "rollback", "freeze", "hands off", "resume", "unfreeze", "promote"))
        shift = self._dice.one_of(SHIFTS)
        self._world.journal.add(self._world.kernel.now, f"-- order {shift} {word}, in the middle of a call")
        self._give(shift, word, self._dice.between(2.0, 10.0), 0.0)

    # -- people --------------------------------------------------------------------------------------------------

    def _order(self, mishap: Mishap) -> None:
        self._give(mishap.whom, mishap.word, mishap.seconds, mishap.amount)

    def _give(self, shift: str, word: str, seconds: float, gate: float) -> None:
        asked = _WORDS[word]
        self._people += 1
        name = FLEET if asked.verb in {Verb.FREEZE, Verb.UNFREEZE} else shift
        by = f"person{self._people}"
        hands_off = timedelta(seconds=seconds) if asked.hands_off else None
        request = OrderRequest(
            name, asked.verb, by, "because", asked.full, asked.override,
            share=gate if asked.gate else None, hands_off=hands_off, adopt=asked.adopt,
        )  # fmt: skip
        world = self._world
        at, now = world.zero + world.kernel.now, datetime.fromtimestamp(world.zero + world.kernel.now, UTC)
        number, code, said = 0, 0, ""
        try:
            number = world.keeping.order(request, now)
        except RefusedError as error:
            code, said = 4, str(error)
        except ShifterError as error:
            code, said = 5, str(error)
        self.given.append(seen.Given(at, at, name, str(asked.verb), by, number, code, said))

    def _policy(self, mishap: Mishap) -> None:
        """Other steps, another soak."""
        world = self._world
        steps = tuple(step for step in STEPS if step != STEPS[int(mishap.amount * 2)])
        soak = 2.0 + round(mishap.amount * 4)
        world.desk.write(world.zero + world.kernel.now, mishap.whom, steps, soak)
        self._note(Kind.POLICY_EDITED, mishap, {mishap.whom}, seconds=0.0)

    def _broken(self, mishap: Mishap) -> None:
        self._spoilt(mishap, Kind.POLICY_BROKEN, self._world.desk.spoil)

    def _gone(self, mishap: Mishap) -> None:
        self._spoilt(mishap, Kind.POLICY_GONE, self._world.desk.remove)

    def _spoilt(self, mishap: Mishap, kind: Kind, spoil: Callable[[float, str], None]) -> None:
        world = self._world
        spoil(world.zero + world.kernel.now, mishap.whom)
        world.kernel.at(self._until(mishap), lambda: world.desk.write(world.zero + world.kernel.now, mishap.whom))
        self._note(kind, mishap, {mishap.whom})

    def _route(self, mishap: Mishap) -> Route:
        routes = self._world.routes[mishap.whom]
        return routes[int(mishap.amount * 1000) % len(routes)]

    # -- what is written down ------------------------------------------------------------------------------------

    def _until(self, mishap: Mishap) -> float:
        now = self._world.kernel.now
        return max(now, min(now + mishap.seconds, self._world.plan.calm_at))

    def _note(
        self,
        kind: Kind,
        mishap: Mishap,
        namespaces: Iterable[str] = _EVERYBODY,
        *,
        hurts: Iterable[str] = (),
        seconds: float | None = None,
        whom: str = "",
    ) -> None:
        now = self._world.kernel.now
        until = self._until(mishap) if seconds is None else now + seconds
        zero = self._world.zero
        self.incidents.append(
            seen.Incident(
                len(self.incidents), str(kind), zero + now, zero + until, frozenset(namespaces), frozenset(hurts),
                frozenset(hurts), f"{mishap.what} {mishap.whom}", whom,
            )
        )  # fmt: skip


def _mesh_of(key: str) -> str:
    return seen.TARGET if key.endswith(f":{_PORTS[Side.TARGET]}") else seen.SOURCE


_PORTS = {Side.SOURCE: 30080, Side.TARGET: 31080}

_DOINGS: Mapping[What, Callable[[Hands, Mishap], None]] = {
    What.DOWN: Hands._down,
    What.LOCK: Hands._lock,
    What.EDIT: Hands._edit,
    What.DEAD: Hands._dead,
    What.BOUND: Hands._bound,
    What.UNBOUND: Hands._unbound,
    What.NO_METRICS: Hands._no_metrics,
    What.MUTE_METRICS: Hands._mute_metrics,
    What.LATE_METRICS: Hands._late_metrics,
    What.LESS_METRICS: Hands._less_metrics,
    What.POD: Hands._pod,
    What.SCALED: Hands._scaled,
    What.FAILING: Hands._failing,
    What.SLOW: Hands._slow,
    What.INCIDENT: Hands._incident,
    What.NO_STORE: Hands._no_store,
    What.REFUSING: Hands._refusing,
    What.CUT_OFF: Hands._cut_off,
    What.CRASH: Hands._crash,
    What.STOP: Hands._stop,
    What.END: Hands._end,
    What.CLOCK: Hands._clock,
    What.STOLEN: Hands._stolen,
    What.ORDER: Hands._order,
    What.POLICY: Hands._policy,
    What.BROKEN: Hands._broken,
    What.GONE: Hands._gone,
}
