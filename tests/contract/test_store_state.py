"""What every store must do with the state and the report of a shift."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter.core.analysis.learning import History, MetricHistory
from shifter.core.analysis.sequential import MetricWealth, Wealth
from shifter.core.analysis.sickness import Sickness
from shifter.core.analysis.standing import Failing, Standing
from shifter.core.deciding.orders import OrderRequest, Verb
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.state import (
    SCHEMA_VERSION,
    Approval,
    Ceiling,
    Direction,
    Failure,
    Intent,
    Pause,
    Pin,
    Setback,
    ShiftState,
    WayBack,
)
from shifter.errors import (
    ConflictError,
    InvariantError,
    NotFoundError,
    RefusedError,
    StoreUnavailableError,
)
from shifter.ports import Saved, Store
from tests.contract.stores import (
    NOW,
    Subject,
    a_record,
    a_report,
    a_request,
    a_state,
    an_answer,
    counts,
    examined,
    moments,
    same_store,
)
from tests.documents import a_policy

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


# Version 2 the same, with every key that it had: an attempt that was paused, approved, half done and given up once.
STATE_OF_VERSION_2 = """{"schema_version":2,"name":"shop","policy":{"apiVersion":"shifter.io/v1alpha1",
"kind":"ShiftPolicy","metadata":{"name":"shop"},"spec":{"namespace":"shop","namespaces":null,"traffic":{"clb":{
"region":"ap-guangzhou","loadBalancer":"lb-1","routes":[{"listener":"lbl-1","domain":"shop.example.com","url":"/"}],
"source":{"port":30080,"ids":[],"ips":[],"tag":null},"target":{"port":31080,"ids":[],"ips":[],"tag":null}}},
"steps":[5.0,25.0,100.0],"soak":"5m","analysis":{"window":"1m","minRequests":100,"errors":{"maxPercent":1.0,
"overSourcePercent":0.5},"latency":{"quantile":0.95,"maxMs":500.0,"overSourceRatio":1.5}},"onFailure":"rollback",
"approvals":[{"before":25.0}]}},"phase":"Shifting","since":"2026-03-04T05:06:07Z","share":5.0,
"weights":{"r1":{"a":95,"b":5}},"verified_at":"2026-03-04T05:06:07Z","sequence":4,"attempt":2,"last_order":2,
"intent":{"sequence":4,"epoch":2,"direction":"climb","from_share":5.0,"to_share":25.0,"reason":"soaked",
"by":"ana","promoted":true,"override":true,"created_at":"2026-03-04T05:06:07Z","deadline":"2026-03-04T05:11:07Z",
"before":{"r1":{"a":95,"b":5}},"weights":{"r1":{"a":75,"b":25}},"operations":{"lb-1":"op-9"}},
"paused":{"by":"ana","reason":"lunch","at":"2026-03-04T05:06:07Z","hands_off_until":"2026-03-04T05:36:07Z"},
"approved":[{"before":25.0,"by":"bo","reason":"","at":"2026-03-04T05:06:07Z"}],"overridden":true,"failure":null,
"setback":{"reason":"throttled","at":"2026-03-04T05:06:07Z","count":2},"abandoned":{"sequence":3,"epoch":1,
"direction":"climb","from_share":5.0,"to_share":25.0,"reason":"soaked","by":"shifter","promoted":false,
"override":false,"created_at":"2026-03-04T05:06:07Z","deadline":"2026-03-04T05:11:07Z","before":{"r1":{"a":95,"b":5}},
"weights":{"r1":{"a":75,"b":25}},"operations":{}},"holds":["pause"]}"""


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
    assert sum(examined(store, of).count for of in store.chains()) == writers * each
    assert all(examined(store, of).sound for of in store.chains())
    assert len({record.record.reason for record in history}) == writers * each


shares = st.floats(0, 100)


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
    steps=st.just("auto")
    | st.lists(st.floats(0, 100, exclude_min=True, exclude_max=True), max_size=5, unique=True).map(
        lambda below: [*sorted(below), 100]
    ),
    blastRadius=st.fixed_dictionaries({}, optional={"requests": st.just(5.5), "seconds": st.just(0.5)}),
    onFailure=st.sampled_from(["rollback", "stepBack", "hold"]),
    soak=durations,
    analysis=st.fixed_dictionaries(
        {},
        optional={
            "falseRollbackPercent": st.sampled_from([0.1, 20]),
            "hold": durations,
            "errors": st.just({"maxPercent": 0.1, "codes": ["503"], "flags": ["UF"], "grpcStatuses": [14]}),
            "answers": st.just({"codes": [], "margin": {"ratio": 2, "percent": 3}}),
            "latency": st.just({"enabled": False})
            | st.fixed_dictionaries({"maxMs": st.floats(0.1, 10**6), "quantile": st.just(0.5)}),
            "custom": st.just([{"name": "logins", "maxPercent": 2}]),
        },
    ),
)


real = st.floats(allow_nan=False, allow_infinity=False)
parts = st.floats(0, 1)
logs = st.lists(real, max_size=3).map(tuple)
four = st.tuples(real, real, real, real)
standings = st.builds(
    Standing,
    attempt=counts,
    share=shares,
    history=st.builds(
        History,
        ticks=counts,
        requests=real,
        per_tick=real,
        edges_ms=logs,
        metrics=st.lists(
            st.builds(MetricHistory, name=st.text(), rate=parts, requests=real, dispersion=real, halves=st.booleans()),
            max_size=2,
        ).map(tuple),
    ),
    wealth=st.builds(
        Wealth,
        metrics=st.lists(
            st.builds(MetricWealth, start=logs, latest=logs, safety=logs, source_rate=parts, source_weight=real),
            max_size=2,
        ).map(tuple),
    ),
    totals=st.lists(four, max_size=2).map(tuple),
    recent=st.lists(st.lists(st.tuples(real, real), max_size=2).map(tuple), max_size=2).map(tuple),
    usual=real,
    ticks=counts,
    seconds=real,
    sickness=st.none() | st.builds(Sickness, ticks=counts, well_ticks=counts, after_ticks=st.none() | counts),
    failing=st.builds(Failing, ticks=counts, bad=real, requests=real, source_requests=real, apart_seconds=real),
    lost=real,
    pending=st.lists(st.none() | four, max_size=2).map(tuple),
    unmeasured=st.lists(st.text(), max_size=2).map(tuple),
    counted_until=real,
)


pins = st.builds(Pin, before=counts, floor=counts, at=moments, released=st.booleans())
WHAT_THERE_WAS = st.dictionaries(st.text(), counts, max_size=3)

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
    failure=st.none() | st.builds(Failure, reason=st.text(), share=shares, at=moments, at_once=st.booleans()),
    ceiling=st.none() | st.builds(Ceiling, share=shares, reason=st.text(), at=moments, probe=st.booleans()),
    standing=st.none() | standings,
    overridden=st.booleans(),
    way_back=st.none() | st.builds(WayBack, at=moments, had=WHAT_THERE_WAS, left=WHAT_THERE_WAS),
    pin=st.none() | pins,
    pins=st.dictionaries(st.text(), pins, max_size=2),
    setback=st.none() | st.builds(Setback, reason=st.text(), at=moments, count=counts),
    abandoned=st.none() | intents,
    holds=st.lists(st.text(), max_size=3).map(tuple),
)


@same_store
@given(state=states)
def test_every_field_of_a_state_comes_back(store: Store, state: ShiftState) -> None:
    before = store.load().get("shop")

    store.save(state, before.version if before else 0)

    assert store.load()["shop"].state == state


def test_a_state_saved_by_version_1_is_read_and_saved_over(subject: Subject) -> None:
    subject.plant("shop", STATE_OF_VERSION_1)

    saved = subject.store.load()["shop"]
    version = subject.store.save(saved.state, saved.version)

    assert saved.state.intent is not None
    assert saved.state.intent.operations == {"lb-1": "op-9"}
    assert (saved.state.schema_version, saved.state.approved) == (SCHEMA_VERSION, ())
    assert saved.state.policy == policy_of_earlier("0.99")
    assert version == 2
    assert subject.store.load()["shop"].state == saved.state


def policy_of_earlier(quantile: str, *gates: float) -> ShiftPolicy:
    """The policy of the states above without what fixed limits needed; a limit that was in force stays one."""
    limits = {"errors": {"maxPercent": 1.0}, "latency": {"quantile": float(quantile), "maxMs": 500.0}}
    return a_policy(steps=[5, 25, 100], analysis=limits, approvals=[{"before": gate} for gate in gates])


def test_a_state_saved_by_version_3_is_read_and_nobody_knows_what_its_source_had(subject: Subject) -> None:
    now = a_state(share=25).model_copy(update={"ceiling": Ceiling(share=50, reason="errors", at=NOW)})
    document = json.loads(now.model_dump_json(by_alias=True)) | {"schema_version": 3}
    for later in ("way_back", "pin", "pins"):
        del document[later]
    del document["policy"]["spec"]["wayBack"]
    subject.plant("shop", json.dumps(document))

    saved = subject.store.load()["shop"]
    subject.store.save(saved.state, saved.version)

    assert (saved.state.schema_version, saved.state.way_back, saved.state.pin) == (SCHEMA_VERSION, None, None)
    assert saved.state == now
    assert saved.state.policy.spec.way_back.keep_percent == 50
    assert subject.store.load()["shop"].state == now


def test_a_state_saved_by_version_2_is_read_and_saved_over(subject: Subject) -> None:
    subject.plant("shop", STATE_OF_VERSION_2)

    saved = subject.store.load()["shop"]
    version = subject.store.save(saved.state, saved.version)
    state = saved.state

    assert (state.schema_version, state.ceiling, state.standing) == (SCHEMA_VERSION, None, None)
    assert (state.share, state.attempt, state.sequence, state.last_order) == (5, 2, 4, 2)
    assert state.policy == policy_of_earlier("0.95", 25)
    assert state.intent is not None
    assert (state.intent.promoted, state.intent.override, state.intent.operations) == (True, True, {"lb-1": "op-9"})
    assert state.abandoned is not None
    assert (state.abandoned.sequence, state.abandoned.weights) == (3, {"r1": {"a": 75, "b": 25}})
    assert state.paused is not None
    assert state.paused.hands_off_until == datetime(2026, 3, 4, 5, 36, 7, tzinfo=UTC)
    assert [approval.by for approval in state.approved] == ["bo"]
    assert (state.overridden, state.holds) == (True, ("pause",))
    assert version == 2
    assert subject.store.load()["shop"].state == state


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"latency": None}, {"latency": {"enabled": False}}),
        ({}, {"latency": {"enabled": False}}),
        (None, {"latency": {"enabled": False}}),
        ({"latency": {"maxMs": 300.0}}, {"latency": {"maxMs": 300.0}}),
        (
            {"latency": None, "errors": {"maxPercent": 2.0, "overSourcePercent": 0.0}},
            {"latency": {"enabled": False}, "errors": {"maxPercent": 2.0}},
        ),
    ],
    ids=["latency off", "latency never said", "nothing said", "latency without the source", "errors"],
)
@pytest.mark.parametrize("version", [1, 2])
def test_criteria_of_earlier_versions_are_read_as_what_is_left_of_them(
    subject: Subject, version: int, before: dict[str, object] | None, after: dict[str, object]
) -> None:
    document = json.loads(STATE_OF_VERSION_1) | {"schema_version": version}
    if version > 1:
        del document["promotion"]
    document["policy"]["spec"]["analysis"] = before
    if before is None:
        del document["policy"]["spec"]["analysis"]
    subject.plant("shop", json.dumps(document))

    assert subject.store.load()["shop"].state.policy == a_policy(steps=[5, 25, 100], analysis=after)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (None, "policy"),
        ([], "policy"),
        ({}, "policy.kind"),
        ({"spec": "text"}, "policy.kind"),
        ({"kind": "ShiftPolicy", "metadata": {"name": "shop"}, "spec": {"analysis": 7}}, "policy.spec"),
        ({"kind": "ShiftPolicy", "metadata": {"name": "shop"}, "spec": {"analysis": {"errors": []}}}, "policy.spec"),
    ],
)
def test_a_damaged_state_of_an_earlier_version_is_refused_and_not_written_over(
    subject: Subject, version: int, policy: object, says: str
) -> None:
    document = json.loads(STATE_OF_VERSION_1) | {"schema_version": version, "policy": policy}
    document.pop("promotion")
    subject.plant("shop", json.dumps(document))

    with pytest.raises(RefusedError, match=f"is not understood and will not be written over: {says}"):
        subject.store.load()["shop"]
    with pytest.raises(RefusedError, match="is not understood"):
        subject.store.save(a_state(), 1)


def test_a_standing_is_not_read_with_keys_of_a_later_version(subject: Subject) -> None:
    standing = Standing(1, 0.0, History(0, 0.0, 0.0, (), ()), Wealth(()), (), (), 0.0)
    document = json.loads(a_state().model_copy(update={"standing": standing}).model_dump_json(by_alias=True))
    document["standing"]["mood"] = "good"
    subject.plant("shop", json.dumps(document))

    with pytest.raises(RefusedError, match=r"standing\.mood"):
        subject.store.load()["shop"]


@pytest.mark.fault(
    on="SQLite",
    fault="one saved state is not understood",
    does="is read by nobody, written over by nobody, and hides no other",
    sees="`saved state of SHIFT is not understood ...; if it is damaged, restore a backup of the store`",
    safe_within="at once",
)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 6, "mood": "good"}, "schema version 6, written by a later shifter; this one knows 5"),
        ({"schema_version": 2}, "promotion"),
        ({"schema_version": 3}, r"policy\.spec\.analysis\..* not used any more"),
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
        store.load().get("shop")
    with pytest.raises(RefusedError, match=says):
        store.save(a_state(), 1, [a_record()])

    assert store.history() == ()


def test_beside_a_state_that_is_not_understood_the_rest_goes_on(subject: Subject) -> None:
    subject.plant("shop", json.dumps(json.loads(STATE_OF_VERSION_1) | {"schema_version": SCHEMA_VERSION + 1}))
    store = subject.store

    store.save(a_state("other"), 0, [a_record()])
    order = store.create_order(a_request(Verb.ROLLBACK), NOW)

    assert len(store.history()) == 1
    assert store.open_orders() == (order,)


def test_a_state_that_is_not_understood_hides_no_other_and_is_not_taken_for_a_new_one(subject: Subject) -> None:
    subject.plant("shop", json.dumps(json.loads(STATE_OF_VERSION_1) | {"mood": 1}))
    subject.store.save(a_state("cart"), 0)

    found = subject.store.load()

    assert found.readable == {"cart": Saved(a_state("cart"), 1)}
    assert {name: "mood" in why for name, why in found.unreadable.items()} == {"shop": True}
    assert (list(found), len(found), "shop" in found, "ghost" in found) == (["cart", "shop"], 2, True, False)
    with pytest.raises(RefusedError, match="will not be written over"):
        found.get("shop")
    assert found.get("ghost") is None


def test_orders_are_kept_beside_a_state_and_a_report_that_are_not_understood(subject: Subject) -> None:
    subject.plant("shop", "{}")
    subject.plant_report("shop", "{}")

    order = subject.store.create_order(OrderRequest("shop", Verb.ROLLBACK, "ana", "errors"), NOW)

    assert subject.store.open_orders() == (order,)


def test_a_report_that_is_not_understood_hides_no_other_and_is_replaced_by_the_next(subject: Subject) -> None:
    subject.plant_report("shop", "{}")
    cart = a_report().model_copy(update={"name": "cart"})
    subject.store.report(cart)

    found = subject.store.reports()

    assert found.readable == {"cart": cart}
    assert "the service's next one replaces it; if there is no such shift any more, delete" in found.unreadable["shop"]
    subject.store.report(a_report())
    assert subject.store.reports()["shop"] == a_report()


def test_a_state_that_could_not_be_read_back_is_not_written(store: Store) -> None:
    store.save(a_state(share=5), 0)

    with pytest.raises(InvariantError, match=r"shop could not be read back and is not written: .*share"):
        store.save(a_state(share=float("nan")), 1)

    assert store.load()["shop"].state.share == 5


def test_the_last_report_wins(store: Store) -> None:
    store.report(a_report("first", wanted=5))
    store.report(a_report("last", wanted=25))

    assert store.reports() == {"shop": a_report("last", wanted=25)}


def test_a_report_that_could_not_be_read_back_is_not_kept(store: Store) -> None:
    store.report(a_report())

    with pytest.raises(InvariantError, match=r"shop could not be read back and is not written: .*wanted"):
        store.report(a_report(wanted=float("nan")))

    assert store.reports() == {"shop": a_report()}


def test_closing_twice_is_harmless_and_ends_the_store(store: Store) -> None:
    store.close()
    store.close()

    with pytest.raises(StoreUnavailableError, match="closed"):
        store.load()
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.save(a_state(), 0)
