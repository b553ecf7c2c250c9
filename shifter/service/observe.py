"""Looks: routes read back per lock domain, and both meshes' counters. Asking and answering are two steps.

In between, the tick waits once for everybody, within its deadline. Who does not answer in time counts as
unanswered in this tick and is not waited for in the next ones. A provider's late answer is taken up when it comes; a
datasource's is not: it is about an earlier instant, maybe one before the share was changed.
What the counts mean is `core`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import cast

from shifter.core.balancing.splits import Route, RouteView, Side
from shifter.core.counts.counters import Absence, Baselines, Doubt, PodBaseline, advance, doubts
from shifter.core.counts.evidence import PodReading, Reading, SideCounts, shared_pods
from shifter.core.deciding.journal import Call
from shifter.core.documents.fleet import Fleet
from shifter.core.text import LONGEST, plain, some
from shifter.errors import ProviderRefusedError, ProviderUnavailableError, ShifterError
from shifter.ports import MeshMetrics, TrafficProvider
from shifter.service.lanes import CallLanes, Priority

GAP_TICKS = 2.5
"""A new series counts from zero only if the pod's previous reading is at most so many ticks old: two, and half a
tick for wakes that come late."""

MOST_DROPPED = 100
"""The most pods of one mesh that are named as not counted; of the others there is only the number."""

LONGEST_REFUSAL = 2_000
"""The most characters of why a route must not be written: it is saved with every record that quotes it."""

MOST_WARNINGS = 20
"""The most warnings of one route that are told."""

_PODS_SHOWN = 3
_ROUTES_SHOWN = 3

MESH = {Side.SOURCE: "tcm", Side.TARGET: "istio"}


@dataclass(frozen=True, slots=True)
class IntentCalls:
    """What became of one intent's calls, by lock domain."""

    sequence: int
    calls: Mapping[str, Call]


@dataclass(frozen=True, slots=True)
class Views:
    """One lock domain's routes as read back, or why there are none.

    `calls` is what was known of the open intents' calls *before* this read was asked for: whoever compares the
    two must not hold a finished operation against weights that were read while it still ran. Views *with* a
    problem were asked for by an earlier look: good enough to go back on, too old to climb on.
    """

    views: Mapping[str, RouteView] | None
    problem: str = ""
    calls: Mapping[str, IntentCalls] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counted:
    """What both gateways counted since the previous look. With a `problem` the counts must not be used.

    `span_seconds` is 0 when a side has nothing to difference yet: then the counts say nothing at all.
    `target_unseen`: the target's datasource answers and shows no pod while the source's shows some.
    `apart_seconds` is by how much the target's newest sample is later than the source's, each by its own Prometheus'
    clock and corrected by nothing: scrapes that are not aligned make up to one scrape interval, clocks that differ
    the rest. `dropped` says, by mesh and pod, why nothing was counted of a pod although it answered; of very many pods
    it names some, and `others` says how many more. `source_pods` are the source's gateway pods in the metrics, None if
    nobody knows: its datasource did not answer, or shows only what is too old.
    """

    at: datetime
    span_seconds: float = 0.0
    source: SideCounts | None = None
    target: SideCounts | None = None
    problem: str = ""
    target_unseen: bool = False
    apart_seconds: float = 0.0
    dropped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    source_pods: int | None = None


class RouteObserver:
    """Reads routes back through the lanes. A read still under way is not asked for twice.

    An answer that came too late for its look is handed out by the next one, marked: were it thrown away, a
    provider that is always a little too slow would never be seen, and nothing could go back.
    """

    def __init__(self, provider: TrafficProvider, lanes: CallLanes) -> None:
        self._provider = provider
        self._lanes = lanes
        self._asked: dict[str, tuple[Future[Mapping[str, RouteView]], Mapping[str, IntentCalls]]] = {}
        self._late: frozenset[str] = frozenset()

    def ask(self, routes: Mapping[str, Sequence[Route]], calls: Mapping[str, IntentCalls]) -> list[Future[object]]:
        """Ask for routes, and return what is worth waiting for: a domain that is late already is not waited for again.

        Args:
            routes: the routes wanted, by lock domain.
            calls: the open intents' calls as known now, by shift.
        """
        self._late = frozenset(routes.keys() & self._asked.keys())
        for domain in self._asked.keys() - routes.keys():
            # Nobody asks any more; were the answer kept, it would be taken for a late one some day.
            if self._asked[domain][0].done():
                del self._asked[domain]
        new = sorted(routes.keys() - self._late)
        for domain in new:
            asked = self._lanes.run(domain, Priority.READ, _reader(self._provider, tuple(routes[domain])))
            self._asked[domain] = asked, calls
        return [cast("Future[object]", self._asked[domain][0]) for domain in new]

    def answers(self, routes: Mapping[str, Sequence[Route]]) -> dict[str, Views]:
        """Return each domain's routes as far as they have been answered; never waits."""
        return {domain: self._answer(domain, wanted, late=domain in self._late) for domain, wanted in routes.items()}

    def _answer(self, domain: str, routes: Sequence[Route], *, late: bool) -> Views:
        wanted = {route.id for route in routes}
        asked, calls = self._asked[domain]
        if not asked.done():
            return Views(None, f"{domain} has not answered in time")
        del self._asked[domain]
        try:
            views = asked.result()
        except (ProviderUnavailableError, ProviderRefusedError) as error:
            return Views(None, plain(str(error)))
        except Exception as error:  # noqa: BLE001 - a bug in reading one domain must not blind the others
            return Views(None, plain(f"{domain} cannot be read: {type(error).__name__}: {error}"))
        if missing := wanted - views.keys():
            return Views(None, f"{domain} answered without {some(sorted(missing), _ROUTES_SHOWN)}")
        told = {route: _readable(views[route]) for route in wanted}
        return Views(told, f"{domain} answered late" if late else "", calls)


def _reader(provider: TrafficProvider, routes: tuple[Route, ...]) -> Callable[[], Mapping[str, RouteView]]:
    return lambda: provider.observe(routes)


def _readable(view: RouteView) -> RouteView:
    """Return a view whose sentences are short enough to be kept; what is in force is as it was read."""
    refusal = view.refusal
    if refusal is not None and len(refusal) > LONGEST_REFUSAL:
        refusal = plain(refusal, LONGEST_REFUSAL)
    warnings = tuple(each if len(each) <= LONGEST else plain(each) for each in view.warnings[:MOST_WARNINGS])
    if (refusal, warnings) == (view.refusal, view.warnings):
        return view
    return replace(view, refusal=refusal, warnings=warnings)


class MeshCounter:
    """Differences both meshes' readings against the previous ones. Pure but for what it remembers: no clock, no calls.

    Apart from the observer, so that what is recorded is counted as what is live.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._timing = fleet.spec.timing
        self._requests = {
            Side.SOURCE: fleet.spec.datasources.source.metrics.requests,
            Side.TARGET: fleet.spec.datasources.target.metrics.requests,
        }
        self._baselines = {side: Baselines() for side in Side}

    def forget(self) -> None:
        """Begin anew: the next readings are the first."""
        self._baselines = {side: Baselines() for side in Side}

    def count(self, readings: Mapping[Side, Reading | str], now: datetime) -> Counted:
        """Difference what was read. A side that answered moves its baseline even if the other did not."""
        gap = GAP_TICKS * self._timing.tick.total_seconds()
        before = dict(self._baselines)
        counts: dict[Side, tuple[SideCounts, float]] = {}
        for side, reading in readings.items():
            if isinstance(reading, Reading):
                self._baselines[side], counted, span = advance(before[side], reading, gap)
                counts[side] = counted, span
        dropped = {MESH[side]: _few(counted.dropped) for side, (counted, _) in counts.items() if counted.dropped}
        problems = [reading for reading in readings.values() if isinstance(reading, str)]
        if problems:
            return Counted(now, problem="; ".join(problems), dropped=dropped)
        sides = {side: reading for side, reading in readings.items() if isinstance(reading, Reading)}
        source, target = sides[Side.SOURCE], sides[Side.TARGET]
        if missing := [_absence(side, reading, before[side]) for side, reading in sides.items() if not reading.pods]:
            unseen = bool(source.pods) and not target.pods
            return Counted(now, problem="; ".join(missing), target_unseen=unseen, dropped=dropped)
        if any(_is_waiting(reading, before[side], gap) for side, reading in sides.items()):
            self._baselines = before
            return Counted(now)
        uncounted = [side for side, (_, span) in counts.items() if span == 0]
        doubted = {MESH[side]: found for side in uncounted if (found := doubts(before[side], sides[side], gap))}
        apart = _apart_seconds(counts[Side.SOURCE][0], counts[Side.TARGET][0])
        if problem := _twins(source, target) or _doubted(doubted) or self._silence(sides):
            return Counted(now, problem=problem, apart_seconds=apart, dropped=dropped)
        spans = counts[Side.SOURCE][1], counts[Side.TARGET][1]
        # The longer span, so that a tick never seems to begin after a change of the share that it includes.
        span = max(spans) if min(spans) > 0 else 0.0
        sides_counted = counts[Side.SOURCE][0], counts[Side.TARGET][0]
        return Counted(now, span, *sides_counted, apart_seconds=apart, dropped=dropped)

    def _silence(self, sides: Mapping[Side, Reading]) -> str:
        """Say that nobody ever asked either gateway for anything; one side may well be without traffic, not both."""
        if any(pod.counters for reading in sides.values() for pod in reading.pods.values()):
            return ""
        names = " and ".join(dict.fromkeys(self._requests.values()))
        return (
            f"tcm and istio: the gateways' pods are up, but neither side has any series of {names}: there is no "
            "traffic at all, or the fleet's matchers or metrics are wrong"
        )


class MeshObserver:
    """Reads both meshes' counters and differences them against the previous reading."""

    def __init__(self, metrics: Mapping[Side, MeshMetrics], fleet: Fleet, lanes: CallLanes) -> None:
        self._metrics = metrics
        self._lanes = lanes
        self._counter = MeshCounter(fleet)
        self._looked_at: datetime | None = None
        self._asked: dict[Side, Future[Reading]] = {}
        self._late: set[Side] = set()

    def ask(self, edges_ms: Sequence[float], now: datetime) -> list[Future[object]]:
        """Ask both datasources, and return what is worth waiting for: one that is late already is not.

        Args:
            edges_ms: the latency edges that anybody wants, on either side; a side is asked for those that it has.
            now: as of when.
        """
        if self._looked_at is not None and now < self._looked_at:
            # The clock was set back. Samples would look older than those believed until it has caught up.
            self._counter.forget()
        self._looked_at = now
        edges = sorted(set(edges_ms))
        new = []
        self._late = {side for side, pending in self._asked.items() if not pending.done()}
        for side, metrics in self._metrics.items():
            if side in self._late:
                continue
            self._asked[side] = self._lanes.run(f"metrics/{side}", Priority.READ, partial(metrics.read, now, edges))
            new.append(cast("Future[object]", self._asked[side]))
        return new

    def clock_was_set(self) -> None:
        """Begin anew: the time since the previous look is not what the clock says, and it would count as soak."""
        self._counter.forget()

    def answer(self, now: datetime) -> Counted:
        """Return what both sides counted since the previous look, or the problem with one of them; never waits."""
        readings = {side: self._answer(side) for side in Side}
        source = readings[Side.SOURCE]
        pods = len(source.pods) if isinstance(source, Reading) else None
        return replace(self._counter.count(readings, now), source_pods=pods)

    def _answer(self, side: Side) -> Reading | str:
        if side in self._late or not self._asked[side].done():
            return f"{MESH[side]}: Prometheus has not answered in time"
        try:
            return self._asked[side].result()
        except ShifterError as error:
            return plain(str(error))
        except Exception as error:  # noqa: BLE001 - a bug in reading is no evidence, and no reason to stop going back
            return plain(f"{MESH[side]} cannot be read: {type(error).__name__}: {error}")


def _is_waiting(reading: Reading, before: Baselines, gap_seconds: float) -> bool:
    """Return whether no pod of a side was scraped since the last look; the next sample makes up for it.

    Counted as it is, that side had no request for a tick and those of two in the next one. So neither side is counted
    until it was scraped again: what both did in the same span is compared.
    """
    recent = before.read_at is not None and 0 < reading.read_at - before.read_at <= gap_seconds
    return recent and all(_is_old(pod, before.pods.get(name)) for name, pod in reading.pods.items())


def _is_old(pod: PodReading, before: PodBaseline | None) -> bool:
    return before is not None and pod.sampled_at == before.reading.sampled_at


def _absence(side: Side, reading: Reading, before: Baselines) -> str:
    """Say why a side shows no pod; that it showed some before tells a settings' fault from a gateway that is gone."""
    why = reading.reason if isinstance(reading, Absence) else f"{MESH[side]}: Prometheus shows no gateway pod"
    if not before.pods:
        return why
    return f"{why} (within the last hour it showed {_pods(sorted(before.pods))})"


def _apart_seconds(source: SideCounts, target: SideCounts) -> float:
    """Return by how much the target's newest sample is later; 0 if a side has none."""
    if source.sampled_at is None or target.sampled_at is None:
        return 0.0
    return target.sampled_at - source.sampled_at


def _twins(source: Reading, target: Reading) -> str:
    twins = shared_pods(source, target)
    return f"both sides count the same pods ({', '.join(twins)}): mend the matchers" if twins else ""


def _doubted(found: Mapping[str, Mapping[str, Doubt]]) -> str:
    """Say which pods of which mesh cannot be counted, and why."""
    said = []
    for mesh, by_pod in found.items():
        for doubt in sorted(set(by_pod.values())):
            pods = _pods([pod for pod, each in by_pod.items() if each is doubt])
            said.append(f"{mesh}: nothing can be counted of {pods}: {doubt}")
    return "; ".join(said)


def _few(dropped: Mapping[str, str]) -> Mapping[str, str]:
    """Return why pods were not counted, of so many that a report stays readable: a restart drops every pod once."""
    if len(dropped) <= MOST_DROPPED:
        return dropped
    named = sorted(dropped)[:MOST_DROPPED]
    return {**{pod: dropped[pod] for pod in named}, "others": f"{len(dropped) - len(named)} more pods"}


def _pods(names: Sequence[str]) -> str:
    return some(map(plain, names), _PODS_SHOWN)
