"""What is known by list and watch of a real API server, over connections that break in every way."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from kubernetes.client import Configuration

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.watching import Rhythm, Watched
from shifter.ports.kube import LEASES, Body
from tests.cluster.plane import ControlPlane
from tests.cluster.wire import Wire

DEADLINE_SECONDS = 60.0
WATCH_SECONDS = 2.0
CONNECTIONS = 2
"""One that has listed, and one that watches."""
_NUMBERS = itertools.count(1)


@dataclass
class Running:
    """Somebody who watches through a wire that can break, and somebody at work who needs none."""

    plane: ControlPlane
    wire: Wire
    other: KubeClient
    watched: Watched[str]
    namespace: str

    def put(self, name: str, who: str = "a") -> None:
        spec = {"holderIdentity": who, "leaseDurationSeconds": 15}
        self.other.create(LEASES, self.namespace, LEASES.body(metadata={"name": name}, spec=spec))

    def knows(self, *names: str) -> None:
        until(lambda: set(self.watched.items()) == set(names))


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def holder(body: Body) -> str:
    return str(body["spec"]["holderIdentity"])


def client_to(plane: ControlPlane, port: int) -> KubeClient:
    configuration = Configuration(
        host=f"https://127.0.0.1:{port}", api_key={"authorization": f"Bearer {plane.token('root')}"}
    )
    configuration.ssl_ca_cert = str(plane.credentials.authority)
    return KubeClient(configuration)


def watched_by(api: KubeClient, namespace: str) -> Watched[str]:
    return Watched(
        api,
        LEASES,
        namespace,
        keep=holder,
        monotonic=time.monotonic,
        dice=lambda: 0.5,
        tell=lambda _: None,
        rhythm=Rhythm(watch_seconds=WATCH_SECONDS, pause_seconds=(0.2, 1.0)),
    )


@pytest.fixture
def running(plane: ControlPlane) -> Iterator[Running]:
    namespace = f"watched-{next(_NUMBERS)}"
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    with plane.wire() as wire:
        api, other = client_to(plane, wire.port), client_to(plane, plane.port)
        watched = watched_by(api, namespace)
        made = Running(plane, wire, other, watched, namespace)
        made.put("before")
        watched.start()
        made.knows("before")
        until(lambda: wire.taken >= CONNECTIONS)
        yield made
        api.close()
        other.close()
        assert watched.stop(DEADLINE_SECONDS)


def test_what_is_there_and_what_changes_is_known(running: Running) -> None:
    running.put("one")
    running.knows("before", "one")
    running.other.delete(LEASES, running.namespace, "before")
    running.knows("one")

    until(lambda: running.watched.fresh(0.5))


def test_a_kind_that_nobody_writes_stays_fresh(running: Running) -> None:
    ages = []
    until_at = time.monotonic() + 4 * WATCH_SECONDS
    while time.monotonic() < until_at:
        ages.append(running.watched.age_seconds())
        time.sleep(0.05)

    assert max(ages) < 2 * WATCH_SECONDS


def test_a_connection_that_is_reset_is_replaced(running: Running) -> None:
    running.wire.cut()
    running.put("one")

    running.knows("before", "one")


def test_a_connection_that_goes_silent_is_noticed_and_replaced(running: Running) -> None:
    running.wire.forget()
    running.put("one")

    until(lambda: not running.watched.fresh(1.5 * WATCH_SECONDS))
    unknown = running.watched.items()
    running.knows("before", "one")

    assert set(unknown) == {"before"}


def test_what_was_deleted_while_the_server_was_away_is_gone_afterwards(running: Running) -> None:
    running.wire.refuse()
    running.other.delete(LEASES, running.namespace, "before")
    running.put("one")
    until(lambda: not running.watched.fresh(1.0))
    running.wire.mend()

    running.knows("one")


def test_a_server_that_was_killed_is_found_again(running: Running) -> None:
    running.plane.apiserver.kill()
    running.plane.apiserver.start()
    running.plane.wait_ready()
    running.put("one")

    running.knows("before", "one")


def test_stopping_ends_with_the_clients_connections(running: Running) -> None:
    began_at = time.monotonic()

    running.watched.stop(0.0)
    assert running.watched.stop(DEADLINE_SECONDS)

    assert time.monotonic() - began_at < WATCH_SECONDS + 6


def test_a_thousand_objects_are_listed_in_less_than_50_mb(running: Running) -> None:
    body = LEASES.body(spec={"holderIdentity": "a", "leaseDurationSeconds": 15})

    def create(number: int) -> None:
        annotations = {"shifter.io/state": "x" * 8_000}
        metadata = {"name": f"many-{number}", "annotations": annotations}
        running.other.create(LEASES, running.namespace, body | {"metadata": metadata})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(1_000)))
    lone = watched_by(running.other, running.namespace)
    tracemalloc.start()
    try:
        lone.turn()
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(lone.items()) == 1_001
    assert peak < 50e6, f"{peak / 1e6:.1f} MB"
    assert now < 2e6, f"{now / 1e6:.1f} MB"
