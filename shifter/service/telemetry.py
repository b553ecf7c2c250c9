"""What shifter says about itself: structlog JSON on stderr, and its own Prometheus metrics.

Everything told is bounded, since much of it quotes others: a field of a log line in characters and items, a label's
values by what there is of them (shifts, and enumerations of ours).
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import timedelta
from itertools import islice
from typing import Any, Final, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shifter import __version__
from shifter.core.analysis.measures import ERRORS
from shifter.core.deciding.holds import HoldKind
from shifter.core.phases import Phase
from shifter.core.state import Report
from shifter.errors import TransientError
from shifter.service.observe import MESH
from shifter.service.repeats import Repeats, without_numbers

_QUIET_LOGGERS = ("tencentcloud_sdk_common", "urllib3", "uvicorn")
_SILENT_LOGGERS = ("apscheduler",)
"""Warns whenever a wake is skipped because one is under way, which is how it is meant to be."""

LONGEST_FIELD: Final = 4_000
"""The most characters of a field of a log line. Of a traceback the last ones: what happened stands at its end."""

MOST_ITEMS: Final = 50
"""The most items of a field that is a list or a mapping."""

MOST_ERRORS: Final = 50
"""The most kinds of errors that are counted by name; libraries may make some up as they go."""


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """Write one JSON object per line to `stream` (stderr). Libraries speak from WARNING up: one of them logs keys."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _bounded,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


class Telemetry:
    """Metrics and log lines about shifts. One instance per process; its registry is served at /metrics."""

    def __init__(
        self, registry: CollectorRegistry, talk_every: timedelta, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.registry = registry
        self._log = structlog.get_logger("shifter")
        self._talk_every_seconds = talk_every.total_seconds()
        self._repeats = Repeats(self._talk_every_seconds, monotonic)
        self._said_at: dict[str, float] = {}
        self._bounded: dict[str, set[str]] = {}
        self._kinds: set[str] = set()
        self._share = Gauge("shifter_share_percent", "Share of istio, percent", ["shift", "kind"], registry=registry)
        self._phase = Gauge("shifter_phase", "1 for the phase a shift is in", ["shift", "phase"], registry=registry)
        self._hold = Gauge("shifter_hold", "1 for every hold in force", ["shift", "hold"], registry=registry)
        self._odds = Gauge("shifter_harm_odds", "Odds against istio", ["shift"], registry=registry)
        self._limit = Gauge("shifter_harm_limit", "Odds at which a shift goes back", ["shift"], registry=registry)
        self._bound = Gauge(
            "shifter_bound_percent", "Excess of istio over tcm, at most (95 %)", ["shift", "metric"], registry=registry
        )
        self._dropped = Gauge(
            "shifter_pods_dropped", "Pods of which nothing was counted", ["shift", "mesh"], registry=registry
        )
        self._page = Gauge("shifter_page", "1 if somebody should look at the shift", ["shift"], registry=registry)
        self._decisions = Counter("shifter_decisions", "Decisions by kind", ["kind"], registry=registry)
        self._writes = Counter("shifter_writes", "Journalled writes", ["direction", "outcome"], registry=registry)
        self._errors = Counter("shifter_tick_errors", "Turns that failed", ["error"], registry=registry)
        self._seconds = Histogram("shifter_tick_seconds", "How long a tick took", registry=registry)
        self._last = Gauge("shifter_last_tick_timestamp_seconds", "When the last tick ended", registry=registry)
        build = Gauge("shifter_build_info", "1, with the version", ["version"], registry=registry)
        build.labels(__version__).set(1)

    def turn(self, report: Report, *, changed: bool) -> None:
        """Tell one turn of one shift: a wide line on change and every few minutes, at debug level otherwise."""
        name = report.name
        for kind, share in (("wanted", report.wanted), ("written", report.written), ("observed", report.observed)):
            self._share.labels(name, kind).set(_number(share))
        for phase in Phase:
            self._phase.labels(name, phase).set(phase is report.phase)
        kinds = {hold.kind for hold in report.holds}
        for hold in HoldKind:
            self._hold.labels(name, hold).set(hold in kinds)
        self._page.labels(name).set(report.page)
        self._evidence(report)
        self._decisions.labels(report.decision).inc()
        self._line(report, changed=changed)

    def _evidence(self, report: Report) -> None:
        """Show the evidence; what is not known is no number, and a metric that a policy dropped has no series."""
        name = report.name
        self._odds.labels(name).set(_number(report.harm))
        self._limit.labels(name).set(_number(report.harm_limit))
        bounds = {each.metric: each.bound for each in report.findings if each.bound is not None}
        for metric in self._bounded.get(name, set()) - bounds.keys():
            self._bound.remove(name, metric)
        for metric, bound in bounds.items():
            self._bound.labels(name, metric).set(bound)
        self._bounded[name] = set(bounds)
        for mesh in MESH.values():
            dropped = sum(pod.startswith(f"{mesh} ") for pod in report.dropped)
            self._dropped.labels(name, mesh).set(dropped)

    def write(self, direction: str, outcome: str) -> None:
        """Count a journalled write that began, was done or failed."""
        self._writes.labels(direction, outcome).inc()

    def error(self, shift: str, error: BaseException, *, bug: bool) -> None:
        """Tell a turn that failed; a bug with its traceback, and what else is the same as before only now and then."""
        kind = type(error).__name__
        if len(self._kinds) < MOST_ERRORS:
            self._kinds.add(kind)
        self._errors.labels(kind if kind in self._kinds else "other").inc()
        # A bug is told each time: where it struck may be elsewhere.
        left_out = 0 if bug else self._repeats.due((shift, kind, _gist(error)))
        if left_out is not None:
            told = str(error)
            self._log.error("shift.error", shift=shift, error=kind, reason=told, left_out=left_out, exc_info=bug)

    def tick(self, seconds: float, now_epoch_seconds: float) -> None:
        """Count a finished tick."""
        self._seconds.observe(seconds)
        self._last.set(now_epoch_seconds)

    def event(self, name: str, **fields: object) -> None:
        """Log something that happened to the service itself, under a constant name such as `service.started`."""
        self._log.info(name, **fields)

    def warn(self, name: str, **fields: object) -> None:
        """Log something about the service itself that a person should look at."""
        self._log.warning(name, **fields)

    def _line(self, report: Report, *, changed: bool) -> None:
        at = report.at.timestamp()
        # A clock that was set back must not silence a shift until it has caught up.
        due = changed or not 0 <= at - self._said_at.get(report.name, float("-inf")) < self._talk_every_seconds
        if due:
            self._said_at[report.name] = at
        talk = self._log.warning if due and report.page else self._log.info if due else self._log.debug
        talk(
            "shift.tick",
            shift=report.name,
            phase=str(report.phase),
            step=f"{report.step}/{len(report.steps)}",
            wanted_percent=report.wanted,
            written_percent=report.written,
            observed_percent=report.observed,
            verdict=report.verdict,
            decision=report.decision,
            holds=[hold.kind for hold in report.holds],
            requests={"tcm": report.source_requests, "istio": report.target_requests},
            bad={"tcm": report.source_bad, "istio": report.target_bad},
            odds=report.harm,
            odds_limit=report.harm_limit,
            proven=report.proven,
            bound_percent=next((each.bound for each in report.findings if each.metric == ERRORS), None),
            pods_dropped=len(report.dropped),
            sequence=report.sequence,
            reason=report.reason,
        )


def _gist(error: BaseException) -> str:
    """Return what tells an error from another of its kind; nothing, where who does not answer has many ways not to."""
    return "" if isinstance(error, TransientError) else without_numbers(str(error))


def _bounded(_: object, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Shorten the fields of a log line; it is structlog's signature."""
    return {name: _short(value, from_end=name == "exception") for name, value in line.items()}


def _short(value: object, *, from_end: bool = False) -> object:
    """Return a value of which no part is longer than a reader wants, and which is JSON."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_text(str(key)): _short(each) for key, each in islice(value.items(), MOST_ITEMS)}
    if isinstance(value, list | tuple | set | frozenset):
        return [_short(each) for each in islice(value, MOST_ITEMS)]
    return _text(str(value), from_end=from_end)


def _text(text: str, *, from_end: bool = False) -> str:
    if len(text) <= LONGEST_FIELD:
        return text
    return f"…{text[1 - LONGEST_FIELD :]}" if from_end else f"{text[: LONGEST_FIELD - 1]}…"


def _number(value: float | None) -> float:
    """Return a number for a gauge: what nobody knows is none."""
    return math.nan if value is None else value
