"""Replicas with a lease each, on clocks that a test turns and at one API server in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from shifter.adapters.kube.clocks import Clocks
from shifter.adapters.kube.lease import KubeLease
from shifter.adapters.kube.lease_record import Claim
from shifter.core.documents.leasing import LeaseTiming
from shifter.ports.kube import LEASES, Body
from tests.kube import MemoryApi, MemoryCluster

PLACE = "shifter-system"
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
TIMING = LeaseTiming()
LEASE, BUDGET, RENEW, DEADLINE = 30.0, 8.0, 5.0, 20.0
TINY = 0.01


def about(seconds: float) -> object:
    """So many seconds, to within what a bench that looks ten times a second can tell."""
    return pytest.approx(seconds, abs=0.3)


class Replica:
    """One process with a lease, a door of its own to the API server, and clocks."""

    def __init__(self, bench: Bench, name: str, **options: object) -> None:
        self.bench = bench
        self.api = MemoryApi(bench.cluster, name)
        self.told: list[str] = []
        self.suspended_seconds = 0.0
        self.floor = 0
        installation = str(options.get("installation", "main"))
        timing = options.get("timing", TIMING)
        assert isinstance(timing, LeaseTiming)
        self.lease = KubeLease(
            self.api,
            Claim(PLACE, name, installation),
            timing,
            clocks=Clocks(lambda: bench.now - self.suspended_seconds, lambda: bench.now, bench.wall),
            floor=lambda: self.floor,
            tell=self.told.append,
        )
        self.due = bench.now
        self.stopped = False

    def poll(self) -> None:
        self.due = self.bench.now + self.lease.step()


class Bench:
    """Replicas at one API server. Time passes only in `let`, and everybody polls when it is due."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.cluster = MemoryCluster()
        self.replicas: list[Replica] = []

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.now)

    def replica(self, name: str, **options: object) -> Replica:
        made = Replica(self, name, **options)
        self.replicas.append(made)
        return made

    def leader(self, name: str = "a", **options: object) -> Replica:
        """A replica that leads by now."""
        made = self.replica(name, **options)
        self.until(made.lease.valid)
        return made

    def let(self, seconds: float) -> None:
        self.until(lambda: False, seconds, must=False)

    def until(self, what: Callable[[], bool], most: float = 200.0, *, must: bool = True) -> float:
        """Let time pass until it is so; return how long that took, to a tenth of a second."""
        began, ends = self.now, self.now + most
        while not what() and self.now < ends - TINY:
            for each in self.replicas:
                if not each.stopped and each.due <= self.now + TINY:
                    each.poll()
            running = [each.due for each in self.replicas if not each.stopped]
            self.now = min([self.now + 0.1, ends, *(due for due in running if due > self.now)])
        assert what() or not must, f"not within {most} s"
        return round(self.now - began, 1)

    def body(self) -> Body:
        return MemoryApi(self.cluster).get(LEASES, PLACE, "shifter")

    def spec(self, name: str) -> object:
        return self.body()["spec"][name]

    def by_hand(self, **spec: object) -> None:
        body = self.body()
        MemoryApi(self.cluster).replace(LEASES, PLACE, body | {"spec": body["spec"] | spec})

    def delete(self) -> None:
        MemoryApi(self.cluster).delete(LEASES, PLACE, "shifter")
