"""The lab's data plane with its real programs: what is set is what users and Prometheus see."""

import contextlib
import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from shifter.lab.dataplane import DataPlane, DataPlaneSpec
from shifter.lab.load_report import LoadReport
from shifter.lab.tools import Tools, find_tools
from shifter.lab.topology import Namespace

# Each test that counts has a namespace to itself, so that all can share one data plane.
NAMESPACES = [
    Namespace(name)
    for name in (
        "split",
        "counted",
        "dead",
        "gone",
        "broken",
        "slow",
        "empty",
        "impatient",
        "moved",
        "twice",
        "restarted",
        "frozen",
        "quiet",
    )
] + [Namespace("twofold", ("a.example.com", "b.example.com"))]
GATEWAYS = 'reporter="source",source_workload="istio-ingressgateway",source_workload_namespace="istio-system"'
ISTIO_EDGES = "0.5 1 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 300000 600000 1800000 3600000 +Inf"
LOOPBACK_HEX = "0100007F"


@pytest.fixture(scope="module")
def tools() -> Tools:
    return find_tools(os.environ)


@pytest.fixture(scope="module")
def lab(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    spec = DataPlaneSpec(tmp_path_factory.mktemp("lab"), NAMESPACES, scrape_interval_seconds=0.5)
    with DataPlane(spec, tools, os.environ) as running:
        yield running


def ask(port: int, host: str, timeout_seconds: float = 5) -> tuple[int, str | None]:
    """One request as a user sends it: the status, and which mesh answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.getheader("x-mesh")


def query(lab: DataPlane, mesh: str, expression: str) -> list[tuple[dict[str, str], float]]:
    url = f"{lab.prometheus_url(mesh)}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the lab's own http URL
        answer = json.load(response)
    return [(sample["metric"], float(sample["value"][1])) for sample in answer["data"]["result"]]


def total(lab: DataPlane, mesh: str, matchers: str) -> float:
    return sum(value for _, value in query(lab, mesh, f"istio_requests_total{{{matchers}}}"))


def measured_is(lab: DataPlane, mesh: str, matchers: str, wanted: float) -> bool:
    return total(lab, mesh, matchers) == wanted


def eventually(holds: Callable[[], bool], timeout_seconds: float = 8) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def answered_by(lab: DataPlane, host: str) -> set[tuple[int, str | None]]:
    return {ask(lab.front_port, host) for _ in range(12)}


def weights(lab: DataPlane, *, tcm: int, istio: int) -> dict[int, int]:
    return {gateway.port: {"tcm": tcm, "istio": istio}[gateway.mesh] for gateway in lab.gateways}


def send(lab: DataPlane, namespace: str, requests: int, per_second: float = 500) -> LoadReport:
    """Let the load generator send exactly so many requests, and return what users saw."""
    lab.start_load({namespace: per_second}, requests_max=requests)
    assert lab.process("load").wait(timeout_seconds=20) == 0
    return lab.load_report()


def test_every_user_reaches_the_source_mesh_before_weights_are_set(lab: DataPlane) -> None:
    answers = answered_by(lab, "quiet.example.com")

    assert answers == {(200, "tcm")}


def test_split_is_exactly_weight_times_number_of_targets(lab: DataPlane) -> None:
    lab.set_weights("split", weights(lab, tcm=95, istio=10))

    seen = send(lab, "split", requests=880).namespaces["split"]

    # 2 * 95 to 3 * 10 is 190 : 30, so 880 requests are 760 : 120, give or take where the rotation began.
    assert seen.by_mesh["istio"] == pytest.approx(120, abs=5)
    assert seen.by_mesh["tcm"] + seen.by_mesh["istio"] == seen.total == seen.ok == 880


def test_prometheus_counts_what_users_saw(lab: DataPlane) -> None:
    lab.set_weights("counted", weights(lab, tcm=10, istio=10))

    seen = send(lab, "counted", requests=500).namespaces["counted"]

    matchers = f'{GATEWAYS},destination_service_namespace="counted",response_code="200"'
    assert seen.total == 500
    for mesh in ("tcm", "istio"):
        assert eventually(partial(measured_is, lab, mesh, matchers, seen.by_mesh[mesh]))


def test_series_carry_istios_labels_and_the_pod(lab: DataPlane) -> None:
    ask(lab.gateways[-1].port, "quiet.example.com")
    matchers = f'{GATEWAYS},destination_service_namespace="quiet",pod="istio-ingressgateway-2"'
    assert eventually(lambda: total(lab, "istio", matchers) >= 1)

    [(labels, _)] = query(lab, "istio", f"istio_requests_total{{{matchers}}}")

    assert labels["destination_service"] == "quiet.quiet.svc.cluster.local"
    assert labels["destination_service_name"] == "quiet"
    assert labels["namespace"] == "istio-system"
    assert labels["source_cluster"] == "istio"
    assert (labels["response_code"], labels["response_flags"]) == ("200", "-")


def test_no_healthy_upstream_is_503_uh_of_an_unknown_destination(lab: DataPlane) -> None:
    lab.set_weights("dead", weights(lab, tcm=0, istio=10))
    lab.kill_namespace("istio", "dead")
    assert eventually(lambda: answered_by(lab, "dead.example.com") == {(503, "istio")})

    matchers = f'{GATEWAYS},response_code="503",response_flags="UH"'
    assert eventually(lambda: total(lab, "istio", matchers) >= 12)
    [labels, *_] = [labels for labels, _ in query(lab, "istio", f"istio_requests_total{{{matchers}}}")]
    lab.revive_namespace("istio", "dead")

    assert {labels["destination_service"], labels["destination_service_namespace"]} == {"unknown"}
    assert eventually(lambda: answered_by(lab, "dead.example.com") == {(200, "istio")})


def test_a_restarted_gateway_knows_what_the_other_pods_know(lab: DataPlane) -> None:
    pod = lab.gateways[-1]
    lab.kill_namespace("istio", "restarted")
    lab.lose_route("istio", "restarted")

    lab.process(pod.pod).kill()
    lab.start_gateway(pod.pod)
    while_unrouted = ask(pod.port, "restarted.example.com")
    lab.mend("istio", "restarted")
    while_dead = ask(pod.port, "restarted.example.com")
    lab.revive_namespace("istio", "restarted")

    assert (while_unrouted, while_dead) == ((404, "istio"), (503, "istio"))
    assert ask(pod.port, "restarted.example.com") == (200, "istio")


def test_a_missing_route_is_404_nr_of_an_unknown_destination(lab: DataPlane) -> None:
    lab.lose_route("tcm", "gone")
    answers = answered_by(lab, "gone.example.com")

    matchers = f'{GATEWAYS},response_code="404",response_flags="NR",destination_service_namespace="unknown"'
    assert eventually(lambda: total(lab, "tcm", matchers) >= 12)
    lab.mend("tcm", "gone")

    assert answers == {(404, "tcm")}
    assert answered_by(lab, "gone.example.com") == {(200, "tcm")}


def test_a_client_that_leaves_has_response_code_0(lab: DataPlane) -> None:
    lab.slow_namespace("tcm", "impatient", delay_seconds=3)

    with pytest.raises(TimeoutError):
        ask(lab.front_port, "impatient.example.com", timeout_seconds=0.2)

    matchers = f'{GATEWAYS},destination_service_namespace="impatient",response_code="0",response_flags="DC"'
    assert eventually(lambda: total(lab, "tcm", matchers) == 1)


def test_a_fault_fails_requests_on_the_broken_mesh_only(lab: DataPlane) -> None:
    lab.set_weights("broken", weights(lab, tcm=30, istio=20))
    lab.break_namespace("istio", "broken", abort_percent=50, status=500)

    seen = send(lab, "broken", requests=600).namespaces["broken"]
    lab.mend("istio", "broken")

    bad = f'{GATEWAYS},destination_service_namespace="broken",response_code="500"'
    assert set(seen.failed_by_cause) == {"500"}
    assert seen.failed == pytest.approx(150, abs=50)  # half of istio's 300; five standard deviations
    assert eventually(lambda: total(lab, "istio", bad) == seen.failed)
    assert total(lab, "tcm", bad) == 0
    assert answered_by(lab, "broken.example.com") == {(200, "tcm"), (200, "istio")}


def test_a_fault_percentage_may_be_a_fraction(lab: DataPlane) -> None:
    lab.break_namespace("tcm", "broken", abort_percent=99.99)

    statuses = [ask(lab.gateways[0].port, "broken.example.com")[0] for _ in range(20)]
    lab.mend("tcm", "broken")

    assert statuses.count(503) >= 18


def test_slowness_is_in_istios_buckets(lab: DataPlane) -> None:
    lab.slow_namespace("tcm", "slow", delay_seconds=0.3)

    seen = send(lab, "slow", requests=20).namespaces["slow"]

    series = f'istio_request_duration_milliseconds_bucket{{{GATEWAYS},destination_service_namespace="slow"}}'

    def counts() -> dict[str, float]:
        return {labels["le"]: value for labels, value in query(lab, "tcm", f"sum by (le) ({series})")}

    assert eventually(lambda: counts().get("+Inf") == 20)
    assert set(counts()) == set(ISTIO_EDGES.split())
    assert (counts()["250"], counts()["500"]) == (0, 20)
    assert seen.latency.p50_seconds >= 0.3


def test_weights_of_nothing_refuse_users_and_reach_no_mesh(lab: DataPlane) -> None:
    lab.set_weights("empty", weights(lab, tcm=0, istio=0))

    assert eventually(lambda: answered_by(lab, "empty.example.com") == {(503, None)})


def test_a_weight_change_is_in_force_within_half_a_second(lab: DataPlane) -> None:
    lab.set_weights("moved", weights(lab, tcm=0, istio=1))

    assert eventually(lambda: answered_by(lab, "moved.example.com") == {(200, "istio")}, timeout_seconds=0.5)


def test_a_second_weight_change_is_not_held_back_by_the_first(lab: DataPlane) -> None:
    lab.set_weights("twice", weights(lab, tcm=1, istio=1))
    assert eventually(lambda: answered_by(lab, "twice.example.com") == {(200, "tcm"), (200, "istio")})

    def is_mostly(mesh: str) -> bool:
        return [ask(lab.front_port, "twice.example.com")[1] for _ in range(50)].count(mesh) >= 45

    lab.set_weights("twice", weights(lab, tcm=100, istio=1))
    assert eventually(lambda: is_mostly("tcm"), timeout_seconds=0.5)
    lab.set_weights("twice", weights(lab, tcm=1, istio=100))

    assert eventually(lambda: is_mostly("istio"), timeout_seconds=0.5)


def test_domains_of_a_namespace_can_differ(lab: DataPlane) -> None:
    lab.set_weights("twofold", weights(lab, tcm=1, istio=0))
    lab.set_domain_weights("b.example.com", weights(lab, tcm=0, istio=1))

    assert eventually(lambda: answered_by(lab, "b.example.com") == {(200, "istio")})
    assert answered_by(lab, "a.example.com") == {(200, "tcm")}


@pytest.mark.parametrize("weight", [-1, 101])
def test_weights_outside_the_clouds_range_are_refused(lab: DataPlane, weight: int) -> None:
    with pytest.raises(ValueError, match=rf"weight {weight} of port \d+ is not within 0-100"):
        lab.set_weights("quiet", {lab.gateways[0].port: weight})


def test_a_target_that_is_no_gateway_is_refused(lab: DataPlane) -> None:
    with pytest.raises(ValueError, match=r"no gateway listens on \[1\]"):
        lab.set_weights("quiet", {1: 10})


def test_a_domain_or_a_namespace_that_is_not_there_is_refused(lab: DataPlane) -> None:
    with pytest.raises(KeyError, match=r"the lab has no domain 'nobody\.example\.com'"):
        lab.set_domain_weights("nobody.example.com", {})
    with pytest.raises(KeyError, match="the lab has no namespace 'nobody'"):
        lab.set_weights("nobody", {})


def test_only_one_load_runs_at_a_time(lab: DataPlane) -> None:
    lab.start_load({"quiet": 1})

    with pytest.raises(RuntimeError, match="load runs already; stop it first"):
        lab.start_load({"quiet": 1})
    lab.stop_load()


@pytest.mark.parametrize(
    "decoy",
    [
        'reporter="destination",source_workload="istio-ingressgateway"',
        'reporter="source",source_workload="web",source_workload_namespace="quiet"',
        'reporter="source",source_workload="istio-ingressgateway-intranet"',
    ],
)
def test_decoys_claim_failures_that_no_user_saw(lab: DataPlane, decoy: str) -> None:
    claimed = f'destination_service_namespace="quiet",response_code="503",{decoy}'
    seen = f'destination_service_namespace="quiet",response_code="503",{GATEWAYS}'

    assert eventually(lambda: total(lab, "tcm", claimed) >= 50 <= total(lab, "istio", claimed))
    assert total(lab, "tcm", seen) == total(lab, "istio", seen) == 0


def test_uptime_tells_when_a_gateway_was_restarted(lab: DataPlane) -> None:
    # The uptime counts whole seconds, so the first one has to be over before a restart can be seen.
    uptime = 'envoy_server_uptime{pod="istio-ingressgateway-0"}'
    assert eventually(lambda: [value >= 2 for _, value in query(lab, "istio", uptime)] == [True])

    lab.process("istio-ingressgateway-0").kill()
    lab.start_gateway("istio-ingressgateway-0")

    assert eventually(lambda: [value <= 1 for _, value in query(lab, "istio", uptime)] == [True])


def test_a_frozen_gateway_makes_users_wait_and_recovers(lab: DataPlane) -> None:
    first, *_ = lab.gateways
    lab.set_weights("frozen", {first.port: 1})
    assert eventually(lambda: ask(lab.front_port, "frozen.example.com") == (200, "tcm"))

    lab.process(first.pod).freeze()
    with pytest.raises(TimeoutError):
        ask(lab.front_port, "frozen.example.com", timeout_seconds=0.3)
    lab.process(first.pod).thaw()

    assert ask(lab.front_port, "frozen.example.com") == (200, "tcm")


def test_a_stopped_prometheus_refuses_and_returns_with_its_history(lab: DataPlane) -> None:
    url = lab.prometheus_url("tcm")
    assert eventually(lambda: bool(query(lab, "tcm", "up")))
    before_stop = time.time()

    lab.stop_prometheus("tcm")
    with pytest.raises(urllib.error.URLError, match="refused"):
        query(lab, "tcm", "up")
    lab.start_prometheus("tcm")

    assert lab.prometheus_url("tcm") == url
    assert query(lab, "tcm", f"up @ {before_stop:.3f}")


def test_a_hung_prometheus_accepts_and_does_not_answer(lab: DataPlane) -> None:
    port = lab.topology.prometheus_ports["istio"]
    lab.hang_prometheus("istio")

    with socket.create_connection(("127.0.0.1", port), timeout=0.3) as connection:
        connection.sendall(b"GET /-/ready HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)
    lab.resume_prometheus("istio")

    assert eventually(lambda: bool(query(lab, "istio", "up")))


def test_everything_listens_on_loopback_only(lab: DataPlane) -> None:
    everyone = [lab.front_port, lab.topology.front_admin_port, *lab.topology.prometheus_ports.values()]
    everyone += [port for pod in lab.gateways for port in (pod.port, pod.admin_port)]
    everyone += [port for pod in lab.topology.workloads for port in (pod.port, pod.decoy_port, pod.admin_port)]
    rows = [row.split() for table in ("tcp", "tcp6") for row in Path("/proc/net", table).read_text().splitlines()[1:]]
    listening = [row[1].rsplit(":", 1) for row in rows if row[3] == "0A"]

    addresses = {(address, int(port, 16)) for address, port in listening if int(port, 16) in everyone}

    assert addresses == {(LOOPBACK_HEX, port) for port in everyone}
