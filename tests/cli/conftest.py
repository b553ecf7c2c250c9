"""A command line over a store in memory, with a clock that only moves when somebody sleeps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result

from shifter.adapters.memory_store import MemoryStore
from shifter.cli.main import cli
from shifter.cli.session import Session
from shifter.core.deciding.orders import Answer, OrderAnswer
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.records import NewRecord
from shifter.core.state import FindingReport, HoldReport, Report, ShiftState
from shifter.errors import ShifterError
from shifter.ports import Store
from shifter.ports.clusters import ClusterProbe
from shifter.ports.transfers import Transferable
from shifter.wiring import ClusterAddress
from tests.apart import Apart
from tests.documents import a_policy

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def _policy(name: str, gates: Sequence[float] = ()) -> ShiftPolicy:
    routes = [{"listener": f"lbl-{name}", "domain": f"{name}.example.com", "url": "/"}]
    return a_policy(name, routes=routes, steps=[1, 25, 100], approvals=[{"before": gate} for gate in gates])


class Door:
    """A cluster with the store of a world in it. `denied` are verbs that nobody may, on which shifts; empty for all."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.identified = "ann"
        self.failing: ShifterError | None = None
        self.undecided: ShifterError | None = None
        self.unled: ShifterError | None = None
        self.closed_by: ShifterError | str = ""
        self.denied: dict[str, set[str]] = {}
        self.addresses: list[ClusterAddress] = []
        self.asked: list[tuple[str, str]] = []
        self.end = Apart()
        self.looked_at: ClusterProbe | None = None

    def open(self, address: ClusterAddress) -> Store:
        self._met(address)
        return self._world.kept()

    def identity(self, address: ClusterAddress) -> str:
        self._met(address)
        return address.impersonate or self.identified

    def served(self, address: ClusterAddress) -> bool:
        self._met(address)
        if self.unled is not None:
            raise self.unled
        return self._world.served

    def closed(self, address: ClusterAddress) -> str:
        self._met(address)
        if isinstance(self.closed_by, ShifterError):
            raise self.closed_by
        return self.closed_by

    def may(self, address: ClusterAddress, verb: str, shift: str) -> bool:
        self._met(address)
        self.asked.append((verb, shift))
        if self.undecided is not None:
            raise self.undecided
        shifts = self.denied.get(verb)
        return shifts is None or bool(shifts and shift != "*" and shift not in shifts)

    def transfer(self, address: ClusterAddress) -> Transferable:
        self._met(address)
        return self.end

    def probe(self, address: ClusterAddress) -> ClusterProbe:
        self._met(address)
        if self.looked_at is None:
            raise AssertionError("nobody said what is looked at")
        return self.looked_at

    def _met(self, address: ClusterAddress) -> None:
        self.addresses.append(address)
        if self.failing is not None:
            raise self.failing


class World:
    """Everything a command meets. `now` moves by sleeping; `meanwhile` runs at each sleep."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now = NOON
        self.served = True
        self.terminal = False
        self.can_ask = False
        self.slept: list[float] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.opened: list[Path] = []
        self.closed = 0
        self.before_open: Callable[[Path], None] = lambda _: None
        self.door = Door(self)

    def run(self, *args: str, typed: str | None = None) -> Result:
        """Run one command line; what is typed needs `can_ask`."""
        return CliRunner().invoke(cli, args, input=typed, obj=self.session())

    def session(self, **changes: Any) -> Session:  # noqa: ANN401 - any field
        """Return what a command stands in here."""
        usual: dict[str, Any] = {
            "opener": self._open,
            "now": lambda: self.now,
            "sleep": self._sleep,
            "is_served": lambda _: self.served,
            "user": lambda: "ann@desk",
            "is_terminal": lambda: self.terminal,
            "can_ask": lambda: self.can_ask,
            "store_path": Path("unused.db"),
            "cluster": self.door,
            "environment": {},
        }
        return Session(**{**usual, **changes})

    def json(self, *args: str) -> Any:  # noqa: ANN401 - whatever the document holds
        """Run a command with `-o json` and return its document."""
        return json.loads(self.run(*args, "-o", "json").stdout)

    def state(self, name: str = "shop", **changes: Any) -> ShiftState:  # noqa: ANN401 - any field
        """Save a shift's state and return it."""
        state = self._state(name, **changes)
        saved = self.store.load().get(name)
        self.store.save(state, saved.version if saved else 0)
        return state

    def shift(self, name: str = "shop", *, ago: float = 10, gates: Sequence[float] = (), **changes: Any) -> Report:  # noqa: ANN401 - any field
        """Save a shift at 25 % with its report, looked at `ago` seconds ago."""
        self.state(name, policy=_policy(name, gates))
        report = a_report(name, at=self.now - timedelta(seconds=ago), **changes)
        self.store.report(report)
        return report

    def report(self, name: str = "shop") -> Report:
        """Return a fresh report that nobody has saved."""
        return a_report(name, self.now)

    def record(self, new: NewRecord) -> None:
        """Append one record to the history, as a save of its shift."""
        saved = self.store.load().get(new.shift)
        self.store.save(saved.state if saved else self._state(new.shift), saved.version if saved else 0, [new])

    def answer(self, order_id: int, answer: Answer, text: str) -> None:
        """Answer an order as the service would."""
        name = self.store.order(order_id).request.shift
        saved = self.store.load()[name]
        self.store.save(saved.state, saved.version, answers=[OrderAnswer(order_id, answer, text, self.now)])

    def _state(self, name: str, **changes: Any) -> ShiftState:  # noqa: ANN401 - any field
        return ShiftState(**{"name": name, "policy": _policy(name), "since": NOON - timedelta(hours=1), **changes})

    def _open(self, path: Path) -> Store:
        self.before_open(path)
        self.opened.append(path)
        return self.kept()

    def kept(self) -> Store:
        """Return the store as a command that closes it may have it."""
        kept: Any = _Kept(self)
        return cast("Store", kept)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        if len(self.slept) > 10_000:
            raise AssertionError("slept for ever")
        self.meanwhile()


class _Kept:
    """The store of a world, which outlives the command that closes it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the store's own
        return getattr(self._world.store, name)

    def close(self) -> None:
        """Only this command's hold ends."""
        self._world.closed += 1


def a_finding(
    metric: str, source: tuple[float, float], target: tuple[float, float], *, bound: float, limit: float | None
) -> FindingReport:
    """Return what is known of a metric of which each side answered so many requests, so many of them badly."""
    parts = [None if not requests else 100 * bad / requests for requests, bad in (source, target)]
    return FindingReport(
        metric=metric,
        verdict="too little traffic",
        source=parts[0],
        target=parts[1],
        limit=limit,
        unit="%",
        text=f"{metric}: {target[1]:g} of {target[0]:g}, {source[1]:g} of {source[0]:g}",
        bound=bound,
        dispersion=1.2,
        source_counts=source,
        target_counts=target,
    )


def a_report(name: str, at: datetime, **changes: Any) -> Report:  # noqa: ANN401 - any field
    """Return a report of a shift soaking at 25 %."""
    return Report(
        **{
            "name": name,
            "at": at,
            "mode": "act",
            "namespaces": (name, "cart"),
            "phase": Phase.SHIFTING,
            "since": NOON - timedelta(minutes=12),
            "step": 2,
            "steps": (1.0, 25.0, 100.0),
            "wanted": 25.0,
            "written": 25.0,
            "observed": 24.8,
            "attempt": 1,
            "decision": "hold",
            "reason": "soaking at tcm 75 · istio 25: 180 of 300 s of evidence",
            "verdict": "pass",
            "said": "bounded, not proven: istio fails at most 1.5 times as often as tcm, plus 0.9 % (95 % confidence)",
            "harm": 0.42,
            "harm_limit": 100.0,
            "findings": (
                a_finding("errors", (3000, 3), (1000, 2), bound=0.9, limit=2.0),
                a_finding("over 250 ms", (2990, 30), (0, 0), bound=100.0, limit=None),
            ),
            "source_requests": 3000.0,
            "source_bad": 3.0,
            "target_requests": 1000.0,
            "target_bad": 2.0,
            "members": {"lb-1/lbl-shop": "tcm 2/2 healthy, weights 50,50; istio 3/3 healthy, weights 11,11,11"},
            "soaked_seconds": 180.0,
            "soak_seconds": 300.0,
            "epoch": 4,
            "sequence": 2,
            **changes,
        }
    )


@pytest.fixture
def world() -> World:
    """An empty world at noon."""
    return World()


@pytest.fixture
def paused() -> HoldReport:
    """The hold of a pause."""
    return HoldReport(kind="pause", reason="by ann@desk: lunch")


@pytest.fixture(autouse=True)
def _local_time() -> Iterator[None]:
    """What people read is local time; here that is Shanghai's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        yield
    time.tzset()
