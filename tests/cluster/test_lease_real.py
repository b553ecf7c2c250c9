"""The lease on a real API server, in real time, with a lease of six seconds that obeys the same rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.clocks import Clocks
from shifter.adapters.kube.connecting import Cluster, connect
from shifter.adapters.kube.lease import KubeLease
from shifter.adapters.kube.lease_record import Claim
from shifter.core.documents.leasing import LeaseTiming
from shifter.ports.kube import LEASES, Body
from tests.cluster.plane import ControlPlane

TIMING = LeaseTiming(
    duration_seconds=6,
    deadline_seconds=4.0,
    write_budget_seconds=2.0,
    renew_seconds=0.8,
    call_seconds=1.6,
    lowering_seconds=60.0,
)
DEADLINE_SECONDS = 30.0
ON_THE_SECOND = Clocks(wall=lambda: datetime(2026, 3, 4, 12, tzinfo=UTC))


def until(what: Callable[[], object], why: str) -> float:
    began = time.monotonic()
    while not what():
        assert time.monotonic() < began + DEADLINE_SECONDS, why
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass(slots=True)
class Replicas:
    """Starts replicas in one namespace, and stops them all."""

    connect: Callable[[], KubeClient]
    api: KubeClient
    namespace: str
    leases: list[KubeLease] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def start(self, name: str, clocks: Clocks | None = None) -> KubeLease:
        claim = Claim(self.namespace, name, "main")
        lease = KubeLease(self.connect(), claim, TIMING, clocks=clocks, tell=self.told.append)
        self.leases.append(lease)
        lease.start()
        return lease

    def leader(self, name: str = "a") -> KubeLease:
        lease = self.start(name)
        until(lease.valid, f"{name} never leads: {self.told}")
        return lease

    def body(self) -> Body:
        return self.api.get(LEASES, self.namespace, "shifter")


@pytest.fixture
def replicas(plane: ControlPlane, admin_api: KubeClient, namespace: str) -> Iterator[Replicas]:
    # A call waits once to be sent and once to be answered.
    where = Cluster(kubeconfig=str(plane.kubeconfig("root")), request_timeout_seconds=TIMING.call_seconds / 2)
    with ExitStack() as stack:
        made = Replicas(lambda: stack.enter_context(closing(connect(where, {}))), admin_api, namespace)
        yield made
        plane.mend()
        for lease in made.leases:
            lease.release()


def test_a_lease_is_taken_renewed_and_released(replicas: Replicas) -> None:
    leader = replicas.leader()
    first = replicas.body()["spec"]
    until(lambda: replicas.body()["spec"]["renewTime"] != first["renewTime"], "nobody renews it")
    leader.release()
    after = replicas.body()

    assert (first["holderIdentity"], first["leaseTransitions"], first["leaseDurationSeconds"]) == ("a", 1, 6)
    assert after["spec"].get("holderIdentity", "") == ""
    assert after["metadata"]["annotations"]["shifter.io/released"] == "1"


def test_a_time_on_the_very_second_is_accepted(replicas: Replicas) -> None:
    replicas.start("a", ON_THE_SECOND)
    until(lambda: replicas.told, "nothing was told")

    assert "took the lease" in replicas.told[0]
    assert replicas.body()["spec"]["acquireTime"] == "2026-03-04T12:00:00.000000Z"


def test_a_clean_hand_over_takes_little_more_than_the_write_budget(replicas: Replicas) -> None:
    leader = replicas.leader()
    standby = replicas.start("b")
    until(lambda: "standing by: a holds" in " ".join(replicas.told), "it does not see who leads")
    leader.release()
    took = until(standby.valid, "nobody follows")

    assert took >= TIMING.write_budget_seconds - 0.1
    assert standby.epoch == 2
    assert not leader.valid()


def test_a_deleted_lease_is_not_made_anew_by_a_renewal(replicas: Replicas) -> None:
    leader = replicas.leader()
    replicas.api.delete(LEASES, replicas.namespace, "shifter")
    until(leader.lost, "it does not notice")

    assert leader.lost().endswith("it was deleted")
    assert not leader.may_lower()


def test_who_leads_when_the_server_is_stopped_may_go_back_and_goes_on_after_it(
    plane: ControlPlane, replicas: Replicas
) -> None:
    leader = replicas.leader()
    seen: list[tuple[bool, bool]] = []
    plane.apiserver.freeze()
    until(lambda: not leader.valid(), "it climbs on")
    until(leader.may_lower, "it may not go back")
    seen.append((leader.valid(), leader.may_lower()))
    plane.mend()
    until(leader.valid, "it does not go on")

    assert seen == [(False, True)]
    assert leader.epoch == 1
