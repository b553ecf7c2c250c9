"""Servers that every rule about them is tried on, and what is written to them.

The rules are classes without a server; a test class adds one: `InMemory` here, a real one in `tests/cluster/`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from shifter.adapters.kube.kinds import OUR_GROUP, SHIFT_RECORDS, SHIFTS
from shifter.ports.kube import LEASES, Body, Change, Kind, KubeApi, KubeError
from tests.kube import MemoryApi, MemoryCluster

PATIENCE_SECONDS = 10.0
UNKNOWN = Kind(OUR_GROUP, "v1alpha1", "nothings", "Nothing")
FINALIZER = "shifter.io/in-flight"


@dataclass(frozen=True, slots=True)
class Subject:
    """Two clients of one server, and two namespaces that are this test's own.

    `terminate` lets a namespace be on its way out, and returns when the server knows.
    """

    api: KubeApi
    other: KubeApi
    user: str
    namespace: str
    second: str
    terminate: Callable[[str], None]


def a_lease(name: str = "one", holder: str = "a", **labels: str) -> Body:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15}
    return named(LEASES, name, spec, labels)


def a_shift(name: str = "one", *namespaces: str, **labels: str) -> Body:
    return named(SHIFTS, name, {"namespaces": list(namespaces), "steps": [5.5, 100]}, labels)


def a_record(number: int = 1) -> Body:
    texts = dict.fromkeys(("at", "shift", "what", "by", "reason", "evidence"), "x")
    spec = {"chain": "one", "id": number, "sequence": "1", "epoch": "1", "hash": "0" * 64, **texts}
    return named(SHIFT_RECORDS, f"one.{number}", spec, {})


def named(kind: Kind, name: str, spec: Body, labels: dict[str, str]) -> Body:
    metadata: Body = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": spec}


def refused(call: Callable[[], object]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        call()
    return caught.value


def version(body: Body) -> int:
    return int(body["metadata"]["resourceVersion"])


def seen(changes: Iterator[Change]) -> Sequence[tuple[str, str, object]]:
    """What a watch told, without bookmarks."""
    told = [change for change in changes if change.type != "BOOKMARK"]
    return [
        (change.type, change.body["metadata"]["name"], change.body["spec"].get("holderIdentity")) for change in told
    ]


class InMemory:
    """Gives a rule a server in memory, whose seconds are short."""

    @pytest.fixture
    def kube(self) -> Subject:
        cluster = MemoryCluster(namespaces=("one", "two"))
        api, other = (MemoryApi(cluster, who, monotonic=_hurried) for who in ("ana", "bob"))
        return Subject(api, other, "ana", "one", "two", cluster.terminate)


def _hurried() -> float:
    return time.monotonic() * 4
