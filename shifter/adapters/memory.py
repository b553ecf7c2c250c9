"""The provider port in memory, for tests and dry runs: real rules, no cloud.

It is not a stub. One operation at a time per lock domain, writes that take effect only later, refusals of what a
cloud refuses; so code that works here has met every situation of the port. Time is counted in *looks*: each call
that asks about a domain brings its operation one look closer to done, which makes every run repeatable.
Everything that can go wrong can be ordered (`Fault`), and everything that happened is on record (`calls`,
`writes`) for checkers to judge.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from shifter.core.balancing.membership import Server, refuse_bad_weights, view
from shifter.core.balancing.splits import Health, Route, RouteView
from shifter.errors import (
    AmbiguousWriteError,
    InvariantError,
    NotFoundError,
    ProviderRefusedError,
    ProviderUnavailableError,
)
from shifter.ports import Change, Operation, OperationState, Progress

MAX_RECORDS = 100_000
MAX_OPERATIONS = 10_000


class Fault(StrEnum):
    """What can be ordered to go wrong. All but the last strike a submit; that one strikes any call."""

    BUSY = "busy"
    """Refused as if another operation were running; nothing is done."""
    QUOTA = "quota"
    """Refused for good; nothing is done."""
    AMBIGUOUS_BEFORE = "ambiguous before"
    """The answer is lost (or the connection reset) and the request was, too: nothing is done."""
    AMBIGUOUS_AFTER = "ambiguous after"
    """The answer is lost (or the connection reset), the request was not: it goes on, and nobody has its id."""
    TASK_FAILS = "task fails"
    """Accepted; later it failed and changed nothing."""
    TASK_LIES = "task lies"
    """Accepted; later it claims success and changed nothing."""
    TASK_HALF = "task half"
    """Accepted; later it failed, with half of the members changed."""
    TASK_ENDLESS = "task endless"
    """Accepted; it runs for ever and changes nothing, and its domain is busy until `release_lock`."""
    UNREACHABLE = "unreachable"
    """Nobody answers; nothing is done."""


_ACCEPTED = frozenset({Fault.AMBIGUOUS_AFTER, Fault.TASK_FAILS, Fault.TASK_LIES, Fault.TASK_HALF, Fault.TASK_ENDLESS})
_FAILED = frozenset({Fault.TASK_FAILS, Fault.TASK_HALF})


class Author(StrEnum):
    """Who changed weights: the port's caller, or somebody else."""

    SHIFTER = "shifter"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Call:
    """One submit, and how it was answered (`accepted`, or the fault or refusal)."""

    number: int
    domain: str
    changes: tuple[Change, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Write:
    """Weights that came into force. `after` has all members of each route touched, by route id and key.

    `number` counts on from the calls, so that calls and writes have one order. `operation` is empty for a person.
    """

    number: int
    author: Author
    domain: str
    after: Mapping[str, Mapping[str, int]]
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What hangs behind a route: its servers, and what the balancer says about it."""

    servers: tuple[Server, ...]
    settle_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    refusal: str | None = None
    split_by_request: bool = True


@dataclass(frozen=True, slots=True)
class _Task:
    """An accepted write: `looks` are those left until it is done."""

    operation: Operation
    changes: tuple[Change, ...]
    looks: int
    fault: Fault | None
    state: OperationState


class MemoryProvider:
    """The `TrafficProvider` port over rules that exist only here. Safe to call from several threads.

    Args:
        rules: what hangs behind each route; the route's selectors matter only when it is observed.
        looks_until_done: how many times a domain must be asked about before a write is in force; 0 is at once.
    """

    def __init__(self, rules: Iterable[tuple[Route, Rule]] = (), *, looks_until_done: int = 1) -> None:
        self._looks_until_done = looks_until_done
        self._rules = {_place(route): rule for route, rule in rules}
        self._tasks: dict[str, _Task] = {}
        self._running: dict[str, str] = {}
        self._locked: set[str] = set()
        self._faults: deque[tuple[Fault, str | None]] = deque()
        self._calls: deque[Call] = deque(maxlen=MAX_RECORDS)
        self._writes: deque[Write] = deque(maxlen=MAX_RECORDS)
        self._number = 0
        self._lock = threading.RLock()

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        """Return what is in force now, by route id."""
        if not routes:
            return {}
        with self._lock:
            domain = _one_domain(routes)
            self._reach(domain)
            self._look(domain)
            return {route.id: self._view(route) for route in routes}

    def submit(self, changes: Sequence[Change]) -> Operation:
        """Accept the changes as one operation, which is carried out over the next looks."""
        if not changes:
            raise InvariantError("an empty batch of changes was submitted")
        with self._lock:
            domain = _one_domain([change.route for change in changes])
            try:
                operation = self._accept(domain, tuple(changes))
            except (ProviderUnavailableError, ProviderRefusedError, AmbiguousWriteError) as error:
                self._record_call(domain, changes, str(error))
                self._look(domain)
                raise
            self._record_call(domain, changes, "accepted")
            return operation

    def check(self, operation: Operation) -> OperationState:
        """Return how an accepted operation stands."""
        with self._lock:
            self._reach(operation.domain)
            self._look(operation.domain)
            task = self._tasks.get(operation.id)
            if task is None or task.operation != operation:
                raise ProviderRefusedError(f"there is no operation {operation.id} in {operation.domain}")
            return task.state

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every submit, oldest first; beyond `MAX_RECORDS` the oldest are forgotten."""
        with self._lock:
            return tuple(self._calls)

    @property
    def writes(self) -> tuple[Write, ...]:
        """Every change of weights that came into force, oldest first; bounded like `calls`."""
        with self._lock:
            return tuple(self._writes)

    def inject(self, fault: Fault, *, domain: str | None = None, times: int = 1) -> None:
        """Let the next `times` calls that the fault can strike, in one domain or any, go wrong that way."""
        with self._lock:
            self._faults.extend([(fault, domain)] * times)

    def hold_lock(self, domain: str) -> None:
        """Keep the domain busy, as somebody else's operation would, until `release_lock`."""
        with self._lock:
            self._locked.add(domain)

    def release_lock(self, domain: str) -> None:
        """End what `hold_lock` or an endless task began; harmless if nothing did."""
        with self._lock:
            self._locked.discard(domain)
            id_ = self._running.get(domain)
            if id_ is not None and self._tasks[id_].fault is Fault.TASK_ENDLESS:
                del self._running[domain]

    def put_rule(self, route: Route, rule: Rule) -> None:
        """Put a rule in place, new or instead of the old one."""
        with self._lock:
            self._rules[_place(route)] = rule

    def remove_rule(self, route: Route) -> None:
        """Delete the rule behind a route.

        Raises:
            NotFoundError: there is none.
        """
        with self._lock:
            self._rule(route)
            del self._rules[_place(route)]

    def edit_weights(self, route: Route, weights: Mapping[str, int]) -> None:
        """Set weights at once and past any lock, as a person in a console would; all of them 0 is possible.

        Raises:
            NotFoundError: no such rule or member.
        """
        with self._lock:
            self._apply(_place(route), weights)
            self._record_write(Author.PERSON, route.domain, [route.id])

    def set_health(self, route: Route, key: str, health: Health) -> None:
        """Let the balancer come to another opinion of one member.

        Raises:
            NotFoundError: no such rule or member.
        """
        with self._lock:
            rule = self._rule(route)
            _known(route.id, rule, [key])
            servers = (replace(one, health=health) if one.key == key else one for one in rule.servers)
            self.put_rule(route, replace(rule, servers=tuple(servers)))

    def add_server(self, route: Route, server: Server) -> None:
        """Bind one more server, as an autoscaler would.

        Raises:
            NotFoundError: no such rule.
        """
        with self._lock:
            rule = self._rule(route)
            self.put_rule(route, replace(rule, servers=(*rule.servers, server)))

    def remove_server(self, route: Route, key: str) -> None:
        """Unbind one server.

        Raises:
            NotFoundError: no such rule or member.
        """
        with self._lock:
            rule = self._rule(route)
            _known(route.id, rule, [key])
            self.put_rule(route, replace(rule, servers=tuple(one for one in rule.servers if one.key != key)))

    def _accept(self, domain: str, changes: tuple[Change, ...]) -> Operation:
        self._reach(domain)
        self._refuse(changes)
        fault = self._take(domain, frozenset(Fault) - {Fault.UNREACHABLE})
        if fault is Fault.QUOTA:
            raise ProviderRefusedError("the quota of the account is exceeded")
        if fault is Fault.AMBIGUOUS_BEFORE:
            raise AmbiguousWriteError("the answer was lost; the write may have been carried out")
        if fault is Fault.BUSY or domain in self._locked or domain in self._running:
            self._put_back(fault, domain)
            raise ProviderUnavailableError(f"another operation is running in {domain}; try again later")
        self._number += 1
        operation = Operation(domain, f"operation-{self._number}")
        running = OperationState(Progress.RUNNING)
        self._tasks[operation.id] = _Task(operation, changes, self._looks_until_done, fault, running)
        while len(self._tasks) > MAX_OPERATIONS:
            del self._tasks[next(iter(self._tasks))]
        self._running[domain] = operation.id
        self._finish_if_due(domain)
        if fault is Fault.AMBIGUOUS_AFTER:
            raise AmbiguousWriteError("the answer was lost; the write may have been carried out")
        return operation

    def _refuse(self, changes: tuple[Change, ...]) -> None:
        """Refuse what every provider refuses, before anything is touched."""
        if len({change.route.id for change in changes}) < len(changes):
            raise ProviderRefusedError("a route is changed twice in one batch")
        for change in changes:
            refuse_bad_weights(change.route.id, change.weights)
            try:
                _known(change.route.id, self._rule(change.route), change.weights)
            except NotFoundError as error:
                raise ProviderRefusedError(str(error)) from error

    def _reach(self, domain: str) -> None:
        if self._take(domain, frozenset({Fault.UNREACHABLE})):
            raise ProviderUnavailableError("nobody answers")

    def _take(self, domain: str, kinds: frozenset[Fault]) -> Fault | None:
        """Use up the oldest fault of these kinds that fits the domain."""
        for index, (fault, where) in enumerate(self._faults):
            if fault in kinds and where in {None, domain}:
                del self._faults[index]
                return fault
        return None

    def _put_back(self, fault: Fault | None, domain: str) -> None:
        """A fault of an accepted write must not be swallowed by a busy domain."""
        if fault in _ACCEPTED:
            self._faults.appendleft((fault, domain))

    def _look(self, domain: str) -> None:
        """Bring the domain's operation one look closer to done."""
        id_ = self._running.get(domain)
        if id_ is not None:
            self._tasks[id_] = replace(self._tasks[id_], looks=self._tasks[id_].looks - 1)
            self._finish_if_due(domain)

    def _finish_if_due(self, domain: str) -> None:
        task = self._tasks[self._running[domain]]
        if task.looks > 0 or task.fault is Fault.TASK_ENDLESS:
            return
        del self._running[domain]
        state = OperationState(Progress.DONE)
        if task.fault in _FAILED:
            state = OperationState(Progress.FAILED, "the operation failed")
        if not self._carry_out(task):
            state = OperationState(Progress.FAILED, "a member is no longer there")
        self._tasks[task.operation.id] = replace(task, state=state)

    def _carry_out(self, task: _Task) -> bool:
        """Put into force what the task's fault lets through; False if something it names is gone."""
        if task.fault in {Fault.TASK_FAILS, Fault.TASK_LIES}:
            return True
        wanted = [(change.route, key, weight) for change in task.changes for key, weight in change.weights.items()]
        if task.fault is Fault.TASK_HALF:
            wanted = wanted[: len(wanted) // 2]
        before = dict(self._rules)
        try:
            for route, key, weight in wanted:
                self._apply(_place(route), {key: weight})
        except NotFoundError:
            self._rules = before
            return False
        touched = list(dict.fromkeys(route.id for route, _, _ in wanted))
        if touched:
            self._record_write(Author.SHIFTER, task.operation.domain, touched, task.operation.id)
        return True

    def _apply(self, place: tuple[str, str], weights: Mapping[str, int]) -> None:
        rule = self._rules.get(place)
        if rule is None:
            raise NotFoundError(f"there is no rule {place[1]}")
        _known(place[1], rule, weights)
        servers = (replace(one, weight=weights.get(one.key, one.weight)) for one in rule.servers)
        self._rules[place] = replace(rule, servers=tuple(servers))

    def _view(self, route: Route) -> RouteView:
        rule = self._rules.get(_place(route))
        if rule is None:
            return RouteView(route, (), refusal=f"there is no rule {route.id}")
        refusals = [] if rule.refusal is None else [rule.refusal]
        return view(
            route,
            rule.servers,
            settle_seconds=rule.settle_seconds,
            warnings=rule.warnings,
            refusals=refusals,
            split_by_request=rule.split_by_request,
        )

    def _rule(self, route: Route) -> Rule:
        rule = self._rules.get(_place(route))
        if rule is None:
            raise NotFoundError(f"there is no rule {route.id}")
        return rule

    def _record_call(self, domain: str, changes: Sequence[Change], answer: str) -> None:
        self._number += 1
        self._calls.append(Call(self._number, domain, tuple(changes), answer))

    def _record_write(self, author: Author, domain: str, routes: Sequence[str], operation: str = "") -> None:
        self._number += 1
        after = {id_: {one.key: one.weight for one in self._rules[domain, id_].servers} for id_ in routes}
        self._writes.append(Write(self._number, author, domain, after, operation))


def _place(route: Route) -> tuple[str, str]:
    return route.domain, route.id


def _one_domain(routes: Sequence[Route]) -> str:
    if len({route.domain for route in routes}) > 1:
        raise InvariantError("routes of several lock domains in one call")
    return routes[0].domain


def _known(route_id: str, rule: Rule, keys: Iterable[str]) -> None:
    if strangers := sorted(set(keys) - {one.key for one in rule.servers}):
        raise NotFoundError(f"{route_id} has no member {', '.join(strangers)}")
