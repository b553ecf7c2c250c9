"""The stores and leases under test, and what is put into them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.core.chain import Examined, Link, Walk
from shifter.core.deciding.orders import Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.records import NewRecord, What
from shifter.core.state import (
    FindingReport,
    FleetState,
    Freeze,
    HoldReport,
    Report,
    ShiftState,
)
from shifter.ports import Leadership, Store
from tests.documents import a_policy

NOW = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC)


DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Subject:
    """One store under test, how to take its lease, and how another version leaves a state in it.

    `rewrite` puts other records in place of all there are, past shifter and past the file's own rules.
    """

    store: Store
    lease: Callable[[], Leadership]
    plant: Callable[[str, str], None]
    plant_fleet: Callable[[str], None]
    plant_report: Callable[[str, str], None]
    rewrite: Callable[[Sequence[Link]], None]


_REWRITTEN = "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def sqlite_subject(path: Path) -> Subject:
    def plant(name: str, text: str) -> None:
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("INSERT INTO shifts (name, version, state) VALUES (?, 1, ?)", (name, text))

    def plant_fleet(text: str) -> None:
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("INSERT INTO fleet (one, version, state) VALUES (1, 1, ?)", (text,))

    def plant_report(name: str, text: str) -> None:
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("INSERT INTO reports (name, report) VALUES (?, ?)", (name, text))

    def rewrite(links: Sequence[Link]) -> None:
        rows = [(row.id, *texts_of(row), row.hash) for row in links]
        with closing(sqlite3.connect(path)) as raw, raw:
            rules = raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in rules:
                raw.execute(f"DROP TRIGGER {name}")
            raw.execute("DELETE FROM history")
            raw.executemany(_REWRITTEN, rows)
            for _, rule in rules:
                raw.execute(rule)

    store = SqliteStore(path)
    store.prune(NOW)  # so that the file is there for `plant`
    return Subject(store, lambda: SqliteLease(path), plant, plant_fleet, plant_report, rewrite)


def memory_subject() -> Subject:
    store = MemoryStore()
    return Subject(store, lambda: MemoryLease(store), store.plant, store.plant_fleet, store.plant_report, store.rewrite)


def texts_of(link: Link) -> tuple[str, ...]:
    """Return what is kept of a record but for its number and its hash."""
    told = (link.at, link.shift, link.what, link.by, link.reason)
    return (*told, link.sequence, link.epoch, link.evidence)


def examined(store: Store, page: int = 100) -> Examined:
    """Go along the whole chain of a store."""
    walk = Walk()
    while walk.take(store.chain(walk.next_id, page)):
        pass
    return walk.result()


def a_state(name: str = "shop", share: float = 0.0) -> ShiftState:
    return ShiftState(name=name, policy=a_policy(name), since=NOW, share=share)


def a_record(reason: str = "because", shift: str = "shop", at: datetime = NOW) -> NewRecord:
    return NewRecord(at, shift, What.PHASE, "shifter", reason)


def remember(store: Store, *records: NewRecord) -> None:
    """Append records beside a state that no test looks at."""
    saved = store.load().get("bystander")
    store.save(a_state("bystander"), saved.version if saved else 0, records)


def a_request(verb: Verb = Verb.PAUSE, shift: str = "shop", by: str = "ana", reason: str = "lunch") -> OrderRequest:
    return OrderRequest(shift, verb, by, reason)


def a_fleet(by: str = "ana") -> FleetState:
    return FleetState(freezes=(Freeze(by=by, reason="release day", at=NOW),), last_order=3)


def an_answer(order_id: int, at: datetime = NOW) -> OrderAnswer:
    return OrderAnswer(order_id, Answer.ACCEPTED, "paused at 5 %", at)


def a_report(reason: str = "soaking", wanted: float = 5.0) -> Report:
    return Report(
        name="shop",
        at=NOW,
        mode="active",
        namespaces=("shop",),
        phase=Phase.SHIFTING,
        since=NOW,
        step=1,
        steps=(1, 5, 100),
        wanted=wanted,
        written=5.0,
        observed=None,
        attempt=1,
        decision="hold",
        reason=reason,
        verdict="too little traffic",
        holds=(HoldReport(kind="window", reason="opens at 10:00"),),
        findings=(
            FindingReport(metric="errors", verdict="pass", source=0.1, target=None, limit=1.0, unit="%", text="fine"),
        ),
        members={"r1": "a"},
    )


moments = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds and adds the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - same
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


counts = st.integers(0, 2**53)


# One store for all examples of a test: each saves the next version.
same_store = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
