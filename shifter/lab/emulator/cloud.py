"""What time does to balancers: tasks that take effect later, the lock they hold, and the record of every write.

One operation at a time per balancer: a write that is accepted locks its balancer until its task is due, and only
then do the weights change. Nothing here reads a clock; every method that depends on time is given `now`, and
`settle` must be called before asking anything. Not thread-safe: the emulator owns the one lock around it.
"""

import math
import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from types import MappingProxyType

from shifter.lab.emulator.balancers import LoadBalancer, Rule, RuleKey, TargetKey, is_dark, with_weights

MAX_TASKS = 10_000
MAX_RECORDS = 100_000
Weights = Mapping[TargetKey, int]


class TaskStatus(IntEnum):
    """DescribeTaskStatus's own numbers."""

    SUCCEEDED = 0
    FAILED = 1
    RUNNING = 2


class Fate(StrEnum):
    """What a task is going to do when it is due; everything but `SUCCEED` is a fault on command."""

    SUCCEED = "succeed"
    FAIL = "fail"
    LIE = "lie"
    HALF = "half"
    ENDLESS = "endless"


class Outcome(StrEnum):
    """What really happened to the weights, whatever the caller was told."""

    APPLIED = "applied"
    NOTHING = "nothing"
    LIED = "lied"
    HALF = "half"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An accepted write. Its id is the RequestId its caller was given.

    `due_at` is seconds since the epoch; one that never ends is due at infinity.
    """

    task_id: str
    lb_id: str
    action: str
    changes: Mapping[RuleKey, Weights]
    due_at: float
    fate: Fate = Fate.SUCCEED
    status: TaskStatus = TaskStatus.RUNNING
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRecord:
    """One write as it really went: the weights of every rule it named, before and after, all targets included.

    `at` is seconds since the epoch. `request_id` is empty for changes that came through no API.
    """

    at: float
    lb_id: str
    action: str
    before: Mapping[RuleKey, Weights]
    after: Mapping[RuleKey, Weights]
    request_id: str
    outcome: Outcome

    @property
    def darkened(self) -> tuple[RuleKey, ...]:
        """Rules left with every weight 0: the API accepts it, and nobody should ever do it."""
        return tuple(key for key, weights in self.after.items() if is_dark(weights))


class Cloud:
    """All balancers of one account and region."""

    def __init__(self, balancers: Iterable[LoadBalancer], rng: random.Random) -> None:
        self._balancers = {balancer.load_balancer_id: balancer for balancer in balancers}
        self._rng = rng
        self._locked_until: dict[str, float] = {}
        self._tasks: dict[str, Task] = {}
        self._running: list[Task] = []
        self._changed: set[str] = set()
        self._log: deque[WriteRecord] = deque(maxlen=MAX_RECORDS)

    @property
    def log(self) -> list[WriteRecord]:
        """Every write so far, oldest first; the oldest go first beyond `MAX_RECORDS`."""
        return list(self._log)

    @property
    def balancers(self) -> tuple[LoadBalancer, ...]:
        """All balancers as they are now."""
        return tuple(self._balancers.values())

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks still remembered, oldest first."""
        return tuple(self._tasks.values())

    def balancer(self, lb_id: str) -> LoadBalancer | None:
        """Return one balancer, or None if there is none of that id."""
        return self._balancers.get(lb_id)

    def task(self, task_id: str) -> Task | None:
        """Return one task, or None if it never existed or is long forgotten."""
        return self._tasks.get(task_id)

    def next_due(self) -> float | None:
        """Return when the next task changes something, in seconds since the epoch."""
        return min((task.due_at for task in self._running), default=None)

    def is_locked(self, lb_id: str, now: float) -> bool:
        """Tell whether an operation on this balancer is under way."""
        return now < self.locked_until(lb_id)

    def locked_until(self, lb_id: str) -> float:
        """Return when the last lock ends that this balancer had, in seconds since the epoch; 0 if it had none."""
        return self._locked_until.get(lb_id, 0.0)

    def hold_lock(self, lb_id: str, until: float) -> None:
        """Lock the balancer, as another actor's operation would; never shortens a lock already held."""
        self._locked_until[lb_id] = max(until, self.locked_until(lb_id))

    def release_lock(self, lb_id: str) -> None:
        """End every lock that no task still needs: another actor's, and that of a task which never ends."""
        needed = [task.due_at for task in self._running if task.lb_id == lb_id]
        self._locked_until[lb_id] = min(self.locked_until(lb_id), max(needed, default=0.0))

    def submit(self, task: Task, locked_until: float) -> None:
        """Remember a write and lock its balancer. The caller has checked that it is not locked."""
        self._tasks[task.task_id] = task
        if task.due_at < math.inf:
            self._running.append(task)
        self.hold_lock(task.lb_id, locked_until)
        while len(self._tasks) > MAX_TASKS:
            del self._tasks[next(iter(self._tasks))]

    def settle(self, now: float) -> None:
        """Let every task that is due take effect, in the order they fell due."""
        due = sorted((task for task in self._running if task.due_at <= now), key=lambda task: task.due_at)
        self._running = [task for task in self._running if task.due_at > now]
        for task in due:
            finished = self._finish(task, now)
            if task.task_id in self._tasks:
                self._tasks[task.task_id] = finished

    def take_changed(self) -> frozenset[str]:
        """Return the ids of balancers changed since the last call, and forget them."""
        changed, self._changed = frozenset(self._changed), set()
        return changed

    def put_rule(self, lb_id: str, key: RuleKey, changed: Rule, *, action: str, now: float) -> None:
        """Exchange a rule at once, past locks and tasks: a console, an autoscaler, a health check.

        Only a change of weights or membership is recorded.

        Raises:
            KeyError: no such balancer or rule.
        """
        before = self._balancers[lb_id].rule(key)
        self._balancers[lb_id] = self._balancers[lb_id].with_rule(key, changed)
        if changed != before:
            self._changed.add(lb_id)
        if changed.weights != before.weights:
            self._log.append(
                WriteRecord(
                    at=now,
                    lb_id=lb_id,
                    action=action,
                    before=MappingProxyType({key: before.weights}),
                    after=MappingProxyType({key: changed.weights}),
                    request_id="",
                    outcome=Outcome.APPLIED,
                )
            )

    def _finish(self, task: Task, now: float) -> Task:
        before = self._weights(task)
        status, message, outcome = TaskStatus.SUCCEEDED, "", Outcome.APPLIED
        if task.fate is Fate.LIE:
            outcome = Outcome.LIED
        elif task.fate is Fate.FAIL:
            status, message, outcome = TaskStatus.FAILED, "Internal error, please try later.", Outcome.NOTHING
        elif not self._apply(task.lb_id, self._part(task)):
            # A target was unbound while the task waited.
            status, message, outcome = TaskStatus.FAILED, "Some targets are no longer bound.", Outcome.NOTHING
        elif task.fate is Fate.HALF:
            status, message, outcome = TaskStatus.FAILED, "Some targets failed.", Outcome.HALF
        self._log.append(
            WriteRecord(
                at=now,
                lb_id=task.lb_id,
                action=task.action,
                before=before,
                after=self._weights(task),
                request_id=task.task_id,
                outcome=outcome,
            )
        )
        return replace(task, status=status, message=message)

    def _weights(self, task: Task) -> Mapping[RuleKey, Weights]:
        balancer = self._balancers[task.lb_id]
        return MappingProxyType({key: balancer.rule(key).weights for key in task.changes})

    def _part(self, task: Task) -> Mapping[RuleKey, Weights]:
        """Return what of the task is to be applied: all, or for a half-applied one some, never all."""
        if task.fate is not Fate.HALF:
            return task.changes
        every = [(key, target) for key, weights in task.changes.items() for target in weights]
        count = self._rng.randint(min(1, len(every) - 1), len(every) - 1)
        chosen = set(self._rng.sample(every, count))
        return {
            key: {target: weight for target, weight in weights.items() if (key, target) in chosen}
            for key, weights in task.changes.items()
        }

    def _apply(self, lb_id: str, changes: Mapping[RuleKey, Weights]) -> bool:
        balancer = self._balancers[lb_id]
        try:
            for key, weights in changes.items():
                balancer = balancer.with_rule(key, with_weights(balancer.rule(key), weights))
        except KeyError:
            return False
        if balancer != self._balancers[lb_id]:
            self._changed.add(lb_id)
        self._balancers[lb_id] = balancer
        return True
