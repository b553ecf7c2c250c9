"""The stores and leases under test, and what is put into them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.objects import FLEET_OBJECT, record_body
from shifter.adapters.kube.store import KubeStore
from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.core.chain import FIRST_ID, Examined, Link, Walk
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
from shifter.ports.kube import Body, Kind, KubeApi, KubeError
from tests.contract.leases import KubeLeases
from tests.documents import a_policy

NOW = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC)


DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Subject:
    """One store under test, how to take its lease, and how another version leaves a state in it.

    `rewrite` puts other records in place of all there are, past shifter and past the file's own rules.
    `dates_orders`: when an order was asked for is what the store's own clock says, and not whoever asks.
    """

    store: Store
    lease: Callable[[], Leadership]
    plant: Callable[[str, str], None]
    plant_fleet: Callable[[str], None]
    plant_report: Callable[[str, str], None]
    rewrite: Callable[[Sequence[Link]], None]
    dates_orders: bool = False


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


def kube_subject(api: KubeApi, namespace: str) -> Subject:
    names = (f"n{number}" for number in count())
    store = KubeStore(api, namespace, "writer-1", lambda: next(names))

    def put(kind: Kind, name: str, spec: Body, status: Body) -> None:
        try:
            made = api.get(kind, namespace, name)
        except KubeError:
            made = api.create(kind, namespace, kind.body(metadata={"name": name}, spec=spec))
        api.replace(kind, namespace, {**made, "status": {**made.get("status", {}), **status}}, status=True)

    def rewrite(links: Sequence[Link]) -> None:
        (chain,) = store.chains()
        for body in api.list(SHIFT_RECORDS, namespace).items:
            api.delete(SHIFT_RECORDS, namespace, body["metadata"]["name"])
        for link in links:
            api.create(SHIFT_RECORDS, namespace, record_body(chain, link))
        body = api.get(SHIFTS, namespace, chain)
        body["status"]["history"]["unflushed"] = []
        api.replace(SHIFTS, namespace, body, status=True)

    spec: Body = {"namespaces": ["shop"], "steps": [5, 100]}
    return Subject(
        store,
        KubeLeases(api, namespace).take,
        lambda name, text: put(SHIFTS, name, spec, {"version": 1, "state": text}),
        lambda text: put(SHIFT_FLEETS, FLEET_OBJECT, {}, {"version": 1, "state": text}),
        lambda name, text: put(SHIFTS, name, spec, {"report": text}),
        rewrite,
        dates_orders=True,
    )


def texts_of(link: Link) -> tuple[str, ...]:
    """Return what is kept of a record but for its number and its hash."""
    told = (link.at, link.shift, link.what, link.by, link.reason)
    return (*told, link.sequence, link.epoch, link.evidence)


def examined(store: Store, of: str | None = None, *, page: int = 100) -> Examined:
    """Go along a whole chain: of a store that has one, of the only thing that was saved, or the one that is named."""
    walk, of = Walk(), the_chain(store) if of is None else of
    if of is None:
        return walk.result()
    while walk.take(store.chain(walk.next_id, page, of)):
        pass
    return walk.result()


def the_chain(store: Store) -> str | None:
    """Return the only chain there is; None if nothing was saved yet."""
    chains = store.chains()
    assert len(chains) <= 1
    return chains[0] if chains else None


def links_of(store: Store) -> tuple[Link, ...]:
    of = the_chain(store)
    return () if of is None else tuple(store.chain(FIRST_ID, 10_000, of).links)


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
