"""What `shifter doctor` asks of Prometheus besides the counters: its clock, how often it scrapes, what labels exist.

Apart from `readings.py`, because none of it may ever become evidence: these answers are for people. Everything is
asked as of Prometheus' own now, so that a wrong clock here cannot hide what is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from shifter.adapters.outside import BoundedCalls, CrowdedError, OverdueError
from shifter.adapters.prometheus.promql import selector
from shifter.adapters.prometheus.transport import Answer, Connection
from shifter.core.documents.fleet import Datasource
from shifter.errors import MetricsUnavailableError

MOST_VALUES: Final = 10
"""A person looks for the right value among a few; a thousand help nobody."""

_SPAN_SECONDS: Final = 300
"""Over so long samples are counted; Prometheus' own staleness limit, and twenty scrapes of the usual interval."""

_ASK_TIMEOUTS: Final = 3
"""One question may take so many timeouts, see `Connection.ask`."""


class PrometheusProbe:
    """Asks one mesh's datasource about itself (implements `ports.MeshProbe`). Safe to call from several threads.

    Args:
        datasource: address, credentials, names and matchers.
        name: what people call this datasource, e.g. `tcm`.
        clock: a monotonic clock, in seconds; bounds the time of a question.
    """

    def __init__(self, datasource: Datasource, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._datasource = datasource
        self._name = name
        self._clock = clock
        self._calls = BoundedCalls()

    def server_time(self) -> float:
        """Return Prometheus' time, in seconds since the epoch.

        Raises:
            MetricsUnavailableError: no answer, or no time in it.
        """
        answer = self._ask("its clock", "vector(time())")
        if len(answer.samples) != 1:
            raise answer.refusal("answered no time")
        return answer.samples[0].value

    def scrape_seconds(self) -> float | None:
        """Return how far apart the samples of the gateway's pods are; None if no pod is up for five minutes.

        A pod that was scraped for a part of the span only would look as if it were scraped less often.
        """
        uptime = selector(self._datasource.metrics.uptime, self._datasource.pod_matchers)
        query = f"max(count_over_time({uptime}[{_SPAN_SECONDS}s]) and {uptime} >= {_SPAN_SECONDS})"
        answer = self._ask("how often it scrapes", query)
        counted = max((sample.value for sample in answer.samples), default=0.0)
        return _SPAN_SECONDS / counted if counted > 1 else None

    def values(self, metric: str, label: str, matchers: Mapping[str, str]) -> Sequence[str]:
        """Return the values, sorted, at most ten, that most series of `metric` have for `label`."""
        query = f"topk({MOST_VALUES}, count by ({label}) ({selector(metric, matchers)}))"
        answer = self._ask(f"values of {label}", query)
        return tuple(sorted(value for sample in answer.samples if (value := sample.labels.get(label, ""))))

    def _ask(self, subject: str, query: str) -> Answer:
        try:
            timeout_seconds = _ASK_TIMEOUTS * self._datasource.timeout.total_seconds()
            return self._calls.run(lambda: self._asked(subject, query), timeout_seconds)
        except (OverdueError, CrowdedError) as error:
            raise MetricsUnavailableError(f"{self._name} metrics ({self._datasource.url}): {error}") from error

    def _asked(self, subject: str, query: str) -> Answer:
        with Connection(self._datasource, self._name, self._clock) as connection:
            return connection.ask(subject, query, None)
