"""What every store and every lease must do, run against all of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shifter.adapters.memory_store import MemoryLease, MemoryStore
from shifter.adapters.saved_form import LONGEST_SPAN, NAME_LENGTH, OPEN_ORDERS_PER_SHIFT, REASON_LENGTH
from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.core.orders import FLEET, Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.policy import ShiftPolicy
from shifter.core.records import NewRecord, What
from shifter.core.schema import API_VERSION
from shifter.core.state import (
    SCHEMA_VERSION,
    Approval,
    Direction,
    Failure,
    FindingReport,
    FleetState,
    Freeze,
    HoldReport,
    Intent,
    Pause,
    Report,
    Setback,
    ShiftState,
)
from shifter.errors import (
    ConflictError,
    InvariantError,
    NotFoundError,
    RefusedError,
    StoreUnavailableError,
)
from shifter.ports import Leadership, SavedFleet, Store

NOW = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC)
DAY = timedelta(days=1)

# Version 1 as it is on people's disks; the readers of every later version must take it.
STATE_OF_VERSION_1 = """{"schema_version":1,"name":"shop","policy":{"apiVersion":"shifter.io/v1alpha1",
"kind":"ShiftPolicy","metadata":{"name":"shop"},"spec":{"namespace":"shop","namespaces":null,"traffic":{"clb":{
"region":"ap-guangzhou","loadBalancer":"lb-1","routes":[{"listener":"lbl-1","domain":"shop.example.com","url":"/"}],
"source":{"port":30080,"ids":[],"ips":[],"tag":null},"target":{"port":31080,"ids":[],"ips":[],"tag":null}}},
"steps":[5.0,25.0,100.0],"soak":"5m","analysis":{"window":"1m","minRequests":100,"errors":{"maxPercent":1.0,
"overSourcePercent":0.5},"latency":{"quantile":0.99,"maxMs":500.0,"overSourceRatio":1.5}},"onFailure":"rollback"}},
"phase":"Shifting",
"since":"2026-03-04T05:06:07Z","share":5.0,"weights":{"r1":{"a":95,"b":5}},"verified_at":"2026-03-04T05:06:07Z",
"sequence":3,"attempt":1,"last_order":2,"intent":{"sequence":4,"epoch":2,"direction":"climb","from_share":5.0,
"to_share":25.0,"reason":"soaked","by":"shifter","created_at":"2026-03-04T05:06:07Z",
"deadline":"2026-03-04T05:11:07Z","before":{"r1":{"a":95,"b":5}},"weights":{"r1":{"a":75,"b":25}},
"operations":{"lb-1":"op-9"}},"paused":null,"promotion":{"order_id":2,"by":"ana","reason":"","full":false,"override":false},"overridden":false,
"failure":null,"setback":{"reason":"throttled","at":"2026-03-04T05:06:07Z","count":2},"holds":["window"]}"""


@dataclass(frozen=True, slots=True)
class Subject:
    """One store under test, how to take its lease, and how another version leaves a state in it."""

    store: Store
    lease: Callable[[], Leadership]
    plant: Callable[[str, str], None]
    plant_fleet: Callable[[str], None]


def sqlite_subject(path: Path) -> Subject:
    def plant(name: str, text: str) -> None:
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("INSERT INTO shifts (name, version, state) VALUES (?, 1, ?)", (name, text))

    def plant_fleet(text: str) -> None:
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("INSERT INTO fleet (one, version, state) VALUES (1, 1, ?)", (text,))

    store = SqliteStore(path)
    store.prune(NOW)  # so that the file is there for `plant`
    return Subject(store, lambda: SqliteLease(path), plant, plant_fleet)


def memory_subject() -> Subject:
    store = MemoryStore()
    return Subject(store, lambda: MemoryLease(store), store.plant, store.plant_fleet)


@pytest.fixture(params=["sqlite", "memory"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    made = sqlite_subject(tmp_path / "shifter.db") if request.param == "sqlite" else memory_subject()
    yield made
    made.store.close()


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store


def a_policy(name: str = "shop", **spec: object) -> ShiftPolicy:
    clb = {
        "region": "ap-guangzhou",
        "loadBalancer": "lb-1",
        "routes": [{"listener": "lbl-1", "domain": "shop.example.com", "url": "/"}],
        "source": {"port": 30080},
        "target": {"port": 31080},
    }
    whole = {"namespace": name, "traffic": {"clb": clb}, "steps": [5, 100], "soak": "5m"} | spec
    document = {"apiVersion": API_VERSION, "kind": "ShiftPolicy", "metadata": {"name": name}, "spec": whole}
    return ShiftPolicy.model_validate_json(json.dumps(document))


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
    return FleetState(freeze=Freeze(by=by, reason="release day", at=NOW), last_order=3)


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


# --- state


def test_a_store_begins_empty(store: Store) -> None:
    assert store.load() == {}
    assert store.reports() == {}
    assert store.open_orders() == ()
    assert store.history() == ()


def test_saved_state_is_loaded_with_its_version(store: Store) -> None:
    first = store.save(a_state(share=1), 0)
    second = store.save(a_state(share=5), first)

    saved = store.load()["shop"]

    assert (first, second) == (1, 2)
    assert saved.state == a_state(share=5)
    assert saved.version == second


def test_shifts_do_not_touch_each_other(store: Store) -> None:
    store.save(a_state("a", share=1), 0)
    store.save(a_state("b", share=2), 0)
    store.save(a_state("a", share=3), 1)

    loaded = store.load()

    assert {name: (saved.state.share, saved.version) for name, saved in loaded.items()} == {"a": (3, 2), "b": (2, 1)}


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_saving_over_another_version_is_a_conflict(store: Store, expected: int) -> None:
    store.save(a_state(share=1), 0)
    store.save(a_state(share=5), 1)

    with pytest.raises(ConflictError, match=f"shop is saved as version 2, not {expected}"):
        store.save(a_state(share=25), expected)

    assert store.load()["shop"].state.share == 5


def test_the_first_save_must_name_version_zero(store: Store) -> None:
    with pytest.raises(ConflictError):
        store.save(a_state(), 1)

    assert store.load() == {}


def test_state_records_and_answers_are_saved_together(store: Store) -> None:
    order = store.create_order(a_request(), NOW)

    store.save(a_state(), 0, [a_record("one"), a_record("two")], [an_answer(order.id)])

    assert [record.record.reason for record in store.history()] == ["one", "two"]
    assert store.open_orders() == ()


def test_a_conflict_writes_nothing_at_all(store: Store) -> None:
    store.save(a_state(share=1), 0)
    order = store.create_order(a_request(), NOW)

    with pytest.raises(ConflictError):
        store.save(a_state(share=5), 7, [a_record()], [an_answer(order.id)])

    assert store.load()["shop"].version == 1
    assert store.history() == ()
    assert store.open_orders() == (order,)


def test_an_answer_to_no_order_writes_nothing_at_all(store: Store) -> None:
    order = store.create_order(a_request(), NOW)

    with pytest.raises(NotFoundError, match="there is no order 99 to answer"):
        store.save(a_state(), 0, [a_record()], [an_answer(order.id), an_answer(99)])

    assert store.load() == {}
    assert store.history() == ()
    assert store.open_orders() == (order,)


@pytest.mark.parametrize("in_one_save", [True, False])
def test_an_order_is_answered_once(store: Store, in_one_save: bool) -> None:  # noqa: FBT001 - a test's parameter
    order = store.create_order(a_request(), NOW)
    answers = [an_answer(order.id)]
    if not in_one_save:
        store.save(a_state(), 0, answers=answers)

    with pytest.raises(ConflictError, match="accepted already"):
        store.save(a_state(share=5), 0 if in_one_save else 1, [a_record()], [*answers, an_answer(order.id)])

    assert store.history() == ()
    assert all(saved.state.share == 0 for saved in store.load().values())


def test_of_concurrent_savers_exactly_one_wins(store: Store) -> None:
    savers = 8
    store.save(a_state(), 0)
    start = Barrier(savers)

    def save(number: int) -> bool:
        start.wait(timeout=10)
        try:
            store.save(a_state(share=number), 1, [a_record(str(number))])
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(savers) as pool:
        won = list(pool.map(save, range(1, savers + 1)))

    winner = won.index(True) + 1
    assert won.count(True) == 1
    assert store.load()["shop"].state.share == winner
    assert [record.record.reason for record in store.history()] == [str(winner)]


def test_concurrent_savers_of_several_shifts_leave_no_gap_and_lose_nothing(store: Store) -> None:
    writers, each = 4, 10

    def save(number: int) -> None:
        for turn in range(each):
            store.save(a_state(f"shop-{number}"), turn, [a_record(f"{number}.{turn}")])

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(save, range(writers)))

    history = store.history(limit=1000)
    assert [record.id for record in history] == list(range(1, writers * each + 1))
    assert len({record.record.reason for record in history}) == writers * each


# --- every field comes back

moments = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds and adds the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - same
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
shares = st.floats(0, 100)
counts = st.integers(0, 2**53)
weights = st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers(0, 100), max_size=3), max_size=3)
intents = st.builds(
    Intent,
    sequence=counts,
    epoch=counts,
    direction=st.sampled_from(Direction),
    from_share=shares,
    to_share=shares,
    reason=st.text(),
    by=st.text(),
    promoted=st.booleans(),
    override=st.booleans(),
    created_at=moments,
    deadline=moments,
    before=weights,
    weights=weights,
    operations=st.dictionaries(st.text(), st.text(), max_size=3),
)
durations = st.integers(1, 10**10).map(lambda count: f"{count}ms") | st.sampled_from(["90s", "1h30m", "2d", "0.5s"])
policies = st.builds(
    a_policy,
    namespace=st.none(),
    namespaces=st.sampled_from([["shop"], ["shop", "cart"]]),
    steps=st.lists(st.floats(0, 100, exclude_min=True, exclude_max=True), max_size=5, unique=True).map(
        lambda below: [*sorted(below), 100]
    ),
    soak=durations,
    analysis=st.fixed_dictionaries(
        {},
        optional={
            "window": durations,
            "minRequests": st.integers(1, 10**6),
            "errors": st.just({"maxPercent": 0.1}),
            "latency": st.none() | st.fixed_dictionaries({"maxMs": st.floats(0.1, 10**6), "quantile": st.just(0.5)}),
        },
    ),
)
states = st.builds(
    ShiftState,
    name=st.just("shop"),
    policy=policies,
    phase=st.sampled_from(Phase),
    since=moments,
    share=shares,
    weights=weights,
    verified_at=st.none() | moments,
    sequence=counts,
    attempt=counts,
    last_order=counts,
    intent=st.none() | intents,
    paused=st.none()
    | st.builds(Pause, by=st.text(), reason=st.text(), at=moments, hands_off_until=st.none() | moments),
    approved=st.lists(st.builds(Approval, before=shares, by=st.text(), reason=st.text(), at=moments), max_size=2).map(
        tuple
    ),
    failure=st.none() | st.builds(Failure, reason=st.text(), share=shares, at=moments),
    overridden=st.booleans(),
    setback=st.none() | st.builds(Setback, reason=st.text(), at=moments, count=counts),
    abandoned=st.none() | intents,
    holds=st.lists(st.text(), max_size=3).map(tuple),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.builds(
    NewRecord,
    at=moments,
    shift=st.text(),
    what=st.sampled_from(What),
    by=st.text(),
    reason=st.text(),
    sequence=counts,
    epoch=counts,
    evidence=st.dictionaries(st.text(), json_values, max_size=3),
)
# One store for all examples of a test: each saves the next version.
same_store = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@same_store
@given(state=states)
def test_every_field_of_a_state_comes_back(store: Store, state: ShiftState) -> None:
    before = store.load().get("shop")

    store.save(state, before.version if before else 0)

    assert store.load()["shop"].state == state


@same_store
@given(record=records)
def test_every_field_of_a_record_comes_back(store: Store, record: NewRecord) -> None:
    remember(store, record)

    assert store.history(limit=1)[0].record == record


requests = st.builds(
    OrderRequest,
    shift=st.sampled_from(["shop", FLEET]),
    verb=st.sampled_from(Verb),
    by=st.just("ana"),
    reason=st.text(),
    full=st.booleans(),
    override=st.booleans(),
    share=st.none() | st.floats(0, 100, exclude_min=True),
    hands_off=st.none() | st.timedeltas(timedelta(microseconds=1), LONGEST_SPAN),
    adopt=st.booleans(),
)


@same_store
@given(at=moments, asked=requests, answer=st.sampled_from(Answer), text=st.text())
def test_every_field_of_an_order_comes_back(
    store: Store, at: datetime, asked: OrderRequest, answer: Answer, text: str
) -> None:
    before = store.load().get("shop")

    created = store.create_order(asked, at)
    open_order = store.order(created.id)
    store.save(a_state(), before.version if before else 0, answers=[OrderAnswer(created.id, answer, text, at)])
    answered = store.order(created.id)

    assert created == open_order
    assert (open_order.request, open_order.at, open_order.answer) == (asked, at, None)
    assert (answered.request, answered.at, answered.answer, answered.answer_text) == (asked, at, answer, text)


@same_store
@given(freeze=st.none() | st.builds(Freeze, by=st.text(), reason=st.text(), at=moments), last_order=counts)
def test_every_field_of_the_fleets_state_comes_back(store: Store, freeze: Freeze | None, last_order: int) -> None:
    state = FleetState(freeze=freeze, last_order=last_order)
    before = store.load_fleet().version

    store.save_fleet(state, before)

    assert store.load_fleet() == SavedFleet(state, before + 1)


# --- all shifts together


def test_the_fleet_begins_with_the_defaults_as_version_0(store: Store) -> None:
    assert store.load_fleet() == SavedFleet(FleetState(), 0)


def test_the_fleets_state_records_and_answers_are_saved_together(store: Store) -> None:
    order = store.create_order(a_request(Verb.FREEZE, shift=FLEET), NOW)

    version = store.save_fleet(a_fleet(), 0, [a_record("frozen", FLEET)], [an_answer(order.id)])

    assert store.load_fleet() == SavedFleet(a_fleet(), version)
    assert [record.record.reason for record in store.history(FLEET)] == ["frozen"]
    assert store.open_orders() == ()


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_saving_the_fleet_over_another_version_writes_nothing_at_all(store: Store, expected: int) -> None:
    store.save_fleet(a_fleet("ana"), 0)
    store.save_fleet(a_fleet("bob"), 1)
    order = store.create_order(a_request(Verb.UNFREEZE, shift=FLEET), NOW)

    with pytest.raises(ConflictError, match=f"all shifts together are saved as version 2, not {expected}"):
        store.save_fleet(FleetState(), expected, [a_record()], [an_answer(order.id)])

    assert store.load_fleet() == SavedFleet(a_fleet("bob"), 2)
    assert store.history() == ()
    assert store.open_orders() == (order,)


def test_an_answer_to_no_order_saves_nothing_of_the_fleet(store: Store) -> None:
    with pytest.raises(NotFoundError, match="there is no order 99 to answer"):
        store.save_fleet(a_fleet(), 0, [a_record()], [an_answer(99)])

    assert store.load_fleet() == SavedFleet(FleetState(), 0)
    assert store.history() == ()


def test_the_fleet_and_a_shift_do_not_touch_each_other(store: Store) -> None:
    store.save(a_state(share=5), 0)
    store.save_fleet(a_fleet(), 0)

    assert set(store.load()) == {"shop"}
    assert store.load()["shop"].version == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"schema_version": 2, "mood": "good"}', "schema version 2, written by a later shifter; this one knows 1"),
        ('{"schema_version": 1, "mood": "good"}', "mood"),
        ('{"schema_version": 1, "freeze": {}}', "freeze.by"),
        ("[", "not understood"),
    ],
)
def test_a_fleet_that_is_not_understood_is_neither_read_nor_written_over(
    subject: Subject, text: str, says: str
) -> None:
    subject.plant_fleet(text)

    with pytest.raises(RefusedError, match=says):
        subject.store.load_fleet()
    with pytest.raises(RefusedError, match=says):
        subject.store.save_fleet(FleetState(), 1, [a_record()])

    assert subject.store.history() == ()


def test_a_fleet_that_could_not_be_read_back_is_not_written(store: Store) -> None:
    with pytest.raises(InvariantError, match="could not be read back and is not written: "):
        store.save_fleet(a_fleet("\udc80"), 0)

    assert store.load_fleet() == SavedFleet(FleetState(), 0)


# --- what is not understood, and what could not be read back


def test_a_state_saved_by_version_1_is_read_and_saved_over(subject: Subject) -> None:
    subject.plant("shop", STATE_OF_VERSION_1)

    saved = subject.store.load()["shop"]
    version = subject.store.save(saved.state, saved.version)

    assert saved.state.intent is not None
    assert saved.state.intent.operations == {"lb-1": "op-9"}
    assert (saved.state.schema_version, saved.state.approved) == (SCHEMA_VERSION, ())
    assert version == 2
    assert subject.store.load()["shop"].state == saved.state


@pytest.mark.fault(
    on="SQLite",
    fault="one saved state is not understood",
    does="refuses to start; never writes over it",
    sees="`saved state of SHIFT is not understood ...; if it is damaged, restore a backup of the store`, exit code 4",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 3, "mood": "good"}, "schema version 3, written by a later shifter; this one knows 2"),
        ({"schema_version": 2}, "promotion"),
        ({"mood": 1}, "mood"),
        ({"share": "much"}, "share"),
    ],
)
def test_a_state_that_is_not_understood_is_neither_read_nor_written_over(
    subject: Subject, change: dict[str, object], says: str
) -> None:
    subject.plant("shop", json.dumps(json.loads(STATE_OF_VERSION_1) | change))
    store = subject.store

    with pytest.raises(RefusedError, match=says):
        store.load()
    with pytest.raises(RefusedError, match=says):
        store.save(a_state(), 1, [a_record()])

    assert store.history() == ()


def test_beside_a_state_that_is_not_understood_the_rest_goes_on(subject: Subject) -> None:
    subject.plant("shop", json.dumps(json.loads(STATE_OF_VERSION_1) | {"schema_version": 3}))
    store = subject.store

    store.save(a_state("other"), 0, [a_record()])
    order = store.create_order(a_request(Verb.ROLLBACK), NOW)

    assert len(store.history()) == 1
    assert store.open_orders() == (order,)


def test_a_state_that_could_not_be_read_back_is_not_written(store: Store) -> None:
    store.save(a_state(share=5), 0)

    with pytest.raises(InvariantError, match=r"shop could not be read back and is not written: .*share"):
        store.save(a_state(share=float("nan")), 1)

    assert store.load()["shop"].state.share == 5


def test_evidence_that_is_not_json_is_not_written(store: Store) -> None:
    record = NewRecord(NOW, "shop", What.PHASE, "shifter", "because", evidence={"p99": float("inf")})

    with pytest.raises(InvariantError, match="evidence of a record must be JSON values: Out of range float"):
        remember(store, a_record(), record)

    assert store.history() == ()


def test_a_moment_without_a_time_zone_is_not_written(store: Store) -> None:
    naive = NOW.replace(tzinfo=None)
    said = f"a moment without a time zone cannot be remembered: {naive.isoformat()}"

    with pytest.raises(InvariantError, match=said):
        remember(store, a_record(at=naive))
    with pytest.raises(InvariantError, match=said):
        store.create_order(a_request(), naive)
    with pytest.raises(InvariantError, match=said):
        store.prune(naive)

    assert store.history() == ()
    assert store.open_orders() == ()


def test_an_odd_byte_in_a_sentence_does_not_cost_the_record(store: Store) -> None:
    remember(store, a_record("the cloud said \udc80"))

    assert store.history()[0].record.reason == "the cloud said \\udc80"


# --- reports


def test_the_last_report_wins(store: Store) -> None:
    store.report(a_report("first"))
    store.report(a_report("last"))

    assert store.reports() == {"shop": a_report("last")}


def test_a_report_that_could_not_be_read_back_is_not_kept(store: Store) -> None:
    store.report(a_report())

    with pytest.raises(InvariantError, match=r"shop could not be read back and is not written: .*wanted"):
        store.report(a_report(wanted=float("nan")))

    assert store.reports() == {"shop": a_report()}


# --- orders


def test_open_orders_come_oldest_first_whatever_their_clock_said(store: Store) -> None:
    first = store.create_order(a_request(Verb.PAUSE), NOW)
    second = store.create_order(a_request(Verb.ROLLBACK, shift="other"), NOW - DAY)
    third = store.create_order(a_request(Verb.RESUME), NOW)

    store.save(a_state(), 0, answers=[an_answer(first.id)])

    assert (first.id, second.id, third.id) == (1, 2, 3)
    assert store.open_orders() == (second, third)


def test_an_answered_order_can_still_be_read(store: Store) -> None:
    order = store.create_order(a_request(), NOW)

    store.save(a_state(), 0, answers=[OrderAnswer(order.id, Answer.REFUSED, "there is nothing to pause", NOW)])

    answered = store.order(order.id)
    assert (answered.answer, answered.answer_text) == (Answer.REFUSED, "there is nothing to pause")


@pytest.mark.parametrize("order_id", [-1, 0, 1, 10**30])
def test_an_unknown_order_is_not_found(store: Store, order_id: int) -> None:
    with pytest.raises(NotFoundError, match=f"there is no order {order_id}$"):
        store.order(order_id)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (a_request(by="  "), "an order needs a name: nobody is given as the one who asks"),
        (a_request(by="a" * (NAME_LENGTH + 1)), "the order's by has 254 characters; at most 253 are kept"),
        (a_request(shift="s" * (NAME_LENGTH + 1)), "the order's shift has 254 characters; at most 253 are kept"),
        (a_request(reason="r" * (REASON_LENGTH + 1)), "the order's reason has 1001 characters; at most 1000 are kept"),
        (a_request(reason="\udc80"), r"the order's reason is not Unicode text: \\udc80"),
        (replace(a_request(), share=0), "the order's share is 0; it must be above 0 and at most 100 %"),
        (replace(a_request(), share=-5), "share is -5"),
        (replace(a_request(), share=100.1), "at most 100 %"),
        (replace(a_request(), share=float("nan")), "share is nan"),
        (replace(a_request(), share=float("inf")), "share is inf"),
        (
            replace(a_request(), hands_off=timedelta(0)),
            "the order's hands_off is 0:00:00; it must be above 0 and at most 366 days",
        ),
        (replace(a_request(), hands_off=-timedelta(hours=1)), "above 0"),
        (replace(a_request(), hands_off=timedelta.max), "at most 366 days"),
    ],
)
def test_an_order_with_what_cannot_be_kept_is_refused(store: Store, asked: OrderRequest, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        store.create_order(asked, NOW)

    assert store.open_orders() == ()


def test_an_order_with_the_longest_texts_is_kept(store: Store) -> None:
    asked = a_request(shift="s" * NAME_LENGTH, by="b" * NAME_LENGTH, reason="r" * REASON_LENGTH)

    order = store.create_order(asked, NOW)

    assert store.order(order.id).request == asked


def test_orders_that_nobody_answers_are_bounded_for_each_shift(store: Store) -> None:
    for _ in range(OPEN_ORDERS_PER_SHIFT):
        store.create_order(a_request(), NOW)

    with pytest.raises(
        RefusedError, match=f"{OPEN_ORDERS_PER_SHIFT} orders for shop wait unanswered already; is the service running"
    ):
        store.create_order(a_request(), NOW)
    other = store.create_order(a_request(shift="other"), NOW)
    store.save(a_state(), 0, answers=[an_answer(1)])
    again = store.create_order(a_request(), NOW)

    assert (other.id, again.id) == (OPEN_ORDERS_PER_SHIFT + 1, OPEN_ORDERS_PER_SHIFT + 2)


# --- history


def test_history_is_the_newest_records_oldest_first(store: Store) -> None:
    remember(store, *(a_record(str(number)) for number in range(10)))

    assert [record.record.reason for record in store.history(limit=3)] == ["7", "8", "9"]
    assert [record.id for record in store.history(limit=3)] == [8, 9, 10]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_gives_no_history(store: Store, limit: int) -> None:
    remember(store, a_record())

    assert store.history(limit=limit) == ()


def test_history_can_be_of_one_shift(store: Store) -> None:
    remember(store, a_record("a1", "a"), a_record("b1", "b"), a_record("a2", "a"), a_record("b2", "b"))

    assert [record.record.reason for record in store.history("a")] == ["a1", "a2"]
    assert [record.record.reason for record in store.history("b", limit=1)] == ["b2"]
    assert store.history("\udc80") == ()


def test_a_failed_save_leaves_no_gap_in_the_ids(store: Store) -> None:
    remember(store, a_record("one"))
    with pytest.raises(ConflictError):
        store.save(a_state(), 9, [a_record("never")])
    with pytest.raises(NotFoundError):
        store.save(a_state(), 0, [a_record("never")], [an_answer(9)])

    remember(store, a_record("two"))

    assert [(record.id, record.record.reason) for record in store.history()] == [(1, "one"), (2, "two")]


# --- retention


def test_prune_drops_old_records_and_keeps_young_ones(store: Store) -> None:
    remember(store, a_record("old", at=NOW - 3 * DAY), a_record("edge", at=NOW - 2 * DAY), a_record("new"))

    dropped = store.prune(NOW - 2 * DAY)

    assert dropped == 1
    assert [record.record.reason for record in store.history()] == ["edge", "new"]


def test_prune_keeps_open_orders_and_those_answered_lately(store: Store) -> None:
    asked = [store.create_order(a_request(), NOW - 9 * DAY) for _ in range(3)]
    store.save(a_state(), 0, answers=[an_answer(asked[0].id, NOW - 8 * DAY), an_answer(asked[1].id, NOW)])

    dropped = store.prune(NOW - DAY)

    assert dropped == 1
    assert store.open_orders() == (asked[2],)
    assert store.order(asked[1].id).answer is Answer.ACCEPTED
    with pytest.raises(NotFoundError):
        store.order(asked[0].id)


def test_ids_go_on_after_everything_was_pruned(store: Store) -> None:
    remember(store, a_record(), a_record())
    order = store.create_order(a_request(), NOW)
    store.save(a_state(), 0, answers=[an_answer(order.id)])
    store.prune(NOW + DAY)

    remember(store, a_record())
    next_order = store.create_order(a_request(), NOW)

    assert [record.id for record in store.history()] == [3]
    assert next_order.id == 2


def test_prune_tears_no_hole_when_a_clock_was_behind(store: Store) -> None:
    moments_in_order = [NOW - 9 * DAY, NOW, NOW - 9 * DAY, NOW]
    remember(store, *(a_record(at=at) for at in moments_in_order))

    dropped = store.prune(NOW - DAY)

    assert dropped == 1
    assert [record.id for record in store.history()] == [2, 3, 4]


def test_prune_compares_moments_and_not_their_spelling(store: Store) -> None:
    east, west = timezone(timedelta(hours=12)), timezone(timedelta(hours=-12))
    remember(store, a_record("old", at=(NOW - DAY).astimezone(east)), a_record("new", at=NOW.astimezone(west)))

    store.prune((NOW - timedelta(hours=1)).astimezone(east))

    assert [record.record.reason for record in store.history()] == ["new"]


def test_prune_leaves_the_states_alone(store: Store) -> None:
    store.save(a_state(), 0)

    store.prune(NOW + 9999 * DAY)

    assert set(store.load()) == {"shop"}


# --- end


def test_closing_twice_is_harmless_and_ends_the_store(store: Store) -> None:
    store.close()
    store.close()

    with pytest.raises(StoreUnavailableError, match="closed"):
        store.load()
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.save(a_state(), 0)


# --- leases


def test_of_two_leases_the_second_is_refused(subject: Subject) -> None:
    first = subject.lease()

    with pytest.raises(RefusedError, match="another shifter"):
        subject.lease()

    assert first.valid()
    first.release()


def test_each_lease_has_a_higher_epoch(subject: Subject) -> None:
    epochs = []
    for _ in range(3):
        lease = subject.lease()
        epochs.append(lease.epoch)
        lease.release()

    assert epochs == [1, 2, 3]


def test_a_released_lease_is_not_valid_and_frees_the_place(subject: Subject) -> None:
    first = subject.lease()

    first.release()
    first.release()
    second = subject.lease()
    first.release()

    assert not first.valid()
    assert second.valid()
    second.release()


# --- the memory store fails when told to


def test_memory_that_is_down_does_nothing() -> None:
    store = MemoryStore()
    store.down = True

    with pytest.raises(StoreUnavailableError):
        store.save(a_state(), 0)
    store.down = False

    assert store.load() == {}


def test_memory_fails_before_applying_as_often_as_told() -> None:
    store = MemoryStore()
    store.fail_next(2)

    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            store.save(a_state(), 0)

    assert store.save(a_state(), 0) == 1


def test_memory_fails_after_applying_as_often_as_told() -> None:
    store = MemoryStore()
    store.fail_next(1, after_applying=True)

    with pytest.raises(StoreUnavailableError):
        store.save(a_state(), 0)

    assert store.load()["shop"].version == 1


def test_a_lost_memory_lease_is_not_valid_and_the_next_one_is() -> None:
    store = MemoryStore()
    first = MemoryLease(store)

    first.lose()
    second = MemoryLease(store)

    assert not first.valid()
    assert second.valid()
    assert second.epoch > first.epoch
