"""Prometheus on a bad day, seen from the service: a real adapter, a server on loopback that lives in the world's time.

Each fault strikes one side's Prometheus at 25 %, in the middle of the soak, and lasts longer than the soak would have.
Nothing may climb meanwhile, the hold must say what is wrong with whose Prometheus, and afterwards the soak must be
finished with evidence from after the fault.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from shifter.adapters.prometheus import PrometheusMetrics
from shifter.core.evidence import PodReading, Reading, Series
from shifter.core.fleet import Datasource
from shifter.core.orders import Verb
from shifter.core.phases import Phase
from shifter.core.splits import Health, Side
from shifter.service.observe import MESH
from tests.service.conftest import FLEET, NEW, NEWER, NOON, TICK, World

Worlds = Callable[..., World]
Rows = list[tuple[dict[str, str], float | str]]
Bend = Callable[[str, Rows], Rows]
SOAK_SECONDS = 60
FAULT_TICKS = 9
SCRAPED_AGO_SECONDS = 3.0
MAX_AGE_SECONDS = FLEET.spec.timing.sample_max_age.total_seconds()
BOTH = pytest.mark.parametrize("side", Side)


class BadPrometheus:
    """One mesh's Prometheus over HTTP, with one gateway pod; it has always just scraped.

    `reply` takes over every answer, `bend` changes the rows of one kind of question. `behind_seconds` is how old
    the newest sample looks, `clock_behind_seconds` what its clock says.
    """

    def __init__(self, mesh: str) -> None:
        self.mesh = mesh
        self.pod, self.started = f"{mesh}-1", NOON.timestamp() - 3600
        self.error_percent = 0.0
        self.timeout = timedelta(seconds=5)
        self.address = ""
        self.reply: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.bend: Bend = lambda _, rows: rows
        self.frozen_at: float | None = None
        self.ahead_seconds = self.clock_behind_seconds = 0.0
        self._counters: dict[tuple[str, str], float] = {}
        self._shown: dict[tuple[str, str], float] = {}
        self._now = NOON.timestamp()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def mend(self) -> None:
        """End whatever fault there is."""
        self.reply, self.address, self.timeout = None, "", timedelta(seconds=5)
        self.bend, self.frozen_at = lambda _, rows: rows, None
        self.ahead_seconds = self.clock_behind_seconds = 0.0

    def freeze(self) -> None:
        """From now on show what was shown last, as of then."""
        self.frozen_at = self._now

    def restart_process(self) -> None:
        """Let the pod's process begin again, half a tick from now, with counters at zero."""
        self.started = self._now + TICK.total_seconds() / 2
        self._counters.clear()

    def serve(self, namespace: str, requests: float) -> None:
        bad = requests * self.error_percent / 100
        for code, count in (("200", requests - bad), ("503", bad)):
            self._counters[namespace, code] = self._counters.get((namespace, code), 0.0) + count

    def read(self, at: datetime, edges_ms: tuple[float, ...]) -> Reading:
        self._now = at.timestamp()
        if self.frozen_at is None:
            self._shown = dict(self._counters)
        url = self.address or f"http://127.0.0.1:{self._server.server_address[1]}"
        matchers = {"matchers": {"app": self.mesh}, "podMatchers": {"app": self.mesh}}
        source = Datasource.model_validate({"url": url, "timeout": self.timeout, **matchers})
        return PrometheusMetrics(source, MAX_AGE_SECONDS, self.mesh).read(at, edges_ms)

    def rows(self, query: str) -> Rows:
        sampled = (self.frozen_at or self._now) - SCRAPED_AGO_SECONDS - self.clock_behind_seconds
        pod = {"pod": self.pod, "job": "pods", "instance": "10.0.0.1:15020"}
        kinds: dict[str, tuple[str, Rows]] = {
            "max(max_over_time(": ("newest", [({}, sampled + self.ahead_seconds)]),
            "max by (pod) (": ("started", [({"pod": self.pod}, self.started)]),
            "timestamp(": ("seen", [(pod, sampled)]),
            "max by (pod, job, instance) (": ("sampled", [(pod, sampled)]),
            "vector(time())": ("clock", [({}, self._now - self.clock_behind_seconds)]),
            "sum by ": ("requests", [(self._labels(*key), value) for key, value in self._shown.items()]),
        }
        kind, rows = next(found for mark, found in kinds.items() if query.startswith(mark))
        return self.bend(kind, rows)

    def _labels(self, namespace: str, code: str) -> dict[str, str]:
        service = f"web.{namespace}.svc.cluster.local"
        return {"pod": self.pod, "response_code": code, "destination_service": service}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        prometheus = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                try:
                    if prometheus.reply is not None:
                        prometheus.reply(self)
                    else:
                        rows = prometheus.rows(parse_qs(urlsplit(self.path).query)["query"][0])
                        send(self, answer(rows))
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
                pass

        return Handler


def answer(rows: Rows, **more: object) -> bytes:
    result = [{"metric": labels, "value": [0, str(value)]} for labels, value in rows]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}, **more}).encode()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def replying(body: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: send(handler, body, status, **headers)


def only(kind: str, change: Callable[[Rows], Rows]) -> Bend:
    return lambda asked, rows: change(rows) if asked == kind else rows


def without(label: str) -> Callable[[Rows], Rows]:
    return lambda rows: [({name: text for name, text in labels.items() if name != label}, v) for labels, v in rows]


def with_value(value: str) -> Callable[[Rows], Rows]:
    return lambda rows: [(labels, value) for labels, _ in rows]


class Soaking:
    """A world at 25 %, two ticks into its soak, of which one side has a Prometheus that can be bad."""

    def __init__(self, world: World, prometheus: BadPrometheus) -> None:
        self.world, self.prometheus = world, prometheus
        while not world.ticker.shifts or world.ticker.shifts["shop"].settled_at is None or world.share() != 25:
            assert world.now < NOON + 60 * TICK, world.report()
            world.step()
        world.step(2)
        self.settled_at = world.ticker.shifts["shop"].settled_at

    def endures(self, sentence: str, strike: Callable[[], None], *, slow_ticks: int = 0) -> None:
        """Let the fault last longer than the rest of the soak; nothing climbs, it is named, the soak is finished after.

        Args:
            sentence: what a person must read after the name of the mesh.
            strike: begins the fault.
            slow_ticks: ticks that may pass until it shows.
        """
        world, struck_at = self.world, self.world.now
        assert self.settled_at is not None
        soaked = struck_at - self.settled_at
        strike()
        seen = []
        for _ in range(FAULT_TICKS):
            world.step()
            seen.append((world.share(), world.holds(), world.reason()))
        ended_at = world.now
        self.prometheus.mend()
        world.until_share(100)

        wanted = rf"no signal: {self.prometheus.mesh}.*{sentence}"
        assert {share for share, _, _ in seen} == {25}
        assert {frozenset(holds) for _, holds, _ in seen[slow_ticks:]} == {frozenset({"no signal"})}
        assert re.search(wanted, seen[slow_ticks][2]), seen[slow_ticks][2]
        late = timedelta(seconds=MAX_AGE_SECONDS) if slow_ticks else timedelta()
        assert world.now - ended_at >= timedelta(seconds=SOAK_SECONDS) - soaked - late


@pytest.fixture
def bad(make_world: Worlds) -> Iterator[Callable[[Side], Soaking]]:
    """Build worlds at 25 % of which one side has a bad Prometheus."""
    made: list[BadPrometheus] = []

    def build(side: Side) -> Soaking:
        world = make_world(steps=(25, 100), soak=f"{SOAK_SECONDS}s")
        made.append(BadPrometheus(MESH[side]))
        # The doubles for metrics have what the world needs of them, and no more.
        world.sides[side] = made[-1]  # type: ignore[assignment]
        return Soaking(world, made[-1])

    yield build
    for prometheus in made:
        prometheus.close()


Bad = Callable[[Side], Soaking]


# -- no answer, or one that is none -----------------------------------------------------------------------------------


@pytest.mark.fault(
    on="Prometheus",
    fault="is down",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: no answer (connection refused)",
    safe_within="one tick",
)
@BOTH
def test_a_prometheus_that_is_down_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.address = "http://127.0.0.1:1"

    soaking.endures(r"http://127.0.0.1:1.*: no answer \(connection refused\)", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="is slow: accepts and stays silent",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: no answer within 5 s",
    safe_within="readDeadline + 1 tick",
)
@BOTH
def test_a_prometheus_that_does_not_answer_in_time_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus
    let_go = threading.Event()

    def say_nothing(_: BaseHTTPRequestHandler) -> None:
        let_go.wait(5)

    def strike() -> None:
        prometheus.timeout = timedelta(seconds=0.05)
        prometheus.reply = say_nothing

    soaking.endures("no answer within 0.05 s", strike)
    let_go.set()


@pytest.mark.fault(
    on="Prometheus",
    fault="answers HTTP 503",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: answered HTTP 503: what it said",
    safe_within="one tick",
)
@BOTH
def test_an_http_error_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.reply = replying(b"tsdb is not ready", 503)

    soaking.endures("answered HTTP 503: tsdb is not ready", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="answers HTTP 200 with an error",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: answered the error ...",
    safe_within="one tick",
)
@BOTH
def test_an_error_in_a_200_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.reply = replying(b'{"status":"error","error":"too many samples"}')

    soaking.endures("answered the error too many samples", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="answers HTTP 200 with a login page",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: answered no JSON; is that a Prometheus? It begins: <html>",
    safe_within="one tick",
)
@BOTH
def test_a_page_instead_of_an_answer_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.reply = replying(b"<html>please log in</html>")

    soaking.endures("answered no JSON; is that a Prometheus.*<html>please log in", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="redirects to another host",
    does="holds; does not follow, so no token leaves",
    sees="hold `no signal`: tcm metrics (URL) ...: redirects to https://HOST; write the final address",
    safe_within="one tick",
)
@BOTH
def test_a_redirect_is_not_followed_and_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.reply = replying(b"", 302, Location="https://sso.example.com/?next=1")

    soaking.endures(r"redirects to https://sso.example.com \(HTTP 302\); write the final address in the fleet", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="answers with warnings (Thanos: partial response)",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: may be partial, it came with warnings: ...",
    safe_within="one tick",
)
@BOTH
def test_a_partial_answer_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.reply = replying(answer([], warnings=["store-2 did not answer"]))

    soaking.endures("may be partial, it came with warnings: .*store-2 did not answer", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="answers with infos",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: may be partial, it came with infos: ...",
    safe_within="one tick",
)
@BOTH
def test_an_answer_with_infos_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.reply = replying(answer([], infos=["some series were left out"]))

    soaking.endures("may be partial, it came with infos: .*left out", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="answers millions of rows",
    does="holds; reads 32 MiB at most and parses none of it",
    sees="hold `no signal`: tcm metrics (URL) ...: answered more than 2000000 values",
    safe_within="one tick",
)
@BOTH
def test_a_huge_answer_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.reply = replying(b"[" + b"[]," * 1_000_001 + b"[]]")

    soaking.endures("answered more than 2000000 values", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="answers a gzip bomb",
    does="holds; unpacks 32 MiB at most, piece by piece",
    sees="hold `no signal`: tcm metrics (URL) ...: answered more than 32 MiB",
    safe_within="one tick",
)
@BOTH
def test_a_small_answer_that_unpacks_to_a_huge_one_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus
    bomb = gzip.compress(b" " * 40_000_000, 1)

    def strike() -> None:
        prometheus.reply = replying(bomb, Content_Encoding="gzip")

    soaking.endures("answered more than 32 MiB", strike)


# -- values that cannot be right --------------------------------------------------------------------------------------


@pytest.mark.fault(
    on="Prometheus",
    fault="answers NaN",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL), request counts: answered NaN ...",
    safe_within="one tick",
)
@BOTH
def test_a_counter_that_is_not_a_number_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = only("requests", with_value("NaN"))

    soaking.endures("answered NaN where a number must be", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="answers infinity",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL), request counts: answered +Inf ...",
    safe_within="one tick",
)
@BOTH
def test_a_counter_that_is_infinite_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = only("requests", with_value("+Inf"))

    soaking.endures(r"answered \+Inf where a number must be", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="answers a negative counter",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL), request counts: answered -4 ...",
    safe_within="one tick",
)
@BOTH
def test_a_counter_that_is_negative_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = only("requests", with_value("-4"))

    soaking.endures("answered -4.0 for the counter", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="counters fall while the uptime grows",
    does="holds; counts nothing, never a negative number",
    sees="hold `no signal`: tcm: nothing can be counted of POD: its counters fell",
    safe_within="one tick",
)
@BOTH
def test_counters_that_run_backwards_hold(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus
    shrunk = 1.0

    def shrinking(rows: Rows) -> Rows:
        nonlocal shrunk
        shrunk *= 0.5
        return [(labels, float(value) * shrunk) for labels, value in rows]

    def strike() -> None:
        prometheus.bend = only("requests", shrinking)

    soaking.endures("nothing can be counted of .*: its counters fell although its process did not start anew", strike)


# -- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(
    on="Prometheus",
    fault="its clock is ahead of shifter's",
    does="holds: what it shows is as old as that, though it looks fresh",
    sees="hold `no signal`: tcm metrics (URL) ...: a sample is 120 s from the future",
    safe_within="one tick",
)
@BOTH
def test_a_clock_that_is_ahead_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.ahead_seconds = 120.0

    soaking.endures("a sample is 11[67] s from the future: Prometheus' clock is ahead of shifter's", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="its clock is behind shifter's",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL): ...; its clock is 120 s behind: ...",
    safe_within="one tick",
)
@BOTH
def test_a_clock_that_is_behind_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.clock_behind_seconds = 120.0

    soaking.endures("newest of 1 pods is 123 s old, .*; its clock is 1[12][0-9] s behind: ", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="its samples are stale: it scrapes no more",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL): ... the newest of 2 pods is 50 s old",
    safe_within="sampleMaxAge + 1 tick",
)
@BOTH
def test_samples_that_are_no_longer_renewed_hold(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.freeze()

    soaking.endures(
        r"newest of 1 pods is 2\d s old, sampleMaxAge is 20 s; it scrapes no more, or samples reach it late",
        strike,
        slow_ticks=1,
    )


# -- series that are missing, doubled or mislabelled -------------------------------------------------------------------


@pytest.mark.fault(
    on="Prometheus",
    fault="is empty: restarted without its data, or scrapes nothing",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL): shows no gateway pod (... it showed PODS)",
    safe_within="one tick",
)
@BOTH
def test_an_answer_without_any_series_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = lambda *_: []

    soaking.endures(
        r"shows no gateway pod, neither envoy_.*\{.*\} nor istio_.*\{.*within the last hour it showed .*-1", strike
    )


@pytest.mark.fault(
    on="Prometheus",
    fault="request series vanish while pods are seen",
    does="holds; no climb",
    sees="hold `no signal`: tcm: nothing can be counted of POD: it shows no request series",
    safe_within="one tick",
)
@BOTH
def test_pods_without_any_request_series_hold(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = lambda kind, rows: [] if kind in {"sampled", "requests"} else rows

    soaking.endures("nothing can be counted of .*: it shows no request series any more although", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="two scrape jobs read the same pods",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL), ...: pod POD is there twice (job is X and Y)",
    safe_within="one tick",
)
@BOTH
def test_a_pod_that_is_scraped_twice_holds(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = only("seen", lambda rows: [*rows, ({**rows[0][0], "job": "envoys"}, rows[0][1])])

    soaking.endures(
        r"pod '.*' is there twice, its requests would count twice \(job is 'pods' and 'envoys'\): add a matcher", strike
    )


@pytest.mark.fault(
    on="Prometheus",
    fault="recorded or federated series look like one pod",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: requests are counted for X, but the pods ...",
    safe_within="one tick",
)
@BOTH
def test_sums_over_all_pods_hold(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = only("sampled", lambda rows: [({**rows[0][0], "pod": "all"}, rows[0][1])])

    soaking.endures(
        "requests are counted for all, but the pods that are up are .*-1: the label 'pod' must name", strike
    )


@pytest.mark.fault(
    on="Prometheus",
    fault="the pod label is missing",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: has no label 'pod' ...",
    safe_within="one tick",
)
@BOTH
def test_series_without_pod_hold(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = only("requests", without("pod"))

    soaking.endures("has no label 'pod'; say in the fleet's labels", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="the response code label is missing",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: has no label 'response_code' ...",
    safe_within="one tick",
)
@BOTH
def test_series_without_response_code_hold(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = only("requests", without("response_code"))

    soaking.endures("has no label 'response_code', so errors could not be told", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="the destination labels are missing",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL) ...: no series has the label 'destination_service' ...",
    safe_within="one tick",
)
@BOTH
def test_series_without_destination_hold(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = only("requests", without("destination_service"))

    soaking.endures("no series has the label 'destination_service' or 'destination_service_namespace'", strike)


@pytest.mark.fault(
    on="Prometheus",
    fault="response codes are classes such as 5xx",
    does="holds; no climb",
    sees="hold `no signal`: tcm metrics (URL), request counts: answered the response code 5xx",
    safe_within="one tick",
)
@BOTH
def test_codes_that_are_classes_hold(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    prometheus = soaking.prometheus

    def strike() -> None:
        prometheus.bend = only(
            "requests", lambda rows: [({**row, "response_code": f"{row['response_code'][0]}xx"}, v) for row, v in rows]
        )

    soaking.endures("answered the response code '[25]xx'; errors are told by whole codes", strike)


# -- what is no fault, and what is no excuse ---------------------------------------------------------------------------


@pytest.mark.fault(
    on="Prometheus",
    fault="wrong metric names: pods, but no request series",
    does="holds at 0 %; no climb",
    sees="hold `no signal`: tcm and istio: the gateways' pods are up, but ...",
    safe_within="at once",
)
def test_a_wrong_metric_name_at_the_start_holds_at_0(make_world: Worlds) -> None:
    world = make_world()
    for side in Side:
        world.sides[side].serve = lambda *_: None  # type: ignore[method-assign]
    world.step(20)

    assert world.share() == 0
    assert world.holds() == {"no signal"}
    assert "pods are up, but neither side has any series of istio_requests_total: there is no traffic" in world.reason()


def seen_requests(world: World) -> dict[Side, float]:
    ticks = world.ticker.shifts["shop"].ledger.ticks
    counts = {Side.SOURCE: [tick.source for tick in ticks], Side.TARGET: [tick.target for tick in ticks]}
    return {side: sum(each.requests for each in found) for side, found in counts.items()}


class Crowd:
    """A gateway whose pods come, go and restart in every tick; nothing it serves ever fails. Some pods are unlucky."""

    def __init__(self, mesh: str) -> None:
        self._mesh = mesh
        self._born = 0
        self._pods: dict[str, tuple[float, dict[Series, float]]] = {}
        self.read_counts: list[int] = []

    def serve(self, namespace: str, requests: float) -> None:
        for name, (started, counters) in self._pods.items():
            series = Series(namespace, "200")
            self._pods[name] = started, {series: counters.get(series, 0.0) + requests / len(self._pods)}

    def read(self, at: datetime, edges_ms: tuple[float, ...]) -> Reading:  # noqa: ARG002 - the protocol's
        now = at.timestamp()
        shown = {name: PodReading(now, started, dict(series)) for name, (started, series) in self._pods.items()}
        self._churn(now)
        self.read_counts.append(len(shown))
        return Reading(now, shown or {f"{self._mesh}-0": PodReading(now, NOON.timestamp() - 60, {})})

    def _churn(self, now: float) -> None:
        """Replace one pod by a new one, restart one in place with counters at zero, and scale out and in."""
        self._born += 1
        self._pods[f"{self._mesh}-{self._born}"] = now, {}
        if len(self._pods) > 4 - self._born % 2:
            del self._pods[min(self._pods, key=lambda name: int(name.rsplit("-", 1)[1]))]
        again = sorted(self._pods)[self._born % len(self._pods)]
        self._pods[again] = now, {}


@pytest.mark.fault(
    on="Prometheus",
    fault="pods come, go and restart all the time; counters begin at 0 again",
    does="counts every process from zero: never an error, never negative traffic",
    sees="the climb goes on",
    safe_within="at once",
)
@BOTH
def test_pods_that_come_and_go_are_neither_errors_nor_negative_traffic(make_world: Worlds, side: Side) -> None:
    world = make_world(steps=(25, 100), soak=f"{SOAK_SECONDS}s")
    crowd = Crowd(MESH[side])
    world.sides[side] = crowd  # type: ignore[assignment]
    least = math.inf
    for _ in range(120):
        world.step()
        ticks = world.ticker.shifts["shop"].ledger.ticks
        least = min([least, *(min(t.source.requests, t.target.requests, t.source.bad, t.target.bad) for t in ticks)])

    assert world.state().phase is Phase.COMPLETED
    assert world.climbs() == [25, 100]
    assert least >= 0
    assert max(crowd.read_counts) > 2


@pytest.mark.fault(
    on="Prometheus",
    fault="counters reset while Istio fails",
    does="rolls back",
    sees="rolling back: istio failed ...",
    safe_within="2 ticks after minRequests were seen",
)
def test_a_counter_reset_does_not_hide_a_failing_target(bad: Bad) -> None:
    soaking = bad(Side.TARGET)
    soaking.prometheus.restart_process()
    soaking.prometheus.error_percent = 50
    soaking.world.step(2)

    assert soaking.world.share() == 0
    assert "istio failed" in soaking.world.reason()


@pytest.mark.fault(
    on="Prometheus",
    fault="its clock is behind by less than sampleMaxAge",
    does="goes on, and rolls back if Istio fails: what it shows is fresh",
    sees="rolling back: istio failed ...",
    safe_within="2 ticks after minRequests were seen",
)
@BOTH
def test_a_clock_that_differs_a_little_neither_holds_nor_hides_a_failing_target(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    soaking.prometheus.clock_behind_seconds = 10
    soaking.world.step(3)
    held = soaking.world.holds()
    target = soaking.world.sides[Side.TARGET]
    target.error_percent = 50
    soaking.world.step(2)

    assert held == set()
    assert soaking.world.share() == 0


@pytest.mark.fault(
    on="Prometheus",
    fault="samples arrive late, older ones after newer",
    does="holds; counts nothing until newer ones come, and then nothing twice",
    sees="hold `no signal`: tcm: nothing can be counted of POD: its newest sample is older than ...",
    safe_within="one tick",
)
@BOTH
def test_samples_that_arrive_late_are_never_counted_twice(bad: Bad, side: Side) -> None:
    soaking = bad(side)
    world = soaking.world
    before = seen_requests(world)
    reasons = []
    for lag_seconds in (15, 0, 15):
        soaking.prometheus.clock_behind_seconds = lag_seconds
        world.step()
        reasons.append(world.reason())
    counted = {each: seen_requests(world)[each] - before[each] for each in Side}

    late = f"no signal: {MESH[side]}: nothing can be counted of {MESH[side]}-1: its newest sample is older than one"
    assert all(late in reason for reason in reasons[::2])
    assert counted[side] <= 3 * TICK.total_seconds() * world.PER_SECOND
    assert all(count >= 0 for count in counted.values())
    assert world.share() == 25


@pytest.mark.fault(
    on="Prometheus",
    fault="TCM's is down while Istio fails",
    does="holds: one side alone judges nothing; rolls back as soon as both answer, or when a person says so",
    sees="hold `no signal`: tcm metrics (URL) ...",
    safe_within="the outage + 3 ticks",
)
def test_a_target_that_fails_during_the_sources_outage_goes_back_when_it_ends(bad: Bad) -> None:
    soaking = bad(Side.SOURCE)
    soaking.prometheus.address = "http://127.0.0.1:1"
    soaking.world.sides[Side.TARGET].error_percent = 50
    soaking.world.step(FAULT_TICKS)
    during = soaking.world.share(), soaking.world.holds()
    soaking.prometheus.mend()
    soaking.world.step(3)

    assert during == (25, {"no signal"})
    assert soaking.world.share() == 0


@pytest.mark.parametrize("strike", ["address", "frozen", "ahead"])
@BOTH
def test_a_person_goes_back_whatever_prometheus_does(bad: Bad, side: Side, strike: str) -> None:
    soaking = bad(side)
    if strike == "address":
        soaking.prometheus.address = "http://127.0.0.1:1"
    elif strike == "frozen":
        soaking.prometheus.freeze()
    else:
        soaking.prometheus.ahead_seconds = 120
    soaking.world.step(3)
    soaking.world.order(Verb.ROLLBACK)
    soaking.world.step(4)

    assert soaking.world.share() == 0


@pytest.mark.fault(
    on="Prometheus",
    fault="Istio's gateways die and its samples only grow old (no staleness markers)",
    does="rolls back: the CLB finds all members dead as well",
    sees="rolling back: istio's gateway is gone",
    safe_within="sampleMaxAge + 2 ticks",
)
def test_a_dead_target_whose_samples_only_grow_old_is_rolled_back(bad: Bad) -> None:
    soaking = bad(Side.TARGET)
    world = soaking.world
    soaking.prometheus.freeze()
    for key in (NEW, NEWER):
        world.memory.set_health(world.route(), key, Health.DEAD)
    world.step(4)

    assert world.share() == 0
    assert "istio's gateway is gone" in world.reason()
