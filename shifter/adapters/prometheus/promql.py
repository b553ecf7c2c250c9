"""The questions asked of Prometheus: pure text, made only of a datasource's settings.

Label and metric names are checked by the settings' patterns; every value goes through `quoted`. Nothing from a
policy comes near a query: policies name namespaces, and namespaces are told apart in the answer.

Written for Prometheus 2.42 and newer, with nothing that only 3.x understands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shifter.core.counts.evidence import BAD_PART, TOTAL_PART
from shifter.core.documents.fleet import CustomCounter, CustomMetric, Datasource

EDGE_LABEL = "le"

TARGET_LABELS = ("job", "instance")
"""What Prometheus calls a scraped process by, whatever else the labels are."""

AHEAD_SECONDS = 240
"""So far beyond the time of a read its samples are looked for: where there is one, a clock is wrong."""

_AHEAD_STEP_SECONDS = 5
_PRINTABLE_ESCAPES = {"\\": "\\\\", '"': '\\"'}


@dataclass(frozen=True, slots=True)
class HalfQuery:
    """The question for one half (`part`) of the custom metric called `pair`; `metric` is the counter, for people."""

    pair: str
    part: str
    metric: str
    query: str


@dataclass(frozen=True, slots=True)
class Queries:
    """One read of one datasource. `buckets` is None if no latency is read, `halves` are the custom metrics'.

    `newest` is asked as of `AHEAD_SECONDS` after the others: as of now, a server whose clock is ahead shows what
    was true minutes ago, and it looks fresh. A subquery, since the server's own lookback may be shorter than that.
    `seen` is not aggregated: a pod that is there twice can only be told by all its labels.

    The fields stand in the order in which they must be asked. A scrape may arrive in between: an old process
    start with new counters looks like a fall and is dropped, whereas a new process start with the old process's
    counters would count its whole life again. For the same reason a part (what is bad, what was fast) comes before
    the whole: a part that is newer could be more than its whole.
    """

    newest: str
    started: str
    seen: str
    sampled: str
    halves: tuple[HalfQuery, ...]
    buckets: str | None
    requests: str


def queries(datasource: Datasource, edges_ms: Iterable[float], custom: Iterable[CustomMetric] = ()) -> Queries:
    """Return the questions for one read: two for each custom metric and six others, however many namespaces there are.

    Args:
        datasource: names, and the matchers that isolate the gateway.
        edges_ms: finite bucket edges; the infinite one is added. None given reads no latency.
        custom: the fleet's custom metrics.
    """
    labels, metrics = datasource.labels, datasource.metrics
    edges = tuple(edges_ms)
    requests = selector(metrics.requests, datasource.matchers)
    buckets = selector(metrics.latency_buckets, datasource.matchers, f"{EDGE_LABEL}=~{quoted(edge_pattern(edges))}")
    uptime = selector(metrics.uptime, datasource.pod_matchers)
    by_place = f"{labels.pod}, {labels.service}, {labels.namespace}"
    by_process = ", ".join(dict.fromkeys((labels.pod, *TARGET_LABELS)))
    return Queries(
        newest=f"max(max_over_time(timestamp({uptime})[{AHEAD_SECONDS}s:{_AHEAD_STEP_SECONDS}s]))",
        started=f"max by ({labels.pod}) (timestamp({uptime}) - {uptime})",
        seen=f"timestamp({uptime})",
        sampled=f"max by ({by_process}) (timestamp({requests}))",
        halves=tuple(
            HalfQuery(metric.name, part, half.metric, f"sum by ({by_place}) ({_half(datasource, half)})")
            for metric in custom
            for part, half in ((BAD_PART, metric.bad), (TOTAL_PART, metric.total))
        ),
        buckets=f"sum by ({by_place}, {EDGE_LABEL}) ({buckets})" if edges else None,
        requests=f"sum by ({by_place}, {labels.code}, {labels.flags}, {labels.grpc}) ({requests})",
    )


def _half(datasource: Datasource, half: CustomCounter) -> str:
    """Return the series of one counter; a label that both name has one value in both, see `FleetSpec`."""
    return selector(half.metric, {**half.matchers, **datasource.matchers})


def selector(metric: str, matchers: Mapping[str, str], *more: str) -> str:
    """Return `metric{label="value",...}`, labels in alphabetic order; `more` is matchers already written."""
    equalities = [f"{label}={quoted(value)}" for label, value in sorted(matchers.items())]
    return f"{metric}{{{','.join((*equalities, *more))}}}"


def quoted(value: str) -> str:
    """Return a PromQL string literal that means exactly `value`.

    Quotes and backslashes are escaped, and so is everything that does not print: a raw newline ends a literal, and
    control characters have no business in a log line that shows the query. PromQL's escapes are Go's
    (https://prometheus.io/docs/prometheus/latest/querying/basics/#string-literals).
    """
    return '"' + "".join(_escaped(character) for character in value) + '"'


def _escaped(character: str) -> str:
    if character.isprintable():
        return _PRINTABLE_ESCAPES.get(character, character)
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"  # noqa: PLR2004 - \u has four digits


def edge_pattern(edges_ms: Iterable[float]) -> str:
    """Return the regular expression (anchored by PromQL) that matches these edges and infinity, however spelled."""
    words = [word for edge in edges_ms for word in spellings(edge)]
    return "|".join(re.escape(word) for word in (*words, "+Inf"))


def spellings(edge_ms: float) -> tuple[str, ...]:
    """Return the ways in which Prometheus writes a finite edge.

    2.x keeps what the gateway wrote (Envoy: `500`); 3.x normalizes to OpenMetrics (`500.0`); Go's shortest form has
    an exponent from a million on (`1.8e+06`), and other exporters write one for any number (`5e-01`).
    """
    edge = float(edge_ms)
    whole = f"{edge:.0f}" if edge.is_integer() else repr(edge)
    with_point = f"{whole}.0" if edge.is_integer() else whole
    exponent = next(text for digits in range(18) if float(text := f"{edge:.{digits}e}") == edge)
    return tuple(dict.fromkeys((whole, with_point, exponent)))
