"""The store in a cluster on a bad day: lost answers, late leaders, records that cannot be filed, and other hands."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from shifter.adapters.kube.events import REASONS
from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.ledger import MOST_UNFILED
from shifter.adapters.kube.objects import moment, record_body
from shifter.adapters.kube.store import KubeStore
from shifter.adapters.saved_records import link_of
from shifter.core.chain import START, chained
from shifter.core.deciding.orders import FLEET, Answer, Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Report, ShiftState
from shifter.errors import ConflictError, InvariantError, RefusedError, StoreUnavailableError
from shifter.ports.kube import EVENTS, LEASES, Kind
from tests.contract.stores import NOW, a_fleet, a_record, a_report, a_request, a_state, an_answer, examined
from tests.kube import Call, Fault, MemoryApi
from tests.kube_cluster import MemoryCluster

NAMESPACE = "shifter-system"

Open = Callable[[MemoryApi], KubeStore]


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture
def api(cluster: MemoryCluster) -> MemoryApi:
    return MemoryApi(cluster)


@pytest.fixture
def opened() -> Open:
    writers, tokens = count(), count()
    return lambda api: KubeStore(api, NAMESPACE, f"writer-{next(writers)}", lambda: f"n{next(tokens)}")


@pytest.fixture
def store(api: MemoryApi, opened: Open) -> KubeStore:
    return opened(api)


def reasons(store: KubeStore) -> list[str]:
    return [record.record.reason for record in store.history(limit=10_000)]


def writes(api: MemoryApi) -> list[tuple[str, str]]:
    found = [(call.verb, call.kind.plural) for call in api.calls if call.verb not in {"get", "list", "watch"}]
    api.calls.clear()
    return found


UNSURE = (Fault.LOST, Fault.TIMEOUT, Fault.ERROR, Fault.ERROR_AFTER, Fault.GARBLED)


@pytest.mark.fault(
    on="Kubernetes",
    fault="the answer to a write is lost",
    does="reads the object again: a write that was kept counts, one that was not is made again",
    sees="nothing; `store.problem` while the API server does not answer",
    safe_within="at once",
)
@pytest.mark.parametrize("kind", [SHIFTS, SHIFT_RECORDS])
@pytest.mark.parametrize("fault", UNSURE)
@pytest.mark.parametrize("first", [True, False])
def test_a_save_whose_answer_is_lost_is_neither_lost_nor_doubled(
    store: KubeStore,
    api: MemoryApi,
    fault: Fault,
    kind: Kind,
    first: bool,  # noqa: FBT001 - a test's parameter
) -> None:
    version = 0 if first else store.save(a_state(), 0, [a_record("zero")])
    api.fail(fault, "create", "replace_status", kind=kind)

    try:
        store.save(a_state(share=5), version, [a_record("one"), a_record("two")])
    except StoreUnavailableError:
        store.save(a_state(share=5), version, [a_record("one"), a_record("two")])

    assert store.load()["shop"].state.share == 5
    assert reasons(store) == [*(() if first else ("zero",)), "one", "two"]
    assert examined(store, "shop").sound


def test_after_a_save_of_which_nothing_is_known_more_can_be_saved_with_it(store: KubeStore, api: MemoryApi) -> None:
    version = store.save(a_state(), 0)
    api.fail(Fault.LOST, "replace_status")
    api.fail(Fault.DOWN, "get")
    with pytest.raises(StoreUnavailableError):
        store.save(a_state(share=5), version, [a_record("one")])

    version = store.save(a_state(share=1), version, [a_record("one"), a_record("two")])

    assert (store.load()["shop"].version, store.load()["shop"].state.share) == (version, 1)
    assert reasons(store) == ["one", "two"]
    assert examined(store, "shop").sound


@pytest.mark.fault(
    on="Kubernetes",
    fault="a leader that stood still saves after another one took over",
    does="the save is refused, even of the very state that the other saved",
    sees="`SHIFT is saved as version N, not M`, in the log of the one that was late",
    safe_within="at once",
)
def test_a_late_leader_never_takes_anothers_save_for_its_own(cluster: MemoryCluster, opened: Open) -> None:
    late_api = MemoryApi(cluster)
    late, new = opened(late_api), opened(MemoryApi(cluster))
    version = late.save(a_state(), 0)
    new.load()
    late_api.fail(Fault.TIMEOUT, "replace_status")

    new.save(a_state(), version)
    for _ in range(2):
        with pytest.raises((ConflictError, StoreUnavailableError)):
            late.save(a_state(), version, [a_record("late")])

    with pytest.raises(ConflictError, match="shop is saved as version 2, not 1"):
        late.save(a_state(), version, [a_record("late")])
    assert reasons(new) == []


def test_a_report_and_a_label_are_nobody_elses_save(cluster: MemoryCluster, opened: Open) -> None:
    leader, other = opened(MemoryApi(cluster)), MemoryApi(cluster)
    version = leader.save(a_state(), 0)
    body = other.get(SHIFTS, NAMESPACE, "shop")
    body["metadata"]["labels"]["team"] = "shop"
    other.replace(SHIFTS, NAMESPACE, body)
    leader.report(a_report())

    leader.save(a_state(share=5), version)

    assert leader.load()["shop"].state.share == 5
    assert other.get(SHIFTS, NAMESPACE, "shop")["metadata"]["labels"]["team"] == "shop"


def test_more_records_than_a_status_takes_are_saved_in_parts(store: KubeStore, api: MemoryApi) -> None:
    many = [a_record(str(number)) for number in range(5 * MOST_UNFILED + 3)]

    version = store.save(a_state(share=5), 0, many)

    assert reasons(store) == [record.reason for record in many]
    assert examined(store, "shop").sound
    assert version == store.load()["shop"].version
    assert max(len(body["status"]["history"]["unflushed"]) for body in api.list(SHIFTS, NAMESPACE).items) == 3


@pytest.mark.parametrize("fault", UNSURE)
@pytest.mark.parametrize("at", range(0, 70, 7))
def test_a_save_in_parts_that_fails_in_the_middle_goes_on_from_there(
    cluster: MemoryCluster, opened: Open, fault: Fault, at: int
) -> None:
    api = MemoryApi(cluster)
    store = opened(api)
    many = [a_record(str(number)) for number in range(3 * MOST_UNFILED)]
    version = store.save(a_state(), 0)
    seen = count()

    def strike(_: Call) -> None:
        if next(seen) == at:
            api.fail(fault, "replace_status")

    api.meanwhile(strike, "get", "replace_status", "create", times=None, after=True)

    for _ in range(3):
        try:
            store.save(a_state(share=5), version, many)
        except StoreUnavailableError:
            continue
        break

    assert reasons(store) == [record.reason for record in many]
    assert store.load()["shop"].state.share == 5


@pytest.mark.fault(
    on="Kubernetes",
    fault="records cannot be created (quota, permission)",
    does="saves go on until 20 records wait in the Shift, then none: no climb; retreats go on",
    sees="`record N of SHIFT cannot be filed: ...`",
    safe_within="at once",
)
def test_records_that_cannot_be_filed_wait_and_then_stop_the_saving(store: KubeStore, api: MemoryApi) -> None:
    api.fail(Fault.DENIED, "create", kind=SHIFT_RECORDS, times=None)
    version = 0
    for number in range(MOST_UNFILED):
        version = store.save(a_state(), version, [a_record(str(number))])

    with pytest.raises(RefusedError, match="record 1 of shop cannot be filed"):
        store.save(a_state(share=5), version, [a_record("one too many")])
    waiting = reasons(store)
    api.heal()
    store.save(a_state(share=5), version, [a_record("last")])

    assert waiting == [str(number) for number in range(MOST_UNFILED)]
    assert reasons(store) == [*waiting, "last"]
    assert examined(store, "shop").sound


def test_the_next_process_files_what_the_last_one_could_not(cluster: MemoryCluster, opened: Open) -> None:
    api = MemoryApi(cluster)
    api.fail(Fault.DOWN, "create", kind=SHIFT_RECORDS, times=None)
    killed = opened(api)
    version = killed.save(a_state(), 0, [a_record("one"), a_record("two")])

    next_api = MemoryApi(cluster)
    following = opened(next_api)
    following.save(following.load()["shop"].state, version)

    assert len(next_api.list(SHIFT_RECORDS, NAMESPACE).items) == 2
    assert reasons(following) == ["one", "two"]
    assert examined(following, "shop").sound


def test_another_record_in_the_place_of_ones_own_is_told(cluster: MemoryCluster, opened: Open) -> None:
    api = MemoryApi(cluster)
    api.fail(Fault.DOWN, "create", kind=SHIFT_RECORDS, times=None)
    killed = opened(api)
    version = killed.save(a_state(), 0, [a_record("mine")])
    forged = record_body("shop", chained(START, link_of(a_record("forged"))))
    MemoryApi(cluster).create(SHIFT_RECORDS, NAMESPACE, forged)

    following = opened(MemoryApi(cluster))
    for _ in range(MOST_UNFILED - 1):
        version = following.save(a_state(), version, [a_record("more")])

    with pytest.raises(RefusedError, match="in the place of record 1 of shop is another: two histories were begun"):
        following.save(a_state(), version, [a_record("more")])


def test_an_answer_that_could_not_be_delivered_is_an_answer_all_the_same(cluster: MemoryCluster, opened: Open) -> None:
    api = MemoryApi(cluster)
    leader, person = opened(api), opened(MemoryApi(cluster))
    order = person.create_order(a_request(), NOW)
    api.fail(Fault.DOWN, "replace_status", kind=SHIFT_ORDERS, times=None)

    version = leader.save(a_state(), 0, answers=[an_answer(order.id)])

    assert person.open_orders() == leader.open_orders() == ()
    assert person.order(order.id).answer is Answer.ACCEPTED
    with pytest.raises(ConflictError, match="accepted already"):
        leader.save(a_state(), version, answers=[an_answer(order.id)])
    api.heal()
    leader.save(a_state(), version)
    assert person.order(order.id).id == order.id
    assert not api.get(SHIFTS, NAMESPACE, "shop")["status"]["answers"][1:]


@pytest.mark.parametrize("fault", UNSURE)
def test_an_order_whose_answer_is_lost_is_placed_once(store: KubeStore, api: MemoryApi, fault: Fault) -> None:
    api.fail(fault, "create", kind=SHIFT_ORDERS)

    try:
        placed = [store.create_order(a_request(), NOW)]
    except StoreUnavailableError:
        placed = []

    assert list(store.open_orders()) == placed


def test_a_shift_that_is_deleted_while_it_is_looked_after_is_not_begun_anew(
    store: KubeStore, cluster: MemoryCluster
) -> None:
    version = store.save(a_state(share=5), 0)
    other = MemoryApi(cluster)
    body = other.get(SHIFTS, NAMESPACE, "shop")
    other.delete(SHIFTS, NAMESPACE, "shop")
    held = other.get(SHIFTS, NAMESPACE, "shop")
    body["metadata"] = {**held["metadata"], "finalizers": []}
    other.replace(SHIFTS, NAMESPACE, body)

    with pytest.raises(ConflictError, match=r"shop (was deleted from the cluster|is saved as version 0, not 1)"):
        store.save(a_state(share=25), version)

    assert store.load() == {}


def test_a_hand_edited_state_is_refused_and_not_written_over(store: KubeStore, cluster: MemoryCluster) -> None:
    version = store.save(a_state(share=5), 0)
    other = MemoryApi(cluster)
    body = other.get(SHIFTS, NAMESPACE, "shop")
    body["status"]["state"] = body["status"]["state"].replace('"share":5.0', '"share":95.0')
    other.replace(SHIFTS, NAMESPACE, body, status=True)

    with pytest.raises(RefusedError, match="somebody, or the disk, changed it"):
        store.load()["shop"]
    with pytest.raises(RefusedError, match="somebody, or the disk, changed it"):
        store.save(a_state(share=25), version)


def test_a_shift_that_somebody_made_by_hand_is_nothing_that_was_saved(store: KubeStore, api: MemoryApi) -> None:
    api.create(SHIFTS, NAMESPACE, SHIFTS.body(metadata={"name": "stray"}, spec={"namespaces": ["x"], "steps": [100]}))

    assert store.load() == {}
    assert store.reports() == {}


def test_a_saved_shift_costs_one_write_and_one_for_each_record(store: KubeStore, api: MemoryApi) -> None:
    version = store.save(a_state(), 0)
    writes(api)

    version = store.save(a_state(share=1), version)
    assert writes(api) == [("replace_status", "shifts")]
    store.save(a_state(share=5), version, [a_record(), a_record()])

    assert writes(api) == [("replace_status", "shifts"), *[("create", "shiftrecords"), ("create", "events")] * 2]


def test_a_name_that_no_object_can_have_is_not_saved(store: KubeStore) -> None:
    with pytest.raises(InvariantError, match="no object in a cluster can be called 'Shop/1'"):
        store.save(a_state("shop").model_copy(update={"name": "Shop/1"}), 0)


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (Fault.DOWN, StoreUnavailableError, "shifts cannot be listed: connection refused"),
        (Fault.UNKNOWN_USER, StoreUnavailableError, "shifts cannot be listed: the API server does not know who asks"),
        (Fault.DENIED, RefusedError, "shifts cannot be listed"),
        (Fault.NO_KIND, RefusedError, "is shifter installed in this cluster"),
        (Fault.GARBLED, StoreUnavailableError, "the answer is no JSON object"),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_told_with_what_to_do(
    store: KubeStore, api: MemoryApi, fault: Fault, error: type[Exception], says: str
) -> None:
    api.fail(fault)

    with pytest.raises(error, match=says):
        store.load()


def test_what_the_server_refuses_by_its_rules_is_told(store: KubeStore, api: MemoryApi) -> None:
    api.fail(Fault.INVALID, "create")

    with pytest.raises(RefusedError, match=r"shop cannot be saved: denied by an admission policy; are the CRDs"):
        store.save(a_state(), 0)


def test_the_fleets_records_have_a_chain_of_their_own(store: KubeStore) -> None:
    store.save(a_state(), 0, [a_record("one")])
    store.save_fleet(a_fleet(), 0, [a_record("frozen", FLEET)])

    assert store.chains() == (FLEET, "shop")
    assert [examined(store, of).count for of in store.chains()] == [1, 1]
    assert reasons(store) == ["one", "frozen"]


def test_people_read_a_shift_without_shifter(store: KubeStore, api: MemoryApi) -> None:
    store.save(a_state(share=5), 0)
    store.report(a_report())
    store.save_fleet(a_fleet(), 0)

    (status,) = [body["status"] for body in api.list(SHIFTS, NAMESPACE).items]
    (fleet,) = [body["status"] for body in api.list(SHIFT_FLEETS, NAMESPACE).items]
    told = {key: status[key] for key in ("phase", "share", "wanted", "written", "observed", "step", "verdict")}
    assert told == {
        "phase": "Waiting",
        "share": 5,
        "wanted": 5,
        "written": 5,
        "observed": None,
        "step": "1/3",
        "verdict": "too little traffic",
    }
    assert [(each["type"], each["status"]) for each in status["conditions"]] == [
        ("Ready", "True"),
        ("Progressing", "False"),
        ("Degraded", "False"),
        ("Held", "True"),
    ]
    assert (fleet["frozen"], fleet["message"]) == (True, "frozen by ana: release day")


def test_a_condition_keeps_since_when_it_holds(store: KubeStore, api: MemoryApi) -> None:
    store.report(a_report())
    store.report(a_report("later").model_copy(update={"at": NOW.replace(year=2027)}))

    (status,) = [body["status"] for body in api.list(SHIFTS, NAMESPACE).items]
    assert {each["lastTransitionTime"] for each in status["conditions"]} == {"2026-03-04T05:06:07Z"}


def told(seconds: float, reason: str = "soaking: 5 s", **changes: object) -> Report:
    at = NOW + timedelta(seconds=seconds)
    return a_report(reason).model_copy(update={"at": at, **changes})


def test_a_report_that_says_nothing_new_is_not_written(store: KubeStore, api: MemoryApi) -> None:
    store.report(told(0))
    writes(api)

    store.report(told(3600))

    assert writes(api) == []


@pytest.mark.parametrize(("phase", "seconds"), [(Phase.SHIFTING, 30), (Phase.COMPLETED, 300)])
def test_new_numbers_are_written_now_and_then(store: KubeStore, api: MemoryApi, phase: Phase, seconds: int) -> None:
    store.report(told(0, phase=phase))
    writes(api)

    store.report(told(seconds - 1, "soaking: 6 s", phase=phase))
    early = writes(api)
    store.report(told(seconds, "soaking: 7 s", phase=phase))

    assert (early, writes(api)) == ([], [("replace_status", "shifts")])


def test_what_happened_is_written_at_once(store: KubeStore, api: MemoryApi) -> None:
    store.report(told(0))
    writes(api)

    store.report(told(1, holds=()))

    assert writes(api) == [("replace_status", "shifts")]


@pytest.mark.parametrize(("holder", "age"), [("shifter-0", 0), ("", 60)])
def test_a_report_is_as_young_as_the_lease_of_whoever_leads(
    store: KubeStore, api: MemoryApi, holder: str, age: int
) -> None:
    store.report(told(0))
    renewed = NOW + timedelta(seconds=60)
    spec = {"holderIdentity": holder, "renewTime": moment(renewed)}
    api.create(LEASES, NAMESPACE, LEASES.body(metadata={"name": "shifter"}, spec=spec))

    assert store.reports()["shop"].at == renewed - timedelta(seconds=age)


def test_what_happens_to_a_shift_is_an_event_of_it(store: KubeStore, api: MemoryApi) -> None:
    failed = replace(a_record("the cloud said no"), what=What.FAILED, by="ana")
    store.save(a_state(), 0, [a_record("began"), failed])

    uid = api.get(SHIFTS, NAMESPACE, "shop")["metadata"]["uid"]
    events = api.list(EVENTS, NAMESPACE).items
    assert [(each["reason"], each["type"], each["note"]) for each in events] == [
        ("PhaseChanged", "Normal", "began"),
        ("WriteFailed", "Warning", "ana: the cloud said no"),
    ]
    assert {each["regarding"]["uid"] for each in events} == {uid}
    assert {each["eventTime"] for each in events} == {"2026-03-04T05:06:07.000890Z"}


def test_every_kind_of_record_that_is_written_has_a_reason_of_its_own() -> None:
    assert set(REASONS) == set(What) - {What.UNREADABLE}
    assert len(set(REASONS.values())) == len(REASONS)


def test_an_event_that_cannot_be_created_costs_nothing(store: KubeStore, api: MemoryApi) -> None:
    api.fail(Fault.DENIED, "create", kind=EVENTS, times=None)

    store.save(a_state(), 0, [a_record("one")])

    assert reasons(store) == ["one"]


def test_large_records_are_saved_a_few_at_a_time(store: KubeStore, api: MemoryApi) -> None:
    large = [replace(a_record(str(number)), evidence={"told": "x" * 60_000}) for number in range(MOST_UNFILED)]

    store.save(a_state(), 0, large)

    assert api.count("replace_status", kind=SHIFTS) == 5
    assert examined(store, "shop").count == MOST_UNFILED
    assert examined(store, "shop").sound


@pytest.mark.fault(
    on="Kubernetes",
    fault="the save of a climb that was given up is found to be kept",
    does="refuses to save what was decided anew in its place; reads what is kept, and goes on from that",
    sees="`SHIFT is saved as version N, not M`, in the log",
    safe_within="one tick",
)
def test_what_was_decided_anew_does_not_take_the_place_of_a_save_that_was_kept_after_all(
    store: KubeStore, api: MemoryApi
) -> None:
    version = store.save(a_state(), 0)
    api.fail(Fault.LOST, "replace_status")
    api.fail(Fault.DOWN, "get")
    with pytest.raises(StoreUnavailableError):
        store.save(a_state(share=5), version, [a_record("a climb that is given up")])

    with pytest.raises(ConflictError, match="shop is saved as version 2, not 1"):
        store.save(a_state(share=1), version, [a_record("decided anew")])

    assert store.load()["shop"].state.share == 5
    assert reasons(store) == ["a climb that is given up"]
    assert store.save(a_state(share=5), 2, [a_record("seen")]) == 3


def test_a_note_in_an_order_whose_answer_waits_makes_no_new_order_of_it(cluster: MemoryCluster, opened: Open) -> None:
    api = MemoryApi(cluster)
    leader, person = opened(api), MemoryApi(cluster)
    order = leader.create_order(a_request(), NOW)
    api.fail(Fault.DOWN, "replace_status", kind=SHIFT_ORDERS, times=None)
    version = leader.save(a_state(), 0, answers=[an_answer(order.id)])

    (body,) = person.list(SHIFT_ORDERS, NAMESPACE).items
    body["metadata"]["annotations"] = {"example.com/note": "seen"}
    person.replace(SHIFT_ORDERS, NAMESPACE, body)

    assert leader.open_orders() == ()
    api.heal()
    leader.save(a_state(share=5), version)
    assert leader.order(order.id).answer is Answer.ACCEPTED


def test_the_last_epoch_is_the_highest_that_a_record_was_written_in(store: KubeStore) -> None:
    found = [store.last_epoch()]
    version = store.save(a_state(), 0)
    found.append(store.last_epoch())
    version = store.save(a_state(share=1), version, [replace(a_record("begun"), epoch=3), a_record("seen")])
    found.append(store.last_epoch())
    store.save(a_state(share=5), version, [replace(a_record("of an epoch before"), epoch=2)])
    found.append(store.last_epoch())

    assert found == [0, 0, 3, 3]


def test_what_a_shift_that_rests_could_not_file_or_deliver_is_not_left_until_its_next_save(
    cluster: MemoryCluster, opened: Open
) -> None:
    api, person = MemoryApi(cluster), MemoryApi(cluster)
    leader = opened(api)
    order, freeze = leader.create_order(a_request(), NOW), leader.create_order(a_request(Verb.FREEZE, FLEET), NOW)
    api.fail(Fault.DOWN, "create", "replace_status", kind=SHIFT_RECORDS, times=None)
    api.fail(Fault.DOWN, "replace_status", kind=SHIFT_ORDERS, times=None)
    leader.save(a_state(), 0, [a_record("one")], [an_answer(order.id)])
    leader.save_fleet(a_fleet(), 0, [], [an_answer(freeze.id)])
    leader.report(a_report())
    api.heal()

    leader.report(a_report())

    assert [body["spec"]["reason"] for body in person.list(SHIFT_RECORDS, NAMESPACE).items] == ["one"]
    told = {body["status"]["id"] for body in person.list(SHIFT_ORDERS, NAMESPACE).items}
    assert told == {order.id, freeze.id}
    writes(api)
    leader.report(a_report())
    assert writes(api) == []


def in_flight(share: float = 5) -> ShiftState:
    return a_state(share=share).model_copy(update={"phase": Phase.SHIFTING})


@pytest.mark.fault(
    on="Kubernetes",
    fault="somebody deletes a Shift",
    does="the finalizer keeps it; no climb; it goes back all the same; what was rolled back does not begin anew",
    sees="hold `policy`: somebody is deleting what is saved of it; ...",
    safe_within="at once",
)
def test_a_shift_that_is_deleted_is_kept_until_a_person_insists(store: KubeStore, api: MemoryApi) -> None:
    version = store.save(in_flight(), 0)
    api.delete(SHIFTS, NAMESPACE, "shop")

    version = store.save(in_flight(), version, [a_record("still there")])
    leaving = list(store.leaving())
    version = store.save(a_state().model_copy(update={"phase": Phase.ROLLED_BACK}), version, [a_record("back at 0 %")])

    assert leaving == ["shop"]
    assert store.load()["shop"].version == version
    assert store.load()["shop"].state.phase is Phase.ROLLED_BACK


def test_a_shift_that_begins_anew_goes_on_with_its_history(store: KubeStore, api: MemoryApi, opened: Open) -> None:
    store.save(a_state(), 0, [a_record("one"), a_record("two")])
    api.delete(SHIFTS, NAMESPACE, "shop")
    body = api.get(SHIFTS, NAMESPACE, "shop")
    body["metadata"]["finalizers"] = []
    api.replace(SHIFTS, NAMESPACE, body)

    anew = opened(api)
    again = anew.save(a_state(), 0, [a_record("three")])

    assert again == 1
    assert list(anew.leaving()) == []
    assert reasons(anew) == ["one", "two", "three"]
    assert (examined(anew, "shop").count, examined(anew, "shop").findings) == (3, ())


@pytest.mark.fault(
    on="Kubernetes",
    fault="its definitions (CRDs) are of an earlier shifter and drop fields",
    does="the first save notices; nothing climbs; going back goes on",
    sees="`shop was saved without what tells the save: the cluster's definitions are of an earlier shifter`",
    safe_within="at once",
)
def test_definitions_that_drop_what_they_do_not_know_are_noticed(store: KubeStore, cluster: MemoryCluster) -> None:
    place = (SHIFTS.group, SHIFTS.plural)
    older = copy.deepcopy(cluster.schemas[place])
    del older["properties"]["status"]["properties"]["savedBy"]
    cluster.schemas[place] = older

    with pytest.raises(RefusedError, match="the cluster's definitions are of an earlier shifter") as refused:
        store.save(a_state(), 0)

    assert refused.value.remedy == "kubectl apply --server-side --force-conflicts -f deploy/chart/crds"
