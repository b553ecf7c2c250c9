"""Ranges that are too much, damaged, or not what was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest

from shifter.adapters.prometheus import PrometheusMetrics
from shifter.core.counts.evidence import Reading
from shifter.core.documents.fleet import Datasource
from shifter.errors import InvariantError, MetricsUnavailableError
from shifter.ports import Unread
from tests.http import Reply, replying, send, serving

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
STEP = timedelta(seconds=15)
SHOP = {"destination_service": "web.shop.svc.cluster.local"}
Points = list[list[object]]
Row = tuple[dict[str, str], Callable[[float], str]]


class RangePrometheus:
    """Answers every question about one pod for every instant asked; `bend` changes a row's points."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, float, float, int]] = []
        self.reply: Reply | None = None
        self.most_instants = 100_000
        self.too_much: Reply = replying(422, error("execution", "query processing would load too many samples"))
        self.bend: Callable[[str, Points], Points] = lambda _, points: points

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        params = {name: values[0] for name, values in parse_qs(parts.query).items()}
        start, end, step = (float(params.get(name, 0)) for name in ("start", "end", "step"))
        instants = round((end - start) / step) + 1 if step else 0
        self.asked.append((parts.path, start, end, instants))
        if self.reply is not None:
            self.reply(handler)
        elif instants > self.most_instants:
            self.too_much(handler)
        else:
            query = params["query"]
            labels, value = row(query)
            points: Points = [[at, value(at)] for at in (start + index * step for index in range(instants))]
            result = [{"metric": labels, "values": self.bend(query, points)}]
            send(handler, 200, matrix(result))


def row(query: str) -> Row:
    """Return the row that answers a query: its labels, and its value at an instant."""
    if query.startswith("max by (pod) ("):
        return {"pod": "gw-1"}, lambda _: str(START.timestamp() - 1000)
    if "timestamp(" in query:
        return {"pod": "gw-1", "job": "pods"}, lambda at: str(at - 3)
    labels = {"pod": "gw-1", "response_code": "200", "response_flags": "-", **SHOP}
    return labels, lambda at: str(round(at - START.timestamp()))


def error(kind: str, text: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


def matrix(result: Sequence[object], **more: object) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}, **more}).encode()


@pytest.fixture
def prometheus() -> Iterator[RangePrometheus]:
    made = RangePrometheus()
    with serving(made.answer) as made.url:
        yield made


def past(prometheus: RangePrometheus, ticks: int, *, timeout_seconds: float = 5) -> list[Reading | Unread]:
    settings = {"url": prometheus.url, "matchers": {"app": "gateway"}, "podMatchers": {"app": "gateway"}}
    datasource = Datasource.model_validate(settings | {"timeout": timedelta(seconds=timeout_seconds)})
    metrics = PrometheusMetrics(datasource, 45, "tcm")
    return list(metrics.past(START, START + (ticks - 1) * STEP, STEP, ()))


def refusal(prometheus: RangePrometheus, ticks: int = 4, **more: float) -> str:
    with pytest.raises(MetricsUnavailableError) as caught:
        past(prometheus, ticks, **more)
    return str(caught.value)


def test_every_instant_is_read_once_and_in_order(prometheus: RangePrometheus) -> None:
    readings = past(prometheus, 2500)

    assert [reading.read_at for reading in readings] == [START.timestamp() + 15 * index for index in range(2500)]
    counted = [reading.pods["gw-1"].counters for reading in readings if isinstance(reading, Reading)]
    assert [sum(counters.values()) for counters in counted] == [15 * index for index in range(2500)]
    assert {path for path, *_ in prometheus.asked} == {"/api/v1/query_range"}
    assert max(instants for *_, instants in prometheus.asked) == 1000


def test_what_came_after_an_instant_is_not_asked_for(prometheus: RangePrometheus) -> None:
    past(prometheus, 20)

    assert {(start, end) for _, start, end, _ in prometheus.asked} == {
        (START.timestamp(), (START + 19 * STEP).timestamp())
    }


@pytest.mark.parametrize(
    "too_much",
    [
        replying(422, error("execution", "query processing would load too many samples into memory")),
        replying(503, error("timeout", "query timed out in expression evaluation")),
        replying(400, error("bad_data", "exceeded maximum resolution of 11,000 points per timeseries")),
        replying(200, matrix([{"metric": {}, "values": [[0, "1"]] * 700_000}])),
    ],
    ids=["samples", "time", "resolution", "values"],
)
def test_range_that_is_too_much_is_asked_for_in_smaller_pieces(prometheus: RangePrometheus, too_much: Reply) -> None:
    prometheus.most_instants, prometheus.too_much = 30, too_much

    readings = past(prometheus, 100)

    assert [reading.read_at for reading in readings] == [START.timestamp() + 15 * index for index in range(100)]
    assert all(isinstance(reading, Reading) for reading in readings)
    refused = [instants for *_, instants in prometheus.asked if instants > 30]
    assert refused == [100, 50]


def test_instant_that_is_too_much_by_itself_ends_it(prometheus: RangePrometheus) -> None:
    prometheus.most_instants = 0

    said = refusal(prometheus)

    assert "recorded: answered HTTP 422: query processing would load too many samples" in said


def test_damaged_instant_is_unread_and_the_others_are_read(prometheus: RangePrometheus) -> None:
    prometheus.bend = lambda query, points: (
        [[at, "NaN" if index == 2 else value] for index, (at, value) in enumerate(points)]
        if query.startswith("sum by")
        else points
    )

    readings = past(prometheus, 5)

    assert [isinstance(reading, Unread) for reading in readings] == [False, False, True, False, False]
    (unread,) = (reading for reading in readings if isinstance(reading, Unread))
    assert "tcm metrics" in unread.reason
    assert "request counts: answered NaN where a number must be" in unread.reason


def test_instant_without_any_row_is_an_absence(prometheus: RangePrometheus) -> None:
    prometheus.bend = lambda _, points: points[3:]

    readings = past(prometheus, 5)

    assert [len(reading.pods) for reading in readings if isinstance(reading, Reading)] == [0, 0, 0, 1, 1]
    assert "shows no gateway pod, neither" in readings[0].reason  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "points",
    [[[START.timestamp() + 7, "1"]], [[START.timestamp() + 600, "1"]], [["soon", "1"]], [[float("nan"), "1"]], [17]],
    ids=["between two steps", "after the last", "text", "nan", "no pair"],
)
def test_instant_that_was_not_asked_for_is_refused(prometheus: RangePrometheus, points: Points) -> None:
    prometheus.bend = lambda *_: points

    assert "answered an instant that was not asked for; something before Prometheus moves" in refusal(prometheus)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (matrix([], warnings=["remote storage is down"]), "may be partial, it came with warnings"),
        (matrix([{"metric": {"pod": 7}, "values": []}]), "answered a row that is no range"),
        (
            b'{"status":"success","data":{"resultType":"vector","result":[]}}',
            "answered a vector where a matrix must be",
        ),
        (b"hello", "answered no JSON"),
    ],
)
def test_answer_that_is_no_whole_range_is_refused(prometheus: RangePrometheus, body: bytes, sentence: str) -> None:
    prometheus.reply = replying(200, body)

    assert sentence in refusal(prometheus)


def test_nobody_there_is_told_at_once_and_not_asked_in_pieces(prometheus: RangePrometheus) -> None:
    prometheus.reply = replying(502, b"bad gateway")

    said = refusal(prometheus, ticks=100)

    assert "tcm metrics" in said
    assert "answered HTTP 502: bad gateway" in said
    assert len(prometheus.asked) == 1


@pytest.mark.parametrize(
    ("start", "step", "sentence"),
    [
        (datetime(2026, 11, 21, 12), STEP, "a range of recorded readings needs time zones"),  # noqa: DTZ001 - the fault
        (START, timedelta(), "is no step from one recorded reading to the next"),
        (START, timedelta(microseconds=10), "is no step from one recorded reading to the next"),
    ],
)
def test_range_that_cannot_be_asked_for_is_a_bug(start: datetime, step: timedelta, sentence: str) -> None:
    settings = {"url": "http://127.0.0.1:1", "matchers": {"app": "gateway"}, "podMatchers": {"app": "gateway"}}
    metrics = PrometheusMetrics(Datasource.model_validate(settings), 45, "tcm")

    with pytest.raises(InvariantError, match=sentence):
        metrics.past(start, START + STEP, step, ())
