"""The check-up, with doubles at the ports: what is found, how bad it is, and what mends it."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shifter.adapters.kube.mesh_cluster import Connection
from shifter.adapters.kube.workload import KubeWorkload, Scaled
from shifter.adapters.memory_store import MemoryStore
from shifter.core.balancing.splits import Health, Member, Route, RouteView, Side
from shifter.core.counts.evidence import Answer, PodReading, Reading, Series
from shifter.core.deciding.orders import OrderRequest, Verb
from shifter.core.deciding.pinning import Workload
from shifter.core.documents.fleet import ISTIO_EDGES_MS, Fleet
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.state import ShiftState
from shifter.errors import (
    MetricsUnavailableError,
    ProviderRefusedError,
    ProviderUnavailableError,
    StoreUnavailableError,
)
from shifter.ports import Change, LeaseFacts, Operation, OperationState, Progress, StoreFacts
from shifter.service.checkup.capacity import Examined
from shifter.service.checkup.datasources import MeshSource
from shifter.service.checkup.examination import Outside, Surroundings, examine
from shifter.service.checkup.findings import Finding, Group, Level
from shifter.service.checkup.gathering import Bounds
from shifter.service.checkup.machine import Machine
from shifter.service.checkup.store import FileDoor
from shifter.service.checkup.versions import Dependency, Versions
from shifter.service.policy_files import PolicyFolder
from shifter.wiring import store_absence
from tests.documents import policy_document
from tests.kube import Fault
from tests.scaled import ScaledGateway
from tests.service.outside import instants

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
AT = NOW.timestamp()
QUICK = Bounds(each_seconds=5.0, whole_seconds=8.0)
LEASE = LeaseFacts(held=True, pid="4711", since=NOW - timedelta(hours=1))
POLICY = policy_document(steps=[1, 100], analysis={"latency": {"maxMs": 500}})
DOMAIN = "clb/ap-guangzhou/lb-1"
ROUTE = "shop lb-1/lbl-1/shop.example.com/"
EDGES = ISTIO_EDGES_MS


def a_pod(
    pod: int = 0, *, age: float = 5, subject: str = "shop", code: str = "200", edges: Sequence[float] = EDGES
) -> PodReading:
    counters = {Series(subject, Answer(code)): 100.0 + pod}
    counters |= {Series(subject, edge_ms=float(edge)): 90.0 for edge in (*edges, float("inf"))}
    return PodReading(AT - age, AT - 1000 - pod, counters)


def a_past_pod(at: datetime, requests: float) -> PodReading:
    """What one pod had counted then."""
    return PodReading(at.timestamp() - 5, AT - 100_000, {Series("shop", Answer("200")): requests})


@dataclass
class Mesh:
    """Both ports of one datasource."""

    name: str
    pods: dict[str, PodReading]
    ahead: float = 0.0
    every: float | None = 15.0
    labels: dict[str, Sequence[str]] = field(default_factory=dict)
    trouble: Exception | None = None
    hangs: threading.Event | None = None
    read_at: list[datetime] = field(default_factory=list)
    pods_then: int = 2
    ticks_then: int = 1000
    per_tick: float = 10.0
    past_trouble: Exception | None = None

    def _reach(self) -> None:
        if self.hangs is not None:
            self.hangs.wait(30)
        if self.trouble is not None:
            raise self.trouble

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        self._reach()
        self.read_at.append(at)
        assert set(edges_ms) == set(EDGES)
        return Reading(AT, self.pods)

    def past(self, start: datetime, end: datetime, step: timedelta, edges_ms: Sequence[float]) -> list[Reading]:
        self._reach()
        assert edges_ms == ()
        if self.past_trouble is not None:
            raise self.past_trouble
        counted = itertools.count(step=self.per_tick)
        pods = range(self.pods_then)
        return [
            Reading(
                at.timestamp(),
                {f"{self.name}-{pod}": a_past_pod(at, so_far) for pod in pods},
            )
            for at, so_far in zip(instants(start, end, step)[-self.ticks_then :], counted, strict=False)
        ]

    def server_time(self) -> float:
        self._reach()
        return AT + self.ahead

    def scrape_seconds(self) -> float | None:
        self._reach()
        return self.every

    def values(self, metric: str, label: str, matchers: Mapping[str, str]) -> Sequence[str]:
        self._reach()
        assert metric
        assert isinstance(matchers, Mapping)
        if label not in self.labels:
            raise MetricsUnavailableError("nobody knows")
        return self.labels[label]


@dataclass
class Cloud:
    """The provider and its clock. Anything that would write ends the test."""

    members: tuple[Member, ...] = (
        Member("ins-1:30080", Side.SOURCE, 75, Health.ALIVE),
        Member("ins-2:31080", Side.TARGET, 25, Health.ALIVE),
    )
    view: dict[str, Any] = field(default_factory=dict)
    trouble: Exception | None = None
    status: Exception | None = field(
        default_factory=lambda: ProviderRefusedError("DescribeTaskStatus: InvalidParameter: no such task")
    )
    ahead: float = 0.0
    tolerance_seconds: float = 300.0
    clock_trouble: Exception | None = None
    hangs: threading.Event | None = None
    leaves_out: bool = False

    def observe(self, routes: Sequence[Route]) -> Mapping[str, RouteView]:
        if self.hangs is not None:
            self.hangs.wait(30)
        if self.trouble is not None:
            raise self.trouble
        if self.leaves_out:
            return {}
        return {route.id: RouteView(route, self.members, **self.view) for route in routes}

    def submit(self, changes: Sequence[Change]) -> Operation:
        raise AssertionError(f"a check-up wrote {changes}")

    def check(self, operation: Operation) -> OperationState:
        assert operation.id == "00000000-0000-0000-0000-000000000000"
        if self.status is not None:
            raise self.status
        return OperationState(Progress.DONE)

    def server_time(self) -> float:
        if self.hangs is not None:
            self.hangs.wait(30)
        if self.clock_trouble is not None:
            raise self.clock_trouble
        return AT + self.ahead


WRITTEN = ShiftState(
    name="shop",
    policy=ShiftPolicy.model_validate_json(json.dumps(POLICY)),
    since=NOW,
    share=25,
    weights={"lb-1/lbl-1/shop.example.com/": {"old": 75, "new": 25}},
)
"""What a service remembers that has brought the shift to where it is."""


class World:
    """An installation where all is well, until a test says otherwise."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.policies = directory / "policies"
        self.policies.mkdir()
        self.tcm = Mesh("tcm", {"old-1": a_pod()})
        self.istio = Mesh("istio", {"new-1": a_pod(1)})
        self.cloud = Cloud()
        self.gateway: Examined | None = None
        self.deployment: Callable[[str], Examined] | None = None
        self.target_gateway: Examined | None = None
        self.target_deployment: Callable[[str], Examined] | None = None
        self.store = MemoryStore()
        self.store.save(WRITTEN, 0)
        self.facts: StoreFacts | Exception = StoreFacts(1, 1, "0.1.0", "")
        self.lease = LEASE
        self.machine = Machine(
            mounts=lambda: "1 0 8:1 / / rw - ext4 /dev/sda rw\n", free_bytes=lambda _: 2**33, open_files=lambda: 4096
        )
        self.versions = Versions("3.11.7", ">=3.11", "0.1.0", "3.40.1", (Dependency("click", ">=8.3,<9", "8.5.1"),))
        self.path = directory / "shifter.db"
        self.path.write_bytes(b"not empty")
        self.path.chmod(0o600)
        for name in ("id", "key"):
            self.file(name)
        self.fleet: dict[str, Any] = {
            "apiVersion": "shifter.io/v1alpha1",
            "kind": "Fleet",
            "metadata": {"name": "lab"},
            "spec": {
                "datasources": {side: self._datasource(side) for side in ("source", "target")},
                "provider": {
                    "tencent": {"secretIdFile": str(directory / "id"), "secretKeyFile": str(directory / "key")}
                },
            },
        }
        self.policy: Any = POLICY

    def file(self, name: str, mode: int = 0o600, text: str = "word") -> Path:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def examine(self, *, offline: bool = False, others: Bounds = QUICK) -> tuple[Finding, ...]:
        (self.directory / "fleet.yaml").write_text(json.dumps(self.fleet), encoding="utf-8")
        (self.policies / "shop.yaml").write_text(json.dumps(self.policy), encoding="utf-8")
        around = Surroundings(
            fleet=self.directory / "fleet.yaml",
            policies=self.policies,
            store=FileDoor(self.path, store_absence, self._facts, lambda _: self.lease, lambda _: self.store),
            folder_for=lambda fleet: PolicyFolder(self.policies, fleet),
            outside=self._outside,
            machine=self.machine,
            now=lambda: NOW,
            monotonic=time.monotonic,
            versions=lambda: self.versions,
        )
        return examine(around, offline=offline, others=others)

    def only(self, group: Group, subject: str) -> Finding:
        """Return the worst finding about a subject."""
        found = [each for each in self.examine() if (each.group, each.subject) == (group, subject)]
        assert found, f"nothing about {subject}"
        return min(found, key=lambda each: list(Level).index(each.level) if each.level is Level.OK else -1)

    def _facts(self, _: Path) -> StoreFacts:
        if isinstance(self.facts, Exception):
            raise self.facts
        return self.facts

    def _outside(self, fleet: Fleet) -> Outside:
        sources = fleet.spec.datasources
        pairs = (("source", sources.source, self.tcm), ("target", sources.target, self.istio))
        meshes = tuple(MeshSource(mesh.name, key, settings, mesh, mesh) for key, settings, mesh in pairs)
        clusters = (self.gateway, self.deployment, self.target_gateway, self.target_deployment)
        return Outside(meshes, self.cloud, self.cloud, "allow writes to this key", *clusters)

    @staticmethod
    def _datasource(side: str) -> dict[str, Any]:
        return {"url": f"http://{side}.invalid", "matchers": {"app": side}, "podMatchers": {"app": side}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def forever() -> Iterator[threading.Event]:
    """What hangs waits for this."""
    event = threading.Event()
    yield event
    event.set()


Edit = Callable[[World], None]


def test_an_installation_where_all_is_well_has_no_finding_but_ok_and_what_cannot_be_tried(world: World) -> None:
    found = world.examine()

    assert [each for each in found if each.level is not Level.OK and not each.untried] == []
    assert [each.subject for each in found if each.untried] == ["writes"]
    assert {each.group for each in found} == set(Group)


def test_every_finding_that_is_not_ok_has_its_fix(world: World) -> None:
    world.tcm.trouble = world.istio.trouble = MetricsUnavailableError("refused")
    world.cloud.trouble = world.cloud.clock_trouble = ProviderUnavailableError("refused")
    world.lease = LeaseFacts(held=None)
    found = world.examine()

    assert [each for each in found if each.level is not Level.OK and not each.fix] == []


# --- configuration


def test_every_problem_of_the_files_is_a_finding_with_its_place(world: World) -> None:
    world.policy = json.loads(json.dumps(POLICY).replace('"soak"', '"sorak"').replace("shop.example.com", ""))
    found = [each for each in world.examine() if each.level is Level.PROBLEM]

    assert {each.group for each in found} == {Group.CONFIG}
    for place in ("spec.sorak unknown key", "spec.traffic.clb.routes.0.domain"):
        assert [each for each in found if place in each.text], place
    assert all("shop.yaml" in each.fix and "shifter policy lint" in each.fix for each in found)


def test_a_fleet_that_cannot_be_used_leaves_everybody_unasked_and_says_so(world: World) -> None:
    del world.fleet["spec"]["provider"]
    found = world.examine()

    assert [each.group for each in found if each.level is Level.PROBLEM] == [Group.CONFIG]
    assert [each.text for each in found if each.untried] == ["not asked: the fleet file cannot be used"] * 4
    assert world.tcm.read_at == []


def test_a_folder_without_policies_is_a_problem_and_the_datasources_are_looked_at_all_the_same(world: World) -> None:
    world.policy = world.fleet
    found = world.examine()

    assert "holds no policy, only a Fleet" in next(each.text for each in found if each.level is Level.PROBLEM)


@pytest.mark.parametrize(("seconds", "fixes"), [(59, []), (61, ["nobody is there to obey"])])
def test_an_order_that_nobody_is_there_to_obey_is_told_after_a_minute(
    world: World, seconds: float, fixes: list[str]
) -> None:
    world.lease = LeaseFacts(held=False)
    world.store.create_order(OrderRequest("shop", Verb.PAUSE, "ann", "wait"), NOW - timedelta(seconds=seconds))
    found = [each for each in world.examine() if each.subject == "orders"]

    assert [each.fix.partition(":")[0] for each in found] == fixes
    assert {each.level for each in found} <= {Level.PROBLEM}


def test_a_shift_that_no_policy_names_is_told(world: World) -> None:
    world.store.save(WRITTEN.model_copy(update={"name": "pay"}), 0)

    assert world.only(Group.STORE, "policies").text.startswith("no policy names pay: it holds where it is")


def test_mode_observe_is_said_loudly(world: World) -> None:
    world.fleet["spec"]["mode"] = "observe"
    mode = world.only(Group.CONFIG, "mode")

    assert (mode.level, "OBSERVE" in mode.text, "spec.mode: act" in mode.fix) == (Level.WARNING, True, True)
    assert world.only(Group.PROVIDER, "writes").level is Level.OK


# --- the source's cluster


def with_cluster(world: World, ready: int = 1, floor: int | None = 1) -> ScaledGateway:
    """Name a cluster in the fleet file, in which tcm's gateway runs, and a Deployment in the policy."""
    gateway = ScaledGateway(ready, floor)
    place = {"namespace": gateway.namespace, "deployment": gateway.name}
    world.fleet["spec"]["clusters"] = {"source": {"gateway": place}}
    world.policy["spec"]["wayBack"] = {"deployments": ["shop/checkout"]}
    world.gateway, world.deployment = gateway.workload(), lambda _: ScaledGateway(3, None).workload()
    return gateway


def test_what_runs_in_tcms_cluster_is_told(world: World) -> None:
    with_cluster(world)

    assert [(each.subject, each.level, each.text) for each in world.examine() if each.group is Group.CLUSTER] == [
        ("tcm shop/checkout", Level.OK, "3 replicas ready, no autoscaler"),
        ("tcm gateway", Level.OK, "1 replicas ready, its autoscaler keeps at least 1"),
    ]


def test_of_istios_cluster_it_is_told_what_is_not_ready_and_nothing_is_asked_of_its_rights(world: World) -> None:
    with_cluster(world)
    gateway, checkout = ScaledGateway(1, 3), ScaledGateway(0, None)
    gateway.api.fail(Fault.DENIED, "replace", "create", times=None)
    world.target_gateway, world.target_deployment = gateway.workload(), lambda _: checkout.workload()
    found = [each for each in world.examine() if each.group is Group.CLUSTER and each.level is not Level.OK]

    assert [(each.subject, each.level, each.text) for each in found] == [
        ("istio shop/checkout", Level.PROBLEM, "no replica is ready: no shift begins"),
        ("istio gateway", Level.WARNING, "1 replicas ready, its autoscaler keeps at least 3"),
    ]


def test_a_gateway_of_more_replicas_than_the_metrics_show_pods_may_be_another_clusters(world: World) -> None:
    with_cluster(world, ready=4)
    (_, found) = [each for each in world.examine() if each.subject == "tcm gateway"]

    assert (found.level, found.text) == (
        Level.WARNING,
        "4 replicas are ready, and tcm's metrics show 1 pods of the gateway",
    )
    assert "set gateway.uid" in found.fix


def test_where_the_metrics_do_not_answer_nothing_is_compared(world: World) -> None:
    with_cluster(world, ready=4)
    world.tcm.trouble = MetricsUnavailableError("refused")

    assert [each.level for each in world.examine() if each.subject == "tcm gateway"] == [Level.OK]


def test_a_gateway_without_a_ready_replica_begins_nothing(world: World) -> None:
    with_cluster(world, ready=0)
    found = world.only(Group.CLUSTER, "tcm gateway")

    assert (found.level, found.text) == (Level.PROBLEM, "no replica is ready: no shift begins")


def test_an_autoscaler_that_may_not_be_changed_is_found_before_the_first_step(world: World) -> None:
    with_cluster(world).api.fail(Fault.DENIED, "replace", times=None)
    found = world.only(Group.CLUSTER, "tcm gateway")

    assert (found.level, found.text) == (
        Level.PROBLEM,
        "may not update horizontalpodautoscalers.autoscaling istio-system/istio-ingressgateway",
    )


def test_a_cluster_that_does_not_answer_is_told_with_what_mends_it(world: World) -> None:
    with_cluster(world).api.fail(Fault.DENIED, "get", times=None)
    found = world.only(Group.CLUSTER, "tcm gateway")

    assert (found.level, found.unreachable) == (Level.UNKNOWN, True)
    assert found.text.startswith("tcm's cluster refuses to get deployments.apps istio-system/istio-ingressgateway")
    assert "resources: [deployments], verbs: [get]" in found.fix


def test_a_bug_in_asking_the_cluster_is_told_as_one(world: World) -> None:
    class Odd(KubeWorkload):
        def observe(self) -> Workload:
            raise KeyError("status")

    gateway = with_cluster(world)
    world.gateway = Odd(Connection(lambda: gateway.api, "tcm"), Scaled(gateway.namespace, gateway.name))
    found = world.only(Group.CLUSTER, "tcm gateway")

    assert (found.level, found.fix) == (Level.UNKNOWN, "report it with `shifter bundle`")


def test_a_kubeconfig_that_everybody_may_read_is_a_problem(world: World) -> None:
    with_cluster(world)
    file = world.directory / "tcm.yaml"
    file.write_text("apiVersion: v1", encoding="utf-8")
    file.chmod(0o644)
    world.fleet["spec"]["clusters"]["source"]["kubeconfigFile"] = str(file)

    assert "everybody on this machine may use it" in world.only(Group.PERMISSIONS, "kubeconfigFile").text


# --- nobody is waited for


def test_offline_asks_nobody_and_says_so(world: World) -> None:
    world.cloud.trouble = world.cloud.clock_trouble = AssertionError("was asked")
    found = world.examine(offline=True)

    assert [(each.group, each.text) for each in found if each.untried] == [
        (group, "--offline: nobody was asked")
        for group in (Group.CLOCKS, Group.DATASOURCES, Group.PROVIDER, Group.CLUSTER)
    ]
    assert world.tcm.read_at == []


def test_when_everybody_hangs_it_ends_in_time_and_says_who(world: World, forever: threading.Event) -> None:
    world.tcm.hangs = world.istio.hangs = world.cloud.hangs = forever
    began = time.monotonic()
    found = world.examine(others=Bounds(each_seconds=0.3, whole_seconds=0.5))

    assert time.monotonic() - began < 3
    silent = {each.subject for each in found if each.unreachable}
    assert silent == {"tcm Prometheus", "istio Prometheus", "provider", "tcm", "istio", DOMAIN}
    assert {each.level for each in found if each.unreachable} == {Level.UNKNOWN}


def test_who_hangs_does_not_keep_the_others_from_being_looked_at(world: World, forever: threading.Event) -> None:
    world.tcm.hangs = forever
    found = world.examine(others=Bounds(each_seconds=0.3, whole_seconds=5))

    assert {each.subject for each in found if each.unreachable} == {"tcm Prometheus", "tcm"}
    assert [each.level for each in found if each.subject == ROUTE] == [Level.OK]


def test_a_bug_in_a_check_is_an_unknown_finding_and_no_traceback(world: World) -> None:
    world.cloud.trouble = KeyError("odd")
    world.tcm.trouble = ZeroDivisionError("odd")
    found = world.examine()

    told = {each.subject: each for each in found if "the check itself failed" in each.text}
    assert {"tcm", DOMAIN} <= told.keys()
    assert told[DOMAIN].text == "the check itself failed: KeyError: 'odd'"
    assert told[DOMAIN].fix == "report it with `shifter bundle`"


# --- clocks


@pytest.mark.parametrize(
    ("ahead", "level"),
    [
        (0.9, Level.OK),
        (-3, Level.OK),
        (5, Level.WARNING),
        (-14, Level.WARNING),
        (16, Level.PROBLEM),
        (-60, Level.PROBLEM),
    ],
)
def test_a_prometheus_clock_may_be_off_by_less_than_a_quarter_of_a_tick(
    world: World, ahead: float, level: Level
) -> None:
    world.tcm.ahead = ahead
    found = world.only(Group.CLOCKS, "tcm Prometheus")

    assert found.level is level
    assert f"{abs(ahead):.1f} s {'ahead' if ahead > 0 else 'behind'}" in found.text


@pytest.mark.parametrize(("ahead", "level"), [(9, Level.OK), (-60, Level.WARNING), (151, Level.PROBLEM)])
def test_the_providers_clock_may_be_off_by_half_of_what_it_refuses(world: World, ahead: float, level: Level) -> None:
    world.cloud.ahead = ahead
    found = world.only(Group.CLOCKS, "provider")

    assert found.level is level
    assert (level is Level.OK) != ("of 300 s it refuses every call" in found.text)


def test_a_provider_that_tolerates_less_is_told_of_sooner(world: World) -> None:
    world.cloud.ahead, world.cloud.tolerance_seconds = 31, 60

    assert world.only(Group.CLOCKS, "provider").level is Level.PROBLEM


def test_a_clock_that_does_not_answer_is_told_with_the_remedy_that_came_along(world: World) -> None:
    world.cloud.clock_trouble = ProviderUnavailableError("connection refused", remedy="curl it")
    found = world.only(Group.CLOCKS, "provider")

    assert (found.level, found.text, found.fix) == (Level.UNKNOWN, "connection refused", "curl it")


def test_two_prometheus_that_disagree_are_told_even_if_each_is_near_ours(world: World) -> None:
    world.tcm.ahead, world.istio.ahead = 3, -3
    found = world.examine()

    levels = {each.subject: each.level for each in found if each.group is Group.CLOCKS}
    assert levels == {
        "tcm Prometheus": Level.OK,
        "istio Prometheus": Level.OK,
        "provider": Level.OK,
        "tcm and istio Prometheus": Level.WARNING,
    }


def test_a_wrong_clock_of_ours_does_not_hide_the_pods(world: World) -> None:
    world.tcm.ahead = 3600
    world.examine()

    assert world.tcm.read_at == [NOW + timedelta(hours=1)]


# --- datasources


@pytest.mark.parametrize(
    ("remedy", "level", "fix"),
    [
        ("", Level.UNKNOWN, "curl -s 'http://source.invalid/-/ready'"),
        ("give it a token: bearerTokenFile", Level.PROBLEM, "a token: bearerTokenFile (in spec.datasources.source)"),
    ],
)
def test_a_datasource_that_does_not_answer_is_told_with_what_would_help(
    world: World, remedy: str, level: Level, fix: str
) -> None:
    world.tcm.trouble = MetricsUnavailableError("answered HTTP 401: no", remedy=remedy)
    found = world.only(Group.DATASOURCES, "tcm")

    assert (found.level, found.unreachable) == (level, level is Level.UNKNOWN)
    assert found.text == "answered HTTP 401: no"
    assert fix in found.fix


def test_no_pods_is_a_problem_and_the_labels_that_exist_are_suggested(world: World) -> None:
    world.tcm.pods, world.tcm.labels = {}, {"app": ["istio-ingressgateway", "other"]}
    found = world.only(Group.DATASOURCES, "tcm pods")

    assert found.level is Level.PROBLEM
    assert found.text == 'no series of envoy_server_uptime with {app="source"} in the last 5 minutes'
    assert found.fix == ("edit spec.datasources.source.podMatchers; what there is: app is istio-ingressgateway, other")


def test_no_pods_and_no_such_metric_at_all_is_told_apart(world: World) -> None:
    world.istio.pods = {}

    assert "there is no series of envoy_server_uptime at all" in world.only(Group.DATASOURCES, "istio pods").fix


@pytest.mark.parametrize(("ages", "level"), [((5, 40), Level.OK), ((5, 46), Level.WARNING), ((46, 200), Level.PROBLEM)])
def test_samples_older_than_sample_max_age_are_told(world: World, ages: Sequence[float], level: Level) -> None:
    world.tcm.pods = {f"p{index}": a_pod(age=age) for index, age in enumerate(ages)}
    found = world.only(Group.DATASOURCES, "tcm samples")

    assert found.level is level
    assert f"the newest is {ages[0]} s old, sampleMaxAge is 45 s" in found.text


@pytest.mark.parametrize(
    ("every", "level"),
    [
        (15.0, Level.OK),
        (15.8, Level.OK),
        (None, Level.UNKNOWN),
        (20.0, Level.WARNING),
        (30.0, Level.WARNING),
        (60.0, Level.PROBLEM),
    ],
)
def test_scrapes_rarer_than_ticks_are_told(world: World, every: float | None, level: Level) -> None:
    world.tcm.every = every

    assert world.only(Group.DATASOURCES, "tcm scrapes").level is level


def test_a_tcm_gateway_without_request_series_is_a_problem_and_istios_is_normal_at_first(world: World) -> None:
    for mesh in (world.tcm, world.istio):
        mesh.pods = {"p": PodReading(AT - 5, AT - 100, {})}
    world.tcm.labels = {"app": ["gateway"]}

    tcm, istio = (world.only(Group.DATASOURCES, f"{name} requests") for name in ("tcm", "istio"))
    assert (tcm.level, tcm.fix) == (
        Level.PROBLEM,
        "edit spec.datasources.source.matchers; what there is: app is gateway",
    )
    assert (istio.level, istio.fix) == (Level.WARNING, "normal before its first request")


def test_series_without_code_or_owner_are_a_problem(world: World) -> None:
    world.tcm.pods, world.istio.pods = {"p": a_pod(code="")}, {"q": a_pod(subject="")}

    assert "no error would ever be seen" in world.only(Group.DATASOURCES, "tcm requests").text
    assert world.only(Group.DATASOURCES, "istio requests").fix.startswith("edit spec.datasources.target.labels.service")


def test_a_namespace_that_neither_side_counts_is_a_warning_with_those_that_are(world: World) -> None:
    world.tcm.pods, world.istio.pods = {"p": a_pod(subject="cart")}, {"q": a_pod(subject="pay")}
    found = world.only(Group.DATASOURCES, "namespace shop")

    assert found.level is Level.WARNING
    assert found.text == "neither side counts a request of it (shop); counted are: cart, pay"


def test_missing_latency_buckets_are_a_problem_with_those_there_are(world: World) -> None:
    there = [edge for edge in EDGES if edge not in {100, 250}]
    world.tcm.pods, world.tcm.labels = {"p": a_pod(edges=there)}, {"le": ["25", "50"]}
    found = world.only(Group.DATASOURCES, "tcm latency")

    assert found.level is Level.PROBLEM
    assert found.text.endswith("has no bucket 100, 250; there are le 25, 50")
    assert "spec.datasources.source.edgesMs" in found.fix


def test_the_same_pods_on_both_sides_are_a_problem(world: World) -> None:
    world.istio.pods = world.tcm.pods

    assert world.only(Group.DATASOURCES, "both").text == "both sides count the same pods: old-1"


# --- provider


@pytest.mark.parametrize(("remedy", "fix"), [("renew the key", "renew the key"), ("", "look the code up")])
def test_a_refusal_is_a_problem_with_the_remedy_that_came_along(world: World, remedy: str, fix: str) -> None:
    world.cloud.trouble = ProviderRefusedError("DescribeTargets: no", remedy=remedy)
    found = world.only(Group.PROVIDER, DOMAIN)

    assert (found.level, found.text, found.unreachable) == (Level.PROBLEM, "DescribeTargets: no", False)
    assert fix in found.fix


@pytest.mark.parametrize(("remedy", "fix"), [("ask less", "ask less"), ("", "reaches the provider")])
def test_a_provider_that_does_not_answer_is_unknown(world: World, remedy: str, fix: str) -> None:
    world.cloud.trouble = ProviderUnavailableError("nobody", remedy=remedy)
    found = world.only(Group.PROVIDER, DOMAIN)

    assert (found.level, found.unreachable) == (Level.UNKNOWN, True)
    assert fix in found.fix


def test_asking_for_an_operation_of_nobodys_tells_whether_it_may_be_asked(world: World) -> None:
    assert world.only(Group.PROVIDER, "operations").text.endswith("an operation that does not exist was not found")
    world.cloud.status = None
    assert world.only(Group.PROVIDER, "operations").level is Level.OK
    world.cloud.status = ProviderRefusedError("no", remedy="allow it to this key")
    denied = world.only(Group.PROVIDER, "operations")
    assert (denied.level, denied.fix) == (Level.PROBLEM, "allow it to this key")
    world.cloud.status = ProviderUnavailableError("nobody")
    assert world.only(Group.PROVIDER, "operations").level is Level.UNKNOWN


def test_wrong_keys_are_told_once_per_domain_and_not_for_operations_as_well(world: World) -> None:
    world.cloud.trouble = world.cloud.status = ProviderRefusedError("no", remedy="write the keys again")
    found = [each.subject for each in world.examine() if each.fix == "write the keys again"]

    assert found == [DOMAIN]


def test_that_writes_are_allowed_is_known_only_from_one_that_was_carried_out(world: World) -> None:
    found = world.only(Group.PROVIDER, "writes")

    assert (found.level, found.untried) == (Level.UNKNOWN, True)
    assert found.fix == "allow writes to this key"


def test_a_route_is_told_with_members_share_and_lag(world: World) -> None:
    world.cloud.view = {"settle_seconds": 30.0, "warnings": ("session persistence: 30 s",)}
    found = [each for each in world.examine() if each.subject == ROUTE]

    members = "tcm 1/1 healthy, weights 75; istio 1/1 healthy, weights 25"
    assert [(each.level, each.text) for each in found] == [
        (Level.OK, f"tcm 75 · istio 25; {members}; lags up to 30 s behind new weights"),
        (Level.WARNING, "session persistence: 30 s"),
    ]


@pytest.mark.parametrize(
    ("weights", "fix"),
    [
        ((75, 25), "give istio's members weight 0 in the CLB, or once it runs: shifter reconcile shop --restore"),
        ((0, 100), "are source and target swapped in the policy? else there is nothing to shift"),
    ],
)
def test_traffic_that_shifter_never_sent_to_istio_is_a_problem_before_the_first_step(
    world: World, weights: tuple[int, int], fix: str
) -> None:
    world.store = MemoryStore()
    world.cloud.members = tuple(
        replace(member, weight=weight) for member, weight in zip(world.cloud.members, weights, strict=True)
    )
    (found,) = [each for each in world.examine() if each.subject == ROUTE and each.level is Level.PROBLEM]

    assert "though shifter has never written it: its shift would hold" in found.text
    assert found.fix == fix


def test_a_refused_route_and_dead_members_are_problems(world: World) -> None:
    world.cloud.view = {"refusal": "lb-1 is managed by TKE"}
    world.cloud.members = tuple(replace(each, health=Health.DEAD) for each in world.cloud.members)
    found = [each for each in world.examine() if each.subject == ROUTE and each.level is Level.PROBLEM]

    assert [each.text for each in found] == [
        "lb-1 is managed by TKE",
        "tcm has no healthy member: there is no way back",
        "istio has no healthy member: no step can be taken",
    ]


def test_a_route_left_out_of_the_answer_is_unknown(world: World) -> None:
    world.cloud.leaves_out = True

    assert world.only(Group.PROVIDER, ROUTE).text == "the provider answered without it"


# --- the store and who serves it


@pytest.mark.parametrize(
    ("lease", "level", "said"),
    [
        (LEASE, Level.OK, "pid 4711 since 2026-11-20 11:00:00 UTC"),
        (LeaseFacts(held=True), Level.OK, "pid unknown"),
        (LeaseFacts(held=False), Level.WARNING, "none runs on this store"),
        (LeaseFacts(held=None), Level.UNKNOWN, "whether a service runs cannot be told"),
    ],
)
def test_who_serves_the_store_is_told(world: World, lease: LeaseFacts, level: Level, said: str) -> None:
    world.lease = lease
    found = world.only(Group.STORE, "service")

    assert found.level is level
    assert said in found.text


@pytest.mark.parametrize(
    ("facts", "subject", "level", "said"),
    [
        (StoreFacts(9, 1, "9.0", ""), "schema", Level.PROBLEM, "schema version 9, written by shifter 9.0"),
        (StoreFacts(1, 1, "", "page 3 is never used"), "soundness", Level.PROBLEM, "is damaged: page 3"),
        (StoreFacts(1, 1, "", None), "soundness", Level.UNKNOWN, "too large"),
        (StoreUnavailableError("file is not a database"), "store", Level.PROBLEM, "file is not a database"),
        (KeyError("odd"), "store", Level.UNKNOWN, "the check itself failed"),
    ],
)
def test_what_the_file_says_of_itself_is_told(
    world: World, facts: StoreFacts | Exception, subject: str, level: Level, said: str
) -> None:
    world.facts = facts
    found = world.only(Group.STORE, subject)

    assert found.level is level
    assert said in found.text


def test_no_store_is_a_warning(world: World) -> None:
    world.path.unlink()

    found = world.only(Group.STORE, "store")

    assert found.level is Level.WARNING
    assert found.text == f"there is no store at {world.path}; `shifter run` makes one"


# --- what there is to learn from


def test_a_source_that_is_remembered_and_has_two_pods_can_be_learnt_at_once(world: World) -> None:
    assert world.only(Group.DATASOURCES, "tcm history of shop").text == "240 ticks and 4800 requests in the last 1h"
    assert world.only(Group.DATASOURCES, "tcm dispersion").text == "can be measured: its 2 gateway pods are compared"


@pytest.mark.parametrize(("ticks", "per_tick", "said"), [(6, 10, "5 ticks and 100"), (20, 1, "19 ticks and 38")])
def test_a_history_that_is_too_short_is_told_with_what_is_needed(
    world: World, ticks: int, per_tick: float, said: str
) -> None:
    world.tcm.ticks_then, world.tcm.per_tick = ticks, per_tick
    found = world.only(Group.DATASOURCES, "tcm history of shop")

    assert found.level is Level.WARNING
    assert found.text == f"{said} requests in the last 1h, 8 ticks and 100 requests are needed"
    assert "wait: the first step comes with 8 ticks and 100 requests, or with 240 ticks of any traffic" in found.fix


def test_a_whole_history_of_hardly_any_traffic_is_enough(world: World) -> None:
    world.tcm.per_tick = 0.1

    assert world.only(Group.DATASOURCES, "tcm history of shop").level is Level.OK


def test_one_source_pod_is_told_with_the_default_that_is_taken_instead(world: World) -> None:
    world.tcm.pods_then = 1
    found = world.only(Group.DATASOURCES, "tcm dispersion")

    assert found.level is Level.WARNING
    assert "cannot be measured, 2 is assumed (spec.learning.onePodDispersion)" in found.text


def test_a_past_that_cannot_be_read_is_a_warning_and_nobody_else_is_unknown(world: World) -> None:
    world.tcm.past_trouble = MetricsUnavailableError("answered HTTP 404")
    found = world.only(Group.DATASOURCES, "tcm history")

    assert (found.level, found.text) == (Level.WARNING, "its past cannot be read: answered HTTP 404")
    assert "let it answer /api/v1/query_range" in found.fix


@pytest.mark.parametrize(
    ("labels", "warned"),
    [
        ({"response_flags": ()}, ["istio label response_flags", "tcm label response_flags"]),
        ({"response_flags": ("-", "DC")}, []),
        (
            {"request_protocol": ("grpc", "http"), "grpc_response_status": ()},
            ["istio label grpc_response_status", "tcm label grpc_response_status"],
        ),
        ({"request_protocol": ("http",), "grpc_response_status": ()}, []),
        ({"request_protocol": ("grpc",), "grpc_response_status": ("0", "14")}, []),
    ],
)
def test_a_label_without_which_answers_look_alike_is_missed_only_where_it_matters(
    world: World, labels: dict[str, Sequence[str]], warned: list[str]
) -> None:
    world.tcm.labels = world.istio.labels = labels
    found = [each for each in world.examine() if each.level is Level.WARNING]

    assert sorted(each.subject for each in found) == warned
    assert all("no series has it: " in each.text and "labels." in each.fix for each in found)


@pytest.mark.parametrize(("age", "level"), [(10.0, Level.OK), (13.0, Level.WARNING)])
def test_sides_that_are_sampled_far_apart_are_told(world: World, age: float, level: Level) -> None:
    world.istio.pods = {"new-1": a_pod(1, age=age)}
    found = world.only(Group.DATASOURCES, "both samples")

    assert found.level is level
    assert found.text.startswith(f"the newest of the two sides are {age - 5:.0f} s apart")
    assert ("believed after two ticks" in found.text) is (level is Level.WARNING)
