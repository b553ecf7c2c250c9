"""Two meshes that serve what the weights send them, and the Prometheus of each: counters, scrapes, and their faults.

Users are counted where they are served, before any scrape: what they suffered is the checker's to know, and what a
datasource shows of it is shifter's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shifter.core.balancing.splits import Side
from shifter.core.counts.evidence import INFINITY_MS, Answer, PodReading, Reading, Series
from shifter.core.deciding import pinning
from shifter.core.documents.fleet import ISTIO_EDGES_MS
from shifter.errors import MetricsUnavailableError
from shifter.lab.checker import seen
from shifter.ports import Unread
from tests.sim.dice import Dice
from tests.sim.kernel import Kernel

MESH = {Side.SOURCE: seen.SOURCE, Side.TARGET: seen.TARGET}
_KEPT_SCRAPES = 400

_WITHIN_MS = ((10.0, 0.7), (50.0, 0.95), (250.0, 0.99), (500.0, 1.0))
"""The part of requests that a gateway in good health answers within so long."""

_SLOW_MS = 2500.0
"""So long take at most those of a mesh that is slow; and longer than anybody likes."""

PODS = 2
"""How many pods a gateway has on a good day."""


@dataclass(frozen=True, slots=True)
class Served:
    """What became of requests: how many failed, and how many took too long for users who mind."""

    failed: int = 0
    slow: int = 0


@dataclass(slots=True)
class _Pod:
    name: str
    started_at: float
    counters: dict[Series, float] = field(default_factory=dict)


class Mesh:
    """One mesh's gateway of two pods, and its Prometheus. `zero` is the Unix time of true second 0.

    Attributes:
        away_until: until when its Prometheus answers with errors.
        down_until: until when it takes no samples.
        late_seconds: how old its newest sample is at least.
        hidden: pods that it does not show.
    """

    def __init__(self, side: Side, kernel: Kernel, dice: Dice, zero: float, fresh_seconds: float) -> None:
        self.side = side
        self.away_until = self.down_until = 0.0
        self.late_seconds = 0.0
        self.hidden: set[str] = set()
        self._kernel = kernel
        self._dice = dice
        self._zero = zero
        self._fresh_seconds = fresh_seconds
        self._pods = [_Pod(f"{MESH[side]}-{number}", zero - 86400.0) for number in range(1, PODS + 1)]
        self._made = len(self._pods)
        self._scrapes: list[Reading] = []
        self._failing: list[tuple[str, float, float]] = []
        self._slow: list[tuple[str, float, float]] = []
        self._timed: frozenset[str] = frozenset()
        self._watch = dice

    def time(self, namespaces: Iterable[str], dice: Dice) -> None:
        """Count how long requests of these namespaces take; whose users mind. The dice are nobody else's."""
        self._timed, self._watch = frozenset(namespaces), dice

    def slow_down(self, namespace: str, percent: float, until: float) -> None:
        """Let so many of a namespace's requests take too long until an instant."""
        self._slow.append((namespace, percent, until))

    def fail(self, namespace: str, percent: float, until: float) -> None:
        """Let so many of a namespace's requests fail until an instant."""
        self._failing.append((namespace, percent, until))

    @property
    def ready(self) -> int:
        """How many pods there are."""
        return len(self._pods)

    def scale(self, pods: int) -> None:
        """Let there be so many pods; the newest go first, new ones begin now."""
        del self._pods[pods:]
        while len(self._pods) < pods:
            self._made += 1
            self._pods.append(_Pod(f"{MESH[self.side]}-{self._made}", self._zero + self._kernel.now))

    def calm_down(self) -> None:
        """End everything that is wrong."""
        self.scale(max(PODS, self.ready))
        self.away_until = self.down_until = self.late_seconds = 0.0
        self.hidden.clear()
        self._failing.clear()
        self._slow.clear()

    def pod(self, number: int) -> str:
        """The name of one of the pods."""
        return self._pods[number % self.ready].name if self._pods else ""

    def _percent(self, namespace: str, troubles: Sequence[tuple[str, float, float]]) -> float:
        now = self._kernel.now
        return max((bad for name, bad, until in troubles if name == namespace and now <= until), default=0.0)

    def serve(self, namespace: str, requests: int) -> Served:
        """Serve requests, shared by the pods; return what became of them: all fail if there is no pod."""
        failed, slow, percent = 0, 0, self._percent(namespace, self._failing)
        for index, pod in enumerate(self._pods):
            mine = requests // self.ready + (index < requests % self.ready)
            bad = min(mine, self._dice.rounded(mine * percent / 100))
            for code, count in (("200", mine - bad), ("503", bad)):
                series = Series(namespace, Answer(code))
                pod.counters[series] = pod.counters.get(series, 0.0) + count
            failed += bad
            if namespace in self._timed:
                slow += self._take_time(pod, namespace, mine, mine - bad)
        return Served(failed, slow) if self._pods else Served(requests)

    def _take_time(self, pod: _Pod, namespace: str, requests: int, good: int) -> int:
        """Count in buckets how long a pod's requests took; return how many took too long. What fails, fails fast."""
        slow = min(good, self._watch.rounded(good * self._percent(namespace, self._slow) / 100))
        quick, luck = requests - slow, self._watch.between(0.0, 0.999)
        parts = dict(_WITHIN_MS)
        part = 0.0
        for edge in (*ISTIO_EDGES_MS, INFINITY_MS):
            part = parts.get(edge, part)
            series = Series(namespace, edge_ms=edge)
            upto = min(quick, int(quick * part + luck)) + (slow if edge >= _SLOW_MS else 0)
            pod.counters[series] = pod.counters.get(series, 0.0) + upto
        return slow

    def restart_pod(self, number: int) -> None:
        """Let one pod's process begin anew."""
        if not self._pods:
            return
        pod = self._pods[number % self.ready]
        pod.started_at, pod.counters = self._zero + self._kernel.now, {}

    def scrape(self) -> None:
        """Take a sample of every pod; a Prometheus that is down takes none."""
        if self._kernel.now < self.down_until:
            return
        at = self._zero + self._kernel.now
        pods = {pod.name: PodReading(at, pod.started_at, dict(pod.counters)) for pod in self._pods}
        self._scrapes.append(Reading(at, pods))
        del self._scrapes[:-_KEPT_SCRAPES]

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        """Return the pods that have a fresh sample as of `at`, with these of the buckets, and the last one."""
        if self._kernel.now < self.away_until:
            raise MetricsUnavailableError(f"{MESH[self.side]}: Prometheus answers 503")
        return self._asked(self._as_of(at.timestamp()), edges_ms)

    def past(
        self, start: datetime, end: datetime, step: timedelta, edges_ms: Sequence[float]
    ) -> Iterator[Reading | Unread]:
        """Return what `read` would have returned at every instant of a span."""
        if self._kernel.now < self.away_until:
            raise MetricsUnavailableError(f"{MESH[self.side]}: Prometheus answers 503")
        instants = ((start + step * index).timestamp() for index in range((end - start) // step + 1))
        return iter([self._asked(self._as_of(at), edges_ms) for at in instants])

    def _asked(self, reading: Reading, edges_ms: Sequence[float]) -> Reading:
        if not self._timed:
            return reading
        wanted = {*edges_ms, INFINITY_MS, None} if edges_ms else {None}
        pods = {
            name: replace(pod, counters={each: had for each, had in pod.counters.items() if each.edge_ms in wanted})
            for name, pod in reading.pods.items()
        }
        return replace(reading, pods=pods)

    def _as_of(self, at: float) -> Reading:
        until = min(at, self._zero + self._kernel.now - self.late_seconds)
        newest = next((scrape for scrape in reversed(self._scrapes) if scrape.read_at <= until), None)
        if newest is None or at - newest.read_at > self._fresh_seconds:
            return Reading(at, {})
        return Reading(at, {name: pod for name, pod in newest.pods.items() if name not in self.hidden})


class Workload:
    """What a gateway runs as, where somebody can be asked: its pods, and the floor of its autoscaler."""

    def __init__(self, mesh: Mesh) -> None:
        self.floor = 1
        self.pins: list[int] = []
        self._mesh = mesh

    def observe(self) -> pinning.Workload:
        """Return what there is."""
        return pinning.Workload(self._mesh.ready, self.floor)

    def pin(self, floor: int) -> None:
        """Set the floor; the autoscaler makes what is missing."""
        self.pins.append(floor)
        self.floor = floor
        self.scale(self._mesh.ready)

    def scale(self, pods: int) -> None:
        """Let the autoscaler go to so many pods, as far as its floor lets it."""
        self._mesh.scale(max(pods, self.floor))


class Users:
    """The users of all namespaces, and what they got in every second."""

    def __init__(self, kernel: Kernel, dice: Dice, zero: float, meshes: Mapping[Side, Mesh]) -> None:
        self.seconds: list[seen.UserSecond] = []
        self._kernel = kernel
        self._dice = dice
        self._zero = zero
        self._meshes = meshes

    def second(self, namespace: str, requests: int, shares: Sequence[float | None]) -> None:
        """Let one second of requests go to the routes alike, and where their weights send them.

        A route without any weight has nobody who serves.
        """
        at = int(self._zero + self._kernel.now) - 1
        by_mesh: Counter[str] = Counter()
        failed = slow = 0
        each = requests // len(shares)
        for share in shares:
            if share is None:
                by_mesh[seen.NOBODY] += each
                failed += each
                continue
            theirs = self._dice.rounded(each * share / 100)
            for side, count in ((Side.SOURCE, each - theirs), (Side.TARGET, theirs)):
                served = self._meshes[side].serve(namespace, count)
                failed, slow = failed + served.failed, slow + served.slow
                by_mesh[MESH[side]] += count
        answers = {mesh: count for mesh, count in by_mesh.items() if count}
        self.seconds.append(seen.UserSecond(at, namespace, each * len(shares), failed, answers, slow))
