"""The fleet file: what it defaults to, and every rule that makes one invalid."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shifter.core.documents.fleet import ISTIO_EDGES_MS, Fleet, Lessons, common_edges_ms, late_calls, misfits
from shifter.core.documents.policy import ShiftPolicy


def _datasource(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a file may hold
    return {
        "url": "http://prometheus-tcm:9090",
        "matchers": {"source_workload": "istio-ingressgateway"},
        "podMatchers": {"app": "istio-ingressgateway"},
        **changes,
    }


def _fleet(
    source: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    tencent: dict[str, Any] | None = None,
    **spec: Any,  # noqa: ANN401 - whatever a file may hold
) -> Fleet:
    document = {
        "kind": "Fleet",
        "metadata": {"name": "guangzhou"},
        "spec": {
            "datasources": {
                "source": source or _datasource(),
                "target": target or _datasource(url="http://prometheus-istio:9090"),
            },
            "provider": {"tencent": {"secretIdFile": "/id", "secretKeyFile": "/key", **(tencent or {})}},
            **spec,
        },
    }
    return Fleet.model_validate_json(json.dumps(document))


def test_the_defaults_fit_a_plain_istio_and_a_scrape_every_15_seconds() -> None:
    spec = _fleet().spec

    assert spec.mode == "act"
    assert spec.retention == timedelta(days=180)
    assert spec.timing.tick == timedelta(seconds=15)
    assert spec.datasources.source.edges_ms == ISTIO_EDGES_MS
    assert spec.datasources.source.metrics.requests == "istio_requests_total"
    labels = spec.datasources.source.labels
    assert (labels.code, labels.flags, labels.grpc) == ("response_code", "response_flags", "grpc_response_status")
    assert (spec.provider.tencent.scheme, spec.provider.tencent.endpoint) == ("https", "clb.tencentcloudapi.com")


def test_one_prometheus_may_serve_both_sides_if_labels_tell_them_apart() -> None:
    labels = {"source": {"cluster": "tcm"}, "target": {"cluster": "istio"}}
    fleet = _fleet(*(_datasource(matchers=each, podMatchers=each) for each in labels.values()))

    assert fleet.spec.datasources.source.url == fleet.spec.datasources.target.url


@pytest.mark.parametrize("blurred", ["matchers", "podMatchers"])
@pytest.mark.parametrize(
    "target", [{"cluster": "tcm"}, {"cluster": "tcm", "namespace": "istio-system"}, {"namespace": "istio-system"}]
)
def test_one_prometheus_for_sides_that_could_share_series_is_refused(target: dict[str, str], blurred: str) -> None:
    apart = {"matchers": {"cluster": "istio"}, "podMatchers": {"cluster": "istio"}}
    source = {"matchers": {"cluster": "tcm"}, "podMatchers": {"cluster": "tcm"}}

    with pytest.raises(ValidationError, match="no matcher tells them apart"):
        _fleet(_datasource(**source), _datasource(**{**apart, blurred: target}))


@pytest.mark.parametrize("matchers", [{"reporter": "source"}, {}])
def test_matchers_that_every_sidecar_satisfies_are_refused(matchers: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"reporter alone|at least 1 item"):
        _fleet(source=_datasource(matchers=matchers))


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "prometheus:9090"},
        {"url": "http://user:secret@prometheus:9090"},
        {"url": "http://prometheus/?x=1"},
        {"matchers": {"bad-label": "x"}},
        {"podMatchers": {}},
        {"labels": {"pod": "a b"}},
        {"metrics": {"requests": "sum(x)"}},
        {"timeout": "0s"},
        {"edgesMs": []},
        {"edgesMs": [0, 5]},
        {"edgesMs": [5, 5]},
        {"edgesMs": [10, 5]},
    ],
)
def test_a_datasource_that_cannot_be_right_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        _fleet(source=_datasource(**changes))

    assert caught.value.errors()[0]["loc"][:3] == ("spec", "datasources", "source")


@pytest.mark.parametrize(("edges_ms", "place"), [([0, 5], 0), ([5, 10, 10], 2), ([5, 3, 10], 1)])
def test_the_first_edge_that_does_not_grow_is_pointed_at(edges_ms: list[float], place: int) -> None:
    with pytest.raises(ValidationError) as caught:
        _fleet(source=_datasource(edgesMs=edges_ms))

    assert caught.value.errors()[0]["ctx"]["at"] == (place,)


def test_edges_may_be_any_that_grow() -> None:
    assert _fleet(source=_datasource(edgesMs=[0.5, 7, 250])).spec.datasources.source.edges_ms == (0.5, 7, 250)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8443", "localhost", "localhost:80"])
def test_plain_http_stays_on_this_machine(endpoint: str) -> None:
    assert _fleet(tencent={"scheme": "http", "endpoint": endpoint}).spec.provider.tencent.endpoint == endpoint


@pytest.mark.parametrize("endpoint", ["clb.tencentcloudapi.com", "127.0.0.1.example.com"])
def test_plain_http_to_another_machine_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="plain http is for a loopback endpoint only"):
        _fleet(tencent={"scheme": "http", "endpoint": endpoint})


@pytest.mark.parametrize(
    "tencent",
    [
        {"endpoint": "https://clb.tencentcloudapi.com"},
        {"requestsPerSecond": 0},
        {"requestsPerSecond": 21},
        {"timeout": "0s"},
        {"secretId": "AKID"},
    ],
)
def test_a_provider_that_cannot_be_right_is_refused(tencent: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        _fleet(tencent=tencent)

    assert caught.value.errors()[0]["loc"][:3] == ("spec", "provider", "tencent")


@pytest.mark.parametrize(
    ("timing", "complaint"),
    [
        ({"tick": "0s"}, "at least 1ms"),
        ({"reportEvery": "0ms"}, "at least 1ms"),
        ({"tick": "1m"}, "sampleMaxAge must be at least one tick"),
    ],
)
def test_clockwork_that_cannot_run_is_refused(timing: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        _fleet(timing=timing)


# --- learning


def test_history_is_learnt_within_minutes_from_an_hour_at_most() -> None:
    learning = _fleet().spec.learning

    assert learning.lessons() == Lessons()
    assert (learning.min_ticks, learning.min_requests, learning.history_ticks) == (8, 100, 240)


def test_what_the_file_says_of_learning_is_what_is_learnt_by() -> None:
    said = {"historyTicks": 40, "minTicks": 4, "minRequests": 0, "onePodDispersion": 1}

    assert _fleet(learning=said).spec.learning.lessons() == Lessons(4, 0, 40, 1)


@pytest.mark.parametrize(
    ("learning", "at"),
    [
        ({"historyTicks": 7}, "historyTicks"),
        ({"historyTicks": 721}, "historyTicks"),
        ({"minTicks": 1}, "minTicks"),
        ({"minTicks": 8.5}, "minTicks"),
        ({"minRequests": -1}, "minRequests"),
        ({"onePodDispersion": 0.9}, "onePodDispersion"),
        ({"ticks": 8}, "ticks"),
    ],
)
def test_learning_that_cannot_be_right_is_refused_where_it_is_wrong(learning: dict[str, float], at: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _fleet(learning=learning)

    assert caught.value.errors()[0]["loc"] == ("spec", "learning", at)


@pytest.mark.parametrize(
    ("learning", "at"),
    [({"minTicks": 241}, "minTicks"), ({"historyTicks": 40, "minTicks": 41}, "minTicks")],
)
def test_history_that_never_has_enough_ticks_is_refused(learning: dict[str, int], at: str) -> None:
    with pytest.raises(ValidationError, match="minTicks must be at most historyTicks") as caught:
        _fleet(learning=learning)

    assert caught.value.errors()[0]["ctx"]["at"] == (at,)


# --- custom metrics


def _pair(name: str = "logins", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a file may hold
    failed = {"metric": "logins_total", "matchers": {"result": "failed"}}
    return {"name": name, "bad": failed, "total": {"metric": "logins_total"}, **changes}


def test_fleet_defines_no_custom_metric_unless_it_says_so() -> None:
    assert _fleet().spec.custom_metrics == ()


def test_custom_metric_is_a_pair_of_counters_with_matchers_of_their_own() -> None:
    (found,) = _fleet(customMetrics=[_pair()]).spec.custom_metrics

    assert (found.name, found.bad.metric, dict(found.bad.matchers)) == ("logins", "logins_total", {"result": "failed"})
    assert (found.total.metric, dict(found.total.matchers)) == ("logins_total", {})


def test_matcher_that_says_the_same_as_the_datasources_is_allowed() -> None:
    same = {"metric": "logins_total", "matchers": {"source_workload": "istio-ingressgateway", "result": "failed"}}

    assert _fleet(customMetrics=[_pair(bad=same)]).spec.custom_metrics


@pytest.mark.parametrize(
    ("metrics", "at", "sentence"),
    [
        ([_pair("Logins!")], (0, "name"), "not a Kubernetes name"),
        ([_pair(), _pair("cards"), _pair()], (), "a custom metric of this name is defined already"),
        ([_pair(bad={"metric": "sum(x)"})], (0, "bad", "metric"), "should match pattern"),
        ([_pair(bad={"metric": "x", "matchers": {"a b": "1"}})], (0, "bad", "matchers", "a b", "[key]"), "pattern"),
        ([_pair(bad={"metric": "x", "query": "1"})], (0, "bad", "query"), "Extra inputs are not permitted"),
        ([_pair(bad=None)], (0, "bad"), "should be an object"),
        ([_pair(bad={"metric": "logins_total"})], (0, "total"), "bad and total are the same counter: all of it would"),
        (
            [_pair(bad={"metric": "logins_total", "matchers": {"source_workload": "another"}})],
            (),
            "'source_workload' has another value in a datasource's matchers: both together select nothing",
        ),
        ([_pair(f"pair-{number}") for number in range(11)], (), "at most 10 items"),
    ],
)
def test_custom_metric_that_cannot_be_right_is_refused_where_it_is_wrong(
    metrics: list[dict[str, Any]], at: tuple[str | int, ...], sentence: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        _fleet(customMetrics=metrics)

    (error,) = caught.value.errors()
    assert error["loc"] == ("spec", "customMetrics", *at)
    assert sentence in error["msg"]


@pytest.mark.parametrize(
    ("metrics", "at"),
    [
        ([_pair(), _pair("cards"), _pair()], (2, "name")),
        (
            [_pair(), _pair("cards", total={"metric": "x", "matchers": {"source_workload": "y"}})],
            (1, "total", "matchers", "source_workload"),
        ),
    ],
)
def test_complaint_about_custom_metrics_says_which_part_is_meant(
    metrics: list[dict[str, Any]], at: tuple[str | int, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        _fleet(customMetrics=metrics)

    assert caught.value.errors()[0]["ctx"]["at"] == at


def test_broken_datasource_does_not_hide_behind_custom_metrics() -> None:
    with pytest.raises(ValidationError) as caught:
        _fleet(source=_datasource(url="prometheus"), customMetrics=[_pair()])

    assert [error["loc"][-1] for error in caught.value.errors()] == ["url"]


def test_custom_metric_that_the_fleet_does_not_define_does_not_fit() -> None:
    asking = _policy(analysis={"custom": [{"name": "logins"}, {"name": "cards"}]})
    (found,) = misfits(asking, _fleet(customMetrics=[_pair(), _pair("views")]))
    without = [each.reason for each in misfits(asking, _fleet())]

    assert found.path == ("spec", "analysis", "custom", 1, "name")
    assert found.reason == "the fleet's customMetrics define no 'cards': it has logins, views"
    assert without == [f"the fleet's customMetrics define no {name!r}: it has none" for name in ("logins", "cards")]


def test_custom_metric_of_a_fleet_that_is_not_known_is_not_judged() -> None:
    assert not list(misfits(_policy(analysis={"custom": [{"name": "logins"}]}), None))


# --- the rest


def test_history_is_kept_for_a_day_at_least() -> None:
    assert _fleet(retention="1d").spec.retention == timedelta(days=1)
    with pytest.raises(ValidationError, match="history must be kept for at least 1d"):
        _fleet(retention="23h")


def _policy(analysis: dict[str, Any]) -> ShiftPolicy:
    rule = {"listener": "lbl-1", "domain": "shop.example.com", "url": "/"}
    sides = {"source": {"port": 30080}, "target": {"port": 31080}}
    spec = {
        "namespace": "shop",
        "traffic": {"clb": {"region": "ap-guangzhou", "loadBalancer": "lb-1", "routes": [rule], **sides}},
        "steps": [100],
        "soak": "5m",
        "analysis": analysis,
    }
    return ShiftPolicy.model_validate_json(
        json.dumps({"kind": "ShiftPolicy", "metadata": {"name": "shop"}, "spec": spec})
    )


def _asking(max_ms: float | None) -> ShiftPolicy:
    return _policy({} if max_ms is None else {"latency": {"maxMs": max_ms}})


@pytest.mark.parametrize(
    ("max_ms", "sides", "whose"),
    [
        (None, ([5], [5]), []),
        (5, ([1, 5], [5]), []),
        (6, ([1, 5], [5, 10]), ["the source's"]),
        (6, ([5, 10], [5]), ["the target's"]),
        (8, ([5, 9], [5, 10]), ["the edgesMs that both sides have"]),
        (700000, ([5], [5]), ["the source's"]),
    ],
)
def test_a_latency_beyond_the_last_edge_of_a_side_does_not_fit(
    max_ms: float | None, sides: tuple[list[float], list[float]], whose: list[str]
) -> None:
    source, target = (
        _datasource(url=f"http://{side}", edgesMs=edges) for side, edges in zip(("tcm", "istio"), sides, strict=True)
    )
    found = list(misfits(_asking(max_ms), _fleet(source, target)))

    assert [each.path for each in found] == [("spec", "analysis", "latency", "maxMs")] * len(whose)
    assert [name in each.reason for name, each in zip(whose, found, strict=True)] == [True] * len(whose)


@pytest.mark.parametrize("max_ms", [None, 3])
def test_latency_does_not_fit_two_sides_without_an_edge_in_common(max_ms: float | None) -> None:
    fleet = _fleet(_datasource(edgesMs=[5]), _datasource(url="http://istio", edgesMs=[10]))
    (found,) = misfits(_asking(max_ms), fleet)

    assert found.path == ("spec", "analysis", "latency")
    assert found.reason == (
        "the fleet's two datasources have no bucket edge in common, so latency cannot be compared: mend edgesMs there,"
        " or say `latency: {enabled: false}` here"
    )
    assert not list(misfits(_policy({"latency": {"enabled": False}}), fleet))


def test_the_edges_that_latency_is_compared_at_are_those_of_both_sides() -> None:
    fleet = _fleet(_datasource(edgesMs=[1, 5, 25]), _datasource(url="http://istio", edgesMs=[5, 10, 25]))

    assert common_edges_ms(fleet) == (5, 25)


def test_without_a_fleet_the_edges_are_those_that_istio_ships() -> None:
    (found,) = misfits(_asking(700000), None)

    assert found.reason.startswith("700000 ms is beyond the last of edgesMs, 600000 ms")
    assert not list(misfits(_asking(600000), None))


@pytest.mark.parametrize(
    ("timeout", "lease"),
    [
        ("2.5s", {}),
        ("2666ms", {}),
        ("3s", {"writeBudget": "9s"}),
        ("400ms", {"duration": "4s", "deadline": "2600ms", "renew": "400ms", "call": "900ms", "writeBudget": "1200ms"}),
    ],
)
def test_calls_that_end_within_the_write_budget_are_never_late(timeout: str, lease: dict[str, str]) -> None:
    assert late_calls(_fleet(tencent={"timeout": timeout}, lease=lease)) == ""


def test_calls_of_the_defaults_are_never_late() -> None:
    assert late_calls(_fleet()) == ""


def test_calls_that_may_outlast_the_write_budget_are_told_with_both_keys() -> None:
    assert late_calls(_fleet(tencent={"timeout": "6s"})) == (
        "spec.provider.tencent.timeout: a call takes at most 3 x 6s = 18s, more than spec.lease.writeBudget (8s): a"
        " write that was begun in time could end when another replica leads"
    )
