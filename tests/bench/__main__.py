"""What shifter costs: `make bench`. Every figure is held against another of the same run, on the same machine.

Nothing is asserted: a time says as much about the machine as about the code, so it is the ratios that are to be
compared between two versions. What is in this module runs in this process on adapters without a network; Prometheus and
the cloud are scripted, and time passes only as a number. What the whole service costs is measured by `service_cost.py`.
"""

from __future__ import annotations

import gc
import io
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from shifter.adapters.memory import MemoryProvider, Rule
from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.core.analysis.standing import Standing
from shifter.core.balancing.apportion import apportion
from shifter.core.balancing.membership import Server
from shifter.core.balancing.splits import Health, Member, RouteView, Side
from shifter.core.counts.counters import Baselines, advance
from shifter.core.counts.evidence import INFINITY_MS, Answer, Counts, Ledger, PodReading, Reading, Series, Tick
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.gathering import Terms, gather
from shifter.core.documents.fleet import Learning
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import ShiftState
from shifter.service.lanes import InlineLanes
from shifter.service.policy_files import PolicyFolder
from shifter.service.telemetry import Telemetry, configure_logs
from shifter.service.tick import Parts, Ticker
from tests.bench.service_cost import cost_of
from tests.documents import a_fleet, policy_document

FEW, MANY = 50, 500
PODS = 5
SHIFTS_PER_BALANCER = 10
TICK: Final = timedelta(seconds=15)
NOON: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
EDGES_MS = (10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
HISTORY_TICKS = 20
TERMS = Terms(Learning().lessons(), EDGES_MS)
SOAKING_PAIRS = 8
STARTS = 7
KIB = 1024


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: a figure, the one it is held against, and both in `unit`."""

    what: str
    value: float
    unit: str
    against: str
    other: float

    def row(self) -> tuple[str, ...]:
        ratio = self.value / self.other if self.other else float("inf")
        return self.what, _shown(self.value), _shown(self.other), self.unit, f"{ratio:.3g} x", self.against


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def quickest_seconds(calls: int, call: Callable[[], object]) -> float:
    """The time of the quickest of `calls` calls: what else the machine does only ever adds to it."""
    took = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(calls):
            began = time.perf_counter()
            call()
            took.append(time.perf_counter() - began)
    finally:
        gc.enable()
    return min(took)


# -- a fleet ---------------------------------------------------------------------------------------------------------


def names(count: int) -> list[str]:
    return [f"team-{index:03d}" for index in range(count)]


def policy(index: int, name: str) -> dict[str, Any]:
    """A policy at 5 % for a long time: the state in which a migration spends nearly all of its weeks."""
    return policy_document(
        name,
        loadBalancer=f"lb-{index // SHIFTS_PER_BALANCER:08d}",
        routes=[{"listener": "lbl-https443", "domain": f"{name}.example.com", "url": "/"}],
        steps=[5, 25, 100],
        soak="6h",
        analysis={"latency": {"maxMs": 250}},
        blastRadius={"requests": 1e6},
    )


def servers() -> tuple[Server, ...]:
    """Two gateways on the source side and three on the target's; all traffic is the source's."""
    places = [("ins-tcm", 30080, 100, 2), ("ins-istio", 31080, 0, 3)]
    return tuple(
        Server(f"{name}{index}:{port}", port, weight, Health.ALIVE)
        for name, port, weight, count in places
        for index in range(count)
    )


class ScriptedMetrics:
    """A mesh whose gateway answers every namespace at a constant rate; it has been watched for `past_ticks` already."""

    def __init__(self, mesh: str, namespaces: Sequence[str], past_ticks: int, pods: int = 2) -> None:
        self._since = NOON - past_ticks * TICK
        self._pods = [f"{mesh}-{index}" for index in range(pods)]
        self._namespaces = namespaces

    def read(self, at: datetime, edges_ms: Sequence[float]) -> Reading:
        seconds = (at - NOON).total_seconds() + 3600
        counters: dict[Series, float] = {}
        for namespace in self._namespaces:
            counters[Series(namespace, Answer("200"))] = 10 * seconds
            counters[Series(namespace, Answer("503"))] = 0.0
            for edge in (*edges_ms, INFINITY_MS):
                counters[Series(namespace, edge_ms=edge)] = 10 * seconds
        started = (NOON - timedelta(days=1)).timestamp()
        return Reading(at.timestamp(), {pod: PodReading(at.timestamp(), started, counters) for pod in self._pods})

    def past(self, start: datetime, end: datetime, step: timedelta, edges_ms: Sequence[float]) -> list[Reading]:
        instants = [start + index * step for index in range((end - start) // step + 1)]
        return [self.read(at, edges_ms) if at >= self._since else Reading(at.timestamp(), {}) for at in instants]


class Service:
    """A ticker with so many shifts, on whichever store; `tick` lets one tick pass and returns its seconds."""

    def __init__(self, directory: Path, count: int, store: MemoryStore | SqliteStore, past_ticks: int) -> None:
        self.now = NOON
        folder = directory / "policies"
        folder.mkdir(parents=True)
        provider = MemoryProvider()
        for index, name in enumerate(names(count)):
            document = policy(index, name)
            (folder / f"{name}.yaml").write_text(json.dumps(document))
            for route in ShiftPolicy.model_validate_json(json.dumps(document)).routes:
                provider.put_rule(route, Rule(servers()))
        lease = MemoryLease(store) if isinstance(store, MemoryStore) else SqliteLease(directory / "shifter.db")
        self.store, self._lease = store, lease
        self.ticker = Ticker(
            Parts(
                fleet=a_fleet("bench"),
                mode="act",
                folder=PolicyFolder(folder),
                store=store,
                leadership=lease,
                provider=provider,
                metrics={side: ScriptedMetrics(side, names(count), past_ticks) for side in Side},
                lanes=InlineLanes(),
                telemetry=Telemetry(CollectorRegistry(), timedelta(minutes=5)),
                stopwatch=time.perf_counter,
            )
        )
        self.ticker.load()

    def tick(self) -> float:
        self.now += TICK
        began = time.perf_counter()
        self.ticker.wake(self.now)
        return time.perf_counter() - began

    def until_soaking(self) -> float:
        """Tick until every shift has its first step in force; return the seconds of the slowest tick, the busy one."""
        slowest = 0.0
        for _ in range(24):
            slowest = max(slowest, self.tick())
            done = [each for each in self.store.history(limit=10_000) if each.record.what is What.DONE]
            if len(done) == len(self.ticker.shifts):
                return slowest
        raise RuntimeError(f"{len(done)} of {len(self.ticker.shifts)} shifts have climbed")

    def close(self) -> None:
        self.store.close()
        self._lease.release()


@contextmanager
def running(count: int, *, on_disk: bool = False, past_ticks: int = 0) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        store = SqliteStore(directory / "shifter.db") if on_disk else MemoryStore()
        service = Service(directory, count, store, past_ticks)
        try:
            yield service
        finally:
            service.close()


@dataclass(frozen=True, slots=True)
class TickSeconds:
    """A tick in which every shift begins or ends a write, and one in which all only soak."""

    busy: float
    soaking: float


def tick_seconds(count: int, *, on_disk: bool = False) -> TickSeconds:
    with running(count, on_disk=on_disk) as service:
        busy = service.until_soaking()
        service.tick()
        # In pairs, because every second tick also renews the reports.
        return TickSeconds(busy, min(service.tick() + service.tick() for _ in range(SOAKING_PAIRS)) / 2)


def starting_seconds(count: int, past_ticks: int) -> float:
    """The slower one of the two ticks after a start: in the second, what was asked of the past is taken up."""
    with running(count, past_ticks=past_ticks) as service:
        return max(service.tick(), service.tick())


def measure_past() -> list[Figure]:
    ticks = Learning().history_ticks
    long, short = starting_seconds(FEW, ticks), starting_seconds(FEW, 0)
    return [Figure(f"tick that takes up {ticks} past ones, 50 shifts", 1e3 * long, "ms", "no past", 1e3 * short)]


def measure_ticks() -> list[Figure]:
    few, many, disk = tick_seconds(FEW), tick_seconds(MANY), tick_seconds(MANY, on_disk=True)
    shown = [
        ("soaking tick, 500 shifts", many.soaking, "50 shifts", few.soaking),
        ("writing tick, 500 shifts", many.busy, "50 shifts", few.busy),
        ("soaking tick, 500 shifts, SQLite", disk.soaking, "in memory", many.soaking),
        ("writing tick, 500 shifts, SQLite", disk.busy, "in memory", many.busy),
    ]
    return [Figure(what, 1e3 * value, "ms", against, 1e3 * other) for what, value, against, other in shown]


def traced_bytes(count: int, ticks: Sequence[int]) -> list[int]:
    """What a service with so many shifts holds after so many ticks, its scripted surroundings included."""
    held = []
    tracemalloc.start()
    try:
        with running(count) as service:
            service.until_soaking()
            for before, after in zip((0, *ticks), ticks, strict=False):
                for _ in range(after - before):
                    service.tick()
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return held


def measure_memory() -> list[Figure]:
    few, many = FEW, 4 * FEW
    (few_early, few_late), (many_early, many_late) = (traced_bytes(count, (2, 12)) for count in (few, many))
    each_early = (many_early - few_early) / (many - few) / KIB
    each_late = (many_late - few_late) / (many - few) / KIB
    return [
        Figure("one more shift, 12 ticks old", each_late, "KiB", "2 ticks old", each_early),
        Figure("one more tick of a shift", (each_late - each_early) / 10, "KiB", "the shift", each_late),
    ]


# -- the core --------------------------------------------------------------------------------------------------------


def reading(namespaces: int, second: float) -> Reading:
    counters: dict[Series, float] = {}
    for name in names(namespaces):
        counters |= {Series(name, Answer(code)): 100 + 10 * second for code in ("200", "404", "503")}
        counters |= {Series(name, edge_ms=edge): 300 + 30 * second for edge in (*EDGES_MS, INFINITY_MS)}
    at = NOON.timestamp() + second
    pods = {f"pod-{index}": PodReading(at, NOON.timestamp() - 3600, dict(counters)) for index in range(PODS)}
    return Reading(at, pods)


def measure_counters() -> list[Figure]:
    took = {}
    for count in (FEW, MANY):
        baselines, _, _ = advance(Baselines(), reading(count, 0), 45)
        later = reading(count, 15)
        took[count] = 1e3 * quickest_seconds(9, partial(advance, baselines, later, 45))
    return [Figure("advance, 500 namespaces x 5 pods", took[MANY], "ms", "50 x 5", took[FEW])]


def members(source: int, target: int) -> tuple[Member, ...]:
    sides = [(Side.SOURCE, source), (Side.TARGET, target)]
    return tuple(Member(f"{side}-{i:03d}:80", side, 10, Health.ALIVE) for side, count in sides for i in range(count))


def measure_apportion() -> list[Figure]:
    def microseconds(group: Sequence[Member]) -> float:
        return 1e6 * quickest_seconds(25, lambda: [apportion(group, share) for share in (1, 33, 95)]) / 3

    few, many = members(10, 3), members(100, 100)
    return [Figure("apportion, 100 + 100 members", microseconds(many), "us", "10 + 3", microseconds(few))]


def soaking_evidence(ticks: int) -> tuple[ShiftState, Evidence, datetime]:
    """A shift at 5 % with so many good ticks behind it."""
    found = ShiftPolicy.model_validate_json(json.dumps(policy(0, "shop")))
    [route] = found.routes
    group = tuple(Member(each.key, _side(each), each.weight, each.health) for each in servers())
    weights = apportion(group, 5).weights
    view = RouteView(route, tuple(Member(m.key, m.side, weights[m.key], m.health) for m in group))
    state = ShiftState(
        name="shop",
        policy=found,
        phase=Phase.SHIFTING,
        since=NOON,
        share=5.0,
        weights={route.id: dict(weights)},
        verified_at=NOON,
    )
    ledger, standing = Ledger(), learnt(state)
    for index in range(ticks):
        ledger = ledger.add(Tick(NOON + TICK * (index + 1), TICK.total_seconds(), served(2850), served(150)))
        gathered = gather(standing, state, ledger, whole=True, terms=TERMS)
        standing = gathered.standing if gathered else None
    evidence = Evidence(
        {route.id: view},
        ledger,
        leader=True,
        max_age=timedelta(seconds=45),
        tick=TICK,
        standing=standing,
        settled_at=NOON,
    )
    return state, evidence, NOON + TICK * ticks


def served(requests: float) -> Counts:
    """So many good and fast requests."""
    return Counts(requests, 0.0, tuple((edge, requests) for edge in (*EDGES_MS, INFINITY_MS)))


def learnt(state: ShiftState) -> Standing | None:
    """What is known before the first step."""
    began = NOON - HISTORY_TICKS * TICK
    ticks = (Tick(began + TICK * i, TICK.total_seconds(), served(3000), served(0)) for i in range(HISTORY_TICKS))
    before = state.model_copy(update={"share": 0.0, "verified_at": None})
    gathered = gather(None, before, Ledger(tuple(ticks)), whole=True, terms=TERMS)
    return gathered.standing if gathered else None


def _side(server: Server) -> Side:
    return Side.SOURCE if server.port == 30080 else Side.TARGET


def measure_decide() -> list[Figure]:
    def per_second(ticks: int) -> float:
        state, evidence, now = soaking_evidence(ticks)
        return 100 / quickest_seconds(7, lambda: [decide(state, evidence, now) for _ in range(100)])

    def gathered_per_second(ticks: int) -> float:
        state, evidence, _ = soaking_evidence(ticks)
        add = partial(gather, evidence.standing, state, evidence.ledger, whole=True, terms=TERMS)
        return 100 / quickest_seconds(7, lambda: [add() for _ in range(100)])

    return [
        Figure("decide, 720 ticks of evidence", per_second(720), "per s", "20 ticks", per_second(20)),
        Figure("gather one more tick, 720 before", gathered_per_second(720), "per s", "20", gathered_per_second(20)),
    ]


# -- the command -----------------------------------------------------------------------------------------------------


def measure_start() -> list[Figure]:
    scratch = tempfile.TemporaryDirectory()
    path = Path(scratch.name) / "shifter.db"
    _many_saved(path)
    store = ("--store", str(path))
    commands: Mapping[str, tuple[str, ...]] = {
        "version": (sys.executable, "-m", "shifter", "version"),
        "--help": (sys.executable, "-m", "shifter", "--help"),
        "get, 100 shifts": (sys.executable, "-m", "shifter", *store, "get"),
        "status --short, 100 shifts": (sys.executable, "-m", "shifter", *store, "status", "--short"),
        "pass": (sys.executable, "-c", "pass"),
    }

    def start(argv: tuple[str, ...]) -> None:
        quiet = subprocess.DEVNULL
        # `status` says by its exit code that no service runs here.
        ended = subprocess.run(argv, stdin=quiet, stdout=quiet, stderr=quiet, timeout=30, check=False)
        assert ended.returncode in {0, 6}, argv

    with scratch:
        took = {name: 1e3 * quickest_seconds(STARTS, partial(start, argv)) for name, argv in commands.items()}
    none = took.pop("pass")
    return [Figure(f"shifter {name}", spent, "ms", "python -c pass", none) for name, spent in took.items()]


def _many_saved(path: Path) -> None:
    """Leave the store of a hundred shifts that a service has looked at."""
    with running(100, on_disk=True) as service:
        service.tick()
        saved = service.store.load().values(), service.store.reports().values()
    store = SqliteStore(path)
    for each in saved[0]:
        store.save(each.state, 0)
    for report in saved[1]:
        store.report(report)
    store.close()


def measure_service() -> list[Figure]:
    few, many = cost_of(1), cost_of(100)
    return [
        Figure("service start, 100 shifts", many.start_seconds, "s", "1 shift", few.start_seconds),
        Figure("service idle, 100 shifts", many.core_percent, "% of a core", "1 shift", few.core_percent),
        Figure("service memory, 100 shifts", many.memory_mib, "MiB", "1 shift", few.memory_mib),
    ]


def main() -> None:
    configure_logs("error", io.StringIO())
    began = time.perf_counter()
    rows: list[tuple[str, ...]] = [("what", "figure", "against", "unit", "ratio", "against what")]
    measures = measure_ticks, measure_past, measure_memory, measure_counters, measure_apportion, measure_decide
    for measure in (*measures, measure_start, measure_service):
        rows += [figure.row() for figure in measure()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *numbers = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join((first, *numbers)).rstrip() + "\n")
    sys.stdout.write(f"\n{time.perf_counter() - began:.0f} s in all; compare ratios, not times\n")


if __name__ == "__main__":
    main()
