"""The levers that hurt users in ways other than a plain 503: what users and readers of Prometheus see of each."""

import contextlib
import http.client
import json
import os
import random
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shifter.lab.bursts import Bursts, Rhythm
from shifter.lab.dataplane import DataPlane, DataPlaneSpec
from shifter.lab.envoy_control import EnvoyControlError
from shifter.lab.load_report import NamespaceLoad
from shifter.lab.tools import find_tools
from shifter.lab.topology import Namespace

# Each test that counts has a namespace to itself, so that all can share one data plane.
NAMESPACES = [
    *(Namespace(name, grpc=True) for name in ("spoken", "failing", "mapped", "astray", "hasty")),
    *(Namespace(name) for name in ("plain", "slow", "lost", "lossless", "clustered", "quiet")),
]
GATEWAYS = 'reporter="source",source_workload="istio-ingressgateway",source_workload_namespace="istio-system"'
MESHES = ("tcm", "istio")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    spec = DataPlaneSpec(tmp_path_factory.mktemp("lab"), NAMESPACES, scrape_interval_seconds=0.5)
    with DataPlane(spec, find_tools(os.environ), os.environ) as running:
        yield running


def query(lab: DataPlane, mesh: str, expression: str) -> list[tuple[dict[str, str], float]]:
    url = f"{lab.prometheus_url(mesh)}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the lab's own http URL
        answer = json.load(response)
    return [(sample["metric"], float(sample["value"][1])) for sample in answer["data"]["result"]]


def answers(lab: DataPlane, mesh: str, matchers: str) -> dict[tuple[str, str, str], float]:
    """Requests as (code, flags, gRPC status) by how they ended; a label that is not there is empty."""
    labels = ("response_code", "response_flags", "grpc_response_status")
    found = query(lab, mesh, f"sum by ({','.join(labels)}) (istio_requests_total{{{GATEWAYS},{matchers}}})")
    code, flags, grpc = labels
    return {(metric[code], metric[flags], metric.get(grpc, "")): value for metric, value in found}


def of(namespace: str) -> str:
    return f'destination_service_namespace="{namespace}"'


def eventually(holds: Callable[[], bool], timeout_seconds: float = 8) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def weights(lab: DataPlane, *, tcm: int, istio: int) -> dict[int, int]:
    return {gateway.port: {"tcm": tcm, "istio": istio}[gateway.mesh] for gateway in lab.gateways}


def send(lab: DataPlane, namespace: str, requests: int, per_second: float = 500) -> NamespaceLoad:
    """Let the load generator send exactly so many requests, and return what users saw."""
    lab.start_load({namespace: per_second}, requests_max=requests)
    assert lab.process("load").wait(timeout_seconds=20) == 0
    return lab.load_report().namespaces[namespace]


def test_only_series_of_grpc_users_have_a_grpc_status(lab: DataPlane) -> None:
    spoken, plain = send(lab, "spoken", 60), send(lab, "plain", 60)

    assert (spoken.ok, spoken.by_mesh, plain.ok, plain.by_mesh) == (60, {"tcm": 60}, 60, {"tcm": 60})
    assert eventually(lambda: answers(lab, "tcm", of("spoken")) == {("200", "-", "0"): 60})
    assert eventually(lambda: answers(lab, "tcm", of("plain")) == {("200", "-", ""): 60})
    protocols = {
        name: query(lab, "tcm", f"istio_requests_total{{{GATEWAYS},{of(name)}}}") for name in ("spoken", "plain")
    }
    assert {metric["request_protocol"] for metric, _ in protocols["spoken"]} == {"grpc"}
    assert {metric["request_protocol"] for metric, _ in protocols["plain"]} == {"http"}


def test_a_failing_grpc_status_is_http_200_and_a_failure_to_its_user(lab: DataPlane) -> None:
    lab.set_weights("failing", weights(lab, tcm=30, istio=20))
    lab.fail_grpc("istio", "failing", percent=50, status=13)

    seen = send(lab, "failing", 400)
    lab.mend("istio", "failing")
    after = send(lab, "failing", 100)

    failed = seen.failed
    assert seen.failed_by_cause == {"grpc 13": failed}
    assert failed == pytest.approx(100, abs=35)  # half of istio's 200; five standard deviations
    assert eventually(lambda: answers(lab, "istio", of("failing")).get(("200", "-", "13")) == failed)
    assert answers(lab, "tcm", of("failing")).keys() == {("200", "-", "0")}
    assert after.failed == 0


def test_to_grpc_users_a_503_is_the_status_that_envoy_maps_it_to(lab: DataPlane) -> None:
    lab.break_namespace("tcm", "mapped", abort_percent=100)

    seen = send(lab, "mapped", 20)
    lab.mend("tcm", "mapped")

    assert seen.failed_by_cause == {"grpc 14": 20}
    assert eventually(lambda: answers(lab, "tcm", of("mapped")) == {("200", "-", "14"): 20})


def test_a_missing_route_is_unimplemented_to_grpc_users(lab: DataPlane) -> None:
    lab.lose_route("tcm", "astray")

    seen = send(lab, "astray", 20)
    lab.mend("tcm", "astray")

    assert seen.failed_by_cause == {"grpc 12": 20}
    unknown = answers_of_no_route(lab)
    assert unknown.keys() == {("12",)}


def answers_of_no_route(lab: DataPlane) -> dict[tuple[str, ...], float]:
    """Answers with flag NR of an unknown destination, by gRPC status, once all twenty are counted."""
    found: dict[tuple[str, ...], float] = {}

    def all_counted() -> bool:
        found.clear()
        for (_, flags, grpc), value in answers(lab, "tcm", of("unknown")).items():
            if flags == "NR":
                found[grpc,] = value
        return sum(found.values()) == 20

    assert eventually(all_counted)
    return found


def test_a_grpc_user_who_leaves_has_no_grpc_status(lab: DataPlane) -> None:
    lab.slow_namespace("tcm", "hasty", delay_seconds=3)
    connection = http.client.HTTPConnection("127.0.0.1", lab.front_port, timeout=0.2)
    headers = {"Host": "hasty.example.com", "Content-Type": "application/grpc", "TE": "trailers"}

    with contextlib.closing(connection):
        connection.request("POST", "/lab.Application/Answer", body=bytes(5), headers=headers)
        with pytest.raises(TimeoutError):
            connection.getresponse()

    assert eventually(lambda: answers(lab, "tcm", of("hasty")) == {("0", "DC", ""): 1})


def test_who_speaks_no_grpc_cannot_fail_by_it(lab: DataPlane) -> None:
    with pytest.raises(ValueError, match="plain cannot answer with gRPC status 14"):
        lab.fail_grpc("tcm", "plain", percent=10)


@pytest.mark.parametrize("status", [0, 17])
def test_a_grpc_failure_is_a_status_from_1_to_16(lab: DataPlane, status: int) -> None:
    with pytest.raises(ValueError, match=f"spoken cannot answer with gRPC status {status}"):
        lab.fail_grpc("tcm", "spoken", percent=10, status=status)


def test_a_part_of_the_requests_can_be_slow(lab: DataPlane) -> None:
    lab.slow_namespace("tcm", "slow", delay_seconds=0.3, percent=25)

    send(lab, "slow", 200)
    lab.mend("tcm", "slow")

    def counts() -> dict[str, float]:
        buckets = f"istio_request_duration_milliseconds_bucket{{{GATEWAYS},{of('slow')}}}"
        return {metric["le"]: value for metric, value in query(lab, "tcm", f"sum by (le) ({buckets})")}

    assert eventually(lambda: counts().get("+Inf") == 200)
    assert 200 - counts()["250"] == pytest.approx(50, abs=31)  # a quarter; five standard deviations


def test_lost_traffic_fails_for_users_and_is_counted_by_no_gateway(lab: DataPlane) -> None:
    lab.set_weights("lost", weights(lab, tcm=30, istio=20))  # half and half
    lab.lose_traffic("istio", "lost", percent=60)

    seen = send(lab, "lost", 400)

    # Of istio's 200 requests 120 never arrive; the front answers them itself. Nobody else's share changes.
    assert seen.failed_by_cause == {"503": seen.by_mesh["none"]}
    assert seen.by_mesh["none"] == pytest.approx(120, abs=5)
    assert seen.by_mesh["tcm"] == pytest.approx(200, abs=5)
    for mesh in MESHES:
        assert eventually(lambda mesh=mesh: answers(lab, mesh, of("lost")) == {("200", "-", ""): seen.by_mesh[mesh]})  # type: ignore[misc]


def test_lost_traffic_follows_the_weights_until_it_is_mended(lab: DataPlane) -> None:
    lab.lose_traffic("istio", "lossless", percent=100)
    without_istio = send(lab, "lossless", 40)
    lab.set_weights("lossless", weights(lab, tcm=0, istio=10))
    all_istio = send(lab, "lossless", 40)
    lab.mend("istio", "lossless")
    mended = send(lab, "lossless", 40)

    assert (without_istio.failed, all_istio.failed, mended.failed) == (0, 40, 0)
    assert mended.by_mesh == {"istio": 40}


@pytest.mark.parametrize("percent", [-1, 101])
def test_what_is_lost_is_a_percentage(lab: DataPlane, percent: float) -> None:
    with pytest.raises(ValueError, match=f"{percent} is not a percentage"):
        lab.lose_traffic("istio", "quiet", percent)

    assert send(lab, "quiet", 10).failed == 0


def test_bursts_strike_pods_of_both_meshes_at_similar_rates_and_different_instants(lab: DataPlane) -> None:
    lab.set_weights("clustered", weights(lab, tcm=30, istio=20))
    rhythm = Rhythm(every_seconds=0.8, lasts_seconds=0.1, seconds_max=20)
    lab.start_bursts("clustered", rhythm, random.Random(3))  # noqa: S311 - seeded on purpose

    with pytest.raises(RuntimeError, match="clustered has bursts already; stop them first"):
        lab.start_bursts("clustered", rhythm, random.Random(3))  # noqa: S311 - seeded on purpose
    seen = send(lab, "clustered", 2_400, per_second=400)
    lab.stop_bursts("clustered")

    def failed(mesh: str) -> float:
        found = answers(lab, mesh, of("clustered"))
        return found.get(("503", "-", ""), 0.0)

    assert eventually(lambda: sum(failed(mesh) for mesh in MESHES) == seen.failed)
    # Every pod fails an eighth of the time.
    assert [failed(mesh) / seen.by_mesh[mesh] for mesh in MESHES] == pytest.approx([0.125, 0.125], abs=0.06)
    pods = query(lab, "istio", f'istio_requests_total{{{GATEWAYS},{of("clustered")},response_code="503"}}')
    assert len(pods) == 3
    assert send(lab, "clustered", 100).failed == 0


def test_every_pod_is_well_again_when_bursts_end_by_themselves() -> None:
    struck: list[tuple[str, bool]] = []
    rhythm = Rhythm(every_seconds=0.05, lasts_seconds=0.02, seconds_max=0.3)
    bursts = Bursts(("a", "b"), rhythm, lambda pod, begins: struck.append((pod, begins)), random.Random(1))  # noqa: S311 - seeded

    bursts.start()
    bursts._thread.join(5)  # its end is what is tested; nobody stops it
    bursts.stop()

    for pod in ("a", "b"):
        own = [begins for name, begins in struck if name == pod]
        assert own == [True, False] * (len(own) // 2)
        assert len(own) >= 6


def test_an_envoy_that_refuses_ends_the_bursts_and_whoever_stops_them_learns_it() -> None:
    def refuse(pod: str, begins: bool) -> None:  # noqa: FBT001 - as `Bursts` calls it
        raise EnvoyControlError(f"{pod} {begins}")

    rhythm = Rhythm(every_seconds=0.05, lasts_seconds=0.02, seconds_max=5)
    bursts = Bursts(("a",), rhythm, refuse, random.Random(1))  # noqa: S311 - seeded on purpose

    bursts.start()
    bursts._thread.join(5)

    with pytest.raises(EnvoyControlError, match="a True"):
        bursts.stop()


@pytest.mark.parametrize(("every", "lasts", "most"), [(1, 0.5, 9), (1, 0, 9), (1, 0.1, 0)])
def test_a_rhythm_has_room_between_its_bursts(every: float, lasts: float, most: float) -> None:
    with pytest.raises(ValueError, match=f"bursts of {lasts:g} s every {every:g} s cannot be told apart"):
        Rhythm(every, lasts, most)


def test_stopping_what_was_never_started_is_nothing(lab: DataPlane, tmp_path: Path) -> None:
    lab.stop_bursts("quiet")

    assert not list(tmp_path.iterdir())
