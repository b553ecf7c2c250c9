"""The meshes' histograms: how long requests took, as a gateway counts it, and what of it users mind."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.counts.evidence import INFINITY_MS, Reading
from shifter.core.documents.fleet import ISTIO_EDGES_MS
from tests.sim.dice import Dice
from tests.sim.kernel import Kernel
from tests.sim.meshes import Mesh

EDGES = (*ISTIO_EDGES_MS, INFINITY_MS)


@pytest.fixture
def mesh() -> Mesh:
    mesh = Mesh(Side.TARGET, Kernel(), Dice(1, "mesh"), 0.0, 4.0)
    mesh.time(["shop"], Dice(1, "latency"))
    return mesh


def read(mesh: Mesh, *edges_ms: float) -> Reading:
    mesh.scrape()
    return mesh.read(datetime.fromtimestamp(0, UTC), edges_ms)


def upto(reading: Reading, namespace: str, edge_ms: float) -> float:
    pods = reading.pods.values()
    return sum(
        value
        for pod in pods
        for series, value in pod.counters.items()
        if (series.subject, series.edge_ms) == (namespace, edge_ms)
    )


def test_buckets_are_cumulative_and_the_last_has_every_request(mesh: Mesh) -> None:
    mesh.slow_down("shop", 40.0, 10.0)
    for _ in range(20):
        mesh.serve("shop", 101)

    reading = read(mesh, *ISTIO_EDGES_MS)
    counted = [upto(reading, "shop", edge) for edge in EDGES]
    assert counted == sorted(counted)
    assert counted[-1] == 20 * 101


def test_what_users_mind_is_in_no_bucket_below_two_and_a_half_seconds(mesh: Mesh) -> None:
    well = mesh.serve("shop", 1000)
    mesh.slow_down("shop", 40.0, 10.0)
    bad = mesh.serve("shop", 1000)

    reading = read(mesh, *ISTIO_EDGES_MS)
    assert (well.slow, bad.slow, bad.failed) == (0, 400, 0)
    assert upto(reading, "shop", 2500.0) - upto(reading, "shop", 1000.0) == 400


def test_only_the_buckets_asked_for_are_shown_and_the_last_one(mesh: Mesh) -> None:
    mesh.serve("shop", 100)

    shown = {series.edge_ms for pod in read(mesh, 10.0).pods.values() for series in pod.counters}
    none = {series.edge_ms for pod in read(mesh).pods.values() for series in pod.counters}
    assert shown == {None, 10.0, INFINITY_MS}
    assert none == {None}


def test_a_namespace_whose_users_do_not_mind_is_not_timed(mesh: Mesh) -> None:
    mesh.slow_down("pay", 40.0, 10.0)

    assert mesh.serve("pay", 100).slow == 0
    assert upto(read(mesh, *ISTIO_EDGES_MS), "pay", INFINITY_MS) == 0
