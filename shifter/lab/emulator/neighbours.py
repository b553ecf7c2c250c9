"""Everybody else: what people, health checks, autoscalers and TKE do to balancers, past the API and its signatures.

All of it, and the API's own calls, go through `_settled`, which first lets everything due happen and only then shows
the cloud. Other actors do not ask for the lock of a balancer unless it says so: a console's edit is there at once.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from shifter.lab.emulator import doings
from shifter.lab.emulator.agenda import Agenda
from shifter.lab.emulator.balancers import (
    MAX_TARGETS,
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
from shifter.lab.emulator.tke import Declaration, Tke

MAX_LOCK_SECONDS = 3_600.0


class Neighbours:
    """Balancers and everybody who has a hand on them. Thread-safe: it owns the one lock.

    Args:
        cloud: the balancers.
        clock: seconds since the epoch.
        lock_seconds: how long TKE keeps a balancer locked.
    """

    def __init__(self, cloud: Cloud, clock: Callable[[], float], lock_seconds: float) -> None:
        self._cloud = cloud
        self._clock = clock
        self._agenda = Agenda()
        self._tke = Tke(self._agenda, lock_seconds)
        self._wake = threading.Condition()

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
            raise KeyError(f"there is no load balancer {lb_id}")
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
        key = RuleKey(listener_id, location_id)
        self._change(lb_id, key, "SetHealth", doings.healths_set({target: health}, detail), named=[target])

    def set_side_health(
        self, lb_id: str, listener_id: str, location_id: str | None, health: Health, *, port: int | None = None
    ) -> None:
        """Let the health check come to the same opinion of many targets: those on one port, or all of a rule.

        Raises:
            KeyError: there is no such rule, or nothing is bound on that port.
        """
        key = RuleKey(listener_id, location_id)
        side = [one for one in self._rule(lb_id, key).weights if port is None or one.port == port]
        if not side:
            raise KeyError(f"{location_id or listener_id} has no target on port {port}")
        self._change(lb_id, key, "SetHealth", doings.healths_set(dict.fromkeys(side, health)))

    def add_target(self, lb_id: str, listener_id: str, location_id: str | None, target: Target) -> None:
        """Bind one more target, as an autoscaler would.

        Raises:
            KeyError: there is no such rule.
            ValueError: its address and port are bound already, or the rule is full.
        """
        key = RuleKey(listener_id, location_id)
        bound = self._rule(lb_id, key).weights
        if target.key in bound:
            raise ValueError(f"{target.key.address}:{target.port} is bound already")
        if len(bound) >= MAX_TARGETS:
            raise ValueError(f"{location_id or listener_id} is full: the quota is {MAX_TARGETS} targets")
        self._change(lb_id, key, "AddTarget", doings.bound([target]))

    def remove_target(self, lb_id: str, listener_id: str, location_id: str | None, target: TargetKey) -> None:
        """Unbind one target.

        Raises:
            KeyError: there is no such rule or target.
        """
        self._change(lb_id, RuleKey(listener_id, location_id), "RemoveTarget", doings.unbound([target]), named=[target])

    def change_later(self, seconds: float, lb_id: str, key: RuleKey, action: str, changed: doings.Doing) -> None:
        """Change a rule when some time has passed: what undoes an event, or brings the next one.

        Args:
            seconds: from now; looked at whenever anybody looks at the emulator, and while it is started.
            lb_id: the load balancer.
            key: its rule.
            action: what the record of it says.
            changed: the rule as it then is, to what it becomes; raises nothing.

        Raises:
            KeyError: there is no such rule.
            ValueError: too much is planned already.
        """
        self._rule(lb_id, key)

        def errand(cloud: Cloud, then: float) -> None:
            balancer = cloud.balancer(lb_id)
            if balancer is not None:
                cloud.put_rule(lb_id, key, changed(balancer.rule(key)), action=action, now=then)

        with self._settled() as (_, now):
            self._agenda.add(now + seconds, errand)

    def hold_lock(self, lb_id: str, seconds: float) -> None:
        """Lock a balancer from now on for a while, as another actor's operation would.

        Raises:
            KeyError: there is no such balancer.
            ValueError: that is less than nothing, or longer than 3600 s.
        """
        self.balancer(lb_id)
        if not 0 <= seconds <= MAX_LOCK_SECONDS:
            raise ValueError(f"seconds must be 0..{MAX_LOCK_SECONDS:.0f}, not {seconds}")
        with self._settled() as (cloud, now):
            cloud.hold_lock(lb_id, now + seconds)

    def release_lock(self, lb_id: str) -> None:
        """End the lock of another actor, or of a task that never ends; harmless if there is none.

        Raises:
            KeyError: there is no such balancer.
        """
        self.balancer(lb_id)
        with self._settled() as (cloud, _):
            cloud.release_lock(lb_id)

    def declare(
        self,
        lb_id: str,
        key: RuleKey,
        weights: Mapping[TargetKey, int] | None = None,
        *,
        every_seconds: float | None = None,
        members: bool = False,
    ) -> None:
        """Let TKE hold a rule's present targets for the truth, with these weights or the present ones.

        Args:
            lb_id: the load balancer.
            key: its rule.
            weights: 0..100; targets not named are declared as they are.
            every_seconds: how often it resyncs by itself, 0.05..86400; None for only on `resync`.
            members: also bind and unbind targets.

        Raises:
            KeyError: there is no such rule or target.
            ValueError: a weight or the time is out of range.
        """
        rule = with_weights(self._rule(lb_id, key), weights or {})
        targets = MappingProxyType({target.key: target for target in rule.targets})
        one = Declaration(lb_id=lb_id, rule=key, targets=targets, every_seconds=every_seconds, members=members)
        with self._settled() as (_, now):
            self._tke.declare(one, now)

    def resync(self, lb_id: str) -> None:
        """Let TKE write back what was declared about a balancer: now, or when it is free.

        Raises:
            KeyError: nothing was declared about it.
        """
        with self._settled() as (cloud, now):
            if not self._tke.resync(cloud, lb_id, now):
                raise KeyError(f"nothing was declared about {lb_id}")

    def withdraw(self, lb_id: str) -> None:
        """End what `declare` began for a balancer.

        Raises:
            KeyError: nothing was declared about it.
        """
        with self._settled():
            if not self._tke.withdraw(lb_id):
                raise KeyError(f"nothing was declared about {lb_id}")

    def _rule(self, lb_id: str, key: RuleKey) -> Rule:
        return self.balancer(lb_id).rule(key)

    def _change(
        self, lb_id: str, key: RuleKey, action: str, changed: doings.Doing, *, named: Collection[TargetKey] = ()
    ) -> None:
        with self._settled() as (cloud, now):
            balancer = cloud.balancer(lb_id)
            if balancer is None:
                raise KeyError(f"there is no load balancer {lb_id}")
            rule = balancer.rule(key)
            if lost := doings.missing(rule, named):
                raise KeyError(f"{rule.location_id} has no target {lost[0].address}:{lost[0].port}")
            cloud.put_rule(lb_id, key, changed(rule), action=action, now=now)

    @contextmanager
    def _settled(self) -> Iterator[tuple[Cloud, float]]:
        """Lock, let everything due happen, and hand out the cloud together with the time it is at."""
        with self._wake:
            now = self._clock()
            self._settle(now)
            try:
                yield self._cloud, now
            finally:
                self._wake.notify_all()

    def _settle(self, now: float) -> None:
        self._cloud.settle(now)
        for errand in self._agenda.take_due(now):
            errand(self._cloud, now)
