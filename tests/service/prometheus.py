"""A mesh's Prometheus that can have a bad day, over HTTP, and the world at 25 % that has to endure it.

The adapter is the real one; the server lives on loopback and in the world's time. Each fault strikes in the middle of
the soak and lasts longer than the soak would have. Nothing may climb meanwhile, the hold must say what is wrong with
whose Prometheus, and afterwards the soak must be finished with evidence from after the fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest

from shifter.adapters.prometheus import PrometheusMetrics
from shifter.core.balancing.splits import Side
from shifter.core.counts.evidence import Reading
from shifter.core.documents.fleet import Datasource
from shifter.service.observe import MESH
from tests.http import Reply, send, serving
from tests.service.conftest import FLEET, NOON, TICK, World
from tests.service.outside import nothing_recorded

Rows = list[tuple[dict[str, str], float | str]]
Bend = Callable[[str, Rows], Rows]

SOAK_SECONDS = 80
FAULT_TICKS = 9
SCRAPED_AGO_SECONDS = 3.0
MAX_AGE_SECONDS = FLEET.spec.timing.sample_max_age.total_seconds()
NOBODY = "http://127.0.0.1:1"
"""An address at which nobody answers."""

BOTH = pytest.mark.parametrize("side", Side)


class BadPrometheus:
    """One mesh's Prometheus over HTTP, with one gateway pod; it has always just scraped.

    `url` is where it is served, `address` where it is asked instead, if it is given. `reply` takes over every answer,
    `bend` changes the rows of one kind of question. `ahead_seconds` is how far in the future its newest sample lies,
    `clock_behind_seconds` how late its clock is.
    """

    def __init__(self, mesh: str) -> None:
        self.mesh = mesh
        self.pod, self.started = f"{mesh}-1", NOON.timestamp() - 3600
        self.error_percent = 0.0
        self.timeout = timedelta(seconds=5)
        self.url = self.address = ""
        self.reply: Reply | None = None
        self.bend: Bend = lambda _, rows: rows
        self.frozen_at: float | None = None
        self.ahead_seconds = self.clock_behind_seconds = 0.0
        self._counters: dict[tuple[str, str], float] = {}
        self._shown: dict[tuple[str, str], float] = {}
        self._now = NOON.timestamp()

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
        matchers = {"matchers": {"app": self.mesh}, "podMatchers": {"app": self.mesh}}
        source = Datasource.model_validate({"url": self.address or self.url, "timeout": self.timeout, **matchers})
        return PrometheusMetrics(source, MAX_AGE_SECONDS, self.mesh).read(at, edges_ms)

    def past(self, start: datetime, end: datetime, step: timedelta, edges_ms: tuple[float, ...]) -> list[Reading]:  # noqa: ARG002 - the protocol's
        """It has just been set up."""
        return nothing_recorded(start, end, step)

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

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.reply is not None:
            self.reply(handler)
        else:
            send(handler, 200, answer(self.rows(parse_qs(urlsplit(handler.path).query)["query"][0])))

    def _labels(self, namespace: str, code: str) -> dict[str, str]:
        service = f"web.{namespace}.svc.cluster.local"
        return {"pod": self.pod, "response_code": code, "destination_service": service}


def answer(rows: Rows, **more: object) -> bytes:
    result = [{"metric": labels, "value": [0, str(value)]} for labels, value in rows]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}, **more}).encode()


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
        while not world.ticker.shifts or world.ticker.shifts["shop"].seen.settled_at is None or world.share() != 25:
            assert world.now < NOON + 60 * TICK, world.report()
            world.step()
        world.step(2)
        self.settled_at = world.ticker.shifts["shop"].seen.settled_at

    def becoming(
        self, *, reply: Reply | None = None, bend: Bend | None = None, address: str = ""
    ) -> Callable[[], None]:
        """Return what makes its Prometheus answer so, bend its rows so, or be there."""

        def strike() -> None:
            bad = self.prometheus
            bad.reply, bad.bend, bad.address = reply or bad.reply, bend or bad.bend, address or bad.address

        return strike

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


Bad = Callable[[Side], Soaking]


@contextmanager
def soaking_worlds(make_world: Callable[..., World]) -> Iterator[Bad]:
    """Yield what builds worlds at 25 % of which one side has a bad Prometheus, served until the block ends."""
    with ExitStack() as stack:

        def build(side: Side) -> Soaking:
            world, prometheus = make_world(steps=(25, 100), soak=f"{SOAK_SECONDS}s"), BadPrometheus(MESH[side])
            prometheus.url = stack.enter_context(serving(prometheus.answer))
            # The doubles for metrics have what the world needs of them, and no more.
            world.sides[side] = prometheus  # type: ignore[assignment]
            return Soaking(world, prometheus)

        yield build
