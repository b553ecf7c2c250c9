"""A Prometheus in which series are missing, doubled or mislabelled: none of that is quiet traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from shifter.core.balancing.splits import Side
from tests.service.conftest import World
from tests.service.prometheus import BOTH, Bad, only, soaking_worlds, without

Worlds = Callable[..., World]


@pytest.fixture
def bad(make_world: Worlds) -> Iterator[Bad]:
    with soaking_worlds(make_world) as build:
        yield build


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

    soaking.endures(
        r"shows no gateway pod, neither envoy_.*\{.*\} nor istio_.*\{.*within the last hour it showed .*-1",
        soaking.becoming(bend=lambda *_: []),
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

    soaking.endures(
        "nothing can be counted of .*: it shows no request series any more although",
        soaking.becoming(bend=lambda kind, rows: [] if kind in {"sampled", "requests"} else rows),
    )


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

    soaking.endures(
        r"pod '.*' is there twice, its requests would count twice \(job is 'pods' and 'envoys'\): add a matcher",
        soaking.becoming(bend=only("seen", lambda rows: [*rows, ({**rows[0][0], "job": "envoys"}, rows[0][1])])),
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

    soaking.endures(
        "requests are counted for all, but the pods that are up are .*-1: the label 'pod' must name",
        soaking.becoming(bend=only("sampled", lambda rows: [({**rows[0][0], "pod": "all"}, rows[0][1])])),
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

    soaking.endures(
        "has no label 'pod'; say in the fleet's labels", soaking.becoming(bend=only("requests", without("pod")))
    )


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

    soaking.endures(
        "has no label 'response_code', so errors could not be told",
        soaking.becoming(bend=only("requests", without("response_code"))),
    )


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

    soaking.endures(
        "no series has the label 'destination_service' or 'destination_service_namespace'",
        soaking.becoming(bend=only("requests", without("destination_service"))),
    )


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

    soaking.endures(
        "answered the response code '[25]xx'; errors are told by whole codes",
        soaking.becoming(
            bend=only(
                "requests",
                lambda rows: [({**row, "response_code": f"{row['response_code'][0]}xx"}, v) for row, v in rows],
            )
        ),
    )


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
