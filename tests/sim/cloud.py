"""The fake cloud: rules with servers, asynchronous tasks, one operation per lock domain, and a log of what was done.

It is nobody's double: it keeps what the provider's port promises and misbehaves in every way that a cloud does. What
it writes down (`changes`, `health`) is what the checker believes, whatever anybody was told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from shifter.core.balancing.membership import Server, refuse_bad_weights, view
from shifter.core.balancing.splits import Health, Route, RouteView
from shifter.errors import InvariantError, ProviderRefusedError, ProviderUnavailableError
from shifter.lab.checker import seen
from shifter.ports import Change, Operation, OperationState, Progress
from tests.sim.calls import Trouble
from tests.sim.dice import Dice
from tests.sim.journal import Journal
from tests.sim.kernel import Kernel

_REMEMBERED_SECONDS = 30.0
_REMEMBERED_TASKS = 100
_SLOW_SECONDS = 2.0
_WRITE = "BatchModifyTargetWeight"


class Ending(StrEnum):
    """How a task ends."""

    DONE = "done"
    FAILS = "fails"
    LIES = "lies"
    HALF = "half"
    HALF_LIES = "half, and lies"
    DONE_FAILS = "done, and says it failed"
    ENDLESS = "endless"


@dataclass(slots=True)
class Weather:
    """How the cloud behaves: probabilities, and spans in seconds. All of it may change at any time.

    `endings` are the odds of every ending but the good one; `stale_seconds` is the oldest that a read may be. Writes
    are `refused` by chance, and the next `refusals` for sure.
    """

    endings: dict[Ending, float] = field(default_factory=dict)
    least_seconds: float = 0.2
    most_seconds: float = 1.2
    throttled: float = 0.0
    stale: float = 0.0
    stale_seconds: float = 0.0
    down_until: float = 0.0
    endless_seconds: float = 15.0
    refused: float = 0.0
    refusals: int = 0


@dataclass(slots=True)
class _Rule:
    """A rule as it is, and as it was: from when on which servers."""

    route: Route
    shift: str
    servers: dict[str, Server]
    past: list[tuple[float, tuple[Server, ...]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for a write, when, and with which of all calls."""

    name: str = ""
    at: float = 0.0
    call: int = 0


NOBODY = Asker()


@dataclass(slots=True)
class _Task:
    """An accepted write."""

    operation: Operation
    asker: Asker
    state: OperationState = field(default_factory=lambda: OperationState(Progress.RUNNING))


@dataclass(slots=True)
class Logged:
    """One call of the cloud's log, see `seen.Call`; written while it is made."""

    at: float
    caller: str
    domain: str
    what: str
    routes: tuple[str, ...]
    answer: str = "unknown"
    raises: bool = False
    answered_at: float | None = None
    as_of: float | None = None
    request_id: str = ""
    asked: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class Cloud:
    """The balancers behind the provider's port. `zero` is the Unix time of true second 0."""

    def __init__(self, kernel: Kernel, dice: Dice, journal: Journal, zero: float) -> None:
        self.weather = Weather()
        self.changes: list[seen.Change] = []
        self.health: list[seen.HealthNote] = []
        self.calls: list[Logged] = []
        self.troubles: list[Trouble] = []
        self._kernel = kernel
        self._dice = dice
        self._journal = journal
        self._zero = zero
        self._rules: dict[str, _Rule] = {}
        self._tasks: dict[str, _Task] = {}
        self._busy: dict[str, str] = {}
        self._numbers = 0

    def put_rule(self, shift: str, route: Route, servers: Sequence[Server]) -> None:
        """Put a rule in place."""
        rule = _Rule(route, shift, {server.key: server for server in servers})
        self._rules[route.id] = rule
        self._remember(rule)

    # -- the port ------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """True seconds."""
        return self._kernel.now

    def observe(self, routes: Sequence[Route]) -> tuple[Mapping[str, RouteView], float]:
        """Return what is in force, or was a moment ago, and when that was."""
        if len({route.domain for route in routes}) > 1:
            raise InvariantError("routes of several lock domains in one call")
        self._reach(routes[0].domain)
        ago = 0.0
        if self._dice.hits(self.weather.stale):
            ago = self._dice.between(0.0, self.weather.stale_seconds)
            self.troubles.append(Trouble("stale", self._kernel.now - ago, self._kernel.now, routes[0].domain))
        as_of = self._kernel.now - ago
        return {route.id: self._view(route, as_of) for route in routes}, as_of

    def submit(self, changes: Sequence[Change], asker: Asker = NOBODY) -> Operation:
        """Accept changes as one operation, carried out in a while."""
        domain = changes[0].route.domain
        if any(change.route.domain != domain for change in changes):
            raise InvariantError("routes of several lock domains in one call")
        self._reach(domain)
        self._refuse(changes)
        if self.weather.refusals or self._dice.hits(self.weather.refused):
            self.weather.refusals = max(0, self.weather.refusals - 1)
            self.troubles.append(Trouble("task", self._kernel.now, self._kernel.now, domain))
            raise ProviderRefusedError("the quota of the account is exceeded")
        if domain in self._busy:
            raise ProviderUnavailableError(f"another operation is running in {domain}; try again later")
        self._numbers += 1
        operation = Operation(domain, f"op-{self._numbers}")
        self._tasks[operation.id] = _Task(operation, asker)
        self._busy[domain] = operation.id
        ending, now = self._ending(), self._kernel.now
        seconds = self._dice.between(self.weather.least_seconds, self.weather.most_seconds)
        if ending is Ending.ENDLESS:
            seconds = self.weather.endless_seconds
        if ending is not Ending.DONE or seconds > _SLOW_SECONDS:
            self.troubles.append(Trouble("task", now, now + seconds, domain))
        self._kernel.after(seconds, lambda: self._finish(operation, tuple(changes), ending))
        return operation

    def check(self, operation: Operation) -> OperationState:
        """Return how an operation stands."""
        self._reach(operation.domain)
        task = self._tasks.get(operation.id)
        if task is None or task.operation != operation:
            raise ProviderRefusedError(f"there is no operation {operation.id} in {operation.domain}")
        return task.state

    # -- everybody else's hands ----------------------------------------------------------------------------------

    def lock(self, domain: str, seconds: float) -> bool:
        """Let somebody else's operation run; return whether there was room for it."""
        if domain in self._busy:
            return False
        self._busy[domain] = "somebody else's"
        self._kernel.after(seconds, lambda: self._unlock(domain, "somebody else's"))
        return True

    def unlock(self, domain: str) -> None:
        """End whatever runs, as somebody at the cloud would."""
        self._busy.pop(domain, None)

    def edit(self, route_id: str, weights: Mapping[str, int]) -> None:
        """Set weights past any lock, as a person does in the console; servers that are gone are left out."""
        self._apply(route_id, weights, "ConsoleEdit", "", "done")

    def set_health(self, route_id: str, key: str, *, alive: bool) -> None:
        """Let the health check come to another opinion; nothing if the server is gone."""
        rule = self._rules[route_id]
        server = rule.servers.get(key)
        health = Health.ALIVE if alive else Health.DEAD
        if server is None or server.health is health:
            return
        rule.servers[key] = replace(server, health=health)
        self.health.append(seen.HealthNote(self._zero + self._kernel.now, rule.shift, key, alive))
        self._journal.add(self._kernel.now, f"cloud {rule.shift} {key} is {health}")
        self._remember(rule)

    def bind(self, route_id: str, server: Server) -> None:
        """Bind a server; nothing if it is bound."""
        rule = self._rules[route_id]
        if server.key not in rule.servers:
            self._change(rule, {**rule.servers, server.key: server}, "AddTarget", "", "done")

    def unbind(self, route_id: str, key: str) -> None:
        """Unbind a server; nothing if it is gone, or the last one."""
        rule = self._rules[route_id]
        rest = {name: server for name, server in rule.servers.items() if name != key}
        if rest and len(rest) < len(rule.servers):
            self._change(rule, rest, "RemoveTarget", "", "done")

    def forget(self) -> None:
        """Drop the log, and all tasks but the newest, which somebody may still ask about."""
        for log in (self.changes, self.health, self.calls, self.troubles):
            log.clear()
        for old in list(self._tasks)[:-_REMEMBERED_TASKS]:
            del self._tasks[old]

    # -- the truth -----------------------------------------------------------------------------------------------

    def servers(self, route_id: str) -> tuple[Server, ...]:
        """The servers behind a rule now."""
        return tuple(self._rules[route_id].servers.values())

    def share(self, route: Route) -> float | None:
        """The share in force now."""
        return self._view(route, self._kernel.now).share

    def would_raise(self, changes: Sequence[Change]) -> bool:
        """Whether any of these changes would raise a share that is in force now."""
        return any(self._would_raise(change) for change in changes)

    def _would_raise(self, change: Change) -> bool:
        rule = self._rules.get(change.route.id)
        if rule is None:
            return False
        servers = [
            replace(server, weight=change.weights.get(key, server.weight)) for key, server in rule.servers.items()
        ]
        after = view(change.route, servers).share
        return after is not None and after > (self.share(change.route) or 0.0)

    def _view(self, route: Route, at: float) -> RouteView:
        rule = self._rules.get(route.id)
        if rule is None:
            return RouteView(route, (), refusal=f"there is no rule {route.id}")
        known = [servers for since, servers in rule.past if since <= at] or [rule.past[0][1]]
        return view(route, known[-1])

    def _reach(self, domain: str) -> None:
        if self._kernel.now < self.weather.down_until:
            raise ProviderUnavailableError("the cloud's API does not answer")
        if self._dice.hits(self.weather.throttled):
            self.troubles.append(Trouble("throttled", self._kernel.now, self._kernel.now, domain))
            raise ProviderUnavailableError("too many requests")

    def _refuse(self, changes: Sequence[Change]) -> None:
        if len({change.route.id for change in changes}) < len(changes):
            raise ProviderRefusedError("a route is changed twice in one batch")
        for change in changes:
            refuse_bad_weights(change.route.id, change.weights)
            rule = self._rules.get(change.route.id)
            strangers = sorted(set(change.weights) - set(rule.servers if rule else ()))
            if rule is None or strangers:
                raise ProviderRefusedError(f"{change.route.id} has no member {', '.join(strangers)}")

    def _ending(self) -> Ending:
        thrown = self._dice.between(0.0, 1.0)
        for ending, odds in self.weather.endings.items():
            if thrown < odds:
                return ending
            thrown -= odds
        return Ending.DONE

    def _finish(self, operation: Operation, changes: Sequence[Change], ending: Ending) -> None:
        state = OperationState(Progress.DONE)
        if ending in {Ending.FAILS, Ending.HALF, Ending.DONE_FAILS, Ending.ENDLESS}:
            state = OperationState(Progress.FAILED, "the operation failed")
        if ending in {Ending.DONE, Ending.DONE_FAILS}:
            if not self._carry_out(operation, changes):
                state = OperationState(Progress.FAILED, "a member is no longer there")
        elif ending in {Ending.HALF, Ending.HALF_LIES}:
            self._carry_out_half(operation, changes)
        self._tasks[operation.id].state = state
        self._journal.add(self._kernel.now, f"cloud {operation.id} ends: {ending}")
        self._unlock(operation.domain, operation.id)

    def _carry_out(self, operation: Operation, changes: Sequence[Change]) -> bool:
        if any(set(change.weights) - set(self._rules[change.route.id].servers) for change in changes):
            return False
        for change in changes:
            self._apply(change.route.id, change.weights, _WRITE, operation.id, "done")
        return True

    def _carry_out_half(self, operation: Operation, changes: Sequence[Change]) -> None:
        """Put a random part in force."""
        wanted = [(change.route.id, key) for change in changes for key in change.weights]
        chosen = set(self._dice.some_of(wanted, self._dice.whole(1, max(1, len(wanted) - 1))))
        for change in changes:
            part = {key: weight for key, weight in change.weights.items() if (change.route.id, key) in chosen}
            self._apply(change.route.id, part, _WRITE, operation.id, "half")

    def _apply(self, route_id: str, weights: Mapping[str, int], action: str, request_id: str, outcome: str) -> None:
        rule = self._rules[route_id]
        servers = {key: replace(server, weight=weights.get(key, server.weight)) for key, server in rule.servers.items()}
        self._change(rule, servers, action, request_id, outcome)

    def _change(self, rule: _Rule, servers: dict[str, Server], action: str, request_id: str, outcome: str) -> None:
        before = {key: server.weight for key, server in rule.servers.items()}
        after = {key: server.weight for key, server in servers.items()}
        rule.servers = servers
        self._remember(rule)
        if before == after:
            return
        task = self._tasks.get(request_id)
        change = seen.Change(
            at=self._zero + self._kernel.now,
            namespace=rule.shift,
            balancer=rule.route.balancer,
            action=action,
            before=before,
            after=after,
            request_id=request_id,
            outcome=outcome,
            route=rule.route.id,
            caller=task.asker.name if task else "",
            submitted_at=self._zero + task.asker.at if task else None,
            call=task.asker.call if task else 0,
        )
        self.changes.append(change)
        told = f"cloud {rule.shift} {action} {request_id} {outcome}: {sorted(after.items())}"
        self._journal.add(self._kernel.now, told)

    def _remember(self, rule: _Rule) -> None:
        now = self._kernel.now
        rule.past.append((now, tuple(rule.servers.values())))
        while len(rule.past) > 1 and rule.past[1][0] < now - _REMEMBERED_SECONDS:
            del rule.past[0]

    def _unlock(self, domain: str, holder: str) -> None:
        if self._busy.get(domain) == holder:
            del self._busy[domain]
