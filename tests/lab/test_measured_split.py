"""From a wanted share to what users get, and back to what is measured: real parts on both sides of shifter.

Weights go through `ClbProvider` and the official SDK to the emulated cloud, which drives a real Envoy; what its users
see is held against what `PrometheusMetrics` and `counters.advance` make of two real Prometheus servers.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError

from shifter.adapters.prometheus import PrometheusMetrics
from shifter.adapters.tencent.api import ClbApi
from shifter.adapters.tencent.clb import ClbProvider
from shifter.core.balancing.apportion import apportion
from shifter.core.balancing.splits import Route, RouteView, Side
from shifter.core.counts.answers import BadAnswers, counts_of
from shifter.core.counts.counters import Baselines, advance
from shifter.core.counts.evidence import INFINITY_MS, Answer, Answers, Counts, Reading, SideCounts
from shifter.core.documents.fleet import Datasource
from shifter.files.documents import load_fleet, load_policy
from shifter.lab.account import REGION, SECRET_ID, SECRET_KEY, Account, open_account
from shifter.lab.dataplane import DataPlane, DataPlaneSpec
from shifter.lab.emulator import Emulator
from shifter.lab.envoy import front_cluster
from shifter.lab.files import Pace, write_all
from shifter.lab.load_report import LoadReport, NamespaceLoad
from shifter.lab.tools import find_tools
from shifter.lab.topology import GATEWAY_NAMESPACE, GATEWAY_WORKLOAD, Namespace
from shifter.ports import Change, Progress

SHARES = (0, 1, 10, 33, 50, 75, 99, 100)
SPLIT = {f"at-{share}": share for share in SHARES}
MEASURED = ("fine", "faulty", "gone", "calls")
GRPC = {"calls"}
NAMESPACES = (*SPLIT, *MEASURED, "restarted")
BALANCER = "lb-front0001"
MESH = {Side.SOURCE: "tcm", Side.TARGET: "istio"}
PACE = Pace(scrape_seconds=0.5)
LONG_SECONDS = 600.0
EDGES_MS = (25.0, 250.0)


class Lab:
    """A data plane that follows an emulated cloud, and the adapters with which shifter writes and reads them."""

    def __init__(self, directory: Path, plane: DataPlane, account: Account, emulator: Emulator) -> None:
        self.plane, self.account, self.emulator = plane, account, emulator
        fleet = load_fleet(directory / "fleet.yaml")
        self.provider = ClbProvider(ClbApi(fleet.spec.provider.tencent))
        sources = fleet.spec.datasources
        self.datasources = {Side.SOURCE: sources.source, Side.TARGET: sources.target}
        policies = {name: load_policy(directory / "policies" / f"{name}.yaml") for name in NAMESPACES}
        self.routes: dict[str, Route] = {name: policy.routes[0] for name, policy in policies.items()}

    def view(self, namespace: str) -> RouteView:
        route = self.routes[namespace]
        return self.provider.observe([route])[route.id]

    def write(self, shares: Mapping[str, float]) -> None:
        """Write a share for each namespace in one operation, and wait until the front Envoy has the weights."""
        views = self.provider.observe([self.routes[name] for name in shares])
        changes = [
            Change(self.routes[name], apportion(views[self.routes[name].id].members, share).weights)
            for name, share in shares.items()
        ]
        operation = self.provider.submit(changes)
        eventually(lambda: self.provider.check(operation).progress is Progress.DONE)
        for name in shares:
            eventually(partial(self._is_in_force, name))

    def read(self, side: Side, matchers: Mapping[str, str] | None = None) -> Reading:
        """Read one mesh's counters now; other `matchers` isolate less well."""
        source = self.datasources[side]
        if matchers is not None:
            source = source.model_copy(update={"matchers": matchers})
        return PrometheusMetrics(source, 2.5, MESH[side]).read(datetime.now(UTC), EDGES_MS)

    def read_settled(self, side: Side, after: float, matchers: Mapping[str, str] | None = None) -> Reading:
        """Read once every pod has been scraped at least twice since `after` (Unix time)."""
        newest = after + 2 * PACE.scrape_seconds
        found: list[Reading] = []

        def settled() -> bool:
            found.append(self.read(side, matchers))
            pods = found[-1].pods
            return bool(pods) and min(pod.sampled_at for pod in pods.values()) > newest

        eventually(settled)
        return found[-1]

    def send(self, rates: Mapping[str, float], each: int) -> LoadReport:
        """Let users of each namespace send about `each` requests, all rates being equal."""
        self.plane.start_load(rates, requests_max=each * len(rates))
        assert self.plane.process("load").wait(timeout_seconds=30) == 0
        return self.plane.load_report()

    def _is_in_force(self, namespace: str) -> bool:
        return self._weights_in_force(namespace) == self._weights_served(namespace)

    def _weights_served(self, namespace: str) -> dict[int, int]:
        place = self.account.places[namespace]
        served = self.emulator.serving(place.balancer, place.listener, place.location)
        return {self.account.gateway_port[key]: weight for key, weight in served.items() if weight}

    def _weights_in_force(self, namespace: str) -> dict[int, int]:
        """What the front Envoy itself says of one domain's members."""
        connection = http.client.HTTPConnection("127.0.0.1", self.plane.topology.front_admin_port, timeout=5)
        with closing(connection):
            connection.request("GET", "/clusters?format=json")
            clusters = json.load(connection.getresponse())["cluster_statuses"]
        name = front_cluster(f"{namespace}.example.com")
        hosts = [host for cluster in clusters if cluster["name"] == name for host in cluster.get("host_statuses", [])]
        return {host["address"]["socket_address"]["port_value"]: host["weight"] for host in hosts}


def eventually(holds: Callable[[], bool], timeout_seconds: float = 10) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("measured")
    namespaces = tuple(Namespace(name, grpc=name in GRPC) for name in NAMESPACES)
    plane_spec = DataPlaneSpec(directory, namespaces, scrape_interval_seconds=PACE.scrape_seconds)
    with ExitStack() as stack:
        plane = stack.enter_context(DataPlane(plane_spec, find_tools(os.environ), os.environ))
        account = open_account(namespaces, dict.fromkeys(NAMESPACES, BALANCER), plane.gateways)

        def follow(balancer: str) -> None:
            for name in account.namespaces_of(balancer):
                place = account.places[name]
                served = emulator.serving(place.balancer, place.listener, place.location)
                plane.set_weights(name, {account.gateway_port[key]: weight for key, weight in served.items()})

        emulator = Emulator(
            balancers=account.balancers,
            region=REGION,
            secret_id=SECRET_ID,
            secret_key=SECRET_KEY,
            clock=time.time,
            rng=random.Random(7),  # noqa: S311 - seeded on purpose
            on_change=follow,
        )
        port = emulator.start()
        stack.callback(emulator.stop)
        write_all(directory, account, port, {mesh: plane.prometheus_url(mesh) for mesh in MESH.values()}, PACE)
        yield Lab(directory, plane, account, emulator)


@pytest.fixture(scope="module")
def split(lab: Lab) -> LoadReport:
    """All shares at once: a rule each, on one balancer, 500 requests each."""
    lab.write(SPLIT)
    return lab.send(dict.fromkeys(SPLIT, 125.0), each=500)


@pytest.mark.parametrize("share", SHARES)
def test_users_get_the_share_that_was_apportioned(lab: Lab, split: LoadReport, share: int) -> None:
    view = lab.view(f"at-{share}")
    achieved = apportion(view.members, share).achieved

    seen = split.namespaces[f"at-{share}"]

    assert view.share == pytest.approx(achieved)
    assert seen.total == seen.ok == seen.by_mesh.get("tcm", 0) + seen.by_mesh.get("istio", 0)
    # Envoy deals out by rotation, not by chance: off by where the rotation began, a few requests of 500.
    assert seen.share("istio") == pytest.approx(achieved, abs=0.8)
    assert (seen.by_mesh.get("tcm", 0) > 0, seen.by_mesh.get("istio", 0) > 0) == (share < 100, share > 0)


def test_none_is_none_and_all_is_all(split: LoadReport) -> None:
    none, everything = split.namespaces["at-0"], split.namespaces["at-100"]

    assert none.by_mesh == {"tcm": none.total}
    assert everything.by_mesh == {"istio": everything.total}
    assert none.total > 400 < everything.total


DECOYS = {
    # The fleet file refuses `reporter` alone; a label that every series has isolates just as little.
    "reporter only": {"reporter": "source", "request_protocol": "http"},
    "no reporter": {"source_workload": GATEWAY_WORKLOAD, "source_workload_namespace": GATEWAY_NAMESPACE},
    "no workload": {"reporter": "source", "source_workload_namespace": GATEWAY_NAMESPACE},
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What users saw in between two reads, and what the reads make of it: by side, and by the decoys let in."""

    users: Mapping[str, NamespaceLoad]
    counts: Mapping[Side, SideCounts]
    fooled: Mapping[str, Mapping[Side, SideCounts]]


@pytest.fixture(scope="module")
def measured(lab: Lab) -> Measured:
    """Four namespaces at 40 %: one is fine, the others fail behind istio: at times, for want of pods, in gRPC calls."""
    lab.write(dict.fromkeys(MEASURED, 40.0))
    # Answered before the first read, so that growing series and new ones are in the same counts.
    began = lab.send(dict.fromkeys(MEASURED, 150.0), each=50).written_at
    lab.plane.break_namespace("istio", "faulty", abort_percent=30, status=500)
    lab.plane.kill_namespace("istio", "gone")
    lab.plane.fail_grpc("istio", "calls", percent=30)
    matchers: dict[str, Mapping[str, str] | None] = {"": None, **DECOYS}
    before = {(name, side): lab.read_settled(side, began, found) for name, found in matchers.items() for side in Side}
    users = lab.send(dict.fromkeys(MEASURED, 150.0), each=300)
    after = {
        (name, side): lab.read_settled(side, users.written_at, found)
        for name, found in matchers.items()
        for side in Side
    }
    counts = {key: counted(before[key], reading) for key, reading in after.items()}
    return Measured(
        users.namespaces,
        {side: counts["", side] for side in Side},
        {name: {side: counts[name, side] for side in Side} for name in DECOYS},
    )


def counted(before: Reading, after: Reading) -> SideCounts:
    baselines, _, _ = advance(Baselines(), before, LONG_SECONDS)
    _, counts, span_seconds = advance(baselines, after, LONG_SECONDS)
    assert span_seconds > 0
    return counts


def judged(found: Answers) -> Counts:
    return counts_of(found, BadAnswers())


def answers(counts: Counts) -> tuple[float, float]:
    return counts.requests, counts.bad


def test_counts_between_two_reads_are_what_users_saw(measured: Measured) -> None:
    fine, faulty = measured.users["fine"], measured.users["faulty"]
    source, target = measured.counts[Side.SOURCE], measured.counts[Side.TARGET]

    assert fine.failed == 0 < faulty.failed
    assert answers(judged(source.of(["fine"]))) == (fine.by_mesh["tcm"], 0)
    assert answers(judged(target.of(["fine"]))) == (fine.by_mesh["istio"], 0)
    assert answers(judged(source.of(["faulty"]))) == (faulty.by_mesh["tcm"], 0)
    assert answers(judged(target.of(["faulty"]))) == (faulty.by_mesh["istio"], faulty.failed)


def test_as_many_latencies_as_requests_are_counted(measured: Measured) -> None:
    for side in Side:
        for name in ("fine", "faulty"):
            found = judged(measured.counts[side].of([name]))
            buckets = dict(found.buckets)

            assert tuple(buckets) == (*EDGES_MS, INFINITY_MS)
            assert buckets[INFINITY_MS] == found.requests > 0


def test_a_namespace_without_pods_is_nameless_server_errors_of_its_side(measured: Measured) -> None:
    gone = measured.users["gone"]
    source, target = measured.counts[Side.SOURCE], measured.counts[Side.TARGET]

    assert gone.failed_by_cause == {"503": gone.by_mesh["istio"]}
    assert answers(judged(target.unknown)) == (gone.by_mesh["istio"], gone.by_mesh["istio"])
    assert answers(judged(target.of(["gone"]))) == (0, 0)
    assert answers(judged(source.unknown)) == (0, 0)
    assert answers(judged(source.of(["gone"]))) == (gone.by_mesh["tcm"], 0)


def test_failing_grpc_calls_are_told_from_good_ones_by_their_status(measured: Measured) -> None:
    calls = measured.users["calls"]
    source, target = measured.counts[Side.SOURCE].of(["calls"]), measured.counts[Side.TARGET].of(["calls"])

    assert calls.failed_by_cause == {"grpc 14": calls.failed}
    assert answers(judged(source)) == (calls.by_mesh["tcm"], 0)
    assert answers(judged(target)) == (calls.by_mesh["istio"], calls.failed)
    assert target.by_answer[Answer("200", grpc="14")] == calls.failed
    assert set(source.by_answer) == {Answer("200", grpc="0")}


@pytest.mark.parametrize("decoy", DECOYS)
@pytest.mark.parametrize("side", list(Side))
def test_a_decoy_that_is_let_in_is_seen_in_the_counts(measured: Measured, decoy: str, side: Side) -> None:
    fine = measured.users["fine"]

    found = judged(measured.fooled[decoy][side].of(["fine"]))

    assert found.requests > fine.by_mesh[MESH[side]]
    assert found.bad > fine.failed


def test_the_fleet_file_refuses_a_reporter_alone(lab: Lab) -> None:
    given = lab.datasources[Side.SOURCE].model_dump(mode="json", by_alias=True)

    with pytest.raises(ValidationError, match="reporter alone matches every sidecar too"):
        Datasource.model_validate_json(json.dumps(given | {"matchers": {"reporter": "source"}}))


def test_a_restarted_pods_errors_count_from_its_first(lab: Lab) -> None:
    *_, pod = lab.plane.gateways
    lab.plane.set_weights("restarted", {pod.port: 1})
    old = lab.send({"restarted": 200.0}, each=60)
    before = lab.read_settled(Side.TARGET, old.written_at)
    # Envoy counts its uptime from the last full second: a start may seem up to a second earlier than it was.
    eventually(lambda: time.time() > before.pods[pod.pod].sampled_at + 1.1)

    lab.plane.process(pod.pod).kill()
    lab.plane.start_gateway(pod.pod)
    lab.plane.break_namespace("istio", "restarted", abort_percent=100)
    new = lab.send({"restarted": 200.0}, each=20)
    counts = counted(before, lab.read_settled(Side.TARGET, new.written_at))
    lab.plane.mend("istio", "restarted")

    assert new.namespaces["restarted"].failed_by_cause == {"503": 20}
    assert answers(judged(counts.of(["restarted"]))) == (20, 20)
