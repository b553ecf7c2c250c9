"""A Prometheus that does not answer, or whose answer is none: it holds, and keeps nobody from going back."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Verb
from tests.http import replying
from tests.service.conftest import World
from tests.service.prometheus import BOTH, FAULT_TICKS, NOBODY, Bad, answer, soaking_worlds

Worlds = Callable[..., World]


@pytest.fixture
def bad(make_world: Worlds) -> Iterator[Bad]:
    with soaking_worlds(make_world) as build:
        yield build


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

    soaking.endures(r"http://127.0.0.1:1.*: no answer \(connection refused\)", soaking.becoming(address=NOBODY))


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

    soaking.endures("answered HTTP 503: tsdb is not ready", soaking.becoming(reply=replying(503, b"tsdb is not ready")))


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

    soaking.endures(
        "answered the error too many samples",
        soaking.becoming(reply=replying(200, b'{"status":"error","error":"too many samples"}')),
    )


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

    soaking.endures(
        "answered no JSON; is that a Prometheus.*<html>please log in",
        soaking.becoming(reply=replying(200, b"<html>please log in</html>")),
    )


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

    soaking.endures(
        r"redirects to https://sso.example.com \(HTTP 302\); write the final address in the fleet",
        soaking.becoming(reply=replying(302, b"", Location="https://sso.example.com/?next=1")),
    )


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

    soaking.endures(
        "may be partial, it came with warnings: .*store-2 did not answer",
        soaking.becoming(reply=replying(200, answer([], warnings=["store-2 did not answer"]))),
    )


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

    soaking.endures(
        "may be partial, it came with infos: .*left out",
        soaking.becoming(reply=replying(200, answer([], infos=["some series were left out"]))),
    )


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

    soaking.endures(
        "answered more than 2000000 values", soaking.becoming(reply=replying(200, b"[" + b"[]," * 1_000_001 + b"[]]"))
    )


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
    bomb = gzip.compress(b" " * 40_000_000, 1)

    soaking.endures("answered more than 32 MiB", soaking.becoming(reply=replying(200, bomb, Content_Encoding="gzip")))


@pytest.mark.fault(
    on="Prometheus",
    fault="TCM's is down while Istio fails",
    does="holds: one side alone judges nothing; rolls back as soon as both answer, or when a person says so",
    sees="hold `no signal`: tcm metrics (URL) ...",
    safe_within="the outage + 3 ticks",
)
def test_a_target_that_fails_during_the_sources_outage_goes_back_when_it_ends(bad: Bad) -> None:
    soaking = bad(Side.SOURCE)
    soaking.prometheus.address = NOBODY
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
        soaking.prometheus.address = NOBODY
    elif strike == "frozen":
        soaking.prometheus.freeze()
    else:
        soaking.prometheus.ahead_seconds = 120
    soaking.world.step(3)
    soaking.world.order(Verb.ROLLBACK)
    soaking.world.step(4)

    assert soaking.world.share() == 0
