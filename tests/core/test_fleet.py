"""The fleet file: what it defaults to, and every rule that makes one invalid."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shifter.core.fleet import ISTIO_EDGES_MS, Fleet, misfits
from shifter.core.policy import ShiftPolicy


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
    assert spec.datasources.source.labels.code == "response_code"
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


def test_history_is_kept_for_a_day_at_least() -> None:
    assert _fleet(retention="1d").spec.retention == timedelta(days=1)
    with pytest.raises(ValidationError, match="history must be kept for at least 1d"):
        _fleet(retention="23h")


def _asking(max_ms: float | None) -> ShiftPolicy:
    rule = {"listener": "lbl-1", "domain": "shop.example.com", "url": "/"}
    sides = {"source": {"port": 30080}, "target": {"port": 31080}}
    spec = {
        "namespace": "shop",
        "traffic": {"clb": {"region": "ap-guangzhou", "loadBalancer": "lb-1", "routes": [rule], **sides}},
        "steps": [100],
        "soak": "5m",
        "analysis": {} if max_ms is None else {"latency": {"maxMs": max_ms}},
    }
    return ShiftPolicy.model_validate_json(
        json.dumps({"kind": "ShiftPolicy", "metadata": {"name": "shop"}, "spec": spec})
    )


@pytest.mark.parametrize(
    ("max_ms", "sides", "whose"),
    [
        (None, ([5], [5]), []),
        (5, ([1, 5], [5]), []),
        (6, ([1, 5], [10]), ["the source's"]),
        (6, ([10], [5]), ["the target's"]),
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


def test_without_a_fleet_the_edges_are_those_that_istio_ships() -> None:
    (found,) = misfits(_asking(700000), None)

    assert found.reason.startswith("700000 ms is beyond the last of edgesMs, 600000 ms")
    assert not list(misfits(_asking(600000), None))
