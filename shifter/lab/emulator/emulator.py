"""The emulator as the lab holds it: one object, thread-safe, that owns the clock, the dice and the one lock.

Requests, the lab's own calls and the ticking of tasks all go through `_settled`, which first lets everything due
happen and only then shows the cloud. Listeners of `on_change` are called from the ticking thread alone, outside
the lock, so they may call back in.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from shifter.lab.emulator.actions import ACTIONS, Pace
from shifter.lab.emulator.api import Admitted, Api
from shifter.lab.emulator.balancers import (
    Health,
    LoadBalancer,
    Rule,
    RuleKey,
    Target,
    TargetKey,
    serving,
    with_weights,
)
from shifter.lab.emulator.cloud import Cloud, WriteRecord
from shifter.lab.emulator.envelope import Reply
from shifter.lab.emulator.faults import Fault, Faults
from shifter.lab.emulator.server import LoopbackServer, Web, fault_view
from shifter.lab.emulator.signing import HttpRequest, Keys
from shifter.lab.emulator.views import balancer_view, task_view

_TICK_SECONDS = 0.02
_JOIN_SECONDS = 10.0
_TASKS_SHOWN = 50


class Emulator:
    """Tencent Cloud's CLB API over balancers that exist only here.

    Args:
        balancers: what the account holds in `region`.
        region: where it holds it; other regions exist and are empty.
        secret_id: the id of the only key pair accepted.
        secret_key: its key.
        clock: seconds since the epoch. Callers sign with their own clock, so it may be off by 300 s at most.
        rng: decides delays, request ids, half-applied tasks and which of the official samples' quirks show.
        task_delay_seconds: shortest and longest time between accepting a write and its effect.
        lock_linger_seconds: how long a balancer stays locked after its task has ended.
        lost_reply_seconds: how long a lost reply leaves its client waiting at most.
        on_change: called with a load balancer's id after its weights, health or members changed; changes in
            quick succession may be told once. Only while started.

    Raises:
        ValueError: the region is not one of Tencent's, or a delay is negative or the wrong way round.
    """

    def __init__(  # noqa: PLR0913 - the lab's one constructor: every argument is named and most have defaults
        self,
        *,
        balancers: Iterable[LoadBalancer],
        region: str,
        secret_id: str,
        secret_key: str,
        clock: Callable[[], float],
        rng: random.Random,
        task_delay_seconds: tuple[float, float] = (0.3, 0.3),
        lock_linger_seconds: float = 0.0,
        lost_reply_seconds: float = 30.0,
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        if not 0 <= task_delay_seconds[0] <= task_delay_seconds[1]:
            raise ValueError(f"task_delay_seconds must be shortest and longest, not {task_delay_seconds}")
        self.faults = Faults(
            reads=[name for name, action in ACTIONS.items() if not action.writes],
            writes=[name for name, action in ACTIONS.items() if action.writes],
        )
        self._clock = clock
        self._on_change = on_change
        self._lost_reply_seconds = lost_reply_seconds
        self._cloud = Cloud(balancers, rng)
        self._api = Api(
            cloud=self._cloud,
            faults=self.faults,
            keys=Keys(secret_id, secret_key),
            region=region,
            pace=Pace(delay_seconds=task_delay_seconds, lock_linger_seconds=lock_linger_seconds),
            rng=rng,
        )
        self._wake = threading.Condition()
        self._stopping = threading.Event()
        self._server: LoopbackServer | None = None
        self._ticker: threading.Thread | None = None

    def start(self, port: int = 0) -> int:
        """Serve on 127.0.0.1 and return the port; 0 picks a free one. An emulator starts once.

        Raises:
            RuntimeError: it was started before.
            OSError: the port is taken.
        """
        if self._server is not None:
            raise RuntimeError("this emulator was started before; make a new one")
        web = Web(self, stopping=self._stopping, lost_reply_seconds=self._lost_reply_seconds)
        self._server = LoopbackServer(web.app())
        chosen = self._server.start(port)
        self._ticker = threading.Thread(target=self._tick, name="tencent-emulator-tasks", daemon=True)
        self._ticker.start()
        return chosen

    def stop(self) -> None:
        """Drop every connection, also those waiting for a lost reply, and end both threads. May be repeated."""
        self._stopping.set()
        with self._wake:
            self._wake.notify_all()
        if self._server is not None:
            self._server.stop()
        if self._ticker is not None:
            self._ticker.join(_JOIN_SECONDS)

    @property
    def log(self) -> list[WriteRecord]:
        """What really happened to weights, oldest first: the checkers' source of truth."""
        with self._settled() as (cloud, _):
            return cloud.log

    def balancer(self, lb_id: str) -> LoadBalancer:
        """Return one balancer as it is now.

        Raises:
            KeyError: there is none of that id.
        """
        with self._settled() as (cloud, _):
            balancer = cloud.balancer(lb_id)
        if balancer is None:
            raise KeyError(lb_id)
        return balancer

    def serving(self, lb_id: str, listener_id: str, location_id: str | None) -> Mapping[TargetKey, int]:
        """Return who gets new traffic of a rule, and by which weight; see `balancers.serving`.

        Args:
            lb_id: the load balancer.
            listener_id: its listener.
            location_id: the rule of a layer-7 listener, None on layer 4.

        Raises:
            KeyError: there is no such rule.
        """
        return serving(self.balancer(lb_id).rule(RuleKey(listener_id, location_id)))

    def edit_weights(
        self, lb_id: str, listener_id: str, location_id: str | None, weights: Mapping[TargetKey, int]
    ) -> None:
        """Set weights (0..100) at once and past any lock, as a person in the console would.

        Raises:
            KeyError: there is no such rule or target.
            ValueError: a weight is out of range.
        """
        key = RuleKey(listener_id, location_id)
        self._change(lb_id, key, "ConsoleEdit", lambda rule: with_weights(rule, weights))

    def set_health(
        self,
        lb_id: str,
        listener_id: str,
        location_id: str | None,
        target: TargetKey,
        health: Health,
        *,
        detail: Health | None = None,
    ) -> None:
        """Let the health check come to another opinion of one target.

        Args:
            lb_id: the load balancer.
            listener_id: its listener.
            location_id: the rule of a layer-7 listener, None on layer 4.
            target: which of its targets.
            health: only `Health.ALIVE` gets traffic.
            detail: a HealthStatusDetail to report in contradiction to it.

        Raises:
            KeyError: there is no such rule or target.
        """

        def changed(rule: Rule) -> Rule:
            if target not in rule.weights:
                raise KeyError(f"{rule.location_id} has no target {target}")
            targets = (replace(one, health=health, detail=detail) if one.key == target else one for one in rule.targets)
            return replace(rule, targets=tuple(targets))

        self._change(lb_id, RuleKey(listener_id, location_id), "SetHealth", changed)

    def add_target(self, lb_id: str, listener_id: str, location_id: str | None, target: Target) -> None:
        """Bind one more target, as an autoscaler would.

        Raises:
            KeyError: there is no such rule.
            ValueError: its address and port are bound already.
        """
        key = RuleKey(listener_id, location_id)
        self._change(lb_id, key, "AddTarget", lambda rule: replace(rule, targets=(*rule.targets, target)))

    def remove_target(self, lb_id: str, listener_id: str, location_id: str | None, target: TargetKey) -> None:
        """Unbind one target.

        Raises:
            KeyError: there is no such rule or target.
        """

        def changed(rule: Rule) -> Rule:
            if target not in rule.weights:
                raise KeyError(f"{rule.location_id} has no target {target}")
            return replace(rule, targets=tuple(one for one in rule.targets if one.key != target))

        self._change(lb_id, RuleKey(listener_id, location_id), "RemoveTarget", changed)

    def hold_lock(self, lb_id: str, seconds: float) -> None:
        """Lock a balancer from now on for a while, as another actor's operation would.

        Raises:
            KeyError: there is no such balancer.
        """
        self.balancer(lb_id)
        with self._settled() as (cloud, now):
            cloud.hold_lock(lb_id, now + seconds)

    def state(self) -> Mapping[str, Any]:
        """Return balancers, tasks and waiting faults as JSON values."""
        with self._settled() as (cloud, now):
            return {
                "now": now,
                "balancers": [
                    balancer_view(balancer, locked=cloud.is_locked(balancer.load_balancer_id, now))
                    for balancer in cloud.balancers
                ],
                "tasks": [task_view(task) for task in cloud.tasks[-_TASKS_SHOWN:]],
                "faults": [fault_view(fault) for fault in self.faults.waiting],
                "writes": len(cloud.log),
            }

    def inject(self, fault: Fault) -> None:
        """Let a fault wait for its calls; short for `faults.inject`."""
        self.faults.inject(fault)

    def admit(self, request: HttpRequest) -> Admitted | Reply:
        """Take a request of the API in; for the server."""
        with self._settled() as (_, now):
            return self._api.admit(request, now)

    def perform(self, admitted: Admitted) -> Reply:
        """Work on an admitted call; for the server."""
        with self._settled() as (_, now):
            return self._api.perform(admitted, now)

    def _change(self, lb_id: str, key: RuleKey, action: str, changed: Callable[[Rule], Rule]) -> None:
        with self._settled() as (cloud, now):
            balancer = cloud.balancer(lb_id)
            if balancer is None:
                raise KeyError(lb_id)
            cloud.put_rule(lb_id, key, changed(balancer.rule(key)), action=action, now=now)

    @contextmanager
    def _settled(self) -> Iterator[tuple[Cloud, float]]:
        """Lock, let everything due happen, and hand out the cloud together with the time it is at."""
        with self._wake:
            now = self._clock()
            self._cloud.settle(now)
            try:
                yield self._cloud, now
            finally:
                self._wake.notify_all()

    def _tick(self) -> None:
        while not self._stopping.is_set():
            with self._wake:
                self._cloud.settle(self._clock())
                changed = self._cloud.take_changed()
                if not changed:
                    # The clock may be a test's own, so its distance to the next task says nothing about ours.
                    self._wake.wait(None if self._cloud.next_due() is None else _TICK_SECONDS)
            for lb_id in sorted(changed):
                self._announce(lb_id)

    def _announce(self, lb_id: str) -> None:
        try:
            self._on_change(lb_id)
        except Exception:
            # A listener's failure is its own; the balancers must go on changing.
            logging.getLogger(__name__).exception("the listener of changes to %s failed", lb_id)
