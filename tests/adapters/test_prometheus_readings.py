"""What a mesh's Prometheus is asked, and what its answers amount to: a reading, an absence, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from shifter.adapters.prometheus import PrometheusMetrics
from shifter.adapters.prometheus.promql import edge_pattern, queries, spellings
from shifter.adapters.prometheus.readings import subject_of
from shifter.core.counts.counters import Absence
from shifter.core.counts.evidence import INFINITY_MS, UNKNOWN, Answer, Series
from shifter.core.documents.fleet import CustomMetric
from shifter.errors import MetricsUnavailableError
from tests.adapters.prometheus import AT, NOW, SHOP, FakePrometheus, Row, datasource, kind_of, read, refusal, running
from tests.http import replying

NOWHERE = {"destination_service": "unknown", "destination_service_namespace": "unknown"}
ANSWERED = {"pod": "a", "response_code": "200", **SHOP}
LOGINS = CustomMetric.model_validate(
    {
        "name": "logins",
        "bad": {"metric": "logins_total", "matchers": {"result": "failed"}},
        "total": {"metric": "attempts_total", "matchers": {}},
    }
)


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with running() as fake:
        yield fake


# --- what a reading holds


def test_reading_has_every_fresh_pods_counters_and_process_start(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a", age_seconds=5, started=AT - 1000)
    prometheus.count("a", "200", "100")
    prometheus.count("a", "503", "3")
    prometheus.bucket("a", "5", "60")
    prometheus.bucket("a", "+Inf", "103")

    reading = read(prometheus, (5,))

    assert reading.read_at == AT
    assert set(reading.pods) == {"a"}
    assert (reading.pods["a"].sampled_at, reading.pods["a"].started_at) == (AT - 5, AT - 1000)
    assert reading.pods["a"].counters == {
        Series("shop", Answer("200")): 100,
        Series("shop", Answer("503")): 3,
        Series("shop", edge_ms=5.0): 60,
        Series("shop", edge_ms=INFINITY_MS): 103,
    }


def test_pod_with_a_stale_sample_is_not_in_the_reading(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("fresh", age_seconds=45)
    prometheus.add_pod("stale", age_seconds=45.5)
    for pod in ("fresh", "stale"):
        prometheus.count(pod, "200", "1")
        prometheus.bucket(pod, "5", "1")
        prometheus.bucket(pod, "+Inf", "1")

    assert set(read(prometheus, (5,)).pods) == {"fresh"}


def test_pod_that_is_up_without_requests_is_in_the_reading_without_counters(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("idle", age_seconds=7, requests=False)
    prometheus.add_pod("gone", age_seconds=70, requests=False)

    reading = read(prometheus)

    assert set(reading.pods) == {"idle"}
    assert (reading.pods["idle"].sampled_at, dict(reading.pods["idle"].counters)) == (AT - 7, {})


def test_pod_with_requests_is_judged_by_them_and_not_by_its_uptime(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a", age_seconds=100)
    prometheus.add_pod("b")
    prometheus.rows["seen"][0] = ({"pod": "a"}, str(AT - 1))

    assert set(read(prometheus).pods) == {"b"}


def test_pod_without_uptime_has_no_known_start(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.rows["started"] = []

    assert read(prometheus).pods["a"].started_at is None


def test_counters_of_a_pod_that_no_one_timed_are_left_out(prometheus: FakePrometheus) -> None:
    prometheus.count("a", "200", "1")

    assert read(prometheus).pods == {}


def test_services_of_one_namespace_are_added_up(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.count("a", "200", "1")
    prometheus.count("a", "200", "2", {**SHOP, "destination_service": "api.shop.svc.cluster.local"})

    assert read(prometheus).pods["a"].counters == {Series("shop", Answer("200")): 3}


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ({}, Answer("200")),
        ({"response_flags": "-"}, Answer("200")),
        ({"response_flags": "unknown", "grpc_response_status": "unknown"}, Answer("200")),
        ({"response_flags": "UF,URX"}, Answer("200", "UF,URX")),
        ({"grpc_response_status": "14"}, Answer("200", grpc="14")),
        ({"grpc_response_status": "-1"}, Answer("200", grpc="-1")),
        ({"response_flags": "DC", "grpc_response_status": "0"}, Answer("200", "DC", "0")),
    ],
)
def test_answer_is_read_with_its_flags_and_its_grpc_status_if_the_series_have_them(
    prometheus: FakePrometheus, written: dict[str, str], answer: Answer
) -> None:
    prometheus.add_pod("a")
    prometheus.count("a", "200", "3", {**SHOP, **written})

    assert read(prometheus).pods["a"].counters == {Series("shop", answer): 3}


def test_no_flag_is_the_same_however_it_is_written(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.count("a", "200", "3", {**SHOP, "response_flags": "-"})
    prometheus.count("a", "200", "4", SHOP)

    assert read(prometheus).pods["a"].counters == {Series("shop", Answer("200")): 7}


def test_missing_route_is_read_as_an_unknown_404_with_its_flag(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.count("a", "404", "9", {**NOWHERE, "response_flags": "NR"})

    assert read(prometheus).pods["a"].counters == {Series(UNKNOWN, Answer("404", "NR")): 9}


def test_histogram_that_a_datasource_does_not_have_is_no_latency_and_nothing_else(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.count("a", "200", "3")

    assert read(prometheus, (5, 10)).pods["a"].counters == {Series("shop", Answer("200")): 3}


def test_both_halves_of_a_custom_metric_are_read_by_pod_and_namespace(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.add_pod("stale", age_seconds=100)
    prometheus.half("logins_total", "a", "2")
    prometheus.half("attempts_total", "a", "30")
    prometheus.half("attempts_total", "a", "1", {**SHOP, "destination_service": "api.shop.svc.cluster.local"})
    prometheus.half("attempts_total", "a", "5", NOWHERE)
    prometheus.half("attempts_total", "stale", "900")

    assert read(prometheus, custom=(LOGINS,)).pods["a"].counters == {
        Series("shop", pair="logins", part="bad"): 2,
        Series("shop", pair="logins", part="total"): 31,
        Series(UNKNOWN, pair="logins", part="total"): 5,
    }


def test_custom_metric_that_a_datasource_does_not_have_is_not_counted_and_nothing_else(
    prometheus: FakePrometheus,
) -> None:
    prometheus.add_pod("a")
    prometheus.count("a", "200", "3")

    assert read(prometheus, custom=(LOGINS,)).pods["a"].counters == {Series("shop", Answer("200")): 3}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            {"logins_total": [({"pod": "a", **SHOP}, "7")], "attempts_total": [({"pod": "a", **SHOP}, "5")]},
            "custom metric 'logins' (total): 5 in total of pod 'a' for shop and 7 of them bad: total must count",
        ),
        (
            {"logins_total": [({"pod": "a", **NOWHERE}, "1")]},
            "custom metric 'logins' (total): 0 in total of pod 'a' for unknown and 1 of them bad",
        ),
        (
            {"logins_total": [({"pod": "a"}, "1")]},
            "custom metric 'logins' (bad): no series has the label 'destination_service' or",
        ),
        ({"attempts_total": [({**SHOP}, "1")]}, "custom metric 'logins' (total): a series has no label 'pod'"),
        ({"attempts_total": [({"pod": "a", **SHOP}, "-1")]}, "answered -1.0 for the counter"),
        ({"attempts_total": [({"pod": "a", **SHOP}, "1e16")]}, "attempts_total is at 1e+16, which no counter reaches"),
        ({"attempts_total": [({"pod": "a", **SHOP}, "1")] * 2}, "same series twice"),
    ],
)
def test_custom_metric_that_cannot_be_right_refuses_the_read(
    prometheus: FakePrometheus, rows: dict[str, list[Row]], sentence: str
) -> None:
    prometheus.add_pod("a")
    prometheus.rows |= rows

    assert sentence in refusal(prometheus, custom=(LOGINS,))


@pytest.mark.fault(
    on="Prometheus",
    fault="a histogram has no +Inf bucket",
    does="refuses the read: holds; no climb",
    sees="hold `no signal`: tcm metrics (URL), latency buckets: METRIC of pod POD has no bucket +Inf",
    safe_within="one tick",
)
def test_histogram_without_its_total_refuses_the_read(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.bucket("a", "5", "1")

    assert refusal(prometheus).endswith(
        "latency buckets: istio_request_duration_milliseconds_bucket of pod 'a' has no bucket +Inf, which is its total"
    )


@pytest.mark.fault(
    on="Prometheus",
    fault="a histogram has other edges than the fleet file says",
    does="refuses the read: holds; no climb, and no rollback for a quantile nobody knows",
    sees="hold `no signal`: tcm metrics (URL), latency buckets: METRIC of pod POD has no bucket at 250 ms",
    safe_within="one tick",
)
def test_histogram_without_an_edge_refuses_the_read_and_says_which(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.bucket("a", "5", "1")
    prometheus.bucket("a", "+Inf", "1")

    assert refusal(prometheus, (5, 10, 2500)).endswith(
        "of pod 'a' has no bucket at 10, 2500 ms; write the edges it has into the fleet's edgesMs"
    )


@pytest.mark.fault(
    on="Prometheus",
    fault="bucket edges are spelled differently (0.5, 5e-01, 500.0)",
    does="reads them as the same edge",
    sees="nothing: the climb goes on",
    safe_within="at once",
)
@pytest.mark.parametrize(("edge_ms", "spelled"), [(0.5, "5e-01"), (500, "500.0"), (500, "5e+02"), (1e6, "1e+06")])
def test_edge_is_understood_however_it_is_spelled(prometheus: FakePrometheus, edge_ms: float, spelled: str) -> None:
    prometheus.add_pod("a")
    prometheus.bucket("a", spelled, "7")
    prometheus.bucket("a", "+Inf", "9")

    counters = read(prometheus, (edge_ms,), edgesMs=(edge_ms,)).pods["a"].counters
    assert counters[Series("shop", edge_ms=edge_ms)] == 7
    assert spelled in edge_pattern((edge_ms,)).replace("\\", "").split("|")


def test_both_spellings_of_an_edge_are_one_edge_and_the_larger_is_believed(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    for edge, value in (("500", "40"), ("500.0", "41"), ("+Inf", "50")):
        prometheus.bucket("a", edge, value)

    assert read(prometheus, (500,)).pods["a"].counters[Series("shop", edge_ms=500.0)] == 41


@pytest.mark.parametrize(
    ("service", "namespace", "subject"),
    [
        ("web.shop.svc.cluster.local", "shop", "shop"),
        ("web.shop.svc.cluster.local", "unknown", "shop"),
        ("web.shop.svc.cluster.local", "", "shop"),
        ("web.shop.svc", "elsewhere", "shop"),
        ("web.shop.svc.example.org", "", "shop"),
        ("api.example.com", "shop", "shop"),
        ("web..svc.cluster.local", "shop", "shop"),
        ("web.shop.svcs", "pay", "pay"),
        ("PassthroughCluster", "", UNKNOWN),
        ("unknown", "unknown", UNKNOWN),
        ("", "", UNKNOWN),
    ],
)
def test_series_belongs_to_its_service_then_to_its_namespace_label_then_to_nobody(
    service: str, namespace: str, subject: str
) -> None:
    assert subject_of(service, namespace) == subject


def test_series_that_name_nothing_are_read_as_unknown(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    prometheus.count("a", "404", "9", NOWHERE)

    assert read(prometheus).pods["a"].counters == {Series(UNKNOWN, Answer("404")): 9}


# --- what is asked


def test_every_query_names_its_time_and_its_timeout(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    read(prometheus, (5,))

    assert [kind_of(asked["query"]) for asked in prometheus.asked] == [
        "newest",
        "started",
        "seen",
        "sampled",
        "buckets",
        "requests",
    ]
    assert [asked["time"] for asked in prometheus.asked] == [f"{AT + 240:.3f}", *[f"{AT:.3f}"] * 5]
    assert all(1 <= int(asked["timeout"].removesuffix("ms")) <= 5000 for asked in prometheus.asked)


def test_custom_metrics_are_asked_part_before_whole_and_before_the_requests(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    read(prometheus, (5,), (LOGINS,))

    asked = [kind_of(asked["query"]) for asked in prometheus.asked]
    assert asked[-4:] == ["logins_total", "attempts_total", "buckets", "requests"]


def test_custom_metric_is_asked_with_the_datasources_matchers_and_its_own() -> None:
    asked = queries(datasource("http://127.0.0.1"), (), (LOGINS,))

    by = "sum by (pod, destination_service, destination_service_namespace)"
    gateway = 'reporter="source"'
    assert [half.query for half in asked.halves] == [
        f'{by} (logins_total{{{gateway},result="failed",source_workload="gateway"}})',
        f'{by} (attempts_total{{{gateway},source_workload="gateway"}})',
    ]


def test_no_query_uses_rate_or_increase_and_all_isolate_the_gateway(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a")
    read(prometheus, (5,), (LOGINS,))

    for asked in prometheus.asked:
        assert "rate(" not in asked["query"]
        assert "increase(" not in asked["query"]
        assert 'source_workload="gateway"' in asked["query"] or 'app="gateway"' in asked["query"]


def test_no_edges_read_no_latency_and_unlisted_edges_are_left_out(prometheus: FakePrometheus) -> None:
    read(prometheus)
    read(prometheus, (777,))

    assert "buckets" not in {kind_of(asked["query"]) for asked in prometheus.asked}


def test_names_come_from_the_settings() -> None:
    labels = {"pod": "kubernetes_pod_name", "service": "svc", "namespace": "ns", "code": "status"}
    labels |= {"flags": "envoy_flags", "grpc": "grpc_code"}
    asked = queries(
        datasource("http://127.0.0.1", labels=labels, metrics={"requests": "r:total", "latencyBuckets": "b"}), (5,)
    )

    assert asked.requests.startswith("sum by (kubernetes_pod_name, svc, ns, status, envoy_flags, grpc_code) (r:total{")
    assert asked.buckets is not None
    assert asked.buckets.startswith("sum by (kubernetes_pod_name, svc, ns, le) (b{")


@pytest.mark.parametrize(
    ("edge", "words"),
    [
        (0.5, ("0.5", "5e-01")),
        (500, ("500", "500.0", "5e+02")),
        (1_800_000, ("1800000", "1800000.0", "1.8e+06")),
        (1_000_000, ("1000000", "1000000.0", "1e+06")),
        (1_234_567.5, ("1234567.5", "1.2345675e+06")),
    ],
)
def test_edge_is_asked_for_in_every_spelling(edge: float, words: tuple[str, ...]) -> None:
    assert spellings(edge) == words


# --- data that cannot be right


@pytest.mark.parametrize(
    ("kind", "rows", "sentence"),
    [
        ("requests", [({**SHOP, "response_code": "200"}, "1")], "has no label 'pod'"),
        ("requests", [({"pod": ""}, "1")], "has no label 'pod'; say in the fleet's labels what the pod is called"),
        ("requests", [(ANSWERED, "-1")], "answered -1.0 for the counter"),
        ("requests", [(ANSWERED, "1"), (ANSWERED, "2")], "same series twice"),
        ("requests", [({"pod": "a", **SHOP}, "1")], "has no label 'response_code', so errors could not be told; say"),
        ("requests", [({**ANSWERED, "response_code": "5xx"}, "1")], "response code '5xx'; errors are told by whole"),
        (
            "requests",
            [({**ANSWERED, "grpc_response_status": "UNAVAILABLE"}, "1")],
            "the gRPC status 'UNAVAILABLE' in 'grpc_response_status'; failures are told by numbers such as 14",
        ),
        (
            "requests",
            [({"pod": "a", "response_code": "200", "svc": "web.shop.svc.cluster.local"}, "1")],
            "no series has the label 'destination_service' or 'destination_service_namespace'",
        ),
        ("buckets", [({"pod": "a", "le": "5"}, "1"), ({"pod": "a", "le": "5"}, "2")], "same series twice"),
        ("buckets", [({"pod": "a", "le": "5"}, "-3")], "answered -3.0 for the counter"),
        ("requests", [(ANSWERED, "1.1e15")], "istio_requests_total is at 1.1e+15, which no counter reaches"),
        ("requests", [(ANSWERED, "1.7e308")], "istio_requests_total is at 1.7e+308"),
        (
            "requests",
            [({**ANSWERED, "destination_service": f"{name}.shop.svc"}, "6e14") for name in ("web", "api")],
            "istio_requests_total is at 1.2e+15",
        ),
        (
            "buckets",
            [({"pod": "a", "le": edge}, "1e16") for edge in ("5", "+Inf")],
            "milliseconds_bucket is at 1e+16",
        ),
        ("buckets", [({"pod": "a", "le": "7"}, "1")], "bucket edge '7', which was not asked for"),
        ("buckets", [({"pod": "a", "le": "five"}, "1")], "bucket edge 'five'"),
        ("buckets", [({"pod": "a"}, "1")], "bucket edge ''"),
        ("buckets", [({"le": "5"}, "1")], "has no label 'pod'"),
        ("sampled", [({"pod": "a"}, str(AT)), ({"pod": "a"}, str(AT))], "pod 'a' is there twice"),
        ("sampled", [({"pod": "a"}, str(AT + 60))], "no instant in the past"),
        (
            "sampled",
            [({"pod": "all"}, str(AT))],
            "requests are counted for all, but the pods that are up are a: the label 'pod' must name the gateway's pod",
        ),
        ("started", [({"pod": "a"}, "-5")], "no instant in the past"),
        ("seen", [({}, str(AT))], "has no label 'pod'"),
        (
            "seen",
            [({"pod": "a", "job": job, "node": "n1"}, str(AT)) for job in ("pods", "envoys")],
            "pod 'a' is there twice, its requests would count twice (job is 'pods' and 'envoys'): add a matcher",
        ),
        ("newest", [({}, str(AT + 61))], "from the future: Prometheus' clock is ahead of shifter's"),
    ],
)
def test_data_that_cannot_be_right_refuses_the_read(
    prometheus: FakePrometheus, kind: str, rows: list[Row], sentence: str
) -> None:
    prometheus.add_pod("a")
    prometheus.rows[kind] = rows

    assert sentence in refusal(prometheus)


# --- clocks, and answers without a pod


@pytest.mark.parametrize(("ahead_seconds", "shown"), [(61, "61 s from"), (238, "238 s or more from")])
def test_samples_from_the_future_are_a_wrong_clock_and_no_evidence(
    prometheus: FakePrometheus, ahead_seconds: float, shown: str
) -> None:
    prometheus.add_pod("a")
    prometheus.rows["newest"] = [({}, str(AT + ahead_seconds))]
    metrics = PrometheusMetrics(datasource(prometheus.url), 45, "tcm", clock=lambda: 0.0)

    with pytest.raises(MetricsUnavailableError, match=rf"^tcm metrics .*: a sample is {shown} the future: .* set them"):
        metrics.read(NOW, ())


def test_clock_that_is_a_little_ahead_is_believed(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a", age_seconds=0)
    prometheus.rows["newest"] = [({}, str(AT + 4))]

    assert set(read(prometheus).pods) == {"a"}


def test_scrape_that_came_while_the_read_was_under_way_is_not_from_the_future(prometheus: FakePrometheus) -> None:
    times = iter([0.0, 0.0, *[9.0] * 50])
    prometheus.add_pod("a")
    prometheus.rows["newest"] = [({}, str(AT + 9))]
    metrics = PrometheusMetrics(
        datasource(prometheus.url, timeout=timedelta(seconds=30)), 45, "tcm", clock=lambda: next(times)
    )

    assert set(metrics.read(NOW, ()).pods) == {"a"}


def why_absent(prometheus: FakePrometheus) -> str:
    reading = PrometheusMetrics(datasource(prometheus.url), 45, "istio", clock=lambda: 0.0).read(NOW, ())
    assert isinstance(reading, Absence)
    assert not reading.pods
    return reading.reason.removeprefix(f"istio metrics ({prometheus.url}): ")


def test_answer_without_any_pod_says_what_was_looked_for(prometheus: FakePrometheus) -> None:
    assert why_absent(prometheus) == (
        'shows no gateway pod, neither envoy_server_uptime{app="gateway"} nor istio_requests_total{reporter="source",'
        'source_workload="gateway"}: it is gone or not scraped, or podMatchers and matchers in the fleet are wrong'
    )


def test_answer_with_old_samples_only_says_how_old(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a", age_seconds=130)
    prometheus.add_pod("b", age_seconds=140)

    assert why_absent(prometheus) == (
        "shows no gateway pod with a fresh sample: the newest of 2 pods is 130 s old, sampleMaxAge is 45 s; "
        "it scrapes no more, or samples reach it late"
    )


@pytest.mark.parametrize("age_seconds", [130, None])
def test_clock_that_is_behind_is_named_and_by_how_much(prometheus: FakePrometheus, age_seconds: float | None) -> None:
    prometheus.rows["clock"] = [({}, str(AT - 120))]
    if age_seconds is not None:
        prometheus.add_pod("a", age_seconds=age_seconds)

    assert why_absent(prometheus).endswith(
        "; its clock is 120 s behind: Prometheus' clock is behind shifter's, or shifter's is ahead; set them right"
    )
    assert "time" not in prometheus.asked[-1]


def test_clock_that_nobody_tells_leaves_the_samples_too_old(prometheus: FakePrometheus) -> None:
    prometheus.add_pod("a", age_seconds=130)
    prometheus.replies["clock"] = replying(503, b"")

    assert "the newest of 1 pods is 130 s old" in why_absent(prometheus)
