"""Leases in a cluster, for the contract that all leases share: waiting for one takes time on its own clock only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shifter.adapters.kube.clocks import Clocks
from shifter.adapters.kube.lease import KubeLease
from shifter.adapters.kube.lease_record import Claim
from shifter.core.documents.leasing import LeaseTiming
from shifter.errors import RefusedError
from shifter.ports.kube import KubeApi

_NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


class KubeLeases:
    """Leases on one API server. Who takes one stands by for as long as a hand-over may last, and is refused then."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._timing = LeaseTiming()
        self._now = 0.0
        self._clocks = Clocks(lambda: self._now, lambda: self._now, lambda: _NOON + timedelta(seconds=self._now))
        self._leases: list[KubeLease] = []

    def take(self) -> KubeLease:
        told: list[str] = []
        claim = Claim(self._namespace, f"process-{len(self._leases)}", "main")
        lease = KubeLease(self._api, claim, self._timing, clocks=self._clocks, tell=told.append)
        self._leases.append(lease)
        ends = self._now + self._timing.hand_over_seconds
        while not lease.valid():
            if self._now > ends:
                lease.release()
                raise RefusedError(f"another shifter leads: {told[-1]}")
            for each in self._leases:
                each.step()
            self._now += 1.0
        return lease
